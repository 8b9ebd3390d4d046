//! Packets that were discarded: how many for each reason, the last of each, and when to tell of them.
//!
//! Whoever can send a packet can send a hundred thousand. The first is told at once; then the number of
//! those that came meanwhile, at distances that double from a second to an hour while it goes on: what is wrong all the time, or no
//! fault at all like the routers of another group, does not fill the log.

use std::net::IpAddr;
use std::time::Duration;

use crate::Instant;
use crate::packet::{DiscardReason, ParseError};
use crate::snapshot::{Discard, Discards};

/// Distances of reports about one reason.
const SPACING: Duration = Duration::from_secs(1);
const SPACING_MAX: Duration = Duration::from_secs(3600);
/// After so much silence of a reason its next packet is told at once.
const QUIET: Duration = Duration::from_secs(60);

/// Of one Virtual Router, or of one interface.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discarded {
    records: [Option<Record>; DiscardReason::ALL.len()],
    /// How many of them have something to tell. Without any, which is nearly always, none is looked at.
    untold: usize,
}

/// Of one reason.
#[derive(Clone, Copy, Debug)]
struct Record {
    packets: u64,
    error: ParseError,
    source: Option<IpAddr>,
    at: Instant,
    /// Since the last report.
    untold: u64,
    not_before: Instant,
    spacing: Duration,
}

/// What is to be told of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Who sent the last of them.
    pub(crate) source: Option<IpAddr>,
    /// What is wrong with the last of them.
    pub(crate) error: ParseError,
    /// How many they are.
    pub(crate) packets: u64,
}

impl Discarded {
    /// Takes note of one.
    pub(crate) fn add(&mut self, source: Option<IpAddr>, error: ParseError, now: Instant) {
        self.add_many(source, error, 1, now);
    }

    /// Takes note of some that have one thing wrong with them.
    pub(crate) fn add_many(&mut self, source: Option<IpAddr>, error: ParseError, packets: u64, now: Instant) {
        let fresh =
            Record { packets: 0, error, source, at: now, untold: 0, not_before: now, spacing: SPACING };
        let record = self.records[error.reason() as usize].get_or_insert(fresh);
        self.untold += usize::from(record.untold == 0 && packets > 0);
        if now >= record.not_before + QUIET {
            (record.not_before, record.spacing) = (now, SPACING);
        }
        record.packets += packets;
        record.untold += packets;
        (record.error, record.source, record.at) = (error, source, now);
    }

    /// One of those that may be told now. Called again until there is none.
    pub(crate) fn tell(&mut self, now: Instant) -> Option<Told> {
        let due = |record: &&mut Record| record.due_at().is_some_and(|at| at <= now);
        if self.untold == 0 {
            return None;
        }
        let record = self.records.iter_mut().flatten().find(due)?;
        self.untold -= 1;
        let packets = std::mem::take(&mut record.untold);
        record.not_before = now + record.spacing;
        record.spacing = (record.spacing * 2).min(SPACING_MAX);
        Some(Told { source: record.source, error: record.error, packets })
    }

    /// When there is something to tell.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        if self.untold == 0 {
            return None;
        }
        self.records.iter().flatten().filter_map(Record::due_at).min()
    }

    /// What an observer may see.
    pub(crate) fn snapshot(&self, now: Instant) -> Discards {
        let mut discards = Discards::default();
        for (reason, record) in DiscardReason::ALL.into_iter().zip(&self.records) {
            let shown = |&Record { packets, error, source, at, .. }: &Record| Discard {
                packets,
                error,
                source,
                age: now - at,
            };
            discards.set(reason, record.as_ref().map(shown));
        }
        discards
    }
}

impl Record {
    fn due_at(&self) -> Option<Instant> {
        (self.untold > 0).then_some(self.not_before)
    }
}
