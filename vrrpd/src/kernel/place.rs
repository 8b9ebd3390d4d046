//! Where a router runs, and what can be known of that place from the list of links and addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use netlink::{Address, AddressEntry, AddressOptions, Lifetime, Link, LinkIndex, Scope, Table};
use vrrp_proto::parameters::{Facts, InterfaceState, LinkId};
use vrrp_proto::{Family, Instant, MacAddress, Version, Vrid};

use super::{Device, Placement, Placements, Way};
use crate::clock;
use crate::net::Wanted;

/// Where a router runs, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the interface in the core.
    pub(crate) link: LinkId,
    /// Its name.
    pub(crate) interface: String,
    /// Family of the router.
    pub(crate) family: Family,
    /// Configured source of advertisements.
    pub(crate) source_address: Option<IpAddr>,
    /// The second path.
    pub(crate) second: Option<SecondPlace>,
    /// Addresses that are asked on the interface whether the clients' LAN answers.
    pub(crate) stations: Vec<IpAddr>,
    /// Group that is listened to; none in unicast.
    pub(crate) group: Option<IpAddr>,
    /// The router's number.
    pub(crate) vrid: Vrid,
    /// What is spoken. Of VRRPv2 there is a form behind an Authentication Header.
    pub(crate) version: Version,
    /// TTL or Hop Limit below which nothing is taken, on the first path.
    pub(crate) least_hop_limit: u8,
    /// Unicast peers are not link-local: IPv6 advertisements leave from a global address.
    pub(crate) global_source: bool,
    /// The device with the virtual MAC address, which addresses go on that name no interface.
    pub(crate) device: Option<Device>,
    /// The virtual addresses, the advertised ones and those that only move along.
    pub(crate) addresses: Placements,
    /// Routes and rules that come and go with the role.
    pub(crate) ways: Vec<Way>,
    /// The addresses are the administrator's.
    pub(crate) owner: bool,
    /// Packets to the addresses are accepted, though they are not the administrator's.
    pub(crate) accept_mode: bool,
    /// Time between two advertisements.
    pub(crate) interval: Duration,
    /// Kernel lifetime of the addresses in seconds, of those that are renewed with each advertisement.
    pub(crate) lease: Option<u32>,
    /// How long the fence lets them answer after an advertisement.
    pub(crate) fence: Option<Duration>,
    /// Addresses that an earlier daemon left may be kept: it did not crash over and over.
    pub(crate) may_resume: bool,
    /// Further interfaces that announcements leave from.
    pub(crate) further: Vec<(LinkId, String)>,
}

/// Where a router advertises on its second path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecondPlace {
    /// Number of the interface in the core.
    pub(crate) link: LinkId,
    /// Its name.
    pub(crate) interface: String,
    /// Configured source of advertisements.
    pub(crate) source_address: Option<IpAddr>,
    /// The peers are not link-local: IPv6 advertisements leave from a global address.
    pub(crate) global_source: bool,
    /// Addresses that are asked there whether a host is dead.
    pub(crate) stations: Vec<IpAddr>,
}

/// What the routers among `places` that are on this link, by either path, can use of what comes in.
pub(super) fn wanted<'a>(places: impl Iterator<Item = &'a Place>, link: LinkId, family: Family) -> Wanted {
    let mut wanted = Wanted {
        groups: BTreeSet::new(),
        groups_v2: BTreeSet::new(),
        vrids: BTreeSet::new(),
        versions: BTreeSet::new(),
        least_hop_limit: u8::MAX,
    };
    for place in places.filter(|place| place.family == family) {
        let first = place.link == link;
        if !first && place.second.as_ref().is_none_or(|second| second.link != link) {
            continue;
        }
        wanted.vrids.insert(place.vrid);
        wanted.versions.insert(place.version);
        if first {
            wanted.least_hop_limit = wanted.least_hop_limit.min(place.least_hop_limit);
            wanted.groups.extend(place.group);
            wanted.groups_v2.extend(place.group.filter(|_| place.version == Version::V2));
        }
    }
    wanted
}

impl Place {
    /// The interface that an address goes on. One that a reload has just taken from the router is
    /// where the router is.
    pub(super) fn interface_of(&self, address: Address) -> &str {
        self.addresses.find(address).map_or(&self.interface, |placement| &placement.interface)
    }

    /// How an address is put there.
    pub(super) fn options_of(&self, address: Address) -> AddressOptions {
        self.addresses.find(address).map(|placement| placement.options.clone()).unwrap_or_default()
    }

    /// How long an address lasts in the kernel without being renewed, in seconds; `None`: for ever.
    pub(super) fn lifetime_of(&self, address: Address) -> Option<u32> {
        self.lease.map(|lease| self.addresses.lifetime(address, lease))
    }

    /// How long an address lasts that is added: nothing is renewed until very many others have been added too.
    pub(super) fn first_lifetime(&self) -> Option<u32> {
        self.lease.map(|lease| self.addresses.longest_lifetime(lease))
    }

    /// What is known of the place; `virtual_addresses` are those of all routers, `before` is what was
    /// known last.
    pub(super) fn facts(
        &self,
        table: &Table,
        virtual_addresses: &BTreeSet<IpAddr>,
        before: Option<Facts>,
    ) -> Facts {
        let before = before.unwrap_or(Facts::UNKNOWN);
        let speaks =
            |configured, global| Speaks { family: self.family, configured, global, virtual_addresses };
        let second_source = self.second.as_ref().and_then(|second| {
            let link = table.link_by_name(&second.interface)?;
            if state(Some(link)) != InterfaceState::Up {
                return None;
            }
            speaks(second.source_address, second.global_source).from(table, link, before.second_source)
        });
        let second = self.second.as_ref().and_then(|second| table.link_by_name(&second.interface));
        let second_mac = MacAddress::new(second.and_then(|link| link.mac).unwrap_or_default());
        let Some(link) = table.link_by_name(&self.interface) else {
            return Facts { second_source, second_mac, ..Facts::UNKNOWN };
        };
        Facts {
            interface: state(Some(link)),
            mac: MacAddress::new(link.mac.unwrap_or_default()),
            device: self.device.as_ref().is_none_or(|device| device.is_ready(table, link.index)),
            second_source,
            second_mac,
            source: speaks(self.source_address, self.global_source).from(table, link, before.source),
            owned: self.owner && self.addresses.iter().all(|placement| placement.is_there(table)),
            left_over: None,
        }
    }

    /// When addresses of ours that an earlier daemon left were last renewed: the origin of the clock
    /// when some that are advertised are missing, or when they must not be kept: after too many crashes, without a lease,
    /// and where another lifetime than ours says that the role had been given up.
    pub(super) fn left_over(
        &self,
        table: &Table,
        is_left: impl Fn(LinkIndex, Address) -> bool,
    ) -> Option<Instant> {
        let entry = |placement: &Placement| placement.left_over(table, &is_left);
        self.addresses.iter().find_map(entry)?;
        let all = self.addresses.iter().all(|placement| placement.extra || entry(placement).is_some());
        let renewed: Vec<&AddressEntry> = self.addresses.first_few().filter_map(entry).collect();
        let held = self.lease.is_some_and(|lease| renewed.iter().all(|entry| has_lifetime(entry, lease)));
        let oldest = renewed.iter().map(|entry| age(entry)).max().unwrap_or_default();
        Some(if all && held && self.may_resume { clock::now().saturating_sub(oldest) } else { Instant::ZERO })
    }
}

/// What a router speaks from on one of its paths.
struct Speaks<'a> {
    family: Family,
    configured: Option<IpAddr>,
    /// From a global address, in IPv6.
    global: bool,
    /// Those of all routers.
    virtual_addresses: &'a BTreeSet<IpAddr>,
}

impl Speaks<'_> {
    /// The primary address: configured, else the one so far, else the first of the interface, in the
    /// kernel's order, that no virtual router moves.
    fn from(&self, table: &Table, link: &Link, before: Option<IpAddr>) -> Option<IpAddr> {
        let usable = |entry: &&AddressEntry| !entry.tentative && !entry.dad_failed;
        let mut addresses = table.addresses_of(link.index).filter(usable);
        if let Some(configured) = self.configured {
            return addresses.find(|entry| entry.address.ip == configured).map(|_| configured);
        }
        let suits = |entry: &&AddressEntry| match entry.address.ip {
            IpAddr::V4(_) => self.family == Family::Ipv4 && !entry.secondary,
            IpAddr::V6(ip) if self.global => {
                self.family == Family::Ipv6
                    && !ip.is_unicast_link_local()
                    && entry.scope != Scope::Host
                    && !entry.deprecated
            }
            IpAddr::V6(ip) => self.family == Family::Ipv6 && ip.is_unicast_link_local(),
        };
        addresses
            .filter(|entry| !self.virtual_addresses.contains(&entry.address.ip))
            .filter(suits)
            .map(|entry| entry.address.ip)
            // The first of the least. IPv6 puts a new address in front of the others, and no peer gains by
            // a new name of ours.
            .min_by_key(|&ip| Some(ip) != before)
    }
}

/// State of an interface that is there, or is not.
pub(super) fn state(link: Option<&Link>) -> InterfaceState {
    match link {
        None => InterfaceState::Missing,
        Some(link) if link.up && link.carrier => InterfaceState::Up,
        Some(_) => InterfaceState::Down,
    }
}

/// Kernel lifetime, in seconds, of addresses whose role is being given up. It covers the three seconds
/// that giving up may take, and differs from `lease` by more than the rounding of both.
pub(super) fn farewell(lease: u32) -> u32 {
    const COVERS: u32 = 4;
    if lease.abs_diff(COVERS) > 2 * SLACK { COVERS } else { lease + 2 * SLACK + 1 }
}

/// Rounding of the seconds that are left, and of the seconds that are gone.
const SLACK: u32 = 1;

/// Was `lifetime` what the address was given when it was last added or renewed?
fn has_lifetime(entry: &AddressEntry, lifetime: u32) -> bool {
    let Lifetime::Seconds(left) = entry.valid else { return false };
    let given = u64::from(left) + age(entry).as_secs();
    given.abs_diff(u64::from(lifetime)) <= u64::from(SLACK)
}

/// Time since an address was last added or renewed.
fn age(entry: &AddressEntry) -> Duration {
    /// The kernel's time stamp wraps at 2^32 hundredths of a second.
    const WRAP: u128 = 1 << 32;
    let now = clock::since_boot().as_millis() / 10 % WRAP;
    let age = (now + WRAP - u128::from(entry.updated_cs)) % WRAP;
    // A time stamp that is ahead of us by the grain of the clocks is not 497 days old.
    let age = if age > WRAP / 2 { 0 } else { age };
    Duration::from_millis(u64::try_from(age * 10).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(left: Lifetime, age: Duration) -> AddressEntry {
        let updated = (clock::since_boot() - age).as_millis() / 10 % (1 << 32);
        AddressEntry {
            link: LinkIndex::new(1),
            address: Address::host([192, 0, 2, 201].into()),
            secondary: false,
            tentative: false,
            deprecated: false,
            dad_failed: false,
            scope: Scope::Global,
            protocol: Some(netlink::PROTOCOL),
            valid: left,
            preferred: left,
            updated_cs: u32::try_from(updated).expect("modulo 2^32"),
        }
    }

    #[test]
    fn a_lease_is_told_from_a_farewell_whatever_the_seconds_round_to() {
        for lease in 2..=130 {
            for gone in [0, 400, 999, 1000, 1990] {
                let age = Duration::from_millis(gone);
                // The kernel and we may look on either side of a full second.
                for seconds in [gone / 1000, gone.div_ceil(1000)] {
                    let left = |lifetime: u32| {
                        Lifetime::Seconds(lifetime - u32::try_from(seconds).expect("2 at most"))
                    };
                    assert!(has_lifetime(&entry(left(lease), age), lease), "{lease} s, {gone} ms ago");
                    let farewell = entry(left(farewell(lease)), age);
                    assert!(!has_lifetime(&farewell, lease), "farewell of {lease} s, {gone} ms ago");
                }
            }
        }
    }

    #[test]
    fn an_address_without_a_lease_proves_nothing() {
        assert!(!has_lifetime(&entry(Lifetime::Forever, Duration::ZERO), 2));
    }

    #[test]
    fn a_farewell_covers_the_time_that_leaving_may_take() {
        assert!((2..=130).all(|lease| farewell(lease) >= 4));
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an IP address")
    }

    fn at(text: &str) -> AddressEntry {
        AddressEntry {
            address: Address::host(ip(text)),
            protocol: None,
            ..entry(Lifetime::Forever, Duration::ZERO)
        }
    }

    fn link(index: u32, name: &str) -> Link {
        Link {
            index: LinkIndex::new(index),
            name: name.to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
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

    fn place() -> Place {
        Place {
            link: LinkId(0),
            interface: "eth0".to_owned(),
            family: Family::Ipv4,
            source_address: None,
            second: None,
            stations: Vec::new(),
            group: None,
            vrid: Vrid::new(201).expect("not zero"),
            version: Version::V3,
            least_hop_limit: 255,
            global_source: false,
            device: None,
            addresses: Placements::default(),
            ways: Vec::new(),
            owner: false,
            accept_mode: true,
            lease: None,
            interval: Duration::from_millis(100),
            fence: None,
            may_resume: true,
            further: Vec::new(),
        }
    }

    /// What a router of this family speaks from on an interface with these addresses.
    fn source(
        family: Family,
        change: impl Fn(&mut Place),
        addresses: impl Into<Vec<AddressEntry>>,
    ) -> Option<IpAddr> {
        source_after(None, family, change, addresses)
    }

    fn source_after(
        before: Option<&str>,
        family: Family,
        change: impl Fn(&mut Place),
        addresses: impl Into<Vec<AddressEntry>>,
    ) -> Option<IpAddr> {
        let mut table = Table::new();
        table.replace(vec![link(1, "eth0")], addresses.into());
        let mut place = Place { family, ..place() };
        change(&mut place);
        let moved = BTreeSet::from([ip("192.0.2.201"), ip("fe80::201"), ip("2001:db8::201")]);
        let before = Facts { source: before.map(ip), ..Facts::UNKNOWN };
        place.facts(&table, &moved, Some(before)).source
    }

    fn as_usual(_: &mut Place) {}

    #[test]
    fn an_address_goes_on_its_own_interface_and_is_looked_for_there_only() {
        let placement = |text, interface: &str| Placement {
            address: Address::host(ip(text)),
            interface: interface.to_owned(),
            apart: None,
            options: AddressOptions::default(),
            extra: false,
        };
        let place = Place {
            addresses: vec![placement("192.0.2.201", "eth0"), placement("198.51.100.201", "eth1")].into(),
            ..place()
        };
        assert_eq!(place.interface_of(Address::host(ip("192.0.2.201"))), "eth0");
        assert_eq!(place.interface_of(Address::host(ip("198.51.100.201"))), "eth1");
        assert_eq!(place.interface_of(Address::host(ip("192.0.2.202"))), "eth0", "none of its addresses");

        let on_eth1 = AddressEntry { link: LinkIndex::new(2), ..at("198.51.100.201") };
        let mut table = Table::new();
        table.replace(vec![link(1, "eth0"), link(2, "eth1")], vec![on_eth1]);
        assert!(!place.addresses[0].is_there(&table));
        assert!(place.addresses[1].is_there(&table));
        table.replace(vec![link(1, "eth0"), link(2, "eth1")], vec![at("198.51.100.201")]);
        assert!(!place.addresses[1].is_there(&table), "it is on eth0");
    }

    #[test]
    fn ipv4_speaks_from_the_first_primary_address_that_does_not_move() {
        let secondary = AddressEntry { secondary: true, ..at("192.0.2.192") };
        let all = [at("192.0.2.201"), secondary.clone(), at("192.0.2.193"), at("198.51.100.193")];
        assert_eq!(source(Family::Ipv4, as_usual, all), Some(ip("192.0.2.193")));
        assert_eq!(source(Family::Ipv4, as_usual, [at("192.0.2.201"), secondary, at("fe80::1")]), None);
    }

    #[test]
    fn ipv6_multicast_speaks_from_a_link_local_address_that_is_ready_or_not_at_all() {
        let global = at("2001:db8::193");
        let tentative = AddressEntry { tentative: true, ..at("fe80::193") };
        let duplicate = AddressEntry { dad_failed: true, ..at("fe80::193") };
        let sources =
            |link_local| source(Family::Ipv6, as_usual, [at("fe80::201"), global.clone(), link_local]);
        assert_eq!(sources(at("fe80::193")), Some(ip("fe80::193")));
        assert_eq!(sources(tentative), None);
        assert_eq!(sources(duplicate), None);
        assert_eq!(source(Family::Ipv6, as_usual, [global.clone()]), None);
    }

    #[test]
    fn ipv6_speaks_to_global_peers_from_a_global_address_in_use() {
        let to_global = |place: &mut Place| place.global_source = true;
        let deprecated = AddressEntry { deprecated: true, ..at("2001:db8::192") };
        let all = [at("fe80::193"), deprecated, at("2001:db8::201"), at("2001:db8::193")];
        assert_eq!(source(Family::Ipv6, to_global, all), Some(ip("2001:db8::193")));
    }

    #[test]
    fn a_configured_source_is_used_while_it_is_there() {
        let configured = |place: &mut Place| place.source_address = Some(ip("198.51.100.193"));
        let secondary = AddressEntry { secondary: true, ..at("198.51.100.193") };
        let there = [at("192.0.2.193"), secondary];
        assert_eq!(source(Family::Ipv4, configured, there), Some(ip("198.51.100.193")));
        assert_eq!(source(Family::Ipv4, configured, [at("192.0.2.193")]), None, "never another one");
    }

    #[test]
    fn a_source_is_kept_while_it_suits_whatever_is_added_before_it() {
        let all = || [at("fe80::192"), at("fe80::193")];
        let after = |before| source_after(before, Family::Ipv6, as_usual, all());
        assert_eq!(after(Some("fe80::193")), Some(ip("fe80::193")));
        assert_eq!(after(Some("fe80::194")), Some(ip("fe80::192")), "it is gone");
        assert_eq!(after(None), Some(ip("fe80::192")));
        let dying = AddressEntry { dad_failed: true, ..at("fe80::193") };
        let left = source_after(Some("fe80::193"), Family::Ipv6, as_usual, [at("fe80::192"), dying]);
        assert_eq!(left, Some(ip("fe80::192")));
    }
}
