//! Connections that the host tracks: found when the role is given up, needed when the addresses are gone.
//!
//! For one list the kernel goes through its whole table, however few are in it, and the thread that asks has
//! to share the processors with whoever else is busy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink::{Flow, Flows};

use super::MOST;

/// What has been found, and is needed no more when it is old.
#[derive(Default)]
pub(super) struct Found {
    /// When that of an address was looked for.
    looked: BTreeMap<IpAddr, Instant>,
    flows: Vec<Flow>,
}

/// What the kernel said.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) flows: Vec<Flow>,
    /// What went wrong.
    pub(super) troubles: BTreeSet<String>,
    /// To be closed when nobody waits any more.
    _open: Option<Flows>,
}

impl Found {
    /// Looks for connections to these addresses.
    pub(super) fn look(&mut self, addresses: BTreeSet<IpAddr>, now: Instant) {
        let old = self.looked.iter().filter(|(_, at)| now - **at >= FRESH).map(|(address, _)| *address);
        self.forget(&old.chain(addresses.iter().copied()).collect());
        // What goes wrong is told when the addresses are gone, and the kernel is asked again.
        self.flows.extend(tracked(&addresses).flows);
        self.looked.extend(addresses.into_iter().map(|address| (address, now)));
    }

    /// Those of these addresses that were looked for, and what was found.
    pub(super) fn take(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
        now: Instant,
    ) -> (BTreeSet<IpAddr>, Vec<Flow>) {
        let fresh = |address: &IpAddr| self.looked.get(address).is_some_and(|at| now - *at < FRESH);
        let known: BTreeSet<IpAddr> = addresses.iter().copied().filter(fresh).collect();
        let flows = self.flows.iter().filter(|flow| known.contains(&flow.server.ip())).cloned().collect();
        self.forget(addresses);
        (known, flows)
    }

    /// Nobody needs that any more.
    pub(super) fn forget(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.looked.retain(|address, _| !addresses.contains(address));
        self.flows.retain(|flow| !addresses.contains(&flow.server.ip()));
    }
}

/// Connections to these addresses that the host tracks, whoever their sockets belong to.
pub(super) fn tracked(addresses: &BTreeSet<IpAddr>) -> Listed {
    let mut listed = Listed::default();
    // Where nothing is tracked the kernel is not asked, which could load a module of it.
    let count = std::fs::read_to_string(TRACKED).unwrap_or_default();
    if addresses.is_empty() || matches!(count.trim(), "" | "0") {
        return listed;
    }
    match Flows::open().and_then(|mut open| Ok((open.list(addresses, MOST, TO_LIST)?, open))) {
        Ok((found, open)) => {
            listed._open = Some(open);
            if found.incomplete {
                listed.troubles.insert(format!(
                    "there may be more than {} tracked connections, or it took longer than {} ms to list them",
                    found.flows.len(),
                    TO_LIST.as_millis()
                ));
            }
            listed.flows = found.flows;
        }
        Err(error) => drop(listed.troubles.insert(error.to_string())),
    }
    listed
}

/// How many connections are tracked.
const TRACKED: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// The longest that it takes to find them.
const TO_LIST: Duration = Duration::from_millis(300);
/// Who gives a role up keeps the addresses for no longer (3 s), and some time for whoever is busy.
pub(super) const FRESH: Duration = Duration::from_secs(5);
