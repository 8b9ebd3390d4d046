//! The frames around VRRP (8.1, 8.2): what each of `vectors/link.json` says about our addresses, and that
//! none of them moves a virtual router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_proto::packet::{Sighting, arp, ndisc};
use vrrp_proto::parameters::Parameters;
use vrrp_proto::{Family, MacAddress, Vrid};

use crate::scene::{A, Scene, addresses, parameters};
use crate::vectors::{octets, vectors};

const VIRTUAL4: &str = "00:00:5e:00:01:33";
const VIRTUAL6: &str = "00:00:5e:00:02:33";
/// Where the ICMPv6 message of a frame begins.
const ICMPV6: usize = 54;

/// An address, where it is, and whether everybody is told.
type Shown<'a> = (&'a str, &'a str, bool);
/// What each frame shows: a request who asks, probes and solicitations nobody.
const SHOWN: [(&str, Option<Shown<'static>>); 16] = [
    ("L-01", Some(("192.0.2.1", VIRTUAL4, true))),
    ("L-02", Some(("192.0.2.1", VIRTUAL4, true))),
    ("L-03", Some(("192.0.2.1", VIRTUAL4, true))),
    ("L-04", Some(("192.0.2.1", VIRTUAL4, true))),
    ("L-05", Some(("192.0.2.100", "02:00:00:00:00:64", false))),
    ("L-06", Some(("192.0.2.1", VIRTUAL4, false))),
    ("L-07", Some(("192.0.2.1", VIRTUAL4, false))),
    ("L-08", Some(("192.0.2.1", "02:00:00:00:00:0a", false))),
    ("L-09", None),
    ("L-10", Some(("192.0.2.1", "02:00:00:00:00:66", true))),
    ("L-11", Some(("fe80::5e:1", VIRTUAL6, true))),
    ("L-12", Some(("2001:db8:0:1::1", VIRTUAL6, true))),
    ("L-13", Some(("fe80::5e:1", VIRTUAL6, false))),
    ("L-14", None),
    ("L-15", None),
    ("L-16", Some(("fe80::5e:1", VIRTUAL6, true))),
];

fn sighting(frame: &[u8]) -> Option<Sighting> {
    match frame[12..14] {
        [0x08, 0x06] => Sighting::from_arp(frame),
        _ => Sighting::from_neighbour_advertisement(&frame[ICMPV6..]),
    }
}

fn frame(id: &str) -> Vec<u8> {
    let vectors = vectors("link");
    octets(&vectors.iter().find(|vector| vector["id"] == id).expect(id)["frame_hex"])
}

/// A router for the addresses of the frames.
fn router(family: Family) -> Parameters {
    let list: &[&str] = match family {
        Family::Ipv4 => &["192.0.2.1"],
        Family::Ipv6 => &["fe80::5e:1", "2001:db8:0:1::1"],
    };
    Parameters { family, addresses: addresses(list), ..parameters() }
}

#[test]
fn each_frame_shows_the_address_it_claims() {
    assert_eq!(vectors("link").len(), SHOWN.len());
    for (id, expected) in SHOWN {
        let shown =
            sighting(&frame(id)).map(|seen| (seen.address.to_string(), seen.mac.to_string(), seen.announced));
        let expected =
            expected.map(|(address, mac, announced)| (address.to_owned(), mac.to_owned(), announced));
        assert_eq!(shown, expected, "{id}");
    }
}

#[test]
fn no_frame_moves_a_router_and_a_claim_beside_the_active_one_is_told() {
    for (id, shown) in SHOWN {
        let frame = frame(id);
        let Some(sighting) = sighting(&frame) else { continue };
        let family = Family::of(sighting.address);
        let mut backup = Scene::backup(router(family));
        let running = backup.node.poll_timeout();
        backup.sight(sighting, backup.now);
        backup.drained();
        assert_eq!((backup.deeds(), backup.node.poll_timeout()), (vec![], running), "{id}");

        let mut active = Scene::active(router(family));
        // A predecessor may be heard until then.
        active.run_for(4 * A);
        active.forget();
        let running = active.node.poll_timeout();
        active.sight(sighting, active.now);
        active.drained();
        assert_eq!((active.deeds(), active.node.poll_timeout()), (vec![], running), "{id}");
        let claims = shown.is_some_and(|(address, ..)| address != "192.0.2.100");
        assert_eq!(active.statistics().address_conflicts, u64::from(claims), "{id}");
    }
}

/// Whoever asks, as `doctor` does, does not claim: its own address is the source, or for ARP none.
#[test]
fn a_question_is_written_octet_by_octet() {
    let host = MacAddress::new([2, 0, 0, 0, 0, 0x64]);
    let six = |text: &str| -> Ipv6Addr { text.parse().expect("an IPv6 address") };
    let mut out = [0xee; ndisc::FRAME_LEN];
    ndisc::solicitation(&mut out, host, six("fe80::64"), six("fe80::5e:1"));
    assert_eq!(out[..], frame("L-14"));

    for id in ["L-05", "L-09"] {
        let vector = frame(id);
        let read = arp::Arp::parse(&vector).expect(id);
        assert_eq!(IpAddr::V4(read.target_address).to_string(), "192.0.2.1", "{id}");
        let mut out = [0xee; arp::FRAME_LEN];
        read.encode(&mut out, read.sender_mac, MacAddress::BROADCAST);
        assert_eq!(out, vector[..arp::FRAME_LEN], "{id}");
    }
}

#[test]
fn announcements_are_the_vectors_octet_by_octet() {
    let vrid = Vrid::new(51).expect("51 is in range");
    let (mac4, mac6) = (vrid.mac(Family::Ipv4), vrid.mac(Family::Ipv6));
    let address = Ipv4Addr::new(192, 0, 2, 1);

    let mut out = [0xee; arp::FRAME_LEN];
    for (id, form) in [("L-01", arp::GarpForm::Request), ("L-04", arp::GarpForm::Reply)] {
        assert_eq!(arp::gratuitous(&mut out, form, mac4, address), arp::FRAME_LEN);
        assert_padded(&frame(id), &out, id);
    }
    // L-02 and L-03 are L-01 with another target hardware address: RFC 5227's and keepalived's.
    for (id, target_mac) in [("L-02", MacAddress::default()), ("L-03", MacAddress::BROADCAST)] {
        let arp = arp::Arp::parse(&frame(id)).expect(id);
        assert_eq!((arp.sender_address, arp.sender_mac, arp.target_mac), (address, mac4, target_mac));
        arp.encode(&mut out, mac4, MacAddress::BROADCAST);
        assert_padded(&frame(id), &out, id);
    }

    let mut out = [0xee; ndisc::FRAME_LEN];
    for (id, address) in [("L-11", "fe80::5e:1"), ("L-12", "2001:db8:0:1::1")] {
        let address: Ipv6Addr = address.parse().expect("an IPv6 address");
        assert_eq!(ndisc::unsolicited_advertisement(&mut out, mac6, address, true), ndisc::FRAME_LEN);
        assert_eq!(out[..], frame(id), "{id}");
        let seen = ndisc::NeighbourAdvertisement::parse(&out).expect(id);
        assert_eq!((seen.target, seen.mac), (address, Some(mac6)));
        assert!(seen.router && !seen.solicited && seen.override_cached);
    }
}

#[test]
fn a_neighbour_advertisement_with_any_wrong_bit_is_refused_or_says_the_same() {
    let mut frame = [0; ndisc::FRAME_LEN];
    let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x5e, 1);
    ndisc::unsolicited_advertisement(&mut frame, MacAddress::new([2, 0, 0, 0, 0, 1]), address, false);
    let seen = ndisc::NeighbourAdvertisement::parse(&frame);
    for bit in 0..frame.len() * 8 {
        let mut flipped = frame;
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        // Ethernet addresses are the link's affair; traffic class and flow label mean nothing here.
        let ignored = bit / 8 < 12 || (14 * 8 + 4..18 * 8).contains(&bit);
        let expected = if ignored { seen } else { None };
        assert_eq!(ndisc::NeighbourAdvertisement::parse(&flipped), expected, "bit {bit}");
    }
}

/// `frame` is `expected` with zeros after it.
fn assert_padded(frame: &[u8], expected: &[u8], id: &str) {
    let (head, padding) = frame.split_at(expected.len());
    assert_eq!(head, expected, "{id}");
    assert!(padding.iter().all(|octet| *octet == 0), "{id}");
}
