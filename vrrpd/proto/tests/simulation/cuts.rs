//! Between whom nothing gets through. It is asked after each event, so that a direction is one bit.

use super::settings::HOSTS_MAX;

/// Of one path, by direction. The last after the hosts is the station that stands for the clients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cuts([u8; HOSTS_MAX + 1]);

impl Cuts {
    /// Does nothing get through in this direction?
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.0[from] >> to & 1 == 1
    }

    /// Does nothing get through in either direction?
    pub(crate) fn between(&self, a: usize, b: usize) -> bool {
        self.is_cut(a, b) || self.is_cut(b, a)
    }

    pub(crate) fn any(&self) -> bool {
        self.0 != [0; HOSTS_MAX + 1]
    }

    pub(crate) fn set(&mut self, from: usize, to: usize, cut: bool) {
        self.0[from] = self.0[from] & !(1 << to) | u8::from(cut) << to;
    }

    pub(crate) fn heal(&mut self) {
        *self = Self::default();
    }
}
