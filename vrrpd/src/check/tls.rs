//! TLS of HTTP checks: which authorities are trusted, and what is said of a certificate.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

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
            Some(file) => client_of(read(file)?),
            None => self.system.get_or_init(|| client_of(system()?)).clone(),
        }
    }
}

fn read(file: &Path) -> Result<RootCertStore, String> {
    let shown = file.display();
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cannot read ca_file {shown}: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| format!("ca_file {shown} holds a bad certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("ca_file {shown} holds no certificate in PEM form"));
    }
    Ok(roots)
}

fn system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err("the system trusts no authority: install ca-certificates, or give ca_file".to_owned());
    }
    Ok(roots)
}

fn client_of(roots: RootCertStore) -> Client {
    let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would not show a certificate that has expired since.
    client.resumption = Resumption::disabled();
    Ok(Arc::new(client))
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
            let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
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
        other => format!("is not acceptable: {other}"),
    }
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
