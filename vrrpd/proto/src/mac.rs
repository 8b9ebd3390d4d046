//! Ethernet address.

use std::fmt;
use std::net::IpAddr;

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// From its six octets in wire order.
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// That of a multicast group (RFC 1112 6.4, RFC 2464 7); `None` for other addresses.
    pub fn of_group(group: IpAddr) -> Option<Self> {
        match group {
            IpAddr::V4(group) if group.is_multicast() => {
                let [_, b, c, d] = group.octets();
                Some(Self([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
            }
            IpAddr::V6(group) if group.is_multicast() => {
                let [.., a, b, c, d] = group.octets();
                Some(Self([0x33, 0x33, a, b, c, d]))
            }
            _ => None,
        }
    }

    /// The six octets in wire order.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;

    #[test]
    fn groups_have_their_own_addresses() {
        let of = |text: &str| MacAddress::of_group(text.parse().expect("an address"));
        assert_eq!(MacAddress::of_group(Family::Ipv4.group()), Some(MacAddress([1, 0, 0x5e, 0, 0, 0x12])));
        assert_eq!(MacAddress::of_group(Family::Ipv6.group()), Some(MacAddress([0x33, 0x33, 0, 0, 0, 0x12])));
        assert_eq!(of("239.129.2.3"), Some(MacAddress([1, 0, 0x5e, 1, 2, 3])), "23 bits of it");
        assert_eq!((of("192.0.2.1"), of("2001:db8::1")), (None, None));
    }
}
