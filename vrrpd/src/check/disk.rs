//! The `disk` probe: how much room is left, and is it the file system that is meant?

use std::fs;
use std::io;
use std::path::Path;

use nix::sys::statvfs::{Statvfs, statvfs};

use crate::config::{Disk, Mounted, show_bytes};

/// One look. It can hang: the kernel waits for a server that exports the file system.
pub(super) fn look(disk: &Disk) -> Result<String, String> {
    let shown = disk.path.display();
    // First, because the room of what lies below a mount point that is empty is beside the point.
    if let Some(mounted) = &disk.mounted {
        check_mount(&disk.path, mounted)?;
    }
    let room = statvfs(&disk.path)
        .map_err(|errno| format!("cannot look at {shown}: {}", io::Error::from_raw_os_error(errno as i32)))?;
    judge(disk, &Room::from(&room))
}

/// What a file system has left for a user without privileges, as `df`(1) counts it.
struct Room {
    free_bytes: u64,
    all_bytes: u64,
    free_inodes: u64,
    /// 0: the file system makes them as they are needed.
    all_inodes: u64,
}

impl From<&Statvfs> for Room {
    fn from(room: &Statvfs) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(room.fragment_size());
        let used = room.blocks().saturating_sub(room.blocks_free());
        Self {
            free_bytes: bytes(room.blocks_available()),
            all_bytes: bytes(used.saturating_add(room.blocks_available())),
            free_inodes: room.files_available(),
            all_inodes: room.files(),
        }
    }
}

fn judge(disk: &Disk, room: &Room) -> Result<String, String> {
    let shown = disk.path.display();
    let bytes = percent(room.free_bytes, room.all_bytes);
    let inodes = percent(room.free_inodes, room.all_inodes);
    let mut said = format!("{shown} has {} free ({bytes} %)", show_bytes(room.free_bytes));
    if disk.free_inodes_percent.is_some() && room.all_inodes > 0 {
        said = format!("{said}, {} inodes free ({inodes} %)", room.free_inodes);
    }
    if let Some(least) = disk.free_percent.filter(|least| bytes < u64::from(*least)) {
        return Err(format!("{said}; free_percent is {least}"));
    }
    if let Some(least) = disk.free_bytes.filter(|least| room.free_bytes < *least) {
        return Err(format!("{said}; free_bytes is {}", show_bytes(least)));
    }
    let too_few = |least: &u8| room.all_inodes > 0 && inodes < u64::from(*least);
    if let Some(least) = disk.free_inodes_percent.filter(too_few) {
        return Err(format!("{said}; free_inodes_percent is {least}"));
    }
    Ok(said)
}

/// Rounded down: 2 % of room are not 3 %.
fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

fn check_mount(path: &Path, wanted: &Mounted) -> Result<(), String> {
    let shown = path.display();
    let table = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|error| format!("cannot read the mounts of this node: {error}"))?;
    let path = fs::canonicalize(path).map_err(|error| format!("cannot look at {shown}: {error}"))?;
    // Of several on top of each other the last one is seen.
    let Some(mount) = table.lines().filter_map(Mount::parse).rfind(|mount| Path::new(&mount.point) == path)
    else {
        return Err(format!("nothing is mounted on {shown}"));
    };
    match wanted {
        Mounted::Anything => Ok(()),
        Mounted::From(source) if mount.source == *source => Ok(()),
        Mounted::From(source) => {
            Err(format!("{} ({}) is mounted on {shown}, not {source}", mount.source, mount.kind))
        }
    }
}

/// A line of `/proc/self/mountinfo` (`proc`(5)).
struct Mount {
    point: String,
    kind: String,
    source: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let point = unescaped(mount.split(' ').nth(4)?);
        let mut system = system.split(' ');
        let (kind, source) = (system.next()?.to_owned(), unescaped(system.next()?));
        Some(Self { point, kind, source })
    }
}

/// Spaces and the like stand there as three octal digits.
fn unescaped(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(octet) => {
                octets.push(octet);
                rest = &others[3..];
            }
            None => {
                octets.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// For the fuzzer: what `/proc/self/mountinfo` may hold, where others choose the names.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(text: &str) {
    for mount in text.lines().filter_map(Mount::parse) {
        assert!(mount.point.len() + mount.source.len() + mount.kind.len() <= 3 * text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Disk = Disk {
        path: std::path::PathBuf::new(),
        free_percent: None,
        free_bytes: None,
        free_inodes_percent: None,
        mounted: None,
    };

    fn disk() -> Disk {
        Disk { path: "/data".into(), ..DISK }
    }

    /// 2.9 % of the octets and 4 % of the inodes are free.
    const ROOM: Room =
        Room { free_bytes: 29 << 20, all_bytes: 1000 << 20, free_inodes: 40, all_inodes: 1000 };

    #[test]
    fn each_limit_is_compared_and_named() {
        let said = |disk: &Disk| judge(disk, &ROOM);
        assert_eq!(
            said(&Disk { free_percent: Some(2), ..disk() }),
            Ok("/data has 29 MiB free (2 %)".to_owned())
        );
        let percent = said(&Disk { free_percent: Some(3), ..disk() });
        assert_eq!(percent, Err("/data has 29 MiB free (2 %); free_percent is 3".to_owned()));
        let bytes = said(&Disk { free_bytes: Some(1 << 30), ..disk() });
        assert_eq!(bytes, Err("/data has 29 MiB free (2 %); free_bytes is 1.0 GiB".to_owned()));
        assert!(said(&Disk { free_bytes: Some(29 << 20), ..disk() }).is_ok());
        let inodes = said(&Disk { free_inodes_percent: Some(5), ..disk() });
        let expected = "/data has 29 MiB free (2 %), 40 inodes free (4 %); free_inodes_percent is 5";
        assert_eq!(inodes, Err(expected.to_owned()));
        assert!(said(&Disk { free_inodes_percent: Some(4), ..disk() }).is_ok());
    }

    #[test]
    fn a_file_system_that_counts_no_inodes_has_enough() {
        let room = Room { free_inodes: 0, all_inodes: 0, ..ROOM };
        assert!(judge(&Disk { free_inodes_percent: Some(99), ..disk() }, &room).is_ok());
    }

    #[test]
    fn the_table_of_mounts_is_read_with_its_escapes() {
        let line =
            "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext3 /dev/ro\\134ot rw,errors=continue";
        let mount = Mount::parse(line).expect("as in proc(5)");
        assert_eq!(mount.point, "/mnt/a b");
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("ext3", "/dev/ro\\ot"));
        for damaged in ["", "36 35 98:0 /mnt1", "36 35 98:0 /mnt1 /mnt - ext3", " - "] {
            assert!(Mount::parse(damaged).is_none(), "{damaged}");
        }
        assert_eq!(unescaped("\\04"), "\\04");
        assert_eq!(unescaped("\\777"), "\\777", "no octet");
    }

    #[test]
    fn a_path_that_is_missing_is_named() {
        let missing = Disk { path: "/does/not/exist".into(), free_percent: Some(1), ..DISK };
        let said = look(&missing).expect_err("missing");
        assert!(said.starts_with("cannot look at /does/not/exist: "), "{said}");
        let said = look(&Disk { mounted: Some(Mounted::Anything), ..missing }).expect_err("missing");
        assert!(said.starts_with("cannot look at /does/not/exist: "), "{said}");
    }

    #[test]
    fn the_root_is_mounted_and_a_directory_is_not() {
        let mounted =
            |path: &str| look(&Disk { path: path.into(), mounted: Some(Mounted::Anything), ..DISK });
        assert!(mounted("/").is_ok());
        assert_eq!(mounted("/proc/self"), Err("nothing is mounted on /proc/self".to_owned()));
        let other = Mounted::From("192.0.2.1:/export".to_owned());
        let said = look(&Disk { path: "/proc".into(), mounted: Some(other), ..DISK }).expect_err("another");
        assert!(said.ends_with("(proc) is mounted on /proc, not 192.0.2.1:/export"), "{said}");
    }
}
