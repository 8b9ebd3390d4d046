//! What a check can do: one variant of [`Probe`] and one file in `probe/` for each kind.
//!
//! The file of a kind has its values, reads them with their places and ranges, and shows them. What a
//! kind does when it runs is in the file of the same name in `check/`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::Effect;
use super::diagnostic::{Faults, Span};
use super::keys::{self, Support};
use super::show::Entries;
use super::table::{At, Table};

pub(super) mod address;
pub(super) mod chart_repository;
pub(super) mod disk;
pub(super) mod dns;
mod endpoint;
pub(super) mod exec;
pub(super) mod file;
pub(super) mod gateway;
pub(super) mod hosts;
pub(super) mod http;
pub(super) mod registry;
pub(super) mod registry_parity;
pub(super) mod s3;
pub(super) mod tcp;

pub use chart_repository::{Chart, ChartRepository};
pub use endpoint::{Endpoint, Tls};
pub use exec::Exec;
pub use http::{BodyMatch, Http, HttpMethod, MAX_BODY, Scalar};
pub use registry::{Blobs, Image, ImageDigest, Registry};
pub use registry_parity::RegistryParity;
pub use s3::S3;
pub(super) mod ping;
pub(super) mod preset;
pub(super) mod process;
pub(super) mod route;
pub(super) mod systemd_unit;

pub use address::Address;
pub(crate) use disk::show_bytes;
pub use disk::{Disk, Mounted};
pub use dns::{Dns, DnsProtocol};
pub(crate) use dns::{dns_data, rcode_word};
pub use file::File;
pub use gateway::Gateway;
pub use hosts::Hosts;
pub use ping::{Ping, PingTarget};
pub use preset::Preset;
pub use process::Process;
pub use route::Route;
pub use systemd_unit::SystemdUnit;
pub use tcp::Tcp;

/// The one probe of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `exec = [...]`: an argument vector, no shell; exit code 0 passes.
    Exec(Exec),
    /// `tcp = { address = "host:port" }`: the connection is made.
    Tcp(Tcp),
    /// `http = { url = ... }`: a request is answered as it should be.
    Http(Box<Http>),
    /// `s3 = { url = ... }`: an object is there.
    S3(Box<S3>),
    /// `registry = { url = ..., canary = [...] }`: images are there.
    Registry(Box<Registry>),
    /// `registry_parity = { url = ..., peer = { ... } }`: two registries have the same images.
    RegistryParity(Box<RegistryParity>),
    /// `chart_repository = { url = ... }`: a repository of Helm has its charts.
    ChartRepository(Box<ChartRepository>),
    /// `dns = { server = ..., name = ... }`: a name server is asked.
    Dns(Dns),
    /// `hosts = { absent = [...] }`: what the hosts file says of names.
    Hosts(Hosts),
    /// `ping = { targets = [...] }`: hosts answer.
    Ping(Ping),
    /// `gateway = { ... }`: the routers of the default routes answer.
    Gateway(Gateway),
    /// `address = { addresses = [...] }`: this node has its addresses.
    Address(Address),
    /// `file = { path = ... }`: it exists or does not, is young, holds a number or a text.
    File(File),
    /// `disk = { path = ... }`: room is left, and the right file system is mounted.
    Disk(Disk),
    /// `process = { name = ... }`: it runs.
    Process(Process),
    /// `route = { to = ... }`: the kernel has it.
    Route(Route),
    /// `systemd_unit = { unit = ... }`: it has processes.
    SystemdUnit(SystemdUnit),
}

/// Reads a kind from the table of its check; `None` when it is not there, or wrong and reported.
type Read = fn(&Table<'_>, &mut Faults) -> Option<Probe>;

/// Every kind by its key in `[check.NAME]`.
const KINDS: &[(&str, Read)] = &[
    ("exec", |check, faults| exec::read(check, faults).map(Probe::Exec)),
    ("tcp", |check, faults| tcp::read(check, faults).map(Probe::Tcp)),
    ("http", |check, faults| Some(Probe::Http(Box::new(http::read(check, faults)?)))),
    ("s3", |check, faults| Some(Probe::S3(Box::new(s3::read(check, faults)?)))),
    ("registry", |check, faults| Some(Probe::Registry(Box::new(registry::read(check, faults)?)))),
    ("registry_parity", |check, faults| {
        Some(Probe::RegistryParity(Box::new(registry_parity::read(check, faults)?)))
    }),
    ("chart_repository", |check, faults| {
        Some(Probe::ChartRepository(Box::new(chart_repository::read(check, faults)?)))
    }),
    ("dns", |check, faults| dns::read(check, faults).map(Probe::Dns)),
    ("hosts", |check, faults| hosts::read(check, faults).map(Probe::Hosts)),
    ("ping", |check, faults| ping::read(check, faults).map(Probe::Ping)),
    ("gateway", |check, faults| gateway::read(check, faults).map(Probe::Gateway)),
    ("address", |check, faults| address::read(check, faults).map(Probe::Address)),
    ("file", |check, faults| file::read(check, faults).map(Probe::File)),
    ("disk", |check, faults| disk::read(check, faults).map(Probe::Disk)),
    ("process", |check, faults| process::read(check, faults).map(Probe::Process)),
    ("route", |check, faults| route::read(check, faults).map(Probe::Route)),
    ("systemd_unit", |check, faults| systemd_unit::read(check, faults).map(Probe::SystemdUnit)),
];

/// What a kind tells of itself.
pub(super) trait Kind {
    /// Its keys in `[check.NAME]` with their values.
    fn show(&self) -> Entries;

    /// The address that is asked, where the file has one.
    fn target(&self) -> Option<IpAddr> {
        None
    }

    /// The files that it cannot do without, and what they are called.
    fn files(&self) -> Vec<(&'static str, &Path)> {
        Vec::new()
    }

    /// The hosts other than this node whose silence is a failure.
    fn others(&self) -> Option<Others> {
        None
    }

    /// What its checks do unless the file says otherwise.
    fn usual(&self) -> Usual {
        Usual::default()
    }
}

/// Hosts other than this node.
#[derive(Clone, Debug)]
pub(super) struct Others {
    /// Those that the file names.
    pub(super) named: Vec<IpAddr>,
    /// And the routers of this network, however many there are.
    pub(super) routers: bool,
    /// How many must answer.
    pub(super) quorum: u32,
}

/// Defaults of a check that depend on its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    pub(super) interval: Duration,
    pub(super) effect: Effect,
}

impl Default for Usual {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), effect: Effect::Demote }
    }
}

impl Probe {
    /// The files that it cannot do without, and what they are called.
    pub(crate) fn files(&self) -> Vec<(&'static str, &Path)> {
        self.kind().files()
    }

    /// Its key in `[check.NAME]`; that of what a preset stands for.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Tcp(_) => "tcp",
            Self::Http(_) => "http",
            Self::S3(_) => "s3",
            Self::Registry(_) => "registry",
            Self::RegistryParity(_) => "registry_parity",
            Self::ChartRepository(_) => "chart_repository",
            Self::Dns(_) => "dns",
            Self::Hosts(_) => "hosts",
            Self::Ping(_) => "ping",
            Self::Gateway(_) => "gateway",
            Self::Address(_) => "address",
            Self::File(_) => "file",
            Self::Disk(_) => "disk",
            Self::Process(_) => "process",
            Self::Route(_) => "route",
            Self::SystemdUnit(_) => "systemd_unit",
        }
    }

    /// The kind with its values.
    pub(super) fn kind(&self) -> &dyn Kind {
        match self {
            Self::Exec(kind) => kind,
            Self::Tcp(kind) => kind,
            Self::Http(kind) => &**kind,
            Self::S3(kind) => &**kind,
            Self::Registry(kind) => &**kind,
            Self::RegistryParity(kind) => &**kind,
            Self::ChartRepository(kind) => &**kind,
            Self::Dns(kind) => kind,
            Self::Hosts(kind) => kind,
            Self::Ping(kind) => kind,
            Self::Gateway(kind) => kind,
            Self::Address(kind) => kind,
            Self::File(kind) => kind,
            Self::Disk(kind) => kind,
            Self::Process(kind) => kind,
            Self::Route(kind) => kind,
            Self::SystemdUnit(kind) => kind,
        }
    }
}

/// The one probe of a check, and the preset that it comes from, if it does; no probe when there is not
/// exactly one, or it is wrong, and reported.
pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> (Option<At<Probe>>, Option<Preset>) {
    let (preset_probe, preset) = preset::read(check, faults).unzip();
    let probes: Vec<Probe> =
        KINDS.iter().filter_map(|(_, read)| read(check, faults)).chain(preset_probe).collect();
    (only(check, probes, faults), preset)
}

fn only(check: &Table<'_>, probes: Vec<Probe>, faults: &mut Faults) -> Option<At<Probe>> {
    let mut given: Vec<(&str, Span)> = keys().filter_map(|key| Some((key, check.key(key)?))).collect();
    given.sort_by_key(|(_, span)| span.start);
    if let (Some(user), None) = (check.key("user"), check.key("exec")) {
        faults.error(&user, "user belongs to exec: no other check runs a program", "leave it out");
    }
    match &given[..] {
        [(_, span)] => Some(At { value: probes.into_iter().next()?, span: span.clone() }),
        [] => {
            let mut later = keys::CHECK.iter().filter(|key| key.support == Support::NotYet);
            // A probe that is not implemented has been reported already.
            if !later.any(|key| check.key(key.name).is_some()) && !faults.incomplete() {
                faults.error(&check.span, format!("[{}] checks nothing", check.path), one_of_all());
            }
            None
        }
        [(first, first_span), (second, second_span), ..] => {
            let line = faults.line(first_span);
            faults.error(
                second_span,
                format!("[{}] has both {first} and {second}", check.path),
                format!("exactly one; {first} is at line {line}"),
            );
            None
        }
    }
}

/// Those of which a check has one.
fn keys() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(key, _)| *key).chain(["preset"])
}

fn one_of_all() -> String {
    let names: Vec<&str> = keys().collect();
    let (last, others) = names.split_last().expect("there are kinds");
    format!("exactly one of {} and {last}", others.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_key_that_is_read() {
        for (kind, _) in KINDS {
            let key = keys::CHECK.iter().find(|key| key.name == *kind).expect(kind);
            assert_eq!(key.support, Support::Full, "{kind}");
        }
    }
}
