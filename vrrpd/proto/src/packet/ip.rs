//! The IP header around an advertisement.

use std::net::IpAddr;

use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;

use super::ParseError;
use crate::Family;

/// IP protocol number of VRRP (RFC 9568 5.1.1.4, 5.1.2.4).
pub const PROTOCOL: u8 = 112;

/// Octets of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// Octets of the fixed IPv6 header.
const IPV6_HEADER: usize = 40;
/// The More Fragments flag, as part of IPv4's three flag bits.
const MORE_FRAGMENTS: u8 = 0b001;

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
        if header.get_next_level_protocol().0 != PROTOCOL {
            return Err(ParseError::Protocol { found: header.get_next_level_protocol().0 });
        }
        Ok(Self {
            source: header.get_source().into(),
            destination: header.get_destination().into(),
            hop_limit: header.get_ttl(),
            payload,
        })
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

    #[test]
    fn addresses_of_two_families_make_no_datagram() {
        let [source, destination] = [Family::Ipv4.group(), Family::Ipv6.group()];
        let datagram = Datagram { source, destination, hop_limit: 255, payload: &[] };
        assert_eq!(datagram.family(), Err(ParseError::MixedFamilies));
    }
}
