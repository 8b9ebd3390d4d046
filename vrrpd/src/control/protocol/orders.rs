//! The operator's orders, what became of them, and what other nodes tell of themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use vrrp_proto::snapshot::{Reason, StateName};
use vrrp_proto::{Family, Priority};

use super::{CheckState, Priorities};
use crate::control::time::{WallTime, age};

/// Who ordered something, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// User id.
    pub uid: u32,
    /// The user's name, where it has one.
    pub user: Option<String>,
    /// The node on which it was said, when that was another one.
    pub node: Option<String>,
    /// When.
    pub at: WallTime,
    /// As given with `--reason`.
    pub reason: Option<String>,
}

impl By {
    /// `by root (uid 0) at 07:02:11 UTC (3 min): new kernel`
    pub fn words(&self, now: WallTime) -> String {
        format!("by {self} at {} ({}){}", self.at.clock(now), age(now.since(self.at)), self.because())
    }

    fn because(&self) -> String {
        self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
    }
}

impl fmt::Display for By {
    /// `root (uid 0) on bootstrap-b`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{user} (uid {})", self.uid)?,
            None => write!(f, "uid {}", self.uid)?,
        }
        self.node.as_ref().map_or(Ok(()), |node| write!(f, " on {node}"))
    }
}

/// The orders that a virtual router stands under, kept across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// It stays away until it is undrained.
    pub drained: Option<By>,
    /// Its checks count as they stood.
    pub frozen: Option<Frozen>,
    /// It handed over to a router of lower rank, and does not preempt it.
    pub yielded: Option<Yielded>,
}

/// Checks that move nothing for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Who froze them.
    pub by: By,
    /// When the freeze ends by itself.
    pub until: WallTime,
    /// How each check stood, and counts until then; one that is not listed counts as undecided.
    pub checks: BTreeMap<String, CheckState>,
}

/// A handover that is honoured until this node has been Active again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Yielded {
    /// Who ordered it.
    pub by: By,
    /// To whom.
    pub to: IpAddr,
}

/// `vrrpctl drain`, `undrain`, `freeze`, `unfreeze` and `switchover`, each with `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// [`VERSION`](super::VERSION).
    pub version: u32,
    /// `drain`, for example.
    pub command: String,
    /// Name of the virtual router.
    pub virtual_router: String,
    /// What was done.
    pub message: String,
    /// What was not known when it was done, and what to watch.
    pub notes: Vec<String>,
    /// It was done, and nobody is known to hold the addresses now; exit code 1.
    pub degraded: bool,
    /// Who took over, when somebody had to.
    pub handover: Option<Handover>,
}

/// A handover as the node that gave way measured it. What a client saw is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Source of the successor's first advertisement.
    pub successor: IpAddr,
    /// Its priority.
    pub priority: Priority,
    /// Microseconds from the resignation to that advertisement; the addresses answered meanwhile.
    pub waited_us: u64,
    /// Microseconds from that advertisement until the kernel had removed the addresses here.
    pub overlap_us: u64,
    /// Microseconds between the end of the addresses here and that advertisement: 0, where the
    /// advertisement came first.
    pub gap_us: u64,
}

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| format!("{}.{} ms", us / 1000, us / 100 % 10);
        write!(
            f,
            "{} (priority {}) advertised {} after the resignation; this node answered until {} after that: \
             a gap of {} by this node's clock",
            self.successor,
            self.priority,
            ms(self.waited_us),
            ms(self.overlap_us),
            ms(self.gap_us)
        )
    }
}

/// Another daemon of the group, as the peer link shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerNode {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name that it gives itself, once it has been heard.
    pub node: Option<String>,
    /// Milliseconds since it was heard last; null: never.
    pub age_ms: Option<u64>,
    /// Datagrams that were accepted.
    pub received: u64,
    /// Datagrams from its address that were not.
    pub refused: u64,
    /// Why the last of these was not.
    pub last_refusal: Option<String>,
    /// Its virtual routers.
    pub virtual_routers: Vec<Fitness>,
}

impl PeerNode {
    /// What was heard longer ago than this, in milliseconds, is not relied on.
    pub const FRESH_MS: u64 = 3500;

    /// Was it heard lately?
    pub fn is_fresh(&self) -> bool {
        self.age_ms.is_some_and(|age| age <= Self::FRESH_MS)
    }

    /// Its name where it is known, and its address.
    pub fn title(&self) -> String {
        match &self.node {
            Some(node) => format!("{node} ({})", self.address),
            None => self.address.to_string(),
        }
    }

    /// Its virtual router with this VRID: the one of the same name where there are several.
    pub fn counterpart(&self, name: &str, vrid: u8, family: Family) -> Option<&Fitness> {
        let same = || self.virtual_routers.iter().filter(|it| it.vrid == vrid && it.family == family);
        same().find(|it| it.name == name).or_else(|| same().next().filter(|_| same().count() == 1))
    }
}

/// Could a virtual router of another node be Active, and is it?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fitness {
    /// Its name there.
    pub name: String,
    /// 1 to 255.
    pub vrid: u8,
    /// `ipv4` or `ipv6`.
    pub family: Family,
    /// Its state there.
    pub state: StateName,
    /// Why it is in that state.
    pub reason: Reason,
    /// Configured and in force.
    pub priority: Priorities,
    /// Why it should not be Active; empty: it is fit.
    pub unfit: Vec<String>,
    /// It is drained.
    pub drained: bool,
    /// Its checks are frozen.
    pub frozen: bool,
    /// It handed over and does not preempt.
    pub yielded: bool,
    /// Digest of what has to be configured alike on all nodes.
    pub config_digest: String,
}
