//! Who still has the addresses of an Active Router that is silent: asked with a claim, or before it.

use std::net::IpAddr;
use std::time::Duration;

use super::scene::{
    A, Kernel, OTHER, OTHER_MAC, OWN, OWN_MAC, PEER, ROUTER, Scene, announcement, down_interval, facts, ip,
    ms, parameters, with_addresses, with_priority,
};
use crate::action::Outcome;
use crate::node::ANNOUNCEMENT_MAX;
use crate::packet::arp::{Arp, Operation};
use crate::packet::{Sighting, arp, ndisc};
use crate::parameters::{Facts, InterfaceState, OnConflict, Parameters};
use crate::snapshot::{Alarm, Phase, Reason, StateName, Value};
use crate::{Family, MacAddress, Vrid};

const ADDRESS: &str = "192.0.2.1";

fn hold() -> Parameters {
    Parameters { on_conflict: OnConflict::Hold, ..parameters() }
}

/// A Backup that heard an Active Router just now.
fn backup(parameters: Parameters) -> Scene {
    let mut scene = Scene::backup(parameters);
    scene.hear(OTHER, 200);
    scene.forget();
    scene
}

/// Another station answers for the address.
fn answer(scene: &mut Scene) {
    scene.sight(Sighting { announced: false, answer: true, ..announcement(ADDRESS) }, scene.now);
}

fn living_holder(scene: &Scene) -> Vec<bool> {
    let of_holder = |(alarm, raised)| (alarm == Alarm::LivingHolder).then_some(raised);
    scene.alarms().into_iter().filter_map(of_holder).collect()
}

#[test]
fn a_claim_after_silence_asks_at_once_and_waits_for_nothing() {
    let mut scene = backup(parameters());
    scene.run_for(down_interval(150));
    assert_eq!((scene.state(), scene.reason(), scene.probes()), (StateName::Active, Reason::NoResponse, 1));
    assert_eq!(scene.deeds(), ["acquire 0..1", "advertise 150", "announce 0..1", "active no_response"]);
    scene.run_for(20 * A);
    assert_eq!((scene.probes(), living_holder(&scene)), (1, vec![]), "nobody answered");
}

#[test]
fn a_role_that_was_left_or_is_taken_from_a_living_router_is_not_asked_about() {
    let mut scene = backup(parameters());
    scene.hear(OTHER, 0);
    scene.run_for(A);
    assert_eq!((scene.reason(), scene.probes()), (Reason::Priority, 0));
    for on_conflict in [OnConflict::Claim, OnConflict::Hold] {
        let mut scene = Scene::backup(Parameters { on_conflict, ..parameters() });
        while scene.state() != StateName::Active {
            scene.hear(PEER, 100);
            scene.run_for(A / 2);
        }
        assert_eq!((scene.reason(), scene.probes()), (Reason::Preempted, 0));
    }
    let mut owner = Scene::backup(with_priority(255));
    owner.run_for(A);
    assert_eq!(owner.probes(), 0);
}

#[test]
fn an_answer_is_told_counted_and_shown_while_it_is_given() {
    let mut scene = backup(parameters());
    scene.run_for(down_interval(150));
    scene.pass(ms(2));
    answer(&mut scene);
    answer(&mut scene);
    assert_eq!((living_holder(&scene), scene.statistics().claims_answered), (vec![true], 1));
    let shown = scene.snapshot().alarms.get(Alarm::LivingHolder).expect("raised");
    assert_eq!((shown.evidence.source, shown.evidence.theirs), (ip(ADDRESS), Value::Mac(OTHER_MAC)));
    assert_eq!(scene.state(), StateName::Active, "it is no veto");
    scene.run_for(A);
    assert_eq!(scene.probes(), 2, "is it still there?");
    answer(&mut scene);
    scene.run_for(A);
    assert_eq!((scene.probes(), living_holder(&scene)), (3, vec![true]));
    scene.run_for(2 * A);
    assert_eq!((scene.probes(), living_holder(&scene)), (3, vec![true, false]), "no more");
    assert_eq!(scene.statistics().claims_answered, 1);
}

#[test]
fn a_holder_that_stays_becomes_a_conflict_that_is_asked_after_and_defended() {
    let mut scene = backup(parameters());
    scene.run_for(down_interval(150));
    answer(&mut scene);
    let mut asked = scene.probes();
    for _ in 0..4000 {
        scene.run_for(ms(10));
        if scene.probes() > asked {
            asked = scene.probes();
            scene.pass(ms(1));
            answer(&mut scene);
        }
    }
    assert_eq!(living_holder(&scene), [true, false], "one name at a time");
    assert!(scene.snapshot().alarms.contains(Alarm::AddressConflict));
    assert!((7..=9).contains(&asked), "each second, then each ten: {asked}");
    assert_eq!(scene.announced().len(), 1 + (asked - 5), "and with each of these the address is announced");
}

#[test]
fn what_is_no_answer_to_the_question_is_none() {
    let mut scene = backup(parameters());
    scene.run_for(down_interval(150));
    let ours = |mac| Sighting { mac, answer: true, announced: false, ..announcement(ADDRESS) };
    scene.sight(ours(OWN_MAC), scene.now);
    scene.announced_elsewhere(ADDRESS);
    scene.sight(Sighting { answer: true, ..announcement("192.0.2.77") }, scene.now);
    let before = scene.now.saturating_sub(ms(1));
    scene.sight(ours(OTHER_MAC), before);
    scene.pass(ms(500));
    answer(&mut scene);
    assert_eq!((living_holder(&scene), scene.statistics().claims_answered), (vec![], 0));

    let mut scene = backup(Parameters { virtual_mac: true, ..parameters() });
    scene.run_for(down_interval(150));
    let virtual_mac = Vrid::new(51).expect("not zero").mac(Family::Ipv4);
    scene.sight(ours(virtual_mac), scene.now);
    assert_eq!(living_holder(&scene), [] as [bool; 0], "it may be our own device");
}

#[test]
fn held_back_it_asks_before_the_claim_is_due_which_an_unanswered_question_does_not_delay() {
    let mut scene = backup(hold());
    scene.run_for(down_interval(150) - ms(51));
    assert_eq!(scene.probes(), 0);
    scene.run_for(ms(1));
    assert_eq!((scene.probes(), scene.state()), (1, StateName::Backup));
    scene.run_for(ms(50));
    assert_eq!((scene.state(), scene.probes()), (StateName::Active, 1));
    assert_eq!(living_holder(&scene), [] as [bool; 0]);
}

#[test]
fn held_back_by_an_answer_it_claims_one_active_down_interval_later_whatever_is_said() {
    let mut scene = backup(hold());
    scene.run_for(down_interval(150) - ms(50));
    answer(&mut scene);
    assert_eq!(living_holder(&scene), [] as [bool; 0], "it may only be late");
    scene.run_for(ms(50));
    assert_eq!((scene.state(), living_holder(&scene)), (StateName::Backup, vec![true]));
    assert_eq!(scene.timeout(), Some(down_interval(150)));
    answer(&mut scene);
    scene.run_for(down_interval(150) - ms(1));
    assert_eq!(scene.state(), StateName::Backup);
    scene.run_for(ms(1));
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::NoResponse));
    assert_eq!(scene.statistics().claims_answered, 1);
    scene.run_for(3 * A);
    assert_eq!(living_holder(&scene), [true, false], "the holder is gone");
}

#[test]
fn an_advertisement_ends_what_was_held_back() {
    let mut scene = backup(hold());
    scene.run_for(down_interval(150) - ms(50));
    answer(&mut scene);
    scene.run_for(2 * A);
    scene.hear(OTHER, 200);
    assert_eq!(living_holder(&scene), [true, false]);
    assert_eq!(scene.timeout(), Some(down_interval(150) - ms(50)), "the next silence is asked about anew");
    scene.hear(OTHER, 0);
    scene.run_for(A);
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Priority));
}

#[test]
fn a_loop_that_is_late_waits_for_the_answer_when_it_holds_back_and_at_short_intervals_for_less() {
    let mut scene = backup(hold());
    scene.pass(down_interval(150) + ms(1));
    scene.woke();
    scene.drained();
    assert_eq!((scene.probes(), scene.timeout()), (1, Some(ms(50))));
    let interval = crate::AdverInterval::from_centiseconds(1).expect("the shortest");
    let mut scene = Scene::backup(Parameters { interval, ..hold() });
    scene.run_for(interval.active_down_interval(crate::Priority::new(150)) - ms(5));
    assert_eq!((scene.probes(), scene.state()), (1, StateName::Backup));
    scene.run_for(ms(5));
    assert_eq!(scene.state(), StateName::Active);
}

/// Seed 103550765 of the simulation: the claim came forward with a higher priority, just after the question.
#[test]
fn a_claim_that_comes_forward_waits_for_the_answer_nevertheless() {
    let low = Parameters { priority: crate::Priority::new(25), ..hold() };
    for answered in [true, false] {
        let mut scene = backup(low.clone());
        scene.run_for(down_interval(25) - ms(50));
        assert_eq!(scene.probes(), 1);
        scene.pass(ms(1));
        scene.configure(Parameters { priority: crate::Priority::new(253), ..hold() });
        scene.run_for(ms(48));
        assert_eq!((scene.state(), scene.count("acquire")), (StateName::Backup, 0));
        if answered {
            answer(&mut scene);
        }
        scene.run_for(ms(1));
        let (then, acquired) = if answered { (StateName::Backup, 0) } else { (StateName::Active, 1) };
        assert_eq!((scene.state(), scene.count("acquire"), scene.probes()), (then, acquired, 1));
    }
}

#[test]
fn a_priority_that_changes_keeps_what_was_held_back() {
    let mut scene = backup(hold());
    scene.run_for(down_interval(150) - ms(50));
    answer(&mut scene);
    scene.run_for(ms(50));
    scene.configure(Parameters { priority: crate::Priority::new(160), ..hold() });
    assert!(scene.timeout() >= Some(down_interval(160) - A), "{:?}", scene.timeout());
}

#[test]
fn the_question_claims_nothing_and_asks_about_the_first_addresses_of_the_link() {
    let list = ["192.0.2.1", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"];
    let scene = Scene::backup(with_addresses(&list));
    let probed: Vec<IpAddr> = scene.node.probed(ROUTER).collect();
    assert_eq!(probed, list[..4].iter().map(|text| ip(text)).collect::<Vec<_>>());
    let mut out = [0; ANNOUNCEMENT_MAX];
    let octets = scene.node.probe(ROUTER, ip(ADDRESS), &mut out).expect("a frame");
    assert_eq!((octets, &out[..6]), (arp::FRAME_LEN, &[0xff; 6][..]));
    let seen = Arp::parse(&out[..octets]).expect("ARP");
    assert!(seen.sender_address.is_unspecified(), "it claims nothing");
    assert_eq!((seen.operation, seen.sender_mac), (Operation::Request, OWN_MAC));
    assert_eq!(
        (seen.target_address, seen.target_mac),
        ("192.0.2.1".parse().expect("one"), MacAddress::default())
    );

    let six = Parameters { family: Family::Ipv6, ..with_addresses(&["fe80::1", "2001:db8::1"]) };
    let scene = Scene::backup(six);
    let octets = scene.node.probe(ROUTER, ip("2001:db8::1"), &mut out).expect("a frame");
    assert_eq!((octets, out[54]), (ndisc::FRAME_LEN, 135));
    assert_eq!(out[22..24], [0xfe, 0x80], "from our own address: the answer is for us alone");
}

#[test]
fn nothing_is_asked_about_where_the_claim_comes_to_nothing() {
    let mut scene = backup(hold());
    scene.run_for(down_interval(150) - ms(50));
    scene.facts(Facts { interface: InterfaceState::Down, ..facts(OWN) });
    answer(&mut scene);
    assert_eq!((scene.state(), living_holder(&scene)), (StateName::Initialize, vec![]));
}

/// The question of the claim before was answered; what follows it is no new silence.
#[test]
fn an_answer_is_no_veto_against_the_next_attempt_either() {
    let attempts = |answered: bool| {
        let mut scene = backup(parameters());
        scene.kernel = Kernel::Mute;
        scene.run_for(down_interval(150) + ms(1));
        assert_eq!((scene.state(), scene.probes()), (StateName::Active, 1));
        if answered {
            answer(&mut scene);
        }
        scene.outcome(Outcome::Refused { index: 0, errno: 13 });
        scene.outcome(Outcome::Acquired);
        scene.kernel = Kernel::Prompt;
        scene.forget();
        while scene.count("acquire") == 0 {
            scene.next_timeout();
        }
        scene.now
    };
    assert_eq!(attempts(true), attempts(false));
}

#[test]
fn an_answer_that_comes_when_the_claim_is_under_way_is_told_with_it() {
    let mut scene = backup(hold());
    scene.kernel = Kernel::Mute;
    scene.run_for(down_interval(150));
    assert_eq!((scene.probes(), scene.snapshot().phase), (1, Phase::Claiming));
    answer(&mut scene);
    assert_eq!(living_holder(&scene), [] as [bool; 0]);
    scene.run_for(ms(1));
    assert_eq!((scene.state(), living_holder(&scene)), (StateName::Active, vec![true]));
}

/// At short intervals several advertisements leave before the answer is there.
#[test]
fn a_question_has_half_a_second_for_its_answer() {
    let interval = crate::AdverInterval::from_centiseconds(10).expect("100 ms");
    let mut scene = Scene::backup(Parameters { interval, ..parameters() });
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    answer(&mut scene);
    scene.run_for(ms(499));
    assert_eq!((scene.probes(), living_holder(&scene)), (1, vec![true]), "it does not come and go");
    scene.run_for(ms(1));
    assert_eq!(scene.probes(), 2, "is it still there?");
}

#[test]
fn at_short_intervals_the_question_leaves_half_an_interval_before_the_claim() {
    let interval = crate::AdverInterval::from_centiseconds(2).expect("20 ms");
    let mut scene = Scene::backup(Parameters { interval, ..hold() });
    scene
        .run_for(interval.active_down_interval(crate::Priority::new(150)) - ms(10) - Duration::from_nanos(1));
    assert_eq!(scene.probes(), 0);
    scene.run_for(Duration::from_nanos(1));
    assert_eq!(scene.probes(), 1);
}
