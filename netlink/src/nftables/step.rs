//! What can be done to a table, and how each step is put into messages.

use std::borrow::Cow;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, Hook as HookAttribute, HookNumber, InetHookNumber,
    ListAttribute, NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetElementAttribute,
    SetElementList, SetElementMessage, SetFlags, SetMessage, TableAttribute, TableFlags, TableMessage,
    Verdict, VerdictAttribute,
};

use super::Family;
use super::rule::{self, Field, Match, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_JUMP, VERDICT_RETURN};

/// One change of a table. What is there already is no error, but for a rule, which is added again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes the table.
    AddTable {
        /// Nobody but this socket can change it, and it goes with the socket (Linux 5.12; before:
        /// `EINVAL`). A table that is there without an owner is refused.
        owned: bool,
    },
    /// Removes the table with all that is in it.
    RemoveTable,
    /// Makes a chain that sees packets before any other chain at the same place does that has a
    /// higher `priority`. What it does not drop goes on to the others.
    AddChain {
        /// Its name.
        chain: &'static str,
        /// Which packets it sees.
        hook: Hook,
        /// Its place among the chains of all tables; -300 is before connections are tracked and
        /// before any usual filter.
        priority: i32,
    },
    /// Makes a set.
    AddSet {
        /// Its name.
        set: &'static str,
        /// What an element is made of.
        key: &'static [Field],
    },
    /// Makes a set, each element of which has a time after which it is in it no more (Linux 4.1).
    AddTimedSet {
        /// Its name.
        set: &'static str,
        /// What an element is made of.
        key: &'static [Field],
    },
    /// Makes a map from elements to chains ([`Match::Mapped`]).
    AddMap {
        /// Its name.
        map: &'static str,
        /// What an element is made of.
        key: &'static [Field],
    },
    /// Makes a chain for packets that a map sends there. What it does not drop comes back.
    AddInnerChain {
        /// Its name.
        chain: String,
    },
    /// Appends a rule: what becomes of a packet that meets all the conditions.
    AddRule {
        /// Name of the chain.
        chain: Cow<'static, str>,
        /// The conditions.
        matches: Vec<Match>,
        /// What becomes of it.
        fate: Fate,
    },
    /// Adds elements to a set.
    AddElements {
        /// Name of the set.
        set: &'static str,
        /// The elements; those that are there already stay.
        elements: Vec<Element>,
    },
    /// Adds elements to a map. The kernel then walks through all that are in it, lest they lead in a circle.
    MapElements {
        /// Name of the map.
        map: &'static str,
        /// The elements; one that is there must lead to the same chain.
        elements: Vec<Element>,
        /// Where they lead.
        chain: String,
    },
    /// Has elements in a set for so long from now on, whether they are there or not. The kernel counts in its own
    /// ticks, which stand still while the machine is suspended.
    Renew {
        /// Name of the set.
        set: &'static str,
        /// Each element, and for how long, in milliseconds, from 1 on.
        elements: Vec<(Element, u64)>,
    },
    /// Removes elements from a set, whether they are there or not.
    Expire {
        /// Name of the set.
        set: &'static str,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Removes elements from a set or map.
    RemoveElements {
        /// Name of the set or map.
        set: &'static str,
        /// The elements, each of which must be there.
        elements: Vec<Element>,
    },
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on to the chains of other tables.
    Accept,
    /// It goes nowhere.
    Drop,
    /// It comes back from an inner chain.
    Return,
    /// It goes through this inner chain.
    Jump(&'static str),
    /// What [`Match::Mapped`] says.
    Mapped,
}

impl Fate {
    fn verdict(self) -> Option<Vec<VerdictAttribute>> {
        match self {
            Self::Accept => Some(verdict(VERDICT_ACCEPT, None)),
            Self::Drop => Some(verdict(VERDICT_DROP, None)),
            Self::Return => Some(verdict(VERDICT_RETURN, None)),
            Self::Jump(chain) => Some(verdict(VERDICT_JUMP, Some(chain))),
            Self::Mapped => None,
        }
    }
}

/// Where a chain sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// All that come in, before it is known where they go. Not in tables of ARP.
    Prerouting,
    /// Those for this host itself. In tables of ARP: all that come in.
    Input,
    /// Those that this host itself sends, but not those of packet sockets.
    Output,
}

impl Hook {
    fn number(self, family: Family) -> u32 {
        match (family, self) {
            // `NF_ARP_OUT` and `NF_ARP_IN`
            (Family::Arp, Self::Output) => 1,
            (Family::Arp, _) => 0,
            (Family::Inet, Self::Prerouting) => InetHookNumber::PreRouting.into(),
            (Family::Inet, Self::Input) => InetHookNumber::LocalIn.into(),
            (Family::Inet, Self::Output) => InetHookNumber::LocalOut.into(),
        }
    }
}

/// An element of a set: the values of its fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element(Vec<u8>);

impl From<IpAddr> for Element {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        })
    }
}

impl Element {
    /// A number ([`Field::Number`]).
    pub fn number(number: u32) -> Self {
        Self(number.to_ne_bytes().to_vec())
    }

    /// The name of an interface, and then an address. No interface has a name of more than 15 bytes.
    pub fn on_interface(name: &str, address: IpAddr) -> Self {
        let mut octets = name.as_bytes().to_vec();
        octets.resize(libc::IFNAMSIZ, 0);
        octets.extend(Self::from(address).0);
        Self(octets)
    }
}

impl Step {
    /// The sentence's second half: "cannot ...".
    pub(super) fn operation(&self, family: Family, table: &str) -> String {
        let table = format!("{family} {table}");
        match self {
            Self::AddTable { .. } => format!("make the table {table}"),
            Self::RemoveTable => format!("remove the table {table}"),
            Self::AddChain { chain, .. } => format!("add the chain {chain} to the table {table}"),
            Self::AddSet { set, .. } => format!("add the set {set} to the table {table}"),
            Self::AddTimedSet { set, .. } => format!("add the set {set} to the table {table}"),
            Self::AddMap { map, .. } => format!("add the map {map} to the table {table}"),
            Self::AddInnerChain { chain } => format!("add the chain {chain} to the table {table}"),
            Self::AddRule { chain, .. } => format!("add a rule to {table} {chain}"),
            Self::AddElements { set, .. } => format!("add elements to the set {table} {set}"),
            Self::MapElements { map, .. } => format!("add elements to the map {table} {map}"),
            Self::Renew { set, .. } => format!("renew elements of the set {table} {set}"),
            Self::RemoveElements { set, .. } => format!("remove elements from the set {table} {set}"),
            Self::Expire { set, .. } => format!("remove elements from the set {table} {set}"),
        }
    }

    /// The messages for it, each with the flags of its header.
    pub(super) fn messages(&self, family: Family, table: &str) -> Vec<(u16, NfTablesMessage)> {
        use NfTablesMessage::{
            DeleteSetElement, DeleteTable, NewChain, NewRule, NewSet, NewSetElement, NewTable,
        };
        let name = || table.to_owned();
        match self {
            Self::AddTable { owned } => {
                let flags = if *owned { TableFlags::Owner } else { TableFlags::empty() };
                let attributes = vec![TableAttribute::Name(name()), TableAttribute::Flags(flags)];
                vec![(NLM_F_CREATE, NewTable(TableMessage { attributes }))]
            }
            Self::RemoveTable => {
                vec![(0, DeleteTable(TableMessage { attributes: vec![TableAttribute::Name(name())] }))]
            }
            Self::AddChain { chain, hook, priority } => {
                let number = HookAttribute::Number(HookNumber::Other(hook.number(family)));
                let attributes = vec![
                    ChainAttribute::Table(name()),
                    ChainAttribute::Name((*chain).to_owned()),
                    ChainAttribute::Hook(vec![number, HookAttribute::Priority(priority.cast_unsigned())]),
                    ChainAttribute::Policy(VERDICT_ACCEPT),
                    ChainAttribute::Type("filter".to_owned()),
                ];
                vec![(NLM_F_CREATE, NewChain(ChainMessage { attributes }))]
            }
            Self::AddSet { set, key } => {
                vec![(NLM_F_CREATE, NewSet(set_message(name(), set, key, Vec::new())))]
            }
            Self::AddTimedSet { set, key } => {
                let more = vec![
                    SetAttribute::Flags(SetFlags::Timeout),
                    SetAttribute::GarbageCollectionInterval(GARBAGE_MS),
                ];
                vec![(NLM_F_CREATE, NewSet(set_message(name(), set, key, more)))]
            }
            Self::AddMap { map, key } => {
                let more = vec![SetAttribute::Flags(SetFlags::Map), SetAttribute::DataType(VERDICT_TYPE)];
                vec![(NLM_F_CREATE, NewSet(set_message(name(), map, key, more)))]
            }
            Self::AddInnerChain { chain } => {
                let attributes = vec![ChainAttribute::Table(name()), ChainAttribute::Name(chain.clone())];
                vec![(NLM_F_CREATE, NewChain(ChainMessage { attributes }))]
            }
            Self::AddRule { chain, matches, fate } => {
                let attributes = vec![
                    RuleAttribute::Table(name()),
                    RuleAttribute::Chain(chain.clone().into_owned()),
                    RuleAttribute::Expressions(rule::expressions(matches, fate.verdict())),
                ];
                vec![(NLM_F_CREATE | NLM_F_APPEND, NewRule(RuleMessage { attributes }))]
            }
            Self::AddElements { set, elements } => elements
                .chunks(ELEMENTS_AT_ONCE)
                .map(|some| (NLM_F_CREATE, NewSetElement(set_elements(name(), set, some.iter().map(key)))))
                .collect(),
            Self::MapElements { map, elements, chain } => elements
                .chunks(ELEMENTS_AT_ONCE)
                .map(|some| {
                    let entries = some.iter().map(|element| entry(element, chain));
                    (NLM_F_CREATE, NewSetElement(set_elements(name(), map, entries)))
                })
                .collect(),
            Self::Renew { set, elements } => {
                let timed = |(element, timeout_ms): &(Element, u64)| {
                    let mut timed = key(element);
                    timed.push(SetElementAttribute::Timeout(*timeout_ms));
                    timed
                };
                let each = |some: &[(Element, u64)]| {
                    let again = set_elements(name(), set, some.iter().map(timed));
                    // To add what is there leaves its time as it is, to remove what is not there is refused.
                    let [add, remove] = gone(name(), set, some.iter().map(|(element, _)| element));
                    [add, remove, (NLM_F_CREATE, NewSetElement(again))]
                };
                elements.chunks(ELEMENTS_AT_ONCE).flat_map(each).collect()
            }
            Self::Expire { set, elements } => {
                elements.chunks(ELEMENTS_AT_ONCE).flat_map(|some| gone(name(), set, some)).collect()
            }
            Self::RemoveElements { set, elements } => elements
                .chunks(ELEMENTS_AT_ONCE)
                .map(|some| (0, DeleteSetElement(set_elements(name(), set, some.iter().map(key)))))
                .collect(),
        }
    }
}

fn set_message(table: String, set: &str, key: &[Field], more: Vec<SetAttribute>) -> SetMessage {
    let mut attributes = vec![
        SetAttribute::Table(table),
        SetAttribute::Name(set.to_owned()),
        SetAttribute::KeyType(rule::key_type(key)),
        SetAttribute::KeyLen(rule::key_len(key)),
        // The kernel wants one; sets are found by their names here.
        SetAttribute::Id(0),
    ];
    attributes.extend(more);
    SetMessage { attributes }
}

fn key(element: &Element) -> Vec<SetElementAttribute> {
    vec![SetElementAttribute::Key(DataAttribute::Value(element.0.clone()))]
}

fn entry(element: &Element, chain: &str) -> Vec<SetElementAttribute> {
    let mut entry = key(element);
    entry.push(SetElementAttribute::Data(DataAttribute::Verdict(verdict(VERDICT_JUMP, Some(chain)))));
    entry
}

fn verdict(code: u32, chain: Option<&str>) -> Vec<VerdictAttribute> {
    let chain = chain.map(|chain| VerdictAttribute::Chain(chain.to_owned()));
    std::iter::once(VerdictAttribute::Code(Verdict::Other(code))).chain(chain).collect()
}

/// Adds elements and removes them, whether they were there or not.
fn gone<'a>(
    table: String,
    set: &str,
    elements: impl IntoIterator<Item = &'a Element>,
) -> [(u16, NfTablesMessage); 2] {
    let elements = set_elements(table, set, elements.into_iter().map(key));
    [
        (NLM_F_CREATE, NfTablesMessage::NewSetElement(elements.clone())),
        (0, NfTablesMessage::DeleteSetElement(elements)),
    ]
}

fn set_elements(
    table: String,
    set: &str,
    elements: impl IntoIterator<Item = Vec<SetElementAttribute>>,
) -> SetElementMessage {
    let elements = elements.into_iter().map(ListAttribute::Element).collect();
    let attributes = vec![
        SetElementList::Table(table),
        SetElementList::Set(set.to_owned()),
        SetElementList::Elements(elements),
    ];
    SetElementMessage { attributes }
}

/// `NFT_DATA_VERDICT`
const VERDICT_TYPE: u32 = 0xffff_ff00;

/// How often the kernel throws away what nobody finds any more, in milliseconds: seldom, because it
/// is little.
const GARBAGE_MS: u32 = 60_000;

/// An attribute has 64 KiB at most, and an element takes 60 bytes of it.
const ELEMENTS_AT_ONCE: usize = 1000;

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NetlinkMessage, NetlinkSerializable};
    use netlink_packet_netfilter::{
        NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    };

    use super::*;
    use crate::wire::tests::hex;

    /// All but the header of netlink, of the only message.
    fn encoded(step: &Step) -> Vec<u8> {
        let mut messages = step.messages(Family::Inet, "vrrpd");
        let (_, inner) = messages.pop().expect("a message");
        assert!(messages.is_empty(), "one message only");
        let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
        let message = NetfilterMessage::new(header, NetfilterMessageInner::NfTables(inner));
        let mut bytes = vec![0; NetlinkSerializable::buffer_len(&message)];
        message.serialize(&mut bytes);
        bytes
    }

    const TABLE: &str = "01000000 0a000100 767272706400 0000";

    /// nft(8) 1.0.6 sends these bytes for `flags owner`.
    #[test]
    fn a_table_with_an_owner() {
        let expected = format!("{TABLE} 08000200 00000002");
        assert_eq!(encoded(&Step::AddTable { owned: true }), hex(&expected));
    }

    /// nft(8) 1.0.6 sends the same attributes for `type filter hook input priority -300; policy accept`.
    #[test]
    fn a_chain_for_what_comes_in() {
        let step = Step::AddChain { chain: "input", hook: Hook::Input, priority: -300 };
        let expected = format!(
            "{TABLE} 0a000300 696e70757400 0000
             14000480 08000100 00000001 08000200 fffffed4
             08000500 00000001  0b000700 66696c74657200 00"
        );
        assert_eq!(encoded(&step), hex(&expected));
    }

    /// nft(8) 1.0.6 sends the same type and length for `type ifname . ipv6_addr`.
    #[test]
    fn a_set_of_two_fields() {
        let key = &[Field::InputInterface, Field::Ipv6Destination];
        let expected = format!(
            "{TABLE} 09000200 69707636 00 000000
             08000400 00000a48  08000500 00000020  08000a00 00000000"
        );
        assert_eq!(encoded(&Step::AddSet { set: "ipv6", key }), hex(&expected));
    }

    /// nft(8) 1.0.6 sends these bytes for `{ "eth0" . fe80::1 }`, and the number of the set.
    #[test]
    fn an_element_of_two_fields() {
        let address = "fe80::1".parse().expect("an address");
        let elements = vec![Element::on_interface("eth0", address)];
        let expected = format!(
            "{TABLE} 09000200 69707636 00 000000
             30000380 2c000180 28000180 24000100
             65746830000000000000000000000000 fe800000000000000000000000000001"
        );
        assert_eq!(encoded(&Step::AddElements { set: "ipv6", elements }), hex(&expected));
    }

    /// nft(8) 1.0.6 sends the same expressions for `meta l4proto ipv6-icmp icmpv6 type 135-136 accept`.
    #[test]
    fn a_rule_with_a_range() {
        let matches = vec![Match::Icmpv6Type(135..=136)];
        let expected = format!(
            "{TABLE} 0a000200 696e70757400 0000  10010480
             24000180 09000100 6d65746100 000000 14000280 08000200 00000010 08000100 00000001
             2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000
                      0c000380 05000100 3a000000
             34000180 0c000100 7061796c6f616400 24000280 08000100 00000001 08000200 00000002
                      08000300 00000000 08000400 00000001
             2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000005
                      0c000380 05000100 87000000
             2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000003
                      0c000380 05000100 88000000
             30000180 0e000100 696d6d65646961746500 0000 1c000280 08000100 00000000
                      10000280 0c000280 08000100 00000001"
        );
        assert_eq!(
            encoded(&Step::AddRule { chain: "input".into(), matches, fate: Fate::Accept }),
            hex(&expected)
        );
    }

    /// nft(8) 1.0.6 sends the same expressions for `iifname . ip6 daddr @ipv6 drop`, and the number of
    /// the set.
    #[test]
    fn a_rule_with_a_set() {
        let key = &[Field::InputInterface, Field::Ipv6Destination];
        let matches = vec![Match::Ipv6, Match::InSet { set: "ipv6", key }];
        let expected = format!(
            "{TABLE} 0a000200 696e70757400 0000  04010480
             24000180 09000100 6d65746100 000000 14000280 08000200 0000000f 08000100 00000001
             2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000
                      0c000380 05000100 0a000000
             24000180 09000100 6d65746100 000000 14000280 08000200 00000006 08000100 00000001
             34000180 0c000100 7061796c6f616400 24000280 08000100 00000002 08000200 00000001
                      08000300 00000018 08000400 00000010
             28000180 0b000100 6c6f6f6b757000 00 18000280 08000200 00000001
                      09000100 69707636 00 000000
             30000180 0e000100 696d6d65646961746500 0000 1c000280 08000100 00000000
                      10000280 0c000280 08000100 00000000"
        );
        assert_eq!(
            encoded(&Step::AddRule { chain: "input".into(), matches, fate: Fate::Drop }),
            hex(&expected)
        );
    }

    #[test]
    fn many_elements_go_in_several_messages() {
        let element = Element::from(std::net::IpAddr::from([192, 0, 2, 10]));
        let elements = vec![element; ELEMENTS_AT_ONCE + 1];
        let set = "ipv4";
        assert_eq!(
            Step::AddElements { set, elements: elements.clone() }.messages(Family::Inet, "vrrpd").len(),
            2
        );
        for (_, inner) in (Step::RemoveElements { set, elements }).messages(Family::Inet, "vrrpd") {
            let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
            let message = NetfilterMessage::new(header, NetfilterMessageInner::NfTables(inner));
            assert!(NetlinkMessage::from(message).buffer_len() < usize::from(u16::MAX));
        }
    }
}
