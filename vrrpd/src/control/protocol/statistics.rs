//! Counters with the time that they count from, and what was discarded.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};
use vrrp_proto::packet::DiscardReason;
use vrrp_proto::snapshot::Discards;

use crate::control::time::WallTime;

/// Counters, and since when they count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted<T> {
    /// When all of them were 0 (RFC 8347 `discontinuity-datetime`): the start of the daemon or, for a
    /// virtual router, its first appearance in the configuration since then. Null from a daemon that does
    /// not tell.
    pub discontinuity_datetime: Option<WallTime>,
    /// The counters.
    #[serde(flatten)]
    pub counters: T,
}

impl<T> Deref for Counted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.counters
    }
}

impl<T> DerefMut for Counted<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.counters
    }
}

/// TCP connections to addresses when this node gave these up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Of this host, ended with a reset.
    pub ended: u64,
    /// Translated, or of this host where its kernel ends none: their clients were made to ask the next owner.
    pub told: u64,
    /// As those, but their clients were not: no way to them was known, or there were too many.
    pub left_out: u64,
}

/// Packets that were discarded for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// Why: `version_errors`, `auth_errors`, ...
    pub reason: DiscardReason,
    /// How many.
    pub packets: u64,
    /// Who sent the last of them; null where that could not be read.
    pub source: Option<IpAddr>,
    /// What was wrong with the last of them.
    pub message: String,
    /// When the last of them came.
    pub seen: WallTime,
}

impl Discarded {
    /// Those of each reason that there were, in the order of the checks.
    pub fn list(discards: &Discards, now: WallTime) -> Vec<Self> {
        let of_reason = |(reason, discard): (DiscardReason, vrrp_proto::snapshot::Discard)| Self {
            reason,
            packets: discard.packets,
            source: discard.source,
            message: discard.error.to_string(),
            seen: now.minus(discard.age),
        };
        discards.iter().map(of_reason).collect()
    }
}
