//! Who holds the address when nodes start, die, lose their cable, stop and come back.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};

use lab::story::{DOWN_NS, INTERVAL_NS, PRIMARY, SECONDARY, SKEW_NS, VIP, VIP6, router, slow, web, web6};
use lab::{DEADLINE, Frame, Kind, Lab, Pair, Prober, frame, now_ns};

fn gap_ns(prober: Prober) -> i64 {
    i64::try_from(prober.stop().longest_wait().as_nanos()).expect("a test does not last 292 years")
}

#[test]
fn of_three_nodes_the_highest_priority_holds_the_address() {
    let Some(lab) = Lab::open() else { return };
    let nodes = ["a", "b", "c"].map(|name| lab.node(name));
    let _daemons = [(0, 100), (1, 200), (2, 150)].map(|(n, priority)| nodes[n].vrrpd(&web(priority, "")));
    lab.settles_on(VIP, "b", 10);

    let active = nodes[1].wait_for_state("web", "active");
    assert_eq!(active["active_router"]["this_node"], true);
    assert_eq!(active["addresses"][0]["address"], format!("{VIP}/32"));
    assert_eq!(active["addresses"][0]["present"], true);
    assert!(nodes[1].vrrpctl("state").status.success(), "a healthy router is exit code 0");
    for backup in [&nodes[0], &nodes[2]] {
        let state = backup.wait_for_router("web", "knows the Active Router", |router| {
            router["active_router"]["address"] == nodes[1].ipv4()
        });
        assert_eq!(state["state"], "backup");
        assert_eq!(state["active_router"]["priority"], 200);
        assert_eq!(state["addresses"][0]["present"], false);
    }
}

#[test]
fn a_machine_that_loses_power_is_replaced_and_takes_over_again_when_it_returns() {
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let capture = lab.capture();
    capture.wait_for_advert("a", 0);
    let crash_ns = now_ns();
    lab.power_off(&a, primary);
    let first = capture.wait_for_advert("b", crash_ns);
    let last_ns = capture.adverts_of("a").last().expect("waited for").time_ns;
    let silence = first.time_ns - last_ns;
    assert!(silence >= DOWN_NS, "b claimed before the protocol allows: {silence} ns");
    assert!(silence < 2 * DOWN_NS, "b missed its time: {silence} ns");
    capture.wait_for("b's announcement", crash_ns, |frame| {
        frame.interface == "b" && frame.announces(VIP.parse().expect("valid"))
    });
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    assert_eq!(lab.client().neighbour(VIP).as_deref(), Some("02:00:00:00:00:c2"));

    a.power_on();
    let _primary = a.start_vrrpd();
    lab.settles_on(VIP, "a", 10);
    prober.wait_for_answer();
    let gap = gap_ns(prober);
    assert!(gap < INTERVAL_NS, "the client noticed the return: {gap} ns");
}

#[test]
fn a_pulled_cable_moves_the_address_and_putting_it_back_returns_it() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = Pair::open("") else {
        return;
    };
    lab.switch().unplug("a");
    lab.settles_on(VIP, "b", 5);
    let state = a.wait_for_state("web", "initialize");
    assert!(state["reason"].is_string(), "a node out of service says why: {state}");
    lab.switch().plug("a");
    lab.settles_on(VIP, "a", 10);
}

#[test]
fn an_interface_taken_down_moves_the_address_and_its_return_brings_it_back() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = Pair::open("") else {
        return;
    };
    a.link_down();
    lab.settles_on(VIP, "b", 5);
    a.wait_for_state("web", "initialize");
    a.link_up();
    lab.settles_on(VIP, "a", 10);
}

#[test]
fn a_graceful_stop_hands_over_before_the_client_notices() {
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let capture = lab.capture();
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    let status = primary.terminate();
    assert!(status.success(), "{status}");
    assert!(!a.has(VIP), "a stopped daemon leaves no address");
    lab.settles_on(VIP, "b", 5);
    prober.wait_for_answer();

    let farewell = capture.wait_for_farewell("a");
    let mut after = capture.adverts_of("a").into_iter().filter(|frame| frame.time_ns > farewell.time_ns);
    assert!(after.all(|frame| frame.resigns()), "a spoke after it left");
    let claimed = capture.wait_for_advert("b", farewell.time_ns).time_ns - farewell.time_ns;
    assert!((SKEW_NS..DOWN_NS).contains(&claimed), "b waited {claimed} ns instead of its skew");
    let gap = gap_ns(prober);
    assert!(gap < SKEW_NS, "the client waited {gap} ns, as if nobody had answered during the skew");
}

/// How long `a` answers, after `b` has announced, a client that never learns of it: for stops in turn,
/// with and without `b`'s announcements getting through to `a`.
fn answers_after_announcement(
    vip: &str,
    config: fn(u8, &str) -> String,
    announcements: &str,
) -> Option<[i64; 2]> {
    const ROUNDS: usize = 3;
    let address = vip.parse().expect("an IP address");
    let lab = Lab::open()?;
    let (a, b) = (lab.node("a"), lab.node("b"));
    let (mut primary, _secondary) = (a.vrrpd(&config(PRIMARY, "")), b.vrrpd(&config(SECONDARY, "")));
    lab.wait_for_holder(vip, "a");
    lab.client().ip(&format!("neigh replace {vip} lladdr 02:00:00:00:00:c1 dev eth0 nud permanent"));
    let mut shortest = [i64::MAX; 2];
    for round in 0..2 * ROUNDS {
        let deaf = round % 2;
        if deaf == 1 {
            let rule =
                format!("add rule bridge lab forward iifname b oifname a {announcements} counter drop");
            lab.switch().namespace().nft(&rule);
        }
        let capture = lab.capture();
        let prober = Prober::start(lab.client(), vip);
        prober.wait_for_answer();
        assert!(primary.terminate().success());
        let announced = capture
            .wait_for("b's announcement", 0, |frame| frame.interface == "b" && frame.announces(address));
        let answered = prober.stop().0.iter().filter_map(|probe| probe.answered_ns).max();
        let answered = answered.expect("waited for");
        shortest[deaf] = shortest[deaf].min(answered - announced.time_ns);
        lab.switch().heal();
        primary = a.start_vrrpd();
        lab.wait_for_holder(vip, "a");
    }
    Some(shortest)
}

#[test]
fn who_leaves_answers_until_it_hears_the_successor_announce_the_address() {
    let Some([heard, unheard]) = answers_after_announcement(VIP, web, "ether type arp") else { return };
    assert!(heard < unheard / 2, "a went on answering for {heard} ns, {unheard} ns when it heard nothing");
}

#[test]
fn who_leaves_answers_until_it_hears_the_neighbour_advertisements_of_the_successor() {
    let advertisements = "icmpv6 type nd-neighbor-advert";
    let Some([heard, unheard]) = answers_after_announcement(VIP6, web6, advertisements) else { return };
    assert!(heard < unheard / 2, "a went on answering for {heard} ns, {unheard} ns when it heard nothing");
}

#[test]
fn a_client_that_only_receives_learns_of_a_handover_at_once() {
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let listen = || TcpListener::bind("0.0.0.0:8081").expect("nobody else in this namespace");
    let listener = a.namespace().enter(listen);
    let connect = || TcpStream::connect((VIP, 8081)).expect("a holds the address");
    let mut client = lab.client().namespace().enter(connect);
    let (_server, _) = listener.accept().expect("a connection waits");
    assert!(primary.terminate().success());
    client.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let error = client.read(&mut [0]).expect_err("the address is gone");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

#[test]
fn without_preemption_the_returned_primary_waits() {
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::open("preempt_mode = false")
    else {
        return;
    };
    assert!(primary.terminate().success());
    lab.settles_on(VIP, "b", 5);
    let _primary = a.start_vrrpd();
    a.wait_for_router("web", "hears b", |router| router["active_router"]["priority"] == SECONDARY);
    // Several times the time after which a would have preempted.
    lab.settles_on(VIP, "b", 20);
    assert_eq!(a.router("web").expect("a answers")["state"], "backup");
}

#[test]
fn a_preempt_delay_holds_the_returned_primary_back_for_a_while() {
    let delay_ns = 10 * INTERVAL_NS;
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::open("preempt_delay = \"1s\"")
    else {
        return;
    };
    assert!(primary.terminate().success());
    lab.settles_on(VIP, "b", 5);
    let capture = lab.capture();
    let started_ns = now_ns();
    let _primary = a.start_vrrpd();
    let waited = capture.wait_for_advert("a", started_ns).time_ns - started_ns;
    assert!(waited >= delay_ns, "a came back after {waited} ns");
    lab.settles_on(VIP, "a", 10);
}

#[test]
fn two_nodes_that_cannot_hear_each_other_agree_again_when_they_can() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    lab.switch().cut("a", "b");
    b.wait_for_state("web", "active");
    assert_eq!(a.router("web").expect("a answers")["state"], "active");
    lab.switch().heal();
    lab.settles_on(VIP, "a", 10);
    // The client may have learned b meanwhile; a has to tell it.
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    assert_eq!(lab.client().neighbour(VIP).as_deref(), Some("02:00:00:00:00:c1"));
}

#[test]
fn a_firewall_between_two_nodes_shows_as_an_address_conflict() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    assert!(a.vrrpctl("state").status.success());
    lab.switch().namespace().nft("add rule bridge lab forward ip protocol 112 counter drop");
    b.wait_for_state("web", "active");
    let conflict = |router: &serde_json::Value| {
        let alarms = router["alarms"].as_array().expect("a list");
        alarms.iter().any(|alarm| alarm["name"] == "address_conflict")
    };
    let router = a.wait_for_router("web", "that tells of b", conflict);
    assert_eq!(router["state"], "active", "an announcement takes nobody's role");
    let message = router["alarms"][0]["message"].as_str().expect("a text");
    assert!(message.contains("02:00:00:00:00:c2") && message.contains(VIP), "{message}");
    assert_eq!(a.vrrpctl("state").status.code(), Some(1));
    lab.switch().heal();
    lab.settles_on(VIP, "a", 10);
}

#[test]
fn a_backup_that_does_not_hear_a_living_node_knows_that_it_answers() {
    for on_conflict in ["claim", "hold"] {
        let more = format!("on_conflict = \"{on_conflict}\"");
        let Some(Pair { lab, a: _a, b, primary: _primary, secondary: _secondary }) = Pair::open(&more) else {
            return;
        };
        b.wait_for_router("web", "hears a", |router| router["active_router"]["priority"] == PRIMARY);
        lab.switch().namespace().nft("add rule bridge lab forward ip protocol 112 counter drop");
        let answered = |router: &serde_json::Value| router["statistics"]["claims_answered"] == 1;
        b.wait_for_router("web", "that was answered", answered);
        b.wait_for_state("web", "active");
        let said = String::from_utf8(b.vrrpctl("history web").stdout).expect("text");
        let at = |what: &str| said.find(what).unwrap_or_else(|| panic!("no {what}: {said}"));
        let (alarm, claim) = (at("alarm living_holder: 02:00:00:00:00:c1"), at("BACKUP -> ACTIVE"));
        assert_eq!(alarm < claim, on_conflict == "hold", "{said}");
    }
}

#[test]
fn of_two_equal_nodes_that_both_hold_the_higher_address_keeps_it() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    lab.switch().cut("a", "b");
    let _daemons = [a.vrrpd(&web(150, "")), b.vrrpd(&web(150, ""))];
    a.wait_for_state("web", "active");
    b.wait_for_state("web", "active");
    lab.switch().heal();
    lab.settles_on(VIP, "b", 10);
    assert_eq!(a.router("web").expect("a answers")["state"], "backup");
}

#[test]
fn a_node_that_is_heard_but_does_not_hear_lets_go_when_it_hears_again() {
    let Some(Pair { lab, a: _a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else {
        return;
    };
    lab.switch().cut_one_way("a", "b");
    b.wait_for_state("web", "active");
    lab.switch().heal();
    lab.settles_on(VIP, "a", 10);
    assert_eq!(b.router("web").expect("b answers")["state"], "backup");
}

#[test]
fn unicast_peers_elect_without_a_word_to_the_group() {
    let peers = |node: &lab::Node| {
        let (own, other, priority) =
            if node.name() == "a" { (193, 194, PRIMARY) } else { (194, 193, SECONDARY) };
        web(priority, &format!("source_address = \"192.0.2.{own}\"\npeers = [\"192.0.2.{other}\"]"))
    };
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::with(peers) else { return };
    let capture = lab.capture();
    lab.settles_on(VIP, "a", 10);
    lab.power_off(&a, primary);
    lab.settles_on(VIP, "b", 5);
    a.power_on();
    let primary = a.start_vrrpd();
    lab.settles_on(VIP, "a", 5);
    assert!(primary.terminate().success());
    lab.settles_on(VIP, "b", 5);

    let frames = capture.frames();
    let adverts: Vec<_> = frames.iter().filter_map(Frame::advert).collect();
    assert!(adverts.len() >= 25);
    for advert in adverts {
        assert!(!frame::is_vrrp_group(advert.destination), "{advert:?}");
        assert_eq!(advert.ttl, 255);
    }
}

#[test]
fn the_only_peer_of_a_unicast_router_claims_at_once_where_multicast_waits_for_its_turn() {
    const UNICAST_VIP: &str = "192.0.2.202";
    // Both kinds in one daemon, left by one stop: the machine's mood is the same for both.
    let both = |node: &lab::Node| {
        let (priority, other) = if node.name() == "a" { (PRIMARY, 194) } else { (SECONDARY, 193) };
        let multicast = web(priority, "");
        let unicast = format!("peers = [\"192.0.2.{other}\"]");
        let unicast = router(priority, &[UNICAST_VIP], &unicast).replace(".web]", ".direct]");
        slow(&(multicast + &unicast.replace("vrid = 201", "vrid = 202")))
    };
    let Some(Pair { lab, a: _a, b, primary, secondary: _secondary }) = Pair::with(both) else { return };
    lab.wait_for_holder(UNICAST_VIP, "a");
    for name in ["web", "direct"] {
        b.wait_for_router(name, "hears a", |router| router["active_router"]["priority"] == PRIMARY);
    }
    let capture = lab.capture();
    assert!(primary.terminate().success());
    let wait_of = |group: bool| {
        let of_kind = |f: &Frame| f.advert().is_some_and(|a| frame::is_vrrp_group(a.destination) == group);
        let farewell = capture
            .wait_for("a's farewell", 0, |frame| frame.interface == "a" && of_kind(frame) && frame.resigns());
        let claim = |frame: &Frame| frame.interface == "b" && of_kind(frame);
        capture.wait_for("b's claim", farewell.time_ns, claim).time_ns - farewell.time_ns
    };
    let (multicast, unicast) = (wait_of(true), wait_of(false));
    assert!(multicast >= 10 * SKEW_NS, "b claimed within its skew: {multicast} ns");
    assert!(unicast < multicast / 2, "nobody else could claim, and b waited {unicast} of {multicast} ns");
    lab.settles_on(UNICAST_VIP, "b", 3);
}

#[test]
fn ipv6_is_elected_announced_and_handed_over_like_ipv4() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let capture = lab.capture();
    let primary = a.vrrpd(&web6(PRIMARY, ""));
    let _secondary = b.vrrpd(&web6(SECONDARY, ""));
    lab.settles_on(VIP6, "a", 10);
    for frame in capture.adverts_of("a") {
        let advert = frame.advert().expect("adverts_of gives advertisements");
        assert_eq!(advert.source.to_string(), a.link_local());
        assert!(frame::is_vrrp_group(advert.destination) && advert.ttl == 255, "{advert:?}");
    }
    let announced = capture.wait_for("a's announcement", 0, |f| f.announces(VIP6.parse().expect("valid")));
    let Kind::NeighbourAdvertisement { overrides, mac, .. } = announced.kind else { panic!("{announced:?}") };
    assert!(overrides && mac == Some(announced.source));

    let prober = Prober::start(lab.client(), VIP6);
    prober.wait_for_answer();
    assert!(primary.terminate().success());
    lab.settles_on(VIP6, "b", 5);
    prober.wait_for_answer();
    let primary = a.start_vrrpd();
    lab.settles_on(VIP6, "a", 5);
    prober.wait_for_answer();
    let gap = gap_ns(prober);
    assert!(gap < INTERVAL_NS, "the client noticed a planned move: {gap} ns");
    lab.power_off(&a, primary);
    lab.settles_on(VIP6, "b", 5);
}
