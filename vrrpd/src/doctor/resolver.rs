//! What one name server says of a name. The C library would mix in the hosts file, and hide which
//! server said what.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use vrrp_proto::Family;

use crate::check;
use crate::config::{Dns, DnsProtocol, rcode_word};

/// How long a server may take in all.
const PATIENCE: Duration = Duration::from_millis(2400);

/// What a server says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The addresses, aliases followed; empty: it has none.
    pub(super) addresses: Vec<IpAddr>,
    /// The longest time in seconds that a resolver may keep them.
    pub(super) ttl: u32,
    /// The name does not exist at all (NXDOMAIN).
    pub(super) missing: bool,
}

/// The addresses of one family that `server` has for `name`.
///
/// # Errors
/// It does not answer, or refuses: in words that name it.
pub(super) fn addresses(server: SocketAddr, name: &str, family: Family) -> Result<Answer, String> {
    let kind = match family {
        Family::Ipv4 => RecordType::A,
        Family::Ipv6 => RecordType::AAAA,
    };
    let message = ask(server, name, kind)?;
    let mut answer = Answer {
        addresses: Vec::new(),
        ttl: 0,
        missing: message.metadata.response_code == ResponseCode::NXDomain,
    };
    for record in &message.answers {
        // The chain of aliases lasts as long as its shortest part, but each part is a trap of its own.
        answer.ttl = answer.ttl.max(record.ttl);
        match &record.data {
            RData::A(a) => answer.addresses.push(IpAddr::V4(a.0)),
            RData::AAAA(a) => answer.addresses.push(IpAddr::V6(a.0)),
            _ => {}
        }
    }
    answer.addresses.sort_unstable();
    Ok(answer)
}

/// How many seconds a resolver may remember that a name of this zone does not exist (RFC 2308 5);
/// `None` when the server does not say.
pub(super) fn negative_ttl(server: SocketAddr, name: &str) -> Result<Option<u32>, String> {
    let message = ask(server, name, RecordType::SOA)?;
    let soa = message.answers.iter().chain(&message.authorities).find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    Ok(soa)
}

fn ask(server: SocketAddr, name: &str, record_type: RecordType) -> Result<Message, String> {
    let question = Dns {
        server,
        name: name.to_owned(),
        record_type,
        expect: Vec::new(),
        max_ttl: None,
        rcode: ResponseCode::NoError,
        protocol: DnsProtocol::Udp,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot ask name servers: {error}"))?;
    let answer = runtime.block_on(check::dns::answer(&question, PATIENCE))?;
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        code => Err(format!("name server {} answers {} for {name}", server.ip(), rcode_word(code))),
    }
}

#[cfg(test)]
pub(super) mod server {
    //! A name server of a few lines that really answers.

    use std::net::{SocketAddr, UdpSocket};

    use hickory_proto::op::{Message, MessageType, ResponseCode};
    use hickory_proto::rr::rdata::{A, SOA};
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    /// Answers on 127.0.0.1 for www.example.com, `ttl` being that of the record and of what is
    /// missing, and ends with the test's process.
    pub(in crate::doctor) fn start(address: &'static str, ttl: u32) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let local = socket.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                let answer = answer(question, address, ttl).to_vec().expect("it can be written");
                socket.send_to(&answer, from).expect("the loopback carries it");
            }
        });
        local
    }

    fn answer(mut message: Message, address: &str, ttl: u32) -> Message {
        let query = message.queries[0].clone();
        let zone = Name::from_ascii("example.com.").expect("a name");
        message.metadata.message_type = MessageType::Response;
        if query.name().to_string() != "www.example.com." {
            message.metadata.response_code = ResponseCode::NXDomain;
        } else if query.query_type() == RecordType::A {
            let a = A(address.parse().expect("an address"));
            message.answers.push(Record::from_rdata(query.name().clone(), ttl, RData::A(a)));
        }
        if message.answers.is_empty() {
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86400, ttl);
            message.authorities.push(Record::from_rdata(zone, 86400, RData::SOA(soa)));
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_for_addresses_and_for_how_long_nothing_lasts() {
        let server = server::start("192.0.2.201", 300);
        let answer = addresses(server, "www.example.com", Family::Ipv4).expect("it answers");
        assert_eq!(answer.addresses, ["192.0.2.201".parse::<IpAddr>().expect("an address")]);
        assert_eq!((answer.ttl, answer.missing), (300, false));
        assert!(addresses(server, "ftp.example.com", Family::Ipv4).expect("it answers").missing);
        let none = addresses(server, "www.example.com", Family::Ipv6).expect("it answers");
        assert_eq!((none.addresses.len(), none.missing), (0, false));
        assert_eq!(negative_ttl(server, "www.example.com"), Ok(Some(300)), "the least of TTL and minimum");
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let gone = socket.local_addr().expect("it is bound");
        drop(socket);
        let error = addresses(gone, "www.example.com", Family::Ipv4).expect_err("nobody is there");
        assert_eq!(error, format!("nobody listens on {gone} over UDP"));
        let error = addresses(gone, "a..b", Family::Ipv4).expect_err("no name");
        assert!(error.starts_with("a..b cannot be asked for"), "{error}");
    }
}
