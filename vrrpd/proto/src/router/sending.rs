//! Advertisements: written, sent, answered, and what became of them.

use std::net::IpAddr;
use std::time::Duration;

use super::{BackOff, Context, Counting, State, VirtualRouter};
use crate::action::{Action, Report};
use crate::packet::encode;
use crate::parameters::Parameters;
use crate::snapshot::Reason;
use crate::{Instant, Priority};

/// Advertisements that answer other routers are at least so far apart.
const ANSWER_SPACING: Duration = Duration::from_millis(10);
/// Priority 0 is sent so often: one that is lost costs the successor an Active_Down_Interval.
const RELEASES: usize = 3;

/// Success of the advertisements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sending {
    pub(super) failing: Option<(Instant, i32)>,
    pub(super) last: Option<Instant>,
    pub(super) last_renewal: Instant,
}

impl VirtualRouter {
    /// Writes the VRRP message of an advertisement for `destination`; `None` while there is no
    /// address to send from, or for a destination that is not one of the configured ones.
    pub(crate) fn advertisement(
        &self,
        priority: Priority,
        destination: IpAddr,
        out: &mut [u8],
    ) -> Option<usize> {
        let peer = self.parameters.destinations().position(|each| each == destination)?;
        let Parameters { vrid, interval, .. } = self.parameters;
        let form = self.forms[peer].form;
        encode(out, vrid, priority, interval, &self.listed, self.facts.source?, destination, form).ok()
    }

    /// Sends one advertisement with the priority in force, and renews the lease with it.
    pub(super) fn advertise(&mut self, cx: &mut Context<'_>) {
        self.sending.last = Some(cx.now);
        cx.actions.push(Action::Advertise { router: self.id, priority: self.priority() });
        self.renew(cx);
    }

    /// Sends one, and counts the interval from it.
    pub(super) fn advertise_and_rearm(&mut self, cx: &mut Context<'_>) {
        self.advertise(cx);
        self.state = State::Active { adver: cx.now + self.parameters.interval.duration() };
    }

    /// Tells the others that the role is free. The addresses go on answering until somebody takes it,
    /// so the lease is renewed with this as well: what is left of the last term may be too short.
    pub(super) fn resign(&mut self, cx: &mut Context<'_>) {
        for _ in 0..RELEASES {
            cx.actions.push(Action::Advertise { router: self.id, priority: Priority::RELEASE });
        }
        self.renew(cx);
    }

    /// Answers are bounded: whoever provokes them gets one each 10 ms.
    pub(super) fn may_answer(&self, now: Instant) -> bool {
        self.sending.last.is_none_or(|last| now - last >= ANSWER_SPACING)
    }

    /// Takes note of what became of sending an advertisement.
    pub(crate) fn sent(&mut self, priority: Priority, result: Result<(), i32>, cx: &mut Context<'_>) {
        if result.is_ok() {
            self.statistics.advertisement_sent += 1;
            self.statistics.priority_zero_pkts_sent += u64::from(priority.is_release());
        }
        let failing = match (result, self.sending.failing) {
            (Ok(()), None) => return,
            (Ok(()), Some(_)) => None,
            (Err(errno), before) => {
                self.statistics.send_errors += 1;
                let since = before.map_or(cx.now, |(since, _)| since);
                self.sending.failing = Some((since, errno));
                if before.is_some() {
                    return;
                }
                Some(errno)
            }
        };
        if failing.is_none() {
            self.sending.failing = None;
            if !self.holding.is_part() {
                self.back_off = BackOff::default();
            }
        }
        cx.report(Report::Sending { router: self.id, failing });
    }

    /// Takes note of announcements that left.
    pub(crate) fn announced(&mut self, sent: u64, failed: u64) {
        self.statistics.announcements_sent += sent;
        self.statistics.send_errors += failed;
    }

    /// Nobody has heard us for so long that a backup has taken over, unless there is none.
    pub(super) fn sending_fails_for_long(&self, now: Instant) -> bool {
        let once_in_vain = self.back_off.attempts > 0 && !self.back_off.heard;
        !once_in_vain && self.sending.failing.is_some_and(|(since, _)| now - since >= self.patience())
    }

    pub(super) fn give_up_sending(&mut self, cx: &mut Context<'_>) {
        self.back_off(cx.now);
        self.release_all(cx);
        self.counting = Counting { from: cx.now, resigned: false };
        self.become_backup(self.active_down(), Reason::CannotSend, cx);
    }
}
