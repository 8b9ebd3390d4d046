//! The HTTP client of checks: HTTP/1.1 over TCP or TLS to one server, everything bounded.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;

use super::connect::{Resolver, connect};
use super::credentials::Credentials;
use super::stage::Stage;
use super::tls::{Authorities, Trust};
use crate::config::{Endpoint, Url};
use crate::launcher::printable;

/// Octets of the body of a wrong answer that are shown.
pub(super) const BODY_SHOWN: usize = 80;

/// Octets that the head of an answer may have.
const HEAD_CAP: usize = 64 * 1024;

/// A server, and what is needed to talk to it.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    resolver: Resolver,
    /// None for plain HTTP.
    trust: Option<Result<Trust, String>>,
    credentials: Option<Result<Credentials, String>>,
}

/// One request. What every request has is not in it.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: &'a str,
    pub(super) accept: &'a str,
    pub(super) headers: &'a [(String, String)],
}

impl<'a> Question<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, accept: "*/*", headers: &[] }
    }

    pub(super) fn head(path: &'a str) -> Self {
        Self { method: Method::HEAD, ..Self::get(path) }
    }
}

impl Client {
    /// Reads the files that it needs; what is wrong with them fails each run.
    pub(super) fn new(endpoint: &Endpoint, authorities: &Authorities) -> Self {
        Self {
            endpoint: endpoint.clone(),
            resolver: Resolver::default(),
            trust: endpoint.url.tls.then(|| Trust::new(endpoint, authorities)),
            credentials: endpoint.basic_auth_file.as_deref().map(Credentials::read),
        }
    }

    /// A path below that of the URL; `path` begins with a slash.
    pub(super) fn below(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint.url.path.trim_end_matches('/'))
    }

    /// The URL that paths are relative to.
    pub(super) fn url(&self) -> &Url {
        &self.endpoint.url
    }

    /// Are there a user and a password?
    pub(super) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Questions of one run, which share a connection as far as the server allows.
    pub(super) fn session<'a>(&'a mut self, stage: &'a Stage) -> Session<'a> {
        Session { client: self, stage, connection: None, warning: None }
    }
}

/// The questions of one run. Dropped, it closes its connection.
pub(super) struct Session<'a> {
    pub(super) client: &'a mut Client,
    pub(super) stage: &'a Stage,
    connection: Option<Connection>,
    warning: Option<String>,
}

struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    peer: String,
    first: Arc<AtomicU16>,
    /// Dropped with the connection, which closes it.
    _driver: JoinSet<hyper::Result<()>>,
}

impl Session<'_> {
    /// Asks and waits for the head of the answer, whatever its status.
    pub(super) async fn ask(&mut self, question: &Question<'_>) -> Result<Answer, String> {
        // A connection that served before may have been closed by the server meanwhile.
        if let Some(mut connection) = self.connection.take()
            && connection.sender.ready().await.is_ok()
        {
            let asked = self.ask_over(&mut connection, question).await?;
            if let Ok(answer) = asked {
                self.connection = Some(connection);
                return Ok(answer);
            }
        }
        let mut connection = self.connect().await?;
        let answer = self.ask_over(&mut connection, question).await?;
        let answer = answer.map_err(|error| describe(&connection.peer, &error, &connection.first))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// What there is to say of the server besides its answers, for the end of a message.
    pub(super) fn warning(&self) -> String {
        self.warning.as_ref().map_or(String::new(), |warning| format!("; {warning}"))
    }

    async fn ask_over(
        &self,
        connection: &mut Connection,
        question: &Question<'_>,
    ) -> Result<hyper::Result<Answer>, String> {
        self.stage.set(format!("waiting for the answer of {}", connection.peer));
        let request = self.request(question)?;
        Ok(connection.sender.send_request(request).await.map(|response| {
            let (head, body) = response.into_parts();
            self.stage.set("waiting for the answer's body");
            Answer {
                status: head.status,
                headers: head.headers,
                body,
                peer: connection.peer.clone(),
                first: Arc::clone(&connection.first),
            }
        }))
    }

    async fn connect(&mut self) -> Result<Connection, String> {
        let Client { endpoint, resolver, trust, credentials } = &mut *self.client;
        if let Some(Err(fault)) = credentials {
            return Err(fault.clone());
        }
        let trust = trust.as_ref().map(Result::as_ref).transpose().map_err(|fault| fault.clone())?;
        self.stage.set("looking up the name");
        let addresses: Vec<SocketAddr> = match endpoint.connect {
            Some(address) => vec![address],
            None => resolver.resolve(&endpoint.url.host, endpoint.url.port).await?,
        };
        self.stage.set(format!("connecting to {}", shown(&addresses)));
        let stream = connect(&addresses, None).await?;
        let peer = stream.peer_addr().map_or_else(|_| shown(&addresses), |peer| peer.to_string());
        let Some(trust) = trust else {
            return speak(stream, peer).await;
        };
        self.stage.set(format!("waiting for the TLS handshake of {peer}"));
        let (stream, warning) = trust.handshake(stream, &peer).await?;
        self.warning = warning;
        speak(stream, peer).await
    }

    fn request(&self, question: &Question<'_>) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::builder()
            .method(&question.method)
            .uri(question.path)
            .header("Host", host_header(&self.client.endpoint.url))
            .header("User-Agent", concat!("vrrpd/", env!("CARGO_PKG_VERSION")));
        if !question.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            request = request.header("Accept", question.accept);
        }
        for (name, value) in question.headers {
            request = request.header(name, value);
        }
        if let Some(credentials) = &self.client.credentials {
            let credentials = credentials.as_ref().map_err(Clone::clone)?;
            request = request.header(AUTHORIZATION, credentials.header());
        }
        request.body(Empty::new()).map_err(|error| format!("the URL cannot be asked for: {error}"))
    }
}

async fn speak<S>(stream: S, peer: String) -> Result<Connection, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let first = Arc::new(AtomicU16::new(NOTHING));
    let stream = Watched { stream, first: Arc::clone(&first) };
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_CAP)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| describe(&peer, &error, &first))?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok(Connection { sender, peer, first, _driver: driver })
}

/// An answer of which the head is there.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    peer: String,
    first: Arc<AtomicU16>,
}

/// How much of a body there was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) octets: u64,
    /// There was more.
    pub(super) cut: bool,
}

impl Answer {
    /// Reads the body to its end, or until there have been more than `most` octets; `take` gets `most`
    /// of them.
    pub(super) async fn read(&mut self, most: u64, mut take: impl FnMut(&[u8])) -> Result<Extent, String> {
        let mut octets = 0;
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| {
                let status = self.status.as_u16();
                let cause = describe(&self.peer, &error, &self.first);
                format!("{status} and then the body broke off: {cause}")
            })?;
            let data: &[u8] = frame.data_ref().map_or(&[], |data| data);
            let room = usize::try_from(most - octets).unwrap_or(usize::MAX);
            take(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok(Extent { octets: most, cut: true });
            }
            octets += data.len() as u64;
        }
        Ok(Extent { octets, cut: false })
    }

    /// The whole body, which is called `what` when it has more than `most` octets.
    pub(super) async fn whole(&mut self, what: &str, most: u64) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        let extent = self.read(most, |octets| body.extend_from_slice(octets)).await?;
        if extent.cut {
            return Err(format!("{what} has more than {}", show_octets(most)));
        }
        Ok(body)
    }

    /// What a wrong status says, with the first octets of the body as far as they come in time.
    pub(super) async fn unexpected(mut self, wanted: &str, stage: &Stage) -> String {
        let fault = format!("{} instead of {wanted}", self.status.as_u16());
        stage.found(fault.clone());
        let mut said = Vec::new();
        // What broke off says something, too.
        let _ = self.read(BODY_SHOWN as u64 + 1, |octets| said.extend_from_slice(octets)).await;
        let said = printable(&said, BODY_SHOWN);
        let colon = if said.is_empty() { "" } else { ": " };
        format!("{fault}{colon}{said}")
    }

    /// One field of the head, where it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Length of the body as announced.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

/// A number of octets for people.
pub(super) fn show_octets(octets: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    if octets != 0 && octets.is_multiple_of(MIB) {
        format!("{} MiB", octets / MIB)
    } else {
        format!("{octets} octets")
    }
}

fn host_header(url: &Url) -> String {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    match (url.tls, url.port) {
        (true, 443) | (false, 80) => host,
        (_, port) => format!("{host}:{port}"),
    }
}

fn shown(addresses: &[SocketAddr]) -> String {
    let shown: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    shown.join(", ")
}

fn describe(peer: &str, error: &hyper::Error, first: &AtomicU16) -> String {
    // hyper has a method for this one only in servers.
    if error.is_parse() && error.to_string().contains("too large") {
        let kib = HEAD_CAP / 1024;
        return format!(
            "the head of the answer of {peer} is too large: {kib} KiB and 100 fields are the most"
        );
    }
    if error.is_parse() {
        // A TLS record begins with its type, 20 to 23 (RFC 8446 5.1).
        return match first.load(Ordering::Relaxed) {
            20..=23 => format!("{peer} speaks TLS: for HTTPS the URL begins with https://"),
            _ => format!("the answer of {peer} is not HTTP: {error}"),
        };
    }
    if error.is_incomplete_message() || error.is_canceled() {
        return format!("{peer} closed the connection before the end of its answer");
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("the exchange with {peer} failed: {error}{cause}")
}

/// Stands for "no octet has been read"; none has this value.
const NOTHING: u16 = 256;

/// Remembers the first octet that is read, which tells TLS from HTTP.
struct Watched<S> {
    stream: S,
    first: Arc<AtomicU16>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(octet) = buf.filled().get(before)
            && self.first.load(Ordering::Relaxed) == NOTHING
        {
            self.first.store(u16::from(*octet), Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_names_an_unusual_port() {
        let header = |tls, host: &str, port| {
            host_header(&Url { tls, host: host.to_owned(), port, path: "/".to_owned() })
        };
        assert_eq!(header(true, "www.example.com", 443), "www.example.com");
        assert_eq!(header(false, "www.example.com", 443), "www.example.com:443");
        assert_eq!(header(false, "2001:db8::1", 8080), "[2001:db8::1]:8080");
    }
}
