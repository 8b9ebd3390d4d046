//! One run: a pair starts, idles, its primary loses power, returns, and is stopped.

use std::time::{Duration, Instant};

use lab::contender::{Extra, Task};
use lab::story::{PRIMARY, SECONDARY, VIP};
use lab::{Burden, Contender, Daemon, Lab, Node, Prober, now_ns, usage};

const TASK: Task = Task { interval: INTERVAL, ipv6: false, extra: Extra::Nothing };
/// Active_Down_Interval at priority 100 and one second: 3 s + 156/256 s.
pub(crate) const FLOOR_NS: i64 = 3_609_375_000;
/// The advertisement interval of all that is measured here.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// Probes that must pass after a change before a run is over: one interval and a half, so that
/// what the next advertisement would break is seen.
const AFTERMATH: usize = 1500;

/// The values of one run, each with what it is and its unit.
pub(crate) type Measures = Vec<(String, f64)>;

/// Measures `contender` once.
pub(crate) fn run(contender: Contender, idle: Duration) -> Measures {
    let lab = Lab::open().expect("main() has asked whether the laboratory is available");
    let (a, b) = (lab.node("a"), lab.node("b"));
    let primary = contender.start(&a, PRIMARY, TASK);
    let secondary = contender.start(&b, SECONDARY, TASK);
    lab.wait_for_holder(VIP, "a");
    let [active_cpu, backup_cpu] = idle_cpu(&[&primary, &secondary], idle);
    let active_memory = usage::memory(&primary.processes());
    let backup_memory = usage::memory(&secondary.processes());

    let [crash_advert, crash_answer] = crash(&lab, &a, primary);
    a.power_on();
    let (primary, return_outage) = outage(&lab, "a", || contender.start(&a, PRIMARY, TASK));
    // After the crash, which it would slow: a thread stays where it ran last.
    let [active_cpu_alone, backup_cpu_alone] = idle_cpu_on_one(&[&primary, &secondary], idle);
    let (_, stop_outage) = outage(&lab, "b", || primary.terminate());
    [
        ("crash: first advertisement over the floor, us", crash_advert),
        ("crash: address answers over the floor, us", crash_answer),
        ("return of the primary: longest wait, ms", return_outage),
        ("graceful stop: longest wait, ms", stop_outage),
        ("memory of the Active node: RSS, KiB", active_memory.rss_kib as f64),
        ("memory of the Active node: PSS, KiB", active_memory.pss_kib as f64),
        ("memory of the Backup node: RSS, KiB", backup_memory.rss_kib as f64),
        ("memory of the Backup node: PSS, KiB", backup_memory.pss_kib as f64),
        ("CPU of the idle Active node, us/s", active_cpu),
        ("CPU of the idle Backup node, us/s", backup_cpu),
        ("CPU of the idle Active node, one CPU, us/s", active_cpu_alone),
        ("CPU of the idle Backup node, one CPU, us/s", backup_cpu_alone),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The same crash while somebody else holds the kernel's lock for links and addresses again and again.
pub(crate) fn under_foreign_load(contender: Contender) -> Measures {
    let lab = Lab::open().expect("main() has asked whether the laboratory is available");
    let (a, b) = (lab.node("a"), lab.node("b"));
    let primary = contender.start(&a, PRIMARY, TASK);
    let _secondary = contender.start(&b, SECONDARY, TASK);
    lab.wait_for_holder(VIP, "a");
    let burden = Burden::start();
    let [advert, answer] = crash(&lab, &a, primary);
    drop(burden);
    [
        ("crash, RTNL held by others: first advertisement over the floor, us", advert),
        ("crash, RTNL held by others: address answers over the floor, us", answer),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Processor time of each daemon in microseconds per second. Starting and claiming are not idling,
/// nor is the second burst of announcements five seconds after a claim.
pub(crate) fn idle_cpu(daemons: &[&Daemon; 2], idle: Duration) -> [f64; 2] {
    std::thread::sleep(Duration::from_secs(6));
    let used = || daemons.map(|daemon| usage::cpu_ns(&daemon.processes()));
    let (before, start) = (used(), Instant::now());
    std::thread::sleep(idle);
    let (after, elapsed) = (used(), start.elapsed());
    [0, 1].map(|n| (after[n] - before[n]) as f64 / 1000.0 / elapsed.as_secs_f64())
}

/// The same while both daemons share one processor: a packet then costs the same whichever processor
/// the kernel last ran its reader on, which is chance, and otherwise the larger part of the figure.
fn idle_cpu_on_one(daemons: &[&Daemon; 2], idle: Duration) -> [f64; 2] {
    let processes: Vec<_> = daemons.iter().flat_map(|daemon| daemon.processes()).collect();
    usage::restrict(&processes, Some(0));
    let used = idle_cpu(daemons, idle);
    usage::restrict(&processes, None);
    used
}

/// Node a loses its power. Microseconds from the earliest moment at which the protocol allows a
/// takeover to the first advertisement of b, and to the first answer that the client gets.
fn crash(lab: &Lab, a: &Node, primary: Daemon) -> [f64; 2] {
    let capture = lab.capture();
    let advert_of =
        |node: &'static str| move |frame: &lab::Frame| frame.interface == node && frame.advert().is_some();
    capture.wait_for("an advertisement of a", 0, advert_of("a"));
    // The first answer is what is measured: the time between two probes is its resolution.
    let prober = Prober::start_every(Duration::from_micros(100), lab.client(), VIP);
    prober.wait_for_probes(100);
    let crash_ns = now_ns();
    lab.power_off(a, primary);
    let first = capture.wait_for_advert("b", crash_ns);
    prober.wait_for_answer();
    let last_ns = capture.adverts_of("a").last().expect("waited for above").time_ns;
    let floor_ns = last_ns + FLOOR_NS;
    // b may hold the address a moment before it advertises.
    let answer = prober.stop().first_answer_since(floor_ns - 100_000_000).expect("waited for above");
    [first.time_ns, answer].map(|time| (time - floor_ns) as f64 / 1000.0)
}

/// Does `action`, waits until `heir` alone holds the address, and gives the longest time, in
/// milliseconds, that the client waited for an answer. The probes are one millisecond apart.
pub(crate) fn outage<T>(lab: &Lab, heir: &str, action: impl FnOnce() -> T) -> (T, f64) {
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    prober.wait_for_probes(100);
    let value = action();
    lab.wait_for_holder(VIP, heir);
    prober.wait_for_answer();
    prober.wait_for_probes(AFTERMATH);
    (value, prober.stop().longest_wait().as_secs_f64() * 1000.0)
}
