//! Adding, renewing, removing.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use caps::CapSet;
use netlink::{
    Address, AddressEntry, AddressOptions, Change, Error, Lifetime, LinkIndex, Request, Requester, Scope,
};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use crate::namespace::{addresses, host, in_network_namespace, make, perform, with_veth};

/// One address of each family.
const ADDRESSES: [&str; 2] = ["192.0.2.10", "2001:db8::10"];

#[test]
fn a_verb_that_is_already_true_has_succeeded() {
    in_network_namespace("addresses::a_verb_that_is_already_true_has_succeeded", || {
        let (mut requester, link) = with_veth();
        for address in ADDRESSES.map(host) {
            let add = Request::AddAddress { link, address, lifetime: None, options: Default::default() };
            let remove = Request::RemoveAddress { link, address };
            for expected in [Change::Made, Change::Unchanged] {
                assert_eq!(perform(&mut requester, add.clone()).expect("is allowed"), expected);
                assert_eq!(addresses(&mut requester, link).len(), 1);
            }
            for expected in [Change::Made, Change::Unchanged] {
                assert_eq!(perform(&mut requester, remove.clone()).expect("is allowed"), expected);
                assert_eq!(addresses(&mut requester, link), []);
            }
        }
    });
}

#[test]
fn to_remove_from_a_link_that_is_gone_changes_nothing() {
    in_network_namespace("addresses::to_remove_from_a_link_that_is_gone_changes_nothing", || {
        let (mut requester, link) = with_veth();
        let removals = ADDRESSES.map(host).map(|address| Request::RemoveAddress { link, address });
        make(&mut requester, &[Request::RemoveLink { link }]);
        for removal in removals {
            assert_eq!(perform(&mut requester, removal).expect("is true"), Change::Unchanged);
        }
        let again = perform(&mut requester, Request::RemoveLink { link });
        assert_eq!(again.expect("is true"), Change::Unchanged);
    });
}

#[test]
fn an_address_is_added_and_renewed_with_its_options() {
    in_network_namespace("addresses::an_address_is_added_and_renewed_with_its_options", || {
        let (mut requester, link) = with_veth();
        let ipv4 = AddressOptions { label: Some("a:vip".into()), scope: Scope::Link, ..Default::default() };
        let ipv6 = AddressOptions { preferred: true, ..Default::default() };
        for (ip, options) in [("192.0.2.10", ipv4), ("2001:db8::10", ipv6)] {
            let (address, lifetime) = (host(ip), Some(60));
            make(
                &mut requester,
                &[
                    Request::AddAddress { link, address, lifetime, options: options.clone() },
                    Request::RenewAddress { link, address, lifetime, options: options.clone() },
                ],
            );
            let entries = addresses(&mut requester, link);
            let [.., entry] = &entries[..] else { panic!("{ip} is there") };
            assert_eq!((entry.address, entry.scope), (address, options.scope));
            assert_eq!((entry.valid, entry.preferred), (Lifetime::Seconds(60), Lifetime::Seconds(60)));
            let deprecated = AddressOptions { preferred: false, ..options };
            make(&mut requester, &[Request::RenewAddress { link, address, lifetime, options: deprecated }]);
            let entries = addresses(&mut requester, link);
            assert_eq!(entries.last().map(|entry| entry.deprecated), Some(address.ip.is_ipv6()));
        }
    });
}

#[test]
fn our_addresses_are_marked_and_foreign_ones_are_not() {
    in_network_namespace("addresses::our_addresses_are_marked_and_foreign_ones_are_not", || {
        let (mut requester, link) = with_veth();
        for (ours, foreign) in [("192.0.2.10", "192.0.2.11"), ("2001:db8::10", "2001:db8::11")] {
            let (ours, foreign) = (host(ours), host(foreign));
            make(&mut requester, &[Request::AddPlainAddress { link, address: foreign }]);
            make(
                &mut requester,
                &[Request::AddAddress { link, address: ours, lifetime: None, options: Default::default() }],
            );
            let again =
                Request::AddAddress { link, address: foreign, lifetime: None, options: Default::default() };
            assert_eq!(perform(&mut requester, again).expect("is there"), Change::Unchanged);

            let entries = addresses(&mut requester, link);
            let is_ours = |address: Address| {
                entries.iter().find(|entry| entry.address == address).expect("was added").is_ours()
            };
            assert!(is_ours(ours) || before(5, 18), "carries the mark");
            assert!(!is_ours(foreign), "to add it again has not made it ours");
        }
    });
}

#[test]
fn an_ipv6_address_is_in_use_at_once_and_never_a_source() {
    in_network_namespace("addresses::an_ipv6_address_is_in_use_at_once_and_never_a_source", || {
        let (mut requester, link) = with_veth();
        for lifetime in [None, Some(30)] {
            let address = host("2001:db8::10");
            make(
                &mut requester,
                &[Request::AddAddress { link, address, lifetime, options: Default::default() }],
            );
            let entries = addresses(&mut requester, link);
            assert!(!entries[0].tentative, "no duplicate address detection");
            assert!(entries[0].deprecated, "not preferred");
            assert_eq!(entries[0].preferred, Lifetime::Seconds(0));
            make(&mut requester, &[Request::RemoveAddress { link, address }]);
        }
    });
}

#[test]
fn an_ipv6_host_leaves_no_route_behind() {
    in_network_namespace("addresses::an_ipv6_host_leaves_no_route_behind", || {
        let (mut requester, link) = with_veth();
        let routes = || {
            let listed = Command::new("ip").args(["-6", "route", "show", "table", "all"]).output();
            String::from_utf8_lossy(&listed.expect("iproute2 is installed").stdout).contains("2001:db8::10")
        };
        let address = host("2001:db8::10");
        make(
            &mut requester,
            &[Request::AddAddress { link, address, lifetime: Some(100), options: Default::default() }],
        );
        make(
            &mut requester,
            &[Request::RenewAddress { link, address, lifetime: Some(100), options: Default::default() }],
        );
        // The kernel acknowledges an IPv6 address a moment before there is a route to it.
        let begun = Instant::now();
        while !routes() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the kernel delivers what is sent to it");
        }
        make(&mut requester, &[Request::RemoveAddress { link, address }]);
        assert!(!routes());
    });
}

#[test]
fn renewing_sets_the_lifetime_and_keeps_the_mark() {
    in_network_namespace("addresses::renewing_sets_the_lifetime_and_keeps_the_mark", || {
        let (mut requester, link) = with_veth();
        for address in ADDRESSES.map(host) {
            make(
                &mut requester,
                &[Request::AddAddress { link, address, lifetime: Some(1000), options: Default::default() }],
            );
            let before = addresses(&mut requester, link);
            make(
                &mut requester,
                &[Request::RenewAddress { link, address, lifetime: Some(2000), options: Default::default() }],
            );
            let after = addresses(&mut requester, link);
            assert_eq!(after.len(), 1);
            let seconds = |lifetime| match lifetime {
                Lifetime::Seconds(seconds) => seconds,
                Lifetime::Forever => panic!("has an end"),
            };
            assert!((1..=1000).contains(&seconds(before[0].valid)), "{:?}", before[0]);
            assert!((1001..=2000).contains(&seconds(after[0].valid)), "{:?}", after[0]);
            assert_eq!(after[0].protocol, before[0].protocol);
            assert!(after[0].updated_cs >= before[0].updated_cs);

            make(
                &mut requester,
                &[Request::RenewAddress { link, address, lifetime: None, options: Default::default() }],
            );
            assert_eq!(addresses(&mut requester, link)[0].valid, Lifetime::Forever);
            make(&mut requester, &[Request::RemoveAddress { link, address }]);
        }
    });
}

#[test]
fn a_renewal_of_what_is_gone_adds_it_again() {
    in_network_namespace("addresses::a_renewal_of_what_is_gone_adds_it_again", || {
        let (mut requester, link) = with_veth();
        for address in ADDRESSES.map(host) {
            make(
                &mut requester,
                &[Request::RenewAddress { link, address, lifetime: Some(60), options: Default::default() }],
            );
            let entries = addresses(&mut requester, link);
            assert_eq!((entries.len(), entries[0].address), (1, address), "as documented, a trap");
            make(&mut requester, &[Request::RemoveAddress { link, address }]);
        }
    });
}

#[test]
fn a_refusal_comes_with_the_words_of_the_kernel() {
    in_network_namespace("addresses::a_refusal_comes_with_the_words_of_the_kernel", || {
        let (mut requester, link) = with_veth();
        let address = Address { prefix_len: 33, ..host("192.0.2.10") };
        let error = perform(
            &mut requester,
            Request::AddAddress { link, address, lifetime: None, options: Default::default() },
        )
        .expect_err("no such prefix");
        assert_eq!(error.errno(), Some(Errno::EINVAL as i32));
        let text = error.to_string();
        assert!(text.starts_with("cannot add 192.0.2.10/33 to link "), "{text}");
        assert!(text.contains("invalid argument (EINVAL)"), "{text}");
        assert!(text.contains("Invalid prefix length") || before(6, 3), "{text}");

        let nowhere = Request::AddAddress {
            link: LinkIndex::new(9999),
            address: host("192.0.2.10"),
            lifetime: None,
            options: Default::default(),
        };
        let error = perform(&mut requester, nowhere).expect_err("no such link");
        assert_eq!(error.errno(), Some(Errno::ENODEV as i32));
        assert!(error.to_string().ends_with("there is no such link in this network namespace"), "{error}");
    });
}

#[test]
fn in_a_batch_each_request_has_its_own_result() {
    in_network_namespace("addresses::in_a_batch_each_request_has_its_own_result", || {
        let (mut requester, link) = with_veth();
        let mut requests = three_hundred(link);
        requests[150] = Request::AddAddress {
            link: LinkIndex::new(9999),
            address: host("192.0.2.1"),
            lifetime: None,
            options: Default::default(),
        };
        requests[200] = requests[100].clone();
        requests[250] = Request::AddBridge { name: "longer-than-any-link-may-be".into() };
        let results = requester.perform(&requests);
        assert_eq!(results.len(), 300);
        for (number, result) in results.iter().enumerate() {
            match (number, result) {
                (150, result) => {
                    let error = result.as_ref().expect_err("no such link");
                    assert_eq!(error.errno(), Some(Errno::ENODEV as i32));
                }
                (200, result) => assert_eq!(*result.as_ref().expect("is there"), Change::Unchanged),
                (250, result) => assert!(matches!(result, Err(Error::Name { .. })), "{result:?}"),
                (_, result) => assert_eq!(*result.as_ref().expect("is allowed"), Change::Made, "{number}"),
            }
        }
        assert_eq!(addresses(&mut requester, link).len(), 297);
    });
}

#[test]
fn thousands_of_requests_need_not_fit_the_buffers() {
    in_network_namespace("addresses::thousands_of_requests_need_not_fit_the_buffers", || {
        let (mut requester, link) = with_veth();
        // The kernel refuses them all and does nothing; what counts is that each is answered.
        let remove = Request::RemoveAddress { link, address: host("192.0.2.10") };
        let results = requester.perform(&vec![remove; 20_000]);
        assert_eq!(results.len(), 20_000);
        assert!(results.iter().all(|result| matches!(result, Ok(Change::Unchanged))));
        assert!(requester.perform(&[]).is_empty());
    });
}

#[test]
fn a_lost_answer_is_an_error_and_the_next_request_is_not_confused() {
    in_network_namespace("addresses::a_lost_answer_is_an_error_and_the_next_request_is_not_confused", || {
        let (mut requester, link) = with_veth();
        // The kernel rounds it up to a few answers.
        setsockopt(&requester, sockopt::RcvBuf, &1).expect("anybody may have less");
        let results = requester.perform(&three_hundred(link));
        let answered = results.iter().take_while(|result| matches!(result, Ok(Change::Made))).count();
        assert!((1..300).contains(&answered), "{answered} answers fitted");
        for result in &results[answered..] {
            assert!(matches!(result, Err(Error::Overrun { .. })), "{result:?}");
        }
        // They were performed nevertheless, so that the answers below differ from those above.
        for request in three_hundred(link) {
            assert_eq!(perform(&mut requester, request).expect("is there"), Change::Unchanged);
        }
        setsockopt(&requester, sockopt::RcvBuf, &200_000).expect("is below the system's limit");
        assert_eq!(addresses(&mut requester, link).len(), 300);
    });
}

#[test]
fn a_process_without_the_right_is_told_which() {
    in_network_namespace("addresses::a_process_without_the_right_is_told_which", || {
        let (_, link) = with_veth();
        // Of this thread only, which ends with the test.
        caps::clear(None, CapSet::Effective).expect("rights can always be given up");
        let mut requester = Requester::open().expect("needs no right");
        assert!(!requester.links().expect("needs no right").is_empty());
        let request = Request::AddAddress {
            link,
            address: host("192.0.2.10"),
            lifetime: None,
            options: Default::default(),
        };
        let error = perform(&mut requester, request).expect_err("is not allowed");
        let expected = format!(
            "cannot add 192.0.2.10/32 to link {link}: operation not permitted (EPERM); vrrpd needs CAP_NET_ADMIN"
        );
        assert_eq!(error.to_string(), expected);
    });
}

#[test]
fn a_list_is_whole_while_others_change_it() {
    in_network_namespace("addresses::a_list_is_whole_while_others_change_it", || {
        let (mut requester, link) = with_veth();
        // IPv6 lists the newest first, so that what comes and goes shifts all of these; they do not
        // fit in one message.
        let kept = |number: u16| Address::host([0x2001, 0xdb8, 0, 0, 0, 0, 0, number].into());
        let add = |number| Request::AddPlainAddress { link, address: kept(number) };
        make(&mut requester, &(0..600).map(add).collect::<Vec<_>>());

        let (stop, stopped) = mpsc::channel::<()>();
        let churn = thread::spawn(move || {
            let mut requester = Requester::open().expect("sockets can be had");
            let address = Address::host([0x2001, 0xdb8, 1, 0, 0, 0, 0, 1].into());
            let pair = [Request::AddPlainAddress { link, address }, Request::RemoveAddress { link, address }];
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                make(&mut requester, &pair);
            }
        });
        let is_whole = |list: Vec<AddressEntry>| {
            let mut count = list.iter().map(|entry| entry.address).collect::<BTreeSet<_>>();
            count.retain(|address| address.ip < kept(600).ip);
            assert_eq!(count.len(), 600);
        };
        for _ in 0..50 {
            match requester.addresses() {
                Ok(list) => is_whole(list),
                Err(error) => assert!(matches!(error, Error::Unstable { .. }), "{error}"),
            }
        }
        drop(stop);
        churn.join().expect("has not failed");
        is_whole(requester.addresses().expect("is calm again"));
    });
}

/// Requests to add as many addresses.
fn three_hundred(link: LinkIndex) -> Vec<Request> {
    let address = |number: u32| {
        let last = u8::try_from(number % 200).expect("below 200");
        let ip = if number < 200 { [198, 51, 100, last] } else { [203, 0, 113, last] };
        Address::host(ip.into())
    };
    (0..300)
        .map(|number| Request::AddAddress {
            link,
            address: address(number),
            lifetime: None,
            options: Default::default(),
        })
        .collect()
}

/// Whether the running kernel is older.
fn before(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) < (major, minor)
}
