//! `second_path`: another interface over which the same virtual router advertises.

use std::net::IpAddr;

use toml::de::DeValue;
use vrrp_proto::{Family, Priority};

use super::diagnostic::{Faults, Span};
use super::show::{Entries, inline, list, quoted};
use super::table::{At, Field, Table};
use super::transport::{same_family, virtual_at};
use super::validate::HIGHEST_DEMOTED;
use super::value::{self, Read, kind, refuse};
use super::{keys, raw};

/// `second_path` of a virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondPath {
    /// Name of the interface; it need not exist.
    pub interface: String,
    /// Source of advertisements there; default: its primary address (IPv6: link-local where the peers
    /// are).
    pub source_address: Option<IpAddr>,
    /// The other nodes, at least one.
    pub peers: Vec<SecondPeer>,
    /// Stations of the clients' LAN that are asked, beside the peers, whether it answers; default none.
    pub witnesses: Vec<IpAddr>,
}

/// Another node with an address on each path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondPeer {
    /// On the first one, by which it is known.
    pub router: IpAddr,
    /// On the second one.
    pub address: IpAddr,
}

/// As it is written.
#[derive(Clone)]
pub(super) struct Raw {
    interface: Field<String>,
    source_address: Field<IpAddr>,
    peers: Field<Vec<SecondPeer>>,
    witnesses: Field<Vec<At<IpAddr>>>,
}

impl Raw {
    /// Is the one other node all that is asked?
    pub(super) fn has_no_third_station(&self) -> bool {
        let alone = self.peers.given().is_some_and(|peers| peers.len() == 1);
        alone && matches!(self.witnesses, Field::Absent)
    }

    /// Name of its interface.
    pub(super) fn interface(&self) -> Option<&String> {
        self.interface.given()
    }
}

pub(super) fn read(table: &Table<'_>, faults: &mut Faults) -> Field<Raw> {
    let At { value: table, span } = match table.table("second_path", keys::SECOND_PATH, faults) {
        Field::Is(at) => at,
        Field::Absent => return Field::Absent,
        Field::Unknown => return Field::Unknown,
    };
    let named =
        "each node by its address on the first path: peers = { \"192.0.2.194\" = \"198.51.100.194\" }";
    let value = Raw {
        interface: table.required("interface", "another one: interface = \"eth1\"", faults, value::interface),
        source_address: table.field("source_address", faults, value::ip),
        peers: table.required("peers", named, faults, peers),
        witnesses: table.list("witnesses", faults, value::ip),
    };
    Field::Is(At { value, span })
}

fn peers(key: &str, value: &DeValue<'_>) -> Read<Vec<SecondPeer>> {
    let remedy =
        "{ \"192.0.2.194\" = \"198.51.100.194\" }: its address on the first path, and that on this one";
    let DeValue::Table(entries) = value else {
        return refuse(format!("{key} must be a table of addresses, not {}", kind(value)), remedy);
    };
    let mut peers = Vec::new();
    for (name, address) in entries.iter() {
        let Ok(router) = name.get_ref().parse() else {
            return refuse(format!("{key}: {:?} is not an address", name.get_ref()), remedy);
        };
        value::usable(key, router)?;
        peers.push(SecondPeer { router, address: value::ip(key, address.get_ref())? });
    }
    if peers.is_empty() {
        return refuse(format!("{key} is empty"), remedy);
    }
    Ok(peers)
}

/// Reports what contradicts the rest of the router.
pub(super) fn check(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(At { value: path, span }) = router.second_path.at() else { return };
    if let Some(interface) = path.interface.at().filter(|at| router.interface.given() == Some(&at.value)) {
        let message = format!("second_path is over {}, as the first one", interface.value);
        faults.error(&interface.span, message, "another interface");
    }
    check_willing(router, span, faults);
    check_peers(router, path, faults);
    check_witnesses(router, path, span, faults);
    if let Some(source) = path.source_address.at() {
        same_family("second_path.source_address", source.value, router.family(), &source.span, faults);
    }
}

/// Who cannot give way has no use for it.
fn check_willing(router: &raw::VirtualRouter, span: &Span, faults: &mut Faults) {
    if let Some(priority) = router.priority.at()
        && (priority.value.is_owner() || priority.value.get() <= HIGHEST_DEMOTED)
    {
        let line = faults.line(&priority.span);
        faults.error(
            span,
            "a node whose clients' LAN is silent gives way with a tenth of its priority",
            format!(
                "second_path needs a priority of {} to {}; it is {} at line {line}",
                HIGHEST_DEMOTED + 1,
                Priority::OWNER.get() - 1,
                priority.value
            ),
        );
    }
    if matches!(router.addresses, Field::Absent) {
        faults.error(
            span,
            "second_path has no effect without addresses",
            "leave it out: there is no clients' LAN",
        );
    }
    if let Some(min_ttl) = router.min_ttl.at().filter(|at| at.value < u8::MAX) {
        let line = faults.line(&min_ttl.span);
        faults.error(
            span,
            "second_path asks the peers on the clients' LAN, and there is a router in between",
            format!("min_ttl is {} at line {line}", min_ttl.value),
        );
    }
}

fn check_peers(router: &raw::VirtualRouter, path: &Raw, faults: &mut Faults) {
    let Some(At { value: peers, span }) = path.peers.at() else { return };
    let multicast = matches!(router.peers, Field::Absent);
    for (index, SecondPeer { router: first, address }) in peers.iter().copied().enumerate() {
        let mut fault = |message: String, label: &str| faults.error(span, message, label);
        if peers[..index].iter().any(|other| other.address == address) {
            fault(format!("second_path.peers has {address} twice"), "each node has an address of its own");
        }
        if peers.iter().any(|other| other.router == address) || first == address {
            fault(
                format!("second_path.peers: {address} is an address of the first path"),
                "one of the second path",
            );
        }
        if let Some(known) = router.peers.given().filter(|known| !known.iter().any(|at| at.value == first)) {
            let list: Vec<String> = known.iter().map(|at| at.value.to_string()).collect();
            fault(
                format!("second_path.peers: {first} is not among the peers"),
                &format!("by the address on the first path: {}", list.join(", ")),
            );
        }
        if let IpAddr::V6(ip) = first
            && multicast
            && !ip.is_unicast_link_local()
        {
            fault(
                format!("second_path.peers: {first} is not link-local"),
                "by the address that it advertises from on the first path, of fe80::/10",
            );
        }
        if let IpAddr::V6(ip) = address
            && router.strict.or(false) == Some(true)
            && !ip.is_unicast_link_local()
        {
            fault(
                format!("second_path.peers: {address} is not link-local"),
                "strict = true requires one of fe80::/10 (RFC 9568 5.1.2.1)",
            );
        }
        let own = [&router.source_address, &path.source_address].into_iter().filter_map(Field::given);
        if own.into_iter().any(|own| *own == first || *own == address) {
            faults.error(span, "second_path.peers has this node's own address", "name the other nodes only");
        }
        for ip in [first, address] {
            same_family("second_path.peers", ip, router.family(), span, faults);
        }
    }
}

fn check_witnesses(router: &raw::VirtualRouter, path: &Raw, span: &Span, faults: &mut Faults) {
    let Some(At { value: witnesses, .. }) = path.witnesses.at() else {
        if matches!(path.witnesses, Field::Absent) {
            faults.warning(
                span,
                "second_path has no witnesses: only the peers are asked whether the clients' LAN answers",
                "name stations that are always there: witnesses = [\"192.0.2.1\"], the gateway for example",
            );
        }
        return;
    };
    raw::no_duplicates("second_path.witnesses", witnesses, faults);
    for witness in witnesses {
        same_family("second_path.witnesses", witness.value, router.family(), &witness.span, faults);
        if virtual_at(router, witness.value).is_some()
            || router.source_address.given() == Some(&witness.value)
        {
            let message = format!("second_path.witnesses: {} is this node itself", witness.value);
            faults.error(&witness.span, message, "another station of the clients' LAN");
        }
    }
}

/// The values; `None` when one is wrong, and reported.
pub(super) fn config(raw: &Field<Raw>) -> Option<Option<SecondPath>> {
    let raw = match raw {
        Field::Is(at) => &at.value,
        Field::Absent => return Some(None),
        Field::Unknown => return None,
    };
    Some(Some(SecondPath {
        interface: raw.interface.given()?.clone(),
        source_address: raw.source_address.optional()?,
        peers: raw.peers.given()?.clone(),
        witnesses: raw.witnesses.or(Vec::new())?.into_iter().map(|at| at.value).collect(),
    }))
}

pub(super) fn show(path: &SecondPath) -> String {
    let ip = |ip: &IpAddr| quoted(&ip.to_string());
    let mut entries: Entries = vec![("interface", quoted(&path.interface))];
    entries.extend(path.source_address.as_ref().map(|source| ("source_address", ip(source))));
    let peer = |peer: &SecondPeer| format!("{} = {}", ip(&peer.router), ip(&peer.address));
    let peers: Vec<String> = path.peers.iter().map(peer).collect();
    entries.push(("peers", format!("{{ {} }}", peers.join(", "))));
    entries.push(("witnesses", list(&path.witnesses, ip)));
    inline(&entries)
}

impl SecondPath {
    /// Do all its peers have link-local addresses there?
    pub(crate) fn is_link_local(&self) -> bool {
        let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        self.peers.iter().all(|peer| Family::of(peer.address) == Family::Ipv6 && link_local(peer.address))
    }
}
