//! What `nft -j list ruleset` prints (libnftables-json(5)).

use serde_json::Value;
use vrrp_proto::Family;

use super::rules::{
    Chain, Condition, Hook, Layer, Network, Protocol, Rule, Ruleset, Target, Way, protocol_number,
};

/// A condition that cannot be judged.
const UNKNOWN: Condition = Condition::Unknown { about: None };

/// Reads a ruleset. What it cannot judge it keeps as such.
pub(super) fn parse(json: &str) -> Result<Ruleset, String> {
    let whole: Value =
        serde_json::from_str(json).map_err(|error| format!("nft -j prints no JSON: {error}"))?;
    let objects = whole["nftables"].as_array().ok_or("nft -j prints no ruleset")?;
    let mut ruleset = Ruleset::default();
    for object in objects {
        if let Some(key) = key(&object["chain"], "name") {
            ruleset.chains.entry(key).or_default().clone_from(&chain(&object["chain"]));
        } else if let Some(key) = key(&object["rule"], "chain") {
            ruleset.chains.entry(key.clone()).or_default().rules.extend(rules(&object["rule"], &key));
        }
    }
    Ok(ruleset)
}

/// `inet filter input`: family, table and chain.
fn key(object: &Value, chain: &str) -> Option<String> {
    let word = |name: &str| object[name].as_str();
    Some(format!("{} {} {}", word("family")?, word("table")?, word(chain)?))
}

fn chain(object: &Value) -> Chain {
    let layer = match object["family"].as_str() {
        Some("ip") => Some(Layer::Ip(Family::Ipv4)),
        Some("ip6") => Some(Layer::Ip(Family::Ipv6)),
        Some("inet") => Some(Layer::Inet),
        Some("arp") => Some(Layer::Arp),
        Some("netdev") => Some(Layer::Link),
        _ => None,
    };
    let way = match object["hook"].as_str() {
        Some("ingress" | "prerouting" | "input") => Some(Way::In),
        Some("egress" | "output" | "postrouting") => Some(Way::Out),
        _ => None,
    };
    let hook = way.zip(layer).map(|(way, layer)| Hook { way, layer });
    let devices = items(&object["dev"]).iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    Chain { hook, devices, drops_by_policy: object["policy"] == "drop", rules: Vec::new() }
}

/// A rule, or the many that a map of verdicts stands for.
fn rules(object: &Value, chain: &str) -> Vec<Rule> {
    let handle = &object["handle"];
    let mut rule = Rule {
        conditions: Vec::new(),
        target: Target::Continue,
        shown: format!("nft rule in {chain} (handle {handle})"),
    };
    for statement in object["expr"].as_array().into_iter().flatten() {
        let Some((word, value)) = statement.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        match word.as_str() {
            "match" => rule.conditions.push(condition(value)),
            "vmap" => return mapped(object, &rule, value),
            "xt" => rule.conditions.extend(extension(value)),
            // A packet that is over a limit goes on; one below it is dropped or accepted.
            "limit" => rule.conditions.push(UNKNOWN),
            "queue" => {
                rule.target = Target::Drop;
                rule.conditions.push(UNKNOWN);
            }
            _ => rule.target = verdict(object, word, value).unwrap_or(rule.target),
        }
    }
    vec![rule]
}

/// `ct state vmap { established : accept, invalid : drop }`: a rule for each entry.
fn mapped(object: &Value, rule: &Rule, map: &Value) -> Vec<Rule> {
    let entries = map["data"]["set"].as_array();
    let Some(entries) = entries else {
        // A named map: it may do anything.
        let conditions = [&rule.conditions[..], &[UNKNOWN]].concat();
        return vec![Rule { conditions, target: Target::Return, ..rule.clone() }];
    };
    let entry = |entry: &Value| {
        let (word, value) = entry[1].as_object()?.iter().next()?;
        let matched = serde_json::json!({ "op": "in", "left": map["key"], "right": entry[0] });
        let conditions = [&rule.conditions[..], &[condition(&matched)]].concat();
        Some(Rule { conditions, target: verdict(object, word, value)?, ..rule.clone() })
    };
    entries.iter().filter_map(entry).collect()
}

fn verdict(rule: &Value, word: &str, value: &Value) -> Option<Target> {
    Some(match word {
        "accept" => Target::Accept,
        "drop" | "reject" => Target::Drop,
        "return" => Target::Return,
        "jump" => Target::Jump(called(rule, value)),
        "goto" => Target::Goto(called(rule, value)),
        _ => return None,
    })
}

/// A match of iptables that nft cannot show.
fn extension(value: &Value) -> Option<Condition> {
    match value["name"].as_str() {
        Some("comment") => None,
        // Its values are hidden; nearly always it is `--ctstate RELATED,ESTABLISHED -j ACCEPT`.
        Some("conntrack" | "state") => Some(Condition::New(false)),
        _ => Some(UNKNOWN),
    }
}

fn called(rule: &Value, value: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", word(&rule["family"]), word(&rule["table"]), word(&value["target"]))
}

fn condition(value: &Value) -> Condition {
    let negated = match value["op"].as_str() {
        Some("==" | "in") => false,
        Some("!=") => true,
        _ => return UNKNOWN,
    };
    let left = &value["left"];
    let right = items(&value["right"]);
    if let Some(field) = left["payload"]["field"].as_str() {
        return payload(left["payload"]["protocol"].as_str().unwrap_or_default(), field, &right, negated);
    }
    match (left["meta"]["key"].as_str(), left["ct"]["key"].as_str()) {
        (Some("l4proto"), _) => protocols(&right, negated),
        (Some("iifname" | "iif"), _) => interfaces(Way::In, &right, negated),
        (Some("oifname" | "oif"), _) => interfaces(Way::Out, &right, negated),
        (Some("nfproto"), _) => match right.first().and_then(|word| word.as_str()) {
            Some("ipv4") if !negated => Condition::Family(Family::Ipv4),
            Some("ipv6") if !negated => Condition::Family(Family::Ipv6),
            _ => UNKNOWN,
        },
        (Some("protocol"), _) => ether_type(&right, negated),
        // What is redirected is of a connection, and nothing of ours is.
        (_, Some("status")) => Condition::Elsewhere,
        (_, Some("state")) => {
            let new = right.iter().any(|word| matches!(word.as_str(), Some("new" | "untracked")));
            Condition::New(new != negated)
        }
        _ => UNKNOWN,
    }
}

/// A field of a header.
fn payload(protocol: &str, field: &str, right: &[Value], negated: bool) -> Condition {
    match (protocol, field) {
        ("ip", "protocol") | ("ip6", "nexthdr") => protocols(right, negated),
        ("ip" | "ip6", "saddr" | "daddr") => {
            let networks: Option<Vec<Network>> = right.iter().map(network).collect();
            match networks {
                Some(any_of) => Condition::Address { is_source: field == "saddr", any_of, negated },
                None => UNKNOWN,
            }
        }
        ("ether", "type") => ether_type(right, negated),
        ("arp", _) => Condition::Unknown { about: Some(Protocol::Arp) },
        ("icmpv6", "type") => message_type(right, negated),
        ("tcp" | "udp" | "sctp" | "dccp" | "th" | "icmp", _) => Condition::Elsewhere,
        _ => UNKNOWN,
    }
}

/// `arp`, `ip` or `ip6`.
fn ether_type(right: &[Value], negated: bool) -> Condition {
    match right {
        [one] if !negated => match one.as_str() {
            Some("arp") => Condition::Arp,
            Some("ip") => Condition::Family(Family::Ipv4),
            Some("ip6") => Condition::Family(Family::Ipv6),
            _ => UNKNOWN,
        },
        _ => UNKNOWN,
    }
}

/// Kinds of ICMPv6: both of neighbour discovery, or others.
fn message_type(right: &[Value], negated: bool) -> Condition {
    const NEIGHBOURS: [&str; 2] = ["nd-neighbor-solicit", "nd-neighbor-advert"];
    let named = |name: &&str| right.iter().any(|word| word.as_str() == Some(name));
    match (NEIGHBOURS.iter().any(named), negated) {
        (true, false) => Condition::Protocol {
            any_of: Protocol::NeighbourDiscovery.number().into_iter().collect(),
            negated,
        },
        (false, false) => Condition::Elsewhere,
        (_, true) => Condition::Unknown { about: Some(Protocol::NeighbourDiscovery) },
    }
}

/// The values of a set, or the one value.
fn items(right: &Value) -> Vec<Value> {
    let list = right.as_array().or_else(|| right["set"].as_array());
    list.cloned().unwrap_or_else(|| vec![right.clone()])
}

fn protocols(right: &[Value], negated: bool) -> Condition {
    let number = |value: &Value| match value.as_str() {
        Some(word) => (!word.starts_with('@')).then(|| protocol_number(word)),
        None => value.as_u64().and_then(|number| u8::try_from(number).ok()),
    };
    match right.iter().map(number).collect() {
        Some(any_of) => Condition::Protocol { any_of, negated },
        None => UNKNOWN,
    }
}

fn interfaces(way: Way, right: &[Value], negated: bool) -> Condition {
    let names: Option<Vec<String>> = right.iter().map(|value| value.as_str().map(str::to_owned)).collect();
    match names.filter(|names| !names.iter().any(|name| name.starts_with('@'))) {
        Some(any_of) => Condition::Interface { way, any_of, negated },
        None => UNKNOWN,
    }
}

fn network(value: &Value) -> Option<Network> {
    let prefix = &value["prefix"];
    if let (Some(address), Some(bits)) = (prefix["addr"].as_str(), prefix["len"].as_u64()) {
        return Some(Network { address: address.parse().ok()?, bits: u32::try_from(bits).ok()? });
    }
    let address: std::net::IpAddr = value.as_str()?.parse().ok()?;
    Some(Network { address, bits: if address.is_ipv4() { 32 } else { 128 } })
}

#[cfg(test)]
mod tests;
