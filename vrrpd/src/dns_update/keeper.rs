//! The task that keeps one record while its virtual router is Active.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::exchange::{Server, wall_clock};
use super::fault::Fault;
use super::message::{Found, Target, Task, signer};
use super::{Event, Progress, Report, Standing};
use crate::config::DnsUpdate;

/// How often a record that somebody else changes meanwhile is read and changed anew in one attempt.
const ROUNDS: u32 = 3;
/// The first wait after a failure and the longest, before jitter.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

pub(super) struct Keeper {
    update: DnsUpdate,
    role: watch::Receiver<bool>,
    reports: mpsc::Sender<Report>,
    standing: Standing,
    clock: fn() -> u64,
}

/// What an attempt came to.
struct Kept {
    server: SocketAddr,
    /// The addresses that were replaced, if any were.
    was: Option<Vec<IpAddr>>,
}

/// Why no server did it: the words of all of them, and what to do about the first.
struct Failure {
    message: String,
    remedy: Option<String>,
}

impl Keeper {
    pub(super) fn new(update: DnsUpdate, role: watch::Receiver<bool>, reports: mpsc::Sender<Report>) -> Self {
        let standing = Standing {
            progress: Progress::Standby,
            message: STANDBY.to_owned(),
            remedy: None,
            since: Timestamp::now(),
            confirmed: None,
        };
        Self { update, role, reports, standing, clock: wall_clock }
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Until nobody follows the virtual router any more.
    pub(super) async fn run(mut self) {
        let mut role = self.role.clone();
        while role.wait_for(|active| *active).await.is_ok() {
            // `biased` asks for the role first, each time that anything goes on: with the role gone, not
            // one more message is written.
            tokio::select! {
                biased;
                lost = role.wait_for(|active| !*active) => if lost.is_err() { return },
                never = self.keep() => match never {},
            }
            self.standing.confirmed = None;
            self.say(Progress::Standby, STANDBY.to_owned(), None, None).await;
        }
    }

    /// Keeps the record until this is cancelled, which is safe at each point where it waits: a
    /// message that has left is at worst the last one of this tenure.
    async fn keep(&mut self) -> Infallible {
        let record = format!("{} {}", self.update.record, self.update.record_type());
        self.say(Progress::Pending, format!("looking at {record}"), None, None).await;
        let mut failures = 0;
        let mut was_right = false;
        loop {
            let wait = match self.attempt().await {
                Ok(Kept { server, was }) => {
                    failures = 0;
                    self.standing.confirmed = Some(Timestamp::now());
                    let event = was.map(|was| Event::Changed { server, was, again: was_right });
                    was_right = true;
                    let message = format!("{record} is {} at {server}", self.update.value);
                    self.say(Progress::Confirmed, message, None, event).await;
                    self.update.refresh.mul_f64(rand::random_range(0.9..1.1))
                }
                Err(Failure { message, remedy }) => {
                    failures += 1;
                    let is_new =
                        self.standing.progress != Progress::Failing || self.standing.message != message;
                    let event = is_new.then(|| Event::Failed { message: message.clone() });
                    self.say(Progress::Failing, message, remedy, event).await;
                    back_off(failures)
                }
            };
            sleep(wait).await;
        }
    }

    /// Tries the servers in turn.
    async fn attempt(&self) -> Result<Kept, Failure> {
        let mut faults: Vec<(SocketAddr, Fault)> = Vec::new();
        for &server in &self.update.servers {
            let done = timeout(self.update.timeout, self.at(server)).await;
            match done.unwrap_or(Err(Fault::Timeout)) {
                Ok(was) => return Ok(Kept { server, was }),
                // It is the same for each of them.
                Err(fault @ Fault::Secret(_)) => {
                    faults = vec![(server, fault)];
                    break;
                }
                Err(fault) => faults.push((server, fault)),
            }
        }
        let sentences: Vec<String> =
            faults.iter().map(|(server, fault)| fault.message(*server, &self.update)).collect();
        let remedy = faults.first().map(|(_, fault)| fault.remedy(&self.update));
        Err(Failure { message: sentences.join("; "), remedy })
    }

    /// Sees to it that the record is right at one server, and says what it had before a change.
    async fn at(&self, address: SocketAddr) -> Result<Option<Vec<IpAddr>>, Fault> {
        let key = self.update.tsig.as_ref().map(signer).transpose()?;
        let target = Target::new(&self.update)
            .ok_or_else(|| Fault::Unreadable("the name cannot be asked for".to_owned()))?;
        let server = Server { address, key: key.as_ref(), clock: self.clock };
        let mut was = None;
        let mut found = ask(&server, &target).await?;
        let mut assumed = found.clone();
        for _ in 0..ROUNDS {
            // A server may have its own idea of a TTL; it is told ours once.
            if target.is(&found) || was.is_some() && target.is_at(&found) {
                return Ok(was);
            }
            let answer = server.exchange(&target.change(&assumed), Task::Change).await?;
            let code = answer.metadata.response_code;
            match code {
                // Also when our own first message did it, whose answer was lost.
                ResponseCode::NoError | ResponseCode::NXRRSet | ResponseCode::YXRRSet => {}
                code => return Err(Fault::Declined(Task::Change, code)),
            }
            let before = std::mem::replace(&mut found, ask(&server, &target).await?);
            // Of a wildcard: the answers have it, and the name itself has no record (RFC 4592 2.2.1).
            let is_wildcard = code == ResponseCode::NXRRSet && found == before;
            assumed = if is_wildcard { Found::default() } else { found.clone() };
            was.get_or_insert(before.addresses);
        }
        if target.is_at(&found) { Ok(was) } else { Err(Fault::Raced(found.addresses)) }
    }

    async fn say(
        &mut self,
        progress: Progress,
        message: String,
        remedy: Option<String>,
        event: Option<Event>,
    ) {
        if self.standing.progress != progress {
            self.standing.since = Timestamp::now();
        }
        self.standing.progress = progress;
        self.standing.message = message;
        self.standing.remedy = remedy;
        let report = Report { update: self.update.clone(), standing: self.standing.clone(), event };
        // The daemon is ending when nobody listens.
        let _ = self.reports.send(report).await;
    }
}

const STANDBY: &str = "the virtual router is not Active here";

async fn ask(server: &Server<'_>, target: &Target) -> Result<Found, Fault> {
    target.found(&server.exchange(&target.ask(), Task::Ask).await?)
}

/// Doubles from failure to failure, and differs from node to node.
fn back_off(failures: u32) -> Duration {
    let doubled = BACK_OFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACK_OFF_MAX);
    doubled.mul_f64(rand::random_range(0.75..1.25))
}

#[cfg(test)]
mod named;
#[cfg(test)]
mod tests;
