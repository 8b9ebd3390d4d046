//! What a pair agrees on: the rows of the table.

/// A VRRP daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Software {
    Vrrpd,
    Keepalived,
    Frr,
}

/// Family of the address that clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

/// How advertisements travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Multicast,
    Unicast,
}

/// What all nodes of a group are set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// VRRP version.
    pub(crate) version: u8,
    /// Of the address that the client asks.
    pub(crate) family: Family,
    pub(crate) transport: Transport,
    /// Advertisement interval.
    pub(crate) interval_ms: u32,
    /// RFC 2338's password.
    pub(crate) password: bool,
    /// `virtual_mac`, `use_vmac`.
    pub(crate) virtual_mac: bool,
    /// `ipv4_checksum` of the first of two vrrpd.
    pub(crate) checksum: Option<&'static str>,
    /// An IPv4 and an IPv6 virtual router that move together.
    pub(crate) sync_group: bool,
}

/// VRRPv3 over IPv4 multicast, ten times a second.
pub(crate) const PLAIN: Setting = Setting {
    version: 3,
    family: Family::Ipv4,
    transport: Transport::Multicast,
    interval_ms: 100,
    password: false,
    virtual_mac: false,
    checksum: None,
    sync_group: false,
};

/// VRRPv2 knows whole seconds only.
pub(crate) const VERSION_2: Setting = Setting { version: 2, interval_ms: 1000, ..PLAIN };

impl Setting {
    /// A stall of a few intervals is a matter of scheduling: such a group gets the machine for itself.
    pub(crate) fn is_fast(&self) -> bool {
        self.interval_ms < 100
    }

    /// The virtual routers: names and families.
    pub(crate) fn families(&self) -> &'static [(&'static str, Family)] {
        match (self.sync_group, self.family) {
            (true, _) => &[("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)],
            (false, Family::Ipv4) => &[("ipv4", Family::Ipv4)],
            (false, Family::Ipv6) => &[("ipv6", Family::Ipv6)],
        }
    }

    /// The addresses that clients use.
    pub(crate) fn addresses(&self) -> Vec<&'static str> {
        self.families().iter().map(|(_, family)| family.address()).collect()
    }
}
