//! The codec against the golden vectors (`vectors/README.md`), and against itself.

mod vectors;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde_json::Value;
use vrrp_proto::packet::{
    Advert, ChecksumForm, ChecksumPolicy, Datagram, DiscardReason, EncodeError, ParseError, Rules, encode,
    ip, message_len, peek_vrid,
};
use vrrp_proto::{AdverInterval, Family, Priority, Version, Vrid};

use crate::vectors::{canonical, encode_again, octets, packets_of, parse_ip, vectors};

/// Malformed vectors that are well-formed to the codec: the fault shows only to who knows the
/// configuration, and is tested there.
const FOR_THE_NODE: [(&str, &str); 11] = [
    ("B-27", "RX-07: VRID that no virtual router has"),
    ("B-34", "RX-13: VRRPv2, other addresses"),
    ("B-35", "RX-14: VRRPv2, another interval"),
    ("B-38", "RX-12: VRRPv2, the receiver is the owner"),
    ("B-45", "RX-00b: other multicast group"),
    ("B-46", "RX-00b: unicast where multicast is configured"),
    ("B-47", "RX-00b: multicast where unicast is configured"),
    ("B-48", "RX-15: source is not a peer"),
    ("B-49", "RX-00c: source is our own address"),
    ("B-50", "RX-00c: source 0.0.0.0"),
    ("B-51", "RX-00c: IPv6 source is not link-local"),
];

/// What changes without `strict` and with both checksum forms: accepted, with this form and this
/// answer to "is the first address link-local?".
const ACCEPTED_WHEN_LAX: [(&str, ChecksumForm, bool); 3] = [
    ("B-23", ChecksumForm::PseudoHeader, true),
    ("B-24", ChecksumForm::MessageOnly, true),
    ("B-33", ChecksumForm::PseudoHeader, false),
];

#[test]
fn valid_vectors_decode_to_their_fields() {
    let vectors = packets_of("valid");
    assert_eq!(vectors.len(), 43);
    for vector in &vectors {
        let datagram = vector.datagram().expect(&vector.id);
        let advert = Advert::parse(&datagram, &vector.strict_rules()).expect(&vector.id);
        let (ip, message) = (&vector.json["decoded"]["ip"], &vector.json["decoded"]["vrrp"]);
        let hop_limit = ip.get("ttl").unwrap_or(&ip["hop_limit"]);
        assert_eq!(Value::from(datagram.hop_limit), *hop_limit, "{}", vector.id);
        assert_eq!(datagram.source.to_string(), ip["src"], "{}", vector.id);
        assert_eq!(datagram.destination.to_string(), ip["dst"], "{}", vector.id);
        assert_eq!(Value::from(advert.vrid.get()), message["vrid"], "{}", vector.id);
        assert_eq!(peek_vrid(datagram.payload), Some(advert.vrid), "{}", vector.id);
        assert_eq!(Value::from(advert.priority.get()), message["priority"], "{}", vector.id);
        let interval = match vector.version() {
            Version::V2 => (Value::from(advert.interval.seconds()), &message["adver_int_s"]),
            Version::V3 => (Value::from(advert.interval.centiseconds()), &message["max_adver_int_cs"]),
        };
        assert_eq!(interval.0, *interval.1, "{}", vector.id);
        assert_eq!(advert.interval.version(), vector.version(), "{}", vector.id);
        let addresses: Vec<String> = advert.addresses.iter().map(|a| a.to_string()).collect();
        assert_eq!(Value::from(addresses), message["addresses"], "{}", vector.id);
        assert_eq!(Value::from(advert.addresses.len()), message["count"], "{}", vector.id);
        assert_eq!(advert.form, vector.sent_form(), "{}", vector.id);
        assert!(advert.link_local_first, "{}", vector.id);
    }
}

/// What a sender may write in more than one way comes back in ours: reserved bits zero (V3-10,
/// V6-09), unused authentication data zero (V2-08), and the checksum zero as 0x0000 (V3-17).
#[test]
fn valid_vectors_encode_to_the_same_octets() {
    let mut rewritten = Vec::new();
    for vector in packets_of("valid") {
        let datagram = vector.datagram().expect(&vector.id);
        let advert = Advert::parse(&datagram, &vector.strict_rules()).expect(&vector.id);
        let mut again = encode_again(&datagram, &advert);
        if let Some(password) = vector.password() {
            password.stamp(&mut again);
        }
        if again != datagram.payload {
            assert_eq!(again, canonical(&datagram, advert.form), "{}", vector.id);
            rewritten.push(vector.id.clone());
        }
    }
    assert_eq!(rewritten, ["V2-08", "V3-10", "V3-17", "V6-09"]);
}

/// Over IPv4 the vectors may be fragmented and are numbered, which the checksum covers.
#[test]
fn headers_are_the_vectors_octet_by_octet() {
    let (number_and_flags, checksum) = (4..8, 10..12);
    let mut written = 0;
    for vector in &packets_of("valid") {
        let datagram = vector.datagram().expect(&vector.id);
        let mut expected = vector.packet[..vector.packet.len() - datagram.payload.len()].to_vec();
        if expected.len() != ip::header_len(vector.family) {
            continue;
        }
        let mut header = vec![0xee; expected.len()];
        let octets = datagram.payload.len();
        ip::write_header(&mut header, datagram.source, datagram.destination, octets).expect(&vector.id);
        if vector.family == Family::Ipv4 {
            let sum: u32 = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{}", vector.id);
            expected[number_and_flags.clone()].copy_from_slice(&[0, 0, 0x40, 0]);
            expected[checksum.clone()].copy_from_slice(&header[checksum.clone()]);
        }
        assert_eq!(header, expected, "{}", vector.id);
        written += 1;
    }
    assert_eq!(written, 41, "all but the two with options");
}

#[test]
fn padding_of_ethernet_is_not_part_of_the_message() {
    let mut padded = 0;
    for vector in &packets_of("valid") {
        let frame = octets(&vector.json["frame_hex"]);
        padded += usize::from(frame.len() - 14 > vector.packet.len());
        assert_eq!(parse_ip(vector.family, &frame[14..]), vector.datagram(), "{}", vector.id);
    }
    assert!(padded > 10);
}

#[test]
fn malformed_vectors_fail_the_check_they_break() {
    let vectors = packets_of("malformed");
    let (skipped, tested): (Vec<_>, Vec<_>) =
        vectors.iter().partition(|vector| FOR_THE_NODE.iter().any(|(id, _)| *id == vector.id));
    assert_eq!((vectors.len(), skipped.len(), tested.len()), (56, FOR_THE_NODE.len(), 45));
    for vector in tested {
        let error = vector.verdict(&vector.strict_rules()).expect_err(&vector.id);
        let expect = &vector.json["expect"];
        // An interval of 0 is none in either version, whatever is configured.
        let check = if vector.id == "B-36" { "RX-14" } else { check_id(&error) };
        assert_eq!(check, expect["first_failing_check"], "{}: {error}", vector.id);
        let counter = expect["counter_rfc8347"].as_str().expect("counter_rfc8347 is a string");
        let counter = counter.split([' ', ';']).next().map(|name| name.replace('-', "_"));
        match counter.as_deref() {
            Some("none") if check == "RX-11" || vector.id == "B-56" => {
                assert_eq!(error.reason(), DiscardReason::Authentication, "{}", vector.id);
            }
            Some("none") => assert_eq!(error.reason(), DiscardReason::Header, "{}", vector.id),
            name => assert_eq!(Some(error.reason().name()), name, "{}: {error}", vector.id),
        }
    }
    for vector in skipped {
        assert!(vector.verdict(&vector.strict_rules()).is_ok(), "{} is for the codec after all", vector.id);
    }
}

#[test]
fn laxness_changes_three_verdicts_and_no_other() {
    for vector in &packets_of("malformed") {
        let lax = vector.verdict(&vector.lax_rules());
        match ACCEPTED_WHEN_LAX.iter().find(|(id, ..)| *id == vector.id) {
            Some((_, form, link_local_first)) => {
                assert_eq!(lax, Ok((*form, *link_local_first)), "{}", vector.id)
            }
            None => assert_eq!(lax, vector.verdict(&vector.strict_rules()), "{}", vector.id),
        }
    }
    for vector in &packets_of("valid") {
        assert_eq!(
            vector.verdict(&vector.lax_rules()),
            vector.verdict(&vector.strict_rules()),
            "{}",
            vector.id
        );
    }
}

#[test]
fn a_refusal_has_the_values_that_explain_it() {
    let (expected, family) = (Version::V3, Family::Ipv4);
    let refusals = [
        ("B-02", ParseError::HopLimit { found: 254, required: 255 }),
        ("B-05", ParseError::Version { found: 4, expected }),
        ("B-06", ParseError::Version { found: 0, expected }),
        ("B-10", ParseError::Type { found: 0 }),
        ("B-11", ParseError::Type { found: 2 }),
        ("B-14", ParseError::TooShort { octets: 7 }),
        ("B-15", ParseError::Length { octets: 16, count: 3, family, expected: 20 }),
    ];
    let vectors = packets_of("malformed");
    for (id, refusal) in refusals {
        let vector = vectors.iter().find(|vector| vector.id == id).expect(id);
        assert_eq!(vector.verdict(&vector.strict_rules()), Err(refusal), "{id}");
    }
}

#[test]
fn a_refused_checksum_form_is_told_from_a_wrong_checksum() {
    let verdict = |id: &str| {
        let vectors = packets_of("malformed");
        let vector = vectors.iter().find(|vector| vector.id == id).expect(id);
        vector.verdict(&vector.strict_rules())
    };
    let (rfc, deployed) = (ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader);
    assert_eq!(verdict("B-23"), Err(ParseError::ChecksumForm { found: deployed, accepted: rfc }));
    assert_eq!(verdict("B-24"), Err(ParseError::ChecksumForm { found: rfc, accepted: deployed }));
    assert_eq!(verdict("B-21"), Err(ParseError::Checksum { found: 0xbeef }));
}

#[test]
fn version_2_has_no_other_checksum_form() {
    let vectors = packets_of("valid");
    let vector = vectors.iter().find(|vector| vector.id == "V2-01").expect("V2-01");
    let datagram = vector.datagram().expect("V2-01 is valid");
    let message = canonical(&datagram, ChecksumForm::PseudoHeader);
    let verdict = Advert::parse(&Datagram { payload: &message, ..datagram }, &vector.lax_rules());
    assert!(matches!(verdict, Err(ParseError::Checksum { .. })), "{verdict:?}");
}

#[test]
fn a_routed_peer_passes_only_where_its_hop_limit_is_allowed() {
    let vectors = packets_of("malformed");
    let vector = vectors.iter().find(|vector| vector.id == "B-04").expect("B-04 has hop limit 64");
    let verdict = |min_hop_limit| vector.verdict(&Rules { min_hop_limit, ..Rules::LAX });
    assert_eq!(verdict(65), Err(ParseError::HopLimit { found: 64, required: 65 }));
    assert!(verdict(64).is_ok());
}

#[test]
fn timers_are_exact_to_the_nanosecond() {
    let rows = vectors("timers");
    assert_eq!(rows.len(), 150);
    for row in rows {
        let number = |key: &str| row[key].as_u64().expect(key);
        let narrow = |key: &str| u16::try_from(number(key)).expect(key);
        let centiseconds = narrow("active_adver_interval_cs");
        let interval = match row["version"].as_u64() {
            Some(2) => AdverInterval::from_seconds((centiseconds / 100) as u8),
            _ => AdverInterval::from_centiseconds(centiseconds),
        };
        let interval = interval.expect("the vectors hold only valid intervals");
        let priority = Priority::new(u8::try_from(number("priority")).expect("a priority"));
        assert_eq!(interval.skew_time(priority), Duration::from_nanos(number("skew_ns")), "{row}");
        assert_eq!(
            interval.active_down_interval(priority),
            Duration::from_nanos(number("active_down_ns")),
            "{row}"
        );
    }
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    let base = Fields {
        vrid: 51,
        priority: 100,
        interval: 100,
        count: 1,
        version: Version::V3,
        family: Family::Ipv4,
        form: ChecksumForm::MessageOnly,
    };
    let (rfc, deployed) = (ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader);
    for (version, family, form) in [
        (Version::V3, Family::Ipv4, rfc),
        (Version::V3, Family::Ipv4, deployed),
        (Version::V3, Family::Ipv6, rfc),
        (Version::V3, Family::Ipv6, deployed),
        (Version::V2, Family::Ipv4, rfc),
    ] {
        let base = Fields { version, family, form, ..base };
        let longest = if version == Version::V2 { 255 } else { 4095 };
        (1..=255).for_each(|vrid| base.round_trip_with(|fields| fields.vrid = vrid));
        (0..=255).for_each(|priority| base.round_trip_with(|fields| fields.priority = priority));
        (1..=longest).for_each(|interval| base.round_trip_with(|fields| fields.interval = interval));
        (1..=255).for_each(|count| base.round_trip_with(|fields| fields.count = count));
    }
}

#[test]
fn encode_refuses_what_no_advertisement_can_say() {
    let [a, b] = [1, 2].map(|host| IpAddr::from([192, 0, 2, host]));
    let alien = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let vrid = Vrid::new(1).expect("1 is in range");
    let attempt = |out: &mut [u8], addresses: &[IpAddr], source| {
        let (priority, form) = (Priority::DEFAULT, ChecksumForm::MessageOnly);
        encode(out, vrid, priority, AdverInterval::DEFAULT, addresses, source, Family::Ipv4.group(), form)
    };
    let mut out = [0xee; 2000];
    let family = Family::Ipv4;
    assert_eq!(attempt(&mut out, &[], a), Err(EncodeError::AddressCount { count: 0 }));
    assert_eq!(attempt(&mut out, &[b; 256], a), Err(EncodeError::AddressCount { count: 256 }));
    assert_eq!(attempt(&mut out, &[b, alien], a), Err(EncodeError::Family { address: alien, family }));
    assert_eq!(attempt(&mut out, &[b], alien), Err(EncodeError::Family { address: alien, family }));
    assert_eq!(attempt(&mut out[..11], &[b], a), Err(EncodeError::Buffer { needed: 12, available: 11 }));
    assert_eq!(out, [0xee; 2000], "a refused message leaves no trace");
    assert_eq!(attempt(&mut out[..12], &[b], a), Ok(12));
    let (interval, six) = (AdverInterval::default_of(Version::V2), Family::Ipv6.group());
    let form = ChecksumForm::MessageOnly;
    let two_over_six = encode(&mut out, vrid, Priority::DEFAULT, interval, &[alien], alien, six, form);
    assert_eq!(two_over_six, Err(EncodeError::Version));
}

#[test]
fn addresses_compare_as_a_set() {
    let vectors = packets_of("valid");
    let vector = vectors.iter().find(|vector| vector.id == "V3-09").expect("V3-09 has five addresses");
    let datagram = vector.datagram().expect("V3-09 is valid");
    let addresses = Advert::parse(&datagram, &Rules::STRICT).expect("V3-09 is valid").addresses;
    let mut others: Vec<_> = addresses.iter().collect();
    assert_eq!(others.len(), 5);
    others.reverse();
    others.push(others[2]);
    assert!(addresses.same_set(&others), "order and repetition do not count");
    assert!(!addresses.same_set(&others[..4]), "one is missing here");
    others.push(IpAddr::from([203, 0, 113, 9]));
    assert!(!addresses.same_set(&others), "one is missing there");
    assert!(!addresses.same_set(&[]));
    assert_eq!((addresses.len(), addresses.is_empty()), (5, false));
}

#[derive(Clone, Copy, Debug)]
struct Fields {
    vrid: u8,
    priority: u8,
    /// In the unit of the version.
    interval: u16,
    count: u8,
    version: Version,
    family: Family,
    form: ChecksumForm,
}

impl Fields {
    fn round_trip_with(mut self, change: impl FnOnce(&mut Self)) {
        change(&mut self);
        let vrid = Vrid::new(self.vrid).expect("the caller enumerates 1..=255");
        let interval = match self.version {
            Version::V2 => AdverInterval::from_seconds(self.interval as u8),
            Version::V3 => AdverInterval::from_centiseconds(self.interval),
        };
        let interval = interval.expect("1..=255 or 1..=4095");
        let priority = Priority::new(self.priority);
        let (source, addresses): (IpAddr, Vec<IpAddr>) = match self.family {
            Family::Ipv4 => {
                ([192, 0, 2, 2].into(), (0..self.count).map(|host| [203, 0, 113, host].into()).collect())
            }
            Family::Ipv6 => (
                [0xfe80, 0, 0, 0, 0, 0, 0, 2].into(),
                (0..self.count).map(|host| [0xfe80, 0, 0, 0, 0, 0, 1, u16::from(host)].into()).collect(),
            ),
        };
        let destination = self.family.group();
        let mut out = [0xee; 8 + 16 * 255];
        let length = encode(&mut out, vrid, priority, interval, &addresses, source, destination, self.form)
            .expect("all fields are valid");
        assert_eq!(length, message_len(self.version, self.family, addresses.len()), "{self:?}");
        assert_eq!(out[4] >> 4, 0, "reserved bits: {self:?}");

        let datagram = Datagram { source, destination, hop_limit: 255, payload: &out[..length] };
        let sent = if self.family == Family::Ipv6 { ChecksumForm::PseudoHeader } else { self.form };
        let checksum = ChecksumPolicy::Only(self.form);
        let rules = Rules { version: self.version, checksum, ..Rules::STRICT };
        let advert = Advert::parse(&datagram, &rules).expect("what we send, we accept");
        assert_eq!((advert.vrid, advert.priority, advert.interval), (vrid, priority, interval), "{self:?}");
        assert_eq!((advert.form, advert.link_local_first), (sent, true), "{self:?}");
        assert!(advert.addresses.iter().eq(addresses), "{self:?}");
    }
}

/// Which check of the vectors' README an error stands for.
fn check_id(error: &ParseError) -> &'static str {
    match error {
        ParseError::HopLimit { .. } => "RX-01",
        ParseError::TooShort { .. } => "RX-02",
        ParseError::Version { .. } => "RX-03",
        ParseError::Type { .. } => "RX-04",
        ParseError::Length { .. } => "RX-05",
        ParseError::Checksum { .. } | ParseError::ChecksumForm { .. } => "RX-06",
        ParseError::ZeroVrid | ParseError::UnknownVrid { .. } => "RX-07",
        ParseError::NoAddress => "RX-08",
        ParseError::ZeroInterval => "RX-09",
        ParseError::FirstAddress { .. } => "RX-10",
        ParseError::AuthType { .. } | ParseError::Password => "RX-11",
        ParseError::Owner { .. } => "RX-12",
        ParseError::OtherAddresses => "RX-13",
        ParseError::OtherInterval { .. } => "RX-14",
        ParseError::UnknownPeer { .. } => "RX-15",
        _ => "RX-00",
    }
}
