//! Little servers on the loopback interface for checks to ask, and certificates for them.

// Each test program uses its own part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use vrrpd::check::Checks;
use vrrpd::config::{self, Check};
use vrrpd::launcher::LauncherHandle;

/// A server that says the same to everybody, whatever the question, and then holds the line.
pub(crate) async fn says(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = answer.into();
    serve(move |mut stream| {
        let answer = answer.clone();
        async move {
            question(&mut stream).await;
            // The client may have heard enough.
            let _ = stream.write_all(&answer).await;
            hold(stream).await;
        }
    })
    .await
}

pub(crate) async fn serve<F>(mut handler: impl FnMut(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handler(stream));
        }
    });
    address
}

/// Reads the head of a request.
pub(crate) async fn question(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => head.push(octet),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

pub(crate) async fn hold(mut stream: impl AsyncRead + Unpin) {
    let _ = stream.read(&mut [0]).await;
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A server that answers with this status, whatever it is by then.
pub(crate) async fn says_status(status: Arc<AtomicU16>) -> SocketAddr {
    serve(move |mut stream| {
        let status = status.load(Ordering::Relaxed);
        async move {
            question(&mut stream).await;
            let answer = format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            hold(stream).await;
        }
    })
    .await
}

/// A server whose body of 1 MB comes octet by octet.
pub(crate) async fn drips() -> SocketAddr {
    serve(|mut stream| async move {
        question(&mut stream).await;
        let mut alive = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        while alive.is_ok() {
            alive = stream.write_all(b"x").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// A server whose body does not end, with these fields before it.
pub(crate) async fn endless(fields: &'static str) -> SocketAddr {
    serve(move |mut stream| async move {
        question(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let mut alive = stream.write_all(head.as_bytes()).await;
        while alive.is_ok() {
            alive = stream.write_all(&[b'x'; 8192]).await;
        }
    })
    .await
}

/// An address where nobody listens, now.
pub(crate) async fn closed() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// A new authority in a file, and a server with a certificate of it for `name`.
pub(crate) fn authority(file: &str, name: &str, expired: bool) -> (PathBuf, Arc<ServerConfig>) {
    let days = if expired {
        (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1))
    } else {
        (date_time_ymd(2020, 1, 1), date_time_ymd(4000, 1, 1))
    };
    let (path, server, _) = certified(file, &[name], days);
    (path, server)
}

/// As [`authority`], for several names and addresses and between two days; with the server's
/// certificate in DER.
pub(crate) fn certified(
    file: &str,
    names: &[&str],
    days: (OffsetDateTime, OffsetDateTime),
) -> (PathBuf, Arc<ServerConfig>, Vec<u8>) {
    issued(file, names, &[(date_time_ymd(2020, 1, 1), date_time_ymd(4000, 1, 1))], days)
}

/// As [`certified`], by an authority that has a certificate for each of `terms`, all with one key.
pub(crate) fn issued(
    file: &str,
    names: &[&str],
    terms: &[(OffsetDateTime, OffsetDateTime)],
    (not_before, not_after): (OffsetDateTime, OffsetDateTime),
) -> (PathBuf, Arc<ServerConfig>, Vec<u8>) {
    let ca_key = KeyPair::generate().expect("there is randomness");
    let mut ca = CertificateParams::new(Vec::new()).expect("no name is no bad name");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, file);
    let mut pem = String::new();
    for term in terms {
        (ca.not_before, ca.not_after) = *term;
        pem.push_str(&ca.self_signed(&ca_key).expect("the key fits").pem());
    }
    let key = KeyPair::generate().expect("there is randomness");
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut leaf = CertificateParams::new(names).expect("the names are good");
    (leaf.not_before, leaf.not_after) = (not_before, not_after);
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).expect("the key fits");
    let path = temporary(&format!("{file}.pem"));
    std::fs::write(&path, pem).expect("cargo gave us a directory to write in");
    let der = leaf.der().to_vec();
    (path, server_config(leaf.der().clone(), &key), der)
}

/// A server with this certificate.
pub(crate) fn server_config(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("the key fits");
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(server)
}

/// A path of this process in the directory that cargo gave us.
pub(crate) fn temporary(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

/// An answer of a site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
    /// The head remembers a body that is gone: it announces what does not come.
    pub(crate) hollow: bool,
}

pub(crate) fn page(body: impl Into<Vec<u8>>) -> Page {
    Page { status: 200, body: body.into(), ..Page::default() }
}

impl Page {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// The octet that a request asks for, where that is possible and the page allows it (RFC 9110 14).
    fn part(mut self, request: &str) -> Self {
        let wanted = request.split_once("range: bytes=").and_then(|(_, rest)| rest.split_once('-'));
        let Some((at, _)) = wanted.filter(|_| self.headers.contains("Accept-Ranges")) else { return self };
        let part = self.body.get(at.parse::<usize>().expect("vrrpd asks for one octet")).copied();
        (self.status, self.body) = part.map_or((416, Vec::new()), |octet| (206, vec![octet]));
        self
    }
}

/// What a site has, by path and query, and the heads of the requests that it got.
#[derive(Clone, Default)]
pub(crate) struct Site(Arc<Mutex<Store>>);

#[derive(Default)]
struct Store {
    pages: BTreeMap<String, Page>,
    asked: Vec<String>,
}

impl Site {
    pub(crate) fn put(&self, path: &str, page: Page) {
        self.0.lock().expect("no test panics with it").pages.insert(path.to_owned(), page);
    }

    pub(crate) fn remove(&self, path: &str) {
        self.0.lock().expect("no test panics with it").pages.remove(path).expect("it was there");
    }

    /// The requests so far, which are forgotten.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no test panics with it").asked)
    }

    /// Serves it over plain HTTP/1.1, many requests on a connection.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let site = self.clone();
        serve(move |stream| {
            let site = site.clone();
            async move { site.talk(stream).await }
        })
        .await
    }

    async fn talk(self, mut stream: TcpStream) {
        loop {
            let head = question(&mut stream).await;
            let mut words = head.split(' ');
            let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
            let page = {
                let mut site = self.0.lock().expect("no test panics with it");
                site.asked.push(head.clone());
                let missing = Page { status: 404, body: b"no such page".to_vec(), ..Page::default() };
                site.pages.get(path).cloned().unwrap_or(missing).part(&head)
            };
            let head = format!(
                "HTTP/1.1 {} Status\r\n{}Content-Length: {}\r\n\r\n",
                page.status,
                page.headers,
                page.body.len()
            );
            let body: &[u8] = if method == "HEAD" || page.hollow { &[] } else { &page.body };
            let written = stream.write_all(&[head.as_bytes(), body].concat()).await;
            if written.is_err() || method != "HEAD" && page.hollow {
                return;
            }
        }
    }
}

/// What a file with this check says of it: the text after `[check.it]`.
pub(crate) fn check_of(text: &str) -> Check {
    let file = format!(
        "[virtual_router.a]\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"192.0.2.1\"]\nchecks = [\"it\"]\n\
         [check.it]\ninterval = \"1h\"\ntimeout = \"20s\"\n{text}\n"
    );
    let (config, _) = config::parse("test.toml", &file).unwrap_or_else(|faults| panic!("{faults}"));
    config.checks.into_iter().next().expect("there is one")
}

/// The first run of a check of this text: what it said, passing or failing.
pub(crate) async fn said(launcher: &LauncherHandle, text: &str) -> Result<String, String> {
    said_by(launcher, check_of(text)).await
}

/// As [`said`], with this deadline.
pub(crate) async fn said_within(
    launcher: &LauncherHandle,
    text: &str,
    timeout: Duration,
) -> Result<String, String> {
    said_by(launcher, Check { timeout, ..check_of(text) }).await
}

async fn said_by(launcher: &LauncherHandle, check: Check) -> Result<String, String> {
    let (sender, mut results) = mpsc::channel(8);
    let mut checks = Checks::new(launcher.clone(), sender);
    checks.apply(&[check]);
    let result = results.recv().await.expect("the check runs");
    if result.passed { Ok(result.message) } else { Err(result.message) }
}
