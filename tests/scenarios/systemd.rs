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

    // Starting again would not help against a fault in the file.
    machine.write_config("[virtual_router.web]\nprioritty = 1\n");
    assert!(!machine.run("systemctl start vrrpd").status.success());
    assert_eq!(machine.property("ActiveState"), "failed");
    assert_eq!(machine.property("ExecMainStatus"), "78");
    assert!(machine.succeed("journalctl --no-pager --unit vrrpd").contains("prioritty"));
}

/// The main process is the unit's user, and has the three rights it needs.
fn judge_rights(machine: &Machine) {
    let status = machine.succeed(&format!("cat /proc/{}/status", machine.property("MainPID")));
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {key} in {status}")).split_whitespace().collect::<Vec<_>>()
    };
    let user = machine.succeed("id --user vrrpd");
    assert!(field("Uid").into_iter().all(|uid| uid == user), "not the unit's user: {status}");
    // NET_ADMIN, NET_RAW, SYS_NICE.
    assert_eq!(field("CapEff"), ["0000000000803000"]);
    assert_eq!(field("CapPrm"), ["0000000000803000"]);
    assert_eq!(field("NoNewPrivs"), ["1"]);
}
