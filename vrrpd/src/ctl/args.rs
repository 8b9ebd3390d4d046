//! The command line of `vrrpctl`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::DEFAULT_CONFIG;
use crate::control::DEFAULT_SOCKET;
use crate::control::time::{Span, WallTime};

/// Asks a running vrrpd who holds the addresses, and why.
#[derive(Debug, Parser)]
#[command(
    name = "vrrpctl",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 fine; 1 degraded, or a condition is false; 2 critical; 64 wrong usage; \
                  69 the daemon cannot be reached; 77 not permitted; 78 a fault in the configuration."
)]
pub struct Args {
    /// Control socket of the daemon.
    #[arg(long, global = true, value_name = "PATH", env = "VRRPD_SOCKET", default_value = DEFAULT_SOCKET)]
    pub(super) socket: PathBuf,

    /// Print JSON, one object on one line.
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show who is Active, since when and why; exits with 1 or 2 when something is wrong.
    State {
        /// A virtual router; all without it.
        name: Option<String>,
        /// Instead: every counter, what was discarded, and who sent it (--json has them always).
        #[arg(long)]
        statistics: bool,
    },
    /// Show the same again each second, until interrupted.
    Watch {
        /// A virtual router; all without it.
        name: Option<String>,
    },
    /// Tell the chain of causes that led to the present state.
    Why {
        /// A virtual router; all without it.
        name: Option<String>,
    },
    /// List what happened, oldest first.
    History {
        /// A virtual router, check, hook or interface; everything without it.
        name: Option<String>,
        /// Nothing before this: an RFC 3339 time, or how long ago ("10m", "2h", "7d").
        #[arg(long, value_name = "T")]
        since: Option<String>,
    },
    /// Show the checks, their last results and what they said; exits with 1 unless all pass.
    Check {
        /// A check; all without it.
        name: Option<String>,
        /// Run them first (root only).
        #[arg(long)]
        now: bool,
        /// Instead: how long each failure takes to be noticed and to be moved, by this file or by what
        /// the running daemon has.
        #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["name", "now"])]
        budget: Option<Option<PathBuf>>,
        /// The other node's configuration, for --budget.
        #[arg(long, value_name = "FILE", requires = "budget")]
        peer: Option<PathBuf>,
    },
    /// Read the configuration again; a faulty file changes nothing (root only).
    Reload {
        /// Why, for the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Look for the faults that bite in the field, and name the fix of each; exits with 1 or 2.
    Doctor {
        /// A virtual router; all without it.
        name: Option<String>,
        /// This node's configuration.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        /// A copy of the other node's configuration, to compare with.
        #[arg(long, value_name = "FILE")]
        peer_config: Option<PathBuf>,
    },
    /// Hand over, leave and stay away, across restarts, until undone (root only).
    Drain {
        /// The virtual router.
        name: String,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Leave even if no other node is fit or takes over.
        #[arg(long)]
        force: bool,
    },
    /// Take part again after a drain (root only).
    Undrain {
        /// The virtual router.
        name: String,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let no check move the addresses for a while (root only).
    Freeze {
        /// The virtual router.
        name: String,
        /// For how long: "90s", "10m", "2h", at most "7d".
        #[arg(long = "for", value_name = "SPAN")]
        lasts: String,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let checks count again (root only).
    Unfreeze {
        /// The virtual router.
        name: String,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Hand over to the best backup and wait until it is Active (root only).
    Switchover {
        /// The virtual router.
        name: String,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Hand over even to a node that is known not to be fit.
        #[arg(long)]
        force: bool,
    },
    /// Tell the neighbours again where the addresses are: gratuitous ARP, neighbour advertisements
    /// (root only).
    Announce {
        /// The virtual router, which is Active here.
        name: String,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Check or show the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

impl Command {
    /// Are counters to be printed in place of the state?
    pub(super) const fn asks_statistics(&self) -> bool {
        matches!(self, Self::State { statistics: true, .. })
    }
}

/// What is to be done with the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check a file without the daemon; exits with 78 and every fault.
    Check {
        /// The file.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Print the effective configuration, every default filled in, as a file.
    Show {
        /// The file; without it, what the running daemon has.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Spell out what presets stand for.
        #[arg(long)]
        expanded: bool,
    },
}

/// `10m` before `now`, or a time of RFC 3339.
pub(super) fn point_in_time(text: &str, now: WallTime) -> Result<WallTime, String> {
    if let Ok(Span(span)) = text.parse() {
        return Ok(now.minus(span));
    }
    text.parse().map_err(|_| {
        format!(
            "--since \"{text}\" is neither a time nor a span: write \"2026-11-23T07:02:11Z\", or how long \
             ago as \"90s\", \"10m\", \"2h\" or \"7d\""
        )
    })
}
