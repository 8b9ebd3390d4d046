//! Witnesses that a connection is made to: tried when the core asks, and told to it when one is there.
//!
//! What does not answer is not told. When to ask, and what silence means, is the core's business.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use vrrp_proto::Instant;
use vrrp_proto::action::Input;
use vrrp_proto::parameters::RouterId;

use super::Daemon;
use crate::protocol;

/// Attempts under way for one witness. The core asks again before the first of them has ended: a packet
/// that is lost must not count as silence.
const ATTEMPTS_MAX: usize = 8;

/// Who is asked what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    router: RouterId,
    nth: u16,
    asked: Instant,
}

/// Attempts that have not ended.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    attempts: JoinSet<(Attempt, bool)>,
    under_way: Vec<Attempt>,
}

impl Witnesses {
    fn ask(&mut self, attempt: Attempt, server: SocketAddr, within: Duration) {
        let Attempt { router, nth, .. } = attempt;
        let same = |other: &&Attempt| other.router == router && other.nth == nth;
        if self.under_way.iter().filter(same).count() < ATTEMPTS_MAX {
            self.under_way.push(attempt);
            self.attempts.spawn(async move {
                let connected = timeout(within, TcpStream::connect(server)).await;
                (attempt, matches!(connected, Ok(Ok(_))))
            });
        }
    }

    /// The next attempt that ends, and whether the witness was there; `None` while there is none.
    pub(super) async fn next(&mut self) -> Option<Option<Input<'static>>> {
        // They neither panic nor are they aborted.
        let (attempt, reached) = self.attempts.join_next().await?.ok()?;
        self.under_way.retain(|other| *other != attempt);
        let Attempt { router, nth, asked } = attempt;
        Some(reached.then_some(Input::Witnessed { router, nth, asked }))
    }
}

impl Daemon {
    /// The core wants to know.
    pub(super) fn ask_witnesses(&mut self, router: RouterId, asked: Instant, within: Duration) {
        let witness = self.roster.get(router).and_then(|entry| entry.config.witness.as_ref());
        let servers = witness.map(|witness| witness.tcp.as_slice()).unwrap_or_default();
        for (nth, &server) in (0..).zip(servers) {
            self.witnesses.ask(Attempt { router, nth, asked }, server, within);
        }
    }

    /// One of them was reached.
    pub(super) fn witnessed(&self, reached: Option<Input<'static>>) {
        if let Some(input) = reached {
            self.wires.messages.push_waiting(protocol::Message::Input(input));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn attempt(nanoseconds: u64) -> Attempt {
        Attempt { router: RouterId(3), nth: 1, asked: Instant::from_nanos(nanoseconds) }
    }

    #[tokio::test]
    async fn a_server_that_is_there_is_told_with_the_question_and_one_that_is_not_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface is there");
        let server = listener.local_addr().expect("it is bound");
        let mut witnesses = Witnesses::default();
        witnesses.ask(attempt(7), server, LONG);
        let told = witnesses.next().await.expect("one is under way");
        let Some(Input::Witnessed { router: RouterId(3), nth: 1, asked }) = told else {
            panic!("it was not reached: {told:?}");
        };
        assert_eq!(asked, Instant::from_nanos(7));
        drop(listener);
        witnesses.ask(attempt(8), server, LONG);
        assert!(witnesses.next().await.expect("one is under way").is_none());
        assert!(witnesses.next().await.is_none(), "none is left");
        assert_eq!(witnesses.under_way, []);
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_tried_a_few_times_at_once_and_not_more() {
        let server = "127.0.0.1:9".parse().expect("an address and a port");
        let mut witnesses = Witnesses::default();
        // None of them is waited for.
        (0..100).for_each(|nth| witnesses.ask(attempt(nth), server, LONG));
        assert_eq!(witnesses.under_way.len(), ATTEMPTS_MAX);
    }
}
