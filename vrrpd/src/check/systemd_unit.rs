//! The `systemd_unit` probe: has the unit processes?
//!
//! systemd keeps the processes of a unit in a control group of their own, whose name is that of the
//! unit, and the kernel knows whether there are any. To look there needs no right, no bus and no
//! systemd that answers. `ActiveState` is not known that way; what runs is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::SystemdUnit;

/// Where the tree that systemd keeps can be: version 2 alone, both versions, version 1.
const TREES: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
/// Slices in slices; `a-b-c.slice` is three deep.
const DEPTH: usize = 8;
/// Directories that are looked at: a tree of that size is no work of systemd.
const MOST: usize = 10_000;

/// One look.
pub(super) fn look(unit: &SystemdUnit) -> Result<String, String> {
    look_in(&TREES.map(Path::new), &unit.unit)
}

fn look_in(trees: &[&Path], unit: &str) -> Result<String, String> {
    let mut found = None;
    let mut any_tree = false;
    for tree in trees.iter().filter(|tree| is_tree(tree)) {
        any_tree = true;
        if let Some(group) = find(tree, unit) {
            match populated(&group) {
                Ok(true) => {
                    let place = group.strip_prefix(tree).unwrap_or(&group).display().to_string();
                    return Ok(format!("{unit} has processes (control group /{place})"));
                }
                Ok(false) => found = Some(format!("{unit} has no processes")),
                // It may have gone between the two looks.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("cannot look at {}: {error}", group.display())),
            }
        }
    }
    Err(match found {
        Some(said) => said,
        None if any_tree => format!("{unit} does not run: it has no control group"),
        None => "this node has no control groups of systemd below /sys/fs/cgroup".to_owned(),
    })
}

fn is_tree(tree: &Path) -> bool {
    tree.join("cgroup.procs").exists()
}

/// The control group of that name, in whatever slice. Only slices are searched: what lies below a
/// service or a container is not the work of systemd.
fn find(tree: &Path, unit: &str) -> Option<PathBuf> {
    let mut level = vec![tree.to_owned()];
    let mut looked = 0;
    for _ in 0..=DEPTH {
        let mut below = Vec::new();
        for slice in level {
            let group = slice.join(unit);
            if group.is_dir() {
                return Some(group);
            }
            let entries = fs::read_dir(slice).into_iter().flatten().flatten();
            for entry in entries.take(MOST - looked.min(MOST)) {
                looked += 1;
                if entry.path().extension().is_some_and(|extension| extension == "slice") {
                    below.push(entry.path());
                }
            }
        }
        level = below;
    }
    None
}

/// Has the group, or one below it, a process? Version 2 tells; of version 1 the lists are read.
fn populated(group: &Path) -> io::Result<bool> {
    if let Ok(events) = fs::read_to_string(group.join("cgroup.events")) {
        return Ok(events.lines().any(|line| line == "populated 1"));
    }
    let mut groups = vec![group.to_owned()];
    let mut looked = 0;
    while let Some(group) = groups.pop() {
        looked += 1;
        if !fs::read_to_string(group.join("cgroup.procs"))?.trim().is_empty() {
            return Ok(true);
        }
        let below =
            fs::read_dir(&group)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups.extend(below.map(|entry| entry.path()).take(MOST - looked.min(MOST)));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    /// A tree of version 2 with these groups.
    fn unified(scratch: &Scratch, groups: &[(&str, bool)]) {
        scratch.write("v2/cgroup.procs", "1\n");
        for (group, populated) in groups {
            let events = format!("populated {}\nfrozen 0\n", u8::from(*populated));
            scratch.write(&format!("v2/{group}/cgroup.events"), &events);
        }
    }

    fn look_at(scratch: &Scratch, unit: &str) -> Result<String, String> {
        look_in(&[&scratch.path("v2"), &scratch.path("missing"), &scratch.path("v1")], unit)
    }

    #[test]
    fn the_kernel_says_whether_a_unit_has_processes() {
        let scratch = Scratch::new();
        unified(
            &scratch,
            &[
                ("system.slice/haproxy.service", true),
                ("system.slice/nginx.service", false),
                ("init.scope", true),
            ],
        );
        let said = "haproxy.service has processes (control group /system.slice/haproxy.service)";
        assert_eq!(look_at(&scratch, "haproxy.service"), Ok(said.to_owned()));
        assert_eq!(look_at(&scratch, "nginx.service"), Err("nginx.service has no processes".to_owned()));
        let said = "named.service does not run: it has no control group";
        assert_eq!(look_at(&scratch, "named.service"), Err(said.to_owned()));
        assert!(look_at(&scratch, "init.scope").is_ok());
    }

    #[test]
    fn a_unit_is_found_in_any_slice_and_nowhere_else() {
        let scratch = Scratch::new();
        unified(
            &scratch,
            &[
                ("system.slice/system-getty.slice/getty@tty1.service", true),
                ("system.slice/podman.service/haproxy.service", true),
            ],
        );
        assert!(look_at(&scratch, "getty@tty1.service").is_ok());
        assert!(look_at(&scratch, "haproxy.service").is_err(), "the one of a container is another");
    }

    #[test]
    fn of_version_1_the_lists_of_processes_are_read() {
        let scratch = Scratch::new();
        // Both versions at once: of the two trees, one has the unit.
        unified(&scratch, &[]);
        scratch.write("v1/cgroup.procs", "1\n");
        scratch.write("v1/system.slice/haproxy.service/cgroup.procs", "");
        assert_eq!(look_at(&scratch, "haproxy.service"), Err("haproxy.service has no processes".to_owned()));
        scratch.write("v1/system.slice/haproxy.service/worker/cgroup.procs", "4711\n");
        assert!(look_at(&scratch, "haproxy.service").is_ok());
    }

    #[test]
    fn a_node_without_systemd_says_so() {
        let scratch = Scratch::new();
        let said = look_at(&scratch, "haproxy.service").expect_err("there is nothing");
        assert_eq!(said, "this node has no control groups of systemd below /sys/fs/cgroup");
    }
}
