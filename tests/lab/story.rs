//! What most stories begin with: a virtual router called `web`, on two nodes, settled.

use std::sync::Arc;

use crate::{Daemon, Lab, Node};

/// The IPv4 address that moves.
pub const VIP: &str = "192.0.2.201";
/// The IPv6 address that moves.
pub const VIP6: &str = "2001:db8::201";
/// The link-local address that IPv6 advertises first (RFC 9568 5.2.9).
pub const VIP6_LINK_LOCAL: &str = "fe80::201";

/// Priority of node a of a [`Pair`].
pub const PRIMARY: u8 = 200;
/// Priority of node b of a [`Pair`].
pub const SECONDARY: u8 = 100;

/// Advertisement interval of the stories, in ns.
pub const INTERVAL_NS: i64 = 100_000_000;
/// Skew_Time of [`SECONDARY`] at that interval, in ns: 156/256 of it.
pub const SKEW_NS: i64 = 60_937_500;
/// Active_Down_Interval of [`SECONDARY`] at that interval, in ns.
pub const DOWN_NS: i64 = 3 * INTERVAL_NS + SKEW_NS;

/// The table `[virtual_router.web]` for IPv4; `more` are further keys of it, then further tables.
pub fn web(priority: u8, more: &str) -> String {
    router(priority, &[VIP], more)
}

/// As [`web`] for IPv6.
pub fn web6(priority: u8, more: &str) -> String {
    router(priority, &[VIP6_LINK_LOCAL, VIP6], more)
}

/// As [`web`] with any addresses.
pub fn router(priority: u8, addresses: &[&str], more: &str) -> String {
    format!(
        "[virtual_router.web]\n\
         interface = \"eth0\"\n\
         vrid = 201\n\
         priority = {priority}\n\
         advertisement_interval = \"100ms\"\n\
         addresses = {addresses:?}\n\
         {more}\n"
    )
}

/// Starts keepalived on `node` with what [`web`] says.
pub fn keepalived(node: &Node, priority: u8) -> Daemon {
    node.keepalived(&format!(
        "vrrp_instance web {{
           interface eth0
           virtual_router_id 201
           priority {priority}
           advert_int 0.1
           virtual_ipaddress {{ {VIP} }}
         }}"
    ))
}

/// The same configuration at intervals of one second. The kernel's lifetime of an address is whole
/// seconds: only then it ends before the backup claims, and is long enough for a debug build on a
/// busy machine to start again within it.
pub fn slow(config: &str) -> String {
    config.replace("\"100ms\"", "\"1s\"")
}

/// Two nodes that run vrrpd; `a`, with the higher priority, holds [`VIP`].
pub struct Pair {
    /// The daemon of `a`.
    pub primary: Daemon,
    /// The daemon of `b`.
    pub secondary: Daemon,
    /// 192.0.2.193, priority 200.
    pub a: Arc<Node>,
    /// 192.0.2.194, priority 100.
    pub b: Arc<Node>,
    /// Dropped last.
    pub lab: Lab,
}

impl Pair {
    /// Starts both and waits until `a` alone holds the address and has said so; `more` are further keys for both.
    /// `None` where the laboratory is not available, which has been said aloud.
    pub fn open(more: &str) -> Option<Self> {
        Self::with(|node| web(if node.name() == "a" { PRIMARY } else { SECONDARY }, more))
    }

    /// As [`open`](Self::open) with a configuration for each node.
    pub fn with(config: impl Fn(&Node) -> String) -> Option<Self> {
        Self::with_address(VIP, config)
    }

    /// As [`with`](Self::with) for an address that is not [`VIP`].
    pub fn with_address(address: &str, config: impl Fn(&Node) -> String) -> Option<Self> {
        let lab = Lab::open()?;
        let (a, b) = (lab.node("a"), lab.node("b"));
        // With a virtual MAC address they have another source than the node.
        let capture = lab.capture();
        let (primary, secondary) = (a.vrrpd(&config(&a)), b.vrrpd(&config(&b)));
        lab.wait_for_holder(address, "a");
        // Who is stopped before its first advertisement has promised nobody anything.
        capture.wait_for_advert("a", 0);
        Some(Self { primary, secondary, a, b, lab })
    }
}
