//! The worker without its thread, in a network namespace: what it does about what the kernel does.

use std::sync::Arc;

use nix::sched::{CloneFlags, unshare};
use vrrp_proto::action::Ownership;
use vrrp_proto::parameters::VirtualAddress;

use super::*;

const ROUTER: RouterId = RouterId(0);
const TICKET: Ticket = Ticket(1);

/// Runs on a thread in a network namespace of its own, or says that it cannot.
pub(super) fn in_network_namespace(body: fn()) {
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
    let state_dir = crate::state_dir::tests::temporary(&format!("kernel-{name}"));
    Worker::open(Mailbox::new(64).expect(mailbox), Mailbox::new(1024).expect(mailbox), notes, state_dir)
        .expect("netlink can be had")
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
        global_source: false,
        device: None,
        addresses: vec![placement(201), placement(202)],
        ways: Vec::new(),
        owner: false,
        accept_mode: true,
        lease: None,
        may_resume: true,
        further: Vec::new(),
    }
}

fn ownership() -> Ownership {
    let of = |last| VirtualAddress { ip: address(last).ip, prefix_len: 24, interface: None };
    Ownership { router: ROUTER, ticket: TICKET, addresses: Arc::new([of(201), of(202)]), range: 0..2 }
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
        worker.place(ROUTER, place_on("lo"));
        worker.acquire(&ownership());
        let held = [0, 1].map(|index| Outcome::Added { index, foreign: false });
        assert_eq!(outcomes(&worker), [held[0], held[1], Outcome::Acquired]);

        let mut labelled = place_on("lo");
        labelled.addresses[0].options.label = Some("lo:web".to_owned());
        worker.place(ROUTER, labelled);
        assert_eq!(outcomes(&worker), [Outcome::Lost { index: 1 }]);
        let here = |entry: &netlink::AddressEntry| entry.address == address(201);
        assert!(worker.requester.addresses().expect("a list").iter().any(here), "it is back by itself");
    });
}
