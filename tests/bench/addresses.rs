//! One virtual router with many addresses: how long they take to come and to go, and whether it advertises
//! on time meanwhile. One address is advertised, the others move along.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::story::PRIMARY;
use lab::{Contender, DEADLINE, Frame, Kind, Lab, Node, now_ns, wait_for};

use crate::measure::{INTERVAL, Measures};

/// How many of which family, and whether on a virtual MAC address.
const CASES: [(usize, bool, bool); 9] = [
    (100, false, false),
    (500, false, false),
    (1000, false, false),
    (4000, false, false),
    (100, true, false),
    (1000, true, false),
    (4000, true, false),
    (1000, true, true),
    (4000, true, true),
];
/// The longest that anybody may take: keepalived needs a minute to take thousands of addresses away.
const PATIENCE: Duration = Duration::from_secs(240);

/// Measures all cases once.
pub(crate) fn run(contender: Contender) -> Measures {
    CASES
        .into_iter()
        .flat_map(|(count, ipv6, virtual_mac)| one(contender, count, ipv6, virtual_mac))
        .collect()
}

fn one(contender: Contender, count: usize, ipv6: bool, virtual_mac: bool) -> Measures {
    let lab = Lab::open().expect("main() has asked whether the laboratory is available");
    let node = lab.node("a");
    let capture = lab.capture();
    let daemon = contender.start_with(&node, &config(contender, count, ipv6, virtual_mac));
    let speaks = |frame: &Frame| frame.advert().is_some_and(|advert| advert.priority > 0);
    let first = capture.wait_within(4 * DEADLINE, "an advertisement", 0, speaks);
    wait_for("all addresses", PATIENCE, || (held(&node, ipv6) == count).then_some(()));
    // The last may be announced later than it is there, and an advertisement be due.
    wait_for("the announcement of all addresses", PATIENCE, || {
        let frames = capture.frames();
        let all = frames.iter().filter(|frame| announced(frame)).count() >= count;
        (all && frames.iter().rev().any(|frame| speaks(frame) && frame.time_ns > first.time_ns)).then_some(())
    });
    std::thread::sleep(2 * INTERVAL);
    let frames = capture.frames();
    let adverts: Vec<i64> = frames.iter().filter(|frame| speaks(frame)).map(|frame| frame.time_ns).collect();
    let longest = adverts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    // Announcements are repeated; the first of the last address ends it.
    let mut seen = std::collections::BTreeSet::new();
    let fresh = frames.iter().filter(|frame| announced(frame) && seen.insert(subject(frame)));
    let last = fresh.map(|frame| frame.time_ns).max().expect("waited for above");

    let monitor = Monitor::start(&node, ipv6);
    let stopped = now_ns();
    let _ = daemon.terminate_within(PATIENCE);
    wait_for("the end of all addresses", PATIENCE, || (held(&node, ipv6) == 0).then_some(()));
    let [first_gone, last_gone] = monitor.stop();
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let place = if virtual_mac { " on a virtual MAC" } else { "" };
    let name = |what: &str| format!("{count} {family} addresses{place}: {what}, ms");
    vec![
        (name("first advertisement to last announcement"), (last - first.time_ns) as f64 / 1e6),
        (name("longest time between advertisements"), longest as f64 / 1e6),
        (name("SIGTERM to last address gone"), (last_gone - stopped) as f64 / 1e6),
        (name("first to last address gone"), (last_gone - first_gone) as f64 / 1e6),
    ]
}

fn address(nth: usize, ipv6: bool) -> IpAddr {
    let number = u16::try_from(nth).expect("some thousands");
    match (ipv6, nth) {
        // RFC 9568 5.2.9: a link-local address is advertised first.
        (true, 0) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x201).into(),
        (true, _) => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number).into(),
        (false, _) => Ipv4Addr::from_bits(0xa9fe_0100 + u32::from(number)).into(),
    }
}

fn config(contender: Contender, count: usize, ipv6: bool, virtual_mac: bool) -> String {
    let extra = (1..count).map(|nth| address(nth, ipv6));
    let mut text = String::new();
    let written = match contender {
        Contender::Vrrpd => {
            let extra: Vec<String> = extra.map(|address| address.to_string()).collect();
            writeln!(
                text,
                "[virtual_router.web]\ninterface = \"eth0\"\nvrid = 201\npriority = {PRIMARY}\n\
                 virtual_mac = {virtual_mac}\naddresses = [\"{}\"]\nextra_addresses = {extra:?}",
                address(0, ipv6)
            )
        }
        Contender::Keepalived => {
            let extra: String = extra.map(|address| format!("  {address}\n")).collect();
            writeln!(
                text,
                "vrrp_instance web {{\n interface eth0\n virtual_router_id 201\n priority {PRIMARY}\n \
                 advert_int 1\n {}virtual_ipaddress {{ {} }}\n virtual_ipaddress_excluded {{\n{extra} }}\n}}",
                if virtual_mac { "use_vmac\n " } else { "" },
                address(0, ipv6)
            )
        }
    };
    written.expect("a string takes everything");
    text
}

/// How many of the addresses the node has.
fn held(node: &Node, ipv6: bool) -> usize {
    let mut all = node.addresses();
    all.sort_unstable();
    all.dedup();
    all.iter().filter(|address| is_moved(address, ipv6)).count()
}

fn is_moved(address: &IpAddr, ipv6: bool) -> bool {
    match address {
        IpAddr::V4(four) => !ipv6 && four.is_link_local(),
        IpAddr::V6(six) => {
            let [a, b, c, .., last] = six.segments();
            ipv6 && ((a, b, c) == (0x2001, 0xdb8, 1) || (a == 0xfe80 && last == 0x201))
        }
    }
}

/// Notes when the addresses go, as the kernel tells.
struct Monitor {
    ip: Child,
    /// Something else was told.
    listens: Arc<AtomicBool>,
    /// Comes to its end with `ip`.
    gone: JoinHandle<Vec<i64>>,
}

impl Monitor {
    fn start(node: &Node, ipv6: bool) -> Self {
        let mut command = node.namespace().command("ip");
        command.args(["-oneline", "-rcvbuf", "16777216", "monitor", "address"]);
        let mut ip = command.stdout(Stdio::piped()).spawn().expect("iproute2 is installed");
        let lines = BufReader::new(ip.stdout.take().expect("it is a pipe")).lines();
        let listens = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&listens);
        let gone = std::thread::spawn(move || {
            let when_gone = |line: std::io::Result<String>| {
                let (line, now) = (line.ok()?, now_ns());
                told.store(true, Ordering::Relaxed);
                let address =
                    line.split_whitespace().find_map(|word| word.split('/').next()?.parse().ok())?;
                (line.starts_with("Deleted") && is_moved(&address, ipv6)).then_some(now)
            };
            lines.filter_map(when_gone).collect()
        });
        let monitor = Self { ip, listens, gone };
        wait_for("the monitor of addresses", DEADLINE, || {
            node.namespace().ip("addr add 198.51.100.9/32 dev lo\naddr del 198.51.100.9/32 dev lo\n");
            monitor.listens.load(Ordering::Relaxed).then_some(())
        });
        monitor
    }

    /// When the first and the last of the addresses went, in ns of `CLOCK_REALTIME`.
    fn stop(mut self) -> [i64; 2] {
        self.ip.kill().expect("it is ours");
        self.ip.wait().expect("it is ours");
        let gone = self.gone.join().expect("the reader does not panic");
        let [first, last] = [gone.first(), gone.last()];
        [first, last].map(|at| *at.expect("all addresses have gone"))
    }
}

fn announced(frame: &Frame) -> bool {
    subject(frame).is_some()
}

/// The address that a frame announces.
fn subject(frame: &Frame) -> Option<IpAddr> {
    match frame.kind {
        Kind::GratuitousArp { ip, .. } => Some(ip),
        Kind::NeighbourAdvertisement { target, solicited: false, .. } => Some(target),
        _ => None,
    }
}
