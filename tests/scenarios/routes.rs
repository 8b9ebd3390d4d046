//! Routes and rules that come and go with the role, and what is always there.

use lab::story::{PRIMARY, SECONDARY, VIP, slow, web};
use lab::{DEADLINE, Lab, Node, Pair, wait_for};

/// A route from the virtual address, one of IPv6, and a rule of each.
const WITH_THE_ROLE: &str = "
routes = [
    { to = \"198.51.100.0/24\", via = \"192.0.2.10\", source = \"192.0.2.201\" },
    { to = \"203.0.113.0/24\", type = \"blackhole\", table = 100 },
    { to = \"2001:db8:7::/48\", via = \"2001:db8::10\", metric = 7 },
]
rules = [
    { priority = 100, from = \"192.0.2.201\", table = 100 },
    { priority = 101, family = \"ipv6\", fwmark = \"0x10/0xff\", table = 100 },
]
";
const ROUTE: &str = "198.51.100.0/24 via 192.0.2.10 dev eth0 proto 112 src 192.0.2.201";

/// All that a daemon may have put: addresses, routes and rules.
fn dump(node: &Node) -> String {
    ["-o address", "-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule"]
        .map(|words| node.ip(words))
        .concat()
}

/// How many routes and rules carry our mark.
fn ours(node: &Node) -> usize {
    dump(node).lines().filter(|line| line.contains("proto 112")).count()
}

fn waits_for(node: &Node, count: usize) {
    wait_for("as many routes and rules", DEADLINE, || (ours(node) == count).then_some(()));
}

fn presence(router: &serde_json::Value) -> Vec<bool> {
    let list = |key: &str| router[key].as_array().cloned().unwrap_or_default();
    let all = list("routes").into_iter().chain(list("rules"));
    all.map(|way| way["present"].as_bool().expect("true or false")).collect()
}

#[test]
fn routes_and_rules_go_with_the_role_and_leave_nothing_behind() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let before = dump(&a);
    let primary = a.vrrpd(&web(PRIMARY, WITH_THE_ROLE));
    lab.wait_for_holder(VIP, "a");
    let _secondary = b.vrrpd(&web(SECONDARY, WITH_THE_ROLE));
    b.wait_for_state("web", "backup");
    waits_for(&a, 5);
    assert!(a.ip("route").contains(ROUTE), "{}", a.ip("route"));
    assert_eq!(ours(&b), 0, "{}", dump(&b));
    a.wait_for_router("web", "with all of them", |router| presence(router) == [true; 5]);
    b.wait_for_router("web", "with none of them", |router| presence(router) == [false; 5]);

    assert!(primary.terminate().success());
    assert_eq!(dump(&a), before, "as it was before");
    lab.wait_for_holder(VIP, "b");
    waits_for(&b, 5);
}

#[test]
fn what_a_third_party_takes_is_put_back_and_a_fight_is_told() {
    let Some(Pair { lab: _lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open(WITH_THE_ROLE)
    else {
        return;
    };
    waits_for(&a, 5);
    a.ip("route del 198.51.100.0/24");
    waits_for(&a, 5);
    a.ip("-6 rule del priority 101");
    waits_for(&a, 5);
    let history = String::from_utf8_lossy(&a.vrrpctl("history").stdout).into_owned();
    assert!(history.contains("somebody else removed 198.51.100.0/24 via 192.0.2.10"), "{history}");
    // A flap takes the IPv4 routes without a word.
    a.ip("link set eth0 down");
    a.link_up();
    a.wait_for_state("web", "active");
    waits_for(&a, 5);

    for _ in 0..4 {
        wait_for("the route", DEADLINE, || a.ip("route").contains(ROUTE).then_some(()));
        a.ip("route del 198.51.100.0/24");
    }
    a.wait_for_router("web", "with the fight", |router| {
        let alarms = router["alarms"].as_array().cloned().unwrap_or_default();
        alarms.iter().any(|alarm| alarm["name"] == "route_contested")
    });
    wait_for("the route all the same", DEADLINE, || a.ip("route").contains(ROUTE).then_some(()));
    assert_eq!(b.router("web").expect("b answers")["state"], "backup");
}

#[test]
fn a_strangers_route_stays_and_one_that_cannot_be_had_costs_nobody_the_role() {
    let more = "routes = [
        { to = \"198.51.100.0/24\", via = \"192.0.2.10\" },
        { to = \"203.0.113.0/24\", interface = \"eth7\" },
    ]";
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.ip("route add 198.51.100.0/24 via 192.0.2.11");
    let daemon = a.vrrpd(&web(PRIMARY, more));
    let router = a.wait_for_router("web", "with both alarms", |router| {
        let alarms = router["alarms"].as_array().cloned().unwrap_or_default();
        let has = |name: &str| alarms.iter().any(|alarm| alarm["name"] == name);
        has("route_foreign") && has("route_refused")
    });
    assert_eq!(router["state"], "active", "{router}");
    a.ip("link add eth7 type veth peer name far");
    a.ip("link set eth7 up");
    waits_for(&a, 1);
    assert!(daemon.terminate().success());
    assert!(a.ip("route").contains("198.51.100.0/24 via 192.0.2.11"), "{}", a.ip("route"));
    assert_eq!(ours(&a), 0);
}

#[test]
fn a_crash_leaves_no_routes_for_long() {
    let config =
        |node: &Node| slow(&web(if node.name() == "a" { PRIMARY } else { SECONDARY }, WITH_THE_ROLE));
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::with(config) else { return };
    waits_for(&a, 5);
    primary.kill_first();
    let primary = a.start_vrrpd();
    assert_eq!(a.wait_for_state("web", "active")["reason"], "resumed");
    waits_for(&a, 5);

    primary.kill_first();
    lab.wait_for_holder(VIP, "b");
    assert!(ours(&a) > 0, "the kernel knows no lifetime for them");
    a.write_vrrpd_config(&slow(&web(1, "")));
    let _primary = a.start_vrrpd();
    a.wait_for_state("web", "backup");
    waits_for(&a, 0);
    waits_for(&b, 5);
}

#[test]
fn what_is_static_is_always_there_and_changes_with_a_reload() {
    let fixed = |last: u8| {
        format!(
            "[static]\n\
             addresses = [{{ address = \"198.51.100.{last}/24\", interface = \"eth0\" }}]\n\
             routes = [{{ to = \"203.0.113.0/24\", via = \"198.51.100.1\" }}]\n\
             rules = [{{ priority = 100, from = \"198.51.100.{last}\", table = 100 }}]\n"
        )
    };
    let Some(Pair { lab, a, b, primary, secondary }) = Pair::open("") else { return };
    assert!(primary.terminate().success());
    lab.wait_for_holder(VIP, "b");
    let before = dump(&a);
    let daemon = a.vrrpd(&web(1, &fixed(7)));
    a.wait_for_state("web", "backup");
    wait_for("the address", DEADLINE, || a.has("198.51.100.7").then_some(()));
    waits_for(&a, 2);
    a.ip("address del 198.51.100.7/24 dev eth0");
    wait_for("the address again", DEADLINE, || a.has("198.51.100.7").then_some(()));
    // It went with the address, without a word.
    waits_for(&a, 2);

    a.write_vrrpd_config(&web(1, &fixed(8)));
    assert!(a.vrrpctl("reload").status.success());
    wait_for("the other address", DEADLINE, || a.has("198.51.100.8").then_some(()));
    assert!(!a.has("198.51.100.7"));
    wait_for("the other rule", DEADLINE, || {
        a.ip("rule").contains("from 198.51.100.8 lookup 100").then_some(())
    });
    waits_for(&a, 2);
    let state = a.state().expect("a answers");
    assert_eq!(state["static"].as_array().map(Vec::len), Some(3), "{state}");
    assert!(daemon.terminate().success());
    assert_eq!(dump(&a), before);
    drop((b, secondary));
}
