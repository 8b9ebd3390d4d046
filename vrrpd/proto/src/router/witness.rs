//! Is this node cut off? Asked by a router with witnesses only.
//!
//! A Backup that hears nothing cannot tell a dead Active Router from its own cut network, and an Active
//! one is never told by its backups that they hear it. So each asks stations of its own: the other
//! routers, and the witnesses, which have no part in the election. One that somebody answers is not cut
//! off, and goes on as without witnesses. One that nobody answers claims nothing, and holds nothing.
//!
//! Stations die as well. Those die one by one, while a cut silences all at once: who falls silent while
//! another station answers is dead, and its silence counts no more until it has answered again. Unless
//! the policy is [`Hold`](WitnessPolicy::Hold), silence says something only when both a peer and a
//! witness counted (`docs/witnesses.md` has the table).

use std::net::IpAddr;
use std::time::Duration;

use super::client_lan::SPACING;
use super::{Context, Counting, Next, State, VirtualRouter};
use crate::Instant;
use crate::action::{Action, Report};
use crate::packet::Sighting;
use crate::parameters::{Witness, WitnessPolicy};
use crate::snapshot::{Alarm, Evidence, Reason, Value, Verdict, WitnessSnapshot};

/// A question that nobody answers is put again after this part of the distance between two.
const AGAIN: u32 = 4;
/// So many questions in a row that nobody answers are silence. The first one leaves with an
/// advertisement, so silence is noticed a quarter of an interval before a backup that got the
/// advertisement before it can claim.
const SILENT: u8 = 7;
/// As many are put in the last interval before the Active_Down_Timer of a Backup runs out.
const LATE: u8 = 4;
/// A station that does not answer so many questions in a row, while another one does, is dead.
const DEAD: u8 = 3;
/// Stations that the caller asks are asked no more often while others answer: each costs a connection.
const REMOTE_SPACING: Duration = Duration::from_secs(1);

/// What the peers and the witnesses answered.
#[derive(Clone, Debug)]
pub(super) struct Witnessing {
    /// In the order of [`Witness::stations`].
    stations: Box<[Station]>,
    /// When the last question was put.
    asked: Option<Instant>,
    /// When the next one is due if that is answered.
    next: Instant,
    /// When the stations were asked last that the caller asks.
    remote_asked: Option<Instant>,
    /// Questions since anybody answered.
    unanswered: u8,
    /// When anybody was reached last.
    reached: Option<Instant>,
    peers: Side,
    witnesses: Side,
}

/// One that is asked.
#[derive(Clone, Copy, Debug, Default)]
struct Station {
    answered: Option<Instant>,
    /// It has answered since the last question.
    fresh: bool,
    /// Questions in a row that others answered, and it did not; all, if it never has.
    missed: u8,
}

/// The peers, or the witnesses.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// One of them has answered, and since then they have not been silent while the other side answered.
    counts: bool,
    missed: u8,
}

impl Side {
    fn judge(&mut self, answered: bool, other_answered: bool) {
        match (answered, other_answered) {
            (true, _) => *self = Self { counts: true, missed: 0 },
            (false, true) => {
                self.missed = self.missed.saturating_add(1);
                self.counts &= self.missed < DEAD;
            }
            (false, false) => {}
        }
    }
}

impl Witnessing {
    /// Nothing has been asked.
    pub(super) fn new(witness: Option<&Witness>) -> Self {
        let count = witness.map_or(0, |witness| witness.stations().count());
        Self {
            stations: vec![Station::default(); count].into(),
            asked: None,
            next: Instant::ZERO,
            remote_asked: None,
            unanswered: 0,
            reached: None,
            peers: Side::default(),
            witnesses: Side::default(),
        }
    }

    /// What is known of those who are still asked stays known, and a node that was cut off with them is cut
    /// off until one of the new ones answers.
    fn inherit(&mut self, now: &Witness, known: Self, before: &Witness) {
        let of_before = |station| before.stations().position(|other| other == station);
        for (station, slot) in now.stations().zip(&mut self.stations) {
            *slot = of_before(station).and_then(|at| known.stations.get(at)).copied().unwrap_or_default();
        }
        let answered = |stations: &[Station]| stations.iter().any(|station| station.answered.is_some());
        let (peers, witnesses) = self.stations.split_at(now.peers.len());
        let side = |known: Side, stations| if answered(stations) { known } else { Side::default() };
        let (peers, witnesses) = (side(known.peers, peers), side(known.witnesses, witnesses));
        *self = Self { stations: std::mem::take(&mut self.stations), peers, witnesses, ..known };
    }

    fn is_silent(&self) -> bool {
        self.unanswered >= SILENT
    }

    /// Does silence mean that this node is cut off?
    fn counts(&self, policy: WitnessPolicy) -> bool {
        policy == WitnessPolicy::Hold || self.peers.counts && self.witnesses.counts
    }

    /// A station has answered at `at`.
    fn answered(&mut self, index: usize, at: Instant) {
        let Some(station) = self.stations.get_mut(index) else { return };
        station.answered = station.answered.max(Some(at));
        station.fresh = true;
        self.reached = self.reached.max(Some(at));
        self.unanswered = 0;
    }

    /// Counts what came of the last question.
    fn judge(&mut self, witness: &Witness) {
        let Some(asked) = self.asked else { return };
        let remote_asked = self.remote_asked == Some(asked);
        let (first_witness, first_remote) = (witness.peers.len(), witness.peers.len() + witness.arp.len());
        let fresh = |stations: &[Station]| stations.iter().any(|station| station.fresh);
        let (peers, witnesses) = self.stations.split_at(first_witness);
        let (peers, witnesses) = (fresh(peers), fresh(witnesses));
        self.peers.judge(peers, witnesses);
        // Those that were not asked may be there.
        if witnesses || remote_asked || witness.tcp.is_empty() {
            self.witnesses.judge(witnesses, peers);
        }
        for (index, station) in self.stations.iter_mut().enumerate() {
            let was_asked = index < first_remote || remote_asked;
            if std::mem::take(&mut station.fresh) {
                station.missed = 0;
            } else if was_asked && (peers || witnesses || station.answered.is_none()) {
                station.missed = station.missed.saturating_add(1);
            }
        }
    }
}

impl VirtualRouter {
    /// Nobody answers, and that means something: this node is cut off.
    pub(super) fn is_cut_off(&self) -> bool {
        let witness = self.parameters.witness.as_ref();
        witness.is_some_and(|it| self.witnessing.is_silent() && self.witnessing.counts(it.policy))
    }

    /// When the next question is due.
    pub(super) fn ask_witnesses_at(&self) -> Option<Instant> {
        if self.parameters.witness.is_none() || matches!(self.state, State::Initialize) {
            return None;
        }
        let Witnessing { asked, next, unanswered, .. } = self.witnessing;
        let Some(asked) = asked else { return Some(Instant::ZERO) };
        let again = (1..=SILENT).contains(&unanswered).then(|| asked + self.question_distance() / AGAIN);
        Some(self.ask_late_at(asked).into_iter().chain(again).fold(next, Instant::min))
    }

    /// In the last interval before a claim answers are wanted by its end.
    fn ask_late_at(&self, asked: Instant) -> Option<Instant> {
        let State::Backup { active_down } = self.state else { return None };
        let interval = self.active_adver_interval.duration();
        let at = active_down.saturating_sub(interval).max(asked + interval / AGAIN);
        (!self.is_cut_off()).then_some(at)
    }

    fn question_distance(&self) -> Duration {
        self.parameters.interval.duration().max(SPACING)
    }

    /// How long a witness that the caller asks may take.
    pub(super) fn answer_within(&self) -> Duration {
        2 * self.question_distance()
    }

    /// The router takes part from now on. What was learned of the stations before stays known.
    pub(super) fn begin_to_ask_witnesses(&mut self) {
        self.witnessing.asked = None;
        self.witnessing.unanswered = 0;
    }

    /// The interval is another one. A longer one counts from the next question on.
    pub(super) fn questions_respaced(&mut self, now: Instant) {
        self.witnessing.next = self.witnessing.next.min(now + self.question_distance());
    }

    /// Others are to be asked, or the policy is another one.
    pub(super) fn witnesses_reconfigured(&mut self, before: Option<&Witness>, cx: &mut Context<'_>) {
        let now = self.parameters.witness.as_ref();
        let known = std::mem::replace(&mut self.witnessing, Witnessing::new(now));
        if let (Some(before), Some(now)) = (before, now) {
            self.witnessing.inherit(now, known, before);
            self.tell_of_witnesses(cx);
        } else {
            self.over(Alarm::Isolated, cx);
            self.over(Alarm::WitnessSilent, cx);
        }
    }

    /// A question is due: counts the answers to the one before, and does what follows from it.
    pub(crate) fn ask_witnesses(&mut self, cx: &mut Context<'_>) {
        if self.ask_witnesses_at().is_none_or(|at| at > cx.now) {
            return;
        }
        let Some(witness) = &self.parameters.witness else { return };
        self.witnessing.judge(witness);
        self.tell_of_witnesses(cx);
        if self.is_cut_off() {
            match self.state {
                State::Active { .. } | State::Listening { .. } => self.drop_role(cx),
                State::Willing => self.hold_back(cx),
                // It would take the role again with the part of its addresses that it has.
                State::Leaving { then: Next::HoldPart, .. } => {
                    self.release_all(cx);
                    self.hold_back(cx);
                }
                // The kernel has kept the addresses away for that long.
                State::Claiming { .. } => {
                    self.together.joining = false;
                    self.release_all(cx);
                    self.hold_back(cx);
                }
                _ => {}
            }
        }
        self.put_question(cx);
    }

    fn put_question(&mut self, cx: &mut Context<'_>) {
        let distance = self.question_distance();
        self.witnessing.next = match self.state {
            // With the advertisement, which is on the same grid: both get through, or neither.
            State::Active { adver } if adver >= cx.now + distance / 2 => adver,
            _ => cx.now + distance,
        };
        self.witnessing.asked = Some(cx.now);
        cx.actions.push(Action::AskClientLan { router: self.id });
        let remote = self.parameters.witness.as_ref().is_some_and(|witness| !witness.tcp.is_empty());
        let due = self.witnessing.remote_asked.is_none_or(|at| cx.now - at >= REMOTE_SPACING);
        if remote && (due || self.witnessing.unanswered > 0) {
            self.witnessing.remote_asked = Some(cx.now);
            let within = self.answer_within();
            cx.report(Report::AskWitnesses { router: self.id, asked: cx.now, within });
        }
        self.witnessing.unanswered = self.witnessing.unanswered.saturating_add(1);
    }

    /// A station answered; perhaps one that was asked.
    pub(super) fn witness_sighted(&mut self, sighting: Sighting, arrived: Instant) {
        let Some(witness) = self.parameters.witness.as_ref().filter(|_| sighting.answer) else { return };
        let index = witness.neighbours().position(|each| each == sighting.address);
        if let Some(index) = index {
            self.witness_reached(index, arrived);
        }
    }

    /// The caller reached one of the witnesses that it asks; it was told to at `asked`. That counts from now
    /// on: by the time of the question a server further away than an interval is never reached lately.
    pub(crate) fn witnessed(&mut self, nth: u16, asked: Instant, now: Instant) {
        let Some(witness) = self.parameters.witness.as_ref() else { return };
        let index = witness.neighbours().count() + usize::from(nth);
        if now - asked <= self.answer_within() {
            let server = witness.tcp.get(usize::from(nth)).map(|server| server.ip());
            server.into_iter().for_each(|server| self.suspect_witnessed(server, asked));
            self.witness_reached(index, now);
        }
    }

    fn witness_reached(&mut self, index: usize, at: Instant) {
        if matches!(self.state, State::Initialize) {
            return;
        }
        let was_silent = self.witnessing.unanswered >= LATE;
        self.witnessing.answered(index, at);
        if let State::Backup { active_down } = self.state
            && was_silent
            && self.reason == Reason::Isolated
        {
            // Whoever is Active may be heard again as well.
            self.state = State::Backup { active_down: active_down.max(at + self.listening()) };
        }
    }

    /// The role is free for this router. Is it kept from taking it, or from deciding that already?
    pub(super) fn is_held_back(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(policy) = self.parameters.witness.as_ref().map(|witness| witness.policy) else {
            return false;
        };
        if self.is_cut_off() {
            self.hold_back(cx);
            return true;
        }
        let interval = self.active_adver_interval.duration();
        let reached = self.witnessing.reached.is_some_and(|at| cx.now - at <= interval);
        if reached || !self.why_claim().is_silence() || !self.witnessing.counts(policy) {
            return false;
        }
        if self.witnessing.unanswered >= LATE {
            self.hold_back(cx);
        } else {
            // Too little has been asked lately: the loop was away.
            self.state = State::Backup { active_down: cx.now + interval / AGAIN };
        }
        true
    }

    /// Stays Backup; it is asked again when another Active Router would have been heard.
    fn hold_back(&mut self, cx: &mut Context<'_>) {
        // Who becomes Backup forgets whom it was about to preempt. Here that is only put off.
        let ignored = self.lower_ignored && self.rival.is_some_and(|rival| rival.lives(cx.now));
        self.counting = Counting { from: cx.now, resigned: false };
        self.become_backup(cx.now + self.listening(), Reason::Isolated, cx);
        self.lower_ignored = ignored;
    }

    /// As long as a Backup listens that was away itself; Skew_Time keeps those apart who come back together.
    pub(super) fn listening(&self) -> Duration {
        let interval = self.active_adver_interval;
        interval.duration() + interval.skew_time(self.priority())
    }

    /// Cut off: no client is reached here, and whoever is reached elsewhere may take over. Should that be
    /// heard, all the better.
    fn drop_role(&mut self, cx: &mut Context<'_>) {
        self.resign(cx);
        self.release_all(cx);
        self.counting = Counting { from: cx.now, resigned: false };
        self.become_backup(self.active_down(), Reason::Isolated, cx);
    }

    /// Raises and ends what a person should know of it.
    fn tell_of_witnesses(&mut self, cx: &mut Context<'_>) {
        let Some(witness) = &self.parameters.witness else { return };
        let peer = witness.peers.first().copied().filter(|_| self.is_cut_off());
        let stations = witness.stations().zip(&self.witnessing.stations);
        let silent = stations.skip(witness.peers.len()).find(|(_, station)| station.missed >= SILENT).map(
            |((source, port), station)| Evidence {
                source,
                theirs: Value::Word(if station.answered.is_some() { "no more" } else { "never" }),
                ours: port.map_or(Value::Nothing, |port| Value::Number(port.into())),
            },
        );
        for (alarm, evidence) in [(Alarm::Isolated, peer.map(Evidence::of)), (Alarm::WitnessSilent, silent)] {
            match evidence {
                Some(evidence) => self.raise(alarm, evidence, cx),
                None => self.over(alarm, cx),
            }
        }
    }

    /// What an observer may see of it, where there are witnesses.
    pub(super) fn witness(&self, now: Instant) -> Option<WitnessSnapshot> {
        let witness = self.parameters.witness.as_ref()?;
        let stations = || witness.stations().zip(&self.witnessing.stations);
        let last = |answers: &mut dyn Iterator<Item = Answer>| {
            answers.max_by_key(|(_, at)| *at).map(|(by, at)| (by, now - at))
        };
        let answers = |((address, _), station): ((IpAddr, _), &Station)| Some((address, station.answered?));
        let first = witness.peers.len();
        Some(WitnessSnapshot {
            peer: last(&mut stations().take(first).filter_map(answers)),
            witness: last(&mut stations().skip(first).filter_map(answers)),
            verdict: self.verdict()?,
        })
    }

    /// The same in one word.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.parameters.witness.as_ref()?;
        Some(match self.witnessing.reached {
            _ if self.is_cut_off() => Verdict::Isolated,
            _ if self.witnessing.is_silent() => Verdict::Uncounted,
            Some(_) => Verdict::Answered,
            None => Verdict::Unknown,
        })
    }
}

type Answer = (IpAddr, Instant);
