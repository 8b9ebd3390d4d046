//! Why is it so? The chain of causes that led to the present state.

use vrrp_proto::snapshot::{Alarm, Finding, Reason};

use super::sentence::{because, moved_with_words};
use super::{Event, History, LinkChange, What};
use crate::control::alarm::Level;
use crate::control::protocol::{CheckState, State, VirtualRouter, state_word};
use crate::control::time::{WallTime, age};
use crate::control::verdict;

/// States that are explained: the present one and the one before it.
const STATES: usize = 2;

/// The story of the virtual router `name` in sentences: the present state and its reason, then each
/// cause before it with its time, then what is the matter now and what to type. Ages count back from
/// the time of `state`. Empty when `state` has no such virtual router.
pub fn why(name: &str, state: &State, history: &History) -> Vec<String> {
    let Some(router) = state.virtual_routers.iter().find(|router| router.name == name) else {
        return Vec::new();
    };
    let events: Vec<&Event> = history.iter().filter(|event| event.what.moves(name)).collect();
    let mut lines = Vec::new();
    story(router, &events, state.time, &mut lines);
    others_story(router, &events, history, state.time, &mut lines);
    if history.forgotten() > 0 && !events.iter().any(|event| matches!(event.what, What::Transition { .. })) {
        lines.push("  what led to it is no longer in the history".to_owned());
    }
    present(state, router, &mut lines);
    lines
}

/// The present state and the one before, each with its chain of causes, newest first.
fn story(router: &VirtualRouter, events: &[&Event], now: WallTime, lines: &mut Vec<String>) {
    let mut end = events.len();
    for number in 0..STATES {
        let transition = last(&events[..end], is_transition);
        let lasted = age(now.since(router.since));
        match (number, transition) {
            (0, Some(index)) if leads_to(&events[index].what, router) => lines.push(format!(
                "{} is {} since {} ({lasted}): {}",
                router.name,
                router.state_word(),
                router.since.clock(now),
                cause_of_transition(&events[index].what)
            )),
            (0, _) => {
                // Nothing recorded led here: it started like this, or the history has wrapped.
                lines.push(headline_without_history(router, now, &lasted));
                if let Some(start) = last(events, |what| matches!(what, What::Started { .. })) {
                    push_cause(events[start], now, lines);
                }
                return;
            }
            (_, Some(index)) => {
                lines.push(format!("  at {}: {}", events[index].time.clock(now), events[index].what))
            }
            (_, None) => return,
        }
        let Some(index) = transition else { return };
        let from = last(&events[..index], is_transition).map_or(0, |previous| previous + 1);
        causes(&events[from..index], &events[index].what, now, lines);
        end = index;
    }
}

/// What led to the state of the member of the sync group that this one moved with, or waits for.
fn others_story(
    router: &VirtualRouter,
    events: &[&Event],
    history: &History,
    now: WallTime,
    lines: &mut Vec<String>,
) {
    let moved_with = last(events, is_transition).and_then(|index| match &events[index].what {
        What::Transition { moved_with, .. } => moved_with.as_deref(),
        _ => None,
    });
    let waits_for = router.sync_group.as_ref().and_then(|group| group.waits_for.as_deref());
    let Some(other) = waits_for.or(moved_with) else { return };
    let events: Vec<&Event> = history.iter().filter(|event| event.what.moves(other)).collect();
    let Some(index) = last(&events, is_transition) else { return };
    push_cause(events[index], now, lines);
    let from = last(&events[..index], is_transition).map_or(0, |previous| previous + 1);
    causes(&events[from..index], &events[index].what, now, lines);
}

/// What is the matter at present, and what to type.
fn present(state: &State, router: &VirtualRouter, lines: &mut Vec<String>) {
    for finding in verdict::all_findings(state, router) {
        let sign = if finding.level == Level::Fine { "now:" } else { "now !" };
        lines.push(format!("  {sign} {}", finding.message));
        lines.extend(finding.remedy.map(|remedy| format!("      -> {remedy}")));
    }
}

fn headline_without_history(router: &VirtualRouter, now: WallTime, lasted: &str) -> String {
    let reason =
        because(router.state, router.reason, router.priority.effective, router.active_router.as_ref(), None);
    format!(
        "{} is {} since {} ({lasted}): {reason}",
        router.name,
        router.state_word(),
        router.since.clock(now)
    )
}

/// Adds the chain of causes of `effect` found in `earlier`, the events since the state before.
fn causes(mut earlier: &[&Event], effect: &What, now: WallTime, lines: &mut Vec<String>) {
    let mut effect = effect;
    while let Some(index) = cause(earlier, effect) {
        push_cause(earlier[index], now, lines);
        effect = &earlier[index].what;
        earlier = &earlier[..index];
    }
}

fn push_cause(event: &Event, now: WallTime, lines: &mut Vec<String>) {
    lines.push(format!("  because at {}: {}", event.time.clock(now), event.what));
}

/// Index of the event that brought `effect` about, if one in `earlier` can have done so.
fn cause(earlier: &[&Event], effect: &What) -> Option<usize> {
    let by_absence = matches!(
        effect,
        What::Transition {
            reason: Reason::HigherPriority | Reason::NoResponse | Reason::Preempted | Reason::Suspected,
            ..
        }
    );
    if by_absence && let Some(absence) = just_away(earlier) {
        return Some(absence);
    }
    match effect {
        What::Transition { reason, priority, .. } => match reason {
            Reason::GaveWay | Reason::Preempted | Reason::HigherPriority | Reason::NoBetterRouter => {
                // The change that made the priority what it was at the transition.
                last(earlier, |what| matches!(what, What::PriorityChanged { to, .. } if to == priority))
            }
            Reason::CheckFailed => {
                last(earlier, |what| matches!(what, What::CheckChanged { to: CheckState::Failing, .. }))
            }
            Reason::InterfaceMissing => last(earlier, |what| is_link(what, &[LinkChange::Vanished])),
            Reason::InterfaceDown => {
                last(earlier, |what| is_link(what, &[LinkChange::Down, LinkChange::CarrierLost]))
            }
            Reason::NoPrimaryIpAddress => {
                last(earlier, |what| is_link(what, &[LinkChange::SourceAddressLost]))
            }
            Reason::AddressRefused => last(earlier, |what| matches!(what, What::AddressRefused { .. })),
            Reason::Isolated => last(
                earlier,
                |what| matches!(what, What::AlarmRaised { name, .. } if name == Alarm::Isolated.as_str()),
            ),
            Reason::Suspected => {
                last(earlier, |what| matches!(what, What::Suspected { finding: Finding::Dead, .. }))
            }
            Reason::CannotSend => last(earlier, |what| matches!(what, What::SendFailing { .. })),
            Reason::Shutdown => last(earlier, |what| matches!(what, What::Command { .. })),
            Reason::Drained => last(earlier, |what| is_command(what, "drain ")),
            Reason::HandedOver => last(earlier, |what| is_command(what, "switchover ")),
            Reason::Startup | Reason::Resumed => last(earlier, |what| {
                let link = [LinkChange::Up, LinkChange::Appeared, LinkChange::SourceAddressFound];
                is_link(what, &link)
                    || matches!(what, What::Started { .. })
                    || matches!(what, What::CheckChanged { to: CheckState::Passing, .. })
            }),
            Reason::CarrierDelay => {
                last(earlier, |what| is_link(what, &[LinkChange::Up, LinkChange::Appeared]))
            }
            // Another member's, which are told apart.
            Reason::SyncGroup => None,
            Reason::Priority | Reason::NoResponse | Reason::StartupDelay => None,
            Reason::NoVirtualIpAddresses | Reason::NoVirtualMac => None,
        },
        What::PriorityChanged { .. } => {
            last(earlier, |what| matches!(what, What::CheckChanged { .. } | What::Reloaded { .. }))
        }
        What::Reloaded { .. } => last(earlier, |what| matches!(what, What::Command { .. })),
        _ => None,
    }
}

/// Index of an absence of the daemon that nothing followed but what it cost.
fn just_away(earlier: &[&Event]) -> Option<usize> {
    let followed = |what: &What| matches!(what, What::AddressLost { .. } | What::AlarmRaised { .. });
    last(earlier, |what| !followed(what)).filter(|&index| matches!(earlier[index].what, What::Away { .. }))
}

fn is_transition(what: &What) -> bool {
    matches!(what, What::Transition { .. })
}

fn is_link(what: &What, changes: &[LinkChange]) -> bool {
    matches!(what, What::LinkChanged { change, .. } if changes.contains(change))
}

fn is_command(what: &What, start: &str) -> bool {
    matches!(what, What::Command { command, .. } if command.starts_with(start))
}

/// Is this the transition into the state that `router` is in?
fn leads_to(what: &What, router: &VirtualRouter) -> bool {
    matches!(what, What::Transition { to, .. } if *to == router.state)
}

fn cause_of_transition(what: &What) -> String {
    match what {
        What::Transition { from, to, reason, priority, active_router, silent_ms, moved_with, .. } => {
            let because = match moved_with {
                Some(other) => moved_with_words(other),
                None => because(*to, *reason, *priority, active_router.as_ref(), *silent_ms),
            };
            format!("{because} (was {})", state_word(*from))
        }
        other => other.to_string(),
    }
}

fn last(events: &[&Event], is_it: impl Fn(&What) -> bool) -> Option<usize> {
    events.iter().rposition(|event| is_it(&event.what))
}

#[cfg(test)]
mod tests;
