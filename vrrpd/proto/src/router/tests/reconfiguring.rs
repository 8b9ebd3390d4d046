//! A reload changes what it changes, and nothing else.

use super::scene::{
    A, OTHER, OWN, PEER, Scene, addresses, down_interval, facts, ms, parameters, unicast, with_addresses,
    with_check, with_priority,
};
use crate::AdverInterval;
use crate::action::{Outcome, Report};
use crate::packet::{ChecksumForm, ChecksumPolicy};
use crate::parameters::{Facts, InterfaceState, Parameters};
use crate::snapshot::{Phase, Reason, StateName};
use crate::tracking::{Effect, TrackerId, Tracking};

const TWO: [&str; 2] = ["192.0.2.1", "192.0.2.4"];

fn transitions(scene: &Scene) -> usize {
    scene.reports().iter().filter(|report| matches!(report, Report::Transition { .. })).count()
}

#[test]
fn the_same_parameters_again_go_unnoticed() {
    for mut scene in [Scene::active(with_addresses(&TWO)), Scene::backup(with_addresses(&TWO))] {
        let timer = scene.node.poll_timeout();
        scene.pass(ms(50));
        scene.configure(with_addresses(&TWO));
        assert_eq!(scene.deeds(), [""; 0]);
        assert_eq!((scene.node.poll_timeout(), scene.reports()), (timer, vec![]));
    }
}

#[test]
fn an_added_address_is_acquired_announced_and_advertised_without_a_transition() {
    let mut scene = Scene::active(with_addresses(&TWO));
    scene.configure(with_addresses(&["192.0.2.1", "192.0.2.7", "192.0.2.4"]));
    assert_eq!(scene.deeds(), ["acquire 0..3", "advertise 150", "announce 1..2"]);
    assert_eq!(scene.present(), [true; 3]);
    assert_eq!(transitions(&scene), 0);
}

#[test]
fn a_removed_address_is_released_and_the_others_are_not_touched() {
    let mut scene = Scene::active(with_addresses(&TWO));
    scene.configure(with_addresses(&["192.0.2.4"]));
    assert_eq!(scene.deeds()[0], "release 0..1");
    assert_eq!(scene.count("release"), 1);
    assert_eq!(scene.present(), [true]);
    assert_eq!((scene.advertised(), transitions(&scene)), (vec![150], 0));
}

#[test]
fn removed_addresses_that_stood_together_are_released_together() {
    let numbered = |numbers: &[u8]| {
        let texts: Vec<String> = numbers.iter().map(|number| format!("192.0.2.{number}")).collect();
        with_addresses(&texts.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut scene = Scene::active(numbered(&[11, 12, 13, 14, 15, 16]));
    scene.configure(numbered(&[16, 13]));
    assert_eq!(scene.deeds()[..2], ["release 0..2", "release 3..5"]);
    assert_eq!((scene.count("release"), scene.count("acquire")), (2, 1));
    assert_eq!(scene.present(), [true; 2]);
}

#[test]
fn a_backup_only_takes_note_of_new_addresses() {
    let mut scene = Scene::backup(parameters());
    let timer = scene.node.poll_timeout();
    scene.configure(with_addresses(&TWO));
    assert_eq!(scene.deeds(), [""; 0]);
    assert_eq!(scene.node.poll_timeout(), timer);
    scene.next_timeout();
    assert_eq!(scene.deeds()[0], "acquire 0..2");
}

#[test]
fn a_new_interval_is_told_before_the_backups_time_out_by_the_old_one() {
    let mut scene = Scene::active(parameters());
    scene.pass(ms(50));
    scene.configure(Parameters { interval: AdverInterval::MAX, ..parameters() });
    assert_eq!((scene.deeds(), transitions(&scene)), (vec!["advertise 150".to_owned()], 0));
    assert_eq!(scene.timeout(), Some(AdverInterval::MAX.duration()));
}

#[test]
fn a_new_interval_means_nothing_to_a_backup() {
    let mut scene = Scene::backup(parameters());
    scene.hear(OTHER, 200);
    let timer = scene.node.poll_timeout();
    scene.configure(Parameters { interval: AdverInterval::MIN, ..parameters() });
    assert_eq!((scene.deeds().len(), scene.node.poll_timeout()), (0, timer));
    assert_eq!(scene.snapshot().active_adver_interval, AdverInterval::DEFAULT);
}

#[test]
fn a_raised_priority_is_advertised_without_a_transition() {
    let mut scene = Scene::active(parameters());
    scene.pass(ms(50));
    scene.configure(with_priority(200));
    assert_eq!((scene.deeds(), transitions(&scene)), (vec!["advertise 200".to_owned()], 0));
}

#[test]
fn a_lowered_priority_asks_like_a_failing_check_and_is_kept_without_a_transition() {
    let mut scene = Scene::active(parameters());
    scene.configure(with_priority(100));
    assert_eq!(scene.snapshot().phase, Phase::Asking);
    scene.run_for(2 * A);
    assert_eq!((scene.state(), transitions(&scene)), (StateName::Active, 0));
    assert_eq!(scene.advertised()[3..], [100]);
}

#[test]
fn a_backup_with_a_new_priority_is_not_started_anew() {
    let mut scene = Scene::backup(parameters());
    scene.hear(OTHER, 254);
    scene.pass(A);
    scene.configure(with_priority(200));
    assert_eq!((scene.state(), scene.timeout()), (StateName::Backup, Some(down_interval(200) - A)));
}

#[test]
fn a_check_that_is_added_is_trusted_by_who_holds_the_role() {
    let mut scene = Scene::active(parameters());
    scene.configure(with_check(Effect::Demote));
    assert_eq!((scene.deeds(), scene.snapshot().priority.get()), (vec![], 150));
}

#[test]
fn a_reload_does_not_promote_who_became_active_on_pending_checks() {
    let mut scene = Scene::backup(with_check(Effect::Demote));
    scene.next_timeout();
    scene.pass(ms(50));
    assert_eq!(scene.snapshot().priority.get(), 15);
    scene.configure(with_check(Effect::Demote));
    assert_eq!(scene.snapshot().priority.get(), 15);
}

#[test]
fn checks_of_another_router_do_not_concern_this_one() {
    let other = Tracking { tracker: TrackerId(7), effect: Effect::Demote };
    let mut scene = Scene::active(parameters());
    scene.check(crate::tracking::TrackerState::Failing);
    assert_eq!(scene.deeds(), [""; 0]);
    assert!(!parameters().tracking.contains(&other));
}

#[test]
fn new_peers_are_spoken_to_in_the_configured_form() {
    let mut scene = Scene::active(unicast(&[PEER]));
    scene.hear_form(PEER, 100, ChecksumForm::MessageOnly);
    scene.configure(Parameters { addresses: addresses(&["192.0.2.1"]), ..unicast(&[OTHER, PEER]) });
    assert_eq!(scene.form_towards(OTHER), ChecksumForm::PseudoHeader);
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn a_part_that_becomes_the_owners_is_not_asked_for_without_end() {
    let mut scene = Scene::backup(with_addresses(&TWO));
    scene.kernel = super::scene::Kernel::Refusing(1);
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    scene.configure(Parameters { priority: crate::Priority::OWNER, ..with_addresses(&TWO) });
    for _ in 0..100 {
        scene.next_timeout();
        let next = scene.timeout().expect("the Adver_Timer runs");
        assert!(next > std::time::Duration::ZERO, "the loop would spin");
    }
}

#[test]
fn who_becomes_the_owner_is_not_moved_by_what_the_kernel_still_has_to_say() {
    let mut scene = Scene::active(with_addresses(&TWO));
    scene.kernel = super::scene::Kernel::Mute;
    scene.outcome(Outcome::Lost { index: 1 });
    scene.configure(Parameters { priority: crate::Priority::OWNER, ..with_addresses(&TWO) });
    scene.outcome(Outcome::Refused { index: 1, errno: 13 });
    scene.outcome(Outcome::Acquired);
    scene.run_for(10 * A);
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true, true]));
    assert_eq!(scene.statistics().addresses_refused, 0);
}

#[test]
fn who_becomes_the_owner_of_addresses_that_are_not_there_stops() {
    for mut scene in [Scene::active(parameters()), Scene::backup(parameters())] {
        scene.facts(Facts { owned: false, ..facts(OWN) });
        scene.configure(with_priority(255));
        assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::NoVirtualIpAddresses));
        scene.facts(facts(OWN));
        assert_eq!(scene.state(), StateName::Active);
    }
}

#[test]
fn what_was_learned_of_checksums_outlives_a_reload_that_does_not_concern_it() {
    let mut scene = Scene::active(unicast(&[PEER]));
    scene.hear_form(PEER, 100, ChecksumForm::MessageOnly);
    scene.configure(Parameters { priority: crate::Priority::new(160), ..unicast(&[PEER]) });
    assert_eq!(scene.form_towards(PEER), ChecksumForm::MessageOnly);
    let policy = ChecksumPolicy::Only(ChecksumForm::PseudoHeader);
    scene.configure(Parameters { checksum_policy: policy, ..unicast(&[PEER]) });
    assert_eq!(scene.form_towards(PEER), ChecksumForm::PseudoHeader);
}

/// What was told last is what the caller remembers, and begins with.
#[test]
fn a_checksum_form_of_peers_that_a_reload_takes_away_is_told_no_more() {
    let mut scene = Scene::backup(unicast(&[PEER]));
    let told = |scene: &Scene| {
        let form = |report| if let Report::ChecksumForm { form, .. } = report { Some(form) } else { None };
        scene.reports().into_iter().filter_map(form).collect::<Vec<_>>()
    };
    let checksum_form = ChecksumForm::MessageOnly;
    scene.hear_form(PEER, 200, checksum_form);
    scene.hear_form(PEER, 200, ChecksumForm::PseudoHeader);
    assert_eq!(told(&scene), [checksum_form], "the change back is told a minute later");
    scene.configure(Parameters { checksum_form, ..unicast(&[OTHER]) });
    scene.run_for(100 * A);
    assert_eq!(told(&scene), [checksum_form]);
    scene.hear_form(OTHER, 200, ChecksumForm::PseudoHeader);
    assert_eq!(told(&scene), [checksum_form, ChecksumForm::PseudoHeader]);
}

#[test]
fn a_second_check_that_is_added_is_trusted_as_the_first_one_was() {
    let check = |tracker| Tracking { tracker: TrackerId(tracker), effect: Effect::Demote };
    let mut scene = Scene::active(parameters());
    scene.configure(with_check(Effect::Demote));
    scene.check(crate::tracking::TrackerState::Passing);
    scene.configure(Parameters { tracking: vec![check(0), check(1)], ..parameters() });
    assert_eq!((scene.deeds(), scene.snapshot().priority.get()), (vec![], 150));
}

#[test]
fn facts_that_still_keep_it_away_are_no_news() {
    let mut scene = Scene::backup(parameters());
    let down = Facts { interface: InterfaceState::Down, ..facts(OWN) };
    for _ in 0..3 {
        scene.facts(down);
    }
    assert_eq!(transitions(&scene), 1);
}
