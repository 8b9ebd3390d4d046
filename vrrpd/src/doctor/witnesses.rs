//! The stations whose silence tells a node that it is cut off: do they answer?

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use netlink::{Address, LinkIndex, Table};
use vrrp_proto::Family;

use super::neighbours::{self, Link};
use super::{Case, Finding, addresses};
use crate::config::{VirtualRouter, Witness};

const ANSWERS: &str = "witness_answers";
/// How long a server may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    let table = addresses::table();
    let mut findings = Vec::new();
    for router in &case.config.virtual_routers {
        let Some(witness) = &router.witness else { continue };
        let link = table.as_ref().map_err(Clone::clone);
        match link.and_then(|table| Ok((table, addresses::link_of(router, table)?))) {
            Ok((table, (index, link))) => {
                findings
                    .extend(stations(witness).map(|station| neighbour(router, table, index, &link, station)));
            }
            Err(why) => findings.push(Finding::unknown(ANSWERS, why)),
        }
        findings.extend(witness.tcp.iter().map(|&server| connected(server)));
    }
    findings
}

/// Those that are asked on the link: in the order of the file, the other nodes first.
fn stations(witness: &Witness) -> impl Iterator<Item = IpAddr> + '_ {
    witness.peers.iter().chain(&witness.arp).copied()
}

fn neighbour(
    router: &VirtualRouter,
    table: &Table,
    index: LinkIndex,
    link: &Link,
    station: IpAddr,
) -> Finding {
    let interface = &router.interface;
    match neighbours::who_answers(link, station) {
        Ok(answers) if !answers.is_empty() => {
            Finding::ok(ANSWERS, format!("{station} answers on {interface}"))
        }
        Ok(_) => {
            let own = table.addresses_of(index).map(|entry| entry.address);
            let own = own.filter(|own| !router.addresses.iter().any(|virtual_one| virtual_one.ip == own.ip));
            silent(station, interface, &own.collect::<Vec<_>>())
        }
        Err(why) => Finding::unknown(ANSWERS, format!("whether {station} answers: {why}")),
    }
}

/// Nobody answers for `station`; `own` are the addresses of the interface.
fn silent(station: IpAddr, interface: &str, own: &[Address]) -> Finding {
    let family = Family::of(station);
    let near = own.iter().any(|own| covers(*own, station));
    let networks: Vec<String> =
        own.iter().filter(|own| Family::of(own.ip) == family).map(ToString::to_string).collect();
    if near || networks.is_empty() {
        return unanswered(
            format!("{station} does not answer on {interface}"),
            format!("see whether it is up: ip neigh show {station}; else name another station in witness"),
        );
    }
    unanswered(
        format!("{station} does not answer on {interface}, which is in {}", networks.join(" and ")),
        "name a station of that network, or the server under witness.tcp, which may be anywhere",
    )
}

fn connected(server: SocketAddr) -> Finding {
    match TcpStream::connect_timeout(&server, PATIENCE) {
        Ok(_) => Finding::ok(ANSWERS, format!("{server} accepts a connection")),
        Err(error) => unanswered(
            format!("{server} accepts no connection: {error}"),
            "see whether the service listens and no firewall is in between, or name another in witness.tcp",
        ),
    }
}

fn unanswered(what: String, fix: impl Into<String>) -> Finding {
    Finding::warn(
        ANSWERS,
        what,
        "who still answers tells a node whose own network is cut from one whose peer has died; a station that \
         is always silent tells neither",
        fix,
    )
}

/// Is the address in the network that the other is in?
fn covers(own: Address, ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let free = 128 - u32::from(own.prefix_len);
    own.ip.is_ipv4() == ip.is_ipv4()
        && (bits(own.ip) ^ bits(ip)).checked_shr(free).is_none_or(|different| different == 0)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::Verdict::{Ok as Fine, Unknown, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;

    fn own(text: &str) -> Vec<Address> {
        let (ip, prefix_len) = text.split_once('/').expect("a prefix");
        vec![Address {
            ip: ip.parse().expect("an address"),
            prefix_len: prefix_len.parse().expect("a number"),
        }]
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_station_of_another_network_is_told_from_one_that_is_down() {
        let down = silent(ip("192.0.2.1"), "eth0", &own("192.0.2.193/24"));
        assert_finding(&down, Warn, &["192.0.2.1 does not answer on eth0", "whether it is up"]);
        for (station, network) in [("198.51.100.1", "192.0.2.193/24"), ("2001:db8:1::1", "2001:db8::193/64")]
        {
            let far = silent(ip(station), "eth0", &own(network));
            assert_finding(&far, Warn, &[station, network, "witness.tcp"]);
        }
        let unknown = silent(ip("192.0.2.1"), "eth0", &own("2001:db8::193/64"));
        assert_finding(&unknown, Warn, &["whether it is up"]);
    }

    #[test]
    fn a_network_covers_its_own_and_nothing_else() {
        for (network, inside, outside) in [
            ("192.0.2.193/24", "192.0.2.1", "192.0.3.1"),
            ("192.0.2.193/32", "192.0.2.193", "192.0.2.192"),
            ("192.0.2.193/0", "203.0.113.1", "::"),
            ("2001:db8::193/64", "2001:db8::1", "2001:db8:0:1::1"),
        ] {
            assert!(covers(own(network)[0], ip(inside)), "{network}");
            assert!(!covers(own(network)[0], ip(outside)), "{network}");
        }
    }

    #[test]
    fn a_server_that_accepts_is_well_and_one_that_does_not_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback interface is there");
        let server = listener.local_addr().expect("it is bound");
        let witness = "witness = { tcp = [\"192.0.2.1:443\"] }\n";
        let mut patient = Patient::new(&(A.replace("eth0", "nosuch0") + witness));
        let witness = patient.case.config.virtual_routers[0].witness.as_mut();
        witness.expect("configured").tcp = vec![server];
        let found = examine(&patient.case);
        assert_finding(&found[0], Unknown, &["nosuch0"]);
        assert_finding(&found[1], Fine, &[&server.to_string()]);
        drop(listener);
        assert_finding(&examine(&patient.case)[1], Warn, &[&server.to_string(), "refused"]);
        assert_eq!(examine(&Patient::new(A).case), [], "nobody is to be asked");
    }
}
