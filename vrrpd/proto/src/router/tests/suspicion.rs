//! An advertisement is late: the host of the Active Router is asked, and followed early when it is dead.

use std::time::Duration;

use super::scene::{
    A, Kernel, LINK, OTHER, OTHER_MAC, OWN, OWN_MAC, PEER, ROUTER, SECOND_LINK, Scene, down_interval, facts,
    ip, ms, parameters,
};
use crate::action::{Input, Order, Report};
use crate::node::ANNOUNCEMENT_MAX;
use crate::packet::{Sighting, arp};
use crate::parameters::{
    Facts, GroupId, LinkId, OnConflict, Parameters, SecondPath, SecondPeer, Witness, WitnessPolicy,
};
use crate::snapshot::{Alarm, Finding, Reason, StateName};
use crate::{AdverInterval, Family, MacAddress, Priority, Vrid};

/// A third station.
const GATEWAY: &str = "192.0.2.254";
/// Of the peer and of us, on the second path.
const PEER_2: &str = "198.51.100.2";
const OWN_2: &str = "198.51.100.3";
const OWN_MAC_2: MacAddress = MacAddress::new([2, 0, 0, 0, 2, 7]);
/// Of ours, and what follows from it at an interval of one second.
const OURS: u8 = 150;
const LATE: Duration = Duration::from_nanos(15_625_000);
const WINDOW: Duration = ms(40);

fn skew(priority: u8) -> Duration {
    AdverInterval::DEFAULT.skew_time(Priority::new(priority))
}

/// From the last advertisement to an early claim.
fn early(priority: u8) -> Duration {
    A + LATE + WINDOW + skew(priority)
}

fn suspicious() -> Parameters {
    let arp = [ip(GATEWAY)].into();
    let witness = Witness { peers: [ip(PEER)].into(), arp, tcp: [].into(), policy: WitnessPolicy::Claim };
    Parameters { witness: Some(witness), suspicion: true, ..parameters() }
}

fn over_two_paths() -> Parameters {
    let peer = SecondPeer { router: ip(PEER), address: ip(PEER_2) };
    let witnesses = [ip(GATEWAY)].into();
    let second_path = SecondPath { link: SECOND_LINK, peers: [peer].into(), witnesses };
    Parameters { witness: None, second_path: Some(second_path), ..suspicious() }
}

fn answer_on(scene: &mut Scene, link: LinkId, station: &str, mac: MacAddress) {
    let sighting = Sighting { address: ip(station), mac, announced: false, answer: true };
    scene.input(Input::Sighted { link, sighting, arrived: scene.now });
}

fn answer(scene: &mut Scene, station: &str) {
    answer_on(scene, LINK, station, OTHER_MAC);
}

/// A Backup whose loop has been awake.
fn started(parameters: Parameters) -> Scene {
    let mut scene = Scene::new(parameters);
    scene.woke();
    scene.facts(Facts { second_source: Some(ip(OWN_2)), second_mac: OWN_MAC_2, ..facts(OWN) });
    scene.forget();
    scene
}

/// One that has just heard an Active Router which answers questions.
fn backup(parameters: Parameters) -> Scene {
    let mut scene = started(parameters);
    scene.hear(PEER, 200);
    answer(&mut scene, PEER);
    answer_on(&mut scene, SECOND_LINK, PEER_2, OTHER_MAC);
    scene.forget();
    scene
}

/// Time passes; after each question these stations answer.
fn answered_for(scene: &mut Scene, time: Duration, stations: &[&str]) {
    let end = scene.now + time;
    while scene.node.poll_timeout().is_some_and(|at| at <= end) {
        let asked = scene.inquiries() + scene.count("ask");
        scene.next_timeout();
        if scene.inquiries() + scene.count("ask") > asked {
            stations.iter().for_each(|station| answer(scene, station));
        }
    }
    scene.now = end;
}

/// When the role is taken, counted from the last advertisement, and why.
fn taken(mut scene: Scene, stations: &[&str]) -> (Duration, Reason) {
    let heard = scene.now;
    while scene.state() != StateName::Active {
        answered_for(&mut scene, ms(1), stations);
        assert!(scene.now - heard < 10 * A, "it never claims");
    }
    (scene.now - heard, scene.reason())
}

fn findings(scene: &Scene) -> Vec<Finding> {
    let finding = |report| match report {
        Report::Suspected { finding, .. } => Some(finding),
        _ => None,
    };
    scene.reports().into_iter().filter_map(finding).collect()
}

fn full() -> (Duration, Reason) {
    (up(down_interval(OURS)), Reason::NoResponse)
}

fn up(time: Duration) -> Duration {
    ms(u64::try_from(time.as_nanos().div_ceil(1_000_000)).expect("short"))
}

#[test]
fn a_dead_host_is_followed_early_when_a_third_station_answers() {
    let mut scene = backup(suspicious());
    answered_for(&mut scene, early(OURS) - ms(1), &[GATEWAY]);
    assert_eq!((scene.state(), scene.inquiries()), (StateName::Backup, 16));
    answered_for(&mut scene, ms(1), &[GATEWAY]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Suspected));
    let told = Report::Suspected {
        router: ROUTER,
        of: ip(PEER),
        finding: Finding::Dead,
        third: Some(ip(GATEWAY)),
        silent: early(OURS),
    };
    assert!(scene.reports().contains(&told), "{:?}", scene.reports());
    let statistics = scene.statistics();
    let counted = (statistics.suspicions, statistics.suspicions_answered, statistics.suspicions_confirmed);
    assert_eq!(counted, (1, 0, 1));
    let last = scene.snapshot().suspicion.and_then(|suspicion| suspicion.last).expect("one");
    assert_eq!((last.finding, last.of, last.third), (Finding::Dead, ip(PEER), Some(ip(GATEWAY))));
    assert_eq!(scene.probes(), 1, "who has the addresses is asked as after any silence");
}

#[test]
fn a_host_that_answers_any_question_gets_the_full_interval() {
    for nth in [1, 8, 16] {
        let mut scene = backup(suspicious());
        while scene.inquiries() < nth {
            scene.next_timeout();
            answer(&mut scene, GATEWAY);
        }
        answer(&mut scene, PEER);
        let asked = scene.inquiries();
        answered_for(&mut scene, down_interval(OURS) / 2, &[GATEWAY]);
        assert_eq!((scene.inquiries(), findings(&scene)), (asked, vec![Finding::Answered]));
        assert_eq!((scene.state(), scene.statistics().suspicions_answered), (StateName::Backup, 1));
        assert_eq!(taken(backup(suspicious()), &[GATEWAY, PEER]), full());
    }
}

#[test]
fn whatever_shows_the_host_after_the_first_question_is_an_answer() {
    let mut scene = backup(suspicious());
    scene.run_for(A + LATE);
    assert_eq!(scene.inquiries(), 1);
    scene.sight(Sighting { address: ip(PEER), mac: OTHER_MAC, announced: false, answer: false }, scene.now);
    answered_for(&mut scene, 2 * A, &[GATEWAY]);
    assert_eq!(findings(&scene), [Finding::Answered]);

    let mut scene = backup(suspicious());
    scene.run_for(A + LATE);
    let before = scene.now.saturating_sub(ms(1));
    scene.sight(Sighting { address: ip(PEER), mac: OTHER_MAC, announced: false, answer: true }, before);
    answer_on(&mut scene, LINK, PEER, OWN_MAC);
    answered_for(&mut scene, 2 * A, &[GATEWAY]);
    assert_eq!(findings(&scene), [Finding::Dead], "what came before, and our own, is none");
}

#[test]
fn without_a_third_station_that_answers_in_the_second_half_nobody_is_dead() {
    assert_eq!(taken(backup(suspicious()), &[]), full());
    for last in [7, 8] {
        let mut scene = backup(suspicious());
        while scene.inquiries() < last {
            scene.next_timeout();
            answer(&mut scene, GATEWAY);
        }
        scene.run_for(A);
        assert_eq!(findings(&scene), [Finding::Unwitnessed], "answered up to question {last}");
        assert_eq!(scene.state(), StateName::Backup);
    }
    let mut scene = backup(suspicious());
    while scene.inquiries() < 9 {
        scene.next_timeout();
    }
    answer(&mut scene, "192.0.2.77");
    scene.announced_elsewhere(GATEWAY);
    scene.run_for(A);
    assert_eq!(findings(&scene), [Finding::Unwitnessed], "a stranger, and what nobody asked for");
    let mut scene = backup(suspicious());
    while scene.inquiries() < 9 {
        scene.next_timeout();
    }
    answer(&mut scene, GATEWAY);
    answer(&mut scene, "192.0.2.77");
    scene.run_for(A);
    assert_eq!(findings(&scene), [Finding::Dead]);

    // What came before the second half counts by when it came, and what came on the other path not at all.
    let early = |scene: &mut Scene| {
        let before = scene.now.saturating_sub(ms(1));
        scene
            .sight(Sighting { address: ip(GATEWAY), mac: OTHER_MAC, announced: false, answer: true }, before);
    };
    let elsewhere = |scene: &mut Scene| answer_on(scene, SECOND_LINK, GATEWAY, OTHER_MAC);
    let answers: [&dyn Fn(&mut Scene); 2] = [&early, &elsewhere];
    for answers in answers {
        let mut scene = backup(over_two_paths());
        while scene.inquiries() < 9 {
            scene.next_timeout();
        }
        answers(&mut scene);
        scene.run_for(A);
        assert_eq!(findings(&scene), [Finding::Unwitnessed]);
    }
}

#[test]
fn another_backup_is_a_third_station_and_so_is_a_server_that_the_caller_reaches() {
    let mut witness = suspicious().witness.expect("some");
    witness.peers = [ip(PEER), ip(OTHER)].into();
    let three = Parameters { witness: Some(witness.clone()), ..suspicious() };
    assert_eq!(taken(backup(three), &[OTHER]), (up(early(OURS)), Reason::Suspected));

    witness.tcp = ["198.51.100.77:443".parse().expect("a server")].into();
    let mut scene = backup(Parameters { witness: Some(witness), ..suspicious() });
    while scene.inquiries() < 9 {
        scene.next_timeout();
    }
    let asked = scene.now;
    let wanted = |report: &Report| matches!(report, Report::AskWitnesses { asked: at, .. } if *at == asked);
    assert!(scene.reports().iter().any(wanted), "{:?}", scene.reports());
    scene.pass(ms(1));
    scene.input(Input::Witnessed { router: ROUTER, nth: 0, asked });
    scene.run_for(A);
    let told = scene.reports().into_iter().find_map(|report| match report {
        Report::Suspected { finding, third, .. } => Some((finding, third)),
        _ => None,
    });
    assert_eq!(told, Some((Finding::Dead, Some(ip("198.51.100.77")))));
}

#[test]
fn several_that_suspect_claim_in_the_order_of_their_ranks_as_far_apart_as_ever() {
    let mut before = Duration::ZERO;
    for priority in (1..=254).rev() {
        let mut scene = started(Parameters { priority: Priority::new(priority), ..suspicious() });
        scene.hear(PEER, 254);
        answer(&mut scene, PEER);
        let heard = scene.now;
        while scene.state() != StateName::Active {
            let asked = scene.inquiries();
            scene.next_timeout();
            if scene.inquiries() > asked {
                answer(&mut scene, GATEWAY);
            }
        }
        assert_eq!(scene.reason(), Reason::Suspected, "priority {priority}");
        // The addresses are there at once.
        let claimed = scene.now - heard;
        assert!(claimed >= early(priority) && claimed < early(priority) + Duration::from_micros(1));
        assert!(claimed > before + A / 300, "priority {priority}: {claimed:?} after {before:?}");
        before = claimed;
    }
}

#[test]
fn a_priority_that_sinks_meanwhile_waits_for_its_turn() {
    let mut scene = backup(suspicious());
    while scene.inquiries() < 16 {
        scene.next_timeout();
        answer(&mut scene, GATEWAY);
    }
    scene.configure(Parameters { priority: Priority::new(50), ..suspicious() });
    scene.run_for(early(OURS));
    assert_eq!(scene.state(), StateName::Active, "no address was refused");
    let waited = early(50) - early(OURS);
    let mut scene = backup(suspicious());
    while scene.inquiries() < 15 {
        scene.next_timeout();
        answer(&mut scene, GATEWAY);
    }
    scene.configure(Parameters { priority: Priority::new(50), ..suspicious() });
    scene.next_timeout();
    answer(&mut scene, GATEWAY);
    assert!(scene.timeout() >= Some(waited), "{:?}", scene.timeout());
}

#[test]
fn an_advertisement_ends_it_and_the_next_silence_is_asked_about_anew() {
    let mut scene = backup(suspicious());
    scene.run_for(A + LATE + ms(20));
    assert!(scene.inquiries() > 0);
    scene.hear(PEER, 200);
    scene.forget();
    answered_for(&mut scene, A + LATE - ms(1), &[GATEWAY]);
    assert_eq!((scene.inquiries(), scene.state()), (0, StateName::Backup));
    answered_for(&mut scene, A, &[GATEWAY]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Suspected));
}

#[test]
fn only_one_who_is_known_to_answer_is_suspected() {
    let mut scene = started(suspicious());
    let mut asked = 0;
    for _ in 0..60 {
        scene.hear(PEER, 200);
        asked = scene.inquiries();
        scene.run_for(A);
    }
    assert_eq!(asked, 60, "once for each advertisement");
    assert!(!scene.snapshot().suspicion.expect("configured").ready);
    assert_eq!(taken(scene, &[GATEWAY]).1, Reason::NoResponse);

    // Nor by what it says unasked.
    let mut scene = started(suspicious());
    scene.hear(PEER, 200);
    scene.sight(Sighting { address: ip(PEER), mac: OTHER_MAC, announced: true, answer: false }, scene.now);
    assert!(!scene.snapshot().suspicion.expect("configured").ready);

    let mut scene = backup(suspicious());
    assert!(scene.snapshot().suspicion.expect("configured").ready);
    for _ in 0..29 {
        scene.run_for(A);
        scene.hear(PEER, 200);
    }
    assert_eq!(scene.inquiries(), 2, "each ten seconds");
    let ready = scene.snapshot().suspicion.expect("configured").ready;
    scene.run_for(A);
    scene.hear(PEER, 200);
    assert_eq!((ready, scene.snapshot().suspicion.expect("configured").ready), (true, false));
    answer(&mut scene, PEER);
    assert!(scene.snapshot().suspicion.expect("configured").ready);
    // Another one is Active.
    scene.hear(OTHER, 210);
    assert!(!scene.snapshot().suspicion.expect("configured").ready);
}

#[test]
fn nobody_is_suspected_who_was_not_heard_or_resigned_or_is_to_be_preempted() {
    let mut scene = started(suspicious());
    answered_for(&mut scene, 3 * A, &[GATEWAY]);
    assert_eq!((scene.state(), scene.inquiries()), (StateName::Backup, 0), "never heard");

    let mut scene = backup(suspicious());
    scene.hear(PEER, 0);
    answered_for(&mut scene, A, &[GATEWAY]);
    assert_eq!((scene.reason(), scene.inquiries()), (Reason::Priority, 0), "resigned");

    let mut scene = backup(suspicious());
    scene.hear(PEER, 100);
    answered_for(&mut scene, 2 * A, &[GATEWAY]);
    assert_eq!((scene.state(), scene.inquiries()), (StateName::Backup, 0), "of lower priority");
    answered_for(&mut scene, 2 * A, &[GATEWAY]);
    assert_eq!(scene.reason(), Reason::Preempted);

    let mut scene = backup(Parameters { suspicion: false, ..suspicious() });
    answered_for(&mut scene, 3 * A, &[GATEWAY]);
    assert_eq!((scene.inquiries(), scene.snapshot().suspicion), (0, None), "not configured");
}

#[test]
fn another_router_that_speaks_meanwhile_is_not_taken_for_the_one_that_was_asked() {
    let mut scene = backup(suspicious());
    answered_for(&mut scene, A + LATE + ms(100), &[GATEWAY]);
    let asked = scene.inquiries();
    scene.hear(OTHER, 100);
    answered_for(&mut scene, down_interval(OURS), &[GATEWAY]);
    assert_eq!((scene.inquiries(), findings(&scene)), (asked, vec![]));
    assert_eq!(scene.reason(), Reason::Preempted);
}

#[test]
fn a_claim_that_follows_a_refused_address_has_a_reason_of_its_own() {
    let mut scene = backup(suspicious());
    scene.kernel = Kernel::Refusing(0);
    answered_for(&mut scene, early(OURS) + ms(1), &[GATEWAY]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Backup, Reason::AddressRefused));
    scene.kernel = Kernel::Prompt;
    assert_eq!(taken(scene, &[GATEWAY]).1, Reason::NoResponse);
}

#[test]
fn who_was_away_itself_suspects_nobody() {
    let mut scene = backup(suspicious());
    scene.run_for(ms(1));
    scene.pass(5 * A);
    scene.next_timeout();
    answered_for(&mut scene, A, &[GATEWAY]);
    assert_eq!((scene.state(), scene.inquiries()), (StateName::Backup, 0));
    answered_for(&mut scene, A, &[GATEWAY]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::NoResponse));
}

/// It hears the Active Router as soon as it wakes up, and listens for longer than until the next advertisement.
#[test]
fn who_listens_after_an_absence_suspects_nobody_meanwhile() {
    let mut scene = backup(suspicious());
    scene.run_for(ms(1));
    scene.pass(5 * A);
    scene.woke();
    scene.hear(PEER, 200);
    scene.drained();
    assert_eq!(scene.inquiries(), 0);
    answered_for(&mut scene, 2 * A, &[GATEWAY]);
    assert_eq!((scene.state(), scene.inquiries()), (StateName::Backup, 0));
}

/// Seed 101638799: its machine was suspended while it asked. By what nobody had answered before that it took the host
/// for dead 18 ms after it woke, and claimed as soon as it had listened.
#[test]
fn who_was_away_while_it_asked_waits_for_the_whole_silence() {
    let clocks = |boot| Input::Clocks { wall: 1000 * A + boot, boot };
    let mut scene = backup(suspicious());
    let heard = scene.now;
    scene.input(clocks(Duration::ZERO));
    answered_for(&mut scene, early(OURS) - ms(50), &[GATEWAY]);
    assert!(scene.inquiries() > 8, "a third station has answered in the second half");
    scene.input(clocks(3 * A));
    scene.woke();
    scene.drained();
    answered_for(&mut scene, A, &[GATEWAY]);
    assert_eq!(findings(&scene), []);
    let before = scene.now - heard;
    let (later, reason) = taken(scene, &[GATEWAY]);
    assert_eq!((up(before + later), reason), full());
}

#[test]
fn a_loop_that_is_late_asks_as_often_and_claims_later() {
    for (late, later) in [(ms(10), ms(10)), (ms(100), 16 * ms(80))] {
        claims_late(late, later);
    }
}

/// Each wake-up is so late, and so much later is the claim, or little more.
fn claims_late(late: Duration, later: Duration) {
    let mut scene = backup(suspicious());
    let heard = scene.now;
    while scene.state() != StateName::Active {
        let late = scene.timeout().expect("a deadline") + late;
        scene.pass(late);
        scene.woke();
        scene.drained();
        answer(&mut scene, GATEWAY);
    }
    assert_eq!((scene.reason(), scene.inquiries()), (Reason::Suspected, 16));
    let waited = scene.now - heard;
    assert!(waited >= early(OURS) + later && waited < early(OURS) + 2 * later, "{waited:?}");
}

#[test]
fn the_interval_that_counts_is_that_of_the_active_router_and_a_short_one_leaves_no_room() {
    let mut scene = started(suspicious());
    scene.hear_interval(PEER, 200, 10);
    answer(&mut scene, PEER);
    let skew = AdverInterval::from_centiseconds(10).expect("100 ms").skew_time(Priority::new(OURS));
    assert_eq!(taken(scene, &[GATEWAY]), (up(ms(100 + 10) + WINDOW + skew), Reason::Suspected));
    for (centiseconds, suspects) in [(1, false), (2, false), (3, true)] {
        let mut scene = started(suspicious());
        scene.hear_interval(PEER, 200, centiseconds);
        answer(&mut scene, PEER);
        answered_for(&mut scene, ms(200), &[GATEWAY]);
        assert_eq!(scene.statistics().suspicions > 0, suspects, "{centiseconds}0 ms");
        assert_eq!(scene.state(), StateName::Active);
    }
}

#[test]
fn version_2_and_a_virtual_mac_address_change_nothing() {
    let version_2 = AdverInterval::from_seconds(1).expect("one second");
    let claims = (up(early(OURS)), Reason::Suspected);
    let two = Parameters { interval: version_2, ..suspicious() };
    assert_eq!(taken(backup(two), &[GATEWAY]), claims);
    assert_eq!(taken(backup(Parameters { virtual_mac: true, ..suspicious() }), &[GATEWAY]), claims);
}

#[test]
fn over_two_paths_the_host_has_to_be_silent_on_both() {
    let claims = (up(early(OURS)), Reason::Suspected);
    assert_eq!(taken(backup(over_two_paths()), &[GATEWAY]), claims);
    let mut scene = backup(over_two_paths());
    scene.run_for(A + LATE);
    answer_on(&mut scene, SECOND_LINK, PEER_2, OTHER_MAC);
    answered_for(&mut scene, A, &[GATEWAY]);
    assert_eq!(findings(&scene), [Finding::Answered]);

    let mut scene = backup(over_two_paths());
    scene.run_for(A + LATE);
    answer_on(&mut scene, SECOND_LINK, PEER_2, OWN_MAC_2);
    answered_for(&mut scene, A, &[GATEWAY]);
    assert_eq!(findings(&scene), [Finding::Dead], "our own is no answer");

    // It was never asked there, or cannot be.
    let mut scene = started(over_two_paths());
    scene.hear(PEER, 200);
    answer(&mut scene, PEER);
    assert_eq!(taken(scene, &[GATEWAY]), full());
    let mut scene = backup(over_two_paths());
    scene.facts(Facts { second_source: None, ..facts(OWN) });
    assert_eq!(taken(scene, &[GATEWAY]), full());
}

#[test]
fn each_path_is_asked_from_its_own_interface_and_the_third_stations_on_the_first() {
    let scene = backup(over_two_paths());
    let inquired: Vec<_> = scene.node.inquired(ROUTER).collect();
    assert_eq!(inquired, [(LINK, ip(PEER)), (LINK, ip(GATEWAY)), (SECOND_LINK, ip(PEER_2))]);
    let mut out = [0; ANNOUNCEMENT_MAX];
    for (link, station) in inquired {
        let octets = scene.node.inquiry(ROUTER, link, station, &mut out).expect("a frame");
        let seen = arp::Arp::parse(&out[..octets]).expect("ARP");
        let (mac, own) = if link == LINK { (OWN_MAC, OWN) } else { (OWN_MAC_2, OWN_2) };
        assert_eq!((seen.sender_mac, seen.sender_address.to_string()), (mac, own.to_owned()));
        assert_eq!(
            (seen.operation, seen.target_address.to_string()),
            (arp::Operation::Request, station.to_string())
        );
    }
}

#[test]
fn ipv6_routers_are_asked_at_their_link_local_addresses() {
    let arp = [ip("fe80::fe")].into();
    let witness =
        Witness { peers: [ip("fe80::2")].into(), arp, tcp: [].into(), policy: WitnessPolicy::Claim };
    let addresses = super::scene::addresses(&["fe80::1", "2001:db8::1"]);
    let six = Parameters { family: Family::Ipv6, witness: Some(witness), addresses, ..suspicious() };
    let mut scene = Scene::new(six);
    scene.woke();
    scene.facts(facts("fe80::b"));
    scene.hear("fe80::2", 200);
    answer(&mut scene, "fe80::2");
    assert_eq!(taken(scene, &["fe80::fe"]), (up(early(OURS)), Reason::Suspected));
}

#[test]
fn who_holds_back_asks_for_the_addresses_before_it_follows_early() {
    let mut scene = backup(Parameters { on_conflict: OnConflict::Hold, ..suspicious() });
    answered_for(&mut scene, early(OURS), &[GATEWAY]);
    assert_eq!((scene.state(), scene.probes()), (StateName::Backup, 1));
    answer(&mut scene, "192.0.2.1");
    answered_for(&mut scene, A, &[GATEWAY]);
    assert_eq!(scene.state(), StateName::Backup, "somebody has them");
    assert!(scene.snapshot().alarms.contains(Alarm::LivingHolder));
    let mut scene = backup(Parameters { on_conflict: OnConflict::Hold, ..suspicious() });
    answered_for(&mut scene, early(OURS) + ms(50), &[GATEWAY]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Suspected));
}

#[test]
fn a_router_that_was_taken_for_dead_twice_is_told_of_with_the_time_that_was_waited() {
    let mut scene = backup(suspicious());
    for _ in 0..2 {
        answered_for(&mut scene, early(OURS), &[GATEWAY]);
        assert_eq!(scene.state(), StateName::Active);
        scene.pass(ms(5));
        scene.hear(PEER, 200);
        answered_for(&mut scene, ms(100), &[GATEWAY]);
        scene.hear(PEER, 200);
        answer(&mut scene, PEER);
        assert_eq!(scene.state(), StateName::Backup);
    }
    assert_eq!(findings(&scene), [Finding::Dead; 2], "what moves something is told each time");
    let shown = scene.snapshot().alarms.get(Alarm::LateAdvertisements).expect("raised");
    assert_eq!(shown.evidence.theirs, shown.evidence.ours);
}

#[test]
fn findings_that_move_nothing_are_told_once_a_minute() {
    let mut scene = backup(suspicious());
    for _ in 0..30 {
        answered_for(&mut scene, 2 * A, &[PEER, GATEWAY]);
        scene.hear(PEER, 200);
        answer(&mut scene, PEER);
    }
    assert_eq!((findings(&scene).len(), scene.statistics().suspicions_answered), (1, 30));
    answered_for(&mut scene, 2 * A, &[PEER, GATEWAY]);
    assert_eq!(findings(&scene).len(), 2);
}

#[test]
fn an_order_to_stay_away_and_one_that_was_obeyed_keep_their_meaning() {
    let mut scene = backup(suspicious());
    scene.order(Order::Drain { force: false });
    answered_for(&mut scene, 5 * A, &[GATEWAY]);
    assert_eq!((scene.state(), scene.inquiries()), (StateName::Initialize, 0));
    let mut scene = backup(suspicious());
    scene.order(Order::Yield);
    assert_eq!(taken(scene, &[GATEWAY]).1, Reason::Suspected, "it preempts nobody who lives");
}

#[test]
fn the_members_of_a_sync_group_follow_early_together_or_not_at_all() {
    let member = |vrid: u8| Parameters {
        vrid: Vrid::new(vrid).expect("not zero"),
        sync_group: Some(GroupId(0)),
        ..suspicious()
    };
    // Its VRID is that of nobody who is heard, so its own silence is not asked about.
    let pair = || {
        let mut scene = Scene::new(member(51));
        scene.woke();
        let router = crate::parameters::RouterId(1);
        scene.input(Input::Configure { router, parameters: Box::new(member(52)) });
        scene.input(Input::Facts { router, facts: facts(OWN) });
        scene.facts(facts(OWN));
        scene.hear(PEER, 200);
        answer(&mut scene, PEER);
        scene
    };
    let mut scene = pair();
    answered_for(&mut scene, early(OURS) + ms(5), &[GATEWAY]);
    assert_eq!(findings(&scene), [Finding::Dead]);
    assert_eq!(scene.state(), StateName::Backup, "the other one counts its Active_Down_Interval");
    // The host shows itself meanwhile.
    scene.sight(Sighting { address: ip(PEER), mac: OTHER_MAC, announced: false, answer: true }, scene.now);
    assert_eq!(findings(&scene), [Finding::Dead, Finding::Answered]);
    answered_for(&mut scene, down_interval(OURS) - early(OURS) - ms(10), &[GATEWAY]);
    assert_eq!(scene.state(), StateName::Backup);
    let mut scene = pair();
    answered_for(&mut scene, down_interval(OURS), &[GATEWAY]);
    assert_eq!((scene.state(), scene.reason()), (StateName::Active, Reason::Suspected));
}
