//! vrrpd beside Debian's keepalived and FRR: each format that they share, either of them as primary.
//!
//! What passed is written as a table, see [`page`].

mod member;
mod page;
mod setting;
mod story;

use setting::{Family, PLAIN, Setting, Software, Transport, VERSION_2};
use story::Row;

/// Makes of one text a test of each row, and the list of all rows: the format, the software by falling
/// priority, the setting.
macro_rules! rows {
    ($(#[test] fn $name:ident() { $title:literal, [$($software:ident),+], $setting:expr })+) => {
        /// Every row of the table.
        const ROWS: &[Row] = &[$(Row {
            name: stringify!($name),
            title: $title,
            software: &[$(Software::$software),+],
            setting: $setting,
        }),+];
        $(
            #[test]
            fn $name() {
                story::play(stringify!($name));
            }
        )+
    };
}

rows! {
    #[test]
    fn keepalived_v2_below_vrrpd() {
        "VRRPv2", [Vrrpd, Keepalived], VERSION_2
    }
    #[test]
    fn keepalived_v2_above_vrrpd() {
        "VRRPv2", [Keepalived, Vrrpd], VERSION_2
    }
    #[test]
    fn keepalived_v2_password_below_vrrpd() {
        "VRRPv2 with a password", [Vrrpd, Keepalived], Setting { password: true, ..VERSION_2 }
    }
    #[test]
    fn keepalived_v2_password_above_vrrpd() {
        "VRRPv2 with a password", [Keepalived, Vrrpd], Setting { password: true, ..VERSION_2 }
    }
    #[test]
    fn frr_v2_below_vrrpd() {
        "VRRPv2", [Vrrpd, Frr], VERSION_2
    }
    #[test]
    fn frr_v2_above_vrrpd() {
        "VRRPv2", [Frr, Vrrpd], VERSION_2
    }
    #[test]
    fn keepalived_v3_ipv4_below_vrrpd() {
        "VRRPv3 IPv4, checksum with pseudo-header", [Vrrpd, Keepalived], PLAIN
    }
    #[test]
    fn keepalived_v3_ipv4_above_vrrpd() {
        "VRRPv3 IPv4, checksum with pseudo-header", [Keepalived, Vrrpd], PLAIN
    }
    #[test]
    fn message_only_checksum_above_auto() {
        "VRRPv3 IPv4, checksum over the message", [Vrrpd, Vrrpd], Setting { checksum: Some("rfc9568"), ..PLAIN }
    }
    #[test]
    fn keepalived_v3_ipv6_below_vrrpd() {
        "VRRPv3 IPv6", [Vrrpd, Keepalived], Setting { family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn keepalived_v3_ipv6_above_vrrpd() {
        "VRRPv3 IPv6", [Keepalived, Vrrpd], Setting { family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn keepalived_unicast_ipv4_below_vrrpd() {
        "VRRPv3 IPv4 unicast", [Vrrpd, Keepalived], Setting { transport: Transport::Unicast, ..PLAIN }
    }
    #[test]
    fn keepalived_unicast_ipv4_above_vrrpd() {
        "VRRPv3 IPv4 unicast", [Keepalived, Vrrpd], Setting { transport: Transport::Unicast, ..PLAIN }
    }
    #[test]
    fn keepalived_unicast_ipv6_below_vrrpd() {
        "VRRPv3 IPv6 unicast", [Vrrpd, Keepalived], Setting { transport: Transport::Unicast, family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn keepalived_unicast_ipv6_above_vrrpd() {
        "VRRPv3 IPv6 unicast", [Keepalived, Vrrpd], Setting { transport: Transport::Unicast, family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn keepalived_10_ms_below_vrrpd() {
        "VRRPv3 IPv4 every 10 ms", [Vrrpd, Keepalived], Setting { interval_ms: 10, ..PLAIN }
    }
    #[test]
    fn keepalived_10_ms_above_vrrpd() {
        "VRRPv3 IPv4 every 10 ms", [Keepalived, Vrrpd], Setting { interval_ms: 10, ..PLAIN }
    }
    #[test]
    fn keepalived_virtual_mac_ipv4_below_vrrpd() {
        "VRRPv3 IPv4 with the virtual MAC", [Vrrpd, Keepalived], Setting { virtual_mac: true, ..PLAIN }
    }
    #[test]
    fn keepalived_virtual_mac_ipv4_above_vrrpd() {
        "VRRPv3 IPv4 with the virtual MAC", [Keepalived, Vrrpd], Setting { virtual_mac: true, ..PLAIN }
    }
    #[test]
    fn keepalived_virtual_mac_ipv6_below_vrrpd() {
        "VRRPv3 IPv6 with the virtual MAC", [Vrrpd, Keepalived], Setting { virtual_mac: true, family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn keepalived_virtual_mac_ipv6_above_vrrpd() {
        "VRRPv3 IPv6 with the virtual MAC", [Keepalived, Vrrpd], Setting { virtual_mac: true, family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn keepalived_sync_group_below_vrrpd() {
        "VRRPv3 IPv4 and IPv6 in a sync group", [Vrrpd, Keepalived], Setting { sync_group: true, ..PLAIN }
    }
    #[test]
    fn keepalived_sync_group_above_vrrpd() {
        "VRRPv3 IPv4 and IPv6 in a sync group", [Keepalived, Vrrpd], Setting { sync_group: true, ..PLAIN }
    }
    #[test]
    fn frr_v3_ipv4_below_vrrpd() {
        "VRRPv3 IPv4", [Vrrpd, Frr], PLAIN
    }
    #[test]
    fn frr_v3_ipv4_above_vrrpd() {
        "VRRPv3 IPv4", [Frr, Vrrpd], PLAIN
    }
    #[test]
    fn frr_v3_ipv6_below_vrrpd() {
        "VRRPv3 IPv6", [Vrrpd, Frr], Setting { family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn frr_v3_ipv6_above_vrrpd() {
        "VRRPv3 IPv6", [Frr, Vrrpd], Setting { family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn frr_virtual_mac_ipv4_below_vrrpd() {
        "VRRPv3 IPv4 with the virtual MAC", [Vrrpd, Frr], Setting { virtual_mac: true, ..PLAIN }
    }
    #[test]
    fn frr_virtual_mac_ipv4_above_vrrpd() {
        "VRRPv3 IPv4 with the virtual MAC", [Frr, Vrrpd], Setting { virtual_mac: true, ..PLAIN }
    }
    #[test]
    fn frr_virtual_mac_ipv6_below_vrrpd() {
        "VRRPv3 IPv6 with the virtual MAC", [Vrrpd, Frr], Setting { virtual_mac: true, family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn frr_virtual_mac_ipv6_above_vrrpd() {
        "VRRPv3 IPv6 with the virtual MAC", [Frr, Vrrpd], Setting { virtual_mac: true, family: Family::Ipv6, ..PLAIN }
    }
    #[test]
    fn frr_10_ms_below_vrrpd() {
        "VRRPv3 IPv4 every 10 ms", [Vrrpd, Frr], Setting { interval_ms: 10, ..PLAIN }
    }
    #[test]
    fn frr_10_ms_above_vrrpd() {
        "VRRPv3 IPv4 every 10 ms", [Frr, Vrrpd], Setting { interval_ms: 10, ..PLAIN }
    }
    #[test]
    fn three_nodes_with_vrrpd_first() {
        "VRRPv3 IPv4, three nodes", [Vrrpd, Keepalived, Frr], PLAIN
    }
    #[test]
    fn three_nodes_with_vrrpd_second() {
        "VRRPv3 IPv4, three nodes", [Keepalived, Vrrpd, Frr], PLAIN
    }
    #[test]
    fn three_nodes_with_vrrpd_last() {
        "VRRPv3 IPv4, three nodes", [Keepalived, Frr, Vrrpd], PLAIN
    }
}
