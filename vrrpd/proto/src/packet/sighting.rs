//! What a received frame says about where an address is.

use std::net::IpAddr;

use super::arp::{Arp, Operation};
use super::ndisc::NeighbourAdvertisement;
use crate::MacAddress;

/// A station says that it has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The address.
    pub address: IpAddr,
    /// Where it is.
    pub mac: MacAddress,
    /// Said to everybody and unasked: gratuitous ARP, unsolicited neighbour advertisement.
    pub announced: bool,
    /// Said because we asked: ARP reply, solicited neighbour advertisement.
    pub answer: bool,
}

impl Sighting {
    /// Reads an Ethernet frame with ARP: of any packet the sender address counts, because whoever
    /// hears it learns from it (RFC 826). `None` for a probe, which claims nothing (RFC 5227 2.1.1).
    pub fn from_arp(frame: &[u8]) -> Option<Self> {
        let arp = Arp::parse(frame)?;
        let address = arp.sender_address;
        (!address.is_unspecified()).then_some(Self {
            address: address.into(),
            mac: arp.sender_mac,
            announced: address == arp.target_address,
            answer: arp.operation == Operation::Reply && address != arp.target_address,
        })
    }

    /// Reads an ICMPv6 message as a raw socket gives it, checksum verified. Its Hop Limit of 255 is
    /// for the caller to see to. `None` when it is no neighbour advertisement, or one that does not say
    /// where the address is.
    pub fn from_neighbour_advertisement(message: &[u8]) -> Option<Self> {
        let seen = NeighbourAdvertisement::parse_message(message)?;
        let (address, mac, answer) = (seen.target.into(), seen.mac?, seen.solicited);
        Some(Self { address, mac, announced: !answer, answer })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::arp::{self, GarpForm, Operation};
    use super::super::ndisc;
    use super::*;

    const MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 2]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const ICMPV6: usize = 54;

    #[test]
    fn both_forms_of_gratuitous_arp_announce() {
        for form in [GarpForm::Request, GarpForm::Reply] {
            let mut frame = [0; arp::FRAME_LEN];
            arp::gratuitous(&mut frame, form, MAC, ADDRESS);
            let expected = Sighting { address: ADDRESS.into(), mac: MAC, announced: true, answer: false };
            assert_eq!(Sighting::from_arp(&frame), Some(expected), "{form:?}");
        }
    }

    #[test]
    fn a_question_and_an_answer_show_the_sender_and_a_probe_shows_nobody() {
        let target = Ipv4Addr::new(192, 0, 2, 9);
        let seen = |operation, sender_address| {
            let arp =
                Arp { operation, sender_mac: MAC, sender_address, target_mac: OTHER, target_address: target };
            let mut frame = [0; arp::FRAME_LEN];
            arp.encode(&mut frame, MAC, MacAddress::BROADCAST);
            Sighting::from_arp(&frame)
        };
        let expected =
            |answer| Some(Sighting { address: ADDRESS.into(), mac: MAC, announced: false, answer });
        assert_eq!(seen(Operation::Request, ADDRESS), expected(false));
        assert_eq!(seen(Operation::Reply, ADDRESS), expected(true));
        assert_eq!(seen(Operation::Request, Ipv4Addr::UNSPECIFIED), None);
    }

    #[test]
    fn a_neighbour_advertisement_shows_its_target_and_announces_when_nobody_asked() {
        let address: Ipv6Addr = "2001:db8::1".parse().expect("valid");
        let mut frame = [0; ndisc::FRAME_LEN];
        ndisc::unsolicited_advertisement(&mut frame, MAC, address, false);
        let seen = Sighting { address: address.into(), mac: MAC, announced: true, answer: false };
        let message = &mut frame[ICMPV6..];
        assert_eq!(Sighting::from_neighbour_advertisement(message), Some(seen));
        message[4] |= 0x40;
        let solicited = Some(Sighting { announced: false, answer: true, ..seen });
        assert_eq!(Sighting::from_neighbour_advertisement(message), solicited);
        let without_option = &message[..24];
        assert_eq!(Sighting::from_neighbour_advertisement(without_option), None, "it does not say where");
    }
}
