//! Frames that no router would send, written octet by octet.

use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{Mac, Node};

/// The group of VRRP over IPv4, and its Ethernet address.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_MAC: Mac = Mac([0x01, 0, 0x5e, 0, 0, 0x12]);

/// Sends Ethernet frames from a node's `eth0`.
pub struct Injector {
    socket: Socket,
    own: Mac,
}

/// An IPv4 packet of protocol 112, sound unless a test makes it otherwise.
#[derive(Clone, Debug)]
pub struct Forgery {
    /// Who it says that it is from.
    pub source: Ipv4Addr,
    /// Where it goes: the group, or the address of the node with this Ethernet address.
    pub destination: (Ipv4Addr, Mac),
    /// Time to live.
    pub ttl: u8,
    /// The VRRP message.
    pub message: Vec<u8>,
}

impl Forgery {
    /// An advertisement of VRRPv3 with the checksum that keepalived writes.
    pub fn advert(source: Ipv4Addr, vrid: u8, priority: u8, interval_cs: u16, list: &[Ipv4Addr]) -> Self {
        let count = u8::try_from(list.len()).expect("a short list");
        let [high, low] = interval_cs.to_be_bytes();
        let mut message = vec![0x31, vrid, priority, count, high, low, 0, 0];
        list.iter().for_each(|address| message.extend(address.octets()));
        Self { source, destination: (GROUP, GROUP_MAC), ttl: 255, message }.summed()
    }

    /// The same with the right checksum for what it says now.
    pub fn summed(mut self) -> Self {
        self.message[6..8].fill(0);
        let length = u8::try_from(self.message.len()).expect("a short message");
        let mut octets = [self.source.octets(), self.destination.0.octets()].concat();
        octets.extend([0, 112, 0, length]);
        octets.extend(&self.message);
        let sum = checksum(&octets).to_be_bytes();
        self.message[6..8].copy_from_slice(&sum);
        self
    }

    fn frame(&self, own: Mac) -> Vec<u8> {
        let total = u16::try_from(20 + self.message.len()).expect("a short packet").to_be_bytes();
        let mut header = vec![0x45, 0xc0, total[0], total[1], 0, 0, 0x40, 0, self.ttl, 112, 0, 0];
        header.extend(self.source.octets());
        header.extend(self.destination.0.octets());
        let sum = checksum(&header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        let mut frame = [&self.destination.1.0[..], &own.0, &[0x08, 0]].concat();
        frame.extend(header);
        frame.extend(&self.message);
        frame.resize(frame.len().max(60), 0);
        frame
    }
}

impl Injector {
    /// One for the `eth0` of a node.
    ///
    /// # Panics
    /// When it cannot be opened, which root can.
    pub fn open(node: &Node) -> Self {
        node.namespace().enter(|| {
            let socket = Socket::new(Domain::PACKET, Type::RAW, None).expect("root may open packet sockets");
            // Protocol 0: nothing is received.
            socket.bind(&interface_address()).expect("eth0 is there");
            Self { socket, own: node.mac() }
        })
    }

    /// Sends a packet.
    ///
    /// # Panics
    /// When the kernel does not take it.
    pub fn send(&self, forgery: &Forgery) {
        self.send_frame(&forgery.frame(self.own));
    }

    /// Sends a packet `count` times, as fast as the kernel takes it.
    ///
    /// # Panics
    /// When the kernel does not take it.
    pub fn flood(&self, forgery: &Forgery, count: usize) {
        const AT_ONCE: usize = 64;
        let frame = forgery.frame(self.own);
        let slices = [IoSlice::new(&frame)];
        let mut left = count;
        while left > 0 {
            let these = left.min(AT_ONCE);
            let mut headers = MultiHeaders::<()>::preallocate(these, None);
            let (messages, nowhere) = (vec![slices; these], vec![None::<()>; these]);
            let socket = self.socket.as_raw_fd();
            let sent = sendmmsg(socket, &mut headers, &messages, &nowhere, [], MsgFlags::empty());
            left -= sent.expect("the interface is up").count();
        }
    }

    /// Tells everybody that `address` is here.
    ///
    /// # Panics
    /// When the kernel does not take it.
    pub fn claim(&self, address: Ipv4Addr) {
        let mut frame = [&[0xff; 6][..], &self.own.0, &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
        frame.extend(self.own.0);
        frame.extend(address.octets());
        frame.extend([0; 6]);
        frame.extend(address.octets());
        frame.resize(60, 0);
        self.send_frame(&frame);
    }

    fn send_frame(&self, frame: &[u8]) {
        self.socket.send(frame).expect("the interface is up");
    }
}

/// Where a packet socket sends what is to leave by `eth0` of the namespace that the caller is in.
pub(crate) fn interface_address() -> SockAddr {
    let index = nix::net::if_::if_nametoindex("eth0").expect("a node has eth0");
    let family = libc::sa_family_t::try_from(libc::AF_PACKET).expect("AF_PACKET is 17");
    // SAFETY: the closure writes a sockaddr_ll, which fits a sockaddr_storage and of which every
    // octet is set (the struct is zeroed by `try_init`), and sets the length to its size.
    let built = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = &mut *storage.cast::<libc::sockaddr_ll>();
            address.sll_family = family;
            address.sll_ifindex = index.cast_signed();
            *length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("20 octets");
            Ok(())
        })
    };
    let ((), address) = built.expect("the closure does not fail");
    address
}

/// The ones' complement sum of RFC 1071.
pub(crate) fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
