//! What the kernel turned away for one fault, for whoever looks: a few packets, and the number of the others.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use vrrp_proto::Family;
use vrrp_proto::packet::Datagram;

use super::filter::sieve::{self, FAULTS, Wanted};
use super::inbox::Inbox;
use super::receiver::BUFFER;
use super::{Incoming, doing, filter, sys};

/// Room for packets, in octets as the kernel counts them: for some hundred, enough to say who sends them.
const ROOM: usize = 96 << 10;

/// Has what was turned away for one fault. Nobody waits for it, but whether there is any is looked at.
#[derive(Debug)]
pub(crate) struct Refused {
    socket: Arc<Socket>,
    family: Family,
    inbox: Inbox,
}

impl Refused {
    /// One for each of [`FAULTS`], on the interface with this index.
    pub(super) fn open_all(index: u32, family: Family, wanted: &Wanted) -> io::Result<[Self; FAULTS.len()]> {
        let open = |fault| -> io::Result<Self> {
            let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None)
                .map_err(doing("open a packet socket for what is turned away (it takes CAP_NET_RAW)"))?;
            filter::attach(&socket, &sieve::program(family, wanted, Some(fault)))?;
            sys::make_room(&socket, ROOM);
            let address = sys::ip_address(index, family);
            socket.bind(&address).map_err(doing("bind the packet socket to the interface"))?;
            let inbox = Inbox::new(&socket, BUFFER)?;
            Ok(Self { socket: Arc::new(socket), family, inbox })
        };
        let [ttl, length, version, kind, vrid] = FAULTS.map(open);
        let refused = [ttl?, length?, version?, kind?, vrid?];
        // Kernels before 4.12 do without: then each of them looks at all packets of the interface.
        let _ = sys::gather(refused.iter().map(|each| &*each.socket));
        sieve::share_out(family, wanted, &refused[0].socket);
        Ok(refused)
    }

    /// Its socket, for whoever changes what it passes.
    pub(super) fn socket(&self) -> Arc<Socket> {
        Arc::clone(&self.socket)
    }

    /// The next packet, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// What the socket says, for example that the interface is down; the next call may work.
    pub(crate) fn next(&mut self) -> io::Result<Option<Incoming<'_>>> {
        let Some(packet) = self.inbox.next(&self.socket)? else { return Ok(None) };
        let datagram = match self.family {
            Family::Ipv4 => Datagram::parse_ipv4(packet.octets),
            Family::Ipv6 => Datagram::parse_ipv6(packet.octets),
        };
        Ok(Some(match datagram {
            Ok(datagram) => Incoming::Datagram(datagram, packet.arrived),
            Err(error) => Incoming::Damaged(error, packet.arrived),
        }))
    }

    /// Packets since the last look that there was no room for.
    pub(crate) fn newly_dropped(&self) -> u32 {
        sys::newly_dropped(&self.socket)
    }
}

impl AsFd for Refused {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
