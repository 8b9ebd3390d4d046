//! `vrrpctl state` and `watch`.

use std::io::Write;
use std::time::Duration;

use vrrp_proto::snapshot::{Phase, StateName};

use super::args::Command;
use super::print::one_line;
use super::table::Table;
use super::{Args, Output, output};
use crate::control::alarm::Level;
use crate::control::protocol::{Address, State, SyncGroup, VirtualRouter};
use crate::control::time::{WallTime, age};
use crate::control::verdict::{self, Finding};

/// Time between two pictures of `watch`.
pub(super) const REDRAW: Duration = Duration::from_secs(1);

/// 0, 1 or 2.
pub(super) fn exit_code(state: &State) -> u8 {
    verdict::overall(state).exit_code()
}

/// One line a virtual router, and under it what is the matter.
pub(super) fn text(state: &State) -> String {
    let mut table = Table::new([
        "NAME",
        "STATE",
        "REASON",
        "PRIORITY",
        "ADDRESSES",
        "INTERFACE",
        "SINCE",
        "ACTIVE ROUTER",
    ]);
    for router in &state.virtual_routers {
        table.push(row(router, state.time));
    }
    let mut lines = table.lines().into_iter();
    let mut text = String::new();
    let mut push = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    push(&lines.next().unwrap_or_default());
    for (router, line) in state.virtual_routers.iter().zip(lines) {
        push(&line);
        if let Some(group) = &router.sync_group {
            push(&format!("  - {}", group_line(group)));
        }
        for finding in verdict::all_findings(state, router) {
            push_finding(&finding, &mut push);
        }
    }
    if state.virtual_routers.is_empty() {
        push("no virtual router is configured");
    }
    for alarm in &state.alarms {
        let remedy = Some(alarm.remedy.clone());
        push_finding(&Finding { level: alarm.level, message: alarm.sentence(state.time), remedy }, &mut push);
    }
    text
}

/// Whom it moves with.
fn group_line(group: &SyncGroup) -> String {
    let moved = group.moved_with.as_ref().map(|other| format!(", moved with {other}")).unwrap_or_default();
    format!("sync group {} (priority {}){moved}", group.name, group.priority)
}

fn push_finding(finding: &Finding, push: &mut impl FnMut(&str)) {
    let sign = if finding.level == Level::Fine { "-" } else { "!" };
    push(&format!("  {sign} {}", one_line(&finding.message)));
    if let Some(remedy) = &finding.remedy {
        push(&format!("      -> {remedy}"));
    }
}

fn row(router: &VirtualRouter, now: WallTime) -> [String; 8] {
    let lasted = age(now.since(router.since));
    [
        router.name.clone(),
        router.state_word().to_owned(),
        router.reason.as_str().to_owned(),
        format!("{}/{}", router.priority.effective, router.priority.configured),
        addresses(router),
        interface(router),
        format!("{} ({lasted})", router.since.clock(now)),
        active_router(router),
    ]
}

/// The interface, and the device on it that has the virtual MAC address.
fn interface(router: &VirtualRouter) -> String {
    match &router.virtual_mac {
        Some(virtual_mac) => format!("{} ({})", router.interface, virtual_mac.device),
        None => router.interface.clone(),
    }
}

/// Up to three addresses, or two and how many more; each marked that is not as it should be. `-`
/// where only a name moves.
fn addresses(router: &VirtualRouter) -> String {
    if router.addresses.is_empty() {
        return "-".to_owned();
    }
    let all = router.addresses.len() + router.extra_addresses.len();
    let shown = if all > 3 { 2 } else { 3 };
    let every = router.addresses.iter().chain(&router.extra_addresses);
    let mut words: Vec<String> = every.take(shown).map(|address| marked(address, router)).collect();
    let more = all.saturating_sub(shown);
    if more > 0 {
        words.push(format!("+{more}"));
    }
    words.join(",")
}

fn marked(address: &Address, router: &VirtualRouter) -> String {
    let text = &address.address;
    let active = router.state == StateName::Active;
    match (address.present, active) {
        (false, true) => format!("{text}(missing)"),
        (true, _) if address.foreign && !router.priority.configured.is_owner() => format!("{text}(foreign)"),
        (true, false) if router.phase == Phase::Settled => format!("{text}(present)"),
        _ => text.clone(),
    }
}

fn active_router(router: &VirtualRouter) -> String {
    match router.active_router {
        Some(active) if active.this_node => "this node".to_owned(),
        Some(active) => format!("{} ({})", active.address, active.priority),
        None => "unknown".to_owned(),
    }
}

/// The state again and again, until the output is closed. A daemon that cannot be reached is shown
/// as just that, with the time: an old state never stays on the screen.
pub(super) fn watch(
    args: &Args,
    name: Option<String>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    redraw: Duration,
) -> u8 {
    /// To the first column of the first line, and clear what is there.
    const HOME: &str = "\x1b[H\x1b[2J";
    let command = Command::State { name, statistics: false };
    loop {
        let Output { text, error, exit_code } = output(args, &command);
        let picture =
            if args.json { text } else { format!("{HOME}{}\n\n{text}{error}", WallTime::now().full()) };
        if out.write_all(picture.as_bytes()).and_then(|()| out.flush()).is_err() {
            return exit_code;
        }
        if args.json && err.write_all(error.as_bytes()).is_err() {
            return exit_code;
        }
        std::thread::sleep(redraw);
    }
}

#[cfg(test)]
mod tests;
