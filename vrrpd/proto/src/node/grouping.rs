//! The node's sync groups: who is in which, and when they are brought together.

use super::{Node, TIMEOUTS_AT_ONCE, timeouts};
use crate::Priority;
use crate::action::{Action, OrderOutcome, Report};
use crate::parameters::{GroupId, Parameters, RouterId};
use crate::router::{Context, VirtualRouter};
use crate::sync_group::Group;
use crate::tracking::{TrackerId, TrackerState};

impl Node {
    /// A router has come or changed: whoever is in its group, or was, learns of it.
    pub(super) fn gather_group_of(&mut self, id: RouterId, group: Option<GroupId>, cx: &mut Context<'_>) {
        if let Some(group) = group.filter(|&group| !self.groups.iter().any(|known| known.id() == group)) {
            self.groups.push(Group::new(group));
        }
        if !self.groups.is_empty() {
            self.regroup(cx);
        }
        self.reassess(id, cx);
        self.settle_groups(cx);
    }

    /// Of a router that is about to be added: in a sync group it is the lowest.
    pub(super) fn configured_priority(&self, parameters: &Parameters) -> Priority {
        let group = parameters.sync_group.and_then(|id| self.groups.iter().find(|group| group.id() == id));
        let others = group.into_iter().flat_map(Group::members).filter_map(|&id| self.router(id));
        others.map(|router| router.parameters().priority).fold(parameters.priority, Priority::min)
    }

    /// Members have come, changed or gone: who is left learns of each other.
    pub(super) fn regroup(&mut self, cx: &mut Context<'_>) {
        for router in self.routers.iter_mut().flatten() {
            if router.membership().map(|membership| membership.group) != router.parameters().sync_group {
                router.set_membership(None, cx.now);
            }
        }
        for group in &mut self.groups {
            group.gather(&mut self.routers, cx.now);
        }
        self.groups.retain(|group| !group.members().is_empty());
        for id in self.ids() {
            if self.router(id).is_some_and(|router| router.membership().is_some()) {
                self.reassess(id, cx);
            }
        }
    }

    /// Does something to a router, and brings its sync group together again.
    pub(super) fn with(
        &mut self,
        id: RouterId,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut VirtualRouter, &mut Context<'_>),
    ) {
        let Some(router) = self.router_mut(id) else { return };
        act(router, cx);
        let Some(membership) = router.membership() else { return };
        // Not by `group_of`: the group and the routers are borrowed apart.
        if let Some(group) = self.groups.iter_mut().find(|group| group.id() == membership.group) {
            self.routers.touch_all(group.members());
            group.settle(self.routers.said(), cx);
        }
    }

    pub(super) fn settle_groups(&mut self, cx: &mut Context<'_>) {
        for group in &mut self.groups {
            for _ in 0..TIMEOUTS_AT_ONCE {
                self.routers.touch_all(group.members());
                if !group.settle(self.routers.said(), cx) {
                    break;
                }
                // Who was called back may be willing again at once.
                for &id in group.members() {
                    if let Some(Some(router)) = self.routers.slot(id) {
                        timeouts(router, cx);
                    }
                }
            }
        }
    }

    pub(super) fn take_back(&mut self, id: RouterId, number: u32, cx: &mut Context<'_>) {
        let group = self.router(id).and_then(VirtualRouter::membership).map(|membership| membership.group);
        let Some(group) = self.groups.iter().find(|each| Some(each.id()) == group) else { return };
        if let Err(refusal) = group.take_back(id, number, &mut self.routers, cx) {
            let outcome = OrderOutcome::Refused(refusal);
            cx.actions.push(Action::Report(Report::Ordered { router: id, number, outcome }));
        }
        self.settle_groups(cx);
    }

    /// How the trackers count while they are frozen, for this router or another of its sync group.
    pub(super) fn frozen<'a>(&'a self, router: &'a VirtualRouter) -> Option<&'a [(TrackerId, TrackerState)]> {
        let others = self.group_of(router).into_iter().flat_map(Group::members);
        router.frozen().or_else(|| others.filter_map(|&id| self.router(id)).find_map(VirtualRouter::frozen))
    }

    pub(super) fn group_of(&self, router: &VirtualRouter) -> Option<&Group> {
        let id = router.membership()?.group;
        self.groups.iter().find(|group| group.id() == id)
    }
}
