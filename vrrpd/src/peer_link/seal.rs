//! How a datagram of the peer link is protected: who wrote it, for whom, and when.
//!
//! ```text
//!   octets 0..4    "vpl" and the version, 1
//!   octets 4..36   HMAC-SHA256 of everything else, with the key that the nodes share
//!   octets 36..    JSON: Envelope
//! ```
//!
//! What is not from somebody with the key fails its test. What was recorded and is sent again fails
//! one of three: its wall-clock time is more than [`WINDOW`] away; its sequence number is not above
//! the last one of the sender's epoch, a random number that each start draws; or it does not name our
//! own epoch, so it was not written for this process. A sender that has not heard us yet cannot name
//! it: its datagram is a greeting that shows its epoch and nothing else, and which the next thing that
//! we send answers.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Message;
use crate::control::time::{WallTime, age};

const MAGIC: [u8; 4] = *b"vpl\x01";
const TAG_OCTETS: usize = 32;
/// The farthest that the clocks of two nodes may be apart.
pub(super) const WINDOW: std::time::Duration = std::time::Duration::from_secs(30);

/// Closes and opens datagrams.
pub(super) struct Seal {
    key: hmac::Key,
    node: String,
    /// Of this process.
    epoch: u64,
    sequence: u64,
}

/// What is remembered of another node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tracked {
    /// Of its process; 0: not heard yet.
    epoch: u64,
    /// The last of that epoch.
    sequence: u64,
    /// The latest of all its datagrams.
    latest: Option<WallTime>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    node: String,
    epoch: u64,
    sequence: u64,
    time: WallTime,
    /// The epoch of the receiver, as the sender knows it; 0: not heard yet.
    to_epoch: u64,
    #[serde(flatten)]
    message: Message,
}

/// Why a datagram was not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it is not one of [peer_link] peers")]
    Stranger,
    #[error("not a message of this version of the peer link")]
    Foreign,
    #[error("its key is not ours: key_file differs")]
    Key,
    #[error("its contents make no sense ({0}); are both of the same version?")]
    Garbled(String),
    #[error("it is our own: peers names this node")]
    Own,
    #[error("its clock and ours are {0} apart, more than 30 s: set the clocks (chronyc tracking)")]
    Clock(String),
    #[error("it was sent before: its number is not above the last one")]
    Replayed,
    /// No fault: the sender had not heard this process yet, and is known from here on.
    #[error("written for nobody yet")]
    Greeting,
    #[error("it was written for an earlier process of this node")]
    Stale,
}

impl Seal {
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(super) fn new(secret: Vec<u8>, node: &str) -> Result<Self, String> {
        let mut epoch = [0; 8];
        SystemRandom::new().fill(&mut epoch).map_err(|_| "the system has no random numbers".to_owned())?;
        let epoch = u64::from_be_bytes(epoch).max(1);
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            node: node.to_owned(),
            epoch,
            sequence: 0,
        })
    }

    /// The datagram that says `message` to a peer.
    pub(super) fn close(&mut self, message: Message, to: &Tracked, time: WallTime) -> Vec<u8> {
        self.sequence += 1;
        let envelope = Envelope {
            node: self.node.clone(),
            epoch: self.epoch,
            sequence: self.sequence,
            time,
            to_epoch: to.epoch,
            message,
        };
        let body =
            serde_json::to_vec(&envelope).expect("messages have string keys and no failing serializer");
        let mut datagram = Vec::with_capacity(MAGIC.len() + TAG_OCTETS + body.len());
        datagram.extend_from_slice(&MAGIC);
        datagram.extend_from_slice(self.tag(&body).as_ref());
        datagram.extend_from_slice(&body);
        datagram
    }

    /// Who sent the datagram, and what it says.
    ///
    /// # Errors
    ///
    /// It is not accepted, and nothing was learnt from it; or it is a greeting.
    pub(super) fn open(
        &self,
        datagram: &[u8],
        from: &mut Tracked,
        now: WallTime,
    ) -> Result<(String, Message), Fault> {
        let rest = datagram.strip_prefix(&MAGIC).ok_or(Fault::Foreign)?;
        let (tag, body) = rest.split_at_checked(TAG_OCTETS).ok_or(Fault::Foreign)?;
        let mut covered = MAGIC.to_vec();
        covered.extend_from_slice(body);
        // In constant time.
        hmac::verify(&self.key, &covered, tag).map_err(|_| Fault::Key)?;
        let envelope: Envelope =
            serde_json::from_slice(body).map_err(|error| Fault::Garbled(error.to_string()))?;
        if envelope.epoch == self.epoch {
            return Err(Fault::Own);
        }
        let apart = now.since(envelope.time).max(envelope.time.since(now));
        if apart > WINDOW {
            return Err(Fault::Clock(age(apart)));
        }
        self.is_new(&envelope, from)?;
        *from = Tracked {
            epoch: envelope.epoch,
            sequence: envelope.sequence,
            latest: Some(from.latest.map_or(envelope.time, |latest| latest.max(envelope.time))),
        };
        match envelope.to_epoch {
            0 => Err(Fault::Greeting),
            to if to == self.epoch => Ok((envelope.node, envelope.message)),
            _ => Err(Fault::Stale),
        }
    }

    /// Numbers rise within an epoch, and a new epoch begins later than all of the one before.
    fn is_new(&self, envelope: &Envelope, from: &Tracked) -> Result<(), Fault> {
        let newer = if envelope.epoch == from.epoch {
            envelope.sequence > from.sequence
        } else {
            from.latest.is_none_or(|latest| envelope.time > latest)
        };
        if newer { Ok(()) } else { Err(Fault::Replayed) }
    }

    fn tag(&self, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&MAGIC);
        context.update(body);
        context.sign()
    }
}

/// For the fuzzer: a datagram as it came, and the same octets as what somebody with the key wrote.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(octets: &[u8]) {
    let mut seal = Seal::new(b"0123456789abcdef".to_vec(), "bootstrap-a").expect("random numbers");
    seal.epoch = 1;
    let now: WallTime = "2026-11-23T07:00:00Z".parse().expect("a time");
    let mut from = Tracked::default();
    let forged = seal.open(octets, &mut from, now);
    assert!(matches!(forged, Err(Fault::Foreign | Fault::Key)), "{forged:?}");
    let datagram = [&MAGIC[..], seal.tag(octets).as_ref(), octets].concat();
    if let Ok((_, message)) = seal.open(&datagram, &mut from, now) {
        assert_eq!(seal.open(&datagram, &mut from, now), Err(Fault::Replayed));
        let json = serde_json::to_vec(&message).expect("messages have string keys");
        assert_eq!(serde_json::from_slice::<Message>(&json).expect("it was one"), message);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::testing::at;

    const SECRET: &[u8] = b"0123456789abcdef";

    fn seal(secret: &[u8]) -> Seal {
        Seal::new(secret.to_vec(), "bootstrap-a").expect("random numbers")
    }

    fn now() -> WallTime {
        at("2026-11-23T07:00:00Z")
    }

    fn later(seconds: u64) -> WallTime {
        at(&format!("2026-11-23T07:{:02}:{:02}Z", seconds / 60, seconds % 60))
    }

    /// Two that have heard each other, with what each remembers of the other.
    fn acquainted() -> (Seal, Tracked, Seal, Tracked) {
        let (mut a, mut b) = (seal(SECRET), seal(SECRET));
        let (mut of_a, mut of_b) = (Tracked::default(), Tracked::default());
        let greeting = a.close(Message::Alive, &of_b, now());
        assert_eq!(b.open(&greeting, &mut of_a, now()), Err(Fault::Greeting));
        let answer = b.close(Message::Alive, &of_a, now());
        assert!(a.open(&answer, &mut of_b, now()).is_ok(), "b names the epoch of a");
        (a, of_a, b, of_b)
    }

    #[test]
    fn what_was_closed_is_opened_once() {
        let (mut a, mut of_a, b, of_b) = acquainted();
        let datagram = a.close(Message::Alive, &of_b, later(1));
        assert_eq!(b.open(&datagram, &mut of_a, later(1)), Ok(("bootstrap-a".to_owned(), Message::Alive)));
        assert_eq!(b.open(&datagram, &mut of_a, later(2)), Err(Fault::Replayed));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let (mut a, of_a, b, of_b) = acquainted();
        let datagram = a.close(Message::Alive, &of_b, now());
        for octet in 0..datagram.len() {
            for bit in 0..8 {
                let mut changed = datagram.clone();
                changed[octet] ^= 1 << bit;
                let fault = b.open(&changed, &mut of_a.clone(), now()).expect_err("it was changed");
                assert!(matches!(fault, Fault::Key | Fault::Foreign), "octet {octet}: {fault:?}");
            }
        }
        for length in 0..datagram.len() {
            assert!(b.open(&datagram[..length], &mut of_a.clone(), now()).is_err(), "{length} octets");
        }
    }

    #[test]
    fn another_key_is_not_ours() {
        let (mut stranger, b) = (seal(b"another secret 0"), seal(SECRET));
        let datagram = stranger.close(Message::Alive, &Tracked::default(), now());
        assert_eq!(b.open(&datagram, &mut Tracked::default(), now()), Err(Fault::Key));
    }

    #[test]
    fn what_was_written_for_an_earlier_process_says_nothing_to_a_later_one() {
        let (mut a, _, _, of_b) = acquainted();
        let recorded = a.close(Message::Alive, &of_b, later(1));
        let restarted = seal(SECRET);
        assert_eq!(restarted.open(&recorded, &mut Tracked::default(), later(2)), Err(Fault::Stale));
    }

    #[test]
    fn an_earlier_process_of_the_other_node_is_not_believed_after_a_later_one() {
        let (mut a, mut of_a, b, of_b) = acquainted();
        let recorded = a.close(Message::Alive, &of_b, later(1));
        let mut again = seal(SECRET);
        let fresh = again.close(Message::Alive, &of_b, later(2));
        assert!(b.open(&fresh, &mut of_a, later(2)).is_ok());
        assert_eq!(b.open(&recorded, &mut of_a, later(3)), Err(Fault::Replayed));
    }

    #[test]
    fn clocks_that_are_far_apart_are_named() {
        let (mut a, of_a, b, of_b) = acquainted();
        let datagram = a.close(Message::Alive, &of_b, later(0));
        assert!(b.open(&datagram, &mut of_a.clone(), later(30)).is_ok());
        let Err(Fault::Clock(_)) = b.open(&datagram, &mut of_a.clone(), later(31)) else {
            panic!("accepted")
        };
        let early = a.close(Message::Alive, &of_b, later(40));
        let Err(Fault::Clock(words)) = b.open(&early, &mut of_a.clone(), now()) else { panic!("accepted") };
        assert_eq!(words, age(Duration::from_secs(40)));
    }

    #[test]
    fn our_own_words_come_back_in_vain() {
        let mut a = seal(SECRET);
        let datagram = a.close(Message::Alive, &Tracked::default(), now());
        assert_eq!(a.open(&datagram, &mut Tracked::default(), now()), Err(Fault::Own));
    }
}
