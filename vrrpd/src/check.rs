//! Health checks: tasks that run a probe again and again and report each result.
//!
//! A check runs on a grid of its `interval`, first at once, one run at a time, each within `timeout`
//! for everything it does. A run passes or fails, nothing in between: what cannot be done is a
//! failure with its reason. [`Judge`] turns runs into a state with `rise` and `fall`. What a state
//! does to a virtual router is decided elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{self, Exec, Probe, Tcp};
use crate::launcher::{LauncherHandle, Run};

mod connect;
mod http;
mod judge;
mod schedule;
mod tls;

pub use judge::{CheckState, Judge};

use connect::Resolver;
use http::HttpProbe;
use schedule::Schedule;
use tls::Authorities;

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
}

/// All checks that run, by name.
#[derive(Debug)]
pub struct Checks {
    launcher: LauncherHandle,
    results: mpsc::Sender<CheckResult>,
    running: BTreeMap<String, Running>,
}

#[derive(Debug)]
struct Running {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Order {
    Configure(Box<config::Check>, Box<Prober>),
    RunNow(oneshot::Sender<CheckResult>),
}

impl Checks {
    /// No check yet; results of all of them go to `results`. A check waits while that is full.
    pub fn new(launcher: LauncherHandle, results: mpsc::Sender<CheckResult>) -> Self {
        Self { launcher, results, running: BTreeMap::new() }
    }

    /// Makes these the checks that run, within a tokio runtime.
    ///
    /// A check that is new starts at once and pending. One that is gone stops. One whose probe is
    /// another starts afresh; otherwise it goes on with the new values and what it has counted.
    /// Files with certificates are read here, anew for every check.
    pub fn apply(&mut self, checks: &[config::Check]) {
        let authorities = Authorities::default();
        self.running.retain(|name, _| checks.iter().any(|check| check.name == *name));
        for check in checks {
            let prober = Prober::new(check, &self.launcher, &authorities);
            let left = match self.running.get(&check.name) {
                Some(running) => {
                    let order = Order::Configure(Box::new(check.clone()), Box::new(prober));
                    running.orders.send(order).err().map(|unsent| unsent.0)
                }
                None => Some(Order::Configure(Box::new(check.clone()), Box::new(prober))),
            };
            if let Some(Order::Configure(check, prober)) = left {
                let name = check.name.clone();
                self.running.insert(name, start(*check, *prober, self.results.clone()));
            }
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

fn start(check: config::Check, prober: Prober, results: mpsc::Sender<CheckResult>) -> Running {
    let (sender, orders) = mpsc::unbounded_channel();
    let judge = Judge::new(check.rise, check.fall);
    let task = Task { check, prober, judge, results };
    Running { orders: sender, task: tokio::spawn(task.run(orders)) }
}

/// One check at work.
struct Task {
    check: config::Check,
    prober: Prober,
    judge: Judge,
    results: mpsc::Sender<CheckResult>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut first = Instant::now();
        let mut slot = 0;
        let mut schedule = Schedule::new(&self.check.name, self.check.interval);
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::RunNow(answer)) => {
                        let Some(result) = self.once().await else { return };
                        // Whoever asked may be gone.
                        let _ = answer.send(result);
                    }
                    Some(Order::Configure(check, prober)) => {
                        let interval = self.check.interval;
                        let afresh = self.configure(*check, *prober);
                        if afresh || self.check.interval != interval {
                            schedule = Schedule::new(&self.check.name, self.check.interval);
                            slot = u32::from(!afresh);
                            first = Instant::now();
                        }
                    }
                },
                () = sleep_until(first + schedule.start_of(slot)) => {
                    if self.once().await.is_none() {
                        return;
                    }
                    slot = schedule.after(slot, first.elapsed());
                }
            }
        }
    }

    /// Takes new values over; true when what was counted does not hold for them.
    fn configure(&mut self, check: config::Check, prober: Prober) -> bool {
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
        };
        self.results.send(result.clone()).await.ok()?;
        Some(result)
    }
}

/// A probe with what it keeps from run to run.
#[derive(Debug)]
enum Prober {
    Exec { name: String, exec: Exec, launcher: LauncherHandle },
    Tcp { tcp: Tcp, resolver: Resolver },
    Http(Box<HttpProbe>),
}

impl Prober {
    fn new(check: &config::Check, launcher: &LauncherHandle, authorities: &Authorities) -> Self {
        match &check.probe {
            Probe::Exec(exec) => {
                Self::Exec { name: check.name.clone(), exec: exec.clone(), launcher: launcher.clone() }
            }
            Probe::Tcp(tcp) => Self::Tcp { tcp: tcp.clone(), resolver: Resolver::default() },
            Probe::Http(http) => Self::Http(Box::new(HttpProbe::new(http, authorities))),
        }
    }

    /// One run: what it said, as a success or as a failure.
    async fn run(&mut self, deadline: Duration) -> Result<String, String> {
        match self {
            Self::Exec { name, exec, launcher } => {
                let env = vec![("VRRPD_CHECK".to_owned(), name.clone())];
                let (argv, user) = (exec.argv.clone(), exec.user.clone());
                let outcome = launcher.run(Run { argv, env, user, deadline }).await;
                if outcome.passed() { Ok(outcome.to_string()) } else { Err(outcome.to_string()) }
            }
            Self::Tcp { tcp, resolver } => {
                let started = Instant::now();
                let reached = timeout(deadline, reach(tcp, resolver)).await;
                reached.unwrap_or_else(|_| {
                    let (ms, address) = (deadline.as_millis(), &tcp.address);
                    Err(format!("deadline of {ms} ms passed while connecting to {address}"))
                })?;
                Ok(format!("connected in {} ms", started.elapsed().as_millis()))
            }
            Self::Http(probe) => probe.run(deadline).await,
        }
    }
}

async fn reach(tcp: &Tcp, resolver: &mut Resolver) -> Result<(), String> {
    let (host, port) = connect::split(&tcp.address)?;
    let addresses = resolver.resolve(host, port).await?;
    connect::connect(&addresses, tcp.source).await.map(drop)
}
