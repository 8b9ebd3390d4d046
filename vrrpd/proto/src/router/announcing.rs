//! When the neighbours are told where the addresses are: a burst, a second one, and now and then.
//!
//! IPv4 follows the configuration. Unsolicited neighbour advertisements are three, one second apart
//! (RFC 4861 7.2.6 allows no more), and then one at each refresh.
//!
//! Where announcements of one interface keep a distance, an address that is to be announced waits for
//! its turn, which the [`Node`](crate::Node) gives: over all routers of the interface, one after the
//! other. What comes due again meanwhile still waits for the same turn.

use std::ops::Range;
use std::time::Duration;

use super::{Context, State, VirtualRouter};
use crate::action::{Action, OrderOutcome, OrderRefusal};
use crate::parameters::Announcements;
use crate::{Family, Instant};

/// Neighbour advertisements of a burst and their distance (RFC 4861 10: MAX_NEIGHBOR_ADVERTISEMENT,
/// RetransTimer).
const ND_BURST: (u8, Duration) = (3, Duration::from_secs(1));

/// What is still to be announced, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcing {
    pub(super) next: Instant,
    /// Of the burst that is under way; 0: what comes next begins another.
    left: u8,
    /// What comes next is the first of a burst.
    begins: bool,
    /// When the second burst begins, and how many are in it.
    second: Option<(Instant, u8)>,
}

/// Addresses that wait for the turn of their announcement.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    waits: Box<[bool]>,
    /// Where to look first.
    next: usize,
}

impl Turns {
    pub(super) fn new(count: usize) -> Self {
        Self { waits: vec![false; count].into(), next: 0 }
    }

    /// The addresses are others now.
    pub(super) fn become_others(&mut self, count: usize) {
        *self = Self { waits: vec![self.any(); count].into(), next: 0 };
    }

    fn any(&self) -> bool {
        self.waits.contains(&true)
    }

    fn add(&mut self, range: Range<u16>) {
        let range = usize::from(range.start)..usize::from(range.end).min(self.waits.len());
        self.waits[range].fill(true);
    }

    pub(super) fn clear(&mut self) {
        self.waits.fill(false);
    }

    fn take(&mut self) -> Option<u16> {
        let count = self.waits.len();
        let index = (0..count).map(|nth| (self.next + nth) % count).find(|&index| self.waits[index])?;
        self.waits[index] = false;
        self.next = index + 1;
        u16::try_from(index).ok()
    }
}

impl VirtualRouter {
    /// Announces what is there now, and begins the bursts.
    pub(super) fn start_announcing(&mut self, cx: &mut Context<'_>) {
        let Announcements { count, second_after, .. } = self.parameters.announcements;
        self.begin_bursts(cx.now, count, second_after);
        self.announcing_timeout(cx);
    }

    /// The loop was away, and the neighbours may have followed another router.
    pub(super) fn announce_again(&mut self, cx: &mut Context<'_>) {
        let Announcements { count, second_after, .. } = self.parameters.announcements;
        self.announce_anew(count, second_after, cx);
    }

    /// Another router was Active beside us, and may have drawn the neighbours to itself.
    pub(super) fn announce_over_another(&mut self, cx: &mut Context<'_>) {
        let Announcements { lower_priority_count, lower_priority_second_after, .. } =
            self.parameters.announcements;
        if lower_priority_count > 0 {
            self.announce_anew(lower_priority_count, lower_priority_second_after, cx);
        }
    }

    /// The operator wants the bursts now, whatever is under way.
    pub(super) fn announce_by_order(&mut self, cx: &mut Context<'_>) -> OrderOutcome {
        let refusal = match self.state {
            State::Active { .. } if self.holding.any_present() => None,
            State::Active { .. } => Some(OrderRefusal::NoAddress),
            State::Listening { .. } | State::Asking { .. } | State::Leaving { .. } => {
                Some(OrderRefusal::Busy)
            }
            State::Initialize | State::Backup { .. } | State::Willing | State::Claiming { .. } => {
                Some(OrderRefusal::NotActive)
            }
        };
        if let Some(refusal) = refusal {
            return OrderOutcome::Refused(refusal);
        }
        self.announcing = None;
        self.announce_again(cx);
        OrderOutcome::Done
    }

    /// Begins anew, unless a burst is under way that serves as well. Strangers can provoke this, so
    /// the distance within a burst is kept to what was announced last.
    fn announce_anew(&mut self, count: u8, second_after: Duration, cx: &mut Context<'_>) {
        if self.announcing.is_none_or(|announcing| announcing.left == 0) {
            let earliest = self.announced_at.map_or(cx.now, |last| last + self.distance());
            self.begin_bursts(earliest.max(cx.now), count, second_after);
            self.announcing_timeout(cx);
        }
    }

    fn begin_bursts(&mut self, at: Instant, count: u8, second_after: Duration) {
        let (left, second) = match self.parameters.family {
            Family::Ipv4 => (count, (!second_after.is_zero()).then(|| (at + second_after, count))),
            Family::Ipv6 => (ND_BURST.0, None),
        };
        self.announcing = Some(Announcing { next: at, left, begins: true, second });
    }

    pub(super) fn announcing_timeout(&mut self, cx: &mut Context<'_>) {
        let Some(mut announcing) = self.announcing.filter(|announcing| announcing.next <= cx.now) else {
            return;
        };
        self.announce(0..self.due(announcing), cx);
        self.announced_at = Some(cx.now);
        announcing.left = match (announcing.left, announcing.second.take_if(|_| announcing.left == 0)) {
            (0, Some((_, count))) => count,
            (0, None) => self.refresh_count(),
            (left, _) => left,
        }
        .saturating_sub(1);
        announcing.begins = announcing.left == 0;
        announcing.next = cx.now + self.distance();
        self.announcing = self.after_burst(announcing, cx.now);
    }

    /// How many of the addresses are announced now. IPv6 addresses that move along with IPv4 ones follow
    /// the rule of their own family as well: once in each burst.
    fn due(&self, announcing: Announcing) -> u16 {
        if self.parameters.family == Family::Ipv6 || announcing.begins {
            return self.count();
        }
        let own_family = self.parameters.addresses.iter().position(|address| address.ip.is_ipv6());
        own_family.map_or(self.count(), |first| u16::try_from(first).unwrap_or(u16::MAX))
    }

    /// Announces addresses that are there, now or in their turn.
    pub(super) fn announce(&mut self, range: Range<u16>, cx: &mut Context<'_>) {
        if !self.holding.any_present() {
            return;
        }
        if self.parameters.announcements.spacing.is_zero() {
            cx.actions.push(Action::Announce { router: self.id, range });
        } else {
            self.turns.add(range);
        }
    }

    /// Does an address wait for the turn of its announcement?
    pub(crate) fn waits_to_announce(&self) -> bool {
        matches!(self.state, State::Active { .. }) && self.turns.any()
    }

    /// The next address that may be announced now that it is this router's turn.
    pub(crate) fn announce_in_turn(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.waits_to_announce() {
            return false;
        }
        let index = std::iter::from_fn(|| self.turns.take())
            .find(|&index| self.holding.is_present(usize::from(index)));
        let Some(index) = index else { return false };
        cx.actions.push(Action::Announce { router: self.id, range: index..index + 1 });
        true
    }

    /// The distances are others now: where there is none any more, nothing waits for its turn. Nor does
    /// what waits until the router knows whether it keeps the role: nobody would give it a turn then.
    pub(super) fn respace(&mut self, cx: &mut Context<'_>) {
        if self.parameters.announcements.spacing.is_zero() && self.turns.any() {
            self.turns.clear();
            self.announce(0..self.count(), cx);
        }
    }

    /// When a burst has ended, the second one or the next refresh is what is waited for.
    fn after_burst(&self, announcing: Announcing, now: Instant) -> Option<Announcing> {
        let refresh = self.parameters.announcements.refresh;
        match announcing {
            Announcing { left: 1.., .. } => Some(announcing),
            Announcing { second: Some((at, _)), .. } => Some(Announcing { next: at.max(now), ..announcing }),
            _ if refresh.is_zero() => None,
            _ => Some(Announcing { next: now + refresh, ..announcing }),
        }
    }

    fn refresh_count(&self) -> u8 {
        match self.parameters.family {
            Family::Ipv4 => self.parameters.announcements.refresh_count,
            Family::Ipv6 => 1,
        }
    }

    /// Between two announcements of one address.
    fn distance(&self) -> Duration {
        match self.parameters.family {
            Family::Ipv4 => self.parameters.announcements.interval,
            Family::Ipv6 => ND_BURST.1,
        }
    }
}
