//! `ping`, `gateway` and `address` on a cable with a router at the other end.

use std::time::Duration;

use vrrpd::config::{Address, Gateway, Ping, PingTarget, Probe};

use super::place::{add_address, remove_address, run_ip};
use super::{Asked, Fixture, PATIENCE, ip, said, said_within};

/// Until this, what never answers is waited for.
const SHORT: Duration = Duration::from_millis(700);

fn target(text: &str) -> PingTarget {
    match text.split_once('%') {
        Some((address, interface)) => PingTarget { ip: ip(address), interface: Some(interface.to_owned()) },
        None => PingTarget { ip: ip(text), interface: None },
    }
}

fn ping(targets: &[&str], quorum: u32) -> Ping {
    Ping { targets: targets.iter().map(|text| target(text)).collect(), quorum, source: None }
}

pub(crate) async fn hosts_of_both_families_answer(fixture: Fixture) {
    let both = Probe::Ping(ping(&["192.0.2.1", "2001:db8::1"], 2));
    let message = said(&fixture, both).await.expect("both are there");
    assert!(message.starts_with("2 of 2 answer: 192.0.2.1 in "), "{message}");
    assert!(message.contains(" ms, 2001:db8::1 in ") && message.ends_with(" ms"), "{message}");
    for source in ["192.0.2.193", "2001:db8::193"] {
        let router = if source.contains(':') { "2001:db8::1" } else { "192.0.2.1" };
        let from = Probe::Ping(Ping { source: Some(ip(source)), ..ping(&[router], 1) });
        assert!(said(&fixture, from).await.is_ok(), "from {source}");
    }
}

pub(crate) async fn a_silent_host_is_named_and_the_quorum_decides(fixture: Fixture) {
    let targets = ["192.0.2.77", "192.0.2.1", "2001:db8::77"];
    let message = said_within(&fixture, Probe::Ping(ping(&targets, 1)), SHORT).await.expect("one is enough");
    assert!(message.starts_with("1 of 3 answers: 192.0.2.1 in "), "{message}");
    assert!(message.ends_with("; silent for 700 ms: 192.0.2.77, 2001:db8::77"), "{message}");
    let message =
        said_within(&fixture, Probe::Ping(ping(&targets, 2)), SHORT).await.expect_err("one is not two");
    assert!(message.ends_with(" (quorum is 2)"), "{message}");
}

pub(crate) async fn a_source_that_is_missing_is_told(fixture: Fixture) {
    let from = Ping { source: Some(ip("192.0.2.194")), ..ping(&["192.0.2.1"], 1) };
    let message = said(&fixture, Probe::Ping(from)).await.expect_err("the address is another node's");
    let told =
        "0 of 1 answer; cannot ask 192.0.2.1 from 192.0.2.194: this node does not have that address now";
    assert_eq!(message, format!("{told} (quorum is 1)"));
    let message =
        said(&fixture, Probe::Ping(ping(&["198.51.100.1"], 1))).await.expect_err("there is no route");
    assert!(
        message.starts_with("0 of 1 answer; cannot ask 198.51.100.1: Network is unreachable"),
        "{message}"
    );
}

pub(crate) async fn a_link_local_host_is_asked_through_its_interface(fixture: Fixture) {
    let message = said(&fixture, Probe::Ping(ping(&["fe80::1%eth0"], 1))).await.expect("it is there");
    assert!(message.starts_with("1 of 1 answers: fe80::1%eth0 in "), "{message}");
    let message =
        said(&fixture, Probe::Ping(ping(&["fe80::1%eth7"], 1))).await.expect_err("no such interface");
    assert_eq!(message, "0 of 1 answer; cannot ask fe80::1%eth7: there is no interface eth7 (quorum is 1)");
}

pub(crate) async fn a_host_that_cannot_be_asked_is_one_that_does_not_answer(fixture: Fixture) {
    let ping = Probe::Ping(ping(&["fe80::1%eth7", "192.0.2.1"], 1));
    for probe in [ping, gateway(None, &["fe80::1%eth7", "192.0.2.1"], 1)] {
        let message = said(&fixture, probe).await.expect("one is enough");
        assert!(message.starts_with("1 of 2 answers: 192.0.2.1 in "), "{message}");
        assert!(message.contains("; cannot ask fe80::1%eth7: there is no interface eth7"), "{message}");
    }
}

fn gateway(interface: Option<&str>, targets: &[&str], quorum: u32) -> Probe {
    let targets = targets.iter().map(|text| target(text)).collect();
    Probe::Gateway(Gateway { interface: interface.map(str::to_owned), targets, quorum })
}

pub(crate) async fn the_routers_of_default_routes_are_asked(fixture: Fixture) {
    assert_eq!(said(&fixture, gateway(None, &[], 1)).await, Err("there is no default route".to_owned()));
    run_ip("route add default via 192.0.2.1");
    run_ip("-6 route add default via fe80::1 dev eth0");
    let message = said(&fixture, gateway(Some("eth0"), &[], 2)).await.expect("the router has both");
    assert!(message.starts_with("2 of 2 answer: 192.0.2.1 in "), "{message}");
    assert!(message.contains(", fe80::1%eth0 in "), "{message}");
    let other = said(&fixture, gateway(Some("eth7"), &[], 1)).await;
    assert_eq!(other, Err("there is no default route through eth7".to_owned()));
    let message = said(&fixture, gateway(Some("eth7"), &["192.0.2.1"], 1)).await.expect("the peer answers");
    assert!(message.ends_with("; there is no default route through eth7"), "{message}");
    run_ip("route del default");
    run_ip("-6 route del default");
}

pub(crate) async fn a_silent_router_is_made_up_for_by_the_peer(fixture: Fixture) {
    run_ip("route add default via 192.0.2.77");
    let alone = said_within(&fixture, gateway(None, &[], 1), SHORT).await.expect_err("it is silent");
    assert!(alone.starts_with("0 of 1 answer; silent for "), "{alone}");
    assert!(alone.ends_with(" ms: 192.0.2.77 (quorum is 1)"), "{alone}");
    let message =
        said_within(&fixture, gateway(None, &["192.0.2.1"], 1), SHORT).await.expect("the peer answers");
    assert!(message.starts_with("1 of 2 answers: 192.0.2.1 in "), "{message}");
    run_ip("route del default");
}

pub(crate) async fn a_router_that_is_a_target_too_has_one_vote(fixture: Fixture) {
    run_ip("route add default via 192.0.2.1");
    run_ip("-6 route add default via fe80::1 dev eth0");
    let said = said(&fixture, gateway(None, &["192.0.2.1", "fe80::1%eth0"], 3)).await;
    let message = said.expect_err("there are only two");
    assert!(message.starts_with("2 of 2 answer: ") && message.ends_with(" (quorum is 3)"), "{message}");
    run_ip("route del default");
    run_ip("-6 route del default");
}

/// Over either of two cables, for example.
pub(crate) async fn a_router_of_two_routes_has_one_vote(fixture: Fixture) {
    run_ip("link add eth1 type veth peer name eth2");
    run_ip("link set eth1 up");
    run_ip("route add default via 192.0.2.1");
    run_ip("route add default via 192.0.2.1 dev eth1 onlink metric 10");
    let said = said(&fixture, gateway(None, &[], 2)).await;
    run_ip("link del eth1");
    run_ip("route del default");
    let message = said.expect_err("there is only one");
    assert!(message.starts_with("1 of 1 answers: ") && message.ends_with(" (quorum is 2)"), "{message}");
}

fn addresses(addresses: &[&str], interface: Option<&str>, quorum: u32) -> Probe {
    let addresses = addresses.iter().map(|text| ip(text)).collect();
    Probe::Address(Address { addresses, interface: interface.map(str::to_owned), quorum })
}

pub(crate) async fn an_address_of_this_node_is_found(fixture: Fixture) {
    let both = addresses(&["192.0.2.193", "2001:db8::193"], Some("eth0"), 2);
    let message = said(&fixture, both).await.expect("the node has both");
    assert_eq!(message, "2 of 2: 192.0.2.193/24 on eth0, 2001:db8::193/64 on eth0");
    let message = said(&fixture, addresses(&["192.0.2.193"], Some("lo"), 1)).await.expect_err("on eth0");
    assert_eq!(message, "0 of 1: 192.0.2.193 is on eth0, not on lo (quorum is 1)");
    let message =
        said(&fixture, addresses(&["192.0.2.194", "192.0.2.193"], None, 1)).await.expect("one is enough");
    assert_eq!(message, "1 of 2: 192.0.2.193/24 on eth0; 192.0.2.194 is on no interface");
}

pub(crate) async fn an_address_that_goes_is_missed(fixture: Fixture) {
    add_address("192.0.2.195/24");
    let mut asked = Asked::new(&fixture, addresses(&["192.0.2.195"], None, 1), PATIENCE);
    assert_eq!(asked.said().await, Ok("1 of 1: 192.0.2.195/24 on eth0".to_owned()));
    remove_address("192.0.2.195/24");
    let message = asked.said().await;
    assert_eq!(message, Err("0 of 1: 192.0.2.195 is on no interface (quorum is 1)".to_owned()));
}
