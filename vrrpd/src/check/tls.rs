//! TLS of HTTP checks: which certificates are trusted, what they have to say, and what is said of them.

use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::{Resumption, verify_server_name};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{Endpoint, Tls};
use crate::launcher::printable;

mod verifier;

use verifier::{Authority, Trusted, Verifier};

/// Octets of a certificate's names that are shown.
const NAMES_SHOWN: usize = 300;

/// A client configuration, or why there is none: then each run fails with that.
pub(super) type Client = Result<Arc<ClientConfig>, String>;

/// Reads certificates, the system's at most once for all checks of one load. A file that changes is
/// seen at the next reload.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    system: OnceLock<Client>,
}

impl Authorities {
    /// Trusts the authorities in `ca_file`, or the system's.
    pub(super) fn client(&self, ca_file: Option<&Path>) -> Client {
        match ca_file {
            Some(file) => client_that_trusts(Trusted::Authorities(read(file)?)),
            None => {
                let client = || client_that_trusts(Trusted::Authorities(system()?));
                self.system.get_or_init(client).clone()
            }
        }
    }
}

fn read(file: &Path) -> Result<Vec<Authority>, String> {
    let shown = file.display();
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cannot read ca_file {shown}: {error}"))?;
    let authorities = certificates
        .into_iter()
        .map(Authority::parse)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("ca_file {shown} holds a bad certificate: {error}"))?;
    if authorities.is_empty() {
        return Err(format!("ca_file {shown} holds no certificate in PEM form"));
    }
    Ok(authorities)
}

fn system() -> Result<Vec<Authority>, String> {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let authorities: Vec<_> = certificates.into_iter().filter_map(|one| Authority::parse(one).ok()).collect();
    if authorities.is_empty() {
        return Err("the system trusts no authority: install ca-certificates, or give ca_file".to_owned());
    }
    Ok(authorities)
}

fn client_that_trusts(trusted: Trusted) -> Client {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier { trusted, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    let mut client = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would not show a certificate that has expired since.
    client.resumption = Resumption::disabled();
    Ok(Arc::new(client))
}

/// What makes the certificate of one server acceptable.
#[derive(Debug)]
pub(super) struct Trust {
    client: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    tls: Tls,
}

impl Trust {
    /// Reads the certificates that it needs.
    pub(super) fn new(endpoint: &Endpoint, authorities: &Authorities) -> Result<Self, String> {
        let tls = endpoint.tls.clone();
        let client = match tls.pin {
            Some(pin) => client_that_trusts(Trusted::Pin(pin)),
            None => authorities.client(tls.ca_file.as_deref()),
        }?;
        let server_name = name(tls.server_name.as_ref().unwrap_or(&endpoint.url.host))?;
        Ok(Self { client, server_name, tls })
    }

    /// The handshake, and a warning when the certificate is good but not for long.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        peer: &str,
    ) -> Result<(TlsStream<TcpStream>, Option<String>), String> {
        let connector = TlsConnector::from(Arc::clone(&self.client));
        let stream = connector
            .connect(self.server_name.clone(), stream)
            .await
            .map_err(|error| describe(peer, &error))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.ok_or_else(|| format!("{peer} has shown no certificate"))?;
        let warning = self
            .judge(certificate, Timestamp::now())
            .map_err(|fault| format!("certificate of {peer} {fault}"))?;
        Ok((stream, warning))
    }

    /// What the handshake did not look at: further names, and the days that are left.
    fn judge(&self, certificate: &CertificateDer<'_>, now: Timestamp) -> Result<Option<String>, String> {
        let unreadable = |_| "cannot be read".to_owned();
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| "cannot be read".to_owned())?;
        let names = ParsedCertificate::try_from(certificate).map_err(unreadable)?;
        let mut missing = Vec::new();
        for wanted in &self.tls.names {
            if verify_server_name(&names, &name(wanted)?).is_err() {
                missing.push(wanted.as_str());
            }
        }
        if !missing.is_empty() {
            return Err(format!("lacks {}: it is for {}", missing.join(" and "), names_of(&parsed)));
        }
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|_| "has a date that cannot be read".to_owned())
        };
        let (begin, end) = (time(parsed.validity().not_before)?, time(parsed.validity().not_after)?);
        // The chain's dates are checked with the chain, and a pinned certificate has none.
        if now < begin {
            return Err(format!("is not valid before {begin}: is the clock of this node right?"));
        }
        if now > end {
            return Err(format!("expired at {end}"));
        }
        let days = (end.as_second() - now.as_second()) / (24 * 3600);
        if days < i64::from(self.tls.expires_in_fail) {
            let least = self.tls.expires_in_fail;
            return Err(format!("expires in {days} days, at {end}: expires_in_fail is {least}"));
        }
        let warns = days < i64::from(self.tls.expires_in_warn);
        Ok(warns.then(|| format!("the certificate expires in {days} days, at {end}")))
    }
}

fn name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| format!("{text} cannot be the name of a TLS server"))
}

/// The names and addresses that a certificate is for, fit for a terminal whatever stands in it.
pub(crate) fn names_of(certificate: &X509Certificate<'_>) -> String {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let mut names = String::new();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        let shown = match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(octets) => address(octets),
            _ => continue,
        };
        let comma = if names.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(names, "{comma}{shown}");
    }
    if names.is_empty() { "no name".to_owned() } else { printable(names.as_bytes(), NAMES_SHOWN) }
}

fn address(octets: &[u8]) -> String {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return IpAddr::from(octets).to_string();
    }
    <[u8; 16]>::try_from(octets)
        .map_or_else(|_| "a bad address".to_owned(), |octets| IpAddr::from(octets).to_string())
}

/// A failed handshake with `address` in words.
pub(super) fn describe(address: &str, error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(fault)) => {
            format!("certificate of {address} {}", describe_certificate(fault))
        }
        Some(Error::InvalidMessage(_)) => {
            format!("{address} does not speak TLS: for plain HTTP the URL begins with http://")
        }
        Some(other) => format!("TLS with {address} failed: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{address} closed the connection during the TLS handshake")
        }
        None => format!("TLS with {address} failed: {error}"),
    }
}

fn describe_certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::NotValidForName => "is not valid for the name in the URL".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            let names = printable(names.as_bytes(), NAMES_SHOWN);
            format!("is not valid for name {}: it is for {names}", expected.to_str())
        }
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            let at =
                i64::try_from(not_after.as_secs()).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
            at.map_or("has expired".to_owned(), |at| format!("expired at {at}"))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: is the clock of this node right?".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "comes from an authority that is not trusted here: see ca_file".to_owned()
        }
        CertificateError::BadSignature => {
            "is signed by another key than that of the authority of this name: is ca_file out of date?"
                .to_owned()
        }
        CertificateError::Other(fault) => match verifier::describe(fault) {
            Some(fault) => fault,
            None if fault.to_string().contains("CaUsedAsEndEntity") => {
                "is an authority's own, which no client takes for a server's: give its SHA-256 as pin"
                    .to_owned()
            }
            None => format!("is not acceptable: {fault}"),
        },
        other => format!("is not acceptable: {other}"),
    }
}

/// A name as rustls presents it, `DnsName("www.example.com")`, without what is round it.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(presented);
    inner.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_does_not_serve_is_named() {
        let authorities = Authorities::default();
        let error = authorities.client(Some(Path::new("/does/not/exist"))).expect_err("missing");
        assert!(error.starts_with("cannot read ca_file /does/not/exist: "), "{error}");
        let error = authorities.client(Some(Path::new("/dev/null"))).expect_err("empty");
        assert_eq!(error, "ca_file /dev/null holds no certificate in PEM form");
    }

    #[test]
    fn certificate_faults_read_as_an_operator_speaks() {
        let said = |fault| describe("192.0.2.1:443", &io::Error::other(Error::InvalidCertificate(fault)));
        assert_eq!(said(CertificateError::Expired), "certificate of 192.0.2.1:443 has expired");
        assert!(said(CertificateError::NotValidYet).contains("is the clock of this node right?"));
        assert!(said(CertificateError::UnknownIssuer).contains("see ca_file"));
        assert!(said(CertificateError::Revoked).contains("is not acceptable: "));
    }
}
