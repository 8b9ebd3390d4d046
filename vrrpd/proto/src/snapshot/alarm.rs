//! Conditions that received packets show, each with who shows it, its value and ours.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::packet::ChecksumForm;
use crate::{AdverInterval, MacAddress};

/// A condition that received packets show and that somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// The other router lists other addresses, some of ours among them.
    AddressListMismatch,
    /// The other router has another advertisement interval; in VRRPv2 it is not heard.
    IntervalMismatch,
    /// Both IPv4 checksum forms are spoken in one group.
    ChecksumFormConflict,
    /// IPv6 advertisements without a link-local address first (RFC 9568 5.2.9), accepted because
    /// deployed routers send them.
    LinkLocalMissing,
    /// IPv6 unicast with a Hop Limit of 64, accepted because keepalived sends it so.
    HopLimitNot255,
    /// Another router of our priority; the addresses decide between us.
    EqualPriority,
    /// Two routers with priority 255.
    DuplicateOwner,
    /// Another router was Active while we were.
    TwoActiveRouters,
    /// Another station claimed one of the addresses while we were Active, and sent no advertisement.
    AddressConflict,
    /// A router that is none of our peers uses our VRID, for none of our addresses.
    SharedVrid,
    /// The other router speaks another version of VRRP, and is not heard.
    VersionMismatch,
    /// The other router's TTL or Hop Limit is too low, and it is not heard.
    TtlTooLow,
    /// The other router speaks the checksum form that is refused here, and is not heard.
    ChecksumFormMismatch,
    /// The other router sends to the group where we have `peers`, or to our address where we have
    /// none, and is not heard.
    TransportMismatch,
    /// Another station has the address that our advertisements leave from.
    DuplicateSourceAddress,
    /// The other router is neither a peer nor an allowed source, and is not heard.
    UnknownSender,
    /// The other router has other authentication, or another password, and is not heard.
    AuthenticationMismatch,
    /// An Active Router was silent for longer than its backups wait, and was not dead, more than once in
    /// five minutes.
    LateAdvertisements,
    /// The other router is heard on the second path, and no more on the first.
    FirstPathSilent,
    /// The other router is heard on the first path, and not on the second.
    SecondPathSilent,
    /// None of the stations that are asked on the clients' LAN answers.
    ClientLanSilent,
    /// The clock of another router, which keyed advertisements carry, is away from ours by more than
    /// half of what is accepted.
    ClockSkew,
    /// Neither a peer nor a witness answers, so that nothing is claimed or held.
    Isolated,
    /// A witness does not answer, or never has.
    WitnessSilent,
    /// The Active Router had been silent, and a station still answered for an address when the role was
    /// claimed, or held the claim back.
    LivingHolder,
}

impl Alarm {
    /// Every alarm, in the order in which they are shown; `ALL[alarm as usize] == alarm`.
    pub const ALL: [Self; 25] = [
        Self::AddressListMismatch,
        Self::IntervalMismatch,
        Self::ChecksumFormConflict,
        Self::LinkLocalMissing,
        Self::HopLimitNot255,
        Self::EqualPriority,
        Self::DuplicateOwner,
        Self::TwoActiveRouters,
        Self::AddressConflict,
        Self::SharedVrid,
        Self::VersionMismatch,
        Self::TtlTooLow,
        Self::ChecksumFormMismatch,
        Self::TransportMismatch,
        Self::DuplicateSourceAddress,
        Self::UnknownSender,
        Self::AuthenticationMismatch,
        Self::LateAdvertisements,
        Self::FirstPathSilent,
        Self::SecondPathSilent,
        Self::ClientLanSilent,
        Self::ClockSkew,
        Self::Isolated,
        Self::WitnessSilent,
        Self::LivingHolder,
    ];

    /// The word in files, JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddressListMismatch => "address_list_mismatch",
            Self::IntervalMismatch => "interval_mismatch",
            Self::ChecksumFormConflict => "checksum_form_conflict",
            Self::LinkLocalMissing => "link_local_missing",
            Self::HopLimitNot255 => "hop_limit_not_255",
            Self::EqualPriority => "equal_priority",
            Self::DuplicateOwner => "duplicate_owner",
            Self::TwoActiveRouters => "two_active_routers",
            Self::AddressConflict => "address_conflict",
            Self::SharedVrid => "shared_vrid",
            Self::VersionMismatch => "version_mismatch",
            Self::TtlTooLow => "ttl_too_low",
            Self::ChecksumFormMismatch => "checksum_form_mismatch",
            Self::TransportMismatch => "transport_mismatch",
            Self::DuplicateSourceAddress => "duplicate_source_address",
            Self::UnknownSender => "unknown_sender",
            Self::AuthenticationMismatch => "authentication_mismatch",
            Self::LateAdvertisements => "late_advertisements",
            Self::FirstPathSilent => "first_path_silent",
            Self::SecondPathSilent => "second_path_silent",
            Self::ClientLanSilent => "client_lan_silent",
            Self::ClockSkew => "clock_skew",
            Self::Isolated => "isolated",
            Self::WitnessSilent => "witness_silent",
            Self::LivingHolder => "living_holder",
        }
    }
}

/// Something that two routers should have alike, as one of them has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// There is nothing to compare, or the one has nothing like it.
    Nothing,
    /// Version, TTL, priority.
    Number(u32),
    /// Advertisement interval.
    Interval(AdverInterval),
    /// Form of the IPv4 checksum.
    Form(ChecksumForm),
    /// An address, for example one that the other does not list.
    Address(IpAddr),
    /// Ethernet address.
    Mac(MacAddress),
    /// A length of time.
    Time(Duration),
    /// A word of the configuration.
    Word(&'static str),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Number(number) => number.fmt(f),
            Self::Interval(interval) => interval.fmt(f),
            Self::Form(form) => f.write_str(form.name()),
            Self::Address(address) => address.fmt(f),
            Self::Mac(mac) => mac.fmt(f),
            Self::Time(time) => write!(f, "{time:.1?}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// What shows an [`Alarm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The router whose packet it is; for [`Alarm::AddressConflict`], [`Alarm::LivingHolder`] and
    /// [`Alarm::DuplicateSourceAddress`] the address that another station has.
    pub source: IpAddr,
    /// What it has.
    pub theirs: Value,
    /// What we have.
    pub ours: Value,
}

impl Evidence {
    /// Of a condition that is not about a value.
    pub const fn of(source: IpAddr) -> Self {
        Self { source, theirs: Value::Nothing, ours: Value::Nothing }
    }
}

/// An [`Alarm`] that is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// What showed it last.
    pub evidence: Evidence,
    /// Time since it was raised.
    pub age: Duration,
    /// Time since it was shown last.
    pub seen: Duration,
}

/// The [`Alarm`]s that are raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms([Option<Raised>; Alarm::ALL.len()]);

impl Alarms {
    /// Is it raised?
    pub const fn contains(self, alarm: Alarm) -> bool {
        self.0[alarm as usize].is_some()
    }

    /// What is known of one that is raised.
    pub const fn get(self, alarm: Alarm) -> Option<Raised> {
        self.0[alarm as usize]
    }

    /// Puts one in, or takes it out.
    pub const fn set(&mut self, alarm: Alarm, raised: Option<Raised>) {
        self.0[alarm as usize] = raised;
    }

    /// Those that are raised.
    pub fn iter(self) -> impl Iterator<Item = (Alarm, Raised)> {
        Alarm::ALL.into_iter().filter_map(move |alarm| Some((alarm, self.get(alarm)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_has_one_name_and_one_place() {
        for (index, alarm) in Alarm::ALL.into_iter().enumerate() {
            assert_eq!(alarm as usize, index);
            let before = &Alarm::ALL[..index];
            assert!(!before.iter().any(|other| other.as_str() == alarm.as_str()), "{}", alarm.as_str());
        }
    }
}
