//! What `iptables-save` prints, for the legacy form that nft does not show.

use vrrp_proto::Family;

use super::rules::{Chain, Condition, Hook, Layer, Network, Rule, Ruleset, Target, Way, protocol_number};

/// Reads the table `filter` and what else drops; lines that make no sense are passed over.
pub(super) fn parse(text: &str, family: Family) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut table = "filter";
    let key = |table: &str, chain: &str| format!("iptables {family} {table} {chain}");
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match (line.as_bytes().first(), words.next()) {
            (Some(b'*'), Some(name)) => table = &name[1..],
            (Some(b':'), Some(name)) => {
                let name = &name[1..];
                let policy = words.next().unwrap_or_default();
                let way = match name {
                    "PREROUTING" | "INPUT" => Some(Way::In),
                    "OUTPUT" | "POSTROUTING" => Some(Way::Out),
                    _ => None,
                };
                // Only the first packet of a connection passes nat, and nothing is dropped there.
                let way = way.filter(|_| table != "nat");
                let hook = way.map(|way| Hook { way, layer: Layer::Ip(family) });
                let chain = Chain { hook, drops_by_policy: policy == "DROP", ..Chain::default() };
                ruleset.chains.insert(key(table, name), chain);
            }
            (Some(b'-'), Some("-A")) => {
                let Some(chain) = words.next() else { continue };
                let mut rule = rule(words, |to| key(table, to));
                rule.shown = format!("iptables rule \"{line}\"");
                ruleset.chains.entry(key(table, chain)).or_default().rules.push(rule);
            }
            _ => {}
        }
    }
    ruleset
}

fn rule<'a>(mut words: impl Iterator<Item = &'a str>, key: impl Fn(&str) -> String) -> Rule {
    let mut rule = Rule { conditions: Vec::new(), target: Target::Continue, shown: String::new() };
    let mut negated = false;
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
            continue;
        }
        let condition = match word {
            "-p" => words
                .next()
                .map(|protocol| Condition::Protocol { any_of: vec![protocol_number(protocol)], negated }),
            "-i" => interface(Way::In, words.next(), negated),
            "-o" => interface(Way::Out, words.next(), negated),
            "-s" => address(true, words.next(), negated),
            "-d" => address(false, words.next(), negated),
            "--ctstate" | "--state" => {
                let new =
                    words.next().is_some_and(|states| states.contains("NEW") || states.contains("UNTRACKED"));
                Some(Condition::New(new != negated))
            }
            // The module is named before what it looks at.
            "-m" => match words.next() {
                Some("conntrack" | "state" | "comment" | "tcp" | "udp") => None,
                _ => Some(Condition::Unknown { about: None }),
            },
            "--comment" | "--log-prefix" => {
                skip_text(&mut words);
                None
            }
            "-j" | "-g" => {
                rule.target = target(word, words.next().unwrap_or_default(), &key);
                None
            }
            _ => None,
        };
        rule.conditions.extend(condition);
        negated = false;
    }
    rule
}

/// A text, in quotes when it has blanks, which may look like anything.
fn skip_text<'a>(words: &mut impl Iterator<Item = &'a str>) {
    let first = words.next().unwrap_or_default();
    let mut is_open = first.starts_with('"') && (first.len() == 1 || !first.ends_with('"'));
    while is_open {
        is_open = words.next().is_some_and(|word| !word.ends_with('"'));
    }
}

fn target(option: &str, word: &str, key: &impl Fn(&str) -> String) -> Target {
    match word {
        "ACCEPT" => Target::Accept,
        "DROP" | "REJECT" => Target::Drop,
        "RETURN" => Target::Return,
        chain if option == "-g" => Target::Goto(key(chain)),
        // A target that is no chain, such as LOG, leads nowhere and comes back.
        chain => Target::Jump(key(chain)),
    }
}

fn interface(way: Way, name: Option<&str>, negated: bool) -> Option<Condition> {
    Some(Condition::Interface { way, any_of: vec![name?.to_owned()], negated })
}

fn address(is_source: bool, network: Option<&str>, negated: bool) -> Option<Condition> {
    let (address, bits) = network?.split_once('/')?;
    let any_of = vec![Network { address: address.parse().ok()?, bits: bits.parse().ok()? }];
    Some(Condition::Address { is_source, any_of, negated })
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Fate, Packet, Protocol};
    use super::*;

    fn fate(rules: &str) -> Fate {
        let text = format!(
            "# Generated\n*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:zone - [0:0]\n{rules}\nCOMMIT\n"
        );
        parse(&text, Family::Ipv4).fate(&Packet {
            protocol: Protocol::Vrrp,
            way: Way::In,
            family: Family::Ipv4,
            interface: "eth0".to_owned(),
            source: Some("192.0.2.194".parse().expect("an address")),
            destination: None,
        })
    }

    #[test]
    fn a_chain_is_followed_to_the_policy() {
        let established =
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT";
        assert!(matches!(fate(established), Fate::Dropped { rule } if rule.contains("policy")));
        for open in [
            "-A INPUT -p vrrp -j ACCEPT",
            "-A INPUT -s 192.0.2.194/32 -p 112 -j ACCEPT",
            "-A INPUT -j zone\n-A zone -i eth+ -p 112 -j ACCEPT",
            "-A INPUT ! -p tcp -j ACCEPT",
            "-A INPUT -p 112 -m comment --comment \"peer, not -j DROP\" -j ACCEPT",
        ] {
            assert_eq!(fate(open), Fate::Passes, "{open}");
        }
        let dropped = fate("-A INPUT -j LOG --log-prefix x\n-A INPUT -p 112 -j DROP\n-A INPUT -j ACCEPT");
        assert_eq!(dropped, Fate::Dropped { rule: "iptables rule \"-A INPUT -p 112 -j DROP\"".to_owned() });
        assert!(matches!(fate("-A INPUT -m set --match-set x src -j ACCEPT"), Fate::Uncertain { .. }));
    }
}
