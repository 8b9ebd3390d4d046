//! The state machine of RFC 9568 6.4 and the receive checks of 7.1, through the public interface of
//! the node. `docs/rfc9568.md` lists what each test stands for.

mod scene;
mod vectors;

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use vrrp_proto::action::{Action, Input, Report};
use vrrp_proto::packet::{ChecksumForm, ChecksumPolicy};
use vrrp_proto::parameters::Parameters;
use vrrp_proto::snapshot::{LinkStatistics, StateName, Statistics};
use vrrp_proto::{AdverInterval, Family, Priority, Vrid};

use crate::scene::{LINK, ROUTER, Scene, addresses, facts, ip, ms, parameters};
use crate::vectors::{Vector, vectors, vectors_of_version_3};

/// Rows for what this version does not offer: VRRPv2, and the silence of RFC 5798 towards losing
/// advertisements (which RFC 9568 1.1 lists among its changes).
const NOT_OFFERED: [&str; 9] = ["F-04", "F-05", "F-16", "F-26", "F-27", "F-48", "F-49", "F-50", "F-59"];
/// How long the addresses of a router that gave way go on answering.
const HANDOVER: Duration = ms(20);

#[test]
fn the_state_machine_follows_the_golden_rows() {
    let rows = vectors("fsm");
    let (skipped, driven): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| NOT_OFFERED.contains(&row["id"].as_str().expect("an id")));
    assert_eq!((rows.len(), skipped.len(), driven.len()), (47, NOT_OFFERED.len(), 38));
    for row in skipped {
        assert!(row["config"]["version"] == 2 || row["config"]["rfc5798"] == true, "{row}");
    }
    for row in driven {
        drive(&Row(row));
    }
}

struct Row<'a>(&'a Value);

impl Row<'_> {
    fn id(&self) -> &str {
        self.0["id"].as_str().expect("an id is a string")
    }

    fn number(&self, object: &str, key: &str) -> u16 {
        let number = self.0[object][key].as_u64().expect(key);
        u16::try_from(number).expect("in range")
    }

    fn primary(&self) -> &str {
        self.0["config"]["primary"].as_str().expect("an address")
    }

    fn state(&self, key: &str) -> StateName {
        match self.0[key].as_str() {
            Some("initialize") => StateName::Initialize,
            Some("backup") => StateName::Backup,
            Some("active") => StateName::Active,
            other => panic!("{}: {other:?} is no state", self.id()),
        }
    }

    fn parameters(&self) -> Parameters {
        let six = ip(self.primary()).is_ipv6();
        let family = if six { Family::Ipv6 } else { Family::Ipv4 };
        Parameters {
            family,
            priority: Priority::new(self.0["config"]["priority"].as_u64().expect("a number") as u8),
            interval: AdverInterval::from_centiseconds(self.number("config", "adver_int_cs"))
                .expect("a valid interval"),
            preempt_mode: self.0["config"]["preempt"] == true,
            addresses: addresses(if six { &["fe80::5e:1"] } else { &["192.0.2.1"] }),
            ..parameters()
        }
    }

    /// The argument of an action of the row, if it has the action.
    fn argument(&self, action: &str) -> Option<u64> {
        let actions = self.0["actions"].as_array().expect("a list of actions");
        let argument = actions.iter().find_map(|each| {
            let (name, argument) = each.as_str().expect("a string").split_once(':')?;
            (name == action).then_some(argument)
        });
        argument.map(|argument| argument.parse().expect("a number"))
    }

    fn has(&self, action: &str) -> bool {
        self.0["actions"].as_array().expect("a list of actions").iter().any(|each| each == action)
    }
}

/// Brings a router to the row's state, lets the row's event happen, and compares.
fn drive(row: &Row<'_>) {
    let mut scene = arrange(row);
    let running = scene.node.poll_timeout();
    happen(row, &mut scene);
    assert_eq!(scene.state(), row.state("next"), "{}", row.id());
    if let Some(learned) = row.argument("set_active_adver_interval") {
        let interval = scene.snapshot().active_adver_interval;
        assert_eq!(u64::from(interval.centiseconds()), learned, "{}", row.id());
    }
    let occurred = scene.now;
    let expected = deeds(row, &mut scene);
    assert_eq!(scene.deeds(), expected, "{}", row.id());
    let timer = row.argument("start_down_timer").or(row.argument("start_adver_timer"));
    match timer {
        Some(nanoseconds) => {
            let expected = occurred + Duration::from_nanos(nanoseconds);
            assert_eq!(scene.node.poll_timeout(), Some(expected), "{}", row.id());
        }
        None if row.has("discard") => assert_eq!(scene.node.poll_timeout(), running, "{}", row.id()),
        None => assert_eq!(scene.node.poll_timeout(), None, "{}", row.id()),
    }
}

fn arrange(row: &Row<'_>) -> Scene {
    let state = row.state("state");
    let parameters = row.parameters();
    if state == StateName::Initialize {
        return Scene::new(parameters);
    }
    let interval = parameters.interval;
    let mut scene = Scene::new(parameters);
    scene.facts(facts(row.primary()));
    if state == StateName::Active {
        while scene.state() != StateName::Active {
            scene.next_timeout();
        }
        scene.pass(interval.duration() / 2);
        if row.0["event"]["type"] == "adver_timer" {
            scene.pass(interval.duration() / 2);
        } else if interval.duration() > ms(40) {
            // Off the deadline, so that a timer that is left alone is told from one started anew.
            scene.pass(ms(7));
        }
    } else {
        let learned =
            u16::try_from(row.0["active_adver_interval_cs"].as_u64().expect("a number")).expect("in range");
        if learned != interval.centiseconds() {
            scene.hear_interval("192.0.2.77", 254, learned);
        }
        scene.pass(ms(7));
    }
    assert_eq!(scene.state(), state, "{}", row.id());
    scene.forget();
    scene
}

fn happen(row: &Row<'_>, scene: &mut Scene) {
    let event = &row.0["event"];
    match event["type"].as_str().expect("a string") {
        "startup" => scene.facts(facts(row.primary())),
        "shutdown" => scene.shutdown(),
        "down_timer" | "adver_timer" => scene.next_timeout(),
        "advert" => {
            let source = event["src"].as_str().expect("an address");
            let priority = event["priority"].as_u64().expect("a number") as u8;
            scene.hear_interval(source, priority, row.number("event", "max_adver_int_cs"));
        }
        other => panic!("{}: {other} is no event", row.id()),
    }
}

/// What is done in place of the row's actions, with the reasons why it differs from the letter:
///
/// - row 5 asks for the addresses first and advertises when the first is there (decision 1);
/// - an owner's addresses are the administrator's: nobody adds or removes them (decision 11);
/// - row 10 says priority 0 three times, and the addresses answer until a successor had its chance
///   (decision 13);
/// - rows 13 and 14 release the addresses 20 ms after the winner's advertisement (decision 13).
///
/// Where the release is still to come, time is moved to it, for the caller to look at the timer.
fn deeds(row: &Row<'_>, scene: &mut Scene) -> Vec<String> {
    let owner = row.0["config"]["owner"] == true;
    let advert = row.argument("send_advert").map(|priority| format!("advertise {priority}"));
    let (from, to) = (row.state("state"), row.state("next"));
    let entered = |scene: &Scene| format!("{} {}", to.as_str(), scene.reason().as_str());
    let mut expected: Vec<String> = Vec::new();
    match (from, to) {
        (StateName::Backup, StateName::Active) => {
            assert!(row.has("install_addresses") && row.has("announce_each_vip"));
            expected.push("acquire 0..1".to_owned());
            expected.extend(advert);
            expected.extend(["announce 0..1".to_owned(), entered(scene)]);
        }
        (StateName::Initialize, StateName::Active) => {
            assert!(owner && row.has("announce_each_vip"));
            expected.extend(advert);
            expected.extend(["announce 0..1".to_owned(), entered(scene)]);
        }
        (StateName::Active, StateName::Initialize) => {
            assert!(row.has("remove_addresses"));
            expected.extend(std::iter::repeat_n(advert, 3).flatten());
            expected.push(entered(scene));
            assert_eq!(scene.timeout(), Some(scene::A + HANDOVER), "{}", row.id());
            assert_eq!(scene.deeds(), expected, "{}: nothing is released yet", row.id());
            scene.next_timeout();
            expected.push("release 0..1".to_owned());
        }
        (StateName::Active, StateName::Backup) => {
            expected.push(entered(scene));
            if owner {
                assert!(row.has("remove_virtual_state_only"));
            } else {
                assert!(row.has("remove_addresses"));
                assert_eq!(scene.timeout(), Some(HANDOVER), "{}", row.id());
                assert_eq!(scene.deeds(), expected, "{}: nothing is released yet", row.id());
                scene.next_timeout();
                expected.push("release 0..1".to_owned());
            }
        }
        (StateName::Active, StateName::Active) => {
            expected.extend(advert);
            // A losing advertisement shows that the neighbours may have been drawn away; neighbour
            // advertisements (F-55) are due a second after the last. F-52 is discarded before the
            // state machine: our own address.
            if row.has("discard") && !["F-52", "F-55"].contains(&row.id()) {
                expected.push("announce 0..1".to_owned());
            }
        }
        _ if from == to => assert_eq!(advert, None),
        _ => expected.push(entered(scene)),
    }
    expected
}

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

#[test]
fn every_timer_value_of_the_vectors_is_armed_to_the_nanosecond() {
    let mut armed = 0;
    for vector in vectors("timers").iter().filter(|vector| vector["version"] == 3) {
        let number = |key: &str| vector[key].as_u64().expect(key);
        let priority = Priority::new(u8::try_from(number("priority")).expect("an octet"));
        let interval = u16::try_from(number("active_adver_interval_cs")).expect("twelve bits");
        let interval = AdverInterval::from_centiseconds(interval).expect("in range");
        // An owner is never Backup at start.
        if !priority.is_owner() {
            let mut scene = Scene::backup(Parameters { priority, interval, ..parameters() });
            assert_eq!(scene.timeout(), Some(Duration::from_nanos(number("active_down_ns"))), "{vector}");
            scene.hear_interval(scene::OTHER, 0, 100);
            assert_eq!(scene.timeout(), Some(Duration::from_nanos(number("skew_ns"))), "{vector}");
            armed += 1;
        }
    }
    assert_eq!(armed, 90);
}

#[test]
fn what_is_advertised_is_what_is_configured() {
    let mut scene = Scene::active(scene::with_addresses(&["192.0.2.1", "192.0.2.5", "192.0.2.4"]));
    scene.shutdown();
    assert_eq!(scene.advertised(), [0, 0, 0]);
    let mut message = [0; vrrp_proto::node::MESSAGE_MAX];
    let group: IpAddr = Family::Ipv4.group();
    let length = scene.node.advertisement(ROUTER, Priority::RELEASE, group, &mut message);
    // Priority 0 is otherwise a whole advertisement (C-5.2).
    assert_eq!(length, Some(20));
    assert_eq!(message[..6], [0x31, 51, 0, 3, 0, 100]);
    assert_eq!(message[8..20], [192, 0, 2, 1, 192, 0, 2, 5, 192, 0, 2, 4]);
}

#[test]
fn an_action_names_its_router() {
    let mut actions = Vec::new();
    let scene = Scene::active(parameters());
    let mut node = scene.node;
    node.handle(Input::Shutdown { router: ROUTER }, scene.now, &mut actions);
    assert!(actions.iter().all(|action| match action {
        Action::Advertise { router, .. } => *router == ROUTER,
        Action::Report(Report::Transition { router, .. }) => *router == ROUTER,
        _ => false,
    }));
}

#[test]
fn each_name_in_the_ledger_is_a_test() {
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(package.join(path)).unwrap_or_default();
    let ledger = read("../../docs/rfc9568.md");
    // Every second piece is between back quotes.
    let quoted: Vec<&str> = ledger.split('`').skip(1).step_by(2).collect();
    let mut tests = 0;
    for (file, name) in quoted.iter().filter_map(|quoted| quoted.split_once("::")) {
        let sources = [read(&format!("tests/{file}.rs")), read(&format!("src/router/tests/{file}.rs"))];
        let test = format!("#[test]\nfn {name}() {{");
        assert!(sources.iter().any(|source| source.contains(&test)), "{file}::{name}");
        tests += 1;
    }
    for path in quoted.iter().filter(|quoted| quoted.starts_with("src/")) {
        assert!(package.join(path).is_file(), "{path}");
    }
    assert!(tests > 40, "{tests}");
}
