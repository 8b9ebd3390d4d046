//! A private authority and the certificates it gives to registries.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

/// Signs certificates; who trusts it needs [`pem`](Self::pem).
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate alone; its authority is the root.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// A new one, with a new key.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bootstrap laboratory");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("ring makes keys");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("the parameters are sound");
        Self { issuer }
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names and addresses, valid for a year of the machine's clock.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        let mut params = CertificateParams::default();
        let alternative = |name: &&str| match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().expect("a DNS name")),
        };
        params.subject_alt_names = names.iter().map(alternative).collect();
        let today = time::OffsetDateTime::now_utc();
        params.not_before = today - time::Duration::days(1);
        params.not_after = today + time::Duration::days(365);
        let key = KeyPair::generate().expect("ring makes keys");
        let signed = params.signed_by(&key, &self.issuer).expect("the parameters are sound");
        Certificate { certificate: signed.pem(), key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
