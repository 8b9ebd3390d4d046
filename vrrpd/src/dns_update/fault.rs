//! Why a record could not be changed, in words that say what to do.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::ResponseCode;

use super::message::Task;
use crate::config::DnsUpdate;

/// What went wrong at one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The key cannot be used, whatever the server thinks of it.
    Secret(String),
    /// Nothing, or not all, came within `timeout`.
    Timeout,
    /// The network says no.
    Network(String),
    /// The server does not have the zone: it answered from a cache, or sent us elsewhere.
    NotAuthoritative,
    /// The name is another one's alias.
    Alias(String),
    /// What came cannot be read, or its signature is wrong.
    Unreadable(String),
    /// The question was signed, the answer is not.
    Unsigned,
    /// TSIG error 17.
    BadKey,
    /// TSIG error 16.
    BadSignature,
    /// TSIG error 18, with how far the server's clock is ahead of ours, in seconds.
    BadTime(i64),
    /// Another TSIG error.
    Tsig(u16),
    /// The server declined.
    Declined(Task, ResponseCode),
    /// Each time somebody else had changed the record in between; what it has now.
    Raced(Vec<IpAddr>),
}

impl Fault {
    /// In a sentence that begins with the word that DNS has for it.
    pub(super) fn message(&self, server: SocketAddr, update: &DnsUpdate) -> String {
        let DnsUpdate { zone, record, .. } = update;
        let kind = update.record_type();
        let key = update.tsig.as_ref();
        let who = key.map_or("this node".to_owned(), |key| format!("key {}", key.name));
        match self {
            Self::Secret(why) => why.clone(),
            Self::Timeout => {
                format!("timeout: {server} was not done within {} ms", update.timeout.as_millis())
            }
            Self::Network(error) => format!("{server} cannot be reached: {error}"),
            Self::NotAuthoritative => format!("{server} is not authoritative for {record}"),
            Self::Alias(target) => {
                format!("{record} is an alias (CNAME) of {target} at {server}, and can have no address")
            }
            Self::Unreadable(why) => format!("the answer of {server} is worth nothing: {why}"),
            Self::Unsigned => format!("the answer of {server} is not signed, though the question was"),
            Self::BadKey => {
                let algorithm = key.map_or("", |key| key.algorithm.as_str());
                format!("BADKEY: {server} does not know {who} with {algorithm}")
            }
            Self::BadSignature => format!("BADSIG: {server} has another secret for {who}"),
            Self::BadTime(ahead) => {
                let way = if *ahead < 0 { "behind" } else { "ahead of" };
                format!("BADTIME: the clock of {server} is {} s {way} this node's", ahead.unsigned_abs())
            }
            Self::Tsig(code) => format!("NOTAUTH: {server} refuses the signature, TSIG error {code}"),
            Self::Declined(task, code) => declined(*task, *code, server, update, &who),
            Self::Raced(now) => {
                let now: Vec<String> = now.iter().map(IpAddr::to_string).collect();
                let now = if now.is_empty() { "none".to_owned() } else { now.join(", ") };
                format!(
                    "NXRRSET: somebody else keeps changing {record} {kind} at {server}, now {now} (zone {zone})"
                )
            }
        }
    }

    /// What to do or to type.
    pub(super) fn remedy(&self, update: &DnsUpdate) -> String {
        let DnsUpdate { zone, record, .. } = update;
        let kind = update.record_type();
        match self {
            Self::Secret(_) => "correct tsig.secret_file; it is read again at each attempt".to_owned(),
            Self::Timeout | Self::Network(_) => {
                "let port 53 (UDP and TCP) through to the server; is named running?".to_owned()
            }
            Self::NotAuthoritative | Self::Declined(_, ResponseCode::NotAuth) => {
                format!("name the primary server of {zone} in server; dig +norecurse SOA {zone} has AA there")
            }
            Self::Alias(_) => {
                format!("name the alias's target, or take the CNAME of {record} out of the zone")
            }
            Self::Unsigned | Self::Unreadable(_) => {
                "does a forwarder or a firewall change DNS on the way?".to_owned()
            }
            Self::BadKey | Self::Tsig(_) => {
                "compare tsig name and algorithm with the key statement of the server; then rndc reconfig"
                    .to_owned()
            }
            Self::BadSignature => "copy the server's secret to secret_file".to_owned(),
            Self::BadTime(_) => "chronyc tracking, on this node and on the server".to_owned(),
            Self::Declined(Task::Change, ResponseCode::Refused) => match &update.tsig {
                Some(key) => {
                    format!("in the zone: update-policy {{ grant {}. name {record}. {kind}; }};", key.name)
                }
                None => "in the zone: an update-policy, and here the key that it names in tsig".to_owned(),
            },
            Self::Declined(Task::Ask, ResponseCode::Refused) => {
                "allow-query of the server, or of the zone, must have this node".to_owned()
            }
            Self::Declined(_, ResponseCode::NotZone) => format!("correct zone: the one that {record} is in"),
            Self::Declined(_, _) => "the log of the server says why".to_owned(),
            Self::Raced(_) => format!("who else changes {record}? Only the Active node may"),
        }
    }
}

fn declined(task: Task, code: ResponseCode, server: SocketAddr, update: &DnsUpdate, who: &str) -> String {
    let DnsUpdate { zone, record, .. } = update;
    let kind = update.record_type();
    match (task, code) {
        (Task::Ask, ResponseCode::Refused) => {
            format!("REFUSED: {server} does not let this node ask for {record}")
        }
        (Task::Change, ResponseCode::Refused) => format!(
            "REFUSED: the zone {zone} has allow-update none, is frozen, or does not let {who} change \
             {record} {kind} at {server}"
        ),
        (_, ResponseCode::NotAuth) => format!("NOTAUTH: {server} does not have the zone {zone}"),
        (_, ResponseCode::NotZone) => format!("NOTZONE: {record} is not in the zone {zone} of {server}"),
        (_, ResponseCode::ServFail) => {
            format!(
                "SERVFAIL: {server} could not do it; its journal may not be writable, or the zone is not loaded"
            )
        }
        (Task::Change, ResponseCode::NotImp) => format!("NOTIMP: {server} takes no DNS UPDATE"),
        (_, ResponseCode::FormErr) => format!("FORMERR: {server} does not understand the message"),
        (_, other) => format!("{server} answered with error {}: {other}", u16::from(other)),
    }
}
