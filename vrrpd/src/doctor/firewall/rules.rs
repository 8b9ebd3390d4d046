//! Rules as far as they matter here, and the way of a packet through them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use vrrp_proto::Family;

/// Chains that call each other are followed so far.
const MOST_JUMPS: usize = 16;

/// Every chain by the name that jumps use.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruleset {
    /// The key has what makes a name unique: `inet filter input`.
    pub(super) chains: BTreeMap<String, Chain>,
}

/// A chain, and where packets enter it.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// A base chain's; others are only jumped to.
    pub(super) hook: Option<Hook>,
    /// The interfaces that a base chain of the family netdev is for; empty: all.
    pub(super) devices: Vec<String>,
    /// What becomes of a packet at the end of a base chain.
    pub(super) drops_by_policy: bool,
    pub(super) rules: Vec<Rule>,
}

/// Where a base chain sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) way: Way,
    pub(super) layer: Layer,
}

/// Which packets pass the chains of a family of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Ip(Family),
    /// Both families of IP.
    Inet,
    Arp,
    /// Everything on an interface.
    Link,
}

/// From the link or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "from",
            Self::Out => "to",
        })
    }
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Vrrp,
    Arp,
    NeighbourDiscovery,
}

impl Protocol {
    /// Number of the protocol above IP; none for ARP.
    pub(super) const fn number(self) -> Option<u8> {
        match self {
            Self::Vrrp => Some(112),
            Self::NeighbourDiscovery => Some(58),
            Self::Arp => None,
        }
    }
}

/// Number of a protocol that is named as in `/etc/protocols`; 0 for those that do not matter here.
pub(super) fn protocol_number(word: &str) -> u8 {
    match word {
        "vrrp" | "carp" => 112,
        "ipv6-icmp" | "icmpv6" => 58,
        other => other.parse().unwrap_or(0),
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vrrp => "protocol 112",
            Self::Arp => "ARP",
            Self::NeighbourDiscovery => "neighbour discovery",
        })
    }
}

/// A packet, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) protocol: Protocol,
    pub(super) way: Way,
    pub(super) family: Family,
    pub(super) interface: String,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: Option<IpAddr>,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    /// By this rule or policy.
    Dropped {
        rule: String,
    },
    /// By this one perhaps: conditions that cannot be judged decide.
    Uncertain {
        rule: String,
    },
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) target: Target,
    /// How it is named in a message.
    pub(super) shown: String,
}

/// What is done with a packet that meets every condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Accept,
    Drop,
    /// Key of the chain; back again at its end.
    Jump(String),
    /// Key of the chain; not back again.
    Goto(String),
    Return,
    /// Counts, logs, marks.
    Continue,
}

/// A condition that can be judged, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// One of these protocols above IP.
    Protocol {
        any_of: Vec<u8>,
        negated: bool,
    },
    /// One of these interfaces, in this direction; a name may end in `*`.
    Interface {
        way: Way,
        any_of: Vec<String>,
        negated: bool,
    },
    /// Within one of these networks.
    Address {
        is_source: bool,
        any_of: Vec<Network>,
        negated: bool,
    },
    Family(Family),
    /// A packet that belongs to no known connection, as the first of each that matters here.
    New(bool),
    /// An ARP packet.
    Arp,
    /// Something that only packets of other protocols have.
    Elsewhere,
    /// Something that cannot be judged, about packets of this protocol or of any.
    Unknown {
        about: Option<Protocol>,
    },
}

/// An address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) address: IpAddr,
    pub(super) bits: u32,
}

impl Network {
    pub(super) fn has(self, ip: IpAddr) -> bool {
        let differs = match (self.address, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
            _ => return false,
        };
        differs.leading_zeros() >= self.bits || self.bits == 0
    }
}

/// Whether a packet meets a condition; `None`: it cannot be told.
type Met = Option<bool>;

impl Condition {
    fn met(&self, packet: &Packet) -> Met {
        match self {
            Self::Protocol { any_of, negated } => {
                let number = packet.protocol.number();
                Some(number.is_some_and(|number| any_of.contains(&number)) != *negated)
            }
            Self::Interface { way, .. } if *way != packet.way => Some(false),
            Self::Interface { any_of, negated, .. } => {
                let is = |name: &String| match name.strip_suffix(['*', '+']) {
                    Some(start) => packet.interface.starts_with(start),
                    None => packet.interface == *name,
                };
                Some(any_of.iter().any(is) != *negated)
            }
            Self::Address { is_source, any_of, negated } => {
                let address = if *is_source { packet.source } else { packet.destination };
                address.map(|address| any_of.iter().any(|network| network.has(address)) != *negated)
            }
            Self::Family(family) => Some(packet.protocol != Protocol::Arp && packet.family == *family),
            Self::New(new) => Some(*new),
            Self::Arp => Some(packet.protocol == Protocol::Arp),
            Self::Elsewhere => Some(false),
            Self::Unknown { about: Some(about) } if *about != packet.protocol => Some(false),
            Self::Unknown { .. } => None,
        }
    }
}

impl Hook {
    fn sees(self, packet: &Packet) -> bool {
        let layer = match self.layer {
            Layer::Ip(family) => packet.protocol != Protocol::Arp && packet.family == family,
            Layer::Inet => packet.protocol != Protocol::Arp,
            Layer::Arp => packet.protocol == Protocol::Arp,
            Layer::Link => true,
        };
        layer && self.way == packet.way
    }
}

/// Where a chain has led to.
enum Outcome {
    Accepted,
    Dropped(String),
    /// Its end, or a return.
    Ended,
}

impl Ruleset {
    pub(super) fn merge(&mut self, other: Self) {
        self.chains.extend(other.chains);
    }

    /// A packet has to pass every base chain that sees it.
    pub(super) fn fate(&self, packet: &Packet) -> Fate {
        let mut worst = Fate::Passes;
        for (name, chain) in &self.chains {
            let elsewhere = !chain.devices.is_empty() && !chain.devices.contains(&packet.interface);
            if elsewhere || !chain.hook.is_some_and(|hook| hook.sees(packet)) {
                continue;
            }
            let mut doubt = None;
            let outcome = match self.walk(chain, packet, &mut doubt, MOST_JUMPS) {
                Outcome::Ended if chain.drops_by_policy => Outcome::Dropped(format!("policy drop of {name}")),
                outcome => outcome,
            };
            match (outcome, doubt) {
                (Outcome::Dropped(rule), None) => return Fate::Dropped { rule },
                (Outcome::Dropped(rule), Some(_)) => worst = Fate::Uncertain { rule },
                (_, Some(Doubt::Drop(rule))) => worst = Fate::Uncertain { rule },
                _ => {}
            }
        }
        worst
    }

    fn walk(&self, chain: &Chain, packet: &Packet, doubt: &mut Option<Doubt>, jumps: usize) -> Outcome {
        for rule in &chain.rules {
            let met = rule.met(packet);
            match (met, &rule.target) {
                (Some(false), _) | (_, Target::Continue) => {}
                (Some(true), Target::Accept) => return Outcome::Accepted,
                (Some(true), Target::Drop) => return Outcome::Dropped(rule.shown.clone()),
                (Some(true), Target::Return) => return Outcome::Ended,
                (Some(true), Target::Jump(to) | Target::Goto(to)) => {
                    let called = self.chains.get(to).filter(|_| jumps > 0);
                    let led = called.map_or(Outcome::Ended, |to| self.walk(to, packet, doubt, jumps - 1));
                    match led {
                        Outcome::Ended if matches!(rule.target, Target::Jump(_)) => {}
                        led => return led,
                    }
                }
                // It may be dropped here: only said of rules that are about this protocol, as a block
                // list of addresses is in many firewalls and concerns strangers.
                (None, Target::Drop) => {
                    if rule.names(packet.protocol) {
                        doubt.get_or_insert_with(|| Doubt::Drop(rule.shown.clone()));
                    }
                }
                (None, Target::Accept | Target::Return | Target::Jump(_) | Target::Goto(_)) => {
                    doubt.get_or_insert(Doubt::Other);
                }
            }
        }
        Outcome::Ended
    }
}

/// A rule that could not be judged.
enum Doubt {
    /// It would have dropped the packet.
    Drop(String),
    /// It would have let it pass, or sent it elsewhere.
    Other,
}

impl Rule {
    /// Does the packet meet all of its conditions? One that it does not meet decides.
    fn met(&self, packet: &Packet) -> Met {
        let all: Vec<Met> = self.conditions.iter().map(|condition| condition.met(packet)).collect();
        if all.contains(&Some(false)) {
            return Some(false);
        }
        (!all.contains(&None)).then_some(true)
    }

    /// Is it about this protocol and not about any?
    fn names(&self, protocol: Protocol) -> bool {
        let number = protocol.number();
        self.conditions.iter().any(|condition| match condition {
            Condition::Protocol { any_of, negated: false } => {
                number.is_some_and(|number| any_of.contains(&number))
            }
            Condition::Arp => protocol == Protocol::Arp,
            Condition::Unknown { about } => *about == Some(protocol),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vrrp() -> Packet {
        Packet {
            protocol: Protocol::Vrrp,
            way: Way::In,
            family: Family::Ipv4,
            interface: "eth0".to_owned(),
            source: Some("192.0.2.194".parse().expect("an address")),
            destination: Some("224.0.0.18".parse().expect("an address")),
        }
    }

    fn rule(conditions: Vec<Condition>, target: Target) -> Rule {
        Rule { conditions, target, shown: "the rule".to_owned() }
    }

    fn fate(drops_by_policy: bool, rules: Vec<Rule>) -> Fate {
        let hook = Some(Hook { way: Way::In, layer: Layer::Inet });
        let chain = Chain { hook, drops_by_policy, rules, ..Chain::default() };
        Ruleset { chains: BTreeMap::from([("inet filter input".to_owned(), chain)]) }.fate(&vrrp())
    }

    fn protocol(number: u8) -> Condition {
        Condition::Protocol { any_of: vec![number], negated: false }
    }

    #[test]
    fn the_first_rule_that_decides_counts() {
        let dropped = Fate::Dropped { rule: "the rule".to_owned() };
        assert_eq!(fate(false, vec![rule(vec![protocol(112)], Target::Drop)]), dropped);
        let accept_first = vec![rule(vec![protocol(112)], Target::Accept), rule(vec![], Target::Drop)];
        assert_eq!(fate(true, accept_first), Fate::Passes);
        let other =
            vec![rule(vec![protocol(6)], Target::Accept), rule(vec![Condition::New(false)], Target::Accept)];
        assert_eq!(fate(true, other), Fate::Dropped { rule: "policy drop of inet filter input".to_owned() });
    }

    #[test]
    fn what_cannot_be_judged_is_uncertain() {
        let unknown = || Condition::Unknown { about: None };
        let maybe = vec![rule(vec![unknown()], Target::Accept)];
        assert!(matches!(fate(true, maybe), Fate::Uncertain { .. }));
        assert!(matches!(
            fate(false, vec![rule(vec![protocol(112), unknown()], Target::Drop)]),
            Fate::Uncertain { .. }
        ));
        let block_list = vec![rule(vec![unknown()], Target::Drop)];
        assert_eq!(fate(false, block_list), Fate::Passes, "a block list is not about us");
    }

    #[test]
    fn jumps_come_back_and_a_circle_ends() {
        let mut rules = Ruleset::default();
        let jump = |to: &str| rule(vec![], Target::Jump(to.to_owned()));
        let hook = Some(Hook { way: Way::In, layer: Layer::Ip(Family::Ipv4) });
        let base = Chain {
            hook,
            devices: Vec::new(),
            drops_by_policy: true,
            rules: vec![jump("a"), rule(vec![protocol(112)], Target::Accept)],
        };
        rules.chains.insert("base".to_owned(), base);
        rules.chains.insert("a".to_owned(), Chain { rules: vec![jump("a")], ..Chain::default() });
        assert_eq!(rules.fate(&vrrp()), Fate::Passes);
    }

    #[test]
    fn networks_are_compared_by_their_bits() {
        let network = |text: &str, bits| Network { address: text.parse().expect("an address"), bits };
        let ip: IpAddr = "192.0.2.194".parse().expect("an address");
        assert!(
            network("192.0.2.0", 24).has(ip)
                && network("0.0.0.0", 0).has(ip)
                && network("192.0.2.194", 32).has(ip)
        );
        assert!(
            !network("192.0.2.193", 32).has(ip)
                && !network("198.51.100.0", 24).has(ip)
                && !network("2001:db8::", 32).has(ip)
        );
    }
}
