//! The file with the secret that the nodes of a group share.

use std::path::Path;

use crate::secret_file::{self, Fault};

/// A shorter secret can be guessed.
const LEAST_OCTETS: usize = 16;
/// Nobody types more; a larger file is another one.
const MOST_OCTETS: usize = 4096;

/// Reads the secret: all of the file but the white space at its ends.
///
/// # Errors
///
/// What is wrong with the file, without a word of its contents: it cannot be read, others may read it,
/// it belongs to another user, it is too short or too long.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let wrong = |why: &str| format!("key_file {}: {why}", path.display());
    let octets = secret_file::read(path, MOST_OCTETS).map_err(|fault| match fault {
        Fault::Missing => wrong(&format!(
            "{fault}; make one with: (umask 077; head -c 32 /dev/urandom | base64 > {}), and copy it to the \
             other node",
            path.display()
        )),
        Fault::Wrong(why) => wrong(&why),
    })?;
    let secret = octets.trim_ascii();
    if secret.len() < LEAST_OCTETS {
        return Err(wrong(&format!(
            "its secret is shorter than {LEAST_OCTETS} octets; head -c 32 /dev/urandom | base64"
        )));
    }
    Ok(secret.to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_others_can_read_or_guess_is_refused_without_showing_it() {
        let directory = crate::state_dir::tests::temporary("key");
        let file = directory.join("key");
        let with = |text: &str, mode: u32| {
            fs::write(&file, text).expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("our own file");
            read(&file)
        };
        let secret = "0123456789abcdef";
        assert_eq!(with(&format!("{secret}\n"), 0o400), Ok(secret.as_bytes().to_vec()));
        fs::remove_file(&file).expect("it is there");
        for (text, mode, why) in [
            (secret, 0o440, "mode 0440"),
            (secret, 0o604, "mode 0604"),
            ("0123456789abcde \n", 0o600, "shorter than 16"),
            (&*"x".repeat(4097), 0o600, "more than 4096"),
        ] {
            let refused = with(text, mode).expect_err(why);
            assert!(refused.contains(why) && !refused.contains("0123456789"), "{refused}");
            fs::remove_file(&file).expect("it is there");
        }
        assert!(read(&file).expect_err("gone").contains("no such file"));
        assert!(read(&directory).expect_err("a directory").contains("not a file"));
    }
}
