//! Proxies in front of a node's services.

use super::{charts, wait_for_port};
use crate::{Daemon, Node};

/// Where HAProxy listens for clients, on every address of the node.
pub const PORT: u16 = 8082;
/// Where nginx does.
pub const NGINX_PORT: u16 = 8083;
/// Where HAProxy says whether it has a server behind it: `/health`.
pub const MONITOR_PORT: u16 = 8404;

/// HAProxy in front of the node's chart repository. It asks the repository ten times a second.
pub fn haproxy(node: &Node) -> Daemon {
    let text = format!(
        "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
         frontend clients\n bind :{PORT}\n default_backend charts\n\
         frontend monitor\n bind :{MONITOR_PORT}\n monitor-uri /health\n \
         monitor fail if {{ nbsrv(charts) lt 1 }}\n\
         backend charts\n option httpchk GET /health\n \
         server local {}:{} check inter 100ms rise 1 fall 2\n",
        node.ipv4(),
        charts::PORT,
    );
    let file = node.directory().join("haproxy.cfg");
    std::fs::write(&file, text).expect("the lab's directory is writable");
    let mut command = node.namespace().command("haproxy");
    command.arg("-db").arg("-f").arg(file);
    let mut daemon = Daemon::start("haproxy", command, node.directory());
    wait_for_port(node, &mut daemon, MONITOR_PORT);
    daemon
}

/// nginx in front of the node's chart repository.
pub fn nginx(node: &Node) -> Daemon {
    let server = format!("location / {{ proxy_pass http://{}:{}; }}", node.ipv4(), charts::PORT);
    charts::nginx(node, "front", NGINX_PORT, &server)
}
