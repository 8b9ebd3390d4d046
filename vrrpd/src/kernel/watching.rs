//! What the kernel tells: links and addresses that come and go, and the sockets that follow them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use netlink::{Address, Event, LinkIndex};
use vrrp_proto::action::{Input, Outcome};
use vrrp_proto::parameters::{InterfaceState, LinkId, RouterId};
use vrrp_proto::{Family, MacAddress};

use super::place::{self, SecondPlace};
use super::{Note, Opened, Place, Placed, Worker};
use crate::net::{Announcer, LinkSockets, membership};
use crate::protocol;

impl Worker {
    /// Takes in what the kernel tells.
    pub(super) fn watch(&mut self) {
        self.take_in();
        self.list_anew();
        self.pass_on_news();
    }

    /// Does what follows from what the kernel told.
    pub(super) fn pass_on_news(&mut self) {
        if std::mem::take(&mut self.news) {
            self.keep_devices();
            self.tell_all_facts();
            self.ensure_ways(true);
        }
    }

    /// Enters what the kernel has told so far.
    pub(super) fn take_in(&mut self) {
        loop {
            match self.monitor.next() {
                Ok(Some(Event::Overrun)) => {
                    self.news = true;
                    self.stale = true;
                }
                Ok(Some(event)) => {
                    // Of the addresses that we added the table has not heard.
                    self.news |= self.table.apply(&event) || matches!(event, Event::AddressGone { .. });
                    self.lost(&event);
                }
                Ok(None) => return,
                Err(error) => {
                    drop(self.notes.send(Note::Trouble(error.to_string())));
                    return;
                }
            }
        }
    }

    /// After events were lost: finds out what they would have said.
    pub(super) fn list_anew(&mut self) {
        if !self.stale {
            return;
        }
        match (self.requester.links(), self.requester.addresses()) {
            (Ok(links), Ok(addresses)) => {
                self.stale = false;
                for event in self.table.replace(links, addresses) {
                    self.lost(&event);
                }
                // Of those that we added the table had not heard, and so does not miss them.
                let is_missing = |&&(link, address): &&_| self.table.address(link, address).is_none();
                let missing: Vec<(LinkIndex, Address)> =
                    self.ours.iter().filter(is_missing).copied().collect();
                missing.into_iter().for_each(|(link, address)| self.gone(link, address));
            }
            (Err(error), _) | (_, Err(error)) => {
                self.try_again_because(error.to_string());
            }
        }
    }

    /// Tells whose address somebody else removed.
    fn lost(&mut self, event: &Event) {
        if let Event::AddressGone { entry, port } = event
            && *port != self.requester.port()
        {
            self.gone(entry.link, entry.address);
        }
    }

    fn gone(&mut self, link: LinkIndex, address: Address) {
        self.ours.remove(&(link, address));
        for (&router, placed) in &self.places {
            let Some(tenure) = &placed.tenure else { continue };
            if let Some(held) = tenure.addresses.get(&address).filter(|held| held.link == link) {
                self.tell_outcome(router, tenure.ticket, Outcome::Lost { index: held.index });
            }
        }
    }

    /// Says how the interfaces are that are to be told of, where that has changed.
    pub(super) fn tell_tracked(&mut self) {
        for (name, told) in &mut self.tracked {
            let state = place::state(self.table.link_by_name(name));
            if told.replace(state) != Some(state) {
                drop(self.notes.send(Note::Tracked { interface: name.clone(), state }));
            }
        }
    }

    /// Says what is known of each router's place, where that has changed.
    pub(super) fn tell_all_facts(&mut self) {
        self.tell_tracked();
        let virtual_addresses: BTreeSet<_> = self
            .places
            .values()
            .flat_map(|placed| placed.place.addresses.iter().map(|placement| placement.address.ip))
            .collect();
        // Routers of one interface share its sockets.
        let mut followed = BTreeMap::new();
        let routers: Vec<RouterId> = self.places.keys().copied().collect();
        for router in routers {
            let Some(placed) = self.places.get(&router) else { continue };
            let mut facts = placed.place.facts(&self.table, &virtual_addresses, placed.facts);
            if placed.facts.is_none() {
                let is_left = |link, address| self.is_held_by(router, link, address);
                facts.left_over = placed.place.left_over(&self.table, is_left);
                self.adopt(router, placed, facts.left_over);
            }
            let (link, family) = (placed.place.link, placed.place.family);
            let (interface, second) = (placed.place.interface.clone(), placed.place.second.clone());
            let mut follow = |link, interface: &str, state| {
                *followed
                    .entry((link, family))
                    .or_insert_with(|| self.sockets_follow(link, family, interface, state))
            };
            if !follow(link, &interface, facts.interface) {
                facts.interface = InterfaceState::Down;
            }
            self.note_interface(interface, facts.interface);
            if let Some(SecondPlace { link, interface, .. }) = second {
                let state = place::state(self.table.link_by_name(&interface));
                if !self.sockets_follow(link, family, &interface, state) {
                    facts.second_source = None;
                }
                self.note_interface(interface, state);
            }
            let placed = self.places.get_mut(&router).expect("still there");
            if placed.facts.replace(facts) != Some(facts) {
                self.protocol.push_waiting(protocol::Message::Input(Input::Facts { router, facts }));
            }
        }
        self.close_unused_sockets();
        self.announcers_follow();
        self.watch_addresses();
    }

    /// Closes the sockets of links that no router runs on any more.
    fn close_unused_sockets(&mut self) {
        let mut used = BTreeSet::new();
        for Place { link, second, family, .. } in self.places.values().map(|placed| &placed.place) {
            used.insert((*link, *family));
            used.extend(second.as_ref().map(|second| (second.link, *family)));
        }
        let unused: Vec<_> = self.sockets.keys().filter(|key| !used.contains(key)).copied().collect();
        for (link, family) in unused {
            self.close_sockets(link, family);
        }
    }

    fn close_sockets(&mut self, link: LinkId, family: Family) {
        if self.sockets.remove(&(link, family)).is_some() {
            self.protocol.push_waiting(protocol::Message::Sockets { link, family, sockets: None });
        }
    }

    /// Opens what announces on interfaces that no router runs on, or not only, while they are up.
    fn announcers_follow(&mut self) {
        let places = || self.places.values().map(|placed| &placed.place);
        let further = places().flat_map(|place| place.further.iter().cloned());
        let apart = places().flat_map(|place| place.addresses.iter());
        let apart = apart.filter_map(|placement| Some((placement.apart?, placement.interface.clone())));
        let wanted: BTreeMap<LinkId, String> = further.chain(apart).collect();
        let unwanted: Vec<LinkId> =
            self.announcers.keys().filter(|link| !wanted.contains_key(link)).copied().collect();
        for link in unwanted {
            self.close_announcer(link);
        }
        for (link, interface) in wanted {
            let here = self.table.link_by_name(&interface);
            let state = place::state(here);
            let station = here.map(|here| (here.index, MacAddress::new(here.mac.unwrap_or_default())));
            self.note_interface(interface.clone(), state);
            let Some((index, mac)) = station.filter(|_| state == InterfaceState::Up) else {
                self.close_announcer(link);
                continue;
            };
            if self.announcers.get(&link) == Some(&(index, mac)) {
                continue;
            }
            match Announcer::open(index.get()) {
                Ok(announcer) => {
                    self.announcers.insert(link, (index, mac));
                    let announcer = Some((announcer, mac));
                    self.protocol.push_waiting(protocol::Message::Announcer { link, announcer });
                }
                Err(error) => {
                    self.try_again_because(format!("{interface}: {error}"));
                }
            }
        }
    }

    fn close_announcer(&mut self, link: LinkId) {
        if self.announcers.remove(&link).is_some() {
            self.protocol.push_waiting(protocol::Message::Announcer { link, announcer: None });
        }
    }

    fn note_interface(&mut self, name: String, state: InterfaceState) {
        if self.interfaces.insert(name.clone(), state) != Some(state) {
            drop(self.notes.send(Note::Interface { name, state }));
        }
    }

    /// Has the sockets hear who else has the addresses of the routers that are there now, and what the
    /// stations answer that they ask.
    fn watch_addresses(&mut self) {
        for (&(link, family), opened) in &mut self.sockets {
            let here = |placed: &&Placed| placed.place.link == link && placed.place.family == family;
            let placements =
                self.places.values().filter(here).flat_map(|placed| placed.place.addresses.iter());
            // A twin of this node is as bad as another holder of a virtual address.
            let sources = self.places.values().filter(here).filter_map(|placed| placed.facts?.source);
            let stations = self.places.values().filter(here).flat_map(|placed| &placed.place.stations);
            let seconds = self.places.values().filter_map(|placed| placed.place.second.as_ref());
            let seconds = seconds.filter(|second| second.link == link).flat_map(|second| &second.stations);
            let addresses = placements
                .map(|placement| placement.address.ip)
                .chain(sources)
                .chain(stations.chain(seconds).copied())
                .filter(|&ip| Family::of(ip) == family)
                .collect();
            let Some(interface) = self.table.link(opened.interface) else { continue };
            let own = MacAddress::new(interface.mac.unwrap_or_default());
            if let Err(error) = opened.aim.at(own, addresses) {
                drop(self.notes.send(Note::Trouble(format!("{}: {error}", interface.name))));
            }
        }
    }

    /// Opens sockets when the interface comes up, and closes them when it goes. Coming up again is
    /// a new opening: whatever became of the group membership meanwhile, it is renewed. So are other
    /// groups than before.
    fn sockets_follow(
        &mut self,
        link: LinkId,
        family: Family,
        interface: &str,
        state: InterfaceState,
    ) -> bool {
        let index = match (state, self.table.link_by_name(interface)) {
            (InterfaceState::Up, Some(link)) => link.index,
            _ => {
                self.close_sockets(link, family);
                return true;
            }
        };
        let wanted = place::wanted(self.places.values().map(|placed| &placed.place), link, family);
        if let Some(opened) = self.sockets.get_mut(&(link, family))
            && opened.interface == index
            && opened.hears(&wanted)
        {
            return true;
        }
        match LinkSockets::open(interface, index.get(), family, &wanted) {
            Ok((sockets, sieve, aim)) => {
                let opened = Opened { interface: index, wanted, sieve, aim, report_trouble: None };
                self.sockets.insert((link, family), opened);
                let sockets = Some(Box::new(sockets));
                self.protocol.push_waiting(protocol::Message::Sockets { link, family, sockets });
                true
            }
            Err(error) => {
                self.try_again_because(format!("{interface}: {error}"));
                false
            }
        }
    }

    /// When the groups are to be reported, if there are any.
    pub(super) fn reports_due(&self) -> Option<Instant> {
        self.sockets.values().any(|opened| !opened.wanted.groups.is_empty()).then_some(self.report_at)
    }

    /// Tells switches which groups we listen to, whether or not anybody asked.
    pub(super) fn report_memberships(&mut self) {
        self.report_at = Instant::now() + membership::INTERVAL;
        for (&(link, family), opened) in &mut self.sockets {
            if opened.wanted.groups.is_empty() {
                continue;
            }
            let here = |placed: &&Placed| placed.place.link == link && placed.place.family == family;
            // In unicast it may be one that groups are not spoken of from.
            let in_group = self.places.values().filter(here).filter(|placed| placed.place.group.is_some());
            let source = in_group.filter_map(|placed| placed.facts?.source).next();
            let Some(interface) = self.table.link(opened.interface) else { continue };
            let (name, index) = (&interface.name, interface.index.get());
            let trouble = membership::report(name, index, family, source, &opened.wanted.groups).err();
            let trouble = trouble.map(|error| format!("{name}: {error}"));
            // Once, not every minute.
            if opened.report_trouble != trouble {
                trouble.iter().for_each(|trouble| drop(self.notes.send(Note::Trouble(trouble.clone()))));
                opened.report_trouble = trouble;
            }
        }
    }
}
