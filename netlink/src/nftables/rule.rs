//! What a rule looks at, in the kernel's expressions: load a part of the packet into a register,
//! compare the register or look it up.

use std::ops::RangeInclusive;

use netlink_packet_netfilter::nftables::{
    Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute, Lookup, Meta, MetaKey,
    Operator, Payload, Register, Verdict, VerdictAttribute,
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
}

/// A part of a packet that a set can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Destination address of an IPv4 packet.
    Ipv4Destination,
    /// Destination address of an IPv6 packet.
    Ipv6Destination,
    /// Name of the interface that it came in on.
    InputInterface,
}

impl Field {
    /// Octets in a register.
    const fn len(self) -> u32 {
        match self {
            Self::Ipv4Destination => 4,
            Self::Ipv6Destination | Self::InputInterface => 16,
        }
    }

    /// The number under which nft(8) knows the type, to print elements as people write them.
    const fn nft_type(self) -> u32 {
        match self {
            Self::Ipv4Destination => 7,
            Self::Ipv6Destination => 8,
            Self::InputInterface => 41,
        }
    }

    fn load(self, register: Register) -> Expressions {
        match self {
            Self::Ipv4Destination => payload(NETWORK_HEADER, 16, self.len(), register),
            Self::Ipv6Destination => payload(NETWORK_HEADER, 24, self.len(), register),
            Self::InputInterface => meta(MetaKey::Iifname, register),
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

/// A rule: the conditions, then the verdict.
pub(super) fn expressions(matches: &[Match], verdict: u32) -> Vec<ListAttribute<ExpressionAttribute>> {
    let mut expressions: Vec<Expressions> = matches.iter().flat_map(Match::expressions).collect();
    expressions.push(Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![VerdictAttribute::Code(Verdict::Other(verdict))])),
    ]));
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
                expressions.push(compare(Operator::GreatherThanEqual, *types.start()));
                expressions.push(compare(Operator::LessThanEqual, *types.end()));
                expressions
            }
            Self::InSet { set, key } => {
                let mut octets = 0;
                let mut expressions = Vec::new();
                for field in *key {
                    expressions.push(field.load(register(octets)));
                    octets += field.len();
                }
                let lookup = vec![Lookup::SourceRegister(FIRST), Lookup::Set((*set).to_owned())];
                expressions.push(Expressions::Lookup(lookup));
                expressions
            }
        }
    }
}

/// Loads what is known beside the packet, and compares its one octet.
fn is(key: MetaKey, value: i32) -> Vec<Expressions> {
    let value = u8::try_from(value).expect("a number of one octet");
    vec![meta(key, FIRST), compare(Operator::Equal, value)]
}

fn compare(operator: Operator, value: u8) -> Expressions {
    let data = Cmp::Data(DataAttribute::Value(vec![value]));
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
