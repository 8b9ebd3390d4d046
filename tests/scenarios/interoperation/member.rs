//! One end of a pair: which software, how it is set up, and who holds the address there.

use std::sync::Arc;

use lab::story::{PRIMARY, SECONDARY, VIP, VIP6, VIP6_LINK_LOCAL};
use lab::{Daemon, Frr, FrrRouter, Lab, Node};

use crate::setting::{Family, Setting, Software, Transport};

/// A node and what runs on it.
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    software: Software,
    priority: u8,
    setting: Setting,
    running: Option<Running>,
}

enum Running {
    One(Daemon),
    Frr(Frr),
}

impl Member {
    pub(crate) fn new(node: Arc<Node>, software: Software, rank: usize, setting: Setting) -> Self {
        let priority = [PRIMARY, SECONDARY, SECONDARY / 2][rank];
        let member = Self { node, software, priority, setting, running: None };
        member.set_healthy(true);
        member
    }

    pub(crate) fn start(&mut self, peers: &[Arc<Node>]) {
        self.running = Some(match self.software {
            Software::Vrrpd => Running::One(self.node.vrrpd_realtime(&self.vrrpd_config(peers))),
            Software::Keepalived => Running::One(self.node.keepalived(&self.keepalived_config(peers))),
            Software::Frr => Running::Frr(self.node.frr(&FrrRouter {
                vrid: 201,
                version: self.setting.version,
                priority: self.priority,
                interval_ms: self.setting.interval_ms,
                addresses: vec![self.setting.family.address().to_owned()],
            })),
        });
    }

    pub(crate) fn stop(&mut self) {
        match self.running.take().expect("it runs") {
            Running::One(daemon) => assert!(daemon.terminate().success()),
            Running::Frr(frr) => frr.terminate(),
        }
    }

    /// The machine loses its power.
    pub(crate) fn crash(&mut self, lab: &Lab) {
        match self.running.take().expect("it runs") {
            Running::One(daemon) => lab.power_off(&self.node, daemon),
            Running::Frr(frr) => lab.power_off(&self.node, frr.vrrpd),
        }
    }

    /// The service behind the address fails, or is well again. FRR checks nothing: there it is the
    /// cable.
    pub(crate) fn fail(&self, lab: &Lab, failing: bool) {
        match self.software {
            Software::Frr if failing => lab.switch().unplug(self.node.name()),
            Software::Frr => lab.switch().plug(self.node.name()),
            _ => self.set_healthy(!failing),
        }
    }

    /// Whether the address is here and answers. FRR keeps it at all times, on an interface that it
    /// takes down.
    pub(crate) fn holds(&self) -> bool {
        match self.software {
            Software::Frr => self.running.is_some() && self.node.frr_is_up(),
            _ => self.setting.addresses().iter().any(|address| self.node.has(address)),
        }
    }

    /// Whether all of them are here: the members of a sync group move together.
    pub(crate) fn holds_all(&self) -> bool {
        match self.software {
            Software::Frr => self.holds(),
            _ => self.setting.addresses().iter().all(|address| self.node.has(address)),
        }
    }

    fn set_healthy(&self, healthy: bool) {
        let file = self.node.directory().join("healthy");
        if healthy {
            std::fs::write(file, "").expect("the lab's directory is writable");
        } else {
            std::fs::remove_file(file).expect("it was healthy");
        }
    }

    fn vrrpd_config(&self, peers: &[Arc<Node>]) -> String {
        let Setting { version, interval_ms, .. } = self.setting;
        let mut routers = String::new();
        for (name, family) in self.setting.families() {
            let mut more = String::new();
            if self.setting.transport == Transport::Unicast {
                let peers: Vec<_> = peers.iter().map(|peer| own_address(peer, *family)).collect();
                more += &format!(
                    "source_address = \"{}\"\npeers = {peers:?}\n",
                    own_address(&self.node, *family)
                );
            }
            if self.setting.password {
                more += &format!("authentication = {{ type = \"pass\", password = \"{PASSWORD}\" }}\n");
            }
            if self.setting.virtual_mac {
                more += "virtual_mac = true\n";
            }
            if let (Some(form), Software::Vrrpd) = (self.setting.checksum, self.software) {
                // One of two vrrpd keeps to the form, the other finds out.
                let form = if self.priority == PRIMARY { form } else { "auto" };
                more += &format!("ipv4_checksum = {form:?}\n");
            }
            routers += &format!(
                "[virtual_router.{name}]\ninterface = \"eth0\"\nvrid = 201\nversion = {version}\n\
                 priority = {}\nadvertisement_interval = \"{interval_ms}ms\"\naddresses = {:?}\n\
                 checks = [\"healthy\"]\n{more}\n",
                self.priority,
                family.addresses(),
            );
        }
        if self.setting.sync_group {
            routers += "[sync_group.both]\nvirtual_routers = [\"ipv4\", \"ipv6\"]\n\n";
        }
        let file = self.node.directory().join("healthy");
        format!(
            "{routers}[check.healthy]\nfile = {{ path = {file:?} }}\ninterval = \"200ms\"\nrise = 1\nfall = 1\n\
             on_failure = \"fault\"\n"
        )
    }

    fn keepalived_config(&self, peers: &[Arc<Node>]) -> String {
        let Setting { version, interval_ms, .. } = self.setting;
        let file = self.node.directory().join("healthy");
        let mut config = format!(
            "global_defs {{\n  vrrp_rt_priority 10\n}}\nvrrp_script healthy {{\n  script \"/usr/bin/test -e {}\"\n  interval 1\n  rise 1\n  fall 1\n}}\n",
            file.display()
        );
        for (name, family) in self.setting.families() {
            let mut more = String::new();
            if self.setting.transport == Transport::Unicast {
                let peers: Vec<_> = peers.iter().map(|peer| own_address(peer, *family)).collect();
                let own = own_address(&self.node, *family);
                more += &format!("  unicast_src_ip {own}\n  unicast_peer {{\n{}\n  }}\n", peers.join("\n"));
            }
            if self.setting.password {
                more += &format!("  authentication {{\n    auth_type PASS\n    auth_pass {PASSWORD}\n  }}\n");
            }
            if self.setting.virtual_mac {
                more += "  use_vmac\n";
            }
            config += &format!(
                "vrrp_instance {name} {{\n  interface eth0\n  virtual_router_id 201\n  version {version}\n  \
                 priority {}\n  advert_int {}\n{more}  track_script {{\n    healthy\n  }}\n  \
                 virtual_ipaddress {{\n{}\n  }}\n}}\n",
                self.priority,
                f64::from(interval_ms) / 1000.0,
                family.addresses().join("\n"),
            );
        }
        if self.setting.sync_group {
            config += "vrrp_sync_group both {\n  group {\n    ipv4\n    ipv6\n  }\n}\n";
        }
        config
    }
}

const PASSWORD: &str = "s3cr3t";

fn own_address(node: &Node, family: Family) -> String {
    match family {
        Family::Ipv4 => node.ipv4(),
        Family::Ipv6 => node.ipv6(),
    }
}

impl Family {
    /// The address that clients use.
    pub(crate) fn address(self) -> &'static str {
        match self {
            Self::Ipv4 => VIP,
            Self::Ipv6 => VIP6,
        }
    }

    /// What is advertised: over IPv6 a link-local address first (RFC 9568 5.2.9).
    fn addresses(self) -> &'static [&'static str] {
        match self {
            Self::Ipv4 => &[VIP],
            Self::Ipv6 => &[VIP6_LINK_LOCAL, VIP6],
        }
    }
}
