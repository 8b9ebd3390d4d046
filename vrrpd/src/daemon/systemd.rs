//! What systemd is told, when it asked to be told.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Without a watchdog the threads are still looked after now and then.
const UNASKED: Duration = Duration::from_secs(300);

/// The notification socket, if there is one.
#[derive(Debug)]
pub(super) struct Systemd {
    watchdog: Option<Duration>,
}

impl Systemd {
    /// What the environment says.
    pub(super) fn from_environment() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    /// When to look after the threads: often enough that one lost sign of life does no harm.
    pub(super) fn ticks(&self) -> Interval {
        let period = self.watchdog.map_or(UNASKED, |watchdog| watchdog / 3);
        let mut ticks = interval(period.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    pub(super) fn ready(&self) {
        notify(&[NotifyState::Ready]);
    }

    pub(super) fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            notify(&[NotifyState::Reloading, now]);
        }
    }

    pub(super) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// The protocol loop has answered.
    pub(super) fn alive(&self) {
        if self.watchdog.is_some() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    // Not started by systemd, or systemd is busy: neither is a reason to stop.
    let _ = sd_notify::notify(states);
}
