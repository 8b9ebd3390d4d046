//! Every key that a configuration file may have. The reader, its suggestions, and the test that
//! compares the manual page with the program all use these lists.

use super::{probe, virtual_address, way};

/// One key of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it is written in the file.
    pub name: &'static str,
    /// What this version makes of it.
    pub support: Support,
}

/// What this version makes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is read.
    Full,
    /// It is part of the interface and refused until it is implemented, never silently ignored.
    NotYet,
}

/// The tables of the file with their keys; the first one is the file itself. `garp`, `authentication`, `tsig` and the
/// kinds of checks are tables within tables.
pub const TABLES: &[(&str, &[Key])] = &[
    ("", FILE),
    ("daemon", DAEMON),
    ("peer_link", PEER_LINK),
    ("interface", INTERFACE),
    ("virtual_router", VIRTUAL_ROUTER),
    ("addresses", virtual_address::KEYS),
    ("second_path", SECOND_PATH),
    ("witness", super::witness::KEYS),
    ("routes", way::ROUTE),
    ("rules", way::RULE),
    ("garp", GARP),
    ("authentication", AUTHENTICATION),
    ("track_interfaces", super::track::KEYS),
    ("check", CHECK),
    ("tcp", probe::tcp::KEYS),
    ("http", probe::http::KEYS),
    ("body", probe::http::BODY_KEYS),
    ("s3", probe::s3::KEYS),
    ("registry", probe::registry::KEYS),
    ("registry_parity", probe::registry_parity::KEYS),
    ("peer", probe::registry_parity::PEER_KEYS),
    ("chart_repository", probe::chart_repository::KEYS),
    ("dns", probe::dns::KEYS),
    ("hosts", probe::hosts::KEYS),
    ("ping", probe::ping::KEYS),
    ("gateway", probe::gateway::KEYS),
    ("address", probe::address::KEYS),
    ("file", probe::file::KEYS),
    ("disk", probe::disk::KEYS),
    ("process", probe::process::KEYS),
    ("route", probe::route::KEYS),
    ("systemd_unit", probe::systemd_unit::KEYS),
    probe::preset::DCE_REGISTRY.table(),
    probe::preset::DCE_CHARTS.table(),
    probe::preset::DCE_FILES.table(),
    probe::preset::HAPROXY.table(),
    probe::preset::KUBE_APISERVER.table(),
    probe::preset::HARBOR.table(),
    ("hook", HOOK),
    ("sync_group", SYNC_GROUP),
    ("dns_update", DNS_UPDATE),
    ("tsig", TSIG),
    ("static", way::STATIC),
];

pub(super) const fn full(name: &'static str) -> Key {
    Key { name, support: Support::Full }
}

const fn not_yet(name: &'static str) -> Key {
    Key { name, support: Support::NotYet }
}

pub(super) const FILE: &[Key] = &[
    full("daemon"),
    full("peer_link"),
    full("interface"),
    full("virtual_router"),
    full("check"),
    full("hook"),
    full("sync_group"),
    full("dns_update"),
    full("static"),
];

pub(super) const DAEMON: &[Key] = &[
    full("node"),
    full("control_socket"),
    full("runtime_dir"),
    full("state_dir"),
    full("read_group"),
    full("scheduling"),
    not_yet("metrics"),
];

pub(super) const PEER_LINK: &[Key] = &[full("listen"), full("peers"), full("key_file")];

pub(super) const VIRTUAL_ROUTER: &[Key] = &[
    full("interface"),
    full("vrid"),
    full("version"),
    full("priority"),
    full("advertisement_interval"),
    full("addresses"),
    full("extra_addresses"),
    full("routes"),
    full("rules"),
    full("source_address"),
    full("peers"),
    full("allowed_sources"),
    full("multicast_group"),
    full("min_ttl"),
    full("second_path"),
    full("witness"),
    full("suspicion"),
    full("ipv4_checksum"),
    full("on_conflict"),
    full("startup_delay"),
    full("carrier_delay"),
    full("preempt_mode"),
    full("preempt_delay"),
    full("accept_mode"),
    full("strict"),
    full("virtual_mac"),
    full("lease"),
    full("checks"),
    full("track_interfaces"),
    full("hooks"),
    full("garp"),
    full("authentication"),
];

pub(super) const INTERFACE: &[Key] = &[full("announcement_spacing")];

pub(super) const GARP: &[Key] = &[
    full("form"),
    full("count"),
    full("interval"),
    full("second_after"),
    full("refresh"),
    full("refresh_count"),
    full("lower_priority_count"),
    full("lower_priority_second_after"),
    full("interfaces"),
];

pub(super) const AUTHENTICATION: &[Key] = &[
    full("type"),
    full("keys"),
    full("active_key"),
    full("mode"),
    full("replay"),
    full("window"),
    full("password"),
    full("password_file"),
];
pub(super) const SECOND_PATH: &[Key] =
    &[full("interface"), full("source_address"), full("peers"), full("witnesses")];

pub(super) const CHECK: &[Key] = &[
    full("exec"),
    full("user"),
    full("tcp"),
    full("http"),
    full("s3"),
    full("registry"),
    full("registry_parity"),
    full("chart_repository"),
    full("dns"),
    full("hosts"),
    full("ping"),
    full("gateway"),
    full("address"),
    full("file"),
    full("disk"),
    full("process"),
    full("route"),
    full("systemd_unit"),
    full("preset"),
    full("with"),
    full("interval"),
    full("fast_interval"),
    full("timeout"),
    full("rise"),
    full("fall"),
    full("when"),
    full("on_failure"),
    full("weight"),
];

pub(super) const HOOK: &[Key] = &[full("on"), full("exec"), full("user"), full("timeout")];

pub(super) const SYNC_GROUP: &[Key] = &[full("virtual_routers"), full("checks")];

pub(super) const DNS_UPDATE: &[Key] = &[
    full("virtual_router"),
    full("server"),
    full("zone"),
    full("name"),
    full("value"),
    full("ttl"),
    full("refresh"),
    full("timeout"),
    full("tsig"),
];

pub(super) const TSIG: &[Key] = &[full("name"), full("algorithm"), full("secret_file")];

/// Words of keepalived and what is written here, for those who come from there.
const KEEPALIVED: &[(&str, &str)] = &[
    ("accept", "accept_mode"),
    ("advert_int", "advertisement_interval"),
    ("nopreempt", "preempt_mode = false"),
    ("track_interface", "track_interfaces"),
    ("track_script", "checks"),
    ("unicast_peer", "peers"),
    ("unicast_src_ip", "source_address"),
    ("use_vmac", "virtual_mac"),
    ("virtual_ipaddress", "addresses"),
    ("virtual_ipaddress_excluded", "extra_addresses"),
    ("virtual_routes", "routes"),
    ("virtual_rules", "rules"),
    ("virtual_router_id", "vrid"),
    ("vrrp_mcast_group4", "multicast_group"),
    ("vrrp_mcast_group6", "multicast_group"),
    ("vrrp_instance", "virtual_router"),
    ("vrrp_sync_group", "sync_group"),
];

/// The key that was probably meant: keepalived's word for one, or one that is spelt much alike.
pub(super) fn meant(word: &str, keys: &[Key]) -> Option<&'static str> {
    let is_here = |ours: &str| keys.iter().any(|key| ours.split(' ').next() == Some(key.name));
    let translated = KEEPALIVED.iter().find(|(theirs, ours)| *theirs == word && is_here(ours));
    match translated {
        Some((_, ours)) => Some(ours),
        None => nearest(word, keys.iter().map(|key| key.name)),
    }
}

/// The word that is spelt most alike; `None` when more than a third of the letters differ.
pub(super) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer ones are noise, and comparing takes the product of both lengths.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    words
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        assert_eq!(meant("priorty", VIRTUAL_ROUTER), Some("priority"));
        assert_eq!(meant("virtual_router_id", VIRTUAL_ROUTER), Some("vrid"));
        assert_eq!(meant("nopreempt", VIRTUAL_ROUTER), Some("preempt_mode = false"));
        assert_eq!(meant("nopreempt", HOOK), None);
        assert_eq!(meant("colour", VIRTUAL_ROUTER), None);
        assert_eq!(meant(&"x".repeat(100_000), VIRTUAL_ROUTER), None);
    }

    #[test]
    fn no_table_has_a_key_twice() {
        for (table, keys) in TABLES {
            for (index, key) in keys.iter().enumerate() {
                assert!(!keys[..index].iter().any(|other| other.name == key.name), "{table}.{}", key.name);
            }
        }
    }
}
