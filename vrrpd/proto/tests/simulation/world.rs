//! Hosts with real nodes on a modelled LAN, in virtual time: one queue of events, one seed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use vrrp_proto::action::Action;
use vrrp_proto::node::MESSAGE_MAX;
use vrrp_proto::packet::Sighting;
use vrrp_proto::parameters::{LinkId, Parameters};

use super::bounds::Both;
use super::cuts::Cuts;
use super::host::{Host, News};
use super::judge;
use super::plan::{self, Disturbance};
use super::queue::Queue;
use super::random::Random;
use super::settings::{Bug, Flavour, HOSTS_MAX, MS, SECOND_LINK, Settings};

/// Events that a report shows.
const SHOWN: usize = 40;

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) link: LinkId,
    pub(crate) payload: Rc<[u8]>,
}

/// What goes over the wire.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    Advert(Packet),
    Announcement(Sighting),
    /// To a question on that link.
    Answer(LinkId, Sighting),
}

impl Frame {
    pub(crate) fn is_on_second(&self) -> bool {
        match self {
            Self::Advert(packet) => packet.link == SECOND_LINK,
            Self::Announcement(_) => false,
            Self::Answer(link, _) => *link == SECOND_LINK,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    Run {
        host: usize,
    },
    Deliver {
        from: usize,
        to: usize,
        frame: Frame,
        late: bool,
    },
    Serve {
        host: usize,
        life: u32,
    },
    Expire {
        host: usize,
    },
    Tell {
        host: usize,
        life: u32,
        news: News,
    },
    Disturb(Disturbance),
    /// What should have happened by now is judged.
    Look,
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
    /// On the clients' LAN.
    pub(crate) cuts: Cuts,
    /// On the second path.
    pub(crate) second_cuts: Cuts,
    /// What has happened is no reason for a transition ([`Flavour::Planned`]).
    pub(crate) still: bool,
    pub(crate) weather: Weather,
    /// A network at peace keeps the packets of one sender in order.
    pub(crate) last_delivery: [[u64; HOSTS_MAX]; HOSTS_MAX],
    /// Since when nothing disturbs.
    pub(crate) calm_since: u64,
    /// The same, but for what the nodes make of it.
    pub(crate) peace_since: u64,
    /// `both[a][b]`: these two hear each other and hold the same address.
    pub(crate) both: [[Option<Both>; HOSTS_MAX]; HOSTS_MAX],
    /// Since when what gets through, and who is awake, is as it is.
    pub(crate) network_since: u64,
    /// Since when some that hear each other have no holder, though one of them is well.
    pub(crate) nobody_since: Option<u64>,
    pub(crate) rounds_left: u32,
    pub(crate) violation: Option<String>,
    /// No address may be without a holder any more (only [`Flavour::Planned`]).
    pub(crate) held_once: bool,
    queue: Queue<Event>,
    /// Room that is kept from use to use: for the actions of one input, for what waits for a daemon, for a
    /// message.
    pub(super) actions: Vec<Action>,
    pub(super) frames: Vec<(Frame, u64)>,
    pub(super) news: Vec<News>,
    pub(super) message: Box<[u8; MESSAGE_MAX]>,
    log: VecDeque<(u64, String)>,
    verbose: bool,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let settings = Settings::draw(&mut random);
        let hosts = settings
            .hosts
            .iter()
            .zip(&settings.drift)
            .map(|(parameters, &drift)| Host::new(parameters.clone(), drift))
            .collect::<Vec<_>>();
        let mut world = Self {
            cuts: Cuts::default(),
            second_cuts: Cuts::default(),
            both: [[None; HOSTS_MAX]; HOSTS_MAX],
            still: false,
            last_delivery: [[0; HOSTS_MAX]; HOSTS_MAX],
            rounds_left: if settings.flavour == Flavour::Planned { 5 } else { 3 },
            settings,
            random,
            bug,
            now: 0,
            hosts,
            weather: Weather::default(),
            calm_since: 0,
            peace_since: 0,
            network_since: 0,
            nobody_since: None,
            violation: None,
            held_once: false,
            queue: Queue::new(),
            actions: Vec::new(),
            frames: Vec::new(),
            news: Vec::new(),
            message: Box::new([0; MESSAGE_MAX]),
            log: VecDeque::new(),
            verbose: false,
        };
        if bug == Some(Bug::ClockTooFast) {
            world.hosts[0].drift = 3_000_000;
        }
        plan::begin(&mut world);
        world
    }

    /// Runs to the end of the plan. The error is the first violation.
    pub(crate) fn run(mut self) -> Result<(), String> {
        while self.step() {}
        self.violation.map_or(Ok(()), Err)
    }

    /// The same run again, with the last events written down.
    pub(crate) fn explain(seed: u64, bug: Option<Bug>) -> String {
        let mut world = Self::new(seed, bug);
        world.verbose = true;
        let mut text = world.summary();
        while world.step() {}
        for (at, line) in &world.log {
            text.push_str(&format!("\n{:>12.3} ms  {line}", *at as f64 / MS as f64));
        }
        text
    }

    /// The next event; false after the last one, or a violation.
    fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else { return false };
        self.now = at;
        if matches!(event, Event::NextRound) && !plan::next_round(self) {
            return false;
        }
        if self.is_void(&event) {
            return true;
        }
        // What is only on its way to a daemon has changed nothing yet.
        let changes = !matches!(event, Event::Deliver { late: false, .. } | Event::Tell { .. });
        self.happen(event);
        if changes {
            judge::after_event(self);
        }
        self.violation.is_none()
    }

    /// The hosts, and the station that stands for the clients.
    pub(crate) fn stations(&self) -> std::ops::RangeInclusive<usize> {
        0..=self.hosts.len()
    }

    pub(crate) fn violate(&mut self, what: String) {
        if self.violation.is_none() {
            let at = self.now as f64 / MS as f64;
            self.violation = Some(format!("at {at:.3} ms: {what}"));
        }
    }

    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.queue.push(at.max(self.now), event);
    }

    /// The network or a host is not at peace now.
    pub(crate) fn disturbed(&mut self) {
        self.disturbed_until(self.now);
    }

    /// The same, until later.
    pub(crate) fn disturbed_until(&mut self, at: u64) {
        self.calm_since = self.calm_since.max(at);
        self.peace_since = self.peace_since.max(at);
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.verbose {
            self.log.push_back((self.now, line()));
            while self.log.len() > SHOWN {
                self.log.pop_front();
            }
        }
    }

    /// Something else came before it, or the process is gone that it was meant for.
    fn is_void(&self, event: &Event) -> bool {
        match *event {
            Event::Run { host } => self.hosts[host].run_at != self.now,
            Event::Expire { host } => self.hosts[host].expire_at != self.now,
            Event::Serve { host, life } | Event::Tell { host, life, .. } => life != self.hosts[host].life,
            Event::Deliver { .. } | Event::Disturb(_) | Event::Look | Event::NextRound => false,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Run { host } => {
                self.hosts[host].run_at = u64::MAX;
                self.run_host(host);
            }
            Event::Deliver { from, to, frame, late } => self.deliver(from, to, frame, late),
            Event::Serve { host, .. } => self.serve(host),
            Event::Expire { host } => self.expire(host),
            Event::Tell { host, news, .. } => self.tell(host, news),
            Event::Look | Event::NextRound => {}
            Event::Disturb(disturbance) => {
                self.note(|| format!("   *  {disturbance:?}"));
                self.disturbed();
                plan::disturb(self, disturbance);
            }
        }
    }

    fn summary(&self) -> String {
        let Settings { flavour, interval, preempt_delay, .. } = &self.settings;
        let paths = match &self.settings.hosts[0].witness {
            Some(witness) => format!("witnesses, {:?}", witness.policy),
            None if self.settings.second_sources.is_empty() => "one path".to_owned(),
            None => "two paths".to_owned(),
        };
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
