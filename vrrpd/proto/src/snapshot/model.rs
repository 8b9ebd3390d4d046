//! What RFC 8347 has beside counters: its words for events and reasons.

use crate::snapshot::{Reason, StateName};

/// `last-event`: what happened to a Virtual Router last, as RFC 8347 has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LastEvent {
    /// Nothing that the model has a word for.
    #[default]
    None,
    /// It began to take part.
    Startup,
    /// It stopped to take part.
    Shutdown,
    /// A router of higher rank spoke up while this one was Active, or is Active.
    HigherPriorityBackup,
    /// No advertisement for the Active_Down_Interval, or for Skew_Time after a resignation.
    MasterTimeout,
    /// The interface can carry packets.
    InterfaceUp,
    /// The interface is gone, down or without carrier.
    InterfaceDown,
    /// There is no address to send from.
    NoPrimaryIpAddress,
    /// There is an address to send from.
    PrimaryIpAddress,
    /// The owner's addresses are not there.
    NoVirtualIpAddresses,
    /// The owner's addresses are there.
    VirtualIpAddresses,
    /// `preempt_delay` was over.
    PreemptHoldTimeout,
    /// A router of lower priority was Active.
    LowerPriorityMaster,
    /// The owner took over from another router.
    OwnerPreempt,
}

impl LastEvent {
    /// The name of the identity, in snake_case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "vrrp_event_none",
            Self::Startup => "vrrp_event_startup",
            Self::Shutdown => "vrrp_event_shutdown",
            Self::HigherPriorityBackup => "vrrp_event_higher_priority_backup",
            Self::MasterTimeout => "vrrp_event_master_timeout",
            Self::InterfaceUp => "vrrp_event_interface_up",
            Self::InterfaceDown => "vrrp_event_interface_down",
            Self::NoPrimaryIpAddress => "vrrp_event_no_primary_ip_address",
            Self::PrimaryIpAddress => "vrrp_event_primary_ip_address",
            Self::NoVirtualIpAddresses => "vrrp_event_no_virtual_ip_addresses",
            Self::VirtualIpAddresses => "vrrp_event_virtual_ip_addresses",
            Self::PreemptHoldTimeout => "vrrp_event_preempt_hold_timeout",
            Self::LowerPriorityMaster => "vrrp_event_lower_priority_master",
            Self::OwnerPreempt => "vrrp_event_owner_preempt",
        }
    }

    /// The event that led to a state for this reason; `before` is the reason that held until then,
    /// `delayed`: a `preempt_delay` had to end first, `owner`: the addresses are the router's own,
    /// `followed`: another router had been Active.
    pub const fn of(
        to: StateName,
        reason: Reason,
        before: Reason,
        delayed: bool,
        owner: bool,
        followed: bool,
    ) -> Self {
        match (to, reason) {
            (
                StateName::Initialize,
                Reason::InterfaceMissing | Reason::InterfaceDown | Reason::NoVirtualMac,
            ) => Self::InterfaceDown,
            (StateName::Initialize, Reason::NoPrimaryIpAddress) => Self::NoPrimaryIpAddress,
            (StateName::Initialize, Reason::NoVirtualIpAddresses) => Self::NoVirtualIpAddresses,
            (StateName::Initialize, Reason::StartupDelay) => Self::None,
            (StateName::Initialize, _) => Self::Shutdown,
            (StateName::Backup, Reason::Startup) | (StateName::Active, Reason::Resumed) => {
                Self::became_fit(before)
            }
            (StateName::Backup, Reason::HigherPriority | Reason::GaveWay | Reason::HandedOver) => {
                Self::HigherPriorityBackup
            }
            (StateName::Active, Reason::Priority) if owner && followed => Self::OwnerPreempt,
            (StateName::Active, Reason::Priority) if owner => Self::became_fit(before),
            (StateName::Active, Reason::Preempted) if owner => Self::OwnerPreempt,
            (StateName::Active, Reason::Preempted) if delayed => Self::PreemptHoldTimeout,
            (StateName::Active, Reason::Preempted) => Self::LowerPriorityMaster,
            (StateName::Active, Reason::Priority | Reason::NoResponse | Reason::Suspected) => {
                Self::MasterTimeout
            }
            (StateName::Backup | StateName::Active, _) => Self::None,
        }
    }

    /// What had been in the way of taking part is not any more.
    const fn became_fit(before: Reason) -> Self {
        match before {
            Reason::InterfaceMissing | Reason::InterfaceDown | Reason::NoVirtualMac => Self::InterfaceUp,
            Reason::NoPrimaryIpAddress => Self::PrimaryIpAddress,
            Reason::NoVirtualIpAddresses => Self::VirtualIpAddresses,
            _ => Self::Startup,
        }
    }
}

/// `new-master-reason`: why a Virtual Router became Active last, as RFC 8347 has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewMasterReason {
    /// It never was.
    #[default]
    NotMaster,
    /// It owns the addresses, or the Active Router resigned.
    Priority,
    /// The Active Router had a lower priority.
    Preempted,
    /// No other router spoke up.
    NoResponse,
}

impl NewMasterReason {
    /// What our reason to be Active is there.
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Priority => Self::Priority,
            Reason::Preempted => Self::Preempted,
            // A router that resumes, or that nobody better answers, has heard no other one either.
            _ => Self::NoResponse,
        }
    }

    /// The word in files, JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotMaster => "not_master",
            Self::Priority => "priority",
            Self::Preempted => "preempted",
            Self::NoResponse => "no_response",
        }
    }
}
