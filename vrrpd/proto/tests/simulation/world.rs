//! Hosts with real nodes on a modelled LAN, in virtual time: one queue of events, one seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use vrrp_proto::action::{Action, Input, Order, Report};
use vrrp_proto::node::MESSAGE_MAX;
use vrrp_proto::packet::{Datagram, Sighting};
use vrrp_proto::parameters::{Facts, InterfaceState, LinkId, Parameters};
use vrrp_proto::tracking::TrackerState;
use vrrp_proto::{Instant, MacAddress, Node};

use super::host::{Host, News, ROUTER};
use super::judge;
use super::kernel::Request;
use super::plan::{self, Disturbance};
use super::random::Random;
use super::settings::{Bug, Flavour, MS, SECOND_LINK, Settings, TRACKERS};

/// What a firewall answers to a sender.
const EPERM: i32 = 1;
/// Events that a report shows.
const SHOWN: usize = 40;

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    source: IpAddr,
    destination: IpAddr,
    link: LinkId,
    payload: Rc<[u8]>,
}

/// What goes over the wire.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    Advert(Packet),
    Announcement(Sighting),
}

impl Frame {
    fn is_on_second(&self) -> bool {
        matches!(self, Self::Advert(packet) if packet.link == SECOND_LINK)
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    Run { host: usize },
    Deliver { from: usize, to: usize, frame: Frame, late: bool },
    Serve { host: usize, life: u32 },
    Expire { host: usize },
    Tell { host: usize, life: u32, news: News },
    Disturb(Disturbance),
    NextRound,
}

/// State of the LAN.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) loss_percent: u64,
    pub(crate) delay: u64,
}

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) random: Random,
    pub(crate) bug: Option<Bug>,
    pub(crate) now: u64,
    pub(crate) hosts: Vec<Host>,
    /// `cut[from][to]`: nothing gets through in this direction. The last one is not a host but the
    /// station that stands for the clients.
    pub(crate) cut: Vec<Vec<bool>>,
    /// The same of the second path.
    pub(crate) cut_second: Vec<Vec<bool>>,
    /// What has happened is no reason for a transition ([`Flavour::Planned`]).
    pub(crate) still: bool,
    pub(crate) weather: Weather,
    /// A network at peace keeps the packets of one sender in order.
    last_delivery: Vec<Vec<u64>>,
    /// Since when nothing disturbs.
    pub(crate) calm_since: u64,
    pub(crate) rounds_left: u32,
    pub(crate) violation: Option<String>,
    /// No address may be without a holder any more (only [`Flavour::Planned`]).
    pub(crate) held_once: bool,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    log: VecDeque<(u64, String)>,
    verbose: bool,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let settings = Settings::draw(&mut random);
        let hosts = settings.hosts.iter().map(|parameters| Host::new(parameters.clone())).collect::<Vec<_>>();
        let mut world = Self {
            cut: vec![vec![false; hosts.len() + 1]; hosts.len() + 1],
            cut_second: vec![vec![false; hosts.len()]; hosts.len()],
            still: false,
            last_delivery: vec![vec![0; hosts.len()]; hosts.len()],
            rounds_left: if settings.flavour == Flavour::Planned { 5 } else { 3 },
            settings,
            random,
            bug,
            now: 0,
            hosts,
            weather: Weather::default(),
            calm_since: 0,
            violation: None,
            held_once: false,
            queue: BTreeMap::new(),
            sequence: 0,
            log: VecDeque::new(),
            verbose: false,
        };
        plan::begin(&mut world);
        world
    }

    /// Runs to the end of the plan. The error is the first violation, with what led to it.
    pub(crate) fn run(mut self) -> Result<(), String> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            if matches!(event, Event::NextRound) && !plan::next_round(&mut self) {
                return Ok(());
            }
            self.happen(event);
            judge::after_event(&mut self);
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        Ok(())
    }

    /// The same run again, with the last events written down.
    pub(crate) fn explain(seed: u64, bug: Option<Bug>) -> String {
        let mut world = Self::new(seed, bug);
        world.verbose = true;
        let settings = world.summary();
        while let Some(((at, _), event)) = world.queue.pop_first() {
            world.now = at;
            if matches!(event, Event::NextRound) && !plan::next_round(&mut world) {
                break;
            }
            world.happen(event);
            judge::after_event(&mut world);
            if world.violation.is_some() {
                break;
            }
        }
        let mut text = settings;
        for (at, line) in &world.log {
            text.push_str(&format!("\n{:>12.3} ms  {line}", *at as f64 / MS as f64));
        }
        text
    }

    pub(crate) fn violate(&mut self, what: String) {
        if self.violation.is_none() {
            let at = self.now as f64 / MS as f64;
            self.violation = Some(format!("at {at:.3} ms: {what}"));
        }
    }

    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), event);
    }

    /// The network or a host is not at peace now.
    pub(crate) fn disturbed(&mut self) {
        self.calm_since = self.calm_since.max(self.now);
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.verbose {
            self.log.push_back((self.now, line()));
            while self.log.len() > SHOWN {
                self.log.pop_front();
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Run { host } if self.hosts[host].run_at == self.now => {
                self.hosts[host].run_at = u64::MAX;
                self.run_host(host);
            }
            Event::Run { .. } | Event::NextRound => {}
            Event::Deliver { from, to, frame, late } => self.deliver(from, to, frame, late),
            Event::Serve { host, life } if life == self.hosts[host].life => self.serve(host),
            Event::Serve { .. } => {}
            Event::Expire { host } => self.expire(host),
            Event::Tell { host, life, news } if life == self.hosts[host].life => self.tell(host, news),
            Event::Tell { .. } => {}
            Event::Disturb(disturbance) => {
                self.note(|| format!("   *  {disturbance:?}"));
                self.disturbed();
                plan::disturb(self, disturbance);
            }
        }
    }

    // --- a daemon -------------------------------------------------------------------------------

    /// Starts the daemon: it reads its configuration, opens its sockets, and looks at its host.
    pub(crate) fn start(&mut self, index: usize) {
        let left_over = self.hosts[index].kernel.left_over();
        let host = &mut self.hosts[index];
        host.begin_life();
        host.left_over = left_over.unwrap_or_default();
        let parameters = host.parameters.clone();
        self.tell(index, News::Configure(Box::new(parameters)));
        for order in self.hosts[index].orders.standing() {
            let forgotten = match order {
                Order::Drain { .. } => self.bug == Some(Bug::DrainForgotten),
                Order::Yield => self.bug == Some(Bug::YieldForgotten),
                _ => self.bug == Some(Bug::FreezeForgotten),
            };
            if !forgotten {
                self.tell(index, News::Order(order));
            }
        }
        let facts = self.facts(index, left_over);
        self.tell(index, News::Facts(facts));
        for tracker in TRACKERS {
            self.check_result(index, tracker, None);
        }
    }

    /// A check of the host decides, now or soon.
    pub(crate) fn check_result(
        &mut self,
        host: usize,
        tracker: vrrp_proto::tracking::TrackerId,
        state: Option<TrackerState>,
    ) {
        if let Some(state) = state {
            self.hosts[host].health[usize::from(tracker.0)] = state;
        }
        let state = self.hosts[host].health[usize::from(tracker.0)];
        let at = self.now + self.random.below(2 * self.settings.interval);
        self.calm_since = self.calm_since.max(at);
        let life = self.hosts[host].life;
        self.push(at, Event::Tell { host, life, news: News::Tracked(tracker, state) });
    }

    pub(crate) fn facts(&self, host: usize, left_over: Option<u64>) -> Facts {
        let up = self.hosts[host].link_up;
        let told =
            if self.bug == Some(Bug::WrongSource) { self.settings.hosts.len() - 1 - host } else { host };
        Facts {
            interface: if up { InterfaceState::Up } else { InterfaceState::Down },
            mac: mac(host),
            second_source: self.settings.second_sources.get(host).copied(),
            device: true,
            source: Some(self.settings.sources[told]),
            owned: false,
            left_over: left_over.map(Instant::from_nanos),
        }
    }

    pub(crate) fn tell(&mut self, host: usize, news: News) {
        if self.hosts[host].node.is_some() {
            if let News::Tracked(tracker, state) = news {
                self.hosts[host].told[usize::from(tracker.0)] = state;
            }
            self.hosts[host].news.push(news);
            let at = self.now + self.random.below(self.settings.latency);
            self.schedule(host, at);
        }
    }

    pub(crate) fn schedule(&mut self, host: usize, at: u64) {
        let at = at.max(self.hosts[host].stalled_until).max(self.now);
        if at < self.hosts[host].run_at {
            self.hosts[host].run_at = at;
            self.push(at, Event::Run { host });
        }
    }

    /// One wake-up, in the order of the loop's contract.
    fn run_host(&mut self, host: usize) {
        let Some(node) = &self.hosts[host].node else { return };
        let deadline = node.poll_timeout().map(Instant::as_nanos);
        self.hosts[host].clock = self.hosts[host].clock.max(self.now);
        self.hosts[host].last_run = self.now;
        if let (Some(Bug::TimersEarly), Some(deadline)) = (self.bug, deadline)
            && deadline <= self.now + self.settings.interval / 2
        {
            self.hosts[host].clock = self.hosts[host].clock.max(deadline);
        }
        let (frames, news) = self.hosts[host].take_waiting();
        self.input(host, Input::Woke);
        if self.bug == Some(Bug::TimersBeforePackets) {
            self.input(host, Input::Drained);
        }
        for (frame, arrived) in &frames {
            let arrived = if self.bug == Some(Bug::ArrivalIsReading) { self.now } else { *arrived };
            self.read(host, frame, Instant::from_nanos(arrived));
        }
        for news in news {
            self.note(|| format!("{host}  ?  {news:?}"));
            self.input(host, news.input());
        }
        self.input(host, Input::Drained);
        if self.bug == Some(Bug::GhostAdvertisements) {
            self.haunt(host);
        }
        judge::after_run(self, host);
        let next = self.hosts[host].node.as_ref().and_then(Node::poll_timeout).map(Instant::as_nanos);
        if let Some(next) = next {
            let early = if self.bug == Some(Bug::TimersEarly) { self.settings.interval / 2 } else { 0 };
            let late = self.random.below(self.settings.latency / 4);
            self.schedule(host, (next + late).saturating_sub(early));
        }
    }

    fn read(&mut self, host: usize, frame: &Frame, arrived: Instant) {
        let link = LinkId(0);
        match frame {
            Frame::Advert(Packet { link, .. })
                if *link == SECOND_LINK && self.bug == Some(Bug::SecondPathUnread) => {}
            &Frame::Advert(Packet { ref source, ref destination, link, ref payload }) => {
                let datagram =
                    Datagram { source: *source, destination: *destination, hop_limit: 255, payload };
                self.note(|| format!("{host} <-  priority {} from {source}", payload[2]));
                self.input(host, Input::Received { link, datagram, arrived });
            }
            &Frame::Announcement(sighting) => {
                self.note(|| format!("{host} <-  {} is at {}", sighting.address, sighting.mac));
                self.input(host, Input::Sighted { link, sighting, arrived });
            }
        }
    }

    /// One input, and the performing of what comes of it.
    fn input(&mut self, host: usize, input: Input<'_>) {
        let now = Instant::from_nanos(self.hosts[host].clock);
        let Some(node) = &mut self.hosts[host].node else { return };
        let mut actions = Vec::new();
        node.handle(input, now, &mut actions);
        judge::actions(self, host, &actions);
        let mut next = 0;
        while let Some(action) = actions.get(next).cloned() {
            next += 1;
            self.perform(host, action, &mut actions);
        }
    }

    /// Says what was said before, though the node is silent.
    fn haunt(&mut self, host: usize) {
        if let Some(priority) = self.hosts[host].spoke_last.filter(|_| !self.hosts[host].is_active()) {
            self.send(host, priority);
        }
    }

    fn perform(&mut self, host: usize, action: Action, actions: &mut Vec<Action>) {
        let now = Instant::from_nanos(self.hosts[host].clock);
        match action {
            Action::Advertise { priority, .. } => {
                self.note(|| format!("{host}  -> priority {priority}"));
                if priority.is_release() && self.bug == Some(Bug::ReleaseAtOnce) {
                    self.hosts[host].kernel.table.fill(None);
                }
                self.hosts[host].resigned = priority.is_release();
                if !priority.is_release() {
                    self.hosts[host].spoke_last = Some(priority);
                }
                let (sent, failed) = self.send(host, priority);
                if let Some(node) = &mut self.hosts[host].node {
                    let errno = EPERM;
                    node.handle(Input::Sent { router: ROUTER, priority, sent, failed, errno }, now, actions);
                }
            }
            Action::Announce { range, .. } => {
                self.announce(host, range.clone(), true);
                if let Some(node) = &mut self.hosts[host].node {
                    let sent = range.end - range.start;
                    node.handle(Input::Announced { router: ROUTER, sent, failed: 0 }, now, actions);
                }
            }
            Action::AskClientLan { .. } => self.ask_client_lan(host),
            Action::Acquire(ownership) => {
                if self.bug == Some(Bug::AnnouncedEarly) {
                    self.announce(host, ownership.range.clone(), false);
                }
                self.request(host, Request::Acquire(ownership));
            }
            Action::Release(ownership) => self.request(host, Request::Release(ownership)),
            Action::Renew(ownership) => self.request(host, Request::Renew(ownership)),
            Action::Disclaim(ownership) => self.request(host, Request::Disclaim(ownership)),
            Action::Report(report) => {
                self.note(|| format!("{host}  !  {report:?}"));
                if matches!(report, Report::Gone { .. }) {
                    self.hosts[host].gone = true;
                }
            }
        }
    }

    // --- the wire ---------------------------------------------------------------------------------

    /// For how many destinations the kernel took it, and for how many not.
    fn send(&mut self, host: usize, priority: vrrp_proto::Priority) -> (u16, u16) {
        let Some(node) = self.hosts[host].node.take() else { return (0, 0) };
        let (mut sent, mut failed) = (0, 0);
        let mut buffer = [0; MESSAGE_MAX];
        let destinations: Vec<IpAddr> = node.destinations(ROUTER).collect();
        for destination in destinations {
            let Some(length) = node.advertisement(ROUTER, priority, destination, &mut buffer) else {
                continue;
            };
            if self.hosts[host].send_fails {
                failed += 1;
                continue;
            }
            sent += 1;
            let way = node.way(ROUTER, destination).expect("it is one of the destinations");
            let source = if way.link == SECOND_LINK { way.source } else { self.settings.sources[host] };
            let packet = Packet { source, destination, link: way.link, payload: buffer[..length].into() };
            self.carry(host, Frame::Advert(packet));
        }
        self.hosts[host].node = Some(node);
        (sent, failed)
    }

    /// Tells everybody where the addresses are that the node has, or that it does not have yet.
    fn announce(&mut self, host: usize, range: std::ops::Range<u16>, present: bool) {
        let Some(node) = self.hosts[host].node.as_ref().filter(|_| !self.hosts[host].send_fails) else {
            return;
        };
        let meant = node.addresses(ROUTER).skip(range.start.into()).take(range.len());
        let addresses: Vec<IpAddr> =
            meant.filter(|each| each.present == present).map(|each| each.address).collect();
        let Parameters { virtual_mac, vrid, family, .. } = self.settings.hosts[host];
        let mac = if virtual_mac { vrid.mac(family) } else { mac(host) };
        for address in addresses {
            self.carry(host, Frame::Announcement(Sighting { address, mac, announced: true, answer: false }));
        }
    }

    fn carry(&mut self, from: usize, frame: Frame) {
        if let Frame::Advert(packet) = &frame
            && self.bug == Some(Bug::ReleasesFiltered)
            && packet.payload[2] == 0
        {
            return;
        }
        let second = frame.is_on_second();
        for to in 0..self.hosts.len() {
            let addressed = match &frame {
                Frame::Advert(packet) if second => packet.destination == self.settings.second_sources[to],
                Frame::Advert(packet) => {
                    packet.destination.is_multicast() || packet.destination == self.settings.sources[to]
                }
                Frame::Announcement(_) => true,
            };
            let cut = match second {
                true => self.cut_second[from][to],
                false => self.cut[from][to] || !self.hosts[from].link_up,
            };
            let copies = if self.random.one_in(50) { 2 } else { 1 };
            for _ in 0..copies {
                let lost = self.random.below(100) < self.weather.loss_percent;
                if to == from || !addressed || lost || cut {
                    continue;
                }
                let extra = self.random.below(self.weather.delay + 1);
                let mut at = self.now + 1 + self.random.below(self.settings.latency) + extra;
                if self.settings.flavour == Flavour::Planned {
                    at = at.max(self.last_delivery[from][to] + 1);
                }
                self.last_delivery[from][to] = at;
                let late = extra > 0;
                self.push(at, Event::Deliver { from, to, frame: frame.clone(), late });
            }
        }
    }

    /// Kernels answer for their own addresses whether or not a daemon runs; so does the station.
    fn ask_client_lan(&mut self, host: usize) {
        let Some(node) = &self.hosts[host].node else { return };
        let stations: Vec<IpAddr> = node.stations(ROUTER).collect();
        for address in stations {
            let station = self.settings.sources.iter().position(|&source| source == address);
            let station = station.unwrap_or(self.hosts.len());
            let lost = self.random.below(100) < self.weather.loss_percent;
            let answers = self.bug == Some(Bug::LanSaidToAnswer) || self.reaches(host, station) && !lost;
            if answers {
                let at = self.now + 2 + self.random.below(2 * self.settings.latency);
                let answer = Sighting { address, mac: mac(station), announced: false, answer: true };
                let frame = Frame::Announcement(answer);
                self.push(at, Event::Deliver { from: station, to: host, frame, late: false });
            }
        }
    }

    /// Do questions and answers get through on the clients' LAN?
    pub(crate) fn reaches(&self, host: usize, station: usize) -> bool {
        let up = |index: usize| self.hosts.get(index).is_none_or(|host| host.link_up);
        up(host) && up(station) && !self.cut[host][station] && !self.cut[station][host]
    }

    fn deliver(&mut self, from: usize, to: usize, frame: Frame, late: bool) {
        if late {
            self.disturbed();
        }
        if let Frame::Advert(packet) = &frame {
            judge::delivered(self, from, &packet.payload);
        }
        let host = &mut self.hosts[to];
        if host.node.is_none() || !host.link_up && !frame.is_on_second() {
            return;
        }
        if let Frame::Advert(packet) = &frame {
            host.overhear(from, frame.is_on_second(), &packet.payload, self.now);
        }
        host.inbox.push((frame, self.now));
        let at = self.now + self.random.below(self.settings.latency / 4);
        self.schedule(to, at);
    }

    // --- the kernel -------------------------------------------------------------------------------

    fn request(&mut self, host: usize, request: Request) {
        let delay = 1 + self.random.below(self.settings.kernel_delay);
        let life = self.hosts[host].life;
        if self.bug == Some(Bug::OutcomesEarly)
            && let Request::Acquire(ownership) = &request
        {
            for (ticket, outcome) in super::host::pretend(ownership) {
                self.tell(host, News::Outcome(ticket, outcome));
            }
            let at = self.hosts[host].kernel.submit(request, self.now, 30 * MS + delay);
            return self.push(at, Event::Serve { host, life });
        }
        let at = self.hosts[host].kernel.submit(request, self.now, delay);
        self.push(at, Event::Serve { host, life });
    }

    fn serve(&mut self, host: usize) {
        let answers = self.hosts[host].kernel.serve(self.now, &mut self.random, self.bug);
        self.note(|| format!("{host}  =  {answers:?}"));
        for (ticket, outcome) in answers {
            self.tell(host, News::Outcome(ticket, outcome));
        }
        if let Some(at) = self.hosts[host].kernel.next_expiry() {
            self.push(at, Event::Expire { host });
        }
    }

    fn expire(&mut self, host: usize) {
        if self.bug == Some(Bug::LeaseNotEnforced) {
            return;
        }
        for (ticket, outcome) in self.hosts[host].kernel.expire(self.now) {
            self.note(|| format!("{host}  =  expired: {outcome:?}"));
            self.lost(host, ticket, outcome);
        }
        if let Some(at) = self.hosts[host].kernel.next_expiry() {
            self.push(at, Event::Expire { host });
        }
    }

    pub(crate) fn lost(
        &mut self,
        host: usize,
        ticket: vrrp_proto::action::Ticket,
        outcome: vrrp_proto::action::Outcome,
    ) {
        if self.bug != Some(Bug::LossUnseen) {
            self.tell(host, News::Outcome(ticket, outcome));
        }
    }

    fn summary(&self) -> String {
        let Settings { flavour, interval, preempt_delay, .. } = &self.settings;
        let paths = if self.settings.second_sources.is_empty() { "one path" } else { "two paths" };
        let mut text = format!(
            "{flavour:?}, {paths}, longest interval {} ms, preempt_delay {} ms, settled after {} ms",
            interval / MS,
            preempt_delay / MS,
            self.settings.settle() / MS
        );
        for (index, host) in self.settings.hosts.iter().enumerate() {
            let Parameters { priority, interval, preempt_mode, tracking, peers, addresses, .. } = host;
            text.push_str(&format!(
                "\nhost {index}: {}, priority {priority}, interval {interval}, preempt_mode {preempt_mode}, \
                 {} addresses, {} peers, tracking {tracking:?}",
                self.settings.sources[index],
                addresses.len(),
                peers.len()
            ));
        }
        text
    }
}

fn mac(host: usize) -> MacAddress {
    MacAddress::new([2, 0, 0, 0, 0, host as u8])
}
