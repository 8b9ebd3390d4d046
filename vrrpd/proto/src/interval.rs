//! Advertisement interval and the times derived from it.

use std::fmt;
use std::time::Duration;

use crate::{Priority, Version};

/// Advertisement_Interval, as one version of VRRP counts it, and the times that follow from it there.
///
/// VRRPv3: 1 to 4095 centiseconds, 10 ms to 40.95 s (RFC 9568 5.2.7, erratum 8301: never 0).
/// VRRPv2: 1 to 255 whole seconds (RFC 3768 5.3.7). The same time is another interval in the other
/// version: its Skew_Time differs, and so do its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdverInterval {
    /// 25500 at most.
    centiseconds: u16,
    version: Version,
}

impl AdverInterval {
    /// One second of VRRPv3 (RFC 9568 6.1).
    pub const DEFAULT: Self = Self::v3(100);
    /// 10 ms, of VRRPv3.
    pub const MIN: Self = Self::v3(1);
    /// 40.95 s, of VRRPv3: the twelve bits of the field.
    pub const MAX: Self = Self::v3(4095);

    const fn v3(centiseconds: u16) -> Self {
        Self { centiseconds, version: Version::V3 }
    }

    /// One second (RFC 9568 6.1, RFC 3768 6.1).
    pub const fn default_of(version: Version) -> Self {
        Self { version, ..Self::DEFAULT }
    }

    /// Of VRRPv3; `None` outside of 1 to 4095.
    pub const fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        if centiseconds >= Self::MIN.centiseconds && centiseconds <= Self::MAX.centiseconds {
            Some(Self::v3(centiseconds))
        } else {
            None
        }
    }

    /// Of VRRPv2; `None` for 0.
    pub const fn from_seconds(seconds: u8) -> Option<Self> {
        if seconds == 0 {
            return None;
        }
        Some(Self { centiseconds: seconds as u16 * 100, version: Version::V2 })
    }

    /// Of VRRPv3; `None` outside of 10 ms to 40.95 s and between the steps of 10 ms.
    pub fn from_duration(duration: Duration) -> Option<Self> {
        const STEP_NS: u128 = 10_000_000;
        let nanos = duration.as_nanos();
        if !nanos.is_multiple_of(STEP_NS) {
            return None;
        }
        Self::from_centiseconds(u16::try_from(nanos / STEP_NS).ok()?)
    }

    /// Of this version; `None` where it has no such interval.
    pub fn of(version: Version, duration: Duration) -> Option<Self> {
        match version {
            Version::V2 if duration.subsec_nanos() == 0 => {
                Self::from_seconds(u8::try_from(duration.as_secs()).ok()?)
            }
            Version::V2 => None,
            Version::V3 => Self::from_duration(duration),
        }
    }

    /// Hundredths of a second: the number on the wire of VRRPv3, 1 to 4095; in VRRPv2 up to 25500.
    pub const fn centiseconds(self) -> u16 {
        self.centiseconds
    }

    /// Whole seconds: the number on the wire of VRRPv2, 1 to 255.
    pub const fn seconds(self) -> u8 {
        (self.centiseconds / 100) as u8
    }

    /// The version that counts it so.
    pub const fn version(self) -> Version {
        self.version
    }

    /// As a time.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.centiseconds as u64 * 10)
    }

    /// Skew_Time, in whole nanoseconds and never rounded to centiseconds, so that the order of takeover
    /// survives the shortest interval. VRRPv3: `((256 - priority) * interval) / 256` (RFC 9568 6.1);
    /// VRRPv2: `(256 - priority) / 256` seconds, whatever the interval (RFC 3768 6.1).
    pub const fn skew_time(self, priority: Priority) -> Duration {
        let whole_ns = match self.version {
            Version::V2 => 1_000_000_000,
            Version::V3 => self.centiseconds as u64 * 10_000_000,
        };
        Duration::from_nanos((256 - priority.get() as u64) * whole_ns / 256)
    }

    /// Skew_Time of the first of all backups, priority 254: what three intervals and a little more are.
    pub const fn least_skew_time(self) -> Duration {
        self.skew_time(Priority::new(254))
    }

    /// Active_Down_Interval: three intervals and [`skew_time`](Self::skew_time) (RFC 9568 6.1; RFC 3768
    /// 6.1 calls it Master_Down_Interval).
    ///
    /// With the defaults (priority 100, interval 1 s) this is 3.609375 s. In VRRPv3 the interval is the
    /// one that the Active Router announced, which may differ from ours.
    pub const fn active_down_interval(self, priority: Priority) -> Duration {
        let Some(sum) =
            Duration::from_millis(self.centiseconds as u64 * 30).checked_add(self.skew_time(priority))
        else {
            return Duration::MAX;
        };
        sum
    }
}

impl fmt::Display for AdverInterval {
    /// As in the configuration: `1s`, `100ms`, `2500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.centiseconds.is_multiple_of(100) {
            write!(f, "{}s", self.centiseconds / 100)
        } else {
            write!(f, "{}ms", u32::from(self.centiseconds) * 10)
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

    #[test]
    fn version_2_counts_whole_seconds_and_skews_by_a_second_at_most() {
        assert_eq!(AdverInterval::from_seconds(0), None);
        let longest = AdverInterval::from_seconds(255).expect("an octet of seconds");
        assert_eq!((longest.seconds(), longest.duration()), (255, Duration::from_secs(255)));
        assert_eq!(longest.least_skew_time(), Duration::from_nanos(7_812_500));
        let second = AdverInterval::from_seconds(1).expect("one second");
        assert_eq!(second, AdverInterval::default_of(Version::V2));
        assert_ne!(second, AdverInterval::DEFAULT, "of the other version");
        let of = |ms| AdverInterval::of(Version::V2, Duration::from_millis(ms));
        assert_eq!([of(1000), of(1500), of(256_000), of(0)], [Some(second), None, None, None]);
    }
}
