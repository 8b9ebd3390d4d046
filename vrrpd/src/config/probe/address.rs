//! `address = { ... }`.

use std::net::IpAddr;

use super::Kind;
use super::ping::read_quorum;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::raw::no_duplicates;
use crate::config::show::{Entries, inline, list, quoted};
use crate::config::table::{At, Field, Table};
use crate::config::value;

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[full("addresses"), full("interface"), full("quorum")];

/// `address = { addresses = ["192.0.2.193"], interface = "eth0" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What this node must have, at least one.
    pub addresses: Vec<IpAddr>,
    /// On this interface; default: on any.
    pub interface: Option<String>,
    /// How many of them, 1 to all; default: all.
    pub quorum: u32,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Address> {
    let table = check.table("address", KEYS, faults);
    let At { value: table, span } = table.at()?;
    let addresses = table.list("addresses", faults, value::ip);
    if matches!(addresses, Field::Absent) {
        let remedy = "as in addresses = [\"192.0.2.193\"]";
        faults.error(span, format!("[{}] has no addresses", table.path), remedy);
    }
    if let Some(At { value: list, span }) = addresses.at() {
        no_duplicates("addresses", list, faults);
        if list.is_empty() {
            faults.error(span, "addresses is empty", "as in addresses = [\"192.0.2.193\"]");
        }
    }
    let interface = table.field("interface", faults, value::interface);
    let quorum = read_quorum(table, addresses.given().map(Vec::len), faults);
    let addresses = addresses.given()?;
    Some(Address {
        addresses: addresses.iter().map(|at| at.value).collect(),
        interface: interface.optional()?,
        quorum: quorum.or(u32::try_from(addresses.len()).unwrap_or(u32::MAX))?,
    })
}

impl Kind for Address {
    fn show(&self) -> Entries {
        let mut entries = vec![("addresses", list(&self.addresses, |ip| quoted(&ip.to_string())))];
        if let Some(interface) = &self.interface {
            entries.push(("interface", quoted(interface)));
        }
        entries.push(("quorum", self.quorum.to_string()));
        vec![("address", inline(&entries))]
    }
}
