//! Addresses, hosts with ports, and URLs.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use netlink::Address;
use toml::de::DeValue;
use vrrp_proto::Family;

use super::{Read, count, refuse, string, word};
use crate::config::Url;

/// The kernel's number of the main routing table.
pub(in crate::config) const MAIN_TABLE: u32 = 254;

/// A virtual address with an optional prefix length.
pub(in crate::config) fn address(key: &str, value: &DeValue<'_>) -> Read<Address> {
    let text = string(key, value)?;
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (text, None),
    };
    let Ok(ip) = ip.parse::<IpAddr>() else {
        return refuse(
            format!("{key}: {text:?} is not an address"),
            "as in \"192.0.2.201\" or \"192.0.2.201/32\"",
        );
    };
    let host_prefix = Family::of(ip).host_prefix();
    let prefix_len = match prefix.map(str::parse::<u8>) {
        None => host_prefix,
        Some(Ok(length)) if (1..=host_prefix).contains(&length) => length,
        Some(_) => {
            return refuse(
                format!("{key}: the prefix length of {text:?} is out of range 1..={host_prefix}"),
                "",
            );
        }
    };
    usable(key, ip)?;
    Ok(Address { ip, prefix_len })
}

/// The address of one host.
pub(in crate::config) fn ip(key: &str, value: &DeValue<'_>) -> Read<IpAddr> {
    let text = string(key, value)?;
    match text.parse() {
        Ok(ip) => usable(key, ip).map(|()| ip),
        Err(_) => {
            let bare = text.split_once('/').and_then(|(ip, _)| ip.parse::<IpAddr>().ok());
            let label = bare.map_or(String::new(), |ip| format!("without a prefix length: \"{ip}\""));
            refuse(format!("{key}: {text:?} is not an address"), label)
        }
    }
}

/// A network; `None` for `"default"`, which is of either family.
pub(in crate::config) fn destination(key: &str, value: &DeValue<'_>) -> Read<Option<Address>> {
    match value {
        DeValue::String(text) if text == "default" => Ok(None),
        _ => network(key, value).map(Some),
    }
}

/// A network: no bits of a host.
pub(in crate::config) fn network(key: &str, value: &DeValue<'_>) -> Read<Address> {
    let text = string(key, value)?;
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    let Ok(ip) = ip.parse::<IpAddr>() else {
        return refuse(
            format!("{key}: {text:?} is not a network"),
            "as in \"198.51.100.0/24\" or \"2001:db8::/32\"",
        );
    };
    let most = Family::of(ip).host_prefix();
    let prefix_len = match prefix.map(str::parse::<u8>) {
        None => most,
        Some(Ok(length)) if length <= most => length,
        Some(_) => {
            return refuse(format!("{key}: the prefix length of {text:?} is out of range 0..={most}"), "");
        }
    };
    let first = match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
            IpAddr::from((ip.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
            IpAddr::from((ip.to_bits() & mask).to_be_bytes())
        }
    };
    if first != ip {
        let label = format!("the network is \"{first}/{prefix_len}\"");
        return refuse(format!("{key}: {text:?} has bits beyond its prefix"), label);
    }
    Ok(Address { ip, prefix_len })
}

/// A routing table: `"main"`, or the number of one.
pub(in crate::config) fn routing_table(key: &str, value: &DeValue<'_>) -> Read<u32> {
    match value {
        DeValue::Integer(_) => count(key, value, 1..=u32::MAX),
        _ => word(key, value, &[("main", MAIN_TABLE)]),
    }
}

/// A group that no router forwards: in IPv4 of the local network control block (RFC 5771 4), in IPv6
/// of link-local scope (RFC 4291 2.7).
pub(in crate::config) fn multicast_group(key: &str, value: &DeValue<'_>) -> Read<IpAddr> {
    let group = any_ip(key, value)?;
    let stays_on_link = match group {
        IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
        IpAddr::V6(group) => group.is_multicast() && group.octets()[1] & 0x0f == 2,
    };
    if stays_on_link {
        return Ok(group);
    }
    refuse(
        format!("{key}: {group} is not a multicast group of one link"),
        "of 224.0.0.0/24 or ff02::/16, which routers do not forward",
    )
}

/// Any address, of the loopback interface too.
pub(in crate::config) fn any_ip(key: &str, value: &DeValue<'_>) -> Read<IpAddr> {
    let text = string(key, value)?;
    text.parse().or_else(|_| refuse(format!("{key}: {text:?} is not an address"), ""))
}

/// Can a host of the network have it?
pub(in crate::config) fn usable(key: &str, ip: IpAddr) -> Read<()> {
    let fault = match ip {
        ip if ip.is_multicast() => "a multicast address",
        ip if ip.is_loopback() => "a loopback address",
        ip if ip.is_unspecified() => "the unspecified address",
        IpAddr::V4(ip) if ip.is_broadcast() => "the broadcast address",
        IpAddr::V4(ip) if ip.octets()[0] == 0 => "not the address of a host",
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => "an IPv4 address in the clothes of IPv6",
        _ => return Ok(()),
    };
    refuse(format!("{key}: {ip} is {fault}"), "")
}

pub(in crate::config) fn socket_address(key: &str, value: &DeValue<'_>) -> Read<SocketAddr> {
    let text = string(key, value)?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        _ => refuse(
            format!("{key} {text:?} is not an address with a port"),
            "as in \"192.0.2.193:443\" or \"[2001:db8::193]:443\"",
        ),
    }
}

/// Address of a name server, with port 53 unless it has one.
pub(in crate::config) fn server(key: &str, value: &DeValue<'_>) -> Read<SocketAddr> {
    let text = string(key, value)?;
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, 53)),
        Err(_) => socket_address(key, value).or_else(|_| {
            refuse(
                format!("{key} {text:?} is not the address of a server"),
                "as in \"192.0.2.192\", \"192.0.2.192:53\" or \"[2001:db8::192]:53\"",
            )
        }),
    }
}

/// `host:port`, where the host may be a name.
pub(in crate::config) fn host_port(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = string(key, value)?;
    match authority(text) {
        Some((_, Some(_))) => Ok(text.to_owned()),
        _ => refuse(
            format!("{key} {text:?} is not a host with a port"),
            "as in \"192.0.2.193:443\", \"[2001:db8::193]:443\" or \"localhost:443\"",
        ),
    }
}

/// Host without brackets, and port where there is one: `name`, `name:443`, `[2001:db8::1]:443`.
pub(in crate::config) fn authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (host, rest) = text.split_at(end);
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            if !(1..=253).contains(&host.len()) || !host.chars().all(allowed) {
                return None;
            }
            (host, rest)
        }
    };
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?;
    // `parse` alone would take "+443".
    let port = digits.parse::<u16>().ok().filter(|port| *port != 0 && !digits.starts_with('+'))?;
    Some((host, Some(port)))
}

/// A name or an address, without port and brackets.
pub(in crate::config) fn host(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = string(key, value)?;
    let is_name = matches!(authority(text), Some((_, None))) && !text.starts_with('[');
    if is_name || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    refuse(
        format!("{key} {text:?} is neither a name nor an address"),
        "as in \"www.example.net\" or \"192.0.2.201\"",
    )
}

/// A URL that paths are added to.
pub(in crate::config) fn base_url(key: &str, value: &DeValue<'_>) -> Read<Url> {
    let url = url(key, value)?;
    if url.path.contains('?') {
        return refuse(
            format!("{key} {:?} has a query", url.to_string()),
            "the part before the question mark",
        );
    }
    Ok(url)
}

pub(in crate::config) fn url(key: &str, value: &DeValue<'_>) -> Read<Url> {
    let text = string(key, value)?;
    let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return refuse(format!("{key} {text:?} does not begin with http:// or https://"), ""),
    };
    let (host_port, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if host_port.contains('@') {
        return refuse(format!("{key} holds a user or a password"), "they go into a file: basic_auth_file");
    }
    let Some((host, port)) = authority(host_port) else {
        return refuse(
            format!("{key} {text:?} has no valid host and port"),
            "as in \"https://www.example.net:8443/health\"",
        );
    };
    if path.contains('#') || !path.chars().all(|c| c.is_ascii_graphic()) {
        return refuse(
            format!("{key} {text:?} has a path that cannot be asked for"),
            "letters of ASCII, no space and no #; the rest as %20",
        );
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Url { tls, host: host.to_owned(), port: port.unwrap_or(if tls { 443 } else { 80 }), path })
}
