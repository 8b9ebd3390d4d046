//! The routers of a node by their number, and what of them is looked for so often that to ask each of a
//! thousand would take longer than to serve those that are concerned: when they are due, and who minds
//! an address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

use crate::parameters::{LinkId, RouterId};
use crate::router::VirtualRouter;
use crate::{AdverInterval, Instant};

/// The slots of all numbers so far. Whoever changes a router says so by the way in which he gets at it;
/// [`refresh`](Self::refresh) then makes good what is kept of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Routers {
    slots: Vec<Option<VirtualRouter>>,
    /// When each of them has something to do; the end of time for one that has not.
    due: Vec<Instant>,
    /// Which may have changed since, each once.
    touched: Vec<RouterId>,
    is_touched: Vec<bool>,
    /// What each of them speaks from on its link.
    sources: Vec<Option<(LinkId, IpAddr)>>,
    /// Which router minds what is said on a link about an address that it moves.
    minds: BTreeSet<(LinkId, IpAddr, RouterId)>,
    /// Of each interval one that was Active: those that become Active later fall in step with it.
    pacemakers: Vec<(AdverInterval, Option<RouterId>)>,
}

/// No time of any timer.
const NEVER: Instant = Instant::MAX;

impl Routers {
    /// Makes room for that number.
    pub(super) fn extend_to(&mut self, id: RouterId) {
        let length = usize::from(id.0) + 1;
        if self.slots.len() < length {
            self.slots.resize_with(length, || None);
            self.due.resize(length, NEVER);
            self.sources.resize(length, None);
            self.is_touched.resize(length, false);
            self.touched.reserve(length - self.touched.len());
        }
    }

    /// The slot of a router that is about to change.
    pub(super) fn slot(&mut self, id: RouterId) -> Option<&mut Option<VirtualRouter>> {
        self.touch(id);
        self.slots.get_mut(usize::from(id.0))
    }

    /// These are about to change.
    pub(super) fn touch_all(&mut self, ids: &[RouterId]) {
        ids.iter().for_each(|&id| self.touch(id));
    }

    fn touch(&mut self, id: RouterId) {
        if let Some(touched) = self.is_touched.get_mut(usize::from(id.0))
            && !std::mem::replace(touched, true)
        {
            self.touched.push(id);
        }
    }

    /// All routers, by somebody who has said which of them change.
    pub(super) fn said(&mut self) -> &mut [Option<VirtualRouter>] {
        &mut self.slots
    }

    /// What is kept of those that may have changed is true again. Whoever has become Active meanwhile
    /// advertises in step with the others from here on.
    pub(super) fn refresh(&mut self, now: Instant) {
        while let Some(id) = self.touched.pop() {
            let index = usize::from(id.0);
            self.is_touched[index] = false;
            self.fall_in_step(id, now);
            let router = self.slots[index].as_ref();
            self.due[index] = router.and_then(VirtualRouter::poll_timeout).unwrap_or(NEVER);
            self.sources[index] =
                router.and_then(|router| Some((router.parameters().link, router.facts().source?)));
        }
    }

    /// Advertisements that are due together cost one wake-up here, and at whoever hears them. The first
    /// interval becomes shorter, never longer.
    fn fall_in_step(&mut self, id: RouterId, now: Instant) {
        let Some(router) = self.slots[usize::from(id.0)].as_mut() else { return };
        let Some((interval, latest)) = router.take_new_beat() else { return };
        let pacemaker = self.pacemakers.iter().position(|(of, _)| *of == interval);
        let Some(pacemaker) = pacemaker else { return };
        let others = self.pacemakers[pacemaker].1.filter(|&other| other != id);
        let beat = others.and_then(|other| {
            let router = self.slots.get(usize::from(other.0))?.as_ref()?;
            router.beat().filter(|_| router.parameters().interval == interval)
        });
        let Some(beat) = beat else {
            self.pacemakers[pacemaker].1 = Some(id);
            return;
        };
        let period = interval.duration();
        // What is overdue is served in this turn.
        let next = if beat > now { beat } else { beat + period };
        if let Some(router) = self.slots[usize::from(id.0)].as_mut()
            && next > now
            && next < latest
        {
            router.advertise_next_at(next);
        }
    }

    /// The first time at which any has something to do.
    pub(super) fn first_due(&self) -> Option<Instant> {
        debug_assert!(self.touched.is_empty(), "refresh() is the last step of each input");
        self.due.iter().copied().min().filter(|&due| due != NEVER)
    }

    /// The next router, from this number on, that has something to do by now.
    pub(super) fn next_due(&self, from: usize, now: Instant) -> Option<RouterId> {
        let due = self.due.get(from..)?.iter().position(|&due| due <= now)?;
        u16::try_from(from + due).ok().map(RouterId)
    }

    /// The next router, from this number on, that minds what is said about an address.
    pub(super) fn next_minding(&self, link: LinkId, address: IpAddr, from: u16) -> Option<RouterId> {
        let range = (link, address, RouterId(from))..=(link, address, RouterId(u16::MAX));
        let moves = self.minds.range(range).next().map(|&(_, _, router)| router);
        let mut sources = self.sources.iter().enumerate().skip(usize::from(from));
        let speaks = sources.find(|(_, source)| **source == Some((link, address)));
        let speaks = speaks.and_then(|(index, _)| u16::try_from(index).ok()).map(RouterId);
        moves.into_iter().chain(speaks).min()
    }

    /// A router is about to have other addresses.
    pub(super) fn ignore_addresses(&mut self, id: RouterId) {
        let Self { slots, minds, .. } = self;
        let router = slots.get(usize::from(id.0)).and_then(Option::as_ref);
        for address in router.into_iter().flat_map(VirtualRouter::minded) {
            minds.remove(&address);
        }
    }

    /// It has them, and perhaps an interval of its own.
    pub(super) fn mind_addresses(&mut self, id: RouterId) {
        let Self { slots, minds, pacemakers, .. } = self;
        let Some(router) = slots.get(usize::from(id.0)).and_then(Option::as_ref) else { return };
        minds.extend(router.minded());
        let interval = router.parameters().interval;
        if !pacemakers.iter().any(|(of, _)| *of == interval) {
            pacemakers.push((interval, None));
        }
    }
}

impl Deref for Routers {
    type Target = [Option<VirtualRouter>];

    fn deref(&self) -> &Self::Target {
        &self.slots
    }
}

/// Whoever takes all of them may change any.
impl DerefMut for Routers {
    fn deref_mut(&mut self) -> &mut Self::Target {
        for id in (0..self.slots.len()).filter_map(|index| u16::try_from(index).ok()) {
            self.touch(RouterId(id));
        }
        &mut self.slots
    }
}
