//! What the daemon gives up before it reads the first packet, so that a fault in it is worth little to
//! whoever finds it: rights, files, system calls.
//!
//! | taken away | by | with what is left |
//! |---|---|---|
//! | every right but `CAP_NET_ADMIN`, `CAP_NET_RAW`, and `CAP_SYS_NICE` for realtime | capset(2) | `rights` |
//! | gaining any by executing a program | no_new_privs | nothing |
//! | writing files, executing programs | landlock(7) | `files`: its own directories, `/proc/sys/net` |
//! | system calls that it has no use for | seccomp(2) | `calls`: those that it has, or may come to have |
//!
//! Reading files and connecting stay as they were: checks look at files, file systems and services, a
//! reload may name others than the start, and whose files may be read is for their owners to say. What
//! a kernel does not have is told in a sentence, and the others hold.
//!
//! All of this is a thread's own and inherited by what it starts. So it comes after the launcher has been
//! forked, which needs other rights, and before there are threads.

use std::io;
use std::path::Path;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

mod calls;
mod files;
mod rights;

/// What [`enter`] could not do, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// This kernel cannot take something away. The rest holds.
    OfKernel(String),
    /// A directory cannot be used, and will not be until the daemon is started again.
    Directory(String),
}

/// Gives up what the daemon does not need, for good. `writable`: directories whose files it writes, made
/// where they are missing. `realtime`: it may ask for realtime scheduling.
///
/// Says what could not be done.
///
/// # Errors
///
/// When the kernel refuses to take rights away, which it has no reason to.
pub fn enter(writable: &[&Path], realtime: bool) -> io::Result<Vec<Lack>> {
    rights::keep(realtime)?;
    prctl::set_no_new_privs()?;
    let mut told = files::restrict(writable);
    told.extend(calls::forbid().into_iter().map(Lack::OfKernel));
    Ok(told)
}

/// Sets `RLIMIT_RTTIME`: a realtime thread that never waits again is ended by the kernel, and the process
/// with it, before it takes the machine down.
pub fn bound_realtime() {
    /// Microseconds on the processor without one wait.
    const SPIN: u64 = 2_000_000;
    // A lower limit that somebody else set is as good.
    let _ = setrlimit(Resource::RLIMIT_RTTIME, SPIN, SPIN);
}
