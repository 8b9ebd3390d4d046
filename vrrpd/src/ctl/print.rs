//! The shorter answers as text.

use super::table::Table;
use crate::control::exit;
use crate::control::protocol::{Check, CheckState, Checks, Done, Events, OnFailure, Reloaded, Why};
use crate::control::time::age;

/// Text without control characters other than newline and tab: what a script or a server said must
/// not be able to steer the reader's terminal.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// A text as one line: what a script said must not look like a line of ours.
pub(super) fn one_line(text: &str) -> String {
    text.trim_end().replace('\n', " ")
}

/// 0 when all pass that are asked.
pub(super) fn checks_exit_code(checks: &Checks) -> u8 {
    let good = [CheckState::Passing, CheckState::Skipped];
    let all = checks.checks.iter().all(|check| good.contains(&check.state));
    if all { exit::FINE } else { exit::DEGRADED }
}

/// One line a check.
pub(super) fn checks(checks: &Checks) -> String {
    if checks.checks.is_empty() {
        return "no check is configured\n".to_owned();
    }
    let mut table = Table::new(["NAME", "STATE", "EFFECT", "SINCE", "LAST RUN", "MESSAGE"]);
    for check in &checks.checks {
        let ago = |time| age(checks.time.since(time));
        table.push([
            check.name.clone(),
            check.state.as_str().to_owned(),
            effect(check),
            format!("{} ({})", check.since.clock(checks.time), ago(check.since)),
            check.last_run.map_or_else(|| "never".to_owned(), |time| format!("{} ago", ago(time))),
            one_line(&check.message),
        ]);
    }
    table.lines().iter().map(|line| format!("{line}\n")).collect()
}

fn effect(check: &Check) -> String {
    match (check.weight, check.on_failure) {
        (Some(weight), _) => format!("{weight:+}"),
        (None, Some(OnFailure::Demote)) => "demote".to_owned(),
        (None, Some(OnFailure::Fault)) => "fault".to_owned(),
        (None, Some(OnFailure::Alert)) => "alert".to_owned(),
        (None, None) => String::new(),
    }
}

/// What a reload did.
pub(super) fn reloaded(reloaded: &Reloaded) -> String {
    let mut text = if reloaded.changes.is_empty() {
        "reloaded; nothing changed\n".to_owned()
    } else {
        "reloaded\n".to_owned()
    };
    text.extend(reloaded.changes.iter().map(|change| format!("  {change}\n")));
    text.extend(reloaded.warnings.iter().map(|warning| format!("  ! {}\n", warning.trim_end())));
    text
}

/// What became of an order.
pub(super) fn done(done: &Done) -> String {
    let mut text = format!("{}: {}\n", done.virtual_router, one_line(&done.message));
    text.extend(done.handover.map(|handover| format!("  {handover}\n")));
    text.extend(done.notes.iter().map(|note| format!("  - {}\n", one_line(note))));
    text
}

/// A paragraph a virtual router.
pub(super) fn why(why: &Why) -> String {
    if why.virtual_routers.is_empty() {
        return "no virtual router is configured\n".to_owned();
    }
    let paragraph = |lines: &Vec<String>| lines.iter().map(|line| one_line(line) + "\n").collect::<String>();
    let paragraphs: Vec<String> = why.virtual_routers.iter().map(|router| paragraph(&router.lines)).collect();
    paragraphs.join("\n")
}

/// One line an event.
pub(super) fn history(events: &Events) -> String {
    let mut text = String::new();
    if events.forgotten > 0 {
        text.push_str(&format!("({} older events are no longer kept)\n", events.forgotten));
    }
    if events.events.is_empty() {
        text.push_str("nothing happened\n");
    }
    text.extend(events.events.iter().map(|event| one_line(&event.to_string()) + "\n"));
    text
}
