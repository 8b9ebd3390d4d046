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

/// Time since 1970 at the origin of the clock of the protocol, which changes when somebody sets the
/// wall clock.
pub(crate) fn wall_origin() -> Duration {
    let wall = Duration::from_nanos(nanos(ClockId::CLOCK_REALTIME));
    wall.saturating_sub(now() - Instant::ZERO)
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
}
