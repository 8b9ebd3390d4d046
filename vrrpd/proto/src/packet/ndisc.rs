//! Neighbour Advertisements (RFC 4861 4.4): the IPv6 counterpart of gratuitous ARP; and the
//! solicitation that asks for one.

use std::net::Ipv6Addr;

use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::Icmpv6Types;
use pnet_packet::icmpv6::ndp::{NdpOptionTypes, NeighborAdvertFlags, NeighborAdvertPacket};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::util;

use crate::MacAddress;

/// Octets of the frame: 14 of Ethernet, 40 of IPv6, 24 of the advertisement, 8 of its option.
pub const FRAME_LEN: usize = 86;

/// All nodes of the link (RFC 4291 2.7.1), and the Ethernet address it maps to (RFC 2464 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// Where the headers begin.
const IPV6: usize = 14;
const ICMPV6: usize = 54;
/// Where the fields of the message begin, from its own first octet.
const CHECKSUM: usize = 2;
const TARGET: usize = 8;
const OPTIONS: usize = 24;

/// Hop Limit of all neighbour discovery: proof that no router forwarded it (RFC 4861 7.1.2).
const HOP_LIMIT: u8 = 255;

/// Writes the frame that tells all nodes of the link `address` is at `mac`, and returns its length,
/// which is always [`FRAME_LEN`].
///
/// Unsolicited, with the Override flag, from `address` itself (RFC 9568 6.4.1, RFC 4861 7.2.6).
/// `router` is the Router flag: a host that sees it withdrawn drops us from its default routers
/// (RFC 4861 7.2.5). `mac` is the Virtual Router MAC Address, or our own where none is used.
pub fn unsolicited_advertisement(
    out: &mut [u8; FRAME_LEN],
    mac: MacAddress,
    address: Ipv6Addr,
    router: bool,
) -> usize {
    const LENGTH: u8 = (FRAME_LEN - ICMPV6) as u8;
    let (ethernet, rest) = out.split_at_mut(IPV6);
    ethernet[..6].copy_from_slice(&ALL_NODES_MAC);
    ethernet[6..12].copy_from_slice(&mac.octets());
    ethernet[12..].copy_from_slice(&EtherTypes::Ipv6.0.to_be_bytes());

    let (ipv6, message) = rest.split_at_mut(ICMPV6 - IPV6);
    ipv6[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, LENGTH, IpNextHeaderProtocols::Icmpv6.0, HOP_LIMIT]);
    ipv6[8..24].copy_from_slice(&address.octets());
    ipv6[24..].copy_from_slice(&ALL_NODES.octets());

    let router = if router { NeighborAdvertFlags::Router } else { 0 };
    let flags = router | NeighborAdvertFlags::Override;
    message[..TARGET].copy_from_slice(&[Icmpv6Types::NeighborAdvert.0, 0, 0, 0, flags, 0, 0, 0]);
    message[TARGET..OPTIONS].copy_from_slice(&address.octets());
    message[OPTIONS..OPTIONS + 2].copy_from_slice(&[NdpOptionTypes::TargetLLAddr.0, 1]);
    message[OPTIONS + 2..].copy_from_slice(&mac.octets());
    let checksum = checksum(message, &address, &ALL_NODES);
    message[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
    FRAME_LEN
}

/// Writes the frame that asks who has `target`, and returns its length, which is always [`FRAME_LEN`].
///
/// From `source`, an address of ours on that link, to the target's solicited-node group (RFC 4861 4.3,
/// RFC 4291 2.7.1). From the unspecified address it would claim the target instead of asking for it.
pub fn solicitation(out: &mut [u8; FRAME_LEN], mac: MacAddress, source: Ipv6Addr, target: Ipv6Addr) -> usize {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    // Header, target and option have the places and lengths of an advertisement.
    unsolicited_advertisement(out, mac, target, false);
    out[..6].copy_from_slice(&[0x33, 0x33, 0xff, a, b, c]);
    let (headers, message) = out.split_at_mut(ICMPV6);
    headers[IPV6 + 8..IPV6 + 24].copy_from_slice(&source.octets());
    headers[IPV6 + 24..].copy_from_slice(&group.octets());
    message[..TARGET].copy_from_slice(&[Icmpv6Types::NeighborSolicit.0, 0, 0, 0, 0, 0, 0, 0]);
    message[OPTIONS] = NdpOptionTypes::SourceLLAddr.0;
    let checksum = checksum(message, &source, &group);
    message[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
    FRAME_LEN
}

/// A received Neighbour Advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourAdvertisement {
    /// The address that is advertised.
    pub target: Ipv6Addr,
    /// Where it is, when the sender says so.
    pub mac: Option<MacAddress>,
    /// The sender is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It replaces what the receiver knew before.
    pub override_cached: bool,
}

impl NeighbourAdvertisement {
    /// Reads an untagged Ethernet frame. `None` when it is not a Neighbour Advertisement that passes
    /// all checks of RFC 4861 7.1.2.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(frame)?;
        let ipv6 = Ipv6Packet::new(frame.get(IPV6..)?)?;
        if ethernet.get_ethertype() != EtherTypes::Ipv6
            || ipv6.get_version() != 6
            || ipv6.get_next_header() != IpNextHeaderProtocols::Icmpv6
            || ipv6.get_hop_limit() != HOP_LIMIT
        {
            return None;
        }
        let octets = frame.get(ICMPV6..ICMPV6 + usize::from(ipv6.get_payload_length()))?;
        let seen = Self::parse_message(octets)?;
        let right = checksum(octets, &ipv6.get_source(), &ipv6.get_destination()).to_be_bytes();
        if octets.get(CHECKSUM..CHECKSUM + 2)? != right
            || (seen.solicited && ipv6.get_destination().is_multicast())
        {
            return None;
        }
        Some(seen)
    }

    /// Reads the ICMPv6 message alone. `None` when it is not a Neighbour Advertisement that passes
    /// those checks of RFC 4861 7.1.2 that do not concern its IPv6 header and its checksum.
    pub fn parse_message(octets: &[u8]) -> Option<Self> {
        let message = NeighborAdvertPacket::new(octets)?;
        if message.get_icmpv6_type() != Icmpv6Types::NeighborAdvert
            || message.get_icmpv6_code().0 != 0
            || message.get_target_addr().is_multicast()
        {
            return None;
        }
        Some(Self {
            target: message.get_target_addr(),
            mac: target_link_layer_address(octets.get(OPTIONS..)?)?,
            router: message.get_flags() & NeighborAdvertFlags::Router != 0,
            solicited: message.get_flags() & NeighborAdvertFlags::Solicited != 0,
            override_cached: message.get_flags() & NeighborAdvertFlags::Override != 0,
        })
    }
}

/// The option of that name, if there is one. `None` when an option has length zero or is cut short:
/// then the whole advertisement is invalid.
fn target_link_layer_address(mut options: &[u8]) -> Option<Option<MacAddress>> {
    let mut mac = None;
    while let [kind, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8).filter(|_| units > 0)?;
        if kind == NdpOptionTypes::TargetLLAddr.0
            && let [_, _, a, b, c, d, e, f] = *option
        {
            mac = Some(MacAddress::new([a, b, c, d, e, f]));
        }
        options = rest;
    }
    options.is_empty().then_some(mac)
}

/// ICMPv6 checksum (RFC 4443 2.3) with the field taken as zero.
fn checksum(message: &[u8], source: &Ipv6Addr, destination: &Ipv6Addr) -> u16 {
    util::ipv6_checksum(message, CHECKSUM / 2, &[], source, destination, IpNextHeaderProtocols::Icmpv6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 1]);
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    /// What is read from a valid advertisement after `change` to its ICMPv6 message, checksum and
    /// payload length put right again.
    fn seen_after(change: impl FnOnce(&mut Vec<u8>)) -> Option<NeighbourAdvertisement> {
        let mut frame = [0; FRAME_LEN];
        unsolicited_advertisement(&mut frame, MAC, ADDRESS, true);
        let mut message = frame[ICMPV6..].to_vec();
        change(&mut message);
        let checksum = checksum(&message, &ADDRESS, &ALL_NODES);
        message[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
        frame[IPV6 + 5] = u8::try_from(message.len()).expect("a short message");
        NeighbourAdvertisement::parse(&[&frame[..ICMPV6], &message].concat())
    }

    #[test]
    fn a_solicitation_asks_the_group_of_its_target() {
        let target = "2001:db8::a1:b2c3".parse().expect("an address");
        let mut frame = [0; FRAME_LEN];
        assert_eq!(solicitation(&mut frame, MAC, ADDRESS, target), FRAME_LEN);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0xa1, 0xb2, 0xc3]);
        let ipv6 = Ipv6Packet::new(&frame[IPV6..]).expect("a whole header");
        assert_eq!(ipv6.get_source(), ADDRESS);
        let group: Ipv6Addr = "ff02::1:ffa1:b2c3".parse().expect("an address");
        assert_eq!((ipv6.get_destination(), ipv6.get_hop_limit()), (group, HOP_LIMIT));
        let message = &frame[ICMPV6..];
        assert_eq!(message[0], 135);
        assert_eq!(message[TARGET..OPTIONS], target.octets());
        assert_eq!(message[OPTIONS..], [1, 1, 2, 0, 0, 0, 0, 1], "option: our Ethernet address");
        assert_eq!(message[CHECKSUM..CHECKSUM + 2], checksum(message, &ADDRESS, &group).to_be_bytes());
    }

    #[test]
    fn the_checks_of_rfc_4861_do_not_lean_on_the_checksum() {
        let seen = seen_after(|_| ()).expect("what we send, we accept");
        assert_eq!((seen.target, seen.mac, seen.router), (ADDRESS, Some(MAC), true));
        assert_eq!(seen_after(|message| message[0] = 135), None, "a solicitation");
        assert_eq!(seen_after(|message| message[1] = 1), None, "code");
        assert_eq!(seen_after(|message| message[4] |= NeighborAdvertFlags::Solicited), None, "to a group");
        assert_eq!(seen_after(|message| message[TARGET] = 0xff), None, "a group as target");
        assert_eq!(seen_after(|message| message.truncate(OPTIONS - 1)), None, "cut short");
    }

    #[test]
    fn each_flag_is_read_by_itself() {
        use NeighborAdvertFlags::{Override, Router, Solicited};
        let mut frame = [0; FRAME_LEN];
        unsolicited_advertisement(&mut frame, MAC, ADDRESS, false);
        assert_eq!(frame[ICMPV6 + 4], Override, "who is no router does not say so");
        for flags in [0, Router, Solicited, Override] {
            frame[ICMPV6 + 4] = flags;
            let seen = NeighbourAdvertisement::parse_message(&frame[ICMPV6..]).expect("an advertisement");
            let read = [seen.router, seen.solicited, seen.override_cached];
            assert_eq!(read, [Router, Solicited, Override].map(|flag| flag == flags), "{flags:#x}");
        }
    }

    #[test]
    fn options_are_walked_to_the_end() {
        let mac_after = |change: fn(&mut Vec<u8>)| seen_after(change).map(|seen| seen.mac);
        assert_eq!(mac_after(|message| message.truncate(OPTIONS)), Some(None), "no option");
        assert_eq!(mac_after(|message| message[OPTIONS] = 1), Some(None), "another option");
        assert_eq!(
            mac_after(|message| drop(message.splice(24..24, [9; 72]))),
            Some(Some(MAC)),
            "after another"
        );
        assert_eq!(mac_after(|message| message[OPTIONS + 1] = 0), None, "length zero");
        assert_eq!(mac_after(|message| message[OPTIONS + 1] = 2), None, "longer than the message");
        assert_eq!(mac_after(|message| message.push(2)), None, "half an option");
    }
}
