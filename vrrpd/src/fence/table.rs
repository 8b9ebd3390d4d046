//! The tables of the fence, as steps for nf_tables.
//!
//! Each guarded address leads to a chain, which has a number in two sets with times: while it is in the one the
//! addresses are live, and while it is in the other what is for addresses that are not live is
//! dropped. Routers that advertise alike share a chain ([`super::holders`]), others have one of their own. So
//! one element is renewed, however many addresses and routers there are; and there are two sets, however many chains,
//! because the kernel looks through all sets of a table for the one that is meant. One `inet` table and
//! one of the same name for ARP.
//!
//! A map leads to the chains, where an address finds its own at once, however many there are. But with each address
//! that is added to it the kernel walks through all that are in it. So the addresses of a shared chain are a
//! plain set with a rule in front of it, as far as that makes a few rules only.

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

const FAMILIES: [Family; 2] = [Family::Inet, Family::Arp];
/// Before anything rewrites where a packet goes (`NF_IP_PRI_RAW`), as port mappings of containers do.
const PRIORITY: i32 = -300;
/// All that comes in.
const CHAIN: &str = "fence";
/// Who asks for a neighbour tells it where to find the address that it asks from.
const OUTPUT: &str = "fence_output";

const IPV4_KEY: &[Field] = &[Field::Ipv4Destination];
const ARP_KEY: &[Field] = &[Field::ArpTarget];
const ARP_SENDER_KEY: &[Field] = &[Field::ArpSender];
const IPV6_KEY: &[Field] = &[Field::Ipv6Destination];
const IPV6_SOURCE_KEY: &[Field] = &[Field::Ipv6Source];
const SOLICITED_KEY: &[Field] = &[Field::NeighbourTarget];
const LINK_LOCAL_KEY: &[Field] = &[Field::InputInterface, Field::Ipv6Destination];
const LINK_LOCAL_SOLICITED_KEY: &[Field] = &[Field::InputInterface, Field::NeighbourTarget];
const SOLICITATION: Match = Match::Icmpv6Type(135..=135);

/// Kinds of addresses, each of which has a map of its own, and a set of each shared chain that has sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Ipv4,
    Ipv6,
    LinkLocal,
}

/// By kind.
const MAPS: [&str; 3] = ["guarded_ipv4", "guarded_ipv6", "guarded_link_local"];
/// Shared chains, by number, and their sets, by kind. Of further ones the addresses are in the maps: each packet is looked up
/// in each set.
const SHARED: [(&str, [&str; 3]); 4] = [
    ("shared_0", ["shared_0_ipv4", "shared_0_ipv6", "shared_0_link_local"]),
    ("shared_1", ["shared_1_ipv4", "shared_1_ipv6", "shared_1_link_local"]),
    ("shared_2", ["shared_2_ipv4", "shared_2_ipv6", "shared_2_link_local"]),
    ("shared_3", ["shared_3_ipv4", "shared_3_ipv6", "shared_3_link_local"]),
];

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
    for family in FAMILIES {
        let _ = filter.commit_all(name, &[(family, &[Step::RemoveTable])]);
    }
}

/// What is to be done to the tables, in one transaction.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Of addresses.
    changes: BTreeMap<Place, BTreeMap<Element, Change>>,
    /// Numbers that are live for so long, or not at all, and those that are silent otherwise.
    live: BTreeMap<(Family, Line), Option<Duration>>,
    silenced: BTreeMap<(Family, Line), Duration>,
}

/// A table, and a kind of addresses in it.
type Place = (Family, Kind);

/// What becomes of an address in one table: where it led, and where it is to lead.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    removed: Option<Line>,
    added: Option<Line>,
}

impl Steps {
    /// Leads an address there, that is led nowhere.
    pub(super) fn guard(&mut self, address: &Guarded, line: Line) {
        self.each_place(address, |change| change.added = Some(line));
    }

    /// Leads an address nowhere, that leads there.
    pub(super) fn free(&mut self, address: &Guarded, line: Line) {
        self.each_place(address, |change| {
            if change.added.take().is_none() {
                change.removed = Some(line);
            }
        });
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
        for (place, element) in places(address) {
            change(self.changes.entry(place).or_default().entry(element).or_default());
        }
    }
}

/// The tables, there.
pub(super) struct Tables {
    name: String,
    filter: Nftables,
    watch: Watch,
    /// Which chains are there, and which sets of shared ones.
    chains: BTreeSet<(Family, Line)>,
    sets: BTreeSet<(Family, &'static str)>,
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
        let name = name.to_owned();
        let mut tables = Self { name, filter, watch, chains: BTreeSet::new(), sets: BTreeSet::new() };
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
        self.watch.disturbed(&FAMILIES, &self.name, self.filter.port())
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

    /// What changes in one table. A chain or set that is not there is made.
    fn changed(&mut self, of: Family, changes: &[(Place, (&Element, &Change))]) -> Vec<Step> {
        let mut made = Vec::new();
        let mut removed = BTreeMap::<&'static str, Vec<Element>>::new();
        let mut added = BTreeMap::<&'static str, Vec<Element>>::new();
        let mut mapped = BTreeMap::<(&'static str, Line), Vec<Element>>::new();
        for &((_, kind), (element, change)) in changes.iter().filter(|((family, _), _)| *family == of) {
            if let Some(line) = change.removed {
                let set = shared_set(line, kind).map_or(MAPS[kind as usize], |(_, set)| set);
                removed.entry(set).or_default().push(element.clone());
            }
            let Some(line) = change.added else { continue };
            if self.chains.insert((of, line)) {
                made.extend(of_line(line));
            }
            let Some((chain, set)) = shared_set(line, kind) else {
                mapped.entry((MAPS[kind as usize], line)).or_default().push(element.clone());
                continue;
            };
            if self.sets.insert((of, set)) {
                made.push(Step::AddSet { set, key: key(of, kind) });
                made.extend(rules(of, kind, |key| Match::InSet { set, key }, Fate::Jump(chain)));
            }
            added.entry(set).or_default().push(element.clone());
        }
        let removed = removed.into_iter().map(|(set, elements)| Step::RemoveElements { set, elements });
        let added = added.into_iter().map(|(set, elements)| Step::AddElements { set, elements });
        let mapped = mapped.into_iter().map(|((map, line), elements)| {
            let chain = chain(line);
            Step::MapElements { map, elements, chain }
        });
        made.into_iter().chain(removed).chain(added).chain(mapped).collect()
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
    FAMILIES.map(|family| {
        let (hook, kinds) = match family {
            Family::Inet => (Hook::Prerouting, &[Kind::Ipv4, Kind::Ipv6, Kind::LinkLocal][..]),
            Family::Arp => (Hook::Input, &[Kind::Ipv4][..]),
        };
        let mut steps = vec![
            Step::AddTable { owned: false },
            Step::RemoveTable,
            Step::AddTable { owned: false },
            Step::AddTimedSet { set: LIVE, key: TIMED_KEY },
            Step::AddTimedSet { set: SILENCED, key: TIMED_KEY },
            Step::AddChain { chain: CHAIN, hook, priority: PRIORITY },
            Step::AddChain { chain: OUTPUT, hook: Hook::Output, priority: PRIORITY },
        ];
        for &kind in kinds {
            let map = MAPS[kind as usize];
            steps.push(Step::AddMap { map, key: key(family, kind) });
            steps.extend(rules(family, kind, |key| Match::Mapped { map, key }, Fate::Mapped));
        }
        steps
    })
}

/// Where an address of this kind can be in a packet: chains that see it, packets that have it, and its fields, which
/// are of one size.
fn lookups(of: Family, kind: Kind) -> Vec<(&'static str, Match, &'static [Field])> {
    match (of, kind) {
        (Family::Arp, _) => {
            vec![(CHAIN, Match::ArpOfIpv4, ARP_KEY), (OUTPUT, Match::ArpOfIpv4, ARP_SENDER_KEY)]
        }
        (Family::Inet, Kind::Ipv4) => vec![(CHAIN, Match::Ipv4, IPV4_KEY)],
        (Family::Inet, Kind::Ipv6) => vec![
            (CHAIN, Match::Ipv6, IPV6_KEY),
            (CHAIN, SOLICITATION, SOLICITED_KEY),
            (OUTPUT, SOLICITATION, IPV6_SOURCE_KEY),
        ],
        (Family::Inet, Kind::LinkLocal) => {
            vec![(CHAIN, Match::Ipv6, LINK_LOCAL_KEY), (CHAIN, SOLICITATION, LINK_LOCAL_SOLICITED_KEY)]
        }
    }
}

/// The fields that a set or map of this kind is made with.
fn key(of: Family, kind: Kind) -> &'static [Field] {
    let first = lookups(of, kind).into_iter().next();
    first.map(|(_, _, key)| key).expect("a kind is looked up somewhere")
}

/// What becomes of packets with an address of this kind that is found by `found`.
fn rules(
    of: Family,
    kind: Kind,
    found: impl Fn(&'static [Field]) -> Match,
    fate: Fate,
) -> impl Iterator<Item = Step> {
    lookups(of, kind).into_iter().map(move |(chain, packets, key)| Step::AddRule {
        chain: chain.into(),
        matches: vec![packets, found(key)],
        fate,
    })
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

/// The tables that know an address, and as what.
fn places(address: &Guarded) -> impl Iterator<Item = (Place, Element)> {
    let (kind, element) = match address {
        Guarded::Everywhere(ip @ IpAddr::V4(_)) => (Kind::Ipv4, Element::from(*ip)),
        Guarded::Everywhere(ip) => (Kind::Ipv6, Element::from(*ip)),
        Guarded::On(interface, ip) => (Kind::LinkLocal, Element::on_interface(interface, *ip)),
    };
    families(address.ip().is_ipv4()).map(move |family| ((family, kind), element.clone()))
}

/// A chain that a set leads to, and that of this kind.
fn shared_set(line: Line, kind: Kind) -> Option<(&'static str, &'static str)> {
    let Line::Shared(number) = line else { return None };
    let (chain, sets) = SHARED.get(usize::try_from(number).ok()?)?;
    Some((chain, sets[kind as usize]))
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
