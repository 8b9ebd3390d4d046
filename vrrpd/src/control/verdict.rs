//! Is it well? If not: why, and what to type.
//!
//! `vrrpctl state` takes its exit code and its indented lines from here, `why` its last lines.

use std::time::Duration;

use vrrp_proto::snapshot::{self, Phase, Reason, StateName, Verdict};
use vrrp_proto::{AdverInterval, Version};

use super::alarm::Level;
use super::protocol::{
    Address, Check, CheckState, DnsState, DnsUpdate, Heard, LastSuspicion, OnFailure, PeerNode, State,
    Suspicion, VirtualRouter,
};
use super::time::{Span, WallTime, age};

/// One thing that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is; a `Fine` one is only told.
    pub level: Level,
    /// What is the matter.
    pub message: String,
    /// What to do or to type, if anything.
    pub remedy: Option<String>,
}

/// The worst level of everything in `state`.
pub fn overall(state: &State) -> Level {
    let routers = state.virtual_routers.iter().map(|router| level(&all_findings(state, router)));
    let alarms = state.alarms.iter().map(|alarm| alarm.level);
    routers.chain(alarms).max().unwrap_or(Level::Fine)
}

/// The worst level of some findings.
pub fn level(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Fine)
}

/// All that is to be said about a virtual router of `state`, with what other nodes tell of theirs.
pub fn all_findings(state: &State, router: &VirtualRouter) -> Vec<Finding> {
    let mut findings = findings(router, state.time);
    findings.extend(state.peers.iter().map(|peer| of_peer(peer, router)));
    findings
}

/// All that is to be said about a virtual router at `now`, the state first.
pub fn findings(router: &VirtualRouter, now: WallTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(of_orders(router, now));
    findings.extend(of_state(router));
    findings.extend(of_addresses(router));
    findings.extend(router.alarms.iter().map(|alarm| Finding {
        level: alarm.level,
        message: alarm.sentence(now),
        remedy: Some(alarm.remedy.clone()),
    }));
    findings.extend(router.dns_updates.iter().filter_map(|update| of_dns_update(update, router, now)));
    findings.extend(router.checks.iter().filter_map(|check| of_check(check, now)));
    findings.extend(of_second_path(router));
    findings.extend(of_witness(router));
    findings.extend(of_suspicion(router));
    findings.extend(of_priority(router));
    findings.extend(of_preemption(router));
    findings.extend(of_lease(router));
    findings
}

fn of_state(router: &VirtualRouter) -> Option<Finding> {
    let interface = &router.interface;
    let name = &router.name;
    match router.state {
        // Said already, with who and why.
        StateName::Initialize if router.reason == Reason::Drained => None,
        StateName::Initialize => Some(of_initialize(router)),
        StateName::Backup if router.reason == Reason::AddressRefused && router.active_router.is_none() => {
            Some(critical(
                "nobody holds the addresses: the kernel refused them here",
                format!("vrrpctl history {name}"),
            ))
        }
        StateName::Backup if router.reason == Reason::AddressRefused => Some(degraded(
            "cannot take over: the kernel refused an address",
            format!("vrrpctl history {name}"),
        )),
        StateName::Backup if router.reason == Reason::CannotSend => Some(critical(
            format!("gave the role up: advertisements could not be sent on {interface}"),
            "nft list ruleset: let IP protocol 112 leave".to_owned(),
        )),
        StateName::Backup if waits_for(router).is_some() => waits_for(router),
        StateName::Backup if !router.heard => Some(degraded(
            "nothing heard yet: no advertisement has arrived since the start",
            format!(
                "tcpdump -n -i {interface} ip proto 112 or ip6 proto 112; does the other node run, with the same vrid?"
            ),
        )),
        StateName::Active if router.phase == Phase::Asking => {
            Some(degraded("asking whether a better router takes over", format!("vrrpctl why {name}")))
        }
        StateName::Backup | StateName::Active if router.phase == Phase::BackOff => Some(degraded(
            "waiting before the next attempt to hold the addresses",
            format!("vrrpctl history {name}"),
        )),
        StateName::Backup | StateName::Active => None,
    }
}

/// The role is free, and another member of the sync group cannot take its own.
fn waits_for(router: &VirtualRouter) -> Option<Finding> {
    let other = router.sync_group.as_ref()?.waits_for.as_ref()?;
    let message = format!("could be Active, and waits for {other}: a sync group moves as a whole");
    Some(degraded(message, format!("vrrpctl why {other}")))
}

/// What the operator ordered, by whom, when and why.
fn of_orders(router: &VirtualRouter, now: WallTime) -> Vec<Finding> {
    let name = &router.name;
    let mut findings = Vec::new();
    if let Some(by) = &router.orders.drained {
        let message = format!("drained {}", by.words(now));
        findings.push(degraded(message, format!("vrrpctl undrain {name}")));
    } else if router.reason == Reason::Drained {
        findings.push(degraded("drained", format!("vrrpctl undrain {name}")));
    }
    if let Some(frozen) = &router.orders.frozen {
        let message = format!(
            "checks are frozen until {} and move nothing: {}",
            frozen.until.clock(now),
            frozen.by.words(now)
        );
        findings.push(degraded(message, format!("vrrpctl unfreeze {name}")));
    }
    if let Some(yielded) = &router.orders.yielded {
        findings.push(Finding {
            level: Level::Fine,
            message: format!(
                "handed over to {}, which is not preempted before this node has been Active again: {}",
                yielded.to,
                yielded.by.words(now)
            ),
            remedy: Some(format!("vrrpctl switchover {name} takes it back")),
        });
    }
    findings
}

/// What another node tells of its part, with its age.
fn of_peer(peer: &PeerNode, router: &VirtualRouter) -> Finding {
    let title = peer.title();
    let link = || format!("vrrpctl state there; [peer_link] on both nodes; UDP to {}", peer.address);
    let Some(ms) = peer.age_ms.filter(|_| peer.is_fresh()) else {
        let since = match peer.age_ms {
            Some(ms) => format!("for {}", age(Duration::from_millis(ms))),
            None => "since the start".to_owned(),
        };
        let refusal = peer.last_refusal.as_ref().map(|why| format!(" (refused: {why})")).unwrap_or_default();
        return degraded(format!("peer {title}: nothing heard on the peer link {since}{refusal}"), link());
    };
    let ago = age(Duration::from_millis(ms));
    let Some(other) = peer.counterpart(&router.name, router.vrid, router.family) else {
        let message = format!("peer {title}: has no virtual router with VRID {} ({ago} ago)", router.vrid);
        return degraded(message, "give both nodes the same vrid".to_owned());
    };
    let state = super::protocol::state_word(other.state);
    let shown = format!("peer {title}: {state} {}/{}", other.priority.effective, other.priority.configured);
    if !router.config_digest.is_empty() && other.config_digest != router.config_digest {
        let message = format!("{shown}, configured with other addresses or another advertisement_interval");
        return degraded(message, "compare vrrpctl config show on both nodes".to_owned());
    }
    if other.unfit.is_empty() {
        let message = format!("{shown}, fit ({ago} ago)");
        return Finding { level: Level::Fine, message, remedy: None };
    }
    let message = format!("{shown}, not fit: {} ({ago} ago)", other.unfit.join("; "));
    degraded(message, format!("vrrpctl state {} on that node", other.name))
}

fn of_initialize(router: &VirtualRouter) -> Finding {
    let interface = &router.interface;
    match router.reason {
        Reason::InterfaceMissing => critical(
            format!("there is no interface {interface}"),
            "ip link; correct interface in the configuration, then vrrpctl reload".to_owned(),
        ),
        Reason::InterfaceDown => critical(
            format!("interface {interface} is down or has no carrier"),
            format!("ip link set {interface} up; look at the cable and the switch port"),
        ),
        Reason::NoVirtualMac => critical(
            format!("the device with the virtual MAC address cannot be made on {interface}"),
            "ip -d link; or set virtual_mac = false".to_owned(),
        ),
        Reason::NoPrimaryIpAddress => match router.configured_source_address {
            Some(source) => critical(
                format!("source_address {source} is not on interface {interface}, or not ready"),
                format!("ip address add {source} dev {interface}; it is used as soon as it is there"),
            ),
            None => critical(
                format!("interface {interface} has no {} address to send from", router.family),
                format!("ip address show dev {interface}; add one, or set source_address"),
            ),
        },
        Reason::NoVirtualIpAddresses => {
            let missing = router.addresses.iter().find(|address| !address.present);
            let address = missing.map_or("ADDRESS", |address| &address.address);
            critical(
                format!("priority 255 means owner, but its addresses are not on {interface}"),
                format!("ip address add {address} dev {interface}; or set a priority of 1 to 254"),
            )
        }
        Reason::StartupDelay | Reason::CarrierDelay => Finding {
            level: Level::Degraded,
            message: format!("waits for {} to end", router.reason.as_str()),
            remedy: None,
        },
        Reason::Shutdown => Finding {
            level: Level::Degraded,
            message: "stopped by the operator; takes no part in the election".to_owned(),
            remedy: None,
        },
        Reason::CheckFailed => {
            let fault = |check: &&Check| {
                check.state == CheckState::Failing && check.on_failure == Some(OnFailure::Fault)
            };
            let name = router.checks.iter().find(fault).map_or("", |check| check.name.as_str());
            critical(
                "holds nothing: a check with on_failure = \"fault\" is failing",
                format!("vrrpctl check {name}").trim_end().to_owned(),
            )
        }
        other => critical(
            format!("takes no part in the election: {}", other.as_str()),
            format!("vrrpctl why {}", router.name),
        ),
    }
}

fn of_addresses(router: &VirtualRouter) -> Option<Finding> {
    // While they are being added this is no fault, and a refused one has an alarm of its own.
    if router.state != StateName::Active || router.phase != Phase::Settled {
        return None;
    }
    let missing = |list: &[Address]| {
        let missing = list.iter().filter(|address| !address.present);
        let missing: Vec<&str> = missing.map(|address| address.address.as_str()).collect();
        (!missing.is_empty()).then(|| format!("Active without {}", missing.join(", ")))
    };
    let remedy = || format!("vrrpctl history {}; ip address show dev {}", router.name, router.interface);
    match (missing(&router.addresses), missing(&router.extra_addresses)) {
        (Some(message), _) => Some(critical(message, remedy())),
        (None, Some(message)) => Some(degraded(message, remedy())),
        (None, None) => None,
    }
}

/// Where the name is all that moves, clients depend on it.
fn of_dns_update(update: &DnsUpdate, router: &VirtualRouter, now: WallTime) -> Option<Finding> {
    let DnsUpdate { name, message, since, .. } = update;
    let ago = |time: WallTime| format!("{} ago", age(now.since(time)));
    let (level, message) = match update.state {
        DnsState::Standby => return None,
        DnsState::Pending => (Level::Fine, format!("dns_update {name}: {message}")),
        DnsState::Confirmed => {
            let seen = update.confirmed.map_or_else(|| "never".to_owned(), ago);
            (Level::Fine, format!("dns_update {name}: {message} (seen {seen})"))
        }
        DnsState::Failing => {
            let level = if router.addresses.is_empty() { Level::Critical } else { Level::Degraded };
            let since = format!("{} ({})", since.clock(now), age(now.since(*since)));
            (level, format!("dns_update {name} is failing since {since}: {message}"))
        }
    };
    Some(Finding { level, message, remedy: update.remedy.clone() })
}

/// What was heard on each path, and from the clients' LAN.
fn of_second_path(router: &VirtualRouter) -> Option<Finding> {
    let path = router.second_path.as_ref()?;
    let heard = |heard: &Option<Heard>| match heard {
        Some(Heard { by, age_ms }) => format!("{by} heard {} ago", age(Duration::from_millis(*age_ms))),
        None => "nobody heard".to_owned(),
    };
    let answered = match path.answered {
        Some(Heard { by, age_ms }) => format!("{by} answered {} ago", age(Duration::from_millis(age_ms))),
        None => "no answer yet".to_owned(),
    };
    // Only who is Active speaks.
    let paths = match router.state {
        StateName::Active => String::new(),
        _ => format!(
            "{} {}, {} {}; ",
            router.interface,
            heard(&path.heard_on_first),
            path.interface,
            heard(&path.heard_on_second)
        ),
    };
    let message = format!("paths: {paths}clients' LAN: {answered}");
    Some(Finding { level: Level::Fine, message, remedy: None })
}

/// Who answered last, and what follows from it. That it is cut off, an alarm says.
fn of_witness(router: &VirtualRouter) -> Option<Finding> {
    let witness = router.witness?;
    let answered = |what: &str, heard: Option<Heard>| match heard {
        Some(Heard { by, age_ms }) => format!("{by} answered {} ago", age(Duration::from_millis(age_ms))),
        None => format!("no {what} has answered yet"),
    };
    let who = format!("{}, {}", answered("witness", witness.witness), answered("peer", witness.peer));
    Some(match witness.verdict {
        Verdict::Unknown | Verdict::Answered | Verdict::Isolated => {
            Finding { level: Level::Fine, message: format!("witnesses: {who}"), remedy: None }
        }
        Verdict::Uncounted => degraded(
            format!(
                "witnesses do not count at present: nobody answers, and the peers or the witnesses were \
                 silent before ({who})"
            ),
            format!("ping them from {}; docs/witnesses.md", router.interface),
        ),
    })
}

/// Would a dead Active Router be followed early, and what came of the last suspicion?
fn of_suspicion(router: &VirtualRouter) -> Option<Finding> {
    let Suspicion { ready, last } = router.suspicion?;
    let active = router.active_router.as_ref().filter(|active| !active.this_node)?;
    let last = last.map(|LastSuspicion { finding, of, age_ms, .. }| {
        let finding = match finding {
            snapshot::Finding::Dead => "was taken for dead",
            snapshot::Finding::Answered => "answered",
            snapshot::Finding::Unwitnessed => "did not answer, nor did a third station",
        };
        format!("; last suspicion {} ago: {of} {finding}", age(Duration::from_millis(age_ms)))
    });
    let last = last.unwrap_or_default();
    let of = active.address;
    Some(match ready {
        true => Finding {
            level: Level::Fine,
            message: format!("suspicion: {of} answers questions, and is followed early should it die{last}"),
            remedy: None,
        },
        false => Finding {
            level: Level::Fine,
            message: format!(
                "suspicion: {of} has not answered a question lately, so it is not followed early{last}"
            ),
            remedy: Some(format!("is it among the peers of witness or second_path? ping {of}")),
        },
    })
}

fn of_check(check: &Check, now: WallTime) -> Option<Finding> {
    let lasted = age(now.since(check.since));
    let since = check.since.clock(now);
    let message = match check.state {
        CheckState::Passing | CheckState::Skipped => return None,
        CheckState::Failing => {
            format!("check {} is failing since {since} ({lasted}): {}", check.name, check.message)
        }
        CheckState::Pending if !is_late(check, now) => {
            return Some(Finding {
                level: Level::Fine,
                message: format!("check {} has not reported yet", check.name),
                remedy: None,
            });
        }
        CheckState::Pending => {
            format!("check {} has no result since {since} ({lasted}): {}", check.name, check.message)
        }
    };
    Some(degraded(message, format!("vrrpctl check {}", check.name)))
}

/// Has a check been pending for longer than `rise` or `fall` runs can take, with room to spare?
fn is_late(check: &Check, now: WallTime) -> bool {
    const SPARE: Duration = Duration::from_secs(5);
    let runs = check.rise.max(check.fall).saturating_mul(2);
    let longest = check.interval.0.saturating_mul(runs).saturating_add(check.timeout.0).saturating_add(SPARE);
    now.since(check.since) > longest
}

fn of_priority(router: &VirtualRouter) -> Option<Finding> {
    let effective = router.priority.effective;
    let (configured, by) = match &router.sync_group {
        Some(group) => (group.priority, format!("configured, the lowest of sync group {}", group.name)),
        None => (router.priority.configured, "configured".to_owned()),
    };
    (effective < configured).then(|| Finding {
        level: Level::Degraded,
        message: match &router.orders.frozen {
            Some(_) => {
                format!("priority {effective} of {configured}, as the checks stood when they were frozen")
            }
            None => format!("priority {effective} = {configured} {by}{}", arithmetic(router)),
        },
        remedy: None,
    })
}

/// What the checks do to the priority: `, -60 by check registry`.
fn arithmetic(router: &VirtualRouter) -> String {
    let mut terms = String::new();
    for check in &router.checks {
        let term = match (check.state, check.weight, check.on_failure) {
            (CheckState::Failing, Some(weight), _) if weight < 0 => {
                format!(", {weight} by check {}", check.name)
            }
            (CheckState::Passing, Some(weight), _) if weight > 0 => {
                format!(", +{weight} by check {}", check.name)
            }
            (CheckState::Failing, None, Some(OnFailure::Demote)) => {
                format!(", demoted by check {}", check.name)
            }
            _ => continue,
        };
        terms.push_str(&term);
    }
    terms
}

fn of_preemption(router: &VirtualRouter) -> Option<Finding> {
    if router.state != StateName::Backup {
        return None;
    }
    let active = router.active_router.filter(|active| !active.this_node)?;
    let ours = router.priority.effective;
    if active.priority >= ours {
        return None;
    }
    let than = format!("priority {ours} is above that of {} ({})", active.address, active.priority);
    if router.orders.yielded.is_some() {
        // Said already, with who and why.
        return None;
    }
    let message = if !router.preempt_mode {
        format!("{than}, but preempt_mode = false leaves it alone")
    } else if let Some(ms) = router.preempt_in_ms {
        format!("takes over from {} in {} (preempt_delay)", active.address, age(Duration::from_millis(ms)))
    } else if router.pending {
        format!("{than}; takes over when its checks have passed")
    } else {
        return None;
    };
    Some(Finding { level: Level::Fine, message, remedy: None })
}

/// Do the addresses of a dead daemon answer for longer than a backup waits?
fn of_lease(router: &VirtualRouter) -> Option<Finding> {
    /// The kernel ends a lifetime up to so much late.
    const LATE: Duration = Duration::from_secs(1);
    let interval = router.advertisement_interval.0;
    let counted = AdverInterval::of(Version::from_number(router.vrrp_version)?, interval)?;
    let kept = match router.fence {
        Some(fence) => fence.0,
        None => router.lease?.0 + LATE,
    };
    let claimed = 3 * interval + counted.least_skew_time();
    let outlasts = router.state == StateName::Active && kept > claimed;
    outlasts.then(|| Finding {
        level: Level::Fine,
        message: format!(
            "if vrrpd dies here, the kernel keeps the addresses for up to {}; a backup claims them after {}",
            Span(kept),
            Span(3 * interval),
        ),
        remedy: None,
    })
}

fn degraded(message: impl Into<String>, remedy: String) -> Finding {
    Finding { level: Level::Degraded, message: message.into(), remedy: Some(remedy) }
}

fn critical(message: impl Into<String>, remedy: String) -> Finding {
    Finding { level: Level::Critical, message: message.into(), remedy: Some(remedy) }
}

#[cfg(test)]
mod tests;
