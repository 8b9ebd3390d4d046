//! `exec = [...]` and `user`, of checks and of hooks.

use std::path::Path;

use super::Kind;
use crate::config::diagnostic::Faults;
use crate::config::show::{Entries, list, quoted};
use crate::config::table::{At, Table};
use crate::config::value;

/// A program that is run as another user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// Absolute path and arguments.
    pub argv: Vec<String>,
    /// User it runs as; default: `vrrpd-check` when it exists, else `nobody`.
    pub user: Option<String>,
}

pub(in crate::config) fn read(table: &Table<'_>, faults: &mut Faults) -> Option<Exec> {
    let argv = table.list("exec", faults, value::argument);
    let user = table.field("user", faults, value::account);
    let At { value: argv, span } = argv.at()?;
    let Some(path) = argv.first() else {
        faults.error(span, "exec is empty", "the absolute path of a program, and its arguments");
        return None;
    };
    if let Err(refusal) = value::program(&path.value) {
        faults.error(&path.span, refusal.message, refusal.label);
    }
    Some(Exec { argv: argv.iter().map(|at| at.value.clone()).collect(), user: user.optional()? })
}

impl Kind for Exec {
    fn files(&self) -> Vec<(&'static str, &Path)> {
        self.argv.first().map(|program| ("program", Path::new(program))).into_iter().collect()
    }

    fn show(&self) -> Entries {
        let mut entries = vec![("exec", list(&self.argv, |argument| quoted(argument)))];
        if let Some(user) = &self.user {
            entries.push(("user", quoted(user)));
        }
        entries
    }
}
