//! Backup (RFC 9568 6.4.2), and the claim that leads from it to Active.

use std::net::IpAddr;

use super::{Advertisement, CLAIM_WAIT, Context, State, VirtualRouter};
use crate::snapshot::{Reason, Standing, StateName};
use crate::tracking::Health;
use crate::{AdverInterval, Instant, Priority, Version};

/// What the Active_Down_Timer counts from and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counting {
    pub(super) from: Instant,
    /// Priority 0 was heard: only Skew_Time.
    pub(super) resigned: bool,
}

/// The last router heard with a priority above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) address: IpAddr,
    pub(super) priority: Priority,
    pub(super) interval: AdverInterval,
    pub(super) heard_at: Instant,
    /// Its last advertisement made it the Active Router (else it resigned or was outranked).
    pub(super) is_active: bool,
}

impl VirtualRouter {
    /// Rows 6 to 9.
    pub(super) fn backup_advertisement(&mut self, advert: Advertisement, cx: &mut Context<'_>) {
        self.heard(advert);
        if advert.priority.is_release() {
            self.rival_resigned(advert, cx);
        } else if self.accepts(advert) {
            self.accept(advert);
            self.state = State::Backup { active_down: self.active_down() };
            self.prove(cx);
            self.not_taken_back(cx);
            if self.reason != Reason::HigherPriority && advert.priority >= self.priority() {
                self.enter(StateName::Backup, Reason::HigherPriority, cx);
            }
        } else {
            self.lower_ignored = true;
        }
    }

    /// Row 5, unless a refusal is still too fresh, the loop was away, or the claim is held back.
    pub(super) fn backup_timeout(&mut self, cx: &mut Context<'_>) {
        self.suspect(cx);
        self.probe_before_claim(cx);
        let State::Backup { active_down } = self.state else { return };
        if cx.now < active_down {
            return;
        }
        let not_before = self.back_off.over_at().max(self.listens_until);
        if cx.now < not_before {
            self.state = State::Backup { active_down: not_before };
            return;
        }
        if !self.holds_back(cx) {
            self.run(cx);
        }
    }

    /// The role is free for this router, and it is for the others of its sync group to say whether it
    /// takes it.
    pub(super) fn run(&mut self, cx: &mut Context<'_>) {
        if self.is_held_back(cx) {
            return;
        }
        if self.membership.is_some() {
            self.state = State::Willing;
        } else {
            self.claim(false, cx);
        }
    }

    /// Puts the addresses into the kernel before the claim is advertised. Where a living router is
    /// preempted, by this one or by another of its sync group, that waits for all of them.
    pub(crate) fn claim(&mut self, group_preempts: bool, cx: &mut Context<'_>) {
        let why = self.why_claim();
        self.claimed_from = self.rival;
        if self.owner() {
            // The addresses are there already, and nobody answers requests for them.
            self.holding.owned();
            return self.become_active(why, cx);
        }
        // Who preempts a living router must answer before the other stops to; who follows silence
        // has nobody to wait for.
        let living = group_preempts || self.preempts_living(cx.now);
        self.state = State::Claiming {
            advertise_at: (!living).then(|| cx.now + CLAIM_WAIT),
            give_up: cx.now + 3 * self.slowest_interval(),
            why,
        };
        if living {
            self.fence(cx);
        }
        self.acquire_all(cx);
    }

    pub(super) fn why_claim(&self) -> Reason {
        match (self.counting.resigned, self.lower_ignored) {
            (true, _) => Reason::Priority,
            (false, true) => Reason::Preempted,
            (false, false) if self.follows_suspicion() => Reason::Suspected,
            (false, false) => Reason::NoResponse,
        }
    }

    /// The wait for the first address, or for all of them, is over.
    pub(super) fn claim_timeout(
        &mut self,
        advertise_at: Option<Instant>,
        give_up: Instant,
        cx: &mut Context<'_>,
    ) {
        if give_up <= cx.now && self.is_complete() {
            // It is another of the group that has not got its addresses.
            self.abort_claim(self.reason, cx);
        } else if give_up <= cx.now {
            self.refused(cx);
        } else if advertise_at.is_some_and(|at| at <= cx.now) {
            self.claimed(cx);
        }
    }

    /// What a Backup would hear, a router hears that has not said a word yet.
    pub(super) fn claim_advertisement(&mut self, advert: Advertisement, cx: &mut Context<'_>) {
        self.heard(advert);
        if advert.priority.is_release() {
            if let State::Claiming { advertise_at, .. } = &mut self.state {
                advertise_at.get_or_insert(cx.now + CLAIM_WAIT);
            }
            if self.holding.any_present() {
                self.claimed(cx);
            }
        } else if self.accepts(advert) {
            self.accept(advert);
            let higher = advert.priority >= self.priority();
            self.abort_claim(if higher { Reason::HigherPriority } else { self.reason }, cx);
        } else if let State::Claiming { advertise_at, .. } = &mut self.state {
            // Alive after all, it goes on answering until it hears us.
            if advertise_at.take().is_some() {
                self.fence(cx);
            }
        }
    }

    /// Back to watching; nothing was said.
    pub(super) fn abort_claim(&mut self, reason: Reason, cx: &mut Context<'_>) {
        self.together.joining = false;
        self.release_all(cx);
        let watched_until = self.active_down().max(cx.now);
        self.become_backup(watched_until, reason, cx);
    }

    /// The claim goes out, or the word of one that takes back.
    pub(super) fn claimed(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Claiming { why, .. } => self.become_active(why, cx),
            State::Listening { takes_back: true, .. } => self.speak_again(cx),
            _ => {}
        }
    }

    pub(super) fn become_backup(&mut self, active_down: Instant, reason: Reason, cx: &mut Context<'_>) {
        self.lower_ignored = false;
        self.preempt_from = None;
        self.forget_suspicion();
        self.state = State::Backup { active_down };
        self.not_taken_back(cx);
        self.enter(StateName::Backup, reason, cx);
    }

    /// Skew_Time and Active_Down_Interval follow the priority; the timer only ever comes forward,
    /// unless it is a living router that now outranks us.
    pub(super) fn backup_health_changed(&mut self, before: Health, cx: &mut Context<'_>) {
        let State::Backup { active_down } = self.state else {
            return self.stay_willing_unless_outranked(cx.now);
        };
        if self.priority() > before.priority || before.pending && !self.health().pending {
            self.preempt_from = None;
        }
        let outranked = self.accepts_rival(cx.now);
        let recomputed = self.active_down().max(cx.now);
        let earlier = active_down.min(recomputed);
        // One that is to listen goes on with that.
        let later = active_down.max(recomputed);
        self.state = State::Backup { active_down: if outranked { later } else { earlier } };
    }

    /// A lowered priority takes back a claim, except over a living router that is still lower.
    pub(super) fn claim_priority_lowered(&mut self, cx: &mut Context<'_>) {
        let preempts = matches!(self.state, State::Claiming { advertise_at: None, .. });
        if self.accepts_rival(cx.now) || !preempts {
            self.abort_claim(self.reason, cx);
        }
    }

    /// The Active Router that was ignored for its lower priority (row 9) may be above a lowered one:
    /// then its last advertisement keeps us Backup after all (rows 7 and 8).
    pub(super) fn accepts_rival(&mut self, now: Instant) -> bool {
        let Some(rival) = self.rival.filter(|rival| self.lower_ignored && rival.lives(now)) else {
            return false;
        };
        let last = rival.last_word();
        let accepted = self.accepts(last);
        if accepted {
            self.accept(last);
        }
        accepted
    }

    /// When the Active_Down_Timer runs out, by the priority and the interval in force.
    pub(super) fn active_down(&self) -> Instant {
        let interval = self.active_adver_interval;
        let down = interval.active_down_interval(self.priority());
        let wait = match self.counting.resigned {
            true => interval.skew_time(self.priority()),
            false if self.is_delayed_by_holder() => 2 * down,
            false => down,
        };
        self.counting.from + wait
    }

    /// Rows 7 and 8: does this advertisement keep us Backup? Row 9 is when it does not.
    fn accepts(&mut self, advert: Advertisement) -> bool {
        if advert.priority >= self.priority() {
            self.preempt_from = None;
            return true;
        }
        if advert.arrived < self.back_off.not_before {
            return true;
        }
        if self.owner() {
            // Whatever Preempt_Mode says (RFC 9568 6.1).
            return false;
        }
        match self.standing {
            Standing::TakingBack => return false,
            Standing::Yielded => return true,
            Standing::Free | Standing::Drained => {}
        }
        if !self.parameters.preempt_mode || self.health().pending {
            return true;
        }
        let from = *self.preempt_from.get_or_insert(advert.arrived + self.parameters.preempt_delay);
        advert.arrived < from
    }

    /// Adopts the interval, which VRRPv2 knows nothing of (RFC 3768 6.4.2), and starts the
    /// Active_Down_Timer anew, from when the packet came.
    pub(super) fn accept(&mut self, advert: Advertisement) {
        self.together.joining = false;
        self.lower_ignored = false;
        self.active_adver_interval = match self.parameters.version() {
            Version::V2 => self.parameters.interval,
            Version::V3 => advert.interval,
        };
        self.counting = Counting { from: advert.arrived, resigned: false };
    }

    /// Row 6. Where this router is the only one that can follow, nobody gains by Skew_Time.
    fn rival_resigned(&mut self, advert: Advertisement, cx: &mut Context<'_>) {
        self.counting = Counting { from: advert.arrived, resigned: true };
        // As well as we did: a plain handover says nothing about who can hold the addresses.
        self.back_off.peer_resigned = self.back_off.attempts > 0;
        if matches!(self.state, State::Willing) {
            return;
        }
        let sole_backup = self.parameters.peers.len() == 1 && !self.health().demoted;
        let active_down = if sole_backup { cx.now } else { self.active_down() };
        let not_before = self.back_off.over_at().max(self.listens_until);
        self.state = State::Backup { active_down: active_down.max(not_before) };
        if sole_backup && not_before <= cx.now {
            self.run(cx);
        }
    }

    /// Remembers who spoke.
    pub(super) fn heard(&mut self, advert: Advertisement) {
        self.back_off.heard = true;
        if advert.priority.is_release() {
            if let Some(rival) = self.rival.as_mut().filter(|rival| rival.address == advert.source) {
                rival.is_active = false;
            }
            return;
        }
        self.back_off.peer_resigned = false;
        self.known.note(advert);
        self.rival = Some(Rival {
            address: advert.source,
            priority: advert.priority,
            interval: advert.interval,
            heard_at: advert.arrived,
            is_active: true,
        });
    }

    /// Does this advertisement outrank us (rows 13 and 14)? The packet's source decides a tie, as
    /// an unsigned number in network order (RFC 9568 6.4.3).
    pub(super) fn outranked_by(&self, priority: Priority, source: IpAddr) -> bool {
        let own = self.facts.source;
        priority > self.priority() || priority == self.priority() && own.is_none_or(|own| source > own)
    }
}

impl Rival {
    /// Active, and not silent for as long as the first of its backups waits.
    pub(super) fn lives(&self, now: Instant) -> bool {
        self.is_active && now < self.heard_at + 3 * self.interval.duration()
    }

    /// Its last advertisement.
    pub(super) fn last_word(self) -> Advertisement {
        let Self { address: source, priority, interval, heard_at: arrived, .. } = self;
        Advertisement { source, priority, interval, arrived }
    }
}
