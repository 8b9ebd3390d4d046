//! What leaves for whom, in a network namespace.

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
        let (sent, told) = farewell(&clients).tell();
        let frames = [expected("192.0.2.9:50000", 9), expected("203.0.113.9:50001", 1)].concat();
        assert_eq!(stripped(heard(&wire)), frames);
        assert_eq!((told.connections, told.left_out), (2, 2), "one is here, and finds out by itself");
        let troubles: Vec<&str> = told.troubles.iter().map(String::as_str).collect();
        assert_eq!(
            troubles,
            ["there is no route to some clients", "this host knows no MAC address of some clients any more"]
        );

        let mut again = Again::default();
        again.add(sent);
        again.keep(&BTreeSet::from([address("192.0.2.202:1").ip()]));
        again.send();
        assert_eq!(stripped(heard(&wire)), frames, "once more");
        again.send();
        assert!(heard(&wire).is_empty(), "and no more");
    });
}

#[test]
fn nobody_is_told_once_more_of_an_address_that_is_here_again() {
    in_network_namespace(|| {
        lab();
        let wire = listen("eth1");
        let (sent, _) = farewell(&["192.0.2.9:50000"]).tell();
        assert_eq!(heard(&wire).len(), 2);
        let mut again = Again::default();
        again.add(sent);
        assert!(again.at.is_some());
        again.keep(&BTreeSet::from([address(SERVER).ip()]));
        again.send();
        assert!(heard(&wire).is_empty());

        let mut gone = farewell(&["192.0.2.9:50000"]);
        gone.keep(&BTreeSet::from([address(SERVER).ip()]));
        assert!(gone.addresses.is_empty() && gone.left.is_empty());
    });
}

#[test]
fn nothing_leaves_by_a_device_whose_mac_address_is_another_nodes_now() {
    in_network_namespace(|| {
        lab();
        let (device, parent) = (listen("eth1"), listen("eth3"));
        let below = BTreeMap::from([(link("eth0"), link("eth2"))]);
        let (_, told) = Farewell { below, ..farewell(&["192.0.2.9:50000"]) }.tell();
        assert_eq!(told.connections, 1);
        assert!(heard(&device).is_empty());
        assert_eq!(stripped(heard(&parent)), expected("192.0.2.9:50000", 9));
    });
}

#[test]
fn more_connections_than_there_is_room_for_are_counted() {
    in_network_namespace(|| {
        lab();
        let mut gone = farewell(&[]);
        let client = |number: usize| u16::try_from(number).expect("a port");
        gone.left = (0..MOST + 3).map(|n| (address(SERVER), ([192, 0, 2, 9], client(n)).into())).collect();
        let (_, told) = gone.tell();
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
