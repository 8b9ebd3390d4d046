//! The codec against what keepalived and FRR put on the wire (`pcaps/README.md`).

mod vectors;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use vrrp_proto::packet::{
    Advert, ChecksumForm, ChecksumPolicy, Datagram, DiscardReason, ParseError, Rules, arp, ndisc,
};
use vrrp_proto::{Family, MacAddress, Vrid};

use crate::vectors::{encode_again, parse_ip};

/// What each capture holds: file, advertisements, interval in centiseconds, addresses.
const CAPTURES: [(&str, usize, u16, usize); 19] = [
    ("frr-v3-ipv4", 22, 100, 1),
    ("frr-v3-ipv4-100ms-3vips", 161, 10, 3),
    ("frr-v3-ipv6", 24, 100, 1),
    ("keepalived-2.2.7-v3-ipv4", 22, 100, 1),
    ("keepalived-2.2.7-v3-ipv4-100ms-3vips", 160, 10, 3),
    ("keepalived-2.2.7-v3-ipv4-unicast", 21, 100, 1),
    ("keepalived-2.2.7-v3-ipv4-vmac", 21, 100, 1),
    ("keepalived-2.2.7-v3-ipv6", 21, 100, 1),
    ("keepalived-2.2.7-v3-ipv6-3vips", 21, 100, 3),
    ("keepalived-2.2.7-v3-ipv6-unicast", 22, 100, 1),
    ("keepalived-2.2.7-v3-ipv6-vmac", 22, 100, 1),
    ("keepalived-2.4.3-v3-ipv4", 22, 100, 1),
    ("keepalived-2.4.3-v3-ipv4-100ms-3vips", 160, 10, 3),
    ("keepalived-2.4.3-v3-ipv4-unicast", 22, 100, 1),
    ("keepalived-2.4.3-v3-ipv4-vmac", 21, 100, 1),
    ("keepalived-2.4.3-v3-ipv6", 22, 100, 1),
    ("keepalived-2.4.3-v3-ipv6-3vips", 21, 100, 3),
    ("keepalived-2.4.3-v3-ipv6-unicast", 22, 100, 1),
    ("keepalived-2.4.3-v3-ipv6-vmac", 22, 100, 1),
];

/// keepalived's Hop Limit in IPv6 unicast.
const UNICAST_HOP_LIMIT: u8 = 64;

#[test]
fn no_capture_is_left_out() {
    let listed: BTreeSet<PathBuf> = CAPTURES.iter().map(|(name, ..)| path(name)).collect();
    let files = std::fs::read_dir(path("").with_file_name("")).expect("the captures are in the repository");
    let captured = files
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    assert_eq!(captured.collect::<BTreeSet<_>>(), listed);
}

#[test]
fn every_advertisement_is_read_and_written_octet_by_octet() {
    for (name, count, centiseconds, addresses) in CAPTURES {
        let rules = Rules { min_hop_limit: least_hop_limit(name), ..Rules::LAX };
        let frames = read_pcap(name);
        let adverts = advertisements(&frames);
        assert_eq!(adverts.len(), count, "{name}");
        let mut priorities = Vec::new();
        for datagram in &adverts {
            let advert = Advert::parse(datagram, &rules).expect(name);
            assert_eq!(encode_again(datagram, &advert), datagram.payload, "{name}");
            assert_eq!(Some(advert.vrid), Vrid::new(51), "{name}");
            assert_eq!(advert.interval.centiseconds(), centiseconds, "{name}");
            assert_eq!(advert.form, ChecksumForm::PseudoHeader, "{name}");
            let virtual_addresses: Vec<IpAddr> =
                (0..addresses).map(|i| virtual_address(datagram, i)).collect();
            assert!(advert.addresses.iter().eq(virtual_addresses), "{name}");
            assert_eq!(advert.link_local_first, datagram.source.is_ipv4(), "{name}");
            priorities.push(advert.priority.get());
        }
        // Active, resigned, the other one Active, preempted.
        priorities.dedup();
        assert_eq!(priorities, [200, 0, 100, 200], "{name}");
    }
}

/// With `strict`, keepalived and FRR are refused over IPv6: both nodes would be Active.
#[test]
fn strict_refuses_all_of_ipv6_and_nothing_of_ipv4() {
    let (mut accepted, mut first_address, mut hop_limit) = (0, 0, 0);
    for (name, ..) in CAPTURES {
        let frames = read_pcap(name);
        for datagram in advertisements(&frames) {
            let checksum = ChecksumPolicy::Only(ChecksumForm::PseudoHeader);
            match Advert::parse(&datagram, &Rules { checksum, ..Rules::STRICT }) {
                Ok(_) => accepted += 1,
                Err(ParseError::FirstAddress { .. }) => first_address += 1,
                Err(ParseError::HopLimit { found: UNICAST_HOP_LIMIT, .. }) => hop_limit += 1,
                Err(error) => panic!("{name}: {error}"),
            }
            assert_eq!(name.contains("ipv4"), datagram.source.is_ipv4(), "{name}");
        }
    }
    assert_eq!((accepted, first_address, hop_limit), (632, 153, 44));
}

/// The form of RFC 9568 is sent by none of them: whoever insists on it over IPv4 hears nobody.
#[test]
fn no_deployed_daemon_sends_the_checksum_of_rfc_9568() {
    for (name, ..) in CAPTURES.iter().filter(|(name, ..)| name.contains("ipv4")) {
        let frames = read_pcap(name);
        for datagram in advertisements(&frames) {
            let error = Advert::parse(&datagram, &Rules::STRICT).expect_err(name);
            assert!(matches!(error, ParseError::ChecksumForm { .. }), "{name}: {error}");
            assert_eq!(error.reason(), DiscardReason::Checksum);
        }
    }
}

#[test]
fn announcements_of_other_daemons_are_understood() {
    for (name, _, _, addresses) in CAPTURES {
        let mut announced = BTreeSet::new();
        for frame in read_pcap(name) {
            if let Some(arp) = arp::Arp::parse(&frame)
                && arp.sender_address == arp.target_address
            {
                assert_eq!((arp.operation, arp.target_mac), (arp::Operation::Request, MacAddress::BROADCAST));
                let mut again = [0; arp::FRAME_LEN];
                arp.encode(&mut again, arp.sender_mac, MacAddress::BROADCAST);
                assert_eq!(again, frame[..arp::FRAME_LEN], "{name}");
                announced.insert(IpAddr::V4(arp.sender_address));
            }
            if let Some(seen) = ndisc::NeighbourAdvertisement::parse(&frame)
                && !seen.solicited
                && seen.override_cached
            {
                let mac = seen.mac.expect("all of them name the link-layer address");
                let mut again = [0; ndisc::FRAME_LEN];
                ndisc::unsolicited_advertisement(&mut again, mac, seen.target, seen.router);
                assert_eq!(again[..], frame, "{name}");
                announced.insert(IpAddr::V6(seen.target));
            }
        }
        let frames = read_pcap(name);
        let datagram = advertisements(&frames)[0];
        let expected: BTreeSet<_> = (0..addresses).map(|i| virtual_address(&datagram, i)).collect();
        assert_eq!(announced, expected, "{name}");
    }
}

/// The virtual address number `index` of the captures.
fn virtual_address(datagram: &Datagram<'_>, index: usize) -> IpAddr {
    let index = u8::try_from(index).expect("at most three addresses");
    match datagram.source {
        IpAddr::V4(_) => [192, 0, 2, 100 + index].into(),
        IpAddr::V6(_) => [0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::from(index)].into(),
    }
}

fn least_hop_limit(name: &str) -> u8 {
    if name.ends_with("ipv6-unicast") { UNICAST_HOP_LIMIT } else { 255 }
}

/// The datagrams of protocol 112 among `frames`.
fn advertisements<'a>(frames: &'a [Vec<u8>]) -> Vec<Datagram<'a>> {
    let datagram = |frame: &'a Vec<u8>| {
        let family = match frame.get(12..14)? {
            [0x08, 0x00] => Family::Ipv4,
            [0x86, 0xdd] => Family::Ipv6,
            _ => return None,
        };
        parse_ip(family, &frame[14..]).ok()
    };
    frames.iter().filter_map(datagram).collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pcaps").join(format!("{name}.pcap"))
}

/// The frames of a classic pcap file: little-endian, microseconds, Ethernet, nothing cut off.
fn read_pcap(name: &str) -> Vec<Vec<u8>> {
    let file = std::fs::read(path(name)).expect("the captures are in the repository");
    let word = |at: usize| {
        let octets = file[at..].first_chunk().expect("a whole file");
        u32::from_le_bytes(*octets)
    };
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 1), "{name}: microseconds and Ethernet");
    let mut frames = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let length = word(at + 8);
        assert_eq!(length, word(at + 12), "{name}: the frame is whole");
        let begin = at + 16;
        at = begin + usize::try_from(length).expect("a frame fits memory");
        frames.push(file[begin..at].to_vec());
    }
    frames
}
