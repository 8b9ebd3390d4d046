//! What a rule looks at, in the kernel's expressions: load a part of the packet into a register,
//! compare the register or look it up.

use std::ops::RangeInclusive;

use netlink_packet_netfilter::nftables::{
    Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute, Lookup, Meta, MetaKey,
    Operator, Payload, Register, VerdictAttribute,
};

/// A condition on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It is IPv4.
    Ipv4,
    /// It is IPv6.
    Ipv6,
    /// The protocol behind the IP header and its extensions is ICMPv6 with a type in this range.
    Icmpv6Type(RangeInclusive<u8>),
    /// Its fields, one after the other, are an element of a set. A field of one IP version is only
    /// meant for packets that were found to be of it.
    InSet {
        /// Name of the set.
        set: &'static str,
        /// The fields, those that the set was made with.
        key: &'static [Field],
    },
    /// The number, which is the same for all packets that come to the rule, is in a set that was made with
    /// [`Field::Number`]: so rules can share a set, of which the kernel finds each by asking all.
    NumberInSet {
        /// Name of the set.
        set: &'static str,
        /// The number.
        number: u32,
    },
    /// What a map has for its fields decides: the packet goes through the chain that is named there.
    /// Nothing can follow in a rule.
    Mapped {
        /// Name of the map.
        map: &'static str,
        /// The fields, those that the map was made with.
        key: &'static [Field],
    },
    /// It came from this host itself.
    FromInside,
    /// It is an ARP packet about IPv4 addresses with MAC addresses of 6 octets. In tables of ARP.
    ArpOfIpv4,
}

/// A part of a packet that a set can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Destination address of an IPv4 packet.
    Ipv4Destination,
    /// Destination address of an IPv6 packet.
    Ipv6Destination,
    /// Source address of an IPv6 packet.
    Ipv6Source,
    /// Name of the interface that it came in on.
    InputInterface,
    /// Target of an ICMPv6 neighbour solicitation or advertisement.
    NeighbourTarget,
    /// Target of an ARP packet about IPv4 addresses.
    ArpTarget,
    /// Sender of an ARP packet about IPv4 addresses.
    ArpSender,
    /// A number: the mark of a packet, or what a rule brings along ([`Match::NumberInSet`]).
    Number,
}

impl Field {
    /// Octets in a register.
    const fn len(self) -> u32 {
        match self {
            Self::Ipv4Destination | Self::ArpTarget | Self::ArpSender | Self::Number => 4,
            Self::Ipv6Destination | Self::Ipv6Source | Self::InputInterface | Self::NeighbourTarget => 16,
        }
    }

    /// The number under which nft(8) knows the type, to print elements as people write them.
    const fn nft_type(self) -> u32 {
        match self {
            Self::Ipv4Destination | Self::ArpTarget | Self::ArpSender => 7,
            Self::Ipv6Destination | Self::Ipv6Source | Self::NeighbourTarget => 8,
            // As nft(8) knows marks, which are plain numbers.
            Self::Number => 19,
            Self::InputInterface => 41,
        }
    }

    fn load(self, register: Register) -> Expressions {
        match self {
            Self::Ipv4Destination => payload(NETWORK_HEADER, 16, self.len(), register),
            Self::Ipv6Destination => payload(NETWORK_HEADER, 24, self.len(), register),
            Self::Ipv6Source => payload(NETWORK_HEADER, 8, self.len(), register),
            Self::InputInterface => meta(MetaKey::Iifname, register),
            Self::NeighbourTarget => payload(TRANSPORT_HEADER, 8, self.len(), register),
            Self::ArpTarget => payload(NETWORK_HEADER, 24, self.len(), register),
            Self::ArpSender => payload(NETWORK_HEADER, 14, self.len(), register),
            Self::Number => meta(MetaKey::Mark, register),
        }
    }
}

/// Length of an element of a set, in octets.
pub(super) fn key_len(key: &[Field]) -> u32 {
    key.iter().map(|field| field.len()).sum()
}

/// nft(8) gives each field of an element six bits.
pub(super) fn key_type(key: &[Field]) -> u32 {
    key.iter().fold(0, |types, field| types << 6 | field.nft_type())
}

/// A rule: the conditions, then the verdict, unless they say it themselves.
pub(super) fn expressions(
    matches: &[Match],
    verdict: Option<Vec<VerdictAttribute>>,
) -> Vec<ListAttribute<ExpressionAttribute>> {
    let mut expressions: Vec<Expressions> = matches.iter().flat_map(Match::expressions).collect();
    expressions.extend(verdict.map(|verdict| {
        Expressions::Immediate(vec![
            Immediate::DestinationRegister(Register::Verdict),
            Immediate::Data(DataAttribute::Verdict(verdict)),
        ])
    }));
    expressions.into_iter().map(ListAttribute::from).collect()
}

impl Match {
    fn expressions(&self) -> Vec<Expressions> {
        match self {
            Self::Ipv4 => is(MetaKey::Nfproto, libc::NFPROTO_IPV4),
            Self::Ipv6 => is(MetaKey::Nfproto, libc::NFPROTO_IPV6),
            Self::Icmpv6Type(types) => {
                let mut expressions = is(MetaKey::L4Proto, libc::IPPROTO_ICMPV6);
                expressions.push(payload(TRANSPORT_HEADER, 0, 1, FIRST));
                let (start, end) = (*types.start(), *types.end());
                if start == end {
                    expressions.push(compare(Operator::Equal, &[start]));
                } else {
                    expressions.push(compare(Operator::GreatherThanEqual, &[start]));
                    expressions.push(compare(Operator::LessThanEqual, &[end]));
                }
                expressions
            }
            Self::InSet { set, key } => {
                let mut expressions = load(key);
                expressions.push(lookup(set, None));
                expressions
            }
            Self::NumberInSet { set, number } => {
                let value = DataAttribute::Value(number.to_ne_bytes().to_vec());
                let number = vec![Immediate::DestinationRegister(FIRST), Immediate::Data(value)];
                vec![Expressions::Immediate(number), lookup(set, None)]
            }
            Self::Mapped { map, key } => {
                let mut expressions = load(key);
                expressions.push(lookup(map, Some(Lookup::DestinationRegister(Register::Verdict))));
                expressions
            }
            Self::FromInside => {
                let loopback = libc::ARPHRD_LOOPBACK.to_ne_bytes();
                vec![meta(MetaKey::Iftype, FIRST), compare(Operator::Equal, &loopback)]
            }
            Self::ArpOfIpv4 => {
                // Type of the protocol's addresses, length of a MAC address, length of the protocol's.
                vec![payload(NETWORK_HEADER, 2, 4, FIRST), compare(Operator::Equal, &[8, 0, 6, 4])]
            }
        }
    }
}

/// Loads fields, one behind the other.
fn load(key: &[Field]) -> Vec<Expressions> {
    let mut octets = 0;
    let mut expressions = Vec::new();
    for field in key {
        expressions.push(field.load(register(octets)));
        octets += field.len();
    }
    expressions
}

fn lookup(set: &str, more: Option<Lookup>) -> Expressions {
    let lookup = [Lookup::SourceRegister(FIRST), Lookup::Set(set.to_owned())];
    Expressions::Lookup(lookup.into_iter().chain(more).collect())
}

/// Loads what is known beside the packet, and compares its one octet.
fn is(key: MetaKey, value: i32) -> Vec<Expressions> {
    let value = u8::try_from(value).expect("a number of one octet");
    vec![meta(key, FIRST), compare(Operator::Equal, &[value])]
}

fn compare(operator: Operator, value: &[u8]) -> Expressions {
    let data = Cmp::Data(DataAttribute::Value(value.to_vec()));
    Expressions::Cmp(vec![Cmp::SourceRegister(FIRST), Cmp::Op(operator), data])
}

fn meta(key: MetaKey, register: Register) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(register)])
}

fn payload(base: u32, offset: u32, len: u32, register: Register) -> Expressions {
    let register = Payload::DestinationRegister(register);
    Expressions::Payload(vec![register, Payload::Base(base), Payload::Offset(offset), Payload::Len(len)])
}

/// The register so many octets behind the first one. Each of 16 octets is four of 4, with numbers of
/// their own; Linux before 4.1 knows the long ones only.
fn register(octets: u32) -> Register {
    Register::from(match octets % 16 {
        0 => u32::from(FIRST) + octets / 16,
        _ => u32::from(Register::Reg32_00) + octets / 4,
    })
}

const FIRST: Register = Register::Reg1;

/// `NFT_PAYLOAD_NETWORK_HEADER`
const NETWORK_HEADER: u32 = 1;
/// `NFT_PAYLOAD_TRANSPORT_HEADER`
const TRANSPORT_HEADER: u32 = 2;

/// `NF_DROP`
pub(super) const VERDICT_DROP: u32 = 0;
/// `NF_ACCEPT`
pub(super) const VERDICT_ACCEPT: u32 = 1;
/// `NFT_JUMP`
pub(super) const VERDICT_JUMP: u32 = (-3i32).cast_unsigned();
/// `NFT_RETURN`
pub(super) const VERDICT_RETURN: u32 = (-5i32).cast_unsigned();
