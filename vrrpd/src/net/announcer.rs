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

    /// Sends frames in order, each whether or not those before it left, and says how many did and how many
    /// did not.
    pub(crate) fn send_all(&self, frames: &[&[u8]]) -> [u16; 2] {
        let mut counted = [0; 2];
        let mut rest = frames;
        while !rest.is_empty() {
            // Of one a plain call costs less.
            let left = match rest {
                [one] => self.send(one).map_or(0, |()| 1),
                _ => sys::send_all(&self.socket, rest).unwrap_or(0),
            };
            let failed = usize::from(left == 0);
            counted[0] += u16::try_from(left).expect("as many as were given");
            counted[1] += u16::from(left == 0);
            rest = &rest[left + failed..];
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::in_network_namespace;

    #[test]
    fn one_frame_that_is_refused_costs_no_other() {
        in_network_namespace(|| {
            let mut requester = netlink::Requester::open().expect("sockets can be had");
            let link = netlink::LinkIndex::new(1);
            for answer in requester.perform(&[netlink::Request::SetUp { link }]) {
                answer.expect("the namespace is ours");
            }
            let announcer = Announcer::open(link.get()).expect("we are root");
            let (good, long) = ([0; 60], [0; 1 << 17]);
            for (count, refused) in [(1, 0), (64, 10), (130, 0), (130, 64), (130, 129)] {
                let mut frames: Vec<&[u8]> = vec![&good; count];
                assert_eq!(announcer.send_all(&frames), [u16::try_from(count).expect("130 at most"), 0]);
                frames[refused] = &long;
                let left = u16::try_from(count - 1).expect("130 at most");
                assert_eq!(announcer.send_all(&frames), [left, 1], "{refused} of {count}");
            }
            assert_eq!(announcer.send_all(&[]), [0, 0]);
        });
    }
}
