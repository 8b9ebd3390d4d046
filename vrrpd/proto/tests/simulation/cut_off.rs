//! Who is cut off from peers and witnesses: it holds nothing for longer than `docs/witnesses.md` says.

use vrrp_proto::AdverInterval;
use vrrp_proto::parameters::{Witness, WitnessPolicy};
use vrrp_proto::snapshot::{StateName, Verdict};

use super::settings::MS;
use super::world::World;

/// Does a peer or a witness answer a host? True without witnesses.
pub(crate) fn reaches_somebody(world: &World, index: usize) -> bool {
    !world.settings.witnessed || world.stations().any(|other| other != index && world.reaches(index, other))
}

/// Takes note of a cut, and looks whether the host has given way to it in time.
pub(crate) fn after_event(world: &mut World, index: usize) {
    let Some(Witness { policy, .. }) = world.hosts[index].parameters.witness else { return };
    let now = world.now;
    let station = world.hosts.len();
    let answered = world.reaches(index, station)
        && (0..station).any(|other| other != index && world.reaches(index, other))
        && world.weather.loss_percent == 0;
    let somebody = reaches_somebody(world, index);
    let distance = distance(world, index);
    let host = &mut world.hosts[index];
    // Who takes no part asks nobody.
    let apart = host.node.is_none() || host.state == StateName::Initialize;
    let away = apart || host.is_stalled(now);
    if answered && !away {
        host.answered_since.get_or_insert(now);
    } else {
        // Long enough for both sides to count.
        let counted = host.answered_since.take().is_some_and(|since| now > since + 5 * distance);
        if !somebody && (counted || policy == WitnessPolicy::Hold) {
            host.cut_off_since.get_or_insert(now);
        }
    }
    if somebody || host.node.is_none() {
        host.cut_off_since = None;
    }
    // Nothing is decided while it is away, or asks by order whether anybody is there, or until just now.
    let undecided = apart || host.asking;
    let until_now = std::mem::replace(&mut host.undecided, undecided) || undecided || away;
    if let Some(since) = host.cut_off_since.as_mut() {
        let not_before = if until_now { now } else { host.stalled_until };
        *since = (*since).max(not_before);
    }
    let latency = world.settings.latency;
    let host = &world.hosts[index];
    // Nothing may have happened anywhere while it was away.
    let Some(since) = host.cut_off_since.map(|since| since.max(host.stalled_until)) else { return };
    // 2 3/4 P after the last answered question, which was on its way when the cut came.
    let bound = 11 * distance / 4 + 8 * latency + MS;
    if host.is_active() && now > since + bound {
        let time = (now - since) as f64 / MS as f64;
        world.violate(format!("host {index} is cut off for {time} ms and Active"));
    }
}

/// A host is given another interval. With a shorter one it gives way by what was due before, or as if it
/// were cut off now: no node can have asked sooner by an interval that it did not know.
pub(crate) fn give_interval(world: &mut World, index: usize, interval: AdverInterval) {
    let before = distance(world, index);
    world.hosts[index].parameters.interval = interval;
    let shorter = before.saturating_sub(distance(world, index));
    let now = world.now;
    if let Some(since) = world.hosts[index].cut_off_since.as_mut() {
        *since = (*since + 11 * shorter / 4).min(now.max(*since));
    }
}

/// Between two questions.
fn distance(world: &World, index: usize) -> u64 {
    let interval = world.hosts[index].parameters.interval.duration().as_nanos() as u64;
    interval.max(100 * MS)
}

/// Does a host know whether it is cut off?
pub(crate) fn misjudges(world: &World, index: usize) -> Option<String> {
    let verdict = world.hosts[index].verdict?;
    let wrong = reaches_somebody(world, index) != (verdict == Verdict::Answered);
    wrong.then(|| format!("host {index} takes what is answered for {verdict:?}"))
}
