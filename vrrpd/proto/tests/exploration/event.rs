//! Every event, and what it may lead to: the table of RFC 9568 6.4 with the steps of the decisions.

use std::time::Duration;

use vrrp_proto::Priority;
use vrrp_proto::action::{Input, Order, Outcome, Ticket};
use vrrp_proto::packet::ChecksumForm;
use vrrp_proto::parameters::{Facts, InterfaceState, Parameters};
use vrrp_proto::tracking::TrackerState::{Failing, Passing, Pending};

use super::scene::{ROUTER, Scene, addresses, ip, sent_input};
use super::situation::{DEMOTE, FAULT, Peers, Place, Setting, Situation, tracked};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    Release,
    Lower,
    Equal,
    Higher,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Advert {
        rank: Rank,
        above: bool,
        factor: i16,
    },
    /// The next deadline.
    Timeout,
    /// A look at the timers before anything is due.
    Early,
    /// Nobody looked for five intervals.
    Stall,
    Outcome {
        nth: usize,
        stale: bool,
    },
    InterfaceDown,
    InterfaceMissing,
    NoSource,
    NotOwned,
    NewSource,
    Up,
    LeftOver,
    DemoteFails,
    FaultFails,
    ChecksPass,
    ChecksPending,
    Shutdown,
    SameAgain,
    PriorityRaised,
    PriorityLowered,
    /// The owner becomes one of the others, or the other way round.
    OwnerChanged,
    IntervalChanged,
    AddressAdded,
    AddressRemoved,
    PreemptModeChanged,
    SendFails,
    /// Another station announces all addresses.
    AnnouncedElsewhere,
    Drain {
        force: bool,
    },
    Undrain,
    HandOver,
    TakeBack,
    /// The checks are frozen as if they passed, and then fail.
    FrozenThenFail,
}

use Event as E;

const OUTCOMES: [Outcome; 8] = [
    Outcome::Added { index: 0, foreign: false },
    Outcome::Added { index: 9, foreign: true },
    Outcome::Refused { index: 1, errno: 13 },
    Outcome::Refused { index: 9, errno: 13 },
    Outcome::Acquired,
    Outcome::Released,
    Outcome::Lost { index: 0 },
    Outcome::Lost { index: 9 },
];

impl Event {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for rank in [Rank::Release, Rank::Lower, Rank::Equal, Rank::Higher] {
            for above in [false, true] {
                all.extend([1, 2, -2].map(|factor| E::Advert { rank, above, factor }));
            }
        }
        for nth in 0..OUTCOMES.len() {
            all.extend([false, true].map(|stale| E::Outcome { nth, stale }));
        }
        all.extend([E::Timeout, E::Early, E::Stall, E::InterfaceDown, E::InterfaceMissing, E::NoSource]);
        all.extend([E::NotOwned, E::NewSource, E::Up, E::LeftOver, E::DemoteFails, E::FaultFails]);
        all.extend([E::ChecksPass, E::ChecksPending, E::Shutdown, E::SameAgain, E::PriorityRaised]);
        all.extend([E::PriorityLowered, E::IntervalChanged, E::AddressAdded, E::AddressRemoved]);
        all.extend([E::OwnerChanged, E::PreemptModeChanged, E::SendFails, E::AnnouncedElsewhere]);
        all.extend([E::Undrain, E::HandOver]);
        all.extend([E::Drain { force: false }, E::Drain { force: true }, E::TakeBack, E::FrozenThenFail]);
        all
    }

    /// Would a kernel say this there? It answers what it was asked, and takes what it gave.
    pub(crate) fn is_honest(self, situation: Situation) -> bool {
        use Situation as S;
        let E::Outcome { nth, stale } = self else { return true };
        let asked = matches!(situation, S::ClaimingSilent | S::ClaimingPreempting | S::ClaimingBack)
            || matches!(situation, S::ActiveMute | S::ActiveLosing);
        let holds = matches!(situation, S::Active | S::ActivePart | S::ActiveLosing | S::Asking)
            || matches!(situation, S::AskingToLeave | S::AskingToHandOver)
            || matches!(situation, S::LeavingShutdown | S::LeavingFault | S::LeavingOutranked);
        match OUTCOMES[nth] {
            _ if stale => true,
            Outcome::Added { index, .. } | Outcome::Refused { index, .. } => asked && index < 2,
            Outcome::Acquired => asked,
            Outcome::Released => false,
            Outcome::Lost { index } => holds && index < 2,
        }
    }

    /// Lets it happen; false where there is no such event.
    pub(crate) fn happen(self, scene: &mut Scene, setting: Setting, situation: Situation) -> bool {
        let own = scene.snapshot().priority.get();
        let up = setting.up();
        let configured =
            |scene: &mut Scene, parameters: Parameters| scene.configure(keep_delay(situation, parameters));
        match self {
            E::Advert { rank, above, factor } => {
                let priority = match rank {
                    Rank::Release => Some(0),
                    Rank::Lower => own.checked_sub(1).filter(|&lower| lower > 0),
                    Rank::Equal => Some(own),
                    Rank::Higher => own.checked_add(1),
                };
                let Some(priority) = priority else { return false };
                let source = setting.sources()[1 + usize::from(above)];
                let form = ChecksumForm::PseudoHeader;
                let interval = setting.scaled(factor).centiseconds();
                scene.hear_as(source, priority, interval, form, scene.now);
            }
            E::Timeout => {
                let Some(left) = scene.timeout() else { return false };
                scene.pass(left);
                scene.woke();
            }
            E::Early => scene.woke(),
            E::Stall => {
                scene.pass(5 * setting.interval());
                scene.woke();
            }
            E::Outcome { nth, stale } => {
                let ticket = Ticket(scene.ticket.0.wrapping_sub(u32::from(stale)));
                scene.input(Input::Outcome { router: ROUTER, ticket, outcome: OUTCOMES[nth] });
            }
            E::InterfaceDown => scene.facts(Facts { interface: InterfaceState::Down, ..up }),
            E::InterfaceMissing => scene.facts(Facts { interface: InterfaceState::Missing, ..up }),
            E::NoSource => scene.facts(Facts { source: None, ..up }),
            E::NotOwned => scene.facts(Facts { owned: false, ..up }),
            E::NewSource => {
                let source = if up.source.is_some_and(|ip| ip.is_ipv4()) { "192.0.2.5" } else { "fe80::e" };
                scene.facts(Facts { source: Some(ip(source)), ..up });
            }
            E::Up => scene.facts(up),
            E::LeftOver => scene.facts(Facts { left_over: Some(scene.now), ..up }),
            E::DemoteFails => tracked(scene, DEMOTE, Failing),
            E::FaultFails => tracked(scene, FAULT, Failing),
            E::ChecksPass => {
                tracked(scene, DEMOTE, Passing);
                tracked(scene, FAULT, Passing);
            }
            E::ChecksPending => tracked(scene, DEMOTE, Pending),
            E::Shutdown => scene.shutdown(),
            E::SameAgain => configured(scene, setting.parameters()),
            E::PriorityRaised | E::PriorityLowered => {
                let change = if self == E::PriorityRaised { 1 } else { -1 };
                let priority = setting.priority.checked_add_signed(change);
                let Some(priority) = priority.filter(|new| (1..255).contains(new) && !setting.owner()) else {
                    return false;
                };
                let priority = Priority::new(priority);
                configured(scene, Parameters { priority, ..setting.parameters() });
            }
            E::OwnerChanged => {
                let priority = Priority::new(if setting.owner() { 254 } else { 255 });
                configured(scene, Parameters { priority, ..setting.parameters() });
            }
            E::IntervalChanged => {
                let interval = setting.scaled(2);
                configured(scene, Parameters { interval, ..setting.parameters() });
            }
            E::AddressAdded => {
                let list = match setting.parameters().addresses[0].ip.is_ipv4() {
                    true => ["192.0.2.1", "192.0.2.4", "192.0.2.6"],
                    false => ["fe80::1", "2001:db8::1", "2001:db8::6"],
                };
                configured(scene, Parameters { addresses: addresses(&list), ..setting.parameters() });
            }
            E::AddressRemoved => {
                let addresses = setting.parameters().addresses[..1].into();
                configured(scene, Parameters { addresses, ..setting.parameters() });
            }
            E::PreemptModeChanged => {
                let preempt_mode = !setting.preempt_mode;
                configured(scene, Parameters { preempt_mode, ..setting.parameters() });
            }
            E::SendFails => {
                scene.input(sent_input(Priority::new(own), 0, 1, 1));
            }
            E::AnnouncedElsewhere => {
                for address in setting.parameters().addresses.iter() {
                    scene.announced_elsewhere(&address.ip.to_string());
                }
            }
            E::Drain { force } => scene.order(Order::Drain { force }),
            E::Undrain => scene.order(Order::Undrain),
            E::HandOver => scene.order(Order::HandOver),
            E::TakeBack => scene.order(Order::TakeBack),
            E::FrozenThenFail => {
                scene.order(Order::Freeze([(DEMOTE, Passing), (FAULT, Passing)].into()));
                tracked(scene, DEMOTE, Failing);
                tracked(scene, FAULT, Failing);
            }
        }
        true
    }
}

/// What comes of an order to a router that does not own its addresses.
fn obeys(from: Place, order: Event, situation: Situation) -> Place {
    use Situation as S;
    let busy = matches!(situation, S::AskingToLeave | S::AskingToHandOver | S::ClaimingBack);
    let hears = matches!(situation, S::BackupOfHigher | S::BackupIgnoring | S::BackupDelaying)
        || matches!(situation, S::BackupYielded | S::ClaimingPreempting);
    match (from, order) {
        _ if busy => from,
        (Place::Initialize, E::Drain { .. }) => Place::Initialize,
        (Place::Backup | Place::Claiming, E::Drain { force }) if force || hears => Place::Initialize,
        (Place::Active | Place::Asking, E::Drain { force: true }) => Place::Leaving,
        (Place::Active | Place::Asking, E::Drain { force: false } | E::HandOver) => Place::Asking,
        (Place::Backup, E::TakeBack) if situation == S::BackupYielded => Place::Claiming,
        _ => from,
    }
}

/// A reload does not change what it does not mean to.
fn keep_delay(situation: Situation, parameters: Parameters) -> Parameters {
    let startup_delay =
        if situation == Situation::StartupDelay { parameters.interval.duration() } else { Duration::ZERO };
    Parameters { startup_delay, ..parameters }
}

/// Where the event may lead to, with a kernel that does not answer. Rows are those of `protocol.md`
/// 2.2, numbers in brackets the decisions.
pub(crate) fn may_lead_to(from: Place, event: Event, setting: Setting, situation: Situation) -> Vec<Place> {
    use Place::{Active, Asking, Backup, Claiming, Initialize, Leaving};
    let owner = setting.owner();
    // A tenth of 1 is 1.
    let lowered = setting.priority > 1;
    let starts = if owner { Active } else { Backup };
    let ends = if owner { Initialize } else { Leaving };
    let ordered = matches!(situation, Situation::AskingToLeave | Situation::AskingToHandOver);
    match (from, event) {
        // Drained: nothing but the operator's word ends it.
        (_, E::Undrain) if situation == Situation::Drained => vec![Backup],
        _ if situation == Situation::Drained => vec![Initialize],
        (_, E::Drain { .. } | E::HandOver | E::TakeBack | E::Undrain) => {
            vec![if owner { from } else { obeys(from, event, situation) }]
        }
        (Initialize, E::FrozenThenFail) if situation == Situation::CheckFailed => vec![starts],
        (Asking, E::FrozenThenFail) if !ordered => vec![Active],
        (_, E::FrozenThenFail) => vec![from],

        // An advertisement that is not for us, or not as it must be, touches nothing (3.1).
        (_, E::Advert { factor, .. }) if setting.refuses(factor) => vec![from],
        (_, E::Advert { above: true, .. }) if setting.peers == Peers::Sole => vec![from],
        (Initialize, E::Advert { .. }) => vec![Initialize],
        // Row 6; the sole backup claims at once (15).
        (Backup, E::Advert { rank: Rank::Release, .. }) if setting.peers == Peers::Sole => {
            if situation == Situation::BackupPending { vec![Backup] } else { vec![Claiming] }
        }
        // Rows 6 to 9.
        (Backup, E::Advert { .. }) => vec![Backup],
        (Claiming, E::Advert { rank: Rank::Release, .. }) => vec![Claiming],
        (Claiming, E::Advert { rank: Rank::Lower, .. }) if situation == Situation::ClaimingBack => {
            vec![Claiming]
        }
        (Claiming, E::Advert { rank: Rank::Lower, .. }) if setting.preempt_mode => {
            if situation == Situation::ClaimingSilent && setting.delayed {
                vec![Backup]
            } else {
                vec![Claiming]
            }
        }
        (Claiming, E::Advert { .. }) => vec![Backup],
        // Rows 12 to 16; who is outranked answers for 20 ms more, with the virtual MAC no more (13).
        (Active, E::Advert { rank, above, .. }) => {
            let outranked = rank == Rank::Higher || rank == Rank::Equal && above;
            vec![if !outranked {
                Active
            } else if owner || setting.virtual_mac {
                Backup
            } else {
                Leaving
            }]
        }
        (Asking, E::Advert { rank: Rank::Release, .. }) => vec![Asking],
        // Whoever answers an order is the successor.
        (Asking, E::Advert { .. }) if ordered => vec![match situation {
            _ if !setting.virtual_mac => Leaving,
            Situation::AskingToLeave => Initialize,
            _ => Backup,
        }],
        (Asking, E::Advert { rank, above, .. }) => {
            let gone = if setting.virtual_mac { Backup } else { Leaving };
            vec![if rank == Rank::Higher || rank == Rank::Equal && above { gone } else { Active }]
        }
        (Leaving, E::Advert { rank, .. }) if setting.virtual_mac && rank != Rank::Release => {
            vec![if situation == Situation::LeavingRefused { Backup } else { Initialize }]
        }
        (Leaving, E::Advert { .. }) => vec![Leaving],

        // Row 1, 2.
        (Initialize, E::Timeout | E::Stall) if situation == Situation::StartupDelay => vec![starts],
        (Initialize, E::Timeout | E::Early | E::Stall) => vec![Initialize],
        // Row 5, or once more after a back-off (2); after a stall it listens first (9).
        (Backup, E::Timeout) if situation == Situation::BackOff => vec![Claiming, Backup],
        (Backup, E::Timeout) => vec![Claiming],
        (Backup, E::Stall) if situation == Situation::BackupResigned => vec![Backup],
        (Backup, E::Stall) => vec![Claiming, Backup],
        (Claiming, E::Timeout) if situation == Situation::ClaimingSilent => vec![Active],
        // The kernel that does not answer counts as one that refuses (2).
        (Claiming, E::Timeout | E::Stall) => vec![Backup],
        (Active, E::Stall) => vec![Active, Leaving],
        (Active, E::Timeout) => vec![Active],
        (Asking, E::Timeout) => vec![Active],
        // Before it goes on as Active it listens, unless it was not away for long after its deadline.
        (Asking, E::Stall) => vec![Asking, Active],
        (Leaving, E::Timeout | E::Stall) => vec![match situation {
            Situation::LeavingRefused => Active,
            Situation::LeavingOutranked => Backup,
            _ => Initialize,
        }]
        .into_iter()
        .chain((event == E::Stall && situation == Situation::LeavingRefused).then_some(Leaving))
        .collect(),
        (_, E::Early) => vec![from],

        (_, E::Outcome { stale: true, .. }) => vec![from],
        (Claiming, E::Outcome { nth: 0, .. }) if situation == Situation::ClaimingSilent => vec![Active],
        (Claiming, E::Outcome { nth: 4, .. }) => vec![Backup],
        (Active, E::Outcome { nth: 4, .. }) if !owner => vec![Active, Leaving],
        (_, E::Outcome { .. }) => vec![from],

        (_, E::InterfaceDown | E::InterfaceMissing | E::NoSource) => vec![Initialize],
        (_, E::NotOwned) if owner => vec![Initialize],
        (Initialize, E::NotOwned | E::NewSource | E::Up) => match situation {
            Situation::StartupDelay | Situation::CheckFailed | Situation::ShutDown => vec![Initialize],
            _ => vec![starts],
        },
        // (19)
        (Initialize, E::LeftOver) => match situation {
            Situation::StartupDelay | Situation::CheckFailed | Situation::ShutDown => vec![Initialize],
            _ if setting.centiseconds == 1 => vec![Active, Backup],
            _ => vec![Active],
        },
        (_, E::NotOwned | E::NewSource | E::Up | E::LeftOver) => vec![from],

        (Initialize, E::ChecksPass) if situation == Situation::CheckFailed => vec![starts],
        (_, E::DemoteFails | E::FaultFails | E::ChecksPass | E::ChecksPending) if owner => vec![from],
        (Initialize, E::ChecksPending) => vec![Initialize],
        (Initialize, E::DemoteFails | E::FaultFails | E::ChecksPass) => vec![Initialize],
        (Backup | Claiming, E::FaultFails) => vec![Initialize],
        (Active | Asking | Leaving, E::FaultFails) => vec![Leaving],
        // (14), (17)
        (Claiming, E::DemoteFails | E::ChecksPending) if lowered => vec![Backup],
        (Active, E::DemoteFails | E::ChecksPending) if lowered => vec![Asking],
        (Asking, E::ChecksPass) if !ordered => vec![Active],
        (_, E::DemoteFails | E::ChecksPass | E::ChecksPending) => vec![from],

        // Rows 3, 4, 10.
        (Initialize | Backup | Claiming, E::Shutdown) => vec![Initialize],
        (Active, E::Shutdown) => vec![ends],
        (Asking | Leaving, E::Shutdown) => vec![Leaving],

        // 2.5: applied in place.
        // A tenth of it may be the same.
        (Asking, E::PriorityRaised) if !ordered => vec![Asking, Active],
        (Active, E::PriorityLowered) => vec![Asking],
        (Claiming, E::PriorityLowered) => vec![Backup],
        // An owner has no checks, and asks nobody.
        (Initialize, E::OwnerChanged) if situation == Situation::CheckFailed => vec![Active],
        (Initialize, E::OwnerChanged) if situation == Situation::NotOwned => vec![Backup],
        (Asking, E::OwnerChanged) if !ordered => vec![Active],
        (Active, E::OwnerChanged) if owner => vec![Asking],
        (_, E::OwnerChanged) => vec![from],
        (_, E::SameAgain | E::PriorityRaised | E::PriorityLowered | E::IntervalChanged) => vec![from],
        // (13): the successor has spoken, and is known to the clients now.
        (Leaving, E::AnnouncedElsewhere) if situation == Situation::LeavingOutranked => vec![Backup],
        (_, E::AnnouncedElsewhere) => vec![from],
        // A living router of lower priority is not to be preempted any more, and nobody has heard of it.
        (Claiming, E::PreemptModeChanged)
            if situation == Situation::ClaimingPreempting && setting.preempt_mode =>
        {
            vec![Backup]
        }
        (_, E::AddressAdded | E::AddressRemoved | E::PreemptModeChanged | E::SendFails) => vec![from],
    }
}
