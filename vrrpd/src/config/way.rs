//! `routes` and `rules`, and `[static]`: what the host's routing table has with the role, or always.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::IpAddr;

use netlink::Denial;
use toml::Spanned;
use toml::de::DeValue;
use vrrp_proto::{Family, Priority};

use super::diagnostic::{Faults, Span};
use super::keys::{Key, full};
use super::raw;
use super::show::{Entries, inline, list, quoted, routing_table};
use super::table::{At, Field, LONGEST_LIST, Table};
use super::value::{self, MAIN_TABLE, Read, integer, refuse, string, word};
use super::virtual_address::{self, VirtualAddress, scope, show_scope, words};

/// Keys of an entry of `routes`.
pub(super) const ROUTE: &[Key] = &[
    full("to"),
    full("type"),
    full("via"),
    full("interface"),
    full("onlink"),
    full("source"),
    full("metric"),
    full("table"),
    full("scope"),
    full("mtu"),
];

/// Keys of an entry of `rules`.
pub(super) const RULE: &[Key] = &[
    full("priority"),
    full("family"),
    full("from"),
    full("to"),
    full("iif"),
    full("oif"),
    full("fwmark"),
    full("table"),
    full("action"),
];

/// Keys of `[static]`.
pub(super) const STATIC: &[Key] = &[full("addresses"), full("routes"), full("rules")];

/// The metric that Linux gives to IPv6 routes without one.
const IPV6_METRIC: u32 = 1024;

/// One entry of `routes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// What is added, without its link.
    pub route: netlink::Route,
    /// Name of the interface that it leads to; default: that of the virtual router, unless there is a
    /// router on the way that the kernel can find by itself.
    pub interface: Option<String>,
}

/// `[static]`: what does not depend on any role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Static {
    /// Each with its interface.
    pub addresses: Vec<VirtualAddress>,
    /// As those of a virtual router.
    pub routes: Vec<HostRoute>,
    /// As those of a virtual router.
    pub rules: Vec<netlink::Rule>,
}

/// `[static]` as it is written.
pub(super) struct RawStatic {
    addresses: Field<Vec<At<VirtualAddress>>>,
    routes: Field<Vec<At<HostRoute>>>,
    rules: Field<Vec<At<netlink::Rule>>>,
}

impl RawStatic {
    pub(super) fn read(file: &Table<'_>, faults: &mut Faults) -> Self {
        let Field::Is(table) = file.table("static", STATIC, faults) else {
            return Self { addresses: Field::Absent, routes: Field::Absent, rules: Field::Absent };
        };
        let (table, nowhere) = (&table.value, &Field::Absent);
        Self {
            addresses: virtual_address::list(table, "addresses", LONGEST_LIST, nowhere, faults),
            routes: routes(table, nowhere, faults),
            rules: rules(table, faults),
        }
    }

    pub(super) fn value(&self) -> Option<Static> {
        Some(Static {
            addresses: values(&self.addresses)?,
            routes: values(&self.routes)?,
            rules: values(&self.rules)?,
        })
    }
}

impl Static {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn show(&self) -> Entries {
        vec![
            ("addresses", list(&self.addresses, VirtualAddress::show)),
            ("routes", list(&self.routes, HostRoute::show)),
            ("rules", list(&self.rules, show_rule)),
        ]
    }
}

fn values<T: Clone>(list: &Field<Vec<At<T>>>) -> Option<Vec<T>> {
    Some(list.or(Vec::new())?.into_iter().map(|at| at.value).collect())
}

impl HostRoute {
    /// As it stands in the list.
    pub(super) fn show(&self) -> String {
        let route = &self.route;
        let mut entries: Entries = vec![("to", quoted(&route.to.to_string()))];
        entries.extend(route.denial.map(|denial| ("type", quoted(&denial.to_string()))));
        entries.extend(route.via.map(|via| ("via", quoted(&via.to_string()))));
        entries.extend(self.interface.iter().map(|name| ("interface", quoted(name))));
        if route.onlink {
            entries.push(("onlink", true.to_string()));
        }
        entries.extend(route.source.map(|source| ("source", quoted(&source.to_string()))));
        if route.metric != usual_metric(Family::of(route.to.ip)) {
            entries.push(("metric", route.metric.to_string()));
        }
        entries.push(("table", routing_table(route.table)));
        entries.extend(route.scope.map(|scope| ("scope", show_scope(scope))));
        entries.extend(route.mtu.map(|mtu| ("mtu", mtu.to_string())));
        inline(&entries)
    }

    /// What the kernel tells routes apart by.
    fn key(&self) -> (netlink::Address, u32, u32) {
        (self.route.to, self.route.table, self.route.metric)
    }
}

/// As `ip route` would take it, without what is usual.
impl fmt::Display for HostRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = &self.route;
        if let Some(denial) = route.denial {
            write!(f, "{denial} ")?;
        }
        write!(f, "{}", route.to)?;
        if let Some(via) = route.via {
            write!(f, " via {via}")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " dev {interface}")?;
        }
        if route.table != MAIN_TABLE {
            write!(f, " table {}", route.table)?;
        }
        if route.metric != usual_metric(Family::of(route.to.ip)) {
            write!(f, " metric {}", route.metric)?;
        }
        if let Some(source) = route.source {
            write!(f, " src {source}")?;
        }
        Ok(())
    }
}

pub(super) fn show_rule(rule: &netlink::Rule) -> String {
    let mut entries: Entries = vec![("priority", rule.priority.to_string())];
    if rule.from.or(rule.to).is_none() {
        entries.push(("family", quoted(if rule.ipv6 { "ipv6" } else { "ipv4" })));
    }
    entries.extend(rule.from.map(|from| ("from", quoted(&from.to_string()))));
    entries.extend(rule.to.map(|to| ("to", quoted(&to.to_string()))));
    entries.extend(rule.iif.iter().map(|name| ("iif", quoted(name))));
    entries.extend(rule.oif.iter().map(|name| ("oif", quoted(name))));
    entries.extend(rule.fwmark.map(|(mark, mask)| ("fwmark", quoted(&format!("{mark:#x}/{mask:#x}")))));
    entries.push(match rule.action {
        Ok(table) => ("table", routing_table(table)),
        Err(denial) => ("action", quoted(&denial.to_string())),
    });
    inline(&entries)
}

/// Reads `routes`, for a virtual router on the interface `on`.
pub(super) fn routes(
    table: &Table<'_>,
    on: &Field<String>,
    faults: &mut Faults,
) -> Field<Vec<At<HostRoute>>> {
    table.list_of("routes", LONGEST_LIST, faults, |entry, faults| {
        let table = open(table, "routes", entry, ROUTE, faults)?;
        route(&table, on, faults).map(|value| At { value, span: entry.span() })
    })
}

/// Reads `rules`.
pub(super) fn rules(table: &Table<'_>, faults: &mut Faults) -> Field<Vec<At<netlink::Rule>>> {
    table.list_of("rules", LONGEST_LIST, faults, |entry, faults| {
        let table = open(table, "rules", entry, RULE, faults)?;
        rule(&table, faults).map(|value| At { value, span: entry.span() })
    })
}

fn open<'a>(
    within: &Table<'_>,
    key: &str,
    entry: &'a Spanned<DeValue<'a>>,
    keys: &[Key],
    faults: &mut Faults,
) -> Option<Table<'a>> {
    let DeValue::Table(entries) = entry.get_ref() else {
        let found = value::kind(entry.get_ref());
        let example = if key == "routes" {
            "as in { to = \"198.51.100.0/24\", via = \"192.0.2.1\" }"
        } else {
            "as in { priority = 100, from = \"192.0.2.201\", table = 100 }"
        };
        faults.error(&entry.span(), format!("an entry of {key} must be a table, not {found}"), example);
        return None;
    };
    Some(Table::open(format!("{}.{key}", within.path), entry.span(), entries, keys, faults))
}

fn route(table: &Table<'_>, on: &Field<String>, faults: &mut Faults) -> Option<HostRoute> {
    let to = table.required("to", "the network: to = \"198.51.100.0/24\"", faults, value::destination);
    let denial = table.field("type", faults, denial);
    let via = table.field("via", faults, value::ip);
    let interface = table.field("interface", faults, value::interface);
    let onlink = table.field("onlink", faults, value::boolean);
    let source = table.field("source", faults, value::ip);
    let metric = table.field("metric", faults, |key, value| value::count(key, value, 1..=u32::MAX));
    let number_of_table = table.field("table", faults, value::routing_table);
    let scope = table.field("scope", faults, scope);
    let mtu = table.field("mtu", faults, |key, value| integer(key, value, 68..=65535));
    let denial = denial.or(None)?;
    let to = match (to.given()?, via.given()) {
        (Some(to), _) => *to,
        (None, Some(via)) => everything(Family::of(*via)),
        (None, None) => {
            faults.error(&table.span, "to = \"default\" needs via", "or write \"0.0.0.0/0\" or \"::/0\"");
            return None;
        }
    };
    let family = Family::of(to.ip);
    for (key, at) in [("via", via.at()), ("source", source.at())] {
        if let Some(at) = at.filter(|at| Family::of(at.value) != family) {
            let message = format!("{key}: {} is {}", at.value, words(Family::of(at.value)));
            faults.error(&at.span, message, format!("the route to {to} is {}", words(family)));
        }
    }
    let place =
        [via.at().map(|at| &at.span), interface.at().map(|at| &at.span), onlink.at().map(|at| &at.span)];
    if let (Some(denial), Some(span)) = (denial, place.into_iter().flatten().next()) {
        faults.error(span, format!("a route of type {denial} leads nowhere"), "leave it out");
    }
    if let Some(at) = scope.at().filter(|_| family == Family::Ipv6) {
        faults.error(&at.span, "scope has no effect on IPv6 routes", "leave it out");
    }
    if let Some(at) = mtu.at().filter(|at| family == Family::Ipv6 && at.value < 1280) {
        faults.error(&at.span, format!("mtu {} is out of range 1280..=65535", at.value), "for IPv6");
    }
    let onlink = onlink.or(false)?;
    let goes_out = denial.is_none() && (via.at().is_none() || onlink);
    let interface = match (interface.optional()?, on) {
        (None, Field::Unknown) => return None,
        (None, Field::Absent) if goes_out => {
            faults.error(&table.span, "the route leads nowhere", "interface = \"eth0\", or via a router");
            return None;
        }
        (None, on) => on.given().filter(|_| goes_out).cloned(),
        (given, _) => given,
    };
    let route = netlink::Route {
        to,
        denial,
        via: via.optional()?,
        link: None,
        source: source.optional()?,
        metric: metric.or(usual_metric(family))?,
        table: number_of_table.or(MAIN_TABLE)?,
        scope: scope.optional()?,
        mtu: mtu.optional()?.map(|mtu| u32::try_from(mtu).expect("65535 at most")),
        onlink,
    };
    Some(HostRoute { route, interface })
}

fn rule(table: &Table<'_>, faults: &mut Faults) -> Option<netlink::Rule> {
    let remedy = "rules are asked in its order: priority = 100, 1..=32765";
    let priority = table.required("priority", remedy, faults, |key, value| integer(key, value, 1..=32765));
    let family = table.field("family", faults, |key, value| {
        word(key, value, &[("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)])
    });
    let from = table.field("from", faults, value::network);
    let to = table.field("to", faults, value::network);
    let iif = table.field("iif", faults, value::interface);
    let oif = table.field("oif", faults, value::interface);
    let fwmark = table.field("fwmark", faults, fwmark);
    let number_of_table = table.field("table", faults, value::routing_table);
    let action = table.field("action", faults, action);
    let networks = [from.at(), to.at()];
    let given = family.at().map(|at| (at.value, &at.span));
    let all = networks.iter().flatten().map(|at| (Family::of(at.value.ip), &at.span)).chain(given);
    let all: Vec<(Family, &Span)> = all.collect();
    let Some(&(first, _)) = all.first() else {
        faults.error(&table.span, "the rule has no family", "family = \"ipv4\" or \"ipv6\", or from or to");
        return None;
    };
    if let Some((_, span)) = all.iter().find(|(other, _)| *other != first) {
        faults.error(span, "the rule mixes families", "make two of it");
    }
    let action = match (action.or(None)?, number_of_table.optional()?) {
        (None, Some(table)) => Ok(table),
        (Some(denial), None) => Err(denial),
        (None, None) => {
            faults.error(&table.span, "the rule leads nowhere", "table = 100, or action = \"blackhole\"");
            return None;
        }
        (Some(denial), Some(_)) => {
            let span = number_of_table.at().map_or(&table.span, |at| &at.span);
            faults.error(span, format!("{denial} looks up no table"), "leave out one of the two");
            return None;
        }
    };
    Some(netlink::Rule {
        ipv6: first == Family::Ipv6,
        priority: u32::try_from(*priority.given()?).expect("32765 at most"),
        from: from.optional()?,
        to: to.optional()?,
        iif: iif.optional()?,
        oif: oif.optional()?,
        fwmark: fwmark.optional()?,
        action,
    })
}

fn everything(family: Family) -> netlink::Address {
    let ip = match family {
        Family::Ipv4 => IpAddr::from([0; 4]),
        Family::Ipv6 => IpAddr::from([0; 16]),
    };
    netlink::Address { ip, prefix_len: 0 }
}

fn usual_metric(family: Family) -> u32 {
    if family == Family::Ipv6 { IPV6_METRIC } else { 0 }
}

fn denial(key: &str, value: &DeValue<'_>) -> Read<Option<Denial>> {
    let words = [
        ("unicast", None),
        ("blackhole", Some(Denial::Blackhole)),
        ("unreachable", Some(Denial::Unreachable)),
        ("prohibit", Some(Denial::Prohibit)),
    ];
    word(key, value, &words)
}

fn action(key: &str, value: &DeValue<'_>) -> Read<Option<Denial>> {
    let words = [
        ("lookup", None),
        ("blackhole", Some(Denial::Blackhole)),
        ("unreachable", Some(Denial::Unreachable)),
        ("prohibit", Some(Denial::Prohibit)),
    ];
    word(key, value, &words)
}

/// A mark, or `"MARK/MASK"`.
fn fwmark(key: &str, value: &DeValue<'_>) -> Read<(u32, u32)> {
    if let DeValue::Integer(_) = value {
        return Ok((value::count(key, value, 1..=u32::MAX)?, u32::MAX));
    }
    let text = string(key, value)?;
    let read = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (mark, mask) = text.split_once('/').map_or((text, "0xffffffff"), |parts| parts);
    match (read(mark), read(mask)) {
        (Some(mark), Some(mask)) if mask != 0 => Ok((mark, mask)),
        _ => refuse(format!("{key} {text:?} is not a mark"), "as in 16, \"0x10\" or \"0x10/0xff\""),
    }
}

/// Reports what contradicts: the kernel keeps one route of a kind, and an owner has no tenure.
pub(super) fn check(file: &raw::File, faults: &mut Faults) {
    let RawStatic { addresses, routes, rules } = &file.fixed;
    for at in addresses.given().into_iter().flatten() {
        if at.value.interface.is_none() {
            let message = format!("{} has no interface", at.value);
            let example = format!("{{ address = \"{}\", interface = \"eth0\" }}", at.value);
            faults.error(&at.span, message, example);
        }
        for router in &file.virtual_routers {
            if let Some(moved) = router.every_address().find(|moved| moved.value.ip == at.value.ip) {
                let line = faults.line(&moved.span);
                let message = format!("{} cannot stay and move", at.value.ip);
                faults.error(&at.span, message, format!("{} has it at line {line}", router.name.value));
            }
        }
    }
    let lists = file.virtual_routers.iter().map(|router| (&router.routes, &router.rules));
    let lists: Vec<_> = lists.chain([(routes, rules)]).collect();
    let routes: Vec<&At<HostRoute>> =
        lists.iter().filter_map(|(routes, _)| routes.given()).flatten().collect();
    let rules: Vec<&At<netlink::Rule>> =
        lists.iter().filter_map(|(_, rules)| rules.given()).flatten().collect();
    twice(&routes, HostRoute::key, "differ in to, table or metric", faults);
    twice(&rules, Clone::clone, "once is enough", faults);
    for router in &file.virtual_routers {
        let routes = router.routes.at().filter(|at| !at.value.is_empty()).map(|at| &at.span);
        let rules = router.rules.at().filter(|at| !at.value.is_empty()).map(|at| &at.span);
        let owner = router.priority.given() == Some(&Priority::OWNER);
        for span in routes.into_iter().chain(rules).filter(|_| owner) {
            let remedy = "what the owner has is always there: see [static]";
            faults.error(span, "routes and rules cannot be set with priority 255", remedy);
        }
    }
}

fn twice<T: fmt::Display, K: Ord>(all: &[&At<T>], key: impl Fn(&T) -> K, remedy: &str, faults: &mut Faults) {
    let mut seen = BTreeMap::new();
    for at in all {
        match seen.entry(key(&at.value)) {
            Entry::Vacant(free) => drop(free.insert(&at.span)),
            Entry::Occupied(first) => {
                let line = faults.line(first.get());
                let message = format!("{} is there twice, first at line {line}", at.value);
                faults.error(&at.span, message, remedy);
            }
        }
    }
}
