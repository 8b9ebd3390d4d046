//! A netlink socket with its buffer, as requester, monitor and connections share it.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::time::TimeVal;

/// A bound socket to the kernel, of the calling thread's network namespace.
pub(crate) struct Channel {
    socket: Socket,
    port: u32,
    buffer: Vec<u8>,
}

/// What [`Channel::receive`] found.
pub(crate) enum Received {
    /// So many bytes, to be read with [`Channel::datagram`].
    Datagram(usize),
    /// A datagram of so many bytes, more than the buffer held: it is lost. The buffer has grown, up
    /// to [`Channel::LIMIT`].
    Truncated(usize),
    /// The kernel has dropped messages because too many were waiting. What it kept can still be
    /// received.
    Overrun,
    /// Nothing is there; with [`Wait::Answer`]: nothing came in time.
    Nothing,
}

/// Whether to wait for a datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Take what is there.
    No,
    /// Up to [`ANSWER_TIMEOUT`].
    Answer,
}

impl Channel {
    /// The longest datagram that the buffer will grow for, in bytes. The kernel keeps to 32 KiB
    /// unless a single link needs more, as one with hundreds of virtual functions does.
    pub(crate) const LIMIT: usize = 1 << 20;

    /// Opens and binds one for `protocol` (`NETLINK_ROUTE`, ...) with a receive buffer of `receive_buffer` bytes, or as much as allowed.
    pub(crate) fn open(protocol: isize, receive_buffer: usize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        // Larger than the system's limit needs CAP_NET_ADMIN outside of any user namespace; without
        // it the limit has to do.
        if setsockopt(&socket, sockopt::RcvBufForce, &receive_buffer).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &receive_buffer);
        }
        let timeout = TimeVal::new(ANSWER_TIMEOUT.as_secs() as i64, 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &timeout)?;
        let port = socket.bind_auto()?.port_number();
        Ok(Self { socket, port, buffer: vec![0; FIRST_BUFFER] })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The port that the kernel gave to the socket.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Size of the kernel's receive buffer in bytes, with its overhead.
    pub(crate) fn receive_buffer(&self) -> usize {
        getsockopt(&self.socket, sockopt::RcvBuf).unwrap_or_default()
    }

    /// Enlarges the send buffer as far as allowed; returns its size in bytes.
    pub(crate) fn enlarge_send_buffer(&self, bytes: usize) -> usize {
        if setsockopt(&self.socket, sockopt::SndBufForce, &bytes).is_err() {
            let _ = setsockopt(&self.socket, sockopt::SndBuf, &bytes);
        }
        getsockopt(&self.socket, sockopt::SndBuf).unwrap_or_default()
    }

    /// Sends to the kernel, which acts on it before this returns.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(bytes, &SocketAddr::new(KERNEL, 0), 0) {
                // A datagram goes whole or not at all.
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives one datagram. What did not come from the kernel is passed over.
    pub(crate) fn receive(&mut self, wait: Wait) -> io::Result<Received> {
        let flags = match wait {
            Wait::No => libc::MSG_TRUNC | libc::MSG_DONTWAIT,
            Wait::Answer => libc::MSG_TRUNC,
        };
        loop {
            let mut space = &mut self.buffer[..];
            match self.socket.recv_from(&mut space, flags) {
                Ok((_, sender)) if sender.port_number() != KERNEL => (),
                // With MSG_TRUNC this is the length that it had, not the length that fitted.
                Ok((length, _)) if length > self.buffer.len() => {
                    self.buffer.resize(length.min(Self::LIMIT), 0);
                    return Ok(Received::Truncated(length));
                }
                Ok((length, _)) => return Ok(Received::Datagram(length)),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Ok(Received::Overrun);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The first `length` bytes of what was received last.
    pub(crate) fn datagram(&self, length: usize) -> &[u8] {
        &self.buffer[..length]
    }

    /// Throws away what is waiting.
    ///
    /// It must be all: after an overrun the kernel goes on dropping, without saying so again, until
    /// the queue has been empty once. This ends, because to read takes less than to cause.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        while !matches!(self.receive(Wait::No)?, Received::Nothing) {}
        Ok(())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// How long an answer may take once the request has been handed over. The kernel has then acted
/// already, and the answer is there or lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The kernel's own port.
const KERNEL: u32 = 0;

/// The longest datagram of the kernel in all but odd cases is half of it.
const FIRST_BUFFER: usize = 64 * 1024;
