//! The role moves on purpose: a check fails, the only peer takes over, the other one is keepalived.

use std::path::Path;

use lab::story::{PRIMARY, SECONDARY, VIP};
use lab::{Contender, Daemon, Lab, Node, now_ns};

use crate::measure::{Measures, outage};

/// What a failing check does.
#[derive(Clone, Copy)]
enum Failure {
    Fault,
    /// Lowers the priority below the other node's.
    Weight,
}

/// A node's part in what is measured.
#[derive(Clone, Copy, Default)]
struct Setup<'a> {
    /// The only peer, in unicast.
    peer: Option<&'a Node>,
    /// A file whose content is `0` while all is well.
    health: Option<(&'a Path, Failure)>,
}

/// Measures `contender` once.
pub(crate) fn run(contender: Contender) -> Measures {
    let mut measures = vec![("start: first advertisement over the floor, us".to_owned(), start(contender))];
    for (name, failure) in [("fault", Failure::Fault), ("weight", Failure::Weight)] {
        let [outage, moved] = failing_check(contender, failure);
        measures.push((format!("failing check, {name}: longest wait, ms"), outage));
        measures.push((format!("failing check, {name}: other node advertises after, ms"), moved));
    }
    let keepalived = Contender::Keepalived;
    for (name, [leaves, follows], unicast) in [
        ("stop, sole backup", [contender; 2], true),
        ("stop, keepalived follows", [contender, keepalived], false),
        ("stop of keepalived, it follows", [keepalived, contender], false),
        ("stop of keepalived, it follows as sole backup", [keepalived, contender], true),
    ] {
        let [outage, moved] = stop(leaves, follows, unicast);
        measures.push((format!("{name}: longest wait, ms"), outage));
        measures.push((format!("{name}: other node advertises after, ms"), moved));
    }
    measures.push(("return over keepalived: longest wait, ms".to_owned(), returns(contender)));
    measures
}

/// Microseconds from the start of the only node to its first advertisement, beyond the silence that it has to wait for.
fn start(contender: Contender) -> f64 {
    /// Active_Down_Interval at priority 200 and one second: 3 s + 56/256 s.
    const FLOOR_NS: i64 = 3_218_750_000;
    let lab = open();
    let a = lab.node("a");
    let capture = lab.capture_adverts(&[&a]);
    let begun_ns = now_ns();
    let _daemon = launch(contender, &a, PRIMARY, Setup::default());
    (capture.wait_for_advert("a", begun_ns).time_ns - begun_ns - FLOOR_NS) as f64 / 1000.0
}

/// The longest wait of a client, and how long after the failure the other node advertised, in milliseconds.
fn failing_check(contender: Contender, failure: Failure) -> [f64; 2] {
    let lab = open();
    let (a, b) = (lab.node("a"), lab.node("b"));
    let health = lab.directory().join("health");
    let say = |content: &str| std::fs::write(&health, content).expect("the lab's directory is writable");
    say("0\n");
    let setup = Setup { health: Some((&health, failure)), ..Setup::default() };
    let _primary = launch(contender, &a, PRIMARY, setup);
    let _secondary = launch(contender, &b, SECONDARY, Setup::default());
    // What keepalived adds to the priority; at -254 and below it is a fault.
    let bad = if matches!(failure, Failure::Fault) { "-255\n" } else { "-150\n" };
    moves(&lab, &b, || say(bad))
}

fn stop(leaves: Contender, follows: Contender, unicast: bool) -> [f64; 2] {
    let lab = open();
    let (a, b) = (lab.node("a"), lab.node("b"));
    let with = |peer| Setup { peer: unicast.then_some(peer), ..Setup::default() };
    let primary = launch(leaves, &a, PRIMARY, with(&b));
    let _secondary = launch(follows, &b, SECONDARY, with(&a));
    moves(&lab, &b, || {
        primary.terminate();
    })
}

/// A router of higher priority comes back while keepalived holds the address.
fn returns(contender: Contender) -> f64 {
    let lab = open();
    let (a, b) = (lab.node("a"), lab.node("b"));
    let _secondary = launch(Contender::Keepalived, &b, SECONDARY, Setup::default());
    lab.wait_for_holder(VIP, "b");
    let (_primary, longest) = outage(&lab, "a", || launch(contender, &a, PRIMARY, Setup::default()));
    longest
}

/// Does what moves the role from a to b.
fn moves(lab: &Lab, b: &Node, action: impl FnOnce()) -> [f64; 2] {
    let capture = lab.capture_adverts(&[b]);
    lab.wait_for_holder(VIP, "a");
    // An advertisement that b sent on its way to Backup is before that.
    let (begun_ns, longest) = outage(lab, "b", || {
        let begun_ns = now_ns();
        action();
        begun_ns
    });
    [longest, (capture.wait_for_advert("b", begun_ns).time_ns - begun_ns) as f64 / 1e6]
}

fn open() -> Lab {
    Lab::open().expect("main() has asked whether the laboratory is available")
}

fn launch(contender: Contender, node: &Node, priority: u8, setup: Setup<'_>) -> Daemon {
    let config = match contender {
        Contender::Vrrpd => vrrpd(priority, setup),
        Contender::Keepalived => keepalived(node, priority, setup),
    };
    contender.start_with(node, &config)
}

fn vrrpd(priority: u8, setup: Setup<'_>) -> String {
    let peers = setup.peer.map(|peer| format!("peers = [\"{}\"]\n", peer.ipv4())).unwrap_or_default();
    let check = setup.health.map(|(file, failure)| {
        let failure = match failure {
            Failure::Fault => "on_failure = \"fault\"",
            Failure::Weight => "weight = -150",
        };
        format!(
            "checks = [\"health\"]\n[check.health]\nexec = [\"/usr/bin/grep\", \"-qx\", \"0\", \"{}\"]\n\
             interval = \"100ms\"\nrise = 1\nfall = 1\n{failure}\n",
            file.display()
        )
    });
    format!(
        "[virtual_router.web]\ninterface = \"eth0\"\nvrid = 201\npriority = {priority}\naddresses = [\"{VIP}\"]\n{peers}{}",
        check.unwrap_or_default()
    )
}

fn keepalived(node: &Node, priority: u8, setup: Setup<'_>) -> String {
    let mut config = String::new();
    let mut more = String::new();
    if let Some((file, _)) = setup.health {
        config = format!("track_file health {{\n  file {}\n  weight 1\n}}\n", file.display());
        more += "  track_file {\n    health\n  }\n";
    }
    if let Some(peer) = setup.peer {
        more += &format!("  unicast_src_ip {}\n  unicast_peer {{\n    {}\n  }}\n", node.ipv4(), peer.ipv4());
    }
    config
        + &format!(
            "vrrp_instance web {{\n  interface eth0\n  virtual_router_id 201\n  priority {priority}\n  advert_int 1\n{more}  \
             virtual_ipaddress {{\n    {VIP}\n  }}\n}}\n"
        )
}
