//! How often a living Active Router is taken for dead where frames are lost: `docs/performance.md` derives
//! it, and this counts it. `cargo test -p vrrp-proto --test suspicion -- --nocapture` prints the table.

#[path = "simulation/random.rs"]
#[allow(dead_code, reason = "it draws fewer kinds of numbers")]
mod random;
mod scene;

use random::Random;
use scene::{A, OTHER_MAC, OWN, PEER, Scene, facts, ip, parameters};
use vrrp_proto::action::Report;
use vrrp_proto::packet::Sighting;
use vrrp_proto::parameters::{Parameters, Witness, WitnessPolicy};
use vrrp_proto::snapshot::Finding;

const GATEWAY: &str = "192.0.2.254";
/// Lost advertisements, for each rate of loss.
const SUSPICIONS: u32 = 10_000;
const QUESTIONS: i32 = 16;

/// One advertisement is lost, and of all questions and answers `percent`: is the Active Router taken for dead?
fn is_taken_for_dead(percent: u64, random: &mut Random) -> bool {
    let arp = [ip(GATEWAY)].into();
    let witness = Witness { peers: [ip(PEER)].into(), arp, tcp: [].into(), policy: WitnessPolicy::Claim };
    let mut scene = Scene::new(Parameters { witness: Some(witness), suspicion: true, ..parameters() });
    scene.woke();
    scene.facts(facts(OWN));
    scene.hear(PEER, 200);
    let answer = |station| Sighting { address: ip(station), mac: OTHER_MAC, announced: false, answer: true };
    scene.sight(answer(PEER), scene.now);
    scene.forget();
    let next = scene.now + 2 * A;
    while scene.node.poll_timeout().is_some_and(|at| at < next) {
        let asked = scene.inquiries();
        scene.next_timeout();
        let asks = scene.inquiries() > asked;
        for station in [PEER, GATEWAY].into_iter().filter(|_| asks) {
            let mut lost = || random.below(100) < percent;
            let lost = [lost(), lost()].contains(&true);
            if !lost {
                scene.sight(answer(station), scene.now);
            }
        }
    }
    let dead = |report: &Report| matches!(report, Report::Suspected { finding: Finding::Dead, .. });
    scene.reports().iter().any(dead)
}

#[test]
fn a_living_router_is_taken_for_dead_as_often_as_the_formula_says() {
    let mut random = Random::new(6);
    println!("loss   predicted     counted, of {SUSPICIONS} lost advertisements");
    for percent in [5_u64, 20, 40, 50, 60, 70] {
        let through = 1.0 - percent as f64 / 100.0;
        let unanswered = 1.0 - through * through;
        // No question is answered by the host, and one of the second half by the third station.
        let predicted = unanswered.powi(QUESTIONS) * (1.0 - unanswered.powi(QUESTIONS / 2));
        let taken = (0..SUSPICIONS).filter(|_| is_taken_for_dead(percent, &mut random));
        let counted = taken.count() as f64 / f64::from(SUSPICIONS);
        println!("{percent:>3} %   {predicted:>9.2e}   {counted:.5}");
        let deviation = (predicted * (1.0 - predicted) / f64::from(SUSPICIONS)).sqrt();
        assert!((counted - predicted).abs() <= 4.0 * deviation + 1e-9, "{percent} %: {predicted} {counted}");
    }
}
