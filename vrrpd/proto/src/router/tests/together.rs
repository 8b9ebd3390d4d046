//! Members of a sync group: what they leave to the group, to the moment. That a group settles, whatever
//! happens, is the matter of `tests/sync_groups.rs`.

use std::time::Duration;

use super::scene::{
    A, OTHER, OTHER_MAC, OWN, PEER, VRID, addresses, down_interval, facts, ip, ms, parameters,
};
use crate::action::{Action, Input, Order, OrderOutcome, OrderRefusal, Outcome, Report};
use crate::packet::{ChecksumForm, Datagram, Sighting, encode};
use crate::parameters::{
    Facts, GroupId, InterfaceState, LinkId, Parameters, RouterId, SecondPath, SecondPeer, Witness,
    WitnessPolicy,
};
use crate::snapshot::{Phase, Reason, Standing, StateName};
use crate::tracking::{Effect, TrackerId, TrackerState, Tracking};
use crate::{AdverInterval, Instant, Node, Priority, Vrid};

/// The members, in the order of their group.
const FIRST: RouterId = RouterId(0);
const SECOND: RouterId = RouterId(1);
const BOTH: [RouterId; 2] = [FIRST, SECOND];

fn address_of(router: RouterId) -> String {
    format!("198.51.100.{}", 1 + router.0)
}

/// A member with these parameters, but for what is its own.
fn member(router: RouterId, parameters: Parameters) -> Parameters {
    Parameters {
        link: LinkId(router.0),
        vrid: Vrid::new(VRID + router.0 as u8).expect("not zero"),
        addresses: addresses(&[&address_of(router)]),
        sync_group: Some(GroupId(3)),
        ..parameters
    }
}

/// A node with a group of two, each member on a link of its own; and its kernel.
struct Pair {
    node: Node,
    now: Instant,
    /// Nothing comes of what the kernel is asked for this member.
    mute: Option<RouterId>,
    actions: Vec<Action>,
}

impl Pair {
    /// Started: both are Backup.
    fn backup(parameters: Parameters) -> Self {
        let now = Instant::from_nanos(1_000_000_000_000);
        let mut pair = Self { node: Node::new(), now, mute: None, actions: Vec::new() };
        BOTH.into_iter().for_each(|router| pair.configure(router, parameters.clone()));
        BOTH.into_iter().for_each(|router| pair.input(Input::Facts { router, facts: facts(OWN) }));
        pair
    }

    /// Both are Active, an interval of silence after their first advertisements.
    fn active(parameters: Parameters) -> Self {
        let mut pair = Self::backup(parameters);
        pair.run_for(down_interval(150) + A);
        assert_eq!(pair.states(), [StateName::Active; 2]);
        pair.actions.clear();
        pair
    }

    fn configure(&mut self, router: RouterId, parameters: Parameters) {
        self.input(Input::Configure { router, parameters: Box::new(member(router, parameters)) });
    }

    fn input(&mut self, input: Input<'_>) {
        let mut done = self.actions.len();
        self.node.handle(input, self.now, &mut self.actions);
        while let Some(action) = self.actions.get(done).cloned() {
            done += 1;
            for answer in self.answers(&action) {
                self.node.handle(answer, self.now, &mut self.actions);
            }
        }
    }

    fn answers(&self, action: &Action) -> Vec<Input<'static>> {
        let (asked, outcomes) = match action {
            Action::Acquire(asked) => {
                (asked, vec![Outcome::Added { index: 0, foreign: false }, Outcome::Acquired])
            }
            Action::Release { ownership: asked, .. } => (asked, vec![Outcome::Released]),
            &Action::Advertise { router, priority } => {
                return vec![Input::Sent { router, priority, sent: 1, failed: 0, errno: 0 }];
            }
            _ => return Vec::new(),
        };
        let (router, ticket) = (asked.router, asked.ticket);
        let answered = outcomes.into_iter().filter(|_| self.mute != Some(router));
        answered.map(|outcome| Input::Outcome { router, ticket, outcome }).collect()
    }

    /// Time passes, and the loop wakes up at every deadline.
    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.node.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.turn();
        }
        self.now = end;
    }

    fn turn(&mut self) {
        self.input(Input::Woke);
        self.input(Input::Drained);
    }

    /// A member hears an advertisement.
    fn hear(&mut self, router: RouterId, source: &str, priority: u8) {
        let (source, destination) = (ip(source), parameters().group());
        let list = [ip(&address_of(router))];
        let vrid = Vrid::new(VRID + router.0 as u8).expect("not zero");
        let (priority, interval) = (Priority::new(priority), AdverInterval::DEFAULT);
        let form = ChecksumForm::PseudoHeader;
        let mut message = [0; 64];
        let length = encode(&mut message, vrid, priority, interval, &list, source, destination, form);
        let payload = &message[..length.expect("the advertisement is sound")];
        let datagram = Datagram { source, destination, hop_limit: 255, payload };
        self.input(Input::Received { link: LinkId(router.0), datagram, arrived: self.now });
    }

    /// Both hear the same.
    fn hear_both(&mut self, source: &str, priority: u8) {
        BOTH.into_iter().for_each(|router| self.hear(router, source, priority));
    }

    fn check(&mut self, tracker: u16, state: TrackerState) {
        self.input(Input::Tracked { tracker: TrackerId(tracker), state });
    }

    fn order(&mut self, router: RouterId, number: u32, order: Order) {
        self.input(Input::Order { router, number, order });
    }

    fn states(&self) -> [StateName; 2] {
        BOTH.map(|router| self.node.snapshot(router, self.now).expect("it is configured").state)
    }

    fn priorities(&self) -> [u8; 2] {
        BOTH.map(|router| self.node.snapshot(router, self.now).expect("it is configured").priority.get())
    }

    fn phases(&self) -> [Phase; 2] {
        BOTH.map(|router| self.node.snapshot(router, self.now).expect("it is configured").phase)
    }

    /// What was advertised, and by whom.
    fn said(&self) -> Vec<(RouterId, u8)> {
        let said = |action: &Action| match *action {
            Action::Advertise { router, priority } => Some((router, priority.get())),
            _ => None,
        };
        self.actions.iter().filter_map(said).collect()
    }

    fn acquired(&self) -> usize {
        self.actions.iter().filter(|action| matches!(action, Action::Acquire(_))).count()
    }

    fn orders(&self) -> Vec<(RouterId, u32, OrderOutcome)> {
        let ordered = |action: &Action| match *action {
            Action::Report(Report::Ordered { router, number, outcome }) => Some((router, number, outcome)),
            _ => None,
        };
        self.actions.iter().filter_map(ordered).collect()
    }
}

/// Both are Backup of a lower router, which they are about to preempt; the second one's kernel is mute.
fn preempting() -> Pair {
    let mut pair = Pair::backup(parameters());
    pair.mute = Some(SECOND);
    while pair.acquired() == 0 {
        pair.hear_both(PEER, 100);
        pair.run_for(A);
    }
    assert_eq!(pair.phases(), [Phase::Claiming; 2]);
    pair
}

// --- a claim ---------------------------------------------------------------------------------------

#[test]
fn no_member_speaks_before_all_have_their_addresses() {
    let mut pair = preempting();
    pair.run_for(A);
    assert_eq!(pair.said(), []);
    pair.mute = None;
    let asked = pair.actions.iter().rev().find_map(|action| match action {
        Action::Acquire(asked) if asked.router == SECOND => Some(asked.ticket),
        _ => None,
    });
    let ticket = asked.expect("it was asked for");
    for outcome in [Outcome::Added { index: 0, foreign: false }, Outcome::Acquired] {
        assert_eq!(pair.said(), []);
        pair.input(Input::Outcome { router: SECOND, ticket, outcome });
    }
    assert_eq!(pair.said(), [(FIRST, 150), (SECOND, 150)]);
    assert_eq!(pair.states(), [StateName::Active; 2]);
}

#[test]
fn a_member_whose_address_does_not_come_has_the_other_give_up_its_claim_without_a_word() {
    let mut pair = preempting();
    pair.run_for(3 * A);
    assert_eq!((pair.said(), pair.states()), (vec![], [StateName::Backup; 2]));
    assert_eq!(pair.phases(), [Phase::Settled, Phase::BackOff]);
    let released = pair.actions.iter().filter(|action| matches!(action, Action::Release { .. })).count();
    assert_eq!(released, 2);
}

#[test]
fn a_willing_member_whose_priority_sinks_is_content_with_the_router_that_it_ignored() {
    let tracking = vec![Tracking { tracker: TrackerId(0), effect: Effect::Demote }];
    let mut pair = Pair::backup(Parameters { tracking, ..parameters() });
    pair.check(0, TrackerState::Passing);
    for _ in 0..8 {
        pair.hear(FIRST, PEER, 100);
        pair.hear(SECOND, OTHER, 200);
        pair.run_for(A / 2);
    }
    assert_eq!(pair.states(), [StateName::Backup; 2]);
    // The first one is willing, and waits for the second.
    pair.check(0, TrackerState::Failing);
    pair.hear(SECOND, OTHER, 0);
    pair.run_for(2 * A);
    assert_eq!((pair.acquired(), pair.states()), (0, [StateName::Backup; 2]));
}

#[test]
fn a_willing_member_that_is_cut_off_keeps_the_group_from_claiming() {
    let gateway = ip("192.0.2.254");
    let stations = [ip(PEER), gateway];
    let policy = WitnessPolicy::default();
    let witness = Witness { peers: [stations[0]].into(), arp: [gateway].into(), tcp: [].into(), policy };
    let mut pair = Pair::backup(Parameters { witness: Some(witness), ..parameters() });
    for tenth in 0..80 {
        for router in BOTH {
            let answers = router == SECOND || tenth < 40;
            for address in stations.into_iter().filter(|_| answers) {
                let sighting = Sighting { address, mac: OTHER_MAC, announced: false, answer: true };
                pair.input(Input::Sighted { link: LinkId(router.0), sighting, arrived: pair.now });
            }
        }
        if tenth % 10 == 0 {
            pair.hear(SECOND, OTHER, 200);
        }
        pair.run_for(A / 10);
    }
    assert_eq!(pair.states(), [StateName::Backup; 2]);
    let reason = pair.node.snapshot(FIRST, pair.now).map(|first| first.reason);
    assert_eq!(reason, Some(Reason::Isolated), "it was willing until then");
    pair.hear(SECOND, OTHER, 0);
    pair.run_for(A);
    assert_eq!(pair.acquired(), 0);
}

// --- tenures ---------------------------------------------------------------------------------------

/// Active for `tenure`; then a higher router is heard once, on both links, and never again. Tells how long
/// it takes until the group claims.
fn claims_after(pair: &mut Pair, tenure: Duration) -> Duration {
    pair.run_for(tenure);
    pair.hear_both(OTHER, 200);
    let outranked_at = pair.now;
    assert_eq!(pair.states(), [StateName::Backup; 2]);
    pair.actions.clear();
    while pair.acquired() == 0 {
        pair.now = pair.node.poll_timeout().expect("it waits for something");
        pair.turn();
    }
    let waited = pair.now - outranked_at;
    assert_eq!(pair.states(), [StateName::Active; 2]);
    waited
}

/// Whoever takes it again and again finds the role longer and longer with the other.
#[test]
fn each_short_tenure_leaves_the_role_to_others_for_an_interval_more() {
    let mut pair = Pair::active(parameters());
    // The last octet of the first member's address is 7, and so is the step; of 32 parts.
    for (tenure, spread) in (1..=10).zip([14, 21, 28, 3, 10, 17, 24, 31, 31, 31]) {
        let intervals = 4 + tenure.min(8);
        assert_eq!(claims_after(&mut pair, 5 * A), intervals * A + A * spread / 128, "tenure {tenure}");
    }
    assert_eq!(claims_after(&mut pair, 10 * A), down_interval(150), "that was long enough");
    assert_eq!(claims_after(&mut pair, 10 * A - ms(1)), 5 * A + A * 14 / 128);
}

#[test]
fn a_short_tenure_that_no_higher_rank_ended_makes_nobody_wait() {
    let mut pair = Pair::active(parameters());
    let up = facts(OWN);
    let down = Facts { interface: InterfaceState::Down, ..up };
    pair.input(Input::Facts { router: SECOND, facts: down });
    assert_eq!(pair.states(), [StateName::Backup, StateName::Initialize]);
    pair.input(Input::Facts { router: SECOND, facts: up });
    pair.actions.clear();
    let from = pair.now;
    pair.run_for(down_interval(150));
    assert_eq!((pair.acquired(), pair.states()), (2, [StateName::Active; 2]), "after {:?}", pair.now - from);
}

#[test]
fn a_router_that_resigns_is_followed_at_once_however_short_the_tenure_was() {
    let mut pair = Pair::active(parameters());
    pair.hear_both(OTHER, 200);
    pair.run_for(A);
    pair.hear_both(OTHER, 0);
    pair.run_for(down_interval(150) - 3 * A);
    assert_eq!(pair.states(), [StateName::Active; 2]);
}

// --- a tie -----------------------------------------------------------------------------------------

#[test]
fn the_second_member_leaves_a_tie_to_the_first_for_two_intervals() {
    let mut pair = Pair::active(parameters());
    for _ in 0..2 {
        pair.hear(SECOND, OTHER, 150);
        assert_eq!(pair.states(), [StateName::Active; 2]);
        pair.run_for(A);
    }
    pair.hear(SECOND, OTHER, 150);
    assert_eq!(pair.states(), [StateName::Backup; 2], "the first one does not hear it");
}

#[test]
fn a_tie_that_was_not_heard_for_three_intervals_begins_anew() {
    for (silence, states) in [(3 * A - ms(1), [StateName::Backup; 2]), (3 * A, [StateName::Active; 2])] {
        let mut pair = Pair::active(parameters());
        pair.hear(SECOND, OTHER, 150);
        pair.run_for(silence);
        pair.hear(SECOND, OTHER, 150);
        assert_eq!(pair.states(), states, "{silence:?}");
    }
}

#[test]
fn each_member_decides_for_itself_what_is_no_tie() {
    let mut first = Pair::active(parameters());
    first.hear(FIRST, OTHER, 150);
    assert_eq!(first.states(), [StateName::Backup; 2], "the first link decides at once");

    let mut higher = Pair::active(parameters());
    higher.hear(SECOND, OTHER, 151);
    assert_eq!(higher.states(), [StateName::Backup; 2]);

    let mut lower = Pair::active(parameters());
    lower.run_for(ms(500));
    lower.actions.clear();
    lower.hear(SECOND, OTHER, 149);
    assert_eq!(lower.said(), [(SECOND, 150)], "it is answered");
}

// --- questions and orders --------------------------------------------------------------------------

#[test]
fn what_one_member_knows_keeps_all_from_asking_and_they_say_their_new_priority() {
    let tracking = vec![Tracking { tracker: TrackerId(0), effect: Effect::Demote }];
    let mut pair = Pair::backup(Parameters { tracking, ..parameters() });
    pair.check(0, TrackerState::Passing);
    pair.run_for(down_interval(150) + A);
    pair.hear(FIRST, PEER, 10);
    pair.run_for(ms(500));
    pair.actions.clear();
    pair.check(0, TrackerState::Failing);
    assert_eq!(pair.said(), [(FIRST, 15), (SECOND, 15)]);
    assert_eq!(pair.phases(), [Phase::Settled; 2]);
}

#[test]
fn a_group_hands_over_and_takes_back_by_an_order_to_one_of_them() {
    let mut pair = Pair::active(parameters());
    pair.order(SECOND, 1, Order::TakeBack);
    assert_eq!(pair.orders(), [(SECOND, 1, OrderOutcome::Refused(OrderRefusal::NotYielded))]);

    pair.actions.clear();
    pair.order(FIRST, 2, Order::HandOver);
    pair.order(SECOND, 3, Order::TakeBack);
    assert_eq!(pair.orders(), [(SECOND, 3, OrderOutcome::Refused(OrderRefusal::Busy))]);
    pair.run_for(ms(100));
    pair.hear_both(PEER, 100);
    pair.run_for(ms(20));
    assert_eq!(pair.states(), [StateName::Backup; 2]);
    pair.hear_both(PEER, 100);

    pair.actions.clear();
    pair.order(SECOND, 4, Order::TakeBack);
    assert_eq!(pair.orders(), [(SECOND, 4, OrderOutcome::Done)]);
    assert_eq!(pair.states(), [StateName::Active; 2]);
    let standing = BOTH.map(|router| pair.node.snapshot(router, pair.now).expect("configured").standing);
    assert_eq!(standing, [Standing::Free; 2]);
}

#[test]
fn members_that_listen_after_an_absence_follow_an_order_to_one_of_them() {
    let mut pair = Pair::active(parameters());
    pair.turn();
    pair.now = pair.now + 10 * A;
    pair.turn();
    assert_eq!(pair.said(), []);
    pair.order(FIRST, 1, Order::HandOver);
    assert_eq!(pair.phases(), [Phase::Asking; 2]);
}

#[test]
fn an_order_goes_for_all_also_where_one_of_them_knows_that_nobody_better_is_there() {
    let mut pair = Pair::active(parameters());
    pair.hear(FIRST, PEER, 100);
    pair.order(SECOND, 1, Order::HandOver);
    assert_eq!(pair.phases(), [Phase::Asking; 2]);
}

/// The fence counts from the advertisement before, and closes upon who waits twice.
#[test]
fn an_order_to_a_group_that_asks_already_has_it_wait_no_longer() {
    let tracking = vec![Tracking { tracker: TrackerId(0), effect: Effect::Demote }];
    let mut pair = Pair::backup(Parameters { tracking, ..parameters() });
    pair.check(0, TrackerState::Passing);
    pair.run_for(down_interval(150) + A);
    pair.check(0, TrackerState::Failing);
    pair.run_for(A);
    pair.actions.clear();
    pair.order(SECOND, 1, Order::HandOver);
    pair.run_for(ms(20) - Duration::from_nanos(1));
    assert_eq!((pair.phases(), pair.said()), ([Phase::Asking; 2], vec![]));
    pair.run_for(Duration::from_nanos(1));
    assert_eq!(pair.orders(), [(SECOND, 1, OrderOutcome::NobodyFollowed)]);
    assert_eq!(pair.phases(), [Phase::Settled; 2]);
}

/// A successor follows a group when all of its members have resigned. The addresses of each last for so long.
#[test]
fn a_group_waits_as_long_as_the_member_that_resigned_last() {
    let quick = AdverInterval::from_centiseconds(10).expect("in range");
    let tracking = vec![Tracking { tracker: TrackerId(0), effect: Effect::Demote }];
    let slow = Parameters { tracking, leased: true, ..parameters() };
    let mut pair = Pair::backup(slow.clone());
    pair.configure(SECOND, Parameters { interval: quick, ..slow });
    pair.check(0, TrackerState::Passing);
    pair.run_for(down_interval(150) + A);
    // After an absence the first one listens for an interval of its own, and asks nobody meanwhile.
    pair.turn();
    pair.now = pair.now + 10 * A;
    pair.turn();
    pair.run_for(ms(200));
    pair.check(0, TrackerState::Failing);
    assert_eq!(pair.phases(), [Phase::Settled, Phase::Asking], "the first one listens");
    pair.run_for(ms(500));
    pair.actions.clear();
    pair.order(SECOND, 1, Order::HandOver);
    for router in BOTH {
        let prolonged = |action: &&Action| matches!(action, Action::Disclaim(of) if of.router == router);
        assert_eq!(pair.actions.iter().filter(prolonged).count(), 1, "{router:?}");
    }
    pair.run_for(A + ms(20) - Duration::from_nanos(1));
    assert_eq!(pair.phases(), [Phase::Asking; 2]);
    pair.run_for(Duration::from_nanos(1));
    assert_eq!(pair.orders(), [(SECOND, 1, OrderOutcome::NobodyFollowed)]);
}

// --- coming and going ------------------------------------------------------------------------------

/// Who follows silence has nobody to wait for, and the others of its group neither.
#[test]
fn a_silent_network_is_claimed_by_each_member_with_its_first_address() {
    let mut pair = Pair::backup(parameters());
    pair.mute = Some(SECOND);
    while pair.acquired() == 0 {
        pair.now = pair.node.poll_timeout().expect("a claim is due");
        pair.turn();
    }
    assert_eq!(pair.said(), [(FIRST, 150)]);
    pair.run_for(ms(1));
    assert_eq!(pair.said(), [(FIRST, 150), (SECOND, 150)]);
}

#[test]
fn what_is_left_of_a_group_hears_and_is_heard_as_before() {
    let mut pair = Pair::active(parameters());
    pair.input(Input::Shutdown { router: SECOND });
    pair.run_for(2 * A);
    pair.input(Input::Remove { router: SECOND });
    assert!(pair.node.snapshot(SECOND, pair.now).is_none());
    assert_eq!(pair.node.snapshot(FIRST, pair.now).map(|first| first.state), Some(StateName::Active));
    pair.hear(FIRST, OTHER, 200);
    assert_eq!(pair.node.snapshot(FIRST, pair.now).map(|first| first.state), Some(StateName::Backup));
    assert_eq!(pair.node.link_statistics(LinkId(0)).vrid_errors, 0);
    pair.hear(SECOND, OTHER, 200);
    assert_eq!(pair.node.link_statistics(LinkId(1)).vrid_errors, 1, "nobody's any more");
}

#[test]
fn an_absence_is_told_however_many_routers_listen_after_it() {
    let mut pair = Pair::active(parameters());
    pair.turn();
    pair.now = pair.now + 10 * A;
    pair.turn();
    let told = pair.actions.iter().filter(|action| matches!(action, Action::Report(Report::Away(_)))).count();
    assert_eq!(told, 1);
}

#[test]
fn a_member_says_which_other_one_it_waits_for() {
    let mut pair = Pair::backup(parameters());
    for _ in 0..8 {
        pair.hear(SECOND, OTHER, 200);
        pair.run_for(A / 2);
    }
    let waits_for = BOTH.map(|router| pair.node.snapshot(router, pair.now).and_then(|it| it.waits_for));
    assert_eq!(waits_for, [Some(SECOND), None]);
}

#[test]
fn who_is_left_when_the_other_leaves_waits_for_nobody() {
    for reload in [false, true] {
        let mut pair = Pair::backup(parameters());
        pair.input(Input::Shutdown { router: SECOND });
        if reload {
            pair.configure(FIRST, Parameters { priority: Priority::new(160), ..parameters() });
        }
        pair.run_for(down_interval(150));
        assert_eq!(pair.states(), [StateName::Active, StateName::Initialize], "reload: {reload}");
    }
}

#[test]
fn who_leaves_its_group_by_reload_waits_for_nobody() {
    let mut pair = Pair::backup(parameters());
    pair.input(Input::Configure {
        router: FIRST,
        parameters: Box::new(Parameters { sync_group: None, ..member(FIRST, parameters()) }),
    });
    pair.input(Input::Facts {
        router: SECOND,
        facts: Facts { interface: InterfaceState::Down, ..facts(OWN) },
    });
    pair.run_for(down_interval(150));
    assert_eq!(pair.states(), [StateName::Active, StateName::Initialize]);
}

/// Until it has shown whether it can be Active here, the others do not mind it.
#[test]
fn who_comes_to_a_group_by_reload_moves_nobody_before_it_has_heard_a_better_one() {
    let mut pair = Pair::backup(parameters());
    let alone = Parameters { sync_group: None, ..member(SECOND, parameters()) };
    pair.input(Input::Configure { router: SECOND, parameters: Box::new(alone) });
    for _ in 0..6 {
        pair.hear(SECOND, OTHER, 200);
        pair.run_for(A);
    }
    assert_eq!(pair.states(), [StateName::Active, StateName::Backup]);
    pair.configure(SECOND, parameters());
    assert_eq!(pair.states(), [StateName::Active, StateName::Backup]);
    pair.hear(SECOND, OTHER, 200);
    assert_eq!(pair.states(), [StateName::Backup; 2]);
}

// --- the LAN of the clients ------------------------------------------------------------------------

/// Both have a second path, and the first of them to ask has been answered on these links.
fn asking(answered: &[RouterId]) -> Pair {
    let gateway = ip("192.0.2.254");
    let peers = [SecondPeer { router: ip(PEER), address: ip("203.0.113.2") }].into();
    let second_path = SecondPath { link: LinkId(7), peers, witnesses: [gateway].into() };
    let mut pair = Pair::backup(Parameters { second_path: Some(second_path), ..parameters() });
    let up = Facts { second_source: Some(ip("203.0.113.3")), ..facts(OWN) };
    BOTH.into_iter().for_each(|router| pair.input(Input::Facts { router, facts: up }));
    let end = pair.now + 5 * A;
    while pair.now < end {
        pair.run_for(A / 10);
        for router in answered {
            let sighting = Sighting { address: gateway, mac: OTHER_MAC, announced: false, answer: true };
            pair.input(Input::Sighted { link: LinkId(router.0), sighting, arrived: pair.now });
        }
    }
    pair
}

#[test]
fn routers_whose_lan_falls_silent_in_the_same_instant_all_ask() {
    let mut pair = asking(&BOTH);
    assert_eq!((pair.states(), pair.priorities()), ([StateName::Active; 2], [150; 2]));
    pair.run_for(4 * A);
    assert_eq!(pair.priorities(), [15; 2]);
}

#[test]
fn the_lan_of_one_member_counts_for_all() {
    assert_eq!(asking(&[FIRST]).priorities(), [15; 2]);
    assert_eq!(asking(&[SECOND]).priorities(), [15; 2]);
}
