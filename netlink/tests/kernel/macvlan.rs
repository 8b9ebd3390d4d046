//! A macvlan, what is noted with it, and settings of IPv4.

use std::fs;

use netlink::{Change, Ipv4Setting, LinkIndex, Request, Requester};
use nix::errno::Errno;

use crate::namespace::{addresses, host, in_network_namespace, make, named, perform, with_veth};

const NAME: &str = "vrrp6-201";
const MAC: [u8; 6] = [0, 0, 0x5e, 0, 2, 201];

fn add(lower: LinkIndex) -> Request {
    Request::AddMacvlan { name: NAME.into(), lower, mac: MAC }
}

/// What `/proc/sys` says of IPv4 on the link of that name.
fn setting(link: &str, name: &str) -> String {
    let file = format!("/proc/sys/net/ipv4/conf/{link}/{name}");
    fs::read_to_string(file).expect("the link has IPv4").trim().to_owned()
}

#[test]
fn a_macvlan_is_made_marked_and_filled_before_it_is_set_up() {
    in_network_namespace("macvlan::a_macvlan_is_made_marked_and_filled_before_it_is_set_up", || {
        let (mut requester, lower) = with_veth();
        // The namespace's own default would hide what is asked for.
        fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "0").expect("the namespace is ours");
        let name = NAME.to_owned();
        make(
            &mut requester,
            &[
                add(lower),
                Request::SetAlias { name: name.clone(), alias: "of somebody".into() },
                Request::NoLinkLocalAddress { name },
            ],
        );
        let link = named(&mut requester, NAME);
        assert_eq!((link.mac, link.lower, link.up), (Some(MAC), Some(lower), false));
        assert_eq!((link.kind.as_deref(), link.alias.as_deref()), (Some("macvlan"), Some("of somebody")));

        let held = ["192.0.2.201", "2001:db8::201"].map(host);
        let add_address = |address| Request::AddAddress {
            link: link.index,
            address,
            lifetime: Some(60),
            options: Default::default(),
        };
        make(&mut requester, &held.map(add_address));
        make(&mut requester, &[Request::SetUp { link: link.index }]);
        let mut found: Vec<_> =
            addresses(&mut requester, link.index).into_iter().map(|entry| entry.address).collect();
        found.sort_unstable();
        assert_eq!(found, held, "these and no link-local one");

        make(&mut requester, &[Request::SetDown { link: link.index }]);
        let left: Vec<_> = addresses(&mut requester, link.index).iter().map(|entry| entry.address).collect();
        assert_eq!(left, [host("192.0.2.201")], "IPv6 addresses go with it");
        make(&mut requester, &[Request::RemoveLink { link: link.index }]);
    });
}

#[test]
fn settings_of_ipv4_are_read_changed_and_put_back_zeros_among_them() {
    let name = "macvlan::settings_of_ipv4_are_read_changed_and_put_back_zeros_among_them";
    in_network_namespace(name, || {
        let (mut requester, link) = with_veth();
        let read = |requester: &mut Requester, setting| {
            let settings = requester.ipv4_settings(link).expect("anybody may list");
            settings.expect("veths have IPv4").get(setting)
        };
        let all = [
            (Ipv4Setting::ArpIgnore, 1),
            (Ipv4Setting::ArpAnnounce, 2),
            (Ipv4Setting::ArpFilter, 1),
            (Ipv4Setting::RpFilter, 2),
            (Ipv4Setting::AcceptLocal, 1),
        ];
        let before = all.map(|(setting, _)| (setting, read(&mut requester, setting).expect("is known")));
        for wanted in [all, all.map(|(setting, _)| (setting, 0)), before] {
            make(&mut requester, &[Request::SetIpv4 { name: "a".into(), settings: wanted.into() }]);
            for (setting_of, value) in wanted {
                assert_eq!(setting("a", setting_of.name()), value.to_string(), "{setting_of:?}");
                assert_eq!(read(&mut requester, setting_of), Some(value), "{setting_of:?}");
            }
        }
        assert_eq!(requester.ipv4_settings(LinkIndex::new(4711)).expect("listed"), None);
    });
}

#[test]
fn a_macvlan_follows_the_rules_of_its_parent_and_says_so() {
    in_network_namespace("macvlan::a_macvlan_follows_the_rules_of_its_parent_and_says_so", || {
        let (mut requester, lower) = with_veth();
        make(&mut requester, &[add(lower)]);
        let error = perform(&mut requester, add(lower)).expect_err("the name is taken");
        assert_eq!(error.errno(), Some(Errno::EEXIST as i32));
        let link = named(&mut requester, NAME).index;
        make(&mut requester, &[Request::SetMtu { link, mtu: 1400 }]);
        assert_eq!(named(&mut requester, NAME).mtu, 1400);
        let error = perform(&mut requester, Request::SetMtu { link, mtu: 9000 }).expect_err("too long");
        assert!(error.to_string().starts_with("cannot set the MTU of link"), "{error}");

        make(&mut requester, &[Request::RemoveLink { link: lower }]);
        assert_eq!(perform(&mut requester, Request::RemoveLink { link }).expect("gone"), Change::Unchanged);
        let name = NAME.to_owned();
        for request in [
            add(lower),
            Request::SetAlias { name: name.clone(), alias: String::new() },
            Request::NoLinkLocalAddress { name: name.clone() },
            Request::SetIpv4 { name, settings: vec![(Ipv4Setting::ArpIgnore, 1)] },
        ] {
            let error = perform(&mut requester, request).expect_err("there is nothing");
            assert_eq!(error.errno(), Some(Errno::ENODEV as i32), "{error}");
        }
    });
}

#[test]
fn a_port_of_a_bridge_cannot_have_a_macvlan() {
    in_network_namespace("macvlan::a_port_of_a_bridge_cannot_have_a_macvlan", || {
        let (mut requester, lower) = with_veth();
        make(&mut requester, &[Request::AddBridge { name: "br".into() }]);
        let controller = Some(named(&mut requester, "br").index);
        make(&mut requester, &[Request::SetController { link: lower, controller }]);
        let error = perform(&mut requester, add(lower)).expect_err("bridge and macvlan exclude each other");
        assert_eq!(error.errno(), Some(Errno::EBUSY as i32), "{error}");
    });
}
