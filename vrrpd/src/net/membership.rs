//! Reports of group membership that nobody asked for.
//!
//! A host reports a group when it joins, and when a querier asks. A switch that snoops takes whoever has
//! not reported for a membership interval (260 s as the standards have it) out of the group; where the
//! querier falls silent, nothing brings a Backup back in, and it claims beside a living router. So we
//! report what we have joined without being asked: IGMPv3 (RFC 3376 4.2) and MLDv2 (RFC 3810 5.2).
//!
//! Not served are switches that know only IGMPv1, IGMPv2 or MLDv1. The kernel speaks those to such a
//! querier, but does not tell which version it is in; and a report
//! of each version would be one too many, for one of an old version puts the group into that version
//! at every router (RFC 3376 7.3.2).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use pnet_packet::ip::IpNextHeaderProtocols::Icmpv6;
use pnet_packet::util;
use vrrp_proto::Family;

use super::{Transmitter, doing};

/// How often the groups are reported. Four times in a membership interval of 260 s, so that three
/// reports may be lost; and once in that of a querier that asked every 30 s (70 s).
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

/// All routers that take part in IGMPv3.
const IGMP_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
/// All routers that take part in MLDv2.
const MLD_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Groups in one packet, so that it passes wherever IPv6 does (1280 octets).
const GROUPS_MAX: usize = 60;
/// The record of a group, before its address: all sources are wanted (MODE_IS_EXCLUDE), and none is
/// excepted.
const ANY_SOURCE: [u8; 4] = [2, 0, 0, 0];

/// Reports `groups` on the interface with this name and index, from its own Ethernet address. `source`
/// is link-local over IPv6; without one the report comes from the unspecified address, for which the
/// kernel puts in another one over IPv4 if the interface has any.
///
/// # Errors
///
/// With the operation that failed.
pub(crate) fn report(
    interface: &str,
    index: u32,
    family: Family,
    source: Option<IpAddr>,
    groups: &BTreeSet<IpAddr>,
) -> io::Result<()> {
    let transmitter = Transmitter::open(interface, index, family)?;
    let send = |packet: &[u8], destination| {
        let sent = transmitter.send(packet, destination).map_err(io::Error::from_raw_os_error);
        sent.map_err(doing("report the membership of the VRRP multicast group to switches"))
    };
    match family {
        Family::Ipv4 => {
            let source = source.and_then(ipv4).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let groups: Vec<Ipv4Addr> = groups.iter().copied().filter_map(ipv4).collect();
            groups.chunks(GROUPS_MAX).try_for_each(|some| send(&igmp(source, some), IGMP_ROUTERS.into()))
        }
        Family::Ipv6 => {
            let source = source.and_then(ipv6).unwrap_or(Ipv6Addr::UNSPECIFIED);
            let groups: Vec<Ipv6Addr> = groups.iter().copied().filter_map(ipv6).collect();
            groups.chunks(GROUPS_MAX).try_for_each(|some| send(&mld(source, some), MLD_ROUTERS.into()))
        }
    }
}

fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn ipv6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

/// A whole IPv4 packet with an IGMPv3 report. Its identification and the checksum of its header are
/// the kernel's to fill in.
fn igmp(source: Ipv4Addr, groups: &[Ipv4Addr]) -> Vec<u8> {
    const HEADER: usize = 24;
    const MEMBERSHIP_REPORT: u8 = 0x22;
    const IGMP: u8 = 2;
    const VERSION_AND_WORDS: u8 = 0x46;
    const INTERNETWORK_CONTROL: u8 = 0xc0;
    const DO_NOT_FRAGMENT: u8 = 0x40;
    const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];
    let mut message = vec![MEMBERSHIP_REPORT, 0, 0, 0, 0, 0];
    message.extend(number(groups.len()));
    for group in groups {
        message.extend(ANY_SOURCE);
        message.extend(group.octets());
    }
    let checksum = util::checksum(&message, 1);
    set(&mut message, checksum);

    let [high, low] = number(HEADER + message.len());
    let mut packet = vec![VERSION_AND_WORDS, INTERNETWORK_CONTROL, high, low];
    packet.extend([0, 0, DO_NOT_FRAGMENT, 0, 1, IGMP, 0, 0]);
    packet.extend(source.octets());
    packet.extend(IGMP_ROUTERS.octets());
    packet.extend(ROUTER_ALERT);
    packet.extend(message);
    packet
}

/// A whole IPv6 packet with an MLDv2 report.
fn mld(source: Ipv6Addr, groups: &[Ipv6Addr]) -> Vec<u8> {
    const VERSION_6: [u8; 4] = [0x60, 0, 0, 0];
    const HOP_BY_HOP: u8 = 0;
    const ICMPV6: u8 = 58;
    /// The header of the hop-by-hop options: Router Alert for MLD, and padding to eight octets.
    const ROUTER_ALERT: [u8; 8] = [ICMPV6, 0, 5, 2, 0, 0, 1, 0];
    const LISTENER_REPORT: u8 = 143;
    let mut message = vec![LISTENER_REPORT, 0, 0, 0, 0, 0];
    message.extend(number(groups.len()));
    for group in groups {
        message.extend(ANY_SOURCE);
        message.extend(group.octets());
    }
    let checksum = util::ipv6_checksum(&message, 1, &[], &source, &MLD_ROUTERS, Icmpv6);
    set(&mut message, checksum);

    let mut packet = Vec::from(VERSION_6);
    packet.extend(number(ROUTER_ALERT.len() + message.len()));
    packet.extend([HOP_BY_HOP, 1]);
    packet.extend(source.octets());
    packet.extend(MLD_ROUTERS.octets());
    packet.extend(ROUTER_ALERT);
    packet.extend(message);
    packet
}

/// The checksum is the second word of both messages.
fn set(message: &mut [u8], checksum: u16) {
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}

/// As a field of 16 bits.
fn number(value: usize) -> [u8; 2] {
    u16::try_from(value).expect("a packet of 60 groups is short").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux 6.18 answered to an IGMPv3 query, as a member of 224.0.0.118 and 224.0.0.18.
    const IGMP_OF_LINUX: [u8; 48] = [
        0x46, 0xc0, 0x00, 0x30, 0x00, 0x00, 0x40, 0x00, 0x01, 0x02, 0x41, 0x2f, 0xc0, 0x00, 0x02,
        0xc2, //
        0xe0, 0x00, 0x00, 0x16, 0x94, 0x04, 0x00, 0x00, //
        0x22, 0x00, 0x19, 0x74, 0x00, 0x00, 0x00, 0x02, //
        0x02, 0x00, 0x00, 0x00, 0xe0, 0x00, 0x00, 0x76, 0x02, 0x00, 0x00, 0x00, 0xe0, 0x00, 0x00, 0x12,
    ];
    /// The same for MLDv2, as a member of ff02::118, ff02::12 and ff02::1:ff00:c2.
    const MLD_OF_LINUX: [u8; 116] = [
        0x60, 0x00, 0x00, 0x00, 0x00, 0x4c, 0x00, 0x01, //
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0xc2, //
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x16, //
        0x3a, 0x00, 0x05, 0x02, 0x00, 0x00, 0x01, 0x00, //
        0x8f, 0x00, 0x6f, 0x2b, 0x00, 0x00, 0x00, 0x03, //
        0x02, 0x00, 0x00, 0x00, 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x18, //
        0x02, 0x00, 0x00, 0x00, 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x12, //
        0x02, 0x00, 0x00, 0x00, 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff, 0x00, 0x00, 0xc2,
    ];

    #[test]
    fn over_ipv4_we_report_what_the_kernel_reports_when_asked() {
        let groups = [Ipv4Addr::new(224, 0, 0, 118), Ipv4Addr::new(224, 0, 0, 18)];
        let mut packet = igmp(Ipv4Addr::new(192, 0, 2, 194), &groups);
        let checksum = util::checksum(&packet[..24], 5);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(packet, IGMP_OF_LINUX);
    }

    #[test]
    fn over_ipv6_we_report_what_the_kernel_reports_when_asked() {
        let address = |text: &str| text.parse::<Ipv6Addr>().expect("an address");
        let groups = ["ff02::118", "ff02::12", "ff02::1:ff00:c2"].map(address);
        assert_eq!(mld(address("fe80::ff:fe00:c2"), &groups), MLD_OF_LINUX);
    }

    #[test]
    fn as_many_groups_as_one_packet_takes_pass_every_link() {
        let four = igmp(Ipv4Addr::UNSPECIFIED, &[Ipv4Addr::new(224, 0, 0, 18); GROUPS_MAX]);
        let six = mld(Ipv6Addr::UNSPECIFIED, &[MLD_ROUTERS; GROUPS_MAX]);
        assert!(four.len() <= 576 && six.len() <= 1280, "{} {}", four.len(), six.len());
    }
}
