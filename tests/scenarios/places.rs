//! What moves beside the plain addresses, and where and how it is put.

use lab::story::{PRIMARY, SECONDARY, VIP, router, web};
use lab::{DEADLINE, Node, Pair, now_ns, wait_for};

/// Move along with [`VIP`].
const EXTRA: &str = "192.0.2.211";
const EXTRA6: &str = "2001:db8::211";

fn extra() -> String {
    format!("extra_addresses = [\"{EXTRA}\", \"{EXTRA6}/128\"]")
}

/// A second interface, which nothing but the test is connected to.
fn second_interface(node: &Node) {
    node.namespace().ip("link add eth1 type veth peer name far\nlink set eth1 addrgenmode none\nlink set far up\nlink set eth1 up");
}

/// What a clean daemon leaves as it found it.
fn addresses(node: &Node) -> String {
    node.ip("-o address show")
}

fn has(node: &Node, addresses: &[&str]) {
    for address in addresses {
        wait_for("the address", DEADLINE, || node.has(address).then_some(()));
    }
}

#[test]
fn extra_addresses_move_along_are_announced_and_not_advertised() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::open(&extra()) else { return };
    has(&a, &[VIP, EXTRA, EXTRA6]);
    assert!(![VIP, EXTRA, EXTRA6].iter().any(|address| b.has(address)), "{}", b.ip("address show"));

    let capture = lab.capture();
    let terminated_ns = now_ns();
    assert!(primary.terminate().success());
    for address in [VIP, EXTRA, EXTRA6] {
        lab.wait_for_holder(address, "b");
        let announced = address.parse().expect("an address");
        capture.wait_for("an announcement", terminated_ns, |frame| {
            frame.interface == "b" && frame.announces(announced)
        });
    }
    let advert = capture.wait_for_advert("b", terminated_ns);
    assert_eq!(advert.advert().expect("one").addresses, [VIP.parse::<std::net::IpAddr>().expect("valid")]);
    assert_eq!(lab.answerers(EXTRA), ["b"]);

    b.ip(&format!("address del {EXTRA6}/128 dev eth0"));
    has(&b, &[EXTRA6]);
    let state = b.wait_for_router("web", "with all of them", |router| {
        let extra = router["extra_addresses"].as_array().expect("a list");
        extra.len() == 2 && extra.iter().all(|address| address["present"] == true)
    });
    assert_eq!(state["addresses"].as_array().map(Vec::len), Some(1), "{state}");
    assert!(String::from_utf8_lossy(&b.vrrpctl("history").stdout).contains("somebody else removed"));
}

#[test]
fn an_extra_address_that_cannot_be_had_costs_nobody_the_role() {
    let nowhere = format!("extra_addresses = [{{ address = \"{EXTRA}\", interface = \"eth1\" }}]");
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open(&nowhere) else {
        return;
    };
    let refused = a.wait_for_router("web", "with the refusal", |router| {
        router["alarms"]
            .as_array()
            .is_some_and(|alarms| alarms.iter().any(|it| it["name"] == "address_refused"))
    });
    assert_eq!(
        (&refused["state"], &refused["extra_addresses"][0]["present"]),
        (&"active".into(), &false.into())
    );
    assert_eq!(a.vrrpctl("state").status.code(), Some(1), "degraded, no more");
    lab.settles_on(VIP, "a", 10);
    assert_eq!(b.router("web").expect("b answers")["statistics"]["master_transitions"], 0);
    second_interface(&a);
    wait_for("the address", DEADLINE, || a.ip("address show dev eth1").contains(EXTRA).then_some(()));
}

#[test]
fn an_address_is_put_where_and_how_the_file_says_and_changes_with_it() {
    let config = |node: &Node, label: &str, preferred: &str| {
        let priority = if node.name() == "a" { PRIMARY } else { SECONDARY };
        let more = format!(
            "extra_addresses = [\n\
             {{ address = \"198.51.100.211/24\", interface = \"eth1\", label = \"{label}\", scope = \"link\" }},\n\
             {{ address = \"{EXTRA6}/64\", interface = \"eth1\", preferred_lifetime = \"{preferred}\", no_prefix_route = true }},\n]"
        );
        router(priority, &[VIP], &more)
    };
    let Some(lab) = lab::Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    second_interface(&a);
    second_interface(&b);
    let before = addresses(&a);
    let capture = a.capture();
    let primary = a.vrrpd(&config(&a, "eth1:vip", "0s"));
    lab.wait_for_holder("198.51.100.211", "a");
    for address in ["198.51.100.211", EXTRA6] {
        let announced = address.parse().expect("an address");
        capture.wait_for("an announcement there", 0, |frame| {
            frame.interface == "eth1" && frame.announces(announced)
        });
    }
    let shown = a.ip("address show dev eth1");
    assert!(shown.contains("198.51.100.211/24 scope link dynamic eth1:vip"), "{shown}");
    assert!(shown.contains(&format!("{EXTRA6}/64 scope global nodad deprecated")), "{shown}");
    let routes = a.ip("-6 route show dev eth1");
    assert!(!routes.contains("2001:db8::/64"), "{routes}");

    a.write_vrrpd_config(&config(&a, "eth1:web", "forever"));
    assert!(a.vrrpctl("reload").status.success());
    wait_for("the new label", DEADLINE, || a.ip("address show dev eth1").contains("eth1:web").then_some(()));
    wait_for("the new lifetime", DEADLINE, || {
        (!a.ip("address show dev eth1").contains("deprecated")).then_some(())
    });
    let router = a.router("web").expect("a answers");
    assert_eq!(router["statistics"]["addresses_put_back"], 0, "nothing was lost");

    let _secondary = b.vrrpd(&config(&b, "eth1:vip", "0s"));
    b.wait_for_state("web", "backup");
    assert!(primary.terminate().success());
    lab.wait_for_holder("198.51.100.211", "b");
    assert_eq!(addresses(&a), before, "nothing is left behind");
}

#[test]
fn extra_addresses_are_there_again_after_a_crash() {
    let slow = |node: &Node| {
        let priority = if node.name() == "a" { PRIMARY } else { SECONDARY };
        lab::story::slow(&web(priority, &extra()))
    };
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::with(slow) else { return };
    has(&a, &[EXTRA, EXTRA6]);
    primary.kill_first();
    let _primary = a.start_vrrpd();
    let router = a.wait_for_state("web", "active");
    assert_eq!(router["reason"], "resumed");
    for address in [VIP, EXTRA, EXTRA6] {
        lab.wait_for_holder(address, "a");
    }
    assert_eq!(b.router("web").expect("b answers")["statistics"]["master_transitions"], 0);
}
