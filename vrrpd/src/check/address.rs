//! The `address` probe: has this node its addresses?

use netlink::{AddressEntry, Link, Requester};

use super::say::list;
use crate::config::Address;

/// One look.
pub(super) fn look(address: &Address) -> Result<String, String> {
    let told = Requester::open().and_then(|mut kernel| Ok((kernel.links()?, kernel.addresses()?)));
    let (links, entries) = told.map_err(|error| error.to_string())?;
    judge(address, &links, &entries)
}

fn judge(wanted: &Address, links: &[Link], entries: &[AddressEntry]) -> Result<String, String> {
    let name = |entry: &AddressEntry| {
        links.iter().find(|link| link.index == entry.link).map_or("a link that is gone", |link| &link.name)
    };
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for ip in &wanted.addresses {
        let on: Vec<&AddressEntry> = entries.iter().filter(|entry| entry.address.ip == *ip).collect();
        let right =
            |entry: &&&AddressEntry| wanted.interface.as_deref().is_none_or(|wanted| name(entry) == wanted);
        match on.iter().find(right) {
            Some(entry) if entry.dad_failed => {
                missing.push(format!("{ip} on {} is not in use: another host has it", name(entry)));
            }
            Some(entry) if entry.tentative => {
                missing.push(format!("{ip} on {} is not in use yet", name(entry)));
            }
            Some(entry) => there.push(format!("{} on {}", entry.address, name(entry))),
            None => missing.push(match (&wanted.interface, on.first()) {
                (Some(interface), Some(entry)) => format!("{ip} is on {}, not on {interface}", name(entry)),
                (Some(interface), None) => format!("{ip} is not on {interface}"),
                (None, _) => format!("{ip} is on no interface"),
            }),
        }
    }
    let (found, all) = (there.len(), wanted.addresses.len());
    let enough = found >= usize::try_from(wanted.quorum).unwrap_or(usize::MAX);
    let separator = if there.is_empty() || missing.is_empty() { "" } else { "; " };
    let said = format!("{found} of {all}: {}{separator}{}", list(there), list(missing));
    if enough { Ok(said) } else { Err(format!("{said} (quorum is {})", wanted.quorum)) }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use netlink::{Lifetime, LinkIndex, Scope};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn eth0() -> Link {
        Link {
            index: LinkIndex::new(2),
            name: "eth0".to_owned(),
            mac: None,
            up: true,
            carrier: true,
            loopback: false,
            mtu: 1500,
            controller: None,
            kind: None,
            lower: None,
            alias: None,
        }
    }

    fn entry(text: &str) -> AddressEntry {
        AddressEntry {
            link: LinkIndex::new(2),
            address: netlink::Address { ip: ip(text), prefix_len: 64 },
            secondary: false,
            tentative: false,
            deprecated: false,
            dad_failed: false,
            scope: Scope::Global,
            protocol: None,
            valid: Lifetime::Forever,
            preferred: Lifetime::Forever,
            updated_cs: 0,
        }
    }

    fn wanted(address: &str, interface: Option<&str>) -> Address {
        Address { addresses: vec![ip(address)], interface: interface.map(str::to_owned), quorum: 1 }
    }

    #[test]
    fn an_address_that_is_on_no_interface_is_named() {
        let said = judge(&wanted("192.0.2.254", None), &[], &[]);
        assert_eq!(said, Err("0 of 1: 192.0.2.254 is on no interface (quorum is 1)".to_owned()));
        let said = judge(&wanted("192.0.2.254", Some("eth0")), &[], &[]);
        assert_eq!(said, Err("0 of 1: 192.0.2.254 is not on eth0 (quorum is 1)".to_owned()));
    }

    #[test]
    fn an_address_that_is_not_in_use_does_not_count() {
        let said = |entry| judge(&wanted("2001:db8::193", Some("eth0")), &[eth0()], &[entry]);
        let there = entry("2001:db8::193");
        assert_eq!(said(there.clone()), Ok("1 of 1: 2001:db8::193/64 on eth0".to_owned()));
        let tentative = "0 of 1: 2001:db8::193 on eth0 is not in use yet (quorum is 1)";
        assert_eq!(said(AddressEntry { tentative: true, ..there.clone() }), Err(tentative.to_owned()));
        let duplicate = "0 of 1: 2001:db8::193 on eth0 is not in use: another host has it (quorum is 1)";
        let failed = AddressEntry { tentative: true, dad_failed: true, ..there };
        assert_eq!(said(failed), Err(duplicate.to_owned()));
    }
}
