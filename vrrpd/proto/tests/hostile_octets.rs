//! The codec against octets that nobody should send.

mod vectors;

use vrrp_proto::packet::{
    Advert, ChecksumForm, ChecksumPolicy, DiscardReason, ParseError, Rules, Sighting, arp, ndisc,
};
use vrrp_proto::{Family, MacAddress, Version};

use crate::vectors::{Vector, canonical, encode_again, octets, packets_of, parse_ip, vectors};

#[test]
fn every_single_bit_error_is_refused_unless_nobody_reads_the_bit() {
    for vector in &packets_of("valid") {
        let rules = Rules { checksum: ChecksumPolicy::Only(vector.sent_form()), ..vector.strict_rules() };
        let datagram = vector.datagram().expect(&vector.id);
        let original = Advert::parse(&datagram, &rules).expect(&vector.id);
        let header_octets = vector.packet.len() - datagram.payload.len();
        for bit in 0..vector.packet.len() * 8 {
            let mut flipped = vector.packet.clone();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            let parsed = parse_ip(vector.family, &flipped).and_then(|d| Advert::parse(&d, &rules));
            if bit / 8 < header_octets && unread(vector, bit) {
                assert_eq!(parsed, Ok(original), "{} bit {bit}", vector.id);
            } else {
                assert!(parsed.is_err(), "{} bit {bit} gave {parsed:?}", vector.id);
            }
        }
    }
}

/// Bits of the IP header that neither the codec nor the checksum of the message covers.
fn unread(vector: &Vector, bit: usize) -> bool {
    match vector.family {
        // Traffic class, flow label.
        Family::Ipv6 => (4..32).contains(&bit),
        // TOS; identification; reserved flag and Don't Fragment; header checksum (the kernel's);
        // both addresses, unless the pseudo-header covers them; options.
        Family::Ipv4 => {
            (8..16).contains(&bit)
                || (32..50).contains(&bit)
                || (80..96).contains(&bit)
                || ((96..160).contains(&bit) && vector.sent_form() == ChecksumForm::MessageOnly)
                || bit >= 160
        }
    }
}

/// A million buffers, some random, most of them valid packets with a few changes and a right
/// checksum, so that the checks behind it are reached too.
#[test]
fn no_octets_cause_a_panic_and_what_is_accepted_is_consistent() {
    let packets: Vec<_> = ["valid", "malformed"].iter().flat_map(|f| packets_of(f)).collect();
    let frames: Vec<_> = vectors("link").iter().map(|v| octets(&v["frame_hex"])).collect();
    let mut random = Random(0x5eed);
    let (mut accepted, mut reasons) = (0, [0; DiscardReason::ALL.len()]);
    for _ in 0..1_000_000 {
        match random.below(8) {
            0 => {
                let octets: Vec<u8> = (0..random.below(96)).map(|_| random.octet()).collect();
                inspect_frame(&octets);
            }
            1 => {
                let mut frame = frames[random.below(frames.len())].clone();
                random.mutate(&mut frame);
                inspect_frame(&frame);
            }
            _ => {
                let vector = &packets[random.below(packets.len())];
                let mut octets = vector.packet[..vector.packet.len().min(140)].to_vec();
                random.mutate(&mut octets);
                let header = if vector.family == Family::Ipv4 { 20 } else { 40 };
                if let Ok(datagram) = parse_ip(vector.family, &octets)
                    && datagram.payload.len() >= 8
                    && octets.len() == header + datagram.payload.len()
                {
                    let fixed = canonical(&datagram, ChecksumForm::PseudoHeader);
                    octets[header + 6..header + 8].copy_from_slice(&fixed[6..8]);
                }
                match inspect_packet(vector.family, &octets) {
                    Ok(()) => accepted += 1,
                    Err(error) => reasons[error.reason() as usize] += 1,
                }
            }
        }
    }
    assert!(accepted > 1000, "only {accepted} were accepted");
    for reason in DiscardReason::ALL {
        use DiscardReason::{Destination, Digest, Owner, Peer, Replay, Source, Window};
        let of_the_node = matches!(reason, Destination | Owner | Source | Peer)
            || matches!(reason, Digest | Window | Replay);
        assert_eq!(reasons[reason as usize] == 0, of_the_node, "{}", reason.name());
    }
}

fn inspect_frame(octets: &[u8]) {
    if let Some(arp) = arp::Arp::parse(octets) {
        let mut out = [0; arp::FRAME_LEN];
        arp.encode(&mut out, MacAddress::default(), MacAddress::default());
        assert_eq!(out[12..], octets[12..arp::FRAME_LEN]);
    }
    if let Some(seen) = ndisc::NeighbourAdvertisement::parse(octets) {
        assert!(!seen.target.is_multicast());
    }
    if let Some(seen) = Sighting::from_arp(octets) {
        assert!(seen.address.is_ipv4() && !seen.address.is_unspecified());
    }
    // As a raw socket gives it, whatever stands in front.
    for message in [Some(octets), octets.get(54..)].into_iter().flatten() {
        if let Some(seen) = Sighting::from_neighbour_advertisement(message) {
            assert!(seen.address.is_ipv6() && !seen.address.is_multicast());
        }
    }
    let _ = (inspect_packet(Family::Ipv4, octets), inspect_packet(Family::Ipv6, octets));
}

fn inspect_packet(family: Family, octets: &[u8]) -> Result<(), ParseError> {
    let datagram = parse_ip(family, octets)?;
    let mut verdict = Err(ParseError::MixedFamilies);
    for version in [Version::V2, Version::V3] {
        let parsed = Advert::parse(&datagram, &Rules { version, ..Rules::LAX });
        if let Ok(advert) = parsed {
            assert_eq!(encode_again(&datagram, &advert), canonical(&datagram, advert.form));
        }
        // Of the version that it says it is.
        if verdict.is_err() && !matches!(parsed, Err(ParseError::Version { found: 2 | 3, .. })) {
            verdict = parsed.map(|_| ());
        }
    }
    verdict
}

/// SplitMix64: the same sequence in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn octet(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    /// Up to three octets changed; now and then cut short or made longer.
    fn mutate(&mut self, octets: &mut Vec<u8>) {
        for _ in 0..self.below(4) {
            let at = self.below(octets.len());
            octets[at] = if self.below(2) == 0 { self.octet() } else { octets[at] ^ (1 << self.below(8)) };
        }
        match self.below(10) {
            0 => octets.truncate(self.below(octets.len() + 1)),
            1 => octets.extend((0..20).map(|octet| octet * 13)),
            _ => {}
        }
    }
}
