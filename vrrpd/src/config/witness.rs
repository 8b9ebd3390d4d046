//! `witness`: stations whose silence tells a node that it is cut off.

use std::net::{IpAddr, SocketAddr};

use toml::de::DeValue;
pub use vrrp_proto::parameters::WitnessPolicy;

use super::diagnostic::{Faults, Span};
use super::keys::{Key, full};
use super::raw::{self, no_duplicates};
use super::show::{Entries, inline, list, quoted};
use super::table::{At, Field, Table};
use super::transport::{same_family, virtual_at};
use super::value::{self, Read};

/// Its keys.
pub(super) const KEYS: &[Key] = &[full("arp"), full("tcp"), full("peers"), full("policy")];

/// All of them are asked at once.
const MOST: usize = 8;

/// `witness` of a virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The other nodes, at least one: the `peers` of the virtual router, in multicast those named here.
    pub peers: Vec<IpAddr>,
    /// Stations of the interface's network, asked by ARP or neighbour solicitation; default none.
    pub arp: Vec<IpAddr>,
    /// Servers anywhere that a connection is made to; default none.
    pub tcp: Vec<SocketAddr>,
    /// What silence means; default claim.
    pub policy: WitnessPolicy,
}

/// As it is written.
pub(super) struct Raw {
    peers: Field<Vec<At<IpAddr>>>,
    arp: Field<Vec<At<IpAddr>>>,
    tcp: Field<Vec<At<SocketAddr>>>,
    policy: Field<WitnessPolicy>,
}

pub(super) fn read(table: &Table<'_>, faults: &mut Faults) -> Field<Raw> {
    let At { value: table, span } = match table.table("witness", KEYS, faults) {
        Field::Is(at) => at,
        Field::Absent => return Field::Absent,
        Field::Unknown => return Field::Unknown,
    };
    let value = Raw {
        peers: table.list("peers", faults, value::ip),
        arp: table.list("arp", faults, value::ip),
        tcp: table.list("tcp", faults, socket_address),
        policy: table.field("policy", faults, policy),
    };
    Field::Is(At { value, span })
}

/// That of a host.
fn socket_address(key: &str, value: &DeValue<'_>) -> Read<SocketAddr> {
    let address = value::socket_address(key, value)?;
    value::usable(key, address.ip())?;
    match address.ip() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            value::refuse(format!("{key}: {ip} is link-local, which names no interface"), "name it in arp")
        }
        _ => Ok(address),
    }
}

fn policy(key: &str, value: &DeValue<'_>) -> Read<WitnessPolicy> {
    value::word(key, value, &[("claim", WitnessPolicy::Claim), ("hold", WitnessPolicy::Hold)])
}

/// Reports what contradicts the rest of the router.
pub(super) fn check(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(At { value: witness, span }) = router.witness.at() else { return };
    check_router(router, span, faults);
    check_peers(router, witness, span, faults);
    if let (Field::Absent, Field::Absent) = (&witness.arp, &witness.tcp) {
        faults.error(span, "witness names no witness", "the gateway for example: arp = [\"192.0.2.1\"]");
    }
    check_arp(router, witness, faults);
    check_tcp(router, witness, faults);
}

fn check_router(router: &raw::VirtualRouter, span: &Span, faults: &mut Faults) {
    if let Some(path) = router.second_path.at() {
        let line = faults.line(&path.span);
        faults.error(
            span,
            format!("witness beside second_path, which has witnesses of its own at line {line}"),
            "one of the two: second_path.witnesses = [\"192.0.2.1\"]",
        );
    }
    if let Some(priority) = router.priority.at().filter(|at| at.value.is_owner()) {
        let line = faults.line(&priority.span);
        faults.error(
            span,
            "witness with priority 255: the owner never gives its addresses up",
            format!("1 to 254; it is at line {line}"),
        );
    }
    if let Some(min_ttl) = router.min_ttl.at().filter(|at| at.value < u8::MAX) {
        let line = faults.line(&min_ttl.span);
        faults.error(
            span,
            "witness asks the peers by ARP, and there is a router in between",
            format!("min_ttl is {} at line {line}", min_ttl.value),
        );
    }
}

fn check_peers(router: &raw::VirtualRouter, witness: &Raw, span: &Span, faults: &mut Faults) {
    match (&router.peers, &witness.peers) {
        (Field::Is(known), Field::Is(peers)) => {
            let line = faults.line(&known.span);
            faults.error(
                &peers.span,
                format!("witness.peers beside the peers at line {line}"),
                "leave it out: those are asked",
            );
        }
        (Field::Absent, Field::Absent) => faults.error(
            span,
            "witness has no peers: in multicast nobody else says who the other nodes are",
            "by the addresses that they advertise from: peers = [\"192.0.2.194\"]",
        ),
        _ => {}
    }
    let Some(At { value: peers, span }) = witness.peers.at() else { return };
    check_list("witness.peers", peers, span, faults);
    for peer in peers {
        same_family("witness.peers", peer.value, router.family(), &peer.span, faults);
        not_this_node("witness.peers", router, peer.value, &peer.span, "another node", faults);
    }
}

fn check_arp(router: &raw::VirtualRouter, witness: &Raw, faults: &mut Faults) {
    let Some(At { value: arp, span }) = witness.arp.at() else { return };
    check_list("witness.arp", arp, span, faults);
    for station in arp {
        same_family("witness.arp", station.value, router.family(), &station.span, faults);
        check_station("witness.arp", router, witness, station.value, &station.span, faults);
    }
}

fn check_tcp(router: &raw::VirtualRouter, witness: &Raw, faults: &mut Faults) {
    let Some(At { value: tcp, span }) = witness.tcp.at() else { return };
    check_list("witness.tcp", tcp, span, faults);
    for server in tcp {
        check_station("witness.tcp", router, witness, server.value.ip(), &server.span, faults);
    }
}

/// A witness has no part in the election.
fn check_station(
    key: &str,
    router: &raw::VirtualRouter,
    witness: &Raw,
    ip: IpAddr,
    span: &Span,
    faults: &mut Faults,
) {
    not_this_node(key, router, ip, span, "a station that has no part in the election", faults);
    let mut peers = [&router.peers, &witness.peers].into_iter().filter_map(Field::given).flatten();
    if let Some(peer) = peers.find(|peer| peer.value == ip) {
        let line = faults.line(&peer.span);
        faults.error(span, format!("{key}: {ip} is a peer"), format!("it is asked anyway; see line {line}"));
    }
}

fn not_this_node(
    key: &str,
    router: &raw::VirtualRouter,
    ip: IpAddr,
    span: &Span,
    remedy: &str,
    faults: &mut Faults,
) {
    if virtual_at(router, ip).is_some() || router.source_address.given() == Some(&ip) {
        faults.error(span, format!("{key}: {ip} is this node itself"), remedy);
    }
}

fn check_list<T: PartialEq + std::fmt::Display>(key: &str, list: &[At<T>], span: &Span, faults: &mut Faults) {
    if list.is_empty() {
        faults.error(span, format!("{key} is empty"), "leave it out, or name one");
    } else if list.len() > MOST {
        let message = format!("{key} has {} entries; the range is 1..={MOST}", list.len());
        faults.error(span, message, "all are asked in each interval: one or two are enough");
    }
    no_duplicates(key, list, faults);
}

/// The values; `None` when one is wrong, and reported.
pub(super) fn config(router: &raw::VirtualRouter) -> Option<Option<Witness>> {
    let raw = match &router.witness {
        Field::Is(at) => &at.value,
        Field::Absent => return Some(None),
        Field::Unknown => return None,
    };
    let peers = router.peers.given().or(raw.peers.given())?;
    Some(Some(Witness {
        peers: peers.iter().map(|at| at.value).collect(),
        arp: raw.arp.or(Vec::new())?.into_iter().map(|at| at.value).collect(),
        tcp: raw.tcp.or(Vec::new())?.into_iter().map(|at| at.value).collect(),
        policy: raw.policy.or(WitnessPolicy::Claim)?,
    }))
}

/// `named`: the peers stand in it, and not in a key of the router.
pub(super) fn show(witness: &Witness, named: bool) -> String {
    let ip = |ip: &IpAddr| quoted(&ip.to_string());
    let mut entries: Entries = Vec::new();
    if named {
        entries.push(("peers", list(&witness.peers, ip)));
    }
    if !witness.arp.is_empty() {
        entries.push(("arp", list(&witness.arp, ip)));
    }
    if !witness.tcp.is_empty() {
        entries.push(("tcp", list(&witness.tcp, |server| quoted(&server.to_string()))));
    }
    entries.push(("policy", quoted(policy_word(witness.policy))));
    inline(&entries)
}

fn policy_word(policy: WitnessPolicy) -> &'static str {
    match policy {
        WitnessPolicy::Claim => "claim",
        WitnessPolicy::Hold => "hold",
    }
}
