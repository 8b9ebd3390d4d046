//! The switch: a bridge with one port for each node, which can also be made to fail.

use crate::Namespace;

/// A learning bridge without spanning tree and snooping. Ports carry the names of the nodes.
pub struct Switch {
    namespace: Namespace,
}

impl Switch {
    pub(crate) fn new() -> Self {
        let namespace = Namespace::new().expect("available() has made one");
        namespace.sysctl(&[("net/ipv6/conf/default/disable_ipv6", "1")]);
        namespace.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
                      link set br0 up\n");
        namespace.nft("table bridge lab { chain forward { type filter hook forward priority 0; }; }");
        Self { namespace }
    }

    /// Pulls a node's cable: its interface loses carrier, the switch forgets what it learned there.
    pub fn unplug(&self, node: &str) {
        self.namespace.ip(&format!("link set dev {node} down\n"));
    }

    /// Puts the cable back.
    pub fn plug(&self, node: &str) {
        self.namespace.ip(&format!("link set dev {node} up\n"));
    }

    /// Drops everything that `from` sends to `to`; the other way stays open.
    pub fn cut_one_way(&self, from: &str, to: &str) {
        self.namespace
            .nft(&format!("add rule bridge lab forward iifname \"{from}\" oifname \"{to}\" counter drop"));
    }

    /// Drops the advertisements that `from` sends to `to`, and nothing else.
    pub fn mute(&self, from: &str, to: &str) {
        for protocol in ["ip protocol 112", "ip6 nexthdr 112"] {
            self.namespace.nft(&format!(
                "add rule bridge lab forward iifname \"{from}\" oifname \"{to}\" {protocol} counter drop"
            ));
        }
    }

    /// Loses `percent` of the frames that `from` sends to `to`, and none of those to others.
    pub fn lose_between(&self, from: &str, to: &str, percent: u8) {
        self.namespace.nft(&format!(
            "add rule bridge lab forward iifname \"{from}\" oifname \"{to}\" \
             numgen random mod 100 < {percent} counter drop"
        ));
    }

    /// Separates two nodes; both still reach everyone else.
    pub fn cut(&self, one: &str, other: &str) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Drops what a node sends to anybody, what it gets from anybody, or both. Its carrier stays.
    pub fn isolate(&self, node: &str, sends: bool, receives: bool) {
        for (side, open) in [("iifname", sends), ("oifname", receives)] {
            if !open {
                self.namespace.nft(&format!("add rule bridge lab forward {side} \"{node}\" counter drop"));
            }
        }
    }

    /// Loses `percent` of the frames that `node` sends.
    pub fn lose(&self, node: &str, percent: u8) {
        self.namespace.nft(&format!(
            "add rule bridge lab forward iifname \"{node}\" numgen random mod 100 < {percent} counter drop"
        ));
    }

    /// Takes back every cut and loss. Cables stay as they are.
    pub fn heal(&self) {
        self.namespace.nft("flush chain bridge lab forward");
    }

    /// The namespace of the bridge.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn add_port(&self, port: &str) {
        self.namespace.ip(&format!("link set dev {port} master br0 up\n"));
    }
}
