//! Witnesses: each row of the table in `docs/witnesses.md`.

use std::collections::VecDeque;
use std::time::Duration;

use super::scene::{
    A, Kernel, OTHER, OTHER_MAC, OWN, PEER, ROUTER, Scene, down_interval, facts, ip, ms, parameters,
    with_addresses,
};
use crate::action::{Input, Order, OrderOutcome, OrderRefusal, Outcome, Report};
use crate::packet::Sighting;
use crate::parameters::{Facts, InterfaceState, Parameters, Witness, WitnessPolicy};
use crate::snapshot::{Alarm, Reason, StateName, Value, Verdict};
use crate::{AdverInterval, Priority, node};

/// A station of the LAN.
const GATEWAY: &str = "192.0.2.254";
/// Priority of our router, and how long it listens when somebody answers again.
const OURS: u8 = 150;

fn listening() -> Duration {
    A + AdverInterval::DEFAULT.skew_time(Priority::new(OURS))
}

fn witness(policy: WitnessPolicy) -> Witness {
    Witness { peers: [ip(PEER)].into(), arp: [ip(GATEWAY)].into(), tcp: [].into(), policy }
}

fn with(policy: WitnessPolicy) -> Parameters {
    Parameters { witness: Some(witness(policy)), ..parameters() }
}

fn by_default() -> Parameters {
    with(WitnessPolicy::default())
}

fn answer(scene: &mut Scene, station: &str) {
    let now = scene.now;
    scene.sight(Sighting { address: ip(station), mac: OTHER_MAC, announced: false, answer: true }, now);
}

/// Time passes, and each question is answered by these stations before the next deadline.
fn answered_for(scene: &mut Scene, time: Duration, stations: &[&str]) {
    let end = scene.now + time;
    while scene.node.poll_timeout().is_some_and(|at| at <= end) {
        let asked = scene.count("ask");
        scene.next_timeout();
        if scene.count("ask") > asked {
            stations.iter().for_each(|station| answer(scene, station));
        }
    }
    scene.now = end;
}

/// Backup of a living router; peer and witness answer, if they are among these stations.
fn backup(parameters: Parameters, stations: &[&str]) -> Scene {
    let mut scene = Scene::backup(parameters);
    heard_for(&mut scene, 5, stations);
    scene.forget();
    scene
}

/// The Active Router is heard so often, and these stations answer.
fn heard_for(scene: &mut Scene, intervals: u32, stations: &[&str]) {
    for _ in 0..intervals {
        answered_for(scene, A, stations);
        scene.hear(PEER, 200);
    }
}

/// Active; these stations answered all the time.
fn active(parameters: Parameters, stations: &[&str]) -> Scene {
    let mut scene = Scene::backup(parameters);
    answered_for(&mut scene, 6 * A, stations);
    assert_eq!(scene.state(), StateName::Active);
    scene.forget();
    scene
}

/// How long a router with these answers takes until it is in another state.
fn until_it_moves(scene: &mut Scene, stations: &[&str], most: Duration) -> Option<Duration> {
    let (from, before) = (scene.now, scene.state());
    while scene.now - from < most {
        answered_for(scene, ms(1), stations);
        if scene.state() != before {
            return Some(scene.now - from);
        }
    }
    None
}

const BOTH: [&str; 2] = [PEER, GATEWAY];
const POLICIES: [WitnessPolicy; 2] = [WitnessPolicy::Claim, WitnessPolicy::Hold];

// --- a Backup that hears nothing more --------------------------------------------------------------

#[test]
fn a_backup_that_anybody_answers_claims_as_without_witnesses_and_not_later() {
    let mut plain = Scene::backup(parameters());
    plain.run_for(5 * A);
    plain.hear(PEER, 200);
    let due = until_it_moves(&mut plain, &[], 10 * A).expect("it claims");
    for policy in POLICIES {
        for answers in [&BOTH[..], &[PEER], &[GATEWAY]] {
            let mut scene = backup(with(policy), &BOTH);
            assert_eq!(until_it_moves(&mut scene, answers, 10 * A), Some(due), "{policy:?}, {answers:?}");
            assert_eq!(scene.reason(), Reason::NoResponse);
        }
    }
}

#[test]
fn a_backup_that_is_cut_off_does_not_claim_and_says_why() {
    for policy in POLICIES {
        let mut scene = backup(with(policy), &BOTH);
        scene.run_for(100 * A);
        assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Isolated));
        assert_eq!(scene.count("acquire"), 0);
        assert_eq!(scene.count("advertise"), 0);
        assert_eq!(scene.snapshot().witness.map(|it| it.verdict), Some(Verdict::Isolated));
        assert!(scene.snapshot().alarms.contains(Alarm::Isolated));
    }
}

#[test]
fn a_backup_whose_cut_is_healed_listens_before_it_claims() {
    for station in BOTH {
        let mut scene = backup(by_default(), &BOTH);
        scene.run_for(20 * A);
        let healed = until_it_moves(&mut scene, &[station], 10 * A).expect("it claims");
        assert!(healed > listening() && healed <= 2 * A + listening(), "{healed:?}");
        assert_eq!(scene.reason(), Reason::NoResponse);
        assert!(!scene.snapshot().alarms.contains(Alarm::Isolated));
    }
    // The Active Router was on the other side, and is heard again.
    let mut scene = backup(by_default(), &BOTH);
    scene.run_for(20 * A);
    heard_for(&mut scene, 20, &BOTH);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::HigherPriority));
    assert_eq!(scene.count("acquire"), 0);
}

#[test]
fn witnesses_that_were_dead_before_do_not_keep_a_backup_from_claiming() {
    let mut scene = backup(by_default(), &BOTH);
    heard_for(&mut scene, 5, &[PEER]);
    assert_eq!(until_it_moves(&mut scene, &[], 10 * A), Some(rounded_up(down_interval(OURS))));
    let snapshot = scene.snapshot().witness.expect("there are witnesses");
    assert_eq!(snapshot.verdict, Verdict::Uncounted);
    // Once more it answers, and counts again.
    let mut scene = backup(by_default(), &BOTH);
    heard_for(&mut scene, 5, &[PEER]);
    heard_for(&mut scene, 2, &BOTH);
    assert_eq!(until_it_moves(&mut scene, &[], 50 * A), None);
    // With the other policy it counts whatever was before.
    let mut scene = backup(with(WitnessPolicy::Hold), &BOTH);
    heard_for(&mut scene, 5, &[PEER]);
    assert_eq!(until_it_moves(&mut scene, &[], 50 * A), None);
}

#[test]
fn who_never_was_answered_claims_unless_the_policy_is_to_hold() {
    for (policy, claims) in [(WitnessPolicy::Claim, true), (WitnessPolicy::Hold, false)] {
        for known in [&[][..], &[PEER], &[GATEWAY]] {
            let mut scene = backup(with(policy), known);
            let moved = until_it_moves(&mut scene, &[], 50 * A);
            assert_eq!(moved, claims.then_some(rounded_up(down_interval(OURS))), "{policy:?} {known:?}");
        }
    }
}

#[test]
fn a_resignation_is_followed_though_nobody_has_been_asked_lately() {
    let mut scene = backup(by_default(), &BOTH);
    scene.hear(PEER, 0);
    let skew = AdverInterval::DEFAULT.skew_time(Priority::new(OURS));
    assert_eq!(until_it_moves(&mut scene, &[], 10 * A), Some(rounded_up(skew)));
}

/// It hears the others, and nobody hears it.
#[test]
fn who_is_cut_off_preempts_nobody() {
    let mut scene = active(by_default(), &BOTH);
    for _ in 0..50 {
        answered_for(&mut scene, A, &[]);
        scene.hear(PEER, 100);
    }
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Isolated));
    assert_eq!(scene.count("release"), 1, "given up once and not taken again");
    assert_eq!(scene.count("acquire"), 0);
    for _ in 0..10 {
        answered_for(&mut scene, A, &BOTH);
        scene.hear(PEER, 100);
    }
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Preempted));
}

/// Seed 102568916: it was held back from preempting a router, and forgot that there was one. Told not to preempt
/// it had nobody to watch, and claimed when it had listened.
#[test]
fn who_is_held_back_from_preempting_still_knows_whom_it_may_have_to_watch() {
    let no_more = Parameters { preempt_mode: false, ..by_default() };
    let below = Parameters { priority: Priority::new(99), ..by_default() };
    for now in [no_more, below] {
        let down = down_interval(now.priority.get());
        // What is longer: the silence of that one, or listening since it was answered again.
        for (cut, waits) in [(3 * A / 2, down - 3 * A / 2), (5 * A / 2, listening())] {
            let mut scene = active(by_default(), &BOTH);
            for _ in 0..10 {
                answered_for(&mut scene, A, &[]);
                scene.hear(PEER, 100);
            }
            answered_for(&mut scene, cut, &[]);
            assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Isolated));
            BOTH.iter().for_each(|station| answer(&mut scene, station));
            scene.configure(now.clone());
            let claimed = until_it_moves(&mut scene, &BOTH, 10 * A);
            assert_eq!(claimed, Some(rounded_up(waits)), "priority {}, {cut:?}", now.priority);
        }
    }
}

/// Seed 19480: somebody else had the kernel's lock until after the cut.
#[test]
fn a_claim_that_is_cut_off_before_it_has_its_addresses_is_given_up() {
    let mut scene = Scene::backup(by_default());
    for _ in 0..3 {
        answered_for(&mut scene, A, &BOTH);
        scene.hear(PEER, 100);
    }
    scene.kernel = Kernel::Mute;
    scene.forget();
    while scene.count("acquire") == 0 {
        answered_for(&mut scene, ms(100), &BOTH);
    }
    answered_for(&mut scene, 2 * A + ms(900), &[]);
    assert_eq!((scene.reason(), scene.count("release")), (Reason::Isolated, 1));
    scene.added(0);
    scene.outcome(Outcome::Acquired);
    assert_eq!(scene.state(), StateName::Backup);
}

#[test]
fn an_order_to_take_back_is_refused_to_who_is_cut_off() {
    let mut scene = active(by_default(), &BOTH);
    scene.order(Order::HandOver);
    scene.hear(PEER, 100);
    answered_for(&mut scene, A, &BOTH);
    assert_eq!(scene.state(), StateName::Backup);
    scene.forget();
    // It still hears the other one.
    for _ in 0..5 {
        answered_for(&mut scene, A, &[]);
        scene.hear(PEER, 100);
    }
    scene.order(Order::TakeBack);
    for _ in 0..10 {
        answered_for(&mut scene, A, &[]);
        scene.hear(PEER, 100);
    }
    assert_eq!(scene.orders(), [OrderOutcome::Refused(OrderRefusal::NotReady)]);
    assert_eq!(scene.count("acquire"), 0);
}

/// Two of three answers are lost, and each advertisement but the last.
#[test]
fn a_backup_that_is_answered_now_and_then_is_not_cut_off() {
    let mut scene = backup(by_default(), &BOTH);
    let from = scene.now;
    let mut nth = 0;
    while scene.state() == StateName::Backup && scene.now - from < 20 * A {
        let asked = scene.count("ask");
        scene.next_timeout();
        nth += scene.count("ask") - asked;
        if scene.count("ask") > asked && nth % 3 == 0 {
            answer(&mut scene, GATEWAY);
        }
    }
    assert_eq!(rounded_up(scene.now - from), rounded_up(down_interval(OURS)));
}

/// Nobody asked while the loop was away, so that no answer says nothing.
#[test]
fn a_backup_that_was_away_asks_before_it_takes_itself_for_cut_off() {
    let mut scene = backup(by_default(), &BOTH);
    scene.pass(down_interval(OURS) + A);
    scene.woke();
    scene.drained();
    assert_eq!(scene.reason(), Reason::HigherPriority, "nothing is decided");
    answer(&mut scene, GATEWAY);
    let claimed = until_it_moves(&mut scene, &[GATEWAY], 10 * A).expect("it claims");
    let listens = A + A * (256 - u32::from(OURS)) / 256;
    assert!(claimed <= listens + A / 4 + ms(2), "{claimed:?}");
}

/// For less than an absence: then no answer to the one question that could be put says nothing.
#[test]
fn a_claim_waits_for_the_questions_that_a_late_loop_has_not_put() {
    let late = || {
        let mut scene = backup(by_default(), &BOTH);
        answered_for(&mut scene, down_interval(OURS) - 11 * A / 10, &BOTH);
        scene.forget();
        scene.pass(12 * A / 10);
        scene.woke();
        scene.drained();
        assert_eq!((scene.reason(), scene.count("ask")), (Reason::HigherPriority, 1), "nothing is decided");
        scene
    };
    let mut scene = late();
    answer(&mut scene, GATEWAY);
    assert_eq!(until_it_moves(&mut scene, &[], A), Some(A / 4));
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::NoResponse));
    // With four of them unanswered it is cut off.
    let mut scene = late();
    scene.run_for(A / 2);
    assert_eq!((scene.reason(), scene.count("ask")), (Reason::HigherPriority, 3));
    scene.run_for(A / 2);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Isolated));
    assert_eq!(scene.count("acquire"), 0);
}

// --- an Active router ---------------------------------------------------------------------------

#[test]
fn an_active_router_that_is_cut_off_gives_way_before_a_backup_can_claim() {
    for policy in POLICIES {
        let mut scene = active(with(policy), &BOTH);
        // Its last words reach the others, and its last question is answered.
        while scene.count("ask") == 0 || scene.count("advertise") == 0 {
            answered_for(&mut scene, ms(1), &BOTH);
        }
        assert_eq!(scene.deeds(), ["advertise 150", "ask"], "at the same time");
        scene.forget();
        let moved = until_it_moves(&mut scene, &[], 10 * A).expect("it gives way");
        assert_eq!(moved, rounded_up(11 * A / 4), "{policy:?}");
        assert!(moved < AdverInterval::DEFAULT.active_down_interval(Priority::new(254)));
        assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Isolated));
        let deeds: Vec<String> = scene.deeds().into_iter().filter(|deed| deed != "ask").collect();
        let last = deeds.len() - 5;
        assert_eq!(deeds[last..last + 3], ["advertise 0"; 3], "should anybody hear it: {deeds:?}");
        assert_eq!(deeds[last + 3..], ["release 0..1", "backup isolated"], "at once");
        assert_eq!(until_it_moves(&mut scene, &[], 50 * A), None);
    }
}

#[test]
fn after_a_reload_to_a_shorter_interval_a_cut_is_noticed_by_that_interval() {
    let mut scene = active(by_default(), &BOTH);
    let interval = AdverInterval::from_centiseconds(10).expect("in range");
    scene.configure(Parameters { interval, ..by_default() });
    assert_eq!(until_it_moves(&mut scene, &[], 10 * A), Some(11 * interval.duration() / 4));
}

#[test]
fn a_reload_to_another_interval_puts_no_question_out_of_turn() {
    for centiseconds in [10, 200] {
        let mut scene = active(by_default(), &BOTH);
        answered_for(&mut scene, A / 2, &BOTH);
        scene.forget();
        let interval = AdverInterval::from_centiseconds(centiseconds).expect("in range");
        scene.configure(Parameters { interval, ..by_default() });
        answered_for(&mut scene, ms(99), &BOTH);
        assert_eq!(scene.count("ask"), 0, "{interval:?}");
    }
}

/// Seed 100690802: it had resigned for want of an address, and nobody took over from it.
#[test]
fn who_is_cut_off_does_not_take_the_role_again_with_a_part_of_its_addresses() {
    let mut scene = active(
        Parameters {
            addresses: with_addresses(&["192.0.2.1", "192.0.2.4", "192.0.2.5"]).addresses,
            ..by_default()
        },
        &BOTH,
    );
    scene.kernel = Kernel::Refusing(2);
    answered_for(&mut scene, 2 * A, &[]);
    scene.forget();
    scene.outcome(Outcome::Lost { index: 2 });
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::AddressRefused));
    assert_eq!(scene.count("release"), 0, "another one may have all of them");
    answered_for(&mut scene, A, &[]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Isolated));
    assert_eq!(scene.count("release"), 1);
    assert_eq!(until_it_moves(&mut scene, &[], 50 * A), None);
}

#[test]
fn an_active_router_that_anybody_answers_keeps_the_role() {
    for policy in POLICIES {
        for answers in [&BOTH[..], &[PEER], &[GATEWAY]] {
            let mut scene = active(with(policy), &BOTH);
            assert_eq!(until_it_moves(&mut scene, answers, 50 * A), None, "{policy:?}, {answers:?}");
        }
    }
}

/// The peer is down for maintenance, and then the gateway is restarted; or the other way round.
#[test]
fn an_active_router_whose_stations_die_one_by_one_keeps_the_role() {
    for survivor in BOTH {
        let mut scene = active(by_default(), &BOTH);
        answered_for(&mut scene, 5 * A, &[survivor]);
        assert_eq!(until_it_moves(&mut scene, &[], 50 * A), None, "{survivor} died last");
        assert_eq!(scene.snapshot().witness.map(|it| it.verdict), Some(Verdict::Uncounted));
        assert!(!scene.snapshot().alarms.contains(Alarm::Isolated));
        let mut scene = active(with(WitnessPolicy::Hold), &BOTH);
        answered_for(&mut scene, 5 * A, &[survivor]);
        assert!(until_it_moves(&mut scene, &[], 10 * A).is_some());
        assert_eq!(scene.reason(), Reason::Isolated);
    }
}

/// One that answers an interval longer than the other, since a cut comes between two answers.
#[test]
fn stations_that_fall_silent_nearly_together_are_a_cut() {
    for last in BOTH {
        let mut scene = active(by_default(), &BOTH);
        answered_for(&mut scene, A, &[last]);
        assert!(until_it_moves(&mut scene, &[], 10 * A).is_some(), "{last}");
        assert_eq!(scene.reason(), Reason::Isolated);
    }
}

#[test]
fn two_routers_without_a_witness_keep_one_holder() {
    let mut active = active(by_default(), &[PEER]);
    assert_eq!(until_it_moves(&mut active, &[PEER], 50 * A), None);
    let mut backup = backup(by_default(), &[PEER]);
    heard_for(&mut backup, 50, &[PEER]);
    assert_eq!(backup.state(), StateName::Backup);
    assert_eq!(until_it_moves(&mut backup, &[PEER], 10 * A), Some(rounded_up(down_interval(OURS))));
}

#[test]
fn a_lan_that_loses_most_answers_is_not_lost() {
    let mut scene = active(by_default(), &BOTH);
    for _ in 0..20 {
        let asked = scene.count("ask");
        // Six questions in a row are lost.
        while scene.count("ask") < asked + 6 {
            scene.next_timeout();
        }
        answered_for(&mut scene, 2 * A, &BOTH);
    }
    assert_eq!(scene.state(), StateName::Active);
    assert_eq!(scene.advertised().iter().filter(|&&priority| priority == 0).count(), 0);
}

#[test]
fn an_active_router_that_was_away_asks_before_it_takes_itself_for_cut_off() {
    let mut scene = active(by_default(), &BOTH);
    scene.pass(10 * A);
    scene.woke();
    scene.drained();
    assert_eq!(until_it_moves(&mut scene, &BOTH, 10 * A), None);
    assert_eq!(scene.count("release"), 0);
}

#[test]
fn who_gave_way_and_is_answered_again_listens_before_it_claims() {
    let mut scene = active(by_default(), &BOTH);
    until_it_moves(&mut scene, &[], 10 * A).expect("it gives way");
    let back = until_it_moves(&mut scene, &BOTH, 10 * A).expect("nobody else is there");
    assert!(back >= down_interval(OURS) - ms(1), "{back:?} from when it resigned");
}

// --- questions and answers ------------------------------------------------------------------------

#[test]
fn questions_are_an_interval_apart_while_they_are_answered_and_closer_when_not() {
    let mut scene = active(by_default(), &BOTH);
    answered_for(&mut scene, 10 * A, &BOTH);
    assert_eq!(scene.count("ask"), 10);
    scene.forget();
    answered_for(&mut scene, 2 * A, &[]);
    assert!((5..=8).contains(&scene.count("ask")), "{}", scene.count("ask"));
    // Cut off, it asks as before.
    answered_for(&mut scene, 5 * A, &[]);
    scene.forget();
    answered_for(&mut scene, 10 * A, &[]);
    assert_eq!(scene.count("ask"), 10);
    let short = AdverInterval::from_centiseconds(1).expect("10 ms");
    let mut scene = active(Parameters { interval: short, ..by_default() }, &BOTH);
    answered_for(&mut scene, A, &BOTH);
    assert_eq!(scene.count("ask"), 10, "never nearer than 100 ms");
}

/// Its questions are much further apart than its timer is long.
#[test]
fn with_the_shortest_interval_answers_come_before_the_timer_runs_out() {
    let short = AdverInterval::from_centiseconds(1).expect("10 ms");
    let mut scene = Scene::backup(Parameters { interval: short, ..by_default() });
    for _ in 0..50 {
        answered_for(&mut scene, ms(10), &BOTH);
        scene.hear_interval(PEER, 200, 1);
    }
    let due = rounded_up(short.active_down_interval(Priority::new(OURS)));
    let mut cut = Scene::backup(Parameters { interval: short, ..by_default() });
    for _ in 0..50 {
        answered_for(&mut cut, ms(10), &BOTH);
        cut.hear_interval(PEER, 200, 1);
    }
    assert_eq!(until_it_moves(&mut scene, &[GATEWAY], A), Some(due));
    assert_eq!(until_it_moves(&mut cut, &[], 10 * A), None);
}

#[test]
fn only_answers_of_those_who_were_asked_count() {
    let mut scene = active(by_default(), &BOTH);
    let mentions = [
        Sighting { address: ip(GATEWAY), mac: OTHER_MAC, announced: true, answer: false },
        Sighting { address: ip(PEER), mac: OTHER_MAC, announced: false, answer: false },
        Sighting { address: ip("192.0.2.77"), mac: OTHER_MAC, announced: false, answer: true },
    ];
    for _ in 0..100 {
        answered_for(&mut scene, A / 20, &[]);
        for sighting in mentions {
            scene.sight(sighting, scene.now);
        }
    }
    assert_eq!(scene.reason(), Reason::Isolated);
    let stations: Vec<_> = scene.node.stations(ROUTER).collect();
    assert_eq!(stations, [PEER, GATEWAY].map(ip));
    let mut frame = [0; node::ANNOUNCEMENT_MAX];
    assert!(stations.iter().all(|&each| scene.node.question(ROUTER, each, &mut frame) == Some(42)));
}

#[test]
fn a_witness_that_never_answers_is_named_and_one_that_stops_to_as_well() {
    let mut scene = active(by_default(), &[PEER]);
    answered_for(&mut scene, 2 * A, &[PEER]);
    let shown = |scene: &Scene| {
        let raised = scene.snapshot().alarms.get(Alarm::WitnessSilent)?;
        Some((raised.evidence.source, raised.evidence.theirs))
    };
    assert_eq!(shown(&scene), Some((ip(GATEWAY), Value::Word("never"))));
    answered_for(&mut scene, 2 * A, &BOTH);
    assert_eq!(shown(&scene), None);
    answered_for(&mut scene, 9 * A, &[PEER]);
    assert_eq!(shown(&scene), Some((ip(GATEWAY), Value::Word("no more"))));
    // Nor does anybody else answer; what is known of it stays.
    let mut alone = active(by_default(), &[]);
    answered_for(&mut alone, 2 * A, &[]);
    assert_eq!(shown(&alone), Some((ip(GATEWAY), Value::Word("never"))));
}

// --- witnesses that the caller asks -----------------------------------------------------------------

fn remote() -> Parameters {
    let address = format!("{OTHER}:443").parse().expect("an address and a port");
    let witness = Witness { arp: [].into(), tcp: [address].into(), ..witness(WitnessPolicy::Claim) };
    Parameters { witness: Some(witness), ..parameters() }
}

/// As [`answered_for`]; the caller reaches its witness.
fn reached_for(scene: &mut Scene, time: Duration, reached: bool, stations: &[&str]) {
    let end = scene.now + time;
    while scene.node.poll_timeout().is_some_and(|at| at <= end) {
        let before = scene.reports().len();
        let asked = scene.count("ask");
        scene.next_timeout();
        if scene.count("ask") > asked {
            stations.iter().for_each(|station| answer(scene, station));
        }
        for report in &scene.reports()[before..] {
            if let Report::AskWitnesses { router, asked, .. } = *report
                && reached
            {
                scene.input(Input::Witnessed { router, nth: 0, asked });
            }
        }
    }
    scene.now = end;
}

#[test]
fn a_witness_that_the_caller_asks_counts_as_any_other() {
    let mut scene = Scene::backup(remote());
    for _ in 0..5 {
        reached_for(&mut scene, A, true, &[PEER]);
        scene.hear(PEER, 200);
    }
    scene.forget();
    reached_for(&mut scene, down_interval(OURS), true, &[]);
    assert_eq!(scene.state(), StateName::Active, "the peer is dead");
    reached_for(&mut scene, 20 * A, true, &[PEER]);
    assert_eq!(scene.state(), StateName::Active);
    reached_for(&mut scene, 3 * A, false, &[]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Isolated));
}

#[test]
fn witnesses_that_the_caller_did_not_reach_either_keep_nobody_from_claiming() {
    let mut scene = Scene::backup(remote());
    for reached in [true, false] {
        for _ in 0..5 {
            reached_for(&mut scene, A, reached, &[PEER]);
            scene.hear(PEER, 200);
        }
    }
    assert_eq!(until_it_moves(&mut scene, &[], 10 * A), Some(rounded_up(down_interval(OURS))));
}

#[test]
fn the_caller_asks_once_a_second_at_most_while_others_answer() {
    let short = AdverInterval::from_centiseconds(10).expect("100 ms");
    let mut scene = Scene::backup(Parameters { interval: short, ..remote() });
    reached_for(&mut scene, A, true, &[PEER]);
    scene.forget();
    reached_for(&mut scene, 10 * A, true, &[PEER]);
    assert_eq!((scene.count("ask"), scene.count("ask_witnesses")), (100, 10));
    scene.forget();
    reached_for(&mut scene, 10 * A, true, &[]);
    assert!(scene.count("ask_witnesses") >= 50, "{}", scene.count("ask_witnesses"));
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn an_answer_to_an_old_question_or_of_a_stranger_says_nothing() {
    let mut scene = Scene::backup(remote());
    reached_for(&mut scene, 6 * A, true, &[PEER]);
    let old = scene.now;
    scene.forget();
    for _ in 0..100 {
        reached_for(&mut scene, A / 10, false, &[]);
        let late = if scene.now - old > 2 * A { old } else { scene.now };
        scene.input(Input::Witnessed { router: ROUTER, nth: 7, asked: scene.now });
        scene.input(Input::Witnessed { router: ROUTER, nth: 0, asked: late.min(old) });
    }
    assert_eq!(scene.reason(), Reason::Isolated);
}

/// Each answer is to a question older than an interval.
#[test]
fn a_witness_that_is_further_away_than_an_interval_is_long_delays_no_claim() {
    const AWAY: Duration = ms(120);
    for centiseconds in [1, 10] {
        let interval = AdverInterval::from_centiseconds(centiseconds).expect("10 or 100 ms");
        let mut scene = Scene::backup(Parameters { interval, ..remote() });
        let mut under_way = VecDeque::new();
        let mut spend = |scene: &mut Scene, time: Duration, stations: &[&str]| {
            let end = scene.now + time;
            while scene.now < end {
                let before = scene.reports().len();
                answered_for(scene, ms(1), stations);
                under_way.extend(scene.reports()[before..].iter().filter_map(|report| match report {
                    Report::AskWitnesses { asked, .. } => Some(*asked),
                    _ => None,
                }));
                while let Some(asked) = under_way.pop_front_if(|asked| scene.now - *asked >= AWAY) {
                    scene.input(Input::Witnessed { router: ROUTER, nth: 0, asked });
                }
            }
        };
        for _ in 0..2000 / (10 * centiseconds) {
            spend(&mut scene, interval.duration(), &[PEER]);
            scene.hear_interval(PEER, 200, centiseconds);
        }
        // The peer and its host die. With 10 ms even the first question takes longer than the timer.
        spend(&mut scene, interval.active_down_interval(Priority::new(OURS)) + 2 * AWAY, &[]);
        assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::NoResponse));
        spend(&mut scene, 2 * A, &[]);
        assert_eq!(scene.state(), StateName::Active, "and no cut is seen where there is none");
    }
}

#[test]
fn a_dead_witness_does_not_make_another_one_not_count_that_is_asked_less_often() {
    let address = format!("{OTHER}:443").parse().expect("an address and a port");
    let both = Witness { tcp: [address].into(), ..witness(WitnessPolicy::Claim) };
    let interval = AdverInterval::from_centiseconds(10).expect("100 ms");
    let parameters = Parameters { interval, witness: Some(both), ..parameters() };
    for tenth in 0..10 {
        let mut scene = Scene::backup(parameters.clone());
        reached_for(&mut scene, 20 * A + tenth * A / 10, true, &[PEER]);
        assert_eq!(scene.state(), StateName::Active);
        reached_for(&mut scene, A, false, &[]);
        assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Isolated), "{tenth}");
    }
}

/// It is not asked each time, and what it is not asked it does not fail to answer.
#[test]
fn a_witness_that_is_asked_less_often_is_not_missed_in_between() {
    let short = AdverInterval::from_centiseconds(10).expect("100 ms");
    let mut scene = Scene::backup(Parameters { interval: short, ..remote() });
    for _ in 0..50 {
        reached_for(&mut scene, A / 10, true, &[PEER]);
        assert!(!scene.snapshot().alarms.contains(Alarm::WitnessSilent));
    }
}

#[test]
fn the_caller_has_two_intervals_for_its_question() {
    let mut scene = Scene::backup(remote());
    reached_for(&mut scene, 2 * A, true, &[PEER]);
    let within = scene.reports().into_iter().find_map(|report| match report {
        Report::AskWitnesses { within, .. } => Some(within),
        _ => None,
    });
    assert_eq!(within, Some(2 * A));
}

/// One answer to each question that the caller has to be asked for is lost.
#[test]
fn a_side_that_answers_in_between_counts() {
    let address = format!("{OTHER}:443").parse().expect("an address and a port");
    let both = Witness { tcp: [address].into(), ..witness(WitnessPolicy::Claim) };
    let interval = AdverInterval::from_centiseconds(10).expect("100 ms");
    let mut scene = Scene::backup(Parameters { interval, witness: Some(both), ..parameters() });
    let end = scene.now + 10 * A;
    while scene.now < end {
        let (asked, remote) = (scene.count("ask"), scene.count("ask_witnesses"));
        scene.next_timeout();
        let first = end - scene.now > 9 * A;
        if scene.count("ask") > asked {
            answer(&mut scene, PEER);
            if first || scene.count("ask_witnesses") == remote {
                answer(&mut scene, GATEWAY);
            }
        }
    }
    assert_eq!(scene.state(), StateName::Active);
    scene.run_for(A);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Isolated));
}

// --- what else happens to a router ------------------------------------------------------------------

#[test]
fn what_was_learned_of_the_stations_outlives_a_lost_carrier() {
    let mut scene = active(by_default(), &BOTH);
    scene.facts(Facts { interface: InterfaceState::Down, ..facts(OWN) });
    scene.run_for(10 * A);
    assert_eq!(scene.count("ask"), 0, "nobody is asked meanwhile");
    // The cable is in a dead switch now.
    scene.facts(facts(OWN));
    assert_eq!(until_it_moves(&mut scene, &[], 50 * A), None);
    assert_eq!(scene.reason(), Reason::Isolated);
}

#[test]
fn a_reload_that_adds_changes_or_takes_witnesses_costs_no_role() {
    let mut scene = Scene::active(parameters());
    scene.configure(by_default());
    answered_for(&mut scene, 5 * A, &BOTH);
    scene.configure(with(WitnessPolicy::Hold));
    answered_for(&mut scene, 5 * A, &BOTH);
    assert_eq!(scene.count("release"), 0);
    scene.configure(parameters());
    answered_for(&mut scene, 5 * A, &[]);
    assert_eq!(scene.count("release"), 0);
    assert_eq!(scene.snapshot().witness, None);
    assert_eq!(scene.node.stations(ROUTER).count(), 0);
}

#[test]
fn a_reload_that_takes_witnesses_ends_what_they_showed() {
    let mut scene = backup(by_default(), &[PEER]);
    scene.run_for(20 * A);
    assert!(scene.snapshot().alarms.contains(Alarm::WitnessSilent));
    scene.configure(parameters());
    assert!(!scene.snapshot().alarms.contains(Alarm::WitnessSilent));
    let mut scene = backup(by_default(), &BOTH);
    scene.run_for(20 * A);
    assert!(scene.snapshot().alarms.contains(Alarm::Isolated));
    scene.configure(parameters());
    assert!(!scene.snapshot().alarms.contains(Alarm::Isolated));
    scene.run_for(5 * A);
    assert_eq!(scene.state(), StateName::Active, "as without witnesses");
}

#[test]
fn who_is_cut_off_stays_so_when_others_are_asked_beside_those_who_fell_silent() {
    const NEW: &str = "192.0.2.253";
    let asking = |arp: &[&str]| {
        let arp = arp.iter().map(|station| ip(station)).collect();
        Parameters { witness: Some(Witness { arp, ..witness(WitnessPolicy::Claim) }), ..parameters() }
    };
    let cut_off = || {
        let mut scene = backup(by_default(), &BOTH);
        scene.run_for(20 * A);
        assert_eq!(scene.reason(), Reason::Isolated);
        scene
    };
    let mut scene = cut_off();
    scene.configure(asking(&[NEW, GATEWAY]));
    assert!(scene.snapshot().alarms.contains(Alarm::Isolated));
    assert_eq!(until_it_moves(&mut scene, &[], 50 * A), None);
    let within = A + rounded_up(listening());
    assert!(until_it_moves(&mut scene, &[NEW], within).is_some(), "its network is there again");

    let mut scene = cut_off();
    scene.configure(asking(&[NEW]));
    assert!(!scene.snapshot().alarms.contains(Alarm::Isolated), "of that one nothing is known");
    assert!(until_it_moves(&mut scene, &[], 10 * A).is_some());
}

/// The tests look each millisecond.
fn rounded_up(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_nanos().div_ceil(1_000_000)).expect("short"))
}

#[test]
fn a_side_that_is_silent_for_three_questions_while_the_other_answers_counts_no_more() {
    for (questions, reason) in [(2, Reason::Isolated), (3, Reason::NoResponse)] {
        let mut scene = active(by_default(), &BOTH);
        while scene.count("ask") < questions {
            let asked = scene.count("ask");
            scene.next_timeout();
            if scene.count("ask") > asked {
                answer(&mut scene, GATEWAY);
            }
        }
        scene.run_for(10 * A);
        assert_eq!(scene.reason(), reason, "{questions} questions");
    }
}

#[test]
fn the_questions_of_an_active_router_leave_with_its_advertisements() {
    let mut scene = active(by_default(), &BOTH);
    answered_for(&mut scene, 3 * A, &BOTH);
    assert_eq!(scene.snapshot().witness.map(|it| it.verdict), Some(Verdict::Answered));
    // An advertisement at another time moves the grid.
    scene.pass(ms(600));
    scene.configure(Parameters { priority: Priority::new(160), ..by_default() });
    answered_for(&mut scene, 2 * A, &BOTH);
    for _ in 0..20 {
        scene.forget();
        scene.next_timeout();
        assert_eq!(scene.deeds(), ["advertise 160", "ask"]);
        BOTH.iter().for_each(|station| answer(&mut scene, station));
    }
}

#[test]
fn a_router_that_starts_again_asks_before_it_takes_itself_for_cut_off() {
    let mut scene = active(by_default(), &BOTH);
    scene.run_for(20 * A);
    assert_eq!(scene.reason(), Reason::Isolated);
    scene.facts(Facts { interface: InterfaceState::Down, ..facts(OWN) });
    scene.facts(facts(OWN));
    assert_ne!(scene.snapshot().witness.map(|it| it.verdict), Some(Verdict::Isolated));
}

#[test]
fn who_is_answered_again_listens_from_then_on_whenever_that_is() {
    for tenth in 0..20 {
        let mut scene = backup(by_default(), &BOTH);
        scene.run_for(20 * A + tenth * A / 10);
        answer(&mut scene, GATEWAY);
        let moved = until_it_moves(&mut scene, &BOTH, 10 * A).expect("it claims");
        assert!(moved >= listening(), "{tenth}: {moved:?}");
    }
}
