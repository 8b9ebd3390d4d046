//! Packets with the kernel's time stamps, from a packet socket of our own.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::net::if_::if_indextoname;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::frame::{self, Frame, Mac};
use crate::{DEADLINE, Namespace, wait_for};

/// Whose frames a capture sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What enters any port of the switch, once each.
    Switch,
    /// Both directions of a host's interfaces.
    Host,
}

/// A running capture of advertisements, ARP, neighbour discovery and group membership. Ends when dropped.
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Captures from before this returns.
    pub(crate) fn start(namespace: &Namespace, side: Side) -> Self {
        Self::filtered(namespace, side, &filter())
    }

    /// Of what enters the switch only advertisements from `sources`: for a wire that others flood.
    pub(crate) fn of_adverts(switch: &Namespace, sources: &[Mac]) -> Self {
        Self::filtered(switch, Side::Switch, &adverts_from(sources))
    }

    fn filtered(namespace: &Namespace, side: Side, filter: &[SockFilter]) -> Self {
        let socket = namespace.enter(|| open(filter)).expect("root may open packet sockets");
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (frames, stop) = (Arc::clone(&frames), Arc::clone(&stop));
            // An interface's name can only be asked for from inside of its namespace.
            let inside = namespace.duplicate();
            move || inside.enter(|| receive(&socket, side, &frames, &stop))
        });
        Self { frames, stop, thread: Some(thread) }
    }

    /// Everything captured so far, in order.
    pub fn frames(&self) -> Vec<Frame> {
        self.frames.lock().expect("the capture does not panic").clone()
    }

    /// The interface of each advertisement captured so far, in order; on the switch, the sender.
    pub fn speakers(&self) -> Vec<String> {
        let frames = self.frames.lock().expect("the capture does not panic");
        let adverts = frames.iter().filter(|frame| frame.advert().is_some());
        adverts.map(|frame| frame.interface.clone()).collect()
    }

    /// The advertisements of `node` captured so far, in order.
    pub fn adverts_of(&self, node: &str) -> Vec<Frame> {
        let frames = self.frames.lock().expect("the capture does not panic");
        frames.iter().filter(|f| f.interface == node && f.advert().is_some()).cloned().collect()
    }

    /// Waits for the first advertisement of `node` at or after `since_ns`.
    pub fn wait_for_advert(&self, node: &str, since_ns: i64) -> Frame {
        self.wait_for(&format!("an advertisement of {node}"), since_ns, |frame| {
            frame.interface == node && frame.advert().is_some()
        })
    }

    /// Waits for the first advertisement in which `node` resigns, with priority 0.
    pub fn wait_for_farewell(&self, node: &str) -> Frame {
        self.wait_for(&format!("the farewell of {node}"), 0, |frame| {
            frame.interface == node && frame.resigns()
        })
    }

    /// Waits for the first frame captured at or after `since_ns` that `wanted` accepts.
    pub fn wait_for(&self, what: &str, since_ns: i64, wanted: impl Fn(&Frame) -> bool) -> Frame {
        self.wait_within(DEADLINE, what, since_ns, wanted)
    }

    /// As [`wait_for`](Self::wait_for) with a deadline, for what takes its time.
    pub fn wait_within(
        &self,
        deadline: Duration,
        what: &str,
        since_ns: i64,
        wanted: impl Fn(&Frame) -> bool,
    ) -> Frame {
        wait_for(what, deadline, || {
            let frames = self.frames.lock().expect("the capture does not panic");
            frames.iter().find(|frame| frame.time_ns >= since_ns && wanted(frame)).cloned()
        })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, has been printed.
            let _ = thread.join();
        }
    }
}

fn open(filter: &[SockFilter]) -> std::io::Result<Socket> {
    let all = i32::from((libc::ETH_P_ALL as u16).to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(all)))?;
    // What slips in before the filter is in place is sorted out by the parser.
    socket.attach_filter(filter)?;
    socket.set_recv_buffer_size(4 << 20)?;
    // Thousands of frames in one burst are more than the system lets anybody ask for.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20));
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    Ok(socket)
}

// The instructions of a socket filter, as linux/bpf_common.h composes them.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Passes ARP, VRRP over both families, neighbour solicitations and advertisements, IGMP, MLD, and all
/// that comes from a virtual MAC address. A prober's thousands of echoes must not cost us a wake-up each.
fn filter() -> [SockFilter; 18] {
    let op = SockFilter::new;
    [
        op(LOAD_WORD, 0, 0, 6),
        op(JUMP_EQUAL, 14, 0, frame::VIRTUAL_MAC_PREFIX),
        op(LOAD_HALF, 0, 0, 12),
        op(JUMP_EQUAL, 12, 0, 0x0806),
        op(JUMP_EQUAL, 0, 3, 0x0800),
        op(LOAD_BYTE, 0, 0, 14 + 9),
        op(JUMP_EQUAL, 9, 0, 112),
        op(JUMP_EQUAL, 8, 9, 2),
        op(JUMP_EQUAL, 0, 8, 0x86dd),
        op(LOAD_BYTE, 0, 0, 14 + 6),
        op(JUMP_EQUAL, 5, 0, 112),
        // The hop-by-hop options, which only MLD has here.
        op(JUMP_EQUAL, 4, 0, 0),
        op(JUMP_EQUAL, 0, 4, 58),
        op(LOAD_BYTE, 0, 0, 14 + 40),
        op(JUMP_EQUAL, 1, 0, 135),
        op(JUMP_EQUAL, 0, 1, 136),
        op(RETURN, 0, 0, 0x4_0000),
        op(RETURN, 0, 0, 0),
    ]
}

/// Passes VRRP over both families from the Ethernet addresses `sources`.
fn adverts_from(sources: &[Mac]) -> Vec<SockFilter> {
    let op = SockFilter::new;
    let count = u8::try_from(sources.len()).expect("a handful of nodes");
    let mut program = vec![
        op(LOAD_HALF, 0, 0, 12),
        op(JUMP_EQUAL, 0, 2, 0x0800),
        op(LOAD_BYTE, 0, 0, 14 + 9),
        op(JUMP_EQUAL, 3, count + 4, 112),
        op(JUMP_EQUAL, 0, count + 3, 0x86dd),
        op(LOAD_BYTE, 0, 0, 14 + 6),
        op(JUMP_EQUAL, 0, count + 1, 112),
        // The last four octets tell the lab's nodes apart.
        op(LOAD_WORD, 0, 0, 8),
    ];
    for (left, Mac([_, _, a, b, c, d])) in (1..=count).rev().zip(sources) {
        program.push(op(JUMP_EQUAL, left, 0, u32::from_be_bytes([*a, *b, *c, *d])));
    }
    program.extend([op(RETURN, 0, 0, 0), op(RETURN, 0, 0, 0x4_0000)]);
    program
}

fn receive(socket: &Socket, side: Side, frames: &Mutex<Vec<Frame>>, stop: &AtomicBool) {
    let mut buffer = [0_u8; 2048];
    let mut control = nix::cmsg_space!(TimeSpec);
    while !stop.load(Ordering::Relaxed) {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received =
            recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
        // A time-out, or an interface that went down: the next one may come back.
        let Ok(message) = received else { continue };
        let Some(time_ns) = stamp(message.cmsgs()) else { continue };
        let Some(link) = message.address else { continue };
        let length = message.bytes;
        let interface = u32::try_from(link.ifindex()).ok().and_then(|index| if_indextoname(index).ok());
        let interface = interface.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        // What a port receives comes by once more as sent by the other ports, and as received by
        // the bridge itself.
        let twice = link.pkttype() == libc::PACKET_OUTGOING || interface.starts_with("br");
        if side == Side::Switch && twice {
            continue;
        }
        let octets = &buffer[..length.min(2048)];
        if let Some((source, kind)) = frame::parse(octets) {
            let frame = Frame { time_ns, interface, source, kind, octets: octets.to_vec() };
            frames.lock().expect("readers do not panic under the lock").push(frame);
        }
    }
}

/// The kernel's receive time, ns of `CLOCK_REALTIME`.
pub(crate) fn stamp(messages: nix::Result<nix::sys::socket::CmsgIterator<'_>>) -> Option<i64> {
    messages.ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(time) => Some(time.tv_sec() * 1_000_000_000 + time.tv_nsec()),
        _ => None,
    })
}
