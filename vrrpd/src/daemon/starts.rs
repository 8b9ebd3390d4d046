//! Counts starts that no clean end came before, so that a daemon which crashes over and over does
//! not take its old addresses up again each time.

use std::time::Duration;

use crate::clock;
use crate::state_dir::{StateDir, StateFile};

/// So many starts within [`WINDOW`] are too many.
const TOO_MANY: usize = 3;
/// Time over which starts are counted.
const WINDOW: Duration = Duration::from_secs(30);

/// The record of starts since the last clean end.
#[derive(Debug)]
pub(super) struct Starts {
    state: StateDir,
    recent: usize,
}

impl Starts {
    /// Takes note of this start. What is wrong with the record is told as the second value; resuming
    /// is then allowed.
    pub(super) fn note(state: &StateDir) -> (Self, Vec<String>) {
        let now = clock::since_boot();
        let (mut starts, damaged) = state.read(StateFile::Starts, parse);
        // Of this boot, and not long ago.
        starts.retain(|&start| start <= now && now - start < WINDOW);
        let recent = starts.len();
        starts.push(now);
        let text: String = starts.iter().map(|start| format!("{}\n", start.as_millis())).collect();
        let unwritten = state.keep(StateFile::Starts, text.as_bytes());
        (Self { state: state.clone(), recent }, damaged.into_iter().chain(unwritten).collect())
    }

    /// May addresses of the daemon before be taken up?
    pub(super) fn may_resume(&self) -> bool {
        self.recent < TOO_MANY
    }

    /// This was a clean end.
    pub(super) fn forget(&self) {
        self.state.remove(StateFile::Starts);
    }
}

/// Times since boot in milliseconds, one a line.
fn parse(text: &str) -> Result<Vec<Duration>, String> {
    let number = |line: &str| line.parse().map(Duration::from_millis);
    text.lines().map(|line| number(line).map_err(|_| format!("{line:?} is no time"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_start_in_a_row_without_an_end_resumes_nothing() {
        let directory = crate::state_dir::tests::temporary_state("starts");
        let resumed: Vec<bool> = (0..4).map(|_| Starts::note(&directory).0.may_resume()).collect();
        assert_eq!(resumed, [true, true, true, false]);
        Starts::note(&directory).0.forget();
        assert!(Starts::note(&directory).0.may_resume());
    }

    #[test]
    fn a_record_that_makes_no_sense_is_told_and_counts_for_nothing() {
        let state = crate::state_dir::tests::temporary_state("starts");
        state.write(StateFile::Starts, b"1\n2\n3\nx\n").expect("written");
        let (starts, told) = Starts::note(&state);
        assert!(starts.may_resume());
        assert!(matches!(&told[..], [told] if told.contains("\"x\" is no time")), "{told:?}");
    }
}
