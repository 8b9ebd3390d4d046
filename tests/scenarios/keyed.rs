//! Keyed advertisements: introduced without a transition, and what they keep out.

use std::os::unix::fs::PermissionsExt;

use lab::story::{PRIMARY, SECONDARY, VIP, VIP6, router, web, web6};
use lab::{DEADLINE, Lab, Node, Pair, Prober, wait_for};
use serde_json::Value;

const KEY: &str = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Puts a key where vrrpd of this node looks for it, and says so in the configuration.
fn keyed(node: &Node, key: &str, mode: &str) -> String {
    let file = node.directory().join("vrrp.key");
    let _ = std::fs::remove_file(&file);
    std::fs::write(&file, key).expect("the lab's directory is writable");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).expect("our own file");
    format!(
        "authentication = {{ type = \"hmac-sha256\", keys = {{ 1 = \"file:{}\" }}, mode = \"{mode}\" }}",
        file.display()
    )
}

fn priority(node: &Node) -> u8 {
    if node.name() == "a" { PRIMARY } else { SECONDARY }
}

fn transitions(node: &Node) -> Value {
    node.router("web").expect("the daemon answers")["statistics"]["master_transitions"].clone()
}

fn counter(node: &Node, name: &str) -> u64 {
    node.router("web").expect("the daemon answers")["statistics"][name].as_u64().expect("a count")
}

fn has_alarm(router: &Value, name: &str) -> bool {
    router["alarms"].as_array().expect("a list").iter().any(|alarm| alarm["name"] == name)
}

/// From no key to enforced, one node after the other in each step, with a client that asks all the time.
fn roll_out(vip: &str, config: fn(u8, &str) -> String) {
    let Some(lab) = Lab::open() else { return };
    let nodes = [lab.node("a"), lab.node("b")];
    let daemons = [0, 1].map(|n| nodes[n].vrrpd(&config(priority(&nodes[n]), "")));
    lab.settles_on(vip, "a", 3);
    let before = [0, 1].map(|n| transitions(&nodes[n]));
    let prober = Prober::start(lab.client(), vip);
    prober.wait_for_answer();
    for mode in ["receive-only", "permissive", "enforce"] {
        for (node, daemon) in nodes.iter().zip(&daemons) {
            node.write_vrrpd_config(&config(priority(node), &keyed(node, KEY, mode)));
            daemon.reload();
            node.wait_for_router("web", mode, |router| router["authentication"]["mode"] == mode);
            lab.settles_on(vip, "a", 5);
        }
    }
    nodes[1].wait_for_router("web", "without a complaint", |router| {
        !has_alarm(router, "authentication_mismatch") && !has_alarm(router, "clock_skew")
    });
    assert_eq!([0, 1].map(|n| transitions(&nodes[n])), before, "a step moved the role");
    assert_eq!(["digest_errors", "window_errors"].map(|name| counter(&nodes[1], name)), [0, 0]);
    drop(prober.stop());

    // And it still fails over, and back.
    let [primary, _secondary] = daemons;
    assert!(primary.terminate().success());
    lab.settles_on(vip, "b", 5);
    let _primary = nodes[0].start_vrrpd();
    lab.settles_on(vip, "a", 5);
}

#[test]
fn keys_are_introduced_in_three_steps_without_a_transition() {
    roll_out(VIP, web);
}

#[test]
fn keys_are_introduced_over_ipv6_without_a_transition() {
    roll_out(VIP6, web6);
}

#[test]
fn who_has_no_key_moves_nothing_and_no_key_is_shown() {
    let config = |node: &Node| web(priority(node), &keyed(node, KEY, "enforce"));
    let Some(Pair { lab, a, b, primary, secondary }) = Pair::with(config) else { return };
    lab.settles_on(VIP, "a", 3);
    let before = [transitions(&a), transitions(&b)];
    let forger = lab.node("forger");
    let _forged = forger.vrrpd(&router(254, &["192.0.2.250"], ""));
    forger.wait_for_state("web", "active");
    for node in [&a, &b] {
        node.wait_for_router("web", "that refuses the forger", |router| {
            router["statistics"]["digest_errors"].as_u64() > Some(30)
                && has_alarm(router, "authentication_mismatch")
        });
    }
    assert_eq!(lab.holders(VIP), ["a"]);
    assert_eq!([transitions(&a), transitions(&b)], before);

    for (node, daemon) in [(&a, &primary), (&b, &secondary)] {
        let asked = ["state --json", "why", "history", "config show", "doctor --json"];
        let mut shown: String =
            asked.map(|words| String::from_utf8_lossy(&node.vrrpctl(words).stdout).into_owned()).concat();
        shown += &daemon.log();
        assert!(shown.contains("file:"), "config show names the file");
        assert!(!shown.contains("0a0b0c0d"), "a key is in {shown}");
    }
}

#[test]
fn another_key_is_told_before_it_is_enforced_and_a_file_that_others_read_is_refused() {
    let config = |node: &Node| web(priority(node), &keyed(node, KEY, "permissive"));
    let Some(Pair { lab, a, b, primary: _primary, secondary }) = Pair::with(config) else { return };
    let other = KEY.replace("00", "ff");
    b.write_vrrpd_config(&web(SECONDARY, &keyed(&b, &other, "permissive")));
    let said = String::from_utf8_lossy(&b.vrrpctl("reload").stdout).into_owned();
    assert!(said.contains("another secret of authentication"), "{said}");
    let router = b.wait_for_router("web", "that tells of the key", |router| {
        has_alarm(router, "authentication_mismatch")
            && router["statistics"]["digest_errors"].as_u64() > Some(3)
    });
    assert_eq!(router["state"], "backup", "it is accepted all the same");
    lab.settles_on(VIP, "a", 5);

    let file = b.directory().join("vrrp.key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).expect("our own file");
    let refused = b.vrrpctl("reload");
    assert_eq!(refused.status.code(), Some(78));
    secondary.reload();
    wait_for("the refusal in the log", DEADLINE, || secondary.log().contains("(mode 0440)").then_some(()));
    lab.settles_on(VIP, "a", 3);

    let mut faulty = a.vrrpd(&web(PRIMARY, &keyed(&a, "too short", "enforce")));
    assert_eq!(faulty.wait().code(), Some(78));
}
