//! The record of addresses that are ours, for kernels that cannot mark them (before 5.18).
//!
//! A text file in `state_dir`: the boot it belongs to, then an interface index and an address a
//! line. It is only believed within the same boot, and only where the kernel has no marks.

use std::collections::BTreeSet;
use std::fmt::Write;

use netlink::{Address, LinkIndex};

use crate::state_dir::{StateDir, StateFile};

/// What the file says, and what it should say.
#[derive(Debug)]
pub(super) struct Record {
    state: StateDir,
    /// The kernel marks addresses; nothing is read or written.
    marked: bool,
    saved: BTreeSet<(LinkIndex, Address)>,
}

impl Record {
    /// Reads the file; what is wrong with it is told as the second value. `marked`: the kernel was seen
    /// to mark addresses by who added them.
    pub(super) fn load(state: &StateDir, marked: bool) -> (Self, Option<String>) {
        let (saved, damaged) = if marked {
            (BTreeSet::new(), None)
        } else {
            state.read_of_this_boot(StateFile::Addresses, |lines| lines.map(entry).collect())
        };
        (Self { state: state.clone(), marked, saved }, damaged)
    }

    /// Does the record say that the address is ours?
    pub(super) fn contains(&self, link: LinkIndex, address: Address) -> bool {
        self.saved.contains(&(link, address))
    }

    /// Writes the file when it would change. Says what went wrong when that is news; the address lease,
    /// where it is on, makes up for a record that could not be kept.
    pub(super) fn save(&mut self, ours: &BTreeSet<(LinkIndex, Address)>) -> Option<String> {
        if self.marked || self.saved == *ours {
            return None;
        }
        self.saved.clone_from(ours);
        let mut text = String::new();
        for (link, address) in ours {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {address}", link.get());
        }
        self.state.keep_for_this_boot(StateFile::Addresses, &text)
    }
}

fn entry(line: &str) -> Option<(LinkIndex, Address)> {
    let (link, address) = line.split_once(' ')?;
    let (ip, prefix_len) = address.split_once('/')?;
    let address = Address { ip: ip.parse().ok()?, prefix_len: prefix_len.parse().ok()? };
    Some((LinkIndex::new(link.parse().ok()?), address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_dir::tests::temporary_state;

    fn one() -> BTreeSet<(LinkIndex, Address)> {
        let address = Address { ip: "192.0.2.201".parse().expect("address"), prefix_len: 32 };
        BTreeSet::from([(LinkIndex::new(7), address)])
    }

    #[test]
    fn what_is_saved_is_read_back_within_the_same_boot() {
        let state = temporary_state("record");
        assert_eq!(Record::load(&state, false).0.save(&one()), None);
        assert_eq!(Record::load(&state, false).0.saved, one());
        assert_eq!(Record::load(&state, true).0.saved, BTreeSet::new(), "marks are better than records");
    }

    #[test]
    fn a_damaged_record_claims_nothing_and_is_told() {
        assert_eq!(entry("7 192.0.2.201/32"), one().pop_first());
        for damaged in ["7", "x 192.0.2.201/32", "7 192.0.2.201", ""] {
            assert_eq!(entry(damaged), None, "{damaged:?}");
        }
        let state = temporary_state("record");
        state.keep_for_this_boot(StateFile::Addresses, "7 192.0.2.201/32\n7\n");
        let (record, told) = Record::load(&state, false);
        assert_eq!(record.saved, BTreeSet::new());
        assert!(told.is_some_and(|told| told.contains("addresses.damaged")));
    }
}
