//! One sentence for each event.

use std::fmt;

use vrrp_proto::Priority;
use vrrp_proto::absence::Clock;
use vrrp_proto::snapshot::{Finding, Reason, StateName};

use super::{Event, LinkChange, What};
use crate::control::protocol::{ActiveRouter, state_word};

impl fmt::Display for Event {
    /// `2026-11-23 07:02:11.123 UTC  bootstrap: BACKUP -> ACTIVE: no advertisement from ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.time.full(), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { version } => write!(f, "vrrpd {version} started"),
            Self::Away { away_ms, clock } => {
                let (seconds, rest) = (away_ms / 1000, away_ms % 1000);
                match clock {
                    Clock::Monotonic => write!(f, "vrrpd was stopped or starved for {seconds}.{rest:03} s")?,
                    Clock::Boot => write!(f, "this machine was suspended for {seconds}.{rest:03} s")?,
                    Clock::Wall => write!(
                        f,
                        "the wall clock went ahead by {seconds}.{rest:03} s: somebody set it, or this \
                         machine was paused"
                    )?,
                }
                f.write_str("; it listened before it spoke or claimed")
            }
            Self::Transition {
                virtual_router,
                from,
                to,
                reason,
                priority,
                active_router,
                silent_ms,
                moved_with,
            } => {
                let because = match moved_with {
                    Some(other) => moved_with_words(other),
                    None => because(*to, *reason, *priority, active_router.as_ref(), *silent_ms),
                };
                write!(f, "{virtual_router}: {} -> {}: {because}", state_word(*from), state_word(*to))
            }
            Self::CheckChanged { check, to, message, .. } => {
                write!(f, "check {check} is {}: {message}", to.as_str())
            }
            Self::AddressLost { virtual_router, address } => {
                write!(f, "{virtual_router}: somebody else removed {address}; putting it back")
            }
            Self::Asking { virtual_router, ordered: true, .. } => {
                write!(f, "{virtual_router}: resigned by order, to let another router take over")
            }
            Self::Asking { virtual_router, priority, ordered: false } => {
                write!(
                    f,
                    "{virtual_router}: resigned at priority {priority} to let a better router take over"
                )
            }
            Self::Suspected { virtual_router, of, silent_ms, finding, third } => {
                let silent = seconds(*silent_ms);
                write!(f, "{virtual_router}: suspected {of} after {silent} without an advertisement: ")?;
                match (finding, third) {
                    (Finding::Dead, Some(third)) => {
                        write!(f, "no answer from {of}, third station {third} answered; its host is dead")
                    }
                    (Finding::Dead, None) => write!(f, "no answer from {of}; its host is dead"),
                    (Finding::Answered, _) => {
                        write!(f, "{of} answered, so the Active_Down_Interval holds")
                    }
                    (Finding::Unwitnessed, _) => write!(
                        f,
                        "no answer from {of} nor from a third station, so the Active_Down_Interval holds"
                    ),
                }
            }
            Self::Kept { virtual_router, rival: None } => {
                write!(f, "{virtual_router}: no other router took over; went on as Active")
            }
            Self::Kept { virtual_router, rival: Some(rival) } => {
                write!(
                    f,
                    "{virtual_router}: {} (priority {}) would not be better; went on as Active",
                    rival.address, rival.priority
                )
            }
            Self::HandedOver { virtual_router, handover } => {
                write!(f, "{virtual_router}: handed over: {handover}")
            }
            Self::OrderFailed { virtual_router, command, message } => {
                write!(f, "{virtual_router}: {command} was not obeyed: {message}")
            }
            Self::FreezeEnded { virtual_router, expired } => {
                let why = if *expired { "its time is over" } else { "by order" };
                write!(f, "{virtual_router}: the freeze has ended, {why}; checks count as they are now")
            }
            Self::AddressRefused { virtual_router, address, error } => {
                write!(f, "{virtual_router}: the kernel refused {address}: {error}")
            }
            Self::RoutePutBack { virtual_router, route } => {
                let prefix = Prefix(virtual_router.as_deref());
                write!(f, "{prefix}somebody else removed {route}; it is there again")
            }
            Self::RouteRefused { virtual_router, route, error } => {
                write!(f, "{}{route} cannot be had: {error}", Prefix(virtual_router.as_deref()))
            }
            Self::LinkChanged { interface, change, .. } => write!(f, "interface {interface} {change}"),
            Self::PriorityChanged { virtual_router, from, to, why } => {
                write!(f, "{virtual_router}: priority {from} -> {to}: {why}")
            }
            Self::AlarmRaised { virtual_router, name, message } => {
                write!(f, "{}alarm {name}: {message}", Prefix(virtual_router.as_deref()))
            }
            Self::AlarmCleared { virtual_router, name } => {
                write!(f, "{}alarm {name} is over", Prefix(virtual_router.as_deref()))
            }
            Self::Command { uid, command, reason } => {
                match uid {
                    Some(uid) => write!(f, "uid {uid} asked: {command}")?,
                    None => write!(f, "received {command}")?,
                }
                reason.as_ref().map_or(Ok(()), |reason| write!(f, " (reason: {reason})"))
            }
            Self::Reloaded { changes } if changes.is_empty() => f.write_str("reloaded; nothing changed"),
            Self::Reloaded { changes } => write!(f, "reloaded: {}", changes.join("; ")),
            Self::ReloadRefused { diagnostics } => {
                write!(f, "reload refused, nothing changed: {}", one_line(diagnostics))
            }
            Self::HookFailed { hook, virtual_router, message } => {
                write!(f, "{virtual_router}: hook {hook} failed: {message}")
            }
            Self::DnsUpdated { dns_update, virtual_router, record, value, was, server, again } => {
                let was: Vec<String> = was.iter().map(ToString::to_string).collect();
                let was = if was.is_empty() { "nothing".to_owned() } else { was.join(", ") };
                let how = if *again { "again, after somebody else had made it" } else { "in place of" };
                write!(
                    f,
                    "{virtual_router}: dns_update {dns_update}: {record} is {value} at {server}, {how} {was}"
                )
            }
            Self::DnsUpdateFailed { dns_update, virtual_router, message } => {
                write!(f, "{virtual_router}: dns_update {dns_update} fails: {message}")
            }
            Self::SendFailing { virtual_router, error } => {
                write!(f, "{virtual_router}: advertisements cannot be sent: {error}")
            }
            Self::SendPartlyFailing { virtual_router, error } => {
                write!(f, "{virtual_router}: advertisements cannot be sent to some of the peers: {error}")
            }
            Self::SendRecovered { virtual_router } => {
                write!(f, "{virtual_router}: advertisements are sent again")
            }
        }
    }
}

impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Appeared => "appeared",
            Self::Vanished => "vanished",
            Self::Up => "is up",
            Self::Down => "was set down",
            Self::CarrierLost => "lost its carrier",
            Self::MacChanged => "changed its hardware address",
            Self::SourceAddressFound => "has an address to send from",
            Self::SourceAddressLost => "has no address to send from any more",
        })
    }
}

/// `name: `, or nothing.
struct Prefix<'a>(Option<&'a str>);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, "{name}: "))
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// Why a virtual router went to a state: another one of its sync group did.
pub(super) fn moved_with_words(other: &str) -> String {
    format!("moved with {other}, of the same sync group")
}

/// Why a virtual router went `to` a state.
pub(super) fn because(
    to: StateName,
    reason: Reason,
    ours: Priority,
    other: Option<&ActiveRouter>,
    silent_ms: Option<u64>,
) -> String {
    let other = other.filter(|router| !router.this_node);
    let named = other.map(|router| format!("{} (priority {})", router.address, router.priority));
    let who = named.as_deref().unwrap_or("any other router");
    match reason {
        Reason::Priority if ours.is_owner() => "this node owns the addresses".to_owned(),
        Reason::Priority => match named {
            Some(named) => format!("{named} gave the role up"),
            None => "the Active Router gave the role up".to_owned(),
        },
        Reason::Preempted => match named {
            Some(named) => format!("took over from {named}, which is below our priority {ours}"),
            None => format!("took over from a router below our priority {ours}"),
        },
        Reason::NoResponse => match silent_ms {
            Some(ms) => format!("no advertisement from {who} for {}", seconds(ms)),
            None => format!("no advertisement from {who} for the Active_Down_Interval"),
        },
        Reason::Suspected => {
            let time = silent_ms.map_or(String::new(), |ms| format!(" for {}", seconds(ms)));
            format!(
                "no advertisement from {who}{time}, and no answer from its host while a third station answered"
            )
        }
        Reason::Resumed => "went on after a restart, before any backup can have claimed".to_owned(),
        Reason::NoBetterRouter => format!("asked for a better router than priority {ours}; none answered"),
        Reason::Startup => "ready, and listening for an Active Router".to_owned(),
        Reason::HigherPriority => match other {
            Some(router) if router.priority == ours => {
                format!("{} is Active with the same priority {ours} and ranks higher", router.address)
            }
            // A Backup without preempt_mode also follows a router of lower priority.
            Some(router) if to == StateName::Backup && router.priority < ours => {
                format!("{who} is Active")
            }
            Some(_) => format!("{who} is Active, our priority is {ours}"),
            None => format!("a router above our priority {ours} is Active"),
        },
        Reason::GaveWay => match named {
            Some(named) => format!("gave way to {named} with our priority lowered to {ours}"),
            None => format!("gave way with the priority lowered to {ours}"),
        },
        Reason::HandedOver => match named {
            Some(named) => format!("handed over to {named} by the operator's order"),
            None => "handed over by the operator's order".to_owned(),
        },
        Reason::AddressRefused => "the kernel refused an address; tries again later".to_owned(),
        Reason::CannotSend => "advertisements could not be sent; tries again later".to_owned(),
        Reason::Isolated => {
            "cut off: neither a peer nor a witness answers, so nothing is claimed or held".to_owned()
        }
        Reason::SyncGroup => "moved with another member of its sync group".to_owned(),
        Reason::StartupDelay => "startup_delay has not ended yet".to_owned(),
        Reason::CarrierDelay => "the interface has come up, and carrier_delay has not ended yet".to_owned(),
        Reason::InterfaceMissing => "there is no such interface".to_owned(),
        Reason::InterfaceDown => "the interface is down or has no carrier".to_owned(),
        Reason::NoPrimaryIpAddress => "the interface has no address to send from".to_owned(),
        Reason::NoVirtualMac => "there is no device with the virtual MAC address".to_owned(),
        Reason::NoVirtualIpAddresses => "the owner's addresses are not on the interface".to_owned(),
        Reason::CheckFailed => "a check with on_failure = \"fault\" is failing".to_owned(),
        Reason::Drained => "drained by the operator".to_owned(),
        Reason::Shutdown => "stopped by the operator".to_owned(),
    }
}

/// The first line of a longer text, with a sign that there is more.
fn one_line(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or("no reason given").to_owned();
    if lines.next().is_some() { format!("{first} ...") } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{CheckState, Handover};
    use crate::control::testing::at;

    fn other(priority: u8) -> ActiveRouter {
        let address = "192.0.2.194".parse().expect("an address");
        ActiveRouter { address, priority: Priority::new(priority), this_node: false }
    }

    fn transition(to: StateName, reason: Reason, priority: u8, other: Option<ActiveRouter>) -> What {
        What::Transition {
            virtual_router: "bootstrap".to_owned(),
            from: StateName::Backup,
            to,
            reason,
            priority: Priority::new(priority),
            active_router: other,
            silent_ms: (reason == Reason::NoResponse).then_some(3609),
            moved_with: (reason == Reason::SyncGroup).then(|| "outside".to_owned()),
        }
    }

    fn dns_updated(was: &[&str], again: bool) -> What {
        What::DnsUpdated {
            dns_update: "www".to_owned(),
            virtual_router: "bootstrap".to_owned(),
            record: "www.example.net".to_owned(),
            value: "192.0.2.193".parse().expect("an address"),
            was: was.iter().map(|ip| ip.parse().expect("an address")).collect(),
            server: "192.0.2.192:53".parse().expect("an address with a port"),
            again,
        }
    }

    #[test]
    fn an_event_is_one_sentence_with_its_time() {
        let event = Event {
            time: at("2026-11-23T07:02:11.123456Z"),
            what: transition(StateName::Active, Reason::NoResponse, 100, Some(other(150))),
        };
        assert_eq!(
            event.to_string(),
            "2026-11-23 07:02:11.123 UTC  bootstrap: BACKUP -> ACTIVE: no advertisement from 192.0.2.194 \
             (priority 150) for 3.609 s"
        );
    }

    #[test]
    fn json_of_an_event_is_flat_and_survives() {
        let event = Event {
            time: at("2026-11-23T07:02:11Z"),
            what: transition(StateName::Active, Reason::NoResponse, 100, None),
        };
        let json = serde_json::to_value(&event).expect("an event is JSON");
        assert_eq!(json["event"], "transition");
        assert_eq!(json["to"], "active");
        assert_eq!(json["reason"], "no_response");
        assert_eq!(serde_json::from_value::<Event>(json).expect("what was written"), event);
    }

    #[test]
    fn each_kind_says_what_matters() {
        let router = || "bootstrap".to_owned();
        let address = || "192.0.2.201/32".to_owned();
        let away = |clock| What::Away { away_ms: 5_203, clock };
        let sentences = [
            (
                away(Clock::Monotonic),
                "vrrpd was stopped or starved for 5.203 s; it listened before it spoke or claimed",
            ),
            (
                away(Clock::Boot),
                "this machine was suspended for 5.203 s; it listened before it spoke or claimed",
            ),
            (
                away(Clock::Wall),
                "the wall clock went ahead by 5.203 s: somebody set it, or this machine was paused; it listened \
                 before it spoke or claimed",
            ),
            (
                transition(StateName::Active, Reason::NoResponse, 100, None),
                "bootstrap: BACKUP -> ACTIVE: no advertisement from any other router for 3.609 s",
            ),
            (
                transition(StateName::Active, Reason::Preempted, 150, Some(other(100))),
                "bootstrap: BACKUP -> ACTIVE: took over from 192.0.2.194 (priority 100), which is below our priority 150",
            ),
            (
                transition(StateName::Active, Reason::Priority, 150, Some(other(100))),
                "bootstrap: BACKUP -> ACTIVE: 192.0.2.194 (priority 100) gave the role up",
            ),
            (
                transition(StateName::Active, Reason::Priority, 255, None),
                "bootstrap: BACKUP -> ACTIVE: this node owns the addresses",
            ),
            (
                transition(StateName::Backup, Reason::HigherPriority, 100, Some(other(100))),
                "bootstrap: BACKUP -> BACKUP: 192.0.2.194 is Active with the same priority 100 and ranks higher",
            ),
            (
                transition(StateName::Backup, Reason::GaveWay, 15, Some(other(100))),
                "bootstrap: BACKUP -> BACKUP: gave way to 192.0.2.194 (priority 100) with our priority lowered to 15",
            ),
            (
                transition(StateName::Backup, Reason::SyncGroup, 150, None),
                "bootstrap: BACKUP -> BACKUP: moved with outside, of the same sync group",
            ),
            (What::Started { version: "0.1.0".to_owned() }, "vrrpd 0.1.0 started"),
            (
                What::CheckChanged {
                    check: "registry".to_owned(),
                    from: CheckState::Passing,
                    to: CheckState::Failing,
                    message: "503 instead of 200".to_owned(),
                    virtual_routers: vec![router()],
                },
                "check registry is failing: 503 instead of 200",
            ),
            (
                What::AddressLost { virtual_router: router(), address: address() },
                "bootstrap: somebody else removed 192.0.2.201/32; putting it back",
            ),
            (
                What::Asking { virtual_router: router(), priority: Priority::new(90), ordered: false },
                "bootstrap: resigned at priority 90 to let a better router take over",
            ),
            (
                What::Kept { virtual_router: router(), rival: None },
                "bootstrap: no other router took over; went on as Active",
            ),
            (
                What::AddressRefused {
                    virtual_router: router(),
                    address: address(),
                    error: "permission denied (EACCES)".to_owned(),
                },
                "bootstrap: the kernel refused 192.0.2.201/32: permission denied (EACCES)",
            ),
            (
                What::LinkChanged {
                    interface: "eth0".to_owned(),
                    change: LinkChange::CarrierLost,
                    virtual_routers: vec![],
                },
                "interface eth0 lost its carrier",
            ),
            (
                What::PriorityChanged {
                    virtual_router: router(),
                    from: Priority::new(150),
                    to: Priority::new(90),
                    why: "check registry is failing".to_owned(),
                },
                "bootstrap: priority 150 -> 90: check registry is failing",
            ),
            (
                What::AlarmRaised {
                    virtual_router: Some(router()),
                    name: "shared_vrid".to_owned(),
                    message: "x".to_owned(),
                },
                "bootstrap: alarm shared_vrid: x",
            ),
            (
                What::AlarmCleared { virtual_router: None, name: "shared_vrid".to_owned() },
                "alarm shared_vrid is over",
            ),
            (
                What::Command {
                    uid: Some(0),
                    command: "reload".to_owned(),
                    reason: Some("new address".to_owned()),
                },
                "uid 0 asked: reload (reason: new address)",
            ),
            (What::Command { uid: None, command: "SIGHUP".to_owned(), reason: None }, "received SIGHUP"),
            (What::Reloaded { changes: vec![] }, "reloaded; nothing changed"),
            (What::Reloaded { changes: vec!["a".to_owned(), "b".to_owned()] }, "reloaded: a; b"),
            (
                What::ReloadRefused { diagnostics: "vrrpd.toml:14:12: error: x\n   14 | y\n".to_owned() },
                "reload refused, nothing changed: vrrpd.toml:14:12: error: x ...",
            ),
            (
                What::HookFailed {
                    hook: "log".to_owned(),
                    virtual_router: router(),
                    message: "exit code 3".to_owned(),
                },
                "bootstrap: hook log failed: exit code 3",
            ),
            (
                dns_updated(&["192.0.2.194"], false),
                "bootstrap: dns_update www: www.example.net is 192.0.2.193 at 192.0.2.192:53, in place of 192.0.2.194",
            ),
            (
                dns_updated(&[], true),
                "bootstrap: dns_update www: www.example.net is 192.0.2.193 at 192.0.2.192:53, again, after somebody else had made it nothing",
            ),
            (
                What::DnsUpdateFailed {
                    dns_update: "www".to_owned(),
                    virtual_router: router(),
                    message: "REFUSED: x".to_owned(),
                },
                "bootstrap: dns_update www fails: REFUSED: x",
            ),
            (
                What::SendFailing { virtual_router: router(), error: "no buffer space (ENOBUFS)".to_owned() },
                "bootstrap: advertisements cannot be sent: no buffer space (ENOBUFS)",
            ),
            (
                What::SendPartlyFailing {
                    virtual_router: router(),
                    error: "no route to host (EHOSTUNREACH)".to_owned(),
                },
                "bootstrap: advertisements cannot be sent to some of the peers: no route to host (EHOSTUNREACH)",
            ),
            (What::SendRecovered { virtual_router: router() }, "bootstrap: advertisements are sent again"),
            (
                What::HandedOver {
                    virtual_router: router(),
                    handover: Handover {
                        successor: "192.0.2.194".parse().expect("an address"),
                        priority: Priority::new(100),
                        waited_us: 609_412,
                        overlap_us: 20_950,
                        gap_us: 0,
                    },
                },
                "bootstrap: handed over: 192.0.2.194 (priority 100) advertised 609.4 ms after the resignation; this \
                 node answered until 20.9 ms after that: a gap of 0.0 ms by this node's clock",
            ),
            (
                What::OrderFailed {
                    virtual_router: router(),
                    command: "drain".to_owned(),
                    message: "nobody took over".to_owned(),
                },
                "bootstrap: drain was not obeyed: nobody took over",
            ),
            (
                What::FreezeEnded { virtual_router: router(), expired: true },
                "bootstrap: the freeze has ended, its time is over; checks count as they are now",
            ),
        ];
        for (what, sentence) in sentences {
            assert_eq!(what.to_string(), sentence);
        }
    }
}
