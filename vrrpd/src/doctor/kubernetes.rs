//! Would Kubernetes on this node take the virtual address for the node's own? That of a Kind cluster,
//! as the DCE installer's, has a network of its own and does not see the address.
//!
//! A /32 is listed before the node's address, and whoever takes the first one takes it; when it moves,
//! the pods' traffic breaks.

use super::processes::{Process, processes};
use super::{Case, Finding};

/// Where the arguments of kubelet are kept; kubeadm, Debian, Red Hat.
const KUBELET_FILES: [&str; 3] =
    ["/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet"];
const WHY: &str =
    "it may take the virtual address for the node's own, and pod traffic breaks when that moves";

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    vec![kubelet(case), calico(case)]
}

fn kubelet(case: &Case) -> Finding {
    const NAME: &str = "kubelet_node_ip";
    let running = find(case, "kubelet");
    let files: String = KUBELET_FILES.iter().filter_map(|file| case.read(file).ok()).collect();
    if running.is_none() && files.is_empty() {
        return Finding::ok(NAME, "no kubelet on this node");
    }
    // What runs counts; the files only while nothing runs.
    let has = match &running {
        Some(process) => process.arguments.iter().any(|argument| argument.starts_with("--node-ip")),
        None => files.contains("--node-ip"),
    };
    if has {
        return Finding::ok(NAME, "kubelet on this node has --node-ip");
    }
    let own = case.config.virtual_routers.iter().find_map(|router| router.source_address);
    let own = own.map_or_else(|| "the node's own address".to_owned(), |own| own.to_string());
    Finding::warn(
        NAME,
        "kubelet on this node has no --node-ip",
        WHY,
        format!(
            "KUBELET_EXTRA_ARGS=--node-ip={own} in /etc/default/kubelet or /etc/sysconfig/kubelet; \
             systemctl restart kubelet"
        ),
    )
}

fn calico(case: &Case) -> Finding {
    const NAME: &str = "calico_autodetection";
    const VARIABLE: &str = "IP_AUTODETECTION_METHOD=";
    let Some(process) = find(case, "calico-node") else {
        return Finding::ok(NAME, "no calico-node on this node");
    };
    let Some(environment) = process.environment(case) else {
        return Finding::unknown(NAME, "how calico-node finds its address: its environment is for root")
            .with_fix("run vrrpctl doctor as root");
    };
    let method =
        environment.iter().find_map(|variable| variable.strip_prefix(VARIABLE)).unwrap_or("first-found");
    let takes_any =
        ["first-found", "cidr=", "interface=", "skip-interface="].iter().any(|word| method.starts_with(word));
    if !takes_any {
        return Finding::ok(NAME, format!("calico-node finds its address by {method}"));
    }
    Finding::warn(
        NAME,
        format!("calico-node finds its address by {method}"),
        WHY,
        format!("kubectl -n kube-system set env daemonset/calico-node {VARIABLE}kubernetes-internal-ip"),
    )
}

fn find(case: &Case, program: &str) -> Option<Process> {
    let wanted = |process: &Process| process.name() == program && process.is_on_our_network(case);
    processes(case).into_iter().find(wanted)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Ok as Fine, Unknown, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;

    fn kubelet_with(arguments: &str) -> Finding {
        let patient = Patient::new(A).file("/proc/77/cmdline", &format!("/usr/bin/kubelet\0{arguments}"));
        patient.find(examine, "kubelet_node_ip")
    }

    #[test]
    fn kubelet_is_told_its_address() {
        assert_finding(&kubelet_with("--node-ip=192.0.2.194\0--v=2\0"), Fine, &["--node-ip"]);
        assert_finding(&kubelet_with("--v=2\0"), Warn, &["no --node-ip", "KUBELET_EXTRA_ARGS"]);
        assert_finding(&Patient::new(A).find(examine, "kubelet_node_ip"), Fine, &["no kubelet"]);
        let in_kind = Patient::new(A)
            .file("/proc/77/cmdline", "/usr/bin/kubelet\0--v=2\0")
            .link("/proc/77/ns/net", "net:[4026532000]")
            .link("/proc/self/ns/net", "net:[4026531840]");
        assert_finding(&in_kind.find(examine, "kubelet_node_ip"), Fine, &["no kubelet"]);
        let stopped = |flags: &str| {
            let patient = Patient::new(A).file("/var/lib/kubelet/kubeadm-flags.env", flags);
            patient.find(examine, "kubelet_node_ip").verdict
        };
        assert_eq!(stopped("KUBELET_KUBEADM_ARGS=\"--v=2\"\n"), Warn);
        assert_eq!(stopped("KUBELET_KUBEADM_ARGS=\"--node-ip=192.0.2.194\"\n"), Fine);
    }

    #[test]
    fn calico_is_told_its_address() {
        let with = |environment: &str| {
            let patient = Patient::new(A)
                .file("/proc/88/cmdline", "calico-node\0-felix\0")
                .file("/proc/88/environ", environment);
            patient.find(examine, "calico_autodetection")
        };
        assert_finding(&with("PATH=/bin\0"), Warn, &["first-found", "kubernetes-internal-ip"]);
        assert_finding(&with("IP_AUTODETECTION_METHOD=cidr=192.0.2.0/24\0"), Warn, &["cidr="]);
        assert_finding(&with("IP_AUTODETECTION_METHOD=kubernetes-internal-ip\0"), Fine, &[]);
        assert_finding(&Patient::new(A).find(examine, "calico_autodetection"), Fine, &["no calico-node"]);
        let closed = Patient::new(A).file("/proc/88/cmdline", "calico-node\0-felix\0");
        assert_finding(&closed.find(examine, "calico_autodetection"), Unknown, &["root"]);
    }
}
