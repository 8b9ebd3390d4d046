//! Names and connections, for `tcp` and `http`.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Stack of the thread that looks up a name; plugins of the C library want some.
const LOOKUP_STACK: usize = 512 * 1024;

/// Time that an address has to itself before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

type Found = io::Result<Vec<SocketAddr>>;

/// Looks up the one name of a check.
///
/// `getaddrinfo` cannot be interrupted. It runs on a thread of its own, one at a time: a run that
/// gives up leaves it behind, and the next one goes on waiting for the same answer. The thread is
/// not the runtime's, which would wait for it at the end.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    pending: Option<oneshot::Receiver<Found>>,
}

impl Resolver {
    /// The addresses of `host`, at least one.
    pub(super) async fn resolve(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let pending = match &mut self.pending {
            Some(pending) => pending,
            None => {
                let started = look_up(host.to_owned(), port)
                    .map_err(|error| format!("cannot start a thread to look up {host}: {error}"))?;
                self.pending.insert(started)
            }
        };
        let found = pending.await;
        self.pending = None;
        match found {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Ok(Ok(_)) | Err(_) => Err(format!("name {host} has no address")),
            Ok(Err(error)) => Err(format!("name {host} cannot be looked up: {error}")),
        }
    }
}

fn look_up(host: String, port: u16) -> io::Result<oneshot::Receiver<Found>> {
    let (sender, receiver) = oneshot::channel();
    let job = move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // The check may be gone by now.
        let _ = sender.send(found);
    };
    thread::Builder::new().name("vrrpd-lookup".to_owned()).stack_size(LOOKUP_STACK).spawn(job)?;
    Ok(receiver)
}

/// Connects to the first of `addresses` that answers, from `source` if there is one.
///
/// They are tried in their order. One that is silent does not keep the next one waiting, as with the
/// clients of the service (RFC 8305 5): a name with an address of IPv6 that leads nowhere still works.
pub(super) async fn connect(addresses: &[SocketAddr], source: Option<IpAddr>) -> Result<TcpStream, String> {
    let mut waiting =
        addresses.iter().copied().filter(|to| source.is_none_or(|from| from.is_ipv4() == to.is_ipv4()));
    let mut under_way = JoinSet::new();
    let mut trouble = None;
    loop {
        let next = waiting.next();
        if let Some(address) = next {
            under_way.spawn(async move { (address, connect_one(address, source).await) });
        }
        tokio::select! {
            done = under_way.join_next() => match done {
                Some(Ok((_, Ok(stream)))) => return Ok(stream),
                Some(Ok((address, Err(error)))) => trouble = Some(describe(address, source, &error)),
                // It is neither aborted nor does it panic.
                Some(Err(_)) => {}
                None => break,
            },
            () = sleep(HEAD_START), if next.is_some() => {}
        }
    }
    Err(trouble.unwrap_or_else(|| "the name has no address of the same family as `source`".to_owned()))
}

async fn connect_one(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(address).await
}

fn describe(address: SocketAddr, source: Option<IpAddr>, error: &io::Error) -> String {
    match (error.kind(), source) {
        (io::ErrorKind::ConnectionRefused, _) => format!("connection refused by {address}"),
        (io::ErrorKind::AddrNotAvailable, Some(source)) => {
            format!("cannot connect from {source}: this node does not have that address now")
        }
        _ => format!("cannot connect to {address}: {error}"),
    }
}

/// `host:port` or `[v6]:port` in its parts.
pub(super) fn split(address: &str) -> Result<(&str, u16), String> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parts.ok_or_else(|| format!("{address} is not host:port"))?;
    Ok((host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(split("192.0.2.193:443"), Ok(("192.0.2.193", 443)));
        assert_eq!(split("[2001:db8::1]:53"), Ok(("2001:db8::1", 53)));
        assert_eq!(split("www.example.com:80"), Ok(("www.example.com", 80)));
        assert!(split("www.example.com").is_err());
        assert!(split("www.example.com:99999").is_err());
    }

    #[tokio::test]
    async fn a_name_without_address_is_named() {
        let error =
            Resolver::default().resolve("does-not-exist.invalid", 80).await.expect_err("RFC 6761 6.4");
        assert!(error.starts_with("name does-not-exist.invalid "), "{error}");
    }

    #[tokio::test]
    async fn a_lookup_that_was_given_up_is_not_started_twice() {
        let (answer, pending) = oneshot::channel();
        let mut resolver = Resolver { pending: Some(pending) };
        let given_up = tokio::time::timeout(Duration::ZERO, resolver.resolve("name", 80)).await;
        assert!(given_up.is_err());
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        answer.send(Ok(vec![address])).expect("the receiver was kept");
        assert_eq!(resolver.resolve("name", 80).await, Ok(vec![address]));
    }

    /// An address that swallows whatever is sent to it, as behind a firewall, for as long as the others
    /// live: the queue of its listener is full.
    fn silent() -> (SocketAddr, Vec<socket2::Socket>) {
        let tcp = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = tcp().expect("sockets can be had");
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port is free");
        listener.listen(0).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let mut held = vec![listener];
        for _ in 0..4 {
            let client = tcp().expect("sockets can be had");
            client.set_nonblocking(true).expect("it is ours");
            // It is under way, or waits for ever.
            let _ = client.connect(&address);
            held.push(client);
        }
        (address.as_socket().expect("it is one of IPv4"), held)
    }

    #[tokio::test]
    async fn a_silent_address_does_not_keep_the_next_one_from_its_turn() {
        let (silent, _held) = silent();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let live = listener.local_addr().expect("it is bound");
        let both = [silent, live];
        let connected = tokio::time::timeout(Duration::from_secs(20), connect(&both, None));
        let stream = connected.await.expect("not after minutes").expect("the other one answers");
        assert_eq!(stream.peer_addr().expect("it is connected"), live);
        drop(listener);
        let refused = connect(&[live, live], None).await.expect_err("nobody is there any more");
        assert_eq!(refused, format!("connection refused by {live}"));
    }
}
