//! `dns = { ... }`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use toml::de::DeValue;

use super::{Kind, Usual};
use crate::config::Effect;
use crate::config::diagnostic::Faults;
use crate::config::keys::{Key, full};
use crate::config::raw::no_duplicates;
use crate::config::show::{Entries, duration, inline, list, quoted};
use crate::config::table::{At, Table};
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = &[
    full("server"),
    full("name"),
    full("type"),
    full("expect"),
    full("max_ttl"),
    full("rcode"),
    full("protocol"),
];

/// `dns = { server = "192.0.2.192", name = "www.example.com", expect = ["192.0.2.201"] }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The server that is asked; port 53 unless given.
    pub server: SocketAddr,
    /// The name, as it is asked for: complete, with or without the final dot.
    pub name: String,
    /// Type of the records; default A.
    pub record_type: RecordType,
    /// Data of exactly the records that the answer has, in lower case and without the final dot; empty:
    /// any.
    pub expect: Vec<String>,
    /// The longest time that the records may be kept by others, in whole seconds.
    pub max_ttl: Option<Duration>,
    /// Response code that passes; default NOERROR.
    pub rcode: ResponseCode,
    /// How it is asked first; default UDP.
    pub protocol: DnsProtocol,
}

/// Transport of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsProtocol {
    /// With a fall-back to TCP when the answer is truncated.
    Udp,
    /// From the beginning.
    Tcp,
}

impl fmt::Display for DnsProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// Types that can be asked for.
const TYPES: [(&str, RecordType); 9] = [
    ("A", RecordType::A),
    ("AAAA", RecordType::AAAA),
    ("CNAME", RecordType::CNAME),
    ("MX", RecordType::MX),
    ("NS", RecordType::NS),
    ("PTR", RecordType::PTR),
    ("SOA", RecordType::SOA),
    ("SRV", RecordType::SRV),
    ("TXT", RecordType::TXT),
];

/// Response codes by the words of the registry (RFC 6895 2.3).
const RCODES: [(&str, ResponseCode); 6] = [
    ("NOERROR", ResponseCode::NoError),
    ("FORMERR", ResponseCode::FormErr),
    ("SERVFAIL", ResponseCode::ServFail),
    ("NXDOMAIN", ResponseCode::NXDomain),
    ("NOTIMP", ResponseCode::NotImp),
    ("REFUSED", ResponseCode::Refused),
];

/// The word for a response code, or its number.
pub(crate) fn rcode_word(rcode: ResponseCode) -> String {
    let known = RCODES.iter().find(|(_, code)| *code == rcode);
    known.map_or_else(|| format!("RCODE {}", u16::from(rcode)), |(word, _)| (*word).to_owned())
}

/// The data of a record in the form in which it is compared: names in lower case, without the final
/// dot; addresses in the shortest form.
pub(crate) fn dns_data(record_type: RecordType, text: &str) -> String {
    match record_type {
        RecordType::TXT => text.to_owned(),
        RecordType::AAAA => text.parse().map_or_else(|_| text.to_owned(), |ip: Ipv6Addr| ip.to_string()),
        _ => {
            let text = text.trim().to_ascii_lowercase();
            text.strip_suffix('.').map_or(text.clone(), str::to_owned)
        }
    }
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Dns> {
    let table = check.table("dns", KEYS, faults);
    let table = table.given()?;
    let server = table.required("server", "as in server = \"192.0.2.192\"", faults, value::server);
    let name = table.required("name", "as in name = \"www.example.com\"", faults, domain_name);
    let record_type = table.field("type", faults, |key, value| value::word(key, value, &TYPES));
    let max_ttl = table.field("max_ttl", faults, ttl);
    let rcode = table.field("rcode", faults, |key, value| value::word(key, value, &RCODES));
    let protocols = [("udp", DnsProtocol::Udp), ("tcp", DnsProtocol::Tcp)];
    let protocol = table.field("protocol", faults, |key, value| value::word(key, value, &protocols));

    let kind = record_type.or(RecordType::A);
    let expect = table.list("expect", faults, |key, value| data(kind, key, value));
    if let Some(At { value: list, span }) = expect.at() {
        no_duplicates("expect", list, faults);
        if list.is_empty() {
            faults.error(span, "expect is empty", "leave it out when any answer will do");
        }
    }
    if let Some(At { value: code, span }) = rcode.at().filter(|rcode| rcode.value != ResponseCode::NoError) {
        for (key, other) in
            [("expect", expect.at().map(|at| &at.span)), ("max_ttl", max_ttl.at().map(|at| &at.span))]
        {
            let Some(other) = other else { continue };
            let line = faults.line(span);
            let word = rcode_word(*code);
            faults.error(
                other,
                format!("{key} is of no use with rcode = {word:?}"),
                format!("such an answer has no records; rcode is at line {line}"),
            );
        }
    }
    Some(Dns {
        server: *server.given()?,
        name: name.given()?.clone(),
        record_type: kind?,
        expect: expect.or(Vec::new())?.into_iter().map(|at| at.value).collect(),
        max_ttl: max_ttl.optional()?,
        rcode: rcode.or(ResponseCode::NoError)?,
        protocol: protocol.or(DnsProtocol::Udp)?,
    })
}

fn domain_name(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = value::string(key, value)?;
    let printable = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    match Name::from_ascii(text) {
        Ok(_) if printable => Ok(text.to_owned()),
        _ => refuse(
            format!("{key} {text:?} cannot be asked for"),
            "labels of 1 to 63 letters of ASCII, 253 in all; other letters as xn--...",
        ),
    }
}

fn ttl(key: &str, value: &DeValue<'_>) -> Read<Duration> {
    let most = Duration::from_secs(7 * 24 * 3600);
    let ttl = value::duration(key, value, Duration::ZERO..=most)?;
    if ttl.subsec_nanos() != 0 {
        return refuse(format!("{key} is not a whole number of seconds"), "a TTL counts seconds");
    }
    Ok(ttl)
}

/// What a record of that type can have.
fn data(record_type: Option<RecordType>, key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = value::string(key, value)?;
    let ip = text.parse::<IpAddr>().ok();
    let Some(record_type) = record_type else { return Ok(text.to_owned()) };
    let right = match record_type {
        RecordType::A => ip.is_some_and(|ip| ip.is_ipv4()),
        RecordType::AAAA => ip.is_some_and(|ip| ip.is_ipv6()),
        _ => !text.is_empty(),
    };
    if !right {
        let label = match ip {
            Some(IpAddr::V4(_)) => "that is in records of type A",
            Some(IpAddr::V6(_)) => "that is in records of type AAAA",
            None => "the data as dig +short shows it",
        };
        return refuse(format!("{key}: {text:?} is in no record of type {record_type}"), label);
    }
    Ok(dns_data(record_type, text))
}

impl Kind for Dns {
    fn show(&self) -> Entries {
        let mut entries = vec![
            ("server", quoted(&self.server.to_string())),
            ("name", quoted(&self.name)),
            ("type", quoted(&self.record_type.to_string())),
        ];
        if !self.expect.is_empty() {
            entries.push(("expect", list(&self.expect, |data| quoted(data))));
        }
        if let Some(ttl) = self.max_ttl {
            entries.push(("max_ttl", duration(ttl)));
        }
        entries.push(("rcode", quoted(&rcode_word(self.rcode))));
        entries.push(("protocol", quoted(&self.protocol.to_string().to_lowercase())));
        vec![("dns", inline(&entries))]
    }

    /// A name that leads astray is not cured by moving the address.
    fn usual(&self) -> Usual {
        Usual { effect: Effect::Alert, ..Usual::default() }
    }
}
