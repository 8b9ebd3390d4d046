//! Two routers of one node, and a story that octets tell: what is heard, seen, ordered and answered,
//! and how time passes. The fuzz target `node` is this file, too.
//!
//! The first octets choose what is configured, each later one the next thing that happens, and those
//! behind it the values. Where no octet is left, it is 0.

use std::net::IpAddr;
use std::time::Duration;

use vrrp_proto::action::{Action, Input, Order, Outcome, Ownership, Report, Ticket};
use vrrp_proto::node::{ANNOUNCEMENT_MAX, MESSAGE_MAX};
use vrrp_proto::packet::{
    Advert, ChecksumForm, Datagram, Key, ParseError, Password, Rules, Sequence, Sighting, arp, encode,
};
use vrrp_proto::parameters::{
    Announcements, Authentication, Facts, GroupId, InterfaceState, KeyMode, Keyring, Network, OnConflict,
    Parameters, Replay, RouterId, SecondPath, SecondPeer,
};
use vrrp_proto::snapshot::{Phase, StateName};
use vrrp_proto::tracking::{Effect, TrackerId, TrackerState, Tracking};
use vrrp_proto::{AdverInterval, Family, Instant, Node, Priority, Version, Vrid};

use crate::scene::{LINK, OTHER_MAC, OWN_MAC, SECOND_LINK, VRID, addresses, facts, ip, parameters};

const ROUTERS: [RouterId; 2] = [RouterId(0), RouterId(1)];
/// No input leads to more actions of one router.
const ACTIONS_MAX: usize = 64;
/// A story that goes on shows nothing new.
const STEPS_MAX: usize = 4096;

/// Tells the story, and looks after each step whether the node keeps to its rules.
pub(crate) fn run(octets: &[u8]) {
    let mut octets = Octets(octets);
    let mut world = World::new(&mut octets);
    for _ in 0..STEPS_MAX {
        if octets.0.is_empty() {
            break;
        }
        world.step(&mut octets);
    }
}

/// The rest of the story.
struct Octets<'a>(&'a [u8]);

impl Octets<'_> {
    fn next(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    fn yes(&mut self) -> bool {
        self.next() % 2 == 1
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.next()) % choices.len()].clone()
    }

    fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.next(), self.next()])
    }

    /// From nothing to two weeks, finer where it is shorter.
    fn duration(&mut self) -> Duration {
        Duration::from_nanos(u64::from(self.number()) << (self.next() % 36))
    }

    fn rest(&mut self, most: usize) -> Vec<u8> {
        (0..self.0.len().min(most)).map(|_| self.next()).collect()
    }
}

struct World {
    node: Node,
    now: Instant,
    configured: [Option<Parameters>; ROUTERS.len()],
    /// Requests that the kernel has not answered.
    requests: Vec<Request>,
    /// What advertisements meet: the destinations that take them.
    taken: u16,
    /// Has the kernel ever said what is not so?
    lied: bool,
    /// What the kernel was asked for last, for each router: to have its addresses?
    asked_to_hold: [bool; ROUTERS.len()],
    ticket: [Ticket; ROUTERS.len()],
    sequence: Sequence,
}

#[derive(Clone, Debug)]
enum Request {
    Acquire(Ownership),
    Release(Ownership),
}

impl World {
    fn new(octets: &mut Octets<'_>) -> Self {
        let mut world = Self {
            node: Node::new(),
            now: Instant::from_nanos(1_000_000_000_000),
            configured: [const { None }; ROUTERS.len()],
            requests: Vec::new(),
            taken: u16::MAX,
            lied: false,
            asked_to_hold: [false; ROUTERS.len()],
            ticket: [Ticket::default(); ROUTERS.len()],
            sequence: Sequence::default(),
        };
        for router in ROUTERS {
            world.configure(router, octets);
            world.facts(router, octets);
        }
        world
    }

    // --- what happens -----------------------------------------------------------------------------

    fn step(&mut self, octets: &mut Octets<'_>) {
        let kind = octets.next() % 24;
        let router = octets.of(&ROUTERS);
        match kind {
            0..3 => self.now = self.now.max(self.node.poll_timeout().unwrap_or(self.now)),
            3 => self.now = self.now + octets.duration(),
            4 => return self.input(Input::Woke),
            5..8 => return self.advertisement(router, octets),
            8 => return self.octets(router, octets),
            9 => return self.input(Input::Damaged { link: LINK, error: ParseError::Fragment }),
            10 | 11 => return self.sighting(router, octets),
            12 => return self.facts(router, octets),
            13 => {
                let tracker = TrackerId(octets.next().into());
                return self.input(Input::Tracked { tracker, state: tracker_state(octets) });
            }
            14 | 15 => return self.serve(octets),
            16 => return self.lie(router, octets),
            17 => self.taken = octets.of(&[u16::MAX, 0, 1]),
            18 => {
                // Clocks of machines end in 2232 (`settimeofday` refuses more).
                let origin = Duration::from_secs(u64::from(octets.number()) << 17);
                return self.input(Input::Clocks { wall: origin, boot: origin });
            }
            19 => return self.configure(router, octets),
            20 => return self.input(Input::Shutdown { router }),
            21 => return self.remove(router),
            22 => return self.order(router, octets),
            _ => {
                let (sent, failed) = (octets.number(), octets.number());
                return self.input(Input::Announced { router, sent, failed });
            }
        }
        self.input(Input::Woke);
        self.input(Input::Drained);
        let next = self.node.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "it waits for the past: {next:?} at {:?}", self.now);
    }

    fn configure(&mut self, router: RouterId, octets: &mut Octets<'_>) {
        let index = usize::from(router.0);
        let mut wanted = settings(router, octets);
        if let Some(before) = &self.configured[index] {
            // The caller removes and adds instead where one of these changes.
            let Parameters { link, vrid, family, priority, .. } = *before;
            if wanted.family != family || wanted.priority.is_owner() != priority.is_owner() {
                return;
            }
            wanted = Parameters { link, vrid, ..wanted };
        }
        self.configured[index] = Some(wanted.clone());
        self.input(Input::Configure { router, parameters: Box::new(wanted) });
    }

    fn remove(&mut self, router: RouterId) {
        if self.node.is_gone(router) {
            self.configured[usize::from(router.0)] = None;
            self.requests.retain(|request| request.ownership().router != router);
            self.input(Input::Remove { router });
        }
    }

    fn facts(&mut self, router: RouterId, octets: &mut Octets<'_>) {
        let Some(parameters) = &self.configured[usize::from(router.0)] else { return };
        let own = sources(parameters.family)[0];
        let flags = octets.next();
        let states = [InterfaceState::Up, InterfaceState::Up, InterfaceState::Down, InterfaceState::Missing];
        let seen = Facts {
            interface: states[usize::from(flags % 4)],
            device: flags & 4 == 0,
            source: (flags & 8 == 0).then_some(ip(own)),
            second_mac: OWN_MAC,
            second_source: (flags & 16 == 0).then_some(ip("198.51.100.3")),
            owned: flags & 32 == 0,
            left_over: (flags & 64 != 0).then(|| Instant::from_nanos(self.now.as_nanos() - 1_000_000_000)),
            ..facts(own)
        };
        if seen.left_over.is_some() {
            // They are there and nobody asked for them.
            self.lied = true;
        }
        self.input(Input::Facts { router, facts: seen });
    }

    fn advertisement(&mut self, router: RouterId, octets: &mut Octets<'_>) {
        let Some(parameters) = self.configured[usize::from(router.0)].clone() else { return };
        let shape = octets.next();
        let list: Vec<IpAddr> = if shape & 1 == 0 && !parameters.advertised().is_empty() {
            parameters.advertised().iter().map(|address| address.ip).collect()
        } else {
            vec![ip(sources(parameters.family)[1])]
        };
        let second = shape & 2 != 0 && parameters.second_path.is_some();
        let [own, others @ ..] = sources(parameters.family).map(ip);
        let (source, destination) = match (second, shape & 4 == 0) {
            (true, _) => (ip("198.51.100.2"), ip("198.51.100.3")),
            (false, true) => (octets.of(&others), parameters.group()),
            (false, false) => (octets.of(&[others[0], others[1], own]), own),
        };
        let priority = Priority::new(octets.of(&[0, 1, 99, 100, 101, 150, 254, 255]));
        let interval = if shape & 8 == 0 { parameters.interval } else { interval(octets) };
        let form = octets.of(&[ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly]);
        let mut message = [0; MESSAGE_MAX];
        let written =
            encode(&mut message, parameters.vrid, priority, interval, &list, source, destination, form);
        let Ok(mut length) = written else { return };
        match &parameters.authentication {
            Authentication::Password(_) => password().stamp(&mut message[..length]),
            Authentication::Keyed(_) if shape & 16 == 0 => {
                self.sequence = if shape & 32 == 0 { self.sequence.next() } else { self.sequence };
                let sealed = key().seal(&mut message, length, self.sequence, source, destination);
                length = sealed.expect("there is room");
            }
            _ => {}
        }
        let link = if second { SECOND_LINK } else { LINK };
        let hop_limit = if shape & 64 == 0 { 255 } else { 254 };
        let datagram = Datagram { source, destination, hop_limit, payload: &message[..length] };
        self.deliver(link, datagram, shape & 128 != 0, octets);
    }

    fn octets(&mut self, router: RouterId, octets: &mut Octets<'_>) {
        let Some(family) = self.configured[usize::from(router.0)].as_ref().map(|it| it.family) else {
            return;
        };
        let [own, source, other] = sources(family).map(ip);
        let destination = octets.of(&[own, family.group(), other]);
        let count = usize::from(octets.next());
        let payload = octets.rest(count);
        let datagram = Datagram { source, destination, hop_limit: 255, payload: &payload };
        self.deliver(LINK, datagram, false, octets);
    }

    fn deliver(
        &mut self,
        link: vrrp_proto::parameters::LinkId,
        datagram: Datagram<'_>,
        sealed: bool,
        octets: &mut Octets<'_>,
    ) {
        if sealed {
            return self.input(Input::Sealed { link, datagram });
        }
        let arrived = self.earlier(octets);
        self.input(Input::Received { link, datagram, arrived });
    }

    /// The kernel's time of something that is only now read.
    fn earlier(&self, octets: &mut Octets<'_>) -> Instant {
        let ago = u64::from(octets.next()) << 24;
        Instant::from_nanos(self.now.as_nanos().saturating_sub(ago))
    }

    fn sighting(&mut self, router: RouterId, octets: &mut Octets<'_>) {
        let Some(parameters) = &self.configured[usize::from(router.0)] else { return };
        let [_, peer, other] = sources(parameters.family).map(ip);
        let own = parameters.addresses.first().map_or(other, |address| address.ip);
        let virtual_mac = parameters.vrid.mac(parameters.family);
        let flags = octets.next();
        let sighting = Sighting {
            address: octets.of(&[own, peer, other]),
            mac: octets.of(&[OTHER_MAC, OWN_MAC, virtual_mac]),
            announced: flags & 1 != 0,
            answer: flags & 2 != 0,
        };
        let (link, arrived) = (octets.of(&[LINK, SECOND_LINK]), self.earlier(octets));
        self.input(Input::Sighted { link, sighting, arrived });
    }

    fn order(&mut self, router: RouterId, octets: &mut Octets<'_>) {
        let order = match octets.next() % 9 {
            0 => Order::Drain { force: octets.yes() },
            1 => Order::Undrain,
            2 => Order::HandOver,
            3 => Order::Yield,
            4 => Order::TakeBack,
            5 => {
                let frozen =
                    (0..octets.next() % 4).map(|tracker| (TrackerId(tracker.into()), tracker_state(octets)));
                Order::Freeze(frozen.collect())
            }
            6 => Order::Unfreeze,
            _ => Order::Announce,
        };
        self.input(Input::Order { router, number: octets.next().into(), order });
    }

    // --- the kernel -------------------------------------------------------------------------------

    /// Answers the oldest request, in whole or as far as the kernel likes.
    fn serve(&mut self, octets: &mut Octets<'_>) {
        if self.requests.is_empty() {
            return;
        }
        let request = self.requests.remove(0);
        let Ownership { router, ticket, range, .. } = request.ownership().clone();
        let refused_from = match octets.next() {
            up_to @ 0..4 => range.start.saturating_add(up_to.into()),
            _ => u16::MAX,
        };
        let foreign = octets.next() == 255;
        let outcomes: Vec<Outcome> = match request {
            Request::Acquire(_) => {
                let tried = range.map(|index| match index < refused_from {
                    true => Outcome::Added { index, foreign },
                    false => Outcome::Refused { index, errno: 13 },
                });
                tried.chain([Outcome::Acquired]).collect()
            }
            Request::Release(_) => vec![Outcome::Released],
        };
        for outcome in outcomes {
            self.input(Input::Outcome { router, ticket, outcome });
        }
    }

    /// Says what may not be so, of addresses that may not be there.
    fn lie(&mut self, router: RouterId, octets: &mut Octets<'_>) {
        let index = u16::from(octets.next() % 5);
        let outcome = match octets.next() % 6 {
            0 => Outcome::Added { index, foreign: octets.yes() },
            1 => Outcome::Refused { index, errno: octets.number().into() },
            2 => Outcome::Acquired,
            3 => Outcome::Released,
            // Which is nobody's lie: whoever has the right can do that at any time.
            _ => {
                let ticket = self.ticket[usize::from(router.0)];
                return self.input(Input::Outcome { router, ticket, outcome: Outcome::Lost { index } });
            }
        };
        self.lied = true;
        self.input(Input::Outcome { router, ticket: self.ticket[usize::from(router.0)], outcome });
    }

    // --- the node ---------------------------------------------------------------------------------

    /// One input, and what comes of it.
    fn input(&mut self, input: Input<'_>) {
        let before = ROUTERS.map(|router| self.place(router));
        let mut actions = Vec::new();
        self.node.handle(input, self.now, &mut actions);
        self.judge(&before, &actions);
        let mut performed = 0;
        while let Some(action) = actions.get(performed).cloned() {
            performed += 1;
            self.perform(action, &mut actions);
            assert!(performed < 4 * ACTIONS_MAX, "what it does leads to more of the same: {actions:?}");
        }
        for router in ROUTERS {
            self.look_at(router);
        }
    }

    /// Who rests has let go of everything that it ever asked for.
    fn look_at(&self, router: RouterId) {
        let Some(snapshot) = self.node.snapshot(router, self.now) else { return };
        let rests =
            snapshot.state != StateName::Active && matches!(snapshot.phase, Phase::Settled | Phase::BackOff);
        let holds = self.asked_to_hold[usize::from(router.0)];
        assert!(!rests || !holds || self.lied, "{router:?} rests, and holds addresses: {snapshot:?}");
    }

    fn place(&self, router: RouterId) -> Option<(StateName, Phase)> {
        self.node.snapshot(router, self.now).map(|snapshot| (snapshot.state, snapshot.phase))
    }

    /// Only who is Active advertises, or resigns.
    fn judge(&self, before: &[Option<(StateName, Phase)>], actions: &[Action]) {
        assert!(actions.len() <= ROUTERS.len() * ACTIONS_MAX, "{} at once: {actions:?}", actions.len());
        for (router, &before) in ROUTERS.into_iter().zip(before) {
            let became = actions.iter().any(|action| match *action {
                Action::Report(Report::Transition { router: whose, to: StateName::Active, .. }) => {
                    whose == router
                }
                _ => false,
            });
            let active = matches!(before, Some((StateName::Active, _))) || became;
            for action in actions {
                let (whose, what) = match action {
                    Action::Advertise { router, .. } => (router, "advertises"),
                    Action::Announce { router, .. } => (router, "announces"),
                    Action::Renew(ownership) => (&ownership.router, "renews"),
                    _ => continue,
                };
                assert!(*whose != router || active, "{router:?} {what}, and was {before:?}: {actions:?}");
            }
        }
    }

    fn perform(&mut self, action: Action, actions: &mut Vec<Action>) {
        match action {
            Action::Advertise { router, priority } => {
                let sent = self.advertise(router, priority);
                let taken = sent.min(self.taken);
                let input = Input::Sent { router, priority, sent: taken, failed: sent - taken, errno: 1 };
                self.node.handle(input, self.now, actions);
            }
            Action::Announce { router, range } => {
                let mut out = [0; ANNOUNCEMENT_MAX];
                let form = arp::GarpForm::Request;
                let written =
                    |&index: &u16| self.node.announcement(router, index, form, None, &mut out).is_some();
                let sent = u16::try_from(range.filter(written).count()).expect("a range of u16");
                self.node.handle(Input::Announced { router, sent, failed: 0 }, self.now, actions);
            }
            Action::AskClientLan { router } => {
                let stations: Vec<IpAddr> = self.node.stations(router).collect();
                for station in stations {
                    self.node.question(router, station, &mut [0; ANNOUNCEMENT_MAX]);
                }
            }
            Action::Inquire { router } => {
                let inquired: Vec<_> = self.node.inquired(router).collect();
                for (link, station) in inquired {
                    self.node.inquiry(router, link, station, &mut [0; ANNOUNCEMENT_MAX]);
                }
            }
            Action::Probe { router } => {
                let probed: Vec<IpAddr> = self.node.probed(router).collect();
                for address in probed {
                    self.node.probe(router, address, &mut [0; ANNOUNCEMENT_MAX]);
                }
            }
            Action::Acquire(ownership) => self.request(true, Request::Acquire(ownership)),
            Action::Release { ownership, .. } => self.request(false, Request::Release(ownership)),
            _ => {}
        }
    }

    fn request(&mut self, hold: bool, request: Request) {
        let Ownership { router, ticket, addresses, range } = request.ownership();
        assert!(usize::from(range.end) <= addresses.len(), "{request:?}");
        let index = usize::from(router.0);
        (self.asked_to_hold[index], self.ticket[index]) = (hold, *ticket);
        self.requests.push(request);
    }

    /// For how many destinations there is a message, each of which its reader finds sound.
    fn advertise(&self, router: RouterId, priority: Priority) -> u16 {
        let mut out = [0; MESSAGE_MAX];
        let mut sent = 0;
        for destination in self.node.destinations(router) {
            let Some(length) = self.node.advertisement(router, priority, destination, &mut out) else {
                continue;
            };
            let source = self.node.way(router, destination).expect("it is one of the destinations").source;
            let datagram = Datagram { source, destination, hop_limit: 255, payload: &out[..length] };
            let advert =
                Advert::parse(&datagram, &Rules::to_identify(&datagram)).expect("what is sent is sound");
            assert_eq!(advert.priority, priority);
            sent += 1;
        }
        sent
    }
}

impl Request {
    fn ownership(&self) -> &Ownership {
        match self {
            Self::Acquire(ownership) | Self::Release(ownership) => ownership,
        }
    }
}

// --- what is configured ---------------------------------------------------------------------------

/// What a configuration file could ask for.
fn settings(router: RouterId, octets: &mut Octets<'_>) -> Parameters {
    let [flags, more, further] = [octets.next(), octets.next(), octets.next()];
    let interval = interval(octets);
    let family =
        if flags & 1 == 0 || interval.version() == Version::V2 { Family::Ipv4 } else { Family::Ipv6 };
    let priority = Priority::new(octets.of(&[100, 150, 1, 254, 255]));
    let owner = priority.is_owner();
    let [_, below, above] = sources(family);
    let both = [below, above];
    let peers = &both[..[0, 0, 1, 2][usize::from(flags >> 1) % 4]];
    let list = match family {
        Family::Ipv4 => ["192.0.2.1", "192.0.2.4", "198.51.100.1"],
        Family::Ipv6 => ["fe80::1", "2001:db8::1", "2001:db8::2"],
    };
    let extra = if owner { 0 } else { u16::from(flags >> 3) % 3 };
    let checks = [Effect::Demote, Effect::Fault, Effect::Alert, Effect::Weight(-20), Effect::Weight(300)];
    let trackers = (0..).map(TrackerId).zip(checks);
    let tracking = trackers.map(|(tracker, effect)| Tracking { tracker, effect });
    let pause = |bit: u8| if more & bit == 0 { Duration::ZERO } else { 3 * interval.duration() };
    let second = SecondPath {
        link: SECOND_LINK,
        peers: [SecondPeer { router: ip(below), address: ip("198.51.100.2") }].into(),
        witnesses: [ip(above)].into(),
    };
    Parameters {
        vrid: Vrid::new(VRID + u8::try_from(router.0).expect("two routers")).expect("not zero"),
        family,
        priority,
        interval,
        authentication: authentication(interval.version(), octets),
        addresses: addresses(&list),
        extra_addresses: extra,
        peers: peers.iter().map(|peer| ip(peer)).collect(),
        virtual_mac: flags & 32 != 0 && !owner,
        second_path: (flags & 64 != 0 && !peers.is_empty() && family == Family::Ipv4).then_some(second),
        suspicion: further & 128 != 0 && !owner,
        allowed: if flags & 128 == 0 {
            [].into()
        } else {
            [Network { address: ip(below), prefix_len: 32 }].into()
        },
        preempt_mode: more & 1 == 0,
        preempt_delay: pause(2),
        on_conflict: if further & 64 == 0 { OnConflict::Claim } else { OnConflict::Hold },
        startup_delay: pause(4),
        carrier_delay: pause(8),
        strict: more & 16 != 0,
        leased: more & 32 != 0,
        fenced: more & 32 != 0,
        tracking: if more & 64 == 0 || owner { Vec::new() } else { tracking.collect() },
        sync_group: (more & 128 != 0 && !owner).then_some(GroupId(0)),
        announcements: Announcements {
            count: 1 + further % 4,
            second_after: if further & 4 == 0 { Duration::ZERO } else { Duration::from_secs(5) },
            refresh: if further & 8 == 0 { Duration::ZERO } else { Duration::from_secs(60) },
            spacing: if further & 16 == 0 { Duration::ZERO } else { Duration::from_millis(5) },
            lower_priority_second_after: if further & 32 == 0 {
                Duration::ZERO
            } else {
                Duration::from_secs(5)
            },
            ..parameters().announcements
        },
        ..parameters()
    }
}

fn authentication(version: Version, octets: &mut Octets<'_>) -> Authentication {
    let mode = octets.of(&[
        None,
        None,
        Some(KeyMode::ReceiveOnly),
        Some(KeyMode::Permissive),
        Some(KeyMode::Enforce),
    ]);
    let Some(mode) = mode else { return Authentication::None };
    if version == Version::V2 {
        return Authentication::Password(password());
    }
    let replay = octets.of(&[Replay::Monotonic, Replay::Time { window: Duration::from_secs(30) }]);
    Authentication::Keyed(Keyring::new(vec![key()], 1, mode, replay).expect("its only key").into())
}

fn interval(octets: &mut Octets<'_>) -> AdverInterval {
    let v3 = AdverInterval::from_centiseconds;
    let choices =
        [v3(100), v3(10), v3(1), v3(4095), AdverInterval::from_seconds(1), AdverInterval::from_seconds(255)];
    octets.of(&choices).expect("in range")
}

fn tracker_state(octets: &mut Octets<'_>) -> TrackerState {
    octets.of(&[TrackerState::Passing, TrackerState::Failing, TrackerState::Pending, TrackerState::Skipped])
}

/// Our own address, one below it and one above it.
fn sources(family: Family) -> [&'static str; 3] {
    match family {
        Family::Ipv4 => ["192.0.2.3", "192.0.2.2", "192.0.2.9"],
        Family::Ipv6 => ["fe80::b", "fe80::a", "fe80::c"],
    }
}

fn password() -> Password {
    Password::new(b"secret").expect("8 octets at most")
}

fn key() -> Key {
    Key::new(1, &[7; Key::LEAST_OCTETS]).expect("a secret that is long enough")
}
