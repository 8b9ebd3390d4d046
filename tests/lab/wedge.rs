//! One thread of a daemon that no longer comes back, while the others go on: a deadlock, an endless
//! loop, a page that a dead disk does not give.
//!
//! A debugger does it from outside, so that the daemon needs no code for it.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};

use crate::{DEADLINE, Daemon, usage, wait_for};

/// A thread that stands still. Dropping it lets the thread go on.
#[must_use]
pub struct Wedged {
    release: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Stops the thread called `name` where it stands; all others go on.
    ///
    /// # Panics
    /// When there is no such thread, or it cannot be traced.
    pub fn wedge(&self, name: &str) -> Wedged {
        let pid = self.pid();
        let thread = wait_for(&format!("a thread {name}"), DEADLINE, || usage::thread(pid, name));
        let (release, released) = channel::<()>();
        let (stopped, stops) = channel();
        // Only the thread that traces may let go, and when it ends the kernel does.
        let tracer = std::thread::spawn(move || {
            let seized = ptrace::seize(thread, ptrace::Options::empty())
                .and_then(|()| ptrace::interrupt(thread))
                .and_then(|()| waitpid(thread, Some(WaitPidFlag::__WALL)));
            let stands = seized.is_ok();
            stopped.send(seized).expect("the other end waits");
            if stands {
                // Ends when the sender is dropped.
                let _ = released.recv();
                // Whoever was killed meanwhile needs no release.
                let _ = ptrace::detach(thread, None::<Signal>);
            }
        });
        let seized = stops.recv().expect("the tracer answers");
        seized.unwrap_or_else(|e| panic!("cannot trace thread {thread}: {e}"));
        Wedged { release: Some(release), tracer: Some(tracer) }
    }
}

impl Drop for Wedged {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(tracer) = self.tracer.take() {
            // Its panic, if any, has been printed.
            let _ = tracer.join();
        }
    }
}
