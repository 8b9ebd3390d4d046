//! The kernel thread: everything that the kernel is asked or tells about links and addresses.
//!
//! It performs the ownership actions in the order in which they were decided, watches links and
//! addresses, opens the sockets when an interface comes up, and tells the protocol thread the facts
//! that it needs. Netlink may make it wait for as long as it likes: nobody waits for it.

mod acceptance;
mod connections;
mod fencing;
mod place;
mod placement;
mod record;
mod tenure;
#[cfg(test)]
pub(crate) mod tests;
mod traces;
mod virtual_mac;
mod watching;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink::{Address, Connections, LinkIndex, Monitor, Requester, RouteWatch, Table};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vrrp_proto::action::{Input, Outcome, Ticket};
use vrrp_proto::parameters::{Facts, InterfaceState, LinkId, RouterId};
use vrrp_proto::{Family, MacAddress};

use crate::fence::{self, Adverts};
use crate::mailbox::Mailbox;
use crate::net::{Aim, Sieve, Wanted, membership};
use crate::protocol::{self, Kernel};
use crate::state_dir::StateDir;

use acceptance::Acceptance;
use connections::Teller;
pub(crate) use connections::Told;
pub(crate) use place::{Place, SecondPlace};
pub(crate) use placement::{Placement, Placements};
use record::Record;
use traces::Traces;
pub(crate) use virtual_mac::Device;
use ways::Ways;
pub(crate) use ways::{Fate, Seen, Standing, Way};

/// How long to look again and again whether addresses are claimed that may be in a moment: longer than the protocol
/// thread knows of it before, and shorter than anybody would mind.
const AWAKE: Duration = Duration::from_millis(1);
/// How soon what could not be had is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the other threads tell the kernel thread.
pub(crate) enum Message {
    /// The protocol thread wants something done to addresses.
    Kernel(Kernel),
    /// Addresses may be claimed in a moment.
    StayAwake,
    /// A router runs here, with these addresses; also when that has changed.
    Place(RouterId, Box<Place>),
    /// All routers of the configuration have been placed: what an earlier daemon left, and none of them
    /// took up, belongs to nobody.
    Complete,
    /// A router is gone.
    Forget(RouterId),
    /// Tell of these interfaces, how they are now and what changes, and of no other.
    Watch(BTreeSet<String>),
    /// What the host has whatever roles it has.
    Static(Vec<Way>),
    /// End the thread.
    Stop,
}

/// What the kernel thread tells the main thread: words for people.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// An interface that a router runs on came, went, or changed its state.
    Interface { name: String, state: InterfaceState },
    /// How an interface is that is to be told of.
    Tracked { interface: String, state: InterfaceState },
    /// The kernel refused something, in its own words.
    Refused { router: RouterId, address: Address, message: String },
    /// Packets to the addresses of routers with `accept_mode = false` are not dropped, and why; `None`:
    /// they are again.
    AcceptMode { trouble: Option<String> },
    /// How the fence stands.
    Fence(fence::Standing),
    /// The device with a router's virtual MAC address cannot be had, or nothing is wrong with it any more.
    Device { router: RouterId, trouble: Option<String> },
    /// TCP connections were ended because their address goes.
    Ended { address: Address, connections: usize },
    /// What became of clients whose connections are only translated, or could not be ended.
    Told(Told),
    /// Something happened to a route or rule of a router, or to what is always there.
    Way { router: Option<RouterId>, way: Way, fate: Fate },
    /// How they stand now.
    Ways { router: Option<RouterId>, seen: Vec<Seen> },
    /// Something went wrong that no router can be named for.
    Trouble(String),
}

/// The kernel thread, running.
pub(crate) struct KernelThread {
    thread: JoinHandle<()>,
}

impl KernelThread {
    /// Opens netlink and starts the thread. `protocol` takes what it has to say to the node, `notes`
    /// what people want to know; `state_dir` keeps the record of addresses.
    ///
    /// # Errors
    ///
    /// When netlink cannot be had.
    pub(crate) fn start(
        messages: Mailbox<Message>,
        protocol: Mailbox<protocol::Message>,
        fence: Mailbox<fence::Message>,
        adverts: Arc<Adverts>,
        notes: tokio::sync::mpsc::UnboundedSender<Note>,
        state_dir: &StateDir,
    ) -> io::Result<Self> {
        let mut kernel =
            Worker::open(messages, protocol, fence, adverts, notes, state_dir).map_err(io::Error::other)?;
        let thread = std::thread::Builder::new().name("vrrp-kernel".into()).spawn(move || kernel.run())?;
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

struct Worker {
    messages: Mailbox<Message>,
    protocol: Mailbox<protocol::Message>,
    fence: Mailbox<fence::Message>,
    adverts: Arc<Adverts>,
    /// Whether a fence is wanted, as was told last.
    fence_wanted: Option<bool>,
    notes: tokio::sync::mpsc::UnboundedSender<Note>,
    requester: Requester,
    /// Absent where the kernel tells of no connections.
    connections: Option<Connections>,
    /// Absent until there was somebody to tell.
    teller: Option<Teller>,
    monitor: Monitor,
    route_watch: RouteWatch,
    table: Table,
    places: BTreeMap<RouterId, Placed>,
    /// Routes and rules of each router; of none: what is always there.
    ways: BTreeMap<Option<RouterId>, Ways>,
    acceptance: Acceptance,
    /// Of a link and family; absent: none are open.
    sockets: BTreeMap<(LinkId, Family), Opened>,
    /// What announces on further interfaces, and where that is.
    announcers: BTreeMap<LinkId, (LinkIndex, MacAddress)>,
    /// What was told of each interface last.
    interfaces: BTreeMap<String, InterfaceState>,
    /// Interfaces that are to be told of, and what was told last.
    tracked: BTreeMap<String, Option<InterfaceState>>,
    /// When the groups are reported next.
    report_at: Instant,
    /// Until then it does not sleep.
    awake_until: Instant,
    /// When what could not be had is tried again: sockets, lists, devices, tables.
    retry_at: Option<Instant>,
    /// Why it could not be had, as far as that has been told.
    told: BTreeSet<String>,
    /// The table has changed, and what follows from that has not been done.
    news: bool,
    /// Events were lost, and the table has not been made anew since.
    stale: bool,
    ours: BTreeSet<(LinkIndex, Address)>,
    /// Who asked for an address last. A reload may give one router what another has yet to release.
    holders: BTreeMap<(LinkIndex, Address), RouterId>,
    record: Record,
    traces: Traces,
    /// Why interfaces below devices could not be kept quiet, as was told last.
    loud_parents: BTreeSet<String>,
    /// All routers that there are have been placed.
    complete: bool,
    /// Routers have come, changed or gone, and what follows from that has not been done.
    unsettled: bool,
}

/// A router, what was said of its place last, and what it holds.
struct Placed {
    place: Place,
    facts: Option<Facts>,
    tenure: Option<Tenure>,
    /// When the lifetime of its addresses was renewed last, and nothing shortened it since.
    renewed: Option<Instant>,
    /// How often it was: those that are renewed in turn go by that.
    turn: usize,
    /// What was said of its device last.
    device_trouble: Option<String>,
}

impl Placed {
    fn new(place: Place) -> Self {
        Self { place, facts: None, tenure: None, renewed: None, turn: 0, device_trouble: None }
    }
}

/// Sockets that the protocol thread has.
struct Opened {
    interface: LinkIndex,
    wanted: Wanted,
    sieve: Sieve,
    aim: Aim,
    /// Why the groups could not be reported last.
    report_trouble: Option<String>,
}

impl Opened {
    /// Has them hear what is wanted now. False where that takes other sockets.
    fn hears(&mut self, wanted: &Wanted) -> bool {
        if self.wanted == *wanted {
            return true;
        }
        let members = self.wanted.groups == wanted.groups && self.wanted.groups_v2 == wanted.groups_v2;
        let heard = members && self.sieve.pass(wanted).is_ok();
        if heard {
            self.wanted = wanted.clone();
        }
        heard
    }
}

/// Addresses that a router holds or is about to.
struct Tenure {
    ticket: Ticket,
    addresses: BTreeMap<Address, Held>,
}

/// An address of a tenure.
struct Held {
    /// Its number in the core.
    index: u16,
    /// Where it was put.
    link: LinkIndex,
}

impl Worker {
    fn open(
        messages: Mailbox<Message>,
        protocol: Mailbox<protocol::Message>,
        fence: Mailbox<fence::Message>,
        adverts: Arc<Adverts>,
        notes: tokio::sync::mpsc::UnboundedSender<Note>,
        state_dir: &StateDir,
    ) -> Result<Self, netlink::Error> {
        // First the monitor, then the list, so that nothing falls in between.
        let mut monitor = Monitor::open()?;
        let mut requester = Requester::open()?;
        monitor.ignore_additions_by(requester.port())?;
        let route_watch = RouteWatch::open(requester.port())?;
        if let Err(error) = Self::remove_left_over_ways(&mut requester) {
            drop(notes.send(Note::Trouble(error.to_string())));
        }
        let mut table = Table::new();
        let (links, addresses) = (requester.links()?, requester.addresses()?);
        table.replace(links, addresses);
        let entries = || table.links().flat_map(|link| table.addresses_of(link.index));
        let (record, damaged) = Record::load(state_dir, entries().any(|entry| entry.protocol.is_some()));
        let (traces, unknown) = Traces::load(state_dir);
        damaged.into_iter().chain(unknown).for_each(|trouble| drop(notes.send(Note::Trouble(trouble))));
        let ours = entries()
            .filter(|entry| entry.is_ours() || record.contains(entry.link, entry.address))
            .map(|entry| (entry.link, entry.address))
            .collect();
        Ok(Self {
            messages,
            protocol,
            fence,
            adverts,
            fence_wanted: None,
            notes,
            requester,
            connections: Connections::open().ok(),
            teller: None,
            monitor,
            route_watch,
            table,
            places: BTreeMap::new(),
            ways: BTreeMap::new(),
            acceptance: Acceptance::default(),
            sockets: BTreeMap::new(),
            announcers: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            tracked: BTreeMap::new(),
            report_at: Instant::now() + membership::INTERVAL,
            awake_until: Instant::now(),
            retry_at: None,
            told: BTreeSet::new(),
            news: false,
            stale: false,
            ours,
            holders: BTreeMap::new(),
            record,
            traces,
            loud_parents: BTreeSet::new(),
            complete: false,
            unsettled: false,
        })
    }

    fn run(&mut self) {
        loop {
            let timeout = self.timeout();
            let files = [self.messages.as_fd(), self.monitor.as_fd(), self.route_watch.as_fd()].into_iter();
            let files = files.chain(self.acceptance.watched());
            let mut files: Vec<PollFd<'_>> = files.map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
            // An interrupted wait is as good as a wake-up of all.
            let _ = poll(&mut files, timeout);
            let ready = |index: usize| files.get(index).is_some_and(|file| file.any().unwrap_or(true));
            let [asked, told, taken, opened] = [ready(0), ready(1), ready(2), ready(3)];
            // First what the kernel tells, so that an address that is gone is not renewed into being.
            if told {
                self.watch();
            }
            if taken && self.route_watch.any_gone() {
                self.ensure_ways(true);
            }
            if asked && self.serve().is_break() {
                return;
            }
            // To serve may have meant to listen.
            self.pass_on_news();
            if opened {
                self.guard_addresses();
            }
            if self.ways_due().is_some_and(|due| due <= Instant::now()) {
                self.ensure_ways(false);
            }
            if self.reports_due().is_some_and(|due| due <= Instant::now()) {
                self.report_memberships();
            }
            if self.retry_at.is_some_and(|due| due <= Instant::now()) {
                self.retry();
            }
        }
    }

    /// Tries again what could not be had.
    fn retry(&mut self) {
        self.retry_at = None;
        self.close_addresses();
        self.list_anew();
        self.keep_devices();
        self.tell_all_facts();
        if self.retry_at.is_none() {
            self.told.clear();
        }
    }

    /// Something could not be had: it is tried again soon, however many messages come until then.
    fn try_again(&mut self) {
        self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
    }

    /// The same, with the reason, which is told once until everything could be had.
    fn try_again_because(&mut self, trouble: String) {
        self.try_again();
        if self.told.insert(trouble.clone()) {
            drop(self.notes.send(Note::Trouble(trouble)));
        }
    }

    /// How long there is nothing to do unless somebody says so.
    fn timeout(&self) -> PollTimeout {
        let due = [self.ways_due(), self.reports_due(), self.retry_at].into_iter().flatten().min();
        let now = Instant::now();
        if now < self.awake_until {
            return PollTimeout::ZERO;
        }
        let Some(due) = due else { return PollTimeout::NONE };
        // Rounded up, or it would wake too early again and again.
        let left = due.saturating_duration_since(now).as_millis() + 1;
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    /// Does what the other threads ask.
    fn serve(&mut self) -> ControlFlow<()> {
        self.messages.acknowledge();
        while let Some(message) = self.messages.pop() {
            let renews = matches!(message, Message::Kernel(Kernel::Renew));
            // A thousand routers come one behind the other, and what follows from each follows from all.
            if !renews && !matches!(message, Message::Place(..) | Message::Forget(_)) {
                self.settle_places();
            }
            match message {
                Message::Kernel(Kernel::Acquire(ownership, at)) => {
                    self.acquire(&ownership, at);
                    self.awake_until = Instant::now();
                }
                Message::Kernel(Kernel::Release(ownership, followed)) => {
                    self.release(&ownership, followed);
                }
                Message::Kernel(Kernel::Fence(ownership, at)) => self.fence_off(&ownership, at),
                Message::Kernel(Kernel::Renew) => self.renew(&self.adverts.take_due()),
                Message::Kernel(Kernel::Disclaim(ownership)) => self.disclaim(&ownership),
                Message::StayAwake => self.awake_until = Instant::now() + AWAKE,
                Message::Place(router, place) => self.place(router, *place),
                Message::Complete => {
                    self.complete = true;
                    self.keep_devices();
                    self.tell_fence_wanted();
                }
                Message::Forget(router) => self.forget(router),
                Message::Static(ways) => self.plan_ways(None, &ways),
                Message::Stop => {
                    self.close_all_ways();
                    self.places.clear();
                    // The table does not go by itself everywhere.
                    self.close_addresses();
                    self.keep_devices();
                    self.teller.take().into_iter().for_each(Teller::finish);
                    return ControlFlow::Break(());
                }
                Message::Watch(interfaces) => {
                    let told = |name: String| (name.clone(), self.tracked.get(&name).copied().flatten());
                    self.tracked = interfaces.into_iter().map(told).collect();
                    self.tell_tracked();
                }
            }
        }
        self.settle_places();
        ControlFlow::Continue(())
    }

    fn place(&mut self, router: RouterId, place: Place) {
        let before = match self.places.get_mut(&router) {
            Some(placed) => Some(std::mem::replace(&mut placed.place, place)),
            None => {
                self.places.insert(router, Placed::new(place));
                None
            }
        };
        before.iter().for_each(|before| {
            self.refit(router, before);
            self.change_lease(router, before);
        });
        let ways = self.places.get(&router).map(|placed| placed.place.ways.clone()).unwrap_or_default();
        if before.is_none_or(|before| before.ways != ways) {
            self.plan_ways(Some(router), &ways);
        }
        self.unsettled = true;
    }

    /// Does what follows from routers that came, changed or went.
    fn settle_places(&mut self) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        // Before the routers can learn that they may start.
        self.close_addresses();
        self.tell_fence_wanted();
        self.keep_devices();
        // Another router's source must not be an address that one of these moves.
        self.tell_all_facts();
    }

    /// Nothing of the router is left, nor is anything kept for it.
    fn forget(&mut self, router: RouterId) {
        self.places.remove(&router);
        self.holders.retain(|_, holder| *holder != router);
        self.close_ways(Some(router));
        self.ways.remove(&Some(router));
        self.unsettled = true;
    }

    /// Kernel lifetime of a router's addresses in seconds, if they have one.
    fn lease(&self, router: RouterId) -> Option<u32> {
        self.places.get(&router)?.place.lease
    }

    /// Where an address of a router is to go, while that interface is there.
    fn destination(&self, router: RouterId, address: Address) -> Option<LinkIndex> {
        let place = &self.places.get(&router)?.place;
        let link = self.table.link_by_name(place.interface_of(address))?;
        match &place.device {
            // Somebody else's link may have the name.
            Some(device) if device.name == link.name => {
                let parent = self.table.link_by_name(&place.interface)?;
                device.is_ready(&self.table, parent.index).then_some(link.index)
            }
            _ => Some(link.index),
        }
    }

    /// Where an address of a router was put, or would be.
    fn whereabouts(&self, router: RouterId, address: Address) -> Option<LinkIndex> {
        let tenure = self.places.get(&router)?.tenure.as_ref();
        let held = tenure.and_then(|tenure| tenure.addresses.get(&address));
        held.map(|held| held.link).or_else(|| self.destination(router, address))
    }

    fn tell_outcome(&self, router: RouterId, ticket: Ticket, outcome: Outcome) {
        let input = Input::Outcome { router, ticket, outcome };
        self.protocol.push_waiting(protocol::Message::Input(input));
    }

    fn save_record(&mut self) {
        if let Some(trouble) = self.record.save(&self.ours) {
            drop(self.notes.send(Note::Trouble(trouble)));
        }
    }
}
