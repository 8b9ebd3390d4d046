//! Backup: who follows whom, and when.

use std::time::Duration;

use super::scene::{
    A, OTHER, OWN, PEER, ROUTER, Scene, down_interval, facts, ms, parameters, unicast, with_check,
    with_priority,
};
use crate::action::Report;
use crate::packet::ChecksumForm;
use crate::parameters::{Facts, InterfaceState, Parameters};
use crate::snapshot::{Reason, StateName};
use crate::tracking::Effect;
use crate::tracking::TrackerState::{Failing, Passing};
use crate::{AdverInterval, Priority};

fn skew(priority: u8) -> Duration {
    AdverInterval::DEFAULT.skew_time(Priority::new(priority))
}

#[test]
fn the_sole_backup_claims_at_once_on_priority_0() {
    let mut scene = Scene::backup(unicast(&[PEER]));
    scene.hear(PEER, 200);
    scene.forget();
    scene.hear(PEER, 0);
    assert_eq!(scene.deeds(), ["acquire 0..1", "advertise 150", "announce 0..1", "active priority"]);
}

#[test]
fn with_two_peers_or_the_whole_group_skew_time_holds() {
    for parameters in [unicast(&[PEER, OTHER]), parameters()] {
        let mut scene = Scene::backup(parameters);
        scene.hear(PEER, 200);
        scene.hear(PEER, 0);
        assert_eq!(scene.timeout(), Some(skew(150)));
    }
}

#[test]
fn a_demoted_sole_backup_waits_for_skew_time() {
    let tracking = with_check(Effect::Demote).tracking;
    let mut scene = Scene::backup(Parameters { tracking, ..unicast(&[PEER]) });
    scene.check(Failing);
    scene.hear(PEER, 200);
    scene.hear(PEER, 0);
    assert_eq!(scene.timeout(), Some(skew(15)));
}

#[test]
fn priority_0_is_answered_once_however_often_it_is_said() {
    let mut scene = Scene::backup(unicast(&[PEER]));
    scene.hear(PEER, 200);
    scene.forget();
    for _ in 0..3 {
        scene.hear(PEER, 0);
    }
    assert_eq!(scene.advertised(), [150]);
}

#[test]
fn pending_checks_never_preempt() {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    for _ in 0..20 {
        scene.hear(PEER, 1);
        scene.run_for(A);
    }
    assert_eq!((scene.state(), scene.snapshot().pending), (StateName::Backup, true));
    scene.check(Passing);
    for _ in 0..4 {
        scene.hear(PEER, 1);
        scene.run_for(A);
    }
    assert_eq!(scene.reason(), Reason::Preempted);
}

#[test]
fn pending_checks_claim_a_silent_network_as_if_demoted() {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    assert_eq!(scene.timeout(), Some(down_interval(15)));
    scene.next_timeout();
    assert_eq!(scene.advertised(), [15]);
    scene.forget();
    scene.pass(ms(100));
    scene.check(Passing);
    assert_eq!(scene.advertised(), [150], "and says so when the check has passed");
}

#[test]
fn preempt_delay_leaves_a_lower_router_alone_until_it_is_over() {
    let mut scene = Scene::backup(Parameters { preempt_delay: 10 * A, ..parameters() });
    let mut heard = 0;
    while scene.state() == StateName::Backup {
        scene.hear(PEER, 100);
        scene.run_for(A);
        heard += 1;
    }
    // The advertisement that ends the delay is the eleventh; an Active_Down_Interval from the tenth
    // follows.
    assert_eq!(heard, 10 + 3);
}

#[test]
fn preempt_delay_does_not_delay_who_follows_silence() {
    let mut scene = Scene::backup(Parameters { preempt_delay: Duration::from_secs(600), ..parameters() });
    scene.hear(PEER, 100);
    assert!(scene.snapshot().preempt_in.is_some());
    scene.run_for(down_interval(150));
    assert_eq!(scene.state(), StateName::Active);

    let mut scene = Scene::backup(Parameters { preempt_delay: Duration::from_secs(600), ..parameters() });
    scene.hear(PEER, 100);
    scene.hear(PEER, 0);
    scene.run_for(skew(150));
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Priority));
}

#[test]
fn a_higher_router_in_between_begins_the_delay_anew() {
    let mut scene = Scene::backup(Parameters { preempt_delay: 3 * A, ..parameters() });
    for priority in [100, 100, 200, 100, 100] {
        scene.hear(PEER, priority);
        scene.run_for(A);
    }
    assert_eq!(scene.snapshot().preempt_in, Some(A));
}

#[test]
fn without_preempt_mode_a_lower_router_stays() {
    let mut scene = Scene::backup(Parameters { preempt_mode: false, ..parameters() });
    for _ in 0..20 {
        scene.hear_interval(PEER, 1, 50);
        assert_eq!(scene.timeout(), Some(ms(1500) + skew(150) / 2));
        scene.run_for(A);
    }
    assert_eq!(scene.state(), StateName::Backup);
    scene.run_for(down_interval(150));
    assert_eq!(scene.state(), StateName::Active, "but silence is followed");
}

#[test]
fn silence_is_counted_by_the_promise_of_the_active_router() {
    let mut scene = Scene::backup(parameters());
    scene.hear_interval(OTHER, 200, 10);
    assert_eq!(scene.timeout(), Some(down_interval(150) / 10));
    scene.hear_interval(OTHER, 200, 4095);
    assert_eq!(scene.snapshot().active_adver_interval, AdverInterval::MAX);
    assert_eq!(scene.timeout(), Some(AdverInterval::MAX.active_down_interval(Priority::new(150))));
}

#[test]
fn a_raised_priority_brings_the_takeover_forward_by_its_skew() {
    let mut scene = Scene::backup(with_check(Effect::Weight(-100)));
    scene.check(Failing);
    scene.hear(OTHER, 200);
    assert_eq!(scene.timeout(), Some(down_interval(50)));
    scene.pass(A);
    scene.check(Passing);
    assert_eq!(scene.timeout(), Some(down_interval(150) - A), "counted from what was heard last");
}

#[test]
fn a_lowered_priority_does_not_start_the_timer_anew() {
    let mut scene = Scene::backup(with_check(Effect::Weight(-100)));
    scene.check(Passing);
    scene.hear(OTHER, 200);
    let armed = scene.node.poll_timeout();
    scene.pass(A);
    scene.check(Failing);
    assert_eq!(scene.node.poll_timeout(), armed);
}

#[test]
fn packets_are_judged_by_the_time_at_which_the_kernel_received_them() {
    let mut scene = Scene::backup(parameters());
    let arrived = scene.now + A;
    scene.pass(3 * A);
    scene.woke();
    scene.hear_as(OTHER, 200, 100, ChecksumForm::PseudoHeader, arrived);
    scene.drained();
    assert_eq!(scene.node.poll_timeout(), Some(arrived + down_interval(150)));
}

#[test]
fn a_packet_in_the_socket_counts_before_the_timer_that_ran_out() {
    let mut scene = Scene::backup(parameters());
    scene.pass(4 * A);
    scene.woke();
    scene.hear(OTHER, 200);
    scene.drained();
    assert_eq!(scene.state(), StateName::Backup);
    assert_eq!(scene.count("acquire"), 0);
}

#[test]
fn a_check_does_not_cut_the_listening_short() {
    let mut scene = Scene::backup(with_check(Effect::Weight(-50)));
    scene.check(Failing);
    scene.pass(10 * A);
    scene.woke();
    scene.drained();
    scene.check(Passing);
    let listens = A + A * 156 / 256;
    assert_eq!((scene.state(), scene.timeout()), (StateName::Backup, Some(listens)), "one interval at 100");
}

#[test]
fn the_reasons_for_becoming_active_are_told_apart() {
    let mut scene = Scene::backup(parameters());
    scene.hear(OTHER, 200);
    scene.run_for(down_interval(150));
    assert_eq!(scene.reason(), Reason::NoResponse);

    let mut scene = Scene::backup(parameters());
    scene.hear(OTHER, 200);
    scene.hear(OTHER, 0);
    scene.run_for(skew(150));
    assert_eq!(scene.reason(), Reason::Priority);
}

#[test]
fn until_something_is_heard_the_snapshot_says_so() {
    let mut scene = Scene::backup(with_priority(100));
    assert!(!scene.snapshot().heard);
    scene.hear(OTHER, 200);
    assert!(scene.snapshot().heard);
    let active = scene.snapshot().active_router.expect("it was heard");
    assert_eq!((active.address, active.this_node), (super::scene::ip(OTHER), false));
}

#[test]
fn a_time_stamp_of_the_future_counts_as_now() {
    let mut scene = Scene::backup(parameters());
    let future = scene.now + 100 * A;
    scene.hear_as(OTHER, 200, 100, ChecksumForm::PseudoHeader, future);
    assert_eq!(scene.timeout(), Some(down_interval(150)));
}

#[test]
fn who_resigned_is_not_shown_as_active() {
    let mut scene = Scene::backup(parameters());
    scene.hear(OTHER, 200);
    scene.hear(OTHER, 0);
    assert!(scene.snapshot().active_router.is_none());
}

#[test]
fn after_a_lost_link_nothing_learned_is_left() {
    let mut scene = Scene::backup(parameters());
    scene.hear_interval(OTHER, 200, 4095);
    scene.hear_interval(PEER, 100, 100);
    // What these showed has been told.
    scene.run_for(A);
    let up = facts(OWN);
    scene.facts(Facts { interface: InterfaceState::Down, ..up });
    scene.facts(up);
    assert_eq!(scene.timeout(), Some(down_interval(150)));
    scene.next_timeout();
    assert_eq!(scene.reason(), Reason::NoResponse);
}

#[test]
fn trust_in_pending_checks_ends_with_the_role() {
    let mut scene = Scene::active(parameters());
    scene.configure(with_check(Effect::Demote));
    assert_eq!(scene.snapshot().priority.get(), 150);
    scene.hear(OTHER, 200);
    scene.run_for(ms(20));
    assert_eq!(scene.snapshot().priority.get(), 15);
    let (from, to) = (Priority::new(150), Priority::new(15));
    let told = scene.reports().last().copied();
    assert_eq!(told, Some(Report::PriorityChanged { router: ROUTER, from, to }));
    for _ in 0..20 {
        scene.hear(OTHER, 1);
        scene.run_for(A);
    }
    assert_eq!(scene.state(), StateName::Backup);
}

#[test]
fn who_sinks_below_the_router_that_it_ignored_counts_from_its_last_advertisement() {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    scene.check(Passing);
    scene.pass(2 * A);
    scene.hear(OTHER, 100);
    scene.pass(A / 2);
    assert!(scene.timeout() < Some(2 * A), "it was about to preempt");
    scene.check(Failing);
    assert_eq!((scene.state(), scene.timeout()), (StateName::Backup, Some(down_interval(15) - A / 2)));
}

/// Until then it was not sound enough to take the role back.
#[test]
fn preempt_delay_begins_anew_when_a_check_recovers() {
    let delayed = Parameters { preempt_delay: 3 * A, ..with_check(Effect::Weight(-20)) };
    let mut scene = Scene::backup(delayed);
    scene.check(Failing);
    for recovers in [false, false, true, false] {
        if recovers {
            scene.check(Passing);
        }
        scene.hear(PEER, 100);
        assert!(scene.snapshot().preempt_in.is_some(), "it is delayed");
        scene.run_for(A);
    }
    assert_eq!(scene.snapshot().preempt_in, Some(A), "of three intervals two are over");
}

/// What was learned while a check was failing stays learned when another one fails.
#[test]
fn preempt_delay_goes_on_when_a_priority_sinks() {
    let delayed = Parameters { preempt_delay: 3 * A, ..with_check(Effect::Weight(-20)) };
    let mut scene = Scene::backup(delayed);
    scene.check(Passing);
    scene.hear(PEER, 100);
    scene.run_for(A);
    scene.check(Failing);
    assert_eq!(scene.snapshot().preempt_in, Some(2 * A));
}

/// Until then nobody knew whether it was sound.
#[test]
fn preempt_delay_begins_anew_when_a_check_that_a_reload_brought_decides() {
    let delayed = |parameters| Parameters { preempt_delay: 3 * A, ..parameters };
    let mut scene = Scene::backup(delayed(parameters()));
    scene.hear(PEER, 100);
    scene.configure(delayed(with_check(Effect::Weight(-20))));
    scene.run_for(A);
    scene.hear(PEER, 100);
    assert_eq!(scene.snapshot().preempt_in, Some(2 * A), "it is held");
    scene.check(Failing);
    scene.hear(PEER, 100);
    assert_eq!(scene.snapshot().preempt_in, Some(3 * A));
}
