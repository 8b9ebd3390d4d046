//! Which routers lead out of the network.

use std::process::Command;

use netlink::{Gateway, LinkIndex, NextHop, Request, RouteEntry};

use crate::namespace::{host, in_network_namespace, make, with_veth};

/// `ip route` with these words, in the namespace of this thread.
fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

fn gateway(link: LinkIndex, ip: &str) -> Gateway {
    Gateway { link, ip: ip.parse().expect("an IP address") }
}

#[test]
fn the_routers_of_default_routes_are_listed_once_each() {
    in_network_namespace("routes::the_routers_of_default_routes_are_listed_once_each", || {
        let (mut requester, link) = with_veth();
        assert_eq!(requester.gateways().expect("anybody may list"), []);

        let address = netlink::Address { prefix_len: 24, ..host("192.0.2.2") };
        make(&mut requester, &[Request::AddPlainAddress { link, address }]);
        ip("route add default via 192.0.2.1 metric 1");
        ip("route add default via 192.0.2.1 metric 2");
        ip("route add default metric 3 nexthop via 192.0.2.7 nexthop via 192.0.2.8");
        ip("-6 route add default via fe80::1 dev a");
        for other in
            ["198.51.100.0/24 via 192.0.2.9", "default via 192.0.2.9 table 99", "blackhole default metric 9"]
        {
            ip(&format!("route add {other}"));
        }
        let expected = ["192.0.2.1", "192.0.2.7", "192.0.2.8", "fe80::1"].map(|ip| gateway(link, ip));
        assert_eq!(requester.gateways().expect("anybody may list"), expected);

        let routes = requester.routes().expect("anybody may list");
        let to = |to: &str, prefix_len| netlink::Address { prefix_len, ..host(to) };
        let hop = |router: Option<&str>| {
            vec![NextHop { link, router: router.map(|ip| ip.parse().expect("valid")) }]
        };
        for (to, table, hops) in [
            (to("198.51.100.0", 24), 254, hop(Some("192.0.2.9"))),
            (to("0.0.0.0", 0), 99, hop(Some("192.0.2.9"))),
            (to("192.0.2.0", 24), 254, hop(None)),
        ] {
            assert!(routes.contains(&RouteEntry { to, table, hops }), "{to} in {routes:?}");
        }

        make(&mut requester, &[Request::SetDown { link }]);
        assert_eq!(requester.gateways().expect("anybody may list"), [], "the routes went with the link");
    });
}
