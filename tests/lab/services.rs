//! What bootstrap nodes are for: an image registry, a chart repository, a file server, the name
//! servers that lead to them, and a client that uses all of it. The real programs, on nodes of the
//! laboratory, as processes that end with the test.
//!
//! Ports are those of the trade: 443 with TLS for images, 8081 for charts, 9000 for files.

pub mod certificate;
pub mod charts;
pub mod client;
pub mod container;
pub mod files;
pub mod front;
pub mod image;
pub mod names;
pub mod registry;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub use certificate::{Authority, Certificate};
pub use charts::Charts;
pub use client::{Client, Errand, Visits};
pub use container::Container;
pub use files::Files;
pub use image::Image;
pub use registry::Registry;

use crate::{DEADLINE, Daemon, Node, wait_for};

/// The name by which clients find all services.
pub const NAME: &str = "www.tinder-node-server.com";

/// Waits until `daemon` accepts connections to a port of its node's own address.
///
/// # Panics
/// When it has ended instead, with its log.
fn wait_for_port(node: &Node, daemon: &mut Daemon, port: u16) {
    let address: SocketAddr = format!("{}:{port}", node.ipv4()).parse().expect("an address and a port");
    wait_for(&format!("{}: somebody on port {port}", node.name()), DEADLINE, || {
        assert!(daemon.is_running(), "it ended:\n{}", daemon.log());
        let connected = node.namespace().enter(|| TcpStream::connect_timeout(&address, PATIENCE));
        connected.is_ok().then_some(())
    });
}

/// How long a connection within a node may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Octets that look like content: they do not compress, and differ for each `seed`.
fn content(seed: &str, length: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(1_u64, |state, octet| state.wrapping_mul(31) + u64::from(octet));
    let mut next = || {
        // Knuth's MMIX generator; its high octets are random enough to defeat a compressor.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// SHA-256 in hexadecimal, as digests are written.
fn sha256(octets: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, octets);
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}
