//! `registry_parity = { ... }`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::endpoint::{Endpoint, endpoint_keys};
use super::{Kind, Usual};
use crate::config::Effect;
use crate::config::diagnostic::Faults;
use crate::config::keys::Key;
use crate::config::show::{Entries, inline};
use crate::config::table::Table;
use crate::config::value;

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = endpoint_keys!["peer", "page_size", "rate"];

/// The keys of `peer`.
pub(in crate::config) const PEER_KEYS: &[Key] = endpoint_keys![];

/// `registry_parity = { url = "https://...", peer = { url = "https://..." } }`: both registries have the
/// same images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryParity {
    /// This node's registry.
    pub endpoint: Endpoint,
    /// The peer's.
    pub peer: Endpoint,
    /// Entries of a page of a list, 1 to 1000; default 100.
    pub page_size: u16,
    /// Most requests a second to each registry, 1 to 1000; default 20.
    pub rate: u16,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<RegistryParity> {
    let table = check.table("registry_parity", KEYS, faults);
    let table = table.given()?;
    let endpoint = Endpoint::read(table, "https://192.0.2.193", value::base_url, faults);
    let peer = table.table("peer", PEER_KEYS, faults);
    if table.key("peer").is_none() && !faults.incomplete() {
        faults.error(
            &table.span,
            format!("[{}] has no peer", table.path),
            "the other node's registry: peer = { url = \"https://192.0.2.194\" }",
        );
    }
    let peer_endpoint =
        peer.given().and_then(|peer| Endpoint::read(peer, "https://192.0.2.194", value::base_url, faults));
    let page_size = table.field("page_size", faults, value::up_to_1000);
    let rate = table.field("rate", faults, value::up_to_1000);
    let (endpoint, peer_endpoint) = (endpoint?, peer_endpoint?);
    if endpoint.url == peer_endpoint.url
        && endpoint.connect == peer_endpoint.connect
        && let Some(peer) = peer.at()
    {
        faults.error(&peer.span, "peer is the same registry as url", "the one on the other node");
    }
    Some(RegistryParity { endpoint, peer: peer_endpoint, page_size: page_size.or(100)?, rate: rate.or(20)? })
}

impl Kind for RegistryParity {
    fn show(&self) -> Entries {
        let mut entries = self.endpoint.show();
        entries.push(("peer", inline(&self.peer.show())));
        entries.push(("page_size", self.page_size.to_string()));
        entries.push(("rate", self.rate.to_string()));
        vec![("registry_parity", inline(&entries))]
    }

    fn files(&self) -> Vec<(&'static str, &Path)> {
        self.endpoint.files().into_iter().chain(self.peer.files()).collect()
    }

    fn target(&self) -> Option<IpAddr> {
        self.endpoint.target()
    }

    /// It goes through everything, and says nothing of this node alone.
    fn usual(&self) -> Usual {
        Usual { interval: Duration::from_secs(600), effect: Effect::Alert }
    }
}
