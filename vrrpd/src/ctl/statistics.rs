//! `vrrpctl state --statistics`: one counter a line, under the names of RFC 8347, and what was
//! discarded.

use std::fmt::Write;

use serde::Serialize;

use super::print::one_line;
use crate::control::protocol::{Discarded, State};
use crate::control::time::{WallTime, age};

/// Of each virtual router, then of each interface, then of the whole host.
pub(super) fn text(state: &State) -> String {
    let mut text = String::new();
    for router in &state.virtual_routers {
        let mut lines = counters(&router.statistics);
        let more = [
            ("is_owner", router.is_owner.to_string()),
            ("last_adv_source", router.last_adv_source.map_or_else(none, |source| source.to_string())),
            ("last_event", router.last_event.clone()),
            ("master_down_interval", format!("{} cs", router.master_down_interval)),
            ("new_master_reason", router.new_master_reason.as_str().to_owned()),
            ("protocol_error_reason", router.protocol_error_reason.clone().unwrap_or_else(none)),
            ("skew_time", format!("{} us", router.skew_time)),
            ("up_datetime", router.up_datetime.map_or_else(none, |time| time.full())),
        ];
        lines.extend(more.map(|(name, value)| (name.to_owned(), value)));
        section(&mut text, &format!("virtual router {}", router.name), lines);
        discarded(&mut text, &router.discarded, state.time);
    }
    for interface in &state.interfaces {
        let title = format!("interface {}, of no virtual router", interface.name);
        section(&mut text, &title, counters(&interface.statistics));
        discarded(&mut text, &interface.discarded, state.time);
    }
    let mut lines = counters(&state.statistics);
    lines.extend(
        counters(&state.connections).into_iter().map(|(name, value)| (format!("connections_{name}"), value)),
    );
    section(&mut text, &format!("all of {}", state.node), lines);
    text
}

fn none() -> String {
    String::from("-")
}

/// Names and values as JSON has them.
fn counters(counted: &impl Serialize) -> Vec<(String, String)> {
    let value = serde_json::to_value(counted).expect("counters have string keys and no failing serializer");
    let serde_json::Value::Object(fields) = value else { return Vec::new() };
    let shown = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    fields.into_iter().map(|(name, value)| (name, shown(value))).collect()
}

fn section(text: &mut String, title: &str, mut lines: Vec<(String, String)>) {
    lines.sort();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{title}");
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:width$}  {value}");
    }
}

fn discarded(text: &mut String, list: &[Discarded], now: WallTime) {
    for Discarded { reason, packets, source, message, seen } in list {
        let source = source.map_or_else(|| String::from("?"), |source| source.to_string());
        let (reason, ago) = (reason.name(), age(now.since(*seen)));
        let message = one_line(message);
        let _ =
            writeln!(text, "  ! {reason}: {packets} discarded, the last from {source} {ago} ago: {message}");
    }
}

#[cfg(test)]
mod tests {
    use vrrp_proto::packet::DiscardReason;

    use super::*;
    use crate::control::testing::{self, at};

    #[test]
    fn every_counter_is_a_line_and_what_was_discarded_says_by_whom() {
        let mut router = testing::router();
        router.discarded = vec![Discarded {
            reason: DiscardReason::Version,
            packets: 2,
            source: "192.0.2.77".parse().ok(),
            message: "VRRP version is 2 where 3 is configured".to_owned(),
            seen: at("2026-11-23T07:05:01Z"),
        }];
        let text = text(&testing::state(vec![router]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "virtual router bootstrap");
        for line in [
            "  advertisement_sent       180",
            "  discontinuity_datetime   2026-11-23T07:00:00.000000Z",
            "  last_event               vrrp_event_master_timeout",
            "  master_down_interval     341 cs",
            "  new_master_reason        no_response",
            "  skew_time                414062 us",
            "  up_datetime              2026-11-23 07:02:11.000 UTC",
            "  ! version_errors: 2 discarded, the last from 192.0.2.77 10 s ago: VRRP version is 2 where 3 is \
             configured",
            "all of bootstrap-a",
            "  connections_ended       3",
            "  connections_left_out    0",
            "  version_errors          2",
        ] {
            assert!(lines.contains(&line), "{line:?} is missing:\n{text}");
        }
    }
}
