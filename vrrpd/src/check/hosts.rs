//! The `hosts` probe: what the hosts file says of names, which programs believe before they ask DNS
//! and `nslookup` does not show.

use std::net::IpAddr;

use super::say::list;
use crate::config::Hosts;

/// Octets of a hosts file that are read; more is no hosts file.
const CAP: u64 = 4 * 1024 * 1024;
/// Lines that are named in a message.
const SHOWN: usize = 5;

/// One look.
pub(super) fn look(hosts: &Hosts) -> Result<String, String> {
    let shown = hosts.file.display();
    let text = match super::read_capped(&hosts.file, CAP) {
        Ok(text) => text,
        // Without the file nothing is overridden.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("cannot read {shown}: {error}")),
    };
    let text = String::from_utf8_lossy(&text);
    let mut faults = Vec::new();
    for line in lines(&text) {
        let says = |name: &str| format!("{shown}:{} maps {name} to {}", line.number, line.address);
        faults.extend(hosts.absent.iter().filter(|name| line.has(name)).map(|name| says(name)));
        if let Some(to) = hosts.to.filter(|to| line.ip.is_some_and(|ip| differs(ip, *to))) {
            let wrong = hosts.mapped.iter().filter(|name| line.has(name));
            faults.extend(wrong.map(|name| format!("{} instead of {to}", says(name))));
        }
    }
    for name in &hosts.mapped {
        if !lines(&text).any(|line| line.ip == hosts.to && line.has(name)) {
            let to = list(hosts.to);
            faults.push(format!("{shown} does not map {name} to {to}"));
        }
    }
    if faults.is_empty() {
        return Ok(well(hosts));
    }
    let more = faults.len().saturating_sub(SHOWN);
    faults.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(format!("{}{more}", faults.join("; ")))
}

fn well(hosts: &Hosts) -> String {
    let mut said = Vec::new();
    if !hosts.absent.is_empty() {
        said.push(format!("does not have {}", list(&hosts.absent)));
    }
    if let Some(to) = hosts.to {
        said.push(format!("maps {} to {to}", list(&hosts.mapped)));
    }
    format!("{} {}", hosts.file.display(), said.join(", "))
}

/// Another address of the same family: a name may have one of each.
fn differs(ip: IpAddr, to: IpAddr) -> bool {
    ip != to && ip.is_ipv4() == to.is_ipv4()
}

/// A line with an address and names (`hosts`(5)).
struct Line<'a> {
    number: usize,
    address: &'a str,
    /// None when the address is none, as `fe80::1%eth0`.
    ip: Option<IpAddr>,
    names: Vec<&'a str>,
}

impl Line<'_> {
    fn has(&self, name: &str) -> bool {
        let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.names.iter().any(|one| bare(one) == bare(name))
    }
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address = words.next()?;
        Some(Line { number: index + 1, address, ip: address.parse().ok(), names: words.collect() })
    })
}

/// For the fuzzer: what `/etc/hosts` may hold.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(text: &str) {
    assert!(
        lines(text)
            .all(|line| !line.address.is_empty() && (line.names.is_empty() || line.has(line.names[0])))
    );
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    const FILE: &str = "\
127.0.0.1 localhost
# 192.0.2.99 www.example.com
192.0.2.193\twww.Example.com. www # installer
fe80::1%eth0 router
2001:db8::201 www.example.com
192.0.2.201 registry.example.com
";

    fn hosts(
        scratch: &Scratch,
        absent: &[&str],
        mapped: &[&str],
        to: Option<&str>,
    ) -> Result<String, String> {
        let file = scratch.write("hosts", FILE);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let to = to.map(|ip| ip.parse().expect("an address"));
        let said = look(&Hosts { absent: names(absent), mapped: names(mapped), to, file: file.clone() });
        let short = |said: String| said.replace(&file.display().to_string(), "hosts");
        said.map(short).map_err(short)
    }

    #[test]
    fn a_name_that_must_not_be_there_is_told_with_its_line() {
        let scratch = Scratch::new();
        let said = hosts(&scratch, &["www.example.com"], &[], None).expect_err("two lines have it");
        assert_eq!(
            said,
            "hosts:3 maps www.example.com to 192.0.2.193; hosts:5 maps www.example.com to 2001:db8::201"
        );
        let said = hosts(&scratch, &["www.example.net", "eth0", "installer"], &[], None);
        assert_eq!(said, Ok("hosts does not have www.example.net, eth0, installer".to_owned()));
        let said = hosts(&scratch, &["router"], &[], None).expect_err("whatever the address looks like");
        assert_eq!(said, "hosts:4 maps router to fe80::1%eth0");
    }

    #[test]
    fn a_name_must_have_its_address_and_no_other_of_the_family() {
        let scratch = Scratch::new();
        let mapped = |name, to| hosts(&scratch, &[], &[name], Some(to));
        let said = mapped("registry.example.com", "192.0.2.201");
        assert_eq!(said, Ok("hosts maps registry.example.com to 192.0.2.201".to_owned()));
        assert!(mapped("WWW.example.com", "2001:db8::201").is_ok(), "an IPv4 address beside it is no fault");
        let said = mapped("www.example.com", "192.0.2.201").expect_err("another one");
        assert_eq!(
            said,
            "hosts:3 maps www.example.com to 192.0.2.193 instead of 192.0.2.201; \
             hosts does not map www.example.com to 192.0.2.201"
        );
    }

    #[test]
    fn without_the_file_no_name_is_there() {
        let missing = Hosts {
            absent: vec!["www".to_owned()],
            mapped: Vec::new(),
            to: None,
            file: "/does/not/exist".into(),
        };
        assert!(look(&missing).is_ok());
        assert!(
            look(&Hosts { file: "/".into(), ..missing })
                .expect_err("a directory")
                .starts_with("cannot read /: ")
        );
    }

    #[test]
    fn a_long_list_of_faults_is_cut() {
        let scratch = Scratch::new();
        let text: String = (1..=20).map(|n| format!("192.0.2.{n} www\n")).collect();
        let file = scratch.write("hosts", &text);
        let said = look(&Hosts { absent: vec!["www".to_owned()], mapped: Vec::new(), to: None, file });
        assert!(said.expect_err("it is there").ends_with(" and 15 more"));
    }
}
