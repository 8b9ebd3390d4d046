//! A repository of Helm charts: files behind nginx.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{sha256, wait_for_port};
use crate::{Daemon, Node};

/// A running chart repository.
pub struct Charts {
    _daemon: Daemon,
}

/// Where it listens, on every address of the node.
pub const PORT: u16 = 8081;
/// The one chart that the repository has.
pub const CHART: &str = "insight";
/// Its version.
pub const VERSION: &str = "0.1.0";

impl Charts {
    /// Programs that it takes, for [`Lab::with`](crate::Lab::with).
    pub const PROGRAMS: [&'static str; 2] = ["nginx", "tar"];

    /// Starts one and waits until it accepts connections.
    pub fn start(node: &Node) -> Self {
        lay_out(&directory(node));
        let root = directory(node).display().to_string();
        Self { _daemon: nginx(node, "charts", PORT, &format!("root {root}; location = /health {HEALTH}")) }
    }
}

/// What ChartMuseum answers there.
const HEALTH: &str = "{ default_type application/json; return 200 '{\"healthy\":true}'; }";

/// Runs nginx as `name` with one server on `port`; `server` is what stands in its block.
pub(super) fn nginx(node: &Node, name: &str, port: u16, server: &str) -> Daemon {
    let home = node.directory().join(format!("{name}.nginx"));
    std::fs::create_dir_all(&home).expect("the lab's directory is writable");
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths: String = paths.iter().map(|kind| format!("{kind}_temp_path {kind};\n")).collect();
    // One process: a worker would outlive a test that is killed.
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\n\
         http {{ access_log off;\n{paths}server {{ listen {port}; {server} }} }}\n"
    );
    let file = home.join("nginx.conf");
    std::fs::write(&file, text).expect("the lab's directory is writable");
    let mut command = node.namespace().command("nginx");
    command.args(["-e", "stderr", "-p"]).arg(&home).arg("-c").arg(file);
    let mut daemon = Daemon::start(name, command, node.directory());
    wait_for_port(node, &mut daemon, port);
    daemon
}

/// The directory that a node's repository serves.
pub fn directory(node: &Node) -> PathBuf {
    node.directory().join("charts")
}

/// The file of the chart, below the directory of the repository.
pub fn archive() -> String {
    format!("{CHART}-{VERSION}.tgz")
}

/// Writes the chart and the index, the same octets on every node.
fn lay_out(directory: &Path) {
    let chart = directory.join(CHART);
    std::fs::create_dir_all(&chart).expect("the lab's directory is writable");
    let about = format!("apiVersion: v2\nname: {CHART}\nversion: {VERSION}\n");
    std::fs::write(chart.join("Chart.yaml"), about).expect("the lab's directory is writable");
    let status = Command::new("tar")
        .args(["--mtime=@0", "--use-compress-program=gzip -n", "-C"])
        .arg(directory)
        .arg("-cf")
        .arg(directory.join(archive()))
        .arg(CHART)
        .status();
    assert!(status.expect("available() has found it").success(), "tar failed");
    let packed = std::fs::read(directory.join(archive())).expect("it was written just now");
    let index = format!(
        "apiVersion: v1\nentries:\n  {CHART}:\n  - apiVersion: v2\n    name: {CHART}\n    \
         version: {VERSION}\n    created: \"2026-11-23T00:00:00Z\"\n    digest: {}\n    \
         urls:\n    - {}\ngenerated: \"2026-11-23T00:00:00Z\"\n",
        sha256(&packed),
        archive(),
    );
    std::fs::write(directory.join("index.yaml"), index).expect("the lab's directory is writable");
}
