//! Where advertisements go to, and whose are heard.

use super::scene::{A, OTHER, PEER, Scene, ip, parameters, unicast};
use crate::Family;
use crate::packet::ChecksumForm;
use crate::parameters::{Network, Parameters};
use crate::snapshot::{Alarm, StateName};

fn allowing(networks: &[(&str, u8)]) -> Parameters {
    let network = |&(text, prefix_len): &(&str, u8)| Network { address: ip(text), prefix_len };
    Parameters { allowed: networks.iter().map(network).collect(), ..parameters() }
}

#[test]
fn who_is_not_in_the_list_of_the_group_is_counted_named_and_not_heard() {
    for (allowed, heard) in [
        (allowing(&[]), true),
        (allowing(&[(PEER, 32)]), true),
        (allowing(&[(OTHER, 32), ("192.0.2.0", 29)]), true),
        (allowing(&[(OTHER, 32)]), false),
    ] {
        let mut scene = Scene::backup(allowed);
        scene.hear(PEER, 200);
        assert_eq!(scene.statistics().advertisement_rcvd, u64::from(heard));
        assert_eq!(scene.statistics().peer_errors, u64::from(!heard));
        let alarms = if heard { vec![] } else { vec![(Alarm::UnknownSender, true)] };
        assert_eq!(scene.alarms(), alarms);
    }
}

#[test]
fn a_stranger_takes_no_role_and_is_remembered_until_it_has_been_silent_for_long() {
    for own in [unicast(&[OTHER]), allowing(&[(OTHER, 32)])] {
        let mut scene = Scene::active(own);
        for _ in 0..10 {
            scene.hear(PEER, 254);
            scene.hear(OTHER, 100);
            scene.run_for(A);
        }
        assert_eq!(scene.state(), StateName::Active);
        assert_eq!(scene.statistics().peer_errors, 10);
        let told = |scene: &Scene| {
            let alarms = scene.alarms().into_iter();
            let about_it = alarms.filter(|(alarm, _)| *alarm == Alarm::UnknownSender);
            about_it.map(|(_, raised)| raised).collect::<Vec<_>>()
        };
        assert_eq!(told(&scene), [true], "those who may speak do not excuse it");
        let shown = scene.snapshot().alarms.get(Alarm::UnknownSender).expect("it is raised");
        assert_eq!(shown.evidence.source, ip(PEER));
        scene.run_for(300 * A);
        assert_eq!(told(&scene), [true, false]);
    }
}

#[test]
fn a_reload_that_changes_who_is_heard_ends_what_was_said_of_the_unheard() {
    const GROUP: &str = "224.0.0.200";
    let of_group = Parameters { group: Some(ip(GROUP)), ..parameters() };
    for (before, to, alarm, after) in [
        (allowing(&[(OTHER, 32)]), "224.0.0.18", Alarm::UnknownSender, allowing(&[(PEER, 32)])),
        (parameters(), GROUP, Alarm::TransportMismatch, of_group),
    ] {
        let mut scene = Scene::backup(before);
        scene.hear_at(to, PEER, 200);
        let is_raised = |scene: &Scene| scene.snapshot().alarms.get(alarm).is_some();
        assert!(is_raised(&scene));
        scene.configure(after);
        assert!(!is_raised(&scene), "{alarm:?}");
    }
}

#[test]
fn a_group_of_its_own_is_where_it_speaks_and_listens() {
    let group = Some(ip("224.0.0.200"));
    let mut scene = Scene::backup(Parameters { group, ..parameters() });
    scene.hear(PEER, 200);
    assert_eq!(scene.statistics().advertisement_rcvd, 1);
    assert!(scene.node.destinations(super::scene::ROUTER).eq(group));
    scene.hear_at("224.0.0.18", PEER, 200);
    assert_eq!(scene.statistics().destination_errors, 1, "the usual one is none of its business");
    scene.configure(parameters());
    assert!(scene.node.destinations(super::scene::ROUTER).eq([Family::Ipv4.group()]));
    scene.hear(PEER, 200);
    assert_eq!(scene.statistics().advertisement_rcvd, 2);
}

#[test]
fn of_three_peers_each_is_spoken_to_in_its_own_form() {
    const THIRD: &str = "192.0.2.10";
    let mut scene = Scene::active(unicast(&[PEER, OTHER, THIRD]));
    scene.hear_form(OTHER, 100, ChecksumForm::MessageOnly);
    let forms = [PEER, OTHER, THIRD].map(|peer| scene.form_towards(peer));
    assert_eq!(forms, [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader]);
}
