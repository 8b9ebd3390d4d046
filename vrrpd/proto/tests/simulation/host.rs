//! One host: a daemon that may or may not run, and what outlives it.

use std::time::Duration;

use vrrp_proto::action::{Input, Order, Outcome, Ownership, Ticket};
use vrrp_proto::parameters::{Facts, Parameters, RouterId};
use vrrp_proto::snapshot::{Phase, StateName, Verdict};
use vrrp_proto::tracking::{Effect, TrackerId, TrackerState};
use vrrp_proto::{Family, Node, Priority};

use super::fence::Fence;
use super::kernel::{Answer, Kernel};
use super::settings::{HOSTS_MAX, MS, TRACKERS};
use super::world::Frame;

/// Drift is told in millionths.
const MILLION: u64 = 1_000_000;
/// People's clock, when the machines started.
const SINCE_1970: Duration = Duration::from_secs(1_700_000_000);
/// Every host has one Virtual Router.
pub(crate) const ROUTER: RouterId = RouterId(0);

/// The number of orders that somebody waits for: one at a time.
pub(crate) const OPERATOR: u32 = 1;

/// What the daemon's loop hears besides packets.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Configure(Box<Parameters>),
    Facts(Facts),
    Tracked(TrackerId, TrackerState),
    Outcome(Ticket, Outcome),
    /// By an operator, who waits for what comes of it.
    Order(Order),
    /// Kept from an earlier life: nobody waits.
    Standing(Order),
    Shutdown,
}

impl News {
    pub(crate) fn input(self) -> Input<'static> {
        match self {
            Self::Configure(parameters) => Input::Configure { router: ROUTER, parameters },
            Self::Facts(facts) => Input::Facts { router: ROUTER, facts },
            Self::Tracked(tracker, state) => Input::Tracked { tracker, state },
            Self::Outcome(ticket, outcome) => Input::Outcome { router: ROUTER, ticket, outcome },
            Self::Order(order) => Input::Order { router: ROUTER, number: OPERATOR, order },
            Self::Standing(order) => Input::Order { router: ROUTER, number: 0, order },
            Self::Shutdown => Input::Shutdown { router: ROUTER },
        }
    }
}

/// The operator's orders, as a daemon keeps them across restarts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) drained: bool,
    pub(crate) yielded: bool,
    pub(crate) frozen: Option<[TrackerState; 3]>,
    /// Given and not answered.
    pub(crate) waiting: Option<Order>,
}

impl Orders {
    /// What a daemon that starts is told.
    pub(crate) fn standing(&self) -> Vec<Order> {
        let drained = self.drained.then_some(Order::Drain { force: true });
        let yielded = self.yielded.then_some(Order::Yield);
        let frozen = self.frozen.map(|states| Order::Freeze(TRACKERS.into_iter().zip(states).collect()));
        drained.into_iter().chain(yielded).chain(frozen).collect()
    }
}

/// The interval in an advertisement.
pub(crate) fn interval_told(payload: &[u8]) -> u64 {
    let centiseconds = match payload[0] >> 4 {
        2 => u64::from(payload[5]) * 100,
        _ => u64::from(payload[4] & 0x0f) << 8 | u64::from(payload[5]),
    };
    centiseconds * 10 * MS
}

/// What came from one other host to our socket, whatever the daemon made of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overheard {
    pub(crate) at: u64,
    pub(crate) priority: u8,
    pub(crate) interval: u64,
}

pub(crate) struct Host {
    pub(crate) parameters: Parameters,
    pub(crate) node: Option<Node>,
    /// Counts the daemon's processes, so that nothing of an earlier one reaches a later one.
    pub(crate) life: u32,
    pub(crate) kernel: Kernel,
    pub(crate) inbox: Vec<(Frame, u64)>,
    pub(crate) news: Vec<News>,
    pub(crate) run_at: u64,
    /// When its kernel looks for addresses that have expired.
    pub(crate) expire_at: u64,
    pub(crate) last_run: u64,
    pub(crate) clock: u64,
    /// By how many millionths its clock is too fast.
    pub(crate) drift: i64,
    /// For how long its machine has been suspended: `CLOCK_MONOTONIC` stood still meanwhile.
    pub(crate) asleep: u64,
    /// Its last sleep: for how long, and until when.
    pub(crate) slept: (u64, u64),
    /// What people have set their clock ahead by.
    pub(crate) set_ahead: u64,
    pub(crate) stalled_at: u64,
    pub(crate) stalled_until: u64,
    pub(crate) link_up: bool,
    pub(crate) send_fails: bool,
    pub(crate) health: [TrackerState; 3],
    /// What the daemon was told of its checks.
    pub(crate) told: [TrackerState; 3],
    /// When the last result of each that is on its way to the daemon gets there.
    pub(crate) told_by: [u64; 3],
    /// Preempt_Mode, as the daemon was told last.
    pub(crate) preempts: bool,
    pub(crate) orders: Orders,
    pub(crate) gone: bool,
    /// By when a daemon that was told to stop must be gone.
    pub(crate) gone_by: Option<u64>,
    /// When its daemon woke up for the first time, and read its clocks.
    pub(crate) begun_at: u64,
    pub(crate) died_at: u64,
    /// As reported.
    pub(crate) state: StateName,
    pub(crate) asking: bool,
    pub(crate) phase: Phase,
    /// As it showed itself after its last run.
    pub(crate) priority: Option<Priority>,
    pub(crate) client_lan: Option<TrackerState>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) since: u64,
    pub(crate) overheard: [Overheard; HOSTS_MAX],
    pub(crate) release_overheard: u64,
    /// Of each other host and path the newest sequence of a keyed advertisement: what it overtook is no
    /// sign of life (`protocol.md` 6.4).
    newest: [[u64; 2]; HOSTS_MAX],
    /// The addresses that it found at start were renewed then, by a clock that stands still in a sleep.
    pub(crate) left_over: u64,
    /// Since when it holds addresses without being Active or about to be.
    pub(crate) holding_since: Option<u64>,
    /// Priority of the last advertisement that was no resignation.
    pub(crate) spoke_last: Option<Priority>,
    /// When it spoke last, in this life or the one before.
    pub(crate) spoke_at: u64,
    /// The interval that it told then.
    pub(crate) spoke_interval: u64,
    /// When it asked last who still has an address, if somebody did.
    pub(crate) contradicted_at: Option<u64>,
    /// When it found the Active Router dead, if nothing has come of that yet.
    pub(crate) found_dead_at: Option<u64>,
    /// Since when peers and witnesses answer it.
    pub(crate) answered_since: Option<u64>,
    /// Since when nobody answers it, if that has to mean something to it.
    pub(crate) cut_off_since: Option<u64>,
    /// It took no part, or asked by order whether anybody is there: nobody's silence means anything to it.
    pub(crate) undecided: bool,
    /// Its last word, in this life or the one before, was priority 0, its kernel knows that, and has not let go of
    /// what was given up.
    pub(crate) resigned: bool,
}

impl Host {
    pub(crate) fn new(parameters: Parameters, drift: i64) -> Self {
        let lifetime = lifetime(&parameters);
        Self {
            kernel: Kernel::new(parameters.addresses.len(), lifetime, Fence::new(&parameters)),
            parameters,
            node: None,
            life: 0,
            inbox: Vec::new(),
            news: Vec::new(),
            run_at: u64::MAX,
            expire_at: u64::MAX,
            last_run: 0,
            clock: 0,
            drift,
            asleep: 0,
            slept: (0, 0),
            set_ahead: 0,
            stalled_at: 0,
            stalled_until: 0,
            link_up: true,
            send_fails: false,
            health: [TrackerState::Passing; 3],
            told: [TrackerState::Pending; 3],
            told_by: [0; 3],
            preempts: false,
            orders: Orders::default(),
            gone: false,
            gone_by: None,
            begun_at: 0,
            died_at: 0,
            state: StateName::Initialize,
            asking: false,
            phase: Phase::Settled,
            priority: None,
            client_lan: None,
            verdict: None,
            since: 0,
            overheard: [Overheard::default(); HOSTS_MAX],
            release_overheard: 0,
            newest: [[0; 2]; HOSTS_MAX],
            left_over: 0,
            holding_since: None,
            spoke_last: None,
            spoke_at: 0,
            spoke_interval: 0,
            contradicted_at: None,
            found_dead_at: None,
            answered_since: None,
            cut_off_since: None,
            undecided: true,
            resigned: false,
        }
    }

    /// What its clock says.
    pub(crate) fn local(&self, now: u64) -> u64 {
        let awake = now.saturating_sub(self.asleep);
        if self.drift == 0 {
            return awake;
        }
        // In two parts, so that it stays within 64 bits.
        let (millions, rest) = ((awake / MILLION) as i64, (awake % MILLION) as i64);
        awake.wrapping_add_signed(millions * self.drift + rest * self.drift / MILLION as i64)
    }

    /// When its clock will say that.
    pub(crate) fn when(&self, local: u64) -> u64 {
        if self.drift == 0 {
            return local + self.asleep;
        }
        let counts = MILLION.wrapping_add_signed(self.drift);
        let about = local / counts * MILLION + local % counts * MILLION / counts;
        (about.max(1) - 1 + self.asleep..).find(|&at| self.local(at) >= local).unwrap_or(u64::MAX)
    }

    /// What the other clocks say at the origin of that one.
    pub(crate) fn clocks(&self) -> Input<'static> {
        let boot = Duration::from_nanos(self.asleep);
        Input::Clocks { wall: SINCE_1970 + boot + Duration::from_nanos(self.set_ahead), boot }
    }

    pub(crate) fn begin_life(&mut self) {
        self.end_life(self.died_at);
        self.node = Some(Node::new());
    }

    /// The process ends; the kernel stays.
    pub(crate) fn end_life(&mut self, now: u64) {
        self.node = None;
        self.life += 1;
        self.died_at = now;
        // What the kernel was not told before the end, nobody can know after it.
        self.resigned &= !self.kernel.abandon();
        self.inbox.clear();
        self.news.clear();
        self.run_at = u64::MAX;
        self.stalled_until = 0;
        self.gone = false;
        self.gone_by = None;
        self.told = [TrackerState::Pending; 3];
        self.told_by = [0; 3];
        self.orders.waiting = None;
        self.state = StateName::Initialize;
        self.asking = false;
        self.phase = Phase::Settled;
        self.priority = None;
        self.client_lan = None;
        self.verdict = None;
        self.overheard.fill(Overheard::default());
        self.release_overheard = 0;
        self.newest = [[0; 2]; HOSTS_MAX];
        self.holding_since = None;
        self.spoke_last = None;
        self.contradicted_at = None;
        self.found_dead_at = None;
        self.answered_since = None;
        self.cut_off_since = None;
    }

    /// Remembers what reached the socket.
    pub(crate) fn overhear(&mut self, from: usize, on_second: bool, payload: &[u8], now: u64) {
        if let Some(sequence) = keyed_sequence(payload, self.parameters.family) {
            let newest = &mut self.newest[from][usize::from(on_second)];
            if sequence <= *newest {
                return;
            }
            *newest = sequence;
        }
        let priority = payload[2];
        if priority == 0 {
            self.release_overheard = now;
        } else {
            self.overheard[from] = Overheard { at: now, priority, interval: interval_told(payload) };
        }
    }

    /// Takes part: it runs, and the others can hear it.
    pub(crate) fn takes_part(&self) -> bool {
        self.node.is_some() && self.link_up && !self.send_fails
    }

    /// Nothing keeps it from being Active.
    pub(crate) fn fit(&self) -> bool {
        let health = self.orders.frozen.unwrap_or(self.health);
        let fault = self.parameters.tracking.iter().any(|tracking| {
            tracking.effect == Effect::Fault
                && health[usize::from(tracking.tracker.0)] == TrackerState::Failing
        });
        let willing = self.gone_by.is_none() && !self.orders.drained;
        self.takes_part() && willing && !fault && !self.kernel.refuse.contains(&true)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.node.is_some() && self.state == StateName::Active
    }

    /// It runs, and the others can hear it.
    pub(crate) fn is_up(&self, now: u64) -> bool {
        self.takes_part() && !self.is_stalled(now)
    }

    pub(crate) fn is_stalled(&self, now: u64) -> bool {
        self.stalled_until > now
    }
}

/// `lease = "auto"`, in whole seconds.
pub(crate) fn lifetime(parameters: &Parameters) -> u64 {
    let interval = parameters.interval.duration().as_nanos() as u64;
    (3 * interval / (1000 * MS)).saturating_sub(1).max(2)
}

/// Time and counter of the trailer behind an advertisement, if there is one.
fn keyed_sequence(payload: &[u8], family: Family) -> Option<u64> {
    let address = if family == Family::Ipv4 { 4 } else { 16 };
    let authentication = if payload[0] >> 4 == 2 { 8 } else { 0 };
    let trailer = payload.get(8 + usize::from(payload[3]) * address + authentication..)?;
    let octets = trailer.get(4..12)?.try_into().expect("8 octets");
    Some(u64::from_be_bytes(octets))
}

/// What a shell would tell that does not wait for the kernel.
pub(crate) fn pretend(ownership: &Ownership) -> Vec<Answer> {
    let added = ownership.range.clone().map(|index| Outcome::Added { index, foreign: false });
    added.chain([Outcome::Acquired]).map(|outcome| (ownership.ticket, outcome)).collect()
}
