//! The `gateway` probe: do the routers that lead out of this network answer, or the hosts that are
//! asked beside them?
//!
//! A router that is restarted is silent for every node alike; a node that leaves for that leaves
//! nobody behind who is better. Hence the quorum, and the other targets.

use std::net::IpAddr;
use std::time::Duration;

use netlink::{Link, Requester};
use tokio::time::Instant;

use super::blocking::{Blocking, UnderWay};
use super::icmp::{self, Target};
use super::{Prober, Run, ping};
use crate::config::Gateway;

/// The probe of one check.
#[derive(Debug)]
pub(super) struct GatewayProbe {
    gateway: Gateway,
    blocking: Blocking<Vec<Target>>,
}

impl GatewayProbe {
    pub(super) fn new(gateway: &Gateway, under_way: &UnderWay) -> Self {
        Self { gateway: gateway.clone(), blocking: Blocking::new(under_way) }
    }

    async fn ask(&mut self, deadline: Duration) -> Result<String, String> {
        let started = Instant::now();
        let interface = self.gateway.interface.clone();
        let list = move || routers(interface.as_deref());
        let mut targets = self.blocking.run("the list of routes", deadline, list).await?;
        let none = if targets.is_empty() { Some(self.no_router()) } else { None };
        for target in &self.gateway.targets {
            add(&mut targets, ping::target(target));
        }
        if let Some(none) = none.as_ref().filter(|_| targets.is_empty()) {
            return Err(none.clone());
        }
        let left = deadline.saturating_sub(started.elapsed());
        let said = icmp::ask(targets, None, self.gateway.quorum, left).await;
        let with_none = |said: String| none.map_or(said.clone(), |none| format!("{said}; {none}"));
        match said {
            Ok(said) => Ok(with_none(said)),
            Err(said) => Err(with_none(said)),
        }
    }

    fn no_router(&self) -> String {
        match &self.gateway.interface {
            Some(interface) => format!("there is no default route through {interface}"),
            None => "there is no default route".to_owned(),
        }
    }
}

impl Prober for GatewayProbe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(self.ask(deadline))
    }
}

/// What the kernel's table says now.
fn routers(interface: Option<&str>) -> Result<Vec<Target>, String> {
    let told = Requester::open().and_then(|mut kernel| Ok((kernel.links()?, kernel.gateways()?)));
    let (links, gateways) = told.map_err(|error| error.to_string())?;
    let on = |index| links.iter().find(|link: &&Link| link.index == index);
    let mut targets: Vec<Target> = Vec::new();
    for gateway in gateways {
        let Some(link) = on(gateway.link).filter(|link| interface.is_none_or(|name| link.name == name))
        else {
            continue;
        };
        let local = matches!(gateway.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let name = if local { format!("{}%{}", gateway.ip, link.name) } else { gateway.ip.to_string() };
        let scope = Ok(if local { gateway.link.get() } else { 0 });
        add(&mut targets, Target { ip: gateway.ip, scope, name });
    }
    Ok(targets)
}

/// A host has one vote, however many routes lead to it.
fn add(targets: &mut Vec<Target>, target: Target) {
    if !targets.iter().any(|other| (other.ip, &other.scope) == (target.ip, &target.scope)) {
        targets.push(target);
    }
}
