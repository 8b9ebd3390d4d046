//! A process that has given up what the daemon gives up tries what it must not be able to do.
//!
//! Without libtest: the sandbox is for the thread that enters it, and for good, so each case is a run of
//! this program, in a network namespace of its own where it may have one.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use vrrpd::sandbox::{self, Lack};

/// A name and what it stands for: run with an empty directory of its own.
type Case = (&'static str, fn(&Path));

const CASES: [Case; 6] = [
    ("rights_and_marks_are_those_of_every_thread", rights_and_marks_are_those_of_every_thread),
    ("files_are_written_in_the_own_directories_alone", files_are_written_in_the_own_directories_alone),
    ("settings_of_the_network_are_written_and_no_others", settings_of_the_network_are_written_and_no_others),
    ("no_program_runs_and_no_process_is_made", no_program_runs_and_no_process_is_made),
    ("calls_without_a_use_are_refused", calls_without_a_use_are_refused),
    ("what_the_daemon_does_goes_on", what_the_daemon_does_goes_on),
];

/// Runs one case in this process.
const INSIDE: &str = "--inside";
/// Spins in this process, as a realtime thread that never waits again would.
const SPIN: &str = "--spin";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [mode, name, directory] if mode == INSIDE => inside(name, Path::new(directory)),
        [mode] if mode == SPIN => spin(),
        _ => judge(&arguments),
    }
}

fn judge(arguments: &[String]) -> ExitCode {
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let selected = |name: &str| {
        filters.is_empty() || filters.iter().any(|&f| if exact { name == f } else { name.contains(f) })
    };
    let spinning = "a_realtime_thread_that_spins_is_killed";
    let names = CASES.iter().map(|(name, _)| *name).chain([spinning]).filter(|name| selected(name));
    if arguments.iter().any(|argument| argument == "--list") {
        names.for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = false;
    for name in names {
        let passed = if name == spinning { spinner_is_killed() } else { case_passes(name) };
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed |= !passed;
    }
    if failed { ExitCode::from(101) } else { ExitCode::SUCCESS }
}

fn again(arguments: &[&str]) -> ExitStatus {
    let program = std::env::current_exe().expect("/proc is mounted");
    Command::new(program).args(arguments).status().expect("it is this program")
}

fn case_passes(name: &str) -> bool {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("cargo gave us a directory to write in");
    let status = again(&[INSIDE, name, directory.to_str().expect("cargo's directories are UTF-8")]);
    // What stays behind harms nobody.
    let _ = fs::remove_dir_all(&directory);
    status.success()
}

fn inside(name: &str, directory: &Path) -> ExitCode {
    let (_, case) = CASES.iter().find(|(known, _)| *known == name).expect("the parent knows the names");
    // Settings of the network are tried out.
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no network namespace to be had: {errno}");
        println!("SKIPPED: no network namespace to be had: {errno}");
        return ExitCode::SUCCESS;
    }
    case(directory);
    ExitCode::SUCCESS
}

/// Enters the sandbox with `own` as the only directory to write in, on a kernel that has all of it.
fn enter(own: &Path) {
    let told = sandbox::enter(&[own], false).expect("less is always allowed");
    assert_eq!(told, [], "this kernel has everything");
}

fn status(task: &Path, key: &str) -> String {
    let text = fs::read_to_string(task.join("status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.expect("the kernel tells").trim().to_owned()
}

fn rights_and_marks_are_those_of_every_thread(directory: &Path) {
    let tasks =
        || fs::read_dir("/proc/self/task").expect("/proc is mounted").map(|task| task.expect("ours").path());
    assert_eq!(tasks().count(), 1);
    let held = u64::from_str_radix(&status(Path::new("/proc/self"), "CapPrm"), 16).expect("in hexadecimal");
    enter(directory);
    let told = sandbox::enter(&[directory, Path::new("/proc/none")], false).expect("twice is no fault");
    let is_warning = |lack: &Lack| matches!(lack, Lack::Directory(words) if words.contains("/proc/none"));
    assert!(told.iter().any(is_warning), "{told:?}");
    let thread = std::thread::spawn(move || {
        assert_eq!(tasks().count(), 2);
        // NET_ADMIN and NET_RAW, as far as they were there.
        let kept = format!("{:016x}", held & 0x3000);
        for task in tasks() {
            for (key, value) in [("CapEff", &*kept), ("CapPrm", &kept), ("NoNewPrivs", "1"), ("Seccomp", "2")]
            {
                assert_eq!(status(&task, key), value, "{key}");
            }
            for key in ["CapInh", "CapAmb", "CapBnd"] {
                assert_eq!(status(&task, key), "0000000000000000", "{key}");
            }
        }
    });
    thread.join().expect("a thread can be had, and finds what it should");
}

fn denied<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn files_are_written_in_the_own_directories_alone(directory: &Path) {
    let [own, foreign] = ["own", "foreign"].map(|name| directory.join(name));
    fs::create_dir(&foreign).expect("a directory");
    fs::write(foreign.join("file"), "as it was").expect("a file");
    let mut opened = File::options().append(true).open(foreign.join("file")).expect("before");
    enter(&own);
    fs::write(own.join("draft"), "1").expect("its own, which was made");
    fs::write(own.join("draft"), "2").expect("again");
    fs::rename(own.join("draft"), own.join("file")).expect("its own");
    drop(UnixListener::bind(own.join("socket")).expect("its own"));
    fs::create_dir(own.join("a")).expect("its own");
    fs::rename(own.join("a"), own.join("b")).expect("its own");
    fs::remove_file(own.join("socket")).expect("its own");

    assert!(denied(fs::write(foreign.join("file"), "other")));
    assert!(denied(fs::write(foreign.join("new"), "other")));
    assert!(denied(fs::remove_file(foreign.join("file"))));
    assert!(fs::rename(own.join("file"), foreign.join("file")).is_err());
    assert!(denied(UnixListener::bind(foreign.join("socket"))));
    assert_eq!(fs::read_to_string(foreign.join("file")).expect("reading is free"), "as it was");
    assert_eq!(fs::read_dir(&foreign).expect("reading is free").count(), 1);
    // stderr that leads to a file was opened before.
    io::Write::write_all(&mut opened, b", and more").expect("an open file stays open");
}

fn settings_of_the_network_are_written_and_no_others(directory: &Path) {
    let setting = Path::new("/proc/sys/net/ipv4/conf/lo/arp_ignore");
    fs::write(setting, "0").expect("root may, and the namespace is ours");
    enter(directory);
    fs::write(setting, "1").expect("vrrpd does such things");
    assert_eq!(fs::read_to_string(setting).expect("reading is free").trim(), "1");
    // With the value that it has, and as root, who owns the file.
    let other = "/proc/sys/kernel/core_uses_pid";
    let value = fs::read_to_string(other).expect("reading is free");
    assert!(denied(fs::write(other, value)), "{other}");
    assert!(denied(fs::write("/proc/self/oom_score_adj", "0")));
}

fn no_program_runs_and_no_process_is_made(directory: &Path) {
    enter(directory);
    assert!(denied(Command::new("/bin/true").status()));
    let program = c"/bin/true";
    assert_eq!(nix::unistd::execv(program, &[program]).expect_err("it would not return"), Errno::EPERM);
    // SAFETY: the child, if there is one against all expectation, ends at once.
    match unsafe { nix::unistd::fork() } {
        Err(errno) => assert_eq!(errno, Errno::EPERM),
        Ok(nix::unistd::ForkResult::Parent { .. }) => panic!("there is a child"),
        // SAFETY: `_exit` takes any number and touches no memory.
        Ok(nix::unistd::ForkResult::Child) => unsafe { libc::_exit(0) },
    }
}

/// Each with arguments that mean nothing: without a filter the kernel says so, or does nothing.
fn calls_without_a_use_are_refused(directory: &Path) {
    let call = |number: libc::c_long| {
        // SAFETY: zeros are no pointers that anything could be written to, and those calls that take none
        // do nothing with them (they are listed below).
        let result = unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
        if result < 0 { Errno::last() } else { Errno::UnknownErrno }
    };
    let calls = [
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("mount", libc::SYS_mount),
        ("open_tree", libc::SYS_open_tree),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("keyctl", libc::SYS_keyctl),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("init_module", libc::SYS_init_module),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("clock_settime", libc::SYS_clock_settime),
        ("setuid", libc::SYS_setuid),
        ("add_key", libc::SYS_add_key),
    ];
    // As root; by themselves they fail for want of an argument, if at all.
    if geteuid().is_root() {
        for (name, number) in calls.iter().filter(|(name, _)| *name != "io_uring_setup") {
            assert_ne!(call(*number), Errno::EPERM, "{name} is forbidden before");
        }
    }
    enter(directory);
    for (name, number) in calls {
        assert_eq!(call(number), Errno::EPERM, "{name}");
    }
    assert_eq!(call(libc::SYS_clone3), Errno::ENOSYS, "which has the C library take clone(2)");
    // SAFETY: a number of a family, and no memory.
    let vsock = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0) };
    assert_eq!((vsock, Errno::last()), (-1, Errno::EPERM));
}

fn what_the_daemon_does_goes_on(directory: &Path) {
    enter(directory);
    std::thread::spawn(|| ()).join().expect("threads are made");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("and runtimes").block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("sockets are bound");
        drop(listener);
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::task::spawn_blocking(|| fs::read("/etc/hosts"))
            .await
            .expect("it ran")
            .expect("files are read");
    });
    for (domain, kind) in [
        (libc::AF_PACKET, libc::SOCK_RAW),
        (libc::AF_NETLINK, libc::SOCK_RAW),
        (libc::AF_UNIX, libc::SOCK_DGRAM),
    ] {
        // SAFETY: numbers, and no memory; the descriptor goes with the process.
        assert!(unsafe { libc::socket(domain, kind, 0) } >= 0, "family {domain}: {}", Errno::last());
    }
    // What the journal gets a long line in.
    // SAFETY: a name that lives on, and no other memory.
    assert!(unsafe { libc::memfd_create(c"line".as_ptr(), 0) } >= 0);
    assert!(std::net::ToSocketAddrs::to_socket_addrs("localhost:80").is_ok(), "names are looked up");
}

/// The kernel takes a thread that spins in realtime for what it is, and ends the process.
fn spinner_is_killed() -> bool {
    use std::os::unix::process::ExitStatusExt;
    let status = again(&[SPIN]);
    match status.signal() {
        Some(signal) => signal == libc::SIGKILL || signal == libc::SIGXCPU,
        None if status.code() == Some(77) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no realtime scheduling to be had");
            println!("SKIPPED: no realtime scheduling to be had");
            true
        }
        None => false,
    }
}

fn spin() -> ExitCode {
    vrrpd::sandbox::bound_realtime();
    let (soft, hard) = getrlimit(Resource::RLIMIT_RTTIME).expect("every kernel since 2.6.25");
    assert_eq!((soft, hard), (2_000_000, 2_000_000), "two seconds without a wait");
    // The same by a tenth of the time.
    setrlimit(Resource::RLIMIT_RTTIME, 200_000, 200_000).expect("less is always allowed");
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: 0 names the calling thread, and the parameters live until the call returns.
    let answer = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameters)
    };
    if answer != 0 {
        return ExitCode::from(77);
    }
    // Long enough for the limit, and not for ever where there is none.
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while std::time::Instant::now() < end {
        std::hint::spin_loop();
    }
    ExitCode::FAILURE
}
