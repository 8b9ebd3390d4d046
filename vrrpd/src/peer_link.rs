//! The peer link: what the daemons of a group tell each other beside VRRP.
//!
//! Each second, and when something changes, a daemon tells the others of each of its virtual routers
//! whether it could be Active ([`fitness`]); a Backup may ask the Active Router to hand over. One UDP
//! datagram carries one message; [`seal`] says how it is protected. Nothing of it reaches the protocol
//! thread, and nobody's role depends on it: only what an operator orders does.
//!
//! The link is off unless `[peer_link]` is configured; `docs/peer-link.md` says why it is not part
//! of VRRP.

pub(crate) mod fitness;
mod key;
mod seal;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tracing::{debug, info, warn};

use crate::config;
use crate::control::protocol::{By, Fitness, Handover, PeerNode};
use crate::control::time::WallTime;
use seal::{Fault, Seal, Tracked};

/// A refused datagram is a warning at most so often; all are counted.
const WARNING_SPACING: Duration = Duration::from_secs(60);
/// Time between two attempts to open the link.
const RETRY_SPACING: Duration = Duration::from_secs(5);
/// Longer than any datagram that is sent; a longer one is cut off, and fails its test.
const LONGEST: usize = 8 * 1024;

/// What one datagram says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(crate) enum Message {
    /// Of one virtual router.
    Fitness(Fitness),
    /// There is no virtual router to tell of, and the sender lives.
    Alive,
    /// The sender, a Backup, asks to be handed over to. Repeated until it is answered.
    Ask(Ask),
    /// To an [`Ask`] with this number.
    Answer(Answer),
}

/// A Backup asks the Active Router to hand over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Given by who asks; the same in each repetition.
    pub(crate) number: u64,
    /// The virtual router, as the one who is asked calls it.
    pub(crate) virtual_router: String,
    /// Also if the one who asks is not fit.
    pub(crate) force: bool,
    /// Who gave the order.
    pub(crate) by: By,
}

/// What became of an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Of the question.
    pub(crate) number: u64,
    /// Exit code for who asked; 0: handed over.
    pub(crate) exit_code: u8,
    /// In a sentence.
    pub(crate) text: String,
    /// How it went.
    pub(crate) handover: Option<Handover>,
}

/// The link, or that there is none.
pub(crate) struct PeerLink {
    configured: Option<(config::PeerLink, String)>,
    open: Option<Open>,
    /// Why it is configured and not open.
    pub(crate) trouble: Option<String>,
    tried: Instant,
}

struct Open {
    socket: UdpSocket,
    seal: Seal,
    peers: Vec<Peer>,
    buffer: Vec<u8>,
    warned: Option<Instant>,
}

/// Another daemon.
struct Peer {
    address: SocketAddr,
    tracked: Tracked,
    node: Option<String>,
    heard: Option<Instant>,
    received: u64,
    refused: u64,
    last_refusal: Option<String>,
    routers: Vec<(Instant, Fitness)>,
}

impl PeerLink {
    /// Opens it as configured, under this node's name. What stands in the way is told in `trouble`:
    /// no address depends on the link.
    pub(crate) fn start(config: Option<&config::PeerLink>, node: &str) -> Self {
        let configured = config.map(|config| (config.clone(), node.to_owned()));
        let mut link = Self { configured, open: None, trouble: None, tried: Instant::now() };
        link.try_to_open();
        link
    }

    /// Opens it anew: the configuration or the key may be another.
    pub(crate) fn restart(&mut self, config: Option<&config::PeerLink>, node: &str) {
        // The socket first: the new one may be for the same address.
        self.open = None;
        *self = Self::start(config, node);
    }

    /// Tries again, now and then, while it could not be opened: its address may have come up.
    pub(crate) fn retry(&mut self) {
        if self.trouble.is_some() && self.tried.elapsed() >= RETRY_SPACING {
            self.try_to_open();
        }
    }

    fn try_to_open(&mut self) {
        let Some((config, node)) = &self.configured else { return };
        self.tried = Instant::now();
        match Open::new(config, node) {
            Ok(open) => {
                info!(listen = %config.listen, "the peer link is open");
                self.open = Some(open);
                self.trouble = None;
            }
            Err(trouble) => {
                if self.trouble.as_ref() != Some(&trouble) {
                    warn!("the peer link is not open: {trouble}");
                }
                self.trouble = Some(trouble);
            }
        }
    }

    /// Is there to be a link, open or not?
    pub(crate) fn is_configured(&self) -> bool {
        self.configured.is_some()
    }

    /// Is there a link that may know something?
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Tells every peer of these virtual routers.
    pub(crate) fn tell(&mut self, fitness: Vec<Fitness>) {
        let Some(open) = &mut self.open else { return };
        let mut messages: Vec<Message> = fitness.into_iter().map(Message::Fitness).collect();
        if messages.is_empty() {
            messages.push(Message::Alive);
        }
        for index in 0..open.peers.len() {
            for message in &messages {
                open.send(index, message.clone());
            }
        }
    }

    /// Sends a message to the peer at this address.
    pub(crate) fn send(&mut self, to: SocketAddr, message: Message) {
        if let Some(open) = &mut self.open
            && let Some(index) = open.peers.iter().position(|peer| peer.address == to)
        {
            open.send(index, message);
        }
    }

    /// The next question or answer of a peer. What peers tell of themselves is kept ([`peers`](Self::peers)).
    /// Never comes back while there is no link; may be dropped at any time.
    pub(crate) async fn receive(&mut self) -> (SocketAddr, Message) {
        match &mut self.open {
            Some(open) => open.receive().await,
            None => std::future::pending().await,
        }
    }

    /// What is known of the peers, in configured order.
    pub(crate) fn peers(&self) -> Vec<PeerNode> {
        self.open.iter().flat_map(|open| &open.peers).map(Peer::shown).collect()
    }
}

impl Open {
    fn new(config: &config::PeerLink, node: &str) -> Result<Self, String> {
        let seal = Seal::new(key::read(&config.key_file)?, node)?;
        let cannot = |error: io::Error| format!("cannot listen on {}: {error}", config.listen);
        let socket = std::net::UdpSocket::bind(config.listen).map_err(cannot)?;
        socket.set_nonblocking(true).map_err(cannot)?;
        let socket = UdpSocket::from_std(socket).map_err(cannot)?;
        let peers = config.peers.iter().map(|&address| Peer {
            address,
            tracked: Tracked::default(),
            node: None,
            heard: None,
            received: 0,
            refused: 0,
            last_refusal: None,
            routers: Vec::new(),
        });
        Ok(Self { socket, seal, peers: peers.collect(), buffer: vec![0; LONGEST], warned: None })
    }

    fn send(&mut self, index: usize, message: Message) {
        let peer = &self.peers[index];
        let datagram = self.seal.close(message, &peer.tracked, WallTime::now());
        // A peer that cannot be reached is shown by its silence.
        if let Err(error) = self.socket.try_send_to(&datagram, peer.address) {
            debug!(peer = %peer.address, "cannot send on the peer link: {error}");
        }
    }

    async fn receive(&mut self) -> (SocketAddr, Message) {
        loop {
            // An error is that of an earlier datagram: nobody listens there yet.
            let Ok((octets, from)) = self.socket.recv_from(&mut self.buffer).await else { continue };
            if let Some(message) = self.received(octets, from) {
                return (from, message);
            }
        }
    }

    fn received(&mut self, octets: usize, from: SocketAddr) -> Option<Message> {
        let index = self.peers.iter().position(|peer| peer.address == from);
        let fault = match index.map(|index| &mut self.peers[index]) {
            None => Fault::Stranger,
            Some(peer) => match self.seal.open(&self.buffer[..octets], &mut peer.tracked, WallTime::now()) {
                Ok((node, message)) => {
                    peer.heard(node);
                    return peer.keep(message);
                }
                // Each start of a node begins with some of these.
                Err(Fault::Greeting | Fault::Stale) => return None,
                Err(fault) => {
                    peer.refused += 1;
                    peer.last_refusal = Some(fault.to_string());
                    fault
                }
            },
        };
        if self.warned.is_none_or(|last| last.elapsed() >= WARNING_SPACING) {
            self.warned = Some(Instant::now());
            warn!("peer link: refused a datagram from {from}: {fault} (further ones are counted)");
        }
        None
    }
}

impl Peer {
    fn heard(&mut self, node: String) {
        self.heard = Some(Instant::now());
        self.node = Some(node);
        self.received += 1;
    }

    /// What it tells of itself stays here; the rest is for the daemon.
    fn keep(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Fitness(fitness) => {
                let same = |(_, known): &(Instant, Fitness)| {
                    (&known.name, known.vrid, known.family) == (&fitness.name, fitness.vrid, fitness.family)
                };
                self.routers.retain(|known| !same(known));
                self.routers.push((Instant::now(), fitness));
                None
            }
            Message::Alive => None,
            message => Some(message),
        }
    }

    fn shown(&self) -> PeerNode {
        let ms = |at: Instant| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let fresh = |at: Instant| ms(at) <= PeerNode::FRESH_MS;
        PeerNode {
            address: self.address,
            node: self.node.clone(),
            age_ms: self.heard.map(ms),
            received: self.received,
            refused: self.refused,
            last_refusal: self.last_refusal.clone(),
            // One that it tells of no more is not there any more.
            virtual_routers: self
                .routers
                .iter()
                .filter(|(at, _)| fresh(*at))
                .map(|(_, it)| it.clone())
                .collect(),
        }
    }
}

/// For the fuzzer.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(octets: &[u8]) {
    seal::fuzz(octets);
}
