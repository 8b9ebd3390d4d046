//! Answers to those who look: the state of the core is asked for, and told in the words of
//! [`crate::control::protocol`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use vrrp_proto::parameters::RouterId;

use super::roster::{Roster, fence_term, lease_seconds};
use super::standing::Standing;
use super::tracks::Tracks;
use crate::check::{self, CheckResult};
use crate::config::{self, Config, Scheduling};
use crate::control::alarm::Alarm;
use crate::control::describe;
use crate::control::exit;
use crate::control::facts::Facts;
use crate::control::protocol::{
    Answer, Check, CheckState, ConfigText, Connections, Counted, Daemon, Discarded, DnsUpdate, Interface,
    Refusal, Request, State, SyncGroup, VERSION, VirtualMac, Way,
};
use crate::control::server::Call;
use crate::control::time::{Span, WallTime};
use crate::dns_update::DnsUpdates;
use crate::fence;
use crate::history::{History, What};
use crate::kernel::{self, Seen};
use crate::peer_link::{PeerLink, fitness};
use crate::protocol::{Message, Observation, ProtocolThread, Wires};
use crate::state_dir::StateDir;

/// The question that nobody but the watchdog waits for.
const HEARTBEAT: u64 = 0;
/// Addresses for which an observation has room from the start.
const ROOM: usize = 64;

/// What is known beside the core, and who waits for an answer.
#[derive(Debug)]
pub(super) struct Observer {
    started: std::time::Instant,
    /// By the wall clock as it was then: a step of it must not look like a discontinuity.
    counting_since: WallTime,
    scheduling: Scheduling,
    checks: Vec<Check>,
    hooks: Vec<String>,
    /// Why `accept_mode = false` is not enforced.
    accepting: Option<String>,
    fence: fence::Standing,
    /// Routes and rules of each router; of none: what is always there.
    ways: BTreeMap<Option<RouterId>, Vec<Seen>>,
    waiting: VecDeque<(u64, Call)>,
    next_token: u64,
    /// Why routers have no device with their virtual MAC address.
    device_troubles: BTreeMap<RouterId, String>,
    /// What became of connections when their addresses went.
    pub(super) connections: Connections,
    rerun: mpsc::Sender<Call>,
    rerun_done: Option<mpsc::Receiver<Call>>,
}

impl Observer {
    pub(super) fn new(config: &Config, scheduling: Scheduling) -> Self {
        let (rerun, rerun_done) = mpsc::channel(64);
        let mut observer = Self {
            started: std::time::Instant::now(),
            counting_since: WallTime::now(),
            scheduling,
            checks: Vec::new(),
            hooks: Vec::new(),
            accepting: None,
            fence: fence::Standing::Unwanted,
            ways: BTreeMap::new(),
            waiting: VecDeque::new(),
            next_token: HEARTBEAT + 1,
            device_troubles: BTreeMap::new(),
            connections: Connections::default(),
            rerun,
            rerun_done: Some(rerun_done),
        };
        observer.configured(config);
        observer
    }

    /// Another configuration is in force: checks that stay keep what they said.
    pub(super) fn configured(&mut self, config: &Config) {
        let now = WallTime::now();
        let before = std::mem::take(&mut self.checks);
        self.checks = config
            .checks
            .iter()
            .map(|check| {
                let fresh = describe::pending_check(check, now);
                match before.iter().find(|known| known.name == check.name) {
                    Some(known) => Check {
                        state: known.state,
                        message: known.message.clone(),
                        since: known.since,
                        last_run: known.last_run,
                        ..fresh
                    },
                    None => fresh,
                }
            })
            .collect();
        self.hooks = config.hooks.iter().map(|hook| hook.name.clone()).collect();
    }

    /// Where calls come back to whose checks have been run.
    pub(super) fn rerun(&self) -> mpsc::Sender<Call> {
        self.rerun.clone()
    }

    /// The other end of [`rerun`](Self::rerun), once.
    pub(super) fn take_rerun(&mut self) -> mpsc::Receiver<Call> {
        self.rerun_done.take().expect("the main loop takes it once")
    }

    /// Takes note of one run of a check.
    pub(super) fn check_result(&mut self, result: &CheckResult) {
        let Some(known) = self.checks.iter_mut().find(|check| check.name == result.name) else { return };
        let at = WallTime::from(result.at);
        known.message.clone_from(&result.message);
        known.last_run = Some(at);
        if result.state != result.previous_state {
            known.state = check_state(result.state);
            known.since = at;
        }
    }

    /// A check is asked from now on, or not any more; returns the event that its state is void.
    pub(super) fn asked(&mut self, check: &config::Check, asked: bool, config: &Config) -> Option<What> {
        let known = self.checks.iter_mut().find(|known| known.name == check.name)?;
        let from = known.state;
        let fresh = Check { last_run: known.last_run, ..describe::pending_check(check, WallTime::now()) };
        if asked {
            *known = fresh;
            return None;
        }
        let message = match check.when {
            config::When::Active => "asked while Active only",
            config::When::Backup => "asked while Backup only",
            config::When::Always => "not asked",
        };
        *known = Check { state: CheckState::Skipped, message: message.to_owned(), ..fresh };
        let naming = config.virtual_routers.iter().filter(|router| router.checks.contains(&check.name));
        matches!(from, CheckState::Passing | CheckState::Failing).then(|| What::CheckChanged {
            check: check.name.clone(),
            from,
            to: CheckState::Skipped,
            message: message.to_owned(),
            virtual_routers: naming.map(|router| router.name.clone()).collect(),
        })
    }

    /// Routes and rules stand otherwise from now on.
    pub(super) fn ways(&mut self, router: Option<RouterId>, seen: Vec<Seen>) {
        self.ways.insert(router, seen);
    }

    fn seen(&self, router: Option<RouterId>) -> impl Iterator<Item = &Seen> {
        self.ways.get(&router).into_iter().flatten()
    }

    /// The event that a check changed its state.
    pub(super) fn check_changed(&self, result: &CheckResult, config: &Config) -> What {
        let named = config.virtual_routers.iter().filter(|router| router.checks.contains(&result.name));
        What::CheckChanged {
            check: result.name.clone(),
            from: check_state(result.previous_state),
            to: check_state(result.state),
            message: result.message.clone(),
            virtual_routers: named.map(|router| router.name.clone()).collect(),
        }
    }

    /// How the checks of a virtual router stand.
    pub(super) fn check_states<'a>(
        &'a self,
        config: &'a config::VirtualRouter,
    ) -> impl Iterator<Item = (String, CheckState)> + 'a {
        let named = |check: &&Check| config.checks.contains(&check.name);
        self.checks.iter().filter(named).map(|check| (check.name.clone(), check.state))
    }

    /// `accept_mode = false` is not enforced for this reason, or is.
    pub(super) fn accept_mode(&mut self, trouble: Option<String>) {
        self.accepting = trouble;
    }

    /// Is it not there, though it should be?
    pub(super) fn fence_has_failed(&self) -> bool {
        matches!(self.fence, fence::Standing::Failed(_))
    }

    /// How the fence stands.
    pub(super) fn fence(&mut self, standing: fence::Standing) {
        self.fence = standing;
    }

    /// Remembers why a router has no device with its virtual MAC address.
    pub(super) fn device(&mut self, router: RouterId, trouble: Option<String>) {
        match trouble {
            Some(trouble) => self.device_troubles.insert(router, trouble),
            None => self.device_troubles.remove(&router),
        };
    }

    /// Asks the core for what it knows; the call is answered when that has come.
    pub(super) fn ask(&mut self, roster: &Roster, wires: &Wires, call: Call) {
        let token = self.next_token;
        self.next_token += 1;
        match wires.messages.push(Message::Observe(observation(roster, token))) {
            Ok(()) => self.waiting.push_back((token, call)),
            Err(_) => refuse(call, "the protocol thread is overloaded; try again"),
        }
    }

    /// Asks the protocol loop for a sign of life, and for the state of every router with it.
    pub(super) fn heartbeat(&self, roster: &Roster, wires: &Wires) {
        // A full queue is no sign of life.
        let _ = wires.messages.push(Message::Observe(observation(roster, HEARTBEAT)));
    }

    pub(super) fn is_heartbeat(&self, observation: &Observation) -> bool {
        observation.token == HEARTBEAT
    }

    /// Answers the call that this observation was made for.
    pub(super) fn answer(
        &mut self,
        observation: &Observation,
        roster: &Roster,
        config: &Config,
        history: &History,
        protocol: &ProtocolThread,
        others: Others<'_>,
    ) {
        while let Some((token, call)) = self.waiting.pop_front() {
            if token != observation.token {
                refuse(call, "the answer was lost; try again");
                continue;
            }
            let state = self.state(observation, roster, config, protocol, others);
            let checks: Vec<Check> = self.checks.iter().cloned().chain(others.tracks.all(config)).collect();
            let facts = Facts { state: &state, checks: &checks, hooks: &self.hooks, history };
            let answer = match &call.request {
                Request::Check { name, now: true } => {
                    Some(facts.checks(name.as_deref()).map_or_else(Answer::Error, Answer::Checks))
                }
                request => facts.answer(request),
            };
            match answer {
                // The client may have gone.
                Some(answer) => drop(call.answer.send(answer)),
                None => refuse(call, "this request is not answered from the state"),
            }
            return;
        }
    }

    fn state(
        &self,
        observation: &Observation,
        roster: &Roster,
        config: &Config,
        protocol: &ProtocolThread,
        others: Others<'_>,
    ) -> State {
        let time = WallTime::now();
        let mut virtual_routers = Vec::new();
        for (&router, snapshot) in observation.asked.iter().zip(&observation.routers) {
            let Some((entry, snapshot)) = roster.get(router).filter(|entry| !entry.leaving).zip(*snapshot)
            else {
                continue;
            };
            let addresses: Vec<_> = observation
                .addresses
                .iter()
                .filter(|(of, _)| *of == router)
                .map(|(_, address)| *address)
                .collect();
            let checks = self
                .checks
                .iter()
                .filter(|check| entry.config.checks.contains(&check.name))
                .cloned()
                .chain(others.tracks.of(&entry.config))
                .collect();
            let lease = lease_seconds(&entry.config).map(|seconds| Duration::from_secs(u64::from(seconds)));
            let mut described = describe::virtual_router(
                &entry.config,
                &snapshot,
                &addresses,
                checks,
                lease,
                entry.counting_since,
                time,
            );
            described.dns_updates = others
                .dns
                .of(&described.name)
                .map(|(config, standing)| DnsUpdate::new(config, standing))
                .collect();
            let (rules, routes): (Vec<&Seen>, Vec<&Seen>) =
                self.seen(Some(router)).partition(|seen| matches!(seen.way, kernel::Way::Rule(_)));
            described.routes = routes.into_iter().map(Way::from).collect();
            described.rules = rules.into_iter().map(Way::from).collect();
            let ways = described.routes.iter().chain(&described.rules);
            described.alarms.extend(ways.filter_map(Alarm::of_way).collect::<Vec<_>>());
            described.orders = others.standing.of(&entry.config.name);
            described.sync_group = config.sync_group(&described.name).map(|group| {
                let name = |router| roster.get(router).map(|entry| entry.config.name.clone());
                SyncGroup {
                    name: group.name.clone(),
                    priority: config.rank(group).unwrap_or(described.priority.configured),
                    moved_with: snapshot.moved_with.and_then(name),
                    waits_for: snapshot.waits_for.and_then(name),
                }
            });
            described.virtual_mac = entry
                .device()
                .map(|device| VirtualMac { device: device.name.clone(), address: device.mac.to_string() });
            let trouble = self.device_troubles.get(&router);
            described.alarms.extend(trouble.map(|trouble| Alarm::no_virtual_mac(trouble)));
            described.config_digest = fitness::config_digest(&entry.config);
            if !entry.config.accept_mode && !entry.config.priority.is_owner() {
                described.alarms.extend(self.accepting.as_deref().map(Alarm::accept_mode_not_enforced));
            }
            if let Some(term) = fence_term(&entry.config) {
                match &self.fence {
                    fence::Standing::InForce => described.fence = Some(Span(term)),
                    fence::Standing::Failed(trouble) => {
                        described.alarms.push(Alarm::fence_failed(trouble));
                    }
                    fence::Standing::Unwanted | fence::Standing::Missing(_) => {}
                }
            }
            virtual_routers.push(described);
        }
        // In the order of the file.
        let place = |name: &str| config.virtual_routers.iter().position(|router| router.name == name);
        virtual_routers.sort_by_key(|router| place(&router.name));
        let lateness = protocol.gauges.lateness_max_ns.load(Ordering::Relaxed);
        let scheduling = match self.scheduling {
            Scheduling::Realtime => "realtime",
            Scheduling::Normal => "normal",
        };
        let fixed: Vec<Way> = self.seen(None).map(Way::from).collect();
        let mut alarms = others.alarms();
        alarms.extend(fixed.iter().filter_map(Alarm::of_way));
        State {
            version: VERSION,
            time,
            node: config.daemon.node.clone(),
            virtual_routers,
            alarms,
            fixed,
            statistics: Counted {
                discontinuity_datetime: Some(self.counting_since),
                counters: observation.statistics,
            },
            interfaces: observation
                .asked_links
                .iter()
                .zip(&observation.links)
                .map(|(&link, (statistics, discards))| Interface {
                    name: roster.interface(link).to_owned(),
                    statistics: *statistics,
                    discarded: Discarded::list(discards, time),
                })
                .collect(),
            peers: others.link.peers(),
            connections: self.connections,
            daemon: Daemon {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime: Span(self.started.elapsed()),
                scheduling: scheduling.to_owned(),
                loop_lateness_max_us: lateness / 1000,
                reports_lost: protocol.gauges.reports_lost.load(Ordering::Relaxed),
            },
        }
    }
}

/// A question for the state of everything, with room for the answer: the protocol thread fills it in
/// without allocating.
fn observation(roster: &Roster, token: u64) -> Box<Observation> {
    let asked: Vec<RouterId> = roster.iter().map(|(router, _)| router).collect();
    Box::new(Observation {
        routers: Vec::with_capacity(asked.len()),
        addresses: Vec::with_capacity(asked.len() * ROOM),
        asked_links: roster.links().collect(),
        links: Vec::with_capacity(roster.links().count()),
        asked,
        token,
        ..Observation::default()
    })
}

/// What is known beside the core and the observer.
#[derive(Clone, Copy)]
pub(super) struct Others<'a> {
    pub(super) standing: &'a Standing,
    pub(super) state_dir: &'a StateDir,
    pub(super) link: &'a PeerLink,
    pub(super) dns: &'a DnsUpdates,
    pub(super) tracks: &'a Tracks,
}

impl Others<'_> {
    fn alarms(self) -> Vec<Alarm> {
        let mut alarms: Vec<Alarm> = self.state_dir.troubles().iter().map(Alarm::of_state_dir).collect();
        alarms.extend(self.link.trouble.as_deref().map(Alarm::peer_link_closed));
        alarms
    }
}

impl From<&Seen> for Way {
    fn from(seen: &Seen) -> Self {
        Self {
            what: seen.way.to_string(),
            present: matches!(seen.standing, kernel::Standing::Ours | kernel::Standing::Foreign),
            foreign: seen.standing == kernel::Standing::Foreign,
            refused: match &seen.standing {
                kernel::Standing::Refused(words) => Some(words.clone()),
                _ => None,
            },
            contested: seen.contested,
        }
    }
}

/// The configuration in force, as a file.
pub(super) fn config_text(config: &Config, expanded: bool) -> Answer {
    Answer::Config(ConfigText::new(config, expanded))
}

fn refuse(call: Call, message: &str) {
    let refusal = Refusal { exit_code: exit::UNAVAILABLE, message: message.to_owned() };
    // The client may have gone.
    let _ = call.answer.send(Answer::Error(refusal));
}

fn check_state(state: check::CheckState) -> CheckState {
    match state {
        check::CheckState::Pending => CheckState::Pending,
        check::CheckState::Passing => CheckState::Passing,
        check::CheckState::Failing => CheckState::Failing,
    }
}
