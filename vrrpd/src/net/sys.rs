//! The system calls that no library wraps safely.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockAddr, Socket};
use vrrp_proto::Family;

/// Address of a packet socket that is bound to an interface, and receives what it was opened for:
/// with protocol 0, nothing.
pub(crate) fn link_address(index: u32) -> SockAddr {
    packet_address(index, 0)
}

/// Address of a packet socket that receives the ARP of an interface.
pub(super) fn arp_address(index: u32) -> SockAddr {
    packet_address(index, libc::ETH_P_ARP)
}

/// Address of a packet socket that receives what an interface has of one version of IP.
pub(super) fn ip_address(index: u32, family: Family) -> SockAddr {
    packet_address(index, ip_protocol(family))
}

/// Address to send packets to on an interface: a station with this link-layer address, of which octets
/// after the eighth do not fit; none on interfaces that have no such addresses.
pub(crate) fn station_address(index: u32, family: Family, station: &[u8]) -> SockAddr {
    build_address(index, ip_protocol(family), station)
}

fn ip_protocol(family: Family) -> libc::c_int {
    match family {
        Family::Ipv4 => libc::ETH_P_IP,
        Family::Ipv6 => libc::ETH_P_IPV6,
    }
}

fn packet_address(index: u32, protocol: libc::c_int) -> SockAddr {
    build_address(index, protocol, &[])
}

fn build_address(index: u32, protocol: libc::c_int, station: &[u8]) -> SockAddr {
    let protocol = u16::try_from(protocol).expect("an EtherType").to_be();
    let family = libc::sa_family_t::try_from(libc::AF_PACKET).expect("AF_PACKET is 17");
    // SAFETY: the closure writes a sockaddr_ll, which fits a sockaddr_storage and of which every
    // octet is set (the struct is zeroed by `try_init`), and sets the length to its size.
    let built = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = &mut *storage.cast::<libc::sockaddr_ll>();
            address.sll_family = family;
            address.sll_protocol = protocol;
            address.sll_ifindex = index.cast_signed();
            address.sll_addr.iter_mut().zip(station).for_each(|(to, from)| *to = *from);
            address.sll_halen = u8::try_from(station.len().min(address.sll_addr.len())).expect("8 at most");
            *length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("20 octets");
            Ok(())
        })
    };
    let ((), address) = built.expect("the closure does not fail");
    address
}

/// Sends messages in order with one system call, up to [`SENT_AT_ONCE`] of them, and says how many left: not
/// all where one was refused.
///
/// # Errors
///
/// What the kernel says of the first.
pub(super) fn send_all(socket: &Socket, messages: &[&[u8]]) -> io::Result<usize> {
    let mut parts = [const { libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 } }; SENT_AT_ONCE];
    // SAFETY: all zeros is an mmsghdr without address, parts, control data and flags.
    let mut headers: [libc::mmsghdr; SENT_AT_ONCE] = unsafe { std::mem::zeroed() };
    let mut count = 0;
    for ((message, part), header) in messages.iter().zip(&mut parts).zip(&mut headers) {
        *part = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` headers point to one part each, which point to the messages; all of these live
    // until the call returns, and what is sent is only read.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Messages that [`send_all`] takes.
pub(crate) const SENT_AT_ONCE: usize = 64;

/// Has a raw ICMPv6 socket pass messages of one type only.
///
/// # Errors
///
/// What the kernel says; it has no reason to.
pub(super) fn pass_only_icmpv6(socket: &Socket, kind: u8) -> io::Result<()> {
    /// `ICMP6_FILTER` of linux/icmpv6.h.
    const FILTER: libc::c_int = 1;
    // One bit for each type, that of a blocked one is set.
    let mut blocked = [u32::MAX; 8];
    blocked[usize::from(kind / 32)] &= !(1 << (kind % 32));
    let length = libc::socklen_t::try_from(size_of_val(&blocked)).expect("32 octets");
    // SAFETY: the kernel reads `length` octets from the array, which lives until the call returns.
    let answer = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_ICMPV6, FILTER, blocked.as_ptr().cast(), length)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives a socket this much room for what waits to be read, or as much as may be had.
pub(super) fn make_room(socket: &Socket, octets: usize) {
    // Without CAP_NET_ADMIN the bound of all sockets holds, net.core.rmem_max.
    if setsockopt(socket, sockopt::RcvBufForce, &octets).is_err() {
        let _ = socket.set_recv_buffer_size(octets);
    }
}

/// Packets that a socket had no room for since it was opened; `None` where the kernel does not tell
/// (before 4.12). The number wraps around.
pub(super) fn dropped(socket: &Socket) -> Option<u32> {
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut figures = [0; DROPS + 1];
    let told = read_option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut figures);
    told.is_ok_and(|told| told == figures.len()).then_some(figures[DROPS])
}

/// Packets that a packet socket had no room for since this was asked last.
pub(super) fn newly_dropped(socket: &Socket) -> u32 {
    // `struct tpacket_stats`: all packets, and those dropped. It has no reason to fail.
    let mut figures = [0; 2];
    let _ = read_option(socket, libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut figures);
    figures[1]
}

/// Makes packet sockets one group: each packet is delivered to one of them.
///
/// # Errors
///
/// Before Linux 4.12.
pub(super) fn gather<'a>(sockets: impl IntoIterator<Item = &'a Socket>) -> io::Result<()> {
    let by_program = libc::PACKET_FANOUT_CBPF << 16;
    let mut group = by_program | libc::PACKET_FANOUT_FLAG_UNIQUEID << 16;
    for socket in sockets {
        set_option(socket, libc::PACKET_FANOUT, &group)?;
        let mut made = [0];
        read_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &mut made)?;
        group = by_program | (made[0] & 0xffff);
    }
    Ok(())
}

/// Has the program choose which socket of a group gets a packet: what it returns is its place.
///
/// # Errors
///
/// When the socket is in no group, or there is no memory left.
pub(super) fn share_out(socket: &Socket, program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).expect("a short program");
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    set_option(socket, libc::PACKET_FANOUT_DATA, &program)
}

/// Sets an option of packet sockets that is a plain value, or points to what lives as long as it.
fn set_option<T>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("some octets");
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: the kernel reads `length` octets of the value, and what it points to; it writes nothing, and
    // both live until the call returns.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, value, length) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option that is an array of numbers, and says how many of them there are.
fn read_option(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
    figures: &mut [u32],
) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(size_of_val(figures)).expect("a few figures");
    // SAFETY: the kernel writes at most `length` octets to the array, and the length itself; both live
    // until the call returns.
    let answer = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, figures.as_mut_ptr().cast(), &raw mut length)
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(length).expect("a few octets") / size_of::<u32>())
}

/// Puts the calling thread into the class `SCHED_RR`; threads and processes that it starts stay out.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_NICE`, or in a control group without realtime budget.
pub(crate) fn schedule_realtime() -> io::Result<()> {
    /// Above the kernel's housekeeping, below its watchdogs.
    const PRIORITY: i32 = 10;
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: 0 names the calling thread, and the parameters live until the call returns.
    let answer =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &parameters) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps every page in memory once it has been touched.
///
/// # Errors
///
/// Where the limit on locked memory does not allow it.
pub(crate) fn lock_memory() -> io::Result<()> {
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    Ok(mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)?)
}
