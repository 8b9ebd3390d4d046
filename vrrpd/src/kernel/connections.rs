//! Clients with open TCP connections to an address that goes: who only receives would learn of it from a
//! time-out of its own.
//!
//! Connections of this host are ended while the address is still here, which resets them at once. Those that
//! are only translated, as the port mappings of containers are, belong to no socket that could be ended.
//! Where a successor has the address their clients are made to speak ([`tickle`]) when it is gone from here, and
//! the successor resets them. Who they are is [found] when the role is given up, while the address still answers.
//! All that is done on a thread of its own: the connection tracking may have a million entries, and other
//! addresses are waiting for the kernel thread.

mod found;
mod post;
#[cfg(test)]
mod tests;
mod tickle;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use found::Found;
use netlink::{Address, Ended, Flow, Flows, LinkIndex};
use tokio::sync::mpsc::UnboundedSender;

use super::{Note, Worker};
use post::{Post, Tickle};

/// What became of clients that were to be told that their address moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Connections whose clients were told.
    pub(crate) connections: usize,
    /// Connections whose clients were not.
    pub(crate) left_out: usize,
    /// Why they were not, and what else went wrong.
    pub(crate) troubles: BTreeSet<String>,
}

/// Both ends of a connection, ours first.
type Ends = (SocketAddr, SocketAddr);

/// What the thread is asked for.
enum Order {
    /// These addresses are about to go: find who has connections to them.
    Look(BTreeSet<IpAddr>),
    /// These addresses are gone.
    Tell(Farewell),
    /// They are here again: nobody is to be told anything any more.
    Keep(BTreeSet<IpAddr>),
}

/// Addresses that are gone.
#[derive(Clone, Default)]
struct Farewell {
    addresses: BTreeSet<IpAddr>,
    /// Connections of this host that were not ended.
    left: BTreeSet<Ends>,
    /// Links with a virtual MAC address, which is another node's now, and what is below them.
    below: BTreeMap<LinkIndex, LinkIndex>,
}

/// The thread that tells clients.
pub(super) struct Teller {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Ends the connections of this host to addresses that go, and gives those that are left.
    pub(super) fn end_connections(&mut self, addresses: impl Iterator<Item = Address>) -> Vec<Ends> {
        let Some(connections) = &mut self.connections else { return Vec::new() };
        let addresses: BTreeMap<IpAddr, Address> = addresses.map(|address| (address.ip, address)).collect();
        if addresses.is_empty() {
            return Vec::new();
        }
        let Ended { ended, left, refused } =
            match connections.end(&addresses.keys().copied().collect(), PATIENCE) {
                Ok(ended) => ended,
                Err(error) => {
                    drop(self.notes.send(Note::Trouble(error.to_string())));
                    return Vec::new();
                }
            };
        let mut counted: BTreeMap<IpAddr, usize> = BTreeMap::new();
        ended.iter().for_each(|ours| *counted.entry(ours.ip()).or_default() += 1);
        for (ip, connections) in counted {
            drop(self.notes.send(Note::Ended { address: addresses[&ip], connections }));
        }
        if let Some(error) = refused {
            let message = format!("{error}; their clients are made to ask instead");
            drop(self.notes.send(Note::Trouble(message)));
        }
        left
    }

    /// Has clients told that addresses are gone; `left`: of connections that were not ended.
    pub(super) fn tell_clients(&mut self, addresses: BTreeSet<IpAddr>, left: Vec<Ends>) {
        if addresses.is_empty() {
            return;
        }
        let parents = self.places.values().filter_map(|placed| {
            let device = placed.place.device.as_ref()?;
            let parent = self.table.link_by_name(&placed.place.interface)?;
            Some((self.table.link_by_name(&device.name)?.index, parent.index))
        });
        let below = parents.collect();
        self.order(Order::Tell(Farewell { addresses, left: left.into_iter().collect(), below }));
    }

    /// The role of these addresses is given up. Who has connections to them is found while they still
    /// answer: it takes time, the more the busier the host is.
    pub(super) fn look_for_clients(&mut self, addresses: BTreeSet<IpAddr>) {
        if !addresses.is_empty() {
            self.order(Order::Look(addresses));
        }
    }

    fn order(&mut self, order: Order) {
        if self.teller.is_none() {
            match Teller::start(self.notes.clone()) {
                Ok(teller) => self.teller = Some(teller),
                Err(error) => drop(self.notes.send(Note::Trouble(format!(
                    "clients cannot be told that addresses move: no thread to be had: {error}"
                )))),
            }
        }
        if let Some(teller) = &self.teller {
            // It ends only with the sender, or by a bug that was printed.
            drop(teller.orders.send(order));
        }
    }

    /// Nobody is to be told that these addresses are gone.
    pub(super) fn keep_clients(&self, addresses: impl Iterator<Item = Address>) {
        if let Some(teller) = &self.teller {
            drop(teller.orders.send(Order::Keep(addresses.map(|address| address.ip).collect())));
        }
    }
}

impl Teller {
    fn start(notes: UnboundedSender<Note>) -> std::io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("vrrp-farewell".into())
            .spawn(move || serve(&received, &notes))?;
        Ok(Self { orders, thread })
    }

    /// Waits until all that it was asked for has been done once.
    pub(super) fn finish(self) {
        drop(self.orders);
        // A panic has been printed by the thread.
        let _ = self.thread.join();
    }
}

fn serve(orders: &Receiver<Order>, notes: &UnboundedSender<Note>) {
    let mut duties = Duties::default();
    loop {
        let order = match duties.due() {
            Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let over = matches!(order, Err(RecvTimeoutError::Disconnected));
        // Many routers that leave together are one question to the kernel.
        order.into_iter().chain(orders.try_iter()).for_each(|order| duties.note(order));
        let told = duties.perform(over);
        if told != Told::default() {
            drop(notes.send(Note::Told(told)));
        }
        if over {
            return;
        }
    }
}

/// What the thread was asked for and has not done.
#[derive(Default)]
struct Duties {
    /// Addresses whose connections are to be found.
    look: BTreeSet<IpAddr>,
    found: Found,
    gone: Farewell,
    rest: Rest,
    again: Again,
}

/// Addresses that went, with clients that were not found in time: their connections are younger than the
/// list, or there was none.
#[derive(Default)]
struct Rest {
    farewell: Farewell,
    /// Whose clients were told.
    done: BTreeSet<Ends>,
    at: Option<Instant>,
}

impl Duties {
    fn note(&mut self, order: Order) {
        match order {
            Order::Look(addresses) => self.look.extend(addresses),
            Order::Tell(more) => {
                self.look.retain(|address| !more.addresses.contains(address));
                self.gone.extend(more);
            }
            Order::Keep(addresses) => {
                self.look.retain(|address| !addresses.contains(address));
                self.found.forget(&addresses);
                self.gone.keep(&addresses);
                self.rest.farewell.keep(&addresses);
                self.again.keep(&addresses);
            }
        }
    }

    /// When there is something to do without another order.
    fn due(&self) -> Option<Instant> {
        [self.rest.at, self.again.at].into_iter().flatten().min()
    }

    /// Does what is due, the most urgent first; `over`: nothing can be left for later.
    fn perform(&mut self, over: bool) -> Told {
        let mut told = Told::default();
        if !self.gone.addresses.is_empty() {
            self.tell_found(&mut told);
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| over || at <= Instant::now());
        if is_due(self.rest.at) {
            self.tell_rest(&mut told);
        }
        if is_due(self.again.at) && !over {
            self.again.send();
        }
        if !self.look.is_empty() && !over {
            self.found.look(std::mem::take(&mut self.look), Instant::now());
        }
        told
    }

    /// Tells whom it knows of. The others are looked for at once where nobody has looked, else in a moment:
    /// more addresses may follow, and their clients need not wait for a list.
    fn tell_found(&mut self, told: &mut Told) {
        let gone = std::mem::take(&mut self.gone);
        let now = Instant::now();
        let (known, flows) = self.found.take(&gone.addresses, now);
        let due = if known == gone.addresses { now + MOMENT } else { now };
        self.rest.at = Some(self.rest.at.map_or(due, |at| at.min(due)));
        self.rest.farewell.extend(Farewell { left: BTreeSet::new(), ..gone.clone() });
        self.rest.done.extend(&gone.left);
        self.rest.done.extend(flows.iter().map(ends));
        self.again.add(gone.tell(&flows, told));
    }

    fn tell_rest(&mut self, told: &mut Told) {
        let Rest { farewell, done, .. } = std::mem::take(&mut self.rest);
        let mut listed = found::tracked(&farewell.addresses);
        told.troubles.append(&mut listed.troubles);
        let (old, new): (Vec<Flow>, Vec<Flow>) =
            listed.flows.into_iter().partition(|flow| done.contains(&ends(flow)));
        self.again.add(farewell.tell(&new, told));
        // Of a connection of this host that was not ended, or somebody has sent on it since.
        remove(&old, &mut None, told);
    }
}

impl Farewell {
    fn extend(&mut self, more: Self) {
        self.addresses.extend(more.addresses);
        self.left.extend(more.left);
        self.below.extend(more.below);
    }

    fn keep(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.addresses.retain(|address| !addresses.contains(address));
        self.left.retain(|(server, _)| !addresses.contains(&server.ip()));
    }

    /// Tells the clients of these and of those that are left, within bounds, and gives what they were sent.
    fn tell(mut self, flows: &[Flow], told: &mut Told) -> Vec<Tickle> {
        if flows.is_empty() && self.left.is_empty() {
            return Vec::new();
        }
        let mut post = match Post::open(self.below) {
            Ok(post) => post,
            Err(trouble) => {
                told.left_out += flows.len() + self.left.len();
                told.troubles.insert(trouble);
                return Vec::new();
            }
        };
        let mut sent = Vec::new();
        // Closed when all have been told: that was seen to take the kernel 9 ms.
        let mut open = None;
        for some in flows.chunks(AT_ONCE) {
            // A client behind this host answers through it, and would be answered by what it was translated to
            // as long as there is the entry. So would one that has not heard of the move. And should the
            // address come back, nothing must lead to a container that is not there any more.
            remove(some, &mut open, told);
            for ends in some.iter().map(ends) {
                self.left.remove(&ends);
            }
            sent.extend(post.deliver(some.iter().map(ends), told));
        }
        let over = self.left.len().saturating_sub(MOST);
        if over > 0 {
            told.left_out += over;
            told.troubles.insert(format!("this host has more than {MOST} connections of its own"));
        }
        sent.extend(post.deliver(self.left.into_iter().take(MOST), told));
        sent
    }
}

/// Has the host forget connections that it tracks.
fn remove(flows: &[Flow], open: &mut Option<Flows>, told: &mut Told) {
    if flows.is_empty() {
        return;
    }
    let removed = match open {
        Some(open) => open.remove(flows),
        None => Flows::open().and_then(|new| open.insert(new).remove(flows)),
    };
    if let Err(error) = removed {
        told.troubles.insert(error.to_string());
    }
}

fn ends(flow: &Flow) -> Ends {
    (flow.server, flow.client)
}

/// Who was told, and is told once more: what was said may have been lost, or the answer gone to us because the
/// announcement of the successor was.
#[derive(Default)]
struct Again {
    tickles: Vec<Tickle>,
    at: Option<Instant>,
}

impl Again {
    fn add(&mut self, sent: Vec<Tickle>) {
        self.tickles.extend(sent);
        if !self.tickles.is_empty() {
            self.at.get_or_insert_with(|| Instant::now() + LATER);
        }
    }

    fn keep(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.tickles.retain(|tickle| !addresses.contains(&tickle.server.ip()));
    }

    fn send(&mut self) {
        let Self { tickles, .. } = std::mem::take(self);
        // What is wrong was said the first time.
        if let Ok(socket) = post::socket() {
            let until = Instant::now() + TO_SEND;
            tickles.iter().take_while(|_| Instant::now() < until).for_each(|one| drop(one.send(&socket)));
        }
    }
}

/// Time for the connections of addresses that go, which another node may have by now.
const PATIENCE: Duration = Duration::from_millis(20);
/// Connections whose clients are told at a time.
const MOST: usize = 16384;
/// Until those are looked for that are younger than the list.
const MOMENT: Duration = Duration::from_millis(20);
/// The longest that it takes to tell them. The daemon's end waits for both.
const TO_SEND: Duration = Duration::from_millis(300);
/// Entries that are removed before their clients are told.
const AT_ONCE: usize = 256;
/// When clients are told once more. Linux answers nonsense each 500 ms at most.
const LATER: Duration = Duration::from_millis(600);
