//! What the protocol thread asks of the kernel: waits, receives, sends and timers, nothing else; and
//! what it is given: a processor before all others, and its memory.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use lab::story::{PRIMARY, VIP, web};
use lab::{DEADLINE, Daemon, Lab, Node, Pair, usage, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Not `getsockopt`: how many packets there was no room for is asked when somebody wants to know, or some were lost.
const ALLOWED: [&str; 12] = [
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "recvmsg",
    "recvmmsg",
    "recvfrom",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "timerfd_settime",
    "clock_gettime",
    // A wait that a signal or strace itself interrupted.
    "restart_syscall",
];

#[test]
fn the_protocol_thread_only_waits_receives_sends_and_sets_its_timer() {
    if !lab::available(&["strace"]) {
        return;
    }
    let Some(Pair { lab, a, b, primary, secondary }) = Pair::open("") else { return };
    let of_active = Trace::start(&a, &primary);
    let of_backup = Trace::start(&b, &secondary);
    lab.settles_on(VIP, "a", 30);
    of_active.judge(&["send", "timerfd_settime"]);
    // b takes over and, when a is back, gives way.
    lab.power_off(&a, primary);
    let capture = lab.capture();
    wait_for("30 advertisements of b", DEADLINE, || (capture.adverts_of("b").len() >= 30).then_some(()));
    a.power_on();
    let _primary = a.start_vrrpd();
    lab.settles_on(VIP, "a", 10);
    of_backup.judge(&["send", "recv", "timerfd_settime"]);
}

#[test]
fn the_threads_that_keep_time_are_realtime_and_nothing_is_swapped_out() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let daemon = a.vrrpd_realtime(&web(PRIMARY, ""));
    a.wait_for_state("web", "active");
    let threads = daemon.processes().into_iter().flat_map(usage::threads);
    let realtime: BTreeSet<_> = threads.filter(|&thread| usage::is_realtime(thread)).collect();
    // Where control groups ration realtime, that is said, and the daemon goes on without.
    let refused = daemon.log().contains("no realtime scheduling");
    let named = |name| usage::thread(daemon.pid(), name).filter(|_| !refused);
    assert_eq!(realtime, ["vrrp-protocol", "vrrp-fence"].into_iter().filter_map(named).collect());
    let locked = usage::status(daemon.pid(), "VmLck").expect("it runs");
    assert!(daemon.log().contains("memory is not locked") || locked != "0 kB", "{locked}");
}

/// strace on the protocol thread alone.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    fn start(node: &Node, daemon: &Daemon) -> Self {
        let thread =
            wait_for("the protocol thread", DEADLINE, || usage::thread(daemon.pid(), "vrrp-protocol"));
        let file = node.directory().join("strace.out");
        let strace = node
            .namespace()
            .command("strace")
            .args(["-qq", "-s", "0", "-o"])
            .arg(&file)
            .args(["-p", &thread.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("available() has found strace");
        let trace = Self { strace, file };
        wait_for("the first traced call", DEADLINE, || (!trace.lines().is_empty()).then_some(()));
        trace
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Ends the trace. Each name of `seen` must be the beginning of a call that was made, so that
    /// an empty trace does not pass.
    fn judge(mut self, seen: &[&str]) {
        let pid = Pid::from_raw(i32::try_from(self.strace.id()).expect("a pid fits"));
        kill(pid, Signal::SIGTERM).expect("strace still runs");
        self.strace.wait().expect("strace is our child");
        let lines = self.lines();
        for name in seen {
            assert!(lines.iter().any(|line| line.starts_with(name)), "no {name} among {} calls", lines.len());
        }
        let strange: Vec<_> = lines.iter().filter(|line| !is_allowed(line)).collect();
        assert!(strange.is_empty(), "{} of {} calls: {strange:#?}", strange.len(), lines.len());
    }
}

fn is_allowed(line: &str) -> bool {
    // Signals and the end of the trace are no calls.
    if line.starts_with("---") || line.starts_with("+++") || line.starts_with("strace:") {
        return true;
    }
    let (name, arguments) = line.split_once('(').unwrap_or((line, ""));
    match name {
        // Eight octets: an eventfd or a timerfd, not a file or a log.
        "read" | "write" => arguments.contains(", 8)"),
        _ => ALLOWED.contains(&name),
    }
}
