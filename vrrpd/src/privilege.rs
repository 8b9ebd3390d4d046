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

/// Keeps pages in memory, where the limit on locked memory allows it or can be lifted. With a small
/// limit a later thread or allocation would fail instead.
///
/// # Errors
///
/// Why it cannot be done.
pub(crate) fn lock_memory() -> io::Result<()> {
    let unlimited = getrlimit(Resource::RLIMIT_MEMLOCK)?.0 == RLIM_INFINITY;
    // Root may; later, without its rights, the limit counts for it as well.
    if !unlimited && setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_err() {
        return Err(io::Error::other("the limit on locked memory is too low (LimitMEMLOCK=infinity)"));
    }
    net::lock_memory()
}
