//! What a reload changes: two configurations compared, in types for the daemon and in sentences
//! for the log.

use std::fmt;

use super::show::{self, Entries};
use super::{Config, dns_update, interface, sync_group};

/// One table that is not the same in both configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which table.
    pub section: Section,
    /// What happened to it.
    pub change: Change,
}

/// A table of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// `[daemon]`, which is read at start only.
    Daemon,
    /// `[peer_link]`.
    PeerLink,
    /// `[interface.NAME]`.
    Interface(String),
    /// `[virtual_router.NAME]`.
    VirtualRouter(String),
    /// `[check.NAME]`.
    Check(String),
    /// `[hook.NAME]`.
    Hook(String),
    /// `[sync_group.NAME]`.
    SyncGroup(String),
    /// `[dns_update.NAME]`.
    DnsUpdate(String),
    /// `[static]`.
    Static,
}

/// What happened to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// These keys have other values, at least one.
    Changed(Vec<KeyChange>),
}

/// A key with its values as [`to_toml`](super::to_toml) writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Name of the key, `priority` for example.
    pub key: &'static str,
    /// Value before; `None`: not set.
    pub old: Option<String>,
    /// Value after; `None`: not set.
    pub new: Option<String>,
}

impl Difference {
    /// Does it take effect only when the daemon is started again?
    pub fn needs_restart(&self) -> bool {
        self.section == Section::Daemon
    }
}

/// What differs, in the order of the new configuration, with what was removed last of its kind.
///
/// Where tables stand in the file is no difference. Empty exactly when nothing has to be done.
pub fn differences(old: &Config, new: &Config) -> Vec<Difference> {
    let daemon = (show::daemon(&old.daemon), show::daemon(&new.daemon));
    let mut all = Vec::new();
    compare(&[(Section::Daemon, daemon.0)], &[(Section::Daemon, daemon.1)], &mut all);
    compare(&peer_link(old), &peer_link(new), &mut all);
    compare(&interfaces(old), &interfaces(new), &mut all);
    compare(&virtual_routers(old), &virtual_routers(new), &mut all);
    compare(&checks(old), &checks(new), &mut all);
    compare(&hooks(old), &hooks(new), &mut all);
    compare(&sync_groups(old), &sync_groups(new), &mut all);
    compare(&dns_updates(old), &dns_updates(new), &mut all);
    compare(&fixed(old), &fixed(new), &mut all);
    all
}

type Tables = Vec<(Section, Entries)>;

fn peer_link(config: &Config) -> Tables {
    config.peer_link.iter().map(|link| (Section::PeerLink, show::peer_link(link))).collect()
}

fn interfaces(config: &Config) -> Tables {
    let all = config.interfaces.iter();
    all.map(|one| (Section::Interface(one.name.clone()), interface::entries(one))).collect()
}

fn virtual_routers(config: &Config) -> Tables {
    let all = config.virtual_routers.iter();
    all.map(|one| (Section::VirtualRouter(one.name.clone()), show::virtual_router(one))).collect()
}

fn checks(config: &Config) -> Tables {
    config.checks.iter().map(|one| (Section::Check(one.name.clone()), show::check(one))).collect()
}

fn hooks(config: &Config) -> Tables {
    config.hooks.iter().map(|one| (Section::Hook(one.name.clone()), show::hook(one))).collect()
}

fn sync_groups(config: &Config) -> Tables {
    let all = config.sync_groups.iter();
    all.map(|one| (Section::SyncGroup(one.name.clone()), sync_group::entries(one))).collect()
}

fn dns_updates(config: &Config) -> Tables {
    let all = config.dns_updates.iter();
    all.map(|one| (Section::DnsUpdate(one.name.clone()), dns_update::entries(one))).collect()
}

fn fixed(config: &Config) -> Tables {
    let fixed = Some(&config.fixed).filter(|fixed| !fixed.is_empty());
    fixed.map(|fixed| (Section::Static, fixed.show())).into_iter().collect()
}

fn compare(old: &[(Section, Entries)], new: &[(Section, Entries)], all: &mut Vec<Difference>) {
    let missing =
        |section: &Section, tables: &[(Section, Entries)]| !tables.iter().any(|(other, _)| other == section);
    for (section, entries) in new {
        let change = match old.iter().find(|(other, _)| other == section) {
            None => Change::Added,
            Some((_, before)) => match changed_keys(before, entries) {
                keys if keys.is_empty() => continue,
                keys => Change::Changed(keys),
            },
        };
        all.push(Difference { section: section.clone(), change });
    }
    for (section, _) in old.iter().filter(|(section, _)| missing(section, new)) {
        all.push(Difference { section: section.clone(), change: Change::Removed });
    }
}

fn changed_keys(old: &Entries, new: &Entries) -> Vec<KeyChange> {
    let value = |entries: &Entries, key: &str| {
        entries.iter().find(|(other, _)| *other == key).map(|(_, value)| value.clone())
    };
    let gone = old.iter().filter(|(key, _)| value(new, key).is_none());
    let keys = new.iter().chain(gone).map(|(key, _)| *key);
    keys.map(|key| KeyChange { key, old: value(old, key), new: value(new, key) })
        .filter(|change| change.old != change.new)
        .collect()
}

impl fmt::Display for Section {
    /// As in the header: `virtual_router.bootstrap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon => f.write_str("daemon"),
            Self::PeerLink => f.write_str("peer_link"),
            Self::Interface(name) => write!(f, "interface.{name}"),
            Self::VirtualRouter(name) => write!(f, "virtual_router.{name}"),
            Self::Check(name) => write!(f, "check.{name}"),
            Self::Hook(name) => write!(f, "hook.{name}"),
            Self::SyncGroup(name) => write!(f, "sync_group.{name}"),
            Self::DnsUpdate(name) => write!(f, "dns_update.{name}"),
            Self::Static => f.write_str("static"),
        }
    }
}

impl fmt::Display for KeyChange {
    /// `priority 150 -> 120`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| String::from("unset"));
        write!(f, "{} {} -> {}", self.key, shown(&self.old), shown(&self.new))
    }
}

impl fmt::Display for Difference {
    /// `virtual_router.bootstrap: priority 150 -> 120`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.section)?;
        match &self.change {
            Change::Added => f.write_str("added")?,
            Change::Removed => f.write_str("removed")?,
            Change::Changed(keys) => {
                for (index, key) in keys.iter().enumerate() {
                    write!(f, "{}{key}", if index == 0 { "" } else { ", " })?;
                }
            }
        }
        if self.needs_restart() { f.write_str(" (takes effect after a restart)") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
        [virtual_router.bootstrap]
        interface = "eth0"
        vrid = 201
        priority = 150
        addresses = ["192.0.2.201"]
        checks = ["files"]
        [check.files]
        exec = ["/bin/true"]
    "#;

    fn changes(edit: impl Fn(&str) -> String) -> Vec<String> {
        let parse = |text: &str| super::super::parse("test", text).expect("the text is right").0;
        differences(&parse(BASE), &parse(&edit(BASE))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_file_has_no_difference() {
        assert!(changes(str::to_owned).is_empty());
    }

    #[test]
    fn a_changed_key_is_a_sentence() {
        let edit = |text: &str| text.replace("priority = 150", "priority = 120");
        assert_eq!(changes(edit), ["virtual_router.bootstrap: priority 150 -> 120"]);
    }

    #[test]
    fn a_default_spelt_out_is_no_difference() {
        assert!(changes(|text| text.replace("vrid = 201", "vrid = 201\nstrict = false")).is_empty());
    }

    #[test]
    fn the_order_of_tables_is_no_difference() {
        let moved = |text: &str| {
            let (router, check) = text.split_at(text.find("[check").expect("there is a check"));
            format!("{check}{router}")
        };
        assert!(changes(moved).is_empty());
    }

    #[test]
    fn tables_come_and_go() {
        let edit = |text: &str| text.replace("bootstrap", "other");
        assert_eq!(changes(edit), ["virtual_router.other: added", "virtual_router.bootstrap: removed"]);
    }

    #[test]
    fn an_optional_key_can_be_set_and_unset() {
        let edit =
            |text: &str| text.replace("[\"/bin/true\"]", "[\"/bin/true\"]\nuser = \"alice\"\nweight = -60");
        assert_eq!(
            changes(edit),
            ["check.files: user unset -> \"alice\", weight unset -> -60, on_failure \"demote\" -> unset"]
        );
    }

    #[test]
    fn the_daemon_table_needs_a_restart() {
        let edit = |text: &str| format!("{text}\n[daemon]\nscheduling = \"normal\"");
        assert_eq!(
            changes(edit),
            ["daemon: scheduling \"realtime\" -> \"normal\" (takes effect after a restart)"]
        );
    }
}
