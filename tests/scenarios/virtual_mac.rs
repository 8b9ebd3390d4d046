//! The virtual MAC address: who answers with it, who is silent, and what is left of its device.

use std::net::IpAddr;

use lab::story::{PRIMARY, SECONDARY, VIP, VIP6, slow, web, web6};
use lab::{Capture, DEADLINE, Daemon, Frame, Kind, Lab, Node, Pair, Prober, now_ns, wait_for};
use nix::sys::signal::Signal;

const MAC: &str = "00:00:5e:00:01:c9";
const MAC6: &str = "00:00:5e:00:02:c9";
const DEVICE: &str = "vrrp4-201";
const DEVICE6: &str = "vrrp6-201";
const KEY: &str = "virtual_mac = true";

/// Both families, each with its own virtual MAC address.
fn both(priority: u8) -> String {
    web(priority, KEY) + &web6(priority, KEY).replace(".web]", ".six]")
}

fn pair() -> Option<Pair> {
    let pair = Pair::with(|node| both(if node.name() == "a" { PRIMARY } else { SECONDARY }))?;
    pair.lab.wait_for_holder(VIP6, "a");
    Some(pair)
}

/// The frames that left a port of the switch with a virtual MAC address.
fn with_virtual_mac(capture: &Capture, port: &str) -> Vec<Frame> {
    capture
        .frames()
        .into_iter()
        .filter(|frame| frame.interface == port && frame.source.is_virtual())
        .collect()
}

fn is_up(node: &Node, device: &str) -> bool {
    node.ip(&format!("link show dev {device}")).contains(",UP")
}

fn settings(node: &Node, link: &str) -> [String; 2] {
    node.namespace().enter(|| {
        ["arp_ignore", "arp_announce"].map(|name| {
            let file = format!("/proc/sys/net/ipv4/conf/{link}/{name}");
            std::fs::read_to_string(file).expect("the link has IPv4").trim().to_owned()
        })
    })
}

/// The client's neighbour entry does not change when the role moves, however it moves.
#[test]
fn clients_keep_the_virtual_mac_when_the_role_moves() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = pair() else { return };
    let client = lab.client();
    let capture = lab.capture();
    let probers = [VIP, VIP6].map(|address| Prober::start(client, address));
    probers.iter().for_each(Prober::wait_for_answer);
    let known = || [VIP, VIP6].map(|address| client.neighbour(address).expect("it has been answered"));
    assert_eq!(known(), [MAC, MAC6]);
    let state = a.router("web").expect("a answers");
    assert_eq!(state["virtual_mac"]["device"], DEVICE);
    assert_eq!(state["virtual_mac"]["address"], MAC);

    assert!(primary.terminate().success());
    lab.settles_on(VIP, "b", 10);
    lab.wait_for_holder(VIP6, "b");
    probers.iter().for_each(Prober::wait_for_answer);
    assert_eq!(known(), [MAC, MAC6]);

    let primary = a.start_vrrpd();
    lab.settles_on(VIP, "a", 10);
    lab.wait_for_holder(VIP6, "a");
    lab.power_off(&a, primary);
    b.wait_for_state("six", "active");
    b.wait_for_state("web", "active");
    probers.iter().for_each(Prober::wait_for_answer);
    assert_eq!(known(), [MAC, MAC6]);

    // Whatever was said about the addresses, or for them, was said with it.
    let vips: [IpAddr; 2] = [VIP, VIP6].map(|text| text.parse().expect("an address"));
    let about = |frame: &Frame| match frame.kind {
        Kind::Advert(_) => true,
        Kind::Arp { sender, .. } | Kind::GratuitousArp { ip: sender, .. } => vips.contains(&sender),
        Kind::NeighbourAdvertisement { target, .. } => vips.contains(&target),
        _ => false,
    };
    let frames: Vec<Frame> = capture.frames().into_iter().filter(about).collect();
    assert!(frames.len() > 20, "{frames:#?}");
    for frame in frames {
        let six = frame.octets[12..14] == [0x86, 0xdd];
        assert_eq!(frame.source.to_string(), if six { MAC6 } else { MAC }, "{frame:?}");
        if let Kind::Advert(advert) = &frame.kind {
            let node = if frame.interface == "a" { &a } else { &b };
            let own = if six { node.link_local() } else { node.ipv4() };
            assert_eq!(advert.source.to_string(), own, "the interface's own address");
        }
        if let Kind::GratuitousArp { mac, reply, .. } = frame.kind {
            assert_eq!((mac.to_string().as_str(), reply), (MAC, true), "{frame:?}");
        }
        if let Kind::NeighbourAdvertisement { mac, .. } = frame.kind {
            assert_eq!(mac.expect("it says where").to_string(), MAC6);
            assert_eq!(frame.octets[58] & 0x80, 0x80, "the Router flag: {frame:?}");
        }
    }
}

/// The switch does not know where the virtual MAC is, and sends its frames to everybody.
#[test]
fn a_backup_discards_what_a_switch_floods_and_says_nothing_with_it() {
    let config = |node: &Node| {
        // Nobody takes over while the test looks: three intervals are long.
        both(if node.name() == "a" { PRIMARY } else { 1 }).replace("\"100ms\"", "\"2s\"")
    };
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::with(config) else { return };
    lab.wait_for_holder(VIP6, "a");
    for name in ["web", "six"] {
        b.wait_for_router(name, "hears a", |router| router["active_router"]["priority"] == PRIMARY);
    }
    assert!(!is_up(&b, DEVICE) && !is_up(&b, DEVICE6), "down while Backup");
    let probers = [VIP, VIP6].map(|address| Prober::start(lab.client(), address));
    probers.iter().for_each(Prober::wait_for_answer);
    let capture = lab.capture();

    // The port of a dead node forgets what it learned.
    lab.power_off(&a, primary);
    let dead_ns = now_ns();
    probers.iter().for_each(|prober| prober.wait_for_probes(200));
    assert_eq!(b.router("six").expect("b answers")["state"], "backup", "too late to look");
    assert_eq!(with_virtual_mac(&capture, "b"), [], "b spoke while Backup");
    for name in ["web", "six"] {
        b.wait_for_state(name, "active");
    }
    let first = capture.wait_for_advert("b", dead_ns);
    probers.iter().for_each(Prober::wait_for_answer);
    // It may answer a moment before it advertises, never half an interval before.
    let backup_until_ns = first.time_ns - 1_000_000_000;
    for probes in probers.map(Prober::stop) {
        let answered = |at: i64| (dead_ns..backup_until_ns).contains(&at);
        let wrong = probes.0.iter().find(|probe| probe.answered_ns.is_some_and(answered));
        assert_eq!(wrong, None, "b answered while Backup");
    }
}

/// The frames of the loser that carry the virtual MAC once the winner has spoken. Each of them would turn
/// the switches back to it.
fn after_the_winner(capture: &Capture, mac: &str, winner: &str, loser: &str) -> Vec<Frame> {
    let won = capture.wait_for(&format!("the first claim of {winner}"), 0, |frame| {
        frame.interface == winner
            && frame.source.to_string() == mac
            && frame.advert().is_some_and(|advert| advert.priority > 0)
    });
    let mut frames = with_virtual_mac(capture, loser);
    frames.retain(|frame| frame.source.to_string() == mac && frame.time_ns > won.time_ns);
    frames
}

#[test]
fn the_loser_is_silent_from_the_winner_s_first_frame_on() {
    // An advertisement of the loser that is on its way at that very moment is no answer.
    let config = |node: &Node| slow(&both(if node.name() == "a" { PRIMARY } else { SECONDARY }));
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::with(config) else {
        return;
    };
    lab.wait_for_holder(VIP6, "a");
    for name in ["web", "six"] {
        b.wait_for_router(name, "hears a", |router| router["active_router"]["priority"] == PRIMARY);
    }
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    for _ in 0..4 {
        for (from, to, winner) in [(&a, &b, "b"), (&b, &a, "a")] {
            for (name, address, mac) in [("web", VIP, MAC), ("six", VIP6, MAC6)] {
                let capture = lab.capture();
                // Taking back preempts a living router, handing over is answered.
                let giver = if winner == "b" { from } else { to };
                let output = giver.vrrpctl(&format!("switchover {name} --force"));
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                lab.wait_for_holder(address, winner);
                to.wait_for_state(name, "active");
                prober.wait_for_probes(50);
                assert_eq!(after_the_winner(&capture, mac, winner, from.name()), [], "{name} to {winner}");
            }
        }
    }
    prober.wait_for_answer();
    let gap = prober.stop().longest_wait();
    assert!(gap.as_millis() < 1000, "an interval was lost: {gap:?}");
}

fn keepalived(node: &Node, priority: u8) -> Daemon {
    node.keepalived(&format!(
        "vrrp_instance web {{\n  interface eth0\n  use_vmac\n  state BACKUP\n  virtual_router_id 201\n  priority {priority}\n  \
         advert_int 1\n  virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n"
    ))
}

/// keepalived announces by requests, which an address that is still there would answer.
#[test]
fn the_race_that_costs_keepalived_an_interval_is_not_run_against_it() {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let _ours = a.vrrpd(&slow(&web(150, KEY)));
    lab.wait_for_holder(VIP, "a");
    let prober = Prober::start(lab.client(), VIP);
    for _ in 0..3 {
        let capture = lab.capture();
        let theirs = keepalived(&b, 200);
        capture.wait_for("keepalived's announcement", 0, |frame| {
            frame.interface == "b" && frame.announces(VIP.parse().expect("valid"))
        });
        lab.wait_for_holder(VIP, "b");
        prober.wait_for_answer();
        assert_eq!(after_the_winner(&capture, MAC, "b", "a"), []);
        assert!(theirs.terminate().success());
        lab.wait_for_holder(VIP, "a");
        prober.wait_for_answer();
    }
}

#[test]
fn keepalived_gives_way_to_us_and_takes_over_when_we_are_dead() {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let _theirs = keepalived(&b, 100);
    lab.wait_for_holder(VIP, "b");
    let prober = Prober::start(lab.client(), VIP);
    let ours = a.vrrpd(&slow(&web(200, KEY)));
    lab.settles_on(VIP, "a", 3);
    prober.wait_for_answer();
    // keepalived's interface had answered with its own.
    assert_eq!(lab.client().neighbour(VIP).as_deref(), Some(MAC));
    lab.power_off(&a, ours);
    wait_for("keepalived's claim", DEADLINE, || b.has(VIP).then_some(()));
    prober.wait_for_answer();
}

#[test]
fn a_device_that_somebody_removes_or_sets_down_is_back_at_once() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = pair() else { return };
    let probers = [VIP, VIP6].map(|address| Prober::start(lab.client(), address));
    probers.iter().for_each(Prober::wait_for_answer);
    for harm in ["set", "del"] {
        for device in [DEVICE, DEVICE6] {
            a.ip(&if harm == "del" {
                format!("link del {device}")
            } else {
                format!("link set {device} down")
            });
            wait_for(&format!("{device} after {harm}"), DEADLINE, || {
                let listed = a.ip("-o link show type macvlan");
                listed.lines().any(|line| line.contains(device) && line.contains(",UP")).then_some(())
            });
        }
        lab.wait_for_holder(VIP, "a");
        lab.wait_for_holder(VIP6, "a");
        probers.iter().for_each(Prober::wait_for_answer);
    }
    for name in ["web", "six"] {
        assert_eq!(b.router(name).expect("b answers")["statistics"]["master_transitions"], 0);
        assert_eq!(a.router(name).expect("a answers")["statistics"]["master_transitions"], 1);
    }
}

#[test]
fn a_name_that_is_taken_is_told_and_what_has_it_is_left_alone() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.ip(&format!("link add {DEVICE} type veth peer name other"));
    let before = a.ip(&format!("-o link show dev {DEVICE}"));
    let _daemon = a.vrrpd(&web(PRIMARY, KEY));
    a.wait_for_router("web", "kept from starting", |router| router["reason"] == "no_virtual_mac");
    let told =
        a.wait_for_router("web", "with an alarm", |router| router["alarms"][0]["name"] == "no_virtual_mac");
    assert!(told["alarms"][0]["message"].as_str().is_some_and(|text| text.contains(DEVICE)), "{told}");
    assert!(!a.vrrpctl("state").status.success());
    assert_eq!(a.ip(&format!("-o link show dev {DEVICE}")), before);
    a.ip(&format!("link del {DEVICE}"));
    lab.settles_on(VIP, "a", 3);
    assert!(a.vrrpctl("state").status.success(), "nothing is wrong any more");
}

#[test]
fn a_backup_whose_name_is_taken_meanwhile_is_refused_and_takes_over_when_it_is_free() {
    let Some(Pair { lab, a, b, primary, secondary }) = pair() else { return };
    // It makes its own again as soon as it sees that it is gone.
    secondary.freeze();
    b.namespace().ip(&format!("link del {DEVICE}\nlink add {DEVICE} type veth peer name other\n"));
    secondary.thaw();
    lab.power_off(&a, primary);
    let router = b.wait_for_router("web", "refused", |router| router["reason"] == "address_refused");
    assert_eq!(router["state"], "backup");
    assert!(!b.has(VIP), "the address is on a link that is not ours");
    b.ip(&format!("link del {DEVICE}"));
    wait_for("b to hold the address", DEADLINE, || b.has(VIP).then_some(()));
    b.wait_for_state("web", "active");
}

#[test]
fn a_killed_daemon_that_restarts_at_once_goes_on_with_the_device() {
    let config = |node: &Node| {
        both(if node.name() == "a" { PRIMARY } else { SECONDARY }).replace("\"100ms\"", "\"2s\"")
    };
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::with(config) else { return };
    lab.wait_for_holder(VIP6, "a");
    let index = || [DEVICE, DEVICE6].map(|device| a.ip(&format!("-o link show dev {device}")));
    let (before, prober) = (index(), Prober::start(lab.client(), VIP));
    prober.wait_for_answer();
    primary.kill_first();
    let _primary = a.start_vrrpd();
    for name in ["web", "six"] {
        a.wait_for_router(name, "that goes on", |router| router["reason"] == "resumed");
        assert_eq!(b.router(name).expect("b answers")["statistics"]["master_transitions"], 0);
    }
    prober.wait_for_answer();
    assert_eq!(index(), before, "the same devices, and they stayed up");
    assert_eq!(settings(&a, "eth0"), ["1", "2"]);
}

#[test]
fn what_a_killed_daemon_left_goes_with_the_next_that_does_not_need_it() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = pair() else { return };
    primary.kill_first();
    for name in ["web", "six"] {
        b.wait_for_state(name, "active");
    }
    lab.wait_for_holder(VIP, "b");
    lab.wait_for_holder(VIP6, "b");
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    assert_eq!(settings(&a, "eth0"), ["1", "2"]);
    // Another administrator's macvlan with the same name but for us is none of ours.
    a.ip("link add vrrp4-77 link eth0 type macvlan mode bridge");
    let _primary = a.vrrpd(&web(PRIMARY, ""));
    wait_for("the end of the devices", DEADLINE, || {
        let listed = a.ip("-o link show type macvlan");
        (!listed.contains(DEVICE) && !listed.contains(DEVICE6) && listed.contains("vrrp4-77")).then_some(())
    });
    wait_for("what was set to be put back", DEADLINE, || (settings(&a, "eth0") == ["0", "0"]).then_some(()));
}

#[test]
fn a_late_restart_finds_the_device_up_and_begins_as_a_silent_backup() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = pair() else { return };
    b.write_vrrpd_config(&both(250));
    primary.kill_first();
    b.wait_for_state("six", "active");
    assert!(b.vrrpctl("reload").status.success());
    lab.wait_for_holder(VIP6, "b");
    lab.wait_for_holder(VIP, "b");
    assert!(is_up(&a, DEVICE), "nobody is there to set it down");
    let _primary = a.start_vrrpd();
    for name in ["web", "six"] {
        a.wait_for_state(name, "backup");
    }
    wait_for("the devices to be down", DEADLINE, || {
        (!is_up(&a, DEVICE) && !is_up(&a, DEVICE6)).then_some(())
    });
    let capture = lab.capture();
    lab.settles_on(VIP, "b", 10);
    assert_eq!(with_virtual_mac(&capture, "a"), []);
}

#[test]
fn the_device_follows_the_interface_below_it() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = pair() else { return };
    let mtu = |mtu: &str| {
        a.ip(&format!("link set eth0 mtu {mtu}"));
        wait_for(&format!("an MTU of {mtu}"), DEADLINE, || {
            let followed = |device| a.ip(&format!("link show dev {device}")).contains(&format!("mtu {mtu} "));
            (followed(DEVICE) && followed(DEVICE6)).then_some(())
        });
    };
    ["1400", "1500"].into_iter().for_each(mtu);
    a.ip("link set eth0 address 02:00:00:00:00:aa");
    let capture = lab.capture();
    lab.settles_on(VIP, "a", 5);
    let adverts = capture.adverts_of("a");
    assert!(adverts.iter().all(|frame| frame.source.is_virtual()), "{adverts:?}");

    a.delete_interface();
    lab.wait_for_holder(VIP, "b");
    a.create_interface();
    lab.settles_on(VIP, "a", 5);
    lab.wait_for_holder(VIP6, "a");
    assert_eq!(settings(&a, "eth0"), ["1", "2"], "of the new interface");
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
}

/// RFC 9568 7.3, 7.4.
#[test]
fn several_routers_of_an_interface_have_each_their_own_and_no_address_is_made_of_it() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.namespace().sysctl(&[("net/ipv6/conf/default/accept_ra", "1")]);
    let mut config = String::new();
    for vrid in [1, 2, 255] {
        let own = |text: String| {
            text.replace("vrid = 201", &format!("vrid = {vrid}"))
                .replace(".web]", &format!(".web{vrid}]"))
                .replace(VIP, &format!("203.0.113.{vrid}"))
                .replace("::201", &format!("::{vrid:x}"))
        };
        config += &own(web(PRIMARY, KEY));
        config += &own(web6(PRIMARY, KEY)).replace(".web", ".six");
    }
    let capture = lab.capture();
    let _daemon = a.vrrpd(&config);
    for vrid in [1_u8, 2, 255] {
        for family in [1, 2] {
            let mac = format!("00:00:5e:00:{family:02x}:{vrid:02x}");
            let frame = capture.wait_for(&format!("an advertisement from {mac}"), 0, |frame| {
                frame.advert().is_some() && frame.source.to_string() == mac
            });
            assert_eq!(frame.advert().map(|advert| advert.vrid), Some(vrid));
        }
        a.wait_for_state(&format!("six{vrid}"), "active");
    }
    let made = a.addresses().into_iter().filter(|address| address.to_string().contains("5eff:fe00"));
    assert_eq!(made.count(), 0);
}

#[test]
fn the_rights_of_the_unit_are_enough() {
    let Some(lab) = Lab::with(&["setpriv"]) else { return };
    let a = lab.node("a");
    a.write_vrrpd_config(&both(PRIMARY));
    let daemon = a.start_vrrpd_unprivileged(65534, &["net_admin", "net_raw"].map(str::to_owned));
    lab.wait_for_holder(VIP, "a");
    lab.wait_for_holder(VIP6, "a");
    for address in [VIP, VIP6] {
        Prober::start(lab.client(), address).wait_for_answer();
    }
    let set = ["forwarding", "accept_ra"].map(|name| {
        let file = format!("/proc/sys/net/ipv6/conf/{DEVICE6}/{name}");
        a.namespace().enter(|| std::fs::read_to_string(file).expect("the device has IPv6").trim().to_owned())
    });
    assert_eq!(set, ["1", "0"]);
    daemon.signal(Signal::SIGTERM);
    wait_for("the end of the devices", DEADLINE, || {
        (!a.ip("-o link show type macvlan").contains("vrrp")).then_some(())
    });
    assert_eq!(settings(&a, "eth0"), ["0", "0"]);
}

/// A switch from one to the other is a handover, within one daemon.
#[test]
fn a_reload_turns_it_on_and_off() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let _daemon = a.vrrpd(&web(PRIMARY, ""));
    lab.settles_on(VIP, "a", 3);
    for (more, mac) in [(KEY, MAC), ("", "02:00:00:00:00:c1"), (KEY, MAC)] {
        a.write_vrrpd_config(&web(PRIMARY, more));
        assert!(a.vrrpctl("reload").status.success());
        let prober = Prober::start(lab.client(), VIP);
        wait_for(&format!("{VIP} at {mac}"), DEADLINE, || {
            (lab.client().neighbour(VIP).as_deref() == Some(mac) && a.has(VIP)).then_some(())
        });
        prober.wait_for_answer();
        assert_eq!(a.ip("-o link show").contains(DEVICE), mac == MAC);
    }
}
