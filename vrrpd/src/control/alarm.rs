//! Named conditions that a person should look at, each with its remedy.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

mod heard;

use super::errno_words;
use super::protocol::Way;
use super::time::{WallTime, age};
use crate::state_dir::{StateFile, Trouble};

/// How bad a condition is. The order is from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing to do; exit code 0.
    Fine,
    /// It works, but something needs a look; exit code 1.
    Degraded,
    /// A virtual router cannot do its work; exit code 2.
    Critical,
}

impl Level {
    /// The exit code of `vrrpctl state`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Fine => super::exit::FINE,
            Self::Degraded => super::exit::DEGRADED,
            Self::Critical => super::exit::CRITICAL,
        }
    }
}

/// A condition that lasts, under a name that scripts may rely on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Name of the condition, in snake_case; the constructors list them.
    pub name: String,
    /// How bad it is.
    pub level: Level,
    /// What is wrong, with the values that show it.
    pub message: String,
    /// What to do or to type.
    pub remedy: String,
    /// The router whose packet shows it, or the address that another station has; null where no
    /// packet shows it.
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// What that router has, where it is about a value that is not alike.
    #[serde(default)]
    pub theirs: Option<String>,
    /// What this node has.
    #[serde(default)]
    pub ours: Option<String>,
    /// When it was raised.
    #[serde(default)]
    pub since: Option<WallTime>,
    /// When a packet showed it last.
    #[serde(default)]
    pub seen: Option<WallTime>,
}

impl Alarm {
    /// `cannot_send`: advertisements do not leave the node.
    pub fn cannot_send(interface: &str, errno: i32) -> Self {
        Self::new(
            "cannot_send",
            Level::Critical,
            format!("advertisements cannot be sent on {interface}: {}", errno_words(errno)),
            "nft list ruleset: let IP protocol 112 leave; vrrpd needs CAP_NET_RAW",
        )
    }

    /// `cannot_send_to_peer`: advertisements leave the node, but not to every unicast peer.
    pub fn cannot_send_to_peer(interface: &str, errno: i32) -> Self {
        Self::new(
            "cannot_send_to_peer",
            Level::Degraded,
            format!(
                "advertisements cannot be sent to some of the peers on {interface}: {}",
                errno_words(errno)
            ),
            "ip route get PEER, nft list ruleset: is there a way to each entry of peers?",
        )
    }

    /// `address_refused`: the kernel does not let us have a virtual address.
    pub fn address_refused(address: &str, interface: &str, errno: i32) -> Self {
        Self::new(
            "address_refused",
            Level::Degraded,
            format!("cannot add {address} to {interface}: {}", errno_words(errno)),
            format!("ip address show dev {interface}; vrrpd needs CAP_NET_ADMIN"),
        )
    }

    /// `no_virtual_mac`: there is no device with the virtual MAC address.
    pub fn no_virtual_mac(trouble: &str) -> Self {
        Self::new(
            "no_virtual_mac",
            Level::Critical,
            trouble,
            "ip -d link shows what is in the way; it is tried again every second, or set virtual_mac = false",
        )
    }

    /// `foreign_address`: a virtual address was on the interface before us, so we never remove it.
    pub fn foreign_address(address: &str, interface: &str) -> Self {
        Self::new(
            "foreign_address",
            Level::Degraded,
            format!("{address} on {interface} was not added by vrrpd, which therefore never removes it"),
            format!("ip address del {address} dev {interface}, and take it out of the network configuration"),
        )
    }

    /// `route_refused`, `route_foreign`, `route_contested`: a route or rule, or an address that does not
    /// move, is not as it should be.
    pub fn of_way(way: &Way) -> Option<Self> {
        let what = &way.what;
        let (name, message, remedy) = match way {
            Way { refused: Some(why), .. } => (
                "route_refused",
                format!("{what} is not there: {why}"),
                "it is tried again by itself; ip route, ip rule and ip address show what is there",
            ),
            Way { contested: true, .. } => (
                "route_contested",
                format!("somebody takes {what} away again and again"),
                "find who does, ip monitor shows when; it is put back ever more slowly",
            ),
            Way { foreign: true, .. } => (
                "route_foreign",
                format!("{what} was not added by vrrpd, or one like it, and is therefore left alone"),
                "take it out of the network configuration, or out of vrrpd.toml",
            ),
            _ => return None,
        };
        Some(Self::new(name, Level::Degraded, message, remedy))
    }

    /// `own_address_in_peers`: a node sends to itself.
    pub fn own_address_in_peers(own: IpAddr) -> Self {
        Self::new(
            "own_address_in_peers",
            Level::Degraded,
            format!("peers has {own}, which is this node's own address"),
            "name the other nodes only, then vrrpctl reload",
        )
    }

    /// `second_path_down`: the second path cannot be used on this node.
    pub fn second_path_down(interface: &str) -> Self {
        Self::new(
            "second_path_down",
            Level::Degraded,
            format!(
                "the second path cannot be used: {interface} is missing, down, or has no address to send from"
            ),
            format!("ip address show dev {interface}; second_path.source_address"),
        )
    }

    /// `orders_damaged`, `state_damaged`: a file of `state_dir` could not be read at a start.
    /// `state_not_written`: one cannot be written.
    pub(crate) fn of_state_dir(trouble: &Trouble) -> Self {
        let (name, message, remedy) = match trouble {
            Trouble::SetAside(file @ StateFile::Orders, aside) => (
                "orders_damaged",
                file.set_aside(aside),
                "look into it, give the orders again (drain, freeze), then remove it",
            ),
            Trouble::SetAside(file, aside) => {
                ("state_damaged", file.set_aside(aside), "look into it, then remove it")
            }
            Trouble::Unwritten { why, remedy } => (
                "state_not_written",
                format!("{why}: a restart would not know what has happened since"),
                remedy.as_str(),
            ),
        };
        Self::new(name, Level::Degraded, message, remedy)
    }

    /// `accept_mode_not_enforced`: packets that `accept_mode = false` forbids are accepted.
    pub fn accept_mode_not_enforced(trouble: &str) -> Self {
        Self::new(
            "accept_mode_not_enforced",
            Level::Degraded,
            format!(
                "packets to the virtual addresses are accepted in spite of accept_mode = false: {trouble}"
            ),
            "it is tried again every second; nf_tables (modprobe nf_tables) and CAP_NET_ADMIN are needed, and \
             no other program may own a table inet vrrpd (nft list tables)",
        )
    }

    /// `fence_failed`: what should silence the addresses of a dead daemon is not there.
    pub fn fence_failed(trouble: &str) -> Self {
        Self::new(
            "fence_failed",
            Level::Degraded,
            format!("if vrrpd dies here, its addresses go on answering until their lifetime ends: {trouble}"),
            "it is tried again every second; see who else changes the tables vrrpd_fence of nf_tables (nft \
             monitor)",
        )
    }

    /// `peer_link_closed`: the peer link is configured and cannot be used.
    pub fn peer_link_closed(trouble: &str) -> Self {
        Self::new(
            "peer_link_closed",
            Level::Degraded,
            format!("the peer link is not open: {trouble}"),
            "it is tried again every 5 s",
        )
    }

    fn new(name: &str, level: Level, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            level,
            message: message.into(),
            remedy: remedy.into(),
            source: None,
            theirs: None,
            ours: None,
            since: None,
            seen: None,
        }
    }

    /// The message, with the age of what a packet showed.
    pub fn sentence(&self, now: WallTime) -> String {
        match self.seen {
            Some(seen) => format!("{} (seen {} ago)", self.message, age(now.since(seen))),
            None => self.message.clone(),
        }
    }
}
