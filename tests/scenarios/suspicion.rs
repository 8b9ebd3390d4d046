//! A late advertisement: who is dead is followed early, who lives is not, and who cannot tell waits.

use std::sync::Arc;

use lab::story::{PRIMARY, SECONDARY, VIP, VIP6, VIP6_LINK_LOCAL};
use lab::{Daemon, Lab, Node};
use serde_json::Value;

/// Two nodes with two virtual routers, `a` Active for both; `web` has suspicion, `plain` has not. The client
/// is the third station.
struct Pair {
    primary: Daemon,
    _secondary: Daemon,
    a: Arc<Node>,
    b: Arc<Node>,
    lab: Lab,
}

impl Pair {
    fn open(six: bool) -> Option<Self> {
        let lab = Lab::open()?;
        let (a, b) = (lab.node("a"), lab.node("b"));
        let address = |node: &Node| if six { node.link_local() } else { node.ipv4() };
        let start = |node: &Node, other: &Node, priority| {
            let (peer, witness) = (address(other), address(lab.client()));
            node.vrrpd(&config(six, priority, &format!("peers = [\"{peer}\"], arp = [\"{witness}\"]")))
        };
        let (primary, secondary) = (start(&a, &b, PRIMARY), start(&b, &a, SECONDARY));
        let pair = Self { primary, _secondary: secondary, a, b, lab };
        for name in ["web", "plain"] {
            pair.a.wait_for_state(name, "active");
            pair.b.wait_for_router(name, "watches the other", |router| {
                let (witness, suspicion) = (&router["witness"]["verdict"], &router["suspicion"]["ready"]);
                let watched = router["active_router"]["priority"] == PRIMARY && witness == "answered";
                watched && (name == "plain" || suspicion == true)
            });
        }
        Some(pair)
    }
}

fn config(six: bool, priority: u8, witness: &str) -> String {
    let router = |name: &str, vrid: u8, addresses: &[&str], suspicion: bool| {
        format!(
            "[virtual_router.{name}]\ninterface = \"eth0\"\nvrid = {vrid}\npriority = {priority}\n\
             advertisement_interval = \"100ms\"\naddresses = {addresses:?}\nwitness = {{ {witness} }}\n\
             suspicion = {suspicion}\n"
        )
    };
    let (web, plain): (&[&str], &[&str]) = match six {
        true => (&[VIP6_LINK_LOCAL, VIP6], &["fe80::202"]),
        false => (&[VIP], &["192.0.2.202"]),
    };
    router("web", 201, web, true) + &router("plain", 202, plain, false)
}

/// Why it became Active last, and how long the other one had been silent then, in milliseconds.
fn takeover(node: &Node, name: &str) -> (String, u64) {
    node.wait_for_state(name, "active");
    let history = node.vrrpctl(&format!("history {name} --json")).stdout;
    let history: Value = serde_json::from_slice(&history).expect("vrrpctl prints JSON");
    let events = history["events"].as_array().expect("a list of events");
    let taken = events.iter().rfind(|event| event["event"] == "transition" && event["to"] == "active");
    let taken = taken.unwrap_or_else(|| panic!("no transition in {history}"));
    let reason = taken["reason"].as_str().expect("a word").to_owned();
    (reason, taken["silent_ms"].as_u64().expect("it followed silence"))
}

fn finding(node: &Node) -> Value {
    node.router("web").expect("the daemon answers")["suspicion"]["last"]["finding"].clone()
}

fn a_dead_host(six: bool) {
    let Some(pair) = Pair::open(six) else { return };
    let Pair { primary, _secondary, a, b, lab } = pair;
    lab.power_off(&a, primary);
    let (early, full) = (takeover(&b, "web"), takeover(&b, "plain"));
    println!("host dead: followed after {} ms with suspicion, {} ms without", early.1, full.1);
    assert_eq!((early.0.as_str(), full.0.as_str()), ("suspected", "no_response"));
    // By the protocol 211 and 361 ms, each as late as the machine is busy.
    assert!(early.1 * 5 < full.1 * 4, "{early:?} {full:?}");
    assert_eq!(finding(&b), "dead");
    let address = |node: &Node| if six { node.link_local() } else { node.ipv4() };
    let why = String::from_utf8_lossy(&b.vrrpctl("why web").stdout).into_owned();
    let told = format!("no answer from {}, third station {} answered", address(&a), address(lab.client()));
    assert!(why.contains(&told), "{why}");
}

#[test]
fn a_dead_host_is_followed_before_the_active_down_interval_is_over() {
    a_dead_host(false);
}

#[test]
fn a_dead_host_of_ipv6_is_followed_before_the_active_down_interval_is_over() {
    a_dead_host(true);
}

#[test]
fn a_host_whose_daemon_is_dead_answers_and_is_followed_no_sooner_than_ever() {
    let Some(Pair { primary, _secondary, b, lab, .. }) = Pair::open(false) else { return };
    primary.crash();
    let (web, plain) = (takeover(&b, "web"), takeover(&b, "plain"));
    println!("daemon dead: followed after {} ms with suspicion, {} ms without", web.1, plain.1);
    assert_eq!((web.0.as_str(), finding(&b)), ("no_response", Value::from("answered")));
    assert!(web.1 >= 360, "the Active_Down_Interval: {web:?}");
    lab.wait_for_holder(VIP, "b");
}

#[test]
fn where_no_third_station_answers_nobody_is_followed_early() {
    let Some(Pair { primary, _secondary, a, b, lab }) = Pair::open(false) else { return };
    lab.switch().unplug("client");
    b.wait_for_router("web", "misses the witness", |router| {
        router["alarms"]
            .as_array()
            .is_some_and(|alarms| alarms.iter().any(|it| it["name"] == "witness_silent"))
    });
    lab.power_off(&a, primary);
    let web = takeover(&b, "web");
    assert_eq!((web.0.as_str(), finding(&b)), ("no_response", Value::from("unwitnessed")));
    assert!(web.1 >= 360, "the Active_Down_Interval: {web:?}");
}

#[test]
fn lost_advertisements_raise_suspicions_that_the_host_answers() {
    let Some(pair) = Pair::open(false) else { return };
    ["a", "b"].iter().for_each(|node| pair.lab.switch().lose(node, 20));
    let router = pair.b.wait_for_router("web", "has suspected a few times", |router| {
        router["statistics"]["suspicions_answered"].as_u64() >= Some(4)
    });
    assert_eq!(router["statistics"]["suspicions_confirmed"], 0, "{router}");
}
