//! TCP connections that the host forwards or translates: what its connection tracking knows of them.
//!
//! No socket of this host has them, so they are not [`Connections`](crate::Connections): the port mappings
//! of containers are such.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use netlink_packet_core::{DefaultNla, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple,
};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::Error;
use crate::channel::Channel;
use crate::fault::Fault;
use crate::wire::{self, append};

/// A socket that lists and removes entries of the connection tracking, in the network namespace of the
/// thread that opened it. For one list and what is done about it: a list that was broken off is only got
/// rid of with the socket.
pub struct Flows {
    channel: Channel,
    sequence: u32,
    outgoing: Vec<u8>,
}

/// A TCP connection with both ends open, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who opened it.
    pub client: SocketAddr,
    /// What the client opened it to, before any translation.
    pub server: SocketAddr,
    /// What tells the entry from all others.
    name: Vec<ConntrackAttribute>,
}

/// What [`Flows::list`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// In the kernel's order, which is none.
    pub flows: Vec<Flow>,
    /// There are more, or may be: it was too many or took too long.
    pub incomplete: bool,
}

impl Flows {
    /// Opens one. To list and to remove needs CAP_NET_ADMIN.
    ///
    /// # Errors
    ///
    /// What the kernel says to a socket.
    pub fn open() -> Result<Self, Error> {
        let failed = |source| Error::Socket { operation: "open a netfilter socket".into(), source };
        let channel = Channel::open(NETLINK_NETFILTER, BUFFER).map_err(failed)?;
        channel.enlarge_send_buffer(BUFFER);
        Ok(Self { channel, sequence: 1, outgoing: Vec::new() })
    }

    /// The TCP connections that were opened to one of `servers` and have been established, `most` at most, as
    /// far as they come within `limit`: IPv4 before IPv6.
    ///
    /// The kernel sorts out others (Linux 5.8); an older one tells of all that it tracks.
    ///
    /// # Errors
    ///
    /// What the kernel says: `EINVAL` where it cannot tell of what it tracks.
    pub fn list(
        &mut self,
        servers: &BTreeSet<IpAddr>,
        most: usize,
        limit: Duration,
    ) -> Result<Listed, Error> {
        let until = Instant::now() + limit;
        let mut listed = Listed::default();
        let (sixth, fourth): (Vec<IpAddr>, Vec<IpAddr>) = servers.iter().partition(|server| server.is_ipv6());
        for family in [fourth, sixth] {
            let Some(&one) = family.first() else { continue };
            self.sequence = self.sequence.wrapping_add(1);
            self.outgoing.clear();
            append_question(&mut self.outgoing, one, family.len() == 1, self.sequence);
            let sent = self.channel.send(&self.outgoing).map_err(Fault::from);
            let done = sent.and_then(|()| {
                self.channel.collect(self.sequence, |message| {
                    let flow = parse(message.payload)?;
                    listed.flows.extend(flow.filter(|flow| servers.contains(&flow.server.ip())));
                    listed.incomplete = listed.flows.len() >= most || Instant::now() >= until;
                    Ok(if listed.incomplete { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })
            });
            done.map_err(|fault| fault.error("list the tracked connections".to_owned()))?;
            if listed.incomplete {
                break;
            }
        }
        Ok(listed)
    }

    /// Removes entries. What belongs to them afterwards is new to the kernel. One that is gone already is
    /// passed over.
    ///
    /// # Errors
    ///
    /// What the kernel says to the first that it refuses to remove; of the others some are gone.
    pub fn remove(&mut self, flows: &[Flow]) -> Result<(), Error> {
        self.remove_all(flows).map_err(|fault| fault.error("remove tracked connections".to_owned()))
    }

    fn remove_all(&mut self, flows: &[Flow]) -> Result<(), Fault> {
        for some in flows.chunks(AT_ONCE) {
            self.outgoing.clear();
            for flow in some {
                let removal = ConntrackMessage::Delete(flow.name.clone());
                let mut message = NetlinkMessage::from(about(flow.server.ip(), removal));
                message.header.flags = NLM_F_REQUEST;
                self.sequence = self.sequence.wrapping_add(1);
                append(&mut self.outgoing, message, self.sequence);
            }
            self.channel.send(&self.outgoing)?;
            self.channel.refusals(libc::ENOENT)?;
        }
        Ok(())
    }
}

/// A message with the family of an address.
fn about(address: IpAddr, message: ConntrackMessage) -> NetfilterMessage {
    let family = if address.is_ipv4() { NetfilterProtoFamily::IPv4 } else { NetfilterProtoFamily::IPv6 };
    NetfilterMessage::new(NetfilterHeader::new(family, VERSION, 0), message)
}

/// Appends the question for TCP connections that were opened to this address, or (not `alone`) to any of its
/// family.
fn append_question(bytes: &mut Vec<u8>, server: IpAddr, alone: bool, sequence: u32) {
    let start = bytes.len();
    let tuple = vec![
        Tuple::Ip(vec![IPTuple::DestinationAddress(server)]),
        Tuple::Proto(vec![ProtoTuple::Protocol(Protocol::Tcp)]),
    ];
    let question = ConntrackMessage::Get(vec![ConntrackAttribute::CtaTupleOrig(tuple)]);
    let mut message = NetlinkMessage::from(about(server, question));
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    append(bytes, message, sequence);
    // Which parts of it matter. The crate has no filter, and no way to flag an unknown attribute as nested.
    bytes.extend(12_u16.to_ne_bytes());
    bytes.extend((FILTER | NESTED).to_ne_bytes());
    bytes.extend(8_u16.to_ne_bytes());
    bytes.extend(FILTER_ORIG_FLAGS.to_ne_bytes());
    // Of IPv6 the kernel passes on whatever has another address (seen in 6.18), so that is left to us.
    let address = if alone && server.is_ipv4() { FILTER_IP_DST } else { 0 };
    bytes.extend((address | FILTER_PROTO_NUM).to_ne_bytes());
    let length = u32::try_from(bytes.len() - start).expect("some octets");
    bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Reads the payload of an `IPCTNL_MSG_CT_NEW` message. `None`: it is not TCP, or one side has not begun or
/// has nothing to wait for any more.
fn parse(payload: &[u8]) -> Result<Option<Flow>, String> {
    let attributes = payload.get(HEADER_LEN..).ok_or_else(|| format!("{} bytes of header", payload.len()))?;
    let (mut ends, mut state, mut name) = (None, None, Vec::new());
    wire::attributes(attributes, |kind, value| {
        let mut keep = |kind| name.push(ConntrackAttribute::Other(DefaultNla::new(kind, value.to_vec())));
        match kind {
            TUPLE_ORIG => {
                ends = Some(tuple(value));
                keep(TUPLE_ORIG);
            }
            PROTOINFO => state = Some(tcp_state(value)),
            ZONE => keep(ZONE),
            _ => (),
        }
    })?;
    let (Some(ends), Some(state)) = (ends.transpose()?.flatten(), state.transpose()?.flatten()) else {
        return Ok(None);
    };
    let (client, server) = ends;
    Ok(WAITING.contains(&state).then_some(Flow { client, server, name }))
}

/// The ends of a TCP connection, the one that sends the packets of this direction first.
fn tuple(value: &[u8]) -> Result<Option<(SocketAddr, SocketAddr)>, String> {
    let (mut addresses, mut ports, mut protocol) = ([None; 2], [None; 2], None);
    let mut inner = Ok(());
    wire::attributes(value, |kind, value| {
        let read = match kind {
            TUPLE_IP => wire::attributes(value, |kind, value| match kind {
                IP_V4_SRC | IP_V6_SRC => addresses[0] = address(value),
                IP_V4_DST | IP_V6_DST => addresses[1] = address(value),
                _ => (),
            }),
            TUPLE_PROTO => wire::attributes(value, |kind, value| match kind {
                PROTO_NUM => protocol = value.first().copied(),
                PROTO_SRC_PORT => ports[0] = port(value),
                PROTO_DST_PORT => ports[1] = port(value),
                _ => (),
            }),
            _ => Ok(()),
        };
        if read.is_err() {
            inner = read;
        }
    })?;
    inner?;
    let ([Some(source), Some(destination)], [Some(from), Some(to)]) = (addresses, ports) else {
        return Ok(None);
    };
    let ends = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
    Ok((protocol.map(i32::from) == Some(libc::IPPROTO_TCP)).then_some(ends))
}

/// `TCP_CONNTRACK_*`; `None`: it is of another protocol.
fn tcp_state(value: &[u8]) -> Result<Option<u8>, String> {
    let mut state = None;
    let mut inner = Ok(());
    wire::attributes(value, |kind, value| {
        if kind == PROTOINFO_TCP {
            inner = wire::attributes(value, |kind, value| {
                if kind == PROTOINFO_TCP_STATE {
                    state = value.first().copied();
                }
            });
        }
    })?;
    inner.map(|()| state)
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(value).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(value).ok().map(IpAddr::from))
}

fn port(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

/// `struct nfgenmsg`
const HEADER_LEN: usize = 4;
/// `NFNETLINK_V0`
const VERSION: u8 = 0;
/// `NLA_F_NESTED`
const NESTED: u16 = 1 << 15;

// linux/netfilter/nfnetlink_conntrack.h: `CTA_*`.
const TUPLE_ORIG: u16 = 1;
const PROTOINFO: u16 = 4;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const IP_V4_SRC: u16 = 1;
const IP_V4_DST: u16 = 2;
const IP_V6_SRC: u16 = 3;
const IP_V6_DST: u16 = 4;
const PROTO_NUM: u16 = 1;
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;
const PROTOINFO_TCP: u16 = 1;
const PROTOINFO_TCP_STATE: u16 = 1;
const FILTER_ORIG_FLAGS: u16 = 1;
// net/netfilter/nf_internals.h of the kernel: `CTA_FILTER_F_*`.
const FILTER_IP_DST: u32 = 1 << 1;
const FILTER_PROTO_NUM: u32 = 1 << 3;

/// `TCP_CONNTRACK_ESTABLISHED`, `FIN_WAIT` and `CLOSE_WAIT`: a client that has said all that it has to say
/// may still be waiting for the answer.
const WAITING: std::ops::RangeInclusive<u8> = 3..=5;
/// Entries that are removed with one system call.
const AT_ONCE: usize = 256;
/// What is asked for as buffers in bytes.
const BUFFER: usize = 1 << 20;

/// For the fuzzer.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(payload: &[u8]) {
    let _ = parse(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{damaged, hex};

    /// `192.0.2.9:50000` to `192.0.2.201:443`, sent on to `198.51.100.2:8443`.
    const TRANSLATED: &str = "
        02000000
        34000180 14000180 08000100c0000209 08000200c00002c9
                 1c000280 0500010006000000 06000200c3500000 0600030001bb0000
        34000280 14000180 08000100c6336402 08000200c0000209
                 1c000280 0500010006000000 0600020020fb0000 06000300c3500000
        08000c00a1b2c3d4 08000b0000000002 08000300000001ae 0800070000069780
        30000480 2c000180 0500010003000000 0500020007000000 0500030007000000 0600040023000000 0600050023000000";

    fn read(payload: &str) -> Option<Flow> {
        parse(&hex(payload)).expect("as a kernel sends it")
    }

    #[test]
    fn reads_what_a_client_opened() {
        let flow = read(TRANSLATED).expect("established");
        assert_eq!(flow.client, "192.0.2.9:50000".parse().expect("an address"));
        assert_eq!(
            flow.server,
            "192.0.2.201:443".parse().expect("an address"),
            "not where it was sent on to"
        );
        let sixth = TRANSLATED.replace(
            "34000180 14000180 08000100c0000209 08000200c00002c9",
            "4c000180 2c000180
                      1400030020010db8000000000000000000000009 1400040020010db80000000000000000000000c9",
        );
        let flow = read(&sixth).expect("established");
        assert_eq!(flow.client, "[2001:db8::9]:50000".parse().expect("an address"));
        assert_eq!(flow.server, "[2001:db8::c9]:443".parse().expect("an address"));
    }

    #[test]
    fn who_waits_for_nothing_is_passed_over() {
        let state = |state: &str| {
            TRANSLATED.replace("0500010003000000 0500020007", &format!("05000100{state}000000 0500020007"))
        };
        for (number, waits) in
            [("02", false), ("03", true), ("04", true), ("05", true), ("06", false), ("08", false)]
        {
            assert_eq!(read(&state(number)).is_some(), waits, "state {number}");
        }
        assert_eq!(read(&TRANSLATED.replacen("0500010006000000", "0500010011000000", 1)), None, "UDP");
        assert_eq!(read(&TRANSLATED[..TRANSLATED.find("30000480").expect("in it")]), None, "no state");
    }

    #[test]
    fn an_entry_is_removed_by_the_name_that_the_kernel_gave_it() {
        let in_a_zone = format!("{TRANSLATED} 06001200000b0000");
        let flow = read(&in_a_zone).expect("established");
        let mut bytes = Vec::new();
        append(&mut bytes, about(flow.server.ip(), ConntrackMessage::Delete(flow.name)).into(), 7);
        let expected = "
            50000000 0201 0000 07000000 00000000  02000000
            34000100 14000180 08000100c0000209 08000200c00002c9
                     1c000280 0500010006000000 06000200c3500000 0600030001bb0000
            06001200000b0000";
        assert_eq!(bytes, hex(expected));
    }

    #[test]
    fn the_kernel_is_asked_for_tcp_to_one_address() {
        let mut bytes = Vec::new();
        append_question(&mut bytes, IpAddr::from([192, 0, 2, 201]), true, 7);
        let expected = "
            3c000000 0101 0103 07000000 00000000  02000000
            1c000180 0c000180 08000200c00002c9 0c000280 0500010006000000
            0c001980 080001000a000000";
        assert_eq!(bytes, hex(expected));
    }

    #[test]
    fn damage_is_an_error_or_another_entry_but_no_panic() {
        let payload = hex(TRANSLATED);
        assert!(damaged(&payload).filter(|bytes| parse(bytes).is_err()).count() >= 4);
    }
}
