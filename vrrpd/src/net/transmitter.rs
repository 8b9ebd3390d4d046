//! The raw socket that sends advertisements, IP header included.
//!
//! With the header in our hands, TTL, source and class are what the packet says and not what some
//! option of the socket was set to; one socket serves routers with different source addresses; and
//! protocol 255 hears nothing, so that no received packet is copied to it.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, SockaddrIn, SockaddrIn6, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp_proto::Family;

use super::doing;

/// `IPPROTO_RAW`: the header comes with the packet.
const RAW: i32 = 255;

/// Sends on one interface.
#[derive(Debug)]
pub(crate) struct Transmitter {
    socket: Socket,
    index: u32,
}

impl Transmitter {
    pub(super) fn open(interface: &str, index: u32, family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::Ipv4 => Domain::IPV4,
            Family::Ipv6 => Domain::IPV6,
        };
        let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(RAW)))
            .map_err(doing("open a raw socket to send (it takes CAP_NET_RAW)"))?;
        socket
            .bind_device(Some(interface.as_bytes()))
            .map_err(doing("bind the sending socket to the interface"))?;
        match family {
            Family::Ipv4 => {
                socket.set_header_included_v4(true)?;
                socket.set_multicast_loop_v4(false)?;
            }
            Family::Ipv6 => socket.set_multicast_loop_v6(false)?,
        }
        Ok(Self { socket, index })
    }

    /// Sends one whole IP packet to `destination`.
    ///
    /// # Errors
    ///
    /// The error number: `EPERM` when a firewall drops it, `ENOBUFS` when the interface's queue is
    /// full, `ENETDOWN` when it is down.
    pub(crate) fn send(&self, packet: &[u8], destination: IpAddr) -> Result<(), i32> {
        let socket = self.socket.as_raw_fd();
        let sent = match destination {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                sendto(socket, packet, &SockaddrIn::new(a, b, c, d, 0), MsgFlags::MSG_DONTWAIT)
            }
            IpAddr::V6(address) => {
                let to = SockaddrIn6::from(std::net::SocketAddrV6::new(address, 0, 0, self.index));
                sendto(socket, packet, &to, MsgFlags::MSG_DONTWAIT)
            }
        };
        sent.map(drop).map_err(|errno| errno as i32)
    }
}
