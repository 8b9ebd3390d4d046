//! What is said on the control socket: one line of JSON asks, one line of JSON answers.
//!
//! The payloads are what `vrrpctl --json` prints. Each has a `version`; fields are added over time
//! and never change their meaning.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrp_proto::snapshot::{
    Finding, GlobalStatistics, LinkStatistics, NewMasterReason, Phase, Reason, StateName, Statistics, Verdict,
};
use vrrp_proto::{Family, Priority};

mod orders;

use super::alarm::Alarm;
use super::exit;
use super::time::{Span, WallTime};
use crate::config::{self, Config};
use crate::history::Event;

mod dns_update;
mod statistics;

pub use statistics::{Connections, Counted, Discarded};

pub use dns_update::{DnsState, DnsUpdate};
pub use orders::{By, Done, Fitness, Frozen, Handover, Orders, PeerNode, Yielded};

/// Version of every payload.
pub const VERSION: u32 = 1;

/// Longest request in bytes, its newline included.
pub const REQUEST_BYTES: usize = 64 * 1024;

/// What a client asks for. An unknown request or field is refused: half of a command is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// State of one virtual router, or of all. Answer: [`Answer::State`].
    State {
        /// Name of the virtual router.
        name: Option<String>,
    },
    /// Last result of one check, or of all. Answer: [`Answer::Checks`].
    Check {
        /// Name of the check.
        name: Option<String>,
        /// Run them first, and answer when they have ended. For uid 0.
        #[serde(default)]
        now: bool,
    },
    /// Read the configuration again. For uid 0. Answer: [`Answer::Reloaded`], or a [`Refusal`] with
    /// 78 and every fault of the file.
    Reload {
        /// Why, for the history.
        reason: Option<String>,
    },
    /// The causes of the present state. Answer: [`Answer::Why`].
    Why {
        /// Name of the virtual router; all without it.
        name: Option<String>,
    },
    /// What happened. Answer: [`Answer::History`].
    History {
        /// Name of a virtual router, check, hook or interface; everything without it.
        name: Option<String>,
        /// Nothing before this.
        since: Option<WallTime>,
    },
    /// The configuration in force. Answer: [`Answer::Config`].
    ConfigShow {
        /// What presets stand for, in place of their names.
        #[serde(default)]
        expanded: bool,
    },
    /// Hand over, leave and stay away. For uid 0, as all that follow. Answer: [`Answer::Done`].
    Drain {
        /// Name of the virtual router.
        name: String,
        /// Why.
        reason: Option<String>,
        /// Leave whether or not another node is fit and takes over.
        #[serde(default)]
        force: bool,
    },
    /// Take part again.
    Undrain {
        /// Name of the virtual router.
        name: String,
        /// Why.
        reason: Option<String>,
    },
    /// Let checks move nothing for a while.
    Freeze {
        /// Name of the virtual router.
        name: String,
        /// For how long.
        #[serde(rename = "for")]
        lasts: Span,
        /// Why.
        reason: Option<String>,
    },
    /// Let checks count again.
    Unfreeze {
        /// Name of the virtual router.
        name: String,
        /// Why.
        reason: Option<String>,
    },
    /// Hand over to the best backup; on a Backup: have the role handed over to it.
    Switchover {
        /// Name of the virtual router.
        name: String,
        /// Why.
        reason: Option<String>,
        /// Also to a node that is known not to be fit.
        #[serde(default)]
        force: bool,
    },
    /// Tell the neighbours again where the addresses are.
    Announce {
        /// Name of the virtual router.
        name: String,
        /// Why.
        reason: Option<String>,
    },
}

impl Request {
    /// Does it change or start something, so that it is for uid 0 only?
    pub const fn changes(&self) -> bool {
        match self {
            Self::Reload { .. } | Self::Check { now: true, .. } => true,
            Self::Drain { .. } | Self::Undrain { .. } | Self::Switchover { .. } => true,
            Self::Freeze { .. } | Self::Unfreeze { .. } | Self::Announce { .. } => true,
            Self::State { .. }
            | Self::Check { now: false, .. }
            | Self::Why { .. }
            | Self::History { .. }
            | Self::ConfigShow { .. } => false,
        }
    }

    /// May its answer take longer than the daemon needs to look something up?
    pub const fn takes_time(&self) -> bool {
        matches!(self, Self::Check { now: true, .. } | Self::Drain { .. } | Self::Switchover { .. })
    }

    /// The command that asks it.
    pub const fn command(&self) -> &'static str {
        match self {
            Self::State { .. } => "state",
            Self::Check { now: false, .. } => "check",
            Self::Check { now: true, .. } => "check --now",
            Self::Reload { .. } => "reload",
            Self::Why { .. } => "why",
            Self::History { .. } => "history",
            Self::ConfigShow { .. } => "config show",
            Self::Drain { .. } => "drain",
            Self::Undrain { .. } => "undrain",
            Self::Freeze { .. } => "freeze",
            Self::Unfreeze { .. } => "unfreeze",
            Self::Switchover { .. } => "switchover",
            Self::Announce { .. } => "announce",
        }
    }
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::State`].
    State(State),
    /// To [`Request::Check`].
    Checks(Checks),
    /// To [`Request::Reload`].
    Reloaded(Reloaded),
    /// To [`Request::Why`].
    Why(Why),
    /// To [`Request::History`].
    History(Events),
    /// To [`Request::ConfigShow`].
    Config(ConfigText),
    /// To an order that was obeyed.
    Done(Done),
    /// To any request that was not served.
    Error(Refusal),
}

/// A request was not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Exit code for the program that asked ([`exit`]).
    pub exit_code: u8,
    /// Why, and what to do about it.
    pub message: String,
}

impl Refusal {
    /// A condition for it is false; nothing changed.
    pub fn condition(message: impl Into<String>) -> Self {
        Self { exit_code: exit::DEGRADED, message: message.into() }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit_code: exit::USAGE, message: message.into() }
    }

    /// A name that does not exist: wrong usage, answered with the names that do.
    pub fn unknown_name<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.collect();
        if known.is_empty() {
            return Self::usage(format!("there is no {kind} \"{name}\": none is configured"));
        }
        let nearest = known.iter().find(|other| strsim::damerau_levenshtein(name, other) <= 2);
        let hint = nearest.map(|other| format!(" (did you mean \"{other}\"?)")).unwrap_or_default();
        Self::usage(format!("there is no {kind} \"{name}\"{hint}; there are: {}", known.join(", ")))
    }
}

/// `vrrpctl state --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// [`VERSION`].
    pub version: u32,
    /// When this was true; ages are counted back from here.
    pub time: WallTime,
    /// Name of this node.
    pub node: String,
    /// In the order of the configuration.
    pub virtual_routers: Vec<VirtualRouter>,
    /// Conditions that belong to no virtual router.
    pub alarms: Vec<Alarm>,
    /// Addresses, routes and rules that do not depend on a role, in configured order.
    #[serde(rename = "static", default, skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<Way>,
    /// The process that answers.
    pub daemon: Daemon,
    /// Counters of the whole host under the names of RFC 8347.
    #[serde(default)]
    pub statistics: Counted<GlobalStatistics>,
    /// What became of TCP connections to addresses that went, since the daemon started.
    #[serde(default)]
    pub connections: Connections,
    /// Interfaces that virtual routers run on.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Other daemons of the group, in the order of `[peer_link]`; empty without one.
    #[serde(default)]
    pub peers: Vec<PeerNode>,
}

/// One interface, with the packets that belonged to no virtual router of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Why they were discarded.
    pub statistics: LinkStatistics,
    /// The same, with the last of each reason.
    #[serde(default)]
    pub discarded: Vec<Discarded>,
}

impl State {
    /// This state with only the virtual router `name`, or all of it without a name.
    ///
    /// # Errors
    /// There is no such virtual router; the message lists those that exist.
    pub fn only(mut self, name: Option<&str>) -> Result<Self, Refusal> {
        let Some(name) = name else { return Ok(self) };
        let Some(index) = self.virtual_routers.iter().position(|router| router.name == name) else {
            let known = self.virtual_routers.iter().map(|router| router.name.as_str());
            return Err(Refusal::unknown_name("virtual router", name, known));
        };
        self.virtual_routers = vec![self.virtual_routers.swap_remove(index)];
        Ok(self)
    }
}

/// The daemon's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Time since it started.
    pub uptime: Span,
    /// Scheduling of the protocol thread as it really is: `realtime` or `normal`.
    pub scheduling: String,
    /// The longest that the protocol loop woke up after a deadline, in microseconds.
    #[serde(default)]
    pub loop_lateness_max_us: u64,
    /// Events that were too many to be recorded.
    #[serde(default)]
    pub reports_lost: u64,
}

/// A virtual MAC address and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualMac {
    /// Name of the device.
    pub device: String,
    /// The address, such as `00:00:5e:00:01:c9`.
    pub address: String,
}

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VirtualRouter {
    /// Its name in the configuration.
    pub name: String,
    /// Name of the interface it runs on.
    pub interface: String,
    /// 1 to 255.
    pub vrid: u8,
    /// `ipv4` or `ipv6`.
    pub family: Family,
    /// 2 or 3.
    pub vrrp_version: u8,
    /// How advertisements show that they belong to the group; null: not at all.
    #[serde(default)]
    pub authentication: Option<Authentication>,
    /// `initialize`, `backup` or `active`.
    pub state: StateName,
    /// Why it is in that state.
    pub reason: Reason,
    /// When it entered the state.
    pub since: WallTime,
    /// What is under way.
    pub phase: Phase,
    /// Has an advertisement been heard since the start, or is it Active itself?
    pub heard: bool,
    /// Do checks that have not reported yet hold it back?
    pub pending: bool,
    /// Configured and in force.
    pub priority: Priorities,
    /// Does it take over from a living Active Router of lower priority?
    pub preempt_mode: bool,
    /// Milliseconds until it may do so, while `preempt_delay` runs.
    pub preempt_in_ms: Option<u64>,
    /// Who is Active, when known.
    pub active_router: Option<ActiveRouter>,
    /// The device with the virtual MAC address; null without `virtual_mac`.
    #[serde(default)]
    pub virtual_mac: Option<VirtualMac>,
    /// In configured order.
    pub addresses: Vec<Address>,
    /// Those that move along and are not advertised, in configured order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_addresses: Vec<Address>,
    /// In configured order.
    pub checks: Vec<Check>,
    /// Names that follow it, sorted.
    #[serde(default)]
    pub dns_updates: Vec<DnsUpdate>,
    /// Routes that come and go with the role, in configured order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Way>,
    /// Rules that come and go with the role, in configured order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Way>,
    /// Conditions that a person should look at.
    pub alarms: Vec<Alarm>,
    /// The group that it moves with, if it is in one.
    #[serde(default)]
    pub sync_group: Option<SyncGroup>,
    /// What the operator ordered.
    #[serde(default)]
    pub orders: Orders,
    /// Digest of what has to be configured alike on all nodes: version, vrid, family, advertisement interval and
    /// addresses.
    #[serde(default)]
    pub config_digest: String,
    /// Our Advertisement_Interval.
    pub advertisement_interval: Span,
    /// The one that the Active Router announced.
    pub active_adver_interval: Span,
    /// Source of our advertisements, when there is one.
    pub source_address: Option<IpAddr>,
    /// The one that the configuration wants, if it names one.
    #[serde(default)]
    pub configured_source_address: Option<IpAddr>,
    /// Unicast peers; empty: multicast.
    pub peers: Vec<IpAddr>,
    /// Group that advertisements go to; null: unicast.
    #[serde(default)]
    pub multicast_group: Option<IpAddr>,
    /// The second path; null: none is configured.
    #[serde(default)]
    pub second_path: Option<SecondPath>,
    /// What peers and witnesses answer; null: no witness is configured.
    #[serde(default)]
    pub witness: Option<Witness>,
    /// What is known of the Active Router's host; null: `suspicion` is not configured.
    #[serde(default)]
    pub suspicion: Option<Suspicion>,
    /// How long the kernel keeps addresses that are not renewed; null: for ever.
    pub lease: Option<Span>,
    /// How long addresses answer after an advertisement, before the packet filter silences them; null: it
    /// does not.
    #[serde(default)]
    pub fence: Option<Span>,
    /// Set while advertisements cannot be sent to anybody.
    pub send_failing: Option<SendFailing>,
    /// Counters under the names of RFC 8347.
    pub statistics: Counted<Statistics>,
    /// Packets that were discarded, by reason, with the last of each.
    #[serde(default)]
    pub discarded: Vec<Discarded>,
    /// Does it own the addresses (RFC 8347 `is-owner`)?
    #[serde(default)]
    pub is_owner: bool,
    /// Source of the last advertisement that was accepted.
    #[serde(default)]
    pub last_adv_source: Option<IpAddr>,
    /// When it began to take part; null in INITIALIZE.
    #[serde(default)]
    pub up_datetime: Option<WallTime>,
    /// Active_Down_Interval in centiseconds, the unit of RFC 8347, rounded down.
    #[serde(default)]
    pub master_down_interval: u32,
    /// Skew_Time in microseconds, the unit of RFC 8347, rounded down.
    #[serde(default)]
    pub skew_time: u32,
    /// What happened to it last, by the identities of RFC 8347: `vrrp_event_master_timeout`, for example.
    #[serde(default)]
    pub last_event: String,
    /// Why it became Active last: `not_master`, `priority`, `preempted` or `no_response`.
    #[serde(default)]
    pub new_master_reason: NewMasterReason,
    /// The last error of a received packet that RFC 8347 has a word for, `version_error` for example;
    /// null: there was none.
    #[serde(default)]
    pub protocol_error_reason: Option<String>,
}

impl VirtualRouter {
    /// The state as people read it: `ACTIVE`, `BACKUP` or `INITIALIZE`.
    pub fn state_word(&self) -> &'static str {
        state_word(self.state)
    }
}

/// A state as people read it, in capitals.
pub fn state_word(state: StateName) -> &'static str {
    match state {
        StateName::Initialize => "INITIALIZE",
        StateName::Backup => "BACKUP",
        StateName::Active => "ACTIVE",
    }
}

/// The sync group of a virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncGroup {
    /// Its name in the configuration.
    pub name: String,
    /// The rank of all its members before checks are applied: the lowest configured priority among them.
    pub priority: Priority,
    /// The member that this one moved with, when `reason` is `sync_group`.
    pub moved_with: Option<String>,
    /// This one could be Active; the first member that could not, so that none is.
    pub waits_for: Option<String>,
}

/// How advertisements show that they belong to the group. No secret is ever in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// `pass` or `hmac-sha256`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `receive-only`, `permissive` or `enforce`; null with a password.
    pub mode: Option<String>,
    /// Number of the key that is sent with; null with a password.
    pub active_key: Option<u8>,
}

impl From<&config::Authentication> for Authentication {
    fn from(authentication: &config::Authentication) -> Self {
        match authentication {
            config::Authentication::Pass(_) => Self { kind: "pass".to_owned(), mode: None, active_key: None },
            config::Authentication::Hmac(keys) => Self {
                kind: "hmac-sha256".to_owned(),
                mode: Some(keys.mode_word().to_owned()),
                active_key: Some(keys.active),
            },
        }
    }
}

/// The second path of a virtual router, and what is known because of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondPath {
    /// Its interface.
    pub interface: String,
    /// Source of our advertisements there; null while it cannot be used.
    pub source_address: Option<IpAddr>,
    /// Who was heard last on the first path.
    pub heard_on_first: Option<Heard>,
    /// Who was heard last on the second path, by its address on the first one.
    pub heard_on_second: Option<Heard>,
    /// Do the stations that are asked on the first path answer?
    pub client_lan: ClientLan,
    /// Which of them answered last.
    pub answered: Option<Heard>,
}

/// What peers and witnesses say of this node's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// What follows from it: `unknown`, `answered`, `isolated` or `uncounted`.
    pub verdict: Verdict,
    /// Which peer answered last.
    pub peer: Option<Heard>,
    /// Which witness answered last.
    pub witness: Option<Heard>,
}

/// What is known of the Active Router's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// A Backup that would follow a dead one early: the host has answered questions lately, on each path.
    pub ready: bool,
    /// What came of the last suspicion.
    pub last: Option<LastSuspicion>,
}

/// A suspicion that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSuspicion {
    /// What came of it: `dead`, `answered` or `unwitnessed`.
    pub finding: Finding,
    /// The Active Router then.
    pub of: IpAddr,
    /// The third station that answered, where that counted.
    pub third: Option<IpAddr>,
    /// How long ago, in milliseconds.
    pub age_ms: u64,
}

/// Somebody who was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Who.
    pub by: IpAddr,
    /// How long ago, in milliseconds.
    pub age_ms: u64,
}

/// The clients' LAN as this node finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientLan {
    /// Not asked, or not yet decided.
    Unknown,
    /// Somebody answers.
    Answers,
    /// Nobody answers.
    Silent,
}

/// Priority of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Priorities {
    /// As in the file.
    pub configured: Priority,
    /// With the checks applied.
    pub effective: Priority,
}

/// The Active Router as this node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRouter {
    /// Source of its advertisements.
    pub address: IpAddr,
    /// As it advertises.
    pub priority: Priority,
    /// Is it us?
    pub this_node: bool,
}

/// One virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// With its prefix length: `192.0.2.201/32`.
    pub address: String,
    /// The interface that it is put on, where that is not the virtual router's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Is it on the interface?
    pub present: bool,
    /// Was it there before us, so that we never remove it?
    pub foreign: bool,
    /// Why the kernel refused it last, while it is absent.
    pub refused: Option<String>,
}

/// A route or rule, or an address that does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// As `ip` takes it, without what is usual.
    pub what: String,
    /// Is it there?
    pub present: bool,
    /// Is it somebody else's, so that we never remove it?
    pub foreign: bool,
    /// Why it cannot be had, while it is absent and wanted.
    pub refused: Option<String>,
    /// Somebody takes it again and again; it is put back ever more slowly.
    pub contested: bool,
}

/// State of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Not run often enough to know.
    Pending,
    /// Good.
    Passing,
    /// Bad.
    Failing,
    /// Not asked in the present role: it moves nothing.
    Skipped,
}

impl CheckState {
    /// The word in JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Passing => "passing",
            Self::Failing => "failing",
            Self::Skipped => "skipped",
        }
    }
}

/// What a failing check does, where it has no weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Priority / 10.
    Demote,
    /// Leave and hold nothing.
    Fault,
    /// Be shown, move nothing.
    Alert,
}

/// A check and its last result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name in the configuration.
    pub name: String,
    /// What it does, by its key in the configuration: `http`, `registry_parity`, ...
    #[serde(default)]
    pub kind: String,
    /// `pending`, `passing`, `failing` or `skipped`.
    pub state: CheckState,
    /// Added to the priority, while failing (below zero) or passing; null: see `on_failure`.
    pub weight: Option<i16>,
    /// What a failure does; null: see `weight`.
    pub on_failure: Option<OnFailure>,
    /// What the last run said.
    pub message: String,
    /// When it entered the state.
    pub since: WallTime,
    /// When the last run ended.
    pub last_run: Option<WallTime>,
    /// From the start of one run to that of the next.
    pub interval: Span,
    /// Deadline of one run.
    pub timeout: Span,
    /// Passing runs in a row until it passes.
    pub rise: u32,
    /// Failing runs in a row until it fails.
    pub fall: u32,
}

/// Transmission has been failing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendFailing {
    /// Since the first of the failures in a row.
    pub since: WallTime,
    /// What the kernel says.
    pub error: String,
}

/// `vrrpctl check --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// [`VERSION`].
    pub version: u32,
    /// When this was true.
    pub time: WallTime,
    /// In the order of the configuration.
    pub checks: Vec<Check>,
}

/// `vrrpctl reload --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// [`VERSION`].
    pub version: u32,
    /// What changed, one sentence each; empty: nothing.
    pub changes: Vec<String>,
    /// What the file says that is allowed but doubtful.
    pub warnings: Vec<String>,
}

/// `vrrpctl why --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// [`VERSION`].
    pub version: u32,
    /// When this was true.
    pub time: WallTime,
    /// In the order of the configuration.
    pub virtual_routers: Vec<WhyRouter>,
}

/// The causes of one virtual router's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyRouter {
    /// Its name.
    pub name: String,
    /// Sentences, the present state first, then back to its causes, then what holds it back.
    pub lines: Vec<String>,
}

/// `vrrpctl history --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// [`VERSION`].
    pub version: u32,
    /// When this was true.
    pub time: WallTime,
    /// Oldest first.
    pub events: Vec<Event>,
    /// Older events that are no longer kept.
    pub forgotten: u64,
}

/// `vrrpctl config show --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigText {
    /// [`VERSION`].
    pub version: u32,
    /// The effective configuration, as a file that parses back to itself.
    pub toml: String,
}

impl ConfigText {
    /// The configuration as it was written, or with the presets spelt out.
    pub fn new(config: &Config, expanded: bool) -> Self {
        let toml = if expanded { config::to_toml_expanded(config) } else { config::to_toml(config) };
        Self { version: VERSION, toml }
    }
}

#[cfg(test)]
mod tests;
