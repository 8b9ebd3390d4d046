//! Somebody on the LAN who asks everybody, all the time, who has an address, and notes each who answers.
//!
//! A client's neighbour table knows one answer. Here each question goes to all, so that two nodes
//! which answer are seen even while every client happens to follow the right one.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{DEADLINE, Kind, Mac, Node, capture, frame, injector, now_ns, wait_for};

/// Time between two questions: the resolution of everything here.
pub const PERIOD: Duration = Duration::from_millis(2);

/// A running watcher: ARP requests, or neighbour solicitations, to everybody.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: JoinHandle<Sightings>,
}

impl Watcher {
    /// Asks from `node`, which should do nothing else: answers correct its neighbour table.
    ///
    /// # Panics
    /// When the sockets cannot be opened, which root can.
    pub fn start(node: &Node, address: &str) -> Self {
        let target: IpAddr = address.parse().expect("an IP address");
        let question = question(node, target);
        let (socket, to) = node.namespace().enter(|| open(target)).expect("root may open packet sockets");
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::spawn({
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            move || Session { socket, to, target, question, sightings: Vec::new(), asked }.run(&stop)
        });
        Self { stop, asked, thread }
    }

    /// Waits until `count` more questions have been asked.
    pub fn wait_for_questions(&self, count: usize) {
        let enough = self.asked.load(Ordering::Relaxed) + count;
        wait_for("the watcher's questions", DEADLINE, || {
            (self.asked.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }

    /// Ends and gives what was seen.
    pub fn stop(self) -> Sightings {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watcher does not panic")
    }
}

/// One question, and who answered before the next one was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When it was asked, ns of `CLOCK_REALTIME`.
    pub asked_ns: i64,
    /// Who answered, each once.
    pub answers: Vec<Mac>,
}

/// What a watcher saw, in the order of asking.
#[derive(Clone, Debug)]
pub struct Sightings(pub Vec<Sighting>);

impl Sightings {
    /// How long more than one answered.
    pub fn by_two(&self) -> Spells {
        self.spells(|answers| answers > 1)
    }

    /// How long nobody answered.
    pub fn by_nobody(&self) -> Spells {
        self.spells(|answers| answers == 0)
    }

    /// How long `who` answered, alone or not.
    pub fn by(&self, who: Mac) -> Spells {
        Spells::of(self.0.iter().map(|sighting| (sighting.asked_ns, sighting.answers.contains(&who))))
    }

    fn spells(&self, wanted: impl Fn(usize) -> bool) -> Spells {
        Spells::of(self.0.iter().map(|sighting| (sighting.asked_ns, wanted(sighting.answers.len()))))
    }
}

/// The times in which something was so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spells {
    /// Beginning and end of each, ns of `CLOCK_REALTIME`.
    pub all: Vec<(i64, i64)>,
    /// Whether the last one had not ended when the watching did.
    pub lasts: bool,
}

impl Spells {
    /// From looks at a condition, in order: one spell lasts from the first look at which it held to
    /// the first at which it did not.
    pub fn of(looks: impl Iterator<Item = (i64, bool)>) -> Self {
        let mut spells = Self::default();
        for (time, holds) in looks {
            if let Some(last) = spells.all.last_mut().filter(|_| spells.lasts) {
                last.1 = time;
            } else if holds {
                spells.all.push((time, time));
            }
            spells.lasts = holds;
        }
        spells
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        Self::span(self.all.iter().map(|(from, to)| to - from).sum())
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        Self::span(self.all.iter().map(|(from, to)| to - from).max().unwrap_or(0))
    }

    fn span(ns: i64) -> Duration {
        Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
    }
}

struct Session {
    socket: Socket,
    to: SockAddr,
    target: IpAddr,
    question: Vec<u8>,
    sightings: Vec<Sighting>,
    asked: Arc<AtomicUsize>,
}

impl Session {
    fn run(mut self, stop: &AtomicBool) -> Sightings {
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.sightings.push(Sighting { asked_ns: now_ns(), answers: Vec::new() });
            // An interface that is down is a question that nobody hears.
            let _ = self.socket.send_to(&self.question, &self.to);
            // A late watcher skips beats instead of asking in salvos.
            next = (next + PERIOD).max(Instant::now());
            std::thread::sleep(next - Instant::now());
            self.receive();
            self.asked.store(self.sightings.len(), Ordering::Relaxed);
        }
        Sightings(self.sightings)
    }

    /// Takes every answer that has arrived.
    fn receive(&mut self) {
        let mut buffer = [0; 256];
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            match recvmsg::<LinkAddr>(fd, &mut parts, Some(&mut control), flags) {
                Ok(message) => {
                    let (time, length) = (capture::stamp(message.cmsgs()), message.bytes.min(256));
                    self.answered(&buffer[..length], time);
                }
                Err(Errno::EAGAIN) => return,
                // The interface went down or came back.
                Err(_) => {}
            }
        }
    }

    /// An answer belongs to the question that was the latest when the kernel received it.
    fn answered(&mut self, octets: &[u8], time_ns: Option<i64>) -> Option<()> {
        let (source, kind) = frame::parse(octets)?;
        let answered = match kind {
            Kind::Arp { sender, reply: true, .. } => sender,
            Kind::NeighbourAdvertisement { target, solicited: true, .. } => target,
            _ => return None,
        };
        let time_ns = time_ns.filter(|_| answered == self.target)?;
        let question = self.sightings.iter_mut().rev().find(|question| question.asked_ns <= time_ns)?;
        if !question.answers.contains(&source) {
            question.answers.push(source);
        }
        Some(())
    }
}

fn open(target: IpAddr) -> std::io::Result<(Socket, SockAddr)> {
    let ethertype = if target.is_ipv4() { libc::ETH_P_ARP } else { libc::ETH_P_IPV6 };
    let ethertype = u16::try_from(ethertype).expect("an Ethernet type has 16 bits");
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ethertype.to_be()))))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    Ok((socket, injector::interface_address()))
}

/// The frame that asks everybody for `target`.
fn question(node: &Node, target: IpAddr) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => {
            let own: std::net::Ipv4Addr = node.ipv4().parse().expect("a node has an IPv4 address");
            let mut frame = [&[0xff; 6][..], &node.mac().0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
            frame.extend(node.mac().0);
            frame.extend(own.octets());
            frame.extend([0; 6]);
            frame.extend(target.octets());
            frame.resize(60, 0);
            frame
        }
        IpAddr::V6(target) => {
            let own: Ipv6Addr = node.link_local().parse().expect("a node has a link-local address");
            solicitation(node.mac(), own, target)
        }
    }
}

/// A neighbour solicitation to the solicited-node group of `target` (RFC 4861 4.3).
fn solicitation(mac: Mac, own: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., x, y, z] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(x), u16::from_be_bytes([y, z]));
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(mac.0);
    let length = u8::try_from(message.len()).expect("32 octets");
    let pseudo_header = [&own.octets()[..], &group.octets(), &[0, 0, 0, length, 0, 0, 0, 58]].concat();
    let sum = injector::checksum(&[&pseudo_header[..], &message].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = [&[0x33, 0x33, 0xff, x, y, z][..], &mac.0, &[0x86, 0xdd]].concat();
    frame.extend([0x60, 0, 0, 0, 0, length, 58, 255]);
    frame.extend(own.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn seen(looks: &[(i64, &[Mac])]) -> Sightings {
        Sightings(looks.iter().map(|&(asked_ns, who)| Sighting { asked_ns, answers: who.to_vec() }).collect())
    }

    #[test]
    fn a_spell_lasts_until_the_first_question_for_which_it_is_over() {
        let seen = seen(&[(0, &[A]), (10, &[A, B]), (20, &[A, B]), (30, &[B]), (40, &[]), (50, &[A, B])]);
        assert_eq!(seen.by_two(), Spells { all: vec![(10, 30), (50, 50)], lasts: true });
        assert_eq!(seen.by_two().total(), Duration::from_nanos(20));
        assert_eq!(seen.by_nobody(), Spells { all: vec![(40, 50)], lasts: false });
        assert_eq!(seen.by(B).longest(), Duration::from_nanos(30));
    }

    #[test]
    fn what_never_was_so_has_no_spell() {
        let always = seen(&[(0, &[A]), (10, &[A])]);
        assert_eq!(always.by_two(), Spells::default());
        assert_eq!(always.by_two().longest(), Duration::ZERO);
    }
}
