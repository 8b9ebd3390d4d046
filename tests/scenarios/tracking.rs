//! What a node depends on beside its own interface: another one, and what it reads in the kernel.

use lab::story::{PRIMARY, SECONDARY, VIP, web};
use lab::{DEADLINE, Lab, Node, Pair, wait_for};
use serde_json::Value;

/// An interface to somewhere else, with a carrier; its far end is `far`.
fn uplink(node: &Node, name: &str) {
    node.namespace().ip(&format!(
        "link add {name} type veth peer name {name}far\nlink set {name} up\nlink set {name}far up\n"
    ));
}

/// Both nodes of a pair, the first of which tracks `eth1`.
fn pair(tracked: &str) -> Option<Pair> {
    pair_with(&format!("track_interfaces = [{tracked}]"))
}

fn pair_with(more: &str) -> Option<Pair> {
    Pair::with(|node| {
        if node.name() != "a" {
            return web(SECONDARY, "");
        }
        uplink(node, "eth1");
        web(PRIMARY, more)
    })
}

/// What a router shows of a check.
fn check<'a>(router: &'a Value, name: &str) -> &'a Value {
    let checks = router["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).unwrap_or(&Value::Null)
}

fn text(node: &Node, words: &str) -> String {
    String::from_utf8(node.vrrpctl(words).stdout).expect("text")
}

#[test]
fn a_tracked_interface_that_goes_down_moves_the_address_by_its_weight() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) =
        pair("{ interface = \"eth1\", weight = -150 }, { interface = \"eth9\", weight = 10 }")
    else {
        return;
    };
    let router = a.wait_for_router("web", "knows eth1", |router| {
        check(router, "interface:eth1")["message"] == "eth1 is up"
    });
    assert_eq!(check(&router, "interface:eth1")["state"], "passing");
    assert_eq!(check(&router, "interface:eth9")["message"], "eth9 is missing");
    assert_eq!(router["priority"]["effective"], PRIMARY, "what is added while up is not");
    lab.settles_on(VIP, "a", 3);

    // The cable at the far end.
    a.ip("link set eth1far down");
    lab.settles_on(VIP, "b", 5);
    let router = a.wait_for_state("web", "backup");
    assert_eq!(router["priority"]["effective"], PRIMARY - 150);
    assert_eq!(check(&router, "interface:eth1")["message"], "eth1 is down");
    let state = text(&a, "state");
    assert!(state.contains("-150 by check interface:eth1"), "{state}");
    let why = text(&a, "why web");
    assert!(why.contains("check interface:eth1 is failing: eth1 is down"), "{why}");
    assert!(text(&a, "check").contains("interface:eth1"), "it stands among the checks");

    a.ip("link set eth1far up");
    lab.settles_on(VIP, "a", 5);
    let history = text(&a, "history");
    assert!(history.contains("check interface:eth1 is passing: eth1 is up"), "{history}");
}

#[test]
fn a_tracked_interface_without_a_weight_is_one_that_nothing_goes_without() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) =
        pair("{ interface = \"eth1\" }")
    else {
        return;
    };
    a.ip("link del eth1");
    lab.settles_on(VIP, "b", 5);
    let router = a.wait_for_state("web", "initialize");
    assert_eq!(router["reason"], "check_failed");
    // It goes down on its way out.
    a.wait_for_router("web", "knows that eth1 is gone", |router| {
        check(router, "interface:eth1")["message"] == "eth1 is missing"
    });
    assert_eq!(a.vrrpctl("state").status.code(), Some(2), "critical");
    // Another interface of the same name, with another index.
    uplink(&a, "eth1");
    lab.settles_on(VIP, "a", 5);
}

#[test]
fn in_reverse_the_address_moves_when_the_interface_comes_up() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) =
        pair("{ interface = \"eth2\", weight = -150, reverse = true }")
    else {
        return;
    };
    lab.settles_on(VIP, "a", 3);
    uplink(&a, "eth2");
    lab.settles_on(VIP, "b", 5);
    a.ip("link set eth2 down");
    lab.settles_on(VIP, "a", 5);
}

#[test]
fn a_flap_that_is_shorter_than_the_delay_moves_nothing() {
    // The delay is far longer than the test.
    let tracked = "{ interface = \"eth1\", down_delay = \"1h\" }, { interface = \"eth2\" }";
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::with(|node| {
        if node.name() != "a" {
            return web(SECONDARY, "");
        }
        uplink(node, "eth1");
        uplink(node, "eth2");
        web(PRIMARY, &format!("track_interfaces = [{tracked}]"))
    }) else {
        return;
    };
    let name = "interface:eth1:down_delay=3600s";
    a.wait_for_router("web", "knows eth1", |router| check(router, name)["state"] == "passing");
    a.ip("link set eth1far down");
    a.ip("link set eth1far up");
    a.ip("link set eth1far down");
    // What happened to eth2 is told after what happened to eth1.
    a.ip("link set eth2far down");
    lab.settles_on(VIP, "b", 5);
    let router = a.wait_for_state("web", "initialize");
    assert_eq!(check(&router, name)["state"], "passing", "it has not been down for long");
    a.ip("link set eth2far up");
    lab.settles_on(VIP, "a", 5);
    let transitions = b.router("web").expect("b answers")["statistics"]["master_transitions"].clone();
    assert_eq!(transitions, 1, "eth2 alone moved it");
}

#[test]
fn after_its_own_interface_came_up_a_router_waits_for_the_switch() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let _daemon = a.vrrpd(&web(PRIMARY, "carrier_delay = \"1h\""));
    lab.wait_for_holder(VIP, "a");
    lab.switch().unplug("a");
    a.wait_for_state("web", "initialize");
    lab.switch().plug("a");
    let router = a.wait_for_router("web", "waits", |router| router["reason"] == "carrier_delay");
    assert_eq!(router["state"], "initialize");
    let state = text(&a, "state");
    assert!(state.contains("waits for carrier_delay to end"), "{state}");
    assert!(!a.has(VIP));
}

#[test]
fn a_route_that_is_removed_moves_the_address_until_it_is_back() {
    let check_route = "checks = [\"uplink\"]\n[check.uplink]\n\
        route = { to = \"203.0.113.0/24\", interface = \"eth1\" }\ninterval = \"100ms\"\nrise = 1\nfall = 1";
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = Pair::with(|node| {
        if node.name() != "a" {
            return web(SECONDARY, "");
        }
        uplink(node, "eth1");
        node.ip("route add 203.0.113.0/24 dev eth1");
        web(PRIMARY, check_route)
    }) else {
        return;
    };
    lab.settles_on(VIP, "a", 3);
    a.ip("route del 203.0.113.0/24 dev eth1");
    lab.settles_on(VIP, "b", 5);
    let router = a.wait_for_state("web", "backup");
    assert_eq!(check(&router, "uplink")["message"], "there is no route to 203.0.113.0/24");
    a.ip("route add 203.0.113.0/24 dev eth1");
    lab.settles_on(VIP, "a", 5);
}

#[test]
fn what_a_reload_tracks_counts_at_once() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = pair_with("") else {
        return;
    };
    a.ip("link set eth1 down");
    a.write_vrrpd_config(&web(PRIMARY, "track_interfaces = [{ interface = \"eth1\", weight = -150 }]"));
    assert!(a.vrrpctl("reload").status.success());
    lab.settles_on(VIP, "b", 5);
    a.write_vrrpd_config(&web(PRIMARY, ""));
    assert!(a.vrrpctl("reload").status.success());
    lab.settles_on(VIP, "a", 5);
    wait_for("no trace of it", DEADLINE, || {
        (check(&a.router("web")?, "interface:eth1") == &Value::Null).then_some(())
    });
}
