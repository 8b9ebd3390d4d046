//! Which kernels have an address in their tables, looked at all the time from the side.
//!
//! Not the same as who answers: a packet filter may silence an address that the table still has.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::watcher::Spells;
use crate::{Node, now_ns};

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(2);

/// Looks at the tables of two nodes while it exists.
pub struct Tables {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(i64, [bool; 2])>>,
}

/// Who had the address when.
#[derive(Clone, Debug)]
pub struct Holding(Vec<(i64, [bool; 2])>);

impl Tables {
    /// Looks from before this returns to [`stop`](Self::stop).
    pub fn watch(nodes: [&Node; 2], address: &str) -> Self {
        let address: IpAddr = address.parse().expect("an IP address");
        let namespaces = nodes.map(|node| node.namespace().duplicate());
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut looks = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    // A socket can be bound to a local address only: that takes neither the kernel's lock
                    // for its tables nor a walk through thousands of addresses.
                    let has = [0, 1].map(|nth: usize| {
                        namespaces[nth].stay();
                        UdpSocket::bind((address, 0)).is_ok()
                    });
                    looks.push((now_ns(), has));
                    std::thread::sleep(PERIOD);
                }
                looks
            }
        });
        Self { stop, thread }
    }

    /// Ends and gives what was seen.
    pub fn stop(self) -> Holding {
        self.stop.store(true, Ordering::Relaxed);
        Holding(self.thread.join().expect("looking does not panic"))
    }
}

impl Holding {
    /// How long both had it.
    pub fn by_both(&self) -> Spells {
        Spells::of(self.0.iter().map(|&(time, has)| (time, has == [true; 2])))
    }

    /// How long the first, or the second, had it.
    pub fn by(&self, nth: usize) -> Spells {
        Spells::of(self.0.iter().map(|&(time, has)| (time, has[nth])))
    }
}
