use std::collections::BTreeMap;

use vrrp_proto::Priority;

use super::*;
use crate::control::alarm::Alarm;
use crate::control::protocol::{By, Fitness, Frozen, Witness, Yielded};
use crate::control::testing::{self, at, backup, router};

fn of(router: &VirtualRouter) -> (Level, Vec<String>) {
    let findings = findings(router, at(testing::NOW));
    (level(&findings), findings.into_iter().map(|finding| finding.message).collect())
}

#[test]
fn a_healthy_pair_has_nothing_to_say() {
    assert_eq!(of(&router()), (Level::Fine, vec![]));
    assert_eq!(of(&backup()), (Level::Fine, vec![]));
    assert_eq!(overall(&testing::state(vec![router(), backup()])).exit_code(), 0);
}

#[test]
fn the_worst_of_all_is_the_exit_code() {
    let mut lost = router();
    lost.addresses[0].present = false;
    assert_eq!(overall(&testing::state(vec![router(), lost])).exit_code(), 2);
    let mut state = testing::state(vec![router()]);
    state.alarms.push(Alarm::peer_link_closed("no route"));
    assert_eq!(overall(&state).exit_code(), 1);
}

#[test]
fn initialize_is_critical_unless_it_is_wanted() {
    for (reason, level) in [
        (Reason::InterfaceMissing, Level::Critical),
        (Reason::InterfaceDown, Level::Critical),
        (Reason::NoPrimaryIpAddress, Level::Critical),
        (Reason::NoVirtualIpAddresses, Level::Critical),
        (Reason::NoVirtualMac, Level::Critical),
        (Reason::CheckFailed, Level::Critical),
        (Reason::AddressRefused, Level::Critical),
        (Reason::StartupDelay, Level::Degraded),
        (Reason::CarrierDelay, Level::Degraded),
        (Reason::Shutdown, Level::Degraded),
    ] {
        let mut router = router();
        (router.state, router.reason) = (StateName::Initialize, reason);
        assert_eq!(of(&router).0, level, "{reason:?}");
    }
}

#[test]
fn a_lease_that_outlasts_the_wait_of_a_backup_is_told() {
    let at_interval = |ms: u64, lease: Option<u64>| {
        let mut router = router();
        router.advertisement_interval = Span(Duration::from_millis(ms));
        router.lease = lease.map(|seconds| Span(Duration::from_secs(seconds)));
        router
    };
    let told =
        "if vrrpd dies here, the kernel keeps the addresses for up to 3s; a backup claims them after 300ms";
    assert_eq!(of(&at_interval(100, Some(2))), (Level::Fine, vec![told.to_owned()]));
    let backup = VirtualRouter { state: StateName::Backup, ..at_interval(100, Some(2)) };
    for fine in [backup, at_interval(1000, Some(2)), at_interval(2000, Some(5)), at_interval(100, None)] {
        assert_eq!(of(&fine), (Level::Fine, vec![]));
    }
    assert_eq!(of(&at_interval(990, Some(2))).1.len(), 1);
    let fenced = |ms| {
        let fence = Some(Span(Duration::from_millis(ms)));
        VirtualRouter { fence, ..at_interval(100, Some(2)) }
    };
    assert_eq!(of(&fenced(280)).1.len(), 0, "whatever the lifetime beneath");
    assert_eq!(of(&fenced(700)).1.len(), 1);
}

#[test]
fn a_missing_address_counts_only_when_it_should_be_there() {
    let mut router = router();
    router.addresses[0].present = false;
    assert_eq!(of(&router), (Level::Critical, vec!["Active without 192.0.2.201/32".to_owned()]));
    router.phase = Phase::Claiming;
    assert_eq!(of(&router).0, Level::Fine);
}

#[test]
fn a_backup_that_heard_nothing_is_degraded() {
    let mut backup = backup();
    backup.heard = false;
    backup.active_router = None;
    let (level, messages) = of(&backup);
    assert_eq!(level, Level::Degraded);
    assert!(messages[0].starts_with("nothing heard yet"), "{messages:?}");
}

#[test]
fn a_refused_address_is_critical_when_nobody_else_is_active() {
    let mut backup = backup();
    backup.reason = Reason::AddressRefused;
    assert_eq!(of(&backup).0, Level::Degraded);
    backup.active_router = None;
    assert_eq!(of(&backup).0, Level::Critical);
}

#[test]
fn a_router_that_cannot_send_is_critical() {
    let mut backup = backup();
    backup.reason = Reason::CannotSend;
    assert_eq!(of(&backup).0, Level::Critical);
    let mut active = router();
    active.alarms.push(Alarm::cannot_send("eth0", libc::EPERM));
    assert_eq!(of(&active).0, Level::Critical);
}

#[test]
fn witnesses_are_named_with_their_last_answers_and_told_of_when_they_do_not_count() {
    let heard = |by: &str, age_ms| Heard { by: by.parse().expect("an address"), age_ms };
    let (peer, gateway) = (heard("192.0.2.194", 300), heard("192.0.2.1", 90_000));
    let told = |verdict, witness| {
        let mut router = backup();
        router.witness = Some(Witness { verdict, peer: Some(peer), witness });
        of(&router)
    };
    let (level, answered) = told(Verdict::Answered, Some(gateway));
    assert_eq!(level, Level::Fine);
    assert!(answered[0].contains("192.0.2.1 answered 90 s ago, 192.0.2.194 answered"), "{answered:?}");
    let (level, never) = told(Verdict::Unknown, None);
    assert_eq!(level, Level::Fine);
    assert!(never[0].contains("no witness has answered yet, 192.0.2.194"), "{never:?}");
    let (level, uncounted) = told(Verdict::Uncounted, None);
    assert_eq!(level, Level::Degraded);
    assert!(uncounted[0].starts_with("witnesses do not count at present"), "{uncounted:?}");
}

#[test]
fn a_failing_check_explains_the_priority() {
    let mut backup = backup();
    backup.priority.effective = Priority::new(90);
    backup.checks[0].state = CheckState::Failing;
    backup.checks[0].message = "503 instead of 200".to_owned();
    assert_eq!(
        of(&backup),
        (
            Level::Degraded,
            vec![
                "check registry is failing since 06:05:11 UTC (1 h): 503 instead of 200".to_owned(),
                "priority 90 = 150 configured, -60 by check registry".to_owned(),
            ]
        )
    );
}

#[test]
fn a_pending_check_is_degraded_only_when_it_is_late() {
    let now = at(testing::NOW);
    let mut router = router();
    router.checks[0].state = CheckState::Pending;
    // At most six runs of 2 s, one timeout of 1.5 s and 5 s to spare.
    router.checks[0].since = now.minus(Duration::from_secs(18));
    assert_eq!(of(&router).0, Level::Fine);
    router.checks[0].since = now.minus(Duration::from_secs(19));
    assert_eq!(of(&router).0, Level::Degraded);
}

#[test]
fn a_raised_priority_is_no_fault() {
    let mut router = router();
    router.priority.effective = Priority::new(160);
    assert_eq!(of(&router).0, Level::Fine);
}

#[test]
fn a_backup_of_higher_priority_says_what_it_waits_for() {
    let mut waiting = backup();
    waiting.active_router = waiting
        .active_router
        .map(|active| super::super::protocol::ActiveRouter { priority: Priority::new(100), ..active });
    waiting.preempt_in_ms = Some(42_300);
    assert_eq!(
        of(&waiting),
        (Level::Fine, vec!["takes over from 192.0.2.194 in 42 s (preempt_delay)".to_owned()])
    );
    waiting.preempt_in_ms = None;
    waiting.pending = true;
    assert_eq!(
        of(&waiting).1,
        ["priority 150 is above that of 192.0.2.194 (100); takes over when its checks have passed"]
    );
    waiting.preempt_mode = false;
    assert_eq!(
        of(&waiting).1,
        ["priority 150 is above that of 192.0.2.194 (100), but preempt_mode = false leaves it alone"]
    );
}

#[test]
fn each_finding_that_is_not_fine_names_a_remedy_or_an_end() {
    for reason in
        [Reason::InterfaceMissing, Reason::InterfaceDown, Reason::NoPrimaryIpAddress, Reason::CheckFailed]
    {
        let mut router = router();
        (router.state, router.reason) = (StateName::Initialize, reason);
        let findings = findings(&router, at(testing::NOW));
        assert!(findings.iter().all(|finding| finding.remedy.is_some()), "{findings:?}");
    }
}

#[test]
fn a_name_that_does_not_follow_is_degraded_and_critical_where_it_is_all_that_moves() {
    let with = |state: DnsState, message: &str| {
        let mut router = router();
        router.dns_updates = vec![testing::dns_update(state, message)];
        router
    };
    assert_eq!(of(&with(DnsState::Standby, "the virtual router is not Active here")), (Level::Fine, vec![]));
    let right = with(DnsState::Confirmed, "www.example.net A is 192.0.2.193 at 192.0.2.192:53");
    let said = "dns_update www: www.example.net A is 192.0.2.193 at 192.0.2.192:53 (seen 12 s ago)";
    assert_eq!(of(&right), (Level::Fine, vec![said.to_owned()]));

    let mut failing = with(DnsState::Failing, "REFUSED: x");
    let said = "dns_update www is failing since 07:03:11 UTC (2 min): REFUSED: x";
    assert_eq!(of(&failing), (Level::Degraded, vec![said.to_owned()]));
    failing.addresses.clear();
    assert_eq!(of(&failing).0, Level::Critical);
}

fn by() -> By {
    let reason = Some("new kernel".to_owned());
    By { uid: 0, user: Some("root".to_owned()), node: None, at: at("2026-11-23T07:02:11Z"), reason }
}

fn told(router: &VirtualRouter) -> Vec<(Level, String, Option<String>)> {
    let findings = findings(router, at(testing::NOW)).into_iter();
    findings.map(|finding| (finding.level, finding.message, finding.remedy)).collect()
}

#[test]
fn an_order_is_shown_with_who_when_and_why() {
    let mut drained = testing::backup();
    drained.state = StateName::Initialize;
    drained.reason = Reason::Drained;
    drained.orders.drained = Some(by());
    assert_eq!(
        told(&drained),
        [(
            Level::Degraded,
            "drained by root (uid 0) at 07:02:11 UTC (3 min): new kernel".to_owned(),
            Some("vrrpctl undrain bootstrap".to_owned())
        )]
    );

    let mut frozen = testing::router();
    let until = at("2026-11-23T09:02:11Z");
    frozen.orders.frozen = Some(Frozen { by: by(), until, checks: BTreeMap::new() });
    let (level, message, remedy) = told(&frozen).remove(0);
    assert_eq!((level, remedy.as_deref()), (Level::Degraded, Some("vrrpctl unfreeze bootstrap")));
    assert!(
        message.starts_with("checks are frozen until 09:02:11 UTC") && message.contains("kernel"),
        "{message}"
    );

    let mut yielded = testing::backup();
    let to = "192.0.2.194".parse().expect("an address");
    yielded.orders.yielded = Some(Yielded { by: by(), to });
    let (level, message, _) = told(&yielded).remove(0);
    assert_eq!(level, Level::Fine);
    assert!(message.contains("192.0.2.194") && message.contains("root"), "{message}");
}

fn peer(unfit: &[&str]) -> PeerNode {
    let router = testing::backup();
    PeerNode {
        address: "192.0.2.194:9112".parse().expect("an address"),
        node: Some("bootstrap-b".to_owned()),
        age_ms: Some(400),
        received: 7,
        refused: 0,
        last_refusal: None,
        virtual_routers: vec![Fitness {
            name: router.name,
            vrid: router.vrid,
            family: router.family,
            state: router.state,
            reason: router.reason,
            priority: router.priority,
            unfit: unfit.iter().map(|why| (*why).to_owned()).collect(),
            drained: false,
            frozen: false,
            yielded: false,
            config_digest: "0123456789abcdef".to_owned(),
        }],
    }
}

#[test]
fn a_peer_is_shown_with_its_age_and_what_it_lacks() {
    let line = |peer: PeerNode| {
        let mut state = testing::state(vec![testing::router()]);
        state.peers = vec![peer];
        let finding = all_findings(&state, &state.virtual_routers[0]).pop().expect("a line for the peer");
        (finding.level, finding.message)
    };
    let fit = "peer bootstrap-b (192.0.2.194:9112): BACKUP 150/150, fit (0.4 s ago)".to_owned();
    assert_eq!(line(peer(&[])), (Level::Fine, fit));
    let (level, message) = line(peer(&["check registry is failing: 503"]));
    assert_eq!(level, Level::Degraded);
    assert!(message.contains("not fit: check registry is failing: 503 (0.4 s ago)"), "{message}");
    let silent = PeerNode { age_ms: Some(60_000), last_refusal: Some("its key".to_owned()), ..peer(&[]) };
    let (level, message) = line(silent);
    assert_eq!(level, Level::Degraded);
    assert!(message.contains("nothing heard") && message.contains("its key"), "{message}");
    let mut other = peer(&[]);
    other.virtual_routers[0].vrid = 7;
    assert!(line(other).1.contains("has no virtual router with VRID 201"));
}

#[test]
fn a_counterpart_goes_by_name_where_the_vrid_is_not_enough() {
    let mut two = peer(&[]);
    let mut second = two.virtual_routers[0].clone();
    second.name = "outside".to_owned();
    two.virtual_routers.push(second);
    let name = |peer: &PeerNode, name: &str| {
        peer.counterpart(name, 201, vrrp_proto::Family::Ipv4).map(|it| it.name.clone())
    };
    assert_eq!(name(&two, "outside").as_deref(), Some("outside"));
    assert_eq!(name(&two, "inside"), None, "either could be meant");
    assert_eq!(name(&peer(&[]), "inside").as_deref(), Some("bootstrap"), "there is one only");
}
