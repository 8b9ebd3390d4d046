//! Hears who else changes our tables.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_NETFILTER;
use socket2::{SockFilter, SockRef};

use super::Family;
use crate::Error;
use crate::channel::{Channel, Received, Wait};
use crate::wire::{self, Message, Messages};

/// A socket that hears of every change of the filter, in the network namespace of the thread that
/// opened it. Only needed for a table that others can change: one without an owner.
///
/// Its file is readable while something waits; [`Watch::disturbed`] never does.
pub struct Watch {
    channel: Channel,
}

impl Watch {
    /// Opens one. Needs CAP_NET_ADMIN.
    pub fn open() -> Result<Self, Error> {
        let failed = |source| Error::Socket { operation: "open the nf_tables monitor".into(), source };
        let channel = Channel::open(NETLINK_NETFILTER, RECEIVE_BUFFER).map_err(failed)?;
        channel.socket().add_membership(NFNLGRP_NFTABLES).map_err(failed)?;
        Ok(Self { channel })
    }

    /// From here on, what the socket with this port ([`Nftables::port`](super::Nftables::port)) changes
    /// does not make the file readable: who renews elements all the time need not hear of it.
    pub fn ignore(&mut self, own: u32) -> Result<(), Error> {
        /// Where the header of a message (`struct nlmsghdr`) has its port.
        const PORT_AT: u32 = 12;
        let code = |code: u32| u16::try_from(code).expect("opcodes have 16 bits");
        // The filter reads numbers in network order, the header has them in the order of the host. What
        // one transaction has changed comes with one port.
        let filter = [
            SockFilter::new(code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), 0, 0, PORT_AT),
            SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, own.to_be()),
            SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, 0),
            SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX),
        ];
        SockRef::from(self.channel.socket())
            .attach_filter(&filter)
            .map_err(|source| Error::Socket { operation: "filter the nf_tables monitor".into(), source })
    }

    /// Takes in all that waits: has anybody but the socket with the port `own` changed the table of one
    /// of the families, or may have, because the kernel could not tell us all?
    pub fn disturbed(&mut self, families: &[Family], table: &str, own: u32) -> Result<bool, Error> {
        let mut disturbed = false;
        loop {
            match self.channel.receive(Wait::No) {
                Ok(Received::Datagram(length)) => {
                    for message in Messages::new(self.channel.datagram(length)) {
                        // What makes no sense may be anything.
                        disturbed |=
                            message.and_then(|message| is_of(&message, families, table, own)).unwrap_or(true);
                    }
                }
                Ok(Received::Truncated(_) | Received::Overrun) => disturbed = true,
                Ok(Received::Nothing) => return Ok(disturbed),
                Err(source) => {
                    return Err(Error::Socket { operation: "watch the nf_tables".into(), source });
                }
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Is it about the table, and caused by somebody else?
fn is_of(message: &Message<'_>, families: &[Family], table: &str, own: u32) -> Result<bool, String> {
    const HEADER_LEN: usize = 4;
    /// `NFTA_TABLE_NAME`, and so in messages about chains, rules, sets and elements.
    const TABLE: u16 = 1;
    const NEW_GENERATION: u16 = 15;
    let [subsystem, kind] = message.kind.to_be_bytes();
    if subsystem != NFTABLES || u16::from(kind) == NEW_GENERATION || message.port == own {
        return Ok(false);
    }
    let family = message.payload.first().copied();
    let attributes = message.payload.get(HEADER_LEN..).ok_or("no header of netfilter")?;
    let mut of_table = false;
    wire::attributes(attributes, |kind, value| {
        of_table |= kind == TABLE && value.strip_suffix(b"\0") == Some(table.as_bytes());
    })?;
    Ok(of_table && families.iter().any(|of| Some(u8::from(of.number())) == family))
}

/// `NFNL_SUBSYS_NFTABLES`
const NFTABLES: u8 = 10;

/// `NFNLGRP_NFTABLES`
const NFNLGRP_NFTABLES: u32 = 7;

/// What is asked for as receive buffer in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;
