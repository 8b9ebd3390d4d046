//! `tcp = { ... }`.

use std::net::IpAddr;

use super::Kind;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::show::{Entries, inline, quoted};
use crate::config::table::Table;
use crate::config::value;

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[full("address"), full("source"), full("expect")];

/// `tcp = { address = "192.0.2.193:22", expect = "SSH-2.0-" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// `host:port` or `[v6]:port`.
    pub address: String,
    /// Local address to connect from.
    pub source: Option<IpAddr>,
    /// What the server says first, of its own accord.
    pub expect: Option<String>,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Tcp> {
    let table = check.table("tcp", KEYS, faults);
    let table = table.given()?;
    let address = table.required("address", "as in address = \"192.0.2.193:443\"", faults, value::host_port);
    let source = table.field("source", faults, value::ip);
    let expect = table.field("expect", faults, value::filled);
    Some(Tcp { address: address.given()?.clone(), source: source.optional()?, expect: expect.optional()? })
}

impl Kind for Tcp {
    fn show(&self) -> Entries {
        let mut entries = vec![("address", quoted(&self.address))];
        if let Some(source) = self.source {
            entries.push(("source", quoted(&source.to_string())));
        }
        entries.extend(self.expect.as_ref().map(|text| ("expect", quoted(text))));
        vec![("tcp", inline(&entries))]
    }

    fn target(&self) -> Option<IpAddr> {
        value::authority(&self.address)?.0.parse().ok()
    }
}
