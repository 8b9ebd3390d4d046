//! What VRRP says: values, packets, timers and the state machine of RFC 9568, and of
//! RFC 3768 for old peers.
//!
//! Nothing in this package opens a socket, reads a clock, starts a task, logs or draws a random
//! number. Time and bytes come in as arguments, actions go out as values; the same code runs under
//! the daemon, under the simulation and under a fuzzer.
#![forbid(unsafe_code)]

/// The helpers of the tests name this package as the tests outside of it do.
#[cfg(test)]
extern crate self as vrrp_proto;

pub mod absence;
pub mod action;
mod discards;
pub mod interval;
pub mod mac;
pub mod node;
pub mod packet;
pub mod parameters;
pub mod priority;
mod router;
pub mod snapshot;
mod sync_group;
pub mod time;
pub mod tracking;
pub mod version;
pub mod vrid;

pub use interval::AdverInterval;
pub use mac::MacAddress;
pub use node::Node;
pub use priority::Priority;
pub use time::Instant;
pub use version::Version;
pub use vrid::{Family, Vrid};
