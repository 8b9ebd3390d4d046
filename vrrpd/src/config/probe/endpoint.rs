//! Whom HTTP requests go to: the keys that `http`, `s3`, `registry`, `registry_parity` and
//! `chart_repository` share.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::diagnostic::Faults;
use crate::config::show::{Entries, list, quoted};
use crate::config::table::{Field, Table};
use crate::config::value::{self, Read};
use crate::config::{Sha256, Url};

/// The keys of an endpoint, and those that a kind adds.
macro_rules! endpoint_keys {
    ($($more:literal),* $(,)?) => {{
        use crate::config::keys::full;
        &[
            full("url"),
            full("connect"),
            full("basic_auth_file"),
            full("ca_file"),
            full("pin"),
            full("server_name"),
            full("names"),
            full("expires_in_warn"),
            full("expires_in_fail"),
            $(full($more)),*
        ]
    }};
}
pub(in crate::config) use endpoint_keys;

/// A server that speaks HTTP, and what makes its certificate acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://` or `https://`, host, optional port and path; the host is what `Host` carries, and SNI
    /// unless `server_name` says otherwise.
    pub url: Url,
    /// Address to connect to instead of the URL's host.
    pub connect: Option<SocketAddr>,
    /// File with `user:password` for basic authentication, which only its owner may change and nobody
    /// but owner and group may read.
    pub basic_auth_file: Option<PathBuf>,
    /// What is asked of the certificate; of no meaning with `http://`.
    pub tls: Tls,
}

/// What a certificate has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the only authorities to trust; default: the system's.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the one certificate to trust, in place of any authority.
    pub pin: Option<Sha256>,
    /// Name or address in SNI that the certificate has to be valid for; default: the URL's host.
    pub server_name: Option<String>,
    /// Further names and addresses that the certificate has to be valid for.
    pub names: Vec<String>,
    /// Days left below which the result warns; default 30.
    pub expires_in_warn: u16,
    /// Days left below which the run fails; default 0.
    pub expires_in_fail: u16,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            ca_file: None,
            pin: None,
            server_name: None,
            names: Vec::new(),
            expires_in_warn: 30,
            expires_in_fail: 0,
        }
    }
}

impl Endpoint {
    /// Reads its keys; `url_reader` says which URLs the kind takes.
    pub(super) fn read(
        table: &Table<'_>,
        example: &str,
        url_reader: fn(&str, &toml::de::DeValue<'_>) -> Read<Url>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let url = table.required("url", &format!("as in url = \"{example}\""), faults, url_reader);
        let connect = table.field("connect", faults, value::socket_address);
        let basic_auth_file = table.field("basic_auth_file", faults, value::secret_path);
        let tls = read_tls(table, faults);
        if url.given().is_some_and(|url| !url.tls) {
            for key in ["ca_file", "pin", "server_name", "names", "expires_in_warn", "expires_in_fail"] {
                if let Some(span) = table.key(key) {
                    faults.error(
                        &span,
                        format!("{key} is of no use with http://"),
                        "write https:// in url or leave it out",
                    );
                }
            }
        }
        Some(Self {
            url: url.given()?.clone(),
            connect: connect.optional()?,
            basic_auth_file: basic_auth_file.optional()?,
            tls: tls?,
        })
    }

    /// Its keys with their values.
    pub(super) fn show(&self) -> Entries {
        let mut entries = vec![("url", quoted(&self.url.to_string()))];
        if let Some(connect) = self.connect {
            entries.push(("connect", quoted(&connect.to_string())));
        }
        if let Some(file) = &self.basic_auth_file {
            entries.push(("basic_auth_file", quoted(&file.to_string_lossy())));
        }
        if !self.url.tls {
            return entries;
        }
        let tls = &self.tls;
        if let Some(file) = &tls.ca_file {
            entries.push(("ca_file", quoted(&file.to_string_lossy())));
        }
        if let Some(pin) = tls.pin {
            entries.push(("pin", quoted(&pin.to_string())));
        }
        if let Some(name) = &tls.server_name {
            entries.push(("server_name", quoted(name)));
        }
        if !tls.names.is_empty() {
            entries.push(("names", list(&tls.names, |name| quoted(name))));
        }
        entries.push(("expires_in_warn", tls.expires_in_warn.to_string()));
        entries.push(("expires_in_fail", tls.expires_in_fail.to_string()));
        entries
    }

    /// The files that it needs.
    pub(super) fn files(&self) -> Vec<(&'static str, &Path)> {
        let ca_file = self.tls.ca_file.as_deref().map(|file| ("ca_file", file));
        let basic_auth_file = self.basic_auth_file.as_deref().map(|file| ("basic_auth_file", file));
        ca_file.into_iter().chain(basic_auth_file).collect()
    }

    /// The address that is asked, where the file has one.
    pub(super) fn target(&self) -> Option<IpAddr> {
        match self.connect {
            Some(connect) => Some(connect.ip()),
            None => self.url.host.parse().ok(),
        }
    }
}

fn read_tls(table: &Table<'_>, faults: &mut Faults) -> Option<Tls> {
    let usual = Tls::default();
    let ca_file = table.field("ca_file", faults, value::absolute_path);
    let pin = table.field("pin", faults, value::sha256);
    let server_name = table.field("server_name", faults, value::host);
    let names = table.list("names", faults, value::host);
    let warn = table.field("expires_in_warn", faults, value::days);
    let fail = table.field("expires_in_fail", faults, value::days);
    if let (Some(ca_file), Some(pin)) = (ca_file.at(), pin.at()) {
        let line = faults.line(&ca_file.span);
        faults.error(
            &pin.span,
            "pin and ca_file exclude each other",
            format!("a pinned certificate needs no authority; ca_file is at line {line}"),
        );
    }
    if let Some(names) = names.at() {
        super::super::raw::no_duplicates("names", &names.value, faults);
    }
    if let (Some(warn), Some(fail)) = (warn.at(), fail.at())
        && warn.value <= fail.value
    {
        faults.error(
            &warn.span,
            format!("expires_in_warn of {} days never warns", warn.value),
            format!("it fails from {} days on: more than that", fail.value),
        );
    }
    Some(Tls {
        ca_file: ca_file.optional()?,
        pin: pin.optional()?,
        server_name: server_name.optional()?,
        names: match &names {
            Field::Is(at) => at.value.iter().map(|at| at.value.clone()).collect(),
            Field::Absent => Vec::new(),
            Field::Unknown => return None,
        },
        expires_in_warn: warn.or(usual.expires_in_warn)?,
        expires_in_fail: fail.or(usual.expires_in_fail)?,
    })
}
