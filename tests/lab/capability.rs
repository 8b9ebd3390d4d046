//! A kernel that refuses addresses: by taking a right from one thread of a running daemon, and
//! giving it back.
//!
//! Linux has no switch that refuses an address and leaves the interface as it was; what happens in the
//! field is a security policy that forbids it. A thread may lower its own effective capabilities and
//! raise them again, so a debugger's trick has it do so. It is the kernel that then says EPERM.

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::{DEADLINE, Daemon, usage, wait_for};

const NET_ADMIN: u64 = 1 << 12;

impl Daemon {
    /// From now on the kernel refuses, with EPERM, every change of addresses that vrrpd asks for.
    ///
    /// # Panics
    /// When the thread cannot be traced.
    pub fn forbid_addresses(&self) {
        self.set_effective(|permitted| permitted & !NET_ADMIN);
    }

    /// It is allowed again.
    ///
    /// # Panics
    /// As [`forbid_addresses`](Self::forbid_addresses).
    pub fn allow_addresses(&self) {
        self.set_effective(|permitted| permitted);
    }

    fn set_effective(&self, wanted: impl Fn(u64) -> u64) {
        let thread = usage::thread(self.pid(), "vrrp-kernel").expect("vrrpd has a thread for netlink");
        let held = |set| usage::capabilities(thread, set).expect("every thread has capabilities");
        let [permitted, inheritable] = [held("CapPrm"), held("CapInh")];
        let effective = wanted(permitted);
        // The thread waits nearly always; only then it stands behind a `syscall` that can be used.
        wait_for("a moment in which vrrpd's netlink thread waits", DEADLINE, || {
            set_capabilities(thread, [effective, permitted, inheritable])
                .unwrap_or_else(|e| panic!("cannot trace thread {thread}: {e}"))
        });
        assert_eq!(held("CapEff"), effective);
    }
}

/// Has `thread` call capset(2); `None` when it is not behind a system call just now.
fn set_capabilities(thread: Pid, sets: [u64; 3]) -> nix::Result<Option<()>> {
    ptrace::attach(thread)?;
    waitpid(thread, Some(WaitPidFlag::__WALL))?;
    let done = call_capset(thread, sets);
    ptrace::detach(thread, None::<Signal>)?;
    done
}

/// `syscall`, as the processor reads it.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Octets below the stack pointer that belong to the interrupted function.
const RED_ZONE: u64 = 128;

fn call_capset(thread: Pid, sets: [u64; 3]) -> nix::Result<Option<()>> {
    let before = ptrace::getregs(thread)?;
    let instruction = before.rip - 2;
    if ptrace::read(thread, instruction as ptrace::AddressType)?.to_le_bytes()[..2] != SYSCALL {
        return Ok(None);
    }
    let words = arguments(sets);
    let at = (before.rsp - RED_ZONE - 64) & !15;
    for (word, address) in words.into_iter().zip((at..).step_by(8)) {
        ptrace::write(thread, address as ptrace::AddressType, word)?;
    }
    let mut call = before;
    call.rip = instruction;
    call.rax = libc::SYS_capset.unsigned_abs();
    // None is under way: the kernel must not repeat the interrupted one in its place.
    call.orig_rax = u64::MAX;
    (call.rdi, call.rsi) = (at, at + 8);
    ptrace::setregs(thread, call)?;
    ptrace::step(thread, None)?;
    waitpid(thread, Some(WaitPidFlag::__WALL))?;
    let result = ptrace::getregs(thread)?.rax.cast_signed();
    // With these the kernel repeats the interrupted call.
    ptrace::setregs(thread, before)?;
    if result == 0 { Ok(Some(())) } else { Err(Errno::from_raw(i32::try_from(-result).unwrap_or(0))) }
}

/// The header of capset(2), then the low halves of the three sets, then the high ones.
fn arguments(sets: [u64; 3]) -> [i64; 4] {
    /// `_LINUX_CAPABILITY_VERSION_3`; the other half, thread 0, means the caller.
    const VERSION: u64 = 0x2008_0522;
    let [effective, permitted, inheritable] = sets;
    let low = |set: u64| set & 0xffff_ffff;
    let high = |set: u64| set >> 32;
    [
        VERSION,
        low(effective) | low(permitted) << 32,
        low(inheritable) | high(effective) << 32,
        high(permitted) | high(inheritable) << 32,
    ]
    .map(u64::cast_signed)
}
