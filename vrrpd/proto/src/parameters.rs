//! Parameters of a Virtual Router (RFC 9568 6.1) and what the host tells of itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::packet::{AuthPolicy, ChecksumForm, ChecksumPolicy, Key, Password};
use crate::tracking::Tracking;
use crate::{AdverInterval, Family, Instant, MacAddress, Priority, Version, Vrid};

/// Hop Limit that Linux gives an IPv6 packet when nothing else is said.
pub(crate) const KERNEL_HOP_LIMIT: u8 = 64;

/// Number of a Virtual Router, given by the caller and kept across reconfiguration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u16);

/// Number of a configured interface, given by the caller; not the kernel's index, which may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// Number of a sync group, given by the caller and kept across reconfiguration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u16);

/// A virtual address as it is put on the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddress {
    /// The address, as advertised.
    pub ip: IpAddr,
    /// Prefix length on the interface; 32 or 128 unless configured.
    pub prefix_len: u8,
    /// The interface that it is put on, where that is not the router's.
    pub interface: Option<LinkId>,
}

/// The addresses that have their first bits in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// One of them.
    pub address: IpAddr,
    /// How many bits: 0 to 32, or to 128 for IPv6.
    pub prefix_len: u8,
}

impl Network {
    /// Is it one of them?
    pub fn contains(self, address: IpAddr) -> bool {
        let (bits, differ) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (32, u128::from(own.to_bits() ^ other.to_bits())),
            (IpAddr::V6(own), IpAddr::V6(other)) => (128, own.to_bits() ^ other.to_bits()),
            _ => return false,
        };
        let host = bits - u32::from(self.prefix_len).min(bits);
        differ.checked_shr(host).unwrap_or(0) == 0
    }
}

/// Another interface over which the same Virtual Router advertises, to named peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondPath {
    /// The interface.
    pub link: LinkId,
    /// The other routers, at least one.
    pub peers: Arc<[SecondPeer]>,
    /// Stations of the clients' LAN that are asked, beside the peers, whether it answers.
    pub witnesses: Arc<[IpAddr]>,
}

impl SecondPath {
    /// Who is asked whether the clients' LAN answers.
    pub fn stations(&self) -> impl Iterator<Item = IpAddr> {
        self.peers.iter().map(|peer| peer.router).chain(self.witnesses.iter().copied())
    }
}

/// Stations that tell a node which is cut off from one whose peers are dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The other routers, at least one, by their addresses on the router's link.
    pub peers: Arc<[IpAddr]>,
    /// Further stations of the router's link. They are asked as the peers are: by ARP or neighbour
    /// solicitation.
    pub arp: Arc<[IpAddr]>,
    /// Stations that the caller asks, anywhere ([`Report::AskWitnesses`](crate::action::Report)).
    pub tcp: Arc<[SocketAddr]>,
    /// What silence means.
    pub policy: WitnessPolicy,
}

impl Witness {
    /// Those that are asked on the router's link.
    pub fn neighbours(&self) -> impl Iterator<Item = IpAddr> {
        self.peers.iter().chain(self.arp.iter()).copied()
    }

    /// All that are asked: the peers, then the witnesses; with the port where there is one.
    pub(crate) fn stations(&self) -> impl Iterator<Item = (IpAddr, Option<u16>)> {
        let remote = self.tcp.iter().map(|address| (address.ip(), Some(address.port())));
        self.neighbours().map(|address| (address, None)).chain(remote)
    }
}

/// What it means that neither a peer nor a witness answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WitnessPolicy {
    /// That this node is cut off, if they fell silent together. Where the peers or the witnesses were
    /// dead before, or never answered, it goes on as without witnesses.
    #[default]
    Claim,
    /// That this node is cut off, whatever was before.
    Hold,
}

/// Another router with an address on each path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondPeer {
    /// On the first one. It is known by this one, so that a tie does not depend on the path.
    pub router: IpAddr,
    /// On the second one.
    pub address: IpAddr,
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
    /// Advertisement_Interval, and with it the version that is spoken.
    pub interval: AdverInterval,
    /// How advertisements show that they belong to the group.
    pub authentication: Authentication,
    /// The virtual addresses in the order in which they are advertised. None: only the role moves,
    /// and the address that the service has meanwhile is the node's own, which is what is advertised.
    ///
    /// Behind those come the ones that only move along, first those of this family: of either family,
    /// not advertised, and where the kernel refuses one nothing else changes.
    pub addresses: Arc<[VirtualAddress]>,
    /// How many of `addresses`, at the end, only move along. None for an owner.
    pub extra_addresses: u16,
    /// Unicast peers; empty: multicast.
    pub peers: Arc<[IpAddr]>,
    /// Answer with the Virtual Router MAC Address (RFC 9568 7.3) instead of the interface's own.
    pub virtual_mac: bool,
    /// Where multicast goes to and comes from; [`Family::group`] unless set.
    pub group: Option<IpAddr>,
    /// Who may speak in multicast; empty: anybody. In unicast the peers may.
    pub allowed: Arc<[Network]>,
    /// A second path beside that of [`link`](Self::link).
    pub second_path: Option<SecondPath>,
    /// Who says that this node is not cut off. Not beside a second path, and never of an owner (priority
    /// 255), whose addresses cannot move.
    pub witness: Option<Witness>,
    /// Does a Backup ask the host of the Active Router when an advertisement is late, and follow a dead one
    /// early? Beside a `witness` or a second path, which have the third stations; never of an owner (priority
    /// 255).
    pub suspicion: bool,
    /// Least TTL or Hop Limit of what peers send: 255, or less where routers are on the way.
    /// [`least_hop_limit`](Self::least_hop_limit) says what it comes to.
    pub min_hop_limit: u8,
    /// Preempt_Mode.
    pub preempt_mode: bool,
    /// How long a living Active Router of lower priority is left alone (RFC 8347 `hold-time`).
    pub preempt_delay: Duration,
    /// What becomes of a claim after silence when somebody still answers for the addresses.
    pub on_conflict: OnConflict,
    /// Time after start during which the router stays in Initialize.
    pub startup_delay: Duration,
    /// Time after its interface came up during which the router stays in Initialize: a switch port may
    /// carry nothing at first. An interface that was up when the router was made is taken to have been
    /// up for long.
    pub carrier_delay: Duration,
    /// Refuse what deployed peers do against the letter of the RFC.
    pub strict: bool,
    /// IPv4 checksum forms that are accepted.
    pub checksum_policy: ChecksumPolicy,
    /// IPv4 checksum form that is sent until a peer's is known.
    pub checksum_form: ChecksumForm,
    /// Do the addresses have a lifetime in the kernel that each advertisement renews?
    pub leased: bool,
    /// Does the host silence the addresses by itself soon after an advertisement, unless each renews that? Only
    /// where they are `leased`.
    pub fenced: bool,
    /// When the role is announced to the neighbours.
    pub announcements: Announcements,
    /// Trackers that count for it. The same for all members of a sync group, since a check that moves
    /// one of them moves all.
    pub tracking: Vec<Tracking>,
    /// The group that it moves with. Never of an owner (priority 255), whose addresses cannot move.
    pub sync_group: Option<GroupId>,
}

impl Parameters {
    /// The version that is spoken.
    pub const fn version(&self) -> Version {
        self.interval.version()
    }

    /// Those of the addresses that are advertised.
    pub fn advertised(&self) -> &[VirtualAddress] {
        let count = self.addresses.len().saturating_sub(usize::from(self.extra_addresses));
        &self.addresses[..count]
    }

    /// Is an address on the router's own link, and announced there in its own family?
    pub(crate) fn is_at_home(&self, address: &VirtualAddress) -> bool {
        address.interface.is_none() && Family::of(address.ip) == self.family
    }

    /// The one destination or the many that an advertisement goes to.
    pub fn destinations(&self) -> impl ExactSizeIterator<Item = IpAddr> {
        let count = if self.peers.is_empty() { 1 } else { self.peers.len() };
        (0..count).map(|nth| self.peers.get(nth).copied().unwrap_or(self.group()))
    }

    /// Where multicast goes to and comes from.
    pub fn group(&self) -> IpAddr {
        self.group.unwrap_or(self.family.group())
    }

    /// TTL or Hop Limit below which no advertisement is taken, on the first path. Of those above it not each
    /// one is: the group is 255's, and from IPv6 peers 64 is the only lower one, Linux's own.
    pub fn least_hop_limit(&self) -> u8 {
        if self.peers.is_empty() {
            u8::MAX
        } else if self.family == Family::Ipv6 && !self.strict {
            self.min_hop_limit.min(KERNEL_HOP_LIMIT)
        } else {
            self.min_hop_limit
        }
    }

    /// May advertisements of this router come from there?
    pub(crate) fn may_speak(&self, source: IpAddr) -> bool {
        if self.peers.is_empty() {
            self.allowed.is_empty() || self.allowed.iter().any(|network| network.contains(source))
        } else {
            self.peers.contains(&source)
        }
    }
}

/// What a Backup does when the Active Router is silent and a station still answers for the addresses: it
/// may hang, or not be heard here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Claims as ever: the announcements draw the clients here.
    #[default]
    Claim,
    /// Claims one Active_Down_Interval later, unless an advertisement comes.
    Hold,
}

impl OnConflict {
    /// The word in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Hold => "hold",
        }
    }
}

/// How advertisements show that they belong to the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all, as RFC 9568 9 and RFC 3768 10 have it.
    #[default]
    None,
    /// The simple password of VRRPv2 (RFC 2338 5.3.10).
    Password(Password),
    /// A trailer that who knows a key of the group can make.
    Keyed(Arc<Keyring>),
}

impl Authentication {
    /// What is accepted in the fields of VRRPv2.
    pub(crate) fn policy(&self) -> AuthPolicy {
        match self {
            Self::None | Self::Keyed(_) => AuthPolicy::None,
            Self::Password(password) => AuthPolicy::Password(*password),
        }
    }
}

/// The keys of a group, and what is done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    /// Those that are accepted.
    keys: Box<[Key]>,
    /// The one that is sent with, among them.
    active: usize,
    /// What is sent and what is accepted.
    pub mode: KeyMode,
    /// Which advertisements are too old.
    pub replay: Replay,
}

impl Keyring {
    /// `None` when no key has the number of the active one.
    pub fn new(keys: Vec<Key>, active: u8, mode: KeyMode, replay: Replay) -> Option<Self> {
        let active = keys.iter().position(|key| key.number() == active)?;
        Some(Self { keys: keys.into(), active, mode, replay })
    }

    /// The key that is sent with; `None` while nothing keyed is sent.
    pub(crate) fn sending(&self) -> Option<&Key> {
        (self.mode != KeyMode::ReceiveOnly).then(|| &self.keys[self.active])
    }

    pub(crate) fn key(&self, number: u8) -> Option<&Key> {
        self.keys.iter().find(|key| key.number() == number)
    }
}

/// How far a group is on its way to keyed advertisements. Each step is safe beside the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMode {
    /// Sends no trailer. Accepts any advertisement, and tells of trailers that do not count.
    ReceiveOnly,
    /// Sends the trailer. Accepts any advertisement, and tells of those whose trailer does not count.
    Permissive,
    /// Sends the trailer, and discards what has none that counts.
    Enforce,
}

/// Which advertisements are too old to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Those that are not after the last of their sender, and those whose time is further from ours
    /// than this.
    Time {
        /// How far.
        window: Duration,
    },
    /// Those that are not after the last of their sender. Clocks may differ; after our restart the
    /// first one counts, whatever its age.
    Monotonic,
}

/// When gratuitous ARPs or unsolicited neighbour advertisements are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcements {
    /// In a burst, for each address; at least 1.
    pub count: u8,
    /// Between those of a burst.
    pub interval: Duration,
    /// From the start of the first burst to a second one; zero: none. IPv4 only, as the two before.
    pub second_after: Duration,
    /// Between later repetitions while Active; zero: none.
    pub refresh: Duration,
    /// In each of those repetitions, for each IPv4 address; at least 1.
    pub refresh_count: u8,
    /// In a burst after a losing advertisement was heard; 0: there is none.
    pub lower_priority_count: u8,
    /// From the start of that burst to a second one; zero: none.
    pub lower_priority_second_after: Duration,
    /// Between two announcements that leave the interface, over all its routers; zero: no distance.
    pub spacing: Duration,
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
    /// Address that advertisements leave from on the second path, while that can be used.
    pub second_source: Option<IpAddr>,
    /// Ethernet address of that interface.
    pub second_mac: MacAddress,
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
        second_source: None,
        second_mac: MacAddress::new([0; 6]),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_alike() {
        let network = |text: &str, prefix_len| Network { address: text.parse().expect("valid"), prefix_len };
        let ip = |text: &str| text.parse::<IpAddr>().expect("valid");
        for (network, inside, outside) in [
            (network("192.0.2.194", 32), "192.0.2.194", "192.0.2.195"),
            (network("192.0.2.194", 25), "192.0.2.128", "192.0.2.127"),
            (network("192.0.2.1", 0), "203.0.113.1", "::"),
            (network("fe80::1", 64), "fe80::2", "fe80:0:0:1::2"),
            (network("fe80::1", 128), "fe80::1", "fe80::"),
            (network("::", 0), "2001:db8::1", "192.0.2.1"),
        ] {
            assert!(network.contains(ip(inside)), "{network:?}");
            assert!(!network.contains(ip(outside)), "{network:?}");
        }
    }
}
