//! The packet socket that announces addresses: whole Ethernet frames, gratuitous ARP and
//! neighbour advertisement alike.

use std::io;

use socket2::{Domain, Socket, Type};

use super::{doing, sys};

/// Sends frames on one interface, and hears none.
#[derive(Debug)]
pub(crate) struct Announcer {
    socket: Socket,
}

impl Announcer {
    /// Opens one on the interface with this index.
    ///
    /// # Errors
    ///
    /// With the operation that failed.
    pub(crate) fn open(index: u32) -> io::Result<Self> {
        // Protocol 0: nothing is received.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)
            .map_err(doing("open a packet socket (it takes CAP_NET_RAW)"))?;
        socket.bind(&sys::link_address(index)).map_err(doing("bind the packet socket to the interface"))?;
        Ok(Self { socket })
    }

    /// Sends one frame.
    ///
    /// # Errors
    ///
    /// The error number.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<(), i32> {
        self.socket.send(frame).map(drop).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
    }
}
