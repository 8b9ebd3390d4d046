//! Clients with open TCP connections to an address that goes: who only receives would learn of it from a
//! time-out of its own.
//!
//! Connections of this host are ended while the address is still here, which resets them at once. Those that
//! are only translated, as the port mappings of containers are, belong to no socket that could be ended.
//! Their clients are made to speak ([`tickle`]) when the address is gone, and the successor resets them. That
//! is done on a thread of its own: the connection tracking may have a million entries, and other addresses
//! are waiting for the kernel thread.

mod post;
#[cfg(test)]
mod tests;
mod tickle;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
    /// These addresses are gone.
    Tell(Farewell),
    /// They are here again: nobody is to be told anything any more.
    Keep(BTreeSet<IpAddr>),
}

/// Addresses that are gone.
#[derive(Default)]
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
        let until = Instant::now() + PATIENCE;
        let mut left = Vec::new();
        for address in addresses {
            match connections.end(address.ip, until.saturating_duration_since(Instant::now())) {
                Ok(Ended { count, left: some, refused }) => {
                    if count > 0 {
                        drop(self.notes.send(Note::Ended { address, connections: count }));
                    }
                    left.extend(some);
                    refused.into_iter().for_each(|error| {
                        let message = format!("{error}; their clients are made to ask instead");
                        drop(self.notes.send(Note::Trouble(message)));
                    });
                }
                Err(error) => drop(self.notes.send(Note::Trouble(error.to_string()))),
            }
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
        let order = Order::Tell(Farewell { addresses, left: left.into_iter().collect(), below });
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
    let mut gone = Farewell::default();
    let mut again = Again::default();
    loop {
        let order = match again.at {
            Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            // Many routers that leave together are one question to the kernel.
            Ok(order) => std::iter::once(order).chain(orders.try_iter()).for_each(|order| match order {
                Order::Tell(more) => gone.extend(more),
                Order::Keep(addresses) => {
                    gone.keep(&addresses);
                    again.keep(&addresses);
                }
            }),
            Err(RecvTimeoutError::Timeout) => again.send(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if !gone.addresses.is_empty() {
            let (sent, told) = std::mem::take(&mut gone).tell();
            again.add(sent);
            if told != Told::default() {
                drop(notes.send(Note::Told(told)));
            }
        }
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

    /// Tells the clients, within bounds, and gives those that were told.
    fn tell(mut self) -> (Vec<Tickle>, Told) {
        let mut told = Told::default();
        let flows = tracked(&self.addresses, &mut told);
        let mut post = match Post::open(std::mem::take(&mut self.below)) {
            Ok(post) => post,
            Err(trouble) => {
                told.left_out = flows.len() + self.left.len();
                told.troubles.insert(trouble);
                return (Vec::new(), told);
            }
        };
        let mut sent = Vec::new();
        for some in flows.chunks(AT_ONCE) {
            // A client behind this host answers through it, and would be answered by what it was translated to
            // as long as there is the entry. So would one that has not heard of the move. And should the
            // address come back, nothing must lead to a container that is not there any more.
            if let Err(error) = Flows::open().and_then(|mut flows| flows.remove(some)) {
                told.troubles.insert(error.to_string());
            }
            let ends = some.iter().map(|flow| (flow.server, flow.client));
            for ends in ends.clone() {
                self.left.remove(&ends);
            }
            sent.extend(post.deliver(ends, &mut told));
        }
        let over = self.left.len().saturating_sub(MOST);
        if over > 0 {
            told.left_out += over;
            told.troubles.insert(format!("this host has more than {MOST} connections of its own"));
        }
        sent.extend(post.deliver(self.left.into_iter().take(MOST), &mut told));
        (sent, told)
    }
}

/// Connections to these addresses that the host tracks, whoever their sockets belong to.
fn tracked(addresses: &BTreeSet<IpAddr>, told: &mut Told) -> Vec<Flow> {
    // Where nothing is tracked the kernel is not asked, which could load a module of it.
    let count = std::fs::read_to_string(TRACKED).unwrap_or_default();
    if matches!(count.trim(), "" | "0") {
        return Vec::new();
    }
    match Flows::open().and_then(|mut flows| flows.list(addresses, MOST, TO_LIST)) {
        Ok(listed) => {
            if listed.incomplete {
                told.troubles.insert(format!(
                    "there may be more than {} tracked connections, or it took longer than {} ms to list them",
                    listed.flows.len(),
                    TO_LIST.as_millis()
                ));
            }
            listed.flows
        }
        Err(error) => {
            told.troubles.insert(error.to_string());
            Vec::new()
        }
    }
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

/// How many connections are tracked.
const TRACKED: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// Time for the connections of addresses that go, which another node may have by now.
const PATIENCE: Duration = Duration::from_millis(20);
/// Connections whose clients are told at a time.
const MOST: usize = 16384;
/// The longest that it takes to find them.
const TO_LIST: Duration = Duration::from_millis(300);
/// The longest that it takes to tell them. The daemon's end waits for both.
const TO_SEND: Duration = Duration::from_millis(300);
/// Entries that are removed before their clients are told.
const AT_ONCE: usize = 256;
/// When clients are told once more. Linux answers nonsense each 500 ms at most.
const LATER: Duration = Duration::from_millis(600);
