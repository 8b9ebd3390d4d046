//! Orders that cross the peer link: a Backup asks the Active Router to hand over.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::info;
use vrrp_proto::action::Order;
use vrrp_proto::parameters::RouterId;
use vrrp_proto::snapshot::StateName;

use super::outcome::{Answering, done};
use super::{ANSWER_WITHIN, Given, with_force};
use crate::control::exit;
use crate::control::protocol::{By, Done, PeerNode, Refusal, Request};
use crate::daemon::Daemon;
use crate::history::What;
use crate::peer_link::{self, Message};

/// A handover that a peer was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) peer: SocketAddr,
    pub(super) router: RouterId,
    pub(super) ask: peer_link::Ask,
    pub(super) answer: Answering,
    pub(super) until: tokio::time::Instant,
}

/// A question of a peer, which may come again.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) peer: SocketAddr,
    pub(super) number: u64,
    pub(super) answer: Option<peer_link::Answer>,
}

impl Daemon {
    /// On a Backup: the Active Router is asked to hand over, or what was handed over is taken back.
    pub(super) fn fetch(&mut self, given: Given, force: bool) {
        let (name, config) = (&given.config.name, &given.config);
        let active = self.peers.peers().into_iter().filter(PeerNode::is_fresh).find_map(|peer| {
            let other = peer.counterpart(name, config.vrid.get(), config.family)?;
            (other.state == StateName::Active).then(|| (peer.address, other.name.clone()))
        });
        let until = tokio::time::Instant::now() + ANSWER_WITHIN;
        if let Some((peer, virtual_router)) = active {
            // No number of a process before this one comes again.
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let number = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            let Given { router, by, answer, .. } = given;
            let by = By { node: Some(self.config.daemon.node.clone()), ..by };
            let ask = peer_link::Ask { number, virtual_router, force, by };
            self.peers.send(peer, Message::Ask(ask.clone()));
            self.commands.asked.insert(number, Asked { peer, router, ask, answer, until });
        } else if self.standing.of(name).yielded.is_some() {
            self.give(given, Order::TakeBack, "switchover", Vec::new());
        } else {
            let why = if self.peers.is_open() {
                "no peer says on the peer link that it is Active"
            } else {
                "without a peer link ([peer_link]) it cannot be asked from here"
            };
            let message = format!(
                "is Backup here, and {why}. Run vrrpctl switchover {name} on the Active node (vrrpctl state {name} \
                 shows its address)"
            );
            self.fail(name, "switchover", message, given.answer);
        }
    }

    /// A question or an answer of a peer.
    pub(in crate::daemon) fn peer_said(&mut self, peer: SocketAddr, message: Message) {
        match message {
            Message::Ask(ask) => self.peer_asks(peer, ask),
            Message::Answer(answer) => self.peer_answers(answer),
            Message::Fitness(_) | Message::Alive => {}
        }
    }

    /// A Backup wants the role. Asked again, it is answered again, and nothing is done twice.
    fn peer_asks(&mut self, peer: SocketAddr, ask: peer_link::Ask) {
        /// Questions that are remembered.
        const REMEMBERED: usize = 16;
        let served =
            self.commands.served.iter().find(|served| (served.peer, served.number) == (peer, ask.number));
        if let Some(served) = served {
            if let Some(answer) = served.answer.clone() {
                self.peers.send(peer, Message::Answer(answer));
            }
            return;
        }
        if self.commands.served.len() >= REMEMBERED {
            self.commands.served.remove(0);
        }
        self.commands.served.push(Served { peer, number: ask.number, answer: None });
        let peer_link::Ask { number, virtual_router: name, force, by } = ask;
        let command = format!("switchover {name}{}, asked by {by}", with_force(force));
        info!(%peer, "ordered: {command}");
        self.record(What::Command { uid: Some(by.uid), command, reason: by.reason.clone() });
        let request = Request::Switchover { name, reason: by.reason.clone(), force };
        self.obey(&request, by, Answering::Peer(peer, number));
    }

    fn peer_answers(&mut self, answered: peer_link::Answer) {
        let Some(Asked { router, answer, .. }) = self.commands.asked.remove(&answered.number) else { return };
        let name = self.name(router);
        if answered.exit_code != exit::FINE {
            let message = format!("the Active node did not hand over: {}", answered.text);
            let refusal = Refusal { exit_code: answered.exit_code, message: format!("{name}: {message}") };
            return self.reply(answer, Err(refusal));
        }
        let message = "the Active node handed over".to_owned();
        let degraded = self.commands.state(router) != StateName::Active;
        let mut notes = Vec::new();
        if degraded {
            notes.push(format!("this node is not Active yet: vrrpctl why {name}"));
        }
        let handover = answered.handover;
        let done = Done { degraded, handover, ..done(&name, "switchover", message, notes) };
        self.reply(answer, Ok(done));
    }
}
