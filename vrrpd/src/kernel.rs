//! The kernel thread: everything that the kernel is asked or tells about links and addresses.
//!
//! It performs the ownership actions in the order in which they were decided, watches links and
//! addresses, opens the sockets when an interface comes up, and tells the protocol thread the facts
//! that it needs. Netlink may make it wait for as long as it likes: nobody waits for it.

mod place;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink::{Address, Change, Connections, Event, LinkIndex, Monitor, Request, Requester, Table};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vrrp_proto::action::{Input, Outcome, Ownership, Ticket};
use vrrp_proto::parameters::{Facts, InterfaceState, LinkId, RouterId};
use vrrp_proto::{Family, MacAddress};

use crate::mailbox::Mailbox;
use crate::net::{Aim, LinkSockets};
use crate::protocol::{self, Kernel};

pub(crate) use place::Place;
use record::Record;

/// Addresses in one request: the first alone, because somebody waits for it, then so many that a
/// batch takes about a millisecond (`RTM_NEWADDR` of IPv6 costs more the more there are).
const fn batch(family: Family) -> usize {
    match family {
        Family::Ipv4 => 64,
        Family::Ipv6 => 16,
    }
}

/// How soon sockets that could not be opened are tried again, in milliseconds.
const RETRY_MS: u16 = 1000;

/// Time for the connections of addresses that go, which another node may have by now.
const FAREWELL: Duration = Duration::from_millis(20);

/// What the other threads tell the kernel thread.
pub(crate) enum Message {
    /// The protocol thread wants something done to addresses.
    Kernel(Kernel),
    /// A router runs here, with these addresses; also when that has changed.
    Place(RouterId, Box<Place>),
    /// A router is gone.
    Forget(RouterId),
    /// End the thread.
    Stop,
}

/// What the kernel thread tells the main thread: words for people.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// An interface that a router runs on came, went, or changed its state.
    Interface { name: String, state: InterfaceState },
    /// The kernel refused something, in its own words.
    Refused { router: RouterId, address: Address, message: String },
    /// TCP connections were ended because their address goes.
    Ended { address: Address, connections: usize },
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
        notes: tokio::sync::mpsc::UnboundedSender<Note>,
        state_dir: PathBuf,
    ) -> io::Result<Self> {
        let mut kernel = Worker::open(messages, protocol, notes, state_dir).map_err(io::Error::other)?;
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
    notes: tokio::sync::mpsc::UnboundedSender<Note>,
    requester: Requester,
    /// Absent where the kernel cannot end connections.
    connections: Option<Connections>,
    monitor: Monitor,
    table: Table,
    places: BTreeMap<RouterId, Placed>,
    /// Of a link and family; absent: none are open.
    sockets: BTreeMap<(LinkId, Family), Opened>,
    /// What was told of each interface last.
    interfaces: BTreeMap<String, InterfaceState>,
    /// Sockets could not be opened, or nothing could be listed; try again soon.
    retry: bool,
    /// Events were lost, and the table has not been made anew since.
    stale: bool,
    ours: BTreeSet<(LinkIndex, Address)>,
    record: Record,
}

/// A router, what was said of its place last, and what it holds.
struct Placed {
    place: Place,
    facts: Option<Facts>,
    tenure: Option<Tenure>,
}

/// Sockets that the protocol thread has.
struct Opened {
    interface: LinkIndex,
    aim: Aim,
}

/// Addresses that a router holds or is about to.
struct Tenure {
    ticket: Ticket,
    link: LinkIndex,
    addresses: BTreeMap<Address, u16>,
}

impl Worker {
    fn open(
        messages: Mailbox<Message>,
        protocol: Mailbox<protocol::Message>,
        notes: tokio::sync::mpsc::UnboundedSender<Note>,
        state_dir: PathBuf,
    ) -> Result<Self, netlink::Error> {
        // First the monitor, then the list, so that nothing falls in between.
        let mut monitor = Monitor::open()?;
        let mut requester = Requester::open()?;
        monitor.ignore_additions_by(requester.port())?;
        let mut table = Table::new();
        let (links, addresses) = (requester.links()?, requester.addresses()?);
        table.replace(links, addresses);
        let entries = || table.links().flat_map(|link| table.addresses_of(link.index));
        let mut record = Record::load(&state_dir, entries().any(|entry| entry.protocol.is_some()));
        let ours = entries()
            .filter(|entry| entry.is_ours() || record.contains(entry.link, entry.address))
            .map(|entry| (entry.link, entry.address))
            .collect();
        record.trouble().into_iter().for_each(|trouble| drop(notes.send(Note::Trouble(trouble))));
        Ok(Self {
            messages,
            protocol,
            notes,
            requester,
            connections: Connections::open().ok(),
            monitor,
            table,
            places: BTreeMap::new(),
            sockets: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            retry: false,
            stale: false,
            ours,
            record,
        })
    }

    fn run(&mut self) {
        loop {
            let timeout = if self.retry { PollTimeout::from(RETRY_MS) } else { PollTimeout::NONE };
            let mut files = [
                PollFd::new(self.messages.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN),
            ];
            // An interrupted wait is as good as a wake-up of both.
            let _ = poll(&mut files, timeout);
            let [asked, told] = files.map(|file| file.any().unwrap_or(true));
            // First what the kernel tells, so that an address that is gone is not renewed into being.
            if told {
                self.watch();
            }
            if asked && self.serve().is_break() {
                return;
            }
            if std::mem::take(&mut self.retry) {
                self.list_anew();
                self.tell_all_facts();
            }
        }
    }

    /// Does what the other threads ask.
    fn serve(&mut self) -> ControlFlow<()> {
        self.messages.acknowledge();
        while let Some(message) = self.messages.pop() {
            match message {
                Message::Kernel(Kernel::Acquire(ownership)) => self.acquire(&ownership),
                Message::Kernel(Kernel::Release(ownership)) => self.release(&ownership),
                Message::Kernel(Kernel::Renew(ownership)) => {
                    self.set_lifetime(&ownership, |place| place.lease);
                }
                Message::Kernel(Kernel::Disclaim(ownership)) => {
                    self.set_lifetime(&ownership, |place| place.lease.map(place::farewell));
                }
                Message::Place(router, place) => self.place(router, *place),
                Message::Forget(router) => drop(self.places.remove(&router)),
                Message::Stop => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    /// Adds addresses, and says of each what became of it as soon as that is known.
    fn acquire(&mut self, ownership: &Ownership) {
        let Some((link, lease, family)) = self.whereabouts(ownership.router) else {
            return self.refuse_all(ownership, libc::ENODEV);
        };
        self.hold(ownership, link);
        let indices: Vec<u16> = ownership.range.clone().collect();
        let (first, rest) = indices.split_at(indices.len().min(1));
        for chunk in std::iter::once(first).chain(rest.chunks(batch(family))) {
            let addresses: Vec<Address> = chunk.iter().map(|&index| address(ownership, index)).collect();
            let requests: Vec<Request> = addresses
                .iter()
                .map(|&address| Request::AddAddress { link, address, lifetime: lease })
                .collect();
            let answers = self.requester.perform(&requests);
            for ((&index, &address), answer) in chunk.iter().zip(&addresses).zip(answers) {
                let outcome = self.added(ownership, link, index, address, lease, answer);
                self.tell_outcome(ownership.router, ownership.ticket, outcome);
            }
        }
        self.tell_outcome(ownership.router, ownership.ticket, Outcome::Acquired);
        self.save_record();
    }

    fn added(
        &mut self,
        ownership: &Ownership,
        link: LinkIndex,
        index: u16,
        address: Address,
        lease: Option<u32>,
        answer: Result<Change, netlink::Error>,
    ) -> Outcome {
        match answer {
            Ok(Change::Made) => {
                self.ours.insert((link, address));
                Outcome::Added { index, foreign: false }
            }
            // It was there. Ours from before gets its full term again, another's is left alone.
            Ok(Change::Unchanged) if self.is_ours(link, address) => {
                self.requester.perform(&[Request::RenewAddress { link, address, lifetime: lease }]);
                Outcome::Added { index, foreign: false }
            }
            Ok(Change::Unchanged) => Outcome::Added { index, foreign: true },
            Err(error) => {
                let errno = error.errno().unwrap_or(libc::EIO);
                let note = Note::Refused { router: ownership.router, address, message: error.to_string() };
                drop(self.notes.send(note));
                Outcome::Refused { index, errno }
            }
        }
    }

    /// Removes what is ours.
    fn release(&mut self, ownership: &Ownership) {
        if let Some((link, _, family)) = self.whereabouts(ownership.router) {
            let ours: Vec<Address> = ownership
                .range
                .clone()
                .map(|index| address(ownership, index))
                .filter(|&address| self.ours.remove(&(link, address)))
                .collect();
            // While it is still here, the other side can be told.
            let until = Instant::now() + FAREWELL;
            ours.iter().for_each(|&address| self.end_connections(address, until));
            for chunk in ours.chunks(batch(family)) {
                let requests: Vec<Request> =
                    chunk.iter().map(|&address| Request::RemoveAddress { link, address }).collect();
                for (&address, answer) in chunk.iter().zip(self.requester.perform(&requests)) {
                    if let Err(error) = answer {
                        // Its lease will end; until then it is ours to try again.
                        self.ours.insert((link, address));
                        drop(self.notes.send(Note::Trouble(error.to_string())));
                    }
                }
            }
        }
        if let Some(placed) = self.places.get_mut(&ownership.router)
            && let Some(tenure) = &mut placed.tenure
        {
            for index in ownership.range.clone() {
                tenure.addresses.remove(&address(ownership, index));
            }
        }
        self.tell_outcome(ownership.router, ownership.ticket, Outcome::Released);
        self.save_record();
    }

    /// Ends the TCP connections of an address that goes: who only receives would
    /// otherwise learn of it from a time-out of his own.
    fn end_connections(&mut self, address: Address, until: Instant) {
        let Some(connections) = &mut self.connections else { return };
        match connections.end(address.ip, until.saturating_duration_since(Instant::now())) {
            Ok(0) => {}
            Ok(connections) => drop(self.notes.send(Note::Ended { address, connections })),
            Err(error) => {
                drop(self.notes.send(Note::Trouble(error.to_string())));
                // Before Linux 4.5, or built without it: told once.
                if matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL)) {
                    self.connections = None;
                }
            }
        }
    }

    /// Gives ours a new term, unless `lifetime` knows none.
    fn set_lifetime(&mut self, ownership: &Ownership, lifetime: fn(&Place) -> Option<u32>) {
        let Some((link, _, family)) = self.whereabouts(ownership.router) else { return };
        let Some(place) = self.places.get(&ownership.router).map(|placed| &placed.place) else { return };
        let lifetime @ Some(_) = lifetime(place) else { return };
        let ours = ownership
            .addresses
            .iter()
            .map(|address| Address { ip: address.ip, prefix_len: address.prefix_len });
        let requests: Vec<Request> = ours
            .filter(|&address| self.ours.contains(&(link, address)))
            .map(|address| Request::RenewAddress { link, address, lifetime })
            .collect();
        for chunk in requests.chunks(batch(family)) {
            for error in self.requester.perform(chunk).into_iter().filter_map(Result::err) {
                drop(self.notes.send(Note::Trouble(error.to_string())));
            }
        }
    }

    /// Takes note of what a router holds, for the day when somebody else removes it.
    fn hold(&mut self, ownership: &Ownership, link: LinkIndex) {
        let Some(placed) = self.places.get_mut(&ownership.router) else { return };
        let known =
            placed.tenure.take().filter(|tenure| tenure.ticket == ownership.ticket && tenure.link == link);
        let mut tenure =
            known.unwrap_or(Tenure { ticket: ownership.ticket, link, addresses: BTreeMap::new() });
        tenure.addresses.extend(ownership.range.clone().map(|index| (address(ownership, index), index)));
        placed.tenure = Some(tenure);
    }

    fn place(&mut self, router: RouterId, place: Place) {
        let placed = self.places.remove(&router);
        let (facts, tenure) = placed.map_or((None, None), |placed| (placed.facts, placed.tenure));
        self.places.insert(router, Placed { place, facts, tenure });
        // Another router's source must not be an address that this one moves.
        self.tell_all_facts();
    }

    /// Takes in what the kernel tells.
    fn watch(&mut self) {
        let mut changed = false;
        loop {
            match self.monitor.next() {
                Ok(Some(Event::Overrun)) => {
                    changed = true;
                    self.stale = true;
                }
                Ok(Some(event)) => {
                    changed |= self.table.apply(&event);
                    self.lost(&event);
                }
                Ok(None) => break,
                Err(error) => {
                    drop(self.notes.send(Note::Trouble(error.to_string())));
                    break;
                }
            }
        }
        self.list_anew();
        if changed {
            self.tell_all_facts();
        }
    }

    /// After events were lost: finds out what they would have said.
    fn list_anew(&mut self) {
        if !self.stale {
            return;
        }
        match (self.requester.links(), self.requester.addresses()) {
            (Ok(links), Ok(addresses)) => {
                self.stale = false;
                for event in self.table.replace(links, addresses) {
                    self.lost(&event);
                }
                // Of those that we added the table had not heard, and so does not miss them.
                let is_missing = |&&(link, address): &&_| self.table.address(link, address).is_none();
                let missing: Vec<(LinkIndex, Address)> =
                    self.ours.iter().filter(is_missing).copied().collect();
                missing.into_iter().for_each(|(link, address)| self.gone(link, address));
            }
            (Err(error), _) | (_, Err(error)) => {
                drop(self.notes.send(Note::Trouble(error.to_string())));
                self.retry = true;
            }
        }
    }

    /// Tells whose address somebody else removed.
    fn lost(&mut self, event: &Event) {
        if let Event::AddressGone { entry, port } = event
            && *port != self.requester.port()
        {
            self.gone(entry.link, entry.address);
        }
    }

    fn gone(&mut self, link: LinkIndex, address: Address) {
        self.ours.remove(&(link, address));
        for (&router, placed) in &self.places {
            let Some(tenure) = &placed.tenure else { continue };
            if let (true, Some(&index)) = (tenure.link == link, tenure.addresses.get(&address)) {
                self.tell_outcome(router, tenure.ticket, Outcome::Lost { index });
            }
        }
    }

    /// Says what is known of each router's place, where that has changed.
    fn tell_all_facts(&mut self) {
        let virtual_addresses: BTreeSet<_> = self
            .places
            .values()
            .flat_map(|placed| placed.place.addresses.iter().map(|address| address.ip))
            .collect();
        let routers: Vec<RouterId> = self.places.keys().copied().collect();
        for router in routers {
            let Some(placed) = self.places.get(&router) else { continue };
            let mut facts = placed.place.facts(&self.table, &virtual_addresses);
            if placed.facts.is_none() {
                facts.left_over = placed.place.left_over(&self.table, &self.ours);
            }
            let (link, family) = (placed.place.link, placed.place.family);
            let interface = placed.place.interface.clone();
            if !self.sockets_follow(link, family, &interface, facts.interface) {
                facts.interface = InterfaceState::Down;
            }
            let placed = self.places.get_mut(&router).expect("still there");
            if self.interfaces.insert(interface.clone(), facts.interface) != Some(facts.interface) {
                drop(self.notes.send(Note::Interface { name: interface, state: facts.interface }));
            }
            if placed.facts.replace(facts) != Some(facts) {
                self.protocol.push_waiting(protocol::Message::Input(Input::Facts { router, facts }));
            }
        }
        self.watch_addresses();
    }

    /// Has the sockets hear who else has the addresses of the routers that are there now.
    fn watch_addresses(&mut self) {
        for (&(link, family), opened) in &mut self.sockets {
            let here = |placed: &&Placed| placed.place.link == link && placed.place.family == family;
            let addresses = self.places.values().filter(here).flat_map(|placed| &placed.place.addresses);
            let Some(interface) = self.table.link(opened.interface) else { continue };
            let own = MacAddress::new(interface.mac.unwrap_or_default());
            if let Err(error) = opened.aim.at(own, addresses.map(|address| address.ip).collect()) {
                drop(self.notes.send(Note::Trouble(format!("{}: {error}", interface.name))));
            }
        }
    }

    /// Opens sockets when the interface comes up, and closes them when it goes. Coming up again is
    /// a new opening: whatever became of the group membership meanwhile, it is renewed.
    fn sockets_follow(
        &mut self,
        link: LinkId,
        family: Family,
        interface: &str,
        state: InterfaceState,
    ) -> bool {
        let index = match (state, self.table.link_by_name(interface)) {
            (InterfaceState::Up, Some(link)) => link.index,
            _ => {
                if self.sockets.remove(&(link, family)).is_some() {
                    self.protocol.push_waiting(protocol::Message::Sockets { link, family, sockets: None });
                }
                return true;
            }
        };
        if self.sockets.get(&(link, family)).is_some_and(|opened| opened.interface == index) {
            return true;
        }
        match LinkSockets::open(interface, index.get(), family) {
            Ok((sockets, aim)) => {
                self.sockets.insert((link, family), Opened { interface: index, aim });
                let sockets = Some(Box::new(sockets));
                self.protocol.push_waiting(protocol::Message::Sockets { link, family, sockets });
                true
            }
            Err(error) => {
                self.retry = true;
                drop(self.notes.send(Note::Trouble(format!("{interface}: {error}"))));
                false
            }
        }
    }

    fn whereabouts(&self, router: RouterId) -> Option<(LinkIndex, Option<u32>, Family)> {
        let place = &self.places.get(&router)?.place;
        let link = self.table.link_by_name(&place.interface)?;
        Some((link.index, place.lease, place.family))
    }

    /// Is an address that is there ours? The table may not have heard of it yet.
    fn is_ours(&mut self, link: LinkIndex, address: Address) -> bool {
        if self.ours.contains(&(link, address)) {
            return true;
        }
        let listed = self.requester.addresses().unwrap_or_default();
        let ours =
            listed.iter().any(|entry| entry.link == link && entry.address == address && entry.is_ours());
        if ours {
            self.ours.insert((link, address));
        }
        ours
    }

    fn refuse_all(&self, ownership: &Ownership, errno: i32) {
        for index in ownership.range.clone() {
            self.tell_outcome(ownership.router, ownership.ticket, Outcome::Refused { index, errno });
        }
        self.tell_outcome(ownership.router, ownership.ticket, Outcome::Acquired);
    }

    fn tell_outcome(&self, router: RouterId, ticket: Ticket, outcome: Outcome) {
        let input = Input::Outcome { router, ticket, outcome };
        self.protocol.push_waiting(protocol::Message::Input(input));
    }

    fn save_record(&mut self) {
        if let Err(trouble) = self.record.save(&self.ours) {
            drop(self.notes.send(Note::Trouble(trouble)));
        }
    }
}

fn address(ownership: &Ownership, index: u16) -> Address {
    let address = ownership.addresses[usize::from(index)];
    Address { ip: address.ip, prefix_len: address.prefix_len }
}
