//! From what the file says to a [`Config`]: what it leaves out is filled in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vrrp_proto::parameters::OnConflict;
use vrrp_proto::{AdverInterval, Priority, Version};

use super::table::{At, Field};
use super::{
    Check, Config, DEFAULT_STATE_DIR, Daemon, Hook, Ipv4Checksum, Lease, PeerLink, Scheduling, VirtualRouter,
    When,
};
use super::{authentication, dns_update, garp, interface, raw, second_path, sync_group, witness};

const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration with its defaults; `None` when a value of the file is wrong, and reported.
pub(super) fn config(file: &raw::File) -> Option<Config> {
    let mut config = Config {
        daemon: daemon(&file.daemon)?,
        peer_link: peer_link(&file.peer_link)?,
        interfaces: file.interfaces.iter().map(interface::config).collect::<Option<_>>()?,
        virtual_routers: file.virtual_routers.iter().map(virtual_router).collect::<Option<_>>()?,
        checks: file.checks.iter().map(check).collect::<Option<_>>()?,
        hooks: file.hooks.iter().map(hook).collect::<Option<_>>()?,
        sync_groups: file.sync_groups.iter().map(sync_group::config).collect::<Option<_>>()?,
        dns_updates: file.dns_updates.iter().map(dns_update::config).collect::<Option<_>>()?,
        fixed: file.fixed.value()?,
    };
    config.share_checks();
    Some(config)
}

fn daemon(raw: &raw::Daemon) -> Option<Daemon> {
    let socket = raw.control_socket.optional()?;
    let beside_socket = socket.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let runtime_dir = raw.runtime_dir.or(beside_socket.unwrap_or_else(|| PathBuf::from("/run/vrrpd")))?;
    Some(Daemon {
        node: match raw.node.optional()? {
            Some(node) => node,
            None => host_name(),
        },
        control_socket: socket.unwrap_or_else(|| runtime_dir.join("control.sock")),
        runtime_dir,
        state_dir: raw.state_dir.or(PathBuf::from(DEFAULT_STATE_DIR))?,
        read_group: raw.read_group.or(String::from("vrrpd"))?,
        scheduling: raw.scheduling.or(Scheduling::Realtime)?,
    })
}

fn peer_link(raw: &Field<raw::PeerLink>) -> Option<Option<PeerLink>> {
    let link = match raw {
        Field::Is(link) => &link.value,
        Field::Absent => return Some(None),
        Field::Unknown => return None,
    };
    Some(Some(PeerLink {
        listen: *link.listen.given()?,
        peers: values(&link.peers)?,
        key_file: link.key_file.given()?.clone(),
    }))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(64).collect();
    if name.is_empty() { String::from("localhost") } else { name }
}

fn virtual_router(raw: &raw::VirtualRouter) -> Option<VirtualRouter> {
    let interval = raw.advertisement_interval.or(AdverInterval::default_of(raw.version.or(Version::V3)?))?;
    Some(VirtualRouter {
        name: raw.name.value.clone(),
        interface: raw.interface.given()?.clone(),
        vrid: *raw.vrid.given()?,
        family: raw.family()?,
        priority: raw.priority.or(Priority::DEFAULT)?,
        advertisement_interval: interval,
        authentication: authentication::config(&raw.authentication, interval)?,
        addresses: values(&raw.addresses)?,
        extra_addresses: values(&raw.extra_addresses)?,
        routes: values(&raw.routes)?,
        rules: values(&raw.rules)?,
        source_address: raw.source_address.optional()?,
        peers: values(&raw.peers)?,
        allowed_sources: values(&raw.allowed_sources)?,
        multicast_group: raw.multicast_group.or(raw.family()?.group())?,
        min_ttl: raw.min_ttl.or(u8::MAX)?,
        second_path: second_path::config(&raw.second_path)?,
        witness: witness::config(raw)?,
        suspicion: raw.suspicion.or(false)?,
        ipv4_checksum: raw.ipv4_checksum.or(Ipv4Checksum::Auto)?,
        on_conflict: raw.on_conflict.or(OnConflict::Claim)?,
        startup_delay: raw.startup_delay.or(Duration::ZERO)?,
        carrier_delay: raw.carrier_delay.or(Duration::ZERO)?,
        preempt_mode: raw.preempt_mode.or(true)?,
        preempt_delay: raw.preempt_delay.or(Duration::ZERO)?,
        accept_mode: raw.accept_mode.or(true)?,
        strict: raw.strict.or(false)?,
        virtual_mac: raw.virtual_mac.or(false)?,
        lease: raw.lease.or(Lease::Auto)?,
        checks: values(&raw.checks)?,
        track_interfaces: values(&raw.track_interfaces)?,
        hooks: values(&raw.hooks)?,
        garp: garp::announcements(&raw.garp, raw.virtual_mac.or(false)?)?,
    })
}

fn check(raw: &raw::Check) -> Option<Check> {
    let usual = raw.usual();
    let interval = raw.interval.or(usual.interval)?;
    let fast_interval = raw.fast_interval.optional()?;
    Some(Check {
        name: raw.name.value.clone(),
        probe: raw.probe.as_ref()?.value.clone(),
        preset: raw.preset.clone(),
        interval,
        fast_interval,
        timeout: raw.timeout.or(timeout_for(fast_interval.unwrap_or(interval)))?,
        rise: raw.rise.or(2)?,
        fall: raw.fall.or(3)?,
        when: raw.when.or(When::Always)?,
        effect: raw.effect.or(usual.effect)?,
    })
}

/// Nine tenths, in whole milliseconds, which is what the file can say.
fn timeout_for(interval: Duration) -> Duration {
    let tenths = interval * 9 / 10;
    Duration::new(tenths.as_secs(), tenths.subsec_millis() * 1_000_000)
}

fn hook(raw: &raw::Hook) -> Option<Hook> {
    Some(Hook {
        name: raw.name.value.clone(),
        on: values(&raw.on)?,
        exec: raw.exec.clone()?,
        timeout: raw.timeout.or(HOOK_TIMEOUT)?,
    })
}

pub(super) fn values<T: Clone>(list: &Field<Vec<At<T>>>) -> Option<Vec<T>> {
    Some(list.or(Vec::new())?.into_iter().map(|at| at.value).collect())
}
