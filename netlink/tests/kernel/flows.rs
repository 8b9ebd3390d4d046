//! Connections that are only translated, and the way to their clients.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use netlink::{Flow, Flows, NextHop, Request, Requester, Way};

use crate::namespace::{host, in_network_namespace, make, named};

/// Where nobody listens, and what is sent there goes elsewhere.
const MAPPED: [&str; 2] = ["192.0.2.10", "2001:db8::10"];
const OWN: [&str; 2] = ["192.0.2.11", "2001:db8::11"];
/// More than it takes.
const LONG: Duration = Duration::from_secs(60);

/// Loads rules of nft's; false where there is no nft.
fn load(rules: &str) -> bool {
    let Ok(mut nft) = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "nftables is not installed");
        eprintln!("SKIPPED: nftables is not installed");
        return false;
    };
    nft.stdin.take().expect("it is piped").write_all(rules.as_bytes()).expect("nft reads");
    assert!(nft.wait().expect("it was started").success(), "{rules}");
    true
}

/// The first octets that a client sends to `address`, port 80, come to `listener`.
fn connect(address: IpAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect((address, 80)).expect("translated");
    let (server, _) = listener.accept().expect("a connection waits");
    (client, server)
}

fn ends(flows: &[Flow]) -> Vec<(SocketAddr, SocketAddr)> {
    flows.iter().map(|flow| (flow.client, flow.server)).collect()
}

#[test]
fn translated_connections_are_found_by_what_their_clients_opened_and_removed() {
    in_network_namespace(
        "flows::translated_connections_are_found_by_what_their_clients_opened_and_removed",
        || {
            let mut requester = Requester::open().expect("sockets can be had");
            let link = named(&mut requester, "lo").index;
            make(&mut requester, &[Request::SetUp { link }]);
            for address in [MAPPED, OWN].concat().into_iter().map(host) {
                let plain =
                    Request::AddAddress { link, address, lifetime: None, options: Default::default() };
                make(&mut requester, &[plain]);
            }
            let listener = TcpListener::bind("[::]:8080").expect("free");
            let [v4, v6] = OWN;
            if !load(&format!(
                "table inet t {{ chain o {{ type nat hook output priority -100;\n\
                 tcp dport 80 meta nfproto ipv4 dnat ip to {v4}:8080\n\
                 tcp dport 80 meta nfproto ipv6 dnat ip6 to [{v6}]:8080\n}}\n}}\n"
            )) {
                return;
            }
            for (mapped, own) in MAPPED.into_iter().zip(OWN) {
                let [mapped, own]: [IpAddr; 2] = [mapped, own].map(|text| text.parse().expect("an address"));
                let list = |most| {
                    let mut flows = Flows::open().expect("sockets can be had");
                    flows.list(&BTreeSet::from([mapped]), most, LONG).expect("allowed")
                };
                assert_eq!(list(10).flows, [], "nobody has connected");
                // Another address's, and one that its client has ended.
                let _others = connect(own, &listener);
                let (over, ended) = connect(mapped, &listener);
                drop((over, ended));
                let held = [(); 2].map(|()| connect(mapped, &listener));
                let clients = held.each_ref().map(|(client, _)| client.local_addr().expect("connected"));
                let mut found = list(10);
                assert!(!found.incomplete);
                found.flows.sort_by_key(|flow| flow.client);
                let mut expected = clients.map(|client| (client, SocketAddr::new(mapped, 80)));
                expected.sort();
                assert_eq!(ends(&found.flows), expected);
                let some = list(1);
                assert_eq!((some.flows.len(), some.incomplete), (1, true), "one at most");

                let mut flows = Flows::open().expect("sockets can be had");
                flows.remove(&found.flows[..1]).expect("allowed");
                assert_eq!(ends(&list(10).flows), expected[1..]);
                flows.remove(&found.flows).expect("that one is gone already is no fault");
                assert_eq!(list(10).flows, []);
            }
            let held = MAPPED.map(|mapped| connect(mapped.parse().expect("an address"), &listener));
            let all = MAPPED.iter().map(|text| text.parse().expect("an address")).collect();
            let mut flows = Flows::open().expect("sockets can be had");
            let found = flows.list(&all, 10, LONG).expect("allowed").flows;
            let clients = held.each_ref().map(|(client, _)| client.local_addr().expect("connected"));
            assert_eq!(found.iter().map(|flow| flow.client).collect::<Vec<_>>(), clients, "of both families");
            flows.remove(&found).expect("allowed");
            assert_eq!(flows.list(&all, 10, LONG).expect("allowed").flows, []);
        },
    );
}

#[test]
fn the_way_to_a_client_is_told_and_who_is_there() {
    in_network_namespace("flows::the_way_to_a_client_is_told_and_who_is_there", || {
        let ip = |words: &str| {
            let status = Command::new("ip").args(words.split(' ')).status().expect("iproute2 is installed");
            assert!(status.success(), "ip {words}");
        };
        ip("link add vea type veth peer name veb");
        ip("link set veb up");
        ip("link set vea up");
        ip("address add 192.0.2.193/24 dev vea");
        ip("address add 2001:db8::193/64 dev vea nodad");
        ip("route add 203.0.113.0/24 via 192.0.2.1");
        ip("-6 route add 2001:db8:1::/64 via 2001:db8::1 dev vea");
        ip("neighbour add 192.0.2.1 lladdr 02:00:00:00:00:01 dev vea");
        ip("neighbour add 2001:db8::9 lladdr 02:00:00:00:00:09 dev vea");
        let mut requester = Requester::open().expect("sockets can be had");
        let link = named(&mut requester, "vea").index;
        let mut way = |text: &str| requester.way_to(text.parse().expect("an address")).expect("allowed");
        let hop = |router: Option<&str>| {
            Way::Out(NextHop { link, router: router.map(|text| text.parse().expect("an address")) })
        };
        assert_eq!(way("192.0.2.9"), hop(None));
        assert_eq!(way("203.0.113.9"), hop(Some("192.0.2.1")));
        assert_eq!(way("2001:db8::9"), hop(None));
        assert_eq!(way("2001:db8:1::9"), hop(Some("2001:db8::1")));
        assert_eq!(way("198.51.100.9"), Way::Nowhere);
        assert_eq!(way("192.0.2.193"), Way::Here);
        assert_eq!(way("192.0.2.9"), hop(None), "after a refusal");

        let mut known = |ipv6| {
            let neighbours = requester.neighbours(ipv6).expect("allowed");
            let known = neighbours.iter().filter(|neighbour| neighbour.link == link);
            known.map(|one| (one.ip.to_string(), one.station.clone())).collect::<Vec<_>>()
        };
        let station = |last| vec![2, 0, 0, 0, 0, last];
        assert!(known(false).contains(&("192.0.2.1".to_owned(), station(1))), "{:?}", known(false));
        assert!(known(true).contains(&("2001:db8::9".to_owned(), station(9))), "{:?}", known(true));
    });
}
