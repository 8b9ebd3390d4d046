//! What processes cost: memory and processor time, from `/proc`.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Memory of several processes, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident set size in KiB; shared pages count once for each process.
    pub rss_kib: u64,
    /// Proportional set size in KiB: shared pages divided by those who share them.
    pub pss_kib: u64,
}

/// The memory of `processes` now. A process that has ended counts nothing.
pub fn memory(processes: &[Pid]) -> Memory {
    let rollup = |pid| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let texts: Vec<String> = processes.iter().map(rollup).collect();
    let sum = |field: &str| texts.iter().map(|text| kib(text, field)).sum();
    Memory { rss_kib: sum("Rss:"), pss_kib: sum("Pss:") }
}

fn kib(text: &str, field: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Processor time of all threads of `processes` since they began, in ns.
pub fn cpu_ns(processes: &[Pid]) -> u64 {
    let tasks = processes.iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// Lets the threads of `processes` run on this processor only, or, with `None`, on any.
pub fn restrict(processes: &[Pid], processor: Option<usize>) {
    let mut allowed = CpuSet::new();
    let all = processor.map_or(0..CpuSet::count(), |only| only..only + 1);
    all.for_each(|cpu| allowed.set(cpu).expect("below the number of processors in a set"));
    for thread in processes.iter().flat_map(|pid| threads(*pid)) {
        // A thread that has ended meanwhile needs no restriction.
        let _ = sched_setaffinity(thread, &allowed);
    }
}

/// The threads of `process`; none when it has ended.
pub fn threads(process: Pid) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok().map(Pid::from_raw)).collect()
}

/// A capability set of a process or thread, for example `CapEff`, as the bits of linux/capability.h.
/// `None` when it has ended.
pub fn capabilities(thread: Pid, set: &str) -> Option<u64> {
    u64::from_str_radix(&status(thread, set)?, 16).ok()
}

/// What `/proc/PID/status` says behind `key`. `None` when it has ended.
pub fn status(thread: Pid, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}

/// Is the thread in a realtime class (`SCHED_FIFO`, `SCHED_RR`)? False when it has ended.
pub fn is_realtime(thread: Pid) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{thread}/stat")).unwrap_or_default();
    // The fields from the third on are behind the name; the policy is the 41st.
    let policy = text.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(38));
    policy.is_some_and(|policy| policy == "1" || policy == "2")
}

/// The thread of `process` with this name, as in `/proc/PID/task/TID/comm`.
pub fn thread(process: Pid, name: &str) -> Option<Pid> {
    std::fs::read_dir(format!("/proc/{process}/task")).ok()?.find_map(|task| {
        let path = task.ok()?.path();
        let comm = std::fs::read_to_string(path.join("comm")).ok()?;
        (comm.trim_end() == name).then(|| path.file_name()?.to_str()?.parse().ok().map(Pid::from_raw))?
    })
}
