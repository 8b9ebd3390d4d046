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
    /// it: gone first, links before their addresses. Entries that differ only in lifetimes and times
    /// of renewal are taken over in silence.
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
            order.retain(|other| *other != address);
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
        let known: Vec<&AddressEntry> = self.addresses_of(entry.link).collect();
        let ipv6 = known.iter().position(|other| other.address.ip.is_ipv6()).unwrap_or(known.len());
        let no_wider = |other: &&AddressEntry| other.scope.number() >= entry.scope.number();
        let position = if entry.address.ip.is_ipv6() {
            known[ipv6..].iter().position(no_wider).map_or(known.len(), |found| ipv6 + found)
        } else if entry.secondary {
            ipv6
        } else {
            let fits = |other: &&AddressEntry| !other.secondary && no_wider(other);
            known[..ipv6].iter().rposition(fits).map_or(0, |found| found + 1)
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
