//! When each router advertised last, as the protocol thread tells it.
//!
//! Of a thousand routers one tells it a thousand times a second, and the fence does not want to be woken for each.
//! So the time is stored, and the fence woken only while it listens. The kernel thread, which renews lifetimes, is told
//! once of all that it has not looked at.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vrrp_proto::Instant;
use vrrp_proto::parameters::RouterId;

use super::Message;
use crate::mailbox::Mailbox;

/// Routers that room is made for at once.
const BLOCK: usize = 256;
/// Bits of a number.
const WORD: usize = u64::BITS as usize;
/// So many times as there are numbers of routers.
const BLOCKS: usize = (u16::MAX as usize + 1) / BLOCK;

/// The last advertisement of each router, written by the protocol thread and read by the fence and the kernel thread.
pub(crate) struct Adverts {
    fence: Mailbox<Message>,
    blocks: [OnceLock<Box<Block>>; BLOCKS],
    /// How many there have been.
    told: AtomicU64,
    /// The fence is to be woken by the next one.
    awaited: AtomicBool,
    /// The kernel thread has been told that lifetimes are due, and has not looked which.
    renewing: AtomicBool,
}

struct Block {
    times: [AtomicU64; BLOCK],
    /// A bit for each whose lifetimes are due.
    due: [AtomicU64; BLOCK / WORD],
}

impl Block {
    fn new() -> Self {
        Self { times: [const { AtomicU64::new(0) }; BLOCK], due: [const { AtomicU64::new(0) }; BLOCK / WORD] }
    }
}

impl Adverts {
    /// None yet; `fence` is what wakes the fence.
    pub(crate) fn new(fence: Mailbox<Message>) -> Self {
        Self {
            fence,
            blocks: [const { OnceLock::new() }; BLOCKS],
            told: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
            renewing: AtomicBool::new(false),
        }
    }

    /// Makes room for a router, so that to tell of it allocates nothing.
    pub(crate) fn expect(&self, router: RouterId) {
        self.block(router).get_or_init(|| Box::new(Block::new()));
    }

    /// An advertisement of the router left then, or a little later. Of a router that is not expected nobody
    /// wants to know.
    pub(crate) fn tell(&self, router: RouterId, at: Instant) {
        let Some(block) = self.block(router).get() else { return };
        block.times[usize::from(router.0) % BLOCK].store(at.as_nanos(), Ordering::Release);
        self.told.fetch_add(1, Ordering::SeqCst);
        if self.awaited.load(Ordering::SeqCst) {
            self.fence.wake();
        }
    }

    /// The lifetimes of a router are to be renewed that has told of an advertisement. True where the kernel thread has to be
    /// told so.
    pub(crate) fn set_due(&self, router: RouterId) -> bool {
        let Some(block) = self.block(router).get() else { return false };
        let bit = usize::from(router.0) % BLOCK;
        block.due[bit / WORD].fetch_or(1 << (bit % WORD), Ordering::SeqCst);
        !self.renewing.swap(true, Ordering::SeqCst)
    }

    /// Those that are due, by number, each with its last advertisement, and from here on not due any more.
    pub(crate) fn take_due(&self) -> Vec<(RouterId, Instant)> {
        // First, so that one who comes too late for this look is told of again.
        self.renewing.store(false, Ordering::SeqCst);
        let blocks =
            (0..).step_by(BLOCK).zip(&self.blocks).filter_map(|(at, block)| Some((at, block.get()?)));
        let words = blocks.flat_map(|(at, block)| (at..).step_by(WORD).zip(&block.due));
        let taken = words.map(|(at, word)| (at, word.swap(0, Ordering::SeqCst)));
        let bits = taken
            .flat_map(|(at, word)| (0..WORD).filter(move |bit| word >> bit & 1 > 0).map(move |bit| at + bit));
        let routers = bits.map(|number| RouterId(u16::try_from(number).expect("blocks for 16 bits")));
        routers.filter_map(|router| Some((router, self.last_of(router)?))).collect()
    }

    /// When the router advertised last; `None`: not yet.
    pub(super) fn last_of(&self, router: RouterId) -> Option<Instant> {
        let time = self.block(router).get()?.times[usize::from(router.0) % BLOCK].load(Ordering::Acquire);
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

    fn block(&self, router: RouterId) -> &OnceLock<Box<Block>> {
        &self.blocks[usize::from(router.0) / BLOCK]
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

    #[test]
    fn the_kernel_thread_is_told_once_of_all_that_are_due() {
        let adverts = Adverts::new(Mailbox::new(1).expect("an eventfd"));
        let routers = [0, 63, 64, 255, 256, u16::MAX].map(RouterId);
        assert!(!adverts.set_due(routers[0]), "nobody expects it");
        let at = |router: RouterId| (router, Instant::from_nanos(1 + u64::from(router.0)));
        for router in routers {
            adverts.expect(router);
            adverts.tell(router, at(router).1);
        }
        assert_eq!(routers.map(|router| adverts.set_due(router)), [true, false, false, false, false, false]);
        assert_eq!(adverts.take_due(), routers.map(at));
        assert_eq!(adverts.take_due(), []);
        assert!(adverts.set_due(routers[1]), "it has looked");
        assert_eq!(adverts.take_due(), [at(routers[1])]);
    }
}
