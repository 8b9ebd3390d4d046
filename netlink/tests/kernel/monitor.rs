//! What the monitor reports, and what the table makes of it.

use std::os::fd::AsFd;

use netlink::{Address, Event, Monitor, Request, Requester, Table};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use crate::namespace::{drain, host, in_network_namespace, make, named, with_veth};

#[test]
fn events_tell_whose_request_caused_them() {
    in_network_namespace("monitor::events_tell_whose_request_caused_them", || {
        let (mut ours, link) = with_veth();
        let mut foreign = Requester::open().expect("sockets can be had");
        assert_ne!(ours.port(), foreign.port());
        let mut monitor = Monitor::open().expect("sockets can be had");
        for address in ["192.0.2.10", "192.0.2.11"].map(host) {
            make(
                &mut ours,
                &[Request::AddAddress { link, address, lifetime: Some(60), options: Default::default() }],
            );
            assert_eq!(next_about(&mut monitor, address), (true, ours.port()));
            make(
                &mut ours,
                &[Request::RenewAddress { link, address, lifetime: Some(60), options: Default::default() }],
            );
            assert_eq!(next_about(&mut monitor, address), (true, ours.port()));
            make(&mut foreign, &[Request::RemoveAddress { link, address }]);
            assert_eq!(next_about(&mut monitor, address), (false, foreign.port()));
        }
    });
}

#[test]
fn additions_of_a_port_that_is_ignored_are_not_told_and_everything_else_is() {
    let name = "monitor::additions_of_a_port_that_is_ignored_are_not_told_and_everything_else_is";
    in_network_namespace(name, || {
        let (mut ours, link) = with_veth();
        let mut foreign = Requester::open().expect("sockets can be had");
        let mut monitor = Monitor::open().expect("sockets can be had");
        monitor.ignore_additions_by(ours.port()).expect("a filter");
        let [unseen, seen] = ["192.0.2.10", "192.0.2.11"].map(host);
        make(
            &mut ours,
            &[Request::AddAddress { link, address: unseen, lifetime: Some(60), options: Default::default() }],
        );
        make(
            &mut ours,
            &[Request::RenewAddress {
                link,
                address: unseen,
                lifetime: Some(60),
                options: Default::default(),
            }],
        );
        make(
            &mut foreign,
            &[Request::AddAddress { link, address: seen, lifetime: Some(60), options: Default::default() }],
        );
        make(&mut ours, &[Request::RemoveAddress { link, address: unseen }]);
        let waiting = std::iter::from_fn(|| monitor.next().expect("the kernel makes sense"));
        let told: Vec<(Address, bool)> = waiting
            .filter_map(|event| match event {
                Event::AddressChanged { entry, .. } => Some((entry.address, true)),
                Event::AddressGone { entry, .. } => Some((entry.address, false)),
                _ => None,
            })
            .filter(|(address, _)| [unseen, seen].contains(address))
            .collect();
        assert_eq!(told, [(seen, true), (unseen, false)]);
    });
}

#[test]
fn links_come_change_and_go() {
    in_network_namespace("monitor::links_come_change_and_go", || {
        let mut monitor = Monitor::open().expect("sockets can be had");
        assert_eq!(monitor.next().expect("makes sense"), None, "and does not wait");
        let (mut requester, a) = with_veth();
        let mut table = Table::new();
        follow(&mut monitor, &mut table, |table| table.link(a).is_some_and(|link| link.carrier));
        let link = table.link_by_name("a").expect("is in the table");
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert!(link.up && link.mac.is_some());

        let b = table.link_by_name("b").expect("is in the table").index;
        make(&mut requester, &[Request::SetDown { link: b }]);
        follow(&mut monitor, &mut table, |table| table.link(a).is_some_and(|link| link.up && !link.carrier));
        make(&mut requester, &[Request::SetMac { link: a, mac: [2, 0, 0, 0, 0, 9] }]);
        follow(&mut monitor, &mut table, |table| {
            table.link(a).is_some_and(|link| link.mac == Some([2, 0, 0, 0, 0, 9]))
        });
        make(&mut requester, &[Request::RemoveLink { link: a }]);
        follow(&mut monitor, &mut table, |table| table.link(a).is_none() && table.link(b).is_none());
    });
}

#[test]
fn a_port_that_leaves_its_bridge_stays_in_the_table() {
    in_network_namespace("monitor::a_port_that_leaves_its_bridge_stays_in_the_table", || {
        let (mut requester, a) = with_veth();
        make(&mut requester, &[Request::AddBridge { name: "br".into() }]);
        let bridge = named(&mut requester, "br").index;
        make(&mut requester, &[Request::SetController { link: a, controller: Some(bridge) }]);
        let mut monitor = Monitor::open().expect("sockets can be had");
        let mut table = listed(&mut requester);
        make(&mut requester, &[Request::SetController { link: a, controller: None }]);
        while let Some(event) = monitor.next().expect("makes sense") {
            assert!(!matches!(event, Event::LinkGone { .. }), "{event:?}");
            table.apply(&event);
        }
        assert_eq!(table.link(a).expect("lives on").controller, None);
    });
}

#[test]
fn a_table_that_follows_events_is_like_one_that_was_listed() {
    in_network_namespace("monitor::a_table_that_follows_events_is_like_one_that_was_listed", || {
        let (mut requester, link) = with_veth();
        let mut monitor = Monitor::open().expect("sockets can be had");
        let mut table = listed(&mut requester);
        let subnet = |ip: &str| Address { prefix_len: 24, ..host(ip) };
        for address in [
            subnet("192.0.2.1"),
            subnet("192.0.2.2"),
            host("192.0.2.10"),
            subnet("198.51.100.1"),
            subnet("192.0.2.3"),
            host("2001:db8::1"),
            host("2001:db8::2"),
            host("fe80::9"),
        ] {
            make(&mut requester, &[Request::AddPlainAddress { link, address }]);
        }
        let same_order = |table: &Table, requester: &mut Requester| {
            let keys = |table: &Table| -> Vec<_> {
                table.addresses_of(link).map(|entry| (entry.address, entry.secondary)).collect()
            };
            let listed = listed(requester);
            assert_eq!(keys(table), keys(&listed));
        };
        follow(&mut monitor, &mut table, |table| table.address(link, host("fe80::9")).is_some());
        same_order(&table, &mut requester);
        // Takes the secondary addresses of its subnet along.
        make(&mut requester, &[Request::RemoveAddress { link, address: subnet("192.0.2.1") }]);
        follow(&mut monitor, &mut table, |table| table.address(link, subnet("192.0.2.1")).is_none());
        same_order(&table, &mut requester);
    });
}

#[test]
fn after_an_overrun_the_list_tells_what_was_missed() {
    in_network_namespace("monitor::after_an_overrun_the_list_tells_what_was_missed", || {
        let (mut requester, link) = with_veth();
        let kept = host("192.0.2.1");
        let removed = host("192.0.2.2");
        for address in [kept, removed] {
            make(
                &mut requester,
                &[Request::AddAddress { link, address, lifetime: Some(1000), options: Default::default() }],
            );
        }
        let mut monitor = Monitor::open().expect("sockets can be had");
        let mut table = listed(&mut requester);
        drain(&mut monitor);

        // The kernel rounds it up to a few events.
        setsockopt(&monitor, sockopt::RcvBuf, &1).expect("anybody may have less");
        let address = |number: u8| Address::host([198, 51, 100, number].into());
        make(&mut requester, &[Request::RemoveAddress { link, address: removed }]);
        make(
            &mut requester,
            &[Request::RenewAddress {
                link,
                address: kept,
                lifetime: Some(2000),
                options: Default::default(),
            }],
        );
        let additions: Vec<Request> = (0..200)
            .map(|number| Request::AddAddress {
                link,
                address: address(number),
                lifetime: None,
                options: Default::default(),
            })
            .collect();
        make(&mut requester, &additions);
        assert_eq!(monitor.next().expect("makes sense"), Some(Event::Overrun), "before all else");
        setsockopt(&monitor, sockopt::RcvBuf, &200_000).expect("is below the system's limit");
        while let Some(event) = monitor.next().expect("makes sense") {
            // The kernel announces carrier from a worker of its own, at any time.
            assert!(matches!(event, Event::LinkChanged(_)), "{event:?} is older than the list to come");
        }

        let (links, addresses) = (requester.links(), requester.addresses());
        let events = table.replace(links.expect("can be listed"), addresses.expect("can be listed"));
        let about = |event: &Event| match event {
            Event::AddressChanged { entry, port: 0 } => (true, entry.address),
            Event::AddressGone { entry, port: 0 } => (false, entry.address),
            other => panic!("{other:?} has not happened"),
        };
        let mut expected = vec![(false, removed)];
        expected.extend((0..200).map(|number| (true, address(number))));
        assert_eq!(events.iter().map(about).collect::<Vec<_>>(), expected);

        make(&mut requester, &[Request::RemoveAddress { link, address: kept }]);
        assert_eq!(next_about(&mut monitor, kept), (false, requester.port()), "hears again");
    });
}

/// Waits for the next event about that address: whether it is there, and who asked for it.
fn next_about(monitor: &mut Monitor, address: Address) -> (bool, u32) {
    loop {
        match wait(monitor) {
            Event::AddressChanged { entry, port } if entry.address == address => return (true, port),
            Event::AddressGone { entry, port } if entry.address == address => return (false, port),
            Event::Overrun => panic!("the buffer is large enough"),
            _ => (),
        }
    }
}

/// Enters events until the table is as expected.
fn follow(monitor: &mut Monitor, table: &mut Table, done: impl Fn(&Table) -> bool) {
    while !done(table) {
        table.apply(&wait(monitor));
    }
    while let Some(event) = monitor.next().expect("makes sense") {
        table.apply(&event);
    }
    assert!(done(table), "and stays so");
}

fn wait(monitor: &mut Monitor) -> Event {
    loop {
        if let Some(event) = monitor.next().expect("makes sense") {
            return event;
        }
        let mut files = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut files, PollTimeout::from(10_000_u16)).expect("poll works");
        assert_eq!(ready, 1, "no event came");
    }
}

fn listed(requester: &mut Requester) -> Table {
    let mut table = Table::new();
    let (links, addresses) = (requester.links(), requester.addresses());
    table.replace(links.expect("can be listed"), addresses.expect("can be listed"));
    table
}

#[test]
fn an_expired_address_is_gone_by_nobody() {
    in_network_namespace("monitor::an_expired_address_is_gone_by_nobody", || {
        let (mut requester, link) = with_veth();
        let mut monitor = Monitor::open().expect("sockets can be had");
        let address = host("192.0.2.10");
        make(
            &mut requester,
            &[Request::AddAddress { link, address, lifetime: Some(1), options: Default::default() }],
        );
        assert_eq!(next_about(&mut monitor, address), (true, requester.port()));
        assert_eq!(next_about(&mut monitor, address), (false, 0));
    });
}
