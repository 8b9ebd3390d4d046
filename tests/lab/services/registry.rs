//! Debian's docker-registry, with TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Certificate, Image, wait_for_port};
use crate::{Daemon, Node};

/// A running registry. Its storage stays on the node when it ends.
pub struct Registry {
    _daemon: Daemon,
}

/// Where it listens, on every address of the node.
pub const PORT: u16 = 443;

impl Registry {
    /// Programs that it takes, for [`Lab::with`](crate::Lab::with).
    pub const PROGRAMS: [&'static str; 1] = ["docker-registry"];

    /// Starts one and waits until it accepts connections.
    pub fn start(node: &Node, certificate: &Certificate) -> Self {
        let storage = storage(node);
        std::fs::create_dir_all(&storage).expect("the lab's directory is writable");
        let file = configure(node.directory(), &storage, certificate);
        let mut command = node.namespace().command("docker-registry");
        command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none");
        let mut daemon = Daemon::start("registry", command, node.directory());
        wait_for_port(node, &mut daemon, PORT);
        Self { _daemon: daemon }
    }
}

/// Writes its configuration and certificate to `directory`, with `storage` as it will see it.
pub(super) fn configure(directory: &Path, storage: &Path, certificate: &Certificate) -> PathBuf {
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("the lab's directory is writable");
        path
    };
    let crt = file("registry.crt", &certificate.certificate);
    let key = file("registry.key", &certificate.key);
    let text = format!(
        "version: 0.1\n\
         log: {{ level: error, accesslog: {{ disabled: true }} }}\n\
         storage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ enabled: true }} }}\n\
         http: {{ addr: \":{PORT}\", secret: laboratory, tls: {{ certificate: {}, key: {} }} }}\n\
         health: {{ storagedriver: {{ enabled: true }} }}\n",
        storage.display(),
        crt.display(),
        key.display(),
    );
    file("registry.yml", &text)
}

/// The directory of a node's images.
pub fn storage(node: &Node) -> PathBuf {
    node.directory().join("registry")
}

/// Takes the directory of the images away, as when a disk is not mounted.
pub fn remove_storage(node: &Node) {
    std::fs::rename(storage(node), away(node)).expect("the storage was there");
    std::fs::create_dir(storage(node)).expect("the lab's directory is writable");
}

/// Brings it back.
pub fn restore_storage(node: &Node) {
    std::fs::remove_dir_all(storage(node)).expect("the empty storage is there");
    std::fs::rename(away(node), storage(node)).expect("the storage had been taken away");
}

fn away(node: &Node) -> PathBuf {
    node.directory().join("registry.away")
}

/// Deletes the largest layer of an image from a node's disk, beneath the registry.
pub fn delete_layer(node: &Node, image: &Image) {
    let layer = image.layers().iter().max_by_key(|layer| layer.size).expect("an image has layers");
    let digest = &layer.digest;
    let blob = storage(node).join("docker/registry/v2/blobs/sha256").join(&digest[..2]).join(digest);
    std::fs::remove_file(blob.join("data")).expect("the layer was there");
}

/// A small file system that holds the images of a node. It goes when this value is dropped.
///
/// The one mount that the laboratory makes outside of a namespace: the registry and vrrpd both have to see
/// it, and vrrpd may not look through `/proc/PID/root` of others.
pub struct SmallDisk {
    path: PathBuf,
}

/// Moves the images of `node` to a file system of 4 MiB, beneath the registry.
pub fn small_disk(node: &Node) -> SmallDisk {
    let path = node.directory().join("small");
    std::fs::create_dir_all(&path).expect("the lab's directory is writable");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&path));
    let disk = SmallDisk { path };
    run(Command::new("cp").arg("-R").arg(storage(node).join(".")).arg(&disk.path));
    std::fs::rename(storage(node), away(node)).expect("the storage was there");
    std::os::unix::fs::symlink(&disk.path, storage(node)).expect("the lab's directory is writable");
    disk
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the registry may have files open. A failure would show as a mount that stays.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

impl SmallDisk {
    /// Fills it to the last block.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.path.join("full")).expect("there is space yet");
        let filled = std::io::copy(&mut std::io::repeat(0), &mut file);
        let error = filled.expect_err("a small disk ends");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}
