//! Packets that were discarded, as an observer sees them.

use std::net::IpAddr;
use std::time::Duration;

use crate::packet::{DiscardReason, ParseError};

/// Packets that were discarded for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard {
    /// How many.
    pub packets: u64,
    /// What was wrong with the last of them.
    pub error: ParseError,
    /// Who sent that, when it could be read.
    pub source: Option<IpAddr>,
    /// Time since that came.
    pub age: Duration,
}

/// Packets that were discarded, by reason. Each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discards([Option<Discard>; DiscardReason::ALL.len()]);

impl Discards {
    /// Those of one reason, if there were any.
    pub const fn get(&self, reason: DiscardReason) -> Option<Discard> {
        self.0[reason as usize]
    }

    /// Puts those of one reason in.
    pub const fn set(&mut self, reason: DiscardReason, discard: Option<Discard>) {
        self.0[reason as usize] = discard;
    }

    /// Those that there were, in the order of the checks.
    pub fn iter(&self) -> impl Iterator<Item = (DiscardReason, Discard)> + '_ {
        DiscardReason::ALL.into_iter().filter_map(|reason| Some((reason, self.get(reason)?)))
    }

    /// The last error that RFC 8347 has an identity for, by its name.
    pub fn last_protocol_error(&self) -> Option<&'static str> {
        let named = self.iter().filter_map(|(reason, discard)| Some((reason.identity()?, discard.age)));
        named.min_by_key(|(_, age)| *age).map(|(name, _)| name)
    }
}
