//! The sockets of VRRP: what is heard, what is said, what announces an address, and who else has it.
//!
//! One set for each interface and family, whatever the number of virtual routers (each further raw
//! socket would cost every packet a copy). The kernel thread opens them when an interface comes up,
//! anew each time, which renews the group membership; the protocol thread uses them.

mod announcer;
mod filter;
mod inbox;
pub(crate) mod membership;
mod receiver;
mod refused;
mod sys;
mod transmitter;
mod watcher;

pub(crate) use announcer::Announcer;
pub(crate) use filter::sieve::{FAULTS, Sieve, Wanted};
pub(crate) use receiver::Receiver;
pub(crate) use refused::Refused;
pub(crate) use sys::{SENT_AT_ONCE, link_address, lock_memory, schedule_realtime, station_address};
pub(crate) use transmitter::Transmitter;
pub(crate) use watcher::{Aim, Watcher};

use std::io;

use vrrp_proto::packet::{Datagram, ParseError, Sighting};
use vrrp_proto::{Family, Instant};

/// The sockets of one interface and family.
#[derive(Debug)]
pub(crate) struct LinkSockets {
    /// Hears what may be for us.
    pub(crate) receiver: Receiver,
    /// For each of [`FAULTS`], in that order: has what the kernel turned away for it.
    pub(crate) refused: [Refused; FAULTS.len()],
    pub(crate) transmitter: Transmitter,
    pub(crate) announcer: Announcer,
    pub(crate) watcher: Watcher,
    /// Where a virtual router speaks VRRPv2: hears what is behind an Authentication Header.
    pub(crate) sealed: Option<Receiver>,
}

/// What came in, and when the kernel received it.
pub(crate) enum Incoming<'a> {
    /// A packet of protocol 112.
    Datagram(Datagram<'a>, Instant),
    /// A packet behind an Authentication Header.
    Sealed(Datagram<'a>, Instant),
    /// Octets that are no IP packet.
    Damaged(ParseError, Instant),
    /// A station said that it has an address.
    Sighting(Sighting, Instant),
    /// A frame that says nothing.
    Nothing,
}

impl LinkSockets {
    /// Opens them all on the interface with this name and index, to hear what is wanted. That may be changed through
    /// the sieve, but for the groups; what the watcher hears of is said through its aim.
    ///
    /// # Errors
    ///
    /// With the operation that failed; without `CAP_NET_RAW` it is the first.
    pub(crate) fn open(
        interface: &str,
        index: u32,
        family: Family,
        wanted: &Wanted,
    ) -> io::Result<(Self, Sieve, Aim)> {
        let program = filter::sieve::program(family, wanted, None);
        let receiver = Receiver::open(interface, index, family, &wanted.groups, &program)?;
        let refused = Refused::open_all(index, family, wanted)?;
        let sieve = Sieve::new(family, receiver.socket(), refused.each_ref().map(Refused::socket));
        let groups_v2 = &wanted.groups_v2;
        let sealed = (!groups_v2.is_empty()).then(|| Receiver::open_sealed(interface, index, groups_v2));
        let sealed = sealed.transpose()?;
        let transmitter = Transmitter::open(interface, index, family)?;
        let announcer = Announcer::open(index)?;
        let (watcher, aim) = Watcher::open(interface, index, family)?;
        Ok((Self { receiver, refused, transmitter, announcer, watcher, sealed }, sieve, aim))
    }
}

/// Says which operation an error belongs to.
fn doing(operation: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot {operation}: {error}"))
}
