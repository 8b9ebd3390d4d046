//! The checksum form that the peers of each virtual router were last heard in, across restarts: a
//! first advertisement in the wrong form would go unheard.

use std::collections::BTreeMap;

use vrrp_proto::packet::ChecksumForm;

use crate::state_dir::{StateDir, StateFile};

/// A text file in `state_dir`: a name and a form a line.
#[derive(Debug)]
pub(super) struct Forms {
    state: StateDir,
    forms: BTreeMap<String, ChecksumForm>,
}

impl Forms {
    /// What the file says; what is wrong with it is told as the second value. The worst that follows
    /// is the form that the configuration starts with.
    pub(super) fn load(state: &StateDir) -> (Self, Option<String>) {
        let (forms, damaged) = state.read(StateFile::ChecksumForms, parse);
        (Self { state: state.clone(), forms }, damaged)
    }

    pub(super) fn get(&self, virtual_router: &str) -> Option<ChecksumForm> {
        self.forms.get(virtual_router).copied()
    }

    /// Remembers, and writes the file when that is news. Says what went wrong when that is news.
    pub(super) fn learn(&mut self, virtual_router: &str, form: ChecksumForm) -> Option<String> {
        if self.forms.insert(virtual_router.to_owned(), form) == Some(form) {
            return None;
        }
        let text: String =
            self.forms.iter().map(|(name, form)| format!("{name} {}\n", form.name())).collect();
        self.state.keep(StateFile::ChecksumForms, text.as_bytes())
    }
}

/// A file that says nothing was never written.
fn parse(text: &str) -> Result<BTreeMap<String, ChecksumForm>, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let line = |line: &str| {
        let (name, form) = line.split_once(' ')?;
        let known = [ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader];
        Some((name.to_owned(), known.into_iter().find(|known| known.name() == form)?))
    };
    text.lines().map(|text| line(text).ok_or_else(|| format!("{text:?} is no name and form"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_remembered_and_nonsense_is_told_and_not_believed() {
        let state = crate::state_dir::tests::temporary_state("forms");
        let load = || Forms::load(&state);
        assert_eq!(load().0.learn("bootstrap", ChecksumForm::MessageOnly), None);
        assert_eq!(load().0.get("bootstrap"), Some(ChecksumForm::MessageOnly));
        for damage in ["bootstrap\n", "bootstrap x\n", ""] {
            state.write(StateFile::ChecksumForms, damage.as_bytes()).expect("written");
            let (forms, told) = load();
            assert_eq!(forms.get("bootstrap"), None);
            assert!(told.is_some_and(|told| told.contains("checksum-forms.damaged")), "{damage:?}");
        }
    }
}
