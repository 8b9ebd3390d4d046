//! Files with secrets, which are read only where nobody else can read them.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What is wrong with a file, without its name and without a word of its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is none.
    Missing,
    /// It cannot be read, others may read or write it, it belongs to another user, or is too large.
    Wrong(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file"),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

/// Reads a file of `most` octets at most, which belongs to root or to the user that vrrpd runs as.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn read(path: &Path, most: usize) -> Result<Vec<u8>, Fault> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Fault::Missing,
        ErrorKind::PermissionDenied => {
            wrong("vrrpd may not read it; chown it to the user that vrrpd runs as, and chmod 0400".to_owned())
        }
        _ => wrong(format!("it cannot be read: {error}")),
    };
    // Whatever else a path may lead to, nothing here waits for it.
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(wrong("it is not a file".to_owned()));
    }
    let own = nix::unistd::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != own {
        return Err(wrong(format!("it belongs to uid {}, who is neither root nor vrrpd", metadata.uid())));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(wrong(format!("it is open to its group or others (mode {mode:04o}); chmod 0400")));
    }
    let mut octets = Vec::new();
    file.by_ref().take(most as u64 + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() > most {
        return Err(wrong(format!("it has more than {most} octets, which is no secret that people share")));
    }
    Ok(octets)
}

fn wrong(why: String) -> Fault {
    Fault::Wrong(why)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_may_open_or_that_is_none_is_refused() {
        let directory = crate::state_dir::tests::temporary("secret-file");
        let file = directory.join("secret");
        fs::write(&file, "0123456789abcdef").expect("written");
        let read_as = |mode: u32, most: usize| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("our own file");
            read(&file, most)
        };
        for mode in [0o640, 0o604, 0o620, 0o644] {
            let why = read_as(mode, 16).expect_err("others may read or write it").to_string();
            assert!(why.ends_with(&format!("(mode {mode:04o}); chmod 0400")), "{why}");
        }
        assert_eq!(read_as(0o400, 16), Ok(b"0123456789abcdef".to_vec()));
        assert!(read_as(0o400, 15).expect_err("too large").to_string().starts_with("it has more than 15"));
        assert_eq!(read(&directory, 16), Err(wrong("it is not a file".to_owned())));
        assert_eq!(read(&directory.join("none"), 16), Err(Fault::Missing));
    }
}
