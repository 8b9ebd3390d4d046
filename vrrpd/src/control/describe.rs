//! From what the protocol core knows to what users see.

use std::net::IpAddr;
use std::time::Duration;

use vrrp_proto::snapshot::{self, AddressSnapshot, Delivery, RouterSnapshot};
use vrrp_proto::tracking::TrackerState;

use super::alarm::Alarm;
use super::errno_words;
use super::protocol::{
    ActiveRouter, Address, Authentication, Check, CheckState, ClientLan, Counted, Discarded, Heard,
    LastSuspicion, OnFailure, Orders, Priorities, SecondPath, SendFailing, Suspicion, VirtualRouter, Witness,
};
use super::time::{Span, WallTime};
use crate::config;

/// One virtual router as users see it at `now`.
///
/// `counting_since` is when its counters were 0, `lease` the lifetime really given to its addresses, `checks`
/// those that its configuration names; names that follow it, its sync group, the fence and the device with its virtual
/// MAC address are the caller's to add. The alarms that follow from the snapshot are there; the operator's
/// orders are the caller's to add.
pub fn virtual_router(
    config: &config::VirtualRouter,
    snapshot: &RouterSnapshot,
    addresses: &[AddressSnapshot],
    checks: Vec<Check>,
    lease: Option<Duration>,
    counting_since: WallTime,
    now: WallTime,
) -> VirtualRouter {
    VirtualRouter {
        name: config.name.clone(),
        interface: config.interface.clone(),
        vrid: config.vrid.get(),
        family: config.family,
        vrrp_version: config.version().number(),
        authentication: config.authentication.as_ref().map(Authentication::from),
        state: snapshot.state,
        reason: snapshot.reason,
        since: now.minus(snapshot.age),
        phase: snapshot.phase,
        heard: snapshot.heard,
        pending: snapshot.pending,
        priority: Priorities { configured: config.priority, effective: snapshot.priority },
        preempt_mode: config.preempt_mode,
        preempt_in_ms: snapshot.preempt_in.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        active_router: snapshot.active_router.map(ActiveRouter::from),
        virtual_mac: None,
        addresses: config.addresses.iter().map(|address| virtual_address(address, addresses)).collect(),
        extra_addresses: config
            .extra_addresses
            .iter()
            .map(|address| virtual_address(address, addresses))
            .collect(),
        checks,
        dns_updates: Vec::new(),
        sync_group: None,
        routes: Vec::new(),
        rules: Vec::new(),
        alarms: alarms(config, snapshot, addresses, now),
        orders: Orders::default(),
        config_digest: String::new(),
        advertisement_interval: Span(config.advertisement_interval.duration()),
        active_adver_interval: Span(snapshot.active_adver_interval.duration()),
        source_address: snapshot.source,
        configured_source_address: config.source_address,
        peers: config.peers.clone(),
        multicast_group: config.peers.is_empty().then_some(config.multicast_group),
        second_path: config.second_path.as_ref().zip(snapshot.second_path).map(second_path),
        witness: snapshot.witness.map(witness),
        suspicion: snapshot.suspicion.map(suspicion),
        lease: lease.map(Span),
        fence: None,
        send_failing: match snapshot.delivery {
            Delivery::Failing { errno } => {
                Some(SendFailing { since: now.minus(snapshot.delivery_age), error: errno_words(errno) })
            }
            Delivery::Complete | Delivery::Partial { .. } => None,
        },
        statistics: Counted { discontinuity_datetime: Some(counting_since), counters: snapshot.statistics },
        discarded: Discarded::list(&snapshot.discards, now),
        is_owner: config.priority.is_owner(),
        last_adv_source: snapshot.last_adv_source,
        up_datetime: snapshot.up.map(|up| now.minus(up)),
        master_down_interval: clamped(snapshot.active_down_interval.as_millis() / 10),
        skew_time: clamped(snapshot.skew_time.as_micros()),
        last_event: snapshot.last_event.as_str().to_owned(),
        new_master_reason: snapshot.new_master_reason,
        protocol_error_reason: snapshot.discards.last_protocol_error().map(str::to_owned),
    }
}

fn clamped(number: u128) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn heard((by, ago): (IpAddr, Duration)) -> Heard {
    Heard { by, age_ms: u64::try_from(ago.as_millis()).unwrap_or(u64::MAX) }
}

fn witness(snapshot: snapshot::WitnessSnapshot) -> Witness {
    Witness {
        verdict: snapshot.verdict,
        peer: snapshot.peer.map(heard),
        witness: snapshot.witness.map(heard),
    }
}

fn suspicion(snapshot: snapshot::SuspicionSnapshot) -> Suspicion {
    let last = |it: snapshot::LastSuspicion| LastSuspicion {
        finding: it.finding,
        of: it.of,
        third: it.third,
        age_ms: u64::try_from(it.ago.as_millis()).unwrap_or(u64::MAX),
    };
    Suspicion { ready: snapshot.ready, last: snapshot.last.map(last) }
}

fn second_path((path, snapshot): (&config::SecondPath, snapshot::SecondPathSnapshot)) -> SecondPath {
    SecondPath {
        interface: path.interface.clone(),
        source_address: snapshot.source,
        heard_on_first: snapshot.heard_on_first.map(heard),
        heard_on_second: snapshot.heard_on_second.map(heard),
        client_lan: match snapshot.client_lan {
            TrackerState::Passing => ClientLan::Answers,
            TrackerState::Failing => ClientLan::Silent,
            TrackerState::Pending | TrackerState::Skipped => ClientLan::Unknown,
        },
        answered: snapshot.answered.map(heard),
    }
}

/// An interface that is tracked, as a check of the virtual router that does so.
pub fn tracked_interface(
    config: &config::TrackInterface,
    state: CheckState,
    message: &str,
    since: WallTime,
) -> Check {
    let (weight, on_failure) = effect(config.effect);
    Check {
        name: config.name(),
        kind: "interface".to_owned(),
        state,
        weight,
        on_failure,
        message: message.to_owned(),
        since,
        last_run: None,
        // The kernel tells of each change.
        interval: Span(Duration::ZERO),
        timeout: Span(Duration::ZERO),
        rise: 1,
        fall: 1,
    }
}

fn effect(effect: config::Effect) -> (Option<i16>, Option<OnFailure>) {
    match effect {
        config::Effect::Weight(weight) => (Some(weight), None),
        config::Effect::Demote => (None, Some(OnFailure::Demote)),
        config::Effect::Fault => (None, Some(OnFailure::Fault)),
        config::Effect::Alert => (None, Some(OnFailure::Alert)),
    }
}

/// A check that has not run yet.
pub fn pending_check(config: &config::Check, now: WallTime) -> Check {
    let (weight, on_failure) = effect(config.effect);
    Check {
        name: config.name.clone(),
        kind: config.probe.key().to_owned(),
        state: CheckState::Pending,
        weight,
        on_failure,
        message: "has not run yet".to_owned(),
        since: now,
        last_run: None,
        interval: Span(config.interval),
        timeout: Span(config.timeout),
        rise: config.rise,
        fall: config.fall,
    }
}

impl From<vrrp_proto::snapshot::ActiveRouter> for ActiveRouter {
    fn from(router: vrrp_proto::snapshot::ActiveRouter) -> Self {
        Self { address: router.address, priority: router.priority, this_node: router.this_node }
    }
}

/// An address that the snapshot does not know is one that is not there yet.
fn virtual_address(address: &config::VirtualAddress, snapshots: &[AddressSnapshot]) -> Address {
    let snapshot = snapshots.iter().find(|snapshot| snapshot.address == address.ip);
    Address {
        address: address.to_string(),
        interface: address.interface.clone(),
        present: snapshot.is_some_and(|snapshot| snapshot.present),
        foreign: snapshot.is_some_and(|snapshot| snapshot.foreign),
        refused: snapshot
            .filter(|snapshot| !snapshot.present)
            .and_then(|snapshot| snapshot.refused)
            .map(errno_words),
    }
}

fn alarms(
    config: &config::VirtualRouter,
    snapshot: &RouterSnapshot,
    addresses: &[AddressSnapshot],
    now: WallTime,
) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let own_among_peers = snapshot.source.filter(|own| config.peers.contains(own));
    alarms.extend(own_among_peers.map(Alarm::own_address_in_peers));
    if let (Some(path), Some(snapshot::SecondPathSnapshot { source: None, .. })) =
        (&config.second_path, snapshot.second_path)
    {
        alarms.push(Alarm::second_path_down(&path.interface));
    }
    let interface = &config.interface;
    match snapshot.delivery {
        Delivery::Complete => {}
        Delivery::Partial { errno } => alarms.push(Alarm::cannot_send_to_peer(interface, errno)),
        Delivery::Failing { errno } => alarms.push(Alarm::cannot_send(interface, errno)),
    }
    for address in addresses {
        let mut every = config.addresses.iter().chain(&config.extra_addresses);
        let Some(configured) = every.find(|configured| configured.ip == address.address) else { continue };
        let text = configured.to_string();
        let interface = configured.interface.as_ref().unwrap_or(interface);
        match address.refused {
            Some(errno) if !address.present => alarms.push(Alarm::address_refused(&text, interface, errno)),
            _ if address.present && address.foreign && !config.priority.is_owner() => {
                // The owner's addresses are the administrator's; everywhere else this is an accident.
                alarms.push(Alarm::foreign_address(&text, interface));
            }
            _ => {}
        }
    }
    let raised =
        |(alarm, raised): (snapshot::Alarm, snapshot::Raised)| Alarm::raised(alarm, &raised, config, now);
    alarms.extend(snapshot.alarms.iter().map(raised));
    alarms
}

#[cfg(test)]
mod tests {
    use vrrp_proto::MacAddress;
    use vrrp_proto::snapshot::{Evidence, Raised, Value};

    use super::*;
    use crate::control::alarm::Level;
    use crate::control::testing;

    #[test]
    fn a_failing_transmission_and_a_refused_address_are_alarms() {
        let config = testing::config();
        let mut snapshot = testing::snapshot();
        snapshot.delivery = Delivery::Failing { errno: libc::EPERM };
        snapshot.delivery_age = Duration::from_secs(2);
        let address = AddressSnapshot {
            address: config.addresses[0].ip,
            present: false,
            foreign: false,
            refused: Some(libc::EACCES),
        };
        let now = testing::at("2026-11-23T07:05:11Z");
        let router = virtual_router(&config, &snapshot, &[address], Vec::new(), None, now, now);
        let names: Vec<(&str, Level)> =
            router.alarms.iter().map(|alarm| (alarm.name.as_str(), alarm.level)).collect();
        assert_eq!(names, [("cannot_send", Level::Critical), ("address_refused", Level::Degraded)]);
        assert_eq!(router.addresses[0].refused.as_deref(), Some("permission denied (EACCES)"));
        let failing = router.send_failing.expect("sending fails");
        assert_eq!(failing.since, testing::at("2026-11-23T07:05:09Z"));
        assert_eq!(failing.error, "operation not permitted (EPERM)");
        assert_eq!(router.since, now.minus(snapshot.age));
    }

    #[test]
    fn a_peer_that_cannot_be_sent_to_is_an_alarm_but_no_failing_transmission() {
        let mut snapshot = testing::snapshot();
        snapshot.delivery = Delivery::Partial { errno: libc::EPERM };
        let now = testing::at("2026-11-23T07:05:11Z");
        let router = virtual_router(&testing::config(), &snapshot, &[], Vec::new(), None, now, now);
        let names: Vec<&str> = router.alarms.iter().map(|alarm| alarm.name.as_str()).collect();
        assert_eq!((names, router.send_failing), (vec!["cannot_send_to_peer"], None));
    }

    #[test]
    fn a_node_among_its_own_peers_is_an_alarm() {
        let (config, snapshot) = (testing::config(), testing::snapshot());
        let peers = vec![snapshot.source.expect("it is Active")];
        let config = config::VirtualRouter { peers, ..config };
        let now = testing::at("2026-11-23T07:05:11Z");
        let router = virtual_router(&config, &snapshot, &[], Vec::new(), None, now, now);
        let names: Vec<&str> = router.alarms.iter().map(|alarm| alarm.name.as_str()).collect();
        assert_eq!(names, ["own_address_in_peers"]);
    }

    #[test]
    fn another_station_with_the_address_is_an_alarm_that_says_which_and_how_long_ago() {
        let mut snapshot = testing::snapshot();
        let theirs = Value::Mac(MacAddress::new([2, 0, 0, 0, 0, 9]));
        let evidence = Evidence { theirs, ..Evidence::of(testing::config().addresses[0].ip) };
        let (age, seen) = (Duration::from_secs(60), Duration::from_millis(3_900));
        snapshot.alarms.set(snapshot::Alarm::AddressConflict, Some(Raised { evidence, age, seen }));
        let now = testing::at("2026-11-23T07:05:11Z");
        let router = virtual_router(&testing::config(), &snapshot, &[], Vec::new(), None, now, now);
        assert_eq!(router.alarms.len(), 1);
        let alarm = &router.alarms[0];
        let (name, message) = (&alarm.name, alarm.sentence(now));
        assert_eq!(name, "address_conflict");
        assert!(message.starts_with("02:00:00:00:00:09 on eth0 claims 192.0.2.201 too"), "{message}");
        assert!(message.ends_with("(seen 3.9 s ago)"), "{message}");
        assert_eq!(alarm.theirs.as_deref(), Some("02:00:00:00:00:09"));
    }

    #[test]
    fn a_foreign_address_is_an_alarm_except_for_the_owner() {
        let mut config = testing::config();
        let address =
            AddressSnapshot { address: config.addresses[0].ip, present: true, foreign: true, refused: None };
        let now = testing::at("2026-11-23T07:05:11Z");
        let describe =
            |config: &_| virtual_router(config, &testing::snapshot(), &[address], Vec::new(), None, now, now);
        assert_eq!(describe(&config).alarms[0].name, "foreign_address");
        assert!(describe(&config).addresses[0].foreign);
        config.priority = vrrp_proto::Priority::OWNER;
        assert_eq!(describe(&config).alarms, []);
    }

    #[test]
    fn a_check_has_a_weight_or_an_effect() {
        let mut config = testing::check_config("registry");
        let now = testing::at("2026-11-23T07:05:11Z");
        let check = pending_check(&config, now);
        assert_eq!(
            (check.state, check.weight, check.on_failure),
            (CheckState::Pending, None, Some(OnFailure::Demote))
        );
        config.effect = config::Effect::Weight(-60);
        let check = pending_check(&config, now);
        assert_eq!((check.weight, check.on_failure), (Some(-60), None));
    }
}
