//! `file = { ... }`.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::Kind;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::show::{Entries, duration, inline, quoted};
use crate::config::table::Table;
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] =
    &[full("path"), full("absent"), full("max_age"), full("min"), full("max"), full("contains")];

/// `file = { path = "/run/maintenance", absent = true }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The file, or directory; links are followed.
    pub path: PathBuf,
    /// It must not exist, rather than exist; default false.
    pub absent: bool,
    /// Longest time since it was changed.
    pub max_age: Option<Duration>,
    /// Least number that it may hold.
    pub min: Option<i64>,
    /// Greatest number that it may hold.
    pub max: Option<i64>,
    /// Text that must stand in its first 64 KiB.
    pub contains: Option<String>,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<File> {
    let table = check.table("file", KEYS, faults);
    let table = table.given()?;
    let path = table.required("path", "as in path = \"/run/maintenance\"", faults, value::absolute_path);
    let absent = table.field("absent", faults, value::boolean);
    let age = Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3600);
    let max_age = table.field("max_age", faults, |key, value| value::duration(key, value, age));
    let number = |key: &str, value: &DeValue<'_>| value::integer(key, value, i64::MIN..=i64::MAX);
    let min = table.field("min", faults, number);
    let max = table.field("max", faults, number);
    let contains = table.field("contains", faults, text);

    if let Some(at) = absent.at().filter(|absent| absent.value) {
        let line = faults.line(&at.span);
        for key in ["max_age", "min", "max", "contains"] {
            if let Some(span) = table.key(key) {
                let label = format!("absent is true at line {line}");
                faults.error(&span, format!("{key} is of no use for a file that must not exist"), label);
            }
        }
    }
    if let (Some(contains), Some(number)) = (table.key("contains"), table.key("min").or(table.key("max"))) {
        let line = faults.line(&number);
        faults.error(
            &contains,
            "contains is of no use for a file that holds a number",
            format!("see line {line}"),
        );
    }
    if let (Some(min), Some(max)) = (min.at(), max.at())
        && min.value > max.value
    {
        let line = faults.line(&max.span);
        faults.error(
            &min.span,
            format!("min {} is greater than max", min.value),
            format!("max is {} at line {line}", max.value),
        );
    }
    Some(File {
        path: path.given()?.clone(),
        absent: absent.or(false)?,
        max_age: max_age.optional()?,
        min: min.optional()?,
        max: max.optional()?,
        contains: contains.optional()?,
    })
}

fn text(key: &str, value: &DeValue<'_>) -> Read<String> {
    match value::string(key, value)? {
        "" => refuse(format!("{key} is empty"), "every file contains that: leave it out"),
        text => Ok(text.to_owned()),
    }
}

impl Kind for File {
    fn show(&self) -> Entries {
        let mut entries =
            vec![("path", quoted(&self.path.to_string_lossy())), ("absent", self.absent.to_string())];
        if let Some(age) = self.max_age {
            entries.push(("max_age", duration(age)));
        }
        for (key, number) in [("min", self.min), ("max", self.max)] {
            entries.extend(number.map(|number| (key, number.to_string())));
        }
        if let Some(text) = &self.contains {
            entries.push(("contains", quoted(text)));
        }
        vec![("file", inline(&entries))]
    }
}
