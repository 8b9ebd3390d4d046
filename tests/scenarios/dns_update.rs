//! A name follows the role: two nodes that share no network, a router between them, BIND 9 as the
//! authoritative server, and a second one as the resolver that clients ask.
//!
//! ```text
//!   a .193    ns .195    cache .196                       b .194
//!      |         |           |                              |
//!   +--+---------+-----------+--+  .1  router  .1  +--------+--+
//!   |       192.0.2.0/24        +------------------+ 198.51.100.0/24
//!   +---------------------------+                  +-----------+
//! ```

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab::services::NAME;
use lab::services::names::{self, KEYS, ZONE, policy, secret_file};
use lab::{DEADLINE, Daemon, Lab, Node, wait_for};
use serde_json::Value;

const A: &str = "192.0.2.193";
const B: &str = "198.51.100.194";
/// Time to live of the record that vrrpd keeps, in seconds.
const TTL: u64 = 5;

/// The whole site, before any vrrpd has started.
struct Site {
    _primary: Daemon,
    resolver: Option<Daemon>,
    a: Arc<Node>,
    b: Arc<Node>,
    ns: Arc<Node>,
    cache: Arc<Node>,
    /// Dropped last.
    lab: Lab,
}

impl Site {
    /// `zone` is what the zone of the name says about updates.
    fn open(zone: &str) -> Option<Self> {
        let lab = Lab::with(&["named", "dig", "nsupdate"])?;
        let [a, b, ns, cache] = ["a", "b", "ns", "cache"].map(|name| lab.node(name));
        part(&lab, &a, &b, &ns);
        let primary = names::primary(&ns, "203.0.113.9", zone);
        let mut site = Self { _primary: primary, resolver: None, a, b, ns, cache, lab };
        site.start_cache();
        wait_for("both servers", DEADLINE, || {
            (site.at(&site.ns).starts_with("203.0.113.9") && site.at(&site.cache).starts_with("203.0.113.9"))
                .then_some(())
        });
        Some(site)
    }

    /// Starts the resolver, or starts it again: it knows nothing.
    fn start_cache(&mut self) {
        self.resolver = None;
        self.resolver = Some(names::resolver(&self.cache, &self.ns));
    }

    /// The configuration of a node, for its priority; `more` are further keys of its virtual router.
    fn config(&self, node: &Node, more: &str) -> String {
        let (value, peer, priority) = if node.name() == "a" { (A, B, 200) } else { (B, A, 100) };
        let (key, secret) = KEYS[usize::from(node.name() == "b")];
        let file = secret_file(node, secret);
        format!(
            "[virtual_router.web]\ninterface = \"eth0\"\nvrid = 201\npriority = {priority}\n\
             advertisement_interval = \"100ms\"\npeers = [\"{peer}\"]\n{more}\n\
             [dns_update.www]\nvirtual_router = \"web\"\nserver = \"{}\"\nzone = \"{ZONE}\"\nname = \"{NAME}\"\n\
             value = \"{value}\"\nttl = \"{TTL}s\"\nrefresh = \"1s\"\n\
             tsig = {{ name = \"{key}\", secret_file = \"{file}\" }}\n",
            self.ns.ipv4()
        )
    }

    fn start(&self, node: &Node, more: &str) -> Daemon {
        node.vrrpd(&self.config(node, more))
    }

    /// Addresses of the name at a server, one a line, asked from the node that the server runs on.
    fn at(&self, server: &Node) -> String {
        let words = format!("+short +time=1 +tries=1 @{} {NAME} A", server.ipv4());
        let output =
            server.namespace().command("dig").args(words.split(' ')).output().expect("dig is installed");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn wait_for_record(&self, server: &Node, address: &str) {
        let what = format!("{NAME} is {address} at {}", server.name());
        wait_for(&what, DEADLINE, || (self.at(server) == address).then_some(()));
    }

    /// An administrator changes the record by hand.
    fn change_by_hand(&self, address: &str) {
        let (key, secret) = KEYS[2];
        let mut child = self.ns.namespace().command("nsupdate");
        let mut child = child
            .args(["-y", &format!("hmac-sha256:{key}:{secret}")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nsupdate is installed");
        let script = format!(
            "server {}\nupdate delete {NAME} A\nupdate add {NAME} 60 A {address}\nsend\n",
            self.ns.ipv4()
        );
        child.stdin.take().expect("stdin is a pipe").write_all(script.as_bytes()).expect("it reads");
        assert!(child.wait().expect("the child is ours").success(), "nsupdate was refused");
    }
}

/// Takes node b off the switch and puts a router in between.
fn part(lab: &Lab, a: &Node, b: &Node, ns: &Node) {
    let router = lab.switch().namespace();
    router.sysctl(&[("net/ipv4/ip_forward", "1")]);
    router.ip("link set dev b nomaster\naddr add 198.51.100.1/24 dev b\naddr add 192.0.2.1/24 dev br0\n");
    b.ip("-4 addr flush dev eth0");
    b.ip("addr add 198.51.100.194/24 dev eth0");
    b.ip("route add default via 198.51.100.1");
    for node in [a, ns] {
        node.ip("route add default via 192.0.2.1");
    }
}

fn update(router: &Value) -> &Value {
    &router["dns_updates"][0]
}

fn wait_for_update(node: &Node, state: &str) -> Value {
    let what = format!("with a record that is {state}");
    update(&node.wait_for_router("web", &what, |router| update(router)["state"] == state)).clone()
}

fn history(node: &Node) -> String {
    String::from_utf8_lossy(&node.vrrpctl("history www").stdout).into_owned()
}

const ROUTED: &str = "min_ttl = 254";

#[test]
fn the_record_follows_the_role_and_clients_follow_after_its_ttl() {
    let Some(mut site) = Site::open(&policy()) else { return };
    let primary = site.start(&site.a, ROUTED);
    let _secondary = site.start(&site.b, ROUTED);
    site.wait_for_record(&site.ns, A);
    site.a.wait_for_state("web", "active");
    let confirmed = wait_for_update(&site.a, "confirmed");
    assert_eq!((&confirmed["record"], &confirmed["value"]), (&NAME.into(), &A.into()));
    site.b.wait_for_state("web", "backup");
    wait_for_update(&site.b, "standby");
    let text = String::from_utf8_lossy(&site.a.vrrpctl("state").stdout).into_owned();
    assert!(
        text.contains(&format!("dns_update www: {NAME} A is {A} at {}:53 (seen ", site.ns.ipv4())),
        "{text}"
    );

    // The record that was there at first had a day; the resolver keeps it, and is made to forget.
    assert_eq!(site.at(&site.cache), "203.0.113.9", "the trap of $TTL 1D");
    site.start_cache();
    site.wait_for_record(&site.cache, A);
    let filled = Instant::now();

    site.lab.power_off(&site.a, primary);
    site.wait_for_record(&site.ns, B);
    wait_for_update(&site.b, "confirmed");
    let answer = site.at(&site.cache);
    if filled.elapsed() < Duration::from_secs(TTL - 1) {
        assert_eq!(answer, A, "a cache keeps what it has for its TTL");
    }
    site.wait_for_record(&site.cache, B);

    site.a.power_on();
    site.a.ip("route add default via 192.0.2.1");
    let _primary = site.a.start_vrrpd();
    site.wait_for_record(&site.ns, A);
    wait_for_update(&site.b, "standby");
    site.wait_for_record(&site.cache, A);
    assert!(history(&site.b).contains(&format!("{NAME} is {B} at {}:53, in place of {A}", site.ns.ipv4())));
}

#[test]
fn what_somebody_else_makes_of_the_record_is_put_back() {
    let Some(site) = Site::open(&policy()) else { return };
    let (_primary, _secondary) = (site.start(&site.a, ROUTED), site.start(&site.b, ROUTED));
    site.wait_for_record(&site.ns, A);
    wait_for_update(&site.a, "confirmed");
    site.change_by_hand("203.0.113.99");
    site.wait_for_record(&site.ns, A);
    wait_for("the history to tell of it", DEADLINE, || {
        history(&site.a).contains("again, after somebody else had made it 203.0.113.99").then_some(())
    });
    assert!(!history(&site.b).contains("203.0.113.99"), "a Backup minds its own business");
}

#[test]
fn a_zone_that_takes_no_updates_is_named() {
    let Some(site) = Site::open("allow-update { none; };") else { return };
    let daemon = site.start(&site.a, ROUTED);
    let failing = wait_for_update(&site.a, "failing");
    let message = failing["message"].as_str().unwrap_or_default();
    assert!(message.starts_with(&format!("REFUSED: the zone {ZONE} has allow-update none")), "{message}");
    let state = site.a.vrrpctl("state");
    assert_eq!(state.status.code(), Some(2), "clients go nowhere");
    let text = String::from_utf8_lossy(&state.stdout).into_owned();
    assert!(text.contains(message), "{text}");
    assert!(
        text.contains(&format!("-> in the zone: update-policy {{ grant vrrpd-a. name {NAME}. A; }};")),
        "{text}"
    );
    assert!(history(&site.a).contains(message));
    assert!(daemon.log().contains(message));
    for shown in [text, daemon.log(), format!("{failing}")] {
        assert!(!shown.contains(KEYS[0].1), "the secret is shown to nobody");
    }
    assert_eq!(site.at(&site.ns), "203.0.113.9");
}

#[test]
fn a_key_that_the_server_does_not_know_is_named_and_a_reload_mends_it() {
    let Some(site) = Site::open(&policy()) else { return };
    let right = site.config(&site.a, ROUTED);
    let daemon = site.a.vrrpd(&right.replace("\"vrrpd-a\"", "\"vrrpd-z\""));
    let failing = wait_for_update(&site.a, "failing");
    let expected = format!("BADKEY: {}:53 does not know key vrrpd-z with hmac-sha256", site.ns.ipv4());
    assert_eq!(failing["message"], expected);
    site.a.write_vrrpd_config(&right.replace(KEYS[0].1, "d3Jvbmc="));
    secret_file(&site.a, "d3Jvbmc=");
    daemon.reload();
    let what = "with a wrong secret";
    site.a.wait_for_router("web", what, |router| {
        update(router)["message"].as_str().is_some_and(|message| message.starts_with("BADSIG: "))
    });
    // Read anew at the next attempt, without a reload.
    secret_file(&site.a, KEYS[0].1);
    wait_for_update(&site.a, "confirmed");
    site.wait_for_record(&site.ns, A);
    assert_eq!(
        site.a.wait_for_state("web", "active")["statistics"]["master_transitions"],
        1,
        "the role stayed"
    );
}

#[test]
fn without_min_ttl_routed_peers_do_not_hear_each_other() {
    let Some(site) = Site::open(&policy()) else { return };
    let (_primary, secondary) = (site.start(&site.a, ""), site.start(&site.b, ""));
    site.b.wait_for_router("web", "counts what came through a router", |router| {
        router["statistics"]["ip_ttl_errors"].as_u64().is_some_and(|errors| errors > 0)
    });
    assert!(secondary.log().contains("TTL or hop limit is 254 where at least 255 is required"));
}
