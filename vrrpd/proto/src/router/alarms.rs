//! Conditions that received packets show: how they are, and how they were told.
//!
//! Whoever can send a packet decides how often a condition comes and goes. An observer sees how it is;
//! the log, the history and the state files hear of it now and then, and of the last change in the end.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Context, REPORT_SPACING, VirtualRouter};
use crate::Instant;
use crate::action::Report;
use crate::packet::ChecksumForm;
use crate::snapshot::{Alarm, Alarms};

/// A checksum form is written to disk each time it is told.
const FORM_SPACING: Duration = Duration::from_secs(60);

/// What packets show.
#[derive(Debug)]
pub(super) struct Shown {
    alarms: [(Paced<bool>, IpAddr); Alarm::ALL.len()],
    form: Paced<ChecksumForm>,
}

/// Something that may change with every packet, and is told when it has changed and some time has
/// passed since it was told last.
#[derive(Clone, Copy, Debug)]
struct Paced<T> {
    now: T,
    told: T,
    /// When it may be told again.
    not_before: Instant,
}

impl<T: Copy + PartialEq> Paced<T> {
    fn new(now: T) -> Self {
        Self { now, told: now, not_before: Instant::ZERO }
    }

    fn due_at(&self) -> Option<Instant> {
        (self.now != self.told).then_some(self.not_before)
    }

    /// What is to be told now, if anything is.
    fn tell(&mut self, now: Instant, spacing: Duration) -> Option<T> {
        self.due_at().filter(|&at| at <= now)?;
        self.told = self.now;
        self.not_before = now + spacing;
        Some(self.now)
    }
}

impl Shown {
    /// Nothing yet; `form` is the one that the configuration begins with.
    pub(super) fn new(form: ChecksumForm) -> Self {
        let none = (Paced::new(false), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Self { alarms: [none; Alarm::ALL.len()], form: Paced::new(form) }
    }

    /// The peers are others now.
    pub(super) fn begin_with(&mut self, form: ChecksumForm) {
        self.form = Paced::new(form);
    }

    /// The conditions that are there.
    pub(super) fn alarms(&self) -> Alarms {
        let mut alarms = Alarms::default();
        for (alarm, (condition, _)) in Alarm::ALL.into_iter().zip(&self.alarms) {
            alarms.set(alarm, condition.now);
        }
        alarms
    }

    /// When [`VirtualRouter::tell_shown`] has something to tell.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let alarms = self.alarms.iter().filter_map(|(condition, _)| condition.due_at());
        alarms.chain(self.form.due_at()).min()
    }
}

impl VirtualRouter {
    /// A packet of `source` shows a condition, or that it is over.
    pub(super) fn raise(&mut self, alarm: Alarm, raised: bool, source: IpAddr, cx: &mut Context<'_>) {
        let (condition, shown_by) = &mut self.shown.alarms[alarm as usize];
        if condition.now != raised {
            condition.now = raised;
            *shown_by = source;
            self.tell_shown(cx);
        }
    }

    /// A packet came in another checksum form than the one before.
    pub(super) fn form_changed(&mut self, form: ChecksumForm, cx: &mut Context<'_>) {
        self.shown.form.now = form;
        self.tell_shown(cx);
    }

    /// Tells what has changed, as far as it is not too soon.
    pub(crate) fn tell_shown(&mut self, cx: &mut Context<'_>) {
        let router = self.id;
        for (alarm, (condition, source)) in Alarm::ALL.into_iter().zip(&mut self.shown.alarms) {
            if let Some(raised) = condition.tell(cx.now, REPORT_SPACING) {
                cx.report(Report::Alarm { router, alarm, raised, source: *source });
            }
        }
        if let Some(form) = self.shown.form.tell(cx.now, FORM_SPACING) {
            cx.report(Report::ChecksumForm { router, form });
        }
    }
}
