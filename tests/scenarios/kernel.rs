//! What the kernel, other programs and a crash do to the address.

mod accept_mode;
mod connections;

use std::fs;

use lab::story::{INTERVAL_NS, PRIMARY, SECONDARY, VIP, router, slow, web};
use lab::{DEADLINE, Lab, Node, Pair, Prober, now_ns, wait_for};

#[test]
fn an_address_removed_by_a_third_party_is_put_back_and_announced() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    let capture = lab.capture();
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    let removed_ns = now_ns();
    a.ip(&format!("addr del {VIP}/32 dev eth0"));
    capture.wait_for("an announcement of the address put back", removed_ns, |frame| {
        frame.interface == "a" && frame.announces(VIP.parse().expect("valid"))
    });
    lab.settles_on(VIP, "a", 10);
    prober.wait_for_answer();
    let gap = prober.stop().longest_wait().as_nanos();
    assert!(gap < INTERVAL_NS.unsigned_abs().into(), "it came back after {gap} ns");
    assert!(capture.adverts_of("b").is_empty());
    assert_eq!(b.router("web").expect("b answers")["statistics"]["master_transitions"], 0);
}

#[test]
fn an_address_removed_while_the_kernel_told_too_much_is_put_back() {
    // Nothing is renewed that could hide the loss.
    let Some(Pair { lab, a, b, primary, secondary }) = Pair::open("lease = \"off\"") else { return };
    // Nobody misses a, however long the many changes take.
    secondary.freeze();
    primary.freeze();
    let flood: String = (0..6000).map(|n| format!("link set lo mtu {}\n", 60_000 + n % 2)).collect();
    a.namespace().ip(&format!("addr del {VIP}/32 dev eth0\n{flood}"));
    let capture = lab.capture();
    let thawed_ns = now_ns();
    primary.thaw();
    wait_for("the address to be put back", DEADLINE, || a.has(VIP).then_some(()));
    capture.wait_for_advert("a", thawed_ns);
    secondary.thaw();
    let router = a.wait_for_router("web", "with what it lost", |router| {
        router["statistics"]["addresses_put_back"].as_u64() == Some(1)
    });
    assert_eq!(router["state"], "active");
    assert_eq!(b.router("web").expect("b answers")["statistics"]["master_transitions"], 0);
    lab.settles_on(VIP, "a", 1);
}

#[test]
fn an_interface_that_gets_another_mac_address_says_so_and_goes_on() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    let capture = lab.capture();
    let changed_ns = now_ns();
    a.ip("link set dev eth0 address 02:00:00:00:00:aa");
    capture.wait_for("an announcement from the new MAC address", changed_ns, |frame| {
        frame.interface == "a"
            && frame.source.to_string() == "02:00:00:00:00:aa"
            && frame.announces(VIP.parse().expect("valid"))
    });
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    lab.settles_on(VIP, "a", 10);
    assert!(capture.adverts_of("b").is_empty());
    // It still hears the group.
    b.write_vrrpd_config(&web(250, ""));
    assert!(b.vrrpctl("reload").status.success());
    lab.settles_on(VIP, "b", 5);
    a.wait_for_state("web", "backup");
}

#[test]
fn an_interface_deleted_and_made_again_is_taken_up_again() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = Pair::open("") else {
        return;
    };
    a.delete_interface();
    lab.settles_on(VIP, "b", 5);
    let state = a.wait_for_state("web", "initialize");
    assert!(state["reason"].is_string(), "a node out of service says why: {state}");
    a.create_interface();
    lab.settles_on(VIP, "a", 10);
}

#[test]
fn an_interface_that_is_missing_at_the_start_is_waited_for() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.delete_interface();
    let _daemon = a.vrrpd(&web(PRIMARY, ""));
    a.wait_for_state("web", "initialize");
    a.create_interface();
    lab.settles_on(VIP, "a", 5);
}

#[test]
fn a_killed_daemon_that_restarts_at_once_goes_on_as_active() {
    // An interval that leaves even a debug build on a busy machine the time to start.
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::with(slow_web) else { return };
    let capture = lab.capture();
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    primary.kill_first();
    let _primary = a.start_vrrpd();
    a.wait_for_state("web", "active");
    lab.settles_on(VIP, "a", 5);
    prober.wait_for_answer();
    let gap = prober.stop().longest_wait().as_nanos();
    assert!(gap < INTERVAL_NS.unsigned_abs().into(), "the client noticed: {gap} ns");
    assert!(capture.adverts_of("b").is_empty(), "b had no reason to claim");
    assert_eq!(b.router("web").expect("b answers")["state"], "backup");
}

fn slow_web(node: &Node) -> String {
    slow(&web(if node.name() == "a" { PRIMARY } else { SECONDARY }, ""))
}

#[test]
fn a_killed_daemon_that_stays_dead_loses_the_address_before_the_backup_claims() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::with(slow_web) else { return };
    assert!(a.has(VIP));
    primary.kill_first();
    b.wait_for_state("web", "active");
    assert!(!a.has(VIP), "the kernel still holds the address of a dead daemon");
    assert_eq!(lab.answerers(VIP), ["b"]);
    lab.settles_on(VIP, "b", 3);
}

#[test]
fn at_short_intervals_a_dead_daemon_loses_the_address_when_its_lifetime_ends() {
    let Some(Pair { lab, a: _a, b, primary, secondary: _secondary }) = Pair::open("") else { return };
    primary.kill_first();
    b.wait_for_state("web", "active");
    lab.settles_on(VIP, "b", 10);
}

#[test]
fn a_killed_daemon_that_restarts_late_begins_as_backup() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::open("preempt_mode = false") else {
        return;
    };
    primary.kill_first();
    b.wait_for_state("web", "active");
    let capture = lab.capture();
    let _primary = a.start_vrrpd();
    a.wait_for_state("web", "backup");
    lab.settles_on(VIP, "b", 10);
    assert!(capture.adverts_of("a").is_empty(), "a spoke although b was Active");
}

#[test]
fn a_daemon_that_crashes_again_and_again_begins_as_backup() {
    let Some(Pair { lab, a, b: _b, mut primary, secondary: _secondary }) =
        Pair::with(|node| slow_web(node).replace("\"1s\"", "\"2s\""))
    else {
        return;
    };
    for _ in 0..2 {
        primary.kill_first();
        primary = a.start_vrrpd();
        a.wait_for_router("web", "that goes on", |router| router["reason"] == "resumed");
    }
    primary.kill_first();
    assert!(a.has(VIP));
    let _primary = a.start_vrrpd();
    let router = a.wait_for_state("web", "backup");
    assert_eq!(router["reason"], "startup", "{router}");
    wait_for("the end of what the crash left behind", DEADLINE, || (!a.has(VIP)).then_some(()));
    lab.settles_on(VIP, "a", 2);
}

#[test]
fn a_daemon_killed_while_it_leaves_does_not_come_back_beside_its_successor() {
    // The lowest priority waits for nearly a whole interval: time to be killed in.
    let config = |node: &Node| {
        let priority = if node.name() == "a" { PRIMARY } else { 1 };
        slow(&web(priority, "preempt_mode = false"))
    };
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::with(config) else { return };
    b.wait_for_router("web", "hears a", |router| router["active_router"]["priority"] == PRIMARY);
    let capture = lab.capture();
    primary.signal(nix::sys::signal::Signal::SIGTERM);
    let farewell = capture.wait_for_farewell("a");
    primary.kill_first();
    assert!(a.has(VIP), "it was killed too late: the address is gone already");
    let _primary = a.start_vrrpd();

    capture.wait_for_advert("b", farewell.time_ns);
    lab.settles_on(VIP, "b", 5);
    let mut spoken = capture.adverts_of("a").into_iter().filter(|frame| frame.time_ns >= farewell.time_ns);
    assert!(spoken.all(|frame| frame.resigns()), "a spoke up after it had resigned");
    a.wait_for_state("web", "backup");
    assert_eq!(lab.answerers(VIP), ["b"]);
}

#[test]
fn a_stalled_daemon_is_replaced_and_agrees_when_it_wakes() {
    let Some(Pair { lab, a: _a, b, primary, secondary: _secondary }) = Pair::with(slow_web) else { return };
    primary.freeze();
    b.wait_for_state("web", "active");
    assert_eq!(lab.answerers(VIP), ["b"]);
    primary.thaw();
    lab.settles_on(VIP, "a", 3);
    assert_eq!(lab.answerers(VIP), ["a"]);
}

#[test]
fn who_was_stopped_says_so_and_the_role_is_where_it_was() {
    let Some(Pair { lab, a, b, primary, secondary }) = Pair::open("") else { return };
    let says_so = |node: &Node| {
        wait_for("the absence in the history", DEADLINE, || {
            let said = String::from_utf8(node.vrrpctl("history").stdout).expect("text");
            said.contains("vrrpd was stopped or starved for").then_some(())
        });
    };
    primary.freeze();
    b.wait_for_state("web", "active");
    primary.thaw();
    says_so(&a);
    lab.settles_on(VIP, "a", 5);
    let b_was_active = b.router("web").expect("b answers")["statistics"]["master_transitions"].clone();

    secondary.freeze();
    let sent = |router: &serde_json::Value| router["statistics"]["advertisement_sent"].as_u64();
    let before = sent(&a.router("web").expect("a answers"));
    a.wait_for_router("web", "that spoke ten times", |router| sent(router) > before.map(|sent| sent + 10));
    secondary.thaw();
    says_so(&b);
    let router =
        b.wait_for_router("web", "that hears a", |router| router["active_router"]["priority"] == PRIMARY);
    assert_eq!(router["statistics"]["master_transitions"], b_was_active, "its own absence was a's silence");
    assert_eq!(lab.answerers(VIP), ["a"]);
}

#[test]
fn an_address_that_was_there_before_is_never_deleted() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.ip(&format!("addr add {VIP}/32 dev eth0"));
    let daemon = a.vrrpd(&router(PRIMARY, &[VIP, "192.0.2.202"], ""));
    a.wait_for_state("web", "active");
    wait_for("the address that is ours", DEADLINE, || a.has("192.0.2.202").then_some(()));
    assert!(daemon.terminate().success());
    assert!(!a.has("192.0.2.202"), "our address stayed");
    assert!(a.has(VIP), "somebody else's address went");
}

#[test]
fn a_firewall_that_drops_what_is_sent_is_told_and_the_node_gives_way() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = Pair::open("") else {
        return;
    };
    a.namespace()
        .nft("table inet wall { chain out { type filter hook output priority 0; meta l4proto 112 drop; }; }");
    let gave_way = |router: &serde_json::Value| router["reason"] == "cannot_send";
    let router = a.wait_for_router("web", "that gave way", gave_way);
    assert!(router["statistics"]["send_errors"].as_u64() > Some(0), "{router}");
    // It tries again, later each time, with the address behind its fence.
    lab.wait_for_holder(VIP, "b");
    assert_eq!(lab.answerers(VIP), ["b"]);
    let said = String::from_utf8(a.vrrpctl("history").stdout).expect("text");
    assert!(said.contains("EPERM"), "says what the kernel said: {said}");
    a.namespace().run("nft", &["delete", "table", "inet", "wall"]);
    lab.settles_on(VIP, "a", 10);
}

#[test]
fn a_full_disk_does_not_matter() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    a.write_vrrpd_config(&web(PRIMARY, ""));
    let primary = a.start_vrrpd_on_small_disk();
    let _secondary = b.vrrpd(&web(SECONDARY, ""));
    lab.wait_for_holder(VIP, "a");
    // The disk exists only in the daemon's mount namespace.
    let inside = format!("/proc/{}/root{}/state/fill", primary.pid(), a.disk().display());
    let error = fs::write(inside, vec![0; 1 << 20]).expect_err("a megabyte does not fit");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);

    lab.settles_on(VIP, "a", 10);
    lab.switch().unplug("a");
    lab.settles_on(VIP, "b", 5);
    lab.switch().plug("a");
    lab.settles_on(VIP, "a", 5);
    assert_eq!(a.router("web").expect("a answers")["state"], "active");
    assert!(primary.terminate().success());
    lab.settles_on(VIP, "b", 5);
}

#[cfg(target_arch = "x86_64")]
fn was_refused(node: &Node) {
    let twice = |router: &serde_json::Value| {
        router["state"] == "backup"
            && router["reason"] == "address_refused"
            && router["statistics"]["addresses_refused"].as_u64() >= Some(2)
    };
    node.wait_for_router("web", "that was refused, and again when it tried later", twice);
    let output = node.vrrpctl("state");
    assert!(!output.status.success(), "a router that cannot take over is not exit code 0");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.contains("the kernel refused an address"), "{said}");
    let said = String::from_utf8(node.vrrpctl("history web").stdout).expect("text");
    assert!(said.contains(&format!("refused {VIP}/32")) && said.contains("EPERM"), "{said}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_backup_that_may_not_have_the_address_resigns_says_so_and_takes_over_when_it_may() {
    let Some(Pair { lab, a, b, primary, secondary }) = Pair::open("") else { return };
    secondary.forbid_addresses();
    lab.power_off(&a, primary);
    was_refused(&b);
    secondary.allow_addresses();
    lab.settles_on(VIP, "b", 5);
    assert!(b.vrrpctl("state").status.success(), "nothing is wrong any more");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_primary_that_may_not_have_its_address_leaves_the_role_to_the_backup_until_it_may() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let capture = lab.capture();
    primary.forbid_addresses();
    a.ip(&format!("addr del {VIP}/32 dev eth0"));
    let farewell = capture.wait_for_farewell("a");
    capture.wait_for_advert("b", farewell.time_ns);
    was_refused(&a);
    assert_eq!(lab.holders(VIP), ["b"]);
    assert_eq!(b.router("web").expect("b answers")["state"], "active");
    primary.allow_addresses();
    lab.settles_on(VIP, "a", 5);
}
