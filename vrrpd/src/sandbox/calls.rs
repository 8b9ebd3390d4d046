//! System calls that are forbidden.
//!
//! The list names what is forbidden, and it fails with EPERM. A list of what is allowed, and a process that
//! is killed for the rest, would take the addresses away for a call that the next version of the C library
//! makes. Everything here is something that the daemon has no use for whatever it is configured to do:
//! it executes nothing, because the launcher does.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub(super) use filter::forbid;

/// There is no translation for this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub(super) fn forbid() -> Option<String> {
    Some("no system call is forbidden: vrrpd has no list for this architecture".to_owned())
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod filter {
    use std::collections::BTreeMap;

    use libc::{c_int, c_long};
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule, apply_filter,
    };

    /// Forbids them to this thread, and says so when that cannot be done.
    pub(in crate::sandbox) fn forbid() -> Option<String> {
        let programs = programs().map_err(|error| error.to_string());
        let applied = programs.and_then(|programs| {
            programs.iter().try_for_each(|program| apply_filter(program)).map_err(|error| error.to_string())
        });
        let why = applied.err()?;
        Some(format!("no system call is forbidden, which takes seccomp filters (Linux 3.17): {why}"))
    }

    fn programs() -> Result<[BpfProgram; 2], BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for &call in FORBIDDEN {
            rules.insert(call, Vec::new());
        }
        rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![not_a_thread()?])?]);
        rules.insert(libc::SYS_socket, vec![SeccompRule::new(of_no_family_of_ours()?)?]);
        #[cfg(target_arch = "x86_64")]
        add_x32(&mut rules);
        // Its flags are in memory, which a filter cannot read. The C library takes this answer for an old
        // kernel, and calls clone(2).
        let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        Ok([denying(rules, libc::EPERM)?, denying(clone3, libc::ENOSYS)?])
    }

    fn denying(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: c_int) -> Result<BpfProgram, BackendError> {
        let denied = SeccompAction::Errno(errno.unsigned_abs());
        let filter =
            SeccompFilter::new(rules, SeccompAction::Allow, denied, std::env::consts::ARCH.try_into()?)?;
        filter.try_into()
    }

    /// clone(2) makes a process, or a thread in other namespaces.
    fn not_a_thread() -> Result<SeccompCondition, BackendError> {
        let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0)
    }

    /// All of these together.
    fn of_no_family_of_ours() -> Result<Vec<SeccompCondition>, BackendError> {
        let ours = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];
        let other = |family: c_int| {
            SeccompCondition::new(
                0,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::Ne,
                u64::from(family.unsigned_abs()),
            )
        };
        ours.into_iter().map(other).collect()
    }

    /// The same calls by their numbers in the x32 ABI, where the kernel has that; some have one of their own.
    #[cfg(target_arch = "x86_64")]
    fn add_x32(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) {
        const X32: c_long = 0x4000_0000;
        /// execve, ptrace, kexec_load, process_vm_readv, process_vm_writev, execveat.
        const OWN: [c_long; 6] = [520, 521, 528, 539, 540, 545];
        let same: Vec<_> = rules.iter().map(|(call, rule)| (call | X32, rule.clone())).collect();
        rules.extend(same);
        rules.extend(OWN.map(|call| (call | X32, Vec::new())));
    }

    const FORBIDDEN: &[c_long] = &[
        // Other programs and other processes.
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kcmp,
        libc::SYS_pidfd_getfd,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
        // Other users.
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setfsuid,
        libc::SYS_setfsgid,
        libc::SYS_setgroups,
        // Namespaces and file systems.
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
        libc::SYS_mknodat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mknod,
        libc::SYS_quotactl,
        libc::SYS_acct,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_fanotify_init,
        // The kernel itself.
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_kexec_file_load,
        libc::SYS_reboot,
        libc::SYS_syslog,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_vhangup,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_iopl,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_ioperm,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_modify_ldt,
        // Clocks.
        libc::SYS_clock_settime,
        libc::SYS_clock_adjtime,
        libc::SYS_adjtimex,
        libc::SYS_settimeofday,
        // Parts of the kernel that are large, and of which faults were found.
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_lookup_dcookie,
        libc::SYS_personality,
        libc::SYS_mbind,
        libc::SYS_set_mempolicy,
        libc::SYS_migrate_pages,
        libc::SYS_move_pages,
    ];
}
