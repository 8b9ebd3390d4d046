//! The messages: a question for the record, the UPDATE, and what the answers mean.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};

use super::Secret;
use super::fault::Fault;
use crate::config::{self, DnsUpdate};

/// Seconds that the clocks may differ, as RFC 8945 10 recommends.
const FUDGE: u16 = 300;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// A question for the record.
    Ask,
    /// The UPDATE.
    Change,
}

/// The record in the types of the library.
#[derive(Clone)]
pub(super) struct Target {
    zone: Name,
    name: Name,
    value: IpAddr,
    ttl: u32,
}

/// The record as a server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Its addresses, none if there is no such record.
    pub(super) addresses: Vec<IpAddr>,
    ttl: u32,
}

/// A message as it leaves, and what it takes to recognise its answer.
pub(super) struct Request {
    pub(super) octets: Vec<u8>,
    task: Task,
    id: u16,
    question: Query,
    /// When it was signed, and the signature, which that of the answer covers.
    signed: Option<(u64, Vec<u8>)>,
}

impl Target {
    /// `None` for names that the configuration would not have let through.
    pub(super) fn new(update: &DnsUpdate) -> Option<Self> {
        let absolute = |text: &str| Name::from_ascii(format!("{text}.")).ok();
        let ttl = u32::try_from(update.ttl.as_secs()).ok()?;
        Some(Self {
            zone: absolute(&update.zone)?,
            name: absolute(&update.record)?,
            value: update.value,
            ttl,
        })
    }

    fn kind(&self) -> RecordType {
        if self.value.is_ipv4() { RecordType::A } else { RecordType::AAAA }
    }

    /// Has the record this one address, with the TTL that it should have?
    pub(super) fn is(&self, found: &Found) -> bool {
        self.is_at(found) && found.ttl == self.ttl
    }

    /// Has the record this one address?
    pub(super) fn is_at(&self, found: &Found) -> bool {
        found.addresses == [self.value]
    }

    /// Asks for the record, and for nothing that somebody else knows of it.
    pub(super) fn ask(&self) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = false;
        message.add_query(Query::query(self.name.clone(), self.kind()));
        message
    }

    /// One message that takes away whatever addresses of the family there are and puts ours in their
    /// place, if they still are what was found (RFC 2136 2.4, 2.5).
    pub(super) fn change(&self, found: &Found) -> Message {
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message.metadata.recursion_desired = false;
        message.add_query(Query::query(self.zone.clone(), RecordType::SOA));

        let empty = |class: DNSClass| {
            let mut record = Record::update0(self.name.clone(), 0, self.kind());
            record.dns_class = class;
            record
        };
        let full = |ttl: u32, ip: IpAddr| Record::from_rdata(self.name.clone(), ttl, RData::from(ip));
        if found.addresses.is_empty() {
            message.add_answer(empty(DNSClass::NONE));
        }
        message.add_answers(found.addresses.iter().map(|ip| full(0, *ip)));
        message.add_authority(empty(DNSClass::ANY));
        message.add_authority(full(self.ttl, self.value));
        message
    }

    /// The record in an answer to [`ask`](Self::ask).
    pub(super) fn found(&self, answer: &Message) -> Result<Found, Fault> {
        match answer.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            code => return Err(Fault::Declined(Task::Ask, code)),
        }
        if !answer.metadata.authoritative {
            return Err(Fault::NotAuthoritative);
        }
        let mut found = Found::default();
        for record in answer.answers.iter().filter(|record| record.name == self.name) {
            let address = match &record.data {
                RData::CNAME(target) => return Err(Fault::Alias(target.0.to_string())),
                RData::A(a) => IpAddr::V4(a.0),
                RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
                _ => continue,
            };
            if address.is_ipv4() == self.value.is_ipv4() {
                found.ttl = record.ttl;
                found.addresses.push(address);
            }
        }
        // Servers turn their records round from answer to answer.
        found.addresses.sort_unstable();
        Ok(found)
    }
}

/// The key of one attempt.
pub(super) fn signer(tsig: &config::Tsig) -> Result<TSigner, Fault> {
    let secret = Secret::read(tsig).map_err(Fault::Secret)?;
    let algorithm = match tsig.algorithm {
        config::TsigAlgorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
        config::TsigAlgorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
        config::TsigAlgorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
    };
    let unusable = || Fault::Secret(format!("the key {} cannot be used", tsig.name));
    let name = Name::from_ascii(&tsig.name).map_err(|_| unusable())?;
    TSigner::new(secret.octets().to_vec(), algorithm, name, FUDGE).map_err(|_| unusable())
}

impl Request {
    /// Signs the message at `now`, in seconds since 1970.
    pub(super) fn new(
        mut message: Message,
        task: Task,
        key: Option<&TSigner>,
        now: u64,
    ) -> Result<Self, Fault> {
        let unreadable =
            |error: &dyn std::fmt::Display| Fault::Unreadable(format!("it was never asked: {error}"));
        if let Some(key) = key {
            message.finalize(key, now).map_err(|error| unreadable(&error))?;
        }
        let signed = message.signature.as_ref().map(|record| (now, record.data.mac.clone()));
        let octets = message.to_vec().map_err(|error| unreadable(&error))?;
        let question = message.queries.first().cloned().unwrap_or_default();
        Ok(Self { octets, task, id: message.metadata.id, question, signed })
    }

    /// Is this meant as an answer to this request? If so, here it is, whatever it says and whoever
    /// sent it.
    pub(super) fn answer(&self, octets: &[u8]) -> Option<Message> {
        let message = Message::from_vec(octets).ok()?;
        let op_code = if self.task == Task::Ask { OpCode::Query } else { OpCode::Update };
        // A server may leave the zone out of its answer to an UPDATE (RFC 2136 3.8), and the question
        // out of one that it could not read.
        let asked = message.queries.iter().all(|query| *query == self.question);
        let fits = message.metadata.id == self.id
            && message.metadata.message_type == MessageType::Response
            && message.metadata.op_code == op_code
            && asked;
        fits.then_some(message)
    }

    /// Did the server sign it, and when? What it says is to be believed only after this.
    pub(super) fn verify(
        &self,
        octets: &[u8],
        answer: &Message,
        key: Option<&TSigner>,
        now: u64,
    ) -> Result<(), Fault> {
        let (Some(key), Some((_, request_mac))) = (key, &self.signed) else { return Ok(()) };
        let Some(signature) = answer.signature.as_ref().map(|record| &record.data) else {
            // Who cannot sign can still say no.
            return match answer.metadata.response_code {
                ResponseCode::FormErr
                | ResponseCode::NotImp
                | ResponseCode::Refused
                | ResponseCode::ServFail
                | ResponseCode::NotAuth => Ok(()),
                _ => Err(Fault::Unsigned),
            };
        };
        match signature.error {
            // These two are not signed, for want of a common key (RFC 8945 5.2).
            Some(TsigError::BadKey) => return Err(Fault::BadKey),
            Some(TsigError::BadSig) => return Err(Fault::BadSignature),
            _ => {}
        }
        // The library subtracts the one from the other.
        if signature.time < u64::from(signature.fudge) {
            return Err(Fault::Unreadable("it was signed before 1970".to_owned()));
        }
        key.verify_message_byte(octets, Some(request_mac), true)
            .map_err(|error| Fault::Unreadable(format!("its signature is wrong ({error})")))?;
        match signature.error {
            Some(TsigError::BadTime) => {
                return Err(Fault::BadTime(ahead(server_time(&signature.other), now)));
            }
            Some(error) => return Err(Fault::Tsig(error.into())),
            None => {}
        }
        let ahead = ahead(Some(signature.time), now);
        if ahead.unsigned_abs() > u64::from(FUDGE) { Err(Fault::BadTime(ahead)) } else { Ok(()) }
    }
}

/// The server's clock in a BADTIME error: 48 bits (RFC 8945 5.2.3).
fn server_time(other: &[u8]) -> Option<u64> {
    let six: [u8; 6] = other.try_into().ok()?;
    Some(six.iter().fold(0, |time, octet| time << 8 | u64::from(*octet)))
}

fn ahead(theirs: Option<u64>, ours: u64) -> i64 {
    let difference = i128::from(theirs.unwrap_or(ours)) - i128::from(ours);
    i64::try_from(difference).unwrap_or(i64::MAX)
}

/// For the fuzzer: what a server may answer to a question and to an UPDATE, the number of either in
/// front.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(octets: &[u8]) {
    let name = |text| Name::from_ascii(text).expect("a name");
    let target = Target {
        zone: name("example.net."),
        name: name("www.example.net."),
        value: IpAddr::from([192, 0, 2, 193]),
        ttl: 10,
    };
    let key = TSigner::new(b"secret".to_vec(), TsigAlgorithm::HmacSha256, name("vrrpd-a."), FUDGE);
    let key = key.expect("sha256 is known");
    let id = octets.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    for (task, mut message) in [(Task::Ask, target.ask()), (Task::Change, target.change(&Found::default()))] {
        message.metadata.id = id;
        let request = Request::new(message, task, Some(&key), 1_795_000_000).expect("it can be written");
        let Some(answer) = request.answer(octets) else { continue };
        let _ = target.found(&answer).map(|found| target.change(&found).to_vec());
        if request.verify(octets, &answer, Some(&key), 1_795_000_000).is_ok() {
            assert!(answer.metadata.response_code != ResponseCode::NoError, "nobody has our key");
        }
    }
}
