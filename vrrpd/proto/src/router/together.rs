//! A member of a sync group: what it lets the group decide, and how it moves with the others.
//!
//! The group itself is in [`crate::sync_group`]. A member that could take the role is
//! [`Willing`](State::Willing) until all are; one that has it falls back when another has not.

use std::time::Duration;

use super::{Context, Counting, Next, Question, State, VirtualRouter};
use crate::parameters::RouterId;
use crate::snapshot::{Reason, Standing, StateName};
use crate::sync_group::Membership;
use crate::{Instant, Priority};

/// What a member remembers of the others.
#[derive(Clone, Debug)]
pub(super) struct Together {
    /// It has come to its group and has not shown yet whether it can be Active here. Until then the
    /// others do not mind it.
    pub(super) joining: bool,
    /// Who made it move last.
    pub(super) moved_with: Option<RouterId>,
    /// What all have to ask.
    called: Option<Question>,
    tie: Option<Tie>,
}

/// Another Active Router shows our own priority.
#[derive(Clone, Copy, Debug)]
struct Tie {
    since: Instant,
    last: Instant,
}

impl Together {
    pub(super) fn new() -> Self {
        Self { joining: true, moved_with: None, called: None, tie: None }
    }

    /// The router reports a state and its reason.
    pub(super) fn entered(&mut self, state: StateName, reason: Reason) {
        if state == StateName::Active {
            self.joining = false;
            self.tie = None;
        }
        if reason != Reason::SyncGroup {
            self.moved_with = None;
        }
    }
}

impl VirtualRouter {
    /// Its number.
    pub(crate) fn id(&self) -> RouterId {
        self.id
    }

    /// Its place in its sync group.
    pub(crate) fn membership(&self) -> Option<Membership> {
        self.membership
    }

    /// It has come to a sync group, has another place in it, or has left it.
    pub(crate) fn set_membership(&mut self, membership: Option<Membership>, now: Instant) {
        let group = |membership: Option<Membership>| membership.map(|membership| membership.group);
        if group(self.membership) != group(membership) {
            self.together.joining = !self.is_up();
        }
        self.membership = membership;
        if membership.is_none() && matches!(self.state, State::Willing) {
            self.state = State::Backup { active_down: now };
        }
    }

    /// Counts as one of its group: it has not been told to leave for good.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Has the role, or is about to take it.
    pub(crate) fn is_up(&self) -> bool {
        let is_active = matches!(self.state_name(), StateName::Active);
        is_active || matches!(self.state, State::Claiming { .. })
    }

    /// Would have the role if it were alone.
    pub(crate) fn is_willing(&self) -> bool {
        matches!(self.state, State::Willing)
    }

    /// Has come to its group and has not shown yet whether it can be Active here.
    pub(crate) fn is_joining(&self) -> bool {
        self.together.joining
    }

    /// Is it Backup because a router of higher rank spoke?
    pub(crate) fn was_outranked(&self) -> bool {
        self.reason == Reason::HigherPriority
    }

    /// Is the role free because the Active Router resigned?
    pub(crate) fn follows_resignation(&self) -> bool {
        self.counting.resigned
    }

    /// A small number that differs from node to node.
    pub(crate) fn spread(&self) -> u32 {
        u32::from(self.facts.mac.octets()[5])
    }

    /// Would it take the role from a living router?
    pub(crate) fn preempts_living(&self, now: Instant) -> bool {
        self.why_claim() == Reason::Preempted && self.rival.is_some_and(|rival| rival.lives(now))
    }

    /// Its addresses are here and it could speak up; the other members may not be so far.
    pub(super) fn waits_for_group(&self) -> bool {
        self.membership.is_some() && matches!(self.state, State::Claiming { advertise_at: None, .. })
    }

    /// Keeps the others waiting: its addresses are still on their way.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.waits_for_group() && !self.is_complete()
    }

    /// All members have their addresses: the claim goes out.
    pub(crate) fn proceed(&mut self, cx: &mut Context<'_>) {
        if self.waits_for_group() {
            self.claimed(cx);
        }
    }

    /// Another member is not Active here: hands over, as in a planned stop.
    pub(crate) fn fall_back(&mut self, with: RouterId, cx: &mut Context<'_>) {
        self.together.moved_with = Some(with);
        match self.state {
            State::Claiming { .. } => self.abort_claim(Reason::SyncGroup, cx),
            State::Active { .. } | State::Listening { .. } => {
                self.resign(cx);
                self.leave_to_backup(self.successor_by(cx.now), Reason::SyncGroup, cx);
            }
            State::Asking { until, question } => match question {
                Question::AnyToLeave => {
                    self.state = State::Leaving { release_at: until, then: Next::Initialize };
                    self.enter(StateName::Initialize, self.reason_to_stay_away(Reason::Drained), cx);
                }
                Question::AnyToHandOver => self.leave_to_backup(until, Reason::HandedOver, cx),
                Question::AnyToFollow | Question::Better => {
                    self.leave_to_backup(until, Reason::SyncGroup, cx);
                }
            },
            State::Initialize | State::Backup { .. } | State::Willing | State::Leaving { .. } => {}
        }
    }

    /// It has resigned already, and answers until a successor does.
    fn leave_to_backup(&mut self, release_at: Instant, reason: Reason, cx: &mut Context<'_>) {
        self.counting = Counting { from: cx.now, resigned: false };
        self.lower_ignored = false;
        self.preempt_from = None;
        self.state = State::Leaving { release_at, then: Next::Backup { active_down: self.active_down() } };
        self.enter(StateName::Backup, reason, cx);
    }

    /// All members are to put this question: a successor takes over all or nothing.
    pub(super) fn call(&mut self, question: Question) {
        if self.membership.is_some() {
            self.together.called = Some(question);
        }
    }

    /// What all have to ask: [`Question::Better`] if none knows better, any other at once.
    pub(crate) fn take_call(&mut self) -> Option<Question> {
        self.together.called.take()
    }

    /// Puts the question of this member, or of another one.
    pub(crate) fn join(&mut self, question: Question, with: RouterId, cx: &mut Context<'_>) {
        let is_order = question != Question::Better;
        let joins = match self.state {
            State::Active { .. } => true,
            State::Listening { .. } => is_order,
            // It has resigned already, and is silent for as long as the one that was ordered.
            State::Asking { question: Question::Better, .. } => is_order,
            _ => false,
        };
        if !joins {
            return;
        }
        if !is_order {
            return self.put(question, cx);
        }
        self.together.moved_with = Some(with);
        self.put(Question::AnyToFollow, cx);
    }

    /// Under an order that is not decided yet?
    pub(crate) fn is_busy(&self) -> bool {
        self.handing_over.is_some() || self.standing == Standing::TakingBack
    }

    /// Has it handed over by order?
    pub(crate) fn has_yielded(&self) -> bool {
        self.standing == Standing::Yielded
    }

    /// A willing one whose priority sank may have to be content with the router that it ignored.
    pub(super) fn stay_willing_unless_outranked(&mut self, now: Instant) {
        if matches!(self.state, State::Willing) && self.accepts_rival(now) {
            self.state = State::Backup { active_down: self.active_down().max(now) };
        }
    }

    /// The longest interval in its group, or its own.
    pub(super) fn slowest_interval(&self) -> Duration {
        let own = self.parameters.interval;
        self.membership.map_or(own, |membership| membership.slowest).duration()
    }

    /// Another Active Router of our priority: the address decides, and might decide otherwise on each
    /// link. So the first member's link decides for all; the second one's only when the tie has lasted
    /// for longer than that takes, since the first may not hear the other router at all; and so on.
    pub(super) fn leaves_tie_to_others(&mut self, priority: Priority, now: Instant) -> bool {
        let Some(membership) = self.membership.filter(|_| priority == self.priority()) else { return false };
        let slowest = membership.slowest.duration();
        let since = match self.together.tie {
            Some(tie) if now - tie.last < 3 * slowest => tie.since,
            _ => now,
        };
        self.together.tie = Some(Tie { since, last: now });
        now - since < slowest.saturating_mul(2 * membership.place)
    }
}
