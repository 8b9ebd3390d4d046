//! Packets that are wrong in one way each: counted under one reason, named with who sent them, and told
//! in few lines however many they are.

use std::net::Ipv4Addr;
use std::time::Instant;

use lab::story::{PRIMARY, VIP, web};
use lab::{DEADLINE, Daemon, Forgery, Injector, Lab, Node, wait_for};
use serde_json::Value;

const VRID: u8 = 201;
/// Below [`PRIMARY`], at the interval of the stories.
const PRIORITY: u8 = 100;
const INTERVAL_CS: u16 = 10;

fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect("an IPv4 address")
}

/// One kind of wrong packet: what it counts as, the alarm it raises if any, and how it is made of a
/// sound one.
type Kind = (&'static str, Option<&'static str>, fn(&mut Forgery, &Node));

const KINDS: &[Kind] = &[
    ("ip_ttl_errors", Some("ttl_too_low"), |packet, _| packet.ttl = 254),
    ("version_errors", Some("version_mismatch"), |packet, _| {
        packet.message[0] = 0x21;
        *packet = packet.clone().summed();
    }),
    ("invalid_type_pkts_rcvd", None, |packet, _| {
        packet.message[0] = 0x32;
        *packet = packet.clone().summed();
    }),
    ("packet_length_errors", None, |packet, _| packet.message.truncate(10)),
    ("checksum_errors", None, |packet, _| packet.message[6] ^= 0x55),
    ("address_list_errors", None, |packet, _| {
        packet.message[3] = 0;
        packet.message.truncate(8);
        *packet = packet.clone().summed();
    }),
    ("interval_errors", None, |packet, _| {
        packet.message[4..6].fill(0);
        *packet = packet.clone().summed();
    }),
    ("destination_errors", Some("transport_mismatch"), |packet, node| {
        packet.destination = (v4(&node.ipv4()), node.mac());
        *packet = packet.clone().summed();
    }),
];

/// A node that is Active, its neighbour, and what the neighbour sends with.
struct Scene {
    lab: Lab,
    daemon: Daemon,
    injector: Injector,
    node: std::sync::Arc<Node>,
    neighbour: Ipv4Addr,
}

impl Scene {
    fn open() -> Option<Self> {
        let lab = Lab::open()?;
        let (node, other) = (lab.node("a"), lab.node("b"));
        let daemon = node.vrrpd(&web(PRIMARY, ""));
        node.wait_for_state("web", "active");
        let (injector, neighbour) = (Injector::open(&other), v4(&other.ipv4()));
        Some(Self { lab, daemon, injector, node, neighbour })
    }

    fn sound(&self) -> Forgery {
        Forgery::advert(self.neighbour, VRID, PRIORITY, INTERVAL_CS, &[v4(VIP)])
    }

    fn router(&self) -> Value {
        self.node.router("web").expect("the daemon answers")
    }
}

/// The entry of a list whose `key` is `value`.
fn entry<'a>(list: &'a Value, key: &str, value: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|entry| entry[key] == value)
}

#[test]
fn each_wrong_packet_counts_once_and_its_sender_is_named() {
    let Some(scene) = Scene::open() else { return };
    for &(reason, alarm, spoil) in KINDS {
        let before = scene.router();
        let mut packet = scene.sound();
        spoil(&mut packet, &scene.node);
        scene.injector.send(&packet);
        let router = scene.node.wait_for_router("web", reason, |router| {
            entry(&router["discarded"], "reason", reason).is_some_and(|entry| entry["packets"] == 1)
        });
        let discarded = entry(&router["discarded"], "reason", reason).expect("waited for");
        assert_eq!(discarded["source"], scene.neighbour.to_string(), "{reason}: {discarded}");
        assert!(discarded["message"].is_string() && discarded["seen"].is_string(), "{reason}: {discarded}");
        for counter in KINDS.iter().map(|(counter, ..)| counter) {
            let moved = router["statistics"][counter].as_u64() != before["statistics"][counter].as_u64();
            assert_eq!(moved, *counter == reason, "{counter} by a packet of {reason}: {router}");
        }
        assert_eq!(router["statistics"]["advertisement_rcvd"], 0, "{reason}");
        let raised = alarm.map(|name| entry(&router["alarms"], "name", name).expect(name));
        if let Some(raised) = raised {
            assert_eq!(raised["source"], scene.neighbour.to_string(), "{reason}: {raised}");
            assert!(raised["theirs"].is_string() && raised["ours"].is_string(), "{raised}");
            let told = format!("alarm {}", alarm.unwrap_or_default());
            wait_for(&told, DEADLINE, || scene.daemon.log().contains(&told).then_some(()));
            let why = String::from_utf8(scene.node.vrrpctl("why web").stdout).expect("text");
            assert!(why.contains(&scene.neighbour.to_string()), "{why}");
        }
        let line = format!("discarded an advertisement from {}", scene.neighbour);
        wait_for(&line, DEADLINE, || scene.daemon.log().contains(&line).then_some(()));
    }
    let state = scene.node.state().expect("the daemon answers");
    for counter in ["checksum_errors", "version_errors", "ip_ttl_errors"] {
        assert_eq!(state["statistics"][counter], 1, "{state}");
    }
    assert_eq!(state["statistics"]["vrid_errors"], 0, "{state}");
    assert!(state["statistics"]["discontinuity_datetime"].is_string(), "{state}");

    // Heard at last: what kept it from being heard is over.
    scene.injector.send(&scene.sound());
    scene.node.wait_for_router("web", "hears it", |router| {
        KINDS
            .iter()
            .all(|(_, alarm, _)| alarm.is_none_or(|alarm| entry(&router["alarms"], "name", alarm).is_none()))
    });
    scene.lab.settles_on(VIP, "a", 2);
}

#[test]
fn who_shares_the_vrid_or_our_own_address_is_named() {
    let Some(scene) = Scene::open() else { return };
    let raised = |name: &str| {
        let what = format!("raises {name}");
        let raises = |router: &Value| entry(&router["alarms"], "name", name).is_some();
        let router = scene.node.wait_for_router("web", &what, raises);
        entry(&router["alarms"], "name", name).expect("waited for").clone()
    };
    let stranger = Forgery::advert(scene.neighbour, VRID, PRIORITY, INTERVAL_CS * 2, &[v4("198.51.100.7")]);
    scene.injector.send(&stranger);
    let shared = raised("shared_vrid");
    assert_eq!(
        (&shared["source"], &shared["theirs"]),
        (&scene.neighbour.to_string().into(), &"198.51.100.7".into())
    );
    let slower = raised("interval_mismatch");
    assert_eq!((&slower["theirs"], &slower["ours"]), (&"200ms".into(), &"100ms".into()));

    scene.injector.claim(v4(&scene.node.ipv4()));
    let twin = raised("duplicate_source_address");
    assert_eq!(twin["theirs"], "02:00:00:00:00:c2", "{twin}");

    let foreign = Forgery::advert(scene.neighbour, VRID + 1, PRIORITY, INTERVAL_CS, &[v4(VIP)]);
    scene.injector.send(&foreign);
    let state = wait_for("a foreign VRID is counted", DEADLINE, || {
        scene.node.state().filter(|state| state["statistics"]["vrid_errors"] == 1)
    });
    let listed =
        entry(&state["interfaces"][0]["discarded"], "reason", "vrid_errors").expect("of the interface");
    assert_eq!(listed["source"], scene.neighbour.to_string());
    let text = String::from_utf8(scene.node.vrrpctl("state web --statistics").stdout).expect("text");
    for line in ["last_event", "vrid_errors: 1 discarded, the last from", "address_list_errors"] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}

#[test]
fn a_flood_is_counted_and_told_in_few_lines() {
    const BATCH: u64 = 100;
    const PACKETS: u64 = 10_000;
    let Some(scene) = Scene::open() else { return };
    let mut packet = scene.sound();
    packet.ttl = 1;
    let began = Instant::now();
    for sent in (BATCH..=PACKETS).step_by(usize::try_from(BATCH).expect("small")) {
        (0..BATCH).for_each(|_| scene.injector.send(&packet));
        // No more at once than the socket holds.
        scene.node.wait_for_router("web", "counts all of them", |router| {
            router["statistics"]["ip_ttl_errors"] == sent
        });
    }
    let told = |log: &str| -> Vec<String> {
        log.lines().filter(|line| line.contains("discarded")).map(str::to_owned).collect()
    };
    wait_for("the number of the others is told", DEADLINE, || {
        told(&scene.daemon.log())
            .iter()
            .any(|line| line.contains(" advertisements, the last from "))
            .then_some(())
    });
    let lines = told(&scene.daemon.log());
    let seconds = usize::try_from(began.elapsed().as_secs()).expect("a short test");
    assert!(lines.len() <= 2 + seconds, "{} lines in {seconds} s: {lines:?}", lines.len());
    let alarms = scene.daemon.log().lines().filter(|line| line.contains("alarm ttl_too_low")).count();
    assert_eq!(alarms, 1, "an alarm is told once");
    scene.lab.settles_on(VIP, "a", 2);
}
