//! `track_interfaces = [{ ... }]`: interfaces whose state counts for a virtual router.

use std::time::Duration;

use super::Effect;
use super::diagnostic::Faults;
use super::keys::{Key, full};
use super::raw;
use super::show::{duration, inline, quoted};
use super::table::{At, Field, Table};
use super::value::{self, show_duration};

/// Its keys.
pub(super) const KEYS: &[Key] =
    &[full("interface"), full("weight"), full("reverse"), full("down_delay"), full("up_delay")];

const DAY: Duration = Duration::from_secs(24 * 3600);

/// `{ interface = "eth1", weight = -20 }`: an interface that is up, with a carrier, is good; one that
/// is missing is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackInterface {
    /// Its name; it need not exist.
    pub interface: String,
    /// What it does: [`Effect::Fault`] without a weight, else [`Effect::Weight`].
    pub effect: Effect,
    /// Down is good and up is bad; default false.
    pub reverse: bool,
    /// How long it has to be down until that counts; default 0.
    pub down_delay: Duration,
    /// How long it has to be up until that counts; default 0.
    pub up_delay: Duration,
}

impl TrackInterface {
    /// The name under which it stands beside the checks, `interface:eth1`. Virtual routers that watch
    /// an interface in the same way share one, whatever each makes of it.
    pub fn name(&self) -> String {
        let mut name = format!("interface:{}", self.interface);
        if self.reverse {
            name.push_str(":reverse");
        }
        for (key, delay) in [("down_delay", self.down_delay), ("up_delay", self.up_delay)] {
            if !delay.is_zero() {
                name.push_str(&format!(":{key}={}", show_duration(delay)));
            }
        }
        name
    }

    pub(super) fn show(&self) -> String {
        let mut entries = vec![("interface", quoted(&self.interface))];
        if let Effect::Weight(weight) = self.effect {
            entries.push(("weight", weight.to_string()));
        }
        entries.extend([
            ("reverse", self.reverse.to_string()),
            ("down_delay", duration(self.down_delay)),
            ("up_delay", duration(self.up_delay)),
        ]);
        inline(&entries)
    }
}

/// Reads the list. An entry that is wrong is reported and left out.
pub(super) fn read(router: &Table<'_>, faults: &mut Faults) -> Field<Vec<At<TrackInterface>>> {
    router.tables("track_interfaces", KEYS, faults, entry)
}

fn entry(table: &Table<'_>, faults: &mut Faults) -> Option<TrackInterface> {
    let remedy = "the network device: interface = \"eth1\"";
    let interface = table.required("interface", remedy, faults, value::interface);
    let weight = table.field("weight", faults, |key, value| value::weight(key, value).map(Effect::Weight));
    let reverse = table.field("reverse", faults, value::boolean);
    let delay = |key, faults: &mut Faults| {
        table.field(key, faults, |key, value| value::duration(key, value, Duration::ZERO..=DAY))
    };
    let (down_delay, up_delay) = (delay("down_delay", faults), delay("up_delay", faults));
    Some(TrackInterface {
        interface: interface.given()?.clone(),
        effect: weight.or(Effect::Fault)?,
        reverse: reverse.or(false)?,
        down_delay: down_delay.or(Duration::ZERO)?,
        up_delay: up_delay.or(Duration::ZERO)?,
    })
}

/// Reports what contradicts the rest of the virtual router.
pub(super) fn check(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(At { value: tracked, span }) = router.track_interfaces.at() else { return };
    if let Some(priority) = router.priority.at().filter(|at| at.value.is_owner() && !tracked.is_empty()) {
        let line = faults.line(&priority.span);
        faults.error(
            span,
            "track_interfaces could take the role from the owner",
            format!("priority is 255 at line {line}"),
        );
    }
    for (index, at) in tracked.iter().enumerate() {
        let name = &at.value.interface;
        if let Some(first) = tracked[..index].iter().find(|first| first.value.name() == at.value.name()) {
            let line = faults.line(&first.span);
            faults.error(
                &at.span,
                format!("track_interfaces has {name} twice in the same way"),
                format!("first at line {line}"),
            );
        }
        if router.interface.given() == Some(name) {
            faults.warning(
                &at.span,
                format!("{name} is tracked in any case"),
                "a virtual router whose own interface is down takes no part: leave it out",
            );
        }
    }
}
