//! Several routers of one host: when they advertise, and which of them is told what.

use std::time::Duration;

use super::scene::{A, OWN, ROUTER, addresses, announcement, facts, ms, parameters, with_addresses};
use crate::action::{Action, Input, Outcome};
use crate::parameters::{LinkId, Parameters, RouterId};
use crate::{AdverInterval, Instant, Node, Vrid};

const OTHER_ROUTER: RouterId = RouterId(1);

/// A host with two routers, and when each of them advertised.
struct Host {
    node: Node,
    now: Instant,
    sent: Vec<(RouterId, Instant)>,
}

impl Host {
    fn new(other: Parameters) -> Self {
        let mut host = Self { node: Node::new(), now: Instant::from_nanos(1 << 40), sent: Vec::new() };
        for (router, parameters) in [(ROUTER, parameters()), (OTHER_ROUTER, other)] {
            host.input(Input::Configure { router, parameters: Box::new(parameters) });
        }
        host
    }

    /// One router starts, the other so much later, and both are Active long since.
    fn active(other: Parameters, later: Duration) -> Self {
        let mut host = Self::new(other);
        host.input(Input::Facts { router: ROUTER, facts: facts(OWN) });
        host.run_for(later);
        host.input(Input::Facts { router: OTHER_ROUTER, facts: facts(OWN) });
        host.run_for(20 * A);
        host
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.node.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Woke);
            self.input(Input::Drained);
        }
        self.now = end;
    }

    fn input(&mut self, input: Input<'_>) {
        let mut actions = Vec::new();
        self.node.handle(input, self.now, &mut actions);
        for action in actions {
            match action {
                Action::Acquire(ownership) => {
                    let (router, ticket) = (ownership.router, ownership.ticket);
                    for index in ownership.range {
                        let outcome = Outcome::Added { index, foreign: false };
                        self.input(Input::Outcome { router, ticket, outcome });
                    }
                    self.input(Input::Outcome { router, ticket, outcome: Outcome::Acquired });
                }
                Action::Advertise { router, priority } => {
                    self.sent.push((router, self.now));
                    self.input(Input::Sent { router, priority, sent: 1, failed: 0, errno: 0 });
                }
                _ => {}
            }
        }
    }

    fn times(&self, router: RouterId) -> Vec<Instant> {
        self.sent.iter().filter(|(of, _)| *of == router).map(|&(_, at)| at).collect()
    }

    fn gaps(&self, router: RouterId) -> Vec<Duration> {
        self.times(router).windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn conflicts(&self, router: RouterId) -> u64 {
        self.node.snapshot(router, self.now).expect("configured").statistics.address_conflicts
    }
}

fn other() -> Parameters {
    Parameters { vrid: Vrid::new(52).expect("not zero"), ..with_addresses(&["192.0.2.100"]) }
}

#[test]
fn those_of_one_interval_advertise_together() {
    for later in [ms(1), ms(300), ms(999)] {
        let host = Host::active(other(), later);
        assert!(host.gaps(ROUTER).iter().all(|&gap| gap == A), "the first one has nobody to follow");
        let gaps = host.gaps(OTHER_ROUTER);
        assert_eq!(gaps[0], A - later, "the first interval is shorter, not longer");
        assert!(gaps[1..].iter().all(|&gap| gap == A), "{gaps:?}");
        assert_eq!(host.times(ROUTER).last(), host.times(OTHER_ROUTER).last());
    }
}

#[test]
fn one_of_another_interval_keeps_its_own_time() {
    let interval = AdverInterval::from_centiseconds(70).expect("700 ms");
    let host = Host::active(Parameters { interval, ..other() }, ms(300));
    assert!(host.gaps(OTHER_ROUTER).iter().all(|&gap| gap == ms(700)));
    assert!(host.gaps(ROUTER).iter().all(|&gap| gap == A));
}

#[test]
fn what_is_shown_of_an_address_is_told_to_who_has_it_now() {
    let mut host = Host::active(other(), ms(300));
    let shown = |address: &str, host: &mut Host| {
        let (sighting, arrived) = (announcement(address), host.now);
        host.input(Input::Sighted { link: LinkId(0), sighting, arrived });
        [ROUTER, OTHER_ROUTER].map(|router| host.conflicts(router))
    };
    assert_eq!(shown("192.0.2.100", &mut host), [0, 1]);
    assert_eq!(shown("192.0.2.1", &mut host), [1, 1]);
    assert_eq!(shown("192.0.2.77", &mut host), [1, 1], "nobody's");
    let moved = Parameters { addresses: addresses(&["192.0.2.77"]), ..other() };
    host.input(Input::Configure { router: OTHER_ROUTER, parameters: Box::new(moved) });
    assert_eq!(shown("192.0.2.100", &mut host), [1, 1], "it has it no more");
    assert_eq!(shown("192.0.2.77", &mut host), [1, 2]);
}
