//! Asking: a lowered priority lets a better router take over, and goes on when there is none.

use std::net::IpAddr;
use std::time::Duration;

use super::{Advertisement, Context, LEAVING_MAX, State, VirtualRouter};
use crate::action::Report;
use crate::snapshot::Reason;
use crate::{Instant, Priority};

/// A router that showed a lower rank is not asked again for so long.
const RIVAL_KNOWN: Duration = Duration::from_secs(600);
/// Asking in vain is repeated no sooner than this many intervals later, doubled each time.
const ASK_AGAIN_INTERVALS: u32 = 10;
/// The longest distance between two questions.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(600);
/// Of so many other routers the rank is remembered, the best ones.
const KNOWN_MAX: usize = 4;

/// What a router that resigned for the time being wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Is there a better router than this one with its lowered priority?
    Better,
    /// Is there any other router? Then this one leaves.
    AnyToLeave,
    /// Is there any other router? Then this one hands over.
    AnyToHandOver,
    /// Is there any other router? Then this one follows the member of its sync group that was ordered.
    AnyToFollow,
}

/// What is remembered of asking for a better router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    wanted: bool,
    /// The distance to the question before.
    not_before: Instant,
    /// Nobody better is known until then.
    known_until: Instant,
    in_vain: u32,
}

/// A router that was heard with a priority above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    priority: Priority,
    address: IpAddr,
    heard_at: Instant,
}

impl Known {
    fn is_fresh(&self, now: Instant) -> bool {
        now - self.heard_at < RIVAL_KNOWN
    }
}

/// The routers that were heard lately, each with the rank that it showed last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownRouters([Option<Known>; KNOWN_MAX]);

impl KnownRouters {
    /// A lower one never takes the place of a better one, whatever a stranger sends.
    pub(super) fn note(&mut self, advert: Advertisement) {
        let Advertisement { source: address, priority, arrived: heard_at, .. } = advert;
        let new = Known { priority, address, heard_at };
        let same = |place: &&mut Option<Known>| place.is_some_and(|known| known.address == address);
        if let Some(place) = self.0.iter_mut().find(same) {
            *place = Some(new);
            return;
        }
        let rank = |known: &Known| (known.priority, known.address);
        let fresh = |place: &Option<Known>| place.filter(|known| known.is_fresh(heard_at));
        // An empty place, or one that has grown old, is below all others.
        if let Some(lowest) = self.0.iter_mut().min_by_key(|place| fresh(place).as_ref().map(rank))
            && fresh(lowest).as_ref().map(rank) < Some(rank(&new))
        {
            *lowest = Some(new);
        }
    }
}

impl VirtualRouter {
    /// When the question may be put, if it is open.
    pub(super) fn ask_at(&self) -> Option<Instant> {
        self.asked.wanted.then_some(self.asked.not_before.max(self.asked.known_until))
    }

    /// Nothing has been asked in this tenure. Who begins it degraded lets a better router have it
    /// later: one that does not preempt, and heals.
    pub(super) fn begin_asking(&mut self, now: Instant) {
        self.asked = Asked::default();
        self.ask_later_if_degraded(now);
    }

    /// The priority changed to this.
    pub(super) fn ask_for_change(&mut self, before: Priority, now: Instant) {
        if self.asked.in_vain == 0 {
            // There is no question to keep a distance to.
            self.asked.not_before = Instant::ZERO;
        }
        if self.priority() < before {
            self.asked.wanted = true;
            self.asked.known_until = Instant::ZERO;
        } else {
            self.ask_later_if_degraded(now);
        }
    }

    /// Priority 0 and silence, while the addresses go on answering: any better router takes over.
    /// False where nobody better is known.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>) -> bool {
        self.asked.known_until = self.no_better_until(cx.now);
        if self.asked.known_until > cx.now {
            // Worth another try when that has grown old, and checks are why we are low.
            self.asked.wanted = self.is_degraded();
            return false;
        }
        if self.membership.is_some() {
            // The others may know that nobody better is there.
            self.call(Question::Better);
        } else {
            self.put(Question::Better, cx);
        }
        true
    }

    /// Another member of the sync group knows that until then nobody better is there.
    pub(crate) fn do_not_ask(&mut self, until: Instant, cx: &mut Context<'_>) {
        self.asked.known_until = until;
        self.asked.wanted = self.is_degraded();
        if matches!(self.state, State::Active { .. }) {
            self.advertise_and_rearm(cx);
        }
    }

    /// Resigns, unless it has, and waits for whoever takes over, for no longer than the addresses are
    /// kept. Where the interval is longer than that, a backup may need more; so may this one, which was
    /// away, to hear of it. Who has resigned for another question waits no longer for this one, unless the
    /// interval is longer: whoever is there has heard that, and the fence counts from the advertisement before.
    /// The kernel's term of the addresses does not, and begins anew whenever the wait is prolonged.
    pub(super) fn put(&mut self, question: Question, cx: &mut Context<'_>) {
        let until = match self.state {
            State::Asking { until, .. } if self.slowest_interval() <= LEAVING_MAX => until,
            _ => self.listened_by(self.successor_by(cx.now)),
        };
        match self.state {
            State::Asking { until: before, .. } if before < until => self.disclaim(cx),
            State::Asking { .. } => {}
            _ => self.resign(cx),
        }
        self.state = State::Asking { until, question };
        let ordered = question != Question::Better;
        cx.report(Report::Asking { router: self.id, priority: self.priority(), ordered });
    }

    /// Until when it waits for whoever takes over.
    pub(crate) fn asking_until(&self) -> Option<Instant> {
        if let State::Asking { until, .. } = self.state { Some(until) } else { None }
    }

    /// In a sync group all wait as long as the one that resigned last.
    pub(crate) fn ask_until(&mut self, last: Instant, cx: &mut Context<'_>) {
        if let State::Asking { until, .. } = &mut self.state
            && *until < last
        {
            *until = last;
            self.disclaim(cx);
        }
    }

    pub(super) fn asking_timeout(&mut self, until: Instant, cx: &mut Context<'_>) {
        if until <= cx.now {
            self.keep(cx);
        }
    }

    pub(super) fn asking_advertisement(
        &mut self,
        advert: Advertisement,
        question: Question,
        cx: &mut Context<'_>,
    ) {
        self.heard(advert);
        if advert.priority.is_release() {
            return;
        }
        match question {
            Question::Better => {}
            Question::AnyToFollow => return self.give_way(advert, Reason::SyncGroup, cx),
            Question::AnyToLeave | Question::AnyToHandOver => return self.answered(advert, question, cx),
        }
        if self.outranked_by(advert.priority, advert.source) {
            self.give_way(advert, Reason::GaveWay, cx);
        } else {
            self.keep(cx);
            self.lower_rank_shown(advert.source, cx);
        }
    }

    /// No better router is there: on as before, at the priority in force.
    pub(super) fn keep(&mut self, cx: &mut Context<'_>) {
        self.asked.in_vain = self.asked.in_vain.saturating_add(1);
        self.asked.not_before = cx.now + self.ask_again_after();
        self.asked.wanted = self.is_degraded();
        self.nobody_followed(cx);
        self.state = State::Active { adver: cx.now };
        self.advertise_and_rearm(cx);
        let rival = self.rival.map(|rival| (rival.address, rival.priority));
        cx.report(Report::Kept { router: self.id, rival });
    }

    fn ask_later_if_degraded(&mut self, now: Instant) {
        self.asked.wanted = self.is_degraded();
        if self.asked.wanted {
            self.asked.not_before = self.asked.not_before.max(now + self.ask_again_after());
        }
    }

    /// The longer, the more often it was in vain.
    fn ask_again_after(&self) -> Duration {
        let base = self.parameters.interval.duration() * ASK_AGAIN_INTERVALS;
        base.saturating_mul(1 << self.asked.in_vain.saturating_sub(1).min(16)).min(ASK_AGAIN_MAX)
    }

    /// Checks keep the priority below the configured one.
    fn is_degraded(&self) -> bool {
        self.priority() < self.configured_priority()
    }

    /// Until when the only routers known to be there are no better.
    pub(crate) fn no_better_until(&self, now: Instant) -> Instant {
        let fresh = || self.known.0.iter().flatten().filter(|known| known.is_fresh(now));
        if fresh().any(|known| self.outranked_by(known.priority, known.address)) {
            return Instant::ZERO;
        }
        fresh().map(|known| known.heard_at + RIVAL_KNOWN).max().unwrap_or(Instant::ZERO)
    }
}
