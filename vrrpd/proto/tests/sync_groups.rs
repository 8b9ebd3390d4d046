//! Sync groups: whatever the priorities, the addresses and the cables, a group settles, and as a whole.
//!
//! `VRRPD_SEEDS=20000` runs more seeds; a failure prints what happened.

#[path = "sync_groups/keepalived.rs"]
mod keepalived;
#[path = "simulation/random.rs"]
mod random;
mod scene;
#[path = "sync_groups/world.rs"]
mod world;

use vrrp_proto::action::Order;
use vrrp_proto::snapshot::{Reason, StateName};
use vrrp_proto::tracking::{TrackerId, TrackerState};

use random::Random;
use world::{Bug, MS, Settings, World};

const SEEDS: u64 = 600;
const BUG_SEEDS: u64 = 200;
const SECOND: u64 = 1000 * MS;

/// One seed: some disturbances; then nothing, and nothing moves; then all is whole again.
fn run(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let random = &mut Random::new(seed);
    let settings = Settings::draw(random);
    let mut world = World::new(settings, seed, bug);
    let told = |world: &World, problem: String| {
        format!("seed {seed}: {problem}\n{:?}\n{}", world.settings, world.log.join("\n"))
    };
    let slowest = world.settings.slowest();
    for host in world.hosts() {
        world.start(host);
        world.run(random.below(2 * slowest));
    }
    for _ in 0..random.within(1, 6) {
        world.run(random.below(8 * slowest));
        disturb(&mut world, random);
    }
    settle(&mut world).map_err(|problem| told(&world, problem))?;
    world.heal();
    settle(&mut world).and_then(|()| world.judge_whole()).map_err(|problem| told(&world, problem))
}

/// Long enough for every back-off; then long enough to see anything that alternates.
fn settle(world: &mut World) -> Result<(), String> {
    let slowest = world.settings.slowest();
    world.forget_takeovers();
    world.run(60 * slowest + 10 * SECOND);
    world.judge_settled()?;
    let members = world.settings.intervals.len();
    let bound = 3 * members * world.settings.priorities.len();
    if world.takeovers() > bound {
        return Err(format!("{} takeovers before it settled", world.takeovers()));
    }
    world.forget_takeovers();
    world.run(100 * slowest);
    world.judge_settled()?;
    // A demoted group that does not hear the only one that answers asks again, at doubling distances:
    // three times within so long would be too often.
    let answers = world.questions().min(2 * members) * (world.settings.priorities.len() - 1);
    match world.takeovers() {
        moved if moved <= answers => Ok(()),
        moved => Err(format!("it never settles: {moved} takeovers, {answers} of them answers")),
    }
}

fn disturb(world: &mut World, random: &mut Random) {
    let host = random.index(world.hosts().len());
    let other = (host + 1) % world.hosts().len();
    let member = random.index(world.settings.intervals.len());
    match random.below(9) {
        0 => world.crash(host),
        1 => world.start(host),
        2 => world.link(host, member, false),
        3 => world.link(host, member, true),
        4 => world.cut(member, host, other, true),
        5 => {
            world.cut(member, host, other, true);
            world.cut(member, other, host, true);
        }
        6 => {
            world.refuse(host, member, true);
            world.run(random.below(10 * world.settings.slowest()));
            world.refuse(host, member, false);
        }
        7 => {
            let state = random.pick(&[TrackerState::Failing, TrackerState::Passing, TrackerState::Pending]);
            world.check(host, random.index(3), state);
        }
        _ => {
            let force = random.one_in(3);
            let order = match random.below(4) {
                0 => Order::Drain { force },
                1 => Order::Undrain,
                2 => Order::HandOver,
                _ => Order::TakeBack,
            };
            world.order(host, member, order);
        }
    }
}

#[test]
fn a_group_settles_as_a_whole_whatever_happens() {
    let seeds = std::env::var("VRRPD_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    if let Some(problem) = (0..seeds).find_map(|seed| run(seed, None).err()) {
        panic!("{problem}");
    }
}

#[test]
fn each_planted_mistake_is_noticed() {
    for bug in Bug::ALL {
        let noticed = (0..BUG_SEEDS).find(|&seed| run(seed, Some(bug)).is_err());
        let seed = noticed.unwrap_or_else(|| panic!("{bug:?} was not noticed in {BUG_SEEDS} seeds"));
        assert_eq!(run(seed, None), Ok(()), "seed {seed} fails without {bug:?} as well");
    }
}

/// Both hosts started at once, and left alone.
fn settled(settings: Settings) -> World {
    let mut world = World::new(settings, 1, None);
    world.hosts().for_each(|host| world.start(host));
    world.run(60 * SECOND);
    assert_eq!(world.judge_whole(), Ok(()), "{}", world.log.join("\n"));
    world
}

#[test]
fn crossed_priorities_settle_with_one_takeover_of_each_member() {
    for (first, second, holder) in [([150, 100], [100, 150], None), ([150, 90], [100, 100], Some(1))] {
        let world = settled(Settings::pair([first, second]));
        assert_eq!(world.takeovers(), 2, "{}", world.log.join("\n"));
        let holds = |holder| world.is_active(holder);
        assert!(holder.is_none_or(holds), "the lowest priority of a node is its rank");
    }
}

#[test]
fn crossed_priorities_settle_beside_keepalived() {
    for (first, second) in [([150, 100], [100, 150]), ([100, 150], [120, 120]), ([100, 100], [100, 100])] {
        let world = settled(Settings { keepalived: true, ..Settings::pair([first, second]) });
        assert!(world.takeovers() <= 6, "{first:?} {second:?}\n{}", world.log.join("\n"));
    }
}

/// The addresses would decide for one host on the first link and for the other on the second.
#[test]
fn a_tie_is_decided_by_one_link_for_all() {
    let mut world = World::new(Settings::pair([[100, 100]; 2]), 1, None);
    let both_ways = [(0, 1), (1, 0)];
    let cut = |world: &mut World, member, cut| {
        both_ways.into_iter().for_each(|(from, to)| world.cut(member, from, to, cut));
    };
    for first_link_comes_back in [true, false] {
        (0..2).for_each(|member| cut(&mut world, member, true));
        world.hosts().for_each(|host| world.start(host));
        world.run(20 * SECOND);
        assert!(world.is_active(0) && world.is_active(1));
        world.forget_takeovers();
        let members = if first_link_comes_back { 0..2 } else { 0..1 };
        members.for_each(|member| cut(&mut world, member, false));
        world.run(20 * SECOND);
        assert_eq!(world.takeovers(), 0, "{}", world.log.join("\n"));
        // By the VRID, the second member is the first of its group: the lower host has the higher address.
        let winner = if first_link_comes_back { 0 } else { 1 };
        assert!(world.is_active(winner) && !world.is_active(1 - winner), "{}", world.log.join("\n"));
    }
}

#[test]
fn a_lost_link_moves_all_and_its_return_moves_all_back() {
    let mut world = settled(Settings::pair([[150, 150], [100, 100]]));
    world.forget_takeovers();
    world.link(0, 1, false);
    world.run(20 * SECOND);
    assert!(world.is_active(1), "{}", world.log.join("\n"));
    let inside = world.snapshot(0, 0).expect("it runs");
    assert_eq!((inside.state, inside.waits_for.map(|id| id.0)), (StateName::Backup, Some(1)));
    world.link(0, 1, true);
    world.run(20 * SECOND);
    assert!(world.is_active(0), "{}", world.log.join("\n"));
    assert_eq!(world.takeovers(), 4);
}

#[test]
fn who_follows_another_member_says_so() {
    let mut world = settled(Settings::pair([[150, 150], [100, 100]]));
    world.link(0, 1, false);
    let inside = world.snapshot(0, 0).expect("it runs");
    assert_eq!((inside.reason, inside.moved_with.map(|id| id.0)), (Reason::SyncGroup, Some(1)));
}

#[test]
fn an_order_to_one_member_moves_all() {
    for order in [Order::Drain { force: false }, Order::HandOver] {
        let mut world = settled(Settings::pair([[150, 150], [100, 100]]));
        world.forget_takeovers();
        world.order(0, 1, order.clone());
        world.run(20 * SECOND);
        assert!(world.is_active(1), "{order:?}\n{}", world.log.join("\n"));
        assert_eq!(world.takeovers(), 2);
        world.order(0, 1, if order == Order::HandOver { Order::TakeBack } else { Order::Undrain });
        world.run(20 * SECOND);
        assert!(world.is_active(0), "{order:?}\n{}", world.log.join("\n"));
    }
}

/// With long intervals a question ends before the backup's Skew_Time does. An order that comes meanwhile
/// gives the backup more time, and all members keep silent for it.
#[test]
fn an_order_to_one_of_a_group_that_asks_goes_for_all() {
    for order in [Order::Drain { force: false }, Order::HandOver] {
        let pair = Settings::pair([[200, 200], [150, 150]]);
        let settings = Settings { intervals: vec![1000; 2], preempt_mode: vec![true, false], ..pair };
        let mut world = World::new(settings, 1, None);
        world.start(0);
        world.run(60 * SECOND);
        world.start(1);
        world.run(60 * SECOND);
        world.check(0, 0, TrackerState::Failing);
        world.run(2 * SECOND);
        world.order(0, 1, order.clone());
        world.run(10 * SECOND);
        assert!(world.is_active(1), "{order:?}\n{}", world.log.join("\n"));
    }
}

/// Each member that is frozen freezes all, for as long as it is itself.
#[test]
fn the_end_of_one_freeze_leaves_another() {
    let mut world = settled(Settings::pair([[150, 150], [100, 100]]));
    world.forget_takeovers();
    let freeze =
        || Order::Freeze((0..3).map(|tracker| (TrackerId(tracker), TrackerState::Passing)).collect());
    (0..2).for_each(|member| world.order(0, member, freeze()));
    world.check(0, 0, TrackerState::Failing);
    for (unfrozen, holder) in [(0, 0), (1, 1)] {
        world.order(0, unfrozen, Order::Unfreeze);
        world.run(20 * SECOND);
        assert!(world.is_active(holder), "{}", world.log.join("\n"));
    }
    assert_eq!(world.takeovers(), 2);
}

#[test]
fn a_member_that_comes_or_goes_by_reload_moves_nobody_else() {
    let mut world = World::new(Settings::pair([[150, 150], [100, 100]]), 1, None);
    world.half_roles = true;
    world.hosts().for_each(|host| world.start_with(host, 0..1, None));
    world.run(10 * SECOND);
    assert_eq!(world.snapshot(0, 0).map(|inside| inside.state), Some(StateName::Active));
    world.forget_takeovers();
    world.add(0, 1);
    world.add(1, 1);
    world.run(10 * SECOND);
    assert!(world.is_active(0), "{}", world.log.join("\n"));
    assert_eq!(world.takeovers(), 1, "{}", world.log.join("\n"));
    world.remove(0, 1);
    world.remove(1, 1);
    world.run(10 * SECOND);
    assert_eq!(world.snapshot(0, 0).map(|inside| inside.state), Some(StateName::Active));
    assert_eq!(world.takeovers(), 1, "{}", world.log.join("\n"));
}

/// Half of a group is worse than none, also where the other half is new.
#[test]
fn a_member_that_comes_by_reload_and_cannot_be_active_moves_all() {
    let mut world = World::new(Settings::pair([[150, 150], [100, 100]]), 1, None);
    world.half_roles = true;
    world.hosts().for_each(|host| world.start_with(host, 0..1, None));
    world.run(10 * SECOND);
    world.link(0, 1, false);
    world.add(1, 1);
    world.add(0, 1);
    let inside = world.snapshot(0, 0).expect("it runs");
    assert_eq!((inside.state, inside.reason), (StateName::Backup, Reason::SyncGroup));
    world.run(10 * SECOND);
    assert!(world.is_active(1), "{}", world.log.join("\n"));
}

#[test]
fn a_group_goes_on_after_a_restart() {
    let mut world = settled(Settings::pair([[150, 150], [100, 100]]));
    world.forget_takeovers();
    world.restart(0);
    world.run(20 * SECOND);
    assert!(world.is_active(0), "{}", world.log.join("\n"));
    let resumed = (0..2).filter_map(|member| Some(world.snapshot(0, member)?.reason));
    assert!(resumed.eq([Reason::Resumed; 2]), "{}", world.log.join("\n"));
}
