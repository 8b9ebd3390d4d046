//! Routes and rules of ours.

use std::net::IpAddr;
use std::process::Command;

use netlink::{
    Address, AddressOptions, Change, Denial, LeftOver, LinkIndex, Request, Requester, Route, RouteWatch,
    Rule, Scope,
};

use crate::namespace::{host, in_network_namespace, make, perform, with_veth};

const MAIN: u32 = 254;

fn network(ip: &str, prefix_len: u8) -> Address {
    Address { prefix_len, ..host(ip) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn route(to: Address) -> Route {
    Route {
        to,
        denial: None,
        via: None,
        link: None,
        source: None,
        metric: 77,
        table: MAIN,
        scope: None,
        mtu: None,
        onlink: false,
    }
}

fn rule(ipv6: bool, priority: u32) -> Rule {
    let (from, to, iif, oif, fwmark) = (None, None, None, None, None);
    Rule { ipv6, priority, from, to, iif, oif, fwmark, action: Ok(4711) }
}

/// One of each kind; the link has 192.0.2.10/24 and 2001:db8::10/64.
fn ways(link: LinkIndex) -> Vec<(Request, Request)> {
    let routes = [
        Route { link: Some(link), source: Some(ip("192.0.2.10")), ..route(network("198.51.100.0", 24)) },
        Route { via: Some(ip("192.0.2.1")), mtu: Some(1400), ..route(network("0.0.0.0", 0)) },
        Route {
            via: Some(ip("203.0.113.1")),
            link: Some(link),
            onlink: true,
            table: 4711,
            scope: Some(Scope::Site),
            ..route(network("203.0.113.128", 25))
        },
        Route { denial: Some(Denial::Blackhole), ..route(network("198.51.100.128", 25)) },
        Route { via: Some(ip("2001:db8::1")), ..route(network("2001:db8:1::", 48)) },
        Route { denial: Some(Denial::Unreachable), ..route(network("2001:db8:2::", 48)) },
    ];
    let rules = [
        Rule { from: Some(network("192.0.2.201", 32)), fwmark: Some((0x10, 0xff)), ..rule(false, 100) },
        Rule { to: Some(network("198.51.100.0", 24)), iif: Some("a".into()), ..rule(false, 101) },
        Rule { oif: Some("a".into()), action: Err(Denial::Prohibit), ..rule(false, 102) },
        Rule { from: Some(network("2001:db8::", 32)), ..rule(true, 100) },
    ];
    let routes = routes.map(|route| (Request::AddRoute(route.clone()), Request::RemoveRoute(route)));
    let rules = rules.map(|rule| (Request::AddRule(rule.clone()), Request::RemoveRule(rule)));
    routes.into_iter().chain(rules).collect()
}

fn with_addresses() -> (Requester, LinkIndex) {
    let (mut requester, link) = with_veth();
    for address in [network("192.0.2.10", 24), network("2001:db8::10", 64)] {
        let options = AddressOptions::default();
        make(&mut requester, &[Request::AddAddress { link, address, lifetime: None, options }]);
    }
    (requester, link)
}

/// Somebody else does it.
fn iproute(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {words}");
}

#[test]
fn routes_and_rules_are_added_found_by_their_mark_and_removed() {
    in_network_namespace("own_routes::routes_and_rules_are_added_found_by_their_mark_and_removed", || {
        let (mut requester, link) = with_addresses();
        let mut do_it = |request: &Request| perform(&mut requester, request.clone());
        for (number, (add, remove)) in ways(link).iter().enumerate() {
            assert_eq!(do_it(add).expect("is allowed"), Change::Made, "{number}: {add}");
            assert_eq!(do_it(add).expect("is there"), Change::Unchanged, "{add}");
            assert_eq!(do_it(remove).expect("is ours"), Change::Made, "{remove}");
            assert_eq!(do_it(remove).expect("is gone"), Change::Unchanged, "{remove}");
            assert_eq!(do_it(add).expect("is allowed"), Change::Made, "again: {add}");
        }
        let left_over = requester.left_over().expect("can be listed");
        assert_eq!(left_over.len(), ways(link).len(), "nothing of the kernel's: {left_over:#?}");
        let removals: Vec<Request> = left_over.into_iter().map(Request::RemoveLeftOver).collect();
        make(&mut requester, &removals);
        assert_eq!(requester.left_over().expect("can be listed"), [] as [LeftOver; 0]);
    });
}

#[test]
fn a_strangers_route_is_not_replaced_and_not_removed() {
    in_network_namespace("own_routes::a_strangers_route_is_not_replaced_and_not_removed", || {
        let (mut requester, link) = with_addresses();
        iproute("route add 198.51.100.0/24 dev a metric 77");
        iproute("rule add priority 100 from 192.0.2.201 lookup 4711");
        let route = Route { link: Some(link), ..route(network("198.51.100.0", 24)) };
        let add = Request::AddRoute(route.clone());
        assert_eq!(perform(&mut requester, add.clone()).expect("is there"), Change::Unchanged);
        let remove = perform(&mut requester, Request::RemoveRoute(route));
        assert_eq!(remove.expect("is not ours"), Change::Unchanged);
        assert_eq!(perform(&mut requester, add).expect("is still there"), Change::Unchanged);
        assert_eq!(requester.left_over().expect("can be listed"), [] as [LeftOver; 0]);
        let rule = Rule { from: Some(network("192.0.2.201", 32)), ..rule(false, 100) };
        let remove = perform(&mut requester, Request::RemoveRule(rule));
        assert_eq!(remove.expect("is not ours"), Change::Unchanged);
    });
}

#[test]
fn the_watch_tells_when_somebody_else_takes_what_is_ours() {
    in_network_namespace("own_routes::the_watch_tells_when_somebody_else_takes_what_is_ours", || {
        let (mut requester, link) = with_addresses();
        let mut watch = RouteWatch::open(requester.port()).expect("anybody may watch");
        let [(add_route, remove_route), .., (add_rule, remove_rule)] = &ways(link)[..] else {
            panic!("there are some")
        };
        make(&mut requester, &[add_route.clone(), add_rule.clone()]);
        make(&mut requester, &[remove_route.clone(), remove_rule.clone()]);
        iproute("route add 203.0.113.0/24 dev a");
        iproute("route del 203.0.113.0/24 dev a");
        assert!(!watch.any_gone(), "our own deeds, and a stranger's route");
        make(&mut requester, &[add_route.clone(), add_rule.clone()]);
        iproute("route del 198.51.100.0/24 dev a");
        assert!(watch.any_gone());
        assert!(!watch.any_gone(), "told once");
        iproute("-6 rule del priority 100");
        assert!(watch.any_gone());
    });
}

#[test]
fn a_route_that_leads_nowhere_yet_is_refused_with_the_kernels_words() {
    in_network_namespace(
        "own_routes::a_route_that_leads_nowhere_yet_is_refused_with_the_kernels_words",
        || {
            let (mut requester, _) = with_veth();
            let request =
                Request::AddRoute(Route { via: Some(ip("192.0.2.1")), ..route(network("0.0.0.0", 0)) });
            let error = perform(&mut requester, request).expect_err("there is no way to the router");
            assert!(error.errno().is_some(), "{error}");
            assert!(error.to_string().contains("add the route 0.0.0.0/0 via 192.0.2.1"), "{error}");
        },
    );
}
