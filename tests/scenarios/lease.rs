//! The kernel silences the addresses of a daemon that does not advertise any more, before the other node
//! claims them.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::story::{PRIMARY, SECONDARY, SKEW_NS, VIP, VIP6, web, web6};
use lab::{Capture, DEADLINE, Daemon, Kind, Lab, Namespace, Node, Pair, Prober, now_ns, wait_for};

fn fenced(node: &Node) -> bool {
    node.router("web").is_some_and(|router| router["fence"] == "280ms")
}

/// A pair at intervals of 100 ms whose fences are in force.
fn pair(address: &str) -> Option<Pair> {
    pair_with(address, "")
}

/// The same with further keys, in which PRIORITY stands for the node's.
fn pair_with(address: &str, more: &str) -> Option<Pair> {
    let config = |node: &Node| {
        let priority = if node.name() == "a" { PRIMARY } else { SECONDARY };
        let more = more.replace("PRIORITY", &priority.to_string());
        if address == VIP { web(priority, &more) } else { web6(priority, &more) }
    };
    let pair = Pair::with_address(address, config)?;
    for node in [&pair.a, &pair.b] {
        wait_for("a fence", DEADLINE, || fenced(node).then_some(()));
    }
    Some(pair)
}

/// Has `end` end the advertisements of `a`, and checks that nobody answered for the address just before `b`
/// claimed it, and `a` not since.
fn a_is_silent_before_b_claims<T>(lab: &Lab, a: &Node, address: &str, end: impl FnOnce() -> T) -> T {
    let capture = lab.capture();
    let prober = Prober::start(lab.client(), address);
    prober.wait_for_answer();
    let ended_ns = now_ns();
    let kept = end();
    let claim_ns = capture.wait_for_advert("b", ended_ns).time_ns;
    prober.wait_for_answer();
    let probes = prober.stop().0;
    // The fence ends 3 A - 20 ms after the last advertisement, and b waits for Skew_Time beyond 3 A. Then it
    // has the address in its kernel first: a virtual MAC answers as soon as the switch has seen a report.
    let before = claim_ns - SKEW_NS / 2;
    let of_b = capture.frames().into_iter().filter(|frame| frame.interface == "b" && frame.time_ns > before);
    let taken_ns = of_b.map(|frame| frame.time_ns).min().expect("its claim at the latest");
    let asked = probes.iter().filter(|probe| (before..taken_ns).contains(&probe.sent_ns));
    let answered = asked.clone().filter(|probe| probe.answered_ns.is_some_and(|at| at < taken_ns));
    assert!(asked.clone().count() > 0 && answered.count() == 0, "somebody answered before the claim");
    asks_a_in_vain(lab, a, address);
    assert_only_b_answers(lab, address, &capture, claim_ns);
    kept
}

/// What is still sent to `a`, by whoever has not heard of the takeover, is not answered.
fn asks_a_in_vain(lab: &Lab, a: &Node, address: &str) {
    let (client, mac) = (lab.client(), a.mac());
    client.ip(&format!("neigh replace {address} lladdr {mac} dev eth0 nud permanent"));
    let prober = Prober::start(client, address);
    prober.wait_for_probes(100);
    assert!(prober.stop().0.iter().all(|probe| probe.answered_ns.is_none()), "a goes on answering");
    client.ip(&format!("neigh del {address} dev eth0"));
}

/// Who has forgotten where the address is learns of `b` only.
fn assert_only_b_answers(lab: &Lab, address: &str, capture: &Capture, since_ns: i64) {
    let ip: IpAddr = address.parse().expect("an address");
    lab.client().ip("neigh flush all");
    let prober = Prober::start(lab.client(), address);
    prober.wait_for_answer();
    drop(prober.stop());
    let of_a =
        capture.frames().into_iter().filter(|frame| frame.interface == "a" && frame.time_ns > since_ns);
    for frame in of_a {
        let told = match frame.kind {
            Kind::Arp { sender, reply: true, .. } => sender == ip,
            Kind::NeighbourAdvertisement { target, .. } => target == ip,
            _ => false,
        };
        assert!(!told, "a answers for {address} as well: {frame:?}");
    }
}

fn killed(address: &str, more: &str) {
    killed_when(address, more, |_| ());
}

/// Kills a daemon when `ready` returns.
fn killed_when(address: &str, more: &str, ready: impl FnOnce(&Node)) {
    let pair = pair_with(address, more);
    let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = pair else { return };
    ready(&a);
    a_is_silent_before_b_claims(&lab, &a, address, || primary.kill_first());
    lab.settles_on(address, "b", 3);
}

#[test]
fn a_killed_daemon_is_silent_before_the_backup_claims() {
    killed(VIP, "");
}

#[test]
fn a_killed_daemon_is_silent_about_its_ipv6_address_too() {
    killed(VIP6, "");
}

/// The device with the virtual MAC address stays, up and with its addresses, until their lifetime ends.
#[test]
fn a_killed_daemon_with_a_virtual_mac_is_silent_before_the_backup_claims() {
    [VIP, VIP6].iter().for_each(|address| killed(address, "virtual_mac = true"));
}

#[test]
fn a_killed_daemon_is_silent_about_routers_that_share_a_time() {
    let other = |vrid: u8| {
        format!(
            "[virtual_router.other{vrid}]\ninterface = \"eth0\"\nvrid = {vrid}\npriority = PRIORITY\n\
             advertisement_interval = \"100ms\"\naddresses = [\"192.0.2.{vrid}\"]\n"
        )
    };
    killed_when(VIP, &(202..208).map(other).collect::<String>(), |a| {
        wait_for("all of them behind one chain", DEADLINE, || {
            let ruleset = a.namespace().run("nft", &["list", "ruleset"]);
            let sets = ruleset.split("set shared_0_ipv4 {").skip(1);
            let elements =
                |set: &str| set.split("\n\t}").next().map_or(0, |set| set.matches("192.0.2.").count());
            (sets.map(elements).collect::<Vec<_>>() == [7, 7]).then_some(())
        });
    });
}

/// `stop` stands in the way of `a` until what it returns is dropped.
fn stopped<T>(stop: impl FnOnce(&Daemon) -> T, go_on: impl FnOnce(&Daemon, T)) {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = pair(VIP) else { return };
    let stopped = a_is_silent_before_b_claims(&lab, &a, VIP, || stop(&primary));
    go_on(&primary, stopped);
    // It takes back what is its own by priority, and is heard as soon as it has said so.
    lab.settles_on(VIP, "a", 3);
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    drop(prober.stop());
    b.wait_for_state("web", "backup");
    assert!(fenced(&a));
}

#[test]
fn a_stopped_daemon_is_silent_before_the_backup_claims_and_answers_when_it_is_back() {
    stopped(Daemon::freeze, |daemon, ()| daemon.thaw());
}

#[test]
fn a_daemon_whose_protocol_thread_hangs_is_silent_though_the_others_go_on() {
    stopped(|daemon| daemon.wedge("vrrp-protocol"), |_, wedge| drop(wedge));
}

/// A container of a node: what comes for port 7 of [`VIP`] is forwarded there, and answered with its name.
struct Container {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Container {
    fn behind(node: &Node) -> Self {
        let inside = Namespace::new().expect("the lab has made some");
        node.ip(&format!("link add container type veth peer name eth0 netns {}", inside.path()));
        node.namespace().ip("link set container up\naddr add 198.51.100.1/24 dev container\n");
        inside
            .ip("link set eth0 up\naddr add 198.51.100.2/24 dev eth0\nroute add default via 198.51.100.1\n");
        node.namespace().sysctl(&[("net/ipv4/ip_forward", "1")]);
        node.namespace().nft(&format!(
            "table ip mapping {{\nchain ports {{\ntype nat hook prerouting priority dstnat\n\
             ip daddr {VIP} udp dport 7 dnat to 198.51.100.2:7\n}}\n}}\n"
        ));
        let socket = inside.enter(|| UdpSocket::bind("198.51.100.2:7")).expect("nobody else is there");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("it is not zero");
        let (stop, name) = (Arc::new(AtomicBool::new(false)), node.name().to_owned());
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut question = [0; 8];
                    if let Ok((octets, client)) = socket.recv_from(&mut question) {
                        let _ = socket.send_to(&[&question[..octets], name.as_bytes()].concat(), client);
                    }
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A client of the mapped port, always with the same connection.
struct Caller(UdpSocket);

impl Caller {
    fn from(node: &Node) -> Self {
        let socket = node.namespace().enter(|| UdpSocket::bind("0.0.0.0:0")).expect("a port is free");
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("it is not zero");
        Self(socket)
    }

    /// Who answers a question that is put now, within 5 ms.
    fn ask(&self) -> Option<String> {
        let question = now_ns().to_be_bytes();
        // Nobody may have the address just now.
        self.0.send_to(&question, (VIP, 7)).ok()?;
        let mut answer = [0; 64];
        while let Ok((octets, _)) = self.0.recv_from(&mut answer) {
            // An earlier question's answer may be late.
            if let Some(name) = answer[..octets].strip_prefix(&question) {
                return Some(String::from_utf8_lossy(name).into_owned());
            }
        }
        None
    }

    fn wait_for(&self, who: &str) {
        wait_for(&format!("{who} behind the port"), DEADLINE, || (self.ask()? == who).then_some(()));
    }
}

/// What is forwarded is rewritten behind the fence, which so has seen the address.
#[test]
fn a_port_that_a_stopped_node_forwards_to_a_container_is_silent_before_the_backup_claims() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = pair(VIP) else { return };
    let _containers = [&a, &b].map(|node| Container::behind(node));
    let (client, capture) = (lab.client(), lab.capture());
    let caller = Caller::from(client);
    caller.wait_for("a");
    let stopped_ns = now_ns();
    primary.freeze();
    let mut answered_ns = 0;
    let claim_ns = wait_for("a claim", DEADLINE, || {
        let asked_ns = now_ns();
        if caller.ask().is_some_and(|who| who == "a") {
            answered_ns = asked_ns;
        }
        capture.adverts_of("b").iter().map(|frame| frame.time_ns).find(|&claimed_ns| claimed_ns > stopped_ns)
    });
    assert!(answered_ns < claim_ns - SKEW_NS / 2, "a answers just before the claim, or after it");
    caller.wait_for("b");
    client.ip(&format!("neigh replace {VIP} lladdr {} dev eth0 nud permanent", a.mac()));
    for _ in 0..50 {
        assert_eq!(caller.ask(), None, "a goes on forwarding");
    }
    client.ip(&format!("neigh del {VIP} dev eth0"));
    primary.thaw();
    lab.settles_on(VIP, "a", 3);
    caller.wait_for("a");
}

/// Who is asked learns from the question where the asker's address is, and sends there.
#[test]
fn a_stopped_node_that_asks_from_the_address_turns_nobody_back() {
    for address in [VIP, VIP6] {
        let Some(Pair { lab, a, b: _b, primary, secondary: _secondary }) = pair(address) else { return };
        let client = lab.client();
        let to = if address == VIP { client.ipv4() } else { client.ipv6() };
        a.namespace().sysctl(&[
            ("net/ipv4/neigh/eth0/retrans_time_ms", "20"),
            ("net/ipv6/neigh/eth0/retrans_time_ms", "20"),
        ]);
        let capture = lab.capture();
        let stopped_ns = now_ns();
        primary.freeze();
        let claim_ns = capture.wait_for_advert("b", stopped_ns).time_ns;
        // For as long as the test looks; the fence is silent for some seconds more than the lifetime.
        let length = if address == VIP { 32 } else { 128 };
        a.ip(&format!("address replace {address}/{length} dev eth0 valid_lft forever preferred_lft forever"));
        a.ip("neigh flush all");
        let said = a.namespace().enter(|| UdpSocket::bind((address, 0))?.send_to(b"", (&*to, 9)));
        // A neighbour that is not found is an error of the next one only.
        said.expect("it has the address");
        wait_for("the end of its questions", DEADLINE, || {
            a.ip(&format!("neigh show {to} dev eth0")).contains("FAILED").then_some(())
        });
        let source: IpAddr = address.parse().expect("an address");
        let asked = capture.frames().into_iter().find(|frame| {
            let from_it = match frame.kind {
                Kind::Arp { sender, .. } => sender == source,
                // The source of an IPv6 packet behind the Ethernet header.
                _ => matches!(source, IpAddr::V6(ip) if frame.octets.get(22..38) == Some(&ip.octets()[..])),
            };
            frame.interface == "a" && frame.time_ns > claim_ns && from_it
        });
        assert!(asked.is_none(), "{asked:?}");
    }
}

#[test]
fn a_fence_that_somebody_flushes_silences_nobody_and_is_put_back() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = pair(VIP) else { return };
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    for rules in ["flush ruleset", "flush set inet TABLE live", "delete table arp TABLE"] {
        let listed = a.namespace().run("nft", &["list", "tables"]);
        let table = listed.lines().find_map(|line| line.strip_prefix("table inet ")).expect("a table");
        let told = a.vrrpctl("history --json");
        let told = String::from_utf8_lossy(&told.stdout).matches("fence_failed").count();
        a.namespace().nft(&rules.replace("TABLE", table));
        wait_for("the alarm, and its end", DEADLINE, || {
            let history = a.vrrpctl("history --json");
            let history = String::from_utf8_lossy(&history.stdout).matches("fence_failed").count();
            (history >= told + 2 && fenced(&a)).then_some(())
        });
    }
    prober.wait_for_answer();
    let gap = prober.stop().longest_wait().as_nanos();
    assert!(gap < lab::story::INTERVAL_NS.unsigned_abs().into(), "the client noticed: {gap} ns");
    assert_eq!(b.router("web").expect("b answers")["statistics"]["master_transitions"], 0);
    a_is_silent_before_b_claims(&lab, &a, VIP, || primary.kill_first());
}

/// For longer than the address would live without being renewed.
#[test]
fn a_lease_that_is_renewed_ends_no_connection_and_is_the_source_of_none() {
    for (address, near, everywhere) in
        [(VIP, "192.0.2.202", "0.0.0.0:8081"), (VIP6, "2001:db8::202", "[::]:8081")]
    {
        let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = pair(address) else {
            return;
        };
        let listener = a.namespace().enter(|| TcpListener::bind(everywhere).expect("a free port"));
        let connect = || TcpStream::connect((address, 8081)).expect("a holds the address");
        let mut client_end = lab.client().namespace().enter(connect);
        let (mut server_end, _) = listener.accept().expect("a connection waits");
        client_end.set_read_timeout(Some(DEADLINE)).expect("not zero");
        // Of all addresses of the node, ours is the nearest.
        let source = || a.namespace().run("ip", &["-o", "route", "get", near]);
        let sent = || a.router("web")?["statistics"]["advertisement_sent"].as_u64();
        let from = sent().expect("a answers");
        wait_for("more than three seconds of intervals", DEADLINE, || {
            server_end.write_all(b"x").expect("the connection is there");
            client_end.read_exact(&mut [0]).expect("the connection is there");
            assert!(!source().contains(&format!("src {address} ")), "{}", source());
            sent().filter(|&now| now > from + 35)
        });
        lab.settles_on(address, "a", 1);
    }
}

#[test]
fn nothing_is_left_of_the_fence_after_a_proper_end_or_without_a_lease() {
    let Some(Pair { lab, a, b: _b, primary, secondary }) = pair(VIP) else { return };
    let tables = |node: &Node| node.namespace().run("nft", &["list", "tables"]);
    assert!(tables(&a).contains("arp vrrpd_fence"), "{}", tables(&a));
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    a.write_vrrpd_config(&web(PRIMARY, "lease = \"off\""));
    assert!(a.vrrpctl("reload").status.success());
    wait_for("no table", DEADLINE, || (!tables(&a).contains("vrrpd_fence")).then_some(()));
    a.write_vrrpd_config(&web(PRIMARY, "lease = \"700ms\""));
    assert!(a.vrrpctl("reload").status.success());
    wait_for("the tables", DEADLINE, || tables(&a).contains("arp vrrpd_fence").then_some(()));
    prober.wait_for_answer();
    let gap = prober.stop().longest_wait().as_nanos();
    assert!(gap < lab::story::INTERVAL_NS.unsigned_abs().into(), "the client noticed: {gap} ns");
    assert_eq!(a.router("web").expect("a answers")["fence"], "700ms");
    assert!(primary.terminate().success() && secondary.terminate().success());
    assert!(!tables(&a).contains("vrrpd_fence"), "{}", tables(&a));
}
