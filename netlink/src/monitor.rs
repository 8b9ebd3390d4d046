//! Reports what changes about links and addresses, whoever changed it.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::NLMSG_OVERRUN;
use netlink_sys::protocols::NETLINK_ROUTE;
use socket2::{SockFilter, SockRef};

use crate::channel::{Channel, Received, Wait};
use crate::wire::{Message, Messages};
use crate::{AddressEntry, Error, Link, LinkIndex};

/// Something has changed in the network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link has appeared or changed; this is how it is now.
    LinkChanged(Link),
    /// A link is gone, or has moved to another namespace.
    LinkGone {
        /// Its number.
        index: LinkIndex,
        /// The name that it had.
        name: String,
    },
    /// An address has appeared or changed, or was renewed; this is how it is now.
    ///
    /// An IPv6 address under duplicate address detection, or on a link that is down, is listed but
    /// not announced before it is in use.
    AddressChanged {
        /// The address.
        entry: AddressEntry,
        /// Port of the socket that asked for it ([`Requester::port`](crate::Requester::port)); 0: the
        /// kernel itself, or found by [`Table::replace`](crate::Table::replace).
        port: u32,
    },
    /// An address is gone.
    AddressGone {
        /// As it was last.
        entry: AddressEntry,
        /// As above. When an address expires, or goes with its link, it is 0.
        port: u32,
    },
    /// Events were lost: what we know is stale. List links and addresses, and hand them to
    /// [`Table::replace`](crate::Table::replace). What was waiting is older than such a list and has
    /// been thrown away.
    Overrun,
}

/// A socket that hears of changes to links and addresses, in the network namespace of the thread
/// that opened it. Open it before the first list is made, so that nothing falls in between.
///
/// Its file is readable while events wait; [`Monitor::next`] never does.
pub struct Monitor {
    channel: Channel,
    /// The part of the channel's datagram that has not been read: from, to.
    unread: (usize, usize),
}

impl Monitor {
    /// Opens one. Needs no right.
    pub fn open() -> Result<Self, Error> {
        let failed = |source| Error::Socket { operation: "open the netlink monitor".into(), source };
        let channel = Channel::open(NETLINK_ROUTE, RECEIVE_BUFFER).map_err(failed)?;
        for group in [libc::RTNLGRP_LINK, libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR] {
            channel.socket().add_membership(group).map_err(failed)?;
        }
        Ok(Self { channel, unread: (0, 0) })
    }

    /// From here on, addresses that the socket with this port ([`Requester::port`](crate::Requester::port))
    /// adds or renews are not told: whoever asked knows, and a renewal each second need not wake
    /// anybody. Their removal is told as ever. A [`Table`](crate::Table) that is fed by this monitor
    /// alone lacks them. Only of IPv4: the kernel does not say who asked for an IPv6 address.
    pub fn ignore_additions_by(&mut self, port: u32) -> Result<(), Error> {
        /// Where the header of a message (`struct nlmsghdr`) has its type and its port.
        const TYPE_AT: u32 = 4;
        const PORT_AT: u32 = 12;
        let code = |code: u32| u16::try_from(code).expect("opcodes have 16 bits");
        let load = |size, at| SockFilter::new(code(libc::BPF_LD | size | libc::BPF_ABS), 0, 0, at);
        let unless =
            |value, skip| SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, skip, value);
        let pass = |octets| SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, octets);
        // The filter reads numbers in network order, the header has them in the order of the host.
        let filter = [
            load(libc::BPF_H, TYPE_AT),
            unless(u32::from(libc::RTM_NEWADDR.to_be()), 3),
            load(libc::BPF_W, PORT_AT),
            unless(port.to_be(), 1),
            pass(0),
            pass(u32::MAX),
        ];
        SockRef::from(self.channel.socket())
            .attach_filter(&filter)
            .map_err(|source| Error::Socket { operation: "filter the netlink monitor".into(), source })
    }

    /// The next event; `None`: nothing is waiting.
    ///
    /// An error concerns one message, after which it is worth to go on: a [`Error::Malformed`] one
    /// has been passed over.
    #[expect(clippy::should_implement_trait, reason = "an iterator would seem to end at None")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            while let Some(message) = self.read() {
                match message {
                    Ok(Some(Event::Overrun)) => return self.overrun(),
                    Ok(Some(event)) => return Ok(Some(event)),
                    Ok(None) => (),
                    Err(detail) => return Err(Error::Malformed { operation: OPERATION.into(), detail }),
                }
            }
            match self.channel.receive(Wait::No) {
                Ok(Received::Datagram(length)) => self.unread = (0, length),
                Ok(Received::Nothing) => return Ok(None),
                // Whatever it was, it is lost.
                Ok(Received::Truncated(_) | Received::Overrun) => return self.overrun(),
                Err(source) => return Err(Error::Socket { operation: OPERATION.into(), source }),
            }
        }
    }

    /// Reads one message of the datagram; the outer `None`: there is none left.
    fn read(&mut self) -> Option<Result<Option<Event>, String>> {
        let (from, to) = self.unread;
        let mut messages = Messages::new(&self.channel.datagram(to)[from..]);
        let event = match messages.next()? {
            Ok(message) => Event::parse(&message),
            Err(detail) => Err(detail),
        };
        self.unread.0 = to - messages.remaining();
        Some(event)
    }

    fn overrun(&mut self) -> Result<Option<Event>, Error> {
        self.unread = (0, 0);
        match self.channel.drain() {
            Ok(()) => Ok(Some(Event::Overrun)),
            Err(source) => Err(Error::Socket { operation: OPERATION.into(), source }),
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Event {
    /// `None`: of no interest.
    pub(crate) fn parse(message: &Message<'_>) -> Result<Option<Self>, String> {
        let port = message.port;
        Ok(match message.kind {
            libc::RTM_NEWLINK => Link::parse(message.payload)?.map(Self::LinkChanged),
            libc::RTM_DELLINK => Link::parse(message.payload)?
                .map(|link| Self::LinkGone { index: link.index, name: link.name }),
            libc::RTM_NEWADDR => {
                AddressEntry::parse(message.payload)?.map(|entry| Self::AddressChanged { entry, port })
            }
            libc::RTM_DELADDR => {
                AddressEntry::parse(message.payload)?.map(|entry| Self::AddressGone { entry, port })
            }
            NLMSG_OVERRUN => Some(Self::Overrun),
            _ => None,
        })
    }
}

const OPERATION: &str = "watch links and addresses";

/// What is asked for as receive buffer in bytes: some thousand events until they are read.
const RECEIVE_BUFFER: usize = 2 << 20;
