//! What the kernel may send, for the fuzzer (`tests/fuzz`) and for the plain test that tries again what
//! it kept.

use crate::ipv4_setting::Ipv4Settings;
use crate::wire::{self, Messages};
use crate::{AddressEntry, Event, LeftOver, Link, Neighbour, RouteEntry, Table};
use crate::{connections, flows, nftables, requester, route};

#[cfg(test)]
#[path = "../../tests/fuzz/corpus.rs"]
mod corpus;

/// A datagram of netlink, in which every reader sees every message, whatever it says that it is.
///
/// # Panics
///
/// When a message that was entered is news a second time, or a list makes another table than its
/// entries one by one.
pub fn datagram(octets: &[u8]) {
    let mut table = Table::new();
    for message in Messages::new(octets).map_while(Result::ok) {
        if let Ok(Some(event)) = Event::parse(&message) {
            table.apply(&event);
            assert!(!table.apply(&event), "{event:?}");
        }
        let payload = message.payload;
        let _ = (wire::verdict(&message), wire::dump_error(payload));
        let _ = (Link::parse(payload), AddressEntry::parse(payload), Ipv4Settings::parse(payload));
        let _ = RouteEntry::parse(payload).map(|route| route.map(|route| route.gateways().count()));
        for left_over in [LeftOver::parse_route(payload), LeftOver::parse_rule(payload)] {
            let _ = left_over.map(|left_over| left_over.map(|left_over| left_over.to_string()));
        }
        let _ = (Neighbour::parse(payload), route::answer(payload));
        connections::fuzz(payload);
        flows::fuzz(payload);
        requester::fuzz(&message);
        nftables::fuzz(&message);
    }
    let links: Vec<Link> = table.links().cloned().collect();
    let order = |table: &Table, link: &Link| table.addresses_of(link.index).cloned().collect::<Vec<_>>();
    let entries: Vec<AddressEntry> = links.iter().flat_map(|link| order(&table, link)).collect();
    let mut again = Table::new();
    again.replace(links.clone(), entries.clone());
    assert!(again.replace(links.clone(), entries).is_empty(), "{links:?}");
    for link in &links {
        assert_eq!(order(&again, link), order(&table, link));
    }
}

#[cfg(test)]
mod tests {
    use super::corpus;

    #[test]
    fn what_the_fuzzer_kept_is_harmless() {
        corpus::each("netlink", super::datagram);
    }
}
