//! The file as it is written: each value right by itself, with its place, and nothing filled in.
//!
//! What several values say together is the business of [`validate`](super::validate).

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeTable;
use vrrp_proto::parameters::OnConflict;
use vrrp_proto::{AdverInterval, Family, Priority, Version, Vrid};

use super::diagnostic::Faults;
use super::probe::Usual;
use super::table::{At, Field, LONGEST_LIST, Table};
use super::track::{self, TrackInterface};
use super::way::RawStatic;
use super::{Effect, Exec, HookState, Ipv4Checksum, Lease, Preset, Probe, Scheduling, When};
use super::{
    HostRoute, VirtualAddress, authentication, dns_update, garp, interface, keys, probe, second_path,
};
use super::{sync_group, value, version, virtual_address, way, witness};

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The whole file.
pub(super) struct File {
    pub(super) daemon: Daemon,
    pub(super) peer_link: Field<PeerLink>,
    pub(super) interfaces: Vec<interface::Raw>,
    pub(super) virtual_routers: Vec<VirtualRouter>,
    pub(super) checks: Vec<Check>,
    pub(super) hooks: Vec<Hook>,
    pub(super) sync_groups: Vec<sync_group::Raw>,
    pub(super) dns_updates: Vec<dns_update::Raw>,
    /// `[static]`, which Rust has another meaning for.
    pub(super) fixed: RawStatic,
}

/// `[daemon]`; when it is left out, all of it is absent.
pub(super) struct Daemon {
    pub(super) node: Field<String>,
    pub(super) control_socket: Field<PathBuf>,
    pub(super) runtime_dir: Field<PathBuf>,
    pub(super) state_dir: Field<PathBuf>,
    pub(super) read_group: Field<String>,
    pub(super) scheduling: Field<Scheduling>,
}

/// `[peer_link]`.
pub(super) struct PeerLink {
    pub(super) listen: Field<SocketAddr>,
    pub(super) peers: Field<Vec<At<SocketAddr>>>,
    pub(super) key_file: Field<PathBuf>,
}

/// `[virtual_router.NAME]`.
pub(super) struct VirtualRouter {
    pub(super) name: At<String>,
    pub(super) interface: Field<String>,
    pub(super) vrid: Field<Vrid>,
    pub(super) version: Field<Version>,
    pub(super) priority: Field<Priority>,
    pub(super) advertisement_interval: Field<AdverInterval>,
    pub(super) addresses: Field<Vec<At<VirtualAddress>>>,
    pub(super) extra_addresses: Field<Vec<At<VirtualAddress>>>,
    pub(super) routes: Field<Vec<At<HostRoute>>>,
    pub(super) rules: Field<Vec<At<netlink::Rule>>>,
    pub(super) source_address: Field<IpAddr>,
    pub(super) peers: Field<Vec<At<IpAddr>>>,
    pub(super) allowed_sources: Field<Vec<At<netlink::Address>>>,
    pub(super) multicast_group: Field<IpAddr>,
    pub(super) min_ttl: Field<u8>,
    pub(super) second_path: Field<second_path::Raw>,
    pub(super) witness: Field<witness::Raw>,
    pub(super) suspicion: Field<bool>,
    pub(super) ipv4_checksum: Field<Ipv4Checksum>,
    pub(super) on_conflict: Field<OnConflict>,
    pub(super) startup_delay: Field<Duration>,
    pub(super) carrier_delay: Field<Duration>,
    pub(super) preempt_mode: Field<bool>,
    pub(super) preempt_delay: Field<Duration>,
    pub(super) accept_mode: Field<bool>,
    pub(super) strict: Field<bool>,
    pub(super) virtual_mac: Field<bool>,
    pub(super) lease: Field<Lease>,
    pub(super) checks: Field<Vec<At<String>>>,
    pub(super) track_interfaces: Field<Vec<At<TrackInterface>>>,
    pub(super) hooks: Field<Vec<At<String>>>,
    pub(super) garp: garp::Raw,
    pub(super) authentication: Field<authentication::Raw>,
}

impl VirtualRouter {
    /// That of the first address; of the first peer, where there is none to move.
    pub(super) fn family(&self) -> Option<Family> {
        let first = match &self.addresses {
            Field::Is(addresses) => addresses.value.first()?.value.ip,
            Field::Absent => self.peers.given()?.first()?.value,
            Field::Unknown => return None,
        };
        Some(Family::of(first))
    }

    /// What it moves: the addresses that are advertised, and those that only move along.
    pub(super) fn every_address(&self) -> impl Iterator<Item = &At<VirtualAddress>> {
        let lists = [&self.addresses, &self.extra_addresses];
        lists.into_iter().filter_map(Field::given).flatten()
    }

    /// Names of the interfaces that it advertises on.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &String> {
        let second = self.second_path.given().and_then(second_path::Raw::interface);
        self.interface.given().into_iter().chain(second)
    }
}

/// `[check.NAME]`.
pub(super) struct Check {
    pub(super) name: At<String>,
    pub(super) probe: Option<At<Probe>>,
    pub(super) preset: Option<Preset>,
    pub(super) interval: Field<Duration>,
    pub(super) fast_interval: Field<Duration>,
    pub(super) timeout: Field<Duration>,
    pub(super) rise: Field<u32>,
    pub(super) fall: Field<u32>,
    pub(super) when: Field<When>,
    pub(super) effect: Field<Effect>,
}

impl Check {
    /// The defaults of its kind.
    pub(super) fn usual(&self) -> Usual {
        match &self.preset {
            Some(preset) => preset.usual(),
            None => self.probe.as_ref().map_or_else(Usual::default, |probe| probe.value.kind().usual()),
        }
    }
}

/// `[hook.NAME]`.
pub(super) struct Hook {
    pub(super) name: At<String>,
    pub(super) on: Field<Vec<At<HookState>>>,
    pub(super) exec: Option<Exec>,
    pub(super) timeout: Field<Duration>,
}

/// Reads the whole file and reports what is wrong with single values, and keys that do not exist.
pub(super) fn read(entries: &DeTable<'_>, faults: &mut Faults) -> File {
    let file = Table::open(String::new(), 0..0, entries, keys::FILE, faults);
    let daemon = file.table("daemon", keys::DAEMON, faults);
    let peer_link = file.table("peer_link", keys::PEER_LINK, faults);
    let interfaces = file.named("interface", keys::INTERFACE, faults);
    let virtual_routers = file.named("virtual_router", keys::VIRTUAL_ROUTER, faults);
    let checks = file.named("check", keys::CHECK, faults);
    let hooks = file.named("hook", keys::HOOK, faults);
    let sync_groups = file.named("sync_group", keys::SYNC_GROUP, faults);
    let dns_updates = file.named("dns_update", keys::DNS_UPDATE, faults);
    if virtual_routers.is_empty() && !faults.incomplete() {
        faults.error_of_file(NO_VIRTUAL_ROUTER);
    }
    File {
        daemon: read_daemon(&daemon, faults),
        peer_link: read_peer_link(&peer_link, faults),
        interfaces: read_each(interfaces, faults, interface::read),
        virtual_routers: read_each(virtual_routers, faults, virtual_router),
        checks: read_each(checks, faults, check),
        hooks: read_each(hooks, faults, hook),
        sync_groups: read_each(sync_groups, faults, sync_group::read),
        dns_updates: read_each(dns_updates, faults, dns_update::read),
        fixed: RawStatic::read(&file, faults),
    }
}

const NO_VIRTUAL_ROUTER: &str = "there is no virtual router; the shortest useful file is

    [virtual_router.bootstrap]
    interface = \"eth0\"
    vrid      = 201
    priority  = 150
    addresses = [\"192.0.2.201\"]
";

fn read_each<T>(
    tables: Vec<(At<String>, Table<'_>)>,
    faults: &mut Faults,
    read: fn(At<String>, &Table<'_>, &mut Faults) -> T,
) -> Vec<T> {
    tables.into_iter().map(|(name, table)| read(name, &table, faults)).collect()
}

fn read_daemon(table: &Field<Table<'_>>, faults: &mut Faults) -> Daemon {
    Daemon {
        node: within(table, "node", faults, value::node),
        control_socket: within(table, "control_socket", faults, value::socket_path),
        runtime_dir: within(table, "runtime_dir", faults, value::socket_directory),
        state_dir: within(table, "state_dir", faults, value::absolute_path),
        read_group: within(table, "read_group", faults, value::account),
        scheduling: within(table, "scheduling", faults, value::scheduling),
    }
}

fn read_peer_link(table: &Field<Table<'_>>, faults: &mut Faults) -> Field<PeerLink> {
    let At { value: table, span } = match table {
        Field::Is(table) => table,
        Field::Absent => return Field::Absent,
        Field::Unknown => return Field::Unknown,
    };
    let listen = "this node's own address and a UDP port: listen = \"192.0.2.193:9112\"";
    let key_file = "a file with the secret that the nodes share: key_file = \"/etc/vrrpd/peer.key\"";
    let peers = table.list("peers", faults, value::socket_address);
    if matches!(peers, Field::Absent) {
        let remedy = "where the other node listens: peers = [\"192.0.2.194:9112\"]";
        faults.error(span, "[peer_link] has no peers", remedy);
    }
    let value = PeerLink {
        listen: table.required("listen", listen, faults, value::socket_address),
        peers,
        key_file: table.required("key_file", key_file, faults, value::secret_path),
    };
    Field::Is(At { value, span: span.clone() })
}

/// A key of a table that may itself be left out.
pub(super) fn within<T>(
    table: &Field<Table<'_>>,
    key: &str,
    faults: &mut Faults,
    read: impl FnOnce(&str, &toml::de::DeValue<'_>) -> value::Read<T>,
) -> Field<T> {
    match table {
        Field::Is(table) => table.value.field(key, faults, read),
        Field::Absent => Field::Absent,
        Field::Unknown => Field::Unknown,
    }
}

fn virtual_router(name: At<String>, table: &Table<'_>, faults: &mut Faults) -> VirtualRouter {
    let remedy = "the network device: interface = \"eth0\"";
    let interface = table.required("interface", remedy, faults, value::interface);
    let version = table.field("version", faults, version::read);
    VirtualRouter {
        name,
        vrid: table.required(
            "vrid",
            "1..=255, the same on all its nodes and of no other on this link",
            faults,
            value::vrid,
        ),
        priority: table.field("priority", faults, value::priority),
        advertisement_interval: match version.or(Version::V3) {
            Some(spoken) => table
                .field("advertisement_interval", faults, |key, value| version::interval(key, value, spoken)),
            None => Field::Unknown,
        },
        version,
        addresses: virtual_address::list(table, "addresses", LONGEST_LIST, &interface, faults),
        extra_addresses: virtual_address::list(
            table,
            "extra_addresses",
            virtual_address::MOST_EXTRA,
            &interface,
            faults,
        ),
        routes: way::routes(table, &interface, faults),
        rules: way::rules(table, faults),
        interface,
        source_address: table.field("source_address", faults, value::ip),
        peers: table.list("peers", faults, value::ip),
        allowed_sources: table.list("allowed_sources", faults, value::address),
        multicast_group: table.field("multicast_group", faults, value::multicast_group),
        min_ttl: table.field("min_ttl", faults, value::min_ttl),
        second_path: second_path::read(table, faults),
        witness: witness::read(table, faults),
        suspicion: table.field("suspicion", faults, value::boolean),
        ipv4_checksum: table.field("ipv4_checksum", faults, value::ipv4_checksum),
        on_conflict: table.field("on_conflict", faults, value::on_conflict),
        startup_delay: duration(table, "startup_delay", faults, Duration::ZERO..=DAY),
        carrier_delay: duration(table, "carrier_delay", faults, Duration::ZERO..=DAY),
        preempt_mode: table.field("preempt_mode", faults, value::boolean),
        preempt_delay: duration(table, "preempt_delay", faults, Duration::ZERO..=DAY),
        accept_mode: table.field("accept_mode", faults, value::boolean),
        strict: table.field("strict", faults, value::boolean),
        virtual_mac: table.field("virtual_mac", faults, value::boolean),
        lease: table.field("lease", faults, value::lease),
        checks: table.list("checks", faults, value::reference),
        track_interfaces: track::read(table, faults),
        hooks: table.list("hooks", faults, value::reference),
        garp: garp::read(table, faults),
        authentication: authentication::read(table, faults),
    }
}

fn duration(
    table: &Table<'_>,
    key: &str,
    faults: &mut Faults,
    range: RangeInclusive<Duration>,
) -> Field<Duration> {
    table.field(key, faults, |key, value| value::duration(key, value, range))
}

fn check(name: At<String>, table: &Table<'_>, faults: &mut Faults) -> Check {
    let (probe, preset) = probe::read(table, faults);
    Check {
        name,
        probe,
        preset,
        interval: duration(table, "interval", faults, 10 * MILLISECOND..=DAY),
        fast_interval: duration(table, "fast_interval", faults, 10 * MILLISECOND..=DAY),
        timeout: duration(table, "timeout", faults, MILLISECOND..=DAY),
        rise: table.field("rise", faults, value::runs),
        fall: table.field("fall", faults, value::runs),
        when: table.field("when", faults, value::when),
        effect: effect(table, faults),
    }
}

fn effect(table: &Table<'_>, faults: &mut Faults) -> Field<Effect> {
    let on_failure = table.field("on_failure", faults, value::on_failure);
    let weight = table.field("weight", faults, |key, value| value::weight(key, value).map(Effect::Weight));
    match (table.key("on_failure"), table.key("weight")) {
        (Some(on_failure), Some(weight)) => {
            let (first, second) =
                if on_failure.start < weight.start { (on_failure, weight) } else { (weight, on_failure) };
            let line = faults.line(&first);
            let message = format!("[{}] has both weight and on_failure", table.path);
            faults.error(
                &second,
                message,
                format!("exactly one says what a failure does; the other is at line {line}"),
            );
            Field::Unknown
        }
        (_, Some(_)) => weight,
        _ => on_failure,
    }
}

fn hook(name: At<String>, table: &Table<'_>, faults: &mut Faults) -> Hook {
    let on = table.list("on", faults, value::hook_state);
    if matches!(on, Field::Absent) {
        let all = "on = [\"active\", \"backup\", \"fault\", \"stopped\"] for all";
        faults.error(&table.span, format!("[{}] has no on", table.path), all);
    }
    if table.key("exec").is_none() && !faults.incomplete() {
        faults.error(
            &table.span,
            format!("[{}] has no exec", table.path),
            "the absolute path of a program, and its arguments",
        );
    }
    Hook {
        name,
        on,
        exec: probe::exec::read(table, faults),
        timeout: duration(table, "timeout", faults, 100 * MILLISECOND..=HOUR),
    }
}

/// Reports each element that stands in the list before.
pub(super) fn no_duplicates<T: PartialEq + std::fmt::Display>(
    key: &str,
    list: &[At<T>],
    faults: &mut Faults,
) {
    for (index, at) in list.iter().enumerate() {
        if let Some(first) = list[..index].iter().find(|first| first.value == at.value) {
            let line = faults.line(&first.span);
            faults.error(&at.span, format!("{key} has {} twice", at.value), format!("first at line {line}"));
        }
    }
}
