//! Action to system call: one arm for each action.
//!
//! Nothing here decides. What became of a system call goes back to the node as an input.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use vrrp_proto::action::{Action, Input};
use vrrp_proto::node::{ANNOUNCEMENT_MAX, MESSAGE_MAX};
use vrrp_proto::packet::DiscardReason;
use vrrp_proto::packet::arp::GarpForm;
use vrrp_proto::packet::ip::{ETHERNET_HEADER, HEADER_MAX, header_len, write_header};
use vrrp_proto::parameters::{LinkId, RouterId};
use vrrp_proto::{Family, Instant, MacAddress, Node, Priority};

use crate::clock;
use crate::kernel;
use crate::net::{Announcer, FAULTS, Incoming, LinkSockets, SENT_AT_ONCE};
use crate::protocol::{Gauges, Kernel, Note, Wires, socket_number};

/// Part of the number in the epoll of a watcher, where the receiver beside it has none.
const WATCHER: u64 = 1 << 32;
/// The same of what hears behind Authentication Headers.
const SEALED: u64 = 2 << 32;
/// The same of what was refused for the first fault; those for the others follow.
const REFUSED: u64 = 3 << 32;

/// Addresses that are announced, on however many interfaces, before what is due meanwhile leaves.
const ANNOUNCED_AT_ONCE: u16 = 64;

const HEADERS_MAX: usize = ETHERNET_HEADER + HEADER_MAX;

/// Performs the actions of the protocol thread.
pub(crate) struct Performer {
    wires: Wires,
    gauges: Arc<Gauges>,
    routers: Vec<Option<Wiring>>,
    /// By [`socket_number`].
    sockets: Vec<Option<Box<LinkSockets>>>,
    /// By [`LinkId`]: of interfaces that announcements leave from beside those of the routers.
    announcers: Vec<Option<(Announcer, MacAddress)>>,
    /// Ethernet header, IP header, message; what is in front of a shorter header is not sent.
    packet: Box<[u8; HEADERS_MAX + MESSAGE_MAX]>,
    /// What the kernel thread was too busy to take. Empty but for the worst of times.
    backlog: VecDeque<Kernel>,
}

/// Where a router runs, and how it announces its addresses.
pub(crate) struct Wiring {
    pub(crate) link: LinkId,
    pub(crate) family: Family,
    pub(crate) form: GarpForm,
    /// Further interfaces that announcements leave from.
    pub(crate) further: Box<[LinkId]>,
    /// When the last advertisement was on its way out.
    pub(crate) advertised_at: Instant,
}

impl Performer {
    pub(crate) fn new(wires: Wires, gauges: Arc<Gauges>) -> Self {
        Self {
            wires,
            gauges,
            routers: Vec::new(),
            sockets: Vec::new(),
            announcers: Vec::new(),
            packet: Box::new([0; HEADERS_MAX + MESSAGE_MAX]),
            backlog: VecDeque::with_capacity(64),
        }
    }

    pub(crate) fn perform(&mut self, action: Action, node: &mut Node, next: &mut Vec<Action>) {
        match action {
            Action::Advertise { router, priority } => self.advertise(router, priority, node, next),
            Action::Announce { router, mut range } => {
                let rest = range.end.min(range.start.saturating_add(ANNOUNCED_AT_ONCE))..range.end;
                range.end = rest.start;
                let [sent, failed] = self.announce(router, range, node);
                node.handle(Input::Announced { router, sent, failed }, clock::now(), next);
                // What is due meanwhile goes between.
                if !rest.is_empty() {
                    next.push(Action::Announce { router, range: rest });
                }
            }
            Action::AskClientLan { router } => self.ask_client_lan(router, node),
            Action::Inquire { router } => self.inquire(router, node),
            Action::Probe { router } => self.probe(router, node),
            Action::Acquire(ownership) => self.tell_kernel(Kernel::Acquire(ownership, clock::now())),
            Action::Release { ownership, followed } => {
                self.tell_kernel(Kernel::Release(ownership, followed));
            }
            Action::Renew(ownership) => self.renew(ownership.router),
            Action::Fence(ownership) => self.tell_kernel(Kernel::Fence(ownership, clock::now())),
            Action::Disclaim(ownership) => self.tell_kernel(Kernel::Disclaim(ownership)),
            Action::Report(report) => {
                if self.wires.notes.push(Note::Report(report, clock::now())).is_err() {
                    self.gauges.reports_lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Is there something that the kernel thread was too busy to take?
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Hands over what the kernel thread could not take before.
    pub(crate) fn send_backlog(&mut self) {
        while let Some(request) = self.backlog.pop_front() {
            if let Err(kernel::Message::Kernel(back)) =
                self.wires.kernel.push(kernel::Message::Kernel(request))
            {
                return self.backlog.push_front(back);
            }
        }
    }

    /// The next packet of the socket with this number in the epoll, if there is such a socket.
    pub(crate) fn next(&mut self, number: u64) -> Option<(LinkId, io::Result<Option<Incoming<'_>>>)> {
        let of_pair = number & u64::from(u32::MAX);
        let sockets = self.sockets.get_mut(usize::try_from(of_pair).ok()?)?.as_deref_mut()?;
        let next = match number - of_pair {
            0 => sockets.receiver.next(),
            WATCHER => sockets.watcher.next(),
            SEALED => sockets.sealed.as_mut()?.next(),
            refused => sockets.refused.get_mut(fault_of(refused)?)?.next(),
        };
        Some((link_of(of_pair)?, next))
    }

    /// The numbers of all links and families that may have sockets.
    pub(crate) fn pairs(&self) -> std::ops::Range<u64> {
        0..u64::try_from(self.sockets.len()).expect("numbers of 17 bits")
    }

    /// Has a packet of this pair told that there was no room for others?
    pub(crate) fn overran(&self, pair: u64) -> bool {
        let sockets = usize::try_from(pair).ok().and_then(|index| self.sockets.get(index)?.as_deref());
        sockets.is_some_and(|sockets| sockets.receiver.has_overrun())
    }

    /// What the kernel dropped since the last look, of what was refused for one fault or, by the number of
    /// a pair, of what may be for us.
    pub(crate) fn unread(&mut self, number: u64) -> Option<Input<'static>> {
        let of_pair = number & u64::from(u32::MAX);
        let sockets = self.sockets.get_mut(usize::try_from(of_pair).ok()?)?.as_deref_mut()?;
        let (packets, reason) = match fault_of(number - of_pair) {
            Some(fault) => (sockets.refused.get(fault)?.newly_dropped(), FAULTS[fault]),
            None => (sockets.receiver.newly_dropped(), DiscardReason::Overrun),
        };
        let packets = u64::from(packets);
        (packets > 0).then_some(Input::Unread { link: link_of(of_pair)?, reason, packets })
    }

    /// Says where a router runs.
    pub(crate) fn wire(&mut self, router: RouterId, wiring: Wiring) {
        let index = usize::from(router.0);
        if self.routers.len() <= index {
            self.routers.resize_with(index + 1, || None);
        }
        self.routers[index] = Some(wiring);
        self.wires.adverts.expect(router);
    }

    /// Takes another socket for announcements on a further interface, with its address, or none.
    pub(crate) fn announce_on(&mut self, link: LinkId, announcer: Option<(Announcer, MacAddress)>) {
        let index = usize::from(link.0);
        if self.announcers.len() <= index {
            self.announcers.resize_with(index + 1, || None);
        }
        self.announcers[index] = announcer;
    }

    /// Takes other sockets for a link and family. The old ones close. What was refused goes to an epoll of its own.
    pub(crate) fn replace_sockets(
        &mut self,
        [epoll, refused]: [&Epoll; 2],
        link: LinkId,
        family: Family,
        sockets: Option<Box<LinkSockets>>,
    ) {
        let number = socket_number(link, family);
        let index = usize::try_from(number).expect("a number of 17 bits");
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        // A file that closes leaves the epoll by itself; some are the kernel thread's too.
        if let Some(old) = std::mem::replace(&mut self.sockets[index], sockets) {
            for file in [old.watcher.as_fd(), old.receiver.as_fd()] {
                epoll.delete(file).expect("it has been waited for");
            }
            for file in &old.refused {
                refused.delete(file).expect("it has been looked at");
            }
        }
        if let Some(sockets) = &self.sockets[index] {
            let event = |number| EpollEvent::new(EpollFlags::EPOLLIN, number);
            let mut of_faults = (number | REFUSED..).step_by(1 << 32).zip(&sockets.refused);
            let added = epoll
                .add(&sockets.receiver, event(number))
                .and_then(|()| epoll.add(&sockets.watcher, event(number | WATCHER)))
                .and_then(|()| {
                    sockets.sealed.iter().try_for_each(|one| epoll.add(one, event(number | SEALED)))
                })
                .and_then(|()| of_faults.try_for_each(|(number, one)| refused.add(one, event(number))));
            added.expect("an open socket can be waited for");
        }
    }

    fn advertise(&mut self, router: RouterId, priority: Priority, node: &mut Node, next: &mut Vec<Action>) {
        let (mut sent, mut failed, mut last) = (0, 0, 0);
        // Before, or the time that this thread is stopped for between the two would be added.
        if let Some(Some(wiring)) = self.routers.get_mut(usize::from(router.0)) {
            wiring.advertised_at = clock::now();
        }
        for destination in node.destinations(router) {
            match self.send(router, priority, destination, node) {
                Ok(()) => sent += 1,
                Err(errno) => (failed, last) = (failed + 1, errno),
            }
        }
        let now: Instant = clock::now();
        node.handle(Input::Sent { router, priority, sent, failed, errno: last }, now, next);
    }

    fn send(
        &mut self,
        router: RouterId,
        priority: Priority,
        destination: IpAddr,
        node: &Node,
    ) -> Result<(), i32> {
        let way = node.way(router, destination).ok_or(libc::EADDRNOTAVAIL)?;
        let (headers, message) = self.packet.split_at_mut(HEADERS_MAX);
        let Some(octets) = node.advertisement(router, priority, destination, message) else {
            return Err(libc::EADDRNOTAVAIL);
        };
        let (start, end) = (HEADERS_MAX - header_len(Family::of(destination)), HEADERS_MAX + octets);
        write_header(&mut headers[start..], way.source, destination, octets).ok_or(libc::EMSGSIZE)?;
        let ethernet = node.ethernet_header(router, destination);
        if let Some(ethernet) = ethernet {
            headers[start - ETHERNET_HEADER..start].copy_from_slice(&ethernet);
        }
        let sockets = self.sockets_at(way.link, Family::of(destination)).ok_or(libc::ENODEV)?;
        match ethernet {
            // Through the interface below the device, which need not be up yet, or is down already.
            Some(_) => sockets.announcer.send(&self.packet[start - ETHERNET_HEADER..end]),
            None => sockets.transmitter.send(&self.packet[start..end], destination),
        }
    }

    /// Announces addresses wherever they are to be, and says how many frames left and how many did not.
    fn announce(&self, router: RouterId, range: Range<u16>, node: &Node) -> [u16; 2] {
        let Some(wiring) = self.wiring(router) else { return [0; 2] };
        let at = |link: LinkId| {
            let (announcer, mac) = self.announcers.get(usize::from(link.0))?.as_ref()?;
            Some((announcer, Some(*mac)))
        };
        let own = |index| match node.announced_elsewhere(router, index) {
            Some(link) => at(link),
            None => self.sockets_of(router).map(|sockets| (&sockets.announcer, None)),
        };
        let write =
            |index, station, frame: &mut _| node.announcement(router, index, wiring.form, station, frame);
        let mut frames = Frames::new();
        let each = || range.clone();
        each().for_each(|index| frames.add(own(index), |station, frame| write(index, station, frame)));
        for &link in &wiring.further {
            each().for_each(|index| frames.add(at(link), |station, frame| write(index, station, frame)));
        }
        frames.sent()
    }

    fn ask_client_lan(&self, router: RouterId, node: &Node) {
        let Some(sockets) = self.sockets_of(router) else { return };
        node.stations(router).for_each(|station| ask(sockets, |frame| node.question(router, station, frame)));
    }

    /// On each path by its own interface.
    fn inquire(&self, router: RouterId, node: &Node) {
        let Some(family) = self.wiring(router).map(|wiring| wiring.family) else { return };
        for (link, station) in node.inquired(router) {
            let Some(sockets) = self.sockets_at(link, family) else { continue };
            ask(sockets, |frame| node.inquiry(router, link, station, frame));
        }
    }

    fn renew(&mut self, router: RouterId) {
        let at = self.wiring(router).map_or(Instant::ZERO, |wiring| wiring.advertised_at);
        self.wires.adverts.tell(router, at);
        if self.wires.adverts.set_due(router) {
            self.tell_kernel(Kernel::Renew);
        }
    }

    fn probe(&self, router: RouterId, node: &Node) {
        let Some(sockets) = self.sockets_of(router) else { return };
        node.probed(router).for_each(|address| ask(sockets, |frame| node.probe(router, address, frame)));
    }

    fn tell_kernel(&mut self, request: Kernel) {
        // In order, or an address could outlive its release.
        self.backlog.push_back(request);
        self.send_backlog();
    }

    fn wiring(&self, router: RouterId) -> Option<&Wiring> {
        self.routers.get(usize::from(router.0))?.as_ref()
    }

    fn sockets_of(&self, router: RouterId) -> Option<&LinkSockets> {
        let wiring = self.wiring(router)?;
        self.sockets_at(wiring.link, wiring.family)
    }

    fn sockets_at(&self, link: LinkId, family: Family) -> Option<&LinkSockets> {
        self.sockets.get(usize::try_from(socket_number(link, family)).ok()?)?.as_deref()
    }
}

/// Announcements that leave with one system call, as long as they leave by one socket.
struct Frames<'a> {
    announcer: Option<&'a Announcer>,
    frames: [[u8; ANNOUNCEMENT_MAX]; SENT_AT_ONCE],
    octets: [usize; SENT_AT_ONCE],
    waiting: usize,
    /// How many left, and how many did not.
    counted: [u16; 2],
}

impl<'a> Frames<'a> {
    fn new() -> Self {
        Self {
            announcer: None,
            frames: [[0; ANNOUNCEMENT_MAX]; SENT_AT_ONCE],
            octets: [0; SENT_AT_ONCE],
            waiting: 0,
            counted: [0; 2],
        }
    }

    /// Adds what `write` writes for a station with this address, unless there is nothing to say, or nobody to
    /// say it.
    fn add(
        &mut self,
        to: Option<(&'a Announcer, Option<MacAddress>)>,
        write: impl FnOnce(Option<MacAddress>, &mut [u8; ANNOUNCEMENT_MAX]) -> Option<usize>,
    ) {
        let Some((announcer, station)) = to else { return };
        let same = self.announcer.is_some_and(|before| std::ptr::eq(before, announcer));
        if !same || self.waiting == SENT_AT_ONCE {
            self.send();
            self.announcer = Some(announcer);
        }
        if let Some(octets) = write(station, &mut self.frames[self.waiting]) {
            self.octets[self.waiting] = octets;
            self.waiting += 1;
        }
    }

    fn send(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(announcer) = self.announcer else { return };
        let mut frames: [&[u8]; SENT_AT_ONCE] = [&[]; SENT_AT_ONCE];
        for ((frame, octets), place) in self.frames.iter().zip(self.octets).zip(&mut frames).take(waiting) {
            *place = &frame[..octets];
        }
        let [sent, failed] = announcer.send_all(&frames[..waiting]);
        self.counted = [self.counted[0] + sent, self.counted[1] + failed];
    }

    fn sent(mut self) -> [u16; 2] {
        self.send();
        self.counted
    }
}

/// The fault that a socket is for, by its part of the number; `None`: it is for none.
fn fault_of(part: u64) -> Option<usize> {
    usize::try_from(part.checked_sub(REFUSED)? >> 32).ok()
}

fn link_of(of_pair: u64) -> Option<LinkId> {
    u16::try_from(of_pair >> 1).ok().map(LinkId)
}

/// Sends a question. What cannot be asked is not answered either, which is what the node goes by.
fn ask(sockets: &LinkSockets, write: impl FnOnce(&mut [u8; ANNOUNCEMENT_MAX]) -> Option<usize>) {
    let mut frame = [0; ANNOUNCEMENT_MAX];
    if let Some(octets) = write(&mut frame) {
        let _ = sockets.announcer.send(&frame[..octets]);
    }
}
