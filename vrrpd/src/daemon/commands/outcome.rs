//! What became of an order, for whoever gave it: a client, or a peer that asked.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};
use vrrp_proto::Family;
use vrrp_proto::action::{HandedOver, OrderOutcome, OrderRefusal};

use super::remote::Asked;
use super::{ANSWER_WITHIN, Commands, Waiting};
use crate::config;
use crate::control::exit;
use crate::control::protocol::{Answer, Done, Handover, Refusal, VERSION, Yielded};
use crate::control::time::Span;
use crate::daemon::Daemon;
use crate::history::What;
use crate::peer_link::{self, Message};

/// Where the answer goes: to a client, or to the peer that asked.
#[derive(Debug)]
pub(super) enum Answering {
    Client(oneshot::Sender<Answer>),
    Peer(SocketAddr, u64),
}

impl Daemon {
    /// The core says what became of an order.
    pub(in crate::daemon) fn order_answered(&mut self, number: u32, outcome: OrderOutcome) {
        let Some(waiting) = self.commands.waiting.remove(&number) else { return };
        let Waiting { router, command, by, mut notes, answer, .. } = waiting;
        let Some(config) = self.roster.get(router).map(|entry| entry.config.clone()) else {
            let gone = Refusal::condition("the virtual router was removed by a reload meanwhile");
            return self.reply(answer, Err(gone));
        };
        let name = config.name.clone();
        let kept = match outcome {
            OrderOutcome::NobodyFollowed | OrderOutcome::Refused(_) if command == "drain" => {
                self.standing.note(&name, |orders| orders.drained = None)
            }
            OrderOutcome::HandedOver(HandedOver { to, yielded: true, .. }) => {
                self.standing.note(&name, |orders| orders.yielded = Some(Yielded { by, to }))
            }
            _ if command == "drain" => self.standing.note(&name, |orders| orders.yielded = None),
            _ => None,
        };
        if let Some(trouble) = kept {
            warn!(virtual_router = name, "{trouble}");
            notes.push(format!("{trouble}: a restart before that will not remember this"));
        }
        let message = match outcome {
            OrderOutcome::Done if command == "announce" => announces(&config),
            OrderOutcome::Done if command == "drain" => "drained; it held no addresses".to_owned(),
            OrderOutcome::Done => "took the role back: this node is Active".to_owned(),
            OrderOutcome::HandedOver(handed) => {
                return self.handed_over(&config, command, &handed, notes, answer);
            }
            OrderOutcome::LeftAlone if command == "drain" => {
                let message = "drained; nobody was seen to take over before the addresses went".to_owned();
                let done = Done { degraded: true, ..done(&name, command, message, notes) };
                return self.reply(answer, Ok(done));
            }
            OrderOutcome::LeftAlone | OrderOutcome::NobodyFollowed | OrderOutcome::Refused(_) => {
                let said = failure(&config, command, outcome);
                let message = std::iter::once(said).chain(notes).collect::<Vec<_>>().join(". ");
                return self.fail(&name, command, message, answer);
            }
        };
        self.done(&name, command, message, notes, answer);
    }

    fn handed_over(
        &mut self,
        config: &config::VirtualRouter,
        command: &'static str,
        handed: &HandedOver,
        mut notes: Vec<String>,
        answer: Answering,
    ) {
        let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let handover = Handover {
            successor: handed.to,
            priority: handed.priority,
            waited_us: us(handed.waited),
            overlap_us: us(handed.overlap),
            // The addresses went after its first advertisement, or the core would not have seen one.
            gap_us: 0,
        };
        let name = &config.name;
        let message = match command {
            "drain" => format!("drained; {} took over", handed.to),
            _ => format!("handed over to {}", handed.to),
        };
        info!(virtual_router = name, "{message}: {handover}");
        self.record(What::HandedOver { virtual_router: name.clone(), handover });
        notes.push(
            "what a client saw is not measured: probe the address from another machine for that".to_owned(),
        );
        if handed.yielded {
            notes.push(format!(
                "it ranks below this node, and is not preempted before this node has been Active again; \
                 vrrpctl switchover {name} here takes it back"
            ));
        }
        let done = Done { handover: Some(handover), ..done(name, command, message, notes) };
        self.reply(answer, Ok(done));
    }

    /// A router became Active: what it had handed over is here again.
    pub(in crate::daemon) fn active_again(&mut self, name: &str) {
        let trouble = self.standing.note(name, |orders| orders.yielded = None);
        trouble.iter().for_each(|trouble| warn!(virtual_router = name, "{trouble}"));
    }

    pub(super) fn give_up_waiting(&mut self) {
        let Commands { waiting, asked, .. } = &mut self.commands;
        let now = tokio::time::Instant::now();
        let late: Vec<u32> =
            waiting.iter().filter(|(_, it)| it.until <= now).map(|(number, _)| *number).collect();
        let lost: Vec<Waiting> = late.iter().filter_map(|number| waiting.remove(number)).collect();
        let late: Vec<u64> =
            asked.iter().filter(|(_, it)| it.until <= now).map(|(number, _)| *number).collect();
        let unanswered: Vec<Asked> = late.iter().filter_map(|number| asked.remove(number)).collect();
        for Waiting { router, command, answer, .. } in lost {
            let name = self.name(router);
            let message =
                format!("no outcome within {ANSWER_WITHIN:?}; vrrpctl why {name} says how it stands");
            self.fail(&name, command, message, answer);
        }
        for Asked { peer, router, answer, .. } in unanswered {
            let name = self.name(router);
            let message = format!(
                "{peer} did not answer on the peer link within {ANSWER_WITHIN:?}; vrrpctl state {name} shows who is \
                 Active"
            );
            self.fail(&name, "switchover", message, answer);
        }
    }

    pub(super) fn done(
        &mut self,
        name: &str,
        command: &str,
        message: String,
        notes: Vec<String>,
        answer: Answering,
    ) {
        self.reply(answer, Ok(done(name, command, message, notes)));
    }

    /// Not obeyed: told to who asked, and kept in the history.
    pub(super) fn fail(&mut self, name: &str, command: &str, message: String, answer: Answering) {
        info!(virtual_router = name, "{command} was not obeyed: {message}");
        let (virtual_router, command) = (name.to_owned(), command.to_owned());
        self.record(What::OrderFailed { virtual_router, command, message: message.clone() });
        self.reply(answer, Err(Refusal::condition(format!("{name}: {message}"))));
    }

    pub(super) fn reply(&mut self, answer: Answering, outcome: Result<Done, Refusal>) {
        match answer {
            // The client may have gone.
            Answering::Client(client) => {
                drop(client.send(outcome.map_or_else(Answer::Error, Answer::Done)));
            }
            Answering::Peer(peer, number) => {
                let answer = match outcome {
                    Ok(done) => peer_link::Answer {
                        number,
                        exit_code: exit::FINE,
                        text: done.message,
                        handover: done.handover,
                    },
                    Err(Refusal { exit_code, message }) => {
                        peer_link::Answer { number, exit_code, text: message, handover: None }
                    }
                };
                let mut served = self.commands.served.iter_mut();
                if let Some(served) = served.find(|served| (served.peer, served.number) == (peer, number)) {
                    served.answer = Some(answer.clone());
                }
                self.peers.send(peer, Message::Answer(answer));
            }
        }
    }
}

/// An order that was obeyed.
pub(super) fn done(name: &str, command: &str, message: String, notes: Vec<String>) -> Done {
    Done {
        version: VERSION,
        command: command.to_owned(),
        virtual_router: name.to_owned(),
        message,
        notes,
        degraded: false,
        handover: None,
    }
}

/// What is announced, how often and where.
fn announces(config: &config::VirtualRouter) -> String {
    let garp = &config.garp;
    let bursts = match config.family {
        Family::Ipv4 => {
            let spacing = |count, span| format!("{count} times, {} apart", Span(span));
            let first = format!("with gratuitous ARP {}", spacing(garp.count, garp.interval));
            let second = format!(", and again after {}", Span(garp.second_after));
            first + if garp.second_after.is_zero() { "" } else { &second }
        }
        Family::Ipv6 => String::from("with neighbour advertisements 3 times, 1s apart"),
    };
    let on: Vec<&str> =
        std::iter::once(&config.interface).chain(&garp.interfaces).map(String::as_str).collect();
    let addresses = match config.addresses.len() {
        1 => String::from("its address"),
        count => format!("its {count} addresses"),
    };
    format!("announces {addresses} on {} {bursts}", on.join(", "))
}

/// Why an order came to nothing, and what to do.
fn failure(config: &config::VirtualRouter, command: &str, outcome: OrderOutcome) -> String {
    let name = &config.name;
    match outcome {
        OrderOutcome::Refused(OrderRefusal::NoActiveRouter) if command == "drain" => {
            "no Active Router is heard: when this node leaves, nobody may hold the addresses. Not drained; --force to \
             leave nevertheless"
                .to_owned()
        }
        OrderOutcome::Refused(why) => match why {
            OrderRefusal::Owner => "priority 255 owns the addresses, which are the administrator's to move".to_owned(),
            OrderRefusal::NotActive if command == "announce" => format!(
                "is not Active here, and only the Active Router announces the addresses; vrrpctl state {name} says who is"
            ),
            OrderRefusal::NotActive => format!("is not Active here any more; vrrpctl why {name}"),
            OrderRefusal::NoAddress => {
                format!("none of its addresses is on the interface: nothing to announce; vrrpctl state {name}")
            }
            OrderRefusal::NotYielded => "has not handed over to a router of lower rank: nothing to take back".to_owned(),
            OrderRefusal::NoActiveRouter => "no Active Router is heard; this node claims the addresses by itself".to_owned(),
            OrderRefusal::Outranked => {
                format!("the Active Router does not rank below this node; run vrrpctl switchover {name} there")
            }
            OrderRefusal::NotReady => format!(
                "cannot have the role now: checks have not reported, the kernel refused an address, or this node was \
                 away and listens first; vrrpctl state {name}"
            ),
            OrderRefusal::Busy => "a handover is under way; try again when it is over".to_owned(),
        },
        OrderOutcome::LeftAlone => {
            format!("something else took the addresses away before anybody was seen to take over; vrrpctl why {name}")
        }
        _ => {
            let interval = config.advertisement_interval.duration();
            let waited = (interval + Duration::from_millis(20)).min(Duration::from_secs(3));
            let remedy = if command == "drain" { "not drained; --force to leave nevertheless" } else { "not handed over" };
            format!("nobody took over within {waited:?}; this node went on as Active: {remedy}")
        }
    }
}
