//! A lowered priority asks for a better router, and goes on when there is none.

use std::time::Duration;

use super::scene::{A, OTHER, PEER, Scene, ms, with_addresses, with_check, with_priority};
use crate::action::{Order, Outcome, Report};
use crate::parameters::{Announcements, Parameters};
use crate::snapshot::{Phase, Reason, StateName};
use crate::tracking::TrackerState::{Failing, Passing};
use crate::tracking::{Effect, TrackerId, Tracking};

fn active(parameters: Parameters) -> Scene {
    let mut scene = Scene::backup(parameters);
    scene.check(Passing);
    scene.next_timeout();
    assert_eq!(scene.state(), StateName::Active);
    scene.run_for(A);
    scene.pass(ms(300));
    scene.forget();
    scene
}

fn asking(effect: Effect) -> Scene {
    let mut scene = active(with_check(effect));
    scene.check(Failing);
    assert_eq!(scene.snapshot().phase, Phase::Asking);
    scene
}

fn questions(scene: &Scene) -> usize {
    scene.reports().iter().filter(|report| matches!(report, Report::Asking { .. })).count()
}

#[test]
fn who_is_demoted_resigns_at_once_and_is_silent_while_it_asks() {
    let mut scene = asking(Effect::Demote);
    assert_eq!(scene.advertised(), [0, 0, 0]);
    scene.run_for(A + ms(19));
    assert_eq!(scene.advertised(), [0, 0, 0]);
    assert_eq!(scene.present(), [true]);
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn the_role_is_kept_with_the_lowered_priority_when_nobody_answers() {
    let mut scene = asking(Effect::Demote);
    scene.forget();
    scene.run_for(A + ms(20));
    assert_eq!(scene.deeds(), ["advertise 15"]);
    assert!(scene.reports().iter().any(|report| matches!(report, Report::Kept { rival: None, .. })));
    assert_eq!(scene.timeout(), Some(A), "and goes on at its interval");
}

#[test]
fn a_better_router_gets_the_role() {
    let mut scene = asking(Effect::Demote);
    scene.pass(ms(400));
    scene.forget();
    scene.hear(PEER, 100);
    assert_eq!(scene.deeds(), ["backup gave_way"]);
    scene.run_for(ms(20));
    assert_eq!(scene.count("release"), 1);
}

#[test]
fn a_worse_router_is_answered_at_once() {
    let mut scene = asking(Effect::Weight(-20));
    scene.pass(ms(400));
    scene.forget();
    scene.hear(PEER, 100);
    assert_eq!(scene.deeds(), ["advertise 130", "announce 0..1"]);
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn somebody_elses_resignation_is_no_answer() {
    let mut scene = asking(Effect::Demote);
    scene.pass(ms(400));
    scene.forget();
    scene.hear(PEER, 0);
    assert_eq!(scene.deeds(), [""; 0]);
    assert_eq!(scene.snapshot().phase, Phase::Asking);
}

#[test]
fn nobody_is_asked_who_is_known_to_be_no_better() {
    let mut scene = asking(Effect::Weight(-20));
    scene.hear(PEER, 100);
    scene.check(Passing);
    // Past the distance between questions, so that only the known rival stands against asking.
    scene.run_for(Duration::from_secs(60));
    scene.forget();
    scene.check(Failing);
    assert_eq!(scene.advertised(), [130], "the new priority is told instead");
    assert_eq!(questions(&scene), 0);
}

#[test]
fn what_is_known_of_a_rival_grows_old() {
    let mut scene = asking(Effect::Weight(-20));
    scene.hear(PEER, 100);
    scene.check(Passing);
    scene.run_for(Duration::from_secs(600));
    scene.forget();
    scene.check(Failing);
    assert_eq!(questions(&scene), 1);
}

#[test]
fn a_known_rival_is_asked_once_it_would_be_better() {
    let mut scene = active(Parameters {
        tracking: vec![
            Tracking { tracker: TrackerId(0), effect: Effect::Weight(-20) },
            Tracking { tracker: TrackerId(1), effect: Effect::Weight(-60) },
        ],
        ..with_priority(150)
    });
    scene.input(crate::action::Input::Tracked { tracker: TrackerId(1), state: Passing });
    scene.run_for(Duration::from_secs(30));
    scene.check(Failing);
    scene.hear(PEER, 100);
    scene.run_for(Duration::from_secs(60));
    scene.forget();
    scene.input(crate::action::Input::Tracked { tracker: TrackerId(1), state: Failing });
    assert_eq!(questions(&scene), 1);
}

#[test]
fn questions_in_vain_grow_apart() {
    let mut scene = active(with_check(Effect::Demote));
    let mut asked = Vec::new();
    for _ in 0..600 {
        scene.forget();
        scene.check(Failing);
        scene.run_for(A);
        if questions(&scene) > 0 {
            asked.push(scene.now);
        }
        scene.check(Passing);
        scene.run_for(A);
    }
    let distances: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(distances.len() >= 5, "{distances:?}");
    assert!(distances[0] >= 10 * A, "{distances:?}");
    for pair in distances.windows(2) {
        assert!(pair[1].as_secs_f64() > 1.7 * pair[0].as_secs_f64(), "{distances:?}");
    }
}

#[test]
fn a_peer_that_does_not_preempt_and_heals_is_asked_again_for_as_long_as_we_are_demoted() {
    let mut scene = asking(Effect::Demote);
    let mut asked = vec![scene.now];
    while asked.len() < 12 {
        scene.forget();
        scene.next_timeout();
        asked.extend(vec![scene.now; questions(&scene)]);
    }
    let distances: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(distances.is_sorted() && distances[0] >= 10 * A, "{distances:?}");
    assert!(distances[4] > 10 * distances[0], "{distances:?}");
    assert!(distances[10] <= Duration::from_secs(610), "bounded: {distances:?}");
    scene.hear(PEER, 100);
    assert_eq!(scene.reason(), Reason::GaveWay, "it has healed meanwhile");
}

#[test]
fn who_is_healthy_or_merely_configured_lower_asks_no_more() {
    let mut healed = asking(Effect::Demote);
    healed.run_for(2 * A);
    healed.check(Passing);
    let mut reloaded = Scene::active(with_priority(150));
    reloaded.configure(with_priority(100));
    reloaded.run_for(2 * A);
    for mut scene in [healed, reloaded] {
        scene.forget();
        scene.run_for(3600 * A);
        assert_eq!((questions(&scene), scene.state()), (0, StateName::Active));
    }
}

#[test]
fn who_took_a_silent_network_demoted_asks_later() {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    scene.check(Failing);
    scene.next_timeout();
    assert_eq!((scene.state(), scene.snapshot().priority.get()), (StateName::Active, 15));
    scene.run_for(9 * A);
    assert_eq!(questions(&scene), 0);
    scene.run_for(2 * A);
    assert_eq!(questions(&scene), 1);
}

#[test]
fn a_peer_that_was_no_better_is_asked_again_when_that_is_old() {
    let mut scene = asking(Effect::Demote);
    scene.hear(PEER, 10);
    scene.forget();
    scene.run_for(Duration::from_secs(599));
    assert_eq!(questions(&scene), 0);
    scene.run_for(Duration::from_secs(1));
    assert_eq!(questions(&scene), 1);
}

#[test]
fn a_lower_router_heard_last_does_not_hide_a_better_one() {
    // Five strangers of low rank after it push nobody out.
    let strangers = ["192.0.2.8", "192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13"];
    for (better, questions_put) in [(140, 1), (110, 0)] {
        let mut scene = active(with_check(Effect::Weight(-30)));
        scene.hear(PEER, better);
        strangers.iter().for_each(|stranger| scene.hear(stranger, 50));
        scene.forget();
        scene.check(Failing);
        assert_eq!(questions(&scene), questions_put, "{better}");
    }
}

#[test]
fn a_question_that_had_to_wait_is_put_when_its_time_has_come() {
    let mut scene = asking(Effect::Demote);
    scene.run_for(2 * A);
    scene.check(Passing);
    scene.check(Failing);
    scene.forget();
    scene.run_for(20 * A);
    assert_eq!(questions(&scene), 1);
}

#[test]
fn a_check_that_recovers_ends_the_question() {
    let mut scene = asking(Effect::Demote);
    scene.forget();
    scene.check(Passing);
    assert_eq!(scene.deeds(), ["advertise 150"]);
    assert_eq!(scene.snapshot().phase, Phase::Settled);
}

#[test]
fn a_raised_priority_is_told_at_once() {
    let mut scene = active(with_check(Effect::Weight(30)));
    scene.check(Failing);
    scene.run_for(3 * A);
    scene.forget();
    scene.check(Passing);
    assert_eq!(scene.advertised(), [180]);
    assert_eq!(scene.timeout(), Some(A));
}

#[test]
fn an_owner_is_never_demoted() {
    let mut scene = active(Parameters {
        tracking: vec![Tracking { tracker: TrackerId(0), effect: Effect::Demote }],
        ..with_priority(255)
    });
    scene.check(Failing);
    assert_eq!(scene.deeds(), [""; 0]);
}

#[test]
fn an_alert_moves_nothing() {
    let mut scene = active(with_check(Effect::Alert));
    scene.check(Failing);
    assert_eq!(scene.deeds(), [""; 0]);
}

#[test]
fn a_shutdown_while_asking_does_not_resign_twice() {
    let mut scene = asking(Effect::Demote);
    scene.pass(ms(10));
    scene.shutdown();
    assert_eq!(scene.advertised(), [0, 0, 0]);
    scene.run_for(A + ms(10));
    assert_eq!(scene.count("release"), 1);
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::Shutdown));
}

#[test]
fn the_neighbours_are_refreshed_after_a_question_in_vain() {
    let announcements = Announcements { refresh: 60 * A, ..super::scene::parameters().announcements };
    let mut scene = active(Parameters { announcements, ..with_check(Effect::Demote) });
    scene.check(Failing);
    scene.run_for(2 * A);
    scene.forget();
    scene.run_for(120 * A);
    assert_eq!(scene.count("announce"), 2);
}

#[test]
fn an_address_refused_while_asking_is_tried_again() {
    let mut scene = active(Parameters {
        tracking: with_check(Effect::Demote).tracking,
        ..with_addresses(&["192.0.2.1", "192.0.2.4"])
    });
    scene.check(Failing);
    scene.kernel = super::scene::Kernel::Refusing(1);
    scene.outcome(Outcome::Lost { index: 1 });
    scene.run_for(2 * A);
    assert_eq!(scene.present(), [true, false]);
    scene.kernel = super::scene::Kernel::Prompt;
    scene.run_for(20 * A);
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true, true]));
}

#[test]
fn a_router_that_gave_way_comes_back_when_its_check_passes() {
    let mut scene = asking(Effect::Demote);
    scene.hear(OTHER, 100);
    scene.run_for(A);
    scene.check(Passing);
    for _ in 0..4 {
        scene.hear(OTHER, 100);
        scene.run_for(A);
    }
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Preempted));
}

#[test]
fn what_is_asked_of_itself_is_no_order() {
    let ordered = |scene: &Scene| {
        let of_question =
            |report| if let Report::Asking { ordered, .. } = report { Some(ordered) } else { None };
        scene.reports().into_iter().filter_map(of_question).collect::<Vec<_>>()
    };
    assert_eq!(ordered(&asking(Effect::Demote)), [false]);
    let mut by_order = active(with_priority(150));
    by_order.order(Order::Drain { force: false });
    assert_eq!(ordered(&by_order), [true]);
}

/// Whom nobody has heard for ten minutes does not count: only the lower one is there.
#[test]
fn a_better_router_of_long_ago_does_not_make_it_ask() {
    for (age, asks) in [(Duration::from_secs(599), 1), (Duration::from_secs(600), 0)] {
        let mut scene = active(with_check(Effect::Weight(-60)));
        scene.hear(PEER, 100);
        scene.run_for(age);
        scene.hear(OTHER, 50);
        scene.forget();
        scene.check(Failing);
        assert_eq!(questions(&scene), asks, "{age:?}");
    }
}

#[test]
fn a_question_goes_on_while_the_priority_stays_as_low() {
    let demote = |tracker| Tracking { tracker: TrackerId(tracker), effect: Effect::Demote };
    let mut scene = active(Parameters { tracking: vec![demote(0), demote(1)], ..with_priority(150) });
    let other = |scene: &mut Scene, state| {
        scene.input(crate::action::Input::Tracked { tracker: TrackerId(1), state });
    };
    other(&mut scene, Passing);
    scene.check(Passing);
    scene.check(Failing);
    scene.run_for(2 * A);
    scene.check(Passing);
    scene.run_for(60 * A);
    scene.check(Failing);
    assert_eq!(scene.snapshot().phase, Phase::Asking);
    scene.forget();
    other(&mut scene, crate::tracking::TrackerState::Pending);
    assert_eq!((scene.deeds(), scene.snapshot().phase), (vec![], Phase::Asking));
}
