//! What is served goes missing, or cannot be trusted.

use lab::services::{Errand, Image, Registry, registry};
use lab::story::VIP;

use crate::site::{Images, Site, hardly_noticed, takeovers, wait_for_check, waited_for_proof};

#[test]
fn a_registry_without_its_storage_hands_over_and_takes_back_after_its_delay() {
    let Some(site) = Site::open() else { return };
    let _daemons = site.start_vrrpd(&[]);
    let client = site.client();
    client.wait_for_success();

    registry::remove_storage(&site.a);
    site.lab.settles_on(VIP, "b", 2);
    let message = wait_for_check(&site.a, "registry", "failing");
    assert!(message.contains("404"), "says what the registry answered: {message}");
    client.wait_for_success();
    let visits = client.stop();
    visits.tell("registry storage removed");
    hardly_noticed(&visits, &[Errand::File, Errand::Chart]);

    let client = site.client();
    registry::restore_storage(&site.a);
    site.lab.settles_on(VIP, "a", 2);
    client.wait_for_success();
    waited_for_proof(&site.a, "registry");
    let visits = client.stop();
    visits.tell("registry storage restored");
    hardly_noticed(&visits, &Errand::ALL);
}

#[test]
fn a_layer_that_is_gone_moves_the_address_though_its_manifest_is_there() {
    let Some(site) = Site::open() else { return };
    let _daemons = site.start_vrrpd(&[]);
    let client = site.client();
    client.wait_for_success();
    registry::delete_layer(&site.a, &site.image);
    site.lab.settles_on(VIP, "b", 2);
    wait_for_check(&site.a, "layers", "failing");
    wait_for_check(&site.a, "registry", "passing");
    client.wait_for_success();
    client.stop().tell("layer deleted");
    assert_eq!(takeovers(&site.b), 1);
}

#[test]
fn a_certificate_without_the_name_moves_the_address() {
    let Some(mut site) = Site::open() else { return };
    let _daemons = site.start_vrrpd(&[]);
    let client = site.client();
    client.wait_for_success();
    // What the installer's own guide leads to.
    let forgetful = site.authority.issue(&[&site.a.ipv4(), VIP]);
    site.on_a.images = Images::Stopped;
    site.on_a.images = Images::Process(Registry::start(&site.a, &forgetful));
    site.lab.settles_on(VIP, "b", 2);
    let message = wait_for_check(&site.a, "registry", "failing");
    assert!(message.contains("www.tinder-node-server.com"), "names what is missing: {message}");
    client.wait_for_success();
    client.stop().tell("certificate without the name");
}

#[test]
fn a_full_disk_is_shown_and_moves_nothing() {
    let Some(site) = Site::open() else { return };
    let disk = registry::small_disk(&site.a);
    let _daemons = site.start_vrrpd(&[]);
    let client = site.client();
    client.wait_for_success();
    disk.fill();
    let message = wait_for_check(&site.a, "disk", "failing");
    assert!(message.contains('%'), "says how much is left: {message}");
    assert_eq!(site.a.vrrpctl("state").status.code(), Some(1), "degraded");
    let another = Image::make(site.lab.directory(), "another", "1", &[10_000]);
    assert!(!another.try_push(&site.a, &site.a.ipv4(), "pause/another:1").status.success());
    client.wait_for_visits(3);
    let visits = client.stop();
    visits.tell("disk full");
    for errand in Errand::ALL {
        assert_eq!(visits.failures(errand), 0, "{errand:?} with a full disk: {visits:?}");
    }
    site.lab.settles_on(VIP, "a", 1);
    assert_eq!([takeovers(&site.a), takeovers(&site.b)], [1, 0], "it never moved");
}
