//! What strangers may send us, for the fuzzer (`tests/fuzz`) and for the plain test that tries again
//! what it kept. Nothing here is part of the programs.

use crate::config;
use crate::control::protocol::Answer;
use crate::control::server;
use crate::{check, ctl, daemon, dns_update, doctor, peer_link};

#[cfg(test)]
#[path = "../../tests/fuzz/corpus.rs"]
mod corpus;

/// A configuration file: what is loaded is shown as a file that loads as the same, and whatever is
/// refused has a fault that says why.
///
/// # Panics
///
/// If not.
pub fn config(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let config = match config::parse("fuzz.toml", text) {
        Ok((config, _)) => config,
        Err(faults) => {
            assert!(faults.iter().any(|fault| fault.severity == config::Severity::Error), "{faults}");
            assert!(!faults.to_string().is_empty());
            return;
        }
    };
    let shown = config::to_toml(&config);
    let (again, _) = config::parse("again.toml", &shown).unwrap_or_else(|faults| panic!("{faults}{shown}"));
    assert_eq!(again, config, "{shown}");
    assert!(config::differences(&config, &again).is_empty(), "{shown}");
    let expanded = config::to_toml_expanded(&config);
    config::parse("expanded.toml", &expanded).unwrap_or_else(|faults| panic!("{faults}{expanded}"));
}

/// A request on the control socket, an answer to `vrrpctl`, a file of orders: each is written as what
/// reads back to itself.
///
/// # Panics
///
/// If not.
pub fn control(octets: &[u8]) {
    if let Ok(request) = server::parse(octets) {
        let line = serde_json::to_vec(&request).expect("requests have string keys");
        assert_eq!(server::parse(&line), Ok(request.clone()), "{}", request.command());
        assert!(!request.takes_time() || request.changes(), "{}", request.command());
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(octets) {
        let line = serde_json::to_vec(&answer).expect("answers have string keys");
        assert_eq!(serde_json::from_slice::<Answer>(&line).expect("it was one"), answer);
        ctl::show(&answer);
    }
    if let Ok(text) = std::str::from_utf8(octets) {
        daemon::read_orders(text);
    }
}

/// A datagram of the peer link, as it is and sealed with our key.
///
/// # Panics
///
/// When a datagram is believed that nobody with the key wrote, or twice.
pub fn peer_link(octets: &[u8]) {
    peer_link::fuzz(octets);
}

/// What a DNS server answers to a check and to an update.
///
/// # Panics
///
/// When an answer without our key's signature changes what is believed.
pub fn dns(octets: &[u8]) {
    dns_update::fuzz(octets);
    check::dns::fuzz(octets);
}

/// What services answer to checks, and the tools and files of this machine to `vrrpctl doctor`.
pub fn answers(octets: &[u8]) {
    check::fuzz(octets);
    doctor::fuzz(octets);
}

#[cfg(test)]
mod tests {
    use super::corpus;
    use crate::control::protocol::Request;

    #[test]
    fn what_the_fuzzer_kept_is_harmless() {
        corpus::each("config", super::config);
        corpus::each("control", super::control);
        corpus::each("peer_link", super::peer_link);
        corpus::each("dns", super::dns);
        corpus::each("answers", super::answers);
    }

    #[test]
    fn every_request_has_a_file_in_the_corpus() {
        let mut commands = std::collections::BTreeSet::new();
        corpus::each("control", |octets| {
            commands.extend(super::server::parse(octets).ok().as_ref().map(Request::command));
        });
        assert_eq!(commands.len(), 13, "{commands:?}");
    }
}
