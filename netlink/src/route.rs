//! Default routes as the kernel describes them: which routers lead out of the network.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteHeader, RouteType};

use crate::address::ip;
use crate::{LinkIndex, wire};

/// A router that a default route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gateway {
    /// The link that it is on.
    pub link: LinkIndex,
    /// Its address; link-local as a rule with IPv6, and possibly IPv6 for IPv4 too (RFC 8950).
    pub ip: IpAddr,
}

impl Gateway {
    /// Reads the payload of an `RTM_NEWROUTE` message: the next hops that are routers. `None`: it is
    /// no default route, of another table than the main one, or leads to no router.
    pub(crate) fn parse(payload: &[u8]) -> Result<Option<Vec<Self>>, String> {
        let header = RouteHeader::parse(payload).map_err(|error| error.to_string())?;
        let is_default = header.destination_prefix_length == 0 && header.kind == RouteType::Unicast;
        if !is_default || !matches!(header.address_family, AddressFamily::Inet | AddressFamily::Inet6) {
            return Ok(None);
        }
        let mut table = u32::from(header.table);
        let (mut hop, mut several) = (Hop::default(), None);
        wire::attributes(&payload[HEADER_LEN..], |kind, value| match kind {
            libc::RTA_TABLE => table = wire::u32(value).unwrap_or(table),
            libc::RTA_OIF => hop.link = wire::u32(value),
            libc::RTA_MULTIPATH => several = Some(value),
            _ => hop.take(header.address_family, kind, value),
        })?;
        if table != u32::from(libc::RT_TABLE_MAIN) {
            return Ok(None);
        }
        let gateways = match several {
            Some(hops) => next_hops(header.address_family, hops)?,
            None => hop.gateway().into_iter().collect(),
        };
        Ok((!gateways.is_empty()).then_some(gateways))
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

    fn gateway(&self) -> Option<Gateway> {
        Some(Gateway { link: LinkIndex::new(self.link?), ip: self.ip? })
    }
}

/// Reads `RTA_MULTIPATH`: `struct rtnexthop` and its attributes, again and again.
fn next_hops(family: AddressFamily, mut hops: &[u8]) -> Result<Vec<Gateway>, String> {
    let mut gateways = Vec::new();
    while !hops.is_empty() {
        let length = hops.first_chunk().map_or(0, |length| usize::from(u16::from_ne_bytes(*length)));
        let (Some(link), Some(attributes)) =
            (hops.get(4..HOP_LEN).and_then(wire::u32), hops.get(HOP_LEN..length))
        else {
            return Err(format!("a next hop of {length} bytes where {} are left", hops.len()));
        };
        let mut hop = Hop { link: Some(link), ip: None };
        wire::attributes(attributes, |kind, value| hop.take(family, kind, value))?;
        gateways.extend(hop.gateway());
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(gateways)
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
        let gateways = Gateway::parse(&hex(payload)).expect("captured from a kernel").unwrap_or_default();
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

    #[test]
    fn a_next_hop_that_leads_astray_is_malformed() {
        for length in ["0000", "0700", "ff00"] {
            let payload = hex(&TWO.replace("1000000003000000", &format!("{length}000003000000")));
            assert!(Gateway::parse(&payload).is_err(), "{length}");
        }
    }

    #[test]
    fn damage_is_an_error_or_another_route_but_no_panic() {
        for payload in [ONE, TWO, LINK_LOCAL] {
            let payload = hex(payload);
            let results = damaged(&payload).map(|bytes| Gateway::parse(&bytes));
            assert!(results.filter(Result::is_err).count() >= 12, "a header cut short is an error");
        }
    }
}
