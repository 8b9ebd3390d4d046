//! Two paths: any of them heard counts, and who lost the clients' LAN lets another router have the role.

use std::time::Duration;

use super::scene::{
    A, Kernel, OTHER, OTHER_MAC, OWN, PEER, ROUTER, SECOND_LINK, Scene, down_interval, facts, ip, ms,
    parameters, unicast,
};
use crate::packet::{ChecksumForm, Sighting};
use crate::parameters::{Facts, InterfaceState, Parameters, SecondPath, SecondPeer};
use crate::snapshot::{Alarm, Reason, StateName};
use crate::tracking::TrackerState;
use crate::{Priority, node};

/// The addresses of the second path: our own, and those of [`PEER`] and [`OTHER`], in the opposite order.
const OWN_2: &str = "198.51.100.3";
const PEER_2: &str = "198.51.100.9";
const OTHER_2: &str = "198.51.100.2";
/// A station of the clients' LAN.
const GATEWAY: &str = "192.0.2.254";

fn two_paths(parameters: Parameters) -> Parameters {
    let peer = |(router, address)| SecondPeer { router: ip(router), address: ip(address) };
    let second_path = SecondPath {
        link: SECOND_LINK,
        peers: [(PEER, PEER_2), (OTHER, OTHER_2)].map(peer).into(),
        witnesses: [ip(GATEWAY)].into(),
    };
    Parameters { second_path: Some(second_path), ..parameters }
}

fn both_up() -> Facts {
    Facts { second_source: Some(ip(OWN_2)), ..facts(OWN) }
}

/// Backup; the LAN has answered.
fn backup(parameters: Parameters) -> Scene {
    let mut scene = Scene::new(two_paths(parameters));
    scene.facts(both_up());
    scene.drained();
    answer(&mut scene, GATEWAY);
    scene.forget();
    scene
}

/// Active; the LAN answers.
fn active(parameters: Parameters) -> Scene {
    let mut scene = backup(parameters);
    lan_answers(&mut scene, 5 * A, true);
    assert_eq!(scene.state(), StateName::Active);
    scene.forget();
    scene
}

fn answer(scene: &mut Scene, station: &str) {
    let now = scene.now;
    scene.sight(Sighting { address: ip(station), mac: OTHER_MAC, announced: false, answer: true }, now);
}

/// Time passes; who is asked on the LAN answers or does not.
fn lan_answers(scene: &mut Scene, time: Duration, answers: bool) {
    let end = scene.now + time;
    while scene.now < end {
        scene.run_for(A / 20);
        if answers {
            answer(scene, GATEWAY);
        }
    }
}

/// The Active Router is heard on some of the paths, for some intervals.
fn hear_on(scene: &mut Scene, first: bool, second: bool, priority: u8, intervals: u32) {
    for _ in 0..intervals {
        if first {
            scene.hear(PEER, priority);
        }
        if second {
            scene.hear_second(PEER_2, priority);
        }
        lan_answers(scene, A, true);
    }
}

#[test]
fn an_advertisement_leaves_on_both_paths_each_from_its_own_address() {
    let scene = active(unicast(&[PEER, OTHER]));
    let to: Vec<_> = scene.node.destinations(ROUTER).collect();
    assert_eq!(to, [PEER, OTHER, PEER_2, OTHER_2].map(ip));
    let way = |to: &str| scene.node.way(ROUTER, ip(to)).expect("it is one of them");
    assert_eq!((way(PEER).link, way(PEER).source), (super::scene::LINK, ip(OWN)));
    assert_eq!((way(PEER_2).link, way(PEER_2).source), (SECOND_LINK, ip(OWN_2)));
    assert_eq!(scene.node.way(ROUTER, ip(GATEWAY)), None);
    let mut message = [0; node::MESSAGE_MAX];
    assert!(scene.node.advertisement(ROUTER, Priority::DEFAULT, ip(PEER_2), &mut message).is_some());
}

#[test]
fn who_is_heard_on_any_path_lives() {
    for (first, second) in [(true, true), (true, false), (false, true)] {
        let mut scene = backup(parameters());
        hear_on(&mut scene, first, second, 200, 20);
        assert_eq!(scene.state(), StateName::Backup, "first {first}, second {second}");
        assert_eq!(scene.count("acquire"), 0);
        let silent = |alarm| scene.snapshot().alarms.contains(alarm);
        assert_eq!(silent(Alarm::FirstPathSilent), !first);
        assert_eq!(silent(Alarm::SecondPathSilent), !second);
    }
    let mut scene = backup(parameters());
    hear_on(&mut scene, true, true, 200, 5);
    let last = scene.now;
    lan_answers(&mut scene, down_interval(150), true);
    assert_eq!(scene.state(), StateName::Active, "silence on both for {:?}", scene.now - last);
}

#[test]
fn a_path_that_is_heard_again_ends_its_alarm() {
    let mut scene = backup(parameters());
    hear_on(&mut scene, false, true, 200, 6);
    hear_on(&mut scene, true, false, 200, 6);
    assert!(!scene.snapshot().alarms.contains(Alarm::FirstPathSilent));
    assert!(scene.snapshot().alarms.contains(Alarm::SecondPathSilent));
    let paths = scene.snapshot().second_path.expect("it is configured");
    assert_eq!(paths.heard_on_first.map(|(by, _)| by), Some(ip(PEER)));
    assert_eq!(paths.heard_on_second.map(|(by, _)| by), Some(ip(PEER)), "by its name on the first path");
    assert!(paths.heard_on_second.map(|(_, ago)| ago) > paths.heard_on_first.map(|(_, ago)| ago));
}

/// The second path's addresses are in another order than the first one's.
#[test]
fn a_tie_is_decided_by_the_addresses_of_the_first_path() {
    for (peer, outranks) in [(PEER_2, false), (OTHER_2, true)] {
        let mut scene = active(parameters());
        scene.hear_second(peer, 150);
        scene.run_for(ms(20));
        assert_eq!(scene.state() == StateName::Backup, outranks, "{peer}");
    }
}

#[test]
fn only_the_named_peers_are_heard_on_the_second_path_and_each_path_is_its_own() {
    let mut scene = backup(parameters());
    scene.hear_second("198.51.100.77", 200);
    scene.hear_second(PEER, 200);
    assert_eq!(scene.statistics().peer_errors, 2);
    scene.hear(PEER_2, 200);
    assert_eq!(scene.statistics().advertisement_rcvd, 1, "multicast is open to anybody");
    scene.hear_second(OWN_2, 200);
    assert_eq!(scene.statistics().source_errors, 1);
}

#[test]
fn an_active_router_whose_lan_falls_silent_asks_for_a_better_one_and_gives_way() {
    let mut scene = active(parameters());
    lan_answers(&mut scene, 6 * A, false);
    assert!(scene.snapshot().alarms.contains(Alarm::ClientLanSilent));
    let said = scene.advertised();
    let asked = said.iter().position(|&priority| priority == 0).expect("it resigns for the time being");
    assert!((3..=4).contains(&asked), "within three or four questions: {said:?}");
    // Nobody came, so it went on.
    assert_eq!(scene.state(), StateName::Active);
    assert_eq!(said.last(), Some(&15));
    // A better router shows itself where it can be heard.
    scene.hear_second(PEER_2, 100);
    scene.run_for(ms(20));
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::HigherPriority));
    scene.forget();
    for _ in 0..20 {
        scene.hear_second(PEER_2, 100);
        lan_answers(&mut scene, A, false);
    }
    assert_eq!(scene.deeds().iter().filter(|deed| *deed != "ask").count(), 0, "{:?}", scene.deeds());
    // The LAN is back, and with it the role.
    for _ in 0..8 {
        scene.hear_second(PEER_2, 100);
        lan_answers(&mut scene, A, true);
    }
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Preempted));
}

#[test]
fn of_two_routers_without_a_lan_the_one_that_has_the_role_keeps_it() {
    let mut scene = active(parameters());
    lan_answers(&mut scene, 4 * A + ms(300), false);
    assert_eq!(scene.advertised().last(), Some(&0), "it asks");
    scene.hear_second(PEER_2, 10);
    assert_eq!(scene.advertised().last(), Some(&15));
    assert_eq!(scene.state(), StateName::Active);
    // The other end: it hears the demoted one, and ranks below it.
    let mut other = backup(Parameters { priority: Priority::new(100), ..parameters() });
    for _ in 0..20 {
        other.hear_second(PEER_2, 15);
        lan_answers(&mut other, A, false);
    }
    assert_eq!(other.state(), StateName::Backup);
    // Its LAN comes back first.
    for _ in 0..8 {
        other.hear_second(PEER_2, 15);
        lan_answers(&mut other, A, true);
    }
    assert_eq!((other.state(), other.reason()), (StateName::Active, Reason::Preempted));
}

#[test]
fn a_router_that_starts_without_a_lan_preempts_nobody() {
    let mut scene = Scene::new(two_paths(parameters()));
    scene.facts(both_up());
    for _ in 0..20 {
        scene.hear_second(PEER_2, 100);
        lan_answers(&mut scene, A, false);
    }
    assert_eq!(scene.state(), StateName::Backup);
    // Where nobody is heard at all it takes the role: its LAN may be one that never answers.
    lan_answers(&mut scene, 5 * A, false);
    assert_eq!(scene.state(), StateName::Active);
    assert_eq!(scene.snapshot().priority, Priority::new(15));
}

#[test]
fn only_answers_of_those_who_were_asked_count() {
    let mut scene = active(parameters());
    let mentions = [
        Sighting { address: ip(GATEWAY), mac: OTHER_MAC, announced: true, answer: false },
        Sighting { address: ip(GATEWAY), mac: OTHER_MAC, announced: false, answer: false },
        Sighting { address: ip("192.0.2.77"), mac: OTHER_MAC, announced: false, answer: true },
    ];
    for _ in 0..100 {
        scene.run_for(A / 20);
        for sighting in mentions {
            scene.sight(sighting, scene.now);
        }
        scene.hear(PEER, 10);
    }
    let lan = scene.snapshot().second_path.expect("it is configured").client_lan;
    assert_eq!(lan, TrackerState::Failing);
}

#[test]
fn a_lan_that_loses_two_answers_of_three_is_not_lost() {
    let mut scene = active(parameters());
    for _ in 0..20 {
        lan_answers(&mut scene, 2 * A, false);
        lan_answers(&mut scene, A, true);
    }
    assert_eq!(scene.count("ask"), 60);
    assert!(scene.advertised().iter().all(|&priority| priority == 150), "{:?}", scene.advertised());
}

#[test]
fn questions_are_an_interval_apart_and_never_nearer_than_100_ms() {
    let short = crate::AdverInterval::from_centiseconds(1).expect("10 ms");
    let mut scene = active(Parameters { interval: short, ..parameters() });
    scene.forget();
    scene.run_for(A);
    assert_eq!(scene.count("ask"), 10);
    let mut frame = [0; node::ANNOUNCEMENT_MAX];
    let stations: Vec<_> = scene.node.stations(ROUTER).collect();
    assert_eq!(stations, [PEER, OTHER, GATEWAY].map(ip));
    assert!(stations.iter().all(|&each| scene.node.question(ROUTER, each, &mut frame) == Some(42)));
}

/// Carrier lost: nothing can be said on the LAN any more, but on the other path.
#[test]
fn who_loses_the_interface_resigns_on_the_second_path() {
    let down = Facts { interface: InterfaceState::Down, ..both_up() };
    let mut scene = active(parameters());
    scene.facts(down);
    let deeds = scene.deeds();
    assert_eq!(deeds[..3], ["advertise 0", "advertise 0", "advertise 0"], "{deeds:?}");
    assert_eq!(deeds[3..], ["release 0..1", "initialize interface_down"]);
    assert!(scene.node.destinations(ROUTER).eq([PEER_2, OTHER_2].map(ip)));
    // Without a second path that works, not a word.
    let mut mute = active(parameters());
    mute.facts(Facts { second_source: None, ..both_up() });
    mute.forget();
    mute.facts(Facts { second_source: None, ..down });
    assert_eq!(mute.deeds(), ["release 0..1", "initialize interface_down"]);
}

#[test]
fn a_second_path_that_comes_or_goes_causes_no_transition() {
    for mut scene in [active(parameters()), backup(parameters())] {
        let before = scene.state();
        scene.facts(facts(OWN));
        assert!(scene.node.destinations(ROUTER).all(|to| to != ip(PEER_2)));
        scene.facts(both_up());
        assert_eq!(scene.state(), before);
        assert_eq!(scene.count("release"), 0);
    }
}

#[test]
fn a_reload_that_adds_or_takes_the_second_path_costs_no_role() {
    let mut scene = Scene::active(parameters());
    scene.configure(two_paths(parameters()));
    scene.facts(both_up());
    lan_answers(&mut scene, 5 * A, true);
    assert!(scene.advertised().iter().all(|&priority| priority == 150), "{:?}", scene.advertised());
    scene.hear_second(PEER_2, 100);
    assert_eq!(scene.statistics().advertisement_rcvd, 1);
    scene.configure(parameters());
    scene.run_for(5 * A);
    assert_eq!(scene.snapshot().second_path, None);
    assert!(scene.advertised().iter().all(|&priority| priority == 150), "{:?}", scene.advertised());
}

#[test]
fn the_form_that_a_peer_speaks_is_spoken_with_it_on_both_paths() {
    let mut scene = backup(unicast(&[PEER, OTHER]));
    scene.hear_form(OTHER, 200, ChecksumForm::MessageOnly);
    let form = |to: &str| {
        let mut message = [0; node::MESSAGE_MAX];
        let to = ip(to);
        let way = scene.node.way(ROUTER, to).expect("known");
        let length = scene.node.advertisement(ROUTER, Priority::DEFAULT, to, &mut message).expect("written");
        let datagram = crate::packet::Datagram {
            source: way.source,
            destination: to,
            hop_limit: 255,
            payload: &message[..length],
        };
        crate::packet::Advert::parse(&datagram, &crate::packet::Rules::LAX).expect("sound").form
    };
    assert_eq!([PEER, OTHER].map(form), [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly]);
    assert_eq!([PEER_2, OTHER_2].map(form), [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly]);
}

#[test]
fn an_address_that_the_kernel_keeps_to_itself_is_given_up_as_without_a_second_path() {
    let mut scene = backup(parameters());
    scene.kernel = Kernel::Refusing(0);
    lan_answers(&mut scene, 5 * A, true);
    assert_eq!(scene.reason(), Reason::AddressRefused);
}

#[test]
fn a_second_path_that_comes_by_reload_ends_what_was_said_of_the_unheard() {
    let mut scene = Scene::backup(unicast(&[OTHER]));
    scene.hear(PEER, 200);
    assert!(scene.snapshot().alarms.get(Alarm::UnknownSender).is_some());
    scene.configure(two_paths(unicast(&[OTHER])));
    assert!(scene.snapshot().alarms.get(Alarm::UnknownSender).is_none());
}

#[test]
fn a_reload_of_something_else_keeps_what_the_lan_answered() {
    let mut scene = active(parameters());
    scene.configure(two_paths(Parameters { priority: Priority::new(160), ..parameters() }));
    let lan = scene.snapshot().second_path.expect("it is configured");
    assert_eq!((lan.client_lan, lan.answered.map(|(by, _)| by)), (TrackerState::Passing, Some(ip(GATEWAY))));
}

#[test]
fn the_first_answer_of_the_lan_is_enough_and_three_questions_in_vain_are() {
    let lan = |scene: &Scene| scene.snapshot().second_path.expect("it is configured").client_lan;
    for (questions, state) in
        [(1, TrackerState::Pending), (3, TrackerState::Pending), (4, TrackerState::Failing)]
    {
        let mut scene = Scene::new(two_paths(parameters()));
        scene.facts(both_up());
        while scene.count("ask") < questions {
            scene.next_timeout();
        }
        assert_eq!(lan(&scene), state, "the answer to question {questions} is still to come");
        answer(&mut scene, GATEWAY);
        while scene.count("ask") == questions {
            scene.next_timeout();
        }
        let answered = if state == TrackerState::Pending { TrackerState::Passing } else { state };
        assert_eq!(lan(&scene), answered, "after an answer to question {questions}");
    }
}
