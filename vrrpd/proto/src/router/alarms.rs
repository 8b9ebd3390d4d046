//! Conditions that received packets show: how they are, and how they were told.
//!
//! Whoever can send a packet decides how often a condition comes and goes. An observer sees how it is;
//! the log, the history and the state files hear of it now and then, and of the last change in the end.
//! A condition is over when the router that showed it shows otherwise, or has shown nothing for long.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::validation::KEYED;
use super::{Context, REPORT_SPACING, State, VirtualRouter};
use crate::action::Report;
use crate::packet::{AuthType, ChecksumForm, ParseError, TrailerFault};
use crate::parameters::{Authentication, Replay};
use crate::snapshot::{Alarm, Alarms, Evidence, Raised, Value};
use crate::{Instant, MacAddress};

/// A checksum form is written to disk each time it is told.
const FORM_SPACING: Duration = Duration::from_secs(60);
/// A condition that nothing has shown for so long is over: more than three of the longest intervals.
pub(super) const REMEMBERED: Duration = Duration::from_secs(300);
/// Conditions that keep a router from being heard: over when it is heard.
const UNHEARD: [Alarm; 5] = [
    Alarm::VersionMismatch,
    Alarm::TtlTooLow,
    Alarm::ChecksumFormMismatch,
    Alarm::TransportMismatch,
    Alarm::UnknownSender,
];

const _: () = assert!(Alarm::ALL.len() <= u32::BITS as usize, "Shown::live has a bit for each");

/// What packets show.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    alarms: [Condition; Alarm::ALL.len()],
    /// Which conditions are there, or not told: a bit each. The others are not looked at.
    live: u32,
    form: Paced<ChecksumForm>,
}

/// One condition, raised or not.
#[derive(Clone, Copy, Debug)]
struct Condition {
    raised: Paced<bool>,
    evidence: Evidence,
    since: Instant,
    seen: Instant,
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

impl Condition {
    /// When there is something to tell of it.
    fn due_at(&self) -> Option<Instant> {
        self.raised.due_at().into_iter().chain(self.ends_at()).min()
    }

    fn ends_at(&self) -> Option<Instant> {
        self.raised.now.then_some(self.seen + REMEMBERED)
    }

    fn snapshot(&self, now: Instant) -> Option<Raised> {
        let Self { evidence, since, seen, .. } = *self;
        self.raised.now.then(|| Raised { evidence, age: now - since, seen: now - seen })
    }
}

impl Shown {
    /// Nothing yet; `form` is the one that the configuration begins with.
    pub(super) fn new(form: ChecksumForm) -> Self {
        let none = Condition {
            raised: Paced::new(false),
            evidence: Evidence::of(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            since: Instant::ZERO,
            seen: Instant::ZERO,
        };
        Self { alarms: [none; Alarm::ALL.len()], live: 0, form: Paced::new(form) }
    }

    /// The peers are others now.
    pub(super) fn begin_with(&mut self, form: ChecksumForm) {
        self.form = Paced::new(form);
    }

    /// The conditions that are there.
    pub(super) fn alarms(&self, now: Instant) -> Alarms {
        let mut alarms = Alarms::default();
        for (alarm, condition) in Alarm::ALL.into_iter().zip(&self.alarms) {
            alarms.set(alarm, condition.snapshot(now));
        }
        alarms
    }

    pub(super) fn is_raised(&self, alarm: Alarm) -> bool {
        self.alarms[alarm as usize].raised.now
    }

    /// What showed a condition that was just raised had been heard before.
    pub(super) fn seen_at(&mut self, alarm: Alarm, seen: Instant) {
        self.alarms[alarm as usize].seen = seen;
    }

    /// When [`VirtualRouter::tell_shown`] has something to tell.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.conditions_due_at().into_iter().chain(self.form.due_at()).min()
    }

    fn conditions_due_at(&self) -> Option<Instant> {
        self.live().filter_map(|alarm| self.alarms[alarm as usize].due_at()).min()
    }

    /// The conditions that are there, or not told.
    fn live(&self) -> impl Iterator<Item = Alarm> + use<> {
        let mut rest = self.live;
        std::iter::from_fn(move || {
            let first = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            Alarm::ALL.get(first as usize).copied()
        })
    }
}

impl VirtualRouter {
    /// A packet shows a condition.
    pub(super) fn raise(&mut self, alarm: Alarm, evidence: Evidence, cx: &mut Context<'_>) {
        let condition = &mut self.shown.alarms[alarm as usize];
        condition.evidence = evidence;
        condition.seen = cx.now;
        if !condition.raised.now {
            condition.raised.now = true;
            self.shown.live |= 1 << alarm as u32;
            condition.since = cx.now;
            self.tell_shown(cx);
        }
    }

    /// A condition is over.
    pub(super) fn over(&mut self, alarm: Alarm, cx: &mut Context<'_>) {
        let condition = &mut self.shown.alarms[alarm as usize];
        if std::mem::replace(&mut condition.raised.now, false) {
            self.tell_shown(cx);
        }
    }

    /// A packet shows a condition or, to the router that showed it, that it is over.
    pub(super) fn show(&mut self, alarm: Alarm, is_so: bool, evidence: Evidence, cx: &mut Context<'_>) {
        if is_so {
            self.raise(alarm, evidence, cx);
        } else if self.shown.live != 0 && self.shown.alarms[alarm as usize].evidence.source == evidence.source
        {
            self.over(alarm, cx);
        }
    }

    /// A packet of `source` was discarded, which may say something about how the two are configured.
    pub(super) fn unheard(&mut self, source: IpAddr, error: &ParseError, cx: &mut Context<'_>) {
        let (alarm, theirs, ours) = match *error {
            ParseError::Version { found, expected } => {
                (Alarm::VersionMismatch, Value::Number(found.into()), Value::Number(expected.number().into()))
            }
            ParseError::HopLimit { found, required } => {
                (Alarm::TtlTooLow, Value::Number(found.into()), Value::Number(required.into()))
            }
            ParseError::ChecksumForm { found, accepted } => {
                (Alarm::ChecksumFormMismatch, Value::Form(found), Value::Form(accepted))
            }
            ParseError::WrongDestination { destination } => {
                let ours = match self.parameters.peers.is_empty() {
                    true => Value::Address(self.parameters.group()),
                    false => Value::Word("unicast"),
                };
                (Alarm::TransportMismatch, Value::Address(destination), ours)
            }
            ParseError::UnknownPeer { .. } => (Alarm::UnknownSender, Value::Nothing, Value::Nothing),
            ParseError::AuthType { found, expected } => {
                (Alarm::AuthenticationMismatch, Value::Word(found.name()), Value::Word(expected.name()))
            }
            ParseError::AuthenticationHeader => {
                let ours = self.parameters.authentication.policy().auth_type().map_or("none", AuthType::name);
                let theirs = AuthType::AuthenticationHeader.name();
                (Alarm::AuthenticationMismatch, Value::Word(theirs), Value::Word(ours))
            }
            ParseError::Password => {
                (Alarm::AuthenticationMismatch, Value::Word("another password"), Value::Word("password"))
            }
            ParseError::UnexpectedTrailer => {
                let ours = match self.parameters.authentication {
                    Authentication::Password(_) => "password",
                    _ => "none",
                };
                (Alarm::AuthenticationMismatch, Value::Word(KEYED), Value::Word(ours))
            }
            // Networks double a packet now and then.
            ParseError::Trailer(TrailerFault::Replay) => return,
            ParseError::Trailer(TrailerFault::Window { seconds }) => {
                let window = match self.keyring().map(|ring| ring.replay) {
                    Some(Replay::Time { window }) => u32::try_from(window.as_secs()).unwrap_or(u32::MAX),
                    _ => 0,
                };
                (Alarm::ClockSkew, Value::Number(seconds.into()), Value::Number(window))
            }
            ParseError::Trailer(fault) => {
                (Alarm::AuthenticationMismatch, Value::Word(fault.name()), Value::Word(KEYED))
            }
            ParseError::OtherInterval { found, expected } => {
                (Alarm::IntervalMismatch, Value::Interval(found), Value::Interval(expected))
            }
            ParseError::OtherAddresses => (Alarm::AddressListMismatch, Value::Nothing, Value::Nothing),
            ParseError::Owner { priority } if priority.is_owner() => {
                let value = Value::Number(priority.get().into());
                (Alarm::DuplicateOwner, value, value)
            }
            ParseError::Owner { priority } if !priority.is_release() => {
                (Alarm::TwoActiveRouters, Value::Nothing, Value::Nothing)
            }
            ParseError::OwnAddress { .. } => return self.twin(None, cx),
            _ => return,
        };
        self.raise(alarm, Evidence { source, theirs, ours }, cx);
    }

    /// Another station has the address that our advertisements leave from: the one that ARP or neighbour
    /// discovery showed, or an unknown one that advertises.
    pub(super) fn twin(&mut self, mac: Option<MacAddress>, cx: &mut Context<'_>) {
        let Some(source) = self.facts.source else { return };
        let shown = &self.shown.alarms[Alarm::DuplicateSourceAddress as usize];
        let known = if shown.raised.now { shown.evidence.theirs } else { Value::Nothing };
        let theirs = mac.map_or(known, Value::Mac);
        self.raise(Alarm::DuplicateSourceAddress, Evidence { theirs, ..Evidence::of(source) }, cx);
    }

    /// A packet of `source` was accepted.
    pub(super) fn heard_at_last(&mut self, source: IpAddr, cx: &mut Context<'_>) {
        for alarm in UNHEARD {
            self.show(alarm, false, Evidence::of(source), cx);
        }
        if !matches!(self.state, State::Active { .. }) {
            // It is the Active Router again, and no silent holder.
            self.over(Alarm::LivingHolder, cx);
        }
    }

    /// Another configuration decides who is heard.
    pub(super) fn unheard_is_over(&mut self, cx: &mut Context<'_>) {
        let shown = [Alarm::IntervalMismatch, Alarm::AddressListMismatch];
        let keyed = [Alarm::AuthenticationMismatch, Alarm::ClockSkew];
        for alarm in UNHEARD.into_iter().chain(shown).chain(keyed) {
            self.over(alarm, cx);
        }
    }

    /// A packet came in another checksum form than the one before.
    pub(super) fn form_changed(&mut self, form: ChecksumForm, cx: &mut Context<'_>) {
        self.shown.form.now = form;
        self.tell_shown(cx);
    }

    /// Tells what has changed, as far as it is not too soon.
    pub(crate) fn tell_shown(&mut self, cx: &mut Context<'_>) {
        self.tell_conditions(cx);
        self.tell_discards(self.parameters.link, cx);
        if let Some(form) = self.shown.form.tell(cx.now, FORM_SPACING) {
            cx.report(Report::ChecksumForm { router: self.id, form });
        }
    }

    fn tell_conditions(&mut self, cx: &mut Context<'_>) {
        let router = self.id;
        for alarm in self.shown.live() {
            let condition = &mut self.shown.alarms[alarm as usize];
            if condition.ends_at().is_some_and(|at| at <= cx.now) {
                condition.raised.now = false;
            }
            if let Some(raised) = condition.raised.tell(cx.now, REPORT_SPACING) {
                cx.report(Report::Alarm { router, alarm, raised, evidence: condition.evidence });
            }
            if condition.due_at().is_none() {
                self.shown.live &= !(1 << alarm as u32);
            }
        }
    }
}
