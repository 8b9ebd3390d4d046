//! The sockets of VRRP: what is heard, what is said, and what announces an address.
//!
//! One set for each interface and family, whatever the number of virtual routers (each further raw
//! socket would cost every packet a copy). The kernel thread opens them when an interface comes up,
//! anew each time, which renews the group membership; the protocol thread uses them.

mod announcer;
mod receiver;
mod sys;
mod transmitter;

pub(crate) use announcer::Announcer;
pub(crate) use receiver::{Incoming, Receiver};
pub(crate) use sys::{link_address, lock_memory, schedule_realtime};
pub(crate) use transmitter::Transmitter;

use std::io;

use vrrp_proto::Family;

/// The sockets of one interface and family.
#[derive(Debug)]
pub(crate) struct LinkSockets {
    pub(crate) receiver: Receiver,
    pub(crate) transmitter: Transmitter,
    pub(crate) announcer: Announcer,
}

impl LinkSockets {
    /// Opens all three on the interface with this name and index.
    ///
    /// # Errors
    ///
    /// With the operation that failed; without `CAP_NET_RAW` it is the first.
    pub(crate) fn open(interface: &str, index: u32, family: Family) -> io::Result<Self> {
        Ok(Self {
            receiver: Receiver::open(interface, index, family)?,
            transmitter: Transmitter::open(interface, index, family)?,
            announcer: Announcer::open(index)?,
        })
    }
}

/// Says which operation an error belongs to.
fn doing(operation: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot {operation}: {error}"))
}
