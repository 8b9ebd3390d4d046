//! User and password from a file that others cannot read. They are never shown.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;

/// What is kept of a credentials file at most.
const LONGEST: u64 = 1024;

/// The value of an `Authorization` field, which is not shown.
#[derive(Clone)]
pub(super) struct Credentials(HeaderValue);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Reads `user:password` (RFC 7617), on one line.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let shown = format!("basic_auth_file {}", file.display());
        let cannot = |error| format!("cannot read {shown}: {error}");
        // A pipe without a writer must not hold up the daemon.
        let opened =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file).map_err(cannot)?;
        let metadata = opened.metadata().map_err(cannot)?;
        if !metadata.is_file() {
            return Err(format!("{shown} is not a file"));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o027 != 0 {
            return Err(format!(
                "{shown} has mode {mode:04o}: others may read or change it; chmod 0640 or 0600"
            ));
        }
        let ours = nix::unistd::geteuid().as_raw();
        if metadata.uid() != 0 && metadata.uid() != ours {
            let owner = metadata.uid();
            return Err(format!(
                "{shown} belongs to user {owner}, who is neither root nor the user of vrrpd"
            ));
        }
        let mut text = String::new();
        opened.take(LONGEST + 1).read_to_string(&mut text).map_err(cannot)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let user = line.split_once(':').map(|(user, _)| user);
        let is_good = user.is_some_and(|user| !user.is_empty());
        if !is_good || line.len() as u64 > LONGEST || line.contains(char::is_control) {
            return Err(format!(
                "{shown} does not hold user:password on one line of at most {LONGEST} octets"
            ));
        }
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(line)))
            .map_err(|_| format!("{shown} cannot be sent"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// For the field `Authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str, mode: u32) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("vrrpd-credentials-{name}-{}", std::process::id()));
        std::fs::write(&path, text).expect("the temporary directory can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        path
    }

    #[test]
    fn credentials_are_read_and_never_shown() {
        // RFC 7617 2.
        let path = file("good", "Aladdin:open sesame\n", 0o640);
        let credentials = Credentials::read(&path).expect("the file is good");
        assert_eq!(credentials.header(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let shown = format!("{credentials:?} {:?}", credentials.header());
        assert!(!shown.contains("sesame") && !shown.contains("QWxh"), "{shown}");
        std::fs::remove_file(path).expect("it is ours");
    }

    #[test]
    fn a_file_that_others_may_read_or_change_is_refused() {
        for mode in [0o644, 0o660, 0o602, 0o601] {
            let path = file("open", "user:secret\n", mode);
            let refused = Credentials::read(&path).expect_err("it is open");
            assert!(refused.contains(&format!("has mode {mode:04o}")), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
            std::fs::remove_file(path).expect("it is ours");
        }
    }

    #[test]
    fn a_file_without_user_and_password_is_refused_without_its_content() {
        for text in ["", "secret", ":secret", "user:sec\nret", &format!("user:{}", "secret".repeat(1000))] {
            let path = file("bad", text, 0o600);
            let refused = Credentials::read(&path).expect_err("it is bad");
            assert!(
                refused.ends_with("does not hold user:password on one line of at most 1024 octets"),
                "{refused}"
            );
            std::fs::remove_file(path).expect("it is ours");
        }
        assert!(
            Credentials::read(Path::new("/does/not/exist")).expect_err("missing").starts_with("cannot read")
        );
        assert!(Credentials::read(Path::new("/dev")).expect_err("a directory").ends_with("is not a file"));
    }
}
