//! What may be wrong for a time only, and for how long: `docs/reliability-bounds.md` derives it.

use vrrp_proto::snapshot::Phase;

use super::cut_off;
use super::host::Host;
use super::plan::{self, Group};
use super::settings::MS;
use super::world::World;

/// After everything that changes something.
pub(crate) fn judge(world: &mut World) {
    let overrun = world.hosts.iter().any(|host| host.kernel.is_overrun());
    if overrun || world.weather.loss_percent > 0 || world.weather.delay > 0 {
        world.disturbed();
    }
    let holders = holders(world);
    both(world, holders);
    nobody(world, holders);
}

/// Two hosts that hear each other hold the same address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Both {
    since: u64,
    /// Meanwhile neither spoke: each asked, or waited for a successor with what the kernel did not refuse.
    silent: bool,
}

/// Two that hear each other do not both hold an address for long.
fn both(world: &mut World, holders: u8) {
    let (now, count) = (world.now, world.hosts.len());
    for a in 0..count {
        for b in a + 1..count {
            let (one, other) = (&world.hosts[a], &world.hosts[b]);
            let hold = holders >> a & holders >> b & 1 == 1 && one.kernel.shares(&other.kernel, now);
            if !hold || !plan::hear_each_other(world, a, b) {
                world.both[a][b] = None;
                continue;
            }
            let silent = |host: &Host| host.asking || host.phase == Phase::Leaving;
            let silent = silent(one) && silent(other);
            let both = world.both[a][b].get_or_insert(Both { since: now, silent });
            both.silent |= silent;
            let Both { since, silent } = *both;
            let bound = world.settings.both(silent);
            if now > since.max(world.peace_since) + bound {
                world.violate(format!("hosts {a} and {b} both hold an address after {} ms", bound / MS));
            }
        }
    }
}

/// Who is awake and answers for an address: a bit each.
fn holders(world: &World) -> u8 {
    let holds = |host: &Host| host.is_up(world.now) && host.kernel.answers_any(world.now);
    world.hosts.iter().rev().fold(0, |holders, host| holders << 1 | u8::from(holds(host)))
}

/// Where somebody is well, an address is not without a holder for long.
fn nobody(world: &mut World, holders: u8) {
    let now = world.now;
    let waits = |host: &Host| host.phase == Phase::BackOff || host.kernel.refuse.contains(&true);
    let cut = world.cuts.any() || world.second_cuts.any();
    let lacks = |group: Group| {
        let hosts = || group.hosts().map(|index| (index, &world.hosts[index]));
        let fit = |(index, host): (usize, &Host)| host.fit() && cut_off::reaches_somebody(world, index);
        hosts().any(fit) && !group.hosts().any(|index| holders >> index & 1 == 1)
    };
    let somewhere = cut || holders == 0;
    let lacking = somewhere && plan::groups(world).is_some_and(|mut groups| groups.any(lacks));
    if !lacking || world.hosts.iter().any(waits) {
        world.nobody_since = None;
        return;
    }
    let since = *world.nobody_since.get_or_insert(now);
    let clock_set = world.hosts.iter().any(|host| host.set_ahead > 0);
    let bound = world.settings.nobody(clock_set);
    if now > since.max(world.peace_since) + bound {
        world.violate(format!("nobody holds an address after {} ms", bound / MS));
    }
}
