//! Another station has one of our addresses while we are Active.

use std::time::Duration;

use super::scene::{
    A, OTHER, OTHER_MAC, OWN_MAC, PEER, ROUTER, Scene, announcement, ip, ms, parameters, with_addresses,
    with_check, with_priority,
};
use crate::packet::Sighting;
use crate::snapshot::{Alarm, StateName, Value};
use crate::tracking::{Effect, TrackerState};

const ADDRESS: &str = "192.0.2.1";
/// After which a predecessor is no excuse any more.
const SETTLED: Duration = Duration::from_secs(4);

/// Active for so long that nobody else can be on its way out.
fn settled() -> Scene {
    let mut scene = Scene::active(parameters());
    scene.run_for(SETTLED);
    scene.forget();
    scene
}

fn conflict(scene: &Scene) -> Vec<bool> {
    let of_conflict = |(alarm, raised)| (alarm == Alarm::AddressConflict).then_some(raised);
    scene.alarms().into_iter().filter_map(of_conflict).collect()
}

#[test]
fn a_station_with_our_address_is_told_of_an_interval_later_and_shown_while_it_is_heard() {
    let mut scene = settled();
    scene.sight(Sighting { announced: false, ..announcement(ADDRESS) }, scene.now);
    let heard = scene.now;
    scene.run_for(A - ms(1));
    assert_eq!(
        (conflict(&scene), scene.snapshot().alarms.get(Alarm::AddressConflict)),
        (vec![], None),
        "it may be about to preempt"
    );
    scene.run_for(A);
    assert_eq!(conflict(&scene), [true]);
    let shown = scene.snapshot().alarms.get(Alarm::AddressConflict).expect("raised");
    assert_eq!((shown.evidence.source, shown.evidence.theirs), (ip(ADDRESS), Value::Mac(OTHER_MAC)));
    assert_eq!(shown.seen, scene.now - heard);
    assert_eq!(scene.statistics().address_conflicts, 1);
    assert_eq!(scene.state(), StateName::Active, "it is not given up");

    scene.run_for(Duration::from_secs(200));
    scene.announced_elsewhere(ADDRESS);
    scene.run_for(Duration::from_secs(299));
    assert!(scene.snapshot().alarms.contains(Alarm::AddressConflict));
    scene.run_for(2 * A);
    assert_eq!(
        (conflict(&scene), scene.snapshot().alarms.get(Alarm::AddressConflict)),
        (vec![true, false], None)
    );
}

#[test]
fn an_address_that_is_claimed_all_the_time_is_defended_every_ten_seconds() {
    let mut scene = settled();
    let mut announced = Vec::new();
    for _ in 0..400 {
        scene.forget();
        scene.announced_elsewhere(ADDRESS);
        scene.run_for(A / 10);
        announced.extend(scene.announced().iter().map(|_| scene.now));
    }
    assert_eq!(announced.len(), 4, "{announced:?}");
    assert!(announced.windows(2).all(|pair| pair[1] - pair[0] >= 10 * A), "{announced:?}");
    assert_eq!(scene.state(), StateName::Active);
    scene.forget();
    scene.run_for(100 * A);
    assert_eq!(scene.announced().len(), 1, "what was claimed last is not left to the other one");
}

#[test]
fn a_predecessor_on_its_way_out_is_no_conflict() {
    let mut scene = Scene::backup(parameters());
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    for _ in 0..3 {
        scene.announced_elsewhere(ADDRESS);
        scene.run_for(A - ms(1));
    }
    // Sent before that, read after it.
    let before = scene.now;
    scene.run_for(A);
    scene.sight(announcement(ADDRESS), before);
    scene.run_for(10 * A);
    assert_eq!((conflict(&scene), scene.statistics().address_conflicts), (vec![], 0));
}

#[test]
fn a_router_that_fills_its_kernel_before_it_preempts_us_is_no_conflict() {
    let mut scene = settled();
    scene.announced_elsewhere(ADDRESS);
    scene.run_for(A - ms(1));
    scene.hear(OTHER, 200);
    scene.run_for(20 * A);
    assert_eq!(conflict(&scene), [] as [bool; 0]);
}

#[test]
fn a_router_that_advertises_too_is_told_of_as_that() {
    let mut scene = settled();
    for _ in 0..20 {
        scene.announced_elsewhere(ADDRESS);
        scene.hear(PEER, 100);
        scene.run_for(A / 2);
    }
    assert_eq!(scene.alarms(), [(Alarm::TwoActiveRouters, true)]);
}

/// It heard the question, took the address, and gives way to the answer.
#[test]
fn a_router_of_lower_rank_that_answered_the_question_is_no_conflict() {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    scene.check(TrackerState::Passing);
    scene.next_timeout();
    scene.run_for(5 * A);
    scene.check(TrackerState::Failing);
    scene.pass(ms(600));
    scene.announced_elsewhere(ADDRESS);
    scene.hear(PEER, 1);
    assert_eq!(scene.state(), StateName::Active);
    scene.pass(ms(1));
    scene.announced_elsewhere(ADDRESS);
    scene.run_for(20 * A);
    assert_eq!(conflict(&scene), [] as [bool; 0]);
}

#[test]
fn who_gives_up_the_role_has_no_conflict_any_more() {
    let mut scene = settled();
    scene.announced_elsewhere(ADDRESS);
    scene.run_for(2 * A);
    scene.hear(OTHER, 200);
    scene.run_for(A);
    assert_eq!(
        (conflict(&scene), scene.snapshot().alarms.get(Alarm::AddressConflict)),
        (vec![true, false], None)
    );
}

#[test]
fn an_owner_is_told_too_and_neither_our_own_frames_nor_other_addresses_count() {
    let mut scene = Scene::active(with_priority(255));
    scene.run_for(SETTLED);
    scene.announced_elsewhere("192.0.2.77");
    scene.sight(Sighting { mac: OWN_MAC, ..announcement(ADDRESS) }, scene.now);
    scene.run_for(2 * A);
    assert_eq!((conflict(&scene), scene.statistics().address_conflicts), (vec![], 0));
    scene.announced_elsewhere(ADDRESS);
    scene.run_for(2 * A);
    assert_eq!((conflict(&scene), scene.statistics().address_conflicts), (vec![true], 1));
}

#[test]
fn a_flood_is_counted_and_told_once() {
    let mut scene = settled();
    let said = scene.statistics().advertisement_sent;
    for _ in 0..10_000 {
        scene.announced_elsewhere(ADDRESS);
        scene.run_for(ms(1));
    }
    assert_eq!((conflict(&scene), scene.statistics().address_conflicts), (vec![true], 10_000));
    assert_eq!(scene.statistics().advertisement_sent - said, 10, "nothing is answered");
}

#[test]
fn of_addresses_that_a_reload_added_it_is_known_too_when_the_successor_has_them() {
    let mut scene = Scene::active(parameters());
    scene.configure(with_addresses(&["192.0.2.1", "192.0.2.4"]));
    scene.shutdown();
    scene.forget();
    scene.pass(ms(5));
    scene.hear(PEER, 100);
    for address in ["192.0.2.1", "192.0.2.4"] {
        scene.announced_elsewhere(address);
    }
    scene.drained();
    assert_eq!(scene.deeds(), ["release 0..2"]);
}

#[test]
fn of_several_addresses_the_one_is_announced_that_is_claimed() {
    let mut scene = Scene::active(with_addresses(&[ADDRESS, "192.0.2.4", "192.0.2.5"]));
    scene.run_for(SETTLED);
    scene.forget();
    scene.announced_elsewhere("192.0.2.4");
    scene.run_for(2 * A);
    assert_eq!(scene.announced(), [(ROUTER, 1..2)]);
}

/// Three intervals of the role are the predecessor's.
#[test]
fn a_predecessor_is_an_excuse_for_three_intervals() {
    for (held, conflicts) in [(3 * A - ms(1), 0), (3 * A, 1)] {
        let mut scene = Scene::backup(parameters());
        while scene.state() != StateName::Active {
            scene.next_timeout();
        }
        scene.pass(held);
        scene.announced_elsewhere(ADDRESS);
        assert_eq!(scene.statistics().address_conflicts, conflicts, "{held:?}");
    }
}
