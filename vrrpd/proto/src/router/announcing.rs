//! When the neighbours are told where the addresses are: a burst, a second one, and now and then.
//!
//! IPv4 follows the configuration. Unsolicited neighbour advertisements are three, one second apart
//! (RFC 4861 7.2.6 allows no more), and then the refresh.

use std::ops::Range;
use std::time::Duration;

use super::{Context, VirtualRouter};
use crate::action::Action;
use crate::{Family, Instant};

/// Neighbour advertisements of a burst and their distance (RFC 4861 10: MAX_NEIGHBOR_ADVERTISEMENT,
/// RetransTimer).
const ND_BURST: (u8, Duration) = (3, Duration::from_secs(1));

/// What is still to be announced, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcing {
    pub(super) next: Instant,
    /// Of the burst that is under way; 0: what comes next is a refresh.
    left: u8,
    second_at: Option<Instant>,
}

impl VirtualRouter {
    /// Announces what is there now, and begins the bursts.
    pub(super) fn start_announcing(&mut self, cx: &mut Context<'_>) {
        self.begin_bursts(cx.now);
        self.announcing_timeout(cx);
    }

    /// Begins anew, unless a burst is under way that serves as well. Strangers can provoke this, so
    /// the distance within a burst is kept to what was announced last.
    pub(super) fn announce_again(&mut self, cx: &mut Context<'_>) {
        if self.announcing.is_none_or(|announcing| announcing.left == 0) {
            let (_, distance) = self.burst();
            let earliest = self.announced_at.map_or(cx.now, |last| last + distance);
            self.begin_bursts(earliest.max(cx.now));
            self.announcing_timeout(cx);
        }
    }

    fn begin_bursts(&mut self, at: Instant) {
        let schedule = self.parameters.announcements;
        let second = self.parameters.family == Family::Ipv4 && !schedule.second_after.is_zero();
        let second_at = second.then(|| at + schedule.second_after);
        self.announcing = Some(Announcing { next: at, left: self.burst().0, second_at });
    }

    pub(super) fn announcing_timeout(&mut self, cx: &mut Context<'_>) {
        let Some(mut announcing) = self.announcing.filter(|announcing| announcing.next <= cx.now) else {
            return;
        };
        self.announce(0..self.count(), cx);
        self.announced_at = Some(cx.now);
        let (count, distance) = self.burst();
        if announcing.left > 0 {
            announcing.left -= 1;
        } else if announcing.second_at.take().is_some() {
            announcing.left = count.saturating_sub(1);
        }
        announcing.next = cx.now + distance;
        self.announcing = self.after_burst(announcing, cx.now);
    }

    pub(super) fn announce(&mut self, range: Range<u16>, cx: &mut Context<'_>) {
        if self.holding.any_present() {
            cx.actions.push(Action::Announce { router: self.id, range });
        }
    }

    /// When a burst has ended, the second one or the next refresh is what is waited for.
    fn after_burst(&self, announcing: Announcing, now: Instant) -> Option<Announcing> {
        let refresh = self.parameters.announcements.refresh;
        match announcing {
            Announcing { left: 1.., .. } => Some(announcing),
            Announcing { second_at: Some(at), .. } => Some(Announcing { next: at.max(now), ..announcing }),
            _ if refresh.is_zero() => None,
            _ => Some(Announcing { next: now + refresh, ..announcing }),
        }
    }

    fn burst(&self) -> (u8, Duration) {
        match self.parameters.family {
            Family::Ipv4 => (self.parameters.announcements.count, self.parameters.announcements.interval),
            Family::Ipv6 => ND_BURST,
        }
    }
}
