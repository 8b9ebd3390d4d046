//! The daemons as child processes, and the signals that end the demo.
//!
//! A child dies with this process however that ends: the kernel kills it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpid, getppid};

use super::Error;
use super::space::Namespace;

/// The signals that end the demo, held back until it looks.
pub(super) struct Signals {
    pending: SignalFd,
}

impl Signals {
    /// Holds them back in this thread and all that it will start.
    pub(super) fn block() -> Result<Self, Error> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().map_err(Error::system("hold back signals"))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let pending = SignalFd::with_flags(&signals, flags).map_err(Error::system("watch for signals"))?;
        Ok(Self { pending })
    }

    /// # Errors
    /// [`Error::Interrupted`] when one has come.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.pending.read_signal() {
            Ok(Some(info)) => {
                let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok());
                Err(Error::Interrupted(signal.unwrap_or(Signal::SIGINT)))
            }
            _ => Ok(()),
        }
    }
}

/// A running `vrrpd`. Dropping it kills it and what it started.
pub(super) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts this very program with a configuration file, in `namespace`, with its log beside the
    /// file. The calling thread must last as long as the daemon is to.
    pub(super) fn start(config: &Path, namespace: &Namespace) -> Result<Self, Error> {
        let log = config.with_extension("log");
        let started = || -> io::Result<Child> {
            let output = File::options().create(true).append(true).open(&log)?;
            // Ourselves, even if the file was replaced meanwhile.
            let mut command = Command::new("/proc/self/exe");
            command.arg0("vrrpd").arg("--config").arg(config);
            command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
            // Not told by systemd; and its own group, so that Ctrl-C does not stop it in good order.
            command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").process_group(0);
            live_in(&mut command, namespace);
            command.spawn()
        };
        let child = started().map_err(Error::system("start vrrpd"))?;
        Ok(Self { child, log })
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended, which is noticed elsewhere.
        let _ = killpg(self.group(), signal);
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours to wait for")
    }

    /// How it ended, if it does within `patience`.
    pub(super) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() >= deadline {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The end of what it wrote, at most `count` lines.
    pub(super) fn last_words(&self, count: usize) -> Vec<String> {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("the kernel's pids are positive and fit"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::SIGKILL);
            // Reaps it.
            let _ = self.child.wait();
        }
    }
}

/// Has `command` live in `namespace`, no longer than this process.
fn live_in(command: &mut Command, namespace: &Namespace) {
    let namespace: RawFd = namespace.as_fd().as_raw_fd();
    let parent = getpid();
    let prepare = move || {
        SigSet::empty().thread_set_mask()?;
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // We may have been killed before the line above took effect.
        if getppid() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // SAFETY: the caller borrows the namespace until the command has been started, and its
        // descriptor is closed on exec, not before.
        let namespace = unsafe { BorrowedFd::borrow_raw(namespace) };
        setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    };
    // SAFETY: between fork and exec the closure only makes system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}
