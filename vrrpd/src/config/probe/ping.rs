//! `ping = { ... }`.

use std::fmt;
use std::net::IpAddr;

use toml::de::DeValue;

use super::{Kind, Others};
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::raw::no_duplicates;
use crate::config::show::{Entries, inline, list, quoted};
use crate::config::table::{At, Field, Table};
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[full("targets"), full("quorum"), full("source")];

/// `ping = { targets = ["192.0.2.1", "192.0.2.194"], quorum = 1 }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Who is asked, at least one.
    pub targets: Vec<PingTarget>,
    /// How many must answer, 1 to all; default 1.
    pub quorum: u32,
    /// Local address to ask from, of the family of all targets.
    pub source: Option<IpAddr>,
}

/// An address, with the interface that a link-local one is on: `fe80::1%eth0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingTarget {
    /// The address.
    pub ip: IpAddr,
    /// There when the address is link-local.
    pub interface: Option<String>,
}

impl fmt::Display for PingTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{}%{interface}", self.ip),
            None => self.ip.fmt(f),
        }
    }
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Ping> {
    let table = check.table("ping", KEYS, faults);
    let At { value: table, span } = table.at()?;
    let targets = read_targets(table, faults);
    if matches!(targets, Field::Absent) {
        faults.error(span, format!("[{}] has no targets", table.path), "as in targets = [\"192.0.2.1\"]");
    }
    let all = targets.given().map(Vec::len);
    let quorum = read_quorum(table, all, faults);
    let source = table.field("source", faults, value::ip);
    if let Some(At { value: source, span }) = source.at() {
        let other = |target: &&At<PingTarget>| target.value.ip.is_ipv4() != source.is_ipv4();
        if let Some(target) = targets.given().into_iter().flatten().find(other) {
            let line = faults.line(&target.span);
            let label = format!("see line {line}; a check for each family");
            faults.error(span, format!("{} cannot be asked from {source}", target.value), label);
        }
    }
    let targets = targets.given()?;
    Some(Ping {
        targets: targets.iter().map(|at| at.value.clone()).collect(),
        quorum: quorum.or(1)?,
        source: source.optional()?,
    })
}

/// `targets`, of this kind and of `gateway`.
pub(super) fn read_targets(table: &Table<'_>, faults: &mut Faults) -> Field<Vec<At<PingTarget>>> {
    let targets = table.list("targets", faults, target);
    if let Some(At { value: list, span }) = targets.at() {
        no_duplicates("targets", list, faults);
        if list.is_empty() {
            faults.error(span, "targets is empty", "as in targets = [\"192.0.2.1\"]");
        }
    }
    targets
}

/// `quorum`, which is 1 to `all`, where that is known.
pub(super) fn read_quorum(table: &Table<'_>, all: Option<usize>, faults: &mut Faults) -> Field<u32> {
    let quorum = table.field("quorum", faults, |key, value| value::count(key, value, 1..=1000));
    if let (Some(At { value, span }), Some(all)) = (quorum.at(), all)
        && usize::try_from(*value).is_ok_and(|quorum| quorum > all)
    {
        faults.error(span, format!("quorum {value} is out of range 1..={all}"), "no more than there are");
    }
    quorum
}

fn target(key: &str, value: &DeValue<'_>) -> Read<PingTarget> {
    let text = value::string(key, value)?;
    let (ip, interface) = match text.split_once('%') {
        Some((ip, interface)) => (ip, Some(interface)),
        None => (text, None),
    };
    let Ok(ip) = ip.parse::<IpAddr>() else {
        return refuse(
            format!("{key}: {text:?} is not an address"),
            "as in \"192.0.2.1\" or \"fe80::1%eth0\"",
        );
    };
    value::usable(key, ip)?;
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    match interface {
        Some(name) if link_local => {
            value::interface_name(key, name)?;
            Ok(PingTarget { ip, interface: Some(name.to_owned()) })
        }
        Some(_) => refuse(format!("{key}: {ip} needs no interface"), format!("write \"{ip}\"")),
        None if link_local => {
            refuse(format!("{key}: {ip} is on every link"), format!("with its interface: \"{ip}%eth0\""))
        }
        None => Ok(PingTarget { ip, interface: None }),
    }
}

impl Kind for Ping {
    fn show(&self) -> Entries {
        let mut entries = vec![
            ("targets", list(&self.targets, |target| quoted(&target.to_string()))),
            ("quorum", self.quorum.to_string()),
        ];
        if let Some(source) = self.source {
            entries.push(("source", quoted(&source.to_string())));
        }
        vec![("ping", inline(&entries))]
    }

    fn target(&self) -> Option<IpAddr> {
        match &self.targets[..] {
            [only] => Some(only.ip),
            _ => None,
        }
    }

    fn others(&self) -> Option<Others> {
        let named = self.targets.iter().map(|target| target.ip).collect();
        Some(Others { named, routers: false, quorum: self.quorum })
    }
}
