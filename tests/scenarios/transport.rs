//! Where advertisements go to, where they come from, and who is heard.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lab::story::{PRIMARY, SECONDARY, VIP, VIP6, router, slow, web, web6};
use lab::{DEADLINE, Kind, Lab, Mac, Node, Pair, now_ns, wait_for};

fn alarms(node: &Node) -> Vec<String> {
    let router = node.router("web").expect("the daemon answers");
    let alarms = router["alarms"].as_array().expect("a list");
    alarms.iter().map(|alarm| alarm["name"].as_str().expect("a word").to_owned()).collect()
}

/// Three nodes, and peers that are not there up to `count`; nothing can be sent to the first of them.
fn many_peers(vip: &str, config: fn(u8, &str) -> String, count: u8) {
    let Some(lab) = Lab::open() else { return };
    let nodes = ["a", "b", "c"].map(|name| lab.node(name));
    let own = |node: &Node| if vip.contains(':') { node.ipv6() } else { node.ipv4() };
    let net = if vip.contains(':') { "2001:db8::" } else { "192.0.2." };
    let absent: Vec<String> = (0..count - 2).map(|nth| format!("{net}{}", 220 + nth)).collect();
    nodes[0].namespace().nft(&format!(
        "table inet lab {{ chain out {{ type filter hook output priority 0; {} daddr {} drop; }}; }}",
        if vip.contains(':') { "ip6" } else { "ip" },
        absent[0],
    ));
    let capture = lab.capture();
    let start = |node: &Node, priority| {
        let others = nodes.iter().map(|other| own(other)).filter(|other| *other != own(node));
        let peers: Vec<String> = absent.iter().cloned().chain(others).collect();
        node.vrrpd(&config(priority, &format!("peers = {peers:?}")))
    };
    let _a = start(&nodes[0], 200);
    lab.wait_for_holder(vip, "a");
    let _others = (start(&nodes[1], 150), start(&nodes[2], 100));
    let settled_ns = now_ns();
    lab.settles_on(vip, "a", 20);
    for backup in &nodes[1..] {
        backup.wait_for_router("web", "knows a", |router| {
            router["active_router"]["address"] == own(&nodes[0]) && router["state"] == "backup"
        });
        assert_eq!(backup.router("web").expect("it answers")["statistics"]["master_transitions"], 0);
    }
    assert_eq!(alarms(&nodes[0]), ["cannot_send_to_peer"]);
    let sent = capture.adverts_of("a");
    assert!(sent.iter().filter_map(|frame| frame.advert()).all(|advert| advert.ttl == 255));
    // Who is not there gets nothing over the wire but the question where it is.
    let to: BTreeSet<IpAddr> =
        sent.iter().filter_map(|frame| frame.advert()).map(|advert| advert.destination).collect();
    let there = nodes[1..].iter().map(|node| own(node).parse().expect("an address"));
    assert_eq!(to, there.collect());

    // The next one follows as if there were nobody else.
    assert!(nodes[0].vrrpctl("drain web").status.success());
    lab.wait_for_holder(vip, "b");
    assert!(capture.adverts_of("b")[0].time_ns > settled_ns);
}

#[test]
fn ten_peers_of_which_most_are_not_there_are_as_good_as_two() {
    many_peers(VIP, web, 10);
}

#[test]
fn ten_peers_over_ipv6_of_which_most_are_not_there_are_as_good_as_two() {
    many_peers(VIP6, web6, 10);
}

#[test]
fn three_peers_of_which_one_cannot_be_sent_to_are_as_good_as_two() {
    many_peers(VIP, web, 3);
}

#[test]
fn a_stranger_in_the_group_is_named_and_takes_nothing() {
    let allowed = "allowed_sources = [\"192.0.2.193\", \"192.0.2.194/31\"]";
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open(allowed) else {
        return;
    };
    let c = lab.node("stranger");
    c.ip("addr add 198.51.100.9/24 dev eth0");
    let _stranger = c.vrrpd(&router(250, &["192.0.2.202"], "source_address = \"198.51.100.9\""));
    lab.wait_for_holder("192.0.2.202", "stranger");
    for node in [&a, &b] {
        let told = node.wait_for_router("web", "names the stranger", |router| {
            let alarms = router["alarms"].as_array().expect("a list");
            alarms.iter().any(|alarm| alarm["name"] == "unknown_sender")
        });
        let named = told["alarms"][0]["message"].as_str().expect("a sentence");
        assert!(named.starts_with("198.51.100.9 advertises our VRID"), "{named}");
        node.wait_for_router("web", "counts it", |router| {
            router["statistics"]["peer_errors"].as_u64() > Some(10)
        });
    }
    assert_eq!(lab.holders(VIP), ["a"]);
    assert_eq!(b.router("web").expect("b answers")["state"], "backup");
}

#[test]
fn a_group_of_their_own_keeps_two_virtual_routers_of_one_vrid_apart() {
    for (vip, six, config, usual, group) in [
        (VIP, "192.0.2.202", web as fn(u8, &str) -> String, "224.0.0.18", "224.0.0.118"),
        (VIP6, "fe80::202", web6, "ff02::12", "ff02::118"),
    ] {
        let own = format!("multicast_group = \"{group}\"");
        let Some(lab) = Lab::open() else { return };
        let [a, b, c] = ["a", "b", "c"].map(|name| lab.node(name));
        let capture = lab.capture();
        let _c = c.vrrpd(&router(250, &[six], ""));
        let _pair = (a.vrrpd(&config(PRIMARY, &own)), b.vrrpd(&config(SECONDARY, &own)));
        lab.wait_for_holder(vip, "a");
        lab.wait_for_holder(six, "c");
        b.wait_for_router("web", "knows a", |router| router["active_router"]["priority"] == PRIMARY);
        // A group that changes is followed, there and back.
        for (node, priority) in [(&a, PRIMARY), (&b, SECONDARY)] {
            node.write_vrrpd_config(&config(priority, &own.replace("118", "119")));
            assert!(node.vrrpctl("reload").status.success());
        }
        let reloaded_ns = now_ns();
        let heard = |router: &serde_json::Value| router["statistics"]["advertisement_rcvd"].as_u64();
        let before = heard(&b.router("web").expect("b answers"));
        b.wait_for_router("web", "hears a in the new group", |router| {
            router["state"] == "backup" && heard(router) > before.map(|count| count + 10)
        });
        capture.wait_for_advert("a", reloaded_ns);
        let last = capture.adverts_of("a").pop().expect("waited for");
        let destination = last.advert().expect("it is one").destination.to_string();
        assert_eq!(destination, group.replace("118", "119"));
        let of_c = capture.adverts_of("c").pop().expect("c is Active");
        assert_eq!(of_c.advert().expect("it is one").destination.to_string(), usual);
        for node in [&a, &b, &c] {
            assert!(alarms(node).iter().all(|alarm| !alarm.contains("mismatch")), "{:?}", alarms(node));
        }
    }
}

#[test]
fn a_source_that_comes_later_is_waited_for() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let source = "192.0.2.243";
    let _daemon = a.vrrpd(&web(PRIMARY, &format!("source_address = \"{source}\"")));
    let waiting = a.wait_for_router("web", "waits", |router| router["reason"] == "no_primary_ip_address");
    assert_eq!(waiting["configured_source_address"], source);
    let shown = String::from_utf8(a.vrrpctl("state").stdout).expect("text");
    assert!(shown.contains(&format!("source_address {source} is not on interface eth0")), "{shown}");
    a.ip(&format!("addr add {source}/24 dev eth0"));
    let capture = lab.capture();
    lab.settles_on(VIP, "a", 5);
    a.ip(&format!("addr del {source}/24 dev eth0"));
    a.wait_for_router("web", "waits again", |router| router["reason"] == "no_primary_ip_address");
    assert!(!a.has(VIP));
    let sources: BTreeSet<IpAddr> = capture
        .adverts_of("a")
        .iter()
        .filter_map(|frame| frame.advert())
        .map(|advert| advert.source)
        .collect();
    assert_eq!(sources, BTreeSet::from([source.parse().expect("an address")]));
}

#[test]
fn a_source_that_changes_is_followed_and_costs_no_role() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    let transitions = |node: &Node| {
        let router = node.router("web").expect("the daemon answers");
        router["statistics"]["master_transitions"].as_u64()
    };
    let before = [transitions(&a), transitions(&b)];
    let capture = lab.capture();
    a.ip("addr add 198.51.100.193/24 dev eth0");
    // One more address is no reason to speak from another one.
    capture.wait_for_advert("a", now_ns());
    let last = capture.adverts_of("a").pop().expect("waited for");
    assert_eq!(last.advert().expect("it is one").source.to_string(), a.ipv4());
    let changed_ns = now_ns();
    a.ip("addr del 192.0.2.193/24 dev eth0");
    capture.wait_for("an advertisement from the other address", changed_ns, |frame| {
        frame.interface == "a"
            && frame.advert().is_some_and(|advert| advert.source.to_string() == "198.51.100.193")
    });
    lab.settles_on(VIP, "a", 10);
    b.wait_for_router("web", "knows the other address", |router| {
        router["active_router"]["address"] == "198.51.100.193"
    });
    assert_eq!([transitions(&a), transitions(&b)], before);
}

/// The switch forwards a group of IPv6 to those who report it only, and asks who does.
fn snooping(lab: &Lab) {
    lab.switch().namespace().sysctl(&[("net/ipv6/conf/br0/disable_ipv6", "0")]);
    lab.switch()
        .namespace()
        .ip("link set br0 type bridge mcast_snooping 1 mcast_querier 1 mcast_query_response_interval 100 \
         mcast_startup_query_interval 100 mcast_query_interval 200\n");
}

fn is_member(lab: &Lab, port: &str, group: &str) -> bool {
    let members = lab.switch().namespace().run("bridge", &["mdb", "show"]);
    members.lines().any(|line| line.contains(&format!("port {port} grp {group} ")))
}

#[test]
fn links_that_flap_and_interfaces_made_anew_lose_no_membership_at_a_snooping_switch() {
    let pair = |node: &Node| web6(if node.name() == "a" { PRIMARY } else { SECONDARY }, "");
    let Some(lab) = Lab::open() else { return };
    snooping(&lab);
    let (a, b) = (lab.node("a"), lab.node("b"));
    let _daemons = (a.vrrpd(&pair(&a)), b.vrrpd(&pair(&b)));
    lab.wait_for_holder(VIP6, "a");
    let knows_a = |router: &serde_json::Value| {
        router["state"] == "backup" && router["active_router"]["address"] == a.link_local()
    };
    for round in 0..6 {
        match round % 3 {
            0 => {
                lab.switch().unplug("b");
                lab.switch().plug("b");
            }
            1 => {
                b.link_down();
                b.link_up();
            }
            _ => {
                b.delete_interface();
                b.create_interface();
            }
        }
        wait_for("b to be a member again", DEADLINE, || is_member(&lab, "b", "ff02::12").then_some(()));
        b.wait_for_router("web", "hears a again", knows_a);
        lab.settles_on(VIP6, "a", 10);
    }
    // Nobody asks any more, and what was reported is forgotten after a second: this switch, which knows
    // that nobody asks, sends the group to all.
    lab.switch().namespace().ip("link set br0 type bridge mcast_querier 0 mcast_membership_interval 100\n");
    b.link_down();
    b.link_up();
    wait_for("the switch to forget b", DEADLINE, || (!is_member(&lab, "b", "ff02::12")).then_some(()));
    b.wait_for_router("web", "hears a again", knows_a);
    lab.settles_on(VIP6, "a", 20);
}

/// Seconds until the switch forgets that a port is a member, unless it reports before.
fn remembered_for(lab: &Lab, port: &str, group: &str) -> Option<f64> {
    let members = lab.switch().namespace().run("bridge", &["-s", "mdb", "show"]);
    let line = members.lines().find(|line| line.contains(&format!("port {port} grp {group} ")))?;
    line.split_whitespace().last()?.parse().ok()
}

#[test]
fn a_backup_is_remembered_by_a_snooping_switch_whose_querier_goes_silent() {
    /// Ethernet address of b's interface.
    const OWN: Mac = Mac([2, 0, 0, 0, 0, 0xc2]);
    /// An answer to a query comes within one second.
    const UNASKED_NS: i64 = 10_000_000_000;
    let Some(lab) = Lab::open() else { return };
    snooping(&lab);
    let (a, b) = (lab.node("a"), lab.node("b"));
    let both = |priority| {
        slow(&web(priority, &web6(priority, "").replace("virtual_router.web", "virtual_router.web6")))
    };
    let capture = b.capture();
    let _daemons = (a.vrrpd(&both(PRIMARY)), b.vrrpd(&both(SECONDARY)));
    lab.wait_for_holder(VIP, "a");
    lab.wait_for_holder(VIP6, "a");
    wait_for("b to be a member", DEADLINE, || is_member(&lab, "b", "ff02::12").then_some(()));

    // The next query after the one that has been scheduled comes in an hour.
    lab.switch().namespace().ip("link set br0 type bridge mcast_query_interval 360000\n");
    let last_query = || {
        let frames = capture.frames();
        frames.iter().rfind(|frame| frame.kind == Kind::MembershipQuery).map(|frame| frame.time_ns)
    };
    let asked_ns = wait_for("the querier to fall silent", DEADLINE, || {
        last_query().filter(|&last| now_ns() > last + UNASKED_NS)
    });
    let before = remembered_for(&lab, "b", "ff02::12").expect("b is a member");
    for group in ["224.0.0.18", "ff02::12"] {
        let address: IpAddr = group.parse().expect("an address");
        let what = format!("a report of {group} that nobody asked for");
        capture.wait_within(4 * DEADLINE, &what, asked_ns + UNASKED_NS, |frame| match &frame.kind {
            Kind::MembershipReport { groups } => groups.contains(&address) && frame.source == OWN,
            _ => false,
        });
    }
    wait_for("the switch to remember b for longer", DEADLINE, || {
        remembered_for(&lab, "b", "ff02::12").filter(|&left| left > before)
    });
    assert_eq!(last_query(), Some(asked_ns));
    b.wait_for_router("web6", "is a Backup", |router| router["state"] == "backup");
    lab.settles_on(VIP6, "a", 3);
}
