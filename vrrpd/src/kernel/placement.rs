//! The virtual addresses of a router: where and how each goes, for how long, found by the address as well.
//!
//! To renew the lifetime of one IPv6 address the kernel goes through all groups of its interface, which it has
//! one of for each address (`ipv6_mc_up`), and of IPv4 through the addresses before it: for a thousand IPv6
//! addresses that is 300 ms of its lock, for 4000 five seconds, each second. So where a family has many, the
//! first few are renewed with each advertisement, and the others, the crowd, in turn and for as much longer.
//! Whoever finds the addresses goes by the first few.

use std::ops::Deref;

use netlink::{Address, AddressEntry, AddressOptions, Link, LinkIndex, Table};
use vrrp_proto::parameters::LinkId;

/// A virtual address, and where and how it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) address: Address,
    /// Name of the interface that it is put on.
    pub(crate) interface: String,
    /// Number of that interface in the core, where it is not the router's.
    pub(crate) apart: Option<LinkId>,
    pub(crate) options: AddressOptions,
    /// It only moves along.
    pub(crate) extra: bool,
}

/// Those of one router, in the order of the core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placements {
    list: Box<[Placement]>,
    /// Positions in the list, by address.
    sorted: Box<[u16]>,
    /// Positions of the crowd.
    crowd: Box<[u16]>,
}

/// As many addresses of a family are renewed with each advertisement, IPv4 and IPv6: some milliseconds at most.
const FEW: [usize; 2] = [1024, 64];
/// Where there are more: how many of them still are, and how many of the crowd come with them.
const AT_ONCE: usize = 16;

impl Placement {
    fn link<'a>(&self, table: &'a Table) -> Option<&'a Link> {
        table.link_by_name(&self.interface)
    }

    /// The address, if it is there and an earlier daemon left it.
    pub(super) fn left_over<'a>(
        &self,
        table: &'a Table,
        is_left: impl Fn(LinkIndex, Address) -> bool,
    ) -> Option<&'a AddressEntry> {
        let entry = table.address(self.link(table)?.index, self.address)?;
        is_left(entry.link, entry.address).then_some(entry)
    }

    /// Is the address there, whatever its prefix?
    pub(super) fn is_there(&self, table: &Table) -> bool {
        let mut on_link = self.link(table).into_iter().flat_map(|link| table.addresses_of(link.index));
        on_link.any(|entry| entry.address.ip == self.address.ip)
    }
}

impl Placements {
    /// Where and how this address goes, if it is one of them.
    pub(super) fn find(&self, address: Address) -> Option<&Placement> {
        self.position(address).map(|position| &self.list[usize::from(position)])
    }

    fn position(&self, address: Address) -> Option<u16> {
        let at = |position: &u16| self.list[usize::from(*position)].address;
        let found = self.sorted.binary_search_by_key(&address, at).ok()?;
        Some(self.sorted[found])
    }

    /// Those that are renewed with each advertisement.
    pub(super) fn first_few(&self) -> impl Iterator<Item = &Placement> {
        let list = (0..).zip(&self.list);
        list.filter(|(position, _)| !self.is_in_crowd(*position)).map(|(_, placement)| placement)
    }

    /// Those of the crowd that are renewed with the advertisement of this number.
    pub(super) fn whose_turn(&self, turn: usize) -> impl Iterator<Item = &Placement> {
        let from = turn.checked_rem(self.turns()).unwrap_or_default() * AT_ONCE;
        let crowd = self.crowd.iter().skip(from).take(AT_ONCE);
        crowd.map(|&position| &self.list[usize::from(position)])
    }

    /// After so many advertisements it is the first ones' turn again; 0: there is no crowd.
    fn turns(&self) -> usize {
        self.crowd.len().div_ceil(AT_ONCE)
    }

    /// Kernel lifetime of an address, in seconds, where those that are renewed with each advertisement have
    /// `lease`, which is longer than the time between two advertisements.
    pub(super) fn lifetime(&self, address: Address, lease: u32) -> u32 {
        match self.position(address) {
            Some(position) if self.is_in_crowd(position) => self.longest_lifetime(lease),
            _ => lease,
        }
    }

    /// That of the crowd, if there is one: it lasts until one turn has been missed.
    pub(super) fn longest_lifetime(&self, lease: u32) -> u32 {
        let turns = u32::try_from(self.turns()).expect("of 65536 addresses at most");
        lease.saturating_mul(turns + 1)
    }

    fn is_in_crowd(&self, position: u16) -> bool {
        self.crowd.binary_search(&position).is_ok()
    }
}

impl From<Vec<Placement>> for Placements {
    fn from(list: Vec<Placement>) -> Self {
        let mut sorted: Box<[u16]> = (0..).take(list.len()).collect();
        sorted.sort_unstable_by_key(|&position| list[usize::from(position)].address);
        let crowd = crowd(&list);
        Self { list: list.into(), sorted, crowd }
    }
}

/// What is behind the first of a family that has more than a few.
fn crowd(list: &[Placement]) -> Box<[u16]> {
    let family = |placement: &Placement| usize::from(placement.address.ip.is_ipv6());
    let many = [0, 1].map(|one| list.iter().filter(|placement| family(placement) == one).count() > FEW[one]);
    let mut seen = [0; 2];
    let behind = |placement: &Placement| {
        let family = family(placement);
        seen[family] += 1;
        many[family] && seen[family] > AT_ONCE
    };
    let places: Vec<bool> = list.iter().map(behind).collect();
    (0..).zip(places).filter(|(_, behind)| *behind).map(|(position, _)| position).collect()
}

impl Deref for Placements {
    type Target = [Placement];

    fn deref(&self) -> &[Placement] {
        &self.list
    }
}

/// The same ones, put elsewhere or otherwise.
#[cfg(test)]
pub(super) fn changed(placements: &Placements, change: impl FnMut(&mut Placement)) -> Placements {
    let mut list = placements.to_vec();
    list.iter_mut().for_each(change);
    list.into()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn placement(ip: impl Into<IpAddr>) -> Placement {
        let address = Address::host(ip.into());
        let options = AddressOptions::default();
        Placement { address, interface: address.to_string(), apart: None, options, extra: false }
    }

    /// So many of either family, the advertised one first.
    fn many(ipv4: u16, ipv6: u16) -> Placements {
        let six = (0..ipv6).rev().map(|n| placement(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n)));
        let four = (0..ipv4).map(|n| placement(Ipv4Addr::from_bits(0xc612_0000 + u32::from(n))));
        six.chain(four).collect::<Vec<_>>().into()
    }

    #[test]
    fn each_address_is_found_whatever_their_order() {
        let placements =
            Placements::from([203, 201, 204, 202].map(|last| placement([192, 0, 2, last])).to_vec());
        for last in 201..=204 {
            let one = placement([192, 0, 2, last]);
            assert_eq!(placements.find(one.address), Some(&one));
        }
        assert_eq!(placements.find(placement([192, 0, 2, 205]).address), None);
        assert_eq!(placements[0], placement([192, 0, 2, 203]), "in the order of the core");
    }

    #[test]
    fn a_few_addresses_are_all_renewed_each_time() {
        let few = many(1024, 64);
        assert_eq!(few.first_few().count(), 1088);
        assert_eq!(few.whose_turn(7).count(), 0);
        assert!(few.iter().all(|one| few.lifetime(one.address, 2) == 2));
        assert_eq!(few.longest_lifetime(2), 2);
    }

    #[test]
    fn many_are_renewed_in_turn_each_well_before_its_lifetime_ends() {
        for (ipv4, ipv6) in [(0, 65), (500, 4097), (1025, 64), (4096, 1)] {
            let (lease, placements) = (2, many(ipv4, ipv6));
            let first: Vec<_> = placements.first_few().map(|one| one.address).collect();
            assert_eq!(first[0], placements[0].address, "the advertised one is among the first few");
            assert!(first.iter().all(|&address| placements.lifetime(address, lease) == lease));
            let at_once = |turn| placements.whose_turn(turn).map(|one| one.address);
            for one in placements.iter().filter(|one| !first.contains(&one.address)) {
                let lifetime = placements.lifetime(one.address, lease);
                assert_eq!(lifetime, placements.longest_lifetime(lease));
                let turns: Vec<usize> =
                    (0..600).filter(|&turn| at_once(turn).any(|address| address == one.address)).collect();
                // A second apart, with a lease of two.
                let apart = turns.windows(2).map(|pair| pair[1] - pair[0]).max().expect("more than one");
                assert!(2 * apart <= lifetime as usize, "{apart} s of {lifetime} s");
            }
            assert!((0..600).all(|turn| at_once(turn).count() <= AT_ONCE));
        }
    }
}
