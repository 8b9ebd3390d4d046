//! `[dns_update.NAME]`: a name that follows a virtual router by DNS UPDATE (RFC 2136).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;
use vrrp_proto::Family;

use super::diagnostic::Faults;
use super::raw;
use super::show::{Entries, duration, list, quoted};
use super::table::{At, Field, Table};
use super::value::{self, Read, refuse};
use super::{keys, keys::nearest};

/// Port of DNS, where a server is named without one.
const PORT: u16 = 53;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// `ttl` unless set; the longest one that gets no warning; `refresh` and `timeout` unless set.
const TTL: Duration = Duration::from_secs(10);
const TTL_SHORT: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(5);

/// `[dns_update.NAME]`: while the virtual router is Active, the name has this one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsUpdate {
    /// The table's name.
    pub name: String,
    /// Name of the virtual router whose role it follows.
    pub virtual_router: String,
    /// Authoritative servers that take updates, at least one, tried in this order.
    pub servers: Vec<SocketAddr>,
    /// The zone, in lower case and without the final dot.
    pub zone: String,
    /// The name whose record is kept, within the zone, in the same form.
    pub record: String,
    /// This node's address; its family makes the record A or AAAA.
    pub value: IpAddr,
    /// Time to live of the record, in whole seconds, 1 s to 24 h; default 10 s.
    pub ttl: Duration,
    /// How often the record is looked at while Active, 1 s to 24 h; default 60 s.
    pub refresh: Duration,
    /// Time for everything that is done at one server, 100 ms to 60 s; default 5 s.
    pub timeout: Duration,
    /// The key that signs; without one the server has to trust the address.
    pub tsig: Option<Tsig>,
}

impl DnsUpdate {
    /// `A` or `AAAA`.
    pub const fn record_type(&self) -> &'static str {
        match self.value {
            IpAddr::V4(_) => "A",
            IpAddr::V6(_) => "AAAA",
        }
    }
}

/// `tsig = { ... }`: a key that this node shares with the servers (RFC 8945).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tsig {
    /// Name of the key, as the server has it; in lower case and without the final dot.
    pub name: String,
    /// How it signs; default `hmac-sha256`.
    pub algorithm: TsigAlgorithm,
    /// File with the secret, in base64 or as `tsig-keygen` writes it. The secret itself is nowhere
    /// in the configuration.
    pub secret_file: PathBuf,
}

/// Algorithm of a TSIG key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`.
    HmacSha256,
    /// `hmac-sha384`.
    HmacSha384,
    /// `hmac-sha512`.
    HmacSha512,
}

impl TsigAlgorithm {
    const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// The word in the file, which is also that of BIND.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

/// The table as it is written.
pub(super) struct Raw {
    name: At<String>,
    virtual_router: Field<String>,
    servers: Field<Vec<SocketAddr>>,
    zone: Field<String>,
    record: Field<String>,
    value: Field<IpAddr>,
    ttl: Field<Duration>,
    refresh: Field<Duration>,
    timeout: Field<Duration>,
    tsig: Field<Option<Tsig>>,
}

impl Raw {
    /// Is this, as far as can be read, about the virtual router of that name?
    pub(super) fn moves(&self, virtual_router: &str) -> bool {
        self.virtual_router.given().is_none_or(|name| name == virtual_router)
    }
}

pub(super) fn read(name: At<String>, table: &Table<'_>, faults: &mut Faults) -> Raw {
    Raw {
        name,
        virtual_router: table.required(
            "virtual_router",
            "the name of a [virtual_router.NAME]",
            faults,
            value::reference,
        ),
        servers: table.required("server", "as in server = \"192.0.2.192:53\"", faults, servers),
        zone: table.required("zone", "as in zone = \"example.net\"", faults, domain_name),
        record: table.required("name", "as in name = \"www.example.net\"", faults, domain_name),
        value: table.required("value", "this node's own address", faults, value::ip),
        ttl: table.field("ttl", faults, ttl),
        refresh: table
            .field("refresh", faults, |key, value| value::duration(key, value, Duration::from_secs(1)..=DAY)),
        timeout: table.field("timeout", faults, |key, value| {
            value::duration(key, value, Duration::from_millis(100)..=Duration::from_secs(60))
        }),
        tsig: tsig(table, faults),
    }
}

fn tsig(table: &Table<'_>, faults: &mut Faults) -> Field<Option<Tsig>> {
    let At { value: table, span } = match table.table("tsig", keys::TSIG, faults) {
        Field::Is(at) => at,
        Field::Absent => return Field::Absent,
        Field::Unknown => return Field::Unknown,
    };
    let name = table.required("name", "the key's name at the server", faults, domain_name);
    let algorithm = table.field("algorithm", faults, |key, value| {
        value::word(key, value, &TsigAlgorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm)))
    });
    let file = table.required("secret_file", "the file with the secret", faults, value::secret_path);
    let tsig = || {
        Some(Tsig {
            name: name.given()?.clone(),
            algorithm: algorithm.or(TsigAlgorithm::HmacSha256)?,
            secret_file: file.given()?.clone(),
        })
    };
    tsig().map_or(Field::Unknown, |tsig| Field::Is(At { value: Some(tsig), span }))
}

/// One server or several, each an address: the name that is to be moved cannot be what finds it.
fn servers(key: &str, value: &DeValue<'_>) -> Read<Vec<SocketAddr>> {
    let DeValue::Array(list) = value else { return Ok(vec![server(key, value)?]) };
    let mut servers = Vec::new();
    for each in list {
        let server = server(key, each.get_ref())?;
        if servers.contains(&server) {
            return refuse(format!("{key} has {server} twice"), "");
        }
        servers.push(server);
    }
    if servers.is_empty() {
        return refuse(format!("{key} is empty"), "one or more, as in \"192.0.2.192:53\"");
    }
    Ok(servers)
}

fn server(key: &str, value: &DeValue<'_>) -> Read<SocketAddr> {
    let text = value::string(key, value)?;
    let server = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT)).or_else(|_| text.parse());
    match server {
        Ok(server) if server.port() != 0 && !server.ip().is_unspecified() => Ok(server),
        _ => refuse(
            format!("{key} {text:?} is not the address of a server"),
            "as in \"192.0.2.192\" or \"[2001:db8::53]:53\"; a name would have to be looked up first",
        ),
    }
}

fn ttl(key: &str, value: &DeValue<'_>) -> Read<Duration> {
    let ttl = value::duration(key, value, Duration::from_secs(1)..=DAY)?;
    if ttl.subsec_nanos() != 0 {
        let shown = value::show_duration(ttl);
        return refuse(
            format!("{key} \"{shown}\" is not a whole number of seconds"),
            "DNS counts in seconds",
        );
    }
    Ok(ttl)
}

/// A domain name, with or without its final dot, in lower case and without it.
fn domain_name(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = value::string(key, value)?;
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(allowed);
    if name.len() > 253 || !name.split('.').all(is_label) {
        return refuse(
            format!("{key} {text:?} is not a domain name"),
            "labels of 1 to 63 of the letters a-z, 0-9, - and _, with dots in between",
        );
    }
    Ok(name)
}

/// Reports what contradicts itself or the rest of the file.
pub(super) fn check(updates: &[Raw], routers: &[raw::VirtualRouter], faults: &mut Faults) {
    for (index, update) in updates.iter().enumerate() {
        check_router(update, routers, faults);
        check_name(update, &updates[..index], faults);
        if let Some(ttl) = update.ttl.at().filter(|ttl| ttl.value > TTL_SHORT) {
            faults.warning(
                &ttl.span,
                format!("ttl of {} outlives a failover", value::show_duration(ttl.value)),
                "for so long clients may go on to the node that failed; 10s is usual",
            );
        }
        if matches!(update.tsig, Field::Absent) {
            faults.warning(
                &update.name.span,
                format!("dns_update {} signs nothing", update.name.value),
                "a server that trusts addresses trusts whoever can forge them: set tsig",
            );
        }
    }
}

fn check_router(update: &Raw, routers: &[raw::VirtualRouter], faults: &mut Faults) {
    let Some(At { value: name, span }) = update.virtual_router.at() else { return };
    if routers.iter().any(|router| router.name.value == *name) || faults.incomplete() {
        return;
    }
    let label = match nearest(name, routers.iter().map(|router| router.name.value.as_str())) {
        Some(name) => format!("did you mean {name:?}?"),
        None => String::from("there is no [virtual_router] of this name"),
    };
    faults.error(span, format!("virtual_router {name:?} does not exist"), label);
}

fn check_name(update: &Raw, others: &[Raw], faults: &mut Faults) {
    let Some(At { value: name, span }) = update.record.at() else { return };
    if let Some(zone) = update.zone.at() {
        let host = name.strip_suffix(zone.value.as_str());
        if !host.is_some_and(|host| host.is_empty() || host.ends_with('.')) {
            let line = faults.line(&zone.span);
            let message = format!("name {name} is not in the zone {}", zone.value);
            faults.error(span, message, format!("the zone is at line {line}"));
        }
    }
    let Some(value) = update.value.given() else { return };
    let same = |other: &&Raw| {
        let family = other.value.given().map(|ip| Family::of(*ip));
        other.record.given() == Some(name) && family == Some(Family::of(*value))
    };
    if let Some(first) = others.iter().find(same) {
        let line = faults.line(&first.name.span);
        faults.error(
            span,
            format!("two dns_updates would change {name} in turn"),
            format!("{} at line {line} is the other", first.name.value),
        );
    }
}

/// With its defaults; `None` when a value is wrong, and reported.
pub(super) fn config(raw: &Raw) -> Option<DnsUpdate> {
    Some(DnsUpdate {
        name: raw.name.value.clone(),
        virtual_router: raw.virtual_router.given()?.clone(),
        servers: raw.servers.given()?.clone(),
        zone: raw.zone.given()?.clone(),
        record: raw.record.given()?.clone(),
        value: *raw.value.given()?,
        ttl: raw.ttl.or(TTL)?,
        refresh: raw.refresh.or(REFRESH)?,
        timeout: raw.timeout.or(TIMEOUT)?,
        tsig: raw.tsig.or(None)?,
    })
}

/// As it is written in a file.
pub(super) fn entries(update: &DnsUpdate) -> Entries {
    let mut entries = vec![
        ("virtual_router", quoted(&update.virtual_router)),
        ("server", list(&update.servers, |server| quoted(&server.to_string()))),
        ("zone", quoted(&update.zone)),
        ("name", quoted(&update.record)),
        ("value", quoted(&update.value.to_string())),
        ("ttl", duration(update.ttl)),
        ("refresh", duration(update.refresh)),
        ("timeout", duration(update.timeout)),
    ];
    if let Some(tsig) = &update.tsig {
        let text = format!(
            "{{ name = {}, algorithm = {}, secret_file = {} }}",
            quoted(&tsig.name),
            quoted(tsig.algorithm.as_str()),
            quoted(&tsig.secret_file.to_string_lossy())
        );
        entries.push(("tsig", text));
    }
    entries
}
