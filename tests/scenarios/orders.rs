//! What operators order: drain, freeze, switchover, with and without the peer link.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use lab::story::{PRIMARY, SECONDARY, SKEW_NS, VIP, web};
use lab::{DEADLINE, Lab, Node, Pair, Prober, wait_for};

/// Runs `vrrpctl` and gives its exit code with everything that it printed.
fn run(node: &Node, words: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = node.vrrpctl(words);
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (status.code(), text(&stdout) + &text(&stderr))
}

/// ... which is obeyed.
fn obeyed(node: &Node, words: &str) -> String {
    let (code, said) = run(node, words);
    assert_eq!(code, Some(0), "{words}: {said}");
    said
}

/// ... which is not, because of a condition.
fn refused(node: &Node, words: &str) -> String {
    let (code, said) = run(node, words);
    assert_eq!(code, Some(1), "{words}: {said}");
    said
}

fn router(node: &Node) -> serde_json::Value {
    node.router("web").expect("the daemon answers")
}

/// The configuration of a node with the peer link, with a key of its own file.
fn linked(node: &Node, more: &str, key: &str) -> String {
    let (own, other, priority) = if node.name() == "a" { (193, 194, PRIMARY) } else { (194, 193, SECONDARY) };
    let file = node.directory().join("peer.key");
    std::fs::write(&file, key).expect("the lab's directory is writable");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).expect("our own file");
    let link = format!(
        "[peer_link]\nlisten = \"192.0.2.{own}:9112\"\npeers = [\"192.0.2.{other}:9112\"]\nkey_file = \"{}\"\n",
        file.display()
    );
    format!("{}\n{link}", web(priority, more))
}

const KEY: &str = "0123456789abcdef0123456789abcdef\n";

/// Waits until `node` has heard of the other one's router through the link, and `wanted` accepts it.
fn wait_for_peer(node: &Node, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
    wait_for(&format!("{}: the peer {what}", node.name()), DEADLINE, || {
        let state = node.state()?;
        let other = &state["peers"][0]["virtual_routers"][0];
        (other.is_object() && wanted(other)).then_some(())
    });
}

fn is_fit(router: &serde_json::Value) -> bool {
    router["unfit"].as_array().is_some_and(Vec::is_empty)
}

/// A file that both the test and an unprivileged check can see, gone with the test.
struct Flag(PathBuf);

impl Flag {
    fn new(name: &str) -> Self {
        let flag = Self(std::env::temp_dir().join(format!("vrrpd-orders-{}-{name}", std::process::id())));
        flag.raise();
        flag
    }
    fn raise(&self) {
        std::fs::write(&self.0, "").expect("the temporary directory is writable");
    }
    fn lower(&self) {
        std::fs::remove_file(&self.0).expect("it is there");
    }
    fn path(&self) -> &Path {
        &self.0
    }
    /// Keys and a table of a virtual router with a check that passes while the flag is there.
    fn check(&self) -> String {
        format!(
            "checks = [\"service\"]\n\n[check.service]\nexec = [\"/usr/bin/test\", \"-e\", \"{}\"]\n\
             user = \"nobody\"\ninterval = \"200ms\"\nrise = 1\nfall = 2\n",
            self.path().display()
        )
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        // A test may have removed it itself.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn wait_for_check(node: &Node, state: &str) {
    node.wait_for_router("web", &format!("with a {state} check"), |router| {
        router["checks"][0]["state"] == state
    });
}

#[test]
fn a_drained_node_stays_away_across_restart_and_reload_until_it_is_undrained() {
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let said = obeyed(&a, "drain web --reason kernel");
    assert!(said.contains("192.0.2.194 took over") && said.contains("no peer link"), "{said}");
    lab.settles_on(VIP, "b", 10);
    let shown = router(&a);
    assert_eq!((&shown["state"], &shown["reason"]), (&"initialize".into(), &"drained".into()));
    assert_eq!(shown["orders"]["drained"]["reason"], "kernel");
    assert_eq!(shown["orders"]["drained"]["uid"], 0);
    let state = refused(&a, "state");
    assert!(state.contains("drained by") && state.contains("vrrpctl undrain web"), "{state}");
    let why = obeyed(&a, "why web");
    assert!(why.contains("drained by the operator") && why.contains("drain web (reason: kernel)"), "{why}");

    assert!(primary.terminate().success());
    let primary = a.start_vrrpd();
    a.wait_for_router("web", "is drained", |router| router["reason"] == "drained");
    primary.reload();
    assert!(primary.log().contains("vrrpd starts"));
    lab.settles_on(VIP, "b", 20);
    assert_eq!(router(&a)["reason"], "drained");

    obeyed(&a, "undrain web");
    lab.settles_on(VIP, "a", 10);
    assert!(router(&a)["orders"]["drained"].is_null());
    let history = obeyed(&a, "history web");
    assert!(history.contains("undrain web"), "{history}");
}

#[test]
fn a_client_waits_for_a_drain_and_a_switchover_no_longer_than_for_a_graceful_stop() {
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let wait_of = |act: &mut dyn FnMut(), to: &str| {
        let prober = Prober::start(lab.client(), VIP);
        prober.wait_for_answer();
        act();
        lab.settles_on(VIP, to, 5);
        prober.wait_for_answer();
        i64::try_from(prober.stop().longest_wait().as_nanos()).expect("a test does not last 292 years")
    };
    let mut primary = Some(primary);
    let stop = wait_of(&mut || assert!(primary.take().expect("runs").terminate().success()), "b");
    let _primary = a.start_vrrpd();
    lab.settles_on(VIP, "a", 5);
    let drain = wait_of(&mut || drop(obeyed(&a, "drain web")), "b");
    obeyed(&a, "undrain web");
    lab.settles_on(VIP, "a", 5);
    let switchover = wait_of(&mut || drop(obeyed(&a, "switchover web")), "b");
    println!(
        "the client waited {stop} ns for a stop, {drain} ns for a drain, {switchover} ns for a switchover"
    );
    for (what, wait) in [("drain", drain), ("switchover", switchover)] {
        assert!(wait < SKEW_NS.max(stop), "{what}: {wait} ns, as if nobody had answered during the skew");
    }
}

#[test]
fn the_last_node_is_not_drained_unless_it_is_forced() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary }) = Pair::open("") else { return };
    assert!(secondary.terminate().success());
    let said = refused(&a, "drain web");
    assert!(
        said.contains("nobody took over") && said.contains("--force") && said.contains("no peer link"),
        "{said}"
    );
    lab.settles_on(VIP, "a", 10);
    assert!(router(&a)["orders"]["drained"].is_null());
    let said = refused(&a, "drain web --force");
    assert!(said.contains("nobody was seen to take over"), "{said}");
    wait_for("nobody with the address", DEADLINE, || lab.holders(VIP).is_empty().then_some(()));
}

#[test]
fn a_backup_is_drained_without_moving_anything() {
    let Some(Pair { lab, a: _a, b, primary, secondary: _secondary }) = Pair::open("") else { return };
    b.wait_for_router("web", "hears a", |router| router["active_router"]["priority"] == PRIMARY);
    obeyed(&b, "drain web");
    assert_eq!(router(&b)["reason"], "drained");
    lab.settles_on(VIP, "a", 5);
    assert!(primary.terminate().success());
    wait_for("nobody with the address", DEADLINE, || lab.holders(VIP).is_empty().then_some(()));
    obeyed(&b, "undrain web");
    lab.settles_on(VIP, "b", 5);
}

#[test]
fn a_frozen_check_moves_nothing_until_its_time_is_over() {
    let flag = Flag::new("freeze");
    let config = |node: &Node| {
        if node.name() == "a" { web(PRIMARY, &flag.check()) } else { web(SECONDARY, "") }
    };
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::with(config) else { return };
    wait_for_check(&a, "passing");
    lab.settles_on(VIP, "a", 5);
    obeyed(&a, "freeze web --for 2h --reason upgrade");
    flag.lower();
    wait_for_check(&a, "failing");
    lab.settles_on(VIP, "a", 10);
    assert_eq!(router(&a)["priority"]["effective"], PRIMARY);
    let state = refused(&a, "state");
    assert!(state.contains("checks are frozen until") && state.contains("upgrade"), "{state}");

    // A restart hands over and comes back: the check fails, and still counts as it stood.
    assert!(primary.terminate().success());
    let _primary = a.start_vrrpd();
    wait_for_check(&a, "failing");
    lab.settles_on(VIP, "a", 10);
    let said = obeyed(&a, "unfreeze web");
    assert!(said.contains("not passing: service"), "{said}");
    lab.settles_on(VIP, "b", 10);

    flag.raise();
    lab.settles_on(VIP, "a", 10);
    obeyed(&a, "freeze web --for 3s");
    flag.lower();
    wait_for_check(&a, "failing");
    lab.settles_on(VIP, "b", 10);
    let history = obeyed(&a, "history web");
    assert!(history.contains("the freeze has ended, its time is over"), "{history}");
}

#[test]
fn a_switchover_goes_there_and_stays_and_comes_back_by_order() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::open("") else { return };
    b.wait_for_router("web", "hears a", |router| router["active_router"]["priority"] == PRIMARY);
    let said = refused(&b, "switchover web");
    assert!(said.contains("on the Active node") && said.contains("peer link"), "{said}");
    let said = obeyed(&a, "switchover web --reason update");
    assert!(said.contains("handed over to 192.0.2.194") && said.contains("a gap of 0.0 ms"), "{said}");
    assert!(said.contains("what a client saw is not measured"), "{said}");
    // Several times the time after which a would have preempted, also after a restart.
    lab.settles_on(VIP, "b", 20);
    let shown = router(&a);
    assert_eq!(shown["reason"], "handed_over");
    assert_eq!(shown["orders"]["yielded"]["by"]["reason"], "update");
    assert!(primary.terminate().success());
    let _primary = a.start_vrrpd();
    a.wait_for_router("web", "hears b", |router| router["active_router"]["priority"] == SECONDARY);
    lab.settles_on(VIP, "b", 20);

    obeyed(&b, "switchover web");
    lab.settles_on(VIP, "a", 10);
    assert!(router(&a)["orders"]["yielded"].is_null());
    obeyed(&a, "switchover web");
    lab.settles_on(VIP, "b", 5);
    let said = obeyed(&a, "switchover web");
    assert!(said.contains("took the role back"), "{said}");
    lab.settles_on(VIP, "a", 10);
}

/// A crash may leave a drain unanswered, and the handover before it in the file; the core forgets that with the drain.
#[test]
fn a_drain_ends_a_handover_also_when_a_crash_left_both_in_the_file() {
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::open("") else { return };
    obeyed(&a, "switchover web");
    assert!(primary.terminate().success());
    let file = a.disk().join("state/orders.json");
    let text = std::fs::read_to_string(&file).expect("the daemon has written it");
    let mut kept: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let orders = &mut kept["virtual_routers"]["web"];
    orders["drained"] = orders["yielded"]["by"].clone();
    assert!(orders["drained"].is_object(), "{text}");
    std::fs::write(&file, kept.to_string()).expect("the lab's directory is writable");

    let _primary = a.start_vrrpd();
    a.wait_for_router("web", "is drained", |router| router["reason"] == "drained");
    obeyed(&a, "undrain web");
    let shown = router(&a);
    assert!(shown["orders"]["yielded"].is_null() && shown["orders"]["drained"].is_null(), "{shown}");
    lab.settles_on(VIP, "a", 10);
}

#[test]
fn a_peer_that_does_not_take_over_leaves_everything_as_it_was() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary }) = Pair::open("") else { return };
    secondary.freeze();
    let said = refused(&a, "switchover web");
    assert!(said.contains("nobody took over") && said.contains("went on as Active"), "{said}");
    lab.settles_on(VIP, "a", 10);
    assert_eq!(router(&a)["state"], "active");
    secondary.thaw();
    lab.settles_on(VIP, "a", 10);
}

#[test]
fn with_the_peer_link_a_backup_can_ask_for_the_role() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) =
        Pair::with(|node| linked(node, "", KEY))
    else {
        return;
    };
    wait_for_peer(&b, "is Active", |router| router["state"] == "active" && is_fit(router));
    wait_for_peer(&a, "is fit", is_fit);
    let state = obeyed(&a, "state");
    assert!(state.contains("peer b (192.0.2.194:9112): BACKUP 100/100, fit"), "{state}");
    let done: serde_json::Value =
        serde_json::from_str(&obeyed(&b, "switchover web --reason mine --json")).expect("one line of JSON");
    assert_eq!(done["handover"]["successor"], "192.0.2.194");
    lab.settles_on(VIP, "b", 20);
    let history = obeyed(&a, "history web");
    assert!(history.contains("on b") && history.contains("reason: mine"), "{history}");
    wait_for_peer(&a, "is Active", |router| router["state"] == "active");
    obeyed(&a, "switchover web");
    lab.settles_on(VIP, "a", 10);
}

#[test]
fn a_peer_that_is_not_fit_gets_nothing_unless_it_is_forced() {
    let flag = Flag::new("unfit");
    let config = |node: &Node| {
        let more = if node.name() == "b" { flag.check() } else { String::new() };
        linked(node, &more, KEY)
    };
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::with(config) else {
        return;
    };
    wait_for_check(&b, "passing");
    wait_for_peer(&a, "is fit", is_fit);
    flag.lower();
    wait_for_peer(&a, "is not fit", |router| !is_fit(router));
    for order in ["switchover web", "drain web"] {
        let said = refused(&a, order);
        assert!(said.contains("check service is failing") && said.contains("--force"), "{said}");
    }
    let state = refused(&a, "state");
    assert!(state.contains("not fit: check service is failing"), "{state}");
    lab.settles_on(VIP, "a", 10);
    // b gives it back before long: a node that begins its tenure degraded asks for a better one.
    let said = obeyed(&a, "switchover web --force");
    assert!(said.contains("handed over to 192.0.2.194") && said.contains("is not fit"), "{said}");
    lab.settles_on(VIP, "a", 5);
}

#[test]
fn a_peer_with_another_key_is_not_believed() {
    let config = |node: &Node| {
        linked(node, "", if node.name() == "a" { KEY } else { "fedcba9876543210fedcba9876543210" })
    };
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = Pair::with(config) else { return };
    let shown = wait_for("refused datagrams", DEADLINE, || {
        let state = a.state()?;
        (state["peers"][0]["refused"].as_u64() >= Some(2)).then_some(state)
    });
    assert!(shown["peers"][0]["age_ms"].is_null(), "{shown}");
    let state = refused(&a, "state");
    assert!(state.contains("key_file differs"), "{state}");
    let warnings = primary.log().matches("refused a datagram").count();
    assert_eq!(warnings, 1, "further ones are counted");
    assert!(!primary.log().contains("0123456789abcdef"), "the secret is in the log");
    let said = obeyed(&a, "switchover web");
    assert!(said.contains("nothing was heard lately on the peer link"), "{said}");
    lab.settles_on(VIP, "b", 5);
}

#[test]
fn damaged_orders_are_told_and_set_aside() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.write_vrrpd_config(&web(PRIMARY, ""));
    let state = a.disk().join("state");
    std::fs::write(state.join("orders.json"), "{\"version\": 1, \"virt").expect("writable");
    let daemon = a.start_vrrpd();
    lab.wait_for_holder(VIP, "a");
    assert!(daemon.log().contains("orders.json is damaged"), "{}", daemon.log());
    let shown = refused(&a, "state");
    assert!(shown.contains("set aside as"), "{shown}");
    assert!(state.join("orders.damaged").exists() && !state.join("orders.json").exists());
    std::fs::remove_file(state.join("orders.damaged")).expect("it is there");
    let alarms = a.state().expect("answers")["alarms"].clone();
    assert_eq!(alarms, serde_json::json!([]));
}

#[test]
fn orders_work_beside_keepalived_and_say_what_is_not_known() {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let _vrrpd = a.vrrpd(&web(PRIMARY, ""));
    let _keepalived = b.keepalived(&format!(
        "vrrp_instance web {{\n interface eth0\n virtual_router_id 201\n priority {SECONDARY}\n advert_int 0.1\n \
         virtual_ipaddress {{\n {VIP}\n }}\n}}\n"
    ));
    lab.settles_on(VIP, "a", 10);
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    for (order, back) in [("drain web", "undrain web"), ("switchover web", "switchover web")] {
        let said = obeyed(&a, order);
        assert!(said.contains("192.0.2.194") && said.contains("nothing is known of the fitness"), "{said}");
        lab.settles_on(VIP, "b", 20);
        obeyed(&a, back);
        lab.settles_on(VIP, "a", 10);
        prober.wait_for_answer();
    }
    let wait = prober.stop().longest_wait().as_nanos();
    assert!(wait < SKEW_NS.unsigned_abs().into(), "the client noticed: {wait} ns");
}
