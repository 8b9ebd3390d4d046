//! What virtual MAC addresses leave behind in the kernel: the devices made, and what the interfaces below
//! them were set to before. A text file in `state_dir`, so that a daemon that crashed is cleaned up after.
//!
//! ```text
//! BOOT
//! device vrrp4-201
//! below eth0 7 0 0
//! ```
//!
//! Name, number, and the `arp_ignore` and `arp_announce` that `eth0` had. Believed within the same boot.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use netlink::{Ipv4Setting, Link, LinkIndex, Request, Requester};

use crate::state_dir::{StateDir, StateFile};

/// What was made and changed, and what should be put back.
#[derive(Debug)]
pub(super) struct Traces {
    state: StateDir,
    known: Known,
    saved: Known,
    /// Those that this daemon has seen to.
    quiet: BTreeSet<LinkIndex>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    devices: BTreeMap<String, Mark>,
    below: BTreeMap<String, Before>,
}

/// Is a device marked as ours?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Missing,
    There,
}

/// An interface below devices, as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Before {
    link: LinkIndex,
    arp_ignore: u32,
    arp_announce: u32,
}

impl Before {
    /// What it is set to while devices are on it, and what it was.
    fn settings(self) -> [(Ipv4Setting, u32, u32); 2] {
        // 1, 2 and 8 keep quiet about the addresses of other links; 2 and 8 are stricter than we need.
        let ignore = if matches!(self.arp_ignore, 1 | 2 | 8) { self.arp_ignore } else { 1 };
        [(Ipv4Setting::ArpIgnore, ignore, self.arp_ignore), (Ipv4Setting::ArpAnnounce, 2, self.arp_announce)]
    }
}

impl Traces {
    /// Reads what an earlier daemon left; what is wrong with that is told as the second value.
    pub(super) fn load(state: &StateDir) -> (Self, Option<String>) {
        let (known, damaged) = state.read_of_this_boot(StateFile::VirtualMac, |lines| parse(lines));
        (Self { state: state.clone(), saved: known.clone(), known, quiet: BTreeSet::new() }, damaged)
    }

    /// A device is about to be made; it is not marked as ours yet.
    pub(super) fn making(&mut self, device: &str) {
        self.known.devices.insert(device.to_owned(), Mark::Missing);
    }

    /// A device has been made, and marked.
    pub(super) fn made(&mut self, device: &str) {
        self.known.devices.insert(device.to_owned(), Mark::There);
    }

    /// Was it about to be made when that was last noted?
    pub(super) fn is_being_made(&self, device: &str) -> bool {
        self.known.devices.get(device) == Some(&Mark::Missing)
    }

    /// A device is gone.
    pub(super) fn removed(&mut self, device: &str) {
        self.known.devices.remove(device);
    }

    /// The devices that were made.
    pub(super) fn devices(&self) -> impl Iterator<Item = &String> {
        self.known.devices.keys()
    }

    /// Has an interface answer ARP for its own addresses only, and ask with the best of these. What it
    /// did before is on disk first, where there is room on it.
    ///
    /// # Errors
    ///
    /// A sentence.
    pub(super) fn quieten(&mut self, requester: &mut Requester, link: &Link) -> Result<(), String> {
        if self.quiet.contains(&link.index) {
            return Ok(());
        }
        let known = self.known.below.get(&link.name).copied().filter(|before| before.link == link.index);
        let before = match known {
            Some(before) => before,
            None => {
                let settings = requester.ipv4_settings(link.index).map_err(|error| error.to_string())?;
                let get = |setting| settings.as_ref()?.get(setting);
                let value = |setting| get(setting).ok_or_else(|| format!("{} has no IPv4", link.name));
                Before {
                    link: link.index,
                    arp_ignore: value(Ipv4Setting::ArpIgnore)?,
                    arp_announce: value(Ipv4Setting::ArpAnnounce)?,
                }
            }
        };
        self.known.below.insert(link.name.clone(), before);
        let saved = self.save();
        let wanted = before.settings().map(|(setting, wanted, _)| (setting, wanted));
        set(requester, &link.name, wanted.into())?;
        self.quiet.insert(link.index);
        saved.map_or(Ok(()), Err)
    }

    /// Puts back what the interfaces did that are not `needed` any more, unless somebody else has changed
    /// it since. Says what went wrong.
    pub(super) fn put_back(
        &mut self,
        requester: &mut Requester,
        needed: &BTreeSet<String>,
        there: impl Fn(LinkIndex) -> bool,
    ) -> Vec<String> {
        let mut troubles = Vec::new();
        for (name, before) in self.known.below.clone() {
            let exists = there(before.link);
            if exists && needed.contains(&name) {
                continue;
            }
            if exists {
                troubles.extend(put_back(requester, &name, before).err());
            }
            self.known.below.remove(&name);
            self.quiet.remove(&before.link);
        }
        troubles
    }

    /// Writes the file when it would change. Says what went wrong when that is news.
    pub(super) fn save(&mut self) -> Option<String> {
        if self.saved == self.known {
            return None;
        }
        self.saved.clone_from(&self.known);
        let mut text = String::new();
        for (device, mark) in &self.known.devices {
            let word = if *mark == Mark::There { "device" } else { "making" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{word} {device}");
        }
        for (name, Before { link, arp_ignore, arp_announce }) in &self.known.below {
            let _ = writeln!(text, "below {name} {link} {arp_ignore} {arp_announce}");
        }
        self.state.keep_for_this_boot(StateFile::VirtualMac, &text)
    }
}

fn put_back(requester: &mut Requester, name: &str, before: Before) -> Result<(), String> {
    let now = requester.ipv4_settings(before.link).map_err(|error| error.to_string())?;
    let Some(now) = now else { return Ok(()) };
    let changed = before.settings().into_iter().filter(|&(setting, ours, _)| now.get(setting) == Some(ours));
    set(requester, name, changed.map(|(setting, _, before)| (setting, before)).collect())
}

fn set(requester: &mut Requester, name: &str, settings: Vec<(Ipv4Setting, u32)>) -> Result<(), String> {
    let request = Request::SetIpv4 { name: name.to_owned(), settings };
    let answer = requester.perform(&[request]).pop().expect("a result for each request");
    answer.map(drop).map_err(|error| error.to_string())
}

/// `None`: damaged.
fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Known> {
    let mut known = Known::default();
    for line in lines {
        match *line.split(' ').collect::<Vec<_>>() {
            ["device", name] => drop(known.devices.insert(name.to_owned(), Mark::There)),
            ["making", name] => drop(known.devices.insert(name.to_owned(), Mark::Missing)),
            ["below", name, link, ignore, announce] => {
                let before = Before {
                    link: LinkIndex::new(link.parse().ok()?),
                    arp_ignore: ignore.parse().ok()?,
                    arp_announce: announce.parse().ok()?,
                };
                known.below.insert(name.to_owned(), before);
            }
            _ => return None,
        }
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::super::tests::in_network_namespace;
    use super::*;

    #[test]
    fn what_is_saved_is_read_back_within_the_same_boot() {
        let state = crate::state_dir::tests::temporary_state("virtual-mac");
        let mut traces = Traces::load(&state).0;
        traces.making("vrrp4-201");
        traces.made("vrrp4-201");
        traces.making("vrrp6-201");
        let before = Before { link: LinkIndex::new(7), arp_ignore: 0, arp_announce: 1 };
        traces.known.below.insert("eth0.100".to_owned(), before);
        assert_eq!(traces.save(), None);
        let mut again = Traces::load(&state).0;
        assert_eq!(again.known, traces.known);
        assert!(!again.is_being_made("vrrp4-201") && again.is_being_made("vrrp6-201"));
        again.removed("vrrp4-201");
        again.removed("vrrp6-201");
        assert_eq!(again.devices().count(), 0);
    }

    #[test]
    fn a_damaged_file_claims_nothing_and_is_told() {
        for damaged in ["below eth0 7 0", "below eth0 x 0 0", "device", ""] {
            assert_eq!(parse([damaged].into_iter()), None, "{damaged:?}");
        }
        let state = crate::state_dir::tests::temporary_state("virtual-mac");
        state.keep_for_this_boot(StateFile::VirtualMac, "device vrrp4-201\nbelow eth0 7 0\n");
        let (traces, told) = Traces::load(&state);
        assert_eq!(traces.devices().count(), 0);
        assert!(told.is_some_and(|told| told.contains("virtual-mac.damaged")));
    }

    #[test]
    fn what_is_stricter_already_stays() {
        let before = |arp_ignore| Before { link: LinkIndex::new(7), arp_ignore, arp_announce: 0 };
        let wanted = |arp_ignore| before(arp_ignore).settings()[0].1;
        assert_eq!([0, 1, 2, 3, 8].map(wanted), [1, 1, 2, 1, 8]);
    }

    #[test]
    fn what_could_not_be_set_is_set_at_the_next_attempt() {
        in_network_namespace(|| {
            let mut requester = Requester::open().expect("netlink can be had");
            let mut traces = Traces::load(&crate::state_dir::tests::temporary_state("virtual-mac-set")).0;
            let mut links = requester.links().expect("a list").into_iter();
            let loopback = links.find(|link| link.name == "lo").expect("always there");
            let misnamed = Link { name: "lo0".to_owned(), ..loopback.clone() };
            traces.quieten(&mut requester, &misnamed).expect_err("the kernel knows no such name");
            traces.quieten(&mut requester, &loopback).expect("it does now");
            let settings = requester.ipv4_settings(loopback.index).expect("a list").expect("it has IPv4");
            assert_eq!(settings.get(Ipv4Setting::ArpIgnore), Some(1));
        });
    }
}
