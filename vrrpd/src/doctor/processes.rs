//! Processes and sockets of this node, from `/proc`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Case;

/// A process, by its directory below `/proc`.
pub(super) struct Process {
    /// `/proc/4711`.
    directory: std::path::PathBuf,
    /// The first words of its command line; empty for a kernel thread.
    pub(super) arguments: Vec<String>,
}

impl Process {
    /// Name of the program, without the directories.
    pub(super) fn name(&self) -> &str {
        let first = self.arguments.first().map(String::as_str).unwrap_or_default();
        first.rsplit('/').next().unwrap_or_default()
    }

    /// The variables of its environment; `None` when we may not see them.
    pub(super) fn environment(&self, case: &Case) -> Option<Vec<String>> {
        Some(words(&case.read(self.directory.join("environ")).ok()?))
    }

    /// Is it on the network of this node, and not on one of its own, as in a container?
    pub(super) fn is_on_our_network(&self, case: &Case) -> bool {
        let network = |process: &std::path::Path| std::fs::read_link(case.path(process.join("ns/net"))).ok();
        // Only root sees those of others; what cannot be told may well be ours.
        network(&self.directory).zip(network("/proc/self".as_ref())).is_none_or(|(its, ours)| its == ours)
    }

    /// Does one of its descriptors lead to this socket?
    fn holds(&self, case: &Case, inode: &str) -> bool {
        let socket = format!("socket:[{inode}]");
        let descriptors = case.list(self.directory.join("fd"));
        descriptors
            .iter()
            .any(|fd| std::fs::read_link(case.path(fd)).is_ok_and(|to| to.as_os_str() == socket.as_str()))
    }
}

/// Every process of this node.
pub(super) fn processes(case: &Case) -> Vec<Process> {
    let directories = case.list("/proc").into_iter();
    let is_process = |path: &std::path::PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().bytes().all(|octet| octet.is_ascii_digit()))
    };
    let read = |directory: std::path::PathBuf| {
        let arguments = words(&case.read(directory.join("cmdline")).ok()?);
        Some(Process { directory, arguments })
    };
    directories.filter(is_process).filter_map(read).collect()
}

/// Texts that end with a zero octet each.
fn words(text: &str) -> Vec<String> {
    text.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A TCP socket that waits for connections.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    inode: String,
}

impl Listener {
    /// Name of the program that holds it, as far as we may see.
    pub(super) fn program(&self, case: &Case) -> Option<String> {
        let found = processes(case).into_iter().find(|process| process.holds(case, &self.inode))?;
        Some(found.name().to_owned())
    }
}

/// Every listening TCP socket of this network namespace.
pub(super) fn listeners(case: &Case) -> Vec<Listener> {
    /// TCP_LISTEN of the kernel.
    const LISTEN: &str = "0A";
    let mut found = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = case.read(file).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            if let [_, local, _, LISTEN, _, _, _, _, _, inode, ..] = fields[..]
                && let Some(address) = socket_address(local)
            {
                found.push(Listener { address, inode: inode.to_owned() });
            }
        }
    }
    found
}

/// `C10200C0:01BB` on a little-endian machine is 192.0.2.193:443: each 32-bit word as the kernel has it.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let octets: Vec<u8> = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{A, Patient};
    use super::*;

    #[test]
    fn what_the_kernel_prints_is_read() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let mut patient = Patient::new(A);
        let temporary = std::mem::replace(&mut patient.case.root, "/".into());
        let found = listeners(&patient.case).into_iter().find(|one| one.address == address);
        let program = found.expect("the real /proc lists it").program(&patient.case);
        patient.case.root = temporary;
        assert!(program.expect("we may see our own").starts_with("vrrpd"), "the test's own program");
        assert_eq!(socket_address("00000000000000000000000001000000:1F90"), "[::1]:8080".parse().ok());
        assert_eq!(socket_address("zz:1"), None);
    }
}
