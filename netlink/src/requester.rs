//! Performs requests and lists what there is.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_ERROR, NetlinkMessage};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::{RouteMessage, RouteProtocol};
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::channel::{Channel, Received, Wait};
use crate::fault::Fault;
use crate::route;
use crate::wire::{self, Message, Messages, Verdict, append};
use crate::{
    AddressEntry, Change, Error, Gateway, Ipv4Settings, LeftOver, Link, LinkIndex, Neighbour, PROTOCOL,
    Request, RouteEntry, Way,
};

/// A socket for requests, in the network namespace of the thread that opened it.
///
/// Every call returns when the kernel has acted. An answer that is lost is an error after a second,
/// not a hang, and a late answer is never taken for one to a later request.
pub struct Requester {
    channel: Channel,
    /// Of the next request. An answer carries that of its request.
    sequence: u32,
    /// How many answers fit in the kernel's receive buffer.
    answers_at_once: usize,
    /// How many bytes fit in one message to the kernel.
    bytes_at_once: usize,
    /// The messages of one batch, kept to use the memory again.
    outgoing: Vec<u8>,
}

impl Requester {
    /// Opens one. Needs no right; to change something needs CAP_NET_ADMIN.
    pub fn open() -> Result<Self, Error> {
        let failed = |source| Error::Socket { operation: "open a netlink socket".into(), source };
        let channel = Channel::open(NETLINK_ROUTE, BUFFER).map_err(failed)?;
        // Words with errors (Linux 4.12), and errors that do not repeat the request (4.3). Without
        // them the answers are merely poorer, or longer.
        let _ = channel.socket().set_ext_ack(true);
        let _ = channel.socket().set_cap_ack(true);
        let bytes_at_once = channel.enlarge_send_buffer(BUFFER) / 2;
        let answers_at_once = (channel.receive_buffer() / ANSWER_COST).max(1);
        Ok(Self { channel, sequence: 1, answers_at_once, bytes_at_once, outgoing: Vec::new() })
    }

    /// The socket's netlink port. Events that our requests cause carry it.
    pub fn port(&self) -> u32 {
        self.channel.port()
    }

    /// Performs the requests in order, each whether or not those before it worked, and returns one
    /// result for each.
    ///
    /// All go to the kernel in one system call, which lasts as long as it takes to perform them,
    /// unless there are more than the socket's buffers can take: 1638 of them, or 332 for a process
    /// without CAP_NET_ADMIN in the initial user namespace, under the system's default limits.
    pub fn perform(&mut self, requests: &[Request]) -> Vec<Result<Change, Error>> {
        let mut results = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let mut batch = self.encode(rest);
            rest = &rest[batch.requests.len()..];
            self.exchange(&mut batch);
            results.extend(batch.outcomes());
        }
        results
    }

    /// Every link of the namespace, in the kernel's order.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut message = LinkMessage::default();
        // Statistics are the larger part of the answer, and not looked at (Linux 4.4).
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let question = RouteNetlinkMessage::GetLink(message);
        self.dump("list the links", &question, |message| match message.kind {
            libc::RTM_NEWLINK => Link::parse(message.payload),
            _ => Ok(None),
        })
    }

    /// The settings of IPv4 of a link; `None`: there is no such link, or it has no IPv4.
    pub fn ipv4_settings(&mut self, link: LinkIndex) -> Result<Option<Ipv4Settings>, Error> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let list = self.dump("list the settings of IPv4", &question, |message| match message.kind {
            libc::RTM_NEWLINK => Ipv4Settings::parse(message.payload),
            _ => Ok(None),
        })?;
        Ok(list.into_iter().find(|settings| settings.link == link))
    }

    /// Every address of every link, in the kernel's order: IPv4 before IPv6. It chooses the source
    /// address of a link by that order.
    pub fn addresses(&mut self) -> Result<Vec<AddressEntry>, Error> {
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        self.dump("list the addresses", &question, |message| match message.kind {
            libc::RTM_NEWADDR => AddressEntry::parse(message.payload),
            _ => Ok(None),
        })
    }

    /// The routes of all tables that lead somewhere, in the kernel's order.
    pub fn routes(&mut self) -> Result<Vec<RouteEntry>, Error> {
        let question = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        self.dump("list the routes", &question, |message| match message.kind {
            libc::RTM_NEWROUTE => RouteEntry::parse(message.payload),
            _ => Ok(None),
        })
    }

    /// The routers of the default routes of the main table, each once, in the kernel's order.
    pub fn gateways(&mut self) -> Result<Vec<Gateway>, Error> {
        let mut gateways: Vec<Gateway> = Vec::new();
        for gateway in self.routes()?.iter().flat_map(RouteEntry::gateways) {
            // The same router in several routes, told apart by their metrics.
            if !gateways.contains(&gateway) {
                gateways.push(gateway);
            }
        }
        Ok(gateways)
    }

    /// Which way a packet of this host to `destination` takes now.
    ///
    /// # Errors
    ///
    /// As for any list; that there is no route is none.
    pub fn way_to(&mut self, destination: IpAddr) -> Result<Way, Error> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut message = route::question(destination);
        message.header.flags = NLM_F_REQUEST;
        self.outgoing.clear();
        append(&mut self.outgoing, message, sequence);
        let mut way = Way::Nowhere;
        let sent = self.channel.send(&self.outgoing).map_err(Fault::from);
        let told = sent.and_then(|()| {
            // The answer is one message, which no end of a list follows.
            self.channel.collect(sequence, |message| {
                if message.kind == libc::RTM_NEWROUTE {
                    way = route::answer(message.payload)?;
                }
                Ok(ControlFlow::Break(()))
            })
        });
        match told {
            Ok(_) => Ok(way),
            Err(Fault::Refused(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL, _)) => {
                Ok(Way::Nowhere)
            }
            Err(fault) => {
                let _ = self.channel.drain();
                Err(fault.error(format!("ask for the route to {destination}")))
            }
        }
    }

    /// The stations of every link whose link-layer addresses are known, of one family.
    ///
    /// # Errors
    ///
    /// As for any list.
    pub fn neighbours(&mut self, ipv6: bool) -> Result<Vec<Neighbour>, Error> {
        let mut question = NeighbourMessage::default();
        question.header.family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let question = RouteNetlinkMessage::GetNeighbour(question);
        self.dump("list the neighbours", &question, |message| match message.kind {
            libc::RTM_NEWNEIGH => Neighbour::parse(message.payload),
            _ => Ok(None),
        })
    }

    /// Every route and rule that carries our mark.
    ///
    /// # Errors
    ///
    /// As for any list.
    pub fn left_over(&mut self) -> Result<Vec<LeftOver>, Error> {
        // With this the kernel sorts out other routes (Linux 4.20), of which there may be a million;
        // without it we do.
        let strict = self.channel.socket().set_netlink_get_strict_chk(true).is_ok();
        let found = self.list_left_over();
        if strict {
            let _ = self.channel.socket().set_netlink_get_strict_chk(false);
        }
        found
    }

    fn list_left_over(&mut self) -> Result<Vec<LeftOver>, Error> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut routes = RouteMessage::default();
            routes.header.address_family = family;
            routes.header.protocol = RouteProtocol::from(PROTOCOL);
            let question = RouteNetlinkMessage::GetRoute(routes);
            found.extend(self.dump("list the routes", &question, |message| match message.kind {
                libc::RTM_NEWROUTE => LeftOver::parse_route(message.payload),
                _ => Ok(None),
            })?);
            let mut rules = RuleMessage::default();
            rules.header.family = family;
            let question = RouteNetlinkMessage::GetRule(rules);
            found.extend(self.dump("list the rules", &question, |message| match message.kind {
                libc::RTM_NEWRULE => LeftOver::parse_rule(message.payload),
                _ => Ok(None),
            })?);
        }
        Ok(found)
    }

    /// Puts as many requests into `outgoing` as fit, at least one.
    fn encode<'a>(&mut self, requests: &'a [Request]) -> Batch<'a> {
        let first = self.sequence;
        self.outgoing.clear();
        let mut outcomes = Vec::new();
        for request in requests.iter().take(self.answers_at_once) {
            if let Some(name) = request.impossible_name() {
                let error = Error::Name { operation: request.to_string(), name: name.to_owned() };
                outcomes.push(Some(Err(error)));
            } else {
                let start = self.outgoing.len();
                append(&mut self.outgoing, request.message(), self.sequence);
                if start > 0 && self.outgoing.len() > self.bytes_at_once {
                    self.outgoing.truncate(start);
                    break;
                }
                outcomes.push(None);
            }
            self.sequence = self.sequence.wrapping_add(1);
        }
        Batch { first, requests: &requests[..outcomes.len()], outcomes }
    }

    /// Sends `outgoing` and collects the answers.
    fn exchange(&mut self, batch: &mut Batch<'_>) {
        if self.outgoing.is_empty() {
            return;
        }
        let mut result = self.channel.send(&self.outgoing).map_err(Fault::from);
        if result.is_ok() {
            result = self.collect(batch);
        }
        if let Err(fault) = result {
            batch.settle(&fault);
            // Whatever else is to come belongs to requests that were given up.
            let _ = self.channel.drain();
        }
    }

    fn collect(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault> {
        let mut open = batch.outcomes.iter().filter(|outcome| outcome.is_none()).count();
        let mut overrun = false;
        while open > 0 {
            // The kernel has acted by now: after a loss, what is not there will not come.
            let wait = if overrun { Wait::No } else { Wait::Answer };
            match self.channel.receive(wait)? {
                Received::Datagram(length) => {
                    for message in Messages::new(self.channel.datagram(length)) {
                        open -= usize::from(batch.answer(&message.map_err(Fault::Malformed)?));
                    }
                }
                Received::Truncated(length) => return Err(Fault::Truncated(length)),
                Received::Overrun => overrun = true,
                Received::Nothing if overrun => return Err(Fault::Overrun),
                Received::Nothing => return Err(Fault::Timeout),
            }
        }
        // The kernel stays deaf after an overrun until its queue was seen empty.
        if overrun { self.channel.drain().map_err(Fault::from) } else { Ok(()) }
    }

    /// Asks until a list has come whole and without a change in between.
    fn dump<T>(
        &mut self,
        operation: &str,
        question: &RouteNetlinkMessage,
        read: fn(&Message<'_>) -> Result<Option<T>, String>,
    ) -> Result<Vec<T>, Error> {
        let mut last = None;
        for _ in 0..DUMP_ATTEMPTS {
            match self.dump_once(question, read) {
                Ok(Some(list)) => return Ok(list),
                Ok(None) => last = None,
                Err(fault) => {
                    // A list that was broken off would stand in the way of the next one.
                    let drained = self.channel.drain();
                    if let Err(source) = drained {
                        return Err(Fault::from(source).error(operation.to_owned()));
                    }
                    match fault {
                        // The buffer has grown, or the queue is empty now.
                        Fault::Overrun => last = Some(fault),
                        Fault::Truncated(length) if length <= Channel::LIMIT => last = Some(fault),
                        _ => return Err(fault.error(operation.to_owned())),
                    }
                }
            }
        }
        let operation = operation.to_owned();
        Err(match last {
            Some(fault) => fault.error(operation),
            None => Error::Unstable { operation, attempts: DUMP_ATTEMPTS },
        })
    }

    /// Asks once. `None`: something changed meanwhile, so that entries may be missing.
    fn dump_once<T>(
        &mut self,
        question: &RouteNetlinkMessage,
        read: fn(&Message<'_>) -> Result<Option<T>, String>,
    ) -> Result<Option<Vec<T>>, Fault> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(question.clone());
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        self.outgoing.clear();
        append(&mut self.outgoing, message, sequence);
        self.channel.send(&self.outgoing)?;

        let mut list = Vec::new();
        let interrupted = self.channel.collect(sequence, |message| {
            list.extend(read(message)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((!interrupted).then_some(list))
    }
}

impl AsFd for Requester {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Requests that go in one system call, and what became of each so far.
struct Batch<'a> {
    /// Sequence number of the first; the others follow.
    first: u32,
    requests: &'a [Request],
    outcomes: Vec<Option<Result<Change, Error>>>,
}

impl<'a> Batch<'a> {
    /// Enters an answer; `false`: it was none to a request that is still open.
    fn answer(&mut self, message: &Message<'_>) -> bool {
        let position = message.sequence.wrapping_sub(self.first) as usize;
        let (Some(request), Some(outcome @ None)) =
            (self.requests.get(position), self.outcomes.get_mut(position))
        else {
            return false;
        };
        if message.kind != NLMSG_ERROR {
            return false;
        }
        *outcome = Some(match wire::verdict(message) {
            Ok(Verdict::Acknowledged) => Ok(Change::Made),
            Ok(Verdict::Refused(errno, _)) if request.already_true(errno) => Ok(Change::Unchanged),
            Ok(Verdict::Refused(errno, words)) => {
                Err(Fault::Refused(errno, words).error(request.to_string()))
            }
            Err(detail) => Err(Fault::Malformed(detail).error(request.to_string())),
        });
        true
    }

    /// Gives every request that is still open the same result.
    fn settle(&mut self, fault: &Fault) {
        for (request, outcome) in self.requests.iter().zip(&mut self.outcomes) {
            outcome.get_or_insert_with(|| Err(fault.error(request.to_string())));
        }
    }

    fn outcomes(self) -> impl Iterator<Item = Result<Change, Error>> {
        self.outcomes.into_iter().map(|outcome| outcome.expect("exchange ends when nothing is open"))
    }
}

/// What is asked for as buffers in bytes; the kernel doubles it for its own needs.
const BUFFER: usize = 1 << 20;

/// What an answer takes of the receive buffer in bytes, with words and the kernel's overhead.
const ANSWER_COST: usize = 1280;

/// How often a list is tried that changes or gets lost meanwhile.
const DUMP_ATTEMPTS: u32 = 10;

/// For the fuzzer: an answer, while one request is open.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(message: &Message<'_>) {
    let requests = [Request::RemoveLink { link: LinkIndex::new(7) }];
    let mut batch = Batch { first: message.sequence, requests: &requests, outcomes: vec![None] };
    let answered = batch.answer(message);
    assert!(!batch.answer(message), "a request is answered once");
    assert_eq!(answered, batch.outcomes[0].is_some());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{hex, only};
    use crate::{Address, LinkIndex};

    /// `EEXIST` to the request of sequence number 77.
    const EXISTS: &str = "
        24000000 0200 0001 4d000000 70aa6b86 efffffff 3c000000140005064d00000000000000";

    fn addition() -> Request {
        let address = Address::host([192, 0, 2, 10].into());
        Request::AddAddress { link: LinkIndex::new(4), address, lifetime: None, options: Default::default() }
    }

    fn batch(first: u32, requests: &[Request]) -> Batch<'_> {
        Batch { first, requests, outcomes: requests.iter().map(|_| None).collect() }
    }

    #[test]
    fn an_answer_goes_to_its_request() {
        let requests = [addition(), addition(), addition()];
        let mut batch = batch(76, &requests);
        assert!(batch.answer(&only(&hex(EXISTS))));
        assert!(matches!(batch.outcomes[..], [None, Some(Ok(Change::Unchanged)), None]));
        assert!(!batch.answer(&only(&hex(EXISTS))), "once");
    }

    #[test]
    fn a_late_answer_goes_to_no_request() {
        let requests = [addition(), addition()];
        for first in [75, 78, u32::MAX] {
            let mut batch = batch(first, &requests);
            assert!(!batch.answer(&only(&hex(EXISTS))));
            assert!(batch.outcomes.iter().all(Option::is_none));
        }
    }

    #[test]
    fn sequence_numbers_may_wrap() {
        let requests = vec![addition(); 79];
        let mut batch = batch(u32::MAX, &requests);
        assert!(batch.answer(&only(&hex(EXISTS))));
        assert!(batch.outcomes[78].is_some(), "0 follows 4294967295");
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_error_of_its_request() {
        let requests = [addition()];
        let mut batch = batch(77, &requests);
        assert!(batch.answer(&only(&hex("12000000 0200 0000 4d000000 70aa6b86 efff 0000"))));
        assert!(matches!(batch.outcomes[..], [Some(Err(Error::Malformed { .. }))]));
    }

    #[test]
    fn what_stays_open_gets_the_cause_and_what_is_known_stays() {
        let requests = [addition(), addition()];
        let mut batch = batch(77, &requests);
        batch.answer(&only(&hex(EXISTS)));
        batch.settle(&Fault::Timeout);
        let results: Vec<_> = batch.outcomes().collect();
        assert!(matches!(results[..], [Ok(Change::Unchanged), Err(Error::Timeout { .. })]));
    }
}
