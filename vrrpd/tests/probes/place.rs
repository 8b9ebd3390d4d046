//! Where the cases take place: this process is a node with the addresses 192.0.2.193 and
//! 2001:db8::193, and on the other end of a cable is a router with 192.0.2.1 and 2001:db8::1.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use netlink::{Address, Change, LinkIndex, Netns, Request, Requester};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::geteuid;

/// A file system of this size with so many inodes.
const DISK: &str = "size=1m,nr_inodes=64";

/// Makes the place, or says why it cannot be had. Without the right to make networks, this program
/// begins again as the root of a user namespace of its own.
pub(crate) fn enter() -> Result<(), String> {
    let told = |errno| format!("no network namespace to be had: {errno}");
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) if std::env::var_os(AGAIN).is_none() => return Err(begin_again()),
        entered => entered.map_err(told)?,
    }
    // Link-local addresses at once: nobody else is there.
    let quick = || std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
    quick().map_err(|error| error.to_string())?;
    let router = here();
    unshare(CloneFlags::CLONE_NEWNET).map_err(told)?;
    quick().map_err(|error| error.to_string())?;
    let node = here();

    let mut kernel = Requester::open().expect("sockets can be had");
    let peer_netns = Some(Netns::Fd(router.as_raw_fd()));
    make(&mut kernel, Request::AddVeth { name: "eth0".into(), peer_name: "eth0".into(), peer_netns });
    set_up(&mut kernel, &["192.0.2.193/24", "2001:db8::193/64"]);
    setns(&router, CloneFlags::CLONE_NEWNET).expect("it was ours");
    set_up(
        &mut Requester::open().expect("sockets can be had"),
        &["192.0.2.1/24", "2001:db8::1/64", "fe80::1/64"],
    );
    setns(&node, CloneFlags::CLONE_NEWNET).expect("it was ours");
    // It lives on in the other end of the cable, as long as something holds it.
    std::mem::forget(router);
    Ok(())
}

/// Set in the program that began again.
const AGAIN: &str = "VRRPD_PROBES_AGAIN";

/// Returns only when that is not possible.
fn begin_again() -> String {
    let program = std::env::current_exe().expect("a running program has a path");
    let error = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(AGAIN, "1")
        .exec();
    format!("no user namespace to be had: unshare(1): {error}")
}

/// Nothing can be shown here; in continuous integration that is a failure.
pub(crate) fn skip(cause: &str) -> ExitCode {
    eprintln!("SKIPPED all cases: {cause}");
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    if ci { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn here() -> File {
    File::open("/proc/self/ns/net").expect("/proc is mounted")
}

fn make(kernel: &mut Requester, request: Request) {
    for result in kernel.perform(&[request]) {
        assert_eq!(result.expect("the namespace is ours"), Change::Made);
    }
}

fn set_up(kernel: &mut Requester, addresses: &[&str]) {
    for name in ["lo", "eth0"] {
        let link = link(kernel, name);
        make(kernel, Request::SetUp { link });
    }
    for address in addresses {
        add(kernel, address);
    }
}

fn link(kernel: &mut Requester, name: &str) -> LinkIndex {
    let links = kernel.links().expect("anybody may list");
    links.iter().find(|link| link.name == name).expect("it was made").index
}

fn parsed(address: &str) -> Address {
    let (ip, length) = address.split_once('/').expect("an address with its prefix");
    Address { ip: super::ip(ip), prefix_len: length.parse().expect("a number") }
}

fn add(kernel: &mut Requester, address: &str) {
    let link = link(kernel, "eth0");
    make(kernel, Request::AddPlainAddress { link, address: parsed(address) });
}

/// Gives the node another address.
pub(crate) fn add_address(address: &str) {
    add(&mut Requester::open().expect("sockets can be had"), address);
}

/// Takes an address from the node.
pub(crate) fn remove_address(address: &str) {
    let mut kernel = Requester::open().expect("sockets can be had");
    let link = link(&mut kernel, "eth0");
    make(&mut kernel, Request::RemoveAddress { link, address: parsed(address) });
}

/// `ip` with these words.
pub(crate) fn run_ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A directory that goes with the case.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let template = std::env::temp_dir().join("vrrpd-probes-XXXXXX");
        Self(nix::unistd::mkdtemp(&template).expect("a directory can be made"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the directory is ours");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A small file system, mounted where nobody else sees it. `None`: this takes root.
pub(crate) fn mount(at: &Path) -> Option<Mounted> {
    if !geteuid().is_root() || unshare(CloneFlags::CLONE_NEWNS).is_err() {
        eprintln!("SKIPPED a case: to mount a file system takes root");
        return None;
    }
    let mounted = Mounted(at.to_owned());
    run("mount", &["--make-rprivate", "/"]);
    run("mount", &["-t", "tmpfs", "-o", DISK, "probed", &mounted.0.to_string_lossy()]);
    Some(mounted)
}

/// A file system that is unmounted with it.
pub(crate) struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[&self.0.to_string_lossy()]);
    }
}

fn run(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).status().expect("util-linux is installed");
    assert!(status.success(), "{program} {words:?}");
}
