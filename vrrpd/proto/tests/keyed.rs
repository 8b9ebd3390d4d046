//! Keyed trailers against the golden vectors, which keepalived 2.4.3 was given as well.

mod scene;
mod vectors;

use std::sync::Arc;
use std::time::Duration;

use vrrp_proto::action::Input;
use vrrp_proto::node::MESSAGE_MAX;
use vrrp_proto::packet::{Advert, Datagram, Key, Rules};
use vrrp_proto::parameters::{Authentication, KeyMode, Keyring, Parameters, Replay};
use vrrp_proto::{AdverInterval, Family, Priority, Version};

use crate::scene::{LINK, Scene, addresses, facts, parameters};
use crate::vectors::{encode_again, octets, parse_ip, vectors};

/// What is counted for the vectors that are discarded.
const COUNTED: [(&str, &str); 8] = [
    ("H-04", "digest_errors"),
    ("H-05", "digest_errors"),
    ("H-06", "digest_errors"),
    ("H-07", "digest_errors"),
    ("H-08", "digest_errors"),
    ("H-09", "replay_errors"),
    ("H-10", "digest_errors"),
    ("H-11", "packet_length_errors"),
];

/// A receiver of the vectors that enforces, as they expect it.
fn receiver(key: &Key, version: Version, family: Family) -> Scene {
    let ring = Keyring::new(vec![key.clone()], key.number(), KeyMode::Enforce, Replay::Monotonic);
    let six = family == Family::Ipv6;
    let mut scene = Scene::new(Parameters {
        family,
        interval: AdverInterval::default_of(version),
        priority: Priority::new(50),
        addresses: addresses(if six { &["fe80::5e:1", "2001:db8:0:1::1"] } else { &["192.0.2.1"] }),
        authentication: Authentication::Keyed(Arc::new(ring.expect("its only key"))),
        ..parameters()
    });
    scene.facts(facts(if six { "fe80::b" } else { "192.0.2.3" }));
    // 2026-08-31, from which the vectors are.
    scene.input(Input::Clocks { wall: Duration::from_secs(0x6ab1_3b80 - 1000), boot: Duration::ZERO });
    scene
}

#[test]
fn every_vector_gets_its_verdict_in_their_order() {
    let all = vectors("hmac");
    assert_eq!(all.len(), 11);
    let of = |id: &str| all.iter().find(|vector| vector["id"] == id).expect(id);
    let key = Key::new(1, &octets(&of("H-01")["key_hex"])).expect("32 octets");
    let mut four = receiver(&key, Version::V3, Family::Ipv4);
    for vector in &all {
        let id = vector["id"].as_str().expect("an id");
        let packet = octets(&vector["packet_hex"]);
        let family = if packet[0] >> 4 == 6 { Family::Ipv6 } else { Family::Ipv4 };
        let datagram = parse_ip(family, &packet).expect(id);
        let mut other;
        let scene = match id {
            "H-02" => {
                other = receiver(&key, Version::V3, family);
                &mut other
            }
            "H-03" => {
                other = receiver(&key, Version::V2, family);
                &mut other
            }
            _ => &mut four,
        };
        let count = |scene: &Scene, name: &str| {
            serde_json::to_value(scene.statistics()).expect("counters serialize")[name].as_u64()
        };
        let counter = COUNTED.iter().find(|(of, _)| *of == id).map_or("advertisement_rcvd", |(_, name)| name);
        let accepted = vector["expect"]["verdict"] == "accept";
        assert_eq!(accepted, counter == "advertisement_rcvd", "{id}");
        let before = (count(scene, counter), count(scene, "advertisement_rcvd"));
        scene.input(Input::Received { link: LINK, datagram, arrived: scene.now });
        let after = (count(scene, counter), count(scene, "advertisement_rcvd"));
        assert_eq!(after.0, before.0.map(|count| count + 1), "{id}");
        assert_eq!(after.1 != before.1, accepted, "{id}");
    }
}

#[test]
fn what_is_accepted_is_written_octet_by_octet() {
    for vector in vectors("hmac").iter().filter(|vector| vector["expect"]["verdict"] == "accept") {
        let key = Key::new(1, &octets(&vector["key_hex"])).expect("32 octets");
        let packet = octets(&vector["packet_hex"]);
        let family = if packet[0] >> 4 == 6 { Family::Ipv6 } else { Family::Ipv4 };
        let datagram = parse_ip(family, &packet).expect("sound");
        let Datagram { source, destination, payload, .. } = datagram;
        let advert = Advert::parse(&datagram, &Rules::to_identify(&datagram)).expect("sound");
        let trailer = advert.trailer.expect("it has one");
        let mut again = [0; MESSAGE_MAX];
        let message = encode_again(&datagram, &advert);
        again[..message.len()].copy_from_slice(&message);
        let length = key.seal(&mut again, message.len(), trailer.sequence(), source, destination);
        assert_eq!(&again[..length.expect("there is room")], payload, "{}", vector["id"]);
    }
}
