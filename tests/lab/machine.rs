//! A node that systemd runs: a container with this machine's files, which keeps nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::daemon::binary;
use crate::{DEADLINE, Daemon, Node, wait_for};

/// What a package puts where, beside the programs.
const FILES: [(&str, &str); 3] = [
    ("usr/lib/systemd/system/vrrpd.service", include_str!("../../packaging/systemd/vrrpd.service")),
    ("usr/lib/sysusers.d/vrrpd.conf", include_str!("../../packaging/sysusers.d/vrrpd.conf")),
    ("usr/lib/tmpfiles.d/vrrpd.conf", include_str!("../../packaging/tmpfiles.d/vrrpd.conf")),
];

/// Where the daemon looks for its configuration.
const CONFIG: &str = "etc/vrrpd/vrrpd.toml";

/// Mounts a copy of `/` that is written to memory, adds `$2` to it, and boots it. Services that
/// this machine has enabled are not for the container.
const BOOT: &str = r#"
    mount -t tmpfs -o mode=755 tmpfs "$1"
    mkdir "$1/upper" "$1/work" "$1/root"
    mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
    rm -rf "$1"/root/etc/systemd/system/* "$1"/root/etc/systemd/network/*
    cp -R "$2/." "$1/root/"
    : > "$1/root/etc/machine-id"
    systemd-sysusers --root="$1/root"
    exec systemd-nspawn --directory="$1/root" --register=no --keep-unit --link-journal=no \
        --network-namespace-path=/proc/self/ns/net --capability=CAP_NET_ADMIN \
        --console=pipe --boot -- --unit=basic.target
"#;

/// A node with vrrpd installed as a package would, and systemd running. Ends when dropped.
pub struct Machine {
    nspawn: Daemon,
    init: Pid,
    cgroups: Vec<PathBuf>,
}

impl Machine {
    /// Programs that it takes, for [`Lab::with`](crate::Lab::with).
    pub const PROGRAMS: [&'static str; 4] = ["systemd-nspawn", "systemd-sysusers", "nsenter", "unshare"];

    /// Boots `node` with vrrpd installed, and not yet started, for it to run with `config`.
    ///
    /// # Panics
    /// When the container does not come up.
    pub fn boot(node: &Node, config: &str) -> Self {
        let [files, root] = ["files", "machine"].map(|name| node.directory().join(name));
        fs::create_dir_all(&root).expect("the lab's directory is writable");
        install(&files, config);
        let mut command = node.namespace().command("unshare");
        // With the first process of the outer PID namespace everything ends, and its mounts go.
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(["--mount-proc", "sh", "-ec", BOOT, "sh"]).args([&root, &files]);
        let nspawn = Daemon::start("nspawn", command, node.directory());
        let init = wait_for("systemd in its container", DEADLINE, || {
            nspawn.processes().into_iter().find(|pid| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                name.trim_end() == "systemd"
            })
        });
        let mut machine = Self { nspawn, init, cgroups: Vec::new() };
        wait_for("the end of the boot", DEADLINE, || {
            machine.run("systemctl is-active --quiet basic.target").status.success().then_some(())
        });
        machine.cgroups = machine.control_groups();
        machine
    }

    /// Runs a command, of words separated by blanks, as root in the container.
    pub fn run(&self, words: &str) -> Output {
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &self.init.to_string(), "--all", "--"]).args(words.split_whitespace());
        enter.output().expect("available() has found it")
    }

    /// As [`run`](Self::run), for what has to succeed; gives its standard output without the end
    /// of the last line.
    ///
    /// # Panics
    /// When it fails, with what it wrote.
    pub fn succeed(&self, words: &str) -> String {
        let output = self.run(words);
        let [said, complained] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{words}: {}: {said}{complained}", output.status);
        said.trim_end().to_owned()
    }

    /// A property that `systemctl show` knows of vrrpd's unit.
    pub fn property(&self, name: &str) -> String {
        self.succeed(&format!("systemctl show vrrpd --value --property {name}"))
    }

    /// Writes `/etc/vrrpd/vrrpd.toml` without telling a running daemon.
    pub fn write_config(&self, config: &str) {
        self.write(CONFIG, config);
    }

    /// Writes a file, for example `etc/hosts`.
    pub fn write(&self, file: &str, text: &str) {
        write(&PathBuf::from(format!("/proc/{}/root", self.init)).join(file), text);
    }

    /// The groups that nspawn has made, which it leaves behind.
    fn control_groups(&self) -> Vec<PathBuf> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.init)).unwrap_or_default();
        let mut found = Vec::new();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let Some(parent) = path.strip_suffix("/payload/init.scope") else { continue };
            for hierarchy in [controllers.trim_start_matches("name="), "unified", ""] {
                let parent = Path::new("/sys/fs/cgroup").join(hierarchy).join(parent.trim_start_matches('/'));
                found.extend(["payload", "supervisor"].map(|name| parent.join(name)));
            }
        }
        found.retain(|group| group.is_dir());
        found
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = self.run("journalctl --no-pager --boot --unit vrrpd").stdout;
            eprintln!("--- the container's journal:\n{}", String::from_utf8_lossy(&journal));
        }
        self.nspawn.end();
        for group in &self.cgroups {
            // The kernel removes only what is empty, and the dead need a moment to go.
            let end = Instant::now() + Duration::from_secs(2);
            while group.is_dir() && Instant::now() < end {
                remove_groups(group);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    // Tried again by the caller.
    let _ = fs::remove_dir(group);
}

/// Lays out in `files` what a package would install, and the configuration.
fn install(files: &Path, config: &str) {
    for (file, text) in FILES.into_iter().chain([(CONFIG, config)]) {
        write(&files.join(file), text);
    }
    let programs = files.join("usr/sbin");
    fs::create_dir_all(&programs).expect("the lab's directory is writable");
    for program in ["vrrpd", "vrrpctl"] {
        fs::copy(binary(program), programs.join(program)).expect("the lab's directory is writable");
    }
}

/// Writes a file that everybody may read, and makes the directory it is in.
fn write(file: &Path, text: &str) {
    let written = fs::create_dir_all(file.parent().expect("a file lies in a directory"))
        .and_then(|()| fs::write(file, text))
        .and_then(|()| fs::set_permissions(file, Permissions::from_mode(0o644)));
    written.unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
}
