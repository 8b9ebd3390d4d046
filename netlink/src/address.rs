//! Addresses on links as the kernel describes them.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressFlags, AddressHeader};

use crate::{LinkIndex, wire};

/// The mark that our addresses carry (`IFA_PROTO`, Linux 5.18): the protocol number of VRRP.
///
/// With it a daemon that was killed recognises what it left behind, and an address that somebody
/// else put there is told apart from ours. Older kernels drop the mark without a word.
pub const PROTOCOL: u8 = 112;

/// An address with the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of the prefix in bits: 0 to 32, or to 128 for IPv6. What is beyond, the kernel
    /// refuses.
    pub prefix_len: u8,
}

impl Address {
    /// The address alone: /32 or /128.
    pub const fn host(ip: IpAddr) -> Self {
        let prefix_len = if ip.is_ipv4() { 32 } else { 128 };
        Self { ip, prefix_len }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_len)
    }
}

/// How long something is good for, counted from when the kernel said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is removed.
    Forever,
    /// For so many more seconds. The kernel removes up to a second late, never early.
    Seconds(u32),
}

impl From<u32> for Lifetime {
    fn from(seconds: u32) -> Self {
        match seconds {
            u32::MAX => Self::Forever,
            seconds => Self::Seconds(seconds),
        }
    }
}

/// How far an address is valid, or how far away a route leads (`RT_SCOPE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everywhere.
    #[default]
    Global,
    /// Within the site, long out of use.
    Site,
    /// On this link: IPv6 link-local addresses, and 169.254.0.0/16 where so set up.
    Link,
    /// On this host: loopback addresses.
    Host,
    /// A number that only the administrator knows the meaning of.
    Other(u8),
}

impl Scope {
    /// The kernel's number: the wider the scope, the smaller.
    pub const fn number(self) -> u8 {
        match self {
            Self::Global => libc::RT_SCOPE_UNIVERSE,
            Self::Site => libc::RT_SCOPE_SITE,
            Self::Link => libc::RT_SCOPE_LINK,
            Self::Host => libc::RT_SCOPE_HOST,
            Self::Other(number) => number,
        }
    }
}

impl From<u8> for Scope {
    fn from(number: u8) -> Self {
        match number {
            libc::RT_SCOPE_UNIVERSE => Self::Global,
            libc::RT_SCOPE_SITE => Self::Site,
            libc::RT_SCOPE_LINK => Self::Link,
            libc::RT_SCOPE_HOST => Self::Host,
            number => Self::Other(number),
        }
    }
}

/// How an address of ours is put on a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressOptions {
    /// IPv4: what listings call it, up to 15 octets; the link's name unless set. Old programs find it
    /// under this name if that is the link's, or begins with it and a colon.
    pub label: Option<String>,
    /// IPv4: how far it is valid. The kernel gives IPv6 addresses the scope that they have.
    pub scope: Scope,
    /// IPv6: chosen as source address of new connections like any other. Without it, never.
    pub preferred: bool,
    /// No route to the network of its prefix is added with it (IPv6: Linux 3.14, IPv4: 4.4; older
    /// kernels add one).
    pub no_prefix_route: bool,
}

/// An address on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// The link.
    pub link: LinkIndex,
    /// The address, ours and not the peer's where the link is point-to-point.
    pub address: Address,
    /// IPv4: the link had an address of the same subnet before, and this one may go with it.
    /// IPv6: a temporary address (RFC 8981).
    pub secondary: bool,
    /// IPv6: not in use yet, duplicate address detection is under way.
    pub tentative: bool,
    /// The preferred lifetime is over: not chosen as source address of new connections.
    pub deprecated: bool,
    /// IPv6: another host has it; not in use.
    pub dad_failed: bool,
    /// How far it is valid.
    pub scope: Scope,
    /// Who added it (`IFA_PROTO`, Linux 5.18): [`PROTOCOL`] is us, 1 to 3 the kernel, `None` did not
    /// say.
    pub protocol: Option<u8>,
    /// How long it stays.
    pub valid: Lifetime,
    /// How long it may be chosen as source address; `Seconds(0)` is never.
    pub preferred: Lifetime,
    /// When it was last added or renewed, in hundredths of a second since boot as `CLOCK_BOOTTIME`
    /// on Linux 6 (before: the kernel's ticks, which stand still in suspend); wraps after 497 days.
    pub updated_cs: u32,
}

impl AddressEntry {
    /// Whether it carries our mark. On kernels before 5.18 no address does.
    pub fn is_ours(&self) -> bool {
        self.protocol == Some(PROTOCOL)
    }

    /// Reads the payload of an `RTM_NEWADDR` or `RTM_DELADDR` message. `None`: neither IPv4 nor IPv6.
    pub(crate) fn parse(payload: &[u8]) -> Result<Option<Self>, String> {
        let header = AddressHeader::parse(payload).map_err(|error| error.to_string())?;
        if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
            return Ok(None);
        }
        let mut flags = u32::from(header.flags.bits());
        let (mut local, mut address, mut protocol, mut cache) = (None, None, None, None);
        wire::attributes(&payload[HEADER_LEN..], |kind, value| match kind {
            libc::IFA_LOCAL => local = ip(header.family, value),
            libc::IFA_ADDRESS => address = ip(header.family, value),
            libc::IFA_CACHEINFO => cache = CacheInfo::parse(value),
            // 32 bits of flags (Linux 3.14) replace the eight of the header.
            libc::IFA_FLAGS => flags = wire::u32(value).unwrap_or(flags),
            IFA_PROTO => protocol = value.first().copied().filter(|protocol| *protocol != 0),
            _ => (),
        })?;
        // IFA_ADDRESS is the far end where the two differ.
        let Some(ip) = local.or(address) else {
            return Err(format!("an address on link {} is missing or has the wrong length", header.index));
        };
        let flags = AddressFlags::from_bits_retain(flags);
        let cache = cache.unwrap_or(CacheInfo::FOREVER);
        Ok(Some(Self {
            link: LinkIndex::new(header.index),
            address: Address { ip, prefix_len: header.prefix_len },
            secondary: flags.contains(AddressFlags::Secondary),
            tentative: flags.contains(AddressFlags::Tentative),
            deprecated: flags.contains(AddressFlags::Deprecated),
            dad_failed: flags.contains(AddressFlags::Dadfailed),
            scope: Scope::from(u8::from(header.scope)),
            protocol,
            valid: cache.valid.into(),
            preferred: cache.preferred.into(),
            updated_cs: cache.updated_cs,
        }))
    }
}

/// `struct ifa_cacheinfo`, without the time of creation.
struct CacheInfo {
    preferred: u32,
    valid: u32,
    updated_cs: u32,
}

impl CacheInfo {
    /// Linux before 3.9 sends none with IPv4.
    const FOREVER: Self = Self { preferred: u32::MAX, valid: u32::MAX, updated_cs: 0 };

    fn parse(value: &[u8]) -> Option<Self> {
        let field = |number: usize| wire::u32(value.get(number * 4..number * 4 + 4)?);
        Some(Self { preferred: field(0)?, valid: field(1)?, updated_cs: field(3)? })
    }
}

/// An address of that family in network byte order.
pub(crate) fn ip(family: AddressFamily, value: &[u8]) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
    }
}

/// `struct ifaddrmsg`
const HEADER_LEN: usize = 8;
/// `IFA_PROTO` is not in `libc`.
const IFA_PROTO: u16 = 11;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{damaged, hex, only};

    /// `ip address add 192.0.2.2/24`, with an address of that subnet there before.
    const SECONDARY: &str = "
        4c000000 1400 0000 7b05046b c33a0000 02188100 04000000 08000100c0000202 08000200c0000202
        0700030076610000 0800080081000000 14000600ffffffffffffffff953a0200953a0200";
    /// 192.0.2.10/32 with our mark and two seconds to live.
    const LEASED: &str = "
        54000000 1400 0000 4d000000 70aa6b86 02200000 04000000 08000100c000020a 08000200c000020a
        0700030076610000 05000b0070000000 0800080000000000 140006000200000002000000953a0200953a0200";
    /// ::1/128, of the kernel.
    const LOOPBACK_IPV6: &str = "
        50000000 1400 0000 00000000 00000000 0a8080fe 01000000
        1400010000000000000000000000000000000001 14000600ffffffffffffffff943a0200943a0200
        0800080080000000 05000b0001000000";

    fn parsed(datagram: &str) -> AddressEntry {
        let datagram = hex(datagram);
        AddressEntry::parse(only(&datagram).payload).expect("captured from a kernel").expect("an IP address")
    }

    #[test]
    fn reads_a_secondary_address() {
        let entry = parsed(SECONDARY);
        assert_eq!(entry.link, LinkIndex::new(4));
        assert_eq!(entry.address.to_string(), "192.0.2.2/24");
        assert!(entry.secondary && !entry.is_ours());
        assert!(!entry.tentative && !entry.deprecated && !entry.dad_failed);
        assert_eq!((entry.scope, entry.protocol), (Scope::Global, None));
        assert_eq!((entry.valid, entry.preferred), (Lifetime::Forever, Lifetime::Forever));
    }

    #[test]
    fn reads_our_mark_and_the_lifetime() {
        let entry = parsed(LEASED);
        assert_eq!(entry.address, Address::host([192, 0, 2, 10].into()));
        assert!(entry.is_ours());
        assert_eq!((entry.valid, entry.preferred), (Lifetime::Seconds(2), Lifetime::Seconds(2)));
        assert_eq!(entry.updated_cs, 0x23a95);
    }

    #[test]
    fn reads_an_ipv6_address() {
        let entry = parsed(LOOPBACK_IPV6);
        assert_eq!(entry.address.to_string(), "::1/128");
        assert_eq!((entry.scope, entry.protocol), (Scope::Host, Some(1)));
        assert!(!entry.is_ours());
    }

    #[test]
    fn the_near_end_of_a_point_to_point_link_is_the_address() {
        let datagram = hex(&LEASED.replace("08000100c000020a", "08000100c0000263"));
        let entry = AddressEntry::parse(only(&datagram).payload).expect("sound").expect("an IP address");
        assert_eq!(entry.address.to_string(), "192.0.2.10/32");
    }

    #[test]
    fn flags_of_32_bits_replace_those_of_the_header() {
        let datagram = hex(&LEASED.replace("0800080000000000", "0800080068000000"));
        let entry = AddressEntry::parse(only(&datagram).payload).expect("sound").expect("an IP address");
        assert!(entry.tentative && entry.deprecated && entry.dad_failed && !entry.secondary);
    }

    #[test]
    fn an_old_kernel_sends_neither_mark_nor_flags_nor_lifetime() {
        let payload = hex("02208000 04000000 08000200c000020a");
        let entry = AddressEntry::parse(&payload).expect("sound").expect("an IP address");
        assert_eq!((entry.protocol, entry.valid, entry.updated_cs), (None, Lifetime::Forever, 0));
    }

    #[test]
    fn other_families_are_passed_over() {
        // AF_MCTP
        assert_eq!(AddressEntry::parse(&hex("2d080000 04000000 0500020008000000")), Ok(None));
    }

    #[test]
    fn an_address_of_the_wrong_length_is_malformed() {
        assert!(AddressEntry::parse(&hex("02200000 04000000 06000200c0000000")).is_err());
        assert!(AddressEntry::parse(&hex("0a800000 04000000 08000200c000020a")).is_err());
        assert!(AddressEntry::parse(&hex("02200000 04000000")).is_err());
    }

    #[test]
    fn damage_is_an_error_or_another_address_but_no_panic() {
        for datagram in [SECONDARY, LEASED, LOOPBACK_IPV6] {
            let payload = &hex(datagram)[16..];
            let results = damaged(payload).map(|bytes| AddressEntry::parse(&bytes));
            assert!(results.filter(Result::is_err).count() >= 8, "a header cut short is an error");
        }
    }
}
