//! What somebody on the LAN can make us say to people, who may send what it likes as often as it likes.

use std::time::Duration;

use super::scene::{A, Kernel, PEER, Scene, ip, ms, parameters, unicast};
use crate::Family;
use crate::action::Report;
use crate::packet::ChecksumForm;
use crate::parameters::Parameters;
use crate::snapshot::{Alarm, StateName};

const FORMS: [ChecksumForm; 2] = [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly];

/// Everything that can alternate alternates, from one of two routers: the lists of addresses, the
/// intervals, forms, Hop Limits, priorities (equal to ours and one less), damaged ones between.
fn harass(scene: &mut Scene, sources: [&str; 2], time: Duration) {
    let end = scene.now + time;
    let mut nth = 0;
    while scene.now < end {
        let bit = |n: u32| nth >> n & 1 == 1;
        let own: Vec<_> = scene.node.addresses(super::scene::ROUTER).map(|each| each.address).collect();
        let other = if own[0].is_ipv4() { "198.51.100.1" } else { "2001:db8::77" };
        scene.list = Some(if bit(0) { own } else { vec![ip(other)] });
        scene.hop_limit = [255, 64][usize::from(bit(1))];
        let priority = scene.snapshot().priority.get() - u8::from(bit(2));
        let (source, form) = (sources[usize::from(bit(3))], FORMS[usize::from(bit(0))]);
        scene.hear_as(source, priority, if bit(1) { 100 } else { 50 }, form, scene.now);
        nth += 1;
        scene.run_for(Duration::from_micros(700));
    }
}

#[test]
fn strangers_cannot_make_us_talk_more_than_once_a_second_about_each_condition() {
    let six = Parameters {
        family: Family::Ipv6,
        addresses: super::scene::addresses(&["fe80::5e:1"]),
        ..unicast(&["fe80::2", "fe80::3"])
    };
    // Below ours and not to be followed, so that no role changes hands.
    for (mut scene, sources, sort_of_alarms) in [
        (Scene::active(parameters()), ["192.0.2.2", "192.0.2.1"], 6),
        (Scene::active(six), ["fe80::2", "fe80::3"], 6),
        (Scene::backup(parameters()), ["192.0.2.2", "192.0.2.8"], 5),
    ] {
        let before = scene.state();
        harass(&mut scene, sources, 10 * A);
        assert_eq!(scene.state(), before);
        for alarm in Alarm::ALL {
            let told = scene.alarms().iter().filter(|(each, _)| *each == alarm).count();
            assert!(told <= 11, "{alarm:?} is told {told} times");
        }
        let mut alarms: Vec<&str> = scene.alarms().iter().map(|(alarm, _)| alarm.as_str()).collect();
        alarms.sort_unstable();
        alarms.dedup();
        assert_eq!(alarms.len(), sort_of_alarms, "{alarms:?}");
        let count = |like: fn(&Report) -> bool| scene.reports().iter().filter(|report| like(report)).count();
        assert!(count(|report| matches!(report, Report::Discarded { .. })) <= 11);
        assert!(count(|report| matches!(report, Report::ChecksumForm { .. })) <= 1);
        assert!(scene.reports().len() <= 7 * 11 + 11 + 1 + 1, "{:?}", scene.reports());
    }
}

#[test]
fn the_last_state_of_an_alarm_is_told_in_the_end_and_shown_at_once() {
    let mut scene = Scene::backup(parameters());
    let hear = |scene: &mut Scene, interval| scene.hear_interval(PEER, 200, interval);
    for interval in [50, 100, 50, 100] {
        hear(&mut scene, interval);
        let shown = scene.snapshot().alarms.contains(Alarm::IntervalMismatch);
        assert_eq!(shown, interval == 50);
    }
    assert_eq!(scene.alarms(), [(Alarm::IntervalMismatch, true)]);
    assert_eq!(scene.statistics().interval_errors, 2);
    scene.run_for(A);
    assert_eq!(scene.alarms(), [(Alarm::IntervalMismatch, true), (Alarm::IntervalMismatch, false)]);
    assert_eq!(scene.state(), StateName::Backup);
}

#[test]
fn what_came_back_before_it_was_told_again_is_not_told() {
    let mut scene = Scene::backup(parameters());
    for interval in [50, 100, 50] {
        scene.hear_interval(PEER, 200, interval);
    }
    scene.run_for(A);
    assert_eq!(scene.alarms(), [(Alarm::IntervalMismatch, true)]);
}

#[test]
fn a_changed_form_is_told_at_once_and_then_once_a_minute() {
    let mut scene = Scene::active(parameters());
    let told = |scene: &Scene| {
        let form = |report: &Report| match *report {
            Report::ChecksumForm { form, .. } => Some(form),
            _ => None,
        };
        scene.reports().iter().filter_map(form).collect::<Vec<_>>()
    };
    for nth in 0..200 {
        scene.hear_form(PEER, 100, FORMS[(nth + 1) % 2]);
        assert_eq!(scene.form_towards("224.0.0.18"), FORMS[(nth + 1) % 2], "it is answered all the same");
        scene.run_for(A / 4);
    }
    assert_eq!(told(&scene), [FORMS[1]]);
    scene.run_for(10 * A);
    assert_eq!(told(&scene), FORMS.map(|form| form).into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn resignations_do_not_make_the_only_backup_ask_a_kernel_that_refuses_again_and_again() {
    let mut scene = Scene::backup(unicast(&[PEER]));
    scene.kernel = Kernel::Refusing(0);
    for _ in 0..10_000 {
        scene.hear(PEER, 0);
        scene.run_for(ms(1));
    }
    let asked = scene.count("acquire");
    assert!((5..=15).contains(&asked), "{asked} times in ten seconds");
    let refused = |report: &Report| matches!(report, Report::AddressRefused { .. });
    assert_eq!(scene.reports().iter().filter(|report| refused(report)).count(), asked);
}
