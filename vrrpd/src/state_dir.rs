//! Files that outlive the process: written whole or not at all.

use std::fs;
use std::io::Write;
use std::path::Path;

/// Writes a file so that a crash leaves either the old or the new one; makes the directory.
///
/// # Errors
///
/// A sentence that names the file. What depends on the file goes on without it.
pub(crate) fn write(file: &Path, octets: &[u8]) -> Result<(), String> {
    let beside = file.with_extension("new");
    let written = file
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&beside, octets))
        .and_then(|()| fs::rename(&beside, file));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        format!("cannot write {}: {error}", file.display())
    })
}

/// As [`write`], and on the disk when it returns: for what must outlive a loss of power.
///
/// # Errors
///
/// A sentence that names the file. The old one is still there.
pub(crate) fn write_through(file: &Path, octets: &[u8]) -> Result<(), String> {
    let beside = file.with_extension("new");
    let directory = file.parent().unwrap_or(Path::new("/"));
    let written = fs::create_dir_all(directory)
        .and_then(|()| fs::File::create(&beside))
        .and_then(|mut new| new.write_all(octets).and_then(|()| new.sync_all()))
        .and_then(|()| fs::rename(&beside, file))
        .and_then(|()| fs::File::open(directory)?.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        format!("cannot write {}: {error}", file.display())
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// An empty directory of this test's own.
    pub(crate) fn temporary(name: &str) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("vrrpd-{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        directory
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let directory = temporary("state");
        write(&directory.join("a/b"), b"1").expect("the directory is made");
        assert_eq!(fs::read(directory.join("a/b")).expect("written"), b"1");
        let error = write(&directory.join("a/b/c"), b"2").expect_err("b is a file");
        assert!(error.contains("a/b/c"), "{error}");
    }
}
