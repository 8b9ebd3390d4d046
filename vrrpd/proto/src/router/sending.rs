//! Advertisements: written, sent, answered, and what became of them.

use std::net::IpAddr;
use std::time::Duration;

use super::{BackOff, Context, Counting, State, VirtualRouter};
use crate::action::{Action, Report};
use crate::packet::encode;
use crate::parameters::{Authentication, Parameters};
use crate::snapshot::{Delivery, Reason};
use crate::{Instant, Priority};

/// Advertisements that answer other routers are at least so far apart.
const ANSWER_SPACING: Duration = Duration::from_millis(10);
/// Priority 0 is sent so often: one that is lost costs the successor an Active_Down_Interval.
const RELEASES: usize = 3;

/// Success of the advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sending {
    pub(super) delivery: Delivery,
    /// Since when it is that.
    pub(super) since: Instant,
    pub(super) last: Option<Instant>,
    pub(super) last_renewal: Instant,
}

impl Sending {
    pub(super) fn new(now: Instant) -> Self {
        Self { delivery: Delivery::Complete, since: now, last: None, last_renewal: Instant::ZERO }
    }
}

impl VirtualRouter {
    /// Writes the VRRP message of an advertisement for `destination` at the time `unix` since 1970; `None` while there is no
    /// address to send from, or for a destination that is not one of the configured ones.
    pub(crate) fn advertisement(
        &self,
        priority: Priority,
        destination: IpAddr,
        unix: Duration,
        out: &mut [u8],
    ) -> Option<usize> {
        let source = self.way(destination)?.source;
        let peer = self.form_of(destination);
        let Parameters { vrid, interval, ref authentication, .. } = self.parameters;
        let form = self.forms[peer].form;
        // At least one is advertised (RFC 9568 5.2.5).
        let own = [self.facts.source.unwrap_or(source)];
        let listed = if self.listed.is_empty() { &own[..] } else { &self.listed };
        let octets = encode(out, vrid, priority, interval, listed, source, destination, form).ok()?;
        match authentication {
            Authentication::None => Some(octets),
            Authentication::Password(password) => {
                password.stamp(&mut out[..octets]);
                Some(octets)
            }
            Authentication::Keyed(ring) => match ring.sending() {
                Some(key) => key.seal(out, octets, self.keying.sequence(unix), source, destination),
                None => Some(octets),
            },
        }
    }

    /// Sends one advertisement with the priority in force. The lease is renewed when it has left.
    pub(super) fn advertise(&mut self, cx: &mut Context<'_>) {
        self.sending.last = Some(cx.now);
        cx.actions.push(Action::Advertise { router: self.id, priority: self.priority() });
    }

    /// Sends one, and counts the interval from it.
    pub(super) fn advertise_and_rearm(&mut self, cx: &mut Context<'_>) {
        self.advertise(cx);
        self.state = State::Active { adver: cx.now + self.parameters.interval.duration() };
        self.new_beat = true;
    }

    /// Tells the others that the role is free. The addresses go on answering until somebody takes it.
    pub(super) fn resign(&mut self, cx: &mut Context<'_>) {
        self.disclaim(cx);
        self.elsewhere.given_up_at = cx.now;
        for _ in 0..RELEASES {
            cx.actions.push(Action::Advertise { router: self.id, priority: Priority::RELEASE });
        }
    }

    /// Answers are bounded: whoever provokes them gets one each 10 ms.
    pub(super) fn may_answer(&self, now: Instant) -> bool {
        self.answer_at().is_none_or(|at| at <= now)
    }

    /// When the next answer may be given, if there was one before.
    pub(super) fn answer_at(&self) -> Option<Instant> {
        self.sending.last.map(|last| last + ANSWER_SPACING)
    }

    /// The next advertisement is due then at the latest. Who resigned waits for it with the addresses.
    pub(super) fn bring_forward(&mut self, at: Instant) {
        if let State::Active { adver } = &mut self.state {
            *adver = at.min(*adver);
        }
    }

    /// Takes note of what became of one advertisement.
    pub(crate) fn sent(
        &mut self,
        priority: Priority,
        sent: u16,
        failed: u16,
        errno: i32,
        cx: &mut Context<'_>,
    ) {
        self.keying.left();
        self.statistics.advertisement_sent += u64::from(sent);
        self.statistics.priority_zero_pkts_sent += u64::from(sent) * u64::from(priority.is_release());
        self.statistics.send_errors += u64::from(failed);
        let delivery = match (sent, failed) {
            (0, 0) => return,
            (_, 0) => Delivery::Complete,
            (0, _) => Delivery::Failing { errno },
            (_, _) => Delivery::Partial { errno },
        };
        let before = std::mem::replace(&mut self.sending.delivery, delivery);
        // Who resigned in the turn of an advertisement has noted that with the addresses since.
        if !priority.is_release() && !self.is_mute() && matches!(self.state, State::Active { .. }) {
            self.renew(cx);
        }
        if std::mem::discriminant(&before) == std::mem::discriminant(&delivery) {
            return;
        }
        self.sending.since = cx.now;
        if before.is_failing() {
            self.sent_again(cx);
        }
        cx.report(Report::Sending { router: self.id, delivery });
    }

    /// The first advertisement that left after some that did not.
    fn sent_again(&mut self, cx: &mut Context<'_>) {
        if !self.holding.is_part() {
            self.back_off = BackOff::default();
        }
        if matches!(self.state, State::Active { .. }) && self.retry_at().is_some_and(|at| at <= cx.now) {
            self.acquire_all(cx);
        }
    }

    /// Takes note of announcements that left.
    pub(crate) fn announced(&mut self, sent: u64, failed: u64) {
        self.statistics.announcements_sent += sent;
        self.statistics.send_errors += failed;
    }

    /// Nothing can be sent, so a backup may be about to take over: the lease is left to end, and what
    /// it ends is not put back. Who gave way for this once, and nobody followed, has no backup.
    pub(super) fn is_mute(&self) -> bool {
        let gave_way_in_vain = self.back_off.attempts > 0 && !self.back_off.heard;
        self.sending.delivery.is_failing() && !gave_way_in_vain
    }

    /// Nobody has heard us for so long that a backup has taken over, unless there is none.
    pub(super) fn is_mute_for_long(&self, now: Instant) -> bool {
        self.is_mute() && now - self.sending.since >= self.patience()
    }

    pub(super) fn give_up_sending(&mut self, cx: &mut Context<'_>) {
        self.back_off(cx.now);
        self.release_all(cx);
        self.counting = Counting { from: cx.now, resigned: false };
        self.become_backup(self.active_down(), Reason::CannotSend, cx);
    }
}
