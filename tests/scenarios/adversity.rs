//! What the network and others at the same kernel do to a pair, in short: who claims, who answers.
//!
//! `tests/reliability/` does the same at length, beside keepalived.

use std::sync::Arc;
use std::time::Duration;

use lab::story::{DOWN_NS, INTERVAL_NS, PRIMARY, VIP};
use lab::watcher::{Sightings, Spells};
use lab::{Burden, Capture, DEADLINE, Daemon, Lab, Node, Pair, Watcher, claims, wait_for};
use nix::sys::signal::Signal;

const INTERVAL: Duration = Duration::from_nanos(INTERVAL_NS.unsigned_abs());
const DOWN: Duration = Duration::from_nanos(DOWN_NS.unsigned_abs());

/// A settled pair of which every claim and every answer is noted.
struct Watched {
    primary: Daemon,
    _secondary: Daemon,
    adverts: Capture,
    watcher: Watcher,
    a: Arc<Node>,
    /// Dropped last.
    lab: Lab,
}

impl Watched {
    fn open() -> Option<Self> {
        let Pair { lab, a, b, primary, secondary } = Pair::open("")?;
        // A Backup that has not started could not claim.
        b.wait_for_router("web", "knows a", |router| router["active_router"]["priority"] == PRIMARY);
        let adverts = lab.capture_adverts(&[&a, &b]);
        let watcher = Watcher::start(&lab.node("watcher"), VIP);
        let watched = Self { primary, _secondary: secondary, adverts, watcher, a, lab };
        watched.adverts_of("a", 1);
        Some(watched)
    }

    /// Waits until `node` has sent `count` more advertisements.
    fn adverts_of(&self, node: &str, count: usize) {
        let enough = self.adverts.adverts_of(node).len() + count;
        wait_for(&format!("{count} advertisements of {node}"), DEADLINE, || {
            (self.adverts.adverts_of(node).len() >= enough).then_some(())
        });
    }

    /// When `a` alone holds the address again: who claimed, in that order, and who answered.
    fn ends(self) -> (Vec<String>, Sightings) {
        self.lab.settles_on(VIP, "a", 5);
        let claims = claims(&self.adverts.frames(), INTERVAL);
        (claims.into_iter().map(|claim| claim.node).collect(), self.watcher.stop())
    }
}

#[test]
fn an_address_that_others_delete_again_and_again_stays_where_it_is() {
    let Some(watched) = Watched::open() else { return };
    let mut deleted = 0;
    for _ in 0..15 {
        deleted += usize::from(watched.a.delete_address(VIP));
        watched.watcher.wait_for_questions(40);
    }
    assert!(deleted >= 10, "it was there to be deleted {deleted} times only");
    let mac = watched.a.mac();
    let (claimed, seen) = watched.ends();
    assert_eq!(claimed, ["a"]);
    assert_eq!(seen.by_two(), Spells::default());
    let [gone, there] = [seen.by_nobody(), seen.by(mac)].map(|spells| spells.total());
    assert!(gone < there / 4, "nobody answered for {gone:?}, a for {there:?}");
}

#[test]
fn while_others_hold_the_kernels_lock_nobody_flaps_and_the_address_moves() {
    let Some(mut watched) = Watched::open() else { return };
    let burden = Burden::start();
    burden.wait_for_rounds(1);
    watched.adverts_of("a", 10);
    assert_eq!(claims(&watched.adverts.frames(), INTERVAL).len(), 1);
    watched.primary.signal(Signal::SIGTERM);
    watched.lab.settles_on(VIP, "b", 3);
    watched.primary = watched.a.start_vrrpd();
    watched.lab.settles_on(VIP, "a", 3);
    drop(burden);
    let (claimed, seen) = watched.ends();
    assert_eq!(claimed, ["a", "b", "a"]);
    // A crash would have cost more.
    let gone = seen.by_nobody().longest();
    assert!(gone < DOWN, "nobody answered for {gone:?}");
}

#[test]
fn an_interface_that_comes_and_goes_takes_the_role_with_it_and_leaves_one_holder() {
    let Some(watched) = Watched::open() else { return };
    let (lab, a) = (&watched.lab, &watched.a);
    for _ in 0..2 {
        a.link_down();
        lab.settles_on(VIP, "b", 2);
        a.link_up();
        lab.settles_on(VIP, "a", 2);
        a.delete_interface();
        lab.settles_on(VIP, "b", 2);
        a.create_interface();
        lab.settles_on(VIP, "a", 2);
    }
    let (claimed, seen) = watched.ends();
    assert_eq!(claimed, ["a", "b", "a", "b", "a", "b", "a", "b", "a"]);
    let both = seen.by_two().longest();
    assert!(both < INTERVAL, "both answered for {both:?}");
}

#[test]
fn an_interface_that_flaps_faster_than_anybody_follows_is_taken_up_again() {
    let Some(watched) = Watched::open() else { return };
    for _ in 0..3 {
        watched.a.namespace().ip(&"link set eth0 down\nlink set eth0 up\n".repeat(10));
        watched.a.delete_interface();
        watched.a.create_interface();
    }
    let (claimed, seen) = watched.ends();
    assert!(claimed.len() <= 1 + 2 * 3, "each loss of the interface is good for two claims: {claimed:?}");
    let both = seen.by_two().longest();
    assert!(both < INTERVAL, "both answered for {both:?}");
}

#[test]
fn advertisements_that_are_filtered_cost_one_claim_and_are_settled_when_they_pass_again() {
    let Some(watched) = Watched::open() else { return };
    let switch = watched.lab.switch();
    // A Backup has nothing to say.
    switch.mute("b", "a");
    watched.adverts_of("a", 10);
    assert_eq!(claims(&watched.adverts.frames(), INTERVAL).len(), 1);
    switch.heal();
    switch.mute("a", "b");
    watched.adverts_of("b", 5);
    switch.mute("b", "a");
    watched.adverts_of("b", 5);
    switch.heal();
    let (claimed, seen) = watched.ends();
    // a never gave way: clients that reach only a were served throughout.
    assert_eq!(claimed, ["a", "b"]);
    assert_eq!(seen.by_nobody().total(), Duration::ZERO);
}

#[test]
fn of_two_that_lose_a_third_of_their_frames_the_better_one_never_gives_way() {
    let Some(watched) = Watched::open() else { return };
    watched.lab.switch().lose_between("a", "b", 30);
    watched.lab.switch().lose_between("b", "a", 30);
    watched.adverts_of("a", 50);
    watched.lab.switch().heal();
    let (claimed, seen) = watched.ends();
    assert_eq!(claimed.iter().filter(|node| *node == "a").count(), 1, "{claimed:?}");
    // Each claim of b takes three advertisements in a row that were lost.
    assert!(claimed.len() < 50 / 4, "{claimed:?}");
    let both = seen.by_two().longest();
    assert!(both < INTERVAL * 10, "both answered for {both:?}");
    assert_eq!(seen.by_nobody().total(), Duration::ZERO);
}
