//! Frames that are no advertisements, from a stranger on the LAN.

use std::net::Ipv4Addr;
use std::time::Duration;

use lab::story::VIP;
use lab::{Forgery, Injector};

use crate::site::Site;

/// Frames of each kind in a flood.
const FLOOD: usize = 100_000;

/// One of each kind that the receiver has to refuse (RFC 9568 7.1). All but the last are for the
/// virtual router of the pair, with a priority that would win.
fn kinds(source: &str) -> Vec<Forgery> {
    let source: Ipv4Addr = source.parse().expect("an IPv4 address");
    let address: Ipv4Addr = VIP.parse().expect("an IPv4 address");
    let sound = || Forgery::advert(source, 201, 254, 10, &[address]);
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut forgery = sound();
        change(&mut forgery.message);
        forgery
    };
    vec![
        changed(|message| message[6] ^= 0xff),
        Forgery { ttl: 254, ..sound() },
        Forgery { ttl: 1, ..sound() },
        changed(|message| message[0] = 0x71).summed(),
        changed(|message| message[0] = 0x32).summed(),
        changed(|message| message.truncate(4)),
        changed(Vec::clear),
        changed(|message| message[3] = 20).summed(),
        changed(|message| message[3] = 0).summed(),
        changed(|message| message.extend([0; 512])),
        Forgery::advert(source, 202, 254, 10, &[address]),
    ]
}

pub(crate) fn flood(site: &mut Site) {
    let injector = Injector::open(&site.stranger);
    for kind in kinds(&site.stranger.ipv4()) {
        (0..FLOOD).for_each(|_| injector.send(&kind));
    }
}

pub(crate) fn trickle(site: &mut Site) {
    let injector = Injector::open(&site.stranger);
    let kinds = kinds(&site.stranger.ipv4());
    for kind in kinds.iter().cycle().take(150) {
        injector.send(kind);
        site.pass(Duration::from_millis(66));
    }
}
