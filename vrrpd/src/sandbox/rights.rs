//! Capabilities.

use std::io;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

/// Addresses and the packet filter; raw and packet sockets.
const KEPT: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Keeps what the daemon needs of the rights that it has, and gives up all others. Root stays root by
/// its number, which is then a user as any other that owns root's files.
pub(super) fn keep(realtime: bool) -> io::Result<()> {
    close_bounding();
    let wanted =
        |right: &Capability| KEPT.contains(right) || (realtime && *right == Capability::CAP_SYS_NICE);
    let held = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let left: CapsHashSet = held.into_iter().filter(wanted).collect();
    // In this order: the kernel refuses an effective set that is not within the permitted one. The
    // ambient set follows the inheritable one by itself.
    caps::set(None, CapSet::Effective, &left).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &left).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)
}

/// Nothing can be gained from here on. That takes `CAP_SETPCAP`, which the unit does not give: there
/// no_new_privs, and that nothing is executed, do the same.
fn close_bounding() {
    for right in caps::runtime::thread_all_supported() {
        if caps::drop(None, CapSet::Bounding, right).is_err() {
            return;
        }
    }
}

fn failed(error: CapsError) -> io::Error {
    io::Error::other(format!("cannot give up rights: {error}"))
}
