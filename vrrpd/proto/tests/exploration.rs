//! Each state x each event x each setting, enumerated.
//!
//! `exploration/situation.rs` reaches the states through the inputs of a daemon, `exploration/event.rs`
//! has the events and the table of what each may lead to.

#[path = "exploration/event.rs"]
mod event;
mod scene;
#[path = "exploration/situation.rs"]
mod situation;

use std::time::Duration;

use vrrp_proto::action::{Order, Report};
use vrrp_proto::packet::ChecksumForm;
use vrrp_proto::snapshot::{Phase, Reason, StateName};
use vrrp_proto::{Instant, Version};

use event::{Event, Rank, may_lead_to};
use scene::{Kernel, Scene};
use situation::{Peers, Place, Setting, Situation, deadline, expected, plain, tracked};

/// The longest that a router which resigned waits.
const LEAVING_MAX: Duration = Duration::from_secs(3);
/// The longest that a condition is shown after the last packet that showed it.
const ALARM_REMEMBERED: Duration = Duration::from_secs(300);
/// No event leads to more actions.
const ACTIONS_MAX: usize = 16;

/// One cell of the table.
#[derive(Clone, Copy, Debug)]
struct Cell {
    setting: Setting,
    situation: Situation,
    event: Event,
}

/// Calls `test` with the router in every situation of every setting, once for each event, after the
/// event and a look at the timers. The second place is where it was before.
fn each_cell(settings: &[Setting], mut test: impl FnMut(Cell, Place, &mut Scene)) -> usize {
    let mut cells = 0;
    for &setting in settings {
        for situation in Situation::ALL {
            for event in Event::all() {
                let Some(mut scene) = situation.arrange(setting) else { break };
                scene.woke();
                let before = Place::of(&scene);
                if event.happen(&mut scene, setting, situation) {
                    scene.drained();
                    cells += 1;
                    test(Cell { setting, situation, event }, before, &mut scene);
                }
            }
        }
    }
    cells
}

#[test]
fn every_situation_is_what_it_is_called() {
    for setting in Setting::all() {
        for situation in Situation::ALL {
            if let Some(scene) = situation.arrange(setting) {
                let snapshot = scene.snapshot();
                assert_eq!(Place::of(&scene), expected(situation), "{situation:?} {setting:?} {snapshot:?}");
                let backs_off = snapshot.phase == Phase::BackOff;
                assert_eq!(backs_off, situation == Situation::BackOff, "{situation:?} {setting:?}");
            }
        }
    }
}

#[test]
fn only_the_transitions_of_the_table_happen_and_all_are_told() {
    let cells = each_cell(&Setting::all(), |cell, before, scene| {
        let after = Place::of(scene);
        let table = may_lead_to(before, cell.event, cell.setting, cell.situation);
        assert!(table.contains(&after), "{before:?} to {after:?}, not one of {table:?}: {cell:?}");

        let mut told = None;
        for report in scene.reports() {
            if let Report::Transition { from, to, .. } = report {
                assert!(told.is_none_or(|last| last == from), "reports do not join: {cell:?}");
                told = Some(to);
            }
        }
        let state = scene.state();
        assert!(told.is_none_or(|told| told == state), "told {told:?}, is {state:?}: {cell:?}");
        assert!(told.is_some() || before.agrees_with(state), "changed to {state:?} silently: {cell:?}");
        assert!(after.agrees_with(state), "{after:?} is called {state:?}: {cell:?}");
    });
    assert!(cells > 50_000, "only {cells} cells");
}

#[test]
fn what_is_sent_fits_the_state() {
    each_cell(&Setting::all(), |cell, before, scene| {
        let after = Place::of(scene);
        let was_active = matches!(before, Place::Active | Place::Asking);
        let advertised = scene.advertised();
        let (releases, claims): (Vec<u8>, Vec<u8>) = advertised.iter().partition(|&&priority| priority == 0);
        let became = scene.reports().iter().any(|report| {
            matches!(report, Report::Kept { .. } | Report::Transition { to: StateName::Active, .. })
        });
        assert!(claims.is_empty() || before == Place::Active || became, "{before:?} advertises: {cell:?}");
        let resigns = (was_active || became) && after != Place::Active;
        assert!(releases.is_empty() || resigns && releases.len() == 3, "{advertised:?}: {cell:?}");
        let leaves = before == Place::Active && matches!(after, Place::Asking | Place::Leaving);
        let outranked = matches!(cell.event, Event::Advert { .. });
        assert!(!leaves || outranked || releases.len() == 3, "leaves without a word: {cell:?}");
        let announces = scene.count("announce");
        assert!(announces == 0 || was_active || after == Place::Active, "{before:?} announces: {cell:?}");
        let deeds = scene.deeds().len();
        assert!(deeds <= ACTIONS_MAX, "{deeds} deeds: {cell:?}");
    });
}

/// Rows 7, 15 and 16.
#[test]
fn an_accepted_advertisement_sets_the_timer_and_a_losing_one_is_answered() {
    each_cell(&Setting::all(), |cell, before, scene| {
        let Event::Advert { rank, above, factor } = cell.event else { return };
        if above && cell.setting.peers == Peers::Sole || cell.setting.refuses(factor) {
            return;
        }
        let snapshot = scene.snapshot();
        if before == Place::Backup && matches!(rank, Rank::Equal | Rank::Higher) {
            let told = cell.setting.scaled(factor);
            assert_eq!(snapshot.active_adver_interval, told, "not adopted: {cell:?}");
            let down = snapshot.active_adver_interval.active_down_interval(snapshot.priority);
            let expected = Some(scene.now + down);
            if deadline(scene) < expected {
                // What was shown too soon after it was told is told first, and moves nothing.
                scene.next_timeout();
            }
            assert_eq!(deadline(scene), expected, "not armed anew: {cell:?}");
        }
        let loses = rank == Rank::Lower || rank == Rank::Equal && !above;
        // At the shortest interval the last advertisement is too fresh for another.
        if cell.situation == Situation::Active && loses && cell.setting.centiseconds > 1 {
            let answer = match cell.setting.version {
                Version::V2 => None,
                Version::V3 => Some(cell.setting.priority),
            };
            assert_eq!(scene.advertised(), Vec::from_iter(answer), "{cell:?}");
        }
    });
}

#[test]
fn who_lets_go_has_let_go_of_everything() {
    each_cell(&Setting::all(), |cell, before, scene| {
        let after = Place::of(scene);
        if !matches!(after, Place::Initialize | Place::Backup) || !cell.event.is_honest(cell.situation) {
            return;
        }
        let held = !matches!(before, Place::Initialize | Place::Backup) && !cell.setting.owner();
        let present = scene.present();
        assert!(cell.setting.owner() || !present.contains(&true), "{after:?} has {present:?}: {cell:?}");
        assert!(!held || scene.count("release") > 0, "{before:?} to {after:?} without a release: {cell:?}");
        let acquires = scene.deeds().iter().rposition(|deed| deed.starts_with("acquire"));
        let releases = scene.deeds().iter().rposition(|deed| deed.starts_with("release"));
        assert!(acquires <= releases, "{after:?} acquires: {cell:?}");
    });
}

#[test]
fn every_state_waits_for_its_own_timer_and_none_for_the_past() {
    each_cell(&Setting::all(), |cell, _, scene| {
        let (place, snapshot) = (Place::of(scene), scene.snapshot());
        // What was heard may have been of twice the interval.
        let interval = cell.setting.interval().max(snapshot.active_adver_interval.duration()) * 2;
        let longest = match place {
            Place::Initialize if snapshot.reason == Reason::StartupDelay => Some(interval),
            Place::Initialize if scene.node.is_gone(scene::ROUTER) => None,
            // Only what others show of themselves ends by itself.
            Place::Initialize => snapshot.alarms.iter().next().map(|_| ALARM_REMEMBERED),
            Place::Backup if snapshot.phase == Phase::BackOff => Some(6 * interval),
            Place::Backup => Some(4 * interval),
            Place::Claiming => Some(3 * interval),
            Place::Active => Some(interval),
            // After a stall it listens for an interval.
            Place::Asking | Place::Leaving => Some(LEAVING_MAX.max(interval)),
        };
        let next = deadline(scene);
        assert!(next.is_none_or(|next| next > scene.now), "{place:?} waits for the past: {cell:?}");
        let left = next.map(|next| next - scene.now);
        assert_eq!(left.is_some(), longest.is_some(), "{place:?} has timer {left:?}: {cell:?}");
        assert!(left <= longest, "{place:?} waits {left:?}, longer than {longest:?}: {cell:?}");

        scene.forget();
        scene.woke();
        scene.drained();
        assert!(scene.deeds().is_empty(), "{:?} without an event: {cell:?}", scene.deeds());
    });
}

/// One interval, one family: what follows takes longer.
fn few_settings() -> Vec<Setting> {
    let one = |setting: &Setting| setting.centiseconds == 100 && setting.family == vrrp_proto::Family::Ipv4;
    Setting::all().into_iter().filter(one).collect()
}

#[test]
fn a_fit_router_alone_is_active_in_the_end_with_all_addresses() {
    each_cell(&few_settings(), |cell, _, scene| {
        if scene.reason() == Reason::Shutdown || !cell.event.is_honest(cell.situation) {
            return;
        }
        recover(scene, cell.setting);
        // Three refusals in a row take 3, 6 and 12 intervals of back-off, and a quarter more.
        scene.run_for(60 * cell.setting.interval());
        assert_eq!(Place::of(scene), Place::Active, "{:?}: {cell:?}", scene.snapshot());
        // An owner is told whether it has its addresses, not which.
        let owner = scene.snapshot().priority.is_owner();
        assert!(owner || !scene.present().contains(&false), "{:?}: {cell:?}", scene.present());
    });
}

#[test]
fn a_router_that_is_shut_down_is_gone_in_the_end() {
    each_cell(&few_settings(), |cell, _, scene| {
        scene.kernel = Kernel::Prompt;
        scene.outcome(vrrp_proto::action::Outcome::Released);
        scene.shutdown();
        scene.run_for(LEAVING_MAX);
        assert!(scene.node.is_gone(scene::ROUTER), "{:?}: {cell:?}", scene.snapshot());
        let told = scene.reports().iter().any(|report| matches!(report, Report::Gone { .. }));
        assert!(told || cell.situation == Situation::ShutDown, "gone without a word: {cell:?}");
        assert_eq!(deadline(scene), None, "{cell:?}");
    });
}

/// Everything is well again, and the kernel answers.
fn recover(scene: &mut Scene, setting: Setting) {
    scene.kernel = Kernel::Prompt;
    scene.facts(setting.up());
    scene.order(Order::Undrain);
    scene.order(Order::Unfreeze);
    for tracker in [situation::DEMOTE, situation::FAULT] {
        tracked(scene, tracker, vrrp_proto::tracking::TrackerState::Passing);
    }
    scene.drained();
}

#[test]
fn all_priorities_at_the_shortest_interval_take_over_in_strict_order() {
    let deadlines = |last: u8| -> Vec<Instant> {
        let of = |priority| {
            let mut scene = plain(priority, 1);
            scene.hear_as("192.0.2.9", 255, 1, ChecksumForm::PseudoHeader, scene.now);
            if last == 0 {
                scene.hear_as("192.0.2.9", 0, 1, ChecksumForm::PseudoHeader, scene.now);
            }
            deadline(&scene).expect("a Backup waits")
        };
        (1..=254).map(of).collect()
    };
    for last in [255, 0] {
        let deadlines = deadlines(last);
        assert!(deadlines.is_sorted_by(|lower, higher| lower > higher), "after priority {last}");
    }
}
