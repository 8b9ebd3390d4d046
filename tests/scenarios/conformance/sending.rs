//! What leaves a node: headers, senders, order.

use std::net::Ipv6Addr;

use lab::story::{PRIMARY, SECONDARY, VIP, VIP6, VIP6_LINK_LOCAL, router, web, web6};
use lab::{Capture, Frame, Lab, Pair, Prober, now_ns};
use serde_json::Value;

/// Octets of the Ethernet header.
const ETHERNET: usize = 14;
/// One announcement of each address, and no more.
const ANNOUNCED_ONCE: &str = "garp = { count = 1, second_after = \"0s\", refresh = \"0s\" }";

/// Every advertisement of a life: the claim, what follows, the resignation.
fn advertisements_of_a_life(config: &str, prepare: &str) -> Option<Vec<Frame>> {
    let lab = Lab::open()?;
    let a = lab.node("a");
    a.namespace().ip(prepare);
    let capture = lab.capture();
    let daemon = a.vrrpd(config);
    for _ in 0..3 {
        capture.wait_for_advert("a", now_ns());
    }
    assert!(daemon.terminate().success());
    capture.wait_for_farewell("a");
    Some(capture.adverts_of("a"))
}

#[test]
fn an_advertisement_over_ipv4_has_the_headers_of_the_standard() {
    let others = "addr add 198.51.100.7/24 dev eth0\naddr add 192.0.2.77/24 dev eth0\n";
    let Some(frames) = advertisements_of_a_life(&web(PRIMARY, ""), others) else { return };
    for frame in frames {
        assert_eq!(frame.destination().to_string(), "01:00:5e:00:00:12");
        assert_eq!(frame.source.to_string(), "02:00:00:00:00:c1");
        let header = &frame.octets[ETHERNET..ETHERNET + 20];
        assert_eq!(header[..2], [0x45, 0xc0], "no options, network control");
        assert_eq!(header[6..8], [0x40, 0x00], "whole, and never to be cut");
        assert_eq!(header[8..10], [255, 112], "TTL and protocol");
        assert_eq!(header[12..16], [192, 0, 2, 193], "the primary address, of three and the virtual one");
        assert_eq!(header[16..20], [224, 0, 0, 18]);
    }
}

fn octets_of(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().expect("an address").octets()
}

#[test]
fn an_advertisement_over_ipv6_has_the_headers_of_the_standard() {
    let Some(frames) = advertisements_of_a_life(&web6(PRIMARY, ""), "") else { return };
    for frame in frames {
        assert_eq!(frame.destination().to_string(), "33:33:00:00:00:12");
        let header = &frame.octets[ETHERNET..ETHERNET + 40];
        assert_eq!(header[..2], [0x6c, 0x00], "network control");
        assert_eq!(header[6..8], [112, 255], "next header and Hop Limit");
        assert_eq!(header[8..24], octets_of("fe80::ff:fe00:c1"), "the link-local address of the interface");
        assert_eq!(header[24..], octets_of("ff02::12"));
    }
}

fn counter(router: &Value, name: &str) -> u64 {
    router["statistics"][name].as_u64().unwrap_or_else(|| panic!("{name} is a counter: {router}"))
}

#[test]
fn only_the_active_router_speaks_and_it_does_not_hear_itself() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    lab.settles_on(VIP, "a", 20);
    let (active, backup) = (a.router("web").expect("a answers"), b.router("web").expect("b answers"));
    assert!(counter(&active, "advertisement_sent") >= 20);
    assert_eq!((counter(&active, "advertisement_rcvd"), counter(&active, "source_errors")), (0, 0));
    assert!(counter(&backup, "advertisement_rcvd") >= 20);
    assert_eq!(counter(&backup, "advertisement_sent"), 0);
}

#[test]
fn of_two_virtual_routers_with_one_vrid_each_family_moves_alone() {
    let both = |node: &lab::Node| {
        let priority = if node.name() == "a" { PRIMARY } else { SECONDARY };
        web(priority, "") + &web6(priority, "").replace(".web]", ".six]")
    };
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::with(both) else { return };
    lab.wait_for_holder(VIP6, "a");
    let link_local = format!("-6 addr {{}} {}/64 dev eth0 nodad", a.link_local());
    a.ip(&link_local.replace("{}", "del"));
    let gone = a.wait_for_state("six", "initialize");
    assert_eq!(gone["reason"], "no_primary_ip_address");
    let capture = lab.capture();
    lab.wait_for_holder(VIP6, "b");
    for _ in 0..5 {
        capture.wait_for_advert("a", now_ns());
    }
    assert_eq!(lab.holders(VIP), ["a"]);
    let six = |frame: &Frame| frame.advert().is_some_and(|advert| advert.source.is_ipv6());
    assert!(!capture.adverts_of("a").iter().any(six), "a has no address to speak from");
    assert!(capture.adverts_of("b").iter().all(six), "b has no reason to speak");
    assert_eq!(counter(&a.router("web").expect("a answers"), "master_transitions"), 1);
    assert_eq!(b.router("web").expect("b answers")["state"], "backup");
    a.ip(&link_local.replace("{}", "add"));
    lab.wait_for_holder(VIP6, "a");
}

#[test]
fn a_new_primary_address_is_in_the_next_advertisement() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    a.namespace().sysctl(&[("net/ipv4/conf/eth0/promote_secondaries", "1")]);
    a.ip("addr add 192.0.2.77/24 dev eth0");
    let capture = lab.capture();
    capture.wait_for_advert("a", 0);
    a.ip("addr del 192.0.2.193/24 dev eth0");
    let source = |frame: &Frame| frame.advert().map(|advert| advert.source.to_string());
    capture.wait_for("an advertisement from the new address", 0, |frame| {
        frame.interface == "a" && source(frame).as_deref() == Some("192.0.2.77")
    });
    lab.settles_on(VIP, "a", 5);
    let sources: Vec<_> = capture.adverts_of("a").iter().filter_map(source).collect();
    let changed = sources.iter().position(|source| source == "192.0.2.77").expect("waited for");
    assert!(sources[..changed].iter().all(|source| source == "192.0.2.193"), "{sources:?}");
    assert!(sources[changed..].iter().all(|source| source == "192.0.2.77"), "{sources:?}");
    assert!(!capture.frames().iter().any(Frame::resigns));
    assert_eq!(counter(&a.router("web").expect("a answers"), "master_transitions"), 1);
    assert_eq!(counter(&b.router("web").expect("b answers"), "master_transitions"), 0);
}

/// The first advertisement, and after it nothing but one announcement of each address.
fn announced_after_the_first_advertisement(capture: &Capture, addresses: &[&str]) {
    for address in addresses {
        let address = address.parse().expect("an address");
        capture.wait_for("an announcement", 0, |frame| frame.announces(address));
    }
    let frames = capture.frames();
    let first = frames.iter().position(|frame| frame.advert().is_some()).expect("a advertises");
    for address in addresses {
        let address = address.parse().expect("an address");
        let announced = frames.iter().position(|frame| frame.announces(address));
        assert!(announced > Some(first), "{address} was announced before the advertisement");
    }
}

#[test]
fn who_takes_over_advertises_and_then_announces_each_ipv4_address() {
    let Some(lab) = Lab::open() else { return };
    let addresses = [VIP, "192.0.2.202", "192.0.2.203"];
    let capture = lab.capture();
    let a = lab.node("a");
    let _daemon = a.vrrpd(&router(PRIMARY, &addresses, ANNOUNCED_ONCE));
    announced_after_the_first_advertisement(&capture, &addresses);
    lab.settles_on(VIP, "a", 5);
    let frames = capture.frames();
    for address in addresses {
        let address = address.parse().expect("an address");
        let count = frames.iter().filter(|frame| frame.announces(address)).count();
        assert_eq!(count, 1, "{address}");
    }
    let announced = frames.iter().find(|frame| frame.announces(VIP.parse().expect("an address")));
    let announced = announced.expect("waited for");
    assert_eq!(announced.destination().to_string(), "ff:ff:ff:ff:ff:ff");
}

#[test]
fn who_takes_over_advertises_and_then_announces_each_ipv6_address() {
    let Some(lab) = Lab::open() else { return };
    let addresses = [VIP6_LINK_LOCAL, VIP6, "2001:db8::202"];
    let capture = lab.capture();
    let a = lab.node("a");
    let _daemon = a.vrrpd(&router(PRIMARY, &addresses, ANNOUNCED_ONCE));
    announced_after_the_first_advertisement(&capture, &addresses);
    // As a router, though this node forwards nothing, and overriding what was known.
    let announced = capture.wait_for("an announcement", 0, |frame| frame.announces(octets_of(VIP6).into()));
    let (header, message) = announced.octets[ETHERNET..].split_at(40);
    assert_eq!(announced.destination().to_string(), "33:33:00:00:00:01");
    assert_eq!((header[7], &header[8..24]), (255, &octets_of(VIP6)[..]), "Hop Limit, source");
    assert_eq!(header[24..], octets_of("ff02::1"));
    assert_eq!((message[0], message[4]), (136, 0xa0), "neighbour advertisement, flags R and O");
}

#[test]
fn an_owner_advertises_announces_and_answers_and_keeps_its_address() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.ip(&format!("addr add {VIP}/24 dev eth0"));
    let capture = lab.capture();
    let daemon = a.vrrpd(&web(255, ANNOUNCED_ONCE));
    announced_after_the_first_advertisement(&capture, &[VIP]);
    let first = capture.adverts_of("a").remove(0);
    let advert = first.advert().expect("adverts_of gives advertisements");
    assert_eq!((advert.priority, advert.source.to_string()), (255, a.ipv4()));
    Prober::start(lab.client(), VIP).wait_for_answer();
    assert!(daemon.terminate().success());
    assert!(a.has(VIP), "it is the administrator's");
}

#[test]
fn what_does_not_fit_the_link_is_told_and_not_cut() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let addresses: Vec<String> = (1..=78).map(|host| format!("fe80::201:{host:x}")).collect();
    let config = |count: usize| {
        router(PRIMARY, &addresses[..count].iter().map(String::as_str).collect::<Vec<_>>(), "")
    };
    a.ip("link set eth0 mtu 1280");
    let capture = lab.capture();
    let daemon = a.vrrpd(&config(78));
    let failing = |router: &Value| {
        let alarms = router["alarms"].as_array().expect("a list");
        alarms.iter().any(|alarm| alarm["name"] == "cannot_send")
    };
    let router = a.wait_for_router("web", "that cannot send", failing);
    let told = router["alarms"].to_string();
    assert!(told.contains("EMSGSIZE"), "{told}");
    assert!(capture.adverts_of("a").is_empty());

    a.write_vrrpd_config(&config(77));
    daemon.reload();
    let largest = capture.wait_for_advert("a", 0);
    assert_eq!(largest.octets.len(), ETHERNET + 40 + 8 + 77 * 16);
}
