//! Firewall rules that drop VRRP, ARP or neighbour discovery.
//!
//! The rules are read (`nft`, and `iptables-save` for its legacy form) and a packet of each kind is led
//! through them. What depends on more than is known of the packet is said to be uncertain.

use vrrp_proto::Family;

use super::{Case, Finding, output_of};
use crate::config::VirtualRouter;

mod iptables;
mod nft;
mod rules;

use rules::{Fate, Packet, Protocol, Ruleset, Way};

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    let mut findings = vec![reloads(case)];
    let ruleset = read(case);
    for router in &case.config.virtual_routers {
        match &ruleset {
            Ok(ruleset) => {
                findings.extend(packets(router).iter().map(|(name, packet)| judge(name, packet, ruleset)))
            }
            Err(why) => findings.push(
                Finding::unknown(
                    "firewall_vrrp",
                    format!("whether the firewall lets protocol 112 pass: {why}"),
                )
                .with_fix("run vrrpctl doctor as root"),
            ),
        }
    }
    findings
}

/// What nf_tables and legacy iptables hold.
fn read(case: &Case) -> Result<Ruleset, String> {
    let nft = output_of("nft", &["-j", "list", "ruleset"]);
    let mut ruleset = match &nft {
        Ok(json) => nft::parse(json)?,
        Err(_) => Ruleset::default(),
    };
    for (family, tables, programs) in [
        (Family::Ipv4, "/proc/net/ip_tables_names", ["iptables-legacy-save", "iptables-save"]),
        (Family::Ipv6, "/proc/net/ip6_tables_names", ["ip6tables-legacy-save", "ip6tables-save"]),
    ] {
        // The file names the tables of the legacy form, which nft does not show. Where there is no nft,
        // as on CentOS 7, iptables is all there is.
        let is_legacy = case.read(tables).is_ok_and(|names| !names.trim().is_empty());
        if is_legacy || nft.is_err() {
            let saved = output_of(programs[0], &[]).or_else(|_| output_of(programs[1], &[]));
            let saved = saved.map_err(|error| nft.clone().err().unwrap_or(error))?;
            ruleset.merge(iptables::parse(&saved, family));
        }
    }
    Ok(ruleset)
}

/// The packets that a virtual router cannot do without.
fn packets(router: &VirtualRouter) -> Vec<(&'static str, Packet)> {
    let family = router.family;
    let peer = router.peers.first().copied();
    let group = router.multicast_group;
    let own = router.source_address;
    let packet = |protocol, way, source, destination| Packet {
        protocol,
        way,
        family,
        interface: router.interface.clone(),
        source,
        destination,
    };
    let vrrp_in = packet(Protocol::Vrrp, Way::In, peer, if peer.is_some() { own } else { Some(group) });
    let vrrp_out = packet(Protocol::Vrrp, Way::Out, own, Some(peer.unwrap_or(group)));
    let neighbours = match family {
        Family::Ipv4 => ("firewall_arp", Protocol::Arp),
        Family::Ipv6 => ("firewall_neighbour_discovery", Protocol::NeighbourDiscovery),
    };
    let mut all = vec![("firewall_vrrp_in", vrrp_in), ("firewall_vrrp_out", vrrp_out)];
    if !router.addresses.is_empty() {
        all.extend([Way::In, Way::Out].map(|way| (neighbours.0, packet(neighbours.1, way, None, None))));
    }
    all
}

fn judge(name: &'static str, packet: &Packet, ruleset: &Ruleset) -> Finding {
    let Packet { protocol, way, interface, .. } = packet;
    let fate = ruleset.fate(packet);
    let (rule, certain) = match &fate {
        Fate::Passes => {
            return Finding::ok(name, format!("no firewall rule drops {protocol} {way} {interface}"));
        }
        Fate::Dropped { rule } => (rule, true),
        Fate::Uncertain { rule } => (rule, false),
    };
    let why = match protocol {
        Protocol::Vrrp => "the nodes do not hear each other: both become Active within four intervals",
        Protocol::Arp | Protocol::NeighbourDiscovery => "hosts do not learn where the address is",
    };
    let fix = match protocol {
        Protocol::Vrrp => {
            "firewall-cmd --permanent --add-rich-rule='rule protocol value=\"vrrp\" accept' && \
             firewall-cmd --reload; \
             or nft insert rule with ip protocol 112 accept; or iptables -I INPUT -p 112 -j ACCEPT"
        }
        Protocol::Arp | Protocol::NeighbourDiscovery => "take the rule away, or accept before it",
    };
    if certain {
        return Finding::fail(name, format!("{rule} drops {protocol} {way} {interface}"), why, fix);
    }
    Finding::warn(
        name,
        format!("{rule} may drop {protocol} {way} {interface}: it depends on more than is known here"),
        why,
        fix,
    )
}

/// firewalld, whose reloads take other programs' rules away.
fn reloads(case: &Case) -> Finding {
    const NAME: &str = "firewalld";
    if !case.path("/run/firewalld").exists() {
        return Finding::ok(NAME, "firewalld does not run");
    }
    let containers = ["/run/containers", "/run/podman", "/run/docker.sock"];
    if let Some(found) = containers.into_iter().find(|path| case.path(path).exists()) {
        return Finding::warn(
            NAME,
            format!("firewalld runs beside containers ({found})"),
            "firewall-cmd --reload can drop the rules of published ports: a connection is accepted and \
             never answered",
            "after each reload: podman network reload --all (docker: systemctl restart docker); check \
             services by http, not tcp",
        );
    }
    Finding::ok(NAME, "firewalld runs, and no container whose rules a reload could drop")
}

/// For the fuzzer: what nft and iptables may print, where others choose names and comments.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(octets: &[u8]) {
    if let Ok(text) = std::str::from_utf8(octets) {
        let _ = nft::parse(text);
        for family in [Family::Ipv4, Family::Ipv6] {
            iptables::parse(text, family);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok as Fine, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;

    const VRRP_DROPPED: &str = r#"{"nftables": [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"table": {"family": "inet", "name": "filter", "handle": 1}},
        {"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter",
                   "hook": "input", "prio": 0, "policy": "accept"}},
        {"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 2, "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "protocol"}}, "right": "vrrp"}},
            {"drop": null}]}}]}"#;

    fn verdict(json: &str, name: &str) -> Finding {
        let ruleset = nft::parse(json).expect("what nft prints");
        let patient = Patient::new(A);
        let packets = packets(&patient.case.config.virtual_routers[0]);
        let packet = packets.iter().find(|(packet_name, _)| *packet_name == name).expect(name);
        judge(packet.0, &packet.1, &ruleset)
    }

    #[test]
    fn a_rule_that_drops_protocol_112_is_named() {
        let finding = verdict(VRRP_DROPPED, "firewall_vrrp_in");
        assert_finding(&finding, Fail, &["inet filter input", "handle 2", "firewall-cmd"]);
        assert_finding(&verdict(VRRP_DROPPED, "firewall_vrrp_out"), Fine, &["eth0"]);
        assert_finding(&verdict(VRRP_DROPPED, "firewall_arp"), Fine, &["ARP"]);
        assert_finding(&verdict(r#"{"nftables": []}"#, "firewall_vrrp_in"), Fine, &[]);
    }

    #[test]
    fn what_depends_on_more_is_a_warning() {
        let json = VRRP_DROPPED.replace(
            r#"{"drop": null}"#,
            r#"{"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 7}}, {"drop": null}"#,
        );
        assert_finding(&verdict(&json, "firewall_vrrp_in"), Warn, &["may drop"]);
    }

    #[test]
    fn firewalld_beside_containers_is_a_trap() {
        assert_finding(&Patient::new(A).find(examine, "firewalld"), Fine, &["does not run"]);
        let alone = Patient::new(A).file("/run/firewalld/x", "");
        assert_finding(&alone.find(examine, "firewalld"), Fine, &["no container"]);
        let podman = Patient::new(A).file("/run/firewalld/x", "").file("/run/containers/x", "");
        assert_finding(&podman.find(examine, "firewalld"), Warn, &["podman network reload --all"]);
    }
}
