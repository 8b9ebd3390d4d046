//! When each router advertised last, as the protocol thread tells it.
//!
//! Of a thousand routers one tells it a thousand times a second, and the fence does not want to be woken for each.
//! So the time is stored, and the fence woken only while it listens.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vrrp_proto::Instant;
use vrrp_proto::parameters::RouterId;

use super::Message;
use crate::mailbox::Mailbox;

/// Routers that room is made for at once.
const BLOCK: usize = 256;
/// So many times as there are numbers of routers.
const BLOCKS: usize = (u16::MAX as usize + 1) / BLOCK;

/// The last advertisement of each router, written by the protocol thread and read by the fence.
pub(crate) struct Adverts {
    fence: Mailbox<Message>,
    times: [OnceLock<Box<[AtomicU64; BLOCK]>>; BLOCKS],
    /// How many there have been.
    told: AtomicU64,
    /// The fence is to be woken by the next one.
    awaited: AtomicBool,
}

impl Adverts {
    /// None yet; `fence` is what wakes the fence.
    pub(crate) fn new(fence: Mailbox<Message>) -> Self {
        Self {
            fence,
            times: [const { OnceLock::new() }; BLOCKS],
            told: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
        }
    }

    /// Makes room for a router, so that to tell of it allocates nothing.
    pub(crate) fn expect(&self, router: RouterId) {
        self.block(router).get_or_init(|| Box::new([const { AtomicU64::new(0) }; BLOCK]));
    }

    /// An advertisement of the router left then, or a little later. Of a router that is not expected nobody
    /// wants to know.
    pub(crate) fn tell(&self, router: RouterId, at: Instant) {
        let Some(times) = self.block(router).get() else { return };
        times[usize::from(router.0) % BLOCK].store(at.as_nanos(), Ordering::Release);
        self.told.fetch_add(1, Ordering::SeqCst);
        if self.awaited.load(Ordering::SeqCst) {
            self.fence.wake();
        }
    }

    /// When the router advertised last; `None`: not yet.
    pub(super) fn last_of(&self, router: RouterId) -> Option<Instant> {
        let time = self.block(router).get()?[usize::from(router.0) % BLOCK].load(Ordering::Acquire);
        (time > 0).then_some(Instant::from_nanos(time))
    }

    /// How many were told so far.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// From here on the next one wakes the fence, or none does. Who says so looks at [`told`](Self::told) after it.
    pub(super) fn set_awaited(&self, awaited: bool) {
        self.awaited.store(awaited, Ordering::SeqCst);
    }

    fn block(&self, router: RouterId) -> &OnceLock<Box<[AtomicU64; BLOCK]>> {
        &self.times[usize::from(router.0) / BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_advertisement_wakes_the_fence_only_while_it_listens() {
        let fence = Mailbox::new(1).expect("an eventfd");
        let adverts = Adverts::new(fence.clone());
        let woken = || {
            let mut fds = [PollFd::new(fence.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).expect("poll works") == 1
        };
        let router = RouterId(u16::MAX);
        adverts.set_awaited(true);
        adverts.tell(router, Instant::from_nanos(1));
        assert_eq!((adverts.told(), adverts.last_of(router), woken()), (0, None, false), "nobody expects it");
        adverts.expect(router);
        assert_eq!(adverts.last_of(router), None);
        adverts.set_awaited(false);
        adverts.tell(router, Instant::from_nanos(2));
        assert_eq!((adverts.told(), adverts.last_of(router)), (1, Some(Instant::from_nanos(2))));
        assert!(!woken());
        adverts.set_awaited(true);
        adverts.tell(router, Instant::from_nanos(3));
        assert_eq!((adverts.last_of(router), woken()), (Some(Instant::from_nanos(3)), true));
    }
}
