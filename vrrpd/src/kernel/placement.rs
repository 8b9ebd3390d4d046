//! The virtual addresses of a router: where and how each goes, found by the address as well.

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
}

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
        let at = |position: &u16| &self.list[usize::from(*position)];
        let found = self.sorted.binary_search_by_key(&address, |position| at(position).address).ok()?;
        Some(at(&self.sorted[found]))
    }
}

impl From<Vec<Placement>> for Placements {
    fn from(list: Vec<Placement>) -> Self {
        let mut sorted: Box<[u16]> = (0..).take(list.len()).collect();
        sorted.sort_unstable_by_key(|&position| list[usize::from(position)].address);
        Self { list: list.into(), sorted }
    }
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
    use super::*;

    #[test]
    fn each_address_is_found_whatever_their_order() {
        let placement = |last| Placement {
            address: Address::host([192, 0, 2, last].into()),
            interface: format!("eth{last}"),
            apart: None,
            options: AddressOptions::default(),
            extra: false,
        };
        let placements = Placements::from([203, 201, 204, 202].map(placement).to_vec());
        for last in 201..=204 {
            assert_eq!(placements.find(placement(last).address), Some(&placement(last)));
        }
        assert_eq!(placements.find(placement(205).address), None);
        assert_eq!(placements[0], placement(203), "in the order of the core");
    }
}
