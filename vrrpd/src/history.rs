//! What happened, kept for the operator who comes later.
//!
//! [`History`] is a bounded ring in memory: the newest events stay, the oldest go. Each
//! [`event`](Event) is a value and a sentence; [`why()`] follows them back from the present state to its
//! causes. Logging and metrics are other modules' work.

mod event;
mod sentence;
mod why;

use std::collections::VecDeque;

pub use event::{Event, LinkChange, What};
pub use why::why;

use crate::control::time::WallTime;

/// Events kept unless told otherwise.
pub const DEFAULT_CAPACITY: usize = 4096;

/// The newest events, oldest first.
#[derive(Clone, Debug)]
pub struct History {
    events: VecDeque<Event>,
    capacity: usize,
    forgotten: u64,
}

impl Default for History {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl History {
    /// An empty history that keeps `capacity` events, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { events: VecDeque::new(), capacity: capacity.max(1), forgotten: 0 }
    }

    /// Adds what happened at `time`; the oldest event goes when there are too many.
    pub fn record(&mut self, time: WallTime, what: What) {
        if self.events.len() >= self.capacity {
            self.events.pop_front();
            self.forgotten += 1;
        }
        self.events.push_back(Event { time, what });
    }

    /// All that is kept, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter()
    }

    /// Number of events that had to go.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The events about `name` (a virtual router, check, hook or interface; all without it) that
    /// are not older than `since`, oldest first.
    pub fn select(&self, name: Option<&str>, since: Option<WallTime>) -> Vec<Event> {
        // Not a search for the first one: the wall clock may have been set back in between.
        self.iter()
            .filter(|event| since.is_none_or(|since| event.time >= since))
            .filter(|event| name.is_none_or(|name| event.what.concerns(name)))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::at;

    fn started(version: usize) -> What {
        What::Started { version: version.to_string() }
    }

    #[test]
    fn the_newest_events_stay() {
        let mut history = History::new(3);
        for number in 0..5 {
            history.record(at("2026-11-23T07:00:00Z"), started(number));
        }
        let kept: Vec<&What> = history.iter().map(|event| &event.what).collect();
        assert_eq!(kept, [&started(2), &started(3), &started(4)]);
        assert_eq!(history.forgotten(), 2);
    }

    #[test]
    fn a_selection_is_by_name_and_time() {
        let mut history = History::default();
        history.record(at("2026-11-23T07:00:00Z"), started(1));
        let lost = |router: &str| What::AddressLost {
            virtual_router: router.to_owned(),
            address: "192.0.2.201/32".to_owned(),
        };
        history.record(at("2026-11-23T07:00:01Z"), lost("inside"));
        history.record(at("2026-11-23T07:00:02Z"), lost("outside"));
        history.record(at("2026-11-23T07:00:03Z"), lost("inside"));
        let times = |name, since: Option<&str>| -> Vec<String> {
            let selected = history.select(name, since.map(at));
            selected.into_iter().map(|event| event.time.clock(event.time)).collect()
        };
        assert_eq!(times(None, None).len(), 4);
        assert_eq!(times(None, Some("2026-11-23T07:00:02Z")), ["07:00:02 UTC", "07:00:03 UTC"]);
        // What concerns the whole daemon concerns every virtual router.
        assert_eq!(times(Some("inside"), None), ["07:00:00 UTC", "07:00:01 UTC", "07:00:03 UTC"]);
        assert_eq!(times(Some("inside"), Some("2026-11-23T07:00:03Z")), ["07:00:03 UTC"]);
    }
}
