//! Named conditions that a person should look at, each with its remedy.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrp_proto::snapshot::AddressConflict;
use vrrp_proto::{AdverInterval, Priority, Vrid};

use super::errno_words;

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

    /// `foreign_address`: a virtual address was on the interface before us, so we never remove it.
    pub fn foreign_address(address: &str, interface: &str) -> Self {
        Self::new(
            "foreign_address",
            Level::Degraded,
            format!("{address} on {interface} was not added by vrrpd, which therefore never removes it"),
            format!("ip address del {address} dev {interface}, and take it out of the network configuration"),
        )
    }

    /// `checksum_form_conflict`: routers of one group send the two forms of the IPv4 checksum
    /// (`ipv4_checksum`).
    pub fn checksum_form_conflict() -> Self {
        Self::new(
            "checksum_form_conflict",
            Level::Degraded,
            "routers of this group send both forms of the IPv4 checksum; some of them may not hear each other",
            "set ipv4_checksum to the same form on every router (keepalived: pseudo_header, unless it has \
             v3_checksum_as_v2)",
        )
    }

    /// `address_list_mismatch`: another router of the group advertises other addresses.
    pub fn address_list_mismatch(peer: IpAddr) -> Self {
        Self::new(
            "address_list_mismatch",
            Level::Degraded,
            format!(
                "{peer} advertises other addresses than this node; keepalived before 2.3.3 drops such advertisements"
            ),
            "configure the same addresses on both nodes, then vrrpctl reload",
        )
    }

    /// `interval_mismatch`: another router of the group advertises at another interval.
    pub fn interval_mismatch(peer: IpAddr, theirs: AdverInterval, ours: AdverInterval) -> Self {
        Self::new(
            "interval_mismatch",
            Level::Degraded,
            format!("{peer} advertises every {theirs}, this node every {ours}"),
            "configure the same advertisement_interval on both nodes, then vrrpctl reload",
        )
    }

    /// `shared_vrid`: an unrelated group on the same link uses our VRID.
    pub fn shared_vrid(vrid: Vrid, interface: &str, peer: IpAddr) -> Self {
        Self::new(
            "shared_vrid",
            Level::Critical,
            format!("VRID {vrid} on {interface} is also used by {peer}, for none of our addresses"),
            "give one of the two groups another vrid, unique on this link",
        )
    }

    /// `link_local_missing`: IPv6 advertisements that do not list a link-local address first.
    pub fn link_local_missing(peer: IpAddr) -> Self {
        Self::new(
            "link_local_missing",
            Level::Degraded,
            format!(
                "{peer} does not list a link-local address first (RFC 9568 5.2.9); accepted all the same"
            ),
            "list a link-local address first on every node, the same on each",
        )
    }

    /// `hop_limit_not_255`: IPv6 unicast that keepalived sends with the kernel's Hop Limit.
    pub fn hop_limit_not_255(peer: IpAddr) -> Self {
        Self::new(
            "hop_limit_not_255",
            Level::Degraded,
            format!(
                "{peer} sends with Hop Limit 64 instead of 255, as keepalived does in IPv6 unicast; accepted"
            ),
            "use multicast, or vrrpd on both nodes, to be safe from packets that crossed a router",
        )
    }

    /// `equal_priority`: the addresses of the two routers decide who is Active.
    pub fn equal_priority(peer: IpAddr, priority: Priority) -> Self {
        Self::new(
            "equal_priority",
            Level::Degraded,
            format!("{peer} has priority {priority} too; the higher source address wins"),
            "give the primary the higher priority, then vrrpctl reload",
        )
    }

    /// `duplicate_owner`: two routers claim to own the addresses.
    pub fn duplicate_owner(peer: IpAddr) -> Self {
        Self::new(
            "duplicate_owner",
            Level::Critical,
            format!("{peer} advertises priority 255 as well: two routers claim to own the addresses"),
            "set priority = 255 only on the node whose interface has the addresses",
        )
    }

    /// `orders_damaged`: the file of the operator's orders could not be read at the start.
    pub fn orders_damaged(aside: &std::path::Path) -> Self {
        Self::new(
            "orders_damaged",
            Level::Degraded,
            format!("the operator's orders were damaged and are set aside as {}", aside.display()),
            "look into it, give the orders again (drain, freeze), then remove it",
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

    /// `two_active_routers`: another router was Active while we were.
    pub fn two_active_routers(peer: IpAddr, vrid: Vrid, interface: &str) -> Self {
        Self::new(
            "two_active_routers",
            Level::Degraded,
            format!("{peer} is Active for VRID {vrid} on {interface} too: it does not hear this node"),
            "let IP protocol 112 through the firewall of that node; compare vrid, ipv4_checksum and peers",
        )
    }

    /// `address_conflict`: another station, which sends no advertisements, has a virtual address.
    pub fn address_conflict(conflict: &AddressConflict, interface: &str) -> Self {
        let AddressConflict { address, mac, age } = conflict;
        Self::new(
            "address_conflict",
            Level::Degraded,
            format!(
                "{mac} on {interface} claims {address} too (last heard {} s ago): clients may end up there",
                age.as_secs()
            ),
            format!(
                "take {address} off that station; where it is a node of this group, let IP protocol 112 \
                 through its firewall and compare vrid"
            ),
        )
    }

    fn new(name: &str, level: Level, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.to_owned(), level, message: message.into(), remedy: remedy.into() }
    }
}
