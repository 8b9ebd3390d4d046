//! Disks that are full, read-only or hold what nobody can read: the addresses do not mind, and people
//! are told.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lab::daemon::binary;
use lab::story::{PRIMARY, SECONDARY, VIP, web};
use lab::{DEADLINE, Daemon, Lab, Node, wait_for};
use serde_json::Value;

/// Runs a mount that is there in the daemon's mount namespace alone once more, with other options.
fn remount(node: &Node, daemon: &Daemon, options: &str) {
    let (pid, disk) = (daemon.pid().to_string(), node.disk());
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid, "--mount", "mount", "-o", &format!("remount,{options}")]).arg(disk);
    assert!(command.status().expect("available() has found it").success());
}

fn alarms(state: &Value) -> Vec<&str> {
    let alarms = state["alarms"].as_array().expect("a list");
    alarms.iter().filter_map(|alarm| alarm["name"].as_str()).collect()
}

fn wait_for_no_alarm(node: &Node) {
    wait_for("the end of the alarm", DEADLINE, || {
        node.state().filter(|state| alarms(state).is_empty()).map(drop)
    });
}

/// Not a file can be made from the start, neither in `state_dir` nor in `runtime_dir`, and stderr leads
/// to a full disk as well.
#[test]
fn a_node_whose_disks_are_full_elects_and_is_reached_when_there_is_room() {
    let Some(lab) = Lab::with(&["nsenter"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    a.write_vrrpd_config(&web(PRIMARY, ""));
    let socket = a.disk().join("run/control.sock");
    let text = fs::read_to_string(a.vrrpd_config()).expect("it was written");
    let elsewhere = text.replace(&a.control_socket().display().to_string(), &socket.display().to_string());
    fs::write(a.vrrpd_config(), elsewhere).expect("the lab's directory is writable");
    // Three: the disk itself and the two directories.
    let mut primary = a.start_vrrpd_on_disk("size=64k,nr_inodes=3", "exec 2>/dev/full");
    let secondary = b.vrrpd(&web(SECONDARY, ""));
    lab.settles_on(VIP, "a", 10);
    assert!(primary.is_running());

    remount(&a, &primary, "nr_inodes=100");
    let inside = PathBuf::from(format!("/proc/{}/root{}", primary.pid(), socket.display()));
    wait_for("the control socket", DEADLINE, || inside.exists().then_some(()));
    let ask = || {
        let output = Command::new(binary("vrrpctl")).arg("--socket").arg(&inside).arg("state").output();
        output.expect("binary() has found it")
    };
    wait_for("a state without alarms", DEADLINE, || ask().status.success().then_some(()));
    drop(secondary);
    lab.settles_on(VIP, "a", 5);
    assert!(primary.terminate().success());
}

#[test]
fn a_node_whose_disk_is_read_only_elects_says_so_and_takes_no_order_that_it_could_not_keep() {
    let Some(lab) = Lab::with(&["nsenter"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    a.write_vrrpd_config(&web(PRIMARY, ""));
    let primary = a.start_vrrpd_on_disk("size=64k", "mount -o remount,ro \"$DISK\"");
    let _secondary = b.vrrpd(&web(SECONDARY, ""));
    lab.settles_on(VIP, "a", 5);
    assert_eq!(alarms(&a.state().expect("a answers")), ["state_not_written"]);
    let said = String::from_utf8(a.vrrpctl("state").stdout).expect("text");
    assert!(said.contains("Read-only file system") && said.contains("is tried again"), "{said}");
    assert!(primary.log().contains("Read-only file system"), "{}", primary.log());
    let refused = a.vrrpctl("drain web");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("Not drained"), "{said}");
    lab.settles_on(VIP, "a", 5);

    remount(&a, &primary, "rw");
    wait_for_no_alarm(&a);
    assert!(a.vrrpctl("drain web").status.success());
    lab.settles_on(VIP, "b", 3);
    // A node that is wanted back is back, whatever the disk says.
    remount(&a, &primary, "ro");
    let said = String::from_utf8(a.vrrpctl("undrain web").stdout).expect("text");
    assert!(said.contains("takes part again") && said.contains("Read-only file system"), "{said}");
    lab.settles_on(VIP, "a", 5);
    assert!(primary.terminate().success());
}

#[test]
fn every_file_that_is_damaged_is_told_and_set_aside() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.write_vrrpd_config(&web(PRIMARY, ""));
    let state = a.disk().join("state");
    let files = ["checksum-forms", "orders", "starts", "virtual-mac"];
    for (file, octets) in [
        ("checksum-forms", &b"web no-form\n"[..]),
        ("orders.json", b"{\"version\": 1, \"virt"),
        ("starts", b"\0\0\0\0\0\0\0\0"),
        ("virtual-mac", b"\xff\xfe\xfd"),
    ] {
        fs::write(state.join(file), octets).expect("writable");
    }
    let daemon = a.start_vrrpd();
    lab.wait_for_holder(VIP, "a");
    let shown = a.state().expect("a answers");
    assert_eq!(alarms(&shown), ["state_damaged", "orders_damaged", "state_damaged", "state_damaged"]);
    for file in files {
        let aside = state.join(file).with_extension("damaged");
        assert!(daemon.log().contains(&format!("set aside as {}", aside.display())), "{}", daemon.log());
        fs::remove_file(aside).expect("it is there");
    }
    wait_for_no_alarm(&a);
}

#[test]
fn drain_and_freeze_survive_a_kill_and_a_second_one() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let flag = a.directory().join("flag");
    fs::write(&flag, "").expect("the lab's directory is writable");
    let check = format!(
        "checks = [\"flag\"]\n[check.flag]\nfile = {{ path = {flag:?} }}\ninterval = \"100ms\"\ntimeout = \"90ms\"\n\
         rise = 1\nfall = 1"
    );
    let mut primary = a.vrrpd(&web(PRIMARY, &check));
    let _secondary = b.vrrpd(&web(SECONDARY, ""));
    a.wait_for_router("web", "with a passing check", |r| r["checks"][0]["state"] == "passing");
    lab.wait_for_holder(VIP, "a");

    assert!(a.vrrpctl("freeze web --for 1h").status.success());
    for _ in 0..2 {
        primary.crash();
        primary = a.start_vrrpd();
        a.wait_for_router("web", "is frozen", |router| !router["orders"]["frozen"].is_null());
    }
    fs::remove_file(&flag).expect("it is there");
    a.wait_for_router("web", "with a failing check", |r| r["checks"][0]["state"] == "failing");
    lab.settles_on(VIP, "a", 5);
    assert!(a.vrrpctl("unfreeze web").status.code().is_some_and(|code| code < 64));
    lab.settles_on(VIP, "b", 3);

    assert!(a.vrrpctl("drain web").status.success());
    for _ in 0..2 {
        primary.crash();
        primary = a.start_vrrpd();
        a.wait_for_router("web", "is drained", |router| router["reason"] == "drained");
    }
    lab.settles_on(VIP, "b", 10);
}
