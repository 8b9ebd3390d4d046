//! Addresses that only move along: they follow the role and never decide about it.

use super::scene::{
    A, Kernel, OTHER, PEER, ROUTER, Scene, addresses, facts, ip, ms, parameters, with_addresses, with_extra,
};
use crate::action::Outcome;
use crate::node::ANNOUNCEMENT_MAX;
use crate::packet::arp::GarpForm;
use crate::parameters::{Announcements, LinkId, Parameters, VirtualAddress};
use crate::snapshot::{Reason, StateName};
use crate::{MacAddress, Node};

/// What an address counts as refused with that the kernel says nothing of.
const ETIMEDOUT: i32 = 110;
const GROUP: &str = "224.0.0.18";

/// One advertised address, and two that move along.
fn moving_along() -> Parameters {
    with_extra(&["192.0.2.1", "192.0.2.4", "2001:db8::4"], 2)
}

fn announced(node: &Node, index: u16) -> Option<[u8; ANNOUNCEMENT_MAX]> {
    let mut frame = [0; ANNOUNCEMENT_MAX];
    node.announcement(ROUTER, index, GarpForm::Request, None, &mut frame).map(|_| frame)
}

#[test]
fn an_address_that_moves_along_is_taken_and_announced_but_not_advertised() {
    let mut scene = Scene::backup(moving_along());
    scene.next_timeout();
    assert_eq!(
        scene.deeds(),
        [
            "acquire 0..3",
            "advertise 150",
            "announce 0..3",
            "active no_response",
            "announce 1..2",
            "announce 2..3"
        ]
    );
    assert_eq!(scene.present(), [true, true, true]);
    assert_eq!(scene.listed_towards(GROUP), [ip("192.0.2.1")]);
    let ethertype = |index| announced(&scene.node, index).map(|frame| [frame[12], frame[13]]);
    assert_eq!(ethertype(1), Some([0x08, 0x06]), "ARP");
    assert_eq!(ethertype(2), Some([0x86, 0xdd]), "of its own family");
}

#[test]
fn a_refused_address_that_moves_along_costs_no_role_and_is_asked_for_again_and_later_each_time() {
    let mut scene = Scene::backup(moving_along());
    scene.kernel = Kernel::Refusing(1);
    scene.next_timeout();
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true, false, false]));
    let refused = |scene: &Scene| scene.node.addresses(ROUTER).filter_map(|each| each.refused).count();
    assert_eq!(refused(&scene), 2);
    scene.forget();
    scene.run_for(3 * A - ms(1));
    assert_eq!(scene.count("acquire"), 0);
    scene.run_for(ms(2));
    assert_eq!(scene.count("acquire"), 1);
    scene.run_for(5 * A);
    assert_eq!(scene.count("acquire"), 1, "twice as long");
    scene.kernel = Kernel::Prompt;
    scene.run_for(2 * A);
    assert_eq!((scene.count("acquire"), scene.present()), (2, vec![true; 3]));
    scene.run_for(60 * A);
    assert_eq!((scene.count("acquire"), scene.state()), (2, StateName::Active));
}

#[test]
fn a_refused_address_that_moves_along_delays_no_later_claim() {
    let mut scene = Scene::active(moving_along());
    scene.kernel = Kernel::Refusing(1);
    scene.outcome(Outcome::Lost { index: 1 });
    scene.run_for(A);
    scene.hear(OTHER, 200);
    assert_eq!(scene.state(), StateName::Backup);
    scene.hear(OTHER, 0);
    scene.run_for(A);
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Priority));
}

#[test]
fn a_lost_address_that_moves_along_is_put_back_at_once() {
    let mut scene = Scene::active(moving_along());
    scene.outcome(Outcome::Lost { index: 2 });
    assert_eq!(scene.deeds(), ["acquire 2..3", "announce 2..3"]);
}

#[test]
fn who_preempts_has_those_that_move_along_first_too_but_not_for_ever() {
    let preempting = || {
        let mut scene = Scene::backup(moving_along());
        scene.kernel = Kernel::Mute;
        for _ in 0..4 {
            scene.hear(PEER, 100);
            scene.run_for(A);
        }
        scene.added(0);
        scene
    };
    let mut scene = preempting();
    assert_eq!(scene.advertised(), [] as [u8; 0]);
    (1..3).for_each(|index| scene.added(index));
    scene.outcome(Outcome::Acquired);
    assert_eq!((scene.advertised(), scene.state()), (vec![150], StateName::Active));

    let mut scene = preempting();
    scene.run_for(4 * A);
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true, false, false]));
    assert_eq!(scene.count("release"), 0);
}

#[test]
fn of_those_that_move_along_the_missing_ones_count_as_refused_when_the_kernel_is_silent() {
    let mut scene = Scene::backup(moving_along());
    scene.kernel = Kernel::Mute;
    for _ in 0..4 {
        scene.hear(PEER, 100);
        scene.run_for(A);
    }
    (0..2).for_each(|index| scene.added(index));
    scene.run_for(4 * A);
    let refused: Vec<Option<i32>> = scene.node.addresses(ROUTER).map(|each| each.refused).collect();
    assert_eq!((scene.state(), refused), (StateName::Active, vec![None, None, Some(ETIMEDOUT)]));
}

#[test]
fn one_that_is_put_back_does_not_delay_the_next_attempt_at_another() {
    let mut scene = Scene::backup(moving_along());
    scene.kernel = Kernel::Refusing(2);
    scene.next_timeout();
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true, true, false]));
    scene.run_for(A);
    scene.outcome(Outcome::Lost { index: 1 });
    assert_eq!(scene.present(), [true, true, false]);
    scene.forget();
    scene.run_for(2 * A + ms(1));
    assert_eq!(scene.count("acquire"), 1, "three intervals after the refusal");
}

#[test]
fn who_has_only_what_moves_along_claims_nothing() {
    let mut scene = Scene::backup(moving_along());
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
    scene.outcome(Outcome::Refused { index: 0, errno: 13 });
    scene.added(1);
    scene.added(2);
    assert_eq!(scene.advertised(), [] as [u8; 0]);
    scene.outcome(Outcome::Acquired);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::AddressRefused));
}

#[test]
fn who_gives_way_keeps_what_moves_along_until_it_is_announced_too() {
    let given_way = || {
        let mut scene = Scene::active(moving_along());
        scene.hear(OTHER, 200);
        scene.announced_elsewhere("192.0.2.1");
        scene.drained();
        scene
    };
    let mut scene = given_way();
    assert_eq!(scene.count("release"), 0);
    // The other family is not heard here.
    scene.announced_elsewhere("192.0.2.4");
    scene.drained();
    assert_eq!(scene.count("release"), 1);

    let mut scene = given_way();
    scene.run_for(ms(20));
    assert_eq!(scene.count("release"), 1, "no longer than for the others");
}

#[test]
fn after_a_crash_only_what_is_advertised_proves_the_role() {
    let leased = Parameters { leased: true, ..moving_along() };
    let mut scene = Scene::new(leased);
    let left_over = Some(scene.now.saturating_sub(A));
    scene.facts(crate::parameters::Facts { left_over, ..facts(super::scene::OWN) });
    assert_eq!((scene.state(), scene.present()), (StateName::Active, vec![true; 3]));
    assert_eq!(scene.deeds()[..4], ["advertise 150", "announce 0..3", "active resumed", "acquire 0..3"]);
}

#[test]
fn ipv6_addresses_beside_ipv4_ones_are_announced_once_in_a_burst() {
    let announcements =
        Announcements { count: 3, second_after: 5 * A, refresh: 60 * A, ..parameters().announcements };
    let mut scene = Scene::backup(Parameters { announcements, ..moving_along() });
    scene.next_timeout();
    scene.forget();
    scene.run_for(70 * A);
    let deeds = scene.deeds();
    let announced: Vec<&str> = deeds.iter().filter_map(|deed| deed.strip_prefix("announce ")).collect();
    assert_eq!(announced, ["0..2", "0..2", "0..3", "0..2", "0..2", "0..3"], "burst, second burst, refresh");
}

#[test]
fn what_is_advertised_now_and_moved_along_before_is_not_touched() {
    let mut scene = Scene::active(with_extra(&["192.0.2.1", "192.0.2.4"], 1));
    scene.configure(with_addresses(&["192.0.2.1", "192.0.2.4"]));
    assert_eq!(scene.deeds(), ["acquire 0..2", "advertise 150"]);
    assert_eq!(scene.present(), [true, true]);
    assert_eq!(scene.listed_towards(GROUP), [ip("192.0.2.1"), ip("192.0.2.4")]);
}

#[test]
fn an_address_on_another_interface_is_announced_there_and_not_waited_for_here() {
    const THERE: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 8]);
    let elsewhere = VirtualAddress { interface: Some(LinkId(3)), ..addresses(&["192.0.2.4"])[0] };
    let list = [addresses(&["192.0.2.1"])[0], elsewhere];
    let mut scene = Scene::active(Parameters { addresses: list.into(), ..parameters() });
    assert_eq!(scene.node.announced_elsewhere(ROUTER, 0), None);
    assert_eq!(scene.node.announced_elsewhere(ROUTER, 1), Some(LinkId(3)));
    let mut frame = [0; ANNOUNCEMENT_MAX];
    scene.node.announcement(ROUTER, 1, GarpForm::Request, Some(THERE), &mut frame).expect("it is there");
    assert_eq!(frame[6..12], THERE.octets());

    scene.hear(OTHER, 200);
    scene.announced_elsewhere("192.0.2.1");
    scene.drained();
    assert_eq!(scene.count("release"), 1);
}
