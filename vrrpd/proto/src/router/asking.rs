//! Asking: a lowered priority lets a better router take over, and goes on when there is none.

use std::time::Duration;

use super::{Advertisement, Context, State, VirtualRouter};
use crate::Instant;
use crate::action::Report;
use crate::snapshot::Reason;

/// A router that showed a lower rank is not asked again for so long.
const RIVAL_KNOWN: Duration = Duration::from_secs(600);
/// Asking in vain is repeated no sooner than this many intervals later, doubled each time.
const ASK_AGAIN_INTERVALS: u32 = 10;
/// The longest distance between two questions.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(3600);

/// What is remembered of asking for a better router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) wanted: bool,
    pub(super) not_before: Instant,
    pub(super) in_vain: u32,
}

impl VirtualRouter {
    /// When the question may be put, if it is open.
    pub(super) fn ask_at(&self) -> Option<Instant> {
        self.asked.wanted.then_some(self.asked.not_before)
    }

    /// Priority 0 and silence, while the addresses go on answering: any better router takes over.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>) {
        self.asked.wanted = false;
        if self.no_better_known(cx.now) {
            return self.advertise_and_rearm(cx);
        }
        self.resign(cx);
        self.state = State::Asking { until: self.successor_by(cx.now) };
        cx.report(Report::Asking { router: self.id, priority: self.priority() });
    }

    pub(super) fn asking_timeout(&mut self, until: Instant, cx: &mut Context<'_>) {
        if until <= cx.now {
            self.keep(cx);
        }
    }

    pub(super) fn asking_advertisement(&mut self, advert: Advertisement, cx: &mut Context<'_>) {
        self.heard(advert);
        if advert.priority.is_release() {
            return;
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
        let base = self.parameters.interval.duration() * ASK_AGAIN_INTERVALS;
        let distance = base.saturating_mul(1 << self.asked.in_vain.min(16)).min(ASK_AGAIN_MAX);
        self.asked = Asked { wanted: false, not_before: cx.now + distance, in_vain: self.asked.in_vain + 1 };
        self.state = State::Active { adver: cx.now };
        self.advertise_and_rearm(cx);
        let rival = self.rival.map(|rival| (rival.address, rival.priority));
        cx.report(Report::Kept { router: self.id, rival });
    }

    /// The only routers known to be there would not be better.
    fn no_better_known(&self, now: Instant) -> bool {
        self.rival.is_some_and(|rival| {
            now - rival.heard_at < RIVAL_KNOWN && !self.outranked_by(rival.priority, rival.address)
        })
    }
}
