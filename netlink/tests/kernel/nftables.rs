//! Tables of our own in the packet filter.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use netlink::nftables::{Element, Family, Fate, Field, Hook, Match, Nftables, Step, Watch};
use netlink::{Request, Requester};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::{host, in_network_namespace, make, named};

const TABLE: &str = "ours";
const SET4: &str = "four";
const SET6: &str = "six";
const KEY4: &[Field] = &[Field::Ipv4Destination];
const KEY6: &[Field] = &[Field::InputInterface, Field::Ipv6Destination];

/// A table that drops what is for the elements of its sets, but some of ICMPv6.
fn build(owned: bool) -> Vec<Step> {
    let chain = "input";
    let rule = |matches, fate| Step::AddRule { chain: chain.into(), matches, fate };
    vec![
        Step::AddTable { owned },
        Step::AddChain { chain, hook: Hook::Input, priority: -300 },
        Step::AddSet { set: SET4, key: KEY4 },
        Step::AddSet { set: SET6, key: KEY6 },
        rule(vec![Match::Icmpv6Type(135..=136)], Fate::Accept),
        rule(vec![Match::Ipv4, Match::InSet { set: SET4, key: KEY4 }], Fate::Drop),
        rule(vec![Match::Ipv6, Match::InSet { set: SET6, key: KEY6 }], Fate::Drop),
    ]
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A loopback with these addresses, on one processor, where datagrams keep their order.
fn with_addresses(addresses: &[&str]) {
    let mut one = CpuSet::new();
    one.set(sched_getcpu().expect("it runs on one")).expect("a processor that there is");
    sched_setaffinity(Pid::from_raw(0), &one).expect("our own thread");
    let mut requester = Requester::open().expect("sockets can be had");
    let link = named(&mut requester, "lo").index;
    make(&mut requester, &[Request::SetUp { link }]);
    for address in addresses.iter().copied().map(host) {
        make(
            &mut requester,
            &[Request::AddAddress { link, address, lifetime: None, options: Default::default() }],
        );
        until_in_use(address.ip);
    }
}

/// The kernel puts an IPv6 address to use in its own time.
fn until_in_use(address: IpAddr) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let socket = UdpSocket::bind((address, 0)).expect("an address of ours");
    socket.set_nonblocking(true).expect("a socket");
    let own = socket.local_addr().expect("it is bound");
    while socket.send_to(&[0], own).and_then(|_| socket.recv(&mut [0])).is_err() {
        assert!(Instant::now() < deadline, "{address} is not in use");
        std::thread::yield_now();
    }
}

/// Which of the addresses a datagram reaches. One to `open`, which must arrive, follows each, so that
/// nothing has to be waited for.
fn reached(addresses: &[&str], open: &str) -> Vec<String> {
    let any = if ip(open).is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let server = UdpSocket::bind(any).expect("a free port");
    // Only a fault waits so long.
    server.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let port = server.local_addr().expect("it is bound").port();
    let client = UdpSocket::bind((ip(open), 0)).expect("an address of ours");
    let mut reached = Vec::new();
    for to in addresses.iter().flat_map(|address| [address, open]) {
        client.send_to(to.as_bytes(), SocketAddr::new(ip(to), port)).expect("the loopback takes all");
    }
    for _ in addresses {
        loop {
            let mut octets = [0; 64];
            let length = server.recv(&mut octets).expect("the open address is open");
            match String::from_utf8_lossy(&octets[..length]).into_owned() {
                marker if marker == open => break,
                address => reached.push(address),
            }
        }
    }
    reached
}

#[test]
fn what_is_for_an_element_of_a_set_is_dropped() {
    in_network_namespace("nftables::what_is_for_an_element_of_a_set_is_dropped", || {
        with_addresses(&["192.0.2.1", "192.0.2.10", "2001:db8::1", "2001:db8::10", "2001:db8::11"]);
        let (four, six) = (["192.0.2.10"], ["2001:db8::10", "2001:db8::11"]);
        let mut filter = Nftables::open().expect("sockets can be had");
        filter.commit(TABLE, &build(false)).expect("the namespace is ours");
        assert_eq!(reached(&four, "192.0.2.1"), four, "an empty set drops nothing");
        assert_eq!(reached(&six, "2001:db8::1"), six);

        let here = Element::on_interface("lo", ip("2001:db8::10"));
        let elsewhere = Element::on_interface("eth0", ip("2001:db8::11"));
        let add = [
            Step::AddElements { set: SET4, elements: vec![ip("192.0.2.10").into()] },
            Step::AddElements { set: SET6, elements: vec![here, elsewhere] },
        ];
        filter.commit(TABLE, &add).expect("the sets are there");
        filter.commit(TABLE, &add).expect("what is there already is no error");
        assert!(reached(&four, "192.0.2.1").is_empty());
        assert_eq!(reached(&six, "2001:db8::1"), ["2001:db8::11"], "the other comes in elsewhere");

        let remove = Step::RemoveElements { set: SET4, elements: vec![ip("192.0.2.10").into()] };
        filter.commit(TABLE, &[remove]).expect("it is there");
        assert_eq!(reached(&four, "192.0.2.1"), four);
        filter.commit(TABLE, &[Step::RemoveTable]).expect("it is there");
        assert_eq!(reached(&six, "2001:db8::1"), six);
    });
}

#[test]
fn a_rule_that_lets_some_of_icmpv6_pass() {
    in_network_namespace("nftables::a_rule_that_lets_some_of_icmpv6_pass", || {
        with_addresses(&["2001:db8::1", "2001:db8::10"]);
        let mut filter = Nftables::open().expect("sockets can be had");
        filter.commit(TABLE, &build(false)).expect("the namespace is ours");
        let closed = Element::on_interface("lo", ip("2001:db8::10"));
        filter.commit(TABLE, &[Step::AddElements { set: SET6, elements: vec![closed] }]).expect("is there");

        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).expect("we are root here");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
        // The last one is of a type that nobody answers, to the open address.
        const LAST: u8 = 201;
        for (kind, to) in [
            (134, "2001:db8::10"),
            (135, "2001:db8::10"),
            (136, "2001:db8::10"),
            (137, "2001:db8::10"),
            (LAST, "2001:db8::1"),
        ] {
            let message = [kind, 0, 0, 0, 0, 0, 0, 0];
            socket.send_to(&message, &SocketAddr::new(ip(to), 0).into()).expect("the loopback takes all");
        }
        let mut passed = Vec::new();
        while passed.last() != Some(&LAST) {
            let mut octets = [0; 8];
            (&socket).read_exact(&mut octets).expect("the open address is open");
            passed.push(octets[0]);
        }
        assert_eq!(passed, [135, 136, LAST]);
    });
}

#[test]
fn a_table_with_an_owner_is_its_own_and_goes_with_it() {
    in_network_namespace("nftables::a_table_with_an_owner_is_its_own_and_goes_with_it", || {
        with_addresses(&["192.0.2.1", "192.0.2.10"]);
        let mut filter = Nftables::open().expect("sockets can be had");
        let mut steps = build(true);
        steps.push(Step::AddElements { set: SET4, elements: vec![ip("192.0.2.10").into()] });
        filter.commit(TABLE, &steps).expect("the namespace is ours");
        assert!(reached(&["192.0.2.10"], "192.0.2.1").is_empty());

        let mut other = Nftables::open().expect("sockets can be had");
        let error = other.commit(TABLE, &[Step::RemoveTable]).expect_err("it is another's");
        assert_eq!(error.errno(), Some(Errno::EPERM as i32), "{error}");
        assert!(error.to_string().starts_with("cannot remove the table inet ours: "), "{error}");
        drop(filter);
        assert_eq!(reached(&["192.0.2.10"], "192.0.2.1"), ["192.0.2.10"]);
        let error = other.commit(TABLE, &[Step::RemoveTable]).expect_err("it is gone");
        assert_eq!(error.errno(), Some(Errno::ENOENT as i32), "{error}");
    });
}

#[test]
fn a_step_that_is_refused_undoes_those_before_it() {
    in_network_namespace("nftables::a_step_that_is_refused_undoes_those_before_it", || {
        let mut filter = Nftables::open().expect("sockets can be had");
        let orphan = Step::AddElements { set: SET4, elements: vec![ip("192.0.2.10").into()] };
        let error =
            filter.commit(TABLE, &[Step::AddTable { owned: false }, orphan]).expect_err("no such set");
        assert_eq!(error.errno(), Some(Errno::ENOENT as i32), "{error}");
        assert!(error.to_string().starts_with("cannot add elements to the set inet ours four: "), "{error}");
        let error = filter.commit(TABLE, &[Step::RemoveTable]).expect_err("it was not made");
        assert_eq!(error.errno(), Some(Errno::ENOENT as i32), "{error}");
    });
}

#[test]
fn what_others_do_to_a_table_is_noticed() {
    in_network_namespace("nftables::what_others_do_to_a_table_is_noticed", || {
        let mut watch = Watch::open().expect("sockets can be had");
        let mut filter = Nftables::open().expect("sockets can be had");
        let mut other = Nftables::open().expect("sockets can be had");
        let own = filter.port();
        let mut disturbed = || watch.disturbed(&[Family::Inet], TABLE, own).expect("the kernel makes sense");
        filter.commit(TABLE, &build(false)).expect("the namespace is ours");
        assert!(!disturbed(), "we know what we do");
        other.commit("theirs", &build(false)).expect("the namespace is ours");
        assert!(!disturbed(), "another table");

        let element = Step::AddElements { set: SET4, elements: vec![ip("192.0.2.10").into()] };
        other.commit(TABLE, std::slice::from_ref(&element)).expect("nobody owns it");
        assert!(disturbed());
        assert!(!disturbed(), "told once");
        other.commit(TABLE, &[Step::RemoveTable]).expect("nobody owns it");
        assert!(disturbed());
    });
}

const MAP: &str = "map";
const LIVE: &str = "live";

/// Sends what is for the addresses of a map through a chain, which drops it unless a set has the
/// chain's number.
fn fence(addresses: &[&str], number: u32) -> Vec<Step> {
    let chain = format!("inner_{number}");
    let rule = |matches, fate| Step::AddRule { chain: chain.clone().into(), matches, fate };
    vec![
        Step::AddInnerChain { chain: chain.clone() },
        rule(vec![Match::NumberInSet { set: LIVE, number }], Fate::Return),
        rule(Vec::new(), Fate::Drop),
        Step::MapElements {
            map: MAP,
            elements: addresses.iter().map(|address| ip(address).into()).collect(),
            chain: chain.clone(),
        },
    ]
}

/// A table whose chain sees what comes in, with an empty map.
fn gate() -> Vec<Step> {
    let matches = vec![Match::Ipv4, Match::Mapped { map: MAP, key: KEY4 }];
    vec![
        Step::AddTable { owned: false },
        Step::AddChain { chain: "gate", hook: Hook::Prerouting, priority: -300 },
        Step::AddMap { map: MAP, key: KEY4 },
        Step::AddTimedSet { set: LIVE, key: &[Field::Number] },
        Step::AddRule { chain: "gate".into(), matches, fate: Fate::Mapped },
    ]
}

fn renew(terms: &[(u32, u64)]) -> Step {
    let elements = terms.iter().map(|&(number, timeout_ms)| (Element::number(number), timeout_ms)).collect();
    Step::Renew { set: LIVE, elements }
}

fn expire(number: u32) -> Step {
    Step::Expire { set: LIVE, elements: vec![Element::number(number)] }
}

#[test]
fn an_element_goes_by_itself_unless_it_is_renewed() {
    in_network_namespace("nftables::an_element_goes_by_itself_unless_it_is_renewed", || {
        with_addresses(&["192.0.2.1", "192.0.2.10", "192.0.2.20"]);
        let both = ["192.0.2.10", "192.0.2.20"];
        let mut filter = Nftables::open().expect("sockets can be had");
        let mut steps = gate();
        steps.extend(fence(&both[..1], 1).into_iter().chain(fence(&both[1..], 2)));
        filter.commit(TABLE, &steps).expect("the namespace is ours");
        assert!(reached(&both, "192.0.2.1").is_empty(), "neither is live");

        filter.commit(TABLE, &[renew(&[(1, 60_000), (2, 60_000)])]).expect("neither is there");
        assert_eq!(reached(&both, "192.0.2.1"), both);
        filter.commit(TABLE, &[renew(&[(1, 10), (2, 60_000)])]).expect("it is there");
        // Not longer than asked for, though it was for a minute before.
        while reached(&both, "192.0.2.1") != ["192.0.2.20"] {}
        filter.commit(TABLE, &[renew(&[(1, 60_000)])]).expect("it has gone by itself");
        assert_eq!(reached(&both, "192.0.2.1"), both);
        filter.commit(TABLE, &[expire(1), expire(1)]).expect("there or not");
        assert_eq!(reached(&both, "192.0.2.1"), ["192.0.2.20"]);

        let remove = Step::RemoveElements { set: MAP, elements: vec![ip(both[0]).into()] };
        filter.commit(TABLE, &[remove]).expect("it is there");
        assert_eq!(reached(&both, "192.0.2.1"), both, "nobody minds it any more");
    });
}

/// What nft(8) makes of the tables: it must be able to read what is in the kernel.
fn listed() -> String {
    let output = std::process::Command::new("nft").args(["list", "ruleset"]).output();
    let output = output.expect("nftables is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn nft_can_read_what_is_made() {
    in_network_namespace("nftables::nft_can_read_what_is_made", || {
        let mut filter = Nftables::open().expect("sockets can be had");
        const TARGETS: &str = "targets";
        const TARGET: &[Field] = &[Field::InputInterface, Field::NeighbourTarget];
        const SOURCES: &str = "sources";
        const SOURCE: &[Field] = &[Field::Ipv6Source];
        const ARP: &[Field] = &[Field::ArpTarget];
        const ARP_SENDER: &[Field] = &[Field::ArpSender];
        let way_out = Step::AddChain { chain: "way_out", hook: Hook::Output, priority: -300 };
        let rule_out = |matches| Step::AddRule { chain: "way_out".into(), matches, fate: Fate::Mapped };
        let mut inet = gate();
        inet.extend(fence(&["192.0.2.10"], 7));
        let matches = vec![Match::Icmpv6Type(135..=135), Match::Mapped { map: TARGETS, key: TARGET }];
        inet.extend([
            renew(&[(7, 60_000)]),
            Step::AddMap { map: TARGETS, key: TARGET },
            Step::AddRule { chain: "gate".into(), matches, fate: Fate::Mapped },
            Step::AddRule { chain: "gate".into(), matches: vec![Match::FromInside], fate: Fate::Accept },
            Step::MapElements {
                map: TARGETS,
                elements: vec![Element::on_interface("eth0", ip("fe80::10"))],
                chain: "inner_7".to_owned(),
            },
            Step::AddMap { map: SOURCES, key: SOURCE },
            way_out.clone(),
            rule_out(vec![Match::Ipv6, Match::Mapped { map: SOURCES, key: SOURCE }]),
        ]);
        let matches = vec![Match::ArpOfIpv4, Match::Mapped { map: MAP, key: ARP }];
        let mut arp = vec![
            Step::AddTable { owned: false },
            Step::AddChain { chain: "gate", hook: Hook::Input, priority: 0 },
            Step::AddMap { map: MAP, key: ARP },
            Step::AddTimedSet { set: LIVE, key: &[Field::Number] },
            Step::AddRule { chain: "gate".into(), matches, fate: Fate::Mapped },
            way_out,
            rule_out(vec![Match::ArpOfIpv4, Match::Mapped { map: MAP, key: ARP_SENDER }]),
        ];
        arp.extend(fence(&["192.0.2.10"], 7));
        filter.commit_all(TABLE, &[(Family::Inet, &inet), (Family::Arp, &arp)]).expect("ours");
        let listed = listed();
        for line in [
            "ip daddr vmap @map",
            "icmpv6 type nd-neighbor-solicit iifname . @th,64,128 vmap @targets",
            "arp daddr ip vmap @map",
            "ip6 saddr vmap @sources",
            "arp saddr ip vmap @map",
            "type filter hook output priority",
            // It knows no name for what the rule brings along.
            "@live return",
        ] {
            assert!(listed.contains(line), "{line}:\n{listed}");
        }
    });
}
