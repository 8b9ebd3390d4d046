//! Two or three hosts with a group of two or three members, each member on a segment of its own, in
//! virtual time. A segment can be cut in one direction; kernels take their time and may refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use vrrp_proto::action::{Action, Input, Order, OrderOutcome, Outcome, Report, Ticket};
use vrrp_proto::node::MESSAGE_MAX;
use vrrp_proto::packet::{ChecksumForm, Datagram, encode};
use vrrp_proto::parameters::{Facts, GroupId, InterfaceState, LinkId, Parameters, RouterId, VirtualAddress};
use vrrp_proto::snapshot::{RouterSnapshot, StateName};
use vrrp_proto::tracking::{Effect, TrackerId, TrackerState, Tracking};
use vrrp_proto::{AdverInterval, Instant, MacAddress, Node, Priority, Vrid};

use super::keepalived::Keepalived;
use super::random::Random;
use super::scene;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const GROUP: GroupId = GroupId(3);
const TRACKERS: [(TrackerId, Effect); 3] =
    [(TrackerId(0), Effect::Demote), (TrackerId(1), Effect::Fault), (TrackerId(2), Effect::Weight(-60))];

/// A mistake around the nodes, which must be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The members are not told that they are a group.
    Ungrouped,
    /// All members but the first are told so.
    OneUngrouped,
    /// Nobody is told that the second member lost its link.
    LossUnseen,
}

impl Bug {
    pub(crate) const ALL: [Self; 3] = [Self::Ungrouped, Self::OneUngrouped, Self::LossUnseen];
}

/// What a seed or a test decides before the run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// For each host, for each member.
    pub(crate) priorities: Vec<Vec<u8>>,
    /// For each member, centiseconds.
    pub(crate) intervals: Vec<u16>,
    pub(crate) preempt_mode: Vec<bool>,
    /// The first host runs keepalived.
    pub(crate) keepalived: bool,
}

impl Settings {
    pub(crate) fn pair(priorities: [[u8; 2]; 2]) -> Self {
        Self {
            priorities: priorities.map(|host| host.to_vec()).to_vec(),
            intervals: vec![100, 100],
            preempt_mode: vec![true, true],
            keepalived: false,
        }
    }

    pub(crate) fn draw(random: &mut Random) -> Self {
        let (hosts, members) = (random.pick(&[2, 2, 3]), random.pick(&[2, 2, 3]));
        let alike = random.one_in(2);
        let mut priority = || random.pick(&[1, 50, 99, 100, 100, 100, 150, 200, 254]);
        let mut of_host = || match alike {
            true => vec![priority(); members],
            false => (0..members).map(|_| priority()).collect(),
        };
        let priorities = (0..hosts).map(|_| of_host()).collect();
        let first = random.pick(&[10, 30, 100]);
        let intervals = (0..members)
            .map(|_| if random.one_in(3) { random.pick(&[10, 30, 100]) } else { first })
            .collect();
        let preempts = !random.one_in(4);
        let preempt_mode = (0..hosts).map(|_| preempts != random.one_in(6)).collect();
        Self { priorities, intervals, preempt_mode, keepalived: random.one_in(4) }
    }

    /// The longest interval, ns.
    pub(crate) fn slowest(&self) -> u64 {
        self.intervals.iter().map(|&interval| u64::from(interval) * 10 * MS).max().unwrap_or_default()
    }

    fn interval(&self, member: usize) -> u64 {
        u64::from(self.intervals[member]) * 10 * MS
    }

    /// Addresses rise with the host on the first segment and fall on the second: a tie is decided
    /// one way here and the other way there.
    fn rank_of_address(&self, member: usize, host: usize) -> usize {
        if member.is_multiple_of(2) { host } else { self.priorities.len() - 1 - host }
    }

    fn source(&self, member: usize, host: usize) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, (10 + 40 * member + self.rank_of_address(member, host)) as u8).into()
    }

    fn address(&self, member: usize) -> IpAddr {
        Ipv4Addr::new(198, 51, 100, 1 + member as u8).into()
    }

    fn parameters(&self, host: usize, member: usize, bug: Option<Bug>) -> Parameters {
        let told = match bug {
            Some(Bug::Ungrouped) => false,
            Some(Bug::OneUngrouped) => member != 0,
            _ => true,
        };
        Parameters {
            link: LinkId(member as u16),
            // The order of the group is not that of its numbers.
            vrid: Vrid::new(60 - member as u8).expect("not zero"),
            priority: Priority::new(self.priorities[host][member]),
            interval: AdverInterval::from_centiseconds(self.intervals[member]).expect("in range"),
            addresses: [VirtualAddress { ip: self.address(member), prefix_len: 32, interface: None }].into(),
            preempt_mode: self.preempt_mode[host],
            leased: true,
            tracking: TRACKERS.into_iter().map(|(tracker, effect)| Tracking { tracker, effect }).collect(),
            sync_group: told.then_some(GROUP),
            ..scene::parameters()
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Deliver { to: usize, from: usize, member: usize, priority: u8 },
    Wake { host: usize },
    Answer { host: usize, life: u32, router: RouterId, ticket: Ticket, outcomes: Vec<Outcome> },
}

enum Program {
    Off,
    Vrrpd(Box<Node>),
    Keepalived(Keepalived),
}

struct Host {
    program: Program,
    life: u32,
    wake_at: u64,
    link_up: Vec<bool>,
    refuses: Vec<bool>,
    active: Vec<bool>,
    drained: BTreeSet<usize>,
    ordered: Option<(usize, bool)>,
    /// Since when some members are Active and some are not.
    mixed_since: Option<u64>,
    /// Times that a member became Active.
    takeovers: usize,
    /// Times that a member asked for a better one.
    questions: usize,
}

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) now: u64,
    bug: Option<Bug>,
    random: Random,
    queue: BTreeMap<(u64, u64), Event>,
    number: u64,
    hosts: Vec<Host>,
    cuts: BTreeSet<(usize, usize, usize)>,
    trackers: Vec<[TrackerState; 3]>,
    violation: Option<String>,
    /// A member is about to join or to leave.
    pub(crate) half_roles: bool,
    pub(crate) log: Vec<String>,
}

impl World {
    pub(crate) fn new(settings: Settings, seed: u64, bug: Option<Bug>) -> Self {
        let members = settings.intervals.len();
        let host = || Host {
            program: Program::Off,
            life: 0,
            wake_at: u64::MAX,
            link_up: vec![true; members],
            refuses: vec![false; members],
            active: vec![false; members],
            drained: BTreeSet::new(),
            ordered: None,
            mixed_since: None,
            takeovers: 0,
            questions: 0,
        };
        let hosts: Vec<Host> = settings.priorities.iter().map(|_| host()).collect();
        Self {
            trackers: vec![[TrackerState::Passing; 3]; hosts.len()],
            settings,
            now: 1000 * 1000 * MS,
            bug,
            random: Random::new(seed),
            queue: BTreeMap::new(),
            number: 0,
            hosts,
            cuts: BTreeSet::new(),
            violation: None,
            half_roles: false,
            log: Vec::new(),
        }
    }

    fn members(&self) -> std::ops::Range<usize> {
        0..self.settings.intervals.len()
    }

    pub(crate) fn hosts(&self) -> std::ops::Range<usize> {
        0..self.hosts.len()
    }

    // What happens to the hosts.

    pub(crate) fn start(&mut self, host: usize) {
        self.start_with(host, self.members(), None);
    }

    /// Starts again at once, and finds the addresses that it left behind.
    pub(crate) fn restart(&mut self, host: usize) {
        self.off(host);
        self.start_with(host, self.members(), Some(Instant::from_nanos(self.now)));
    }

    pub(crate) fn start_with(
        &mut self,
        host: usize,
        members: std::ops::Range<usize>,
        left_over: Option<Instant>,
    ) {
        if !matches!(self.hosts[host].program, Program::Off) {
            return;
        }
        self.note(format!("{host} starts"));
        self.hosts[host].life += 1;
        if self.settings.keepalived && host == 0 && self.hosts[0].link_up.contains(&false) {
            // In FAULT until the link comes, which starts it.
            return;
        }
        if self.settings.keepalived && host == 0 {
            let settings = &self.settings;
            let member = |member| {
                let (priority, interval) = (settings.priorities[0][member], settings.interval(member));
                (priority, interval, settings.rank_of_address(member, 0))
            };
            let keepalived = Keepalived::new(self.members().map(member), self.now);
            self.hosts[host].program = Program::Keepalived(keepalived);
            return self.wake_keepalived(host);
        }
        self.hosts[host].program = Program::Vrrpd(Box::default());
        let trackers = TRACKERS.into_iter().zip(self.trackers[host]);
        let mut inputs: Vec<Input<'static>> =
            trackers.map(|((tracker, _), state)| Input::Tracked { tracker, state }).collect();
        for member in members.clone() {
            let parameters = Box::new(self.settings.parameters(host, member, self.bug));
            inputs.push(Input::Configure { router: RouterId(member as u16), parameters });
            let drained = self.hosts[host].drained.contains(&member);
            let order = Order::Drain { force: true };
            inputs.extend(drained.then_some(Input::Order {
                router: RouterId(member as u16),
                number: 0,
                order,
            }));
        }
        inputs.extend(members.map(|member| self.facts(host, member, left_over)));
        self.turn(host, inputs);
    }

    /// A reload adds a member to the group.
    pub(crate) fn add(&mut self, host: usize, member: usize) {
        let parameters = Box::new(self.settings.parameters(host, member, None));
        let configure = Input::Configure { router: RouterId(member as u16), parameters };
        self.turn(host, vec![configure, self.facts(host, member, None)]);
    }

    /// A reload takes one out of the configuration.
    pub(crate) fn remove(&mut self, host: usize, member: usize) {
        let router = RouterId(member as u16);
        self.turn(host, vec![Input::Shutdown { router }]);
        self.run(4 * self.settings.slowest());
        self.turn(host, vec![Input::Remove { router }]);
    }

    pub(crate) fn crash(&mut self, host: usize) {
        self.note(format!("{host} crashes"));
        self.off(host);
    }

    pub(crate) fn link(&mut self, host: usize, member: usize, up: bool) {
        self.note(format!("link {member} of {host} up: {up}"));
        self.hosts[host].link_up[member] = up;
        if matches!(self.hosts[host].program, Program::Keepalived(_)) {
            let said = match &mut self.hosts[host].program {
                Program::Keepalived(keepalived) => keepalived.leave(),
                _ => Vec::new(),
            };
            said.into_iter().for_each(|(member, priority)| self.say(host, member, priority));
            self.off(host);
            if self.hosts[host].link_up.iter().all(|up| *up) {
                self.start(host);
            }
        } else if self.bug != Some(Bug::LossUnseen) || member != 1 {
            let facts = self.facts(host, member, None);
            self.turn(host, vec![facts]);
        }
    }

    pub(crate) fn cut(&mut self, member: usize, from: usize, to: usize, cut: bool) {
        self.note(format!("segment {member} from {from} to {to} cut: {cut}"));
        if cut {
            self.cuts.insert((member, from, to));
        } else {
            self.cuts.remove(&(member, from, to));
        }
    }

    pub(crate) fn check(&mut self, host: usize, tracker: usize, state: TrackerState) {
        self.note(format!("check {tracker} of {host}: {state:?}"));
        self.trackers[host][tracker] = state;
        self.turn(host, vec![Input::Tracked { tracker: TRACKERS[tracker].0, state }]);
    }

    pub(crate) fn refuse(&mut self, host: usize, member: usize, refuses: bool) {
        self.note(format!("kernel of {host} refuses the address of {member}: {refuses}"));
        self.hosts[host].refuses[member] = refuses;
    }

    pub(crate) fn order(&mut self, host: usize, member: usize, order: Order) {
        if !matches!(self.hosts[host].program, Program::Vrrpd(_)) {
            return;
        }
        self.note(format!("{host}: {order:?} for {member}"));
        match order {
            Order::Drain { .. } => self.hosts[host].ordered = Some((member, true)),
            Order::Undrain => self.hosts[host].ordered = Some((member, false)),
            _ => {}
        }
        self.turn(host, vec![Input::Order { router: RouterId(member as u16), number: 1, order }]);
    }

    /// Everything that was broken is whole again, and everybody runs.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        for host in self.hosts() {
            for member in self.members() {
                self.refuse(host, member, false);
                if !self.hosts[host].link_up[member] {
                    self.link(host, member, true);
                }
            }
            for tracker in 0..TRACKERS.len() {
                self.check(host, tracker, TrackerState::Passing);
            }
            for member in std::mem::take(&mut self.hosts[host].drained) {
                self.order(host, member, Order::Undrain);
            }
            self.start(host);
        }
    }

    // What is seen.

    pub(crate) fn is_active(&self, host: usize) -> bool {
        self.hosts[host].active.iter().all(|active| *active)
    }

    pub(crate) fn takeovers(&self) -> usize {
        self.hosts.iter().map(|host| host.takeovers).sum()
    }

    /// Each of these may be answered by a member that takes over for the moment until it is heard.
    pub(crate) fn questions(&self) -> usize {
        self.hosts.iter().map(|host| host.questions).sum()
    }

    pub(crate) fn forget_takeovers(&mut self) {
        self.hosts.iter_mut().for_each(|host| (host.takeovers, host.questions) = (0, 0));
    }

    pub(crate) fn snapshot(&self, host: usize, member: usize) -> Option<RouterSnapshot> {
        let Program::Vrrpd(node) = &self.hosts[host].program else { return None };
        node.snapshot(RouterId(member as u16), Instant::from_nanos(self.now))
    }

    /// Nothing happens any more: each host has all roles or none, and nobody shares one.
    pub(crate) fn judge_settled(&self) -> Result<(), String> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        for (index, host) in self.hosts.iter().enumerate() {
            if host.active.iter().any(|active| *active != host.active[0]) {
                return Err(format!("host {index} has half a role: {:?}", host.active));
            }
            if host.active.iter().zip(&host.link_up).any(|(active, up)| *active && !up) {
                return Err(format!("host {index} is Active on a link that is down"));
            }
        }
        Ok(())
    }

    /// With nothing broken: one host has the role, and none would preempt it.
    pub(crate) fn judge_whole(&self) -> Result<(), String> {
        self.judge_settled()?;
        let active: Vec<usize> = self.hosts().filter(|&host| self.is_active(host)).collect();
        let [active] = active[..] else { return Err(format!("hosts {active:?} are Active")) };
        let rank = |host: usize| self.settings.priorities[host].iter().min().copied();
        let yielded = |host: usize| {
            let standing = |member| self.snapshot(host, member).map(|snapshot| snapshot.standing);
            self.members().any(|member| standing(member) == Some(vrrp_proto::snapshot::Standing::Yielded))
        };
        let better =
            |&host: &usize| self.settings.preempt_mode[host] && rank(host) > rank(active) && !yielded(host);
        match self.hosts().find(better).filter(|_| !self.settings.keepalived) {
            Some(better) => Err(format!("host {active} is Active though host {better} has the higher rank")),
            None => Ok(()),
        }
    }

    // How time passes.

    pub(crate) fn run(&mut self, time: u64) {
        let end = self.now + time;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
            self.judge_half_roles();
            if self.violation.is_some() {
                return;
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { host } if self.hosts[host].wake_at == self.now => match self.hosts[host].program {
                Program::Keepalived(_) => self.wake_keepalived(host),
                _ => self.turn(host, Vec::new()),
            },
            Event::Wake { .. } => {}
            Event::Answer { host, life, router, ticket, outcomes } if self.hosts[host].life == life => {
                let input = |outcome| Input::Outcome { router, ticket, outcome };
                self.turn(host, outcomes.into_iter().map(input).collect());
            }
            Event::Answer { .. } => {}
            Event::Deliver { to, from, member, priority } => self.deliver(to, from, member, priority),
        }
    }

    /// A daemon wakes up, reads what came, and looks at its timers.
    fn turn(&mut self, host: usize, inputs: Vec<Input<'_>>) {
        let now = Instant::from_nanos(self.now);
        let mut actions = Vec::new();
        let Program::Vrrpd(node) = &mut self.hosts[host].program else { return };
        for input in [Input::Woke].into_iter().chain(inputs).chain([Input::Drained]) {
            node.handle(input, now, &mut actions);
        }
        let next = node.poll_timeout().map_or(u64::MAX, Instant::as_nanos);
        if next <= self.now {
            self.violation = Some(format!("host {host} is drained and its timer has run out already"));
        }
        self.hosts[host].wake_at = next;
        self.push(next, Event::Wake { host });
        actions.into_iter().for_each(|action| self.perform(host, action));
    }

    fn perform(&mut self, host: usize, action: Action) {
        match action {
            Action::Advertise { router, priority } => self.say(host, usize::from(router.0), priority.get()),
            Action::Acquire(wanted) => {
                let member = usize::from(wanted.router.0);
                let refused = self.hosts[host].refuses[member];
                let each = wanted.range.clone().map(|index| match refused {
                    true => Outcome::Refused { index, errno: 13 },
                    false => Outcome::Added { index, foreign: false },
                });
                let outcomes = each.chain([Outcome::Acquired]).collect();
                self.answer(host, wanted.router, wanted.ticket, outcomes);
            }
            Action::Release { ownership: gone, .. } => {
                self.answer(host, gone.router, gone.ticket, vec![Outcome::Released]);
            }
            Action::Report(Report::Transition { router, from, to, reason, .. }) => {
                let member = usize::from(router.0);
                self.note(format!("{host}.{member} {} {}", to.as_str(), reason.as_str()));
                let host = &mut self.hosts[host];
                host.active[member] = to == StateName::Active;
                host.takeovers += usize::from(to == StateName::Active && from != to);
            }
            Action::Report(Report::Asking { .. }) => self.hosts[host].questions += 1,
            Action::Report(Report::Ordered { outcome, .. }) => {
                self.note(format!("{host}: {outcome:?}"));
                let void = matches!(outcome, OrderOutcome::NobodyFollowed | OrderOutcome::Refused(_));
                match self.hosts[host].ordered.take() {
                    Some((member, true)) if !void => drop(self.hosts[host].drained.insert(member)),
                    Some((member, false)) => drop(self.hosts[host].drained.remove(&member)),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn answer(&mut self, host: usize, router: RouterId, ticket: Ticket, outcomes: Vec<Outcome>) {
        let (life, at) = (self.hosts[host].life, self.now + self.random.below(2 * MS));
        self.push(at, Event::Answer { host, life, router, ticket, outcomes });
    }

    fn say(&mut self, from: usize, member: usize, priority: u8) {
        if !self.hosts[from].link_up[member] {
            return;
        }
        for to in self.hosts().filter(|&to| to != from) {
            let reaches = self.hosts[to].link_up[member] && !self.cuts.contains(&(member, from, to));
            if reaches {
                let at = self.now + self.random.within(MS / 10, MS);
                self.push(at, Event::Deliver { to, from, member, priority });
            }
        }
    }

    fn deliver(&mut self, to: usize, from: usize, member: usize, priority: u8) {
        let now = self.now;
        match &mut self.hosts[to].program {
            Program::Off => {}
            Program::Keepalived(keepalived) => {
                let address = self.settings.rank_of_address(member, from);
                let said = keepalived.hear(member, priority, address, now);
                said.into_iter().for_each(|(member, priority)| self.say(to, member, priority));
                self.wake_keepalived(to);
            }
            Program::Vrrpd(_) => {
                let Parameters { vrid, interval, .. } = self.settings.parameters(from, member, None);
                let (source, list) = (self.settings.source(member, from), [self.settings.address(member)]);
                let destination = vrrp_proto::Family::Ipv4.group();
                let (priority, form) = (Priority::new(priority), ChecksumForm::PseudoHeader);
                let mut message = [0; MESSAGE_MAX];
                let length = encode(&mut message, vrid, priority, interval, &list, source, destination, form)
                    .expect("the advertisement is sound");
                let datagram = Datagram { source, destination, hop_limit: 255, payload: &message[..length] };
                let (link, arrived) = (LinkId(member as u16), Instant::from_nanos(now));
                self.turn(to, vec![Input::Received { link, datagram, arrived }]);
            }
        }
    }

    fn wake_keepalived(&mut self, host: usize) {
        let now = self.now;
        let Program::Keepalived(keepalived) = &mut self.hosts[host].program else { return };
        let said = keepalived.timeout(now);
        let (master, next) = (keepalived.is_master, keepalived.poll_timeout());
        if self.hosts[host].active[0] != master {
            self.note(format!("{host} keepalived is master: {master}"));
            let members = self.members().len();
            self.hosts[host].takeovers += if master { members } else { 0 };
            self.hosts[host].active.fill(master);
        }
        self.hosts[host].wake_at = next;
        self.push(next, Event::Wake { host });
        said.into_iter().for_each(|(member, priority)| self.say(host, member, priority));
    }

    fn off(&mut self, host: usize) {
        self.hosts[host].program = Program::Off;
        self.hosts[host].life += 1;
        self.hosts[host].active.fill(false);
    }

    fn facts(&self, host: usize, member: usize, left_over: Option<Instant>) -> Input<'static> {
        let up = self.hosts[host].link_up[member];
        let facts = Facts {
            interface: if up { InterfaceState::Up } else { InterfaceState::Down },
            mac: MacAddress::new([2, 0, 0, 0, member as u8, host as u8]),
            device: false,
            second_source: None,
            second_mac: MacAddress::default(),
            source: Some(self.settings.source(member, host)),
            owned: false,
            left_over,
        };
        Input::Facts { router: RouterId(member as u16), facts }
    }

    /// Half a role lasts no longer than the kernel needs for a claim.
    fn judge_half_roles(&mut self) {
        let bound = 4 * MS;
        for (index, host) in self.hosts.iter_mut().enumerate() {
            let mixed = host.active.iter().any(|active| *active != host.active[0]);
            if !mixed || self.half_roles {
                host.mixed_since = None;
            } else if self.now > *host.mixed_since.get_or_insert(self.now) + bound {
                self.violation = Some(format!("host {index} has half a role for long: {:?}", host.active));
            }
        }
    }

    fn push(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.queue.insert((at, self.number), event);
    }

    fn note(&mut self, line: String) {
        self.log.push(format!("{:>10.3} {line}", (self.now - 1000 * 1000 * MS) as f64 / 1000.0 / MS as f64));
    }
}
