//! The IP header around an advertisement.

use std::net::IpAddr;

use pnet_packet::ethernet::EtherTypes;
use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use super::ParseError;
use crate::{Family, MacAddress};

/// IP protocol number of VRRP (RFC 9568 5.1.1.4, 5.1.2.4).
pub const PROTOCOL: u8 = 112;

/// IP protocol number of the Authentication Header (RFC 2402).
pub const AUTHENTICATION_HEADER: u8 = 51;
/// Octets of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// Octets of the fixed IPv6 header.
const IPV6_HEADER: usize = 40;
/// The More Fragments flag, as part of IPv4's three flag bits.
const MORE_FRAGMENTS: u8 = 0b001;
/// The Don't Fragment flag.
const DONT_FRAGMENT: u8 = 0b010;

/// Octets of the longer of the two headers.
pub const HEADER_MAX: usize = IPV6_HEADER;
/// Type of Service and Traffic Class: CS6, network control.
const TRAFFIC_CLASS: u8 = 0xc0;

/// Octets of an Ethernet header without a VLAN tag.
pub const ETHERNET_HEADER: usize = 14;

/// The Ethernet header of an advertisement.
pub fn ethernet_header(destination: MacAddress, source: MacAddress, family: Family) -> [u8; ETHERNET_HEADER] {
    let kind = match family {
        Family::Ipv4 => EtherTypes::Ipv4,
        Family::Ipv6 => EtherTypes::Ipv6,
    };
    let mut header = [0; ETHERNET_HEADER];
    header[..6].copy_from_slice(&destination.octets());
    header[6..12].copy_from_slice(&source.octets());
    header[12..].copy_from_slice(&kind.0.to_be_bytes());
    header
}

/// Octets of the header that [`write_header`] writes.
pub const fn header_len(family: Family) -> usize {
    match family {
        Family::Ipv4 => IPV4_HEADER,
        Family::Ipv6 => IPV6_HEADER,
    }
}

/// Writes the IP header of an advertisement whose message has `message_octets`: TTL or Hop Limit 255,
/// protocol 112, network control, never fragmented. `None` when the addresses are of two families,
/// `out` is not of [`header_len`] octets, or the message is too long for any packet.
pub fn write_header(
    out: &mut [u8],
    source: IpAddr,
    destination: IpAddr,
    message_octets: usize,
) -> Option<()> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) if out.len() == IPV4_HEADER => {
            let mut header = MutableIpv4Packet::new(out)?;
            header.set_version(4);
            header.set_header_length(5);
            header.set_dscp(TRAFFIC_CLASS >> 2);
            header.set_ecn(0);
            header.set_total_length(u16::try_from(IPV4_HEADER + message_octets).ok()?);
            header.set_identification(0);
            header.set_flags(DONT_FRAGMENT);
            header.set_fragment_offset(0);
            header.set_ttl(u8::MAX);
            header.set_next_level_protocol(IpNextHeaderProtocol(PROTOCOL));
            header.set_source(source);
            header.set_destination(destination);
            header.set_checksum(ipv4::checksum(&header.to_immutable()));
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) if out.len() == IPV6_HEADER => {
            let mut header = MutableIpv6Packet::new(out)?;
            header.set_version(6);
            header.set_traffic_class(TRAFFIC_CLASS);
            header.set_flow_label(0);
            header.set_payload_length(u16::try_from(message_octets).ok()?);
            header.set_next_header(IpNextHeaderProtocol(PROTOCOL));
            header.set_hop_limit(u8::MAX);
            header.set_source(source);
            header.set_destination(destination);
        }
        _ => return None,
    }
    Some(())
}

/// One IP datagram of protocol 112.
///
/// A raw IPv4 socket delivers the header, for [`parse_ipv4`](Self::parse_ipv4). A raw IPv6 socket
/// delivers the payload alone and the rest as control messages: fill in the fields. A packet socket
/// delivers both headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// The group, or one of our addresses; of the same family as `source`.
    pub destination: IpAddr,
    /// TTL or Hop Limit on arrival.
    pub hop_limit: u8,
    /// The VRRP message, without what Ethernet padded.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads an IPv4 packet; octets after its total length are ignored (Ethernet padding).
    ///
    /// # Errors
    ///
    /// When the header is cut short or contradicts itself, when the packet is longer than what was
    /// received, is a fragment, or carries another protocol. The header checksum is not verified:
    /// the kernel did.
    pub fn parse_ipv4(octets: &'a [u8]) -> Result<Self, ParseError> {
        match Self::ipv4(octets)? {
            (PROTOCOL, datagram) => Ok(datagram),
            (AUTHENTICATION_HEADER, _) => Err(ParseError::AuthenticationHeader),
            (found, _) => Err(ParseError::Protocol { found }),
        }
    }

    /// Reads an IPv4 packet whose payload is behind an Authentication Header, as VRRPv2 had it
    /// (RFC 2338 5.3.6). Whether it is authentic is not looked at: nobody may believe what it says.
    ///
    /// # Errors
    ///
    /// As with [`parse_ipv4`](Self::parse_ipv4); also when it has no Authentication Header, or
    /// another protocol behind it.
    pub fn parse_sealed(octets: &'a [u8]) -> Result<Self, ParseError> {
        let (protocol, datagram) = Self::ipv4(octets)?;
        if protocol != AUTHENTICATION_HEADER {
            return Err(ParseError::Protocol { found: protocol });
        }
        let header = datagram.payload;
        let &[next, words, ..] = header else {
            return Err(ParseError::Truncated { received: header.len(), promised: 2 });
        };
        if next != PROTOCOL {
            return Err(ParseError::Protocol { found: next });
        }
        // In words of four octets, less two (RFC 2402 2.2).
        let promised = (usize::from(words) + 2) * 4;
        let payload = header.get(promised..);
        let payload = payload.ok_or(ParseError::Truncated { received: header.len(), promised })?;
        Ok(Self { payload, ..datagram })
    }

    /// The protocol of an IPv4 packet, and the packet.
    fn ipv4(octets: &'a [u8]) -> Result<(u8, Self), ParseError> {
        let Some(header) = Ipv4Packet::new(octets) else {
            return Err(ParseError::Truncated { received: octets.len(), promised: IPV4_HEADER });
        };
        if header.get_version() != 4 {
            return Err(ParseError::IpVersion { found: header.get_version(), expected: 4 });
        }
        let header_octets = usize::from(header.get_header_length()) * 4;
        if header_octets < IPV4_HEADER {
            return Err(ParseError::HeaderLength { octets: header_octets });
        }
        let total = usize::from(header.get_total_length());
        if total < header_octets {
            return Err(ParseError::Truncated { received: total, promised: header_octets });
        }
        let Some(payload) = octets.get(header_octets..total) else {
            return Err(ParseError::Truncated { received: octets.len(), promised: total });
        };
        if header.get_flags() & MORE_FRAGMENTS != 0 || header.get_fragment_offset() != 0 {
            return Err(ParseError::Fragment);
        }
        let datagram = Self {
            source: header.get_source().into(),
            destination: header.get_destination().into(),
            hop_limit: header.get_ttl(),
            payload,
        };
        Ok((header.get_next_level_protocol().0, datagram))
    }

    /// Reads an IPv6 packet; octets after its payload length are ignored (Ethernet padding).
    ///
    /// # Errors
    ///
    /// When the fixed header is cut short, when the payload is longer than what was received, or
    /// when VRRP does not follow at once: extension headers, and with them fragments, are refused.
    pub fn parse_ipv6(octets: &'a [u8]) -> Result<Self, ParseError> {
        let Some(header) = Ipv6Packet::new(octets) else {
            return Err(ParseError::Truncated { received: octets.len(), promised: IPV6_HEADER });
        };
        if header.get_version() != 6 {
            return Err(ParseError::IpVersion { found: header.get_version(), expected: 6 });
        }
        let total = IPV6_HEADER + usize::from(header.get_payload_length());
        let Some(payload) = octets.get(IPV6_HEADER..total) else {
            return Err(ParseError::Truncated { received: octets.len(), promised: total });
        };
        if header.get_next_header().0 != PROTOCOL {
            return Err(ParseError::Protocol { found: header.get_next_header().0 });
        }
        Ok(Self {
            source: header.get_source().into(),
            destination: header.get_destination().into(),
            hop_limit: header.get_hop_limit(),
            payload,
        })
    }

    /// The family of both addresses.
    ///
    /// # Errors
    ///
    /// When source and destination are of different families, which no kernel delivers.
    pub fn family(&self) -> Result<Family, ParseError> {
        let family = Family::of(self.source);
        if family == Family::of(self.destination) { Ok(family) } else { Err(ParseError::MixedFamilies) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_length_inside_of_the_header_is_named() {
        let mut packet = [0; IPV4_HEADER];
        packet[0] = 0x45;
        packet[3] = 19;
        assert_eq!(Datagram::parse_ipv4(&packet), Err(ParseError::Truncated { received: 19, promised: 20 }));
    }

    /// An IPv4 packet of this protocol with this payload.
    fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let octets = IPV4_HEADER + payload.len();
        let mut packet = vec![0; IPV4_HEADER];
        (packet[0], packet[3]) = (0x45, u8::try_from(octets).expect("a short packet"));
        (packet[8], packet[9]) = (255, protocol);
        [&packet, payload].concat()
    }

    #[test]
    fn a_packet_without_a_payload_is_one() {
        let packet = packet(PROTOCOL, &[]);
        assert_eq!(Datagram::parse_ipv4(&packet).map(|datagram| datagram.payload), Ok(&[][..]));
    }

    #[test]
    fn what_is_behind_an_authentication_header_is_found_by_its_length() {
        // Six words: two that are not counted, and twelve octets of digest with what goes before it.
        let header = |next, words: u8| [&[next, words][..], &[0; 22], &[0x21, 51, 100, 1]].concat();
        let parse = |protocol, payload: &[u8]| {
            let packet = packet(protocol, payload);
            Datagram::parse_sealed(&packet).map(|datagram| datagram.payload.to_vec())
        };
        assert_eq!(parse(AUTHENTICATION_HEADER, &header(PROTOCOL, 4)), Ok(vec![0x21, 51, 100, 1]));
        assert_eq!(parse(AUTHENTICATION_HEADER, &header(PROTOCOL, 5)), Ok(vec![]));
        assert_eq!(
            parse(AUTHENTICATION_HEADER, &header(PROTOCOL, 6)),
            Err(ParseError::Truncated { received: 28, promised: 32 })
        );
        assert_eq!(
            parse(AUTHENTICATION_HEADER, &[PROTOCOL]),
            Err(ParseError::Truncated { received: 1, promised: 2 })
        );
        for other in [6, AUTHENTICATION_HEADER] {
            let refused = Err(ParseError::Protocol { found: other });
            assert_eq!(parse(AUTHENTICATION_HEADER, &header(other, 4)), refused);
        }
        assert_eq!(parse(PROTOCOL, &header(PROTOCOL, 4)), Err(ParseError::Protocol { found: PROTOCOL }));
    }

    #[test]
    fn addresses_of_two_families_make_no_datagram() {
        let [source, destination] = [Family::Ipv4.group(), Family::Ipv6.group()];
        let datagram = Datagram { source, destination, hop_limit: 255, payload: &[] };
        assert_eq!(datagram.family(), Err(ParseError::MixedFamilies));
    }

    #[test]
    fn a_written_header_reads_back_as_a_packet_that_never_left_the_link() {
        let cases = [("192.0.2.1", "224.0.0.18"), ("fe80::a", "ff02::12")];
        for (source, destination) in cases {
            let (source, destination) =
                (source.parse().expect("address"), destination.parse().expect("address"));
            let header = header_len(Family::of(source));
            let mut packet = [0xaa; HEADER_MAX + 8];
            write_header(&mut packet[..header], source, destination, 8).expect("it fits");
            let datagram = match source {
                IpAddr::V4(_) => Datagram::parse_ipv4(&packet[..header + 8]),
                IpAddr::V6(_) => Datagram::parse_ipv6(&packet[..header + 8]),
            };
            // A frame of our own carries the header as it is: whole, with its checksum (RFC 1071).
            let words =
                packet[..header].as_chunks().0.iter().map(|&word| u64::from(u16::from_be_bytes(word)));
            assert!(source.is_ipv6() || words.sum::<u64>() % 0xffff == 0, "{packet:02x?}");
            let expected = Datagram { source, destination, hop_limit: 255, payload: &[0xaa; 8] };
            assert_eq!(datagram, Ok(expected));
            for other in [header - 1, header + 1] {
                assert_eq!(write_header(&mut packet[..other], source, destination, 8), None);
            }
        }
    }
}
