//! Active: against rivals, third parties, firewalls and stalls.

use std::time::Duration;

use super::scene::{
    A, Kernel, OTHER, OWN, PEER, ROUTER, Scene, down_interval, facts, ip, ms, parameters, unicast,
    with_addresses, with_priority,
};
use crate::action::{Outcome, Report};
use crate::packet::{ChecksumForm, ChecksumPolicy};
use crate::parameters::{Facts, Parameters};
use crate::snapshot::{Alarm, Reason, StateName};
use crate::{AdverInterval, Family, Priority};

#[test]
fn losing_advertisements_are_answered_once_in_ten_milliseconds() {
    let mut scene = Scene::active(parameters());
    let adver = scene.node.poll_timeout().expect("the Adver_Timer runs");
    scene.pass(ms(10));
    for _ in 0..1000 {
        scene.hear(PEER, 100);
        scene.pass(Duration::from_micros(100));
    }
    assert_eq!(scene.advertised().len(), 10);
    let until = adver - scene.now;
    scene.run_for(until - Duration::from_nanos(1));
    assert_eq!(scene.advertised().len(), 10, "the Adver_Timer is left alone");
    scene.run_for(Duration::from_nanos(1));
    assert_eq!(scene.advertised().len(), 11);
}

#[test]
fn a_stranger_cannot_flood_the_neighbours_through_us() {
    // Shorter than the distance within a burst, and none of it planned.
    let mut scene = Scene::active(with_addresses(&["192.0.2.1", "192.0.2.4"]));
    for _ in 0..999 {
        scene.hear(PEER, 100);
        scene.run_for(ms(1));
    }
    let announced = scene.count("announce");
    assert_eq!(announced, 10, "one in each tenth of a second");
}

#[test]
fn the_neighbours_are_told_again_after_a_losing_advertisement() {
    let mut scene = Scene::active(parameters());
    scene.pass(ms(100));
    scene.hear(PEER, 100);
    assert_eq!(scene.deeds(), ["advertise 150", "announce 0..1"]);
    assert_eq!(scene.alarms(), [(Alarm::TwoActiveRouters, true)]);
}

#[test]
fn the_alarm_of_two_active_routers_ends_when_the_other_is_silent() {
    let mut scene = Scene::active(parameters());
    scene.hear(PEER, 100);
    scene.run_for(5 * A);
    assert_eq!(scene.alarms(), [(Alarm::TwoActiveRouters, true), (Alarm::TwoActiveRouters, false)]);
}

#[test]
fn three_intervals_of_silence_do_not_end_the_alarm_of_two_active_routers_yet() {
    let mut scene = Scene::active(parameters());
    scene.hear(PEER, 100);
    scene.run_for(3 * A);
    assert!(scene.snapshot().alarms.contains(Alarm::TwoActiveRouters), "its next word may be on the way");
    scene.run_for(A);
    assert!(!scene.snapshot().alarms.contains(Alarm::TwoActiveRouters));
}

#[test]
fn the_alarm_of_two_active_routers_ends_when_we_are_not_active_any_more() {
    let mut scene = Scene::active(parameters());
    scene.hear(PEER, 100);
    scene.pass(ms(50));
    scene.hear(OTHER, 200);
    assert!(!scene.snapshot().alarms.contains(Alarm::TwoActiveRouters));
}

#[test]
fn a_resignation_is_answered_within_the_same_bound() {
    let mut scene = Scene::active(parameters());
    scene.pass(ms(10));
    for _ in 0..1000 {
        scene.hear(PEER, 0);
        scene.pass(Duration::from_micros(100));
    }
    assert_eq!(scene.advertised().len(), 10);
}

#[test]
fn an_address_that_somebody_removes_is_put_back_announced_and_counted() {
    let mut scene = Scene::active(with_addresses(&["192.0.2.1", "192.0.2.4"]));
    scene.outcome(Outcome::Lost { index: 1 });
    assert_eq!(scene.deeds(), ["acquire 1..2", "announce 1..2"]);
    assert_eq!(scene.present(), [true, true]);
    assert_eq!(scene.statistics().addresses_put_back, 1);
    assert!(scene.reports().contains(&Report::AddressLost { router: ROUTER, index: 1 }));
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn a_backup_puts_nothing_back() {
    let mut scene = Scene::backup(parameters());
    scene.outcome(Outcome::Lost { index: 0 });
    assert_eq!(scene.deeds(), [""; 0]);
}

#[test]
fn an_address_that_cannot_be_put_back_ends_the_role() {
    let mut scene = Scene::active(with_addresses(&["192.0.2.1", "192.0.2.4"]));
    scene.kernel = Kernel::Refusing(1);
    scene.outcome(Outcome::Lost { index: 1 });
    assert_eq!(scene.advertised(), [0, 0, 0]);
    assert_eq!(scene.reason(), Reason::AddressRefused);
}

#[test]
fn after_a_stall_an_address_is_put_back_only_when_nobody_else_is_active() {
    let mut scene = Scene::active(parameters());
    scene.pass(3 * A);
    scene.woke();
    scene.outcome(Outcome::Lost { index: 0 });
    assert_eq!(scene.count("acquire"), 0, "the sockets have not been read");
    scene.drained();
    assert_eq!(scene.count("acquire"), 1);
    assert_eq!(scene.present(), [true]);

    let mut scene = Scene::active(parameters());
    scene.pass(3 * A);
    scene.woke();
    scene.outcome(Outcome::Lost { index: 0 });
    scene.hear(OTHER, 200);
    scene.drained();
    assert_eq!((scene.state(), scene.count("acquire")), (StateName::Backup, 0));
}

#[test]
fn after_a_stall_the_neighbours_are_told_again() {
    let mut scene = Scene::active(parameters());
    scene.pass(3 * A);
    scene.woke();
    scene.drained();
    assert_eq!(scene.deeds(), ["advertise 150", "announce 0..1"]);
}

#[test]
fn an_advertisement_that_is_a_little_late_leaves_before_the_sockets_are_read() {
    let mut scene = Scene::active(parameters());
    scene.pass(3 * A - Duration::from_nanos(1));
    scene.woke();
    assert_eq!(scene.advertised(), [150], "overdue by less than two intervals");
}

#[test]
fn an_advertisement_that_is_very_late_waits_for_what_is_in_the_socket() {
    let mut scene = Scene::active(parameters());
    scene.pass(3 * A);
    scene.woke();
    assert_eq!(scene.advertised(), [0; 0]);
    scene.hear(OTHER, 200);
    scene.drained();
    assert_eq!((scene.advertised(), scene.state()), (vec![], StateName::Backup));

    let mut scene = Scene::active(parameters());
    scene.pass(3 * A);
    scene.woke();
    scene.drained();
    assert_eq!(scene.advertised(), [150], "and leaves when there was nothing");
}

#[test]
fn late_wake_ups_do_not_add_up() {
    let mut scene = Scene::active(parameters());
    let first = scene.node.poll_timeout().expect("the Adver_Timer runs");
    for _ in 0..100 {
        let due = scene.timeout().expect("the Adver_Timer runs");
        scene.pass(due + ms(3));
        scene.woke();
        scene.drained();
    }
    assert_eq!(scene.node.poll_timeout(), Some(first + 100 * A));
    assert_eq!(scene.advertised().len(), 100);
}

#[test]
fn a_new_source_address_is_told_at_once() {
    let mut scene = Scene::active(parameters());
    scene.facts(super::scene::facts("192.0.2.8"));
    assert_eq!(scene.deeds(), ["advertise 150", "announce 0..1"]);
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn the_form_of_the_peer_is_answered() {
    let mut scene = Scene::active(parameters());
    assert_eq!(scene.form_towards("224.0.0.18"), ChecksumForm::PseudoHeader);
    scene.hear_form(PEER, 100, ChecksumForm::MessageOnly);
    assert_eq!(scene.form_towards("224.0.0.18"), ChecksumForm::MessageOnly);
    let learned = Report::ChecksumForm { router: ROUTER, form: ChecksumForm::MessageOnly };
    assert!(scene.reports().contains(&learned));
}

#[test]
fn each_unicast_peer_is_answered_in_its_own_form() {
    let mut scene = Scene::active(unicast(&[PEER, OTHER]));
    scene.hear_form(OTHER, 100, ChecksumForm::MessageOnly);
    assert_eq!(scene.form_towards(PEER), ChecksumForm::PseudoHeader);
    assert_eq!(scene.form_towards(OTHER), ChecksumForm::MessageOnly);
}

#[test]
fn a_configured_form_is_not_unlearned() {
    let form = ChecksumForm::MessageOnly;
    let mut scene = Scene::active(Parameters {
        checksum_policy: ChecksumPolicy::Only(form),
        checksum_form: form,
        ..parameters()
    });
    scene.hear_form(PEER, 100, ChecksumForm::PseudoHeader);
    assert_eq!(scene.statistics().checksum_errors, 1);
    assert_eq!(scene.form_towards("224.0.0.18"), form);
}

#[test]
fn both_forms_in_one_group_raise_an_alarm_until_one_is_left() {
    let mut scene = Scene::backup(parameters());
    let hear = |scene: &mut Scene, source, form| {
        scene.hear_form(source, 200, form);
        scene.run_for(A / 2);
    };
    hear(&mut scene, PEER, ChecksumForm::PseudoHeader);
    hear(&mut scene, OTHER, ChecksumForm::MessageOnly);
    assert!(scene.snapshot().alarms.contains(Alarm::ChecksumFormConflict));
    assert_eq!(scene.statistics().checksum_form_conflicts, 1);
    hear(&mut scene, OTHER, ChecksumForm::MessageOnly);
    assert!(!scene.snapshot().alarms.contains(Alarm::ChecksumFormConflict));
}

#[test]
fn forms_that_follow_each_other_are_no_conflict() {
    let mut scene = Scene::backup(parameters());
    scene.hear_form(PEER, 200, ChecksumForm::PseudoHeader);
    scene.pass(3 * A);
    scene.hear_form(OTHER, 200, ChecksumForm::MessageOnly);
    assert_eq!(scene.statistics().checksum_form_conflicts, 0);
}

#[test]
fn an_advertisement_is_written_for_the_configured_destinations_only() {
    let mut message = [0; crate::node::MESSAGE_MAX];
    for parameters in [unicast(&[PEER]), parameters()] {
        let scene = Scene::active(parameters);
        for (to, written) in [(PEER, true), (OTHER, false)] {
            let to_peer =
                scene.node.destinations(ROUTER).any(|destination| destination == super::scene::ip(to));
            let length =
                scene.node.advertisement(ROUTER, Priority::DEFAULT, super::scene::ip(to), &mut message);
            assert_eq!(length.is_some(), written && to_peer, "{to}");
        }
    }
}

#[test]
fn deviations_of_an_accepted_router_raise_alarms_on_the_first_packet_only() {
    let mut scene = Scene::backup(with_priority(150));
    for _ in 0..3 {
        scene.hear_interval(OTHER, 150, 50);
    }
    assert_eq!(scene.alarms(), [(Alarm::IntervalMismatch, true), (Alarm::EqualPriority, true)]);
    assert_eq!(scene.statistics().interval_errors, 3);
    scene.run_for(A);
    scene.hear_interval(OTHER, 200, AdverInterval::DEFAULT.centiseconds());
    assert_eq!(scene.alarms()[2..], [(Alarm::IntervalMismatch, false), (Alarm::EqualPriority, false)]);
}

#[test]
fn a_new_ethernet_address_is_told_at_once() {
    let mut scene = Scene::active(parameters());
    let mac = crate::MacAddress::new([2, 0, 0, 0, 0, 8]);
    scene.facts(Facts { mac, ..super::scene::facts(super::scene::OWN) });
    assert_eq!(scene.deeds(), ["advertise 150", "announce 0..1"]);
}

#[test]
fn a_router_that_changes_its_form_conflicts_with_nobody() {
    let mut scene = Scene::backup(parameters());
    scene.hear_form(PEER, 200, ChecksumForm::PseudoHeader);
    scene.hear_form(PEER, 200, ChecksumForm::MessageOnly);
    assert_eq!(scene.statistics().checksum_form_conflicts, 0);
    assert_eq!(scene.form_towards("224.0.0.18"), ChecksumForm::MessageOnly);
}

/// An IPv6 router that hears one advertisement; in unicast of the peer that is configured.
fn hears_six(source: &str, unicast: bool, strict: bool, hop_limit: u8) -> Scene {
    let peers: &[&str] = if unicast { &[source] } else { &[] };
    let mut scene = Scene::backup(Parameters {
        family: Family::Ipv6,
        addresses: super::scene::addresses(&["fe80::5e:1"]),
        strict,
        ..super::scene::unicast(peers)
    });
    scene.hop_limit = hop_limit;
    scene.hear(source, 200);
    scene
}

#[test]
fn keepalived_in_ipv6_unicast_is_accepted_with_an_alarm_unless_strict() {
    let accepted = hears_six("fe80::a", true, false, 64);
    assert_eq!(accepted.alarms(), [(Alarm::HopLimitNot255, true)]);
    assert_eq!(accepted.reason(), Reason::HigherPriority);
    for (unicast, strict, hop_limit) in [(true, true, 64), (false, false, 64), (true, false, 63)] {
        let refused = hears_six("fe80::a", unicast, strict, hop_limit);
        assert_eq!(refused.statistics().ip_ttl_errors, 1, "{unicast} {strict} {hop_limit}");
    }
    let mut four = Scene::backup(unicast(&[PEER]));
    four.hop_limit = 64;
    four.hear(PEER, 200);
    assert_eq!(four.statistics().ip_ttl_errors, 1);
}

/// How far a packet may have come is a question of its own for each router; multicast has no choice.
#[test]
fn routed_peers_are_heard_down_to_the_configured_hop_limit() {
    let hears = |parameters: Parameters, hop_limit: u8| {
        let mut scene = Scene::backup(parameters);
        scene.hop_limit = hop_limit;
        scene.hear(PEER, 200);
        assert!(!scene.snapshot().alarms.contains(Alarm::HopLimitNot255), "it is configured so");
        scene.statistics().ip_ttl_errors == 0
    };
    let routed = |min_hop_limit: u8| Parameters { min_hop_limit, ..unicast(&[PEER]) };
    assert!(hears(routed(254), 254));
    assert!(hears(routed(254), 255));
    assert!(!hears(routed(254), 253));
    assert!(hears(routed(1), 1));
    assert!(!hears(Parameters { min_hop_limit: 1, ..parameters() }, 254), "multicast stays on its link");

    // What is let through for keepalived's sake ends where the distance is configured.
    let six = Parameters {
        family: Family::Ipv6,
        addresses: super::scene::addresses(&["fe80::5e:1"]),
        min_hop_limit: 254,
        ..unicast(&["2001:db8::a"])
    };
    let mut scene = Scene::backup(six);
    scene.hop_limit = 64;
    scene.hear("2001:db8::a", 200);
    assert_eq!(scene.statistics().ip_ttl_errors, 1);
}

/// Where nodes share no network there is no address to move: the role alone does.
#[test]
fn a_router_without_addresses_advertises_its_own_and_minds_nobodys() {
    let mut scene = Scene::backup(Parameters { addresses: [].into(), ..unicast(&[PEER]) });
    scene.hear(PEER, 200);
    assert!(scene.alarms().is_empty(), "{:?}", scene.alarms());
    assert_eq!(scene.statistics().address_list_errors, 0);
    scene.run_for(down_interval(150) + ms(1));
    assert_eq!(scene.state(), StateName::Active);
    assert_eq!(scene.listed_towards(PEER), [ip(OWN)]);
    scene.hear(PEER, 200);
    scene.run_for(ms(20));
    assert_eq!(scene.state(), StateName::Backup);

    let six = Parameters { family: Family::Ipv6, addresses: [].into(), ..unicast(&["2001:db8::a"]) };
    let mut scene = Scene::backup(six);
    scene.hear("2001:db8::a", 200);
    assert!(scene.alarms().is_empty(), "a global address is what there is: {:?}", scene.alarms());
    assert_eq!(scene.reason(), Reason::HigherPriority);
}

#[test]
fn a_global_source_is_for_lax_unicast_only() {
    assert_eq!(hears_six("2001:db8::a", true, false, 255).reason(), Reason::HigherPriority);
    for (unicast, strict) in [(true, true), (false, false)] {
        let refused = hears_six("2001:db8::a", unicast, strict, 255);
        assert_eq!(refused.statistics().source_errors, 1, "{unicast} {strict}");
    }
}

#[test]
fn two_owners_are_an_alarm_of_their_own() {
    let mut scene = Scene::active(with_priority(255));
    scene.hear(PEER, 255);
    assert_eq!(scene.alarms(), [(Alarm::DuplicateOwner, true), (Alarm::TwoActiveRouters, true)]);
    assert_eq!(scene.state(), StateName::Active, "the greater address stays");
}

#[test]
fn facts_that_are_as_before_are_not_announced() {
    let mut scene = Scene::active(parameters());
    scene.facts(facts(OWN));
    assert_eq!(scene.deeds(), [""; 0]);
}

#[test]
fn a_resignation_right_after_an_answer_is_answered_when_the_next_may_leave() {
    let mut scene = Scene::active(parameters());
    scene.pass(ms(300));
    scene.hear(PEER, 100);
    scene.pass(ms(1));
    scene.forget();
    scene.hear(PEER, 0);
    assert_eq!((scene.advertised(), scene.timeout()), (vec![], Some(ms(9))));
    scene.next_timeout();
    assert_eq!(scene.advertised(), [150]);
}
