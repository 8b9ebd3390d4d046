//! The cases: what happens, and how often the role should move because of it.

use std::time::Duration;

use lab::Contender;
use lab::contender::{Extra, Task};

use crate::adversity;
use crate::hostile;
use crate::site::Site;

/// One row of the page.
pub(crate) struct Case {
    /// As on the command line.
    pub(crate) name: &'static str,
    /// As on the page.
    pub(crate) says: &'static str,
    /// The heading it is under.
    pub(crate) group: Group,
    /// What both daemons are told.
    pub(crate) task: Task,
    /// How many claims it calls for.
    pub(crate) due: usize,
    /// What is done, until all of it is over.
    pub(crate) adversity: fn(&mut Site),
    /// How long is watched then.
    pub(crate) aftermath: Duration,
    /// Hardly anything happens: it may share the machine with others like it.
    pub(crate) idle: bool,
    /// The first daemon's files and log are on a small file system.
    pub(crate) small_disk: bool,
    /// Makes no sense with the other daemon.
    pub(crate) vrrpd_only: bool,
}

/// A heading of the page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Process,
    Network,
    Kernel,
    Strangers,
}

impl Group {
    pub(crate) const ALL: [Self; 4] = [Self::Process, Self::Network, Self::Kernel, Self::Strangers];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Process => "The daemon dies or stands still",
            Self::Network => "The network between the two",
            Self::Kernel => "Others at the same kernel",
            Self::Strangers => "Strangers",
        }
    }
}

impl Case {
    pub(crate) fn is_for(&self, contender: Contender) -> bool {
        contender == Contender::Vrrpd || !self.vrrpd_only
    }

    const fn slow(mut self) -> Self {
        self.task.interval = Duration::from_secs(1);
        self
    }

    const fn ipv6(mut self) -> Self {
        self.task.ipv6 = true;
        self
    }

    const fn after(mut self, seconds: u64) -> Self {
        self.aftermath = Duration::from_secs(seconds);
        self
    }

    const fn idle(mut self) -> Self {
        self.idle = true;
        self
    }

    /// The other daemon has no such thing.
    const fn with(mut self, extra: Extra) -> Self {
        self.task.extra = extra;
        self.vrrpd_only()
    }

    const fn small_disk(mut self) -> Self {
        self.small_disk = true;
        self
    }

    const fn vrrpd_only(mut self) -> Self {
        self.vrrpd_only = true;
        self
    }
}

/// At 100 ms over IPv4, watched for two more seconds, unless changed.
const fn case(
    group: Group,
    name: &'static str,
    says: &'static str,
    due: usize,
    adversity: fn(&mut Site),
) -> Case {
    let task = Task { interval: Duration::from_millis(100), ipv6: false, extra: Extra::Nothing };
    Case {
        name,
        says,
        group,
        task,
        due,
        adversity,
        aftermath: Duration::from_secs(2),
        idle: false,
        small_disk: false,
        vrrpd_only: false,
    }
}

use Group::{Kernel, Network, Process, Strangers};

/// All of them, in the order of the page.
pub(crate) const CASES: &[Case] = &[
    case(Process, "kill-1s", "kill -9, nothing restarts it", 1, adversity::kill).slow().after(12),
    case(Process, "kill-100ms", "kill -9, nothing restarts it", 1, adversity::kill).after(6),
    case(Process, "kill-ipv6", "kill -9, nothing restarts it, IPv6", 1, adversity::kill).after(6).ipv6(),
    case(Process, "restart-1s", "kill -9, started again after 100 ms", 0, adversity::kill_and_restart)
        .slow()
        .after(9),
    case(Process, "restart-100ms", "kill -9, started again after 100 ms", 0, adversity::kill_and_restart)
        .after(4),
    case(Process, "wedge-1s", "protocol thread stands still for 12 s", 2, adversity::wedge_12s)
        .slow()
        .after(8),
    case(Process, "wedge-100ms", "protocol thread stands still for 5 s", 2, adversity::wedge_5s),
    case(Process, "wedge-ipv6", "protocol thread stands still for 5 s, IPv6", 2, adversity::wedge_5s).ipv6(),
    case(Process, "stop-5-1s", "SIGSTOP for 5 intervals", 2, adversity::stop_5).slow().after(8),
    case(Process, "stop-5-100ms", "SIGSTOP for 5 intervals", 2, adversity::stop_5),
    case(Process, "stop-5-ipv6", "SIGSTOP for 5 intervals, IPv6", 2, adversity::stop_5).ipv6(),
    case(Process, "stop-60s-1s", "SIGSTOP for 60 s", 2, adversity::stop_60s).slow().after(8).idle(),
    case(Process, "stop-60s-100ms", "SIGSTOP for 60 s", 2, adversity::stop_60s).idle(),
    case(Process, "backup-stop-1s", "the Backup: SIGSTOP for 5 intervals", 0, adversity::stop_backup_5)
        .slow()
        .after(5),
    case(Process, "backup-stop-100ms", "the Backup: SIGSTOP for 5 intervals", 0, adversity::stop_backup_5),
    case(Process, "both-stop-100ms", "both: SIGSTOP for 5 intervals", 0, adversity::stop_both_5),
    case(Network, "cable", "the Active node's cable out for 2 s", 2, adversity::pull_the_cable),
    case(
        Network,
        "cut-off-active",
        "the Active cut off from all for 5 s, carrier stays",
        2,
        adversity::cut_off_active,
    ),
    case(Network, "witness-active", "the same, with a witness", 2, adversity::cut_off_active)
        .with(Extra::Witness),
    case(Network, "cut-off-backup", "the Backup cut off from all for 5 s", 0, adversity::cut_off_backup),
    case(Network, "witness-backup", "the same, with a witness", 0, adversity::cut_off_backup)
        .with(Extra::Witness),
    case(Network, "mute-to-backup", "protocol 112 filtered to the Backup for 5 s", 1, adversity::mute_active),
    case(Network, "mute-to-active", "protocol 112 filtered to the Active for 5 s", 0, adversity::mute_backup),
    case(Network, "mute-both", "protocol 112 filtered both ways for 5 s", 1, adversity::mute_both),
    case(Network, "second-path", "the same, with a second path between the two", 0, adversity::mute_both)
        .with(Extra::SecondPath),
    case(Network, "loss-10", "10 % of the frames between them lost for 10 s", 0, adversity::lose_10),
    case(Network, "loss-30", "30 % lost for 10 s", 0, adversity::lose_30),
    case(Network, "loss-50", "50 % lost for 10 s", 0, adversity::lose_50),
    case(Kernel, "lock", "RTNL held by others for 8 s, a stopped and started", 2, adversity::hold_the_lock),
    case(Kernel, "flush", "address deleted every 100 ms for 5 s", 0, adversity::flush),
    case(Kernel, "flush-ipv6", "address deleted every 100 ms for 5 s, IPv6", 0, adversity::flush).ipv6(),
    case(Kernel, "link", "interface down for 1 s, up for 2 s, three times", 6, adversity::link_down_and_up),
    case(Kernel, "rename", "interface renamed for 2 s, and back", 2, adversity::rename),
    case(Kernel, "delete", "interface deleted, made anew after 2 s", 2, adversity::delete),
    case(Kernel, "overrun", "netlink overrun while the address is deleted", 0, adversity::overrun)
        .slow()
        .after(6),
    case(Kernel, "second", "a second daemon for the same VRID, for 3 s", 0, adversity::second_daemon),
    case(Kernel, "full-disk", "state and log on a full disk, cable out for 2 s", 2, adversity::fill_the_disk)
        .small_disk(),
    case(Strangers, "flood", "100 000 frames of each malformed kind, full rate", 0, hostile::flood),
    case(Strangers, "trickle", "15 malformed frames a second for 10 s", 0, hostile::trickle),
    case(Strangers, "clients", "eight control clients that flood for 5 s", 0, adversity::flood_control)
        .vrrpd_only(),
];
