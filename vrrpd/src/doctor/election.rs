//! Can the address move at all, given what both nodes are configured to do?

use vrrp_proto::Priority;

use super::{Case, Finding};
use crate::config::{Check, Config, Effect, VirtualRouter};

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    let mut findings = Vec::new();
    for router in &case.config.virtual_routers {
        let peer = Peer::of(case, router);
        findings.extend(weights(&case.config, router, &peer));
        findings.extend(tenths(&case.config, router, &peer));
        findings.push(equal(router, &peer));
        findings.push(returns(router, &peer));
        findings.push(agrees(case, router));
    }
    findings
}

/// The other node as far as it is known.
struct Peer {
    /// Its priority while it is healthy, and how that is known; or why it is not.
    priority: Result<(Priority, String), String>,
    /// From its configuration.
    preempt_mode: Option<bool>,
}

impl Peer {
    fn of(case: &Case, router: &VirtualRouter) -> Self {
        if let Some(theirs) = case.peer.as_ref().and_then(|peer| twin(peer, router)) {
            let source = "by its configuration".to_owned();
            return Self { priority: Ok((theirs.priority, source)), preempt_mode: Some(theirs.preempt_mode) };
        }
        let unknown = "the peer's priority is not known: no other node is heard as Active";
        let priority = case.running(router).and_then(|running| match running.active_router {
            Some(active) if !active.this_node => {
                Ok((active.priority, format!("as {} advertises", active.address)))
            }
            _ => Err(unknown.to_owned()),
        });
        Self { priority, preempt_mode: None }
    }
}

/// The same virtual router in the other node's configuration.
pub(crate) fn twin<'a>(peer: &'a Config, router: &VirtualRouter) -> Option<&'a VirtualRouter> {
    let same = |theirs: &&VirtualRouter| theirs.vrid == router.vrid && theirs.family == router.family;
    let mut named = peer.virtual_routers.iter().filter(same);
    named.clone().find(|theirs| theirs.name == router.name).or_else(|| named.next())
}

/// The checks that count for a virtual router.
fn checks<'a>(config: &'a Config, router: &'a VirtualRouter) -> impl Iterator<Item = &'a Check> {
    config.checks.iter().filter(|check| router.checks.contains(&check.name))
}

/// A weight that is smaller than the distance of the priorities.
fn weights(config: &Config, router: &VirtualRouter, peer: &Peer) -> Vec<Finding> {
    const NAME: &str = "weight_moves_nothing";
    let healthy = healthy_priority(config, router);
    let weighted = checks(config, router).filter_map(|check| match check.effect {
        Effect::Weight(weight) => Some((check, weight)),
        _ => None,
    });
    let judge = |(check, weight): (&Check, i16)| {
        let (theirs, how) = match &peer.priority {
            Ok(known) => known,
            Err(why) => {
                let what = format!("whether check {} can move {}: {why}", check.name, router.name);
                return Finding::unknown(NAME, what).with_fix("vrrpctl doctor --peer-config FILE");
            }
        };
        let failed = healthy.weighted(-i32::from(weight.unsigned_abs()));
        let sum = format!("{healthy} - {} = {failed}", weight.unsigned_abs());
        if healthy <= *theirs {
            let what =
                format!("check {} need not move {}: the peer has {theirs} {how}", check.name, router.name);
            return Finding::ok(NAME, what);
        }
        if failed < *theirs {
            return Finding::ok(
                NAME,
                format!("check {} moves {}: {sum} < {theirs} of the peer", check.name, router.name),
            );
        }
        Finding::warn(
            NAME,
            format!(
                "check {} alone can never move {}: {sum}, the peer has {theirs} {how}",
                check.name, router.name
            ),
            "the service stays on the node where it is broken",
            format!(
                "on_failure = \"demote\"; or a weight below -{}",
                healthy.get().saturating_sub(theirs.get())
            ),
        )
    };
    weighted.map(judge).collect()
}

/// The priority while every check passes.
pub(crate) fn healthy_priority(config: &Config, router: &VirtualRouter) -> Priority {
    if router.priority.is_owner() {
        return router.priority;
    }
    let positive = checks(config, router).map(|check| match check.effect {
        Effect::Weight(weight) => i32::from(weight.max(0)),
        _ => 0,
    });
    router.priority.weighted(positive.sum())
}

/// Two demoted nodes have to keep an order, and a demoted one has to be below a healthy one.
fn tenths(config: &Config, router: &VirtualRouter, peer: &Peer) -> Option<Finding> {
    const NAME: &str = "demoted_order";
    if !checks(config, router).any(|check| check.effect == Effect::Demote) {
        return None;
    }
    let ours = router.priority.demoted();
    let theirs = match &peer.priority {
        Ok((theirs, _)) => *theirs,
        Err(why) => return Some(Finding::unknown(NAME, format!("the order of two demoted nodes: {why}"))),
    };
    if ours >= theirs {
        return Some(Finding::warn(
            NAME,
            format!("demoted, this node has {ours}, and the healthy peer {theirs}"),
            "a failing check moves nothing",
            "a priority above 25 on both nodes",
        ));
    }
    if ours == theirs.demoted() {
        return Some(Finding::warn(
            NAME,
            format!("a tenth of {} and of {theirs} is {ours} on both nodes", router.priority),
            "when both fail, their addresses decide and not their priorities",
            "priorities that are ten or more apart",
        ));
    }
    Some(Finding::ok(NAME, format!("demoted, this node has {ours} and the peer {}", theirs.demoted())))
}

fn equal(router: &VirtualRouter, peer: &Peer) -> Finding {
    const NAME: &str = "priority_equal";
    match &peer.priority {
        Err(why) => Finding::unknown(NAME, format!("whether the priorities differ: {why}")),
        Ok((theirs, how)) if *theirs == router.priority => Finding::warn(
            NAME,
            format!("both nodes have priority {theirs} ({how})"),
            "the higher source address wins a tie, and nobody is the primary",
            "give the primary the higher priority, then vrrpctl reload",
        ),
        Ok((theirs, how)) => {
            Finding::ok(NAME, format!("this node has priority {}, the peer {theirs} {how}", router.priority))
        }
    }
}

/// Does the address come back to the node of higher priority by itself?
fn returns(router: &VirtualRouter, peer: &Peer) -> Finding {
    const NAME: &str = "preempt_mode";
    let primary_waits = match &peer.priority {
        Ok((theirs, _)) if router.priority > *theirs => (!router.preempt_mode).then_some("this node"),
        Ok((theirs, _)) if router.priority < *theirs && peer.preempt_mode == Some(false) => Some("the peer"),
        Err(_) if !router.preempt_mode => Some("this node"),
        _ => None,
    };
    match primary_waits {
        Some(who) => Finding::warn(
            NAME,
            format!("{who} has preempt_mode = false: after a failure it does not take {} back", router.name),
            "the address stays on the backup until that fails; with keepalived as the peer a weight then \
             moves nothing at all",
            "preempt_mode = true and preempt_delay = \"60s\" on the primary; or vrrpctl switchover by hand",
        ),
        None => Finding::ok(NAME, format!("the node of higher priority takes {} back", router.name)),
    }
}

/// What has to be the same on both nodes.
fn agrees(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "configurations_agree";
    let Some(peer) = &case.peer else {
        return Finding::unknown(
            NAME,
            "whether both nodes are configured alike: the peer's file was not given",
        )
        .with_fix("vrrpctl doctor --peer-config FILE");
    };
    let name = &router.name;
    let fix = "make them equal, then vrrpctl reload on both nodes";
    let Some(theirs) = twin(peer, router) else {
        return Finding::fail(
            NAME,
            format!("the peer has no virtual router with VRID {} for {}", router.vrid, router.family),
            "two nodes with different VRIDs do not know of each other, and both become Active",
            fix,
        );
    };
    let mut ours: Vec<_> = router.addresses.iter().map(|address| address.ip).collect();
    let mut others: Vec<_> = theirs.addresses.iter().map(|address| address.ip).collect();
    ours.sort_unstable();
    others.sort_unstable();
    let mut differ = Vec::new();
    if ours != others {
        differ.push("addresses");
    }
    if router.advertisement_interval != theirs.advertisement_interval {
        differ.push("advertisement_interval");
    }
    if router.peers.is_empty() != theirs.peers.is_empty() {
        differ.push("peers (unicast on one node, multicast on the other)");
    }
    if differ.is_empty() {
        return Finding::ok(NAME, format!("both nodes are configured alike for {name}"));
    }
    Finding::fail(
        NAME,
        format!("the nodes differ for {name} in {}", differ.join(" and ")),
        "they may not accept each other's advertisements, or move only a part",
        fix,
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok as Fine, Unknown, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;

    const B: &str = "[virtual_router.bootstrap]\ninterface = \"eth0\"\nvrid = 201\npriority = 100\n\
                     addresses = [\"192.0.2.201\"]\npeers = [\"192.0.2.193\"]\n";

    fn with_check(effect: &str) -> Patient {
        let check = format!(
            "checks = [\"charts\"]\n[check.charts]\ntcp = {{ address = \"192.0.2.193:8081\" }}\n{effect}\n"
        );
        Patient::new(&format!("{A}{check}")).with_peer(B)
    }

    #[test]
    fn a_weight_must_be_larger_than_the_distance() {
        let finding = with_check("weight = -30").find(examine, "weight_moves_nothing");
        assert_finding(
            &finding,
            Warn,
            &["charts", "150 - 30 = 120", "100 by its configuration", "below -50"],
        );
        let finding = with_check("weight = -60").find(examine, "weight_moves_nothing");
        assert_finding(&finding, Fine, &["150 - 60 = 90 < 100"]);
        let equal = with_check("weight = -50").find(examine, "weight_moves_nothing");
        assert_finding(&equal, Warn, &["150 - 50 = 100"]);
    }

    #[test]
    fn a_positive_weight_is_what_is_lost() {
        let finding = with_check("weight = 20").find(examine, "weight_moves_nothing");
        assert_finding(&finding, Warn, &["170 - 20 = 150"]);
    }

    #[test]
    fn the_priority_of_the_peer_may_be_heard() {
        // The daemon of the test's state hears 192.0.2.194 with 200.
        let mut patient = Patient::backup();
        patient.case.config = with_check("weight = -30").case.config.clone();
        assert_finding(&patient.find(examine, "weight_moves_nothing"), Fine, &["200", "192.0.2.194"]);
        let mut alone = with_check("weight = -30");
        alone.case.peer = None;
        assert_finding(&alone.find(examine, "weight_moves_nothing"), Unknown, &["--peer-config"]);
    }

    #[test]
    fn demoted_nodes_keep_their_order() {
        let order = |ours: u8, theirs: u8| {
            let mut patient = with_check("").with_peer(B);
            patient.case.config.virtual_routers[0].priority = Priority::new(ours);
            let peer = patient.case.peer.as_mut().expect("it was given");
            peer.virtual_routers[0].priority = Priority::new(theirs);
            patient.find(examine, "demoted_order")
        };
        assert_finding(&order(150, 100), Fine, &["15", "10"]);
        assert_finding(&order(105, 101), Warn, &["105", "101", "is 10"]);
        assert_finding(&order(250, 20), Warn, &["25", "20"]);
    }

    #[test]
    fn one_node_is_the_primary() {
        assert_finding(&with_check("").find(examine, "priority_equal"), Fine, &["150", "100"]);
        let patient = Patient::new(A).with_peer(&B.replace("100", "150"));
        assert_finding(&patient.find(examine, "priority_equal"), Warn, &["150"]);
        assert_finding(&Patient::new(A).find(examine, "priority_equal"), Unknown, &[]);
    }

    #[test]
    fn a_primary_that_does_not_preempt_never_comes_back() {
        assert_finding(&with_check("").find(examine, "preempt_mode"), Fine, &[]);
        let patient = Patient::new(&format!("{A}preempt_mode = false\n")).with_peer(B);
        assert_finding(&patient.find(examine, "preempt_mode"), Warn, &["this node", "switchover"]);
        let patient = Patient::new(B).with_peer(&format!("{A}preempt_mode = false\n"));
        assert_finding(&patient.find(examine, "preempt_mode"), Warn, &["the peer"]);
    }

    #[test]
    fn both_nodes_are_configured_alike() {
        assert_finding(&Patient::new(A).with_peer(B).find(examine, "configurations_agree"), Fine, &[]);
        assert_finding(&Patient::new(A).find(examine, "configurations_agree"), Unknown, &["--peer-config"]);
        let vrid = Patient::new(A).with_peer(&B.replace("vrid = 201", "vrid = 202"));
        assert_finding(&vrid.find(examine, "configurations_agree"), Fail, &["VRID 201"]);
        let other = format!("{}advertisement_interval = \"2s\"\n", B.replace("2.201", "2.202"));
        let other = Patient::new(A).with_peer(&other.replace("peers = [\"192.0.2.193\"]\n", ""));
        let words = ["addresses", "advertisement_interval", "multicast"];
        assert_finding(&other.find(examine, "configurations_agree"), Fail, &words);
    }
}
