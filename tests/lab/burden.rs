//! Others who hold the kernel's lock for links and addresses, which all namespaces share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::{DEADLINE, Namespace, wait_for};

/// Addresses that are added, and then lost with their interface while the lock is held.
const ADDRESSES: usize = 1000;

/// A namespace in which somebody adds and deletes thousands of addresses while this value exists.
#[must_use]
pub struct Burden {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Burden {
    /// Begins; the first round is under way when this returns.
    pub fn start() -> Self {
        let namespace = Namespace::new().expect("available() has made one");
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::spawn({
            let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
            move || {
                let round = round();
                while !stop.load(Ordering::Relaxed) {
                    namespace.ip(&round);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, rounds, thread: Some(thread) }
    }

    /// Waits until `count` more rounds have passed.
    pub fn wait_for_rounds(&self, count: usize) {
        let enough = self.rounds.load(Ordering::Relaxed) + count;
        wait_for("those who hold the kernel's lock", DEADLINE, || {
            (self.rounds.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, has been printed.
            let _ = thread.join();
        }
    }
}

/// For `ip -batch`: a link with all the addresses, and away with it.
fn round() -> String {
    let address = |nth: usize| format!("addr add 2001:db8::{nth:x}/128 dev v0 nodad\n");
    let link = "link add v0 type veth peer name v1\nlink set v0 up\n".to_owned();
    (1..=ADDRESSES).map(address).fold(link, |all, line| all + &line) + "link del v0\n"
}
