//! Is the host of the Active Router dead? Asked when one of its advertisements is late, by a router with
//! `suspicion` only, which need not wait for the Active_Down_Interval when the answer is yes.
//!
//! An advertisement is late for many reasons, and a dead host is the only one that leaves nobody who has
//! the addresses. A host that lives answers for its own addresses, whatever has become of its daemon, and
//! the kernel there silences the virtual ones in time for the Active_Down_Interval and no sooner. So the
//! host is asked, by ARP or neighbour solicitation, on each path and many times, and with it third
//! stations, which say that it is not this node who is cut off. Nobody follows early but one whom a third
//! station answered and the host did not. Of several that suspect it, Skew_Time says who is first.
//!
//! Silence says something of those only who are known to answer: so an Active Router that lives is asked
//! now and then (`docs/suspicion.md`).

use std::net::IpAddr;
use std::time::Duration;

use super::backup::Rival;
use super::client_lan::SPACING;
use super::paths::Path;
use super::{Context, Counting, State, VirtualRouter};
use crate::Instant;
use crate::action::{Action, Report};
use crate::packet::Sighting;
use crate::parameters::{LinkId, SecondPath, Witness};
use crate::snapshot::{Finding, LastSuspicion, SuspicionSnapshot};

/// An advertisement that is overdue by this part of the interval is late,
const LATE_PART: u32 = 64;
/// and by no less than this: a busy machine is not late by less.
const LATE_LEAST: Duration = Duration::from_millis(10);
/// So long the host of the highest priority is asked; others longer, by Skew_Time.
const WINDOW: Duration = Duration::from_millis(40);
/// Questions of one suspicion, at even distances, none of which the host may answer.
const QUESTIONS: u8 = 16;
/// The one from which on a third station has to answer: who answers then was reached by the ones before,
/// or is again by those that follow.
const HALF: u8 = QUESTIONS / 2;
/// An Active Router that lives is asked so often whether it answers questions,
const PROVED_EVERY: Duration = Duration::from_secs(10);
/// and one that has not for so long is not suspected.
const PROVED_FOR: Duration = Duration::from_secs(30);
/// A finding that repeats itself is told so often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What is known of the host of the Active Router.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspicion {
    /// Whom the rest is about, by its address on the first path.
    of: Option<IpAddr>,
    /// When it answered a question last, by [`Path`].
    proved: [Option<Instant>; 2],
    /// When it was asked last whether it answers.
    proof_asked: Option<Instant>,
    /// The silence that was asked about last.
    silence: Option<Counting>,
    round: Round,
    last: Option<(Finding, IpAddr, Option<IpAddr>, Instant)>,
    told: Option<(Finding, Instant)>,
}

/// How far asking about a silence has come.
#[derive(Clone, Copy, Debug, Default)]
enum Round {
    #[default]
    Open,
    Asking(Asking),
    /// Nothing more is asked.
    Over(Option<Finding>),
}

#[derive(Clone, Copy, Debug)]
struct Asking {
    since: Instant,
    distance: Duration,
    questions: u8,
    /// When the next question is due, or what was answered is judged.
    next: Instant,
    /// When the second half began.
    half_at: Option<Instant>,
    /// Who answered in it.
    third: Option<IpAddr>,
}

impl Suspicion {
    fn round(&self, counting: Counting) -> Round {
        if self.silence == Some(counting) { self.round } else { Round::Open }
    }
}

impl VirtualRouter {
    /// When the next question is due, or what was answered is judged.
    pub(super) fn suspect_at(&self) -> Option<Instant> {
        let State::Backup { active_down } = self.state else { return None };
        if !self.parameters.suspicion {
            return None;
        }
        match self.suspicion.round(self.counting) {
            Round::Open => {
                let due = self.late_at();
                (self.may_suspect() && self.listens_until <= due && self.claim_early_at() < active_down)
                    .then_some(due)
            }
            // Unless another one has spoken meanwhile, a path has gone, or the loop was away.
            Round::Asking(asking) => {
                (self.may_suspect() && self.listens_until <= asking.since).then_some(asking.next)
            }
            Round::Over(_) => None,
        }
    }

    /// A question is due, or the time to judge what was answered.
    pub(super) fn suspect(&mut self, cx: &mut Context<'_>) {
        if self.suspect_at().is_none_or(|at| at > cx.now) {
            return;
        }
        let mut asking = match self.suspicion.round(self.counting) {
            Round::Asking(asking) => asking,
            Round::Open | Round::Over(_) => self.begin_to_suspect(cx.now),
        };
        if asking.questions == QUESTIONS {
            return self.judge_silence(asking.third, cx);
        }
        if asking.questions == HALF {
            asking.half_at = Some(cx.now);
            if self.parameters.witness.as_ref().is_some_and(|witness| !witness.tcp.is_empty()) {
                let within = self.answer_within();
                cx.report(Report::AskWitnesses { router: self.id, asked: cx.now, within });
            }
        }
        cx.actions.push(Action::Inquire { router: self.id });
        asking.questions += 1;
        // On a grid, so that late wake-ups do not add up, and with time left to answer.
        let on_grid = asking.since + asking.distance * u32::from(asking.questions);
        asking.next = on_grid.max(cx.now + asking.distance / 2);
        if asking.questions == QUESTIONS {
            // A priority that has sunk meanwhile waits for its turn.
            asking.next = asking.next.max(self.claim_early_at());
        }
        self.suspicion.round = Round::Asking(asking);
    }

    fn begin_to_suspect(&mut self, now: Instant) -> Asking {
        self.statistics.suspicions += 1;
        self.suspicion.silence = Some(self.counting);
        let skew = self.active_adver_interval.skew_time(self.priority());
        let distance = (WINDOW + skew) / u32::from(QUESTIONS);
        Asking { since: now, distance, questions: 0, next: now, half_at: None, third: None }
    }

    /// The host has answered nothing. That is to be believed when somebody else has.
    fn judge_silence(&mut self, third: Option<IpAddr>, cx: &mut Context<'_>) {
        let finding = if third.is_some() { Finding::Dead } else { Finding::Unwitnessed };
        self.find(finding, third, cx);
        if let (Finding::Dead, Some(rival)) = (finding, &mut self.rival) {
            rival.is_active = false;
            self.statistics.suspicions_confirmed += 1;
            self.state = State::Backup { active_down: cx.now };
        }
    }

    fn find(&mut self, finding: Finding, third: Option<IpAddr>, cx: &mut Context<'_>) {
        self.suspicion.round = Round::Over(Some(finding));
        let Some(rival) = self.rival else { return };
        self.suspicion.last = Some((finding, rival.address, third, cx.now));
        let known = self.suspicion.told.is_some_and(|(told, at)| told == finding && cx.now - at < TOLD_EVERY);
        if finding == Finding::Dead || !known {
            self.suspicion.told = Some((finding, cx.now));
            let (router, of, silent) = (self.id, rival.address, cx.now - rival.heard_at);
            cx.report(Report::Suspected { router, of, finding, third, silent });
        }
    }

    /// Was the Active Router found dead, so that the role is taken before the Active_Down_Interval?
    pub(super) fn follows_suspicion(&self) -> bool {
        matches!(self.suspicion.round(self.counting), Round::Over(Some(Finding::Dead)))
    }

    /// The role was taken, or given up again: whatever is claimed next is for another reason.
    pub(super) fn forget_suspicion(&mut self) {
        self.suspicion.silence = None;
    }

    /// The Active Router has spoken: if that was long ago, it is asked whether it answers questions.
    pub(super) fn prove(&mut self, cx: &mut Context<'_>) {
        if !self.parameters.suspicion {
            return;
        }
        let Some(rival) = self.rival else { return };
        if self.suspicion.of != Some(rival.address) {
            self.suspicion.of = Some(rival.address);
            self.suspicion.proved = [None; 2];
        }
        let distance = match self.is_proved(rival.heard_at) {
            true => PROVED_EVERY,
            false => rival.interval.duration().max(SPACING),
        };
        if self.suspicion.proof_asked.is_none_or(|at| cx.now - at >= distance) {
            self.suspicion.proof_asked = Some(cx.now);
            cx.actions.push(Action::Inquire { router: self.id });
        }
    }

    /// Somebody shows an address; perhaps one that was asked about.
    pub(super) fn suspect_sighted(
        &mut self,
        path: Path,
        sighting: Sighting,
        arrived: Instant,
        cx: &mut Context<'_>,
    ) {
        let own = if path == Path::First { self.facts.mac } else { self.facts.second_mac };
        if !self.parameters.suspicion || sighting.mac == own {
            return;
        }
        if self.active_at(path) == Some(sighting.address) {
            let index = usize::from(path == Path::Second);
            if sighting.answer && self.suspicion.of == self.rival.map(|rival| rival.address) {
                self.suspicion.proved[index] = self.suspicion.proved[index].max(Some(arrived));
            }
            self.active_host_lives(arrived, cx);
        } else if sighting.answer && path == Path::First {
            let third = self.third_stations().find(|&station| station == sighting.address);
            self.third_answered(third, arrived);
        }
    }

    /// A witness that the caller asks was reached; it was told to at `asked`.
    pub(super) fn suspect_witnessed(&mut self, server: IpAddr, asked: Instant) {
        self.third_answered(Some(server), asked);
    }

    fn third_answered(&mut self, third: Option<IpAddr>, at: Instant) {
        if let Round::Asking(asking) = &mut self.suspicion.round
            && asking.half_at.is_some_and(|half_at| at >= half_at)
        {
            asking.third = asking.third.or(third);
        }
    }

    /// It gets the full interval.
    fn active_host_lives(&mut self, at: Instant, cx: &mut Context<'_>) {
        match self.suspicion.round(self.counting) {
            Round::Asking(asking) if at >= asking.since => {
                self.statistics.suspicions_answered += 1;
                self.find(Finding::Answered, None, cx);
            }
            // Taken for dead, and something else has kept this router from following it so far.
            Round::Over(Some(Finding::Dead))
                if matches!(self.state, State::Willing | State::Backup { .. }) =>
            {
                self.find(Finding::Answered, None, cx);
                if cx.now < self.active_down() {
                    self.state = State::Backup { active_down: self.active_down() };
                }
            }
            _ => {}
        }
    }

    /// Who is asked, and on which interface: the Active Router on each path, and third stations.
    pub(crate) fn inquired(&self) -> impl Iterator<Item = (LinkId, IpAddr)> {
        let link = self.parameters.link;
        let first = self.active_at(Path::First).into_iter().chain(self.third_stations());
        let second_link = self.parameters.second_path.as_ref().map(|path| path.link);
        first.map(move |address| (link, address)).chain(second_link.zip(self.active_at(Path::Second)))
    }

    /// Stations of the router's own link that are asked for reasons of their own, or say that we are not cut
    /// off.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = IpAddr> {
        let path = self.parameters.second_path.iter().flat_map(SecondPath::stations);
        path.chain(self.parameters.witness.iter().flat_map(Witness::neighbours))
    }

    fn third_stations(&self) -> impl Iterator<Item = IpAddr> {
        let active = self.active_at(Path::First);
        self.neighbours().filter(move |&station| Some(station) != active)
    }

    /// The address of the Active Router itself on a path, if it has one.
    fn active_at(&self, path: Path) -> Option<IpAddr> {
        let router = self.rival?.address;
        match path {
            Path::First => Some(router),
            Path::Second => {
                let mut peers = self.parameters.second_path.iter().flat_map(|path| path.peers.iter());
                peers.find(|peer| peer.router == router).map(|peer| peer.address)
            }
        }
    }

    /// It is the silence of a living Active Router that is counted, and silence would say something.
    fn may_suspect(&self) -> bool {
        let spoke_last =
            |rival: &Rival| rival.is_active && rival.heard_at == self.counting.from && !self.lower_ignored;
        !self.counting.resigned
            && self.rival.as_ref().is_some_and(spoke_last)
            && self.is_proved(self.counting.from)
    }

    /// Has the Active Router answered lately on each path, and can it be asked there now?
    fn is_proved(&self, now: Instant) -> bool {
        let lately = |at: Option<Instant>| at.is_some_and(|at| now - at < PROVED_FOR);
        let [first, second] = self.suspicion.proved;
        let one_path = self.parameters.second_path.is_none();
        let same = self.suspicion.of == self.rival.map(|rival| rival.address);
        same && lately(first) && (one_path || lately(second) && self.facts.second_source.is_some())
    }

    /// When the advertisement after the last one is late.
    fn late_at(&self) -> Instant {
        let interval = self.active_adver_interval.duration();
        self.counting.from + interval + LATE_LEAST.max(interval / LATE_PART)
    }

    /// When this router may follow a dead one: in the order of the ranks, as with the Active_Down_Interval.
    fn claim_early_at(&self) -> Instant {
        self.late_at() + WINDOW + self.active_adver_interval.skew_time(self.priority())
    }

    /// What an observer may see of it, where it is configured.
    pub(super) fn suspicion(&self, now: Instant) -> Option<SuspicionSnapshot> {
        self.parameters.suspicion.then(|| SuspicionSnapshot {
            ready: matches!(self.state, State::Backup { .. }) && self.may_suspect(),
            last: self.suspicion.last.map(|(finding, of, third, at)| LastSuspicion {
                finding,
                of,
                third,
                ago: now - at,
            }),
        })
    }
}
