//! One deadline for all that a run does, and what to say when it passes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

/// What a run is at, for the message when its deadline cuts it short.
#[derive(Debug, Default)]
pub(super) struct Stage(Mutex<At>);

#[derive(Debug, Default)]
struct At {
    doing: String,
    found: Option<String>,
}

impl Stage {
    /// What is done from now on: "connecting to 192.0.2.193:443".
    pub(super) fn set(&self, doing: impl Into<String>) {
        self.lock().doing = doing.into();
    }

    /// What the run fails with anyway, while it goes on to hear more of it.
    pub(super) fn found(&self, fault: impl Into<String>) {
        self.lock().found = Some(fault.into());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, At> {
        // Text that was written half is text.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self, deadline: Duration) -> String {
        let at = self.lock();
        let passed = format!("deadline of {} ms passed while {}", deadline.as_millis(), at.doing);
        match &at.found {
            Some(found) => format!("{found}; {passed}"),
            None => passed,
        }
    }
}

/// Runs `work` until `deadline`; then it is dropped, wherever it is.
pub(super) async fn within(
    deadline: Duration,
    stage: &Stage,
    work: impl Future<Output = Result<String, String>>,
) -> Result<String, String> {
    timeout(deadline, work).await.unwrap_or_else(|_| Err(stage.late(deadline)))
}

/// Does what takes the processor for long on a thread of its own, beside the loop that everything
/// else waits for. What it does must end by itself: it is not stopped at the deadline.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("a thread of vrrpd has ended: {error}"))
}
