//! What is heard of VRRP itself, as the daemon counts it.

use vrrp_proto::snapshot::StateName;

use super::{Case, Finding};
use crate::config::VirtualRouter;
use crate::control::protocol;

/// The VRID that distributions and how-tos preconfigure.
const COMMON_VRID: u8 = 51;

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    let mut findings = Vec::new();
    for router in &case.config.virtual_routers {
        findings.push(arrives(case, router));
        findings.push(is_heard(case, router));
        findings.push(refused(case, router));
        findings.push(strangers(case, router));
        findings.push(common_vrid(router));
    }
    findings
}

/// Protocol 112 from the peer to us.
fn arrives(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "protocol_112_arrives";
    let running = match case.running(router) {
        Ok(running) => running,
        Err(why) => return Finding::unknown(NAME, format!("whether protocol 112 arrives: {why}")),
    };
    let fix = format!(
        "systemctl status vrrpd and vrrpctl doctor on the other node; tcpdump -n -i {} ip proto 112 or \
         ip6 proto 112",
        router.interface
    );
    let received = running.statistics.advertisement_rcvd;
    match (running.state, running.active_router) {
        (StateName::Backup, Some(active)) if !active.this_node => Finding::ok(
            NAME,
            format!(
                "protocol 112 from {} arrives (interval {}, priority {}, {received} advertisements)",
                active.address, running.active_adver_interval, active.priority
            ),
        ),
        (StateName::Active, _) if received == 0 => Finding::unknown(
            NAME,
            "whether protocol 112 arrives: this node is Active and a Backup says nothing",
        )
        .with_fix("vrrpctl doctor on the other node"),
        (StateName::Active, _) => Finding::ok(
            NAME,
            format!(
                "protocol 112 has arrived ({received} advertisements); now this node is Active and others \
                 are silent"
            ),
        ),
        (StateName::Initialize, _) => {
            Finding::unknown(NAME, format!("whether protocol 112 arrives: {} is in INITIALIZE", router.name))
                .with_fix(format!("vrrpctl why {}", router.name))
        }
        (StateName::Backup, _) => Finding::fail(
            NAME,
            format!("nothing of protocol 112 arrives on {} for VRID {}", router.interface, router.vrid),
            "both nodes become Active, and clients reach now one and now the other",
            fix,
        ),
    }
}

/// Protocol 112 from us to the peer: only the peer can know, but it may show.
fn is_heard(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "protocol_112_is_heard";
    let running = match case.running(router) {
        Ok(running) => running,
        Err(why) => return Finding::unknown(NAME, format!("whether the peer hears this node: {why}")),
    };
    if let Some(failing) = &running.send_failing {
        return Finding::fail(
            NAME,
            format!("advertisements do not leave on {}: {}", router.interface, failing.error),
            "the other node takes over though this one works",
            "nft list ruleset: let protocol 112 leave; vrrpd needs CAP_NET_RAW",
        );
    }
    if let Some(alarm) = running.alarms.iter().find(|alarm| alarm.name == "two_active_routers") {
        return Finding::fail(
            NAME,
            alarm.message.clone(),
            "two nodes hold the address, and clients reach now one and now the other",
            "on that node: vrrpctl doctor; firewall-cmd --permanent --add-rich-rule='rule protocol \
             value=\"vrrp\" accept' && firewall-cmd --reload, or iptables -I INPUT -p 112 -j ACCEPT",
        );
    }
    let why = match running.state {
        StateName::Backup => "a Backup says nothing",
        StateName::Active => "it does not contradict, but it may be away",
        StateName::Initialize => "this node says nothing in INITIALIZE",
    };
    Finding::unknown(NAME, format!("whether the peer hears this node: {why}"))
        .with_fix("vrrpctl doctor on the other node")
}

/// Advertisements for our VRID that came and were thrown away, and why.
fn refused(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "advertisements_refused";
    let running = match case.running(router) {
        Ok(running) => running,
        Err(why) => return Finding::unknown(NAME, format!("whether advertisements are refused: {why}")),
    };
    let reasons = reasons(running);
    if reasons.is_empty() {
        return Finding::ok(NAME, format!("no advertisement for VRID {} was refused", router.vrid));
    }
    let list: Vec<String> = reasons.iter().map(|(count, words, _)| format!("{count} {words}")).collect();
    Finding::warn(
        NAME,
        format!("advertisements for VRID {} were refused: {}", router.vrid, list.join(", ")),
        "a router whose advertisements are refused is not heard, and two become Active",
        reasons[0].2,
    )
}

/// What was discarded: how many, why, and what to do.
fn reasons(running: &protocol::VirtualRouter) -> Vec<(u64, &'static str, &'static str)> {
    let counted = &running.statistics;
    let all = [
        (counted.version_errors, "of another VRRP version", "the same version on every node"),
        (counted.auth_errors, "with other authentication", "the same authentication on every node"),
        (counted.digest_errors, "without a key of ours", "the same keys on every node, see authentication"),
        (counted.window_errors, "of another time", "set the clocks by NTP"),
        (counted.owner_conflicts, "for addresses of this node", "priority 255 on the node that has them"),
        (counted.checksum_errors, "with a wrong checksum", "ipv4_checksum = \"auto\" on every node"),
        (
            counted.ip_ttl_errors,
            "with a TTL other than 255",
            "min_ttl on both nodes, if a router is between them",
        ),
        (counted.peer_errors, "from a router that is not in peers", "add it to peers, or stop it"),
        (counted.destination_errors, "sent elsewhere", "peers on both nodes, or on none"),
        (counted.source_errors, "with an impossible source", "look for a loop, or a twin of this address"),
        (counted.packet_length_errors, "of a wrong length", "the same kind of authentication on every node"),
        (
            counted.invalid_type_pkts_rcvd,
            "of another type",
            "look for who sends them: tcpdump -n ip proto 112",
        ),
    ];
    all.into_iter().filter(|(count, ..)| *count > 0).collect()
}

/// Others that use our VRID.
fn strangers(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "vrid_strangers";
    let running = match case.running(router) {
        Ok(running) => running,
        Err(why) => {
            return Finding::unknown(NAME, format!("whether strangers use VRID {}: {why}", router.vrid));
        }
    };
    let alarm = |name: &str| running.alarms.iter().find(|alarm| alarm.name == name);
    if let Some(alarm) = alarm("address_list_mismatch") {
        return Finding::warn(
            NAME,
            alarm.message.clone(),
            "if that is the other node, a part of the addresses does not move; if not, two groups share \
             the VRID",
            alarm.remedy.clone(),
        );
    }
    if let Some(alarm) = alarm("shared_vrid") {
        return Finding::fail(
            NAME,
            alarm.message.clone(),
            "two groups with one VRID on one link take each other's role away",
            alarm.remedy.clone(),
        );
    }
    let interfaces = case.state.as_ref().map(|state| state.interfaces.as_slice()).unwrap_or_default();
    let others = interfaces.iter().find(|one| one.name == router.interface);
    let others = others.map_or(0, |one| one.statistics.vrid_errors);
    let beside = match others {
        0 => String::new(),
        count => format!("; {count} advertisements were for other VRIDs, which is no fault"),
    };
    Finding::ok(NAME, format!("no stranger uses VRID {} on {}{beside}", router.vrid, router.interface))
}

/// A VRID that others are likely to use as well.
fn common_vrid(router: &VirtualRouter) -> Finding {
    const NAME: &str = "vrid_common";
    if router.vrid.get() != COMMON_VRID {
        return Finding::ok(NAME, format!("VRID {} is not the one that how-tos use", router.vrid));
    }
    Finding::warn(
        NAME,
        format!("{} has VRID {COMMON_VRID}", router.name),
        "distributions, the guides of kubeadm, k3s and RKE2 preconfigure it: the next one on this link \
         collides",
        "another vrid on both nodes, for example the last octet of the address",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok as Fine, Unknown, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;
    use vrrp_proto::snapshot::Alarm;

    use crate::control::testing;

    #[test]
    fn a_backup_that_hears_the_active_router_is_well_and_one_that_hears_nothing_is_not() {
        let mut patient = Patient::backup();
        let finding = patient.find(examine, "protocol_112_arrives");
        assert_finding(&finding, Fine, &["192.0.2.194", "interval 1s"]);
        patient.state().virtual_routers[0].active_router = None;
        assert_finding(&patient.find(examine, "protocol_112_arrives"), Fail, &["VRID 201", "tcpdump"]);
    }

    #[test]
    fn what_nobody_can_know_here_is_unknown() {
        let mut patient = Patient::active();
        patient.state().virtual_routers[0].statistics.advertisement_rcvd = 0;
        let finding = patient.find(examine, "protocol_112_arrives");
        assert_finding(&finding, Unknown, &["Backup says nothing", "on the other node"]);
        let patient = Patient::new(A);
        for name in
            ["protocol_112_arrives", "protocol_112_is_heard", "advertisements_refused", "vrid_strangers"]
        {
            assert_finding(&patient.find(examine, name), Unknown, &["no daemon"]);
        }
    }

    #[test]
    fn a_peer_that_is_active_too_does_not_hear_us() {
        let mut patient = Patient::active();
        assert_finding(&patient.find(examine, "protocol_112_is_heard"), Unknown, &[]);
        let peer = "192.0.2.194".parse().expect("an address");
        patient.state().virtual_routers[0].alarms.push(testing::alarm(Alarm::TwoActiveRouters, peer));
        assert_finding(
            &patient.find(examine, "protocol_112_is_heard"),
            Fail,
            &["192.0.2.194", "firewall-cmd"],
        );
    }

    #[test]
    fn refused_advertisements_are_told_with_their_reasons() {
        let mut patient = Patient::backup();
        assert_finding(&patient.find(examine, "advertisements_refused"), Fine, &[]);
        patient.state().virtual_routers[0].statistics.peer_errors = 7;
        let finding = patient.find(examine, "advertisements_refused");
        assert_finding(&finding, Warn, &["7 from a router that is not in peers", "add it to peers"]);
    }

    #[test]
    fn a_stranger_on_our_vrid_is_named() {
        let mut patient = Patient::backup();
        assert_finding(&patient.find(examine, "vrid_strangers"), Fine, &["VRID 201"]);
        let peer = "192.0.2.77".parse().expect("an address");
        patient.state().virtual_routers[0].alarms.push(testing::alarm(Alarm::SharedVrid, peer));
        assert_finding(&patient.find(examine, "vrid_strangers"), Fail, &["192.0.2.77"]);
        patient.state().virtual_routers[0].alarms = vec![testing::alarm(Alarm::AddressListMismatch, peer)];
        assert_finding(&patient.find(examine, "vrid_strangers"), Warn, &["192.0.2.77", "other addresses"]);
    }

    #[test]
    fn vrid_51_is_everybodys() {
        assert_finding(&Patient::new(A).find(examine, "vrid_common"), Fine, &["201"]);
        let patient = Patient::new(&A.replace("201\n", "51\n"));
        assert_finding(&patient.find(examine, "vrid_common"), Warn, &["51"]);
    }
}
