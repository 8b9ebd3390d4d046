//! Many virtual routers on two nodes: what they cost in either role, how long a reload keeps them from
//! advertising, and how long it takes until all have moved when one of the nodes loses its power.
//!
//! Up to four interfaces on either node, each pair on a switch of its own, up to 250 virtual routers on
//! each, with one IPv4 address.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use lab::story::{PRIMARY, SECONDARY};
use lab::{Contender, DEADLINE, Daemon, Frame, Kind, Lab, Node, usage, wait_for};

use crate::measure::{FLOOR_NS, INTERVAL, Measures, idle_cpu};

/// Virtual routers of one interface.
const EACH: usize = 250;

/// Measures `contender` once with so many virtual routers.
pub(crate) fn run(contender: Contender, routers: usize, idle: Duration) -> Measures {
    let lab = Lab::open().expect("main() has asked whether the laboratory is available");
    let (a, b) = (lab.node("a"), lab.node("b"));
    let interfaces = routers.div_ceil(EACH);
    for node in [&a, &b] {
        (1..interfaces).for_each(|nth| add_interface(&lab, node, nth));
    }
    let name = |what: &str| format!("{routers} virtual routers: {what}");
    let began = Instant::now();
    let secondary = contender.start_with(&b, &config(contender, routers, SECONDARY));
    let primary = contender.start_with(&a, &config(contender, routers, PRIMARY));
    wait_for("all addresses on a alone", 4 * DEADLINE, || {
        (held(&a) == routers && held(&b) == 0).then_some(())
    });
    let mut measures = vec![(name("start until all are held, s"), began.elapsed().as_secs_f64())];

    let [active_cpu, backup_cpu] = idle_cpu(&[&primary, &secondary], idle);
    let [active, backup] = [&primary, &secondary].map(|daemon| usage::memory(&daemon.processes()));
    measures.extend([
        (name("CPU of the Active node, us/s"), active_cpu),
        (name("CPU of the Backup node, us/s"), backup_cpu),
        (name("memory of the Active node: RSS, KiB"), active.rss_kib as f64),
        (name("memory of the Active node: PSS, KiB"), active.pss_kib as f64),
        (name("memory of the Backup node: RSS, KiB"), backup.rss_kib as f64),
        (name("memory of the Backup node: PSS, KiB"), backup.pss_kib as f64),
        (
            name("reload: latest advertisement over its interval, ms"),
            reload(&lab, contender, &a, &primary, routers),
        ),
    ]);
    let [advert, address, last] = crash(&lab, primary, &b, routers);
    measures.extend([
        (name("takeover: latest first advertisement over its own floor, ms"), advert),
        (name("takeover: latest address announced over its own floor, ms"), address),
        (name("takeover: last address announced over the last floor, ms"), last),
    ]);
    drop(secondary);
    measures
}

/// A further interface of a node, on a switch of its own: `eth1` with the port `a1`, and so on.
fn add_interface(lab: &Lab, node: &Node, nth: usize) {
    let (name, host) = (node.name(), if node.name() == "a" { 1 } else { 2 });
    let switch = lab.switch().namespace();
    if host == 1 {
        switch.ip(&format!(
            "link add br{nth} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set br{nth} up\n"
        ));
    }
    node.namespace().ip(&format!(
        "link add eth{nth} address 02:00:00:00:{nth:02x}:{host:02x} type veth peer name {name}{nth} netns {}\n\
         link set eth{nth} up\n\
         addr add 198.51.100.{}/29 dev eth{nth}\n",
        switch.path(),
        nth * 8 + host
    ));
    switch.ip(&format!("link set {name}{nth} master br{nth} up\n"));
}

/// Interface and VRID of a virtual router, and its address.
fn place(router: usize) -> (usize, usize, Ipv4Addr) {
    let (interface, vrid) = (router / EACH, router % EACH + 1);
    let octet = |number: usize| u8::try_from(number).expect("below 256");
    (interface, vrid, Ipv4Addr::new(169, 254, octet(interface + 1), octet(vrid)))
}

fn config(contender: Contender, routers: usize, priority: u8) -> String {
    let mut text = String::new();
    for router in 0..routers {
        let (interface, vrid, address) = place(router);
        let written = match contender {
            Contender::Vrrpd => writeln!(
                text,
                "[virtual_router.r{router}]\ninterface = \"eth{interface}\"\nvrid = {vrid}\npriority = {priority}\n\
                 addresses = [\"{address}\"]"
            ),
            Contender::Keepalived => writeln!(
                text,
                "vrrp_instance r{router} {{\n interface eth{interface}\n virtual_router_id {vrid}\n \
                 priority {priority}\n advert_int 1\n virtual_ipaddress {{ {address} }}\n}}"
            ),
        };
        written.expect("a string takes everything");
    }
    text
}

/// How many of the addresses a node has.
fn held(node: &Node) -> usize {
    let moves = |address: &&IpAddr| matches!(address, IpAddr::V4(four) if four.is_link_local());
    node.addresses().iter().filter(moves).count()
}

/// The router that a frame of `node` is about, by its advertisement.
fn advertised(frame: &Frame, node: &str) -> Option<usize> {
    let port = frame.interface.strip_prefix(node)?;
    let interface = if port.is_empty() { 0 } else { port.parse::<usize>().ok()? };
    let advert = frame.advert().filter(|advert| advert.priority > 0)?;
    Some(interface * EACH + usize::from(advert.vrid) - 1)
}

/// The same by an announcement of its address.
fn announced(frame: &Frame, node: &str) -> Option<usize> {
    let Kind::GratuitousArp { ip: IpAddr::V4(ip), .. } = frame.kind else { return None };
    let [169, 254, interface, vrid] = ip.octets() else { return None };
    let of_node = frame.interface.starts_with(node);
    of_node.then(|| (usize::from(interface) - 1) * EACH + usize::from(vrid) - 1)
}

/// By how much an interval between two advertisements of a router was too long at most, over a reload in
/// which the priority of the last one changes.
fn reload(lab: &Lab, contender: Contender, a: &Node, primary: &Daemon, routers: usize) -> f64 {
    let capture = lab.capture();
    std::thread::sleep(INTERVAL * 3 / 2);
    let (interface, vrid, _) = place(routers - 1);
    let config = config(contender, routers, PRIMARY);
    let at = config.rfind(&PRIMARY.to_string()).expect("the priority of the last router");
    let config = [&config[..at], "201", &config[at + 3..]].concat();
    contender.reload_with(a, primary, &config);
    let port = if interface == 0 { "a".to_owned() } else { format!("a{interface}") };
    capture.wait_for("an advertisement of the changed router", 0, |frame| {
        let changed =
            |advert: &lab::frame::Advert| usize::from(advert.vrid) == vrid && advert.priority == 201;
        frame.interface == port && frame.advert().is_some_and(changed)
    });
    std::thread::sleep(INTERVAL * 3 / 2);
    let mut last = BTreeMap::new();
    let mut longest = 0;
    for frame in capture.frames() {
        if let Some(router) = advertised(&frame, "a")
            && let Some(before) = last.insert(router, frame.time_ns)
        {
            longest = longest.max(frame.time_ns - before);
        }
    }
    (longest as f64 - INTERVAL.as_nanos() as f64) / 1e6
}

/// Node a loses its power on all its interfaces.
fn crash(lab: &Lab, primary: Daemon, b: &Node, routers: usize) -> [f64; 3] {
    let capture = lab.capture();
    std::thread::sleep(INTERVAL * 3 / 2);
    primary.freeze();
    let ports =
        (0..routers.div_ceil(EACH)).map(|nth| if nth == 0 { "a".to_owned() } else { format!("a{nth}") });
    lab.switch().namespace().ip(&ports.map(|port| format!("link set dev {port} down\n")).collect::<String>());
    primary.crash();
    wait_for("all addresses on b", 4 * DEADLINE, || (held(b) == routers).then_some(()));
    std::thread::sleep(INTERVAL * 3 / 2);
    let (mut floors, mut adverts, mut announcements) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for frame in capture.frames() {
        if let Some(router) = advertised(&frame, "a") {
            floors.insert(router, frame.time_ns + FLOOR_NS);
        } else if let Some(router) = advertised(&frame, "b") {
            adverts.entry(router).or_insert(frame.time_ns);
        } else if let Some(router) = announced(&frame, "b") {
            announcements.entry(router).or_insert(frame.time_ns);
        }
    }
    let over = |times: &BTreeMap<usize, i64>| {
        assert!(times.len() == routers && floors.len() == routers, "a router is missing from the capture");
        let late = times.iter().map(|(router, time)| time - floors[router]);
        late.max().expect("a router at least") as f64 / 1e6
    };
    let last = |times: &BTreeMap<usize, i64>| times.values().copied().max().expect("a router at least");
    [over(&adverts), over(&announcements), (last(&announcements) - last(&floors)) as f64 / 1e6]
}
