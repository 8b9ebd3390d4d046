//! Frames to clients that have nothing to do with the host's sockets.
//!
//! They leave by packet sockets, behind the packet filter: it would take them for a connection of its own, and
//! give it another port where it translates addresses.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use netlink::{LinkIndex, Requester, Way};
use socket2::{Domain, SockAddr, Socket, Type};
use vrrp_proto::Family;

use super::{Ends, TO_SEND, Told, tickle};
use crate::net::station_address;

/// Link-layer addresses.
type Neighbours = BTreeMap<(LinkIndex, IpAddr), Vec<u8>>;

/// Finds the way to clients, and sends.
pub(super) struct Post {
    requester: Requester,
    socket: Socket,
    /// Links that nothing leaves by, and those below them that it leaves by instead.
    below: BTreeMap<LinkIndex, LinkIndex>,
    /// Who is known by IPv4 and by IPv6, once that was asked.
    neighbours: [Option<Neighbours>; 2],
    /// Clients that were looked for.
    clients: BTreeMap<IpAddr, Destination>,
    until: Instant,
}

/// Where a client is.
#[derive(Clone)]
enum Destination {
    Station(LinkIndex, Vec<u8>),
    /// On this host: whatever it sends next finds the address gone.
    Here,
    Unknown(&'static str),
}

/// What a client is sent.
pub(super) struct Tickle {
    pub(super) server: SocketAddr,
    client: SocketAddr,
    station: SockAddr,
}

/// A socket for frames.
pub(super) fn socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM.cloexec(), None)?;
    // The queue of an interface that does not empty it.
    socket.set_write_timeout(Some(TO_SEND))?;
    Ok(socket)
}

impl Tickle {
    pub(super) fn send(&self, socket: &Socket) -> io::Result<()> {
        for packet in tickle::packets(self.server, self.client).into_iter().flatten() {
            socket.send_to(&packet, &self.station)?;
        }
        Ok(())
    }
}

impl Post {
    /// Has so much time from now on.
    pub(super) fn open(below: BTreeMap<LinkIndex, LinkIndex>) -> Result<Self, String> {
        let until = Instant::now() + TO_SEND;
        let requester = Requester::open().map_err(|error| error.to_string())?;
        let socket = socket()
            .map_err(|error| format!("cannot open a packet socket (it takes CAP_NET_RAW): {error}"))?;
        Ok(Self { requester, socket, below, neighbours: [None, None], clients: BTreeMap::new(), until })
    }

    /// Sends to the clients of these connections, and says which were sent to.
    pub(super) fn deliver(&mut self, all: impl Iterator<Item = Ends>, told: &mut Told) -> Vec<Tickle> {
        let mut sent = Vec::new();
        for (server, client) in all {
            let trouble = match self.find(client.ip()) {
                _ if Instant::now() >= self.until => "there was no time left".to_owned(),
                Destination::Here => continue,
                Destination::Unknown(why) => why.to_owned(),
                Destination::Station(link, station) => {
                    let family = if client.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
                    let tickle =
                        Tickle { server, client, station: station_address(link.get(), family, &station) };
                    match tickle.send(&self.socket) {
                        Ok(()) => {
                            sent.push(tickle);
                            told.connections += 1;
                            continue;
                        }
                        Err(error) => error.to_string(),
                    }
                }
            };
            told.left_out += 1;
            told.troubles.insert(trouble);
        }
        sent
    }

    fn find(&mut self, client: IpAddr) -> Destination {
        if let Some(known) = self.clients.get(&client) {
            return known.clone();
        }
        let found = self.look_for(client);
        self.clients.insert(client, found.clone());
        found
    }

    fn look_for(&mut self, client: IpAddr) -> Destination {
        let hop = match self.requester.way_to(client) {
            Ok(Way::Out(hop)) => hop,
            Ok(Way::Here) => return Destination::Here,
            Ok(Way::Nowhere) | Err(_) => return Destination::Unknown("there is no route to some clients"),
        };
        let next = hop.router.unwrap_or(client);
        match self.neighbours(next.is_ipv6()).get(&(hop.link, next)).cloned() {
            Some(station) => {
                Destination::Station(self.below.get(&hop.link).copied().unwrap_or(hop.link), station)
            }
            None => Destination::Unknown("this host knows no MAC address of some clients any more"),
        }
    }

    fn neighbours(&mut self, ipv6: bool) -> &Neighbours {
        let requester = &mut self.requester;
        self.neighbours[usize::from(ipv6)].get_or_insert_with(|| {
            let known = requester.neighbours(ipv6).unwrap_or_default();
            known.into_iter().map(|one| ((one.link, one.ip), one.station)).collect()
        })
    }
}
