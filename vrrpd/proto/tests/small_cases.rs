//! All small cases: two and three real nodes, explored exhaustively over the order in which what is due happens, with
//! every placement of a bounded number of faults.
//!
//! Time stands still until everything that is due has been done, in every possible order: frames on the wire,
//! timers that have run out, requests in the kernels. Then it goes on to the next thing that is due. A
//! fault ([`faults::Fault`]) may befall any host or frame between any two steps. Worlds that differ only in the time of
//! day are one. There is no limit on the length of a schedule: the search ends when no step leads to a
//! world that has not been seen.
//!
//! `VRRPD_FAULTS=2 cargo test --release -p vrrp-proto --test small_cases -- --nocapture` allows more faults and says
//! how many worlds there are.

#[path = "small_cases/faults.rs"]
mod faults;
#[path = "small_cases/judge.rs"]
mod judge;
#[path = "small_cases/kernel.rs"]
mod kernel;
mod scene;
#[path = "small_cases/snapshot.rs"]
mod snapshot;
#[path = "small_cases/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

use vrrp_proto::Priority;
use vrrp_proto::parameters::Parameters;
use vrrp_proto::tracking::{Effect, Tracking};

use faults::Fault;
use world::{Bug, CHECK, Case, MS, Step, World};

/// How a world came to be.
struct Past {
    before: Option<Rc<Past>>,
    at: u64,
    step: Step,
}

/// Explores a case to the end and says how many worlds there are, or how one that must not be came about.
fn explore(case: &Case, faults: u8) -> Result<usize, String> {
    // Of each world the most faults that were left in it.
    let mut seen: BTreeMap<u64, u8> = BTreeMap::new();
    for starts in starts(case.hosts.len()) {
        let mut open = vec![(World::new(case, starts, faults), None)];
        while let Some((world, past)) = open.pop() {
            for step in world.steps() {
                let next = world.after(step);
                let past = Some(Rc::new(Past { before: past.clone(), at: world.now, step }));
                if let Some(violation) = &next.violation {
                    return Err(tell(case, starts, violation, past.as_deref()));
                }
                let left = seen.entry(snapshot::digest(&next)).or_insert(u8::MAX);
                if *left == u8::MAX || *left < next.faults_left {
                    *left = next.faults_left;
                    open.push((next, past));
                }
            }
        }
    }
    Ok(seen.len())
}

/// When the hosts start, in tenths of the interval: two of them together, half an interval or six intervals
/// apart, three of them together or one after the other.
fn starts(hosts: usize) -> &'static [&'static [u64]] {
    match hosts {
        2 => &[&[1, 1], &[1, 6], &[1, 61], &[6, 1], &[61, 1]],
        _ => &[&[1, 1, 1], &[61, 6, 1]],
    }
}

fn tell(case: &Case, starts: &[u64], violation: &str, past: Option<&Past>) -> String {
    let mut steps = Vec::new();
    let mut last = past;
    while let Some(Past { before, at, step }) = last {
        steps.push(format!("\n{:>14.3} ms  {step:?}", *at as f64 / MS as f64));
        last = before.as_deref();
    }
    let mut text = format!("{}, hosts start after {starts:?}: {violation}", case.name);
    steps.iter().rev().for_each(|step| text.write_str(step).expect("a string takes everything"));
    text
}

fn hosts(priorities: &[u8], with: impl Fn(Parameters) -> Parameters) -> Vec<Parameters> {
    let host = |&priority: &u8| {
        with(Parameters {
            leased: true,
            tracking: vec![Tracking { tracker: CHECK, effect: Effect::Demote }],
            ..scene::with_priority(priority)
        })
    };
    priorities.iter().map(host).collect()
}

fn cases() -> Vec<Case> {
    use Fault::*;
    let every = [
        Lose,
        Double,
        Delay(1),
        Delay(12),
        Crash(0),
        Crash(1),
        Crash(29),
        Crash(45),
        Stop(1),
        Stall(15),
        Stall(25),
        Stall(33),
        Stall(80),
        CutOneWay(35),
        CutOneWay(80),
        CutOff(35),
        CutOff(80),
        Mute(25),
        Mute(45),
        Slow(1),
        Slow(35),
        Refuse,
        Steal,
        Check,
        HandOver,
    ];
    let few = [Lose, Crash(1), Stall(33), CutOff(35)];
    let case = |name, hosts| Case { name, hosts, faults: every.to_vec(), bug: None };
    let unicast = |parameters: Parameters| {
        let own = usize::from(parameters.priority != Priority::new(200));
        Parameters { peers: [Case::source(1 - own)].into(), ..parameters }
    };
    vec![
        case("a pair", hosts(&[200, 100], |it| it)),
        case("a pair of equals", hosts(&[100, 100], |it| it)),
        case("a pair in unicast", hosts(&[200, 100], unicast)),
        case(
            "a pair that does not preempt",
            hosts(&[200, 100], |it| Parameters { preempt_mode: false, ..it }),
        ),
        Case { faults: few.to_vec(), ..case("three", hosts(&[200, 150, 100], |it| it)) },
    ]
}

/// Faults of one schedule, unless more are asked for.
const FAULTS: u8 = 1;

fn keeps_one_holder(name: &str) {
    let faults = std::env::var("VRRPD_FAULTS").ok().map_or(FAULTS, |text| text.parse().expect("a number"));
    let case = cases().into_iter().find(|case| case.name == name).expect("it is one of them");
    match explore(&case, faults) {
        Ok(worlds) => println!("{name}: {worlds} worlds with up to {faults} faults"),
        Err(problem) => panic!("{problem}"),
    }
}

#[test]
fn a_pair() {
    keeps_one_holder("a pair");
}

#[test]
fn a_pair_of_equals() {
    keeps_one_holder("a pair of equals");
}

#[test]
fn a_pair_in_unicast() {
    keeps_one_holder("a pair in unicast");
}

#[test]
fn a_pair_that_does_not_preempt() {
    keeps_one_holder("a pair that does not preempt");
}

#[test]
fn three() {
    keeps_one_holder("three");
}

/// Each with the faults that bring it to light.
#[test]
fn each_planted_mistake_is_found() {
    let mistakes: [(Bug, &[Fault]); 5] = [
        (Bug::ReleaseIgnored, &[]),
        (Bug::BacklogDropped, &[Fault::Stall(45)]),
        (Bug::LeaseNotEnforced, &[Fault::Crash(0)]),
        (Bug::DisclaimNotNoted, &[Fault::Stop(1), Fault::Crash(1)]),
        (Bug::LossUnseen, &[Fault::Steal]),
    ];
    for (bug, faults) in mistakes {
        let left = faults.len().try_into().expect("two at most");
        let case = Case { faults: faults.to_vec(), ..cases().swap_remove(0) };
        if let Err(problem) = explore(&case, left) {
            panic!("{faults:?} fail without {bug:?} as well: {problem}");
        }
        let found = explore(&Case { bug: Some(bug), ..case }, left);
        let problem = found.expect_err(&format!("{bug:?} was not found"));
        println!("{bug:?}: {}", problem.lines().next().unwrap_or_default());
    }
}
