//! Did the machine keep time? On each processor a thread that only wakes, each millisecond, scheduled as the daemons
//! are: when it is late, the processor was with a hypervisor, or with a kernel that lets nobody in between.

use std::ops::Range;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::now_ns;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};

/// Shorter ones are not kept.
const LEAST: Duration = Duration::from_millis(2);

/// Watches until it is stopped.
pub(crate) struct Gauge {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Range<i64>>>>,
}

/// When a processor was away, by the clock that stamps packets.
pub(crate) struct Pauses(Vec<Range<i64>>);

impl Gauge {
    pub(crate) fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let watch = |processor| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || watch(processor, &over))
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads: (0..processors).map(watch).collect(), over }
    }

    pub(crate) fn stop(self) -> Pauses {
        self.over.store(true, Ordering::Relaxed);
        Pauses(self.threads.into_iter().flat_map(|thread| thread.join().expect("it only waits")).collect())
    }
}

impl Pauses {
    /// The longest, in milliseconds.
    pub(crate) fn longest_ms(&self) -> f64 {
        self.0.iter().map(|pause| (pause.end - pause.start) as f64 / 1e6).fold(0.0, f64::max)
    }

    /// Was a processor away for `least` ns or more, some of it in this time?
    pub(crate) fn any_in(&self, time: Range<i64>, least: i64) -> bool {
        let long = self.0.iter().filter(|pause| pause.end - pause.start >= least);
        long.into_iter().any(|pause| pause.start < time.end && time.start < pause.end)
    }
}

fn watch(processor: usize, over: &AtomicBool) -> Vec<Range<i64>> {
    let mut alone = CpuSet::new();
    alone.set(processor).expect("below the number of processors in a set");
    sched_setaffinity(Pid::from_raw(0), &alone).expect("there are so many");
    let thread = gettid().to_string();
    let done = Command::new("chrt").args(["--rr", "--pid", "50", &thread]).status();
    assert!(done.is_ok_and(|status| status.success()), "chrt(1) makes nobody realtime");
    let step = Duration::from_millis(1);
    let mut pauses = Vec::new();
    let mut due = Instant::now() + step;
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (now, now_ns) = (Instant::now(), now_ns());
        let late = now.saturating_duration_since(due);
        if late >= LEAST {
            pauses.push(now_ns - i64::try_from(late.as_nanos()).expect("less than centuries")..now_ns);
        }
        due = now + step;
    }
    pauses
}
