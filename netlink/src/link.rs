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
    /// The link that it sits on, in this network namespace: of a macvlan the interface below, of a
    /// veth the other end.
    pub lower: Option<LinkIndex>,
    /// What somebody noted with it (`ip link set dev NAME alias TEXT`).
    pub alias: Option<String>,
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
            lower: None,
            alias: None,
        };
        let mut elsewhere = false;
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
            libc::IFLA_LINK => {
                link.lower = wire::u32(value).filter(|index| *index != 0).map(LinkIndex);
            }
            libc::IFLA_LINK_NETNSID => elsewhere = true,
            libc::IFLA_IFALIAS => link.alias = Some(wire::text(value)),
            _ => (),
        })?;
        if elsewhere {
            // Numbers of another namespace mean something else here.
            link.lower = None;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{damaged, hex, only};

    /// `ip link set lo up`, attributes of no use here left out.
    const LOOPBACK: &str = "
        5800000010000000000000000000000000000403010000004900010001000000070003006c6f00000500100000000000
        080004000000010005002100010000000a00010000000000000000000c0006006e6f717565756500";
    /// A veth that is a port of link 2, down; shortened as well.
    const PORT: &str = "
        840000001000000000000000000000000000010004000000021000000001000007000300766100000500100002000000
        08000400dc05000008000a000200000005002100000000000a00010046329d68e00000001c0012000900010076657468
        000000000b00040062726964676500000800050003000000090006006e6f6f7000000000";
    /// The whole of what Linux 6.18 sends when that port leaves its bridge: the link lives on.
    const LEFT_BRIDGE: &str = "
        5400000011000000000000000000000007000100040000000210000000000000070003007661000008000a0002000000
        08000400dc05000005001000020000000a00010046329d68e00000000800050003000000";
    fn parsed(datagram: &str) -> Option<Link> {
        let datagram = hex(datagram);
        Link::parse(only(&datagram).payload).expect("captured from a kernel")
    }

    #[test]
    fn reads_the_loopback_link() {
        let expected = Link {
            index: LinkIndex(1),
            name: "lo".into(),
            mac: Some([0; 6]),
            up: true,
            carrier: true,
            loopback: true,
            mtu: 65536,
            controller: None,
            kind: None,
            lower: None,
            alias: None,
        };
        assert_eq!(parsed(LOOPBACK), Some(expected));
    }

    #[test]
    fn reads_a_port_of_a_bridge() {
        let expected = Link {
            index: LinkIndex(4),
            name: "va".into(),
            mac: Some([0x46, 0x32, 0x9d, 0x68, 0xe0, 0x00]),
            up: false,
            carrier: false,
            loopback: false,
            mtu: 1500,
            controller: Some(LinkIndex(2)),
            kind: Some("veth".into()),
            lower: Some(LinkIndex(3)),
            alias: None,
        };
        assert_eq!(parsed(PORT), Some(expected));
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        assert_eq!(parsed(LEFT_BRIDGE), None);
    }

    #[test]
    fn carrier_without_up_does_not_count() {
        let mut datagram = hex(LOOPBACK);
        // IFF_UP is the lowest bit of the flags, behind two headers' worth of fields.
        datagram[16 + 8] &= !1;
        let link = Link::parse(only(&datagram).payload).expect("sound").expect("a link");
        assert!(!link.up && !link.carrier);
    }

    #[test]
    fn a_mac_of_another_length_is_none() {
        let mut payload = hex(PORT)[16..32].to_vec();
        payload.extend(hex("0600 0300 7800 0000  0800 0100 c0000201"));
        let link = Link::parse(&payload).expect("sound").expect("a link");
        assert_eq!((link.name.as_str(), link.mac), ("x", None));
    }

    #[test]
    fn a_lower_link_of_another_namespace_is_none_and_an_alias_is_read() {
        let mut payload = hex(PORT)[16..].to_vec();
        payload.extend(hex("0a001400 612062005d000000"));
        let link = Link::parse(&payload).expect("sound").expect("a link");
        assert_eq!((link.lower, link.alias.as_deref()), (Some(LinkIndex(3)), Some("a b")));
        payload.extend(hex("08002500 00000000"));
        assert_eq!(Link::parse(&payload).expect("sound").expect("a link").lower, None);
    }

    #[test]
    fn a_link_without_a_name_is_malformed() {
        let payload = &hex(LOOPBACK)[16..32];
        assert_eq!(Link::parse(payload), Err("link 1 has no name".into()));
    }

    #[test]
    fn damage_is_an_error_or_another_link_but_no_panic() {
        for datagram in [LOOPBACK, PORT, LEFT_BRIDGE] {
            let payload = &hex(datagram)[16..];
            let results = damaged(payload).map(|bytes| Link::parse(&bytes));
            assert!(results.filter(Result::is_err).count() >= 16, "a header cut short is an error");
        }
    }
}
