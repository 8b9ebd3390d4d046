//! The certificates of the services that are checked by https: which names and addresses they carry,
//! and for how long.
//!
//! Whether the chain is trusted is the check's own business; here any certificate is read, and nothing
//! is said over the connection.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::subject::{self, TlsService};
use super::{Case, Finding};
use crate::check::names_of;
use crate::control::io_words;

/// For the connection, and again for each read or write of the handshake.
const PATIENCE: Duration = Duration::from_secs(3);
/// Days that are left when it is time to renew.
const SOON_DAYS: i64 = 30;
const DAY_S: i64 = 24 * 3600;

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    subject::tls_services(&case.config).iter().flat_map(of_service).collect()
}

fn of_service(service: &TlsService) -> Vec<Finding> {
    let shown = address(service).and_then(|address| Ok((address, certificate(address, &service.name)?)));
    let (address, certificate) = match shown {
        Ok(shown) => shown,
        Err(why) => {
            let what = format!("certificate of check {}: {why}", service.check);
            return vec![
                Finding::unknown("certificate_names", what)
                    .with_fix(format!("vrrpctl check {}", service.check)),
            ];
        }
    };
    vec![names(service, address, &certificate), days(address, &certificate, Timestamp::now())]
}

fn address(service: &TlsService) -> Result<SocketAddr, String> {
    if let Some(address) = service.connect {
        return Ok(address);
    }
    let found = (service.url.0.as_str(), service.url.1).to_socket_addrs();
    let found = found.map_err(|error| format!("{} is not found: {error}", service.url.0))?.next();
    found.ok_or_else(|| format!("{} has no address", service.url.0))
}

/// What a server shows to a client that asks for `host`.
fn certificate(address: SocketAddr, host: &str) -> Result<CertificateDer<'static>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name of a server"))?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ReadAll))
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(|error| format!("TLS: {error}"))?;
    let failed = |error: io::Error| format!("{address}: {}", io_words(&error));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).and(stream.set_write_timeout(Some(PATIENCE))).map_err(failed)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).map_err(failed)?;
    }
    let first = tls.peer_certificates().and_then(<[_]>::first);
    first.cloned().ok_or_else(|| format!("{address} has shown no certificate"))
}

/// The name in the URL, and the addresses that clients may use instead of it.
fn names(service: &TlsService, address: SocketAddr, certificate: &CertificateDer<'_>) -> Finding {
    const NAME: &str = "certificate_names";
    let read = (ParsedCertificate::try_from(certificate), X509Certificate::from_der(certificate));
    let (Ok(parsed), Ok((_, shown))) = read else {
        return Finding::unknown(NAME, format!("certificate on {address} cannot be read"));
    };
    let covers = |name: ServerName<'_>| verify_server_name(&parsed, &name).is_ok();
    let host = &service.name;
    let has = names_of(&shown);
    if !ServerName::try_from(host.as_str()).is_ok_and(&covers) {
        return Finding::fail(
            NAME,
            format!("certificate on {address} does not have {host}; it has {has}"),
            "clients that use this name refuse the connection",
            format!("issue it with {host} (DCE installer: bootstrapNode or additionalSSLSubjectAltName)"),
        );
    }
    let missing: Vec<String> = service
        .addresses
        .iter()
        .filter(|&&ip| !covers(ServerName::IpAddress(ip.into())))
        .map(IpAddr::to_string)
        .collect();
    if missing.is_empty() {
        return Finding::ok(NAME, format!("certificate on {address} has {has}"));
    }
    let missing = missing.join(", ");
    Finding::warn(
        NAME,
        format!("certificate on {address} has {has}; does not have {missing}"),
        format!("https://{missing}/ fails; clients must use the name"),
        format!(
            "let every client use {host}; or issue it with {missing} as well (DCE installer: \
             additionalSSLSubjectAltName)"
        ),
    )
}

fn days(address: SocketAddr, certificate: &CertificateDer<'_>, now: Timestamp) -> Finding {
    const NAME: &str = "certificate_days";
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Finding::unknown(NAME, format!("certificate on {address} cannot be read"));
    };
    let validity = parsed.validity();
    let now = now.as_second();
    let left_s = validity.not_after.timestamp().saturating_sub(now);
    let fix = "renew it on this node and on the other one";
    if validity.not_before.timestamp() > now {
        return Finding::fail(
            NAME,
            format!("certificate on {address} is not valid yet"),
            "clients refuse the connection",
            "timedatectl: is the clock of this node right?",
        );
    }
    if left_s < 0 {
        return Finding::fail(
            NAME,
            format!("certificate on {address} expired {} days ago", -left_s / DAY_S),
            "clients refuse the connection",
            fix,
        );
    }
    let what = format!("certificate on {address} is good for {} more days", left_s / DAY_S);
    if left_s < SOON_DAYS * DAY_S {
        return Finding::warn(
            NAME,
            what,
            "on that day clients refuse the connection, on both nodes if both are of one age",
            fix,
        );
    }
    Finding::ok(NAME, what)
}

/// Accepts whatever is shown, for it to be read.
#[derive(Debug)]
struct ReadAll;

impl ServerCertVerifier for ReadAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::rustls::{ServerConfig, ServerConnection};

    use super::super::Verdict::{Fail, Ok as Fine, Unknown, Warn};
    use super::super::testing::assert_finding;
    use super::*;

    /// A server that shows a certificate for these names to whoever connects, until the tests end.
    fn serve(names: &[&str], years: std::ops::Range<i32>) -> TlsService {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut wanted = rcgen::CertificateParams::new(names).expect("names");
        wanted.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = wanted.self_signed(&key).expect("a certificate").der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a server");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let connect = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut tls = ServerConnection::new(Arc::clone(&config)).expect("a connection");
                // What the client thinks of it is the client's business.
                while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
            }
        });
        TlsService {
            check: "registry".to_owned(),
            connect: Some(connect),
            name: "www.example.com".to_owned(),
            url: ("www.example.com".to_owned(), 443),
            addresses: vec!["192.0.2.201".parse().expect("an address")],
        }
    }

    fn judged(service: &TlsService, name: &str) -> Finding {
        of_service(service).into_iter().find(|finding| finding.name == name).expect(name)
    }

    #[test]
    fn a_certificate_has_the_name_and_the_virtual_address() {
        let service = serve(&["www.example.com", "192.0.2.193", "192.0.2.201"], 2020..2090);
        let words = ["www.example.com", "192.0.2.193", "192.0.2.201"];
        assert_finding(&judged(&service, "certificate_names"), Fine, &words);
        assert_finding(&judged(&service, "certificate_days"), Fine, &["days"]);
    }

    #[test]
    fn a_certificate_does_not_write_to_the_terminal() {
        let service = serve(&["www.example.com", "192.0.2.201", "\x1b[2J.example.com"], 2020..2090);
        let finding = judged(&service, "certificate_names");
        assert!(finding.what.contains("www.example.com"), "{finding:?}");
        assert!(!finding.what.contains('\x1b'), "{:?}", finding.what);
    }

    #[test]
    fn what_the_guide_forgets_is_told() {
        let service = serve(&["www.example.com", "192.0.2.193"], 2020..2090);
        let words = ["does not have 192.0.2.201", "clients must use the name", "additionalSSLSubjectAltName"];
        assert_finding(&judged(&service, "certificate_names"), Warn, &words);
        let service = serve(&["192.0.2.193"], 2020..2090);
        assert_finding(&judged(&service, "certificate_names"), Fail, &["does not have www.example.com"]);
    }

    #[test]
    fn days_are_counted() {
        let service = serve(&["www.example.com"], 2020..2021);
        assert_finding(&judged(&service, "certificate_days"), Fail, &["expired"]);
        let address = service.connect.expect("it has one");
        let shown = certificate(address, "www.example.com").expect("it is shown");
        let at = |text: &str| text.parse().expect("a time");
        assert_finding(&days(address, &shown, at("2020-12-15T00:00:00Z")), Warn, &["17 more days"]);
        assert_finding(&days(address, &shown, at("2020-12-01T00:00:00Z")), Fine, &["31 more days"]);
        assert_finding(&days(address, &shown, at("2019-12-31T00:00:00Z")), Fail, &["not valid yet", "clock"]);
    }

    #[test]
    fn a_server_that_is_not_there_is_unknown() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let connect = listener.local_addr().ok();
        drop(listener);
        let service = TlsService { connect, ..serve(&["www.example.com"], 2020..2090) };
        assert_finding(
            &judged(&service, "certificate_names"),
            Unknown,
            &["ECONNREFUSED", "vrrpctl check registry"],
        );
    }
}
