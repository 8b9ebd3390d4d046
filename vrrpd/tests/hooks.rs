//! Hooks as real programs behind real queues.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc;
use vrrp_proto::{AdverInterval, Family, Priority, Vrid};
use vrrpd::config::HookState::{Active, Backup, Fault, Stopped};
use vrrpd::config::{
    Announcements, Config, Daemon, Exec, GarpForm, Hook, HookState, Ipv4Checksum, Lease, Scheduling,
    VirtualAddress, VirtualRouter,
};
use vrrpd::hook::{HookResult, Hooks, Transition};

mod forked;

use forked::{Fixture, cases};

fn main() -> ExitCode {
    forked::run(cases![
        the_arguments_are_those_of_keepalived,
        the_environment_tells_the_rest,
        only_the_states_that_a_hook_wants_reach_it,
        hooks_of_one_router_run_one_at_a_time_in_order,
        while_one_runs_only_the_newest_state_waits,
        virtual_routers_do_not_wait_for_each_other,
        a_hook_that_fails_or_hangs_is_reported_and_the_next_one_runs,
        a_reload_delivers_what_waits_and_then_uses_the_new_hooks,
        the_end_waits_for_stopped,
        at_the_end_a_hanging_hook_gives_way_to_stopped,
        the_end_is_bounded_whatever_happens,
        a_dead_launcher_is_reported,
    ])
}

/// A hook that hears of everything and runs this shell script; `$1` to `$4` are what it is told.
fn hook(name: &str, script: &str) -> Hook {
    let argv = ["/bin/sh", "-c", script, name].map(str::to_owned).to_vec();
    let timeout = Duration::from_secs(30);
    Hook {
        name: name.to_owned(),
        on: vec![Active, Backup, Fault, Stopped],
        exec: Exec { argv, user: None },
        timeout,
    }
}

/// Virtual routers with these names, each with all the hooks.
fn config(routers: &[&str], hooks: &[Hook]) -> Config {
    let names: Vec<String> = hooks.iter().map(|hook| hook.name.clone()).collect();
    Config {
        interfaces: Vec::new(),
        peer_link: None,
        daemon: Daemon {
            node: "bootstrap-a".to_owned(),
            control_socket: PathBuf::from("/run/vrrpd/control.sock"),
            runtime_dir: PathBuf::from("/run/vrrpd"),
            state_dir: PathBuf::from("/var/lib/vrrpd"),
            read_group: "vrrpd".to_owned(),
            scheduling: Scheduling::Normal,
        },
        virtual_routers: routers.iter().map(|name| virtual_router(name, &names)).collect(),
        checks: Vec::new(),
        hooks: hooks.to_vec(),
        sync_groups: Vec::new(),
        dns_updates: Vec::new(),
        fixed: vrrpd::config::Static::default(),
    }
}

fn virtual_router(name: &str, hooks: &[String]) -> VirtualRouter {
    let address = |last| VirtualAddress {
        ip: IpAddr::from([192, 0, 2, last]),
        prefix_len: 32,
        interface: None,
        options: netlink::AddressOptions::default(),
    };
    VirtualRouter {
        name: name.to_owned(),
        interface: "eth0".to_owned(),
        vrid: Vrid::new(201).expect("1 to 255"),
        family: Family::Ipv4,
        priority: Priority::new(150),
        advertisement_interval: AdverInterval::DEFAULT,
        authentication: None,
        addresses: vec![address(201), address(202)],
        extra_addresses: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
        source_address: None,
        peers: Vec::new(),
        allowed_sources: Vec::new(),
        multicast_group: Family::Ipv4.group(),
        min_ttl: 255,
        second_path: None,
        witness: None,
        suspicion: false,
        ipv4_checksum: Ipv4Checksum::Auto,
        on_conflict: vrrp_proto::parameters::OnConflict::Claim,
        startup_delay: Duration::ZERO,
        carrier_delay: Duration::ZERO,
        preempt_mode: true,
        preempt_delay: Duration::ZERO,
        accept_mode: true,
        strict: false,
        virtual_mac: false,
        lease: Lease::Auto,
        checks: Vec::new(),
        track_interfaces: Vec::new(),
        hooks: hooks.to_vec(),
        garp: Announcements {
            count: 5,
            interval: Duration::from_millis(100),
            second_after: Duration::from_secs(5),
            refresh: Duration::from_secs(60),
            refresh_count: 1,
            lower_priority_count: 5,
            lower_priority_second_after: Duration::from_secs(5),
            interfaces: Vec::new(),
            form: GarpForm::Request,
        },
    }
}

fn to(state: HookState) -> Transition {
    Transition {
        state,
        previous_state: Backup,
        reason: "no_response".to_owned(),
        priority: 150,
        active_router: Some(IpAddr::from([192, 0, 2, 193])),
        at: Timestamp::UNIX_EPOCH,
    }
}

fn start(fixture: &Fixture, config: &Config) -> (Hooks, mpsc::Receiver<HookResult>) {
    let (sender, results) = mpsc::channel(64);
    (Hooks::new(config, fixture.launcher.clone(), sender), results)
}

async fn next(results: &mut mpsc::Receiver<HookResult>) -> HookResult {
    results.recv().await.expect("the hooks are alive")
}

/// What the hook said in its one run.
async fn said(fixture: &Fixture, script: &str, transition: &Transition) -> String {
    let (hooks, mut results) = start(fixture, &config(&["bootstrap"], &[hook("log", script)]));
    hooks.notify("bootstrap", transition);
    let result = next(&mut results).await;
    assert!(result.passed, "{}", result.message);
    result.message
}

/// Something that a hook waits for, so that it runs as long as the test wants.
struct Gate(PathBuf);

impl Gate {
    fn new(name: &str) -> Self {
        // Where the hook's user can look as well.
        Self(std::env::temp_dir().join(format!("vrrpd-gate-{name}-{}", std::process::id())))
    }

    fn wait(&self) -> String {
        format!("while [ ! -e {} ]; do sleep 0.01; done; echo $3", self.0.display())
    }

    fn open(&self) {
        fs::write(&self.0, "").expect("there is a directory for temporary files");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // A test that fails may not have come to opening it.
        let _ = fs::remove_file(&self.0);
    }
}

async fn the_arguments_are_those_of_keepalived(fixture: Fixture) {
    for (state, word) in [(Active, "MASTER"), (Backup, "BACKUP"), (Fault, "FAULT"), (Stopped, "STOP")] {
        let arguments = said(&fixture, "echo $0 $#: $*", &to(state)).await;
        assert_eq!(arguments, format!("exit code 0: log 4: INSTANCE bootstrap {word} 150"));
    }
}

async fn the_environment_tells_the_rest(fixture: Fixture) {
    let script = "echo $VRRPD_VIRTUAL_ROUTER $VRRPD_INTERFACE $VRRPD_VRID $VRRPD_FAMILY $VRRPD_STATE \
                  $VRRPD_PREVIOUS_STATE $VRRPD_REASON $VRRPD_PRIORITY";
    let seen = said(&fixture, script, &to(Active)).await;
    assert_eq!(seen, "exit code 0: bootstrap eth0 201 ipv4 active backup no_response 150");
    let script = "echo $VRRPD_ADDRESSES $VRRPD_NODE $VRRPD_ACTIVE_ROUTER $VRRPD_TRANSITION_TIME";
    let seen = said(&fixture, script, &to(Active)).await;
    let wanted = "192.0.2.201/32 192.0.2.202/32 bootstrap-a 192.0.2.193 1970-01-01T00:00:00Z";
    assert_eq!(seen, format!("exit code 0: {wanted}"));
    let nobody = Transition { active_router: None, previous_state: Fault, ..to(Stopped) };
    let script = "echo $VRRPD_STATE $VRRPD_PREVIOUS_STATE [${VRRPD_ACTIVE_ROUTER-unset}]";
    assert_eq!(said(&fixture, script, &nobody).await, "exit code 0: stopped initialize []");
}

async fn only_the_states_that_a_hook_wants_reach_it(fixture: Fixture) {
    let some = Hook { on: vec![Active, Stopped], ..hook("some", "exit 0") };
    let (hooks, mut results) = start(&fixture, &config(&["bootstrap"], &[some]));
    hooks.notify("bootstrap", &to(Backup));
    hooks.notify("unknown", &to(Active));
    hooks.notify("bootstrap", &to(Active));
    assert_eq!(next(&mut results).await.state, Active);
    assert_eq!(hooks.drain(Duration::from_secs(20)).await, 0);
    assert!(results.try_recv().is_err(), "nothing else was run");
}

async fn hooks_of_one_router_run_one_at_a_time_in_order(fixture: Fixture) {
    let lock = format!("/tmp/vrrpd-hooks-{}", std::process::id());
    let script = format!("mkdir {lock} || exit 9; sleep 0.02; rmdir {lock}");
    let (hooks, mut results) = start(
        &fixture,
        &config(&["bootstrap"], &[hook("b", &script), hook("a", &script), hook("c", &script)]),
    );
    let mut seen = Vec::new();
    for state in [Active, Backup] {
        hooks.notify("bootstrap", &to(state));
        for _ in 0..3 {
            let result = next(&mut results).await;
            assert!(result.passed, "{}", result.message);
            seen.push(format!("{} {:?}", result.hook, result.state));
        }
    }
    assert_eq!(seen, ["b Active", "a Active", "c Active", "b Backup", "a Backup", "c Backup"]);
}

async fn while_one_runs_only_the_newest_state_waits(fixture: Fixture) {
    let gate = Gate::new("newest");
    let (hooks, mut results) = start(&fixture, &config(&["bootstrap"], &[hook("log", &gate.wait())]));
    hooks.notify("bootstrap", &to(Active));
    tokio::task::yield_now().await;
    for state in [Backup, Active, Fault] {
        hooks.notify("bootstrap", &to(state));
    }
    gate.open();
    let (first, second) = (next(&mut results).await, next(&mut results).await);
    assert_eq!((first.state, first.superseded), (Active, 0));
    assert_eq!((second.state, second.superseded), (Fault, 2));
    assert_eq!(second.message, "exit code 0: FAULT");
    assert_eq!(hooks.drain(Duration::from_secs(20)).await, 0);
    assert!(results.try_recv().is_err(), "nothing else was run");
}

async fn virtual_routers_do_not_wait_for_each_other(fixture: Fixture) {
    let gate = Gate::new("routers");
    let script = format!("[ $2 = fast ] || {{ {}; }}", gate.wait());
    let (hooks, mut results) = start(&fixture, &config(&["slow", "fast"], &[hook("log", &script)]));
    hooks.notify("slow", &to(Active));
    hooks.notify("fast", &to(Active));
    assert_eq!(next(&mut results).await.virtual_router, "fast");
    gate.open();
    assert_eq!(next(&mut results).await.virtual_router, "slow");
}

async fn a_hook_that_fails_or_hangs_is_reported_and_the_next_one_runs(fixture: Fixture) {
    let hanging = Hook { timeout: Duration::from_millis(100), ..hook("hanging", "sleep 1000") };
    let failing = hook("failing", "echo no disk >&2; exit 3");
    let (hooks, mut results) =
        start(&fixture, &config(&["bootstrap"], &[hanging, failing, hook("fine", "exit 0")]));
    hooks.notify("bootstrap", &to(Active));
    let result = next(&mut results).await;
    assert!(!result.passed && result.message.ends_with(" ms, its deadline"), "{}", result.message);
    let result = next(&mut results).await;
    assert_eq!((result.passed, result.message.as_str()), (false, "exit code 3: no disk"));
    assert!(next(&mut results).await.passed);
}

async fn a_reload_delivers_what_waits_and_then_uses_the_new_hooks(fixture: Fixture) {
    let gate = Gate::new("reload");
    let old = config(&["bootstrap"], &[hook("first", &gate.wait()), hook("old", "exit 0")]);
    let (mut hooks, mut results) = start(&fixture, &old);
    hooks.notify("bootstrap", &to(Stopped));
    hooks.apply(&config(&[], &[]));
    hooks.notify("bootstrap", &to(Active));
    hooks.apply(&config(&["bootstrap"], &[hook("new", "exit 0")]));
    hooks.notify("bootstrap", &to(Backup));
    gate.open();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let result = next(&mut results).await;
        seen.push(format!("{} {:?}", result.hook, result.state));
    }
    assert_eq!(seen, ["first Stopped", "old Stopped", "new Backup"]);
}

async fn the_end_waits_for_stopped(fixture: Fixture) {
    let (hooks, mut results) = start(&fixture, &config(&["one", "two"], &[hook("log", "sleep 0.05")]));
    for router in ["one", "two"] {
        hooks.notify(router, &to(Active));
        tokio::task::yield_now().await;
        hooks.notify(router, &to(Stopped));
    }
    assert_eq!(hooks.drain(Duration::from_secs(20)).await, 0);
    let mut stopped = 0;
    while let Ok(result) = results.try_recv() {
        assert!(result.passed, "{}", result.message);
        stopped += usize::from(result.state == Stopped);
    }
    assert_eq!(stopped, 2);
}

async fn at_the_end_a_hanging_hook_gives_way_to_stopped(fixture: Fixture) {
    let hanging = hook("hanging", "sleep 1000");
    let (hooks, mut results) = start(&fixture, &config(&["bootstrap"], &[hanging, hook("log", "exit 0")]));
    hooks.notify("bootstrap", &to(Active));
    tokio::task::yield_now().await;
    hooks.notify("bootstrap", &to(Stopped));
    assert_eq!(hooks.drain(Duration::from_secs(3)).await, 0);
    let mut seen = Vec::new();
    while let Ok(result) = results.try_recv() {
        seen.push(format!("{} {:?} {}", result.hook, result.state, result.passed));
    }
    assert_eq!(seen, ["hanging Active false", "hanging Stopped false", "log Stopped true"]);
}

async fn the_end_is_bounded_whatever_happens(fixture: Fixture) {
    let (hooks, _results) =
        start(&fixture, &config(&["bootstrap"], &[hook("a", "exit 0"), hook("b", "exit 0")]));
    assert_eq!(hooks.drain(Duration::from_secs(20)).await, 0, "nothing to wait for");
    let launcher = Pid::from_raw(i32::try_from(fixture.pid).expect("pids are small"));
    kill(launcher, Signal::SIGSTOP).expect("it is ours");
    hooks.notify("bootstrap", &to(Stopped));
    assert_eq!(hooks.drain(Duration::from_millis(200)).await, 2);
    kill(launcher, Signal::SIGCONT).expect("it is ours");
}

async fn a_dead_launcher_is_reported(fixture: Fixture) {
    let launcher = Pid::from_raw(i32::try_from(fixture.pid).expect("pids are small"));
    kill(launcher, Signal::SIGKILL).expect("it is ours");
    let (hooks, mut results) = start(&fixture, &config(&["bootstrap"], &[hook("log", "exit 0")]));
    hooks.notify("bootstrap", &to(Active));
    let result = next(&mut results).await;
    assert!(!result.passed && result.message.contains("has ended"), "{}", result.message);
}
