//! Names that follow a virtual router: DNS UPDATE (RFC 2136), signed with TSIG (RFC 8945).
//!
//! Each `[dns_update.NAME]` has a task of its own, which sleeps while the virtual router is not
//! Active here. While it is, the task sees to it that the record has this node's address and no
//! other: it asks an authoritative server, changes the record in one message that holds only if the
//! record still is what was read, and asks again. It then looks from time to time whether that is
//! still so. Losing the role cancels whatever is under way. Nobody waits for any of it.
//!
//! A node that is cut off from its peer but not from the server may change the record as well: the
//! last one to write wins, as with two that claim one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config;

mod exchange;
mod fault;
mod keeper;
mod message;
mod secret;

pub(crate) use secret::Secret;

use keeper::Keeper;

/// What a task has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is about, as configured when the task began.
    pub update: config::DnsUpdate,
    /// How it stands now.
    pub standing: Standing,
    /// What a history should keep of it.
    pub event: Option<Event>,
}

/// How a `dns_update` stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In one word.
    pub progress: Progress,
    /// In a sentence.
    pub message: String,
    /// What to do about it, when it fails.
    pub remedy: Option<String>,
    /// Since when `progress` is what it is.
    pub since: Timestamp,
    /// When a server last answered that the record is right, while this node was Active.
    pub confirmed: Option<Timestamp>,
}

/// What a `dns_update` is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The virtual router is not Active here: nothing is touched.
    Standby,
    /// Being looked at or changed for the first time since this node became Active.
    Pending,
    /// A server has answered that the record is right.
    Confirmed,
    /// It could not be brought about, and is tried again.
    Failing,
}

/// Something that happened to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was changed, and the server has confirmed it.
    Changed {
        /// The server.
        server: SocketAddr,
        /// The addresses that it had before.
        was: Vec<IpAddr>,
        /// It was right before in this tenure: somebody else had changed it.
        again: bool,
    },
    /// It could not be changed, for a reason that is new.
    Failed {
        /// Why.
        message: String,
    },
}

/// All names that follow virtual routers.
#[derive(Debug)]
pub struct DnsUpdates {
    reports: mpsc::Sender<Report>,
    running: BTreeMap<String, Running>,
    /// Virtual routers that are Active here, by name.
    active: BTreeMap<String, bool>,
}

#[derive(Debug)]
struct Running {
    config: config::DnsUpdate,
    role: watch::Sender<bool>,
    standing: Standing,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DnsUpdates {
    /// None yet. What they have to say goes to `reports`, and back in through [`heard`](Self::heard).
    pub fn new(reports: mpsc::Sender<Report>) -> Self {
        Self { reports, running: BTreeMap::new(), active: BTreeMap::new() }
    }

    /// Makes these the ones that run, within a tokio runtime. One that did not change goes on
    /// undisturbed; any other starts afresh.
    pub fn apply(&mut self, updates: &[config::DnsUpdate]) {
        self.running.retain(|_, running| updates.contains(&running.config));
        // What is followed by none may be gone, and another one of its name is told its own role.
        self.active.retain(|router, _| updates.iter().any(|update| update.virtual_router == *router));
        for update in updates {
            if !self.running.contains_key(&update.name) {
                let active = self.active.get(&update.virtual_router).copied().unwrap_or(false);
                let (role, followed) = watch::channel(active);
                let keeper = Keeper::new(update.clone(), followed, self.reports.clone());
                let standing = keeper.standing().clone();
                let task = tokio::spawn(keeper.run());
                self.running
                    .insert(update.name.clone(), Running { config: update.clone(), role, standing, task });
            }
        }
    }

    /// A virtual router is Active here, or is not; to be told again does no harm.
    pub fn role(&mut self, virtual_router: &str, active: bool) {
        if self.active.get(virtual_router) == Some(&active) {
            return;
        }
        self.active.insert(virtual_router.to_owned(), active);
        for running in self.running.values().filter(|one| one.config.virtual_router == virtual_router) {
            running.role.send_replace(active);
        }
    }

    /// Takes note of a report; false when it is about a configuration that is no longer in force.
    pub fn heard(&mut self, report: &Report) -> bool {
        let running = self.running.get_mut(&report.update.name);
        let Some(running) = running.filter(|running| running.config == report.update) else { return false };
        running.standing.clone_from(&report.standing);
        true
    }

    /// Those that follow this virtual router, by name.
    pub fn of<'a>(
        &'a self,
        virtual_router: &'a str,
    ) -> impl Iterator<Item = (&'a config::DnsUpdate, &'a Standing)> {
        let those = self.running.values().filter(move |one| one.config.virtual_router == virtual_router);
        those.map(|running| (&running.config, &running.standing))
    }
}

/// For the fuzzer.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(octets: &[u8]) {
    message::fuzz(octets);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: &str =
        "[virtual_router.bootstrap]\ninterface = \"eth0\"\nvrid = 201\naddresses = [\"192.0.2.201\"]\n";

    fn updates(names: &[&str], value: &str) -> Vec<config::DnsUpdate> {
        let table = |name: &&str| {
            // A server that is not there: what is asked of it fails soon.
            format!(
                "[dns_update.{name}]\nvirtual_router = \"bootstrap\"\nserver = \"127.0.0.1:9\"\nzone = \"example.net\"\n\
                 name = \"{name}.example.net\"\nvalue = \"{value}\"\n"
            )
        };
        let text = ROUTER.to_owned() + &names.iter().map(table).collect::<String>();
        config::parse("test.toml", &text).expect("a valid configuration").0.dns_updates
    }

    fn standing(dns: &DnsUpdates) -> Vec<(&str, Progress)> {
        dns.of("bootstrap").map(|(update, standing)| (update.name.as_str(), standing.progress)).collect()
    }

    async fn hear(dns: &mut DnsUpdates, reports: &mut mpsc::Receiver<Report>, progress: Progress) {
        loop {
            let report = reports.recv().await.expect("the tasks run");
            if dns.heard(&report) && report.standing.progress == progress {
                return;
            }
        }
    }

    #[tokio::test]
    async fn those_that_did_not_change_go_on_and_others_start_in_the_role_of_their_router() {
        let (sender, mut reports) = mpsc::channel(64);
        let mut dns = DnsUpdates::new(sender);
        dns.apply(&updates(&["www"], "192.0.2.193"));
        assert_eq!(standing(&dns), [("www", Progress::Standby)]);
        dns.role("other", true);
        dns.role("bootstrap", true);
        hear(&mut dns, &mut reports, Progress::Failing).await;
        assert_eq!(standing(&dns), [("www", Progress::Failing)]);

        dns.apply(&updates(&["www", "new"], "192.0.2.193"));
        assert_eq!(standing(&dns), [("new", Progress::Standby), ("www", Progress::Failing)]);
        hear(&mut dns, &mut reports, Progress::Pending).await;
        assert_eq!(standing(&dns)[0], ("new", Progress::Pending), "it is told the role at once");

        dns.apply(&updates(&["www"], "192.0.2.194"));
        assert_eq!(standing(&dns), [("www", Progress::Standby)], "another value is another start");
        hear(&mut dns, &mut reports, Progress::Failing).await;
        dns.role("bootstrap", false);
        hear(&mut dns, &mut reports, Progress::Standby).await;
        assert_eq!(standing(&dns), [("www", Progress::Standby)]);
        dns.apply(&[]);
        assert_eq!(standing(&dns), []);
    }

    /// Its virtual router may be another one by then, of the same name.
    #[tokio::test]
    async fn one_that_comes_back_waits_to_be_told_its_role() {
        let (sender, _reports) = mpsc::channel(64);
        let mut dns = DnsUpdates::new(sender);
        let www = updates(&["www"], "192.0.2.193");
        dns.apply(&www);
        dns.role("bootstrap", true);
        dns.apply(&[]);
        dns.apply(&www);
        assert!(!*dns.running["www"].role.borrow(), "nobody has said that this one is Active");
        dns.role("bootstrap", true);
        assert!(*dns.running["www"].role.borrow());
    }
}
