//! `[interface.NAME]`: what all virtual routers of one interface have in common.

use std::time::Duration;

use super::diagnostic::Faults;
use super::show::{Entries, duration};
use super::table::{At, Field, Table};
use super::{Interface, raw, value};

/// As it is written.
pub(super) struct Raw {
    name: At<String>,
    announcement_spacing: Field<Duration>,
}

/// Reads one.
pub(super) fn read(name: At<String>, table: &Table<'_>, faults: &mut Faults) -> Raw {
    /// More is a fault of units rather than a wish: the last of ten addresses would wait for ten.
    const LONGEST: Duration = Duration::from_secs(1);
    if let Err(refusal) = value::interface_name("interface", &name.value) {
        faults.error(&name.span, refusal.message, refusal.label);
    }
    Raw {
        announcement_spacing: table.field("announcement_spacing", faults, |key, value| {
            value::duration(key, value, Duration::ZERO..=LONGEST)
        }),
        name,
    }
}

/// Reports those that no virtual router runs on.
pub(super) fn check(interfaces: &[Raw], routers: &[raw::VirtualRouter], faults: &mut Faults) {
    for Raw { name, .. } in interfaces {
        let used =
            routers.iter().any(|router| router.interface.or(String::new()).is_none_or(|on| on == name.value));
        if !used && !faults.incomplete() {
            let message = format!("no virtual router runs on {}", name.value);
            faults.warning(&name.span, message, "[interface.NAME] is about its virtual routers only");
        }
    }
}

/// With its defaults.
pub(super) fn config(raw: &Raw) -> Option<Interface> {
    Some(Interface {
        name: raw.name.value.clone(),
        announcement_spacing: raw.announcement_spacing.or(Duration::ZERO)?,
    })
}

/// As it is written with all defaults.
pub(super) fn entries(interface: &Interface) -> Entries {
    vec![("announcement_spacing", duration(interface.announcement_spacing))]
}
