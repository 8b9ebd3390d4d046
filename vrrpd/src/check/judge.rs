//! From single runs to a state: `rise` and `fall`.

use std::fmt;

/// What is known of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// Not enough runs yet (`decisions.md` 4).
    Pending,
    /// The last decision was that it passes.
    Passing,
    /// The last decision was that it fails.
    Failing,
}

impl fmt::Display for CheckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Passing => "passing",
            Self::Failing => "failing",
        })
    }
}

/// Counts runs in a row and decides.
///
/// It passes after `rise` passing runs in a row and fails after `fall` failing ones, from `Pending`
/// just as from the opposite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judge {
    rise: u32,
    fall: u32,
    state: CheckState,
    last: bool,
    in_a_row: u32,
}

impl Judge {
    /// A judge who knows nothing yet. Zero counts as one.
    pub fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, state: CheckState::Pending, last: false, in_a_row: 0 }
    }

    /// Other limits, what was seen so far still counts.
    pub fn set_limits(&mut self, rise: u32, fall: u32) {
        (self.rise, self.fall) = (rise, fall);
    }

    /// Counts one run.
    pub fn count(&mut self, passed: bool) -> CheckState {
        if self.last != passed {
            self.in_a_row = 0;
        }
        self.last = passed;
        self.in_a_row = self.in_a_row.saturating_add(1);
        let (needed, decision) =
            if passed { (self.rise, CheckState::Passing) } else { (self.fall, CheckState::Failing) };
        if self.in_a_row >= needed {
            self.state = decision;
        }
        self.state
    }

    /// Is the state another than the last run says? Nothing is certain before the first decision.
    pub fn in_doubt(&self) -> bool {
        match self.state {
            CheckState::Pending => true,
            CheckState::Passing => !self.last,
            CheckState::Failing => self.last,
        }
    }

    /// The last decision.
    pub fn state(&self) -> CheckState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::CheckState::{Failing, Passing, Pending};
    use super::*;

    fn states(rise: u32, fall: u32, runs: &[bool]) -> Vec<CheckState> {
        let mut judge = Judge::new(rise, fall);
        runs.iter().map(|passed| judge.count(*passed)).collect()
    }

    #[test]
    fn the_first_decision_needs_rise_or_fall_alike() {
        assert_eq!(Judge::new(1, 1).state(), Pending);
        assert_eq!(states(2, 3, &[true, true]), [Pending, Passing]);
        assert_eq!(states(2, 3, &[false, false, false]), [Pending, Pending, Failing]);
        assert_eq!(states(2, 3, &[true, false, true, false, true, true]).last(), Some(&Passing));
    }

    #[test]
    fn only_runs_in_a_row_change_the_state() {
        let runs = [true, true, false, false, true, false, false, false, true, false, true, true];
        let seen = states(2, 3, &runs);
        assert_eq!(seen[1..7], [Passing; 6]);
        assert_eq!(seen[7..11], [Failing; 4]);
        assert_eq!(seen[11], Passing);
    }

    #[test]
    fn it_is_in_doubt_until_the_runs_say_what_the_state_says() {
        let mut judge = Judge::new(2, 2);
        assert!(judge.in_doubt());
        let doubts = [true, true, false, false, true].map(|passed| {
            judge.count(passed);
            judge.in_doubt()
        });
        assert_eq!(doubts, [true, false, true, false, true]);
    }

    #[test]
    fn one_run_decides_when_one_is_asked_for() {
        assert_eq!(states(1, 1, &[false, true, false]), [Failing, Passing, Failing]);
        assert_eq!(states(0, 0, &[false, true]), [Failing, Passing]);
    }

    #[test]
    fn other_limits_keep_what_was_seen() {
        let mut judge = Judge::new(5, 5);
        judge.count(true);
        judge.set_limits(2, 2);
        assert_eq!(judge.count(true), Passing);
    }
}
