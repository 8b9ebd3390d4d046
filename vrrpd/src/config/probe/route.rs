//! `route = { ... }`.

use std::net::IpAddr;

use super::Kind;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::show::{Entries, inline, quoted, routing_table};
use crate::config::table::Table;
use crate::config::value::{self, MAIN_TABLE};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[full("to"), full("via"), full("interface"), full("table")];

/// `route = { to = "203.0.113.0/24", via = "192.0.2.1" }`: a routing table has this very route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network, or a default route of either family.
    pub to: Option<netlink::Address>,
    /// The router that it leads to; default: any, or none.
    pub via: Option<IpAddr>,
    /// The interface that it leaves through; default: any.
    pub interface: Option<String>,
    /// Routing table; default 254, the main one.
    pub table: u32,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Route> {
    let table = check.table("route", KEYS, faults);
    let table = table.given()?;
    let to = table.required("to", "a network, or to = \"default\"", faults, value::destination);
    let via = table.field("via", faults, value::ip);
    let interface = table.field("interface", faults, value::interface);
    let number = table.field("table", faults, value::routing_table);
    if let (Some(Some(to)), Some(via)) = (to.given(), via.at())
        && to.ip.is_ipv6()
        && via.value.is_ipv4()
    {
        let message = format!("via {} is no router of an IPv6 network", via.value);
        faults.error(&via.span, message, "an IPv6 address");
    }
    Some(Route {
        to: *to.given()?,
        via: via.optional()?,
        interface: interface.optional()?,
        table: number.or(MAIN_TABLE)?,
    })
}

impl Route {
    /// The network in words.
    pub(crate) fn destination(&self) -> String {
        self.to.map_or_else(|| "default".to_owned(), |to| format!("{}/{}", to.ip, to.prefix_len))
    }
}

impl Kind for Route {
    fn show(&self) -> Entries {
        let mut entries = vec![("to", quoted(&self.destination()))];
        entries.extend(self.via.map(|via| ("via", quoted(&via.to_string()))));
        entries.extend(self.interface.as_deref().map(|interface| ("interface", quoted(interface))));
        entries.push(("table", routing_table(self.table)));
        vec![("route", inline(&entries))]
    }
}
