//! A BIND 9 of our own on the loopback, for tests of what a real server says.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::config::{DnsUpdate, Tsig, TsigAlgorithm};

const ZONE: &str = "$TTL 86400\n@ SOA ns hostmaster 1 3600 600 86400 10800\n@ NS ns\nns A 127.0.0.1\n\
                    www A 192.0.2.194\nalias CNAME www\n*.wild A 192.0.2.200\n";

/// A running server with the zones `example.net`, where the key of each algorithm may change what is
/// called `www`, `new` or `www.wild`, and `static.example`, which takes no update.
pub(super) struct Named {
    child: Child,
    pub(super) address: SocketAddr,
    directory: PathBuf,
}

impl Named {
    /// `None` where BIND is not installed: said aloud, and a panic under `CI=true`.
    pub(super) fn start() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Some(program) =
            ["/usr/sbin/named", "/usr/bin/named"].into_iter().find(|path| Path::new(path).exists())
        else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "under CI=true nothing is skipped: no named"
            );
            // Not eprintln!, which the test harness swallows when a test passes.
            let _ = writeln!(std::io::stderr(), "SKIPPED: named is not installed; tests/run does that");
            return None;
        };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("vrrpd-named-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
        let address = free_address();
        let file = |name: &str, text: &str| {
            std::fs::write(directory.join(name), text).expect("a directory of ours");
        };
        file("named.conf", &configuration(&directory, address));
        file("example.net.zone", ZONE);
        file("static.example.zone", ZONE);
        let log = std::fs::File::create(directory.join("named.log")).expect("a directory of ours");
        let child = Command::new(program)
            .args(["-g", "-c"])
            .arg(directory.join("named.conf"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("named can be started");
        let named = Self { child, address, directory };
        named.wait_until_it_runs();
        Some(named)
    }

    fn wait_until_it_runs(&self) {
        for _ in 0..3000 {
            let log = std::fs::read_to_string(self.directory.join("named.log")).unwrap_or_default();
            if log.contains(": running") || log.ends_with(" running\n") {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!(
            "named does not run:\n{}",
            std::fs::read_to_string(self.directory.join("named.log")).unwrap_or_default()
        );
    }

    /// `www.example.net A 192.0.2.193` at this server, signed with `hmac-sha256`.
    pub(super) fn update(&self) -> DnsUpdate {
        DnsUpdate {
            name: "www".to_owned(),
            virtual_router: "bootstrap".to_owned(),
            servers: vec![self.address],
            zone: "example.net".to_owned(),
            record: "www.example.net".to_owned(),
            value: "192.0.2.193".parse().expect("an address"),
            ttl: Duration::from_secs(10),
            refresh: Duration::from_secs(1),
            // Far above what it takes.
            timeout: Duration::from_secs(20),
            tsig: Some(self.key(TsigAlgorithm::HmacSha256)),
        }
    }

    /// The key of an algorithm.
    pub(super) fn key(&self, algorithm: TsigAlgorithm) -> Tsig {
        Tsig {
            name: algorithm.as_str().to_owned(),
            algorithm,
            secret_file: self.secret_file(algorithm.as_str(), &secret(algorithm)),
        }
    }

    /// A file with a secret that nobody else may read.
    pub(super) fn secret_file(&self, name: &str, base64: &str) -> PathBuf {
        let path = self.directory.join(format!("{name}.key"));
        let mut options = std::fs::File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).expect("ours");
        file.write_all(base64.as_bytes()).expect("ours");
        path
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

const ALGORITHMS: [TsigAlgorithm; 3] =
    [TsigAlgorithm::HmacSha256, TsigAlgorithm::HmacSha384, TsigAlgorithm::HmacSha512];

fn secret(algorithm: TsigAlgorithm) -> String {
    BASE64_STANDARD.encode(format!("the secret of {}", algorithm.as_str()))
}

fn configuration(directory: &Path, address: SocketAddr) -> String {
    let directory = directory.display();
    let mut text = format!(
        "options {{ directory \"{directory}\"; pid-file \"named.pid\"; session-keyfile \"session.key\";\n\
         listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; }};\n\
         controls {{ }};\n",
        address.port(),
        address.ip()
    );
    let mut policy = String::new();
    for algorithm in ALGORITHMS {
        let (name, secret) = (algorithm.as_str(), secret(algorithm));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "key \"{name}\" {{ algorithm {name}; secret \"{secret}\"; }};");
        for host in ["www", "new", "www.wild"] {
            let _ = write!(policy, "grant {name}. name {host}.example.net. A AAAA; ");
        }
    }
    let _ = write!(
        text,
        "zone \"example.net\" {{ type primary; file \"example.net.zone\"; update-policy {{ {policy} }}; }};\n\
         zone \"static.example\" {{ type primary; file \"static.example.zone\"; allow-update {{ none; }}; }};\n"
    );
    text
}

/// A port that is free for UDP and TCP.
fn free_address() -> SocketAddr {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has ports");
        let address = udp.local_addr().expect("it is bound");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of the loopback is free for UDP and TCP");
}
