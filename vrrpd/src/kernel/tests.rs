//! The worker without its thread, in a network namespace: what it does about what the kernel does.

use nix::sched::{CloneFlags, unshare};

use super::*;

/// Runs on a thread in a network namespace of its own, or says that it cannot.
pub(super) fn in_network_namespace(body: fn()) {
    let entered = std::thread::spawn(move || unshare(CloneFlags::CLONE_NEWNET).map(|()| body()));
    if let Err(errno) = entered.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no network namespace to be had: {errno}");
        eprintln!("SKIPPED: no network namespace to be had: {errno}");
    }
}

/// A worker that nobody talks to, with a state directory of this name.
pub(super) fn worker(name: &str) -> Worker {
    let (notes, _) = tokio::sync::mpsc::unbounded_channel();
    let mailbox = "a mailbox can be had";
    let state_dir = crate::state_dir::tests::temporary(&format!("kernel-{name}"));
    Worker::open(Mailbox::new(64).expect(mailbox), Mailbox::new(1024).expect(mailbox), notes, state_dir)
        .expect("netlink can be had")
}
