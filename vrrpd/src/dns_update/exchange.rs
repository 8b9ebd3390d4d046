//! One message to a server and its answer: over UDP, and over TCP where that is too small.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::op::Message;
use hickory_proto::rr::TSigner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::fault::Fault;
use super::message::{Request, Task};

/// What UDP carries without EDNS (RFC 1035 2.3.4), and so is never in need of TCP for its size.
const UDP_OCTETS: usize = 512;
/// Time after which a datagram counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// One server, and the key that is shared with it.
pub(super) struct Server<'a> {
    pub(super) address: SocketAddr,
    pub(super) key: Option<&'a TSigner>,
    /// The wall clock, in seconds since 1970.
    pub(super) clock: fn() -> u64,
}

/// The wall clock, which is what TSIG goes by.
pub(super) fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Server<'_> {
    /// Sends the message and waits for its answer, without end: the deadline is the caller's. It is
    /// signed anew each time it is sent.
    pub(super) async fn exchange(&self, message: &Message, task: Task) -> Result<Message, Fault> {
        let mut requests = vec![self.request(message, task)?];
        if requests[0].octets.len() > UDP_OCTETS {
            return self.over_tcp(message, task).await;
        }
        let socket = self.socket().await.map_err(network)?;
        let mut buffer = [0; 4096];
        loop {
            if let Some(request) = requests.last() {
                socket.send(&request.octets).await.map_err(network)?;
            }
            // Whatever came last may answer any of them.
            if let Ok(answer) = timeout(LOST_AFTER, self.receive(&socket, &requests, &mut buffer)).await {
                return match answer? {
                    answer if answer.metadata.truncation => self.over_tcp(message, task).await,
                    answer => Ok(answer),
                };
            }
            requests.push(self.request(message, task)?);
        }
    }

    async fn receive(
        &self,
        socket: &UdpSocket,
        requests: &[Request],
        buffer: &mut [u8],
    ) -> Result<Message, Fault> {
        loop {
            let length = socket.recv(buffer).await.map_err(network)?;
            let octets = &buffer[..length];
            // What answers no question of ours is nobody's business.
            let fitting = requests.iter().find_map(|request| Some((request, request.answer(octets)?)));
            if let Some((request, answer)) = fitting {
                // What was cut off cannot be verified, and is not used but to ask again.
                if !answer.metadata.truncation {
                    request.verify(octets, &answer, self.key, (self.clock)())?;
                }
                return Ok(answer);
            }
        }
    }

    async fn over_tcp(&self, message: &Message, task: Task) -> Result<Message, Fault> {
        let request = self.request(message, task)?;
        let length = u16::try_from(request.octets.len()).map_err(|_| {
            Fault::Unreadable("the record has too many addresses to be asked about".to_owned())
        })?;
        let mut stream = TcpStream::connect(self.address).await.map_err(network)?;
        let framed = [&length.to_be_bytes()[..], &request.octets].concat();
        stream.write_all(&framed).await.map_err(network)?;
        let mut octets = vec![0; usize::from(stream.read_u16().await.map_err(network)?)];
        stream.read_exact(&mut octets).await.map_err(network)?;
        let answer = request
            .answer(&octets)
            .ok_or_else(|| Fault::Unreadable("it answers another question".to_owned()))?;
        request.verify(&octets, &answer, self.key, (self.clock)())?;
        Ok(answer)
    }

    fn request(&self, message: &Message, task: Task) -> Result<Request, Fault> {
        let mut message = message.clone();
        // One number for each sending, so that a late answer is known by its own signature.
        message.metadata.id = rand::random();
        Request::new(message, task, self.key, (self.clock)())
    }

    /// Bound to a port that the kernel draws, and deaf to everybody else.
    async fn socket(&self) -> std::io::Result<UdpSocket> {
        let any = match self.address.ip() {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(self.address).await?;
        Ok(socket)
    }
}

fn network(error: std::io::Error) -> Fault {
    Fault::Network(error.to_string())
}

#[cfg(test)]
mod tests;
