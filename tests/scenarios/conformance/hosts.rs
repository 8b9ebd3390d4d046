//! What other stations get to see of the addresses: answers, silence, groups, and nothing at the end.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use lab::story::{PRIMARY, SECONDARY, VIP, VIP6, VIP6_LINK_LOCAL, router, web, web6};
use lab::{DEADLINE, Frame, Kind, Lab, Namespace, Node, Pair, Prober, wait_for};

const SECOND: &str = "192.0.2.202";

/// Asks who has the address, in its family's way.
fn asks_for(frame: &Frame, address: IpAddr) -> bool {
    match frame.kind {
        Kind::Arp { target, reply: false, .. } => target == address,
        Kind::NeighbourSolicitation { target } => target == address,
        _ => false,
    }
}

/// Asks as a host does that wants the address itself: from nowhere (RFC 4862 5.4.2). Who claims it asks as well,
/// from its own address, and waits for no answer.
fn detects_duplicates_of(frame: &Frame, address: &str) -> bool {
    let from = &frame.octets[14 + 8..][..16];
    asks_for(frame, address.parse().expect("valid")) && from == [0; 16]
}

/// Says who has the address to one who asked.
fn answers(frame: &Frame, address: IpAddr) -> bool {
    match frame.kind {
        Kind::Arp { sender, reply: true, .. } => sender == address,
        Kind::NeighbourAdvertisement { target, solicited: true, .. } => target == address,
        _ => false,
    }
}

/// The client forgets, asks again and again, and reaches nobody but `b`.
fn b_is_silent_about(lab: &Lab, b: &Node, address: &str, own: &str) {
    let client = lab.client();
    let ip: IpAddr = address.parse().expect("an address");
    for family in ["ipv4", "ipv6"] {
        client.namespace().sysctl(&[(&format!("net/{family}/neigh/eth0/retrans_time_ms"), "20")]);
    }
    lab.switch().cut("a", "client");
    client.ip("neigh flush all");
    let capture = lab.capture();
    let prober = Prober::start(client, address);
    wait_for("several questions of the client", DEADLINE, || {
        let asked = capture.frames().iter().filter(|frame| asks_for(frame, ip)).count();
        (asked >= 5).then_some(())
    });
    // Whoever answers has had its time when another question of the same client has been answered.
    Prober::start(client, own).wait_for_answer();
    assert!(!capture.frames().iter().any(|frame| answers(frame, ip)), "a Backup answered");
    drop(prober.stop());

    // ... and what is sent to its MAC address all the same.
    client.ip(&format!("neigh replace {address} lladdr 02:00:00:00:00:c2 dev eth0 nud permanent"));
    let prober = Prober::start(client, address);
    prober.wait_for_probes(200);
    Prober::start(client, own).wait_for_answer();
    let probes = prober.stop();
    assert!(probes.0.iter().all(|probe| probe.answered_ns.is_none()), "a Backup accepted");
    assert_eq!(b.router("web").expect("b answers")["state"], "backup");
}

#[test]
fn arp_is_answered_by_the_active_router_for_each_address_and_by_no_backup() {
    let two = |node: &Node| {
        let priority = if node.name() == "a" { PRIMARY } else { SECONDARY };
        router(priority, &[VIP, SECOND], "")
    };
    let Some(Pair { lab, a: _a, b, primary: _primary, secondary: _secondary }) = Pair::with(two) else {
        return;
    };
    lab.wait_for_holder(SECOND, "a");
    for address in [VIP, SECOND] {
        assert_eq!(lab.answerers(address), ["a"]);
    }
    b_is_silent_about(&lab, &b, VIP, &b.ipv4());
}

#[test]
fn solicitations_are_answered_by_the_active_router_and_by_no_backup() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let _daemons = [a.vrrpd(&web6(PRIMARY, "")), b.vrrpd(&web6(SECONDARY, ""))];
    lab.wait_for_holder(VIP6, "a");
    let capture = lab.capture();
    Prober::start(lab.client(), VIP6).wait_for_answer();
    let vip: IpAddr = VIP6.parse().expect("an address");
    let answer = capture.wait_for("an answer", 0, |frame| answers(frame, vip));
    assert_eq!(answer.interface, "a");
    b_is_silent_about(&lab, &b, VIP6, &b.ipv6());
}

#[test]
fn the_solicited_node_group_of_an_address_is_joined_while_it_is_held() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let primary = a.vrrpd(&web6(PRIMARY, ""));
    let _secondary = b.vrrpd(&web6(SECONDARY, ""));
    lab.wait_for_holder(VIP6, "a");
    let joined = |node: &Node| node.ip("-6 maddr show dev eth0").contains("ff02::1:ff00:201");
    // The kernel joins a moment after it has the address.
    let a_alone = || (joined(&a) && !joined(&b)).then_some(());
    wait_for("a to join the group", DEADLINE, a_alone);
    assert!(primary.terminate().success());
    let b_alone = || (joined(&b) && !joined(&a)).then_some(());
    wait_for("b to join the group", DEADLINE, b_alone);
}

fn detect_duplicates(node: &Node, probes: &str) {
    node.namespace().sysctl(&[
        ("net/ipv6/conf/all/accept_dad", "1"),
        ("net/ipv6/conf/eth0/accept_dad", "1"),
        ("net/ipv6/conf/eth0/dad_transmits", probes),
    ]);
}

#[test]
fn a_station_that_probes_for_a_held_address_learns_that_it_is_taken() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let _daemon = a.vrrpd(&web6(PRIMARY, ""));
    lab.wait_for_holder(VIP6, "a");
    let client = lab.client();
    detect_duplicates(client, "1");
    client.ip(&format!("-6 addr add {VIP6}/128 dev eth0"));
    wait_for("the end of the client's detection", DEADLINE, || {
        client.ip("-6 -o addr show dev eth0 dadfailed").contains(VIP6).then_some(())
    });
    lab.settles_on(VIP6_LINK_LOCAL, "a", 3);
}

#[test]
fn an_ipv6_address_is_of_use_at_once_where_others_are_probed_for() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    detect_duplicates(&a, "100");
    let capture = lab.capture();
    let _daemon = a.vrrpd(&web6(PRIMARY, ""));
    lab.wait_for_holder(VIP6, "a");
    Prober::start(lab.client(), VIP6).wait_for_answer();
    let probed = |frame: &Frame| {
        frame.interface == "a"
            && [VIP6, VIP6_LINK_LOCAL].iter().any(|address| detects_duplicates_of(frame, address))
    };
    assert!(!capture.frames().iter().any(probed), "a probed for its own address");
    a.ip("-6 addr add 2001:db8::77/128 dev eth0");
    capture.wait_for("a probe for another address", 0, |frame| {
        frame.interface == "a" && detects_duplicates_of(frame, "2001:db8::77")
    });
}

/// What an administrator may find changed.
fn traces(node: &Node) -> BTreeSet<String> {
    fn settings(directory: &Path, into: &mut BTreeSet<String>) {
        for path in
            std::fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
        {
            if path.is_dir() {
                settings(&path, into);
            } else if let Ok(value) = std::fs::read_to_string(&path) {
                into.insert(format!("{} = {}", path.display(), value.trim_end()));
            }
        }
    }
    let mut found = BTreeSet::new();
    for words in
        ["-o addr", "-o link", "route show table all", "-6 route show table all", "rule", "-6 rule", "maddr"]
    {
        found.extend(node.ip(words).lines().map(|line| format!("ip {words}: {}", line.trim())));
    }
    found.extend(node.namespace().run("nft", &["list", "ruleset"]).lines().map(|line| format!("nft {line}")));
    node.namespace().enter(|| {
        for family in ["ipv4", "ipv6"] {
            settings(Path::new(&format!("/proc/sys/net/{family}/conf")), &mut found);
        }
    });
    found
}

fn nothing_is_left_after(keys: &str) {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let before = traces(&a);
    let daemon = a.vrrpd(&(web(PRIMARY, keys) + &web6(PRIMARY, keys).replace(".web]", ".six]")));
    lab.wait_for_holder(VIP, "a");
    lab.wait_for_holder(VIP6, "a");
    assert_ne!(traces(&a), before);
    assert!(daemon.terminate().success());
    let after = traces(&a);
    let changes: Vec<_> = after.symmetric_difference(&before).collect();
    assert!(changes.is_empty(), "{changes:#?}");
}

#[test]
fn nothing_is_left_of_a_daemon_that_was_stopped() {
    nothing_is_left_after("");
}

#[test]
fn nothing_is_left_of_a_virtual_mac() {
    nothing_is_left_after("virtual_mac = true");
}

/// A second network, 203.0.113.0/24, behind a node that forwards; its only host is .2.
fn behind(node: &Node) -> Namespace {
    let behind = Namespace::new().expect("open() has made some");
    node.namespace().ip(&format!("link add eth1 type veth peer name far netns {}\n", behind.path()));
    node.namespace().ip("link set eth1 up\naddr add 203.0.113.1/24 dev eth1\n");
    behind.ip("link set far up\naddr add 203.0.113.2/24 dev far\nroute add default via 203.0.113.1\n");
    node.namespace().sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")]);
    behind
}

#[test]
fn what_is_sent_to_the_virtual_mac_is_forwarded() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let _behind = behind(&a);
    let _daemon = a.vrrpd(&web(PRIMARY, "virtual_mac = true"));
    lab.wait_for_holder(VIP, "a");
    let client = lab.client();
    client.ip(&format!("neigh replace {VIP} lladdr 00:00:5e:00:01:c9 dev eth0 nud permanent"));
    client.ip(&format!("route add 203.0.113.0/24 via {VIP}"));
    Prober::start(client, "203.0.113.2").wait_for_answer();
}

#[test]
fn what_is_sent_to_the_groups_is_not_forwarded() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let behind = behind(&a);
    behind.nft(
        "table inet seen { chain input { type filter hook prerouting priority 0; }; }\n\
                add rule inet seen input meta l4proto 112 counter comment \"vrrp\"\n\
                add rule inet seen input icmp type echo-request counter accept comment \"echo\"\n",
    );
    let both = |priority| web(priority, "") + &web6(priority, "").replace(".web]", ".six]");
    let _daemons = [a.vrrpd(&both(SECONDARY)), b.vrrpd(&both(PRIMARY))];
    lab.wait_for_holder(VIP6, "b");
    lab.settles_on(VIP, "b", 20);
    lab.client().ip(&format!("route add 203.0.113.0/24 via {}", a.ipv4()));
    Prober::start(lab.client(), "203.0.113.2").wait_for_answer();
    let seen = behind.run("nft", &["list", "ruleset"]);
    let packets = |comment: &str| {
        let line = seen.lines().find(|line| line.contains(comment)).expect("the rule is there");
        line.split_once("packets ").and_then(|(_, rest)| rest.split(' ').next()).map(str::to_owned)
    };
    assert_eq!(packets("vrrp").as_deref(), Some("0"), "{seen}");
    assert_ne!(packets("echo").as_deref(), Some("0"), "{seen}");
}
