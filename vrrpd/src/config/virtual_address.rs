//! `addresses` and `extra_addresses`: what is moved, and how it is put on an interface.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink::{AddressOptions, Scope};
use toml::Spanned;
use toml::de::DeValue;
use vrrp_proto::packet::{ip, message_len};
use vrrp_proto::{Family, Priority, Version};

use super::authentication;
use super::diagnostic::{Faults, Span};
use super::keys::{Key, full};
use super::raw;
use super::show::{Entries, inline, quoted};
use super::table::{At, Field, Table};
use super::value::{self, Read, integer, refuse, string, word};

/// Keys of an entry that is a table.
pub(super) const KEYS: &[Key] = &[
    full("address"),
    full("interface"),
    full("label"),
    full("scope"),
    full("preferred_lifetime"),
    full("no_prefix_route"),
];

/// The least MTU that Ethernet is run with; a larger one is not known to the file (`protocol.md` 1.6).
const MTU: usize = 1500;

/// Entries of `extra_addresses`. Each takes a few hundred octets, and the kernel goes through those of an
/// interface one by one.
pub(super) const MOST_EXTRA: usize = 4096;

/// One entry of `addresses` or `extra_addresses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix in bits; default 32 or 128.
    pub prefix_len: u8,
    /// Name of the interface that it is put on; default: the virtual router's.
    pub interface: Option<String>,
    /// How it is put there.
    pub options: AddressOptions,
}

impl VirtualAddress {
    /// As it is added to an interface.
    pub fn address(&self) -> netlink::Address {
        netlink::Address { ip: self.ip, prefix_len: self.prefix_len }
    }

    /// As it stands in the list.
    pub(super) fn show(&self) -> String {
        let text = quoted(&self.to_string());
        let options = &self.options;
        let mut entries: Entries = vec![("address", text.clone())];
        entries.extend(self.interface.iter().map(|name| ("interface", quoted(name))));
        entries.extend(options.label.iter().map(|label| ("label", quoted(label))));
        if options.scope != Scope::Global {
            entries.push(("scope", show_scope(options.scope)));
        }
        if options.preferred {
            entries.push(("preferred_lifetime", quoted("forever")));
        }
        if options.no_prefix_route {
            entries.push(("no_prefix_route", true.to_string()));
        }
        if entries.len() == 1 { text } else { inline(&entries) }
    }
}

impl std::fmt::Display for VirtualAddress {
    /// The address with its prefix.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address().fmt(f)
    }
}

/// Reads a list of up to `most` of them, for a virtual router on the interface `on`.
pub(super) fn list(
    table: &Table<'_>,
    key: &str,
    most: usize,
    on: &Field<String>,
    faults: &mut Faults,
) -> Field<Vec<At<VirtualAddress>>> {
    table.list_of(key, most, faults, |entry, faults| read(&table.path, key, entry, on, faults))
}

fn read(
    path: &str,
    key: &str,
    entry: &Spanned<DeValue<'_>>,
    on: &Field<String>,
    faults: &mut Faults,
) -> Option<At<VirtualAddress>> {
    let span = entry.span();
    let DeValue::Table(entries) = entry.get_ref() else {
        let At { value: address, span } = super::table::one(key, entry, faults, value::address)?;
        let (interface, options) = (None, AddressOptions::default());
        let value = VirtualAddress { ip: address.ip, prefix_len: address.prefix_len, interface, options };
        return Some(At { value, span });
    };
    let table = Table::open(format!("{path}.{key}"), span.clone(), entries, KEYS, faults);
    let remedy = "what is moved: address = \"192.0.2.201\"";
    let address = table.required("address", remedy, faults, value::address);
    let interface = table.field("interface", faults, value::interface);
    let label = table.field("label", faults, label);
    let scope = table.field("scope", faults, scope);
    let preferred = table.field("preferred_lifetime", faults, preferred_lifetime);
    let no_prefix_route = table.field("no_prefix_route", faults, value::boolean);
    let address = *address.given()?;

    let family = Family::of(address.ip);
    let mut only_for = |wanted: Family, key: &str, at: Option<&Span>, why: &str| {
        if let Some(span) = at.filter(|_| family != wanted) {
            faults.error(span, format!("{key} has no effect on {}", address.ip), why);
        }
    };
    only_for(Family::Ipv4, "label", label.at().map(|at| &at.span), "IPv6 addresses have no labels");
    only_for(
        Family::Ipv4,
        "scope",
        scope.at().map(|at| &at.span),
        "the kernel derives the scope of an IPv6 address",
    );
    only_for(
        Family::Ipv6,
        "preferred_lifetime",
        preferred.at().map(|at| &at.span),
        "IPv4 chooses source addresses otherwise: see source in routes",
    );
    let is_host = address.prefix_len == family.host_prefix();
    if let Some(at) = no_prefix_route.at().filter(|at| at.value && is_host) {
        let message = format!("no_prefix_route has no effect on {address}");
        faults.error(&at.span, message, "a host has no network that a route could lead to");
    }
    let device = match &interface {
        Field::Absent => on.given(),
        own => own.given(),
    };
    if let (Some(at), Some(device)) = (label.at(), device) {
        let rest = at.value.strip_prefix(device.as_str());
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':')) {
            let message = format!("label {:?} does not begin with \"{device}:\"", at.value);
            faults.error(&at.span, message, "the interface, a colon, and up to 15 octets in all");
        }
    }
    let options = AddressOptions {
        label: label.optional()?,
        scope: scope.or(Scope::Global)?,
        preferred: preferred.or(false)?,
        no_prefix_route: no_prefix_route.or(false)?,
    };
    let interface = interface.optional()?;
    let value = VirtualAddress { ip: address.ip, prefix_len: address.prefix_len, interface, options };
    Some(At { value, span })
}

fn label(key: &str, value: &DeValue<'_>) -> Read<String> {
    let label = string(key, value)?;
    if !(1..=15).contains(&label.len()) {
        return refuse(format!("{key} {label:?} has {} octets, out of range 1..=15", label.len()), "");
    }
    if label.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return refuse(format!("{key} {label:?} has white space"), "");
    }
    Ok(label.to_owned())
}

const SCOPES: &[(&str, Scope)] =
    &[("global", Scope::Global), ("site", Scope::Site), ("link", Scope::Link), ("host", Scope::Host)];

/// A word, or the kernel's number.
pub(super) fn scope(key: &str, value: &DeValue<'_>) -> Read<Scope> {
    match value {
        DeValue::Integer(_) => {
            let number = integer(key, value, 0..=254)?;
            Ok(Scope::from(u8::try_from(number).expect("254 at most")))
        }
        _ => word(key, value, SCOPES),
    }
}

pub(super) fn show_scope(scope: Scope) -> String {
    match SCOPES.iter().find(|(_, known)| *known == scope) {
        Some((word, _)) => quoted(word),
        None => scope.number().to_string(),
    }
}

/// What is between the two would have no meaning: it is renewed with each advertisement.
fn preferred_lifetime(key: &str, value: &DeValue<'_>) -> Read<bool> {
    word(key, value, &[("0s", false), ("forever", true)])
}

/// Reports contradictions within the lists of a virtual router.
pub(super) fn check(router: &raw::VirtualRouter, faults: &mut Faults) {
    check_duplicates(router, faults);
    check_extra(router, faults);
    let Some(At { value: addresses, span }) = router.addresses.at() else { return };
    let Some(first) = addresses.first() else {
        faults.error(span, "addresses is empty", "at least one: addresses = [\"192.0.2.201\"]");
        return;
    };
    let family = Family::of(first.value.ip);
    check_families(addresses, first, faults);
    let version = router.version.or(Version::V3).unwrap_or(Version::V3);
    let trailer = router.authentication.given().map_or(0, authentication::Raw::octets);
    let most = most_addresses(version, family, trailer);
    if addresses.len() > most {
        faults.error(
            &addresses[most].span,
            format!("{} addresses are out of range 1..={most}", addresses.len()),
            format!("an advertisement for {} has no room from here on; see extra_addresses", words(family)),
        );
    }
    let link_local_first = matches!(first.value.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    if family == Family::Ipv6 && !link_local_first {
        let message = format!("the first IPv6 address, {}, is not link-local", first.value.ip);
        match router.strict.or(false) {
            Some(true) => faults.error(
                &first.span,
                message,
                "strict = true requires one of fe80::/10 first (RFC 9568 5.2.9)",
            ),
            _ => faults.warning(
                &first.span,
                message,
                "RFC 9568 5.2.9 wants one of fe80::/10 first; strict peers refuse this",
            ),
        }
    }
}

fn check_families(addresses: &[At<VirtualAddress>], first: &At<VirtualAddress>, faults: &mut Faults) {
    let family = Family::of(first.value.ip);
    let line = faults.line(&first.span);
    for at in addresses.iter().filter(|at| Family::of(at.value.ip) != family) {
        let ip = at.value.ip;
        faults.error(
            &at.span,
            format!("addresses mixes families: {ip} is {}", words(Family::of(ip))),
            format!(
                "{} at line {line} is {}; extra_addresses may be of either, or make a second virtual router",
                first.value.ip,
                words(family)
            ),
        );
    }
}

fn check_duplicates(router: &raw::VirtualRouter, faults: &mut Faults) {
    let mut seen: BTreeMap<IpAddr, &At<VirtualAddress>> = BTreeMap::new();
    for (index, at) in router.every_address().enumerate() {
        let earlier = *seen.entry(at.value.ip).or_insert(at);
        if !std::ptr::eq(earlier, at) {
            let line = faults.line(&earlier.span);
            let extra = index >= router.addresses.given().map_or(0, Vec::len);
            let key = if extra { "extra_addresses" } else { "addresses" };
            faults.error(
                &at.span,
                format!("{key} has {} twice", at.value.ip),
                format!("first at line {line}"),
            );
        }
    }
}

/// What moves along moves with something.
fn check_extra(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(extra) = router.extra_addresses.at().filter(|extra| !extra.value.is_empty()) else { return };
    if matches!(router.addresses, Field::Absent) {
        let remedy = "at least one of addresses is advertised; these move along with it";
        faults.error(&extra.span, "extra_addresses without addresses", remedy);
    }
    if router.priority.given() == Some(&Priority::OWNER) {
        let remedy = "the owner's addresses are always there, and the administrator's: leave it out";
        faults.error(&extra.span, "extra_addresses cannot be set with priority 255", remedy);
    }
}

/// How many addresses an advertisement holds with so many octets behind it: a count of one octet, and no
/// fragments.
fn most_addresses(version: Version, family: Family, trailer: usize) -> usize {
    let rest = ip::header_len(family) + message_len(version, family, 0) + trailer;
    ((MTU - rest) / family.address_octets()).min(255)
}

/// The family as people write it.
pub(super) fn words(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}
