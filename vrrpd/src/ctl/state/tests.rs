use vrrp_proto::Priority;
use vrrp_proto::snapshot::Reason;

use super::*;
use crate::control::alarm::Alarm;
use crate::control::protocol::CheckState;
use crate::control::testing::{at, backup, router, state};

/// The table without what follows the last column's blanks, as lines.
fn lines(routers: Vec<VirtualRouter>) -> Vec<String> {
    text(&state(routers)).lines().map(str::to_owned).collect()
}

#[test]
fn a_healthy_pair_is_one_line_each() {
    let mut outside = backup();
    outside.name = "outside".to_owned();
    assert_eq!(
        lines(vec![router(), outside]),
        [
            "NAME       STATE   REASON           PRIORITY  ADDRESSES       INTERFACE  SINCE                 ACTIVE ROUTER",
            "bootstrap  ACTIVE  no_response      150/150   192.0.2.201/32  eth0       07:02:11 UTC (3 min)  this node",
            "outside    BACKUP  higher_priority  150/150   192.0.2.201/32  eth0       07:02:11 UTC (3 min)  192.0.2.194 (200)",
        ]
    );
}

#[test]
fn under_a_degraded_one_is_why_and_what_to_type() {
    let mut degraded = backup();
    degraded.reason = Reason::GaveWay;
    degraded.priority.effective = Priority::new(90);
    degraded.checks[0].state = CheckState::Failing;
    degraded.checks[0].message = "503 instead of 200".to_owned();
    degraded.checks[0].since = at("2026-11-23T07:02:08Z");
    assert_eq!(
        lines(vec![degraded]),
        [
            "NAME       STATE   REASON    PRIORITY  ADDRESSES       INTERFACE  SINCE                 ACTIVE ROUTER",
            "bootstrap  BACKUP  gave_way  90/150    192.0.2.201/32  eth0       07:02:11 UTC (3 min)  192.0.2.194 (200)",
            "  ! check registry is failing since 07:02:08 UTC (3 min): 503 instead of 200",
            "      -> vrrpctl check registry",
            "  ! priority 90 = 150 configured, -60 by check registry",
        ]
    );
}

#[test]
fn an_address_that_is_not_as_it_should_be_is_marked() {
    let column = |router: &VirtualRouter| addresses(router);
    let mut router = router();
    router.addresses[0].present = false;
    assert_eq!(column(&router), "192.0.2.201/32(missing)");
    router.state = StateName::Backup;
    assert_eq!(column(&router), "192.0.2.201/32");
    router.addresses[0].present = true;
    assert_eq!(column(&router), "192.0.2.201/32(present)");
    router.phase = Phase::Leaving;
    assert_eq!(column(&router), "192.0.2.201/32", "it answers until the successor is there");
    let nothing = VirtualRouter { addresses: Vec::new(), ..router.clone() };
    assert_eq!(column(&nothing), "-");
    router.addresses[0].foreign = true;
    assert_eq!(column(&router), "192.0.2.201/32(foreign)");
}

#[test]
fn many_addresses_do_not_widen_the_table() {
    let mut router = router();
    router.addresses = vec![router.addresses[0].clone(); 3];
    assert_eq!(addresses(&router), "192.0.2.201/32,192.0.2.201/32,192.0.2.201/32");
    router.addresses = vec![router.addresses[0].clone(); 12];
    assert_eq!(addresses(&router), "192.0.2.201/32,192.0.2.201/32,+10");
}

#[test]
fn what_concerns_the_daemon_comes_last_and_no_router_is_said() {
    let mut state = state(Vec::new());
    state.alarms.push(Alarm::peer_link_closed("no route"));
    let text = text(&state);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "no virtual router is configured");
    assert!(lines[2].starts_with("  ! the peer link is not open: no route"), "{text}");
    assert!(lines[3].starts_with("      -> it is tried again"), "{text}");
}

#[test]
fn a_message_cannot_look_like_a_line_of_ours() {
    let mut router = router();
    router.checks[0].state = CheckState::Failing;
    router.checks[0].message = "no\nbootstrap  ACTIVE".to_owned();
    assert!(lines(vec![router])[2].ends_with(": no bootstrap  ACTIVE"));
}
