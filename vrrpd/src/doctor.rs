//! `vrrpctl doctor`: looks for the faults that bite in the field, and names the fix of each.
//!
//! A finding is one function in the file of its group. It gets what it looks at as a [`Case`]: the
//! configuration, what the daemon says of itself, and the machine's files below one root, so that a
//! test can plant a fault in a directory. Nothing here changes anything; what is sent are questions
//! (ARP, neighbour discovery, DNS, a TLS handshake). Whatever cannot be known is said to be unknown,
//! with the reason, and never passed over.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

pub(crate) use election::{healthy_priority, twin};

use crate::config::{Config, VirtualRouter};
use crate::control::exit;
use crate::control::protocol::{self, State};

mod addresses;
mod certificates;
mod election;
mod firewall;
mod host;
mod kernel;
mod kubernetes;
mod managers;
mod names;
mod neighbours;
mod processes;
mod resolver;
mod services;
mod subject;
mod sys;
#[cfg(test)]
mod testing;
mod wire;
mod witnesses;

/// How a finding came out, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It cannot be seen from here, or not now.
    Unknown,
    /// It will bite one day.
    Warn,
    /// It bites now, or at the next move of the address.
    Fail,
}

impl Verdict {
    /// As people read it; only `FAIL` is loud.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name in snake_case, which scripts may rely on.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found, with the values that show it; for an unknown one, why it is unknown.
    pub what: String,
    /// Why it matters; empty when all is well.
    pub why: String,
    /// What to do or to type.
    pub fix: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, what: one_line(what), why: String::new(), fix: None }
    }

    fn unknown(name: &'static str, what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::ok(name, what) }
    }

    fn warn(
        name: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Warn, why: one_line(why), fix: Some(one_line(fix)), ..Self::ok(name, what) }
    }

    fn fail(
        name: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(name, what, why, fix) }
    }

    /// The same with what to do, for what is unknown.
    fn with_fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(one_line(fix)), ..self }
    }
}

/// Names in certificates, answers and files may be a stranger's: none of them moves the cursor or begins
/// a line that looks like another finding.
fn one_line(text: impl Into<String>) -> String {
    text.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What is looked at.
#[derive(Debug)]
pub struct Case {
    /// This node's configuration, with the virtual routers that were asked for.
    pub config: Config,
    /// The other node's, when it was given.
    pub peer: Option<Config>,
    /// What the daemon says of itself, or why it says nothing.
    pub state: Result<State, String>,
    /// Where the machine's files begin; `/` outside of tests.
    pub root: PathBuf,
}

impl Case {
    /// What the daemon says of a virtual router.
    fn running(&self, router: &VirtualRouter) -> Result<&protocol::VirtualRouter, String> {
        let state = self.state.as_ref().map_err(Clone::clone)?;
        let found = state.virtual_routers.iter().find(|running| running.name == router.name);
        found.ok_or_else(|| format!("the daemon does not run {}: vrrpctl reload", router.name))
    }

    /// The file that is at `path` on the machine.
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file of the machine, whatever its octets are.
    fn read(&self, path: impl AsRef<Path>) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.path(path))?).into_owned())
    }

    /// A number in a file such as those below `/proc/sys`.
    fn number(&self, path: impl AsRef<Path>) -> Option<i64> {
        self.read(path).ok()?.trim().parse().ok()
    }

    /// The files of a directory of the machine, in the order of their names; none when it is not there.
    fn list(&self, path: impl AsRef<Path>) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path(&path)).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| path.as_ref().join(entry.file_name())).collect();
        paths.sort_unstable();
        paths
    }
}

/// Looks at everything. Takes some seconds, because questions that nobody answers have to be waited for.
pub fn examine(case: &Case) -> Vec<Finding> {
    let groups: [fn(&Case) -> Vec<Finding>; 12] = [
        wire::examine,
        firewall::examine,
        addresses::examine,
        witnesses::examine,
        names::examine,
        certificates::examine,
        election::examine,
        services::examine,
        kernel::examine,
        managers::examine,
        kubernetes::examine,
        host::examine,
    ];
    groups.iter().flat_map(|group| group(case)).collect()
}

/// 0 when nothing is wrong, 1 with a warning, 2 with a failure. What is unknown changes nothing.
pub fn exit_code(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.verdict).max() {
        Some(Verdict::Fail) => exit::CRITICAL,
        Some(Verdict::Warn) => exit::DEGRADED,
        _ => exit::FINE,
    }
}

/// Runs a program of the system and gives its standard output.
///
/// # Errors
/// The program is missing or fails: in words, with what it wrote to standard error.
fn output_of(program: &str, arguments: &[&str]) -> Result<String, String> {
    let run = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    let output = match run {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("{program} is not installed"));
        }
        Err(error) => return Err(format!("cannot run {program}: {error}")),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", said.lines().next().unwrap_or("failed without a word").trim()))
}

/// For the fuzzer.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(octets: &[u8]) {
    firewall::fuzz(octets);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_worst_finding() {
        let ok = || Finding::ok("a", "fine");
        let unknown = || Finding::unknown("b", "no daemon");
        let warn = || Finding::warn("c", "what", "why", "fix");
        let fail = || Finding::fail("d", "what", "why", "fix");
        assert_eq!(exit_code(&[]), 0);
        assert_eq!(exit_code(&[ok(), unknown()]), 0);
        assert_eq!(exit_code(&[warn(), unknown(), ok()]), 1);
        assert_eq!(exit_code(&[fail(), warn()]), 2);
    }

    #[test]
    fn a_program_that_is_missing_or_fails_is_named() {
        assert_eq!(output_of("no-such-program", &[]), Err("no-such-program is not installed".to_owned()));
        let failed = output_of("ls", &["/no/such/file"]).expect_err("there is no such file");
        assert!(failed.starts_with("ls: ") && failed.contains("/no/such/file"), "{failed}");
        assert_eq!(output_of("echo", &["here"]), Ok("here\n".to_owned()));
    }
}
