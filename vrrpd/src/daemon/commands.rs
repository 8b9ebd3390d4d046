//! The operator's orders: judged by what is known, written down, given to the core, and answered when
//! the core says what became of them.

mod outcome;
mod remote;

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};
use vrrp_proto::action::{Input, Order};
use vrrp_proto::parameters::RouterId;
use vrrp_proto::snapshot::StateName;
use vrrp_proto::tracking::TrackerState;

use super::Daemon;
use crate::config;
use crate::control::protocol::{By, CheckState, Frozen, Orders, Refusal, Request};
use crate::control::server::Call;
use crate::control::time::{Span, WallTime, age};
use crate::history::What;
use crate::peer_link::Message;
use crate::protocol;
use outcome::Answering;
use remote::{Asked, Served};

/// The longest freeze: what is meant to last longer is a change of the configuration.
const FREEZE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Letters of a reason: it is shown in one line, and crosses the peer link in one datagram.
const REASON_MAX: usize = 500;
/// An order that was not answered for so long got lost; more than any handover takes.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Orders that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Commands {
    last_number: u32,
    /// By the number that the core was given.
    waiting: BTreeMap<u32, Waiting>,
    /// Asked of a peer, by the number that it was given.
    asked: BTreeMap<u64, Asked>,
    /// Questions of peers, with the answer once there is one.
    served: Vec<Served>,
    states: BTreeMap<RouterId, StateName>,
}

/// An order as it was given.
struct Given {
    router: RouterId,
    config: config::VirtualRouter,
    by: By,
    answer: Answering,
}

/// Who waits for an order's outcome.
#[derive(Debug)]
struct Waiting {
    router: RouterId,
    command: &'static str,
    by: By,
    notes: Vec<String>,
    answer: Answering,
    until: tokio::time::Instant,
}

/// What is known of the fitness of others.
enum Known {
    Fit,
    Unfit(String),
    Nothing(String),
}

impl Commands {
    /// Remembers the state that a router reported.
    pub(super) fn entered(&mut self, router: RouterId, state: StateName) {
        self.states.insert(router, state);
    }

    /// Nothing is left of a router.
    pub(super) fn gone(&mut self, router: RouterId) {
        self.states.remove(&router);
    }

    fn is_busy(&self, router: RouterId) -> bool {
        self.waiting.values().any(|waiting| waiting.router == router)
            || self.asked.values().any(|asked| asked.router == router)
    }

    fn state(&self, router: RouterId) -> StateName {
        self.states.get(&router).copied().unwrap_or(StateName::Initialize)
    }
}

impl Daemon {
    /// An order of a client.
    pub(super) fn ordered(&mut self, call: Call) {
        let uid = call.peer.uid;
        let (name, reason, words) = match &call.request {
            Request::Drain { name, reason, force } => (name, reason, with_force(*force)),
            Request::Switchover { name, reason, force } => (name, reason, with_force(*force)),
            Request::Freeze { name, lasts, reason } => (name, reason, format!(" --for {lasts}")),
            Request::Undrain { name, reason }
            | Request::Unfreeze { name, reason }
            | Request::Announce { name, reason } => (name, reason, String::new()),
            // Not an order; the caller sends none such.
            _ => return,
        };
        let letters = reason.as_deref().map_or(0, |reason| reason.chars().count());
        if letters > REASON_MAX {
            let refusal =
                Refusal::usage(format!("--reason has {letters} letters, out of range 0..={REASON_MAX}"));
            return self.reply(Answering::Client(call.answer), Err(refusal));
        }
        let by = By { uid, user: user_name(uid), node: None, at: WallTime::now(), reason: reason.clone() };
        let command = format!("{} {name}{words}", call.request.command());
        info!(uid, reason, "ordered: {command}");
        self.record(What::Command { uid: Some(uid), command, reason: reason.clone() });
        self.obey(&call.request, by, Answering::Client(call.answer));
    }

    fn obey(&mut self, request: &Request, by: By, answer: Answering) {
        let (Request::Drain { name, .. }
        | Request::Undrain { name, .. }
        | Request::Freeze { name, .. }
        | Request::Unfreeze { name, .. }
        | Request::Switchover { name, .. }
        | Request::Announce { name, .. }) = request
        else {
            return;
        };
        let Some((router, config)) = self.find(name) else {
            let known = self.config.virtual_routers.iter().map(|router| router.name.as_str());
            let refusal = Refusal::unknown_name("virtual router", name, known);
            return self.reply(answer, Err(refusal));
        };
        let moves = !matches!(request, Request::Announce { .. });
        let refusal = if config.priority.is_owner() && moves {
            let message = "priority 255 owns the addresses, which are the administrator's to move, and its \
                           checks move nothing";
            Some(message.to_owned())
        } else if self.commands.is_busy(router) {
            Some(format!("an order for {name} is under way; wait for its answer"))
        } else {
            None
        };
        if let Some(message) = refusal {
            return self.fail(&config.name, request.command(), message, answer);
        }
        let given = Given { router, config, by, answer };
        match request {
            Request::Drain { force, .. } => self.drain(given, *force),
            Request::Undrain { .. } => self.undrain(given),
            Request::Freeze { lasts, .. } => self.freeze(given, *lasts),
            Request::Unfreeze { .. } => self.unfreeze(given),
            Request::Switchover { force, .. } => self.switch_over(given, *force),
            Request::Announce { .. } => self.give(given, Order::Announce, "announce", Vec::new()),
            _ => {}
        }
    }

    fn drain(&mut self, given: Given, force: bool) {
        let name = &given.config.name;
        if let Some(before) = self.standing.of(name).drained {
            let message = format!("is drained already, {}", before.words(WallTime::now()));
            return self.done(name, "drain", message, Vec::new(), given.answer);
        }
        let mut notes = self.who_moves_along(name);
        match self.known(&given.config) {
            Known::Fit => {}
            Known::Unfit(why) if force => notes.push(why),
            Known::Unfit(why) => {
                let message =
                    format!("{why}. Not drained: this is the last fit node; --force to leave nevertheless");
                return self.fail(name, "drain", message, given.answer);
            }
            Known::Nothing(why) => notes.push(why),
        }
        // Written down first: what cannot be kept across a restart is not begun.
        if let Err(trouble) = self.standing.change(name, |orders| orders.drained = Some(given.by.clone())) {
            return self.fail(
                name,
                "drain",
                format!("{trouble}. Not drained: it would not outlive a restart"),
                given.answer,
            );
        }
        self.give(given, Order::Drain { force }, "drain", notes);
    }

    fn undrain(&mut self, given: Given) {
        let Given { router, config, answer, .. } = given;
        let name = &config.name;
        let before = self.standing.of(name).drained;
        // A disk that is full must not keep a node away that is wanted back. A handover before the drain is over
        // with it, also when a crash left that unanswered: the core has forgotten it.
        let unwritten = self.standing.note(name, |orders| {
            if orders.drained.take().is_some() {
                orders.yielded = None;
            }
        });
        self.tell_core(router, Order::Undrain);
        let message = match before {
            Some(by) => format!("takes part again; it was drained {}", by.words(WallTime::now())),
            None => "was not drained; nothing changed".to_owned(),
        };
        let mut notes = self.others_under(name, "undrain", |orders| orders.drained.is_some());
        notes.extend(unwritten.map(would_return));
        self.done(name, "undrain", message, notes, answer);
    }

    fn freeze(&mut self, given: Given, lasts: Span) {
        let Given { router, config, by, answer } = given;
        let name = &config.name;
        if lasts.0 < Duration::from_secs(1) || lasts.0 > FREEZE_MAX {
            let message = format!("--for {lasts} is out of range 1s..=7d; nothing is frozen");
            return self.reply(answer, Err(Refusal::usage(message)));
        }
        let now = WallTime::now();
        // A freeze that is prolonged goes on from how the checks stood at its beginning, and so does one
        // beside that of another member, which all go by already.
        let group = self.config.sync_group(name).map(|group| &group.virtual_routers[..]);
        let before = self.standing.frozen_checks(name, group.unwrap_or_default());
        let checks = before.unwrap_or_else(|| self.check_states(&config));
        let failing: Vec<&str> = checks
            .iter()
            .filter(|(_, state)| matches!(state, CheckState::Pending | CheckState::Failing))
            .map(|(check, _)| check.as_str())
            .collect();
        let mut notes =
            vec!["a node that dies, a lost link and a refused address still move the addresses".to_owned()];
        notes.extend(self.who_moves_along(name));
        if !failing.is_empty() {
            notes.push(format!(
                "frozen as not passing: {}; their recovery moves nothing either",
                failing.join(", ")
            ));
        }
        let frozen = Frozen { by, until: now.plus(lasts.0), checks };
        let message = format!(
            "checks move nothing until {} ({} from now), across restarts; vrrpctl unfreeze {name} ends it",
            frozen.until.clock(now),
            age(lasts.0)
        );
        if let Err(trouble) = self.standing.change(name, |orders| orders.frozen = Some(frozen.clone())) {
            return self.fail(
                name,
                "freeze",
                format!("{trouble}. Not frozen: it would not outlive a restart"),
                answer,
            );
        }
        let order = self.freeze_order(&frozen);
        self.tell_core(router, order);
        self.done(name, "freeze", message, notes, answer);
    }

    fn unfreeze(&mut self, given: Given) {
        let Given { router, config, answer, .. } = given;
        let name = &config.name;
        if self.standing.of(name).frozen.is_none() {
            let notes = self.others_under(name, "unfreeze", |orders| orders.frozen.is_some());
            return self.done(name, "unfreeze", "was not frozen; nothing changed".to_owned(), notes, answer);
        }
        let unwritten = self.standing.note(name, |orders| orders.frozen = None);
        self.freeze_ended(router, name, false);
        let failing = self.failing(&config);
        let mut notes = self.others_under(name, "unfreeze", |orders| orders.frozen.is_some());
        let message = match failing.is_empty() {
            _ if !notes.is_empty() => "is not frozen by itself any more".to_owned(),
            true => "checks count again; all of them pass".to_owned(),
            false => format!("checks count again; not passing: {}", failing.join(", ")),
        };
        notes.extend(unwritten.map(would_return));
        self.done(name, "unfreeze", message, notes, answer);
    }

    fn switch_over(&mut self, given: Given, force: bool) {
        let name = &given.config.name;
        match self.commands.state(given.router) {
            StateName::Active => {
                let mut notes = self.who_moves_along(name);
                match self.known(&given.config) {
                    Known::Fit => {}
                    Known::Unfit(why) if force => notes.push(why),
                    Known::Unfit(why) => {
                        let message = format!("{why}. Not handed over; --force to hand over nevertheless");
                        return self.fail(name, "switchover", message, given.answer);
                    }
                    Known::Nothing(why) => notes.push(why),
                }
                self.give(given, Order::HandOver, "switchover", notes);
            }
            StateName::Backup if matches!(given.answer, Answering::Client(_)) => self.fetch(given, force),
            state => {
                let state = state.as_str();
                let message = format!(
                    "is in {state} here: there is nothing to hand over. vrrpctl why {name} says why, and vrrpctl state who \
                     is Active"
                );
                self.fail(name, "switchover", message, given.answer);
            }
        }
    }

    /// Gives the core an order that is answered later.
    fn give(&mut self, given: Given, order: Order, command: &'static str, notes: Vec<String>) {
        let Given { router, by, answer, .. } = given;
        let until = tokio::time::Instant::now() + ANSWER_WITHIN;
        let number = self.tell_core(router, order);
        self.commands.waiting.insert(number, Waiting { router, command, by, notes, answer, until });
    }

    fn tell_core(&mut self, router: RouterId, order: Order) -> u32 {
        self.commands.last_number = self.commands.last_number.wrapping_add(1);
        let number = self.commands.last_number;
        self.wires.messages.push_waiting(protocol::Message::Input(Input::Order { router, number, order }));
        number
    }

    /// Tells a router that starts, or that a reload changed, what it stands under.
    pub(super) fn remind(&mut self, router: RouterId) {
        let Some(config) = self.roster.get(router).map(|entry| entry.config.clone()) else { return };
        if config.priority.is_owner() {
            return;
        }
        let orders = self.standing.of(&config.name);
        if orders.drained.is_some() {
            self.tell_core(router, Order::Drain { force: true });
        }
        if orders.yielded.is_some() {
            self.tell_core(router, Order::Yield);
        }
        if let Some(frozen) = &orders.frozen {
            let order = self.freeze_order(frozen);
            self.tell_core(router, order);
        }
    }

    fn freeze_order(&mut self, frozen: &Frozen) -> Order {
        let states = frozen.checks.iter().map(|(check, state)| {
            let state = match state {
                CheckState::Pending => TrackerState::Pending,
                CheckState::Passing => TrackerState::Passing,
                CheckState::Failing => TrackerState::Failing,
                CheckState::Skipped => TrackerState::Skipped,
            };
            (self.roster.tracker(check), state)
        });
        Order::Freeze(states.collect())
    }

    /// Is there anything that the passing of time alone changes? An idle daemon sleeps.
    pub(super) fn minds_the_time(&self) -> bool {
        let Commands { waiting, asked, served, .. } = &self.commands;
        self.peers.is_configured()
            || self.state_dir.is_behind()
            || !(waiting.is_empty() && asked.is_empty() && served.is_empty())
            || self.standing.iter().any(|(_, orders)| orders.frozen.is_some())
    }

    /// What time brings about: freezes that end, questions that are put again or given up. Called
    /// each second while [`minds_the_time`](Self::minds_the_time).
    pub(super) fn orders_tick(&mut self) {
        let now = WallTime::now();
        let over = |(name, orders): (&String, &Orders)| {
            orders.frozen.as_ref().is_some_and(|frozen| frozen.until <= now).then(|| name.clone())
        };
        let ended: Vec<String> = self.standing.iter().filter_map(over).collect();
        for name in ended {
            let router = self.find(&name).map(|(router, _)| router);
            let Some(router) = router else { continue };
            // Its end is written down with it: what cannot be written now ends after a restart as well.
            let trouble = self.standing.note(&name, |orders| orders.frozen = None);
            trouble.iter().for_each(|trouble| warn!(virtual_router = name, "{trouble}"));
            self.freeze_ended(router, &name, true);
        }
        let asks: Vec<_> =
            self.commands.asked.values().map(|asked| (asked.peer, asked.ask.clone())).collect();
        for (peer, ask) in asks {
            self.peers.send(peer, Message::Ask(ask));
        }
        self.give_up_waiting();
    }

    fn freeze_ended(&mut self, router: RouterId, name: &str, expired: bool) {
        let others = self.others_under(name, "unfreeze", |orders| orders.frozen.is_some());
        match &others[..] {
            [] => info!(virtual_router = name, expired, "the freeze has ended; checks count as they are now"),
            _ => info!(virtual_router = name, expired, "the freeze has ended; {}", others.join(", ")),
        }
        self.record(What::FreezeEnded { virtual_router: name.to_owned(), expired });
        self.tell_core(router, Order::Unfreeze);
    }

    /// What the peer link tells of the others.
    fn known(&self, config: &config::VirtualRouter) -> Known {
        let peers = self.peers.peers();
        if peers.is_empty() {
            let why = match &self.peers.trouble {
                Some(trouble) => format!("nothing is known of the fitness of other nodes: {trouble}"),
                None => "nothing is known of the fitness of other nodes: there is no peer link ([peer_link])"
                    .to_owned(),
            };
            return Known::Nothing(why);
        }
        let mut unfit = Vec::new();
        let mut silent = Vec::new();
        for peer in &peers {
            let title = peer.title();
            match (peer.is_fresh(), peer.counterpart(&config.name, config.vrid.get(), config.family)) {
                (false, _) => silent.push(title),
                (true, None) => {
                    unfit.push(format!("{title} has no virtual router with VRID {}", config.vrid))
                }
                (true, Some(other)) if other.unfit.is_empty() => return Known::Fit,
                (true, Some(other)) => unfit.push(format!("{title} is not fit: {}", other.unfit.join("; "))),
            }
        }
        if unfit.is_empty() || !silent.is_empty() {
            unfit.push(format!("nothing was heard lately on the peer link from {}", silent.join(", ")));
            return Known::Nothing(unfit.join("; "));
        }
        Known::Unfit(unfit.join("; "))
    }

    /// For the answer: an order to one member of a sync group is one to all.
    fn who_moves_along(&self, name: &str) -> Vec<String> {
        let Some(group) = self.config.sync_group(name) else { return Vec::new() };
        vec![format!("this goes for all of sync group {}: {}", group.name, group.virtual_routers.join(", "))]
    }

    /// For the answer: other members of its sync group stand under such an order, and hold it.
    fn others_under(&self, name: &str, command: &str, is_under: impl Fn(&Orders) -> bool) -> Vec<String> {
        let group = self.config.sync_group(name);
        let others =
            group.into_iter().flat_map(|group| &group.virtual_routers).filter(|other| *other != name);
        let others = others.filter(|other| is_under(&self.standing.of(other)));
        others
            .map(|other| format!("{other}, of its sync group, holds it: vrrpctl {command} {other}"))
            .collect()
    }

    fn find(&self, name: &str) -> Option<(RouterId, config::VirtualRouter)> {
        let mut all = self.roster.iter().filter(|(_, entry)| !entry.leaving);
        all.find(|(_, entry)| entry.config.name == name).map(|(router, entry)| (router, entry.config.clone()))
    }
}

/// For the answer: the end of an order could not be written down, for this reason.
fn would_return(unwritten: String) -> String {
    format!("{unwritten}: after a restart before that the order is in force again")
}

fn with_force(force: bool) -> String {
    if force { " --force" } else { "" }.to_owned()
}

fn user_name(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
}
