//! The tables of the fence, as steps for nf_tables.
//!
//! Each router that holds addresses has a chain, which a map leads to from each of them, and a number in
//! two sets with times: while it is in the one the router is live, and while it is in the other what is for
//! a router that is not live is dropped. So an advertisement renews one element, however many addresses
//! there are; and there are two sets, however many routers, because the kernel looks through all sets of a
//! table for the one that is meant. One `inet` table and one of the same name for ARP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use netlink::Error;
use netlink::nftables::{Element, Family, Fate, Field, Hook, Match, Nftables, Step, Watch};
use vrrp_proto::Instant;
use vrrp_proto::parameters::RouterId;

use super::{Guarded, Holder};
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

/// Who is live, and who is silent otherwise: the numbers of routers.
const LIVE: &str = "live";
const SILENCED: &str = "silenced";
const TIMED_KEY: &[Field] = &[Field::Number];

/// Routers in one transaction when they are guarded: what they take fits a buffer.
pub(super) const GUARDED_AT_ONCE: usize = 64;
/// The same when they are renewed.
pub(super) const RENEWED_AT_ONCE: usize = 1024;

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
    inet: Vec<Step>,
    arp: Vec<Step>,
    /// What follows on them in either table.
    terms: [Terms; 2],
}

/// Routers whose terms begin or end in one table.
#[derive(Debug, Default)]
struct Terms {
    live: Vec<(Element, u64)>,
    silenced: Vec<(Element, u64)>,
    expired: Vec<Element>,
}

impl Terms {
    fn steps(self) -> impl Iterator<Item = Step> {
        let Self { live, silenced, expired } = self;
        let renewed = [(SILENCED, silenced), (LIVE, live)].into_iter().filter(|(_, some)| !some.is_empty());
        let expired = (!expired.is_empty()).then_some(Step::Expire { set: LIVE, elements: expired });
        renewed.map(|(set, elements)| Step::Renew { set, elements }).chain(expired)
    }
}

impl Steps {
    /// Gives a router what is left of its term, or nothing, and the time of being silent after it.
    pub(super) fn renew(&mut self, router: RouterId, holder: &mut Holder, now: Instant) {
        let number = Element::number(router.0.into());
        let timed = |time: Duration| (number.clone(), u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let silenced = holder.silence(now);
        let [inet, arp] = &mut self.terms;
        let asked_by_arp = holder.addresses.iter().any(|address| address.ip().is_ipv4());
        for terms in std::iter::once(inet).chain(asked_by_arp.then_some(arp)) {
            terms.silenced.extend(silenced.map(timed));
            match holder.left(now) {
                Some(left) => terms.live.push(timed(left)),
                None => terms.expired.push(number.clone()),
            }
        }
    }

    /// Guards the addresses no longer.
    pub(super) fn free(&mut self, addresses: &[Guarded]) {
        for (family, map, elements) in elements(addresses) {
            self.of(family).push(Step::RemoveElements { set: map, elements });
        }
    }

    fn of(&mut self, family: Family) -> &mut Vec<Step> {
        match family {
            Family::Inet => &mut self.inet,
            Family::Arp => &mut self.arp,
        }
    }
}

/// The tables, there.
pub(super) struct Tables {
    name: String,
    filter: Nftables,
    watch: Watch,
    /// Whose chain is there.
    known: BTreeSet<RouterId>,
}

impl Tables {
    /// Makes the tables, in place of those of an earlier daemon or of what somebody has left of ours.
    ///
    /// # Errors
    ///
    /// What the kernel says. What was there may be there still.
    pub(super) fn make(
        name: &str,
        holders: &mut BTreeMap<RouterId, Holder>,
        now: Instant,
    ) -> Result<Self, Error> {
        let filter = Nftables::open()?;
        // First the watch, so that nothing falls in between.
        let mut watch = Watch::open()?;
        watch.ignore(filter.port())?;
        let mut tables = Self { name: name.to_owned(), filter, watch, known: BTreeSet::new() };
        let mut steps = whole();
        for (index, (&router, holder)) in holders.iter_mut().enumerate() {
            if index > 0 && index % GUARDED_AT_ONCE == 0 {
                tables.commit(std::mem::take(&mut steps))?;
            }
            let addresses: Vec<Guarded> = holder.addresses.iter().cloned().collect();
            tables.guard(router, &addresses, &mut steps);
            holder.silenced_until = None;
            steps.renew(router, holder, now);
        }
        tables.commit(steps)?;
        Ok(tables)
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

    /// Leads from the addresses to the chain of the router, which is made when there is none.
    pub(super) fn guard(&mut self, router: RouterId, addresses: &[Guarded], steps: &mut Steps) {
        if self.known.insert(router) {
            for &family in FAMILIES {
                steps.of(family).extend(of_router(router));
            }
        }
        for (family, map, elements) in elements(addresses) {
            steps.of(family).push(Step::MapElements { map, elements, chain: chain(router) });
        }
    }

    /// # Errors
    ///
    /// What the kernel says; nothing has been done then.
    pub(super) fn commit(&mut self, steps: Steps) -> Result<(), Error> {
        let Steps { mut inet, mut arp, terms: [inet_terms, arp_terms] } = steps;
        inet.extend(inet_terms.steps());
        arp.extend(arp_terms.steps());
        let changes = [(Family::Inet, &inet[..]), (Family::Arp, &arp[..])];
        self.filter.commit_all(&self.name, &changes)
    }
}

/// Both tables, from nothing, with nobody in them: what is there is in the way, what is not is no error.
fn whole() -> Steps {
    let anew = [Step::AddTable { owned: false }, Step::RemoveTable, Step::AddTable { owned: false }];
    let rule_of =
        |chain: &'static str, matches| Step::AddRule { chain: chain.into(), matches, fate: Fate::Mapped };
    let rule = |matches| rule_of(CHAIN, matches);
    let mapped = |map, key| Match::Mapped { map, key };
    let solicited = |map, key| rule(vec![Match::Icmpv6Type(SOLICITATION), mapped(map, key)]);
    let output = Step::AddChain { chain: OUTPUT, hook: Hook::Output, priority: PRIORITY };
    let timed = [LIVE, SILENCED].map(|set| Step::AddTimedSet { set, key: TIMED_KEY });
    let begun = [&anew[..], &timed[..]].concat();
    let mut steps = Steps { inet: begun.clone(), arp: begun, ..Steps::default() };
    steps.inet.extend([
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
    steps.arp.extend([
        Step::AddChain { chain: CHAIN, hook: Hook::Input, priority: PRIORITY },
        Step::AddMap { map: IPV4, key: ARP_KEY },
        rule(vec![Match::ArpOfIpv4, mapped(IPV4, ARP_KEY)]),
        output,
        rule_of(OUTPUT, vec![Match::ArpOfIpv4, mapped(IPV4, ARP_SENDER_KEY)]),
    ]);
    steps
}

/// The chain of a router. What this host says to itself is nobody else's.
fn of_router(router: RouterId) -> Vec<Step> {
    let rule =
        |condition, fate| Step::AddRule { chain: chain(router).into(), matches: vec![condition], fate };
    let in_set = |set| Match::NumberInSet { set, number: router.0.into() };
    vec![
        Step::AddInnerChain { chain: chain(router) },
        rule(Match::FromInside, Fate::Return),
        rule(in_set(LIVE), Fate::Return),
        rule(in_set(SILENCED), Fate::Drop),
    ]
}

/// Where addresses go: table, map and elements.
fn elements(addresses: &[Guarded]) -> Vec<(Family, &'static str, Vec<Element>)> {
    let mut places = [
        (Family::Inet, IPV4, Vec::new()),
        (Family::Arp, IPV4, Vec::new()),
        (Family::Inet, IPV6, Vec::new()),
        (Family::Inet, LINK_LOCAL, Vec::new()),
    ];
    for address in addresses {
        match address {
            Guarded::Everywhere(ip @ IpAddr::V4(_)) => {
                places[0].2.push(Element::from(*ip));
                places[1].2.push(Element::from(*ip));
            }
            Guarded::Everywhere(ip) => places[2].2.push(Element::from(*ip)),
            Guarded::On(interface, ip) => places[3].2.push(Element::on_interface(interface, *ip)),
        }
    }
    places.into_iter().filter(|(_, _, elements)| !elements.is_empty()).collect()
}

fn chain(router: RouterId) -> String {
    format!("router_{}", router.0)
}
