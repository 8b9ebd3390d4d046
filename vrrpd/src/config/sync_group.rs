//! `[sync_group.NAME]`: virtual routers that move together.

use vrrp_proto::Priority;

use super::diagnostic::Faults;
use super::keys::nearest;
use super::raw::{self, no_duplicates};
use super::show::{Entries, list, quoted};
use super::table::{At, Field, Table};
use super::validate::HIGHEST_DEMOTED;
use super::value;
use super::{Config, Effect, TrackInterface};

/// `[sync_group.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// The table's name.
    pub name: String,
    /// Names of its members, two at least, each in one group only and none an owner (priority 255).
    pub virtual_routers: Vec<String>,
    /// Names of the checks that count for it, beside those of its members.
    pub checks: Vec<String>,
}

/// As it is written.
pub(super) struct Raw {
    pub(super) name: At<String>,
    pub(super) virtual_routers: Field<Vec<At<String>>>,
    pub(super) checks: Field<Vec<At<String>>>,
}

pub(super) fn read(name: At<String>, table: &Table<'_>, faults: &mut Faults) -> Raw {
    let virtual_routers = table.list("virtual_routers", faults, value::reference);
    if matches!(virtual_routers, Field::Absent) {
        let remedy = "its members: virtual_routers = [\"inside\", \"outside\"]";
        faults.error(&table.span, format!("[{}] has no virtual_routers", table.path), remedy);
    }
    Raw { name, virtual_routers, checks: table.list("checks", faults, value::reference) }
}

pub(super) fn check(file: &raw::File, faults: &mut Faults) {
    for (index, group) in file.sync_groups.iter().enumerate() {
        let Some(At { value: members, span }) = group.virtual_routers.at() else { continue };
        no_duplicates("virtual_routers", members, faults);
        if members.len() < 2 {
            faults.error(
                span,
                format!("[sync_group.{}] has fewer than two members", group.name.value),
                "one virtual router moves by itself",
            );
        }
        for member in members {
            check_member(member, file, &file.sync_groups[..index], faults);
        }
        check_rank(group, members, file, faults);
    }
}

fn check_member(member: &At<String>, file: &raw::File, groups_before: &[Raw], faults: &mut Faults) {
    let Some(router) = file.virtual_routers.iter().find(|router| router.name.value == member.value) else {
        if !faults.incomplete() {
            let names = file.virtual_routers.iter().map(|router| router.name.value.as_str());
            let label = match nearest(&member.value, names) {
                Some(name) => format!("did you mean {name:?}?"),
                None => String::from("there is no [virtual_router] of this name"),
            };
            faults.error(&member.span, format!("virtual router {:?} does not exist", member.value), label);
        }
        return;
    };
    if let Some(owner) = router.priority.at().filter(|priority| priority.value.is_owner()) {
        let line = faults.line(&owner.span);
        faults.error(
            &member.span,
            format!("{} owns its addresses, which cannot move with the others", member.value),
            format!("priority is 255 at line {line}: 1 to 254, or leave it out of the group"),
        );
    }
    let in_group = |group: &&Raw| {
        group.virtual_routers.given().into_iter().flatten().any(|other| other.value == member.value)
    };
    if let Some(first) = groups_before.iter().find(in_group) {
        let line = faults.line(&first.name.span);
        faults.error(
            &member.span,
            format!("{} is in two sync groups", member.value),
            format!("{} at line {line} has it as well", first.name.value),
        );
    }
}

/// All members have the lowest priority that is configured.
fn check_rank(group: &Raw, members: &[At<String>], file: &raw::File, faults: &mut Faults) {
    let of_group = || {
        let named = |router: &&raw::VirtualRouter| members.iter().any(|at| at.value == router.name.value);
        file.virtual_routers.iter().filter(named)
    };
    let priorities: Option<Vec<Priority>> =
        of_group().map(|router| router.priority.or(Priority::DEFAULT)).collect();
    let Some((lowest, highest)) = priorities.and_then(|all| Some((*all.iter().min()?, *all.iter().max()?)))
    else {
        return;
    };
    if lowest != highest && !highest.is_owner() {
        faults.warning(
            &group.name.span,
            format!("the members of {} have priorities from {lowest} to {highest}", group.name.value),
            format!("all are elected with {lowest}, the lowest: give them one priority"),
        );
    }
    if lowest.get() > HIGHEST_DEMOTED {
        return;
    }
    let lists = of_group().map(|router| &router.checks).chain([&group.checks]);
    for name in lists.flat_map(|list| list.given().into_iter().flatten()) {
        let demotes = |check: &&raw::Check| {
            check.name.value == name.value && check.effect.or(check.usual().effect) == Some(Effect::Demote)
        };
        if file.checks.iter().any(|check| demotes(&check)) {
            faults.error(
                &name.span,
                format!(
                    "check {} demotes to a tenth, which needs a priority above {HIGHEST_DEMOTED}",
                    name.value
                ),
                format!("the lowest priority of sync group {} is {lowest}", group.name.value),
            );
        }
    }
}

pub(super) fn config(raw: &Raw) -> Option<SyncGroup> {
    Some(SyncGroup {
        name: raw.name.value.clone(),
        virtual_routers: super::defaults::values(&raw.virtual_routers)?,
        checks: super::defaults::values(&raw.checks)?,
    })
}

pub(super) fn entries(group: &SyncGroup) -> Entries {
    let mut entries = vec![("virtual_routers", list(&group.virtual_routers, |name| quoted(name)))];
    if !group.checks.is_empty() {
        entries.push(("checks", list(&group.checks, |name| quoted(name))));
    }
    entries
}

impl Config {
    /// The group of a virtual router.
    pub fn sync_group(&self, virtual_router: &str) -> Option<&SyncGroup> {
        self.sync_groups.iter().find(|group| group.virtual_routers.iter().any(|name| name == virtual_router))
    }

    /// The lowest configured priority of a group, which is the rank of all its members.
    pub fn rank(&self, group: &SyncGroup) -> Option<Priority> {
        let members =
            self.virtual_routers.iter().filter(|router| group.virtual_routers.contains(&router.name));
        members.map(|router| router.priority).min()
    }

    /// What moves one member moves all: each names the checks of all and of the group, and tracks the
    /// interfaces that any of them tracks. Two that track one in the same way do so with the weight of
    /// the first.
    pub(super) fn share_checks(&mut self) {
        for group in &self.sync_groups {
            let is_member = |router: &&super::VirtualRouter| group.virtual_routers.contains(&router.name);
            let own = self.virtual_routers.iter().filter(is_member).flat_map(|router| &router.checks);
            let mut all: Vec<String> = Vec::new();
            for name in group.checks.iter().chain(own) {
                if !all.contains(name) {
                    all.push(name.clone());
                }
            }
            let own =
                self.virtual_routers.iter().filter(is_member).flat_map(|router| &router.track_interfaces);
            let mut tracked: Vec<TrackInterface> = Vec::new();
            for track in own {
                if !tracked.iter().any(|known| known.name() == track.name()) {
                    tracked.push(track.clone());
                }
            }
            for router in self.virtual_routers.iter_mut().filter(|router| is_member(&&**router)) {
                let others = all.iter().filter(|name| !router.checks.contains(name)).cloned();
                let others: Vec<String> = others.collect();
                router.checks.extend(others);
                router.track_interfaces.clone_from(&tracked);
            }
        }
    }
}
