//! The kernel's part of watching: a classic BPF program that passes the frames about given addresses.
//!
//! A busy LAN is full of ARP, and none of it wakes us unless it is about an address of ours. The
//! program finds that out before the kernel copies the frame. The programs for VRRP itself are in
//! [`sieve`].

pub(super) mod sieve;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use libc::sock_filter;
use socket2::{SockFilter, Socket};
use vrrp_proto::{Family, MacAddress};

/// The most instructions that any kernel takes.
const INSTRUCTIONS_MAX: usize = libc::BPF_MAXINSNS as usize;

const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
const LOAD_OCTET: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
/// The length of the IPv4 header, into the index register.
const LOAD_HEADER_LENGTH: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
/// At the index register and beyond.
const LOAD_OCTET_BEHIND_HEADER: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_IND) as u16;
const STORE: u16 = libc::BPF_ST as u16;
const RECALL: u16 = (libc::BPF_LD | libc::BPF_MEM) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ) as u16;
const JUMP_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT) as u16;
const JUMP_NOT_LESS: u16 = (libc::BPF_JMP | libc::BPF_JGE) as u16;
const SUBTRACT_INDEX: u16 = (libc::BPF_ALU | libc::BPF_SUB | libc::BPF_X) as u16;
const SHIFT_RIGHT: u16 = (libc::BPF_ALU | libc::BPF_RSH) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND) as u16;
const RETURN: u16 = libc::BPF_RET as u16;

/// Where the kernel lets a program read what is not in the packet's data.
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
const ETHERNET_SOURCE: u32 = (libc::SKF_LL_OFF + 6).cast_unsigned();
const HOP_LIMIT: u32 = (libc::SKF_NET_OFF + 7).cast_unsigned();
/// To us, to all, to a group; those above are meant for others, for another VLAN, or leave.
const LAST_TYPE_FOR_US: u32 = libc::PACKET_MULTICAST as u32;

/// Has the kernel pass to a socket only what the program accepts.
///
/// # Errors
///
/// When the program is longer than the kernel takes.
pub(super) fn attach(socket: &Socket, program: &[sock_filter]) -> io::Result<()> {
    if program.len() > INSTRUCTIONS_MAX {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let program: Vec<SockFilter> =
        program.iter().map(|&sock_filter { code, jt, jf, k }| SockFilter::new(code, jt, jf, k)).collect();
    socket.attach_filter(&program)
}

/// Nothing passes.
pub(super) fn nothing() -> Vec<sock_filter> {
    vec![reject()]
}

/// What is behind an Authentication Header passes, where it is of this protocol. For IPv4 packets without
/// what is in front of them, as a raw socket has them.
pub(super) fn sealed(protocol: u8) -> Vec<sock_filter> {
    vec![
        op(LOAD_HEADER_LENGTH, 0),
        op(LOAD_OCTET_BEHIND_HEADER, 0),
        sock_filter { code: JUMP_EQUAL, jt: 0, jf: 1, k: protocol.into() },
        accept(),
        reject(),
    ]
}

/// What another station says passes, whatever it is about; `own` is our Ethernet address.
pub(super) fn everything(family: Family, own: MacAddress) -> Vec<sock_filter> {
    let mut program = from_others(family, own);
    program.push(accept());
    program
}

/// What another station says about one of `addresses` passes: the sender address of ARP, the target
/// of a neighbour advertisement. The length grows with the number of addresses, without a bound.
pub(super) fn about(family: Family, own: MacAddress, addresses: &BTreeSet<IpAddr>) -> Vec<sock_filter> {
    let mut program = from_others(family, own);
    let (at, words) = match family {
        // Of the Ethernet frame.
        Family::Ipv4 => (28, 1),
        // Of the ICMPv6 message.
        Family::Ipv6 => (8, 4),
    };
    for word in 0..words {
        program.push(op(LOAD_WORD, at + 4 * word));
        program.push(op(STORE, word));
    }
    // Addresses of one IPv6 network have three words in common, which are compared once.
    let mut networks: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
    for address in addresses.iter().filter(|&&address| Family::of(address) == family) {
        let mut words = words_of(*address);
        let last = words.pop().expect("an address has a word at least");
        networks.entry(words).or_default().push(last);
    }
    for (network, hosts) in networks {
        let in_network = of_network(&hosts, words - 1);
        let mut left = network.len();
        for (&value, word) in network.iter().zip(0..) {
            left -= 1;
            // A conditional jump reaches 255 instructions, the next network may be further away.
            let rest = 3 * left + in_network.len();
            program.push(op(RECALL, word));
            program.push(sock_filter { code: JUMP_EQUAL, jt: 1, jf: 0, k: value });
            program.push(op(JUMP, u32::try_from(rest).unwrap_or(u32::MAX)));
        }
        program.extend(in_network);
    }
    program.push(reject());
    program
}

/// Ends with "no" for what is not from another station on this link.
fn from_others(family: Family, own: MacAddress) -> Vec<sock_filter> {
    let [a, b, c, d, e, f] = own.octets();
    let mut program = vec![
        op(LOAD_OCTET, PACKET_TYPE),
        sock_filter { code: JUMP_GREATER, jt: 0, jf: 1, k: LAST_TYPE_FOR_US },
        reject(),
        op(LOAD_WORD, ETHERNET_SOURCE),
        sock_filter { code: JUMP_EQUAL, jt: 0, jf: 3, k: u32::from_be_bytes([a, b, c, d]) },
        op(LOAD_HALF, ETHERNET_SOURCE + 4),
        sock_filter { code: JUMP_EQUAL, jt: 0, jf: 1, k: u32::from_be_bytes([0, 0, e, f]) },
        reject(),
    ];
    if family == Family::Ipv6 {
        // No router forwarded it (RFC 4861 7.1.2).
        program.push(op(LOAD_OCTET, HOP_LIMIT));
        program.push(sock_filter { code: JUMP_EQUAL, jt: 1, jf: 0, k: 255 });
        program.push(reject());
    }
    program
}

/// Accepts where the last word of the address is one of `hosts`.
fn of_network(hosts: &[u32], last_word: u32) -> Vec<sock_filter> {
    let mut program = vec![op(RECALL, last_word)];
    for &host in hosts {
        program.push(sock_filter { code: JUMP_EQUAL, jt: 0, jf: 1, k: host });
        program.push(accept());
    }
    program
}

fn words_of(address: IpAddr) -> Vec<u32> {
    match address {
        IpAddr::V4(address) => vec![address.to_bits()],
        IpAddr::V6(address) => {
            address.octets().as_chunks().0.iter().map(|&word| u32::from_be_bytes(word)).collect()
        }
    }
}

const fn op(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// The whole frame.
const fn accept() -> sock_filter {
    op(RETURN, u32::MAX)
}

const fn reject() -> sock_filter {
    op(RETURN, 0)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use vrrp_proto::packet::arp::{self, GarpForm};
    use vrrp_proto::packet::ndisc;

    use super::*;

    const OWN: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 7]);
    const OTHER: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 9]);
    const HOST: u8 = 0;
    const BROADCAST: u8 = 1;
    const OTHER_HOST: u8 = 3;
    const OUTGOING: u8 = 4;

    /// The kernel's interpreter, as far as the programs need it: what `program` says to a frame whose
    /// data begins `data` octets into it. Instructions must lead forwards, and to an end.
    pub(super) fn passes(program: &[sock_filter], frame: &[u8], data: usize, packet_type: u8) -> bool {
        let (mut at, mut a, mut x, mut memory) = (0, 0_u32, 0, [None; 16]);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |taken: bool| usize::from(if taken { jt } else { jf });
            match code {
                LOAD_OCTET if k == PACKET_TYPE => a = packet_type.into(),
                LOAD_WORD | LOAD_HALF | LOAD_OCTET => {
                    let from = match k.cast_signed() {
                        k @ 0.. => data + usize::try_from(k).expect("positive"),
                        k if k >= libc::SKF_NET_OFF => {
                            let behind = usize::try_from(k - libc::SKF_NET_OFF).expect("positive");
                            // Older kernels find nothing else there when a network card has divided it.
                            assert!(behind < 40, "beyond the header");
                            14 + behind
                        }
                        k => usize::try_from(k - libc::SKF_LL_OFF).expect("positive"),
                    };
                    let octets = if code == LOAD_WORD {
                        4
                    } else if code == LOAD_HALF {
                        2
                    } else {
                        1
                    };
                    // What reads behind the end rejects.
                    let Some(octets) = frame.get(from..from + octets) else { return false };
                    a = octets.iter().fold(0, |value, &octet| value << 8 | u32::from(octet));
                }
                LOAD_HEADER_LENGTH => match frame.get(data + k as usize) {
                    Some(octet) => x = usize::from(octet & 0xf) * 4,
                    None => return false,
                },
                LOAD_OCTET_BEHIND_HEADER => match frame.get(data + x + k as usize) {
                    Some(&octet) => a = octet.into(),
                    None => return false,
                },
                SUBTRACT_INDEX => a -= u32::try_from(x).expect("a short header"),
                SHIFT_RIGHT => a >>= k,
                AND => a &= k,
                STORE => memory[k as usize] = Some(a),
                RECALL => a = memory[k as usize].expect("stored before it is recalled"),
                JUMP => at += k as usize,
                JUMP_EQUAL => at += jump(a == k),
                JUMP_GREATER => at += jump(a > k),
                JUMP_NOT_LESS => at += jump(a >= k),
                RETURN => return k > 0,
                _ => panic!("no such instruction: {code:#x}"),
            }
        }
    }

    fn arp_frame(source: MacAddress, address: Ipv4Addr) -> Vec<u8> {
        let mut frame = [0; arp::FRAME_LEN];
        arp::gratuitous(&mut frame, GarpForm::Request, source, address);
        frame.into()
    }

    fn advertisement(source: MacAddress, address: Ipv6Addr) -> Vec<u8> {
        let mut frame = [0; ndisc::FRAME_LEN];
        ndisc::unsolicited_advertisement(&mut frame, source, address, false);
        frame.into()
    }

    fn four(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(192, 0, 2, 0).to_bits() + number)
    }

    /// In one of seven networks.
    fn six(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, number % 7, 0, number % 3, 0, number)
    }

    #[test]
    fn what_is_said_about_our_addresses_passes_and_nothing_else() {
        let arp = |number: u16| (four(number.into()).into(), arp_frame(OTHER, four(number.into())));
        let of_ndisc = |number: u16| (six(number).into(), advertisement(OTHER, six(number)));
        type About<'a> = &'a dyn Fn(u16) -> (IpAddr, Vec<u8>);
        let kinds: [(Family, usize, About<'_>); 2] = [(Family::Ipv4, 0, &arp), (Family::Ipv6, 54, &of_ndisc)];
        for (family, data, about_number) in kinds {
            for count in [0, 1, 2, 255, 600] {
                let addresses = (0..count).map(|number| about_number(2 * number).0).collect();
                let program = about(family, OWN, &addresses);
                for number in 0..2 * count + 3 {
                    let (_, frame) = about_number(number);
                    let ours = number % 2 == 0 && number < 2 * count;
                    assert_eq!(passes(&program, &frame, data, BROADCAST), ours, "{number} of {count}");
                }
            }
        }
    }

    #[test]
    fn the_same_host_in_another_network_is_not_ours() {
        let in_network = |network, host| Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host);
        let ours = [(1, 1), (1, 2), (3, 2)];
        let addresses = ours.iter().map(|&(network, host)| in_network(network, host).into()).collect();
        let program = about(Family::Ipv6, OWN, &addresses);
        for (network, host) in (0..5).flat_map(|network| (0..4).map(move |host| (network, host))) {
            let frame = advertisement(OTHER, in_network(network, host));
            assert_eq!(
                passes(&program, &frame, 54, HOST),
                ours.contains(&(network, host)),
                "{network} {host}"
            );
        }
    }

    #[test]
    fn neither_our_own_frames_nor_those_for_others_nor_routed_ones_pass() {
        let (address, network) = (four(1), six(1));
        let programs = |family| {
            let addresses = [address.into(), network.into()].into();
            [about(family, OWN, &addresses), everything(family, OWN)]
        };
        for program in programs(Family::Ipv4) {
            let judged = |source, packet_type| passes(&program, &arp_frame(source, address), 0, packet_type);
            assert_eq!([HOST, BROADCAST].map(|each| judged(OTHER, each)), [true; 2]);
            assert_eq!([OTHER_HOST, OUTGOING].map(|each| judged(OTHER, each)), [false; 2]);
            assert!(!judged(OWN, BROADCAST), "a loop brings back what we said");
            let almost = [MacAddress::new([2, 0, 0, 0, 1, 7]), MacAddress::new([2, 0, 0, 1, 0, 7])];
            assert_eq!(almost.map(|each| judged(each, BROADCAST)), [true; 2]);
        }
        for program in programs(Family::Ipv6) {
            let mut frame = advertisement(OTHER, network);
            assert!(passes(&program, &frame, 54, BROADCAST));
            assert!(!passes(&program, &advertisement(OWN, network), 54, BROADCAST));
            frame[14 + 7] = 254;
            assert!(!passes(&program, &frame, 54, BROADCAST), "Hop Limit 254");
        }
    }

    #[test]
    fn without_addresses_to_tell_apart_everything_or_nothing_passes() {
        let stranger = arp_frame(OTHER, four(77));
        assert!(passes(&everything(Family::Ipv4, OWN), &stranger, 0, BROADCAST));
        assert!(!passes(&nothing(), &stranger, 0, BROADCAST));
    }

    #[test]
    fn of_what_is_behind_authentication_headers_only_one_protocol_passes() {
        for header in [20, 24, 60_u8] {
            let mut packet = vec![0; usize::from(header)];
            packet[0] = 0x40 + header / 4;
            for next in [0, 50, 111, 112, 113, 255] {
                let packet = [packet.as_slice(), &[next, 4, 0, 0]].concat();
                assert_eq!(passes(&sealed(112), &packet, 0, HOST), next == 112, "{next} behind {header}");
            }
            assert!(!passes(&sealed(112), &packet, 0, HOST), "nothing behind {header}");
        }
    }

    #[test]
    fn what_is_cut_short_does_not_pass() {
        let program = about(Family::Ipv6, OWN, &[six(1).into()].into());
        let frame = advertisement(OTHER, six(1));
        for octets in 0..54 + 24 {
            assert!(!passes(&program, &frame[..octets], 54, BROADCAST), "{octets} octets");
        }
    }

    #[test]
    fn the_addresses_of_two_full_routers_fit() {
        let four = (0..510).map(|number| four(number).into()).collect();
        assert!(about(Family::Ipv4, OWN, &four).len() <= INSTRUCTIONS_MAX / 3);
        let six = (0..510).map(|number| six(number).into()).collect();
        assert!(about(Family::Ipv6, OWN, &six).len() <= INSTRUCTIONS_MAX / 3);
    }
}
