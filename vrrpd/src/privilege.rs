//! The rights that the daemon needs, and what it does with those that it does not.

use std::io;

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::net;

/// Without these nothing works: addresses, and raw sockets.
const NEEDED: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// The rights that are missing, in a sentence with the remedy.
///
/// # Errors
///
/// The sentence.
pub(crate) fn check() -> Result<(), String> {
    let held = caps::read(None, CapSet::Effective)
        .map_err(|error| format!("cannot read our capabilities: {error}"))?;
    let missing: Vec<String> =
        NEEDED.iter().filter(|needed| !held.contains(needed)).map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "vrrpd lacks {}: run it by its systemd unit, as root, or with \
         `setcap cap_net_admin,cap_net_raw,cap_sys_nice+ep`",
        missing.join(" and ")
    ))
}

/// Keeps pages in memory, where the limit on locked memory allows it. With a small limit a later
/// thread or allocation would fail instead.
///
/// # Errors
///
/// Why it cannot be done.
pub(crate) fn lock_memory() -> io::Result<()> {
    let unlimited = getrlimit(Resource::RLIMIT_MEMLOCK)?.0 == RLIM_INFINITY;
    let may_ignore = caps::has_cap(None, CapSet::Effective, Capability::CAP_IPC_LOCK).unwrap_or(false);
    if !unlimited && !may_ignore {
        return Err(io::Error::other("the limit on locked memory is too low (LimitMEMLOCK=infinity)"));
    }
    net::lock_memory()
}

/// A realtime thread that never waits again is ended by the kernel, and the process with it, before
/// it takes the machine down.
pub(crate) fn bound_realtime() {
    /// Microseconds on the processor without one wait.
    const SPIN: u64 = 2_000_000;
    // A lower limit that somebody else set is as good.
    let _ = setrlimit(Resource::RLIMIT_RTTIME, SPIN, SPIN);
}
