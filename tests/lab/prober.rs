//! A client that asks an address a thousand times a second and tells what it missed.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{DEADLINE, Node, capture, now_ns, wait_for};

/// Time between two probes unless another is asked for: also the resolution of every gap.
pub const PERIOD: Duration = Duration::from_millis(1);
/// Replies that take longer than this count as lost.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Progress {
    /// Probes sent.
    sent: AtomicUsize,
    /// One more than the number of the latest probe that was answered.
    answered: AtomicUsize,
}

/// A running prober: ICMP echo requests from a node's own address and neighbour table.
pub struct Prober {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    thread: JoinHandle<Probes>,
}

impl Prober {
    /// Starts to probe `address` from `node`, a thousand times a second.
    pub fn start(node: &Node, address: &str) -> Self {
        Self::start_every(PERIOD, node, address)
    }

    /// As [`start`](Self::start), with another time between two probes.
    pub fn start_every(period: Duration, node: &Node, address: &str) -> Self {
        static IDENTIFIER: AtomicU16 = AtomicU16::new(1);
        let target: IpAddr = address.parse().expect("an IP address");
        let identifier = IDENTIFIER.fetch_add(1, Ordering::Relaxed);
        let socket = node.namespace().enter(|| open(target)).expect("root may open raw sockets");
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Progress::default());
        let thread = std::thread::spawn({
            let (stop, progress) = (Arc::clone(&stop), Arc::clone(&progress));
            move || Session { socket, target, identifier, period, probes: Vec::new(), progress }.run(&stop)
        });
        Self { stop, progress, thread }
    }

    /// Waits until a probe sent from now on has been answered.
    pub fn wait_for_answer(&self) {
        let sent = self.progress.sent.load(Ordering::Relaxed);
        wait_for("an answer to the client's probes", DEADLINE, || {
            (self.progress.answered.load(Ordering::Relaxed) > sent).then_some(())
        });
    }

    /// Waits until `count` more probes have been sent, answered or not.
    pub fn wait_for_probes(&self, count: usize) {
        let enough = self.progress.sent.load(Ordering::Relaxed) + count;
        wait_for("the client's probes", DEADLINE, || {
            (self.progress.sent.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }

    /// Ends and gives what was seen.
    pub fn stop(self) -> Probes {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the prober does not panic")
    }
}

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When it was sent, ns of `CLOCK_REALTIME`.
    pub sent_ns: i64,
    /// When the kernel received its answer.
    pub answered_ns: Option<i64>,
}

/// What a prober saw, in the order of sending.
#[derive(Clone, Debug)]
pub struct Probes(pub Vec<Probe>);

impl Probes {
    /// Probes without an answer.
    pub fn total_lost(&self) -> usize {
        self.0.iter().filter(|probe| probe.answered_ns.is_none()).count()
    }

    /// The longest time in which no answer arrived, from the first probe to the last.
    pub fn longest_gap(&self) -> Duration {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return Duration::ZERO };
        let mut times = self.answer_times();
        times.insert(0, first.sent_ns);
        times.push(last.sent_ns.max(times.last().copied().unwrap_or(first.sent_ns)));
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Duration::from_nanos(u64::try_from(longest).unwrap_or(0))
    }

    /// The longest that somebody who asked at any moment waited until this or a later question was
    /// answered. Unlike [`longest_gap`](Self::longest_gap) it does not count moments at which the
    /// prober itself came late and nobody asked. Questions after the last answer count nothing.
    pub fn longest_wait(&self) -> Duration {
        let mut next_answer = None;
        let mut longest = 0;
        for probe in self.0.iter().rev() {
            next_answer = [probe.answered_ns, next_answer].into_iter().flatten().min();
            longest = longest.max(next_answer.map_or(0, |answer| answer - probe.sent_ns));
        }
        Duration::from_nanos(u64::try_from(longest).unwrap_or(0))
    }

    /// When the first answer arrived at or after `since_ns`.
    pub fn first_answer_since(&self, since_ns: i64) -> Option<i64> {
        self.answer_times().into_iter().find(|time| *time >= since_ns)
    }

    fn answer_times(&self) -> Vec<i64> {
        let mut times: Vec<i64> = self.0.iter().filter_map(|probe| probe.answered_ns).collect();
        times.sort_unstable();
        times
    }
}

struct Session {
    socket: Socket,
    target: IpAddr,
    identifier: u16,
    period: Duration,
    probes: Vec<Probe>,
    progress: Arc<Progress>,
}

impl Session {
    fn run(mut self, stop: &AtomicBool) -> Probes {
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.send();
            // A late prober skips beats instead of sending a salvo.
            next = (next + self.period).max(Instant::now());
            std::thread::sleep(next - Instant::now());
            self.receive();
        }
        let end = Instant::now() + PATIENCE;
        while self.probes.last().is_some_and(|probe| probe.answered_ns.is_none()) && Instant::now() < end {
            std::thread::sleep(self.period);
            self.receive();
        }
        Probes(self.probes)
    }

    /// Sends one echo request. The kernel's complaints (no neighbour, queue full) are lost probes.
    fn send(&mut self) {
        const ECHO_REQUEST_V4: u8 = 8;
        const ECHO_REQUEST_V6: u8 = 128;
        let number = u32::try_from(self.probes.len()).expect("49 days of probes");
        let mut packet = [0; 12];
        packet[0] = if self.target.is_ipv4() { ECHO_REQUEST_V4 } else { ECHO_REQUEST_V6 };
        packet[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        // The sequence number has 16 bits; the whole number is the payload.
        packet[6..8].copy_from_slice(&number.to_be_bytes()[2..]);
        packet[8..12].copy_from_slice(&number.to_be_bytes());
        if self.target.is_ipv4() {
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        self.probes.push(Probe { sent_ns: now_ns(), answered_ns: None });
        let _ = self.socket.send_to(&packet, &SocketAddr::from((self.target, 0)).into());
        self.progress.sent.store(self.probes.len(), Ordering::Relaxed);
    }

    /// Takes every reply that has arrived.
    fn receive(&mut self) {
        let mut buffer = [0; 256];
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            );
            match received {
                Ok(message) => {
                    let (time, length) = (capture::stamp(message.cmsgs()), message.bytes);
                    self.answered(&buffer[..length], time);
                }
                Err(nix::errno::Errno::EAGAIN) => return,
                // An error that an earlier probe left behind, for example EHOSTUNREACH.
                Err(_) => {}
            }
        }
    }

    fn answered(&mut self, packet: &[u8], time_ns: Option<i64>) -> Option<()> {
        const ECHO_REPLY_V4: u8 = 0;
        const ECHO_REPLY_V6: u8 = 129;
        // A raw IPv4 socket gives the IP header as well.
        let (message, reply) = if self.target.is_ipv4() {
            (packet.get(usize::from(packet.first()? & 15) * 4..)?, ECHO_REPLY_V4)
        } else {
            (packet, ECHO_REPLY_V6)
        };
        if *message.first()? != reply || *message.get(4..6)? != self.identifier.to_be_bytes() {
            return None;
        }
        let number = u32::from_be_bytes(message.get(8..12)?.try_into().ok()?);
        let number = usize::try_from(number).ok()?;
        let probe = self.probes.get_mut(number)?;
        // A second answer to one probe, from a second holder, is not the first.
        if probe.answered_ns.is_none() {
            probe.answered_ns = time_ns;
            self.progress.answered.fetch_max(number + 1, Ordering::Relaxed);
        }
        Some(())
    }
}

fn open(target: IpAddr) -> std::io::Result<Socket> {
    let socket = match target {
        IpAddr::V4(_) => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?,
        IpAddr::V6(_) => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?,
    };
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    Ok(socket)
}

/// RFC 1071 over an even number of octets.
fn checksum(packet: &[u8; 12]) -> u16 {
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    !u16::try_from((sum >> 16) + (sum & 0xffff)).expect("six words cannot carry twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(answers: &[(i64, Option<i64>)]) -> Probes {
        Probes(answers.iter().map(|&(sent_ns, answered_ns)| Probe { sent_ns, answered_ns }).collect())
    }

    #[test]
    fn who_asks_in_an_outage_waits_for_its_end() {
        let outage = probes(&[(0, Some(1)), (10, None), (20, None), (30, Some(33)), (40, Some(41))]);
        assert_eq!(outage.longest_wait(), Duration::from_nanos(23), "asked at 10, answered at 33");
    }

    #[test]
    fn a_late_prober_is_no_outage() {
        let late = probes(&[(0, Some(1)), (500, Some(502)), (510, None)]);
        assert_eq!(late.longest_wait(), Duration::from_nanos(2));
        assert_eq!(late.longest_gap(), Duration::from_nanos(501));
    }

    #[test]
    fn an_answer_that_overtakes_another_ends_both_waits() {
        let overtaken = probes(&[(0, Some(90)), (10, Some(30)), (20, Some(40))]);
        assert_eq!(overtaken.longest_wait(), Duration::from_nanos(30));
    }
}
