//! What the protocol thread wants done to addresses: taken, kept, given up, given back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink::{Address, AddressOptions, Change, LinkIndex, Request};
use vrrp_proto::action::{Outcome, Ownership};
use vrrp_proto::parameters::RouterId;

use super::{Held, Note, Place, Tenure, Worker};

impl Worker {
    /// Adds addresses, and says of each what became of it as soon as that is known.
    pub(super) fn acquire(&mut self, ownership: &Ownership, decided_at: vrrp_proto::Instant) {
        self.keep_clients(ownership.range.clone().map(|index| address_of(ownership, index)));
        if self.try_to_acquire(ownership, Attempt::First).is_err() {
            // By now the kernel has told, and the device is made anew.
            self.take_in();
            // The last attempt takes what it gets.
            let _ = self.try_to_acquire(ownership, Attempt::Last);
        }
        self.guard_held(ownership, decided_at);
        // Routes may need the addresses; who preempts has them as well before it says a word.
        self.open_ways(ownership.router);
        self.tell_outcome(ownership.router, ownership.ticket, Outcome::Acquired);
        self.save_record();
    }

    fn try_to_acquire(&mut self, ownership: &Ownership, attempt: Attempt) -> Result<(), DeviceGone> {
        self.keep_device(ownership.router);
        let targets = self.targets(ownership);
        self.hold(ownership, &targets);
        if let Some(device) = self.device_to_fill(ownership.router) {
            return self.fill(ownership, &targets, device, attempt);
        }
        // The first alone, because somebody waits for it.
        let (first, rest) = targets.split_at(targets.len().min(1));
        for chunk in std::iter::once(first).chain(batches(rest)) {
            let answers = self.requester.perform(&additions(chunk));
            let outcomes = self.outcomes(ownership, chunk, answers, attempt)?;
            self.tell_outcomes(ownership, outcomes);
        }
        Ok(())
    }

    /// Adds all addresses while the device with the virtual MAC is down, which is far quicker, then sets it
    /// up. Nobody hears of an address before that.
    fn fill(
        &mut self,
        ownership: &Ownership,
        targets: &[Target],
        device: LinkIndex,
        attempt: Attempt,
    ) -> Result<(), DeviceGone> {
        let mut outcomes = Vec::with_capacity(targets.len());
        let mut up = None;
        let mut chunks = targets.chunks(FILLED_AT_ONCE).peekable();
        while let Some(chunk) = chunks.next() {
            let mut requests = additions(chunk);
            let last = chunks.peek().is_none();
            requests.extend(last.then_some(Request::SetUp { link: device }));
            let mut answers = self.requester.perform(&requests);
            if last {
                up = answers.pop();
            }
            outcomes.extend(self.outcomes(ownership, chunk, answers, attempt)?);
        }
        match up {
            Some(Ok(_)) => self.entered(device, true),
            // Behind a device that is down an address is as good as none.
            Some(Err(error)) => {
                let errno = error.errno().unwrap_or(libc::EIO);
                targets.iter().for_each(|target| self.refused(ownership, target.address, &error));
                outcomes =
                    targets.iter().map(|&Target { index, .. }| Outcome::Refused { index, errno }).collect();
            }
            None => {}
        }
        self.tell_outcomes(ownership, outcomes);
        Ok(())
    }

    /// What became of additions.
    fn outcomes(
        &mut self,
        ownership: &Ownership,
        chunk: &[Target],
        answers: Vec<Result<Change, netlink::Error>>,
        attempt: Attempt,
    ) -> Result<Vec<Outcome>, DeviceGone> {
        let no_link = |answer: &Result<Change, netlink::Error>| {
            answer.as_ref().is_err_and(|error| error.errno() == Some(libc::ENODEV))
        };
        let gone = self.has_device(ownership.router) && answers.iter().any(no_link);
        if gone && attempt == Attempt::First {
            return Err(DeviceGone);
        }
        let was_there = |(target, answer): (&Target, &Result<Change, netlink::Error>)| {
            matches!(answer, Ok(Change::Unchanged)).then_some((target.link, target.address))
        };
        self.recognise(chunk.iter().zip(&answers).filter_map(was_there).collect());
        let of_each = chunk.iter().zip(answers);
        Ok(of_each.map(|(target, answer)| self.added(ownership, target, answer)).collect())
    }

    fn tell_outcomes(&self, ownership: &Ownership, outcomes: Vec<Outcome>) {
        outcomes
            .into_iter()
            .for_each(|outcome| self.tell_outcome(ownership.router, ownership.ticket, outcome));
    }

    /// Where each address goes. One that has nowhere to go is refused.
    fn targets(&self, ownership: &Ownership) -> Vec<Target> {
        let target = |index| {
            let address = address_of(ownership, index);
            let link = self.destination(ownership.router, address);
            if link.is_none() {
                let outcome = Outcome::Refused { index, errno: libc::ENODEV };
                self.tell_outcome(ownership.router, ownership.ticket, outcome);
            }
            let target = self.target(ownership.router, index, address, link?);
            let place = self.places.get(&ownership.router).map(|placed| &placed.place);
            Some(match place.and_then(Place::first_lifetime) {
                Some(lifetime) => target.lasting(lifetime),
                None => target,
            })
        };
        ownership.range.clone().filter_map(target).collect()
    }

    fn added(
        &mut self,
        ownership: &Ownership,
        target: &Target,
        answer: Result<Change, netlink::Error>,
    ) -> Outcome {
        let &Target { index, address, link, .. } = target;
        match answer {
            Ok(Change::Made) => {
                self.ours.insert((link, address));
                Outcome::Added { index, foreign: false }
            }
            // It was there. Ours from before gets its full term again, another's is left alone.
            Ok(Change::Unchanged) if self.ours.contains(&(link, address)) => {
                self.requester.perform(&[target.renewal()]);
                Outcome::Added { index, foreign: false }
            }
            Ok(Change::Unchanged) => Outcome::Added { index, foreign: true },
            Err(error) => {
                self.refused(ownership, address, &error);
                Outcome::Refused { index, errno: error.errno().unwrap_or(libc::EIO) }
            }
        }
    }

    fn refused(&self, ownership: &Ownership, address: Address, error: &netlink::Error) {
        let note = Note::Refused { router: ownership.router, address, message: error.to_string() };
        drop(self.notes.send(note));
    }

    /// Removes what is ours, and no other router's by now; `followed`: clients have somebody to turn to.
    pub(super) fn release(&mut self, ownership: &Ownership, followed: bool) {
        if self.gives_all(ownership) {
            self.close_ways(Some(ownership.router));
        }
        let ours = self.ours_among(ownership);
        let gone: BTreeSet<Address> =
            ownership.range.clone().map(|index| address_of(ownership, index)).collect();
        let going = |address: Address| gone.contains(&address);
        if let Some(device) = self.device_to_silence(ownership.router, going) {
            self.set_down(device);
        }
        // While it is still here, the other side can be told.
        let left = self.end_connections(ours.iter().map(|target| target.address));
        for chunk in batches(&ours) {
            let requests: Vec<Request> = chunk.iter().map(Target::removal).collect();
            for (target, answer) in chunk.iter().zip(self.requester.perform(&requests)) {
                match answer {
                    Ok(_) => drop(self.ours.remove(&(target.link, target.address))),
                    // Its lease will end; until then it is ours to try again.
                    Err(error) => drop(self.notes.send(Note::Trouble(error.to_string()))),
                }
            }
        }
        self.free_released(ownership);
        self.let_go(ownership);
        self.tell_outcome(ownership.router, ownership.ticket, Outcome::Released);
        if followed {
            self.tell_clients(ours.iter().map(Target::ip).collect(), left);
        } else {
            self.keep_clients(ours.iter().map(|target| target.address));
        }
        self.save_record();
    }

    /// Gives these their lifetimes anew.
    pub(super) fn renew_all(&mut self, targets: &[Target]) {
        for chunk in batches(targets) {
            let requests: Vec<Request> = chunk.iter().map(Target::renewal).collect();
            self.perform_all(&requests);
        }
    }

    /// Has the kernel do that, and tells what it refuses.
    pub(super) fn perform_all(&mut self, requests: &[Request]) {
        for error in self.requester.perform(requests).into_iter().filter_map(Result::err) {
            drop(self.notes.send(Note::Trouble(error.to_string())));
        }
    }

    /// Puts what a router holds the way it is wanted from now on. The kernel changes in place how long
    /// an address is preferred; for the rest it is taken and given back in one go.
    pub(super) fn refit(&mut self, router: RouterId, before: &Place) {
        let Some(placed) = self.places.get(&router) else { return };
        let place = &placed.place;
        let mut requests = Vec::new();
        let mut removes = false;
        for (&address, held) in placed.tenure.iter().flat_map(|tenure| &tenure.addresses) {
            let (old, options) = (before.options_of(address), place.options_of(address));
            if old == options || !self.is_held_by(router, held.link, address) {
                continue;
            }
            let lifetime = place.lifetime_of(address);
            let target = Target { index: held.index, address, link: held.link, options, lifetime };
            if (AddressOptions { preferred: target.options.preferred, ..old }) == target.options {
                requests.push(target.renewal());
            } else {
                requests.extend([target.removal(), target.addition()]);
                removes = true;
            }
        }
        for error in self.requester.perform(&requests).into_iter().filter_map(Result::err) {
            drop(self.notes.send(Note::Trouble(error.to_string())));
        }
        if removes {
            // One that was refused is gone, and so are the secondary addresses behind a primary one, of
            // any router: the kernel says so, but in our name, as with a removal that was meant.
            self.take_in();
            self.stale = true;
            self.list_anew();
        }
    }

    /// Takes note of what a router holds, for the day when somebody else removes it.
    fn hold(&mut self, ownership: &Ownership, targets: &[Target]) {
        let Some(placed) = self.places.get_mut(&ownership.router) else { return };
        let known = placed.tenure.take().filter(|tenure| tenure.ticket == ownership.ticket);
        let mut tenure = known.unwrap_or(Tenure { ticket: ownership.ticket, addresses: BTreeMap::new() });
        let held = |target: &Target| (target.address, Held { index: target.index, link: target.link });
        tenure.addresses.extend(targets.iter().map(held));
        placed.tenure = Some(tenure);
        let holder = |target: &Target| ((target.link, target.address), ownership.router);
        self.holders.extend(targets.iter().map(holder));
    }

    /// The router holds these addresses no longer.
    fn let_go(&mut self, ownership: &Ownership) {
        for index in ownership.range.clone() {
            let address = address_of(ownership, index);
            if let Some(link) = self.whereabouts(ownership.router, address)
                && self.holders.get(&(link, address)) == Some(&ownership.router)
            {
                self.holders.remove(&(link, address));
            }
            let tenure = self.places.get_mut(&ownership.router).and_then(|placed| placed.tenure.as_mut());
            if let Some(tenure) = tenure {
                tenure.addresses.remove(&address);
            }
        }
    }

    /// Is nothing left of the tenure after this release?
    fn gives_all(&self, ownership: &Ownership) -> bool {
        let given: BTreeSet<Address> =
            ownership.range.clone().map(|index| address_of(ownership, index)).collect();
        let tenure = self.places.get(&ownership.router).and_then(|placed| placed.tenure.as_ref());
        tenure.is_none_or(|tenure| tenure.addresses.keys().all(|address| given.contains(address)))
    }

    /// Those of the addresses that are ours and this router's, and where they are.
    pub(super) fn ours_among(&self, ownership: &Ownership) -> Vec<Target> {
        let addresses = ownership.range.clone().map(|index| (index, address_of(ownership, index)));
        self.ours_of(ownership.router, addresses)
    }

    /// The same, of any addresses with their numbers.
    pub(super) fn ours_of(
        &self,
        router: RouterId,
        addresses: impl Iterator<Item = (u16, Address)>,
    ) -> Vec<Target> {
        let target = |(index, address)| {
            let link = self.whereabouts(router, address)?;
            self.is_held_by(router, link, address).then(|| self.target(router, index, address, link))
        };
        addresses.filter_map(target).collect()
    }

    fn target(&self, router: RouterId, index: u16, address: Address, link: LinkIndex) -> Target {
        let place = self.places.get(&router).map(|placed| &placed.place);
        let options = place.map(|place| place.options_of(address)).unwrap_or_default();
        let lifetime = place.and_then(|place| place.lifetime_of(address));
        Target { index, address, link, options, lifetime }
    }

    /// Is an address ours, and no other router's?
    pub(super) fn is_held_by(&self, router: RouterId, link: LinkIndex, address: Address) -> bool {
        let at = (link, address);
        self.ours.contains(&at) && self.holders.get(&at).is_none_or(|holder| *holder == router)
    }

    /// Finds out which of these addresses, which are there, are ours. The table may not have heard of them yet.
    fn recognise(&mut self, there: BTreeSet<(LinkIndex, Address)>) {
        if there.is_subset(&self.ours) {
            return;
        }
        let listed = self.requester.addresses().unwrap_or_default();
        let ours = listed.iter().filter(|entry| entry.is_ours()).map(|entry| (entry.link, entry.address));
        self.ours.extend(ours.filter(|at| there.contains(at)));
    }
}

/// Somebody was removing the device with the virtual MAC while addresses were being put on it.
struct DeviceGone;

/// Is there another attempt when the device is gone?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Last,
}

/// An address that the kernel is asked about.
pub(super) struct Target {
    /// Its number in the core.
    index: u16,
    address: Address,
    link: LinkIndex,
    options: AddressOptions,
    /// In seconds; `None`: for ever.
    lifetime: Option<u32>,
}

impl Target {
    pub(super) fn ip(&self) -> IpAddr {
        self.address.ip
    }

    /// The same with another lifetime.
    pub(super) fn lasting(self, lifetime: u32) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }

    fn addition(&self) -> Request {
        let &Self { link, address, lifetime, .. } = self;
        Request::AddAddress { link, address, lifetime, options: self.options.clone() }
    }

    pub(super) fn renewal(&self) -> Request {
        let &Self { link, address, lifetime, .. } = self;
        Request::RenewAddress { link, address, lifetime, options: self.options.clone() }
    }

    fn removal(&self) -> Request {
        let &Self { link, address, .. } = self;
        Request::RemoveAddress { link, address }
    }
}

fn additions(chunk: &[Target]) -> Vec<Request> {
    chunk.iter().map(Target::addition).collect()
}

pub(super) fn address_of(ownership: &Ownership, index: u16) -> Address {
    let address = ownership.addresses[usize::from(index)];
    Address { ip: address.ip, prefix_len: address.prefix_len }
}

/// Addresses in one request while nobody can hear of them.
const FILLED_AT_ONCE: usize = 512;

/// Addresses in one request: so many that a batch takes about a millisecond (`RTM_NEWADDR` of IPv6
/// costs more the more there are).
fn batches(targets: &[Target]) -> impl Iterator<Item = &[Target]> {
    targets.chunks(if targets.iter().any(|target| target.address.ip.is_ipv6()) { 16 } else { 64 })
}
