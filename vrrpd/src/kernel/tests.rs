//! The worker without its thread, in a network namespace: what it does about what the kernel does.

use std::process::Command;
use std::sync::Arc;

use netlink::{AddressOptions, Event, Link};
use nix::sched::{CloneFlags, unshare};
use vrrp_proto::action::Ownership;
use vrrp_proto::parameters::VirtualAddress;
use vrrp_proto::{Version, Vrid};

use super::placement::changed;
use super::*;

const ROUTER: RouterId = RouterId(0);
const TICKET: Ticket = Ticket(1);

/// Runs on a thread in a network namespace of its own, or says that it cannot.
pub(crate) fn in_network_namespace(body: fn()) {
    let entered = std::thread::spawn(move || unshare(CloneFlags::CLONE_NEWNET).map(|()| body()));
    if let Err(errno) = entered.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no network namespace to be had: {errno}");
        eprintln!("SKIPPED: no network namespace to be had: {errno}");
    }
}

/// A worker that nobody talks to, with a state directory of this name.
pub(super) fn worker(name: &str) -> Worker {
    let (notes, _) = tokio::sync::mpsc::unbounded_channel();
    let mailbox = "a mailbox can be had";
    let state_dir = crate::state_dir::tests::temporary_state(&format!("kernel-{name}"));
    Worker::open(
        Mailbox::new(64).expect(mailbox),
        Mailbox::new(1024).expect(mailbox),
        Mailbox::new(1024).expect(mailbox),
        Arc::new(Adverts::new(Mailbox::new(1).expect(mailbox))),
        notes,
        &state_dir,
    )
    .expect("netlink can be had")
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2 is there");
    assert!(done.success(), "ip {arguments}");
}

fn add_eth0() {
    ip("link add eth0 type veth peer name eth1");
    ip("link set eth1 up");
    ip("link set eth0 up");
}

fn address(last: u8) -> Address {
    Address { ip: [192, 0, 2, last].into(), prefix_len: 24 }
}

/// A router on `interface` with 192.0.2.201/24 and 192.0.2.202/24.
fn place_on(interface: &str) -> Place {
    let placement = |last| Placement {
        address: address(last),
        interface: interface.to_owned(),
        apart: None,
        options: AddressOptions::default(),
        extra: false,
    };
    Place {
        link: LinkId(0),
        interface: interface.to_owned(),
        family: Family::Ipv4,
        source_address: None,
        second: None,
        stations: Vec::new(),
        group: None,
        vrid: Vrid::new(201).expect("not zero"),
        version: Version::V3,
        least_hop_limit: 255,
        global_source: false,
        device: None,
        addresses: vec![placement(201), placement(202)].into(),
        ways: Vec::new(),
        owner: false,
        accept_mode: true,
        lease: None,
        interval: Duration::from_millis(100),
        fence: None,
        may_resume: true,
        further: Vec::new(),
    }
}

fn ownership() -> Ownership {
    let of = |last| VirtualAddress { ip: address(last).ip, prefix_len: 24, interface: None };
    Ownership { router: ROUTER, ticket: TICKET, addresses: Arc::new([of(201), of(202)]), range: 0..2 }
}

impl Worker {
    /// Places one router, and does what follows from it.
    fn place_alone(&mut self, router: RouterId, place: Place) {
        self.place(router, place);
        self.settle_places();
    }

    /// The same with one that goes.
    fn forget_alone(&mut self, router: RouterId) {
        self.forget(router);
        self.settle_places();
    }
}

/// What the core has been told since it was last asked.
fn outcomes(worker: &Worker) -> Vec<Outcome> {
    let outcome = |message| match message {
        protocol::Message::Input(Input::Outcome { outcome, .. }) => Some(outcome),
        _ => None,
    };
    std::iter::from_fn(|| worker.protocol.pop()).filter_map(outcome).collect()
}

#[test]
fn an_address_that_goes_with_one_that_is_put_anew_is_told_as_lost() {
    in_network_namespace(|| {
        std::fs::write("/proc/sys/net/ipv4/conf/lo/promote_secondaries", "0").expect("ours to set");
        let mut worker = worker("refit");
        worker.place_alone(ROUTER, place_on("lo"));
        worker.acquire(&ownership(), crate::clock::now());
        let held = [0, 1].map(|index| Outcome::Added { index, foreign: false });
        assert_eq!(outcomes(&worker), [held[0], held[1], Outcome::Acquired]);

        let mut labelled = place_on("lo");
        let label = Some("lo:web".to_owned());
        labelled.addresses = changed(&labelled.addresses, |placement| {
            if placement.address == address(201) {
                placement.options.label.clone_from(&label);
            }
        });
        worker.place_alone(ROUTER, labelled);
        assert_eq!(outcomes(&worker), [Outcome::Lost { index: 1 }]);
        let here = |entry: &netlink::AddressEntry| entry.address == address(201);
        assert!(worker.requester.addresses().expect("a list").iter().any(here), "it is back by itself");
    });
}

fn device() -> Device {
    Device { name: "vrrp4-1".to_owned(), mac: MacAddress::new([0, 0, 0x5e, 0, 1, 1]) }
}

fn is_up(worker: &Worker) -> bool {
    worker.table.link_by_name(&device().name).expect("it is there").up
}

#[test]
fn a_device_with_an_address_that_somebody_else_put_there_stays_up_while_it_is_held() {
    in_network_namespace(|| {
        add_eth0();
        let mut worker = worker("foreign");
        let mut place = Place { device: Some(device()), ..place_on("eth0") };
        place.addresses = changed(&place.addresses, |placement| placement.interface = device().name);
        worker.place_alone(ROUTER, place);
        for last in [201, 202] {
            ip(&format!("address add 192.0.2.{last}/24 dev vrrp4-1"));
        }
        worker.watch();
        assert!(!is_up(&worker), "nobody holds them");

        worker.acquire(&ownership(), crate::clock::now());
        let held = [0, 1].map(|index| Outcome::Added { index, foreign: true });
        assert_eq!(outcomes(&worker), [held[0], held[1], Outcome::Acquired]);
        worker.watch();
        worker.keep_devices();
        assert!(is_up(&worker));

        worker.release(&Ownership { range: 1..2, ..ownership() }, true);
        assert!(is_up(&worker), "the other is still held");
        worker.release(&Ownership { range: 0..1, ..ownership() }, true);
        assert!(!is_up(&worker));
        worker.watch();
        worker.keep_devices();
        assert!(!is_up(&worker));
    });
}

#[test]
fn a_device_that_could_not_be_removed_is_removed_later() {
    in_network_namespace(|| {
        add_eth0();
        let mut worker = worker("nobody");
        worker.place_alone(ROUTER, Place { device: Some(device()), ..place_on("eth0") });
        let link = worker.table.link_by_name(&device().name).expect("made").clone();
        // The kernel refuses to remove the loopback link.
        let loopback = worker.table.link_by_name("lo").expect("always there").index;
        worker.table.apply(&Event::LinkGone { index: link.index, name: link.name.clone() });
        worker.table.apply(&Event::LinkChanged(Link { index: loopback, ..link.clone() }));
        worker.complete = true;
        worker.places.clear();
        worker.keep_devices();
        worker.table.apply(&Event::LinkGone { index: loopback, name: link.name.clone() });
        worker.table.apply(&Event::LinkChanged(link));
        worker.keep_devices();
        let links = worker.requester.links().expect("a list");
        assert!(links.iter().all(|link| link.name != device().name), "{links:?}");
    });
}

/// Has the worker know eth0 by a number that the kernel does not have, as of a link that is about to go;
/// gives it as it is.
fn misnumbered(worker: &mut Worker) -> Link {
    let link = worker.table.link_by_name("eth0").expect("made").clone();
    worker.table.apply(&Event::LinkGone { index: link.index, name: link.name.clone() });
    worker.table.apply(&Event::LinkChanged(Link { index: LinkIndex::new(4711), ..link.clone() }));
    link
}

#[test]
fn an_interface_below_that_could_not_be_kept_quiet_is_told_once_and_tried_again() {
    in_network_namespace(|| {
        add_eth0();
        let mut worker = worker("loud");
        let (notes, mut told) = tokio::sync::mpsc::unbounded_channel();
        worker.notes = notes;
        worker.place_alone(ROUTER, place_on("eth0"));
        let link = misnumbered(&mut worker);
        worker.places.get_mut(&ROUTER).expect("placed").place.device = Some(device());
        std::iter::from_fn(|| told.try_recv().ok()).for_each(drop);
        for _ in 0..2 {
            worker.retry_at = None;
            worker.keep_parents();
            assert!(worker.retry_at.is_some());
        }
        let troubles = std::iter::from_fn(|| told.try_recv().ok());
        assert_eq!(troubles.filter(|note| matches!(note, Note::Trouble(_))).count(), 1);
        worker.table.apply(&Event::LinkChanged(link));
        worker.retry_at = None;
        worker.keep_parents();
        assert_eq!(worker.retry_at, None);
        let set = std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_ignore").expect("eth0 is there");
        assert_eq!(set.trim(), "1");
    });
}

#[test]
fn what_cannot_be_had_is_told_once_and_tried_at_its_time_whatever_else_there_is_to_do() {
    in_network_namespace(|| {
        add_eth0();
        let mut worker = worker("retry");
        let (notes, mut told) = tokio::sync::mpsc::unbounded_channel();
        worker.notes = notes;
        // To that number no socket can be bound.
        let link = misnumbered(&mut worker);
        worker.place_alone(ROUTER, place_on("eth0"));
        let due = worker.retry_at.expect("it is tried again");
        worker.renew(&[(ROUTER, crate::clock::now())]);
        worker.place_alone(ROUTER, place_on("eth0"));
        assert_eq!(worker.retry_at, Some(due), "not sooner, nor later");
        worker.retry();
        assert!(worker.retry_at.is_some_and(|again| again > due));
        let troubles = |told: &mut tokio::sync::mpsc::UnboundedReceiver<Note>| {
            std::iter::from_fn(|| told.try_recv().ok())
                .filter(|note| matches!(note, Note::Trouble(_)))
                .count()
        };
        assert_eq!(troubles(&mut told), 1);

        worker.table.apply(&Event::LinkGone { index: LinkIndex::new(4711), name: link.name.clone() });
        worker.table.apply(&Event::LinkChanged(link));
        worker.retry();
        assert_eq!((worker.retry_at, worker.sockets.len(), troubles(&mut told)), (None, 1, 0));
        assert!(worker.told.is_empty(), "it would be told again");
    });
}

#[test]
fn the_sockets_of_a_link_close_with_its_last_router() {
    in_network_namespace(|| {
        add_eth0();
        let mut worker = worker("sockets");
        let other = RouterId(1);
        worker.place_alone(ROUTER, place_on("eth0"));
        worker.place_alone(other, place_on("eth0"));
        worker.forget_alone(other);
        assert_eq!(worker.sockets.len(), 1, "a router is left");
        while worker.protocol.pop().is_some() {}
        worker.forget_alone(ROUTER);
        assert!(worker.sockets.is_empty());
        let closed = std::iter::from_fn(|| worker.protocol.pop())
            .any(|message| matches!(message, protocol::Message::Sockets { sockets: None, .. }));
        assert!(closed, "the protocol thread closes its own");
    });
}

#[test]
fn a_takeover_asks_for_the_ways_of_its_router_only() {
    in_network_namespace(|| {
        let mut worker = worker("ways");
        let way = |last| Way::Address {
            address: Address::host([192, 0, 2, last].into()),
            interface: "lo".to_owned(),
            options: AddressOptions::default(),
        };
        let is_there = |worker: &mut Worker, last| {
            let address = Address::host([192, 0, 2, last].into());
            worker.requester.addresses().expect("a list").iter().any(|entry| entry.address == address)
        };
        let (one, other) = (RouterId(0), RouterId(1));
        for (router, last) in [(one, 1), (other, 2)] {
            worker.place_alone(router, Place { ways: vec![way(last)], ..place_on("lo") });
        }
        worker.open_ways(one);
        assert!(is_there(&mut worker, 1));
        ip("address del 192.0.2.1/32 dev lo");
        worker.open_ways(other);
        assert!(is_there(&mut worker, 2) && !is_there(&mut worker, 1), "that is for the watch to see to");
        worker.ensure_ways(true);
        assert!(is_there(&mut worker, 1));
    });
}

/// [`place_on`] with a lease.
fn leased_on(interface: &str) -> Place {
    Place { lease: Some(2), fence: Some(std::time::Duration::from_millis(280)), ..place_on(interface) }
}

/// What the fence is told: who is guarded, and whether it is live; who is not any more.
fn told_to_fence(worker: &Worker) -> Vec<String> {
    let words = |message| match message {
        fence::Message::Guard { addresses, live, .. } => {
            format!("guard {addresses:?}, live: {}", matches!(live, fence::Live::Since(_)))
        }
        fence::Message::Free { addresses, .. } => format!("free {addresses:?}"),
        fence::Message::Wanted(wanted) => format!("wanted: {wanted}"),
        fence::Message::Stop => "not the worker's".to_owned(),
    };
    std::iter::from_fn(|| worker.fence.pop()).map(words).collect()
}

fn lifetime(worker: &mut Worker, last: u8) -> Option<netlink::Lifetime> {
    let listed = worker.requester.addresses().expect("a list");
    listed.iter().find(|entry| entry.address == address(last)).map(|entry| entry.valid)
}

#[test]
fn the_fence_guards_what_is_about_to_be_put_behind_a_living_router_and_nothing_of_others() {
    in_network_namespace(|| {
        add_eth0();
        ip("address add 192.0.2.202/24 dev eth0");
        let mut worker = worker("fence");
        worker.place_alone(ROUTER, leased_on("eth0"));
        assert_eq!(told_to_fence(&worker), [""; 0], "not before all are placed");
        worker.complete = true;
        worker.tell_fence_wanted();

        worker.fence_off(&ownership(), crate::clock::now());
        let ours = "[Everywhere(192.0.2.201)]";
        assert_eq!(told_to_fence(&worker), ["wanted: true".to_owned(), format!("guard {ours}, live: false")]);
        assert_eq!(lifetime(&mut worker, 201), None, "it is guarded first");
        worker.acquire(&ownership(), crate::clock::now());
        let foreign = "free [Everywhere(192.0.2.202)]".to_owned();
        assert_eq!(told_to_fence(&worker), [format!("guard {ours}, live: true"), foreign]);
        worker.release(&ownership(), true);
        assert_eq!(told_to_fence(&worker), ["free [Everywhere(192.0.2.201), Everywhere(192.0.2.202)]"]);
        worker.forget_alone(ROUTER);
        assert_eq!(told_to_fence(&worker), ["wanted: false"]);
    });
}

#[test]
fn a_claim_is_live_for_a_short_time_before_anybody_has_heard_of_it() {
    in_network_namespace(|| {
        add_eth0();
        let mut worker = worker("claim");
        worker.place_alone(ROUTER, leased_on("eth0"));
        worker.acquire(&ownership(), crate::clock::now());
        let live_since = std::iter::from_fn(|| worker.fence.pop()).find_map(|message| match message {
            fence::Message::Guard { live: fence::Live::Since(at), .. } => Some(at),
            _ => None,
        });
        let live = worker.places[&ROUTER].place.fence.expect("a fence is wanted");
        let used_up = crate::clock::now() - live_since.expect("a claim over silence is live");
        assert!(used_up >= live - live / 12, "{used_up:?} of {live:?}");
    });
}

/// Seed 25511 of the simulation: the kernel was busy, the daemon had been stopped meanwhile.
#[test]
fn a_claim_that_waited_for_the_kernel_is_live_for_no_longer_than_if_it_had_not() {
    in_network_namespace(|| {
        add_eth0();
        let mut worker = worker("late");
        worker.place_alone(ROUTER, leased_on("eth0"));
        let live = worker.places[&ROUTER].place.fence.expect("a fence is wanted");
        let decided_at = crate::clock::now().saturating_sub(live);
        worker.acquire(&ownership(), decided_at);
        let live_since = std::iter::from_fn(|| worker.fence.pop()).find_map(|message| match message {
            fence::Message::Guard { live: fence::Live::Since(at), .. } => Some(at),
            _ => None,
        });
        assert!(live_since.expect("it is guarded") < decided_at);
    });
}

#[test]
fn a_lifetime_is_renewed_by_a_fresh_advertisement_and_follows_the_configuration() {
    in_network_namespace(|| {
        use netlink::Lifetime::{Forever, Seconds};
        add_eth0();
        let mut worker = worker("renewal");
        worker.place_alone(ROUTER, leased_on("eth0"));
        worker.acquire(&ownership(), crate::clock::now());
        assert!(matches!(lifetime(&mut worker, 201), Some(Seconds(_))));
        ip("address replace 192.0.2.201/24 dev eth0");
        let now = crate::clock::now();
        worker.renew(&[(ROUTER, now.saturating_sub(std::time::Duration::from_secs(2)))]);
        assert_eq!(lifetime(&mut worker, 201), Some(Forever), "that advertisement is too old");
        worker.renew(&[(ROUTER, now)]);
        assert!(matches!(lifetime(&mut worker, 201), Some(Seconds(_))));

        told_to_fence(&worker);
        worker.place_alone(ROUTER, place_on("eth0"));
        assert_eq!(lifetime(&mut worker, 201), Some(Forever), "or it would end soon");
        assert_eq!(told_to_fence(&worker), ["free [Everywhere(192.0.2.201), Everywhere(192.0.2.202)]"]);
        worker.place_alone(ROUTER, leased_on("eth0"));
        assert!(matches!(lifetime(&mut worker, 202), Some(Seconds(_))));
        let both = "guard [Everywhere(192.0.2.201), Everywhere(192.0.2.202)], live: true";
        assert_eq!(told_to_fence(&worker), [both]);
    });
}

#[test]
fn an_address_that_a_reload_gives_to_another_router_outlives_its_release_by_the_first() {
    in_network_namespace(|| {
        add_eth0();
        let mut worker = worker("handed");
        let (one, two) = (ROUTER, RouterId(1));
        worker.place_alone(one, leased_on("eth0"));
        worker.acquire(&ownership(), crate::clock::now());
        // What the table knows of our own additions it has from a list.
        worker.stale = true;
        worker.list_anew();
        worker.place_alone(two, leased_on("eth0"));
        let facts = worker.places[&two].facts.expect("told");
        assert_eq!(facts.left_over, None, "no earlier daemon left what a router of this one holds");

        let second = Ownership { router: two, range: 0..1, ..ownership() };
        worker.acquire(&second, crate::clock::now());
        outcomes(&worker);
        told_to_fence(&worker);
        worker.renew(&[(ROUTER, crate::clock::now())]);
        worker.disclaim(&ownership());
        worker.release(&ownership(), true);
        assert_eq!(lifetime(&mut worker, 202), None, "that one nobody else has");
        let left = lifetime(&mut worker, 201);
        assert!(
            matches!(left, Some(netlink::Lifetime::Seconds(..=2))),
            "neither gone nor disclaimed: {left:?}"
        );
        ip("address del 192.0.2.201/24 dev eth0");
        worker.watch();
        assert_eq!(outcomes(&worker), [Outcome::Released, Outcome::Lost { index: 0 }], "the second heeds it");

        worker.acquire(&second, crate::clock::now());
        worker.release(&second, true);
        assert_eq!(lifetime(&mut worker, 201), None);
    });
}

#[test]
fn what_an_earlier_daemon_left_is_guarded_since_its_last_renewal() {
    in_network_namespace(|| {
        add_eth0();
        {
            let mut killed = worker("adopted");
            killed.place_alone(ROUTER, leased_on("eth0"));
            killed.acquire(&ownership(), crate::clock::now());
        }
        let mut worker = worker("adopted");
        worker.place_alone(ROUTER, leased_on("eth0"));
        let both = "guard [Everywhere(192.0.2.201), Everywhere(192.0.2.202)], live: true";
        assert_eq!(told_to_fence(&worker), [both]);
    });
}

#[test]
fn addresses_that_become_very_many_last_until_their_turn_comes() {
    in_network_namespace(|| {
        add_eth0();
        let ip = |n: u16| std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into();
        let place = |count| {
            let placement = |n| Placement {
                address: Address::host(ip(n)),
                interface: "eth0".to_owned(),
                apart: None,
                options: AddressOptions::default(),
                extra: n > 0,
            };
            let addresses = (0..count).map(placement).collect::<Vec<_>>().into();
            Place { addresses, family: Family::Ipv6, ..leased_on("eth0") }
        };
        let of = |n| VirtualAddress { ip: ip(n), prefix_len: 128, interface: None };
        let ownership = Ownership { addresses: (0..60).map(of).collect(), range: 0..60, ..ownership() };
        let mut worker = worker("many");
        worker.place_alone(ROUTER, place(60));
        worker.acquire(&ownership, crate::clock::now());
        let lifetimes = |worker: &mut Worker| -> Vec<u32> {
            let listed = worker.requester.addresses().expect("a list");
            let left = |n| listed.iter().find(|entry| entry.address.ip == ip(n)).map(|entry| entry.valid);
            let left = (0..60).map(|n| left(n).expect("it is there"));
            left.map(|left| if let netlink::Lifetime::Seconds(left) = left { left } else { u32::MAX })
                .collect()
        };
        assert!(lifetimes(&mut worker).iter().all(|&left| left <= 2));
        // More than are renewed each time: 16 of them are, and the other 54 in four turns.
        worker.place_alone(ROUTER, place(70));
        let renewed = lifetimes(&mut worker);
        assert!(renewed[..16].iter().all(|&left| left <= 2), "{renewed:?}");
        assert!(renewed[16..].iter().all(|&left| (5..=10).contains(&left)), "{renewed:?}");
        worker.disclaim(&ownership);
        let disclaimed = lifetimes(&mut worker);
        assert!(
            disclaimed[..16].iter().all(|&left| left > 2),
            "whoever finds them goes by these: {disclaimed:?}"
        );
        // One of the first that is put back may wait for its turn, as when all are put there.
        worker.acquire(
            &Ownership { range: 0..60, ticket: Ticket(2), ..ownership.clone() },
            crate::clock::now(),
        );
        assert!(lifetimes(&mut worker).iter().all(|&left| left > 4));
        worker.renew(&[(ROUTER, crate::clock::now())]);
        assert!(lifetimes(&mut worker)[..16].iter().all(|&left| left <= 2));
        // They are few again.
        worker.place_alone(ROUTER, place(60));
        assert!(lifetimes(&mut worker).iter().all(|&left| left <= 2));
    });
}
