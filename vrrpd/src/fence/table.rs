//! The tables of the fence, as steps for nf_tables.
//!
//! A map leads from each guarded address to a chain, which has a number in two sets with times: while it is
//! in the one the addresses are live, and while it is in the other what is for addresses that are not live is
//! dropped. Routers that advertise alike share a chain ([`super::holders`]), others have one of their own. So
//! one element is renewed, however many addresses and routers there are; and there are two sets, however many chains,
//! because the kernel looks through all sets of a table for the one that is meant. One `inet` table and
//! one of the same name for ARP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use netlink::Error;
use netlink::nftables::{Element, Family, Fate, Field, Hook, Match, Nftables, Step, Watch};
use vrrp_proto::Instant;

use super::Guarded;
use super::adverts::Adverts;
use super::holders::{Holders, Line, Seen};
use crate::config;

const FAMILIES: &[Family] = &[Family::Inet, Family::Arp];
/// Before anything rewrites where a packet goes (`NF_IP_PRI_RAW`), as port mappings of containers do.
const PRIORITY: i32 = -300;
const CHAIN: &str = "fence";
/// Who asks for a neighbour tells it where to find the address that it asks from.
const OUTPUT: &str = "fence_output";

const IPV4: &str = "guarded_ipv4";
const IPV4_KEY: &[Field] = &[Field::Ipv4Destination];
const ARP_KEY: &[Field] = &[Field::ArpTarget];
const ARP_SENDER_KEY: &[Field] = &[Field::ArpSender];
const IPV6: &str = "guarded_ipv6";
const IPV6_KEY: &[Field] = &[Field::Ipv6Destination];
const IPV6_SOURCE_KEY: &[Field] = &[Field::Ipv6Source];
const SOLICITED_KEY: &[Field] = &[Field::NeighbourTarget];
const LINK_LOCAL: &str = "guarded_link_local";
const LINK_LOCAL_KEY: &[Field] = &[Field::InputInterface, Field::Ipv6Destination];
const LINK_LOCAL_SOLICITED_KEY: &[Field] = &[Field::InputInterface, Field::NeighbourTarget];
const SOLICITATION: std::ops::RangeInclusive<u8> = 135..=135;

/// Who is live, and who is silent otherwise: the numbers of chains.
const LIVE: &str = "live";
const SILENCED: &str = "silenced";
const TIMED_KEY: &[Field] = &[Field::Number];

/// Addresses that are changed in one go.
pub(super) const GUARDED_AT_ONCE: usize = 1024;
/// The same in one transaction, each in either table: what they take fits a buffer, with a chain for each.
const CHANGED_AT_ONCE: usize = 1024;

/// Name of the tables. Two daemons on a host have two state directories.
pub(super) fn name(state_dir: &Path) -> String {
    if state_dir == Path::new(config::DEFAULT_STATE_DIR) {
        return "vrrpd_fence".to_owned();
    }
    // FNV-1a.
    let hash = state_dir
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5u32, |hash, &octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    format!("vrrpd_fence_{hash:08x}")
}

/// Does the error say that this kernel cannot do it?
pub(super) fn is_unknown(error: &Error) -> bool {
    matches!(
        error.errno(),
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::EINVAL | libc::ENOENT)
    )
}

/// Removes the tables of this name, whoever made them; there may be none, nor a packet filter.
pub(super) fn remove(name: &str) {
    let Ok(mut filter) = Nftables::open() else { return };
    for &family in FAMILIES {
        let _ = filter.commit_all(name, &[(family, &[Step::RemoveTable])]);
    }
}

/// What is to be done to the tables, in one transaction.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Of addresses, by where they go.
    changes: BTreeMap<Place, BTreeMap<Element, Change>>,
    /// Numbers that are live for so long, or not at all, and those that are silent otherwise.
    live: BTreeMap<(Family, Line), Option<Duration>>,
    silenced: BTreeMap<(Family, Line), Duration>,
}

/// A table, and a map in it.
type Place = (Family, &'static str);

/// What becomes of an address in one map.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    removed: bool,
    added: Option<Line>,
}

impl Steps {
    /// Leads an address there, that is led nowhere.
    pub(super) fn guard(&mut self, address: &Guarded, line: Line) {
        self.each_place(address, |change| change.added = Some(line));
    }

    /// Guards an address no longer.
    pub(super) fn free(&mut self, address: &Guarded) {
        self.each_place(address, |change| change.removed |= change.added.take().is_none());
    }

    /// Gives a number so much time from now on, or none; `arp`: in the table for ARP as well.
    pub(super) fn live(&mut self, line: Line, arp: bool, time: Option<Duration>) {
        self.live.extend(families(arp).map(|family| ((family, line), time)));
    }

    /// The same for the time of being silent after it.
    pub(super) fn silence(&mut self, line: Line, arp: bool, time: Duration) {
        self.silenced.extend(families(arp).map(|family| ((family, line), time)));
    }

    /// How many addresses there are.
    pub(super) fn addresses(&self) -> usize {
        self.changes.values().map(BTreeMap::len).sum()
    }

    fn each_place(&mut self, address: &Guarded, change: impl Fn(&mut Change)) {
        for (family, map, element) in places(address) {
            change(self.changes.entry((family, map)).or_default().entry(element).or_default());
        }
    }
}

/// The tables, there.
pub(super) struct Tables {
    name: String,
    filter: Nftables,
    watch: Watch,
    /// Which chains are there.
    known: BTreeSet<(Family, Line)>,
}

impl Tables {
    /// Makes the tables, in place of those of an earlier daemon or of what somebody has left of ours.
    ///
    /// # Errors
    ///
    /// What the kernel says. What was there may be there still.
    pub(super) fn make(
        name: &str,
        holders: &mut Holders,
        adverts: &Adverts,
        now: Instant,
    ) -> Result<(Self, Seen), Error> {
        let filter = Nftables::open()?;
        // First the watch, so that nothing falls in between.
        let mut watch = Watch::open()?;
        watch.ignore(filter.port())?;
        let mut tables = Self { name: name.to_owned(), filter, watch, known: BTreeSet::new() };
        holders.forget_tables();
        let mut steps = Steps::default();
        let seen = holders.look(adverts, now, &mut steps);
        tables.commit_behind(whole(), &steps)?;
        Ok((tables, seen))
    }

    pub(super) fn watched(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Has somebody else changed them?
    ///
    /// # Errors
    ///
    /// When nobody can tell.
    pub(super) fn disturbed(&mut self) -> Result<bool, Error> {
        self.watch.disturbed(FAMILIES, &self.name, self.filter.port())
    }

    /// # Errors
    ///
    /// What the kernel says; nothing has been done then.
    pub(super) fn commit(&mut self, steps: &Steps) -> Result<(), Error> {
        self.commit_behind([Vec::new(), Vec::new()], steps)
    }

    /// As many transactions as it takes. What is in front of the steps is in the first, and so are the times.
    fn commit_behind(&mut self, front: [Vec<Step>; 2], steps: &Steps) -> Result<(), Error> {
        let changes =
            || steps.changes.iter().flat_map(|(place, changes)| changes.iter().map(move |one| (*place, one)));
        let changes: Vec<_> = changes().collect();
        let mut parts = changes.chunks(CHANGED_AT_ONCE);
        let [inet, arp] = front;
        let mut transaction = [(Family::Inet, inet), (Family::Arp, arp)];
        for (family, all) in &mut transaction {
            all.extend(times(*family, steps));
        }
        loop {
            let part = parts.next();
            for (family, all) in &mut transaction {
                all.extend(self.changed(*family, part.unwrap_or_default()));
            }
            let [(_, inet), (_, arp)] = &transaction;
            self.filter.commit_all(&self.name, &[(Family::Inet, inet), (Family::Arp, arp)])?;
            if parts.len() == 0 {
                return Ok(());
            }
            transaction.iter_mut().for_each(|(_, all)| all.clear());
        }
    }

    /// What changes in one table. A chain that is not there is made.
    fn changed(&mut self, of: Family, changes: &[(Place, (&Element, &Change))]) -> Vec<Step> {
        let mut chains = Vec::new();
        let mut removed = BTreeMap::<&'static str, Vec<Element>>::new();
        let mut added = BTreeMap::<(&'static str, Line), Vec<Element>>::new();
        for &((_, map), (element, change)) in changes.iter().filter(|((family, _), _)| *family == of) {
            if change.removed {
                removed.entry(map).or_default().push(element.clone());
            }
            if let Some(line) = change.added {
                added.entry((map, line)).or_default().push(element.clone());
                if self.known.insert((of, line)) {
                    chains.extend(of_line(line));
                }
            }
        }
        let removed = removed.into_iter().map(|(set, elements)| Step::RemoveElements { set, elements });
        let added = added.into_iter().map(|((map, line), elements)| Step::MapElements {
            map,
            elements,
            chain: chain(line),
        });
        chains.into_iter().chain(removed).chain(added).collect()
    }
}

/// Those whose times begin or end in one table.
fn times(of: Family, steps: &Steps) -> impl Iterator<Item = Step> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (mut live, mut expired) = (Vec::new(), Vec::new());
    for ((_, line), time) in steps.live.iter().filter(|((family, _), _)| *family == of) {
        match time {
            Some(time) => live.push((number(*line), millis(*time))),
            None => expired.push(number(*line)),
        }
    }
    let silenced = steps.silenced.iter().filter(|((family, _), _)| *family == of);
    let silenced: Vec<_> = silenced.map(|((_, line), &time)| (number(*line), millis(time))).collect();
    let renewed = [(SILENCED, silenced), (LIVE, live)].into_iter().filter(|(_, some)| !some.is_empty());
    let expired = (!expired.is_empty()).then_some(Step::Expire { set: LIVE, elements: expired });
    renewed.map(|(set, elements)| Step::Renew { set, elements }).chain(expired)
}

fn families(arp: bool) -> impl Iterator<Item = Family> {
    std::iter::once(Family::Inet).chain(arp.then_some(Family::Arp))
}

/// Both tables, from nothing, with nobody in them: what is there is in the way, what is not is no error.
fn whole() -> [Vec<Step>; 2] {
    let anew = [Step::AddTable { owned: false }, Step::RemoveTable, Step::AddTable { owned: false }];
    let rule_of =
        |chain: &'static str, matches| Step::AddRule { chain: chain.into(), matches, fate: Fate::Mapped };
    let rule = |matches| rule_of(CHAIN, matches);
    let mapped = |map, key| Match::Mapped { map, key };
    let solicited = |map, key| rule(vec![Match::Icmpv6Type(SOLICITATION), mapped(map, key)]);
    let output = Step::AddChain { chain: OUTPUT, hook: Hook::Output, priority: PRIORITY };
    let timed = [LIVE, SILENCED].map(|set| Step::AddTimedSet { set, key: TIMED_KEY });
    let begun = [&anew[..], &timed[..]].concat();
    let mut inet = begun.clone();
    inet.extend([
        Step::AddChain { chain: CHAIN, hook: Hook::Prerouting, priority: PRIORITY },
        Step::AddMap { map: IPV4, key: IPV4_KEY },
        Step::AddMap { map: IPV6, key: IPV6_KEY },
        Step::AddMap { map: LINK_LOCAL, key: LINK_LOCAL_KEY },
        rule(vec![Match::Ipv4, mapped(IPV4, IPV4_KEY)]),
        rule(vec![Match::Ipv6, mapped(IPV6, IPV6_KEY)]),
        rule(vec![Match::Ipv6, mapped(LINK_LOCAL, LINK_LOCAL_KEY)]),
        solicited(IPV6, SOLICITED_KEY),
        solicited(LINK_LOCAL, LINK_LOCAL_SOLICITED_KEY),
        output.clone(),
        rule_of(OUTPUT, vec![Match::Icmpv6Type(SOLICITATION), mapped(IPV6, IPV6_SOURCE_KEY)]),
    ]);
    let mut arp = begun;
    arp.extend([
        Step::AddChain { chain: CHAIN, hook: Hook::Input, priority: PRIORITY },
        Step::AddMap { map: IPV4, key: ARP_KEY },
        rule(vec![Match::ArpOfIpv4, mapped(IPV4, ARP_KEY)]),
        output,
        rule_of(OUTPUT, vec![Match::ArpOfIpv4, mapped(IPV4, ARP_SENDER_KEY)]),
    ]);
    [inet, arp]
}

/// The chain of one router or several. What this host says to itself is nobody else's.
fn of_line(line: Line) -> Vec<Step> {
    let rule = |condition, fate| Step::AddRule { chain: chain(line).into(), matches: vec![condition], fate };
    let in_set = |set| Match::NumberInSet { set, number: in_sets(line) };
    vec![
        Step::AddInnerChain { chain: chain(line) },
        rule(Match::FromInside, Fate::Return),
        rule(in_set(LIVE), Fate::Return),
        rule(in_set(SILENCED), Fate::Drop),
    ]
}

/// Where an address goes: table, map and element.
fn places(address: &Guarded) -> impl Iterator<Item = (Family, &'static str, Element)> {
    let (map, element) = match address {
        Guarded::Everywhere(ip @ IpAddr::V4(_)) => (IPV4, Element::from(*ip)),
        Guarded::Everywhere(ip) => (IPV6, Element::from(*ip)),
        Guarded::On(interface, ip) => (LINK_LOCAL, Element::on_interface(interface, *ip)),
    };
    families(address.ip().is_ipv4()).map(move |family| (family, map, element.clone()))
}

fn chain(line: Line) -> String {
    match line {
        Line::Own(router) => format!("router_{}", router.0),
        Line::Shared(number) => format!("shared_{number}"),
    }
}

fn number(line: Line) -> Element {
    Element::number(in_sets(line))
}

fn in_sets(line: Line) -> u32 {
    match line {
        Line::Own(router) => router.0.into(),
        Line::Shared(number) => u32::from(u16::MAX) + 1 + number,
    }
}
