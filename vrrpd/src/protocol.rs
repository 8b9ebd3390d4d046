//! The protocol thread: the one loop that receives, keeps time and sends.
//!
//! It waits in one `epoll` for packets, messages and one kernel timer, hands what comes to the
//! [`Node`], and performs what the node says. While nothing is reconfigured it makes no system call
//! but waits, receives, sends, reads of the clock and of the timer; it does not allocate, take a
//! lock, log, or talk to netlink. Everything slow is a message to another thread.

#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use vrrp_proto::action::{Action, Input, Outcome, Ownership, Report};
use vrrp_proto::parameters::{LinkId, RouterId};
use vrrp_proto::snapshot::{AddressSnapshot, Discards, GlobalStatistics, LinkStatistics, RouterSnapshot};
use vrrp_proto::{Family, Instant, MacAddress, Node};

use crate::clock;
use crate::config::Scheduling;
use crate::fence::Adverts;
use crate::mailbox::Mailbox;
use crate::net::{self, Announcer, Incoming, LinkSockets};
use crate::perform::{Performer, Wiring};

/// Packets of one socket that are read before the others get their turn, and before a silence is judged:
/// as many as wait in it at most, where the interface spends little room on each.
const PACKETS_AT_ONCE: usize = 8192;
/// After so many of them advertisements that are due leave.
const PACKETS_BETWEEN: usize = 256;
/// How often it is looked whether the kernel refused anything, when nobody asks.
const ASIDE: Duration = Duration::from_secs(1);
/// The same as [`PACKETS_AT_ONCE`], of what was refused for one fault on one interface.
const REFUSED_AT_ONCE: usize = 256;
/// So long the processor is held without a wait at most, while packets come faster than they are read. The
/// kernel takes it away from realtime threads that do not wait, for 50 ms of each second, and ends the
/// process after two seconds (`RLIMIT_RTTIME`).
const UNBROKEN: Duration = Duration::from_millis(10);
/// What is a wait.
const WAIT: Duration = Duration::from_micros(20);
/// How long to wait then, in milliseconds: sockets have room for what comes meanwhile.
const REST_MS: u8 = 1;
/// How soon it is tried again to hand the kernel thread what it was too busy to take, in milliseconds.
const BACKLOG_MS: u8 = 1;
/// Packets that keep coming sooner than this are a burst: they are left to gather for [`REST_MS`], unless there
/// is something else to do, because to wake up for each costs more than to read it.
const BURST: Duration = Duration::from_micros(100);
/// Turns in a row that a burst must have brought about.
const HURRIED: u32 = 8;
/// A packet that is read sooner after its arrival is not one of a queue.
const FRESH: Duration = Duration::from_millis(1);
/// How long to look again and again for what the kernel thread answers before going to sleep: longer
/// than one address takes, and shorter than somebody else would mind. To be woken takes as long.
const LINGER: Duration = Duration::from_micros(200);
/// So long before the Active Router is taken for dead this thread wakes up and stays awake, and has the kernel
/// thread do so: longer than it takes to be woken, which is a good part of a takeover otherwise.
const AHEAD: Duration = Duration::from_micros(300);
/// Messages that are read in one turn.
const MESSAGES_AT_ONCE: usize = 256;
/// Actions that one input of a large node may cause without the buffers growing.
const ACTIONS: usize = 1024;

/// What the other threads tell the protocol thread.
pub(crate) enum Message {
    /// For the node.
    Input(Input<'static>),
    /// How a router announces its addresses, and where it runs.
    Wiring(RouterId, Wiring),
    /// The sockets of a link and family were opened, or have no interface any more.
    Sockets { link: LinkId, family: Family, sockets: Option<Box<LinkSockets>> },
    /// An interface that announcements leave from beside those of the routers was opened, or is not there
    /// any more.
    Announcer { link: LinkId, announcer: Option<(Announcer, MacAddress)> },
    /// Fill in what an observer may see, and send it back.
    Observe(Box<Observation>),
    /// End the thread.
    Stop,
}

/// What the protocol thread tells the main thread.
pub(crate) enum Note {
    /// Something that is worth a line.
    Report(Report, Instant),
    /// The answer to [`Message::Observe`].
    Observed(Box<Observation>),
}

/// What an observer may see; made with room for everything, so that filling it in allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    /// Whose state is asked for.
    pub(crate) asked: Vec<RouterId>,
    /// Whose counters are asked for.
    pub(crate) asked_links: Vec<LinkId>,
    /// Who asked, for the one who asked.
    pub(crate) token: u64,
    /// When it was filled in.
    pub(crate) at: Instant,
    /// In the order of `asked`.
    pub(crate) routers: Vec<Option<RouterSnapshot>>,
    /// Of all routers in turn.
    pub(crate) addresses: Vec<(RouterId, AddressSnapshot)>,
    /// In the order of `asked_links`.
    pub(crate) links: Vec<(LinkStatistics, Discards)>,
    /// Of the whole host.
    pub(crate) statistics: GlobalStatistics,
}

/// Figures of the loop, for whoever looks.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// The longest that the loop woke up after a deadline, in nanoseconds.
    pub(crate) lateness_max_ns: AtomicU64,
    /// Reports that the main thread was too slow to take.
    pub(crate) reports_lost: AtomicU64,
}

/// The ends of the queues that the thread is joined by.
#[derive(Clone)]
pub(crate) struct Wires {
    /// To this thread.
    pub(crate) messages: Mailbox<Message>,
    /// From this thread to the kernel thread.
    pub(crate) kernel: Mailbox<crate::kernel::Message>,
    /// What this thread tells the fence.
    pub(crate) adverts: Arc<Adverts>,
    /// From this thread to the main thread.
    pub(crate) notes: Mailbox<Note>,
}

/// The protocol thread, running.
pub(crate) struct ProtocolThread {
    pub(crate) gauges: Arc<Gauges>,
    thread: JoinHandle<()>,
}

impl ProtocolThread {
    /// Starts it. `scheduled` hears whether the class asked for was had.
    ///
    /// # Errors
    ///
    /// When the kernel gives no thread, timer or epoll.
    pub(crate) fn start(
        wires: Wires,
        scheduling: Scheduling,
        scheduled: std::sync::mpsc::Sender<io::Result<()>>,
    ) -> io::Result<Self> {
        let gauges = Arc::new(Gauges::default());
        let mut protocol_loop = Loop::new(wires, Arc::clone(&gauges))?;
        let thread = std::thread::Builder::new().name("vrrp-protocol".into()).spawn(move || {
            let class = match scheduling {
                Scheduling::Realtime => net::schedule_realtime(),
                Scheduling::Normal => Ok(()),
            };
            // Nobody waiting for the answer is no reason not to run.
            let _ = scheduled.send(class);
            protocol_loop.run();
        })?;
        Ok(Self { gauges, thread })
    }

    /// Waits until it has ended.
    pub(crate) fn join(self) {
        // A panic has been printed by the thread.
        let _ = self.thread.join();
    }

    /// Did it end? It does so when told to, or by a bug.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// What an event of the epoll belongs to; the rest are sockets, by their number.
const TIMER: u64 = u64::MAX;
const MESSAGES: u64 = u64::MAX - 1;

struct Loop {
    node: Node,
    epoll: Epoll,
    /// The timer and the messages alone.
    resting: Epoll,
    /// What was refused. Nobody waits for it, it is only looked at.
    refused: Epoll,
    /// The end of the last wait.
    waited: Instant,
    /// Turns in a row that packets alone have brought about, each soon after the one before.
    hurried: u32,
    /// When what the kernel refused is looked at next.
    aside: Instant,
    timer: TimerFd,
    /// The next deadline of the node, and when the timer fires for it.
    deadline: Option<Instant>,
    armed: Option<Instant>,
    /// Until then this thread stays awake: a takeover is near, or waits for the kernel thread.
    linger: Instant,
    /// The kernel thread can run while this one lingers.
    parallel: bool,
    wires: Wires,
    performer: Performer,
    /// What the node said last, and what was said while that was being performed.
    actions: Vec<Action>,
    performing: Vec<Action>,
    gauges: Arc<Gauges>,
}

impl Loop {
    fn new(wires: Wires, gauges: Arc<Gauges>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let resting = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let refused = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for epoll in [&epoll, &resting] {
            epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
            epoll.add(&wires.messages, EpollEvent::new(EpollFlags::EPOLLIN, MESSAGES))?;
        }
        Ok(Self {
            node: Node::new(),
            epoll,
            resting,
            refused,
            waited: Instant::ZERO,
            hurried: 0,
            aside: Instant::ZERO,
            timer,
            deadline: None,
            armed: None,
            linger: Instant::ZERO,
            parallel: std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1),
            performer: Performer::new(wires.clone(), Arc::clone(&gauges)),
            wires,
            actions: Vec::with_capacity(ACTIONS),
            performing: Vec::with_capacity(ACTIONS),
            gauges,
        })
    }

    fn run(&mut self) {
        while self.turn().is_continue() {}
    }

    /// Waits, and does what there is to do then.
    fn turn(&mut self) -> ControlFlow<()> {
        let mut events = [EpollEvent::empty(); 64];
        self.arm();
        let began = clock::now();
        let lingers = began < self.linger;
        let timeout = match lingers {
            true => EpollTimeout::ZERO,
            false if self.performer.has_backlog() => EpollTimeout::from(BACKLOG_MS),
            false => EpollTimeout::NONE,
        };
        let ready = match self.epoll.wait(&mut events, timeout) {
            Ok(0) | Err(Errno::EINTR) => {
                self.performer.send_backlog();
                return ControlFlow::Continue(());
            }
            Ok(ready) => ready,
            Err(errno) => unreachable!("epoll_wait on our own file: {errno}"),
        };
        self.note_lateness();
        self.rest(began, &events[..ready]);
        // Advertisements that are a little late leave first, then what others said is read, and
        // only then a silence is judged.
        if let Some(clock::Origins { wall, boot }) = clock::origins() {
            self.handle(Input::Clocks { wall, boot });
        }
        self.handle(Input::Woke);
        let (mut messages, mut drained) = (false, true);
        for event in &events[..ready] {
            match event.data() {
                TIMER => {}
                MESSAGES => messages = true,
                socket => drained &= self.receive(socket),
            }
        }
        if messages {
            self.read_messages()?;
        }
        if drained {
            self.handle(Input::Drained);
        }
        if self.aside <= clock::now() {
            self.look_aside();
        }
        self.performer.send_backlog();
        ControlFlow::Continue(())
    }

    /// Lets others have the processor for a moment when that has been held for long, and packets gather when
    /// they come in a burst; `began` is when the last wait did.
    fn rest(&mut self, began: Instant, events: &[EpollEvent]) {
        let now = clock::now();
        let packets = events.iter().all(|event| !matches!(event.data(), TIMER | MESSAGES));
        let hurries = packets && now - began < BURST;
        self.hurried = if hurries { self.hurried.saturating_add(1) } else { 0 };
        if now - began >= WAIT {
            self.waited = now;
        }
        if self.hurried > HURRIED || now - self.waited >= UNBROKEN {
            // A deadline or a message ends it, and then it is tried again.
            let _ = self.resting.wait(&mut [EpollEvent::empty()], EpollTimeout::from(REST_MS));
            let rested = clock::now();
            if rested - now >= WAIT {
                self.waited = rested;
            }
        }
    }

    /// Sets the one timer to the next deadline. A deadline that has passed fires at once; setting
    /// the timer also takes back an expiry that was not read.
    fn arm(&mut self) {
        let (deadline, now) = (self.node.poll_timeout(), clock::now());
        let expired = self.armed.is_some_and(|armed| armed <= now);
        if deadline == self.deadline && !expired {
            return;
        }
        self.deadline = deadline;
        self.armed = deadline.map(|at| self.get_ready(at, now));
        let set = match self.armed {
            // Zero would disarm.
            Some(at) => self.timer.set(
                Expiration::OneShot(TimeSpec::from(Duration::from_nanos(at.as_nanos().max(1)))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            ),
            None => self.timer.unset(),
        };
        set.expect("a timer of our own takes any time");
    }

    /// When to wake up for a deadline: ahead of a takeover. When that is now, nobody goes to sleep any more.
    fn get_ready(&mut self, at: Instant, now: Instant) -> Instant {
        if !self.parallel || at <= now || !self.node.claims_at(at) {
            return at;
        }
        let ahead = at.saturating_sub(AHEAD);
        if ahead > now {
            return ahead;
        }
        self.linger = self.linger.max(at);
        // Where so much waits, it is awake.
        drop(self.wires.kernel.push(crate::kernel::Message::StayAwake));
        at
    }

    fn note_lateness(&self) {
        if let Some(armed) = self.armed {
            let late = clock::now() - armed;
            let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
            self.gauges.lateness_max_ns.fetch_max(late, Ordering::Relaxed);
        }
    }

    /// Reads what came in; false when more may be there, and nothing is due that it could change.
    ///
    /// A packet that comes alone, as nearly all do, is followed by a wait instead of a second read
    /// that finds nothing: the wait returns at once when there is more. When packets come faster
    /// than that, or a timer is due, the socket is read until it is empty.
    fn receive(&mut self, socket: u64) -> bool {
        for packet in 1..=PACKETS_AT_ONCE {
            let Some(arrived) = self.take_in(socket) else { return true };
            let now = clock::now();
            let due = self.armed.is_some_and(|due| due <= now);
            if now - arrived < FRESH && !due && self.hurried <= HURRIED {
                return false;
            }
            if due && packet % PACKETS_BETWEEN == 0 {
                self.handle(Input::Woke);
            }
        }
        true
    }

    /// Hands the next packet of a socket to the node, and says when it arrived; `None`: there is none.
    fn take_in(&mut self, socket: u64) -> Option<Instant> {
        let (link, incoming) = self.performer.next(socket)?;
        let (input, arrived) = match incoming {
            Ok(Some(Incoming::Datagram(datagram, arrived))) => {
                (Input::Received { link, datagram, arrived }, arrived)
            }
            Ok(Some(Incoming::Sealed(datagram, arrived))) => (Input::Sealed { link, datagram }, arrived),
            Ok(Some(Incoming::Damaged(error, arrived))) => (Input::Damaged { link, error }, arrived),
            Ok(Some(Incoming::Sighting(sighting, arrived))) => {
                (Input::Sighted { link, sighting, arrived }, arrived)
            }
            // As good as old: there may be more.
            Ok(Some(Incoming::Nothing)) => return Some(Instant::ZERO),
            // An error (the interface went down) is read once; the monitor tells the rest.
            Ok(None) | Err(_) => return None,
        };
        self.node.handle(input, clock::now(), &mut self.actions);
        self.perform();
        Some(arrived)
    }

    /// Judges what the kernel refused, as far as there was room for it, and counts the rest. One call when
    /// nothing was; a socket that has nothing to read has turned nothing away for want of room either.
    fn look_aside(&mut self) {
        self.aside = clock::now() + ASIDE;
        let mut events = [EpollEvent::empty(); 64];
        // The sockets of a large host take turns.
        let ready = self.refused.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for socket in events[..ready].iter().map(EpollEvent::data) {
            for _ in 0..REFUSED_AT_ONCE {
                if self.take_in(socket).is_none() {
                    break;
                }
            }
            self.count_unread(socket);
        }
        for pair in self.performer.pairs() {
            if self.performer.overran(pair) {
                self.count_unread(pair);
            }
        }
    }

    fn count_unread(&mut self, socket: u64) {
        if let Some(input) = self.performer.unread(socket) {
            self.handle(input);
        }
    }

    fn read_messages(&mut self) -> ControlFlow<()> {
        self.wires.messages.acknowledge();
        for _ in 0..MESSAGES_AT_ONCE {
            match self.wires.messages.pop() {
                Some(Message::Input(input)) => {
                    if matches!(input, Input::Outcome { outcome: Outcome::Acquired, .. }) {
                        self.linger = Instant::ZERO;
                    }
                    self.node.handle(input, clock::now(), &mut self.actions);
                    if !self.only_announces() {
                        self.perform();
                    }
                }
                Some(Message::Wiring(router, wiring)) => self.performer.wire(router, wiring),
                Some(Message::Announcer { link, announcer }) => self.performer.announce_on(link, announcer),
                Some(Message::Sockets { link, family, sockets }) => {
                    let epolls = [&self.epoll, &self.refused];
                    self.performer.replace_sockets(epolls, link, family, sockets);
                }
                Some(Message::Observe(observation)) => self.observe(observation),
                Some(Message::Stop) => return ControlFlow::Break(()),
                None => {
                    self.perform();
                    return ControlFlow::Continue(());
                }
            }
        }
        self.perform();
        // The rest in the next turn.
        self.wires.messages.wake();
        ControlFlow::Continue(())
    }

    /// Is there nothing to perform but to announce addresses of one router? They come from the kernel thread
    /// one by one, and are announced together.
    fn only_announces(&mut self) -> bool {
        if let [Action::Announce { router, range }, Action::Announce { router: same, range: next }] =
            &mut self.actions[..]
            && router == same
            && range.end == next.start
        {
            range.end = next.end;
            self.actions.pop();
        }
        matches!(self.actions[..], [Action::Announce { .. }])
    }

    fn handle(&mut self, input: Input<'_>) {
        self.node.handle(input, clock::now(), &mut self.actions);
        self.perform();
    }

    /// Performs what the node said, and what it says to what became of that.
    fn perform(&mut self) {
        while !self.actions.is_empty() {
            std::mem::swap(&mut self.actions, &mut self.performing);
            for action in self.performing.drain(..) {
                if self.parallel && matches!(action, Action::Acquire(_)) {
                    self.linger = clock::now() + LINGER;
                }
                self.performer.perform(action, &mut self.node, &mut self.actions);
            }
            // To announce thousands of addresses takes some milliseconds.
            let announces = self.actions.iter().any(|action| matches!(action, Action::Announce { .. }));
            if announces && self.node.poll_timeout().is_some_and(|due| due <= clock::now()) {
                self.node.handle(Input::Woke, clock::now(), &mut self.actions);
            }
        }
    }

    fn observe(&mut self, mut observation: Box<Observation>) {
        // What has come counts, and what no packet has told of yet.
        self.look_aside();
        for pair in self.performer.pairs() {
            self.count_unread(pair);
        }
        let now = clock::now();
        observation.at = now;
        for &router in &observation.asked {
            observation.routers.push(self.node.snapshot(router, now));
            let addresses = self.node.addresses(router).map(|address| (router, address));
            observation.addresses.extend(addresses);
        }
        let of_link = |&link: &LinkId| (self.node.link_statistics(link), self.node.link_discards(link, now));
        observation.links.extend(observation.asked_links.iter().map(of_link));
        observation.statistics = self.node.statistics();
        if self.wires.notes.push(Note::Observed(observation)).is_err() {
            self.gauges.reports_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Number of the sockets of a link and family, and of the receiver in the epoll.
pub(crate) fn socket_number(link: LinkId, family: Family) -> u64 {
    u64::from(link.0) << 1 | u64::from(family == Family::Ipv6)
}

/// An [`Ownership`] action for the kernel thread.
#[derive(Debug)]
pub(crate) enum Kernel {
    /// [`Action::Fence`], and when it was decided.
    Fence(Ownership, Instant),
    /// [`Action::Acquire`], and when it was decided.
    Acquire(Ownership, Instant),
    /// [`Action::Release`], and whether there is a successor.
    Release(Ownership, bool),
    /// [`Action::Renew`] of those that are due by [`Adverts`].
    Renew,
    /// [`Action::Disclaim`].
    Disclaim(Ownership),
}
