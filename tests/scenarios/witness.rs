//! Two nodes and a witness: who is cut off claims nothing and holds nothing, and nobody else notices.

use std::net::TcpListener;
use std::sync::Arc;

use lab::story::{INTERVAL_NS, PRIMARY, SECONDARY, VIP, VIP6, web, web6};
use lab::{Capture, Daemon, Lab, Node, now_ns};
use serde_json::Value;

/// Two nodes, `a` with the higher priority; the client is the witness.
struct Pair {
    daemons: [Daemon; 2],
    a: Arc<Node>,
    b: Arc<Node>,
    vip: &'static str,
    lab: Lab,
}

impl Pair {
    /// With the client as a neighbour, and what an unmentioned policy does.
    fn open(vip: &'static str) -> Option<Self> {
        let six = vip.contains(':');
        let lab = Lab::open()?;
        let witness = if six { lab.client().link_local() } else { lab.client().ipv4() };
        Some(Self::with(lab, vip, &format!("arp = [\"{witness}\"]")))
    }

    fn with(lab: Lab, vip: &'static str, witness: &str) -> Self {
        let (a, b) = (lab.node("a"), lab.node("b"));
        let start = |node: &Node, other: &Node, priority| {
            let (peer, config): (_, fn(u8, &str) -> String) =
                if vip.contains(':') { (other.link_local(), web6) } else { (other.ipv4(), web) };
            node.vrrpd(&config(priority, &format!("witness = {{ peers = [\"{peer}\"], {witness} }}")))
        };
        let daemons = [start(&a, &b, PRIMARY), start(&b, &a, SECONDARY)];
        let pair = Self { daemons, a, b, vip, lab };
        pair.settles();
        pair
    }

    /// All is well: `a` alone has the address, and both are answered by peer and witness.
    fn settles(&self) {
        self.lab.wait_for_holder(self.vip, "a");
        for node in [&self.a, &self.b] {
            node.wait_for_router("web", "is well", |router| {
                let fresh = |who: &str| router["witness"][who]["age_ms"].as_u64() < Some(300);
                router["witness"]["verdict"] == "answered" && fresh("peer") && fresh("witness")
            });
            node.wait_for_router("web", "has no alarm", |router| alarms(router).is_empty());
        }
    }

    /// How often each became Active.
    fn transitions(&self) -> [Option<u64>; 2] {
        [&self.a, &self.b].map(|node| {
            node.router("web").expect("the daemon answers")["statistics"]["master_transitions"].as_u64()
        })
    }
}

fn alarms(router: &Value) -> Vec<&str> {
    let alarms = router["alarms"].as_array().expect("a list").iter();
    // Packets of keepalived's kind that these nodes send each other are of no interest here.
    alarms.filter_map(|alarm| alarm["name"].as_str()).filter(|name| *name != "link_local_missing").collect()
}

fn is_isolated(router: &Value) -> bool {
    router["state"] == "backup" && router["reason"] == "isolated" && alarms(router).contains(&"isolated")
}

fn a_backup_that_is_cut_off(vip: &'static str) {
    let Some(pair) = Pair::open(vip) else { return };
    let before = pair.transitions();
    pair.lab.switch().isolate("b", false, false);
    pair.b.wait_for_router("web", "knows that it is cut off", is_isolated);
    pair.lab.settles_on(vip, "a", 20);
    let why = pair.b.vrrpctl("why web");
    assert!(String::from_utf8_lossy(&why.stdout).contains("web is BACKUP"), "{why:?}");
    assert!(
        String::from_utf8_lossy(&why.stdout).contains("cut off: neither a peer nor a witness"),
        "{why:?}"
    );
    assert_eq!(pair.b.vrrpctl("state").status.code(), Some(2), "critical");
    pair.lab.switch().heal();
    pair.settles();
    pair.lab.settles_on(vip, "a", 5);
    assert_eq!(pair.transitions(), before);
}

#[test]
fn a_backup_that_is_cut_off_does_not_claim() {
    a_backup_that_is_cut_off(VIP);
}

#[test]
fn a_backup_of_ipv6_that_is_cut_off_does_not_claim() {
    a_backup_that_is_cut_off(VIP6);
}

/// In both directions, or in one: it hears nothing, or is not heard.
fn an_active_node_that_is_cut_off(vip: &'static str, cuts: &[(bool, bool)]) {
    let Some(pair) = Pair::open(vip) else { return };
    for &(sends, receives) in cuts {
        pair.lab.switch().isolate("a", sends, receives);
        pair.a.wait_for_router("web", "has given way", is_isolated);
        assert!(!pair.a.has(vip), "sends {sends}, receives {receives}");
        pair.lab.wait_for_holder(vip, "b");
        // It stays so, though `a` may hear that it ranks higher.
        let before = pair.transitions();
        pair.lab.settles_on(vip, "b", 10);
        assert_eq!(pair.transitions(), before);
        pair.lab.switch().heal();
        pair.settles();
    }
}

#[test]
fn an_active_node_that_is_cut_off_gives_way_and_returns() {
    an_active_node_that_is_cut_off(VIP, &[(false, false), (true, false), (false, true)]);
}

#[test]
fn an_active_node_of_ipv6_that_is_cut_off_gives_way_and_returns() {
    an_active_node_that_is_cut_off(VIP6, &[(false, false)]);
}

#[test]
fn a_witness_that_is_dead_for_all_moves_nothing_and_hinders_nobody_later() {
    let Some(pair) = Pair::open(VIP) else { return };
    let before = pair.transitions();
    pair.lab.switch().unplug("client");
    for node in [&pair.a, &pair.b] {
        node.wait_for_router("web", "misses the witness", |router| alarms(router) == ["witness_silent"]);
    }
    pair.lab.settles_on(VIP, "a", 20);
    assert_eq!(pair.transitions(), before);
    let Pair { daemons: [primary, _secondary], a, b, lab, .. } = pair;
    lab.power_off(&a, primary);
    b.wait_for_state("web", "active");
    b.wait_for_router("web", "says that witnesses do not count", |router| {
        router["witness"]["verdict"] == "uncounted" && router["state"] == "active"
    });
    lab.settles_on(VIP, "b", 20);
}

/// Silence between the last words of `a`, which loses its power, and the first of `b`.
fn silence_at_power_off(lab: Lab, daemons: [Daemon; 2], a: &Node) -> i64 {
    let capture: Capture = lab.capture();
    capture.wait_for_advert("a", 0);
    let [primary, _secondary] = daemons;
    lab.power_off(a, primary);
    let first = capture.wait_for_advert("b", now_ns()).time_ns;
    first - capture.adverts_of("a").last().expect("it has spoken").time_ns
}

#[test]
fn a_dead_node_is_followed_as_soon_as_without_witnesses() {
    let (mut with, mut without) = (i64::MAX, i64::MAX);
    for _ in 0..3 {
        let Some(Pair { daemons, a, lab, .. }) = Pair::open(VIP) else { return };
        with = with.min(silence_at_power_off(lab, daemons, &a));
        let Some(plain) = lab::story::Pair::open("") else { return };
        let daemons = [plain.primary, plain.secondary];
        without = without.min(silence_at_power_off(plain.lab, daemons, &plain.a));
    }
    assert!(with < without + INTERVAL_NS / 4, "{with} ns with witnesses, {without} ns without");
}

/// Where a connection is made to; whoever comes is let in.
fn listen(lab: &Lab, port: u16) -> std::thread::JoinHandle<()> {
    let address = format!("{}:{port}", lab.client().ipv4());
    let listener = lab.client().namespace().enter(|| TcpListener::bind(address).expect("the port is free"));
    std::thread::spawn(move || {
        // Ends with what it is told to close.
        for stream in listener.incoming() {
            let mut first = [0; 1];
            if stream
                .is_ok_and(|mut stream| std::io::Read::read(&mut stream, &mut first).is_ok_and(|n| n > 0))
            {
                return;
            }
        }
    })
}

/// Closes what [`listen`] opened.
fn hush(lab: &Lab, port: u16, listener: std::thread::JoinHandle<()>) {
    let address = format!("{}:{port}", lab.client().ipv4());
    let stream = lab.client().namespace().enter(|| std::net::TcpStream::connect(address));
    std::io::Write::write_all(&mut stream.expect("somebody listens"), b"x").expect("it is read");
    listener.join().expect("it does not panic");
}

#[test]
fn a_server_is_a_witness_too_and_hold_means_that_one_of_them_is_needed() {
    let Some(lab) = Lab::open() else { return };
    let listener = listen(&lab, 4443);
    let server = format!("tcp = [\"{}:4443\"], policy = \"hold\"", lab.client().ipv4());
    let Pair { daemons: [primary, _secondary], a, b, lab, .. } = Pair::with(lab, VIP, &server);
    lab.power_off(&a, primary);
    b.wait_for_state("web", "active");
    lab.settles_on(VIP, "b", 5);
    // The server says nothing any more: nobody does.
    hush(&lab, 4443, listener);
    b.wait_for_router("web", "has given way", is_isolated);
    assert!(!b.has(VIP));
    let listener = listen(&lab, 4443);
    b.wait_for_state("web", "active");
    lab.settles_on(VIP, "b", 5);
    hush(&lab, 4443, listener);
}

#[test]
fn a_sync_group_gives_way_as_a_whole() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let witness = lab.client().ipv4();
    let config = |other: &Node, priority| {
        let witness = format!("witness = {{ peers = [\"{}\"], arp = [\"{witness}\"] }}", other.ipv4());
        let second = web6(priority, "").replace("[virtual_router.web]", "[virtual_router.six]");
        format!(
            "{}{second}[sync_group.both]\nvirtual_routers = [\"web\", \"six\"]\n",
            web(priority, &witness)
        )
    };
    let _daemons = [a.vrrpd(&config(&b, PRIMARY)), b.vrrpd(&config(&a, SECONDARY))];
    [VIP, VIP6].iter().for_each(|vip| lab.wait_for_holder(vip, "a"));
    for node in [&a, &b] {
        node.wait_for_router("web", "is answered", |router| {
            router["witness"]["peer"].is_object() && router["witness"]["witness"].is_object()
        });
    }
    lab.switch().isolate("a", false, false);
    a.wait_for_router("web", "has given way", is_isolated);
    a.wait_for_router("six", "has followed", |router| {
        router["state"] == "backup" && router["reason"] == "sync_group"
    });
    [VIP, VIP6].iter().for_each(|vip| lab.wait_for_holder(vip, "b"));
    lab.switch().heal();
    [VIP, VIP6].iter().for_each(|vip| lab.wait_for_holder(vip, "a"));
}
