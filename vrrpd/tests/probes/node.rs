//! `disk`, `process`, `systemd_unit`, `file` and `hosts` on this node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::unistd::geteuid;
use vrrpd::config::{Disk, File, Hosts, Mounted, Probe, Process, SystemdUnit};

use super::place::{Directory, mount};
use super::{Asked, Fixture, PATIENCE, said};

fn disk(path: &Path) -> Disk {
    Disk {
        path: path.to_owned(),
        free_percent: None,
        free_bytes: None,
        free_inodes_percent: None,
        mounted: None,
    }
}

pub(crate) async fn a_full_file_system_is_seen(fixture: Fixture) {
    let directory = Directory::new();
    let Some(_mounted) = mount(directory.path()) else { return };
    let room = disk(directory.path());
    let percent = Probe::Disk(Disk { free_percent: Some(50), ..room.clone() });
    let mut asked = Asked::new(&fixture, percent, PATIENCE);
    assert!(asked.said().await.expect("it is empty").ends_with(" has 1.0 MiB free (100 %)"));
    directory.file("ballast", &"x".repeat(600 * 1024));
    let message = asked.said().await.expect_err("more than half is used");
    assert!(message.ends_with(" has 424 KiB free (41 %); free_percent is 50"), "{message}");

    let bytes = |least| Probe::Disk(Disk { free_bytes: Some(least), ..room.clone() });
    assert!(said(&fixture, bytes(256 * 1024)).await.is_ok());
    assert!(
        said(&fixture, bytes(512 * 1024)).await.expect_err("too little").ends_with("free_bytes is 512 KiB")
    );

    let inodes = Probe::Disk(Disk { free_inodes_percent: Some(50), ..room.clone() });
    assert!(said(&fixture, inodes.clone()).await.is_ok());
    for number in 0..40 {
        directory.file(&number.to_string(), "");
    }
    let message = said(&fixture, inodes).await.expect_err("most are used");
    assert!(message.ends_with("; free_inodes_percent is 50"), "{message}");
}

pub(crate) async fn a_file_system_that_is_not_mounted_is_missed(fixture: Fixture) {
    let directory = Directory::new();
    let shown = directory.path().display().to_string();
    let with = |mounted| Probe::Disk(Disk { mounted: Some(mounted), ..disk(directory.path()) });
    let anything = with(Mounted::Anything);
    assert_eq!(said(&fixture, anything.clone()).await, Err(format!("nothing is mounted on {shown}")));
    let Some(_mounted) = mount(directory.path()) else { return };
    assert!(said(&fixture, anything).await.is_ok());
    assert!(said(&fixture, with(Mounted::From("probed".to_owned()))).await.is_ok());
    let other = said(&fixture, with(Mounted::From("/dev/sdb1".to_owned()))).await;
    assert_eq!(other, Err(format!("probed (tmpfs) is mounted on {shown}, not /dev/sdb1")));
}

/// A process that is ended with it.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("coreutils are installed"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn a_process_that_ends_is_missed(fixture: Fixture) {
    let directory = Directory::new();
    let sleeper = Sleeper::new();
    let pid = sleeper.0.id();
    let pidfile = directory.file("pid", &format!("{pid}\n"));
    let process = Process { name: Some("sleep".to_owned()), pidfile: Some(pidfile.clone()), min: 1 };
    // Between fork and exec it still has the name of this test.
    super::forked::until(|| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
    })
    .await;
    let mut asked = Asked::new(&fixture, Probe::Process(process), PATIENCE);
    assert_eq!(asked.said().await, Ok(format!("sleep runs: pid {pid}")));
    let by_name = Process { name: Some("sleep".to_owned()), pidfile: None, min: 1 };
    assert!(said(&fixture, Probe::Process(by_name)).await.is_ok());
    drop(sleeper);
    let message = asked.said().await;
    assert_eq!(message, Err(format!("pid {pid} of {} does not run", pidfile.display())));
}

/// A control group as systemd makes one for a unit, removed with it.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

pub(crate) async fn a_unit_without_processes_is_missed(fixture: Fixture) {
    let trees = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"].map(Path::new);
    let id = std::process::id();
    let unit = format!("vrrpd-probes-{id}.service");
    let probe = Probe::SystemdUnit(SystemdUnit { unit: unit.clone() });
    let mut found = 0;
    for tree in trees.iter().filter(|tree| tree.join("cgroup.procs").exists()) {
        let group = Group(tree.join(format!("vrrpd-probes-{id}.slice")).join(&unit));
        if !geteuid().is_root() || fs::create_dir_all(&group.0).is_err() {
            continue;
        }
        found += 1;
        let mut asked = Asked::new(&fixture, probe.clone(), PATIENCE);
        assert_eq!(asked.said().await, Err(format!("{unit} has no processes")));
        let sleeper = Sleeper::new();
        fs::write(group.0.join("cgroup.procs"), sleeper.0.id().to_string()).expect("the group is ours");
        let running = asked.said().await.expect("it has a process");
        assert!(
            running.starts_with(&format!("{unit} has processes (control group /vrrpd-probes-")),
            "{running}"
        );
        drop(sleeper);
        // The kernel takes a process out of its group a little after its end.
        while asked.said().await.is_ok() {}
    }
    if found == 0 {
        eprintln!("SKIPPED a case: no control group can be made");
    }
    let gone = said(&fixture, probe).await.expect_err("there is no such unit");
    assert!(gone.contains("no control group"), "{gone}");
}

pub(crate) async fn a_maintenance_file_is_seen(fixture: Fixture) {
    let directory = Directory::new();
    let path = directory.path().join("maintenance");
    let absent =
        File { path: path.clone(), absent: true, max_age: None, min: None, max: None, contains: None };
    let mut asked = Asked::new(&fixture, Probe::File(absent), PATIENCE);
    assert_eq!(asked.said().await, Ok(format!("{} does not exist", path.display())));
    directory.file("maintenance", "");
    assert_eq!(asked.said().await, Err(format!("{} exists", path.display())));
}

pub(crate) async fn a_hosts_file_is_read(fixture: Fixture) {
    let directory = Directory::new();
    let file = directory.file("hosts", "127.0.0.1 localhost\n");
    let absent = vec!["www.example.com".to_owned()];
    let hosts = Hosts { absent, mapped: Vec::new(), to: None, file: file.clone() };
    let mut asked = Asked::new(&fixture, Probe::Hosts(hosts), PATIENCE);
    let shown = file.display();
    assert_eq!(asked.said().await, Ok(format!("{shown} does not have www.example.com")));
    directory.file("hosts", "127.0.0.1 localhost\n192.0.2.193 www.example.com\n");
    assert_eq!(asked.said().await, Err(format!("{shown}:2 maps www.example.com to 192.0.2.193")));
}
