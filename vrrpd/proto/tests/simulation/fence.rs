//! The packet filter of one host: it silences the addresses soon after the last advertisement, whatever has
//! become of the daemon (`vrrpd/src/fence.rs`).

use vrrp_proto::parameters::Parameters;

use super::settings::MS;

/// By so much the fence closes before a backup may claim.
const MARGIN: u64 = 20 * MS;

#[derive(Debug)]
pub(crate) struct Fence {
    /// For so long after an advertisement the addresses answer; none without a fence.
    pub(crate) term: Option<u64>,
    /// The term that they were given last.
    pub(crate) granted: u64,
    /// Until when they answer; 0 when nothing is known of it.
    live_until: u64,
    /// A living router is to be preempted: not before the next advertisement.
    closed: bool,
}

impl Fence {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let mut fence = Self { term: None, granted: 0, live_until: 0, closed: false };
        fence.reconfigure(parameters);
        fence
    }

    pub(crate) fn reconfigure(&mut self, parameters: &Parameters) {
        let interval = parameters.interval.duration().as_nanos() as u64;
        self.term = parameters.fenced.then(|| 3 * interval - MARGIN);
    }

    /// Is what is on the interface answered for?
    pub(crate) fn is_open(&self, now: u64) -> bool {
        self.term.is_none() || now < self.live_until
    }

    /// An advertisement has left.
    pub(crate) fn renew(&mut self, now: u64, for_ever: bool) {
        self.granted = self.term.unwrap_or_default();
        self.live_until = if for_ever { u64::MAX } else { now + self.granted };
        self.closed = false;
    }

    /// What comes next keeps quiet.
    pub(crate) fn close(&mut self) {
        (self.live_until, self.closed) = (0, true);
    }

    /// Addresses are put on the interface.
    pub(crate) fn guard(&mut self, now: u64) {
        if !self.closed && self.live_until == 0 {
            self.granted = self.term.unwrap_or_default();
            self.live_until = now + self.granted;
        }
    }

    /// Its clock stood still for so long.
    pub(crate) fn sleep(&mut self, length: u64) {
        if self.live_until > 0 {
            self.live_until = self.live_until.saturating_add(length);
        }
    }

    /// They are gone.
    pub(crate) fn forget(&mut self) {
        (self.live_until, self.closed) = (0, false);
    }
}
