//! The captures, heard by a node of ours that nobody there hears: it becomes what the story makes of
//! its priority, and when it does is exact.
//!
//! Router 1 has priority 200, resigns, and returns; meanwhile router 2 has priority 100; in the end both
//! are silent.

use std::time::Duration;

use vrrp_proto::action::{Input, Report};
use vrrp_proto::packet::{Advert, Datagram, Rules, Sighting};
use vrrp_proto::parameters::{Authentication, Parameters};
use vrrp_proto::snapshot::{Alarm, StateName};
use vrrp_proto::{AdverInterval, Family, Instant, Priority, Version};

use crate::pcap::{Frame, frames, names};
use crate::scene::{LINK, Scene, facts, with_addresses};
use crate::{UNICAST_HOP_LIMIT, lax_rules, least_hop_limit, password};

/// Who hears another Active Router answers once in this time.
const ANSWERED: Duration = Duration::from_millis(10);
/// The time of a scene when it begins, as [`Scene::new`] sets it.
const START: Instant = Instant::from_nanos(1_000_000_000_000);

/// A replayed capture.
struct Replay {
    scene: Scene,
    interval: AdverInterval,
    /// Every change of state with its time since the first advertisement, and its reason.
    told: Vec<(Duration, String)>,
    /// When which priority was heard.
    heard: Vec<(Duration, u8)>,
    /// When we advertised last.
    said: Option<Duration>,
    /// How many advertisements of another Active Router we answered, or had just answered.
    answers: usize,
}

impl Replay {
    fn new(name: &str, priority: u8) -> Self {
        let frames = frames("pcaps", name);
        let rules = lax_rules(name);
        let adverts: Vec<(&Frame, Datagram<'_>)> =
            frames.iter().filter_map(|frame| Some((frame, frame.datagram()?))).collect();
        let (start, first) = (adverts[0].0.at, &adverts[0].1);
        let advert = Advert::parse(first, &rules).expect(name);
        let addresses: Vec<String> = advert.addresses.iter().map(|address| address.to_string()).collect();
        let unicast = !first.destination.is_multicast();
        let parameters = Parameters {
            family: Family::of(first.source),
            priority: Priority::new(priority),
            interval: advert.interval,
            authentication: password(name).map_or(Authentication::None, Authentication::Password),
            // The other two, so that nobody is the only backup.
            peers: if unicast { [first.source, first.destination].into() } else { [].into() },
            ..with_addresses(&addresses.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let own = match (parameters.family, unicast) {
            (Family::Ipv4, _) => "192.0.2.3",
            (Family::Ipv6, false) => "fe80::3",
            (Family::Ipv6, true) => "2001:db8::3",
        };
        let mut scene = Scene::new(parameters);
        scene.facts(facts(own));
        scene.forget();
        let interval = advert.interval;
        let mut replay =
            Self { scene, interval, told: Vec::new(), heard: Vec::new(), said: None, answers: 0 };
        for frame in frames.iter().filter(|frame| frame.at >= start) {
            replay.hear(frame, frame.at - start, &rules);
        }
        let end = replay.heard.last().expect("advertisements").0 + 5 * interval.duration();
        replay.wait_until(end);
        replay
    }

    /// Since the first advertisement.
    fn now(&self) -> Duration {
        self.scene.now - START
    }

    fn hear(&mut self, frame: &Frame, at: Duration, rules: &Rules) {
        self.wait_until(at);
        self.scene.woke();
        let arrived = self.scene.now;
        if let Some(datagram) = frame.datagram() {
            let priority = Advert::parse(&datagram, rules).expect("understood").priority.get();
            self.heard.push((at, priority));
            let was_active = self.scene.state() == StateName::Active;
            self.scene.input(Input::Received { link: LINK, datagram, arrived });
            self.note();
            let answered = self.said.is_some_and(|said| at - said < ANSWERED);
            let stays = was_active && self.scene.state() == StateName::Active;
            self.answers += usize::from(stays && priority > 0 && answered);
        } else if let Some(sighting) = Sighting::from_arp(&frame.octets) {
            self.scene.sight(sighting, arrived);
        }
        self.scene.drained();
        self.note();
    }

    fn wait_until(&mut self, at: Duration) {
        while self.scene.node.poll_timeout().is_some_and(|due| due <= START + at) {
            self.scene.next_timeout();
            self.note();
        }
        self.scene.now = START + at;
    }

    fn note(&mut self) {
        let now = self.now();
        if !self.scene.advertised().is_empty() {
            self.said = Some(now);
        }
        for report in self.scene.reports() {
            if let Report::Transition { from, to, reason, .. } = report
                && from != to
            {
                self.told.push((now, format!("{} {}", to.as_str(), reason.as_str())));
            }
        }
        self.scene.forget();
    }

    /// When `priority` was heard first at or after a time.
    fn first(&self, priority: u8, since: Duration) -> Duration {
        let heard = self.heard.iter().find(|(at, heard)| *heard == priority && *at >= since);
        heard.expect("the story has it").0
    }

    fn last(&self) -> Duration {
        self.heard.last().expect("advertisements").0
    }
}

fn answers(replay: &Replay) -> bool {
    replay.interval.version() == Version::V3
}

fn told(expected: &[(Duration, &str)]) -> Vec<(Duration, String)> {
    expected.iter().map(|(at, words)| (*at, (*words).to_owned())).collect()
}

#[test]
fn who_ranks_below_both_claims_when_both_are_silent() {
    let own = Priority::new(50);
    for name in names("pcaps") {
        let replay = Replay::new(&name, own.get());
        let claim = replay.last() + replay.interval.active_down_interval(own);
        let mut expected = told(&[(claim, "active no_response")]);
        if name == "frr-v3-ipv6" {
            // Its router 2 says its first word more than an interval after router 1 resigned, and
            // at the return of router 1 nothing is missing.
            let farewell = replay.first(0, Duration::ZERO);
            let skew = replay.interval.skew_time(own);
            let spoke = replay.first(100, farewell);
            assert!(spoke > farewell + skew);
            let mut before = told(&[(farewell + skew, "active priority"), (spoke, "backup higher_priority")]);
            before.append(&mut expected);
            expected = before;
        }
        assert_eq!(replay.told, expected, "{name}");
    }
}

#[test]
fn who_ranks_between_holds_the_role_while_the_higher_one_is_away() {
    let own = Priority::new(150);
    for name in names("pcaps") {
        let replay = Replay::new(&name, own.get());
        let farewell = replay.first(0, Duration::ZERO);
        let expected = told(&[
            (farewell + replay.interval.skew_time(own), "active priority"),
            (replay.first(200, farewell), "backup higher_priority"),
            (replay.last() + replay.interval.active_down_interval(own), "active no_response"),
        ]);
        assert_eq!(replay.told, expected, "{name}");
        // Router 2 does not hear us: it goes on advertising, and is answered each time in VRRPv3.
        let lower = replay.heard.iter().filter(|(_, priority)| *priority == 100).count();
        assert_eq!(replay.answers, if answers(&replay) { lower } else { 0 }, "{name}");
    }
}

#[test]
fn who_ranks_above_both_preempts_and_stays() {
    let own = Priority::new(250);
    for name in names("pcaps") {
        let replay = Replay::new(&name, own.get());
        let claim = replay.interval.active_down_interval(own);
        assert_eq!(replay.told, told(&[(claim, "active preempted")]), "{name}");
        let after = replay.heard.iter().filter(|(at, priority)| *at > claim && *priority > 0).count();
        assert_eq!(replay.answers, if answers(&replay) { after } else { 0 }, "{name}");
    }
}

/// What is said of routers that are accepted although they do not keep to the letter.
#[test]
fn deviations_of_other_daemons_are_told_and_no_others() {
    for name in names("pcaps") {
        let replay = Replay::new(&name, 50);
        let alarms: Vec<Alarm> = replay.scene.snapshot().alarms.iter().map(|(alarm, _)| alarm).collect();
        let mut expected = Vec::new();
        if name.contains("ipv6") {
            expected.push(Alarm::LinkLocalMissing);
        }
        if least_hop_limit(&name) == UNICAST_HOP_LIMIT {
            expected.push(Alarm::HopLimitNot255);
        }
        assert_eq!(alarms, expected, "{name}");
    }
}
