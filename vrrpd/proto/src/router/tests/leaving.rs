//! The ways out: planned, outranked, and cut off.

use std::time::Duration;

use super::scene::{
    A, LINK, OTHER, OWN, OWN_MAC, PEER, ROUTER, Scene, addresses, announcement, down_interval, facts, ms,
    parameters, with_addresses, with_check, with_priority,
};
use crate::AdverInterval;
use crate::action::{Input, Outcome, Report};
use crate::packet::Sighting;
use crate::parameters::{Facts, InterfaceState, LinkId, Parameters};
use crate::snapshot::{Phase, Reason, Standing, StateName};
use crate::tracking::{Effect, TrackerState};

const GONE: Report = Report::Gone { router: ROUTER };

type Happening<'a> = &'a dyn Fn(&mut Scene);

fn down() -> Facts {
    Facts { interface: InterfaceState::Down, ..facts(OWN) }
}

#[test]
fn who_leaves_says_so_three_times_and_then_nothing() {
    let mut scene = Scene::active(parameters());
    scene.shutdown();
    assert_eq!(scene.advertised(), [0, 0, 0]);
    assert_eq!((scene.state(), scene.snapshot().phase), (StateName::Initialize, Phase::Leaving));
    assert_eq!(scene.present(), [true], "the address goes on answering");
    scene.run_for(10 * A);
    assert_eq!(scene.advertised(), [0, 0, 0]);
}

/// Killed from here on and started again, it must not take the addresses for its role.
#[test]
fn who_gives_up_the_role_notes_it_with_the_addresses_before_a_word_is_said() {
    let leased = |parameters| Parameters { leased: true, ..parameters };
    let mut leaves = Scene::active(leased(parameters()));
    leaves.forget();
    leaves.shutdown();
    assert_eq!(leaves.deeds()[..2], ["disclaim", "advertise 0"]);

    let mut outranked = Scene::active(leased(parameters()));
    outranked.forget();
    outranked.hear(PEER, 200);
    assert_eq!(outranked.deeds(), ["disclaim", "backup higher_priority"]);
}

#[test]
fn who_asked_in_vain_takes_the_note_back_with_the_first_advertisement() {
    let mut scene = Scene::active(Parameters { leased: true, ..with_check(Effect::Demote) });
    scene.check(TrackerState::Passing);
    scene.pass(ms(400));
    scene.check(TrackerState::Failing);
    scene.forget();
    scene.hear(PEER, 1);
    assert_eq!(scene.count("renew"), 1, "though the last renewal is not long ago");
}

#[test]
fn addresses_go_one_interval_and_20_ms_after_leaving_when_nobody_follows() {
    let mut scene = Scene::active(parameters());
    scene.shutdown();
    scene.forget();
    scene.run_for(A + ms(19));
    assert_eq!(scene.count("release"), 0);
    scene.run_for(ms(1));
    assert_eq!(scene.deeds(), ["release 0..1"]);
    assert_eq!(scene.timeout(), None);
}

#[test]
fn who_lets_go_says_whether_anybody_followed() {
    let ways_out: [(Happening<'_>, bool); 5] = [
        (&|_| {}, false),
        (&|scene| scene.hear(PEER, 0), false),
        (&|scene| scene.hear(PEER, 100), true),
        // Nobody has had the time to speak up.
        (&|scene| scene.facts(down()), true),
        (&|scene| scene.facts(Facts { source: None, ..facts(OWN) }), true),
    ];
    for (nth, (happens, expected)) in ways_out.into_iter().enumerate() {
        let mut scene = Scene::active(parameters());
        if nth < 3 {
            scene.shutdown();
            scene.pass(ms(400));
        }
        happens(&mut scene);
        scene.run_for(2 * A);
        assert_eq!(scene.followed(), [expected], "way {nth}");
    }
    let mut outranked = Scene::active(parameters());
    outranked.hear(PEER, 200);
    outranked.run_for(2 * A);
    assert_eq!(outranked.followed(), [true]);
}

#[test]
fn addresses_go_20_ms_after_the_first_advertisement_of_the_successor() {
    let mut scene = Scene::active(parameters());
    scene.shutdown();
    scene.forget();
    scene.pass(ms(400));
    scene.hear(PEER, 100);
    scene.run_for(ms(15));
    scene.hear(PEER, 100);
    scene.run_for(ms(4));
    assert_eq!(scene.count("release"), 0);
    scene.run_for(ms(1));
    assert_eq!(scene.count("release"), 1);
}

#[test]
fn addresses_go_as_soon_as_the_successor_has_announced_them_all() {
    let mut scene = Scene::active(with_addresses(&["192.0.2.1", "192.0.2.4"]));
    scene.shutdown();
    scene.forget();
    scene.pass(ms(400));
    scene.hear(PEER, 100);
    scene.announced_elsewhere("192.0.2.1");
    scene.pass(ms(1));
    scene.announced_elsewhere("192.0.2.1");
    scene.drained();
    assert_eq!(scene.count("release"), 0, "of one of them clients know nothing yet");
    scene.announced_elsewhere("192.0.2.4");
    scene.drained();
    assert_eq!(scene.deeds(), ["release 0..2"]);
}

#[test]
fn who_is_outranked_lets_go_when_the_winner_has_announced_and_watches_from_then_on() {
    let mut scene = Scene::active(parameters());
    scene.hear(OTHER, 200);
    let outranked = scene.now;
    scene.pass(ms(1));
    scene.announced_elsewhere("192.0.2.1");
    scene.drained();
    assert_eq!((scene.count("release"), scene.snapshot().phase), (1, Phase::Settled));
    assert_eq!(scene.node.poll_timeout(), Some(outranked + down_interval(150)));
}

/// Two sockets: what came in second may be read first.
#[test]
fn an_announcement_that_is_read_before_the_advertisement_counts_by_its_arrival() {
    let leaving = |scene: &mut Scene| scene.shutdown();
    let cases: [(Happening<'_>, u8); 2] = [(&leaving, 100), (&|_| {}, 200)];
    for (arrange, priority) in cases {
        let mut scene = Scene::active(parameters());
        arrange(&mut scene);
        scene.pass(ms(5));
        scene.announced_elsewhere("192.0.2.1");
        scene.drained();
        assert_eq!(scene.count("release"), 0, "it may be anybody's");
        scene.hear(OTHER, priority);
        scene.drained();
        assert_eq!(scene.count("release"), 1);
    }
}

#[test]
fn an_announcement_without_an_advertisement_ends_no_handover() {
    let mut scene = Scene::active(parameters());
    scene.hear(PEER, 100);
    scene.shutdown();
    scene.pass(ms(1));
    scene.announced_elsewhere("192.0.2.1");
    scene.run_for(A + ms(18));
    assert_eq!(scene.count("release"), 0, "what was heard before the role was given up is no successor");
    scene.run_for(ms(1));
    assert_eq!(scene.count("release"), 1);
}

#[test]
fn what_is_not_the_successors_announcement_leaves_it_its_20_ms() {
    let other_link = |scene: &mut Scene| {
        let (link, sighting, arrived) = (LinkId(LINK.0 + 1), announcement("192.0.2.1"), scene.now);
        scene.input(Input::Sighted { link, sighting, arrived });
    };
    let like = |sighting| move |scene: &mut Scene| scene.sight(sighting, scene.now);
    let answer = like(Sighting { announced: false, ..announcement("192.0.2.1") });
    let own = like(Sighting { mac: OWN_MAC, ..announcement("192.0.2.1") });
    let other_address = like(announcement("192.0.2.77"));
    let earlier = |scene: &mut Scene| {
        scene.sight(announcement("192.0.2.1"), scene.now.saturating_sub(ms(2)));
    };
    let resigned = |scene: &mut Scene| {
        scene.hear(OTHER, 0);
        scene.announced_elsewhere("192.0.2.1");
    };
    let cases: [(&str, Happening<'_>); 6] = [
        ("on another link", &other_link),
        ("to one station", &answer),
        ("our own, from a loop", &own),
        ("of another address", &other_address),
        ("from before the successor took the role", &earlier),
        ("from one that resigned again", &resigned),
    ];
    for (name, happen) in cases {
        let mut scene = Scene::active(parameters());
        scene.pass(ms(10));
        scene.hear(OTHER, 200);
        scene.pass(ms(1));
        happen(&mut scene);
        scene.run_for(ms(18));
        assert_eq!(scene.count("release"), 0, "{name}");
        scene.run_for(ms(1));
        assert_eq!(scene.count("release"), 1, "{name}");
    }
}

#[test]
fn addresses_go_after_three_seconds_however_long_the_interval() {
    let mut scene = Scene::active(Parameters { interval: AdverInterval::MAX, ..parameters() });
    scene.shutdown();
    assert_eq!(scene.timeout(), Some(Duration::from_secs(3)));
}

#[test]
fn who_is_outranked_keeps_answering_20_ms_and_watches_from_then_on() {
    let mut scene = Scene::active(parameters());
    scene.hear(OTHER, 200);
    let outranked = scene.now;
    assert_eq!(scene.advertised(), [0; 0], "a loser does not resign");
    scene.run_for(ms(20));
    assert_eq!(scene.count("release"), 1);
    assert_eq!(scene.node.poll_timeout(), Some(outranked + down_interval(150)));
}

#[test]
fn a_winner_that_resigns_during_the_handover_is_followed_after_skew_time() {
    let mut scene = Scene::active(parameters());
    scene.hear(OTHER, 200);
    scene.pass(ms(5));
    scene.hear(OTHER, 0);
    let resigned = scene.now;
    scene.run_for(ms(15));
    let skew = AdverInterval::DEFAULT.skew_time(crate::Priority::new(150));
    assert_eq!(scene.node.poll_timeout(), Some(resigned + skew));
}

#[test]
fn a_lost_link_takes_the_addresses_at_once_whatever_is_under_way() {
    let leaving = |scene: &mut Scene| scene.shutdown();
    let outranked = |scene: &mut Scene| scene.hear(OTHER, 200);
    let asking = |scene: &mut Scene| scene.check(TrackerState::Failing);
    let cases: [Happening<'_>; 4] = [&|_| {}, &leaving, &outranked, &asking];
    for (case, arrange) in cases.into_iter().enumerate() {
        let mut scene = Scene::backup(with_check(Effect::Demote));
        scene.check(TrackerState::Passing);
        scene.next_timeout();
        scene.pass(ms(100));
        arrange(&mut scene);
        scene.forget();
        scene.facts(down());
        assert_eq!(scene.advertised(), [0; 0], "case {case}: there is nothing to say it through");
        assert_eq!(scene.count("release"), 1, "case {case}");
        assert_eq!((scene.state(), scene.timeout()), (StateName::Initialize, None), "case {case}");
    }
}

#[test]
fn a_lost_source_address_ends_the_role_and_its_return_starts_anew() {
    let mut scene = Scene::active(parameters());
    scene.facts(Facts { source: None, ..facts(OWN) });
    assert_eq!(scene.deeds(), ["release 0..1", "initialize no_primary_ip_address"]);
    scene.facts(facts(OWN));
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Startup));
    assert_eq!(scene.timeout(), Some(down_interval(150)));
}

#[test]
fn a_missing_interface_is_a_visible_state() {
    let mut scene = Scene::backup(parameters());
    scene.facts(Facts { interface: InterfaceState::Missing, ..facts(OWN) });
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::InterfaceMissing));
    scene.facts(down());
    assert_eq!(scene.reason(), Reason::InterfaceDown);
}

#[test]
fn a_fault_hands_over_and_its_end_brings_the_router_back() {
    let mut scene = Scene::backup(with_check(Effect::Fault));
    scene.check(TrackerState::Passing);
    scene.next_timeout();
    scene.forget();
    scene.check(TrackerState::Failing);
    assert_eq!(scene.advertised(), [0, 0, 0]);
    scene.run_for(10 * A);
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::CheckFailed));
    assert_eq!(scene.present(), [false]);
    scene.check(TrackerState::Passing);
    assert_eq!(scene.state(), StateName::Backup);
}

#[test]
fn a_fault_during_the_handover_is_not_forgotten() {
    let mut scene = Scene::backup(with_check(Effect::Fault));
    scene.check(TrackerState::Passing);
    scene.next_timeout();
    scene.pass(ms(100));
    scene.hear(OTHER, 200);
    scene.check(TrackerState::Failing);
    scene.run_for(10 * A);
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::CheckFailed));
    assert_eq!(scene.present(), [false]);
}

#[test]
fn a_backup_leaves_without_a_word() {
    let mut scene = Scene::backup(parameters());
    scene.shutdown();
    assert_eq!(scene.deeds(), ["initialize shutdown"]);
    assert!(scene.reports().contains(&GONE));
    assert!(scene.node.is_gone(ROUTER));
}

#[test]
fn gone_is_said_only_when_nothing_is_left_in_the_kernel() {
    let mut scene = Scene::active(parameters());
    scene.kernel = super::scene::Kernel::Mute;
    scene.shutdown();
    scene.run_for(A + ms(20));
    assert!(!scene.node.is_gone(ROUTER));
    assert!(!scene.reports().contains(&GONE));
    scene.outcome(Outcome::Released);
    assert!(scene.node.is_gone(ROUTER));
    assert_eq!(scene.reports().iter().filter(|report| **report == GONE).count(), 1);
}

#[test]
fn an_owner_is_gone_at_once_and_its_addresses_stay() {
    let mut scene = Scene::active(with_priority(255));
    scene.shutdown();
    assert_eq!(scene.deeds(), ["advertise 0", "advertise 0", "advertise 0", "initialize shutdown"]);
    assert!(scene.reports().contains(&GONE));
}

#[test]
fn a_former_owner_is_gone_too_although_it_has_nothing_to_release() {
    let mut scene = Scene::active(with_priority(255));
    scene.configure(parameters());
    scene.shutdown();
    scene.run_for(10 * A);
    assert_eq!(scene.count("release"), 0, "the addresses are the administrator's");
    assert!(scene.reports().contains(&GONE), "{:?}", scene.reports());
}

#[test]
fn a_router_reconfigured_while_it_releases_is_gone_in_the_end() {
    let mut scene = Scene::active(parameters());
    scene.kernel = super::scene::Kernel::Mute;
    scene.hear(OTHER, 200);
    scene.run_for(ms(20));
    assert_eq!(scene.count("release"), 1);
    scene.configure(with_addresses(&["192.0.2.1", "192.0.2.4"]));
    scene.outcome(Outcome::Released);
    scene.shutdown();
    assert!(scene.node.is_gone(ROUTER));
}

#[test]
fn a_shut_down_router_does_not_start_again() {
    let mut scene = Scene::active(parameters());
    scene.shutdown();
    scene.run_for(10 * A);
    scene.facts(down());
    scene.facts(facts(OWN));
    scene.hear(PEER, 100);
    scene.run_for(10 * A);
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::Shutdown));
    assert_eq!(scene.timeout(), None);
}

#[test]
fn a_shutdown_during_the_handover_says_nothing_more() {
    let mut scene = Scene::active(Parameters { addresses: addresses(&["192.0.2.1"]), ..parameters() });
    scene.hear(OTHER, 200);
    scene.shutdown();
    scene.run_for(A);
    assert_eq!(scene.advertised(), [0; 0]);
    assert!(scene.reports().contains(&GONE));
}

/// A backup counts Skew_Time by the interval that we advertised, if it took it from us.
#[test]
fn who_leaves_waits_for_a_backup_of_another_interval_that_followed_it() {
    let slow = AdverInterval::from_centiseconds(400).expect("in range");
    let mut leaving = Scene::active(parameters());
    leaving.shutdown();
    let answers_for = leaving.timeout().expect("it waits for a successor");
    let waits = |priority, heard| {
        let mut backup = Scene::backup(Parameters { interval: slow, ..with_priority(priority) });
        backup.hear(OTHER, heard);
        backup.hear(OTHER, 0);
        backup.timeout().expect("a Backup waits")
    };
    assert!(waits(1, 150) <= answers_for, "the lowest of all");
    assert!(waits(160, 150) > answers_for, "it was about to preempt, and learned nothing");
}

/// Only who was ordered away lets a router of lower rank alone.
#[test]
fn who_is_outranked_yields_to_nobody_of_lower_rank() {
    let mut scene = Scene::active(parameters());
    scene.hear(OTHER, 200);
    scene.pass(ms(1));
    scene.hear(PEER, 100);
    assert_eq!(scene.snapshot().phase, Phase::Leaving);
    scene.run_for(A);
    assert_eq!((scene.state(), scene.snapshot().standing), (StateName::Backup, Standing::Free));
}
