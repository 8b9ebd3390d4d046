//! Keyed advertisements (`protocol.md` 6.4).

use std::sync::Arc;
use std::time::Duration;

use super::scene::{
    A, LINK, OTHER, OWN, PEER, ROUTER, SECOND_LINK, Scene, addresses, facts, ip, ms, parameters, sent_input,
    unicast,
};
use crate::action::Input;
use crate::node::MESSAGE_MAX;
use crate::packet::{Advert, Datagram, Key, Rules, Sequence, Trailer};
use crate::parameters::{
    Authentication, Facts, KeyMode, Keyring, Parameters, Replay, SecondPath, SecondPeer,
};
use crate::snapshot::{Alarm, StateName, Value};
use crate::{AdverInterval, Family, Instant, Priority, Version};

const WINDOW: Duration = Duration::from_secs(5);
/// Time since 1970 at the origin of the scene's clock.
const ORIGIN: Duration = Duration::from_secs(1_700_000_000);

fn key(number: u8) -> Key {
    Key::new(number, &[number; 32]).expect("32 octets")
}

fn keyed(mode: KeyMode, replay: Replay) -> Parameters {
    let ring = Keyring::new(vec![key(1), key(2)], 1, mode, replay).expect("1 is one of them");
    Parameters { authentication: Authentication::Keyed(Arc::new(ring)), ..parameters() }
}

fn enforcing() -> Parameters {
    keyed(KeyMode::Enforce, Replay::Time { window: WINDOW })
}

fn set_clock(scene: &mut Scene, origin: Duration) {
    scene.input(Input::Clocks { wall: origin, boot: Duration::ZERO });
}

/// What people's clock says, `later` than now.
fn unix(scene: &Scene, later: Duration) -> Duration {
    ORIGIN + (scene.now - Instant::ZERO) + later
}

/// A Backup with this configuration, and a clock.
fn backup(parameters: Parameters) -> Scene {
    let mut scene = Scene::backup(parameters);
    set_clock(&mut scene, ORIGIN);
    scene
}

/// An advertisement of the peer with this key, `later` than now by its clock.
fn hear(scene: &mut Scene, number: u8, later: Duration) {
    scene.seal = Some((key(number), Sequence::at(unix(scene, later))));
    scene.hear(PEER, 200);
}

/// The trailer of what is sent now.
fn sent(scene: &Scene, destination: &str) -> (Vec<u8>, Sequence, u8) {
    let mut message = [0; MESSAGE_MAX];
    let (source, destination) = (scene.node.source(ROUTER).expect("started"), ip(destination));
    let length = scene
        .node
        .advertisement(ROUTER, Priority::new(150), destination, &mut message)
        .expect("it can be sent");
    let payload = &message[..length];
    let datagram = Datagram { source, destination, hop_limit: 255, payload };
    let advert = Advert::parse(&datagram, &Rules::to_identify(&datagram)).expect("what we send is sound");
    let trailer: Trailer<'_> = advert.trailer.expect("keyed");
    assert!(trailer.is_made_with(&key(1), source) && !trailer.is_made_with(&key(2), source));
    (payload.to_vec(), trailer.sequence(), trailer.key())
}

#[test]
fn only_who_knows_a_key_moves_anything() {
    let mut scene = backup(enforcing());
    scene.pass(ms(700));
    scene.hear(PEER, 254);
    scene.hear(PEER, 0);
    hear(&mut scene, 9, ms(0));
    scene.seal = Some((Key::new(1, &[7; 32]).expect("32 octets"), Sequence::at(unix(&scene, ms(0)))));
    scene.hear(PEER, 254);
    assert_eq!((scene.statistics().digest_errors, scene.statistics().advertisement_rcvd), (4, 0));
    let shown = scene.snapshot().alarms.get(Alarm::AuthenticationMismatch).expect("it is told").evidence;
    assert_eq!((shown.theirs, shown.ours), (Value::Word("another key"), Value::Word("hmac-sha256")));
    for number in [1, 2] {
        scene.pass(ms(1));
        hear(&mut scene, number, ms(0));
    }
    assert_eq!(scene.statistics().advertisement_rcvd, 2);
    assert!(!scene.snapshot().alarms.contains(Alarm::AuthenticationMismatch), "it is heard at last");
}

#[test]
fn a_flood_without_a_key_does_not_delay_the_takeover() {
    let mut scene = backup(enforcing());
    let expected = scene.node.poll_timeout().expect("the Active_Down_Timer runs");
    while scene.now + ms(100) < expected {
        scene.run_for(ms(100));
        scene.hear(PEER, 254);
        assert_eq!(scene.state(), StateName::Backup);
    }
    scene.run_for(expected - scene.now + ms(2));
    assert_eq!(scene.state(), StateName::Active);
}

#[test]
fn an_advertisement_counts_once_and_only_after_the_last_of_its_sender() {
    let mut scene = backup(enforcing());
    scene.pass(A);
    hear(&mut scene, 1, ms(0));
    scene.hear(PEER, 200);
    hear(&mut scene, 1, ms(0));
    assert_eq!((scene.statistics().replay_errors, scene.statistics().advertisement_rcvd), (2, 1));
    scene.seal = Some((key(1), Sequence::at(unix(&scene, ms(0)))));
    scene.hear(OTHER, 200);
    assert_eq!(scene.statistics().advertisement_rcvd, 2, "each sender has its own");
    assert!(!scene.snapshot().alarms.contains(Alarm::AuthenticationMismatch), "networks double packets");
    scene.pass(ms(1));
    hear(&mut scene, 1, ms(0));
    assert_eq!(scene.statistics().advertisement_rcvd, 3);
}

#[test]
fn another_time_is_an_alarm_from_half_the_window_on_and_refused_beyond_it() {
    for (away, heard, alarm) in [(2, 1, false), (3, 1, true), (5, 1, true), (6, 0, true)] {
        let mut scene = backup(enforcing());
        hear(&mut scene, 1, Duration::from_secs(away));
        assert_eq!(scene.statistics().advertisement_rcvd, heard, "{away} s");
        assert_eq!(scene.statistics().window_errors, 1 - heard, "{away} s");
        let shown = scene.snapshot().alarms.get(Alarm::ClockSkew).map(|raised| raised.evidence.theirs);
        assert_eq!(shown, alarm.then(|| Value::Number(u32::try_from(away).expect("few"))), "{away} s");
    }
}

#[test]
fn half_of_the_window_is_no_alarm_yet() {
    for (away, alarm) in [(2, false), (3, true)] {
        let replay = Replay::Time { window: Duration::from_secs(4) };
        let mut scene = backup(keyed(KeyMode::Enforce, replay));
        hear(&mut scene, 1, Duration::from_secs(away));
        let shown = scene.snapshot().alarms.get(Alarm::ClockSkew).map(|raised| raised.evidence.ours);
        assert_eq!(shown, alarm.then_some(Value::Number(4)), "{away} s");
    }
    let mut refused = backup(enforcing());
    hear(&mut refused, 1, Duration::from_secs(60));
    let shown = refused.snapshot().alarms.get(Alarm::ClockSkew).expect("it is told").evidence;
    assert_eq!((shown.theirs, shown.ours), (Value::Number(60), Value::Number(5)));
}

#[test]
fn what_waited_in_the_socket_is_judged_by_when_it_came() {
    let mut scene = backup(enforcing());
    scene.seal = Some((key(1), Sequence::at(unix(&scene, ms(0)))));
    let arrived = scene.now;
    scene.pass(Duration::from_secs(60));
    scene.hear_as(PEER, 200, 100, crate::packet::ChecksumForm::PseudoHeader, arrived);
    assert_eq!((scene.statistics().window_errors, scene.statistics().advertisement_rcvd), (0, 1));
}

#[test]
fn a_clock_that_is_set_counts_from_then_on() {
    let mut scene = backup(enforcing());
    hear(&mut scene, 1, Duration::from_secs(3600));
    assert_eq!(scene.statistics().window_errors, 1);
    set_clock(&mut scene, ORIGIN + Duration::from_secs(3600));
    hear(&mut scene, 1, Duration::from_secs(3600));
    assert_eq!(scene.statistics().advertisement_rcvd, 1);
}

#[test]
fn without_a_window_any_time_counts_that_comes_after_the_last() {
    let mut scene = backup(keyed(KeyMode::Enforce, Replay::Monotonic));
    for (later, heard) in [(1_000_000, 1), (2_000_000, 2), (1_500_000, 2)] {
        hear(&mut scene, 1, Duration::from_secs(later));
        assert_eq!(scene.statistics().advertisement_rcvd, heard);
    }
    assert_eq!(scene.statistics().replay_errors, 1);
    assert!(!scene.snapshot().alarms.contains(Alarm::ClockSkew));
}

#[test]
fn until_it_is_enforced_everybody_is_heard_and_what_would_not_be_is_told() {
    for (mode, without) in [(KeyMode::ReceiveOnly, false), (KeyMode::Permissive, true)] {
        let mut scene = backup(keyed(mode, Replay::Time { window: WINDOW }));
        let told = |scene: &Scene| scene.snapshot().alarms.contains(Alarm::AuthenticationMismatch);
        scene.hear(PEER, 200);
        assert_eq!(told(&scene), without, "{mode:?}: no trailer");
        scene.pass(ms(1));
        hear(&mut scene, 9, ms(0));
        assert!(told(&scene), "{mode:?}: an unknown key");
        scene.pass(ms(1));
        hear(&mut scene, 1, ms(0));
        assert!(!told(&scene), "{mode:?}: the right key");
        assert_eq!((scene.statistics().advertisement_rcvd, scene.statistics().digest_errors), (3, 1));
    }
}

#[test]
fn a_trailer_where_none_is_expected_is_named() {
    for (version, interval) in
        [(Version::V3, AdverInterval::DEFAULT), (Version::V2, AdverInterval::default_of(Version::V2))]
    {
        let mut scene = backup(Parameters { interval, ..parameters() });
        hear(&mut scene, 1, ms(0));
        assert_eq!(scene.statistics().packet_length_errors, 1, "{version}");
        let shown = scene.snapshot().alarms.get(Alarm::AuthenticationMismatch).expect("it is told").evidence;
        assert_eq!((shown.theirs, shown.ours), (Value::Word("hmac-sha256"), Value::Word("none")));
    }
}

#[test]
fn each_advertisement_is_after_the_last_and_its_copies_are_alike() {
    let peers = unicast(&[PEER, OTHER]);
    let mut scene = Scene::active(Parameters { peers: peers.peers, ..enforcing() });
    set_clock(&mut scene, ORIGIN);
    let (first, at_first, number) = sent(&scene, PEER);
    assert_eq!(number, 1);
    assert_eq!(at_first.distance(unix(&scene, ms(0))), Duration::ZERO);
    assert_eq!(first[first.len() - 28..], sent(&scene, OTHER).0[first.len() - 28..], "one for all copies");
    scene.run_for(A);
    let (_, then, _) = sent(&scene, PEER);
    assert!(then.is_after(at_first));
    assert_eq!(then.distance(unix(&scene, ms(0))), Duration::ZERO);
    scene.run_for(60 * A);
    let (_, then, _) = sent(&scene, PEER);
    assert!(then.distance(unix(&scene, ms(0))) <= A, "it goes with the clock, or nobody would believe it");
    // People set their clock back: time stands still for those who listen, and goes on.
    set_clock(&mut scene, ORIGIN.saturating_sub(Duration::from_secs(3600)));
    scene.run_for(A);
    let (_, set_back, _) = sent(&scene, PEER);
    assert!(set_back.is_after(then));
    // Priority 0, three times within the same instant.
    let mut last = set_back;
    for _ in 0..3 {
        scene.input(sent_input(Priority::RELEASE, 2, 0, 0));
        let (_, next, _) = sent(&scene, PEER);
        assert!(next.is_after(last));
        last = next;
    }
}

#[test]
fn nothing_keyed_is_sent_before_all_can_receive_it() {
    let mut scene = Scene::active(keyed(KeyMode::ReceiveOnly, Replay::Monotonic));
    set_clock(&mut scene, ORIGIN);
    let mut message = [0; MESSAGE_MAX];
    let group = ip("224.0.0.18");
    assert_eq!(scene.node.advertisement(ROUTER, Priority::new(150), group, &mut message), Some(12));
    scene.configure(keyed(KeyMode::Permissive, Replay::Monotonic));
    assert_eq!(scene.node.advertisement(ROUTER, Priority::new(150), group, &mut message), Some(12 + 28));
    assert_eq!(scene.state(), StateName::Active, "a step of the rollout moves nothing");
}

#[test]
fn all_versions_and_families_are_keyed_alike() {
    let two = AdverInterval::default_of(Version::V2);
    let six = Parameters { family: Family::Ipv6, addresses: addresses(&["fe80::5e:1"]), ..enforcing() };
    for (parameters, own, peer, group) in [
        (enforcing(), OWN, PEER, "224.0.0.18"),
        (Parameters { interval: two, ..enforcing() }, OWN, PEER, "224.0.0.18"),
        (six, "fe80::b", "fe80::a", "ff02::12"),
    ] {
        // What one sends, another one hears.
        let mut sender = Scene::new(parameters.clone());
        sender.facts(facts(peer));
        set_clock(&mut sender, ORIGIN);
        let (payload, _, _) = sent(&sender, group);
        let mut scene = Scene::new(parameters);
        scene.facts(facts(own));
        set_clock(&mut scene, ORIGIN);
        let datagram =
            Datagram { source: ip(peer), destination: ip(group), hop_limit: 255, payload: &payload };
        scene.input(Input::Received { link: LINK, datagram, arrived: scene.now });
        assert_eq!(scene.statistics().advertisement_rcvd, 1, "{:?}", scene.statistics());
        // Each octet of it counts but the checksum, which has its own counter.
        for index in 0..payload.len() {
            let mut changed = payload.clone();
            changed[index] ^= 1;
            let datagram = Datagram { payload: &changed, ..datagram };
            scene.input(Input::Received { link: LINK, datagram, arrived: scene.now });
            assert_eq!(scene.statistics().advertisement_rcvd, 1, "octet {index}");
        }
    }
}

#[test]
fn a_replay_is_noticed_as_soon_as_a_reload_has_brought_keys() {
    let mut scene = backup(parameters());
    scene.configure(enforcing());
    for counts in [1, 1] {
        hear(&mut scene, 1, ms(0));
        assert_eq!(scene.statistics().advertisement_rcvd, counts);
    }
    assert_eq!(scene.statistics().replay_errors, 1);
}

#[test]
fn a_replay_is_noticed_of_each_of_more_peers_than_before() {
    let peers: Vec<String> = (20..30).map(|host| format!("192.0.2.{host}")).collect();
    let named: Vec<&str> = peers.iter().map(String::as_str).collect();
    let mut scene = backup(Parameters { peers: unicast(&[PEER]).peers, ..enforcing() });
    scene.configure(Parameters { peers: unicast(&named).peers, ..enforcing() });
    scene.seal = Some((key(1), Sequence::at(unix(&scene, ms(0)))));
    named.iter().for_each(|peer| scene.hear(peer, 200));
    assert_eq!(scene.statistics().advertisement_rcvd, 10);
    named.iter().for_each(|peer| scene.hear(peer, 200));
    assert_eq!((scene.statistics().advertisement_rcvd, scene.statistics().replay_errors), (10, 10));
}

#[test]
fn a_replay_is_noticed_of_each_of_many_peers_on_either_path() {
    let host = |net: &str, host: u8| format!("{net}.{host}");
    let first: Vec<String> = (20..29).map(|each| host("192.0.2", each)).collect();
    let second: Vec<String> = (20..29).map(|each| host("198.51.100", each)).collect();
    let peers = unicast(&first.iter().map(String::as_str).collect::<Vec<_>>()).peers;
    let pairs = first.iter().zip(&second);
    let peer =
        |(router, address): (&String, &String)| SecondPeer { router: ip(router), address: ip(address) };
    let path = SecondPath { link: SECOND_LINK, peers: pairs.map(peer).collect(), witnesses: [].into() };
    let mut scene = backup(Parameters { peers, second_path: Some(path), ..enforcing() });
    scene.facts(Facts { second_source: Some(ip("198.51.100.2")), ..facts(OWN) });
    scene.seal = Some((key(1), Sequence::at(unix(&scene, ms(0)))));
    for replays in [0, 18] {
        first.iter().for_each(|source| scene.hear(source, 200));
        second.iter().for_each(|source| scene.hear_second(source, 200));
        assert_eq!((scene.statistics().advertisement_rcvd, scene.statistics().replay_errors), (18, replays));
    }
}

#[test]
fn as_many_octets_as_a_trailer_has_are_none_by_that_alone() {
    let mut scene = backup(parameters());
    let mut message = [0xaa; MESSAGE_MAX];
    let length = scene.node.advertisement(ROUTER, Priority::new(150), ip("224.0.0.18"), &mut message);
    let octets = length.expect("it can be sent") + 28;
    message[octets - 28..octets].fill(0xaa);
    scene.hear_octets(PEER, "224.0.0.18", &message[..octets]);
    assert_eq!(scene.statistics().packet_length_errors, 1);
    assert!(!scene.snapshot().alarms.contains(Alarm::AuthenticationMismatch));
}
