//! `garp`: when the role's new place is announced, and where.

use std::time::Duration;

use toml::de::DeValue;

use super::diagnostic::Faults;
use super::raw::{no_duplicates, within};
use super::show::{duration, list, quoted};
use super::table::{At, Field, Table};
use super::value::{self, show_duration};
use super::{Announcements, GarpForm, keys};

const COUNT: u8 = 5;
const INTERVAL: Duration = Duration::from_millis(100);
const SECOND_AFTER: Duration = Duration::from_secs(5);
const REFRESH: Duration = Duration::from_secs(60);
const REFRESH_COUNT: u8 = 1;

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Each frame leaves each of them.
const MOST_INTERFACES: usize = 16;

/// As it is written.
pub(super) struct Raw {
    pub(super) form: Field<GarpForm>,
    count: Field<u8>,
    interval: Field<Duration>,
    second_after: Field<Duration>,
    refresh: Field<Duration>,
    refresh_count: Field<u8>,
    lower_priority_count: Field<u8>,
    lower_priority_second_after: Field<Duration>,
    interfaces: Field<Vec<At<String>>>,
}

/// Reads it out of the table of its router.
pub(super) fn read(router: &Table<'_>, faults: &mut Faults) -> Raw {
    let table = router.table("garp", keys::GARP, faults);
    Raw {
        form: within(&table, "form", faults, value::garp_form),
        count: within(&table, "count", faults, value::garp_count),
        interval: within(&table, "interval", faults, |key, value| {
            value::duration(key, value, MILLISECOND..=Duration::from_secs(60))
        }),
        second_after: within(&table, "second_after", faults, up_to_an_hour),
        refresh: within(&table, "refresh", faults, value::refresh),
        refresh_count: within(&table, "refresh_count", faults, value::garp_count),
        lower_priority_count: within(&table, "lower_priority_count", faults, value::garp_count_or_none),
        lower_priority_second_after: within(&table, "lower_priority_second_after", faults, up_to_an_hour),
        interfaces: match &table {
            Field::Is(table) => table.value.list("interfaces", faults, value::interface),
            Field::Absent => Field::Absent,
            Field::Unknown => Field::Unknown,
        },
    }
}

fn up_to_an_hour(key: &str, value: &DeValue<'_>) -> value::Read<Duration> {
    value::duration(key, value, Duration::ZERO..=HOUR)
}

/// Reports bursts that run into each other, and interfaces that are named in vain.
pub(super) fn check(raw: &Raw, interface: &Field<String>, faults: &mut Faults) {
    let Some(interval) = raw.interval.or(INTERVAL) else { return };
    let (count, second_after) = (raw.count.or(COUNT), raw.second_after.or(SECOND_AFTER));
    let mut bursts = vec![
        ("the second burst begins", &raw.second_after, &raw.count, second_after, count),
        (
            "a refresh comes",
            &raw.refresh,
            &raw.refresh_count,
            raw.refresh.or(REFRESH),
            raw.refresh_count.or(REFRESH_COUNT),
        ),
    ];
    if raw.lower_priority_count.at().is_some() || raw.lower_priority_second_after.at().is_some() {
        let count = count.and_then(|count| raw.lower_priority_count.or(count));
        let after = second_after.and_then(|after| raw.lower_priority_second_after.or(after));
        let (of_after, of_count) = (&raw.lower_priority_second_after, &raw.lower_priority_count);
        bursts.push(("the burst of lower_priority_second_after begins", of_after, of_count, after, count));
    }
    for (what, of_after, of_count, after, count) in bursts {
        let (Some(after), Some(count)) = (after, count) else { continue };
        let burst = interval * u32::from(count.saturating_sub(1));
        let places = [
            of_after.at().map(|at| &at.span),
            raw.interval.at().map(|at| &at.span),
            of_count.at().map(|at| &at.span),
        ];
        if let Some(span) = places.into_iter().flatten().next()
            && !after.is_zero()
            && burst >= after
        {
            let message =
                format!("{what} {} after one that takes {}", show_duration(after), show_duration(burst));
            faults.error(span, message, "a longer distance, a shorter interval or a lower count");
        }
    }
    check_interfaces(raw, interface, faults);
}

fn check_interfaces(raw: &Raw, interface: &Field<String>, faults: &mut Faults) {
    let Some(At { value: interfaces, span }) = raw.interfaces.at() else { return };
    no_duplicates("interfaces", interfaces, faults);
    if interfaces.len() > MOST_INTERFACES {
        let message =
            format!("interfaces has {} names, out of range 0..={MOST_INTERFACES}", interfaces.len());
        faults.error(span, message, "");
    }
    for own in interfaces.iter().filter(|at| Some(&at.value) == interface.given()) {
        let message = format!("{} is the router's own interface", own.value);
        faults.error(&own.span, message, "it is announced there anyway: name further ones only");
    }
}

/// With its defaults; a router that still has an address would answer a request with the virtual MAC.
pub(super) fn announcements(raw: &Raw, virtual_mac: bool) -> Option<Announcements> {
    let count = raw.count.or(COUNT)?;
    let second_after = raw.second_after.or(SECOND_AFTER)?;
    Some(Announcements {
        form: raw.form.or(if virtual_mac { GarpForm::Reply } else { GarpForm::Request })?,
        count,
        interval: raw.interval.or(INTERVAL)?,
        second_after,
        refresh: raw.refresh.or(REFRESH)?,
        refresh_count: raw.refresh_count.or(REFRESH_COUNT)?,
        lower_priority_count: raw.lower_priority_count.or(count)?,
        lower_priority_second_after: raw.lower_priority_second_after.or(second_after)?,
        interfaces: raw.interfaces.or(Vec::new())?.into_iter().map(|at| at.value).collect(),
    })
}

/// As it is written with all defaults.
pub(super) fn show(garp: &Announcements) -> String {
    let form = match garp.form {
        GarpForm::Request => "request",
        GarpForm::Reply => "reply",
    };
    format!(
        "{{ form = {}, count = {}, interval = {}, second_after = {}, refresh = {}, refresh_count = {}, \
         lower_priority_count = {}, lower_priority_second_after = {}, interfaces = {} }}",
        quoted(form),
        garp.count,
        duration(garp.interval),
        duration(garp.second_after),
        duration(garp.refresh),
        garp.refresh_count,
        garp.lower_priority_count,
        duration(garp.lower_priority_second_after),
        list(&garp.interfaces, |name| quoted(name)),
    )
}
