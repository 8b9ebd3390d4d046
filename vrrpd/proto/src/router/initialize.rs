//! Initialize (RFC 9568 6.4.1): waiting until the host can take part, then starting.

use std::time::Duration;

use super::{Context, Counting, Next, Question, State, VirtualRouter};
use crate::Instant;
use crate::action::Report;
use crate::parameters::{Facts, InterfaceState};
use crate::snapshot::{Reason, Standing, StateName};
use crate::tracking::Assessment;

/// The clock of the kernel's address time stamps ticks in hundredths of a second; two of them
/// are allowed for.
const LEFT_OVER_MARGIN: Duration = Duration::from_millis(20);

impl VirtualRouter {
    /// Facts can start a router, stop it, or change the way it speaks.
    pub(super) fn facts_changed(&mut self, facts: Facts, cx: &mut Context<'_>) {
        let before = std::mem::replace(&mut self.facts, facts);
        let comes_up = before.interface != InterfaceState::Up && facts.interface == InterfaceState::Up;
        self.carrier_at = match self.carrier_at {
            // It may have been up for long.
            None => Some(cx.now),
            Some(_) if comes_up => Some(cx.now + self.parameters.carrier_delay),
            known => known,
        };
        match (&self.state, self.unfit()) {
            (State::Active { .. }, Some(reason)) if self.speaks_on_second_only() => {
                self.resign(cx);
                self.drop_out(reason, cx);
            }
            (_, Some(reason)) => self.drop_out(reason, cx),
            (State::Initialize, None) => self.try_startup(cx),
            (State::Active { .. }, None) if before.source != facts.source || before.mac != facts.mac => {
                self.advertise_and_rearm(cx);
                self.start_announcing(cx);
            }
            _ => {}
        }
        if self.facts.left_over.take().is_some() {
            self.release_left_over(cx);
        }
    }

    /// Checks can stop a router, start it again, or change its priority.
    pub(super) fn assessed(&mut self, assessment: Assessment, cx: &mut Context<'_>) {
        let before = *self.health();
        self.assessment = assessment;
        let health = *self.health();
        self.tell_priority(before.priority, cx);
        if health.fault {
            return match self.state {
                State::Initialize => self.try_startup(cx),
                State::Backup { .. } | State::Willing | State::Claiming { .. } => {
                    self.drop_out(Reason::CheckFailed, cx);
                }
                State::Active { .. } | State::Listening { .. } | State::Asking { .. } => {
                    self.leave(Reason::CheckFailed, cx);
                }
                State::Leaving { release_at, .. } => {
                    self.state = State::Leaving { release_at, then: Next::Initialize };
                    let reason = self.reason_to_stay_away(Reason::CheckFailed);
                    self.enter(StateName::Initialize, reason, cx);
                }
            };
        }
        match self.state {
            State::Initialize => self.try_startup(cx),
            State::Backup { .. } | State::Willing => self.backup_health_changed(before, cx),
            State::Claiming { .. } if health.priority < before.priority => self.claim_priority_lowered(cx),
            State::Active { .. } => self.active_priority_changed(before.priority, cx),
            // The others hear of it when this one speaks again.
            State::Listening { .. } if health.priority != before.priority => {
                self.ask_for_change(before.priority, cx.now);
            }
            State::Asking { question: Question::Better, .. }
                if health.priority > before.priority && cx.now >= self.listens_until =>
            {
                self.keep(cx);
            }
            _ => {}
        }
    }

    /// Rows 1 and 2: Startup, once everything that it needs is there.
    pub(super) fn try_startup(&mut self, cx: &mut Context<'_>) {
        if !self.wanted {
            return;
        }
        if self.standing == Standing::Drained {
            return self.enter_initialize(Reason::Drained, cx);
        }
        if let Some(reason) = self.unfit() {
            return self.enter_initialize(reason, cx);
        }
        if self.parameters.virtual_mac && !self.facts.device {
            // Later its absence shows as addresses that are refused.
            return self.enter_initialize(Reason::NoVirtualMac, cx);
        }
        if self.health().fault {
            return self.enter_initialize(Reason::CheckFailed, cx);
        }
        if cx.now < self.start_at {
            return self.enter_initialize(Reason::StartupDelay, cx);
        }
        if self.carrier_at.is_some_and(|at| cx.now < at) {
            return self.enter_initialize(Reason::CarrierDelay, cx);
        }
        self.active_adver_interval = self.parameters.interval;
        self.begin_to_ask_client_lan(cx.now);
        self.begin_to_ask_witnesses();
        let left_over = self.facts.left_over.take();
        if self.owner() {
            self.holding.owned();
            return self.become_active(Reason::Priority, cx);
        }
        match left_over {
            Some(renewed) if self.may_resume(renewed, cx.now) => {
                self.trust_pending = true;
                self.holding.resumed();
                self.become_active(Reason::Resumed, cx);
                // They are there; this tells the kernel side whose they are from here on.
                self.acquire_all(cx);
            }
            left_over => {
                self.facts.left_over = left_over;
                self.counting = Counting { from: cx.now, resigned: false };
                self.become_backup(self.active_down(), Reason::Startup, cx);
            }
        }
    }

    /// Shutdown where no address is held and nothing was claimed (rows 3 and 4): not a word.
    pub(super) fn shut_down_idle(&mut self, cx: &mut Context<'_>) {
        self.wanted = false;
        self.drop_out(Reason::Shutdown, cx);
        self.report_gone(cx);
    }

    /// Out at once: what is held is released without a word, because there is nothing to say it
    /// through, or nothing was said yet.
    pub(super) fn drop_out(&mut self, reason: Reason, cx: &mut Context<'_>) {
        if !matches!(self.state, State::Initialize) {
            self.release_all(cx);
            self.state = State::Initialize;
        }
        self.enter_initialize(reason, cx);
    }

    /// After a shutdown: nothing is left in the kernel.
    pub(super) fn report_gone(&self, cx: &mut Context<'_>) {
        if self.is_gone() {
            cx.report(Report::Gone { router: self.id });
        }
    }

    pub(super) fn enter_initialize(&mut self, reason: Reason, cx: &mut Context<'_>) {
        self.state = State::Initialize;
        // Waiting for what comes in time says nothing yet.
        self.together.joining &= matches!(reason, Reason::StartupDelay | Reason::NoVirtualMac);
        self.one_active_at_most(cx);
        self.rival = None;
        self.lower_ignored = false;
        self.not_taken_back(cx);
        self.enter(StateName::Initialize, self.reason_to_stay_away(reason), cx);
    }

    /// `reason`, unless the operator's word is one that outlasts it.
    pub(super) fn reason_to_stay_away(&self, reason: Reason) -> Reason {
        match self.standing {
            _ if !self.wanted => Reason::Shutdown,
            Standing::Drained => Reason::Drained,
            Standing::Free | Standing::Yielded | Standing::TakingBack => reason,
        }
    }

    /// What the host lacks for this router to take part.
    pub(super) fn unfit(&self) -> Option<Reason> {
        match self.facts.interface {
            InterfaceState::Missing => Some(Reason::InterfaceMissing),
            InterfaceState::Down => Some(Reason::InterfaceDown),
            InterfaceState::Up if self.facts.source.is_none() => Some(Reason::NoPrimaryIpAddress),
            InterfaceState::Up if self.owner() && !self.facts.owned => Some(Reason::NoVirtualIpAddresses),
            InterfaceState::Up => None,
        }
    }

    /// Addresses were found that the daemon before left behind. It renewed them straight after an
    /// advertisement, and no backup claims before three intervals have passed since that: going on
    /// is safe until then, unless a better router preempted the dead one. (Facts come after the
    /// sockets were opened and read.) Where the machine slept since this router began, nobody knows how
    /// long ago that was.
    fn may_resume(&self, renewed: Instant, now: Instant) -> bool {
        let silence = 3 * self.parameters.interval.duration();
        self.parameters.leased
            && self.rival.is_none()
            && self.listens_until <= now
            && renewed <= now
            && now + LEFT_OVER_MARGIN < renewed + silence
    }
}
