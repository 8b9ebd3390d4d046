//! One daemon for a virtual router of this host.
//!
//! Two daemons on one interface do not hear each other, because nobody hears its own host's multicast;
//! each would hold the addresses. So a daemon binds an abstract Unix socket for each of its virtual
//! routers: such names belong to the network namespace, as the interfaces do, and vanish with the process,
//! however it ends. Nobody connects to them but a daemon that finds one taken.
//!
//! Anybody may bind such a name. What could not run a VRRP daemon is not taken for one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use caps::{CapSet, Capability};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt};
use nix::unistd::geteuid;
use tracing::warn;
use vrrp_proto::{Family, Vrid};

use crate::config::{Config, VirtualRouter};

/// What belongs to one daemon alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Berth {
    interface: String,
    family: Family,
    vrid: Vrid,
}

/// Those that are ours; a name that could not be had for lack of rights or memory has no socket.
#[derive(Debug, Default)]
pub(super) struct Berths(BTreeMap<Berth, Option<UnixListener>>);

/// Another daemon has a virtual router of ours.
#[derive(Debug, thiserror::Error)]
#[error(
    "virtual router {name}: {holder} on this host already runs VRID {} for {} on {}; stop that daemon, or give \
     this virtual router another vrid",
    berth.vrid.get(), berth.family, berth.interface
)]
pub(super) struct Taken {
    name: String,
    berth: Berth,
    holder: Holder,
}

/// Who bound a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    uid: u32,
    /// 0 when it is in another process namespace.
    pid: i32,
}

impl Berths {
    /// Takes those of this configuration, beside those that are ours already.
    ///
    /// # Errors
    ///
    /// When another daemon has one; then none has been taken.
    pub(super) fn take(&mut self, config: &Config) -> Result<(), Taken> {
        let mut taken = BTreeMap::new();
        for router in &config.virtual_routers {
            let berth = Berth::of(router);
            if self.0.contains_key(&berth) || taken.contains_key(&berth) {
                continue;
            }
            let socket = match berth.bind() {
                Ok(socket) => Some(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => match berth.holder() {
                    Some(holder) if holder.may_speak_vrrp() => {
                        return Err(Taken { name: router.name.clone(), berth, holder });
                    }
                    holder => {
                        let who = holder.map_or_else(|| "somebody".to_owned(), |holder| holder.to_string());
                        warn!(
                            "{who} took the name {} and is no VRRP daemon: a second vrrpd for it would go unnoticed",
                            berth.name()
                        );
                        None
                    }
                },
                Err(error) => {
                    warn!(
                        "cannot bind the name {}: {error}; a second vrrpd for it would go unnoticed",
                        berth.name()
                    );
                    None
                }
            };
            taken.insert(berth, socket);
        }
        self.0.extend(taken);
        Ok(())
    }

    /// Gives back all but those of these virtual routers.
    pub(super) fn keep<'a>(&mut self, routers: impl Iterator<Item = &'a VirtualRouter>) {
        let kept: Vec<Berth> = routers.map(Berth::of).collect();
        self.0.retain(|berth, _| kept.contains(berth));
    }
}

impl Berth {
    fn of(router: &VirtualRouter) -> Self {
        Self { interface: router.interface.clone(), family: router.family, vrid: router.vrid }
    }

    fn name(&self) -> String {
        format!("@vrrpd/{}/{}/{}", self.interface, self.family, self.vrid.get())
    }

    fn address(&self) -> io::Result<SocketAddr> {
        SocketAddr::from_abstract_name(&self.name()[1..])
    }

    fn bind(&self) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&self.address()?)
    }

    /// Who has it, if somebody still has, and answers at once: a squatter may let us wait for ever.
    fn holder(&self) -> Option<Holder> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
        connect(stream.as_raw_fd(), &UnixAddr::new_abstract(&self.name().as_bytes()[1..]).ok()?).ok()?;
        let credentials = getsockopt(&stream, sockopt::PeerCredentials).ok()?;
        Some(Holder { uid: credentials.uid(), pid: credentials.pid() })
    }
}

impl Holder {
    /// Could it be a daemon: by its user, or because it may open raw sockets?
    fn may_speak_vrrp(self) -> bool {
        let may_open = |pid| caps::has_cap(Some(pid), CapSet::Effective, Capability::CAP_NET_RAW);
        self.uid == 0
            || self.uid == geteuid().as_raw()
            || self.pid != 0 && may_open(self.pid).unwrap_or(false) && shares_our_users(self.pid)
    }
}

/// Is a process in our user namespace? In one of its own anybody has every capability, and none of them counts
/// here.
fn shares_our_users(pid: i32) -> bool {
    let users = |process: &str| std::fs::read(format!("/proc/{process}/uid_map")).ok();
    let ours = users("self");
    ours.is_some() && users(&pid.to_string()) == ours
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            0 => write!(f, "a process of uid {} in another container", self.uid),
            pid => write!(f, "process {pid} of uid {}", self.uid),
        }
    }
}
