//! Echo requests to several targets at once (RFC 792, RFC 4443 4.1), for `ping` and `gateway`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use pnet_packet::icmp::{IcmpPacket, checksum};
use pnet_packet::ipv4::Ipv4Packet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::say::{list, milliseconds, verb};

/// How often a target is asked in the time of one run: one lost packet is not a silent host.
const ATTEMPTS: u32 = 3;

/// A host that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) ip: IpAddr,
    /// Number of the interface, for a link-local address; 0 otherwise. An error says why it has none.
    pub(super) scope: Result<u32, String>,
    /// What it is called in messages.
    pub(super) name: String,
}

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reply {
    After(Duration),
    Silent,
    /// It cannot be asked.
    Unable(String),
}

/// Asks all targets, until each has answered or `deadline` has passed. At least `quorum` must.
pub(super) async fn ask(
    targets: Vec<Target>,
    source: Option<IpAddr>,
    quorum: u32,
    deadline: Duration,
) -> Result<String, String> {
    let mut asked = JoinSet::new();
    for (index, target) in targets.iter().cloned().enumerate() {
        asked.spawn(async move {
            let scope = match &target.scope {
                Ok(scope) => *scope,
                Err(reason) => return (index, Reply::Unable(reason.clone())),
            };
            let reply = timeout(deadline, echo(target.ip, scope, source, deadline)).await;
            let reply = reply.unwrap_or(Ok(Reply::Silent));
            (index, reply.unwrap_or_else(|error| Reply::Unable(describe(&target, source, &error))))
        });
    }
    let mut replies = vec![Reply::Silent; targets.len()];
    // Tasks are neither aborted nor do they panic; one that did would count as silent.
    while let Some(done) = asked.join_next().await {
        if let Ok((index, reply)) = done {
            replies[index] = reply;
        }
    }
    judge(&targets, &replies, quorum, deadline)
}

fn judge(targets: &[Target], replies: &[Reply], quorum: u32, deadline: Duration) -> Result<String, String> {
    let (mut answered, mut silent, mut unable) = (Vec::new(), Vec::new(), Vec::new());
    for (target, reply) in targets.iter().zip(replies) {
        match reply {
            Reply::After(time) => answered.push(format!("{} in {}", target.name, milliseconds(*time))),
            Reply::Silent => silent.push(&target.name),
            Reply::Unable(reason) => unable.push(reason.as_str()),
        }
    }
    let (count, all) = (answered.len(), targets.len());
    let mut said = format!("{count} of {all} {}", verb(count, "answer"));
    if count > 0 {
        said = format!("{said}: {}", list(answered));
    }
    if !silent.is_empty() {
        said = format!("{said}; silent for {} ms: {}", deadline.as_millis(), list(silent));
    }
    if !unable.is_empty() {
        said = format!("{said}; {}", unable.join("; "));
    }
    let enough = count >= usize::try_from(quorum).unwrap_or(usize::MAX);
    if enough { Ok(said) } else { Err(format!("{said} (quorum is {quorum})")) }
}

fn describe(target: &Target, source: Option<IpAddr>, error: &io::Error) -> String {
    let name = &target.name;
    match (error.kind(), source) {
        (io::ErrorKind::PermissionDenied, _) => {
            format!("cannot ask {name}: {error}; vrrpd needs CAP_NET_RAW, and a firewall may forbid it")
        }
        (io::ErrorKind::AddrNotAvailable, Some(source)) => {
            format!("cannot ask {name} from {source}: this node does not have that address now")
        }
        _ => format!("cannot ask {name}: {error}"),
    }
}

/// Asks one target until it answers.
async fn echo(ip: IpAddr, scope: u32, source: Option<IpAddr>, deadline: Duration) -> io::Result<Reply> {
    let socket = open(ip, scope, source)?;
    let question = Question::new(ip.is_ipv4());
    let started = Instant::now();
    let mut sent = interval((deadline / ATTEMPTS).max(Duration::from_millis(1)));
    sent.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut octets = [0; 2048];
    loop {
        tokio::select! {
            _ = sent.tick() => match socket.send(&question.octets()).await {
                // The queue of the interface is full: the next one may go.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                sent => drop(sent?),
            },
            received = socket.recv(&mut octets) => {
                let length = received?;
                if question.is_answered_by(octets.get(..length).unwrap_or_default()) {
                    return Ok(Reply::After(started.elapsed()));
                }
            }
        }
    }
}

/// A raw socket that is connected: the kernel passes what comes from the target, and nothing else.
///
/// tokio knows no raw sockets; to wait, send and receive is the same for all that keep datagrams apart.
fn open(ip: IpAddr, scope: u32, source: Option<IpAddr>) -> io::Result<UdpSocket> {
    let (domain, protocol) =
        if ip.is_ipv4() { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        socket.bind(&address(source, scope).into())?;
    }
    socket.connect(&address(ip, scope).into())?;
    UdpSocket::from_std(socket.into())
}

fn address(ip: IpAddr, scope: u32) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, 0),
        IpAddr::V6(ip) => {
            SocketAddrV6::new(ip, 0, 0, if ip.is_unicast_link_local() { scope } else { 0 }).into()
        }
    }
}

/// An echo request that no other program sends: with a token of 64 random bits.
struct Question {
    ipv4: bool,
    token: [u8; 8],
}

impl Question {
    fn new(ipv4: bool) -> Self {
        Self { ipv4, token: RandomState::new().build_hasher().finish().to_ne_bytes() }
    }

    /// Type, code, checksum, identifier, sequence number, and the token.
    fn octets(&self) -> [u8; 16] {
        let mut octets = [0; 16];
        octets[0] = if self.ipv4 { ECHO_REQUEST } else { ECHO_REQUEST_V6 };
        octets[4..6].copy_from_slice(&self.token[..2]);
        octets[8..].copy_from_slice(&self.token);
        // The kernel fills in that of ICMPv6, which is over the addresses as well (RFC 3542 3.1).
        if let Some(packet) = IcmpPacket::new(&octets).filter(|_| self.ipv4) {
            let sum = checksum(&packet);
            octets[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        octets
    }

    /// Of IPv4, what is received begins with the header of the packet.
    fn is_answered_by(&self, received: &[u8]) -> bool {
        let (reply, message) = if self.ipv4 {
            let header =
                Ipv4Packet::new(received).map_or(0, |packet| usize::from(packet.get_header_length()) * 4);
            (ECHO_REPLY, received.get(header..).unwrap_or_default())
        } else {
            (ECHO_REPLY_V6, received)
        };
        let code_and_type = message.first_chunk() == Some(&[reply, 0]);
        code_and_type
            && message.get(4..6) == Some(&self.token[..2])
            && message.get(8..) == Some(&self.token[..])
    }
}

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a host with the address 192.0.2.1 would say, behind a header with options.
    fn reply(question: &Question) -> Vec<u8> {
        let mut message = question.octets();
        message[0] = if question.ipv4 { ECHO_REPLY } else { ECHO_REPLY_V6 };
        let header: &[u8] = if question.ipv4 { &[0x46; 24] } else { &[] };
        [header, &message].concat()
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        for ipv4 in [true, false] {
            let question = Question::new(ipv4);
            assert!(question.is_answered_by(&reply(&question)), "IPv4: {ipv4}");
            assert!(!question.is_answered_by(&reply(&Question::new(ipv4))), "another token");
            assert!(!question.is_answered_by(&question.octets()), "our own request");
            assert!(!question.is_answered_by(&[0; 16]));
        }
    }

    #[test]
    fn damage_is_no_answer_and_no_panic() {
        let question = Question::new(true);
        let whole = reply(&question);
        for length in 0..whole.len() {
            assert!(!question.is_answered_by(&whole[..length]), "{length} octets");
        }
        for first in 0..=u8::MAX {
            let mut octets = whole.clone();
            octets[0] = first;
            assert_eq!(question.is_answered_by(&octets), first & 0xf == 6, "{first:#x}");
        }
    }

    #[test]
    fn an_ipv4_request_has_its_checksum() {
        let octets = Question::new(true).octets();
        let sum: u32 = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "RFC 792");
        assert_eq!(Question::new(false).octets()[2..4], [0, 0], "the kernel's business");
    }

    #[test]
    fn the_quorum_decides_and_the_silent_are_named() {
        let target = |name: &str| Target { ip: [192, 0, 2, 1].into(), scope: Ok(0), name: name.to_owned() };
        let targets = ["a", "b", "c"].map(target);
        let replies = [
            Reply::After(Duration::from_micros(340)),
            Reply::Silent,
            Reply::Unable("cannot ask c: Network is unreachable".to_owned()),
        ];
        let said = |quorum| judge(&targets, &replies, quorum, Duration::from_millis(900));
        let all = "1 of 3 answers: a in 0.3 ms; silent for 900 ms: b; cannot ask c: Network is unreachable";
        assert_eq!(said(1), Ok(all.to_owned()));
        assert_eq!(said(2), Err(format!("{all} (quorum is 2)")));
    }
}
