//! Two to four real nodes on a modelled LAN with modelled kernels, in virtual time.
//!
//! A seed decides everything. What must be true is in `simulation/judge.rs`; `simulation/settings.rs`
//! has the mistakes that are planted around the nodes, each of which must be noticed.
//!
//! `VRRPD_SEEDS=100000` runs more seeds, `VRRPD_FIRST=100000` others; `VRRPD_SEED=17 cargo test -p vrrp-proto --test simulation
//! replay` shows the last events of one.

#[path = "simulation/bounds.rs"]
mod bounds;
#[path = "simulation/cut_off.rs"]
mod cut_off;
#[path = "simulation/cuts.rs"]
mod cuts;
#[path = "simulation/daemon.rs"]
mod daemon;
#[path = "simulation/fence.rs"]
mod fence;
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
#[path = "simulation/queue.rs"]
mod queue;
#[path = "simulation/random.rs"]
mod random;
mod scene;
#[path = "simulation/settings.rs"]
mod settings;
#[path = "simulation/wire.rs"]
mod wire;
#[path = "simulation/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use settings::Bug;
use world::World;

/// Seeds of the usual run.
const SEEDS: u64 = 10_000;
/// Failures that are told, and enough to stop at.
const SHOWN: usize = 20;
/// A planted mistake is noticed within so many seeds.
const BUG_SEEDS: u64 = 1000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, not a number")))
}

/// Runs seeds on all processors.
fn check(seeds: Range<u64>) {
    let next = AtomicU64::new(seeds.start);
    let failures: Mutex<BTreeMap<u64, String>> = Mutex::default();
    let failed = || failures.lock().expect("no thread panics with it");
    let work = || {
        while failed().len() < SHOWN {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Err(violation) = World::new(seed, None).run() {
                failed().insert(seed, violation);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(work)));
    let failures = failed();
    let Some((seed, violation)) = failures.first_key_value() else { return };
    let others: Vec<String> =
        failures.iter().skip(1).map(|(seed, other)| format!("\nseed {seed}: {other}")).collect();
    panic!(
        "seed {seed}: {violation}\n{}\nreplay: VRRPD_SEED={seed} cargo test -p vrrp-proto --test simulation \
         replay{}",
        World::explain(*seed, None),
        others.concat()
    );
}

#[test]
fn one_holder_whatever_happens() {
    let first = number("VRRPD_FIRST").unwrap_or(0);
    check(first..first + number("VRRPD_SEEDS").unwrap_or(SEEDS));
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
