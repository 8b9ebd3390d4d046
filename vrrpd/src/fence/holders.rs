//! Who holds which addresses, until when these answer, and who shares that time.
//!
//! Routers of one term that advertise as often as each other share one time in the packet filter: that of
//! the one among them who has been silent for longest, so that none of them answers for longer than it may. It is
//! renewed a few times in an interval, however many they are. Who falls behind the others is on its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vrrp_proto::Instant;
use vrrp_proto::parameters::RouterId;

use super::adverts::Adverts;
use super::table::Steps;
use super::{Guarded, Live, Term};

/// Addresses of a router that shares at most: to leave or join the others takes a step for each.
const SHARED_ADDRESSES: usize = 16;
/// Of so few routers each advertisement may wake the fence.
const FEW: usize = 4;
/// How soon it is looked again for somebody who is waited for. Of a thousand routers many advertise meanwhile.
const URGENT: Duration = Duration::from_millis(1);

/// Those who hold addresses.
#[derive(Default)]
pub(super) struct Holders {
    each: BTreeMap<RouterId, Holder>,
    /// Whose each guarded address is.
    owners: BTreeMap<Guarded, RouterId>,
    companies: BTreeMap<Kind, Company>,
}

/// A router that holds addresses.
pub(super) struct Holder {
    term: Term,
    addresses: BTreeSet<Guarded>,
    /// Those of them that are not in the tables yet.
    new: BTreeSet<Guarded>,
    /// Since when it was live when it began to hold them.
    since: Option<Instant>,
    /// Its advertisements count that left later.
    after: Instant,
    /// Where its addresses lead.
    line: Option<Line>,
    /// Its own time in the tables.
    own: Timer,
    /// Since when it has been seen to be behind the others of its company.
    behind_since: Option<Instant>,
}

/// A number in the sets with times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// Of one router.
    Own(RouterId),
    /// Of a company.
    Shared(u32),
}

/// What is to be the same of all who share a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    term: Term,
    /// Their addresses are asked for by ARP.
    arp: bool,
}

/// Those who share a time.
struct Company {
    number: u32,
    timer: Timer,
    /// The last advertisement of any of them.
    newest: Instant,
}

/// What a number has been given in the tables.
#[derive(Clone, Copy, Default)]
struct Timer {
    live_until: Option<Instant>,
    /// So far the addresses are silent when they are not live.
    silenced_until: Option<Instant>,
}

/// What was seen of all holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// So long the next look can wait.
    pub(super) pause: Duration,
    /// It is due then even if nobody advertises.
    pub(super) again: bool,
}

impl Timer {
    /// Has the addresses be live until then, or not at all.
    fn set(&mut self, line: Line, kind: Kind, live_until: Option<Instant>, now: Instant, steps: &mut Steps) {
        let live_until = live_until.filter(|&until| (until - now).as_millis() > 0);
        if live_until == self.live_until && self.silenced_until.is_some() {
            return;
        }
        self.live_until = live_until;
        steps.live(line, kind.arp, live_until.map(|until| until - now));
        // At one advertisement in a few, because the exact end is of no consequence.
        if self.silenced_until.is_none_or(|until| until < now + kind.term.silent) {
            let time = 2 * kind.term.silent;
            self.silenced_until = Some(now + time);
            steps.silence(line, kind.arp, time);
        }
    }
}

impl Holder {
    fn kind(&self) -> Kind {
        Kind { term: self.term, arp: self.addresses.iter().any(|address| address.ip().is_ipv4()) }
    }

    /// Does it share with others if it can? Not where so little of a term is left after an interval that it
    /// would end with who advertises a little late.
    fn is_sociable(&self) -> bool {
        self.addresses.len() <= SHARED_ADDRESSES && self.term.live * 2 >= self.term.interval * 5
    }

    fn live_since(&self, router: RouterId, adverts: &Adverts) -> Option<Instant> {
        self.since.max(adverts.last_of(router).filter(|&at| at > self.after))
    }

    /// Is it as far as one who advertised at `newest`, but for the interval?
    fn keeps_up(&self, live_since: Instant, newest: Instant) -> bool {
        newest - live_since <= self.term.interval * 3 / 2
    }

    fn is_in(&self, company: &Company) -> bool {
        self.line == Some(Line::Shared(company.number))
    }

    /// Leads its addresses there.
    fn lead(&mut self, line: Line, steps: &mut Steps) {
        if self.line != Some(line) {
            if let Some(before) = self.line {
                self.addresses.difference(&self.new).for_each(|address| steps.free(address, before));
            }
            self.new.clone_from(&self.addresses);
            self.line = Some(line);
            self.behind_since = None;
            self.own = Timer::default();
        }
        std::mem::take(&mut self.new).iter().for_each(|address| steps.guard(address, line));
    }

    /// It goes by its own advertisements alone.
    fn be_alone(&mut self, router: RouterId, live_since: Option<Instant>, now: Instant, steps: &mut Steps) {
        let line = Line::Own(router);
        self.lead(line, steps);
        let live_until = live_since.map(|since| since + self.term.live);
        self.own.set(line, self.kind(), live_until, now, steps);
    }
}

impl Holders {
    /// A router holds these addresses, and perhaps others. Call [`settle`](Self::settle) or
    /// [`look`](Self::look) before the steps are performed.
    pub(super) fn guard(
        &mut self,
        router: RouterId,
        term: Term,
        addresses: Vec<Guarded>,
        live: Live,
        (adverts, now): (&Adverts, Instant),
        steps: &mut Steps,
    ) {
        for address in &addresses {
            if let Some(other) = self.owners.get(address).copied().filter(|&other| other != router) {
                self.free(other, std::slice::from_ref(address), steps);
            }
            self.owners.insert(address.clone(), router);
        }
        let holder = self.each.entry(router).or_insert_with(|| Holder {
            term,
            addresses: BTreeSet::new(),
            new: BTreeSet::new(),
            since: if let Live::Since(at) = live { Some(at) } else { None },
            after: Instant::ZERO,
            line: None,
            own: Timer::default(),
            behind_since: None,
        });
        if term.live > holder.term.live {
            // The others have not heard of a longer interval yet, and go by the one before.
            let known = holder.live_since(router, adverts);
            holder.since = known.map(|at| at.saturating_sub(term.live - holder.term.live));
            holder.after = now;
        }
        holder.term = term;
        // Perhaps in another table as well.
        holder.own = Timer::default();
        // A late order to put back one address is no sign of life.
        if let Live::AdvertisedAfter(at) = live {
            (holder.since, holder.after) = (None, at);
        }
        for address in addresses {
            if holder.addresses.insert(address.clone()) {
                holder.new.insert(address);
            }
        }
    }

    /// The router does not hold these addresses any more.
    pub(super) fn free(&mut self, router: RouterId, addresses: &[Guarded], steps: &mut Steps) {
        let Some(holder) = self.each.get_mut(&router) else { return };
        for address in addresses {
            if holder.addresses.remove(address) {
                self.owners.remove(address);
                if !holder.new.remove(address)
                    && let Some(line) = holder.line
                {
                    steps.free(address, line);
                }
            }
        }
        if holder.addresses.is_empty() {
            self.each.remove(&router);
        }
    }

    /// So much time has passed since it was seen who is behind.
    #[cfg(test)]
    pub(super) fn age_by(&mut self, time: Duration) {
        for since in self.each.values_mut().filter_map(|holder| holder.behind_since.as_mut()) {
            *since = since.saturating_sub(time);
        }
    }

    /// The tables are empty.
    pub(super) fn forget_tables(&mut self) {
        self.companies.clear();
        for holder in self.each.values_mut() {
            holder.new.clone_from(&holder.addresses);
            (holder.line, holder.own, holder.behind_since) = (None, Timer::default(), None);
        }
    }

    /// Leads the addresses of one router to where they belong, without a look at the others.
    pub(super) fn settle(&mut self, router: RouterId, adverts: &Adverts, now: Instant, steps: &mut Steps) {
        let Some(holder) = self.each.get_mut(&router) else { return };
        let (kind, live_since) = (holder.kind(), holder.live_since(router, adverts));
        let company = self.companies.get_mut(&kind).filter(|_| holder.is_sociable());
        if let (Some(company), Some(since)) = (company, live_since) {
            let (line, until) = (Line::Shared(company.number), since + holder.term.live);
            // When they have gone silent, they are not to answer again because of somebody else.
            let ends = company.timer.live_until.filter(|&ends| ends > now);
            let joins = until > now && ends.is_some() && holder.keeps_up(since, company.newest);
            if holder.is_in(company) || joins {
                holder.lead(line, steps);
                if joins && ends > Some(until) {
                    company.timer.set(line, kind, Some(until), now, steps);
                }
                return;
            }
        }
        holder.be_alone(router, live_since, now, steps);
    }

    /// Gives all of them what they are due by what they have advertised.
    pub(super) fn look(&mut self, adverts: &Adverts, now: Instant, steps: &mut Steps) -> Seen {
        self.note_newest(adverts, now);
        let mut least = BTreeMap::<Kind, Instant>::new();
        let mut seen = Seen { pause: Duration::MAX, again: false };
        for (&router, holder) in &mut self.each {
            let (kind, live_since) = (holder.kind(), holder.live_since(router, adverts));
            let pause = holder.term.interval / 8;
            let company = self.companies.get(&kind).filter(|_| holder.is_sociable());
            let shared = company.zip(live_since).filter(|&(company, since)| {
                let keeps_up = holder.keeps_up(since, company.newest);
                let is_in = holder.is_in(company);
                holder.behind_since = (is_in && !keeps_up).then(|| holder.behind_since.unwrap_or(now));
                // The others may be in the middle of theirs.
                let is_waited_for = holder.behind_since.is_some_and(|since| now - since < pause);
                is_waited_for || keeps_up && (is_in || since + kind.term.live > now)
            });
            match shared {
                Some((company, since)) => {
                    holder.lead(Line::Shared(company.number), steps);
                    let until = since + kind.term.live;
                    let least = least.entry(kind).or_insert(until);
                    *least = until.min(*least);
                    seen.again |= holder.behind_since.is_some();
                    seen.pause =
                        seen.pause.min(if holder.behind_since.is_some() { pause / 8 } else { pause });
                }
                None => {
                    holder.be_alone(router, live_since, now, steps);
                    // It is waited for, or may be lost.
                    let urgent = holder.own.live_until.is_none_or(|until| until < now + kind.term.interval);
                    seen.pause = seen.pause.min(if urgent { URGENT } else { pause });
                }
            }
        }
        for (kind, until) in least {
            if let Some(company) = self.companies.get_mut(&kind) {
                company.timer.set(Line::Shared(company.number), kind, Some(until), now, steps);
            }
        }
        if (1..=FEW).contains(&self.each.len()) && !seen.again {
            seen.pause = Duration::ZERO;
        }
        seen
    }

    /// How far those are who share, or could. There is a company from two on.
    fn note_newest(&mut self, adverts: &Adverts, now: Instant) {
        let mut could = BTreeMap::<Kind, (Instant, u32)>::new();
        for (&router, holder) in &self.each {
            let Some(since) = holder.live_since(router, adverts).filter(|_| holder.is_sociable()) else {
                continue;
            };
            let (newest, alive) = could.entry(holder.kind()).or_default();
            *newest = since.max(*newest);
            *alive += u32::from(since + holder.term.live > now);
        }
        // Nobody is left in the others.
        self.companies.retain(|kind, _| could.contains_key(kind));
        for (kind, (newest, alive)) in could {
            match self.companies.get_mut(&kind) {
                Some(company) => company.newest = newest,
                None if alive > 1 => {
                    let number = self.free_number();
                    self.companies.insert(kind, Company { number, timer: Timer::default(), newest });
                }
                None => {}
            }
        }
    }

    /// The first that no company has.
    fn free_number(&self) -> u32 {
        let taken: BTreeSet<u32> = self.companies.values().map(|company| company.number).collect();
        (0..).find(|number| !taken.contains(number)).expect("fewer than routers")
    }
}
