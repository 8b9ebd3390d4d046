//! What may go wrong. Each costs one of the faults that a schedule may have.

use super::world::{News, Step, World};

/// What befalls a host, or a frame on the wire. Times are in tenths of the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The frame is lost,
    Lose,
    /// comes twice,
    Double,
    /// or may be so late.
    Delay(u64),
    /// Killed, and started again so much later; 0: never.
    Crash(u64),
    /// Stopped (SIGTERM), and started again so long after it has gone.
    Stop(u64),
    /// Does not run for so long.
    Stall(u64),
    /// Nothing gets from it to the next host for so long,
    CutOneWay(u64),
    /// or between it and all others.
    CutOff(u64),
    /// No advertisement leaves it for so long.
    Mute(u64),
    /// The kernel takes so long for what it is asked.
    Slow(u64),
    /// The kernel refuses the address once.
    Refuse,
    /// A third party takes the address away.
    Steal,
    /// The check changes its mind.
    Check,
    /// The operator orders the node to hand over.
    HandOver,
}

impl Fault {
    /// The network lost or held up something, or a node was not heard: then a backup may claim early.
    pub(crate) fn is_of_network(self) -> bool {
        use Fault::{CutOff, CutOneWay, Delay, Lose, Mute};
        matches!(self, Lose | Delay(_) | CutOneWay(_) | CutOff(_) | Mute(_))
    }
}

/// Everything of the case that would change something now.
pub(crate) fn possible<'a>(world: &'a World<'_>) -> impl Iterator<Item = Step> + use<'a> {
    world.case.faults.iter().flat_map(move |&fault| {
        let of_frame = matches!(fault, Fault::Lose | Fault::Double | Fault::Delay(_));
        let count = if of_frame { world.wire.len() } else { world.hosts.len() };
        (0..count)
            .filter(move |&which| changes(world, which, fault))
            .map(move |which| Step::Befall(which, fault))
    })
}

fn changes(world: &World<'_>, which: usize, fault: Fault) -> bool {
    if let Fault::Lose | Fault::Double | Fault::Delay(_) = fault {
        let once = |flight: &super::world::Flight| flight.by <= world.now;
        return world.wire.get(which).is_some_and(once);
    }
    let host = &world.hosts[which];
    let runs = host.node.is_some();
    match fault {
        Fault::Crash(_) => runs,
        Fault::Stop(_) | Fault::HandOver => runs && host.stops.is_none(),
        Fault::Stall(_) => runs && !world.is_stalled(which),
        Fault::Steal => host.kernel.entry.is_some(),
        Fault::Refuse => !host.kernel.refuses,
        _ => true,
    }
}

pub(crate) fn befall(world: &mut World<'_>, which: usize, fault: Fault) {
    let (now, tenth) = (world.now, world.case.interval() / 10);
    let until = |tenths: u64| now + tenths * tenth;
    world.lossless &= !fault.is_of_network();
    match fault {
        Fault::Lose => {
            world.wire.remove(which);
        }
        Fault::Double => {
            let copy = world.wire[which];
            world.wire.push(copy);
        }
        Fault::Delay(tenths) => world.wire[which].by = until(tenths),
        Fault::Crash(after) => {
            world.end(which);
            world.hosts[which].start_at = if after == 0 { 0 } else { until(after) };
        }
        Fault::Stop(after) => {
            world.tell(which, News::Shutdown);
            world.hosts[which].stops = Some(after * tenth);
        }
        Fault::Stall(tenths) => {
            world.hosts[which].stalled_until = until(tenths);
            world.hosts[which].failed_since = Some(now);
        }
        Fault::CutOneWay(tenths) => {
            let to = (which + 1) % world.hosts.len();
            world.cut[which][to] = until(tenths);
        }
        Fault::CutOff(tenths) => {
            for other in (0..world.hosts.len()).filter(|&other| other != which) {
                world.cut[which][other] = until(tenths);
                world.cut[other][which] = until(tenths);
            }
        }
        Fault::Mute(tenths) => world.hosts[which].mute_until = until(tenths),
        Fault::Slow(tenths) => world.hosts[which].kernel.slow_until = until(tenths),
        Fault::Refuse => world.hosts[which].kernel.refuses = true,
        Fault::Steal => {
            if let Some(lost) = world.hosts[which].kernel.lose() {
                world.answer(which, lost);
            }
        }
        Fault::Check => {
            let host = &mut world.hosts[which];
            host.check_fails = !host.check_fails;
            let fails = host.check_fails;
            world.tell(which, News::Check(fails));
        }
        Fault::HandOver => {
            world.ordered = true;
            world.tell(which, News::HandOver);
        }
    }
    world.wrong_since = Default::default();
}
