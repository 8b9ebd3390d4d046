//! When the neighbours are told where the addresses are.

use std::time::Duration;

use super::scene::{A, OTHER, Scene, addresses, ms, parameters};
use crate::parameters::{Announcements, Parameters};
use crate::snapshot::StateName;
use crate::{Family, Instant};

/// The defaults of the daemon.
const DEFAULTS: Announcements = Announcements {
    count: 5,
    interval: ms(100),
    second_after: Duration::from_secs(5),
    refresh: Duration::from_secs(60),
};

/// When, counted from the transition, the addresses are announced within `time`.
fn schedule(parameters: Parameters, time: Duration) -> Vec<Duration> {
    let mut scene = Scene::backup(parameters);
    scene.next_timeout();
    assert_eq!(scene.state(), StateName::Active);
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
