//! `disk = { ... }`.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::Kind;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::show::{Entries, inline, quoted};
use crate::config::table::Table;
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] =
    &[full("path"), full("free_percent"), full("free_bytes"), full("free_inodes_percent"), full("mounted")];

/// `disk = { path = "/var/lib/containers", free_percent = 3 }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// A path in the file system.
    pub path: PathBuf,
    /// Least share of the octets that is free, 1 to 99.
    pub free_percent: Option<u8>,
    /// Fewest octets that are free.
    pub free_bytes: Option<u64>,
    /// Least share of the inodes that is free, 1 to 99.
    pub free_inodes_percent: Option<u8>,
    /// What must be mounted on the path itself.
    pub mounted: Option<Mounted>,
}

/// `mounted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// `true`: something.
    Anything,
    /// A device, or what else stands as source in the table of mounts: `server:/export`.
    From(String),
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Disk> {
    let table = check.table("disk", KEYS, faults);
    let table = table.given()?;
    let path = table.required("path", "as in path = \"/var/lib/containers\"", faults, value::absolute_path);
    let percent = |key: &str, value: &DeValue<'_>| {
        value::count(key, value, 1..=99).map(|percent| u8::try_from(percent).unwrap_or(u8::MAX))
    };
    let free_percent = table.field("free_percent", faults, percent);
    let free_bytes = table.field("free_bytes", faults, bytes);
    let free_inodes_percent = table.field("free_inodes_percent", faults, percent);
    let mounted = table.field("mounted", faults, mounted);
    if KEYS[1..].iter().all(|key| table.key(key.name).is_none()) && !faults.incomplete() {
        faults.error(
            &table.span,
            format!("[{}] asks nothing of the disk", table.path),
            "one or more of free_percent, free_bytes, free_inodes_percent and mounted",
        );
    }
    Some(Disk {
        path: path.given()?.clone(),
        free_percent: free_percent.optional()?,
        free_bytes: free_bytes.optional()?,
        free_inodes_percent: free_inodes_percent.optional()?,
        mounted: mounted.optional()?,
    })
}

fn mounted(key: &str, value: &DeValue<'_>) -> Read<Mounted> {
    match value {
        DeValue::Boolean(true) => Ok(Mounted::Anything),
        DeValue::Boolean(false) => refuse(format!("{key} = false asks nothing"), "leave it out"),
        DeValue::String(source) if !source.is_empty() => Ok(Mounted::From(source.to_string())),
        other => refuse(
            format!("{key} must be true or a device, not {}", value::kind(other)),
            "as in mounted = \"/dev/sdb1\" or mounted = true",
        ),
    }
}

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

fn bytes(key: &str, value: &DeValue<'_>) -> Read<u64> {
    let text = value::string(key, value)?;
    let split = UNITS.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?.trim_end(), *size)));
    let Some((number, size)) = split else {
        return refuse(
            format!("{key} {text:?} is not a size"),
            "a whole number with KiB, MiB, GiB or TiB: \"10GiB\"",
        );
    };
    match number.parse::<u64>().ok().filter(|_| !number.starts_with('+')).and_then(|n| n.checked_mul(size)) {
        Some(bytes @ 1..) => Ok(bytes),
        _ => refuse(format!("{key} {text:?} is out of range 1KiB..=16777215TiB"), ""),
    }
}

/// As it is written in the file: with the largest unit of which it is a multiple.
fn written(bytes: u64) -> String {
    let (unit, size) =
        UNITS.iter().find(|(_, size)| bytes.is_multiple_of(*size)).unwrap_or(&("KiB", 1 << 10));
    format!("{}{unit}", bytes / size)
}

/// For people: three digits, with the largest unit of which there is one at least.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let Some((unit, size)) = UNITS.iter().find(|(_, size)| bytes >= *size) else {
        return format!("{bytes} B");
    };
    // Tenths, rounded down: what is free is not less than what is said.
    let tenths = u128::from(bytes) * 10 / u128::from(*size);
    if tenths < 100 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

impl Kind for Disk {
    fn show(&self) -> Entries {
        let mut entries = vec![("path", quoted(&self.path.to_string_lossy()))];
        entries.extend(self.free_percent.map(|percent| ("free_percent", percent.to_string())));
        entries.extend(self.free_bytes.map(|bytes| ("free_bytes", quoted(&written(bytes)))));
        entries.extend(self.free_inodes_percent.map(|percent| ("free_inodes_percent", percent.to_string())));
        match &self.mounted {
            Some(Mounted::Anything) => entries.push(("mounted", String::from("true"))),
            Some(Mounted::From(source)) => entries.push(("mounted", quoted(source))),
            None => {}
        }
        vec![("disk", inline(&entries))]
    }

    fn files(&self) -> Vec<(&'static str, &Path)> {
        vec![("path", &self.path)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_alike() {
        for size in ["1KiB", "1500MiB", "10GiB", "16777215TiB"] {
            let read = bytes("free_bytes", &DeValue::String(size.into())).expect(size);
            assert_eq!(written(read), size);
        }
        for wrong in ["10", "10GB", "0KiB", "-1KiB", "+1KiB", "1.5GiB", "16777216TiB", "GiB", ""] {
            assert!(bytes("free_bytes", &DeValue::String(wrong.into())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_with_two_or_three_digits() {
        let shown = [0, 1023, 1024, 1536, 10 << 20, 3 << 29, u64::MAX].map(show_bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 MiB", "1.5 GiB", "16777215 TiB"]);
    }
}
