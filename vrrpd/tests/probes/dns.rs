//! `dns` against a name server that says what the case wants.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use vrrpd::config::{Dns, DnsProtocol, Probe};

use super::place::Directory;
use super::{Fixture, localhost, said, said_within};

const NAME: &str = "www.example.com";
/// Until this, what is never answered is waited for.
const SHORT: Duration = Duration::from_millis(200);

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(owner), ttl, data)
}

fn a(last: u8) -> RData {
    RData::A(A::new(192, 0, 2, last))
}

fn dns(server: SocketAddr) -> Dns {
    Dns {
        server,
        name: NAME.to_owned(),
        record_type: RecordType::A,
        expect: Vec::new(),
        max_ttl: None,
        rcode: ResponseCode::NoError,
        protocol: DnsProtocol::Udp,
    }
}

/// An answer with these records.
fn answer(question: &Message, records: &[Record]) -> Message {
    let mut answer = question.clone().into_response();
    answer.add_answers(records.iter().cloned());
    answer
}

/// A server that sends to each question what `says` makes of it.
async fn serve(mut says: impl FnMut(&Message, SocketAddr) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind(localhost(0)).await.expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut octets = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut octets).await {
            let question = Message::from_vec(&octets[..length]).expect("vrrpd speaks DNS");
            for said in says(&question, client) {
                socket.send_to(&said, client).await.expect("the client listens");
            }
        }
    });
    address
}

fn octets(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a message of this test")
}

/// A server that answers every question with these records.
async fn has(records: Vec<Record>) -> SocketAddr {
    serve(move |question, _| vec![octets(&answer(question, &records))]).await
}

async fn refuses(rcode: ResponseCode) -> SocketAddr {
    serve(move |question, _| {
        let mut answer = question.clone().into_response();
        answer.metadata.response_code = rcode;
        vec![octets(&answer)]
    })
    .await
}

pub(crate) async fn an_answer_passes_with_data_and_ttl(fixture: Fixture) {
    let server = has(vec![record(NAME, 60, a(201)), record(NAME, 60, a(7))]).await;
    let message = said(&fixture, Probe::Dns(dns(server))).await.expect("any answer will do");
    let told = "NOERROR, www.example.com A is 192.0.2.201, 192.0.2.7, TTL 60 s, in ";
    assert!(message.starts_with(told) && message.ends_with(" ms over UDP"), "{message}");
    let expect = vec!["192.0.2.7".to_owned(), "192.0.2.201".to_owned()];
    let max_ttl = Some(Duration::from_secs(60));
    assert!(said(&fixture, Probe::Dns(Dns { expect, max_ttl, ..dns(server) })).await.is_ok());
}

/// Servers repeat the question as they have it in the zone, and add what belongs to EDNS.
pub(crate) async fn letters_of_another_case_and_an_option_record_make_no_difference(fixture: Fixture) {
    let upper = |name: &str| Name::from_ascii(name.to_uppercase()).expect("a name");
    let server = serve(move |question, _| {
        let mut reply = answer(question, &[alias(&NAME.to_uppercase(), 9, "Registry.Example.com")]);
        reply.queries[0].set_name(upper(NAME));
        reply.add_answer(record("REGISTRY.example.COM", 5, a(201)));
        reply.set_edns(hickory_proto::op::Edns::new());
        vec![octets(&reply)]
    })
    .await;
    let expect = vec!["192.0.2.201".to_owned()];
    let message = said(&fixture, Probe::Dns(Dns { expect, ..dns(server) })).await.expect("the same name");
    assert!(message.starts_with("NOERROR, www.example.com A is 192.0.2.201, TTL 9 s, in "), "{message}");
}

pub(crate) async fn another_answer_fails_and_both_are_told(fixture: Fixture) {
    for records in [vec![a(193)], vec![a(193), a(201)]] {
        let server = has(records.into_iter().map(|data| record(NAME, 86_400, data)).collect()).await;
        let expect = vec!["192.0.2.201".to_owned()];
        let message =
            said(&fixture, Probe::Dns(Dns { expect, ..dns(server) })).await.expect_err("one too many");
        assert!(message.starts_with("NOERROR, www.example.com A is 192.0.2.193"), "{message}");
        assert!(message.ends_with(", TTL 86400 s; expected 192.0.2.201"), "{message}");
    }
}

pub(crate) async fn a_ttl_that_is_too_long_fails(fixture: Fixture) {
    let server = has(vec![record(NAME, 86_400, a(201))]).await;
    let max_ttl = Some(Duration::from_secs(60));
    let message = said(&fixture, Probe::Dns(Dns { max_ttl, ..dns(server) })).await.expect_err("a day");
    assert_eq!(message, "NOERROR, www.example.com A is 192.0.2.201, TTL 86400 s; max_ttl is 60 s");
}

pub(crate) async fn a_response_code_is_told_by_its_name(fixture: Fixture) {
    for (rcode, word) in [
        (ResponseCode::NXDomain, "NXDOMAIN"),
        (ResponseCode::Refused, "REFUSED"),
        (ResponseCode::ServFail, "SERVFAIL"),
        (ResponseCode::NotAuth, "RCODE 9"),
    ] {
        let server = refuses(rcode).await;
        let message = said(&fixture, Probe::Dns(dns(server))).await.expect_err("no answer");
        assert_eq!(message, format!("{server} answers {word} instead of NOERROR for www.example.com A"));
        let wanted = said(&fixture, Probe::Dns(Dns { rcode, ..dns(server) })).await.expect("it is wanted");
        assert!(wanted.starts_with(&format!("{word} for www.example.com A, in ")), "{wanted}");
    }
}

pub(crate) async fn a_name_without_a_record_of_the_type_fails(fixture: Fixture) {
    let server = has(vec![
        record(NAME, 60, RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
        record("other.example.com", 60, a(201)),
    ])
    .await;
    let message = said(&fixture, Probe::Dns(dns(server))).await.expect_err("it has no such record");
    assert_eq!(message, format!("{server} has no A for www.example.com (NOERROR)"));
}

fn alias(from: &str, ttl: u32, to: &str) -> Record {
    record(from, ttl, RData::CNAME(CNAME(name(to))))
}

pub(crate) async fn an_alias_is_followed_to_its_end(fixture: Fixture) {
    let server = has(vec![
        record("b.example.com", 30, a(201)),
        alias(NAME, 3600, "a.example.com"),
        alias("a.example.com", 5, "B.example.com"),
    ])
    .await;
    let message = said(&fixture, Probe::Dns(dns(server))).await.expect("the end is there");
    assert!(message.contains(" A is 192.0.2.201, TTL 3600 s"), "the longest counts: {message}");
    let aliases =
        Dns { record_type: RecordType::CNAME, expect: vec!["a.example.com".to_owned()], ..dns(server) };
    assert!(said(&fixture, Probe::Dns(aliases)).await.is_ok(), "when it is the alias that is asked for");
}

pub(crate) async fn aliases_in_a_circle_end(fixture: Fixture) {
    let server = has(vec![alias(NAME, 60, "a.example.com"), alias("a.example.com", 60, NAME)]).await;
    let message = said(&fixture, Probe::Dns(dns(server))).await.expect_err("there is no end");
    assert!(message.contains("has no A for www.example.com"), "{message}");
}

/// What nobody asked for: another number, another name, another type, a question, and noise.
fn strays(question: &Message) -> Vec<Vec<u8>> {
    let right = answer(question, &[record(NAME, 60, a(66))]);
    let mut wrong = [right.clone(), right.clone(), right.clone(), right.clone()];
    wrong[0].metadata.id = right.metadata.id.wrapping_add(1);
    wrong[1].queries[0].set_name(name("www.example.net"));
    wrong[2].queries[0].set_query_type(RecordType::AAAA);
    wrong[3].queries.clear();
    let noise = vec![Vec::new(), vec![0xff; 3], octets(question), octets(&right)[..20].to_vec()];
    wrong.iter().map(octets).chain(noise).collect()
}

pub(crate) async fn answers_to_other_questions_are_passed_over(fixture: Fixture) {
    let server = serve(|question, _| {
        let mut all = strays(question);
        all.push(octets(&answer(question, &[record(NAME, 60, a(201))])));
        all
    })
    .await;
    let expect = vec!["192.0.2.201".to_owned()];
    let said = said(&fixture, Probe::Dns(Dns { expect, ..dns(server) })).await;
    assert!(said.is_ok(), "{said:?}");
}

pub(crate) async fn only_answers_to_other_questions_are_no_answer(fixture: Fixture) {
    let server = serve(|question, _| strays(question)).await;
    let message = said_within(&fixture, Probe::Dns(dns(server)), SHORT).await.expect_err("none answers it");
    assert!(
        message.starts_with(&format!("deadline of 200 ms passed: no answer of {server} over UDP; ")),
        "{message}"
    );
    assert!(message.ends_with(" datagrams came that answer another question, or none"), "{message}");
}

pub(crate) async fn a_question_that_is_lost_is_asked_again(fixture: Fixture) {
    let mut heard = 0;
    let server = serve(move |question, _| {
        heard += 1;
        if heard == 1 { Vec::new() } else { vec![octets(&answer(question, &[record(NAME, 60, a(201))]))] }
    })
    .await;
    let timeout = Duration::from_secs(3);
    let said = said_within(&fixture, Probe::Dns(dns(server)), timeout).await;
    assert!(said.is_ok(), "{said:?}");
}

pub(crate) async fn each_question_has_another_number_and_port(fixture: Fixture) {
    let seen = Arc::new(Mutex::new((BTreeSet::new(), BTreeSet::new())));
    let log = Arc::clone(&seen);
    let server = serve(move |question, client| {
        let mut seen = log.lock().expect("nobody panics with it");
        seen.0.insert(question.metadata.id);
        seen.1.insert(client.port());
        vec![octets(&answer(question, &[record(NAME, 60, a(201))]))]
    })
    .await;
    let mut asked = super::Asked::new(&fixture, Probe::Dns(dns(server)), super::PATIENCE);
    for _ in 0..20 {
        asked.said().await.expect("it answers");
    }
    let seen = seen.lock().expect("nobody panics with it");
    assert!(seen.0.len() > 15 && seen.1.len() > 15, "{seen:?}");
}

/// A server on UDP that truncates, and on the same port of TCP one that says this.
async fn truncates(over_tcp: impl Fn(&Message) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let server = serve(|question, _| {
        let mut answer = question.clone().into_response();
        answer.metadata.truncation = true;
        vec![octets(&answer)]
    })
    .await;
    let listener = TcpListener::bind(server).await.expect("the port is free for TCP");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.expect("a question");
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.expect("a question");
            let question = Message::from_vec(&question).expect("vrrpd speaks DNS");
            // In two pieces, as it can arrive.
            let said = over_tcp(&question);
            let (first, second) = said.split_at(said.len() / 2);
            for piece in [first, second] {
                stream.write_all(piece).await.expect("the client listens");
                stream.flush().await.expect("the client listens");
            }
        }
    });
    server
}

fn framed(message: &Message) -> Vec<u8> {
    let octets = octets(message);
    let length = u16::try_from(octets.len()).expect("a message of this test");
    [&length.to_be_bytes()[..], &octets].concat()
}

pub(crate) async fn a_truncated_answer_is_asked_for_over_tcp(fixture: Fixture) {
    let many: Vec<Record> = (1..=200).map(|last| record(NAME, 60, a(last))).collect();
    let server = truncates(move |question| framed(&answer(question, &many))).await;
    let message = said(&fixture, Probe::Dns(dns(server))).await.expect("TCP has the answer");
    assert!(message.contains(", TTL 60 s, in ") && message.ends_with(" ms over TCP"), "{message}");
    assert!(message.len() < 300, "a long answer is cut: {message}");

    let server =
        truncates(|question| framed(&answer(&Message::query(), &[]).clone()).repeat(question.queries.len()))
            .await;
    let message = said(&fixture, Probe::Dns(dns(server))).await.expect_err("another question");
    assert_eq!(message, format!("{server} answers another question over TCP"));

    let server = truncates(|_| vec![1, 0, 7]).await;
    let message = said(&fixture, Probe::Dns(dns(server))).await.expect_err("256 octets were promised");
    assert_eq!(message, format!("{server} closed the connection without an answer"));
}

pub(crate) async fn tcp_alone_is_asked_when_so_configured(fixture: Fixture) {
    let server = truncates(|question| framed(&answer(question, &[record(NAME, 60, a(201))]))).await;
    let tcp = Dns { protocol: DnsProtocol::Tcp, ..dns(server) };
    assert!(said(&fixture, Probe::Dns(tcp)).await.expect("it answers").ends_with(" over TCP"));
    let deaf = has(Vec::new()).await;
    let tcp = Dns { protocol: DnsProtocol::Tcp, ..dns(deaf) };
    assert_eq!(said(&fixture, Probe::Dns(tcp)).await, Err(format!("connection refused by {deaf}")));
}

pub(crate) async fn a_server_that_is_not_there_is_told(fixture: Fixture) {
    let closed = {
        let socket = UdpSocket::bind(localhost(0)).await.expect("a port is free");
        socket.local_addr().expect("it is bound")
    };
    let message = said(&fixture, Probe::Dns(dns(closed))).await.expect_err("nobody is there");
    assert_eq!(message, format!("nobody listens on {closed} over UDP"));
    let silent = serve(|_, _| Vec::new()).await;
    let message = said_within(&fixture, Probe::Dns(dns(silent)), SHORT).await.expect_err("it says nothing");
    assert_eq!(message, format!("deadline of 200 ms passed: no answer of {silent} over UDP"));
}

pub(crate) async fn every_type_is_compared_as_dig_shows_it(fixture: Fixture) {
    for (record_type, data, shown) in [
        (RecordType::AAAA, RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), "2001:db8::1"),
        (RecordType::MX, RData::MX(MX::new(10, name("Mail.example.com"))), "10 mail.example.com"),
        (RecordType::PTR, RData::PTR(PTR(name("www.Example.com"))), "www.example.com"),
        (RecordType::SRV, RData::SRV(SRV::new(0, 5, 443, name("a.example.com"))), "0 5 443 a.example.com"),
        (RecordType::TXT, RData::TXT(TXT::new(vec!["Role=Active".to_owned()])), "Role=Active"),
    ] {
        let server = has(vec![record(NAME, 60, data)]).await;
        let expect = vec![shown.to_owned()];
        let said = said(&fixture, Probe::Dns(Dns { record_type, expect, ..dns(server) })).await;
        assert!(said.is_ok(), "{said:?}");
    }
}

/// BIND with a zone as people write it: the time to live of a day, and a name with many records.
struct Bind {
    process: Child,
    _directory: Directory,
    address: SocketAddr,
}

impl Bind {
    /// None where it is not installed, or must not run.
    fn start() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() || !Path::new("/usr/sbin/named").exists() {
            eprintln!("SKIPPED a case: it takes root and BIND (bind9)");
            return None;
        }
        let directory = Directory::new();
        let path = directory.path().display();
        let many: String = (1..=60).map(|last| format!("many A 192.0.2.{last}\n")).collect();
        directory.file(
            "zone",
            &format!(
                "$TTL 1D\n@ SOA ns hostmaster 1 3H 1H 1W 3H\n@ NS ns\nns A 192.0.2.192\nwww A 192.0.2.201\n\
                 mirror CNAME www\n{many}"
            ),
        );
        let address = localhost(5300);
        let config = directory.file(
            "named.conf",
            &format!(
                "options {{ directory \"{path}\"; pid-file none; session-keyfile none; recursion no; \
                 listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; allow-query {{ none; }}; \
                 minimal-responses yes; }};\ncontrols {{ }};\n\
                 zone \"example.com\" {{ type primary; file \"zone\"; allow-query {{ any; }}; }};\n",
                address.port()
            ),
        );
        let mut named = Command::new("/usr/sbin/named");
        named.args(["-g", "-n", "1", "-c"]).arg(&config).stderr(Stdio::null());
        Some(Self { process: named.spawn().expect("it is installed"), _directory: directory, address })
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn bind_is_asked_past_the_resolver_of_the_system(fixture: Fixture) {
    let Some(bind) = Bind::start() else { return };
    let ask = |name: &str| Dns { name: name.to_owned(), ..dns(bind.address) };
    let mut first = super::Asked::new(&fixture, Probe::Dns(ask(NAME)), Duration::from_secs(1));
    let message = loop {
        if let Ok(message) = first.said().await {
            break message;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(message.starts_with("NOERROR, www.example.com A is 192.0.2.201, TTL 86400 s, in "), "{message}");

    let max_ttl = Some(Duration::from_secs(300));
    let message = said(&fixture, Probe::Dns(Dns { max_ttl, ..ask(NAME) })).await.expect_err("a day");
    assert!(message.ends_with(", TTL 86400 s; max_ttl is 300 s"), "{message}");
    let expect = vec!["192.0.2.201".to_owned()];
    assert!(said(&fixture, Probe::Dns(Dns { expect, ..ask("mirror.example.com") })).await.is_ok());
    let message = said(&fixture, Probe::Dns(ask("many.example.com"))).await.expect("over TCP");
    assert!(message.ends_with(" over TCP"), "60 records are too long for UDP: {message}");

    let server = bind.address;
    for (name, rcode) in [("gone.example.com", "NXDOMAIN"), ("www.example.net", "REFUSED")] {
        let message = said(&fixture, Probe::Dns(ask(name))).await.expect_err("there is no such name");
        assert_eq!(message, format!("{server} answers {rcode} instead of NOERROR for {name} A"));
    }
}
