//! This host: all its Virtual Routers, and the trackers that they share. Bytes in, bytes out.

mod grouping;
mod routers;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::absence::{self, Absence, Ahead, Away};
use crate::action::{Action, Input, Order, OrderOutcome, Report};
use crate::discards::{Discarded, Told};
use crate::packet::ip::{self, ETHERNET_HEADER};
use crate::packet::{
    Advert, Datagram, DiscardReason, ParseError, Rules, Sighting, TRAILER, arp, ndisc, peek_vrid,
};
use crate::parameters::{LinkId, Parameters, RouterId};
pub use crate::router::Way;
use crate::router::{Context, Event, REPORT_SPACING, VirtualRouter};
use crate::snapshot::{
    AddressSnapshot, Discards, GlobalStatistics, LinkStatistics, RouterOutline, RouterSnapshot,
};
use crate::sync_group::Group;
use crate::tracking::{Assessment, Effect, TrackerId, TrackerState, Tracking};
use crate::{Family, Instant, MacAddress, Priority, Vrid};
use routers::Routers;

/// The longest VRRP message: 255 IPv6 addresses, and a keyed trailer.
pub const MESSAGE_MAX: usize = 8 + 255 * 16 + TRAILER;
/// The longest announcement: a neighbour advertisement.
pub const ANNOUNCEMENT_MAX: usize = ndisc::FRAME_LEN;
/// Timers of one router that are served in one wake-up; more means that time does not pass.
const TIMEOUTS_AT_ONCE: usize = 8;

/// All Virtual Routers of this host.
///
/// [`handle`](Self::handle) takes one input with the time, and appends a complete list of actions
/// to a buffer that the caller owns and empties; in the steady state neither allocates.
#[derive(Clone, Debug, Default)]
pub struct Node {
    routers: Routers,
    by_key: BTreeMap<(LinkId, Family, Vrid), RouterId>,
    trackers: Vec<TrackerState>,
    links: Vec<LinkRecord>,
    statistics: GlobalStatistics,
    /// Announcements keep a distance somewhere.
    spaced: bool,
    /// Some router asks stations whether they are there.
    asks: bool,
    groups: Vec<Group>,
    /// Time since 1970 at the origin of the clock.
    wall: Duration,
    /// Of the last input.
    now: Instant,
    /// When the loop woke up last.
    woke_at: Instant,
    ahead: Ahead,
    absences: Absences,
    /// The last turn served no timers.
    put_off: bool,
}

/// Absences, and when they were told.
#[derive(Clone, Debug, Default)]
struct Absences {
    /// The longest that has not been told.
    longest: Option<Absence>,
    not_before: Instant,
}

impl Absences {
    /// Takes note of another one, and tells the longest unless it is too soon.
    fn note(&mut self, absence: Option<Absence>, cx: &mut Context<'_>) {
        self.longest = self.longest.into_iter().chain(absence).max_by_key(|absence| absence.length);
        if let Some(absence) = self.longest.take_if(|_| self.not_before <= cx.now) {
            self.not_before = cx.now + REPORT_SPACING;
            cx.actions.push(Action::Report(Report::Away(absence)));
        }
    }
}

#[derive(Clone, Debug, Default)]
struct LinkRecord {
    statistics: LinkStatistics,
    discards: Discarded,
    /// When the next announcement may leave, where they keep a distance.
    announce_from: Instant,
    /// The number of the router whose turn it is.
    turn: usize,
}

impl LinkRecord {
    /// Tells of discarded packets, as far as it is not too soon.
    fn tell_discards(&mut self, link: LinkId, cx: &mut Context<'_>) {
        while let Some(Told { source, error, packets }) = self.discards.tell(cx.now) {
            let report = Report::Discarded { link, router: None, source, error, packets };
            cx.actions.push(Action::Report(report));
        }
    }
}

impl Node {
    /// A host without Virtual Routers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one input at the time `now`, which never goes back, and appends what is to be done.
    pub fn handle(&mut self, input: Input<'_>, now: Instant, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        let cx = &mut Context { now, wall: self.wall, actions };
        match input {
            Input::Woke => self.woke(cx),
            Input::Drained if self.puts_timers_off(now) => {}
            Input::Drained => {
                self.ask_stations(cx);
                self.routers.refresh(now);
                self.serve_timers(cx);
                // A router that has just started asks for the first time.
                self.ask_stations(cx);
                self.settle_groups(cx);
                for (link, record) in (0..).map(LinkId).zip(&mut self.links) {
                    record.tell_discards(link, cx);
                }
            }
            Input::Received { link, datagram, arrived } => {
                self.received(link, &datagram, arrived.min(now), cx)
            }
            Input::Sealed { link, datagram } => self.sealed(link, &datagram, cx),
            Input::Damaged { link, error } => self.discarded(link, None, error, cx),
            Input::Unread { link, reason, packets } => {
                self.all_discarded(link, None, ParseError::Unread { reason }, packets, cx);
            }
            Input::Sighted { link, sighting, arrived } => {
                self.sighted(link, sighting, arrived.min(now), cx);
            }
            Input::Facts { router, facts } => {
                self.with(router, cx, |router, cx| router.handle(Event::Facts(facts), cx));
            }
            Input::Witnessed { router, nth, asked } => {
                if let Some(router) = self.router_mut(router) {
                    router.witnessed(nth, asked, now);
                }
            }
            Input::Tracked { tracker, state } => self.tracked(tracker, state, cx),
            Input::Outcome { router, ticket, outcome } => self.with(router, cx, |router, cx| {
                if router.ticket() == ticket {
                    router.handle(Event::Outcome(outcome), cx);
                }
            }),
            Input::Sent { router, priority, sent, failed, errno } => {
                if let Some(router) = self.router_mut(router) {
                    router.sent(priority, sent, failed, errno, cx);
                }
            }
            Input::Announced { router, sent, failed } => {
                if let Some(router) = self.router_mut(router) {
                    router.announced(u64::from(sent), u64::from(failed));
                }
            }
            Input::Clocks { wall, boot } => {
                self.wall = wall;
                self.ahead.read(wall, boot);
            }
            Input::Configure { router, parameters } => self.configure(router, *parameters, cx),
            Input::Remove { router } => self.remove(router, cx),
            Input::Shutdown { router } => {
                self.groups.iter_mut().for_each(|group| group.forget(router));
                // The others may be next: they are brought together when all inputs are in.
                if let Some(router) = self.router_mut(router) {
                    router.handle(Event::Shutdown, cx);
                }
            }
            Input::Order { router, number, order } => self.order(router, number, order, cx),
        }
        if self.spaced {
            self.announce_in_turn(cx);
        }
        self.routers.refresh(now);
    }

    /// When [`Input::Woke`] and [`Input::Drained`] are due at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting =
            self.routers.iter().flatten().filter(|router| self.spaced && router.waits_to_announce());
        let turns = waiting.map(|router| self.announce_from(router));
        let groups = self.groups.iter().filter_map(|group| group.poll_timeout(&self.routers));
        let told = self.links.iter().filter_map(|record| record.discards.due_at());
        self.routers.first_due().into_iter().chain(turns).chain(groups).chain(told).min()
    }

    /// Is the next deadline, which is `at`, that of a router that takes its Active Router for dead then, unless it
    /// hears from it? Whoever is to perform what follows can get ready.
    pub fn claims_at(&self, at: Instant) -> bool {
        let due = self.routers.next_due(0, at).and_then(|id| self.router(id));
        due.is_some_and(|router| router.claims_at() == Some(at))
    }

    /// Where the advertisements of a router go to now: the group or each peer, and each peer on the
    /// second path.
    pub fn destinations(&self, router: RouterId) -> impl Iterator<Item = IpAddr> {
        self.router(router).into_iter().flat_map(VirtualRouter::destinations)
    }

    /// How an advertisement gets to one of the destinations.
    pub fn way(&self, router: RouterId, destination: IpAddr) -> Option<Way> {
        self.router(router)?.way(destination)
    }

    /// Who is asked whether the clients' LAN answers, or whether this node is cut off.
    pub fn stations(&self, router: RouterId) -> impl Iterator<Item = IpAddr> {
        self.router(router).into_iter().flat_map(VirtualRouter::neighbours)
    }

    /// Writes the Ethernet frame that asks a station whether it is there. `None` without an address to
    /// ask from.
    pub fn question(
        &self,
        router: RouterId,
        station: IpAddr,
        out: &mut [u8; ANNOUNCEMENT_MAX],
    ) -> Option<usize> {
        self.inquiry(router, self.router(router)?.parameters().link, station, out)
    }

    /// Who is asked by [`Action::Inquire`], and on which interface.
    pub fn inquired(&self, router: RouterId) -> impl Iterator<Item = (LinkId, IpAddr)> {
        self.router(router).into_iter().flat_map(VirtualRouter::inquired)
    }

    /// Writes the Ethernet frame that asks a station of one of the router's interfaces whether it is there.
    /// `None` without an address to ask from.
    pub fn inquiry(
        &self,
        router: RouterId,
        link: LinkId,
        station: IpAddr,
        out: &mut [u8; ANNOUNCEMENT_MAX],
    ) -> Option<usize> {
        let router = self.router(router)?;
        let (facts, first) = (router.facts(), router.parameters().link == link);
        let (mac, source) =
            if first { (facts.mac, facts.source) } else { (facts.second_mac, facts.second_source) };
        match (source?, station) {
            (IpAddr::V4(source), IpAddr::V4(station)) => {
                let frame = out.first_chunk_mut::<{ arp::FRAME_LEN }>()?;
                Some(arp::request(frame, mac, source, station))
            }
            (IpAddr::V6(source), IpAddr::V6(station)) => Some(ndisc::solicitation(out, mac, source, station)),
            _ => None,
        }
    }

    /// The addresses that [`Action::Probe`] asks about.
    pub fn probed(&self, router: RouterId) -> impl Iterator<Item = IpAddr> {
        self.router(router).into_iter().flat_map(VirtualRouter::probed)
    }

    /// Writes the Ethernet frame that asks who has a virtual address, so that only we learn from the
    /// answer: an ARP probe (RFC 5227 2.1.1) without a sender address, but a neighbour solicitation
    /// with one. Without, the answer would go to all nodes (RFC 4861 7.2.4) and draw them to whoever
    /// gives it.
    pub fn probe(
        &self,
        router: RouterId,
        address: IpAddr,
        out: &mut [u8; ANNOUNCEMENT_MAX],
    ) -> Option<usize> {
        let IpAddr::V4(target) = address else { return self.question(router, address, out) };
        let frame = out.first_chunk_mut::<{ arp::FRAME_LEN }>()?;
        Some(arp::request(frame, self.router(router)?.facts().mac, Ipv4Addr::UNSPECIFIED, target))
    }

    /// The address that the advertisements of a router leave from, while it has one.
    pub fn source(&self, router: RouterId) -> Option<IpAddr> {
        self.router(router)?.facts().source
    }

    /// Writes the VRRP message of an advertisement for one of the destinations and says how long it
    /// is: [`MESSAGE_MAX`] octets at most. `None` when there is nothing to send it from.
    pub fn advertisement(
        &self,
        router: RouterId,
        priority: Priority,
        destination: IpAddr,
        out: &mut [u8],
    ) -> Option<usize> {
        self.router(router)?.advertisement(priority, destination, self.unix(), out)
    }

    /// Time since 1970, at the last input.
    fn unix(&self) -> Duration {
        self.wall + (self.now - Instant::ZERO)
    }

    /// The Ethernet header of an advertisement, where it is not the host's own affair: to the group it
    /// leaves from the virtual MAC address if there is one (RFC 9568 7.2), so that the switches learn
    /// where that is. To a peer it goes the way of the host's own packets, as with deployed routers.
    pub fn ethernet_header(&self, router: RouterId, destination: IpAddr) -> Option<[u8; ETHERNET_HEADER]> {
        let router = self.router(router).filter(|router| router.parameters().virtual_mac)?;
        let group = MacAddress::of_group(destination)?;
        Some(ip::ethernet_header(group, router.mac(), Family::of(destination)))
    }

    /// The interface that one address of a router is announced on, where that is not the router's.
    pub fn announced_elsewhere(&self, router: RouterId, index: u16) -> Option<LinkId> {
        self.router(router)?.announceable(index)?.interface
    }

    /// Writes the Ethernet frame that announces one address of a router: a gratuitous ARP or an
    /// unsolicited neighbour advertisement, at `station` or, without one, at the router's interface.
    /// `None` while the address is not on its interface. `station` is the Ethernet address of the
    /// interface that [`announced_elsewhere`](Self::announced_elsewhere) names, or of a further one.
    pub fn announcement(
        &self,
        router: RouterId,
        index: u16,
        form: arp::GarpForm,
        station: Option<MacAddress>,
        out: &mut [u8; ANNOUNCEMENT_MAX],
    ) -> Option<usize> {
        let router = self.router(router)?;
        let address = router.announceable(index)?;
        let mac = station.unwrap_or(router.mac());
        match address.ip {
            IpAddr::V4(address) => {
                let frame = out.first_chunk_mut::<{ arp::FRAME_LEN }>()?;
                Some(arp::gratuitous(frame, form, mac, address))
            }
            IpAddr::V6(address) => Some(ndisc::unsolicited_advertisement(out, mac, address, true)),
        }
    }

    /// What an observer may see of a router.
    pub fn snapshot(&self, router: RouterId, now: Instant) -> Option<RouterSnapshot> {
        let router = self.router(router)?;
        let group = self.group_of(router).filter(|_| router.is_willing());
        let waits_for = group.and_then(|group| group.first_unwilling(&self.routers));
        let frozen = self.frozen(router).is_some();
        Some(RouterSnapshot { waits_for, frozen, ..router.snapshot(now) })
    }

    /// The same in few words.
    pub fn outline(&self, router: RouterId, now: Instant) -> Option<RouterOutline> {
        let router = self.router(router)?;
        Some(RouterOutline { frozen: self.frozen(router).is_some(), ..router.outline(now) })
    }

    /// The addresses of a router, in configured order.
    pub fn addresses(&self, router: RouterId) -> impl Iterator<Item = AddressSnapshot> {
        self.router(router).into_iter().flat_map(VirtualRouter::addresses)
    }

    /// Counters of packets that belong to no router of the interface.
    pub fn link_statistics(&self, link: LinkId) -> LinkStatistics {
        self.links.get(usize::from(link.0)).map(|record| record.statistics).unwrap_or_default()
    }

    /// Packets that belong to no router of the interface, by reason.
    pub fn link_discards(&self, link: LinkId, now: Instant) -> Discards {
        let record = self.links.get(usize::from(link.0));
        record.map(|record| record.discards.snapshot(now)).unwrap_or_default()
    }

    /// Counters of the whole host.
    pub fn statistics(&self) -> GlobalStatistics {
        self.statistics
    }

    /// Is the router shut down, with nothing left in the kernel?
    pub fn is_gone(&self, router: RouterId) -> bool {
        self.router(router).is_none_or(VirtualRouter::is_gone)
    }

    /// A little late, advertisements leave before the sockets are read. After an absence they do not.
    fn woke(&mut self, cx: &mut Context<'_>) {
        let before = std::mem::replace(&mut self.woke_at, cx.now);
        let mut ahead = self.ahead;
        let away = ahead.woke(before, cx.now, || self.poll_timeout());
        self.ahead = ahead;
        let mut absent = false;
        if let Some(away) = away {
            self.routers.iter_mut().flatten().for_each(|router| absent |= router.was_away(away, cx));
            self.routers.refresh(cx.now);
        }
        self.each_due(cx, VirtualRouter::woke);
        self.absences.note(away.filter(|_| absent).map(Away::longest), cx);
    }

    fn serve_timers(&mut self, cx: &mut Context<'_>) {
        self.each_due(cx, timeouts);
    }

    /// Does something to each router that has something to do by now.
    fn each_due(&mut self, cx: &mut Context<'_>, act: impl Fn(&mut VirtualRouter, &mut Context<'_>)) {
        let mut from = 0;
        while let Some(id) = self.routers.next_due(from, cx.now) {
            if let Some(Some(router)) = self.routers.slot(id) {
                act(router, cx);
            }
            from = usize::from(id.0) + 1;
        }
    }

    /// What is said about an address concerns whoever has it, and those who wait for an answer of anybody.
    fn sighted(&mut self, link: LinkId, sighting: Sighting, arrived: Instant, cx: &mut Context<'_>) {
        let event = Event::Sighted { sighting, arrived };
        if self.asks {
            for router in self.routers.iter_mut().flatten() {
                let Parameters { link: first, second_path, .. } = router.parameters();
                if *first == link {
                    router.handle(event.clone(), cx);
                } else if second_path.as_ref().is_some_and(|path| path.link == link) {
                    router.sighted_on_second(sighting, arrived, cx);
                }
            }
            return;
        }
        let mut from = Some(0);
        while let Some(id) = from.and_then(|from| self.routers.next_minding(link, sighting.address, from)) {
            if let Some(router) = self.router_mut(id) {
                router.handle(event.clone(), cx);
            }
            from = id.0.checked_add(1);
        }
    }

    /// Was the loop away in the middle of this turn? What came in meanwhile is read in the next one,
    /// before any timer; which is put off no further.
    fn puts_timers_off(&mut self, now: Instant) -> bool {
        let overdue = || self.poll_timeout().is_some_and(|due| now - due > absence::SHORTEST);
        self.put_off = !self.put_off && now - self.woke_at > absence::SHORTEST && overdue();
        self.put_off
    }

    fn received(&mut self, link: LinkId, datagram: &Datagram<'_>, arrived: Instant, cx: &mut Context<'_>) {
        let key = datagram.family().ok().zip(peek_vrid(datagram.payload));
        let router = key.and_then(|(family, vrid)| self.by_key.get(&(link, family, vrid)).copied());
        if let Some(router) = router.filter(|&router| self.router(router).is_some()) {
            let mut discarded = None;
            self.with(router, cx, |router, cx| match router.receive(link, datagram, arrived, cx) {
                Ok(advertisement) => router.handle(Event::Advertisement(advertisement), cx),
                Err(reason) => discarded = Some(reason),
            });
            discarded.into_iter().for_each(|reason| self.statistics.count(reason, 1));
            return;
        }
        // Nobody's: find out what it would have been, so that a foreign VRID is not counted as a
        // damaged packet.
        let error = match Advert::parse(datagram, &Rules::to_identify(datagram)) {
            Ok(advert) => ParseError::UnknownVrid { vrid: advert.vrid },
            Err(error) => error,
        };
        self.discarded(link, Some(datagram.source), error, cx);
    }

    fn sealed(&mut self, link: LinkId, datagram: &Datagram<'_>, cx: &mut Context<'_>) {
        let Some(vrid) = peek_vrid(datagram.payload) else {
            let error = ParseError::AuthenticationHeader;
            return self.discarded(link, Some(datagram.source), error, cx);
        };
        let router = self.by_key.get(&(link, Family::of(datagram.source), vrid)).copied();
        match router.and_then(|router| self.router_mut(router)) {
            Some(router) => {
                let reason = router.refuse(link, datagram, cx);
                self.statistics.count(reason, 1);
            }
            None => self.discarded(link, Some(datagram.source), ParseError::UnknownVrid { vrid }, cx),
        }
    }

    fn discarded(&mut self, link: LinkId, source: Option<IpAddr>, error: ParseError, cx: &mut Context<'_>) {
        self.all_discarded(link, source, error, 1, cx);
    }

    fn all_discarded(
        &mut self,
        link: LinkId,
        source: Option<IpAddr>,
        error: ParseError,
        packets: u64,
        cx: &mut Context<'_>,
    ) {
        let record = self.link_record(link);
        let counter = match error.reason() {
            DiscardReason::Header => &mut record.statistics.ip_header_errors,
            DiscardReason::Vrid => &mut record.statistics.vrid_errors,
            DiscardReason::Checksum => &mut record.statistics.checksum_errors,
            DiscardReason::Version => &mut record.statistics.version_errors,
            DiscardReason::Length => &mut record.statistics.packet_length_errors,
            DiscardReason::Authentication => &mut record.statistics.auth_errors,
            _ => &mut record.statistics.other_errors,
        };
        *counter += packets;
        record.discards.add_many(source, error, packets, cx.now);
        record.tell_discards(link, cx);
        self.statistics.count(error.reason(), packets);
    }

    fn tracked(&mut self, tracker: TrackerId, state: TrackerState, cx: &mut Context<'_>) {
        let index = usize::from(tracker.0);
        if self.trackers.len() <= index {
            self.trackers.resize(index + 1, TrackerState::Pending);
        }
        self.trackers[index] = state;
        for id in self.ids() {
            let counts = |router: &VirtualRouter| {
                router.parameters().tracking.iter().any(|tracking| tracking.tracker == tracker)
            };
            if self.router(id).is_some_and(counts) {
                self.reassess(id, cx);
            }
        }
        self.settle_groups(cx);
    }

    fn configure(&mut self, id: RouterId, parameters: Parameters, cx: &mut Context<'_>) {
        self.routers.extend_to(id);
        self.forget_keys(id);
        self.routers.ignore_addresses(id);
        let second = parameters.second_path.as_ref().map(|path| path.link);
        for link in second.into_iter().chain([parameters.link]) {
            self.link_record(link);
            self.by_key.insert((link, parameters.family, parameters.vrid), id);
        }
        let group = parameters.sync_group;
        if let Some(router) = self.router_mut(id) {
            router.trust_new_checks();
            router.reconfigure(parameters, cx);
        } else {
            let states = tracked_by(&parameters.tracking, &self.trackers, None);
            let priority = self.configured_priority(&parameters);
            let assessment = Assessment::new(priority, states);
            let router = VirtualRouter::new(id, parameters, assessment, cx.now);
            *self.routers.slot(id).expect("room was made for it above") = Some(router);
        }
        self.routers.mind_addresses(id);
        self.gather_group_of(id, group, cx);
        self.note_habits(id);
    }

    /// What a turn of the loop has to do for some routers, and leaves out while there are none of them.
    fn note_habits(&mut self, changed: RouterId) {
        let spaced = |router: &VirtualRouter| !router.parameters().announcements.spacing.is_zero();
        let any = |habit: &dyn Fn(&VirtualRouter) -> bool, before: bool| match self.router(changed) {
            Some(router) if habit(router) => true,
            _ => before && self.routers.iter().flatten().any(habit),
        };
        (self.spaced, self.asks) = (any(&spaced, self.spaced), any(&VirtualRouter::asks_stations, self.asks));
    }

    /// Packets find the router no longer by what it was configured with so far.
    fn forget_keys(&mut self, id: RouterId) {
        let Some(router) = self.router(id) else { return };
        let &Parameters { link, family, vrid, ref second_path, .. } = router.parameters();
        let links = [Some(link), second_path.as_ref().map(|path| path.link)];
        for key in links.into_iter().flatten().map(|link| (link, family, vrid)) {
            // Another one may have it by now.
            if self.by_key.get(&key) == Some(&id) {
                self.by_key.remove(&key);
            }
        }
    }

    /// Where announcements keep a distance, one of those that wait leaves each interface that may be
    /// sent on: the routers of it take turns, so that each gets its first address out early.
    fn announce_in_turn(&mut self, cx: &mut Context<'_>) {
        let (now, Self { routers, links, .. }) = (cx.now, self);
        let routers: &mut [Option<VirtualRouter>] = routers;
        let free = links.iter_mut().enumerate().filter(|(_, record)| record.announce_from <= now);
        for (link, record) in free {
            let count = routers.len();
            for index in (0..count).map(|nth| (record.turn + nth) % count) {
                let on_link = |router: &&mut VirtualRouter| usize::from(router.parameters().link.0) == link;
                let Some(router) = routers[index].as_mut().filter(on_link) else { continue };
                if router.announce_in_turn(cx) {
                    record.turn = index + 1;
                    record.announce_from = now + router.parameters().announcements.spacing;
                    break;
                }
            }
        }
    }

    fn announce_from(&self, router: &VirtualRouter) -> Instant {
        let record = self.links.get(usize::from(router.parameters().link.0));
        record.map_or(Instant::ZERO, |record| record.announce_from)
    }

    fn order(&mut self, id: RouterId, number: u32, order: Order, cx: &mut Context<'_>) {
        let Some(router) = self.router_mut(id) else { return };
        match order {
            Order::Freeze(states) => router.freeze(Some(states)),
            Order::Unfreeze => router.freeze(None),
            Order::TakeBack if router.membership().is_some() => return self.take_back(id, number, cx),
            order => {
                return self.with(id, cx, |router, cx| router.handle(Event::Order { number, order }, cx));
            }
        }
        let outcome = OrderOutcome::Done;
        cx.actions.push(Action::Report(Report::Ordered { router: id, number, outcome }));
        // Whoever is in its sync group goes by it as well.
        self.ids().for_each(|id| self.reassess(id, cx));
        self.settle_groups(cx);
    }

    fn remove(&mut self, id: RouterId, cx: &mut Context<'_>) {
        self.forget_keys(id);
        self.routers.ignore_addresses(id);
        if let Some(slot) = self.routers.slot(id) {
            *slot = None;
        }
        self.note_habits(id);
        self.regroup(cx);
        self.settle_groups(cx);
    }

    /// Tells a router when the sum of its checks changed.
    fn reassess(&mut self, id: RouterId, cx: &mut Context<'_>) {
        let Some(router) = self.router(id) else { return };
        let states = tracked_by(&router.parameters().tracking, &self.trackers, self.frozen(router))
            .chain(self.client_lans(router));
        let assessment = Assessment::new(router.configured_priority(), states);
        if assessment != *router.assessment()
            && let Some(router) = self.router_mut(id)
        {
            router.handle(Event::Assessed(assessment), cx);
        }
    }

    /// Puts the questions that are due, and tells the routers what has come of those before.
    fn ask_stations(&mut self, cx: &mut Context<'_>) {
        if !self.asks {
            return;
        }
        let mut changed = false;
        for id in self.ids() {
            if self.router(id).is_some_and(|router| router.asks_now(cx.now))
                && let Some(router) = self.router_mut(id)
            {
                router.ask_client_lan(cx);
                router.ask_witnesses(cx);
                changed |= router.client_lan_changed();
            }
        }
        if changed {
            // Whoever is in a sync group goes by the others as well.
            self.ids().for_each(|id| self.reassess(id, cx));
        }
    }

    /// What the clients' LANs say of a router and of the others of its sync group.
    fn client_lans<'a>(
        &'a self,
        router: &'a VirtualRouter,
    ) -> impl Iterator<Item = (Effect, TrackerState)> + Clone + 'a {
        let members = self.group_of(router).into_iter().flat_map(Group::members);
        let others = members.filter_map(|&id| self.router(id)).filter(|other| other.id() != router.id());
        std::iter::once(router).chain(others).filter_map(VirtualRouter::client_lan_effect)
    }

    fn ids(&self) -> impl Iterator<Item = RouterId> + use<> {
        (0..u16::try_from(self.routers.len()).unwrap_or(u16::MAX)).map(RouterId)
    }

    fn link_record(&mut self, link: LinkId) -> &mut LinkRecord {
        let index = usize::from(link.0);
        if self.links.len() <= index {
            self.links.resize_with(index + 1, LinkRecord::default);
        }
        &mut self.links[index]
    }

    fn router(&self, id: RouterId) -> Option<&VirtualRouter> {
        self.routers.get(usize::from(id.0))?.as_ref()
    }

    fn router_mut(&mut self, id: RouterId) -> Option<&mut VirtualRouter> {
        self.routers.slot(id)?.as_mut()
    }
}

/// Serves the timers of a router that have run out.
fn timeouts(router: &mut VirtualRouter, cx: &mut Context<'_>) {
    router.tell_shown(cx);
    for _ in 0..TIMEOUTS_AT_ONCE {
        if router.poll_timeout().is_none_or(|at| at > cx.now) {
            return;
        }
        router.handle(Event::Timeout, cx);
    }
}

fn tracked_by<'a>(
    tracking: &'a [Tracking],
    states: &'a [TrackerState],
    frozen: Option<&'a [(TrackerId, TrackerState)]>,
) -> impl Iterator<Item = (Effect, TrackerState)> + Clone + 'a {
    let state_of = move |tracker: TrackerId| match frozen {
        Some(frozen) => frozen.iter().find(|(frozen, _)| *frozen == tracker).map(|(_, state)| *state),
        None => states.get(usize::from(tracker.0)).copied(),
    };
    tracking.iter().map(move |tracking| (tracking.effect, state_of(tracking.tracker).unwrap_or_default()))
}
