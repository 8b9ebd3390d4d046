//! SHA-256 of what comes in pieces.

use ring::digest::{Context, SHA256};

use crate::config::Sha256;

/// A digest that is not finished.
pub(super) struct Hasher(Context);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    pub(super) fn finish(self) -> Sha256 {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        Sha256(digest)
    }
}

/// The digest of octets that are all there.
pub(super) fn sha256(octets: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(octets);
    hasher.finish()
}
