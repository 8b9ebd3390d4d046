//! The unit as systemd runs it: installed, started, killed, reloaded, stopped, misconfigured.

use lab::story::{PRIMARY, SECONDARY, VIP, router, slow, web};
use lab::{DEADLINE, Lab, Machine, wait_for};

const SECOND_VIP: &str = "192.0.2.202";

#[test]
fn systemd_starts_watches_restarts_reloads_and_stops_the_daemon() {
    let Some(lab) = Lab::with(&Machine::PROGRAMS) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let machine = Machine::boot(&a, &slow(&web(PRIMARY, "")));
    let _secondary = b.vrrpd(&slow(&web(SECONDARY, "")));

    machine.succeed("systemctl start vrrpd");
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.property("Type"), "notify");
    assert_eq!(machine.property("WatchdogUSec"), "10s");
    lab.wait_for_holder(VIP, "a");
    let state = machine.run("vrrpctl state");
    let said = String::from_utf8_lossy(&state.stdout).into_owned();
    assert!(state.status.success() && said.contains("ACTIVE"), "{}: {said}", state.status);
    judge_rights(&machine);
    wait_for("a sign of life to the watchdog", DEADLINE, || {
        (machine.property("WatchdogTimestampMonotonic") != "0").then_some(())
    });

    // The OOM killer takes it: systemd starts it again, before b can claim.
    let capture = lab.capture();
    machine.succeed("systemctl kill --kill-who=main --signal=KILL vrrpd");
    wait_for("the restart by the unit", DEADLINE, || {
        (machine.property("NRestarts") == "1" && machine.property("ActiveState") == "active").then_some(())
    });
    lab.settles_on(VIP, "a", 5);
    assert!(capture.adverts_of("b").is_empty(), "b had no reason to claim");

    machine.write_config(&slow(&router(PRIMARY, &[VIP, SECOND_VIP], "")));
    machine.succeed("systemctl reload vrrpd");
    lab.wait_for_holder(SECOND_VIP, "a");
    assert_eq!(machine.property("NRestarts"), "1", "a reload is no restart");

    machine.succeed("systemctl stop vrrpd");
    assert!(!a.has(VIP) && !a.has(SECOND_VIP), "a stopped daemon leaves no address");
    assert_eq!(machine.property("Result"), "success");
    lab.settles_on(VIP, "b", 3);

    machine.write("etc/systemd/system/vrrpd.service.d/realtime.conf", &drop_in_for_realtime());
    machine.succeed("systemctl daemon-reload");
    machine.succeed("systemctl start vrrpd");
    assert_eq!(scheduling(&machine), "realtime");
    machine.succeed("systemctl stop vrrpd");

    // Starting again would not help against a fault in the file.
    machine.write_config("[virtual_router.web]\nprioritty = 1\n");
    assert!(!machine.run("systemctl start vrrpd").status.success());
    assert_eq!(machine.property("ActiveState"), "failed");
    assert_eq!(machine.property("ExecMainStatus"), "78");
    assert!(machine.succeed("journalctl --no-pager --unit vrrpd").contains("prioritty"));
}

/// What a comment of the unit says.
fn drop_in_for_realtime() -> String {
    let unit = include_str!("../../packaging/systemd/vrrpd.service");
    let lines =
        unit.lines().filter_map(|line| line.strip_prefix("#   ")).filter(|line| line.contains("SYS_NICE"));
    format!("[Service]\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

/// The main process is the unit's user, and has the two rights it needs, a realtime thread, and the
/// settings of the network.
fn judge_rights(machine: &Machine) {
    let main = machine.property("MainPID");
    let status = machine.succeed(&format!("cat /proc/{main}/status"));
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {key} in {status}")).split_whitespace().collect::<Vec<_>>()
    };
    let user = machine.succeed("id --user vrrpd");
    assert!(field("Uid").into_iter().all(|uid| uid == user), "not the unit's user: {status}");
    // NET_ADMIN, NET_RAW.
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(field(set), ["0000000000003000"], "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), (vec!["1"], vec!["2"]));
    let limits = machine.succeed(&format!("cat /proc/{main}/limits"));
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        line.expect("the kernel tells").split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max realtime timeout"), ["2000000", "2000000"]);
    // Some containers cannot have what LimitRTPRIO gives.
    let realtime = limit("Max realtime priority") == ["10", "10"];
    assert_eq!(scheduling(machine), if realtime { "realtime" } else { "normal" });

    let inside = |words: &str| machine.run(&format!("nsenter --target {main} --mount --net -- {words}"));
    assert!(inside("sysctl -w net.ipv4.conf.lo.arp_ignore=0").status.success());
    assert!(!inside("sysctl -w kernel.core_uses_pid=1").status.success());
}

fn scheduling(machine: &Machine) -> String {
    let state = machine.run("vrrpctl state --json").stdout;
    let state: serde_json::Value = serde_json::from_slice(&state).expect("JSON");
    state["daemon"]["scheduling"].as_str().expect("a word").to_owned()
}
