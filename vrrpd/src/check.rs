//! Health checks: tasks that run a probe again and again and report each result.
//!
//! A check runs on a grid of its `interval`, first at once, one run at a time, each within `timeout`
//! for everything it does; while it is in doubt the grid is that of `fast_interval`. A run passes or
//! fails, nothing in between: what cannot be done is a failure with its reason. [`Judge`] turns runs
//! into a state with `rise` and `fall`. What a state does to a virtual router is decided elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::{self, Probe};
use crate::launcher::LauncherHandle;

mod address;
mod blocking;
mod chart_repository;
mod client;
mod connect;
mod credentials;
mod disk;
mod distribution;
pub(crate) mod dns;
mod exec;
mod file;
mod gateway;
mod hash;
mod helm_index;
mod hosts;
mod http;
mod icmp;
mod judge;
mod ping;
mod process;
mod registry;
mod registry_parity;
mod route;
mod s3;
mod say;
mod schedule;
#[cfg(test)]
mod scratch;
mod stage;
mod systemd_unit;
mod tcp;
mod tls;

pub use judge::{CheckState, Judge};

use blocking::{LookProbe, UnderWay};
use chart_repository::ChartProbe;
use dns::DnsProbe;
use exec::ExecProbe;
use gateway::GatewayProbe;
use http::HttpProbe;
use ping::PingProbe;
use registry::RegistryProbe;
use registry_parity::ParityProbe;
use s3::S3Probe;
use schedule::Schedule;
use tcp::TcpProbe;
use tls::Authorities;
pub(crate) use tls::names_of;

/// One run of a check and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// Name of the check.
    pub name: String,
    /// Did this run pass?
    pub passed: bool,
    /// What it said, in one line.
    pub message: String,
    /// How long it took.
    pub duration: Duration,
    /// When it ended.
    pub at: Timestamp,
    /// State of the check with this run counted.
    pub state: CheckState,
    /// State before this run; a change of state is where the two differ.
    pub previous_state: CheckState,
    /// Which start of the check it belongs to; see [`Checks::is_current`].
    start: u64,
}

/// All checks that run, by name.
#[derive(Debug)]
pub struct Checks {
    launcher: LauncherHandle,
    results: mpsc::Sender<CheckResult>,
    running: BTreeMap<String, Running>,
    starts: u64,
    /// Threads that look for a check, by its name.
    looks: BTreeMap<String, UnderWay>,
}

#[derive(Debug)]
struct Running {
    start: u64,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Order {
    Configure(Box<config::Check>, Box<dyn Prober>),
    RunNow(oneshot::Sender<CheckResult>),
}

impl Checks {
    /// No check yet; results of all of them go to `results`. A check waits while that is full.
    pub fn new(launcher: LauncherHandle, results: mpsc::Sender<CheckResult>) -> Self {
        Self { launcher, results, running: BTreeMap::new(), starts: 0, looks: BTreeMap::new() }
    }

    /// Makes these the checks that run, within a tokio runtime.
    ///
    /// A check that is new starts at once and pending. One that is gone stops. One whose probe is
    /// another starts afresh; otherwise it goes on with the new values and what it has counted.
    /// Files with certificates are read here, anew for every check.
    pub fn apply<'a>(&mut self, checks: impl IntoIterator<Item = &'a config::Check>) {
        let checks: Vec<_> = checks.into_iter().collect();
        self.running.retain(|name, _| checks.iter().any(|check| check.name == *name));
        let looks = |under_way: &UnderWay| under_way.load(Ordering::Acquire);
        self.looks.retain(|name, under_way| self.running.contains_key(name) || looks(under_way));
        let authorities = Authorities::default();
        for check in checks {
            self.configure(check, &authorities);
        }
    }

    /// Starts a check that does not run, at once and pending.
    pub fn start(&mut self, check: &config::Check) {
        self.configure(check, &Authorities::default());
    }

    /// Stops a check, in the middle of a run where it is in one.
    pub fn stop(&mut self, name: &str) {
        self.running.remove(name);
    }

    /// Is a result one of a check that has not been stopped since?
    pub fn is_current(&self, result: &CheckResult) -> bool {
        self.running.get(&result.name).is_some_and(|running| running.start == result.start)
    }

    fn configure(&mut self, check: &config::Check, authorities: &Authorities) {
        let under_way = self.looks.entry(check.name.clone()).or_default();
        let prober = prober(check, &Tools { launcher: &self.launcher, authorities, under_way });
        let order = Order::Configure(Box::new(check.clone()), prober);
        let left = match self.running.get(&check.name) {
            Some(running) => running.orders.send(order).err().map(|unsent| unsent.0),
            None => Some(order),
        };
        if let Some(Order::Configure(check, prober)) = left {
            self.starts += 1;
            let (name, start) = (check.name.clone(), self.starts);
            let (sender, orders) = mpsc::unbounded_channel();
            let judge = Judge::new(check.rise, check.fall);
            let task = Task { check: *check, prober, judge, start, results: self.results.clone() };
            let task = tokio::spawn(task.run(orders));
            self.running.insert(name, Running { start, orders: sender, task });
        }
    }

    /// Runs a check now, or after the run that is under way, and counts it like any other.
    ///
    /// None when there is no such check, or it was stopped meanwhile. The future does not borrow.
    pub fn run_now(&self, name: &str) -> impl Future<Output = Option<CheckResult>> + Send + 'static {
        let (sender, answer) = oneshot::channel();
        let sent = self.running.get(name).map(|running| running.orders.send(Order::RunNow(sender)));
        async move {
            sent?.ok()?;
            answer.await.ok()
        }
    }
}

/// One check at work.
struct Task {
    check: config::Check,
    prober: Box<dyn Prober>,
    judge: Judge,
    start: u64,
    results: mpsc::Sender<CheckResult>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut next = Next::new(&self.check.name, self.interval());
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::RunNow(answer)) => {
                        next.last = Instant::now();
                        let Some(result) = self.once().await else { return };
                        // Whoever asked may be gone.
                        let _ = answer.send(result);
                    }
                    Some(Order::Configure(check, prober)) => {
                        if self.configure(*check, prober) {
                            next = Next::new(&self.check.name, self.interval());
                        }
                    }
                },
                () = sleep_until(next.at()) => {
                    next.last = Instant::now();
                    if self.once().await.is_none() {
                        return;
                    }
                    next.ran();
                }
            }
            next.every(&self.check.name, self.interval());
        }
    }

    /// The one in force: the fast one while in doubt.
    fn interval(&self) -> Duration {
        self.check.fast_interval.filter(|_| self.judge.in_doubt()).unwrap_or(self.check.interval)
    }

    /// Takes new values over; true when what was counted does not hold for them.
    fn configure(&mut self, check: config::Check, prober: Box<dyn Prober>) -> bool {
        let afresh = check.probe != self.check.probe;
        if afresh {
            self.judge = Judge::new(check.rise, check.fall);
        } else {
            self.judge.set_limits(check.rise, check.fall);
        }
        self.check = check;
        self.prober = prober;
        afresh
    }

    /// One run, counted and reported; None when nobody listens any more.
    async fn once(&mut self) -> Option<CheckResult> {
        let started = Instant::now();
        let outcome = self.prober.run(self.check.timeout).await;
        let previous_state = self.judge.state();
        let passed = outcome.is_ok();
        let result = CheckResult {
            name: self.check.name.clone(),
            passed,
            message: outcome.unwrap_or_else(|reason| reason),
            duration: started.elapsed(),
            at: Timestamp::now(),
            state: self.judge.count(passed),
            previous_state,
            start: self.start,
        };
        self.results.send(result.clone()).await.ok()?;
        Some(result)
    }
}

/// When the next run of a check is due.
struct Next {
    schedule: Schedule,
    first: Instant,
    slot: u32,
    /// Start of the last run, on the grid or beside it.
    last: Instant,
}

impl Next {
    /// At once.
    fn new(name: &str, interval: Duration) -> Self {
        let now = Instant::now();
        Self { schedule: Schedule::new(name, interval), first: now, slot: 0, last: now }
    }

    fn at(&self) -> Instant {
        self.first + self.schedule.start_of(self.slot)
    }

    /// The run of this slot has ended.
    fn ran(&mut self) {
        self.slot = self.schedule.after(self.slot, self.first.elapsed());
    }

    /// With another interval a new grid begins at the last run.
    fn every(&mut self, name: &str, interval: Duration) {
        if self.schedule.interval() != interval {
            self.schedule = Schedule::new(name, interval);
            self.first = self.last;
            self.slot = self.slot.min(1);
        }
    }
}

/// A probe with what it keeps from run to run: one file in `check/` for each kind.
trait Prober: fmt::Debug + Send {
    /// One run within `deadline`, for everything that it does. Dropped, it leaves nothing running but
    /// what cannot be interrupted and ends by itself.
    fn run(&mut self, deadline: Duration) -> Run<'_>;
}

/// A run that goes on: what it said in one line, as a success or as a failure.
type Run<'a> = Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>>;

/// What probes share.
struct Tools<'a> {
    launcher: &'a LauncherHandle,
    authorities: &'a Authorities,
    under_way: &'a UnderWay,
}

fn prober(check: &config::Check, tools: &Tools<'_>) -> Box<dyn Prober> {
    match &check.probe {
        Probe::Exec(exec) => Box::new(ExecProbe::new(&check.name, exec, tools.launcher)),
        Probe::Tcp(tcp) => Box::new(TcpProbe::new(tcp)),
        Probe::Http(http) => Box::new(HttpProbe::new(http, tools.authorities)),
        Probe::S3(s3) => Box::new(S3Probe::new(s3, tools.authorities)),
        Probe::Registry(registry) => Box::new(RegistryProbe::new(registry, tools.authorities)),
        Probe::RegistryParity(parity) => Box::new(ParityProbe::new(parity, tools.authorities)),
        Probe::ChartRepository(charts) => Box::new(ChartProbe::new(charts, tools.authorities)),
        Probe::Dns(dns) => Box::new(DnsProbe::new(dns)),
        Probe::Hosts(hosts) => look(hosts, &hosts.file.display(), hosts::look, tools),
        Probe::Ping(ping) => Box::new(PingProbe::new(ping)),
        Probe::Gateway(gateway) => Box::new(GatewayProbe::new(gateway, tools.under_way)),
        Probe::Address(address) => look(address, &"the list of addresses", address::look, tools),
        Probe::File(file) => look(file, &file.path.display(), file::look, tools),
        Probe::Disk(disk) => look(disk, &disk.path.display(), disk::look, tools),
        Probe::Process(process) => look(process, &"/proc", process::look, tools),
        Probe::Route(route) => look(route, &"the list of routes", route::look, tools),
        Probe::SystemdUnit(unit) => look(unit, &"/sys/fs/cgroup", systemd_unit::look, tools),
    }
}

/// A prober that looks at something of this node, called `what`, on a thread that may hang.
fn look<K: Clone + Send + 'static>(
    kind: &K,
    what: &dyn fmt::Display,
    look: fn(&K) -> Result<String, String>,
    tools: &Tools<'_>,
) -> Box<dyn Prober> {
    Box::new(LookProbe::new(kind, what, look, tools.under_way))
}

/// For the fuzzer: what is read of services and of this machine.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(octets: &[u8]) {
    helm_index::fuzz(octets);
    distribution::fuzz(octets);
    if let Ok(text) = std::str::from_utf8(octets) {
        hosts::fuzz(text);
        disk::fuzz(text);
    }
}

/// The first octets of a file.
fn read_capped(path: &Path, cap: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    // Opening a FIFO would wait for somebody who writes.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    file.take(cap).read_to_end(&mut octets)?;
    Ok(octets)
}
