//! What the protocol thread wants done to addresses: taken, kept, given up, given back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use netlink::{Address, Change, LinkIndex, Request};
use vrrp_proto::Family;
use vrrp_proto::action::{Outcome, Ownership};

use super::{Note, Tenure, Worker};

impl Worker {
    /// Adds addresses, and says of each what became of it as soon as that is known.
    pub(super) fn acquire(&mut self, ownership: &Ownership) {
        let Some((link, lease, family)) = self.whereabouts(ownership.router) else {
            return self.refuse_all(ownership, libc::ENODEV);
        };
        self.hold(ownership, link);
        let indices: Vec<u16> = ownership.range.clone().collect();
        let (first, rest) = indices.split_at(indices.len().min(1));
        for chunk in std::iter::once(first).chain(rest.chunks(batch(family))) {
            let addresses: Vec<Address> = chunk.iter().map(|&index| address(ownership, index)).collect();
            let requests: Vec<Request> = addresses
                .iter()
                .map(|&address| Request::AddAddress { link, address, lifetime: lease })
                .collect();
            let answers = self.requester.perform(&requests);
            for ((&index, &address), answer) in chunk.iter().zip(&addresses).zip(answers) {
                let outcome = self.added(ownership, link, index, address, lease, answer);
                self.tell_outcome(ownership.router, ownership.ticket, outcome);
            }
        }
        self.tell_outcome(ownership.router, ownership.ticket, Outcome::Acquired);
        self.save_record();
    }

    fn added(
        &mut self,
        ownership: &Ownership,
        link: LinkIndex,
        index: u16,
        address: Address,
        lease: Option<u32>,
        answer: Result<Change, netlink::Error>,
    ) -> Outcome {
        match answer {
            Ok(Change::Made) => {
                self.ours.insert((link, address));
                Outcome::Added { index, foreign: false }
            }
            // It was there. Ours from before gets its full term again, another's is left alone.
            Ok(Change::Unchanged) if self.is_ours(link, address) => {
                self.requester.perform(&[Request::RenewAddress { link, address, lifetime: lease }]);
                Outcome::Added { index, foreign: false }
            }
            Ok(Change::Unchanged) => Outcome::Added { index, foreign: true },
            Err(error) => {
                let errno = error.errno().unwrap_or(libc::EIO);
                let note = Note::Refused { router: ownership.router, address, message: error.to_string() };
                drop(self.notes.send(note));
                Outcome::Refused { index, errno }
            }
        }
    }

    /// Removes what is ours.
    pub(super) fn release(&mut self, ownership: &Ownership) {
        if let Some((link, _, family)) = self.whereabouts(ownership.router) {
            let ours: Vec<Address> = ownership
                .range
                .clone()
                .map(|index| address(ownership, index))
                .filter(|&address| self.ours.remove(&(link, address)))
                .collect();
            // While it is still here, the other side can be told.
            let until = Instant::now() + FAREWELL;
            ours.iter().for_each(|&address| self.end_connections(address, until));
            for chunk in ours.chunks(batch(family)) {
                let requests: Vec<Request> =
                    chunk.iter().map(|&address| Request::RemoveAddress { link, address }).collect();
                for (&address, answer) in chunk.iter().zip(self.requester.perform(&requests)) {
                    if let Err(error) = answer {
                        // Its lease will end; until then it is ours to try again.
                        self.ours.insert((link, address));
                        drop(self.notes.send(Note::Trouble(error.to_string())));
                    }
                }
            }
        }
        if let Some(placed) = self.places.get_mut(&ownership.router)
            && let Some(tenure) = &mut placed.tenure
        {
            for index in ownership.range.clone() {
                tenure.addresses.remove(&address(ownership, index));
            }
        }
        self.tell_outcome(ownership.router, ownership.ticket, Outcome::Released);
        self.save_record();
    }

    /// Ends the TCP connections of an address that goes: who only receives would otherwise learn of it
    /// from a time-out of his own.
    fn end_connections(&mut self, address: Address, until: Instant) {
        let Some(connections) = &mut self.connections else { return };
        match connections.end(address.ip, until.saturating_duration_since(Instant::now())) {
            Ok(0) => {}
            Ok(connections) => drop(self.notes.send(Note::Ended { address, connections })),
            Err(error) => {
                drop(self.notes.send(Note::Trouble(error.to_string())));
                // Before Linux 4.5, or built without it: told once.
                if matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL)) {
                    self.connections = None;
                }
            }
        }
    }

    /// Gives ours a new term, made of the lease; without a lease nothing ends.
    pub(super) fn set_lifetime(&mut self, ownership: &Ownership, term: fn(u32) -> u32) {
        let Some((link, Some(lease), family)) = self.whereabouts(ownership.router) else { return };
        let lifetime = Some(term(lease));
        let ours = ownership
            .addresses
            .iter()
            .map(|address| Address { ip: address.ip, prefix_len: address.prefix_len });
        let requests: Vec<Request> = ours
            .filter(|&address| self.ours.contains(&(link, address)))
            .map(|address| Request::RenewAddress { link, address, lifetime })
            .collect();
        for chunk in requests.chunks(batch(family)) {
            for error in self.requester.perform(chunk).into_iter().filter_map(Result::err) {
                drop(self.notes.send(Note::Trouble(error.to_string())));
            }
        }
    }

    /// Takes note of what a router holds, for the day when somebody else removes it.
    fn hold(&mut self, ownership: &Ownership, link: LinkIndex) {
        let Some(placed) = self.places.get_mut(&ownership.router) else { return };
        let known =
            placed.tenure.take().filter(|tenure| tenure.ticket == ownership.ticket && tenure.link == link);
        let mut tenure =
            known.unwrap_or(Tenure { ticket: ownership.ticket, link, addresses: BTreeMap::new() });
        tenure.addresses.extend(ownership.range.clone().map(|index| (address(ownership, index), index)));
        placed.tenure = Some(tenure);
    }

    /// Is an address that is there ours? The table may not have heard of it yet.
    fn is_ours(&mut self, link: LinkIndex, address: Address) -> bool {
        if self.ours.contains(&(link, address)) {
            return true;
        }
        let listed = self.requester.addresses().unwrap_or_default();
        let ours =
            listed.iter().any(|entry| entry.link == link && entry.address == address && entry.is_ours());
        if ours {
            self.ours.insert((link, address));
        }
        ours
    }

    fn refuse_all(&self, ownership: &Ownership, errno: i32) {
        for index in ownership.range.clone() {
            self.tell_outcome(ownership.router, ownership.ticket, Outcome::Refused { index, errno });
        }
        self.tell_outcome(ownership.router, ownership.ticket, Outcome::Acquired);
    }
}

fn address(ownership: &Ownership, index: u16) -> Address {
    let address = ownership.addresses[usize::from(index)];
    Address { ip: address.ip, prefix_len: address.prefix_len }
}

/// Addresses in one request: the first alone, because somebody waits for it, then so many that a
/// batch takes about a millisecond (`RTM_NEWADDR` of IPv6 costs more the more there are).
const fn batch(family: Family) -> usize {
    match family {
        Family::Ipv4 => 64,
        Family::Ipv6 => 16,
    }
}

/// Time for the connections of addresses that go, which another node may have by now.
const FAREWELL: Duration = Duration::from_millis(20);
