//! What of the advertisements on a link the kernel hands over, and what it only counts.
//!
//! A neighbour can send packets of VRRP faster than any program reads them. What none of our virtual
//! routers could take is found out by the kernel, for the price of a few instructions, and does not wake
//! the daemon: one program passes what may be for us, and for each fault another one passes what has it
//! first. Each program has a socket of its own. Those of the faults are looked into now and then: what
//! they had room for is judged like any other packet, and the rest is counted under the fault.
//!
//! Those are packet sockets: of a raw socket that is full newer kernels count each packet of the protocol as
//! dropped, without asking the filter. They see every IP packet of the interface, so they are in one group
//! (`PACKET_FANOUT`), and that a packet is not VRRP is found out once.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use libc::sock_filter;
use socket2::Socket;
use vrrp_proto::packet::{DiscardReason, ip};
use vrrp_proto::{Family, Version, Vrid};

use super::super::sys;
use super::{
    AND, JUMP_EQUAL, JUMP_GREATER, JUMP_NOT_LESS, LAST_TYPE_FOR_US, LOAD_HALF, LOAD_HEADER_LENGTH,
    LOAD_OCTET, LOAD_OCTET_BEHIND_HEADER, PACKET_TYPE, RETURN, SHIFT_RIGHT, SUBTRACT_INDEX, accept, attach,
    op, reject,
};

/// The faults that a program finds, in the order in which it looks for them (RFC 9568 7.1). What is wrong
/// beyond these takes sums and comparisons that are not for a filter.
pub(crate) const FAULTS: [DiscardReason; 5] = [
    DiscardReason::HopLimit,
    DiscardReason::Length,
    DiscardReason::Version,
    DiscardReason::Type,
    DiscardReason::Vrid,
];

/// Octets before the addresses; no message of any version is shorter.
const SHORTEST: u32 = 8;
/// Type ADVERTISEMENT.
const TYPE: u32 = 1;
/// Where the IPv4 header, with which the packet begins, has its fields.
const IPV4_TOTAL_LENGTH: u32 = 2;
const IPV4_FRAGMENT: u32 = 6;
const IPV4_TTL: u32 = 8;
const IPV4_PROTOCOL: u32 = 9;
/// More Fragments, and the offset.
const A_FRAGMENT: u32 = 0x3fff;
/// Where the IPv6 header has its fields, and its length.
const IPV6_PAYLOAD_LENGTH: u32 = 4;
const IPV6_NEXT_HEADER: u32 = 6;
const IPV6_HOP_LIMIT: u32 = 7;
const IPV6_HEADER: u32 = 40;
/// The network header, where the data begins behind it. Beyond the header itself this is no way to read: before
/// Linux 6.16 what a network card has put into another piece of memory cannot be reached so.
const NETWORK_HEADER: u32 = libc::SKF_NET_OFF.cast_unsigned();

/// What the virtual routers of a link and family can use, taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Groups to be a member of.
    pub(crate) groups: BTreeSet<IpAddr>,
    /// Those of them that VRRPv2 is spoken in.
    pub(crate) groups_v2: BTreeSet<IpAddr>,
    /// The virtual routers.
    pub(crate) vrids: BTreeSet<Vrid>,
    /// What they speak.
    pub(crate) versions: BTreeSet<Version>,
    /// TTL or Hop Limit below which none of them takes a packet.
    pub(crate) least_hop_limit: u8,
}

/// Changes what sockets pass, from another thread than the one that reads them.
#[derive(Debug)]
pub(crate) struct Sieve {
    family: Family,
    /// For what may be for us.
    receiver: Arc<Socket>,
    /// For each of [`FAULTS`].
    refused: [Arc<Socket>; FAULTS.len()],
}

impl Sieve {
    pub(in crate::net) const fn new(
        family: Family,
        receiver: Arc<Socket>,
        refused: [Arc<Socket>; FAULTS.len()],
    ) -> Self {
        Self { family, receiver, refused }
    }

    /// From now on only this is handed over. What comes meanwhile may come twice, or be counted under
    /// none; nothing that was wanted before and is now comes by neither way.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory left for it; what was passed before is passed on.
    pub(crate) fn pass(&self, wanted: &Wanted) -> io::Result<()> {
        attach(&self.receiver, &program(self.family, wanted, None))?;
        for (socket, fault) in self.refused.iter().zip(FAULTS) {
            attach(socket, &program(self.family, wanted, Some(fault)))?;
        }
        share_out(self.family, wanted, &self.refused[0]);
        Ok(())
    }
}

/// Has the sockets of the faults, of which this is the first, each get what it passes.
pub(in crate::net) fn share_out(family: Family, wanted: &Wanted, first: &Socket) {
    // Where they are not in one group, because an old kernel has no such groups, each gets everything.
    let _ = sys::share_out(first, &sharing(family, wanted));
}

/// Passes what is wanted, for a raw socket, or what has this fault first, for a packet socket that has no
/// Ethernet header.
pub(in crate::net) fn program(
    family: Family,
    wanted: &Wanted,
    fault: Option<DiscardReason>,
) -> Vec<sock_filter> {
    let begins = if fault.is_none() && family == Family::Ipv6 { Begins::Message } else { Begins::Header };
    sifting(family, begins, wanted, reject(), |found| if found == fault { accept() } else { reject() })
}

/// Says which of [`FAULTS`] a packet has first, by its place. One that has none goes to the first place, whose
/// own program rejects it.
fn sharing(family: Family, wanted: &Wanted) -> Vec<sock_filter> {
    let place = |fault| FAULTS.iter().position(|each| Some(*each) == fault).unwrap_or(0);
    let answer = |found| op(RETURN, u32::try_from(place(found)).expect("there are a few"));
    sifting(family, Begins::Header, wanted, answer(None), answer)
}

/// What the data of a socket begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// The IP header.
    Header,
    /// The message: an IPv6 raw socket does not hand over what is in front of it.
    Message,
}

/// Ends with a verdict on what is wrong with an advertisement, or that nothing is, and with `other` on what is
/// none, or not for us.
fn sifting(
    family: Family,
    begins: Begins,
    wanted: &Wanted,
    other: sock_filter,
    verdict: impl Fn(Option<DiscardReason>) -> sock_filter,
) -> Vec<sock_filter> {
    let is = |k| sock_filter { code: JUMP_EQUAL, jt: 1, jf: 0, k };
    let not_less = |k| sock_filter { code: JUMP_NOT_LESS, jt: 1, jf: 0, k };
    let not_greater = |k| sock_filter { code: JUMP_GREATER, jt: 0, jf: 1, k };
    let (ipv6_header, ipv6_message) = match begins {
        Begins::Header => (0, IPV6_HEADER),
        Begins::Message => (NETWORK_HEADER, 0),
    };
    let (protocol, hop_limit, (load, message)) = match family {
        Family::Ipv4 => (IPV4_PROTOCOL, IPV4_TTL, (LOAD_OCTET_BEHIND_HEADER, 0)),
        Family::Ipv6 => {
            (ipv6_header + IPV6_NEXT_HEADER, ipv6_header + IPV6_HOP_LIMIT, (LOAD_OCTET, ipv6_message))
        }
    };
    let (whole, length) = match family {
        Family::Ipv4 => (
            vec![op(LOAD_HALF, IPV4_FRAGMENT), op(AND, A_FRAGMENT), is(0), other],
            vec![op(LOAD_HEADER_LENGTH, 0), op(LOAD_HALF, IPV4_TOTAL_LENGTH), op(SUBTRACT_INDEX, 0)],
        ),
        // A fragment has another header in front.
        Family::Ipv6 => (vec![], vec![op(LOAD_HALF, ipv6_header + IPV6_PAYLOAD_LENGTH)]),
    };
    let octet = |at| op(load, message + at);
    let mut program = vec![op(LOAD_OCTET, protocol), is(ip::PROTOCOL.into()), other];
    program.extend(whole);
    program.extend([op(LOAD_OCTET, PACKET_TYPE), not_greater(LAST_TYPE_FOR_US), other]);
    program.extend([op(LOAD_OCTET, hop_limit), not_less(wanted.least_hop_limit.into())]);
    program.push(verdict(Some(DiscardReason::HopLimit)));
    program.extend(length);
    program.extend([not_less(SHORTEST), verdict(Some(DiscardReason::Length))]);
    program.extend([octet(0), op(SHIFT_RIGHT, 4)]);
    go_on_with(&mut program, wanted.versions.iter().map(|version| version.number()));
    program.push(verdict(Some(DiscardReason::Version)));
    program.extend([octet(0), op(AND, 0x0f), is(TYPE), verdict(Some(DiscardReason::Type))]);
    program.push(octet(1));
    go_on_with(&mut program, wanted.vrids.iter().map(|vrid| vrid.get()));
    program.extend([verdict(Some(DiscardReason::Vrid)), verdict(None)]);
    program
}

/// Jumps over the next instruction where the value is one of these, 255 at most.
fn go_on_with(program: &mut Vec<sock_filter>, values: impl ExactSizeIterator<Item = u8>) {
    let count = u8::try_from(values.len()).expect("VRIDs are of one octet, and there are two versions");
    for (value, before) in values.zip(0..) {
        program.push(sock_filter { code: JUMP_EQUAL, jt: count - before, jf: 0, k: value.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::passes;
    use super::*;

    fn wanted(vrids: impl IntoIterator<Item = u8>, least_hop_limit: u8) -> Wanted {
        Wanted {
            groups: BTreeSet::new(),
            groups_v2: BTreeSet::new(),
            vrids: vrids.into_iter().map(|vrid| Vrid::new(vrid).expect("not zero")).collect(),
            versions: [Version::V3].into(),
            least_hop_limit,
        }
    }

    /// A frame that Ethernet padded, and its family. `header` are octets of IPv4's, 0 for IPv6.
    fn frame(header: u8, hop_limit: u8, message: &[u8]) -> (Family, Vec<u8>) {
        let mut frame = vec![0; 14];
        let octets = u8::try_from(message.len()).expect("a short message");
        let family = if header == 0 {
            frame.extend([0x60, 0, 0, 0, 0, octets, 112, hop_limit]);
            frame.resize(14 + 40, 0);
            Family::Ipv6
        } else {
            frame.extend([0x40 + header / 4, 0, 0, header + octets, 0, 0, 0x40, 0, hop_limit, 112]);
            frame.resize(14 + usize::from(header), 0);
            Family::Ipv4
        };
        frame.extend(message);
        frame.resize(frame.len().max(60), 0);
        (family, frame)
    }

    /// The programs that pass a frame, each on its kind of socket.
    fn takers(wanted: &Wanted, family: Family, frame: &[u8], kind: u8) -> Vec<Option<DiscardReason>> {
        let raw = if family == Family::Ipv6 { 14 + 40 } else { 14 };
        let takes = |fault: &Option<DiscardReason>| {
            let data = if fault.is_none() { raw } else { 14 };
            passes(&program(family, wanted, *fault), frame, data, kind)
        };
        FAULTS.map(Some).into_iter().chain([None]).filter(takes).collect()
    }

    /// What a packet is passed as: exactly one program takes it.
    fn verdict(wanted: &Wanted, header: u8, hop_limit: u8, message: &[u8]) -> Option<DiscardReason> {
        let (family, frame) = frame(header, hop_limit, message);
        let taken = takers(wanted, family, &frame, 0);
        assert_eq!(taken.len(), 1, "{taken:?} for TTL {hop_limit} and {message:02x?}");
        taken[0]
    }

    #[test]
    fn what_is_not_an_advertisement_or_not_for_us_passes_nowhere() {
        const OTHER_HOST: u8 = 3;
        let wanted = wanted([201], 255);
        let taken = |header, kind, spoil: fn(&mut [u8])| {
            let (family, mut frame) = frame(header, 1, &[]);
            spoil(&mut frame[14..]);
            takers(&wanted, family, &frame, kind).len()
        };
        for header in [0, 20] {
            assert_eq!(taken(header, 0, |_| ()), 1);
            assert_eq!(taken(header, OTHER_HOST, |_| ()), 0);
        }
        assert_eq!(taken(0, 0, |packet| packet[6] = 44), 0, "a fragment");
        assert_eq!(taken(20, 0, |packet| packet[9] = 51), 0, "another protocol");
        assert_eq!(taken(20, 0, |packet| packet[6] = 0x20), 0, "more fragments");
        assert_eq!(taken(20, 0, |packet| packet[7] = 1), 0, "a later fragment");
    }

    #[test]
    fn each_packet_is_wanted_or_has_one_fault_the_first() {
        let wanted = wanted([201], 255);
        let sound = [0x31, 201, 100, 1, 0, 100, 0, 0, 192, 0, 2, 1];
        let with = |at: usize, value| {
            let mut message = sound;
            message[at] = value;
            message
        };
        for header in [0, 20, 24, 60] {
            let verdict = |hop_limit, message: &[u8]| verdict(&wanted, header, hop_limit, message);
            assert_eq!(verdict(255, &sound), None);
            assert_eq!(verdict(255, &sound[..8]), None, "whether the count is right is not for the filter");
            for hop_limit in [0, 1, 64, 254] {
                assert_eq!(verdict(hop_limit, &[]), Some(DiscardReason::HopLimit));
            }
            for octets in 0..8 {
                assert_eq!(verdict(255, &sound[..octets]), Some(DiscardReason::Length));
            }
            for first in 0..=u8::MAX {
                let expected = match (first >> 4, first & 0xf) {
                    (3, 1) => None,
                    (3, _) => Some(DiscardReason::Type),
                    _ => Some(DiscardReason::Version),
                };
                assert_eq!(verdict(255, &with(0, first)), expected, "{first:#x}");
            }
            for vrid in 0..=u8::MAX {
                let expected = (vrid != 201).then_some(DiscardReason::Vrid);
                assert_eq!(verdict(255, &with(1, vrid)), expected, "VRID {vrid}");
            }
        }
    }

    #[test]
    fn what_one_router_of_the_link_can_use_is_handed_over() {
        let versions = [Version::V2, Version::V3].into();
        let all = Wanted { versions, ..wanted(1..=255, 64) };
        for vrid in 1..=u8::MAX {
            for first in [0x21, 0x31] {
                assert_eq!(verdict(&all, 20, 64, &[first, vrid, 1, 0, 0, 0, 0, 0]), None);
            }
        }
        assert_eq!(verdict(&all, 20, 64, &[0x31, 0, 1, 0, 0, 0, 0, 0]), Some(DiscardReason::Vrid));
        assert_eq!(verdict(&all, 20, 63, &[0x31, 1, 1, 0, 0, 0, 0, 0]), Some(DiscardReason::HopLimit));
        let none = wanted([], 255);
        assert_eq!(verdict(&none, 20, 255, &[0x31, 1, 1, 0, 0, 0, 0, 0]), Some(DiscardReason::Vrid));
    }
}
