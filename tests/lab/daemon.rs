//! A daemon under test: started, signalled, killed, watched.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{DEADLINE, wait_for};

/// A running daemon. Dropping it kills it with all its processes.
#[must_use]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` with its output in `NAME.log`, behind what an earlier run wrote there.
    ///
    /// # Panics
    /// When it cannot be started.
    pub(crate) fn start(name: &str, mut command: Command, directory: &Path) -> Self {
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("a writable directory");
        let errors = output.try_clone().expect("a descriptor to spare");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Self { child, log }
    }

    /// The first process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"))
    }

    /// The first process and all that descend from it.
    pub fn processes(&self) -> Vec<Pid> {
        let mut all = vec![self.pid()];
        let mut next = 0;
        while let Some(parent) = all.get(next) {
            let children = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten();
            let found: Vec<Pid> = children
                .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
                .flat_map(|text| {
                    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
                })
                .map(Pid::from_raw)
                .collect();
            all.extend(found);
            next += 1;
        }
        all
    }

    /// Whether its first process has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal to the first process.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|e| panic!("cannot send {signal} to {}: {e}", self.pid()));
    }

    /// Reloads the configuration: SIGHUP.
    pub fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// Stops every process where it stands: the machine swaps, or a hypervisor took its turn.
    pub fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// As [`terminate`](Self::terminate), for what takes its time.
    pub fn terminate_within(mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        wait_for("the daemon's end", deadline, || self.child.try_wait().expect("the child is ours"))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the daemon's end", DEADLINE, || self.child.try_wait().expect("the child is ours"))
    }

    /// `kill -9` of every process at one moment. Killing keepalived's first process alone would
    /// make the second resign in good order, so all are stopped before the first is killed.
    pub fn crash(mut self) {
        self.end();
    }

    /// `kill -9` of the first process only, as the OOM killer does it. What the others do is up to
    /// the daemon.
    pub fn kill_first(mut self) {
        self.signal(Signal::SIGKILL);
        let status = self.wait();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    }

    fn signal_all(&self, signal: Signal) {
        for pid in self.processes() {
            // One that has just ended needs no signal.
            let _ = kill(pid, signal);
        }
    }

    /// As [`crash`](Self::crash), unless it has ended.
    pub(crate) fn end(&mut self) {
        if !self.is_running() {
            return;
        }
        self.freeze();
        self.signal_all(Signal::SIGKILL);
        // Reaps; an error would mean that it was reaped before.
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// `vrrpd` or `vrrpctl` as built with the same profile as this program, or from `VRRPD_BIN_DIR`.
///
/// # Panics
/// When it has not been built, saying how to.
pub fn binary(name: &str) -> PathBuf {
    let directory = std::env::var_os("VRRPD_BIN_DIR").map_or_else(profile_directory, PathBuf::from);
    let file = directory.join(name);
    assert!(
        file.is_file(),
        "{} is not there; run `cargo build -p vrrpd` first (with --release for a release run), or name \
         the directory in VRRPD_BIN_DIR",
        file.display()
    );
    file
}

/// `target/debug` for `target/debug/bench` and for `target/debug/deps/failover-0123456789abcdef`.
pub(crate) fn profile_directory() -> PathBuf {
    let program = std::env::current_exe().expect("Linux knows our file");
    let directory = program.parent().expect("a program lies in a directory");
    if directory.ends_with("deps") {
        directory.parent().expect("deps lies in the profile's directory").to_owned()
    } else {
        directory.to_owned()
    }
}
