//! The operator's word: drain, hand over, take back, freeze.

use std::time::Duration;

use super::scene::{
    A, Kernel, OTHER, OWN, PEER, Scene, down_interval, facts, ip, ms, parameters, unicast, with_check,
    with_priority,
};
use crate::action::{HandedOver, Order, OrderOutcome, OrderRefusal};
use crate::parameters::{Facts, InterfaceState, Parameters};
use crate::snapshot::{Phase, Reason, Standing, StateName};
use crate::tracking::TrackerState::{Failing, Passing};
use crate::tracking::{Effect, TrackerId};
use crate::{AdverInterval, Priority};

const DRAIN: Order = Order::Drain { force: false };
const DRAIN_BY_FORCE: Order = Order::Drain { force: true };

fn refused(why: OrderRefusal) -> [OrderOutcome; 1] {
    [OrderOutcome::Refused(why)]
}

/// Handed over to a router of lower priority, which is Active since `now`.
fn yielded(parameters: Parameters) -> Scene {
    let mut scene = Scene::active(parameters);
    scene.order(Order::HandOver);
    scene.pass(ms(400));
    scene.hear(PEER, 100);
    scene.run_for(ms(20));
    scene.hear(PEER, 100);
    scene.forget();
    scene
}

/// As [`Scene::active`], with one check that passes.
fn checked() -> Scene {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    scene.check(Passing);
    scene.next_timeout();
    scene.run_for(A);
    scene.forget();
    scene
}

#[test]
fn who_is_drained_hands_over_and_stays_away_until_it_is_undone() {
    let mut scene = Scene::active(parameters());
    scene.order(DRAIN);
    assert_eq!(scene.advertised(), [0, 0, 0]);
    assert_eq!((scene.state(), scene.snapshot().phase), (StateName::Active, Phase::Asking));
    scene.pass(ms(400));
    scene.forget();
    scene.hear(PEER, 100);
    assert_eq!(scene.deeds(), ["initialize drained"]);
    assert_eq!(scene.present(), [true], "it answers until the successor does");
    scene.run_for(ms(20));
    assert_eq!(scene.count("release"), 1);
    let handed = HandedOver {
        to: ip(PEER),
        priority: Priority::new(100),
        waited: ms(400),
        overlap: ms(20),
        yielded: false,
    };
    assert_eq!(scene.orders(), [OrderOutcome::HandedOver(handed)]);

    scene.facts(Facts { interface: InterfaceState::Down, ..facts(OWN) });
    scene.facts(facts(OWN));
    scene.configure(with_priority(200));
    scene.hear(PEER, 0);
    scene.run_for(60 * A);
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::Drained));
    scene.order(Order::Undrain);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Startup));
}

/// Where nodes share no network, the role moves by order too.
#[test]
fn a_router_without_addresses_is_drained_and_hands_over_like_others() {
    for order in [DRAIN, Order::HandOver] {
        let mut scene = Scene::active(Parameters { addresses: [].into(), ..unicast(&[PEER]) });
        scene.order(order);
        scene.hear(PEER, 100);
        scene.run_for(ms(20));
        assert!(matches!(scene.orders()[..], [OrderOutcome::HandedOver(_)]), "{:?}", scene.orders());
        assert_ne!(scene.state(), StateName::Active);
    }
}

#[test]
fn a_drain_that_nobody_follows_is_called_off() {
    let mut scene = Scene::active(parameters());
    scene.order(DRAIN);
    scene.run_for(A + ms(19));
    assert_eq!((scene.orders(), scene.present()), (vec![], vec![true]));
    scene.forget();
    scene.run_for(ms(1));
    assert_eq!(scene.deeds(), ["advertise 150"]);
    assert_eq!(scene.orders(), [OrderOutcome::NobodyFollowed]);
    assert_eq!((scene.state(), scene.snapshot().standing), (StateName::Active, Standing::Free));
}

#[test]
fn a_long_interval_is_not_waited_for_longer_than_the_addresses_are_kept() {
    let mut scene = Scene::active(Parameters { interval: AdverInterval::MAX, ..parameters() });
    scene.order(DRAIN);
    assert_eq!(scene.timeout(), Some(Duration::from_secs(3)));
}

#[test]
fn a_drain_by_force_leaves_whether_or_not_somebody_follows() {
    let mut scene = Scene::active(parameters());
    scene.order(DRAIN_BY_FORCE);
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::Drained));
    assert_eq!(scene.present(), [true]);
    scene.run_for(A + ms(20));
    assert_eq!(scene.count("release"), 1);
    assert_eq!(scene.orders(), [OrderOutcome::LeftAlone]);

    let mut followed = Scene::active(parameters());
    followed.order(DRAIN_BY_FORCE);
    followed.pass(ms(300));
    followed.hear(PEER, 100);
    followed.run_for(ms(20));
    assert!(matches!(followed.orders()[..], [OrderOutcome::HandedOver(_)]), "{:?}", followed.orders());
}

#[test]
fn a_backup_is_drained_without_a_word_unless_it_hears_nobody() {
    let mut scene = Scene::backup(parameters());
    scene.order(DRAIN);
    assert_eq!(scene.orders(), refused(OrderRefusal::NoActiveRouter));
    assert_eq!(scene.state(), StateName::Backup);
    scene.hear(OTHER, 200);
    scene.forget();
    scene.order(DRAIN);
    assert_eq!(scene.deeds(), ["initialize drained"]);
    assert_eq!(scene.orders(), [OrderOutcome::Done]);

    let mut forced = Scene::backup(parameters());
    forced.order(DRAIN_BY_FORCE);
    assert_eq!(forced.reason(), Reason::Drained);
}

#[test]
fn who_is_drained_before_it_starts_never_starts_and_lets_go_of_what_was_left() {
    let mut scene = Scene::new(Parameters { leased: true, ..parameters() });
    scene.order(DRAIN_BY_FORCE);
    scene.facts(Facts { left_over: Some(scene.now), ..facts(OWN) });
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::Drained));
    assert_eq!(scene.count("release"), 1);
    assert_eq!(scene.timeout(), None);
}

#[test]
fn what_was_on_its_way_before_the_resignation_is_no_answer() {
    let mut scene = Scene::active(parameters());
    let before = scene.now;
    scene.pass(ms(1));
    for order in [DRAIN, Order::HandOver] {
        scene.forget();
        scene.order(order);
        scene.hear_as(PEER, 100, 100, crate::packet::ChecksumForm::PseudoHeader, before);
        assert_eq!(scene.snapshot().phase, Phase::Asking);
        scene.run_for(A + ms(20));
        assert_eq!(scene.orders(), [OrderOutcome::NobodyFollowed]);
    }
}

#[test]
fn who_handed_over_to_a_lower_one_does_not_preempt_it() {
    let mut scene = yielded(parameters());
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::HandedOver));
    assert_eq!(scene.snapshot().standing, Standing::Yielded);
    for _ in 0..20 {
        scene.run_for(A);
        scene.hear(PEER, 100);
    }
    assert_eq!(scene.state(), StateName::Backup);
    // ... but follows it when it goes, and is what it was before.
    scene.hear(PEER, 0);
    scene.run_for(A);
    assert_eq!((scene.state(), scene.snapshot().standing), (StateName::Active, Standing::Free));
}

#[test]
fn who_handed_over_follows_silence_too() {
    let mut scene = yielded(parameters());
    scene.run_for(down_interval(150));
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::NoResponse));
}

#[test]
fn nothing_is_yielded_to_a_higher_one() {
    let mut scene = Scene::active(parameters());
    scene.order(Order::HandOver);
    scene.hear(OTHER, 200);
    scene.run_for(ms(20));
    assert_eq!((scene.state(), scene.snapshot().standing), (StateName::Backup, Standing::Free));
    assert!(
        matches!(scene.orders()[..], [OrderOutcome::HandedOver(HandedOver { yielded: false, .. })]),
        "{:?}",
        scene.orders()
    );
}

#[test]
fn a_handover_while_a_check_fails_does_not_end_when_it_passes_again() {
    let mut scene = checked();
    scene.check(Failing);
    scene.run_for(A + ms(20));
    scene.order(Order::HandOver);
    scene.pass(ms(400));
    scene.hear(PEER, 100);
    scene.run_for(ms(20));
    assert_eq!(scene.snapshot().standing, Standing::Yielded);
    scene.check(Passing);
    for _ in 0..8 {
        scene.hear(PEER, 100);
        scene.run_for(A);
    }
    assert_eq!(scene.state(), StateName::Backup);
}

#[test]
fn a_handover_that_nobody_follows_is_called_off() {
    let mut scene = Scene::active(parameters());
    scene.order(Order::HandOver);
    scene.run_for(A + ms(20));
    assert_eq!(scene.orders(), [OrderOutcome::NobodyFollowed]);
    assert_eq!((scene.state(), scene.snapshot().standing), (StateName::Active, Standing::Free));
}

#[test]
fn who_is_not_active_has_nothing_to_hand_over() {
    let mut scene = Scene::backup(parameters());
    scene.order(Order::HandOver);
    assert_eq!(scene.orders(), refused(OrderRefusal::NotActive));
}

#[test]
fn what_was_handed_over_is_taken_back_at_once_whatever_is_configured() {
    let slow = Parameters { preempt_mode: false, preempt_delay: Duration::from_secs(60), ..parameters() };
    let mut scene = yielded(slow);
    scene.kernel = Kernel::Mute;
    scene.order(Order::TakeBack);
    assert_eq!(scene.snapshot().phase, Phase::Claiming);
    scene.hear(PEER, 100);
    assert_eq!(scene.count("advertise"), 0, "the other one answers, so it waits for the address");
    scene.added(0);
    scene.outcome(crate::action::Outcome::Acquired);
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Preempted));
    assert_eq!((scene.orders(), scene.snapshot().standing), (vec![OrderOutcome::Done], Standing::Free));
}

#[test]
fn what_cannot_be_had_back_stays_handed_over() {
    let mut scene = yielded(parameters());
    scene.kernel = Kernel::Refusing(0);
    scene.order(Order::TakeBack);
    assert_eq!(scene.orders(), refused(OrderRefusal::NotReady));
    assert_eq!(scene.snapshot().standing, Standing::Yielded);
    scene.forget();
    scene.hear(OTHER, 200);
    scene.order(Order::TakeBack);
    assert_eq!(scene.orders(), refused(OrderRefusal::Outranked));

    let mut other = Scene::backup(parameters());
    other.hear(PEER, 100);
    other.order(Order::TakeBack);
    assert_eq!(other.orders(), refused(OrderRefusal::NotYielded));
}

#[test]
fn a_handover_is_honoured_after_a_restart() {
    let mut scene = Scene::new(parameters());
    scene.order(Order::Yield);
    scene.facts(facts(OWN));
    for _ in 0..8 {
        scene.hear(PEER, 100);
        scene.run_for(A);
    }
    assert_eq!(scene.state(), StateName::Backup);
}

#[test]
fn a_reminder_of_a_handover_comes_in_time_until_the_role_is_taken() {
    let mut scene = Scene::backup(parameters());
    scene.run_for(3 * A);
    scene.hear(PEER, 100);
    scene.order(Order::Yield);
    for _ in 0..8 {
        scene.run_for(A);
        scene.hear(PEER, 100);
    }
    assert_eq!((scene.state(), scene.count("acquire")), (StateName::Backup, 0));
}

#[test]
fn one_order_at_a_time_and_none_for_an_owner() {
    let mut scene = Scene::active(parameters());
    scene.order(Order::HandOver);
    scene.order(DRAIN);
    assert_eq!(scene.orders(), refused(OrderRefusal::Busy));
    let mut owner = Scene::active(with_priority(255));
    owner.order(DRAIN_BY_FORCE);
    owner.order(Order::HandOver);
    assert_eq!(owner.orders(), [OrderOutcome::Refused(OrderRefusal::Owner); 2]);
    assert_eq!(owner.state(), StateName::Active);
}

#[test]
fn an_order_that_a_lost_link_overtakes_is_answered_all_the_same() {
    for order in [DRAIN, Order::HandOver] {
        let mut scene = Scene::active(parameters());
        scene.order(order);
        scene.facts(Facts { interface: InterfaceState::Down, ..facts(OWN) });
        assert_eq!(scene.orders(), [OrderOutcome::LeftAlone]);
    }
}

fn frozen(state: crate::tracking::TrackerState) -> Order {
    Order::Freeze([(TrackerId(0), state)].into())
}

#[test]
fn a_frozen_check_moves_nothing_and_its_result_counts_at_the_end() {
    let mut scene = checked();
    scene.order(frozen(Passing));
    scene.forget();
    scene.check(Failing);
    assert_eq!((scene.advertised(), scene.snapshot().priority), (vec![], Priority::new(150)));
    assert!(scene.snapshot().frozen);
    scene.order(Order::Unfreeze);
    assert_eq!((scene.advertised(), scene.snapshot().phase), (vec![0, 0, 0], Phase::Asking));
}

#[test]
fn a_check_that_recovers_moves_nothing_either_while_it_is_frozen() {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    scene.check(Failing);
    scene.order(frozen(Failing));
    scene.check(Passing);
    for _ in 0..8 {
        scene.hear(PEER, 100);
        scene.run_for(A);
    }
    assert_eq!(scene.state(), StateName::Backup);
    assert_eq!(scene.snapshot().priority, Priority::new(15));
}

#[test]
fn a_frozen_node_that_starts_again_goes_by_what_was_frozen() {
    let mut scene = Scene::new(with_check(Effect::Demote));
    scene.order(frozen(Passing));
    scene.facts(facts(OWN));
    assert!(!scene.snapshot().pending);
    scene.check(Failing);
    assert_eq!(scene.snapshot().priority, Priority::new(150));
}

#[test]
fn a_check_that_is_new_to_a_frozen_router_stays_undecided() {
    let mut scene = checked();
    scene.order(Order::Freeze(Box::new([])));
    scene.check(Failing);
    assert!(scene.snapshot().pending);
}

#[test]
fn who_is_frozen_still_follows_a_dead_router() {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    scene.check(Passing);
    scene.order(frozen(Passing));
    scene.hear(OTHER, 200);
    scene.run_for(down_interval(150));
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn who_is_giving_way_is_busy_with_that() {
    let mut scene = Scene::active(parameters());
    scene.hear(OTHER, 200);
    assert_eq!(scene.snapshot().phase, Phase::Leaving);
    scene.order(Order::HandOver);
    assert_eq!(scene.orders(), refused(OrderRefusal::Busy));
}

#[test]
fn a_handover_to_an_equal_one_needs_no_word_against_preempting_it() {
    let mut scene = Scene::active(parameters());
    scene.order(Order::HandOver);
    scene.hear(PEER, 150);
    scene.run_for(ms(20));
    assert_eq!((scene.state(), scene.snapshot().standing), (StateName::Backup, Standing::Free));
}

#[test]
fn a_reminder_of_a_handover_changes_nothing_for_who_is_active_or_drained() {
    let mut active = Scene::active(parameters());
    active.order(Order::Yield);
    assert_eq!((active.orders(), active.snapshot().standing), (vec![OrderOutcome::Done], Standing::Free));

    let mut drained = Scene::backup(parameters());
    drained.order(DRAIN_BY_FORCE);
    drained.order(Order::Yield);
    assert_eq!(drained.snapshot().standing, Standing::Drained);
}

#[test]
fn a_backup_is_drained_only_while_the_active_router_cannot_be_dead() {
    for (silent, outcome) in
        [(3 * A - ms(1), OrderOutcome::Done), (3 * A, OrderOutcome::Refused(OrderRefusal::NoActiveRouter))]
    {
        let mut scene = Scene::backup(parameters());
        scene.hear(OTHER, 200);
        scene.pass(silent);
        scene.order(DRAIN);
        assert_eq!(scene.orders(), [outcome], "{silent:?}");
    }
}

#[test]
fn nothing_is_taken_back_before_the_back_off_after_a_refusal_is_over() {
    let mut scene = yielded(parameters());
    scene.kernel = Kernel::Refusing(0);
    scene.order(Order::TakeBack);
    scene.kernel = Kernel::Prompt;
    let over = 3 * A + 3 * A * 7 / 128;
    for (waits, phase, outcome) in [
        (ms(0), Phase::BackOff, OrderOutcome::Refused(OrderRefusal::NotReady)),
        (over - ms(1), Phase::BackOff, OrderOutcome::Refused(OrderRefusal::NotReady)),
        (ms(1), Phase::Settled, OrderOutcome::Done),
    ] {
        scene.pass(waits);
        scene.hear(PEER, 100);
        scene.forget();
        assert_eq!(scene.snapshot().phase, phase);
        scene.order(Order::TakeBack);
        assert_eq!(scene.orders(), [outcome]);
    }
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn nothing_is_taken_back_while_checks_have_not_decided() {
    let mut scene = yielded(parameters());
    scene.configure(with_check(Effect::Weight(-20)));
    scene.order(Order::TakeBack);
    assert_eq!((scene.orders(), scene.count("acquire")), (refused(OrderRefusal::NotReady).to_vec(), 0));
    scene.check(Passing);
    scene.forget();
    scene.order(Order::TakeBack);
    assert_eq!(scene.orders(), [OrderOutcome::Done]);
}

#[test]
fn who_claims_or_gives_way_already_takes_nothing_back() {
    let mut claiming = yielded(parameters());
    claiming.kernel = Kernel::Mute;
    claiming.run_for(down_interval(150));
    assert_eq!(claiming.snapshot().phase, Phase::Claiming);
    claiming.forget();
    claiming.order(Order::TakeBack);
    assert_eq!(claiming.orders(), refused(OrderRefusal::Busy));

    let mut leaving = Scene::active(parameters());
    leaving.order(Order::HandOver);
    leaving.hear(PEER, 100);
    assert_eq!(leaving.snapshot().phase, Phase::Leaving);
    leaving.order(Order::TakeBack);
    assert_eq!(leaving.orders(), refused(OrderRefusal::Busy));
}
