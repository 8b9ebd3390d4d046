//! The raw socket that hears advertisements, with the kernel's time stamps.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use vrrp_proto::packet::{Datagram, ParseError, ip};
use vrrp_proto::{Family, Instant};

use super::doing;
use crate::clock;

/// Longest advertisement with its IP header, options and all.
const BUFFER: usize = 60 + vrrp_proto::node::MESSAGE_MAX;

/// Hears the protocol 112 of one interface and family.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Socket,
    family: Family,
    group: IpAddr,
    buffer: Box<[u8]>,
    control: Vec<u8>,
    /// Nothing that is read from here on arrived before this.
    earliest: Instant,
}

/// What came in.
pub(crate) enum Incoming<'a> {
    /// A packet and when the kernel received it.
    Datagram(Datagram<'a>, Instant),
    /// Octets that are no IP packet.
    Damaged(ParseError),
}

impl Receiver {
    pub(super) fn open(interface: &str, index: u32, family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::Ipv4 => Domain::IPV4,
            Family::Ipv6 => Domain::IPV6,
        };
        let protocol = Protocol::from(i32::from(ip::PROTOCOL));
        let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))
            .map_err(doing("open a raw socket for VRRP (it takes CAP_NET_RAW)"))?;
        socket
            .bind_device(Some(interface.as_bytes()))
            .map_err(doing("bind the VRRP socket to the interface"))?;
        let join = doing("join the VRRP multicast group");
        match family.group() {
            IpAddr::V4(group) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index)).map_err(join)?;
                // Only what this socket joined, not what others on this host joined.
                socket.set_multicast_all_v4(false)?;
            }
            IpAddr::V6(group) => {
                socket.join_multicast_v6(&group, index).map_err(join)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            }
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self {
            socket,
            family,
            group: family.group(),
            buffer: vec![0; BUFFER].into(),
            control: cmsg_space!(TimeSpec, libc::in6_pktinfo, libc::c_int),
            earliest: clock::now(),
        })
    }

    /// The next packet, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// What the socket says, for example that the interface is down; the next call may work.
    pub(crate) fn next(&mut self) -> io::Result<Option<Incoming<'_>>> {
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let received = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
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
                _ => {}
            }
        }
        let source = message.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in6).map(SockaddrIn6::ip);
        let length = message.bytes;
        let arrived = stamp.map_or_else(clock::now, |stamp| clock::arrival(stamp, self.earliest));
        self.earliest = arrived;
        let octets = &self.buffer[..length.min(BUFFER)];
        let datagram = match self.family {
            // An IPv4 raw socket hands over the header.
            Family::Ipv4 => Datagram::parse_ipv4(octets),
            // An IPv6 one hands over what stood in it.
            Family::Ipv6 => Ok(Datagram {
                source: source.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6),
                destination: destination.map_or(self.group, IpAddr::V6),
                hop_limit: hop_limit.unwrap_or(0),
                payload: octets,
            }),
        };
        Ok(Some(match datagram {
            Ok(datagram) => Incoming::Datagram(datagram, arrived),
            Err(error) => Incoming::Damaged(error),
        }))
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
