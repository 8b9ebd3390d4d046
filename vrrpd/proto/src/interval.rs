//! Advertisement interval and the times derived from it.

use std::fmt;
use std::time::Duration;

use crate::Priority;

/// Advertisement_Interval of VRRPv3 in centiseconds, 1 to 4095: 10 ms to 40.95 s
/// (RFC 9568 5.2.7, erratum 8301: never 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdverInterval(u16);

impl AdverInterval {
    /// One second (RFC 9568 6.1).
    pub const DEFAULT: Self = Self(100);
    /// 10 ms.
    pub const MIN: Self = Self(1);
    /// 40.95 s: the twelve bits of the field.
    pub const MAX: Self = Self(4095);

    /// `None` outside of 1 to 4095.
    pub const fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        if centiseconds >= Self::MIN.0 && centiseconds <= Self::MAX.0 {
            Some(Self(centiseconds))
        } else {
            None
        }
    }

    /// `None` outside of 10 ms to 40.95 s and between the steps of 10 ms.
    pub fn from_duration(duration: Duration) -> Option<Self> {
        const STEP_NS: u128 = 10_000_000;
        let nanos = duration.as_nanos();
        if !nanos.is_multiple_of(STEP_NS) {
            return None;
        }
        Self::from_centiseconds(u16::try_from(nanos / STEP_NS).ok()?)
    }

    /// The number on the wire.
    pub const fn centiseconds(self) -> u16 {
        self.0
    }

    /// As a time.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }

    /// Skew_Time: `((256 - priority) * interval) / 256` (RFC 9568 6.1), in whole nanoseconds and
    /// never rounded to centiseconds, so that the order of takeover survives the shortest interval.
    pub const fn skew_time(self, priority: Priority) -> Duration {
        let interval_ns = self.0 as u64 * 10_000_000;
        Duration::from_nanos((256 - priority.get() as u64) * interval_ns / 256)
    }

    /// Active_Down_Interval: three intervals and [`skew_time`](Self::skew_time) (RFC 9568 6.1).
    ///
    /// With the defaults (priority 100, interval 1 s) this is 3.609375 s. The interval is the one
    /// that the Active Router announced, which may differ from ours.
    pub const fn active_down_interval(self, priority: Priority) -> Duration {
        let Some(sum) = Duration::from_millis(self.0 as u64 * 30).checked_add(self.skew_time(priority))
        else {
            return Duration::MAX;
        };
        sum
    }
}

impl fmt::Display for AdverInterval {
    /// As in the configuration: `1s`, `100ms`, `2500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(100) {
            write!(f, "{}s", self.0 / 100)
        } else {
            write!(f, "{}ms", u32::from(self.0) * 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_steps_of_ten_milliseconds_are_intervals() {
        let ms = |ms| AdverInterval::from_duration(Duration::from_millis(ms));
        assert_eq!(ms(10), Some(AdverInterval::MIN));
        assert_eq!(ms(40_950), Some(AdverInterval::MAX));
        assert_eq!(ms(0), None);
        assert_eq!(ms(15), None);
        assert_eq!(ms(40_960), None);
        assert_eq!(ms(10 * 65_537), None, "must not wrap into range");
    }

    #[test]
    fn skew_keeps_254_priorities_apart_at_the_shortest_interval() {
        for priority in 1..=254 {
            let later = AdverInterval::MIN.skew_time(Priority::new(priority));
            let sooner = AdverInterval::MIN.skew_time(Priority::new(priority + 1));
            assert!(later > sooner, "priority {priority}");
        }
    }
}
