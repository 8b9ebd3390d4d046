//! The clocks: the monotonic one that the protocol runs on, and the wall clock that people read.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use vrrp_proto::Instant;

/// Now, on the clock that all timers of the protocol run on (`CLOCK_MONOTONIC`): steps of the wall
/// clock do not move it.
pub fn now() -> Instant {
    Instant::from_nanos(nanos(ClockId::CLOCK_MONOTONIC))
}

/// Time since boot, time asleep included.
pub fn since_boot() -> Duration {
    Duration::from_nanos(nanos(ClockId::CLOCK_BOOTTIME))
}

/// The monotonic time of a wall-clock time stamp that the kernel put on a packet.
///
/// The two clocks are read together, so a step of the wall clock between the packet's arrival and
/// now shows as a wrong time; `earliest`, the time of the last look into the socket, and now bound it.
pub fn arrival(stamp: Duration, earliest: Instant) -> Instant {
    let wall = Duration::from_nanos(nanos(ClockId::CLOCK_REALTIME));
    let now = now();
    let age = wall.saturating_sub(stamp);
    now.saturating_sub(age).max(earliest).min(now)
}

/// What other clocks say at the origin of the clock of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origins {
    /// Time since 1970, which changes when somebody sets the wall clock.
    pub(crate) wall: Duration,
    /// Time since boot, which grows by the time asleep.
    pub(crate) boot: Duration,
}

/// The origins now. `None` when the thread was interrupted between the readings each time that it was
/// tried: the distance of two clocks cannot be told then.
pub(crate) fn origins() -> Option<Origins> {
    origins_by(nanos)
}

fn origins_by(mut read: impl FnMut(ClockId) -> u64) -> Option<Origins> {
    /// Three readings take a tenth of a microsecond, a few on kernels that make system calls of them.
    const AT_ONCE_NS: u64 = 100_000;
    const TRIES: u32 = 3;
    (0..TRIES).find_map(|_| {
        let begin = read(ClockId::CLOCK_MONOTONIC);
        let (wall, boot) = (read(ClockId::CLOCK_REALTIME), read(ClockId::CLOCK_BOOTTIME));
        let took = read(ClockId::CLOCK_MONOTONIC).saturating_sub(begin);
        let origin = |reading: u64| Duration::from_nanos(reading.saturating_sub(begin));
        (took <= AT_ONCE_NS).then(|| Origins { wall: origin(wall), boot: origin(boot) })
    })
}

/// The wall-clock time of a point in time.
pub fn wall(at: Instant) -> SystemTime {
    let age = now() - at;
    SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("these clocks exist on every Linux");
    u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_from_the_future_or_from_long_ago_is_bounded() {
        let earliest = now();
        let future = Duration::from_secs(1 << 40);
        assert!(arrival(future, earliest) <= now());
        assert_eq!(arrival(Duration::ZERO, earliest), earliest);
    }

    /// Clocks of which the monotonic one goes on by `steps` from one reading to the next, in turn.
    fn origins_with(steps: &[u64]) -> Option<Origins> {
        let (mut monotonic, mut readings) = (1_000_000_000, 0);
        origins_by(|clock| match clock {
            ClockId::CLOCK_MONOTONIC => {
                monotonic += steps[readings % steps.len()];
                readings += 1;
                monotonic
            }
            ClockId::CLOCK_REALTIME => monotonic + 5_000,
            _ => monotonic + 7_000,
        })
    }

    #[test]
    fn an_interruption_between_the_readings_is_not_taken_for_a_step_of_a_clock() {
        let right = Origins { wall: Duration::from_nanos(5_000), boot: Duration::from_nanos(7_000) };
        assert_eq!(origins_with(&[0, 100_000]), Some(right));
        assert_eq!(origins_with(&[0, 100_001, 0, 0]), Some(right), "tried again");
        assert_eq!(origins_with(&[0, 100_001]), None, "each time");
    }

    #[test]
    fn the_origins_stay_where_nobody_moves_a_clock() {
        let (first, second) = (origins(), origins());
        let (Some(first), Some(second)) = (first, second) else { return };
        assert!(first.boot.abs_diff(second.boot) < Duration::from_millis(1), "{first:?} {second:?}");
    }
}
