//! The `dns` probe: one question to one server, asked by ourselves.
//!
//! The C library is not asked: it reads the hosts file, keeps to `resolv.conf`, and hides which server
//! said what. Over UDP the question has a random number and comes from a random port; an answer counts
//! only when it repeats number and question. What is truncated is asked again over TCP (RFC 7766 5).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::connect::connect;
use super::say::{list, milliseconds};
use super::{Prober, Run};
use crate::config::{Dns, DnsProtocol, dns_data, rcode_word};
use crate::launcher::printable;

/// How often a question goes out over UDP in the time of one run.
const ATTEMPTS: u32 = 3;
/// Aliases that are followed from the name that was asked for.
const MOST_ALIASES: usize = 16;
/// Octets of an answer's data that are shown.
const SHOWN: usize = 200;

/// The probe of one check.
#[derive(Debug)]
pub(super) struct DnsProbe(Dns);

impl DnsProbe {
    pub(super) fn new(dns: &Dns) -> Self {
        Self(dns.clone())
    }

    async fn ask(&self, deadline: Duration) -> Result<String, String> {
        let started = Instant::now();
        let question = Question::new(&self.0)?;
        let (answer, protocol) = self.answer(&question, deadline).await?;
        let said = judge(&self.0, &question, &answer)?;
        Ok(format!("{said}, in {} over {protocol}", milliseconds(started.elapsed())))
    }

    /// The answer, whatever it says, and the protocol over which it came.
    async fn answer(
        &self,
        question: &Question,
        deadline: Duration,
    ) -> Result<(Message, DnsProtocol), String> {
        let mut stage = Stage { protocol: self.0.protocol, strays: 0 };
        let answer = timeout(deadline, self.exchange(question, deadline, &mut stage)).await;
        let answer = answer.map_err(|_| self.late(&stage, deadline))??;
        Ok((answer, stage.protocol))
    }

    async fn exchange(
        &self,
        question: &Question,
        deadline: Duration,
        stage: &mut Stage,
    ) -> Result<Message, String> {
        let server = self.0.server;
        if self.0.protocol == DnsProtocol::Udp {
            let answer = over_udp(server, question, deadline, &mut stage.strays).await?;
            if !answer.metadata.truncation {
                return Ok(answer);
            }
            stage.protocol = DnsProtocol::Tcp;
        }
        over_tcp(server, question).await
    }

    fn late(&self, stage: &Stage, deadline: Duration) -> String {
        let (server, protocol, ms) = (self.0.server, stage.protocol, deadline.as_millis());
        let strays = match stage.strays {
            0 => String::new(),
            count => format!("; {count} datagrams came that answer another question, or none"),
        };
        let truncated = match (self.0.protocol, protocol) {
            (DnsProtocol::Udp, DnsProtocol::Tcp) => {
                ", where it was asked because the answer over UDP was truncated"
            }
            _ => "",
        };
        format!("deadline of {ms} ms passed: no answer of {server} over {protocol}{truncated}{strays}")
    }
}

impl Prober for DnsProbe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(self.ask(deadline))
    }
}

/// What a server answers, whatever it says: for those who judge it themselves.
///
/// # Errors
/// No answer: in words that name the server.
pub(crate) async fn answer(dns: &Dns, deadline: Duration) -> Result<Message, String> {
    let question = Question::new(dns)?;
    Ok(DnsProbe::new(dns).answer(&question, deadline).await?.0)
}

/// How far a run has come, for when its time is over.
struct Stage {
    protocol: DnsProtocol,
    strays: u32,
}

/// What is asked, ready to be sent.
struct Question {
    id: u16,
    query: Query,
    octets: Vec<u8>,
}

impl Question {
    fn new(dns: &Dns) -> Result<Self, String> {
        let name = Name::from_ascii(&dns.name).map(|mut name| {
            name.set_fqdn(true);
            name
        });
        let name = name.map_err(|error| format!("{} cannot be asked for: {error}", dns.name))?;
        let query = Query::query(name, dns.record_type);
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        let octets =
            message.to_vec().map_err(|error| format!("{} cannot be asked for: {error}", dns.name))?;
        Ok(Self { id: message.metadata.id, query, octets })
    }

    /// The message in `octets` when it answers this question.
    fn answer(&self, octets: &[u8]) -> Option<Message> {
        let message = Message::from_vec(octets).ok()?;
        let same = message.metadata.id == self.id
            && message.metadata.message_type == MessageType::Response
            && message.queries == [self.query.clone()];
        same.then_some(message)
    }
}

async fn over_udp(
    server: SocketAddr,
    question: &Question,
    deadline: Duration,
    strays: &mut u32,
) -> Result<Message, String> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("nobody listens on {server} over UDP"),
        _ => format!("cannot ask {server} over UDP: {error}"),
    };
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await.map_err(failed)?;
    // The kernel passes what this server says, and nothing else.
    socket.connect(server).await.map_err(failed)?;
    let mut sent = interval((deadline / ATTEMPTS).max(Duration::from_millis(1)));
    sent.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut octets = [0; 4096];
    loop {
        tokio::select! {
            _ = sent.tick() => drop(socket.send(&question.octets).await.map_err(failed)?),
            received = socket.recv(&mut octets) => {
                let length = received.map_err(failed)?;
                match question.answer(octets.get(..length).unwrap_or_default()) {
                    Some(message) => return Ok(message),
                    None => *strays = strays.saturating_add(1),
                }
            }
        }
    }
}

/// Two octets of length and then the message, both ways (RFC 1035 4.2.2).
async fn over_tcp(server: SocketAddr, question: &Question) -> Result<Message, String> {
    let mut stream = connect(&[server], None).await?;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => format!("{server} closed the connection without an answer"),
        _ => format!("cannot ask {server} over TCP: {error}"),
    };
    let length = u16::try_from(question.octets.len()).unwrap_or(u16::MAX);
    let framed = [&length.to_be_bytes()[..], &question.octets].concat();
    stream.write_all(&framed).await.map_err(failed)?;
    let mut octets = vec![0; usize::from(stream.read_u16().await.map_err(failed)?)];
    stream.read_exact(&mut octets).await.map_err(failed)?;
    question.answer(&octets).ok_or_else(|| format!("{server} answers another question over TCP"))
}

fn judge(dns: &Dns, question: &Question, answer: &Message) -> Result<String, String> {
    let server = dns.server;
    let (name, kind) = (&dns.name, dns.record_type);
    let rcode = rcode_word(answer.metadata.response_code);
    if answer.metadata.response_code != dns.rcode {
        return Err(format!(
            "{server} answers {rcode} instead of {} for {name} {kind}",
            rcode_word(dns.rcode)
        ));
    }
    if dns.rcode != ResponseCode::NoError {
        return Ok(format!("{rcode} for {name} {kind}"));
    }
    let found = Found::in_answer(question, answer);
    if found.data.is_empty() {
        return Err(format!("{server} has no {kind} for {name} ({rcode})"));
    }
    let ttl = found.ttl;
    let said = printable(format!("{name} {kind} is {}", list(&found.data)).as_bytes(), SHOWN);
    let said = format!("{rcode}, {said}, TTL {ttl} s");
    let mut expected = dns.expect.clone();
    expected.sort_unstable();
    if !expected.is_empty() && expected != found.data {
        return Err(format!("{said}; expected {}", list(&expected)));
    }
    match dns.max_ttl {
        Some(most) if u64::from(ttl) > most.as_secs() => {
            Err(format!("{said}; max_ttl is {} s", most.as_secs()))
        }
        _ => Ok(said),
    }
}

/// What an answer says of the name that was asked for.
struct Found {
    /// In the form in which it is compared, sorted, each once.
    data: Vec<String>,
    /// The longest of the records and of the aliases on the way to them.
    ttl: u32,
}

impl Found {
    fn in_answer(question: &Question, answer: &Message) -> Self {
        let mut found = Self { data: Vec::new(), ttl: 0 };
        let wanted = question.query.query_type();
        let mut name = question.query.name().clone();
        for _ in 0..=MOST_ALIASES {
            let here = |record: &&Record| record.name == name && record.dns_class == DNSClass::IN;
            for record in answer.answers.iter().filter(here).filter(|record| record.record_type() == wanted) {
                found.data.push(dns_data(wanted, &record.data.to_string()));
                found.ttl = found.ttl.max(record.ttl);
            }
            let alias = answer.answers.iter().filter(here).find_map(|record| match &record.data {
                RData::CNAME(alias) => Some((alias.0.clone(), record.ttl)),
                _ => None,
            });
            match alias.filter(|_| found.data.is_empty()) {
                Some((to, ttl)) => {
                    found.ttl = found.ttl.max(ttl);
                    name = to;
                }
                None => break,
            }
        }
        found.data.sort_unstable();
        found.data.dedup();
        found
    }
}

/// For the fuzzer: what a server may answer, the number of the question in front.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(octets: &[u8]) {
    let dns = Dns {
        server: SocketAddr::from(([192, 0, 2, 1], 53)),
        protocol: DnsProtocol::Udp,
        name: "www.example.net".to_owned(),
        record_type: hickory_proto::rr::RecordType::A,
        expect: Vec::new(),
        rcode: ResponseCode::NoError,
        max_ttl: Some(Duration::from_secs(60)),
    };
    let mut question = Question::new(&dns).expect("a name that can be asked for");
    question.id = octets.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    if let Some(answer) = question.answer(octets) {
        let _ = judge(&dns, &question, &answer);
    }
}
