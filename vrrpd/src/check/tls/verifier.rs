//! What rustls asks of a certificate during the handshake: is it the pinned one, or does an authority
//! vouch for it that is itself within its dates?
//!
//! webpki does not look at the dates of the authorities that it is told to trust. Every client does, so
//! that a service whose authority has expired is broken for all of them.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::check::hash::sha256;
use crate::config::Sha256;

/// Verifies what a server shows.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trusted: Trusted,
    pub(super) provider: Arc<CryptoProvider>,
}

/// Who is trusted.
#[derive(Debug)]
pub(super) enum Trusted {
    /// One certificate, by its digest. Its names are checked like those of any other, its dates by
    /// [`Trust`](super::Trust).
    Pin(Sha256),
    /// Whom these vouch for.
    Authorities(Vec<Authority>),
}

/// An authority and its dates, in seconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    anchor: TrustAnchor<'static>,
    begin: i64,
    end: i64,
}

impl Authority {
    /// Reads its certificate.
    pub(super) fn parse(certificate: CertificateDer<'static>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
        let validity = parsed.validity();
        let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(|error| error.to_string())?;
        let anchor = roots.roots.pop().expect("it has just been added");
        Ok(Self { anchor, begin, end })
    }

    fn fault(&self, now: i64) -> Option<OutOfDate> {
        let at = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        match now {
            now if now < self.begin => Some(OutOfDate::NotYet(at(self.begin))),
            now if now > self.end => Some(OutOfDate::Expired(at(self.end))),
            _ => None,
        }
    }
}

/// The only authority that vouches for a certificate is out of its dates.
#[derive(Debug, thiserror::Error)]
enum OutOfDate {
    #[error("comes from an authority that is not valid before {0}: is the clock of this node right?")]
    NotYet(Timestamp),
    #[error("comes from an authority that expired at {0}")]
    Expired(Timestamp),
}

/// Another certificate than the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("is {found} instead of the pinned {pin}")]
struct NotPinned {
    found: Sha256,
    pin: Sha256,
}

/// What is wrong with a certificate, where it is one of the faults that are found here.
pub(super) fn describe(fault: &OtherError) -> Option<String> {
    let pinned = fault.0.downcast_ref::<NotPinned>().map(NotPinned::to_string);
    pinned.or_else(|| fault.0.downcast_ref::<OutOfDate>().map(OutOfDate::to_string))
}

fn other(fault: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(fault))).into()
}

impl Verifier {
    /// Does one of them vouch for it, who is within its dates?
    fn vouched(
        &self,
        authorities: &[Authority],
        certificate: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let by = |anchors: &mut dyn Iterator<Item = &Authority>| {
            let roots = RootCertStore { roots: anchors.map(|one| one.anchor.clone()).collect() };
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(certificate, &roots, intermediates, now, algorithms)
        };
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let verdict = by(&mut authorities.iter().filter(|one| one.fault(seconds).is_none()));
        if verdict.is_ok() {
            return verdict;
        }
        for authority in authorities {
            if let Some(fault) = authority.fault(seconds)
                && by(&mut std::iter::once(authority)).is_ok()
            {
                return Err(other(fault));
            }
        }
        verdict
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = || ParsedCertificate::try_from(end_entity);
        match &self.trusted {
            Trusted::Pin(pin) => {
                let (found, pin) = (sha256(end_entity), *pin);
                if found != pin {
                    return Err(other(NotPinned { found, pin }));
                }
            }
            Trusted::Authorities(authorities) => {
                self.vouched(authorities, &certificate()?, intermediates, now)?;
            }
        }
        verify_server_name(&certificate()?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
