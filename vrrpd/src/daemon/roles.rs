//! Which checks are asked: those whose `when` fits the role of a virtual router that names them.

use std::collections::BTreeSet;

use crate::config::{Check, Config, When};

/// The virtual routers that are Active, by name, and the checks that are skipped because of it.
///
/// Whoever is not Active counts as Backup, also while it cannot take part: a check with
/// `when = "backup"` that failed may be the reason for that, and has to be asked to pass again.
#[derive(Debug, Default)]
pub(super) struct Roles {
    active: BTreeSet<String>,
    skipped: BTreeSet<String>,
}

impl Roles {
    /// Takes note of a role.
    pub(super) fn set(&mut self, virtual_router: &str, active: bool) {
        if active {
            self.active.insert(virtual_router.to_owned());
        } else {
            self.active.remove(virtual_router);
        }
    }

    /// Is the check asked, as of the last [`update`](Self::update)?
    pub(super) fn asks(&self, check: &str) -> bool {
        !self.skipped.contains(check)
    }

    /// Decides anew, and returns the checks that are asked now and were not, and the reverse.
    pub(super) fn update(&mut self, config: &Config) -> Vec<(String, bool)> {
        self.active.retain(|name| config.virtual_routers.iter().any(|router| router.name == *name));
        let skipped = config.checks.iter().filter(|check| !self.wants(check, config));
        let skipped: BTreeSet<String> = skipped.map(|check| check.name.clone()).collect();
        let before = std::mem::replace(&mut self.skipped, skipped);
        let changed = before.symmetric_difference(&self.skipped);
        changed.map(|name| (name.clone(), self.asks(name))).collect()
    }

    fn wants(&self, check: &Check, config: &Config) -> bool {
        let mut naming = config.virtual_routers.iter().filter(|router| router.checks.contains(&check.name));
        match check.when {
            When::Always => true,
            When::Active => naming.any(|router| self.active.contains(&router.name)),
            When::Backup => naming.any(|router| !self.active.contains(&router.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let router = |name: &str, vrid: u8, checks: &str| {
            format!(
                "[virtual_router.{name}]\ninterface = \"eth0\"\nvrid = {vrid}\naddresses = [\"192.0.2.{vrid}\"]\n\
                 checks = {checks}\n"
            )
        };
        let check = |name: &str, when: &str| {
            format!("[check.{name}]\nexec = [\"/bin/true\"]\non_failure = \"alert\"\nwhen = \"{when}\"\n")
        };
        let text = router("one", 1, "[\"active\", \"backup\", \"always\"]")
            + &router("two", 2, "[\"active\"]")
            + &check("active", "active")
            + &check("backup", "backup")
            + &check("always", "always");
        crate::config::parse("test.toml", &text).expect("a valid configuration").0
    }

    #[test]
    fn the_role_of_any_virtual_router_that_names_a_check_counts() {
        let (config, mut roles) = (config(), Roles::default());
        assert_eq!(roles.update(&config), [("active".to_owned(), false)]);
        assert!(roles.asks("backup") && roles.asks("always"));
        roles.set("two", true);
        assert_eq!(roles.update(&config), [("active".to_owned(), true)]);
        roles.set("one", true);
        assert_eq!(roles.update(&config), [("backup".to_owned(), false)]);
        roles.set("two", false);
        assert_eq!(roles.update(&config), [], "one is still Active");
        roles.set("one", false);
        let changed = [("active".to_owned(), false), ("backup".to_owned(), true)];
        assert_eq!(roles.update(&config), changed);
    }

    #[test]
    fn a_virtual_router_that_is_gone_has_no_role() {
        let (whole, mut roles) = (config(), Roles::default());
        roles.set("two", true);
        roles.update(&whole);
        let mut without = whole.clone();
        without.virtual_routers.retain(|router| router.name != "two");
        assert_eq!(roles.update(&without), [("active".to_owned(), false)]);
        assert_eq!(roles.update(&whole), [], "it starts without a role");
    }
}
