//! The effective configuration as a file, which parses back to itself.

use std::fmt::Write;
use std::time::Duration;

use super::probe::Kind;
use super::value::{MAIN_TABLE, show_duration};
use super::{
    Check, Config, Daemon, Effect, Hook, HookState, HostRoute, Ipv4Checksum, Lease, PeerLink, Scheduling,
    TrackInterface, Url, VirtualAddress, VirtualRouter, When, authentication, dns_update, garp, interface,
    second_path, sync_group, way, witness,
};

/// Keys with their values in TOML.
pub(super) type Entries = Vec<(&'static str, String)>;

/// The configuration with every default spelt out; [`parse`](super::parse) makes the same of it.
pub fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    table(&mut text, "[daemon]", &daemon(&config.daemon));
    if let Some(link) = &config.peer_link {
        table(&mut text, "[peer_link]", &peer_link(link));
    }
    for one in &config.interfaces {
        table(&mut text, &header("interface", &one.name), &interface::entries(one));
    }
    for router in &config.virtual_routers {
        table(&mut text, &header("virtual_router", &router.name), &virtual_router(router));
    }
    for one in &config.checks {
        table(&mut text, &header("check", &one.name), &check(one));
    }
    for one in &config.hooks {
        table(&mut text, &header("hook", &one.name), &hook(one));
    }
    for one in &config.sync_groups {
        table(&mut text, &header("sync_group", &one.name), &sync_group::entries(one));
    }
    for one in &config.dns_updates {
        table(&mut text, &header("dns_update", &one.name), &dns_update::entries(one));
    }
    if !config.fixed.is_empty() {
        table(&mut text, "[static]", &config.fixed.show());
    }
    text
}

/// As [`to_toml`], with the kinds and fields that presets stand for in place of their names.
pub fn to_toml_expanded(config: &Config) -> String {
    let mut config = config.clone();
    for check in &mut config.checks {
        check.preset = None;
    }
    to_toml(&config)
}

impl std::fmt::Display for Config {
    /// As [`to_toml`].
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&to_toml(self))
    }
}

fn header(kind: &str, name: &str) -> String {
    if name.contains('.') { format!("[{kind}.\"{name}\"]") } else { format!("[{kind}.{name}]") }
}

fn table(text: &mut String, header: &str, entries: &Entries) {
    let gap = if text.is_empty() { "" } else { "\n" };
    let width = entries.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{gap}{header}");
    for (key, value) in entries {
        let _ = writeln!(text, "{key:width$} = {value}");
    }
}

pub(super) fn daemon(daemon: &Daemon) -> Entries {
    vec![
        ("node", quoted(&daemon.node)),
        ("control_socket", quoted(&daemon.control_socket.to_string_lossy())),
        ("runtime_dir", quoted(&daemon.runtime_dir.to_string_lossy())),
        ("state_dir", quoted(&daemon.state_dir.to_string_lossy())),
        ("read_group", quoted(&daemon.read_group)),
        (
            "scheduling",
            quoted(match daemon.scheduling {
                Scheduling::Realtime => "realtime",
                Scheduling::Normal => "normal",
            }),
        ),
    ]
}

pub(super) fn peer_link(link: &PeerLink) -> Entries {
    vec![
        ("listen", quoted(&link.listen.to_string())),
        ("peers", list(&link.peers, |peer| quoted(&peer.to_string()))),
        ("key_file", quoted(&link.key_file.to_string_lossy())),
    ]
}

pub(super) fn virtual_router(router: &VirtualRouter) -> Entries {
    let mut entries = vec![
        ("interface", quoted(&router.interface)),
        ("vrid", router.vrid.to_string()),
        ("version", router.version().to_string()),
        ("priority", router.priority.to_string()),
        ("advertisement_interval", quoted(&router.advertisement_interval.to_string())),
    ];
    if !router.addresses.is_empty() {
        entries.push(("addresses", list(&router.addresses, VirtualAddress::show)));
        entries.push(("extra_addresses", list(&router.extra_addresses, VirtualAddress::show)));
    }
    entries.push(("routes", list(&router.routes, HostRoute::show)));
    entries.push(("rules", list(&router.rules, way::show_rule)));
    if let Some(source) = router.source_address {
        entries.push(("source_address", quoted(&source.to_string())));
    }
    // An empty list is refused: it would be a forgotten peer more often than a wish for multicast.
    if router.peers.is_empty() {
        if !router.allowed_sources.is_empty() {
            entries.push(("allowed_sources", list(&router.allowed_sources, |net| quoted(&net.to_string()))));
        }
        entries.push(("multicast_group", quoted(&router.multicast_group.to_string())));
    } else {
        entries.push(("peers", list(&router.peers, |peer| quoted(&peer.to_string()))));
        entries.push(("min_ttl", router.min_ttl.to_string()));
    }
    if let Some(path) = &router.second_path {
        entries.push(("second_path", second_path::show(path)));
    }
    if let Some(witness) = &router.witness {
        entries.push(("witness", witness::show(witness, router.peers.is_empty())));
    }
    entries.extend([
        ("suspicion", router.suspicion.to_string()),
        ("ipv4_checksum", quoted(checksum(router.ipv4_checksum))),
        ("on_conflict", quoted(router.on_conflict.as_str())),
        ("startup_delay", duration(router.startup_delay)),
        ("carrier_delay", duration(router.carrier_delay)),
        ("preempt_mode", router.preempt_mode.to_string()),
        ("preempt_delay", duration(router.preempt_delay)),
        ("accept_mode", router.accept_mode.to_string()),
        ("strict", router.strict.to_string()),
        ("virtual_mac", router.virtual_mac.to_string()),
        ("lease", lease(router.lease)),
        ("checks", list(&router.checks, |name| quoted(name))),
        ("track_interfaces", list(&router.track_interfaces, TrackInterface::show)),
        ("hooks", list(&router.hooks, |name| quoted(name))),
        ("garp", garp::show(&router.garp)),
    ]);
    entries.extend(router.authentication.as_ref().map(|it| ("authentication", authentication::show(it))));
    entries
}

pub(super) fn check(check: &Check) -> Entries {
    let mut entries = match &check.preset {
        Some(preset) => preset.show(),
        None => check.probe.kind().show(),
    };
    entries.push(("interval", duration(check.interval)));
    if let Some(fast) = check.fast_interval {
        entries.push(("fast_interval", duration(fast)));
    }
    let when = match check.when {
        When::Active => "active",
        When::Backup => "backup",
        When::Always => "always",
    };
    entries.extend([
        ("timeout", duration(check.timeout)),
        ("rise", check.rise.to_string()),
        ("fall", check.fall.to_string()),
        ("when", quoted(when)),
        match check.effect {
            Effect::Demote => ("on_failure", quoted("demote")),
            Effect::Fault => ("on_failure", quoted("fault")),
            Effect::Alert => ("on_failure", quoted("alert")),
            Effect::Weight(weight) => ("weight", weight.to_string()),
        },
    ]);
    entries
}

pub(super) fn hook(hook: &Hook) -> Entries {
    let mut entries = vec![("on", list(&hook.on, |state| quoted(state.as_str())))];
    entries.extend(hook.exec.show());
    entries.push(("timeout", duration(hook.timeout)));
    entries
}

impl HookState {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Backup => "backup",
            Self::Fault => "fault",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for HookState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        let port = if self.port == usual { String::new() } else { format!(":{}", self.port) };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]{port}{}", self.host, self.path)
        } else {
            write!(f, "{scheme}://{}{port}{}", self.host, self.path)
        }
    }
}

fn checksum(form: Ipv4Checksum) -> &'static str {
    match form {
        Ipv4Checksum::Auto => "auto",
        Ipv4Checksum::Rfc9568 => "rfc9568",
        Ipv4Checksum::PseudoHeader => "pseudo_header",
    }
}

fn lease(lease: Lease) -> String {
    match lease {
        Lease::Auto => quoted("auto"),
        Lease::Off => quoted("off"),
        Lease::For(time) => duration(time),
    }
}

pub(super) fn duration(duration: Duration) -> String {
    quoted(&show_duration(duration))
}

pub(super) fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", "))
}

/// A table on one line.
pub(super) fn inline(entries: &Entries) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", entries.join(", "))
}

/// A basic string of TOML: on one line, and nothing in it reaches a terminal unescaped.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// The main routing table by its name.
pub(super) fn routing_table(table: u32) -> String {
    if table == MAIN_TABLE { quoted("main") } else { table.to_string() }
}
