//! The paths of a router: its own interface, and perhaps a second one, where its peers hear and are
//! heard as well. Who is heard on any of them lives; by what name it is known says the first one.

use std::net::IpAddr;

use super::{Advertisement, Context, VirtualRouter};
use crate::Instant;
use crate::parameters::{InterfaceState, LinkId};
use crate::snapshot::{Alarm, Evidence, SecondPathSnapshot};

/// Which way a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    First,
    Second,
}

/// Where an advertisement leaves, and from which address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Interface.
    pub link: LinkId,
    /// Source address.
    pub source: IpAddr,
}

/// Who was heard last on each path, if anybody, and since when there is silence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paths {
    first: (Option<IpAddr>, Instant),
    second: (Option<IpAddr>, Instant),
}

impl Paths {
    /// Nobody yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { first: (None, now), second: (None, now) }
    }
}

impl VirtualRouter {
    /// Where advertisements go to now: the group or the peers while there is an address to send from,
    /// then the peers on the second path while that can be used.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = IpAddr> {
        let first = self.first_source().into_iter().flat_map(|_| self.parameters.destinations());
        let second = self.facts.second_source.and(self.parameters.second_path.as_ref());
        first.chain(second.into_iter().flat_map(|path| path.peers.iter().map(|peer| peer.address)))
    }

    /// How an advertisement gets to one of them.
    pub(crate) fn way(&self, destination: IpAddr) -> Option<Way> {
        if self.parameters.destinations().any(|each| each == destination) {
            return Some(Way { link: self.parameters.link, source: self.first_source()? });
        }
        let path = self.parameters.second_path.as_ref()?;
        let known = path.peers.iter().any(|peer| peer.address == destination);
        let source = self.facts.second_source.filter(|_| known)?;
        Some(Way { link: path.link, source })
    }

    /// Has the interface gone, so that only the second path is left to say anything through?
    pub(super) fn speaks_on_second_only(&self) -> bool {
        self.first_source().is_none() && self.destinations().next().is_some()
    }

    /// Which path a packet of this interface belongs to.
    pub(super) fn path_of(&self, link: LinkId) -> Path {
        if link == self.parameters.link { Path::First } else { Path::Second }
    }

    /// The name of a router that is heard from this address: its address on the first path.
    pub(super) fn identity(&self, path: Path, source: IpAddr) -> Option<IpAddr> {
        match path {
            Path::First => self.parameters.may_speak(source).then_some(source),
            Path::Second => {
                let mut peers = self.parameters.second_path.iter().flat_map(|path| path.peers.iter());
                peers.find(|peer| peer.address == source).map(|peer| peer.router)
            }
        }
    }

    /// Takes note of a path that works, and of the other one where nothing has come for three
    /// intervals.
    pub(super) fn heard_on(&mut self, path: Path, advert: Advertisement, cx: &mut Context<'_>) {
        if self.parameters.second_path.is_none() {
            return;
        }
        let (here, there, this_silent, other_silent) = match path {
            Path::First => {
                (&mut self.paths.first, self.paths.second, Alarm::FirstPathSilent, Alarm::SecondPathSilent)
            }
            Path::Second => {
                (&mut self.paths.second, self.paths.first, Alarm::SecondPathSilent, Alarm::FirstPathSilent)
            }
        };
        *here = (Some(advert.source), advert.arrived);
        self.over(this_silent, cx);
        if advert.arrived - there.1 >= 3 * advert.interval.duration() {
            self.raise(other_silent, Evidence::of(advert.source), cx);
        }
    }

    /// What an observer may see of the second path, where there is one.
    pub(super) fn second_path(&self, now: Instant) -> Option<SecondPathSnapshot> {
        self.parameters.second_path.as_ref()?;
        let heard = |(by, at): (Option<IpAddr>, Instant)| by.map(|by| (by, now - at));
        Some(SecondPathSnapshot {
            source: self.facts.second_source,
            heard_on_first: heard(self.paths.first),
            heard_on_second: heard(self.paths.second),
            client_lan: self.client_lan.state(),
            answered: self.client_lan.answered(now),
        })
    }

    fn first_source(&self) -> Option<IpAddr> {
        self.facts.source.filter(|_| self.facts.interface == InterfaceState::Up)
    }
}
