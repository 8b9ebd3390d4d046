//! One router of one [`Node`], a kernel that does what it is told (or not), and time that a test
//! moves by hand. Everything goes through the public interface.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::IpAddr;
use std::time::Duration;

use vrrp_proto::action::{Action, Input, Order, OrderOutcome, Outcome, Report, Ticket};
use vrrp_proto::node::MESSAGE_MAX;
use vrrp_proto::packet::{
    Advert, ChecksumForm, ChecksumPolicy, Datagram, Key, Password, Rules, Sequence, Sighting, encode,
};
use vrrp_proto::parameters::{
    Announcements, Authentication, Facts, InterfaceState, LinkId, OnConflict, Parameters, RouterId,
    VirtualAddress,
};
use vrrp_proto::snapshot::{Alarm, Reason, RouterSnapshot, StateName, Statistics};
use vrrp_proto::tracking::{Effect, TrackerId, TrackerState, Tracking};
use vrrp_proto::{AdverInterval, Family, Instant, MacAddress, Node, Priority, Version, Vrid};

pub(crate) const ROUTER: RouterId = RouterId(0);
pub(crate) const LINK: LinkId = LinkId(0);
/// That of the second path.
pub(crate) const SECOND_LINK: LinkId = LinkId(1);
pub(crate) const VRID: u8 = 51;
/// Our own address, and those of the others: the second is below, the third above ours.
pub(crate) const OWN: &str = "192.0.2.3";
pub(crate) const PEER: &str = "192.0.2.2";
pub(crate) const OTHER: &str = "192.0.2.9";

/// The advertisement interval unless a test says otherwise, and what follows from it.
pub(crate) const A: Duration = Duration::from_secs(1);

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("the address is well-formed")
}

/// Active_Down_Interval of `priority` with an interval of one second.
pub(crate) fn down_interval(priority: u8) -> Duration {
    AdverInterval::DEFAULT.active_down_interval(Priority::new(priority))
}

/// A router of priority 150 for one IPv4 address that answers with one announcement and repeats none.
pub(crate) fn parameters() -> Parameters {
    Parameters {
        link: LINK,
        vrid: Vrid::new(VRID).expect("not zero"),
        family: Family::Ipv4,
        priority: Priority::new(150),
        interval: AdverInterval::DEFAULT,
        authentication: Authentication::None,
        addresses: addresses(&["192.0.2.1"]),
        extra_addresses: 0,
        peers: [].into(),
        virtual_mac: false,
        second_path: None,
        witness: None,
        suspicion: false,
        group: None,
        allowed: [].into(),
        min_hop_limit: 255,
        preempt_mode: true,
        preempt_delay: Duration::ZERO,
        on_conflict: OnConflict::Claim,
        startup_delay: Duration::ZERO,
        carrier_delay: Duration::ZERO,
        strict: false,
        checksum_policy: ChecksumPolicy::Either,
        checksum_form: ChecksumForm::PseudoHeader,
        leased: false,
        fenced: false,
        announcements: Announcements {
            count: 1,
            interval: ms(100),
            second_after: Duration::ZERO,
            refresh: Duration::ZERO,
            refresh_count: 1,
            lower_priority_count: 1,
            lower_priority_second_after: Duration::ZERO,
            spacing: Duration::ZERO,
        },
        tracking: Vec::new(),
        sync_group: None,
    }
}

pub(crate) fn with_priority(priority: u8) -> Parameters {
    Parameters { priority: Priority::new(priority), ..parameters() }
}

pub(crate) fn with_addresses(list: &[&str]) -> Parameters {
    Parameters { addresses: addresses(list), ..parameters() }
}

/// `list` is advertised but for the last `extra` of them.
pub(crate) fn with_extra(list: &[&str], extra: u16) -> Parameters {
    Parameters { extra_addresses: extra, ..with_addresses(list) }
}

pub(crate) fn with_check(effect: Effect) -> Parameters {
    Parameters { tracking: vec![Tracking { tracker: TrackerId(0), effect }], ..parameters() }
}

pub(crate) fn unicast(peers: &[&str]) -> Parameters {
    Parameters { peers: peers.iter().map(|peer| ip(peer)).collect(), ..parameters() }
}

pub(crate) fn addresses(list: &[&str]) -> std::sync::Arc<[VirtualAddress]> {
    let prefix_len = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let address =
        |text: &&str| VirtualAddress { ip: ip(text), prefix_len: prefix_len(ip(text)), interface: None };
    list.iter().map(address).collect()
}

/// Ethernet address of our interface, and of another station.
pub(crate) const OWN_MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 7]);
pub(crate) const OTHER_MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 9]);

/// Another station announces an address.
pub(crate) fn announcement(address: &str) -> Sighting {
    Sighting { address: ip(address), mac: OTHER_MAC, announced: true, answer: false }
}

/// An interface that is up, with `source` as its address.
pub(crate) fn facts(source: &str) -> Facts {
    Facts {
        interface: InterfaceState::Up,
        mac: OWN_MAC,
        second_source: None,
        second_mac: OWN_MAC,
        device: true,
        source: Some(ip(source)),
        owned: true,
        left_over: None,
    }
}

/// What the kernel says of a peer that nothing can be sent to.
pub(crate) const EHOSTUNREACH: i32 = 113;

/// What became of an advertisement.
pub(crate) fn sent_input(priority: Priority, sent: usize, failed: usize, errno: i32) -> Input<'static> {
    let number = |count| u16::try_from(count).expect("a few destinations");
    Input::Sent { router: ROUTER, priority, sent: number(sent), failed: number(failed), errno }
}

/// What the kernel does with what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Everything, at once.
    Prompt,
    /// Nothing, until the test says so.
    Mute,
    /// It adds the addresses below this index and refuses the others; it removes them all.
    Refusing(u16),
}

pub(crate) struct Scene {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    pub(crate) kernel: Kernel,
    /// What becomes of advertisements.
    pub(crate) sending: Result<(), i32>,
    /// A peer that nothing can be sent to.
    pub(crate) unreachable: Option<IpAddr>,
    /// TTL or Hop Limit of what is heard.
    pub(crate) hop_limit: u8,
    /// The addresses in what is heard; the router's own unless set.
    pub(crate) list: Option<Vec<IpAddr>>,
    /// The version of what is heard, and its password; those of the router unless set.
    pub(crate) version: Version,
    pub(crate) password: Option<Password>,
    /// What is heard is behind an IP Authentication Header.
    pub(crate) in_header: bool,
    /// The key that is heard from, and its place among those of its sender; none unless set.
    pub(crate) seal: Option<(Key, Sequence)>,
    /// How many of our addresses are advertised.
    listed: usize,
    /// Of the last request to the kernel.
    pub(crate) ticket: Ticket,
    /// Where others send what is heard, unless to us.
    group: Option<IpAddr>,
    actions: Vec<Action>,
}

impl Scene {
    /// Configured; nothing is known of the interface.
    pub(crate) fn new(parameters: Parameters) -> Self {
        let mut scene = Self {
            node: Node::new(),
            now: Instant::from_nanos(1_000_000_000_000),
            kernel: Kernel::Prompt,
            sending: Ok(()),
            unreachable: None,
            hop_limit: 255,
            in_header: false,
            list: None,
            version: parameters.version(),
            password: match parameters.authentication {
                Authentication::Password(password) => Some(password),
                Authentication::None | Authentication::Keyed(_) => None,
            },
            seal: None,
            listed: 0,
            ticket: Ticket::default(),
            group: None,
            actions: Vec::new(),
        };
        scene.configure(parameters);
        scene
    }

    /// Started; a router that is not the owner is Backup now.
    pub(crate) fn backup(parameters: Parameters) -> Self {
        let own = if parameters.family == Family::Ipv6 { "fe80::b" } else { OWN };
        let mut scene = Self::new(parameters);
        scene.facts(facts(own));
        scene.forget();
        scene
    }

    /// Active, an interval of silence after its first advertisement.
    pub(crate) fn active(parameters: Parameters) -> Self {
        let mut scene = Self::backup(parameters);
        while scene.state() != StateName::Active {
            scene.next_timeout();
        }
        scene.run_for(A);
        scene.forget();
        scene
    }

    pub(crate) fn configure(&mut self, parameters: Parameters) {
        self.listed = parameters.advertised().len();
        self.group = parameters.peers.is_empty().then(|| parameters.group());
        self.input(Input::Configure { router: ROUTER, parameters: Box::new(parameters) });
    }

    pub(crate) fn facts(&mut self, facts: Facts) {
        self.input(Input::Facts { router: ROUTER, facts });
    }

    pub(crate) fn shutdown(&mut self) {
        self.input(Input::Shutdown { router: ROUTER });
    }

    pub(crate) fn order(&mut self, order: Order) {
        self.input(Input::Order { router: ROUTER, number: 7, order });
    }

    pub(crate) fn check(&mut self, state: TrackerState) {
        self.input(Input::Tracked { tracker: TrackerId(0), state });
    }

    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        self.input(Input::Outcome { router: ROUTER, ticket: self.ticket, outcome });
    }

    pub(crate) fn added(&mut self, index: u16) {
        self.outcome(Outcome::Added { index, foreign: false });
    }

    /// An advertisement of `source` arrives now, in the form that keepalived sends.
    pub(crate) fn hear(&mut self, source: &str, priority: u8) {
        self.hear_as(source, priority, 100, ChecksumForm::PseudoHeader, self.now);
    }

    /// As [`hear`](Self::hear), sent to `destination`.
    pub(crate) fn hear_at(&mut self, destination: &str, source: &str, priority: u8) {
        let form = ChecksumForm::PseudoHeader;
        self.hear_sent_to(ip(destination), source, priority, 100, form, self.now);
    }

    pub(crate) fn hear_interval(&mut self, source: &str, priority: u8, centiseconds: u16) {
        self.hear_as(source, priority, centiseconds, ChecksumForm::PseudoHeader, self.now);
    }

    pub(crate) fn hear_form(&mut self, source: &str, priority: u8, form: ChecksumForm) {
        self.hear_as(source, priority, 100, form, self.now);
    }

    pub(crate) fn hear_as(
        &mut self,
        source: &str,
        priority: u8,
        centiseconds: u16,
        form: ChecksumForm,
        arrived: Instant,
    ) {
        let own = self.node.source(ROUTER).unwrap_or(ip(source));
        self.hear_sent_to(self.group.unwrap_or(own), source, priority, centiseconds, form, arrived);
    }

    fn hear_sent_to(
        &mut self,
        destination: IpAddr,
        source: &str,
        priority: u8,
        centiseconds: u16,
        form: ChecksumForm,
        arrived: Instant,
    ) {
        self.hear_on(LINK, destination, source, priority, centiseconds, form, arrived);
    }

    /// As [`hear`](Self::hear), on the second path.
    pub(crate) fn hear_second(&mut self, source: &str, priority: u8) {
        let own = self.node.snapshot(ROUTER, self.now).and_then(|router| router.second_path?.source);
        let own = own.expect("the second path can be used");
        self.hear_on(SECOND_LINK, own, source, priority, 100, ChecksumForm::PseudoHeader, self.now);
    }

    #[allow(clippy::too_many_arguments, reason = "what a packet has")]
    fn hear_on(
        &mut self,
        link: LinkId,
        destination: IpAddr,
        source: &str,
        priority: u8,
        centiseconds: u16,
        form: ChecksumForm,
        arrived: Instant,
    ) {
        let source = ip(source);
        let own_list = || self.node.addresses(ROUTER).take(self.listed).map(|each| each.address).collect();
        let mut list: Vec<IpAddr> = self.list.clone().unwrap_or_else(own_list);
        if list.is_empty() {
            list.push(source);
        }
        let mut message = [0; MESSAGE_MAX];
        let interval = match self.version {
            Version::V2 => AdverInterval::from_seconds((centiseconds / 100) as u8),
            Version::V3 => AdverInterval::from_centiseconds(centiseconds),
        };
        let interval = interval.expect("a valid interval");
        let (vrid, priority) = (Vrid::new(VRID).expect("not zero"), Priority::new(priority));
        let length = encode(&mut message, vrid, priority, interval, &list, source, destination, form)
            .expect("the advertisement is sound");
        if let Some(password) = self.password {
            password.stamp(&mut message[..length]);
        }
        let length = match &self.seal {
            Some((key, sequence)) => {
                key.seal(&mut message, length, *sequence, source, destination).expect("there is room")
            }
            None => length,
        };
        let payload = &message[..length];
        let datagram = Datagram { source, destination, hop_limit: self.hop_limit, payload };
        self.input(match self.in_header {
            true => Input::Sealed { link, datagram },
            false => Input::Received { link, datagram, arrived },
        });
    }

    /// A VRRP message, sound or not, arrives now.
    pub(crate) fn hear_octets(&mut self, source: &str, destination: &str, payload: &[u8]) {
        let (source, destination) = (ip(source), ip(destination));
        let datagram = Datagram { source, destination, hop_limit: self.hop_limit, payload };
        self.input(Input::Received { link: LINK, datagram, arrived: self.now });
    }

    /// Another station announces an address now.
    pub(crate) fn announced_elsewhere(&mut self, address: &str) {
        self.sight(announcement(address), self.now);
    }

    pub(crate) fn sight(&mut self, sighting: Sighting, arrived: Instant) {
        self.input(Input::Sighted { link: LINK, sighting, arrived });
    }

    pub(crate) fn woke(&mut self) {
        self.input(Input::Woke);
    }

    pub(crate) fn drained(&mut self) {
        self.input(Input::Drained);
    }

    /// Time passes, and nobody notices.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// The loop wakes up at every deadline.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.node.poll_timeout().is_some_and(|at| at <= end) {
            self.next_timeout();
        }
        self.now = end;
    }

    /// To the next deadline, and what happens then.
    pub(crate) fn next_timeout(&mut self) {
        let at = self.node.poll_timeout().expect("there is a deadline");
        self.now = self.now.max(at);
        self.woke();
        self.drained();
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        let mut done = self.actions.len();
        self.node.handle(input, self.now, &mut self.actions);
        while done < self.actions.len() {
            let action = self.actions[done].clone();
            done += 1;
            for answer in self.answers(&action) {
                self.node.handle(answer, self.now, &mut self.actions);
            }
        }
    }

    fn answers(&mut self, action: &Action) -> Vec<Input<'static>> {
        if let Action::Acquire(ownership) | Action::Release { ownership, .. } = action {
            self.ticket = ownership.ticket;
        }
        let outcome = |ticket, outcome| Input::Outcome { router: ROUTER, ticket, outcome };
        match (action, self.kernel) {
            (Action::Acquire(wanted), Kernel::Prompt | Kernel::Refusing(_)) => {
                let limit = if let Kernel::Refusing(limit) = self.kernel { limit } else { u16::MAX };
                let tried = wanted.range.clone().map(|index| {
                    if index < limit {
                        Outcome::Added { index, foreign: false }
                    } else {
                        Outcome::Refused { index, errno: 13 }
                    }
                });
                tried.chain([Outcome::Acquired]).map(|each| outcome(wanted.ticket, each)).collect()
            }
            (Action::Release { ownership: gone, .. }, Kernel::Prompt | Kernel::Refusing(_)) => {
                vec![outcome(gone.ticket, Outcome::Released)]
            }
            (&Action::Advertise { priority, .. }, _) => {
                let taken = |&to: &IpAddr| self.sending.is_ok() && Some(to) != self.unreachable;
                let (sent, failed): (Vec<IpAddr>, Vec<IpAddr>) =
                    self.node.destinations(ROUTER).partition(taken);
                let errno = self.sending.err().unwrap_or(EHOSTUNREACH);
                vec![sent_input(priority, sent.len(), failed.len(), errno)]
            }
            (Action::Announce { range, .. }, _) => {
                let sent = u16::try_from(range.len()).expect("a range of u16");
                vec![Input::Announced { router: ROUTER, sent, failed: 0 }]
            }
            _ => Vec::new(),
        }
    }

    // What was done since `forget` was called last.

    pub(crate) fn forget(&mut self) {
        self.actions.clear();
    }

    /// In the words of the golden vectors, in order; reports other than transitions are left out.
    pub(crate) fn deeds(&self) -> Vec<String> {
        let deed = |action: &Action| match action {
            Action::Advertise { priority, .. } => Some(format!("advertise {priority}")),
            Action::Announce { range, .. } => Some(format!("announce {range:?}")),
            Action::Acquire(wanted) => Some(format!("acquire {:?}", wanted.range)),
            Action::Release { ownership: gone, .. } => Some(format!("release {:?}", gone.range)),
            Action::Fence(_) => Some("fence".to_owned()),
            Action::Renew(_) => Some("renew".to_owned()),
            Action::Disclaim(_) => Some("disclaim".to_owned()),
            Action::AskClientLan { .. } => Some("ask".to_owned()),
            Action::Report(Report::AskWitnesses { .. }) => Some("ask_witnesses".to_owned()),
            Action::Report(Report::Transition { from, to, reason, .. }) if from != to => {
                Some(format!("{} {}", to.as_str(), reason.as_str()))
            }
            Action::Probe { .. } | Action::Inquire { .. } | Action::Report(_) => None,
        };
        self.actions.iter().filter_map(deed).collect()
    }

    pub(crate) fn count(&self, deed: &str) -> usize {
        self.deeds().iter().filter(|done| done.split(' ').next() == Some(deed)).count()
    }

    /// How often it was asked who has the addresses.
    pub(crate) fn probes(&self) -> usize {
        self.actions.iter().filter(|action| matches!(action, Action::Probe { .. })).count()
    }

    /// How often the host of the Active Router was asked whether it is there.
    pub(crate) fn inquiries(&self) -> usize {
        self.actions.iter().filter(|action| matches!(action, Action::Inquire { .. })).count()
    }

    /// Whose addresses were announced.
    pub(crate) fn announced(&self) -> Vec<(RouterId, std::ops::Range<u16>)> {
        let announced = |action: &Action| match action {
            Action::Announce { router, range } => Some((*router, range.clone())),
            _ => None,
        };
        self.actions.iter().filter_map(announced).collect()
    }

    /// Whether there was a successor, as each release has it.
    pub(crate) fn followed(&self) -> Vec<bool> {
        let followed = |action: &Action| match action {
            Action::Release { followed, .. } => Some(*followed),
            _ => None,
        };
        self.actions.iter().filter_map(followed).collect()
    }

    pub(crate) fn advertised(&self) -> Vec<u8> {
        let priority = |action: &Action| match action {
            Action::Advertise { priority, .. } => Some(priority.get()),
            _ => None,
        };
        self.actions.iter().filter_map(priority).collect()
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        let report = |action: &Action| if let Action::Report(report) = action { Some(*report) } else { None };
        self.actions.iter().filter_map(report).collect()
    }

    /// What became of orders.
    pub(crate) fn orders(&self) -> Vec<OrderOutcome> {
        let outcome = |report| match report {
            Report::Ordered { number: 7, outcome, .. } => Some(outcome),
            _ => None,
        };
        self.reports().into_iter().filter_map(outcome).collect()
    }

    pub(crate) fn alarms(&self) -> Vec<(Alarm, bool)> {
        let alarm = |report| match report {
            Report::Alarm { alarm, raised, .. } => Some((alarm, raised)),
            _ => None,
        };
        self.reports().into_iter().filter_map(alarm).collect()
    }

    // What an observer sees.

    pub(crate) fn snapshot(&self) -> RouterSnapshot {
        self.node.snapshot(ROUTER, self.now).expect("the router is configured")
    }

    pub(crate) fn state(&self) -> StateName {
        self.snapshot().state
    }

    pub(crate) fn reason(&self) -> Reason {
        self.snapshot().reason
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.snapshot().statistics
    }

    /// Time to the next deadline.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.node.poll_timeout().map(|at| at - self.now)
    }

    pub(crate) fn present(&self) -> Vec<bool> {
        self.node.addresses(ROUTER).map(|address| address.present).collect()
    }

    /// The form in which an advertisement for `destination` would leave now.
    pub(crate) fn form_towards(&self, destination: &str) -> ChecksumForm {
        self.advert_towards(destination, |advert| advert.form)
    }

    /// The addresses in it.
    pub(crate) fn listed_towards(&self, destination: &str) -> Vec<IpAddr> {
        self.advert_towards(destination, |advert| advert.addresses.iter().collect())
    }

    fn advert_towards<T>(&self, destination: &str, what: impl Fn(Advert<'_>) -> T) -> T {
        let mut message = [0; MESSAGE_MAX];
        let (source, destination) = (self.node.source(ROUTER).expect("started"), ip(destination));
        let length = self
            .node
            .advertisement(ROUTER, Priority::DEFAULT, destination, &mut message)
            .expect("it can be sent");
        let payload = &message[..length];
        let datagram = Datagram { source, destination, hop_limit: 255, payload };
        what(Advert::parse(&datagram, &Rules::to_identify(&datagram)).expect("what we send is sound"))
    }
}
