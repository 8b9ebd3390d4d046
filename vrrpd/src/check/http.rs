//! The `http` probe: HTTP/1.1 over TCP or TLS, one request, one answer.
//!
//! A `GET` reads the body to its end, because a server that stops in the middle of an answer is not
//! well; after 1 MiB it has seen enough and stops. Of an answer with a wrong status only the first
//! octets are read, for the message. Redirects are answers like any other.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{fmt, io};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::connect::{Resolver, connect};
use super::tls::{self, Client};
use super::{Prober, Run};
use crate::config::{Http, HttpMethod, Url};
use crate::launcher::printable;

/// Octets of a body after which reading stops.
const BODY_CAP: usize = 1024 * 1024;

/// Octets of the body of a wrong answer that are shown.
const BODY_SHOWN: usize = 80;

/// Octets that the head of an answer may have.
const HEAD_CAP: usize = 64 * 1024;

/// The probe of one check.
#[derive(Debug)]
pub(super) struct HttpProbe {
    http: Http,
    resolver: Resolver,
    /// None for plain HTTP.
    client: Option<Client>,
}

impl HttpProbe {
    pub(super) fn new(http: &Http, authorities: &tls::Authorities) -> Self {
        let client = http.url.tls.then(|| authorities.client(http.ca_file.as_deref()));
        Self { http: http.clone(), resolver: Resolver::default(), client }
    }

    fn late(&self, stage: &Stage, deadline: Duration) -> String {
        let passed = format!("deadline of {} ms passed while {stage}", deadline.as_millis());
        match stage {
            Stage::Body(status) if !self.http.status.contains(&status.as_u16()) => {
                format!("{}; {passed}", self.unexpected(*status))
            }
            _ => passed,
        }
    }

    async fn exchange(&mut self, stage: &mut Stage) -> Result<Answer, String> {
        let client = self.client.clone().transpose()?;
        let Url { host, port, .. } = &self.http.url;
        let addresses: Vec<SocketAddr> = match self.http.connect {
            Some(address) => vec![address],
            None => self.resolver.resolve(host, *port).await?,
        };
        *stage = Stage::Connect(shown(&addresses));
        let stream = connect(&addresses, None).await?;
        let peer = stream.peer_addr().map_or_else(|_| shown(&addresses), |peer| peer.to_string());
        let Some(client) = client else {
            return self.ask(stream, &peer, stage).await;
        };
        *stage = Stage::Handshake(peer.clone());
        let name = ServerName::try_from(host.clone())
            .map_err(|_| format!("{host} cannot be the name of a TLS server"))?;
        let stream = TlsConnector::from(client)
            .connect(name, stream)
            .await
            .map_err(|error| tls::describe(&peer, &error))?;
        self.ask(stream, &peer, stage).await
    }

    /// Sends the request over a connection that is ready for it and judges the answer.
    async fn ask<S>(&self, stream: S, peer: &str, stage: &mut Stage) -> Result<Answer, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        *stage = Stage::Head(peer.to_owned());
        let first = Arc::new(AtomicU16::new(NOTHING));
        let stream = Watched { stream, first: Arc::clone(&first) };
        let failed = |error: hyper::Error| describe(peer, &error, &first);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_CAP)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        // Dropped with this run, which closes the connection.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let answer = sender.send_request(self.request()?).await.map_err(failed)?;
        let status = answer.status();
        *stage = Stage::Body(status);
        if !self.http.status.contains(&status.as_u16()) {
            let said = beginning(answer).await;
            let colon = if said.is_empty() { "" } else { ": " };
            return Err(format!("{}{colon}{said}", self.unexpected(status)));
        }
        match self.http.method {
            HttpMethod::Head => Ok(Answer { status: status.as_u16(), capped: false }),
            HttpMethod::Get => read_body(answer).await.map_err(|error| {
                format!("{} and then the body broke off: {}", status.as_u16(), describe(peer, &error, &first))
            }),
        }
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let method = match self.http.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        };
        Request::builder()
            .method(method)
            .uri(&self.http.url.path)
            .header("Host", host_header(&self.http.url))
            .header("User-Agent", concat!("vrrpd/", env!("CARGO_PKG_VERSION")))
            .header("Accept", "*/*")
            .header("Connection", "close")
            .body(Empty::new())
            .map_err(|error| format!("the URL cannot be asked for: {error}"))
    }

    fn unexpected(&self, status: StatusCode) -> String {
        let wanted: Vec<String> = self.http.status.iter().map(u16::to_string).collect();
        format!("{} instead of {}", status.as_u16(), wanted.join(" or "))
    }
}

impl Prober for HttpProbe {
    /// One run, from the name to the last octet within `deadline`.
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            let started = Instant::now();
            let mut stage = Stage::LookUp;
            match timeout(deadline, self.exchange(&mut stage)).await {
                Ok(Ok(Answer { status, capped })) => {
                    let cut = if capped { ", of the body the first 1 MiB" } else { "" };
                    Ok(format!("{status} in {} ms{cut}", started.elapsed().as_millis()))
                }
                Ok(Err(reason)) => Err(reason),
                Err(_) => Err(self.late(&stage, deadline)),
            }
        })
    }
}

/// What the deadline may cut short.
enum Stage {
    LookUp,
    Connect(String),
    Handshake(String),
    Head(String),
    Body(StatusCode),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LookUp => f.write_str("looking up the name"),
            Self::Connect(peer) => write!(f, "connecting to {peer}"),
            Self::Handshake(peer) => write!(f, "waiting for the TLS handshake of {peer}"),
            Self::Head(peer) => write!(f, "waiting for the answer of {peer}"),
            Self::Body(_) => f.write_str("waiting for the answer's body"),
        }
    }
}

/// An answer with a status that passes.
struct Answer {
    status: u16,
    capped: bool,
}

async fn read_body(answer: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        seen += frame?.data_ref().map_or(0, Bytes::len);
        if seen >= BODY_CAP {
            return Ok(Answer { status, capped: true });
        }
    }
    Ok(Answer { status, capped: false })
}

/// The first octets of a body, as far as they come.
async fn beginning(answer: Response<Incoming>) -> String {
    let mut body = answer.into_body();
    let mut said = Vec::new();
    while said.len() <= BODY_SHOWN
        && let Some(Ok(frame)) = body.frame().await
    {
        said.extend(frame.data_ref().into_iter().flatten().take(BODY_SHOWN + 1));
    }
    printable(&said, BODY_SHOWN)
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
