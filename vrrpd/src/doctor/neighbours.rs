//! Who answers for an address on a link: ARP probes (RFC 5227 2.1.1) and neighbour solicitations.
//!
//! A probe claims nothing, so that nobody's table changes. The kernel of this node is not among those
//! who answer, because a host does not hear its own frames.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use vrrp_proto::MacAddress;
use vrrp_proto::packet::{arp, ndisc};

use crate::net;

/// Probes of each address, and how long answers to each are waited for.
const PROBES: u32 = 3;
const WAIT: Duration = Duration::from_millis(250);

/// A link as the probes need it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mac: MacAddress,
    /// Link-local address to ask from; neighbour solicitations need one.
    pub(super) link_local: Option<Ipv6Addr>,
}

/// The MAC addresses that answer for `address`, each once.
///
/// # Errors
/// In words: no right to ask, or nothing to ask from.
pub(super) fn who_answers(link: &Link, address: IpAddr) -> Result<Vec<MacAddress>, String> {
    let protocol = match address {
        IpAddr::V4(_) => libc::ETH_P_ARP,
        IpAddr::V6(_) => libc::ETH_P_IPV6,
    };
    let question = match address {
        IpAddr::V4(target) => arp_probe(link.mac, target).to_vec(),
        IpAddr::V6(target) => {
            let source = link.link_local.ok_or("the interface has no link-local address to ask from")?;
            solicitation(link.mac, source, target).to_vec()
        }
    };
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "asking the link takes root (CAP_NET_RAW)".to_owned(),
        _ => format!("cannot ask the link: {error}"),
    };
    let mut socket = open(link.index, protocol).map_err(failed)?;
    let mut found = Vec::new();
    for _ in 0..PROBES {
        socket.send(&question).map_err(failed)?;
        listen(&mut socket, address, link.mac, &mut found).map_err(failed)?;
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn open(index: u32, protocol: i32) -> io::Result<Socket> {
    let in_wire_order = u16::try_from(protocol).unwrap_or_default().to_be();
    let socket =
        Socket::new(Domain::PACKET, Type::RAW.cloexec(), Some(Protocol::from(i32::from(in_wire_order))))?;
    socket.bind(&net::link_address(index))?;
    Ok(socket)
}

fn listen(
    socket: &mut Socket,
    address: IpAddr,
    own: MacAddress,
    found: &mut Vec<MacAddress>,
) -> io::Result<()> {
    let end = Instant::now() + WAIT;
    let mut frame = [0; 1514];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut frame) {
            Ok(length) => found.extend(answer(&frame[..length], address).filter(|&mac| mac != own)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The MAC address in a frame that says where `address` is.
fn answer(frame: &[u8], address: IpAddr) -> Option<MacAddress> {
    match address {
        IpAddr::V4(target) => {
            let arp = arp::Arp::parse(frame)?;
            (arp.operation == arp::Operation::Reply && arp.sender_address == target).then_some(arp.sender_mac)
        }
        IpAddr::V6(target) => {
            let advertisement = ndisc::NeighbourAdvertisement::parse(frame)?;
            let source = || MacAddress::new(*frame.get(6..)?.first_chunk().unwrap_or(&[0; 6])).into();
            (advertisement.target == target).then_some(())?;
            advertisement.mac.or_else(source)
        }
    }
}

fn arp_probe(mac: MacAddress, target: Ipv4Addr) -> [u8; arp::FRAME_LEN] {
    let mut frame = [0; arp::FRAME_LEN];
    let probe = arp::Arp {
        operation: arp::Operation::Request,
        sender_mac: mac,
        sender_address: Ipv4Addr::UNSPECIFIED,
        target_mac: MacAddress::new([0; 6]),
        target_address: target,
    };
    probe.encode(&mut frame, mac, MacAddress::BROADCAST);
    frame
}

fn solicitation(mac: MacAddress, source: Ipv6Addr, target: Ipv6Addr) -> [u8; ndisc::FRAME_LEN] {
    let mut frame = [0; ndisc::FRAME_LEN];
    ndisc::solicitation(&mut frame, mac, source, target);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 2]);

    #[test]
    fn a_probe_claims_nothing_and_a_reply_tells_where() {
        let target = Ipv4Addr::new(192, 0, 2, 201);
        let probe = arp::Arp::parse(&arp_probe(MAC, target)).expect("an ARP frame");
        assert_eq!((probe.sender_address, probe.target_address), (Ipv4Addr::UNSPECIFIED, target));
        assert_eq!(answer(&arp_probe(MAC, target), target.into()), None, "a question is no answer");
        let mut frame = [0; arp::FRAME_LEN];
        arp::gratuitous(&mut frame, arp::GarpForm::Reply, THEIRS, target);
        assert_eq!(answer(&frame, target.into()), Some(THEIRS));
        assert_eq!(answer(&frame, "192.0.2.202".parse().expect("an address")), None);
    }

    #[test]
    fn an_advertisement_tells_where_an_ipv6_address_is() {
        let target: Ipv6Addr = "2001:db8::201".parse().expect("an address");
        let mut frame = [0; ndisc::FRAME_LEN];
        ndisc::unsolicited_advertisement(&mut frame, THEIRS, target, false);
        assert_eq!(answer(&frame, target.into()), Some(THEIRS));
        let source = "fe80::1".parse().expect("an address");
        assert_eq!(answer(&solicitation(MAC, source, target), target.into()), None);
    }

    #[test]
    fn without_an_address_to_ask_from_nothing_is_asked() {
        let link = Link { index: 1, mac: MAC, link_local: None };
        let error = who_answers(&link, "2001:db8::201".parse().expect("an address"));
        assert!(error.expect_err("no source").contains("link-local"));
    }
}
