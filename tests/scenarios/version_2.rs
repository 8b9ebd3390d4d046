//! VRRPv2, for old peers: what two nodes do that cannot hear each other, and that they say so.

use lab::story::{PRIMARY, SECONDARY, VIP, web};
use lab::{DEADLINE, Lab, Node, wait_for};
use serde_json::Value;

/// Of version 2, with so many seconds between advertisements.
fn old(priority: u8, seconds: u8, more: &str) -> String {
    web(priority, &format!("version = 2\n{more}")).replace("\"100ms\"", &format!("\"{seconds}s\""))
}

fn alarm(router: &Value, name: &str) -> Option<Value> {
    router["alarms"].as_array()?.iter().find(|alarm| alarm["name"] == name).cloned()
}

/// Waits until the node has an alarm, which is critical, and returns what it says.
fn critical(node: &Node, name: &str) -> String {
    let router = node.wait_for_router("web", name, |router| alarm(router, name).is_some());
    let alarm = alarm(&router, name).expect("waited for");
    assert_eq!(alarm["level"], "critical", "{alarm}");
    assert_eq!(node.vrrpctl("state").status.code(), Some(2));
    alarm["message"].as_str().expect("words").to_owned()
}

#[test]
fn another_interval_makes_two_active_routers_which_both_say_so_until_it_is_the_same() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let primary = a.vrrpd(&old(PRIMARY, 1, ""));
    let secondary = b.vrrpd(&old(SECONDARY, 2, ""));
    for (node, daemon, said) in [
        (&a, &primary, "192.0.2.194 advertises every 2s, this node every 1s"),
        (&b, &secondary, "192.0.2.193 advertises every 1s, this node every 2s"),
    ] {
        assert_eq!(node.wait_for_state("web", "active")["vrrp_version"], 2);
        let message = critical(node, "interval_mismatch");
        assert!(message.starts_with(said), "{message}");
        let why = String::from_utf8_lossy(&node.vrrpctl("why").stdout).into_owned();
        assert!(why.contains(said) && why.contains("the same advertisement_interval on both nodes"), "{why}");
        wait_for("the conflict in the log", DEADLINE, || daemon.log().contains(said).then_some(()));
    }
    b.write_vrrpd_config(&old(SECONDARY, 1, ""));
    secondary.reload();
    lab.settles_on(VIP, "a", 3);
    b.wait_for_router("web", "without a conflict", |router| alarm(router, "interval_mismatch").is_none());
}

#[test]
fn a_peer_behind_an_authentication_header_is_told_of() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let _primary = a.vrrpd(&old(PRIMARY, 1, ""));
    let _secondary = b.keepalived(&format!(
        "vrrp_instance web {{
           version 2
           interface eth0
           virtual_router_id 201
           priority {SECONDARY}
           advert_int 1
           authentication {{
             auth_type AH
             auth_pass s3cr3t
           }}
           virtual_ipaddress {{ {VIP} }}
         }}"
    ));
    let message = critical(&a, "authentication_mismatch");
    assert!(message.contains("192.0.2.194 has authentication header (AH)"), "{message}");
    assert!(message.contains("this node none: neither hears the other"), "{message}");
    let state = String::from_utf8_lossy(&a.vrrpctl("state --json").stdout).into_owned();
    assert!(state.contains("auth_errors") && state.contains("Authentication Header"), "{state}");
    let why = String::from_utf8_lossy(&a.vrrpctl("why").stdout).into_owned();
    assert!(why.contains("auth_type PASS on the peer"), "{why}");
}

#[test]
fn another_password_is_told_and_none_is_shown() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let with = |word: &str| format!("authentication = {{ type = \"pass\", password = \"{word}\" }}");
    let primary = a.vrrpd(&old(PRIMARY, 1, &with("s3cr3t")));
    let secondary = b.vrrpd(&old(SECONDARY, 1, &with("s3cr3t")));
    lab.settles_on(VIP, "a", 3);

    b.write_vrrpd_config(&old(SECONDARY, 1, &with("sesame")));
    let reloaded = b.vrrpctl("reload");
    let said = String::from_utf8_lossy(&reloaded.stdout).into_owned();
    assert!(said.contains("another secret of authentication"), "{said}");
    let message = critical(&b, "authentication_mismatch");
    assert!(message.contains("192.0.2.193 has authentication another password"), "{message}");
    b.wait_for_state("web", "active");
    critical(&a, "authentication_mismatch");

    for (node, daemon) in [(&a, &primary), (&b, &secondary)] {
        let asked = ["state --json", "why", "history", "config show", "doctor --json"];
        let mut shown: String =
            asked.map(|words| String::from_utf8_lossy(&node.vrrpctl(words).stdout).into_owned()).concat();
        shown += &daemon.log();
        assert!(shown.contains("(not shown)"), "config show has something in its place");
        for secret in ["s3cr3t", "sesame"] {
            assert!(!shown.contains(secret), "{secret} is in {shown}");
        }
    }
    b.write_vrrpd_config(&old(SECONDARY, 1, &with("s3cr3t")));
    secondary.reload();
    lab.settles_on(VIP, "a", 3);
}
