//! When a check runs: on a grid, a little beside it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The grid of one check: slot `n` starts `n` intervals after the first, give or take 5 %, so that
/// checks of one interval do not stay in step. The offset depends on name and slot alone.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    name: String,
    interval: Duration,
}

impl Schedule {
    pub(super) fn new(name: &str, interval: Duration) -> Self {
        Self { name: name.to_owned(), interval }
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Time from the first slot to the start of this one. The first starts at once.
    pub(super) fn start_of(&self, slot: u32) -> Duration {
        if slot == 0 {
            return Duration::ZERO;
        }
        let mut hasher = DefaultHasher::new();
        (&self.name, slot).hash(&mut hasher);
        // 0 to 1000 thousandths of a tenth of the interval, from 5 % early to 5 % late.
        let thousandths = u32::try_from(hasher.finish() % 1001).unwrap_or(0);
        let twentieth = self.interval / 20;
        self.interval.saturating_mul(slot).saturating_sub(twentieth) + twentieth * 2 / 1000 * thousandths
    }

    /// The slot after `slot`, when so much time has passed since the first. Those that were missed
    /// are not made up for, but for the last of them, which starts late.
    pub(super) fn after(&self, slot: u32, elapsed: Duration) -> u32 {
        let missed = elapsed.as_nanos() / self.interval.as_nanos().max(1);
        slot.saturating_add(1).max(u32::try_from(missed).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn slots_are_on_the_grid_within_a_twentieth() {
        let schedule = Schedule::new("registry", SECOND);
        assert_eq!(schedule.start_of(0), Duration::ZERO);
        for slot in 1..10_000 {
            let away = schedule.start_of(slot).abs_diff(SECOND * slot);
            assert!(away <= SECOND / 20, "slot {slot} is {away:?} away");
        }
    }

    #[test]
    fn two_checks_do_not_stay_in_step() {
        let (one, other) = (Schedule::new("one", SECOND), Schedule::new("other", SECOND));
        let together = (1..1000).filter(|slot| one.start_of(*slot) == other.start_of(*slot)).count();
        assert!(together < 10, "{together} of 999 slots start together");
    }

    #[test]
    fn what_was_missed_is_run_once() {
        let schedule = Schedule::new("registry", SECOND);
        assert_eq!(schedule.after(4, SECOND * 9 / 2), 5);
        assert_eq!(schedule.after(4, SECOND * 5), 5);
        assert_eq!(schedule.after(4, SECOND * 95 / 10), 9);
        assert_eq!(schedule.after(9, SECOND * 96 / 10), 10);
    }
}
