//! What the daemon may have run: the commands of the configuration file, which the launcher reads itself.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::Run;
use crate::config::{self, Config, Probe};

/// How the names of all variables begin that scripts are given. Others would change what a program
/// does (`LD_PRELOAD`).
const VARIABLES: &str = "VRRPD_";

/// What may be run.
#[derive(Debug)]
pub struct Allowed(Option<OfFile>);

/// The commands that a configuration file has had since the start.
#[derive(Debug)]
struct OfFile {
    path: PathBuf,
    /// None is taken away: the daemon may still run one that a later version of the file has not.
    known: HashSet<Command>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Command {
    argv: Vec<String>,
    user: Option<String>,
    /// Is it given four arguments more, `INSTANCE` first?
    hook: bool,
}

impl Allowed {
    /// Those of this file, which says `config` now; it is read again for a command that is not known.
    ///
    /// # Errors
    /// When the path is relative, and there is no working directory.
    pub fn of_file(path: &Path, config: &Config) -> io::Result<Self> {
        // The launcher has another working directory.
        let mut of_file = OfFile { path: std::path::absolute(path)?, known: HashSet::new() };
        of_file.learn(config);
        Ok(Self(Some(of_file)))
    }

    /// Whatever is asked for: for tests of the launcher.
    pub fn all() -> Self {
        Self(None)
    }

    /// Reads the file again, and goes on with what is known when it is faulty.
    pub(super) fn read(&mut self) {
        self.0.iter_mut().for_each(OfFile::read);
    }

    /// May this be run? If not, why.
    pub(super) fn allow(&mut self, run: &Run) -> Result<(), String> {
        let Some(of_file) = &mut self.0 else { return Ok(()) };
        if let Some((name, _)) = run.env.iter().find(|(name, _)| !name.starts_with(VARIABLES)) {
            return Err(format!("the variable {name} is none of vrrpd's"));
        }
        if of_file.has(run) {
            return Ok(());
        }
        of_file.read();
        if of_file.has(run) {
            return Ok(());
        }
        Err(format!(
            "{} says no such command; correct it, then vrrpctl reload: {}",
            of_file.path.display(),
            run.argv.join(" ")
        ))
    }
}

impl OfFile {
    fn read(&mut self) {
        if let Ok((config, _)) = config::load(&self.path) {
            self.learn(&config);
        }
    }

    fn learn(&mut self, config: &Config) {
        let checks = config.checks.iter().filter_map(|check| match &check.probe {
            Probe::Exec(exec) => Some((exec, false)),
            _ => None,
        });
        let hooks = config.hooks.iter().map(|hook| (&hook.exec, true));
        self.known.extend(checks.chain(hooks).map(|(exec, hook)| Command {
            argv: exec.argv.clone(),
            user: exec.user.clone(),
            hook,
        }));
    }

    fn has(&self, run: &Run) -> bool {
        let knows = |argv: &[String], hook| {
            self.known.contains(&Command { argv: argv.to_owned(), user: run.user.clone(), hook })
        };
        let of_hook = run.argv.split_last_chunk::<4>().filter(|(_, added)| added[0] == "INSTANCE");
        knows(&run.argv, false) || of_hook.is_some_and(|(argv, _)| knows(argv, true))
    }
}
