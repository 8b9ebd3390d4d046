//! Virtual Routers that move together: one unit of election.
//!
//! All members of a group have one rank, the lowest configured priority among them with the checks of
//! all. They take the role when each of them would, and give it up when one of them has; so they are
//! either all up or all down, but for the moments in between. `docs/sync-groups.md` has the reasons.

use crate::action::OrderRefusal;
use crate::parameters::{GroupId, RouterId};
use crate::router::{Context, Question, VirtualRouter};
use crate::{AdverInterval, Instant, Priority};

/// A tenure of fewer intervals that ended by a higher rank makes the next claim wait.
const SHORT_TENURE: u32 = 10;
/// A claim after a short tenure leaves so many intervals to others: whoever was Active beside us can
/// claim within four.
const LEFT_TO_OTHERS: u32 = 4;
/// Each further short tenure adds an interval, up to so many.
const SHORT_TENURES_MAX: u32 = 8;
/// Steps of one group for one input: a question, a fall, a claim, the word to go on, twice.
const STEPS: usize = 8;

/// What one member knows of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) group: GroupId,
    /// The rank of all members, before checks have their say: the lowest that is configured. It is the
    /// slowest Skew_Time that all would wait for anyway.
    pub(crate) priority: Priority,
    /// The longest Advertisement_Interval.
    pub(crate) slowest: AdverInterval,
    /// How many members come before it, in the order that all nodes agree on.
    pub(crate) place: u32,
}

/// A group and its members.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    id: GroupId,
    /// In the order that all nodes agree on: by what they must have in common.
    members: Vec<RouterId>,
    up_since: Option<Instant>,
    fell_at: Instant,
    /// Tenures in a row that were short.
    short_tenures: u32,
}

type Routers = [Option<VirtualRouter>];

impl Group {
    pub(crate) fn new(id: GroupId) -> Self {
        Self { id, members: Vec::new(), up_since: None, fell_at: Instant::ZERO, short_tenures: 0 }
    }

    pub(crate) fn id(&self) -> GroupId {
        self.id
    }

    /// The members, in order.
    pub(crate) fn members(&self) -> &[RouterId] {
        &self.members
    }

    /// One of them leaves for good, and the others do not mind.
    pub(crate) fn forget(&mut self, router: RouterId) {
        self.members.retain(|&member| member != router);
    }

    /// Finds its members again after a change, and tells them of each other.
    pub(crate) fn gather(&mut self, routers: &mut Routers, now: Instant) {
        let of_group =
            |router: &&VirtualRouter| router.is_wanted() && router.parameters().sync_group == Some(self.id);
        let mut found: Vec<&VirtualRouter> = routers.iter().flatten().filter(of_group).collect();
        found.sort_by_key(|router| {
            let parameters = router.parameters();
            (
                parameters.vrid,
                parameters.family,
                parameters.addresses.first().map(|address| address.ip),
                router.id(),
            )
        });
        let each = || found.iter().map(|router| router.parameters());
        let priority = each().map(|parameters| parameters.priority).min();
        let slowest = each().map(|parameters| parameters.interval).max();
        self.members = found.iter().map(|router| router.id()).collect();
        let Some((priority, slowest)) = priority.zip(slowest) else { return };
        for (place, &id) in (0..).zip(&self.members) {
            if let Some(router) = of(routers, id) {
                let membership = Membership { group: self.id, priority, slowest, place };
                router.set_membership(Some(membership), now);
            }
        }
    }

    /// Brings the members together after something happened to one of them. True when any moved.
    pub(crate) fn settle(&mut self, routers: &mut Routers, cx: &mut Context<'_>) -> bool {
        (0..STEPS).take_while(|_| self.step(routers, cx)).count() > 0
    }

    /// When a claim that was put off is due.
    pub(crate) fn poll_timeout(&self, routers: &Routers) -> Option<Instant> {
        self.is_willing(routers).then(|| self.claim_from(routers))
    }

    /// The first member that keeps a willing one waiting.
    pub(crate) fn first_unwilling(&self, routers: &Routers) -> Option<RouterId> {
        self.each(routers).find(|member| !member.is_willing() && !member.is_up()).map(VirtualRouter::id)
    }

    /// By the order of this number to one of them, all preempt the present Active Router, or none. One
    /// that has yielded keeps the group from preempting, so it does not matter which of them it is.
    pub(crate) fn take_back(
        &self,
        ordered: RouterId,
        number: u32,
        routers: &mut Routers,
        cx: &mut Context<'_>,
    ) -> Result<(), OrderRefusal> {
        let busy = self.each(routers).any(VirtualRouter::is_busy).then_some(OrderRefusal::Busy);
        let yielded = self.each(routers).any(VirtualRouter::has_yielded);
        let refusal = busy.or((!yielded).then_some(OrderRefusal::NotYielded));
        let cannot = || self.each(routers).find_map(|member| member.cannot_take_back(cx.now));
        if let Some(refusal) = refusal.or_else(cannot) {
            return Err(refusal);
        }
        for &id in &self.members {
            if let Some(member) = of(routers, id) {
                member.begin_taking_back((id == ordered).then_some(number), cx);
            }
        }
        Ok(())
    }

    fn step(&mut self, routers: &mut Routers, cx: &mut Context<'_>) -> bool {
        if self.spread_question(routers, cx) {
            return true;
        }
        let up = self.each(routers).any(VirtualRouter::is_up);
        self.note(up, routers, cx.now);
        if !up {
            return self.claim(routers, cx);
        }
        let down = |member: &&VirtualRouter| !member.is_up() && !member.is_joining();
        let down = self.each(routers).find(down).map(VirtualRouter::id);
        match down {
            Some(with) => self.fall(with, routers, cx),
            None => self.complete(routers, cx),
        }
    }

    /// One member asks for a successor: the others ask as well, since a group follows as a whole. None
    /// asks for a better one while any of them knows that there is none.
    fn spread_question(&self, routers: &mut Routers, cx: &mut Context<'_>) -> bool {
        let called = self.members.iter().find_map(|&id| Some((id, of(routers, id)?.take_call()?)));
        let Some((caller, question)) = called else { return false };
        let known_until = self.each(routers).map(|member| member.no_better_until(cx.now)).max();
        let vetoed = known_until.filter(|&until| question == Question::Better && until > cx.now);
        if let Some(until) = vetoed {
            if let Some(caller) = of(routers, caller) {
                caller.do_not_ask(until, cx);
            }
            return true;
        }
        for &id in &self.members {
            if let Some(member) = of(routers, id) {
                member.join(question, caller, cx);
            }
        }
        if let Some(last) = self.each(routers).filter_map(VirtualRouter::asking_until).max() {
            for &id in &self.members {
                if let Some(member) = of(routers, id) {
                    member.ask_until(last, cx);
                }
            }
        }
        true
    }

    /// Takes note of when the group got the role and how it lost it.
    fn note(&mut self, up: bool, routers: &Routers, now: Instant) {
        match self.up_since {
            None if up => self.up_since = Some(now),
            Some(since) if !up => {
                let short = now - since < self.slowest(routers).duration() * SHORT_TENURE;
                let outranked = self.each(routers).any(VirtualRouter::was_outranked);
                self.short_tenures = if short && outranked { self.short_tenures + 1 } else { 0 };
                self.fell_at = now;
                self.up_since = None;
            }
            _ => {}
        }
    }

    /// All at once, when each of them would.
    fn claim(&self, routers: &mut Routers, cx: &mut Context<'_>) -> bool {
        if !self.is_willing(routers) || cx.now < self.claim_from(routers) {
            return false;
        }
        self.claim_willing(routers, cx);
        true
    }

    fn claim_willing(&self, routers: &mut Routers, cx: &mut Context<'_>) {
        let preempts = self.each(routers).any(|member| member.is_willing() && member.preempts_living(cx.now));
        for &id in &self.members {
            if let Some(member) = of(routers, id).filter(|member| member.is_willing()) {
                member.claim(preempts, cx);
            }
        }
    }

    fn fall(&self, with: RouterId, routers: &mut Routers, cx: &mut Context<'_>) -> bool {
        for &id in &self.members {
            if let Some(member) = of(routers, id).filter(|member| member.is_up()) {
                member.fall_back(with, cx);
            }
        }
        true
    }

    /// Who has joined takes the role that the others have, and claims go out when all are complete.
    fn complete(&self, routers: &mut Routers, cx: &mut Context<'_>) -> bool {
        let joins = self.each(routers).any(VirtualRouter::is_willing);
        if joins {
            self.claim_willing(routers, cx);
        }
        if !self.each(routers).any(VirtualRouter::is_incomplete) {
            for &id in &self.members {
                if let Some(member) = of(routers, id) {
                    member.proceed(cx);
                }
            }
        }
        joins
    }

    fn is_willing(&self, routers: &Routers) -> bool {
        !self.members.is_empty() && self.each(routers).all(VirtualRouter::is_willing)
    }

    /// From when on the group may claim. After a tenure that a higher rank cut short it leaves the
    /// role to others for a while: where two nodes take each other's links for the better ones, which
    /// cannot be between groups of vrrpd, one of them then finds the other in place.
    fn claim_from(&self, routers: &Routers) -> Instant {
        let resigned = self.each(routers).all(VirtualRouter::follows_resignation);
        if self.short_tenures == 0 || resigned {
            return Instant::ZERO;
        }
        let short = self.short_tenures.min(SHORT_TENURES_MAX);
        let slowest = self.slowest(routers).duration();
        let spread = self.each(routers).next().map_or(0, VirtualRouter::spread) + 7 * short;
        self.fell_at + slowest * (LEFT_TO_OTHERS + short) + slowest * (spread % 32) / 128
    }

    fn slowest(&self, routers: &Routers) -> AdverInterval {
        let membership = self.each(routers).find_map(VirtualRouter::membership);
        membership.map_or(AdverInterval::DEFAULT, |membership| membership.slowest)
    }

    fn each<'a>(&'a self, routers: &'a Routers) -> impl Iterator<Item = &'a VirtualRouter> {
        self.members.iter().filter_map(|id| routers.get(usize::from(id.0))?.as_ref())
    }
}

fn of(routers: &mut Routers, id: RouterId) -> Option<&mut VirtualRouter> {
    routers.get_mut(usize::from(id.0))?.as_mut()
}
