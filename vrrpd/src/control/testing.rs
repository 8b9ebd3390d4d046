//! Values that the tests of this crate share: the two bootstrap nodes of the examples.

use std::time::Duration;

use vrrp_proto::snapshot::{self, Delivery, Phase, Reason, RouterSnapshot, StateName, Statistics};
use vrrp_proto::{AdverInterval, Family, Priority, Vrid};

use super::alarm::Alarm;
use super::describe;
use super::protocol::{Check, CheckState, Connections, Counted, Daemon, State, VERSION, VirtualRouter};
use super::time::{Span, WallTime};
use crate::config;

/// An alarm that a packet of `source` raised.
pub(crate) fn alarm(alarm: snapshot::Alarm, source: std::net::IpAddr) -> Alarm {
    Alarm::heard(alarm, &snapshot::Evidence::of(source), &config())
}

/// The present of every test.
pub(crate) const NOW: &str = "2026-11-23T07:05:11Z";

pub(crate) fn at(text: &str) -> WallTime {
    text.parse().expect("a time in a test")
}

pub(crate) fn config() -> config::VirtualRouter {
    config::VirtualRouter {
        name: "bootstrap".to_owned(),
        interface: "eth0".to_owned(),
        vrid: Vrid::new(201).expect("201 is in range"),
        family: Family::Ipv4,
        priority: Priority::new(150),
        advertisement_interval: AdverInterval::DEFAULT,
        authentication: None,
        addresses: vec![config::VirtualAddress {
            ip: "192.0.2.201".parse().expect("an address"),
            prefix_len: 32,
            interface: None,
            options: netlink::AddressOptions::default(),
        }],
        extra_addresses: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
        source_address: None,
        peers: Vec::new(),
        allowed_sources: Vec::new(),
        multicast_group: Family::Ipv4.group(),
        min_ttl: 255,
        second_path: None,
        witness: None,
        suspicion: false,
        ipv4_checksum: config::Ipv4Checksum::Auto,
        on_conflict: vrrp_proto::parameters::OnConflict::Claim,
        startup_delay: Duration::ZERO,
        carrier_delay: Duration::ZERO,
        preempt_mode: true,
        preempt_delay: Duration::ZERO,
        accept_mode: true,
        strict: false,
        virtual_mac: false,
        lease: config::Lease::Auto,
        checks: vec!["registry".to_owned()],
        track_interfaces: Vec::new(),
        hooks: Vec::new(),
        garp: config::Announcements {
            count: 5,
            interval: Duration::from_millis(100),
            second_after: Duration::from_secs(5),
            refresh: Duration::from_secs(60),
            refresh_count: 1,
            lower_priority_count: 5,
            lower_priority_second_after: Duration::from_secs(5),
            interfaces: Vec::new(),
            form: config::GarpForm::Request,
        },
    }
}

/// Active for three minutes, because the other node fell silent.
pub(crate) fn snapshot() -> RouterSnapshot {
    let address = "192.0.2.193".parse().expect("an address");
    RouterSnapshot {
        alarms: vrrp_proto::snapshot::Alarms::default(),
        checksum_form: vrrp_proto::packet::ChecksumForm::PseudoHeader,
        state: StateName::Active,
        reason: Reason::NoResponse,
        phase: Phase::Settled,
        standing: vrrp_proto::snapshot::Standing::Free,
        frozen: false,
        moved_with: None,
        waits_for: None,
        age: Duration::from_secs(180),
        priority: Priority::new(150),
        pending: false,
        heard: true,
        active_router: Some(vrrp_proto::snapshot::ActiveRouter {
            address,
            priority: Priority::new(150),
            this_node: true,
        }),
        active_adver_interval: AdverInterval::DEFAULT,
        preempt_in: None,
        source: Some(address),
        second_path: None,
        witness: None,
        suspicion: None,
        delivery: Delivery::Complete,
        delivery_age: Duration::from_secs(180),
        statistics: Statistics { advertisement_sent: 180, master_transitions: 1, ..Statistics::default() },
        discards: snapshot::Discards::default(),
        up: Some(Duration::from_secs(180)),
        last_event: snapshot::LastEvent::MasterTimeout,
        new_master_reason: snapshot::NewMasterReason::NoResponse,
        last_adv_source: "192.0.2.194".parse().ok(),
        active_down_interval: Duration::from_nanos(3_414_062_500),
        skew_time: Duration::from_nanos(414_062_500),
    }
}

pub(crate) fn check_config(name: &str) -> config::Check {
    config::Check {
        name: name.to_owned(),
        probe: config::Probe::Tcp(config::Tcp {
            address: "192.0.2.193:443".to_owned(),
            source: None,
            expect: None,
        }),
        preset: None,
        fast_interval: None,
        when: config::When::Always,
        interval: Duration::from_secs(2),
        timeout: Duration::from_millis(1500),
        rise: 2,
        fall: 3,
        effect: config::Effect::Demote,
    }
}

/// The check `registry`, passing for an hour.
pub(crate) fn check() -> Check {
    let now = at(NOW);
    Check {
        state: CheckState::Passing,
        weight: Some(-60),
        on_failure: None,
        message: "200 in 3 ms".to_owned(),
        since: now.minus(Duration::from_secs(3600)),
        last_run: Some(now.minus(Duration::from_millis(700))),
        ..describe::pending_check(&check_config("registry"), now)
    }
}

/// The virtual router `bootstrap`, Active and well.
pub(crate) fn router() -> VirtualRouter {
    let address = vrrp_proto::snapshot::AddressSnapshot {
        address: config().addresses[0].ip,
        present: true,
        foreign: false,
        refused: None,
    };
    describe::virtual_router(
        &config(),
        &snapshot(),
        &[address],
        vec![check()],
        Some(Duration::from_secs(2)),
        at("2026-11-23T07:00:00Z"),
        at(NOW),
    )
}

/// A Backup of the node 192.0.2.194, which has priority 200.
pub(crate) fn backup() -> VirtualRouter {
    let mut router = router();
    router.state = StateName::Backup;
    router.reason = Reason::HigherPriority;
    router.addresses[0].present = false;
    router.active_router = Some(super::protocol::ActiveRouter {
        address: "192.0.2.194".parse().expect("an address"),
        priority: Priority::new(200),
        this_node: false,
    });
    router
}

pub(crate) fn state(virtual_routers: Vec<VirtualRouter>) -> State {
    State {
        version: VERSION,
        time: at(NOW),
        node: "bootstrap-a".to_owned(),
        virtual_routers,
        alarms: Vec::new(),
        statistics: Counted {
            discontinuity_datetime: Some(at("2026-11-23T07:00:00Z")),
            counters: snapshot::GlobalStatistics { version_errors: 2, ..Default::default() },
        },
        fixed: Vec::new(),
        interfaces: Vec::new(),
        peers: Vec::new(),
        connections: Connections { ended: 3, told: 2, left_out: 0 },
        daemon: Daemon {
            loop_lateness_max_us: 120,
            reports_lost: 0,
            version: "0.1.0".to_owned(),
            pid: 4711,
            uptime: Span(Duration::from_secs(3700)),
            scheduling: "realtime".to_owned(),
        },
    }
}

/// `www.example.net`, which follows `bootstrap`, since two minutes.
pub(crate) fn dns_update(state: super::protocol::DnsState, message: &str) -> super::protocol::DnsUpdate {
    let now = at(NOW);
    super::protocol::DnsUpdate {
        name: "www".to_owned(),
        record: "www.example.net".to_owned(),
        kind: "A".to_owned(),
        value: "192.0.2.193".parse().expect("an address"),
        state,
        message: message.to_owned(),
        remedy: None,
        since: now.minus(Duration::from_secs(120)),
        confirmed: Some(now.minus(Duration::from_secs(12))),
    }
}
