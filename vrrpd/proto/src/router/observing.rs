//! What an observer may see.

use super::{State, VirtualRouter};
use crate::Instant;
use crate::snapshot::{
    ActiveRouter, LastEvent, NewMasterReason, Phase, Reason, RouterOutline, RouterSnapshot, StateName,
};

impl VirtualRouter {
    /// What an observer may see, in few words.
    pub(crate) fn outline(&self, now: Instant) -> RouterOutline {
        RouterOutline {
            state: self.state_name(),
            phase: self.phase(now),
            priority: self.priority(),
            frozen: self.frozen.is_some(),
            client_lan: self.client_lan_effect().map(|(_, state)| state),
            verdict: self.verdict(),
        }
    }

    /// What an observer may see.
    pub(crate) fn snapshot(&self, now: Instant) -> RouterSnapshot {
        let RouterOutline { state, phase, priority, frozen, .. } = self.outline(now);
        let active_router = match (state, self.rival) {
            (StateName::Active, _) => {
                self.facts.source.map(|address| ActiveRouter { address, priority, this_node: true })
            }
            (StateName::Backup, Some(rival)) if rival.is_active => {
                Some(ActiveRouter { address: rival.address, priority: rival.priority, this_node: false })
            }
            _ => None,
        };
        RouterSnapshot {
            state,
            reason: self.reason,
            phase,
            standing: self.standing,
            frozen,
            age: now - self.since,
            priority,
            moved_with: self.together.moved_with,
            // The node knows the others.
            waits_for: None,
            pending: self.health().pending,
            heard: self.statistics.advertisement_rcvd > 0 || self.statistics.master_transitions > 0,
            active_router,
            active_adver_interval: self.active_adver_interval,
            preempt_in: self.preempt_from.filter(|&from| from > now).map(|from| from - now),
            alarms: self.shown.alarms(now),
            checksum_form: self.forms[0].form,
            source: self.facts.source,
            second_path: self.second_path(now),
            witness: self.witness(now),
            suspicion: self.suspicion(now),
            delivery: self.sending.delivery,
            delivery_age: now - self.sending.since,
            statistics: self.statistics,
            discards: self.discards.snapshot(now),
            up: self.up_since.map(|since| now - since),
            last_event: self.last_event,
            new_master_reason: self.new_master_reason,
            last_adv_source: self.last_adv_source,
            active_down_interval: self.active_adver_interval.active_down_interval(priority),
            skew_time: self.active_adver_interval.skew_time(priority),
        }
    }

    /// Keeps what RFC 8347 shows of a change of state, or of the reason for it.
    pub(super) fn note_event(&mut self, from: StateName, to: StateName, reason: Reason, now: Instant) {
        let delayed = !self.parameters.preempt_delay.is_zero();
        let followed = self.rival.is_some_and(|rival| rival.lives(now));
        self.last_event = LastEvent::of(to, reason, self.reason, delayed, self.owner(), followed);
        if to == StateName::Active && from != StateName::Active {
            self.new_master_reason = NewMasterReason::of(reason);
        }
        match to {
            StateName::Initialize => self.up_since = None,
            StateName::Backup | StateName::Active => _ = self.up_since.get_or_insert(now),
        }
    }

    fn phase(&self, now: Instant) -> Phase {
        match self.state {
            State::Claiming { .. } => Phase::Claiming,
            State::Asking { .. } => Phase::Asking,
            State::Leaving { .. } => Phase::Leaving,
            State::Backup { .. } if self.back_off.not_before > now => Phase::BackOff,
            _ => Phase::Settled,
        }
    }
}
