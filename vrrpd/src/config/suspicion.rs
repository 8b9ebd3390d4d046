//! `suspicion`: a Backup asks the host of a late Active Router, and follows a dead one early.

use std::time::Duration;

use vrrp_proto::{AdverInterval, Priority};

use super::diagnostic::Faults;
use super::raw;
use super::table::Field;

/// Below this interval the questions take longer than the Active_Down_Interval.
const SHORTEST: Duration = Duration::from_millis(30);

/// Reports what contradicts the rest of the router.
pub(super) fn check(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(at) = router.suspicion.at().filter(|at| at.value) else { return };
    if router.priority.given() == Some(&Priority::OWNER) {
        return faults.error(
            &at.span,
            "suspicion with priority 255: the owner is never Backup",
            "leave it out, or a priority of 1 to 254",
        );
    }
    if let Some(min_ttl) = router.min_ttl.at().filter(|at| at.value < u8::MAX) {
        let line = faults.line(&min_ttl.span);
        return faults.error(
            &at.span,
            "suspicion asks the Active Router's host by ARP, and there is a router in between",
            format!("leave it out; min_ttl is {} at line {line}", min_ttl.value),
        );
    }
    check_third_stations(router, faults);
    let interval = router.advertisement_interval.or(AdverInterval::DEFAULT);
    if interval.is_some_and(|interval| interval.duration() < SHORTEST) {
        faults.warning(
            &at.span,
            "suspicion has no effect with so short an advertisement_interval",
            "the questions take 50 ms: from 30ms on it is sooner than the Active_Down_Interval",
        );
    }
}

/// Nobody is followed early whose silence no third station puts in contrast.
fn check_third_stations(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(at) = router.suspicion.at() else { return };
    match (&router.witness, &router.second_path) {
        (Field::Absent, Field::Absent) => faults.error(
            &at.span,
            "suspicion needs a third station, which tells a dead host from a node that is cut off",
            "the gateway for example: witness = { arp = [\"192.0.2.1\"] }, and in multicast the other nodes as its peers",
        ),
        (_, Field::Is(path)) if path.value.has_no_third_station() => {
            let line = faults.line(&path.span);
            faults.error(
                &at.span,
                "suspicion needs a third station, and second_path names one peer and no witness",
                format!("add second_path.witnesses = [\"192.0.2.1\"] at line {line}, the gateway for example"),
            );
        }
        _ => {}
    }
}
