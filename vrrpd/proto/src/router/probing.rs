//! Does somebody still answer for the addresses of an Active Router that has fallen silent? Asked when the
//! role is claimed because of silence, by ARP probes and neighbour solicitations, which claim nothing.
//!
//! Who answers lives, or its kernel does: the daemon there hangs, or a firewall is between us. That is
//! told and counted, and no veto. By default the question leaves with the claim. With
//! [`OnConflict::Hold`] it leaves so long before that the answer is there when the claim is due; one that
//! was answered waits for one Active_Down_Interval more, whatever is said then.

use std::net::IpAddr;
use std::time::Duration;

use super::{Context, Counting, State, VirtualRouter};
use crate::action::Action;
use crate::packet::Sighting;
use crate::parameters::OnConflict;
use crate::snapshot::{Alarm, Evidence, Value};
use crate::{Instant, MacAddress};

/// How long before the claim the question leaves, or half an interval where that is less. A Linux host
/// answers within a tenth of a millisecond, one behind a LAN within a few.
const AHEAD: Duration = Duration::from_millis(50);
/// What comes later than this after a question is no answer to it.
const ANSWERED_WITHIN: Duration = Duration::from_millis(500);
/// The first addresses stand for all: one router holds them.
const PROBED: usize = 4;

/// What was asked last, and what was answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probing {
    /// The silence before the claim.
    silence: Option<Counting>,
    asked: Option<Instant>,
    /// An address and the station that has it.
    answered: Option<(IpAddr, MacAddress)>,
    /// The claim after this silence waits once more.
    held: bool,
}

impl VirtualRouter {
    /// The addresses that are asked about.
    pub(crate) fn probed(&self) -> impl Iterator<Item = IpAddr> {
        let home = self.parameters.addresses.iter().filter(|address| self.parameters.is_at_home(address));
        home.take(PROBED).map(|address| address.ip)
    }

    /// When the question has to leave for the claim at `active_down` to go by the answer.
    pub(super) fn probe_at(&self, active_down: Instant) -> Option<Instant> {
        let asks = self.parameters.on_conflict == OnConflict::Hold
            && self.probing.silence != Some(self.counting)
            && !self.counting.resigned
            && !self.rival.is_some_and(|rival| rival.lives(active_down));
        asks.then(|| active_down.saturating_sub(self.ahead()))
    }

    /// Asks before a claim, if it is time. When that is late, or the claim has come forward since, it waits for the
    /// answer.
    pub(super) fn probe_before_claim(&mut self, cx: &mut Context<'_>) {
        let State::Backup { active_down } = self.state else { return };
        if self.probe_at(active_down).is_some_and(|at| at <= cx.now) {
            self.ask_holder(cx);
        }
        let waits =
            self.parameters.on_conflict == OnConflict::Hold && self.probing.silence == Some(self.counting);
        if let Some(asked) = self.probing.asked.filter(|_| waits) {
            self.state = State::Backup { active_down: active_down.max(asked + self.ahead()) };
        }
    }

    /// The claim is due: is it held back because somebody answered?
    pub(super) fn holds_back(&mut self, cx: &mut Context<'_>) -> bool {
        let hold = self.parameters.on_conflict == OnConflict::Hold
            && self.probing.silence == Some(self.counting)
            && self.probing.answered.is_some()
            && !self.probing.held;
        if hold {
            self.probing.held = true;
            let wait = self.active_adver_interval.active_down_interval(self.priority());
            self.state = State::Backup { active_down: cx.now + wait };
            self.holder_shown(cx);
        }
        hold
    }

    /// Did the present silence bring another Active_Down_Interval?
    pub(super) fn is_delayed_by_holder(&self) -> bool {
        self.probing.held && self.probing.silence == Some(self.counting)
    }

    /// The role was taken because of silence: with the claim goes the question, unless it has been put.
    pub(super) fn probe_with_claim(&mut self, cx: &mut Context<'_>) {
        if self.owner() {
            return;
        }
        if self.probing.silence != Some(self.counting) {
            self.ask_holder(cx);
        } else if self.probing.answered.is_some() && !self.probing.held {
            self.holder_shown(cx);
        }
    }

    /// A station says that it has one of the addresses.
    pub(super) fn holder_answered(&mut self, sighting: Sighting, arrived: Instant, cx: &mut Context<'_>) {
        let asked = self.probing.asked.filter(|&asked| asked <= arrived && arrived - asked < ANSWERED_WITHIN);
        if !sighting.answer || asked.is_none() || !self.probed().any(|address| address == sighting.address) {
            return;
        }
        let first = self.probing.answered.replace((sighting.address, sighting.mac)).is_none();
        if first && matches!(self.state, State::Active { .. }) && !self.is_told_of_otherwise() {
            self.holder_shown(cx);
        }
    }

    /// At each advertisement: who was still there is asked again, until it is not, or is told of as what
    /// it is.
    pub(super) fn judge_holder(&mut self, cx: &mut Context<'_>) {
        if !self.shown.is_raised(Alarm::LivingHolder)
            || self.probing.asked.is_some_and(|asked| cx.now - asked < ANSWERED_WITHIN)
        {
            return;
        }
        if self.probing.answered.is_none() || self.is_told_of_otherwise() {
            self.over(Alarm::LivingHolder, cx);
        } else {
            self.ask_holder(cx);
        }
    }

    pub(super) fn ask_holder(&mut self, cx: &mut Context<'_>) {
        let silence = Some(self.counting);
        self.probing =
            Probing { silence, asked: Some(cx.now), answered: None, held: self.is_delayed_by_holder() };
        cx.actions.push(Action::Probe { router: self.id });
    }

    /// One condition has one name.
    fn is_told_of_otherwise(&self) -> bool {
        [Alarm::AddressConflict, Alarm::TwoActiveRouters].into_iter().any(|alarm| self.shown.is_raised(alarm))
    }

    fn holder_shown(&mut self, cx: &mut Context<'_>) {
        let Some((address, mac)) = self.probing.answered else { return };
        if !self.shown.is_raised(Alarm::LivingHolder) {
            self.statistics.claims_answered += 1;
        }
        let evidence = Evidence { theirs: Value::Mac(mac), ..Evidence::of(address) };
        self.raise(Alarm::LivingHolder, evidence, cx);
    }

    fn ahead(&self) -> Duration {
        AHEAD.min(self.active_adver_interval.duration() / 2)
    }
}
