//! What a server may answer that no honest one would, and the way over TCP.

use hickory_proto::op::{MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;

use hickory_proto::rr::{Name, RData, Record, RecordType, TSigResponseContext};
use tokio::net::TcpListener;

use super::*;

const NOW: u64 = 1_795_000_000;

fn name() -> Name {
    Name::from_ascii("www.example.net.").expect("a name")
}

fn key(secret: &[u8]) -> TSigner {
    let name = Name::from_ascii("vrrpd-a").expect("a name");
    TSigner::new(secret.to_vec(), TsigAlgorithm::HmacSha256, name, 300).expect("sha256 is known")
}

fn question() -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(name(), RecordType::A));
    message
}

/// What an honest server makes of a question, before it signs.
fn answer_to(question: &[u8]) -> Message {
    let asked = Message::from_vec(question).expect("a question of ours");
    let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.authoritative = true;
    answer.queries = asked.queries;
    let address = std::net::IpAddr::from([192, 0, 2, 194]);
    answer.add_answer(Record::from_rdata(name(), 10, RData::from(address)));
    answer
}

fn request(key: Option<&TSigner>) -> Request {
    Request::new(question(), Task::Ask, key, NOW).expect("it can be written")
}

/// The octets of an answer, signed at `time`.
fn signed(request: &Request, key: &TSigner, time: u64) -> Vec<u8> {
    let asked = Message::from_vec(&request.octets).expect("a question of ours");
    let mac = asked.signature.expect("it is signed").data.mac.clone();
    let mut answer = answer_to(&request.octets);
    let unsigned = answer.to_vec().expect("it can be written");
    let context = TSigResponseContext::new(answer.metadata.id, time, key.clone(), mac, None);
    answer.set_signature(context.sign(&unsigned).expect("it can be signed"));
    answer.to_vec().expect("it can be written")
}

fn judged(request: &Request, octets: &[u8], key: &TSigner) -> Option<Result<Message, Fault>> {
    let answer = request.answer(octets)?;
    Some(request.verify(octets, &answer, Some(key), NOW).map(|()| answer))
}

#[test]
fn a_signed_answer_is_believed_within_the_difference_that_clocks_may_have() {
    let key = key(b"secret");
    let request = request(Some(&key));
    let verdict =
        |time: u64| judged(&request, &signed(&request, &key, time), &key).expect("an answer").map(drop);
    for time in [NOW - 300, NOW, NOW + 300] {
        assert_eq!(verdict(time), Ok(()));
    }
    assert_eq!(verdict(NOW + 301), Err(Fault::BadTime(301)));
    assert_eq!(verdict(NOW - 301), Err(Fault::BadTime(-301)));
    assert!(matches!(verdict(7), Err(Fault::Unreadable(_))), "before 1970");
}

#[test]
fn who_does_not_know_the_secret_can_say_no_and_nothing_else() {
    let key = key(b"secret");
    let request = request(Some(&key));
    let forged = signed(&request, &self::key(b"guess"), NOW);
    assert!(matches!(judged(&request, &forged, &key), Some(Err(Fault::Unreadable(_)))));
    let mut plain = answer_to(&request.octets);
    let verdict = |answer: &Message| judged(&request, &answer.to_vec().expect("it can be written"), &key);
    for (code, believed) in [
        (ResponseCode::NoError, false),
        (ResponseCode::NXDomain, false),
        (ResponseCode::NXRRSet, false),
        (ResponseCode::YXRRSet, false),
        (ResponseCode::Refused, true),
        (ResponseCode::ServFail, true),
    ] {
        plain.metadata.response_code = code;
        let verdict = verdict(&plain).expect("an answer").map(|answer| answer.metadata.response_code);
        assert_eq!(verdict, if believed { Ok(code) } else { Err(Fault::Unsigned) }, "{code}");
    }
}

/// Each bit of a signed answer turned round, and each way to cut it off: nothing panics, and what is
/// believed all the same says what was signed.
#[test]
fn no_damage_changes_what_is_believed() {
    let key = key(b"secret");
    let request = request(Some(&key));
    let whole = signed(&request, &key, NOW);
    let said = judged(&request, &whole, &key).expect("an answer").expect("it is signed");
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Some(Ok(believed)) = judged(&request, &damaged, &key) {
            assert_eq!(believed.answers, said.answers, "bit {bit}");
            assert_eq!(believed.metadata, said.metadata, "bit {bit}");
        }
    }
    for length in 0..whole.len() {
        assert!(!matches!(judged(&request, &whole[..length], &key), Some(Ok(_))), "{length} octets");
    }
}

#[test]
fn only_what_answers_the_question_is_an_answer() {
    let request = request(None);
    let answer = answer_to(&request.octets);
    let is_one = |change: &dyn Fn(&mut Message)| {
        let mut changed = answer.clone();
        change(&mut changed);
        request.answer(&changed.to_vec().expect("it can be written")).is_some()
    };
    assert!(is_one(&|_| ()));
    assert!(!is_one(&|answer| answer.metadata.id ^= 1));
    assert!(!is_one(&|answer| answer.metadata.message_type = MessageType::Query));
    assert!(!is_one(&|answer| answer.metadata.op_code = OpCode::Update));
    assert!(!is_one(&|answer| answer.queries = vec![Query::query(name(), RecordType::AAAA)]));
    assert!(request.answer(&[]).is_none());
}

/// A server whose datagrams say that there is more, behind one that answers somebody else.
#[tokio::test]
async fn an_answer_that_was_cut_off_is_asked_for_over_tcp() {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("the loopback has ports");
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("it is bound")).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().expect("it is bound");
    let serve = tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, client) = udp.recv_from(&mut buffer).await.expect("it is asked");
        let mut cut = answer_to(&buffer[..length]);
        cut.metadata.id ^= 1;
        udp.send_to(&cut.to_vec().expect("it can be written"), client).await.expect("it can be sent");
        cut.metadata.id ^= 1;
        cut.metadata.truncation = true;
        cut.answers.clear();
        udp.send_to(&cut.to_vec().expect("it can be written"), client).await.expect("it can be sent");

        let (mut stream, _) = tcp.accept().await.expect("it is called");
        let length = stream.read_u16().await.expect("a length");
        let mut octets = vec![0; usize::from(length)];
        stream.read_exact(&mut octets).await.expect("a question");
        let answer = answer_to(&octets).to_vec().expect("it can be written");
        let length = u16::try_from(answer.len()).expect("it is short");
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await.expect("it can be sent");
    });
    let server = Server { address, key: None, clock: wall_clock };
    let answer = timeout(Duration::from_secs(30), server.exchange(&question(), Task::Ask)).await;
    assert_eq!(answer.expect("in time").expect("it is answered").answers.len(), 1);
    serve.await.expect("the server has done its part");
}

/// The first datagram is lost; each one that follows has a number and a signature of its own.
#[tokio::test]
async fn a_lost_datagram_is_sent_again_and_signed_anew() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("the loopback has ports");
    let address = udp.local_addr().expect("it is bound");
    let serve = tokio::spawn(async move {
        let mut heard = Vec::new();
        for _ in 0..2 {
            let mut buffer = [0; 512];
            let (length, client) = udp.recv_from(&mut buffer).await.expect("it is asked");
            heard.push((buffer[..length].to_vec(), client));
        }
        let parsed: Vec<Message> = heard.iter().map(|(m, _)| Message::from_vec(m).expect("ours")).collect();
        assert_ne!(parsed[0].metadata.id, parsed[1].metadata.id);
        let mac = |message: &Message| message.signature.as_ref().expect("it is signed").data.mac.clone();
        assert_ne!(mac(&parsed[0]), mac(&parsed[1]));
        // The answer to the first one comes late, and is as good.
        let first = Request::new(parsed[0].clone(), Task::Ask, None, NOW).expect("it can be written");
        udp.send_to(&signed(&first, &key(b"secret"), wall_clock()), heard[0].1)
            .await
            .expect("it can be sent");
    });
    let key = key(b"secret");
    let server = Server { address, key: Some(&key), clock: wall_clock };
    let answer = timeout(Duration::from_secs(30), server.exchange(&question(), Task::Ask)).await;
    assert_eq!(answer.expect("in time").expect("it is answered").answers.len(), 1);
    serve.await.expect("the server has done its part");
}
