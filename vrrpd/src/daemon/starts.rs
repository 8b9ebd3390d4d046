//! Counts starts that no clean end came before, so that a daemon which crashes over and over does
//! not take its old addresses up again each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{clock, state_dir};

/// So many starts within [`WINDOW`] are too many.
const TOO_MANY: usize = 3;
/// Time over which starts are counted.
const WINDOW: Duration = Duration::from_secs(30);

/// The record of starts since the last clean end.
#[derive(Debug)]
pub(super) struct Starts {
    file: PathBuf,
    recent: usize,
}

impl Starts {
    /// Takes note of this start. A record that cannot be kept is told as the second value; resuming
    /// is then allowed.
    pub(super) fn note(state_dir: &Path) -> (Self, Option<String>) {
        let file = state_dir.join("starts");
        let now = clock::since_boot();
        let mut starts: Vec<Duration> = fs::read_to_string(&file)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.parse().ok().map(Duration::from_millis))
            // Of this boot, and not long ago.
            .filter(|&start| start <= now && now - start < WINDOW)
            .collect();
        let recent = starts.len();
        starts.push(now);
        let text: String = starts.iter().map(|start| format!("{}\n", start.as_millis())).collect();
        let trouble = state_dir::write(&file, text.as_bytes()).err();
        (Self { file, recent }, trouble)
    }

    /// May addresses of the daemon before be taken up?
    pub(super) fn may_resume(&self) -> bool {
        self.recent < TOO_MANY
    }

    /// This was a clean end.
    pub(super) fn forget(&self) {
        let _ = fs::remove_file(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_start_in_a_row_without_an_end_resumes_nothing() {
        let directory = crate::state_dir::tests::temporary("starts");
        let resumed: Vec<bool> = (0..4).map(|_| Starts::note(&directory).0.may_resume()).collect();
        assert_eq!(resumed, [true, true, true, false]);
        Starts::note(&directory).0.forget();
        assert!(Starts::note(&directory).0.may_resume());
    }
}
