//! Between whom nothing gets through. It is asked after each event, so that a direction is one bit.

use super::settings::HOSTS_MAX;

/// Of one path, by direction. The last after the hosts is the station that stands for the clients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cuts {
    /// By sender, who does not get what it sends.
    to: [u8; HOSTS_MAX + 1],
    /// Who does not get what it sends, or the other way round.
    between: [u8; HOSTS_MAX + 1],
}

impl Cuts {
    /// Does nothing get through in this direction?
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.to[from] >> to & 1 == 1
    }

    /// Does nothing get through in either direction?
    pub(crate) fn between(&self, a: usize, b: usize) -> bool {
        self.between[a] >> b & 1 == 1
    }

    /// Who gets what it sends: a bit each.
    pub(crate) fn open(&self, from: usize) -> u8 {
        !self.to[from]
    }

    /// The same, and the other way round.
    pub(crate) fn open_both_ways(&self, from: usize) -> u8 {
        !self.between[from]
    }

    pub(crate) fn any(&self) -> bool {
        self.to != [0; HOSTS_MAX + 1]
    }

    pub(crate) fn set(&mut self, from: usize, to: usize, cut: bool) {
        self.to[from] = self.to[from] & !(1 << to) | u8::from(cut) << to;
        let between = u8::from(cut || self.is_cut(to, from));
        self.between[from] = self.between[from] & !(1 << to) | between << to;
        self.between[to] = self.between[to] & !(1 << from) | between << from;
    }

    pub(crate) fn heal(&mut self) {
        *self = Self::default();
    }
}
