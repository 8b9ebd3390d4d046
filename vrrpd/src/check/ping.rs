//! The `ping` probe: hosts that answer, of which some may be silent.

use std::time::Duration;

use nix::net::if_::if_nametoindex;

use super::icmp::{self, Target};
use super::{Prober, Run};
use crate::config::{Ping, PingTarget};

/// The probe of one check.
#[derive(Debug)]
pub(super) struct PingProbe(Ping);

impl PingProbe {
    pub(super) fn new(ping: &Ping) -> Self {
        Self(ping.clone())
    }
}

impl Prober for PingProbe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            let targets = self.0.targets.iter().map(target).collect();
            icmp::ask(targets, self.0.source, self.0.quorum, deadline).await
        })
    }
}

/// The interface is looked up each time: one that is made again has another number.
///
/// A host on an interface that is missing is one that does not answer: the quorum decides.
pub(super) fn target(target: &PingTarget) -> Target {
    let scope = match &target.interface {
        Some(interface) => if_nametoindex(interface.as_str())
            .map_err(|_| format!("cannot ask {target}: there is no interface {interface}")),
        None => Ok(0),
    };
    Target { ip: target.ip, scope, name: target.to_string() }
}
