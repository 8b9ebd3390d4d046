//! What packets show of how others are configured: who, its value, ours, and until when.

use std::time::Duration;

use super::scene::{
    A, OTHER, OTHER_MAC, OWN, OWN_MAC, PEER, Scene, addresses, announcement, ip, parameters, unicast,
    with_addresses,
};
use crate::packet::{ChecksumForm, ChecksumPolicy, Sighting};
use crate::parameters::Parameters;
use crate::snapshot::{Alarm, Evidence, Raised, StateName, Value};
use crate::{AdverInterval, Family};

fn raised(scene: &Scene) -> Vec<Alarm> {
    scene.snapshot().alarms.iter().map(|(alarm, _)| alarm).collect()
}

fn shown(scene: &Scene, alarm: Alarm) -> Raised {
    scene.snapshot().alarms.get(alarm).expect("it is raised")
}

fn evidence(source: &str, theirs: Value, ours: Value) -> Evidence {
    Evidence { source: ip(source), theirs, ours }
}

#[test]
fn an_alarm_says_who_shows_it_what_differs_and_for_how_long() {
    let mut scene = Scene::backup(parameters());
    scene.hear_interval(PEER, 200, 50);
    scene.run_for(A);
    scene.hear_interval(PEER, 200, 50);
    scene.pass(A / 2);
    let interval = |centiseconds| {
        Value::Interval(AdverInterval::from_centiseconds(centiseconds).expect("a valid interval"))
    };
    let Raised { evidence: shown, age, seen } = shown(&scene, Alarm::IntervalMismatch);
    assert_eq!(shown, evidence(PEER, interval(50), interval(100)));
    assert_eq!((age, seen), (A + A / 2, A / 2));
}

#[test]
fn only_the_router_that_showed_it_can_show_that_it_is_over() {
    let mut scene = Scene::backup(parameters());
    scene.hear_interval(PEER, 200, 50);
    scene.hear(OTHER, 200);
    assert_eq!(raised(&scene), [Alarm::IntervalMismatch]);
    scene.hear(PEER, 200);
    assert_eq!(raised(&scene), []);
}

#[test]
fn an_alarm_ends_when_nothing_has_shown_it_for_long() {
    let mut scene = Scene::active(parameters());
    scene.hear_interval(PEER, 0, 50);
    scene.run_for(Duration::from_secs(299));
    assert_eq!(raised(&scene), [Alarm::IntervalMismatch]);
    scene.run_for(Duration::from_secs(1));
    assert_eq!(raised(&scene), []);
    assert_eq!(scene.alarms(), [(Alarm::IntervalMismatch, true), (Alarm::IntervalMismatch, false)]);
}

#[test]
fn who_lists_some_of_our_addresses_is_of_our_group_and_who_lists_none_is_a_stranger() {
    let ours = ["192.0.2.1", "192.0.2.4"];
    let hear = |parameters: Parameters, list: &[&str]| {
        let mut scene = Scene::backup(parameters);
        scene.list = Some(list.iter().map(|address| ip(address)).collect());
        scene.hear(PEER, 200);
        assert_eq!(scene.statistics().address_list_errors, 1);
        scene
    };
    let address = |text| Value::Address(ip(text));
    let scene = hear(with_addresses(&ours), &["192.0.2.1", "192.0.2.5"]);
    assert_eq!(raised(&scene), [Alarm::AddressListMismatch]);
    let differs = evidence(PEER, address("192.0.2.5"), address("192.0.2.4"));
    assert_eq!(shown(&scene, Alarm::AddressListMismatch).evidence, differs);
    let scene = hear(with_addresses(&ours), &["192.0.2.1"]);
    assert_eq!(shown(&scene, Alarm::AddressListMismatch).evidence.theirs, Value::Nothing);
    let scene = hear(with_addresses(&ours), &["192.0.2.5"]);
    assert_eq!(raised(&scene), [Alarm::SharedVrid]);
    let peer = Parameters { addresses: addresses(&ours), ..unicast(&[PEER]) };
    assert_eq!(raised(&hear(peer, &["192.0.2.5"])), [Alarm::AddressListMismatch], "it is configured as one");
}

#[test]
fn one_packet_counts_as_one_error_whatever_differs() {
    let mut scene = Scene::backup(parameters());
    scene.list = Some(vec![ip("192.0.2.5")]);
    scene.hear_interval(PEER, 200, 50);
    let counted = scene.statistics();
    assert_eq!((counted.advertisement_rcvd, counted.address_list_errors, counted.interval_errors), (1, 1, 0));
    assert_eq!(raised(&scene), [Alarm::IntervalMismatch, Alarm::SharedVrid], "both are told");
}

#[test]
fn a_router_that_is_not_heard_is_named_with_what_keeps_it_so_until_it_is_heard() {
    let form = ChecksumForm::MessageOnly;
    let mut scene = Scene::backup(Parameters {
        checksum_policy: ChecksumPolicy::Only(form),
        checksum_form: form,
        ..parameters()
    });
    scene.hear(PEER, 200);
    let forms = evidence(PEER, Value::Form(ChecksumForm::PseudoHeader), Value::Form(form));
    assert_eq!(shown(&scene, Alarm::ChecksumFormMismatch).evidence, forms);
    scene.hop_limit = 254;
    scene.hear_form(PEER, 200, form);
    let limits = evidence(PEER, Value::Number(254), Value::Number(255));
    assert_eq!(shown(&scene, Alarm::TtlTooLow).evidence, limits);
    assert_eq!(scene.statistics().advertisement_rcvd, 0);
    scene.hop_limit = 255;
    scene.hear_form(OTHER, 200, form);
    assert_eq!(raised(&scene), [Alarm::TtlTooLow, Alarm::ChecksumFormMismatch], "another one is heard");
    scene.hear_form(PEER, 200, form);
    assert_eq!(raised(&scene), []);
}

#[test]
fn who_speaks_another_version_is_named() {
    let mut scene = Scene::backup(parameters());
    scene.hear_octets(PEER, "224.0.0.18", &[0x21, 51, 200, 1, 0, 1, 0, 0, 192, 0, 2, 1]);
    let versions = evidence(PEER, Value::Number(2), Value::Number(3));
    assert_eq!(shown(&scene, Alarm::VersionMismatch).evidence, versions);
    assert_eq!((scene.statistics().version_errors, scene.state()), (1, StateName::Backup));
}

#[test]
fn who_sends_to_the_group_or_past_it_is_named() {
    let octets = [0x31, 51, 200, 1, 0, 100, 0, 0, 192, 0, 2, 1];
    let mut multicast = Scene::backup(parameters());
    multicast.hear_octets(PEER, OWN, &octets);
    let group = Value::Address(Family::Ipv4.group());
    let sent = evidence(PEER, Value::Address(ip(OWN)), group);
    assert_eq!(shown(&multicast, Alarm::TransportMismatch).evidence, sent);
    let mut unicast = Scene::backup(unicast(&[PEER]));
    unicast.hear_octets(PEER, "224.0.0.18", &octets);
    let sent = evidence(PEER, group, Value::Word("unicast"));
    assert_eq!(shown(&unicast, Alarm::TransportMismatch).evidence, sent);
    unicast.hear(PEER, 200);
    assert_eq!(raised(&unicast), []);
}

#[test]
fn our_own_source_address_from_elsewhere_is_a_twin_or_a_loop() {
    let mut scene = Scene::backup(parameters());
    scene.hear(OWN, 200);
    assert_eq!(shown(&scene, Alarm::DuplicateSourceAddress).evidence, Evidence::of(ip(OWN)));
    assert_eq!((scene.statistics().source_errors, scene.state()), (1, StateName::Backup));
}

#[test]
fn a_station_with_our_own_address_is_named_by_its_ethernet_address() {
    let mut scene = Scene::backup(parameters());
    scene.sight(Sighting { mac: OWN_MAC, ..announcement(OWN) }, scene.now);
    assert_eq!(raised(&scene), []);
    scene.announced_elsewhere(OWN);
    let twin = evidence(OWN, Value::Mac(OTHER_MAC), Value::Nothing);
    assert_eq!(shown(&scene, Alarm::DuplicateSourceAddress).evidence, twin);
    scene.hear(OWN, 200);
    assert_eq!(shown(&scene, Alarm::DuplicateSourceAddress).evidence, twin, "its packets do not hide that");
    assert_eq!(scene.statistics().address_conflicts, 0, "it is no virtual address");
}

/// `gaps` times: a router of higher rank is heard, is silent for so long that we take over, and is
/// heard again after `back`.
fn flapping(gaps: usize, back: Duration) -> Scene {
    let interval = AdverInterval::from_centiseconds(1).expect("a valid interval");
    let mut scene = Scene::backup(Parameters { interval, ..parameters() });
    for _ in 0..gaps {
        scene.hear_interval(OTHER, 200, 1);
        while scene.state() != StateName::Active {
            scene.next_timeout();
        }
        scene.run_for(back);
        scene.hear_interval(OTHER, 200, 1);
        scene.run_for(interval.duration());
        assert_eq!(scene.state(), StateName::Backup);
    }
    scene
}

#[test]
fn a_router_that_is_late_again_and_again_is_named() {
    let late = Duration::from_millis(5);
    assert_eq!(raised(&flapping(1, late)), [], "once is an accident");
    let scene = flapping(2, late);
    assert_eq!(raised(&scene), [Alarm::LateAdvertisements]);
    let patience = AdverInterval::from_centiseconds(1)
        .expect("a valid interval")
        .active_down_interval(scene.snapshot().priority);
    let shown = shown(&scene, Alarm::LateAdvertisements).evidence;
    assert_eq!(shown, evidence(OTHER, Value::Time(patience), Value::Time(patience)));
    assert_eq!(scene.alarms(), [(Alarm::LateAdvertisements, true)], "and told");
    assert_eq!(raised(&flapping(3, A)), [], "who was away for longer had died");
}

#[test]
fn a_router_that_speaks_up_in_place_of_a_silent_one_was_not_late() {
    let mut scene = flapping(1, Duration::from_millis(5));
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    scene.run_for(Duration::from_millis(5));
    scene.hear_interval("192.0.2.10", 200, 1);
    assert_eq!((scene.state(), raised(&scene)), (StateName::Backup, vec![]));
}
