//! `chart_repository = { ... }`.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use super::endpoint::{Endpoint, endpoint_keys};
use super::{Kind, Usual};
use crate::config::diagnostic::Faults;
use crate::config::keys::Key;
use crate::config::show::{Entries, inline, quoted};
use crate::config::table::Table;
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = endpoint_keys!["min_entries", "canary", "max_body"];

/// `max_body` unless set.
pub(super) const MAX_INDEX: u64 = 8 * 1024 * 1024;

/// The longest index: it is kept in memory while it is read.
const LARGEST_INDEX: u64 = 64 * 1024 * 1024;

/// `chart_repository = { url = "http://192.0.2.193:8081", canary = "name:version" }`: a repository of Helm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartRepository {
    /// The repository; `index.yaml` is below the path.
    pub endpoint: Endpoint,
    /// Fewest charts in the index; default 1.
    pub min_entries: u32,
    /// A chart that is downloaded and has the digest of the index.
    pub canary: Option<Chart>,
    /// Octets that the index and the chart may each have; default 8 MiB.
    pub max_body: u64,
}

/// A chart by name, and version where one is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Its name.
    pub name: String,
    /// Its version; default: the first in the index, which is the newest.
    pub version: Option<String>,
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, ":{version}"))
    }
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<ChartRepository> {
    let table = check.table("chart_repository", KEYS, faults);
    let table = table.given()?;
    let endpoint = Endpoint::read(table, "http://192.0.2.193:8081", value::base_url, faults);
    let min_entries = table.field("min_entries", faults, entries);
    let canary = table.field("canary", faults, chart);
    let max_body = table.field("max_body", faults, max_body);
    Some(ChartRepository {
        endpoint: endpoint?,
        min_entries: min_entries.or(1)?,
        canary: canary.optional()?,
        max_body: max_body.or(MAX_INDEX)?,
    })
}

fn entries(key: &str, value: &DeValue<'_>) -> Read<u32> {
    value::integer(key, value, 0..=1_000_000).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

fn max_body(key: &str, value: &DeValue<'_>) -> Read<u64> {
    let most = i64::try_from(LARGEST_INDEX).unwrap_or(i64::MAX);
    value::integer(key, value, 1..=most).map(i64::unsigned_abs)
}

/// A chart, with its version where it has one.
pub(super) fn chart(key: &str, value: &DeValue<'_>) -> Read<Chart> {
    let text = value::string(key, value)?;
    let (name, version) = match text.split_once(':') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let good = |word: &str| (1..=128).contains(&word.len()) && word.chars().all(|c| c.is_ascii_graphic());
    if good(name) && version.is_none_or(good) {
        return Ok(Chart { name: name.to_owned(), version: version.map(str::to_owned) });
    }
    let shown: String = text.chars().take(256).collect();
    refuse(format!("{key} {shown:?} is not a chart"), "as in \"insight-agent\" or \"insight-agent:0.20.1\"")
}

impl Kind for ChartRepository {
    fn show(&self) -> Entries {
        let mut entries = self.endpoint.show();
        entries.push(("min_entries", self.min_entries.to_string()));
        entries.extend(self.canary.as_ref().map(|chart| ("canary", quoted(&chart.to_string()))));
        entries.push(("max_body", self.max_body.to_string()));
        vec![("chart_repository", inline(&entries))]
    }

    fn files(&self) -> Vec<(&'static str, &Path)> {
        self.endpoint.files()
    }

    fn target(&self) -> Option<IpAddr> {
        self.endpoint.target()
    }

    /// An index of some thousand charts has megabytes.
    fn usual(&self) -> Usual {
        Usual { interval: Duration::from_secs(30), ..Usual::default() }
    }
}
