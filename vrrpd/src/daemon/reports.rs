//! What the threads report, to where it belongs: the log, the history, the hooks, the state files.

use jiff::Timestamp;
use tracing::{debug, error, info, warn};
use vrrp_proto::absence::Absence;
use vrrp_proto::action::{Input, Report};
use vrrp_proto::parameters::{InterfaceState, RouterId};
use vrrp_proto::snapshot::{Delivery, Finding, Reason, StateName};
use vrrp_proto::tracking::TrackerState;
use vrrp_proto::{Instant, Priority};

use super::{Daemon, hook_state};
use crate::check::{self, CheckResult};
use crate::config::HookState;
use crate::control::alarm::Alarm;
use crate::control::errno_words;
use crate::control::protocol::ActiveRouter;
use crate::control::time::WallTime;
use crate::history::{LinkChange, What};
use crate::hook::Transition;
use crate::{clock, dns_update, fence, kernel, protocol};

impl Daemon {
    /// Takes in what the core reported, at the time when it did.
    pub(super) fn report(&mut self, report: Report, at: Instant) {
        match report {
            Report::Discarded { link, router, source, error, packets } => {
                let place =
                    router.map_or_else(|| self.roster.interface(link).to_owned(), |router| self.name(router));
                let source = source.map_or_else(|| "?".to_owned(), |source| source.to_string());
                match packets {
                    1 => warn!("{place}: discarded an advertisement from {source}: {error}"),
                    _ => {
                        warn!("{place}: discarded {packets} advertisements, the last from {source}: {error}")
                    }
                }
                return;
            }
            Report::Gone { router } => return self.gone(router),
            Report::AskWitnesses { router, asked, within } => {
                return self.ask_witnesses(router, asked, within);
            }
            Report::Ordered { number, outcome, .. } => {
                self.tell_peers();
                return self.order_answered(number, outcome);
            }
            Report::PriorityChanged { .. } => self.tell_peers(),
            Report::Transition { router, to, .. } => self.entered(router, to),
            Report::ChecksumForm { router, form } => {
                let name = self.name(router);
                info!(
                    virtual_router = name,
                    "the peer speaks the checksum form {}; so do we now",
                    form.name()
                );
                self.forms.learn(&name, form).iter().for_each(|trouble| warn!("{trouble}"));
                return;
            }
            _ => {}
        }
        if let Some(what) = self.event(report) {
            self.history.record(WallTime::now().minus(clock::now() - at), what);
        }
        if matches!(report, Report::Transition { .. }) {
            self.ask_by_role();
        }
    }

    /// Takes in what the kernel thread has to say to people.
    pub(super) fn kernel_note(&mut self, note: kernel::Note) {
        match note {
            kernel::Note::Interface { name, state } => {
                let change = match state {
                    InterfaceState::Up => LinkChange::Up,
                    InterfaceState::Down => LinkChange::Down,
                    InterfaceState::Missing => LinkChange::Vanished,
                };
                info!(interface = name, "interface is {}", interface_word(state));
                let on_it = self
                    .config
                    .virtual_routers
                    .iter()
                    .filter(|router| router.interface == name || router.garp.interfaces.contains(&name));
                let virtual_routers = on_it.map(|router| router.name.clone()).collect();
                self.record(What::LinkChanged { interface: name, change, virtual_routers });
            }
            kernel::Note::Refused { router, address, message } => {
                let virtual_router = self.name(router);
                error!(virtual_router, %address, "{message}");
                let (address, error) = (address.to_string(), message);
                self.record(What::AddressRefused { virtual_router, address, error });
            }
            kernel::Note::Device { router, trouble } => {
                let virtual_router = self.name(router);
                match &trouble {
                    Some(message) => error!(virtual_router, "no virtual MAC address: {message}"),
                    None => info!(virtual_router, "the device with the virtual MAC address is there"),
                }
                self.observer.device(router, trouble);
            }
            kernel::Note::Ended { address, connections } => {
                info!(%address, connections, "TCP connections were ended because their address goes");
                self.observer.connections.ended += count(connections);
            }
            kernel::Note::Told(told) => self.told(&told),
            kernel::Note::Tracked { interface, state } => self.tracked(interface, state),
            kernel::Note::Ways { router, seen } => self.observer.ways(router, seen),
            kernel::Note::Way { router, way, fate } => {
                let (virtual_router, route) = (router.map(|router| self.name(router)), way.to_string());
                let on = virtual_router.as_deref().unwrap_or("static");
                let what = match fate {
                    kernel::Fate::PutBack => {
                        warn!(virtual_router = on, route, "somebody removed it; it is there again");
                        What::RoutePutBack { virtual_router, route }
                    }
                    kernel::Fate::Refused(error) => {
                        warn!(virtual_router = on, route, "{error}; trying again");
                        What::RouteRefused { virtual_router, route, error }
                    }
                };
                self.record(what);
            }
            kernel::Note::AcceptMode { trouble } => self.accept_mode(trouble),
            kernel::Note::Fence(standing) => self.fence(standing),
            kernel::Note::Trouble(message) => warn!("{message}"),
        }
    }

    /// Clients were made to ask who has the address of their connections now.
    fn told(&mut self, told: &kernel::Told) {
        let &kernel::Told { connections, left_out, .. } = told;
        if connections > 0 {
            info!(
                connections,
                "clients of TCP connections that go on elsewhere were told that the address moved"
            );
        }
        if !told.troubles.is_empty() {
            let why = told.troubles.iter().map(String::as_str).collect::<Vec<_>>().join("; ");
            warn!(left_out, "some clients learn by themselves that their address has moved: {why}");
        }
        self.observer.connections.told += count(connections);
        self.observer.connections.left_out += count(left_out);
    }

    /// What `accept_mode = false` forbids is accepted, or no longer.
    fn accept_mode(&mut self, trouble: Option<String>) {
        let name = "accept_mode_not_enforced".to_owned();
        let virtual_router = None;
        self.record(match &trouble {
            Some(message) => {
                error!("accept_mode = false is not enforced: {message}");
                What::AlarmRaised { virtual_router, name, message: message.clone() }
            }
            None => {
                info!("accept_mode = false is enforced");
                What::AlarmCleared { virtual_router, name }
            }
        });
        self.observer.accept_mode(trouble);
    }

    /// What silences the addresses of a dead daemon came or went.
    fn fence(&mut self, standing: fence::Standing) {
        let name = "fence_failed".to_owned();
        let virtual_router = None;
        let failed_before = self.observer.fence_has_failed();
        match &standing {
            fence::Standing::Failed(message) => {
                error!("a dead daemon's addresses would answer until their lifetime ends: {message}");
                self.record(What::AlarmRaised { virtual_router, name, message: message.clone() });
            }
            fence::Standing::Missing(message) => {
                info!("no fence, the lifetime of the addresses is the only lease: {message}");
            }
            fence::Standing::InForce if failed_before => {
                info!("the fence is in force again");
                self.record(What::AlarmCleared { virtual_router, name });
            }
            fence::Standing::Unwanted if failed_before => {
                self.record(What::AlarmCleared { virtual_router, name });
            }
            fence::Standing::InForce | fence::Standing::Unwanted => {}
        }
        self.observer.fence(standing);
    }

    /// Logs a report, tells the hooks, and says what the history keeps of it.
    fn event(&mut self, report: Report) -> Option<What> {
        Some(match report {
            Report::Transition { router, from, to, reason, priority, rival, silent, moved_with } => {
                self.transition(router, from, to, reason, priority, rival.map(|(address, _)| address));
                self.follow(router, Some(to));
                What::Transition {
                    virtual_router: self.name(router),
                    from,
                    to,
                    reason,
                    priority,
                    active_router: rival.map(|(address, priority)| ActiveRouter {
                        address,
                        priority,
                        this_node: false,
                    }),
                    silent_ms: silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
                    moved_with: moved_with.map(|other| self.name(other)),
                }
            }
            Report::Away(Absence { length, clock }) => {
                let away_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
                let what = What::Away { away_ms, clock };
                warn!("{what}");
                what
            }
            Report::PriorityChanged { router, from, to } => {
                let config = &self.roster.get(router)?.config;
                let failing = self.failing(config);
                let why = match (failing.is_empty(), to == config.priority) {
                    (_, true) => "no check lowers it".to_owned(),
                    (true, false) if config.second_path.is_some() => {
                        "the clients' LAN does not answer, or has not yet".to_owned()
                    }
                    (true, false) => "configured".to_owned(),
                    (false, false) => format!("not passing: {}", failing.join(", ")),
                };
                info!(virtual_router = config.name, "priority {from} -> {to}: {why}");
                What::PriorityChanged { virtual_router: self.name(router), from, to, why }
            }
            Report::Asking { router, priority, ordered } => {
                let virtual_router = self.name(router);
                let who = if ordered { "any other router" } else { "a better router" };
                info!(virtual_router, "resigned at priority {priority}, to let {who} take over");
                What::Asking { virtual_router, priority, ordered }
            }
            Report::Kept { router, rival } => {
                let virtual_router = self.name(router);
                info!(virtual_router, "no better router took over; going on as Active");
                let rival =
                    rival.map(|(address, priority)| ActiveRouter { address, priority, this_node: false });
                What::Kept { virtual_router, rival }
            }
            Report::AddressLost { router, index } => {
                let address = self.address(router, index);
                let virtual_router = self.name(router);
                warn!(virtual_router, address, "somebody removed the address; putting it back");
                What::AddressLost { virtual_router, address }
            }
            Report::Sending { router, delivery } => {
                let virtual_router = self.name(router);
                match delivery {
                    Delivery::Complete => {
                        info!(virtual_router, "advertisements are sent again");
                        What::SendRecovered { virtual_router }
                    }
                    Delivery::Partial { errno } => {
                        let error = errno_words(errno);
                        warn!(virtual_router, "advertisements cannot be sent to some of the peers: {error}");
                        What::SendPartlyFailing { virtual_router, error }
                    }
                    Delivery::Failing { errno } => {
                        let error = errno_words(errno);
                        error!(virtual_router, "advertisements cannot be sent: {error}");
                        What::SendFailing { virtual_router, error }
                    }
                }
            }
            Report::Alarm { router, alarm, raised, evidence } => {
                let config = &self.roster.get(router)?.config;
                let name = alarm.as_str().to_owned();
                let virtual_router = Some(config.name.clone());
                if raised {
                    let Alarm { message, remedy, .. } = Alarm::heard(alarm, &evidence, config);
                    warn!(virtual_router = config.name, "alarm {name}: {message} -> {remedy}");
                    What::AlarmRaised { virtual_router, name, message }
                } else {
                    info!(virtual_router = config.name, "alarm {name} is over");
                    What::AlarmCleared { virtual_router, name }
                }
            }
            Report::Suspected { router, of, finding, third, silent } => {
                let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
                let what =
                    What::Suspected { virtual_router: self.name(router), of, silent_ms, finding, third };
                match finding {
                    Finding::Answered => info!("{what}"),
                    Finding::Dead | Finding::Unwitnessed => warn!("{what}"),
                }
                what
            }
            // The kernel thread tells it in the kernel's words.
            Report::AddressRefused { .. }
            | Report::Discarded { .. }
            | Report::Gone { .. }
            | Report::AskWitnesses { .. }
            | Report::Ordered { .. }
            | Report::ChecksumForm { .. } => return None,
        })
    }

    fn transition(
        &mut self,
        router: RouterId,
        from: StateName,
        to: StateName,
        reason: Reason,
        priority: Priority,
        rival: Option<std::net::IpAddr>,
    ) {
        let Some(entry) = self.roster.get(router) else { return };
        let config = &entry.config;
        self.roles.set(&config.name, to == StateName::Active);
        info!(
            virtual_router = config.name,
            interface = config.interface,
            vrid = config.vrid.get(),
            family = %config.family,
            priority = priority.get(),
            "{} -> {}: {}",
            from.as_str(),
            to.as_str(),
            reason.as_str()
        );
        // Another reason for the same state is nothing to run a program for; `stopped` was told
        // when the order was given.
        if from != to && reason != Reason::Shutdown {
            let transition = Transition {
                // Out of service on purpose is no fault.
                state: if reason == Reason::Drained { HookState::Stopped } else { hook_state(to) },
                previous_state: hook_state(from),
                reason: reason.as_str().to_owned(),
                priority: priority.get(),
                active_router: if to == StateName::Backup { rival } else { None },
                at: Timestamp::now(),
            };
            self.hooks.notify(&config.name, &transition);
        }
    }

    /// Names follow the role of a router, which has none when it is leaving.
    pub(super) fn follow(&mut self, router: RouterId, state: Option<StateName>) {
        if let Some(entry) = self.roster.get(router) {
            let active = state == Some(StateName::Active) && !entry.leaving;
            self.dns.role(&entry.config.name, active);
        }
    }

    /// Takes in what became of a record.
    pub(super) fn dns_report(&mut self, report: dns_update::Report) {
        if !self.dns.heard(&report) {
            return;
        }
        let update = report.update;
        let (dns_update, virtual_router) = (update.name, update.virtual_router);
        let message = &report.standing.message;
        let what = match report.event {
            None => return debug!(dns_update, "{message}"),
            Some(dns_update::Event::Failed { message }) => {
                let remedy = report.standing.remedy.as_deref().unwrap_or("");
                warn!(virtual_router, dns_update, "{message} -> {remedy}");
                What::DnsUpdateFailed { dns_update, virtual_router, message }
            }
            Some(dns_update::Event::Changed { server, was, again }) => {
                let (record, value) = (update.record, update.value);
                let what = What::DnsUpdated { dns_update, virtual_router, record, value, was, server, again };
                info!("{what}");
                what
            }
        };
        self.record(what);
    }

    fn entered(&mut self, router: RouterId, state: StateName) {
        self.commands.entered(router, state);
        if state == StateName::Active {
            self.active_again(&self.name(router));
        }
        self.tell_peers();
    }

    /// Nothing is left of a router that was told to leave.
    fn gone(&mut self, router: RouterId) {
        self.roster.remove(router);
        let there = self.roster.iter().map(|(_, entry)| &entry.config);
        self.berths.keep(there.chain(&self.config.virtual_routers));
        self.observer.device(router, None);
        self.commands.gone(router);
        self.wires.kernel.push_waiting(kernel::Message::Forget(router));
        self.wires.messages.push_waiting(protocol::Message::Input(Input::Remove { router }));
    }

    pub(super) fn name(&self, router: RouterId) -> String {
        self.roster
            .get(router)
            .map_or_else(|| format!("router {}", router.0), |entry| entry.config.name.clone())
    }

    fn address(&self, router: RouterId, index: u16) -> String {
        let address = self.roster.get(router).and_then(|entry| entry.address(index));
        address.map_or_else(|| format!("address {index}"), |address| address.to_string())
    }
}

/// What hooks are told when a router leaves for good.
pub(super) fn stopped(priority: Priority) -> Transition {
    Transition {
        state: HookState::Stopped,
        previous_state: HookState::Fault,
        reason: Reason::Shutdown.as_str().to_owned(),
        priority: priority.get(),
        active_router: None,
        at: Timestamp::now(),
    }
}

/// A line for a tracked interface that counts another way.
pub(super) fn log_tracked(name: &str, state: TrackerState, message: &str) {
    match state {
        TrackerState::Failing => warn!(check = name, "failing: {message}"),
        _ => info!(check = name, "passing: {message}"),
    }
}

/// A line for a check that changed its state.
pub(super) fn log_check(result: &CheckResult) {
    match result.state {
        check::CheckState::Failing => warn!(check = result.name, "failing: {}", result.message),
        check::CheckState::Passing => info!(check = result.name, "passing: {}", result.message),
        check::CheckState::Pending => {}
    }
}

pub(super) fn interface_word(state: InterfaceState) -> &'static str {
    match state {
        InterfaceState::Up => "up",
        InterfaceState::Down => "down",
        InterfaceState::Missing => "missing",
    }
}

fn count(connections: usize) -> u64 {
    u64::try_from(connections).expect("no more than 64 bits")
}
