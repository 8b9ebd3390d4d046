//! The daemon's side of the launcher.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Answer, MAX_REQUEST, Outcome, Request, Run, sys};

/// How much later than the deadline the launcher's answer may be before the daemon goes on without
/// it. The launcher answers at the deadline; this is for one that is stopped or starved.
const GRACE: Duration = Duration::from_secs(1);

/// Most octets of one answer: a reason and a line, both short.
const MAX_ANSWER: usize = 16 * 1024;

/// Runs scripts; clones share one launcher, which ends when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct LauncherHandle {
    link: Arc<Link>,
    /// Dropped with the last handle, which aborts the task that reads answers.
    _reader: Arc<JoinSet<()>>,
}

#[derive(Debug)]
struct Link {
    socket: AsyncFd<OwnedFd>,
    pid: Pid,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    last_id: u64,
    runs: HashMap<u64, oneshot::Sender<Outcome>>,
    /// The launcher has closed its end.
    ended: bool,
}

impl LauncherHandle {
    pub(super) fn new(socket: OwnedFd, pid: Pid) -> io::Result<Self> {
        let link = Arc::new(Link { socket: sys::watch(socket)?, pid, waiting: Mutex::default() });
        let mut reader = JoinSet::new();
        reader.spawn(Arc::clone(&link).read_answers());
        Ok(Self { link, _reader: Arc::new(reader) })
    }

    /// Runs a program and waits for its end, until shortly after its deadline at the latest.
    ///
    /// Every trouble, a dead launcher among them, is an [`Outcome`] that does not pass. When the
    /// future is dropped before its end, the script is killed.
    pub async fn run(&self, run: Run) -> Outcome {
        let latest = run.deadline.saturating_add(GRACE);
        match timeout(latest, self.ask(run)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::refused(format!(
                "the launcher of scripts (pid {}) does not answer; restart vrrpd",
                self.link.pid
            )),
        }
    }

    /// Has the launcher read the configuration file again: the daemon has just taken it over, and it may have
    /// changed again when one of its commands is run.
    pub fn reread(&self) {
        if let Ok(packet) = serde_json::to_vec(&Request::Reread) {
            // When there is no room, it reads the file before it refuses a command.
            let _ = send_now(self.link.socket.get_ref(), &packet);
        }
    }

    async fn ask(&self, run: Run) -> Outcome {
        let (ticket, answer) = Ticket::new(&self.link);
        let packet = match serde_json::to_vec(&Request::Run { id: ticket.id, run }) {
            Ok(packet) if packet.len() <= MAX_REQUEST => packet,
            Ok(packet) => {
                return Outcome::refused(format!(
                    "arguments and environment take {} octets of at most {MAX_REQUEST}",
                    packet.len()
                ));
            }
            Err(error) => return Outcome::refused(format!("cannot ask the launcher: {error}")),
        };
        if self.link.send(&packet).await.is_err() {
            return self.link.ended();
        }
        answer.await.unwrap_or_else(|_| self.link.ended())
    }
}

impl Link {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each section leaves the map whole, so one that panicked elsewhere is no obstacle.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> Outcome {
        let pid = self.pid;
        Outcome::refused(format!(
            "the launcher of scripts (pid {pid}) has ended: no script can run; restart vrrpd"
        ))
    }

    async fn send(&self, packet: &[u8]) -> io::Result<usize> {
        self.socket.async_io(Interest::WRITABLE, |socket| send_now(socket, packet)).await
    }

    /// Hands out answers until the launcher ends; then fails those that still wait.
    async fn read_answers(self: Arc<Self>) {
        let mut packet = vec![0; MAX_ANSWER];
        loop {
            let received = self.socket.async_io(Interest::READABLE, |socket| {
                Ok(recv(socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT)?)
            });
            match received.await {
                Ok(0) | Err(_) => break,
                Ok(length) => match serde_json::from_slice::<Answer>(&packet[..length]) {
                    Ok(Answer { id, outcome }) => {
                        if let Some(waiter) = self.waiting().runs.remove(&id) {
                            // It may have given up in this moment.
                            let _ = waiter.send(outcome);
                        }
                    }
                    Err(error) => tracing::warn!(%error, "an answer of the launcher that cannot be read"),
                },
            }
        }
        tracing::error!(pid = %self.pid, "the launcher of scripts has ended: exec checks fail and hooks do not run");
        let mut waiting = self.waiting();
        waiting.ended = true;
        waiting.runs.clear();
    }
}

fn send_now(socket: &OwnedFd, packet: &[u8]) -> io::Result<usize> {
    Ok(send(socket.as_raw_fd(), packet, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
}

/// A place among those who wait for an answer, given up when it is dropped.
struct Ticket {
    link: Arc<Link>,
    id: u64,
}

impl Ticket {
    fn new(link: &Arc<Link>) -> (Self, oneshot::Receiver<Outcome>) {
        let (sender, answer) = oneshot::channel();
        let mut waiting = link.waiting();
        waiting.last_id += 1;
        let id = waiting.last_id;
        if !waiting.ended {
            waiting.runs.insert(id, sender);
        }
        (Self { link: Arc::clone(link), id }, answer)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let unanswered = self.link.waiting().runs.remove(&self.id).is_some();
        if unanswered && let Ok(packet) = serde_json::to_vec(&Request::Cancel { id: self.id }) {
            // When it cannot be sent, the deadline ends the script a little later.
            let _ = send_now(self.link.socket.get_ref(), &packet);
        }
    }
}
