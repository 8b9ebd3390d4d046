//! When the neighbours are told where the addresses are.

use std::sync::Arc;
use std::time::Duration;

use super::scene::{A, OTHER, OWN, ROUTER, Scene, addresses, facts, ms, parameters};
use crate::action::{Input, Order, OrderOutcome, OrderRefusal, Outcome};
use crate::parameters::{Announcements, Parameters, RouterId, VirtualAddress};
use crate::snapshot::StateName;
use crate::{Family, Instant, Priority, Vrid};

/// The defaults of the daemon.
const DEFAULTS: Announcements = Announcements {
    count: 5,
    interval: ms(100),
    second_after: Duration::from_secs(5),
    refresh: Duration::from_secs(60),
    refresh_count: 1,
    lower_priority_count: 5,
    lower_priority_second_after: Duration::from_secs(5),
    spacing: Duration::ZERO,
};

/// When, counted from now, the addresses are announced within `time`; what was announced just now is first.
fn announced_within(scene: &mut Scene, time: Duration) -> Vec<Duration> {
    let start = scene.now;
    let mut at = vec![Duration::ZERO; scene.count("announce")];
    scene.forget();
    while scene.node.poll_timeout().is_some_and(|next| next <= start + time) {
        scene.next_timeout();
        at.extend(vec![scene.now - start; scene.count("announce")]);
        scene.forget();
    }
    at
}

/// When, counted from the transition, the addresses are announced within `time`.
fn schedule(parameters: Parameters, time: Duration) -> Vec<Duration> {
    let mut scene = Scene::backup(parameters);
    scene.next_timeout();
    assert_eq!(scene.state(), StateName::Active);
    announced_within(&mut scene, time)
}

#[test]
fn arp_is_sent_in_two_bursts_and_then_now_and_then() {
    let parameters = Parameters { announcements: DEFAULTS, ..parameters() };
    let burst = |start: u64| (0..5).map(move |nth| ms(start + 100 * nth));
    let expected: Vec<_> = burst(0).chain(burst(5000)).chain([ms(65_400), ms(125_400)]).collect();
    assert_eq!(schedule(parameters, Duration::from_secs(130)), expected);
}

#[test]
fn neighbour_advertisements_are_three_a_second_apart_and_then_now_and_then() {
    let parameters = Parameters {
        family: Family::Ipv6,
        addresses: addresses(&["fe80::5e:1"]),
        announcements: DEFAULTS,
        ..parameters()
    };
    let seconds = [0, 1, 2, 62, 122].map(Duration::from_secs);
    assert_eq!(schedule(parameters, Duration::from_secs(130)), seconds);
}

#[test]
fn one_announcement_and_no_refresh_is_one() {
    assert_eq!(schedule(parameters(), Duration::from_secs(600)), [Duration::ZERO]);
}

#[test]
fn a_refresh_alone_follows_the_first() {
    let announcements = Announcements { count: 1, second_after: Duration::ZERO, ..DEFAULTS };
    let seconds = [0, 60, 120].map(Duration::from_secs);
    assert_eq!(schedule(Parameters { announcements, ..parameters() }, Duration::from_secs(130)), seconds);
}

#[test]
fn nothing_is_announced_after_the_role_is_lost() {
    let mut scene = Scene::backup(Parameters { announcements: DEFAULTS, ..parameters() });
    scene.next_timeout();
    scene.pass(ms(150));
    scene.hear(OTHER, 200);
    scene.forget();
    for _ in 0..120 {
        scene.hear(OTHER, 200);
        scene.run_for(A);
    }
    assert_eq!(scene.count("announce"), 0);
}

#[test]
fn a_late_burst_is_not_made_up_for() {
    let mut scene = Scene::backup(Parameters { announcements: DEFAULTS, ..parameters() });
    scene.next_timeout();
    scene.forget();
    scene.pass(ms(350));
    scene.woke();
    scene.drained();
    assert_eq!(scene.count("announce"), 1);
    assert_eq!(scene.timeout(), Some(ms(100)));
}

#[test]
fn a_losing_advertisement_in_a_burst_does_not_begin_it_anew() {
    let mut scene = Scene::backup(Parameters { announcements: DEFAULTS, ..parameters() });
    scene.next_timeout();
    scene.pass(ms(50));
    scene.forget();
    scene.hear("192.0.2.2", 100);
    assert_eq!(scene.deeds(), ["advertise 150"]);
}

#[test]
fn announcements_that_left_are_counted() {
    let mut scene = Scene::backup(Parameters { announcements: DEFAULTS, ..parameters() });
    scene.next_timeout();
    scene.run_for(A);
    assert_eq!(scene.statistics().announcements_sent, 5);
    assert_ne!(scene.now, Instant::ZERO);
}

#[test]
fn a_refresh_is_a_burst_of_its_own_size_and_of_one_for_neighbour_advertisements() {
    let announcements = Announcements {
        count: 1,
        second_after: Duration::ZERO,
        refresh: Duration::from_secs(10),
        refresh_count: 2,
        ..DEFAULTS
    };
    let at = schedule(Parameters { announcements, ..parameters() }, Duration::from_secs(21));
    assert_eq!(at, [0, 10_000, 10_100, 20_100, 20_200].map(ms));
    let six = Parameters { family: Family::Ipv6, addresses: addresses(&["fe80::5e:1"]), ..parameters() };
    let at = schedule(Parameters { announcements, ..six }, Duration::from_secs(13));
    assert_eq!(at, [0, 1, 2, 12].map(Duration::from_secs));
}

/// When the addresses are announced within `time` of a losing advertisement, long after the bursts.
fn after_a_losing_advertisement(announcements: Announcements, time: Duration) -> Vec<Duration> {
    let mut scene = Scene::active(Parameters { announcements, ..parameters() });
    scene.run_for(10 * A);
    scene.forget();
    scene.hear("192.0.2.2", 100);
    announced_within(&mut scene, time)
}

#[test]
fn the_bursts_after_a_losing_advertisement_have_a_size_and_a_distance_of_their_own() {
    let quiet = Announcements { refresh: Duration::ZERO, ..DEFAULTS };
    let of = |lower_priority_count, seconds| Announcements {
        lower_priority_count,
        lower_priority_second_after: Duration::from_secs(seconds),
        ..quiet
    };
    let after = |announcements| after_a_losing_advertisement(announcements, 20 * A);
    assert_eq!(after(of(2, 3)), [0, 100, 3000, 3100].map(ms));
    assert_eq!(after(of(1, 0)), [ms(0)]);
    assert_eq!(after(of(0, 3)), []);
}

#[test]
fn the_operator_begins_the_bursts_anew_and_keeps_their_distance() {
    let mut scene = Scene::active(Parameters { announcements: DEFAULTS, ..parameters() });
    scene.order(Order::Announce);
    assert_eq!((scene.orders(), scene.count("announce")), (vec![OrderOutcome::Done], 1));
    scene.run_for(ms(250));
    assert_eq!(scene.count("announce"), 3);
    scene.forget();
    scene.order(Order::Announce);
    assert_eq!(scene.count("announce"), 0, "the last one left 50 ms ago");
    scene.run_for(ms(450));
    assert_eq!(scene.count("announce"), 5);
}

#[test]
fn only_who_holds_the_addresses_announces_them_by_order() {
    let refused = |mut scene: Scene, expected| {
        scene.forget();
        scene.order(Order::Announce);
        assert_eq!(scene.orders(), [OrderOutcome::Refused(expected)]);
        assert_eq!(scene.count("announce"), 0);
    };
    refused(Scene::backup(parameters()), OrderRefusal::NotActive);
    let nothing = Parameters { addresses: addresses(&[]), ..parameters() };
    refused(Scene::active(nothing), OrderRefusal::NoAddress);
    let mut leaving = Scene::active(parameters());
    leaving.hear(OTHER, 200);
    refused(leaving, OrderRefusal::Busy);
}

#[test]
fn the_owner_announces_by_order_too() {
    let mut scene = Scene::active(Parameters { priority: Priority::OWNER, ..parameters() });
    scene.order(Order::Announce);
    assert_eq!((scene.orders(), scene.count("announce")), (vec![OrderOutcome::Done], 1));
}

fn spaced(addresses: Arc<[VirtualAddress]>, spacing: Duration) -> Parameters {
    let announcements = Announcements { spacing, ..parameters().announcements };
    Parameters { addresses, announcements, ..parameters() }
}

#[test]
fn five_hundred_addresses_leave_one_after_the_other_and_the_loop_sleeps_between() {
    let list: Vec<String> = (0..500).map(|nth| format!("198.51.{}.{}", 100 + nth / 250, nth % 250)).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let mut scene = Scene::backup(spaced(addresses(&list), ms(2)));
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    let start = scene.now;
    assert_eq!(scene.announced(), [(ROUTER, 0..1)], "the first at once");
    assert_eq!(scene.timeout(), Some(ms(2)));
    scene.run_for(ms(2 * 499 - 1));
    assert_eq!(scene.announced().len(), 499);
    scene.run_for(ms(1));
    let each: Vec<_> = (0..500).map(|index| (ROUTER, index..index + 1)).collect();
    assert_eq!((scene.announced(), scene.now - start), (each, ms(998)));
    assert!(scene.count("advertise") >= 1, "advertisements do not wait");
}

#[test]
fn what_comes_due_again_waits_for_the_same_turn() {
    let mut parameters = spaced(addresses(&["192.0.2.1", "192.0.2.4", "192.0.2.5"]), ms(80));
    parameters.announcements.count = 4;
    let mut scene = Scene::backup(parameters);
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    scene.run_for(A);
    let order: Vec<u16> = scene.announced().into_iter().map(|(_, range)| range.start).collect();
    // Four rounds of three begin after 0, 100, 200 and 300 ms, and each takes 240.
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn routers_of_one_interface_take_turns() {
    const OTHER_ROUTER: RouterId = RouterId(1);
    let mut scene = Scene::new(spaced(addresses(&["192.0.2.1", "192.0.2.4", "192.0.2.5"]), ms(10)));
    let owner = Parameters {
        vrid: Vrid::new(52).expect("in range"),
        priority: Priority::OWNER,
        ..spaced(addresses(&["192.0.2.3", "192.0.2.6"]), ms(10))
    };
    scene.input(Input::Configure { router: OTHER_ROUTER, parameters: Box::new(owner) });
    scene.facts(facts(OWN));
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    scene.forget();
    scene.input(Input::Facts { router: OTHER_ROUTER, facts: facts(OWN) });
    assert_eq!(scene.count("announce"), 0, "the other one has just announced");
    scene.run_for(ms(100));
    let turns: Vec<_> =
        scene.announced().into_iter().map(|(router, range)| (router.0, range.start)).collect();
    assert_eq!(turns, [(1, 0), (0, 1), (1, 1), (0, 2)]);
}

#[test]
fn who_loses_the_role_announces_nothing_more() {
    let mut scene = Scene::backup(spaced(addresses(&["192.0.2.1", "192.0.2.4"]), ms(50)));
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    scene.hear(OTHER, 200);
    scene.forget();
    scene.run_for(A);
    assert_eq!(scene.count("announce"), 0);
}

#[test]
fn without_a_distance_any_more_what_waited_leaves_at_once() {
    let list = addresses(&["192.0.2.1", "192.0.2.4"]);
    let mut scene = Scene::backup(spaced(list.clone(), 10 * A));
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    scene.forget();
    scene.configure(spaced(list, Duration::ZERO));
    assert_eq!(scene.announced(), [(ROUTER, 0..2)]);
    assert!(scene.timeout().is_some_and(|next| next > Duration::ZERO));
}

#[test]
fn without_a_distance_any_more_nothing_waits_while_an_order_does() {
    let list = addresses(&["192.0.2.1", "192.0.2.4"]);
    let mut scene = Scene::backup(spaced(list.clone(), 10 * A));
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    scene.order(Order::HandOver);
    scene.forget();
    scene.configure(spaced(list, Duration::ZERO));
    assert_eq!(scene.announced(), [(ROUTER, 0..2)]);
    while scene.orders().is_empty() {
        scene.next_timeout();
    }
    assert_eq!(scene.orders(), [OrderOutcome::NobodyFollowed]);
    assert!(scene.timeout().is_some_and(|next| next > Duration::ZERO), "it would spin");
}

/// Active, with all announced that was there.
fn spaced_and_settled(list: &[&str]) -> Scene {
    let mut scene = Scene::backup(spaced(addresses(list), ms(50)));
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    scene.run_for(ms(500));
    scene.forget();
    scene
}

fn ranges(scene: &Scene) -> Vec<u16> {
    scene.announced().into_iter().map(|(_, range)| range.start).collect()
}

#[test]
fn an_address_that_a_reload_adds_waits_for_its_turn_as_well() {
    let mut scene = spaced_and_settled(&["192.0.2.1", "192.0.2.4"]);
    scene.configure(spaced(addresses(&["192.0.2.1", "192.0.2.4", "192.0.2.5"]), ms(50)));
    scene.run_for(ms(500));
    assert_eq!(ranges(&scene), [2]);
}

#[test]
fn the_address_that_was_announced_last_comes_last() {
    let mut scene = spaced_and_settled(&["192.0.2.1", "192.0.2.4", "192.0.2.5"]);
    for index in [0, 2, 0] {
        scene.outcome(Outcome::Lost { index });
    }
    scene.run_for(ms(500));
    assert_eq!(ranges(&scene), [0, 2, 0]);
}

#[test]
fn a_losing_advertisement_adds_nothing_to_a_burst_and_begins_one_between_two() {
    let mut scene = Scene::backup(Parameters { announcements: DEFAULTS, ..parameters() });
    scene.next_timeout();
    scene.run_for(ms(250));
    scene.hear("192.0.2.2", 100);
    scene.run_for(2 * A);
    assert_eq!(scene.count("announce"), 5);
    scene.run_for(10 * A);
    scene.forget();
    scene.hear("192.0.2.2", 100);
    scene.run_for(2 * A);
    assert_eq!(scene.count("announce"), usize::from(DEFAULTS.lower_priority_count));
}
