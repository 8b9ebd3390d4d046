//! The `exec` probe: a program, run by the launcher.

use std::time::Duration;

use super::{Prober, Run};
use crate::config::Exec;
use crate::launcher::{self, LauncherHandle};

/// The probe of one check.
#[derive(Debug)]
pub(super) struct ExecProbe {
    check: String,
    exec: Exec,
    launcher: LauncherHandle,
}

impl ExecProbe {
    pub(super) fn new(check: &str, exec: &Exec, launcher: &LauncherHandle) -> Self {
        Self { check: check.to_owned(), exec: exec.clone(), launcher: launcher.clone() }
    }
}

impl Prober for ExecProbe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            let env = vec![("VRRPD_CHECK".to_owned(), self.check.clone())];
            let (argv, user) = (self.exec.argv.clone(), self.exec.user.clone());
            let outcome = self.launcher.run(launcher::Run { argv, env, user, deadline }).await;
            if outcome.passed() { Ok(outcome.to_string()) } else { Err(outcome.to_string()) }
        })
    }
}
