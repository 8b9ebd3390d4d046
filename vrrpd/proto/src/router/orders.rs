//! What the operator orders: to leave and stay away, to hand over, to take back, to let no check move
//! the role.
//!
//! An Active Router that is to go resigns and goes on answering, as one that asks for a better router
//! does ([`asking`](super::asking)): nobody knows of another router that it can take over until it
//! does. Whoever advertises then is the successor, whatever its rank.

use std::net::IpAddr;

use super::{Advertisement, Context, Next, Question, State, VirtualRouter};
use crate::action::{HandedOver, Order, OrderOutcome, OrderRefusal, Report, Ticket};
use crate::snapshot::{Reason, Standing, StateName};
use crate::tracking::{TrackerId, TrackerState};
use crate::{Instant, Priority};

/// An order that waits for a successor, and then for the end of the addresses here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HandingOver {
    resigned_at: Instant,
    /// The tenure that is to end, with a release that makes another of it.
    tenure: Ticket,
    successor: Option<Successor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Successor {
    address: IpAddr,
    priority: Priority,
    heard_at: Instant,
}

impl VirtualRouter {
    /// Obeys, or says why not. What needs a successor is answered later.
    pub(super) fn order(&mut self, number: u32, order: Order, cx: &mut Context<'_>) {
        let decided = if order == Order::Undrain {
            self.undrain(cx)
        } else if order == Order::Announce {
            Some(self.announce_by_order(cx))
        } else if self.owner() {
            Some(OrderOutcome::Refused(OrderRefusal::Owner))
        } else if self.handing_over.is_some() || self.standing == Standing::TakingBack {
            Some(OrderOutcome::Refused(OrderRefusal::Busy))
        } else {
            match order {
                Order::Drain { force } => self.drain(number, force, cx),
                Order::HandOver => self.hand_over(number, cx),
                Order::Yield => self.yield_again(cx),
                Order::TakeBack => self.take_back(number, cx),
                // The trackers are the node's, and what is undone waits for nothing.
                Order::Freeze(_) | Order::Unfreeze | Order::Undrain | Order::Announce => None,
            }
        };
        if let Some(outcome) = decided {
            cx.report(Report::Ordered { router: self.id, number, outcome });
        }
    }

    /// From here on the trackers count as listed, or as they are.
    pub(crate) fn freeze(&mut self, states: Option<Box<[(TrackerId, TrackerState)]>>) {
        self.frozen = states;
    }

    /// How the trackers count while they are frozen.
    pub(crate) fn frozen(&self) -> Option<&[(TrackerId, TrackerState)]> {
        self.frozen.as_deref()
    }

    fn drain(&mut self, number: u32, force: bool, cx: &mut Context<'_>) -> Option<OrderOutcome> {
        if self.standing == Standing::Drained {
            return Some(OrderOutcome::Done);
        }
        match self.state {
            State::Backup { .. } | State::Willing | State::Claiming { .. }
                if !force && !self.hears_active(cx.now) =>
            {
                return Some(OrderOutcome::Refused(OrderRefusal::NoActiveRouter));
            }
            State::Initialize | State::Backup { .. } | State::Willing | State::Claiming { .. } => {
                self.standing = Standing::Drained;
                self.drop_out(Reason::Drained, cx);
            }
            State::Active { .. } | State::Listening { .. } | State::Asking { .. } if force => {
                self.standing = Standing::Drained;
                self.order_number = Some(number);
                self.await_successor(cx.now);
                self.leave(Reason::Drained, cx);
                return None;
            }
            State::Active { .. } | State::Listening { .. } | State::Asking { .. } => {
                self.standing = Standing::Drained;
                self.order_number = Some(number);
                self.ask_for_any(Question::AnyToLeave, cx);
                return None;
            }
            State::Leaving { release_at, .. } => {
                self.standing = Standing::Drained;
                self.state = State::Leaving { release_at, then: Next::Initialize };
                self.enter(StateName::Initialize, self.reason_to_stay_away(Reason::Drained), cx);
            }
        }
        Some(OrderOutcome::Done)
    }

    fn undrain(&mut self, cx: &mut Context<'_>) -> Option<OrderOutcome> {
        if self.standing == Standing::Drained {
            self.standing = Standing::Free;
            // One that is still leaving starts when it has left.
            if matches!(self.state, State::Initialize) {
                self.try_startup(cx);
            }
        }
        Some(OrderOutcome::Done)
    }

    fn hand_over(&mut self, number: u32, cx: &mut Context<'_>) -> Option<OrderOutcome> {
        match self.state {
            State::Active { .. } | State::Listening { .. } | State::Asking { .. } => {
                self.order_number = Some(number);
                self.ask_for_any(Question::AnyToHandOver, cx);
                None
            }
            State::Leaving { .. } => Some(OrderOutcome::Refused(OrderRefusal::Busy)),
            _ => Some(OrderOutcome::Refused(OrderRefusal::NotActive)),
        }
    }

    /// After a restart. Who is Active by now needs no reminder.
    fn yield_again(&mut self, cx: &mut Context<'_>) -> Option<OrderOutcome> {
        let idle = matches!(self.state, State::Initialize | State::Backup { .. } | State::Willing);
        if idle && self.standing == Standing::Free {
            self.standing = Standing::Yielded;
            self.preempts_no_more(cx);
        }
        Some(OrderOutcome::Done)
    }

    fn take_back(&mut self, number: u32, cx: &mut Context<'_>) -> Option<OrderOutcome> {
        let refusal = if self.standing == Standing::Yielded {
            self.cannot_take_back(cx.now)
        } else {
            Some(OrderRefusal::NotYielded)
        };
        if let Some(refusal) = refusal {
            return Some(OrderOutcome::Refused(refusal));
        }
        self.begin_taking_back(Some(number), cx);
        None
    }

    /// What keeps it from preempting the present Active Router now.
    pub(crate) fn cannot_take_back(&self, now: Instant) -> Option<OrderRefusal> {
        let rival = self.rival.filter(|rival| rival.lives(now));
        match (&self.state, rival) {
            (State::Backup { .. } | State::Willing, Some(rival)) if rival.priority >= self.priority() => {
                Some(OrderRefusal::Outranked)
            }
            (State::Backup { .. } | State::Willing, _)
                if self.health().pending || now < self.back_off.over_at().max(self.listens_until) =>
            {
                Some(OrderRefusal::NotReady)
            }
            (State::Backup { .. } | State::Willing, Some(_)) => None,
            (State::Claiming { .. } | State::Leaving { .. }, _) => Some(OrderRefusal::Busy),
            _ => Some(OrderRefusal::NoActiveRouter),
        }
    }

    /// Preempts the present Active Router, by the order of this number; without one, with the member
    /// of its sync group that was ordered.
    pub(crate) fn begin_taking_back(&mut self, number: Option<u32>, cx: &mut Context<'_>) {
        self.order_number = number;
        self.standing = Standing::TakingBack;
        self.lower_ignored = true;
        self.counting.resigned = false;
        self.run(cx);
    }

    fn ask_for_any(&mut self, question: Question, cx: &mut Context<'_>) {
        self.put(question, cx);
        // It may have resigned before, for a better router.
        self.await_successor(self.elsewhere.given_up_at);
        self.call(question);
    }

    fn await_successor(&mut self, resigned_at: Instant) {
        self.handing_over = Some(HandingOver { resigned_at, tenure: self.ticket(), successor: None });
    }

    /// Somebody speaks up while an order waits for a successor.
    pub(super) fn answered(&mut self, advert: Advertisement, question: Question, cx: &mut Context<'_>) {
        if !self.followed_by(advert) {
            return;
        }
        if question == Question::AnyToLeave {
            self.accept(advert);
            self.disclaim(cx);
            self.state = State::Leaving { release_at: self.release_after(advert), then: Next::Initialize };
            self.enter(StateName::Initialize, self.reason_to_stay_away(Reason::Drained), cx);
            return self.leave_at_once_if_due(cx);
        }
        if self.would_preempt(advert.priority) {
            self.standing = Standing::Yielded;
        }
        self.give_way(advert, Reason::HandedOver, cx);
    }

    /// Takes note of a successor where an order waits for one; false when this was on its way before
    /// the resignation was.
    pub(super) fn followed_by(&mut self, advert: Advertisement) -> bool {
        let Some(handing) = &mut self.handing_over else { return true };
        let Advertisement { source: address, priority, arrived: heard_at, .. } = advert;
        if heard_at < handing.resigned_at {
            return false;
        }
        handing.successor.get_or_insert(Successor { address, priority, heard_at });
        true
    }

    /// Nobody answered: the order is void.
    pub(super) fn nobody_followed(&mut self, cx: &mut Context<'_>) {
        if self.handing_over.take().is_some() {
            if self.standing == Standing::Drained {
                self.standing = Standing::Free;
            }
            self.tell_order(OrderOutcome::NobodyFollowed, cx);
        }
    }

    /// The addresses are gone from here, unless it is only now that a slow kernel has let go of those of a tenure
    /// before.
    pub(super) fn let_go(&mut self, cx: &mut Context<'_>) {
        let ticket = self.ticket();
        let Some(HandingOver { resigned_at, successor, .. }) =
            self.handing_over.take_if(|handing| handing.tenure != ticket)
        else {
            return;
        };
        let outcome = match successor {
            None => OrderOutcome::LeftAlone,
            Some(Successor { address, priority, heard_at }) => OrderOutcome::HandedOver(HandedOver {
                to: address,
                priority,
                waited: heard_at - resigned_at,
                overlap: cx.now - heard_at,
                yielded: self.standing == Standing::Yielded,
            }),
        };
        self.tell_order(outcome, cx);
    }

    /// Backup or Initialize: an attempt to take the role back has come to nothing.
    pub(super) fn not_taken_back(&mut self, cx: &mut Context<'_>) {
        if self.standing == Standing::TakingBack {
            self.standing = Standing::Yielded;
            self.tell_order(OrderOutcome::Refused(OrderRefusal::NotReady), cx);
        }
    }

    /// Would a router of this priority be preempted before long? A lowered priority may rise again.
    pub(super) fn would_preempt(&self, other: Priority) -> bool {
        other < self.priority().max(self.configured_priority())
    }

    fn hears_active(&self, now: Instant) -> bool {
        self.rival.is_some_and(|rival| rival.lives(now))
    }

    /// Answers the order that was not decided at once.
    pub(super) fn tell_order(&self, outcome: OrderOutcome, cx: &mut Context<'_>) {
        if let Some(number) = self.order_number {
            cx.report(Report::Ordered { router: self.id, number, outcome });
        }
    }
}
