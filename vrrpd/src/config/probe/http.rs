//! `http = { ... }`.

use std::net::IpAddr;
use std::path::Path;

use toml::de::DeValue;

use super::Kind;
use super::endpoint::{Endpoint, endpoint_keys};
use crate::config::Sha256;
use crate::config::diagnostic::{Faults, Span};
use crate::config::keys::{Key, full};
use crate::config::raw::no_duplicates;
use crate::config::show::{Entries, inline, list, quoted};
use crate::config::table::{At, Field, Table};
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] =
    endpoint_keys!["method", "headers", "status", "body", "length", "min_length", "sha256", "max_body"];

/// The keys of `body`.
pub(in crate::config) const BODY_KEYS: &[Key] =
    &[full("contains"), full("regex"), full("json_pointer"), full("equals")];

/// `max_body` unless set.
pub const MAX_BODY: u64 = 1024 * 1024;

/// The longest body that is looked at as a whole, and so kept in memory.
const MAX_LOOKED_AT: u64 = 16 * 1024 * 1024;

/// Memory that a compiled pattern may take, in octets.
pub(crate) const PATTERN_SIZE: usize = 1024 * 1024;

/// `http = { ... }`: HTTP/1.1, redirects are answers like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Who is asked.
    pub endpoint: Endpoint,
    /// `GET` (the default) or `HEAD`.
    pub method: HttpMethod,
    /// Fields of the request, besides those that every request has.
    pub headers: Vec<(String, String)>,
    /// Statuses that pass; default `[200]`.
    pub status: Vec<u16>,
    /// What the body has to say.
    pub body: Option<BodyMatch>,
    /// Octets of the body, or of what a `HEAD` announces.
    pub length: Option<u64>,
    /// Fewest octets of the body, or of what a `HEAD` announces.
    pub min_length: Option<u64>,
    /// Digest of the whole body.
    pub sha256: Option<Sha256>,
    /// Octets of the body after which reading stops; default 1 MiB.
    pub max_body: u64,
}

/// Request method of an HTTP check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// The body is read to its end, up to a cap.
    Get,
    /// Headers only.
    Head,
}

/// `body`: what the body has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyMatch {
    /// This text is somewhere in it.
    Contains(String),
    /// This pattern matches somewhere in it.
    Regex(String),
    /// It is JSON and has this value at this place (RFC 6901).
    Json {
        /// The place: `/status`.
        pointer: String,
        /// The value.
        equals: Scalar,
    },
}

/// A single value of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
}

impl std::fmt::Display for Scalar {
    /// As TOML and JSON write it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
        }
    }
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Http> {
    let table = check.table("http", KEYS, faults);
    let table = table.given()?;
    let endpoint = Endpoint::read(table, "http://192.0.2.193/", value::url, faults);
    let method = table.field("method", faults, value::http_method);
    let headers = table.field("headers", faults, headers);
    let status = table.list("status", faults, value::http_status);
    let body = read_body(table, faults);
    let length = table.field("length", faults, value::octets);
    let min_length = table.field("min_length", faults, value::octets);
    let sha256 = table.field("sha256", faults, value::sha256);
    let max_body = table.field("max_body", faults, value::octets);
    if let Some(At { value: list, span }) = status.at() {
        no_duplicates("status", list, faults);
        if list.is_empty() {
            faults.error(span, "status is empty", "leave it out for [200]");
        }
    }
    if method.given() == Some(&HttpMethod::Head) {
        for key in ["body", "sha256", "max_body"] {
            if let Some(span) = table.key(key) {
                faults.error(
                    &span,
                    format!("{key} is of no use with HEAD"),
                    "a HEAD has no body: method = \"GET\"",
                );
            }
        }
    }
    check_lengths(&length, &min_length, &max_body, faults);
    if let (Some(max), Some(_)) = (max_body.at().filter(|max| max.value > MAX_LOOKED_AT), table.key("body")) {
        let message = format!("max_body {} with body is out of range 1..={MAX_LOOKED_AT}", max.value);
        faults.error(&max.span, message, "the body is kept in memory to look at it; sha256 needs no memory");
    }
    let status = match &status {
        Field::Is(list) => list.value.iter().map(|at| at.value).collect(),
        Field::Absent => vec![200],
        Field::Unknown => return None,
    };
    Some(Http {
        endpoint: endpoint?,
        method: method.or(HttpMethod::Get)?,
        headers: headers.or(Vec::new())?,
        status,
        body: body?,
        length: length.optional()?,
        min_length: min_length.optional()?,
        sha256: sha256.optional()?,
        max_body: max_body.or(MAX_BODY)?,
    })
}

/// A body that has to be longer than what is read of it could never pass.
fn check_lengths(length: &Field<u64>, min_length: &Field<u64>, max_body: &Field<u64>, faults: &mut Faults) {
    if let (Some(length), Some(min)) = (length.at(), min_length.at()) {
        let line = faults.line(&length.span);
        faults.error(
            &min.span,
            "min_length and length exclude each other",
            format!("length is at line {line}"),
        );
    }
    let Some(max) = max_body.or(MAX_BODY) else { return };
    for (key, least) in [("length", length), ("min_length", min_length)] {
        if let Some(least) = least.at().filter(|least| least.value > max) {
            faults.error(
                &least.span,
                format!("{key} {} is more than max_body, which is {max}", least.value),
                format!("max_body = {} or more", least.value),
            );
        }
    }
}

/// Outer `None`: it is wrong, and reported.
fn read_body(table: &Table<'_>, faults: &mut Faults) -> Option<Option<BodyMatch>> {
    let body = match table.table("body", BODY_KEYS, faults) {
        Field::Is(body) => body.value,
        Field::Absent => return Some(None),
        Field::Unknown => return None,
    };
    let contains = body.field("contains", faults, value::filled);
    let regex = body.field("regex", faults, pattern);
    let pointer = body.field("json_pointer", faults, json_pointer);
    let equals = body.field("equals", faults, scalar);
    let mut given: Vec<(&str, Span)> = ["contains", "regex", "json_pointer"]
        .into_iter()
        .filter_map(|key| Some((key, body.key(key)?)))
        .collect();
    given.sort_by_key(|(_, span)| span.start);
    if let [(first, _), (second, span), ..] = &given[..] {
        faults.error(span, format!("body has both {first} and {second}"), "exactly one");
        return None;
    }
    if given.is_empty() && !faults.incomplete() {
        faults.error(&body.span, "body asks for nothing", "contains, regex, or json_pointer with equals");
        return None;
    }
    match (body.key("json_pointer"), body.key("equals")) {
        (Some(pointer), None) if !faults.incomplete() => {
            faults.error(&pointer, "json_pointer has no equals", "the value there: equals = \"healthy\"");
            return None;
        }
        (None, Some(equals)) => {
            faults.error(&equals, "equals belongs to json_pointer", "leave it out");
            return None;
        }
        _ => {}
    }
    if let Some(text) = contains.given() {
        return Some(Some(BodyMatch::Contains(text.clone())));
    }
    if let Some(pattern) = regex.given() {
        return Some(Some(BodyMatch::Regex(pattern.clone())));
    }
    let (pointer, equals) = (pointer.given()?.clone(), equals.given()?.clone());
    Some(Some(BodyMatch::Json { pointer, equals }))
}

/// Compiles a pattern, which looks at octets: a body need not be UTF-8.
pub(crate) fn compile(pattern: &str) -> Result<regex::bytes::Regex, regex::Error> {
    regex::bytes::RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build()
}

fn pattern(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = value::filled(key, value)?;
    match compile(&text) {
        Ok(_) => Ok(text),
        Err(regex::Error::CompiledTooBig(limit)) => {
            refuse(format!("{key} is too large: compiled, it may have {limit} octets"), "a shorter pattern")
        }
        Err(error) => {
            // The last line says what is wrong; those before it point with carets.
            let shown = error.to_string();
            let reason = shown.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            refuse(format!("{key} {text:?} is not a pattern"), reason)
        }
    }
}

fn json_pointer(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = value::string(key, value)?;
    if text.is_empty() || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    refuse(format!("{key} {text:?} does not begin with /"), format!("write \"/{text}\" (RFC 6901)"))
}

fn scalar(key: &str, value: &DeValue<'_>) -> Read<Scalar> {
    match value {
        DeValue::String(text) => Ok(Scalar::Text(text.to_string())),
        DeValue::Boolean(value) => Ok(Scalar::Boolean(*value)),
        DeValue::Integer(_) => value::integer(key, value, i64::MIN..=i64::MAX).map(Scalar::Integer),
        other => {
            refuse(format!("{key} must be a string, an integer or a boolean, not {}", value::kind(other)), "")
        }
    }
}

/// Fields of a request. What the request has anyway is not theirs, and secrets have a file.
fn headers(key: &str, value: &DeValue<'_>) -> Read<Vec<(String, String)>> {
    const OURS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];
    const SECRET: [&str; 6] = ["authorization", "cookie", "token", "secret", "password", "api-key"];
    let DeValue::Table(entries) = value else {
        return refuse(format!("{key} must be a table, not {}", value::kind(value)), "{ Name = \"value\" }");
    };
    if entries.len() > 32 {
        return refuse(format!("{key} has {} entries, out of range 0..=32", entries.len()), "");
    }
    let mut fields = Vec::new();
    for (name, value) in entries.iter() {
        let name: &str = name.get_ref();
        let shown: String = name.chars().take(64).collect();
        let text = value::string(&shown, value.get_ref())?;
        let lower = name.to_ascii_lowercase();
        if SECRET.iter().any(|word| lower.contains(word)) {
            return refuse(
                format!("{key} has {shown}, which is a secret: `config show` would print it"),
                "a user and a password go into basic_auth_file",
            );
        }
        if OURS.contains(&lower.as_str()) {
            return refuse(format!("{key} has {shown}, which vrrpd sets itself"), "leave it out");
        }
        if hyper::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return refuse(format!("{key}: {shown:?} is not the name of a field"), "letters, digits and -");
        }
        if !text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return refuse(format!("{key}: the value of {shown} is not printable ASCII"), "");
        }
        fields.push((name.to_owned(), text.to_owned()));
    }
    Ok(fields)
}

impl Kind for Http {
    fn show(&self) -> Entries {
        let method = match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        };
        let mut entries = self.endpoint.show();
        entries.push(("method", quoted(method)));
        if !self.headers.is_empty() {
            let fields: Vec<String> = self
                .headers
                .iter()
                .map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)))
                .collect();
            entries.push(("headers", format!("{{ {} }}", fields.join(", "))));
        }
        entries.push(("status", list(&self.status, u16::to_string)));
        match &self.body {
            None => {}
            Some(BodyMatch::Contains(text)) => {
                entries.push(("body", inline(&vec![("contains", quoted(text))])));
            }
            Some(BodyMatch::Regex(pattern)) => {
                entries.push(("body", inline(&vec![("regex", quoted(pattern))])));
            }
            Some(BodyMatch::Json { pointer, equals }) => {
                let body = vec![("json_pointer", quoted(pointer)), ("equals", equals.to_string())];
                entries.push(("body", inline(&body)));
            }
        }
        for (key, octets) in [("length", self.length), ("min_length", self.min_length)] {
            entries.extend(octets.map(|octets| (key, octets.to_string())));
        }
        if let Some(digest) = self.sha256 {
            entries.push(("sha256", quoted(&digest.to_string())));
        }
        if self.method == HttpMethod::Get {
            entries.push(("max_body", self.max_body.to_string()));
        }
        vec![("http", inline(&entries))]
    }

    fn files(&self) -> Vec<(&'static str, &Path)> {
        self.endpoint.files()
    }

    fn target(&self) -> Option<IpAddr> {
        self.endpoint.target()
    }
}
