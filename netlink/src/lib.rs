//! What vrrpd tells Linux about links and addresses, and what Linux tells it.
//!
//! * [`Requester`] performs [`Request`]s, many in one system call, each with its own result, and
//!   lists what there is. A verb that is already true has succeeded: [`Change::Unchanged`].
//! * [`Monitor`] reports what changes, whoever changed it; [`RouteWatch`] wakes when routes or rules of
//!   ours are gone.
//! * [`Connections`] ends the TCP connections of an address; [`Flows`] are those that are only forwarded.
//! * [`nftables`] keeps tables of our own in the packet filter.
//! * [`Table`] is what we know from both, and says what differs after events were lost.
//!
//! All calls are synchronous. A request runs inside of the system call that sends it, under the
//! kernel's one lock for network configuration; that can take milliseconds, so none of this belongs
//! on the thread that sends advertisements. This package knows nothing of VRRP, makes no namespaces
//! (each socket belongs to the namespace of the thread that opened it) and keeps no thread.
//!
//! Linux 3.10 is enough: what it lacks (words with errors, marks on addresses) is missing from the
//! answers, never fatal.

mod address;
mod answers;
mod channel;
mod connections;

mod error;
mod fault;
mod flows;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod ipv4_setting;
mod link;
mod monitor;
mod neighbour;
pub mod nftables;
mod own_route;
mod request;
mod requester;
mod route;
mod route_watch;
mod table;
mod wire;

pub use address::{Address, AddressEntry, AddressOptions, Lifetime, PROTOCOL, Scope};
pub use connections::{Connections, Ended};
pub use error::Error;
pub use flows::{Flow, Flows, Listed};
pub use ipv4_setting::{Ipv4Setting, Ipv4Settings};
pub use link::{Link, LinkIndex};
pub use monitor::{Event, Monitor};
pub use neighbour::Neighbour;
pub use own_route::{Denial, LeftOver, Route, Rule};
pub use request::{Change, Netns, Request};
pub use requester::Requester;
pub use route::{Gateway, NextHop, RouteEntry, Way};
pub use route_watch::RouteWatch;
pub use table::Table;
