//! The system calls of the launcher that need `unsafe`, each behind a safe function.

use std::io;
use std::os::fd::OwnedFd;

use nix::unistd::ForkResult;
use tokio::io::unix::AsyncFd;

/// Forks a process that has one thread, so that the child may allocate and lock as it likes.
///
/// # Errors
/// When there are more threads, `/proc` cannot be read, or the kernel refuses.
pub(super) fn fork() -> io::Result<ForkResult> {
    let threads = std::fs::read_dir("/proc/self/task")
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read /proc/self/task: {error}")))?
        .count();
    if threads != 1 {
        return Err(io::Error::other(format!(
            "cannot fork among {threads} threads: fork before starting any"
        )));
    }
    // SAFETY: the child of a process with one thread is a whole process: no lock is held by a thread
    // that does not exist in it. That there is one thread was counted above, by the only thread.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Ends the process without running anything of it.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: `_exit` takes any number and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Gives every signal its default action; an ignored one would stay ignored across `execve`.
pub(super) fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is a valid disposition and no handler of ours is called any more. Numbers
        // that cannot be set (SIGKILL, SIGSTOP, libc's own) are refused without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Ordinary scheduling and no advantage from a nice value; what is refused stays as it was.
pub(super) fn ordinary_scheduling() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` outlives the call, which only reads it; 0 is the calling process.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameters);
        libc::setpriority(libc::PRIO_PROCESS, 0, 0);
    }
}

/// Lets the tokio runtime that this is called in watch `socket`.
///
/// # Errors
/// When the runtime's poll instance refuses it.
pub(super) fn watch(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names one open descriptor until it is dropped, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}
