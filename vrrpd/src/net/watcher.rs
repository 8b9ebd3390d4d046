//! Who else has our addresses: a socket that hears what ARP and neighbour advertisements of other
//! stations say about them.
//!
//! IPv4 is heard by a packet socket for ARP. For IPv6 that would cost every packet of the interface a
//! copy; an ICMPv6 socket costs only the neighbour advertisements one. Nothing has to be joined for
//! those that nobody asked for, which go to all nodes (ff02::1).

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use vrrp_proto::packet::Sighting;
use vrrp_proto::{Family, MacAddress};

use super::inbox::Inbox;
use super::{Incoming, doing, filter, sys};

/// An Ethernet frame. What is longer shows nothing.
const BUFFER: usize = 1514;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Hears of the addresses that its [`Aim`] was given, none at first.
#[derive(Debug)]
pub(crate) struct Watcher {
    socket: Arc<Socket>,
    family: Family,
    inbox: Inbox,
}

/// Says which addresses a [`Watcher`] hears of, from another thread.
#[derive(Debug)]
pub(crate) struct Aim {
    socket: Arc<Socket>,
    family: Family,
    now: Option<(MacAddress, BTreeSet<IpAddr>)>,
}

impl Watcher {
    /// Opens the socket on the interface with this name and index.
    pub(super) fn open(interface: &str, index: u32, family: Family) -> io::Result<(Self, Aim)> {
        let socket = match family {
            Family::Ipv4 => {
                // Protocol 0: nothing is received before it is bound, with the filter in place.
                let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)
                    .map_err(doing("open a packet socket for ARP (it takes CAP_NET_RAW)"))?;
                filter::attach(&socket, &filter::nothing())?;
                socket
                    .bind(&sys::arp_address(index))
                    .map_err(doing("bind the ARP socket to the interface"))?;
                socket
            }
            Family::Ipv6 => {
                let kind = Type::RAW.nonblocking().cloexec();
                let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))
                    .map_err(doing("open a raw socket for ICMPv6 (it takes CAP_NET_RAW)"))?;
                sys::pass_only_icmpv6(&socket, NEIGHBOUR_ADVERTISEMENT)
                    .map_err(doing("have only neighbour advertisements passed"))?;
                filter::attach(&socket, &filter::nothing())?;
                socket
                    .bind_device(Some(interface.as_bytes()))
                    .map_err(doing("bind the ICMPv6 socket to the interface"))?;
                socket
            }
        };
        let inbox = Inbox::new(&socket, BUFFER)?;
        let socket = Arc::new(socket);
        let aim = Aim { socket: Arc::clone(&socket), family, now: None };
        Ok((Self { socket, family, inbox }, aim))
    }

    /// What was heard next, or `None` when there is nothing. It may be about any address.
    ///
    /// # Errors
    ///
    /// What the socket says, for example that the interface is down; the next call may work.
    pub(crate) fn next(&mut self) -> io::Result<Option<Incoming<'_>>> {
        let Some(packet) = self.inbox.next(&self.socket)? else { return Ok(None) };
        let sighting = match self.family {
            Family::Ipv4 => Sighting::from_arp(packet.octets),
            Family::Ipv6 => Sighting::from_neighbour_advertisement(packet.octets),
        };
        let sighted = |sighting| Incoming::Sighting(sighting, packet.arrived);
        Ok(Some(sighting.map_or(Incoming::Nothing, sighted)))
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Aim {
    /// From now on the watcher hears of `addresses` only, and not what comes from our own Ethernet
    /// address. Does nothing when that is so already.
    ///
    /// # Errors
    ///
    /// When the kernel does not take a filter for so many addresses, some hundreds at least. The
    /// watcher then hears of every address, and the node finds out which of them are ours.
    pub(crate) fn at(&mut self, own: MacAddress, addresses: BTreeSet<IpAddr>) -> io::Result<()> {
        let wanted = Some((own, addresses));
        if self.now == wanted {
            return Ok(());
        }
        self.now = wanted;
        let Some((own, addresses)) = &self.now else { return Ok(()) };
        // The short one first: it makes room for the long one (the kernel bounds both together), and
        // stays where that is refused.
        filter::attach(&self.socket, &filter::everything(self.family, *own))
            .map_err(doing("have the kernel pick what other stations say about addresses"))?;
        filter::attach(&self.socket, &filter::about(self.family, *own, addresses))
            .map_err(doing("have the kernel pick what is said about so many addresses; all is looked at"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// On a socket that anybody may open; what a program may be does not depend on it.
    fn aim(family: Family) -> Aim {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        Aim { socket: Arc::new(socket), family, now: None }
    }

    /// Each IPv6 address in a network of its own: the longest program.
    fn addresses(family: Family, count: u16) -> BTreeSet<IpAddr> {
        let address = |number| match family {
            Family::Ipv4 => Ipv4Addr::from_bits(0xc633_0000 + u32::from(number)).into(),
            Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, number).into(),
        };
        (0..count).map(address).collect()
    }

    #[test]
    fn the_kernel_takes_the_filter_and_more_than_it_takes_is_said_and_no_end() {
        for family in [Family::Ipv4, Family::Ipv6] {
            let mut aim = aim(family);
            let mut at = |count| aim.at(MacAddress::default(), addresses(family, count));
            at(1).expect("one address");
            at(60).expect("some addresses");
            let refusal = at(5000).expect_err("no kernel takes so many");
            assert!(refusal.to_string().contains("so many addresses"), "{refusal}");
            at(5000).expect("said once");
            at(60).expect("as before");
        }
        aim(Family::Ipv4).at(MacAddress::default(), addresses(Family::Ipv4, 255)).expect("a full router");
    }
}
