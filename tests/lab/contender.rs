//! The two daemons that are measured beside each other, set up alike: every setting but these few at
//! its default, keepalived's log in a file as vrrpd's is.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::story::{VIP, VIP6, VIP6_LINK_LOCAL};
use crate::{Daemon, Node, daemon};

/// A daemon to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// This project's, built with the profile of the program that measures.
    Vrrpd,
    /// The one that is installed.
    Keepalived,
}

/// What both are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Time between two advertisements, a multiple of 10 ms.
    pub interval: Duration,
    /// [`VIP6`] instead of [`VIP`].
    pub ipv6: bool,
    /// What vrrpd alone knows, and has only where it is asked for.
    pub extra: Extra,
}

/// What keepalived has no counterpart of; for nodes `a` and `b` and IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing of it.
    Nothing,
    /// Advertisements on the cable between the two as well ([`Node::cable_to`]).
    SecondPath,
    /// The client is asked whether a node is cut off.
    Witness,
    /// A dead host is followed early, while the client answers.
    Suspicion,
}

impl Extra {
    /// The key for `node`.
    fn key(self, node: &Node) -> String {
        let peer = if node.name() == "a" { 194 } else { 193 };
        match self {
            Self::Nothing => String::new(),
            Self::SecondPath => format!(
                "second_path = {{ interface = \"eth1\", peers = {{ \"192.0.2.{peer}\" = \"198.51.100.{peer}\" }}, \
                 witnesses = [\"192.0.2.10\"] }}\n"
            ),
            Self::Witness => {
                format!("witness = {{ peers = [\"192.0.2.{peer}\"], arp = [\"192.0.2.10\"] }}\n")
            }
            Self::Suspicion => format!("{}suspicion = true\n", Self::Witness.key(node)),
        }
    }
}

impl Task {
    /// The address that clients use.
    pub fn address(self) -> &'static str {
        if self.ipv6 { VIP6 } else { VIP }
    }

    /// What is advertised: over IPv6 a link-local address first (RFC 9568 5.2.9).
    fn addresses(self) -> &'static [&'static str] {
        if self.ipv6 { &[VIP6_LINK_LOCAL, VIP6] } else { &[VIP] }
    }
}

impl Contender {
    /// Starts it on `node`.
    ///
    /// # Panics
    /// When it is not there.
    pub fn start(self, node: &Node, priority: u8, task: Task) -> Daemon {
        match self {
            Self::Vrrpd => node.vrrpd_realtime(&vrrpd(node, priority, task)),
            Self::Keepalived => node.keepalived(&keepalived(priority, task)),
        }
    }

    /// Starts it on `node` with a configuration of one's own: vrrpd's tables, or what keepalived's file has
    /// behind its `global_defs`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(self, node: &Node, config: &str) -> Daemon {
        match self {
            Self::Vrrpd => node.vrrpd_realtime(config),
            Self::Keepalived => node.keepalived(config),
        }
    }

    /// Has `daemon` on `node` read another configuration, as [`start_with`](Self::start_with) takes it.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn reload_with(self, node: &Node, daemon: &Daemon, config: &str) {
        match self {
            Self::Vrrpd => node.write_vrrpd_config_realtime(config),
            Self::Keepalived => drop(node.keepalived_arguments(config, node.directory())),
        }
        daemon.reload();
    }

    /// Starts it with all it writes, its log included, on a file system of 64 KiB in a mount namespace
    /// of its own, `disk` of the node.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_on_small_disk(self, node: &Node, priority: u8, task: Task) -> Daemon {
        let disk = node.disk();
        std::fs::create_dir_all(&disk).expect("the lab's directory is writable");
        let words: Vec<OsString> = match self {
            Self::Vrrpd => {
                node.write_vrrpd_config(&vrrpd(node, priority, task));
                vec![daemon::binary("vrrpd").into(), "--config".into(), node.vrrpd_config().into()]
            }
            Self::Keepalived => {
                let mut words = vec!["keepalived".into()];
                words.extend(node.keepalived_arguments(&keepalived(priority, task), &disk));
                words
            }
        };
        let mount = format!(
            "mount -t tmpfs -o size=64k tmpfs {0} && mkdir {0}/run {0}/state && exec \"$0\" \"$@\" >>{0}/log 2>&1",
            disk.display()
        );
        let mut command = node.namespace().command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &mount]).args(words);
        Daemon::start(&self.to_string(), command, node.directory())
    }
}

fn vrrpd(node: &Node, priority: u8, task: Task) -> String {
    format!(
        "[virtual_router.web]\n\
         interface = \"eth0\"\n\
         vrid = 201\n\
         priority = {priority}\n\
         advertisement_interval = \"{}ms\"\n\
         addresses = {:?}\n{}",
        task.interval.as_millis(),
        task.addresses(),
        task.extra.key(node)
    )
}

fn keepalived(priority: u8, task: Task) -> String {
    format!(
        "vrrp_instance web {{\n\
           interface eth0\n\
           virtual_router_id 201\n\
           priority {priority}\n\
           advert_int {}\n\
           virtual_ipaddress {{\n{}\n}}\n\
         }}\n",
        task.interval.as_secs_f64(),
        task.addresses().join("\n")
    )
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Vrrpd => "vrrpd",
            Self::Keepalived => "keepalived",
        })
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "vrrpd" => Ok(Self::Vrrpd),
            "keepalived" => Ok(Self::Keepalived),
            _ => Err(format!("{name} is neither vrrpd nor keepalived")),
        }
    }
}
