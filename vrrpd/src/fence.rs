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

mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
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

use table::{Steps, Tables};

/// How soon tables that could not be had are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the other threads tell.
pub(crate) enum Message {
    /// An advertisement left at that time.
    Renew {
        /// Whose.
        router: RouterId,
        /// When, or a little earlier.
        at: Instant,
    },
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
    /// Not before an advertisement that left after this. It may be known already: advertisements are told
    /// at once, what is to happen to addresses waits for its turn.
    AdvertisedAfter(Instant),
}

/// How long the kernel waits for a router's advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
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
        notes: tokio::sync::mpsc::UnboundedSender<Note>,
        state_dir: &Path,
        scheduling: Scheduling,
    ) -> io::Result<Self> {
        let mut fence = Fence::new(messages, notes, table::name(state_dir));
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
    notes: tokio::sync::mpsc::UnboundedSender<Note>,
    /// Of the tables.
    name: String,
    holders: BTreeMap<RouterId, Holder>,
    /// Whose each guarded address is.
    owners: BTreeMap<Guarded, RouterId>,
    /// The last advertisement of each router. The first of a tenure may be told before its addresses are.
    advertised: BTreeMap<RouterId, Instant>,
    tables: Option<Tables>,
    /// `None`: nobody has said, and what an earlier daemon left is as it was.
    wanted: Option<bool>,
    told: Standing,
    retry_at: Option<Clock>,
}

/// A router that holds addresses.
struct Holder {
    term: Term,
    addresses: BTreeSet<Guarded>,
    /// Its last advertisement in this tenure.
    live_since: Option<Instant>,
    /// So far its addresses are silent when it is not live.
    silenced_until: Option<Instant>,
}

impl Holder {
    /// For how long it is to be silenced from now on, unless that is so already: at one advertisement in a
    /// few, because the exact end is of no consequence.
    fn silence(&mut self, now: Instant) -> Option<Duration> {
        let lasts = self.silenced_until.is_some_and(|until| until >= now + self.term.silent);
        let time = (!lasts).then_some(2 * self.term.silent)?;
        self.silenced_until = Some(now + time);
        Some(time)
    }

    /// How much of its term is left; `None`: nothing.
    fn left(&self, now: Instant) -> Option<Duration> {
        let gone = now - self.live_since?;
        self.term.live.checked_sub(gone).filter(|left| left.as_millis() > 0)
    }
}

impl Fence {
    fn new(
        messages: Mailbox<Message>,
        notes: tokio::sync::mpsc::UnboundedSender<Note>,
        name: String,
    ) -> Self {
        Self {
            messages,
            notes,
            name,
            holders: BTreeMap::new(),
            owners: BTreeMap::new(),
            advertised: BTreeMap::new(),
            tables: None,
            wanted: None,
            told: Standing::Unwanted,
            retry_at: None,
        }
    }

    fn run(&mut self) {
        loop {
            let files = [Some(self.messages.as_fd()), self.tables.as_ref().map(Tables::watched)];
            let mut files: Vec<PollFd<'_>> =
                files.into_iter().flatten().map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
            // An interrupted wait is as good as a wake-up of all.
            let _ = poll(&mut files, self.timeout());
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

    fn timeout(&self) -> PollTimeout {
        let Some(at) = self.retry_at else { return PollTimeout::NONE };
        let left = at.saturating_duration_since(Clock::now()).as_millis() + 1;
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    /// Does what the other threads ask, all that waits in one go.
    fn serve(&mut self) -> ControlFlow<()> {
        self.messages.acknowledge();
        let mut steps = Steps::default();
        let mut renewed = BTreeSet::new();
        let mut waiting = Vec::new();
        let mut flow = ControlFlow::Continue(());
        let mut guarded = 0;
        while let Some(message) = self.messages.pop() {
            match message {
                Message::Renew { router, at } => {
                    self.advertised.insert(router, at);
                    if let Some(holder) = self.holders.get_mut(&router) {
                        holder.live_since = holder.live_since.max(Some(at));
                        renewed.insert(router);
                    }
                }
                Message::Guard { router, term, addresses, live, done } => {
                    self.guard(router, term, addresses, live, &mut steps);
                    renewed.insert(router);
                    waiting.extend(done);
                    guarded += 1;
                }
                Message::Free { router, addresses } => self.free(router, &addresses, &mut steps),
                Message::Wanted(wanted) => {
                    self.commit(std::mem::take(&mut steps));
                    self.want(wanted);
                }
                Message::Stop => {
                    self.want(false);
                    flow = ControlFlow::Break(());
                }
            }
            if guarded == table::GUARDED_AT_ONCE || renewed.len() == table::RENEWED_AT_ONCE {
                self.put(&mut steps, &mut renewed, &mut waiting);
                guarded = 0;
            }
        }
        self.put(&mut steps, &mut renewed, &mut waiting);
        flow
    }

    /// Commits the steps, with the terms of those who were renewed, and says so to those who wait.
    fn put(
        &mut self,
        steps: &mut Steps,
        renewed: &mut BTreeSet<RouterId>,
        waiting: &mut Vec<SyncSender<()>>,
    ) {
        let now = clock::now();
        for router in std::mem::take(renewed) {
            if let Some(holder) = self.holders.get_mut(&router) {
                steps.renew(router, holder, now);
            }
        }
        self.commit(std::mem::take(steps));
        // Whoever does not wait any more does not mind.
        for done in waiting.drain(..) {
            let _ = done.try_send(());
        }
    }

    fn guard(
        &mut self,
        router: RouterId,
        term: Term,
        addresses: Vec<Guarded>,
        live: Live,
        steps: &mut Steps,
    ) {
        for address in &addresses {
            if let Some(other) = self.owners.get(address).copied().filter(|&other| other != router) {
                self.free(other, std::slice::from_ref(address), steps);
            }
            self.owners.insert(address.clone(), router);
        }
        let advertised = self.advertised.get(&router).copied();
        let live_since = match live {
            Live::Since(at) => advertised.max(Some(at)),
            Live::AdvertisedAfter(at) => advertised.filter(|&advertised| advertised > at),
        };
        let holder = self.holders.entry(router).or_insert_with(|| Holder {
            term,
            addresses: BTreeSet::new(),
            live_since,
            silenced_until: None,
        });
        holder.term = term;
        // Perhaps in another table as well.
        holder.silenced_until = None;
        // A late order to put back one address is no sign of life.
        if let Live::AdvertisedAfter(_) = live {
            holder.live_since = live_since;
        }
        let new: Vec<Guarded> =
            addresses.into_iter().filter(|address| holder.addresses.insert(address.clone())).collect();
        if let Some(tables) = &mut self.tables {
            tables.guard(router, &new, steps);
        }
    }

    fn free(&mut self, router: RouterId, addresses: &[Guarded], steps: &mut Steps) {
        let Some(holder) = self.holders.get_mut(&router) else { return };
        let gone: Vec<Guarded> =
            addresses.iter().filter(|address| holder.addresses.remove(*address)).cloned().collect();
        for address in &gone {
            self.owners.remove(address);
        }
        if holder.addresses.is_empty() {
            self.holders.remove(&router);
        }
        if self.tables.is_some() {
            steps.free(&gone);
        }
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
        match Tables::make(&self.name, &mut self.holders, clock::now()) {
            Ok(tables) => {
                self.tables = Some(tables);
                self.tell(Standing::InForce);
            }
            Err(error)
                if table::is_unknown(&error)
                    && matches!(self.told, Standing::Unwanted | Standing::Missing(_)) =>
            {
                self.take_away();
                self.tell(Standing::Missing(error.to_string()));
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn commit(&mut self, steps: Steps) {
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
        if self.told != standing {
            self.told = standing.clone();
            drop(self.notes.send(Note::Fence(standing)));
        }
    }
}
