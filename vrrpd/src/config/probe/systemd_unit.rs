//! `systemd_unit = { ... }`.

use toml::de::DeValue;

use super::Kind;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::show::{Entries, inline, quoted};
use crate::config::table::Table;
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[full("unit")];

/// `systemd_unit = { unit = "haproxy.service" }`: proves that the unit has processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemdUnit {
    /// A service, scope or slice with its suffix.
    pub unit: String,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<SystemdUnit> {
    let table = check.table("systemd_unit", KEYS, faults);
    let unit = table.given()?.required("unit", "as in unit = \"haproxy.service\"", faults, unit_name);
    Some(SystemdUnit { unit: unit.given()?.clone() })
}

fn unit_name(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = value::string(key, value)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    let Some((name, kind)) = text.rsplit_once('.').filter(|(name, _)| !name.is_empty()) else {
        return refuse(format!("{key} {text:?} has no suffix"), format!("write \"{text}.service\""));
    };
    if !matches!(kind, "service" | "scope" | "slice") {
        return refuse(
            format!("{key} {text:?} is of a kind that has no processes"),
            "a .service, .scope or .slice",
        );
    }
    if text.len() > 255 || !name.chars().all(allowed) {
        return refuse(format!("{key} {text:?} is not the name of a unit"), "as systemctl shows it");
    }
    if name.ends_with('@') {
        return refuse(format!("{key} {text:?} is a template"), "with its instance: getty@tty1.service");
    }
    Ok(text.to_owned())
}

impl Kind for SystemdUnit {
    fn show(&self) -> Entries {
        vec![("systemd_unit", inline(&vec![("unit", quoted(&self.unit))]))]
    }
}
