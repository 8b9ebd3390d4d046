//! The packet filter of one host: it silences the addresses soon after the last advertisement, whatever has
//! become of the daemon (`vrrpd/src/fence.rs`).

use vrrp_proto::parameters::Parameters;

use super::settings::MS;

/// By so much the fence closes before a backup may claim.
const MARGIN: u64 = 20 * MS;

/// So long at least addresses answer before the first advertisement.
const LEAST_CLAIM: u64 = 20 * MS;

#[derive(Debug)]
pub(crate) struct Fence {
    /// For so long after an advertisement the addresses answer; none without a fence.
    pub(crate) term: Option<u64>,
    /// The term that they were given last.
    pub(crate) granted: u64,
    /// Until when they answer.
    live_until: u64,
    /// It guards addresses.
    guards: bool,
    /// The last advertisement, which may be told before the addresses are there.
    advertised_at: Option<u64>,
}

impl Fence {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let mut fence = Self { term: None, granted: 0, live_until: 0, guards: false, advertised_at: None };
        fence.reconfigure(parameters, false);
        fence
    }

    /// With a shorter interval the addresses answer by it at once, from the same advertisement on, when the daemon
    /// runs; a longer one counts from the next advertisement on.
    pub(crate) fn reconfigure(&mut self, parameters: &Parameters, runs: bool) {
        let interval = parameters.interval.duration().as_nanos() as u64;
        self.term = parameters.fenced.then(|| 3 * interval - MARGIN);
        if let Some(term) = self.term.filter(|&term| runs && term < self.granted)
            && self.live_until < u64::MAX
        {
            self.live_until = self.live_until.saturating_sub(self.granted - term);
            self.granted = term;
        }
    }

    /// Is what is on the interface answered for?
    pub(crate) fn is_open(&self, now: u64) -> bool {
        self.term.is_none() || now < self.live_until
    }

    /// An advertisement has left.
    pub(crate) fn renew(&mut self, now: u64, for_ever: bool) {
        self.advertised_at = Some(now);
        self.granted = self.term.unwrap_or_default();
        self.live_until = if for_ever { u64::MAX } else { now + self.granted };
    }

    /// What comes next keeps quiet until an advertisement that leaves after this was decided.
    pub(crate) fn close(&mut self, decided_at: u64) {
        self.guards = true;
        if self.advertised_at.is_none_or(|at| at < decided_at) {
            self.live_until = 0;
        }
    }

    /// Addresses are put on the interface, as was decided then. Nobody has heard of that yet.
    pub(crate) fn guard(&mut self, decided_at: u64) {
        if !std::mem::replace(&mut self.guards, true) {
            self.granted = self.term.unwrap_or_default();
            let claim = (self.granted / 12).max(LEAST_CLAIM).min(self.granted);
            let advertised = self.advertised_at.map(|at| at + self.granted);
            self.live_until = advertised.unwrap_or_default().max(decided_at + claim);
        }
    }

    /// The daemon died, and another one has advertised nothing yet.
    pub(crate) fn abandon(&mut self) {
        self.advertised_at = None;
    }

    /// Its clock stood still for so long.
    pub(crate) fn sleep(&mut self, length: u64) {
        self.live_until = self.live_until.saturating_add(length);
    }

    /// They are gone.
    pub(crate) fn forget(&mut self) {
        (self.live_until, self.guards) = (0, false);
    }
}
