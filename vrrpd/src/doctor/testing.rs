//! A machine made of files, for tests to plant faults in.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Case, Finding, Verdict};
use crate::config::{self, Config};
use crate::control::protocol::State;
use crate::control::testing;

/// The bootstrap node `bootstrap-a` of the documents.
pub(super) const A: &str = "[virtual_router.bootstrap]\ninterface = \"eth0\"\nvrid = 201\npriority = 150\n\
                            addresses = [\"192.0.2.201\"]\npeers = [\"192.0.2.194\"]\n";

/// A directory that stands for `/`, removed with this value, and what is looked at in it.
pub(super) struct Patient {
    pub(super) case: Case,
}

impl Patient {
    /// With this configuration, an empty machine and no daemon.
    pub(super) fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("vrrpctl-doctor-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&root).expect("the temporary directory is writable");
        let state = Err("no daemon".to_owned());
        Self { case: Case { config: parse(text), peer: None, state, root } }
    }

    /// With node A's configuration and a daemon that is Active and well.
    pub(super) fn active() -> Self {
        Self::new(A).running(testing::state(vec![testing::router()]))
    }

    /// With node A's configuration and a daemon that is Backup to 192.0.2.194.
    pub(super) fn backup() -> Self {
        Self::new(A).running(testing::state(vec![testing::backup()]))
    }

    pub(super) fn running(mut self, state: State) -> Self {
        self.case.state = Ok(state);
        self
    }

    pub(super) fn with_peer(mut self, text: &str) -> Self {
        self.case.peer = Some(parse(text));
        self
    }

    /// Puts a file there.
    pub(super) fn file(self, path: &str, text: &str) -> Self {
        let file = self.place(path);
        std::fs::write(&file, text).expect("the temporary directory is writable");
        self
    }

    /// Puts a symbolic link there.
    pub(super) fn link(self, path: &str, target: &str) -> Self {
        let file = self.place(path);
        std::os::unix::fs::symlink(target, &file).expect("the temporary directory is writable");
        self
    }

    fn place(&self, path: &str) -> PathBuf {
        let file = self.case.path(path);
        std::fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).expect("a directory");
        file
    }

    /// The state, to plant a fault in.
    pub(super) fn state(&mut self) -> &mut State {
        self.case.state.as_mut().expect("this patient has a daemon")
    }

    /// The one finding of that name.
    pub(super) fn find(&self, examine: fn(&Case) -> Vec<Finding>, name: &str) -> Finding {
        let mut found: Vec<Finding> = examine(&self.case);
        found.retain(|finding| finding.name == name);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found.remove(0)
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        // What stays behind in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.case.root);
    }
}

pub(super) fn parse(text: &str) -> Config {
    match config::parse("test.toml", text) {
        Ok((config, _)) => config,
        Err(faults) => panic!("{faults}"),
    }
}

/// The verdict is this one, and the text names everything in `words`.
pub(super) fn assert_finding(finding: &Finding, verdict: Verdict, words: &[&str]) {
    assert_eq!(finding.verdict, verdict, "{finding:?}");
    let text = format!("{} {} {}", finding.what, finding.why, finding.fix.as_deref().unwrap_or_default());
    for word in words {
        assert!(text.contains(word), "{word} is missing from: {text}");
    }
    let told = !finding.why.is_empty() && finding.fix.is_some();
    assert!(told || verdict < Verdict::Warn, "what is wrong has a reason and a fix: {finding:?}");
}
