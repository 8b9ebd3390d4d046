//! `http = { ... }`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::Kind;
use crate::config::Url;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::raw::no_duplicates;
use crate::config::show::{Entries, inline, list, quoted};
use crate::config::table::{At, Field, Table};
use crate::config::value;

/// Its keys.
pub(in crate::config) const KEYS: &[Key] =
    &[full("url"), full("method"), full("connect"), full("status"), full("ca_file")];

/// `http = { ... }`: HTTP/1.1, redirects are answers like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `http://` or `https://`, host, optional port and path; the host is what `Host` and SNI carry.
    pub url: Url,
    /// `GET` (the default) or `HEAD`.
    pub method: HttpMethod,
    /// Address to connect to instead of the URL's host.
    pub connect: Option<SocketAddr>,
    /// Statuses that pass; default `[200]`.
    pub status: Vec<u16>,
    /// PEM file with the only authorities to trust; default: the system's.
    pub ca_file: Option<PathBuf>,
}

/// Request method of an HTTP check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// The body is read to its end, up to a cap.
    Get,
    /// Headers only.
    Head,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Http> {
    let table = check.table("http", KEYS, faults);
    let table = table.given()?;
    let url = table.required("url", "as in url = \"http://192.0.2.193/\"", faults, value::url);
    let method = table.field("method", faults, value::http_method);
    let connect = table.field("connect", faults, value::socket_address);
    let status = table.list("status", faults, value::http_status);
    let ca_file = table.field("ca_file", faults, value::absolute_path);
    if let Some(At { value: list, span }) = status.at() {
        no_duplicates("status", list, faults);
        if list.is_empty() {
            faults.error(span, "status is empty", "leave it out for [200]");
        }
    }
    if let (Some(url), Some(ca_file)) = (url.given(), ca_file.at())
        && !url.tls
    {
        faults.error(
            &ca_file.span,
            "ca_file is of no use with http://",
            "write https:// in url or leave it out",
        );
    }
    let status = match &status {
        Field::Is(list) => list.value.iter().map(|at| at.value).collect(),
        Field::Absent => vec![200],
        Field::Unknown => return None,
    };
    Some(Http {
        url: url.given()?.clone(),
        method: method.or(HttpMethod::Get)?,
        connect: connect.optional()?,
        status,
        ca_file: ca_file.optional()?,
    })
}

impl Kind for Http {
    fn show(&self) -> Entries {
        let method = match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        };
        let mut entries = vec![("url", quoted(&self.url.to_string())), ("method", quoted(method))];
        if let Some(connect) = self.connect {
            entries.push(("connect", quoted(&connect.to_string())));
        }
        entries.push(("status", list(&self.status, u16::to_string)));
        if let Some(file) = &self.ca_file {
            entries.push(("ca_file", quoted(&file.to_string_lossy())));
        }
        vec![("http", inline(&entries))]
    }

    fn target(&self) -> Option<IpAddr> {
        match self.connect {
            Some(connect) => Some(connect.ip()),
            None => self.url.host.parse().ok(),
        }
    }
}
