//! The two daemons, set up alike.

use std::fmt;
use std::str::FromStr;

use lab::{Daemon, Node};

/// The address that moves.
pub(crate) const VIP: &str = "192.0.2.201";

/// A daemon to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Vrrpd,
    Keepalived,
}

impl Contender {
    /// Starts it on `node`.
    pub(crate) fn start(self, node: &Node, priority: u8) -> Daemon {
        match self {
            Self::Vrrpd => node.vrrpd_realtime(&format!(
                "[virtual_router.web]\n\
                 interface = \"eth0\"\n\
                 vrid = 201\n\
                 priority = {priority}\n\
                 advertisement_interval = \"1s\"\n\
                 addresses = [\"{VIP}\"]\n"
            )),
            Self::Keepalived => node.keepalived(&format!(
                "vrrp_instance web {{\n\
                   interface eth0\n\
                   virtual_router_id 201\n\
                   priority {priority}\n\
                   advert_int 1\n\
                   virtual_ipaddress {{ {VIP} }}\n\
                 }}\n"
            )),
        }
    }
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
