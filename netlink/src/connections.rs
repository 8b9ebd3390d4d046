//! TCP connections of an address that is about to go.
//!
//! Without its address a connection stays established on this host and silent for the other side,
//! who, while only receiving, learns of it from its own time-out. Ended while the address is still
//! here, it sends a reset.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::Error;
use crate::channel::Channel;
use crate::fault::Fault;

/// Ends connections, in the network namespace of the thread that opened it (`sock_diag`(7)).
pub struct Connections {
    channel: Channel,
    sequence: u32,
    outgoing: Vec<u8>,
    /// The kernel lists connections and ends none.
    only_lists: bool,
}

/// What became of the connections of addresses.
#[derive(Debug, Default)]
pub struct Ended {
    /// Our side of each that was ended.
    pub ended: Vec<SocketAddr>,
    /// Both ends of each that was not, ours first: there was no time left, or the kernel cannot.
    pub left: Vec<(SocketAddr, SocketAddr)>,
    /// Why the kernel ends none; told once.
    pub refused: Option<Error>,
}

/// A connection as `struct inet_diag_msg` and `struct inet_diag_req_v2` both name it: the family, and
/// the kernel's own `struct inet_diag_sockid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connection {
    family: u8,
    id: [u8; ID_LEN],
}

impl Connections {
    /// Opens one. To end connections needs CAP_NET_ADMIN and Linux 4.5, built with
    /// `INET_DIAG_DESTROY`.
    ///
    /// # Errors
    ///
    /// What the kernel says to a socket.
    pub fn open() -> Result<Self, Error> {
        let channel = Channel::open(NETLINK_SOCK_DIAG, BUFFER)
            .map_err(|source| Error::Socket { operation: "open a sock_diag socket".into(), source })?;
        Ok(Self { channel, sequence: 1, outgoing: Vec::new(), only_lists: false })
    }

    /// Ends every TCP connection of this host that has one of the addresses on our side. The other sides get
    /// a reset, if the address is still here. Listening sockets stay.
    ///
    /// After `limit` no more are begun with, because whoever waits for this holds on to the addresses;
    /// some hundred are ended in any case.
    ///
    /// # Errors
    ///
    /// What the kernel says. That it cannot end connections is none: then they are all left.
    pub fn end(&mut self, addresses: &BTreeSet<IpAddr>, limit: Duration) -> Result<Ended, Error> {
        let operation = || match addresses.first() {
            Some(address) if addresses.len() == 1 => format!("end the connections of {address}"),
            _ => format!("end the connections of {} addresses", addresses.len()),
        };
        let ended = self.end_all(addresses, limit);
        // What belongs to a request that was given up must not be taken for an answer later.
        let drained = self.channel.drain().map_err(Fault::from);
        let (mut ended, refused) =
            ended.and_then(|ended| drained.map(|()| ended)).map_err(|fault| fault.error(operation()))?;
        ended.refused = refused.map(|fault| fault.error(operation()));
        Ok(ended)
    }

    fn end_all(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
        limit: Duration,
    ) -> Result<(Ended, Option<Fault>), Fault> {
        let started = Instant::now();
        let found = self.list(addresses)?;
        let (mut count, mut refused) = (0, None);
        for batch in found.chunks(AT_ONCE) {
            if self.only_lists || (count > 0 && started.elapsed() >= limit) {
                break;
            }
            match self.destroy(batch) {
                Ok(()) => count += batch.len(),
                // Before Linux 4.5, or built without it.
                Err(fault @ Fault::Refused(libc::EOPNOTSUPP | libc::EINVAL, _)) => {
                    self.only_lists = true;
                    refused = Some(fault);
                }
                Err(fault) => return Err(fault),
            }
        }
        let ended = found[..count].iter().map(|connection| connection.ends().0).collect();
        let left = found[count..].iter().map(Connection::ends).collect();
        Ok((Ended { ended, left, refused: None }, refused))
    }

    /// The connections that have one of the addresses on our side.
    fn list(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<Vec<Connection>, Fault> {
        let (ipv4, ipv6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|ip| ip.is_ipv4());
        let mut found = Vec::new();
        // An IPv6 socket can carry an IPv4 connection; the condition fits both.
        for (family, addresses) in [(libc::AF_INET, &ipv4), (libc::AF_INET6, &ipv4), (libc::AF_INET6, &ipv6)]
        {
            if !addresses.is_empty() {
                self.list_within(number(family), &prefixes(addresses), &mut found)?;
            }
        }
        found.retain(|connection| addresses.contains(&connection.ends().0.ip()));
        Ok(found)
    }

    /// Appends the connections of one family that have an address within one of the prefixes on our side. The
    /// kernel goes through its whole table for each list, however little is in it.
    fn list_within(
        &mut self,
        family: u8,
        prefixes: &[Prefix],
        found: &mut Vec<Connection>,
    ) -> Result<(), Fault> {
        let any = Connection { family, id: [0; ID_LEN] };
        self.outgoing.clear();
        self.sequence = self.sequence.wrapping_add(1);
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        append(&mut self.outgoing, SOCK_DIAG_BY_FAMILY, flags, self.sequence, any, &program(prefixes));
        self.channel.send(&self.outgoing)?;
        let listed = self.channel.collect(self.sequence, |message| {
            found.push(parse(message.payload)?);
            Ok(ControlFlow::Continue(()))
        });
        listed.map(drop)
    }

    /// Ends these. The kernel answers only what it refuses.
    fn destroy(&mut self, connections: &[Connection]) -> Result<(), Fault> {
        self.outgoing.clear();
        for &connection in connections {
            self.sequence = self.sequence.wrapping_add(1);
            append(&mut self.outgoing, SOCK_DESTROY, NLM_F_REQUEST, self.sequence, connection, &[]);
        }
        self.channel.send(&self.outgoing)?;
        // Or it has ended by itself meanwhile.
        self.channel.refusals(libc::ENOENT)
    }
}

impl Connection {
    /// Both ends, ours first.
    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let port = |at: usize| u16::from_be_bytes([self.id[at], self.id[at + 1]]);
        let address = |at: usize| -> IpAddr {
            let octets: [u8; 16] = *self.id[at..].first_chunk().expect("within the id");
            match i32::from(self.family) {
                libc::AF_INET => Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into(),
                _ => Ipv6Addr::from(octets).to_canonical(),
            }
        };
        (SocketAddr::new(address(4), port(0)), SocketAddr::new(address(20), port(2)))
    }
}

/// Appends a message with a `struct inet_diag_req_v2` about TCP.
fn append(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    connection: Connection,
    attribute: &[u8],
) {
    let start = bytes.len();
    let length = HEADER_LEN + 8 + ID_LEN + attribute.len();
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(length).expect("some hundred bytes");
    header.message_type = kind;
    header.flags = flags;
    header.sequence_number = sequence;
    bytes.resize(start + HEADER_LEN, 0);
    netlink_packet_core::Emitable::emit(&header, &mut bytes[start..]);
    bytes.extend([connection.family, number(libc::IPPROTO_TCP), 0, 0]);
    bytes.extend(CONNECTED.to_ne_bytes());
    bytes.extend(connection.id);
    bytes.extend(attribute);
}

/// What addresses have in common, and how many bits that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Prefixes that the addresses are within, which are of one family and sorted: each for itself where they are
/// few, else the closest ones together.
fn prefixes(addresses: &[IpAddr]) -> Vec<Prefix> {
    /// The kernel tries them one after the other on each connection.
    const MOST: usize = 16;
    let mut gaps: Vec<usize> = (1..addresses.len()).collect();
    gaps.sort_by_key(|&at| in_common(addresses[at - 1], addresses[at]));
    gaps.truncate(MOST - 1);
    gaps.sort_unstable();
    gaps.push(addresses.len());
    let mut from = 0;
    let mut prefix = |to| {
        let (address, last) = (addresses[from], addresses[to - 1]);
        from = to;
        Prefix { address, length: in_common(address, last) }
    };
    gaps.into_iter().map(&mut prefix).collect()
}

/// How many leading bits two addresses of one family share.
fn in_common(one: IpAddr, other: IpAddr) -> u8 {
    let bits = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    };
    u8::try_from(bits).expect("128 at most")
}

/// `INET_DIAG_REQ_BYTECODE`: the kernel passes over sockets that have no address within the prefixes on our
/// side.
fn program(prefixes: &[Prefix]) -> Vec<u8> {
    const REQ_BYTECODE: u16 = 1;
    const S_COND: u8 = 7;
    const JMP: u8 = 1;
    const ANY_PORT: i32 = -1;
    /// `struct inet_diag_bc_op`: what to do, how far to go on if so, how far if not.
    const OP: u16 = 4;
    let mut code = Vec::new();
    for (nth, prefix) in prefixes.iter().enumerate() {
        if nth > 0 {
            // Who met the condition before is sent to the end, which is to pass; where that is, is not known yet.
            code.extend([JMP, u8::try_from(OP).expect("4"), 0, 0]);
        }
        let (family, octets) = match prefix.address {
            IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
            IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
        };
        // With `struct inet_diag_hostcond` behind it. Who does not meet it goes on behind the jump; from the
        // last one that is beyond the end.
        let length = OP + 8 + u16::try_from(octets.len()).expect("4 or 16");
        code.extend([S_COND, u8::try_from(length).expect("28 at most")]);
        code.extend((length + OP).to_ne_bytes());
        code.extend([number(family), prefix.length, 0, 0]);
        code.extend(ANY_PORT.to_ne_bytes());
        code.extend(octets);
    }
    let end = code.len();
    let mut at = 0;
    while at < end {
        if code[at] == JMP {
            let left = u16::try_from(end - at).expect("16 conditions of 32 bytes");
            code[at + 2..at + 4].copy_from_slice(&left.to_ne_bytes());
        }
        at += usize::from(code[at + 1]);
    }
    let length = OP + u16::try_from(end).expect("16 conditions of 32 bytes");
    [&length.to_ne_bytes(), &REQ_BYTECODE.to_ne_bytes(), &code[..]].concat()
}

/// The beginning of a `struct inet_diag_msg`: family, three octets of state, and the id.
fn parse(payload: &[u8]) -> Result<Connection, String> {
    match (payload.first(), payload.get(4..4 + ID_LEN).and_then(|id| id.try_into().ok())) {
        (Some(&family), Some(id)) => Ok(Connection { family, id }),
        _ => Err(format!("{} bytes where a connection needs {}", payload.len(), 4 + ID_LEN)),
    }
}

/// A constant of the C library that fits in an octet.
fn number(constant: i32) -> u8 {
    u8::try_from(constant).expect("AF_INET, AF_INET6 and IPPROTO_TCP are small")
}

/// `struct nlmsghdr`
const HEADER_LEN: usize = 16;
/// `struct inet_diag_sockid`: ports, addresses, interface and cookie.
const ID_LEN: usize = 48;
/// Every state of TCP but `TIME_WAIT` (6), `CLOSE` (7) and `LISTEN` (10).
const CONNECTED: u32 = 0b1011_0011_1110;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// Connections that are ended with one system call.
const AT_ONCE: usize = 256;
/// What is asked for as receive buffer in bytes.
const BUFFER: usize = 1 << 20;

/// For the fuzzer.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(payload: &[u8]) {
    let _ = parse(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::hex;

    #[test]
    fn a_connection_that_was_cut_short_is_malformed() {
        let mut payload = vec![2; 4 + ID_LEN];
        assert_eq!(parse(&payload).map(|connection| connection.family), Ok(2));
        payload.pop();
        assert!(parse(&payload).is_err());
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn both_ends_of_a_connection_are_read() {
        // 192.0.2.201:443 and 192.0.2.9:50000, as a socket of each family has them.
        let v4 = format!("02000000 01bb c350 c00002c9{0} c0000209{0}", "00".repeat(12));
        let mapped = format!("0a000000 01bb c350 {0}c00002c9 {0}c0000209", "00000000000000000000ffff");
        let v6 = format!("0a000000 01bb c350 20010db8{0}c9 20010db8{0}09", "00".repeat(11));
        for (payload, ours, theirs) in [
            (v4, "192.0.2.201:443", "192.0.2.9:50000"),
            (mapped, "192.0.2.201:443", "192.0.2.9:50000"),
            (v6, "[2001:db8::c9]:443", "[2001:db8::9]:50000"),
        ] {
            let payload = [hex(&payload), vec![0; 12]].concat();
            let ends = parse(&payload).expect("whole").ends();
            assert_eq!(ends, (ours.parse().expect("an address"), theirs.parse().expect("an address")));
        }
    }

    /// Does the kernel pass a socket with this address on our side, by this program? As `inet_diag_bc_run`.
    fn passes(attribute: &[u8], ours: IpAddr) -> bool {
        let mut rest = &attribute[4..];
        while let [code, yes, no, no_high, condition @ ..] = rest {
            let matched = *code == 7 && {
                let IpAddr::V4(ours) = ours else { panic!("the test is of IPv4") };
                let address = u32::from_be_bytes(*condition[8..].first_chunk().expect("whole"));
                (address ^ ours.to_bits()).leading_zeros() >= condition[1].into()
            };
            let step = if matched { usize::from(*yes) } else { u16::from_ne_bytes([*no, *no_high]).into() };
            if step > rest.len() {
                return false;
            }
            rest = &rest[step..];
        }
        true
    }

    fn ipv4(numbers: impl Iterator<Item = u32>) -> Vec<IpAddr> {
        numbers.map(|number| std::net::Ipv4Addr::from_bits(0xc000_0200 + number).into()).collect()
    }

    #[test]
    fn few_addresses_pass_each_for_itself_and_no_other() {
        for count in [1, 2, 16] {
            let addresses = ipv4((0..count).map(|n| 3 * n));
            let program = program(&prefixes(&addresses));
            let passed: Vec<IpAddr> = ipv4(0..256).into_iter().filter(|&ip| passes(&program, ip)).collect();
            assert_eq!(passed, addresses, "{count}");
        }
    }

    #[test]
    fn many_addresses_pass_by_what_the_closest_have_in_common() {
        let mut addresses = ipv4((0..1000).chain([5000, 9000, 1 << 24]));
        addresses.sort_unstable();
        let prefixes = prefixes(&addresses);
        assert_eq!(prefixes.len(), 16);
        let program = program(&prefixes);
        assert!(addresses.iter().all(|&ip| passes(&program, ip)));
        assert!(ipv4([2000, 5001, 8999, 1 << 20].into_iter()).iter().all(|&ip| !passes(&program, ip)));
    }

    #[test]
    fn an_ipv6_program_ends_where_it_jumps_to() {
        let address = "2001:db8::1".parse().expect("an address");
        let bytes = program(&[Prefix { address, length: 128 }]);
        assert_eq!(bytes.len(), 4 + 28);
        assert_eq!(bytes[5], 28, "who passes");
        assert_eq!(u16::from_ne_bytes([bytes[6], bytes[7]]), 32, "who does not");
    }
}
