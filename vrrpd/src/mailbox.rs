//! Bounded queues between threads that neither lock nor allocate, with a file that wakes the reader.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::io::unix::AsyncFd;

/// One queue. Clones are the same queue.
pub struct Mailbox<T>(Arc<Inner<T>>);

struct Inner<T> {
    queue: ArrayQueue<T>,
    event: EventFd,
    /// The event has been written and not yet read: one write wakes for many items.
    signalled: AtomicBool,
}

impl<T> Mailbox<T> {
    /// A queue that holds up to `capacity` items, at least 1.
    ///
    /// # Errors
    ///
    /// When the kernel gives no eventfd.
    pub fn new(capacity: usize) -> io::Result<Self> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self(Arc::new(Inner {
            queue: ArrayQueue::new(capacity.max(1)),
            event,
            signalled: AtomicBool::new(false),
        })))
    }

    /// Puts an item at the end and wakes the reader.
    ///
    /// # Errors
    ///
    /// Gives the item back when the queue is full.
    pub fn push(&self, item: T) -> Result<(), T> {
        self.0.queue.push(item)?;
        self.wake();
        Ok(())
    }

    /// Wakes the reader, who left something in the queue.
    pub fn wake(&self) {
        if !self.0.signalled.swap(true, Ordering::AcqRel) {
            // An eventfd refuses a write only when its counter is full, and then it is readable.
            let _ = self.0.event.write(1);
        }
    }

    /// As [`push`](Self::push), and waits for the reader while the queue is full. Not for the
    /// protocol thread.
    pub fn push_waiting(&self, mut item: T) {
        while let Err(back) = self.push(item) {
            item = back;
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Takes the item at the front. When it says `None` the file is no longer readable, unless
    /// something came in just then.
    pub fn pop(&self) -> Option<T> {
        self.0.queue.pop()
    }

    /// Call before popping what woke the reader: an item that is pushed from here on wakes again.
    pub fn acknowledge(&self) {
        let _ = self.0.event.read();
        self.0.signalled.store(false, Ordering::Release);
    }
}

impl<T> Mailbox<T> {
    /// Lets a tokio task wait for items.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch the file.
    pub fn watch(&self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the event's descriptor is open for as long as any clone lives, the `AsyncFd` holds
        // one, and nothing can put another descriptor in its place.
        Ok(unsafe { AsyncFd::register(self.clone()) }?)
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> AsFd for Mailbox<T> {
    /// Readable while there may be items.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

impl<T> std::os::fd::AsRawFd for Mailbox<T> {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn readable(mailbox: &Mailbox<u32>) -> bool {
        let mut fds = [PollFd::new(mailbox.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).expect("poll works") == 1
    }

    #[test]
    fn a_full_queue_gives_the_item_back() {
        let mailbox = Mailbox::new(1).expect("eventfd");
        assert_eq!(mailbox.push(1), Ok(()));
        assert_eq!(mailbox.push(2), Err(2));
    }

    #[test]
    fn an_item_pushed_after_the_acknowledgement_wakes_again() {
        let mailbox = Mailbox::new(4).expect("eventfd");
        mailbox.push(1).expect("room");
        assert!(readable(&mailbox));
        mailbox.acknowledge();
        assert!(!readable(&mailbox));
        mailbox.push(2).expect("room");
        assert!(readable(&mailbox), "or the second item would wait for a third");
        assert_eq!((mailbox.pop(), mailbox.pop(), mailbox.pop()), (Some(1), Some(2), None));
    }
}
