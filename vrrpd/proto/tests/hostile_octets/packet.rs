//! Every reader of octets that came from the wire. The fuzz target `packet` is this file, too.

use vrrp_proto::packet::{
    Advert, AuthPolicy, ChecksumForm, Datagram, Key, ParseError, Rules, Sequence, Sighting, TRAILER, arp,
    ndisc,
};
use vrrp_proto::{Family, MacAddress, Version};

use crate::vectors::{canonical, encode_again, parse_ip};

/// Gives the octets to all readers, as they are and with the checksum put right, so that what is
/// behind that check is reached too.
pub(crate) fn run(octets: &[u8]) {
    inspect_frame(octets);
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut octets = octets.to_vec();
        if put_checksum_right(family, &mut octets).is_some() {
            let _ = inspect_packet(family, &octets);
        }
    }
    if let Ok(datagram) = Datagram::parse_sealed(octets) {
        let _ = inspect_datagram(&datagram);
    }
}

/// Of the message that the packet says it holds; `None` where there is none.
pub(crate) fn put_checksum_right(family: Family, octets: &mut [u8]) -> Option<()> {
    let datagram = parse_ip(family, octets).ok().filter(|datagram| datagram.payload.len() >= 8)?;
    let fixed = canonical(&datagram, ChecksumForm::PseudoHeader);
    // Both headers may have options in front of the message, and padding behind it.
    let start = datagram.payload.as_ptr().addr() - octets.as_ptr().addr();
    octets[start + 6..start + 8].copy_from_slice(&fixed[6..8]);
    Some(())
}

pub(crate) fn inspect_frame(octets: &[u8]) {
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

/// What becomes of a packet in the version that it says it is of.
pub(crate) fn inspect_packet(family: Family, octets: &[u8]) -> Result<(), ParseError> {
    inspect_datagram(&parse_ip(family, octets)?)
}

fn inspect_datagram(datagram: &Datagram<'_>) -> Result<(), ParseError> {
    let mut verdict = Err(ParseError::MixedFamilies);
    for version in [Version::V2, Version::V3] {
        let parsed = Advert::parse(datagram, &Rules { version, ..Rules::LAX });
        if let Ok(advert) = parsed {
            assert_eq!(encode_again(datagram, &advert), canonical(datagram, advert.form));
            seal(datagram, &Rules { version, trailer: true, ..Rules::LAX });
        }
        if verdict.is_err() && !matches!(parsed, Err(ParseError::Version { found: 2 | 3, .. })) {
            verdict = parsed.map(|_| ());
        }
        // Nothing that is refused by lax rules passes strict ones.
        let strict = Advert::parse(datagram, &Rules { version, ..Rules::STRICT });
        assert!(strict.is_err() || parsed.is_ok(), "{strict:?}");
    }
    let any = Rules { authentication: AuthPolicy::Any, ..Rules::to_identify(datagram) };
    if let Ok(Advert { trailer: Some(trailer), .. }) = Advert::parse(datagram, &any) {
        // Whoever has the key made it with that: not the octets of this file.
        assert!(!trailer.is_made_with(&key(), datagram.source));
        let _ = (trailer.check(), trailer.sequence());
    }
    verdict
}

/// A sound message stays one with a trailer of ours behind it, which counts for its sender alone.
fn seal(datagram: &Datagram<'_>, rules: &Rules) {
    let octets = datagram.payload.len();
    let mut message = datagram.payload.to_vec();
    message.resize(octets + TRAILER, 0);
    let sequence = Sequence::default().next();
    let sealed = key().seal(&mut message, octets, sequence, datagram.source, datagram.destination);
    assert_eq!(sealed, Some(octets + TRAILER));
    let sealed = Datagram { payload: &message, ..*datagram };
    let trailer = Advert::parse(&sealed, rules).expect("it was sound without").trailer.expect("sealed");
    assert_eq!((trailer.check(), trailer.sequence()), (Ok(()), sequence));
    assert!(trailer.is_made_with(&key(), datagram.source));
    assert!(!trailer.is_made_with(&key(), datagram.destination) || datagram.source == datagram.destination);
}

fn key() -> Key {
    Key::new(1, &[7; Key::LEAST_OCTETS]).expect("a secret that is long enough")
}
