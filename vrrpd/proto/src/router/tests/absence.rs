//! The loop was away, by one of three clocks: nobody speaks or claims before it has listened.

use std::time::Duration;

use super::scene::{
    A, Kernel, OTHER, PEER, Scene, down_interval, ms, parameters, unicast, with_addresses, with_check,
    with_priority,
};
use crate::absence::{Absence, Clock};
use crate::action::{Input, Order, OrderOutcome, OrderRefusal, Outcome, Report};
use crate::packet::ChecksumForm;
use crate::parameters::Parameters;
use crate::snapshot::{Phase, Reason, StateName};
use crate::tracking::{Effect, TrackerState};

const NANO: Duration = Duration::from_nanos(1);
/// What the first of the backups waits after an advertisement that did not come.
const OTHERS_WAIT: Duration = Duration::from_nanos(2_000_000_000 + 1_000_000_000 / 128);
/// After its absence a Backup of priority 150 listens for so long.
const LISTENS: Duration = Duration::from_nanos(1_000_000_000 + 1_000_000_000 * 106 / 256);

/// `time` passes, and the other clocks show so much more of it.
fn away(scene: &mut Scene, time: Duration, wall: Duration, boot: Duration) {
    let clocks = |wall, boot| Input::Clocks { wall: 1000 * A + wall, boot: 7 * A + boot };
    scene.input(clocks(Duration::ZERO, Duration::ZERO));
    scene.woke();
    scene.drained();
    scene.forget();
    scene.pass(time);
    scene.input(clocks(wall, boot));
    scene.woke();
}

fn told(scene: &Scene) -> Vec<Absence> {
    let absence = |report| if let Report::Away(absence) = report { Some(absence) } else { None };
    scene.reports().into_iter().filter_map(absence).collect()
}

/// Active, and away for so much longer than it had asked for.
fn active_after(overdue: Duration) -> Scene {
    let mut scene = Scene::active(parameters());
    let due = scene.timeout().expect("an advertisement is due");
    away(&mut scene, due + overdue, Duration::ZERO, Duration::ZERO);
    scene
}

#[test]
fn an_active_router_that_was_away_listens_for_an_interval_before_it_speaks() {
    let mut scene = active_after(OTHERS_WAIT + NANO);
    scene.drained();
    assert_eq!(told(&scene), [Absence { length: OTHERS_WAIT + NANO, clock: Clock::Monotonic }]);
    assert_eq!((scene.advertised(), scene.state(), scene.timeout()), (vec![], StateName::Active, Some(A)));
    scene.run_for(A - NANO);
    assert_eq!(scene.deeds(), [""; 0], "it neither speaks nor announces nor lets go");
    scene.run_for(NANO);
    assert_eq!(scene.deeds(), ["advertise 150", "announce 0..1"]);
    assert_eq!((scene.state(), scene.statistics().master_transitions), (StateName::Active, 1));
}

#[test]
fn who_was_away_for_no_longer_than_the_first_backup_waits_speaks_when_the_socket_is_read() {
    let mut scene = active_after(OTHERS_WAIT);
    scene.drained();
    assert_eq!((told(&scene), scene.advertised()), (vec![], vec![150]));
}

#[test]
fn each_clock_makes_an_active_router_listen_by_itself() {
    for (wall, boot, clock) in [
        (OTHERS_WAIT + ms(1), Duration::ZERO, Clock::Wall),
        (Duration::ZERO, OTHERS_WAIT + ms(1), Clock::Boot),
        (OTHERS_WAIT + ms(1), OTHERS_WAIT + ms(1), Clock::Boot),
    ] {
        let mut scene = Scene::active(parameters());
        away(&mut scene, ms(100), wall, boot);
        scene.drained();
        assert_eq!(told(&scene), [Absence { length: OTHERS_WAIT + ms(1), clock }]);
        assert_eq!(scene.timeout(), Some(A));
        scene.run_for(A);
        assert_eq!((scene.advertised(), scene.state()), (vec![150], StateName::Active));

        let mut scene = Scene::active(parameters());
        away(&mut scene, ms(100), wall.min(OTHERS_WAIT), boot.min(OTHERS_WAIT));
        scene.drained();
        assert_eq!(told(&scene), [], "no longer than others wait");
        assert!(scene.timeout() < Some(A));
    }
}

/// An hour forward, with nobody else there.
#[test]
fn a_clock_that_is_set_costs_one_advertisement_and_moves_nothing() {
    let mut scene = Scene::active(parameters());
    away(&mut scene, ms(999), 3600 * A, Duration::ZERO);
    scene.drained();
    scene.run_for(10 * A);
    assert_eq!((scene.state(), scene.statistics().master_transitions), (StateName::Active, 1));
    assert_eq!((scene.count("release"), scene.count("backup")), (0, 0));
    let mut silent = Duration::ZERO;
    let mut scene = Scene::active(parameters());
    for second in 1..=60_u32 {
        // Somebody sets it every second: that may not silence anybody.
        scene.forget();
        scene.pass(A / 2);
        scene.input(Input::Clocks { wall: 3600 * A * second, boot: Duration::ZERO });
        scene.woke();
        scene.drained();
        scene.run_for(A / 2);
        silent = if scene.advertised().is_empty() { silent + A } else { Duration::ZERO };
        assert!(silent <= A, "silent in second {second} and before");
    }
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn a_clock_that_is_set_delays_a_backup_once_and_by_little() {
    let mut scene = Scene::backup(parameters());
    let begin = scene.now;
    for _ in 0..100 {
        scene.run_for(A / 10);
        if scene.state() == StateName::Active {
            break;
        }
        let wall = 3600 * (scene.now - begin);
        scene.input(Input::Clocks { wall, boot: Duration::ZERO });
        scene.woke();
        scene.drained();
    }
    assert!(scene.now - begin <= down_interval(150) + LISTENS, "after {:?}", scene.now - begin);
}

#[test]
fn who_took_over_meanwhile_keeps_the_role_by_its_rank() {
    for heard_after in [Duration::ZERO, A / 2] {
        let mut scene = active_after(4 * A);
        scene.run_for(heard_after);
        scene.hear(OTHER, 200);
        scene.drained();
        assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::HigherPriority));
        scene.run_for(ms(20));
        assert_eq!((scene.advertised(), scene.present()), (vec![], vec![false]));
    }
}

#[test]
fn a_router_of_lower_rank_is_overruled_when_all_addresses_are_here_again() {
    let mut scene = Scene::active(with_addresses(&["192.0.2.1", "192.0.2.4"]));
    away(&mut scene, 5 * A, Duration::ZERO, Duration::ZERO);
    scene.kernel = Kernel::Mute;
    scene.outcome(Outcome::Lost { index: 1 });
    scene.drained();
    assert_eq!(scene.count("acquire"), 0, "nothing is put back before it has listened");
    scene.hear(PEER, 100);
    scene.hear(PEER, 100);
    assert_eq!((scene.count("acquire"), scene.advertised()), (1, vec![]), "the other one still answers");
    scene.added(0);
    scene.added(1);
    assert_eq!(scene.advertised(), [0; 0]);
    scene.outcome(Outcome::Acquired);
    assert_eq!(scene.deeds().split_off(1), ["advertise 150", "announce 0..2"]);
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true, true]));
    assert_eq!(scene.alarms(), [], "it took over because we were away");
    scene.hear(PEER, 100);
    assert_eq!(scene.alarms().len(), 1, "it does not hear us now");
}

/// Seed 107335017: an Active Router that was away spoke as soon as it was back, because its socket had the word of one
/// of lower rank from before.
#[test]
fn nobody_is_overruled_by_what_came_before_an_absence() {
    for priority in [150, 255] {
        let mut scene = Scene::active(with_priority(priority));
        let arrived = scene.now;
        away(&mut scene, 5 * A, Duration::ZERO, Duration::ZERO);
        scene.hear_as(PEER, 100, 100, ChecksumForm::PseudoHeader, arrived);
        scene.drained();
        scene.run_for(A - NANO);
        assert_eq!(scene.advertised(), [0; 0], "{priority}");
        scene.hear(PEER, 100);
        assert_eq!(scene.advertised(), [priority]);
    }
}

/// Seeds 108350278 and 109137302: a clock was set as a split healed, and both went on answering for an interval more,
/// because the word of the other one had come just before that was noticed.
#[test]
fn what_came_before_the_clock_was_set_is_heard() {
    let mut scene = Scene::active(parameters());
    let arrived = scene.now;
    away(&mut scene, A, 10 * A, Duration::ZERO);
    scene.hear_as(PEER, 100, 100, ChecksumForm::PseudoHeader, arrived);
    scene.drained();
    assert_eq!(scene.advertised(), [150]);
}

#[test]
fn what_is_taken_back_is_silent_until_the_advertisement_has_left() {
    let mut scene = Scene::active(Parameters { leased: true, fenced: true, ..parameters() });
    away(&mut scene, 5 * A, Duration::ZERO, Duration::ZERO);
    scene.drained();
    scene.hear(PEER, 100);
    let deeds = scene.deeds();
    assert_eq!(deeds, ["fence", "acquire 0..1", "advertise 150", "announce 0..1", "renew"]);
}

#[test]
fn an_address_that_cannot_be_had_again_leaves_the_role_to_who_took_over() {
    let mut scene = active_after(5 * A);
    scene.outcome(Outcome::Lost { index: 0 });
    scene.drained();
    scene.kernel = Kernel::Refusing(0);
    scene.hear(PEER, 100);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::AddressRefused));

    for (lost, reason) in [(true, Reason::AddressRefused), (false, Reason::NoResponse)] {
        let mut scene = active_after(5 * A);
        scene.kernel = Kernel::Mute;
        if lost {
            scene.outcome(Outcome::Lost { index: 0 });
        }
        scene.drained();
        scene.hear(PEER, 100);
        scene.run_for(3 * A);
        let said = if lost { vec![0, 0, 0] } else { vec![150] };
        assert_eq!((scene.advertised(), scene.reason()), (said, reason), "nor does it wait for ever");
    }
}

#[test]
fn an_owner_that_was_away_takes_back_what_is_its_own_when_it_hears_another() {
    let mut scene = Scene::active(with_priority(255));
    away(&mut scene, 5 * A, Duration::ZERO, Duration::ZERO);
    scene.drained();
    assert_eq!(scene.advertised(), [0; 0]);
    scene.hear(PEER, 100);
    assert_eq!((scene.advertised(), scene.count("acquire")), (vec![255], 0));
}

#[test]
fn away_again_while_listening_it_listens_again() {
    let mut scene = active_after(5 * A);
    scene.drained();
    scene.pass(5 * A);
    scene.woke();
    scene.drained();
    assert_eq!((scene.advertised(), scene.timeout()), (vec![], Some(A)));
}

#[test]
fn what_comes_while_it_listens_waits_or_ends_it() {
    let listening = |parameters: Parameters| {
        let mut scene = Scene::active(parameters);
        away(&mut scene, 5 * A, Duration::ZERO, Duration::ZERO);
        scene.drained();
        scene.forget();
        scene
    };
    let mut scene = listening(with_check(Effect::Weight(-50)));
    scene.check(TrackerState::Failing);
    assert_eq!(scene.advertised(), [0; 0], "a lowered priority is told when it speaks");
    scene.run_for(A);
    assert_eq!(scene.advertised()[0], 100);

    let mut scene = listening(parameters());
    scene.order(Order::Announce);
    assert_eq!(scene.orders(), [OrderOutcome::Refused(OrderRefusal::Busy)]);
    scene.order(Order::HandOver);
    assert_eq!(scene.advertised(), [0, 0, 0], "an order is obeyed");

    let mut scene = listening(parameters());
    scene.hear(PEER, 0);
    assert_eq!(scene.timeout(), Some(A), "who resigns takes nothing");
    scene.shutdown();
    assert_eq!((scene.advertised(), scene.state()), (vec![0, 0, 0], StateName::Initialize));

    let mut scene = listening(with_check(Effect::Fault));
    scene.check(TrackerState::Failing);
    assert_eq!(scene.reason(), Reason::CheckFailed);
}

#[test]
fn a_backup_that_was_away_listens_for_an_interval_and_its_skew_time() {
    let waits = down_interval(150);
    for (time, wall, boot, listens) in [
        (waits + OTHERS_WAIT, Duration::ZERO, Duration::ZERO, None),
        (waits + OTHERS_WAIT + NANO, Duration::ZERO, Duration::ZERO, Some(LISTENS)),
        (waits - ms(1), OTHERS_WAIT + ms(1), Duration::ZERO, Some(LISTENS)),
        (waits - ms(1), Duration::ZERO, OTHERS_WAIT + ms(1), Some(LISTENS)),
        (A, Duration::ZERO, 10 * A, Some(waits - A)),
    ] {
        let mut scene = Scene::backup(parameters());
        away(&mut scene, time, wall, boot);
        scene.drained();
        let expected = if listens.is_some() { StateName::Backup } else { StateName::Active };
        assert_eq!(scene.state(), expected, "{time:?} {wall:?} {boot:?}");
        assert_eq!(told(&scene).len(), usize::from(listens.is_some()));
        if let Some(listens) = listens {
            assert_eq!(scene.timeout(), Some(listens));
            scene.run_for(listens);
            assert_eq!(scene.state(), StateName::Active);
        }
    }
}

#[test]
fn a_backup_that_finds_the_active_router_in_its_socket_counts_from_that() {
    let mut scene = Scene::backup(parameters());
    away(&mut scene, 10 * A, Duration::ZERO, Duration::ZERO);
    scene.hear(OTHER, 200);
    scene.drained();
    assert_eq!((scene.state(), scene.timeout()), (StateName::Backup, Some(down_interval(150))));
}

/// Of a machine that was paused the socket has what came before, and nothing of what it missed.
#[test]
fn what_came_before_an_absence_calls_no_listening_back() {
    for peers in [&[][..], &[OTHER]] {
        for priority in [200, 0] {
            let mut scene = Scene::backup(unicast(peers));
            scene.hear(OTHER, 200);
            scene.run_for(A);
            let arrived = scene.now;
            away(&mut scene, 20 * A, Duration::ZERO, Duration::ZERO);
            scene.hear_as(OTHER, priority, 100, ChecksumForm::PseudoHeader, arrived);
            scene.drained();
            assert_eq!((scene.state(), scene.timeout()), (StateName::Backup, Some(LISTENS)), "{priority}");
            scene.run_for(LISTENS);
            assert_eq!(scene.state(), StateName::Active);
        }
    }
}

/// Seed 102110184: an Active Router gave way to what had come before it was away, took that for a silence of the
/// whole time, and claimed a millisecond later.
#[test]
fn who_gives_way_to_what_came_before_an_absence_listens_as_long() {
    let mut scene = Scene::active(parameters());
    let arrived = scene.now;
    away(&mut scene, 20 * A, Duration::ZERO, Duration::ZERO);
    scene.hear_as(OTHER, 200, 100, ChecksumForm::PseudoHeader, arrived);
    scene.drained();
    scene.run_for(LISTENS - NANO);
    assert_eq!(scene.deeds(), ["backup higher_priority", "release 0..1"]);
    scene.run_for(NANO);
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn a_claim_that_was_not_said_yet_is_taken_back() {
    for kernel in [Kernel::Mute, Kernel::Prompt] {
        let mut scene = Scene::backup(parameters());
        scene.kernel = Kernel::Mute;
        scene.next_timeout();
        scene.kernel = kernel;
        scene.pass(5 * A);
        scene.woke();
        scene.drained();
        assert_eq!((scene.state(), scene.advertised()), (StateName::Backup, vec![]));
        assert_eq!((scene.count("release"), scene.timeout()), (1, Some(LISTENS)));
    }
}

#[test]
fn who_resigned_and_was_away_listens_before_it_goes_on_or_claims() {
    let mut scene = Scene::backup(with_check(Effect::Weight(-50)));
    scene.check(TrackerState::Passing);
    scene.run_for(down_interval(150) + A);
    scene.check(TrackerState::Failing);
    assert_eq!(scene.advertised().split_off(2), [0, 0, 0]);
    scene.forget();
    scene.pass(10 * A);
    scene.woke();
    scene.drained();
    assert_eq!((scene.advertised(), scene.timeout()), (vec![], Some(A)), "nobody answered, or it was away");
    scene.hear(OTHER, 200);
    assert_eq!(scene.reason(), Reason::GaveWay);
    scene.pass(10 * A);
    scene.woke();
    scene.drained();
    assert_eq!((scene.state(), scene.present()), (StateName::Backup, vec![false]));
    let listens = A + A * 156 / 256;
    assert_eq!(scene.timeout(), Some(listens), "what it heard last is old");
}

#[test]
fn a_sole_backup_that_was_away_does_not_claim_at_once_either() {
    let mut scene = Scene::backup(unicast(&[OTHER]));
    scene.hear(OTHER, 200);
    away(&mut scene, 10 * A, Duration::ZERO, Duration::ZERO);
    scene.drained();
    assert_eq!((scene.state(), scene.timeout()), (StateName::Backup, Some(LISTENS)));
}

#[test]
fn an_absence_in_the_middle_of_a_turn_is_noticed_before_a_timer_is_served() {
    let mut scene = Scene::active(parameters());
    away(&mut scene, ms(500), Duration::ZERO, Duration::ZERO);
    scene.pass(5 * A);
    scene.drained();
    assert_eq!(scene.advertised(), [0; 0], "what came in meanwhile has not been read");
    scene.woke();
    scene.drained();
    assert_eq!((scene.advertised(), scene.timeout()), (vec![], Some(A)));
    assert_eq!(told(&scene).len(), 1);
}

#[test]
fn turns_that_take_long_do_not_put_timers_off_for_ever() {
    let mut scene = Scene::active(parameters());
    for _ in 0..20 {
        scene.woke();
        scene.pass(A);
        scene.drained();
    }
    assert!(scene.advertised().len() >= 5, "{:?}", scene.advertised());
}

#[test]
fn absences_are_told_once_a_second_with_the_longest_of_them() {
    let mut scene = Scene::active(Parameters {
        interval: crate::AdverInterval::from_centiseconds(1).expect("the shortest"),
        ..parameters()
    });
    for away_ms in [100, 300, 200, 800] {
        scene.pass(ms(away_ms));
        scene.woke();
        scene.drained();
    }
    let lengths: Vec<Duration> = told(&scene).iter().map(|absence| absence.length).collect();
    assert_eq!(lengths.len(), 2, "{lengths:?}");
    assert!(lengths[0] < ms(100) && lengths[1] > ms(700), "{lengths:?}");
}

#[test]
fn who_takes_no_part_has_nothing_to_tell() {
    let mut scene = Scene::new(parameters());
    away(&mut scene, 10 * A, 10 * A, 10 * A);
    scene.drained();
    assert_eq!(told(&scene), []);
}

#[test]
fn who_is_demoted_while_it_listens_asks_when_it_speaks_again() {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    scene.check(TrackerState::Passing);
    scene.run_for(down_interval(150) + A);
    away(&mut scene, 5 * A, Duration::ZERO, Duration::ZERO);
    scene.drained();
    scene.check(TrackerState::Failing);
    scene.run_for(A);
    assert_eq!((scene.advertised(), scene.snapshot().phase), (vec![15, 0, 0, 0], Phase::Asking));
}
