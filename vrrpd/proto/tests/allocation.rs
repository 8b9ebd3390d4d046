//! The protocol thread allocates and frees nothing in the core (decision 36): a counting allocator
//! watches every call of a node with two routers through two rounds of all that happens to it.

mod counting;
mod scene;

use std::net::IpAddr;
use std::sync::Arc;

use vrrp_proto::action::{Action, Input, Outcome, Ticket};
use vrrp_proto::node::{ANNOUNCEMENT_MAX, MESSAGE_MAX};
use vrrp_proto::packet::arp::GarpForm;
use vrrp_proto::packet::{ChecksumForm, Datagram, DiscardReason, Key, ParseError, Sighting, encode};
use vrrp_proto::parameters::{
    Authentication, Facts, GroupId, InterfaceState, KeyMode, Keyring, LinkId, Parameters, Replay, RouterId,
    Witness, WitnessPolicy,
};
use vrrp_proto::snapshot::{Reason, RouterSnapshot, StateName};
use vrrp_proto::tracking::{Effect, TrackerId, TrackerState};
use vrrp_proto::{AdverInterval, Family, Instant, Node, Priority, Vrid};

use crate::counting::calls;
use crate::scene::{A, LINK, VRID, addresses, announcement, facts, ip, ms, parameters, with_check};

const FOUR: RouterId = RouterId(0);
const SIX: RouterId = RouterId(1);

/// What is sent has a trailer, and what has none is heard.
fn keyed() -> Authentication {
    let key = Key::new(1, &[7; 32]).expect("32 octets");
    let ring = Keyring::new(vec![key], 1, KeyMode::Permissive, Replay::Monotonic);
    Authentication::Keyed(Arc::new(ring.expect("its only key")))
}

/// A node, the buffer of the caller, and how often the allocator was called by it.
struct Watched {
    node: Node,
    now: Instant,
    actions: Vec<Action>,
    tickets: [Ticket; 2],
    allocator_calls: u64,
}

impl Watched {
    fn new(sync_group: Option<GroupId>) -> Self {
        let four = Parameters {
            addresses: addresses(&["192.0.2.1", "192.0.2.4"]),
            sync_group,
            leased: true,
            ..with_check(Effect::Demote)
        };
        let six = Parameters {
            family: Family::Ipv6,
            addresses: addresses(&["fe80::5e:1", "2001:db8::1"]),
            peers: [ip("fe80::a"), ip("fe80::c")].into(),
            authentication: keyed(),
            sync_group,
            ..parameters()
        };
        let mut watched = Self {
            node: Node::new(),
            now: Instant::from_nanos(1_000_000_000_000),
            actions: Vec::with_capacity(256),
            tickets: [Ticket::default(); 2],
            allocator_calls: 0,
        };
        for (router, parameters) in [(FOUR, four), (SIX, six)] {
            let parameters = Box::new(parameters);
            watched.handle(Input::Configure { router, parameters });
        }
        watched
    }

    fn handle(&mut self, input: Input<'_>) {
        let before = calls();
        self.node.handle(input, self.now, &mut self.actions);
        self.allocator_calls += calls() - before;
        for action in &self.actions {
            if let Action::Acquire(request) | Action::Release { ownership: request, .. } = action {
                self.tickets[usize::from(request.router.0)] = request.ticket;
            }
        }
        // What the caller drops must not be the last owner of anything either.
        let before = calls();
        self.actions.clear();
        self.allocator_calls += calls() - before;
    }

    fn both(&mut self, each: impl Fn(RouterId) -> Input<'static>) {
        for router in [FOUR, SIX] {
            self.handle(each(router));
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        for router in [FOUR, SIX] {
            let ticket = self.tickets[usize::from(router.0)];
            self.handle(Input::Outcome { router, ticket, outcome });
        }
    }

    /// Both families hear an advertisement.
    fn hear(&mut self, priority: u8, form: ChecksumForm) {
        for (source, own, list) in [
            ("192.0.2.9", "224.0.0.18", ["192.0.2.1", "192.0.2.77"]),
            ("fe80::c", "fe80::b", ["fe80::5e:1", "2001:db8::1"]),
        ] {
            let list = list.map(ip);
            self.receive(LINK, ip(source), ip(own), VRID, priority, &list, form);
        }
    }

    /// Another station announces all addresses, and asks somebody with one of them.
    fn announced_elsewhere(&mut self) {
        let all = ["192.0.2.1", "192.0.2.4", "fe80::5e:1", "2001:db8::1"].map(announcement);
        let question = Sighting { announced: false, ..all[0] };
        let arrived = self.now;
        for sighting in all.into_iter().chain([question]) {
            self.handle(Input::Sighted { link: LINK, sighting, arrived });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a packet")]
    fn receive(
        &mut self,
        link: LinkId,
        source: IpAddr,
        destination: IpAddr,
        vrid: u8,
        priority: u8,
        list: &[IpAddr],
        form: ChecksumForm,
    ) {
        let mut message = [0; MESSAGE_MAX];
        let vrid = Vrid::new(vrid).expect("not zero");
        let priority = Priority::new(priority);
        let length =
            encode(&mut message, vrid, priority, AdverInterval::DEFAULT, list, source, destination, form)
                .expect("the advertisement is sound");
        let datagram = Datagram { source, destination, hop_limit: 255, payload: &message[..length] };
        let arrived = self.now;
        self.handle(Input::Received { link, datagram, arrived });
    }

    fn run_for(&mut self, time: std::time::Duration) {
        let end = self.now + time;
        while let Some(at) = self.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.handle(Input::Woke);
            self.handle(Input::Drained);
        }
        self.now = end;
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let before = calls();
        let at = self.node.poll_timeout();
        self.allocator_calls += calls() - before;
        at
    }

    fn snapshot(&mut self, router: RouterId) -> RouterSnapshot {
        let before = calls();
        let snapshot = self.node.snapshot(router, self.now).expect("configured");
        let present = self.node.addresses(router).filter(|address| address.present).count();
        self.allocator_calls += calls() - before;
        assert!(present <= 2);
        snapshot
    }

    fn expect_state(&mut self, state: StateName) {
        for router in [FOUR, SIX] {
            assert_eq!(self.snapshot(router).state, state, "{router:?}");
        }
    }

    /// The octets that the actions ask for are written to the caller's buffers.
    fn write(&mut self) {
        let (mut message, mut frame) = ([0; MESSAGE_MAX], [0; ANNOUNCEMENT_MAX]);
        let before = calls();
        let mut written = 0;
        for router in [FOUR, SIX] {
            for destination in self.node.destinations(router) {
                let length = self.node.advertisement(router, Priority::DEFAULT, destination, &mut message);
                written += usize::from(length.is_some());
            }
            for index in 0..2 {
                let length = self.node.announcement(router, index, GarpForm::Request, None, &mut frame);
                written += usize::from(length.is_some());
            }
        }
        self.allocator_calls += calls() - before;
        assert_eq!(written, 1 + 2 + 2 + 2);
    }
}

/// Everything that happens in the life of a router between configuration and shutdown.
fn round(watched: &mut Watched) {
    watched.expect_state(StateName::Backup);

    // Silence: Backup, Claiming, Active; two addresses for each router.
    watched.run_for(4 * A);
    watched.outcome(Outcome::Added { index: 0, foreign: false });
    watched.outcome(Outcome::Added { index: 1, foreign: true });
    watched.outcome(Outcome::Acquired);
    watched.run_for(10 * A);
    watched.expect_state(StateName::Active);
    watched.write();
    for (sent, failed) in [(1, 0), (1, 1), (0, 2), (2, 0)] {
        let priority = Priority::new(150);
        watched.both(|router| Input::Sent { router, priority, sent, failed, errno: 1 });
    }
    watched.both(|router| Input::Announced { router, sent: 2, failed: 1 });

    // A rival of lower rank, in the other checksum form, and one that resigns.
    watched.hear(100, ChecksumForm::MessageOnly);
    watched.run_for(A);
    watched.hear(0, ChecksumForm::PseudoHeader);
    watched.run_for(A);

    // A third party removes an address; it is put back, then refused.
    watched.outcome(Outcome::Lost { index: 1 });
    watched.outcome(Outcome::Added { index: 1, foreign: false });
    watched.outcome(Outcome::Acquired);

    // Discards: each place where a packet is counted.
    let (group, list) = (ip("224.0.0.18"), [ip("192.0.2.1")]);
    let form = ChecksumForm::PseudoHeader;
    watched.receive(LINK, ip("192.0.2.9"), group, 77, 100, &list, form);
    watched.receive(LINK, ip("192.0.2.3"), group, VRID, 100, &list, form);
    watched.receive(LINK, ip("0.0.0.0"), group, VRID, 100, &list, form);
    watched.receive(LINK, ip("192.0.2.9"), ip("192.0.2.3"), VRID, 100, &list, form);
    watched.handle(Input::Damaged { link: LINK, error: ParseError::Fragment });
    watched.handle(Input::Unread { link: LINK, reason: DiscardReason::Overrun, packets: 100_000 });
    let payload: &[u8] = &[0x31, VRID, 100, 9, 0, 100, 0, 0];
    let datagram = Datagram { source: ip("192.0.2.9"), destination: group, hop_limit: 255, payload };
    let arrived = watched.now;
    watched.handle(Input::Received { link: LINK, datagram, arrived });
    watched.handle(Input::Sealed { link: LINK, datagram });

    // A station that has the addresses too is seen, and told of an interval later.
    watched.run_for(3 * A);
    watched.announced_elsewhere();
    watched.run_for(2 * A);
    assert!(watched.snapshot(FOUR).alarms.contains(vrrp_proto::snapshot::Alarm::AddressConflict));

    // A failing check asks in vain, and comes back.
    watched.handle(Input::Tracked { tracker: TrackerId(0), state: TrackerState::Failing });
    watched.run_for(2 * A);
    watched.handle(Input::Tracked { tracker: TrackerId(0), state: TrackerState::Passing });
    watched.expect_state(StateName::Active);

    // A better router: Active, Leaving, Backup; it resigns, and we follow.
    watched.hear(200, form);
    watched.announced_elsewhere();
    watched.run_for(ms(1));
    watched.outcome(Outcome::Released);
    watched.expect_state(StateName::Backup);
    watched.hear(0, form);
    watched.run_for(A);
    watched.outcome(Outcome::Refused { index: 0, errno: 13 });
    watched.outcome(Outcome::Refused { index: 1, errno: 13 });
    watched.outcome(Outcome::Acquired);
    watched.run_for(2 * A);
    watched.outcome(Outcome::Released);

    // The link goes and comes.
    let down = |facts: Facts| Facts { interface: InterfaceState::Down, ..facts };
    watched.handle(Input::Facts { router: FOUR, facts: down(facts("192.0.2.3")) });
    watched.handle(Input::Facts { router: SIX, facts: down(facts("fe80::b")) });
    watched.outcome(Outcome::Released);
    watched.expect_state(StateName::Initialize);
    start(watched);
}

fn start(watched: &mut Watched) {
    watched.handle(Input::Facts { router: FOUR, facts: facts("192.0.2.3") });
    watched.handle(Input::Facts { router: SIX, facts: facts("fe80::b") });
}

#[test]
fn nothing_is_allocated_or_freed_between_configuration_and_shutdown() {
    // One after the other: they share the counter.
    for sync_group in [None, Some(GroupId(0))] {
        allocates_nothing(sync_group);
    }
    witnesses_allocate_nothing();
}

/// Answered, cut off as the Active Router, answered again.
fn witnesses_allocate_nothing() {
    let mut watched = Watched::new(None);
    let witness = Witness {
        peers: [ip("192.0.2.9")].into(),
        arp: [ip("192.0.2.254")].into(),
        tcp: ["198.51.100.7:443".parse().expect("an address and a port")].into(),
        policy: WitnessPolicy::Claim,
    };
    let parameters =
        Box::new(Parameters { witness: Some(witness), leased: true, ..with_check(Effect::Demote) });
    watched.handle(Input::Configure { router: FOUR, parameters });
    watched.handle(Input::Tracked { tracker: TrackerId(0), state: TrackerState::Passing });
    start(&mut watched);
    watched.allocator_calls = 0;
    for answered in [true, false, true] {
        for _ in 0..40 {
            watched.run_for(A / 4);
            watched.outcome(Outcome::Added { index: 0, foreign: false });
            watched.outcome(Outcome::Acquired);
            for address in ["192.0.2.9", "192.0.2.254"].into_iter().filter(|_| answered) {
                let sighting = Sighting { answer: true, ..announcement(address) };
                watched.handle(Input::Sighted { link: LINK, sighting, arrived: watched.now });
                watched.handle(Input::Witnessed { router: FOUR, nth: 0, asked: watched.now });
            }
        }
        let snapshot = watched.snapshot(FOUR);
        assert_eq!(
            (snapshot.state == StateName::Active, snapshot.reason == Reason::Isolated),
            (answered, !answered)
        );
    }
    assert_eq!(watched.allocator_calls, 0);
}

fn allocates_nothing(sync_group: Option<GroupId>) {
    let mut watched = Watched::new(sync_group);
    assert!(watched.allocator_calls > 0, "configuration allocates, and the counter sees it");
    watched.handle(Input::Tracked { tracker: TrackerId(0), state: TrackerState::Passing });
    start(&mut watched);
    watched.allocator_calls = 0;
    for nth in 1..=2 {
        round(&mut watched);
        assert_eq!(watched.allocator_calls, 0, "round {nth}");
    }
    watched.both(|router| Input::Shutdown { router });
    assert_eq!(watched.allocator_calls, 0, "shutdown");
}
