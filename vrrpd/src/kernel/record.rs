//! The record of addresses that are ours, for kernels that cannot mark them (before 5.18).
//!
//! A text file in `state_dir`: the boot it belongs to, then an interface index and an address a
//! line. It is only believed within the same boot, and only where the kernel has no marks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use netlink::{Address, LinkIndex};

/// What the file says, and what it should say.
#[derive(Debug)]
pub(super) struct Record {
    file: PathBuf,
    boot: String,
    /// The kernel marks addresses; nothing is written.
    marked: bool,
    saved: BTreeSet<(LinkIndex, Address)>,
    trouble: Option<String>,
}

impl Record {
    /// Reads the file. `marked`: the kernel was seen to mark addresses by who added them.
    pub(super) fn load(state_dir: &Path, marked: bool) -> Self {
        let file = state_dir.join("addresses");
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let mut record = Self { file, boot, marked, saved: BTreeSet::new(), trouble: None };
        match fs::read_to_string(&record.file) {
            Ok(text) if !marked => match parse(&text, &record.boot) {
                Some(saved) => record.saved = saved,
                None => record.trouble = Some(format!("{}: damaged, set aside", record.file.display())),
            },
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                record.trouble = Some(format!("cannot read {}: {error}", record.file.display()));
            }
            _ => {}
        }
        if record.trouble.is_some() {
            // What cannot be read is kept for whoever wants to know why.
            let _ = fs::rename(&record.file, record.file.with_extension("damaged"));
        }
        record
    }

    /// What was wrong with the file.
    pub(super) fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Does the record say that the address is ours?
    pub(super) fn contains(&self, link: LinkIndex, address: Address) -> bool {
        self.saved.contains(&(link, address))
    }

    /// Writes the file when it would change.
    ///
    /// # Errors
    ///
    /// A sentence. The address lease, where it is on, makes up for a record that could not be kept.
    pub(super) fn save(&mut self, ours: &BTreeSet<(LinkIndex, Address)>) -> Result<(), String> {
        if self.marked || self.saved == *ours {
            return Ok(());
        }
        let mut text = format!("{}\n", self.boot);
        for (link, address) in ours {
            text.push_str(&format!("{} {address}\n", link.get()));
        }
        crate::state_dir::write(&self.file, text.as_bytes())?;
        self.saved.clone_from(ours);
        Ok(())
    }
}

/// `None`: damaged. An empty set: of another boot.
fn parse(text: &str, boot: &str) -> Option<BTreeSet<(LinkIndex, Address)>> {
    let mut lines = text.lines();
    if lines.next()? != boot {
        return Some(BTreeSet::new());
    }
    lines
        .map(|line| {
            let (link, address) = line.split_once(' ')?;
            let (ip, prefix_len) = address.split_once('/')?;
            let address = Address { ip: ip.parse().ok()?, prefix_len: prefix_len.parse().ok()? };
            Some((LinkIndex::new(link.parse().ok()?), address))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> BTreeSet<(LinkIndex, Address)> {
        let address = Address { ip: "192.0.2.201".parse().expect("address"), prefix_len: 32 };
        BTreeSet::from([(LinkIndex::new(7), address)])
    }

    #[test]
    fn what_is_saved_is_read_back_within_the_same_boot() {
        let directory = crate::state_dir::tests::temporary("record");
        Record::load(&directory, false).save(&one()).expect("written");
        assert_eq!(Record::load(&directory, false).saved, one());
        assert_eq!(Record::load(&directory, true).saved, BTreeSet::new(), "marks are better than records");
    }

    #[test]
    fn a_record_of_another_boot_claims_nothing_and_a_damaged_one_is_told() {
        assert_eq!(parse("other\n7 192.0.2.201/32\n", "this"), Some(BTreeSet::new()));
        assert_eq!(parse("this\n7 192.0.2.201/32\n", "this"), Some(one()));
        for damaged in ["this\n7\n", "this\nx 192.0.2.201/32\n", "this\n7 192.0.2.201\n", ""] {
            assert_eq!(parse(damaged, "this"), None, "{damaged:?}");
        }
    }
}
