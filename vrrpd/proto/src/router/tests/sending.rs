//! Advertisements that cannot be sent: to nobody, or to some of the peers.

use super::scene::{A, EHOSTUNREACH, OTHER, PEER, Scene, ip, ms, parameters, unicast, with_addresses};
use crate::action::{Outcome, Report};
use crate::parameters::Parameters;
use crate::snapshot::{Delivery, Reason, StateName};

fn deliveries(scene: &Scene) -> Vec<Delivery> {
    let delivery = |report: &Report| match *report {
        Report::Sending { delivery, .. } => Some(delivery),
        _ => None,
    };
    scene.reports().iter().filter_map(delivery).collect()
}

fn leased() -> Parameters {
    Parameters { leased: true, ..parameters() }
}

#[test]
fn who_cannot_send_for_three_intervals_gives_way() {
    let mut scene = Scene::active(parameters());
    scene.sending = Err(1);
    scene.next_timeout();
    assert_eq!(scene.snapshot().delivery, Delivery::Failing { errno: 1 });
    assert_eq!(deliveries(&scene), [Delivery::Failing { errno: 1 }]);
    scene.run_for(3 * A - ms(1));
    assert_eq!(scene.state(), StateName::Active);
    scene.run_for(ms(1));
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::CannotSend));
    assert_eq!((scene.present(), scene.count("release")), (vec![false], 1));
    assert_eq!(scene.statistics().send_errors, 3);
}

#[test]
fn who_cannot_send_does_not_give_way_again_when_nobody_is_there() {
    let mut scene = Scene::active(parameters());
    scene.sending = Err(1);
    scene.run_for(60 * A);
    assert_eq!(scene.state(), StateName::Active, "back, since nobody followed");
    scene.forget();
    scene.run_for(600 * A);
    assert_eq!((scene.state(), scene.count("release")), (StateName::Active, 0));
    scene.sending = Ok(());
    scene.run_for(A);
    assert_eq!(deliveries(&scene), [Delivery::Complete]);
    scene.sending = Err(1);
    scene.run_for(5 * A);
    assert_eq!(scene.reason(), Reason::CannotSend, "a new failure is judged anew");
}

#[test]
fn who_took_over_again_has_three_intervals_to_get_through() {
    let mut scene = Scene::active(parameters());
    scene.sending = Err(1);
    scene.run_for(4 * A);
    assert_eq!(scene.reason(), Reason::CannotSend);
    // Somebody follows, and goes: now it is our turn, and the firewall may be open by now.
    scene.hear(PEER, 100);
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
    scene.run_for(2 * A);
    assert_eq!(scene.state(), StateName::Active);
    scene.run_for(2 * A);
    assert_eq!(scene.reason(), Reason::CannotSend);
}

#[test]
fn a_peer_that_cannot_be_sent_to_is_told_once_and_keeps_nobody_from_being_active() {
    let mut scene = Scene::active(Parameters { leased: true, ..unicast(&[PEER, OTHER]) });
    let before = scene.statistics();
    scene.unreachable = Some(ip(PEER));
    scene.run_for(10 * A);
    assert_eq!(deliveries(&scene), [Delivery::Partial { errno: EHOSTUNREACH }]);
    assert_eq!((scene.state(), scene.count("renew")), (StateName::Active, 10));
    let sent = scene.statistics().advertisement_sent - before.advertisement_sent;
    assert_eq!((sent, scene.statistics().send_errors), (10, 10));
    scene.forget();
    scene.unreachable = None;
    scene.run_for(10 * A);
    assert_eq!(deliveries(&scene), [Delivery::Complete]);
}

#[test]
fn it_is_told_when_a_part_that_fails_becomes_the_whole() {
    let mut scene = Scene::active(unicast(&[PEER, OTHER]));
    scene.unreachable = Some(ip(PEER));
    scene.run_for(10 * A);
    scene.sending = Err(1);
    scene.run_for(A);
    assert_eq!(scene.snapshot().delivery, Delivery::Failing { errno: 1 });
    scene.run_for(3 * A - ms(1));
    assert_eq!(scene.state(), StateName::Active, "counted from when it became the whole");
    scene.run_for(ms(1));
    assert_eq!(scene.reason(), Reason::CannotSend);
}

#[test]
fn an_advertisement_that_did_not_leave_renews_no_lease() {
    let mut scene = Scene::active(leased());
    scene.sending = Err(1);
    scene.run_for(2 * A);
    assert_eq!(scene.deeds(), ["advertise 150", "advertise 150"]);
    scene.forget();
    scene.sending = Ok(());
    scene.run_for(A);
    assert_eq!(scene.deeds(), ["advertise 150", "renew"]);
}

#[test]
fn an_address_whose_lease_ends_while_nothing_is_sent_comes_back_with_the_first_advertisement() {
    let mut scene = Scene::active(Parameters { leased: true, ..with_addresses(&["192.0.2.1", "192.0.2.4"]) });
    scene.sending = Err(1);
    scene.run_for(2 * A);
    scene.outcome(Outcome::Lost { index: 0 });
    scene.drained();
    assert_eq!((scene.count("acquire"), scene.statistics().addresses_put_back), (0, 0));
    scene.sending = Ok(());
    scene.run_for(A);
    assert_eq!((scene.count("acquire"), scene.present()), (1, vec![true, true]));
}

#[test]
fn who_gave_way_in_vain_keeps_its_lease_although_nothing_leaves() {
    let mut scene = Scene::active(leased());
    scene.sending = Err(1);
    scene.run_for(60 * A);
    assert_eq!(scene.state(), StateName::Active, "back, since nobody followed");
    scene.forget();
    scene.run_for(10 * A);
    assert_eq!(scene.count("renew"), 10);
    scene.outcome(Outcome::Lost { index: 0 });
    assert_eq!(scene.present(), [true]);
}
