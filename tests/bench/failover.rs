//! The Active node loses its power at moments that are spread evenly over an interval: what a client waits for on
//! average, with the early takeover of a dead host that vrrpd has where it is asked for, and without.

use std::time::Duration;

use lab::contender::{Extra, Task};
use lab::story::{PRIMARY, SECONDARY, VIP};
use lab::{Contender, Daemon, Lab, Node, Prober, now_ns};

use crate::measure::{INTERVAL, Measures};

/// Sooner than this nobody takes over, with suspicion neither; until then an answer may be the dead node's.
const SOONEST_NS: i64 = 100_000_000;

/// Measures `contender` once, with so many crashes of each kind.
pub(crate) fn run(contender: Contender, crashes: u32) -> Measures {
    let mut measures = crash(contender, Extra::Nothing, crashes, "crash at any moment");
    if contender == Contender::Vrrpd {
        measures.extend(crash(contender, Extra::Suspicion, crashes, "the same with suspicion"));
    }
    measures
}

fn crash(contender: Contender, extra: Extra, crashes: u32, what: &str) -> Measures {
    let lab = Lab::open().expect("main() has asked whether the laboratory is available");
    let (a, b) = (lab.node("a"), lab.node("b"));
    let task = Task { interval: INTERVAL, ipv6: false, extra };
    let capture = lab.capture_adverts(&[&a, &b]);
    let mut primary = contender.start(&a, PRIMARY, task);
    let _secondary = contender.start(&b, SECONDARY, task);
    let mut waits = Vec::new();
    for nth in 0..crashes {
        lab.wait_for_holder(VIP, "a");
        if extra == Extra::Suspicion {
            b.wait_for_router("web", "would follow the other early", |router| {
                router["active_router"]["priority"] == PRIMARY && router["suspicion"]["ready"] == true
            });
        }
        capture.wait_for_advert("a", now_ns());
        std::thread::sleep(INTERVAL * (2 * nth + 1) / (2 * crashes));
        waits.push(wait(&lab, &a, primary));
        a.power_on();
        primary = contender.start(&a, PRIMARY, task);
    }
    let mean = waits.iter().sum::<f64>() / waits.len() as f64;
    let longest = waits.iter().copied().fold(0.0, f64::max);
    vec![
        (format!("{what}: address answers after, mean, ms"), mean),
        (format!("{what}: address answers after, longest, ms"), longest),
    ]
}

/// Milliseconds from the crash until the address answers.
fn wait(lab: &Lab, a: &Node, primary: Daemon) -> f64 {
    let prober = Prober::start_every(Duration::from_millis(1), lab.client(), VIP);
    prober.wait_for_answer();
    let crash_ns = now_ns();
    lab.power_off(a, primary);
    std::thread::sleep(Duration::from_nanos(SOONEST_NS.unsigned_abs()));
    prober.wait_for_answer();
    let answer = prober.stop().first_answer_since(crash_ns + SOONEST_NS).expect("waited for above");
    (answer - crash_ns) as f64 / 1e6
}
