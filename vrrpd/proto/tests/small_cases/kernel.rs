//! The kernel of one host: whether it has the address, and a worker that is asked in order.

use std::collections::VecDeque;

use vrrp_proto::action::{Outcome, Ticket};

use super::world::{Bug, MS, SECOND};

/// `EINVAL`
const REFUSED: i32 = 22;
/// Lifetime of an address whose role is being given up.
const FAREWELL: u64 = 4 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    Acquire,
    Release,
    Renew,
    Disclaim,
}

/// The address in the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) expires: u64,
    pub(crate) renewed: u64,
    pub(crate) disclaimed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) entry: Option<Entry>,
    pub(crate) queue: VecDeque<(Request, Ticket)>,
    /// The worker is held up until then.
    pub(crate) slow_until: u64,
    /// It refuses the next address.
    pub(crate) refuses: bool,
    ticket: Ticket,
    lifetime: u64,
}

impl Kernel {
    pub(crate) fn new(lifetime: u64) -> Self {
        let queue = VecDeque::new();
        Self { entry: None, queue, slow_until: 0, refuses: false, ticket: Ticket::default(), lifetime }
    }

    /// Serves the oldest request.
    pub(crate) fn serve(&mut self, now: u64, bug: Option<Bug>) -> Vec<(Ticket, Outcome)> {
        let Some((request, ticket)) = self.queue.pop_front() else { return Vec::new() };
        self.ticket = ticket;
        // A lifetime ends up to a second late.
        let expires = now + self.lifetime + SECOND;
        let outcomes = match request {
            Request::Acquire if std::mem::take(&mut self.refuses) => {
                vec![Outcome::Refused { index: 0, errno: REFUSED }, Outcome::Acquired]
            }
            Request::Acquire => {
                self.entry.get_or_insert(Entry { expires, renewed: now, disclaimed: false });
                vec![Outcome::Added { index: 0, foreign: false }, Outcome::Acquired]
            }
            Request::Release => {
                self.entry = self.entry.filter(|_| bug == Some(Bug::ReleaseIgnored));
                vec![Outcome::Released]
            }
            Request::Renew => {
                self.entry = self.entry.map(|_| Entry { expires, renewed: now, disclaimed: false });
                vec![]
            }
            Request::Disclaim => {
                let disclaimed = bug != Some(Bug::DisclaimNotNoted);
                self.entry = self.entry.map(|_| Entry { expires: now + FAREWELL, renewed: now, disclaimed });
                vec![]
            }
        };
        outcomes.into_iter().map(|outcome| (ticket, outcome)).collect()
    }

    /// A third party takes the address away, or its lifetime has ended.
    pub(crate) fn lose(&mut self) -> Option<(Ticket, Outcome)> {
        self.entry.take().map(|_| (self.ticket, Outcome::Lost { index: 0 }))
    }

    /// Does it answer for the address?
    pub(crate) fn answers(&self, _now: u64) -> bool {
        self.entry.is_some()
    }

    /// The longest that an address which nobody renews goes on answering.
    pub(crate) fn outlasts(&self) -> u64 {
        (self.lifetime + SECOND).max(FAREWELL)
    }

    pub(crate) fn expires(&self) -> Option<u64> {
        self.entry.map(|entry| entry.expires)
    }

    /// The process died: what it had not handed over is gone with it.
    pub(crate) fn abandon(&mut self) {
        self.queue.clear();
        self.ticket = Ticket::default();
        self.slow_until = 0;
    }

    /// When the address that a daemon finds was renewed last, in the kernel's ticks.
    pub(crate) fn left_over(&self) -> Option<u64> {
        let Entry { renewed, disclaimed, .. } = self.entry?;
        Some(if disclaimed { 0 } else { renewed / (10 * MS) * (10 * MS) })
    }
}
