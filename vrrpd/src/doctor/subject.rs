//! What the configuration says to clients: names, certificates, ports.
//!
//! The one place that looks into the kinds of checks.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Check, Config, Endpoint, Probe, VirtualRouter};

/// A name that clients use for a service of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceName {
    /// As it is asked for, in lower case and without the final dot.
    pub(super) name: String,
    /// The addresses that it may have, those of the virtual routers that it belongs to.
    pub(super) addresses: Vec<IpAddr>,
    /// Name of the first of these virtual routers.
    pub(super) virtual_router: Option<String>,
    /// The name follows the Active node by DNS UPDATE: this node's value of the record.
    pub(super) moves_to: Option<IpAddr>,
    /// Name servers that the configuration names for it; they know the TTL that caches count down.
    pub(super) servers: Vec<SocketAddr>,
}

/// Every name once: those that follow a virtual router, then those of checks.
pub(super) fn names(config: &Config) -> Vec<ServiceName> {
    let mut found: Vec<ServiceName> = Vec::new();
    let mut add = |service: ServiceName| {
        let is_name = service.name.parse::<IpAddr>().is_err() && service.name != "localhost";
        if is_name && !found.iter().any(|known| known.name == service.name) {
            found.push(service);
        }
    };
    for update in &config.dns_updates {
        add(ServiceName {
            name: bare(&update.record),
            addresses: Vec::new(),
            virtual_router: Some(update.virtual_router.clone()),
            moves_to: Some(update.value),
            servers: update.servers.clone(),
        });
    }
    for check in &config.checks {
        let routers = routers(config, &check.name);
        let addresses: Vec<IpAddr> =
            routers.iter().flat_map(|router| &router.addresses).map(|address| address.ip).collect();
        let servers = match &check.probe {
            Probe::Dns(dns) => vec![dns.server],
            _ => Vec::new(),
        };
        for (name, expected) in names_of(check) {
            let addresses = if expected.is_empty() { addresses.clone() } else { expected };
            // Without a virtual address nothing is known of where the name should lead.
            if !addresses.is_empty() {
                let virtual_router = routers.first().map(|router| router.name.clone());
                let servers = servers.clone();
                add(ServiceName { name: bare(name), addresses, virtual_router, moves_to: None, servers });
            }
        }
    }
    found
}

/// The names that a check knows, each with the addresses that it is told to have.
fn names_of(check: &Check) -> Vec<(&str, Vec<IpAddr>)> {
    match &check.probe {
        Probe::Dns(dns) => {
            let expected: Vec<IpAddr> = dns.expect.iter().filter_map(|data| data.parse().ok()).collect();
            if expected.is_empty() { Vec::new() } else { vec![(&dns.name, expected)] }
        }
        Probe::Hosts(hosts) => hosts.absent.iter().map(|name| (name.as_str(), Vec::new())).collect(),
        probe => match endpoint(probe) {
            // Without `connect` the name is only where the check goes, perhaps to a server elsewhere.
            Some(endpoint) if endpoint.connect.is_some() => vec![(shown_name(endpoint), Vec::new())],
            _ => Vec::new(),
        },
    }
}

fn bare(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// This node's server that a check talks HTTP to.
fn endpoint(probe: &Probe) -> Option<&Endpoint> {
    match probe {
        Probe::Http(kind) => Some(&kind.endpoint),
        Probe::S3(kind) => Some(&kind.endpoint),
        Probe::Registry(kind) => Some(&kind.endpoint),
        Probe::RegistryParity(kind) => Some(&kind.endpoint),
        Probe::ChartRepository(kind) => Some(&kind.endpoint),
        _ => None,
    }
}

/// The name under which a server is asked.
fn shown_name(endpoint: &Endpoint) -> &str {
    endpoint.tls.server_name.as_deref().unwrap_or(&endpoint.url.host)
}

/// The virtual routers that a check counts for; all when it counts for none.
fn routers<'a>(config: &'a Config, check: &str) -> Vec<&'a VirtualRouter> {
    let all = || config.virtual_routers.iter();
    let counting: Vec<_> = all().filter(|router| router.checks.iter().any(|name| name == check)).collect();
    if counting.is_empty() { all().collect() } else { counting }
}

/// A service that shows a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsService {
    /// The check it was found in.
    pub(super) check: String,
    /// Where to connect, if the file says so; otherwise the host of the URL is looked up.
    pub(super) connect: Option<SocketAddr>,
    /// Name or address that clients use, which is what the certificate has to carry.
    pub(super) name: String,
    /// Host and port in the URL.
    pub(super) url: (String, u16),
    /// The addresses that clients may use instead of the name.
    pub(super) addresses: Vec<IpAddr>,
}

/// Every service that is checked by https, each place once, in the order of the file.
pub(super) fn tls_services(config: &Config) -> Vec<TlsService> {
    let mut found: Vec<TlsService> = Vec::new();
    for check in &config.checks {
        let Some(endpoint) = endpoint(&check.probe).filter(|endpoint| endpoint.url.tls) else { continue };
        // Whoever else is checked need not know our addresses.
        let is_ours = endpoint.connect.is_some() || endpoint.url.host.parse::<IpAddr>().is_ok();
        let routers = if is_ours { routers(config, &check.name) } else { Vec::new() };
        let service = TlsService {
            check: check.name.clone(),
            connect: endpoint.connect,
            name: shown_name(endpoint).to_owned(),
            url: (endpoint.url.host.clone(), endpoint.url.port),
            addresses: routers
                .iter()
                .flat_map(|router| &router.addresses)
                .map(|address| address.ip)
                .collect(),
        };
        let same = |known: &TlsService| {
            (known.connect, &known.name, &known.url) == (service.connect, &service.name, &service.url)
        };
        if !found.iter().any(same) {
            found.push(service);
        }
    }
    found
}

/// Checks that are content with a connection, and the port they connect to.
pub(super) fn tcp_ports(config: &Config) -> Vec<(String, u16)> {
    let port = |check: &Check| match &check.probe {
        Probe::Tcp(tcp) => Some((check.name.clone(), tcp.address.rsplit(':').next()?.parse().ok()?)),
        _ => None,
    };
    config.checks.iter().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{A, parse};
    use super::*;

    #[test]
    fn names_come_from_checks_that_connect_to_this_node_under_the_name_of_clients() {
        let text = format!(
            "{A}checks = [\"registry\"]\n\
             [check.registry]\nhttp = {{ url = \"https://WWW.example.com/v2/\", connect = \"192.0.2.193:443\" }}\n\
             [check.again]\nhttp = {{ url = \"https://www.example.com/\", connect = \"192.0.2.193:443\" }}\n\
             [check.elsewhere]\nhttp = {{ url = \"https://other.example.com/\" }}\n\
             [check.address]\nhttp = {{ url = \"http://192.0.2.193/\", connect = \"192.0.2.193:80\" }}\n\
             [check.port]\ntcp = {{ address = \"192.0.2.193:9000\" }}\n"
        );
        let config = parse(&text);
        let found = names(&config);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].name, "www.example.com");
        assert_eq!(found[0].virtual_router.as_deref(), Some("bootstrap"));
        assert_eq!(found[0].addresses, ["192.0.2.201".parse::<IpAddr>().expect("an address")]);
        let tls = tls_services(&config);
        assert_eq!(tls.len(), 3, "{tls:?}");
        assert_eq!(tls[0].connect, Some("192.0.2.193:443".parse().expect("an address")));
        let elsewhere = tls.iter().find(|service| service.name == "other.example.com").expect("it is https");
        assert!(elsewhere.addresses.is_empty(), "it need not know our addresses");
        assert_eq!(tcp_ports(&config), [("port".to_owned(), 9000)]);
    }

    #[test]
    fn names_come_from_updates_and_from_checks_of_names() {
        let text = "[virtual_router.www]\ninterface = \"eth0\"\nvrid = 201\npeers = [\"198.51.100.194\"]\n\
                    [dns_update.www]\nvirtual_router = \"www\"\nserver = \"192.0.2.192\"\nzone = \"example.com\"\n\
                    name = \"www.example.com\"\nvalue = \"192.0.2.193\"\n\
                    [check.name]\ndns = { server = \"192.0.2.192\", name = \"ftp.example.com\", expect = [\"192.0.2.7\"] }\n\
                    [check.any]\ndns = { server = \"192.0.2.192\", name = \"any.example.com\" }\n\
                    [check.hosts]\nhosts = { absent = [\"www.example.com\", \"other.example.com\"] }\n";
        let found = names(&parse(text));
        let names: Vec<&str> = found.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["www.example.com", "ftp.example.com"], "the others lead nowhere that is known");
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(found[0].moves_to, Some(ip("192.0.2.193")));
        assert_eq!(found[0].servers, ["192.0.2.192:53".parse().expect("an address")]);
        assert_eq!((found[1].addresses.as_slice(), found[1].moves_to), (&[ip("192.0.2.7")][..], None));
    }
}
