//! Receiving (7.1): which packets are discarded, how they are counted, and that they do nothing else.

use std::time::Duration;

use serde_json::Value;
use vrrp_proto::action::{Input, Report};
use vrrp_proto::packet::{ChecksumForm, ChecksumPolicy};
use vrrp_proto::parameters::Parameters;
use vrrp_proto::snapshot::{LinkStatistics, StateName, Statistics};
use vrrp_proto::{AdverInterval, Priority, Vrid};

use crate::scene::{LINK, Scene, addresses, facts, ip, ms, parameters};
use crate::vectors::{Vector, vectors_of_version_3};

/// A router as the vector's receiver describes it, in the state Backup.
fn receiver(vector: &Vector) -> Scene {
    let receiver = &vector.json["receiver"];
    let texts = |list: &Value| -> Vec<String> {
        let texts = list.as_array().map(Vec::as_slice).unwrap_or_default();
        texts.iter().map(|text| text.as_str().expect("an address").to_owned()).collect()
    };
    let vips = texts(&receiver["vips"]);
    let policy = vector.strict_rules().checksum;
    let mut scene = Scene::new(Parameters {
        family: vector.family,
        vrid: Vrid::new(receiver["vrids"][0].as_u64().expect("a number") as u8).expect("not zero"),
        priority: Priority::new(receiver["local_priority"].as_u64().expect("a number") as u8),
        interval: AdverInterval::from_centiseconds(
            u16::try_from(receiver["adver_int_cs"].as_u64().expect("a number")).expect("in range"),
        )
        .expect("a valid interval"),
        addresses: addresses(&vips.iter().map(String::as_str).collect::<Vec<_>>()),
        peers: texts(&receiver["peers"]).iter().map(|peer| ip(peer)).collect(),
        strict: true,
        checksum_policy: policy,
        checksum_form: match policy {
            ChecksumPolicy::Only(form) => form,
            ChecksumPolicy::Either => ChecksumForm::MessageOnly,
        },
        ..parameters()
    });
    scene.facts(facts(receiver["interface_primary"].as_str().expect("an address")));
    scene.pass(ms(7));
    scene.forget();
    scene
}

fn deliver(vector: &Vector, scene: &mut Scene) {
    let arrived = scene.now;
    match vector.datagram() {
        Ok(datagram) => scene.input(Input::Received { link: LINK, datagram, arrived }),
        Err(error) => scene.input(Input::Damaged { link: LINK, error }),
    }
}

/// Name and value of every error counter, of the router and of its interface.
fn error_counters(scene: &Scene) -> Vec<(String, u64)> {
    let numbers = |json: Value| -> Vec<(String, u64)> {
        let fields = json.as_object().expect("statistics are an object").clone();
        fields.into_iter().map(|(name, value)| (name, value.as_u64().expect("a count"))).collect()
    };
    let router: Statistics = scene.statistics();
    let link: LinkStatistics = scene.node.link_statistics(LINK);
    let mut counters = numbers(serde_json::to_value(router).expect("counters serialize"));
    counters.extend(numbers(serde_json::to_value(link).expect("counters serialize")));
    counters
}

#[test]
fn a_malformed_packet_moves_one_counter_and_nothing_else() {
    let vectors = vectors_of_version_3("malformed");
    assert_eq!(vectors.len(), 39);
    for vector in &vectors {
        let mut scene = receiver(vector);
        let (before, running) = (error_counters(&scene), scene.node.poll_timeout());
        deliver(vector, &mut scene);
        let after = error_counters(&scene);
        let moved: Vec<_> = before.iter().zip(&after).filter(|(b, a)| a.1 != b.1).map(|(_, a)| a).collect();
        assert_eq!(moved.len(), 1, "{}: {moved:?}", vector.id);
        assert_eq!(moved[0].1, 1, "{}", vector.id);
        assert_eq!(moved[0].0, counter(vector), "{}", vector.id);
        assert_eq!(scene.node.poll_timeout(), running, "{}", vector.id);
        assert_eq!(scene.state(), StateName::Backup, "{}", vector.id);
        let reports = scene.reports();
        assert!(matches!(reports[..], [Report::Discarded { link: LINK, .. }]), "{}: {reports:?}", vector.id);
        assert_eq!(scene.deeds(), [""; 0], "{}", vector.id);
    }
}

/// The counter of RFC 8347, or ours where it has none. A packet that belongs to no router here,
/// because its VRID is missing or nobody's, counts at the interface.
fn counter(vector: &Vector) -> String {
    let named = vector.json["expect"]["counter_rfc8347"].as_str().expect("a string");
    let named = named.split([' ', ';']).next().expect("the first word").replace('-', "_");
    match vector.id.as_str() {
        "B-45" | "B-46" | "B-47" => "destination_errors".to_owned(),
        "B-48" => "peer_errors".to_owned(),
        "B-49" | "B-50" | "B-51" => "source_errors".to_owned(),
        "B-52" | "B-53" => "ip_header_errors".to_owned(),
        _ => named,
    }
}

#[test]
fn a_thousand_malformed_packets_are_counted_and_reported_once_a_second() {
    for vector in &vectors_of_version_3("malformed") {
        let mut scene = receiver(vector);
        for _ in 0..1000 {
            deliver(vector, &mut scene);
            scene.pass(Duration::from_millis(2));
        }
        assert_eq!(scene.reports().len(), 2, "{}", vector.id);
        let count = error_counters(&scene).into_iter().find(|(_, count)| *count > 0);
        assert_eq!(count.map(|(_, count)| count), Some(1000), "{}", vector.id);
    }
}

#[test]
fn a_flood_of_malformed_packets_does_not_delay_the_takeover() {
    for vector in &vectors_of_version_3("malformed") {
        let mut scene = receiver(vector);
        let expected = scene.node.poll_timeout().expect("the Active_Down_Timer runs");
        while scene.now + ms(100) < expected {
            scene.pass(ms(100));
            deliver(vector, &mut scene);
            scene.woke();
            scene.drained();
        }
        scene.forget();
        scene.next_timeout();
        assert_eq!((scene.now, scene.state()), (expected, StateName::Active), "{}", vector.id);
    }
}

#[test]
fn a_valid_packet_is_received_and_moves_no_error_counter_but_a_warning() {
    let vectors = vectors_of_version_3("valid");
    assert_eq!(vectors.len(), 30);
    for vector in &vectors {
        let mut scene = receiver(vector);
        deliver(vector, &mut scene);
        let statistics = scene.statistics();
        assert_eq!(statistics.advertisement_rcvd, 1, "{}", vector.id);
        let warnings = vector.json["expect"]["warnings"].to_string();
        assert_eq!(
            statistics.interval_errors > 0,
            warnings.contains("interval"),
            "{}: {warnings}",
            vector.id
        );
        assert_eq!(
            statistics.address_list_errors > 0,
            warnings.contains("address-list"),
            "{}: {warnings}",
            vector.id
        );
        let discarded = scene.reports().iter().any(|report| matches!(report, Report::Discarded { .. }));
        assert!(!discarded, "{}", vector.id);
    }
}

#[test]
fn the_same_vrid_in_the_other_family_is_another_router() {
    let mut scene = Scene::backup(parameters());
    let running = scene.node.poll_timeout();
    let vectors = vectors_of_version_3("valid");
    let six = vectors.iter().find(|vector| vector.id == "V6-01").expect("V6-01");
    scene.pass(ms(7));
    deliver(six, &mut scene);
    assert_eq!(scene.node.poll_timeout(), running);
    assert_eq!(scene.node.link_statistics(LINK).vrid_errors, 1);
}
