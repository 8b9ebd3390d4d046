//! The secrets that `authentication` names: read when the configuration is, and never shown.

use std::collections::BTreeMap;
use std::path::Path;

use vrrp_proto::packet::Password;
use vrrp_proto::parameters::Authentication;

use crate::config::{self, Config, PasswordSource};
use crate::secret_file;

/// A password and the end of its line; whatever is longer is something else.
const LARGEST_OCTETS: usize = 64;

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
        config::Authentication::Pass(PasswordSource::File(path)) => {
            password(path).map(Authentication::Password).map_err(|why| format!("{}: {why}", path.display()))
        }
    }
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
