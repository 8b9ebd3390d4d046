//! What containers look like to the network: a namespace behind a node, and ports that are mapped to it.

use crate::{Namespace, Node};

/// A host behind a node, which the node alone knows. One port of every address that the node has leads to it,
/// as Docker, podman and kube-proxy do it.
pub struct Behind {
    namespace: Namespace,
}

impl Behind {
    /// The port that is mapped, on both sides.
    pub const PORT: u16 = 8081;

    /// Makes it, with [`PORT`](Self::PORT) of the node leading to it.
    ///
    /// # Panics
    /// When the kernel refuses something.
    pub fn start(node: &Node) -> Self {
        let namespace = Namespace::new().expect("the laboratory has made others");
        node.namespace().ip(&format!(
            "link add back0 type veth peer name eth0 netns {}\n\
             address add 198.51.100.1/24 dev back0\n\
             address add 2001:db8:1::1/64 dev back0 nodad\n\
             link set back0 up\n",
            namespace.path()
        ));
        namespace.ip("link set lo up\n\
             address add 198.51.100.2/24 dev eth0\n\
             address add 2001:db8:1::2/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add default via 198.51.100.1\n\
             route add default via 2001:db8:1::1\n");
        node.namespace().sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")]);
        let port = Self::PORT;
        node.namespace().nft(&format!(
            "table inet mapped {{
               chain prerouting {{
                 type nat hook prerouting priority -100
                 meta nfproto ipv4 fib daddr type local tcp dport {port} dnat ip to 198.51.100.2
                 meta nfproto ipv6 fib daddr type local tcp dport {port} dnat ip6 to 2001:db8:1::2
               }}
               chain postrouting {{
                 type nat hook postrouting priority 100
                 oifname \"eth0\" ip saddr 198.51.100.0/24 masquerade
                 oifname \"eth0\" ip6 saddr 2001:db8:1::/64 masquerade
               }}
             }}"
        ));
        Self { namespace }
    }

    /// Where its processes are.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}
