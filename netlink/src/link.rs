//! Links (network interfaces) as the kernel describes them.

use std::fmt;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{LinkFlags, LinkHeader};

use crate::wire;

/// The kernel's number of a link, unique within a network namespace at any one time. A link that is
/// made again gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(u32);

impl LinkIndex {
    /// From a number as `if_nametoindex`(3) gives it.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The number; from 1 on where it comes from the kernel.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for LinkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: LinkIndex,
    /// Its name, such as `eth0`. It can change while the index stays.
    pub name: String,
    /// Its MAC address; `None` where the link has none or one of another length. The loopback link
    /// has zeros.
    pub mac: Option<[u8; 6]>,
    /// Whether the administrator has set it up (`IFF_UP`).
    pub up: bool,
    /// Whether it is up and can pass frames (`IFF_LOWER_UP`): a cable is plugged in, the other end
    /// of a veth is up. Drivers that cannot tell always say yes.
    pub carrier: bool,
    /// Whether it is the loopback link (`IFF_LOOPBACK`).
    pub loopback: bool,
    /// Largest packet in bytes, without the link layer's header; 0 where the kernel does not say.
    pub mtu: u32,
    /// The bridge, bond or VRF that it is a port of.
    pub controller: Option<LinkIndex>,
    /// What kind of virtual link it is, such as `veth`; `None` for hardware.
    pub kind: Option<String>,
}

impl Link {
    /// Reads the payload of an `RTM_NEWLINK` or `RTM_DELLINK` message.
    ///
    /// `None`: the message is about the link's part in something else, such as a bridge. A port
    /// that leaves a bridge is announced as `RTM_DELLINK` of family `AF_BRIDGE`, and lives on.
    pub(crate) fn parse(payload: &[u8]) -> Result<Option<Self>, String> {
        let header = LinkHeader::parse(payload).map_err(|error| error.to_string())?;
        if header.interface_family != AddressFamily::Unspec {
            return Ok(None);
        }
        let mut link = Self {
            index: LinkIndex(header.index),
            name: String::new(),
            mac: None,
            up: header.flags.contains(LinkFlags::Up),
            carrier: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            loopback: header.flags.contains(LinkFlags::Loopback),
            mtu: 0,
            controller: None,
            kind: None,
        };
        let mut info: &[u8] = &[];
        // The few of about sixty attributes that are of use are read one by one: cheaper, and a
        // kernel whose other attributes have another form than expected is no obstacle.
        wire::attributes(&payload[HEADER_LEN..], |kind, value| match kind {
            libc::IFLA_IFNAME => link.name = wire::text(value),
            libc::IFLA_ADDRESS => link.mac = value.try_into().ok(),
            libc::IFLA_MTU => link.mtu = wire::u32(value).unwrap_or_default(),
            libc::IFLA_MASTER => {
                link.controller = wire::u32(value).filter(|index| *index != 0).map(LinkIndex);
            }
            libc::IFLA_LINKINFO => info = value,
            _ => (),
        })?;
        wire::attributes(info, |kind, value| {
            if kind == libc::IFLA_INFO_KIND {
                link.kind = Some(wire::text(value));
            }
        })?;
        if link.name.is_empty() {
            return Err(format!("link {} has no name", link.index));
        }
        Ok(Some(link))
    }
}

/// `struct ifinfomsg`
const HEADER_LEN: usize = 16;
