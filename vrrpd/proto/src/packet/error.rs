//! Why a packet was discarded or cannot be built.

use std::net::IpAddr;

use super::{AuthType, ChecksumForm, TrailerFault};
use crate::{AdverInterval, Family, Priority, Version, Vrid};

/// Why a received packet was discarded: one variant for each check, in the order of the checks.
///
/// The first failing check decides. A discarded packet has no effect but its counter
/// ([`reason`](Self::reason)) and its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The IP packet is not complete (RFC 9568 7.1).
    #[error("IP packet is cut short: {received} octets where its header promises {promised}")]
    Truncated {
        /// Octets that are there.
        received: usize,
        /// Octets that the header needs or promises.
        promised: usize,
    },
    /// Not the version of IP that the socket is for.
    #[error("IP version is {found} where {expected} was expected")]
    IpVersion {
        /// The version in the header.
        found: u8,
        /// 4 or 6.
        expected: u8,
    },
    /// The header length of IPv4 is below its minimum.
    #[error("IPv4 header length is {octets} octets, the least is 20")]
    HeaderLength {
        /// The length the header gives itself.
        octets: usize,
    },
    /// A fragment. Advertisements fit every link; whoever splits one has something to hide.
    #[error("packet is a fragment; fragments of VRRP are never put together")]
    Fragment,
    /// VRRPv2 in an Authentication Header, as RFC 2338 5.3.6 had it (IP protocol 51).
    #[error(
        "packet is in an IP Authentication Header (`auth_type AH`), which vrrpd does not speak; hmac-sha256 does more"
    )]
    AuthenticationHeader,
    /// Not VRRP, or VRRP behind another header (IPv6 extension).
    #[error("IP protocol is {found}, VRRP is 112")]
    Protocol {
        /// The protocol or next header.
        found: u8,
    },
    /// Source and destination are of different families.
    #[error("source and destination belong to different address families")]
    MixedFamilies,
    /// Neither the group in multicast mode nor our address in unicast mode (RFC 9568 7.2).
    #[error("destination {destination} is not ours: both nodes need `peers`, or neither")]
    WrongDestination {
        /// Where it was sent to.
        destination: IpAddr,
    },
    /// Sent from our own address: our packet came back, or another node has our address.
    #[error("source {source_address} is our own address: the network loops, or two nodes share it")]
    OwnAddress {
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Not a primary address: unspecified, multicast, broadcast, loopback, or in IPv6 multicast not
    /// link-local (RFC 9568 5.1.1.1, 5.1.2.1).
    #[error("source {source_address} cannot be the primary address of a VRRP router")]
    BadSource {
        /// Who sent it.
        source_address: IpAddr,
    },
    /// In unicast mode: not one of the configured peers; in multicast mode: not an allowed source.
    #[error("source {source_address} is neither in `peers` nor in `allowed_sources`")]
    UnknownPeer {
        /// Who sent it.
        source_address: IpAddr,
    },
    /// TTL or Hop Limit tells that the packet crossed a router (RFC 9568 5.1.1.3, 5.1.2.3, 7.1).
    #[error("TTL or hop limit is {found} where at least {required} is required: not sent on this link")]
    HopLimit {
        /// TTL or Hop Limit on arrival.
        found: u8,
        /// 255, unless configured otherwise for routed peers.
        required: u8,
    },
    /// Shorter than the fixed part of every version (RFC 9568 7.1).
    #[error("message of {octets} octets is shorter than the 8 of its fixed part")]
    TooShort {
        /// Octets of the message.
        octets: usize,
    },
    /// Another version of VRRP (RFC 9568 7.1).
    #[error("VRRP version is {found} where {expected} is configured")]
    Version {
        /// The version in the message, 0 to 15.
        found: u8,
        /// The one of the virtual router.
        expected: Version,
    },
    /// Not an ADVERTISEMENT (RFC 9568 5.2.2, 7.1).
    #[error("VRRP type is {found}, only 1 (advertisement) is defined")]
    Type {
        /// The type in the message, 0 to 15.
        found: u8,
    },
    /// Shorter than its address count says, or longer (RFC 9568 7.1, RFC 3768 7.1).
    #[error("message has {octets} octets, but {count} {family} addresses make {expected}")]
    Length {
        /// Octets of the message.
        octets: usize,
        /// IPvX Addr Count.
        count: u8,
        /// The family the message travelled in.
        family: Family,
        /// Octets of a message with so many addresses.
        expected: usize,
    },
    /// A keyed trailer follows, and none is expected here.
    #[error("the sender has keyed advertisements (`authentication`), and this node has none")]
    UnexpectedTrailer,
    /// The checksum is wrong in every form (RFC 9568 5.2.8, 7.1).
    #[error("checksum 0x{found:04x} is wrong")]
    Checksum {
        /// The field.
        found: u16,
    },
    /// The checksum is right, but in the form that is not accepted here.
    #[error("checksum form is {}, accepted is {}: see `ipv4_checksum`", found.name(), accepted.name())]
    ChecksumForm {
        /// The form the sender uses.
        found: ChecksumForm,
        /// The only accepted one.
        accepted: ChecksumForm,
    },
    /// VRID 0 is never valid (RFC 9568 6.1).
    #[error("VRID is 0, the range is 1..=255")]
    ZeroVrid,
    /// No virtual router with this VRID on this interface and family (RFC 9568 7.1).
    #[error("VRID {vrid} is not configured on this interface for this address family")]
    UnknownVrid {
        /// The VRID of the message.
        vrid: Vrid,
    },
    /// IPvX Addr Count is 0 (RFC 9568 5.2.5, erratum 8299).
    #[error("address count is 0, at least 1 is required")]
    NoAddress,
    /// The interval is 0 (RFC 9568 5.2.7, erratum 8301; RFC 3768 5.3.7).
    #[error("advertisement interval is 0, which is none")]
    ZeroInterval,
    /// IPv6: the first address is not the link-local one (RFC 9568 5.2.9, erratum 8300). Only with
    /// [`Rules::strict`](super::Rules::strict).
    #[error("first address {address} is not link-local, which `strict` requires")]
    FirstAddress {
        /// The first address.
        address: IpAddr,
    },
    /// VRRPv2: another type of authentication (RFC 3768 5.3.6, 7.1).
    #[error("authentication is {} where {} is configured", found.name(), expected.name())]
    AuthType {
        /// That of the message.
        found: AuthType,
        /// That of the virtual router.
        expected: AuthType,
    },
    /// VRRPv2: another password (RFC 2338 5.3.10).
    #[error("the password is not the one that is configured here")]
    Password,
    /// VRRPv2: this router owns the addresses, and listens to nobody (RFC 3768 7.1).
    #[error("priority {priority} is advertised for addresses that this router owns: VRRPv2 has one owner")]
    Owner {
        /// Of the message.
        priority: Priority,
    },
    /// VRRPv2: the addresses are others, and the sender does not own them (RFC 3768 7.1). Only with
    /// `strict`.
    #[error("the addresses are not the configured ones, which `strict` requires of VRRPv2")]
    OtherAddresses,
    /// The keyed trailer is not there, or does not count.
    #[error("advertisement is not authenticated: {0}")]
    Trailer(TrailerFault),
    /// VRRPv2: the interval is another (RFC 3768 7.1).
    #[error("advertisement interval is {found} where {expected} is configured: VRRPv2 wants the same on all")]
    OtherInterval {
        /// Of the message.
        found: AdverInterval,
        /// Of the virtual router.
        expected: AdverInterval,
    },
    /// The kernel dropped it before anybody read it: its filter found this wrong with it, or there was no
    /// room for it.
    #[error("packet was dropped by the kernel unread, under {}", .reason.name())]
    Unread {
        /// What it is counted under.
        reason: DiscardReason,
    },
}

impl ParseError {
    /// The counter this packet belongs to; exactly one.
    pub const fn reason(&self) -> DiscardReason {
        match self {
            Self::IpVersion { .. }
            | Self::HeaderLength { .. }
            | Self::Fragment
            | Self::Protocol { .. }
            | Self::MixedFamilies => DiscardReason::Header,
            Self::WrongDestination { .. } => DiscardReason::Destination,
            Self::OwnAddress { .. } | Self::BadSource { .. } => DiscardReason::Source,
            Self::UnknownPeer { .. } => DiscardReason::Peer,
            Self::HopLimit { .. } => DiscardReason::HopLimit,
            Self::Truncated { .. }
            | Self::TooShort { .. }
            | Self::Length { .. }
            | Self::UnexpectedTrailer => DiscardReason::Length,
            Self::Trailer(TrailerFault::Window { .. }) => DiscardReason::Window,
            Self::Trailer(TrailerFault::Replay) => DiscardReason::Replay,
            Self::Trailer(_) => DiscardReason::Digest,
            Self::Version { .. } => DiscardReason::Version,
            Self::Type { .. } => DiscardReason::Type,
            Self::Checksum { .. } | Self::ChecksumForm { .. } => DiscardReason::Checksum,
            Self::ZeroVrid | Self::UnknownVrid { .. } => DiscardReason::Vrid,
            Self::NoAddress | Self::FirstAddress { .. } | Self::OtherAddresses => DiscardReason::AddressList,
            Self::ZeroInterval | Self::OtherInterval { .. } => DiscardReason::Interval,
            Self::AuthenticationHeader | Self::AuthType { .. } | Self::Password => {
                DiscardReason::Authentication
            }
            Self::Owner { .. } => DiscardReason::Owner,
            Self::Unread { reason } => *reason,
        }
    }
}

/// What discarded packets are counted under: RFC 8347 where it has a statistic, our own otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum DiscardReason {
    /// The IP header is not one (vendor).
    #[serde(rename = "ip_header_errors")]
    Header,
    /// Sent to somewhere else (vendor).
    #[serde(rename = "destination_errors")]
    Destination,
    /// Sent from an impossible address (vendor).
    #[serde(rename = "source_errors")]
    Source,
    /// `ip-ttl-errors`.
    #[serde(rename = "ip_ttl_errors")]
    HopLimit,
    /// `packet-length-errors`.
    #[serde(rename = "packet_length_errors")]
    Length,
    /// `version-errors`.
    #[serde(rename = "version_errors")]
    Version,
    /// `invalid-type-pkts-rcvd`.
    #[serde(rename = "invalid_type_pkts_rcvd")]
    Type,
    /// `checksum-errors`.
    #[serde(rename = "checksum_errors")]
    Checksum,
    /// `vrid-errors`.
    #[serde(rename = "vrid_errors")]
    Vrid,
    /// `address-list-errors`.
    #[serde(rename = "address_list_errors")]
    AddressList,
    /// `interval-errors`.
    #[serde(rename = "interval_errors")]
    Interval,
    /// Sent by a stranger (vendor).
    #[serde(rename = "peer_errors")]
    Peer,
    /// VRRPv2: other authentication (vendor).
    #[serde(rename = "auth_errors")]
    Authentication,
    /// VRRPv2: heard by the owner of the addresses (vendor).
    #[serde(rename = "owner_conflicts")]
    Owner,
    /// No keyed trailer, or one that no key of ours made (vendor).
    #[serde(rename = "digest_errors")]
    Digest,
    /// A keyed trailer of another time (vendor).
    #[serde(rename = "window_errors")]
    Window,
    /// A keyed trailer that came before (vendor).
    #[serde(rename = "replay_errors")]
    Replay,
    /// More came at once than the socket had room for; good ones may be among them (vendor).
    #[serde(rename = "overrun_pkts")]
    Overrun,
}

impl DiscardReason {
    /// Every reason; `ALL[reason as usize] == reason`.
    pub const ALL: [Self; 18] = [
        Self::Header,
        Self::Destination,
        Self::Source,
        Self::HopLimit,
        Self::Length,
        Self::Version,
        Self::Type,
        Self::Checksum,
        Self::Vrid,
        Self::AddressList,
        Self::Interval,
        Self::Peer,
        Self::Authentication,
        Self::Owner,
        Self::Digest,
        Self::Window,
        Self::Replay,
        Self::Overrun,
    ];

    /// The name of the counter in JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "ip_header_errors",
            Self::Destination => "destination_errors",
            Self::Source => "source_errors",
            Self::HopLimit => "ip_ttl_errors",
            Self::Length => "packet_length_errors",
            Self::Version => "version_errors",
            Self::Type => "invalid_type_pkts_rcvd",
            Self::Checksum => "checksum_errors",
            Self::Vrid => "vrid_errors",
            Self::AddressList => "address_list_errors",
            Self::Interval => "interval_errors",
            Self::Peer => "peer_errors",
            Self::Authentication => "auth_errors",
            Self::Owner => "owner_conflicts",
            Self::Digest => "digest_errors",
            Self::Window => "window_errors",
            Self::Replay => "replay_errors",
            Self::Overrun => "overrun_pkts",
        }
    }

    /// The name of the error of RFC 8347 (`vrrp-error-global`, `vrrp-error-virtual-router`), in snake_case.
    pub const fn identity(self) -> Option<&'static str> {
        Some(match self {
            Self::HopLimit => "ip_ttl_error",
            Self::Length => "packet_length_error",
            Self::Version => "version_error",
            Self::Checksum => "checksum_error",
            Self::Vrid => "vrid_error",
            Self::AddressList => "address_list_error",
            Self::Interval => "interval_error",
            _ => return None,
        })
    }
}

/// Why an advertisement cannot be built. A validated configuration causes none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The count of addresses does not fit its octet, or is zero (RFC 9568 5.2.5).
    #[error("an advertisement carries 1..=255 addresses, not {count}")]
    AddressCount {
        /// How many were given.
        count: usize,
    },
    /// An address is not of the family of the destination.
    #[error("{address} is not an {family} address like the rest of the advertisement")]
    Family {
        /// The address that does not fit.
        address: IpAddr,
        /// The family of the destination.
        family: Family,
    },
    /// VRRPv2 over IPv6.
    #[error("VRRPv2 is for IPv4 only")]
    Version,
    /// The buffer is too small.
    #[error("the advertisement takes {needed} octets, the buffer has {available}")]
    Buffer {
        /// Octets of the message.
        needed: usize,
        /// Octets of the buffer.
        available: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_name_and_one_place() {
        for (index, reason) in DiscardReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert_eq!(
                serde_json::to_value(reason).expect("a unit variant serializes"),
                serde_json::Value::from(reason.name())
            );
        }
    }
}
