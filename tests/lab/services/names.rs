//! BIND 9: the server that has the zone of [`NAME`], and the resolver that clients ask.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;

use super::{NAME, wait_for_port};
use crate::{Daemon, Node};

/// Programs that they take, for [`Lab::with`](crate::Lab::with).
pub const PROGRAMS: [&str; 1] = ["named"];

/// The zone of [`NAME`].
pub const ZONE: &str = "tinder-node-server.com";

/// Names and secrets (base64) of the keys that the server knows, all hmac-sha256: one for each node,
/// and one for the hand of an administrator.
pub const KEYS: [(&str, &str); 3] =
    [("vrrpd-a", "dGhlIHNlY3JldCBvZiBh"), ("vrrpd-b", "dGhlIHNlY3JldCBvZiBi"), ("hand", "aGFuZCBtYWRl")];

/// What a zone says that takes no updates.
pub const NO_UPDATES: &str = "allow-update { none; };";

/// What a zone says that lets each key change the one record.
pub fn policy() -> String {
    let grants: String = KEYS.iter().fold(String::new(), |mut text, (key, _)| {
        write!(text, "grant {key}. name {NAME}. A; ").expect("a string takes everything");
        text
    });
    format!("update-policy {{ {grants}}};")
}

/// Starts the server of [`ZONE`], with `address` for [`NAME`] under a TTL of a day. `updates` is what
/// the zone says of them.
pub fn primary(node: &Node, address: &str, updates: &str) -> Daemon {
    let records = format!(
        "$TTL 1D\n@ SOA ns hostmaster 0 3H 15M 1W 3H\n@ NS ns\nns A {}\nwww A {address}\n",
        node.ipv4()
    );
    std::fs::write(node.directory().join("zone"), records).expect("the lab's directory is writable");
    let mut text = "recursion no; };\n".to_owned();
    for (name, secret) in KEYS {
        writeln!(text, "key \"{name}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};")
            .expect("a string takes everything");
    }
    named(node, &format!("{text}zone \"{ZONE}\" {{ type primary; file \"zone\"; {updates} }};\n"))
}

/// Starts a caching resolver that asks `server` about [`ZONE`], and knows nothing else.
pub fn resolver(node: &Node, server: &Node) -> Daemon {
    let zone = format!("type static-stub; server-addresses {{ {}; }};", server.ipv4());
    named(node, &format!("recursion yes; }};\nzone \"{ZONE}\" {{ {zone} }};\n"))
}

/// Starts `named` and waits until it accepts connections; `text` begins within its options.
fn named(node: &Node, text: &str) -> Daemon {
    let directory = node.directory();
    let configuration = format!(
        "options {{ directory \"{}\"; pid-file \"named.pid\"; session-keyfile \"session.key\";\n\
         listen-on {{ {}; }}; listen-on-v6 {{ none; }}; dnssec-validation no; {text}controls {{ }};\n",
        directory.display(),
        node.ipv4()
    );
    let file = directory.join("named.conf");
    std::fs::write(&file, configuration).expect("the lab's directory is writable");
    let mut command = node.namespace().command("named");
    command.arg("-g").arg("-c").arg(file);
    let mut daemon = Daemon::start("named", command, directory);
    wait_for_port(node, &mut daemon, 53);
    daemon
}

/// Writes the secret of a key to a file that only root may read; gives its path.
pub fn secret_file(node: &Node, secret: &str) -> String {
    let path = node.directory().join("tsig.key");
    let mut options = std::fs::File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(secret.as_bytes())).expect("the lab's directory is writable");
    path.display().to_string()
}
