//! The client: asks the virtual address all the time and notes who answered.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Error;
use super::cast::{self, Node};
use super::service::{ECHO_PORT, Worker};
use super::space::Namespace;

/// Time between two probes, and how exactly a silence is known.
pub(super) const GRID: Duration = Duration::from_millis(5);

/// One question, and the answer to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) sent: Instant,
    /// Who answered first, and when.
    pub(super) answer: Option<(Node, Instant)>,
}

impl Probe {
    /// Who answered before `patience` was over. What comes later helps no client.
    pub(super) fn answered(&self, patience: Duration) -> Option<Node> {
        self.answer.filter(|(_, at)| at.duration_since(self.sent) <= patience).map(|(node, _)| node)
    }
}

/// A client that asks from now on until it is dropped.
pub(super) struct Client {
    probes: Arc<Mutex<Vec<Probe>>>,
    _worker: Worker,
}

impl Client {
    pub(super) fn start(namespace: &Namespace) -> Result<Self, Error> {
        let server = SocketAddrV4::new(cast::ADDRESS, ECHO_PORT);
        let socket = namespace.enter(|| {
            let connect = || -> io::Result<UdpSocket> {
                let socket = UdpSocket::bind(SocketAddrV4::new(cast::CLIENT, 0))?;
                // Answers of nobody else are heard.
                socket.connect(server)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            };
            connect().map_err(Error::system("open the client's socket"))
        })?;
        let probes = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&probes);
        let worker = Worker::start("demo-client", move || ask(&socket, &noted))?;
        Ok(Self { probes, _worker: worker })
    }

    /// The probes sent since `from`.
    pub(super) fn since(&self, from: Instant) -> Vec<Probe> {
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes[probes.partition_point(|probe| probe.sent < from)..].to_vec()
    }
}

/// Sends one probe and listens until the next is due.
fn ask(socket: &UdpSocket, probes: &Mutex<Vec<Probe>>) {
    let sent = Instant::now();
    let number = {
        let mut probes = probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.push(Probe { sent, answer: None });
        u32::try_from(probes.len() - 1).expect("the demo is over long before")
    };
    // An error, such as no answer to ARP, is a probe without answer.
    let _ = socket.send(&number.to_be_bytes());
    while let Some(rest) = GRID.checked_sub(sent.elapsed()) {
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let patience = u16::try_from(rest.as_millis() + 1).expect("a few milliseconds");
        let _ = poll(&mut ready, PollTimeout::from(patience));
        let mut datagram = [0; 8];
        if let Ok(5) = socket.recv(&mut datagram) {
            let number = u32::from_be_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]);
            let answer = Node::from_letter(datagram[4]).map(|node| (node, Instant::now()));
            let mut probes = probes.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(probe) = probes.get_mut(number as usize) {
                probe.answer = probe.answer.or(answer);
            }
        }
    }
}

/// The longest time without answer: from the first probe that none came to, to the next with one.
/// A client that did not ask, as on a busy machine, had no silence.
pub(super) fn longest_silence(probes: &[Probe], patience: Duration) -> Duration {
    let mut longest = Duration::ZERO;
    let mut silent_since = None;
    for probe in probes {
        match (probe.answered(patience), silent_since) {
            (None, None) => silent_since = Some(probe.sent),
            (None, Some(_)) => {}
            (Some(_), None) => continue,
            (Some(_), Some(since)) => {
                longest = longest.max(probe.sent.duration_since(since));
                silent_since = None;
            }
        }
    }
    let unfinished = silent_since.zip(probes.last()).map(|(since, last)| last.sent.duration_since(since));
    longest.max(unfinished.unwrap_or_default())
}

/// How often another node answered than before.
pub(super) fn moves(probes: &[Probe], patience: Duration) -> usize {
    let mut holders: Vec<Node> = probes.iter().filter_map(|probe| probe.answered(patience)).collect();
    holders.dedup();
    holders.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    /// One probe each 5 ms: `a`, `b`, `.` for none, `l` for a, too late.
    fn probes(text: &str) -> Vec<Probe> {
        let start = Instant::now();
        let probe = |(index, letter): (usize, u8)| {
            let sent = start + GRID * u32::try_from(index).expect("few");
            let answer = match letter {
                b'l' => Some((Node::A, sent + PATIENCE * 2)),
                letter => Node::from_letter(letter).map(|node| (node, sent + GRID)),
            };
            Probe { sent, answer }
        };
        text.bytes().enumerate().map(probe).collect()
    }

    #[test]
    fn a_silence_lasts_from_the_first_lost_probe_to_the_next_answered_one() {
        let silence = |text| longest_silence(&probes(text), PATIENCE).as_millis();
        assert_eq!(silence("aaaabbbb"), 0);
        assert_eq!(silence("aa.a...b.b"), 15);
        assert_eq!(silence("aallbb"), 10);
        assert_eq!(silence("aa...."), 15);
        assert_eq!(silence(""), 0);
    }

    #[test]
    fn a_move_is_another_answer_than_before_silent_or_not() {
        let moves = |text| moves(&probes(text), PATIENCE);
        assert_eq!(moves("aaa...aaa"), 0);
        assert_eq!(moves("aaabbb"), 1);
        assert_eq!(moves("aa..bbba"), 2);
        assert_eq!(moves("...."), 0);
    }
}
