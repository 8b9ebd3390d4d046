//! Stations on a link, as the kernel knows them by ARP and neighbour discovery.

use std::net::IpAddr;

use netlink_packet_route::neighbour::{NeighbourHeader, NeighbourState};

use crate::address::ip as ip_of;
use crate::{LinkIndex, wire};

/// A station whose link-layer address is known. It may be out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link.
    pub link: LinkIndex,
    /// The station's address.
    pub ip: IpAddr,
    /// Its link-layer address: six octets on Ethernet, none where the link needs none.
    pub station: Vec<u8>,
}

impl Neighbour {
    /// Reads the payload of an `RTM_NEWNEIGH` message. `None`: nobody has answered, or it is no entry of IPv4
    /// or IPv6.
    pub(crate) fn parse(payload: &[u8]) -> Result<Option<Self>, String> {
        let header = NeighbourHeader::parse(payload).map_err(|error| error.to_string())?;
        let (mut ip, mut station) = (None, Vec::new());
        wire::attributes(&payload[HEADER_LEN..], |kind, value| match kind {
            libc::NDA_DST => ip = ip_of(header.family, value),
            libc::NDA_LLADDR => station = value.to_vec(),
            _ => (),
        })?;
        let known = !matches!(
            header.state,
            NeighbourState::None | NeighbourState::Incomplete | NeighbourState::Failed
        );
        let link = LinkIndex::new(header.ifindex);
        Ok(ip.filter(|_| known).map(|ip| Self { link, ip, station }))
    }
}

/// `struct ndmsg`
const HEADER_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{damaged, hex};

    /// `ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:c1 dev eth0`
    const KNOWN: &str = "
        02000000 03000000 8000 00 01 08000100c0000209 0a0002000200000000c10000
        08000400000000001400030000000000000000000000000000000000";
    /// A tunnel's, of IPv6.
    const NO_ADDRESS: &str = "0a000000 04000000 4000 00 01 1400010020010db8000000000000000000000009";

    fn read(payload: &str) -> Option<Neighbour> {
        Neighbour::parse(&hex(payload)).expect("as a kernel sends it")
    }

    #[test]
    fn reads_who_is_known() {
        let (link, ip) = (LinkIndex::new(3), "192.0.2.9".parse().expect("an address"));
        assert_eq!(read(KNOWN), Some(Neighbour { link, ip, station: vec![2, 0, 0, 0, 0, 0xc1] }));
        let (link, ip) = (LinkIndex::new(4), "2001:db8::9".parse().expect("an address"));
        assert_eq!(read(NO_ADDRESS), Some(Neighbour { link, ip, station: Vec::new() }));
    }

    #[test]
    fn who_has_not_answered_is_passed_over_and_so_are_bridges() {
        for state in ["0000", "0100", "2000"] {
            assert_eq!(read(&KNOWN.replace("8000 00", &format!("{state} 00"))), None, "{state}");
        }
        assert_eq!(read(&KNOWN.replace("02000000 03", "07000000 03")), None, "an entry of a bridge");
    }

    #[test]
    fn damage_is_an_error_or_another_entry_but_no_panic() {
        let payload = hex(KNOWN);
        assert!(damaged(&payload).filter(|bytes| Neighbour::parse(bytes).is_err()).count() >= 12);
    }
}
