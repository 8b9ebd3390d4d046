//! FRR's `vrrpd` and the `zebra` that it talks to the kernel through.

use std::path::Path;

use crate::daemon::Daemon;
use crate::{DEADLINE, Node, wait_for};

/// What has to be installed, for [`Lab::with`](crate::Lab::with): Debian puts FRR's daemons on no path.
pub const PROGRAMS: [&str; 2] = ["/usr/lib/frr/zebra", "/usr/lib/frr/vrrpd"];

/// A running FRR. Dropping it kills both daemons.
#[must_use]
pub struct Frr {
    /// The one that speaks VRRP.
    pub vrrpd: Daemon,
    zebra: Daemon,
}

/// A virtual router of FRR. It moves its virtual MAC address only, so what it serves needs a macvlan
/// with all the addresses, which FRR lets up and down.
#[derive(Clone, Debug)]
pub struct FrrRouter {
    /// VRID.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// 1 to 254.
    pub priority: u8,
    /// Advertisement interval in ms: a multiple of 10.
    pub interval_ms: u32,
    /// The addresses, of one family.
    pub addresses: Vec<String>,
}

impl FrrRouter {
    /// Name of its macvlan.
    pub const DEVICE: &'static str = "frr0";

    fn is_ipv4(&self) -> bool {
        !self.addresses.iter().any(|address| address.contains(':'))
    }

    fn config(&self) -> String {
        let Self { vrid, version, priority, interval_ms, .. } = self;
        let keyword = if self.is_ipv4() { "ip" } else { "ipv6" };
        let listed: String =
            self.addresses.iter().map(|address| format!(" vrrp {vrid} {keyword} {address}\n")).collect();
        format!(
            "interface eth0\n vrrp {vrid} version {version}\n vrrp {vrid} priority {priority}\n \
             vrrp {vrid} advertisement-interval {interval_ms}\n{listed}"
        )
    }
}

impl Frr {
    /// SIGTERM to the one that speaks VRRP, and waits for the end of both.
    pub fn terminate(self) {
        // FRR's exit status tells nothing.
        let _ = self.vrrpd.terminate();
        let _ = self.zebra.terminate();
    }
}

impl Node {
    /// Starts FRR with one virtual router on `eth0`, and its macvlan if it is not there.
    ///
    /// # Panics
    /// When a daemon cannot be started; [`available`](crate::available) knows whether they are
    /// installed.
    pub fn frr(&self, router: &FrrRouter) -> Frr {
        self.make_macvlan(router);
        // FRR's daemons become the user `frr` before they write anything.
        for path in [self.directory(), self.directory().parent().expect("the lab's directory")] {
            open_to_all(path);
        }
        let socket = self.directory().join("zserv.api");
        // An earlier zebra's is not a sign that this one is ready; there need not be one.
        let _ = std::fs::remove_file(&socket);
        let zebra = self.frr_daemon("zebra", "");
        wait_for("zebra's socket", DEADLINE, || socket.exists().then_some(()));
        Frr { vrrpd: self.frr_daemon("vrrpd", &router.config()), zebra }
    }

    /// Whether FRR has its macvlan up: it keeps the addresses there at all times.
    pub fn frr_is_up(&self) -> bool {
        let devices = self.ip("-o link show up");
        devices.lines().any(|line| line.contains(FrrRouter::DEVICE) && line.contains("LOWER_UP"))
    }

    fn make_macvlan(&self, router: &FrrRouter) {
        let device = FrrRouter::DEVICE;
        if self.ip("-o link show").contains(device) {
            return;
        }
        let (family, prefix) = if router.is_ipv4() { (1, 24) } else { (2, 64) };
        self.ip(&format!("link add {device} link eth0 type macvlan mode bridge"));
        self.ip(&format!(
            "link set {device} addrgenmode random address 00:00:5e:00:0{family}:{:02x}",
            router.vrid
        ));
        for address in &router.addresses {
            let nodad = if router.is_ipv4() { "" } else { "nodad" };
            self.ip(&format!("addr add {address}/{prefix} dev {device} {nodad}"));
        }
        self.ip(&format!("link set {device} up"));
    }

    fn frr_daemon(&self, name: &str, config: &str) -> Daemon {
        let directory = self.directory();
        let file = directory.join(format!("{name}.conf"));
        std::fs::write(&file, config).expect("the lab's directory is writable");
        // It has no setting for that, and a busy machine is not what is tested.
        let mut command = self.namespace().command("chrt");
        command.args(["--rr", "10"]).arg(format!("/usr/lib/frr/{name}"));
        command.arg("--config_file").arg(file);
        command.arg("--pid_file").arg(directory.join(format!("frr-{name}.pid")));
        command.arg("--socket").arg(directory.join("zserv.api"));
        command.arg("--vty_socket").arg(directory);
        command.args(["--log", "stdout"]);
        Daemon::start(&format!("frr-{name}"), command, directory)
    }
}

fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777))
        .unwrap_or_else(|e| panic!("cannot open {} to FRR: {e}", directory.display()));
}
