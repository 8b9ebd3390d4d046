//! The virtual addresses on the link and on this node.

use std::net::IpAddr;

use netlink::{LinkIndex, Requester, Table};
use vrrp_proto::snapshot::StateName;
use vrrp_proto::{Family, MacAddress};

use super::neighbours::{self, Link};
use super::{Case, Finding};
use crate::config::VirtualRouter;
use crate::control::time::WallTime;

const ANSWERS: &str = "address_answers_from_one_mac";

pub(super) fn examine(case: &Case) -> Vec<Finding> {
    let table = table();
    let mut findings = Vec::new();
    for router in &case.config.virtual_routers {
        findings.push(prefix(router));
        findings.push(claimed(case, router));
        match &table {
            Ok(table) => findings.extend(on_the_link(case, router, table)),
            Err(why) => findings.push(Finding::unknown(ANSWERS, why.clone())),
        }
    }
    findings
}

/// The interface of a router, to ask on.
pub(super) fn link_of(router: &VirtualRouter, table: &Table) -> Result<(LinkIndex, Link), String> {
    let interface = &router.interface;
    let link = table.link_by_name(interface).and_then(|link| {
        let mut locals = table.addresses_of(link.index).filter_map(|entry| match entry.address.ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(ip),
            _ => None,
        });
        let link_local = locals.find(|&ip| !router.addresses.iter().any(|address| address.ip == ip));
        Some((link.index, Link { index: link.index.get(), mac: MacAddress::new(link.mac?), link_local }))
    });
    link.ok_or_else(|| format!("there is no Ethernet interface {interface} to ask on"))
}

pub(super) fn table() -> Result<Table, String> {
    let list = || {
        let mut requester = Requester::open()?;
        let mut table = Table::new();
        table.replace(requester.links()?, requester.addresses()?);
        Ok(table)
    };
    list()
        .map_err(|error: netlink::Error| format!("the interfaces of this machine cannot be listed: {error}"))
}

/// Asks the link for each address, and for the Active node, whose MAC address they should have.
fn on_the_link(case: &Case, router: &VirtualRouter, table: &Table) -> Vec<Finding> {
    let (index, link) = match link_of(router, table) {
        Ok(link) => link,
        Err(why) => return vec![Finding::unknown(ANSWERS, why)],
    };
    let running = case.running(router).ok();
    let active = running.and_then(|running| running.active_router).filter(|active| !active.this_node);
    let mut findings = Vec::new();
    for address in &router.addresses {
        let here = table.addresses_of(index).any(|entry| entry.address.ip == address.ip);
        let answers = match neighbours::who_answers(&link, address.ip) {
            Ok(answers) => answers,
            Err(why) => {
                findings.push(Finding::unknown(ANSWERS, format!("who answers for {}: {why}", address.ip)));
                continue;
            }
        };
        let of_active = active.and_then(|active| neighbours::who_answers(&link, active.address).ok());
        let seen = Seen {
            address: address.ip,
            here,
            is_active: running.map(|running| running.state == StateName::Active),
            answers,
            expected: of_active.unwrap_or_default(),
            virtual_mac: router.vrid.mac(router.family),
        };
        findings.push(seen.judge(router));
    }
    findings
}

/// What the link and this node show of one address.
struct Seen {
    address: IpAddr,
    /// It is on our interface.
    here: bool,
    /// We are the Active Router; unknown without a daemon.
    is_active: Option<bool>,
    /// Others that answered for it.
    answers: Vec<MacAddress>,
    /// Where the Active node's own address is; empty when that is not known.
    expected: Vec<MacAddress>,
    /// The Virtual Router MAC Address, which routers may use instead.
    virtual_mac: MacAddress,
}

impl Seen {
    fn judge(&self, router: &VirtualRouter) -> Finding {
        let Self { address, here, is_active, answers, expected, virtual_mac } = self;
        let macs = answers.iter().map(MacAddress::to_string).collect::<Vec<_>>().join(" and ");
        let is_ours = is_active.unwrap_or(*here);
        let twice = |who: String| {
            Finding::fail(
                ANSWERS,
                who,
                "a client reaches whoever answered it last",
                format!(
                    "find it: ip neigh show {address}; bridge fdb or the switch's table show the port of \
                     that MAC; \
                     vrrpctl state on both nodes"
                ),
            )
        };
        match (is_ours, &answers[..]) {
            (true, []) if *here => Finding::ok(
                ANSWERS,
                format!("{address} is held by this node, and nobody else answers for it"),
            ),
            (true, []) => Finding::fail(
                ANSWERS,
                format!("this node is Active, but {address} is not on {}", router.interface),
                "nobody answers for the address",
                format!("vrrpctl why {}", router.name),
            ),
            (true, _) => twice(format!("{address} is held by this node, and {macs} answers for it too")),
            (false, [_, _, ..]) => twice(format!("{address} is answered for by {macs}")),
            (false, [_]) if *here => twice(format!(
                "{address} is on {} though this node is not Active, and {macs} answers for it",
                router.interface
            )),
            (false, [mac]) if mac == virtual_mac || expected.contains(mac) => Finding::ok(
                ANSWERS,
                format!("{address} answers from one MAC, {mac}, that of the Active node"),
            ),
            (false, [mac]) if expected.is_empty() => {
                Finding::ok(ANSWERS, format!("{address} answers from one MAC, {mac}"))
            }
            (false, [mac]) => twice(format!(
                "{address} answers from {mac}, but the Active node is at {}",
                expected.iter().map(MacAddress::to_string).collect::<Vec<_>>().join(" and ")
            )),
            (false, []) => self.silent(router),
        }
    }

    /// Nobody answers, and it is not on this node by right.
    fn silent(&self, router: &VirtualRouter) -> Finding {
        let address = self.address;
        if self.is_active.is_none() && self.expected.is_empty() {
            return Finding::ok(ANSWERS, format!("{address} is free: nobody answers for it"));
        }
        Finding::fail(
            ANSWERS,
            format!("nobody answers for {address}, though it should be on the Active node"),
            "clients reach nobody",
            format!(
                "on the Active node: vrrpctl doctor; ip address show dev {}; nft list ruleset (ARP, \
                 neighbour discovery)",
                router.interface
            ),
        )
    }
}

/// Who claimed an address lately, though it may be silent while we ask.
fn claimed(case: &Case, router: &VirtualRouter) -> Finding {
    const NAME: &str = "address_claimed";
    let running = match case.running(router) {
        Ok(running) => running,
        Err(why) => {
            let what = format!("whether another station claimed an address of {}: {why}", router.name);
            return Finding::unknown(NAME, what);
        }
    };
    let at = case.state.as_ref().map_or_else(|_| WallTime::now(), |state| state.time);
    match running.alarms.iter().find(|alarm| alarm.name == "address_conflict") {
        Some(alarm) => Finding::warn(
            NAME,
            alarm.sentence(at),
            "a client reaches whoever it heard last",
            alarm.remedy.clone(),
        ),
        None => Finding::ok(NAME, format!("no other station has claimed an address of {}", router.name)),
    }
}

/// An address with the prefix of the network.
fn prefix(router: &VirtualRouter) -> Finding {
    const NAME: &str = "address_prefix";
    let host = router.family.host_prefix();
    let Some(wide) = router.addresses.iter().find(|address| address.prefix_len != host) else {
        return Finding::ok(NAME, format!("the addresses of {} have the prefix /{host}", router.name));
    };
    let duplicate = match router.family {
        Family::Ipv4 => {
            "it becomes a secondary address of the node's own, and the kernel deletes it together with that one"
        }
        Family::Ipv6 => {
            "it adds a second route to the network, and may become the source of what this node sends"
        }
    };
    Finding::warn(
        NAME,
        format!("{}/{} has the prefix of a network", wide.ip, wide.prefix_len),
        duplicate,
        format!("addresses = [\"{}\"]: a bare address means /{host}", wide.ip),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok as Fine, Unknown, Warn};
    use super::super::testing::{A, Patient, assert_finding};
    use super::*;
    use crate::control::alarm::Alarm;
    use vrrp_proto::snapshot::{self, Evidence, Value};

    const NODE_B: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 0xb]);
    const THIRD: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 0x77]);

    fn judge(here: bool, is_active: Option<bool>, answers: &[MacAddress]) -> Finding {
        let patient = Patient::new(A);
        let router = &patient.case.config.virtual_routers[0];
        let expected = if is_active == Some(false) { vec![NODE_B] } else { Vec::new() };
        let address = router.addresses[0].ip;
        let virtual_mac = router.vrid.mac(router.family);
        Seen { address, here, is_active, answers: answers.to_vec(), expected, virtual_mac }.judge(router)
    }

    #[test]
    fn one_answer_from_the_right_place_is_well() {
        assert_finding(&judge(true, Some(true), &[]), Fine, &["held by this node"]);
        assert_finding(&judge(false, Some(false), &[NODE_B]), Fine, &["02:00:00:00:00:0b"]);
        let virtual_mac = MacAddress::new([0, 0, 0x5e, 0, 1, 201]);
        assert_finding(&judge(false, Some(false), &[virtual_mac]), Fine, &["00:00:5e:00:01:c9"]);
        assert_finding(&judge(false, None, &[]), Fine, &["free"]);
    }

    #[test]
    fn a_second_or_a_wrong_answer_is_named_by_its_mac() {
        for finding in [
            judge(true, Some(true), &[THIRD]),
            judge(false, Some(false), &[NODE_B, THIRD]),
            judge(false, Some(false), &[THIRD]),
            judge(true, Some(false), &[THIRD]),
            judge(true, None, &[THIRD]),
        ] {
            assert_finding(&finding, Fail, &["02:00:00:00:00:77", "192.0.2.201"]);
        }
    }

    #[test]
    fn nobody_is_as_bad() {
        assert_finding(&judge(false, Some(false), &[]), Fail, &["nobody answers for 192.0.2.201"]);
        assert_finding(&judge(false, Some(true), &[]), Fail, &["is not on eth0"]);
    }

    #[test]
    fn a_station_that_claimed_the_address_lately_is_told() {
        let mut patient = Patient::active();
        assert_finding(&patient.find(examine, "address_claimed"), Fine, &["bootstrap"]);
        let address = "192.0.2.201".parse().expect("an address");
        let evidence = Evidence { theirs: Value::Mac(THIRD), ..Evidence::of(address) };
        let mut alarm =
            Alarm::heard(snapshot::Alarm::AddressConflict, &evidence, &crate::control::testing::config());
        alarm.seen = Some(patient.state().time.minus(std::time::Duration::from_secs(7)));
        patient.state().virtual_routers[0].alarms.push(alarm);
        assert_finding(&patient.find(examine, "address_claimed"), Warn, &["02:00:00:00:00:77", "7.0 s ago"]);
        assert_finding(&Patient::new(A).find(examine, "address_claimed"), Unknown, &["no daemon"]);
    }

    #[test]
    fn without_the_interface_nothing_is_known() {
        let patient = Patient::new(&A.replace("eth0", "nosuch0"));
        assert_finding(&patient.find(examine, ANSWERS), Unknown, &["nosuch0"]);
    }

    #[test]
    fn a_virtual_address_is_not_a_network() {
        let patient = |address| Patient::new(&A.replace("192.0.2.201", address).replace("eth0", "nosuch0"));
        assert_finding(&patient("192.0.2.201").find(examine, "address_prefix"), Fine, &["/32"]);
        assert_finding(
            &patient("192.0.2.201/24").find(examine, "address_prefix"),
            Warn,
            &["/24", "secondary"],
        );
    }
}
