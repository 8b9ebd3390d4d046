//! The file with the secret of a TSIG key.

use std::fmt;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::config::Tsig;
use crate::secret_file;

/// A key statement has some hundred octets.
const LARGEST_OCTETS: usize = 64 * 1024;

/// The secret of a key, which is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Reads the file of a key.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, without a word of its contents: it cannot be read, others may
    /// read it, it belongs to another user, it is for another key, or holds no secret.
    pub(crate) fn read(tsig: &Tsig) -> Result<Self, String> {
        let path = &tsig.secret_file;
        let text = read(path).map_err(|why| format!("secret_file {}: {why}", path.display()))?;
        parse(&text, tsig).map_err(|why| format!("secret_file {}: {why}", path.display()))
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

fn read(path: &Path) -> Result<String, String> {
    let octets = secret_file::read(path, LARGEST_OCTETS).map_err(|fault| fault.to_string())?;
    String::from_utf8(octets).map_err(|_| String::from("it is not text"))
}

/// The secret alone, or the statement that `tsig-keygen` writes.
fn parse(text: &str, tsig: &Tsig) -> Result<Secret, String> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || "{};\"".contains(c)).filter(|w| !w.is_empty()).collect();
    let after = |word: &str| words.iter().skip_while(|each| **each != word).nth(1).copied();
    let base64 = match &words[..] {
        [] => return Err(String::from("it is empty")),
        [only] => only,
        _ => {
            let is_ours = |name: &str| name.trim_end_matches('.').eq_ignore_ascii_case(&tsig.name);
            if let Some(other) = after("key").filter(|name| !is_ours(name)) {
                return Err(format!("it is for the key {other}, not for {}", tsig.name));
            }
            let algorithm = tsig.algorithm.as_str();
            if let Some(other) = after("algorithm").filter(|other| !other.eq_ignore_ascii_case(algorithm)) {
                return Err(format!("its key is for {other}, not for {algorithm}"));
            }
            after("secret").ok_or("it has neither base64 alone nor a statement of tsig-keygen")?
        }
    };
    // Not the error itself: it would tell of a letter and its place.
    let octets = BASE64_STANDARD.decode(base64).map_err(|_| "its secret is not base64")?;
    if octets.is_empty() { Err(String::from("its secret is empty")) } else { Ok(Secret(octets)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;
    use crate::config::TsigAlgorithm;

    fn tsig(secret_file: PathBuf) -> Tsig {
        Tsig { name: "vrrpd-a".to_owned(), algorithm: TsigAlgorithm::HmacSha256, secret_file }
    }

    fn parsed(text: &str) -> Result<Vec<u8>, String> {
        parse(text, &tsig(PathBuf::new())).map(|secret| secret.0)
    }

    const STATEMENT: &str = "key \"vrrpd-A.\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n";

    #[test]
    fn a_secret_is_base64_or_a_statement() {
        assert_eq!(parsed("c2VjcmV0\n"), Ok(b"secret".to_vec()));
        assert_eq!(parsed(STATEMENT), Ok(b"secret".to_vec()));
        for (text, why) in [
            ("", "it is empty"),
            ("c2VjcmV", "its secret is not base64"),
            ("two words", "it has neither base64 alone nor a statement of tsig-keygen"),
            (&STATEMENT.replace("vrrpd-A", "vrrpd-b"), "it is for the key vrrpd-b., not for vrrpd-a"),
            (&STATEMENT.replace("sha256", "sha512"), "its key is for hmac-sha512, not for hmac-sha256"),
        ] {
            assert_eq!(parsed(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused_and_none_is_ever_shown() {
        let dir = std::env::temp_dir().join(format!("vrrpd-secret-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        let file = dir.join("tsig.key");
        std::fs::write(&file, STATEMENT).expect("the temporary directory can be written");
        let read_as = |mode: u32| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("our own file");
            Secret::read(&tsig(file.clone()))
        };
        let why = read_as(0o640).expect_err("others may read it");
        assert!(why.ends_with("(mode 0640); chmod 0400"), "{why}");
        let secret = read_as(0o400).expect("nobody else may read it");
        assert_eq!(secret.octets(), b"secret");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(Secret::read(&tsig(dir.clone())).expect_err("a directory").ends_with("it is not a file"));
        let missing = Secret::read(&tsig(dir.join("none"))).expect_err("missing");
        assert!(missing.ends_with("none: there is no such file"), "{missing}");
        std::fs::remove_dir_all(&dir).expect("the temporary directory can be removed");
    }
}
