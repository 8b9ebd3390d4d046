//! Who may talk to the virtual address itself.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use lab::story::{PRIMARY, VIP, VIP6, VIP6_LINK_LOCAL, router, slow, web, web6};
use lab::{DEADLINE, Frame, Kind, Lab, Node, Prober, wait_for};

const CLOSED: &str = "accept_mode = false";
/// How long a client waits for an answer that must not come.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of a client's attempts to talk to an address.
#[derive(Debug, PartialEq, Eq)]
struct Contact {
    /// An echo was answered.
    echo: bool,
    /// A connection to a port that is listened on.
    connection: Result<(), ErrorKind>,
    /// A connection to a port that is not.
    refusal: ErrorKind,
    /// A datagram to a port that nobody has brought an ICMP error.
    complaint: bool,
}

impl Contact {
    /// As with any address.
    const OPEN: Self =
        Self { echo: true, connection: Ok(()), refusal: ErrorKind::ConnectionRefused, complaint: true };
    /// As with a hole.
    const CLOSED: Self = Self {
        echo: false,
        connection: Err(ErrorKind::TimedOut),
        refusal: ErrorKind::TimedOut,
        complaint: false,
    };

    /// `listener` is a server on the node that has the address, if any has.
    fn of(lab: &Lab, address: &str, listener: &TcpListener) -> Self {
        let ip: IpAddr = address.parse().expect("an address");
        let port = listener.local_addr().expect("it is bound").port();
        let prober = Prober::start(lab.client(), address);
        prober.wait_for_probes(100);
        let echo = prober.stop().0.iter().any(|probe| probe.answered_ns.is_some());
        lab.client().namespace().enter(|| {
            let connect = |port| TcpStream::connect_timeout(&SocketAddr::new(ip, port), PATIENCE);
            let unbound = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(unbound).expect("a free port");
            socket.connect(SocketAddr::new(ip, 9)).expect("there is a route");
            socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
            socket.send(b"?").expect("the first one leaves");
            Self {
                echo,
                connection: connect(port).map(drop).map_err(|error| error.kind()),
                refusal: connect(9).expect_err("nobody listens there").kind(),
                complaint: socket.recv(&mut [0]).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused),
            }
        })
    }
}

fn listen(node: &Node) -> TcpListener {
    // Of both families.
    node.namespace().enter(|| TcpListener::bind("[::]:0").expect("a free port"))
}

/// The names of the tables in the packet filter of a node, but for those of the fence, which is another story's.
fn tables(node: &Node) -> Vec<String> {
    let listed = node.namespace().run("nft", &["list", "tables"]);
    let names = listed.lines().map(|line| line.trim_start_matches("table ").to_owned());
    names.filter(|name| !name.contains("vrrpd_fence")).collect()
}

#[test]
fn an_address_that_is_not_accepted_answers_nobody_and_goes_on_answering_arp() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    // A router that forwards would send the packet back where it came from, or say that it cannot.
    a.namespace().sysctl(&[("net/ipv4/ip_forward", "1")]);
    let listener = listen(&a);
    let _daemon = a.vrrpd(&web(PRIMARY, ""));
    lab.settles_on(VIP, "a", 3);
    assert_eq!(Contact::of(&lab, VIP, &listener), Contact::OPEN);
    assert!(!tables(&a).contains(&"inet vrrpd".to_owned()), "nothing is closed");

    let capture = lab.capture();
    a.write_vrrpd_config(&web(PRIMARY, CLOSED));
    assert!(a.vrrpctl("reload").status.success());
    wait_for("the table", DEADLINE, || tables(&a).contains(&"inet vrrpd".to_owned()).then_some(()));
    lab.client().ip("neigh flush all");
    assert_eq!(Contact::of(&lab, VIP, &listener), Contact::CLOSED);
    assert_eq!(lab.client().neighbour(VIP).as_deref(), Some("02:00:00:00:00:c1"), "ARP goes on");
    assert_eq!(Contact::of(&lab, &a.ipv4(), &listener), Contact::OPEN, "the node's own address is its own");
    let forwards = |frame: &Frame| match frame.kind {
        Kind::Arp { target, .. } => frame.interface == "a" && target == VIP.parse::<IpAddr>().expect("valid"),
        _ => false,
    };
    assert!(!capture.frames().iter().any(forwards), "the router looked for another place of the address");

    a.write_vrrpd_config(&web(PRIMARY, ""));
    assert!(a.vrrpctl("reload").status.success());
    wait_for("no table", DEADLINE, || (!tables(&a).contains(&"inet vrrpd".to_owned())).then_some(()));
    assert_eq!(Contact::of(&lab, VIP, &listener), Contact::OPEN);
    let statistics = a.router("web").expect("a answers")["statistics"].clone();
    assert_eq!(statistics["master_transitions"], 1, "a reload moves nothing");
}

#[test]
fn an_ipv6_address_that_is_not_accepted_still_takes_part_in_neighbour_discovery() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let listener = listen(&a);
    let _daemon = a.vrrpd(&web6(PRIMARY, CLOSED));
    lab.settles_on(VIP6, "a", 3);
    assert_eq!(Contact::of(&lab, VIP6, &listener), Contact::CLOSED);
    assert_eq!(lab.client().neighbour(VIP6).as_deref(), Some("02:00:00:00:00:c1"));
    // What a client asks to know whether a neighbour is still there goes to the address itself.
    for address in [VIP6, VIP6_LINK_LOCAL] {
        let entry = format!("neigh replace {address} lladdr 02:00:00:00:00:c1 dev eth0 nud probe");
        lab.client().ip(&entry);
        wait_for("the neighbour's answer", DEADLINE, || {
            lab.client().ip(&format!("-6 neigh show {address} dev eth0")).contains("REACHABLE").then_some(())
        });
    }
    assert_eq!(Contact::of(&lab, &a.ipv6(), &listener), Contact::OPEN, "the node's own address is its own");

    a.write_vrrpd_config(&web6(PRIMARY, ""));
    assert!(a.vrrpctl("reload").status.success());
    wait_for("no table", DEADLINE, || (!tables(&a).contains(&"inet vrrpd".to_owned())).then_some(()));
    assert_eq!(Contact::of(&lab, VIP6, &listener), Contact::OPEN);
}

#[test]
fn of_two_routers_only_the_one_that_says_so_is_closed() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let listener = listen(&a);
    let other = "[virtual_router.other]\ninterface = \"eth0\"\nvrid = 202\naddresses = [\"192.0.2.202\"]\n\
                 advertisement_interval = \"100ms\"";
    let _daemon = a.vrrpd(&web(PRIMARY, &format!("{CLOSED}\n{other}")));
    lab.wait_for_holder(VIP, "a");
    lab.wait_for_holder("192.0.2.202", "a");
    assert_eq!(Contact::of(&lab, VIP, &listener), Contact::CLOSED);
    assert_eq!(Contact::of(&lab, "192.0.2.202", &listener), Contact::OPEN);
}

#[test]
fn in_version_2_too_who_is_not_the_owner_can_be_closed() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let listener = listen(&a);
    let _daemon = a.vrrpd(&slow(&web(PRIMARY, &format!("version = 2\n{CLOSED}"))));
    lab.wait_for_holder(VIP, "a");
    assert_eq!(Contact::of(&lab, VIP, &listener), Contact::CLOSED);
}

#[test]
fn the_owner_accepts_whatever_its_configuration_says_and_a_backup_nothing() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let (owner, backup) = (listen(&a), listen(&b));
    a.ip(&format!("addr add {VIP}/24 dev eth0"));
    let primary = a.vrrpd(&router(255, &[VIP], CLOSED));
    let _secondary = b.vrrpd(&router(100, &[VIP], CLOSED));
    a.wait_for_state("web", "active");
    b.wait_for_state("web", "backup");
    assert_eq!(Contact::of(&lab, VIP, &owner), Contact::OPEN);
    // To whom the address is not local it is as good as any other that is not.
    lab.client().ip(&format!("neigh replace {VIP} lladdr 02:00:00:00:00:c2 dev eth0 nud permanent"));
    assert_eq!(Contact::of(&lab, VIP, &backup), Contact::CLOSED);
    lab.client().ip(&format!("neigh del {VIP} dev eth0"));

    lab.power_off(&a, primary);
    b.wait_for_router("web", "has the address", |router| router["addresses"][0]["present"] == true);
    assert_eq!(Contact::of(&lab, VIP, &backup), Contact::CLOSED);
}

#[test]
fn the_table_is_ours_alone_and_ends_with_the_daemon() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let listener = listen(&a);
    a.namespace().nft("add table inet theirs");
    let daemon = a.vrrpd(&slow(&web(PRIMARY, CLOSED)));
    lab.wait_for_holder(VIP, "a");
    assert_eq!(tables(&a), ["inet theirs", "inet vrrpd"]);

    a.namespace().nft("flush ruleset");
    assert_eq!(tables(&a), ["inet vrrpd"], "what is owned is not flushed");
    assert_eq!(Contact::of(&lab, VIP, &listener), Contact::CLOSED);
    a.namespace().nft("add table inet theirs");
    daemon.crash();
    wait_for("the end of the table", DEADLINE, || (tables(&a) == ["inet theirs"]).then_some(()));

    let daemon = a.start_vrrpd();
    wait_for("the table again", DEADLINE, || tables(&a).contains(&"inet vrrpd".to_owned()).then_some(()));
    assert!(daemon.terminate().success());
    assert_eq!(tables(&a), ["inet theirs"]);
}

#[test]
fn where_the_filter_cannot_be_had_the_router_goes_on_and_says_so() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    let listener = listen(&a);
    // Somebody else owns a table of this name for as long as the program runs.
    let mut owner = a
        .namespace()
        .command("nft")
        .arg("-i")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("nft is installed");
    let mut stdin = owner.stdin.take().expect("stdin is a pipe");
    stdin.write_all(b"add table inet vrrpd { flags owner; }\n").expect("nft listens");
    wait_for("the other's table", DEADLINE, || (tables(&a) == ["inet vrrpd"]).then_some(()));

    let _daemon = a.vrrpd(&web(PRIMARY, CLOSED));
    lab.wait_for_holder(VIP, "a");
    let is_raised = |router: &serde_json::Value| {
        let alarms = router["alarms"].as_array().expect("a list");
        alarms.iter().any(|alarm| alarm["name"] == "accept_mode_not_enforced")
    };
    a.wait_for_router("web", "says what it cannot do", is_raised);
    assert_eq!(a.vrrpctl("state").status.code(), Some(1), "degraded");
    assert_eq!(Contact::of(&lab, VIP, &listener), Contact::OPEN);

    drop(stdin);
    assert!(owner.wait().expect("it is our child").success());
    a.wait_for_router("web", "can do it now", |router| !is_raised(router));
    assert_eq!(Contact::of(&lab, VIP, &listener), Contact::CLOSED);
    assert_eq!(a.vrrpctl("state").status.code(), Some(0));
    let history = String::from_utf8(a.vrrpctl("history").stdout).expect("text");
    assert!(history.contains("accept_mode_not_enforced"), "{history}");
}
