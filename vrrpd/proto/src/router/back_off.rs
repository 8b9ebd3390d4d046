//! After a refusal: how long the next attempt waits.

use std::time::Duration;

use super::VirtualRouter;
use crate::Instant;

/// The longest back-off after a refusal.
pub(super) const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// The shortest wait after the second refusal.
const CUT_SHORT: Duration = Duration::from_secs(1);

/// After the kernel refused an address or an advertisement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BackOff {
    pub(super) attempts: u32,
    /// When the last one was refused.
    pub(super) since: Instant,
    pub(super) not_before: Instant,
    /// Anybody heard since the last refusal? If not, holding a part is better than nobody.
    pub(super) heard: bool,
    /// The peer gave up as well: claim at once, and hold what can be held.
    pub(super) peer_resigned: bool,
}

impl BackOff {
    /// When the next attempt may be made. A peer that resigned as well cuts the wait short: the first
    /// time at once, then to a second, because whoever can send one resignation can send many.
    pub(super) fn over_at(&self) -> Instant {
        match (self.peer_resigned, self.attempts) {
            (false, _) => self.not_before,
            (true, 0 | 1) => self.since,
            (true, _) => self.not_before.min(self.since + CUT_SHORT),
        }
    }
}

impl VirtualRouter {
    /// Doubles from three intervals up to five minutes, and differs from router to router, so that
    /// two that were refused do not try in step.
    pub(super) fn back_off(&mut self, now: Instant) {
        let doubled = self.patience().saturating_mul(1 << self.back_off.attempts.min(16));
        let spread = (u64::from(self.back_off.attempts) * 7 + u64::from(self.facts.mac.octets()[5])) % 32;
        let jitter = doubled.mul_f64(spread as f64 / 128.0);
        self.back_off.attempts = self.back_off.attempts.saturating_add(1);
        self.back_off.not_before = now + (doubled + jitter).min(BACK_OFF_MAX.max(self.patience()));
        self.back_off.since = now;
        self.back_off.heard = false;
        self.back_off.peer_resigned = false;
    }
}
