//! Two nodes that advertise over a second network too: what is cut, and who holds the address then.

use std::sync::Arc;

use lab::story::{DOWN_NS, INTERVAL_NS, PRIMARY, SECONDARY, VIP, VIP6, web, web6};
use lab::{Daemon, Lab, Node, Prober, now_ns};
use serde_json::Value;

/// Two nodes, `a` with the higher priority, and a cable between their `eth1`.
struct Pair {
    _daemons: [Daemon; 2],
    a: Arc<Node>,
    b: Arc<Node>,
    vip: &'static str,
    lab: Lab,
}

impl Pair {
    fn open(vip: &'static str) -> Option<Self> {
        let lab = Lab::open()?;
        let (a, b) = (lab.node("a"), lab.node("b"));
        a.cable_to(&b);
        let start = |node: &Node, other: &Node, priority| {
            let six = vip.contains(':');
            let (first, config): (_, fn(u8, &str) -> String) =
                if six { (other.link_local(), web6) } else { (other.ipv4(), web) };
            let witness = if six { lab.client().link_local() } else { lab.client().ipv4() };
            let path = format!(
                "second_path = {{ interface = \"eth1\", peers = {{ \"{first}\" = \"{}\" }}, \
                 witnesses = [\"{witness}\"] }}",
                second(other, six)
            );
            node.vrrpd(&config(priority, &path))
        };
        let daemons = [start(&a, &b, PRIMARY), start(&b, &a, SECONDARY)];
        let pair = Self { _daemons: daemons, a, b, vip, lab };
        pair.settles();
        Some(pair)
    }

    /// All is well: `a` alone has the address, `b` hears it on both paths, both know the LAN.
    fn settles(&self) {
        self.lab.wait_for_holder(self.vip, "a");
        for node in [&self.a, &self.b] {
            node.wait_for_router("web", "is well", |router| {
                router["second_path"]["client_lan"] == "answers" && alarms(router).is_empty()
            });
        }
        self.b.wait_for_router("web", "hears on both paths", |router| {
            let fresh = |key: &str| router["second_path"][key]["age_ms"].as_u64() < Some(300);
            fresh("heard_on_first") && fresh("heard_on_second") && router["state"] == "backup"
        });
    }

    /// How often each became Active.
    fn transitions(&self) -> [Option<u64>; 2] {
        [&self.a, &self.b].map(|node| {
            node.router("web").expect("the daemon answers")["statistics"]["master_transitions"].as_u64()
        })
    }
}

/// The address of a node on the second network.
fn second(node: &Node, six: bool) -> String {
    let [four, address] = node.second_addresses();
    if six { address } else { four }
}

fn alarms(router: &Value) -> Vec<&str> {
    let alarms = router["alarms"].as_array().expect("a list").iter();
    // Packets of keepalived's kind that these nodes send each other are of no interest here.
    alarms.filter_map(|alarm| alarm["name"].as_str()).filter(|name| *name != "link_local_missing").collect()
}

/// Nothing that comes in on `interface` is read.
fn deafen(node: &Node, interface: &str) {
    node.namespace().nft(&format!(
        "table inet deaf {{ chain in {{ type filter hook input priority 0; iifname {interface} meta l4proto 112 \
         drop; }}; }}"
    ));
}

fn hear_again(node: &Node) {
    node.namespace().nft("delete table inet deaf");
}

fn cutting_the_second_path(vip: &'static str) {
    let Some(pair) = Pair::open(vip) else { return };
    let before = pair.transitions();
    for deaf in [vec![&pair.a], vec![&pair.b], vec![&pair.a, &pair.b]] {
        deaf.iter().for_each(|node| deafen(node, "eth1"));
        if deaf.iter().any(|node| node.name() == "b") {
            pair.b.wait_for_router("web", "misses the second path", |router| {
                alarms(router) == ["second_path_silent"]
            });
        }
        pair.lab.settles_on(vip, "a", 10);
        deaf.iter().for_each(|node| hear_again(node));
        pair.settles();
    }
    pair.a.ip("link set eth1 down");
    pair.a.wait_for_router("web", "names the path", |router| alarms(router).contains(&"second_path_down"));
    pair.lab.settles_on(vip, "a", 10);
    pair.a.ip("link set eth1 up");
    if vip.contains(':') {
        pair.a.ip(&format!("-6 addr replace {}/64 dev eth1 nodad", second(&pair.a, true)));
    }
    pair.settles();
    assert_eq!(pair.transitions(), before);
}

#[test]
fn cutting_the_second_path_causes_no_transition() {
    cutting_the_second_path(VIP);
}

#[test]
fn cutting_the_second_path_of_ipv6_causes_no_transition() {
    cutting_the_second_path(VIP6);
}

/// The clients reach both nodes, which do not reach each other.
fn cutting_the_first_between_the_nodes(vip: &'static str) {
    let Some(pair) = Pair::open(vip) else { return };
    let before = pair.transitions();
    let prober = Prober::start(pair.lab.client(), vip);
    prober.wait_for_answer();
    for ways in [vec![("a", "b")], vec![("b", "a")], vec![("a", "b"), ("b", "a")]] {
        ways.iter().for_each(|(from, to)| pair.lab.switch().cut_one_way(from, to));
        if ways.contains(&("a", "b")) {
            pair.b.wait_for_router("web", "hears a on the second path only", |router| {
                alarms(router) == ["first_path_silent"]
            });
        }
        pair.lab.settles_on(vip, "a", 20);
        pair.lab.switch().heal();
        pair.settles();
    }
    let gap = prober.stop().longest_wait().as_nanos();
    assert!(gap < INTERVAL_NS.unsigned_abs().into(), "the client noticed: {gap} ns");
    assert_eq!(pair.transitions(), before);
}

#[test]
fn cutting_the_first_path_between_the_nodes_makes_no_second_holder() {
    cutting_the_first_between_the_nodes(VIP);
}

#[test]
fn cutting_the_first_path_of_ipv6_between_the_nodes_makes_no_second_holder() {
    cutting_the_first_between_the_nodes(VIP6);
}

fn an_active_node_that_no_client_reaches(vip: &'static str) {
    let Some(pair) = Pair::open(vip) else { return };
    for (sends, receives) in [(false, false), (true, false), (false, true)] {
        let prober = Prober::start(pair.lab.client(), vip);
        prober.wait_for_answer();
        pair.lab.switch().isolate("a", sends, receives);
        pair.lab.wait_for_holder(vip, "b");
        prober.wait_for_answer();
        let a = pair.a.wait_for_state("web", "backup");
        assert_eq!(a["second_path"]["client_lan"], "silent");
        assert!(alarms(&a).contains(&"client_lan_silent"), "{a}");
        assert_eq!(a["priority"]["effective"], PRIMARY / 10);
        // It stays so: neither takes it back, and nobody has it beside b.
        let before = pair.transitions();
        let capture = pair.lab.capture();
        for _ in 0..20 {
            capture.wait_for_advert("b", now_ns());
            assert_eq!(pair.lab.holders(vip), ["b"]);
        }
        assert_eq!(pair.transitions(), before);
        pair.lab.switch().heal();
        pair.settles();
        drop(prober.stop());
    }
}

#[test]
fn an_active_node_that_no_client_reaches_gives_way_and_returns() {
    an_active_node_that_no_client_reaches(VIP);
}

#[test]
fn an_active_node_of_ipv6_that_no_client_reaches_gives_way_and_returns() {
    an_active_node_that_no_client_reaches(VIP6);
}

#[test]
fn a_backup_that_no_client_reaches_disturbs_nobody() {
    let Some(pair) = Pair::open(VIP) else { return };
    let before = pair.transitions();
    pair.lab.switch().isolate("b", false, false);
    pair.b.wait_for_router("web", "knows that nobody answers", |router| {
        router["second_path"]["client_lan"] == "silent" && router["state"] == "backup"
    });
    pair.lab.settles_on(VIP, "a", 20);
    assert_eq!(pair.transitions(), before);
}

#[test]
fn neither_node_leaves_the_role_when_no_client_answers_any_of_them() {
    let Some(pair) = Pair::open(VIP) else { return };
    pair.lab.switch().cut("a", "b");
    pair.lab.switch().unplug("client");
    for node in [&pair.a, &pair.b] {
        node.wait_for_router("web", "knows that nobody answers", |router| {
            router["second_path"]["client_lan"] == "silent"
        });
    }
    pair.a.wait_for_router("web", "has asked and kept the role", |router| {
        router["state"] == "active" && router["phase"] != "asking"
    });
    let before = pair.transitions();
    pair.lab.settles_on(VIP, "a", 20);
    assert_eq!(pair.transitions(), before);
}

/// Nothing can be said on a link without carrier, but on the other one.
#[test]
fn who_loses_its_carrier_resigns_on_the_second_path() {
    let Some(pair) = Pair::open(VIP) else { return };
    let mut shortest = i64::MAX;
    for _ in 0..3 {
        let capture = pair.lab.capture();
        let unplugged_ns = now_ns();
        pair.lab.switch().unplug("a");
        shortest = shortest.min(capture.wait_for_advert("b", unplugged_ns).time_ns - unplugged_ns);
        pair.lab.switch().plug("a");
        pair.settles();
    }
    assert!(shortest < DOWN_NS - INTERVAL_NS, "b waited {shortest} ns, as if it had heard nothing");
}

#[test]
fn both_paths_silent_are_a_dead_node() {
    let Some(pair) = Pair::open(VIP) else { return };
    pair.a.ip("link set eth1 down");
    pair.lab.switch().unplug("a");
    pair.lab.settles_on(VIP, "b", 5);
    pair.lab.switch().plug("a");
    pair.a.ip("link set eth1 up");
    pair.settles();
}
