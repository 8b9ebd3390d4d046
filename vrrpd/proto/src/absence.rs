//! How long the loop was away, by three clocks.

use std::time::Duration;

use crate::Instant;

/// The shortest absence that matters to any router: two of the shortest intervals.
pub(crate) const SHORTEST: Duration = Duration::from_millis(20);
/// The distance between two clocks cannot be read better than this.
const UNCERTAIN: Duration = Duration::from_millis(1);

/// What shows an absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// `CLOCK_MONOTONIC`: the loop was stopped or starved, or the machine was, and its clocks ran on.
    Monotonic,
    /// `CLOCK_BOOTTIME` went ahead of it: the machine was suspended.
    Boot,
    /// `CLOCK_REALTIME` alone went ahead: the machine was paused and somebody put the time right after
    /// it, or somebody only set the clock.
    Wall,
}

/// The loop was away for longer than another router waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// For how long, beyond what it had asked for.
    pub length: Duration,
    /// The clock that shows it.
    pub clock: Clock,
}

/// What one wake-up says of the time before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Away {
    /// By the monotonic clock, and by that of the time since boot, which nobody can set.
    monotonic: Duration,
    boot: Duration,
    /// By the wall clock.
    wall: Duration,
}

impl Away {
    /// For so long at least.
    pub(crate) fn certain(self) -> Duration {
        self.monotonic.max(self.boot)
    }

    /// For so long, unless somebody set the wall clock.
    pub(crate) fn suspected(self) -> Duration {
        self.certain().max(self.wall)
    }

    /// Did the machine sleep, so that its monotonic clock stood still?
    pub(crate) fn slept(self) -> bool {
        self.boot > self.monotonic
    }

    /// The largest of the three, and whose it is: that of a clock which nobody can set where they agree.
    pub(crate) fn longest(self) -> Absence {
        let Self { monotonic, boot, wall } = self;
        let (length, clock) = if wall > monotonic.max(boot) {
            (wall, Clock::Wall)
        } else if boot > monotonic {
            (boot, Clock::Boot)
        } else {
            (monotonic, Clock::Monotonic)
        };
        Absence { length, clock }
    }
}

/// How far the other clocks have gone ahead of the monotonic one since the last wake-up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// What they say at the origin of the monotonic one, when they have been read.
    last: Option<(Duration, Duration)>,
    wall: Duration,
    boot: Duration,
}

impl Ahead {
    /// They were read.
    pub(crate) fn read(&mut self, wall: Duration, boot: Duration) {
        let (wall_before, boot_before) = self.last.replace((wall, boot)).unwrap_or((wall, boot));
        let step = |now: Duration, before: Duration| {
            Some(now.saturating_sub(before)).filter(|&step| step >= UNCERTAIN).unwrap_or_default()
        };
        self.wall = self.wall.saturating_add(step(wall, wall_before));
        self.boot = self.boot.saturating_add(step(boot, boot_before));
    }

    /// The loop woke up at `now`, busy or asleep since `before`; it had asked to be woken at `due`. `None`
    /// when that was not long enough to matter to anybody.
    pub(crate) fn woke(
        &mut self,
        before: Instant,
        now: Instant,
        due: impl FnOnce() -> Option<Instant>,
    ) -> Option<Away> {
        let (wall, boot) = (std::mem::take(&mut self.wall), std::mem::take(&mut self.boot));
        if (now - before).saturating_add(wall.max(boot)) <= SHORTEST {
            return None;
        }
        // What is due at once has no time of its own.
        let monotonic = due().map_or(Duration::ZERO, |due| now - due.max(before));
        Some(Away { monotonic, boot: monotonic.saturating_add(boot), wall: monotonic.saturating_add(wall) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(milliseconds * 1_000_000)
    }

    /// Awake at 0, asked for 100 ms, and woken at `woken`, the other clocks that much ahead.
    fn away(woken: u64, wall: u64, boot: u64) -> Option<Absence> {
        let mut ahead = Ahead::default();
        ahead.read(ms(5000), ms(7000));
        ahead.read(ms(5000 + wall), ms(7000 + boot));
        Some(ahead.woke(at(0), at(woken), || Some(at(100)))?.longest())
    }

    fn absence(milliseconds: u64, clock: Clock) -> Option<Absence> {
        Some(Absence { length: ms(milliseconds), clock })
    }

    #[test]
    fn each_clock_shows_an_absence_by_itself_and_the_largest_counts() {
        assert_eq!(away(400, 0, 0), absence(300, Clock::Monotonic));
        assert_eq!(away(100, 0, 900), absence(900, Clock::Boot));
        assert_eq!(away(100, 900, 0), absence(900, Clock::Wall));
        assert_eq!(away(400, 900, 0), absence(1200, Clock::Wall), "late, and then set right");
        assert_eq!(away(100, 900, 900), absence(900, Clock::Boot), "a suspended machine moves both");
        assert_eq!(away(100, 900, 901), absence(901, Clock::Boot));
        assert_eq!(away(50, 900, 0), absence(900, Clock::Wall), "a packet woke it before its time");
    }

    #[test]
    fn what_is_asked_for_is_no_absence() {
        assert_eq!(away(100, 0, 0), absence(0, Clock::Monotonic));
        assert_eq!(away(20, 0, 0), None, "nor worth a look");
        assert_eq!(away(100, 0, 0).map(|absence| absence.length), Some(Duration::ZERO));
    }

    #[test]
    fn nobody_was_away_for_longer_than_since_the_last_wake_up() {
        let away = Ahead::default().woke(at(60_000), at(60_030), || Some(Instant::ZERO)).expect("30 ms");
        assert_eq!(away.longest(), Absence { length: ms(30), clock: Clock::Monotonic });
    }

    #[test]
    fn a_clock_that_goes_back_or_is_read_for_the_first_time_shows_nothing() {
        let mut ahead = Ahead::default();
        ahead.read(ms(5000), ms(7000));
        assert_eq!(ahead.woke(at(0), at(10), || None), None, "the first reading");
        ahead.read(ms(1000), ms(7000));
        assert_eq!(ahead.woke(at(10), at(20), || None), None, "set back by four seconds");
        ahead.read(ms(1000) + Duration::from_nanos(999_999), ms(7000));
        assert_eq!(ahead.wall, Duration::ZERO, "no more than the reading is uncertain by");
    }

    #[test]
    fn what_was_ahead_counts_once() {
        let mut ahead = Ahead::default();
        ahead.read(ms(0), ms(0));
        ahead.read(ms(500), ms(0));
        assert!(ahead.woke(at(0), at(1), || None).is_some());
        ahead.read(ms(500), ms(0));
        assert_eq!(ahead.woke(at(1), at(2), || None), None);
    }
}
