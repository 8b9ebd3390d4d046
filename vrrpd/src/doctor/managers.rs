//! Programs that manage the interface, and take addresses away that they did not add.

use super::{Case, Finding};
use crate::config::{Lease, VirtualRouter};

const WHY: &str =
    "it removes addresses that it did not add; vrrpd puts them back at once, and clients notice";

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    let mut findings = Vec::new();
    for router in &case.config.virtual_routers {
        findings.push(networkd(case, router));
        findings.push(network_manager(case, router));
        findings.push(put_back(case, router));
    }
    findings
}

/// The number of an interface, under which managers keep what they know of it.
fn index(case: &Case, router: &VirtualRouter) -> Option<i64> {
    case.number(format!("/sys/class/net/{}/ifindex", router.interface))
}

/// systemd-networkd, at its restart and whenever it configures the interface anew.
fn networkd(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "networkd";
    let interface = &router.interface;
    let link =
        index(case, router).and_then(|index| case.read(format!("/run/systemd/netif/links/{index}")).ok());
    let link = link.unwrap_or_default();
    let admin_state = value(&link, "ADMIN_STATE").unwrap_or("unmanaged");
    let file = value(&link, "NETWORK_FILE").filter(|_| admin_state != "unmanaged");
    let Some(file) = file else {
        return Finding::ok(NAME, format!("systemd-networkd does not manage {interface}"));
    };
    // Drop-ins come later and win.
    let mut keep = None;
    let name = file.rsplit('/').next().unwrap_or_default();
    let drop_ins = ["/usr/lib", "/run", "/etc"]
        .iter()
        .flat_map(|base| case.list(format!("{base}/systemd/network/{name}.d")));
    for file in [file.into()].into_iter().chain(drop_ins) {
        let text = case.read(file).unwrap_or_default();
        keep = value(&text, "KeepConfiguration").map(str::to_owned).or(keep);
    }
    // An address with a lifetime is, to networkd, one from DHCP.
    let enough: &[&str] = match router.lease {
        Lease::Off => &["yes", "true", "1", "on", "static"],
        Lease::Auto | Lease::For(_) => &["yes", "true", "1", "on"],
    };
    match keep {
        Some(keep) if enough.contains(&keep.as_str()) => Finding::ok(
            NAME,
            format!(
                "systemd-networkd manages {interface} and keeps what others add (KeepConfiguration={keep})"
            ),
        ),
        keep => Finding::warn(
            NAME,
            format!(
                "systemd-networkd manages {interface} with KeepConfiguration={}",
                keep.as_deref().unwrap_or("no")
            ),
            WHY,
            format!(
                "mkdir -p /etc/systemd/network/{name}.d; in keep.conf there: [Network], next line \
                 KeepConfiguration=yes; networkctl reload"
            ),
        ),
    }
}

/// NetworkManager, whenever its connection is activated anew.
fn network_manager(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "network_manager";
    let interface = &router.interface;
    let device =
        index(case, router).and_then(|index| case.read(format!("/run/NetworkManager/devices/{index}")).ok());
    let managed = device.as_deref().and_then(|text| value(text, "managed"));
    if managed != Some("true") {
        return Finding::ok(NAME, format!("NetworkManager does not manage {interface}"));
    }
    Finding::warn(
        NAME,
        format!(
            "NetworkManager manages {interface}: nmcli connection up, or an edited connection, takes the \
             address away"
        ),
        WHY,
        format!(
            "before such a change: vrrpctl switchover {}; or leave {interface} to another program: in \
             /etc/NetworkManager/conf.d/vrrpd.conf [device-vrrpd], match-device=interface-name:{interface}, managed=0",
            router.name
        ),
    )
}

/// Somebody has taken an address away already.
fn put_back(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "addresses_put_back";
    let running = match case.running(router) {
        Ok(running) => running,
        Err(why) => return Finding::unknown(NAME, format!("whether somebody removes the addresses: {why}")),
    };
    match running.statistics.addresses_put_back {
        0 => Finding::ok(NAME, format!("nobody has removed an address of {}", router.name)),
        count => Finding::warn(
            NAME,
            format!("an address of {} was removed by somebody else and put back {count} times", router.name),
            "each time clients are without it for a moment",
            format!("vrrpctl history {} has the times: whose change of the network were they?", router.name),
        ),
    }
}

/// `KEY=value` of the last line that has it.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.trim().split_once('='));
    lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).next_back()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Ok as Fine, Unknown, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;

    fn with_interface() -> Patient {
        Patient::new(A).file("/sys/class/net/eth0/ifindex", "7\n")
    }

    fn with_networkd(network: &str) -> Patient {
        let link = "# private\nADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/10-eth0.network\n";
        with_interface()
            .file("/run/systemd/netif/links/7", link)
            .file("/etc/systemd/network/10-eth0.network", network)
    }

    #[test]
    fn networkd_has_to_keep_what_others_add() {
        let finding = with_networkd("[Match]\nName=eth0\n[Network]\nAddress=192.0.2.193/24\n")
            .find(examine, "networkd");
        assert_finding(
            &finding,
            Warn,
            &["KeepConfiguration=no", "/etc/systemd/network/10-eth0.network.d", "KeepConfiguration=yes"],
        );
        let kept = with_networkd("[Network]\nKeepConfiguration=yes\n");
        assert_finding(&kept.find(examine, "networkd"), Fine, &["keeps"]);
        let dropped_in = with_networkd("[Network]\n")
            .file("/etc/systemd/network/10-eth0.network.d/keep.conf", "[Network]\nKeepConfiguration=yes\n");
        assert_finding(&dropped_in.find(examine, "networkd"), Fine, &["keeps"]);
        assert_finding(&with_interface().find(examine, "networkd"), Fine, &["does not manage"]);
    }

    #[test]
    fn a_leased_address_is_not_static_to_networkd() {
        let patient = with_networkd("[Network]\nKeepConfiguration=static\n");
        assert_finding(&patient.find(examine, "networkd"), Warn, &["KeepConfiguration=static"]);
        let mut unleased = with_networkd("[Network]\nKeepConfiguration=static\n");
        unleased.case.config.virtual_routers[0].lease = Lease::Off;
        assert_finding(&unleased.find(examine, "networkd"), Fine, &[]);
    }

    #[test]
    fn network_manager_takes_the_address_with_the_connection() {
        let managed =
            with_interface().file("/run/NetworkManager/devices/7", "[device]\nmanaged=true\nnm-owned=0\n");
        assert_finding(
            &managed.find(examine, "network_manager"),
            Warn,
            &["nmcli", "managed=0", "interface-name:eth0"],
        );
        let unmanaged = with_interface().file("/run/NetworkManager/devices/7", "[device]\nmanaged=false\n");
        assert_finding(&unmanaged.find(examine, "network_manager"), Fine, &[]);
        assert_finding(&with_interface().find(examine, "network_manager"), Fine, &[]);
    }

    #[test]
    fn an_address_that_was_put_back_was_taken_by_somebody() {
        let mut patient = Patient::active();
        assert_finding(&patient.find(examine, "addresses_put_back"), Fine, &[]);
        patient.state().virtual_routers[0].statistics.addresses_put_back = 3;
        assert_finding(&patient.find(examine, "addresses_put_back"), Warn, &["3 times", "vrrpctl history"]);
        assert_finding(&Patient::new(A).find(examine, "addresses_put_back"), Unknown, &["no daemon"]);
    }
}
