//! The loop with real sockets, in a network namespace of its own.

use std::net::{IpAddr, Ipv4Addr};

use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use vrrp_proto::packet::arp::GarpForm;
use vrrp_proto::packet::{ChecksumForm, ChecksumPolicy, encode};
use vrrp_proto::parameters::{
    Announcements, Authentication, Facts, InterfaceState, OnConflict, Parameters, VirtualAddress,
};
use vrrp_proto::snapshot::StateName;
use vrrp_proto::{AdverInterval, MacAddress, Priority, Version, Vrid};

use super::*;
use crate::net::Wanted;

#[path = "../../proto/tests/counting/mod.rs"]
mod counting;

const LINK: LinkId = LinkId(0);
const ROUTER: RouterId = RouterId(0);
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 193);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 194);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 201);
/// Addresses that move along: announced with more than one system call.
const EXTRA: u16 = 150;
const LOOPBACK: netlink::LinkIndex = netlink::LinkIndex::new(1);

fn parameters() -> Parameters {
    Parameters {
        link: LINK,
        vrid: Vrid::new(201).expect("not zero"),
        family: Family::Ipv4,
        priority: Priority::new(150),
        interval: AdverInterval::from_centiseconds(1).expect("in range"),
        authentication: Authentication::None,
        addresses: (0..=EXTRA)
            .map(|n| Ipv4Addr::from_bits(VIP.to_bits() + u32::from(n)))
            .map(|ip| VirtualAddress { ip: ip.into(), prefix_len: 32, interface: None })
            .collect(),
        extra_addresses: EXTRA,
        peers: [PEER.into()].into(),
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
        leased: true,
        fenced: true,
        announcements: Announcements {
            count: 5,
            interval: Duration::from_millis(10),
            second_after: Duration::from_millis(100),
            refresh: Duration::from_millis(100),
            refresh_count: 1,
            lower_priority_count: 1,
            lower_priority_second_after: Duration::ZERO,
            spacing: Duration::ZERO,
        },
        tracking: Vec::new(),
        sync_group: None,
    }
}

fn wires() -> Wires {
    Wires {
        messages: Mailbox::new(256).expect("an eventfd"),
        kernel: Mailbox::new(64).expect("an eventfd"),
        adverts: Arc::new(Adverts::new(Mailbox::new(64).expect("an eventfd"))),
        notes: Mailbox::new(64).expect("an eventfd"),
    }
}

/// A network of our own on the loopback link, where we are our own peer.
fn network() -> bool {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        assert!(std::env::var_os("CI").is_none(), "no network namespace: {error}");
        eprintln!("skipped, no network namespace can be made: {error}");
        return false;
    }
    let mut requester = netlink::Requester::open().expect("sockets can be had");
    let add = |ip: Ipv4Addr| netlink::Request::AddAddress {
        link: LOOPBACK,
        address: netlink::Address::host(ip.into()),
        lifetime: None,
        options: Default::default(),
    };
    for answer in requester.perform(&[netlink::Request::SetUp { link: LOOPBACK }, add(OWN), add(PEER)]) {
        answer.expect("the loopback link takes it");
    }
    true
}

/// Plays the other threads: the kernel thread has done at once what it is asked, and nobody reads the notes.
struct Others {
    wires: Wires,
    peer: Socket,
}

impl Others {
    fn answer(&self) {
        while let Some(message) = self.wires.kernel.pop() {
            if let crate::kernel::Message::Kernel(Kernel::Acquire(ownership, _)) = message {
                let added = ownership.range.map(|index| Outcome::Added { index, foreign: false });
                for outcome in added.chain([Outcome::Acquired]) {
                    let (router, ticket) = (ownership.router, ownership.ticket);
                    self.tell(Message::Input(Input::Outcome { router, ticket, outcome }));
                }
            }
        }
        while self.wires.notes.pop().is_some() {}
    }

    fn tell(&self, message: Message) {
        assert!(self.wires.messages.push(message).is_ok(), "there is room");
    }

    /// The peer speaks up, as a Backup of lower priority never would.
    fn speak(&self) {
        let mut message = [0; 12];
        let (vrid, interval) = (parameters().vrid, parameters().interval);
        let (source, destination): (IpAddr, IpAddr) = (PEER.into(), OWN.into());
        let form = ChecksumForm::PseudoHeader;
        encode(&mut message, vrid, Priority::new(100), interval, &[VIP.into()], source, destination, form)
            .expect("it fits");
        self.peer
            .send_to(&message, &SockAddr::from(std::net::SocketAddrV4::new(OWN, 0)))
            .expect("it is sent");
    }
}

/// The loop with one router, and the others; `None`: there is no network.
fn one_router() -> Option<(Loop, Others)> {
    if !network() {
        return None;
    }
    let wires = wires();
    let peer = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).expect("we are root");
    peer.bind(&SockAddr::from(std::net::SocketAddrV4::new(PEER, 0))).expect("its address is here");
    peer.set_ttl_v4(255).expect("a time to live");
    let others = Others { wires: wires.clone(), peer };
    let mut protocol = Loop::new(wires, Arc::default()).expect("a timer and an epoll");

    let wanted = Wanted {
        groups: [].into(),
        groups_v2: [].into(),
        vrids: [parameters().vrid].into(),
        versions: [Version::V3].into(),
        least_hop_limit: 255,
    };
    let (sockets, _sieve, _aim) =
        LinkSockets::open("lo", LOOPBACK.get(), Family::Ipv4, &wanted).expect("we are root");
    let (router, family) = (ROUTER, Family::Ipv4);
    others.tell(Message::Sockets { link: LINK, family, sockets: Some(Box::new(sockets)) });
    let wiring = Wiring {
        link: LINK,
        family,
        form: GarpForm::Request,
        further: [].into(),
        advertised_at: Instant::ZERO,
    };
    others.tell(Message::Wiring(router, wiring));
    others.tell(Message::Input(Input::Configure { router, parameters: Box::new(parameters()) }));
    let facts = Facts {
        interface: InterfaceState::Up,
        source: Some(OWN.into()),
        mac: MacAddress::new([2, 0, 0, 0, 0, 1]),
        ..Facts::UNKNOWN
    };
    others.tell(Message::Input(Input::Facts { router, facts }));
    assert!(protocol.turn().is_continue());
    Some((protocol, others))
}

fn snapshot(protocol: &Loop) -> RouterSnapshot {
    protocol.node.snapshot(ROUTER, clock::now()).expect("it is configured")
}

#[test]
fn the_loop_allocates_nothing_while_it_receives_decides_and_sends() {
    let Some((mut protocol, others)) = one_router() else { return };
    let mut allocator_calls = 0;
    let end = clock::now() + Duration::from_secs(30);
    let enough = |protocol: &Loop| {
        let RouterSnapshot { state, statistics, .. } = snapshot(protocol);
        let announced = statistics.announcements_sent >= 8 * u64::from(EXTRA);
        let sent = statistics.advertisement_sent >= 50 && announced;
        state == StateName::Active && sent && statistics.advertisement_rcvd >= 10
    };
    while !enough(&protocol) {
        assert!(clock::now() < end, "{:?}", snapshot(&protocol));
        others.answer();
        others.speak();
        let before = counting::calls();
        assert!(protocol.turn().is_continue());
        allocator_calls += counting::calls() - before;
    }
    assert_eq!(allocator_calls, 0);
}

#[test]
fn an_advertisement_that_is_due_goes_between_many_announcements() {
    let Some((mut protocol, others)) = one_router() else { return };
    let end = clock::now() + Duration::from_secs(30);
    while snapshot(&protocol).statistics.announcements_sent <= u64::from(EXTRA) {
        assert!(clock::now() < end, "{:?}", snapshot(&protocol));
        others.answer();
        assert!(protocol.turn().is_continue());
    }
    let due = protocol.node.poll_timeout().expect("it is Active");
    while clock::now() <= due {
        std::hint::spin_loop();
    }
    let before = snapshot(&protocol).statistics;
    protocol.actions.push(Action::Announce { router: ROUTER, range: 0..EXTRA });
    protocol.perform();
    let after = snapshot(&protocol).statistics;
    assert!(after.advertisement_sent > before.advertisement_sent, "it waits for the announcements");
    let announced = after.announcements_sent - before.announcements_sent;
    assert!(announced >= u64::from(EXTRA), "{announced} of {EXTRA}");
}

#[test]
fn the_kernel_thread_is_awake_when_a_router_claims() {
    let Some((mut protocol, others)) = one_router() else { return };
    protocol.parallel = true;
    let claim = protocol.node.poll_timeout().expect("it counts the silence");
    let stays_awake = || matches!(others.wires.kernel.pop(), Some(crate::kernel::Message::StayAwake));
    let ahead = claim.saturating_sub(AHEAD);
    assert_eq!(protocol.get_ready(claim, ahead.saturating_sub(WAIT)), ahead);
    assert!(!stays_awake(), "it is told when this thread has woken up");
    assert_eq!(protocol.get_ready(claim, ahead), claim);
    assert!(stays_awake() && protocol.linger == claim);
    assert_eq!(protocol.get_ready(claim, claim), claim);
    assert!(!stays_awake(), "too late");

    let end = clock::now() + Duration::from_secs(30);
    while snapshot(&protocol).state != StateName::Active {
        assert!(clock::now() < end, "{:?}", snapshot(&protocol));
        others.answer();
        assert!(protocol.turn().is_continue());
    }
    others.answer();
    let advertisement = protocol.node.poll_timeout().expect("it advertises");
    assert_eq!(protocol.get_ready(advertisement, advertisement.saturating_sub(AHEAD)), advertisement);
    assert!(!stays_awake(), "an advertisement is no claim");
}

#[test]
fn what_the_kernel_thread_was_too_busy_to_take_does_not_wait_for_the_next_deadline() {
    let wires = Wires { kernel: Mailbox::new(1).expect("an eventfd"), ..wires() };
    let mut protocol = Loop::new(wires.clone(), Arc::default()).expect("a timer and an epoll");
    assert!(wires.kernel.push(crate::kernel::Message::StayAwake).is_ok(), "there is room for one");
    let (router, ticket) = (ROUTER, vrrp_proto::action::Ticket(1));
    protocol.actions.push(Action::Disclaim(Ownership { router, ticket, addresses: [].into(), range: 0..0 }));
    protocol.perform();
    assert!(matches!(wires.kernel.pop(), Some(crate::kernel::Message::StayAwake)));
    assert!(wires.kernel.pop().is_none(), "there was no room");
    let deadline = Duration::from_secs(10);
    let armed = protocol.timer.set(Expiration::OneShot(TimeSpec::from(deadline)), TimerSetTimeFlags::empty());
    armed.expect("a timer of our own");
    let began = clock::now();
    assert!(protocol.turn().is_continue());
    assert!(clock::now() - began < deadline, "it slept until then");
    let told = wires.kernel.pop();
    assert!(matches!(told, Some(crate::kernel::Message::Kernel(Kernel::Disclaim(_)))));
}

#[test]
fn the_loop_leaves_the_processor_to_others_after_long_without_a_wait() {
    let wires = wires();
    let mut protocol = Loop::new(wires, Arc::default()).expect("a timer and an epoll");
    // No wait since the clock began, and none now.
    let before = clock::now();
    protocol.rest(before, &[]);
    assert!(clock::now() - before >= WAIT, "it has not rested");
    assert!(protocol.waited > before, "that it has is not known");
}

#[test]
fn packets_that_keep_coming_are_left_to_gather_and_nothing_else_is() {
    let wires = wires();
    let mut protocol = Loop::new(wires, Arc::default()).expect("a timer and an epoll");
    let event = |data| EpollEvent::new(EpollFlags::EPOLLIN, data);
    let mut turn = |events: &[EpollEvent]| {
        let now = clock::now();
        protocol.waited = now;
        protocol.rest(now, events);
        (protocol.hurried, clock::now() - now)
    };
    // A turn in which this thread had to wait for its processor is not one of a burst.
    let gathered = (0..1000).map(|_| turn(&[event(1)])).find(|&(hurried, _)| hurried > HURRIED);
    assert!(gathered.expect("packets keep coming").1 >= WAIT, "it has not rested");
    for other in [MESSAGES, TIMER] {
        assert_eq!(turn(&[event(1), event(other)]).0, 0);
    }
}
