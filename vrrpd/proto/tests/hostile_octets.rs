//! The codec and the node against octets that nobody should send. What the fuzzer kept of its own
//! (`tests/fuzz/corpus`) is tried here, too.

#[path = "../../../tests/fuzz/corpus.rs"]
mod corpus;
#[path = "hostile_octets/node.rs"]
mod node;
#[path = "hostile_octets/packet.rs"]
mod packet;
mod scene;
mod vectors;

use vrrp_proto::Family;
use vrrp_proto::packet::{Advert, ChecksumForm, ChecksumPolicy, DiscardReason, Rules};

use crate::packet::{inspect_frame, inspect_packet, put_checksum_right};
use crate::vectors::{Vector, octets, packets_of, parse_ip, vectors};

#[test]
fn what_the_fuzzer_kept_is_harmless() {
    corpus::each("packet", packet::run);
    corpus::each("node", node::run);
}

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
                put_checksum_right(vector.family, &mut octets);
                match inspect_packet(vector.family, &octets) {
                    Ok(()) => accepted += 1,
                    Err(error) => reasons[error.reason() as usize] += 1,
                }
            }
        }
    }
    assert!(accepted > 1000, "only {accepted} were accepted");
    for reason in DiscardReason::ALL {
        use DiscardReason::{Destination, Digest, Overrun, Owner, Peer, Replay, Source, Window};
        let of_the_node = matches!(reason, Destination | Overrun | Owner | Source | Peer)
            || matches!(reason, Digest | Window | Replay);
        assert_eq!(reasons[reason as usize] == 0, of_the_node, "{}", reason.name());
    }
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
