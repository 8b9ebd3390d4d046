//! Network namespaces without a name, and processes in them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};

/// A network namespace that lasts as long as this value or a process in it.
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// A new namespace, made by a thread of its own so that the caller stays where it is.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN.
    pub fn new() -> io::Result<Self> {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(Self { file: File::open("/proc/thread-self/ns/net")? })
        })
        .join()
        .expect("making a namespace does not panic")
    }

    /// A second handle of the same namespace.
    ///
    /// # Panics
    /// When this process has no file descriptor left.
    pub fn duplicate(&self) -> Self {
        Self { file: self.file.try_clone().expect("a descriptor to spare") }
    }

    /// Runs `work` on a thread inside of the namespace. A socket made there stays there.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.stay();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the thread that calls into the namespace, for good: one that was made for this.
    pub(crate) fn stay(&self) {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).expect("the namespace is ours");
    }

    /// A command that will run inside of the namespace and be killed when the thread that starts
    /// it ends: for a test that is the test's end, however it comes.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let namespace = self.file.as_raw_fd();
        let parent = getpid();
        let enter = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the line above took effect.
            if getppid() != parent {
                return Err(io::Error::other("the laboratory is gone"));
            }
            // SAFETY: the descriptor belongs to `self.file`, which the caller keeps open while it
            // starts the command; close-on-exec leaves it open until then.
            let namespace = unsafe { BorrowedFd::borrow_raw(namespace) };
            setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
        };
        // SAFETY: the closure only makes three system calls and allocates nothing on its way to
        // success, so it is safe between fork and exec of a process with several threads.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Where `ip link ... netns PATH` finds the namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", getpid(), self.file.as_raw_fd())
    }

    /// Every process in the namespace except ourselves.
    pub fn processes(&self) -> Vec<Pid> {
        let inode = self.file.metadata().expect("an open descriptor has metadata").ino();
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .map(Pid::from_raw)
            .filter(|pid| *pid != getpid())
            .filter(|pid| std::fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| m.ino() == inode))
            .collect()
    }

    /// Writes kernel settings, for example `("net/ipv6/conf/default/accept_dad", "0")`.
    pub fn sysctl(&self, settings: &[(&str, &str)]) {
        self.enter(|| {
            for (name, value) in settings {
                std::fs::write(format!("/proc/sys/{name}"), value)
                    .unwrap_or_else(|e| panic!("cannot set {name} to {value}: {e}"));
            }
        });
    }

    /// Runs a program to its end and gives its standard output.
    ///
    /// # Panics
    /// When it cannot be started or fails, with what it wrote to stderr.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
        assert!(
            output.status.success(),
            "{program} {}: {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `ip` once for each line of `lines`, in one process.
    ///
    /// # Panics
    /// When the kernel refuses a line.
    pub fn ip(&self, lines: &str) {
        self.feed("ip", &["-batch", "-"], lines);
    }

    /// Runs `nft -f -` with `rules`.
    ///
    /// # Panics
    /// When the kernel refuses them.
    pub fn nft(&self, rules: &str) {
        self.feed("nft", &["-f", "-"], rules);
    }

    fn feed(&self, program: &str, arguments: &[&str], input: &str) {
        use std::io::Write;
        use std::process::Stdio;
        let mut child = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
        let written = child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("the child is ours to wait for");
        assert!(
            written.is_ok() && output.status.success(),
            "{program} refused:\n{input}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
