//! Connections that end with their address.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use netlink::{Connections, Request, Requester};
use socket2::{Domain, Socket, Type};

use crate::namespace::{host, in_network_namespace, make, named};

const GOES: [&str; 2] = ["192.0.2.10", "2001:db8::10"];
/// More than it takes.
const LONG: Duration = Duration::from_secs(60);
const STAYS: [&str; 2] = ["192.0.2.11", "2001:db8::11"];

/// Both ends of a connection from one address to another.
fn connect(from: IpAddr, listener: &TcpListener, to: IpAddr) -> (TcpStream, TcpStream) {
    let socket = Socket::new(Domain::for_address((from, 0).into()), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("the address is ours");
    let port = listener.local_addr().expect("it is bound").port();
    // The kernel acknowledges an IPv6 address a moment before there is a route to it.
    let begun = Instant::now();
    while let Err(error) = socket.connect(&SocketAddr::from((to, port)).into()) {
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "somebody listens");
        assert!(begun.elapsed() < LONG, "there is no way to {to}");
    }
    let (server, _) = listener.accept().expect("a connection waits");
    let client = TcpStream::from(socket);
    // Only a fault waits so long.
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    (client, server)
}

#[test]
fn who_only_listens_learns_that_the_address_goes() {
    in_network_namespace("connections::who_only_listens_learns_that_the_address_goes", || {
        let mut requester = Requester::open().expect("sockets can be had");
        let link = named(&mut requester, "lo").index;
        make(&mut requester, &[Request::SetUp { link }]);
        for address in [GOES, STAYS].concat().into_iter().map(host) {
            make(
                &mut requester,
                &[Request::AddAddress { link, address, lifetime: None, options: Default::default() }],
            );
        }
        let mut connections = Connections::open().expect("sockets can be had");
        // The listener of both families takes IPv4 connections on IPv6 sockets.
        for listener in ["0.0.0.0:0", "[::]:0"].map(|address| TcpListener::bind(address).expect("free")) {
            let both = listener.local_addr().expect("it is bound").is_ipv6();
            for (goes, stays) in GOES.into_iter().zip(STAYS) {
                let [goes, stays]: [IpAddr; 2] = [goes, stays].map(|text| text.parse().expect("an address"));
                if goes.is_ipv6() && !both {
                    continue;
                }
                let (mut lost, _held) = connect(stays, &listener, goes);
                let (mut kept, mut other) = connect(stays, &listener, stays);
                assert_eq!(
                    connections.end(&[goes].into(), LONG).expect("allowed").ended.len(),
                    1,
                    "{goes} on {listener:?}"
                );
                let error = lost.read(&mut [0]).expect_err("ended");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{goes}");
                other.write_all(b"x").expect("stays");
                assert_eq!(kept.read(&mut [0]).expect("stays"), 1);
                assert_eq!(
                    connections.end(&[goes].into(), LONG).expect("allowed").ended.len(),
                    0,
                    "nothing is left, and who listens stays"
                );
            }
        }
    });
}

#[test]
fn more_connections_than_fit_in_one_call_are_ended() {
    in_network_namespace("connections::more_connections_than_fit_in_one_call_are_ended", || {
        let mut requester = Requester::open().expect("sockets can be had");
        let link = named(&mut requester, "lo").index;
        make(&mut requester, &[Request::SetUp { link }]);
        let [goes, stays] = [GOES[0], STAYS[0]].map(host);
        for address in [goes, stays] {
            make(
                &mut requester,
                &[Request::AddAddress { link, address, lifetime: None, options: Default::default() }],
            );
        }
        let listener = TcpListener::bind("0.0.0.0:0").expect("free");
        let pairs: Vec<_> = (0..300).map(|_| connect(stays.ip, &listener, goes.ip)).collect();
        let mut connections = Connections::open().expect("sockets can be had");
        assert_eq!(connections.end(&[goes.ip].into(), LONG).expect("allowed").ended.len(), pairs.len());
        assert_eq!(connections.end(&[goes.ip].into(), LONG).expect("allowed").ended.len(), 0);
    });
}

#[test]
fn the_connections_of_many_addresses_are_found_together() {
    in_network_namespace("connections::the_connections_of_many_addresses_are_found_together", || {
        let mut requester = Requester::open().expect("sockets can be had");
        let link = named(&mut requester, "lo").index;
        make(&mut requester, &[Request::SetUp { link }]);
        // Of either family, with one among them that stays.
        let all: Vec<IpAddr> = (1..=40)
            .flat_map(|n| {
                let [four, six] = [format!("192.0.2.{}", 5 * n), format!("2001:db8::{:x}", 5 * n)];
                [four, six].map(|text| text.parse().expect("an address"))
            })
            .collect();
        let additions: Vec<Request> =
            all.iter().map(|ip| Request::AddPlainAddress { link, address: host(&ip.to_string()) }).collect();
        make(&mut requester, &additions);
        let stays: [IpAddr; 2] =
            ["192.0.2.100", "2001:db8::64"].map(|text| text.parse().expect("an address"));
        let goes: BTreeSet<IpAddr> = all.iter().copied().filter(|ip| !stays.contains(ip)).collect();
        let listener = TcpListener::bind("[::]:0").expect("free");
        let pairs: Vec<_> =
            all.iter().map(|&to| connect(stays[usize::from(to.is_ipv6())], &listener, to)).collect();
        let mut connections = Connections::open().expect("sockets can be had");
        let ended: BTreeSet<IpAddr> =
            connections.end(&goes, LONG).expect("allowed").ended.iter().map(SocketAddr::ip).collect();
        assert_eq!(ended, goes);
        for (to, (mut client, _held)) in all.into_iter().zip(pairs) {
            client.set_nonblocking(true).expect("a socket");
            let error = client.read(&mut [0]).expect_err("ended, or nothing was said");
            let expected =
                if goes.contains(&to) { ErrorKind::ConnectionReset } else { ErrorKind::WouldBlock };
            assert_eq!(error.kind(), expected, "{to}");
        }
    });
}

#[test]
fn an_address_does_not_wait_for_all_of_its_connections() {
    in_network_namespace("connections::an_address_does_not_wait_for_all_of_its_connections", || {
        let mut requester = Requester::open().expect("sockets can be had");
        let link = named(&mut requester, "lo").index;
        make(&mut requester, &[Request::SetUp { link }]);
        make(
            &mut requester,
            &[Request::AddAddress {
                link,
                address: host(GOES[0]),
                lifetime: None,
                options: Default::default(),
            }],
        );
        let goes = GOES[0].parse().expect("an address");
        let mut connections = Connections::open().expect("sockets can be had");
        let listener = TcpListener::bind((goes, 0)).expect("free");
        // Both ends of each are on our side.
        let held: Vec<_> = (0..200).map(|_| connect(goes, &listener, goes)).collect();
        let ended = connections.end(&[goes].into(), Duration::ZERO).expect("allowed");
        assert_eq!(ended.ended.len() + ended.left.len(), 400, "what was left is named");
        assert!(ended.left.iter().all(|(ours, _)| ours.ip() == goes));
        let ended = ended.ended.len();
        assert!((1..400).contains(&ended), "{ended} of 400 in no time");
        connections.end(&[goes].into(), LONG).expect("allowed");
        assert_eq!(
            connections.end(&[goes].into(), LONG).expect("allowed").ended.len(),
            0,
            "the rest is as before"
        );
        drop(held);
    });
}
