//! A registry as bootstrap nodes have it: in a container of podman, behind a published port.

use std::process::Command;

use super::{Certificate, Image, registry, wait_for_port};
use crate::{DEADLINE, Daemon, Node, wait_for};

/// A registry in a container, with storage in [`registry::storage`]. Ends when dropped.
pub struct Container {
    podman: Daemon,
}

/// A place of podman's own: nothing of it stays behind, nor ends later than its first process.
const ENCLOSE: &str = "for place in /run /dev/shm; do mount -t tmpfs tmpfs $place; done; \
                       mount -t cgroup2 none /sys/fs/cgroup; \
                       podman=$1; shift; $podman run --detach \"$@\"; exec sleep infinity";

/// As podman likes it where there is no systemd.
const SETTINGS: &str = r#"
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=512:512"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[network]
network_backend = "netavark"
default_subnet = "198.51.100.0/24"
"#;

impl Container {
    /// Programs that it takes, for [`Lab::with`](crate::Lab::with).
    pub const PROGRAMS: [&'static str; 6] =
        ["podman", "crun", "iptables", "umoci", "nsenter", "docker-registry"];

    /// Starts the registry, publishes its port on all addresses, and waits until somebody accepts
    /// connections there.
    pub fn start(node: &Node, certificate: &Certificate) -> Self {
        let home = node.directory().join("podman");
        std::fs::create_dir_all(&home).expect("the lab's directory is writable");
        std::fs::create_dir_all(registry::storage(node)).expect("the lab's directory is writable");
        std::fs::write(home.join("containers.conf"), SETTINGS).expect("the lab's directory is writable");
        let image = image(node);
        registry::configure(node.directory(), &registry::storage(node), certificate);

        let mut command = node.namespace().command("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(["--mount-proc", "sh", "-ec", ENCLOSE, "sh", &podman(node)]);
        let directory = node.directory().display();
        command.args(["--name", "registry", "--volume", &format!("{directory}:{directory}")]);
        command.args(["--publish", &format!("{0}:{0}", registry::PORT), &image.source()]);
        command.args(["docker-registry", "serve", &format!("{directory}/registry.yml")]);
        command.env("CONTAINERS_CONF", home.join("containers.conf"));
        let mut podman = Daemon::start("podman", command, node.directory());
        wait_for_port(node, &mut podman, registry::PORT);
        Self { podman }
    }

    /// `podman network reload --all`: writes its NAT rules again.
    ///
    /// # Panics
    /// When podman fails.
    pub fn reload_network(&self, node: &Node) {
        let init = wait_for("the first process of the container's place", DEADLINE, || {
            self.podman.processes().get(1).copied()
        });
        let reload = format!("{} network reload --all", podman(node));
        let output = Command::new("nsenter")
            .args(["--target", &init.to_string(), "--all", "--", "sh", "-c", &reload])
            .env("CONTAINERS_CONF", node.directory().join("podman/containers.conf"))
            .output()
            .expect("available() has found it");
        assert!(output.status.success(), "{reload}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Empties the NAT tables, as a reload of a firewall does: podman's rules are among what goes.
pub fn flush_nat(node: &Node) {
    node.namespace().run("iptables", &["--table", "nat", "--flush"]);
}

/// podman with everything it keeps on the node.
fn podman(node: &Node) -> String {
    let home = node.directory().join("podman").display().to_string();
    format!(
        "podman --root {home}/root --runroot {home}/run --tmpdir {home}/tmp --storage-driver vfs \
         --network-config-dir {home}/networks"
    )
}

/// An image of this machine's docker-registry and the libraries that it loads.
fn image(node: &Node) -> Image {
    let find = Command::new("sh")
        .args(["-c", "file=$(command -v docker-registry); echo $file; ldd $file | grep -o '/[^ ]*'"])
        .output()
        .expect("a shell is there");
    let files: Vec<_> = String::from_utf8_lossy(&find.stdout)
        .lines()
        .map(|file| {
            let octets = std::fs::read(file).unwrap_or_else(|e| panic!("cannot read {file}: {e}"));
            (file.trim_start_matches('/').to_owned(), octets)
        })
        .collect();
    let temporary = ("tmp/.keep".to_owned(), Vec::new());
    Image::of(node.directory(), "registry.image", &[&files, &[temporary]])
}
