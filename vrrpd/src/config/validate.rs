//! What the values of a file say together: every contradiction is reported, with both its ends.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vrrp_proto::parameters::OnConflict;
use vrrp_proto::{AdverInterval, Priority};

use super::diagnostic::{Faults, Span};
use super::keys::nearest;
use super::raw::{self, no_duplicates};
use super::table::{At, Field};
use super::value::show_duration;
use super::virtual_address::{self, words};
use super::{
    Effect, Lease, When, authentication, dns_update, garp, interface, sync_group, track, transport, version,
    virtual_mac, way,
};

/// VRID that examples and distributions preset, so that strangers meet under it.
const PRESET_VRID: u8 = 51;
/// `on_failure = "demote"` leaves a tenth: 25 at most, which has to be below every healthy router.
pub(super) const HIGHEST_DEMOTED: u8 = 25;

/// Reports every contradiction of the file.
pub(super) fn check(file: &raw::File, faults: &mut Faults) {
    for router in &file.virtual_routers {
        check_some_address(router, &file.dns_updates, faults);
        version::check(router, faults);
        virtual_address::check(router, faults);
        transport::check(router, faults);
        authentication::check(router, faults);
        virtual_mac::check(router, faults);
        check_election(router, faults);
        check_times(router, faults);
        check_effects(router, &file.checks, faults);
        track::check(router, faults);
        check_roles(router, &file.checks, faults);
        check_others(router, &file.checks, faults);
    }
    check_uniqueness(&file.virtual_routers, faults);
    interface::check(&file.interfaces, &file.virtual_routers, faults);
    check_peer_link(&file.peer_link, faults);
    for check in &file.checks {
        check_timeout(check, faults);
        check_fast_interval(check, faults);
    }
    for hook in &file.hooks {
        check_hook(hook, faults);
    }
    check_references(file, faults);
    sync_group::check(file, faults);
    way::check(file, faults);
    dns_update::check(&file.dns_updates, &file.virtual_routers, faults);
}

/// Without an address to move, something else has to: a name.
fn check_some_address(router: &raw::VirtualRouter, updates: &[dns_update::Raw], faults: &mut Faults) {
    if !matches!(router.addresses, Field::Absent) {
        return;
    }
    let name = &router.name;
    let moves_a_name = updates.iter().any(|update| update.moves(&name.value));
    let owner = router.priority.at().filter(|priority| priority.value.is_owner());
    match (&router.peers, owner) {
        (Field::Absent, _) if moves_a_name => faults.error(
            &name.span,
            format!("[virtual_router.{}] has no addresses and no peers", name.value),
            "with peers a dns_update can do without addresses",
        ),
        (_, Some(owner)) if moves_a_name => faults.error(
            &owner.span,
            "priority 255 is for the owner of addresses, and there are none",
            "1 to 254",
        ),
        _ if moves_a_name => {}
        _ => faults.error(
            &name.span,
            format!("[virtual_router.{}] has no addresses", name.value),
            "at least one: addresses = [\"192.0.2.201\"]",
        ),
    }
}

fn check_election(router: &raw::VirtualRouter, faults: &mut Faults) {
    if let Some(at) = router.vrid.at().filter(|at| at.value.get() == PRESET_VRID) {
        faults.warning(
            &at.span,
            "VRID 51 is preset by many programs",
            "take another, lest a stranger's router takes part",
        );
    }
    let owner = router.priority.given() == Some(&Priority::OWNER);
    let preempt_mode = router.preempt_mode.at().filter(|at| !at.value);
    if owner && let Some(at) = preempt_mode {
        faults.warning(
            &at.span,
            "preempt_mode = false has no effect with priority 255",
            "the owner always takes over (RFC 9568 6.1)",
        );
    }
    if owner && let Some(at) = router.accept_mode.at().filter(|at| !at.value) {
        faults.warning(
            &at.span,
            "accept_mode = false has no effect with priority 255",
            "the owner accepts what is for its addresses (RFC 9568 6.4.3)",
        );
    }
    if owner && let Some(at) = router.on_conflict.at().filter(|at| at.value == OnConflict::Hold) {
        faults.warning(
            &at.span,
            "on_conflict = \"hold\" has no effect with priority 255",
            "the owner does not ask for its own addresses",
        );
    }
    if let Some(at) = router.preempt_delay.at().filter(|at| !at.value.is_zero()) {
        if owner {
            faults.warning(
                &at.span,
                "preempt_delay has no effect with priority 255",
                "the owner always takes over (RFC 9568 6.1)",
            );
        } else if let Some(mode) = preempt_mode {
            let line = faults.line(&mode.span);
            faults.warning(
                &at.span,
                "preempt_delay has no effect",
                format!("preempt_mode is false at line {line}"),
            );
        }
    }
}

fn check_times(router: &raw::VirtualRouter, faults: &mut Faults) {
    if let Some(At { value: Lease::For(lease), span }) = router.lease.at() {
        check_lease(router, *lease, span, faults);
    }
    garp::check(&router.garp, &router.interface, faults);
}

fn check_lease(router: &raw::VirtualRouter, lease: Duration, span: &Span, faults: &mut Faults) {
    let shown = show_duration(lease);
    if router.priority.given() == Some(&Priority::OWNER) {
        faults.error(
            span,
            "lease cannot be set with priority 255",
            "the owner's addresses are the administrator's: leave it out",
        );
    }
    let Some(interval) = router.advertisement_interval.or(AdverInterval::DEFAULT) else { return };
    if lease <= interval.duration() {
        faults.error(
            span,
            format!("lease of {shown} ends before it is renewed"),
            format!("it is renewed with each advertisement, every {interval}"),
        );
        return;
    }
    let claim = interval.duration() * 3;
    if lease > claim {
        faults.warning(
            span,
            format!("lease of {shown} can outlast the role"),
            format!("a backup claims the addresses after {}", show_duration(claim)),
        );
    }
}

fn check_effects(router: &raw::VirtualRouter, checks: &[raw::Check], faults: &mut Faults) {
    let Some(priority) = router.priority.at() else { return };
    let line = faults.line(&priority.span);
    for name in router.checks.given().into_iter().flatten() {
        let Some(check) = checks.iter().find(|check| check.name.value == name.value) else { continue };
        let Some(effect) = check.effect.or(check.usual().effect) else { continue };
        if priority.value.is_owner() && effect != Effect::Alert {
            faults.error(
                &name.span,
                format!("check {} could take the role from the owner", name.value),
                format!("priority is 255 at line {line}: only checks with on_failure = \"alert\""),
            );
        } else if effect == Effect::Demote && priority.value.get() <= HIGHEST_DEMOTED {
            faults.error(
                &name.span,
                format!(
                    "check {} demotes to a tenth, which needs a priority above {HIGHEST_DEMOTED}",
                    name.value
                ),
                format!("priority is {} at line {line}", priority.value),
            );
        }
    }
}

/// A check that is asked while Active only, and moves the role away, is not asked where that leads to:
/// nothing then keeps the role from coming back.
fn check_roles(router: &raw::VirtualRouter, checks: &[raw::Check], faults: &mut Faults) {
    if router.preempt_mode.or(true) != Some(true) {
        return;
    }
    for name in router.checks.given().into_iter().flatten() {
        let Some(check) = checks.iter().find(|check| check.name.value == name.value) else { continue };
        let Some(when) = check.when.at().filter(|at| at.value == When::Active) else { continue };
        let moves_away = match check.effect.or(check.usual().effect) {
            Some(Effect::Demote | Effect::Fault) => true,
            Some(Effect::Weight(weight)) => weight < 0,
            Some(Effect::Alert) | None => false,
        };
        if moves_away {
            faults.warning(
                &when.span,
                format!("check {} can make {} go to and fro", name.value, router.name.value),
                "it is not asked once the role has gone, so the role is claimed again: on_failure = \"alert\", \
                 or preempt_mode = false",
            );
        }
    }
}

/// A host that is silent for both nodes must not make both leave.
fn check_others(router: &raw::VirtualRouter, checks: &[raw::Check], faults: &mut Faults) {
    for name in router.checks.given().into_iter().flatten() {
        let Some(check) = checks.iter().find(|check| check.name.value == name.value) else { continue };
        let Some(others) = check.probe.as_ref().and_then(|probe| probe.value.kind().others()) else {
            continue;
        };
        let Some(effect) = check.effect.at().filter(|effect| effect.value == Effect::Fault) else { continue };
        let all = others.named.len() + usize::from(others.routers);
        let peers = router.peers.given();
        let asks_peer = peers.is_none_or(|peers| peers.iter().any(|peer| others.named.contains(&peer.value)));
        if usize::try_from(others.quorum).is_ok_and(|quorum| all <= quorum) {
            faults.warning(
                &effect.span,
                format!("check {} can make both nodes of {} leave", name.value, router.name.value),
                "one silent host is enough: two targets or more, the peer among them, and a quorum below all",
            );
        } else if !asks_peer {
            faults.warning(
                &effect.span,
                format!("check {} does not ask a peer of {}", name.value, router.name.value),
                "hosts that fail together make both nodes leave: one of its peers among the targets",
            );
        }
    }
}

fn check_peer_link(link: &Field<raw::PeerLink>, faults: &mut Faults) {
    let Some(link) = link.given() else { return };
    let Some(At { value: peers, span }) = link.peers.at() else { return };
    no_duplicates("peers", peers, faults);
    if peers.is_empty() {
        faults.error(span, "peers is empty", "where the other node listens: peers = [\"192.0.2.194:9112\"]");
    }
    let Some(listen) = link.listen.at() else { return };
    for peer in peers {
        if peer.value == listen.value {
            let line = faults.line(&listen.span);
            let message = format!("{} is this node's own, see line {line}", peer.value);
            faults.error(&peer.span, message, "name the other nodes only");
        } else if peer.value.is_ipv4() != listen.value.is_ipv4() {
            let message = format!("{} cannot be reached from {}", peer.value, listen.value);
            faults.error(&peer.span, message, "listen and peers are of one family");
        }
    }
}

fn check_uniqueness(routers: &[raw::VirtualRouter], faults: &mut Faults) {
    for (index, router) in routers.iter().enumerate() {
        for other in &routers[..index] {
            same_vrid(router, other, faults);
        }
    }
    check_shared_addresses(routers, faults);
}

fn same_vrid(router: &raw::VirtualRouter, other: &raw::VirtualRouter, faults: &mut Faults) {
    let (Some(vrid), Some(first)) = (router.vrid.at(), other.vrid.at()) else { return };
    let Some(family) = router.family().filter(|family| other.family() == Some(*family)) else { return };
    let shared = router.interfaces().find(|own| other.interfaces().any(|theirs| theirs == *own));
    if let Some(interface) = shared.filter(|_| vrid.value == first.value) {
        let line = faults.line(&first.span);
        faults.error(
            &vrid.span,
            format!("VRID {} is used twice for {} on {interface}", vrid.value, words(family)),
            format!("first at line {line}"),
        );
    }
}

/// A link-local address may be on two links, any other is on one.
fn check_shared_addresses(routers: &[raw::VirtualRouter], faults: &mut Faults) {
    let mut holders: BTreeMap<IpAddr, Vec<(&raw::VirtualRouter, &Span)>> = BTreeMap::new();
    for router in routers {
        for at in router.every_address() {
            let ip = at.value.ip;
            let per_link = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            let earlier = holders.entry(ip).or_default();
            for (other, first) in earlier.iter().filter(|(other, _)| !std::ptr::eq(*other, router)) {
                if per_link && router.interface.given() != other.interface.given() {
                    continue;
                }
                let line = faults.line(first);
                faults.error(
                    &at.span,
                    format!("{ip} belongs to two virtual routers"),
                    format!("{} has it at line {line}", other.name.value),
                );
            }
            if earlier.last().is_none_or(|(last, _)| !std::ptr::eq(*last, router)) {
                earlier.push((router, &at.span));
            }
        }
    }
}

fn check_timeout(check: &raw::Check, faults: &mut Faults) {
    let Some(timeout) = check.timeout.at() else { return };
    let Some(interval) = check.interval.or(check.usual().interval) else { return };
    for (key, shortest, at) in [
        ("interval", Some(interval), check.interval.at()),
        ("fast_interval", check.fast_interval.given().copied(), check.fast_interval.at()),
    ] {
        let Some(shortest) = shortest.filter(|shortest| timeout.value >= *shortest) else { continue };
        let label = match at {
            Some(at) => {
                format!("the {key} at line {} is {}", faults.line(&at.span), show_duration(shortest))
            }
            None => format!("the {key} is {} unless set", show_duration(shortest)),
        };
        let message = format!("timeout of {} is not shorter than the {key}", show_duration(timeout.value));
        faults.error(&timeout.span, message, label);
        return;
    }
}

fn check_fast_interval(check: &raw::Check, faults: &mut Faults) {
    let Some(fast) = check.fast_interval.at() else { return };
    let Some(interval) = check.interval.or(check.usual().interval) else { return };
    if fast.value >= interval {
        let label = match check.interval.at() {
            Some(at) => format!("the interval is at line {}", faults.line(&at.span)),
            None => String::from("a longer interval, or leave it out"),
        };
        let (fast_shown, interval) = (show_duration(fast.value), show_duration(interval));
        let message = format!("fast_interval of {fast_shown} is not shorter than the interval of {interval}");
        faults.error(&fast.span, message, label);
    }
}

fn check_hook(hook: &raw::Hook, faults: &mut Faults) {
    let Some(At { value: on, span }) = hook.on.at() else { return };
    no_duplicates("on", on, faults);
    if on.is_empty() {
        faults.error(span, "on is empty", "one or more of \"active\", \"backup\", \"fault\", \"stopped\"");
    }
}

/// Checks and hooks that are named and missing, or there and not named.
fn check_references(file: &raw::File, faults: &mut Faults) {
    let checks: Vec<&At<String>> = file.checks.iter().map(|check| &check.name).collect();
    let hooks: Vec<&At<String>> = file.hooks.iter().map(|hook| &hook.name).collect();
    let mut used_checks = Vec::new();
    let mut used_hooks = Vec::new();
    for router in &file.virtual_routers {
        resolve("check", &router.checks, &checks, &mut used_checks, faults);
        resolve("hook", &router.hooks, &hooks, &mut used_hooks, faults);
        own_address_only(router, &file.checks, faults);
    }
    for group in &file.sync_groups {
        resolve("check", &group.checks, &checks, &mut used_checks, faults);
    }
    for (kind, names, used) in [("check", checks, used_checks), ("hook", hooks, used_hooks)] {
        for name in names {
            // With a part of the file unread, nobody knows.
            if !used.contains(&name.value.as_str()) && !faults.incomplete() {
                faults.warning(
                    &name.span,
                    format!("{kind} {} is not used", name.value),
                    format!("name it in the {kind}s of a virtual router"),
                );
            }
        }
    }
}

fn resolve<'a>(
    kind: &str,
    list: &'a Field<Vec<At<String>>>,
    names: &[&At<String>],
    used: &mut Vec<&'a str>,
    faults: &mut Faults,
) {
    let Some(list) = list.given() else { return };
    no_duplicates(&format!("{kind}s"), list, faults);
    for at in list {
        used.push(&at.value);
        if !names.iter().any(|name| name.value == at.value) && !faults.incomplete() {
            let label = match nearest(&at.value, names.iter().map(|name| name.value.as_str())) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("there is no [{kind}] of this name"),
            };
            faults.error(&at.span, format!("{kind} {:?} does not exist", at.value), label);
        }
    }
}

/// A check that asks the virtual address asks whoever is Active, and tells a Backup nothing of itself.
fn own_address_only(router: &raw::VirtualRouter, checks: &[raw::Check], faults: &mut Faults) {
    for name in router.checks.given().into_iter().flatten() {
        let probe =
            checks.iter().find(|check| check.name.value == name.value).and_then(|check| check.probe.as_ref());
        let Some(probe) = probe else { continue };
        let Some(target) = probe.value.kind().target() else { continue };
        if router.every_address().any(|at| at.value.ip == target) {
            faults.warning(
                &probe.span,
                format!("check {} asks the virtual address {target}", name.value),
                "a Backup would test the Active node: use this node's own address",
            );
        }
    }
}
