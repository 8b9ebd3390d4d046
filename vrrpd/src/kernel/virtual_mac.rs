//! The devices that have the virtual MAC addresses (RFC 9568 7.3): a macvlan for each router, made when
//! the router is placed and removed when it is gone.
//!
//! A device is up exactly while addresses of ours are on it. While it is down the kernel discards what
//! is sent to its MAC address, and says nothing with it. It is filled before it is set up, and set down
//! before it is emptied: nothing is said with half of the addresses, and nothing in between.
//!
//! The interface below it must not answer ARP for addresses that are not its own, nor ask with them
//! (`arp_ignore`, `arp_announce`); what it did before is put back.

use std::collections::BTreeSet;
use std::path::Path;

use netlink::{Address, Event, Ipv4Setting, Link, LinkIndex, Request, Table};
use vrrp_proto::parameters::RouterId;
use vrrp_proto::{Family, MacAddress};

use super::{Note, Worker};

/// A device as a router needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its name.
    pub(crate) name: String,
    /// The virtual MAC address.
    pub(crate) mac: MacAddress,
}

/// Is noted with each device of ours. Nothing else is touched.
const ALIAS: &str = "vrrpd: virtual MAC address";

/// Answer for addresses of this device only, whatever the host's other ones are.
const OF_THE_DEVICE: [(Ipv4Setting, u32); 5] = [
    (Ipv4Setting::ArpIgnore, 1),
    (Ipv4Setting::ArpAnnounce, 2),
    // The way back to clients leads through the interface below.
    (Ipv4Setting::ArpFilter, 0),
    (Ipv4Setting::RpFilter, 2),
    // Who announces one of the addresses by a request is not answered.
    (Ipv4Setting::AcceptLocal, 0),
];

/// No address is made of the virtual MAC (RFC 9568 7.4), no router followed.
const IPV6_OF_THE_DEVICE: [(&str, &str); 3] = [("accept_ra", "0"), ("autoconf", "0"), ("accept_dad", "0")];
/// Solicitations are answered as a router (RFC 9568 8.2.2). Packets are forwarded only where `all` says so.
const IPV6_OF_AN_IPV6_ROUTER: [(&str, &str); 2] = [("disable_ipv6", "0"), ("forwarding", "1")];

impl Device {
    /// Is it there, as it should be, on the interface below?
    pub(super) fn is_ready(&self, table: &Table, parent: LinkIndex) -> bool {
        table.link_by_name(&self.name).is_some_and(|link| self.fits(link, parent))
    }

    fn fits(&self, link: &Link, parent: LinkIndex) -> bool {
        is_ours(link) && link.lower == Some(parent) && link.mac == Some(self.mac.octets())
    }
}

fn is_ours(link: &Link) -> bool {
    link.kind.as_deref() == Some("macvlan") && link.alias.as_deref() == Some(ALIAS)
}

impl Worker {
    /// Has all devices, and what is below them, as they should be.
    pub(super) fn keep_devices(&mut self) {
        let with_device =
            |(&router, placed): (&RouterId, &super::Placed)| placed.place.device.is_some().then_some(router);
        let routers: Vec<RouterId> = self.places.iter().filter_map(with_device).collect();
        for router in routers {
            self.keep_device(router);
        }
        self.keep_parents();
        if self.complete {
            self.remove_devices_of_nobody();
        }
    }

    /// Has the device of a router as it should be, as far as that can be had.
    pub(super) fn keep_device(&mut self, router: RouterId) {
        let Some(placed) = self.places.get(&router) else { return };
        let Some(device) = placed.place.device.clone() else { return };
        // Without the interface below there is no device; the interface is missed then.
        let Some(parent) = self.table.link_by_name(&placed.place.interface).cloned() else { return };
        let family = placed.place.family;
        let trouble = match self.kept(&device, &parent, family) {
            // What is gone again is being told, and is seen to then.
            Err(Trouble::Kernel(error)) if error.errno() == Some(libc::ENODEV) => return,
            result => result.err().map(|trouble| trouble.to_string()),
        };
        if trouble.is_some() {
            self.try_again();
        }
        let Some(placed) = self.places.get_mut(&router) else { return };
        if placed.device_trouble != trouble {
            placed.device_trouble.clone_from(&trouble);
            drop(self.notes.send(Note::Device { router, trouble }));
        }
    }

    fn kept(&mut self, device: &Device, parent: &Link, family: Family) -> Result<(), Trouble> {
        if let Some(link) = self.table.link_by_name(&device.name).cloned() {
            if device.fits(&link, parent.index) {
                return self.keep_in_shape(&link, parent);
            }
            if !is_ours(&link) && !self.is_half_made(&link, device) {
                return Err(Trouble::Taken(device.name.clone()));
            }
            // It was for another interface, or for one of which this has only the name.
            self.remove_device(&link);
        }
        self.make(device, parent, family)
    }

    /// A daemon before was killed between making and marking it.
    fn is_half_made(&self, link: &Link, device: &Device) -> bool {
        let like_ours = link.kind.as_deref() == Some("macvlan") && link.mac == Some(device.mac.octets());
        like_ours && link.alias.is_none() && self.traces.is_being_made(&device.name)
    }

    /// Whatever somebody else changed about it.
    fn keep_in_shape(&mut self, link: &Link, parent: &Link) -> Result<(), Trouble> {
        if link.mtu != parent.mtu {
            self.perform_one(Request::SetMtu { link: link.index, mtu: parent.mtu })?;
            self.enter(Link { mtu: parent.mtu, ..link.clone() });
        }
        let carries = self.carried(link.index).next().is_some();
        match (link.up, carries) {
            (false, true) => self.set_up(link.index)?,
            (true, false) => self.set_down(link.index),
            _ => {}
        }
        Ok(())
    }

    /// The addresses on the link that are ours, or held by a router though somebody else put them there.
    fn carried(&self, link: LinkIndex) -> impl Iterator<Item = Address> {
        let ours = self.ours.iter().filter(move |&&(on, _)| on == link).map(|&(_, address)| address);
        let held = self.places.values().filter_map(|placed| placed.tenure.as_ref());
        let held = held.flat_map(|tenure| &tenure.addresses).filter(move |(_, held)| held.link == link);
        let there = move |&address: &Address| self.table.address(link, address).is_some();
        ours.chain(held.map(|(&address, _)| address).filter(there))
    }

    fn make(&mut self, device: &Device, parent: &Link, family: Family) -> Result<(), Trouble> {
        let (name, mac) = (device.name.clone(), device.mac.octets());
        self.traces.making(&name);
        self.save_traces();
        // Alone: were the name taken by now, what follows would be done to somebody else's link.
        self.perform_one(Request::AddMacvlan { name: name.clone(), lower: parent.index, mac })?;
        let done = self.mark(&name, family);
        self.list_links()?;
        let Some(link) = self.table.link_by_name(&name).cloned() else { return Ok(()) };
        if done.is_err() {
            self.remove_device(&link);
            return done;
        }
        self.traces.made(&name);
        self.save_traces();
        self.set_ipv6(&name, family);
        self.keep_in_shape(&link, parent)
    }

    fn mark(&mut self, name: &str, family: Family) -> Result<(), Trouble> {
        let name = name.to_owned();
        let mut answers = self.requester.perform(&[
            Request::SetAlias { name: name.clone(), alias: ALIAS.to_owned() },
            Request::SetIpv4 { name: name.clone(), settings: OF_THE_DEVICE.into() },
            Request::NoLinkLocalAddress { name },
        ]);
        if family == Family::Ipv4 {
            // The kernel may well run without IPv6.
            answers.truncate(2);
        }
        answers.into_iter().find_map(Result::err).map_or(Ok(()), |error| Err(error.into()))
    }

    /// What the kernel offers only as files. Where they are read-only, RFC 9568 is followed less far.
    fn set_ipv6(&self, name: &str, family: Family) {
        let directory = Path::new("/proc/sys/net/ipv6/conf").join(name);
        if !directory.exists() {
            return;
        }
        let more: &[_] = if family == Family::Ipv6 { &IPV6_OF_AN_IPV6_ROUTER } else { &[] };
        for (setting, value) in more.iter().chain(&IPV6_OF_THE_DEVICE) {
            let file = directory.join(setting);
            if let Err(error) = std::fs::write(&file, value) {
                let trouble = format!("cannot write {value} to {}: {error}", file.display());
                drop(self.notes.send(Note::Trouble(trouble)));
            }
        }
    }

    /// Removes what no router needs any more, or no router of this daemon after one that crashed.
    fn remove_devices_of_nobody(&mut self) {
        let needed: BTreeSet<&String> =
            self.places.values().filter_map(|placed| Some(&placed.place.device.as_ref()?.name)).collect();
        let nobody_s: Vec<String> =
            self.traces.devices().filter(|name| !needed.contains(name)).cloned().collect();
        for name in nobody_s {
            let link = self.table.link_by_name(&name).filter(|link| is_ours(link)).cloned();
            if link.is_none_or(|link| self.remove_device(&link)) {
                self.traces.removed(&name);
            }
        }
        self.save_traces();
    }

    /// False when it is still there.
    fn remove_device(&mut self, link: &Link) -> bool {
        match self.perform_one(Request::RemoveLink { link: link.index }) {
            Ok(_) => {
                let gone = Event::LinkGone { index: link.index, name: link.name.clone() };
                self.table.apply(&gone);
                true
            }
            // It is being told.
            Err(error) if error.errno() == Some(libc::ENODEV) => true,
            Err(error) => {
                drop(self.notes.send(Note::Trouble(error.to_string())));
                false
            }
        }
    }

    /// Does the router have a virtual MAC address?
    pub(super) fn has_device(&self, router: RouterId) -> bool {
        self.places.get(&router).is_some_and(|placed| placed.place.device.is_some())
    }

    /// The device that an address of a router goes on, while it is down: it is filled before it is set up.
    pub(super) fn device_to_fill(&self, router: RouterId) -> Option<LinkIndex> {
        let link = self.device_of(router)?;
        (!link.up).then_some(link.index)
    }

    /// The device of a router, when nothing that is held is on it but `going`.
    pub(super) fn device_to_silence(
        &self,
        router: RouterId,
        going: impl Fn(Address) -> bool,
    ) -> Option<LinkIndex> {
        let link = self.device_of(router)?;
        let stays = self.carried(link.index).any(|address| !going(address));
        (!stays).then_some(link.index)
    }

    fn device_of(&self, router: RouterId) -> Option<&Link> {
        let device = self.places.get(&router)?.place.device.as_ref()?;
        self.table.link_by_name(&device.name).filter(|link| is_ours(link))
    }

    pub(super) fn set_up(&mut self, index: LinkIndex) -> Result<(), netlink::Error> {
        self.perform_one(Request::SetUp { link: index })?;
        self.entered(index, true);
        Ok(())
    }

    /// From here on nothing is said with its MAC address, and nothing that is sent to it heard.
    pub(super) fn set_down(&mut self, index: LinkIndex) {
        match self.perform_one(Request::SetDown { link: index }) {
            Ok(_) => self.entered(index, false),
            Err(error) => drop(self.notes.send(Note::Trouble(error.to_string()))),
        }
    }

    /// The monitor will tell; until then the table would be behind.
    pub(super) fn entered(&mut self, index: LinkIndex, up: bool) {
        if let Some(link) = self.table.link(index).cloned() {
            self.enter(Link { up, ..link });
        }
    }

    fn enter(&mut self, link: Link) {
        self.table.apply(&Event::LinkChanged(link));
    }

    /// The alias of a link that is down is not told: without this the table would take a device of ours
    /// for somebody else's.
    fn list_links(&mut self) -> Result<(), Trouble> {
        // What was told before is older than the list.
        self.take_in();
        for link in self.requester.links()? {
            self.enter(link);
        }
        Ok(())
    }

    fn perform_one(&mut self, request: Request) -> Result<netlink::Change, netlink::Error> {
        self.requester.perform(&[request]).pop().expect("a result for each request")
    }

    /// Has the interfaces below IPv4 devices keep quiet about addresses that are not theirs, and puts
    /// back what they did before when no device is on them any more.
    pub(super) fn keep_parents(&mut self) {
        let below = |placed: &super::Placed| {
            let place = &placed.place;
            (place.device.is_some() && place.family == Family::Ipv4).then(|| place.interface.clone())
        };
        let needed: BTreeSet<String> = self.places.values().filter_map(below).collect();
        let links: Vec<Link> =
            needed.iter().filter_map(|name| self.table.link_by_name(name)).cloned().collect();
        let mut loud = BTreeSet::new();
        for link in &links {
            loud.extend(self.traces.quieten(&mut self.requester, link).err());
        }
        if !loud.is_empty() {
            self.try_again();
        }
        let mut troubles: Vec<String> = loud.difference(&self.loud_parents).cloned().collect();
        self.loud_parents = loud;
        if self.complete {
            let there = |index| self.table.link(index).is_some();
            troubles.extend(self.traces.put_back(&mut self.requester, &needed, there));
        }
        troubles.into_iter().for_each(|trouble| drop(self.notes.send(Note::Trouble(trouble))));
        self.save_traces();
    }

    fn save_traces(&mut self) {
        if let Some(trouble) = self.traces.save() {
            drop(self.notes.send(Note::Trouble(trouble)));
        }
    }
}

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the name {0} is taken by a link that is not vrrpd's")]
    Taken(String),
    #[error("{0}{hint}", hint = hint(.0))]
    Kernel(#[from] netlink::Error),
}

/// What a refusal usually means.
fn hint(error: &netlink::Error) -> &'static str {
    match error.errno() {
        Some(libc::EBUSY) => {
            "; a port of a bridge or bond cannot carry it: name the bridge or bond as interface"
        }
        Some(libc::EADDRINUSE) => "; another device on the interface is up with the same MAC address",
        _ => "",
    }
}
