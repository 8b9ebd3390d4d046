//! The malformed vectors, sent by a stranger on the wire.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use lab::story::{PRIMARY, SECONDARY, router};
use lab::{Node, Pair, now_ns};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

/// What the vectors are about.
const ADDRESS: &str = "192.0.2.1";
/// A fault of each kind that a kernel lets through.
const FAULTS: [&str; 11] =
    ["B-02", "B-03", "B-05", "B-07", "B-10", "B-14", "B-15", "B-23", "B-29", "B-31", "B-44"];
/// So often each of them is sent: together what a socket has room for.
const TIMES: u64 = 10;

/// A packet of `malformed.json`, and the counter that it moves.
fn vector(id: &str) -> (Vec<u8>, String) {
    let text = include_str!("../../../vrrpd/proto/tests/vectors/malformed.json");
    let json: Value = serde_json::from_str(text).expect("the vectors are JSON");
    let vectors = json["vectors"].as_array().expect("a list");
    let vector = vectors.iter().find(|vector| vector["id"] == id).expect(id);
    let hex = vector["packet_hex"].as_str().expect("hex");
    let octet = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let counter = vector["expect"]["counter_rfc8347"].as_str().expect("a counter");
    let counter = counter.split([' ', ';']).next().expect("a word").replace('-', "_");
    ((0..hex.len()).step_by(2).map(octet).collect(), counter)
}

/// Sends whole IPv4 packets, whoever they say they are from.
fn send(node: &Node, packets: &[Vec<u8>]) {
    const RAW: i32 = 255;
    node.namespace().enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).expect("root may");
        socket.set_header_included_v4(true).expect("a raw socket");
        socket.bind_device(Some(b"eth0")).expect("eth0 is there");
        for packet in packets {
            let to = Ipv4Addr::from(*packet[16..].first_chunk::<4>().expect("a header"));
            socket.send_to(packet, &SocketAddrV4::new(to, 0).into()).expect("the client is on the link");
        }
    });
}

fn pair() -> Option<Pair> {
    let strict = "strict = true\nipv4_checksum = \"rfc9568\"";
    let config = |node: &Node| {
        let priority = if node.name() == "a" { PRIMARY } else { SECONDARY };
        router(priority, &[ADDRESS], strict).replace("vrid = 201", "vrid = 51")
    };
    Pair::with_address(ADDRESS, config)
}

#[test]
fn what_is_malformed_is_counted_told_once_and_moves_nobody() {
    let Some(Pair { lab, a, b, primary, secondary }) = pair() else { return };
    let capture = lab.capture();
    let vectors = FAULTS.map(vector);
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, counter) in &vectors {
        *expected.entry(counter).or_default() += TIMES;
    }
    let packets: Vec<Vec<u8>> = vectors.iter().map(|(packet, _)| packet.clone()).collect();
    for _ in 0..TIMES {
        send(lab.client(), &packets);
    }
    for (node, daemon) in [(&a, &primary), (&b, &secondary)] {
        let router = node.wait_for_router("web", "with every fault counted", |router| {
            let count = |name: &str| router["statistics"][name].as_u64().unwrap_or_default();
            expected.iter().all(|(name, sent)| count(name) >= *sent)
        });
        for (name, sent) in &expected {
            assert_eq!(router["statistics"][name].as_u64(), Some(*sent), "{}: {name}", node.name());
        }
        let active = u64::from(node.name() == "a");
        assert_eq!(router["statistics"]["master_transitions"].as_u64(), Some(active));
        let told = daemon.log().lines().filter(|line| line.contains("discarded")).count();
        assert!(told <= 2 * expected.len(), "{told} lines");
        assert!(daemon.log().contains("from 192.0.2.2"), "the stranger is named");
    }
    capture.wait_for_advert("a", now_ns());
    assert!(capture.adverts_of("b").is_empty());
    assert!(!capture.adverts_of("a").iter().any(lab::Frame::resigns));
}

/// B-31 makes Active Routers of keepalived and FRR.
#[test]
fn a_flood_of_refused_advertisements_delays_no_takeover() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = pair() else { return };
    let flood: Vec<Vec<u8>> = ["B-02", "B-31"].map(|id| vector(id).0).into();
    let capture = lab.capture();
    capture.wait_for_advert("a", 0);
    lab.power_off(&a, primary);
    let lit = |lab: &lab::Lab| lab.holders(ADDRESS).contains(&"b".to_owned());
    while !lit(&lab) {
        send(lab.client(), &flood);
    }
    let router = b.wait_for_state("web", "active");
    assert!(router["statistics"]["interval_errors"].as_u64() > Some(0), "it heard the flood: {router}");
    let last_ns = capture.adverts_of("a").last().expect("waited for").time_ns;
    let silence = capture.wait_for_advert("b", last_ns).time_ns - last_ns;
    assert!(silence >= lab::story::DOWN_NS, "b claimed after {silence} ns");
}
