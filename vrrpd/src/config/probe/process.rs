//! `process = { ... }`.

use std::path::PathBuf;

use toml::de::DeValue;

use super::Kind;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::show::{Entries, inline, quoted};
use crate::config::table::Table;
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[full("name"), full("pidfile"), full("min")];

/// `process = { name = "haproxy" }`: proves that there is such a process, and nothing of what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its name (`comm`), of which the kernel keeps 15 octets; there unless `pidfile` is.
    pub name: Option<String>,
    /// File with its number.
    pub pidfile: Option<PathBuf>,
    /// Fewest processes of that name; default 1.
    pub min: u32,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Process> {
    let table = check.table("process", KEYS, faults);
    let table = table.given()?;
    let name = table.field("name", faults, process_name);
    let pidfile = table.field("pidfile", faults, value::absolute_path);
    let min = table.field("min", faults, |key, value| value::count(key, value, 1..=100_000));
    if table.key("name").is_none() && table.key("pidfile").is_none() && !faults.incomplete() {
        faults.error(
            &table.span,
            format!("[{}] names no process", table.path),
            "name = \"haproxy\", pidfile = \"/run/haproxy.pid\", or both",
        );
    }
    if let (Some(pidfile), Some(min)) = (table.key("pidfile"), table.key("min")) {
        let line = faults.line(&pidfile);
        faults.error(&min, "min is of no use with a pidfile", format!("it has one number; see line {line}"));
    }
    Some(Process { name: name.optional()?, pidfile: pidfile.optional()?, min: min.or(1)? })
}

fn process_name(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = value::string(key, value)?;
    if !(1..=255).contains(&text.len()) || text.contains('/') || text.contains(char::is_control) {
        let label = match text.rsplit_once('/') {
            Some((_, name)) if !name.is_empty() => format!("without the path: {name:?}"),
            _ => String::new(),
        };
        return refuse(format!("{key} {text:?} is not the name of a process"), label);
    }
    Ok(text.to_owned())
}

impl Kind for Process {
    fn show(&self) -> Entries {
        let mut entries = Vec::new();
        entries.extend(self.name.as_deref().map(|name| ("name", quoted(name))));
        match &self.pidfile {
            Some(pidfile) => entries.push(("pidfile", quoted(&pidfile.to_string_lossy()))),
            None => entries.push(("min", self.min.to_string())),
        }
        vec![("process", inline(&entries))]
    }
}
