//! What ends by itself when nobody renews it: the lifetime of the addresses, and what the fence is told
//! of them.

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use netlink::Address;
use vrrp_proto::action::Ownership;
use vrrp_proto::parameters::RouterId;

use super::tenure::{Target, address_of};
use super::{Note, Place, Placed, Placement, Worker, place};
use crate::clock;
use crate::fence::{Guarded, Live, Message, Term};

/// Lifetimes are whole seconds: to renew them more often gains nothing.
const SPACING: Duration = Duration::from_millis(500);
/// Routers of one address each whose lifetimes are renewed in one system call: it takes about a millisecond.
const RENEWED_AT_ONCE: usize = 32;
/// The kernel ends a lifetime up to a second late.
const LATE: Duration = Duration::from_secs(1);
/// So long an address answers at least before its first advertisement: that takes less than a millisecond,
/// but where a thousand routers claim at once, their fences take their time. The rest is a quarter of the
/// interval.
const LEAST_CLAIM: Duration = Duration::from_millis(20);
/// The longest that addresses wait for the fence before they are put behind a living router.
const PATIENCE: Duration = Duration::from_millis(100);

impl Worker {
    /// Has the fence silence addresses that are about to be put there, until the router advertises. It may
    /// have done so since that was decided.
    pub(super) fn fence_off(&mut self, ownership: &Ownership, decided_at: vrrp_proto::Instant) {
        let foreign = |&address: &Address| {
            let Some(link) = self.destination(ownership.router, address) else { return false };
            self.table.address(link, address).is_some() && !self.ours.contains(&(link, address))
        };
        let coming = addresses(ownership).filter(|address| !foreign(address)).collect();
        let (done, guarded) = sync_channel(1);
        let live = Live::AdvertisedAfter(decided_at);
        if self.guard(ownership.router, coming, live, Some(done)) && guarded.recv_timeout(PATIENCE).is_err() {
            let message = "the fence is busy; the addresses are put there without it".to_owned();
            drop(self.notes.send(Note::Trouble(message)));
        }
    }

    /// Has the fence guard what is there through us, and nothing else.
    pub(super) fn guard_held(&mut self, ownership: &Ownership, decided_at: vrrp_proto::Instant) {
        let (ours, others) = self.split(ownership);
        if let Some(live) = self.claimed(ownership.router, decided_at) {
            self.guard(ownership.router, ours, live, None);
        }
        self.free(ownership.router, others);
    }

    /// Since when a router that decided then to hold its addresses is live, where it has a fence. Nobody has
    /// heard of the claim yet, so that others make theirs when they would have: without an advertisement
    /// it soon ends, and what the kernel was late for is no part of it.
    fn claimed(&self, router: RouterId, decided_at: vrrp_proto::Instant) -> Option<Live> {
        let live = self.places.get(&router)?.place.fence?;
        Some(Live::Since(decided_at.saturating_sub(live - (live / 12).max(LEAST_CLAIM).min(live))))
    }

    /// What could not be removed is guarded until it goes.
    pub(super) fn free_released(&mut self, ownership: &Ownership) {
        let (_, gone) = self.split(ownership);
        self.free(ownership.router, gone);
    }

    /// Advertisements have left: the lifetimes begin anew, unless they have ended by now. Those of many
    /// routers go to the kernel together.
    pub(super) fn renew(&mut self, due: &[(RouterId, vrrp_proto::Instant)]) {
        let mut requests = Vec::new();
        for &(router, advertised_at) in due {
            let Some(turn) = self.turn_to_renew(router, advertised_at) else { continue };
            let targets = self.targets_to_renew(router, turn);
            if targets.len() > 1 {
                self.renew_all(&targets);
                continue;
            }
            requests.extend(targets.iter().map(Target::renewal));
            if requests.len() == RENEWED_AT_ONCE {
                self.perform_all(&std::mem::take(&mut requests));
            }
        }
        self.perform_all(&requests);
    }

    /// Whether the lifetimes of a router are due, and how many times they were before.
    fn turn_to_renew(&mut self, router: RouterId, advertised_at: vrrp_proto::Instant) -> Option<usize> {
        let lease = self.lease(router)?;
        let placed = self.places.get_mut(&router)?;
        let now = Instant::now();
        let is_late = clock::now() - advertised_at >= Duration::from_secs(u64::from(lease));
        if is_late || placed.renewed.is_some_and(|renewed| now - renewed < SPACING) {
            return None;
        }
        placed.renewed = Some(now);
        let turn = placed.turn;
        placed.turn = turn.wrapping_add(1);
        Some(turn)
    }

    fn targets_to_renew(&self, router: RouterId, turn: usize) -> Vec<Target> {
        let Some(placed) = self.places.get(&router) else { return Vec::new() };
        let addresses = &placed.place.addresses;
        let due = addresses.first_few().chain(addresses.whose_turn(turn));
        self.ours_of(router, (0..).zip(due.map(|placement| placement.address)))
    }

    /// The role is given up: whoever finds the addresses must see it.
    pub(super) fn disclaim(&mut self, ownership: &Ownership) {
        let Some(lease) = self.lease(ownership.router) else { return };
        if let Some(placed) = self.places.get_mut(&ownership.router) {
            placed.renewed = None;
        }
        let farewell = place::farewell(lease);
        let Some(placed) = self.places.get(&ownership.router) else { return };
        let first_few = placed.place.addresses.first_few().map(|placement| placement.address);
        let ours = self.ours_of(ownership.router, (0..).zip(first_few));
        let targets: Vec<Target> = ours.into_iter().map(|target| target.lasting(farewell)).collect();
        self.renew_all(&targets);
        self.look_for_clients(self.ours_among(ownership).iter().map(Target::ip).collect());
    }

    /// Another lease than before is configured while addresses are held, or so many addresses that some of
    /// them are renewed in turn, or no longer.
    pub(super) fn change_lease(&mut self, router: RouterId, before: &Place) {
        let Some(placed) = self.places.get(&router) else { return };
        let place = &placed.place;
        let terms = |place: &Place| (place.lease, place.fence);
        let same_terms = terms(place) == terms(before);
        if same_terms && place.addresses == before.addresses {
            return;
        }
        let held = placed.tenure.iter().flat_map(|tenure| &tenure.addresses);
        let ours = held.filter(|(address, held)| self.is_held_by(router, held.link, **address));
        let addresses: Vec<(u16, Address)> = ours.map(|(&address, held)| (held.index, address)).collect();
        // What has been taken from the router is about to go.
        let stays = |address| place.addresses.find(address).is_some();
        let changes = |address| place.lifetime_of(address) != before.lifetime_of(address);
        let changed = addresses.iter().copied().filter(|&(_, address)| stays(address) && changes(address));
        self.renew_all(&self.ours_of(router, changed));
        if same_terms {
            return;
        }
        let fenced = self.places.get(&router).is_some_and(|placed| placed.place.fence.is_some());
        let addresses = addresses.into_iter().map(|(_, address)| address).collect();
        if fenced {
            self.guard(router, addresses, Live::Since(clock::now()), None);
        } else {
            self.free(router, addresses);
        }
    }

    /// The fence of a daemon before goes on as it was.
    pub(super) fn adopt(&self, router: RouterId, placed: &Placed, renewed: Option<vrrp_proto::Instant>) {
        let Some(renewed) = renewed else { return };
        let is_left = |link, address| self.is_held_by(router, link, address);
        let ours = |placement: &&Placement| placement.left_over(&self.table, is_left).is_some();
        let left = placed.place.addresses.iter().filter(ours).map(|placement| placement.address).collect();
        self.guard(router, left, Live::Since(renewed), None);
    }

    /// Says whether any router wants a fence, once all are there.
    pub(super) fn tell_fence_wanted(&mut self) {
        let wanted = self.complete && self.places.values().any(|placed| placed.place.fence.is_some());
        if self.complete && self.fence_wanted.replace(wanted) != Some(wanted) {
            self.fence.push_waiting(Message::Wanted(wanted));
        }
    }

    /// False when the router has no fence.
    fn guard(
        &self,
        router: RouterId,
        addresses: Vec<Address>,
        live: Live,
        done: Option<std::sync::mpsc::SyncSender<()>>,
    ) -> bool {
        let Some((interval, answers, longest)) = self.places.get(&router).and_then(|placed| {
            let place = &placed.place;
            let lease = place.lease?;
            let longest = place.addresses.longest_lifetime(lease).max(place::farewell(lease));
            Some((place.interval, place.fence?, longest))
        }) else {
            return false;
        };
        let lifetime = Duration::from_secs(u64::from(longest));
        let term = Term { interval, live: answers, silent: answers + lifetime + LATE };
        let addresses = self.guarded(router, addresses);
        self.fence.push_waiting(Message::Guard { router, term, addresses, live, done });
        true
    }

    fn free(&self, router: RouterId, addresses: Vec<Address>) {
        if !addresses.is_empty() {
            let addresses = self.guarded(router, addresses);
            self.fence.push_waiting(Message::Free { router, addresses });
        }
    }

    fn guarded(&self, router: RouterId, addresses: Vec<Address>) -> Vec<Guarded> {
        let Some(placed) = self.places.get(&router) else { return Vec::new() };
        let guarded = |address: Address| Guarded::new(placed.place.interface_of(address), address.ip);
        addresses.into_iter().map(guarded).collect()
    }

    /// Those that are there through us, and the rest.
    fn split(&self, ownership: &Ownership) -> (Vec<Address>, Vec<Address>) {
        addresses(ownership).partition(|&address| {
            let link = self.whereabouts(ownership.router, address);
            link.is_some_and(|link| self.is_held_by(ownership.router, link, address))
        })
    }
}

fn addresses(ownership: &Ownership) -> impl Iterator<Item = Address> + '_ {
    ownership.range.clone().map(|index| address_of(ownership, index))
}
