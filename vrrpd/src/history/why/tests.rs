use std::time::Duration;

use vrrp_proto::Priority;
use vrrp_proto::snapshot::StateName;

use super::*;
use crate::control::protocol::ActiveRouter;
use crate::control::testing::{self, at, backup, router};

const NAME: &str = "bootstrap";

fn other(priority: u8) -> Option<ActiveRouter> {
    let address = "192.0.2.194".parse().expect("an address");
    Some(ActiveRouter { address, priority: Priority::new(priority), this_node: false })
}

fn transition(
    from: StateName,
    to: StateName,
    reason: Reason,
    priority: u8,
    peer: Option<ActiveRouter>,
) -> What {
    What::Transition {
        virtual_router: NAME.to_owned(),
        from,
        to,
        reason,
        priority: Priority::new(priority),
        active_router: peer,
        silent_ms: (reason == Reason::NoResponse).then_some(3609),
        moved_with: None,
    }
}

fn check(name: &str, to: CheckState, message: &str) -> What {
    What::CheckChanged {
        check: name.to_owned(),
        from: CheckState::Passing,
        to,
        message: message.to_owned(),
        virtual_routers: vec![NAME.to_owned()],
    }
}

fn priority(from: u8, to: u8, why: &str) -> What {
    What::PriorityChanged {
        virtual_router: NAME.to_owned(),
        from: Priority::new(from),
        to: Priority::new(to),
        why: why.to_owned(),
    }
}

/// A history of events on 2026-11-23.
fn history(events: impl IntoIterator<Item = (&'static str, What)>) -> History {
    let mut history = History::default();
    for (clock, what) in events {
        history.record(at(&format!("2026-11-23T{clock}Z")), what);
    }
    history
}

fn started() -> (&'static str, What) {
    ("06:00:00", What::Started { version: "0.1.0".to_owned() })
}

#[test]
fn a_silent_peer_is_named_with_its_priority_and_silence() {
    use StateName::{Active, Backup, Initialize};
    let history = history([
        started(),
        ("06:00:01", transition(Initialize, Backup, Reason::Startup, 150, None)),
        ("07:02:11", transition(Backup, Active, Reason::NoResponse, 150, other(200))),
    ]);
    assert_eq!(
        why(NAME, &testing::state(vec![router()]), &history),
        [
            "bootstrap is ACTIVE since 07:02:11 UTC (3 min): no advertisement from 192.0.2.194 (priority 200) for \
             3.609 s (was BACKUP)",
            "  at 06:00:01 UTC: bootstrap: INITIALIZE -> BACKUP: ready, and listening for an Active Router",
            "  because at 06:00:00 UTC: vrrpd 0.1.0 started",
        ]
    );
}

#[test]
fn a_failing_check_is_followed_from_the_transition_to_what_it_said() {
    use StateName::{Active, Backup};
    let mut given_way = backup();
    given_way.reason = Reason::GaveWay;
    given_way.active_router = other(100);
    given_way.priority.effective = Priority::new(90);
    given_way.checks[0].state = CheckState::Failing;
    given_way.checks[0].message = "503 instead of 200".to_owned();
    given_way.checks[0].since = at("2026-11-23T07:02:08Z");
    let history = history([
        started(),
        ("06:30:00", transition(Backup, Active, Reason::Preempted, 150, other(100))),
        ("06:40:00", check("files", CheckState::Failing, "an older story")),
        ("06:41:00", check("files", CheckState::Passing, "which is over")),
        ("07:02:08", check("registry", CheckState::Failing, "503 instead of 200")),
        ("07:02:08", priority(150, 90, "check registry is failing")),
        ("07:02:11", transition(Active, Backup, Reason::GaveWay, 90, other(100))),
    ]);
    assert_eq!(
        why(NAME, &testing::state(vec![given_way]), &history),
        [
            "bootstrap is BACKUP since 07:02:11 UTC (3 min): gave way to 192.0.2.194 (priority 100) with our \
             priority lowered to 90 (was ACTIVE)",
            "  because at 07:02:08 UTC: bootstrap: priority 150 -> 90: check registry is failing",
            "  because at 07:02:08 UTC: check registry is failing: 503 instead of 200",
            "  at 06:30:00 UTC: bootstrap: BACKUP -> ACTIVE: took over from 192.0.2.194 (priority 100), which is \
             below our priority 150",
            "  now ! check registry is failing since 07:02:08 UTC (3 min): 503 instead of 200",
            "      -> vrrpctl check registry",
            "  now ! priority 90 = 150 configured, -60 by check registry",
        ]
    );
}

#[test]
fn an_absence_is_the_cause_of_what_followed_it_and_of_nothing_later() {
    use StateName::{Active, Backup};
    let away = || What::Away { away_ms: 5_203, clock: vrrp_proto::absence::Clock::Monotonic };
    let lost = || What::AddressLost { virtual_router: NAME.to_owned(), address: "192.0.2.201/32".to_owned() };
    let began = || ("06:30:00", transition(Backup, Active, Reason::Preempted, 150, other(100)));
    let ended = || ("07:02:11", transition(Active, Backup, Reason::HigherPriority, 150, other(200)));
    let mut given_way = backup();
    given_way.reason = Reason::HigherPriority;
    given_way.active_router = other(200);
    let told = |events: Vec<(&'static str, What)>| {
        let lines = why(NAME, &testing::state(vec![given_way.clone()]), &history(events));
        lines.iter().any(|line| line.starts_with("  because") && line.contains("for 5.203 s"))
    };
    assert!(told(vec![began(), ("07:02:11", away()), ("07:02:11", lost()), ended()]));
    assert!(!told(vec![
        began(),
        ("06:40:00", away()),
        ("06:50:00", priority(150, 140, "configured")),
        ended()
    ]));
}

#[test]
fn a_lost_link_is_the_cause_and_the_remedy_is_named() {
    use StateName::{Active, Initialize};
    let mut down = router();
    (down.state, down.reason) = (StateName::Initialize, Reason::InterfaceDown);
    down.addresses[0].present = false;
    let link = |change| What::LinkChanged {
        interface: "eth0".to_owned(),
        change,
        virtual_routers: vec![NAME.to_owned()],
    };
    let history = history([
        ("07:02:10", link(LinkChange::CarrierLost)),
        ("07:02:11", transition(Active, Initialize, Reason::InterfaceDown, 150, None)),
    ]);
    assert_eq!(
        why(NAME, &testing::state(vec![down]), &history),
        [
            "bootstrap is INITIALIZE since 07:02:11 UTC (3 min): the interface is down or has no carrier (was ACTIVE)",
            "  because at 07:02:10 UTC: interface eth0 lost its carrier",
            "  now ! interface eth0 is down or has no carrier",
            "      -> ip link set eth0 up; look at the cable and the switch port",
        ]
    );
}

#[test]
fn causes_are_not_sought_before_the_state_that_they_ended() {
    use StateName::{Active, Backup, Initialize};
    let mut down = router();
    (down.state, down.reason) = (StateName::Initialize, Reason::CheckFailed);
    let history = history([
        ("06:00:00", check("files", CheckState::Failing, "long ago")),
        ("06:30:00", transition(Backup, Active, Reason::NoResponse, 150, None)),
        ("07:02:11", transition(Active, Initialize, Reason::CheckFailed, 150, None)),
    ]);
    let lines = why(NAME, &testing::state(vec![down]), &history);
    assert!(!lines.iter().any(|line| line.contains("long ago")), "{lines:#?}");
}

#[test]
fn other_routers_and_checks_are_left_out() {
    use StateName::{Active, Backup};
    let mut stranger = transition(Backup, Active, Reason::Priority, 1, None);
    if let What::Transition { virtual_router, .. } = &mut stranger {
        "outside".clone_into(virtual_router);
    }
    let mut foreign_check = check(NAME, CheckState::Failing, "a check that only shares the name");
    if let What::CheckChanged { virtual_routers, .. } = &mut foreign_check {
        virtual_routers.clear();
    }
    let history = history([
        ("07:02:10", foreign_check),
        ("07:02:11", transition(Backup, Active, Reason::NoResponse, 150, None)),
        ("07:04:00", stranger),
    ]);
    let lines = why(NAME, &testing::state(vec![router()]), &history);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("no advertisement from any other router"));
}

#[test]
fn a_history_that_has_wrapped_says_so() {
    let mut short = History::new(1);
    short.record(at("2026-11-23T06:00:00Z"), started().1);
    let what = What::SendRecovered { virtual_router: "outside".to_owned() };
    short.record(at("2026-11-23T07:04:00Z"), what);
    assert_eq!(
        why(NAME, &testing::state(vec![router()]), &short),
        [
            "bootstrap is ACTIVE since 07:02:11 UTC (3 min): no advertisement from any other router for the \
             Active_Down_Interval",
            "  what led to it is no longer in the history",
        ]
    );
}

#[test]
fn what_is_waited_for_is_the_last_line() {
    let mut waiting = backup();
    waiting.active_router = other(100);
    waiting.preempt_in_ms = Some(42_300);
    let lines = why(NAME, &testing::state(vec![waiting]), &history([started()]));
    assert_eq!(
        lines.last().map(String::as_str),
        Some("  now: takes over from 192.0.2.194 in 42 s (preempt_delay)")
    );
    assert!(lines[1].contains("because at 06:00:00 UTC: vrrpd 0.1.0 started"), "{lines:#?}");
}

#[test]
fn yesterday_has_a_date_and_an_unknown_router_no_story() {
    let mut old = router();
    old.since = at(testing::NOW).minus(Duration::from_secs(90_000));
    let state = testing::state(vec![old]);
    assert!(why(NAME, &state, &History::default())[0].contains("since 2026-11-22 06:05:11 UTC (1 d 1 h)"));
    assert!(why("nobody", &state, &History::default()).is_empty());
}
