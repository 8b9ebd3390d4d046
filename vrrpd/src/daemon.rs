//! The daemon: starts its threads, and keeps the slow half of the world on the main one.
//!
//! The protocol runs on a thread of its own (`protocol`), the kernel is spoken with on
//! another (`kernel`). Here is what may wait: signals, checks, hooks, clients, the log and
//! the history. One loop takes in what they say, one at a time.

mod berths;
mod commands;
mod forms;
mod listening;
mod observe;
mod reload;
mod reports;
mod roles;
mod roster;
mod standing;
mod starts;
mod systemd;
mod tracks;
mod witnesses;

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};
use vrrp_proto::action::Input;
use vrrp_proto::snapshot::StateName;
use vrrp_proto::tracking::TrackerState;

use crate::authentication::Secrets;
use crate::check::{CheckResult, Checks};
use crate::config::{self, Config, HookState, Scheduling};
use crate::control::protocol::{Answer, Request};
use crate::control::server::Call;
use crate::control::socket::Socket;
use crate::control::time::WallTime;
use crate::control::{exit, server};
use crate::dns_update::{self, DnsUpdates};
use crate::fence::{self, Adverts, FenceThread};
use crate::history::{History, What};
use crate::hook::{HookResult, Hooks};
use crate::kernel::{self, KernelThread};
use crate::launcher::{Allowed, Launcher, LauncherHandle};
use crate::mailbox::Mailbox;
use crate::peer_link::{self, PeerLink};
use crate::protocol::{self, Note, ProtocolThread, Wires};
use crate::sandbox::{self, Lack};
use crate::state_dir::StateDir;
use crate::{logging, privilege};

use berths::Berths;
use commands::Commands;
use forms::Forms;
use observe::{Observer, Others};
use roles::Roles;
use roster::Roster;
use standing::Standing;
use starts::Starts;
use systemd::Systemd;
use tracks::Tracks;
use witnesses::Witnesses;

/// What waits for the protocol thread, the kernel thread and the main thread: as much for each of them. All of it is
/// memory in use from the start, so that a small host gets less; who brings more routers later waits a little more often.
const WAITING: RangeInclusive<usize> = 128..=1024;
/// Orders about addresses that wait for the fence.
const TO_FENCE: RangeInclusive<usize> = 128..=4096;
/// Either for each virtual router, within the range.
const OF_EACH: usize = 4;
/// The longest that the end is put off for addresses that still answer: the longest wait for a
/// successor, and some time to remove them.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often time itself is looked at, while there is a reason to: freezes that end, peers that are
/// told that we live, orders that wait.
const SECOND: Duration = Duration::from_secs(1);
/// The longest that the end is put off for hooks.
const LAST_HOOKS: Duration = Duration::from_secs(2);

/// Runs the daemon with this configuration file until it is told to end.
///
/// Comes first in `main`: it forks the launcher, for which the process must have one thread.
pub fn run(path: &Path) -> ExitCode {
    logging::start();
    let config = match config::load(path) {
        Ok((config, warnings)) => {
            warnings.iter().for_each(|warning| warn!("{}: {}", path.display(), warning.message));
            config
        }
        Err(faults) => {
            eprint!("{faults}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    if let Err(missing) = privilege::check() {
        eprintln!("vrrpd: {missing}");
        return ExitCode::from(exit::NOT_PERMITTED);
    }
    let secrets = match Secrets::load(&config) {
        Ok(secrets) => secrets,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{}: error: {fault}", path.display()));
            return ExitCode::from(exit::CONFIG);
        }
    };
    match start(path, config, secrets) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs, and says what to exit with.
fn start(path: &Path, config: Config, secrets: Secrets) -> io::Result<u8> {
    let launcher = Launcher::start(Allowed::of_file(path, &config)?)?;
    let control = match listening::open(&config.daemon) {
        Ok(control) => control,
        Err(refused) => {
            error!("{refused}");
            return Ok(refused.exit_code());
        }
    };
    // After the fork: the names must go when this process does.
    let mut berths = Berths::default();
    if let Err(taken) = berths.take(&config) {
        error!("{taken}");
        return Ok(exit::CONFIG);
    }
    sandbox::bound_realtime();
    let realtime = config.daemon.scheduling == Scheduling::Realtime;
    if realtime && let Err(error) = privilege::lock_memory() {
        warn!("memory is not locked, a page fault may delay an advertisement: {error}");
    }
    let of_socket = config.daemon.control_socket.parent().unwrap_or(Path::new("/"));
    let less = sandbox::enter(&[&config.daemon.state_dir, of_socket], realtime)?;
    for lack in less {
        match lack {
            Lack::OfKernel(sentence) => info!("{sentence}"),
            Lack::Directory(sentence) => warn!("{sentence}"),
        }
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    runtime.block_on(async {
        let launcher = launcher.handle()?;
        Daemon::new(path, config, secrets, launcher, control, berths)?.run().await
    })?;
    Ok(exit::FINE)
}

/// Everything that the main thread knows.
struct Daemon {
    path: PathBuf,
    config: Config,
    wires: Wires,
    to_fence: Mailbox<fence::Message>,
    protocol: ProtocolThread,
    kernel: KernelThread,
    fence: FenceThread,
    kernel_notes: mpsc::UnboundedReceiver<kernel::Note>,
    roster: Roster,
    berths: Berths,
    checks: Checks,
    roles: Roles,
    check_results: mpsc::Receiver<CheckResult>,
    hooks: Hooks,
    launcher: LauncherHandle,
    hook_results: mpsc::Receiver<HookResult>,
    dns: DnsUpdates,
    tracks: Tracks,
    witnesses: Witnesses,
    dns_reports: mpsc::Receiver<dns_update::Report>,
    /// Reports of the protocol thread that were lost, as of the last look.
    reports_lost: u64,
    calls: mpsc::Receiver<Call>,
    server: tokio::task::JoinHandle<io::Result<()>>,
    history: History,
    observer: Observer,
    state_dir: StateDir,
    forms: Forms,
    starts: Starts,
    standing: Standing,
    commands: Commands,
    peers: PeerLink,
    /// States for the peers, on their way from the core.
    for_peers: mpsc::Receiver<Answer>,
    to_peers: mpsc::Sender<Answer>,
    systemd: Systemd,
    /// The signal to end has come.
    ending: bool,
}

impl Daemon {
    fn new(
        path: &Path,
        config: Config,
        secrets: Secrets,
        launcher: LauncherHandle,
        control: Option<Socket>,
        berths: Berths,
    ) -> io::Result<Self> {
        let (call_sender, calls) = mpsc::channel(16);
        let server = tokio::spawn(listening::serve(control, config.daemon.clone(), call_sender));

        let room = |range: RangeInclusive<usize>| {
            config.virtual_routers.len().saturating_mul(OF_EACH).clamp(*range.start(), *range.end())
        };
        let to_fence = Mailbox::new(room(TO_FENCE))?;
        let wires = Wires {
            messages: Mailbox::new(room(WAITING))?,
            kernel: Mailbox::new(room(WAITING))?,
            adverts: Arc::new(Adverts::new(to_fence.clone())),
            notes: Mailbox::new(room(WAITING))?,
        };
        let state_dir = StateDir::new(config.daemon.state_dir.clone());
        let (kernel_sender, kernel_notes) = mpsc::unbounded_channel();
        let fence = FenceThread::start(
            to_fence.clone(),
            Arc::clone(&wires.adverts),
            kernel_sender.clone(),
            &config.daemon.state_dir,
            config.daemon.scheduling,
        )?;
        let kernel = KernelThread::start(
            wires.kernel.clone(),
            wires.messages.clone(),
            to_fence.clone(),
            Arc::clone(&wires.adverts),
            kernel_sender,
            &state_dir,
        )?;
        let (scheduled, class) = std::sync::mpsc::channel();
        let protocol = ProtocolThread::start(wires.clone(), config.daemon.scheduling, scheduled)?;
        let scheduling = match class.recv().map_err(io::Error::other)? {
            Ok(()) => config.daemon.scheduling,
            Err(error) => {
                warn!("no realtime scheduling, advertisements may be late on a busy machine: {error}");
                Scheduling::Normal
            }
        };
        let (starts, troubles) = Starts::note(&state_dir);
        troubles.iter().for_each(|trouble| warn!("{trouble}"));
        let (forms, trouble) = Forms::load(&state_dir);
        trouble.iter().for_each(|trouble| warn!("{trouble}"));
        let (standing, trouble) = Standing::load(&state_dir);
        trouble.iter().for_each(|trouble| error!("{trouble}"));
        let peers = PeerLink::start(config.peer_link.as_ref(), &config.daemon.node);
        let (to_peers, for_peers) = mpsc::channel(4);
        let (check_sender, check_results) = mpsc::channel(64);
        let (hook_sender, hook_results) = mpsc::channel(64);
        let (dns_sender, dns_reports) = mpsc::channel(64);
        Ok(Self {
            path: path.to_owned(),
            wires,
            to_fence,
            protocol,
            kernel,
            fence,
            kernel_notes,
            roster: Roster::new(secrets),
            berths,
            checks: Checks::new(launcher.clone(), check_sender),
            roles: Roles::default(),
            check_results,
            hooks: Hooks::new(&config, launcher.clone(), hook_sender),
            launcher,
            hook_results,
            dns: DnsUpdates::new(dns_sender),
            tracks: Tracks::default(),
            witnesses: Witnesses::default(),
            dns_reports,
            reports_lost: 0,
            calls,
            server,
            history: History::default(),
            observer: Observer::new(&config, scheduling),
            forms,
            state_dir,
            starts,
            standing,
            commands: Commands::default(),
            peers,
            for_peers,
            to_peers,
            systemd: Systemd::from_environment(),
            ending: false,
            config,
        })
    }

    async fn run(mut self) -> io::Result<()> {
        let notes = self.wires.notes.watch()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut tick = self.systemd.ticks();
        let mut second = tokio::time::interval(SECOND);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.record(What::Started { version: env!("CARGO_PKG_VERSION").to_owned() });
        info!(version = env!("CARGO_PKG_VERSION"), node = %self.config.daemon.node, "vrrpd starts");
        self.put_in_force();
        self.systemd.ready();
        let mut rerun = self.observer.take_rerun();
        let mut farewell = None;
        loop {
            tokio::select! {
                biased;
                ready = notes.readable() => {
                    self.wires.notes.acknowledge();
                    while let Some(note) = self.wires.notes.pop() {
                        self.note(note);
                    }
                    ready?.clear_ready();
                    self.look_again_if_lost();
                }
                Some(note) = self.kernel_notes.recv() => self.kernel_note(note),
                Some(result) = self.check_results.recv() => self.check_result(result),
                Some(result) = self.hook_results.recv() => self.hook_result(result),
                Some(report) = self.dns_reports.recv() => self.dns_report(report),
                _ = terminate.recv() => self.end("SIGTERM", &mut farewell),
                _ = interrupt.recv() => self.end("SIGINT", &mut farewell),
                _ = hang_up.recv() => drop(self.reload(None, "SIGHUP", None)),
                Some(call) = self.calls.recv() => self.call(call),
                Some(call) = rerun.recv() => self.observer.ask(&self.roster, &self.wires, call),
                _ = tick.tick() => self.tick()?,
                _ = second.tick(), if self.minds_the_time() => {
                    self.orders_tick();
                    self.write_again();
                    self.peers.retry();
                    self.tell_peers();
                }
                Some(state) = self.for_peers.recv() => self.peers_hear(&state),
                (peer, message) = self.peers.receive() => self.peer_said(peer, message),
                Some(reached) = self.witnesses.next() => self.witnessed(reached),
                () = expired(self.tracks.due()), if self.tracks.due().is_some() => self.track_on(),
                () = expired(farewell), if farewell.is_some() => {
                    warn!("the kernel did not confirm in time that all addresses are gone");
                    break;
                }
            }
            if self.ending && self.roster.iter().next().is_none() {
                break;
            }
        }
        self.finish().await;
        Ok(())
    }

    /// Every router hands over; the loop ends when nothing is left of them.
    fn end(&mut self, signal: &str, farewell: &mut Option<tokio::time::Instant>) {
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        info!("{signal}: handing over and ending");
        self.systemd.stopping();
        self.record(What::Command { uid: None, command: signal.to_owned(), reason: None });
        for (router, entry) in self.roster.iter().filter(|(_, entry)| !entry.leaving) {
            self.hooks.notify(&entry.config.name, &reports::stopped(entry.config.priority));
            self.wires.messages.push_waiting(protocol::Message::Input(Input::Shutdown { router }));
        }
        *farewell = Some(tokio::time::Instant::now() + FAREWELL);
    }

    async fn finish(self) {
        self.wires.messages.push_waiting(protocol::Message::Stop);
        self.wires.kernel.push_waiting(kernel::Message::Stop);
        let unfinished = self.hooks.drain(LAST_HOOKS).await;
        if unfinished > 0 {
            warn!("{unfinished} hooks did not end in time");
        }
        self.server.abort();
        self.protocol.join();
        self.kernel.join();
        self.to_fence.push_waiting(fence::Message::Stop);
        self.fence.join();
        self.starts.forget();
        info!("vrrpd ends");
    }

    /// Asks the core for what the peers are told next.
    fn tell_peers(&mut self) {
        if !self.peers.is_open() {
            return;
        }
        let (answer, answered) = oneshot::channel();
        let request = Request::State { name: None };
        self.observer.ask(&self.roster, &self.wires, Call { request, peer: server::Peer { uid: 0 }, answer });
        let to_peers = self.to_peers.clone();
        tokio::spawn(async move {
            if let Ok(state) = answered.await {
                // A newer one follows when there is no room.
                let _ = to_peers.try_send(state);
            }
        });
    }

    fn peers_hear(&mut self, state: &Answer) {
        if let Answer::State(state) = state {
            self.peers.tell(peer_link::fitness::of_all(&state.virtual_routers));
        }
    }

    fn call(&mut self, call: Call) {
        let uid = Some(call.peer.uid);
        match call.request {
            Request::Reload { reason } => {
                let answer = self.reload(uid, "reload", reason).map_or_else(Answer::Error, Answer::Reloaded);
                // The client may have gone.
                let _ = call.answer.send(answer);
            }
            Request::ConfigShow { expanded } => {
                let _ = call.answer.send(observe::config_text(&self.config, expanded));
            }
            Request::Check { ref name, now: true } => {
                let command = format!("check {} --now", name.as_deref().unwrap_or("(all)"));
                self.record(What::Command { uid, command, reason: None });
                self.run_checks(name.clone(), call);
            }
            Request::Drain { .. }
            | Request::Undrain { .. }
            | Request::Freeze { .. }
            | Request::Unfreeze { .. }
            | Request::Switchover { .. }
            | Request::Announce { .. } => self.ordered(call),
            _ => self.observer.ask(&self.roster, &self.wires, call),
        }
    }

    /// Runs the checks, and answers when their results have been counted.
    fn run_checks(&mut self, name: Option<String>, call: Call) {
        let names = self.config.checks.iter().map(|check| &check.name);
        let wanted = names.filter(|check| name.as_ref().is_none_or(|name| name == *check));
        let runs: Vec<_> = wanted.map(|check| self.checks.run_now(check)).collect();
        let (done, calls) = (self.observer.rerun(), call);
        tokio::spawn(async move {
            for run in runs {
                run.await;
            }
            // The results are on their way to the main loop, and this comes behind them.
            let _ = done.send(calls).await;
        });
    }

    fn check_result(&mut self, result: CheckResult) {
        // It may have been on its way while the check was stopped.
        if !self.checks.is_current(&result) {
            return;
        }
        let state = match result.state {
            crate::check::CheckState::Pending => TrackerState::Pending,
            crate::check::CheckState::Passing => TrackerState::Passing,
            crate::check::CheckState::Failing => TrackerState::Failing,
        };
        if result.state != result.previous_state {
            let tracker = self.roster.tracker(&result.name);
            reports::log_check(&result);
            self.record(self.observer.check_changed(&result, &self.config));
            self.wires.messages.push_waiting(protocol::Message::Input(Input::Tracked { tracker, state }));
        }
        self.observer.check_result(&result);
        if result.state != result.previous_state {
            self.tell_peers();
        }
    }

    fn hook_result(&mut self, result: HookResult) {
        if result.passed {
            tracing::debug!(hook = result.hook, "{}", result.message);
            return;
        }
        warn!(virtual_router = result.virtual_router, hook = result.hook, "hook failed: {}", result.message);
        let HookResult { hook, virtual_router, message, .. } = result;
        self.record(What::HookFailed { hook, virtual_router, message });
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Report(report, at) => self.report(report, at),
            Note::Observed(observation) if self.observer.is_heartbeat(&observation) => {
                self.systemd.alive();
                self.note_roles(&observation);
                for (&router, snapshot) in observation.asked.iter().zip(&observation.routers) {
                    let state = snapshot.as_ref().map(|snapshot| snapshot.state);
                    self.follow(router, state);
                    // A transition that was not told must not mislead an order either.
                    state.into_iter().for_each(|state| self.commands.entered(router, state));
                }
            }
            Note::Observed(observation) => {
                let (roster, config, history) = (&self.roster, &self.config, &self.history);
                let others = Others {
                    standing: &self.standing,
                    state_dir: &self.state_dir,
                    link: &self.peers,
                    dns: &self.dns,
                    tracks: &self.tracks,
                };
                self.observer.answer(&observation, roster, config, history, &self.protocol, others);
            }
        }
    }

    /// A transition that was lost must not leave a Backup changing records.
    fn look_again_if_lost(&mut self) {
        let lost = self.protocol.gauges.reports_lost.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.reports_lost, lost) != lost {
            self.observer.heartbeat(&self.roster, &self.wires);
        }
    }

    /// The protocol loop is asked for a sign of life; the answer is passed on to the watchdog.
    fn tick(&mut self) -> io::Result<()> {
        if self.protocol.has_ended() || self.kernel.has_ended() || self.fence.has_ended() {
            return Err(io::Error::other("a thread of the daemon has ended by a bug; see the lines above"));
        }
        self.observer.heartbeat(&self.roster, &self.wires);
        Ok(())
    }

    /// A disk that was full or read-only may not be any more.
    fn write_again(&self) {
        if self.state_dir.retry() {
            info!("what could not be written to {} is written now", self.config.daemon.state_dir.display());
        }
    }

    /// The roles as the core has them: reports of transitions can be lost.
    fn note_roles(&mut self, observation: &protocol::Observation) {
        for (&router, snapshot) in observation.asked.iter().zip(&observation.routers) {
            if let (Some(entry), Some(snapshot)) = (self.roster.get(router), snapshot) {
                self.roles.set(&entry.config.name, snapshot.state == StateName::Active);
            }
        }
        self.ask_by_role();
    }

    fn record(&mut self, what: What) {
        self.history.record(WallTime::now(), what);
    }
}

async fn expired(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What hooks hear of a state.
fn hook_state(state: StateName) -> HookState {
    match state {
        StateName::Active => HookState::Active,
        StateName::Backup => HookState::Backup,
        StateName::Initialize => HookState::Fault,
    }
}

/// For the fuzzer: a file of orders, which may be damaged.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_orders(text: &str) {
    standing::fuzz(text);
}
