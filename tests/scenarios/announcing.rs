//! How the neighbours hear where the addresses are: one after the other, on further interfaces, and
//! when the operator says so.

use std::net::IpAddr;

use lab::story::{PRIMARY, VIP, VIP6, router, web, web6};
use lab::{DEADLINE, Frame, Kind, Lab, Pair, wait_for};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}

fn announces_any(frame: &Frame, addresses: &[String]) -> bool {
    addresses.iter().any(|address| frame.announces(ip(address)))
}

#[test]
fn announcements_of_many_addresses_keep_their_distance() {
    const COUNT: i64 = 40;
    const SPACING_NS: i64 = 5_000_000;
    let Some(lab) = Lab::open() else { return };
    let node = lab.node("a");
    let capture = lab.capture();
    let addresses: Vec<String> = (0..COUNT).map(|nth| format!("192.0.2.{}", 50 + nth)).collect();
    let list: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let garp = "garp = { count = 1, second_after = \"0s\" }\n\
                [interface.eth0]\nannouncement_spacing = \"5ms\"\n";
    let _daemon = node.vrrpd(&router(PRIMARY, &list, garp));
    let last = addresses.last().expect("there are some");
    capture.wait_for("the last address", 0, |frame| frame.announces(ip(last)));
    let announced: Vec<Frame> =
        capture.frames().into_iter().filter(|frame| announces_any(frame, &addresses)).collect();
    assert_eq!(announced.len(), addresses.len(), "each once: {announced:?}");
    let [first, .., last] = &announced[..] else { panic!("two at least") };
    let took = last.time_ns - first.time_ns;
    assert!(took > (COUNT - 2) * SPACING_NS, "{COUNT} left within {took} ns");
    let adverts = capture.adverts_of("a");
    let meanwhile = adverts.iter().filter(|frame| (first.time_ns..last.time_ns).contains(&frame.time_ns));
    assert!(meanwhile.count() >= 1, "advertisements do not wait: {adverts:?}");
}

#[test]
fn a_further_interface_says_its_own_station() {
    for (config, vip) in [(web as fn(u8, &str) -> String, VIP), (web6, VIP6)] {
        let Some(lab) = Lab::open() else { return };
        let node = lab.node("a");
        node.ip("link add eth1 address 02:00:00:00:01:c1 type veth peer name far");
        let capture = node.capture();
        let _daemon = node.vrrpd(&config(PRIMARY, "garp = { interfaces = [\"eth1\"] }"));
        node.wait_for_state("web", "active");
        node.ip("link set far up");
        node.ip("link set eth1 up");
        let announced = |on: &str| {
            let what = format!("{vip} announced on {on}");
            let seen = capture.wait_for(&what, 0, |frame| frame.interface == on && frame.announces(ip(vip)));
            match seen.kind {
                Kind::GratuitousArp { mac, .. } => mac.to_string(),
                Kind::NeighbourAdvertisement { mac, .. } => {
                    mac.map(|mac| mac.to_string()).unwrap_or_default()
                }
                other => panic!("{other:?} announces nothing"),
            }
        };
        assert_eq!(announced("eth0"), "02:00:00:00:00:c1");
        let told = node.vrrpctl("announce web");
        assert!(told.status.success(), "{told:?}");
        assert_eq!(announced("eth1"), "02:00:00:00:01:c1");
    }
}

#[test]
fn the_operator_has_the_active_node_announce_and_the_backup_refuse() {
    // One burst of one: whatever comes later was ordered.
    let quiet = "garp = { count = 1, second_after = \"0s\", refresh = \"0s\" }";
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open(quiet) else {
        return;
    };
    let capture = lab.capture();
    let announced = || capture.frames().iter().filter(|frame| frame.announces(ip(VIP))).count();
    let before = announced();
    let told = a.vrrpctl("announce web --reason new-switch --json");
    assert!(told.status.success(), "{told:?}");
    let done: serde_json::Value = serde_json::from_slice(&told.stdout).expect("one JSON object");
    assert_eq!((&done["command"], &done["virtual_router"]), (&"announce".into(), &"web".into()));
    wait_for("the announcement", DEADLINE, || (announced() > before).then_some(()));
    let history = String::from_utf8(a.vrrpctl("history web").stdout).expect("text");
    assert!(history.contains("asked: announce web"), "{history}");
    assert!(history.contains("(reason: new-switch)"), "the reason is kept: {history}");

    let refused = b.vrrpctl("announce web");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).expect("text");
    assert!(said.contains("not Active here"), "{said}");
    assert_eq!(b.vrrpctl("announce nobody").status.code(), Some(64));
}
