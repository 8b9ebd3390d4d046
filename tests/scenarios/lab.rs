//! The laboratory itself, proven with two well-known daemons, so that it cannot lie to the rest.

use std::time::Duration;

use lab::frame::Advert;
use lab::story::{VIP, VIP6, VIP6_LINK_LOCAL, keepalived};
use lab::{DEADLINE, Kind, Lab, Prober, now_ns, wait_for};

#[test]
fn a_takeover_is_seen_by_kernel_capture_and_prober_alike() {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let capture = lab.capture();
    let first = keepalived(&a, 200);
    let _second = keepalived(&b, 100);
    lab.wait_for_holder(VIP, "a");
    let announced =
        capture.wait_for("the announcement of a", 0, |f| f.announces(VIP.parse().expect("valid")));
    assert_eq!(announced.interface, "a");

    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    assert_eq!(lab.client().neighbour(VIP).as_deref(), Some("02:00:00:00:00:c1"));
    let crash_ns = now_ns();
    lab.power_off(&a, first);
    assert!(a.has(VIP), "a crash leaves the address in the kernel");
    let advert = capture.wait_for("b's first advertisement", crash_ns, |f| {
        f.interface == "b" && f.advert().is_some_and(|advert| advert.priority == 100)
    });
    prober.wait_for_answer();
    let probes = prober.stop();

    // Three intervals and the skew of priority 100 after a's last advertisement.
    let last =
        capture.frames().iter().rfind(|f| f.interface == "a" && f.advert().is_some()).map(|f| f.time_ns);
    let silence = advert.time_ns - last.expect("a advertised");
    assert!(silence >= 360_937_500, "b took over before the protocol allows: {silence} ns");
    // The client's outage begins up to one interval after that advertisement.
    let gap = i64::try_from(probes.longest_gap().as_nanos()).expect("short");
    assert!(gap > silence - 110_000_000, "gap {gap} ns, silence {silence} ns");
    assert!(probes.total_lost() > 0);
    wait_for("both holders", DEADLINE, || (lab.holders(VIP) == ["a", "b"]).then_some(()));
    assert!(probes.first_answer_since(advert.time_ns).is_some());
    assert_eq!(lab.client().neighbour(VIP).as_deref(), Some("02:00:00:00:00:c2"));
}

#[test]
fn a_capture_reads_ipv6_advertisements_and_announcements() {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let a = lab.node("a");
    let (on_switch, on_host) = (lab.capture(), a.capture());
    let _daemon = a.keepalived(&format!(
        "vrrp_instance web {{
           interface eth0
           virtual_router_id 77
           priority 150
           advert_int 0.2
           virtual_ipaddress {{
             {VIP6_LINK_LOCAL}
             {VIP6}
           }}
         }}"
    ));
    lab.wait_for_holder(VIP6, "a");
    let frame = on_switch.wait_for_advert("a", 0);
    let addresses = [VIP6_LINK_LOCAL, VIP6].map(|text| text.parse().expect("valid")).to_vec();
    let expected = Advert {
        version: 3,
        vrid: 77,
        priority: 150,
        interval_cs: 20,
        source: a.link_local().parse().expect("valid"),
        destination: "ff02::12".parse().expect("valid"),
        ttl: 255,
        addresses,
    };
    assert_eq!(frame.advert(), Some(&expected));
    assert_eq!(frame.source.to_string(), "02:00:00:00:00:c1");
    let announced = on_switch.wait_for("an announcement", 0, |f| f.announces(VIP6.parse().expect("valid")));
    let target = VIP6.parse().expect("valid");
    let mac = Some(announced.source);
    assert_eq!(
        announced.kind,
        Kind::NeighbourAdvertisement { target, overrides: true, solicited: false, mac }
    );
    // The host saw the same frames leave, no later than the switch saw them come.
    let left = on_host.wait_for_advert("eth0", 0);
    assert!(left.kind == frame.kind && left.time_ns <= frame.time_ns);
}

#[test]
fn a_prober_loses_nothing_while_nothing_happens() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.ip(&format!("addr add {VIP}/32 dev eth0"));
    a.ip(&format!("addr add {VIP6}/128 dev eth0 nodad"));
    for address in [VIP, VIP6] {
        let prober = Prober::start(lab.client(), address);
        prober.wait_for_probes(500);
        prober.wait_for_answer();
        let probes = prober.stop();
        assert_eq!(probes.total_lost(), 0, "{address}");
        assert!(probes.longest_gap() < Duration::from_secs(1), "{address}: {:?}", probes.longest_gap());
    }
}

#[test]
fn two_holders_are_noticed() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    a.ip(&format!("addr add {VIP}/32 dev eth0"));
    assert_eq!((lab.holders(VIP), lab.answerers(VIP)), (vec!["a".to_owned()], vec!["a".to_owned()]));
    b.ip(&format!("addr add {VIP}/32 dev eth0"));
    assert_eq!(lab.holders(VIP), ["a", "b"]);
    assert_eq!(lab.answerers(VIP), ["a", "b"]);
}

#[test]
fn traffic_can_be_cut_one_way_lost_and_healed() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let answered = || {
        let prober = Prober::start(lab.client(), &a.ipv4());
        prober.wait_for_probes(300);
        let probes = prober.stop();
        (probes.0.len() - probes.total_lost()) as f64 / probes.0.len() as f64
    };
    assert!(answered() > 0.99);
    lab.switch().cut_one_way("a", "client");
    assert!(answered() < 0.01);
    lab.switch().heal();
    lab.switch().lose("a", 50);
    let share = answered();
    assert!((0.2..0.8).contains(&share), "{share} of the probes were answered");
    lab.switch().heal();
    assert!(answered() > 0.99);
    lab.switch().unplug("a");
    assert!(a.ip("link show eth0").contains("NO-CARRIER"));
    lab.switch().plug("a");
    wait_for("an answer over the plugged cable", DEADLINE, || (answered() > 0.99).then_some(()));
}

#[test]
fn an_interface_comes_back_with_another_index() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let index = || a.ip("-o link show eth0").split(':').next().map(str::to_owned);
    let before = index();
    a.delete_interface();
    assert!(!a.has(&a.ipv4()));
    a.create_interface();
    assert!(a.has(&a.ipv4()) && a.has(&a.ipv6()) && a.has(&a.link_local()));
    assert_ne!(index(), before);
}

#[test]
fn nothing_survives_the_lab() {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let a = lab.node("a");
    let daemon = keepalived(&a, 100);
    let processes = wait_for("both processes of keepalived", DEADLINE, || {
        let processes = daemon.processes();
        (processes.len() == 2).then_some(processes)
    });
    let directory = lab.directory().to_owned();
    drop((daemon, a, lab));
    for pid in processes {
        wait_for(&format!("the end of {pid}"), DEADLINE, || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            // A zombie of somebody else's has ended too.
            state.map_or(true, |text| text.contains(") Z ")).then_some(())
        });
    }
    assert!(!directory.exists());
}
