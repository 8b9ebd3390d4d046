//! Tells that a route or rule of ours is gone, whoever took it.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use socket2::{SockFilter, SockRef};

use crate::channel::{Channel, Received, Wait};
use crate::{Error, PROTOCOL};

/// A socket that wakes when somebody else removes a route with our mark, or any rule.
///
/// The kernel sorts out the rest, so that a host with the routes of the whole Internet wakes nobody. It
/// says nothing of IPv4 routes that go with their link or with an address that they need: after such
/// an event whoever has routes asks for them again.
pub struct RouteWatch {
    channel: Channel,
}

impl RouteWatch {
    /// Opens one that leaves out what the socket with this port
    /// ([`Requester::port`](crate::Requester::port)) asks for. Needs no right.
    ///
    /// # Errors
    ///
    /// With the operation that failed.
    pub fn open(port: u32) -> Result<Self, Error> {
        let failed = |source| Error::Socket { operation: "watch routes and rules".into(), source };
        let channel = Channel::open(NETLINK_ROUTE, RECEIVE_BUFFER).map_err(failed)?;
        SockRef::from(channel.socket()).attach_filter(&filter(port)).map_err(failed)?;
        let rules = [libc::RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE];
        for group in [libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV6_ROUTE].into_iter().chain(rules) {
            channel.socket().add_membership(group).map_err(failed)?;
        }
        Ok(Self { channel })
    }

    /// Has something gone since the last call? Events that were lost count.
    pub fn any_gone(&mut self) -> bool {
        let mut any = false;
        while !matches!(self.channel.receive(Wait::No), Ok(Received::Nothing) | Err(_)) {
            any = true;
        }
        any
    }
}

impl AsFd for RouteWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Passes `RTM_DELROUTE` with our mark and `RTM_DELRULE`, unless that port asked for it.
fn filter(port: u32) -> [SockFilter; 9] {
    /// Where the header (`struct nlmsghdr`) has type and port, and `struct rtmsg` behind it the protocol.
    const TYPE_AT: u32 = 4;
    const PORT_AT: u32 = 12;
    const PROTOCOL_AT: u32 = 16 + 5;
    let code = |code: u32| u16::try_from(code).expect("opcodes have 16 bits");
    let load = |size, at| SockFilter::new(code(libc::BPF_LD | size | libc::BPF_ABS), 0, 0, at);
    let jump = |value, met, else_| {
        SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), met, else_, value)
    };
    let pass = |octets| SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, octets);
    // The filter reads numbers in network order, the header has them in the order of the host.
    [
        load(libc::BPF_H, TYPE_AT),
        jump(u32::from(libc::RTM_DELROUTE.to_be()), 0, 2),
        load(libc::BPF_B, PROTOCOL_AT),
        jump(u32::from(PROTOCOL), 1, 4),
        jump(u32::from(libc::RTM_DELRULE.to_be()), 0, 3),
        load(libc::BPF_W, PORT_AT),
        jump(port.to_be(), 1, 0),
        pass(u32::MAX),
        pass(0),
    ]
}

/// What is asked for as receive buffer in bytes. What does not fit counts all the same.
const RECEIVE_BUFFER: usize = 1 << 18;
/// `RTNLGRP_IPV6_RULE` is not in `libc`.
const RTNLGRP_IPV6_RULE: u32 = 19;
