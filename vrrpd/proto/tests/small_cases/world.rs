//! Two or three real nodes, their kernels and what is on the wire between them. A world is a value: what may
//! happen next is a list of steps, and each of them leads to another world.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use vrrp_proto::action::{Action, Input, Order, Outcome, Report, Ticket};
use vrrp_proto::packet::{ChecksumForm, Datagram, Sighting, encode};
use vrrp_proto::parameters::{Facts, InterfaceState, Parameters, RouterId};
use vrrp_proto::snapshot::{Reason, StateName};
use vrrp_proto::tracking::{TrackerId, TrackerState};
use vrrp_proto::{Instant, MacAddress, Node, Priority};

use super::faults::{self, Fault};
use super::judge::{self, Wrong};
use super::kernel::{Kernel, Request};
use super::scene;
use super::snapshot::Inside;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MS;
pub(crate) const ROUTER: RouterId = RouterId(0);
pub(crate) const CHECK: TrackerId = TrackerId(0);
/// `EPERM`
const FORBIDDEN: i32 = 1;
/// Kernels have been up for a while.
const BEGIN: u64 = 1000 * SECOND;

/// A mistake around the nodes, which must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Releases are confirmed and not carried out.
    ReleaseIgnored,
    /// What came in during a stall is not read.
    BacklogDropped,
    /// Nothing ends the lifetime of an address.
    LeaseNotEnforced,
    /// That the role was given up is not noted with the address.
    DisclaimNotNoted,
    /// What a third party removes is not noticed.
    LossUnseen,
}

/// What is explored: who takes part, and what may befall whom.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) hosts: Vec<Parameters>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) bug: Option<Bug>,
}

impl Case {
    /// The longest interval, ns.
    pub(crate) fn interval(&self) -> u64 {
        self.hosts.iter().map(|host| host.interval.duration().as_nanos() as u64).max().unwrap_or_default()
    }

    pub(crate) fn source(host: usize) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, 10 + host as u8).into()
    }
}

/// What goes from one host to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    Advertisement(u8),
    Announcement,
}

/// It arrives at any time until `by`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) what: What,
    pub(crate) by: u64,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Start(usize),
    Wake(usize),
    /// By its place on the wire.
    Deliver(usize),
    Serve(usize),
    Befall(usize, Fault),
    /// Time goes on to the next thing that is due.
    Advance,
}

#[derive(Clone, Debug)]
pub(crate) enum News {
    Outcome(Ticket, Outcome),
    Check(bool),
    HandOver,
    Shutdown,
}

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) node: Option<Node>,
    /// The same for comparing.
    pub(crate) inside: Option<Rc<Inside>>,
    pub(crate) kernel: Kernel,
    pub(crate) inbox: Vec<(Flight, u64)>,
    pub(crate) news: Vec<News>,
    pub(crate) start_at: u64,
    pub(crate) stalled_until: u64,
    pub(crate) mute_until: u64,
    /// Something waits for it.
    pub(crate) runs_at_once: bool,
    pub(crate) check_fails: bool,
    /// It was told to stop, and is to be started again so long after it has gone.
    pub(crate) stops: Option<u64>,
    /// Of the present tenure.
    pub(crate) ticket: Ticket,
    pub(crate) state: StateName,
    /// When it became that, and whether because nobody was heard.
    pub(crate) since: u64,
    pub(crate) by_silence: bool,
    /// The priority in its last advertisement, and whether its kernel knows if that was a resignation.
    pub(crate) last_word: Option<u8>,
    /// It starts, and its last word was a resignation.
    pub(crate) gave_up: bool,
    /// When an advertisement reached its socket last, and the priority in it.
    pub(crate) heard: (u64, u8),
    /// Since when it has not run.
    pub(crate) failed_since: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct World<'a> {
    pub(crate) case: &'a Case,
    pub(crate) now: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) wire: Vec<Flight>,
    /// Until when nothing gets from one to the other.
    pub(crate) cut: Vec<Vec<u64>>,
    pub(crate) faults_left: u8,
    /// The network has kept nothing back so far.
    pub(crate) lossless: bool,
    /// A handover was ordered, and whoever was told so does not preempt.
    pub(crate) ordered: bool,
    /// Since when something is as it must not be for long.
    pub(crate) wrong_since: [Option<u64>; Wrong::ALL.len()],
    pub(crate) violation: Option<String>,
}

impl<'a> World<'a> {
    /// All hosts are to start, each with the delay given for it in tenths of the interval.
    pub(crate) fn new(case: &'a Case, starts: &[u64], faults_left: u8) -> Self {
        let tenth = case.interval() / 10;
        let host = |&start: &u64| Host {
            node: None,
            inside: None,
            kernel: Kernel::new(case.interval() / SECOND * 3 * SECOND - SECOND),
            inbox: Vec::new(),
            news: Vec::new(),
            start_at: BEGIN + start * tenth,
            stalled_until: 0,
            mute_until: 0,
            runs_at_once: false,
            check_fails: false,
            stops: None,
            ticket: Ticket::default(),
            state: StateName::Initialize,
            since: 0,
            by_silence: false,
            last_word: None,
            gave_up: false,
            heard: (0, 0),
            failed_since: None,
        };
        Self {
            case,
            now: BEGIN,
            hosts: starts.iter().map(host).collect(),
            wire: Vec::new(),
            cut: vec![vec![0; starts.len()]; starts.len()],
            faults_left,
            lossless: true,
            ordered: false,
            wrong_since: Default::default(),
            violation: None,
        }
    }

    /// Everything that may happen next. Time stands still until all that is due has been done.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let hosts = || 0..self.hosts.len();
        steps.extend(hosts().filter(|&host| self.starts(host)).map(Step::Start));
        steps.extend(hosts().filter(|&host| self.is_due(host)).map(Step::Wake));
        steps.extend(hosts().filter(|&host| self.serves(host)).map(Step::Serve));
        let late = |flight: &Flight| flight.by <= self.now;
        let pressing = !steps.is_empty() || self.wire.iter().any(late);
        steps.extend((0..self.wire.len()).map(Step::Deliver));
        if !pressing {
            steps.push(Step::Advance);
        }
        if self.faults_left > 0 {
            steps.extend(faults::possible(self));
        }
        steps
    }

    /// The world after a step.
    pub(crate) fn after(&self, step: Step) -> Self {
        let mut world = self.clone();
        world.take(step);
        for host in &mut world.hosts {
            if host.inside.is_none() {
                host.inside = host.node.as_ref().map(|node| Rc::new(Inside::of(node)));
            }
        }
        judge::judge(&mut world);
        world
    }

    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Start(host) => self.start(host),
            Step::Wake(host) => self.run(host),
            Step::Deliver(place) => {
                let flight = self.wire.remove(place);
                self.deliver(flight);
            }
            Step::Serve(host) => {
                let answers = self.hosts[host].kernel.serve(self.now, self.case.bug);
                answers.into_iter().for_each(|answer| self.answer(host, answer));
            }
            Step::Befall(host, fault) => {
                self.faults_left -= 1;
                faults::befall(self, host, fault);
            }
            Step::Advance => self.advance(),
        }
    }

    pub(crate) fn is_stalled(&self, host: usize) -> bool {
        self.hosts[host].stalled_until > self.now
    }

    /// It runs, and everybody hears it.
    pub(crate) fn takes_part(&self, host: usize) -> bool {
        self.hosts[host].node.is_some() && !self.is_stalled(host) && self.hosts[host].mute_until <= self.now
    }

    pub(crate) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    // --- time -------------------------------------------------------------------------------------

    fn starts(&self, host: usize) -> bool {
        self.hosts[host].start_at != 0 && self.hosts[host].start_at <= self.now
    }

    fn is_due(&self, index: usize) -> bool {
        let host = &self.hosts[index];
        let timer = host.node.as_ref().and_then(Node::poll_timeout).map(Instant::as_nanos);
        let due = host.runs_at_once || timer.is_some_and(|at| at <= self.now);
        host.node.is_some() && !self.is_stalled(index) && due
    }

    fn serves(&self, host: usize) -> bool {
        let kernel = &self.hosts[host].kernel;
        !kernel.queue.is_empty() && kernel.slow_until <= self.now
    }

    fn advance(&mut self) {
        let future = |at: u64| Some(at).filter(|&at| at > self.now);
        let of_host = |host: &Host| {
            let timer = host.node.as_ref().and_then(Node::poll_timeout).map(Instant::as_nanos);
            let expires = host.kernel.expires();
            let times = [host.start_at, host.stalled_until, host.mute_until, host.kernel.slow_until];
            times.into_iter().chain(timer).chain(expires).filter_map(future).min()
        };
        let times = self.hosts.iter().filter_map(of_host);
        let wire = self.wire.iter().filter_map(|flight| future(flight.by));
        let cuts = self.cut.iter().flatten().filter_map(|&until| future(until));
        let Some(next) = times.chain(wire).chain(cuts).min() else { return };
        self.now = next;
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            host.runs_at_once |= host.stalled_until == next;
            if host.kernel.expires().is_some_and(|at| at <= next)
                && self.case.bug != Some(Bug::LeaseNotEnforced)
                && let Some(lost) = host.kernel.lose()
            {
                self.answer(index, lost);
            }
        }
    }

    // --- a daemon ---------------------------------------------------------------------------------

    fn start(&mut self, index: usize) {
        let left_over = self.hosts[index].kernel.left_over();
        let host = &mut self.hosts[index];
        host.start_at = 0;
        host.node = Some(Node::new());
        host.failed_since = None;
        host.gave_up = host.last_word == Some(0);
        let facts = Facts {
            interface: InterfaceState::Up,
            mac: mac(index),
            second_source: None,
            second_mac: MacAddress::default(),
            device: true,
            source: Some(Case::source(index)),
            owned: false,
            left_over: left_over.map(Instant::from_nanos),
        };
        let parameters = Box::new(self.case.hosts[index].clone());
        let check = check_input(self.hosts[index].check_fails);
        let inputs = [
            Input::Woke,
            Input::Configure { router: ROUTER, parameters },
            Input::Facts { router: ROUTER, facts },
            check,
            Input::Drained,
        ];
        inputs.into_iter().for_each(|input| self.input(index, input));
        self.hosts[index].gave_up = false;
    }

    /// One wake-up, in the order of the loop's contract.
    fn run(&mut self, host: usize) {
        let mut inbox = std::mem::take(&mut self.hosts[host].inbox);
        if self.case.bug == Some(Bug::BacklogDropped) {
            inbox.retain(|(_, at)| *at == self.now);
        }
        let news = std::mem::take(&mut self.hosts[host].news);
        self.hosts[host].runs_at_once = false;
        self.hosts[host].failed_since = None;
        self.input(host, Input::Woke);
        for (flight, at) in inbox {
            self.read(host, flight, Instant::from_nanos(at));
        }
        for news in news {
            let input = match news {
                News::Outcome(ticket, outcome) => Input::Outcome { router: ROUTER, ticket, outcome },
                News::Check(fails) => check_input(fails),
                News::HandOver => Input::Order { router: ROUTER, number: 1, order: Order::HandOver },
                News::Shutdown => Input::Shutdown { router: ROUTER },
            };
            self.input(host, input);
        }
        self.input(host, Input::Drained);
        let now = Instant::from_nanos(self.now);
        if let Some(late) =
            self.hosts[host].node.as_ref().and_then(Node::poll_timeout).filter(|&at| at <= now)
        {
            self.violate(format!("host {host} is drained and its timer has run out already: {late:?}"));
        }
    }

    fn read(&mut self, host: usize, flight: Flight, arrived: Instant) {
        let link = scene::LINK;
        let sender = &self.case.hosts[flight.from];
        let address = sender.addresses[0].ip;
        match flight.what {
            What::Advertisement(priority) => {
                let (source, to) = (Case::source(flight.from), Case::source(host));
                let destination =
                    if sender.peers.is_empty() { Ipv4Addr::new(224, 0, 0, 18).into() } else { to };
                let Parameters { vrid, interval, .. } = *sender;
                let (mut octets, form) = ([0; 64], ChecksumForm::PseudoHeader);
                let priority = Priority::new(priority);
                let length =
                    encode(&mut octets, vrid, priority, interval, &[address], source, destination, form)
                        .expect("it fits");
                let payload = &octets[..length];
                let datagram = Datagram { source, destination, hop_limit: 255, payload };
                self.input(host, Input::Received { link, datagram, arrived });
            }
            What::Announcement => {
                let sighting = Sighting { address, mac: mac(flight.from), announced: true, answer: false };
                self.input(host, Input::Sighted { link, sighting, arrived });
            }
        }
    }

    fn input(&mut self, host: usize, input: Input<'_>) {
        let now = Instant::from_nanos(self.now);
        let Host { node: Some(node), inside, .. } = &mut self.hosts[host] else { return };
        *inside = None;
        let mut actions = Vec::new();
        node.handle(input, now, &mut actions);
        let mut next = 0;
        while let Some(action) = actions.get(next).cloned() {
            next += 1;
            self.perform(host, action, &mut actions);
        }
    }

    fn perform(&mut self, index: usize, action: Action, actions: &mut Vec<Action>) {
        let now = Instant::from_nanos(self.now);
        let mute = self.hosts[index].mute_until > self.now;
        let input = match action {
            Action::Advertise { router, priority } => {
                self.hosts[index].last_word = Some(priority.get());
                if !mute {
                    self.send(index, What::Advertisement(priority.get()));
                }
                let (sent, failed) = if mute { (0, 1) } else { (1, 0) };
                Input::Sent { router, priority, sent, failed, errno: FORBIDDEN }
            }
            Action::Announce { router, .. } => {
                self.send(index, What::Announcement);
                Input::Announced { router, sent: 1, failed: 0 }
            }
            Action::Acquire(it) => {
                let host = &mut self.hosts[index];
                // What comes anew was not given up.
                host.last_word = host.last_word.filter(|_| host.state == StateName::Active);
                return self.request(index, Request::Acquire, it.ticket);
            }
            Action::Release { ownership: it, .. } => return self.request(index, Request::Release, it.ticket),
            Action::Renew(it) => return self.request(index, Request::Renew, it.ticket),
            Action::Disclaim(it) => return self.request(index, Request::Disclaim, it.ticket),
            Action::Report(Report::Transition { to, reason, .. }) => {
                judge::transition(self, index, to, reason);
                let host = &mut self.hosts[index];
                if host.state != to {
                    (host.state, host.since) = (to, self.now);
                    host.by_silence = reason == Reason::NoResponse;
                }
                return;
            }
            Action::Report(Report::Gone { .. }) => return self.gone(index),
            // The modelled kernel has no fence: its addresses answer as soon as they are there.
            Action::Report(_)
            | Action::AskClientLan { .. }
            | Action::Inquire { .. }
            | Action::Probe { .. }
            | Action::Fence(_) => {
                return;
            }
        };
        if let Some(node) = &mut self.hosts[index].node {
            node.handle(input, now, actions);
        }
    }

    fn gone(&mut self, index: usize) {
        let again = self.hosts[index].stops.take();
        self.end(index);
        self.hosts[index].start_at = again.map_or(0, |after| self.now + after);
    }

    /// The process ends; the kernel stays.
    pub(crate) fn end(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.node = None;
        host.inside = None;
        host.heard = (0, 0);
        if host.kernel.queue.iter().any(|(request, _)| *request == Request::Disclaim) {
            host.last_word = None;
        }
        host.kernel.abandon();
        host.inbox.clear();
        host.news.clear();
        host.stops = None;
        host.runs_at_once = false;
        host.stalled_until = 0;
        host.state = StateName::Initialize;
        host.ticket = Ticket::default();
        host.failed_since = Some(self.now);
    }

    pub(crate) fn tell(&mut self, host: usize, news: News) {
        if self.hosts[host].node.is_some() {
            self.hosts[host].news.push(news);
            self.hosts[host].runs_at_once = true;
        }
    }

    // --- kernel and wire --------------------------------------------------------------------------

    fn request(&mut self, index: usize, request: Request, ticket: Ticket) {
        let host = &mut self.hosts[index];
        host.ticket = ticket;
        host.kernel.queue.push_back((request, ticket));
        // A renewal changes nothing that anybody waits for, and need not be a step of its own.
        let told = matches!(request, Request::Renew | Request::Disclaim);
        if told && host.kernel.queue.len() == 1 && host.kernel.slow_until <= self.now {
            host.kernel.serve(self.now, self.case.bug);
        }
    }

    pub(crate) fn answer(&mut self, host: usize, (ticket, outcome): (Ticket, Outcome)) {
        let unseen = matches!(outcome, Outcome::Lost { .. }) && self.case.bug == Some(Bug::LossUnseen);
        if !unseen {
            self.tell(host, News::Outcome(ticket, outcome));
        }
    }

    fn send(&mut self, from: usize, what: What) {
        for to in (0..self.hosts.len()).filter(|&to| to != from) {
            let flight = Flight { from, to, what, by: self.now };
            if self.cut[from][to] <= self.now && !self.wire.iter().any(|other| alike(*other, flight)) {
                self.wire.push(flight);
            }
        }
    }

    fn deliver(&mut self, flight: Flight) {
        let host = &mut self.hosts[flight.to];
        if host.node.is_some() && self.cut[flight.from][flight.to] <= self.now {
            host.inbox.push((flight, self.now));
            if let What::Advertisement(priority) = flight.what {
                host.heard = (self.now, priority);
            }
            host.runs_at_once = true;
        }
    }
}

/// The second of two that nothing tells apart would be no news to anybody: priority 0 is sent three times
/// against loss.
fn alike(one: Flight, other: Flight) -> bool {
    (one.from, one.to, one.what, one.by) == (other.from, other.to, other.what, other.by)
}

fn check_input(fails: bool) -> Input<'static> {
    let state = if fails { TrackerState::Failing } else { TrackerState::Passing };
    Input::Tracked { tracker: CHECK, state }
}

fn mac(host: usize) -> MacAddress {
    MacAddress::new([2, 0, 0, 0, 0, host as u8])
}
