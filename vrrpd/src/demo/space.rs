//! Network namespaces without a name: they end with the last descriptor, thread or process in them.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

use super::Error;
use crate::control::{errno_words, io_words};

/// Moves this process, which must have one thread only, to a network namespace of its own; where it
/// may not do so, to a user namespace as well, in which it may.
pub(super) fn enter() -> Result<(), Error> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => enter_as_own_root(),
        Err(errno) => Err(refused(errno_words(errno as i32))),
    }
}

fn enter_as_own_root() -> Result<(), Error> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|errno| refused(errno_words(errno as i32)))?;
    let map = || -> io::Result<()> {
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        match fs::write("/proc/self/setgroups", "deny") {
            // Linux before 3.19 asks for nothing of the kind.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            written => written?,
        }
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))
    };
    map().map_err(|error| refused(io_words(&error)))
}

/// Says which of the switches that distributions have for this is off.
fn refused(reason: String) -> Error {
    let value = |file: &str| fs::read_to_string(file).map(|text| text.trim().to_owned()).ok();
    let off = |file: &str, value_if_off: &str| value(file).is_some_and(|value| value == value_if_off);
    let switch = if off("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        Some("kernel.unprivileged_userns_clone=1")
    } else if off("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        Some("kernel.apparmor_restrict_unprivileged_userns=0")
    } else if off("/proc/sys/user/max_user_namespaces", "0") {
        Some("user.max_user_namespaces=1000")
    } else {
        None
    };
    Error::Namespace { reason, remedy: remedy(geteuid().is_root(), switch) }
}

fn remedy(root: bool, switch: Option<&str>) -> String {
    match (root, switch) {
        (_, Some(switch)) => format!(
            "this kernel does not allow unprivileged user namespaces: run the demo as root, or let everybody \
             make them with: sysctl -w {switch}"
        ),
        (true, None) => String::from(
            "this looks like a container that may not make namespaces: run the demo outside of it, or give \
             it CAP_SYS_ADMIN",
        ),
        (false, None) => String::from("run the demo as root"),
    }
}

/// A network namespace that lasts at least as long as this value.
#[derive(Debug)]
pub(super) struct Namespace {
    file: File,
}

impl Namespace {
    /// A new one, made by a thread of its own so that the caller stays where it is.
    pub(super) fn new() -> Result<Self, Error> {
        let made = std::thread::scope(|scope| {
            let make = || -> io::Result<File> {
                unshare(CloneFlags::CLONE_NEWNET)?;
                File::open("/proc/thread-self/ns/net")
            };
            let thread = std::thread::Builder::new().spawn_scoped(scope, make)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        Ok(Self { file: made.map_err(Error::system("make a network namespace"))? })
    }

    /// Runs `work` on a thread inside of it. A socket that is made there stays there.
    pub(super) fn enter<R: Send>(&self, work: impl FnOnce() -> Result<R, Error> + Send) -> Result<R, Error> {
        std::thread::scope(|scope| {
            let inside = || {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
                    .map_err(Error::system("enter a network namespace"))?;
                work()
            };
            let thread = std::thread::Builder::new()
                .spawn_scoped(scope, inside)
                .map_err(Error::system("start a thread"))?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// For netlink, while `self` lives.
    pub(super) fn netns(&self) -> netlink::Netns {
        netlink::Netns::Fd(self.file.as_raw_fd())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_switch_that_is_off() {
        let text = remedy(false, Some("user.max_user_namespaces=1000"));
        assert!(text.contains("as root") && text.ends_with("sysctl -w user.max_user_namespaces=1000"));
        assert_eq!(remedy(false, None), "run the demo as root");
        assert!(remedy(true, None).contains("CAP_SYS_ADMIN"));
    }
}
