use serde_json::json;

use super::super::rules::{Fate, Packet};
use super::*;

/// A field of a header, a key of the packet, a key of its connection.
fn field(protocol: &str, name: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": name } })
}

fn meta(key: &str) -> Value {
    json!({ "meta": { "key": key } })
}

fn ct(key: &str) -> Value {
    json!({ "ct": { "key": key } })
}

fn is(left: Value, right: Value) -> Value {
    json!({ "match": { "op": "==", "left": left, "right": right } })
}

/// `accept`, `drop`.
fn plain(verdict: &str) -> Value {
    json!({ verdict: null })
}

fn jump(chain: &str) -> Value {
    json!({ "jump": { "target": chain } })
}

fn reject() -> Value {
    json!({ "reject": { "type": "icmpx", "expr": "admin-prohibited" } })
}

fn from_network() -> Value {
    is(field("ip", "saddr"), json!({ "prefix": { "addr": "192.0.2.0", "len": 24 } }))
}

fn packet(protocol: Protocol, family: Family) -> Packet {
    let source = (protocol == Protocol::Vrrp).then(|| "192.0.2.194".parse().expect("an address"));
    Packet { protocol, way: Way::In, family, interface: "eth0".to_owned(), source, destination: None }
}

/// What becomes of a packet in a table with these rules: each the name of its chain and expressions.
/// The chain `c` has the keys of `base`, others are jumped to.
fn fate_of(packet: &Packet, table: &str, base: Value, rules: &[(&str, Value)]) -> Fate {
    let within = |chain: &str| json!({ "family": table, "table": "t", "name": chain, "chain": chain });
    let with = |mut object: Value, more: &Value| {
        let (object_keys, more) = (object.as_object_mut().expect("an object"), more.as_object());
        object_keys.extend(more.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        object
    };
    let mut objects = vec![json!({ "chain": with(within("c"), &base) })];
    for (handle, (chain, expressions)) in rules.iter().enumerate() {
        objects
            .push(json!({ "rule": with(within(chain), &json!({ "handle": handle, "expr": expressions })) }));
    }
    parse(&json!({ "nftables": objects }).to_string()).expect("what nft prints").fate(packet)
}

/// What becomes of VRRP at the hook input, by the rules of chain `c` and of chain `zone`.
fn fate(policy: &str, rules: &[(&str, Value)]) -> Fate {
    let base = json!({ "type": "filter", "hook": "input", "prio": 0, "policy": policy });
    fate_of(&packet(Protocol::Vrrp, Family::Ipv4), "inet", base, rules)
}

fn drops(fate: &Fate, by: &str) -> bool {
    matches!(fate, Fate::Dropped { rule } if rule.contains(by))
}

fn number() -> Value {
    is(field("ip", "protocol"), json!(112))
}

#[test]
fn a_firewall_that_closes_with_reject_drops_what_it_does_not_name() {
    let established = is(ct("state"), json!({ "set": ["established", "related"] }));
    let lo = is(meta("iifname"), json!("lo"));
    let mut rules = vec![
        ("c", json!([established, plain("accept")])),
        ("c", json!([lo, plain("accept")])),
        ("c", json!([jump("zone")])),
        ("c", json!([reject()])),
    ];
    let closed = fate("accept", &rules);
    assert!(drops(&closed, "inet t c (handle 3)"), "{closed:?}");
    rules.push(("zone", json!([number(), from_network(), plain("accept")])));
    assert_eq!(fate("accept", &rules), Fate::Passes, "the zone accepts it");
    let by_policy = fate("drop", &rules[..2]);
    assert!(drops(&by_policy, "policy drop of inet t c"), "{by_policy:?}");
}

#[test]
fn protocols_are_words_numbers_and_sets() {
    let counter = json!({ "counter": { "packets": 1, "bytes": 2 } });
    for vrrp in [number(), is(meta("l4proto"), json!({ "set": ["tcp", "vrrp"] }))] {
        let found = fate("accept", &[("c", json!([vrrp, counter, plain("drop")]))]);
        assert!(drops(&found, "handle 0"), "{vrrp}: {found:?}");
    }
    let tcp = is(field("tcp", "dport"), json!(22));
    assert_eq!(fate("accept", &[("c", json!([tcp, plain("drop")]))]), Fate::Passes);
}

#[test]
fn what_nobody_can_judge_is_uncertain_where_it_is_about_us() {
    let blocked = is(field("ip", "saddr"), json!("@blocked"));
    let block_list = fate("accept", &[("c", json!([blocked, plain("drop")]))]);
    assert_eq!(block_list, Fate::Passes, "a block list concerns others");
    let recent = json!({ "xt": { "type": "match", "name": "recent" } });
    let found = fate("accept", &[("c", json!([number(), recent, plain("drop")]))]);
    assert_eq!(found, Fate::Uncertain { rule: "nft rule in inet t c (handle 0)".to_owned() });
    let named_map = json!({ "vmap": { "key": meta("iifname"), "data": "@zones" } });
    assert!(matches!(fate("drop", &[("c", json!([named_map]))]), Fate::Uncertain { .. }));
}

#[test]
fn connections_and_redirects_are_not_what_is_asked_about() {
    let states = json!({ "set": [["invalid", plain("drop")], ["established", plain("accept")]] });
    let rules = [
        ("c", json!([is(ct("status"), json!("dnat")), plain("accept")])),
        ("c", json!([{ "vmap": { "key": ct("state"), "data": states } }])),
        ("c", json!([{ "xt": { "type": "match", "name": "conntrack" } }, plain("accept")])),
        ("c", json!([reject()])),
    ];
    let found = fate("accept", &rules);
    assert!(drops(&found, "handle 3"), "{found:?}");
}

#[test]
fn a_map_of_verdicts_is_followed() {
    let zones = json!({ "set": [["eth9", plain("drop")], ["eth0", jump("zone")]] });
    let rules = [
        ("c", json!([{ "vmap": { "key": meta("iifname"), "data": zones } }])),
        ("zone", json!([number(), plain("accept")])),
    ];
    assert_eq!(fate("drop", &rules), Fate::Passes);
}

#[test]
fn arp_has_rules_of_its_own() {
    let input = || json!({ "hook": "input" });
    let arp = |table, base, rule| fate_of(&packet(Protocol::Arp, Family::Ipv4), table, base, &[("c", rule)]);
    assert!(matches!(arp("arp", input(), json!([plain("drop")])), Fate::Dropped { .. }));
    assert_eq!(arp("inet", input(), json!([plain("drop")])), Fate::Passes, "no ARP goes there");
    let request = is(field("arp", "operation"), json!("request"));
    assert!(matches!(arp("arp", input(), json!([request, plain("drop")])), Fate::Uncertain { .. }));
    let by_type = || json!([is(meta("protocol"), json!("arp")), plain("drop")]);
    let ingress = |device: &str| json!({ "hook": "ingress", "dev": device });
    assert!(matches!(arp("netdev", ingress("eth0"), by_type()), Fate::Dropped { .. }));
    assert_eq!(arp("netdev", ingress("eth9"), by_type()), Fate::Passes);
}

#[test]
fn neighbour_discovery_is_two_kinds_of_icmpv6() {
    let dropped = |kind: &str| {
        let kinds = is(field("icmpv6", "type"), json!({ "set": [kind, "mld-listener-query"] }));
        let packet = packet(Protocol::NeighbourDiscovery, Family::Ipv6);
        fate_of(&packet, "ip6", json!({ "hook": "input" }), &[("c", json!([kinds, plain("drop")]))])
    };
    assert!(matches!(dropped("nd-neighbor-solicit"), Fate::Dropped { .. }));
    assert!(matches!(dropped("nd-neighbor-advert"), Fate::Dropped { .. }));
    assert_eq!(dropped("echo-request"), Fate::Passes);
}

#[test]
fn what_is_no_ruleset_is_an_error_and_what_is_unknown_is_skipped() {
    assert!(parse("").is_err() && parse("{}").is_err() && parse("[1]").is_err());
    let strange = json!({ "nftables": [7, { "rule": 3 }, { "chain": { "family": 1 } }] });
    assert!(parse(&strange.to_string()).is_ok());
}
