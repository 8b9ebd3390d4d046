//! `preset = "..."` and `with = { ... }`: a check of a well-known service in one line.
//!
//! A preset stands for one kind with its fields; [`to_toml_expanded`](crate::config::to_toml_expanded)
//! spells them out. What differs from node to node is in `with`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::chart_repository::{self, ChartRepository};
use super::endpoint::{Endpoint, Tls};
use super::http::{BodyMatch, Http, HttpMethod, MAX_BODY, Scalar};
use super::registry::{self, Blobs, ImageDigest, Registry};
use super::s3::S3;
use super::{Probe, Usual};
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::show::{Entries, inline, list, quoted};
use crate::config::table::{Field, Table};
use crate::config::value::{self, Read, refuse};
use crate::config::{Effect, Url};

/// A preset as the file has it; what it stands for is in the probe of its check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    name: &'static str,
    /// Keys of `with` and their values in TOML.
    with: Entries,
}

/// What there is to know of a preset.
pub(in crate::config) struct Template {
    name: &'static str,
    /// Keys of `with`.
    keys: &'static [Key],
    /// `interval` unless set.
    interval: Duration,
    /// A `with` that has what is needed.
    example: &'static str,
    read: fn(&Table<'_>, &mut Faults) -> Option<Probe>,
}

pub(in crate::config) const DCE_REGISTRY: Template = Template {
    name: "dce-registry",
    keys: &[
        full("address"),
        full("host"),
        full("port"),
        full("ca_file"),
        full("pin"),
        full("basic_auth_file"),
        full("canary"),
        full("blobs"),
    ],
    interval: Duration::from_secs(2),
    example: "{ address = \"192.0.2.193\", host = \"www.example.com\", canary = [\"pause/pause:3.9\"] }",
    read: dce_registry,
};

pub(in crate::config) const DCE_CHARTS: Template = Template {
    name: "dce-charts",
    keys: &[full("address"), full("host"), full("port"), full("basic_auth_file"), full("canary")],
    interval: Duration::from_secs(30),
    example: "{ address = \"192.0.2.193\" }",
    read: dce_charts,
};

pub(in crate::config) const DCE_FILES: Template = Template {
    name: "dce-files",
    keys: &[full("address"), full("host"), full("port"), full("object")],
    interval: Duration::from_secs(2),
    example: "{ address = \"192.0.2.193\", object = \"/kubean/file\" }",
    read: dce_files,
};

pub(in crate::config) const HAPROXY: Template = Template {
    name: "haproxy",
    keys: &[full("address"), full("port"), full("path")],
    interval: Duration::from_secs(1),
    example: "{ address = \"192.0.2.193\" }",
    read: haproxy,
};

pub(in crate::config) const KUBE_APISERVER: Template = Template {
    name: "kube-apiserver",
    keys: &[full("address"), full("host"), full("port"), full("ca_file"), full("pin")],
    interval: Duration::from_secs(2),
    example: "{ address = \"192.0.2.193\" }",
    read: kube_apiserver,
};

pub(in crate::config) const HARBOR: Template = Template {
    name: "harbor",
    keys: &[full("address"), full("host"), full("port"), full("ca_file"), full("pin")],
    interval: Duration::from_secs(5),
    example: "{ address = \"192.0.2.193\", host = \"harbor.example.com\" }",
    read: harbor,
};

const ALL: [&Template; 6] = [&DCE_REGISTRY, &DCE_CHARTS, &DCE_FILES, &HAPROXY, &KUBE_APISERVER, &HARBOR];

impl Template {
    /// Its name in the manual and in the tables of keys, and the keys of its `with`.
    pub(in crate::config) const fn table(&self) -> (&'static str, &'static [Key]) {
        (self.name, self.keys)
    }
}

impl Preset {
    /// Its keys in `[check.NAME]` with their values.
    pub(in crate::config) fn show(&self) -> Entries {
        vec![("preset", quoted(self.name)), ("with", inline(&self.with))]
    }

    /// What its checks do unless the file says otherwise.
    pub(in crate::config) fn usual(&self) -> Usual {
        let template = ALL.iter().find(|template| template.name == self.name);
        let interval = template.map_or(Usual::default().interval, |template| template.interval);
        Usual { interval, effect: Effect::Demote }
    }
}

/// The preset of a check and what it stands for; `None` when it has none, or a wrong one, reported.
pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<(Probe, Preset)> {
    let names: Vec<(&str, &Template)> = ALL.iter().map(|template| (template.name, *template)).collect();
    let chosen = check.field("preset", faults, |key, value| value::word(key, value, &names));
    if let (Some(with), None) = (check.key("with"), check.key("preset")) {
        faults.error(
            &with,
            "with belongs to preset",
            "leave it out: the other kinds have tables of their own",
        );
    }
    let template = *chosen.given()?;
    let path = format!("{}.with ({})", check.path, template.name);
    let with = check.table_called(path, "with", template.keys, faults);
    if let (Field::Absent, Some(preset)) = (&with, check.key("preset")) {
        let message = format!("preset {:?} has to know this node", template.name);
        faults.error(&preset, message, format!("with = {}", template.example));
    }
    let with = with.given()?;
    let probe = (template.read)(with, faults)?;
    let values = template.keys.iter().filter_map(|key| {
        let value = with.field(key.name, faults, |_, value| written(value));
        Some((key.name, value.given()?.clone()))
    });
    let preset = Preset { name: template.name, with: values.collect() };
    Some((probe, preset))
}

/// A value as TOML writes it; those of the other types have been refused by now.
fn written(value: &DeValue<'_>) -> Read<String> {
    match value {
        DeValue::String(text) => Ok(quoted(text)),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Array(elements) => {
            let elements: Vec<String> =
                elements.iter().map(|element| written(element.get_ref())).collect::<Result<_, _>>()?;
            Ok(list(&elements, String::clone))
        }
        other => refuse(format!("{} cannot be the value of a preset", value::kind(other)), ""),
    }
}

// The services.

/// The registry of a bootstrap node: an image with its layers, over TLS with the name that clients use.
fn dce_registry(with: &Table<'_>, faults: &mut Faults) -> Option<Probe> {
    let server = Server::read(with, 443, faults);
    let tls = read_tls(with, None, faults);
    let basic_auth_file = with.field("basic_auth_file", faults, value::secret_path);
    let canary = with.list("canary", faults, registry::image);
    let blobs = with.field("blobs", faults, registry::blobs);
    if with.key("canary").is_none() && !faults.incomplete() {
        let label = "an image of this node, as in canary = [\"pause/pause:3.9\"]: /v2/ answers without any";
        faults.error(&with.span, format!("[{}] has no canary", with.path), label);
    }
    if let Some(empty) = canary.at().filter(|canary| canary.value.is_empty()) {
        faults.error(&empty.span, "canary is empty", "an image that must be there");
    }
    let basic_auth_file = basic_auth_file.optional()?;
    Some(Probe::Registry(Box::new(Registry {
        endpoint: Endpoint { basic_auth_file, ..server?.endpoint(Some(tls?), "/") },
        canary: canary.given()?.iter().map(|at| at.value.clone()).collect(),
        digest: ImageDigest::Any,
        blobs: blobs.or(Blobs::Head)?,
    })))
}

/// The chart repository: its index, since `/health` answers without looking at the storage.
fn dce_charts(with: &Table<'_>, faults: &mut Faults) -> Option<Probe> {
    let server = Server::read(with, 8081, faults);
    let basic_auth_file = with.field("basic_auth_file", faults, value::secret_path);
    let canary = with.field("canary", faults, chart_repository::chart);
    let basic_auth_file = basic_auth_file.optional()?;
    Some(Probe::ChartRepository(Box::new(ChartRepository {
        endpoint: Endpoint { basic_auth_file, ..server?.endpoint(None, "/") },
        min_entries: 1,
        canary: canary.optional()?,
        max_body: chart_repository::MAX_INDEX,
    })))
}

/// The file server: an object, since `/minio/health/live` answers always.
fn dce_files(with: &Table<'_>, faults: &mut Faults) -> Option<Probe> {
    let server = Server::read(with, 9000, faults);
    let object = with.required("object", "as in object = \"/kubean/file\"", faults, object);
    let endpoint = server?.endpoint(None, object.given()?);
    Some(Probe::S3(Box::new(S3 { endpoint, length: None, sha256: None })))
}

/// HAProxy: its `monitor-uri`, since the process lives on without a server behind it.
fn haproxy(with: &Table<'_>, faults: &mut Faults) -> Option<Probe> {
    let server = Server::read(with, 8404, faults);
    let path = with.field("path", faults, path);
    Some(get(server?.endpoint(None, &path.or("/health".to_owned())?), None))
}

/// The API server of Kubernetes: `/readyz`, which anybody may ask.
fn kube_apiserver(with: &Table<'_>, faults: &mut Faults) -> Option<Probe> {
    let server = Server::read(with, 6443, faults);
    let tls = read_tls(with, Some("/etc/kubernetes/pki/ca.crt"), faults);
    let ok = BodyMatch::Contains("ok".to_owned());
    Some(get(server?.endpoint(Some(tls?), "/readyz"), Some(ok)))
}

/// Harbor: `healthy` only when all its components are.
fn harbor(with: &Table<'_>, faults: &mut Faults) -> Option<Probe> {
    let server = Server::read(with, 443, faults);
    let tls = read_tls(with, None, faults);
    let healthy =
        BodyMatch::Json { pointer: "/status".to_owned(), equals: Scalar::Text("healthy".to_owned()) };
    Some(get(server?.endpoint(Some(tls?), "/api/v2.0/health"), Some(healthy)))
}

fn get(endpoint: Endpoint, body: Option<BodyMatch>) -> Probe {
    Probe::Http(Box::new(Http {
        endpoint,
        method: HttpMethod::Get,
        headers: Vec::new(),
        status: vec![200],
        body,
        length: None,
        min_length: None,
        sha256: None,
        max_body: MAX_BODY,
    }))
}

// What they have in common.

/// `address`, `host` and `port`.
struct Server {
    address: IpAddr,
    host: Option<String>,
    port: u16,
}

impl Server {
    fn read(with: &Table<'_>, port: u16, faults: &mut Faults) -> Option<Self> {
        let remedy = "this node's own one, as in address = \"192.0.2.193\"";
        let address = with.required("address", remedy, faults, value::ip);
        let host = with.field("host", faults, value::host);
        let usual = port;
        let port = with.field("port", faults, |key, value| {
            value::count(key, value, 1..=65_535).map(|port| u16::try_from(port).unwrap_or(u16::MAX))
        });
        Some(Self { address: *address.given()?, host: host.optional()?, port: port.or(usual)? })
    }

    /// Asked at its address, by the name that clients use.
    fn endpoint(self, tls: Option<Tls>, path: &str) -> Endpoint {
        let connect = self.host.as_ref().map(|_| SocketAddr::new(self.address, self.port));
        let host = self.host.unwrap_or_else(|| self.address.to_string());
        let url = Url { tls: tls.is_some(), host, port: self.port, path: path.to_owned() };
        Endpoint { url, connect, basic_auth_file: None, tls: tls.unwrap_or_default() }
    }
}

/// `ca_file` and `pin`.
fn read_tls(with: &Table<'_>, usual: Option<&str>, faults: &mut Faults) -> Option<Tls> {
    let ca_file = with.field("ca_file", faults, value::absolute_path);
    let pin = with.field("pin", faults, value::sha256);
    if let (Some(ca_file), Some(pin)) = (ca_file.at(), pin.at()) {
        let line = faults.line(&ca_file.span);
        let label = format!("a pinned certificate needs no authority; ca_file is at line {line}");
        faults.error(&pin.span, "pin and ca_file exclude each other", label);
    }
    let pin = pin.optional()?;
    let usual = usual.filter(|_| pin.is_none()).map(PathBuf::from);
    Some(Tls { ca_file: ca_file.optional()?.or(usual), pin, ..Tls::default() })
}

fn path(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = value::string(key, value)?;
    if !text.starts_with('/') || text.contains('#') || !text.chars().all(|c| c.is_ascii_graphic()) {
        return refuse(
            format!("{key} {text:?} is not the path of a URL"),
            "it begins with /, in letters of ASCII; the rest as %20",
        );
    }
    Ok(text.to_owned())
}

fn object(key: &str, value: &DeValue<'_>) -> Read<String> {
    let path = path(key, value)?;
    if path.trim_matches('/').split('/').count() < 2 {
        return refuse(
            format!("{key} {path:?} names no object"),
            "a bucket and an object: \"/bucket/object\"",
        );
    }
    Ok(path)
}
