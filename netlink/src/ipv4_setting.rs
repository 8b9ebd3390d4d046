//! Settings of IPv4 for one link: what `/proc/sys/net/ipv4/conf/LINK/` has, over netlink, which a
//! read-only `/proc/sys` does not forbid.

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, LinkAttribute};

use crate::{LinkIndex, wire};

/// A setting of IPv4 for one link (`ip-sysctl.rst` of the kernel). Of most, the larger of the link's
/// and that of `all` is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ipv4Setting {
    /// `arp_ignore`: for which addresses of the host the link answers ARP; 1: only for its own.
    ArpIgnore,
    /// `arp_announce`: which address ARP requests come from; 2: the best one of the link.
    ArpAnnounce,
    /// `arp_filter`: answer only where the route back leads; 1 in `all` or here turns it on.
    ArpFilter,
    /// `rp_filter`: check of sources; 0 none, 1 strict, 2 loose.
    RpFilter,
    /// `accept_local`: take packets from addresses of this host; 1 in `all` or here turns it on.
    AcceptLocal,
}

impl Ipv4Setting {
    /// `IPV4_DEVCONF_*` of linux/ip.h, counted from 1.
    const fn number(self) -> u16 {
        match self {
            Self::RpFilter => 8,
            Self::ArpFilter => 13,
            Self::ArpAnnounce => 18,
            Self::ArpIgnore => 19,
            Self::AcceptLocal => 23,
        }
    }

    /// Its name in `/proc/sys/net/ipv4/conf/LINK/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
            Self::ArpFilter => "arp_filter",
            Self::RpFilter => "rp_filter",
            Self::AcceptLocal => "accept_local",
        }
    }
}

/// The IPv4 settings of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4Settings {
    /// Which link.
    pub link: LinkIndex,
    values: Vec<u32>,
}

impl Ipv4Settings {
    /// A value; `None` where this kernel does not have the setting.
    pub fn get(&self, setting: Ipv4Setting) -> Option<u32> {
        self.values.get(usize::from(setting.number()) - 1).copied()
    }

    /// Reads the payload of an `RTM_NEWLINK` message; `None`: the link has no IPv4.
    pub(crate) fn parse(payload: &[u8]) -> Result<Option<Self>, String> {
        let Some((header, attributes)) = payload.split_at_checked(LINK_HEADER) else {
            return Err(format!("{} bytes are no link", payload.len()));
        };
        let index = wire::u32(&header[4..8]).expect("four bytes");
        let (mut families, mut inet, mut values): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        let unnested = |kind: u16| kind & !NLA_F_NESTED;
        wire::attributes(attributes, |kind, value| {
            if unnested(kind) == libc::IFLA_AF_SPEC {
                families = value;
            }
        })?;
        wire::attributes(families, |kind, value| {
            if i32::from(unnested(kind)) == libc::AF_INET {
                inet = value;
            }
        })?;
        wire::attributes(inet, |kind, value| {
            if unnested(kind) == IFLA_INET_CONF {
                values = value;
            }
        })?;
        let values: Vec<u32> = values.as_chunks().0.iter().map(|&value| u32::from_ne_bytes(value)).collect();
        Ok((!values.is_empty()).then_some(Self { link: LinkIndex::new(index), values }))
    }
}

/// What a link is to be given. The library's own form leaves out zeros, which are values as well.
pub(crate) fn attribute(settings: &[(Ipv4Setting, u32)]) -> LinkAttribute {
    let mut nested = Vec::new();
    for (setting, value) in settings {
        let entry = DefaultNla::new(setting.number(), value.to_ne_bytes().to_vec());
        let start = nested.len();
        nested.resize(start + entry.buffer_len(), 0);
        entry.emit(&mut nested[start..]);
    }
    let conf = AfSpecInet::Other(DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, nested));
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![conf])])
}

/// Of linux/if_link.h.
const IFLA_INET_CONF: u16 = 1;

/// `struct ifinfomsg`
const LINK_HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{damaged, hex};

    /// Link 7, of whose 33 settings the 8th is 2 and the 19th 1; the other families left out.
    fn payload() -> Vec<u8> {
        let mut values = [0_u32; 33];
        (values[7], values[18]) = (2, 1);
        let mut payload = hex("00000100 07000000 43100100 00000000  90001a80  8c000200  88000100");
        payload.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
        payload
    }

    #[test]
    fn values_are_found_by_their_number() {
        let settings = Ipv4Settings::parse(&payload()).expect("sound").expect("has IPv4");
        assert_eq!(settings.link, LinkIndex::new(7));
        let get = |setting| settings.get(setting);
        assert_eq!(get(Ipv4Setting::RpFilter), Some(2));
        assert_eq!(get(Ipv4Setting::ArpIgnore), Some(1));
        assert_eq!(get(Ipv4Setting::ArpAnnounce), Some(0));
    }

    #[test]
    fn a_setting_that_an_old_kernel_lacks_is_none() {
        let mut payload = hex("00000100 07000000 43100100 00000000  2c001a80  28000200  24000100");
        payload.extend([0; 32]);
        let settings = Ipv4Settings::parse(&payload).expect("sound").expect("has IPv4");
        assert_eq!(settings.get(Ipv4Setting::RpFilter), Some(0));
        assert_eq!(settings.get(Ipv4Setting::ArpIgnore), None);
    }

    #[test]
    fn a_link_without_ipv4_has_no_settings() {
        assert_eq!(Ipv4Settings::parse(&payload()[..LINK_HEADER]), Ok(None));
    }

    #[test]
    fn damage_is_an_error_or_other_settings_but_no_panic() {
        let results = damaged(&payload()).map(|bytes| Ipv4Settings::parse(&bytes)).collect::<Vec<_>>();
        assert!(results.iter().filter(|result| result.is_err()).count() >= LINK_HEADER);
    }
}
