//! A node with many virtual routers, and a kernel that does at once what it is told.
#![allow(dead_code, reason = "each benchmark uses a part")]

#[path = "../../tests/scene/mod.rs"]
mod scene;

use std::net::{IpAddr, Ipv4Addr};

use vrrp_proto::action::{Action, Input, Outcome};
use vrrp_proto::node::MESSAGE_MAX;
use vrrp_proto::packet::{ChecksumForm, Datagram, Rules, encode};
use vrrp_proto::parameters::{LinkId, Parameters, RouterId, VirtualAddress};
use vrrp_proto::{AdverInterval, Instant, Node, Priority, Vrid};

/// Virtual routers of one link.
const EACH: u16 = 250;
/// An advertisement of one IPv4 address.
const SHORT: usize = 12;
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The node, its time, and the buffer of its caller.
pub(crate) struct Host {
    node: Node,
    now: Instant,
    actions: Vec<Action>,
    /// What goes out. Not made anew for each, which would take longer than the rest.
    message: Box<[u8; MESSAGE_MAX]>,
    routers: u16,
    next: u16,
}

impl Host {
    /// So many Backup Routers, which have just heard their Active Routers.
    pub(crate) fn backup(routers: u16) -> Self {
        let now = Instant::from_nanos(1_000_000_000_000);
        let mut host = Self {
            node: Node::new(),
            now,
            actions: Vec::with_capacity(8192),
            message: Box::new([0; MESSAGE_MAX]),
            routers,
            next: 0,
        };
        for number in 0..routers {
            let router = RouterId(number);
            host.input(Input::Configure { router, parameters: Box::new(parameters(number)) });
            host.input(Input::Facts { router, facts: scene::facts(scene::OWN) });
        }
        (0..routers).for_each(|_| host.hear());
        host
    }

    /// So many Active Routers, in step with each other.
    pub(crate) fn active(routers: u16) -> Self {
        let mut host = Self::backup(routers);
        // Past the claims, and their announcements.
        let settled = host.now + AdverInterval::DEFAULT.duration() * 10;
        while host.now < settled {
            host.wake();
        }
        host
    }

    /// The next of the routers hears its Active Router, and the loop goes to sleep again.
    pub(crate) fn hear(&mut self) {
        let (link, vrid) = place(self.next);
        let number = self.next;
        self.next = (self.next + 1) % self.routers;
        if self.next == 0 {
            self.now = self.now + AdverInterval::DEFAULT.duration() / 2;
        }
        let mut message = [0; SHORT];
        let length = advertisement(&mut message, vrid, &[address(number)]);
        let datagram = datagram(&message[..length]);
        self.input(Input::Woke);
        self.input(Input::Received { link, datagram, arrived: self.now });
        self.input(Input::Drained);
        std::hint::black_box(self.node.poll_timeout());
    }

    /// The next deadline: of Active Routers, an advertisement of each.
    pub(crate) fn wake(&mut self) {
        self.now = self.now.max(self.node.poll_timeout().expect("there is a deadline"));
        self.input(Input::Woke);
        self.input(Input::Drained);
        std::hint::black_box(self.node.poll_timeout());
    }

    /// What the node says is done, and nothing else happens.
    fn input(&mut self, input: Input<'_>) {
        self.node.handle(input, self.now, &mut self.actions);
        while let Some(action) = self.actions.pop() {
            match action {
                Action::Acquire(ownership) => {
                    let (router, ticket) = (ownership.router, ownership.ticket);
                    let added = ownership.range.map(|index| Outcome::Added { index, foreign: false });
                    for outcome in added.chain([Outcome::Acquired]) {
                        let input = Input::Outcome { router, ticket, outcome };
                        self.node.handle(input, self.now, &mut self.actions);
                    }
                }
                Action::Advertise { router, priority } => {
                    std::hint::black_box(self.node.advertisement(
                        router,
                        priority,
                        GROUP.into(),
                        &mut self.message[..],
                    ));
                    let input = Input::Sent { router, priority, sent: 1, failed: 0, errno: 0 };
                    self.node.handle(input, self.now, &mut self.actions);
                }
                Action::Announce { router, range } => {
                    let sent = range.end - range.start;
                    let input = Input::Announced { router, sent, failed: 0 };
                    self.node.handle(input, self.now, &mut self.actions);
                }
                _ => {}
            }
        }
    }
}

/// Writes an advertisement of one of the peers.
pub(crate) fn advertisement(out: &mut [u8], vrid: Vrid, addresses: &[IpAddr]) -> usize {
    let (priority, form) = (Priority::new(200), ChecksumForm::PseudoHeader);
    encode(out, vrid, priority, AdverInterval::DEFAULT, addresses, PEER.into(), GROUP.into(), form)
        .expect("the advertisement is sound")
}

/// As it comes in.
pub(crate) fn datagram(payload: &[u8]) -> Datagram<'_> {
    Datagram { source: PEER.into(), destination: GROUP.into(), hop_limit: 255, payload }
}

/// What is asked of it.
pub(crate) fn rules() -> Rules {
    Rules::to_identify(&datagram(&[]))
}

/// Of one virtual router.
pub(crate) fn address(number: u16) -> IpAddr {
    Ipv4Addr::from_bits(0xa9fe_0100 + u32::from(number)).into()
}

fn place(number: u16) -> (LinkId, Vrid) {
    let vrid = u8::try_from(number % EACH + 1).expect("250 at most");
    (LinkId(number / EACH), Vrid::new(vrid).expect("not zero"))
}

/// A tenure announces once and repeats nothing, as in the tests.
fn parameters(number: u16) -> Parameters {
    let (link, vrid) = place(number);
    Parameters {
        link,
        vrid,
        priority: Priority::new(100),
        addresses: [VirtualAddress { ip: address(number), prefix_len: 32, interface: None }].into(),
        leased: true,
        fenced: true,
        ..scene::parameters()
    }
}
