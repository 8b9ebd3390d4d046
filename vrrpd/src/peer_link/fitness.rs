//! Could a virtual router of this node be Active? If not, why?

use ring::digest::{SHA256, digest};
use vrrp_proto::snapshot::{Phase, Reason, StateName, Verdict};

use crate::config;
use crate::control::protocol::{Check, CheckState, ClientLan, Fitness, OnFailure, VirtualRouter};

/// The kind of check that compares the images of both nodes.
const PARITY: &str = "registry_parity";
/// Letters of what a check said that are passed on.
const WORDS_MAX: usize = 120;
/// Reasons that are passed on; a datagram has room for them.
const REASONS_MAX: usize = 8;

/// What the others are told of the virtual routers of this node. One whose sync group has an unfit
/// member cannot be Active either.
pub(crate) fn of_all(routers: &[VirtualRouter]) -> Vec<Fitness> {
    let group = |router: &VirtualRouter| router.sync_group.as_ref().map(|group| group.name.clone());
    let mut all: Vec<Fitness> = routers.iter().map(of).collect();
    for (index, router) in routers.iter().enumerate().filter(|(_, router)| router.sync_group.is_some()) {
        let mut others =
            routers.iter().filter(|other| other.name != router.name && group(other) == group(router));
        if let Some(other) = others.find(|other| !unfit(other).is_empty()) {
            all[index].unfit.push(format!("{} of its sync group is not fit", other.name));
        }
    }
    all
}

/// What the others are told of a virtual router by itself.
fn of(router: &VirtualRouter) -> Fitness {
    Fitness {
        name: router.name.clone(),
        vrid: router.vrid,
        family: router.family,
        state: router.state,
        reason: router.reason,
        priority: router.priority,
        unfit: unfit(router),
        drained: router.orders.drained.is_some(),
        frozen: router.orders.frozen.is_some(),
        yielded: router.orders.yielded.is_some(),
        config_digest: router.config_digest.clone(),
    }
}

/// Why it should not be Active. Frozen checks are judged as they are: they move nothing, but an
/// operator wants to know.
pub(crate) fn unfit(router: &VirtualRouter) -> Vec<String> {
    let mut why = Vec::new();
    if router.orders.drained.is_some() || router.reason == Reason::Drained {
        why.push("drained".to_owned());
    } else if router.state == StateName::Initialize {
        why.push(format!("takes no part in the election: {}", router.reason.as_str()));
    }
    if router.send_failing.is_some() {
        why.push("cannot send advertisements".to_owned());
    }
    if router.second_path.as_ref().is_some_and(|path| path.client_lan == ClientLan::Silent) {
        why.push(format!("nobody on {} answers", router.interface));
    }
    if router.witness.is_some_and(|witness| witness.verdict == Verdict::Isolated) {
        why.push("cut off: neither a peer nor a witness answers it".to_owned());
    }
    let refused = router.addresses.iter().filter(|address| address.refused.is_some());
    why.extend(refused.map(|address| format!("the kernel refuses {}", address.address)));
    if router.phase == Phase::BackOff {
        why.push("waits before the next attempt to hold the addresses".to_owned());
    }
    // Missing images move nothing by themselves, and are no place to move to on purpose.
    let counts = |check: &&Check| check.on_failure != Some(OnFailure::Alert) || check.kind == PARITY;
    for check in router.checks.iter().filter(counts) {
        match check.state {
            // One that is not asked in this role says nothing.
            CheckState::Passing | CheckState::Skipped => {}
            CheckState::Pending if check.kind == PARITY => {}
            CheckState::Pending => why.push(format!("check {} has not reported yet", check.name)),
            CheckState::Failing => {
                let words: String = check.message.chars().take(WORDS_MAX).collect();
                why.push(format!("check {} is failing: {words}", check.name));
            }
        }
    }
    if why.len() > REASONS_MAX {
        let more = why.len() - REASONS_MAX;
        why.truncate(REASONS_MAX);
        why.push(format!("and {more} more"));
    }
    why
}

/// Of what has to be configured alike on all nodes, as 16 hexadecimal digits.
pub(crate) fn config_digest(config: &config::VirtualRouter) -> String {
    let sorted = |list: &[config::VirtualAddress]| {
        let mut addresses: Vec<String> = list.iter().map(ToString::to_string).collect();
        addresses.sort();
        addresses.join(",")
    };
    let mut text = format!(
        "version={} vrid={} family={} advertisement_interval={} addresses={}",
        config.version(),
        config.vrid,
        config.family,
        config.advertisement_interval,
        sorted(&config.addresses)
    );
    if !config.extra_addresses.is_empty() {
        text.push_str(&format!(" extra_addresses={}", sorted(&config.extra_addresses)));
    }
    let octets = digest(&SHA256, text.as_bytes());
    octets.as_ref().iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing;

    #[test]
    fn a_healthy_backup_is_fit_and_a_failing_check_is_not() {
        let mut router = testing::backup();
        assert_eq!(of(&router).unfit, [""; 0]);
        router.checks[0].state = CheckState::Failing;
        router.checks[0].message = "503 instead of 200".to_owned();
        assert_eq!(unfit(&router), ["check registry is failing: 503 instead of 200"]);
        router.checks[0].on_failure = Some(OnFailure::Alert);
        assert_eq!(unfit(&router), [""; 0]);
        router.checks[0].kind = "registry_parity".to_owned();
        assert_eq!(unfit(&router), ["check registry is failing: 503 instead of 200"], "lacks images");
        router.checks[0].state = CheckState::Pending;
        assert_eq!(unfit(&router), [""; 0], "it takes minutes, and nobody waits for it");
        router.addresses[0].refused = Some("permission denied (EACCES)".to_owned());
        assert_eq!(unfit(&router), ["the kernel refuses 192.0.2.201/32"]);
        router.state = StateName::Initialize;
        router.reason = Reason::Drained;
        assert_eq!(unfit(&router)[0], "drained");
    }

    #[test]
    fn an_unfit_member_makes_its_whole_sync_group_unfit() {
        let mut inside = testing::backup();
        inside.sync_group = Some(crate::control::protocol::SyncGroup {
            name: "both".to_owned(),
            priority: inside.priority.configured,
            moved_with: None,
            waits_for: None,
        });
        let mut outside = inside.clone();
        outside.name = "outside".to_owned();
        let unfit = |routers: &[VirtualRouter]| of_all(routers).swap_remove(0).unfit;
        assert_eq!(unfit(&[inside.clone(), outside.clone()]), [""; 0]);
        outside.state = StateName::Initialize;
        assert_eq!(unfit(&[inside.clone(), outside.clone()]), ["outside of its sync group is not fit"]);
        outside.sync_group = None;
        assert_eq!(unfit(&[inside, outside]), [""; 0]);
    }

    #[test]
    fn a_datagram_has_room_for_whatever_checks_say() {
        let mut router = testing::backup();
        let mut check = router.checks[0].clone();
        check.state = CheckState::Failing;
        check.message = "x".repeat(100_000);
        router.checks = vec![check; 1000];
        let octets: usize = unfit(&router).iter().map(String::len).sum();
        assert!(octets < super::super::LONGEST / 4, "{octets}");
    }

    #[test]
    fn the_digest_is_of_what_must_be_alike_and_of_nothing_else() {
        let config = testing::config();
        let mut other = config.clone();
        other.priority = vrrp_proto::Priority::new(100);
        other.interface = "eth1".to_owned();
        assert_eq!(config_digest(&config), config_digest(&other));
        other.addresses[0].prefix_len = 24;
        assert_ne!(config_digest(&config), config_digest(&other));
        assert_eq!(config_digest(&config).len(), 16);
    }
}
