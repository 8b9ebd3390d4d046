//! What passes on the wire, as far as the stories ask: advertisements, ARP, neighbour discovery,
//! group membership.
//!
//! Read here octet by octet rather than by the daemon's own parser, so that one misreading cannot
//! hide another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Mac {
    /// Whether it is a Virtual Router MAC Address.
    pub fn is_virtual(self) -> bool {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d]) == VIRTUAL_MAC_PREFIX
    }
}

/// One captured frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When the kernel saw it, ns of `CLOCK_REALTIME`.
    pub time_ns: i64,
    /// Interface it was seen on; on the switch that is the name of the sender.
    pub interface: String,
    /// Ethernet source.
    pub source: Mac,
    /// What it says.
    pub kind: Kind,
    /// All of it, from the Ethernet destination on.
    pub octets: Vec<u8>,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A VRRP advertisement.
    Advert(Advert),
    /// An ARP packet whose sender announces its own address, in either form.
    GratuitousArp {
        /// The address announced.
        ip: IpAddr,
        /// The sender hardware address.
        mac: Mac,
        /// True for operation 2.
        reply: bool,
    },
    /// Any other ARP packet.
    Arp {
        /// Sender protocol address.
        sender: IpAddr,
        /// Target protocol address.
        target: IpAddr,
        /// True for operation 2.
        reply: bool,
    },
    /// A neighbour advertisement.
    NeighbourAdvertisement {
        /// The target address.
        target: IpAddr,
        /// Override flag.
        overrides: bool,
        /// Solicited flag.
        solicited: bool,
        /// Target link-layer address option.
        mac: Option<Mac>,
    },
    /// A neighbour solicitation.
    NeighbourSolicitation {
        /// The target address.
        target: IpAddr,
    },
    /// Somebody asks who is a member of which group, in any version of IGMP or MLD.
    MembershipQuery,
    /// The sender reports its groups, in IGMPv3 or MLDv2.
    MembershipReport {
        /// Those that it wants from any source (MODE_IS_EXCLUDE).
        groups: Vec<IpAddr>,
    },
    /// Anything else from a virtual MAC address.
    Other,
}

/// The fields of a VRRP advertisement of version 2 or 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// 2 or 3.
    pub version: u8,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// Priority; 0 means that the sender leaves.
    pub priority: u8,
    /// Advertisement interval in centiseconds.
    pub interval_cs: u16,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// TTL or Hop Limit.
    pub ttl: u8,
    /// The addresses it lists.
    pub addresses: Vec<IpAddr>,
}

impl Frame {
    /// Ethernet destination.
    pub fn destination(&self) -> Mac {
        Mac(std::array::from_fn(|at| self.octets[at]))
    }

    /// The advertisement in it, if it is one.
    pub fn advert(&self) -> Option<&Advert> {
        match &self.kind {
            Kind::Advert(advert) => Some(advert),
            _ => None,
        }
    }

    /// Whether it is an advertisement of priority 0: its sender leaves.
    pub fn resigns(&self) -> bool {
        self.advert().is_some_and(|advert| advert.priority == 0)
    }

    /// Whether it tells everybody that `address` is now at its sender.
    pub fn announces(&self, address: IpAddr) -> bool {
        match self.kind {
            Kind::GratuitousArp { ip, .. } => ip == address,
            Kind::NeighbourAdvertisement { target, solicited, .. } => target == address && !solicited,
            _ => false,
        }
    }
}

/// Reads an Ethernet frame; `None` when it is something else, or cut short.
pub(crate) fn parse(frame: &[u8]) -> Option<(Mac, Kind)> {
    let source = Mac(array(frame, 6)?);
    let body = frame.get(14..)?;
    let kind = match u16::from_be_bytes(array(frame, 12)?) {
        0x0806 => arp(body),
        0x0800 => ipv4(body),
        0x86dd => ipv6(body),
        _ => None,
    };
    let other = || source.is_virtual().then_some(Kind::Other);
    Some((source, kind.or_else(other)?))
}

/// How a Virtual Router MAC Address begins (RFC 9568 7.3).
pub(crate) const VIRTUAL_MAC_PREFIX: u32 = 0x0000_5e00;

fn arp(packet: &[u8]) -> Option<Kind> {
    let reply = u16::from_be_bytes(array(packet, 6)?) == 2;
    let mac = Mac(array(packet, 8)?);
    let sender = IpAddr::from(array::<4>(packet, 14)?);
    let target = IpAddr::from(array::<4>(packet, 24)?);
    Some(if sender == target {
        Kind::GratuitousArp { ip: sender, mac, reply }
    } else {
        Kind::Arp { sender, target, reply }
    })
}

fn ipv4(packet: &[u8]) -> Option<Kind> {
    const IGMP: u8 = 2;
    const VRRP: u8 = 112;
    let header = usize::from(packet.first()? & 15) * 4;
    let length = usize::from(u16::from_be_bytes(array(packet, 2)?));
    let source = IpAddr::from(array::<4>(packet, 12)?);
    let destination = IpAddr::from(array::<4>(packet, 16)?);
    // The IP length counts: a short frame is padded to 60 octets.
    let payload = packet.get(header..length)?;
    match *packet.get(9)? {
        VRRP => vrrp(payload, source, destination, *packet.get(8)?),
        IGMP => membership::<4>(payload, 0x11, 0x22),
        _ => None,
    }
}

fn ipv6(packet: &[u8]) -> Option<Kind> {
    const HOP_BY_HOP: u8 = 0;
    const VRRP: u8 = 112;
    const ICMPV6: u8 = 58;
    let source = IpAddr::from(array::<16>(packet, 8)?);
    let destination = IpAddr::from(array::<16>(packet, 24)?);
    let payload = packet.get(40..)?;
    match *packet.get(6)? {
        VRRP => vrrp(payload, source, destination, *packet.get(7)?),
        ICMPV6 => neighbour_discovery(payload),
        // Router Alert is eight octets long.
        HOP_BY_HOP if *payload.first()? == ICMPV6 => membership::<16>(payload.get(8..)?, 130, 143),
        _ => None,
    }
}

fn vrrp(message: &[u8], source: IpAddr, destination: IpAddr, ttl: u8) -> Option<Kind> {
    let version = message.first()? >> 4;
    let interval_cs = match version {
        2 => u16::from(*message.get(5)?) * 100,
        _ => u16::from_be_bytes(array(message, 4)?) & 0x0fff,
    };
    let count = usize::from(*message.get(3)?);
    let addresses = match source {
        IpAddr::V4(_) => (0..count).map_while(|n| array::<4>(message, 8 + n * 4)).map(Into::into).collect(),
        IpAddr::V6(_) => (0..count).map_while(|n| array::<16>(message, 8 + n * 16)).map(Into::into).collect(),
    };
    Some(Kind::Advert(Advert {
        version,
        vrid: *message.get(1)?,
        priority: *message.get(2)?,
        interval_cs,
        source,
        destination,
        ttl,
        addresses,
    }))
}

/// IGMP or MLD, with the types of a query and of a report of the latest version.
fn membership<const N: usize>(message: &[u8], query: u8, report: u8) -> Option<Kind>
where
    IpAddr: From<[u8; N]>,
{
    const MODE_IS_EXCLUDE: u8 = 2;
    let kind = *message.first()?;
    if kind == query {
        return Some(Kind::MembershipQuery);
    }
    let count = usize::from(u16::from_be_bytes(array(message, 6)?));
    // None here names sources, so that all records are of one length.
    let records = message.get(8..)?.chunks_exact(4 + N).take(count);
    let wanted = records.filter(|record| record.first() == Some(&MODE_IS_EXCLUDE));
    let groups = wanted.filter_map(|record| array::<N>(record, 4)).map(IpAddr::from).collect();
    (kind == report).then_some(Kind::MembershipReport { groups })
}

fn neighbour_discovery(message: &[u8]) -> Option<Kind> {
    const SOLICITATION: u8 = 135;
    const ADVERTISEMENT: u8 = 136;
    const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
    let target = || Some(IpAddr::from(array::<16>(message, 8)?));
    Some(match *message.first()? {
        SOLICITATION => Kind::NeighbourSolicitation { target: target()? },
        ADVERTISEMENT => Kind::NeighbourAdvertisement {
            target: target()?,
            overrides: message.get(4)? & 0x20 != 0,
            solicited: message.get(4)? & 0x40 != 0,
            mac: (array(message, 24) == Some(TARGET_LINK_LAYER_ADDRESS))
                .then(|| array(message, 26).map(Mac))
                .flatten(),
        },
        _ => return None,
    })
}

fn array<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Whether `address` is one of the groups that VRRP advertises to.
pub fn is_vrrp_group(address: IpAddr) -> bool {
    address == Ipv4Addr::new(224, 0, 0, 18) || address == Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)
}
