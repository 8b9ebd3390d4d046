//! What the kernel of a node says of its addresses: each that comes, and each that goes, in that order.
//!
//! Whoever only looks now and then misses an address that was back for a millisecond.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{DEADLINE, Node, wait_for};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A running `ip monitor`. Ends when dropped.
pub struct AddressLog<'a> {
    node: &'a Node,
    file: PathBuf,
    monitor: Child,
}

impl<'a> AddressLog<'a> {
    /// Hears of all that happens on `node` after this has returned.
    ///
    /// # Panics
    /// When `ip` cannot be started.
    pub fn start(node: &'a Node) -> Self {
        let file = node.directory().join(format!("addresses-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let output = File::create(&file).expect("the lab's directory is writable");
        let mut ip = node.namespace().command("ip");
        ip.args(["-oneline", "monitor", "address"]).stdin(Stdio::null()).stdout(output);
        let log = Self { node, file, monitor: ip.spawn().expect("available() has found it") };
        log.catch_up();
        log
    }

    /// How often `address` came after it had gone, so far.
    pub fn returns(&self, address: &str) -> usize {
        returns(&self.catch_up(), address)
    }

    /// Everything that has been said so far, as `ip` prints it.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap_or_default()
    }

    /// What has been said, up to a word of our own, which is said now.
    fn catch_up(&self) -> String {
        let mut marks = Vec::new();
        wait_for("the kernel's word about a mark", DEADLINE, || {
            let said = self.said();
            if marks.iter().any(|mark| said.contains(mark)) {
                return Some(said);
            }
            // Another one each time: it may not have been listening yet.
            let label = format!("lo:{}", COUNT.fetch_add(1, Ordering::Relaxed));
            let address = format!("198.51.100.253/32 dev lo label {label}\n");
            self.node.namespace().ip(&format!("addr add {address}addr del {address}"));
            marks.push(format!(" {label}\\"));
            None
        })
    }
}

impl Drop for AddressLog<'_> {
    fn drop(&mut self) {
        // It may have ended with its node.
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}

/// How often `address` came after it had gone, in the lines of `ip -oneline monitor address`. A renewal
/// looks as if it came.
fn returns(said: &str, address: &str) -> usize {
    let of_address = said.lines().filter(|line| {
        let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("inet"));
        words.nth(1).and_then(|word| word.split('/').next()) == Some(address)
    });
    let gone: Vec<bool> = of_address.map(|line| line.starts_with("Deleted")).collect();
    gone.windows(2).filter(|two| two[0] && !two[1]).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_renewed_does_not_return() {
        let line = |gone: &str, address: &str| {
            format!(
                "{gone}3: eth0    inet {address}/32 scope global eth0\\       valid_lft 2sec preferred_lft 2sec\n"
            )
        };
        let (came, went) = (line("", "192.0.2.201"), line("Deleted ", "192.0.2.201"));
        let other = line("Deleted ", "192.0.2.20");
        let said = [&came, &other, &came, &went, &came, &came, &went, &went].map(String::as_str).concat();
        assert_eq!(returns(&said, "192.0.2.201"), 1);
        assert_eq!(returns(&said, "192.0.2.20"), 0);
        assert_eq!(returns("", "192.0.2.201"), 0);
    }
}
