//! A neighbour that means harm, or is broken: whatever it sends and however fast, nobody changes its role,
//! nothing grows, and every packet is counted.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_dumpable;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, setuid, write};

use lab::story::{DOWN_NS, INTERVAL_NS, PRIMARY, VIP, web};
use lab::{Capture, DEADLINE, Daemon, Forgery, Injector, Lab, Node, Pair, usage, wait_for};
use serde_json::Value;

const VRID: u8 = 201;
/// Better than anybody: a packet that is believed changes a role.
const PRIORITY: u8 = 254;
const INTERVAL_CS: u16 = 10;
/// A user that has no right.
const NOBODY: Uid = Uid::from_raw(65534);

/// What a packet is counted under, and how it is made of a sound one.
type Kind = (&'static str, fn(&mut Forgery));

/// At first those that the kernel turns away.
const KINDS: [Kind; 14] = [
    ("ip_ttl_errors", |packet| packet.ttl = 254),
    ("packet_length_errors", |packet| packet.message.truncate(7)),
    ("version_errors", |packet| first_octet(packet, 0x21)),
    ("version_errors", |packet| first_octet(packet, 0x01)),
    ("invalid_type_pkts_rcvd", |packet| first_octet(packet, 0x32)),
    ("vrid_errors", |packet| {
        packet.message[1] = VRID + 1;
        *packet = packet.clone().summed();
    }),
    // The rest is found by looking closer.
    ("checksum_errors", |packet| packet.message[6] ^= 0x55),
    ("checksum_errors", |packet| packet.message[2] ^= 1),
    ("packet_length_errors", |packet| packet.message.truncate(10)),
    ("packet_length_errors", |packet| {
        packet.message[3] = 2;
        *packet = packet.clone().summed();
    }),
    ("packet_length_errors", |packet| {
        packet.message.extend([0; 8]);
        *packet = packet.clone().summed();
    }),
    ("address_list_errors", |packet| {
        packet.message[3] = 0;
        packet.message.truncate(8);
        *packet = packet.clone().summed();
    }),
    ("interval_errors", |packet| {
        packet.message[4..6].fill(0);
        *packet = packet.clone().summed();
    }),
    ("source_errors", |packet| {
        packet.source = Ipv4Addr::UNSPECIFIED;
        *packet = packet.clone().summed();
    }),
];

fn first_octet(packet: &mut Forgery, octet: u8) {
    packet.message[0] = octet;
    *packet = packet.clone().summed();
}

/// A pair in peace, and the neighbour.
struct Scene {
    pair: Pair,
    enemy: Arc<Node>,
    injector: Injector,
    sent: u64,
}

impl Scene {
    fn open() -> Option<Self> {
        let pair = Pair::open("")?;
        let enemy = pair.lab.node("c");
        let injector = Injector::open(&enemy);
        Some(Self { pair, enemy, injector, sent: 0 })
    }

    fn packet(&self, spoil: fn(&mut Forgery)) -> Forgery {
        let (source, vip) = (self.enemy.ipv4().parse(), VIP.parse());
        let (source, vip) = (source.expect("an address"), vip.expect("an address"));
        let mut packet = Forgery::advert(source, VRID, PRIORITY, INTERVAL_CS, &[vip]);
        spoil(&mut packet);
        packet
    }

    fn flood(&mut self, spoil: fn(&mut Forgery), count: usize) {
        self.injector.flood(&self.packet(spoil), count);
        self.sent += u64::try_from(count).expect("a small number");
    }

    fn nodes(&self) -> [(&Arc<Node>, &Daemon); 2] {
        [(&self.pair.a, &self.pair.primary), (&self.pair.b, &self.pair.secondary)]
    }

    /// Waits until both nodes have counted all that was sent, and no more but what the other node said while
    /// there was no room for anything.
    fn counted(&self) {
        for (node, _) in self.nodes() {
            let counted = || {
                let packets = discarded(&node.state()?);
                (packets >= self.sent).then_some(packets)
            };
            let packets = wait_for("all packets are counted", DEADLINE, counted);
            let sound = packets - self.sent;
            let said =
                self.pair.a.router("web").expect("the daemon answers")["statistics"]["advertisement_sent"]
                    .as_u64()
                    .expect("a number");
            let state = node.state().expect("the daemon answers");
            assert!(sound <= said.min(overrun(&state)), "{} of {}: {state:#}", packets, self.sent);
        }
    }

    /// Nobody has changed its role since the pair was opened.
    fn peace(&self) {
        let transitions = |node: &Node| {
            let router = node.router("web").expect("the daemon answers");
            (router["state"].clone(), router["statistics"]["master_transitions"].clone())
        };
        assert_eq!(transitions(&self.pair.a), ("active".into(), 1.into()));
        assert_eq!(transitions(&self.pair.b), ("backup".into(), 0.into()));
        self.pair.lab.wait_for_holder(VIP, "a");
    }
}

/// Packets that a node has discarded, whatever for and whether or not anybody read them.
fn discarded(state: &Value) -> u64 {
    let places = [&state["virtual_routers"], &state["interfaces"]];
    let places = places.into_iter().flat_map(|list| list.as_array().expect("a list"));
    let reasons = places.flat_map(|place| place["discarded"].as_array().expect("a list"));
    reasons.map(|reason| reason["packets"].as_u64().expect("a number")).sum()
}

/// Packets that came while there was no room for any.
fn overrun(state: &Value) -> u64 {
    let discarded = state["interfaces"][0]["discarded"].as_array().expect("a list");
    let entry = discarded.iter().find(|entry| entry["reason"] == "overrun_pkts");
    entry.map_or(0, |entry| entry["packets"].as_u64().expect("a number"))
}

/// What a process has of its own, in KiB: its program's pages come and go.
fn anonymous_kib(daemon: &Daemon) -> u64 {
    let text = usage::status(daemon.pid(), "RssAnon").expect("it runs");
    text.trim_end_matches(" kB").parse().expect("a number")
}

/// The longest time between two advertisements of the capture, which has some.
fn longest_gap_ns(capture: &Capture) -> i64 {
    let times: Vec<i64> =
        capture.frames().iter().filter(|frame| frame.advert().is_some()).map(|frame| frame.time_ns).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().expect("some advertisements")
}

fn log_lines(daemon: &Daemon) -> usize {
    daemon.log().lines().count()
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count()
}

#[test]
fn one_bad_packet_of_each_kind_in_each_interval_moves_nothing() {
    const INTERVALS: usize = 20;
    let Some(mut scene) = Scene::open() else { return };
    let capture = scene.pair.lab.capture_adverts(&[&scene.pair.a]);
    for interval in 1..=INTERVALS {
        let heard = || capture.frames().iter().filter(|frame| frame.advert().is_some()).count();
        wait_for("an advertisement", DEADLINE, || (heard() >= interval).then_some(()));
        for (_, spoil) in KINDS {
            scene.flood(spoil, 2);
        }
    }
    assert!(longest_gap_ns(&capture) < 2 * INTERVAL_NS, "{} ns", longest_gap_ns(&capture));
    scene.counted();
    scene.peace();
    for (node, _) in scene.nodes() {
        let state = node.state().expect("the daemon answers");
        let router = &state["virtual_routers"][0];
        for (reason, _) in KINDS.iter().filter(|(reason, _)| *reason != "vrid_errors") {
            let kinds = KINDS.iter().filter(|(other, _)| other == reason).count();
            assert_eq!(router["statistics"][reason], kinds * 2 * INTERVALS, "{reason}: {router}");
        }
        assert_eq!(state["statistics"]["vrid_errors"], 2 * INTERVALS, "{state}");
    }
}

#[test]
fn a_hundred_thousand_bad_packets_at_full_rate_move_nothing_and_each_is_counted() {
    const EACH: usize = 100_000 / KINDS.len() + 1;
    let Some(mut scene) = Scene::open() else { return };
    // What is needed once for each kind is had before it is measured.
    for (_, spoil) in KINDS {
        scene.flood(spoil, 1);
    }
    scene.counted();
    let before = scene.nodes().map(|(_, daemon)| (anonymous_kib(daemon), log_lines(daemon)));
    let open = scene.nodes().map(|(_, daemon)| descriptors(daemon));
    let capture = scene.pair.lab.capture_adverts(&[&scene.pair.a]);
    for (_, spoil) in KINDS {
        scene.flood(spoil, EACH);
    }
    scene.counted();
    scene.peace();
    assert!(longest_gap_ns(&capture) < DOWN_NS, "{} ns", longest_gap_ns(&capture));
    for ((node, daemon), (memory, lines)) in scene.nodes().into_iter().zip(before) {
        let grown = anonymous_kib(daemon).saturating_sub(memory);
        assert!(grown < 512, "{} has grown by {grown} KiB", node.name());
        let said = log_lines(daemon) - lines;
        assert!(said < 10 * KINDS.len(), "{} said {said} lines:\n{}", node.name(), daemon.log());
    }
    assert_eq!(scene.nodes().map(|(_, daemon)| descriptors(daemon)), open);
}

#[test]
fn a_realtime_daemon_stays_on_time_in_a_flood() {
    let Some(lab) = Lab::open() else { return };
    let (a, enemy) = (lab.node("a"), lab.node("c"));
    let mut daemon = a.vrrpd_realtime(&web(PRIMARY, ""));
    a.wait_for_state("web", "active");
    let source = enemy.ipv4().parse().expect("an address");
    let mut packet =
        Forgery::advert(source, VRID, PRIORITY, INTERVAL_CS, &[VIP.parse().expect("an address")]);
    packet.message[6] ^= 0x55;
    let injector = Injector::open(&enemy);
    let capture = lab.capture_adverts(&[&a]);
    // More than the two seconds of RLIMIT_RTTIME.
    wait_for("25 advertisements", DEADLINE, || {
        injector.flood(&packet, 10_000);
        (capture.frames().len() >= 25).then_some(())
    });
    assert!(daemon.is_running(), "{}", daemon.log());
    assert!(longest_gap_ns(&capture) < DOWN_NS, "{} ns", longest_gap_ns(&capture));
    assert_eq!(a.wait_for_state("web", "active")["statistics"]["master_transitions"], 1);
}

#[test]
fn clients_that_flood_the_control_socket_delay_nobody() {
    const CLIENTS: usize = 12;
    const INTERVALS: usize = 20;
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let capture = lab.capture_adverts(&[&a]);
    let open = descriptors(&primary);
    let (began, enough) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (socket, enough) = (a.control_socket(), &enough);
            scope.spawn(move || {
                // They end also where nothing is heard.
                let goes_on = |_: &usize| !enough.load(Ordering::Relaxed) && began.elapsed() < DEADLINE;
                for request in (0..).take_while(goes_on) {
                    match (client + request) % 4 {
                        // Answered.
                        0 | 1 => drop(ask(&socket, b"{\"request\":\"state\"}\n", true)),
                        // Garbage, and as much of it as is taken.
                        2 => drop(ask(&socket, &[0xff; 1 << 17], true)),
                        // Half a line, and nobody who reads.
                        _ => drop(ask(&socket, b"{\"request\":\"sta", false)),
                    }
                }
            });
        }
        wait_for("advertisements", DEADLINE, || (capture.frames().len() >= INTERVALS).then_some(()));
        enough.store(true, Ordering::Relaxed);
    });
    assert!(longest_gap_ns(&capture) < DOWN_NS, "{} ns", longest_gap_ns(&capture));
    for (node, state, transitions) in [(&a, "active", 1), (&b, "backup", 0)] {
        let router = node.wait_for_state("web", state);
        assert_eq!(router["statistics"]["master_transitions"], transitions, "{router}");
    }
    wait_for("no connection is left", DEADLINE, || (descriptors(&primary) <= open).then_some(()));
    lab.wait_for_holder(VIP, "a");
}

/// Says something to the daemon, and hears what it answers, if it is to be heard.
fn ask(socket: &Path, words: &[u8], read: bool) -> Option<Vec<u8>> {
    let mut client = UnixStream::connect(socket).ok()?;
    client.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    client.set_write_timeout(Some(Duration::from_secs(10))).ok()?;
    // The daemon may have turned it away already.
    let _ = client.write_all(words);
    let mut answer = Vec::new();
    if read {
        let _ = client.read_to_end(&mut answer);
    }
    Some(answer)
}

#[test]
fn a_second_daemon_for_the_same_virtual_router_refuses_to_start() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let first = a.vrrpd(&web(PRIMARY, ""));
    a.wait_for_state("web", "active");
    let mut second = a.second_vrrpd(&web(PRIMARY, ""));
    assert_eq!(second.wait().code(), Some(78));
    let said =
        format!("process {} of uid 0 on this host already runs VRID 201 for ipv4 on eth0", first.pid());
    assert!(second.log().contains(&said), "{}", second.log());
    lab.settles_on(VIP, "a", 3);

    // Another number is nobody's; and neither is this one once the first has crashed.
    let other = web(PRIMARY, "").replace("vrid = 201", "vrid = 202").replace(VIP, "192.0.2.202");
    let other = a.second_vrrpd(&other);
    lab.wait_for_holder("192.0.2.202", "a");
    // It may not take it over by a reload either.
    let file = a.directory().join("second.toml");
    let both =
        std::fs::read_to_string(&file).expect("it is there") + &web(PRIMARY, "").replace("web", "again");
    std::fs::write(&file, both).expect("the lab's directory is writable");
    other.reload();
    wait_for("the reload is refused", DEADLINE, || other.log().contains(&said).then_some(()));
    lab.settles_on(VIP, "a", 3);
    assert!(a.has("192.0.2.202"));

    first.crash();
    let _again = a.start_vrrpd();
    a.wait_for_state("web", "active");
}

#[test]
fn a_user_that_squats_the_name_of_a_virtual_router_keeps_nobody_from_starting() {
    for (deaf, said) in [(false, "of uid 65534 took the name"), (true, "somebody took the name")] {
        let Some(lab) = Lab::open() else { return };
        let node = lab.node("a");
        let mut squatter = squatter(&node, deaf).spawn().expect("a process");
        let daemon = node.vrrpd(&web(PRIMARY, ""));
        node.wait_for_state("web", "active");
        assert!(daemon.log().contains(said), "{}", daemon.log());
        squatter.kill().and_then(|()| squatter.wait()).expect("it is ours to end");
    }
}

/// Binds the name that says who has the virtual router, as a user without rights but in a user namespace of
/// its own, where it has all. `deaf`: nobody else can connect to it.
fn squatter(node: &Node, deaf: bool) -> Command {
    let squat = move || {
        setuid(NOBODY)?;
        // Else what is in /proc of a process that has changed its user is root's.
        set_dumpable(true)?;
        unshare(CloneFlags::CLONE_NEWUSER)?;
        let map = open("/proc/self/uid_map", OFlag::O_WRONLY, Mode::empty())?;
        write(&map, b"0 65534 1")?;
        let address = UnixAddr::new_abstract(b"vrrpd/eth0/ipv4/201")?;
        let stream = |flags| socket(AddressFamily::Unix, SockType::Stream, flags, None);
        let listener = stream(SockFlag::empty())?.into_raw_fd();
        bind(listener, &address)?;
        // SAFETY: nobody else owns it, and it stays open beyond this process image.
        listen(&unsafe { BorrowedFd::borrow_raw(listener) }, Backlog::new(1)?)?;
        if deaf {
            while connect(stream(SockFlag::SOCK_NONBLOCK)?.into_raw_fd(), &address).is_ok() {}
        }
        Ok(())
    };
    let mut command = node.namespace().command("sleep");
    // It loses the signal that ends it with the test when it changes its user.
    command.arg("60");
    // SAFETY: the closure makes system calls only, and allocates nothing on its way to success.
    unsafe { command.pre_exec(squat) };
    command
}
