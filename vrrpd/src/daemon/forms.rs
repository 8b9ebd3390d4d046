//! The checksum form that the peers of each virtual router were last heard in, across restarts: a
//! first advertisement in the wrong form would go unheard.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vrrp_proto::packet::ChecksumForm;

use crate::state_dir;

/// A text file in `state_dir`: a name and a form a line.
#[derive(Debug)]
pub(super) struct Forms {
    file: PathBuf,
    forms: BTreeMap<String, ChecksumForm>,
}

impl Forms {
    /// What the file says; lines that say nothing are passed over, because the worst that follows is
    /// the form that the configuration starts with.
    pub(super) fn load(state_dir: &Path) -> Self {
        let file = state_dir.join("checksum-forms");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let forms = text.lines().filter_map(|line| {
            let (name, form) = line.split_once(' ')?;
            let form = [ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader]
                .into_iter()
                .find(|known| known.name() == form)?;
            Some((name.to_owned(), form))
        });
        Self { forms: forms.collect(), file }
    }

    pub(super) fn get(&self, virtual_router: &str) -> Option<ChecksumForm> {
        self.forms.get(virtual_router).copied()
    }

    /// Remembers, and writes the file when that is news.
    ///
    /// # Errors
    ///
    /// A sentence, when the file cannot be written.
    pub(super) fn learn(&mut self, virtual_router: &str, form: ChecksumForm) -> Result<(), String> {
        if self.forms.insert(virtual_router.to_owned(), form) == Some(form) {
            return Ok(());
        }
        let text: String =
            self.forms.iter().map(|(name, form)| format!("{name} {}\n", form.name())).collect();
        state_dir::write(&self.file, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_remembered_and_nonsense_is_passed_over() {
        let directory = crate::state_dir::tests::temporary("forms");
        Forms::load(&directory).learn("bootstrap", ChecksumForm::MessageOnly).expect("written");
        assert_eq!(Forms::load(&directory).get("bootstrap"), Some(ChecksumForm::MessageOnly));
        fs::write(directory.join("checksum-forms"), "bootstrap\nx y\n").expect("written");
        assert_eq!(Forms::load(&directory).get("bootstrap"), None);
    }
}
