//! The `route` probe: has a routing table this very route?

use netlink::{Link, NextHop, Requester, RouteEntry};

use crate::config::Route;

/// One look.
pub(super) fn look(route: &Route) -> Result<String, String> {
    let told = Requester::open().and_then(|mut kernel| Ok((kernel.links()?, kernel.routes()?)));
    let (links, routes) = told.map_err(|error| error.to_string())?;
    judge(route, &links, &routes)
}

fn judge(wanted: &Route, links: &[Link], routes: &[RouteEntry]) -> Result<String, String> {
    let name = |hop: &NextHop| {
        links.iter().find(|link| link.index == hop.link).map_or("a link that is gone", |link| &link.name)
    };
    let words = |hop: &NextHop| match hop.router {
        Some(router) => format!("via {router} dev {}", name(hop)),
        None => format!("dev {}", name(hop)),
    };
    let right = |hop: &&NextHop| {
        wanted.via.is_none_or(|via| hop.router == Some(via))
            && wanted.interface.as_deref().is_none_or(|interface| name(hop) == interface)
    };
    let leads = |route: &&RouteEntry| match wanted.to {
        Some(to) => route.to == to,
        None => route.to.prefix_len == 0,
    };
    let destination = wanted.destination();
    let table = if wanted.table == 254 { String::new() } else { format!(" in table {}", wanted.table) };
    let hops =
        || routes.iter().filter(|route| route.table == wanted.table).filter(leads).flat_map(|r| &r.hops);
    match (hops().find(right), hops().next()) {
        (Some(hop), _) => Ok(format!("{destination} is routed {}{table}", words(hop))),
        (None, Some(other)) => {
            let by = wanted.via.map(|via| format!(" via {via}")).unwrap_or_default();
            let through = wanted.interface.as_ref().map(|name| format!(" dev {name}")).unwrap_or_default();
            Err(format!("{destination} is routed {}{table}, not{by}{through}", words(other)))
        }
        (None, None) => Err(format!("there is no route to {destination}{table}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use netlink::{Address, LinkIndex};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn network(text: &str) -> Address {
        let (text, prefix_len) = text.split_once('/').expect("a network");
        Address { ip: ip(text), prefix_len: prefix_len.parse().expect("a length") }
    }

    fn link(index: u32, name: &str) -> Link {
        Link {
            index: LinkIndex::new(index),
            name: name.to_owned(),
            mac: None,
            up: true,
            carrier: true,
            loopback: false,
            mtu: 1500,
            controller: None,
            kind: None,
            alias: None,
            lower: None,
        }
    }

    fn entry(to: &str, table: u32, hops: &[(u32, Option<&str>)]) -> RouteEntry {
        let hop = |&(link, router): &(u32, Option<&str>)| NextHop {
            link: LinkIndex::new(link),
            router: router.map(ip),
        };
        RouteEntry { to: network(to), table, hops: hops.iter().map(hop).collect() }
    }

    fn wanted(to: &str) -> Route {
        let to = (to != "default").then(|| network(to));
        Route { to, via: None, interface: None, table: 254 }
    }

    fn said(wanted: &Route) -> Result<String, String> {
        let links = [link(2, "eth0"), link(3, "eth1")];
        let routes = [
            entry("::/0", 254, &[(2, Some("fe80::1"))]),
            entry("203.0.113.0/24", 254, &[(2, Some("192.0.2.1")), (3, Some("198.51.100.1"))]),
            entry("192.0.2.0/24", 254, &[(2, None)]),
            entry("0.0.0.0/0", 99, &[(3, Some("198.51.100.1"))]),
        ];
        judge(wanted, &links, &routes)
    }

    #[test]
    fn a_route_is_there_or_not() {
        assert_eq!(said(&wanted("192.0.2.0/24")), Ok("192.0.2.0/24 is routed dev eth0".to_owned()));
        assert_eq!(said(&wanted("192.0.2.0/25")), Err("there is no route to 192.0.2.0/25".to_owned()));
        assert_eq!(said(&wanted("default")), Ok("default is routed via fe80::1 dev eth0".to_owned()));
        assert_eq!(said(&wanted("0.0.0.0/0")), Err("there is no route to 0.0.0.0/0".to_owned()));
        let other = Route { table: 99, ..wanted("0.0.0.0/0") };
        let expected = "0.0.0.0/0 is routed via 198.51.100.1 dev eth1 in table 99";
        assert_eq!(said(&other), Ok(expected.to_owned()));
    }

    #[test]
    fn each_way_of_a_route_counts_and_another_is_named() {
        let via = |via: &str| Route { via: Some(ip(via)), ..wanted("203.0.113.0/24") };
        let expected = "203.0.113.0/24 is routed via 198.51.100.1 dev eth1";
        assert_eq!(said(&via("198.51.100.1")), Ok(expected.to_owned()));
        let expected = "203.0.113.0/24 is routed via 192.0.2.1 dev eth0, not via 192.0.2.9";
        assert_eq!(said(&via("192.0.2.9")), Err(expected.to_owned()));
        let through = Route { interface: Some("eth1".to_owned()), ..via("192.0.2.1") };
        let expected = "203.0.113.0/24 is routed via 192.0.2.1 dev eth0, not via 192.0.2.1 dev eth1";
        assert_eq!(said(&through), Err(expected.to_owned()), "not both on one way");
    }
}
