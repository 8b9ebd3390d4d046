//! Two to four real nodes on a modelled LAN with modelled kernels, in virtual time.
//!
//! A seed decides everything. What must be true is in `simulation/judge.rs`; `simulation/settings.rs`
//! has the mistakes that are planted around the nodes, each of which must be noticed.
//!
//! `VRRPD_SEEDS=100000` runs more seeds; `VRRPD_SEED=17 cargo test -p vrrp-proto --test simulation
//! replay` shows the last events of one.

#[path = "simulation/found.rs"]
mod found;
#[path = "simulation/host.rs"]
mod host;
#[path = "simulation/judge.rs"]
mod judge;
#[path = "simulation/kernel.rs"]
mod kernel;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/random.rs"]
mod random;
mod scene;
#[path = "simulation/settings.rs"]
mod settings;
#[path = "simulation/world.rs"]
mod world;

use settings::Bug;
use world::World;

/// Seeds of the usual run.
const SEEDS: u64 = 10_000;
/// A planted mistake is noticed within so many seeds.
const BUG_SEEDS: u64 = 300;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, not a number")))
}

fn check(seeds: impl Iterator<Item = u64>) {
    let mut failures = seeds.filter_map(|seed| Some((seed, World::new(seed, None).run().err()?)));
    let Some((seed, violation)) = failures.next() else { return };
    let others: Vec<String> =
        failures.take(20).map(|(seed, other)| format!("\nseed {seed}: {other}")).collect();
    panic!(
        "seed {seed}: {violation}\n{}\nreplay: VRRPD_SEED={seed} cargo test -p vrrp-proto --test simulation \
         replay{}",
        World::explain(seed, None),
        others.concat()
    );
}

#[test]
fn one_holder_whatever_happens() {
    check(0..number("VRRPD_SEEDS").unwrap_or(SEEDS));
}

#[test]
fn replay() {
    let seed = number("VRRPD_SEED").unwrap_or(0);
    check(seed..seed + 1);
}

#[test]
fn a_seed_is_a_whole_run() {
    for seed in 0..20 {
        assert_eq!(World::explain(seed, None), World::explain(seed, None), "seed {seed}");
    }
}

#[test]
fn each_planted_mistake_is_noticed() {
    for bug in Bug::ALL {
        let noticed = (0..BUG_SEEDS).find_map(|seed| Some((seed, World::new(seed, Some(bug)).run().err()?)));
        let Some((seed, violation)) = noticed else { panic!("{bug:?} was not noticed in {BUG_SEEDS} seeds") };
        assert_eq!(World::new(seed, None).run(), Ok(()), "seed {seed} fails without {bug:?} as well");
        println!("{bug:?}: seed {seed}, {violation}");
    }
}
