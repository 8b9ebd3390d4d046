//! System calls that nothing can interrupt: a look at a file system that a dead server exports hangs
//! for as long as the server is dead.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::{Instant, timeout};

use super::{Prober, Run};

/// Stack of the thread; it is locked in memory.
const STACK: usize = 128 * 1024;

/// Has a check a thread that looks, or hangs? One for each name of a check: it outlives reloads, and
/// the times in which the check is not asked.
pub(super) type UnderWay = Arc<AtomicBool>;

/// A probe that looks at something of this node with plain system calls.
pub(super) struct LookProbe<K> {
    kind: K,
    what: String,
    look: fn(&K) -> Result<String, String>,
    blocking: Blocking<String>,
}

impl<K: Clone> LookProbe<K> {
    /// Looks with `look`, and calls it `what` in messages.
    pub(super) fn new(
        kind: &K,
        what: impl fmt::Display,
        look: fn(&K) -> Result<String, String>,
        under_way: &UnderWay,
    ) -> Self {
        Self { kind: kind.clone(), what: what.to_string(), look, blocking: Blocking::new(under_way) }
    }
}

impl<K: Clone + Send + 'static> Prober for LookProbe<K> {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        let (kind, look) = (self.kind.clone(), self.look);
        Box::pin(self.blocking.run(&self.what, deadline, move || look(&kind)))
    }
}

impl<K> fmt::Debug for LookProbe<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookProbe").field("what", &self.what).finish_non_exhaustive()
    }
}

/// Runs the job of one check on a thread of its own, one at a time: a run that gives up leaves the
/// thread behind, and no other is started while that one hangs. The thread is not the runtime's,
/// which would wait for it at the end.
#[derive(Debug)]
pub(super) struct Blocking<T> {
    under_way: UnderWay,
    pending: Option<Pending<T>>,
}

#[derive(Debug)]
struct Pending<T> {
    answer: oneshot::Receiver<Result<T, String>>,
    since: Instant,
}

impl<T: Send + 'static> Blocking<T> {
    pub(super) fn new(under_way: &UnderWay) -> Self {
        Self { under_way: Arc::clone(under_way), pending: None }
    }

    /// What `job` says, or that `what` has not answered within `deadline`.
    ///
    /// While an earlier job hangs, this waits for the answer of that one.
    pub(super) async fn run(
        &mut self,
        what: &str,
        deadline: Duration,
        job: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        // An answer that came between two runs is as old as the last one.
        let over = |pending: &mut Pending<T>| !matches!(pending.answer.try_recv(), Err(TryRecvError::Empty));
        if self.pending.as_mut().is_some_and(over) {
            self.pending = None;
        }
        let pending = match &mut self.pending {
            Some(pending) => pending,
            None if self.under_way.swap(true, Ordering::AcqRel) => {
                return Err(format!("{what} has not answered since before this check was set up anew"));
            }
            None => {
                let started = start(Guard(Arc::clone(&self.under_way)), job)
                    .map_err(|error| format!("cannot start a thread to look at {what}: {error}"))?;
                self.pending.insert(started)
            }
        };
        match timeout(deadline, &mut pending.answer).await {
            Ok(answer) => {
                self.pending = None;
                answer.unwrap_or_else(|_| Err(format!("the look at {what} ended without a result")))
            }
            Err(_) => {
                let (ms, waited) = (deadline.as_millis(), pending.since.elapsed().as_secs_f32());
                Err(format!("deadline of {ms} ms passed: {what} has not answered for {waited:.1} s"))
            }
        }
    }
}

/// Says that the thread is over, however it ends.
struct Guard(UnderWay);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn start<T: Send + 'static>(
    guard: Guard,
    job: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> io::Result<Pending<T>> {
    let (sender, answer) = oneshot::channel();
    let job = move || {
        let said = job();
        // Before the answer, after which the next one may start.
        drop(guard);
        // The check may be gone by now.
        let _ = sender.send(said);
    };
    thread::Builder::new().name("vrrpd-look".to_owned()).stack_size(STACK).spawn(job)?;
    Ok(Pending { answer, since: Instant::now() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn blocking() -> Blocking<String> {
        Blocking::new(&UnderWay::default())
    }

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_job_has_its_say() {
        let mut blocking = blocking();
        assert_eq!(blocking.run("x", LONG, || Ok("well".to_owned())).await, Ok("well".to_owned()));
        assert_eq!(blocking.run("x", LONG, || Err("ill".to_owned())).await, Err("ill".to_owned()));
    }

    #[tokio::test]
    async fn a_job_that_hangs_is_the_only_one() {
        let started = Arc::new(AtomicUsize::new(0));
        let (release, hang) = mpsc::channel::<()>();
        let mut blocking = blocking();
        let counter = Arc::clone(&started);
        let late = blocking.run("/data", SHORT, move || {
            counter.fetch_add(1, Ordering::SeqCst);
            // Until the test lets it go.
            let _ = hang.recv();
            Ok("at last".to_owned())
        });
        let said = late.await.expect_err("it hangs");
        assert!(said.starts_with("deadline of 20 ms passed: /data has not answered for "), "{said}");
        for _ in 0..5 {
            let counter = Arc::clone(&started);
            let job = move || {
                counter.fetch_add(1, Ordering::SeqCst);
                Ok("another".to_owned())
            };
            assert!(blocking.run("/data", SHORT, job).await.is_err());
        }
        assert_eq!(started.load(Ordering::SeqCst), 1);
        // Only while somebody waits again: what comes before that is not news.
        let (said, released) =
            tokio::join!(blocking.run("/data", LONG, || Ok("another".to_owned())), async {
                release.send(())
            });
        released.expect("the job waits for it");
        assert_eq!(said, Ok("at last".to_owned()));
        assert_eq!(blocking.run("/data", LONG, || Ok("another".to_owned())).await, Ok("another".to_owned()));
    }

    #[tokio::test]
    async fn an_answer_from_between_two_runs_is_not_news() {
        let (release, hang) = mpsc::channel::<()>();
        let mut blocking = blocking();
        let job = move || {
            let _ = hang.recv();
            Ok("stale".to_owned())
        };
        assert!(blocking.run("x", SHORT, job).await.is_err());
        release.send(()).expect("the job waits for it");
        let answered = |pending: &Pending<String>| !pending.answer.is_empty();
        while !blocking.pending.as_ref().is_some_and(answered) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(blocking.run("x", LONG, || Ok("fresh".to_owned())).await, Ok("fresh".to_owned()));
    }

    #[tokio::test]
    async fn a_check_that_is_set_up_anew_starts_no_second_thread() {
        let (release, hang) = mpsc::channel::<()>();
        let under_way = UnderWay::default();
        let mut before = Blocking::new(&under_way);
        let job = move || {
            let _ = hang.recv();
            Ok("stale".to_owned())
        };
        assert!(before.run("x", SHORT, job).await.is_err());
        drop(before);
        let mut after = Blocking::new(&under_way);
        let fresh = || Ok("fresh".to_owned());
        let said = after.run("x", LONG, fresh).await.expect_err("the thread of the other one hangs");
        assert_eq!(said, "x has not answered since before this check was set up anew");
        release.send(()).expect("the job waits for it");
        while under_way.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(after.run("x", LONG, fresh).await, Ok("fresh".to_owned()));
    }
}
