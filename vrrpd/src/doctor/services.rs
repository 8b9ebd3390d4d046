//! Services that depend on the address, and checks that are content with too little.

use super::processes::{Listener, listeners};
use super::{Case, Finding, subject};
use crate::config::VirtualRouter;
use vrrp_proto::Family;

/// Programs that hold the ports which containers publish: they accept whatever becomes of the container.
const PUBLISHERS: [&str; 6] =
    ["conmon", "docker-proxy", "rootlessport", "slirp4netns", "pasta", "pasta.avx2"];

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    let listeners = listeners(case);
    let mut findings: Vec<Finding> =
        case.config.virtual_routers.iter().map(|router| bound(case, router, &listeners)).collect();
    findings.extend(
        subject::tcp_ports(&case.config)
            .iter()
            .map(|(check, port)| published(case, check, *port, &listeners)),
    );
    findings
}

/// A service that listens on the address itself cannot start where it is not.
fn bound(case: &Case, router: &VirtualRouter, listeners: &[Listener]) -> Finding {
    const NAME: &str = "service_bound_to_address";
    let on =
        |listener: &&Listener| router.addresses.iter().any(|address| address.ip == listener.address.ip());
    let Some(listener) = listeners.iter().find(on) else {
        return Finding::ok(NAME, format!("no service listens on an address of {} alone", router.name));
    };
    let (sysctl, file) = match router.family {
        Family::Ipv4 => ("net.ipv4.ip_nonlocal_bind", "/proc/sys/net/ipv4/ip_nonlocal_bind"),
        Family::Ipv6 => ("net.ipv6.ip_nonlocal_bind", "/proc/sys/net/ipv6/ip_nonlocal_bind"),
    };
    let program = listener.program(case).unwrap_or_else(|| "a service".to_owned());
    let what = format!("{program} listens on {}", listener.address);
    if case.number(file) == Some(1) {
        return Finding::ok(NAME, format!("{what}, which works without the address too ({sysctl} = 1)"));
    }
    Finding::warn(
        NAME,
        format!("{what}, and {sysctl} is 0"),
        "it cannot start while the address is on the other node: after a reboot this node cannot take over",
        format!(
            "let it listen on 0.0.0.0 or [::]; or sysctl -w {sysctl}=1 and a line in /etc/sysctl.d; \
             HAProxy: bind ... transparent"
        ),
    )
}

/// A tcp check of a port that a container publishes.
fn published(case: &Case, check: &str, port: u16, listeners: &[Listener]) -> Finding {
    const NAME: &str = "tcp_check_of_published_port";
    let programs =
        listeners.iter().filter(|one| one.address.port() == port).filter_map(|one| one.program(case));
    let publisher = programs.into_iter().find(|program| PUBLISHERS.contains(&program.as_str()));
    match publisher {
        Some(program) => Finding::warn(
            NAME,
            format!("check {check} connects to port {port}, which {program} holds for a container"),
            "it accepts connections whether or not the service behind it lives: the check stays green",
            format!("[check.{check}] http = {{ url = \"...\" }}: only an answered request proves a service"),
        ),
        None => {
            Finding::ok(NAME, format!("port {port} of check {check} is not one that a container publishes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Ok as Fine, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;

    /// A line for a socket that listens, in the byte order of this machine.
    fn tcp(address: [u8; 4], port: u16) -> String {
        format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout \
             inode\n   \
             0: {:08X}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0\n",
            u32::from_ne_bytes(address)
        )
    }

    fn with_program(patient: Patient, program: &str) -> Patient {
        patient
            .file("/proc/77/cmdline", &format!("/usr/bin/{program}\0--verbose\0"))
            .link("/proc/77/fd/5", "socket:[4242]")
    }

    #[test]
    fn a_service_on_the_address_alone_cannot_start_without_it() {
        let on_address =
            || with_program(Patient::new(A).file("/proc/net/tcp", &tcp([192, 0, 2, 201], 443)), "nginx");
        let finding = on_address().find(examine, "service_bound_to_address");
        assert_finding(&finding, Warn, &["nginx", "192.0.2.201:443", "net.ipv4.ip_nonlocal_bind"]);
        let allowed = on_address().file("/proc/sys/net/ipv4/ip_nonlocal_bind", "1\n");
        assert_finding(&allowed.find(examine, "service_bound_to_address"), Fine, &["nginx"]);
        let everywhere = Patient::new(A).file("/proc/net/tcp", &tcp([0, 0, 0, 0], 443));
        assert_finding(&everywhere.find(examine, "service_bound_to_address"), Fine, &[]);
    }

    #[test]
    fn a_tcp_check_of_a_containers_port_proves_nothing() {
        let text = format!("{A}[check.files]\ntcp = {{ address = \"192.0.2.193:9000\" }}\n");
        let patient = |program| {
            with_program(Patient::new(&text).file("/proc/net/tcp", &tcp([0, 0, 0, 0], 9000)), program)
        };
        let finding = patient("conmon").find(examine, "tcp_check_of_published_port");
        assert_finding(&finding, Warn, &["files", "9000", "conmon", "http"]);
        assert_finding(&patient("minio").find(examine, "tcp_check_of_published_port"), Fine, &["9000"]);
    }
}
