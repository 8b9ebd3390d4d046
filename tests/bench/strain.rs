//! The shortest interval on a busy machine, and a flood.

use std::process::Child;
use std::time::{Duration, Instant};

use lab::contender::{Extra, Task};
use lab::story::{PRIMARY, SECONDARY, VIP};
use lab::{Capture, Contender, Forgery, Injector, Lab};

use crate::gauge::Gauge;
use crate::measure::Measures;

/// Processes that do nothing but take the processor.
const BUSY: usize = 8;
/// Active_Down_Interval of the backup at 10 ms: what it takes for a takeover.
const DOWN_NS: i64 = 36_093_750;
/// Two intervals: a node whose processor was away for so long is silent for three.
const PAUSE_NS: i64 = 20_000_000;
/// How long a node is flooded.
const FLOOD: Duration = Duration::from_secs(5);

/// Measures both once; the busy machine for so long.
pub(crate) fn run(contender: Contender, duration: Duration) -> Measures {
    let mut measures = jitter(contender, duration);
    measures.extend(flood(contender));
    measures
}

/// Two nodes at intervals of 10 ms, and more to do than the machine has processors.
fn jitter(contender: Contender, duration: Duration) -> Measures {
    let lab = Lab::open().expect("main() has asked whether the laboratory is available");
    let (a, b) = (lab.node("a"), lab.node("b"));
    let task = Task { interval: Duration::from_millis(10), ipv6: false, extra: Extra::Nothing };
    let _primary = contender.start(&a, PRIMARY, task);
    let _secondary = contender.start(&b, SECONDARY, task);
    lab.wait_for_holder(VIP, "a");
    // Claims of the start are no takeovers.
    std::thread::sleep(Duration::from_secs(1));
    let busy = Busy::start(&lab);
    let gauge = Gauge::start();
    let capture = lab.capture_adverts(&[&a, &b]);
    std::thread::sleep(duration);
    let pauses = gauge.stop();
    drop(busy);
    let gaps = gaps_ms(&capture, "a");
    let takeovers = takeovers(&capture, "b");
    let paused = takeovers.iter().filter(|at| pauses.any_in(**at - DOWN_NS..**at, PAUSE_NS)).count();
    let name = |what: &str| format!("10 ms interval, {BUSY} busy processes: {what}");
    vec![
        (name("mean time between advertisements, ms"), gaps.iter().sum::<f64>() / gaps.len() as f64),
        (name("p99 of it, ms"), gaps[gaps.len() * 99 / 100]),
        (name("longest, ms"), gaps[gaps.len() - 1]),
        (name("takeovers by the backup"), takeovers.len() as f64),
        (name("those of them in a pause of a processor"), paused as f64),
        (name("longest pause of a processor, ms"), pauses.longest_ms()),
    ]
}

/// A stranger sends the Active node what is wrong, as fast as it can.
fn flood(contender: Contender) -> Measures {
    let lab = Lab::open().expect("main() has asked whether the laboratory is available");
    let (a, enemy) = (lab.node("a"), lab.node("c"));
    let task = Task { interval: Duration::from_millis(100), ipv6: false, extra: Extra::Nothing };
    let _primary = contender.start(&a, PRIMARY, task);
    lab.wait_for_holder(VIP, "a");
    let address = VIP.parse().expect("an address");
    let mut packet = Forgery::advert(enemy.ipv4().parse().expect("an address"), 201, 100, 10, &[address]);
    // The checksum.
    packet.message[6] ^= 0x55;
    let injector = Injector::open(&enemy);
    let capture = lab.capture_adverts(&[&a]);
    capture.wait_for_advert("a", 0);
    let end = Instant::now() + FLOOD;
    while Instant::now() < end {
        injector.flood(&packet, 10_000);
    }
    // What was due at the end of it counts.
    capture.wait_for_advert("a", lab::now_ns());
    let longest = gaps_ms(&capture, "a").pop().expect("two advertisements were waited for");
    vec![(
        "flood of bad packets, 100 ms interval: longest time between advertisements, ms".to_owned(),
        longest,
    )]
}

/// When a node began to advertise.
fn takeovers(capture: &Capture, node: &str) -> Vec<i64> {
    let times: Vec<i64> = capture.adverts_of(node).iter().map(|frame| frame.time_ns).collect();
    let begins = |(nth, at): (usize, &i64)| (nth == 0 || at - times[nth - 1] > DOWN_NS).then_some(*at);
    times.iter().enumerate().filter_map(begins).collect()
}

/// The times between the advertisements of a node, in order of length.
fn gaps_ms(capture: &Capture, node: &str) -> Vec<f64> {
    let times: Vec<i64> = capture.adverts_of(node).iter().map(|frame| frame.time_ns).collect();
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
    gaps.sort_by(f64::total_cmp);
    gaps
}

/// Processes that compute until this is dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn start(lab: &Lab) -> Self {
        let compute = |_| {
            let mut shell = lab.client().namespace().command("sh");
            shell.args(["-c", "while :; do :; done"]).spawn().expect("there is a shell")
        };
        Self((0..BUSY).map(compute).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended needs no end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
