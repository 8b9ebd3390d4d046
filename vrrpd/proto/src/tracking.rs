//! Health and weights: from what the checks say to the effective priority.

use crate::Priority;

/// Number of a tracker (a check), given by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerId(pub u16);

/// One tracker's say in one Virtual Router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// Which tracker.
    pub tracker: TrackerId,
    /// What it does.
    pub effect: Effect,
}

/// What a failing tracker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A tenth of the priority, once however many fail.
    Demote,
    /// Leave, and hold nothing.
    Fault,
    /// Nothing: somebody looks at it.
    Alert,
    /// Negative: added while failing. Positive: added while passing.
    Weight(i16),
}

/// What a tracker says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackerState {
    /// Not decided yet.
    #[default]
    Pending,
    /// All is well.
    Passing,
    /// It is not.
    Failing,
    /// It is not asked at present, and says nothing for or against anybody.
    Skipped,
}

/// The sum of what the trackers of a Virtual Router say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Priority in force.
    pub priority: Priority,
    /// A tracker with [`Effect::Fault`] fails.
    pub fault: bool,
    /// A tracker that counts has not decided yet.
    pub pending: bool,
    /// The priority is a tenth because of [`Effect::Demote`].
    pub demoted: bool,
}

/// [`Health`] in the two readings of a tracker that has not decided yet: it counts against a router
/// that would take the role, and not against one that already holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Undecided counts as failing.
    pub cautious: Health,
    /// Undecided counts as passing.
    pub trusting: Health,
}

impl Assessment {
    /// Sums up what the trackers say. An owner (priority 255) is never changed.
    pub fn new(configured: Priority, trackers: impl Iterator<Item = (Effect, TrackerState)> + Clone) -> Self {
        Self {
            cautious: assess(configured, trackers.clone(), false),
            trusting: assess(configured, trackers, true),
        }
    }
}

fn assess(
    configured: Priority,
    trackers: impl Iterator<Item = (Effect, TrackerState)>,
    trust_pending: bool,
) -> Health {
    let mut health = Health { priority: configured, fault: false, pending: false, demoted: false };
    if configured.is_owner() {
        return health;
    }
    let mut weights = 0i32;
    for (effect, state) in trackers {
        if effect == Effect::Alert {
            continue;
        }
        health.pending |= state == TrackerState::Pending;
        let passing = match state {
            TrackerState::Passing => true,
            TrackerState::Failing => false,
            TrackerState::Pending => trust_pending,
            TrackerState::Skipped => continue,
        };
        match effect {
            Effect::Weight(weight) if (weight > 0) == passing => weights += i32::from(weight),
            Effect::Weight(_) | Effect::Alert => {}
            Effect::Fault if state == TrackerState::Failing => health.fault = true,
            Effect::Demote | Effect::Fault => health.demoted |= !passing,
        }
    }
    let base = if health.demoted { configured.demoted() } else { configured };
    health.priority = base.weighted(weights);
    health
}

#[cfg(test)]
mod tests {
    use super::TrackerState::{Failing, Passing, Pending, Skipped};
    use super::*;

    fn priority(trackers: &[(Effect, TrackerState)], trust_pending: bool) -> u8 {
        assess(Priority::new(150), trackers.iter().copied(), trust_pending).priority.get()
    }

    #[test]
    fn one_of_several_that_has_not_decided_is_enough_to_wait_for() {
        let pending = |states: [TrackerState; 2]| {
            assess(Priority::new(150), states.into_iter().map(|state| (Effect::Demote, state)), false).pending
        };
        assert!(pending([Pending, Pending]) && pending([Pending, Passing]) && pending([Passing, Pending]));
        assert!(!pending([Passing, Failing]));
    }

    #[test]
    fn two_failing_checks_demote_once() {
        assert_eq!(priority(&[(Effect::Demote, Failing), (Effect::Demote, Failing)], true), 15);
    }

    #[test]
    fn a_negative_weight_counts_while_failing_and_a_positive_one_while_passing() {
        let trackers = |state| [(Effect::Weight(-60), state), (Effect::Weight(20), state)];
        assert_eq!(priority(&trackers(Failing), true), 90);
        assert_eq!(priority(&trackers(Passing), true), 170);
    }

    #[test]
    fn pending_counts_as_failing_only_for_who_would_take_the_role() {
        assert_eq!(priority(&[(Effect::Demote, Pending)], false), 15);
        assert_eq!(priority(&[(Effect::Demote, Pending)], true), 150);
        assert_eq!(priority(&[(Effect::Weight(-60), Pending)], false), 90);
    }

    #[test]
    fn what_is_not_asked_moves_nothing_and_holds_nothing() {
        let effects = [Effect::Demote, Effect::Fault, Effect::Weight(-60), Effect::Weight(20)];
        for trust_pending in [false, true] {
            let trackers = effects.map(|effect| (effect, Skipped)).into_iter();
            let untouched =
                Health { priority: Priority::new(150), fault: false, pending: false, demoted: false };
            assert_eq!(assess(Priority::new(150), trackers, trust_pending), untouched);
        }
    }

    #[test]
    fn a_pending_fault_is_not_a_fault_yet() {
        let health = assess(Priority::new(150), [(Effect::Fault, Pending)].into_iter(), false);
        assert!(!health.fault && health.pending && health.demoted);
    }

    #[test]
    fn an_alert_moves_nothing_and_an_owner_is_never_moved() {
        assert_eq!(priority(&[(Effect::Alert, Failing)], false), 150);
        let owner = assess(Priority::OWNER, [(Effect::Fault, Failing)].into_iter(), false);
        assert_eq!(owner, Health { priority: Priority::OWNER, fault: false, pending: false, demoted: false });
    }
}
