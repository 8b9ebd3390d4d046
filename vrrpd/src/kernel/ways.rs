//! Routes and rules that are there while a router is Active, and what is always there: put, put back
//! when somebody takes it, and taken away in the reverse order.
//!
//! Nobody is asked what the kernel has: each is asked for again, which costs nothing where it is there.
//! IPv4 routes that go with their link or an address go without a word.

use std::fmt;
use std::time::{Duration, Instant};

use netlink::{Address, AddressOptions, Change, Request, Requester, Table};
use vrrp_proto::parameters::RouterId;

use super::{Note, Worker};

/// Losses within [`FORGOTTEN`] that are put back at once; after more of them somebody fights for it.
const AT_ONCE: u32 = 3;
/// After so long without a loss nobody fights any more.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// The first and the longest wait after a refusal, and in a fight.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// One thing that the kernel is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// An address that does not move.
    Address { address: Address, interface: String, options: AddressOptions },
    /// A route, with the name of its link, if it has one, and in words.
    Route { route: netlink::Route, interface: Option<String>, words: String },
    /// A rule.
    Rule(netlink::Rule),
}

/// What is known of a [`Way`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not wanted at present.
    #[default]
    Absent,
    /// There, through us.
    Ours,
    /// There, and somebody else's.
    Foreign,
    /// Not there, in the kernel's words or ours.
    Refused(String),
}

/// A [`Way`] as an observer may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) way: Way,
    pub(crate) standing: Standing,
    /// Somebody takes it again and again.
    pub(crate) contested: bool,
}

/// What happened to a [`Way`].
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It was gone, and is there again.
    PutBack,
    /// It cannot be had.
    Refused(String),
}

/// What one router, or the host, wants of the kernel.
#[derive(Debug, Default)]
pub(super) struct Ways {
    held: Vec<Held>,
    wanted: bool,
}

#[derive(Debug)]
struct Held {
    way: Way,
    standing: Standing,
    losses: u32,
    refusals: u32,
    last_loss: Option<Instant>,
    /// Not asked for before.
    not_before: Option<Instant>,
}

impl Way {
    fn addition(&self, table: &Table) -> Result<Request, String> {
        let link = |name: &String| match table.link_by_name(name) {
            Some(link) => Ok(link.index),
            None => Err(format!("there is no interface {name}")),
        };
        Ok(match self {
            Self::Address { address, interface, options } => {
                let (link, options) = (link(interface)?, options.clone());
                Request::AddAddress { link, address: *address, lifetime: None, options }
            }
            Self::Route { route, interface, .. } => {
                let link = interface.as_ref().map(link).transpose()?;
                Request::AddRoute(netlink::Route { link, ..route.clone() })
            }
            Self::Rule(rule) => Request::AddRule(rule.clone()),
        })
    }

    /// `None`: it went with its interface.
    fn removal(&self, table: &Table) -> Option<Request> {
        Some(match self.addition(table).ok()? {
            Request::AddAddress { link, address, .. } => Request::RemoveAddress { link, address },
            Request::AddRoute(route) => Request::RemoveRoute(route),
            Request::AddRule(rule) => Request::RemoveRule(rule),
            _ => return None,
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, interface, .. } => write!(f, "{address} on {interface}"),
            Self::Route { words, .. } => f.write_str(words),
            Self::Rule(rule) => rule.fmt(f),
        }
    }
}

impl Held {
    fn new(way: Way) -> Self {
        Self { way, standing: Standing::Absent, losses: 0, refusals: 0, last_loss: None, not_before: None }
    }

    /// Takes in what the kernel said, and tells what people should hear of it.
    fn asked(&mut self, answer: Result<Change, String>, left_over: bool, now: Instant) -> Option<Fate> {
        let was = std::mem::take(&mut self.standing);
        self.not_before = None;
        match answer {
            Ok(Change::Made) => {
                self.refusals = 0;
                self.standing = Standing::Ours;
                (was == Standing::Ours).then(|| self.lost(now))
            }
            Ok(Change::Unchanged) => {
                self.refusals = 0;
                let ours = was == Standing::Ours || left_over;
                self.standing = if ours { Standing::Ours } else { Standing::Foreign };
                None
            }
            Err(words) => {
                self.not_before = Some(now + wait(self.refusals));
                self.refusals = self.refusals.saturating_add(1);
                let news = was != Standing::Refused(words.clone());
                self.standing = Standing::Refused(words.clone());
                news.then_some(Fate::Refused(words))
            }
        }
    }

    fn lost(&mut self, now: Instant) -> Fate {
        if self.last_loss.is_none_or(|last| now.duration_since(last) > FORGOTTEN + wait(self.losses)) {
            self.losses = 0;
        }
        self.last_loss = Some(now);
        self.losses = self.losses.saturating_add(1);
        if let Some(fights) = self.losses.checked_sub(AT_ONCE) {
            self.not_before = Some(now + wait(fights));
        }
        Fate::PutBack
    }

    fn is_contested(&self, now: Instant) -> bool {
        self.losses > AT_ONCE && self.last_loss.is_some_and(|last| now.duration_since(last) < FORGOTTEN)
    }

    /// A refusal is looked into again at each event; a fight is not.
    fn is_due(&self, now: Instant, event: bool) -> bool {
        let refused = matches!(self.standing, Standing::Refused(_));
        self.not_before.is_none_or(|at| at <= now || event && refused)
    }
}

impl Ways {
    /// Other ones are wanted from now on: returns those that are there and are not among them.
    fn replace(&mut self, ways: &[Way]) -> Vec<Held> {
        let mut before = std::mem::take(&mut self.held);
        for way in ways {
            let known = before.iter().position(|held| held.way == *way);
            self.held.push(known.map_or_else(|| Held::new(way.clone()), |known| before.remove(known)));
        }
        before
    }

    fn next_due(&self) -> Option<Instant> {
        let held = self.held.iter().filter(|_| self.wanted);
        held.filter_map(|held| held.not_before).min()
    }

    fn seen(&self, now: Instant) -> Vec<Seen> {
        let seen = |held: &Held| Seen {
            way: held.way.clone(),
            standing: held.standing.clone(),
            contested: held.is_contested(now),
        };
        self.held.iter().map(seen).collect()
    }
}

/// Doubles each time.
fn wait(times: u32) -> Duration {
    (FIRST_WAIT * (1 << times.min(16))).min(LONGEST_WAIT)
}

impl Worker {
    /// Takes away what an earlier daemon left behind. Whatever of it is still wanted is put anew.
    pub(super) fn remove_left_over_ways(requester: &mut Requester) -> Result<(), netlink::Error> {
        let requests: Vec<Request> =
            requester.left_over()?.into_iter().map(Request::RemoveLeftOver).collect();
        requester.perform(&requests).into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// A router, or the host, has other ways from now on.
    pub(super) fn plan_ways(&mut self, router: Option<RouterId>, ways: &[Way]) {
        let plan = self.ways.entry(router).or_default();
        plan.wanted |= router.is_none();
        let surplus = plan.replace(ways);
        self.remove_ways(surplus);
        self.ensure_ways_of(router, true);
        self.tell_ways(router);
    }

    /// The role is here: its ways are wanted.
    pub(super) fn open_ways(&mut self, router: RouterId) {
        if let Some(plan) = self.ways.get_mut(&Some(router)) {
            plan.wanted = true;
            self.ensure_ways_of(Some(router), true);
        }
    }

    /// The role goes, or the daemon ends: its ways are not wanted any more.
    pub(super) fn close_ways(&mut self, router: Option<RouterId>) {
        let Some(plan) = self.ways.get_mut(&router) else { return };
        if std::mem::take(&mut plan.wanted) {
            let ways: Vec<Way> = plan.held.iter().map(|held| held.way.clone()).collect();
            let held = std::mem::take(&mut plan.held);
            plan.held = ways.into_iter().map(Held::new).collect();
            self.remove_ways(held);
            self.tell_ways(router);
        }
    }

    /// Nothing is wanted any more.
    pub(super) fn close_all_ways(&mut self) {
        let all: Vec<Option<RouterId>> = self.ways.keys().copied().collect();
        all.into_iter().for_each(|router| self.close_ways(router));
    }

    /// Has the kernel have what is wanted. `event`: something has changed that may have taken, or
    /// may allow, one of them.
    pub(super) fn ensure_ways(&mut self, event: bool) {
        let all: Vec<Option<RouterId>> = self.ways.keys().copied().collect();
        all.into_iter().for_each(|router| self.ensure_ways_of(router, event));
    }

    fn ensure_ways_of(&mut self, router: Option<RouterId>, event: bool) {
        let now = Instant::now();
        let Some(plan) = self.ways.get_mut(&router).filter(|plan| plan.wanted) else { return };
        let before = plan.seen(now);
        for held in &mut plan.held {
            if !held.is_due(now, event) {
                continue;
            }
            let (answer, left_over) = match held.way.addition(&self.table) {
                Ok(request) => {
                    let answer = self.requester.perform(std::slice::from_ref(&request)).remove(0);
                    let marked = matches!(&request, Request::AddAddress { link, address, .. }
                        if self.ours.contains(&(*link, *address)));
                    (answer.map_err(|error| error.to_string()), marked)
                }
                Err(words) => (Err(words), false),
            };
            if let Some(fate) = held.asked(answer, left_over, now) {
                let way = held.way.clone();
                drop(self.notes.send(Note::Way { router, way, fate }));
            }
        }
        if plan.seen(now) != before {
            self.tell_ways(router);
        }
    }

    /// When [`ensure_ways`](Self::ensure_ways) has something to do without an event.
    pub(super) fn ways_due(&self) -> Option<Instant> {
        self.ways.values().filter_map(Ways::next_due).min()
    }

    fn remove_ways(&mut self, held: Vec<Held>) {
        let ours = held.iter().rev().filter(|held| held.standing == Standing::Ours);
        let requests: Vec<Request> = ours.filter_map(|held| held.way.removal(&self.table)).collect();
        for error in self.requester.perform(&requests).into_iter().filter_map(Result::err) {
            drop(self.notes.send(Note::Trouble(error.to_string())));
        }
    }

    fn tell_ways(&self, router: Option<RouterId>) {
        let seen = self.ways.get(&router).map(|plan| plan.seen(Instant::now())).unwrap_or_default();
        drop(self.notes.send(Note::Ways { router, seen }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        let rule = netlink::Rule {
            ipv6: false,
            priority: 100,
            from: None,
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
            action: Ok(100),
        };
        Held::new(Way::Rule(rule))
    }

    #[test]
    fn what_is_taken_again_and_again_is_put_back_later_each_time() {
        let (mut held, start) = (held(), Instant::now());
        assert!(held.asked(Ok(Change::Made), false, start).is_none(), "the first time it is new");
        for _ in 0..AT_ONCE - 1 {
            assert!(matches!(held.asked(Ok(Change::Made), false, start), Some(Fate::PutBack)));
            assert!(held.is_due(start, true) && !held.is_contested(start));
        }
        let mut now = start;
        for seconds in [1, 2, 4, 8] {
            held.asked(Ok(Change::Made), false, now);
            assert!(!held.is_due(now, true), "an event does not shorten it");
            now += Duration::from_secs(seconds);
            assert!(held.is_due(now, false), "{seconds} s");
        }
        assert!(held.is_contested(now));
        now += 2 * LONGEST_WAIT;
        assert!(!held.is_contested(now));
        held.asked(Ok(Change::Made), false, now);
        assert!(held.is_due(now, true), "that fight was over");
    }

    #[test]
    fn a_refusal_is_told_once_and_tried_again_at_each_event() {
        let (mut held, now) = (held(), Instant::now());
        let refused = |held: &mut Held| held.asked(Err("network is unreachable".into()), false, now);
        assert!(matches!(refused(&mut held), Some(Fate::Refused(_))));
        assert!(refused(&mut held).is_none());
        assert!(held.is_due(now, true) && !held.is_due(now, false));
        assert!(held.is_due(now + wait(1), false));
        assert!(held.asked(Ok(Change::Made), false, now).is_none());
        assert_eq!(held.standing, Standing::Ours);
    }

    #[test]
    fn what_was_there_before_is_a_strangers_unless_it_carries_our_mark() {
        let (mut held, now) = (held(), Instant::now());
        held.asked(Ok(Change::Unchanged), false, now);
        assert_eq!(held.standing, Standing::Foreign);
        held.asked(Ok(Change::Unchanged), true, now);
        assert_eq!(held.standing, Standing::Ours);
        held.asked(Ok(Change::Unchanged), false, now);
        assert_eq!(held.standing, Standing::Ours, "as it was");
    }
}
