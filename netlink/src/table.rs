//! What we know of links and addresses, kept current by events.

use std::collections::BTreeMap;

use crate::{Address, AddressEntry, Event, Lifetime, Link, LinkIndex};

/// The links and addresses of a network namespace.
///
/// Fill it with [`Table::replace`], hand it each [`Event`], and after [`Event::Overrun`] replace it
/// again. Renewals, the most frequent events by far, cost a look-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    links: BTreeMap<LinkIndex, Link>,
    entries: BTreeMap<Key, AddressEntry>,
    /// Each link's addresses in the kernel's order.
    order: BTreeMap<LinkIndex, Vec<Address>>,
}

type Key = (LinkIndex, Address);

impl Table {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The link of that number.
    pub fn link(&self, index: LinkIndex) -> Option<&Link> {
        self.links.get(&index)
    }

    /// The link of that name.
    pub fn link_by_name(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// Every link, by number.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The address on that link.
    pub fn address(&self, link: LinkIndex, address: Address) -> Option<&AddressEntry> {
        self.entries.get(&(link, address))
    }

    /// The addresses of a link in the kernel's order, IPv4 before IPv6.
    pub fn addresses_of(&self, link: LinkIndex) -> impl Iterator<Item = &AddressEntry> {
        let order = self.order.get(&link).map(Vec::as_slice).unwrap_or_default();
        order.iter().filter_map(move |address| self.entries.get(&(link, *address)))
    }

    /// Enters an event. `false`: it told nothing new, apart from lifetimes and times of renewal,
    /// which are entered as well.
    pub fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::LinkChanged(link) => self.links.insert(link.index, link.clone()).as_ref() != Some(link),
            Event::LinkGone { index, .. } => self.remove_link(*index),
            Event::AddressChanged { entry, .. } => self.put(entry),
            Event::AddressGone { entry, .. } => self.remove((entry.link, entry.address)),
            Event::Overrun => false,
        }
    }

    /// Takes over what was listed, and returns what is new about it as if the monitor had reported
    /// it: first what is gone, addresses before links; then what is new, links before addresses.
    /// Entries that differ only in lifetimes and times of renewal are taken over in silence.
    ///
    /// Events that the monitor has in store may be older than the list; when all of them have been
    /// applied the table is right again.
    pub fn replace(&mut self, links: Vec<Link>, addresses: Vec<AddressEntry>) -> Vec<Event> {
        let mut new = Self::default();
        new.links.extend(links.into_iter().map(|link| (link.index, link)));
        for entry in addresses {
            let key = (entry.link, entry.address);
            if new.entries.insert(key, entry).is_none() {
                new.order.entry(key.0).or_default().push(key.1);
            }
        }
        let old = std::mem::replace(self, new);
        self.differences(&old)
    }

    fn differences(&self, old: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        let addresses_gone = old.entries.iter().filter(|(key, _)| !self.entries.contains_key(key));
        events.extend(addresses_gone.map(|(_, entry)| Event::AddressGone { entry: entry.clone(), port: 0 }));
        let links_gone = old.links.values().filter(|link| !self.links.contains_key(&link.index));
        events.extend(links_gone.map(|link| Event::LinkGone { index: link.index, name: link.name.clone() }));
        let links_new = self.links.values().filter(|link| old.links.get(&link.index) != Some(link));
        events.extend(links_new.map(|link| Event::LinkChanged(link.clone())));
        // By link, and then in the kernel's order.
        for index in self.order.keys() {
            for entry in self.addresses_of(*index) {
                let known = old.entries.get(&(entry.link, entry.address));
                if known.is_none_or(|known| !same_but_for_times(known, entry)) {
                    events.push(Event::AddressChanged { entry: entry.clone(), port: 0 });
                }
            }
        }
        events
    }

    fn put(&mut self, entry: &AddressEntry) -> bool {
        let key = (entry.link, entry.address);
        let old = self.entries.insert(key, entry.clone());
        match old {
            Some(old) if same_place(&old, entry) => !same_but_for_times(&old, entry),
            old => {
                if old.is_some() {
                    self.remove_from_order(key);
                }
                self.insert_into_order(entry);
                true
            }
        }
    }

    fn remove(&mut self, key: Key) -> bool {
        self.remove_from_order(key);
        self.entries.remove(&key).is_some()
    }

    fn remove_link(&mut self, index: LinkIndex) -> bool {
        for address in self.order.remove(&index).unwrap_or_default() {
            self.entries.remove(&(index, address));
        }
        self.links.remove(&index).is_some()
    }

    fn remove_from_order(&mut self, (link, address): Key) {
        if let Some(order) = self.order.get_mut(&link) {
            if let Some(position) = order.iter().position(|other| *other == address) {
                order.remove(position);
            }
            if order.is_empty() {
                self.order.remove(&link);
            }
        }
    }

    /// Puts the address where the kernel puts it, which an event does not tell.
    ///
    /// IPv4 (`__inet_insert_ifa`): secondary addresses last; a primary one after the last primary
    /// one that is no wider, or first. IPv6 (`ipv6_link_dev_addr`): before the first that is no
    /// wider.
    fn insert_into_order(&mut self, entry: &AddressEntry) {
        let order = self.order.get(&entry.link).map(Vec::as_slice).unwrap_or_default();
        let known = |address: &Address| self.entries.get(&(entry.link, *address));
        let no_wider = |address: &Address| {
            known(address).is_some_and(|other| other.scope.number() >= entry.scope.number())
        };
        let ipv6 = order.partition_point(|address| address.ip.is_ipv4());
        let position = if entry.address.ip.is_ipv6() {
            order[ipv6..].iter().position(no_wider).map_or(order.len(), |found| ipv6 + found)
        } else if entry.secondary {
            ipv6
        } else {
            let primary = |address: &Address| known(address).is_some_and(|other| !other.secondary);
            let fits = |address: &Address| primary(address) && no_wider(address);
            order[..ipv6].iter().rposition(fits).map_or(0, |found| found + 1)
        };
        self.order.entry(entry.link).or_default().insert(position, entry.address);
    }
}

/// Whether the kernel would have left the address where it was. A secondary IPv4 address that
/// becomes primary moves.
fn same_place(one: &AddressEntry, other: &AddressEntry) -> bool {
    one.scope == other.scope && (one.address.ip.is_ipv6() || one.secondary == other.secondary)
}

fn same_but_for_times(one: &AddressEntry, other: &AddressEntry) -> bool {
    let timeless = |entry: &AddressEntry| AddressEntry {
        valid: Lifetime::Forever,
        preferred: Lifetime::Forever,
        updated_cs: 0,
        ..entry.clone()
    };
    timeless(one) == timeless(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scope;

    const ETH0: LinkIndex = LinkIndex::new(2);

    fn link(index: u32, name: &str) -> Link {
        Link {
            index: LinkIndex::new(index),
            name: name.into(),
            mac: None,
            up: true,
            carrier: true,
            loopback: false,
            mtu: 1500,
            controller: None,
            kind: None,
            lower: None,
            alias: None,
        }
    }

    fn entry(address: &str) -> AddressEntry {
        let (ip, prefix_len) = address.split_once('/').expect("address/prefix");
        AddressEntry {
            link: ETH0,
            address: Address {
                ip: ip.parse().expect("an IP address"),
                prefix_len: prefix_len.parse().expect("a number"),
            },
            secondary: false,
            tentative: false,
            deprecated: false,
            dad_failed: false,
            scope: Scope::Global,
            protocol: None,
            valid: Lifetime::Forever,
            preferred: Lifetime::Forever,
            updated_cs: 100,
        }
    }

    fn changed(entry: AddressEntry) -> Event {
        Event::AddressChanged { entry, port: 0 }
    }

    fn gone(entry: AddressEntry) -> Event {
        Event::AddressGone { entry, port: 0 }
    }

    fn filled() -> Table {
        let mut table = Table::new();
        table.replace(
            vec![link(1, "lo"), link(2, "eth0")],
            vec![entry("192.0.2.1/24"), entry("192.0.2.10/32")],
        );
        table
    }

    fn order(table: &Table) -> Vec<String> {
        table.addresses_of(ETH0).map(|entry| entry.address.to_string()).collect()
    }

    #[test]
    fn the_first_list_is_all_news() {
        let mut table = Table::new();
        let events = table.replace(vec![link(2, "eth0")], vec![entry("192.0.2.1/24")]);
        assert_eq!(events, [Event::LinkChanged(link(2, "eth0")), changed(entry("192.0.2.1/24"))]);
        assert_eq!(table.link_by_name("eth0"), Some(&link(2, "eth0")));
        assert_eq!(table.link_by_name("eth1"), None);
    }

    #[test]
    fn the_same_list_again_is_no_news() {
        let mut table = filled();
        let lists = (table.links().cloned().collect(), table.addresses_of(ETH0).cloned().collect());
        assert_eq!(table.replace(lists.0, lists.1), []);
        assert_eq!(table, filled());
    }

    #[test]
    fn a_list_tells_what_is_gone_before_what_is_new() {
        let mut table = filled();
        let events = table.replace(vec![link(3, "eth0")], vec![]);
        let expected = [
            gone(entry("192.0.2.1/24")),
            gone(entry("192.0.2.10/32")),
            Event::LinkGone { index: LinkIndex::new(1), name: "lo".into() },
            Event::LinkGone { index: ETH0, name: "eth0".into() },
            Event::LinkChanged(link(3, "eth0")),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn differences_applied_to_the_old_table_make_the_new_one() {
        let mut old = filled();
        let mut new = old.clone();
        let mut marked = entry("192.0.2.10/32");
        marked.protocol = Some(112);
        let lists = (vec![link(2, "eth9")], vec![marked, entry("2001:db8::1/64")]);
        for event in new.replace(lists.0, lists.1) {
            assert!(old.apply(&event), "{event:?} is news");
        }
        assert_eq!(old, new);
    }

    #[test]
    fn a_renewal_is_entered_and_no_news() {
        let mut table = filled();
        let mut renewed = entry("192.0.2.10/32");
        (renewed.valid, renewed.updated_cs) = (Lifetime::Seconds(2), 200);
        assert!(!table.apply(&changed(renewed.clone())));
        assert_eq!(table.address(ETH0, renewed.address), Some(&renewed));
        let lists = (table.links().cloned().collect(), vec![entry("192.0.2.1/24"), entry("192.0.2.10/32")]);
        assert_eq!(table.replace(lists.0, lists.1), [], "nor is it in a list");
    }

    #[test]
    fn a_lost_mark_is_news() {
        let mut table = filled();
        let mut marked = entry("192.0.2.10/32");
        marked.protocol = Some(112);
        assert!(table.apply(&changed(marked)));
        assert!(table.apply(&changed(entry("192.0.2.10/32"))));
    }

    #[test]
    fn what_is_gone_twice_is_news_once() {
        let mut table = filled();
        assert!(table.apply(&gone(entry("192.0.2.10/32"))));
        assert!(!table.apply(&gone(entry("192.0.2.10/32"))));
        let link_gone = Event::LinkGone { index: ETH0, name: "eth0".into() };
        assert!(table.apply(&link_gone));
        assert_eq!(order(&table), Vec::<String>::new(), "addresses go with their link");
        assert!(!table.apply(&link_gone));
    }

    #[test]
    fn a_primary_address_stands_before_secondary_ones_and_ipv4_before_ipv6() {
        let mut table = filled();
        table.apply(&changed(entry("2001:db8::1/64")));
        let mut secondary = entry("192.0.2.2/24");
        secondary.secondary = true;
        table.apply(&changed(secondary));
        table.apply(&changed(entry("198.51.100.1/24")));
        let mut local = entry("169.254.0.1/16");
        local.scope = Scope::Link;
        table.apply(&changed(local));
        assert_eq!(
            order(&table),
            [
                "169.254.0.1/16",
                "192.0.2.1/24",
                "192.0.2.10/32",
                "198.51.100.1/24",
                "192.0.2.2/24",
                "2001:db8::1/64"
            ]
        );
    }
}
