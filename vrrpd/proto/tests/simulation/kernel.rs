//! The kernel of one host as far as virtual addresses are concerned: a table, and a worker that
//! answers later, in order, and not always with success.

use std::collections::VecDeque;

use vrrp_proto::action::{Outcome, Ownership, Ticket};

use super::fence::Fence;
use super::random::Random;
use super::settings::{Bug, MS, SECOND};

/// What `errno` says when an address is refused.
const EINVAL: i32 = 22;
/// Lifetime of addresses whose role is given up, at least.
const FAREWELL: u64 = 4 * SECOND;

/// A request that waits for the worker.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// This and the next: and when that was decided.
    Fence(Ownership, u64),
    Acquire(Ownership, u64),
    Release(Ownership),
    Renew(Ownership),
    Disclaim(Ownership),
}

/// An address in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// When the kernel removes it unless it is renewed; never, without a lease.
    pub(crate) expires: Option<u64>,
    pub(crate) renewed: u64,
    /// The role was being given up.
    pub(crate) disclaimed: bool,
}

pub(crate) type Answer = (Ticket, Outcome);

#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) table: Vec<Option<Entry>>,
    /// Which addresses are refused.
    pub(crate) refuse: Vec<bool>,
    /// Whole seconds, as the kernel counts them; 0: no lease.
    pub(crate) lifetime: u64,
    /// The same, as given last.
    granted: u64,
    pub(crate) fence: Fence,
    requests: VecDeque<Request>,
    pub(crate) free_at: u64,
    /// Somebody else has its lock until then.
    pub(crate) slow_until: u64,
    /// The queue of its notifications overran: what it did is found out later.
    unseen: Option<Vec<Answer>>,
    pub(crate) asleep_until: u64,
    ticket: Ticket,
    /// When an address went last that the daemon had not given up.
    pub(crate) robbed_at: u64,
}

impl Kernel {
    pub(crate) fn new(addresses: usize, lifetime: u64, fence: Fence) -> Self {
        Self {
            table: vec![None; addresses],
            refuse: vec![false; addresses],
            lifetime,
            granted: lifetime,
            fence,
            requests: VecDeque::new(),
            free_at: 0,
            slow_until: 0,
            unseen: None,
            asleep_until: 0,
            ticket: Ticket::default(),
            robbed_at: 0,
        }
    }

    /// The longest that an address which nobody renews stays, whatever it was given last.
    pub(crate) fn outlasts(&self) -> u64 {
        ((self.granted + 1) * SECOND).max(FAREWELL)
    }

    pub(crate) fn holds_any(&self) -> bool {
        self.table.iter().any(Option::is_some)
    }

    pub(crate) fn holds_all(&self) -> bool {
        self.table.iter().all(Option::is_some)
    }

    /// Does it answer for an address?
    pub(crate) fn answers(&self, index: usize, now: u64) -> bool {
        self.table[index].is_some() && self.fence.is_open(now) && self.asleep_until <= now
    }

    /// For any of them?
    pub(crate) fn answers_any(&self, now: u64) -> bool {
        self.holds_any() && self.fence.is_open(now) && self.asleep_until <= now
    }

    /// The machine is suspended: nothing of it goes on, and nothing answers.
    pub(crate) fn sleep(&mut self, until: u64, length: u64) {
        self.asleep_until = until;
        self.fence.sleep(length);
        self.free_at = self.free_at.max(until);
        self.slow_until = self.slow_until.max(until);
        for entry in self.table.iter_mut().flatten() {
            entry.expires = entry.expires.map(|at| at + length);
            entry.renewed += length;
        }
    }

    /// Do both answer for the same address?
    pub(crate) fn shares(&self, other: &Self, now: u64) -> bool {
        (0..self.table.len()).any(|index| self.answers(index, now) && other.answers(index, now))
    }

    /// Hands a request to the worker and says when it will have been served.
    pub(crate) fn submit(&mut self, request: Request, now: u64, delay: u64) -> u64 {
        self.requests.push_back(request);
        self.free_at = self.free_at.max(now).max(self.slow_until) + delay;
        self.free_at
    }

    /// Has it been asked for addresses that it has not tried to add yet?
    pub(crate) fn is_adding(&self) -> bool {
        self.requests.iter().any(|request| matches!(request, Request::Acquire(..)))
    }

    /// The daemon died: what it had not handed to the kernel yet is gone with it. Was the news that
    /// the role is given up among that?
    pub(crate) fn abandon(&mut self) -> bool {
        let untold = self.requests.iter().any(|request| matches!(request, Request::Disclaim(_)));
        self.requests.clear();
        self.fence.abandon();
        self.unseen = None;
        self.ticket = Ticket::default();
        untold
    }

    /// Serves the oldest request.
    pub(crate) fn serve(&mut self, now: u64, random: &mut Random, bug: Option<Bug>) -> Vec<Answer> {
        let Some(request) = self.requests.pop_front() else { return Vec::new() };
        let (Request::Fence(ownership, _)
        | Request::Acquire(ownership, _)
        | Request::Release(ownership)
        | Request::Renew(ownership)
        | Request::Disclaim(ownership)) = &request;
        let (ticket, range) = (ownership.ticket, ownership.range.clone());
        self.ticket = ticket;
        let mut answers = Vec::new();
        match request {
            Request::Fence(..) if bug == Some(Bug::FenceNotClosed) => {}
            Request::Fence(_, decided_at) => self.fence.close(decided_at),
            Request::Acquire(_, decided_at) => {
                self.fence.guard(decided_at);
                for index in range {
                    answers.push((ticket, self.add(index, now, random)));
                }
                answers.push((ticket, Outcome::Acquired));
            }
            Request::Release(_) => {
                for index in range {
                    if bug != Some(Bug::ReleaseIgnored) {
                        self.table[usize::from(index)] = None;
                    }
                }
                if !self.holds_any() {
                    self.fence.forget();
                }
                answers.push((ticket, Outcome::Released));
            }
            Request::Renew(_) if bug == Some(Bug::LeaseNotRenewed) => {}
            Request::Renew(_) => {
                let expires = self.lease(now, random);
                for entry in self.table.iter_mut().flatten() {
                    *entry = Entry { expires, renewed: now, disclaimed: false };
                }
            }
            Request::Disclaim(_) => {
                let disclaimed = bug != Some(Bug::DisclaimNotNoted);
                for entry in self.table.iter_mut().flatten() {
                    let expires = entry.expires.map(|_| now + FAREWELL);
                    *entry = Entry { expires, renewed: now, disclaimed };
                }
            }
        }
        answers
    }

    /// Somebody else took an address away.
    pub(crate) fn rob(&mut self, index: usize, now: u64) -> Option<Answer> {
        self.table[index].take()?;
        self.robbed_at = now;
        Some((self.ticket, Outcome::Lost { index: index as u16 }))
    }

    /// From here on nobody is told what it did by itself.
    pub(crate) fn overrun(&mut self) {
        self.unseen.get_or_insert_default();
    }

    pub(crate) fn is_overrun(&self) -> bool {
        self.unseen.is_some()
    }

    /// Its table is read from the beginning: what is still missing is told.
    pub(crate) fn resync(&mut self) -> Vec<Answer> {
        let missing = |(_, outcome): &Answer| match outcome {
            Outcome::Lost { index } => self.table[usize::from(*index)].is_none(),
            _ => true,
        };
        self.unseen.take().into_iter().flatten().filter(missing).collect()
    }

    /// Tells what it did by itself, unless that is lost for now.
    pub(crate) fn told(&mut self, answer: Answer) -> Option<Answer> {
        match &mut self.unseen {
            Some(unseen) => {
                unseen.push(answer);
                None
            }
            None => Some(answer),
        }
    }

    /// Removes what was not renewed in time.
    pub(crate) fn expire(&mut self, now: u64) -> Vec<Answer> {
        let due = |entry: &Option<Entry>| entry.and_then(|entry| entry.expires).is_some_and(|at| at <= now);
        let indices: Vec<usize> = (0..self.table.len()).filter(|&index| due(&self.table[index])).collect();
        indices.into_iter().filter_map(|index| self.rob(index, now)).collect()
    }

    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.table.iter().flatten().filter_map(|entry| entry.expires).min()
    }

    /// When the addresses that a daemon finds at start were renewed last, in the kernel's ticks.
    pub(crate) fn left_over(&self) -> Option<u64> {
        let all = self.table.iter().all(|entry| entry.is_some_and(|entry| !entry.disclaimed));
        let renewed = self.table.iter().flatten().map(|entry| entry.renewed).max()?;
        Some(if all { renewed / (10 * MS) * (10 * MS) } else { 0 })
    }

    fn add(&mut self, index: u16, now: u64, random: &mut Random) -> Outcome {
        if self.refuse[usize::from(index)] {
            return Outcome::Refused { index, errno: EINVAL };
        }
        let expires = self.lease(now, random);
        self.table[usize::from(index)].get_or_insert(Entry { expires, renewed: now, disclaimed: false });
        Outcome::Added { index, foreign: false }
    }

    /// A lifetime of n seconds ends n to n + 1 seconds later (`decisions.md` 6).
    fn lease(&mut self, now: u64, random: &mut Random) -> Option<u64> {
        self.granted = self.lifetime;
        let spread = random.pick(&[0, SECOND / 2, SECOND]);
        (self.lifetime > 0).then(|| now + self.lifetime * SECOND + spread)
    }
}
