//! What a seed decides before the run: the hosts, their parameters, and what happens to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use vrrp_proto::packet::{ChecksumForm, ChecksumPolicy, Key};
use vrrp_proto::parameters::{
    Announcements, Authentication, KeyMode, Keyring, LinkId, OnConflict, Parameters, Replay, SecondPath,
    SecondPeer, VirtualAddress, Witness, WitnessPolicy,
};
use vrrp_proto::tracking::{Effect, TrackerId, Tracking};
use vrrp_proto::{AdverInterval, Family, Priority, Vrid};

use super::random::Random;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND_LINK: LinkId = LinkId(1);
pub(crate) const SECOND: u64 = 1000 * MS;

/// A mistake in what surrounds the nodes. Each must be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Releases are confirmed and not carried out.
    ReleaseIgnored,
    /// The kernel is said to have the addresses before it has them.
    OutcomesEarly,
    /// After a stall the timers are looked at before the packets.
    TimersBeforePackets,
    /// A packet counts from when it was read, not from when it came.
    ArrivalIsReading,
    /// Priority 0 never arrives.
    ReleasesFiltered,
    LeaseNotRenewed,
    LeaseNotEnforced,
    /// Timers run out half an interval early.
    TimersEarly,
    /// Addresses go with the first priority 0, not when the node says so.
    ReleaseAtOnce,
    /// A router that gave way goes on advertising.
    GhostAdvertisements,
    /// The node is told a wrong source of its own, so that ties are decided wrongly.
    WrongSource,
    /// What a third party removes is not noticed.
    LossUnseen,
    /// That the role was given up is not noted with the addresses.
    DisclaimNotNoted,
    /// Addresses are announced before the kernel has them.
    AnnouncedEarly,
    /// A daemon that starts is not told that it is drained.
    DrainForgotten,
    /// A daemon that starts is not told that it handed over.
    YieldForgotten,
    /// A daemon that starts is not told that its checks are frozen.
    FreezeForgotten,
    /// What comes on the second path is not read.
    SecondPathUnread,
    /// The clients' LAN is said to answer though it does not.
    LanSaidToAnswer,
    /// What peers and witnesses answer is not read.
    WitnessesUnheard,
    /// Nor what those answer who still hold an address.
    HoldersUnheard,
    /// After an overrun of netlink nobody looks at what was lost meanwhile.
    OverrunUnseen,
    /// Only `CLOCK_MONOTONIC` is read.
    ClocksUnread,
    /// The fence does not hear of advertisements,
    FenceNotRenewed,
    /// lets nothing end,
    FenceForEver,
    /// or stays open for what is put behind a living router.
    FenceNotClosed,
    /// A reload does not reach the node.
    ReloadIgnored,
    /// A clock runs four times as fast as the others.
    ClockTooFast,
    /// What a living host answers to a suspicion is not read.
    HostSaidToBeSilent,
}

impl Bug {
    pub(crate) const ALL: [Self; 29] = [
        Self::ReleaseIgnored,
        Self::OutcomesEarly,
        Self::TimersBeforePackets,
        Self::ArrivalIsReading,
        Self::ReleasesFiltered,
        Self::LeaseNotRenewed,
        Self::LeaseNotEnforced,
        Self::TimersEarly,
        Self::ReleaseAtOnce,
        Self::GhostAdvertisements,
        Self::WrongSource,
        Self::LossUnseen,
        Self::DisclaimNotNoted,
        Self::AnnouncedEarly,
        Self::DrainForgotten,
        Self::YieldForgotten,
        Self::FreezeForgotten,
        Self::SecondPathUnread,
        Self::LanSaidToAnswer,
        Self::WitnessesUnheard,
        Self::HoldersUnheard,
        Self::OverrunUnseen,
        Self::ClocksUnread,
        Self::FenceNotRenewed,
        Self::FenceForEver,
        Self::FenceNotClosed,
        Self::ReloadIgnored,
        Self::ClockTooFast,
        Self::HostSaidToBeSilent,
    ];
}

/// The most hosts of a run.
pub(crate) const HOSTS_MAX: usize = 5;
/// The largest error of a clock's rate, in millionths. It is far beyond that of a machine's, and what
/// `docs/reliability-bounds.md` allows.
const DRIFT: i64 = 4000;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Only what operators and checks do: never a time without a holder.
    Planned,
    /// Everything.
    Rough,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) flavour: Flavour,
    pub(crate) hosts: Vec<Parameters>,
    pub(crate) sources: Vec<IpAddr>,
    /// Addresses on the second path, in the opposite order; none without one.
    pub(crate) second_sources: Vec<IpAddr>,
    /// The hosts have witnesses.
    pub(crate) witnessed: bool,
    /// Some host does not claim from who still answers.
    holds: bool,
    /// By how many millionths each host's clock is too fast.
    pub(crate) drift: Vec<i64>,
    /// Longest of the intervals on the slowest clock, ns. Every bound of the invariants is in terms of it.
    pub(crate) interval: u64,
    pub(crate) preempt_delay: u64,
    /// Longest time that the kernel takes for one request.
    pub(crate) kernel_delay: u64,
    /// Longest time on the wire in peace.
    pub(crate) latency: u64,
}

/// The checks of each host, when it has any.
pub(crate) const DEMOTE: TrackerId = TrackerId(0);
pub(crate) const WEIGHT: TrackerId = TrackerId(1);
pub(crate) const FAULT: TrackerId = TrackerId(2);
pub(crate) const TRACKERS: [TrackerId; 3] = [DEMOTE, WEIGHT, FAULT];

impl Settings {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let flavour = if random.one_in(3) { Flavour::Planned } else { Flavour::Rough };
        let family = if random.one_in(3) { Family::Ipv6 } else { Family::Ipv4 };
        let count = random.pick(&[2, 2, 2, 3, 3, 4, HOSTS_MAX]);
        let version_2 = family == Family::Ipv4 && random.one_in(4);
        let base = if version_2 {
            random.pick(&[100, 200, 500])
        } else {
            random.pick(&[1, 2, 5, 10, 20, 30, 50, 100, 133])
        };
        // In VRRPv2 another interval is another group.
        let same_interval = version_2 || flavour == Flavour::Planned || !random.one_in(4);
        let unicast = random.one_in(3);
        let virtual_mac = random.one_in(4);
        let same_priority = random.one_in(5);
        let preempt_mode = !random.one_in(3);
        let authentication = authentication(random);
        let preempt_delay =
            if random.one_in(4) { random.within(1, 4) * u64::from(base) * 10 * MS } else { 0 };
        let sources: Vec<IpAddr> = (0..count).map(|index| source(family, index)).collect();
        let addresses: Vec<VirtualAddress> = (0..random.within(1, 3)).map(|n| address(family, n)).collect();
        let mut hosts: Vec<Parameters> = (0..count)
            .map(|index| {
                let factor = if same_interval { 1 } else { random.pick(&[1, 2, 3]) };
                let mixed_preempt = random.one_in(6);
                Parameters {
                    link: LinkId(0),
                    vrid: Vrid::new(51).expect("51 is in range"),
                    family,
                    priority: priority(random, same_priority),
                    interval: if version_2 {
                        AdverInterval::from_seconds((base / 100) as u8).expect("5 at most")
                    } else {
                        AdverInterval::from_centiseconds(base * factor).expect("399 at most")
                    },
                    authentication: authentication.clone(),
                    addresses: addresses.clone().into(),
                    virtual_mac,
                    second_path: None,
                    witness: None,
                    suspicion: false,
                    group: None,
                    allowed: [].into(),
                    extra_addresses: 0,
                    min_hop_limit: 255,
                    peers: sources
                        .iter()
                        .enumerate()
                        .filter(|&(peer, _)| unicast && peer != index)
                        .map(|(_, &ip)| ip)
                        .collect(),
                    preempt_mode: preempt_mode != mixed_preempt,
                    preempt_delay: Duration::from_nanos(preempt_delay),
                    on_conflict: OnConflict::Claim,
                    startup_delay: Duration::ZERO,
                    carrier_delay: Duration::from_nanos(preempt_delay),
                    strict: false,
                    checksum_policy: ChecksumPolicy::Either,
                    checksum_form: random.pick(&[ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly]),
                    leased: true,
                    // Below 50 ms there is none.
                    fenced: base * factor >= 5 && random.one_in(2),
                    announcements: Announcements {
                        count: 3,
                        interval: Duration::from_millis(100),
                        second_after: Duration::from_secs(5),
                        refresh: Duration::from_secs(60),
                        refresh_count: 1,
                        lower_priority_count: 1,
                        lower_priority_second_after: Duration::ZERO,
                        spacing: Duration::ZERO,
                    },
                    tracking: tracking(random),
                    sync_group: None,
                }
            })
            .collect();
        let second_sources =
            if random.one_in(3) { second_path(family, &sources, &mut hosts) } else { vec![] };
        // By numbers of its own: what other seeds are about stays as it is.
        let mut aside = random.clone();
        let witnessed = second_sources.is_empty() && aside.one_in(2);
        if witnessed {
            let policy = aside.pick(&[WitnessPolicy::Claim, WitnessPolicy::Hold]);
            witnesses(family, &sources, policy, &mut hosts);
        }
        let holding = aside.one_in(3);
        for host in hosts.iter_mut().filter(|_| holding && aside.one_in(2)) {
            host.on_conflict = OnConflict::Hold;
        }
        let holds = hosts.iter().any(|host| host.on_conflict == OnConflict::Hold);
        if (witnessed || !second_sources.is_empty()) && aside.one_in(2) {
            hosts.iter_mut().for_each(|host| host.suspicion = true);
        }
        let interval =
            hosts.iter().map(|host| host.interval.duration().as_nanos() as u64).max().expect("two hosts");
        let least = u64::from(base) * 10 * MS;
        let drifts = flavour == Flavour::Rough && random.one_in(3);
        let drift =
            (0..count).map(|_| if drifts { random.pick(&[-DRIFT, -50, 0, 50, DRIFT]) } else { 0 }).collect();
        Self {
            flavour,
            hosts,
            sources,
            drift,
            second_sources,
            witnessed,
            holds,
            interval: if drifts { interval + interval / 100 } else { interval },
            preempt_delay,
            kernel_delay: (least / 8).min(4 * MS),
            latency: least / 200,
        }
    }

    /// By when all is still again after the last disturbance. One after the other: a router that
    /// leaves waits for a successor, another one starts and counts its silence (3A + Skew_Time, below
    /// 4A in either version), a third one lets its preempt_delay pass and does the same, each has its addresses added,
    /// the loser of a tie hears the winner's next advertisement, and goes on answering for 20 ms.
    pub(crate) fn settle(&self) -> u64 {
        let (a, kernel) = (self.interval, 6 * self.kernel_delay);
        let elections = self.leaving()
            + self.preempt_delay
            + 4 * a
            + self.preempt_delay
            + 4 * a
            + a
            + 20 * MS
            + kernel
            + a
            + 2 * self.hold();
        // Three or four questions to find out about the clients' LAN, the last of an answered kind; or one
        // that is answered, and to listen for less than two intervals.
        let asks = self.witnessed || !self.second_sources.is_empty();
        let lan = if asks { 5 * a.max(100 * MS) } else { 0 };
        lan + elections
    }

    /// The longest that two hosts which hear each other both hold an address: see
    /// `docs/reliability-bounds.md`. What a host hears it reads a quarter of the latency later. After a time in
    /// which both were silent, the one that gives way still answers for 20 ms when it hears the other.
    pub(crate) fn both(&self, silent: bool) -> u64 {
        let gives_way = if silent { 20 * MS } else { 0 };
        self.interval + 20 * MS + gives_way + 4 * self.latency + 6 * self.kernel_delay
    }

    /// The longest that no host holds an address while one is well: see there, too. One whose clock was set may
    /// notice that as late as it would have claimed, and listens for below two intervals then.
    pub(crate) fn nobody(&self, clock_set: bool) -> u64 {
        // A question that is answered again comes before the silence is counted anew.
        let asks = if self.witnessed { 2 * self.interval.max(100 * MS) } else { 0 };
        let intervals = if clock_set { 6 } else { 5 };
        let waits = intervals * self.interval + self.hold() + self.preempt_delay;
        asks + waits + 4 * self.latency + 6 * self.kernel_delay
    }

    /// How much longer a Backup waits that does not claim from who still answers: an Active_Down_Interval.
    pub(crate) fn hold(&self) -> u64 {
        if self.holds { 4 * self.interval } else { 0 }
    }

    /// The longest that a router which resigned holds its addresses.
    pub(crate) fn leaving(&self) -> u64 {
        (self.interval + 20 * MS).min(3 * SECOND + 30 * MS)
    }

    /// How much shorter so long a time may be that a host with a fast clock has measured, or longer with a
    /// slow one.
    pub(crate) fn tolerance(&self, time: u64) -> u64 {
        if self.drift.iter().all(|&drift| drift == 0) { 0 } else { time / 100 }
    }
}

/// One of three groups is keyed.
fn authentication(random: &mut Random) -> Authentication {
    if !random.one_in(3) {
        return Authentication::None;
    }
    let key = Key::new(7, &[7; 32]).expect("32 octets");
    let replay = random.pick(&[Replay::Monotonic, Replay::Time { window: Duration::from_secs(120) }]);
    let ring = Keyring::new(vec![key], 7, KeyMode::Enforce, replay).expect("its only key");
    Authentication::Keyed(Arc::new(ring))
}

/// The station of the clients' LAN that is asked besides the other hosts.
fn witness(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(192, 0, 2, 254).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe).into(),
    }
}

/// Gives all hosts the others and the station as those who say that it is not cut off.
fn witnesses(family: Family, sources: &[IpAddr], policy: WitnessPolicy, hosts: &mut [Parameters]) {
    for (own, host) in hosts.iter_mut().enumerate() {
        let others = sources.iter().enumerate().filter(|(index, _)| *index != own);
        host.witness = Some(Witness {
            peers: others.map(|(_, &router)| router).collect(),
            arp: [witness(family)].into(),
            tcp: [].into(),
            policy,
        });
    }
}

/// Gives all hosts a second path.
fn second_path(family: Family, sources: &[IpAddr], hosts: &mut [Parameters]) -> Vec<IpAddr> {
    let address = |index: usize| match family {
        Family::Ipv4 => IpAddr::from([198, 51, 100, 100 - index as u8]),
        Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 100 - index as u16).into(),
    };
    for (own, host) in hosts.iter_mut().enumerate() {
        let others = sources.iter().enumerate().filter(|(index, _)| *index != own);
        host.second_path = Some(SecondPath {
            link: SECOND_LINK,
            peers: others.map(|(index, &router)| SecondPeer { router, address: address(index) }).collect(),
            witnesses: [witness(family)].into(),
        });
    }
    (0..hosts.len()).map(address).collect()
}

fn source(family: Family, index: usize) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(192, 0, 2, 10 + index as u8).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10 + index as u16).into(),
    }
}

fn address(family: Family, n: u64) -> VirtualAddress {
    let ip = match (family, n) {
        (Family::Ipv4, _) => Ipv4Addr::new(192, 0, 2, 200 + n as u8).into(),
        (Family::Ipv6, 0) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x200).into(),
        (Family::Ipv6, _) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x200 + n as u16).into(),
    };
    VirtualAddress { ip, prefix_len: family.host_prefix(), interface: None }
}

fn priority(random: &mut Random, same: bool) -> Priority {
    Priority::new(if same { 100 } else { random.pick(&[1, 30, 90, 100, 101, 150, 200, 253, 254]) })
}

fn tracking(random: &mut Random) -> Vec<Tracking> {
    let effects = [Effect::Demote, Effect::Weight(-60), Effect::Fault];
    TRACKERS
        .into_iter()
        .zip(effects)
        .filter(|_| random.one_in(2))
        .map(|(tracker, effect)| Tracking { tracker, effect })
        .collect()
}
