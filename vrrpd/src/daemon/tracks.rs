//! Interfaces that virtual routers track: what the kernel tells of them, and from when on it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use vrrp_proto::action::Input;
use vrrp_proto::parameters::InterfaceState;
use vrrp_proto::tracking::TrackerState;

use super::{Daemon, reports};
use crate::config::{self, Config, TrackInterface};
use crate::control::describe;
use crate::control::protocol::{Check, CheckState};
use crate::control::time::WallTime;
use crate::history::What;
use crate::{kernel, protocol};

/// What is tracked, by [`TrackInterface::name`].
#[derive(Debug, Default)]
pub(super) struct Tracks {
    known: BTreeMap<String, Track>,
    /// As the kernel told it last.
    interfaces: BTreeMap<String, InterfaceState>,
}

#[derive(Debug)]
struct Track {
    config: TrackInterface,
    /// Up or not, as it counts; none before the first word.
    up: Option<bool>,
    /// When the opposite counts, unless the interface changes back before.
    turns_at: Option<Instant>,
    message: String,
    since: WallTime,
}

/// A tracked interface that counts another way from now on.
#[derive(Debug, PartialEq, Eq)]
struct Turn {
    name: String,
    from: CheckState,
    to: CheckState,
    message: String,
}

impl Tracks {
    /// Takes over what a configuration tracks, and says what that decides at once. What stays keeps
    /// its state.
    fn apply(&mut self, config: &Config, now: Instant) -> Vec<Turn> {
        let wanted = || config.virtual_routers.iter().flat_map(|router| &router.track_interfaces);
        self.known.retain(|name, _| wanted().any(|track| track.name() == *name));
        self.interfaces.retain(|name, _| wanted().any(|track| track.interface == *name));
        for track in wanted() {
            self.known.entry(track.name()).or_insert_with(|| Track::new(track));
        }
        self.heed(now)
    }

    /// Names of the interfaces that the kernel thread is to tell of.
    fn watched(&self) -> BTreeSet<String> {
        self.known.values().map(|track| track.config.interface.clone()).collect()
    }

    /// Takes in what the kernel tells of an interface.
    fn heard(&mut self, interface: String, state: InterfaceState, now: Instant) -> Vec<Turn> {
        self.interfaces.insert(interface, state);
        self.heed(now)
    }

    /// When [`heed`](Self::heed) has something to do by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        self.known.values().filter_map(|track| track.turns_at).min()
    }

    /// Lets count what has lasted for long enough.
    fn heed(&mut self, now: Instant) -> Vec<Turn> {
        let interfaces = &self.interfaces;
        let turn = |(name, track): (&String, &mut Track)| {
            let state = *interfaces.get(&track.config.interface)?;
            let from = track.state();
            track.heed(state, now).then(|| Turn {
                name: name.clone(),
                from,
                to: track.state(),
                message: track.message.clone(),
            })
        };
        self.known.iter_mut().filter_map(turn).collect()
    }

    /// The interfaces that a virtual router tracks, as checks of it.
    pub(super) fn of<'a>(&'a self, router: &'a config::VirtualRouter) -> impl Iterator<Item = Check> + 'a {
        router.track_interfaces.iter().filter_map(|config| {
            let track = self.known.get(&config.name())?;
            Some(describe::tracked_interface(config, track.state(), &track.message, track.since))
        })
    }

    /// All of them, each once.
    pub(super) fn all<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = Check> + 'a {
        let all: BTreeMap<String, Check> = config
            .virtual_routers
            .iter()
            .flat_map(|router| self.of(router))
            .map(|check| (check.name.clone(), check))
            .collect();
        all.into_values()
    }
}

impl Track {
    fn new(config: &TrackInterface) -> Self {
        Self {
            config: config.clone(),
            up: None,
            turns_at: None,
            message: "the kernel has not told yet".to_owned(),
            since: WallTime::now(),
        }
    }

    fn state(&self) -> CheckState {
        match self.up {
            None => CheckState::Pending,
            Some(up) if up != self.config.reverse => CheckState::Passing,
            Some(_) => CheckState::Failing,
        }
    }

    /// The interface is in this state now; true when that makes it count another way.
    fn heed(&mut self, state: InterfaceState, now: Instant) -> bool {
        let is_up = state == InterfaceState::Up;
        let delay = match self.up {
            // The first word is no change.
            None => Duration::ZERO,
            Some(_) if is_up => self.config.up_delay,
            Some(_) => self.config.down_delay,
        };
        let turns = self.up != Some(is_up);
        if turns && *self.turns_at.get_or_insert(now + delay) > now {
            return false;
        }
        self.turns_at = None;
        self.up = Some(is_up);
        // One that was down may be missing by now.
        self.message = format!("{} is {}", self.config.interface, reports::interface_word(state));
        if turns {
            self.since = WallTime::now();
        }
        turns
    }
}

impl Daemon {
    /// Checks and tracked interfaces of a virtual router that do not pass, for whoever wants to know why
    /// its priority changed.
    pub(super) fn failing(&self, config: &config::VirtualRouter) -> Vec<String> {
        let good = |state| matches!(state, CheckState::Passing | CheckState::Skipped);
        self.check_states(config)
            .into_iter()
            .filter(|(_, state)| !good(*state))
            .map(|(name, _)| name)
            .collect()
    }

    /// How the checks and tracked interfaces of a virtual router stand.
    pub(super) fn check_states(&self, config: &config::VirtualRouter) -> BTreeMap<String, CheckState> {
        let tracked = self.tracks.of(config).map(|check| (check.name, check.state));
        self.observer.check_states(config).chain(tracked).collect()
    }

    /// Tracks what the configuration in force says.
    pub(super) fn track(&mut self) {
        let turns = self.tracks.apply(&self.config, Instant::now());
        self.wires.kernel.push_waiting(kernel::Message::Watch(self.tracks.watched()));
        self.turned(turns);
    }

    /// Takes in what the kernel tells of an interface that is tracked.
    pub(super) fn tracked(&mut self, interface: String, state: InterfaceState) {
        let turns = self.tracks.heard(interface, state, Instant::now());
        self.turned(turns);
    }

    /// A delay of a tracked interface has ended.
    pub(super) fn track_on(&mut self) {
        let turns = self.tracks.heed(Instant::now());
        self.turned(turns);
    }

    fn turned(&mut self, turns: Vec<Turn>) {
        for Turn { name, from, to, message } in turns {
            let state = if to == CheckState::Passing { TrackerState::Passing } else { TrackerState::Failing };
            reports::log_tracked(&name, state, &message);
            let tracker = self.roster.tracker(&name);
            let tracks = |router: &&config::VirtualRouter| {
                router.track_interfaces.iter().any(|track| track.name() == name)
            };
            let tracking = self.config.virtual_routers.iter().filter(tracks);
            let virtual_routers = tracking.map(|router| router.name.clone()).collect();
            self.record(What::CheckChanged { check: name, from, to, message, virtual_routers });
            self.wires.messages.push_waiting(protocol::Message::Input(Input::Tracked { tracker, state }));
            self.tell_peers();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::InterfaceState::{Down, Missing, Up};
    use super::*;

    fn config(tracked: &str) -> Config {
        let text = format!(
            "[virtual_router.web]\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"192.0.2.1\"]\n\
             track_interfaces = [{tracked}]\n"
        );
        config::parse("test.toml", &text).expect("a valid configuration").0
    }

    fn tracks(tracked: &str, now: Instant) -> Tracks {
        let mut tracks = Tracks::default();
        assert_eq!(tracks.apply(&config(tracked), now), [], "nothing is known yet");
        tracks
    }

    /// What a word of the kernel at this time turns eth1 into, and why.
    fn heard(tracks: &mut Tracks, state: InterfaceState, now: Instant) -> Option<(CheckState, String)> {
        let turn = tracks.heard("eth1".to_owned(), state, now).pop()?;
        Some((turn.to, turn.message))
    }

    fn told(state: CheckState, message: &str) -> Option<(CheckState, String)> {
        Some((state, message.to_owned()))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_missing_interface_is_down_and_without_delays_all_counts_at_once() {
        let now = Instant::now();
        let mut tracks = tracks("{ interface = \"eth1\" }", now);
        assert_eq!(heard(&mut tracks, Up, now), told(CheckState::Passing, "eth1 is up"));
        assert_eq!(heard(&mut tracks, Down, now), told(CheckState::Failing, "eth1 is down"));
        assert_eq!(heard(&mut tracks, Missing, now), None, "as down as before");
        assert_eq!(tracks.known["interface:eth1"].message, "eth1 is missing");
        assert_eq!(heard(&mut tracks, Up, now), told(CheckState::Passing, "eth1 is up"));
        assert_eq!(heard(&mut tracks, Missing, now), told(CheckState::Failing, "eth1 is missing"));
        assert_eq!(tracks.due(), None);
    }

    #[test]
    fn in_reverse_down_is_good() {
        let now = Instant::now();
        let mut tracks = tracks("{ interface = \"eth1\", reverse = true }", now);
        assert_eq!(heard(&mut tracks, Missing, now), told(CheckState::Passing, "eth1 is missing"));
        assert_eq!(heard(&mut tracks, Up, now), told(CheckState::Failing, "eth1 is up"));
    }

    #[test]
    fn what_is_over_within_its_delay_never_counts() {
        let now = Instant::now();
        let tracked = "{ interface = \"eth1\", down_delay = \"2s\", up_delay = \"5s\" }";
        let mut tracks = tracks(tracked, now);
        assert_eq!(heard(&mut tracks, Up, now), told(CheckState::Passing, "eth1 is up"), "the first word");
        assert_eq!(heard(&mut tracks, Down, now), None);
        assert_eq!(tracks.due(), Some(now + 2 * SECOND));
        assert_eq!(heard(&mut tracks, Missing, now + SECOND), None, "down all the time");
        assert_eq!(tracks.due(), Some(now + 2 * SECOND));
        assert_eq!(heard(&mut tracks, Up, now + SECOND), None, "a flap");
        assert_eq!(tracks.due(), None);

        assert_eq!(heard(&mut tracks, Down, now + SECOND), None);
        assert_eq!(tracks.heed(now + 2 * SECOND), [], "it began anew");
        let turns = tracks.heed(now + 3 * SECOND);
        assert_eq!((turns[0].to, turns[0].message.as_str()), (CheckState::Failing, "eth1 is down"));
        assert_eq!(heard(&mut tracks, Up, now + 4 * SECOND), None);
        assert_eq!(tracks.due(), Some(now + 9 * SECOND));
        assert_eq!(tracks.heed(now + 9 * SECOND).len(), 1);
    }

    #[test]
    fn a_reload_keeps_what_stays_and_decides_what_is_known() {
        let now = Instant::now();
        let mut tracks = tracks("{ interface = \"eth1\" }", now);
        heard(&mut tracks, Down, now);
        assert_eq!(
            tracks.apply(&config("{ interface = \"eth1\", weight = -20 }"), now),
            [],
            "only its effect"
        );
        let both = "{ interface = \"eth1\", weight = -20, reverse = true }, { interface = \"eth2\" }";
        let turns = tracks.apply(&config(both), now);
        assert_eq!(turns.len(), 1, "of eth2 nothing is known yet");
        assert_eq!((turns[0].name.as_str(), turns[0].to), ("interface:eth1:reverse", CheckState::Passing));
        assert_eq!(tracks.watched().into_iter().collect::<Vec<_>>(), ["eth1", "eth2"]);
        assert_eq!(tracks.apply(&config(""), now), []);
        assert!(tracks.watched().is_empty() && tracks.interfaces.is_empty());
    }

    #[test]
    fn a_virtual_router_sees_its_own_effect() {
        let now = Instant::now();
        let mut tracks = tracks("{ interface = \"eth1\", weight = -20 }", now);
        heard(&mut tracks, Down, now);
        let config = config("{ interface = \"eth1\", weight = -20 }");
        let checks: Vec<Check> = tracks.of(&config.virtual_routers[0]).collect();
        let shown = (checks[0].name.as_str(), checks[0].kind.as_str(), checks[0].state, checks[0].weight);
        assert_eq!(shown, ("interface:eth1", "interface", CheckState::Failing, Some(-20)));
        assert_eq!(checks[0].message, "eth1 is down");
    }
}
