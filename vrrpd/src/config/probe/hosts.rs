//! `hosts = { ... }`.

use std::net::IpAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use super::{Kind, Usual};
use crate::config::Effect;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::raw::no_duplicates;
use crate::config::show::{Entries, inline, list, quoted};
use crate::config::table::{At, Field, Table};
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[full("absent"), full("mapped"), full("to"), full("file")];

/// `hosts = { absent = ["www.example.com"] }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Names that must not stand in the file.
    pub absent: Vec<String>,
    /// Names that must stand there with `to`, and with no other address of its family.
    pub mapped: Vec<String>,
    /// Address of the names in `mapped`; there when they are.
    pub to: Option<IpAddr>,
    /// The file; default `/etc/hosts`.
    pub file: PathBuf,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Hosts> {
    let table = check.table("hosts", KEYS, faults);
    let At { value: table, span } = table.at()?;
    let absent = names(table, "absent", faults);
    let mapped = names(table, "mapped", faults);
    let to = table.field("to", faults, value::any_ip);
    let file = table.field("file", faults, value::absolute_path);
    if ["absent", "mapped", "to"].iter().all(|key| table.key(key).is_none()) && !faults.incomplete() {
        faults.error(
            span,
            format!("[{}] says nothing about any name", table.path),
            "as in absent = [\"www.example.com\"]",
        );
    }
    match (table.key("mapped"), table.key("to")) {
        (Some(mapped), None) if !faults.incomplete() => {
            faults.error(&mapped, "mapped needs an address", "as in to = \"192.0.2.201\"");
        }
        (None, Some(to)) if !faults.incomplete() => {
            faults.error(&to, "to needs names", "as in mapped = [\"www.example.com\"]");
        }
        _ => {}
    }
    let both = mapped.given().into_iter().flatten();
    for name in both
        .filter(|name| absent.given().is_some_and(|absent| absent.iter().any(|one| one.value == name.value)))
    {
        faults.error(&name.span, format!("{} is in absent and in mapped", name.value), "one of the two");
    }
    Some(Hosts {
        absent: absent.or(Vec::new())?.into_iter().map(|at| at.value).collect(),
        mapped: mapped.or(Vec::new())?.into_iter().map(|at| at.value).collect(),
        to: to.optional()?,
        file: file.or(PathBuf::from("/etc/hosts"))?,
    })
}

fn names(table: &Table<'_>, key: &str, faults: &mut Faults) -> Field<Vec<At<String>>> {
    let names = table.list(key, faults, host_name);
    if let Some(At { value: list, span }) = names.at() {
        no_duplicates(key, list, faults);
        if list.is_empty() {
            faults.error(span, format!("{key} is empty"), "as in [\"www.example.com\"]");
        }
    }
    names
}

/// A name as it stands in a hosts file.
fn host_name(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = value::string(key, value)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if (1..=253).contains(&text.len()) && text.chars().all(allowed) && text.parse::<IpAddr>().is_err() {
        return Ok(text.to_owned());
    }
    refuse(
        format!("{key}: {text:?} is not the name of a host"),
        "1 to 253 of the letters A-Z, a-z, 0-9, _, . and -",
    )
}

impl Kind for Hosts {
    fn show(&self) -> Entries {
        let mut entries = Vec::new();
        if !self.absent.is_empty() {
            entries.push(("absent", list(&self.absent, |name| quoted(name))));
        }
        if let Some(to) = self.to {
            entries.push(("mapped", list(&self.mapped, |name| quoted(name))));
            entries.push(("to", quoted(&to.to_string())));
        }
        entries.push(("file", quoted(&self.file.to_string_lossy())));
        vec![("hosts", inline(&entries))]
    }

    /// A name that leads astray is not cured by moving the address.
    fn usual(&self) -> Usual {
        Usual { effect: Effect::Alert, ..Usual::default() }
    }
}
