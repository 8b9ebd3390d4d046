//! Checks move the address, and only as far as they should.

mod tracking;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use lab::story::{INTERVAL_NS, PRIMARY, SECONDARY, VIP, web};
use lab::{DEADLINE, Lab, Node, Pair, Prober, wait_for};

/// Node a's router with a check; b's without. The check is asked five times a second; a success is
/// believed at once, a failure when it is repeated: on a busy machine one script may be late.
fn checked(check: &str, node: &Node) -> String {
    if node.name() == "a" { with_check(PRIMARY, check) } else { web(SECONDARY, "") }
}

fn with_check(priority: u8, check: &str) -> String {
    let check = format!("[check.service]\n{check}\ninterval = \"200ms\"\nrise = 1\nfall = 2\n");
    web(priority, &format!("checks = [\"service\"]\n\n{check}"))
}

/// An `exec` check that passes while `flag` exists.
fn flag(flag: &Path, more: &str) -> String {
    std::fs::write(flag, "").expect("the lab's directory is writable");
    format!("exec = [\"/usr/bin/test\", \"-e\", \"{}\"]\nuser = \"nobody\"\n{more}", flag.display())
}

fn check_is(state: &str) -> impl Fn(&serde_json::Value) -> bool {
    move |router| router["checks"][0]["state"] == state
}

/// A file that both the test and an unprivileged check can see, gone with the test.
fn flag_file(name: &str) -> FlagFile {
    FlagFile(std::env::temp_dir().join(format!("vrrpd-lab-flag-{}-{name}", std::process::id())))
}

struct FlagFile(std::path::PathBuf);

impl FlagFile {
    fn remove(&self) {
        std::fs::remove_file(&self.0).expect("it exists");
    }
    fn create(&self) {
        std::fs::write(&self.0, "").expect("the temporary directory is writable");
    }
}

impl Drop for FlagFile {
    fn drop(&mut self) {
        // A test may have removed it itself.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_failing_check_with_a_weight_hands_over_and_its_recovery_brings_the_address_back() {
    let file = flag_file("weight");
    let check = flag(&file.0, "weight = -150");
    let Some(pair) = Pair::with(|node| checked(&check, node)) else { return };
    let router = pair.a.wait_for_router("web", "with a passing check", check_is("passing"));
    assert_eq!(router["priority"]["effective"], PRIMARY);

    let prober = Prober::start(pair.lab.client(), VIP);
    prober.wait_for_answer();
    file.remove();
    pair.lab.settles_on(VIP, "b", 5);
    let router = pair.a.wait_for_router("web", "with a failing check", check_is("failing"));
    assert_eq!(router["state"], "backup");
    assert_eq!(router["priority"]["configured"], PRIMARY);
    assert_eq!(router["priority"]["effective"], PRIMARY - 150);
    file.create();
    pair.lab.settles_on(VIP, "a", 10);
    prober.wait_for_answer();
    let gap = prober.stop().longest_wait().as_nanos();
    assert!(gap < INTERVAL_NS.unsigned_abs().into(), "the client noticed: {gap} ns");
}

#[test]
fn a_failing_check_without_a_weight_demotes_to_a_tenth() {
    let file = flag_file("demote");
    let check = flag(&file.0, "");
    let Some(pair) = Pair::with(|node| checked(&check, node)) else { return };
    pair.a.wait_for_router("web", "with a passing check", check_is("passing"));
    file.remove();
    pair.lab.settles_on(VIP, "b", 5);
    let router = pair.a.wait_for_router("web", "with a failing check", check_is("failing"));
    assert_eq!(router["priority"]["effective"], PRIMARY / 10);
    assert!(!pair.a.vrrpctl("state").status.success(), "a demoted router is not exit code 0");
}

#[test]
fn two_nodes_with_the_same_failure_still_have_one_holder() {
    let file = flag_file("both");
    let check = flag(&file.0, "");
    let Some(pair) =
        Pair::with(|node| with_check(if node.name() == "a" { PRIMARY } else { SECONDARY }, &check))
    else {
        return;
    };
    for node in [&pair.a, &pair.b] {
        node.wait_for_router("web", "with a passing check", check_is("passing"));
    }
    file.remove();
    for node in [&pair.a, &pair.b] {
        node.wait_for_router("web", "with a failing check", check_is("failing"));
    }
    pair.lab.settles_on(VIP, "a", 10);
}

#[test]
fn a_failing_check_with_fault_leaves_nothing_behind_until_it_passes() {
    let file = flag_file("fault");
    let check = flag(&file.0, "on_failure = \"fault\"");
    let Some(pair) = Pair::with(|node| checked(&check, node)) else { return };
    pair.a.wait_for_router("web", "with a passing check", check_is("passing"));
    file.remove();
    pair.lab.settles_on(VIP, "b", 5);
    pair.a.wait_for_state("web", "initialize");
    // Not even when nobody else is left.
    assert!(pair.secondary.terminate().success());
    wait_for("nobody with the address", DEADLINE, || pair.lab.holders(VIP).is_empty().then_some(()));
    file.create();
    pair.lab.settles_on(VIP, "a", 10);
}

#[test]
fn a_failing_check_with_alert_is_shown_and_moves_nothing() {
    let file = flag_file("alert");
    let check = flag(&file.0, "on_failure = \"alert\"");
    let Some(pair) = Pair::with(|node| checked(&check, node)) else { return };
    pair.a.wait_for_router("web", "with a passing check", check_is("passing"));
    file.remove();
    let router = pair.a.wait_for_router("web", "with a failing check", check_is("failing"));
    assert_eq!(router["priority"]["effective"], PRIMARY);
    pair.lab.settles_on(VIP, "a", 10);
    assert_eq!(pair.a.vrrpctl("state").status.code(), Some(1), "degraded");
}

#[test]
fn a_hanging_script_is_a_failure_and_is_killed() {
    let file = flag_file("hanging");
    // Passes while the flag is there, then hangs with a child that hangs as well.
    let script = format!("test -e {} || {{ sleep 1000 & sleep 1000; }}", file.0.display());
    file.create();
    let check = format!("exec = [\"/bin/sh\", \"-c\", \"{script}\"]\nuser = \"nobody\"\ntimeout = \"150ms\"");
    let Some(pair) = Pair::with(|node| checked(&check, node)) else { return };
    pair.a.wait_for_router("web", "with a passing check", check_is("passing"));
    file.remove();
    pair.lab.settles_on(VIP, "b", 5);
    pair.a.wait_for_router("web", "with a failing check", check_is("failing"));

    assert!(pair.primary.terminate().success());
    let sleeping = || {
        let processes = pair.a.namespace().processes();
        let names =
            processes.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
        names.filter(|name| name.trim_end() == "sleep").count()
    };
    wait_for("no script outliving its deadline", DEADLINE, || (sleeping() == 0).then_some(()));
}

#[test]
fn a_missing_script_is_a_failure_from_the_start() {
    let check = "exec = [\"/nonexistent/check\"]\nuser = \"nobody\"\non_failure = \"fault\"";
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let _primary = a.vrrpd(&checked(check, &a));
    let _secondary = b.vrrpd(&checked(check, &b));
    lab.settles_on(VIP, "b", 5);
    let router = a.wait_for_router("web", "with a failing check", check_is("failing"));
    let message = router["checks"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("/nonexistent does not exist"), "says what is missing: {message}");
}

#[test]
fn a_demoted_node_without_a_better_peer_goes_on_without_a_gap() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let file = flag_file("alone");
    let _daemon = a.vrrpd(&with_check(PRIMARY, &flag(&file.0, "weight = -150")));
    lab.wait_for_holder(VIP, "a");
    a.wait_for_router("web", "with a passing check", check_is("passing"));
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    file.remove();
    a.wait_for_router("web", "with a failing check", check_is("failing"));
    let capture = lab.capture();
    capture.wait_for("an advertisement with the lowered priority", 0, |frame| {
        frame.advert().is_some_and(|advert| advert.priority == PRIMARY - 150)
    });
    prober.wait_for_answer();
    let gap = prober.stop().longest_wait().as_nanos();
    assert!(gap < INTERVAL_NS.unsigned_abs().into(), "the client noticed: {gap} ns");
    assert_eq!(lab.holders(VIP), ["a"]);
}

#[test]
fn a_tcp_check_follows_its_service() {
    let check = "tcp = { address = \"127.0.0.1:8443\" }\non_failure = \"fault\"";
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let listen = || {
        a.namespace().enter(|| TcpListener::bind("127.0.0.1:8443")).expect("nobody else uses the port here")
    };
    let service = listen();
    let _daemons = [a.vrrpd(&checked(check, &a)), b.vrrpd(&checked(check, &b))];
    lab.settles_on(VIP, "a", 5);
    drop(service);
    lab.settles_on(VIP, "b", 5);
    let _service = listen();
    lab.settles_on(VIP, "a", 5);
}

#[test]
fn an_http_check_follows_the_status_of_its_service() {
    let check = "http = { url = \"http://www.tinder-node-server.com/healthz\", \
                 connect = \"127.0.0.1:8080\", status = [200] }\non_failure = \"fault\"";
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let status = Arc::new(AtomicU16::new(200));
    serve(&a, Arc::clone(&status));
    let _daemons = [a.vrrpd(&checked(check, &a)), b.vrrpd(&checked(check, &b))];
    lab.settles_on(VIP, "a", 5);
    status.store(503, Ordering::Relaxed);
    lab.settles_on(VIP, "b", 5);
    let router = a.wait_for_router("web", "with a failing check", check_is("failing"));
    let message = router["checks"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("503"), "says what came: {message}");
    status.store(200, Ordering::Relaxed);
    lab.settles_on(VIP, "a", 5);
}

#[test]
fn a_check_of_one_role_is_asked_and_counts_in_that_role_only() {
    let (active, backup) = (flag_file("while-active"), flag_file("while-backup"));
    let role = |name: &str, file: &FlagFile, more: &str| {
        let often = "interval = \"200ms\"\nrise = 1\nfall = 2";
        format!("[check.{name}]\n{}\n{often}\nwhen = \"{name}\"\n", flag(&file.0, more))
    };
    let checks = format!(
        "checks = [\"active\", \"backup\"]\n\n{}{}",
        role("active", &active, "on_failure = \"alert\""),
        role("backup", &backup, "")
    );
    let Some(pair) = Pair::open(&checks) else { return };
    let says = |active: &'static str, backup: &'static str| {
        move |router: &serde_json::Value| {
            router["checks"][0]["state"] == active && router["checks"][1]["state"] == backup
        }
    };
    pair.a.wait_for_router("web", "asked while Active", says("passing", "skipped"));
    pair.b.wait_for_router("web", "asked while Backup", says("skipped", "passing"));

    backup.remove();
    let router = pair.b.wait_for_router("web", "failing as Backup", says("skipped", "failing"));
    assert_eq!(router["priority"]["effective"], SECONDARY / 10);
    let router = pair.a.router("web").expect("it answers");
    assert_eq!(router["priority"]["effective"], PRIMARY, "the Active node is not asked");

    assert!(pair.primary.terminate().success());
    pair.lab.wait_for_holder(VIP, "b");
    let router = pair.b.wait_for_router("web", "asked while Active", says("passing", "skipped"));
    assert_eq!(router["priority"]["effective"], SECONDARY, "what it said as Backup is over");

    let _primary = pair.a.start_vrrpd();
    let router = pair.a.wait_for_router("web", "failing as Backup", says("skipped", "failing"));
    assert_eq!(
        (&router["state"], &router["priority"]["effective"]),
        (&"backup".into(), &(PRIMARY / 10).into())
    );
    pair.lab.settles_on(VIP, "b", 5);
    backup.create();
    pair.lab.settles_on(VIP, "a", 10);
    pair.a.wait_for_router("web", "asked while Active", says("passing", "skipped"));
}

/// A web server on 127.0.0.1:8080 of `node`, for as long as the test's process runs.
fn serve(node: &Node, status: Arc<AtomicU16>) {
    let listener = node.namespace().enter(|| TcpListener::bind("127.0.0.1:8080")).expect("a free port");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A client that sends nothing must not hang the server of a test.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = stream.read(&mut [0; 1024]);
            let status = status.load(Ordering::Relaxed);
            let _ = write!(stream, "HTTP/1.1 {status} Any\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
}
