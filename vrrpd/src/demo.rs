//! `vrrpd demo`: the main job, shown on this one machine with nothing configured or installed.
//!
//! Two nodes with real daemons, a client and a switch live in private network namespaces. The demo
//! does to them what happens to machines, and draws what the client's probes saw while it happens.
//! Every expectation is a multiple of the advertisement interval; whatever goes beyond it is said
//! and makes the demo fail.
//!
//! * `cast`: who takes part, under which names and addresses
//! * `space`, `lan`: namespaces, and the network in them
//! * `daemon`, `service`, `machine`: what runs on a node, and what can happen to it
//! * `client`, `newcomer`: who asks, and what to make of the answers
//! * `story`, `watch`, `page`: the steps, what each must not do to the client, and how it is told

use std::io::{self, Write};
use std::time::Duration;

use nix::sys::signal::Signal;
use vrrp_proto::AdverInterval;

use crate::control::exit;
use crate::control::io_words;
use crate::control::time::Span;

mod cast;
mod client;
mod daemon;
mod lan;
mod machine;
mod newcomer;
mod page;
mod service;
mod space;
mod story;
mod watch;

/// The command line of `vrrpd demo`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Advertisement interval of the two nodes, 100ms to 10s. All that is expected scales with it:
    /// the demo takes about 22 intervals, and a short one asks more of a busy machine.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: AdverInterval,

    /// Plant a fault, to see that the demo notices.
    #[arg(long, value_name = "NAME", hide = true)]
    pub fault: Option<Fault>,
}

/// A fault that the demo must notice, for its own test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// The backup is frozen when the Active node dies.
    NoTakeover,
    /// A third machine on the switch was given the address too.
    TwoOwners,
    /// The node that should be stopped in good order dies.
    HardStop,
}

/// What it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client saw only what it should.
    AsPromised,
    /// It did not, and the output says what.
    NotAsPromised,
}

impl Verdict {
    /// Exit code of the program: 0, or 1 when the client saw what it should not.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::AsPromised => exit::FINE,
            Self::NotAsPromised => exit::DEGRADED,
        }
    }
}

/// Why the demo could not be given, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel gives no private network.
    #[error("cannot make a private network namespace: {reason}; {remedy}")]
    Namespace {
        /// What the kernel said.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// The private network could not be built.
    #[error("cannot build the demo's private network")]
    Network(#[from] netlink::Error),
    /// Anything else that the system refused.
    #[error("cannot {operation}: {}", io_words(reason))]
    System {
        /// What was attempted, and on what.
        operation: String,
        /// What it said.
        reason: io::Error,
    },
    /// Nobody reads any more, or the disk is full.
    #[error("cannot write: {}", io_words(.0))]
    Output(io::Error),
    /// A signal asked for the end.
    #[error("interrupted by {}; everything that was started is gone", .0.as_str())]
    Interrupted(Signal),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Error {
    /// Exit code of the program: 77 without the right to private networks, 128 and its number after
    /// a signal, 69 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Namespace { .. } => exit::NOT_PERMITTED,
            Self::Interrupted(signal) => 128 + u8::try_from(*signal as i32).unwrap_or(0),
            Self::Network(_) | Self::System { .. } | Self::Output(_) => exit::UNAVAILABLE,
        }
    }

    /// For `map_err`: `operation` completes "cannot ...".
    fn system<E: Into<io::Error>>(operation: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |reason| Self::System { operation: operation.into(), reason: reason.into() }
    }
}

/// Gives the demo and tells it on `out` as it happens.
///
/// The process must have one thread only, and moves for good: to a network namespace of its own,
/// and without root to a user namespace as well. SIGINT, SIGTERM and SIGHUP end the demo from here
/// on. When it returns nothing that it started is left; when it is killed, only files in the temporary directory are.
///
/// # Errors
/// The demo could not be given, or not to its end. That it failed is not an error but
/// [`Verdict::NotAsPromised`].
pub fn run(options: &Options, out: &mut dyn Write) -> Result<Verdict, Error> {
    // Before there is a thread: all of them leave the signals to the story.
    let signals = daemon::Signals::block()?;
    space::enter()?;
    story::tell(options, &signals, out)
}

/// Short enough that the probes, 5 ms apart, still resolve a tenth of it; long enough to wait for.
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);

fn interval(text: &str) -> Result<AdverInterval, String> {
    let span: Span = text.parse().map_err(|error: crate::control::time::SpanError| error.to_string())?;
    let (shortest, longest) = (Span(*INTERVALS.start()), Span(*INTERVALS.end()));
    if !INTERVALS.contains(&span.0) {
        return Err(format!("{span} is out of range {shortest} to {longest}"));
    }
    AdverInterval::from_duration(span.0).ok_or_else(|| format!("{span} is not a multiple of 10ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_in_range_and_in_steps() {
        assert_eq!(interval("1s"), Ok(AdverInterval::DEFAULT));
        assert!(interval("100ms").is_ok() && interval("10s").is_ok());
        assert_eq!(interval("90ms").expect_err("short"), "90ms is out of range 100ms to 10s");
        assert_eq!(interval("11s").expect_err("long"), "11s is out of range 100ms to 10s");
        assert_eq!(interval("105ms").expect_err("step"), "105ms is not a multiple of 10ms");
        assert!(interval("1").expect_err("no unit").contains("unit"));
    }

    #[test]
    fn exit_codes_tell_a_failed_demo_from_none() {
        assert_eq!(Verdict::AsPromised.exit_code(), 0);
        assert_eq!(Verdict::NotAsPromised.exit_code(), 1);
        let refused = Error::Namespace { reason: String::new(), remedy: String::new() };
        assert_eq!(refused.exit_code(), 77);
        assert_eq!(Error::Interrupted(Signal::SIGINT).exit_code(), 130);
    }
}
