//! The fence without its thread, in a network namespace: what is in the tables, as nft(8) reads them.

use std::process::Command;
use std::sync::mpsc::sync_channel;

use netlink::nftables::{Nftables, Step};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::kernel::tests::in_network_namespace;

const ROUTER: RouterId = RouterId(0);
const TERM: Term = Term { live: Duration::from_secs(3600), silent: Duration::from_secs(7200) };
const NAME: &str = "vrrpd_fence_test";

struct Fixture {
    fence: Fence,
    notes: UnboundedReceiver<Note>,
}

/// A fence that is wanted, with nobody behind it.
fn fence() -> Fixture {
    let (sender, notes) = tokio::sync::mpsc::unbounded_channel();
    let fence = Fence::new(Mailbox::new(64).expect("an eventfd"), sender, NAME.to_owned());
    Fixture { fence, notes }.told(Message::Wanted(true))
}

impl Fixture {
    fn told(mut self, message: Message) -> Self {
        self.tell(message);
        self
    }

    fn tell(&mut self, message: Message) {
        assert!(self.fence.messages.push(message).is_ok(), "there is room");
        let _ = self.fence.serve();
    }

    fn guard(&mut self, addresses: &[&str], live_since: Option<Instant>) {
        let addresses = guarded(addresses);
        let live = live_since.map_or(Live::AdvertisedAfter(clock::now()), Live::Since);
        self.tell(Message::Guard { router: ROUTER, term: TERM, addresses, live, done: None });
    }

    /// What was told of how it stands.
    fn standings(&mut self) -> Vec<Standing> {
        let standing = |note| if let Note::Fence(standing) = note { Some(standing) } else { None };
        std::iter::from_fn(|| self.notes.try_recv().ok()).filter_map(standing).collect()
    }
}

fn guarded(addresses: &[&str]) -> Vec<Guarded> {
    addresses.iter().map(|text| Guarded::new("eth0", text.parse().expect("an address"))).collect()
}

fn nft(arguments: &str) -> (bool, String) {
    let output = Command::new("nft").args(arguments.split(' ')).output().expect("nftables is there");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn table(family: &str) -> String {
    let (there, table) = nft(&format!("list table {family} {NAME}"));
    assert!(there, "{family} {NAME}");
    table
}

fn is_live(family: &str) -> bool {
    nft(&format!("list set {family} {NAME} live")).1.contains("0x00000000 timeout")
}

#[test]
fn an_address_is_guarded_and_live_from_one_advertisement_to_the_end_of_the_term() {
    in_network_namespace(|| {
        let mut fixture = fence();
        assert_eq!(fixture.standings(), [Standing::InForce]);
        fixture.guard(&["192.0.2.201", "2001:db8::201", "fe80::201"], None);
        for address in ["192.0.2.201", "2001:db8::201", "\"eth0\" . fe80::201"] {
            let line = format!("{address} : jump router_0");
            assert!(table("inet").contains(&line), "{line}:\n{}", table("inet"));
        }
        assert!(table("arp").contains("192.0.2.201 : jump router_0"));
        assert!(!is_live("inet") && !is_live("arp"), "not before an advertisement");

        fixture.tell(Message::Renew { router: ROUTER, at: clock::now() });
        assert!(is_live("inet") && is_live("arp"));
        fixture.guard(&["192.0.2.201"], None);
        assert!(!is_live("inet") && !is_live("arp"), "it claims anew");
        fixture.tell(Message::Renew { router: ROUTER, at: clock::now().saturating_sub(TERM.live) });
        assert!(!is_live("inet"), "that advertisement is too old");

        fixture.tell(Message::Free { router: ROUTER, addresses: guarded(&["192.0.2.201", "fe80::201"]) });
        assert!(!table("inet").contains("192.0.2.201") && !table("inet").contains("fe80::201"));
        assert!(!table("arp").contains("192.0.2.201"));
        assert!(table("inet").contains("2001:db8::201 : jump router_0"), "that one stays");
        assert_eq!(fixture.standings(), [], "nothing went wrong");
    });
}

#[test]
fn an_address_that_is_put_back_is_no_sign_of_life() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.guard(&["192.0.2.201"], None);
        fixture.guard(&["192.0.2.201", "192.0.2.202"], Some(clock::now()));
        assert!(!is_live("inet"), "it has not advertised yet");
        fixture.tell(Message::Free { router: ROUTER, addresses: guarded(&["192.0.2.201", "192.0.2.202"]) });
        fixture.guard(&["192.0.2.201"], Some(clock::now()));
        assert!(is_live("inet"), "a claim over silence is live at once");
    });
}

#[test]
fn a_claim_that_was_advertised_before_it_is_guarded_has_its_whole_term() {
    in_network_namespace(|| {
        let mut fixture = fence();
        let claimed = clock::now().saturating_sub(TERM.live - Duration::from_secs(60));
        let left = |fixture: &Fixture| fixture.fence.holders[&ROUTER].left(clock::now()).expect("it is live");
        fixture.guard(&["192.0.2.201"], Some(claimed));
        assert!(is_live("inet") && left(&fixture) <= Duration::from_secs(60), "nobody has heard of it yet");
        fixture.tell(Message::Free { router: ROUTER, addresses: guarded(&["192.0.2.201"]) });

        fixture.tell(Message::Renew { router: ROUTER, at: clock::now() });
        fixture.guard(&["192.0.2.201"], Some(claimed));
        assert!(is_live("inet") && left(&fixture) > TERM.live / 2);
    });
}

/// Seed 59733 of the simulation: the order to keep quiet waited behind other work of the kernel, came after
/// the advertisement that it was about, and silenced an Active Router for an interval.
#[test]
fn an_order_to_keep_quiet_does_not_outlast_the_advertisement_that_overtook_it() {
    in_network_namespace(|| {
        let mut fixture = fence();
        let late = |fixture: &mut Fixture, decided_at| {
            let (live, addresses) = (Live::AdvertisedAfter(decided_at), guarded(&["192.0.2.201"]));
            fixture.tell(Message::Guard { router: ROUTER, term: TERM, addresses, live, done: None });
        };
        fixture.guard(&["192.0.2.201"], Some(clock::now()));
        let decided_at = clock::now();
        fixture.tell(Message::Renew { router: ROUTER, at: clock::now() });
        late(&mut fixture, decided_at);
        assert!(is_live("inet") && is_live("arp"));
        late(&mut fixture, clock::now());
        assert!(!is_live("inet") && !is_live("arp"), "that one is about the next");
    });
}

#[test]
fn an_address_that_another_router_takes_over_leads_to_that_one() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.guard(&["192.0.2.201"], None);
        let (done, guarded_by_now) = sync_channel(1);
        fixture.tell(Message::Guard {
            router: RouterId(1),
            term: TERM,
            addresses: guarded(&["192.0.2.201"]),
            live: Live::AdvertisedAfter(clock::now()),
            done: Some(done),
        });
        assert!(table("inet").contains("192.0.2.201 : jump router_1"));
        assert_eq!(guarded_by_now.try_recv(), Ok(()));
        fixture.tell(Message::Free { router: ROUTER, addresses: guarded(&["192.0.2.201"]) });
        assert!(table("inet").contains("192.0.2.201 : jump router_1"), "it is not the other's any more");
        assert_eq!(fixture.standings(), [Standing::InForce]);
    });
}

#[test]
fn what_somebody_flushes_is_told_and_made_anew_with_who_is_live() {
    in_network_namespace(|| {
        for flush in ["flush ruleset", &format!("flush map inet {NAME} guarded_ipv4")] {
            let mut fixture = fence();
            fixture.guard(&["192.0.2.201"], Some(clock::now()));
            fixture.standings();
            assert!(nft(flush).0);
            fixture.fence.look_after_disturbance();
            assert!(table("inet").contains("192.0.2.201 : jump router_0"), "{flush}");
            assert!(is_live("inet") && is_live("arp"), "{flush}");
            let standings = fixture.standings();
            assert!(matches!(standings[..], [Standing::Failed(_), Standing::InForce]), "{standings:?}");
            fixture.fence.look_after_disturbance();
            assert_eq!(fixture.standings(), [], "we know what we do");
            drop(fixture.told(Message::Stop));
        }
    });
}

#[test]
fn a_fence_that_cannot_be_relied_on_silences_nobody_until_it_can_be_had() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.guard(&["192.0.2.201"], Some(clock::now()));
        fixture.standings();
        assert!(nft("flush ruleset").0);
        // Nobody but its owner can change such a table.
        let mut owner = Nftables::open().expect("sockets can be had");
        owner.commit(NAME, &[Step::AddTable { owned: true }]).expect("there is none");
        fixture.tell(Message::Renew { router: ROUTER, at: clock::now() });
        assert!(matches!(fixture.standings()[..], [Standing::Failed(_)]));
        assert!(!nft(&format!("list table arp {NAME}")).0, "what is left of it was taken away");
        fixture.fence.make();
        assert!(fixture.fence.retry_at.is_some(), "still in the way");
        drop(owner);
        fixture.fence.make();
        assert_eq!(fixture.standings().pop(), Some(Standing::InForce));
        assert!(table("inet").contains("192.0.2.201 : jump router_0") && is_live("inet"));
    });
}

#[test]
fn what_a_daemon_leaves_is_taken_over_or_taken_away_by_the_next() {
    in_network_namespace(|| {
        let mut killed = fence();
        killed.guard(&["192.0.2.201", "192.0.2.202"], Some(clock::now()));
        drop(killed);
        assert!(is_live("inet"), "it outlives its daemon");

        let (sender, notes) = tokio::sync::mpsc::unbounded_channel();
        let fence = Fence::new(Mailbox::new(64).expect("an eventfd"), sender, NAME.to_owned());
        let mut next = Fixture { fence, notes };
        next.guard(&["192.0.2.201"], Some(clock::now()));
        assert!(table("inet").contains("192.0.2.202"), "nothing changes before all routers are known");
        next.tell(Message::Wanted(true));
        assert!(table("inet").contains("192.0.2.201 : jump router_0") && is_live("inet"));
        assert!(!table("inet").contains("192.0.2.202"), "nobody has taken it over");
        next.tell(Message::Wanted(false));
        assert!(!nft(&format!("list table inet {NAME}")).0 && !nft(&format!("list table arp {NAME}")).0);

        drop(self::fence().told(Message::Stop));
        assert!(!nft(&format!("list table inet {NAME}")).0, "a proper end leaves nothing");
    });
}

#[test]
fn what_a_daemon_leaves_silences_no_next_one_that_wants_no_fence() {
    in_network_namespace(|| {
        let mut killed = fence();
        killed.guard(&["192.0.2.201"], Some(clock::now()));
        drop(killed);
        let (sender, notes) = tokio::sync::mpsc::unbounded_channel();
        let fence = Fence::new(Mailbox::new(64).expect("an eventfd"), sender, NAME.to_owned());
        let mut next = Fixture { fence, notes };
        next.tell(Message::Wanted(false));
        assert!(!nft(&format!("list table inet {NAME}")).0 && !nft(&format!("list table arp {NAME}")).0);
        assert_eq!(next.standings(), [], "nothing of its own has changed");
    });
}

#[test]
fn each_state_directory_has_tables_of_its_own() {
    let name = |path: &str| table::name(Path::new(path));
    assert_eq!(name("/var/lib/vrrpd"), "vrrpd_fence");
    assert_ne!(name("/var/lib/one"), name("/var/lib/two"));
}
