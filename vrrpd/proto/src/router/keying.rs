//! Keyed advertisements: the trailer that is sent, and which received ones count.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use super::VirtualRouter;
use crate::Instant;
use crate::packet::{Advert, Sequence, TrailerFault};
use crate::parameters::{Authentication, KeyMode, Keyring, Parameters, Replay};

/// Senders that are remembered at the least, each path of them for itself, beyond which the one heard longest ago is forgotten; each
/// has shown that it knows a key.
const SENDERS: usize = 8;

/// What was sent last, and what each sender sent last.
#[derive(Clone, Debug)]
pub(super) struct Keying {
    sent: Cell<Sequence>,
    /// Of the advertisement that is being sent, of which all copies are alike.
    sending: Cell<Option<Sequence>>,
    marks: Box<[Option<Mark>]>,
}

/// The last that counted of one sender.
#[derive(Clone, Copy, Debug)]
struct Mark {
    source: IpAddr,
    sequence: Sequence,
    heard_at: Instant,
}

impl Keying {
    pub(super) fn new(parameters: &Parameters) -> Self {
        let senders = match parameters.authentication {
            Authentication::Keyed(_) => (2 * parameters.peers.len()).max(SENDERS),
            Authentication::None | Authentication::Password(_) => 0,
        };
        Self { sent: Cell::default(), sending: Cell::default(), marks: vec![None; senders].into() }
    }

    /// Other parameters, and the same past.
    pub(super) fn reconfigured(&mut self, parameters: &Parameters) {
        let before = std::mem::replace(self, Self::new(parameters));
        self.sent = before.sent;
        self.sending = before.sending;
        for (place, mark) in self.marks.iter_mut().zip(before.marks) {
            *place = mark;
        }
    }

    /// Of the advertisement that is being sent at this time since 1970. It grows whatever the clock
    /// does; across a restart, with the clock.
    pub(super) fn sequence(&self, unix: Duration) -> Sequence {
        if let Some(sequence) = self.sending.get() {
            return sequence;
        }
        let (by_clock, following) = (Sequence::at(unix), self.sent.get().next());
        let first = self.sent.get() == Sequence::default();
        let sequence = if first || by_clock.is_after(following) { by_clock } else { following };
        self.sending.set(Some(sequence));
        sequence
    }

    /// All copies have left.
    pub(super) fn left(&self) {
        if let Some(sequence) = self.sending.take() {
            self.sent.set(sequence);
        }
    }

    fn mark_of(&mut self, source: IpAddr) -> Option<&mut Option<Mark>> {
        let same = |place: &Option<Mark>| place.is_some_and(|mark| mark.source == source);
        let index = self.marks.iter().position(same).or_else(|| {
            // An empty place is older than any.
            let places = self.marks.iter().enumerate();
            places.min_by_key(|(_, place)| place.map(|mark| mark.heard_at)).map(|(index, _)| index)
        });
        self.marks.get_mut(index?)
    }
}

impl VirtualRouter {
    /// Does the trailer of an advertisement count, which arrived at the time `unix` since 1970? Nothing
    /// is asked where nothing is keyed.
    pub(super) fn verify(
        &mut self,
        advert: &Advert<'_>,
        source: IpAddr,
        arrived: Instant,
        unix: Duration,
    ) -> Result<(), TrailerFault> {
        let Authentication::Keyed(ring) = &self.parameters.authentication else { return Ok(()) };
        let Some(trailer) = advert.trailer else {
            return if ring.mode == KeyMode::ReceiveOnly { Ok(()) } else { Err(TrailerFault::Missing) };
        };
        trailer.check()?;
        let sequence = trailer.sequence();
        let away = sequence.distance(unix);
        if let Replay::Time { window } = ring.replay
            && away > window
        {
            return Err(TrailerFault::Window { seconds: u16::try_from(away.as_secs()).unwrap_or(u16::MAX) });
        }
        let number = trailer.key();
        let key = ring.key(number).ok_or(TrailerFault::Key { number })?;
        if !trailer.is_made_with(key, source) {
            return Err(TrailerFault::Digest);
        }
        let Some(place) = self.keying.mark_of(source) else { return Ok(()) };
        if let Some(mark) = place.filter(|mark| mark.source == source)
            && !sequence.is_after(mark.sequence)
        {
            return Err(TrailerFault::Replay);
        }
        *place = Some(Mark { source, sequence, heard_at: arrived });
        Ok(())
    }

    /// Seconds by which the clock of the sender differs from ours, and those that are too many, where it
    /// is more than half of these.
    pub(super) fn clock_skew(&self, advert: &Advert<'_>, unix: Duration) -> Option<(Duration, Duration)> {
        let Authentication::Keyed(ring) = &self.parameters.authentication else { return None };
        let Replay::Time { window } = ring.replay else { return None };
        let away = advert.trailer?.sequence().distance(unix);
        (away > window / 2).then_some((away, window))
    }

    /// The keys, where advertisements are keyed.
    pub(super) fn keyring(&self) -> Option<&Keyring> {
        match &self.parameters.authentication {
            Authentication::Keyed(ring) => Some(ring),
            Authentication::None | Authentication::Password(_) => None,
        }
    }
}
