//! After an absence: the loop was away for longer than another router waits, so another one may be Active
//! by now. Nobody speaks, keeps or claims anything before it has listened for one interval.
//!
//! An absence that the wall clock alone shows may be none: people set clocks. Listening costs a node that
//! was there all the time one advertisement, which its backups can do without, and it goes on answering
//! meanwhile. So that a clock which is set again and again never silences it, such a suspicion counts
//! once in [`SUSPICION_INTERVALS`].

use super::{Advertisement, Context, Counting, Next, State, VirtualRouter};
use crate::Instant;
use crate::absence::Away;
use crate::snapshot::Reason;

/// The wall clock alone makes a router listen at most once in so many intervals.
const SUSPICION_INTERVALS: u32 = 10;

impl VirtualRouter {
    /// The loop wakes up after this. True when it was away for longer than the first of the backups waits
    /// after the advertisement that was due, and this router cares.
    pub(crate) fn was_away(&mut self, away: Away, cx: &mut Context<'_>) -> bool {
        let interval = match self.state {
            State::Initialize => {
                if away.slept() {
                    // What an earlier daemon left behind is older than the clock says, which stood still.
                    self.listens_until = cx.now + self.parameters.interval.duration();
                }
                return false;
            }
            State::Backup { .. } | State::Willing | State::Claiming { .. } => self.active_adver_interval,
            State::Active { .. } | State::Listening { .. } | State::Asking { .. } | State::Leaving { .. } => {
                self.parameters.interval
            }
        };
        let others_wait = 2 * interval.duration() + interval.least_skew_time();
        if away.certain() > others_wait {
            self.listen(cx.now, cx);
            return true;
        }
        let suspects = away.suspected() > others_wait
            && matches!(self.state, State::Active { .. } | State::Backup { .. })
            && self.suspected_at.is_none_or(|at| cx.now - at >= SUSPICION_INTERVALS * interval.duration());
        if suspects {
            self.suspected_at = Some(cx.now);
            // What it read is most likely of now: a clock was set.
            self.listen(Instant::ZERO, cx);
        }
        suspects
    }

    /// What came before `since` is not what it listens for.
    fn listen(&mut self, since: Instant, cx: &mut Context<'_>) {
        let heard_by = cx.now + self.parameters.interval.duration();
        match self.state {
            State::Active { .. } | State::Listening { .. } => {
                // Nor does it claim any sooner if it gives way to what was in the socket.
                self.listens_until = cx.now + self.listening();
                self.state = State::Listening { since, until: heard_by, takes_back: false };
            }
            State::Asking { until, question } => {
                self.listens_until = heard_by;
                self.state = State::Asking { until: until.max(heard_by), question };
            }
            State::Leaving { release_at, then: Next::HoldPart } => {
                self.state = State::Leaving { release_at: release_at.max(heard_by), then: Next::HoldPart };
            }
            State::Leaving { release_at, then: Next::Backup { active_down } } => {
                let active_down = self.listened(active_down, cx.now);
                self.state = State::Leaving { release_at, then: Next::Backup { active_down } };
            }
            State::Backup { active_down } => {
                self.state = State::Backup { active_down: self.listened(active_down, cx.now) };
            }
            State::Claiming { .. } => {
                self.abort_claim(self.reason, cx);
                self.listen(since, cx);
            }
            State::Willing => self.state = State::Backup { active_down: self.listened(cx.now, cx.now) },
            State::Leaving { then: Next::Initialize, .. } | State::Initialize => {}
        }
    }

    /// When a Backup that has listened for an interval may claim: Skew_Time later, as after any silence,
    /// since the Active Router may have been away with it, and listens as well. No change of priority
    /// calls that back, nor does what was in the socket: of a machine that was paused it is the past.
    fn listened(&mut self, active_down: Instant, now: Instant) -> Instant {
        let listened = now + self.listening();
        self.listens_until = listened;
        if active_down < listened {
            self.counting = Counting { from: now, resigned: false };
        }
        active_down.max(listened)
    }

    /// Not before that, and not before who may be Active has been heard by one that was away.
    pub(super) fn listened_by(&self, at: Instant) -> Instant {
        if let State::Listening { until, .. } = self.state { at.max(until) } else { at }
    }

    /// Nobody spoke up, or the addresses are here with which a router of lower rank is overruled.
    pub(super) fn listening_timeout(&mut self, until: Instant, takes_back: bool, cx: &mut Context<'_>) {
        if self.acquisition_deadline().is_some_and(|at| at <= cx.now) {
            self.refused(cx);
        } else if until <= cx.now && !takes_back {
            self.speak_again(cx);
        }
    }

    /// Who took over meanwhile keeps the role by its rank, or loses it again. In the second case it goes on
    /// answering until it hears us, so all addresses come first. A word from before an absence (`since` is its
    /// end) says nothing about who is Active now.
    pub(super) fn listening_advertisement(
        &mut self,
        advert: Advertisement,
        since: Instant,
        takes_back: bool,
        cx: &mut Context<'_>,
    ) {
        self.heard(advert);
        if advert.priority.is_release() || self.leaves_tie_to_others(advert.priority, cx.now) {
            return;
        }
        if self.outranked_by(advert.priority, advert.source) {
            return self.give_way(advert, Reason::HigherPriority, cx);
        }
        if advert.arrived < since {
            return;
        }
        if self.owner() {
            self.speak_again(cx);
        } else if !takes_back {
            self.state = State::Listening { since, until: cx.now, takes_back: true };
            self.fence(cx);
            self.acquire_all(cx);
        }
    }

    /// The last advertisement of the router from which this one takes its role back. It has said nothing yet: one
    /// that cannot have an address leaves the role to the other without a word, which every Backup would take for the
    /// word of the one that is Active.
    pub(super) fn takes_back_from(&self, now: Instant) -> Option<Advertisement> {
        let rival = self.rival.filter(|rival| rival.lives(now))?;
        matches!(self.state, State::Listening { takes_back: true, .. }).then(|| rival.last_word())
    }

    /// The role is still ours, and the neighbours may have followed another router.
    pub(super) fn speak_again(&mut self, cx: &mut Context<'_>) {
        if let Some(rival) = &mut self.rival {
            rival.is_active = false;
        }
        self.state = State::Active { adver: cx.now };
        self.active_timeout(cx.now, cx);
        if matches!(self.state, State::Active { .. }) {
            self.announce_again(cx);
        }
    }
}
