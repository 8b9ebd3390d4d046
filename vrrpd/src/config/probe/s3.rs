//! `s3 = { ... }`: an object that everybody may read, by its URL.

use std::net::IpAddr;
use std::path::Path;

use super::Kind;
use super::endpoint::{Endpoint, endpoint_keys};
use crate::config::Sha256;
use crate::config::diagnostic::Faults;
use crate::config::keys::Key;
use crate::config::show::{Entries, inline, quoted};
use crate::config::table::Table;
use crate::config::value;

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = endpoint_keys!["length", "sha256"];

/// `s3 = { url = "http://192.0.2.193:9000/bucket/object" }`.
///
/// Without `sha256` only the head of the object is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// Who is asked; the path is the object's.
    pub endpoint: Endpoint,
    /// Octets of the object; default: any, but not none.
    pub length: Option<u64>,
    /// Digest of the object, for which it is downloaded.
    pub sha256: Option<Sha256>,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<S3> {
    let table = check.table("s3", KEYS, faults);
    let table = table.given()?;
    let endpoint = Endpoint::read(table, "http://192.0.2.193:9000/bucket/object", value::url, faults);
    let length = table.field("length", faults, value::octets);
    let sha256 = table.field("sha256", faults, value::sha256);
    if let Some(endpoint) = &endpoint
        && endpoint.url.path.trim_matches('/').split('/').count() < 2
    {
        faults.error(
            &table.span,
            format!("s3: {} names no object", endpoint.url),
            "the path of url is a bucket and an object: /bucket/object",
        );
    }
    Some(S3 { endpoint: endpoint?, length: length.optional()?, sha256: sha256.optional()? })
}

impl Kind for S3 {
    fn show(&self) -> Entries {
        let mut entries = self.endpoint.show();
        entries.extend(self.length.map(|length| ("length", length.to_string())));
        entries.extend(self.sha256.map(|digest| ("sha256", quoted(&digest.to_string()))));
        vec![("s3", inline(&entries))]
    }

    fn files(&self) -> Vec<(&'static str, &Path)> {
        self.endpoint.files()
    }

    fn target(&self) -> Option<IpAddr> {
        self.endpoint.target()
    }
}
