//! Scripts run outside of the daemon, in a process that does nothing else.
//!
//! The launcher is forked first thing in `main`, before there are threads, before the sandbox and
//! before rights are given up (`stack.md` f). It keeps the rights to become another user and to kill
//! what it started, and nothing else; the daemon keeps none of these ([`crate::sandbox`]). A
//! `SOCK_SEQPACKET` pair joins the two: requests one way, answers the other. The daemon says when a
//! command is run, and the configuration file, which the launcher reads itself, which ones there are.
//! When the daemon ends, however it ends, the launcher reads the end of the socket, kills every script
//! and ends as well.
//!
//! | file | does |
//! |---|---|
//! | `handle` | the daemon's side: [`LauncherHandle::run`] |
//! | `server` | the launcher's one loop: starts, reads, kills, answers |
//! | `allowed` | what the daemon may have run: what the configuration file says |
//! | `child` | between `fork` and `execve`: user, directory, descriptors |
//! | `path` | who could put another program in the place of this one |
//! | `output` | the last line of what a script said |
//! | `sys` | the calls that need `unsafe` |
//!
//! Each script has a session and process group of its own, `/dev/null` as input, `/` as directory,
//! a clean environment, ordinary scheduling, no descriptor of ours, and a deadline at which the whole
//! group is killed. What it leaves behind in its group is killed when it ends.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{ForkResult, Pid};
use serde::{Deserialize, Serialize};

mod allowed;
mod child;
mod handle;
mod output;
mod path;
mod server;
mod sys;

pub use allowed::Allowed;
pub use handle::LauncherHandle;
pub(crate) use output::printable;

/// Most octets of one request; a longer one is refused.
pub const MAX_REQUEST: usize = 64 * 1024;

/// Most scripts at a time; one more is refused.
pub const MAX_SCRIPTS: usize = 64;

/// What the launcher keeps; the daemon keeps none of it.
const RIGHTS: [Capability; 3] = [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_KILL];

/// The daemon's end of a launcher that has been forked and not yet been connected to a runtime.
#[derive(Debug)]
pub struct Launcher {
    socket: OwnedFd,
    pid: Pid,
}

impl Launcher {
    /// Forks the launcher, which runs nothing but what is `allowed`. Comes first in `main`: it fails in a
    /// process that has threads.
    ///
    /// # Errors
    /// When there is more than one thread, `/proc` cannot be read, or the kernel refuses a process
    /// or a socket.
    pub fn start(allowed: Allowed) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        match sys::fork()? {
            ForkResult::Parent { child } => Ok(Self { socket: ours, pid: child }),
            ForkResult::Child => {
                drop(ours);
                // An unwinding panic must not run the daemon's `main` a second time.
                let end = std::panic::catch_unwind(|| server::serve(theirs, allowed));
                sys::exit(if end.is_ok() { 0 } else { 101 })
            }
        }
    }

    /// Process id of the launcher.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Connects it to the tokio runtime that this is called in.
    ///
    /// # Errors
    /// When the runtime cannot watch the socket.
    pub fn handle(self) -> io::Result<LauncherHandle> {
        LauncherHandle::new(self.socket, self.pid)
    }
}

/// Leaves in each capability set what `keep` says. The ambient set follows the others by itself.
fn restrict(keep: impl Fn(CapSet, Capability) -> bool) -> io::Result<()> {
    // In this order: the kernel refuses an effective set that is not within the permitted one.
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        let held = caps::read(None, set).map_err(io::Error::other)?;
        let left: CapsHashSet = held.iter().copied().filter(|right| keep(set, *right)).collect();
        if left != held {
            caps::set(None, set, &left).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// A program to run once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Absolute path of the program and its arguments.
    pub argv: Vec<String>,
    /// The environment beside `PATH`.
    pub env: Vec<(String, String)>,
    /// User it runs as; none: `vrrpd-check` when it exists, else `nobody`, or the daemon's own user
    /// when that is not root and the right to become another one is missing. Root only when asked
    /// for by name.
    pub user: Option<String>,
    /// Time after which its process group is killed.
    pub deadline: Duration,
}

/// What became of a [`Run`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Last line of stderr, or of stdout when stderr is empty: printable, 200 octets at most.
    pub line: String,
    /// Time from the request to the end.
    pub elapsed: Duration,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With this exit code.
    Exited(i32),
    /// Killed by this signal, which was not ours.
    Signalled(i32),
    /// Killed at its deadline, whatever it answered to that.
    TimedOut,
    /// Never started: missing, insecure, not permitted, too many; the reason with its remedy.
    Refused(String),
}

impl Outcome {
    /// Exit code 0 and nothing else.
    pub fn passed(&self) -> bool {
        self.end == End::Exited(0)
    }

    fn refused(reason: impl Into<String>) -> Self {
        Self { end: End::Refused(reason.into()), line: String::new(), elapsed: Duration::ZERO }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Exited(0) if self.line.is_empty() => {
                return write!(f, "exit code 0 in {} ms", self.elapsed.as_millis());
            }
            End::Exited(code) => write!(f, "exit code {code}")?,
            End::Signalled(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}")?,
                Err(_) => write!(f, "killed by signal {number}")?,
            },
            End::TimedOut => write!(f, "killed after {} ms, its deadline", self.elapsed.as_millis())?,
            End::Refused(reason) => return f.write_str(reason),
        }
        if self.line.is_empty() { Ok(()) } else { write!(f, ": {}", self.line) }
    }
}

/// Daemon to launcher; JSON, one in each packet.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Run {
        id: u64,
        run: Run,
    },
    /// Nobody waits for this one any more: kill it.
    Cancel {
        id: u64,
    },
    /// Read the configuration file again.
    Reread,
}

/// Launcher to daemon.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    id: u64,
    outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(end: End, line: &str) -> String {
        Outcome { end, line: line.to_owned(), elapsed: Duration::from_millis(7) }.to_string()
    }

    #[test]
    fn outcomes_read_as_an_operator_speaks() {
        assert_eq!(said(End::Exited(0), ""), "exit code 0 in 7 ms");
        assert_eq!(said(End::Exited(0), "all well"), "exit code 0: all well");
        assert_eq!(said(End::Exited(3), "no disk"), "exit code 3: no disk");
        assert_eq!(said(End::Signalled(11), ""), "killed by SIGSEGV");
        assert_eq!(said(End::Signalled(40), ""), "killed by signal 40");
        assert_eq!(said(End::TimedOut, "copying"), "killed after 7 ms, its deadline: copying");
        assert_eq!(said(End::Refused("too many".into()), ""), "too many");
    }

    #[test]
    fn only_exit_code_zero_passes() {
        let passes = |end| Outcome { end, line: String::new(), elapsed: Duration::ZERO }.passed();
        assert!(passes(End::Exited(0)));
        assert!(!passes(End::Exited(1)));
        assert!(!passes(End::Signalled(15)));
        assert!(!passes(End::TimedOut));
        assert!(!passes(End::Refused(String::new())));
    }

    #[test]
    fn a_process_with_threads_cannot_start_a_launcher() {
        let error =
            std::thread::spawn(|| Launcher::start(Allowed::all())).join().expect("the thread does not panic");
        assert!(error.expect_err("two threads at least").to_string().contains("threads"));
    }
}
