//! What an observer may see of a Virtual Router: words for states and reasons, counters, numbers.

use std::net::IpAddr;
use std::time::Duration;

use crate::packet::{ChecksumForm, DiscardReason};
use crate::parameters::RouterId;
use crate::tracking::TrackerState;
use crate::{AdverInterval, Priority};

mod alarm;
mod discard;
mod model;

pub use alarm::{Alarm, Alarms, Evidence, Raised, Value};
pub use discard::{Discard, Discards};
pub use model::{LastEvent, NewMasterReason};

/// State of a Virtual Router as RFC 9568 6.4 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// Takes no part in the election (6.4.1).
    Initialize,
    /// Watches the Active Router (6.4.2).
    Backup,
    /// Holds the addresses (6.4.3).
    Active,
}

impl StateName {
    /// The word in files, JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

/// Why a Virtual Router is in the state it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Active: this router owns the addresses, or the Active Router resigned (RFC 8347 `priority`).
    Priority,
    /// Active: a router of lower priority was Active (RFC 8347 `preempted`).
    Preempted,
    /// Active: no advertisement for the Active_Down_Interval (RFC 8347 `no-response`).
    NoResponse,
    /// Active: an advertisement was late, the host of the Active Router answered no question, and another
    /// station did (RFC 8347 `no-response`).
    Suspected,
    /// Active: went on after a restart, before any backup can have claimed.
    Resumed,
    /// Active: asked whether a better router is there, and none answered.
    NoBetterRouter,
    /// Backup: started, or became able to take part again.
    Startup,
    /// Backup: a router of higher rank is Active.
    HigherPriority,
    /// Backup: gave way because a check lowered the priority, and another router took over.
    GaveWay,
    /// Backup: handed over by the operator's order.
    HandedOver,
    /// Backup: the kernel refused an address; tries again later.
    AddressRefused,
    /// Backup: advertisements could not be sent; tries again later.
    CannotSend,
    /// Backup: neither a peer nor a witness answers; this node is cut off.
    Isolated,
    /// Backup: another member of the sync group gave way, or cannot be Active here.
    SyncGroup,
    /// Initialize: the configured start-up delay runs.
    StartupDelay,
    /// Initialize: the interface has come up, and its `carrier_delay` runs.
    CarrierDelay,
    /// Initialize: there is no such interface.
    InterfaceMissing,
    /// Initialize: the interface is down or has no carrier.
    InterfaceDown,
    /// Initialize: the interface has no address to send from (IPv6: no usable link-local one).
    NoPrimaryIpAddress,
    /// Initialize: there is no device with the virtual MAC address.
    NoVirtualMac,
    /// Initialize: the owner's addresses are not on the interface.
    NoVirtualIpAddresses,
    /// Initialize: a check with `on_failure = "fault"` fails.
    CheckFailed,
    /// Initialize: drained by the operator's order.
    Drained,
    /// Initialize: stopped by the operator or by the end of the daemon.
    Shutdown,
}

impl Reason {
    /// Nothing was heard of the Active Router: it had not resigned, and was not preempted.
    pub const fn is_silence(self) -> bool {
        matches!(self, Self::NoResponse | Self::Suspected)
    }

    /// The word in files, JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Preempted => "preempted",
            Self::NoResponse => "no_response",
            Self::Suspected => "suspected",
            Self::Resumed => "resumed",
            Self::NoBetterRouter => "no_better_router",
            Self::Startup => "startup",
            Self::HigherPriority => "higher_priority",
            Self::GaveWay => "gave_way",
            Self::HandedOver => "handed_over",
            Self::AddressRefused => "address_refused",
            Self::CannotSend => "cannot_send",
            Self::Isolated => "isolated",
            Self::SyncGroup => "sync_group",
            Self::StartupDelay => "startup_delay",
            Self::CarrierDelay => "carrier_delay",
            Self::InterfaceMissing => "interface_missing",
            Self::InterfaceDown => "interface_down",
            Self::NoPrimaryIpAddress => "no_primary_ip_address",
            Self::NoVirtualMac => "no_virtual_mac",
            Self::NoVirtualIpAddresses => "no_virtual_ip_addresses",
            Self::CheckFailed => "check_failed",
            Self::Drained => "drained",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Counters of one Virtual Router, under the names of RFC 8347 where it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// Times it became Active.
    pub master_transitions: u32,
    /// Valid advertisements received, whatever the state machine made of them.
    pub advertisement_rcvd: u64,
    /// Advertisements sent; one for each unicast peer.
    pub advertisement_sent: u64,
    /// Valid advertisements with priority 0 received.
    pub priority_zero_pkts_rcvd: u64,
    /// Advertisements with priority 0 sent.
    pub priority_zero_pkts_sent: u64,
    /// Discarded: the interval is 0, or in VRRPv2 not ours. Also counts accepted ones that differ from ours.
    pub interval_errors: u64,
    /// Discarded: TTL or Hop Limit is not 255.
    pub ip_ttl_errors: u64,
    /// Discarded: type is not ADVERTISEMENT.
    pub invalid_type_pkts_rcvd: u64,
    /// Discarded: no address, or (strict) IPv6 without a link-local address first, or VRRPv2 with other
    /// addresses than ours. Also counts accepted ones whose addresses differ from ours.
    pub address_list_errors: u64,
    /// Discarded: shorter or longer than its fields.
    pub packet_length_errors: u64,
    /// Discarded: wrong version.
    pub version_errors: u64,
    /// Discarded: wrong checksum, or the form that the configuration refuses.
    pub checksum_errors: u64,
    /// Discarded: not sent to our group or address.
    pub destination_errors: u64,
    /// Discarded: impossible source address, or our own.
    pub source_errors: u64,
    /// Discarded: from a router that is not in `peers`, or not in `allowed_sources`.
    pub peer_errors: u64,
    /// Discarded, VRRPv2: another authentication type, or another password.
    pub auth_errors: u64,
    /// Discarded, VRRPv2: advertised for addresses that this router owns.
    pub owner_conflicts: u64,
    /// Discarded: no keyed trailer, or one that no key of ours made. Unless they are enforced, trailers that
    /// no key of ours made, and the advertisement was accepted; so with the two that follow.
    pub digest_errors: u64,
    /// Discarded: a keyed trailer of a time too far from ours.
    pub window_errors: u64,
    /// Discarded: a keyed trailer that does not come after the last one of its sender.
    pub replay_errors: u64,
    /// The two checksum forms were heard from different routers within one interval.
    pub checksum_form_conflicts: u64,
    /// Advertisements and announcements that could not be sent.
    pub send_errors: u64,
    /// Addresses that somebody else removed while we were Active, and that were put back.
    pub addresses_put_back: u64,
    /// Addresses that the kernel refused.
    pub addresses_refused: u64,
    /// Frames in which another station claimed one of the addresses while we were Active, those from
    /// the first three intervals of it apart.
    pub address_conflicts: u64,
    /// Claims after silence while another station still answered for an address.
    pub claims_answered: u64,
    /// Times that an advertisement was late and the host of the Active Router was asked.
    pub suspicions: u64,
    /// Those of them that the host answered.
    pub suspicions_answered: u64,
    /// Those of them that it did not answer and another station did, so that it counted as dead.
    pub suspicions_confirmed: u64,
    /// Gratuitous ARPs and neighbour advertisements sent.
    pub announcements_sent: u64,
}

/// Counters of packets of this host, under the names of RFC 8347: those of its Virtual Routers, past ones
/// included, and those that belonged to none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct GlobalStatistics {
    /// Discarded: wrong checksum, or the form that the configuration refuses.
    pub checksum_errors: u64,
    /// Discarded: wrong version.
    pub version_errors: u64,
    /// Discarded: no Virtual Router with this VRID.
    pub vrid_errors: u64,
    /// Discarded: TTL or Hop Limit is not 255.
    pub ip_ttl_errors: u64,
}

impl GlobalStatistics {
    /// Takes note of discarded packets; most reasons are counted for a router or an interface only.
    pub const fn count(&mut self, reason: DiscardReason, packets: u64) {
        let counter = match reason {
            DiscardReason::Checksum => &mut self.checksum_errors,
            DiscardReason::Version => &mut self.version_errors,
            DiscardReason::Vrid => &mut self.vrid_errors,
            DiscardReason::HopLimit => &mut self.ip_ttl_errors,
            _ => return,
        };
        *counter += packets;
    }
}

/// Counters of packets that belong to no Virtual Router of the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct LinkStatistics {
    /// IP header damaged, or a fragment.
    pub ip_header_errors: u64,
    /// No Virtual Router with this VRID here.
    pub vrid_errors: u64,
    /// Wrong checksum for a VRID that nobody has.
    pub checksum_errors: u64,
    /// Wrong version for a VRID that nobody has.
    pub version_errors: u64,
    /// Too short to carry a VRID, or damaged otherwise.
    pub packet_length_errors: u64,
    /// VRRPv2 in an IP Authentication Header, which tells no VRID.
    pub auth_errors: u64,
    /// Any other fault in a packet for a VRID that nobody has, or that nobody read.
    pub other_errors: u64,
}

/// The Active Router as this router knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveRouter {
    /// Source of its advertisements.
    pub address: IpAddr,
    /// Its priority as advertised.
    pub priority: Priority,
    /// Is it us?
    pub this_node: bool,
}

/// Where the advertisements of a router get to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// To all destinations.
    #[default]
    Complete,
    /// To some of the unicast peers; the others cannot be sent to.
    Partial {
        /// Why, for one of them.
        errno: i32,
    },
    /// Nowhere. After three intervals of it the router gives way.
    Failing {
        /// Why.
        errno: i32,
    },
}

impl Delivery {
    /// Nobody can be sent to.
    pub const fn is_failing(self) -> bool {
        matches!(self, Self::Failing { .. })
    }
}

/// The operator's order that a Virtual Router stands under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// None.
    #[default]
    Free,
    /// Stays away until it is undone.
    Drained,
    /// Preempts nobody until it has been Active again.
    Yielded,
    /// Preempts the present Active Router now.
    TakingBack,
}

/// What is going on with the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is under way.
    Settled,
    /// Addresses are being added before the role is claimed.
    Claiming,
    /// Resigned for the time being, to see whether a better router takes over.
    Asking,
    /// Resigned; the addresses answer until the successor is there.
    Leaving,
    /// Waiting before the next attempt after a refused address or a failed transmission.
    BackOff,
}

/// State of one address of a Virtual Router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressSnapshot {
    /// The address.
    pub address: IpAddr,
    /// Is it on the interface through us or found there by us?
    pub present: bool,
    /// Was it there before us, so that we never remove it?
    pub foreign: bool,
    /// The error number with which the kernel refused it last, while it is absent.
    pub refused: Option<i32>,
}

/// State of the second path, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecondPathSnapshot {
    /// Source of our advertisements there, while it can be used.
    pub source: Option<IpAddr>,
    /// Who was heard last on the first path, by its address there, and how long ago.
    pub heard_on_first: Option<(IpAddr, Duration)>,
    /// The same of the second path; by its address on the first path, too.
    pub heard_on_second: Option<(IpAddr, Duration)>,
    /// Does the clients' LAN answer us? Failing: nobody there does, and we count as demoted.
    pub client_lan: TrackerState,
    /// Who there answered last, and how long ago.
    pub answered: Option<(IpAddr, Duration)>,
}

/// What peers and witnesses say of this node's network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WitnessSnapshot {
    /// What follows from it.
    pub verdict: Verdict,
    /// Which peer answered last, and how long ago.
    pub peer: Option<(IpAddr, Duration)>,
    /// Which witness answered last, and how long ago.
    pub witness: Option<(IpAddr, Duration)>,
}

/// Is this node cut off?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nobody has answered yet.
    Unknown,
    /// No: a peer or a witness answers.
    Answered,
    /// Yes: neither does. Nothing is claimed or held.
    Isolated,
    /// Neither does, and that says nothing: the peers or the witnesses were dead before, or never
    /// answered.
    Uncounted,
}

/// What came of asking the host of an Active Router whose advertisement was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It answered no question, and another station did: the role is taken.
    Dead,
    /// It answered: the Active_Down_Interval holds.
    Answered,
    /// Nobody answered, so that it may be this node that is cut off: the Active_Down_Interval holds.
    Unwitnessed,
}

/// What is known of the host of the Active Router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuspicionSnapshot {
    /// A Backup that would notice the death of the Active Router's host: it has answered lately, on each path,
    /// so that its silence would say something.
    pub ready: bool,
    /// What came of the last suspicion.
    pub last: Option<LastSuspicion>,
}

/// A suspicion that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSuspicion {
    /// What came of it.
    pub finding: Finding,
    /// The Active Router then, by its address on the router's link.
    pub of: IpAddr,
    /// The third station that answered, where that counted.
    pub third: Option<IpAddr>,
    /// How long ago.
    pub ago: Duration,
}

/// The few words of a [`RouterSnapshot`] that say how a Virtual Router stands, for an observer that asks
/// after each input: the whole is kilobytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterOutline {
    /// As RFC 9568 names it.
    pub state: StateName,
    /// What is under way.
    pub phase: Phase,
    /// Priority in force.
    pub priority: Priority,
    /// Do checks count as they stood when they were frozen?
    pub frozen: bool,
    /// Does the clients' LAN answer? `None` without a second path.
    pub client_lan: Option<TrackerState>,
    /// Is this node cut off? `None` without witnesses.
    pub verdict: Option<Verdict>,
}

/// State of one Virtual Router.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouterSnapshot {
    /// As RFC 9568 names it.
    pub state: StateName,
    /// Why it is in that state.
    pub reason: Reason,
    /// What is under way.
    pub phase: Phase,
    /// The operator's order that it stands under.
    pub standing: Standing,
    /// Do checks count as they stood when they were frozen?
    pub frozen: bool,
    /// Time since it entered the state.
    pub age: Duration,
    /// Priority in force: configured (in a sync group the lowest of its members), checks applied.
    pub priority: Priority,
    /// The member of its sync group that it moved with; only with [`Reason::SyncGroup`].
    pub moved_with: Option<RouterId>,
    /// A Backup that would be Active by itself: the first member of its sync group that would not.
    pub waits_for: Option<RouterId>,
    /// Do checks that have not reported yet hold it back?
    pub pending: bool,
    /// Advertisement heard since start (or itself Active)?
    pub heard: bool,
    /// Who is Active, when known.
    pub active_router: Option<ActiveRouter>,
    /// Interval that the Active Router announced.
    pub active_adver_interval: AdverInterval,
    /// Time until a pending preemption may begin, while `preempt_delay` runs.
    pub preempt_in: Option<Duration>,
    /// Conditions that somebody should look at, with who shows them.
    pub alarms: Alarms,
    /// Checksum form of our advertisements to the group or the first peer (IPv4).
    pub checksum_form: ChecksumForm,
    /// Source of our advertisements.
    pub source: Option<IpAddr>,
    /// What is known of the second path, where one is configured.
    pub second_path: Option<SecondPathSnapshot>,
    /// What peers and witnesses say; `None` without witnesses.
    pub witness: Option<WitnessSnapshot>,
    /// What is known of the Active Router's host; `None` without `suspicion`.
    pub suspicion: Option<SuspicionSnapshot>,
    /// Where our advertisements get to.
    pub delivery: Delivery,
    /// Time since they began to get there, or stopped to.
    pub delivery_age: Duration,
    /// Counters.
    pub statistics: Statistics,
    /// Packets that were discarded, by reason.
    pub discards: Discards,
    /// Time since it began to take part; `None` in Initialize.
    pub up: Option<Duration>,
    /// What happened to it last.
    pub last_event: LastEvent,
    /// Why it became Active last.
    pub new_master_reason: NewMasterReason,
    /// Source of the last advertisement that was accepted.
    pub last_adv_source: Option<IpAddr>,
    /// Active_Down_Interval by the priority and the interval in force.
    pub active_down_interval: Duration,
    /// Skew_Time by the priority and the interval in force.
    pub skew_time: Duration,
}
