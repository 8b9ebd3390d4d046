//! The fence without its thread, in a network namespace: what is in the tables, as nft(8) reads them.

use std::process::Command;
use std::sync::mpsc::sync_channel;

use netlink::nftables::{Nftables, Step};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::kernel::tests::in_network_namespace;

const ROUTER: RouterId = RouterId(0);
const OTHER: RouterId = RouterId(1);
const INTERVAL: Duration = Duration::from_secs(200);
const TERM: Term =
    Term { interval: INTERVAL, live: Duration::from_secs(600), silent: Duration::from_secs(1200) };
const NAME: &str = "vrrpd_fence_test";

struct Fixture {
    fence: Fence,
    notes: UnboundedReceiver<Note>,
}

/// A fence that is wanted, with nobody behind it.
fn fence() -> Fixture {
    Fixture::new().told(Message::Wanted(true))
}

impl Fixture {
    /// Nobody has said whether it is wanted.
    fn new() -> Self {
        let (sender, notes) = tokio::sync::mpsc::unbounded_channel();
        let messages = Mailbox::new(64).expect("an eventfd");
        let adverts = Adverts::new(messages.clone());
        (0..64).for_each(|router| adverts.expect(RouterId(router)));
        Self { fence: Fence::new(messages, Arc::new(adverts), sender, NAME.to_owned()), notes }
    }

    fn told(mut self, message: Message) -> Self {
        self.tell(message);
        self
    }

    fn tell(&mut self, message: Message) {
        assert!(self.fence.messages.push(message).is_ok(), "there is room");
        let _ = self.fence.serve();
    }

    fn guard(&mut self, addresses: &[&str], live_since: Option<Instant>) {
        let live = live_since.map_or(Live::AdvertisedAfter(clock::now()), Live::Since);
        self.guard_of(ROUTER, addresses, live);
    }

    fn guard_of(&mut self, router: RouterId, addresses: &[&str], live: Live) {
        let addresses = guarded(addresses);
        self.tell(Message::Guard { router, term: TERM, addresses, live, done: None });
    }

    /// Advertisements left so long ago.
    fn advertise(&mut self, routers: &[RouterId], age: Duration) {
        let at = clock::now().saturating_sub(age);
        routers.iter().for_each(|&router| self.fence.adverts.tell(router, at));
    }

    /// The fence looks at what was advertised, as it does when it is time.
    fn look(&mut self) {
        self.fence.look_at = Instant::ZERO;
        let _ = self.fence.serve();
    }

    fn renew(&mut self, at: Instant) {
        self.fence.adverts.tell(ROUTER, at);
        self.look();
    }

    /// As many routers as there are addresses, who advertise together, and share a time.
    fn company(&mut self, size: u16) {
        for router in 0..size {
            self.advertise(&[RouterId(router)], Duration::ZERO);
            let address = format!("192.0.2.{}", 201 + router);
            let claimed = clock::now().saturating_sub(TERM.live);
            self.guard_of(RouterId(router), &[&address], Live::Since(claimed));
        }
        self.look();
        (0..size).for_each(|router| assert_eq!(led_to(router), "shared_0"));
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

/// The number of who shares a time.
const SHARED: u32 = 0x1_0000;

/// What is left of the time of a number, in seconds as they were given.
fn left_of(number: u32) -> Option<Duration> {
    let listed = nft(&format!("list set inet {NAME} live")).1;
    // nft(8) takes it for a number in network order.
    let after = listed.split_once(&format!("{:#010x} timeout ", number.to_be()))?.1;
    let time = after.split_whitespace().next()?;
    let mut seconds = 0;
    let mut digits = String::new();
    for letter in time.chars() {
        match letter {
            '0'..='9' => digits.push(letter),
            unit => {
                let of_unit = match unit {
                    'd' => 86400,
                    'h' => 3600,
                    'm' => 60,
                    _ => 1,
                };
                // What follows is milliseconds.
                seconds += of_unit * std::mem::take(&mut digits).parse::<u64>().unwrap_or_default();
                if unit == 's' {
                    break;
                }
            }
        }
    }
    Some(Duration::from_secs(seconds))
}

/// The chain that the address of a router of a company leads to, through its set or the map.
fn led_to(router: u16) -> String {
    let table = table("inet");
    let address = format!("192.0.2.{}", 201 + router);
    let sets = table
        .split("\tset ")
        .filter_map(|text| Some((text.split_once(" {")?.0, text.split_once("\n\t}")?.0)));
    let elements = |text: &str| {
        let words = text.split(|letter: char| letter != '.' && !letter.is_ascii_digit());
        words.filter(|word| *word == address).count()
    };
    let mut chains: Vec<String> = sets
        .filter(|(_, text)| elements(text) > 0)
        .map(|(name, _)| name.strip_suffix("_ipv4").expect("a set of a chain").to_owned())
        .collect();
    let mapped = table.split_once(&format!("{address} : jump ")).map(|(_, chain)| chain);
    chains.extend(mapped.map(|chain| {
        let end = chain.find(|letter: char| letter != '_' && !letter.is_alphanumeric());
        chain[..end.unwrap_or(chain.len())].to_owned()
    }));
    assert_eq!(chains.len(), 1, "{address} is guarded once: {chains:?}");
    chains.remove(0)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
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

        fixture.renew(clock::now());
        assert!(is_live("inet") && is_live("arp"));
        fixture.guard(&["192.0.2.201"], None);
        assert!(!is_live("inet") && !is_live("arp"), "it claims anew");
        fixture.renew(clock::now().saturating_sub(TERM.live));
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
        let left = |_: &Fixture| left_of(0).expect("it is live");
        fixture.guard(&["192.0.2.201"], Some(claimed));
        assert!(is_live("inet") && left(&fixture) <= Duration::from_secs(60), "nobody has heard of it yet");
        fixture.tell(Message::Free { router: ROUTER, addresses: guarded(&["192.0.2.201"]) });

        fixture.renew(clock::now());
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
        fixture.renew(clock::now());
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
            router: OTHER,
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
fn another_interval_counts_from_the_next_advertisement_on_where_it_is_a_longer_one() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.guard(&["192.0.2.201"], None);
        fixture.renew(clock::now());
        let with_live = |fixture: &mut Fixture, live| {
            let (addresses, live_since) = (guarded(&["192.0.2.201"]), Live::Since(clock::now()));
            let term = Term { live, ..TERM };
            fixture.tell(Message::Guard { router: ROUTER, term, addresses, live: live_since, done: None });
        };
        with_live(&mut fixture, 2 * TERM.live);
        let left = left_of(0).expect("it is live");
        assert!(left > TERM.live / 2 && left <= TERM.live, "{left:?}: the others do not know of it");
        fixture.renew(clock::now());
        assert!(left_of(0).is_some_and(|left| left > TERM.live), "now they do");
        with_live(&mut fixture, TERM.live);
        assert!(left_of(0).is_some_and(|left| left <= TERM.live), "at once");
    });
}

#[test]
fn who_advertises_together_shares_the_time_of_the_one_who_has_been_silent_for_longest() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.company(3);
        fixture.advertise(&[ROUTER], seconds(250));
        fixture.advertise(&[OTHER, RouterId(2)], seconds(100));
        fixture.look();
        let left = left_of(SHARED).expect("they are live");
        assert!((seconds(340)..=seconds(350)).contains(&left), "{left:?} of ten minutes");
        assert_eq!((1..3).filter_map(left_of).count(), 0, "nobody has a time of his own who came later");
        fixture.advertise(&[ROUTER], Duration::ZERO);
        fixture.look();
        let left = left_of(SHARED).expect("they are live");
        assert!((seconds(490)..=seconds(500)).contains(&left), "{left:?} of ten minutes");
        assert_eq!(fixture.standings(), [Standing::InForce], "nothing went wrong");
    });
}

#[test]
fn who_falls_behind_the_others_silences_nobody_but_himself() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.company(3);
        fixture.advertise(&[ROUTER], seconds(350));
        fixture.look();
        assert_eq!(led_to(0), "shared_0", "the others may be in the middle of theirs");
        assert!(fixture.fence.again, "that is not left to chance");
        fixture.fence.holders.age_by(INTERVAL);
        fixture.look();
        assert_eq!((led_to(0), led_to(1)), ("router_0".to_owned(), "shared_0".to_owned()));
        let (own, shared) = (left_of(0).expect("it is live"), left_of(SHARED).expect("they are"));
        assert!(own <= seconds(250) && shared > seconds(540), "{own:?}, {shared:?}");
        // It is back.
        fixture.advertise(&[ROUTER], Duration::ZERO);
        fixture.look();
        assert_eq!(led_to(0), "shared_0");
    });
}

#[test]
fn who_keeps_quiet_leaves_the_others_at_once() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.company(3);
        fixture.guard_of(ROUTER, &["192.0.2.201"], Live::AdvertisedAfter(clock::now()));
        assert_eq!((led_to(0), left_of(0)), ("router_0".to_owned(), None));
        assert!(led_to(1) == "shared_0" && left_of(SHARED).is_some());
        fixture.renew(clock::now());
        assert_eq!(led_to(0), "shared_0");
    });
}

#[test]
fn who_joins_those_who_have_gone_silent_does_not_have_them_answer_again() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.company(2);
        fixture.advertise(&[ROUTER, OTHER], TERM.live);
        fixture.look();
        assert_eq!(left_of(SHARED), None, "they have gone silent");
        // Without a look at the others.
        fixture.guard_of(RouterId(2), &["192.0.2.203"], Live::Since(clock::now()));
        assert!(left_of(2).is_some() && left_of(SHARED).is_none());
        fixture.advertise(&[RouterId(2)], Duration::ZERO);
        fixture.look();
        assert_eq!(left_of(SHARED), None);
        fixture.fence.holders.age_by(INTERVAL);
        fixture.look();
        assert!(left_of(2).is_some() && (0..2).filter_map(left_of).count() == 0);
    });
}

#[test]
fn who_joins_the_others_has_them_answer_for_no_longer_than_itself() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.company(2);
        // A restarted daemon resumes with what is left.
        let live = Live::Since(clock::now().saturating_sub(seconds(250)));
        fixture.guard_of(RouterId(2), &["192.0.2.203"], live);
        assert_eq!(led_to(2), "shared_0");
        assert!(left_of(SHARED).is_some_and(|left| left <= seconds(350)), "{:?}", left_of(SHARED));
    });
}

/// Thousands of addresses take too long to be led elsewhere at each turn.
#[test]
fn who_has_many_addresses_or_little_time_shares_with_nobody() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.company(2);
        let many: Vec<String> = (0..17).map(|last| format!("203.0.113.{last}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        fixture.advertise(&[RouterId(2), RouterId(3)], Duration::ZERO);
        fixture.guard_of(RouterId(2), &many, Live::Since(clock::now()));
        let term = Term { interval: seconds(300), ..TERM };
        let (addresses, live) = (guarded(&["192.0.2.204"]), Live::Since(clock::now()));
        fixture.tell(Message::Guard { router: RouterId(3), term, addresses, live, done: None });
        fixture.look();
        assert!(table("inet").contains("203.0.113.16 : jump router_2"));
        assert_eq!(led_to(3), "router_3");
        assert!(left_of(2).is_some() && left_of(3).is_some() && left_of(SHARED).is_some());
    });
}

#[test]
fn who_shares_a_time_is_guarded_in_each_family() {
    in_network_namespace(|| {
        let mut fixture = fence();
        let routers = [ROUTER, OTHER, RouterId(2), RouterId(3)];
        for (router, ipv6) in routers.into_iter().zip([false, false, true, true]) {
            let of_ipv6 = [format!("fe80::{}", router.0), format!("2001:db8::{}", router.0)];
            let of_ipv4 = [format!("192.0.2.{}", 201 + router.0)];
            let addresses: Vec<&str> =
                if ipv6 { &of_ipv6[..] } else { &of_ipv4 }.iter().map(String::as_str).collect();
            fixture.guard_of(router, &addresses, Live::Since(clock::now()));
        }
        fixture.advertise(&routers, Duration::ZERO);
        fixture.look();
        let inet = table("inet");
        for line in [
            "2001:db8::2,",
            "ip daddr @shared_1_ipv4 jump shared_1",
            "ip6 daddr @shared_0_ipv6 jump shared_0",
            "icmpv6 type nd-neighbor-solicit @th,64,128 @shared_0_ipv6 jump shared_0",
            "icmpv6 type nd-neighbor-solicit @nh,64,128 @shared_0_ipv6 jump shared_0",
            "iifname . ip6 daddr @shared_0_link_local jump shared_0",
        ] {
            assert!(inet.contains(line), "{line}:\n{inet}");
        }
        assert_eq!(inet.matches("\"eth0\" . fe80::").count(), 2, "{inet}");
        let arp = table("arp");
        assert!(arp.contains("arp daddr ip @shared_1_ipv4 jump shared_1"), "{arp}");
        assert!(arp.contains("arp saddr ip @shared_1_ipv4 jump shared_1"), "{arp}");
        assert!(left_of(SHARED).is_some() && left_of(SHARED + 1).is_some());

        fixture.tell(Message::Free { router: OTHER, addresses: guarded(&["192.0.2.202"]) });
        assert!(!table("inet").contains("192.0.2.202") && !table("arp").contains("192.0.2.202"));
        assert!(led_to(0) == "shared_1" && fixture.standings() == [Standing::InForce]);
    });
}

/// Each packet is looked up in each set.
#[test]
fn who_shares_one_of_many_times_is_in_the_map() {
    in_network_namespace(|| {
        let mut fixture = fence();
        let routers: Vec<RouterId> = (0..12).map(RouterId).collect();
        for &router in &routers {
            let term = Term { silent: TERM.silent + seconds(u64::from(router.0) / 2), ..TERM };
            let addresses = guarded(&[&format!("192.0.2.{}", 201 + router.0)]);
            let live = Live::Since(clock::now());
            fixture.tell(Message::Guard { router, term, addresses, live, done: None });
        }
        fixture.advertise(&routers, Duration::ZERO);
        fixture.look();
        let mut chains: Vec<String> = (0..12).map(led_to).collect();
        assert!(chains.chunks(2).all(|pair| pair[0] == pair[1]), "{chains:?}");
        chains.dedup();
        assert_eq!(chains, ["shared_0", "shared_1", "shared_2", "shared_3", "shared_4", "shared_5"]);
        assert_eq!(table("inet").matches(" : jump shared_").count(), 4);
        assert!((0..6).all(|company| left_of(SHARED + company).is_some()));
        assert_eq!(fixture.standings(), [Standing::InForce]);

        // The first to share a time are gone, and others take their place.
        for router in [ROUTER, OTHER] {
            let address = format!("192.0.2.{}", 201 + router.0);
            fixture.tell(Message::Free { router, addresses: guarded(&[&address]) });
        }
        fixture.advertise(&routers[2..], Duration::ZERO);
        fixture.look();
        for router in [ROUTER, OTHER] {
            let term = Term { silent: seconds(9999), ..TERM };
            let addresses = guarded(&[&format!("192.0.2.{}", 201 + router.0)]);
            let live = Live::Since(clock::now());
            fixture.tell(Message::Guard { router, term, addresses, live, done: None });
        }
        fixture.advertise(&routers, Duration::ZERO);
        fixture.look();
        assert_eq!([led_to(0), led_to(1), led_to(11)], ["shared_0", "shared_0", "shared_5"]);
        assert_eq!(fixture.standings(), []);
    });
}

#[test]
fn the_fence_looks_at_a_thousand_advertisements_a_few_times_an_interval() {
    in_network_namespace(|| {
        let mut fixture = fence();
        fixture.company(10);
        let next = fixture.fence.look_at;
        assert!(next > clock::now() + INTERVAL / 16, "it has just looked");
        let _ = fixture.fence.timeout();
        fixture.advertise(&[ROUTER], Duration::ZERO);
        let told = fixture.fence.told;
        let _ = fixture.fence.serve();
        assert_eq!(fixture.fence.told, told, "it can wait");
        fixture.look();
        assert!(fixture.fence.told > told);
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
        fixture.renew(clock::now());
        assert!(matches!(fixture.standings()[..], [Standing::Failed(_)]));
        assert!(!nft(&format!("list table arp {NAME}")).0, "what is left of it was taken away");
        fixture.fence.make();
        assert!(fixture.fence.retry_at.is_some(), "still in the way");
        drop(owner);
        // A child of another test may have that socket for a moment, until it runs its program.
        let deadline = Clock::now() + seconds(10);
        while fixture.standings().pop() != Some(Standing::InForce) {
            assert!(Clock::now() < deadline, "nobody is in the way");
            fixture.fence.make();
        }
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

        let mut next = Fixture::new();
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
        let mut next = Fixture::new();
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
