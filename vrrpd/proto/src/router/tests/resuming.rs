//! Start: with a delay, and with addresses that the daemon before left behind.

use std::time::Duration;

use super::scene::{
    A, Kernel, OTHER, OWN, Scene, down_interval, facts, ms, parameters, with_check, with_priority,
};
use crate::action::{Input, Outcome};
use crate::parameters::{Facts, InterfaceState, Parameters};
use crate::snapshot::{Reason, StateName};
use crate::tracking::Effect;

fn leased() -> Parameters {
    Parameters { leased: true, ..parameters() }
}

/// The first facts after a crash: the addresses are there, renewed `ago` before now.
fn after_crash(scene: &Scene, ago: Duration) -> Facts {
    Facts { left_over: Some(scene.now.saturating_sub(ago)), ..facts(OWN) }
}

fn restart(parameters: Parameters, ago: Duration) -> Scene {
    let mut scene = Scene::new(parameters);
    let facts = after_crash(&scene, ago);
    scene.facts(facts);
    scene
}

#[test]
fn a_restart_within_the_lease_goes_on_as_active_at_once() {
    let scene = restart(leased(), 3 * A - ms(21));
    assert_eq!(scene.deeds(), ["advertise 150", "announce 0..1", "active resumed", "acquire 0..1", "renew"]);
    assert_eq!(scene.present(), [true]);
}

#[test]
fn a_restart_after_the_lease_removes_the_addresses_and_starts_as_backup() {
    for ago in [3 * A - ms(20), 3 * A, Duration::from_secs(900)] {
        let scene = restart(leased(), ago);
        assert_eq!(scene.deeds(), ["backup startup", "release 0..1"], "{ago:?}");
        assert_eq!(scene.timeout(), Some(down_interval(150)));
    }
}

#[test]
fn a_renewal_in_the_future_proves_nothing() {
    let mut scene = Scene::new(leased());
    let future = Facts { left_over: Some(scene.now + ms(1)), ..facts(OWN) };
    scene.facts(future);
    assert_eq!(scene.state(), StateName::Backup);
}

/// A clock that stands still while the machine sleeps makes what is found look younger than it is.
#[test]
fn a_machine_that_slept_since_the_start_proves_nothing() {
    let clocks = |wall, boot| Input::Clocks { wall: 1000 * A + wall, boot: 7 * A + boot };
    let slept = ms(30);
    for (wall, boot, state) in [
        (slept, slept, StateName::Backup),
        (slept, ms(0), StateName::Active),
        (ms(0), ms(0), StateName::Active),
    ] {
        let mut scene = Scene::new(leased());
        scene.input(clocks(ms(0), ms(0)));
        scene.woke();
        scene.pass(5 * A);
        scene.input(clocks(wall, boot));
        scene.woke();
        let facts = after_crash(&scene, A);
        scene.facts(facts);
        assert_eq!(scene.state(), state, "{wall:?} {boot:?}");
    }
}

#[test]
fn without_a_lease_nothing_is_proven() {
    let scene = restart(parameters(), ms(100));
    assert_eq!((scene.state(), scene.count("release")), (StateName::Backup, 1));
}

#[test]
fn who_finds_another_active_router_in_the_socket_does_not_resume() {
    for priority in [200, 100] {
        let mut scene = Scene::new(leased());
        scene.hear(OTHER, priority);
        let facts = after_crash(&scene, A);
        scene.facts(facts);
        assert_eq!(scene.advertised(), [0; 0]);
        assert_eq!((scene.state(), scene.count("release")), (StateName::Backup, 1));
    }
}

#[test]
fn left_over_addresses_go_where_the_router_cannot_start() {
    let mut scene = Scene::new(leased());
    let facts = Facts { interface: InterfaceState::Down, ..after_crash(&scene, A) };
    scene.facts(facts);
    assert_eq!((scene.state(), scene.count("release")), (StateName::Initialize, 1));
}

#[test]
fn a_resumed_router_trusts_its_checks_until_they_have_decided() {
    let scene = restart(Parameters { leased: true, ..with_check(Effect::Demote) }, A);
    assert_eq!(scene.advertised(), [150]);
}

#[test]
fn an_owner_starts_as_active_whatever_was_left_behind() {
    let scene = restart(Parameters { leased: true, ..with_priority(255) }, Duration::from_secs(900));
    assert_eq!(scene.deeds(), ["advertise 255", "announce 0..1", "active priority"]);
    assert_eq!(scene.count("release"), 0, "its addresses are the administrator's");
}

#[test]
fn an_owner_without_its_addresses_waits_for_them() {
    let mut scene = Scene::new(with_priority(255));
    scene.facts(Facts { owned: false, ..facts(OWN) });
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::NoVirtualIpAddresses));
    scene.facts(facts(OWN));
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn startup_delay_keeps_the_router_out_until_it_is_over() {
    let mut scene = Scene::new(Parameters { startup_delay: 30 * A, ..parameters() });
    scene.facts(facts(OWN));
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::StartupDelay));
    assert_eq!(scene.timeout(), Some(30 * A));
    scene.next_timeout();
    assert_eq!((scene.state(), scene.timeout()), (StateName::Backup, Some(down_interval(150))));
}

#[test]
fn carrier_delay_keeps_the_router_out_after_the_interface_came_up_and_not_at_the_start() {
    let down = Facts { interface: InterfaceState::Down, ..facts(OWN) };
    let mut scene = Scene::new(Parameters { carrier_delay: 30 * A, ..parameters() });
    scene.facts(facts(OWN));
    assert_eq!(scene.state(), StateName::Backup, "it may have been up for long");
    scene.next_timeout();
    assert_eq!(scene.state(), StateName::Active);
    scene.facts(down);
    assert_eq!(scene.reason(), Reason::InterfaceDown);
    scene.facts(facts(OWN));
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::CarrierDelay));
    assert_eq!(scene.timeout(), Some(30 * A));
    scene.run_for(10 * A);
    scene.facts(down);
    scene.facts(facts(OWN));
    assert_eq!(scene.timeout(), Some(30 * A), "a flap begins it anew");
    scene.facts(Facts { source: None, ..facts(OWN) });
    scene.run_for(10 * A);
    scene.facts(facts(OWN));
    assert_eq!(scene.timeout(), Some(20 * A), "what else is missing meanwhile takes no longer");
    scene.next_timeout();
    assert_eq!((scene.state(), scene.timeout()), (StateName::Backup, Some(down_interval(150))));
}

#[test]
fn an_interface_that_is_missing_at_the_start_has_its_carrier_delay_when_it_comes() {
    let mut scene = Scene::new(Parameters { carrier_delay: 30 * A, ..parameters() });
    scene.facts(Facts::UNKNOWN);
    scene.facts(facts(OWN));
    assert_eq!(scene.timeout(), Some(30 * A));
}

#[test]
fn the_lease_is_renewed_with_an_advertisement_and_by_nothing_else() {
    let mut scene = Scene::active(leased());
    scene.run_for(3 * A);
    assert_eq!(scene.deeds(), ["advertise 150", "renew"].repeat(3));
}

#[test]
fn a_short_interval_renews_twice_a_second_unless_a_fence_needs_each_advertisement() {
    let interval = crate::AdverInterval::MIN;
    let mut scene = Scene::active(Parameters { interval, ..leased() });
    scene.run_for(2 * A);
    assert_eq!((scene.count("advertise"), scene.count("renew")), (200, 4));
    let mut scene = Scene::active(Parameters { interval, fenced: true, ..leased() });
    scene.run_for(2 * A);
    assert_eq!((scene.count("advertise"), scene.count("renew")), (200, 200));
}

#[test]
fn what_was_there_before_us_is_shown_as_foreign() {
    let mut scene = Scene::backup(parameters());
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    scene.outcome(Outcome::Added { index: 0, foreign: true });
    let address = scene.node.addresses(super::scene::ROUTER).next().expect("one address");
    assert!(address.present && address.foreign);
}
