//! Two bootstrap nodes with their services, and the client that uses them.

use std::sync::Arc;

use lab::services::{
    Authority, Certificate, Charts, Client, Container, Errand, Files, Image, NAME, Registry, Visits, client,
    image, names, registry,
};
use lab::story::VIP;
use lab::{Daemon, Lab, Node};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The image that clients pull, on both nodes.
pub(crate) const IMAGE: &str = "pause/pause:3.9";

/// A registry, and where it runs.
pub(crate) enum Images {
    Process(#[expect(dead_code, reason = "it runs while it is held")] Registry),
    Container(Container),
    Stopped,
}

/// The files that operators copy.
const EXAMPLES: [&str; 2] = [
    include_str!("../../../packaging/examples/two-node/bootstrap-a.toml"),
    include_str!("../../../packaging/examples/two-node/bootstrap-b.toml"),
];

/// The virtual router in them.
pub(crate) const ROUTER: &str = "bootstrap";

/// The checks that the example makes on every node, beside that of the name.
pub(crate) const SERVICES: [&str; 6] = ["registry", "layers", "files", "charts", "disk", "hosts"];

/// How long node a waits before it takes the address back, in place of the minute of the example.
const PREEMPT_DELAY: time::Duration = time::Duration::seconds(4);

/// The services of one node.
pub(crate) struct Services {
    pub(crate) images: Images,
    pub(crate) charts: Charts,
    pub(crate) files: Files,
}

/// Both nodes with everything but vrrpd.
pub(crate) struct Site {
    pub(crate) on_a: Services,
    pub(crate) on_b: Services,
    pub(crate) authority: Authority,
    pub(crate) certificate: Certificate,
    pub(crate) image: Image,
    /// 192.0.2.193.
    pub(crate) a: Arc<Node>,
    /// 192.0.2.194.
    pub(crate) b: Arc<Node>,
    /// The name server.
    pub(crate) ns: Arc<Node>,
    _named: Daemon,
    /// Dropped last.
    pub(crate) lab: Lab,
}

impl Site {
    /// All services on both nodes, with the same content, and the name for the address that moves.
    /// `None` where the laboratory is not available, which has been said aloud.
    pub(crate) fn open() -> Option<Self> {
        Self::with((VIP, names::NO_UPDATES), &Registry::PROGRAMS, process)
    }

    /// As [`open`](Self::open), with registries in containers of podman.
    pub(crate) fn in_containers() -> Option<Self> {
        Self::with((VIP, names::NO_UPDATES), &Container::PROGRAMS, |node, certificate| {
            Images::Container(Container::start(node, certificate))
        })
    }

    /// As [`open`](Self::open), with the name for node a, in a zone that takes updates.
    pub(crate) fn with_a_name_that_moves() -> Option<Self> {
        Self::with(("192.0.2.193", &names::policy()), &Registry::PROGRAMS, process)
    }

    fn with(
        (address, updates): (&str, &str),
        programs: &[&str],
        registry: impl Fn(&Node, &Certificate) -> Images,
    ) -> Option<Self> {
        let lists: [&[&str]; 6] = [
            programs,
            &image::PROGRAMS,
            &Charts::PROGRAMS,
            &Files::PROGRAMS,
            &names::PROGRAMS,
            &client::PROGRAMS,
        ];
        let lab = Lab::with(&lists.concat())?;
        let (a, b, ns) = (lab.node("a"), lab.node("b"), lab.node("ns"));
        // The slowest begin first.
        let [files_a, files_b] = [&a, &b].map(|node| Files::start_slowly(node));
        let authority = Authority::new();
        let certificate = authority.issue(&[NAME, VIP, &a.ipv4(), &b.ipv4()]);
        // A small layer and a large one.
        let image = Image::make(lab.directory(), "pause", "3.9", &[10_000, 500_000]);
        let [on_a, on_b] = [(&a, files_a), (&b, files_b)].map(|(node, files)| {
            let images = registry(node, &certificate);
            image.push(node, &node.ipv4(), IMAGE);
            Services { images, charts: Charts::start(node), files }
        });
        let named = names::primary(&ns, address, updates);
        let mut site = Self { on_a, on_b, authority, certificate, image, a, b, ns, _named: named, lab };
        site.on_a.files.wait_until_ready(&site.a);
        site.on_b.files.wait_until_ready(&site.b);
        Some(site)
    }

    /// A client that asks the name server where everything is.
    pub(crate) fn client(&self) -> Client {
        self.client_of(&self.ns)
    }

    /// A client that asks `resolver`.
    pub(crate) fn client_of(&self, resolver: &Node) -> Client {
        Client::start(self.lab.client(), &resolver.ipv4(), IMAGE, &self.authority.pem())
    }

    /// The example's file for a node, with the name server, the authority and the storage of the
    /// laboratory, and no more patience than a test has; then `changes`, each a text and what is to
    /// stand there.
    ///
    /// # Panics
    /// When the example does not contain what is to be changed.
    pub(crate) fn config(&self, node: &Node, changes: &[(&str, &str)]) -> String {
        let example = EXAMPLES[usize::from(node.name() == "b")];
        let authority = self.lab.directory().join("ca.crt");
        std::fs::write(&authority, self.authority.pem()).expect("the lab's directory is writable");
        let adapted = [
            ("192.0.2.192:53", &*format!("{}:53", self.ns.ipv4())),
            ("/etc/vrrpd/ca.crt", &*authority.display().to_string()),
            ("/var/lib/containers", &*registry::storage(node).display().to_string()),
            ("interval = \"30s\"\ntimeout  = \"10s\"", "interval = \"3s\"\ntimeout  = \"2s\""),
            ("interval = \"30s\"\ntimeout  = \"5s\"", "interval = \"3s\"\ntimeout  = \"2s\""),
            ("interval   = \"30s\"\ntimeout    = \"10s\"", "interval   = \"3s\"\ntimeout    = \"2s\""),
            (
                "when            = \"backup\"",
                "when            = \"backup\"\ninterval = \"3s\"\ntimeout = \"2s\"",
            ),
        ];
        let delay = format!("preempt_delay = \"{}s\"", PREEMPT_DELAY.whole_seconds());
        let mut text = example.replace("preempt_delay = \"60s\"", &delay);
        for (from, to) in adapted.iter().chain(changes) {
            assert!(text.contains(from), "the example for {} has no {from:?}", node.name());
            text = text.replace(from, to);
        }
        text
    }

    /// Starts vrrpd on both nodes and waits until a holds the address and every check passes: the
    /// services are what the example expects.
    pub(crate) fn start_vrrpd(&self, changes: &[(&str, &str)]) -> [Daemon; 2] {
        self.start_configured(|node| self.config(node, changes))
    }

    /// As [`start_vrrpd`](Self::start_vrrpd), with a configuration for each node.
    pub(crate) fn start_configured(&self, config: impl Fn(&Node) -> String) -> [Daemon; 2] {
        let daemons = [&self.a, &self.b].map(|node| node.vrrpd(&config(node)));
        for node in [&self.a, &self.b] {
            for check in SERVICES.iter().chain(&["name"]) {
                wait_for_check(node, check, "passing");
            }
        }
        wait_for_check(&self.b, "parity", "passing");
        self.lab.settles_on(VIP, "a", 2);
        daemons
    }
}

fn process(node: &Node, certificate: &Certificate) -> Images {
    Images::Process(Registry::start(node, certificate))
}

/// Waits until a check is `pending`, `passing` or `failing`; gives what it said.
pub(crate) fn wait_for_check(node: &Node, check: &str, state: &str) -> String {
    let find = |router: &Value| {
        let checks = router["checks"].as_array()?;
        checks.iter().find(|found| found["name"] == check && found["state"] == state).cloned()
    };
    let what = format!("with {check} {state}");
    let router = node.wait_for_router(ROUTER, &what, |router| find(router).is_some());
    let found = find(&router).expect("it was waited for");
    found["message"].as_str().unwrap_or_default().to_owned()
}

/// The node took the address only when this check had passed for [`PREEMPT_DELAY`], by its history.
///
/// # Panics
/// When it was earlier.
pub(crate) fn waited_for_proof(node: &Node, check: &str) {
    let passing = last_time(node, |event| event["check"] == check && event["to"] == "passing");
    let active = last_time(node, |event| event["event"] == "transition" && event["to"] == "active");
    assert!(active - passing >= PREEMPT_DELAY, "{check} passed at {passing}, active at {active}");
}

/// When the daemon of a node last saw an event that `wanted` accepts.
fn last_time(node: &Node, wanted: impl Fn(&Value) -> bool) -> OffsetDateTime {
    let history = String::from_utf8_lossy(&node.vrrpctl("history --json").stdout).into_owned();
    let history: Value = serde_json::from_str(&history).expect("vrrpctl prints JSON");
    let events = history["events"].as_array().expect("a list of events");
    let event = events.iter().rev().find(|event| wanted(event));
    let event = event.unwrap_or_else(|| panic!("{}: not in its history: {history:#}", node.name()));
    let time = event["time"].as_str().expect("each event has a time");
    OffsetDateTime::parse(time, &Rfc3339).expect("a time of RFC 3339")
}

/// Whoever was in the middle of something when the address moved may have had to begin again; nobody
/// else.
///
/// # Panics
/// When more than one visit failed.
pub(crate) fn hardly_noticed(visits: &Visits, errands: &[Errand]) {
    for errand in errands {
        assert!(visits.failures(*errand) <= 1, "{errand:?}: {visits:#?}");
    }
}

/// How often the role was taken by this node.
pub(crate) fn takeovers(node: &Node) -> u64 {
    let router = node.router(ROUTER).expect("the daemon answers");
    router["statistics"]["master_transitions"].as_u64().expect("a number")
}
