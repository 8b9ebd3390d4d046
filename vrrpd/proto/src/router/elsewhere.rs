//! Our addresses at other stations: the successor's announcement ends a handover, and whoever has
//! one while we are Active is in the way.
//!
//! Frames are judged by their time of arrival. One that was sent by a router on its way out, or by
//! one about to preempt us, is not a conflict.

use std::net::IpAddr;
use std::time::Duration;

use super::paths::Path;
use super::{Advertisement, Context, HANDOVER, State, VirtualRouter};
use crate::packet::Sighting;
use crate::parameters::VirtualAddress;
use crate::snapshot::{Alarm, Evidence, Value};
use crate::{Instant, MacAddress};

/// A conflict is over when the other station has been silent for so long: a kernel that has the
/// address shows it now and then, when it looks for a neighbour.
const CONFLICT_REMEMBERED: Duration = Duration::from_secs(300);

/// An address that another station claims is announced at most so often (RFC 5227 1.1:
/// DEFEND_INTERVAL), however often it is claimed.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// What is known of our addresses at other stations.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    /// When another station announced each of the addresses last.
    announced: Box<[Option<Instant>]>,
    /// When the role was given up last: what was announced before that, no successor announced.
    pub(super) given_up_at: Instant,
    conflict: Option<Conflict>,
    /// When an address was announced because another station claimed it.
    defended_at: Option<Instant>,
}

/// Another station claims an address while we are Active.
#[derive(Clone, Copy, Debug)]
struct Conflict {
    address: IpAddr,
    mac: MacAddress,
    first: Instant,
    last: Instant,
}

impl Elsewhere {
    pub(super) fn new(count: usize) -> Self {
        Self {
            announced: vec![None; count].into(),
            given_up_at: Instant::ZERO,
            conflict: None,
            defended_at: None,
        }
    }

    /// The addresses are others now.
    pub(super) fn become_others(&mut self, count: usize) {
        self.announced = vec![None; count].into();
    }
}

impl VirtualRouter {
    /// An address was shown at a station. What everybody on the link can send moves nothing by
    /// itself: it shortens a handover to a successor that advertises, and it is counted.
    pub(super) fn sighted(&mut self, sighting: Sighting, arrived: Instant, cx: &mut Context<'_>) {
        self.client_lan_answered(sighting, arrived);
        self.witness_sighted(sighting, arrived);
        self.suspect_sighted(Path::First, sighting, arrived, cx);
        let ours = [self.facts.mac, self.mac()];
        if self.facts.source == Some(sighting.address) && !ours.contains(&sighting.mac) {
            self.twin(Some(sighting.mac), cx);
        }
        let is_it = |address: &VirtualAddress| address.ip == sighting.address && address.interface.is_none();
        let Some(index) = self.parameters.addresses.iter().position(is_it) else { return };
        if sighting.mac == self.facts.mac {
            return;
        }
        // Once we are Active, the virtual MAC address may be our own device's.
        if sighting.mac != self.mac() || !matches!(self.state, State::Active { .. }) {
            self.holder_answered(sighting, arrived, cx);
        }
        if sighting.announced {
            self.elsewhere.announced[index] = Some(arrived);
        }
        match self.state {
            State::Active { .. } => self.conflict_seen(sighting, arrived),
            State::Leaving { release_at, then } if self.is_succeeded() => {
                self.state = State::Leaving { release_at: release_at.min(arrived), then };
            }
            _ => {}
        }
    }

    /// The same on the second path, where no clients are: it says who lives.
    pub(crate) fn sighted_on_second(&mut self, sighting: Sighting, arrived: Instant, cx: &mut Context<'_>) {
        self.suspect_sighted(Path::Second, sighting, arrived, cx);
    }

    /// When a successor that has advertised needs us no more: when it has announced all addresses, or
    /// after the time that it may take to add them. With the virtual MAC its advertisement alone has
    /// turned the switches to it, and a frame of ours would turn them back.
    pub(super) fn release_after(&self, advert: Advertisement) -> Instant {
        if self.parameters.virtual_mac || self.is_succeeded() {
            advert.arrived
        } else {
            advert.arrived + HANDOVER
        }
    }

    /// At each advertisement: who still claims an address an interval after we noticed has not been
    /// about to preempt us. One that advertises is told of as another Active Router.
    pub(super) fn judge_conflict(&mut self, cx: &mut Context<'_>) {
        let Some(conflict) = self.elsewhere.conflict else { return };
        let over = cx.now - conflict.last >= CONFLICT_REMEMBERED;
        if over || self.shown.is_raised(Alarm::TwoActiveRouters) {
            self.forget_conflict(cx);
        } else if cx.now - conflict.first >= self.parameters.interval.duration() {
            let theirs = Value::Mac(conflict.mac);
            let evidence = Evidence { theirs, ..Evidence::of(conflict.address) };
            self.raise(Alarm::AddressConflict, evidence, cx);
            self.shown.seen_at(Alarm::AddressConflict, conflict.last);
            self.defend(conflict, cx);
        }
    }

    /// Has the neighbours follow us again, and never gives the address up (RFC 5227 2.4 (c)).
    fn defend(&mut self, conflict: Conflict, cx: &mut Context<'_>) {
        let again =
            self.elsewhere.defended_at.is_none_or(|at| conflict.last > at && cx.now - at >= DEFEND_INTERVAL);
        let is_it = |address: &VirtualAddress| address.ip == conflict.address && address.interface.is_none();
        let index = self.parameters.addresses.iter().position(is_it);
        if let Some(index) = index.and_then(|index| u16::try_from(index).ok()).filter(|_| again) {
            self.elsewhere.defended_at = Some(cx.now);
            self.announce(index..index + 1, cx);
            // Who only answers is heard of in no other way.
            self.ask_holder(cx);
        }
    }

    /// Nobody is in the way, or nobody could be because we are not Active.
    pub(super) fn forget_conflict(&mut self, cx: &mut Context<'_>) {
        self.elsewhere.conflict = None;
        self.over(Alarm::AddressConflict, cx);
        self.over(Alarm::LivingHolder, cx);
    }

    fn conflict_seen(&mut self, sighting: Sighting, arrived: Instant) {
        // The predecessor may still be there: on its way out, unaware of us, or dead with a lease.
        if arrived < self.since + self.patience() {
            return;
        }
        self.statistics.address_conflicts += 1;
        let Sighting { address, mac, .. } = sighting;
        let first = self.elsewhere.conflict.map_or(arrived, |conflict| conflict.first);
        self.elsewhere.conflict = Some(Conflict { address, mac, first, last: arrived });
    }

    /// Since the role was given up, another router has taken it and each of the addresses that are
    /// announced where we hear it has been, by another station: clients have learned where they are.
    /// An announcement without an advertisement may be anybody's.
    fn is_succeeded(&self) -> bool {
        let since = self.elsewhere.given_up_at;
        let mut addresses = self.parameters.addresses.iter().zip(&self.elsewhere.announced);
        let settled = |(address, at): (&VirtualAddress, &Option<Instant>)| {
            !self.parameters.is_at_home(address) || at.is_some_and(|at| at >= since)
        };
        self.is_taken() && addresses.all(settled)
    }

    /// Has another router been heard as Active since the role was given up?
    pub(super) fn is_taken(&self) -> bool {
        self.rival.is_some_and(|rival| rival.is_active && rival.heard_at >= self.elsewhere.given_up_at)
    }
}
