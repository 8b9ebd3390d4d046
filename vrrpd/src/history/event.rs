//! The kinds of events.

use std::net::{IpAddr, SocketAddr};
use std::slice;

use serde::{Deserialize, Serialize};
use vrrp_proto::Priority;
use vrrp_proto::absence::Clock;
use vrrp_proto::snapshot::{Finding, Reason, StateName};

use crate::control::protocol::{ActiveRouter, CheckState, Handover};
use crate::control::time::WallTime;

/// Something that happened, and when. In JSON one flat object with the key `event`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// By the wall clock.
    pub time: WallTime,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. `virtual_routers` names those that it may move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The daemon started.
    Started {
        /// Version of the program.
        version: String,
    },
    /// The protocol loop was away for longer than another router waits.
    Away {
        /// For how many milliseconds, beyond what it had asked for.
        away_ms: u64,
        /// The clock that shows it.
        clock: Clock,
    },
    /// A virtual router changed its state.
    Transition {
        /// Its name.
        virtual_router: String,
        /// State before.
        from: StateName,
        /// State after.
        to: StateName,
        /// Why.
        reason: Reason,
        /// Our priority in force.
        priority: Priority,
        /// The other router that this is about: who was Active before us, or is now.
        active_router: Option<ActiveRouter>,
        /// For how many milliseconds that router had been silent, when `reason` is `no_response`.
        silent_ms: Option<u64>,
        /// Name of the member of its sync group that it moved with, when `reason` is `sync_group`.
        #[serde(default)]
        moved_with: Option<String>,
    },
    /// An advertisement was late, and the host of the Active Router was asked.
    Suspected {
        /// Name of the virtual router.
        virtual_router: String,
        /// The Active Router.
        of: IpAddr,
        /// For how many milliseconds it had been silent.
        silent_ms: u64,
        /// What came of it: `dead`, `answered` or `unwitnessed`.
        finding: Finding,
        /// The third station that answered, where that counted.
        third: Option<IpAddr>,
    },
    /// A check changed its state.
    CheckChanged {
        /// Its name.
        check: String,
        /// State before.
        from: CheckState,
        /// State after.
        to: CheckState,
        /// What the run said that decided it.
        message: String,
        /// Those that name this check.
        virtual_routers: Vec<String>,
    },
    /// A virtual address was removed by somebody else while we were Active, and is being put back.
    AddressLost {
        /// Name of its virtual router.
        virtual_router: String,
        /// With its prefix length.
        address: String,
    },
    /// The kernel refused an address.
    AddressRefused {
        /// Name of its virtual router.
        virtual_router: String,
        /// With its prefix length.
        address: String,
        /// What the kernel said.
        error: String,
    },
    /// Somebody else took a route or rule, or an address that does not move; it is there again.
    RoutePutBack {
        /// Name of its virtual router; none: it is always there.
        virtual_router: Option<String>,
        /// As `ip` takes it.
        route: String,
    },
    /// A route or rule, or an address that does not move, cannot be had.
    RouteRefused {
        /// Name of its virtual router; none: it is always there.
        virtual_router: Option<String>,
        /// As `ip` takes it.
        route: String,
        /// Why.
        error: String,
    },
    /// An interface changed.
    LinkChanged {
        /// Its name.
        interface: String,
        /// How.
        change: LinkChange,
        /// Those that run on it.
        virtual_routers: Vec<String>,
    },
    /// Tracking changed a priority.
    PriorityChanged {
        /// Name of the virtual router.
        virtual_router: String,
        /// Priority before.
        from: Priority,
        /// Priority after.
        to: Priority,
        /// Why: `check registry is failing`.
        why: String,
    },
    /// Resigned for the time being, to let a better router, or by order any other, take over.
    Asking {
        /// Name of the virtual router.
        virtual_router: String,
        /// The priority in force.
        priority: Priority,
        /// An operator's order made it, not a lowered priority.
        #[serde(default)]
        ordered: bool,
    },
    /// No better router took over, and the role was kept.
    Kept {
        /// Name of the virtual router.
        virtual_router: String,
        /// A router of lower rank that showed itself.
        rival: Option<ActiveRouter>,
    },
    /// Handed over by order.
    HandedOver {
        /// Name of the virtual router.
        virtual_router: String,
        /// To whom, and how it went.
        handover: Handover,
    },
    /// An order was not obeyed, or came to nothing.
    OrderFailed {
        /// Name of the virtual router.
        virtual_router: String,
        /// `drain`, for example.
        command: String,
        /// Why.
        message: String,
    },
    /// Checks count again.
    FreezeEnded {
        /// Name of the virtual router.
        virtual_router: String,
        /// Its time was over.
        expired: bool,
    },
    /// A condition that a person should look at began.
    AlarmRaised {
        /// Name of the virtual router, unless it is about the daemon.
        virtual_router: Option<String>,
        /// Name of the condition.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// That condition ended.
    AlarmCleared {
        /// Name of the virtual router, unless it is about the daemon.
        virtual_router: Option<String>,
        /// Name of the condition.
        name: String,
    },
    /// Somebody gave a command.
    Command {
        /// User id; none for a signal.
        uid: Option<u32>,
        /// `reload`, `check registry --now`, `SIGTERM`.
        command: String,
        /// As given with `--reason`.
        reason: Option<String>,
    },
    /// A new configuration is in force.
    Reloaded {
        /// What changed, one sentence each.
        changes: Vec<String>,
    },
    /// A new configuration was faulty; nothing changed.
    ReloadRefused {
        /// All faults.
        diagnostics: String,
    },
    /// A hook's program failed.
    HookFailed {
        /// Name of the hook.
        hook: String,
        /// Name of the virtual router.
        virtual_router: String,
        /// Exit code, signal or deadline, in words.
        message: String,
    },
    /// A record was changed for a virtual router that is Active here, and the server confirmed it.
    DnsUpdated {
        /// Name of the `dns_update`.
        dns_update: String,
        /// Name of the virtual router.
        virtual_router: String,
        /// The domain name.
        record: String,
        /// The address that it has now.
        value: IpAddr,
        /// The addresses that it had before.
        was: Vec<IpAddr>,
        /// The server that confirmed it.
        server: SocketAddr,
        /// It had been right since this node became Active: somebody else changed it.
        again: bool,
    },
    /// A record could not be changed, for a reason that is new.
    DnsUpdateFailed {
        /// Name of the `dns_update`.
        dns_update: String,
        /// Name of the virtual router.
        virtual_router: String,
        /// Why.
        message: String,
    },
    /// Advertisements cannot be sent.
    SendFailing {
        /// Name of the virtual router.
        virtual_router: String,
        /// What the kernel said.
        error: String,
    },
    /// Advertisements cannot be sent to some of the peers.
    SendPartlyFailing {
        /// Name of the virtual router.
        virtual_router: String,
        /// What the kernel said of one of them.
        error: String,
    },
    /// Advertisements are sent again.
    SendRecovered {
        /// Name of the virtual router.
        virtual_router: String,
    },
}

/// What happened to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkChange {
    /// It exists now.
    Appeared,
    /// It no longer exists.
    Vanished,
    /// It was set up and has a carrier.
    Up,
    /// It was set down.
    Down,
    /// It has no carrier.
    CarrierLost,
    /// Its hardware address is another.
    MacChanged,
    /// It has a source address for us.
    SourceAddressFound,
    /// It has no source address for us any more.
    SourceAddressLost,
}

impl What {
    /// May this have moved the virtual router `name`? What is about the whole daemon may move each.
    pub fn moves(&self, name: &str) -> bool {
        self.is_of_daemon() || self.virtual_routers().iter().any(|router| router == name)
    }

    /// Is `name`, be it a virtual router, check, hook or interface, named in this?
    pub fn names(&self, name: &str) -> bool {
        let other = match self {
            Self::CheckChanged { check, .. } => check == name,
            Self::LinkChanged { interface, .. } => interface == name,
            Self::HookFailed { hook, .. } => hook == name,
            Self::DnsUpdated { dns_update, .. } | Self::DnsUpdateFailed { dns_update, .. } => {
                dns_update == name
            }
            _ => false,
        };
        other || self.virtual_routers().iter().any(|router| router == name)
    }

    /// Does this belong into the history of `name`? What is about the whole daemon belongs into each.
    pub fn concerns(&self, name: &str) -> bool {
        self.is_of_daemon() || self.names(name)
    }

    fn is_of_daemon(&self) -> bool {
        matches!(
            self,
            Self::Started { .. }
                | Self::Away { .. }
                | Self::Command { .. }
                | Self::Reloaded { .. }
                | Self::ReloadRefused { .. }
                | Self::AlarmRaised { virtual_router: None, .. }
                | Self::AlarmCleared { virtual_router: None, .. }
        )
    }

    fn virtual_routers(&self) -> &[String] {
        match self {
            Self::Transition { virtual_router, .. }
            | Self::AddressLost { virtual_router, .. }
            | Self::AddressRefused { virtual_router, .. }
            | Self::PriorityChanged { virtual_router, .. }
            | Self::Suspected { virtual_router, .. }
            | Self::Asking { virtual_router, .. }
            | Self::Kept { virtual_router, .. }
            | Self::HandedOver { virtual_router, .. }
            | Self::OrderFailed { virtual_router, .. }
            | Self::FreezeEnded { virtual_router, .. }
            | Self::HookFailed { virtual_router, .. }
            | Self::DnsUpdated { virtual_router, .. }
            | Self::DnsUpdateFailed { virtual_router, .. }
            | Self::SendFailing { virtual_router, .. }
            | Self::SendPartlyFailing { virtual_router, .. }
            | Self::SendRecovered { virtual_router } => slice::from_ref(virtual_router),
            Self::AlarmRaised { virtual_router, .. }
            | Self::AlarmCleared { virtual_router, .. }
            | Self::RoutePutBack { virtual_router, .. }
            | Self::RouteRefused { virtual_router, .. } => virtual_router.as_slice(),
            Self::CheckChanged { virtual_routers, .. } | Self::LinkChanged { virtual_routers, .. } => {
                virtual_routers
            }
            Self::Started { .. }
            | Self::Away { .. }
            | Self::Command { .. }
            | Self::Reloaded { .. }
            | Self::ReloadRefused { .. } => &[],
        }
    }
}
