//! Hooks: programs that are told of transitions.
//!
//! Each virtual router has one ordered queue and one hook running at a time, its hooks in configured
//! order. While one runs, only the newest transition waits for each hook: older ones are dropped and
//! counted, never reordered. `stopped` is always delivered; [`Hooks::drain`] bounds how long that
//! may take when the daemon ends.
//!
//! The arguments are those of keepalived's notify scripts, after the configured ones: `INSTANCE`,
//! the name, `MASTER`, `BACKUP`, `FAULT` or `STOP`, and the priority. More is in the environment,
//! empty where it is not known:
//!
//! | variable | holds |
//! |---|---|
//! | `VRRPD_VIRTUAL_ROUTER` | name of the virtual router |
//! | `VRRPD_INTERFACE`, `VRRPD_VRID`, `VRRPD_FAMILY` | what identifies it: `eth0`, `51`, `ipv4` |
//! | `VRRPD_STATE`, `VRRPD_PREVIOUS_STATE` | `active`, `backup`, `initialize` or `stopped` |
//! | `VRRPD_REASON` | why, as in `vrrpctl state` |
//! | `VRRPD_PRIORITY` | effective priority |
//! | `VRRPD_ADDRESSES` | virtual addresses with prefix lengths, separated by spaces |
//! | `VRRPD_NODE` | name of this node |
//! | `VRRPD_ACTIVE_ROUTER` | address of the Active Router |
//! | `VRRPD_TRANSITION_TIME` | when, RFC 3339 in UTC |

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::config::{self, Config, HookState};
use crate::launcher::{LauncherHandle, Run};

mod queue;

use queue::{Delivery, Queue};

/// What happened to a virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Where it is now.
    pub state: HookState,
    /// Where it was before; at start `Fault`, which hooks see as `initialize`.
    pub previous_state: HookState,
    /// Why, in the word that `vrrpctl state` uses.
    pub reason: String,
    /// Effective priority, 0 to 255.
    pub priority: u8,
    /// Who is Active now, when known.
    pub active_router: Option<IpAddr>,
    /// When.
    pub at: Timestamp,
}

/// What became of one hook that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookResult {
    /// Virtual router whose transition it was.
    pub virtual_router: String,
    /// Name of the hook.
    pub hook: String,
    /// The state that it heard of.
    pub state: HookState,
    /// Did it end with exit code 0 within its deadline?
    pub passed: bool,
    /// What it said, in one line.
    pub message: String,
    /// How long it ran.
    pub duration: Duration,
    /// When it ended.
    pub at: Timestamp,
    /// Older transitions that it did not hear of, because newer ones came while others ran.
    pub superseded: u64,
}

/// The hooks of all virtual routers.
#[derive(Debug)]
pub struct Hooks {
    routers: BTreeMap<String, Router>,
    crew: Arc<Crew>,
}

impl Hooks {
    /// Hooks as configured. Results go to `results`; when nobody takes them they are lost, with a
    /// warning, rather than hold up the next hook.
    pub fn new(config: &Config, launcher: LauncherHandle, results: mpsc::Sender<HookResult>) -> Self {
        let (closing, busy) = (watch::Sender::new(None), watch::Sender::new(0));
        let mut hooks =
            Self { routers: BTreeMap::new(), crew: Arc::new(Crew { launcher, results, closing, busy }) };
        hooks.apply(config);
        hooks
    }

    /// Takes over another configuration. What runs and what waits is delivered as it was; a virtual
    /// router that goes should be told `Stopped` first.
    pub fn apply(&mut self, config: &Config) {
        for router in self.routers.values_mut() {
            router.hooks.clear();
        }
        for virtual_router in &config.virtual_routers {
            let router = self.routers.entry(virtual_router.name.clone()).or_default();
            router.facts = facts(virtual_router, &config.daemon.node);
            let hook = |name: &String| config.hooks.iter().find(|hook| hook.name == *name).cloned();
            router.hooks = virtual_router.hooks.iter().filter_map(hook).collect();
        }
        // One that is gone is forgotten when its queue is empty: should it return, order holds.
        self.routers.retain(|name, router| {
            config.virtual_routers.iter().any(|configured| configured.name == *name)
                || router.desk.lock().busy
        });
    }

    /// Tells the hooks of a virtual router that hear of this state, within a tokio runtime. Returns
    /// at once; a name that is not configured has no hooks.
    pub fn notify(&self, virtual_router: &str, transition: &Transition) {
        let Some(router) = self.routers.get(virtual_router) else { return };
        let mut desk = router.desk.lock();
        for hook in router.hooks.iter().filter(|hook| hook.on.contains(&transition.state)) {
            let run = run_of(hook, virtual_router, &router.facts, transition);
            desk.queue.push(Delivery {
                hook: hook.name.clone(),
                state: transition.state,
                run,
                superseded: 0,
            });
        }
        if !desk.queue.is_empty() && !desk.busy {
            desk.busy = true;
            self.crew.busy.send_modify(|busy| *busy += 1);
            let (crew, desk) = (Arc::clone(&self.crew), Arc::clone(&router.desk));
            tokio::spawn(crew.work(virtual_router.to_owned(), desk));
        }
    }

    /// For the end of the daemon, after `Stopped` has been notified: waits until every hook has
    /// heard what waits for it, at most `limit`.
    ///
    /// What runs and what waits shares the time: a hook that takes more than its part is killed, so
    /// that those behind it have their turn. Returns how many deliveries were not finished.
    pub async fn drain(&self, limit: Duration) -> usize {
        // A tenth is for the last of them to be killed and reported in.
        self.crew.closing.send_replace(Some(Instant::now() + limit / 10 * 9));
        let mut busy = self.crew.busy.subscribe();
        if timeout(limit, busy.wait_for(|busy| *busy == 0)).await.is_ok() {
            return 0;
        }
        self.routers
            .values()
            .map(|router| router.desk.lock())
            .map(|desk| desk.queue.len() + usize::from(desk.busy))
            .sum()
    }
}

#[derive(Debug, Default)]
struct Router {
    /// Variables that are the same at each transition.
    facts: Vec<(String, String)>,
    hooks: Vec<config::Hook>,
    desk: Arc<Desk>,
}

/// The queue of one virtual router, between those who fill it and the one task that empties it.
#[derive(Debug, Default)]
struct Desk(Mutex<Work>);

#[derive(Debug, Default)]
struct Work {
    queue: Queue,
    /// A task is at it. There is none while the queue is empty.
    busy: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Work> {
        // Each section leaves the queue whole, so one that panicked elsewhere is no obstacle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the tasks of all queues share.
#[derive(Debug)]
struct Crew {
    launcher: LauncherHandle,
    results: mpsc::Sender<HookResult>,
    /// When everything must be over, once the daemon ends.
    closing: watch::Sender<Option<Instant>>,
    /// Queues that are being worked at.
    busy: watch::Sender<usize>,
}

impl Crew {
    /// Delivers until the queue is empty.
    async fn work(self: Arc<Self>, virtual_router: String, desk: Arc<Desk>) {
        while let Some(delivery) = self.next(&desk) {
            let started = Instant::now();
            let (passed, message) = self.deliver(delivery.run, &desk).await;
            let result = HookResult {
                virtual_router: virtual_router.clone(),
                hook: delivery.hook,
                state: delivery.state,
                passed,
                message,
                duration: started.elapsed(),
                at: Timestamp::now(),
                superseded: delivery.superseded,
            };
            if let Err(error) = self.results.try_send(result) {
                tracing::warn!(%virtual_router, %error, "the result of a hook is lost");
            }
        }
    }

    fn next(&self, desk: &Desk) -> Option<Delivery> {
        let mut work = desk.lock();
        let next = work.queue.pop();
        if next.is_none() {
            work.busy = false;
            self.busy.send_modify(|busy| *busy -= 1);
        }
        next
    }

    /// Runs one hook: did it pass, and what did it say?
    async fn deliver(&self, mut run: Run, desk: &Desk) -> (bool, String) {
        let mut closing = self.closing.subscribe();
        let share = |end: Instant| {
            let parts = u32::try_from(desk.lock().queue.len() + 1).unwrap_or(u32::MAX);
            end.saturating_duration_since(Instant::now()) / parts
        };
        let end = *closing.borrow_and_update();
        if let Some(end) = end {
            run.deadline = run.deadline.min(share(end));
        }
        let cut_short = async {
            match closing.wait_for(|new| *new != end).await.ok().and_then(|new| *new) {
                Some(end) => sleep(share(end)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            outcome = self.launcher.run(run) => (outcome.passed(), outcome.to_string()),
            () = cut_short => (false, "killed because vrrpd ends and others have yet to hear of it".to_owned()),
        }
    }
}

fn facts(router: &config::VirtualRouter, node: &str) -> Vec<(String, String)> {
    let addresses: Vec<String> =
        router.addresses.iter().map(|address| format!("{}/{}", address.ip, address.prefix_len)).collect();
    variables([
        ("VRRPD_VIRTUAL_ROUTER", router.name.clone()),
        ("VRRPD_INTERFACE", router.interface.clone()),
        ("VRRPD_VRID", router.vrid.get().to_string()),
        ("VRRPD_FAMILY", router.family.to_string()),
        ("VRRPD_ADDRESSES", addresses.join(" ")),
        ("VRRPD_NODE", node.to_owned()),
    ])
    .collect()
}

fn run_of(hook: &config::Hook, name: &str, facts: &[(String, String)], transition: &Transition) -> Run {
    let (state_word, state) = words(transition.state);
    let (_, previous_state) = words(transition.previous_state);
    let news = variables([
        ("VRRPD_STATE", state.to_owned()),
        ("VRRPD_PREVIOUS_STATE", previous_state.to_owned()),
        ("VRRPD_REASON", transition.reason.clone()),
        ("VRRPD_PRIORITY", transition.priority.to_string()),
        ("VRRPD_ACTIVE_ROUTER", transition.active_router.map(|ip| ip.to_string()).unwrap_or_default()),
        ("VRRPD_TRANSITION_TIME", transition.at.to_string()),
    ]);
    let arguments = ["INSTANCE", name, state_word, &transition.priority.to_string()].map(str::to_owned);
    Run {
        argv: hook.exec.argv.iter().cloned().chain(arguments).collect(),
        env: facts.iter().cloned().chain(news).collect(),
        user: hook.exec.user.clone(),
        deadline: hook.timeout,
    }
}

fn variables<const N: usize>(pairs: [(&str, String); N]) -> impl Iterator<Item = (String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value)).into_iter()
}

/// A state in keepalived's word, for the arguments, and in ours.
fn words(state: HookState) -> (&'static str, &'static str) {
    match state {
        HookState::Active => ("MASTER", "active"),
        HookState::Backup => ("BACKUP", "backup"),
        HookState::Fault => ("FAULT", "initialize"),
        HookState::Stopped => ("STOP", "stopped"),
    }
}
