//! The node and the daemon's process on it.

use super::{Case, Finding, sys};
use crate::config::Scheduling;

/// Capabilities by their bits (`linux/capability.h`), and what they are for.
const CAPABILITIES: [(u32, &str, &str); 2] = [
    (12, "CAP_NET_ADMIN", "addresses cannot be added or removed"),
    (13, "CAP_NET_RAW", "advertisements cannot be sent or received"),
];

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    vec![clock(sys::clock_is_synchronised()), capabilities(case), realtime(case)]
}

fn clock(is_synchronised: bool) -> Finding {
    const NAME: &str = "clock";
    if is_synchronised {
        return Finding::ok(NAME, "the clock is kept right");
    }
    Finding::warn(
        NAME,
        "nothing keeps the clock of this node right",
        "certificates, signed DNS updates and the order of events on two nodes depend on it (VRRP itself \
         does not)",
        "systemctl enable --now chronyd, or systemd-timesyncd; then timedatectl",
    )
}

/// What the running daemon may do.
fn capabilities(case: &Case) -> Finding {
    const NAME: &str = "capabilities";
    let pid = match &case.state {
        Ok(state) => state.daemon.pid,
        Err(why) => return Finding::unknown(NAME, format!("what the daemon may do: {why}")),
    };
    let status = case.read(format!("/proc/{pid}/status")).unwrap_or_default();
    // The number may be of another process: the daemon's of a container, or one that came after it.
    let is_daemon =
        status.lines().any(|line| line.strip_prefix("Name:").is_some_and(|name| name.trim() == "vrrpd"));
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).filter(|_| is_daemon);
    let Some(effective) = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
        return Finding::unknown(NAME, format!("what the daemon may do: /proc/{pid}/status does not tell"));
    };
    let missing: Vec<_> = CAPABILITIES.iter().filter(|(bit, ..)| effective & (1 << bit) == 0).collect();
    let Some((_, _, why)) = missing.first() else {
        return Finding::ok(NAME, "the daemon has CAP_NET_ADMIN and CAP_NET_RAW");
    };
    let names: Vec<&str> = missing.iter().map(|(_, name, _)| *name).collect();
    Finding::fail(
        NAME,
        format!("the daemon lacks {}", names.join(" and ")),
        *why,
        format!(
            "AmbientCapabilities= and CapabilityBoundingSet= of vrrpd.service with {}; systemctl restart vrrpd",
            names.join(" ")
        ),
    )
}

/// Whether a busy machine can delay advertisements.
fn realtime(case: &Case) -> Finding {
    const NAME: &str = "realtime";
    let state = match &case.state {
        Ok(state) => state,
        Err(why) => return Finding::unknown(NAME, format!("how the daemon is scheduled: {why}")),
    };
    let is = &state.daemon.scheduling;
    if case.config.daemon.scheduling == Scheduling::Normal || is == "realtime" {
        return Finding::ok(NAME, format!("the protocol thread runs with {is} scheduling, as configured"));
    }
    Finding::warn(
        NAME,
        format!("the protocol thread runs with {is} scheduling, though realtime is configured"),
        "on a busy machine advertisements come late, and the other node takes over for no reason",
        "CAP_SYS_NICE and LimitRTPRIO=10 for vrrpd.service; or scheduling = \"normal\" in [daemon], and a \
         longer advertisement_interval",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok as Fine, Unknown, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;

    #[test]
    fn the_clock_has_to_be_kept_right() {
        assert_finding(&clock(true), Fine, &[]);
        assert_finding(&clock(false), Warn, &["timedatectl"]);
    }

    #[test]
    fn the_daemon_may_do_what_it_has_to() {
        // The pid of the test's state.
        let with = |mask: &str| {
            let status = format!("Name:\tvrrpd\nCapEff:\t{mask}\nSeccomp:\t0\n");
            Patient::active().file("/proc/4711/status", &status).find(examine, "capabilities")
        };
        assert_finding(&with("0000000000803000"), Fine, &["CAP_NET_RAW"]);
        assert_finding(&with("0000000000001000"), Fail, &["lacks CAP_NET_RAW", "AmbientCapabilities"]);
        assert_finding(&with("0000000000000000"), Fail, &["CAP_NET_ADMIN and CAP_NET_RAW"]);
        assert_finding(&Patient::active().find(examine, "capabilities"), Unknown, &["/proc/4711/status"]);
        let other = Patient::active().file("/proc/4711/status", "Name:\tsh\nCapEff:\t0000000000000000\n");
        assert_finding(&other.find(examine, "capabilities"), Unknown, &["/proc/4711/status"]);
        assert_finding(&Patient::new(A).find(examine, "capabilities"), Unknown, &["no daemon"]);
    }

    #[test]
    fn realtime_that_was_refused_is_told() {
        let mut patient = Patient::active();
        assert_finding(&patient.find(examine, "realtime"), Fine, &["realtime"]);
        patient.state().daemon.scheduling = "normal".to_owned();
        assert_finding(&patient.find(examine, "realtime"), Warn, &["CAP_SYS_NICE"]);
        patient.case.config.daemon.scheduling = Scheduling::Normal;
        assert_finding(&patient.find(examine, "realtime"), Fine, &["normal"]);
    }
}
