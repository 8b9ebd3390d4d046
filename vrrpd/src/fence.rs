//! The fence: the packet filter silences the addresses of a router soon after its last advertisement.
//!
//! An address that is ours is guarded for as long as we hold it. What comes in for it is dropped unless
//! the router is *live*, and that it is for a term from each advertisement that has left, and no longer:
//! whatever has become of the daemon, the kernel counts on by itself. Who asks for the address by ARP or
//! neighbour solicitation is not answered either.
//!
//! The tables belong to no socket, because a table with an owner goes with the process, when it is
//! needed. They are watched instead. Where anything is wrong with them they are taken away, with a word,
//! rather than silence a healthy node, and are made again later.
//!
//! The thread has nothing else to do: it must not wait for the lock that all changes of links and
//! addresses take, or somebody who holds that would silence us.

mod adverts;
mod holders;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vrrp_proto::Instant;
use vrrp_proto::parameters::RouterId;

use crate::clock;
use crate::config::Scheduling;
use crate::kernel::Note;
use crate::mailbox::Mailbox;
use crate::net;

pub(crate) use adverts::Adverts;
use holders::{Holders, Seen};
use table::{Steps, Tables};

/// How soon tables that could not be had are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the other threads tell. That an advertisement left goes by [`Adverts`].
pub(crate) enum Message {
    /// A router holds these addresses from here on, or is about to.
    Guard {
        /// Who.
        router: RouterId,
        /// For how long.
        term: Term,
        /// Which addresses.
        addresses: Vec<Guarded>,
        /// From when on they answer.
        live: Live,
        /// Who waits until they are guarded.
        done: Option<SyncSender<()>>,
    },
    /// A router does not hold these addresses any more.
    Free {
        /// Who.
        router: RouterId,
        /// Which addresses.
        addresses: Vec<Guarded>,
    },
    /// All routers have been placed, and whether any of them wants a fence.
    Wanted(bool),
    /// End the thread, and leave nothing behind.
    Stop,
}

/// From when on the addresses of a router answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Live {
    /// Since then, unless the router has advertised since. What is known of it already counts more.
    Since(Instant),
    /// Not before an advertisement that left after this. It may be known already: advertisements are known
    /// at once, what is to happen to addresses waits for its turn.
    AdvertisedAfter(Instant),
}

/// How long the kernel waits for a router's advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Term {
    /// Time between two advertisements.
    pub(crate) interval: Duration,
    /// For so long after an advertisement the addresses answer.
    pub(crate) live: Duration,
    /// For so long they are silent at least, and at most twice as long. By then the kernel has removed them:
    /// what is on its way to another node must not be stopped here for ever.
    pub(crate) silent: Duration,
}

/// An address as the packet filter knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guarded {
    /// On whatever interface its packets come in.
    Everywhere(IpAddr),
    /// Link-local: another link may have the same one.
    On(String, IpAddr),
}

impl Guarded {
    /// The address on the interface of that name.
    pub(crate) fn new(interface: &str, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Self::On(interface.to_owned(), ip),
            ip => Self::Everywhere(ip),
        }
    }

    fn ip(&self) -> IpAddr {
        match self {
            Self::Everywhere(ip) | Self::On(_, ip) => *ip,
        }
    }
}

/// How the fence stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody wants it.
    Unwanted,
    /// It guards what is to be guarded.
    InForce,
    /// The kernel has no such packet filter: the lifetime of the addresses has to do.
    Missing(String),
    /// It should be there, and is not at present.
    Failed(String),
}

/// The thread, running.
pub(crate) struct FenceThread {
    thread: JoinHandle<()>,
}

impl FenceThread {
    /// Starts it, in the scheduling class of the protocol thread: who is starved on its behalf must not
    /// be taken for dead. `state_dir` tells the daemons of a host apart.
    ///
    /// # Errors
    ///
    /// When the kernel gives no thread.
    pub(crate) fn start(
        messages: Mailbox<Message>,
        adverts: Arc<Adverts>,
        notes: tokio::sync::mpsc::UnboundedSender<Note>,
        state_dir: &Path,
        scheduling: Scheduling,
    ) -> io::Result<Self> {
        let mut fence = Fence::new(messages, adverts, notes, table::name(state_dir));
        let thread = std::thread::Builder::new().name("vrrp-fence".into()).spawn(move || {
            if scheduling == Scheduling::Realtime {
                // The protocol thread has said what is to be said of a refusal.
                let _ = net::schedule_realtime();
            }
            fence.run();
        })?;
        Ok(Self { thread })
    }

    /// Did it end? It does so when told to, or by a bug.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until it has ended.
    pub(crate) fn join(self) {
        // A panic has been printed by the thread.
        let _ = self.thread.join();
    }
}

struct Fence {
    messages: Mailbox<Message>,
    adverts: Arc<Adverts>,
    notes: tokio::sync::mpsc::UnboundedSender<Note>,
    /// Of the tables.
    name: String,
    holders: Holders,
    /// How many advertisements had been told when it was looked at them last.
    told: u64,
    /// When it may be looked again.
    look_at: Instant,
    /// It is looked then, whether there was another advertisement or not.
    again: bool,
    tables: Option<Tables>,
    /// `None`: nobody has said, and what an earlier daemon left is as it was.
    wanted: Option<bool>,
    standing: Standing,
    retry_at: Option<Clock>,
}

/// What is done in one go.
#[derive(Default)]
struct Batch {
    steps: Steps,
    /// Routers that hold other addresses than before.
    changed: BTreeSet<RouterId>,
    /// Who waits for it.
    waiting: Vec<SyncSender<()>>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.changed.len() + self.steps.addresses() >= table::GUARDED_AT_ONCE
    }
}

impl Fence {
    fn new(
        messages: Mailbox<Message>,
        adverts: Arc<Adverts>,
        notes: tokio::sync::mpsc::UnboundedSender<Note>,
        name: String,
    ) -> Self {
        Self {
            messages,
            adverts,
            notes,
            name,
            holders: Holders::default(),
            told: 0,
            look_at: Instant::ZERO,
            again: false,
            tables: None,
            wanted: None,
            standing: Standing::Unwanted,
            retry_at: None,
        }
    }

    fn run(&mut self) {
        loop {
            let timeout = self.timeout();
            let files = [Some(self.messages.as_fd()), self.tables.as_ref().map(Tables::watched)];
            let mut files: Vec<PollFd<'_>> =
                files.into_iter().flatten().map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
            // An interrupted wait is as good as a wake-up of all.
            let _ = poll(&mut files, timeout);
            let disturbed = files.get(1).is_some_and(|file| file.any().unwrap_or(true));
            if disturbed {
                self.look_after_disturbance();
            }
            if self.serve().is_break() {
                return;
            }
            if self.retry_at.is_some_and(|at| at <= Clock::now()) {
                self.make();
            }
        }
    }

    /// How long there is nothing to do unless somebody says so, which advertisements only do when it may be
    /// looked at them.
    fn timeout(&self) -> PollTimeout {
        let now = clock::now();
        let awaited = self.tables.is_some() && self.look_at <= now;
        self.adverts.set_awaited(awaited);
        let missed = self.adverts.told() != self.told || self.again;
        let look = (self.tables.is_some() && (missed || !awaited)).then(|| self.look_at - now);
        let retry = self.retry_at.map(|at| at.saturating_duration_since(Clock::now()));
        let Some(left) = look.into_iter().chain(retry).min() else { return PollTimeout::NONE };
        // Rounded up, or it would wake too early again and again.
        PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
    }

    /// Does what the other threads ask, all that waits in one go.
    fn serve(&mut self) -> ControlFlow<()> {
        self.messages.acknowledge();
        let mut batch = Batch::default();
        let mut flow = ControlFlow::Continue(());
        while let Some(message) = self.messages.pop() {
            match message {
                Message::Guard { router, term, addresses, live, done } => {
                    let seen = (&*self.adverts, clock::now());
                    self.holders.guard(router, term, addresses, live, seen, &mut batch.steps);
                    batch.changed.insert(router);
                    batch.waiting.extend(done);
                }
                Message::Free { router, addresses } => {
                    self.holders.free(router, &addresses, &mut batch.steps);
                }
                Message::Wanted(wanted) => {
                    self.put(&mut batch);
                    self.want(wanted);
                }
                Message::Stop => {
                    self.want(false);
                    flow = ControlFlow::Break(());
                }
            }
            if batch.is_full() {
                self.put(&mut batch);
            }
        }
        self.put(&mut batch);
        flow
    }

    /// Performs what has come together, and says so to those who wait. Where it is time for it, all routers
    /// get what their advertisements are good for.
    fn put(&mut self, batch: &mut Batch) {
        let now = clock::now();
        let told = self.adverts.told();
        let Batch { mut steps, changed, waiting } = std::mem::take(batch);
        if self.look_at <= now && (told != self.told || self.again) {
            let seen = self.holders.look(&self.adverts, now, &mut steps);
            self.note(seen, told, now);
        } else {
            for router in changed {
                self.holders.settle(router, &self.adverts, now, &mut steps);
                // What it is waited for.
                self.look_at = now;
            }
        }
        self.commit(&steps);
        // Whoever does not wait any more does not mind.
        for done in waiting {
            let _ = done.try_send(());
        }
    }

    fn note(&mut self, seen: Seen, told: u64, now: Instant) {
        (self.told, self.look_at, self.again) = (told, now + seen.pause, seen.again);
    }

    fn want(&mut self, wanted: bool) {
        if self.wanted == Some(wanted) && self.tables.is_some() == wanted {
            return;
        }
        self.wanted = Some(wanted);
        if wanted {
            self.make();
        } else {
            self.take_away();
            self.tell(Standing::Unwanted);
        }
    }

    /// Makes the tables with all that is to be in them, in place of those that are there.
    fn make(&mut self) {
        self.retry_at = None;
        if self.wanted != Some(true) {
            return;
        }
        let (now, told) = (clock::now(), self.adverts.told());
        match Tables::make(&self.name, &mut self.holders, &self.adverts, now) {
            Ok((tables, seen)) => {
                self.tables = Some(tables);
                self.note(seen, told, now);
                self.tell(Standing::InForce);
            }
            Err(error)
                if table::is_unknown(&error)
                    && matches!(self.standing, Standing::Unwanted | Standing::Missing(_)) =>
            {
                self.take_away();
                self.tell(Standing::Missing(error.to_string()));
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn commit(&mut self, steps: &Steps) {
        let Some(tables) = &mut self.tables else { return };
        if let Err(error) = tables.commit(steps) {
            self.fail(error.to_string());
        }
    }

    /// Somebody may have changed the tables: they are made anew.
    fn look_after_disturbance(&mut self) {
        let Some(tables) = &mut self.tables else { return };
        match tables.disturbed() {
            Ok(false) => {}
            Ok(true) => {
                self.tell(Standing::Failed(format!("somebody changed the nf_tables tables {}", self.name)));
                self.make();
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// A fence that cannot be relied on silences nobody.
    fn fail(&mut self, trouble: String) {
        self.take_away();
        self.tell(Standing::Failed(trouble));
        self.retry_at = Some(Clock::now() + RETRY);
    }

    fn take_away(&mut self) {
        self.tables = None;
        self.retry_at = None;
        table::remove(&self.name);
    }

    fn tell(&mut self, standing: Standing) {
        if self.standing != standing {
            self.standing = standing.clone();
            drop(self.notes.send(Note::Fence(standing)));
        }
    }
}
