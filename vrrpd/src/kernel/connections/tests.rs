//! What leaves for whom, in a network namespace.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use netlink::Requester;
use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::kernel::tests::in_network_namespace;

const SERVER: &str = "192.0.2.201:443";

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2 is there");
    assert!(done.success(), "ip {arguments}");
}

fn link(name: &str) -> LinkIndex {
    let links = Requester::open().expect("sockets can be had").links().expect("a list");
    links.iter().find(|link| link.name == name).expect("made above").index
}

/// Two veth pairs; 192.0.2.9 and the router 192.0.2.1 are known on the first.
fn lab() {
    for (one, other) in [("eth0", "eth1"), ("eth2", "eth3")] {
        ip(&format!("link add {one} type veth peer name {other}"));
        ip(&format!("link set {other} up"));
        ip(&format!("link set {one} up"));
    }
    ip("address add 192.0.2.193/24 dev eth0");
    ip("route add 203.0.113.0/24 via 192.0.2.1");
    ip("neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0");
    ip("neighbour add 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0");
}

/// Hears all IPv4 that comes out of a link.
fn listen(name: &str) -> Socket {
    let all = Protocol::from(i32::from(u16::try_from(libc::ETH_P_IP).expect("an EtherType").to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(all)).expect("CAP_NET_RAW");
    let family = vrrp_proto::Family::Ipv4;
    socket.bind(&crate::net::station_address(link(name).get(), family, &[])).expect("it is there");
    socket
}

/// The frames that carry TCP.
fn heard(socket: &Socket) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut frame = [0; 2048];
    while let Ok(length) = std::io::Read::read(&mut &*socket, &mut frame) {
        frames.push(frame[..length].to_vec());
    }
    frames.retain(|frame| frame.get(23) == Some(&6));
    frames
}

fn farewell(clients: &[&str]) -> Farewell {
    let ends = |client: &&str| (address(SERVER), address(client));
    let left = clients.iter().map(ends).collect();
    Farewell { addresses: BTreeSet::from([address(SERVER).ip()]), left, below: BTreeMap::new() }
}

/// What is left to do after that, and what was done.
fn tell(gone: Farewell) -> (Duties, Told) {
    let mut duties = Duties::default();
    duties.note(Order::Tell(gone));
    let told = duties.perform(false);
    (duties, told)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Both frames to a client behind the station whose MAC address ends so.
fn expected(client: &str, station: u8) -> [Vec<u8>; 2] {
    let packets = tickle::packets(address(SERVER), address(client)).expect("of one family");
    packets.map(|packet| [&[2, 0, 0, 0, 0, station][..], &packet].concat())
}

/// The sender's address and the type, which are the link's, left out.
fn stripped(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| [&frame[..6], &frame[14..]].concat()).collect()
}

#[test]
fn clients_are_told_by_the_way_that_leads_to_them_and_the_others_counted() {
    in_network_namespace(|| {
        lab();
        let wire = listen("eth1");
        let clients = [
            "192.0.2.9:50000",
            "203.0.113.9:50001",
            "192.0.2.77:50002",
            "198.51.100.9:50003",
            "192.0.2.193:4",
        ];
        let (mut duties, told) = tell(farewell(&clients));
        let frames = [expected("192.0.2.9:50000", 9), expected("203.0.113.9:50001", 1)].concat();
        assert_eq!(stripped(heard(&wire)), frames);
        assert_eq!((told.connections, told.left_out), (2, 2), "one is here, and finds out by itself");
        let troubles: Vec<&str> = told.troubles.iter().map(String::as_str).collect();
        assert_eq!(
            troubles,
            ["there is no route to some clients", "this host knows no MAC address of some clients any more"]
        );

        duties.note(Order::Keep(BTreeSet::from([address("192.0.2.202:1").ip()])));
        duties.again.send();
        assert_eq!(stripped(heard(&wire)), frames, "once more");
        duties.again.send();
        assert!(heard(&wire).is_empty(), "and no more");
    });
}

#[test]
fn nobody_is_told_once_more_of_an_address_that_is_here_again() {
    in_network_namespace(|| {
        lab();
        let wire = listen("eth1");
        let (mut duties, _) = tell(farewell(&["192.0.2.9:50000"]));
        assert_eq!(heard(&wire).len(), 2);
        assert!(duties.due().is_some());
        duties.note(Order::Keep(BTreeSet::from([address(SERVER).ip()])));
        duties.again.send();
        assert!(heard(&wire).is_empty());

        duties.note(Order::Tell(farewell(&["192.0.2.9:50000"])));
        duties.note(Order::Keep(BTreeSet::from([address(SERVER).ip()])));
        assert_eq!(duties.perform(true), Told::default());
        assert!(heard(&wire).is_empty());
    });
}

#[test]
fn nothing_leaves_by_a_device_whose_mac_address_is_another_nodes_now() {
    in_network_namespace(|| {
        lab();
        let (device, parent) = (listen("eth1"), listen("eth3"));
        let below = BTreeMap::from([(link("eth0"), link("eth2"))]);
        let (_, told) = tell(Farewell { below, ..farewell(&["192.0.2.9:50000"]) });
        assert_eq!(told.connections, 1);
        assert!(heard(&device).is_empty());
        assert_eq!(stripped(heard(&parent)), expected("192.0.2.9:50000", 9));
    });
}

/// Connections to [`SERVER`] that the host tracks: their clients' ports.
fn tracked() -> Vec<u16> {
    let flows = found::tracked(&BTreeSet::from([address(SERVER).ip()])).flows;
    flows.iter().map(|flow| flow.client.port()).collect()
}

/// [`SERVER`] is mapped to the listener.
fn map_server() -> TcpListener {
    ip("link set lo up");
    ["192.0.2.201", "192.0.2.202"].iter().for_each(|address| ip(&format!("address add {address}/32 dev lo")));
    let rules = "table ip t {
        chain o { type nat hook output priority -100; ip daddr 192.0.2.201 tcp dport 443 dnat to 192.0.2.202:8443; }
    }";
    let done = Command::new("nft").arg(rules).status().expect("nftables is there");
    assert!(done.success(), "{rules}");
    TcpListener::bind("192.0.2.202:8443").expect("nobody else is here")
}

/// Both ends of a connection to [`SERVER`], and the client's port.
fn connect(listener: &TcpListener) -> (TcpStream, TcpStream, u16) {
    let client = TcpStream::connect(SERVER).expect("it is mapped");
    let port = client.local_addr().expect("connected").port();
    (client, listener.accept().expect("a connection waits").0, port)
}

#[test]
fn who_was_found_before_the_address_went_is_told_before_the_kernel_is_asked_again() {
    in_network_namespace(|| {
        let listener = map_server();
        let (_client, _server, before) = connect(&listener);
        let mut duties = Duties::default();
        duties.note(Order::Look(BTreeSet::from([address(SERVER).ip()])));
        assert_eq!(duties.perform(false), Told::default());
        let (_other_client, _other_server, since) = connect(&listener);
        assert_eq!(BTreeSet::from_iter(tracked()), BTreeSet::from([before, since]));

        let mut told = Told::default();
        duties.note(Order::Tell(farewell(&[])));
        duties.tell_found(&mut told);
        assert_eq!(tracked(), [since], "a list would have shown both");
        assert!(duties.due().is_some());
        duties.tell_rest(&mut told);
        assert!(tracked().is_empty());
        assert_eq!(
            (duties.due(), told),
            (None, Told::default()),
            "both are here, and find out by themselves"
        );
    });
}

#[test]
fn what_was_found_is_for_the_tenure_that_ends() {
    in_network_namespace(|| {
        let addresses = BTreeSet::from([address(SERVER).ip()]);
        let now = Instant::now();
        let found = || {
            let mut duties = Duties::default();
            duties.found.look(addresses.clone(), now);
            duties
        };
        assert_eq!(found().found.take(&addresses, now + found::FRESH - MOMENT).0, addresses);
        assert_eq!(
            found().found.take(&addresses, now + found::FRESH).0,
            BTreeSet::new(),
            "from an earlier one"
        );
        let mut kept = found();
        kept.note(Order::Keep(addresses.clone()));
        assert_eq!(kept.found.take(&addresses, now).0, BTreeSet::new(), "it goes on");
        kept.note(Order::Look(addresses.clone()));
        kept.note(Order::Tell(farewell(&[])));
        assert!(kept.look.is_empty(), "too late to look first");
    });
}

#[test]
fn more_connections_than_there_is_room_for_are_counted() {
    in_network_namespace(|| {
        lab();
        let mut gone = farewell(&[]);
        let client = |number: usize| u16::try_from(number).expect("a port");
        gone.left = (0..MOST + 3).map(|n| (address(SERVER), ([192, 0, 2, 9], client(n)).into())).collect();
        let (_, told) = tell(gone);
        assert_eq!(told.connections + told.left_out, MOST + 3);
        assert!(told.left_out >= 3 && !told.troubles.is_empty(), "{told:?}");
    });
}

#[test]
fn the_thread_does_what_it_was_asked_for_before_it_ends() {
    in_network_namespace(|| {
        lab();
        let wire = listen("eth1");
        let (notes, mut noted) = tokio::sync::mpsc::unbounded_channel();
        let teller = Teller::start(notes).expect("a thread to spare");
        for client in ["192.0.2.9:50000", "192.0.2.9:50001"] {
            teller.orders.send(Order::Tell(farewell(&[client]))).expect("it is there");
        }
        teller.finish();
        assert_eq!(heard(&wire).len(), 4);
        let mut connections = 0;
        while let Ok(Note::Told(told)) = noted.try_recv() {
            connections += told.connections;
        }
        assert_eq!(connections, 2);
    });
}
