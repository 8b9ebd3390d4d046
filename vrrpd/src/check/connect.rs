//! Names and connections, for `tcp` and `http`.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// Stack of the thread that looks up a name; plugins of the C library want some.
const LOOKUP_STACK: usize = 512 * 1024;

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
pub(super) async fn connect(addresses: &[SocketAddr], source: Option<IpAddr>) -> Result<TcpStream, String> {
    let mut trouble = None;
    for address in addresses.iter().filter(|to| source.is_none_or(|from| from.is_ipv4() == to.is_ipv4())) {
        match connect_one(*address, source).await {
            Ok(stream) => return Ok(stream),
            Err(error) => trouble = Some(describe(*address, source, &error)),
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
        let given_up = tokio::time::timeout(std::time::Duration::ZERO, resolver.resolve("name", 80)).await;
        assert!(given_up.is_err());
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        answer.send(Ok(vec![address])).expect("the receiver was kept");
        assert_eq!(resolver.resolve("name", 80).await, Ok(vec![address]));
    }
}
