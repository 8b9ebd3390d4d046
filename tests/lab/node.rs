//! A machine on the switch, and what an operator or an accident does to it.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::daemon::{self, Daemon};
use crate::{Capture, DEADLINE, Mac, Namespace, Switch, capture, wait_for};

/// A namespace with `eth0` on the switch, an IPv4, a global and a link-local IPv6 address.
pub struct Node {
    name: String,
    host: u8,
    namespace: Namespace,
    switch: Arc<Switch>,
    directory: PathBuf,
}

impl Node {
    pub(crate) fn new(name: &str, host: u8, parent: &Path, switch: &Arc<Switch>) -> Self {
        let namespace = Namespace::new().expect("available() has made one");
        // No test waits for duplicate address detection, and no router advertises here.
        for scope in ["all", "default"] {
            namespace.sysctl(&[
                (&format!("net/ipv6/conf/{scope}/accept_dad"), "0"),
                (&format!("net/ipv6/conf/{scope}/dad_transmits"), "0"),
                (&format!("net/ipv6/conf/{scope}/accept_ra"), "0"),
                (&format!("net/ipv6/conf/{scope}/router_solicitations"), "0"),
            ]);
        }
        namespace.ip("link set lo up\n");
        let directory = parent.join(name);
        std::fs::create_dir_all(&directory)
            .unwrap_or_else(|e| panic!("cannot create {}: {e}", directory.display()));
        let node = Self { name: name.to_owned(), host, namespace, switch: Arc::clone(switch), directory };
        node.create_interface();
        node
    }

    /// The name given, also that of the switch port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own address, for example `192.0.2.193`.
    pub fn ipv4(&self) -> String {
        format!("192.0.2.{}", self.host)
    }

    /// The Ethernet address of its `eth0`.
    pub fn mac(&self) -> Mac {
        Mac([2, 0, 0, 0, 0, self.host])
    }

    /// Its own global address, for example `2001:db8::193`.
    pub fn ipv6(&self) -> String {
        format!("2001:db8::{}", self.host)
    }

    /// Its link-local address, made from the MAC address.
    pub fn link_local(&self) -> String {
        format!("fe80::ff:fe00:{:x}", self.host)
    }

    /// Its addresses on the cable of [`cable_to`](Self::cable_to), IPv4 and IPv6.
    pub fn second_addresses(&self) -> [String; 2] {
        [format!("198.51.100.{}", self.host), format!("2001:db8:2::{}", self.host)]
    }

    /// Lays a cable from its `eth1` to that of `other`: a network of these two alone.
    pub fn cable_to(&self, other: &Self) {
        self.ip(&format!("link add eth1 type veth peer name eth1 netns {}", other.namespace.path()));
        for node in [self, other] {
            let [four, six] = node.second_addresses();
            node.namespace.ip(&format!(
                "link set eth1 up\naddr add {four}/24 dev eth1\naddr add {six}/64 dev eth1 nodad\n"
            ));
        }
    }

    /// The namespace, to run anything else in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A private directory for the node's files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs `ip` with words separated by blanks.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, words: &str) -> String {
        self.namespace.run("ip", &words.split_whitespace().collect::<Vec<_>>())
    }

    /// Every address that the kernel of this node has, on any interface.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.namespace.enter(|| {
            nix::ifaddrs::getifaddrs()
                .expect("the kernel lists addresses")
                .filter_map(|entry| {
                    let address = entry.address?;
                    let ipv4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
                    ipv4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
                })
                .collect()
        })
    }

    /// Whether the kernel of this node has `address`.
    pub fn has(&self, address: &str) -> bool {
        self.addresses().contains(&address.parse().expect("an IP address"))
    }

    /// The administrator takes `eth0` down.
    pub fn link_down(&self) {
        self.ip("link set eth0 down");
    }

    /// ... and up again. IPv6 addresses are lost on the way down, so they are added anew.
    pub fn link_up(&self) {
        self.ip("link set eth0 up");
        self.ip(&format!("-6 addr replace {}/64 dev eth0 nodad", self.ipv6()));
        self.wait_for_link_local();
    }

    /// Deletes `eth0`, as when a driver is unloaded.
    pub fn delete_interface(&self) {
        self.ip("link del eth0");
    }

    /// Makes `eth0`, its cable and its addresses; the interface gets a new index.
    pub fn create_interface(&self) {
        let Self { name, host, .. } = self;
        let peer = self.switch.namespace().path();
        self.namespace.ip(&format!(
            "link add eth0 address 02:00:00:00:00:{host:02x} type veth peer name {name} netns {peer}\n"
        ));
        self.switch.add_port(name);
        self.namespace.ip(&format!(
            "link set eth0 up\n\
             addr add 192.0.2.{host}/24 dev eth0\n\
             addr add 2001:db8::{host}/64 dev eth0 nodad\n"
        ));
        self.wait_for_link_local();
    }

    /// The machine starts anew after its power came back: cable in, kernel and `/run` empty, other
    /// files kept.
    pub fn power_on(&self) {
        self.kill_everything();
        self.remove_pid_files();
        self.delete_interface();
        self.namespace.nft("flush ruleset");
        self.create_interface();
    }

    /// Removes what a killed keepalived left behind. It would not start again while its dead child
    /// is there, which the init of a machine buries at once, and that of a container perhaps never.
    pub fn remove_pid_files(&self) {
        for file in ["keepalived.pid", "vrrp.pid"] {
            // Whatever was not there needs no removal.
            let _ = std::fs::remove_file(self.directory.join(file));
        }
    }

    fn wait_for_link_local(&self) {
        wait_for(&format!("{}: a link-local address that may be used", self.name), DEADLINE, || {
            let listed = self.ip("-6 -o addr show dev eth0 scope link -tentative");
            listed.contains("fe80::").then_some(())
        });
    }

    /// Somebody deletes `address` from `eth0`. False when it was not there.
    pub fn delete_address(&self, address: &str) -> bool {
        let mut ip = self.namespace.command("ip");
        let length = if address.contains(':') { 128 } else { 32 };
        ip.args(["addr", "del", &format!("{address}/{length}"), "dev", "eth0"]);
        ip.output().expect("available() has found it").status.success()
    }

    /// The MAC address that the neighbour table has for `address`, as `02:00:00:00:00:c1`.
    pub fn neighbour(&self, address: &str) -> Option<String> {
        let listed = self.ip(&format!("neigh show {address} dev eth0"));
        let mut words = listed.split_whitespace().skip_while(|word| *word != "lladdr");
        words.nth(1).map(str::to_owned)
    }

    /// A capture on `eth0`, both directions.
    pub fn capture(&self) -> Capture {
        Capture::start(&self.namespace, capture::Side::Host)
    }

    /// Starts vrrpd with a `[daemon]` section for this node followed by `config`.
    pub fn vrrpd(&self, config: &str) -> Daemon {
        self.write_vrrpd_config(config);
        self.start_vrrpd()
    }

    /// As [`vrrpd`](Self::vrrpd), with the scheduling that users get: realtime.
    pub fn vrrpd_realtime(&self, config: &str) -> Daemon {
        self.write_config("realtime", config);
        self.start_vrrpd()
    }

    /// Starts vrrpd with the file that was written last.
    pub fn start_vrrpd(&self) -> Daemon {
        let mut command = self.namespace.command(daemon::binary("vrrpd"));
        command.arg("--config").arg(self.vrrpd_config());
        Daemon::start("vrrpd", command, &self.directory)
    }

    /// As [`start_vrrpd`](Self::start_vrrpd), as systemd would with `WatchdogSec` and this socket.
    pub fn start_vrrpd_watched(&self, notify: &Path, watchdog: Duration) -> Daemon {
        let mut command = self.namespace.command(daemon::binary("vrrpd"));
        command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        command.arg("--config").arg(self.vrrpd_config());
        Daemon::start("vrrpd", command, &self.directory)
    }

    /// Starts another vrrpd on this node, with a control socket and directories of its own: `second.toml`
    /// is its file.
    pub fn second_vrrpd(&self, config: &str) -> Daemon {
        let own = self.directory.join("second");
        std::fs::create_dir_all(&own).expect("the lab's directory is writable");
        let text = format!(
            "[daemon]\ncontrol_socket = \"{own}/control.sock\"\nruntime_dir = \"{own}\"\nstate_dir = \"{own}\"\n\
             scheduling = \"normal\"\n\n{config}",
            own = own.display()
        );
        let file = self.directory.join("second.toml");
        std::fs::write(&file, text).expect("the lab's directory is writable");
        let mut command = self.namespace.command(daemon::binary("vrrpd"));
        command.arg("--config").arg(file);
        Daemon::start("second", command, &self.directory)
    }

    /// As [`start_vrrpd`](Self::start_vrrpd), with its `state_dir` and `runtime_dir` on a file
    /// system of 64 KiB in a mount namespace of its own, for a test that fills it.
    pub fn start_vrrpd_on_small_disk(&self) -> Daemon {
        self.start_vrrpd_on_disk("size=64k", "true")
    }

    /// As [`start_vrrpd`](Self::start_vrrpd), with its `state_dir` and `runtime_dir` on a tmpfs with these
    /// `options`, in a mount namespace of its own; `then` is for a shell, which has the disk as `$DISK`.
    pub fn start_vrrpd_on_disk(&self, options: &str, then: &str) -> Daemon {
        let mount = format!(
            "mount -t tmpfs -o {options} tmpfs \"$DISK\" && mkdir \"$DISK/run\" \"$DISK/state\" && {then} && \
             exec \"$0\" \"$@\""
        );
        let mut command = self.namespace.command("unshare");
        command
            .env("DISK", self.disk())
            .args(["--mount", "--propagation", "private", "sh", "-c", &mount])
            .arg(daemon::binary("vrrpd"))
            .arg("--config")
            .arg(self.vrrpd_config());
        Daemon::start("vrrpd", command, &self.directory)
    }

    /// As [`start_vrrpd`](Self::start_vrrpd), as `uid` rather than root and with no more than
    /// `rights`, for example `["net_admin", "net_raw"]`: what `User=`, `AmbientCapabilities=`,
    /// `CapabilityBoundingSet=` and `NoNewPrivileges=` of a unit come to.
    pub fn start_vrrpd_unprivileged(&self, uid: u32, rights: &[String]) -> Daemon {
        let disk = self.disk();
        for own in [self.directory.clone(), disk.join("run"), disk.join("state")] {
            std::os::unix::fs::chown(&own, Some(uid), Some(uid)).expect("root gives files away");
        }
        // The build may lie in a home directory that is closed to others.
        let copy = self.directory.join("vrrpd");
        std::fs::copy(daemon::binary("vrrpd"), &copy).expect("the lab's directory is writable");
        let list = rights.iter().map(|right| format!(",+{right}")).collect::<String>();
        let mut command = self.namespace.command("setpriv");
        command.args(["--reuid", &uid.to_string(), "--regid", &uid.to_string(), "--clear-groups"]);
        for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
            command.arg(format!("{set}=-all{list}"));
        }
        // The change of user clears the parent-death signal that `command` has set.
        command.args(["--no-new-privs", "--pdeathsig", "KILL"]);
        command.arg(copy).arg("--config").arg(self.vrrpd_config());
        Daemon::start("vrrpd", command, &self.directory)
    }

    /// Writes vrrpd's file without telling a running daemon. Tests spare the machine: many daemons
    /// run at once, none of them in realtime.
    pub fn write_vrrpd_config(&self, config: &str) {
        self.write_config("normal", config);
    }

    /// As [`write_vrrpd_config`](Self::write_vrrpd_config), with the scheduling that users get.
    pub(crate) fn write_vrrpd_config_realtime(&self, config: &str) {
        self.write_config("realtime", config);
    }

    fn write_config(&self, scheduling: &str, config: &str) {
        let disk = self.disk();
        for part in ["run", "state"] {
            std::fs::create_dir_all(disk.join(part)).expect("the lab's directory is writable");
        }
        let text = format!(
            "[daemon]\nnode = \"{name}\"\ncontrol_socket = \"{socket}\"\nruntime_dir = \"{disk}/run\"\n\
             state_dir = \"{disk}/state\"\nscheduling = \"{scheduling}\"\n\n{config}",
            name = self.name,
            socket = self.control_socket().display(),
            disk = disk.display(),
        );
        std::fs::write(self.vrrpd_config(), text).expect("the lab's directory is writable");
    }

    /// vrrpd's configuration file.
    pub fn vrrpd_config(&self) -> PathBuf {
        self.directory.join("vrrpd.toml")
    }

    /// vrrpd's control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    /// The directory that holds `run` and `state` of vrrpd.
    pub fn disk(&self) -> PathBuf {
        self.directory.join("disk")
    }

    /// Runs `vrrpctl` with words separated by blanks against this node's daemon.
    pub fn vrrpctl(&self, words: &str) -> Output {
        Command::new(daemon::binary("vrrpctl"))
            .arg("--socket")
            .arg(self.control_socket())
            .args(words.split_whitespace())
            .output()
            .expect("binary() has found it")
    }

    /// `vrrpctl state --json`, or `None` while the daemon does not answer. Exit codes 1 and 2 tell
    /// of a degraded state and come with the facts all the same.
    pub fn state(&self) -> Option<Value> {
        serde_json::from_slice(&self.vrrpctl("state --json").stdout).ok()
    }

    /// The part of [`state`](Self::state) about one virtual router.
    pub fn router(&self, name: &str) -> Option<Value> {
        let state = self.state()?;
        state["virtual_routers"].as_array()?.iter().find(|router| router["name"] == name).cloned()
    }

    /// Waits until `wanted` accepts what [`router`](Self::router) says.
    pub fn wait_for_router(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{}: {name} {what}", self.name), DEADLINE, || {
            self.router(name).filter(|router| wanted(router))
        })
    }

    /// Waits until a virtual router is `initialize`, `backup` or `active`.
    pub fn wait_for_state(&self, name: &str, state: &str) -> Value {
        self.wait_for_router(name, state, |router| router["state"] == state)
    }

    /// Starts keepalived with `config` behind a `global_defs` block.
    pub fn keepalived(&self, config: &str) -> Daemon {
        let mut command = self.namespace.command("keepalived");
        command.args(self.keepalived_arguments(config, &self.directory));
        Daemon::start("keepalived", command, &self.directory)
    }

    /// Writes keepalived's configuration and gives the arguments with which to start it; `pids` is
    /// the directory of its pid files.
    pub(crate) fn keepalived_arguments(&self, config: &str, pids: &Path) -> Vec<OsString> {
        let file = self.directory.join("keepalived.conf");
        let global = "global_defs {\n  vrrp_version 3\n  script_user root\n  enable_script_security\n}\n";
        std::fs::write(&file, format!("{global}{config}")).expect("the lab's directory is writable");
        // The log goes to a file: without /dev/log each line to syslog costs it 0.9 ms.
        let mut arguments =
            ["--dont-fork", "--log-console", "--no-syslog", "--log-detail", "--vrrp", "--use-file"]
                .map(OsString::from)
                .to_vec();
        arguments.push(file.into());
        // Pid files of its own: two that share them refuse to start, and an experiment lies.
        for (option, name) in [("--pid", "keepalived.pid"), ("--vrrp_pid", "vrrp.pid")] {
            arguments.extend([option.into(), pids.join(name).into()]);
        }
        arguments
    }

    /// The same machine with a directory of its own, for a second daemon beside the first.
    pub fn beside(&self) -> Self {
        let directory = self.directory.join("beside");
        std::fs::create_dir_all(&directory).expect("the lab's directory is writable");
        let (namespace, switch) = (self.namespace.duplicate(), Arc::clone(&self.switch));
        Self { name: self.name.clone(), host: self.host, namespace, switch, directory }
    }

    pub(crate) fn kill_everything(&self) {
        for pid in self.namespace.processes() {
            // It may have ended by itself.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    pub(crate) fn print_logs(&self) {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|extension| extension == "log") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let tail = &lines[lines.len().saturating_sub(60)..];
                eprintln!("--- {} on {}:\n{}", path.display(), self.name, tail.join("\n"));
            }
        }
    }
}
