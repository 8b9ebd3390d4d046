//! What happens to the hosts and the LAN, and when.

use vrrp_proto::action::Order;
use vrrp_proto::parameters::{Authentication, Facts};
use vrrp_proto::tracking::TrackerState::Passing;
use vrrp_proto::tracking::{TrackerId, TrackerState};
use vrrp_proto::{AdverInterval, Priority, Version};

use super::cut_off;
use super::host::{Host, News, lifetime};
use super::settings::{Bug, DEMOTE, FAULT, Flavour, HOSTS_MAX, MS, SECOND, TRACKERS, WEIGHT};
use super::world::{Event, Weather, World};

#[derive(Clone, Debug)]
pub(crate) enum Disturbance {
    Start {
        host: usize,
    },
    Crash {
        host: usize,
    },
    Shutdown {
        host: usize,
    },
    Link {
        host: usize,
        up: bool,
    },
    Stall {
        host: usize,
        until: u64,
    },
    SendFails {
        host: usize,
        fails: bool,
    },
    Cut {
        from: usize,
        to: usize,
        cut: bool,
    },
    Partition {
        side: u64,
    },
    /// Nothing gets to or from anybody on the clients' LAN.
    Isolate {
        host: usize,
        receives: bool,
        sends: bool,
    },
    CutSecond {
        from: usize,
        to: usize,
        cut: bool,
    },
    HealAll,
    Weather(Weather),
    Refuse {
        host: usize,
        index: usize,
        refuse: bool,
    },
    Rob {
        host: usize,
        index: usize,
    },
    Check {
        host: usize,
        tracker: TrackerId,
        state: TrackerState,
    },
    Priority {
        host: usize,
        priority: u8,
    },
    Order {
        host: usize,
        order: Order,
    },
    Freeze {
        host: usize,
        freeze: bool,
    },
    /// Notifications of the kernel are lost until the table is read again.
    Overrun {
        host: usize,
    },
    Resync {
        host: usize,
    },
    /// The machine is suspended, or stopped and continued elsewhere.
    Suspend {
        host: usize,
        until: u64,
    },
    /// Somebody sets the clock of a host.
    SetClock {
        host: usize,
        ahead: u64,
    },
    /// Somebody else has the kernel's lock.
    Slow {
        host: usize,
        until: u64,
    },
    Reload {
        host: usize,
        preempt_mode: bool,
        interval: AdverInterval,
    },
}

use Disturbance as D;

/// The hosts start, nearly together or one after the other.
pub(crate) fn begin(world: &mut World) {
    let spread = world.random.pick(&[1, 2, 8]) * world.settings.interval;
    // Kernels have been up for a while before a daemon starts.
    world.now = 1000 * MS;
    let mut last = 0;
    for host in 0..world.hosts.len() {
        let at = world.now + world.random.below(spread);
        last = last.max(at);
        world.push(at, Event::Disturb(D::Start { host }));
    }
    let settle = world.settings.settle();
    world.push(last + settle + 4 * world.settings.interval, Event::NextRound);
}

/// Plans the next disturbances; false when it was the last round.
pub(crate) fn next_round(world: &mut World) -> bool {
    if world.rounds_left == 0 {
        return false;
    }
    world.rounds_left -= 1;
    let end = match world.settings.flavour {
        Flavour::Planned => {
            world.held_once = true;
            plan_one(world);
            world.now
        }
        Flavour::Rough => {
            let window = 6 * world.settings.interval;
            recover(world);
            let mut end = world.now;
            for _ in 0..world.random.within(1, 4) {
                let at = world.now + world.random.below(window);
                end = end.max(plan_trouble(world, at));
            }
            end
        }
    };
    let rest = world.settings.settle() + 4 * world.settings.interval;
    world.push(end + rest, Event::NextRound);
    true
}

/// One thing that operators and checks do, which leaves somebody fit.
fn plan_one(world: &mut World) {
    let host = world.random.index(world.hosts.len());
    let others_fit = (0..world.hosts.len()).any(|other| other != host && world.hosts[other].fit());
    let state = world.random.pick(&[TrackerState::Passing, TrackerState::Failing]);
    world.still = false;
    if world.cuts.any() || world.second_cuts.any() {
        return world.push(world.now, Event::Disturb(D::HealAll));
    }
    if !world.settings.second_sources.is_empty() && world.random.one_in(3) {
        return plan_cut(world, host);
    }
    let disturbance = if world.hosts[host].node.is_none() {
        D::Start { host }
    } else {
        match world.random.below(9) {
            0 | 1 if others_fit => D::Shutdown { host },
            2 if others_fit || state == TrackerState::Passing => D::Check { host, tracker: FAULT, state },
            3 => D::Priority { host, priority: world.random.within(1, 254) as u8 },
            4..=7 => match any_order(world, host, false) {
                // It was not by its checks that this one stayed.
                D::Freeze { freeze: false, .. } if !others_fit => {
                    D::Check { host, tracker: FAULT, state: Passing }
                }
                order => order,
            },
            _ => D::Check { host, tracker: world.random.pick(&[DEMOTE, WEIGHT]), state },
        }
    };
    world.push(world.now, Event::Disturb(disturbance));
}

/// A cut of one of the two paths, from which nothing else follows than that a host which no client
/// reaches gives way.
fn plan_cut(world: &mut World, host: usize) {
    let count = world.hosts.len();
    let other = (host + world.random.within(1, count as u64 - 1) as usize) % count;
    let (kind, both) = (world.random.below(3), world.random.one_in(2));
    let ways = [(host, other), (other, host)].into_iter().take(if both { 2 } else { 1 });
    match kind {
        0 => {
            for (from, to) in ways {
                world.push(world.now, Event::Disturb(D::CutSecond { from, to, cut: true }));
            }
        }
        1 => {
            for (from, to) in ways {
                world.push(world.now, Event::Disturb(D::Cut { from, to, cut: true }));
            }
        }
        _ => {
            let receives = !both && world.random.one_in(2);
            let isolate = D::Isolate { host, receives, sends: !both && !receives };
            world.push(world.now, Event::Disturb(isolate));
        }
    }
    world.still = kind < 2 && !world.hosts.iter().any(|host| host.asking);
}

/// Something that an operator orders. What was ordered before is undone half of the time.
fn any_order(world: &mut World, host: usize, by_force: bool) -> Disturbance {
    let (random, orders) = (&mut world.random, &world.hosts[host].orders);
    let undone = random.one_in(2);
    let order = match random.below(5) {
        _ if undone && orders.drained => Order::Undrain,
        _ if undone && orders.yielded => Order::TakeBack,
        0 => return D::Freeze { host, freeze: orders.frozen.is_none() },
        1 | 2 => Order::Drain { force: by_force && random.one_in(2) },
        _ => Order::HandOver,
    };
    D::Order { host, order }
}

/// Half of what lasts is repaired before the next round.
fn recover(world: &mut World) {
    for host in 0..world.hosts.len() {
        if world.hosts[host].node.is_none() && !world.random.one_in(3) {
            world.push(world.now, Event::Disturb(D::Start { host }));
        }
        if world.hosts[host].orders.drained && world.random.one_in(2) {
            world.push(world.now, Event::Disturb(D::Order { host, order: Order::Undrain }));
        }
        if !world.hosts[host].link_up && !world.random.one_in(3) {
            world.push(world.now, Event::Disturb(D::Link { host, up: true }));
        }
        for index in 0..world.hosts[host].kernel.refuse.len() {
            if world.hosts[host].kernel.refuse[index] && world.random.one_in(2) {
                world.push(world.now, Event::Disturb(D::Refuse { host, index, refuse: false }));
            }
        }
    }
    if world.random.one_in(2) {
        world.push(world.now, Event::Disturb(D::HealAll));
    }
}

/// Plans one trouble from `at` on and says when it is over, or lasts.
fn plan_trouble(world: &mut World, at: u64) -> u64 {
    let (count, interval) = (world.hosts.len(), world.settings.interval);
    let host = world.random.index(count);
    let other = (host + world.random.within(1, count as u64 - 1) as usize) % count;
    let index = world.random.index(world.hosts[host].kernel.table.len());
    let end = at + interval / 2 + world.random.below(6 * interval);
    let soon = at + world.random.below(3 * interval);
    let state = world.random.pick(&[TrackerState::Passing, TrackerState::Failing]);
    let last = world.random.one_in(3);
    let killed = at + world.random.below(interval);
    let order = any_order(world, host, true);
    let random = &mut world.random;
    let second = !world.settings.second_sources.is_empty();
    let kinds = if second || world.settings.witnessed { 32 } else { 28 };
    let interval_then = world.settings.hosts[random.index(count)].interval;
    let (first, then) = match random.below(kinds) {
        0 | 1 => (D::Crash { host }, (!last).then_some((soon, D::Start { host }))),
        2 => (D::Crash { host }, Some((end, D::Start { host }))),
        3 => (D::Shutdown { host }, Some((end, D::Start { host }))),
        4 => (D::Link { host, up: false }, (!last).then_some((end, D::Link { host, up: true }))),
        5 | 6 => (D::Stall { host, until: end }, last.then_some((soon, D::Crash { host: other }))),
        7 => (D::SendFails { host, fails: true }, Some((end, D::SendFails { host, fails: false }))),
        8 => (
            D::Cut { from: host, to: other, cut: true },
            Some((end, D::Cut { from: host, to: other, cut: false })),
        ),
        9 => {
            let side = random.within(1, (1 << count) - 2);
            (D::Partition { side }, (!last).then_some((end, D::Partition { side: 0 })))
        }
        10 => {
            let weather = Weather { loss_percent: random.within(5, 60), delay: 0 };
            (D::Weather(weather), Some((end, D::Weather(Weather::default()))))
        }
        11 => {
            let weather = Weather { loss_percent: 0, delay: random.within(1, 3 * interval) };
            (D::Weather(weather), Some((end, D::Weather(Weather::default()))))
        }
        12 => (
            D::Refuse { host, index, refuse: true },
            (!last).then_some((end, D::Refuse { host, index, refuse: false })),
        ),
        13 => (D::Rob { host, index }, None),
        14 | 15 => {
            // Killed while it leaves, and started again at once.
            world.push(killed, Event::Disturb(D::Crash { host }));
            (D::Shutdown { host }, Some((killed + MS, D::Start { host })))
        }
        16 | 17 => (order, None),
        18 | 19 => {
            // Killed while it obeys, and started again.
            world.push(killed, Event::Disturb(D::Crash { host }));
            (order, Some((killed + MS, D::Start { host })))
        }
        25 | 26 => (D::Suspend { host, until: end }, None),
        27 => (D::SetClock { host, ahead: random.pick(&[interval / 2, 5 * interval, 3600 * SECOND]) }, None),
        28 if !second => {
            // The station dies, for all.
            (D::Partition { side: 1 << count }, (!last).then_some((end, D::Partition { side: 0 })))
        }
        28 | 29 if second => (
            D::CutSecond { from: host, to: other, cut: true },
            (!last).then_some((end, D::CutSecond { from: host, to: other, cut: false })),
        ),
        28..=31 => (
            D::Isolate { host, receives: false, sends: random.one_in(2) },
            (!last).then_some((end, D::Isolate { host, receives: true, sends: true })),
        ),
        21 => {
            // What goes meanwhile is found out afterwards.
            world.push(killed, Event::Disturb(D::Rob { host, index }));
            (D::Overrun { host }, Some((end, D::Resync { host })))
        }
        22 | 23 => (D::Slow { host, until: end }, last.then_some((soon, D::Crash { host: other }))),
        24 => (D::Reload { host, preempt_mode: random.one_in(2), interval: interval_then }, None),
        _ if last => (D::Priority { host, priority: random.within(1, 254) as u8 }, None),
        _ => (D::Check { host, tracker: random.pick(&[DEMOTE, WEIGHT, FAULT]), state }, None),
    };
    world.push(at, Event::Disturb(first));
    if let Some((at, disturbance)) = then {
        world.push(at, Event::Disturb(disturbance));
    }
    end.max(soon)
}

pub(crate) fn disturb(world: &mut World, disturbance: Disturbance) {
    let until = match disturbance {
        D::Suspend { until, .. } => until,
        D::Link { .. } | D::Cut { .. } | D::Partition { .. } | D::Isolate { .. } | D::CutSecond { .. } => {
            world.now
        }
        D::HealAll | D::Weather(_) => world.now,
        _ => 0,
    };
    world.network_since = world.network_since.max(until);
    match disturbance {
        D::Start { host } if world.hosts[host].node.is_none() => world.start(host),
        D::Start { .. } => {}
        D::Crash { host } => {
            let awake = world.hosts[host].kernel.asleep_until <= world.now;
            if world.hosts[host].node.is_some() && awake {
                let now = world.now;
                world.hosts[host].end_life(now);
            }
        }
        D::Shutdown { host } => {
            if world.hosts[host].node.is_some() && world.hosts[host].gone_by.is_none() {
                world.tell(host, News::Shutdown);
                let kernel = 20 * world.settings.kernel_delay;
                let slow = world.hosts[host].kernel.slow_until;
                let from = world.now.max(world.hosts[host].stalled_until).max(slow);
                let by = from + world.settings.leaving() + 20 * MS + kernel;
                world.hosts[host].gone_by = Some(by);
                world.push(by + 1, Event::Look);
            }
        }
        D::Link { host, up } => {
            world.hosts[host].link_up = up;
            let facts: Facts = world.facts(host, None);
            world.tell(host, News::Facts(facts));
        }
        D::Stall { host, until } => {
            if world.hosts[host].node.is_some() {
                let now = world.now;
                let stalled = &mut world.hosts[host];
                if !stalled.is_stalled(now) {
                    stalled.stalled_at = now;
                }
                stalled.stalled_until = stalled.stalled_until.max(until);
                stalled.run_at = u64::MAX;
                stalled.gone_by = stalled.gone_by.map(|by| by + until.saturating_sub(world.now));
                world.disturbed_until(until);
                world.schedule(host, until);
            }
        }
        D::SendFails { host, fails } => world.hosts[host].send_fails = fails,
        D::Cut { from, to, cut } => world.cuts.set(from, to, cut),
        D::Partition { side } => {
            for from in world.stations() {
                for to in world.stations() {
                    let apart = side != 0 && (side >> from & 1) != (side >> to & 1);
                    world.cuts.set(from, to, apart);
                }
            }
        }
        D::Isolate { host, receives, sends } => {
            for other in world.stations().filter(|&other| other != host) {
                world.cuts.set(other, host, !receives);
                world.cuts.set(host, other, !sends);
            }
        }
        D::CutSecond { from, to, cut } => world.second_cuts.set(from, to, cut),
        D::HealAll => {
            world.cuts.heal();
            world.second_cuts.heal();
        }
        D::Weather(weather) => world.weather = weather,
        D::Refuse { host, index, refuse } => world.hosts[host].kernel.refuse[index] = refuse,
        D::Rob { host, index } => {
            if let Some(answer) = world.hosts[host].kernel.rob(index, world.now) {
                world.lost(host, answer);
            }
        }
        D::Order { host, order } => give_order(world, host, order),
        D::Freeze { host, freeze } => {
            if world.hosts[host].node.is_none() || world.hosts[host].orders.waiting.is_some() {
                return;
            }
            let told = world.hosts[host].told;
            world.hosts[host].orders.frozen = freeze.then_some(told);
            let states = TRACKERS.into_iter().zip(told).collect();
            let order = if freeze { Order::Freeze(states) } else { Order::Unfreeze };
            world.hosts[host].orders.waiting = Some(order.clone());
            world.tell(host, News::Order(order));
        }
        D::Check { host, tracker, state } => world.check_result(host, tracker, Some(state)),
        D::Priority { host, priority } => {
            world.hosts[host].parameters.priority = Priority::new(priority.clamp(1, 254));
            reload(world, host);
        }
        D::Suspend { host, until } => {
            let now = world.now;
            // Not again before all that follows from the last time is over.
            let awake = world.hosts[host].slept.1 + world.settings.settle() < now
                && !world.hosts[host].is_stalled(now);
            if world.hosts[host].node.is_some() && awake {
                let length = until - now;
                let asleep = &mut world.hosts[host];
                asleep.asleep += length;
                asleep.slept = (length, until);
                asleep.left_over += length;
                asleep.kernel.sleep(until, length);
                disturb(world, D::Stall { host, until });
            }
        }
        D::SetClock { host, ahead } => {
            // Of keyed advertisements it is the sequence, which must not go back.
            if matches!(world.hosts[host].parameters.authentication, Authentication::None) {
                world.hosts[host].set_ahead = ahead;
            }
        }
        D::Overrun { host } => {
            if world.hosts[host].node.is_some() {
                world.hosts[host].kernel.overrun();
            }
        }
        D::Resync { host } => {
            let missing = world.hosts[host].kernel.resync();
            if world.bug != Some(Bug::OverrunUnseen) {
                missing.into_iter().for_each(|answer| world.lost(host, answer));
            }
        }
        D::Slow { host, until } => {
            let slow = &mut world.hosts[host];
            slow.kernel.slow_until = slow.kernel.slow_until.max(until);
            slow.gone_by = slow.gone_by.map(|by| by + until.saturating_sub(world.now));
            world.disturbed_until(until);
        }
        D::Reload { host, preempt_mode, interval } => {
            // In VRRPv2 another interval is another group.
            if world.hosts[host].parameters.version() == Version::V3 {
                cut_off::give_interval(world, host, interval);
            }
            let reloaded = &mut world.hosts[host];
            reloaded.parameters.preempt_mode = preempt_mode;
            reloaded.kernel.lifetime = lifetime(&reloaded.parameters);
            let runs = reloaded.node.is_some() && !reloaded.is_stalled(world.now);
            reloaded.kernel.fence.reconfigure(&reloaded.parameters, runs);
            reload(world, host);
        }
    }
}

fn reload(world: &mut World, host: usize) {
    if world.bug != Some(Bug::ReloadIgnored) {
        let parameters = Box::new(world.hosts[host].parameters.clone());
        world.tell(host, News::Configure(parameters));
    }
}

/// One order at a time. That it is drained is written down before the node is told. A handover ends with the
/// drain that followed it, also when a crash left that unanswered.
fn give_order(world: &mut World, host: usize, order: Order) {
    let given = &mut world.hosts[host];
    if given.node.is_none() || given.gone_by.is_some() || given.orders.waiting.is_some() {
        return;
    }
    match order {
        Order::Drain { .. } if given.orders.drained => return,
        Order::Drain { .. } => given.orders.drained = true,
        Order::Undrain => given.orders.yielded &= !std::mem::take(&mut given.orders.drained),
        _ => {}
    }
    given.orders.waiting = Some(order.clone());
    world.tell(host, News::Order(order));
}

/// Does what each of the two sends reach the other, on either path?
pub(crate) fn hear_each_other(world: &World, a: usize, b: usize) -> bool {
    let second = !world.settings.second_sources.is_empty();
    !world.cuts.between(a, b) || second && !world.second_cuts.between(a, b)
}

/// Hosts that hear each other.
#[derive(Clone, Copy)]
pub(crate) struct Group(u8);

impl Group {
    pub(crate) fn hosts(self) -> impl Iterator<Item = usize> {
        (0..HOSTS_MAX).filter(move |host| self.0 >> host & 1 == 1)
    }

    /// Some of its hosts.
    pub(crate) fn those(self, are: impl Fn(usize) -> bool) -> Self {
        Self(self.hosts().filter(|&host| are(host)).fold(0, |some, host| some | 1 << host))
    }

    pub(crate) fn len(self) -> usize {
        self.hosts().count()
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.hosts()).finish()
    }
}

/// The hosts in groups that hear each other, both ways and all with all; none while some of them
/// hear only half. It is asked after each event, and allocates nothing.
pub(crate) fn groups(world: &World) -> Option<impl Iterator<Item = Group> + use<>> {
    let second = if world.settings.second_sources.is_empty() { 0 } else { u8::MAX };
    let count = world.hosts.len();
    let others = |a: usize| ((1 << count) - 1) & !(1 << a);
    let open = |a: usize| (world.cuts.open(a) | second & world.second_cuts.open(a)) & others(a);
    let hears = |a: usize| world.cuts.open_both_ways(a) | second & world.second_cuts.open_both_ways(a);
    if (0..count).any(|a| open(a) & !hears(a) != 0) {
        return None;
    }
    let takes_part = |part: u8, host: &Host| part << 1 | u8::from(host.takes_part());
    let part = world.hosts.iter().rev().fold(0, takes_part);
    let mut heard = [0_u8; HOSTS_MAX];
    for (a, heard) in heard.iter_mut().enumerate().take(count).filter(|(a, _)| part >> a & 1 == 1) {
        *heard = (hears(a) | 1 << a) & part;
    }
    let partly = |a: usize, b: usize| heard[a] & heard[b] != 0 && heard[a] != heard[b];
    if (0..count).any(|a| (0..a).any(|b| partly(a, b))) {
        return None;
    }
    // Each is told of by the first of its hosts.
    Some(
        (0..count)
            .filter(move |&host| heard[host].trailing_zeros() as usize == host)
            .map(move |host| Group(heard[host])),
    )
}
