//! `vrrpctl`: asks the daemon and prints what it says, for people or (`--json`) for programs.
//!
//! Output is plain text without colour, one fact a line, so that it pipes well. Exit codes are those
//! of [`exit`]; clap's own code for wrong usage is mapped to 64.

mod args;
mod budget;
mod config;
mod doctor;
mod print;
mod state;
mod statistics;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;
use serde::Serialize;

pub use args::Args;

use crate::control::client::{self, Error};
use crate::control::protocol::{Answer, Request};
use crate::control::time::{Span, WallTime};
use crate::control::{errno_words, exit};
use args::{Command, ConfigCommand};

/// Where the configuration is unless said otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/vrrpd/vrrpd.toml";

/// Runs the program with `args`, the first of which is its name, and returns its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => return usage(&error, out, err),
    };
    let output = match args.command {
        Command::Watch { ref name } => return state::watch(&args, name.clone(), out, err, state::REDRAW),
        Command::Config { command: ConfigCommand::Check { ref config } } => config::check(config, args.json),
        Command::Config { command: ConfigCommand::Show { config: Some(ref file), expanded } } => {
            config::show(file, expanded, args.json)
        }
        Command::Check { budget: Some(ref file), ref peer, .. } => {
            budget::run(file.as_deref(), peer.as_deref(), &args.socket, args.json)
        }
        Command::Doctor { ref name, ref config, ref peer_config } => doctor::run(&doctor::Options {
            name: name.as_deref(),
            config,
            peer_config: peer_config.as_deref(),
            socket: &args.socket,
            json: args.json,
        }),
        ref command => output(&args, command),
    };
    output.write(out, err)
}

/// What a command has to say and its exit code.
struct Output {
    /// For stdout.
    text: String,
    /// For stderr.
    error: String,
    exit_code: u8,
}

impl Output {
    fn fine(text: String) -> Self {
        Self { text, error: String::new(), exit_code: exit::FINE }
    }

    fn failure(exit_code: u8, message: &str) -> Self {
        // Faults of a file begin with their place, where editors look for it.
        let prefix = if exit_code == exit::CONFIG { "" } else { "vrrpctl: " };
        Self {
            text: String::new(),
            error: format!("{prefix}{}\n", print::harmless(message.trim_end())),
            exit_code,
        }
    }

    /// Writes it. A reader that has seen enough (`| head`) does not change the verdict.
    fn write(self, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let written = out.write_all(self.text.as_bytes()).and_then(|()| out.flush());
        let _ = err.write_all(self.error.as_bytes());
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let words = error.raw_os_error().map_or_else(|| error.to_string(), errno_words);
                let _ = writeln!(err, "vrrpctl: cannot write: {words}");
                exit::UNAVAILABLE
            }
            _ => self.exit_code,
        }
    }
}

/// `--help` and `--version` are answers; everything else that clap says is wrong usage.
fn usage(error: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let text = error.render().to_string();
    if error.use_stderr() {
        Output { text: String::new(), error: text, exit_code: exit::USAGE }.write(out, err)
    } else {
        Output::fine(text).write(out, err)
    }
}

/// Asks the daemon and renders its answer.
fn output(args: &Args, command: &Command) -> Output {
    let request = match request(command, WallTime::now()) {
        Ok(request) => request,
        Err(message) => return Output::failure(exit::USAGE, &message),
    };
    match client::ask(&args.socket, &request, client::patience(&request)) {
        Ok(Answer::State(state)) if command.asks_statistics() && !args.json => Output {
            exit_code: state::exit_code(&state),
            ..Output::fine(print::harmless(&statistics::text(&state)))
        },
        Ok(answer) => render(&answer, args.json),
        Err(Error::Refused(refusal)) => Output::failure(refusal.exit_code, &refusal.message),
        Err(error) => Output::failure(error.exit_code(), &error.to_string()),
    }
}

/// What to ask for a command.
fn request(command: &Command, now: WallTime) -> Result<Request, String> {
    Ok(match command {
        Command::State { name, .. } | Command::Watch { name } => Request::State { name: name.clone() },
        Command::Why { name } => Request::Why { name: name.clone() },
        Command::History { name, since } => {
            let since = since.as_deref().map(|text| args::point_in_time(text, now)).transpose()?;
            Request::History { name: name.clone(), since }
        }
        Command::Check { name, now, .. } => Request::Check { name: name.clone(), now: *now },
        Command::Reload { reason } => Request::Reload { reason: reason.clone() },
        Command::Config { command: ConfigCommand::Show { expanded, .. } } => {
            Request::ConfigShow { expanded: *expanded }
        }
        // What is done without the daemon, or not by it alone, was dealt with before.
        Command::Doctor { .. } | Command::Config { .. } => Request::ConfigShow { expanded: false },
        Command::Drain { name, reason, force } => {
            Request::Drain { name: name.clone(), reason: reason.clone(), force: *force }
        }
        Command::Undrain { name, reason } => Request::Undrain { name: name.clone(), reason: reason.clone() },
        Command::Freeze { name, lasts, reason } => {
            let lasts = lasts.parse::<Span>().map_err(|error| format!("--for {error}"))?;
            Request::Freeze { name: name.clone(), lasts, reason: reason.clone() }
        }
        Command::Unfreeze { name, reason } => {
            Request::Unfreeze { name: name.clone(), reason: reason.clone() }
        }
        Command::Switchover { name, reason, force } => {
            Request::Switchover { name: name.clone(), reason: reason.clone(), force: *force }
        }
        Command::Announce { name, reason } => {
            Request::Announce { name: name.clone(), reason: reason.clone() }
        }
    })
}

/// For the fuzzer: an answer as people and as programs see it.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn show(answer: &Answer) {
    let _ = (render(answer, false), render(answer, true));
}

/// An answer as text and exit code.
fn render(answer: &Answer, json: bool) -> Output {
    let exit_code = match answer {
        Answer::State(state) => state::exit_code(state),
        Answer::Checks(checks) => print::checks_exit_code(checks),
        Answer::Done(done) if done.degraded => exit::DEGRADED,
        Answer::Done(_) => exit::FINE,
        Answer::Error(refusal) => return Output::failure(refusal.exit_code, &refusal.message),
        Answer::Reloaded(_) | Answer::Why(_) | Answer::History(_) | Answer::Config(_) => exit::FINE,
    };
    let text = match answer {
        Answer::State(state) if json => to_json(state),
        Answer::State(state) => state::text(state),
        Answer::Checks(checks) if json => to_json(checks),
        Answer::Checks(checks) => print::checks(checks),
        Answer::Reloaded(reloaded) if json => to_json(reloaded),
        Answer::Reloaded(reloaded) => print::reloaded(reloaded),
        Answer::Why(why) if json => to_json(why),
        Answer::Why(why) => print::why(why),
        Answer::History(events) if json => to_json(events),
        Answer::History(events) => print::history(events),
        Answer::Config(config) if json => to_json(config),
        Answer::Config(config) => config.toml.clone(),
        Answer::Done(done) if json => to_json(done),
        Answer::Done(done) => print::done(done),
        Answer::Error(_) => String::new(),
    };
    let text = if json { text } else { print::harmless(&text) };
    Output { text, error: String::new(), exit_code }
}

/// One line of JSON.
fn to_json(payload: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string(payload).expect("payloads have string keys and no failing serializer");
    text.push('\n');
    text
}
