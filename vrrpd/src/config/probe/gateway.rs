//! `gateway = { ... }`.

use super::ping::{PingTarget, read_quorum, read_targets};
use super::{Kind, Others};
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::show::{Entries, inline, list, quoted};
use crate::config::table::Table;
use crate::config::value;

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[full("interface"), full("targets"), full("quorum")];

/// `gateway = { interface = "eth0", targets = ["192.0.2.194"] }`: the routers of the default routes
/// of the main table, found anew for each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Only the routes through this interface; default: all.
    pub interface: Option<String>,
    /// Who is asked beside the routers; the peer, for example.
    pub targets: Vec<PingTarget>,
    /// How many of all must answer; default 1.
    pub quorum: u32,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Gateway> {
    let table = check.table("gateway", KEYS, faults);
    let table = table.given()?;
    let interface = table.field("interface", faults, value::interface);
    let targets = read_targets(table, faults);
    let quorum = read_quorum(table, None, faults);
    Some(Gateway {
        interface: interface.optional()?,
        targets: targets.or(Vec::new())?.into_iter().map(|at| at.value).collect(),
        quorum: quorum.or(1)?,
    })
}

impl Kind for Gateway {
    fn show(&self) -> Entries {
        let mut entries = Vec::new();
        if let Some(interface) = &self.interface {
            entries.push(("interface", quoted(interface)));
        }
        if !self.targets.is_empty() {
            entries.push(("targets", list(&self.targets, |target| quoted(&target.to_string()))));
        }
        entries.push(("quorum", self.quorum.to_string()));
        vec![("gateway", inline(&entries))]
    }

    fn others(&self) -> Option<Others> {
        let named = self.targets.iter().map(|target| target.ip).collect();
        Some(Others { named, routers: true, quorum: self.quorum })
    }
}
