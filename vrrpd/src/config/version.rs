//! `version`: which VRRP is spoken, and what goes with it.

use std::time::Duration;

use toml::de::DeValue;
use vrrp_proto::{AdverInterval, Family, Version};

use super::diagnostic::Faults;
use super::table::At;
use super::value::{self, Read, Refusal, refuse, show_duration};
use super::{Ipv4Checksum, raw};

pub(super) fn read(key: &str, value: &DeValue<'_>) -> Read<Version> {
    let number = value::integer(key, value, 2..=3)?;
    match u8::try_from(number).ok().and_then(Version::from_number) {
        Some(version) => Ok(version),
        None => refuse(format!("{key} {number} is out of range 2..=3"), ""),
    }
}

/// `advertisement_interval`, as the version counts it.
pub(super) fn interval(key: &str, value: &DeValue<'_>, version: Version) -> Read<AdverInterval> {
    match version {
        Version::V2 => whole_seconds(key, value),
        Version::V3 => value::advertisement_interval(key, value),
    }
}

fn whole_seconds(key: &str, value: &DeValue<'_>) -> Read<AdverInterval> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let duration = value::duration(key, value, Duration::ZERO..=DAY)?;
    let shown = show_duration(duration);
    AdverInterval::of(Version::V2, duration).ok_or_else(|| match duration.subsec_nanos() {
        0 => Refusal {
            message: format!("{key} \"{shown}\" is out of range 1s..=255s of version 2"),
            label: String::new(),
        },
        _ => Refusal {
            message: format!(
                "{key} \"{shown}\" is not a whole number of seconds, which is all that version 2 can say"
            ),
            label: format!("write \"{}s\", or version = 3", duration.as_secs().max(1)),
        },
    })
}

/// Reports what the version contradicts.
pub(super) fn check(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(At { span, .. }) = router.version.at().filter(|at| at.value == Version::V2) else { return };
    if router.family() == Some(Family::Ipv6) {
        faults.error(
            span,
            "version 2 is for IPv4 only (RFC 9568 7.1)",
            "this virtual router is IPv6: leave it out",
        );
    }
    if let Some(checksum) = router.ipv4_checksum.at().filter(|at| at.value != Ipv4Checksum::Auto) {
        let line = faults.line(span);
        faults.warning(
            &checksum.span,
            "ipv4_checksum has no effect with version 2, which has one form",
            format!("version is at line {line}"),
        );
    }
}
