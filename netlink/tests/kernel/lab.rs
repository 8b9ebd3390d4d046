//! The verbs that a lab is built with.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;

use netlink::{Netns, Request, Requester};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use crate::namespace::{host, in_network_namespace, make, named, perform};

#[test]
fn two_nodes_on_a_bridge() {
    in_network_namespace("lab::two_nodes_on_a_bridge", || {
        let mut switch = Requester::open().expect("sockets can be had");
        make(&mut switch, &[Request::AddBridge { name: "br".into() }]);
        let bridge = named(&mut switch, "br");
        assert_eq!(bridge.kind.as_deref(), Some("bridge"));
        let mut nodes = [Node::start(), Node::start()];
        for (number, node) in (1..).zip(&mut nodes) {
            let name = format!("port{number}");
            let netns = Some(Netns::Fd(node.netns.as_raw_fd()));
            let pair = Request::AddVeth { name: name.clone(), peer_name: "eth0".into(), peer_netns: netns };
            make(&mut switch, &[pair]);
            let port = named(&mut switch, &name).index;
            let controller = Some(bridge.index);
            make(
                &mut switch,
                &[Request::SetController { link: port, controller }, Request::SetUp { link: port }],
            );
            assert_eq!(named(&mut switch, &name).controller, controller);

            let eth0 = named(&mut node.requester, "eth0").index;
            let ip = format!("192.0.2.{number}");
            make(
                &mut node.requester,
                &[
                    Request::SetMac { link: eth0, mac: [2, 0, 0, 0, 0, number] },
                    Request::AddPlainAddress { link: eth0, address: host(&ip) },
                    Request::SetUp { link: eth0 },
                ],
            );
            let eth0 = named(&mut node.requester, "eth0");
            assert!(eth0.carrier, "both ends are up");
            assert_eq!(eth0.mac, Some([2, 0, 0, 0, 0, number]));
        }
        make(&mut switch, &[Request::SetUp { link: bridge.index }]);
        assert!(named(&mut switch, "br").carrier, "it has ports");

        let port = named(&mut switch, "port1").index;
        make(&mut switch, &[Request::SetDown { link: port }]);
        let eth0 = named(&mut nodes[0].requester, "eth0");
        assert!(eth0.up && !eth0.carrier, "the cable is pulled");
        make(&mut switch, &[Request::RemoveLink { link: port }]);
        let links = nodes[0].requester.links().expect("can be listed");
        assert!(links.iter().all(|link| link.name != "eth0"), "both ends go");
    });
}

#[test]
fn a_link_moves_to_another_namespace_by_process() {
    in_network_namespace("lab::a_link_moves_to_another_namespace_by_process", || {
        let mut here = Requester::open().expect("sockets can be had");
        let mut there = Node::start();
        make(&mut here, &[Request::AddVeth { name: "a".into(), peer_name: "b".into(), peer_netns: None }]);
        let link = named(&mut here, "b").index;
        make(&mut here, &[Request::MoveToNetns { link, netns: Netns::Pid(there.thread_id) }]);
        assert!(here.links().expect("can be listed").iter().all(|link| link.name != "b"));
        assert!(!named(&mut there.requester, "b").up, "arrives down");
    });
}

#[test]
fn a_name_that_is_taken_is_an_error() {
    in_network_namespace("lab::a_name_that_is_taken_is_an_error", || {
        let mut requester = Requester::open().expect("sockets can be had");
        let bridge = Request::AddBridge { name: "br".into() };
        make(&mut requester, std::slice::from_ref(&bridge));
        let pair = Request::AddVeth { name: "br".into(), peer_name: "b".into(), peer_netns: None };
        for request in [bridge, pair] {
            let error = perform(&mut requester, request).expect_err("is taken");
            assert_eq!(error.errno(), Some(Errno::EEXIST as i32));
            assert!(error.to_string().ends_with("remove what is there, or choose another name"), "{error}");
        }
    });
}

/// A namespace, kept by a thread in it.
struct Node {
    netns: File,
    requester: Requester,
    thread_id: u32,
    /// The thread ends when it is dropped.
    _end: mpsc::Sender<()>,
}

impl Node {
    fn start() -> Self {
        let (end, ended) = mpsc::channel::<()>();
        let (ready, made) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("has worked for the test's own namespace");
            let netns = File::open("/proc/thread-self/ns/net").expect("/proc is mounted");
            let requester = Requester::open().expect("sockets can be had");
            let thread_id = u32::try_from(gettid().as_raw()).expect("positive");
            ready.send((netns, requester, thread_id)).expect("the test waits for it");
            let _ = ended.recv();
        });
        let (netns, requester, thread_id) = made.recv().expect("the thread sends it or has panicked");
        Self { netns, requester, thread_id, _end: end }
    }
}
