//! Who takes part: names, addresses and priorities.

use std::net::Ipv4Addr;
use std::time::Duration;

use vrrp_proto::{AdverInterval, Priority};

/// The address that the nodes keep on one of them.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 201);
/// The client that asks it all the time.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// The station that asks as if it had just been switched on.
pub(super) const NEWCOMER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);
/// A machine that has no business with the address, for a planted fault.
pub(super) const IMPOSTOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 102);
/// Where each node's registry listens.
pub(super) const REGISTRY_PORT: u16 = 5000;
/// Runs of a check in a row that change its verdict, as by default.
pub(super) const FALL: u32 = 3;
/// As [`FALL`], for the better.
pub(super) const RISE: u32 = 2;

/// One of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// The primary.
    A,
    /// The one that stands by.
    B,
}

impl Node {
    pub(super) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::A => "bootstrap-a",
            Self::B => "bootstrap-b",
        }
    }

    /// In drawings, and in answers to the client.
    pub(super) const fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }

    pub(super) fn from_letter(letter: u8) -> Option<Self> {
        Self::BOTH.into_iter().find(|node| node.letter() == char::from(letter))
    }

    pub(super) const fn address(self) -> Ipv4Addr {
        match self {
            Self::A => Ipv4Addr::new(192, 0, 2, 193),
            Self::B => Ipv4Addr::new(192, 0, 2, 194),
        }
    }

    pub(super) fn priority(self) -> Priority {
        let number = match self {
            Self::A => 150,
            Self::B => 100,
        };
        Priority::new(number)
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// MAC address of the station with this IP address: locally administered, with the IP address in it.
pub(super) const fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x00, a, b, c, d]
}

/// Time between two runs of the check on the registry.
pub(super) fn check_interval(interval: AdverInterval) -> Duration {
    // Whole milliseconds, which is what the file can say.
    Duration::from_millis(u64::from(interval.centiseconds()) * 10 / 4)
}
