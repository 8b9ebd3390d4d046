//! With the virtual MAC address: what is said with it, and when to stop.

use super::scene::{
    A, Kernel, OTHER, OTHER_MAC, OWN, OWN_MAC, PEER, ROUTER, Scene, VRID, addresses, down_interval, facts,
    ip, ms, parameters, unicast, with_addresses,
};
use crate::action::{Order, OrderOutcome};
use crate::node::ANNOUNCEMENT_MAX;
use crate::packet::Sighting;
use crate::packet::arp::GarpForm;
use crate::parameters::{Facts, Parameters};
use crate::snapshot::{Phase, Reason, StateName};
use crate::{Family, MacAddress, Vrid};

fn with_virtual_mac(parameters: Parameters) -> Parameters {
    Parameters { virtual_mac: true, ..parameters }
}

fn virtual_mac() -> MacAddress {
    Vrid::new(VRID).expect("not zero").mac(Family::Ipv4)
}

#[test]
fn it_waits_for_the_device_and_says_so() {
    let mut scene = Scene::new(with_virtual_mac(parameters()));
    scene.facts(Facts { device: false, ..facts(OWN) });
    assert_eq!((scene.state(), scene.reason()), (StateName::Initialize, Reason::NoVirtualMac));
    assert_eq!(scene.timeout(), None);
    scene.facts(facts(OWN));
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::Startup));
    let mut without = Scene::new(parameters());
    without.facts(Facts { device: false, ..facts(OWN) });
    assert_eq!(without.state(), StateName::Backup, "nobody asked for one");
}

#[test]
fn a_device_that_goes_later_is_missed_when_an_address_is_to_go_on_it() {
    let gone = Facts { device: false, ..facts(OWN) };
    let mut scene = Scene::backup(with_virtual_mac(parameters()));
    scene.facts(gone);
    assert_eq!(scene.state(), StateName::Backup);
    scene.kernel = Kernel::Refusing(0);
    scene.next_timeout();
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::AddressRefused));

    let mut active = Scene::active(with_virtual_mac(parameters()));
    active.facts(gone);
    assert_eq!((active.state(), active.present()), (StateName::Active, vec![true]));
}

#[test]
fn announcements_carry_it_and_the_interface_may_change_its_own() {
    let mut scene = Scene::active(with_virtual_mac(parameters()));
    let announced = |scene: &Scene| {
        let mut frame = [0; ANNOUNCEMENT_MAX];
        let octets =
            scene.node.announcement(ROUTER, 0, GarpForm::Reply, None, &mut frame).expect("is present");
        assert_eq!(frame[6..12], frame[22..28], "Ethernet source and sender of the ARP");
        assert_eq!(octets, 42);
        MacAddress::new(frame[6..12].try_into().expect("six"))
    };
    assert_eq!(announced(&scene), virtual_mac());
    scene.facts(Facts { mac: OTHER_MAC, ..facts(OWN) });
    assert_eq!(announced(&scene), virtual_mac());
}

#[test]
fn advertisements_to_the_group_leave_from_it_and_those_to_peers_as_the_host_s_own() {
    let header = |parameters: Parameters| {
        let scene = Scene::backup(parameters);
        let to = scene.node.destinations(ROUTER).next().expect("one at least");
        scene.node.ethernet_header(ROUTER, to)
    };
    let four = header(with_virtual_mac(parameters())).expect("to the group");
    assert_eq!(four, [1, 0, 0x5e, 0, 0, 0x12, 0, 0, 0x5e, 0, 1, VRID, 8, 0]);
    let list = addresses(&["fe80::1"]);
    let six = Parameters { family: Family::Ipv6, addresses: list, ..parameters() };
    let six = header(with_virtual_mac(six)).expect("to the group");
    assert_eq!(six, [0x33, 0x33, 0, 0, 0, 0x12, 0, 0, 0x5e, 0, 2, VRID, 0x86, 0xdd]);
    assert_eq!(header(with_virtual_mac(unicast(&[PEER]))), None);
    assert_eq!(header(parameters()), None);
}

/// A frame from here would turn the switches back to us.
#[test]
fn who_is_outranked_is_silent_in_the_same_turn() {
    let parameters = Parameters { leased: true, ..with_virtual_mac(with_addresses(&["192.0.2.1"])) };
    let mut scene = Scene::active(parameters);
    scene.hear(OTHER, 200);
    assert_eq!(scene.deeds(), ["backup higher_priority", "release 0..1"], "nothing is done before that");
    assert_eq!((scene.state(), scene.snapshot().phase), (StateName::Backup, Phase::Settled));
    assert_eq!(scene.timeout(), Some(down_interval(150)));
}

#[test]
fn who_leaves_answers_until_the_successor_speaks_and_no_longer() {
    let mut scene = Scene::active(with_virtual_mac(parameters()));
    scene.shutdown();
    scene.forget();
    scene.pass(ms(400));
    scene.drained();
    assert_eq!(scene.count("release"), 0);
    scene.hear(PEER, 100);
    assert_eq!(scene.deeds(), ["release 0..1"]);
}

#[test]
fn who_hands_over_by_order_is_silent_when_the_successor_speaks() {
    for order in [Order::HandOver, Order::Drain { force: false }] {
        let mut scene = Scene::active(with_virtual_mac(parameters()));
        scene.order(order.clone());
        scene.pass(ms(400));
        scene.forget();
        scene.hear(PEER, 100);
        assert_eq!(scene.deeds().last().map(String::as_str), Some("release 0..1"), "{order:?}");
        assert!(matches!(scene.orders()[..], [OrderOutcome::HandedOver(_)]), "{:?}", scene.orders());
    }
}

#[test]
fn who_leaves_with_nobody_to_follow_stays_as_long_as_without_it() {
    let mut scene = Scene::active(with_virtual_mac(parameters()));
    scene.shutdown();
    scene.forget();
    scene.run_for(A + ms(19));
    assert_eq!(scene.count("release"), 0);
    scene.run_for(ms(1));
    assert_eq!(scene.count("release"), 1);
}

#[test]
fn the_virtual_mac_elsewhere_is_another_router_and_our_own_mac_is_not() {
    let mut scene = Scene::active(with_virtual_mac(parameters()));
    scene.run_for(4 * A);
    let seen = |mac| Sighting { address: ip("192.0.2.1"), mac, answer: false, announced: true };
    scene.sight(seen(OWN_MAC), scene.now);
    assert_eq!(scene.statistics().address_conflicts, 0);
    scene.sight(seen(virtual_mac()), scene.now);
    assert_eq!(scene.statistics().address_conflicts, 1);
}
