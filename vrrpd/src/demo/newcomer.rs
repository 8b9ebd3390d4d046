//! The newcomer: asks by ARP who has the virtual address, as a station does that was just switched
//! on. Unlike the client, which has learned where the address is, it sees when two have it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp_proto::MacAddress;
use vrrp_proto::packet::arp::{Arp, FRAME_LEN, Operation};

use super::Error;
use super::cast;
use super::lan::Station;
use super::service::Worker;
use crate::net;

/// Time between two questions.
const GRID: Duration = Duration::from_millis(20);

/// One question, and how many stations said that they have the address.
#[derive(Clone, Copy, Debug)]
struct Round {
    asked: Instant,
    owners: usize,
}

/// Asks from now on until it is dropped.
pub(super) struct Newcomer {
    rounds: Arc<Mutex<Vec<Round>>>,
    _worker: Worker,
}

impl Newcomer {
    pub(super) fn start(station: &Station) -> Result<Self, Error> {
        let socket = station.namespace.enter(|| {
            let open = || -> io::Result<Socket> {
                let arp = Protocol::from(i32::from(0x0806_u16.to_be()));
                let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(arp))?;
                socket.bind(&net::link_address(station.interface.get()))?;
                Ok(socket)
            };
            open().map_err(Error::system("open the newcomer's packet socket"))
        })?;
        let rounds = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&rounds);
        let worker = Worker::start("demo-newcomer", move || {
            let round = ask(&socket);
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(round);
        })?;
        Ok(Self { rounds, _worker: worker })
    }

    /// The longest time since `from` during which more than one station said that it has the address.
    pub(super) fn longest_dispute(&self, from: Instant) -> Duration {
        let rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        longest_dispute(&rounds[rounds.partition_point(|round| round.asked < from)..])
    }
}

/// Asks once, and listens until the next question is due.
fn ask(socket: &Socket) -> Round {
    let asked = Instant::now();
    let ours = MacAddress::new(cast::mac(cast::NEWCOMER));
    let question = Arp {
        operation: Operation::Request,
        sender_mac: ours,
        sender_address: cast::NEWCOMER,
        target_mac: MacAddress::new([0; 6]),
        target_address: cast::ADDRESS,
    };
    let mut frame = [0; FRAME_LEN];
    question.encode(&mut frame, ours, MacAddress::BROADCAST);
    // A lost question is one without answer.
    let _ = socket.send(&frame);
    let mut owners = BTreeSet::new();
    while let Some(rest) = GRID.checked_sub(asked.elapsed()) {
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let patience = u16::try_from(rest.as_millis() + 1).expect("a few milliseconds");
        let _ = poll(&mut ready, PollTimeout::from(patience));
        if let Some(owner) = receive(socket) {
            owners.insert(owner);
        }
    }
    Round { asked, owners: owners.len() }
}

/// Who answered us, if somebody did.
fn receive(mut socket: &Socket) -> Option<[u8; 6]> {
    let mut frame = [0; 128];
    let length = io::Read::read(&mut socket, &mut frame).ok()?;
    let arp = Arp::parse(&frame[..length])?;
    let answers = arp.operation == Operation::Reply
        && arp.sender_address == cast::ADDRESS
        && arp.target_address == cast::NEWCOMER;
    answers.then(|| arp.sender_mac.octets())
}

fn longest_dispute(rounds: &[Round]) -> Duration {
    let disputes = rounds.chunk_by(|one, next| (one.owners > 1) == (next.owners > 1));
    let disputes = disputes.filter(|chunk| chunk[0].owners > 1);
    // A round stands for the time until the next.
    disputes.map(|chunk| chunk[chunk.len() - 1].asked - chunk[0].asked + GRID).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dispute_is_a_run_of_rounds_with_several_owners() {
        let start = Instant::now();
        let of = |owners: &[usize]| {
            let round = |(index, &owners): (u32, &usize)| Round { asked: start + GRID * index, owners };
            let rounds: Vec<Round> = (0..).zip(owners).map(round).collect();
            longest_dispute(&rounds).as_millis()
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[0, 1, 1, 0]), 0);
        assert_eq!(of(&[1, 2, 1, 2, 3, 2, 1]), 60);
        assert_eq!(of(&[2]), 20);
    }
}
