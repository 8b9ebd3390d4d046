//! A laboratory of real kernels' networks: nodes, a client and a switch in network namespaces.
//!
//! The namespaces have no name. They live as long as a file descriptor of this process or a
//! process in them, so a test that is killed leaves nothing behind. Every process is started with
//! a parent-death signal, and [`Lab`] kills whatever is left in its namespaces when it is dropped.
//!
//! ```text
//!   a (.193)    b (.194)   ...   client (.10)
//!     eth0        eth0              eth0
//!      |           |                 |
//!   +--+-----------+-----------------+--+
//!   |  a           b        client      |  switch: one bridge, one port a node, named as the node
//!   +-----------------------------------+
//! ```
//!
//! Times are nanoseconds of `CLOCK_REALTIME`, because the kernel stamps packets with that clock.

pub mod address_log;
pub mod behind;
pub mod burden;
#[cfg(target_arch = "x86_64")]
pub mod capability;
pub mod capture;
pub mod claims;
pub mod contender;
pub mod daemon;
pub mod frame;
pub mod frr;
pub mod injector;
pub mod machine;
pub mod namespace;
pub mod node;
pub mod prober;
pub mod services;
pub mod story;
pub mod switch;
pub mod tables;
pub mod tshark;
pub mod usage;
pub mod watcher;
pub mod wedge;

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use address_log::AddressLog;
pub use behind::Behind;
pub use burden::Burden;
pub use capture::Capture;
pub use claims::claims;
pub use contender::Contender;
pub use daemon::Daemon;
pub use frame::{Frame, Kind, Mac};
pub use frr::{Frr, FrrRouter};
pub use injector::{Forgery, Injector};
pub use machine::Machine;
pub use namespace::Namespace;
pub use node::Node;
pub use prober::{Prober, Probes};
pub use story::Pair;
pub use switch::Switch;
pub use tables::Tables;
pub use watcher::Watcher;
pub use wedge::Wedged;

/// How long a condition may take before a test gives up: far above anything that works.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// One switch, a client and the nodes that were asked for.
pub struct Lab {
    switch: Arc<Switch>,
    client: Arc<Node>,
    nodes: Mutex<Vec<Arc<Node>>>,
    directory: PathBuf,
}

impl Lab {
    /// A switch and a client, or `None` when this machine does not let us: said aloud, and a panic
    /// under `CI=true`, so that a green run always means that the tests ran.
    pub fn open() -> Option<Self> {
        available(&[]).then(Self::build)
    }

    /// As [`open`](Self::open), for a test that also needs `programs`, for example `keepalived`.
    pub fn with(programs: &[&str]) -> Option<Self> {
        available(programs).then(Self::build)
    }

    fn build() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("vrrpd-lab-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory)
            .unwrap_or_else(|e| panic!("cannot create {}: {e}", directory.display()));
        let switch = Arc::new(Switch::new());
        let client = Arc::new(Node::new("client", 10, &directory, &switch));
        Self { switch, client, nodes: Mutex::new(Vec::new()), directory }
    }

    /// Adds a node. The first has 192.0.2.193 and 2001:db8::193, the next one more, and so on.
    pub fn node(&self, name: &str) -> Arc<Node> {
        let mut nodes = self.nodes.lock().expect("no thread panics while it adds a node");
        let host = 193 + u8::try_from(nodes.len()).expect("a handful of nodes");
        let node = Arc::new(Node::new(name, host, &self.directory, &self.switch));
        nodes.push(Arc::clone(&node));
        node
    }

    /// The client, 192.0.2.10 and 2001:db8::10, with a neighbour table of its own.
    pub fn client(&self) -> &Node {
        &self.client
    }

    /// The switch: cables, cut traffic, lost packets.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// Names of the nodes whose kernel has `address`, in the order in which they were added.
    pub fn holders(&self, address: &str) -> Vec<String> {
        let address: IpAddr = address.parse().expect("an IP address");
        let nodes = self.nodes.lock().expect("no thread panics while it adds a node").clone();
        nodes.iter().filter(|node| node.addresses().contains(&address)).map(|n| n.name().to_owned()).collect()
    }

    /// Names of those who answer when a client that has forgotten everything asks for an IPv4
    /// address: a kernel may have it and still be silent, and two may answer.
    ///
    /// # Panics
    /// When nobody answers at all.
    pub fn answerers(&self, address: &str) -> Vec<String> {
        let ip: IpAddr = address.parse().expect("an IP address");
        let answers = |f: &Frame| matches!(f.kind, Kind::Arp { sender, reply: true, .. } if sender == ip);
        let capture = self.capture();
        self.client.ip("neigh flush all");
        let prober = Prober::start(&self.client, address);
        capture.wait_for(&format!("an ARP reply for {address}"), 0, answers);
        // Time for a second one.
        prober.wait_for_probes(100);
        let frames = capture.frames();
        let mut names: Vec<_> = frames.into_iter().filter(|f| answers(f)).map(|f| f.interface).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Waits until exactly `node` has `address`.
    pub fn wait_for_holder(&self, address: &str, node: &str) {
        wait_for(&format!("{address} on {node} alone"), DEADLINE, || {
            (self.holders(address) == [node]).then_some(())
        });
    }

    /// Waits until exactly `node` has `address`, then watches while it sends `adverts` of its
    /// advertisements that this stays so and nobody else advertises.
    ///
    /// # Panics
    /// When anybody else has the address or advertises meanwhile.
    pub fn settles_on(&self, address: &str, node: &str, adverts: usize) {
        self.wait_for_holder(address, node);
        // The address may come before the first advertisement, and the last one of the loser after.
        self.capture().wait_for_advert(node, 0);
        let capture = self.capture();
        wait_for(&format!("{adverts} advertisements of {node}"), DEADLINE, || {
            let holders = self.holders(address);
            assert!(holders == [node], "{address} is on {holders:?} after it had settled on {node}");
            let speakers = capture.speakers();
            assert!(speakers.iter().all(|speaker| speaker == node), "advertisements from {speakers:?}");
            (speakers.len() >= adverts).then_some(())
        });
    }

    /// A capture of everything that enters the switch; [`Frame::interface`] is the sender's name.
    pub fn capture(&self) -> Capture {
        Capture::start(self.switch.namespace(), capture::Side::Switch)
    }

    /// A capture of nothing but the advertisements of `nodes`, which no flood of others delays.
    pub fn capture_adverts(&self, nodes: &[&Node]) -> Capture {
        let sources: Vec<Mac> = nodes.iter().map(|node| node.mac()).collect();
        Capture::of_adverts(self.switch.namespace(), &sources)
    }

    /// The machine loses its power: its daemon and its cable are gone at the same moment, so that
    /// neither a farewell nor a reaction to the lost carrier gets out.
    pub fn power_off(&self, node: &Node, daemon: Daemon) {
        daemon.freeze();
        self.switch.unplug(node.name());
        daemon.crash();
    }

    /// A private directory that goes with the lab.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let nodes = self.nodes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for node in nodes.iter().chain([&self.client]) {
            node.kill_everything();
            if std::thread::panicking() {
                node.print_logs();
            }
        }
        // A directory that stays behind in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Asks `condition` every few milliseconds until it gives a value.
///
/// # Panics
/// After `deadline`, naming `what` was waited for. The logs of the daemons follow when the [`Lab`]
/// is dropped.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited {deadline:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Now, in nanoseconds of the clock that stamps packets.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_nanos()).expect("a clock before 2262")
}

/// True when namespaces can be made and the lab's own programs and `programs` are installed.
/// Otherwise says why on stderr.
///
/// # Panics
/// Instead of `false`, when `CI=true` is in the environment.
pub fn available(programs: &[&str]) -> bool {
    let missing: Vec<&str> =
        ["ip", "nft"].iter().chain(programs).copied().filter(|name| program(name).is_none()).collect();
    let why = if !missing.is_empty() {
        format!("{} not installed; tests/run installs what the tests need", missing.join(", "))
    } else if let Err(error) = Namespace::new() {
        format!("cannot make a network namespace ({error}); run as root, or through tests/run")
    } else {
        return true;
    };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "under CI=true nothing is skipped: {why}");
    // Not eprintln!, which the test harness swallows when a test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    false
}

/// Where a program is: in `PATH`, in the system's directories when those are not in it, or where
/// tests/run puts what Debian does not have.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain([daemon::profile_directory().join("../programs/bin")])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}
