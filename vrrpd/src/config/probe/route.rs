//! `route = { ... }`.

use std::net::IpAddr;

use toml::de::DeValue;
use vrrp_proto::Family;

use super::Kind;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::show::{Entries, inline, quoted};
use crate::config::table::Table;
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[full("to"), full("via"), full("interface"), full("table")];

/// The kernel's number of the main table.
const MAIN: u32 = 254;

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
    let to = table.required("to", "a network, or to = \"default\"", faults, network);
    let via = table.field("via", faults, value::ip);
    let interface = table.field("interface", faults, value::interface);
    let number = table.field("table", faults, |key, value| value::count(key, value, 1..=u32::MAX));
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
        table: number.or(MAIN)?,
    })
}

/// A network; `None`: `"default"`.
fn network(key: &str, value: &DeValue<'_>) -> Read<Option<netlink::Address>> {
    let text = value::string(key, value)?;
    if text == "default" {
        return Ok(None);
    }
    let (ip, prefix_len) = text.split_once('/').map_or((text, None), |(ip, length)| (ip, Some(length)));
    let Ok(ip) = ip.parse::<IpAddr>() else {
        return refuse(
            format!("{key}: {text:?} is not a network"),
            "as in \"203.0.113.0/24\", \"2001:db8::/32\" or \"default\"",
        );
    };
    let host = Family::of(ip).host_prefix();
    let Some(prefix_len) = prefix_len.map_or(Some(host), |text| text.parse().ok().filter(|len| *len <= host))
    else {
        return refuse(format!("{key}: the prefix length of {text:?} is out of range 0..={host}"), "");
    };
    let network = masked(ip, prefix_len);
    if network != ip {
        return refuse(
            format!("{key}: {text:?} is an address of a network"),
            format!("the network is \"{network}/{prefix_len}\""),
        );
    }
    Ok(Some(netlink::Address { ip, prefix_len }))
}

fn masked(ip: IpAddr, prefix_len: u8) -> IpAddr {
    let len = u32::from(prefix_len);
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(32 - len).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(128 - len).unwrap_or(0)).into()),
    }
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
        entries.push(("table", self.table.to_string()));
        vec![("route", inline(&entries))]
    }
}
