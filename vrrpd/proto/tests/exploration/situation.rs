//! The settings, and every state under each of them, reached as a daemon would reach it.

use std::time::Duration;

use vrrp_proto::action::{Input, Order, Outcome};
use vrrp_proto::parameters::{Facts, InterfaceState, Parameters};
use vrrp_proto::snapshot::{Phase, StateName};
use vrrp_proto::tracking::TrackerState::{self, Failing, Passing, Pending};
use vrrp_proto::tracking::{Effect, TrackerId, Tracking};
use vrrp_proto::{AdverInterval, Family, Instant, Priority, Version};

use super::scene::{Kernel, Scene, addresses, facts, ip, parameters};

/// The checks of every router here.
pub(crate) const DEMOTE: TrackerId = TrackerId(0);
pub(crate) const FAULT: TrackerId = TrackerId(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    Multicast,
    Sole,
    Two,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) preempt_mode: bool,
    pub(crate) delayed: bool,
    pub(crate) peers: Peers,
    pub(crate) virtual_mac: bool,
    pub(crate) family: Family,
    pub(crate) priority: u8,
    pub(crate) version: Version,
    pub(crate) centiseconds: u16,
}

impl Setting {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (version, family, peers, virtual_mac) in [
            (Version::V3, Family::Ipv4, Peers::Multicast, false),
            (Version::V3, Family::Ipv4, Peers::Multicast, true),
            (Version::V3, Family::Ipv4, Peers::Sole, false),
            (Version::V3, Family::Ipv4, Peers::Two, false),
            (Version::V3, Family::Ipv6, Peers::Multicast, false),
            (Version::V3, Family::Ipv6, Peers::Sole, true),
            (Version::V2, Family::Ipv4, Peers::Multicast, false),
            (Version::V2, Family::Ipv4, Peers::Sole, false),
        ] {
            let intervals: &[u16] = match version {
                Version::V2 => &[100, 25500],
                Version::V3 => &[1, 100, 4095],
            };
            for priority in [1, 100, 254, 255] {
                for &centiseconds in intervals {
                    for (preempt_mode, delayed) in [(true, false), (true, true), (false, false)] {
                        all.push(Self {
                            preempt_mode,
                            delayed,
                            peers,
                            virtual_mac: virtual_mac && priority < 255,
                            family,
                            priority,
                            version,
                            centiseconds,
                        });
                    }
                }
            }
        }
        all
    }

    /// The interval times `factor`, or divided by it when that is negative, as far as the version has
    /// such a one.
    pub(crate) fn scaled(self, factor: i16) -> AdverInterval {
        let factor = i32::from(factor);
        let own = i32::from(self.centiseconds);
        let product = if factor < 0 { own / -factor } else { own * factor };
        match self.version {
            Version::V2 => AdverInterval::from_seconds((product / 100).clamp(1, 255) as u8),
            Version::V3 => AdverInterval::from_centiseconds(product.clamp(1, 4095) as u16),
        }
        .expect("in range")
    }

    /// In VRRPv2 (RFC 3768 7.1): an advertisement of another interval, and any by an owner.
    pub(crate) fn refuses(self, factor: i16) -> bool {
        self.version == Version::V2 && (self.owner() || self.scaled(factor) != self.scaled(1))
    }

    pub(crate) fn owner(self) -> bool {
        self.priority == 255
    }

    pub(crate) fn interval(self) -> Duration {
        Duration::from_millis(u64::from(self.centiseconds) * 10)
    }

    /// Our own address, one below it and one above it.
    pub(crate) fn sources(self) -> [&'static str; 3] {
        match self.family {
            Family::Ipv4 => ["192.0.2.3", "192.0.2.2", "192.0.2.9"],
            Family::Ipv6 => ["fe80::b", "fe80::a", "fe80::c"],
        }
    }

    pub(crate) fn parameters(self) -> Parameters {
        let [_, below, above] = self.sources();
        let peers: &[&str] = match self.peers {
            Peers::Multicast => &[],
            Peers::Sole => &[below],
            Peers::Two => &[below, above],
        };
        let list = match self.family {
            Family::Ipv4 => ["192.0.2.1", "192.0.2.4"],
            Family::Ipv6 => ["fe80::1", "2001:db8::1"],
        };
        Parameters {
            family: self.family,
            priority: Priority::new(self.priority),
            interval: self.scaled(1),
            addresses: addresses(&list),
            peers: peers.iter().map(|peer| ip(peer)).collect(),
            virtual_mac: self.virtual_mac,
            preempt_mode: self.preempt_mode,
            preempt_delay: if self.delayed { 3 * self.interval() } else { Duration::ZERO },
            sync_group: None,
            leased: true,
            tracking: vec![
                Tracking { tracker: DEMOTE, effect: Effect::Demote },
                Tracking { tracker: FAULT, effect: Effect::Fault },
            ],
            ..parameters()
        }
    }

    pub(crate) fn up(self) -> Facts {
        facts(self.sources()[0])
    }
}

/// A state of the router, and what led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Situation {
    InterfaceMissing,
    InterfaceDown,
    NoSource,
    NotOwned,
    StartupDelay,
    CheckFailed,
    ShutDown,
    Backup,
    BackupOfHigher,
    BackupIgnoring,
    BackupDelaying,
    BackupPending,
    BackupResigned,
    BackOff,
    ClaimingSilent,
    ClaimingPreempting,
    Active,
    ActivePart,
    ActiveLosing,
    ActiveMute,
    Asking,
    LeavingShutdown,
    LeavingFault,
    LeavingOutranked,
    LeavingRefused,
    Drained,
    BackupYielded,
    ClaimingBack,
    AskingToLeave,
    AskingToHandOver,
}

use Situation as S;

impl Situation {
    pub(crate) const ALL: [Self; 30] = [
        S::InterfaceMissing,
        S::InterfaceDown,
        S::NoSource,
        S::NotOwned,
        S::StartupDelay,
        S::CheckFailed,
        S::ShutDown,
        S::Backup,
        S::BackupOfHigher,
        S::BackupIgnoring,
        S::BackupDelaying,
        S::BackupPending,
        S::BackupResigned,
        S::BackOff,
        S::ClaimingSilent,
        S::ClaimingPreempting,
        S::Active,
        S::ActivePart,
        S::ActiveLosing,
        S::ActiveMute,
        S::Asking,
        S::LeavingShutdown,
        S::LeavingFault,
        S::LeavingOutranked,
        S::LeavingRefused,
        S::Drained,
        S::BackupYielded,
        S::ClaimingBack,
        S::AskingToLeave,
        S::AskingToHandOver,
    ];

    /// Brings a router there, with a kernel that answers no more; `None` where the setting has no
    /// such state.
    pub(crate) fn arrange(self, setting: Setting) -> Option<Scene> {
        let mut scene = arrange(self, setting)?;
        scene.kernel = Kernel::Mute;
        scene.forget();
        Some(scene)
    }
}

fn arrange(situation: Situation, setting: Setting) -> Option<Scene> {
    let lower = setting.priority > 1 && !setting.owner();
    let preempts = lower && setting.preempt_mode;
    let reachable = match situation {
        S::NotOwned => setting.owner(),
        S::InterfaceMissing | S::InterfaceDown | S::NoSource | S::StartupDelay | S::ShutDown => true,
        S::Active | S::ActiveMute => true,
        S::BackupIgnoring | S::ClaimingPreempting => preempts,
        S::BackupDelaying => preempts && setting.delayed,
        // Where a tenth would be no less there is nothing to ask for.
        S::Asking => lower,
        S::BackupYielded | S::ClaimingBack => lower,
        S::LeavingOutranked => !setting.owner() && !setting.virtual_mac,
        S::BackupResigned => !setting.owner() && setting.peers != Peers::Sole,
        _ => !setting.owner(),
    };
    if !reachable {
        return None;
    }
    let mut scene = Scene::new(setting.parameters());
    tracked(&mut scene, DEMOTE, if situation == S::BackupPending { Pending } else { Passing });
    tracked(&mut scene, FAULT, Passing);
    if let Some(facts) = initial(situation, setting) {
        scene.facts(facts);
        return Some(scene);
    }
    match situation {
        S::InterfaceMissing => return Some(scene),
        S::StartupDelay => {
            let parameters = Parameters { startup_delay: setting.interval(), ..setting.parameters() };
            scene = Scene::new(parameters);
            tracked(&mut scene, DEMOTE, Passing);
            tracked(&mut scene, FAULT, Passing);
        }
        S::CheckFailed => tracked(&mut scene, FAULT, Failing),
        _ => {}
    }
    scene.facts(setting.up());
    started(situation, setting, &mut scene);
    Some(scene)
}

fn initial(situation: Situation, setting: Setting) -> Option<Facts> {
    let up = setting.up();
    match situation {
        S::InterfaceDown => Some(Facts { interface: InterfaceState::Down, ..up }),
        S::NoSource => Some(Facts { source: None, ..up }),
        S::NotOwned => Some(Facts { owned: false, ..up }),
        _ => None,
    }
}

/// From the start on.
fn started(situation: Situation, setting: Setting, scene: &mut Scene) {
    let lower = setting.priority.saturating_sub(1);
    match situation {
        S::ShutDown => {
            scene.shutdown();
            scene.run_for(Duration::from_secs(3));
        }
        S::BackupOfHigher => hear(scene, setting, setting.priority.saturating_add(1)),
        S::BackupDelaying => hear(scene, setting, lower),
        S::BackupIgnoring => ignore(scene, setting, lower),
        S::BackupResigned => {
            hear(scene, setting, setting.priority);
            hear(scene, setting, 0);
        }
        S::ClaimingSilent => to_claim(scene),
        S::ClaimingPreempting => {
            ignore(scene, setting, lower);
            scene.kernel = Kernel::Mute;
            // Its Active_Down_Interval is below four intervals.
            for _ in 0..4 {
                let left = scene.timeout().expect("a Backup waits for something");
                if left <= setting.interval() {
                    return scene.next_timeout();
                } else {
                    scene.run_for(setting.interval());
                    hear(scene, setting, lower);
                }
            }
        }
        S::BackOff => {
            scene.kernel = Kernel::Refusing(0);
            // The claim, and with it the refusal.
            scene.next_timeout();
            scene.next_timeout();
        }
        S::LeavingRefused => {
            scene.kernel = Kernel::Refusing(1);
            scene.next_timeout();
        }
        S::ActivePart => {
            scene.kernel = Kernel::Refusing(1);
            scene.next_timeout();
            scene.next_timeout();
        }
        S::ActiveMute => {
            scene.kernel = Kernel::Mute;
            to_active(scene);
        }
        S::Active
        | S::ActiveLosing
        | S::Asking
        | S::LeavingShutdown
        | S::LeavingFault
        | S::LeavingOutranked
        | S::BackupYielded
        | S::ClaimingBack
        | S::AskingToLeave
        | S::AskingToHandOver => {
            to_active(scene);
            scene.run_for(setting.interval() / 2);
        }
        _ => {}
    }
    match situation {
        S::ActiveLosing => {
            scene.kernel = Kernel::Mute;
            scene.outcome(Outcome::Lost { index: 1 });
        }
        S::Asking => tracked(scene, DEMOTE, Failing),
        S::LeavingShutdown => scene.shutdown(),
        S::LeavingFault => tracked(scene, FAULT, Failing),
        S::LeavingOutranked => hear(scene, setting, setting.priority.saturating_add(1)),
        S::Drained => scene.order(Order::Drain { force: true }),
        S::AskingToLeave => scene.order(Order::Drain { force: false }),
        S::AskingToHandOver => scene.order(Order::HandOver),
        S::BackupYielded | S::ClaimingBack => {
            scene.order(Order::HandOver);
            hear(scene, setting, lower);
            scene.run_for(Duration::from_millis(20));
        }
        _ => {}
    }
    if situation == S::ClaimingBack {
        scene.kernel = Kernel::Mute;
        scene.order(Order::TakeBack);
    }
}

/// Ignores a router of lower priority from the first packet, or as soon as the delay is over.
fn ignore(scene: &mut Scene, setting: Setting, lower: u8) {
    hear(scene, setting, lower);
    if setting.delayed {
        for _ in 0..3 {
            scene.run_for(setting.interval());
            hear(scene, setting, lower);
        }
    }
}

fn to_claim(scene: &mut Scene) {
    scene.kernel = Kernel::Mute;
    scene.next_timeout();
}

fn to_active(scene: &mut Scene) {
    while scene.state() != StateName::Active {
        scene.next_timeout();
    }
}

/// From the address that is a peer in every setting.
fn hear(scene: &mut Scene, setting: Setting, priority: u8) {
    let form = vrrp_proto::packet::ChecksumForm::PseudoHeader;
    scene.hear_as(setting.sources()[1], priority, setting.centiseconds, form, scene.now);
}

pub(crate) fn tracked(scene: &mut Scene, tracker: TrackerId, state: TrackerState) {
    scene.input(Input::Tracked { tracker, state });
}

/// Where a router is: the states of RFC 9568 and the steps between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Initialize,
    Backup,
    Claiming,
    Active,
    Asking,
    Leaving,
}

impl Place {
    pub(crate) fn of(scene: &Scene) -> Self {
        let snapshot = scene.snapshot();
        match (snapshot.phase, snapshot.state) {
            (Phase::Claiming, _) => Self::Claiming,
            (Phase::Asking, _) => Self::Asking,
            (Phase::Leaving, _) => Self::Leaving,
            (_, StateName::Initialize) => Self::Initialize,
            (_, StateName::Backup) => Self::Backup,
            (_, StateName::Active) => Self::Active,
        }
    }

    /// The state that is reported for it.
    pub(crate) fn agrees_with(self, state: StateName) -> bool {
        match self {
            Self::Initialize => state == StateName::Initialize,
            Self::Backup | Self::Claiming => state == StateName::Backup,
            Self::Active | Self::Asking => state == StateName::Active,
            Self::Leaving => state != StateName::Active,
        }
    }
}

pub(crate) fn expected(situation: Situation) -> Place {
    match situation {
        S::InterfaceMissing | S::InterfaceDown | S::NoSource | S::NotOwned => Place::Initialize,
        S::StartupDelay | S::CheckFailed | S::ShutDown | S::Drained => Place::Initialize,
        S::Backup | S::BackupOfHigher | S::BackupIgnoring | S::BackupDelaying => Place::Backup,
        S::BackupPending | S::BackupResigned | S::BackOff | S::BackupYielded => Place::Backup,
        S::ClaimingSilent | S::ClaimingPreempting | S::ClaimingBack => Place::Claiming,
        S::Active | S::ActivePart | S::ActiveLosing | S::ActiveMute => Place::Active,
        S::Asking | S::AskingToLeave | S::AskingToHandOver => Place::Asking,
        S::LeavingShutdown | S::LeavingFault | S::LeavingOutranked | S::LeavingRefused => Place::Leaving,
    }
}

/// A router of the other test files for one priority at one interval.
pub(crate) fn plain(priority: u8, centiseconds: u16) -> Scene {
    let interval = AdverInterval::from_centiseconds(centiseconds).expect("in range");
    Scene::backup(Parameters { priority: Priority::new(priority), interval, ..parameters() })
}

/// The time of the next deadline.
pub(crate) fn deadline(scene: &Scene) -> Option<Instant> {
    scene.node.poll_timeout()
}
