//! Active (RFC 9568 6.4.3), and the ways out of it: giving way, leaving.

use std::net::IpAddr;

use super::{Advertisement, Context, Counting, HANDOVER, LEAVING_MAX, Next, State, VirtualRouter};
use crate::action::OrderOutcome;
use crate::snapshot::{Alarm, Evidence, Reason, Standing, StateName};
use crate::{Instant, Priority, Version};

/// An Adver_Timer that is overdue by so many intervals means that the loop was away.
const STALL: u32 = 2;

impl VirtualRouter {
    /// The role is taken: advertisement and announcements leave together.
    pub(super) fn become_active(&mut self, why: Reason, cx: &mut Context<'_>) {
        self.state = State::Active { adver: cx.now + self.parameters.interval.duration() };
        self.new_beat = true;
        self.begin_asking(cx.now);
        self.note_takeover(why, cx.now);
        self.lower_ignored = false;
        let taken_back = self.standing == Standing::TakingBack;
        if matches!(self.standing, Standing::Yielded | Standing::TakingBack) {
            // What was handed over is here again.
            self.standing = Standing::Free;
        }
        if self.sending.delivery.is_failing() {
            self.sending.since = cx.now;
        }
        self.advertise(cx);
        self.start_announcing(cx);
        self.enter(StateName::Active, why, cx);
        if why.is_silence() {
            self.probe_with_claim(cx);
        }
        self.forget_suspicion();
        if taken_back {
            self.tell_order(OrderOutcome::Done, cx);
        }
    }

    /// Row 11, and what else is due.
    pub(super) fn active_timeout(&mut self, adver: Instant, cx: &mut Context<'_>) {
        if adver <= cx.now {
            if self.is_mute_for_long(cx.now) {
                return self.give_up_sending(cx);
            }
            let interval = self.parameters.interval.duration();
            let missed = (cx.now - adver).as_nanos() / interval.as_nanos();
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            // On the grid of the deadlines, so that late wake-ups do not add up; what was missed is
            // not made up for.
            let step = interval.saturating_mul(missed.saturating_add(1));
            self.state = State::Active { adver: adver + step };
            self.advertise(cx);
            self.clear_two_active(cx);
            self.judge_conflict(cx);
            self.judge_holder(cx);
            if missed >= STALL {
                self.announce_again(cx);
            }
        }
        self.announcing_timeout(cx);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= cx.now);
        if due(self.acquisition_deadline()) {
            self.refused(cx);
        } else if due(self.retry_at()) {
            self.acquire_all(cx);
        } else if due(self.ask_at()) {
            self.ask(cx);
        }
    }

    /// Rows 12 to 16: who loses is answered, in VRRPv2 by silence (RFC 3768 6.4.3).
    pub(super) fn active_advertisement(&mut self, advert: Advertisement, cx: &mut Context<'_>) {
        self.heard(advert);
        if advert.priority.is_release() {
            match self.answer_at() {
                Some(at) if at > cx.now => self.bring_forward(at),
                _ => self.advertise_and_rearm(cx),
            }
        } else if self.leaves_tie_to_others(advert.priority, cx.now) {
            // One address decides for all of the group.
        } else if self.outranked_by(advert.priority, advert.source) {
            self.give_way(advert, Reason::HigherPriority, cx);
        } else {
            if self.parameters.version() == Version::V3 && self.may_answer(cx.now) {
                self.advertise(cx);
            }
            self.lower_rank_shown(advert.source, cx);
        }
    }

    /// The effective priority changed: a raised one is told at once; for a lowered one a better
    /// router is asked for, since the others would only notice after three intervals.
    pub(super) fn active_priority_changed(&mut self, before: Priority, cx: &mut Context<'_>) {
        if self.priority() == before {
            return;
        }
        self.ask_for_change(before, cx.now);
        let asks = self.ask_at().is_some_and(|at| at <= cx.now) && self.ask(cx);
        if !asks {
            self.advertise_and_rearm(cx);
        }
    }

    /// Leaves on purpose. The addresses go on answering until the successor does.
    pub(super) fn leave(&mut self, reason: Reason, cx: &mut Context<'_>) {
        self.wanted &= reason != Reason::Shutdown;
        let release_at = match self.state {
            State::Asking { until, .. } => until.min(self.successor_by(cx.now)),
            _ => {
                self.resign(cx);
                self.successor_by(cx.now)
            }
        };
        if self.owner() {
            self.drop_out(reason, cx);
            return self.report_gone(cx);
        }
        self.state = State::Leaving { release_at, then: Next::Initialize };
        self.enter(StateName::Initialize, self.reason_to_stay_away(reason), cx);
    }

    /// Another router speaks up: it is the successor, which is given the time to add its addresses.
    pub(super) fn leaving_advertisement(
        &mut self,
        advert: Advertisement,
        release_at: Instant,
        then: Next,
        cx: &mut Context<'_>,
    ) {
        self.heard(advert);
        if advert.priority.is_release() {
            if let Next::Backup { .. } = then {
                self.counting = Counting { from: advert.arrived, resigned: true };
                self.state =
                    State::Leaving { release_at, then: Next::Backup { active_down: self.active_down() } };
            }
            return;
        }
        self.accept(advert);
        let followed = self.followed_by(advert) && self.handing_over.is_some();
        if followed && matches!(then, Next::Backup { .. }) && self.would_preempt(advert.priority) {
            self.standing = Standing::Yielded;
        }
        let then = match then {
            Next::Initialize => Next::Initialize,
            Next::Backup { .. } | Next::HoldPart => Next::Backup { active_down: self.active_down() },
        };
        self.state = State::Leaving { release_at: release_at.min(self.release_after(advert)), then };
        self.leave_at_once_if_due(cx);
    }

    /// With the virtual MAC nothing may be said any more once a successor has spoken: not even the end
    /// of this turn is waited for.
    pub(super) fn leave_at_once_if_due(&mut self, cx: &mut Context<'_>) {
        if let State::Leaving { release_at, then } = self.state {
            self.leaving_timeout(release_at, then, cx);
        }
    }

    pub(super) fn leaving_timeout(&mut self, release_at: Instant, then: Next, cx: &mut Context<'_>) {
        if cx.now < release_at {
            return;
        }
        match then {
            Next::HoldPart => self.hold_part(cx),
            Next::Backup { active_down } => {
                self.release_all(cx);
                self.state = State::Backup { active_down };
            }
            Next::Initialize => {
                self.release_all(cx);
                self.state = State::Initialize;
                self.try_startup(cx);
                self.report_gone(cx);
            }
        }
    }

    /// Was the loop away for so long that a backup may have taken over? Until the sockets have been
    /// read (and the Adver_Timer served) nothing is put back.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        let State::Active { adver } = self.state else { return false };
        now - adver >= self.parameters.interval.duration().saturating_mul(STALL)
    }

    /// By when a successor has shown itself, if there is one: Skew_Time is below one interval, and in
    /// VRRPv2 below one second, which is the shortest. The successor of a sync group takes over when the
    /// slowest of its members may.
    pub(super) fn successor_by(&self, now: Instant) -> Instant {
        now + (self.slowest_interval() + HANDOVER).min(LEAVING_MAX)
    }

    /// Rows 13 and 14.
    pub(super) fn give_way(&mut self, advert: Advertisement, reason: Reason, cx: &mut Context<'_>) {
        self.accept(advert);
        let active_down = self.active_down();
        self.preempt_from = None;
        if self.owner() {
            return self.become_backup(active_down, reason, cx);
        }
        if !self.parameters.virtual_mac {
            self.disclaim(cx);
        }
        self.elsewhere.given_up_at = advert.arrived;
        let release_at = self.release_after(advert);
        self.state = State::Leaving { release_at, then: Next::Backup { active_down } };
        self.enter(StateName::Backup, reason, cx);
        self.leave_at_once_if_due(cx);
    }

    /// A router of lower rank was Active beside us, and may have drawn the neighbours to itself.
    pub(super) fn lower_rank_shown(&mut self, source: IpAddr, cx: &mut Context<'_>) {
        if let Some(rival) = &mut self.rival {
            rival.is_active = false;
        }
        self.raise(Alarm::TwoActiveRouters, Evidence::of(source), cx);
        self.announce_over_another(cx);
    }

    fn clear_two_active(&mut self, cx: &mut Context<'_>) {
        if self.rival.is_some_and(|rival| cx.now - rival.heard_at > self.patience()) {
            self.one_active_at_most(cx);
        }
    }

    /// The other one is silent, or we are not Active any more.
    pub(super) fn one_active_at_most(&mut self, cx: &mut Context<'_>) {
        self.over(Alarm::TwoActiveRouters, cx);
    }
}
