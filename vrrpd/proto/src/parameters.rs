//! Parameters of a Virtual Router (RFC 9568 6.1) and what the host tells of itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::packet::{ChecksumForm, ChecksumPolicy};
use crate::tracking::Tracking;
use crate::{AdverInterval, Family, Instant, MacAddress, Priority, Vrid};

/// Number of a Virtual Router, given by the caller and kept across reconfiguration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u16);

/// Number of a configured interface, given by the caller; not the kernel's index, which may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// A virtual address as it is put on the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddress {
    /// The address, as advertised.
    pub ip: IpAddr,
    /// Prefix length on the interface; 32 or 128 unless configured.
    pub prefix_len: u8,
}

/// What is configured for one Virtual Router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Interface it runs on.
    pub link: LinkId,
    /// VRID.
    pub vrid: Vrid,
    /// Family of all its addresses.
    pub family: Family,
    /// Configured priority; 255: the addresses are the administrator's and are never touched.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub interval: AdverInterval,
    /// The virtual addresses in the order in which they are advertised. None: only the role moves,
    /// and the address that the service has meanwhile is the node's own, which is what is advertised.
    pub addresses: Arc<[VirtualAddress]>,
    /// Unicast peers; empty: multicast.
    pub peers: Arc<[IpAddr]>,
    /// Answer with the Virtual Router MAC Address (RFC 9568 7.3) instead of the interface's own.
    pub virtual_mac: bool,
    /// Least TTL or Hop Limit of what peers send: 255, or less where routers are on the way.
    pub min_hop_limit: u8,
    /// Preempt_Mode.
    pub preempt_mode: bool,
    /// How long a living Active Router of lower priority is left alone (RFC 8347 `hold-time`).
    pub preempt_delay: Duration,
    /// Time after start during which the router stays in Initialize.
    pub startup_delay: Duration,
    /// Refuse what deployed peers do against the letter of the RFC.
    pub strict: bool,
    /// IPv4 checksum forms that are accepted.
    pub checksum_policy: ChecksumPolicy,
    /// IPv4 checksum form that is sent until a peer's is known.
    pub checksum_form: ChecksumForm,
    /// Do the addresses have a lifetime in the kernel that each advertisement renews?
    pub leased: bool,
    /// When the role is announced to the neighbours.
    pub announcements: Announcements,
    /// Trackers that count for it.
    pub tracking: Vec<Tracking>,
}

impl Parameters {
    /// The one destination or the many that an advertisement goes to.
    pub fn destinations(&self) -> impl ExactSizeIterator<Item = IpAddr> {
        let group = [self.family.group()];
        let count = if self.peers.is_empty() { 1 } else { self.peers.len() };
        (0..count).map(move |nth| self.peers.get(nth).copied().unwrap_or(group[0]))
    }
}

/// When gratuitous ARPs or unsolicited neighbour advertisements are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcements {
    /// In a burst, for each address; at least 1.
    pub count: u8,
    /// Between those of a burst.
    pub interval: Duration,
    /// From the start of the first burst to a second one; zero: none.
    pub second_after: Duration,
    /// Between later repetitions while Active; zero: none.
    pub refresh: Duration,
}

/// What the host tells about the place where a Virtual Router runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// State of the interface.
    pub interface: InterfaceState,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Is the device there that has the virtual MAC address? Only asked for where one is configured.
    pub device: bool,
    /// Address that advertisements leave from, if there is one.
    pub source: Option<IpAddr>,
    /// Are all virtual addresses on the interface? Only asked for an owner.
    pub owned: bool,
    /// All virtual addresses were found, marked as ours, when the daemon started: the time at which
    /// the last of them was renewed by the daemon before, or the origin of the clock when that
    /// cannot be known. Present in the first facts only.
    pub left_over: Option<Instant>,
}

impl Facts {
    /// Nothing is known yet, which is as good as no interface.
    pub const UNKNOWN: Self = Self {
        interface: InterfaceState::Missing,
        mac: MacAddress::new([0; 6]),
        device: false,
        source: None,
        owned: false,
        left_over: None,
    };
}

/// State of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceState {
    /// There is none of that name.
    Missing,
    /// Administratively down, or without carrier.
    Down,
    /// It can carry packets.
    Up,
}
