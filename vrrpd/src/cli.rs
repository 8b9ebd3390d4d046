//! The command line of `vrrpd`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::control::exit;
use crate::{config, daemon, demo, examine};

/// Keeps virtual addresses on one healthy router of a group (VRRPv3, RFC 9568).
#[derive(Debug, Parser)]
#[command(name = "vrrpd", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/vrrpd/vrrpd.toml")]
    config: PathBuf,
    /// Check the file, and this machine as far as it can be seen, and exit: 0, or 78.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the main job on this one machine: two nodes and a client in private network namespaces.
    Demo(demo::Options),
}

/// Does what the command line says. Comes first in `main`: the daemon forks before it has threads.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed stdout or stderr changes nothing about what was asked.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::FINE });
        }
    };
    match arguments.command {
        Some(Command::Demo(options)) => give_demo(&options),
        None if arguments.check => check(&arguments.config),
        None => daemon::run(&arguments.config),
    }
}

fn give_demo(options: &demo::Options) -> ExitCode {
    match demo::run(options, &mut std::io::stdout()) {
        Ok(verdict) => ExitCode::from(verdict.exit_code()),
        Err(error) => {
            let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let words: Vec<String> = chain.map(ToString::to_string).collect();
            eprintln!("vrrpd: {}", words.join(": "));
            ExitCode::from(error.exit_code())
        }
    }
}

fn check(file: &std::path::Path) -> ExitCode {
    match config::load_once(file) {
        Ok((config, warnings)) => {
            eprint!("{warnings}");
            for finding in examine::machine(&config) {
                eprintln!("{}: warning: {finding}", file.display());
            }
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprint!("{faults}");
            ExitCode::from(exit::CONFIG)
        }
    }
}
