//! The raw socket that hears advertisements, with the kernel's time stamps.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use libc::sock_filter;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use vrrp_proto::Family;
use vrrp_proto::packet::{Datagram, ip};

use super::inbox::Inbox;
use super::{Incoming, doing, filter, sys};

/// Longest advertisement with its IP header, options and all.
pub(super) const BUFFER: usize = 60 + vrrp_proto::node::MESSAGE_MAX;
/// Longest Authentication Header.
const SEAL_MAX: usize = (u8::MAX as usize + 2) * 4;

/// Room for what waits to be read, in octets as the kernel counts them: for a packet about a thousand.
/// A burst, or what comes while the thread waits for a processor, must not push out what a peer says.
const ROOM: usize = 2 << 20;

/// Hears some of the protocol 112 of one interface and family, or what of it is behind an Authentication
/// Header.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Arc<Socket>,
    family: Family,
    sealed: bool,
    inbox: Inbox,
    /// Packets that the kernel had no room for, as of the last look; its counter wraps around.
    dropped: u32,
}

impl Receiver {
    /// Hears what `program` passes.
    pub(super) fn open(
        interface: &str,
        index: u32,
        family: Family,
        groups: &BTreeSet<IpAddr>,
        program: &[sock_filter],
    ) -> io::Result<Self> {
        let socket = listen(interface, index, family, ip::PROTOCOL, groups, program)?;
        sys::make_room(&socket, ROOM);
        Self::of(socket, family, BUFFER, false)
    }

    /// Hears VRRP behind Authentication Headers, and nothing else of IPsec.
    pub(super) fn open_sealed(interface: &str, index: u32, groups: &BTreeSet<IpAddr>) -> io::Result<Self> {
        let family = Family::Ipv4;
        let program = filter::sealed(ip::PROTOCOL);
        let socket = listen(interface, index, family, ip::AUTHENTICATION_HEADER, groups, &program)?;
        Self::of(socket, family, BUFFER + SEAL_MAX, true)
    }

    fn of(socket: Socket, family: Family, longest: usize, sealed: bool) -> io::Result<Self> {
        let inbox = Inbox::new(&socket, longest)?;
        Ok(Self { socket: Arc::new(socket), family, sealed, inbox, dropped: 0 })
    }

    /// Its socket, for whoever changes what it passes.
    pub(super) fn socket(&self) -> Arc<Socket> {
        Arc::clone(&self.socket)
    }

    /// Packets that the kernel dropped since the last look, because more came than there was room for.
    pub(crate) fn newly_dropped(&mut self) -> u32 {
        // A kernel that does not tell says with the next packet what it had dropped before.
        let total = sys::dropped(&self.socket).unwrap_or(self.inbox.dropped());
        total.wrapping_sub(std::mem::replace(&mut self.dropped, total))
    }

    /// Has a packet told that there was no room for others before it, which
    /// [`newly_dropped`](Self::newly_dropped) has not counted?
    pub(crate) fn has_overrun(&self) -> bool {
        self.inbox.dropped() != self.dropped
    }

    /// The next packet, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// What the socket says, for example that the interface is down; the next call may work.
    pub(crate) fn next(&mut self) -> io::Result<Option<Incoming<'_>>> {
        let Some(packet) = self.inbox.next(&self.socket)? else { return Ok(None) };
        if self.sealed {
            let sealed = |datagram| Incoming::Sealed(datagram, packet.arrived);
            // What makes no sense may be IPsec's.
            return Ok(Some(Datagram::parse_sealed(packet.octets).map_or(Incoming::Nothing, sealed)));
        }
        let datagram = match self.family {
            // An IPv4 raw socket hands over the header.
            Family::Ipv4 => Datagram::parse_ipv4(packet.octets),
            // An IPv6 one hands over what stood in it.
            Family::Ipv6 => Ok(Datagram {
                source: packet.source.unwrap_or(Ipv6Addr::UNSPECIFIED).into(),
                destination: packet.destination.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
                hop_limit: packet.hop_limit.unwrap_or(0),
                payload: packet.octets,
            }),
        };
        Ok(Some(match datagram {
            Ok(datagram) => Incoming::Datagram(datagram, packet.arrived),
            Err(error) => Incoming::Damaged(error, packet.arrived),
        }))
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A raw socket for what `program` passes of a protocol of one interface, as a member of the groups.
fn listen(
    interface: &str,
    index: u32,
    family: Family,
    protocol: u8,
    groups: &BTreeSet<IpAddr>,
    program: &[sock_filter],
) -> io::Result<Socket> {
    let domain = match family {
        Family::Ipv4 => Domain::IPV4,
        Family::Ipv6 => Domain::IPV6,
    };
    let protocol = Protocol::from(i32::from(protocol));
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))
        .map_err(doing("open a raw socket for VRRP (it takes CAP_NET_RAW)"))?;
    // First of all: what it does not pass must not be there when the socket is read.
    filter::attach(&socket, program).map_err(doing("have the kernel sift what comes in of VRRP"))?;
    socket.bind_device(Some(interface.as_bytes())).map_err(doing("bind the VRRP socket to the interface"))?;
    match family {
        // Only what this socket joined, not what others on this host joined.
        Family::Ipv4 => socket.set_multicast_all_v4(false)?,
        Family::Ipv6 => {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        }
    }
    for group in groups {
        let joined = match group {
            IpAddr::V4(group) => socket.join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index)),
            IpAddr::V6(group) => socket.join_multicast_v6(group, index),
        };
        joined.map_err(doing("join the VRRP multicast group"))?;
    }
    Ok(socket)
}
