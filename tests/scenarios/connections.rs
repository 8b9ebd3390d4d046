//! Clients in the middle of something when the address moves.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use lab::story::{PRIMARY, SECONDARY, VIP, VIP6, keepalived, web};
use lab::{Behind, DEADLINE, Lab, Node, Pair, Prober, wait_for};

/// What serves on a node, and where.
struct Server {
    listener: TcpListener,
    /// Holds its namespace; `None`: it is a process of the node.
    _container: Option<Behind>,
}

impl Server {
    fn on(node: &Node) -> Self {
        let listen = || TcpListener::bind(("::", Behind::PORT)).expect("nobody else in this namespace");
        Self { listener: node.namespace().enter(listen), _container: None }
    }

    fn behind(node: &Node) -> Self {
        let container = Behind::start(node);
        let listen = || TcpListener::bind(("::", Behind::PORT)).expect("nobody else in this namespace");
        Self { listener: container.namespace().enter(listen), _container: Some(container) }
    }

    /// The client begins a download and has its first octet; the next one does not come.
    fn download(&self, client: &Node, address: &str) -> Download {
        let address: IpAddr = address.parse().expect("an address");
        let connect = || {
            TcpStream::connect_timeout(&SocketAddr::new(address, Behind::PORT), DEADLINE)
                .expect("the address has a holder that serves")
        };
        let mut client = client.namespace().enter(connect);
        let (mut server, _) = self.listener.accept().expect("a connection waits");
        server.write_all(b"x").expect("connected");
        client.set_read_timeout(Some(DEADLINE)).expect("not zero");
        client.read_exact(&mut [0]).expect("sent above");
        Download { client, server }
    }
}

/// Both ends of a connection on which the client only receives.
struct Download {
    client: TcpStream,
    server: TcpStream,
}

impl Download {
    /// Waits until the client learns that it is over.
    fn ends(mut self) {
        let error = self.client.read(&mut [0]).expect_err("nothing was sent");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        // What the server says next is nobody's.
        drop(self.server);
    }

    /// The next octet comes.
    fn goes_on(&mut self) {
        self.server.write_all(b"y").expect("connected");
        self.client.read_exact(&mut [0]).expect("it is on its way");
    }

    /// It has not, in the time that it is given.
    fn waits(&mut self, time: Duration) {
        self.client.set_read_timeout(Some(time)).expect("not zero");
        let error = self.client.read(&mut [0]).expect_err("nothing was sent");
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    }
}

/// Connections to `address` that the node still tracks as if they went on.
fn tracked(node: &Node, address: &str) -> Vec<String> {
    let list =
        || std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").expect("it tracks connections");
    let of_address = format!(" dst={address} ");
    let goes_on = |line: &&str| line.contains(&of_address) && line.contains("ESTABLISHED");
    node.namespace().enter(list).lines().filter(goes_on).map(str::to_owned).collect()
}

/// A client of this kind drops what its connection tracking takes for nonsense, as firewalld's and ufw's do.
fn strict_firewall(client: &Node) {
    client.namespace().nft(
        "table inet firewall {
           chain input {
             type filter hook input priority 0; policy drop
             ct state invalid drop
             ct state established,related accept
             meta l4proto { icmp, ipv6-icmp } accept
           }
         }",
    );
}

#[test]
fn who_downloads_from_a_container_learns_of_a_switchover_and_goes_on() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    let (before, after) = (Server::behind(&a), Server::behind(&b));
    let downloads = [(); 3].map(|()| before.download(lab.client(), VIP));
    assert_eq!(tracked(&a, VIP).len(), 3);
    let ordered = a.vrrpctl("switchover web");
    assert!(ordered.status.success(), "{}", String::from_utf8_lossy(&ordered.stderr));
    downloads.into_iter().for_each(Download::ends);
    after.download(lab.client(), VIP);

    assert_eq!(tracked(&a, VIP), [""; 0], "nothing is left that a return would find");
    let counted = wait_for("what became of them", DEADLINE, || {
        let state = a.state()?;
        (state["connections"]["told"] == 3).then(|| state["connections"].clone())
    });
    assert_eq!(counted["left_out"], 0, "{counted}");
    assert_eq!(counted["ended"], 0, "{counted}");
}

#[test]
fn a_stop_ends_downloads_of_both_kinds_and_over_ipv6() {
    let config = |node: &Node| {
        let priority = if node.name() == "a" { PRIMARY } else { SECONDARY };
        web(priority, &format!("extra_addresses = [\"{VIP6}\"]"))
    };
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::with(config) else { return };
    let process = Server::on(&a);
    let local = [VIP, VIP6].map(|address| process.download(lab.client(), address));
    // From here on new connections go to the containers, and those that there are go on.
    let (container, other_container) = (Server::behind(&a), Server::behind(&b));
    let mapped = [VIP, VIP6].map(|address| container.download(lab.client(), address));
    assert!(primary.terminate().success());
    local.into_iter().chain(mapped).for_each(Download::ends);
    for address in [VIP, VIP6] {
        other_container.download(lab.client(), address);
    }
}

#[test]
fn a_virtual_mac_address_that_is_silent_by_now_keeps_nobody_from_being_told() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::open("virtual_mac = true") else {
        return;
    };
    let process = Server::on(&a);
    let local = process.download(lab.client(), VIP);
    let (container, other_container) = (Server::behind(&a), Server::behind(&b));
    let mapped = container.download(lab.client(), VIP);
    assert!(primary.terminate().success());
    [local, mapped].into_iter().for_each(Download::ends);
    other_container.download(lab.client(), VIP);
}

#[test]
fn a_client_with_a_strict_firewall_is_told_as_well() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let (before, after) = (Server::behind(&a), Server::behind(&b));
    strict_firewall(lab.client());
    let download = before.download(lab.client(), VIP);
    assert!(primary.terminate().success());
    download.ends();
    after.download(lab.client(), VIP);
}

#[test]
fn who_downloads_from_a_container_goes_on_where_nobody_follows() {
    let Some(Pair { lab, a, b: _b, primary, secondary }) = Pair::open("") else { return };
    let container = Server::behind(&a);
    let mut download = container.download(lab.client(), VIP);
    assert!(secondary.terminate().success());
    assert!(primary.terminate().success());
    assert!(!a.has(VIP));
    download.goes_on();
    assert_eq!(tracked(&a, VIP).len(), 1);
}

#[test]
fn with_keepalived_a_client_of_a_container_goes_on_waiting() {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let primary = keepalived(&a, PRIMARY);
    let _secondary = keepalived(&b, SECONDARY);
    lab.wait_for_holder(VIP, "a");
    let (before, after) = (Server::behind(&a), Server::behind(&b));
    let mut download = before.download(lab.client(), VIP);
    assert!(primary.terminate().success());
    lab.settles_on(VIP, "b", 10);
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    after.download(lab.client(), VIP);
    download.waits(Duration::from_millis(100));
}
