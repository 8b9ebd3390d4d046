//! `accept_mode = false`: the packet filter drops what is addressed to the virtual addresses of a
//! router that does not own them (RFC 9568 6.4.3).
//!
//! The table is ours alone. Its chain is at the input hook, which sees nothing but what this host is
//! about to take itself: behind it comes nobody who would answer, with an echo, a reset or an error,
//! and because the address is local while the router is Active, nobody forwards the packet either. On
//! a backup the address is not local and nothing gets that far. So an address is listed for as long
//! as its router is configured, before it can be in the kernel until after it has gone, and taking
//! over waits for nothing here. ARP is not IP, and neighbour discovery is let through.
//!
//! The table belongs to our socket: nobody else can change it, and it ends with the process. Before
//! Linux 5.12 others can, and it is watched and put back; what a killed daemon left is replaced.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink::Error;
use netlink::nftables::{Element, Family, Fate, Field, Hook, Match, Nftables, Step, Watch};

use super::place::Place;
use super::{Note, Worker};

/// Name of the table in `nft list ruleset`.
const TABLE: &str = "vrrpd";
const CHAIN: &str = "input";
/// Before any filter that could answer for the packet (`NF_IP_PRI_RAW`).
const PRIORITY: i32 = -300;
const IPV4: &str = "closed_ipv4";
const IPV4_KEY: &[Field] = &[Field::Ipv4Destination];
const IPV6: &str = "closed_ipv6";
const IPV6_KEY: &[Field] = &[Field::Ipv6Destination];
/// Another link may have the same link-local address, for another router.
const LINK_LOCAL: &str = "closed_link_local";
const LINK_LOCAL_KEY: &[Field] = &[Field::InputInterface, Field::Ipv6Destination];
/// Neighbour solicitations and advertisements, which must not be dropped (RFC 9568 6.1).
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 135..=136;

/// An element of a set: the name of the set, and the element.
type Closed = (&'static str, Element);

/// Keeps the table as the routers want it.
#[derive(Default)]
pub(super) struct Acceptance {
    table: Option<Table>,
    /// Why it is not, as was told last.
    trouble: Option<String>,
}

struct Table {
    filter: Nftables,
    /// Where the table cannot be our own: who hears of others that change it.
    watch: Option<Watch>,
    closed: BTreeSet<Closed>,
    /// Others have changed it, or a commit failed, which may yet have been performed: what is in the
    /// kernel is not known, and has to be replaced as a whole.
    doubtful: bool,
}

impl Worker {
    /// Closes the addresses of the routers that are there now. What cannot be had is tried again.
    pub(super) fn close_addresses(&mut self) {
        let places = self.places.values().map(|placed| &placed.place);
        let closed = self.acceptance.close(places);
        self.tell_acceptance(closed.err());
    }

    /// Looks whether somebody else has opened them.
    pub(super) fn guard_addresses(&mut self) {
        match self.acceptance.put_back() {
            Ok(false) => {}
            Ok(true) => {
                let message =
                    format!("somebody changed the nf_tables table inet {TABLE}; it is as it was again");
                drop(self.notes.send(Note::Trouble(message)));
                self.tell_acceptance(None);
            }
            Err(error) => self.tell_acceptance(Some(error)),
        }
    }

    fn tell_acceptance(&mut self, error: Option<Error>) {
        if error.is_some() {
            self.try_again();
        }
        let trouble = error.map(|error| error.to_string());
        if self.acceptance.trouble != trouble {
            self.acceptance.trouble.clone_from(&trouble);
            drop(self.notes.send(Note::AcceptMode { trouble }));
        }
    }
}

impl Acceptance {
    /// Drops from now on what is addressed to the addresses of those of the places that do not accept
    /// it, and nothing else. Without such a place there is no table.
    ///
    /// # Errors
    ///
    /// What the kernel says. Nothing is dropped then, or what was before.
    fn close<'a>(&mut self, places: impl Iterator<Item = &'a Place>) -> Result<(), Error> {
        self.keep(places.flat_map(elements).collect())
    }

    fn keep(&mut self, closed: BTreeSet<Closed>) -> Result<(), Error> {
        match &mut self.table {
            Some(table) if closed.is_empty() => {
                table.filter.commit(TABLE, &table.nothing())?;
                self.table = None;
            }
            Some(table) => table.change(closed)?,
            None if closed.is_empty() => {}
            None => self.table = Some(Table::make(closed)?),
        }
        Ok(())
    }

    /// What is readable when somebody else may have changed the table.
    pub(super) fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.table.as_ref()?.watch.as_ref().map(AsFd::as_fd)
    }

    /// Puts the table back where somebody else has changed it, and says so.
    ///
    /// # Errors
    ///
    /// As with [`close`](Self::close).
    fn put_back(&mut self) -> Result<bool, Error> {
        let Some(table) = &mut self.table else { return Ok(false) };
        let Some(watch) = &mut table.watch else { return Ok(false) };
        let disturbed = watch.disturbed(&[Family::Inet], TABLE, table.filter.port());
        table.doubtful |= *disturbed.as_ref().unwrap_or(&true);
        if disturbed? {
            table.change(table.closed.clone())?;
            return Ok(true);
        }
        Ok(false)
    }
}

impl Table {
    /// Makes the table, in place of one that an earlier daemon left.
    fn make(closed: BTreeSet<Closed>) -> Result<Self, Error> {
        let mut filter = Nftables::open()?;
        match filter.commit(TABLE, &whole(false, true, &closed)) {
            Ok(()) => Ok(Self { filter, watch: None, closed, doubtful: false }),
            // Linux before 5.12 does not know owners.
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
                Self::without_owner(filter, closed)
            }
            Err(error) => Err(error),
        }
    }

    fn without_owner(mut filter: Nftables, closed: BTreeSet<Closed>) -> Result<Self, Error> {
        // First the watch, so that nothing falls in between.
        let watch = Some(Watch::open()?);
        filter.commit(TABLE, &whole(false, false, &closed))?;
        Ok(Self { filter, watch, closed, doubtful: false })
    }

    /// What nobody else can change is owned.
    fn owned(&self) -> bool {
        self.watch.is_none()
    }

    /// No table, whether there is one now or not.
    fn nothing(&self) -> [Step; 2] {
        [Step::AddTable { owned: self.owned() }, Step::RemoveTable]
    }

    fn change(&mut self, closed: BTreeSet<Closed>) -> Result<(), Error> {
        let steps = match self.doubtful {
            true => whole(self.owned(), self.owned(), &closed),
            false => difference(&self.closed, &closed),
        };
        if !steps.is_empty() {
            self.doubtful = true;
            self.filter.commit(TABLE, &steps)?;
            self.doubtful = false;
            self.closed = closed;
        }
        Ok(())
    }
}

fn difference(before: &BTreeSet<Closed>, after: &BTreeSet<Closed>) -> Vec<Step> {
    let added = by_set(after.difference(before)).map(|(set, elements)| Step::AddElements { set, elements });
    let removed =
        by_set(before.difference(after)).map(|(set, elements)| Step::RemoveElements { set, elements });
    added.chain(removed).collect()
}

/// The elements for the addresses of a router, where they are closed.
fn elements(place: &Place) -> impl Iterator<Item = Closed> + '_ {
    // The owner accepts in any case.
    let closed = !place.accept_mode && !place.owner;
    place.addresses.iter().filter(move |_| closed).map(|placement| match placement.address.ip {
        ip @ IpAddr::V4(_) => (IPV4, ip.into()),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            (LINK_LOCAL, Element::on_interface(&placement.interface, ip.into()))
        }
        ip => (IPV6, ip.into()),
    })
}

/// Everything, from nothing: a table that is there is in the way, one that is not is no error. The one
/// before is `owned_before` by this socket, or by nobody.
fn whole(owned_before: bool, owned: bool, closed: &BTreeSet<Closed>) -> Vec<Step> {
    let rule = |matches, fate| Step::AddRule { chain: CHAIN.into(), matches, fate };
    let in_set = |set: &'static str, key| Match::InSet { set, key };
    let mut steps = vec![
        Step::AddTable { owned: owned_before },
        Step::RemoveTable,
        Step::AddTable { owned },
        Step::AddChain { chain: CHAIN, hook: Hook::Input, priority: PRIORITY },
        Step::AddSet { set: IPV4, key: IPV4_KEY },
        Step::AddSet { set: IPV6, key: IPV6_KEY },
        Step::AddSet { set: LINK_LOCAL, key: LINK_LOCAL_KEY },
        rule(vec![Match::Icmpv6Type(NEIGHBOUR_DISCOVERY)], Fate::Accept),
        rule(vec![Match::Ipv4, in_set(IPV4, IPV4_KEY)], Fate::Drop),
        rule(vec![Match::Ipv6, in_set(IPV6, IPV6_KEY)], Fate::Drop),
        rule(vec![Match::Ipv6, in_set(LINK_LOCAL, LINK_LOCAL_KEY)], Fate::Drop),
    ];
    steps.extend(by_set(closed.iter()).map(|(set, elements)| Step::AddElements { set, elements }));
    steps
}

/// The elements of each set that has some.
fn by_set<'a>(
    closed: impl Iterator<Item = &'a Closed>,
) -> impl Iterator<Item = (&'static str, Vec<Element>)> {
    let mut sets = [(IPV4, Vec::new()), (IPV6, Vec::new()), (LINK_LOCAL, Vec::new())];
    for (set, element) in closed {
        let (_, elements) = sets.iter_mut().find(|(name, _)| name == set).expect("one of the three");
        elements.push(element.clone());
    }
    sets.into_iter().filter(|(_, elements)| !elements.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::super::tests::{in_network_namespace, worker};
    use super::*;

    fn closed(addresses: &[&str]) -> BTreeSet<Closed> {
        let element = |text: &&str| (IPV4, Element::from(text.parse::<IpAddr>().expect("an address")));
        addresses.iter().map(element).collect()
    }

    /// Whether another socket finds the element in the set, which it then is no more.
    fn takes_out(other: &mut Nftables, address: &str) -> bool {
        let elements = closed(&[address]).into_iter().map(|(_, element)| element).collect();
        other.commit(TABLE, &[Step::RemoveElements { set: IPV4, elements }]).is_ok()
    }

    #[test]
    fn a_table_that_cannot_be_owned_is_put_back_when_others_change_it() {
        in_network_namespace(|| {
            let filter = Nftables::open().expect("sockets can be had");
            let table = Table::without_owner(filter, closed(&["192.0.2.1"])).expect("the namespace is ours");
            let mut acceptance = Acceptance { table: Some(table), trouble: None };
            assert!(acceptance.watched().is_some());
            assert!(!acceptance.put_back().expect("it is there"), "nobody has touched it");

            let mut other = Nftables::open().expect("sockets can be had");
            assert!(takes_out(&mut other, "192.0.2.1"));
            assert!(acceptance.put_back().expect("it can be made again"));
            assert!(takes_out(&mut other, "192.0.2.1"), "it is there again");
            other.commit(TABLE, &[Step::RemoveTable]).expect("nobody owns it");
            assert!(acceptance.put_back().expect("it can be made again"));
            assert!(takes_out(&mut other, "192.0.2.1"), "it is there again");
        });
    }

    #[test]
    fn a_table_that_could_not_be_put_back_is_made_at_the_next_attempt() {
        in_network_namespace(|| {
            let filter = Nftables::open().expect("sockets can be had");
            let table = Table::without_owner(filter, closed(&["192.0.2.1"])).expect("the namespace is ours");
            let mut acceptance = Acceptance { table: Some(table), trouble: None };
            let mut other = Nftables::open().expect("sockets can be had");
            other.commit(TABLE, &[Step::RemoveTable]).expect("nobody owns it");
            let mut owner = Nftables::open().expect("sockets can be had");
            owner.commit(TABLE, &[Step::AddTable { owned: true }]).expect("there is none");
            acceptance.put_back().expect_err("somebody else owns it");
            acceptance.keep(closed(&["192.0.2.1"])).expect_err("still");

            drop(owner);
            acceptance.keep(closed(&["192.0.2.1"])).expect("it can be made again");
            assert!(takes_out(&mut other, "192.0.2.1"), "it is there again");
            other.commit(TABLE, &[Step::RemoveTable]).expect("nobody owns it");
            acceptance.keep(closed(&[])).expect("that it has gone is no error");
        });
    }

    #[test]
    fn nothing_is_left_of_a_table_without_an_owner_when_the_thread_ends() {
        in_network_namespace(|| {
            let filter = Nftables::open().expect("sockets can be had");
            let table = Table::without_owner(filter, closed(&["192.0.2.1"])).expect("the namespace is ours");
            let mut worker = worker("acceptance");
            worker.acceptance.table = Some(table);
            assert!(worker.messages.push(Message::Stop).is_ok());
            assert!(worker.serve().is_break());
            let mut other = Nftables::open().expect("sockets can be had");
            other.commit(TABLE, &[Step::RemoveTable]).expect_err("there is none");
        });
    }

    #[test]
    fn a_change_whose_answer_was_lost_is_made_again_owned_or_not() {
        in_network_namespace(|| {
            // Owned last: the kernel removes that table with its socket, which a child of another test may
            // have for a moment longer.
            for owned in [false, true] {
                let before = closed(&["192.0.2.1", "192.0.2.2"]);
                let filter = Nftables::open().expect("sockets can be had");
                let table = if owned { Table::make(before) } else { Table::without_owner(filter, before) };
                let mut table = table.expect("the namespace is ours");
                assert!(takes_out(&mut table.filter, "192.0.2.1"), "performed, and we do not know");
                let mut acceptance = Acceptance { table: Some(table), trouble: None };
                acceptance.keep(closed(&["192.0.2.2"])).expect_err("it is not there any more");
                acceptance.keep(closed(&["192.0.2.2"])).expect("made anew");
                let table = acceptance.table.as_mut().expect("still there");
                assert!(!takes_out(&mut table.filter, "192.0.2.1"), "not closed any more");
                assert!(takes_out(&mut table.filter, "192.0.2.2"), "as before");
            }
        });
    }

    #[test]
    fn what_an_earlier_daemon_left_is_replaced_and_only_the_difference_is_told() {
        in_network_namespace(|| {
            let mut earlier = Nftables::open().expect("sockets can be had");
            earlier
                .commit(TABLE, &whole(false, false, &closed(&["192.0.2.9"])))
                .expect("the namespace is ours");
            let filter = Nftables::open().expect("sockets can be had");
            let mut table =
                Table::without_owner(filter, closed(&["192.0.2.1", "192.0.2.2"])).expect("it is replaced");
            assert!(!takes_out(&mut earlier, "192.0.2.9"), "it went with the old table");

            table.change(closed(&["192.0.2.2", "192.0.2.3"])).expect("the sets are there");
            assert!(!takes_out(&mut earlier, "192.0.2.1"), "not closed any more");
            assert!(takes_out(&mut earlier, "192.0.2.2"), "as before");
            assert!(takes_out(&mut earlier, "192.0.2.3"), "closed now");
        });
    }
}
