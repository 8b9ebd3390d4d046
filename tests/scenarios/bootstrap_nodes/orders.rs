//! What operators do on purpose: upgrade a node, and hand over.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use lab::services::{Errand, Image, Registry, registry};
use lab::story::VIP;
use lab::{DEADLINE, Node, wait_for};

use crate::site::{Images, ROUTER, Site, hardly_noticed, takeovers, wait_for_check};

/// What an upgrade brings.
const NEWS: &str = "insight/insight-agent:0.20.1";

#[test]
fn an_upgrade_on_the_primary_under_a_freeze_moves_nothing_and_a_crash_still_does() {
    let Some(mut site) = Site::open() else { return };
    let [primary, _secondary] = site.start_vrrpd(&[]);
    let client = site.client();
    client.wait_for_success();
    // It happens to be on the backup, and the installer wants it on the primary.
    obeyed(&site.a, &format!("switchover {ROUTER} --reason disk"));
    site.lab.settles_on(VIP, "b", 2);
    client.wait_for_success();
    obeyed(&site.a, &format!("switchover {ROUTER} --reason upgrade"));
    site.lab.settles_on(VIP, "a", 2);
    client.wait_for_success();
    let visits = client.stop();
    visits.tell("switchover there and back");
    hardly_noticed(&visits, &Errand::ALL);

    let client = site.client();
    client.wait_for_success();
    let before = [takeovers(&site.a), takeovers(&site.b)];
    obeyed(&site.a, &format!("freeze {ROUTER} --for 2h --reason upgrade"));

    // As the installer does it: the registry ends, and comes back with more in it.
    site.on_a.images = Images::Stopped;
    for check in ["registry", "layers"] {
        wait_for_check(&site.a, check, "failing");
    }
    site.lab.settles_on(VIP, "a", 3);
    site.on_a.images = Images::Process(Registry::start(&site.a, &site.certificate));
    Image::make(site.lab.directory(), "insight", "1", &[10_000]).push(&site.a, &site.a.ipv4(), NEWS);
    for check in ["registry", "layers"] {
        wait_for_check(&site.a, check, "passing");
    }
    obeyed(&site.a, &format!("unfreeze {ROUTER}"));
    site.lab.settles_on(VIP, "a", 3);
    client.wait_for_success();
    let visits = client.stop();
    visits.tell("upgrade under a freeze");
    hardly_noticed(&visits, &[Errand::File, Errand::Chart]);
    assert_eq!([takeovers(&site.a), takeovers(&site.b)], before, "it never moved");

    obeyed(&site.a, &format!("freeze {ROUTER} --for 2h"));
    site.lab.power_off(&site.a, primary);
    site.lab.settles_on(VIP, "b", 2);
}

#[test]
fn a_peer_that_lacks_an_image_is_refused_a_switchover_and_replaces_a_node_that_fails() {
    let Some(site) = Site::open() else { return };
    let _daemons = site.start_configured(|node| linked(&site, node));
    wait_for_peer(&site.a, "is fit", true);
    let client = site.client();
    client.wait_for_success();

    let image = Image::make(site.lab.directory(), "insight", "1", &[10_000]);
    image.push(&site.a, &site.a.ipv4(), NEWS);
    wait_for_check(&site.b, "parity", "failing");
    wait_for_peer(&site.a, "is not fit", false);
    let (code, said) = run(&site.a, &format!("switchover {ROUTER}"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(NEWS) && said.contains("--force"), "says why, and what to type: {said}");
    site.lab.settles_on(VIP, "a", 2);
    assert_eq!(takeovers(&site.b), 0);

    registry::remove_storage(&site.a);
    site.lab.settles_on(VIP, "b", 2);
    client.wait_for_success();
    let visits = client.stop();
    visits.tell("switchover refused, failover not");
    hardly_noticed(&visits, &[Errand::File, Errand::Chart]);
}

/// The example's file with the peer link.
fn linked(site: &Site, node: &Node) -> String {
    let peer = if node.name() == "a" { &site.b } else { &site.a };
    let key = node.directory().join("peer.key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("the lab's directory is writable");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o400)).expect("our own file");
    let link = format!(
        "[peer_link]\nlisten = \"{}:9112\"\npeers = [\"{}:9112\"]\nkey_file = \"{}\"\n\n[virtual_router.{ROUTER}]",
        node.ipv4(),
        peer.ipv4(),
        key.display()
    );
    site.config(node, &[(&format!("[virtual_router.{ROUTER}]"), &link)])
}

/// Waits until `node` has heard from the other one whether it is fit to be Active.
fn wait_for_peer(node: &Node, what: &str, fit: bool) {
    wait_for(&format!("{}: the peer {what}", node.name()), DEADLINE, || {
        let state = node.state()?;
        let unfit = state["peers"][0]["virtual_routers"][0]["unfit"].as_array()?;
        (unfit.is_empty() == fit).then_some(())
    });
}

/// Runs `vrrpctl`; gives its exit code and everything that it printed.
fn run(node: &Node, words: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = node.vrrpctl(words);
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (status.code(), stdout + &stderr)
}

fn obeyed(node: &Node, words: &str) {
    let (code, said) = run(node, words);
    assert_eq!(code, Some(0), "{words}: {said}");
}
