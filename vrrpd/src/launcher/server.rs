//! The launcher's side: one loop over the socket, the signal of an ended child and the pipes.
//!
//! Nothing here waits for a script, a file or a name: pipes and socket do not block, and what may
//! hang is done in the child. The one file is the configuration, which the daemon has just read. Requests are read only while every answer has been taken, so that what
//! is kept in memory is bounded by [`MAX_SCRIPTS`].

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use caps::CapSet;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{self, ForkResult, Pid};

use super::child::{self, Ends};
use super::output::Tail;
use super::{Allowed, Answer, End, MAX_REQUEST, MAX_SCRIPTS, Outcome, RIGHTS, Request, Run, restrict, sys};

/// Runs of the same program that may hang in the kernel, killed and not ended, before one more of
/// it is refused; the others go on.
const MAX_HANGING: usize = 4;

/// Octets read from one pipe before the others have their turn.
const READ_AT_ONCE: usize = 64 * 1024;

/// Serves requests until the daemon's end of `socket` is closed, then kills what still runs.
pub(super) fn serve(socket: OwnedFd, allowed: Allowed) {
    let ended = settle(&socket).and_then(|children| {
        let mut server = Server { socket, children, allowed, scripts: Vec::new(), answers: VecDeque::new() };
        let ended = server.run();
        server.scripts.iter().for_each(Script::kill);
        ended
    });
    if let Err(error) = ended {
        eprintln!("vrrpd-launcher: {error}");
    }
}

/// Makes the copy of the daemon a process of its own kind: name, signals, descriptors, rights.
fn settle(socket: &OwnedFd) -> io::Result<SignalFd> {
    prctl::set_name(c"vrrpd-launcher")?;
    // What ends the daemon must not end the launcher before it: `stopped` hooks run in between. The
    // end of the socket ends it; SIGTERM to the whole service or Ctrl-C in a terminal does not.
    SigSet::all().thread_set_mask()?;
    // For the scripts, which inherit what is ignored; and who ignores SIGCHLD has nobody to wait for.
    sys::default_signals();
    sys::ordinary_scheduling();
    // The unit gives the daemon the means to ask for realtime; one that has no such limit needs none.
    let _ = setrlimit(Resource::RLIMIT_RTPRIO, 0, 0);
    umask(Mode::from_bits_truncate(0o022));
    unistd::chdir("/")?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    unistd::dup2_stdin(&null)?;
    unistd::dup2_stdout(&null)?;
    drop(null);
    close_all_but(socket.as_raw_fd())?;
    restrict(|set, right| !matches!(set, CapSet::Inheritable) && RIGHTS.contains(&right))?;
    let mut child = SigSet::empty();
    child.add(Signal::SIGCHLD);
    Ok(SignalFd::with_flags(&child, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Closes what was inherited, but stdio and `kept`.
fn close_all_but(kept: RawFd) -> io::Result<()> {
    let entries = fs::read_dir("/proc/self/fd")?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    let inherited: Vec<RawFd> = numbers.filter(|number| *number > 2 && *number != kept).collect();
    for number in inherited {
        // The directory that was just read is among them and closed by now.
        let _ = unistd::close(number);
    }
    Ok(())
}

struct Server {
    socket: OwnedFd,
    children: SignalFd,
    allowed: Allowed,
    scripts: Vec<Script>,
    answers: VecDeque<Answer>,
}

impl Server {
    fn run(&mut self) -> io::Result<()> {
        let mut packet = vec![0; MAX_REQUEST];
        loop {
            self.wait()?;
            while self.children.read_signal()?.is_some() {}
            self.scripts.iter_mut().for_each(Script::read);
            self.reap();
            self.expire();
            if !self.answer()? || !self.receive(&mut packet)? {
                return Ok(());
            }
        }
    }

    /// Waits for something to do, or the nearest deadline.
    fn wait(&self) -> io::Result<()> {
        let wanted = if self.answers.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLOUT };
        let mut watched = vec![
            PollFd::new(self.socket.as_fd(), wanted),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
        ];
        let pipes =
            self.scripts.iter().flat_map(|script| [&script.stdout.pipe, &script.stderr.pipe]).flatten();
        watched.extend(pipes.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        let nearest =
            self.scripts.iter().filter(|script| !script.answered).map(|script| script.deadline).min();
        let timeout = nearest.map_or(PollTimeout::NONE, |deadline| {
            // Rounded up: woken a fraction of a millisecond early, it would spin.
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers for the scripts that have ended, and kills what they left in their groups.
    fn reap(&mut self) {
        let answers = &mut self.answers;
        self.scripts.retain_mut(|script| {
            let Some(end) = script.ended() else { return true };
            if !script.answered {
                answers.push_back(script.result(end));
            }
            false
        });
    }

    /// Kills the scripts whose deadline has passed and answers at once, whether or not they die.
    fn expire(&mut self) {
        let now = Instant::now();
        for script in self.scripts.iter_mut().filter(|script| !script.answered && script.deadline <= now) {
            script.kill();
            script.answered = true;
            let answer = script.result(End::TimedOut);
            self.answers.push_back(answer);
        }
    }

    /// Sends what is waiting; false when the daemon is gone.
    fn answer(&mut self) -> io::Result<bool> {
        while let Some(answer) = self.answers.front() {
            let packet = serde_json::to_vec(answer)?;
            match send(self.socket.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
                Ok(_) => self.answers.pop_front(),
                Err(Errno::EAGAIN) => return Ok(true),
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
        }
        Ok(true)
    }

    /// Takes requests; false when the daemon is gone.
    fn receive(&mut self, packet: &mut [u8]) -> io::Result<bool> {
        while self.answers.is_empty() {
            match recv(self.socket.as_raw_fd(), packet, MsgFlags::MSG_DONTWAIT) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(false),
                Ok(length) => match serde_json::from_slice(&packet[..length]) {
                    Ok(Request::Run { id, run }) => self.start(id, run),
                    Ok(Request::Cancel { id }) => self.cancel(id),
                    Ok(Request::Reread) => self.allowed.read(),
                    // The daemon's own guard answers for it.
                    Err(error) => eprintln!("vrrpd-launcher: a request that cannot be read: {error}"),
                },
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn start(&mut self, id: u64, run: Run) {
        let may = self.allowed.allow(&run).and_then(|()| self.room_for(&run));
        let started = may.and_then(|()| Script::start(id, run));
        match started {
            Ok(script) => self.scripts.push(script),
            Err(reason) => self.answers.push_back(Answer { id, outcome: Outcome::refused(reason) }),
        }
    }

    fn room_for(&self, run: &Run) -> Result<(), String> {
        if self.scripts.len() >= MAX_SCRIPTS {
            return Err(format!("{MAX_SCRIPTS} scripts are running, which is the most at a time"));
        }
        let same = |script: &&Script| script.answered && script.run.argv == run.argv;
        let hanging: Vec<String> =
            self.scripts.iter().filter(same).map(|script| script.pid.to_string()).collect();
        if hanging.len() >= MAX_HANGING {
            return Err(format!(
                "{} earlier runs were killed and have not ended (pid {}): they hang in the kernel, look at the \
                 storage that they use",
                hanging.len(),
                hanging.join(", ")
            ));
        }
        Ok(())
    }

    fn cancel(&mut self, id: u64) {
        for script in self.scripts.iter_mut().filter(|script| script.id == id) {
            script.kill();
            script.answered = true;
        }
    }
}

/// One of the two streams that a script writes.
struct Stream {
    /// None once it has been closed by everybody.
    pipe: Option<File>,
    tail: Tail,
}

impl Stream {
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        let mut total = 0;
        while let Some(pipe) = &mut self.pipe
            && total < READ_AT_ONCE
        {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    self.tail.push(&buffer[..length]);
                    total += length;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// A program that was started and has not been reaped.
struct Script {
    id: u64,
    run: Run,
    pid: Pid,
    started: Instant,
    deadline: Instant,
    stdout: Stream,
    stderr: Stream,
    /// What kept the program from being executed.
    report: Stream,
    /// The daemon knows the outcome, or does not want to; what is left is to reap.
    answered: bool,
}

impl Script {
    fn start(id: u64, run: Run) -> Result<Self, String> {
        let started = Instant::now();
        let deadline = started.checked_add(run.deadline).ok_or("the deadline is beyond all time")?;
        let failed = |error: io::Error| format!("cannot start a process: {error}");
        let launcher = unistd::getpid();
        let (stdout, out) = pipe().map_err(failed)?;
        let (stderr, err) = pipe().map_err(failed)?;
        let (report, reason) = pipe().map_err(failed)?;
        match sys::fork().map_err(failed)? {
            ForkResult::Child => {
                child::become_script(&run, Ends { stdout: out, stderr: err, report: reason }, launcher)
            }
            ForkResult::Parent { child } => {
                Ok(Self { id, run, pid: child, started, deadline, stdout, stderr, report, answered: false })
            }
        }
    }

    fn read(&mut self) {
        self.stdout.read();
        self.stderr.read();
    }

    /// How it ended, once it has; then its group is gone as well and its process is reaped.
    fn ended(&mut self) -> Option<End> {
        // Left a zombie until its group is killed, so that its number cannot be anybody else's.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let end = match waitid(Id::Pid(self.pid), look) {
            Ok(WaitStatus::Exited(_, code)) => End::Exited(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => End::Signalled(signal as i32),
            Ok(_) | Err(Errno::EINTR) => return None,
            Err(error) => End::Refused(format!("cannot wait for the script: {}", error.desc())),
        };
        self.kill();
        let _ = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
        self.read();
        self.report.read();
        match self.report.tail.text() {
            reason if reason.is_empty() => Some(end),
            reason => Some(End::Refused(reason)),
        }
    }

    fn result(&self, end: End) -> Answer {
        let said = self.stderr.tail.line();
        let line = if said.is_empty() { self.stdout.tail.line() } else { said };
        Answer { id: self.id, outcome: Outcome { end, line, elapsed: self.started.elapsed() } }
    }

    /// Kills it and its group; it may not yet have made the group, or there may be nothing left.
    fn kill(&self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = killpg(self.pid, Signal::SIGKILL);
    }
}

/// A pipe whose read end does not block.
fn pipe() -> io::Result<(Stream, OwnedFd)> {
    let (read, write) = unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((Stream { pipe: Some(File::from(read)), tail: Tail::default() }, write))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &str) -> Run {
        Run { argv: vec![program.to_owned()], env: Vec::new(), user: None, deadline: Duration::ZERO }
    }

    fn silent() -> Stream {
        Stream { pipe: None, tail: Tail::default() }
    }

    /// A script that was killed at its deadline and has not ended.
    fn hanging(program: &str) -> Script {
        let now = Instant::now();
        let (stdout, stderr, report) = (silent(), silent(), silent());
        let pid = Pid::from_raw(4711);
        Script {
            id: 1,
            run: run(program),
            pid,
            started: now,
            deadline: now,
            stdout,
            stderr,
            report,
            answered: true,
        }
    }

    #[test]
    fn a_program_that_hangs_in_the_kernel_does_not_take_every_place() {
        let children = SignalFd::new(&SigSet::empty()).expect("there are descriptors left");
        let socket = OwnedFd::from(File::open("/dev/null").expect("there is one"));
        let scripts = (0..MAX_HANGING).map(|_| hanging("/mnt/dead/check")).collect();
        let allowed = Allowed::all();
        let mut server = Server { socket, children, allowed, scripts, answers: VecDeque::new() };
        let reason = server.room_for(&run("/mnt/dead/check")).expect_err("four of it hang");
        assert!(reason.starts_with("4 earlier runs were killed and have not ended (pid 4711, "), "{reason}");
        assert_eq!(server.room_for(&run("/etc/check")), Ok(()), "others go on");
        server.scripts.pop();
        assert_eq!(server.room_for(&run("/mnt/dead/check")), Ok(()));
    }
}
