//! The kernel's packet filter, nf_tables: tables of our own.
//!
//! * [`Nftables`] performs [`Step`]s, all of them or none.
//! * [`Match`] and [`Field`] are what a rule can look at.
//! * [`Watch`] says when somebody else has changed one of our tables.
//!
//! A table is of one [`Family`]. Linux 4.1 is enough; a table that goes with the process that made it
//! needs 5.12 ([`Step::AddTable`]).

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, NetlinkMessage};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::Error;
use crate::channel::{Channel, Received, Wait};
use crate::fault::Fault;
use crate::wire::{self, Message, Messages, Verdict, append};

mod rule;
mod step;
mod watch;

pub use rule::{Field, Match};
pub use step::{Element, Fate, Hook, Step};
pub use watch::Watch;

/// What the chains of a table see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// ARP. Another one of the tables of the same name.
    Arp,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Arp => "arp",
        })
    }
}

impl Family {
    fn number(self) -> NetfilterProtoFamily {
        match self {
            Self::Inet => NetfilterProtoFamily::Inet,
            Self::Arp => NetfilterProtoFamily::ARP,
        }
    }
}

/// A socket that changes tables, in the network namespace of the thread that opened it. A table that
/// is owned by the socket goes when this is dropped.
pub struct Nftables {
    channel: Channel,
    /// Of the next message.
    sequence: u32,
    /// The messages of one transaction, kept to use the memory again.
    outgoing: Vec<u8>,
}

impl Nftables {
    /// Opens one. To change something needs CAP_NET_ADMIN.
    pub fn open() -> Result<Self, Error> {
        let failed = |source| Error::Socket { operation: "open a netfilter socket".into(), source };
        let channel = Channel::open(NETLINK_NETFILTER, BUFFER).map_err(failed)?;
        // As with a requester: without them the answers are merely poorer, or longer.
        let _ = channel.socket().set_ext_ack(true);
        let _ = channel.socket().set_cap_ack(true);
        channel.enlarge_send_buffer(BUFFER);
        Ok(Self { channel, sequence: 1, outgoing: Vec::new() })
    }

    /// The socket's netlink port. What it changes carries it.
    pub fn port(&self) -> u32 {
        self.channel.port()
    }

    /// Performs the steps on a table of [`Family::Inet`] in order, in one transaction: packets see all of
    /// them or none.
    ///
    /// # Errors
    ///
    /// What the kernel says of the first step that it refuses; nothing has changed then. Where there
    /// is no nf_tables it is `EOPNOTSUPP`, `EPROTONOSUPPORT` or `EINVAL`.
    pub fn commit(&mut self, table: &str, steps: &[Step]) -> Result<(), Error> {
        self.commit_all(table, &[(Family::Inet, steps)])
    }

    /// As [`commit`](Self::commit), for tables of the same name in several families, in one
    /// transaction.
    ///
    /// # Errors
    ///
    /// As with [`commit`](Self::commit).
    pub fn commit_all(&mut self, table: &str, changes: &[(Family, &[Step])]) -> Result<(), Error> {
        let first = self.sequence;
        let mut messages = Vec::new();
        for (family, step) in steps_of(changes) {
            for (flags, message) in step.messages(family, table) {
                let header = NetfilterHeader::new(family.number(), VERSION, 0);
                messages
                    .push((flags, NetfilterMessage::new(header, NetfilterMessageInner::NfTables(message))));
            }
        }
        let Some((flags, _)) = messages.last_mut() else { return Ok(()) };
        // A refusal is answered in any case, and what is in front of the last has been performed with it.
        *flags |= NLM_F_ACK;
        // The message that begins the transaction answers for the whole.
        let mut transaction = Transaction { first, length: messages.len() + 1, done: false };
        self.outgoing.clear();
        self.append(0, bracket(ControlMessage::BatchBegin));
        messages.into_iter().for_each(|(flags, message)| self.append(flags, message));
        self.append(0, bracket(ControlMessage::BatchEnd));
        let result = match self.channel.send(&self.outgoing) {
            Ok(()) => self.collect(&mut transaction),
            Err(error) => Err((0, Fault::from(error))),
        };
        result.map_err(|(position, fault)| {
            // Whatever else is to come belongs to steps that were not performed.
            let _ = self.channel.drain();
            fault.error(operation_at(position, table, changes))
        })
    }

    fn append(&mut self, flags: u16, message: NetfilterMessage) {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        append(&mut self.outgoing, message, self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Waits until the last step is acknowledged or one refused, and says which.
    fn collect(&mut self, transaction: &mut Transaction) -> Result<(), (usize, Fault)> {
        let whole = |fault| (0, fault);
        while !transaction.done {
            match self.channel.receive(Wait::Answer).map_err(|error| whole(error.into()))? {
                Received::Datagram(length) => {
                    for message in Messages::new(self.channel.datagram(length)) {
                        transaction.answer(&message.map_err(|detail| whole(Fault::Malformed(detail)))?)?;
                    }
                }
                Received::Truncated(length) => return Err(whole(Fault::Truncated(length))),
                Received::Overrun => return Err(whole(Fault::Overrun)),
                Received::Nothing => return Err(whole(Fault::Timeout)),
            }
        }
        Ok(())
    }
}

impl AsFd for Nftables {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn steps_of<'a>(changes: &[(Family, &'a [Step])]) -> impl Iterator<Item = (Family, &'a Step)> {
    changes.iter().flat_map(|&(family, steps)| steps.iter().map(move |step| (family, step)))
}

/// What the message at this place of the transaction was to do. Only said of one that was refused: what is renewed all
/// the time must not take the time for words.
fn operation_at(position: usize, table: &str, changes: &[(Family, &[Step])]) -> String {
    let mut each = steps_of(changes)
        .flat_map(|(family, step)| std::iter::repeat_n((family, step), step.messages(family, table).len()));
    let at = position.checked_sub(1).and_then(|position| each.nth(position));
    at.map_or_else(|| format!("change the table {table}"), |(family, step)| step.operation(family, table))
}

/// What is awaited of a transaction that was sent.
struct Transaction {
    /// Sequence number of the message that begins it; the steps follow.
    first: u32,
    /// Messages with an operation of their own: the beginning and the steps.
    length: usize,
    /// The last one has been acknowledged.
    done: bool,
}

impl Transaction {
    /// Enters an answer. The beginning is only ever refused, and with it all.
    fn answer(&mut self, message: &Message<'_>) -> Result<(), (usize, Fault)> {
        let position = message.sequence.wrapping_sub(self.first) as usize;
        if message.kind != NLMSG_ERROR || position >= self.length {
            return Ok(());
        }
        match wire::verdict(message) {
            Ok(Verdict::Acknowledged) => {
                self.done |= position + 1 == self.length;
                Ok(())
            }
            Ok(Verdict::Refused(errno, words)) => Err((position, Fault::Refused(errno, words))),
            Err(detail) => Err((position, Fault::Malformed(detail))),
        }
    }
}

/// A message that begins or ends a transaction.
fn bracket(message: ControlMessage) -> NetfilterMessage {
    /// `NFNL_SUBSYS_NFTABLES`: whose transaction it is.
    const NFTABLES: u16 = 10;
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, VERSION, NFTABLES), message)
}

/// `NFNETLINK_V0`
const VERSION: u8 = 0;

/// What is asked for as buffers in bytes.
const BUFFER: usize = 1 << 20;

/// For the fuzzer: an answer, while one step is open.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(message: &Message<'_>) {
    let mut transaction = Transaction { first: message.sequence, length: 1, done: false };
    let refused = transaction.answer(message).is_err();
    assert!(!refused || !transaction.done, "what is refused is not done");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{hex, only};

    fn transaction() -> Transaction {
        Transaction { first: 76, length: 3, done: false }
    }

    /// `EEXIST` to sequence number 77.
    const REFUSED: &str = "24000000 0200 0001 4d000000 70aa6b86 efffffff 3c000000000a05064d00000000000000";

    #[test]
    fn a_step_that_is_refused_is_named() {
        let refused = transaction().answer(&only(&hex(REFUSED)));
        assert!(matches!(refused, Err((1, Fault::Refused(17, None)))), "{refused:?}");
    }

    #[test]
    fn the_beginning_is_refused_for_the_whole() {
        let mut whole = Transaction { first: 77, ..transaction() };
        assert!(matches!(whole.answer(&only(&hex(REFUSED))), Err((0, Fault::Refused(17, None)))));
    }

    #[test]
    fn the_last_step_is_acknowledged_and_answers_to_others_do_not_count() {
        let acknowledged = hex(&REFUSED.replace("efffffff", "00000000"));
        // Sequence number 77 is the last of two steps, the first of them, and of none.
        for (first, done) in [(75, true), (76, false), (74, false), (78, false), (u32::MAX, false)] {
            let mut transaction = Transaction { first, ..transaction() };
            transaction.answer(&only(&acknowledged)).expect("it worked");
            assert_eq!(transaction.done, done, "{first}");
        }
    }

    #[test]
    fn a_message_belongs_to_the_step_that_it_is_of() {
        let renew = |set| Step::Renew { set, elements: vec![(Element::number(1), 1000)] };
        let inet = [renew("live"), Step::RemoveTable];
        let arp = [renew("silenced")];
        let changes = [(Family::Inet, &inet[..]), (Family::Arp, &arp[..])];
        let at = |position| operation_at(position, "t", &changes);
        let first = inet[0].messages(Family::Inet, "t").len();
        assert_eq!(at(0), "change the table t");
        assert_eq!(at(1), inet[0].operation(Family::Inet, "t"));
        assert_eq!(at(first), at(1), "it takes several");
        assert_eq!(at(first + 1), inet[1].operation(Family::Inet, "t"));
        assert_eq!(at(first + 2), arp[0].operation(Family::Arp, "t"));
    }

    #[test]
    fn a_transaction_is_bracketed() {
        let mut bytes = Vec::new();
        append(&mut bytes, NetlinkMessage::from(bracket(ControlMessage::BatchBegin)), 1);
        assert_eq!(bytes, hex("14000000 1000 0000 01000000 00000000  00 00 000a"));
        bytes.clear();
        append(&mut bytes, NetlinkMessage::from(bracket(ControlMessage::BatchEnd)), 2);
        assert_eq!(bytes, hex("14000000 1100 0000 02000000 00000000  00 00 000a"));
    }
}
