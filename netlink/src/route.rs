//! Routes as the kernel describes them, and the routers that lead out of the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::address::ip;
use crate::{Address, LinkIndex, wire};

/// A router that a default route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gateway {
    /// The link that it is on.
    pub link: LinkIndex,
    /// Its address; link-local as a rule with IPv6, and possibly IPv6 for IPv4 too (RFC 8950).
    pub ip: IpAddr,
}

/// A route to a network, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// The network that it leads to; a prefix length of 0 is everything.
    pub to: Address,
    /// Routing table.
    pub table: u32,
    /// The ways that it takes; one as a rule.
    pub hops: Vec<NextHop>,
}

/// One way of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The link on the way.
    pub link: LinkIndex,
    /// The router on the way; `None`: the network is on the link.
    pub router: Option<IpAddr>,
}

/// Which way a packet of this host takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To another one.
    Out(NextHop),
    /// It is for this host.
    Here,
    /// There is no route, or not to one station.
    Nowhere,
}

impl RouteEntry {
    /// Reads the payload of an `RTM_NEWROUTE` message. `None`: it leads nowhere, is another family's, or
    /// only what the kernel remembers of one address.
    pub(crate) fn parse(payload: &[u8]) -> Result<Option<Self>, String> {
        let header = RouteHeader::parse(payload).map_err(|error| error.to_string())?;
        let family = header.address_family;
        let any: IpAddr = match family {
            AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
            AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return Ok(None),
        };
        if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
            return Ok(None);
        }
        let mut to = Address { ip: any, prefix_len: header.destination_prefix_length };
        let mut table = u32::from(header.table);
        let (mut hop, mut several) = (Hop::default(), None);
        wire::attributes(&payload[HEADER_LEN..], |kind, value| match kind {
            libc::RTA_DST => to.ip = ip(family, value).unwrap_or(to.ip),
            libc::RTA_TABLE => table = wire::u32(value).unwrap_or(table),
            libc::RTA_OIF => hop.link = wire::u32(value),
            libc::RTA_MULTIPATH => several = Some(value),
            _ => hop.take(family, kind, value),
        })?;
        let hops = match several {
            Some(hops) => next_hops(family, hops)?,
            None => hop.next_hop().into_iter().collect(),
        };
        Ok((!hops.is_empty()).then_some(Self { to, table, hops }))
    }

    /// The routers that it leads to, if it is a default route of the main table.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = Gateway> + '_ {
        let leads_out = self.to.prefix_len == 0 && self.table == u32::from(libc::RT_TABLE_MAIN);
        let gateway = |hop: &NextHop| Some(Gateway { link: hop.link, ip: hop.router? });
        self.hops.iter().filter_map(gateway).filter(move |_| leads_out)
    }
}

/// What is known of a next hop so far.
#[derive(Default)]
struct Hop {
    link: Option<u32>,
    ip: Option<IpAddr>,
}

impl Hop {
    fn take(&mut self, family: AddressFamily, kind: u16, value: &[u8]) {
        match kind {
            libc::RTA_GATEWAY => self.ip = ip(family, value),
            // `struct rtvia`: a family, and an address of it.
            libc::RTA_VIA => {
                self.ip = value.split_first_chunk().and_then(|(family, address)| {
                    let family = u16::from_ne_bytes(*family);
                    ip(AddressFamily::from(u8::try_from(family).ok()?), address)
                });
            }
            _ => (),
        }
    }

    fn next_hop(&self) -> Option<NextHop> {
        Some(NextHop { link: LinkIndex::new(self.link?), router: self.ip })
    }
}

/// Asks which way a packet to `destination` takes.
pub(crate) fn question(destination: IpAddr) -> NetlinkMessage<RouteNetlinkMessage> {
    let mut message = RouteMessage::default();
    let (family, bits, to) = match destination {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    message.attributes.push(RouteAttribute::Destination(to));
    RouteNetlinkMessage::GetRoute(message).into()
}

/// Reads the answer, the payload of an `RTM_NEWROUTE` message.
pub(crate) fn answer(payload: &[u8]) -> Result<Way, String> {
    let header = RouteHeader::parse(payload).map_err(|error| error.to_string())?;
    let mut hop = Hop::default();
    wire::attributes(&payload[HEADER_LEN..], |kind, value| match kind {
        libc::RTA_OIF => hop.link = wire::u32(value),
        _ => hop.take(header.address_family, kind, value),
    })?;
    Ok(match (header.kind, hop.next_hop()) {
        (RouteType::Unicast, Some(hop)) => Way::Out(hop),
        (RouteType::Local, _) => Way::Here,
        _ => Way::Nowhere,
    })
}

/// Reads `RTA_MULTIPATH`: `struct rtnexthop` and its attributes, again and again.
fn next_hops(family: AddressFamily, mut hops: &[u8]) -> Result<Vec<NextHop>, String> {
    let mut found = Vec::new();
    while !hops.is_empty() {
        let length = hops.first_chunk().map_or(0, |length| usize::from(u16::from_ne_bytes(*length)));
        let (Some(link), Some(attributes)) =
            (hops.get(4..HOP_LEN).and_then(wire::u32), hops.get(HOP_LEN..length))
        else {
            return Err(format!("a next hop of {length} bytes where {} are left", hops.len()));
        };
        let mut hop = Hop { link: Some(link), ip: None };
        wire::attributes(attributes, |kind, value| hop.take(family, kind, value))?;
        found.extend(hop.next_hop());
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// `struct rtmsg`
const HEADER_LEN: usize = 12;
/// `struct rtnexthop`
const HOP_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{damaged, hex};

    /// `ip route add default via 192.0.2.1`
    const ONE: &str = "
        02000000 fe030001 00000000 08000f00fe000000 08000500c0000201 0800040003000000";
    /// `ip route add default metric 5 nexthop via 192.0.2.7 nexthop via inet6 fe80::7 dev vea`
    const TWO: &str = "
        02000000 fe030001 00000000 08000f00fe000000 0800060005000000
        34000900 1000000003000000 08000500c0000207
        2000000003000000 160012000a00fe8000000000000000000000000000070000";
    /// `ip -6 route add default via fe80::1 dev vea`
    const LINK_LOCAL: &str = "
        0a000000 fe030001 00000000 08000f00fe000000 0800060000040000
        14000500fe800000000000000000000000000001 0800040003000000
        24000c00 0000000000000000000000000000000000000000000000000000000000000000 0500140000000000";

    fn gateways(payload: &str) -> Vec<(u32, String)> {
        let route = RouteEntry::parse(&hex(payload)).expect("captured from a kernel");
        let gateways: Vec<Gateway> = route.iter().flat_map(RouteEntry::gateways).collect();
        gateways.iter().map(|gateway| (gateway.link.get(), gateway.ip.to_string())).collect()
    }

    #[test]
    fn reads_the_router_of_a_default_route() {
        assert_eq!(gateways(ONE), [(3, "192.0.2.1".to_owned())]);
        assert_eq!(gateways(LINK_LOCAL), [(3, "fe80::1".to_owned())]);
    }

    #[test]
    fn reads_all_routers_of_a_route_with_several() {
        assert_eq!(gateways(TWO), [(3, "192.0.2.7".to_owned()), (3, "fe80::7".to_owned())]);
    }

    #[test]
    fn reads_a_route_to_a_network_of_another_table() {
        // `ip route add 192.0.2.0/24 dev vea table 99`, and through a router.
        let direct = "02180000 63030001 00000000 08000f0063000000 08000100c0000200 0800040003000000";
        let read = |payload: &str| RouteEntry::parse(&hex(payload)).expect("captured from a kernel");
        let to = Address { ip: [192, 0, 2, 0].into(), prefix_len: 24 };
        let hop = |router| vec![NextHop { link: LinkIndex::new(3), router }];
        assert_eq!(read(direct), Some(RouteEntry { to, table: 99, hops: hop(None) }));
        let via = format!("{direct} 08000500c6336401");
        let router = Some([198, 51, 100, 1].into());
        assert_eq!(read(&via), Some(RouteEntry { to, table: 99, hops: hop(router) }));
        assert_eq!(read(&direct.replace("63030001 00000000", "63030001 00020000")), None, "remembered");
        assert_eq!(read(&direct.replace("63030001", "63030007")), None, "unreachable");
    }

    #[test]
    fn other_tables_destinations_and_kinds_are_passed_over() {
        assert_eq!(
            gateways(&ONE.replace("fe030001 00000000 08000f00fe", "63030001 00000000 08000f0063")),
            []
        );
        assert_eq!(gateways(&ONE.replace("02000000 fe", "02180000 fe")), [], "192.0.2.0/24");
        assert_eq!(gateways(&ONE.replace("fe030001", "fe030006")), [], "blackhole");
        assert_eq!(gateways(&ONE.replace("08000500c0000201", "")), [], "no router, only a link");
        assert_eq!(gateways(&ONE.replace("02000000 fe", "1c000000 fe")), [], "MPLS");
    }

    /// `ip route get 203.0.113.9`, by way of 192.0.2.1
    const ANSWER: &str = "
        02200000 fe000001 00020000 08000f00fe000000 08000100cb007109 0800040003000000
        08000700c00002c1 08000500c0000201";

    #[test]
    fn reads_which_way_a_packet_takes() {
        let read = |payload: &str| answer(&hex(payload)).expect("captured from a kernel");
        let hop = |router| Way::Out(NextHop { link: LinkIndex::new(3), router });
        assert_eq!(read(ANSWER), hop(Some([192, 0, 2, 1].into())));
        assert_eq!(read(&ANSWER.replace("08000500c0000201", "")), hop(None));
        assert_eq!(read(&ANSWER.replace("fe000001", "ff000002")), Way::Here);
        assert_eq!(read(&ANSWER.replace("fe000001", "ff000003")), Way::Nowhere, "a broadcast");
        assert!(damaged(&hex(ANSWER)).filter(|bytes| answer(bytes).is_err()).count() >= 12);
    }

    #[test]
    fn a_next_hop_that_leads_astray_is_malformed() {
        for length in ["0000", "0700", "ff00"] {
            let payload = hex(&TWO.replace("1000000003000000", &format!("{length}000003000000")));
            assert!(RouteEntry::parse(&payload).is_err(), "{length}");
        }
    }

    #[test]
    fn damage_is_an_error_or_another_route_but_no_panic() {
        for payload in [ONE, TWO, LINK_LOCAL] {
            let payload = hex(payload);
            let results = damaged(&payload).map(|bytes| RouteEntry::parse(&bytes));
            assert!(results.filter(Result::is_err).count() >= 12, "a header cut short is an error");
        }
    }
}
