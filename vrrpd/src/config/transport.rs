//! Where advertisements go to and come from: what the keys of the transport say together.

use std::net::IpAddr;

use vrrp_proto::{Family, Priority};

use super::authentication;
use super::diagnostic::{Faults, Span};
use super::raw::{self, no_duplicates};
use super::second_path;
use super::suspicion;
use super::table::{At, Field};
use super::virtual_address::words;
use super::witness;

/// Reports the contradictions of one virtual router.
pub(super) fn check(router: &raw::VirtualRouter, faults: &mut Faults) {
    check_source(router, faults);
    check_peers(router, faults);
    check_allowed_sources(router, faults);
    check_group(router, faults);
    check_min_ttl(router, faults);
    second_path::check(router, faults);
    witness::check(router, faults);
    suspicion::check(router, faults);
}

fn check_source(router: &raw::VirtualRouter, faults: &mut Faults) {
    let family = router.family();
    let owner = router.priority.given() == Some(&Priority::OWNER);
    let Some(At { value: source, span }) = router.source_address.at() else { return };
    same_family("source_address", *source, family, span, faults);
    if let Some(other) = virtual_at(router, *source).filter(|_| !owner) {
        let line = faults.line(other);
        faults.error(
            span,
            format!("source_address {source} is one of the virtual addresses"),
            format!("it moves away; see line {line}"),
        );
    }
    let multicast = matches!(router.peers, Field::Absent);
    if let IpAddr::V6(ip) = source
        && multicast
        && !ip.is_unicast_link_local()
    {
        faults.error(
            span,
            format!("source_address {ip} is not link-local"),
            "IPv6 multicast is sent from fe80::/10 (RFC 9568 5.1.2.1)",
        );
    }
}

fn check_peers(router: &raw::VirtualRouter, faults: &mut Faults) {
    let family = router.family();
    let Some(At { value: peers, span }) = router.peers.at() else { return };
    if peers.is_empty() {
        faults.error(span, "peers is empty", "leave it out for multicast");
    }
    no_duplicates("peers", peers, faults);
    for peer in peers {
        same_family("peers", peer.value, family, &peer.span, faults);
        if let Some(source) = router.source_address.at().filter(|source| source.value == peer.value) {
            let line = faults.line(&source.span);
            faults.error(
                &peer.span,
                format!("peers has this node's own address {}", peer.value),
                format!("source_address is at line {line}"),
            );
        }
        if let Some(other) = virtual_at(router, peer.value) {
            let line = faults.line(other);
            faults.error(
                &peer.span,
                format!("peers has the virtual address {}", peer.value),
                format!("it moves; see line {line}"),
            );
        }
    }
}

fn check_allowed_sources(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(At { value: allowed, span }) = router.allowed_sources.at() else { return };
    multicast_only(router, "allowed_sources", "peers says already who may speak", span, faults);
    if allowed.is_empty() {
        faults.error(span, "allowed_sources is empty: nobody could be heard", "leave it out to hear anybody");
    }
    no_duplicates("allowed_sources", allowed, faults);
    for source in allowed {
        same_family("allowed_sources", source.value.ip, router.family(), &source.span, faults);
        if let IpAddr::V6(ip) = source.value.ip
            && !ip.is_unicast_link_local()
        {
            faults.error(
                &source.span,
                format!("allowed_sources: {ip} is not link-local"),
                "IPv6 multicast is sent from fe80::/10 (RFC 9568 5.1.2.1)",
            );
        }
    }
}

fn check_group(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(At { value: group, span }) = router.multicast_group.at() else { return };
    multicast_only(router, "multicast_group", "advertisements go to peers and nowhere else", span, faults);
    same_family("multicast_group", *group, router.family(), span, faults);
}

/// Reports a key that has no say where there are peers.
fn multicast_only(router: &raw::VirtualRouter, key: &str, why: &str, span: &Span, faults: &mut Faults) {
    if let Some(peers) = router.peers.at() {
        let line = faults.line(&peers.span);
        faults.error(
            span,
            format!("{key} is for multicast, and there are peers at line {line}"),
            format!("leave it out: {why}"),
        );
    }
}

fn check_min_ttl(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(At { value: min_ttl, span }) = router.min_ttl.at() else { return };
    if matches!(router.peers, Field::Absent) {
        faults.error(
            span,
            "min_ttl belongs to peers: what is multicast has 255 (RFC 9568 5.1.1.3)",
            "leave it out, or name the peers",
        );
    } else if *min_ttl < u8::MAX {
        match router.strict.at().filter(|strict| strict.value) {
            Some(strict) => {
                let line = faults.line(&strict.span);
                faults.error(
                    span,
                    format!("min_ttl {min_ttl} contradicts strict, which wants 255 (RFC 9568 7.1)"),
                    format!("strict is true at line {line}"),
                );
            }
            // Whoever knows the key may come from afar.
            None if router.authentication.given().is_some_and(authentication::Raw::enforces) => {}
            None => faults.warning(
                span,
                format!(
                    "min_ttl {min_ttl} accepts advertisements that crossed up to {}",
                    routers(u8::MAX - min_ttl)
                ),
                "none needs a key: whoever can send from a peer's address can take the role; see authentication",
            ),
        }
    }
}

fn routers(count: u8) -> String {
    if count == 1 { String::from("1 router") } else { format!("{count} routers") }
}

pub(super) fn same_family(key: &str, ip: IpAddr, family: Option<Family>, at: &Span, faults: &mut Faults) {
    if let Some(family) = family.filter(|family| *family != Family::of(ip)) {
        faults.error(
            at,
            format!("{key}: {ip} is {}", words(Family::of(ip))),
            format!("this virtual router is {}", words(family)),
        );
    }
}

/// Where the router has this one as a virtual address.
pub(super) fn virtual_at(router: &raw::VirtualRouter, ip: IpAddr) -> Option<&Span> {
    router.every_address().find(|at| at.value.ip == ip).map(|at| &at.span)
}
