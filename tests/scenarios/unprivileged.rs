//! What the daemon may do when its unit starts it: not root, and a handful of rights.

use lab::story::{PRIMARY, SECONDARY, VIP, web};
use lab::{DEADLINE, Daemon, Lab, usage, wait_for};
use nix::unistd::Pid;

const UNIT: &str = include_str!("../../packaging/systemd/vrrpd.service");

/// A user that no machine has, as those of `DynamicUser=`: every right comes from the capabilities.
const USER: u32 = 61_999;

// Numbers of linux/capability.h.
const KILL: u64 = 1 << 5;
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const SYS_NICE: u64 = 1 << 23;

const DAEMON: u64 = NET_ADMIN | NET_RAW;
const LAUNCHER: u64 = SETUID | SETGID | KILL;

/// Passes as long as its file is there, and says who it is and what it may do.
const CHECK: &str =
    r#"test -e "$1" && echo uid $(id -u) $(sed -n 's/^Cap\(Inh\|Prm\|Eff\|Amb\):\t*//p' /proc/self/status)"#;

#[test]
fn without_root_two_nodes_elect_check_and_hand_over_with_the_rights_of_the_unit() {
    let Some(lab) = Lab::with(&["setpriv"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let flag = a.directory().join("flag");
    std::fs::write(&flag, "").expect("the lab's directory is writable");
    let check = format!(
        "checks = [\"service\"]\n[check.service]\nexec = [\"/bin/sh\", \"-c\", {CHECK:?}, \"sh\", {flag:?}]\n\
         user = \"nobody\"\ninterval = \"200ms\"\nrise = 1\nfall = 2"
    );
    a.write_vrrpd_config(&web(PRIMARY, &check));
    b.write_vrrpd_config(&web(SECONDARY, ""));
    let [primary, secondary] = [&a, &b].map(|node| node.start_vrrpd_unprivileged(USER, &rights_of_unit()));
    lab.settles_on(VIP, "a", 10);

    for daemon in [&primary, &secondary] {
        judge_rights(daemon);
    }
    let router = a.wait_for_router("web", "with a passing check", |r| r["checks"][0]["state"] == "passing");
    let said = router["checks"][0]["message"].as_str().unwrap_or_default().to_owned();
    let nothing = "0000000000000000";
    let nobody = nix::unistd::User::from_name("nobody").ok().flatten().expect("every machine has it").uid;
    assert!(
        said.ends_with(&format!("uid {nobody} {nothing} {nothing} {nothing} {nothing}")),
        "the check runs with rights of its own: {said}"
    );

    std::fs::remove_file(&flag).expect("it is there");
    lab.settles_on(VIP, "b", 5);
    std::fs::write(&flag, "").expect("the lab's directory is writable");
    lab.settles_on(VIP, "a", 5);
    let status = primary.terminate();
    assert!(status.success(), "{status}");
    assert!(!a.has(VIP), "a stopped daemon leaves no address");
    lab.settles_on(VIP, "b", 5);
}

/// What the unit gives, in setpriv's spelling.
fn rights_of_unit() -> Vec<String> {
    let given = |key: &str| UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let ambient = given("AmbientCapabilities").expect("the unit gives rights");
    assert_eq!(given("CapabilityBoundingSet"), Some(ambient), "nothing beyond these can be gained");
    assert_eq!(given("NoNewPrivileges"), Some("yes"));
    ambient.split_whitespace().map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect()
}

/// Started as root with all rights there are, it keeps the same few, and asks for realtime with one more.
#[test]
fn what_root_gives_is_given_up() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let [primary, secondary] = [a.vrrpd(&web(PRIMARY, "")), b.vrrpd_realtime(&web(SECONDARY, ""))];
    lab.settles_on(VIP, "a", 5);
    for (daemon, rights) in [(&primary, DAEMON), (&secondary, DAEMON | SYS_NICE)] {
        judge_threads(daemon.pid(), rights);
        for thread in usage::threads(daemon.pid()) {
            for set in ["CapBnd", "CapInh", "CapAmb"] {
                assert_eq!(usage::capabilities(thread, set), Some(0), "{set} of {thread}");
            }
        }
        assert!(!daemon.log().contains("landlock") && !daemon.log().contains("seccomp"), "{}", daemon.log());
    }
}

/// Each thread of the daemon has two rights; only the launcher, the daemon's one child, has the other
/// three.
fn judge_rights(daemon: &Daemon) {
    // What it runs comes behind it in the list.
    let launcher = wait_for("the launcher", DEADLINE, || daemon.processes().get(1).copied());
    judge_threads(daemon.pid(), DAEMON);
    assert_eq!(usage::capabilities(launcher, "CapPrm"), Some(LAUNCHER));
    assert_eq!(usage::capabilities(launcher, "CapEff"), Some(LAUNCHER));
    for thread in usage::threads(daemon.pid()).into_iter().chain([launcher]) {
        let uids = usage::status(thread, "Uid").expect("every thread has them");
        assert!(uids.split_whitespace().all(|uid| uid == USER.to_string()), "{thread}: {uids}");
    }
}

/// Its threads have these rights, cannot gain others, and are under a filter of system calls.
fn judge_threads(pid: Pid, rights: u64) {
    let threads = usage::threads(pid);
    assert!(threads.len() >= 3, "main, protocol, kernel: {threads:?}");
    for thread in threads {
        for set in ["CapPrm", "CapEff"] {
            assert_eq!(usage::capabilities(thread, set), Some(rights), "{set} of {thread}");
        }
        for (key, value) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
            assert_eq!(usage::status(thread, key).as_deref(), Some(value), "{key} of {thread}");
        }
    }
}
