//! What must be true in every world, and what may be otherwise for a time only. The bounds are those of
//! `docs/reliability-bounds.md`, with a wire and a kernel that take no time of their own.

use vrrp_proto::snapshot::{Reason, StateName};

use super::faults::Fault;
use super::world::{MS, World};

/// What may be so for a time, once nothing goes wrong any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Two that hear each other answer for the address.
    TwoAnswer,
    /// Two that hear each other are Active.
    TwoActive,
    /// Nobody that is well answers for it.
    NobodyAnswers,
    /// One of lower rank is Active beside one that preempts.
    LowerActive,
}

impl Wrong {
    pub(crate) const ALL: [Self; 4] =
        [Self::TwoAnswer, Self::TwoActive, Self::NobodyAnswers, Self::LowerActive];

    /// For so long.
    fn bound(self, world: &World<'_>) -> u64 {
        let interval = world.case.interval();
        // One that was refused the address waits for three intervals and up to a quarter more.
        let refuses = world.case.faults.contains(&Fault::Refuse);
        let back_off = if refuses { 4 * interval } else { 0 };
        match self {
            Self::TwoAnswer => interval + 40 * MS,
            Self::TwoActive => interval + 20 * MS,
            Self::NobodyAnswers => 5 * interval + back_off,
            Self::LowerActive => 9 * interval + back_off,
        }
    }
}

/// After a step.
pub(crate) fn judge(world: &mut World<'_>) {
    let now = world.now;
    let at_peace = at_peace(world);
    for (place, wrong) in Wrong::ALL.into_iter().enumerate() {
        let is_so = at_peace && is_so(world, wrong);
        let since = if is_so { Some(world.wrong_since[place].unwrap_or(now)) } else { None };
        world.wrong_since[place] = since;
        if since.is_some_and(|since| now - since > wrong.bound(world)) {
            world.violate(format!("{wrong:?} for more than {} ms", wrong.bound(world) / MS));
        }
    }
    dead(world);
}

/// A router takes the role: not for a silence that was none, nor again what it had given up.
pub(crate) fn transition(world: &mut World<'_>, index: usize, to: StateName, reason: Reason) {
    let host = &world.hosts[index];
    if reason == Reason::Resumed && host.gave_up {
        world.violate(format!("host {index} resumes what it had given up"));
        return;
    }
    let (at, heard) = host.heard;
    let preempts = world.case.hosts[index].preempt_mode && priority(world, index) > heard;
    let silent = heard == 0 || world.now >= at + 3 * world.case.interval();
    if (to, reason) == (StateName::Active, Reason::NoResponse) && !silent && !preempts {
        let ago = (world.now - at) / MS;
        world.violate(format!("host {index} takes over from one that it heard {ago} ms ago"));
    }
}

/// Nothing that lasts is wrong just now.
fn at_peace(world: &World<'_>) -> bool {
    let now = world.now;
    let cut = world.cut.iter().flatten().any(|&until| until > now);
    let late = world.wire.iter().any(|flight| flight.by > now);
    let troubled = world.hosts.iter().any(|host| {
        host.kernel.slow_until > now
            || host.kernel.refuses
            || host.mute_until > now
            || host.stalled_until > now
    });
    !cut && !late && !troubled
}

fn is_so(world: &World<'_>, wrong: Wrong) -> bool {
    let taking_part = || (0..world.hosts.len()).filter(|&host| world.takes_part(host));
    let active = || taking_part().filter(|&host| world.hosts[host].state == StateName::Active);
    let holding = || taking_part().filter(|&host| world.hosts[host].kernel.answers(world.now));
    let fit = |host: usize| world.hosts[host].stops.is_none();
    match wrong {
        Wrong::TwoAnswer => holding().count() > 1,
        Wrong::TwoActive => active().count() > 1,
        Wrong::NobodyAnswers => holding().next().is_none() && taking_part().any(fit),
        Wrong::LowerActive => {
            let Some(holder) = active().next() else { return false };
            let preempts = |host: usize| fit(host) && world.case.hosts[host].preempt_mode && !world.ordered;
            taking_part().any(|host| preempts(host) && priority(world, host) > priority(world, holder))
        }
    }
}

fn priority(world: &World<'_>, host: usize) -> u8 {
    let configured = world.case.hosts[host].priority;
    if world.hosts[host].check_fails { configured.get() / 10 } else { configured.get() }
}

/// An address outlives who renewed it by its lease and no more. Where it was advertised last, it is gone before a
/// backup that heard all that there was to hear can claim it; before the first advertisement and after a resignation
/// there is nothing that a backup would wait for.
fn dead(world: &mut World<'_>) {
    let now = world.now;
    for index in 0..world.hosts.len() {
        let host = &world.hosts[index];
        let Some(since) = host.failed_since.filter(|_| host.kernel.answers(now)) else { continue };
        if now > since + host.kernel.outlasts() {
            world.violate(format!("host {index} has not run for {} ms and answers", (now - since) / MS));
        }
        let host = &world.hosts[index];
        let speaks = host.last_word.is_some_and(|priority| priority > 0);
        let followed = |&other: &usize| {
            let successor = &world.hosts[other];
            let claimed = successor.by_silence && successor.since > since;
            claimed && world.takes_part(other) && successor.kernel.answers(now)
        };
        let another = (0..world.hosts.len()).find(|other| followed(other) && speaks && world.lossless);
        if let Some(other) = another {
            world.violate(format!("host {index} does not run and answers beside host {other}"));
        }
    }
}
