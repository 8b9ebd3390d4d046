//! The node and its codec against what keepalived and FRR put on the wire (`pcaps/README.md`).

#[path = "captures/pcap.rs"]
mod pcap;
#[path = "captures/replay.rs"]
mod replay;
mod scene;
#[path = "captures/table.rs"]
mod table;
mod vectors;

use vrrp_proto::packet::{
    Advert, AuthPolicy, AuthType, ChecksumForm, ChecksumPolicy, Datagram, DiscardReason, ParseError,
    Password, Rules, arp, ndisc,
};
use vrrp_proto::{Family, MacAddress, Version};

use crate::pcap::{Frame, frames, names};
use crate::vectors::{encode_again, parse_ip};

/// keepalived's Hop Limit in IPv6 unicast.
const UNICAST_HOP_LIMIT: u8 = 64;
/// Where the captures with two routers are, and those of keepalived alone with the virtual MAC address.
const PAIRS: &str = "pcaps";
const ALONE: &str = "vectors/captures";
/// How the name of the one capture ends that nothing in it is accepted of.
const AUTHENTICATION_HEADER: &str = "v2ah";

/// Counts, times, Ethernet and IP addresses, every field of every advertisement and announcement.
#[test]
fn each_capture_holds_what_its_table_says() {
    let mut tables = String::new();
    for name in names(PAIRS) {
        let rules = lax_rules(&name);
        tables += &format!("{name}\n{}", table::lines(&frames(PAIRS, &name), &rules));
    }
    let expected = include_str!("pcaps/tables.txt");
    for (found, expected) in tables.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(tables, expected);
}

#[test]
fn every_advertisement_is_written_octet_by_octet() {
    let mut written = 0;
    for folder in [PAIRS, ALONE] {
        for name in names(folder) {
            let rules = lax_rules(&name);
            for frame in frames(folder, &name) {
                let Some(datagram) = frame.datagram() else { continue };
                let advert = Advert::parse(&datagram, &rules).expect(&name);
                let mut again = encode_again(&datagram, &advert);
                if let Some(password) = password(&name) {
                    password.stamp(&mut again);
                }
                assert_eq!(again, datagram.payload, "{name}");
                written += 1;
            }
        }
    }
    assert_eq!(written, 1023 + 28);
}

#[test]
fn every_announcement_is_written_octet_by_octet() {
    let (mut arps, mut advertisements) = (0, 0);
    for folder in [PAIRS, ALONE] {
        for name in names(folder) {
            for Frame { octets: frame, .. } in frames(folder, &name) {
                if let Some(seen) = arp::Arp::parse(&frame)
                    && seen.sender_address == seen.target_address
                {
                    // Errata 7947 and 7949 want the sender there, and so do we send it.
                    assert_eq!(seen.target_mac, MacAddress::BROADCAST, "{name}");
                    let mut again = [0; arp::FRAME_LEN];
                    seen.encode(&mut again, seen.sender_mac, MacAddress::BROADCAST);
                    assert_eq!(again, frame[..arp::FRAME_LEN], "{name}");
                    arps += 1;
                }
                if let Some(seen) = ndisc::NeighbourAdvertisement::parse(&frame)
                    && !seen.solicited
                    && seen.override_cached
                {
                    let mac = seen.mac.expect("all of them name the link-layer address");
                    let mut again = [0; ndisc::FRAME_LEN];
                    ndisc::unsolicited_advertisement(&mut again, mac, seen.target, seen.router);
                    assert_eq!(again[..], frame, "{name}");
                    advertisements += 1;
                }
            }
        }
    }
    assert_eq!((arps, advertisements), (655, 323));
}

/// Started, stopped by SIGTERM; the link-local virtual address is configured, and comes first.
#[test]
fn keepalived_alone_is_accepted_to_the_letter_but_for_its_checksum_over_ipv4() {
    for name in names(ALONE).iter().filter(|name| !name.ends_with(AUTHENTICATION_HEADER)) {
        let frames = frames(ALONE, name);
        let mut priorities = Vec::new();
        for datagram in frames.iter().filter_map(Frame::datagram) {
            let advert = Advert::parse(&datagram, &strict_rules(name)).expect(name);
            assert!(advert.link_local_first, "{name}");
            priorities.push(advert.priority.get());
        }
        assert_eq!(priorities, [100, 100, 100, 100, 100, 100, 0], "{name}");
    }
}

/// RFC 2338's third type, which keepalived offers in a form of its own.
#[test]
fn advertisements_behind_an_authentication_header_are_refused_by_name() {
    let mut refused = 0;
    for frame in frames(ALONE, &format!("keepalived-2.2.7-{AUTHENTICATION_HEADER}")) {
        let [.., 0x08, 0x00] = frame.octets[..14] else { continue };
        match parse_ip(Family::Ipv4, &frame.octets[14..]) {
            Err(error @ ParseError::AuthenticationHeader) => {
                assert_eq!(error.reason(), DiscardReason::Authentication);
                let sealed = Datagram::parse_sealed(&frame.octets[14..]).expect("VRRP is behind it");
                let rules = Rules { version: Version::V2, ..Rules::to_identify(&sealed) };
                let rules = Rules { authentication: AuthPolicy::None, ..rules };
                assert_eq!(
                    Advert::parse(&sealed, &rules),
                    Err(ParseError::AuthType {
                        found: AuthType::AuthenticationHeader,
                        expected: AuthType::None
                    })
                );
                for length in 0..frame.octets.len() - 14 {
                    Datagram::parse_sealed(&frame.octets[14..14 + length]).expect_err("cut short");
                }
                refused += 1;
            }
            other => assert_eq!(other, Err(ParseError::Protocol { found: 2 }), "IGMP"),
        }
    }
    assert_eq!(refused, 8);
}

/// With `strict`, keepalived and FRR are refused over IPv6: both nodes would be Active.
#[test]
fn strict_refuses_all_of_ipv6_and_nothing_of_ipv4() {
    let (mut accepted, mut first_address, mut hop_limit) = (0, 0, 0);
    for name in names(PAIRS) {
        for frame in frames(PAIRS, &name) {
            let Some(datagram) = frame.datagram() else { continue };
            match Advert::parse(&datagram, &strict_rules(&name)) {
                Ok(_) => accepted += 1,
                Err(ParseError::FirstAddress { .. }) => first_address += 1,
                Err(ParseError::HopLimit { found: UNICAST_HOP_LIMIT, .. }) => hop_limit += 1,
                Err(error) => panic!("{name}: {error}"),
            }
            assert_eq!(name.contains("ipv4"), datagram.source.is_ipv4(), "{name}");
        }
    }
    assert_eq!((accepted, first_address, hop_limit), (826, 153, 44));
}

/// The form of RFC 9568 is sent by none of them: whoever insists on it over IPv4 hears nobody.
#[test]
fn no_deployed_daemon_sends_the_checksum_of_rfc_9568() {
    for name in names(PAIRS).iter().filter(|name| name.contains("v3-ipv4")) {
        for datagram in frames(PAIRS, name).iter().filter_map(Frame::datagram) {
            let error = Advert::parse(&datagram, &Rules::STRICT).expect_err(name);
            assert!(matches!(error, ParseError::ChecksumForm { .. }), "{name}: {error}");
            assert_eq!(error.reason(), DiscardReason::Checksum);
        }
    }
}

/// As the daemon is unless it is told otherwise.
fn lax_rules(name: &str) -> Rules {
    Rules {
        min_hop_limit: least_hop_limit(name),
        checksum: ChecksumPolicy::Either,
        strict: false,
        ..strict_rules(name)
    }
}

/// To the letter, with the checksum over IPv4 as all of them send it.
fn strict_rules(name: &str) -> Rules {
    Rules {
        version: if name.contains("-v2") { Version::V2 } else { Version::V3 },
        authentication: password(name).map_or(AuthPolicy::None, AuthPolicy::Password),
        checksum: ChecksumPolicy::Only(ChecksumForm::PseudoHeader),
        ..Rules::STRICT
    }
}

fn password(name: &str) -> Option<Password> {
    let password: &[u8] = match name {
        _ if name.ends_with("auth-pass") => b"s3cret",
        _ if name.ends_with("v2pass") => b"s3cr3t",
        _ => return None,
    };
    Some(Password::new(password).expect("8 octets at most"))
}

fn least_hop_limit(name: &str) -> u8 {
    if name.ends_with("ipv6-unicast") { UNICAST_HOP_LIMIT } else { 255 }
}
