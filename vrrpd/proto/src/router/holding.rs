//! The addresses of a Virtual Router in the kernel: asked for, there, refused, lost, given back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::back_off::BACK_OFF_MAX;
use super::{Context, Next, State, VirtualRouter};
use crate::Instant;
use crate::action::{Action, Outcome, Ownership, Report, Ticket};
use crate::parameters::{Parameters, VirtualAddress};
use crate::snapshot::{AddressSnapshot, Reason};

/// What is known of each address.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    ticket: Ticket,
    addresses: Box<[Held]>,
    /// How many of them are advertised; the others only move along.
    advertised: usize,
    /// Addresses may be in the kernel through us.
    engaged: bool,
    /// Requests to acquire that have not been answered to the end.
    outstanding: u16,
    progress: Instant,
    /// A release that has not been confirmed.
    releasing: bool,
    /// Some advertised addresses are refused, and the others are held nevertheless.
    part: bool,
    /// How often in a row addresses that only move along were refused, and when they are asked for again.
    extra_refusals: u32,
    extra_retry: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Held {
    #[default]
    Absent,
    Present {
        foreign: bool,
    },
    Refused {
        errno: i32,
    },
}

impl Holding {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self {
            ticket: Ticket::default(),
            addresses: vec![Held::Absent; parameters.addresses.len()].into(),
            advertised: parameters.advertised().len(),
            engaged: false,
            outstanding: 0,
            progress: Instant::ZERO,
            releasing: false,
            part: false,
            extra_refusals: 0,
            extra_retry: None,
        }
    }

    /// The administrator's addresses are there, and never ours to touch.
    pub(super) fn owned(&mut self) {
        self.addresses.fill(Held::Present { foreign: true });
    }

    /// They become the administrator's: what is still to come of our requests is void.
    pub(super) fn become_owned(&mut self) {
        if !self.engaged {
            return;
        }
        self.next_ticket();
        self.outstanding = 0;
        self.part = false;
        self.owned();
    }

    /// Makes void what is still to come. With nothing engaged that is the end of a release only, which
    /// names no address and is waited for.
    fn next_ticket(&mut self) {
        if self.engaged {
            self.ticket.0 = self.ticket.0.wrapping_add(1);
        }
    }

    /// The daemon before left all advertised addresses behind.
    pub(super) fn resumed(&mut self) {
        self.engaged = true;
        self.addresses[..self.advertised].fill(Held::Present { foreign: false });
    }

    pub(super) fn is_released(&self) -> bool {
        !self.engaged && !self.releasing
    }

    pub(super) fn is_part(&self) -> bool {
        self.part
    }

    /// Is any of the advertised addresses there?
    pub(super) fn any_present(&self) -> bool {
        (0..self.advertised).any(|index| self.is_present(index))
    }

    pub(super) fn is_present(&self, index: usize) -> bool {
        matches!(self.addresses.get(index), Some(Held::Present { .. }))
    }

    pub(super) fn any_lost(&self) -> bool {
        self.outstanding == 0 && self.addresses.contains(&Held::Absent)
    }

    /// Are all of the advertised addresses there?
    fn all_present(&self) -> bool {
        (0..self.advertised).all(|index| self.is_present(index))
    }
}

impl VirtualRouter {
    /// Number of the present tenure; outcomes of earlier ones are void.
    pub(crate) fn ticket(&self) -> Ticket {
        self.holding.ticket
    }

    /// The state of each address, in configured order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = AddressSnapshot> {
        self.parameters.addresses.iter().zip(&self.holding.addresses).map(|(address, held)| AddressSnapshot {
            address: address.ip,
            present: matches!(held, Held::Present { .. }),
            foreign: matches!(held, Held::Present { foreign: true }),
            refused: if let Held::Refused { errno } = *held { Some(errno) } else { None },
        })
    }

    pub(super) fn acquire_all(&mut self, cx: &mut Context<'_>) {
        self.acquire(0..self.count(), cx);
    }

    /// Takes off the interface what is there through us.
    pub(super) fn release_all(&mut self, cx: &mut Context<'_>) {
        self.holding.part = false;
        self.holding.outstanding = 0;
        self.holding.extra_refusals = 0;
        self.holding.extra_retry = None;
        self.holding.addresses.fill(Held::Absent);
        if !self.holding.engaged {
            return;
        }
        self.holding.engaged = false;
        self.holding.releasing = true;
        self.holding.ticket.0 = self.holding.ticket.0.wrapping_add(1);
        let followed = !matches!(self.state, State::Leaving { .. }) || self.is_taken();
        cx.actions.push(Action::Release { ownership: self.ownership(0..self.count()), followed });
    }

    /// The daemon before left addresses behind that cannot be kept.
    pub(super) fn release_left_over(&mut self, cx: &mut Context<'_>) {
        self.holding.engaged = true;
        self.release_all(cx);
    }

    /// Gives the kernel's lease another full term: when an advertisement has left, never from a timer
    /// of its own, so that it ends when the advertisements do.
    pub(super) fn renew(&mut self, cx: &mut Context<'_>) {
        /// Lifetimes are whole seconds and at least two of them; more often than this gains nothing.
        const SPACING: Duration = Duration::from_millis(500);
        let spacing = match self.parameters.fenced {
            // Answers to other routers may follow each other quickly; what they could add is not missed.
            true => SPACING.min(self.parameters.interval.duration() / 4),
            false => SPACING,
        };
        if self.parameters.leased && self.holding.engaged && cx.now - self.sending.last_renewal >= spacing {
            self.sending.last_renewal = cx.now;
            cx.actions.push(Action::Renew(self.ownership(0..self.count())));
        }
    }

    /// The addresses keep quiet until the first advertisement, while a living router still answers.
    pub(super) fn fence(&mut self, cx: &mut Context<'_>) {
        if self.parameters.fenced {
            self.sending.last_renewal = Instant::ZERO;
            cx.actions.push(Action::Fence(self.ownership(0..self.count())));
        }
    }

    /// The role is given up. A daemon that is killed from here on and started again must not take
    /// the addresses for a role that a successor may have by then.
    pub(super) fn disclaim(&mut self, cx: &mut Context<'_>) {
        if self.parameters.leased && self.holding.engaged {
            self.sending.last_renewal = Instant::ZERO;
            cx.actions.push(Action::Disclaim(self.ownership(0..self.count())));
        }
    }

    pub(super) fn outcome(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        match outcome {
            Outcome::Added { index, foreign } => self.added(index, foreign, cx),
            Outcome::Refused { index, errno } => {
                if let Some(held) = self.holding.addresses.get_mut(usize::from(index)) {
                    *held = Held::Refused { errno };
                    self.statistics.addresses_refused += 1;
                    cx.report(Report::AddressRefused { router: self.id, index, errno });
                }
            }
            Outcome::Acquired => {
                self.holding.outstanding = self.holding.outstanding.saturating_sub(1);
                self.acquired(cx);
            }
            Outcome::Released => {
                self.holding.releasing = false;
                self.let_go(cx);
                self.report_gone(cx);
            }
            Outcome::Lost { index } => self.lost(index, cx),
        }
    }

    /// The list of addresses changed while the router runs: what stays is not touched.
    pub(super) fn addresses_reconfigured(
        &mut self,
        before: &std::sync::Arc<[VirtualAddress]>,
        cx: &mut Context<'_>,
    ) {
        self.holding.next_ticket();
        let after = self.parameters.addresses.clone();
        let positions: BTreeMap<&VirtualAddress, usize> = before.iter().zip(0..).collect();
        let state_of = |address| positions.get(address).map(|&old| self.holding.addresses[old]);
        let held = after.iter().map(|address| state_of(address).unwrap_or_default()).collect();
        if self.holding.engaged {
            let stays: BTreeSet<&VirtualAddress> = after.iter().collect();
            let gone = |old: &VirtualAddress| !stays.contains(old);
            for range in runs(before.iter().map(gone)) {
                let (ticket, addresses) = (self.holding.ticket, before.clone());
                let ownership = Ownership { router: self.id, ticket, addresses, range };
                cx.actions.push(Action::Release { ownership, followed: true });
            }
        }
        self.holding.addresses = held;
        self.holding.advertised = self.parameters.advertised().len();
        self.holding.outstanding = 0;
        self.holding.extra_retry = None;
        if self.owner() {
            self.holding.owned();
        } else if self.holding.engaged {
            self.acquire_all(cx);
        }
    }

    /// When an acquisition that makes no progress counts as refused.
    pub(super) fn acquisition_deadline(&self) -> Option<Instant> {
        (self.holding.outstanding > 0).then(|| self.holding.progress + self.patience())
    }

    /// When missing addresses are asked for again: those beside a part after the back-off, those that only
    /// move along after one of their own, those that were lost in a stall as soon as the sockets have
    /// been read, none while nothing can be sent, those of an owner never.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        if self.owner() || self.is_mute() {
            return None;
        }
        if self.holding.part {
            // When nothing is left of the part, the back-off would leave the addresses to nobody.
            let part_lost = !self.holding.any_present();
            let at = if part_lost { Instant::ZERO } else { self.back_off.not_before };
            return (self.holding.outstanding == 0).then_some(at);
        }
        if self.holding.any_lost() {
            return Some(Instant::ZERO);
        }
        self.holding.extra_retry.filter(|_| self.holding.outstanding == 0)
    }

    /// How long the kernel may keep an address away.
    pub(super) fn patience(&self) -> Duration {
        3 * self.parameters.interval.duration()
    }

    /// An address cannot be had. A node that does not have what it advertises does not stay
    /// Active: it lets another try. When there is no other, the part that works is better than
    /// nothing.
    ///
    /// Where only addresses that move along are missing the role is not touched.
    pub(super) fn refused(&mut self, cx: &mut Context<'_>) {
        self.holding.outstanding = 0;
        if self.holding.all_present() {
            self.extra_overdue(cx);
            return self.claimed(cx);
        }
        let alone = self.back_off.peer_resigned || self.back_off.attempts > 0 && !self.back_off.heard;
        let part = self.holding.any_present() && (alone || self.holding.part);
        self.back_off(cx.now);
        if part {
            self.holding.part = true;
            return self.claimed(cx);
        }
        if let Some(last) = self.takes_back_from(cx.now) {
            return self.give_way(last, Reason::AddressRefused, cx);
        }
        match self.state {
            State::Claiming { .. } => {
                self.together.joining = false;
                self.release_all(cx);
                let watched_until = self.active_down().max(cx.now);
                self.become_backup(watched_until, Reason::AddressRefused, cx);
            }
            State::Active { .. } | State::Listening { .. } => {
                let successor_by = self.successor_by(cx.now);
                // Who may go on hears the others out first. A sync group tries again as a whole, when the
                // back-off is over.
                let part = self.holding.any_present() && self.membership.is_none();
                let release_at = if part { self.listened_by(successor_by) } else { successor_by };
                self.resign(cx);
                let active_down = cx.now + self.active_adver_interval.active_down_interval(self.priority());
                let then = if part { Next::HoldPart } else { Next::Backup { active_down } };
                self.state = State::Leaving { release_at, then };
                self.enter(crate::snapshot::StateName::Backup, Reason::AddressRefused, cx);
            }
            // Nobody better may be there; what is missing is then tried again.
            State::Asking { .. } => self.holding.part = true,
            State::Initialize | State::Backup { .. } | State::Willing | State::Leaving { .. } => {}
        }
    }

    /// The kernel says nothing of addresses that only move along, which is as good as a refusal.
    fn extra_overdue(&mut self, cx: &mut Context<'_>) {
        /// `ETIMEDOUT`
        const TIMED_OUT: i32 = 110;
        for held in &mut self.holding.addresses[self.holding.advertised..] {
            if *held == Held::Absent {
                *held = Held::Refused { errno: TIMED_OUT };
            }
        }
        self.extra_settled(cx);
    }

    /// What the kernel refused of the addresses that only move along is asked for again, later each
    /// time.
    fn extra_settled(&mut self, cx: &mut Context<'_>) {
        if !self.holding.addresses.iter().any(|held| matches!(held, Held::Refused { .. })) {
            self.holding.extra_refusals = 0;
            self.holding.extra_retry = None;
            return;
        }
        if self.holding.extra_retry.is_some_and(|at| at > cx.now) {
            return;
        }
        let wait = self.patience().saturating_mul(1 << self.holding.extra_refusals.min(16));
        self.holding.extra_refusals = self.holding.extra_refusals.saturating_add(1);
        self.holding.extra_retry = Some(cx.now + wait.min(BACK_OFF_MAX.max(self.patience())));
    }

    /// Holds the part that the kernel did not refuse.
    pub(super) fn hold_part(&mut self, cx: &mut Context<'_>) {
        self.holding.part = true;
        self.become_active(Reason::NoBetterRouter, cx);
    }

    fn acquire(&mut self, range: Range<u16>, cx: &mut Context<'_>) {
        if self.owner() {
            return;
        }
        self.holding.engaged = true;
        self.holding.outstanding = self.holding.outstanding.saturating_add(1);
        self.holding.progress = cx.now;
        cx.actions.push(Action::Acquire(self.ownership(range)));
    }

    fn added(&mut self, index: u16, foreign: bool, cx: &mut Context<'_>) {
        self.holding.progress = cx.now;
        let was_present = self.holding.is_present(usize::from(index));
        let Some(held) = self.holding.addresses.get_mut(usize::from(index)) else { return };
        *held = Held::Present { foreign };
        match self.state {
            State::Claiming { advertise_at: Some(_), .. } if self.holding.any_present() => self.claimed(cx),
            State::Active { .. } if !was_present => self.announce(index..index + 1, cx),
            _ => {}
        }
    }

    fn acquired(&mut self, cx: &mut Context<'_>) {
        if self.holding.outstanding > 0 {
            return;
        }
        if !self.holding.all_present() {
            return self.refused(cx);
        }
        self.holding.part = false;
        self.extra_settled(cx);
        if !self.sending.delivery.is_failing() {
            self.back_off = super::BackOff::default();
        }
        if !self.waits_for_group() {
            self.claimed(cx);
        }
    }

    /// Nothing is under way, and all addresses are there.
    pub(super) fn is_complete(&self) -> bool {
        self.holding.outstanding == 0 && self.holding.all_present()
    }

    fn lost(&mut self, index: u16, cx: &mut Context<'_>) {
        if !self.holding.is_present(usize::from(index)) {
            return;
        }
        self.holding.addresses[usize::from(index)] = Held::Absent;
        let holds =
            matches!(self.state, State::Active { .. } | State::Listening { .. } | State::Asking { .. });
        if holds && !self.is_mute() {
            self.statistics.addresses_put_back += 1;
            let listens = matches!(self.state, State::Listening { takes_back: false, .. });
            if !listens && !self.is_stalled(cx.now) {
                self.acquire(index..index + 1, cx);
            }
            if matches!(self.state, State::Asking { .. }) {
                // Put back, it has no note yet that the role is given up.
                self.disclaim(cx);
            }
            cx.report(Report::AddressLost { router: self.id, index });
        }
    }

    fn ownership(&self, range: Range<u16>) -> Ownership {
        Ownership {
            router: self.id,
            ticket: self.holding.ticket,
            addresses: self.parameters.addresses.clone(),
            range,
        }
    }

    pub(super) fn owner(&self) -> bool {
        self.parameters.priority.is_owner()
    }

    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.parameters.addresses.len()).unwrap_or(u16::MAX)
    }
}

/// Where it is so without a break.
fn runs(so: impl Iterator<Item = bool>) -> Vec<Range<u16>> {
    let mut runs: Vec<Range<u16>> = Vec::new();
    for (index, _) in (0u16..).zip(so).filter(|(_, so)| *so) {
        match runs.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}
