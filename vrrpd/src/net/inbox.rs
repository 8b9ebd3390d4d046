//! Reading packets from a socket, each with the time at which the kernel received it.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::Socket;
use vrrp_proto::Instant;

use crate::clock;

/// Room for one packet, and what is remembered between two.
#[derive(Debug)]
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    control: Vec<u8>,
    /// Nothing that is read from here on arrived before this.
    earliest: Instant,
    /// Packets that the kernel had dropped before the last one came.
    dropped: u32,
}

/// One packet, and what the kernel says of it.
pub(super) struct Packet<'a> {
    pub(super) octets: &'a [u8],
    pub(super) arrived: Instant,
    /// IPv6 only, as the two that follow.
    pub(super) source: Option<Ipv6Addr>,
    pub(super) destination: Option<IpAddr>,
    pub(super) hop_limit: Option<u8>,
}

impl Inbox {
    /// For packets of `longest` octets, of a socket whose time stamps this turns on.
    pub(super) fn new(socket: &Socket, longest: usize) -> io::Result<Self> {
        setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(socket, sockopt::RxqOvfl, &1)?;
        Ok(Self {
            buffer: vec![0; longest].into(),
            control: cmsg_space!(TimeSpec, libc::in6_pktinfo, libc::c_int, u32),
            earliest: clock::now(),
            dropped: 0,
        })
    }

    /// Packets for which there had been no room, as of the last one that was read.
    pub(super) const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The next packet, or `None` when there is none.
    pub(super) fn next(&mut self, socket: &Socket) -> io::Result<Option<Packet<'_>>> {
        let room = self.buffer.len();
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let received = recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut self.control),
            MsgFlags::MSG_DONTWAIT,
        );
        let message = match received {
            Ok(message) => message,
            Err(Errno::EAGAIN) => {
                self.earliest = clock::now();
                return Ok(None);
            }
            Err(errno) => return Err(errno.into()),
        };
        let (mut stamp, mut destination, mut hop_limit) = (None, None, None);
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmTimestampns(time) => stamp = Some(Duration::from(time)),
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    destination = Some(info.ipi6_addr.s6_addr.into())
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
                ControlMessageOwned::RxqOvfl(dropped) => self.dropped = dropped,
                _ => {}
            }
        }
        let source = message.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in6).map(SockaddrIn6::ip);
        let length = message.bytes;
        let arrived = stamp.map_or_else(clock::now, |stamp| clock::arrival(stamp, self.earliest));
        self.earliest = arrived;
        Ok(Some(Packet { octets: &self.buffer[..length.min(room)], arrived, source, destination, hop_limit }))
    }
}
