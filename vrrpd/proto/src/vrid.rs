//! Virtual Router Identifier and address family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::MacAddress;

/// Virtual Router Identifier, 1 to 255; there is no default and 0 is never valid (RFC 9568 1.7, 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(u8);

impl Vrid {
    /// `None` for 0.
    pub const fn new(value: u8) -> Option<Self> {
        if value == 0 { None } else { Some(Self(value)) }
    }

    /// The number, 1 to 255.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Virtual Router MAC Address: 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6
    /// (RFC 9568 7.3).
    pub const fn mac(self, family: Family) -> MacAddress {
        let block = match family {
            Family::Ipv4 => 1,
            Family::Ipv6 => 2,
        };
        MacAddress::new([0x00, 0x00, 0x5e, 0x00, block, self.0])
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Address family of a Virtual Router. Routers of the two families with the same VRID are unrelated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Advertisements over IPv4 carry IPv4 addresses.
    Ipv4,
    /// Advertisements over IPv6 carry IPv6 addresses.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// The multicast group of VRRP: 224.0.0.18 or ff02::12 (RFC 9568 5.1.1.2, 5.1.2.2).
    pub const fn group(self) -> IpAddr {
        match self {
            Self::Ipv4 => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
            Self::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
        }
    }

    /// Octets of one address: 4 or 16.
    pub const fn address_octets(self) -> usize {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }

    /// Prefix length of a single address: 32 or 128.
    pub const fn host_prefix(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_mac_differs_by_family_and_vrid() {
        let vrid = Vrid::new(51).expect("51 is in range");
        assert_eq!(vrid.mac(Family::Ipv4).to_string(), "00:00:5e:00:01:33");
        assert_eq!(vrid.mac(Family::Ipv6).to_string(), "00:00:5e:00:02:33");
        assert_eq!(Vrid::new(0), None);
    }
}
