//! Packets that make a client say something on its connection.
//!
//! They are in the name of the server and make no sense by their numbers, so that the client says where the
//! connection really stands (RFC 9293 3.10.7.4). What it says goes to whoever has the address now, who knows
//! of no such connection and resets it.

use std::net::{IpAddr, SocketAddr};

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::tcp::{self, MutableTcpPacket, TcpFlags, TcpOption};

/// Octets of a TCP header with the option for timestamps.
const TCP: usize = 32;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// TTL or Hop Limit.
const HOPS: u8 = 64;
/// What is far from 0 in the circle of 32 bits.
const FAR: u32 = 1 << 31;

/// Two IP packets from `server` to `client`. `None` when they are of two families.
///
/// - Both bear acknowledgements, with sequence numbers so far apart that a window has one of them at most, and
///   with timestamps of which one passes for new (RFC 7323 5.3; some drop packets without timestamps).
/// - The second is a SYN as well, which is answered in the same way (RFC 9293 3.10.7.4, RFC 5961 4). A firewall
///   of the client that tracks connections drops what is outside of the window, as the first is, but Linux
///   passes on an answer to a SYN, because it may be its own view that is out of date.
pub(super) fn packets(server: SocketAddr, client: SocketAddr) -> Option<[Vec<u8>; 2]> {
    let plain = packet(server, client, TcpFlags::ACK, 0)?;
    Some([plain, packet(server, client, TcpFlags::SYN | TcpFlags::ACK, FAR)?])
}

/// `number` is the sequence number, and the timestamp.
fn packet(server: SocketAddr, client: SocketAddr, flags: u8, number: u32) -> Option<Vec<u8>> {
    match (server.ip(), client.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut octets = vec![0; IPV4 + TCP];
            let mut header = MutableIpv4Packet::new(&mut octets)?;
            header.set_version(4);
            header.set_header_length(5);
            header.set_total_length(u16::try_from(IPV4 + TCP).ok()?);
            header.set_ttl(HOPS);
            header.set_next_level_protocol(IpNextHeaderProtocols::Tcp);
            header.set_source(source);
            header.set_destination(destination);
            header.set_checksum(ipv4::checksum(&header.to_immutable()));
            let mut segment = segment(&mut octets[IPV4..], server, client, flags, number)?;
            segment.set_checksum(tcp::ipv4_checksum(&segment.to_immutable(), &source, &destination));
            Some(octets)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut octets = vec![0; IPV6 + TCP];
            let mut header = MutableIpv6Packet::new(&mut octets)?;
            header.set_version(6);
            header.set_payload_length(u16::try_from(TCP).ok()?);
            header.set_next_header(IpNextHeaderProtocols::Tcp);
            header.set_hop_limit(HOPS);
            header.set_source(source);
            header.set_destination(destination);
            let mut segment = segment(&mut octets[IPV6..], server, client, flags, number)?;
            segment.set_checksum(tcp::ipv6_checksum(&segment.to_immutable(), &source, &destination));
            Some(octets)
        }
        _ => None,
    }
}

fn segment(
    out: &mut [u8],
    server: SocketAddr,
    client: SocketAddr,
    flags: u8,
    number: u32,
) -> Option<MutableTcpPacket<'_>> {
    let mut segment = MutableTcpPacket::new(out)?;
    segment.set_source(server.port());
    segment.set_destination(client.port());
    segment.set_sequence(number);
    segment.set_data_offset(u8::try_from(TCP / 4).ok()?);
    segment.set_flags(flags);
    segment.set_options(&[TcpOption::nop(), TcpOption::nop(), TcpOption::timestamp(number, 0)]);
    Some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn of(server: &str, client: &str) -> Option<[String; 2]> {
        let end = |text: &str| text.parse().expect("an address");
        packets(end(server), end(client)).map(|both| both.map(|packet| hex(&packet)))
    }

    #[test]
    fn a_client_gets_an_acknowledgement_and_an_answer_to_a_syn() {
        assert_eq!(
            of("192.0.2.201:443", "192.0.2.9:50000").expect("of one family"),
            [
                "45000034000000004006f5f1c00002c9c0000209\
                 01bbc3500000000000000000801000002cdf00000101080a0000000000000000",
                "45000034000000004006f5f1c00002c9c0000209\
                 01bbc3508000000000000000801200002cdc00000101080a8000000000000000",
            ]
        );
        assert_eq!(
            of("[2001:db8::c9]:443", "[2001:db8::9]:50000").expect("of one family"),
            [
                "600000000020064020010db80000000000000000000000c920010db8000000000000000000000009\
                 01bbc350000000000000000080100000556e00000101080a0000000000000000",
                "600000000020064020010db80000000000000000000000c920010db8000000000000000000000009\
                 01bbc350800000000000000080120000556b00000101080a8000000000000000",
            ]
        );
    }

    #[test]
    fn ends_of_two_families_are_no_connection() {
        assert_eq!(of("192.0.2.201:443", "[2001:db8::9]:50000"), None);
    }
}
