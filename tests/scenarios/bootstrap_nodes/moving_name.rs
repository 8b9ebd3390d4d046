//! DNS mode: no address moves, the record of the name does, and clients ask a caching resolver.

use lab::Node;
use lab::services::names::{self, KEYS, ZONE};
use lab::services::{Errand, NAME, registry};

use crate::site::{ROUTER, SERVICES, Site, wait_for_check};

#[test]
fn a_name_follows_the_services_and_clients_follow_when_their_copy_has_run_out() {
    let Some(site) = Site::with_a_name_that_moves() else { return };
    let cache = site.lab.node("cache");
    let _resolver = names::resolver(&cache, &site.ns);
    let _daemons = [&site.a, &site.b].map(|node| node.vrrpd(&config(&site, node)));
    for node in [&site.a, &site.b] {
        for check in SERVICES {
            wait_for_check(node, check, "passing");
        }
    }
    wait_for_update(&site.a, "confirmed");
    wait_for_update(&site.b, "standby");
    let client = site.client_of(&cache);
    client.wait_for_success();

    registry::remove_storage(&site.a);
    wait_for_update(&site.b, "confirmed");
    client.wait_for_success();
    let visits = client.stop();
    visits.tell("DNS mode, registry storage removed");
    let servers: Vec<_> = visits.of(Errand::Chart).filter_map(|visit| visit.server.clone()).collect();
    let moved = servers.iter().position(|server| *server == site.b.ipv4()).expect("clients follow");
    let (before, after) = servers.split_at(moved);
    assert!(!before.is_empty() && before.iter().all(|server| *server == site.a.ipv4()), "{servers:?}");
    assert!(after.iter().all(|server| *server == site.b.ipv4()), "nobody goes back: {servers:?}");
    assert_eq!(visits.failures(Errand::Chart), 0, "the record is never absent: {visits:?}");
}

/// The example's file in DNS mode.
fn config(site: &Site, node: &Node) -> String {
    let (key, secret) = KEYS[usize::from(node.name() == "b")];
    let update = format!(
        "[dns_update.{ROUTER}]\nvirtual_router = \"{ROUTER}\"\nserver = \"{}\"\nzone = \"{ZONE}\"\n\
         name = \"{NAME}\"\nvalue = \"{}\"\ntsig = {{ name = \"{key}\", secret_file = \"{}\" }}\n\n\
         [check.registry]",
        site.ns.ipv4(),
        node.ipv4(),
        names::secret_file(node, secret)
    );
    site.config(
        node,
        &[("addresses = [\"192.0.2.201/32\"]\n", ""), (", \"name\"", ""), ("[check.registry]", &update)],
    )
}

/// Waits until the record is `confirmed` by this node, or left alone (`standby`).
fn wait_for_update(node: &Node, state: &str) {
    node.wait_for_router(ROUTER, &format!("with its record {state}"), |router| {
        router["dns_updates"][0]["state"] == state
    });
}
