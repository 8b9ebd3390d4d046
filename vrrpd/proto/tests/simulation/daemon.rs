//! The daemon of a host: how it starts, what it hears, and what it does with what its node wants.

use vrrp_proto::action::{Action, Input, Order, Outcome, Report};
use vrrp_proto::packet::{Datagram, Sighting};
use vrrp_proto::parameters::{Facts, InterfaceState, LinkId};
use vrrp_proto::tracking::TrackerState;
use vrrp_proto::{Instant, MacAddress, Node};

use super::host::{News, ROUTER};
use super::judge;
use super::kernel::{Answer, Request};
use super::settings::{Bug, MS, SECOND_LINK, TRACKERS};
use super::world::{Event, Frame, Packet, World};

/// What a firewall answers to a sender.
const EPERM: i32 = 1;

impl World {
    /// Starts the daemon: it reads its configuration, opens its sockets, and looks at its host.
    pub(crate) fn start(&mut self, index: usize) {
        let left_over = self.hosts[index].kernel.left_over();
        let host = &mut self.hosts[index];
        // Whatever it gave up is not there any more.
        host.resigned &= host.kernel.holds_any();
        host.begin_life();
        host.begun_at = u64::MAX;
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
                self.tell(index, News::Standing(order));
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
        let soon = self.now + self.random.below(2 * self.settings.interval);
        // What a check found later never comes sooner.
        let told_by = &mut self.hosts[host].told_by[usize::from(tracker.0)];
        *told_by = soon.max(*told_by);
        let at = *told_by;
        self.disturbed_until(at);
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
            second_mac: mac(host),
            device: true,
            source: Some(self.settings.sources[told]),
            owned: false,
            left_over: left_over.map(|renewed| Instant::from_nanos(self.hosts[host].local(renewed))),
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
    pub(super) fn run_host(&mut self, host: usize) {
        let Some(node) = &self.hosts[host].node else { return };
        let deadline = || node.poll_timeout().map(Instant::as_nanos);
        let before = if self.bug == Some(Bug::TimersEarly) { deadline() } else { None };
        // Nothing came before the last look into the sockets, whatever was asleep meanwhile.
        let looked = self.hosts[host].clock;
        self.hosts[host].clock = looked.max(self.hosts[host].local(self.now));
        self.hosts[host].last_run = self.now;
        self.hosts[host].begun_at = self.hosts[host].begun_at.min(self.now);
        if let Some(deadline) = before
            && deadline <= self.hosts[host].clock + self.settings.interval / 2
        {
            self.hosts[host].clock = self.hosts[host].clock.max(deadline);
        }
        let mut frames = std::mem::take(&mut self.frames);
        let mut news = std::mem::take(&mut self.news);
        std::mem::swap(&mut frames, &mut self.hosts[host].inbox);
        std::mem::swap(&mut news, &mut self.hosts[host].news);
        if self.bug != Some(Bug::ClocksUnread) {
            let clocks = self.hosts[host].clocks();
            self.input(host, clocks);
        }
        self.input(host, Input::Woke);
        if self.bug == Some(Bug::TimersBeforePackets) {
            self.input(host, Input::Drained);
        }
        for (frame, arrived) in frames.drain(..) {
            let arrived = if self.bug == Some(Bug::ArrivalIsReading) { self.now } else { arrived };
            let arrived = Instant::from_nanos(self.hosts[host].local(arrived).max(looked));
            self.read(host, &frame, arrived);
        }
        for news in news.drain(..) {
            self.note(|| format!("{host}  ?  {news:?}"));
            if let News::Configure(parameters) = &news {
                self.hosts[host].preempts = parameters.preempt_mode;
            }
            self.input(host, news.input());
        }
        (self.frames, self.news) = (frames, news);
        self.input(host, Input::Drained);
        if self.bug == Some(Bug::GhostAdvertisements) {
            self.haunt(host);
        }
        let next = self.hosts[host].node.as_ref().and_then(Node::poll_timeout);
        judge::after_run(self, host, next);
        if let Some(next) = next.filter(|_| self.hosts[host].node.is_some()) {
            let early = if self.bug == Some(Bug::TimersEarly) { self.settings.interval / 2 } else { 0 };
            let late = self.random.below(self.settings.latency / 4);
            let next = self.hosts[host].when(next.as_nanos());
            self.schedule(host, (next + late).saturating_sub(early));
        }
    }

    pub(super) fn read(&mut self, host: usize, frame: &Frame, arrived: Instant) {
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
            Frame::Announcement(Sighting { answer: true, .. })
                if self.settings.witnessed && self.bug == Some(Bug::WitnessesUnheard) => {}
            &Frame::Announcement(sighting) => {
                self.note(|| format!("{host} <-  {} is at {}", sighting.address, sighting.mac));
                self.input(host, Input::Sighted { link, sighting, arrived });
            }
            &Frame::Answer(link, sighting) => {
                self.note(|| format!("{host} <-  {} is there", sighting.address));
                self.input(host, Input::Sighted { link, sighting, arrived });
            }
        }
    }

    /// One input, and the performing of what comes of it.
    pub(super) fn input(&mut self, host: usize, input: Input<'_>) {
        let now = Instant::from_nanos(self.hosts[host].clock);
        let Some(node) = &mut self.hosts[host].node else { return };
        node.handle(input, now, &mut self.actions);
        if self.actions.is_empty() {
            return;
        }
        judge::actions(self, host);
        let mut next = 0;
        while let Some(action) = self.actions.get(next).cloned() {
            next += 1;
            self.perform(host, action);
        }
        self.actions.clear();
    }

    /// Says what was said before, though the node is silent.
    pub(super) fn haunt(&mut self, host: usize) {
        if let Some(priority) = self.hosts[host].spoke_last.filter(|_| !self.hosts[host].is_active()) {
            self.send(host, priority);
        }
    }

    pub(super) fn perform(&mut self, host: usize, action: Action) {
        let now = Instant::from_nanos(self.hosts[host].clock);
        match action {
            Action::Advertise { priority, .. } => {
                self.note(|| format!("{host}  -> priority {priority}"));
                if priority.is_release() && self.bug == Some(Bug::ReleaseAtOnce) {
                    self.hosts[host].kernel.table.fill(None);
                }
                self.hosts[host].resigned = priority.is_release();
                self.hosts[host].spoke_at = self.now;
                if !priority.is_release() {
                    self.hosts[host].spoke_last = Some(priority);
                }
                let (sent, failed) = self.send(host, priority);
                if let Some(node) = &mut self.hosts[host].node {
                    let errno = EPERM;
                    let input = Input::Sent { router: ROUTER, priority, sent, failed, errno };
                    node.handle(input, now, &mut self.actions);
                }
            }
            Action::Announce { range, .. } => {
                self.announce(host, range.clone(), true);
                if let Some(node) = &mut self.hosts[host].node {
                    let sent = range.end - range.start;
                    let input = Input::Announced { router: ROUTER, sent, failed: 0 };
                    node.handle(input, now, &mut self.actions);
                }
            }
            Action::AskClientLan { .. } => self.ask_client_lan(host),
            Action::Probe { .. } => self.probe(host),
            Action::Inquire { .. } => self.inquire(host),
            Action::Acquire(ownership) => {
                if self.bug == Some(Bug::AnnouncedEarly) {
                    self.announce(host, ownership.range.clone(), false);
                }
                self.request(host, Request::Acquire(ownership, self.now));
            }
            Action::Release { ownership, .. } => self.request(host, Request::Release(ownership)),
            Action::Fence(ownership) => self.request(host, Request::Fence(ownership, self.now)),
            Action::Renew(ownership) => {
                // By a thread of its own, which waits for nobody.
                if self.bug != Some(Bug::FenceNotRenewed) {
                    self.hosts[host].kernel.fence.renew(self.now, self.bug == Some(Bug::FenceForEver));
                }
                self.request(host, Request::Renew(ownership));
            }
            Action::Disclaim(ownership) => self.request(host, Request::Disclaim(ownership)),
            Action::Report(report) => {
                self.note(|| format!("{host}  !  {report:?}"));
                if matches!(report, Report::Gone { .. }) {
                    self.hosts[host].gone = true;
                }
            }
        }
    }

    pub(super) fn request(&mut self, host: usize, request: Request) {
        let delay = 1 + self.random.below(self.settings.kernel_delay);
        let life = self.hosts[host].life;
        if self.bug == Some(Bug::OutcomesEarly)
            && let Request::Acquire(ownership, _) = &request
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

    pub(super) fn serve(&mut self, host: usize) {
        let (life, asleep_until) = (self.hosts[host].life, self.hosts[host].kernel.asleep_until);
        if asleep_until > self.now {
            return self.push(asleep_until, Event::Serve { host, life });
        }
        let answers = self.hosts[host].kernel.serve(self.now, &mut self.random, self.bug);
        if answers.iter().any(|(_, outcome)| *outcome == Outcome::Released) {
            self.hosts[host].resigned &= self.hosts[host].kernel.holds_any();
        }
        self.note(|| format!("{host}  =  {answers:?}"));
        let table = &self.hosts[host].kernel.table;
        let refused = |outcome: &Outcome| match outcome {
            Outcome::Refused { index, .. } => table[usize::from(*index)].is_some(),
            _ => false,
        };
        // The kernel has refused it for long, perhaps, but nobody knew.
        if answers.iter().any(|(_, outcome)| refused(outcome)) {
            self.disturbed();
        }
        for (ticket, outcome) in answers {
            self.tell(host, News::Outcome(ticket, outcome));
        }
        self.schedule_expiry(host);
    }

    /// Wakes the kernel up when the next of its addresses is due, and once only.
    fn schedule_expiry(&mut self, host: usize) {
        let next = self.hosts[host].kernel.next_expiry().unwrap_or(u64::MAX);
        if next < self.hosts[host].expire_at {
            self.hosts[host].expire_at = next;
            self.push(next, Event::Expire { host });
        }
    }

    pub(super) fn expire(&mut self, host: usize) {
        self.hosts[host].expire_at = u64::MAX;
        if self.bug == Some(Bug::LeaseNotEnforced) {
            return;
        }
        for (ticket, outcome) in self.hosts[host].kernel.expire(self.now) {
            self.note(|| format!("{host}  =  expired: {outcome:?}"));
            self.lost(host, (ticket, outcome));
        }
        self.schedule_expiry(host);
    }

    pub(crate) fn lost(&mut self, host: usize, answer: Answer) {
        if self.bug == Some(Bug::LossUnseen) {
            return;
        }
        if let Some((ticket, outcome)) = self.hosts[host].kernel.told(answer) {
            self.tell(host, News::Outcome(ticket, outcome));
        }
    }
}

pub(super) fn mac(host: usize) -> MacAddress {
    MacAddress::new([2, 0, 0, 0, 0, host as u8])
}
