//! Do the names of the services lead to where the address is: through the hosts file, which programs
//! believe first, and through each name server, of which any may be asked?

use std::net::{IpAddr, SocketAddr};

use super::resolver::{self, Answer};
use super::subject::{self, ServiceName};
use super::{Case, Finding};
use vrrp_proto::Family;

/// Port of DNS.
const PORT: u16 = 53;
/// Seconds that a record may last whose value moves.
const MOVING_TTL: u32 = 60;
/// The longest that a name which did not exist for a moment may be missing, in seconds.
const NEGATIVE_TTL: u32 = 300;

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    let mut findings = Vec::new();
    let resolvers = resolvers(case);
    for service in subject::names(&case.config) {
        findings.push(in_hosts_file(case, &service));
        match &resolvers {
            Ok(servers) => {
                findings.extend(servers.iter().flat_map(|server| at_server(case, &service, *server)))
            }
            Err(why) => findings.push(Finding::unknown("name_resolves", why.clone())),
        }
        let asked = |server: &&SocketAddr| resolvers.as_ref().is_ok_and(|asked| asked.contains(server));
        let others = service.servers.iter().filter(|server| !asked(server));
        findings.extend(others.flat_map(|server| at_server(case, &service, *server)));
    }
    findings
}

/// The name servers of this node, in their order.
fn resolvers(case: &Case) -> Result<Vec<SocketAddr>, String> {
    let text =
        case.read("/etc/resolv.conf").map_err(|error| format!("cannot read /etc/resolv.conf: {error}"))?;
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver") {
            // A scope as in fe80::1%eth0 cannot be kept here; such servers are for autoconfigured hosts.
            let ip: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
            found.extend(ip.map(|ip| SocketAddr::new(ip, PORT)));
        }
    }
    if found.is_empty() { Err("/etc/resolv.conf names no server".to_owned()) } else { Ok(found) }
}

/// A line of the hosts file that sends the name elsewhere.
fn in_hosts_file(case: &Case, service: &ServiceName) -> Finding {
    const NAME: &str = "name_in_hosts";
    const FILE: &str = "/etc/hosts";
    let name = &service.name;
    let text = match case.read(FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Finding::unknown(NAME, format!("cannot read {FILE}: {error}")),
    };
    let wrong = text.lines().enumerate().find_map(|(index, line)| {
        let address = maps(line, name)?;
        let right = address.parse().is_ok_and(|ip: IpAddr| service.addresses.contains(&ip));
        (!right).then_some((index + 1, address))
    });
    let Some((line, address)) = wrong else {
        return Finding::ok(NAME, format!("{FILE} does not send {name} elsewhere"));
    };
    let what = format!("{FILE}:{line} maps {name} to {address}  (nslookup will not show this)");
    let fix = format!(
        "remove line {line} of {FILE}; the DCE installer writes it when the name does not resolve to the \
         node it runs on"
    );
    if dns_comes_first(case) {
        return Finding::warn(NAME, what, "programs that read the file go elsewhere when DNS is silent", fix);
    }
    Finding::fail(
        NAME,
        what,
        "programs of this node believe the file and never ask DNS, wherever the address is",
        fix,
    )
}

/// The address of a line of hosts(5) that has this name.
fn maps<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
    let address = words.next()?;
    words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)).then_some(address)
}

/// Does nsswitch.conf ask DNS before the hosts file? It does not unless it says so.
fn dns_comes_first(case: &Case) -> bool {
    let text = case.read("/etc/nsswitch.conf").unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("hosts:")).unwrap_or_default();
    let line = line.split('#').next().unwrap_or_default();
    let place = |wanted: &[&str]| line.split_ascii_whitespace().position(|word| wanted.contains(&word));
    match (place(&["dns", "resolve"]), place(&["files"])) {
        (Some(dns), Some(files)) => dns < files,
        _ => false,
    }
}

/// What one server says of a name: where it leads, and how long that is kept.
fn at_server(case: &Case, service: &ServiceName, server: SocketAddr) -> Vec<Finding> {
    let wanted = |family: &Family| {
        let mut all = service.addresses.iter().chain(&service.moves_to);
        all.any(|&ip| Family::of(ip) == *family)
    };
    let mut answers = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6].into_iter().filter(wanted) {
        match resolver::addresses(server, &service.name, family) {
            Ok(answer) => answers.push(answer),
            // The other questions would only wait as long again.
            Err(why) => {
                return vec![Finding::warn(
                    "name_resolves",
                    why,
                    "look-ups that go to this server wait for seconds before they go elsewhere, or fail",
                    format!("repair {}; until then take it out of /etc/resolv.conf", server.ip()),
                )];
            }
        }
    }
    // Who has addresses of both families may well give the name to one of them.
    if answers.iter().any(|answer| !answer.addresses.is_empty()) {
        answers.retain(|answer| !answer.addresses.is_empty());
    } else {
        answers.truncate(1);
    }
    let of_answer = |answer| [Some(leads(case, service, server, answer)), lasts(service, server, answer)];
    let mut findings: Vec<Finding> = answers.iter().flat_map(of_answer).flatten().collect();
    findings.extend(nothing_lasts(service, server));
    findings
}

fn leads(case: &Case, service: &ServiceName, server: SocketAddr, answer: &Answer) -> Finding {
    const NAME: &str = "name_resolves";
    let (name, server) = (&service.name, server.ip());
    let wanted = match service.moves_to {
        Some(_) => "the address of the node that is Active".to_owned(),
        None => list(&service.addresses),
    };
    let fix = format!("the record of {name} at {server}: {wanted}");
    if answer.addresses.is_empty() {
        let what = if answer.missing { "does not exist" } else { "has no address" };
        return Finding::fail(
            NAME,
            format!("{name} {what} at name server {server}"),
            "clients that ask this server do not find the service",
            fix,
        );
    }
    let found = list(&answer.addresses);
    if is_virtual(service, answer) {
        return Finding::ok(NAME, format!("{name} is {found} at name server {server}"));
    }
    let is_at = |ip: Option<IpAddr>| ip.is_some_and(|ip| answer.addresses == [ip]);
    let active = active_address(case, service);
    if is_at(active) {
        let what =
            format!("{name} is {found} at name server {server}, the address of the node that is Active now");
        if service.moves_to.is_some() {
            return Finding::ok(NAME, what);
        }
        return Finding::warn(NAME, what, "the record does not follow when the address moves", fix);
    }
    // What is neither Active's nor ours may be the other node's value of a name that moves.
    let is_known = case.peer.is_some() || is_at(service.moves_to) || active == service.moves_to;
    if service.moves_to.is_some() && (active.is_none() || !is_known) {
        let why = "which value belongs to the node that is Active is not known";
        return Finding::unknown(NAME, format!("{name} is {found} at name server {server}; {why}"))
            .with_fix("vrrpctl doctor --peer-config FILE");
    }
    Finding::fail(
        NAME,
        format!("{name} is {found} at name server {server}, not {wanted}"),
        "clients that ask this server do not reach the node that is Active",
        fix,
    )
}

/// A record of a virtual address never changes; one of a node's own address has to change with the role.
fn is_virtual(service: &ServiceName, answer: &Answer) -> bool {
    service.moves_to.is_none() && answer.addresses.iter().all(|ip| service.addresses.contains(ip))
}

/// The address that a record of the Active node has: its value in the configurations, or what it
/// advertises from.
fn active_address(case: &Case, service: &ServiceName) -> Option<IpAddr> {
    let name = service.virtual_router.as_ref()?;
    let router = case.config.virtual_routers.iter().find(|router| router.name == *name)?;
    let active = case.running(router).ok()?.active_router?;
    let values = if active.this_node { Some(&case.config) } else { case.peer.as_ref() };
    let updates = values.map(|config| config.dns_updates.as_slice()).unwrap_or_default();
    let value = updates.iter().find(|update| update.record == service.name).map(|update| update.value);
    Some(value.unwrap_or(active.address))
}

/// How long others may go on believing what was true.
fn lasts(service: &ServiceName, server: SocketAddr, answer: &Answer) -> Option<Finding> {
    const NAME: &str = "name_ttl";
    if answer.addresses.is_empty() {
        return None;
    }
    let (name, ttl, server) = (&service.name, answer.ttl, server.ip());
    let moving = !is_virtual(service, answer);
    let what = format!("the TTL of {name} at name server {server} is {ttl} s");
    if !moving {
        return Some(Finding::ok(NAME, format!("{what}, harmless while the record is a virtual address")));
    }
    if ttl <= MOVING_TTL {
        return Some(Finding::ok(NAME, what));
    }
    Some(Finding::warn(
        NAME,
        what,
        format!(
            "a resolver that asked just before a move sends its clients to the old node for up to {ttl} s"
        ),
        format!(
            "lower it to {MOVING_TTL} s or less, {ttl} s before it has to work; or use a virtual address"
        ),
    ))
}

/// How long a name that was missing for a moment stays so. Only records that move are ever missing.
fn nothing_lasts(service: &ServiceName, server: SocketAddr) -> Option<Finding> {
    const NAME: &str = "name_negative_ttl";
    service.moves_to?;
    let (name, ip) = (&service.name, server.ip());
    match resolver::negative_ttl(server, name) {
        Ok(Some(ttl)) if ttl > NEGATIVE_TTL => Some(Finding::warn(
            NAME,
            format!(
                "name server {ip} lets resolvers remember for {ttl} s that a name of this zone is missing"
            ),
            "if the record of the name is ever away for a moment, clients miss it for that long",
            format!("lower the last number of the zone's SOA record to {NEGATIVE_TTL} s or less"),
        )),
        Ok(Some(ttl)) => {
            Some(Finding::ok(NAME, format!("what is missing at name server {ip} is remembered for {ttl} s")))
        }
        Ok(None) => {
            Some(Finding::unknown(NAME, format!("name server {ip} does not show the SOA record of {name}")))
        }
        Err(why) => Some(Finding::unknown(NAME, why)),
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok as Fine, Unknown, Warn};
    use super::super::resolver::server;
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;

    const CHECK: &str = "checks = [\"registry\"]\n[check.registry]\nhttp = { url = \
                         \"http://www.example.com/v2/\", connect = \"192.0.2.193:80\" }\n";

    fn patient() -> Patient {
        Patient::new(&format!("{A}{CHECK}"))
    }

    fn service() -> ServiceName {
        subject::names(&patient().case.config).remove(0)
    }

    fn verdict_of(findings: &[Finding], name: &str) -> Finding {
        findings.iter().find(|finding| finding.name == name).expect(name).clone()
    }

    #[test]
    fn the_hosts_file_may_say_the_virtual_address_and_nothing_else() {
        let hosts = "127.0.0.1 localhost\n192.0.2.201 www.example.com\n# 192.0.2.193 www.example.com\n";
        let finding = patient().file("/etc/hosts", hosts).find(examine, "name_in_hosts");
        assert_finding(&finding, Fine, &["www.example.com"]);
        let hosts = "127.0.0.1 localhost\n\n192.0.2.193\tnode-a WWW.example.com # installer\n";
        let finding = patient().file("/etc/hosts", hosts).find(examine, "name_in_hosts");
        let words = ["/etc/hosts:3", "www.example.com", "192.0.2.193", "nslookup", "remove line 3"];
        assert_finding(&finding, Fail, &words);
        assert_finding(&patient().find(examine, "name_in_hosts"), Fine, &[]);
    }

    #[test]
    fn a_hosts_file_that_is_asked_last_is_a_warning() {
        let hosts = "192.0.2.193 www.example.com\n";
        let order = |line| {
            let patient = patient().file("/etc/hosts", hosts).file("/etc/nsswitch.conf", line);
            patient.find(examine, "name_in_hosts").verdict
        };
        assert_eq!(order("passwd: files\nhosts: dns files\n"), Warn);
        assert_eq!(order("hosts: files dns\n"), Fail);
        assert_eq!(order("hosts: files # dns\n"), Fail);
    }

    #[test]
    fn the_servers_are_those_of_resolv_conf() {
        let servers = |text| resolvers(&patient().file("/etc/resolv.conf", text).case);
        let text =
            "search example.com\nnameserver 192.0.2.192\n;nameserver 192.0.2.1\nnameserver 2001:db8::53\n";
        let wanted: Vec<SocketAddr> =
            ["192.0.2.192:53", "[2001:db8::53]:53"].map(|s| s.parse().expect("an address")).into();
        assert_eq!(servers(text), Ok(wanted));
        assert!(servers("search example.com\n").is_err());
        assert_finding(&patient().find(examine, "name_resolves"), Unknown, &["/etc/resolv.conf"]);
    }

    #[test]
    fn a_server_that_knows_the_virtual_address_is_well_whatever_its_ttl() {
        let findings = at_server(&patient().case, &service(), server::start("192.0.2.201", 86400));
        assert_finding(&verdict_of(&findings, "name_resolves"), Fine, &["192.0.2.201"]);
        assert_finding(&verdict_of(&findings, "name_ttl"), Fine, &["86400", "harmless"]);
    }

    #[test]
    fn a_server_that_leads_elsewhere_is_named() {
        let findings = at_server(&patient().case, &service(), server::start("192.0.2.99", 30));
        let words = ["192.0.2.99", "not 192.0.2.201", "127.0.0.1"];
        assert_finding(&verdict_of(&findings, "name_resolves"), Fail, &words);
        let missing = ServiceName { name: "ftp.example.com".to_owned(), ..service() };
        let findings = at_server(&patient().case, &missing, server::start("192.0.2.201", 30));
        assert_finding(&verdict_of(&findings, "name_resolves"), Fail, &["does not exist"]);
    }

    #[test]
    fn a_record_of_the_active_node_needs_a_mover_and_a_short_ttl() {
        // The daemon of the test's state is Active as 192.0.2.193.
        let mut case = Patient::active();
        case.case.config = patient().case.config.clone();
        let by_hand = at_server(&case.case, &service(), server::start("192.0.2.193", 86400));
        assert_finding(&verdict_of(&by_hand, "name_resolves"), Warn, &["does not follow"]);
        assert_finding(&verdict_of(&by_hand, "name_ttl"), Warn, &["86400 s", "lower it"]);
        let moved = ServiceName { moves_to: "192.0.2.193".parse().ok(), ..service() };
        let short = at_server(&case.case, &moved, server::start("192.0.2.193", 10));
        for name in ["name_resolves", "name_ttl", "name_negative_ttl"] {
            assert_finding(&verdict_of(&short, name), Fine, &[]);
        }
        let long = at_server(&case.case, &moved, server::start("192.0.2.193", 10800));
        assert_finding(&verdict_of(&long, "name_negative_ttl"), Warn, &["10800 s", "SOA"]);
    }

    #[test]
    fn a_name_that_moves_is_judged_by_the_values_of_both_nodes() {
        let node = |value: &str, peer: &str| {
            format!(
                "[virtual_router.bootstrap]\ninterface = \"eth0\"\nvrid = 201\npeers = [\"{peer}\"]\n\
                 [dns_update.www]\nvirtual_router = \"bootstrap\"\nserver = \"192.0.2.192\"\nzone = \"example.com\"\n\
                 name = \"www.example.com\"\nvalue = \"{value}\"\n"
            )
        };
        // Active is 192.0.2.194, whose value is another address of it.
        let mut patient = Patient::backup();
        patient.case.config = Patient::new(&node("192.0.2.193", "192.0.2.194")).case.config.clone();
        let service = subject::names(&patient.case.config).remove(0);
        let at = |patient: &Patient, value| {
            verdict_of(&at_server(&patient.case, &service, server::start(value, 10)), "name_resolves")
        };
        assert_finding(&at(&patient, "203.0.113.194"), Unknown, &["--peer-config"]);
        assert_finding(&at(&patient, "192.0.2.193"), Fail, &["not the address of the node that is Active"]);
        assert_finding(&at(&patient, "192.0.2.194"), Fine, &[]);
        let patient = patient.with_peer(&node("203.0.113.194", "192.0.2.193"));
        assert_finding(&at(&patient, "203.0.113.194"), Fine, &[]);
        assert_finding(&at(&patient, "203.0.113.195"), Fail, &[]);
    }

    #[test]
    fn a_name_with_an_address_of_one_family_is_well() {
        let mut both = service();
        both.addresses.push("2001:db8::201".parse().expect("an address"));
        let findings = at_server(&patient().case, &both, server::start("192.0.2.201", 30));
        assert_finding(&verdict_of(&findings, "name_resolves"), Fine, &["192.0.2.201"]);
        assert_eq!(findings.iter().filter(|finding| finding.name == "name_resolves").count(), 1);
    }

    #[test]
    fn a_server_that_is_not_there_costs_clients_time() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let gone = socket.local_addr().expect("it is bound");
        drop(socket);
        let findings = at_server(&patient().case, &service(), gone);
        assert_finding(&verdict_of(&findings, "name_resolves"), Warn, &["nobody listens"]);
    }
}
