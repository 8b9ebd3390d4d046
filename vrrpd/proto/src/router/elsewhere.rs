//! Our addresses at other stations: the successor's announcement ends a handover.

use super::{Advertisement, HANDOVER, State, VirtualRouter};
use crate::Instant;
use crate::packet::Sighting;

/// What is known of our addresses at other stations.
#[derive(Debug)]
pub(super) struct Elsewhere {
    /// When another station announced each of the addresses last.
    announced: Box<[Option<Instant>]>,
    /// When the role was given up last: what was announced before that, no successor announced.
    pub(super) given_up_at: Instant,
}

impl Elsewhere {
    pub(super) fn new(count: usize) -> Self {
        Self { announced: vec![None; count].into(), given_up_at: Instant::ZERO }
    }

    /// The addresses are others now.
    pub(super) fn become_others(&mut self, count: usize) {
        self.announced = vec![None; count].into();
    }
}

impl VirtualRouter {
    /// An address was shown at a station. What everybody on the link can send moves nothing by
    /// itself: it shortens a handover to a successor that advertises.
    pub(super) fn sighted(&mut self, sighting: Sighting, arrived: Instant) {
        let Some(index) = self.listed.iter().position(|&address| address == sighting.address) else {
            return;
        };
        if sighting.mac == self.facts.mac {
            return;
        }
        if sighting.announced {
            self.elsewhere.announced[index] = Some(arrived);
        }
        match self.state {
            State::Leaving { release_at, then } if self.is_succeeded() => {
                self.state = State::Leaving { release_at: release_at.min(arrived), then };
            }
            _ => {}
        }
    }

    /// When a successor that has advertised needs us no more: when it has announced all addresses, or
    /// after the time that it may take to add them.
    pub(super) fn release_after(&self, advert: Advertisement) -> Instant {
        if self.is_succeeded() { advert.arrived } else { advert.arrived + HANDOVER }
    }

    /// Since the role was given up, another router has taken it and each of the addresses has been
    /// announced by another station: clients have learned where they are. An announcement without an
    /// advertisement may be anybody's.
    fn is_succeeded(&self) -> bool {
        let since = self.elsewhere.given_up_at;
        let taken = self.rival.is_some_and(|rival| rival.is_active && rival.heard_at >= since);
        taken && self.elsewhere.announced.iter().all(|at| at.is_some_and(|at| at >= since))
    }
}
