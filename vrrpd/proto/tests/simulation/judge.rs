//! What must be true, whatever the seed. The holder is who has an address in the kernel's table.

use vrrp_proto::Instant;
use vrrp_proto::action::{Action, HandedOver, Order, OrderOutcome, Report};
use vrrp_proto::parameters::{LinkId, OnConflict};
use vrrp_proto::snapshot::{Finding, Phase, Reason, StateName};
use vrrp_proto::tracking::TrackerState;

use super::bounds;
use super::cut_off;
use super::host::{OPERATOR, Overheard, ROUTER};
use super::plan::{self, Group};
use super::settings::{Flavour, MS, SECOND_LINK};
use super::world::World;

/// No input leads to more actions than this: eight timers, each with a few.
const ACTIONS_MAX: usize = 48;

/// The actions of one input, before they are performed.
pub(crate) fn actions(world: &mut World, host: usize) {
    let actions = std::mem::take(&mut world.actions);
    each_action(world, host, &actions);
    world.actions = actions;
}

fn each_action(world: &mut World, host: usize, actions: &[Action]) {
    if actions.len() > ACTIONS_MAX {
        world.violate(format!("host {host} has {} actions for one input", actions.len()));
    }
    for (nth, action) in actions.iter().enumerate() {
        match action {
            Action::Advertise { priority, .. } => {
                let active = world.hosts[host].state == StateName::Active;
                let speaks = active && !world.hosts[host].asking;
                let allowed =
                    if priority.is_release() { active } else { speaks || takes_role(&actions[nth..]) };
                if !priority.is_release() {
                    after_sleep(world, host);
                }
                if !allowed {
                    let state = world.hosts[host].state;
                    world.violate(format!("host {host} in {state:?} sends priority {priority}"));
                }
            }
            Action::Report(Report::Transition { to, reason, priority, .. }) => {
                if *to == StateName::Active && world.hosts[host].state != StateName::Active {
                    claim(world, host, *reason, priority.get());
                }
                let now = world.now;
                if world.still && world.hosts[host].state != *to {
                    world.violate(format!("host {host} becomes {to:?}, and only a path was cut"));
                }
                let host = &mut world.hosts[host];
                if host.state != *to {
                    host.since = now;
                }
                host.state = *to;
                host.asking = false;
                host.found_dead_at = None;
                host.orders.yielded &= *to != StateName::Active;
            }
            Action::Report(Report::Suspected { finding, .. }) => {
                world.hosts[host].found_dead_at = (*finding == Finding::Dead).then_some(world.now);
            }
            Action::Report(Report::Ordered { number: OPERATOR, outcome, .. }) => {
                answered(world, host, *outcome);
            }
            Action::Report(Report::Asking { .. }) => {
                world.hosts[host].asking = true;
                // A question that was due anyway may move the role, whatever was cut.
                world.still = false;
            }
            Action::Report(Report::Kept { .. }) => world.hosts[host].asking = false,
            _ => {}
        }
    }
}

/// An order is answered. The daemon keeps what follows from it.
fn answered(world: &mut World, host: usize, outcome: OrderOutcome) {
    let orders = &mut world.hosts[host].orders;
    let Some(order) = orders.waiting.take() else { return };
    let void = matches!(outcome, OrderOutcome::NobodyFollowed | OrderOutcome::Refused(_));
    if matches!(order, Order::Drain { .. }) {
        orders.drained &= !void;
        orders.yielded &= void;
    }
    orders.yielded |= matches!(outcome, OrderOutcome::HandedOver(HandedOver { yielded: true, .. }));
}

/// A packet reaches a host: in peace none but the Active Router speaks.
pub(crate) fn delivered(world: &mut World, from: usize, payload: &[u8]) {
    let now = world.now;
    let settled = now > world.calm_since + world.settings.settle();
    let sender = &world.hosts[from];
    if settled && payload[2] != 0 && !sender.is_active() && now > sender.since + 2 * world.settings.latency {
        world.violate(format!("host {from} is not Active and advertises"));
    }
}

/// Becomes Active, or goes on as such, with what follows in the same list.
fn takes_role(following: &[Action]) -> bool {
    following.iter().any(|action| {
        matches!(
            action,
            Action::Report(Report::Transition { to: StateName::Active, .. } | Report::Kept { .. })
        )
    })
}

/// A router takes the role: not before a router that it must not preempt has been silent for three of
/// its intervals or has resigned, and not without the addresses when the other one is alive.
fn claim(world: &mut World, host: usize, reason: Reason, priority: u8) {
    let (now, claimant) = (world.now, &world.hosts[host]);
    if reason == Reason::Resumed {
        let resigned = claimant.resigned;
        // The first of the backups may claim from then on.
        let silence = 3 * claimant.parameters.interval.duration().as_nanos() as u64;
        let silent = claimant.left_over + silence + world.settings.tolerance(silence);
        if now >= silent {
            world.violate(format!("host {host} resumes {} ms too late", (now - silent) as f64 / MS as f64));
        }
        if resigned {
            world.violate(format!("host {host} resumes what it had given up"));
        }
        return;
    }
    if reason == Reason::NoResponse {
        silence(world, host);
        contradiction(world, host);
    }
    if reason == Reason::Suspected {
        return suspected(world, host, priority);
    }
    let claimant = &world.hosts[host];
    // With several Active Routers it is the one heard last whose interval counts.
    let last = claimant.overheard.iter().map(|heard| heard.at).max();
    for (other, heard) in claimant.overheard.into_iter().enumerate().take(world.hosts.len()) {
        let fresh = Some(heard.at) == last
            && heard.at > claimant.release_overheard
            && heard.at > claimant.since
            && now + world.settings.tolerance(3 * heard.interval) < heard.at + 3 * heard.interval;
        let living = world.hosts[other].is_active() && world.hosts[other].link_up;
        if !fresh || !living {
            continue;
        }
        let back = claimant.orders.waiting == Some(Order::TakeBack);
        if claimant.orders.yielded && !back {
            return world.violate(format!("host {host} handed over to host {other} and preempts it"));
        }
        if !claimant.preempts && !back || heard.priority >= priority {
            let ago = (now - heard.at) as f64 / MS as f64;
            return world.violate(format!(
                "host {host} (priority {priority}, {reason:?}) takes over from host {other}, heard {ago} ms ago"
            ));
        }
        if reason == Reason::Preempted
            && claimant.kernel.fence.term.is_some()
            && claimant.kernel.answers_any(now)
        {
            return world.violate(format!("host {host} answers beside host {other} before it speaks"));
        }
        // What went just now it hears of a moment later.
        let told = now > claimant.kernel.robbed_at.max(claimant.stalled_until) + 2 * world.settings.latency;
        if reason == Reason::Preempted && !claimant.kernel.holds_all() && told {
            return world.violate(format!("host {host} preempts host {other} without its addresses"));
        }
    }
}

/// A dead host is followed, and one that lives is not: it would have answered, unless much was lost.
fn suspected(world: &mut World, claimant: usize, priority: u8) {
    /// Of the frames, in percent: all questions of a suspicion are lost once in ten million times.
    const LOSS_MAX: u64 = 20;
    let now = world.now;
    let host = &world.hosts[claimant];
    let heard = &host.overheard;
    // While the kernel adds the addresses, another backup that found the same may have been quicker. One that
    // ranks lower is preempted.
    let back = host.orders.waiting == Some(Order::TakeBack);
    let preempts = back || host.preempts && !host.orders.yielded;
    let outranked = |heard: &Overheard| {
        preempts && heard.priority < priority && host.found_dead_at.is_some_and(|found| heard.at >= found)
    };
    let others = (0..world.hosts.len()).filter(|&other| !outranked(&heard[other]));
    let Some(active) = others.max_by_key(|&other| heard[other].at) else { return };
    let heard = heard[active];
    let interval = heard.interval + world.settings.tolerance(heard.interval);
    if now < heard.at + heard.interval - world.settings.tolerance(interval) {
        let ago = (now - heard.at) as f64 / MS as f64;
        return world.violate(format!("host {claimant} suspects host {active} {ago} ms after its last word"));
    }
    // As long as it is asked, at the most.
    let asked_since = now.saturating_sub(interval + 50 * MS);
    let quiet = world.network_since < asked_since && world.weather.loss_percent <= LOSS_MAX;
    let paths = if world.settings.second_sources.is_empty() { 1 } else { 2 };
    let mut links = [LinkId(0), SECOND_LINK].into_iter().take(paths);
    if quiet && links.any(|link| world.would_answer(claimant, active, link)) {
        world.violate(format!("host {claimant} takes host {active} for dead, which answers"));
    }
}

/// The shortest interval that any host has had. One that is reloaded in the turn in which it wakes listens
/// by what it knew before.
fn shortest(world: &World) -> u64 {
    let intervals = world.settings.hosts.iter().map(|host| host.interval.duration().as_nanos() as u64);
    intervals.min().unwrap_or_default()
}

/// Who was suspended for longer than others wait listens for an interval before it speaks, unless it hears somebody.
fn after_sleep(world: &mut World, index: usize) {
    let host = &world.hosts[index];
    let (length, until) = host.slept;
    let least = shortest(world);
    let listens = least - world.settings.tolerance(least);
    let heard = host.overheard.iter().any(|heard| heard.at >= until) || host.release_overheard >= until;
    let was_there = host.node.is_some() && host.begun_at < until;
    if was_there && !heard && length > 3 * world.settings.interval && world.now < until + listens {
        world.violate(format!("host {index} speaks as soon as it is awake again"));
    }
}

/// Who is dead or stalled and has a fence does not answer any more when a router claims that has heard its last
/// word, measured by clocks that agree.
fn silence(world: &mut World, claimant: usize) {
    let now = world.now;
    let drifts = world.settings.drift.iter().any(|&drift| drift != 0);
    let last = world.hosts[claimant].overheard.iter().map(|heard| heard.at).max();
    for other in (0..world.hosts.len()).filter(|&other| other != claimant && !drifts) {
        let host = &world.hosts[other];
        let heard = world.hosts[claimant].overheard[other];
        let away = host.node.is_none() || host.is_stalled(now);
        // An interval of its own may be shorter, which it goes by until it has heard one.
        let all = Some(heard.at) == last
            && heard.at > world.hosts[claimant].since
            && heard.at >= host.spoke_at
            // A word from before a reload may come behind the one from after it.
            && heard.interval >= host.spoke_interval
            && host.spoke_at > 0
            && !host.resigned;
        let awake = host.slept.1 < host.spoke_at;
        let preempts = world.hosts[claimant].preempts;
        let outranked =
            preempts && world.hosts[claimant].priority.is_some_and(|own| own.get() > heard.priority);
        if away
            && awake
            && all
            && !outranked
            && host.kernel.fence.term.is_some()
            && host.kernel.answers_any(now)
        {
            return world
                .violate(format!("host {claimant} follows the silence of host {other}, which answers"));
        }
    }
}

/// Who does not claim from a living holder has waited for two Active_Down_Intervals, at its priority now, since it
/// began to count; or for one since it was told of that one, if it was away or cut off and listened for less before.
fn contradiction(world: &mut World, claimant: usize) {
    let host = &world.hosts[claimant];
    let last = host.overheard.iter().map(|heard| heard.at).max().unwrap_or_default();
    // What made it Backup may have waited in its socket.
    let from = if last > 0 { last } else { host.since };
    let Some(told) = host.contradicted_at.filter(|&at| at > from) else { return };
    let holds = host.parameters.on_conflict == OnConflict::Hold;
    let down = 3 * shortest(world);
    let counted = told.min(from + down);
    if holds && world.now + world.settings.tolerance(2 * down) < counted + down {
        world.violate(format!("host {claimant} claims as soon as it was told that somebody answers"));
    }
}

/// After a wake-up, with the time of the next.
pub(crate) fn after_run(world: &mut World, index: usize, next: Option<Instant>) {
    let now = world.now;
    let Some(node) = &world.hosts[index].node else { return };
    let clock = Instant::from_nanos(world.hosts[index].clock);
    let Some(outline) = node.outline(ROUTER, clock) else { return };
    if world.hosts[index].phase == Phase::BackOff && world.hosts[index].fit() {
        world.disturbed();
    }
    let running = Some(outline).filter(|_| outline.state != StateName::Initialize);
    world.hosts[index].phase = outline.phase;
    world.hosts[index].priority = Some(outline.priority);
    world.hosts[index].client_lan = running.and_then(|it| it.client_lan);
    world.hosts[index].verdict = running.and_then(|it| it.verdict);
    if next.is_some_and(|next| next <= clock) {
        let snapshot = world.hosts[index].node.as_ref().and_then(|node| node.snapshot(ROUTER, clock));
        world.violate(format!("host {index} is drained and its timer has run out already: {snapshot:?}"));
    }
    if outline.state != world.hosts[index].state {
        world.violate(format!("host {index} is {:?} and did not report it", outline.state));
    }
    let host = &world.hosts[index];
    let drained = host.orders.drained && host.orders.waiting.is_none();
    if drained && outline.state != StateName::Initialize {
        world.violate(format!("host {index} is drained and {:?}", outline.state));
        return;
    }
    let tracking = &host.parameters.tracking;
    let plain = tracking.is_empty() && host.parameters.second_path.is_none();
    if plain && outline.priority != host.parameters.priority {
        world.violate(format!("host {index} does not go by the priority that it was told last"));
        return;
    }
    let frozen = host.orders.frozen.filter(|_| host.orders.waiting.is_none());
    if let Some(frozen) = frozen
        && !tracking.is_empty()
        && host.told != frozen
        && !outline.frozen
    {
        world.violate(format!("host {index} is frozen and goes by what its checks say now"));
        return;
    }
    if outline.state == StateName::Backup && outline.phase == Phase::Settled {
        // Counted from the last advertisement that came, or from when it began to listen; whoever
        // was away itself, or cut off, listens for one interval and Skew_Time.
        let interval = world.settings.interval;
        let heard = host.overheard.iter().map(|heard| heard.at).max().unwrap_or_default();
        let from = heard.max(host.since);
        // While it was suspended its clock stood still.
        let (length, until) = host.slept;
        let slept = if until > from { length } else { 0 };
        let holds = host.parameters.on_conflict == OnConflict::Hold;
        let hold = if holds { world.settings.hold() } else { 0 };
        let latest = (from + slept + 4 * interval).max(host.last_run + 2 * interval) + hold;
        match next.map(|next| host.when(next.as_nanos())) {
            Some(next) if next <= latest => {}
            Some(next) => {
                let late = (next - latest) as f64 / MS as f64;
                world.violate(format!("host {index} waits {late} ms too long"));
            }
            None => world.violate(format!("host {index} is Backup and waits for nothing")),
        }
    }
    if world.hosts[index].gone {
        if world.hosts[index].kernel.holds_any() {
            world.violate(format!("host {index} is gone and left addresses behind"));
        }
        world.hosts[index].end_life(now);
        world.disturbed();
    }
}

/// After everything that happens.
pub(crate) fn after_event(world: &mut World) {
    let now = world.now;
    for index in 0..world.hosts.len() {
        one_host(world, index, now);
        if world.settings.witnessed {
            cut_off::after_event(world, index);
        }
    }
    if world.settings.flavour == Flavour::Planned && world.held_once {
        for address in 0..world.settings.hosts[0].addresses.len() {
            let held = |host: &super::host::Host| host.kernel.answers(address, now) && host.node.is_some();
            // The frames go where the virtual MAC spoke last, whether or not the address is there yet.
            let drawn = |host: &super::host::Host| {
                host.parameters.virtual_mac && host.is_active() && host.kernel.is_adding()
            };
            if !world.hosts.iter().any(|host| held(host) || drawn(host)) {
                world.violate(format!("nobody has address {address}, and nothing failed"));
            }
        }
    }
    bounds::judge(world);
    if now > world.calm_since + world.settings.settle() {
        settled(world);
    }
}

fn one_host(world: &mut World, index: usize, now: u64) {
    let leaving = world.settings.leaving() + 20 * MS + 20 * world.settings.kernel_delay;
    let settings_interval = world.settings.interval;
    let host = &mut world.hosts[index];
    let since = if host.node.is_none() { host.died_at } else { host.stalled_at };
    let away = host.node.is_none() || host.is_stalled(now);
    let answers = away && host.kernel.fence.term.is_some() && host.kernel.answers_any(now);
    // While it was suspended its clock stood still.
    let slept = if host.slept.1 > since { host.slept.0 } else { 0 };
    if answers && now > since + slept + host.kernel.fence.granted + MS {
        world.violate(format!("host {index} does not run and its fence is open"));
        return;
    }
    let host = &world.hosts[index];
    let holds = host.kernel.holds_any();
    if host.node.is_none() {
        if holds && now > host.died_at + host.kernel.outlasts() + MS {
            world.violate(format!("host {index} is dead and still has addresses"));
        }
        return;
    }
    let stalled = host.is_stalled(now);
    if host.asking || host.fit() && host.phase == Phase::BackOff || stalled {
        world.calm_since = world.calm_since.max(now);
    }
    let host = &mut world.hosts[index];
    if host.gone_by.is_some_and(|by| now > by) {
        world.violate(format!("host {index} was told to stop and is not gone"));
        return;
    }
    let slow = host.kernel.slow_until > now;
    if !holds || stalled || slow || host.state == StateName::Active {
        host.holding_since = None;
        return;
    }
    let since = *host.holding_since.get_or_insert(now);
    let bound = match host.phase {
        Phase::Claiming => 3 * settings_interval + leaving,
        // Who was away hears the others out before it goes on with a part of its addresses.
        Phase::Leaving => {
            let listens = (host.stalled_until + settings_interval).saturating_sub(since);
            leaving.max(listens + leaving - world.settings.leaving())
        }
        _ => leaving,
    };
    if now > since + bound {
        let (state, phase) = (host.state, host.phase);
        world.violate(format!("host {index} holds addresses for too long in {state:?}, {phase:?}"));
    }
}

/// Long after the last disturbance: one Active, one holder, and the right one.
fn settled(world: &mut World) {
    let Some(groups) = plan::groups(world) else { return };
    for group in groups {
        let hosts = || group.hosts().map(|index| (index, &world.hosts[index]));
        let active = group.those(|index| world.hosts[index].is_active());
        let holders = group.those(|index| world.hosts[index].kernel.answers_any(world.now));
        let fit = hosts().any(|(index, host)| host.fit() && cut_off::reaches_somebody(world, index));
        let problem = if active.len() > 1 {
            Some(format!("hosts {active:?} hear each other and are all Active"))
        } else if fit && active.len() == 0 {
            Some(format!("nobody of {group:?} is Active"))
        } else if fit && holders.len() != 1 && hosts().all(|(_, host)| host.fit()) {
            Some(format!("hosts {holders:?} of {group:?} hold addresses"))
        } else if let Some(problem) = group.hosts().find_map(|host| cut_off::misjudges(world, host)) {
            Some(problem)
        } else if let Some(problem) = group.hosts().find_map(|host| misjudges_lan(world, host)) {
            Some(problem)
        } else {
            active.hosts().next().and_then(|active| wrong_one(world, active, group))
        };
        if let Some(problem) = problem {
            return world.violate(format!("settled, and {problem}"));
        }
    }
}

/// Does a host know whether the clients' LAN answers it?
fn misjudges_lan(world: &World, index: usize) -> Option<String> {
    let lan = world.hosts[index].client_lan?;
    let answers = world.stations().any(|other| other != index && world.reaches(index, other));
    let right = if answers { TrackerState::Passing } else { TrackerState::Failing };
    (lan != right).then(|| format!("host {index} takes the clients' LAN for {lan:?}, it is {right:?}"))
}

/// Is there a router that should have preempted this one?
fn wrong_one(world: &World, active: usize, group: Group) -> Option<String> {
    let priority = |index: usize| world.hosts[index].priority;
    let host = &world.hosts[active];
    // What the kernel refused is tried again with growing distance, and may be missing until then.
    let refused =
        host.node.as_ref().is_some_and(|node| node.addresses(ROUTER).any(|it| it.refused.is_some()));
    if host.fit() && !host.kernel.holds_all() && !refused {
        return Some(format!("host {active} is Active without all its addresses"));
    }
    let better = group.hosts().find(|&other| {
        let host = &world.hosts[other];
        let undecided = host.orders.frozen.unwrap_or(host.health).contains(&TrackerState::Pending);
        let preempts = host.parameters.preempt_mode && !host.orders.yielded;
        host.fit() && preempts && !undecided && priority(other) > priority(active)
    });
    better.map(|better| format!("host {active} is Active though host {better} has the higher priority"))
}
