//! Private network namespaces, and what the tests need in them.

use std::panic;
use std::process::Command;
use std::thread;

use netlink::{Address, AddressEntry, Change, Error, Link, LinkIndex, Monitor, Request, Requester};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

/// Runs `body` on a thread in a network namespace of its own, which goes with the thread.
///
/// Without the right to make one, the test binary is started again for this test alone in a user
/// namespace, which has to happen while it has one thread. Where that is forbidden as well, the test
/// is skipped and says so, or fails in continuous integration (`CI=true`).
pub(crate) fn in_network_namespace(test: &str, body: fn()) {
    let entered = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        // Link-local addresses would come, and be announced, when the kernel pleases.
        std::fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1")
            .expect("the settings of a namespace of our own can be set");
        body();
        Ok(())
    });
    match entered.join() {
        Ok(Ok(())) => (),
        Ok(Err(Errno::EPERM)) if std::env::var_os(AGAIN).is_none() => in_user_namespace(test),
        Ok(Err(errno)) => skip(test, &format!("unshare: {errno}")),
        Err(cause) => panic::resume_unwind(cause),
    }
}

fn in_user_namespace(test: &str) {
    let binary = std::env::current_exe().expect("a running program has a path");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(binary)
        .args(["--exact", test, "--nocapture"])
        .env(AGAIN, "1")
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return skip(test, &format!("unshare(1): {error}")),
    };
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !stdout.contains("running 1 test") {
        return skip(test, &stderr);
    }
    assert!(output.status.success(), "in a user namespace:\n{stdout}{stderr}");
}

fn skip(test: &str, cause: &str) {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "no network namespace to be had: {cause}");
    eprintln!("SKIPPED {test}: no network namespace to be had: {cause}");
}

/// Set in the process that was started again.
const AGAIN: &str = "NETLINK_TEST_AGAIN";

/// A requester in a namespace with the veth pair `a` and `b`, both up.
pub(crate) fn with_veth() -> (Requester, LinkIndex) {
    let mut requester = Requester::open().expect("sockets can be had");
    make(&mut requester, &[Request::AddVeth { name: "a".into(), peer_name: "b".into(), peer_netns: None }]);
    let (a, b) = (named(&mut requester, "a").index, named(&mut requester, "b").index);
    make(&mut requester, &[Request::SetUp { link: a }, Request::SetUp { link: b }]);
    (requester, a)
}

/// Performs what must work.
pub(crate) fn make(requester: &mut Requester, requests: &[Request]) {
    for result in requester.perform(requests) {
        assert_eq!(result.expect("the namespace is ours"), Change::Made);
    }
}

/// Performs one request.
pub(crate) fn perform(requester: &mut Requester, request: Request) -> Result<Change, Error> {
    let mut results = requester.perform(&[request]);
    assert_eq!(results.len(), 1, "a result for each request");
    results.remove(0)
}

pub(crate) fn named(requester: &mut Requester, name: &str) -> Link {
    let links = requester.links().expect("anybody may list");
    links.into_iter().find(|link| link.name == name).expect("was made before")
}

/// The addresses of a link.
pub(crate) fn addresses(requester: &mut Requester, link: LinkIndex) -> Vec<AddressEntry> {
    let mut entries = requester.addresses().expect("anybody may list");
    entries.retain(|entry| entry.link == link);
    entries
}

/// As [`Address::host`], from text.
pub(crate) fn host(ip: &str) -> Address {
    Address::host(ip.parse().expect("an IP address"))
}

/// Leaves the monitor with nothing waiting.
pub(crate) fn drain(monitor: &mut Monitor) {
    while monitor.next().expect("the kernel makes sense").is_some() {}
}
