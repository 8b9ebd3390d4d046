//! The system calls that no library wraps safely.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::mman::{MlockAllFlags, mlockall};
use socket2::{SockAddr, Socket};

/// Address of a packet socket that is bound to an interface, and receives what it was opened for:
/// with protocol 0, nothing.
pub(crate) fn link_address(index: u32) -> SockAddr {
    packet_address(index, 0)
}

/// Address of a packet socket that receives the ARP of an interface.
pub(super) fn arp_address(index: u32) -> SockAddr {
    packet_address(index, libc::ETH_P_ARP)
}

fn packet_address(index: u32, protocol: libc::c_int) -> SockAddr {
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
            *length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("20 octets");
            Ok(())
        })
    };
    let ((), address) = built.expect("the closure does not fail");
    address
}

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
