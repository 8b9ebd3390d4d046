//! Address before claim, and what happens when the kernel refuses.

use std::time::Duration;

use super::scene::{
    A, Kernel, OTHER, PEER, Scene, addresses, down_interval, facts, ip, ms, parameters, with_addresses,
    with_priority,
};
use crate::action::{Outcome, Report};
use crate::parameters::{Facts, Parameters};
use crate::snapshot::{Alarm, Phase, Reason, StateName};
use crate::{Instant, Priority};

const THREE: [&str; 3] = ["192.0.2.1", "192.0.2.4", "192.0.2.5"];

/// A lower router advertises each second until ours makes its move.
fn preempting(parameters: Parameters) -> Scene {
    let mut scene = Scene::backup(parameters);
    while scene.snapshot().phase == Phase::Settled && scene.state() == StateName::Backup {
        scene.hear(PEER, 100);
        scene.run_for(A);
    }
    scene
}

/// Runs while a lower router is Active, and tells when the kernel was asked for the addresses.
fn attempts(scene: &mut Scene, time: Duration) -> Vec<Instant> {
    let end = scene.now + time;
    let mut asked = Vec::new();
    while scene.now < end {
        scene.forget();
        scene.run_for(ms(100));
        if scene.count("acquire") > 0 {
            asked.push(scene.now);
        }
        if scene.now.as_nanos().is_multiple_of(1_000_000_000) {
            scene.hear(PEER, 100);
        }
    }
    asked
}

#[test]
fn what_is_put_behind_a_living_router_is_fenced_until_the_first_advertisement() {
    let fenced = || Parameters { leased: true, fenced: true, ..with_addresses(&THREE) };
    let deeds = ["fence", "acquire 0..3", "advertise 150", "announce 0..3", "active preempted", "renew"];
    let scene = preempting(fenced());
    assert_eq!(scene.deeds(), deeds);

    let mut follows = Scene::backup(fenced());
    follows.run_for(down_interval(150));
    assert_eq!(follows.count("fence"), 0, "nobody answers whom it could disturb");
    let leased = preempting(Parameters { fenced: false, ..fenced() });
    assert_eq!(leased.count("fence"), 0);
}

#[test]
fn who_preempts_has_all_addresses_before_its_first_advertisement() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Mute;
    for _ in 0..4 {
        scene.hear(PEER, 100);
        scene.run_for(A);
    }
    assert_eq!(scene.deeds(), ["acquire 0..3"]);
    for index in 0..3 {
        scene.added(index);
        scene.hear(PEER, 100);
        scene.run_for(ms(300));
        assert_eq!(scene.deeds(), ["acquire 0..3"], "after address {index}");
        assert_eq!((scene.state(), scene.snapshot().phase), (StateName::Backup, Phase::Claiming));
    }
    scene.outcome(Outcome::Acquired);
    assert_eq!(scene.deeds(), ["acquire 0..3", "advertise 150", "announce 0..3", "active preempted"]);
}

#[test]
fn a_silent_network_is_claimed_with_the_first_address() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    assert_eq!(scene.deeds(), ["acquire 0..3"]);
    scene.added(1);
    assert_eq!(scene.deeds(), ["acquire 0..3", "advertise 150", "announce 0..3", "active no_response"]);
    scene.forget();
    scene.added(0);
    assert_eq!(scene.deeds(), ["announce 0..1"], "the later ones are announced as they come");
}

#[test]
fn a_silent_network_waits_for_an_address_no_longer_than_a_millisecond() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    assert_eq!(scene.timeout(), Some(ms(1)));
    scene.forget();
    scene.next_timeout();
    assert_eq!(scene.deeds(), ["advertise 150", "active no_response"], "nothing is there to be announced");
    scene.added(2);
    assert_eq!(scene.deeds(), ["advertise 150", "active no_response", "announce 2..3"]);
}

#[test]
fn a_claim_is_given_up_without_a_word_when_a_better_router_speaks() {
    let mut scene = Scene::backup(parameters());
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    scene.forget();
    scene.hear(OTHER, 200);
    assert_eq!(scene.deeds(), ["release 0..1"]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::HigherPriority));
    assert_eq!(scene.timeout(), Some(down_interval(150)));
}

/// It was said that the quicker one had been silent, for no time at all; and that it was late.
#[test]
fn a_claim_that_another_backup_precedes_names_the_router_that_fell_silent() {
    let mut scene = Scene::backup(parameters());
    for _ in 0..2 {
        scene.kernel = Kernel::Mute;
        scene.hear(PEER, 200);
        scene.next_timeout();
        scene.hear(OTHER, 100);
        scene.forget();
        scene.added(0);
        scene.outcome(Outcome::Acquired);
        assert_eq!(scene.deeds(), ["advertise 150", "announce 0..1", "active no_response"]);
        let told = scene.reports().into_iter().find_map(|report| match report {
            Report::Transition { rival, silent, .. } => Some((rival, silent)),
            _ => None,
        });
        let dead = (ip(PEER), Priority::new(200));
        assert_eq!(told, Some((Some(dead), Some(down_interval(150)))));
        scene.hear(OTHER, 100);
        assert_eq!(scene.alarms(), [(Alarm::TwoActiveRouters, true)]);
        scene.kernel = Kernel::Prompt;
        scene.hear(PEER, 200);
        scene.run_for(A);
    }
}

#[test]
fn a_claim_is_given_up_when_a_check_fails_meanwhile() {
    use crate::tracking::{Effect, TrackerState};
    let mut scene = Scene::backup(super::scene::with_check(Effect::Demote));
    scene.check(TrackerState::Passing);
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    scene.forget();
    scene.check(TrackerState::Failing);
    assert_eq!(scene.deeds(), ["release 0..1"]);
    assert_eq!(scene.state(), StateName::Backup);
}

#[test]
fn the_one_that_is_preempted_may_resign_before_all_addresses_are_there() {
    let mut scene = preempting_mute();
    scene.added(0);
    scene.hear(PEER, 0);
    assert_eq!(scene.deeds(), ["advertise 150", "announce 0..3", "active preempted"]);

    let mut scene = preempting_mute();
    scene.hear(PEER, 0);
    assert_eq!(scene.timeout(), Some(ms(1)));
    scene.next_timeout();
    assert_eq!(scene.deeds(), ["advertise 150", "active preempted"]);
}

fn preempting_mute() -> Scene {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Mute;
    for _ in 0..4 {
        scene.hear(PEER, 100);
        scene.run_for(A);
    }
    assert_eq!(scene.snapshot().phase, Phase::Claiming);
    scene.forget();
    scene
}

#[test]
fn a_refused_address_keeps_a_preempting_router_silent() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Refusing(2);
    for _ in 0..4 {
        scene.hear(PEER, 100);
        scene.run_for(A);
    }
    assert_eq!(scene.deeds(), ["acquire 0..3", "release 0..3"]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::AddressRefused));
    assert_eq!(scene.statistics().addresses_refused, 1);
}

#[test]
fn attempts_after_a_refusal_begin_at_three_intervals_double_and_are_bounded() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Refusing(2);
    let asked = attempts(&mut scene, Duration::from_secs(4000));
    let distances: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(distances[0] >= 3 * A, "{distances:?}");
    assert!(distances.len() > 12, "{distances:?}");
    // What is doubled is the back-off; an Active_Down_Interval follows it, for the preemption.
    let back_off = |distance: Duration| distance.saturating_sub(down_interval(150)) + A;
    for pair in distances[..6].windows(2) {
        assert!(pair[1] >= back_off(pair[0]).mul_f64(1.6), "{distances:?}");
    }
    assert!(distances.iter().all(|distance| *distance <= Duration::from_secs(300) + 2 * down_interval(150)));
}

#[test]
fn two_routers_that_were_refused_do_not_try_in_step() {
    let back_off = |last_octet| {
        let mut scene = Scene::new(with_addresses(&THREE));
        let mac = crate::MacAddress::new([2, 0, 0, 0, 0, last_octet]);
        scene.facts(Facts { mac, ..facts(super::scene::OWN) });
        scene.kernel = Kernel::Refusing(0);
        scene.next_timeout();
        let refused = scene.now;
        scene.forget();
        while scene.count("acquire") == 0 {
            scene.next_timeout();
        }
        scene.now - refused
    };
    assert!(back_off(7) >= 3 * A);
    assert_ne!(back_off(7), back_off(8));
}

#[test]
fn a_refused_address_makes_an_active_router_resign() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Refusing(1);
    scene.next_timeout();
    assert_eq!(scene.advertised(), [150, 0, 0, 0]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::AddressRefused));
    scene.forget();
    scene.pass(ms(5));
    scene.hear(PEER, 100);
    assert_eq!(scene.timeout(), Some(ms(20)), "the address answers until the successor has it");
    scene.next_timeout();
    assert_eq!(scene.deeds(), ["release 0..3"]);
}

#[test]
fn the_part_that_works_is_held_when_nobody_takes_over() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Refusing(1);
    scene.next_timeout();
    scene.forget();
    scene.run_for(A + ms(20));
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::NoBetterRouter));
    assert_eq!(scene.present(), [true, false, false]);
    assert_eq!(scene.count("release"), 0, "the address answered all the time");
    scene.forget();
    scene.run_for(Duration::from_secs(60));
    assert!(scene.count("acquire") >= 3, "what is missing is tried again: {:?}", scene.deeds());
    assert!(!scene.advertised().contains(&0), "and nobody is bothered by it");
    scene.kernel = Kernel::Prompt;
    scene.run_for(Duration::from_secs(120));
    assert_eq!(scene.present(), [true; 3]);
    scene.forget();
    scene.run_for(Duration::from_secs(600));
    assert_eq!(scene.count("acquire"), 0);
}

#[test]
fn the_part_that_works_is_held_when_the_peer_resigns_as_well() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Refusing(1);
    scene.next_timeout();
    scene.hear(PEER, 100);
    scene.run_for(ms(20));
    scene.forget();
    scene.hear(PEER, 0);
    assert!(scene.timeout() < Some(A), "back-off does not delay who is needed");
    scene.next_timeout();
    assert_eq!(scene.state(), StateName::Active);
    assert_eq!(scene.advertised(), [150]);
    assert_eq!(scene.present(), [true, false, false]);
}

#[test]
fn a_handover_alone_is_no_reason_to_hold_a_part() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Refusing(1);
    scene.hear(OTHER, 200);
    scene.hear(OTHER, 0);
    scene.next_timeout();
    // A third router may have all of them.
    assert_eq!(scene.advertised(), [150, 0, 0, 0]);
    assert_eq!(scene.state(), StateName::Backup);
}

#[test]
fn an_active_router_waits_for_a_silent_kernel_three_intervals() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    scene.next_timeout();
    scene.forget();
    scene.run_for(3 * A - ms(2));
    assert_eq!(scene.advertised(), [150, 150], "without the addresses, for the time being");
    scene.run_for(ms(2));
    assert_eq!(scene.advertised()[2..], [0, 0, 0]);
    assert_eq!(scene.reason(), Reason::AddressRefused);
}

#[test]
fn a_claim_waits_for_a_silent_kernel_three_intervals() {
    let mut scene = preempting_mute();
    let end = scene.now + 3 * A;
    while scene.now < end {
        scene.hear(PEER, 100);
        scene.run_for(A);
    }
    assert_eq!(scene.deeds(), ["release 0..3"]);
    assert_eq!(scene.reason(), Reason::AddressRefused);
}

#[test]
fn outcomes_of_an_earlier_tenure_are_void() {
    let mut scene = Scene::backup(parameters());
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    let old = scene.ticket;
    scene.hear(OTHER, 200);
    scene.ticket = old;
    scene.added(0);
    scene.outcome(Outcome::Acquired);
    assert_eq!(scene.present(), [false]);
    assert_eq!(scene.state(), StateName::Backup);
}

#[test]
fn an_owner_takes_over_again_when_the_other_owner_lowers_itself() {
    let mut scene =
        Scene::backup(Parameters { addresses: addresses(&["192.0.2.1", "192.0.2.4"]), ..with_priority(255) });
    assert_eq!(scene.state(), StateName::Active, "an owner starts as Active");
    scene.pass(ms(50));
    scene.hear(OTHER, 255);
    assert_eq!(scene.state(), StateName::Backup);
    scene.forget();
    for _ in 0..4 {
        // keepalived does so after such a contest.
        scene.hear(OTHER, 254);
        scene.run_for(A);
    }
    assert_eq!(scene.deeds()[..3], ["advertise 255", "announce 0..2", "active preempted"]);
    assert_eq!(scene.present(), [true, true]);
}

#[test]
fn who_preempted_shows_itself_as_active() {
    let scene = preempting(with_addresses(&THREE));
    assert_eq!(scene.state(), StateName::Active);
    let active = scene.snapshot().active_router.expect("it is us");
    assert_eq!((active.this_node, active.priority), (true, Priority::new(150)));
}

#[test]
fn who_died_after_it_was_outranked_is_silent_and_not_living() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Mute;
    scene.hear(PEER, 100);
    scene.next_timeout();
    assert_eq!(scene.deeds(), ["acquire 0..3"]);
    assert_eq!(scene.timeout(), Some(ms(1)));
}

#[test]
fn a_slow_kernel_that_makes_progress_is_waited_for() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    for index in 0..3 {
        scene.run_for(2 * A);
        scene.added(index);
    }
    scene.outcome(Outcome::Acquired);
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true; 3]));
    assert!(!scene.advertised().contains(&0));
}

/// Refused everything, and some time later only a part.
fn refused_twice(between: impl Fn(&mut Scene)) -> Scene {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Refusing(0);
    scene.next_timeout();
    assert_eq!(scene.reason(), Reason::AddressRefused);
    scene.kernel = Kernel::Refusing(1);
    between(&mut scene);
    scene.forget();
    while scene.count("acquire") == 0 {
        scene.next_timeout();
    }
    scene
}

#[test]
fn who_was_refused_before_and_heard_nobody_since_holds_the_part() {
    let scene = refused_twice(|_| {});
    assert_eq!((scene.state(), scene.advertised()), (StateName::Active, vec![150]));
}

#[test]
fn who_was_refused_before_and_heard_another_since_resigns_for_it() {
    let scene = refused_twice(|scene| scene.hear(PEER, 100));
    assert_eq!(scene.advertised(), [150, 0, 0, 0]);
}

#[test]
fn a_lower_router_is_left_alone_while_the_back_off_runs() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Refusing(0);
    scene.next_timeout();
    scene.pass(A);
    scene.hear(PEER, 100);
    assert_eq!(scene.timeout(), Some(down_interval(150)));
}

#[test]
fn a_claim_given_up_for_a_router_that_is_not_higher_does_not_say_so() {
    let mut scene = Scene::backup(Parameters { preempt_mode: false, ..parameters() });
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    scene.hear(PEER, 100);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Startup));
}

#[test]
fn an_owner_takes_over_whatever_preempt_mode_says() {
    let owner = with_priority(255);
    let mut scene = Scene::backup(Parameters { preempt_mode: false, preempt_delay: 60 * A, ..owner });
    scene.hear(OTHER, 255);
    assert_eq!(scene.state(), StateName::Backup);
    for _ in 0..4 {
        scene.hear(OTHER, 254);
        scene.run_for(A);
    }
    assert_eq!(scene.reason(), Reason::Preempted);
}

#[test]
fn one_of_two_requests_that_is_done_says_nothing_about_the_other() {
    let mut scene = Scene::active(with_addresses(&THREE));
    scene.kernel = Kernel::Mute;
    scene.outcome(Outcome::Lost { index: 0 });
    scene.outcome(Outcome::Lost { index: 1 });
    scene.forget();
    scene.added(0);
    scene.outcome(Outcome::Acquired);
    assert_eq!((scene.state(), scene.advertised()), (StateName::Active, vec![]), "the other is under way");
    scene.added(1);
    scene.outcome(Outcome::Acquired);
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true; 3]));
}

#[test]
fn who_has_nothing_left_when_the_kernel_refuses_holds_no_part() {
    let mut scene = Scene::active(parameters());
    scene.kernel = Kernel::Refusing(0);
    scene.outcome(Outcome::Lost { index: 0 });
    assert_eq!((scene.snapshot().phase, scene.reason()), (Phase::Leaving, Reason::AddressRefused));
    scene.forget();
    scene.run_for(A + ms(20));
    assert_eq!((scene.state(), scene.count("release")), (StateName::Backup, 1));
    assert_eq!(scene.advertised(), [] as [u8; 0]);
}

#[test]
fn an_advertisement_that_leaves_again_does_not_end_the_search_for_the_missing_part() {
    let mut scene = Scene::backup(with_addresses(&THREE));
    scene.kernel = Kernel::Refusing(1);
    scene.next_timeout();
    scene.run_for(A + ms(20));
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true, false, false]));
    scene.sending = Err(1);
    scene.run_for(A);
    scene.sending = Ok(());
    scene.forget();
    scene.run_for(A);
    assert_eq!(
        (scene.count("advertise"), scene.count("acquire")),
        (1, 0),
        "not sooner than the back-off says"
    );
    scene.run_for(Duration::from_secs(60));
    assert!(scene.count("acquire") > 0);
}

/// Claims a silent network, is refused, and tells how long it waits until it claims again.
fn refused(scene: &mut Scene) -> Duration {
    scene.forget();
    while scene.count("acquire") == 0 {
        scene.next_timeout();
    }
    while scene.timeout() == Some(Duration::ZERO) {
        scene.next_timeout();
    }
    scene.timeout().expect("it backs off")
}

#[test]
fn a_lower_router_is_preempted_as_soon_as_the_back_off_is_over() {
    for (early, state) in [(ms(1), StateName::Backup), (ms(0), StateName::Active)] {
        let mut scene = Scene::backup(parameters());
        scene.kernel = Kernel::Refusing(0);
        let over = refused(&mut scene);
        scene.kernel = Kernel::Prompt;
        scene.pass(over - early);
        scene.hear(PEER, 100);
        scene.pass(early);
        scene.drained();
        assert_eq!(scene.state(), state, "heard {early:?} before");
    }
}

/// Doubled each time, and spread by the Ethernet address and the attempt, so that two routers part.
#[test]
fn the_back_off_of_each_refusal_is_that_of_this_router() {
    let mut scene = Scene::backup(parameters());
    scene.kernel = Kernel::Refusing(0);
    // The last octet of the address is 7, and so is the step; of 32 parts.
    for (attempt, spread) in [7, 14, 21, 28, 3].into_iter().enumerate() {
        let doubled = 3 * A * (1 << attempt);
        assert_eq!(refused(&mut scene), doubled + doubled * spread / 128, "{attempt}");
    }
}

#[test]
fn a_claim_goes_on_when_a_check_decides_that_was_counted_as_failing() {
    use crate::tracking::{Effect, TrackerState};
    let mut scene = Scene::backup(super::scene::with_check(Effect::Weight(-20)));
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    scene.forget();
    scene.check(TrackerState::Failing);
    assert_eq!((scene.deeds(), scene.snapshot().phase), (vec![], Phase::Claiming));
}
