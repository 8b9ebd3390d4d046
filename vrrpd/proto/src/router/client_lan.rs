//! Does the clients' LAN answer? Asked by a router with a second path only.
//!
//! Over the second path a router may be heard that no client reaches, and its peers would wait for it
//! for ever. So each router finds out for itself: it asks stations of the LAN (ARP, neighbour
//! solicitation), and one that nobody answers counts as demoted, as by a failing check. Being answered
//! proves both directions, which hearing somebody does not.

use std::net::IpAddr;
use std::time::Duration;

use super::{Context, State, VirtualRouter};
use crate::Instant;
use crate::action::Action;
use crate::packet::Sighting;
use crate::snapshot::{Alarm, Evidence};
use crate::tracking::{Effect, TrackerState};

/// Questions are at least so far apart, however short the advertisement interval is.
pub(super) const SPACING: Duration = Duration::from_millis(100);
/// So many questions in a row without an answer, and the LAN is lost; so many with one, and it is back.
const ENOUGH: u8 = 3;

/// What the LAN answered.
#[derive(Clone, Debug)]
pub(super) struct ClientLan {
    state: TrackerState,
    /// When the next question is due; none without a second path.
    next: Option<Instant>,
    /// The last question was answered, was not, or has not been put.
    outcome: Option<bool>,
    in_a_row: u8,
    answered: Option<(IpAddr, Instant)>,
    /// The state is another than the priority in force was made of.
    changed: bool,
}

impl ClientLan {
    /// Nothing has been asked.
    pub(super) fn new() -> Self {
        let state = TrackerState::Pending;
        Self { state, next: None, outcome: None, in_a_row: 0, answered: None, changed: false }
    }

    pub(super) fn state(&self) -> TrackerState {
        self.state
    }

    /// Who answered last, and how long ago.
    pub(super) fn answered(&self, now: Instant) -> Option<(IpAddr, Duration)> {
        self.answered.map(|(by, at)| (by, now - at))
    }

    fn become_(&mut self, state: TrackerState) {
        self.changed |= self.state != state;
        self.state = state;
    }

    /// Counts the outcome of the last question.
    fn judge(&mut self) {
        let Some(answered) = self.outcome else { return };
        let confirms = answered == (self.state == TrackerState::Passing);
        let counts = match self.state {
            // The first answer is enough where there was none before.
            TrackerState::Pending if answered => return self.decide(TrackerState::Passing),
            TrackerState::Pending => true,
            _ => !confirms,
        };
        self.in_a_row = if counts { self.in_a_row + 1 } else { 0 };
        if self.in_a_row >= ENOUGH {
            self.decide(if answered { TrackerState::Passing } else { TrackerState::Failing });
        }
    }

    fn decide(&mut self, state: TrackerState) {
        self.in_a_row = 0;
        self.become_(state);
    }
}

impl VirtualRouter {
    /// What the clients' LAN does to the priority.
    pub(crate) fn client_lan_effect(&self) -> Option<(Effect, TrackerState)> {
        self.parameters.second_path.as_ref().map(|_| (Effect::Demote, self.client_lan.state))
    }

    /// Is a question due, or has what came of the last ones not been asked for?
    pub(crate) fn asks_now(&self, now: Instant) -> bool {
        let mut questions = self.ask_client_lan_at().into_iter().chain(self.ask_witnesses_at());
        self.client_lan.changed || questions.any(|at| at <= now)
    }

    /// Has that changed since it was asked for?
    pub(crate) fn client_lan_changed(&mut self) -> bool {
        std::mem::take(&mut self.client_lan.changed)
    }

    /// When the next question is due.
    pub(super) fn ask_client_lan_at(&self) -> Option<Instant> {
        self.client_lan.next.filter(|_| !matches!(self.state, State::Initialize))
    }

    /// The router takes part from now on, or has another second path.
    pub(super) fn begin_to_ask_client_lan(&mut self, now: Instant) {
        let next = self.parameters.second_path.as_ref().map(|_| now);
        self.client_lan = ClientLan { next, changed: true, ..ClientLan::new() };
    }

    /// A question is due: counts the answer to the one before.
    pub(crate) fn ask_client_lan(&mut self, cx: &mut Context<'_>) {
        if self.ask_client_lan_at().is_none_or(|at| at > cx.now) {
            return;
        }
        let Some(path) = &self.parameters.second_path else { return };
        let asked = path.stations().next();
        self.client_lan.judge();
        self.client_lan.outcome = Some(false);
        self.client_lan.next = Some(cx.now + self.parameters.interval.duration().max(SPACING));
        cx.actions.push(Action::AskClientLan { router: self.id });
        match (self.client_lan.state, asked) {
            (TrackerState::Failing, Some(asked)) => {
                self.raise(Alarm::ClientLanSilent, Evidence::of(asked), cx)
            }
            _ => self.over(Alarm::ClientLanSilent, cx),
        }
    }

    /// A station answered; perhaps one that was asked.
    pub(super) fn client_lan_answered(&mut self, sighting: Sighting, arrived: Instant) {
        let mut paths = self.parameters.second_path.iter();
        if sighting.answer && paths.any(|path| path.stations().any(|each| each == sighting.address)) {
            self.client_lan.outcome = self.client_lan.outcome.map(|_| true);
            self.client_lan.answered = Some((sighting.address, arrived));
        }
    }
}
