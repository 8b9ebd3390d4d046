//! Advertisements that come too late: a router that was taken for dead, and is not (RFC 9568 2.5).

use std::net::IpAddr;
use std::time::Duration;

use super::alarms::REMEMBERED;
use super::{Advertisement, Context, VirtualRouter};
use crate::Instant;
use crate::snapshot::{Alarm, Evidence, Reason, Value};

/// What is known of roles that were taken because of silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lateness {
    taken: Option<Taken>,
    /// When an Active Router that had been silent was heard again last.
    mistaken_at: Option<Instant>,
}

/// The role was taken because this router was silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    from: IpAddr,
    at: Instant,
    silent: Duration,
    /// For how long it had to be.
    patience: Duration,
}

impl VirtualRouter {
    /// The role is taken for this reason.
    pub(super) fn note_takeover(&mut self, why: Reason, now: Instant) {
        let rival = self.claimed_from.filter(|_| why.is_silence());
        self.lateness.taken = rival.map(|rival| {
            let silent = now - rival.heard_at;
            let full = self.active_adver_interval.active_down_interval(self.priority());
            let patience = if why == Reason::Suspected { silent } else { full };
            Taken { from: rival.address, at: now, silent, patience }
        });
    }

    /// Whoever goes on speaking as if nothing had happened was late and not dead. Once is an accident:
    /// a machine that starts again is silent for a while, too.
    pub(super) fn note_late(&mut self, advert: Advertisement, cx: &mut Context<'_>) {
        let from_there = |taken: &mut Taken| taken.from == advert.source && !advert.priority.is_release();
        let Some(taken) = self.lateness.taken.take_if(from_there) else { return };
        let patience = self.active_adver_interval.active_down_interval(self.priority());
        if advert.arrived - taken.at >= patience {
            return;
        }
        let before = self.lateness.mistaken_at.replace(cx.now);
        if before.is_some_and(|at| cx.now - at < REMEMBERED) {
            let (theirs, ours) = (Value::Time(taken.silent), Value::Time(taken.patience));
            let evidence = Evidence { source: advert.source, theirs, ours };
            self.raise(Alarm::LateAdvertisements, evidence, cx);
        }
    }
}
