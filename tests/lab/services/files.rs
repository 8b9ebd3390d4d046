//! SeaweedFS as the file server that speaks S3.

use std::time::Instant;

use super::content;
use crate::{DEADLINE, Daemon, Node, program};

/// A running file server. Its files stay on the node when it ends.
pub struct Files {
    daemon: Daemon,
}

/// Where it listens, on every address of the node.
pub const PORT: u16 = 9000;
/// The bucket that everybody may read.
pub const BUCKET: &str = "kubean";
/// A file in it.
pub const OBJECT: &str = "centos/7/os/x86_64/repodata/repomd.xml";

/// The rights in the file server: everybody reads, one writes.
const IDENTITIES: &str = r#"{ "identities": [
    { "name": "anonymous", "actions": ["Read"] },
    { "name": "writer", "actions": ["Admin", "Read", "Write", "List"],
      "credentials": [{ "accessKey": "WRITER", "secretKey": "SECRET" }] } ] }"#;

/// It keeps sockets in /tmp under names of its own, by which two nodes would reach each other's. The
/// program itself may lie under /tmp, where it is not found any more afterwards.
const PRIVATE_TMP: &str = "mount --bind \"$1\" /mnt; exec 9<\"$2\"; mount -t tmpfs tmpfs /tmp; cd /mnt; shift 2; \
                           exec /proc/self/fd/9 \"$@\"";

impl Files {
    /// Programs that it takes, for [`Lab::with`](crate::Lab::with).
    pub const PROGRAMS: [&'static str; 2] = ["weed", "curl"];

    /// Starts one and waits until its file can be read.
    pub fn start(node: &Node) -> Self {
        let mut files = Self::start_slowly(node);
        files.wait_until_ready(node);
        files
    }

    /// Starts one; it takes some seconds until it answers.
    pub fn start_slowly(node: &Node) -> Self {
        let home = node.directory().join("files");
        std::fs::create_dir_all(&home).expect("the lab's directory is writable");
        for (name, octets) in [("s3.json", IDENTITIES.as_bytes()), ("object", &object())] {
            std::fs::write(home.join(name), octets).expect("the lab's directory is writable");
        }
        let mut command = node.namespace().command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", PRIVATE_TMP, "sh"]).arg(home);
        command.arg(program("weed").expect("available() has found it"));
        command.args([
            "-logtostderr",
            "server",
            "-dir=/mnt",
            &format!("-ip={}", node.ipv4()),
            "-ip.bind=0.0.0.0",
        ]);
        command.args(["-s3", &format!("-s3.port={PORT}"), "-s3.config=/mnt/s3.json", "-filer"]);
        // A bucket is seven volumes; with fewer to spare the first upload waits for seconds.
        command.args(["-volume.max=20", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]);
        command.args(["-master.heartbeatInterval=100ms", "-master.electionTimeout=500ms"]);
        Self { daemon: Daemon::start("files", command, node.directory()) }
    }

    /// Waits until the file can be read, and puts it there the first time.
    pub fn wait_until_ready(&mut self, node: &Node) {
        let mut answer = String::new();
        let end = Instant::now() + DEADLINE;
        while answer != "200" {
            assert!(self.daemon.is_running(), "it ended:\n{}", self.daemon.log());
            assert!(Instant::now() < end, "{}: the file server takes nothing: {answer}", node.name());
            answer = upload(node);
        }
    }
}

/// What the file contains, on every node.
pub fn object() -> Vec<u8> {
    content(OBJECT, 64 * 1024)
}

/// Puts the file there, with a request that is signed as AWS does it; gives the status of the answer.
/// The bucket comes with its first file.
fn upload(node: &Node) -> String {
    let mut command = node.namespace().command("curl");
    command.args(["--silent", "--max-time", "5", "--output", "/dev/stderr", "--write-out", "%{http_code}"]);
    command.args(["--user", "WRITER:SECRET", "--aws-sigv4", "aws:amz:us-east-1:s3"]);
    command.args(["--upload-file", "object", &format!("http://{}:{PORT}/{BUCKET}/{OBJECT}", node.ipv4())]);
    command.current_dir(node.directory().join("files"));
    let output = command.output().expect("available() has found it");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
