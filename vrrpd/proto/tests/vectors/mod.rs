//! Reads the golden vectors, and what a test needs to judge by them.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;
use vrrp_proto::packet::{
    Advert, AuthPolicy, ChecksumForm, ChecksumPolicy, Datagram, ParseError, Password, Rules, encode,
};
use vrrp_proto::{Family, Version};

/// The packet vectors.
pub(crate) fn packets_of(file: &str) -> Vec<Vector> {
    let vectors = vectors(file).into_iter();
    vectors
        .map(|json| Vector {
            id: json["id"].as_str().expect("an id is a string").to_owned(),
            family: if json["receiver"]["family"] == "ipv6" { Family::Ipv6 } else { Family::Ipv4 },
            packet: octets(&json["packet_hex"]),
            json,
        })
        .collect()
}

/// All vectors of `FILE.json`.
pub(crate) fn vectors(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{file}.json"));
    let text = std::fs::read_to_string(&path).expect("the vectors are in the repository");
    let mut json: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    assert_eq!(json["schema"], "vrrpd-vectors/1");
    match json["vectors"].take() {
        Value::Array(vectors) => vectors,
        other => panic!("{file}: vectors are {other}"),
    }
}

/// A packet, and how it is to be judged.
pub(crate) struct Vector {
    pub(crate) id: String,
    pub(crate) family: Family,
    pub(crate) packet: Vec<u8>,
    pub(crate) json: Value,
}

impl Vector {
    pub(crate) fn datagram(&self) -> Result<Datagram<'_>, ParseError> {
        parse_ip(self.family, &self.packet)
    }

    pub(crate) fn verdict(&self, rules: &Rules) -> Result<(ChecksumForm, bool), ParseError> {
        let datagram = self.datagram()?;
        Advert::parse(&datagram, rules).map(|advert| (advert.form, advert.link_local_first))
    }

    /// The vector's receiver, to the letter of the RFC in all that it does not say.
    pub(crate) fn strict_rules(&self) -> Rules {
        let checksum = match self.json["receiver"]["v4_checksum"].as_str() {
            Some("rfc9568") => ChecksumPolicy::Only(ChecksumForm::MessageOnly),
            Some("pseudo") => ChecksumPolicy::Only(ChecksumForm::PseudoHeader),
            Some("either") | None => ChecksumPolicy::Either,
            Some(other) => panic!("{}: unknown v4_checksum {other}", self.id),
        };
        let authentication = self.password().map_or(AuthPolicy::None, AuthPolicy::Password);
        Rules { version: self.version(), checksum, authentication, ..Rules::STRICT }
    }

    /// The vector's receiver, as lax as the daemon is unless it is told otherwise.
    pub(crate) fn lax_rules(&self) -> Rules {
        Rules { checksum: ChecksumPolicy::Either, strict: false, ..self.strict_rules() }
    }

    /// The version that the vector's receiver speaks.
    pub(crate) fn version(&self) -> Version {
        let number = self.json["receiver"]["version"].as_u64().expect("a number");
        Version::from_number(number as u8).expect("2 or 3")
    }

    /// The password of the vector's receiver.
    pub(crate) fn password(&self) -> Option<Password> {
        let password = self.json["receiver"]["auth"]["password"].as_str()?;
        Some(Password::new(password.as_bytes()).expect("8 octets at most"))
    }

    /// The form that the sender of a valid vector used.
    pub(crate) fn sent_form(&self) -> ChecksumForm {
        match (self.strict_rules().checksum, self.version()) {
            (_, Version::V2) => ChecksumForm::MessageOnly,
            (ChecksumPolicy::Only(form), _) => form,
            (ChecksumPolicy::Either, _) => ChecksumForm::PseudoHeader,
        }
    }
}

/// The octets that a string of hex digits stands for.
pub(crate) fn octets(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hex is a string");
    assert_eq!(hex.len() % 2, 0);
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex digits")).collect()
}

/// Reads the IP header of either family.
pub(crate) fn parse_ip(family: Family, octets: &[u8]) -> Result<Datagram<'_>, ParseError> {
    match family {
        Family::Ipv4 => Datagram::parse_ipv4(octets),
        Family::Ipv6 => Datagram::parse_ipv6(octets),
    }
}

/// The message as we would send it: reserved bits and unused authentication data zero, checksum by a
/// second implementation of RFC 1071 that shares nothing with the one under test.
pub(crate) fn canonical(datagram: &Datagram<'_>, form: ChecksumForm) -> Vec<u8> {
    let mut message = datagram.payload.to_vec();
    if message[0] >> 4 == 3 {
        message[4] &= 0x0f;
    } else if message[4] == 0
        && let Some(unused) = message.len().checked_sub(8)
    {
        message[unused..].fill(0);
    }
    message[6..8].fill(0);
    let mut summed = message.clone();
    if form == ChecksumForm::PseudoHeader {
        for address in [datagram.source, datagram.destination] {
            match address {
                IpAddr::V4(address) => summed.extend(address.octets()),
                IpAddr::V6(address) => summed.extend(address.octets()),
            }
        }
        summed.extend([0, 112]);
        summed.extend(u16::try_from(message.len()).expect("a message fits a datagram").to_be_bytes());
    }
    let sum: u64 =
        summed.chunks(2).map(|w| u64::from(w[0]) * 256 + w.get(1).map_or(0, |b| u64::from(*b))).sum();
    let folded = if sum == 0 { 0 } else { (sum - 1) % 0xffff + 1 };
    message[6..8].copy_from_slice(&(!u16::try_from(folded).expect("folded to 16 bits")).to_be_bytes());
    message
}

/// What we send when we say the same as a received advertisement, its password apart.
pub(crate) fn encode_again(datagram: &Datagram<'_>, advert: &Advert<'_>) -> Vec<u8> {
    let mut out = vec![0xee; datagram.payload.len() + 1];
    let addresses: Vec<_> = advert.addresses.iter().collect();
    let (source, destination) = (datagram.source, datagram.destination);
    let Advert { vrid, priority, interval, form, .. } = *advert;
    let length = encode(&mut out, vrid, priority, interval, &addresses, source, destination, form)
        .expect("what was parsed can be encoded");
    out.truncate(length);
    out
}
