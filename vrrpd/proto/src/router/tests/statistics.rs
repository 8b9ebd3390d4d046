//! What RFC 8347 and RFC 6527 want to know, and what a flood may make us say.

use std::time::Duration;

use super::scene::{
    A, LINK, OTHER, OWN, PEER, ROUTER, Scene, down_interval, facts, ip, ms, parameters, unicast,
    with_addresses, with_priority,
};
use crate::action::{Input, Report};
use crate::packet::{Datagram, DiscardReason, ParseError};
use crate::parameters::{Facts, InterfaceState, Parameters};
use crate::snapshot::{GlobalStatistics, LastEvent, LinkStatistics, NewMasterReason, StateName, Statistics};
use crate::{AdverInterval, Priority};

/// A message of VRRPv2, which this router does not speak.
const OLD: [u8; 12] = [0x21, 51, 200, 1, 0, 1, 0, 0, 192, 0, 2, 1];
/// One that is cut short.
const SHORT: [u8; 5] = [0x31, 51, 200, 1, 0];

/// How many packets each report about discarded ones is about.
fn told(scene: &Scene) -> Vec<u64> {
    let packets = |report| match report {
        Report::Discarded { packets, .. } => Some(packets),
        _ => None,
    };
    scene.reports().into_iter().filter_map(packets).collect()
}

#[test]
fn a_flood_is_counted_to_the_last_packet_and_told_ever_more_seldom() {
    let mut scene = Scene::backup(parameters());
    let start = scene.now;
    while scene.now - start < 10 * A {
        scene.hear_octets(PEER, "224.0.0.18", &OLD);
        scene.run_for(ms(1));
    }
    assert_eq!(told(&scene), [1, 999, 2000, 4000], "at once, and after 1, 3 and 7 s");
    scene.run_for(10 * A);
    assert_eq!(told(&scene).iter().sum::<u64>(), 10_000, "the rest is told when the flood is over");
    let discard = scene.snapshot().discards.get(DiscardReason::Version).expect("there were some");
    assert_eq!((discard.packets, discard.source), (10_000, Some(ip(PEER))));
    assert_eq!(scene.statistics().version_errors, 10_000);
    assert_eq!(scene.node.statistics(), GlobalStatistics { version_errors: 10_000, ..Default::default() });
}

#[test]
fn each_reason_is_told_for_itself_and_names_who_sent_the_last() {
    let mut scene = Scene::backup(parameters());
    scene.hear_octets(PEER, "224.0.0.18", &OLD);
    scene.hear_octets(OTHER, "224.0.0.18", &SHORT);
    assert_eq!(told(&scene), [1, 1]);
    scene.hear_octets(OTHER, "224.0.0.18", &OLD);
    scene.pass(A / 2);
    assert_eq!(told(&scene), [1, 1]);
    let discards = scene.snapshot().discards;
    let shown: Vec<_> = discards.iter().map(|(reason, it)| (reason, it.packets, it.source, it.age)).collect();
    let other = Some(ip(OTHER));
    assert_eq!(shown, [(DiscardReason::Length, 1, other, A / 2), (DiscardReason::Version, 2, other, A / 2)]);
    assert_eq!(
        discards.get(DiscardReason::Length).map(|it| it.error),
        Some(ParseError::TooShort { octets: 5 })
    );
}

#[test]
fn after_a_minute_of_peace_the_first_is_told_at_once_again() {
    let mut scene = Scene::active(parameters());
    scene.hear_octets(PEER, "224.0.0.18", &OLD);
    scene.run_for(62 * A);
    for _ in 0..2 {
        scene.hear_octets(PEER, "224.0.0.18", &OLD);
    }
    assert_eq!(told(&scene), [1, 1]);
    scene.run_for(A);
    assert_eq!(told(&scene), [1, 1, 1]);
}

#[test]
fn what_belongs_to_no_router_is_told_and_counted_for_its_interface() {
    let mut scene = Scene::backup(parameters());
    let foreign = [0x31, 7, 200, 1, 0, 100, 0, 0, 192, 0, 2, 1];
    let (source, destination) = (ip(PEER), ip("224.0.0.18"));
    for _ in 0..3 {
        let datagram = Datagram { source, destination, hop_limit: 255, payload: &foreign };
        scene.input(Input::Received { link: LINK, datagram, arrived: scene.now });
    }
    scene.run_for(A);
    assert_eq!(told(&scene), [1, 2]);
    let discards = scene.node.link_discards(LINK, scene.now);
    assert_eq!(discards.get(DiscardReason::Checksum).map(|it| it.packets), Some(3));
    assert_eq!(scene.node.statistics().checksum_errors, 3);
    assert_eq!(scene.snapshot().discards.iter().count(), 0);
}

#[test]
fn what_the_kernel_dropped_is_counted_for_its_interface_and_the_host_and_moves_nothing() {
    let mut scene = Scene::backup(parameters());
    let due = scene.node.poll_timeout();
    for (reason, packets) in [(DiscardReason::HopLimit, 100_000), (DiscardReason::Overrun, 7)] {
        scene.input(Input::Unread { link: LINK, reason, packets });
        let discards = scene.node.link_discards(LINK, scene.now);
        assert_eq!(discards.get(reason).map(|it| it.packets), Some(packets));
    }
    assert_eq!(told(&scene), [100_000, 7]);
    assert_eq!(scene.node.statistics().ip_ttl_errors, 100_000);
    assert_eq!((scene.node.poll_timeout(), scene.snapshot().state), (due, StateName::Backup));
}

#[test]
fn each_reason_that_is_nobodys_has_its_counter_of_the_interface_and_the_others_share_one() {
    type Counter = fn(&LinkStatistics) -> u64;
    let counters: [(DiscardReason, Counter); 7] = [
        (DiscardReason::Header, |link| link.ip_header_errors),
        (DiscardReason::Vrid, |link| link.vrid_errors),
        (DiscardReason::Checksum, |link| link.checksum_errors),
        (DiscardReason::Version, |link| link.version_errors),
        (DiscardReason::Length, |link| link.packet_length_errors),
        (DiscardReason::Authentication, |link| link.auth_errors),
        (DiscardReason::HopLimit, |link| link.other_errors),
    ];
    for (reason, _) in counters {
        let mut scene = Scene::backup(parameters());
        for packets in [2, 3] {
            scene.input(Input::Unread { link: LINK, reason, packets });
        }
        let link = scene.node.link_statistics(LINK);
        for (other, counter) in counters {
            assert_eq!(counter(&link), if other == reason { 5 } else { 0 }, "{reason:?}: {other:?}");
        }
    }
}

#[test]
fn nothing_below_the_least_hop_limit_is_taken() {
    let peers: [std::net::IpAddr; 1] = [ip(PEER)];
    let unicast = |min_hop_limit| Parameters { peers: peers.into(), min_hop_limit, ..parameters() };
    assert_eq!(parameters().least_hop_limit(), 255);
    assert_eq!(unicast(255).least_hop_limit(), 255);
    assert_eq!(unicast(3).least_hop_limit(), 3);
    // Linux's own Hop Limit is let through from IPv6 peers.
    let six = |strict| Parameters { family: crate::Family::Ipv6, strict, ..unicast(255) };
    assert_eq!((six(false).least_hop_limit(), six(true).least_hop_limit()), (64, 255));
}

fn down() -> Facts {
    Facts { interface: InterfaceState::Down, ..facts(OWN) }
}

#[test]
fn the_last_event_has_the_name_that_the_model_gives_it() {
    let mut scene = Scene::new(parameters());
    assert_eq!((scene.snapshot().last_event, scene.snapshot().up), (LastEvent::None, None));
    scene.facts(down());
    assert_eq!(scene.snapshot().last_event, LastEvent::InterfaceDown);
    scene.facts(Facts { source: None, ..facts(OWN) });
    assert_eq!(scene.snapshot().last_event, LastEvent::NoPrimaryIpAddress);
    scene.facts(facts(OWN));
    assert_eq!(scene.snapshot().last_event, LastEvent::PrimaryIpAddress);
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    assert_eq!(scene.snapshot().last_event, LastEvent::MasterTimeout);
    scene.hear(OTHER, 200);
    assert_eq!(scene.snapshot().last_event, LastEvent::HigherPriorityBackup);
    scene.run_for(A / 2);
    assert!(scene.snapshot().up > Some(3 * A), "it takes part all the time");
    scene.facts(down());
    scene.facts(facts(OWN));
    assert_eq!(scene.snapshot().last_event, LastEvent::InterfaceUp);
    scene.shutdown();
    assert_eq!((scene.snapshot().last_event, scene.snapshot().up), (LastEvent::Shutdown, None));
}

/// Active after what is done to a Backup that hears a router of priority 100.
fn taken_over(parameters: Parameters, rest: Duration) -> (LastEvent, NewMasterReason) {
    let mut scene = Scene::backup(parameters);
    while scene.state() != StateName::Active {
        scene.hear(PEER, 100);
        scene.run_for(rest);
    }
    (scene.snapshot().last_event, scene.snapshot().new_master_reason)
}

#[test]
fn why_a_router_became_active_is_kept() {
    let mut scene = Scene::backup(parameters());
    assert_eq!(scene.snapshot().new_master_reason, NewMasterReason::NotMaster);
    scene.hear(OTHER, 200);
    scene.hear(OTHER, 0);
    scene.run_for(A);
    assert_eq!(scene.snapshot().new_master_reason, NewMasterReason::Priority);
    scene.hear(OTHER, 200);
    assert_eq!(scene.state(), StateName::Backup);
    assert_eq!(scene.snapshot().new_master_reason, NewMasterReason::Priority, "though it is Backup");
    scene.run_for(5 * A);
    assert_eq!(scene.snapshot().new_master_reason, NewMasterReason::NoResponse);

    let preempted = |event| (event, NewMasterReason::Preempted);
    assert_eq!(taken_over(parameters(), A), preempted(LastEvent::LowerPriorityMaster));
    let delayed = Parameters { preempt_delay: 5 * A, ..parameters() };
    assert_eq!(taken_over(delayed, A), preempted(LastEvent::PreemptHoldTimeout));
    let owner = Scene::backup(Parameters { priority: Priority::OWNER, ..parameters() });
    let shown = owner.snapshot();
    assert_eq!(
        (shown.last_event, shown.new_master_reason),
        (LastEvent::InterfaceUp, NewMasterReason::Priority)
    );
}

#[test]
fn the_times_in_force_and_who_spoke_last_are_shown() {
    let mut scene = Scene::backup(with_priority(100));
    assert_eq!(scene.snapshot().last_adv_source, None);
    scene.hear_interval(OTHER, 200, 50);
    let shown = scene.snapshot();
    let interval = AdverInterval::from_centiseconds(50).expect("a valid interval");
    assert_eq!(shown.active_down_interval, interval.active_down_interval(Priority::new(100)));
    assert_eq!(shown.skew_time, interval.skew_time(Priority::new(100)));
    assert_eq!(shown.last_adv_source, Some(ip(OTHER)));
    scene.hear_octets(PEER, "224.0.0.18", &OLD);
    assert_eq!(scene.snapshot().last_adv_source, Some(ip(OTHER)), "what is discarded does not speak");
    let discards = scene.snapshot().discards;
    assert_eq!(discards.last_protocol_error(), Some("version_error"));
    let mut quiet = Scene::backup(with_addresses(&["192.0.2.1"]));
    quiet.hear_octets(PEER, OWN, &OLD);
    assert_eq!(quiet.snapshot().discards.last_protocol_error(), None, "the model has no word for it");
}

#[test]
fn counters_have_64_bits_and_transitions_32() {
    let json = serde_json::to_value(Statistics::default()).expect("counters serialize");
    for name in json.as_object().expect("an object").keys() {
        let largest = serde_json::json!({ name.as_str(): u64::MAX });
        let wide = serde_json::from_value::<Statistics>(largest).is_ok();
        assert_eq!(wide, name != "master_transitions", "{name}");
    }
    let transitions = serde_json::json!({ "master_transitions": u32::MAX });
    assert!(serde_json::from_value::<Statistics>(transitions).is_ok());
    let global = serde_json::json!({ "vrid_errors": u64::MAX });
    assert!(serde_json::from_value::<GlobalStatistics>(global).is_ok());
}

#[test]
fn each_peer_that_a_resignation_went_to_is_counted() {
    let mut scene = Scene::active(unicast(&[PEER, OTHER]));
    assert_eq!(scene.statistics().priority_zero_pkts_sent, 0);
    scene.shutdown();
    assert_eq!(scene.statistics().priority_zero_pkts_sent, 3 * 2);
}

#[test]
fn announcements_that_did_not_leave_are_errors() {
    let mut scene = Scene::active(parameters());
    let before = scene.statistics();
    scene.input(Input::Announced { router: ROUTER, sent: 1, failed: 2 });
    let after = scene.statistics();
    assert_eq!(after.announcements_sent - before.announcements_sent, 1);
    assert_eq!(after.send_errors - before.send_errors, 2);
}

#[test]
fn a_transition_tells_how_long_the_dead_router_was_silent_and_no_other_does() {
    let silent = |scene: &Scene| {
        let of_transition = |report| match report {
            Report::Transition { to: StateName::Active, silent, .. } => Some(silent),
            _ => None,
        };
        scene.reports().into_iter().find_map(of_transition).expect("it took the role")
    };
    let mut dead = Scene::backup(parameters());
    dead.hear(OTHER, 200);
    let heard_at = dead.now;
    dead.run_for(5 * A);
    assert_eq!(silent(&dead), Some(dead.now - heard_at - (5 * A - down_interval(150))));
    let mut resigned = Scene::backup(parameters());
    resigned.hear(OTHER, 200);
    resigned.hear(OTHER, 0);
    resigned.run_for(A);
    assert_eq!(silent(&resigned), None);
}

#[test]
fn who_was_active_knows_the_network_though_nobody_else_was_heard() {
    assert!(Scene::active(parameters()).snapshot().heard);
}

#[test]
fn no_delay_is_shown_that_is_over() {
    let mut scene = Scene::backup(Parameters { preempt_delay: 2 * A, ..parameters() });
    scene.hear(PEER, 100);
    scene.pass(2 * A);
    assert_eq!(scene.snapshot().preempt_in, None);
}
