//! Settings of the kernel that break what VRRP counts on.

use std::net::IpAddr;

use vrrp_proto::Family;

use super::{Case, Finding};
use crate::config::VirtualRouter;

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    let mut findings = Vec::new();
    for router in &case.config.virtual_routers {
        match router.family {
            Family::Ipv4 => findings.extend([
                arp_ignore(case, router),
                rp_filter(case, router),
                announcements(case, router, "ipv4", "drop_gratuitous_arp"),
                forwarding(case, router),
            ]),
            Family::Ipv6 => findings.extend([
                disable_ipv6(case, router),
                announcements(case, router, "ipv6", "drop_unsolicited_na"),
            ]),
        }
    }
    findings
}

/// The file of a setting of one interface, or of all.
fn file(family: &str, interface: &str, setting: &str) -> String {
    format!("/proc/sys/net/{family}/conf/{interface}/{setting}")
}

/// The setting in force, where that is the larger of the interface's and of `all`.
fn larger(case: &Case, family: &str, router: &VirtualRouter, setting: &str) -> Option<i64> {
    let own = case.number(file(family, &router.interface, setting));
    own.max(case.number(file(family, "all", setting)))
}

fn unreadable(name: &'static str, setting: &str, router: &VirtualRouter) -> Finding {
    Finding::unknown(name, format!("{setting} of {} cannot be read", router.interface))
}

/// ARP answers that the kernel keeps back.
fn arp_ignore(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "arp_ignore";
    let interface = &router.interface;
    let Some(value) = larger(case, "ipv4", router, NAME) else { return unreadable(NAME, NAME, router) };
    let narrow = router.addresses.iter().any(|address| address.prefix_len == 32);
    let why = match value {
        2 if narrow => "an address with /32 shares a subnet with nobody, so that nobody is answered",
        8 => "nobody is answered",
        _ => {
            return Finding::ok(NAME, format!("arp_ignore = {value} on {interface} answers for the address"));
        }
    };
    Finding::fail(
        NAME,
        format!("arp_ignore = {value} on {interface}"),
        why,
        format!("sysctl -w net/ipv4/conf/{interface}/arp_ignore=1 and the same of all; and in /etc/sysctl.d"),
    )
}

/// Packets of peers that come in on another interface than answers to them would leave by.
fn rp_filter(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "rp_filter";
    let interface = &router.interface;
    let Some(value) = larger(case, "ipv4", router, NAME) else { return unreadable(NAME, NAME, router) };
    let Some(peer) = router.peers.first().filter(|_| value == 1) else {
        return Finding::ok(NAME, format!("rp_filter = {value} on {interface} keeps no advertisement away"));
    };
    match way_to(case, *peer) {
        Some(way) if way != *interface => Finding::warn(
            NAME,
            format!("rp_filter = 1 on {interface}, but the way to {peer} is by {way}"),
            "the kernel drops the peer's advertisements before anybody counts them",
            format!(
                "a route to {peer} by {interface}; or sysctl -w net/ipv4/conf/{interface}/rp_filter=2 and \
                 the same of all"
            ),
        ),
        Some(_) => {
            Finding::ok(NAME, format!("rp_filter = 1 on {interface}, which is also the way to {peer}"))
        }
        None => Finding::unknown(
            NAME,
            format!("rp_filter = 1 on {interface}, and the way to {peer} is not known"),
        ),
    }
}

/// The interface of the longest route to an address, by the main table.
fn way_to(case: &Case, to: IpAddr) -> Option<String> {
    let IpAddr::V4(to) = to else { return None };
    let text = case.read("/proc/net/route").ok()?;
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let word = |at: usize| {
            u32::from_str_radix(fields.get(at)?, 16).ok().map(u32::to_ne_bytes).map(u32::from_be_bytes)
        };
        let (network, mask) = (word(1)?, word(7)?);
        (to.to_bits() & mask == network).then(|| (mask, fields[0].to_owned()))
    };
    text.lines().skip(1).filter_map(route).max_by_key(|(mask, _)| *mask).map(|(_, interface)| interface)
}

/// This node's own table of neighbours, when it is a client of the address itself.
fn announcements(case: &Case, router: &VirtualRouter, family: &str, setting: &'static str) -> Finding {
    let interface = &router.interface;
    match larger(case, family, router, setting) {
        // Kernels before 4.5 have no such setting, and accept.
        None | Some(0) => {
            Finding::ok(setting, format!("{interface} accepts announcements of moved addresses"))
        }
        Some(value) => Finding::warn(
            setting,
            format!("{setting} = {value} on {interface}"),
            "while it is Backup, this node goes on sending to the old place for half a minute after a move",
            format!("sysctl -w net/{family}/conf/{interface}/{setting}=0 and the same of all"),
        ),
    }
}

/// A node that forwards hides that a host missed the announcement.
fn forwarding(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "forwarding";
    let interface = &router.interface;
    let Some(value) = case.number(file("ipv4", interface, NAME)) else {
        return unreadable(NAME, NAME, router);
    };
    let repeated = !router.garp.refresh.is_zero() || !router.garp.second_after.is_zero();
    if value == 0 || repeated {
        let hidden = if value == 0 {
            ""
        } else {
            "; announcements are repeated, so that what a host missed is made up for"
        };
        return Finding::ok(NAME, format!("forwarding = {value} on {interface}{hidden}"));
    }
    Finding::warn(
        NAME,
        format!("forwarding = {value} on {interface}, and announcements are not repeated"),
        "after a move this node forwards for hosts that missed the announcement, until it goes away and \
         they fail",
        "garp = { second_after = \"5s\", refresh = \"60s\" }",
    )
}

fn disable_ipv6(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "disable_ipv6";
    let interface = &router.interface;
    match case.number(file("ipv6", interface, NAME)) {
        Some(0) => Finding::ok(NAME, format!("IPv6 is on on {interface}")),
        Some(_) => Finding::fail(
            NAME,
            format!("IPv6 is off on {interface}"),
            format!("{} cannot have its addresses", router.name),
            format!("sysctl -w net/ipv6/conf/{interface}/disable_ipv6=0"),
        ),
        None => unreadable(NAME, NAME, router),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok as Fine, Unknown, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;

    const A6: &str =
        "[virtual_router.bootstrap6]\ninterface = \"eth0\"\nvrid = 201\naddresses = [\"fe80::201\"]\n";

    fn set(text: &str, family: &str, setting: &str, value: i64) -> Patient {
        Patient::new(text).file(&file(family, "eth0", setting), &format!("{value}\n"))
    }

    #[test]
    fn arp_must_be_answered() {
        let verdict = |value| set(A, "ipv4", "arp_ignore", value).find(examine, "arp_ignore");
        assert_finding(&verdict(1), Fine, &["arp_ignore = 1"]);
        assert_finding(&verdict(2), Fail, &["/32", "sysctl"]);
        assert_finding(&verdict(8), Fail, &["nobody"]);
        let all = set(A, "ipv4", "arp_ignore", 0).file(&file("ipv4", "all", "arp_ignore"), "8\n");
        assert_finding(&all.find(examine, "arp_ignore"), Fail, &["arp_ignore = 8"]);
        assert_finding(&Patient::new(A).find(examine, "arp_ignore"), Unknown, &[]);
        let wide = set(&A.replace("192.0.2.201", "192.0.2.201/24"), "ipv4", "arp_ignore", 2);
        assert_finding(&wide.find(examine, "arp_ignore"), Fine, &[]);
    }

    #[test]
    fn a_strict_filter_must_agree_with_the_way_to_the_peer() {
        let hex = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let route = |interface: &str| {
            let line = |name: &str, to, mask| {
                format!("{name}\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n", hex(to), hex(mask))
            };
            let text = format!(
                "Iface\tDestination\n{}{}",
                line("eth9", [0; 4], [0; 4]),
                line(interface, [192, 0, 2, 0], [255, 255, 255, 0])
            );
            set(A, "ipv4", "rp_filter", 1).file("/proc/net/route", &text).find(examine, "rp_filter")
        };
        assert_finding(&route("eth0"), Fine, &["192.0.2.194"]);
        assert_finding(&route("eth1"), Warn, &["by eth1", "rp_filter=2"]);
        assert_finding(&set(A, "ipv4", "rp_filter", 1).find(examine, "rp_filter"), Unknown, &[]);
        assert_finding(&set(A, "ipv4", "rp_filter", 2).find(examine, "rp_filter"), Fine, &[]);
    }

    #[test]
    fn announcements_must_be_accepted() {
        for (text, family, setting) in
            [(A, "ipv4", "drop_gratuitous_arp"), (A6, "ipv6", "drop_unsolicited_na")]
        {
            assert_finding(&set(text, family, setting, 0).find(examine, setting), Fine, &[]);
            assert_finding(&set(text, family, setting, 1).find(examine, setting), Warn, &[setting, "eth0"]);
        }
    }

    #[test]
    fn forwarding_hides_what_is_not_repeated() {
        assert_finding(&set(A, "ipv4", "forwarding", 1).find(examine, "forwarding"), Fine, &["repeated"]);
        let once = format!("{A}garp = {{ second_after = \"0s\", refresh = \"0s\" }}\n");
        assert_finding(&set(&once, "ipv4", "forwarding", 0).find(examine, "forwarding"), Fine, &[]);
        assert_finding(&set(&once, "ipv4", "forwarding", 1).find(examine, "forwarding"), Warn, &["garp"]);
    }

    #[test]
    fn ipv6_has_to_be_on() {
        assert_finding(&set(A6, "ipv6", "disable_ipv6", 0).find(examine, "disable_ipv6"), Fine, &[]);
        assert_finding(&set(A6, "ipv6", "disable_ipv6", 1).find(examine, "disable_ipv6"), Fail, &["eth0"]);
    }
}
