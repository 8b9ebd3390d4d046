//! Receiving (7.1): which packets are discarded, how they are counted, and that they do nothing else.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use vrrp_proto::action::{Input, Report};
use vrrp_proto::packet::{ChecksumForm, ChecksumPolicy, Datagram, DiscardReason, encode};
use vrrp_proto::parameters::{Authentication, LinkId, Parameters, RouterId};
use vrrp_proto::snapshot::{Alarm, Discard, LinkStatistics, StateName, Statistics};
use vrrp_proto::{AdverInterval, Family, Priority, Version, Vrid};

use crate::scene::{LINK, ROUTER, Scene, VRID, addresses, facts, ip, ms, parameters};
use crate::vectors::{Vector, packets_of};

/// A router as the vector's receiver describes it, in the state Backup.
fn receiver(vector: &Vector) -> Scene {
    started(vector, configuration(vector))
}

fn started(vector: &Vector, parameters: Parameters) -> Scene {
    let mut scene = Scene::new(parameters);
    let own = &vector.json["receiver"]["interface_primary"];
    scene.facts(facts(own.as_str().expect("an address")));
    scene.pass(ms(7));
    scene.forget();
    scene
}

fn configuration(vector: &Vector) -> Parameters {
    let receiver = &vector.json["receiver"];
    let texts = |list: &Value| -> Vec<String> {
        let texts = list.as_array().map(Vec::as_slice).unwrap_or_default();
        texts.iter().map(|text| text.as_str().expect("an address").to_owned()).collect()
    };
    let vips = texts(&receiver["vips"]);
    let policy = vector.strict_rules().checksum;
    Parameters {
        family: vector.family,
        vrid: Vrid::new(receiver["vrids"][0].as_u64().expect("a number") as u8).expect("not zero"),
        priority: Priority::new(receiver["local_priority"].as_u64().expect("a number") as u8),
        interval: interval_of(vector.version(), &receiver["adver_int_cs"]),
        authentication: vector.password().map_or(Authentication::None, Authentication::Password),
        addresses: addresses(&vips.iter().map(String::as_str).collect::<Vec<_>>()),
        peers: texts(&receiver["peers"]).iter().map(|peer| ip(peer)).collect(),
        strict: true,
        checksum_policy: policy,
        checksum_form: match policy {
            ChecksumPolicy::Only(form) => form,
            ChecksumPolicy::Either => ChecksumForm::MessageOnly,
        },
        ..parameters()
    }
}

fn deliver(vector: &Vector, scene: &mut Scene) {
    deliver_on(LINK, vector, scene);
}

fn deliver_on(link: LinkId, vector: &Vector, scene: &mut Scene) {
    let arrived = scene.now;
    match vector.datagram() {
        Ok(datagram) => scene.input(Input::Received { link, datagram, arrived }),
        Err(error) => scene.input(Input::Damaged { link, error }),
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
    let vectors = packets_of("malformed");
    assert_eq!(vectors.len(), 56);
    for vector in &vectors {
        let mut scene = receiver(vector);
        let state = scene.state();
        assert_eq!(state == StateName::Active, vector.id == "B-38", "the receiver is the owner");
        let (before, running) = (error_counters(&scene), scene.node.poll_timeout());
        deliver(vector, &mut scene);
        let after = error_counters(&scene);
        let moved: Vec<_> = before.iter().zip(&after).filter(|(b, a)| a.1 != b.1).map(|(_, a)| a).collect();
        assert_eq!(moved.len(), 1, "{}: {moved:?}", vector.id);
        assert_eq!(moved[0].1, 1, "{}", vector.id);
        assert_eq!(moved[0].0, counter(vector), "{}", vector.id);
        assert_eq!(scene.node.poll_timeout(), running, "{}", vector.id);
        assert_eq!(scene.state(), state, "{}", vector.id);
        assert_eq!(discards(&scene), 1, "{}", vector.id);
        let (reason, discard) = discarded(&scene, &vector.id);
        assert_eq!(discard.packets, 1, "{}", vector.id);
        assert_eq!((reason.name() == counter(vector)).then_some(discard.age), Some(ms(0)), "{}", vector.id);
        let global = serde_json::to_value(scene.node.statistics()).expect("counters serialize");
        for (name, count) in global.as_object().expect("an object") {
            assert_eq!(count == 1, *name == counter(vector), "{}: {global}", vector.id);
        }
        assert_eq!(scene.deeds(), [""; 0], "{}", vector.id);
    }
}

/// The one reason that a packet was discarded for, at the router or at its interface.
fn discarded(scene: &Scene, id: &str) -> (DiscardReason, Discard) {
    let (router, link) = (scene.snapshot().discards, scene.node.link_discards(LINK, scene.now));
    let all: Vec<_> = router.iter().chain(link.iter()).collect();
    let [only] = all[..] else { panic!("{id}: {all:?}") };
    only
}

/// How often a discarded packet was reported.
fn discards(scene: &Scene) -> usize {
    let discard = |report: &&Report| matches!(report, Report::Discarded { link: LINK, .. });
    scene.reports().iter().filter(discard).count()
}

/// The malformed packets that the default configuration accepts, and what it tells of them.
const ACCEPTED_BY_DEFAULT: [(&str, &[Alarm]); 4] =
    [("B-23", &[]), ("B-24", &[]), ("B-33", &[Alarm::LinkLocalMissing]), ("B-34", &[Alarm::SharedVrid])];

/// Without `strict`, and with either checksum form.
#[test]
fn the_default_configuration_accepts_what_deployed_routers_do_and_tells_of_it() {
    for vector in &packets_of("malformed") {
        let Parameters { checksum_policy, checksum_form, .. } = parameters();
        let strict = configuration(vector);
        // Another priority than the sender's, which would be told of as well.
        let priority = if strict.priority.is_owner() { Priority::OWNER } else { Priority::new(77) };
        let lax = Parameters { strict: false, checksum_policy, checksum_form, priority, ..strict };
        let mut scene = started(vector, lax);
        deliver(vector, &mut scene);
        let accepted = ACCEPTED_BY_DEFAULT.iter().find(|(id, _)| *id == vector.id);
        assert_eq!(scene.statistics().advertisement_rcvd, u64::from(accepted.is_some()), "{}", vector.id);
        if let Some((id, expected)) = accepted {
            let alarms: Vec<Alarm> = scene.snapshot().alarms.iter().map(|(alarm, _)| alarm).collect();
            assert_eq!(alarms, *expected, "{id}");
        }
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
        "B-38" => "owner_conflicts".to_owned(),
        "B-39" | "B-40" | "B-41" | "B-42" | "B-43" | "B-56" => "auth_errors".to_owned(),
        _ => named,
    }
}

/// What can be wrong with a packet of [`two_faults`], in the order of the checks (`protocol.md` 3.1),
/// and the counter of each.
const FAULTS: [(&str, &str); 12] = [
    ("destination", "destination_errors"),
    ("source", "source_errors"),
    ("hop limit", "ip_ttl_errors"),
    ("octets", "packet_length_errors"),
    ("version", "version_errors"),
    ("type", "invalid_type_pkts_rcvd"),
    ("length", "packet_length_errors"),
    ("checksum", "checksum_errors"),
    ("count", "address_list_errors"),
    ("interval", "interval_errors"),
    ("first address", "address_list_errors"),
    ("peer", "peer_errors"),
];

#[test]
fn of_two_faults_the_one_that_is_checked_first_is_counted() {
    for (first, (one, counter)) in FAULTS.iter().enumerate() {
        for (other, _) in &FAULTS[first + 1..] {
            // No address has two of them.
            if (*one, *other) == ("source", "peer") {
                continue;
            }
            let mut scene = Scene::backup(Parameters {
                family: Family::Ipv6,
                addresses: addresses(&["fe80::5e:1"]),
                peers: [ip("fe80::b")].into(),
                strict: true,
                ..parameters()
            });
            scene.facts(facts("fe80::a"));
            let before = error_counters(&scene);
            two_faults(&mut scene, one, other);
            let after = error_counters(&scene);
            let moved: Vec<_> =
                before.iter().zip(&after).filter(|(b, a)| b != a).map(|(_, a)| &a.0).collect();
            assert_eq!(moved, [counter], "{one} and {other}");
        }
    }
}

/// Delivers a packet that is right but for these two.
fn two_faults(scene: &mut Scene, one: &str, other: &str) {
    let is = |fault: &str| fault == one || fault == other;
    let pick = |fault: &str, wrong, right| if is(fault) { wrong } else { right };
    let source = ip(if is("source") { "fe80::a" } else { pick("peer", "fe80::c", "fe80::b") });
    let destination = ip(pick("destination", "ff02::12", "fe80::a"));
    let mut message = vec![0; 24];
    let address = ip(pick("first address", "2001:db8::1", "fe80::5e:1"));
    let interval = AdverInterval::from_centiseconds(100).expect("in range");
    let (vrid, priority, form) = (vrid(VRID), Priority::new(200), ChecksumForm::PseudoHeader);
    encode(&mut message, vrid, priority, interval, &[address], source, destination, form).expect("fits");
    if is("version") {
        message[0] = 0x21;
    }
    if is("type") {
        message[0] += 1;
    }
    if is("count") {
        message[3] = 0;
        message.truncate(8);
    }
    if is("interval") {
        message[5] = 0;
    }
    if is("length") {
        message.extend([0; 4]);
    }
    message[6..8].fill(0);
    let right = checksum(source, destination, &message);
    message[6..8].copy_from_slice(&(if is("checksum") { right ^ 0x5555 } else { right }).to_be_bytes());
    if is("octets") {
        message.truncate(7);
    }
    let hop_limit = if is("hop limit") { 254 } else { 255 };
    let datagram = Datagram { source, destination, hop_limit, payload: &message };
    scene.input(Input::Received { link: LINK, datagram, arrived: scene.now });
}

/// Of a message over IPv6 whose field is zero (RFC 8200 8.1, RFC 1071).
fn checksum(source: IpAddr, destination: IpAddr, message: &[u8]) -> u16 {
    let mut octets = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V6(address) => octets.extend(address.octets()),
            IpAddr::V4(_) => panic!("{address} is not IPv6"),
        }
    }
    octets.extend([0, 0, 0, u8::try_from(message.len()).expect("a short one"), 0, 0, 0, 112]);
    octets.extend(message);
    let words = octets.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}

/// An interval of the vectors, in centiseconds whatever the version.
fn interval_of(version: Version, centiseconds: &Value) -> AdverInterval {
    let centiseconds = u16::try_from(centiseconds.as_u64().expect("a number")).expect("in range");
    let interval = match version {
        Version::V2 => AdverInterval::from_seconds((centiseconds / 100) as u8),
        Version::V3 => AdverInterval::from_centiseconds(centiseconds),
    };
    interval.expect("a valid interval")
}

fn vrid(number: u8) -> Vrid {
    Vrid::new(number).expect("not zero")
}

#[test]
fn a_foreign_vrid_is_told_from_damage_whatever_its_checksum_form() {
    for form in [ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader] {
        let mut scene = Scene::backup(Parameters { strict: true, ..parameters() });
        let (source, destination) = (ip("192.0.2.7"), ip("224.0.0.18"));
        let mut message = [0; 12];
        let interval = AdverInterval::from_centiseconds(100).expect("in range");
        let list = [ip("192.0.2.1")];
        let (vrid, priority) = (vrid(VRID + 1), Priority::new(200));
        encode(&mut message, vrid, priority, interval, &list, source, destination, form).expect("fits");
        let hear = |scene: &mut Scene, message: &[u8]| {
            let datagram = Datagram { source, destination, hop_limit: 255, payload: message };
            scene.input(Input::Received { link: LINK, datagram, arrived: scene.now });
        };
        hear(&mut scene, &message);
        let foreign = LinkStatistics { vrid_errors: 1, ..LinkStatistics::default() };
        assert_eq!(scene.node.link_statistics(LINK), foreign);
        message[2] ^= 0x55;
        hear(&mut scene, &message);
        assert_eq!(scene.node.link_statistics(LINK), LinkStatistics { checksum_errors: 1, ..foreign });
    }
}

/// Nobody here is strict with it.
#[test]
fn a_foreign_vrid_is_not_blamed_for_what_deployed_routers_do() {
    let vectors = packets_of("malformed");
    let vector = vectors.iter().find(|vector| vector.id == "B-33").expect("B-33 is not link-local first");
    let vrid = vrid(VRID + 1);
    let mut scene = started(vector, Parameters { vrid, ..configuration(vector) });
    deliver(vector, &mut scene);
    let foreign = LinkStatistics { vrid_errors: 1, ..LinkStatistics::default() };
    assert_eq!(scene.node.link_statistics(LINK), foreign);
}

#[test]
fn a_thousand_malformed_packets_are_counted_and_reported_once_a_second() {
    for vector in &packets_of("malformed") {
        let mut scene = receiver(vector);
        for _ in 0..1000 {
            deliver(vector, &mut scene);
            scene.pass(Duration::from_millis(2));
        }
        assert_eq!(discards(&scene), 2, "{}", vector.id);
        assert!(scene.alarms().len() <= 1, "{}: {:?}", vector.id, scene.alarms());
        let counter = counter(vector);
        let count = error_counters(&scene).into_iter().filter(|(name, _)| *name == counter);
        assert_eq!(count.map(|(_, count)| count).max(), Some(1000), "{}", vector.id);
    }
}

#[test]
fn a_flood_of_malformed_packets_does_not_delay_the_takeover() {
    // An owner takes over from nobody.
    for vector in packets_of("malformed").iter().filter(|vector| vector.id != "B-38") {
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
    let vectors = packets_of("valid");
    assert_eq!(vectors.len(), 43);
    for vector in &vectors {
        let mut scene = receiver(vector);
        deliver(vector, &mut scene);
        let statistics = scene.statistics();
        assert_eq!(statistics.advertisement_rcvd, 1, "{}", vector.id);
        let released = vector.json["decoded"]["vrrp"]["priority"] == 0;
        assert_eq!(statistics.priority_zero_pkts_rcvd, u64::from(released), "{}", vector.id);
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
    let vectors = packets_of("valid");
    let six = vectors.iter().find(|vector| vector.id == "V6-01").expect("V6-01");
    scene.pass(ms(7));
    deliver(six, &mut scene);
    assert_eq!(scene.node.poll_timeout(), running);
    assert_eq!(scene.node.link_statistics(LINK).vrid_errors, 1);
}

#[test]
fn the_same_vrid_on_another_interface_is_another_router() {
    let (other_router, other_link) = (RouterId(1), LinkId(1));
    let mut scene = Scene::backup(parameters());
    let parameters = Box::new(Parameters { link: other_link, ..parameters() });
    scene.input(Input::Configure { router: other_router, parameters });
    scene.input(Input::Facts { router: other_router, facts: facts("198.51.100.3") });
    let vectors = packets_of("valid");
    let vector = vectors.iter().find(|vector| vector.id == "V3-02").expect("V3-02");
    let received = |scene: &Scene| {
        [ROUTER, other_router].map(|router| {
            let snapshot = scene.node.snapshot(router, scene.now).expect("it is configured");
            snapshot.statistics.advertisement_rcvd
        })
    };
    deliver_on(other_link, vector, &mut scene);
    assert_eq!(received(&scene), [0, 1]);
    deliver(vector, &mut scene);
    assert_eq!(received(&scene), [1, 1]);
    deliver_on(LinkId(2), vector, &mut scene);
    assert_eq!((received(&scene), scene.node.link_statistics(LinkId(2)).vrid_errors), ([1, 1], 1));
}
