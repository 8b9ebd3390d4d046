//! What operators do to a running pair: reload, look, and forget clients on the control socket.

use std::io::Write;
use std::os::unix::net::UnixStream;

use lab::story::{PRIMARY, SECONDARY, VIP, router, web};
use lab::{DEADLINE, Lab, Pair, Prober, wait_for};

const SECOND_VIP: &str = "192.0.2.202";

#[test]
fn a_reload_that_adds_an_address_causes_no_transition() {
    let Some(Pair { lab, a, b, primary, secondary }) = Pair::open("") else { return };
    let transitions = |node: &lab::Node| {
        node.router("web").expect("the daemon answers")["statistics"]["master_transitions"].clone()
    };
    let before = (transitions(&a), transitions(&b));
    let capture = lab.capture();
    for (node, daemon, priority) in [(&a, &primary, PRIMARY), (&b, &secondary, SECONDARY)] {
        node.write_vrrpd_config(&router(priority, &[VIP, SECOND_VIP], ""));
        daemon.reload();
    }
    lab.settles_on(SECOND_VIP, "a", 10);
    lab.settles_on(VIP, "a", 1);
    assert!(capture.speakers().iter().all(|speaker| speaker == "a"));
    assert!(
        capture.adverts_of("a").iter().all(|f| f.advert().is_some_and(|advert| advert.priority == PRIMARY))
    );
    assert_eq!((transitions(&a), transitions(&b)), before);

    // ... and one that removes it takes only that one.
    a.write_vrrpd_config(&web(PRIMARY, ""));
    assert!(a.vrrpctl("reload").status.success());
    wait_for("the end of the second address", DEADLINE, || lab.holders(SECOND_VIP).is_empty().then_some(()));
    lab.settles_on(VIP, "a", 5);
    assert_eq!(transitions(&a), before.0);
}

#[test]
fn a_reload_that_swaps_the_priorities_moves_the_address() {
    let Some(Pair { lab, a, b, primary: _primary, secondary }) = Pair::open("") else { return };
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    b.write_vrrpd_config(&web(250, ""));
    secondary.reload();
    lab.settles_on(VIP, "b", 10);
    prober.wait_for_answer();
    assert_eq!(a.wait_for_state("web", "backup")["active_router"]["priority"], 250);
}

#[test]
fn a_reload_of_a_faulty_file_changes_nothing_and_says_where_the_fault_is() {
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let capture = lab.capture();
    a.write_vrrpd_config(&web(PRIMARY, "prioritty = 300"));
    let output = a.vrrpctl("reload");
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("prioritty"), "names the key: {said}");
    assert!(said.contains("vrrpd.toml:"), "names file and line: {said}");
    primary.reload();
    wait_for("the fault in the log", DEADLINE, || primary.log().contains("prioritty").then_some(()));
    lab.settles_on(VIP, "a", 10);
    assert!(capture.speakers().iter().all(|speaker| speaker == "a"));

    a.write_vrrpd_config(&web(PRIMARY - 1, ""));
    assert!(a.vrrpctl("reload").status.success(), "the next good file is taken");
    a.wait_for_router("web", "with the new priority", |router| {
        router["priority"]["configured"] == PRIMARY - 1 && router["state"] == "active"
    });
}

#[test]
fn a_faulty_file_at_the_start_is_exit_code_78_with_every_fault() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let mut daemon = a.vrrpd(&web(PRIMARY, "preempt_mod = false\npreempt_delay = \"soon\""));
    assert_eq!(daemon.wait().code(), Some(78));
    let log = daemon.log();
    assert!(log.contains("preempt_mod") && log.contains("soon"), "one of two faults is missing: {log}");
}

#[test]
fn an_interrupt_hands_over_and_ends_like_sigterm() {
    let Some(Pair { lab, a, b: _b, mut primary, secondary: _secondary }) = Pair::open("") else { return };
    let capture = lab.capture();
    primary.signal(nix::sys::signal::Signal::SIGINT);
    assert!(primary.wait().success());
    assert!(!a.has(VIP), "the address stayed");
    let farewell = capture.wait_for_farewell("a");
    capture.wait_for_advert("b", farewell.time_ns);
    lab.settles_on(VIP, "b", 3);
}

#[test]
fn the_checksum_form_of_the_peer_is_remembered_across_restarts() {
    let config = |node: &lab::Node| match node.name() {
        "a" => web(PRIMARY, ""),
        _ => web(SECONDARY, "ipv4_checksum = \"rfc9568\""),
    };
    let Some(Pair { lab, a, b, primary, secondary }) = Pair::with(config) else { return };
    // b does not hear the form that a begins with, claims, and is heard by a.
    let hears = |router: &serde_json::Value| router["active_router"]["priority"] == PRIMARY;
    b.wait_for_router("web", "that hears a", hears);
    assert!(secondary.terminate().success());
    assert!(primary.terminate().success());

    let _primary = a.start_vrrpd();
    lab.wait_for_holder(VIP, "a");
    let capture = lab.capture();
    let _secondary = b.start_vrrpd();
    b.wait_for_router("web", "that hears a", hears);
    lab.settles_on(VIP, "a", 10);
    assert!(capture.adverts_of("b").is_empty(), "b did not understand a at first");
}

#[test]
fn a_hook_is_told_of_each_role_in_order_and_of_the_end() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let told = a.directory().join("told");
    std::fs::write(&told, "").expect("the lab's directory is writable");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&told, everybody).expect("it is ours");
    // Appends its arguments, and why, to the file.
    let script = r#"echo "$@" "$VRRPD_REASON" >> "$0""#;
    let hook = format!(
        "preempt_mode = false\nhooks = [\"tell\"]\n\n[hook.tell]\nuser = \"nobody\"\n\
         on = [\"active\", \"backup\", \"fault\", \"stopped\"]\n\
         exec = [\"/bin/sh\", \"-c\", {script:?}, {told:?}]"
    );
    let primary = a.vrrpd(&web(PRIMARY, &hook));
    lab.wait_for_holder(VIP, "a");
    let _secondary = b.vrrpd(&web(SECONDARY, ""));
    b.wait_for_router("web", "that hears a", |router| router["active_router"]["priority"] == PRIMARY);
    let lines = || std::fs::read_to_string(&told).expect("it is there");
    let expect = |wanted: &[&str]| {
        let wanted = wanted.iter().map(|line| format!("INSTANCE web {line}\n")).collect::<String>();
        wait_for(&wanted, DEADLINE, || (lines() == wanted).then_some(()));
    };
    expect(&["BACKUP 200 startup", "MASTER 200 no_response"]);
    lab.switch().unplug("a");
    lab.settles_on(VIP, "b", 3);
    lab.switch().plug("a");
    a.wait_for_state("web", "backup");
    let faulty = ["BACKUP 200 startup", "MASTER 200 no_response", "FAULT 200 interface_down"];
    expect(&[&faulty[..], &["BACKUP 200 startup"]].concat());
    assert!(primary.terminate().success());
    expect(&[&faulty[..], &["BACKUP 200 startup", "STOP 200 shutdown"]].concat());
}

#[test]
fn a_hundred_dead_control_clients_do_not_matter() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = Pair::open("") else {
        return;
    };
    // Half of them say half a word; none ever reads.
    let clients: Vec<UnixStream> = (0..100)
        .filter_map(|n| {
            let mut client = UnixStream::connect(a.control_socket()).ok()?;
            if n % 2 == 0 {
                // The daemon may have turned it away already.
                let _ = client.write_all(b"{\"comm");
            }
            Some(client)
        })
        .collect();
    assert!(!clients.is_empty());
    lab.settles_on(VIP, "a", 20);
    a.wait_for_state("web", "active");
    lab.switch().unplug("a");
    lab.settles_on(VIP, "b", 5);
    a.wait_for_state("web", "initialize");
    drop(clients);
}

#[test]
fn vrrpctl_tells_the_story_of_a_takeover() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let text = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).to_lowercase();
    let state = text(a.vrrpctl("state"));
    assert!(state.contains("web") && state.contains("active") && state.contains(VIP), "{state}");
    lab.power_off(&a, primary);
    let router = b.wait_for_state("web", "active");
    assert_eq!(router["reason"], "no_response");
    let why = text(b.vrrpctl("why web"));
    assert!(why.contains(&a.ipv4()), "why names the router that fell silent: {why}");
    let history = text(b.vrrpctl("history web"));
    assert!(history.contains("backup") && history.contains("active"), "{history}");
    assert_eq!(a.vrrpctl("state").status.code(), Some(69), "a dead daemon cannot be reached");
}
