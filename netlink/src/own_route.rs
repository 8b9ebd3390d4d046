//! Routes and rules of ours: how each is put into a message, and how those that an earlier process
//! left behind are recognised.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::Parseable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use crate::{Address, LinkIndex, PROTOCOL, Scope};

/// What becomes of packets that a route or rule matches, where it is not the usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// Dropped in silence.
    Blackhole,
    /// Dropped; the sender hears that the destination is unreachable.
    Unreachable,
    /// Dropped; the sender hears that it is prohibited.
    Prohibit,
}

/// A route of ours, marked with [`PROTOCOL`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The network that it leads to; a prefix length of 0 is everything.
    pub to: Address,
    /// It leads nowhere; `via` and `link` are absent then.
    pub denial: Option<Denial>,
    /// The router on the way.
    pub via: Option<IpAddr>,
    /// The link on the way; where it is absent the kernel finds the one of the router.
    pub link: Option<LinkIndex>,
    /// Source address of packets of this host that take it.
    pub source: Option<IpAddr>,
    /// Which of several routes to the same network: the one with the least metric.
    pub metric: u32,
    /// Routing table.
    pub table: u32,
    /// IPv4: how far away the destination is; `None`: the link without a router, everywhere with one.
    pub scope: Option<Scope>,
    /// Largest packet that it takes, in octets.
    pub mtu: Option<u32>,
    /// The router is on the link whatever the addresses of this host say.
    pub onlink: bool,
}

/// A rule of ours, marked with [`PROTOCOL`]: which routing table a packet is looked up in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Family of the packets.
    pub ipv6: bool,
    /// Rules are asked in this order, from 1 on; the kernel's own are 0, 32766 and 32767.
    pub priority: u32,
    /// Network that packets come from.
    pub from: Option<Address>,
    /// Network that they go to.
    pub to: Option<Address>,
    /// Interface that they come in on.
    pub iif: Option<String>,
    /// Interface that the sending socket is bound to.
    pub oif: Option<String>,
    /// Their mark, and which bits of it count.
    pub fwmark: Option<(u32, u32)>,
    /// Table that they are looked up in, or what becomes of them instead.
    pub action: Result<u32, Denial>,
}

impl Route {
    pub(crate) fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let is_ipv4 = self.to.ip.is_ipv4();
        message.header.address_family = family(!is_ipv4);
        message.header.destination_prefix_length = self.to.prefix_len;
        message.header.protocol = RouteProtocol::from(PROTOCOL);
        message.header.kind = match self.denial {
            None => RouteType::Unicast,
            Some(Denial::Blackhole) => RouteType::BlackHole,
            Some(Denial::Unreachable) => RouteType::Unreachable,
            Some(Denial::Prohibit) => RouteType::Prohibit,
        };
        let near = is_ipv4 && self.denial.is_none() && self.via.is_none();
        let scope = self.scope.unwrap_or(if near { Scope::Link } else { Scope::Global });
        message.header.scope = RouteScope::from(scope.number());
        if self.onlink {
            message.header.flags = RouteFlags::Onlink;
        }
        let attributes = &mut message.attributes;
        if self.to.prefix_len > 0 {
            attributes.push(RouteAttribute::Destination(address(self.to.ip)));
        }
        attributes.push(RouteAttribute::Table(self.table));
        attributes.push(RouteAttribute::Priority(self.metric));
        attributes.extend(self.via.map(|via| RouteAttribute::Gateway(address(via))));
        attributes.extend(self.link.map(|link| RouteAttribute::Oif(link.get())));
        attributes.extend(self.source.map(|source| RouteAttribute::PrefSource(address(source))));
        attributes.extend(self.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
        message
    }
}

impl Rule {
    pub(crate) fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = family(self.ipv6);
        message.header.action = match self.action {
            Ok(_) => RuleAction::ToTable,
            Err(Denial::Blackhole) => RuleAction::Blackhole,
            Err(Denial::Unreachable) => RuleAction::Unreachable,
            Err(Denial::Prohibit) => RuleAction::Prohibit,
        };
        let attributes = &mut message.attributes;
        attributes.push(RuleAttribute::Priority(self.priority));
        attributes.push(RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
        attributes.extend(self.action.ok().map(RuleAttribute::Table));
        if let Some(from) = self.from {
            message.header.src_len = from.prefix_len;
            attributes.push(RuleAttribute::Source(from.ip));
        }
        if let Some(to) = self.to {
            message.header.dst_len = to.prefix_len;
            attributes.push(RuleAttribute::Destination(to.ip));
        }
        attributes.extend(self.iif.clone().map(RuleAttribute::Iifname));
        attributes.extend(self.oif.clone().map(RuleAttribute::Oifname));
        if let Some((mark, mask)) = self.fwmark {
            attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
        }
        message
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        })
    }
}

/// As `ip route` would take it, without what is usual; the link by its number.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(denial) = self.denial {
            write!(f, "{denial} ")?;
        }
        write!(f, "{}", self.to)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(link) = self.link {
            write!(f, " on link {link}")?;
        }
        write!(f, " in table {} with metric {}", self.table, self.metric)
    }
}

/// As `ip rule` would take it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.priority)?;
        match self.from {
            Some(from) => write!(f, " from {from}")?,
            None => f.write_str(" from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some((mark, mask)) = self.fwmark {
            write!(f, " fwmark {mark:#x}/{mask:#x}")?;
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(oif) = &self.oif {
            write!(f, " oif {oif}")?;
        }
        match self.action {
            Ok(table) => write!(f, " lookup {table}"),
            Err(denial) => write!(f, " {denial}"),
        }
    }
}

/// A route or rule with our mark, as the kernel described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOver {
    /// A route.
    Route(Box<RouteMessage>),
    /// A rule.
    Rule(Box<RuleMessage>),
}

impl LeftOver {
    /// Reads the payload of an `RTM_NEWROUTE` message; `None`: it does not carry our mark.
    pub(crate) fn parse_route(payload: &[u8]) -> Result<Option<Self>, String> {
        /// Where `struct rtmsg` has the protocol.
        const PROTOCOL_AT: usize = 5;
        if payload.get(PROTOCOL_AT) != Some(&PROTOCOL) {
            return Ok(None);
        }
        let message = RouteMessage::parse(payload).map_err(|error| error.to_string())?;
        Ok(Some(Self::Route(Box::new(message))))
    }

    /// Reads the payload of an `RTM_NEWRULE` message; `None`: it does not carry our mark.
    pub(crate) fn parse_rule(payload: &[u8]) -> Result<Option<Self>, String> {
        let message = RuleMessage::parse(payload).map_err(|error| error.to_string())?;
        let mark = RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL));
        Ok(message.attributes.contains(&mark).then(|| Self::Rule(Box::new(message))))
    }
}

impl fmt::Display for LeftOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Route(_) => "a route",
            Self::Rule(_) => "a rule",
        })
    }
}

fn family(ipv6: bool) -> AddressFamily {
    if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

fn address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}
