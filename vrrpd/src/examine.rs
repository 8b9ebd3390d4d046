//! What `vrrpd --check` can see of the machine, without rights and without changing anything.
//!
//! Nothing of it is a fault of the file: an interface may come later. It is said, and no more.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use netlink::{Requester, Table};

use crate::config::{Authentication, Config, VirtualRouter};

/// A sentence for each thing that this machine lacks now and that the configuration counts on.
pub(crate) fn machine(config: &Config) -> Vec<String> {
    let mut findings = Vec::new();
    match table() {
        Ok(table) => config.virtual_routers.iter().for_each(|router| place(router, &table, &mut findings)),
        Err(error) => findings.push(format!("the interfaces of this machine cannot be listed: {error}")),
    }
    for check in &config.checks {
        for (what, file) in check.probe.files() {
            let missing = format!("check.{}: the {what} {} does not exist", check.name, file.display());
            // A check of two services may name one file for both.
            if !file.exists() && !findings.contains(&missing) {
                findings.push(missing);
            }
        }
    }
    for hook in &config.hooks {
        if let Some(program) = hook.exec.argv.first().filter(|program| !Path::new(program).exists()) {
            findings.push(format!("hook.{}: the program {program} does not exist", hook.name));
        }
    }
    for (update, tsig) in
        config.dns_updates.iter().filter_map(|update| Some((&update.name, update.tsig.as_ref()?)))
    {
        let place = format!("dns_update.{update}: the secret_file");
        findings.extend(secret(&place, &tsig.secret_file));
    }
    for router in &config.virtual_routers {
        let place = format!("virtual_router.{}: authentication:", router.name);
        let files = router.authentication.iter().flat_map(Authentication::files);
        findings.extend(files.filter_map(|file| secret(&place, file)));
    }
    if let Some(link) = &config.peer_link {
        findings.extend(secret("peer_link: the key_file", &link.key_file));
    }
    findings
}

/// What is wrong with a file that holds a secret, as far as anybody can see.
fn secret(place: &str, file: &Path) -> Option<String> {
    match file.metadata() {
        Err(error) => Some(format!("{place} {}: {error}", file.display())),
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            Some(format!("{place} {} is open to its group or others; chmod 0400", file.display()))
        }
        Ok(_) => None,
    }
}

fn table() -> Result<Table, netlink::Error> {
    let mut requester = Requester::open()?;
    let mut table = Table::new();
    table.replace(requester.links()?, requester.addresses()?);
    Ok(table)
}

fn place(router: &VirtualRouter, table: &Table, findings: &mut Vec<String>) {
    let (name, interface) = (&router.name, &router.interface);
    for further in router.garp.interfaces.iter().filter(|name| table.link_by_name(name).is_none()) {
        findings.push(format!("virtual_router.{name}: garp.interfaces: there is no interface {further} now"));
    }
    let Some(link) = table.link_by_name(interface) else {
        return findings.push(format!("virtual_router.{name}: there is no interface {interface} now"));
    };
    if !link.up || !link.carrier {
        findings
            .push(format!("virtual_router.{name}: the interface {interface} is down or has no carrier now"));
    }
    if let Some(source) = router.source_address
        && !table.addresses_of(link.index).any(|entry| entry.address.ip == source)
    {
        findings.push(format!("virtual_router.{name}: source_address {source} is not on {interface} now"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_what_is_there_is_not() {
        let text = "[virtual_router.a]\ninterface = \"nosuch0\"\nvrid = 7\npriority = 150\naddresses = [\"192.0.2.7\"]\n\
                    garp = { interfaces = [\"nosuch1\"] }\n\
                    checks = [\"missing\", \"there\", \"twice\"]\n\
                    [dns_update.d]\nvirtual_router = \"a\"\nserver = \"192.0.2.192\"\nzone = \"example.net\"\n\
                    name = \"example.net\"\nvalue = \"192.0.2.193\"\n\
                    tsig = { name = \"k\", secret_file = \"/no/such/key\" }\n\
                    [virtual_router.p]\ninterface = \"lo\"\nvrid = 8\nversion = 2\naddresses = [\"192.0.2.8\"]\n\
                    authentication = { type = \"pass\", password_file = \"/no/such/password\" }\n\
                    [peer_link]\nlisten = \"192.0.2.193:9112\"\npeers = [\"192.0.2.194:9112\"]\n\
                    key_file = \"/no/such/peer.key\"\n\
                    [check.missing]\nexec = [\"/no/such/program\"]\n[check.there]\nexec = [\"/bin/sh\"]\n\
                    [check.twice]\nregistry_parity = { url = \"https://192.0.2.193\", ca_file = \"/no/such/ca\", \
                    peer = { url = \"https://192.0.2.194\", ca_file = \"/no/such/ca\" } }\n";
        let (config, _) = crate::config::parse("test.toml", text).expect("a valid configuration");
        let findings = machine(&config);
        let missing = [
            "nosuch1",
            "nosuch0",
            "/no/such/program",
            "/no/such/ca",
            "/no/such/key",
            "/no/such/password",
            "/no/such/peer.key",
        ];
        assert_eq!(findings.len(), missing.len(), "{findings:?}");
        for (finding, named) in findings.iter().zip(missing) {
            assert!(finding.contains(named), "{findings:?}");
        }
    }
}
