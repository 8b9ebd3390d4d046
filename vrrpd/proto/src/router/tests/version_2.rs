//! VRRPv2 (RFC 3768), where it differs.

use super::scene::{A, OTHER, PEER, ROUTER, Scene, addresses, ip, ms, parameters, unicast, with_addresses};
use crate::packet::{ChecksumForm, Key, Password, Sequence};
use crate::parameters::{Authentication, Parameters};
use crate::snapshot::{Alarm, Evidence, StateName, Value};
use crate::{AdverInterval, Priority, Version};

fn version_2() -> Parameters {
    of_two_seconds(parameters())
}

fn of_two_seconds(parameters: Parameters) -> Parameters {
    Parameters { interval: AdverInterval::from_seconds(2).expect("in range"), ..parameters }
}

fn password(text: &str) -> Authentication {
    Authentication::Password(Password::new(text.as_bytes()).expect("8 octets at most"))
}

#[test]
fn the_wait_of_a_backup_is_three_intervals_and_a_skew_of_less_than_a_second() {
    let mut scene = Scene::backup(version_2());
    let skew = A * (256 - 150) / 256;
    assert_eq!(scene.timeout(), Some(6 * A + skew));
    scene.hear_interval(PEER, 200, 200);
    assert_eq!(scene.timeout(), Some(6 * A + skew));
    scene.hear_interval(PEER, 0, 200);
    assert_eq!(scene.timeout(), Some(skew));
}

#[test]
fn another_interval_is_discarded_whatever_its_rank_and_touches_no_timer() {
    for (priority, centiseconds) in [(254, 100), (0, 300), (100, 25_500)] {
        let mut scene = Scene::backup(version_2());
        let running = scene.node.poll_timeout();
        scene.pass(ms(700));
        scene.hear_interval(PEER, priority, centiseconds);
        assert_eq!(scene.node.poll_timeout(), running);
        assert_eq!((scene.statistics().interval_errors, scene.statistics().advertisement_rcvd), (1, 0));
        assert_eq!(scene.snapshot().active_adver_interval, version_2().interval);
    }
}

#[test]
fn other_addresses_are_an_alarm_and_only_strict_discards_them() {
    for (strict, priority, accepted) in [(false, 200, 1), (true, 200, 0), (true, 255, 1)] {
        let mut scene = Scene::backup(Parameters { strict, ..version_2() });
        scene.list = Some(vec![ip("192.0.2.1"), ip("192.0.2.77")]);
        scene.hear_interval(PEER, priority, 200);
        let statistics = scene.statistics();
        assert_eq!((statistics.advertisement_rcvd, statistics.address_list_errors), (accepted, 1));
        let alarm = scene.snapshot().alarms.contains(Alarm::AddressListMismatch);
        assert!(alarm, "strict {strict}, priority {priority}");
    }
}

/// In the order of the checks: authentication, owner, addresses, interval (`protocol.md` 3.1).
#[test]
fn of_two_faults_the_one_that_is_checked_first_is_counted() {
    const FAULTS: [&str; 4] = ["auth_errors", "owner_conflicts", "address_list_errors", "interval_errors"];
    for (first, one) in FAULTS.iter().enumerate() {
        for other in &FAULTS[first + 1..] {
            let is = |fault: &str| fault == *one || fault == *other;
            let priority = if is("owner_conflicts") { Priority::OWNER } else { Priority::new(150) };
            let mut scene = Scene::backup(Parameters { priority, strict: true, ..version_2() });
            scene.password = is("auth_errors").then(|| Password::new(b"x").expect("one octet"));
            scene.list = is("address_list_errors").then(|| vec![ip("192.0.2.77")]);
            scene.hear_interval(PEER, 200, if is("interval_errors") { 100 } else { 200 });
            let statistics = serde_json::to_value(scene.statistics()).expect("counters serialize");
            let moved: Vec<&str> = FAULTS.into_iter().filter(|fault| statistics[fault] != 0).collect();
            assert_eq!(moved, [*one], "{one} and {other}");
        }
    }
}

#[test]
fn a_losing_advertisement_is_not_answered_and_the_neighbours_are_told_again() {
    let mut scene = Scene::active(of_two_seconds(parameters()));
    scene.hear_interval(PEER, 100, 200);
    assert_eq!(scene.deeds(), ["announce 0..1"]);
    assert!(scene.snapshot().alarms.contains(Alarm::TwoActiveRouters));
    scene.forget();
    scene.hear_interval(PEER, 0, 200);
    assert_eq!(scene.advertised(), [150], "row 12 is the same in both versions");
}

#[test]
fn an_owner_hears_nobody() {
    let mut scene = Scene::active(Parameters { priority: Priority::OWNER, ..version_2() });
    for priority in [0, 100, 255] {
        scene.hear_interval(OTHER, priority, 200);
    }
    assert_eq!((scene.state(), scene.deeds()), (StateName::Active, Vec::new()));
    assert_eq!(scene.statistics().owner_conflicts, 3);
}

#[test]
fn with_a_password_nobody_without_it_is_heard_and_the_other_way_round() {
    let keys = [Authentication::None, password("s3cr3t"), password("s3cr3"), password("password")];
    for (ours, authentication) in keys.iter().cloned().enumerate() {
        for (theirs, key) in keys.iter().enumerate() {
            let authentication = authentication.clone();
            let mut scene = Scene::backup(Parameters { authentication, ..version_2() });
            scene.password =
                if let Authentication::Password(password) = key { Some(*password) } else { None };
            scene.hear_interval(PEER, 200, 200);
            let (rcvd, errors) = (scene.statistics().advertisement_rcvd, scene.statistics().auth_errors);
            assert_eq!((rcvd, errors), if ours == theirs { (1, 0) } else { (0, 1) }, "{ours} {theirs}");
        }
    }
}

#[test]
fn what_is_behind_an_authentication_header_is_told_of_and_never_believed() {
    for (authentication, ours) in [(Authentication::None, "none"), (password("s3cr3t"), "password")] {
        let mut scene = Scene::backup(Parameters { authentication, ..version_2() });
        scene.in_header = true;
        scene.hear_interval(PEER, 255, 200);
        let shown = scene.snapshot().alarms.get(Alarm::AuthenticationMismatch).expect("told of").evidence;
        assert_eq!((shown.theirs, shown.ours), (Value::Word("header (AH)"), Value::Word(ours)));
        let counted = scene.statistics();
        assert_eq!((counted.auth_errors, counted.advertisement_rcvd), (1, 0));
        scene.run_for(4 * version_2().interval.duration());
        assert_eq!(scene.snapshot().state, StateName::Active, "nobody was heard");
    }
}

#[test]
fn what_is_sent_carries_the_seconds_and_the_password() {
    let mut scene = Scene::active(Parameters { authentication: password("s3cr3t"), ..version_2() });
    let mut message = [0xee; 64];
    let group = ip("224.0.0.18");
    let length = scene.node.advertisement(ROUTER, Priority::new(150), group, &mut message);
    assert_eq!(length, Some(20));
    assert_eq!(message[..6], [0x21, 51, 150, 1, 1, 2]);
    assert_eq!(message[8..20], *b"\xc0\x00\x02\x01s3cr3t\0\0");
    assert_eq!(scene.form_towards("224.0.0.18"), ChecksumForm::MessageOnly, "it has no other");
    scene.configure(version_2());
    scene.node.advertisement(ROUTER, Priority::new(150), group, &mut message);
    assert_eq!((message[4], &message[12..20]), (0, &[0; 8][..]));
}

#[test]
fn the_checksum_form_of_a_version_3_peer_is_not_learned_from_version_2() {
    let mut scene = Scene::backup(unicast(&[PEER]));
    scene.hear_form(PEER, 200, ChecksumForm::PseudoHeader);
    scene.configure(of_two_seconds(unicast(&[PEER])));
    scene.version = Version::V2;
    scene.hear_interval(PEER, 200, 200);
    assert_eq!(scene.statistics().advertisement_rcvd, 2);
    scene.configure(unicast(&[PEER]));
    assert_eq!(scene.form_towards(PEER), ChecksumForm::PseudoHeader);
}

#[test]
fn a_packet_of_the_other_version_is_counted_and_moves_nothing() {
    for (ours, theirs) in [(parameters(), Version::V2), (version_2(), Version::V3)] {
        let mut scene = Scene::backup(ours);
        let running = scene.node.poll_timeout();
        scene.pass(ms(300));
        scene.version = theirs;
        scene.hear_interval(PEER, 254, 200);
        assert_eq!((scene.statistics().version_errors, scene.node.poll_timeout()), (1, running));
    }
}

#[test]
fn a_reload_with_another_interval_gives_the_others_the_whole_wait_from_then() {
    let mut scene = Scene::backup(version_2());
    scene.hear_interval(PEER, 200, 200);
    scene.run_for(5 * A);
    scene
        .configure(Parameters { interval: AdverInterval::from_seconds(1).expect("in range"), ..version_2() });
    let skew = A * (256 - 150) / 256;
    assert_eq!((scene.state(), scene.timeout()), (StateName::Backup, Some(3 * A + skew)));
    scene.hear_interval(PEER, 200, 100);
    assert_eq!(scene.statistics().interval_errors, 0);
}

#[test]
fn a_reload_to_the_other_version_keeps_the_role_and_speaks_it_at_once() {
    let mut scene = Scene::active(with_addresses(&["192.0.2.1", "192.0.2.4"]));
    let before = scene.statistics().master_transitions;
    let two = Parameters { addresses: addresses(&["192.0.2.1", "192.0.2.4"]), ..version_2() };
    scene.configure(two);
    assert_eq!(scene.advertised(), [150]);
    assert_eq!((scene.state(), scene.timeout()), (StateName::Active, Some(2 * A)));
    assert_eq!(scene.statistics().master_transitions, before);
}

#[test]
fn a_backup_of_the_highest_rank_waits_for_longer_than_the_lease_of_the_dead_lasts() {
    // The lease ends at three intervals at the latest.
    for seconds in [1, 2, 255] {
        let interval = AdverInterval::from_seconds(seconds).expect("in range");
        let scene = Scene::backup(Parameters { interval, priority: Priority::new(254), ..parameters() });
        assert_eq!(scene.timeout(), Some(3 * interval.duration() + A / 128));
    }
}

#[test]
fn who_is_not_heard_is_an_alarm_with_its_value_and_ours_until_it_is_heard_or_we_change() {
    let one = AdverInterval::from_seconds(1).expect("in range");
    let mut scene = Scene::backup(version_2());
    scene.hear_interval(PEER, 200, 100);
    let evidence = |scene: &Scene, alarm| scene.snapshot().alarms.get(alarm).map(|raised| raised.evidence);
    let shown = Evidence {
        source: ip(PEER),
        theirs: Value::Interval(one),
        ours: Value::Interval(version_2().interval),
    };
    assert_eq!(evidence(&scene, Alarm::IntervalMismatch), Some(shown));
    scene.hear_interval(OTHER, 200, 200);
    assert_eq!(evidence(&scene, Alarm::IntervalMismatch), Some(shown), "that was another one");
    scene.configure(Parameters { interval: one, ..version_2() });
    assert_eq!(evidence(&scene, Alarm::IntervalMismatch), None);

    scene.password = Password::new(b"s3cr3t");
    scene.hear_interval(PEER, 200, 100);
    let shown = evidence(&scene, Alarm::AuthenticationMismatch).expect("another type");
    assert_eq!((shown.theirs, shown.ours), (Value::Word("password"), Value::Word("none")));
    scene.password = None;
    scene.hear_interval(PEER, 200, 100);
    assert_eq!(evidence(&scene, Alarm::AuthenticationMismatch), None);

    let mut scene = Scene::active(Parameters { priority: Priority::OWNER, ..version_2() });
    scene.hear_interval(PEER, 255, 200);
    assert!(evidence(&scene, Alarm::DuplicateOwner).is_some());
    scene.hear_interval(PEER, 200, 200);
    assert!(evidence(&scene, Alarm::TwoActiveRouters).is_some());
}

#[test]
fn with_another_interval_the_active_router_is_still_known_and_with_another_version_it_is_not() {
    let three_seconds = AdverInterval::from_seconds(3).expect("in range");
    for (interval, known) in [(three_seconds, true), (AdverInterval::DEFAULT, false)] {
        let mut scene = Scene::backup(version_2());
        scene.hear_interval(PEER, 200, 200);
        scene.configure(Parameters { interval, ..parameters() });
        assert_eq!(scene.snapshot().active_router.is_some(), known, "{interval:?}");
    }
}

/// Only two that agree on everything else have that to settle.
#[test]
fn what_is_behind_an_authentication_header_and_wrong_otherwise_is_counted_for_that() {
    let mut scene = Scene::backup(version_2());
    scene.in_header = true;
    scene.hop_limit = 254;
    scene.hear_interval(PEER, 200, 200);
    assert_eq!((scene.statistics().ip_ttl_errors, scene.statistics().auth_errors), (1, 0));
    assert!(!scene.snapshot().alarms.contains(Alarm::AuthenticationMismatch));
    // What a password would have to be does not come before the header that it is behind.
    scene.hop_limit = 255;
    scene.password = Password::new(b"s3cr3t");
    scene.hear_interval(PEER, 200, 200);
    let shown = scene.snapshot().alarms.get(Alarm::AuthenticationMismatch).expect("told of").evidence;
    assert_eq!(shown.theirs, Value::Word("header (AH)"));
}

#[test]
fn another_password_and_a_trailer_are_named() {
    let mut scene = Scene::backup(Parameters { authentication: password("s3cr3t"), ..version_2() });
    let shown = |scene: &Scene| {
        let evidence = scene.snapshot().alarms.get(Alarm::AuthenticationMismatch).expect("told of").evidence;
        (evidence.theirs, evidence.ours)
    };
    scene.password = Password::new(b"other");
    scene.hear_interval(PEER, 200, 200);
    assert_eq!(shown(&scene), (Value::Word("another password"), Value::Word("password")));
    let key = Key::new(1, &[1; 32]).expect("32 octets");
    scene.seal = Some((key, Sequence::default()));
    scene.hear_interval(PEER, 200, 200);
    assert_eq!(shown(&scene), (Value::Word("hmac-sha256"), Value::Word("password")));
}

#[test]
fn who_resigns_to_an_owner_is_no_second_active_router() {
    let mut scene = Scene::active(Parameters { priority: Priority::OWNER, ..version_2() });
    scene.hear_interval(PEER, 0, 200);
    assert!(!scene.snapshot().alarms.contains(Alarm::TwoActiveRouters));
}
