//! A group of two virtual routers, inside and outside, on two nodes with a second network.

use std::sync::Arc;

use lab::{Capture, DEADLINE, Daemon, Lab, Node, Prober, wait_for};

const INSIDE: &str = "192.0.2.201";
const OUTSIDE: &str = "198.51.100.201";

/// Two nodes and the client, all with a second interface on a second network.
struct TwoNetworks {
    a: Arc<Node>,
    b: Arc<Node>,
    lab: Lab,
}

impl TwoNetworks {
    fn open(programs: &[&str]) -> Option<Self> {
        let lab = Lab::with(programs)?;
        let (a, b) = (lab.node("a"), lab.node("b"));
        let switch = lab.switch().namespace();
        switch.ip("link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set br1 up\n");
        for (node, host) in [(&*a, 193), (&*b, 194), (lab.client(), 10)] {
            let (port, peer) = (outside_port(node), switch.path());
            node.namespace().ip(&format!(
                "link add eth1 address 02:00:00:00:01:{host:02x} type veth peer name {port} netns {peer}\n"
            ));
            switch.ip(&format!("link set dev {port} master br1 up\n"));
            node.namespace().ip(&format!("link set eth1 up\naddr add 198.51.100.{host}/24 dev eth1\n"));
        }
        Some(Self { a, b, lab })
    }

    /// Waits until `node` alone has both addresses.
    fn wait_for_both_on(&self, node: &Node) {
        for address in [INSIDE, OUTSIDE] {
            self.lab.wait_for_holder(address, node.name());
        }
    }

    /// Waits until one node has both addresses and the other none.
    fn wait_for_a_holder(&self) -> Arc<Node> {
        wait_for("one node that holds both", DEADLINE, || {
            let holders = [INSIDE, OUTSIDE].map(|address| self.lab.holders(address));
            let alone = |node: &&Arc<Node>| holders.iter().all(|holders| *holders == [node.name()]);
            [&self.a, &self.b].into_iter().find(alone).cloned()
        })
    }

    /// Watches for 20 intervals in which `node` keeps both and nobody else advertises.
    fn stays_on(&self, node: &Node) {
        let capture: Capture = self.lab.capture();
        wait_for("20 advertisements on each network", DEADLINE, || {
            for address in [INSIDE, OUTSIDE] {
                assert_eq!(self.lab.holders(address), [node.name()], "{address}");
            }
            let mut speakers = capture.speakers();
            // The second bridge hears what its ports let in.
            speakers.retain(|speaker| speaker != "br1");
            let ports = [node.name().to_owned(), outside_port(node)];
            assert!(speakers.iter().all(|speaker| ports.contains(speaker)), "{speakers:?} advertise");
            let count = |port: &String| speakers.iter().filter(|speaker| *speaker == port).count();
            ports.iter().all(|port| count(port) >= 20).then_some(())
        });
    }

    fn pull_outside(&self, node: &Node) {
        self.lab.switch().unplug(&outside_port(node));
    }

    fn plug_outside(&self, node: &Node) {
        self.lab.switch().plug(&outside_port(node));
    }

    /// The client reaches both addresses.
    fn is_served(&self) {
        for address in [INSIDE, OUTSIDE] {
            let prober = Prober::start(self.lab.client(), address);
            prober.wait_for_answer();
            prober.stop();
        }
    }
}

fn outside_port(node: &Node) -> String {
    format!("{}-out", node.name())
}

fn vrrpd(node: &Node, inside: u8, outside: u8) -> Daemon {
    vrrpd_with(node, inside, outside, "")
}

/// ... with more keys of the group, and tables.
fn vrrpd_with(node: &Node, inside: u8, outside: u8, more: &str) -> Daemon {
    let router = |name: &str, interface: &str, vrid: u8, priority: u8, address: &str| {
        format!(
            "[virtual_router.{name}]\ninterface = \"{interface}\"\nvrid = {vrid}\npriority = {priority}\n\
             advertisement_interval = \"100ms\"\naddresses = [\"{address}\"]\n\n"
        )
    };
    let group = "[sync_group.both]\nvirtual_routers = [\"inside\", \"outside\"]\n";
    let inside = router("inside", "eth0", 201, inside, INSIDE);
    node.vrrpd(&(inside + &router("outside", "eth1", 202, outside, OUTSIDE) + group + more))
}

fn keepalived(node: &Node, inside: u8, outside: u8) -> Daemon {
    let instance = |name: &str, interface: &str, vrid: u8, priority: u8, address: &str| {
        format!(
            "vrrp_instance {name} {{\n interface {interface}\n virtual_router_id {vrid}\n priority {priority}\n \
             advert_int 0.1\n virtual_ipaddress {{\n  {address}\n }}\n}}\n"
        )
    };
    let group = "vrrp_sync_group both {\n group {\n  inside\n  outside\n }\n}\n";
    let inside = instance("inside", "eth0", 201, inside, INSIDE);
    node.keepalived(&(group.to_owned() + &inside + &instance("outside", "eth1", 202, outside, OUTSIDE)))
}

/// Times that both members of a node became Active.
fn transitions(node: &Node) -> [u64; 2] {
    ["inside", "outside"].map(|name| {
        let router = node.router(name).expect("the daemon answers");
        router["statistics"]["master_transitions"].as_u64().expect("a number")
    })
}

#[test]
fn a_link_lost_on_one_side_moves_both_and_its_return_moves_both_back() {
    let Some(pair) = TwoNetworks::open(&[]) else { return };
    let _daemons = [vrrpd(&pair.a, 200, 200), vrrpd(&pair.b, 100, 100)];
    pair.wait_for_both_on(&pair.a);
    pair.stays_on(&pair.a);
    let before = [transitions(&pair.a), transitions(&pair.b)];

    pair.pull_outside(&pair.a);
    pair.wait_for_both_on(&pair.b);
    pair.is_served();
    pair.stays_on(&pair.b);
    let inside = pair.a.wait_for_router("inside", "waits for outside", |router| {
        router["sync_group"]["waits_for"] == "outside"
    });
    assert_eq!((&inside["state"], &inside["sync_group"]["name"]), (&"backup".into(), &"both".into()));
    let why = String::from_utf8(pair.a.vrrpctl("why inside").stdout).expect("text");
    assert!(why.contains("waits for outside"), "{why}");
    assert!(why.contains("outside: ACTIVE -> INITIALIZE: the interface is down"), "{why}");
    let history = String::from_utf8(pair.a.vrrpctl("history inside").stdout).expect("text");
    assert!(history.contains("ACTIVE -> BACKUP: moved with outside"), "{history}");

    pair.plug_outside(&pair.a);
    pair.wait_for_both_on(&pair.a);
    pair.is_served();
    pair.stays_on(&pair.a);
    let after = [transitions(&pair.a), transitions(&pair.b)];
    assert_eq!(after, before.map(|each| each.map(|count| count + 1)), "one more for each member");
}

#[test]
fn crossed_priorities_settle_on_one_node() {
    let Some(pair) = TwoNetworks::open(&[]) else { return };
    let _daemons = [vrrpd(&pair.a, 150, 100), vrrpd(&pair.b, 100, 150)];
    let holder = pair.wait_for_a_holder();
    pair.stays_on(&holder);
    let counts = [transitions(&pair.a), transitions(&pair.b)];
    let all: u64 = counts.iter().flatten().sum();
    // Both nodes may claim at the same moment, since it is a tie: twice, then, and no more.
    assert!((2..=4).contains(&all), "{counts:?}");
    pair.stays_on(&holder);
    assert_eq!([transitions(&pair.a), transitions(&pair.b)], counts);
}

#[test]
fn an_order_to_one_goes_for_both() {
    let Some(pair) = TwoNetworks::open(&[]) else { return };
    let _daemons = [vrrpd(&pair.a, 200, 200), vrrpd(&pair.b, 100, 100)];
    pair.wait_for_both_on(&pair.a);
    pair.stays_on(&pair.a);
    let probers = [INSIDE, OUTSIDE].map(|address| Prober::start(pair.lab.client(), address));
    probers.iter().for_each(Prober::wait_for_answer);
    let drained = pair.a.vrrpctl("drain outside");
    let said =
        String::from_utf8_lossy(&drained.stdout).into_owned() + &String::from_utf8_lossy(&drained.stderr);
    assert_eq!(drained.status.code(), Some(0), "{said}");
    assert!(said.contains("sync group both: inside, outside"), "{said}");
    pair.wait_for_both_on(&pair.b);
    probers.iter().for_each(Prober::wait_for_answer);
    pair.stays_on(&pair.b);
    let said = String::from_utf8(pair.a.vrrpctl("undrain inside").stdout).expect("text");
    assert!(said.contains("outside, of its sync group, holds it: vrrpctl undrain outside"), "{said}");
    assert_eq!(pair.a.vrrpctl("undrain outside").status.code(), Some(0));
    pair.wait_for_both_on(&pair.a);
    pair.stays_on(&pair.a);
}

/// A member that is frozen freezes all as they were then, and for as long as any is frozen.
#[test]
fn a_freeze_of_one_is_neither_widened_nor_ended_by_another() {
    let Some(pair) = TwoNetworks::open(&[]) else { return };
    let flag = pair.a.directory().join("service");
    std::fs::write(&flag, "").expect("the lab's directory is writable");
    let check = format!(
        "checks = [\"service\"]\n\n[check.service]\nfile = {{ path = \"{}\" }}\ninterval = \"200ms\"\n",
        flag.display()
    );
    let _daemons = [vrrpd_with(&pair.a, 200, 200, &check), vrrpd(&pair.b, 100, 100)];
    let check_is =
        |state: &'static str| move |router: &serde_json::Value| router["checks"][0]["state"] == state;
    pair.a.wait_for_router("inside", "with a passing check", check_is("passing"));
    pair.wait_for_both_on(&pair.a);
    let obeyed = |words: &str| {
        let said = pair.a.vrrpctl(words);
        assert_eq!(said.status.code(), Some(0), "{words}: {said:?}");
        String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr)
    };
    obeyed("freeze inside --for 1h");
    std::fs::remove_file(&flag).expect("it is there");
    pair.a.wait_for_router("inside", "with a failing check", check_is("failing"));
    let said = obeyed("freeze outside --for 8h");
    assert!(!said.contains("not passing"), "{said}");
    pair.stays_on(&pair.a);
    let said = obeyed("unfreeze inside");
    assert!(said.contains("outside, of its sync group, holds it: vrrpctl unfreeze outside"), "{said}");
    pair.stays_on(&pair.a);
    obeyed("unfreeze outside");
    pair.wait_for_both_on(&pair.b);
}

/// The group of vrrpd and the one of keepalived, in both roles: stop, fault and return of either.
fn with_keepalived(vrrpd_first: bool) {
    let Some(pair) = TwoNetworks::open(&["keepalived"]) else { return };
    let start = |node: &Node, priority: u8| match (node.name() == "a") == vrrpd_first {
        true => vrrpd(node, priority, priority),
        false => keepalived(node, priority, priority),
    };
    let primary = start(&pair.a, 200);
    let secondary = start(&pair.b, 100);
    pair.wait_for_both_on(&pair.a);
    pair.stays_on(&pair.a);

    pair.pull_outside(&pair.a);
    pair.wait_for_both_on(&pair.b);
    pair.is_served();
    pair.stays_on(&pair.b);
    pair.plug_outside(&pair.a);
    pair.wait_for_both_on(&pair.a);
    pair.is_served();
    pair.stays_on(&pair.a);

    assert!(primary.terminate().success());
    pair.wait_for_both_on(&pair.b);
    pair.is_served();
    let _primary = start(&pair.a, 200);
    pair.wait_for_both_on(&pair.a);
    pair.stays_on(&pair.a);

    pair.pull_outside(&pair.b);
    pair.stays_on(&pair.a);
    pair.plug_outside(&pair.b);
    pair.stays_on(&pair.a);
    assert!(secondary.terminate().success());
    pair.stays_on(&pair.a);
}

#[test]
fn keepalived_backs_up_a_group() {
    with_keepalived(true);
}

#[test]
fn a_group_backs_up_keepalived() {
    with_keepalived(false);
}

#[test]
fn crossed_priorities_settle_beside_keepalived() {
    let Some(pair) = TwoNetworks::open(&["keepalived"]) else { return };
    let _daemons = [vrrpd(&pair.a, 150, 120), keepalived(&pair.b, 100, 150)];
    let holder = pair.wait_for_a_holder();
    pair.stays_on(&holder);
    let counts = transitions(&pair.a);
    pair.stays_on(&holder);
    assert_eq!(transitions(&pair.a), counts);
}
