//! One Virtual Router: its state, and the table that says what each event does in each state.
//!
//! The cells of the table are in the file of their state: [`initialize`] (RFC 9568 6.4.1),
//! [`backup`] (6.4.2, with the claim that leads out of it), [`active`] (6.4.3, with the ways out of
//! it; [`asking`] is one of them). [`holding`] keeps the addresses, [`back_off`] waits after one was
//! refused, [`absence`] after the loop was away, [`sending`] and [`announcing`] speak, [`validation`] says
//! which packets may come in, [`paths`] by which way, [`client_lan`] whether clients can be reached,
//! [`witness`] whether anybody can, [`elsewhere`] watches who else has our addresses, [`probing`] asks who
//! still has them, [`suspicion`] whether their host is dead, [`reconfiguring`] takes a reload, [`orders`] the
//! operator's word, [`together`] moves it with its sync group, [`observing`] answers observers.

mod absence;
mod active;
mod alarms;
mod announcing;
mod asking;
mod back_off;
mod backup;
mod client_lan;
mod elsewhere;
mod holding;
mod initialize;
mod keying;
mod lateness;
mod observing;
mod orders;
mod paths;
mod probing;
mod reconfiguring;
mod sending;
mod suspicion;
#[cfg(test)]
mod tests;
mod together;
mod validation;
mod witness;

pub(crate) use asking::Question;
pub use paths::Way;
pub(crate) use validation::REPORT_SPACING;

use std::net::IpAddr;
use std::time::Duration;

use crate::action::{Action, Order, Outcome, Report};
use crate::discards::Discarded;
use crate::packet::Sighting;
use crate::parameters::{Facts, LinkId, Parameters, RouterId, VirtualAddress};
use crate::snapshot::{LastEvent, NewMasterReason, Reason, Standing, StateName, Statistics};
use crate::sync_group::Membership;
use crate::tracking::{Assessment, Health, TrackerId, TrackerState};
use crate::{AdverInterval, Instant, MacAddress, Priority};

use alarms::Shown;
use announcing::{Announcing, Turns};
use asking::{Asked, KnownRouters};
use back_off::BackOff;
use backup::{Counting, Rival};
use client_lan::ClientLan;
use elsewhere::Elsewhere;
use holding::Holding;
use keying::Keying;
use lateness::Lateness;
use orders::HandingOver;
use paths::Paths;
use probing::Probing;
use sending::Sending;
use suspicion::Suspicion;
use together::Together;
use validation::Heard;
use witness::Witnessing;

/// How long a silent network is kept waiting for the first address before the claim is advertised.
pub(crate) const CLAIM_WAIT: Duration = Duration::from_millis(1);
/// How long a router that gave way goes on answering after its successor's first advertisement:
/// keepalived advertises before it adds the address.
pub(crate) const HANDOVER: Duration = Duration::from_millis(20);
/// The longest that a router which gave way waits for a successor.
pub(crate) const LEAVING_MAX: Duration = Duration::from_secs(3);

/// One Virtual Router of one address family on one link (RFC 9568 6).
#[derive(Clone, Debug)]
pub(crate) struct VirtualRouter {
    id: RouterId,
    parameters: Parameters,
    state: State,
    /// The state last reported.
    entered: StateName,
    reason: Reason,
    since: Instant,
    facts: Facts,
    assessment: Assessment,
    /// Checks that have not decided count as passing: the role was held before they were asked.
    trust_pending: bool,
    /// Not shut down by the operator.
    wanted: bool,
    standing: Standing,
    /// An order that is not decided yet: somebody is to take over.
    handing_over: Option<HandingOver>,
    /// The number of the order that is not decided yet; none when another member of the sync group
    /// was ordered.
    order_number: Option<u32>,
    /// Its place in a sync group, if it is in one.
    membership: Option<Membership>,
    together: Together,
    /// What the trackers said when they were frozen.
    frozen: Option<Box<[(TrackerId, TrackerState)]>>,
    start_at: Instant,
    /// When the interface will have been up for long enough; none before the first word on it.
    carrier_at: Option<Instant>,
    active_adver_interval: AdverInterval,
    /// Since when the Active_Down_Timer of the Backup counts, and what.
    counting: Counting,
    rival: Option<Rival>,
    /// Who had the role when it was claimed. A quicker backup may be heard before the claim goes out.
    claimed_from: Option<Rival>,
    /// A living Active Router of lower priority was ignored since the last accepted advertisement.
    lower_ignored: bool,
    preempt_from: Option<Instant>,
    probing: Probing,
    suspicion: Suspicion,
    holding: Holding,
    elsewhere: Elsewhere,
    back_off: BackOff,
    asked: Asked,
    known: KnownRouters,
    announcing: Option<Announcing>,
    announced_at: Option<Instant>,
    turns: Turns,
    sending: Sending,
    paths: Paths,
    client_lan: ClientLan,
    witnessing: Witnessing,
    keying: Keying,
    forms: Box<[Heard]>,
    shown: Shown,
    discards: Discarded,
    up_since: Option<Instant>,
    last_event: LastEvent,
    new_master_reason: NewMasterReason,
    last_adv_source: Option<IpAddr>,
    lateness: Lateness,
    /// The advertisements have begun anew, and not fallen in step with those of other routers.
    new_beat: bool,
    /// When the wall clock alone made it listen last.
    suspected_at: Option<Instant>,
    /// No claim before that, and no end of a question without an answer: the loop was away.
    listens_until: Instant,
    statistics: Statistics,
    /// The addresses as they stand in advertisements.
    listed: Box<[IpAddr]>,
}

/// State of RFC 9568 6.4, with the steps between Backup and Active that the RFC takes at once.
/// A state owns its timers, and only those.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Initialize,
    Backup {
        active_down: Instant,
    },
    /// The Active_Down_Timer fired; the other members of the sync group are not so far yet.
    Willing,
    /// The Active_Down_Timer fired; the addresses are on their way into the kernel. A silent
    /// network is claimed at `advertise_at` whether the first of them is there or not, a living
    /// router of lower priority (`None`) only when all of them are.
    Claiming {
        advertise_at: Option<Instant>,
        give_up: Instant,
        why: Reason,
    },
    Active {
        adver: Instant,
    },
    /// Active before an absence: listens whether another one is now. `takes_back`: one of lower rank is,
    /// and hears of us when all addresses are here.
    Listening {
        since: Instant,
        until: Instant,
        takes_back: bool,
    },
    /// Resigned for the time being, holding the addresses, to see who takes over.
    Asking {
        until: Instant,
        question: Question,
    },
    /// Resigned for good; the addresses answer until the successor does.
    Leaving {
        release_at: Instant,
        then: Next,
    },
}

/// What comes after [`State::Leaving`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Initialize,
    Backup {
        active_down: Instant,
    },
    /// The kernel refused some of the addresses: when nobody takes over, the rest is worth holding.
    HoldPart,
}

/// A valid advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// Source of the packet; on the second path the address that this router has on the first one.
    pub(crate) source: IpAddr,
    /// Its priority.
    pub(crate) priority: Priority,
    /// Its Max Advertise Interval.
    pub(crate) interval: AdverInterval,
    /// When the kernel received it.
    pub(crate) arrived: Instant,
}

/// One event in the life of a Virtual Router.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The host says something new.
    Facts(Facts),
    /// The checks say something new.
    Assessed(Assessment),
    /// A valid advertisement came.
    Advertisement(Advertisement),
    /// An address was shown at a station of this link; it may be none of ours, and at any station.
    Sighted { sighting: Sighting, arrived: Instant },
    /// Timers may have run out.
    Timeout,
    /// The kernel did something to the addresses.
    Outcome(Outcome),
    /// Leave, for good.
    Shutdown,
    /// The operator orders something else.
    Order { number: u32, order: Order },
}

/// Where a router's actions go, with the time at which they are decided.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    /// Time since 1970 at the origin of the clock, as far as the host knows it.
    pub(crate) wall: Duration,
    pub(crate) actions: &'a mut Vec<Action>,
}

impl Context<'_> {
    /// Time since 1970.
    fn unix(&self) -> Duration {
        self.wall + (self.now - Instant::ZERO)
    }

    fn report(&mut self, report: Report) {
        self.actions.push(Action::Report(report));
    }
}

impl VirtualRouter {
    /// A router that has not started, at the time `now`.
    pub(crate) fn new(id: RouterId, parameters: Parameters, assessment: Assessment, now: Instant) -> Self {
        let heard = Heard { form: parameters.checksum_form, from: None };
        Self {
            id,
            state: State::Initialize,
            entered: StateName::Initialize,
            reason: Reason::InterfaceMissing,
            since: now,
            facts: Facts::UNKNOWN,
            assessment,
            trust_pending: false,
            wanted: true,
            standing: Standing::Free,
            handing_over: None,
            order_number: None,
            membership: None,
            together: Together::new(),
            frozen: None,
            start_at: now + parameters.startup_delay,
            carrier_at: None,
            active_adver_interval: parameters.interval,
            counting: Counting { from: now, resigned: false },
            rival: None,
            claimed_from: None,
            lower_ignored: false,
            preempt_from: None,
            probing: Probing::default(),
            suspicion: Suspicion::default(),
            holding: Holding::new(&parameters),
            elsewhere: Elsewhere::new(parameters.addresses.len()),
            back_off: BackOff::default(),
            asked: Asked::default(),
            known: KnownRouters::default(),
            announcing: None,
            announced_at: None,
            turns: Turns::new(parameters.addresses.len()),
            sending: Sending::new(now),
            paths: Paths::new(now),
            client_lan: ClientLan::new(),
            witnessing: Witnessing::new(parameters.witness.as_ref()),
            keying: Keying::new(&parameters),
            forms: vec![heard; parameters.peers.len().max(1)].into(),
            shown: Shown::new(parameters.checksum_form),
            discards: Discarded::default(),
            up_since: None,
            last_event: LastEvent::None,
            new_master_reason: NewMasterReason::NotMaster,
            last_adv_source: None,
            lateness: Lateness::default(),
            new_beat: false,
            suspected_at: None,
            listens_until: Instant::ZERO,
            statistics: Statistics::default(),
            listed: parameters.advertised().iter().map(|address| address.ip).collect(),
            parameters,
        }
    }

    /// The state machine: what each event does in each state.
    pub(crate) fn handle(&mut self, event: Event, cx: &mut Context<'_>) {
        match (&self.state, event) {
            (_, Event::Facts(facts)) => self.facts_changed(facts, cx),
            (_, Event::Outcome(outcome)) => self.outcome(outcome, cx),
            (_, Event::Assessed(assessment)) => self.assessed(assessment, cx),
            (_, Event::Sighted { sighting, arrived }) => self.sighted(sighting, arrived, cx),
            (_, Event::Order { number, order }) => self.order(number, order, cx),

            (State::Initialize, Event::Timeout) => self.try_startup(cx),
            (State::Initialize, Event::Advertisement(advert)) => self.heard(advert),
            (State::Initialize, Event::Shutdown) => self.shut_down_idle(cx),

            (State::Backup { .. }, Event::Timeout) => self.backup_timeout(cx),
            (State::Backup { .. }, Event::Advertisement(advert)) => self.backup_advertisement(advert, cx),
            (State::Backup { .. } | State::Willing, Event::Shutdown) => self.shut_down_idle(cx),

            (State::Willing, Event::Timeout) => {}
            (State::Willing, Event::Advertisement(advert)) => self.backup_advertisement(advert, cx),

            (&State::Claiming { advertise_at, give_up, .. }, Event::Timeout) => {
                self.claim_timeout(advertise_at, give_up, cx);
            }
            (State::Claiming { .. }, Event::Advertisement(advert)) => self.claim_advertisement(advert, cx),
            (State::Claiming { .. }, Event::Shutdown) => self.shut_down_idle(cx),

            (&State::Active { adver }, Event::Timeout) => self.active_timeout(adver, cx),
            (State::Active { .. }, Event::Advertisement(advert)) => self.active_advertisement(advert, cx),
            (State::Active { .. }, Event::Shutdown) => self.leave(Reason::Shutdown, cx),

            (&State::Listening { until, takes_back, .. }, Event::Timeout) => {
                self.listening_timeout(until, takes_back, cx);
            }
            (&State::Listening { since, takes_back, .. }, Event::Advertisement(advert)) => {
                self.listening_advertisement(advert, since, takes_back, cx);
            }
            (State::Listening { .. }, Event::Shutdown) => self.leave(Reason::Shutdown, cx),

            (&State::Asking { until, .. }, Event::Timeout) => self.asking_timeout(until, cx),
            (&State::Asking { question, .. }, Event::Advertisement(advert)) => {
                self.asking_advertisement(advert, question, cx);
            }
            (State::Asking { .. }, Event::Shutdown) => self.leave(Reason::Shutdown, cx),

            (&State::Leaving { release_at, then }, Event::Timeout) => {
                self.leaving_timeout(release_at, then, cx);
            }
            (&State::Leaving { release_at, then }, Event::Advertisement(advert)) => {
                self.leaving_advertisement(advert, release_at, then, cx);
            }
            (&State::Leaving { release_at, .. }, Event::Shutdown) => {
                self.wanted = false;
                self.state = State::Leaving { release_at, then: Next::Initialize };
                self.enter(StateName::Initialize, Reason::Shutdown, cx);
            }
        }
    }

    /// Advertisements that are overdue by less than two intervals leave before the sockets are
    /// read; after a longer time away the packets that waited are read first.
    pub(crate) fn woke(&mut self, cx: &mut Context<'_>) {
        if let State::Active { adver } = self.state
            && adver <= cx.now
            && cx.now - adver < 2 * self.parameters.interval.duration()
        {
            self.active_timeout(adver, cx);
        }
    }

    /// The earliest time at which [`Event::Timeout`] or [`tell_shown`](Self::tell_shown) has something
    /// to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_gone() {
            return None;
        }
        let timers = match self.state {
            State::Initialize => match self.reason {
                Reason::StartupDelay => Some(self.start_at),
                Reason::CarrierDelay => self.carrier_at,
                _ => None,
            },
            State::Backup { active_down } => {
                let questions = self.probe_at(active_down).into_iter().chain(self.suspect_at());
                Some(questions.fold(active_down, Instant::min))
            }
            State::Willing => None,
            State::Claiming { advertise_at, give_up, .. } => {
                Some(advertise_at.unwrap_or(give_up).min(give_up))
            }
            State::Active { adver } => [
                Some(adver),
                self.announcing.map(|announcing| announcing.next),
                self.acquisition_deadline(),
                self.retry_at(),
                self.ask_at(),
            ]
            .into_iter()
            .flatten()
            .min(),
            State::Listening { until, takes_back, .. } => {
                let listened = (!takes_back).then_some(until);
                listened.into_iter().chain(self.acquisition_deadline()).min()
            }
            State::Asking { until, .. } => Some(until),
            State::Leaving { release_at, .. } => Some(release_at),
        };
        let questions = self.ask_client_lan_at().into_iter().chain(self.ask_witnesses_at());
        let others = questions.chain(self.shown.due_at()).chain(self.discards.due_at());
        timers.into_iter().chain(others).min()
    }

    /// When the Active_Down_Timer runs out.
    pub(crate) const fn claims_at(&self) -> Option<Instant> {
        match self.state {
            State::Backup { active_down } => Some(active_down),
            _ => None,
        }
    }

    /// Priority in force.
    pub(crate) fn priority(&self) -> Priority {
        self.health().priority
    }

    /// What the checks say.
    pub(crate) fn assessment(&self) -> &Assessment {
        &self.assessment
    }

    fn health(&self) -> &Health {
        if self.trust_pending { &self.assessment.trusting } else { &self.assessment.cautious }
    }

    /// The address with this index, while it is on the interface.
    pub(crate) fn announceable(&self, index: u16) -> Option<VirtualAddress> {
        let index = usize::from(index);
        self.parameters.addresses.get(index).copied().filter(|_| self.holding.is_present(index))
    }

    /// What is configured, before checks have their say.
    pub(crate) fn configured_priority(&self) -> Priority {
        self.membership.map_or(self.parameters.priority, |membership| membership.priority)
    }

    /// What is configured.
    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What is known of its place.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The Ethernet address that answers for the addresses while Active.
    pub(crate) fn mac(&self) -> MacAddress {
        if self.parameters.virtual_mac {
            self.parameters.vrid.mac(self.parameters.family)
        } else {
            self.facts.mac
        }
    }

    /// Whether it has to hear of answers of others than those that have its addresses.
    pub(crate) fn asks_stations(&self) -> bool {
        self.parameters.second_path.is_some() || self.parameters.witness.is_some()
    }

    /// The addresses of its own about which it wants to know who shows them, and where.
    pub(crate) fn minded(&self) -> impl Iterator<Item = (LinkId, IpAddr, RouterId)> + '_ {
        let at_home = self.parameters.addresses.iter().filter(|address| address.interface.is_none());
        at_home.map(|address| (self.parameters.link, address.ip, self.id))
    }

    /// When the next advertisement is due, while they leave regularly.
    pub(crate) fn beat(&self) -> Option<Instant> {
        let State::Active { adver } = self.state else { return None };
        Some(adver)
    }

    /// Interval and next advertisement of a router whose advertisements have begun anew.
    pub(crate) fn take_new_beat(&mut self) -> Option<(AdverInterval, Instant)> {
        let new = std::mem::take(&mut self.new_beat);
        self.beat().filter(|_| new).map(|beat| (self.parameters.interval, beat))
    }

    /// The next advertisement leaves earlier than after a whole interval.
    pub(crate) fn advertise_next_at(&mut self, at: Instant) {
        if let State::Active { adver } = self.state {
            self.state = State::Active { adver: adver.min(at) };
        }
    }

    /// Shut down, with nothing left in the kernel.
    pub(crate) fn is_gone(&self) -> bool {
        !self.wanted && matches!(self.state, State::Initialize) && self.holding.is_released()
    }

    fn state_name(&self) -> StateName {
        match self.state {
            State::Initialize | State::Leaving { then: Next::Initialize, .. } => StateName::Initialize,
            State::Backup { .. } | State::Willing | State::Claiming { .. } | State::Leaving { .. } => {
                StateName::Backup
            }
            State::Active { .. } | State::Listening { .. } | State::Asking { .. } => StateName::Active,
        }
    }

    /// Reports a priority in force that is not what it was `before`.
    fn tell_priority(&self, before: Priority, cx: &mut Context<'_>) {
        let (router, to) = (self.id, self.priority());
        if before != to {
            cx.report(Report::PriorityChanged { router, from: before, to });
        }
    }

    /// Reports a transition. The state itself has been set before, and with it what
    /// [`state_name`](Self::state_name) says.
    fn enter(&mut self, to: StateName, reason: Reason, cx: &mut Context<'_>) {
        debug_assert_eq!(to, self.state_name());
        let from = self.entered;
        if from == to && self.reason == reason {
            return;
        }
        self.note_event(from, to, reason, cx.now);
        self.entered = to;
        self.reason = reason;
        self.together.entered(to, reason);
        if from != to {
            self.since = cx.now;
        }
        if to == StateName::Active && from != StateName::Active {
            self.statistics.master_transitions += 1;
        }
        let rival = if reason.is_silence() { self.claimed_from } else { self.rival };
        let before = self.priority();
        if to != StateName::Active {
            self.announcing = None;
            self.turns.clear();
            // The priority may sink with it, which is told after what made it so.
            self.trust_pending = false;
            self.one_active_at_most(cx);
            self.forget_conflict(cx);
        }
        cx.report(Report::Transition {
            router: self.id,
            from,
            to,
            reason,
            priority: self.priority(),
            rival: rival.map(|rival| (rival.address, rival.priority)),
            silent: rival.filter(|_| reason.is_silence()).map(|rival| cx.now - rival.heard_at),
            moved_with: self.together.moved_with,
        });
        self.tell_priority(before, cx);
    }
}
