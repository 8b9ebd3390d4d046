//! The secrets that `authentication` names: read when the configuration is, and never shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vrrp_proto::packet::{Key, Password};
use vrrp_proto::parameters::{Authentication, Keyring};
use zeroize::Zeroizing;

use crate::config::{self, Config, PasswordSource};
use crate::secret_file;

/// A password and the end of its line; whatever is longer is something else.
const LARGEST_OCTETS: usize = 64;
/// 64 octets in hexadecimal, and what may stand around them.
const LARGEST_KEY: usize = 256;

/// How the advertisements of each virtual router are authenticated, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Secrets(BTreeMap<String, Authentication>);

impl Secrets {
    /// Reads every file that the configuration names.
    ///
    /// # Errors
    ///
    /// A sentence for each file that cannot be used, without a word of its contents.
    pub(crate) fn load(config: &Config) -> Result<Self, Vec<String>> {
        let (mut read, mut faults) = (BTreeMap::new(), Vec::new());
        for router in &config.virtual_routers {
            match router.authentication.as_ref().map_or(Ok(Authentication::None), secret) {
                Ok(authentication) => drop(read.insert(router.name.clone(), authentication)),
                Err(why) => faults.push(format!("[virtual_router.{}] authentication: {why}", router.name)),
            }
        }
        if faults.is_empty() { Ok(Self(read)) } else { Err(faults) }
    }

    /// That of the virtual router with this name.
    pub(crate) fn of(&self, name: &str) -> Authentication {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// The virtual routers of both configurations that have another secret than in `before`, though
    /// the configuration may show nothing of it.
    pub(crate) fn changed<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a str> {
        let other =
            |(name, now): &(&String, &Authentication)| before.0.get(*name).is_some_and(|old| old != *now);
        self.0.iter().filter(other).map(|(name, _)| name.as_str())
    }
}

fn secret(authentication: &config::Authentication) -> Result<Authentication, String> {
    match authentication {
        config::Authentication::Pass(PasswordSource::Here(password)) => {
            Ok(Authentication::Password(*password))
        }
        config::Authentication::Hmac(keys) => keyring(keys),
        config::Authentication::Pass(PasswordSource::File(path)) => {
            password(path).map(Authentication::Password).map_err(|why| format!("{}: {why}", path.display()))
        }
    }
}

fn keyring(keys: &config::Keys) -> Result<Authentication, String> {
    let read = |(number, path): &(u8, PathBuf)| {
        key(*number, path).map_err(|why| format!("key {number}: {}: {why}", path.display()))
    };
    let read = keys.files.iter().map(read).collect::<Result<_, _>>()?;
    let ring = Keyring::new(read, keys.active, keys.mode, keys.replay);
    Ok(Authentication::Keyed(Arc::new(ring.expect("the configuration has the active key among them"))))
}

/// As keepalived takes it: `hex:` and digits, or the octets themselves; a file may end with a newline.
fn key(number: u8, path: &Path) -> Result<Key, String> {
    let octets = Zeroizing::new(secret_file::read(path, LARGEST_KEY).map_err(|fault| fault.to_string())?);
    let line = octets.strip_suffix(b"\n").unwrap_or(&octets);
    let secret = match line.strip_prefix(b"hex:") {
        Some(digits) => Zeroizing::new(from_hex(digits.trim_ascii()).ok_or("it is not hexadecimal")?),
        None => Zeroizing::new(line.to_vec()),
    };
    Key::new(number, &secret).ok_or_else(|| {
        format!(
            "its key has {} octets, out of range 32..=64; (umask 077; echo hex:$(openssl rand -hex 32) > FILE)",
            secret.len()
        )
    })
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let octet = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(octet).collect())?
}

fn password(path: &Path) -> Result<Password, String> {
    let octets = secret_file::read(path, LARGEST_OCTETS).map_err(|fault| fault.to_string())?;
    let line = octets.trim_ascii_end();
    Password::new(line).ok_or_else(|| {
        format!("its password has {} octets, out of range 1..=8, or a zero octet in it", line.len())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    fn config(password: &str) -> Config {
        let text = format!(
            "[virtual_router.a]\ninterface = \"eth0\"\nvrid = 7\nversion = 2\naddresses = [\"192.0.2.7\"]\n\
             authentication = {{ type = \"pass\", {password} }}\n\
             [virtual_router.b]\ninterface = \"eth0\"\nvrid = 8\naddresses = [\"192.0.2.8\"]\n"
        );
        config::parse("test", &text).expect("valid").0
    }

    fn write(file: &PathBuf, text: &str) {
        let _ = fs::remove_file(file);
        fs::write(file, text).expect("written");
        fs::set_permissions(file, fs::Permissions::from_mode(0o400)).expect("our own file");
    }

    #[test]
    fn a_password_comes_from_the_configuration_or_from_a_file_and_a_change_is_noticed() {
        let directory = crate::state_dir::tests::temporary("password");
        let file = directory.join("password");
        let named = config(&format!("password_file = \"{}\"", file.display()));
        write(&file, "s3cr3t\n");
        let before = Secrets::load(&named).expect("readable");
        assert_eq!(before, Secrets::load(&config("password = \"s3cr3t\"")).expect("nothing to read"));
        assert_eq!(before.of("b"), Authentication::None);
        assert_eq!(before.of("nobody"), Authentication::None);
        write(&file, "other\n");
        let after = Secrets::load(&named).expect("readable");
        assert_eq!(Vec::from_iter(after.changed(&before)), ["a"]);
        assert_eq!(after.changed(&after).count(), 0);
    }

    #[test]
    fn a_key_is_hexadecimal_or_the_octets_of_its_file_and_is_not_shown() {
        let directory = crate::state_dir::tests::temporary("vrrp-key");
        let file = directory.join("key");
        let hmac = |mode: &str| {
            let text = format!(
                "[virtual_router.a]\ninterface = \"eth0\"\nvrid = 7\naddresses = [\"192.0.2.7\"]\n\
                 authentication = {{ type = \"hmac-sha256\", keys = {{ 3 = \"file:{}\" }}, mode = \"{mode}\" }}\n",
                file.display()
            );
            config::parse("test", &text).expect("valid").0
        };
        let load = |text: &str| {
            write(&file, text);
            Secrets::load(&hmac("enforce")).map(|secrets| secrets.of("a"))
        };
        let ascii = "0123456789abcdef0123456789abcdef";
        let hex: String = ascii.bytes().map(|octet| format!("{octet:02x}")).collect();
        let raw = load(ascii).expect("32 octets");
        assert_eq!(load(&format!("{ascii}\n")), Ok(raw.clone()));
        assert_eq!(load(&format!("hex:{hex}\n")), Ok(raw.clone()));
        assert_eq!(load(&format!("hex:{}", hex.to_uppercase())), Ok(raw.clone()));
        assert!(!format!("{raw:?}").contains("48, 49"), "{raw:?}");
        for (text, why) in [
            (&ascii[1..], "31 octets, out of range 32..=64"),
            (&"x".repeat(65), "65 octets, out of range 32..=64"),
            (&format!("hex:{}", &hex[1..]), "it is not hexadecimal"),
            (&format!("hex:{}zz", &hex[2..]), "it is not hexadecimal"),
        ] {
            let faults = load(text).expect_err(why).concat();
            assert!(faults.contains(why) && !faults.contains(&ascii[1..]), "{faults}");
        }
        write(&file, ascii);
        let before = Secrets::load(&hmac("permissive")).expect("readable");
        assert_eq!(before.changed(&before).count(), 0);
        write(&file, &ascii.replace('0', "x"));
        assert_eq!(Secrets::load(&hmac("permissive")).expect("readable").changed(&before).count(), 1);
    }

    #[test]
    fn a_file_that_holds_no_password_is_named_and_what_it_holds_is_not() {
        let directory = crate::state_dir::tests::temporary("no-password");
        let file = directory.join("password");
        let named = config(&format!("password_file = \"{}\"", file.display()));
        for text in ["", "\n", "ninebytes", "nul\0", &"x".repeat(65)] {
            write(&file, text);
            let faults = Secrets::load(&named).expect_err(text);
            let [fault] = &faults[..] else { panic!("{faults:?}") };
            let begins = format!("[virtual_router.a] authentication: {}: it", file.display());
            assert!(fault.starts_with(&begins) && !fault.contains("ninebytes"), "{fault}");
        }
    }
}
