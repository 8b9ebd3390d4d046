//! Who is who: names of the configuration to numbers of the core, and what each thread is told of
//! them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vrrp_proto::action::Input;
use vrrp_proto::packet::arp::GarpForm;
use vrrp_proto::packet::{ChecksumForm, ChecksumPolicy};
use vrrp_proto::parameters::{
    Announcements, GroupId, LinkId, Network, Parameters, RouterId, SecondPath, SecondPeer, VirtualAddress,
    Witness,
};
use vrrp_proto::tracking::{Effect, TrackerId, TrackerState, Tracking};
use vrrp_proto::{AdverInterval, Family, Vrid};

use crate::authentication::Secrets;
use crate::config::{self, Config, Ipv4Checksum, Lease, SHORTEST_FENCED, TrackInterface};
use crate::control::time::WallTime;
use crate::kernel::{self, Device, Place, Placement, SecondPlace, Way};
use crate::perform::Wiring;
use crate::protocol;

/// Numbers given out so far. A number of an interface, a check or a sync group stays its own for ever; that of a
/// router is free again when nothing is left of the router.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Of the configuration that is in force, or about to be.
    pub(super) secrets: Secrets,
    routers: BTreeMap<RouterId, Entry>,
    links: Vec<String>,
    trackers: Vec<String>,
    groups: Vec<String>,
    /// What the kernel thread was told of `[static]`.
    fixed: Vec<Way>,
}

/// A virtual router and what it is known by.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) config: config::VirtualRouter,
    /// Shut down, until nothing is left of it.
    pub(super) leaving: bool,
    /// When its counters were 0.
    pub(super) counting_since: WallTime,
    parameters: Parameters,
    place: Place,
}

impl Entry {
    /// The address that the core knows by this number.
    pub(super) fn address(&self, index: u16) -> Option<netlink::Address> {
        Some(self.place.addresses.get(usize::from(index))?.address)
    }

    /// The device with the virtual MAC address, if it is configured.
    pub(super) fn device(&self) -> Option<&Device> {
        self.place.device.as_ref()
    }
}

/// A message for one of the threads.
pub(super) enum Order {
    Protocol(protocol::Message),
    Kernel(kernel::Message),
}

impl Roster {
    /// Nothing yet; the secrets are those of the first configuration.
    pub(super) fn new(secrets: Secrets) -> Self {
        Self { secrets, ..Self::default() }
    }

    /// Takes over a configuration and says what each thread has to be told, in order. What did not
    /// change is not mentioned. Routers are known by interface, family and VRID: a new name is not a
    /// new router.
    ///
    /// `form_of` knows the checksum form that the peers of a router were last heard in.
    pub(super) fn apply(
        &mut self,
        config: &Config,
        form_of: impl Fn(&str) -> Option<ChecksumForm>,
        may_resume: bool,
    ) -> Vec<Order> {
        let mut orders = self.retire(config);
        let fixed = fixed(&config.fixed);
        if fixed != self.fixed {
            self.fixed.clone_from(&fixed);
            orders.push(Order::Kernel(kernel::Message::Static(fixed)));
        }
        for new in &config.virtual_routers {
            let known =
                self.routers.iter().find(|(_, entry)| !entry.leaving && key(&entry.config) == key(new));
            let (router, before) = match known {
                Some((&router, entry)) => (router, Some(entry.clone())),
                None => (self.free_number(), None),
            };
            let entry = self.entry(new, config, before.as_ref(), form_of(&new.name), may_resume);
            let place = before
                .as_ref()
                .is_none_or(|before| before.place != entry.place)
                .then(|| Order::Kernel(kernel::Message::Place(router, Box::new(entry.place.clone()))));
            // What the core asks for next, the kernel thread must know how to place; and what the kernel
            // thread says of the place, the core must know whose it is.
            let (sooner, later) = if before.is_some() { (place, None) } else { (None, place) };
            orders.extend(sooner);
            if before
                .as_ref()
                .is_none_or(|before| before.parameters != entry.parameters || before.config.garp != new.garp)
            {
                let wiring = Wiring {
                    link: entry.place.link,
                    family: new.family,
                    form: garp_form(new),
                    further: entry.place.further.iter().map(|(link, _)| *link).collect(),
                    advertised_at: vrrp_proto::Instant::ZERO,
                };
                orders.push(Order::Protocol(protocol::Message::Wiring(router, wiring)));
                let parameters = Box::new(entry.parameters.clone());
                orders
                    .push(Order::Protocol(protocol::Message::Input(Input::Configure { router, parameters })));
            }
            orders.extend(later);
            self.routers.insert(router, entry);
        }
        orders
    }

    /// Forgets a router of which nothing is left.
    pub(super) fn remove(&mut self, router: RouterId) {
        self.routers.remove(&router);
    }

    pub(super) fn get(&self, router: RouterId) -> Option<&Entry> {
        self.routers.get(&router)
    }

    /// All routers, by number, those that are leaving among them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RouterId, &Entry)> {
        self.routers.iter().map(|(&router, entry)| (router, entry))
    }

    /// Numbers of all interfaces.
    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        (0..self.links.len()).map(|index| LinkId(number(index)))
    }

    /// Name of an interface.
    pub(super) fn interface(&self, link: LinkId) -> &str {
        self.links.get(usize::from(link.0)).map_or("?", String::as_str)
    }

    /// Number of a check; it gets one when it has none.
    pub(super) fn tracker(&mut self, check: &str) -> TrackerId {
        TrackerId(number(index_of(&mut self.trackers, check)))
    }

    /// Routers that are not in the configuration any more leave; checks that are not are undecided
    /// should they return.
    fn retire(&mut self, config: &Config) -> Vec<Order> {
        let mut orders = Vec::new();
        for (&router, entry) in &mut self.routers {
            let stays = config.virtual_routers.iter().any(|new| key(new) == key(&entry.config));
            if !stays && !entry.leaving {
                entry.leaving = true;
                orders.push(Order::Protocol(protocol::Message::Input(Input::Shutdown { router })));
            }
        }
        for (index, name) in self.trackers.iter().enumerate() {
            let tracked = config.virtual_routers.iter().flat_map(|router| &router.track_interfaces);
            let checked = config.checks.iter().any(|check| check.name == *name);
            if !checked && !tracked.map(TrackInterface::name).any(|tracked| tracked == *name) {
                let (tracker, state) = (TrackerId(number(index)), TrackerState::Pending);
                orders.push(Order::Protocol(protocol::Message::Input(Input::Tracked { tracker, state })));
            }
        }
        orders
    }

    fn entry(
        &mut self,
        new: &config::VirtualRouter,
        config: &Config,
        before: Option<&Entry>,
        heard: Option<ChecksumForm>,
        may_resume: bool,
    ) -> Entry {
        let link = self.link(&new.interface);
        let effects =
            new.checks.iter().filter_map(|name| config.checks.iter().find(|check| check.name == *name));
        let effects = effects.map(|check| (check.name.clone(), check.effect));
        let effects = effects.chain(new.track_interfaces.iter().map(|track| (track.name(), track.effect)));
        let tracking =
            effects.map(|(name, of)| Tracking { tracker: self.tracker(&name), effect: effect(of) }).collect();
        let group = config.sync_group(&new.name);
        let group = group.map(|group| GroupId(number(index_of(&mut self.groups, &group.name))));
        let (policy, first_form) = checksum(new);
        // The form that was heard counts at the start; later the core knows better.
        let form = match before {
            Some(before) if before.parameters.checksum_policy == policy => before.parameters.checksum_form,
            _ => heard.filter(|_| policy == ChecksumPolicy::Either).unwrap_or(first_form),
        };
        let lease = lease_seconds(new);
        let device = new.virtual_mac.then(|| self.device(new, before));
        let usual = device.as_ref().map_or(&new.interface, |device| &device.name);
        let placements = self.placements(new, usual);
        let parameters = Parameters {
            link,
            vrid: new.vrid,
            family: new.family,
            priority: new.priority,
            interval: new.advertisement_interval,
            authentication: self.secrets.of(&new.name),
            addresses: placements
                .iter()
                .map(|&Placement { address: netlink::Address { ip, prefix_len }, apart, .. }| {
                    VirtualAddress { ip, prefix_len, interface: apart }
                })
                .collect(),
            extra_addresses: number(new.extra_addresses.len()),
            peers: new.peers.iter().copied().collect(),
            virtual_mac: new.virtual_mac,
            second_path: new.second_path.as_ref().map(|path| self.second_path(path)),
            witness: new.witness.as_ref().map(witness),
            suspicion: new.suspicion,
            group: Some(new.multicast_group),
            allowed: new
                .allowed_sources
                .iter()
                .map(|network| Network { address: network.ip, prefix_len: network.prefix_len })
                .collect(),
            min_hop_limit: new.min_ttl,
            preempt_mode: new.preempt_mode,
            preempt_delay: new.preempt_delay,
            on_conflict: new.on_conflict,
            startup_delay: new.startup_delay,
            carrier_delay: new.carrier_delay,
            strict: new.strict,
            checksum_policy: policy,
            checksum_form: form,
            leased: lease.is_some(),
            fenced: fence_term(new).is_some(),
            announcements: Announcements {
                count: new.garp.count,
                interval: new.garp.interval,
                second_after: new.garp.second_after,
                refresh: new.garp.refresh,
                refresh_count: new.garp.refresh_count,
                lower_priority_count: new.garp.lower_priority_count,
                lower_priority_second_after: new.garp.lower_priority_second_after,
                spacing: spacing(config, &new.interface),
            },
            tracking,
            sync_group: group,
        };
        Entry {
            config: new.clone(),
            leaving: false,
            counting_since: before.map_or_else(WallTime::now, |before| before.counting_since),
            place: Place {
                link,
                interface: new.interface.clone(),
                family: new.family,
                source_address: new.source_address,
                second: new.second_path.as_ref().map(|path| SecondPlace {
                    link: self.link(&path.interface),
                    interface: path.interface.clone(),
                    source_address: path.source_address,
                    global_source: new.family == Family::Ipv6 && !path.is_link_local(),
                    stations: match new.suspicion {
                        true => path.peers.iter().map(|peer| peer.address).collect(),
                        false => Vec::new(),
                    },
                }),
                stations: stations(new).collect(),
                group: new.peers.is_empty().then_some(new.multicast_group),
                vrid: new.vrid,
                version: new.version(),
                least_hop_limit: parameters.least_hop_limit(),
                global_source: new.peers.iter().any(|peer| match peer {
                    IpAddr::V4(_) => false,
                    IpAddr::V6(peer) => !peer.is_unicast_link_local(),
                }),
                addresses: placements.into(),
                device,
                ways: ways(&new.routes, &new.rules),
                owner: new.priority.is_owner(),
                accept_mode: new.accept_mode,
                interval: new.advertisement_interval.duration(),
                lease,
                fence: fence_term(new),
                may_resume,
                further: self.numbered(&new.garp.interfaces),
            },
            parameters,
        }
    }

    /// Interfaces with their numbers; they get one when they have none.
    fn numbered(&mut self, interfaces: &[String]) -> Vec<(LinkId, String)> {
        interfaces.iter().map(|name| (self.link(name), name.clone())).collect()
    }

    /// Number of an interface; it gets one when it has none.
    fn link(&mut self, interface: &str) -> LinkId {
        LinkId(number(index_of(&mut self.links, interface)))
    }

    fn second_path(&mut self, path: &config::SecondPath) -> SecondPath {
        let peer = |peer: &config::SecondPeer| SecondPeer { router: peer.router, address: peer.address };
        SecondPath {
            link: self.link(&path.interface),
            peers: path.peers.iter().map(peer).collect(),
            witnesses: path.witnesses.iter().copied().collect(),
        }
    }

    /// Where each address goes, on the `usual` interface unless it has its own: those that are advertised, then those that only move along, of the same
    /// family first.
    fn placements(&mut self, new: &config::VirtualRouter, usual: &str) -> Vec<Placement> {
        let mut extra: Vec<&config::VirtualAddress> = new.extra_addresses.iter().collect();
        extra.sort_by_key(|address| Family::of(address.ip) != new.family);
        let mut place = |address: &config::VirtualAddress, extra| {
            let other = address.interface.as_ref().filter(|name| **name != new.interface);
            Placement {
                address: address.address(),
                interface: other.map_or(usual, String::as_str).to_owned(),
                apart: other.map(|name| LinkId(number(index_of(&mut self.links, name)))),
                options: address.options.clone(),
                extra,
            }
        };
        let advertised: Vec<Placement> = new.addresses.iter().map(|address| place(address, false)).collect();
        advertised.into_iter().chain(extra.into_iter().map(|address| place(address, true))).collect()
    }

    /// The device with the virtual MAC address of a router. Its name is that of the router before, else
    /// the usual one, unless the same VRID runs on another interface and has that.
    fn device(&self, new: &config::VirtualRouter, before: Option<&Entry>) -> Device {
        let known = before.and_then(|before| before.place.device.as_ref());
        let usual = usual_device_name(new);
        let elsewhere = self.routers.values().filter(|entry| entry.config.interface != new.interface);
        let taken =
            elsewhere.filter_map(|entry| entry.place.device.as_ref()).any(|other| other.name == usual);
        let name = match known {
            Some(known) => known.name.clone(),
            None if taken => format!("{usual}-{:04x}", digest(&new.interface)),
            None => usual,
        };
        Device { name, mac: new.vrid.mac(new.family) }
    }

    fn free_number(&self) -> RouterId {
        let free = (0..=u16::MAX).map(RouterId).find(|router| !self.routers.contains_key(router));
        free.expect("an interface has 510 virtual routers at most, and a configuration is 1 MiB at most")
    }
}

/// Routes first: they are taken away in the reverse order.
fn ways(routes: &[config::HostRoute], rules: &[netlink::Rule]) -> Vec<Way> {
    let route = |route: &config::HostRoute| Way::Route {
        route: route.route.clone(),
        interface: route.interface.clone(),
        words: route.to_string(),
    };
    routes.iter().map(route).chain(rules.iter().cloned().map(Way::Rule)).collect()
}

/// What is always there, addresses first because routes may need them.
fn fixed(fixed: &config::Static) -> Vec<Way> {
    let address = |address: &config::VirtualAddress| Way::Address {
        address: address.address(),
        interface: address.interface.clone().expect("validated: each has one"),
        options: address.options.clone(),
    };
    fixed.addresses.iter().map(address).chain(ways(&fixed.routes, &fixed.rules)).collect()
}

/// What makes a virtual router the same one. An owner and a router that backs it up are two: the
/// addresses of the one are the administrator's, those of the other are ours to remove. So are one with
/// the virtual MAC and one without, whose addresses are in different places.
pub(super) fn key(config: &config::VirtualRouter) -> (&str, Family, Vrid, bool, bool) {
    let owner = config.priority.is_owner();
    (&config.interface, config.family, config.vrid, owner, config.virtual_mac)
}

/// `vrrp4-201`, `vrrp6-201`.
fn usual_device_name(config: &config::VirtualRouter) -> String {
    let [four, six] = config::DEVICE_PREFIXES;
    let prefix = if config.family == Family::Ipv4 { four } else { six };
    format!("{prefix}{}", config.vrid)
}

/// Sixteen bits of a name, the same in every version (FNV-1a, folded).
fn digest(name: &str) -> u16 {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}

/// Kernel lifetime of a router's addresses in seconds, or none.
///
/// It ends before a backup claims, as far as whole seconds allow: three intervals after the last
/// advertisement at the earliest, while the kernel may be up to a second late. Two seconds are the
/// least that survives a renewal each second.
pub(super) fn lease_seconds(config: &config::VirtualRouter) -> Option<u32> {
    if config.priority.is_owner() || config.addresses.is_empty() {
        return None;
    }
    match config.lease {
        Lease::Off => None,
        Lease::For(time) => Some(whole_seconds(time)),
        Lease::Auto => Some(auto_lease(config.advertisement_interval)),
    }
}

/// At least so many as the kernel can count without losing them between two renewals.
fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(2)
}

/// How long the fence lets a router's addresses answer after an advertisement, or none.
///
/// A backup of priority 254 claims no earlier than three intervals and 1/128 of one.
pub(super) fn fence_term(config: &config::VirtualRouter) -> Option<Duration> {
    /// For the grain of the kernel's clock, and for who is late.
    const MARGIN: Duration = Duration::from_millis(20);
    lease_seconds(config)?;
    let interval = config.advertisement_interval.duration();
    match config.lease {
        Lease::Off => None,
        Lease::For(time) => Some(time),
        Lease::Auto => (interval >= SHORTEST_FENCED).then(|| 3 * interval - MARGIN),
    }
}

fn auto_lease(interval: AdverInterval) -> u32 {
    let three_intervals = u32::from(interval.centiseconds()) * 3;
    (three_intervals.saturating_sub(100) / 100).max(2)
}

/// Who is asked by ARP or neighbour solicitation, so that the answers are to be heard.
fn stations(config: &config::VirtualRouter) -> impl Iterator<Item = IpAddr> {
    let of_path = |path: &config::SecondPath| -> Vec<IpAddr> {
        path.peers.iter().map(|peer| peer.router).chain(path.witnesses.iter().copied()).collect()
    };
    let of_witness = |witness: &config::Witness| [&witness.peers[..], &witness.arp[..]].concat();
    let path = config.second_path.iter().flat_map(of_path);
    path.chain(config.witness.iter().flat_map(of_witness))
}

fn witness(config: &config::Witness) -> Witness {
    Witness {
        peers: config.peers.iter().copied().collect(),
        arp: config.arp.iter().copied().collect(),
        tcp: config.tcp.iter().copied().collect(),
        policy: config.policy,
    }
}

fn checksum(config: &config::VirtualRouter) -> (ChecksumPolicy, ChecksumForm) {
    match config.ipv4_checksum {
        // What deployed routers understand comes first; `strict` goes by the letter.
        Ipv4Checksum::Auto if config.strict => (ChecksumPolicy::Either, ChecksumForm::MessageOnly),
        Ipv4Checksum::Auto => (ChecksumPolicy::Either, ChecksumForm::PseudoHeader),
        Ipv4Checksum::Rfc9568 => (ChecksumPolicy::Only(ChecksumForm::MessageOnly), ChecksumForm::MessageOnly),
        Ipv4Checksum::PseudoHeader => {
            (ChecksumPolicy::Only(ChecksumForm::PseudoHeader), ChecksumForm::PseudoHeader)
        }
    }
}

fn effect(effect: config::Effect) -> Effect {
    match effect {
        config::Effect::Demote => Effect::Demote,
        config::Effect::Fault => Effect::Fault,
        config::Effect::Alert => Effect::Alert,
        config::Effect::Weight(weight) => Effect::Weight(weight),
    }
}

/// Distance of the announcements that leave an interface.
fn spacing(config: &Config, interface: &str) -> Duration {
    let named = config.interfaces.iter().find(|one| one.name == interface);
    named.map_or(Duration::ZERO, |one| one.announcement_spacing)
}

fn garp_form(config: &config::VirtualRouter) -> GarpForm {
    match config.garp.form {
        config::GarpForm::Request => GarpForm::Request,
        config::GarpForm::Reply => GarpForm::Reply,
    }
}

fn index_of(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

fn number(index: usize) -> u16 {
    u16::try_from(index).expect("a configuration of 1 MiB names fewer than 65536 things")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Config {
        config::parse("test.toml", text).expect("a valid configuration").0
    }

    fn two(priority: u8, extra: &str) -> Config {
        parsed(&format!(
            "[virtual_router.one]\ninterface = \"eth0\"\nvrid = 1\npriority = {priority}\naddresses = [\"192.0.2.1\"]\n{extra}\n\
             [virtual_router.two]\ninterface = \"eth0\"\nvrid = 2\npriority = 100\naddresses = [\"192.0.2.2\"]\n"
        ))
    }

    fn configured(orders: &[Order]) -> Vec<u16> {
        orders
            .iter()
            .filter_map(|order| match order {
                Order::Protocol(protocol::Message::Input(Input::Configure { router, .. })) => Some(router.0),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn an_untouched_router_is_not_mentioned() {
        let mut roster = Roster::default();
        assert_eq!(configured(&roster.apply(&two(150, ""), |_| None, true)), [0, 1]);
        assert!(roster.apply(&two(150, ""), |_| None, true).is_empty());
        let orders = roster.apply(&two(120, ""), |_| None, true);
        assert_eq!(configured(&orders), [0]);
        assert!(!orders.iter().any(|order| matches!(order, Order::Kernel(_))), "its place is the same");
    }

    #[test]
    fn a_router_that_is_gone_shuts_down_and_its_number_is_free_when_nothing_is_left() {
        let mut roster = Roster::default();
        roster.apply(&two(150, ""), |_| None, true);
        let one = parsed(
            "[virtual_router.two]\ninterface = \"eth0\"\nvrid = 2\npriority = 100\naddresses = [\"192.0.2.2\"]\n",
        );
        let orders = roster.apply(&one, |_| None, true);
        let shut = |order: &Order| {
            matches!(
                order,
                Order::Protocol(protocol::Message::Input(Input::Shutdown { router: RouterId(0) }))
            )
        };
        assert!(matches!(&orders[..], [order] if shut(order)));
        assert_eq!(configured(&roster.apply(&two(150, ""), |_| None, true)), [2], "0 is not gone yet");
        roster.remove(RouterId(0));
        assert_eq!(roster.free_number(), RouterId(0));
    }

    /// What is placed: the router's interface, and its device.
    fn placed(orders: &[Order]) -> Vec<(String, Option<String>)> {
        let place = |order: &Order| match order {
            Order::Kernel(kernel::Message::Place(_, place)) => {
                let device = place.device.as_ref().map(|device| device.name.clone());
                let on = device.as_ref().unwrap_or(&place.interface);
                assert!(place.addresses.iter().all(|placement| placement.interface == *on));
                Some((place.interface.clone(), device))
            }
            _ => None,
        };
        orders.iter().filter_map(place).collect()
    }

    #[test]
    fn each_device_has_a_name_that_stays_its_own() {
        let router = |name: &str, interface: &str, virtual_mac: bool| {
            format!(
                "[virtual_router.{name}]\ninterface = \"{interface}\"\nvrid = 201\naddresses = [\"192.0.2.{}\"]\n\
                 virtual_mac = {virtual_mac}\n",
                name.len()
            )
        };
        let of = |interface: &str, device: Option<&str>| (interface.to_owned(), device.map(str::to_owned));
        let mut roster = Roster::default();
        let orders = roster.apply(&parsed(&router("one", "eth0", true)), |_| None, true);
        assert_eq!(placed(&orders), [of("eth0", Some("vrrp4-201"))]);

        // Another one before it, in the file and by the name of its interface.
        let both = parsed(&(router("other", "a-long-name", true) + &router("one", "eth0", true)));
        let device = usual_device_name(&both.virtual_routers[0]) + "-184a";
        assert_eq!(device.len(), "vrrp4-201-184a".len());
        assert_eq!(
            placed(&roster.apply(&both, |_| None, true)),
            [of("a-long-name", Some(&device))],
            "and nothing about the other one"
        );
        // Without it, it is another router on the same interface; the one before has to leave first.
        let orders = roster.apply(&parsed(&router("one", "eth0", false)), |_| None, true);
        assert_eq!(placed(&orders), [of("eth0", None)]);
        let left = orders.iter().filter(|order| {
            matches!(order, Order::Protocol(protocol::Message::Input(Input::Shutdown { .. })))
        });
        assert_eq!(left.count(), 2);
        // And back, while that is still leaving: the same device.
        let orders = roster.apply(&parsed(&router("one", "eth0", true)), |_| None, true);
        assert_eq!(placed(&orders), [of("eth0", Some("vrrp4-201"))]);
    }

    #[test]
    fn who_becomes_the_owner_leaves_and_comes_anew() {
        let mut roster = Roster::default();
        roster.apply(&two(150, ""), |_| None, true);
        let orders = roster.apply(&two(255, ""), |_| None, true);
        let left = |order: &Order| {
            matches!(order, Order::Protocol(protocol::Message::Input(Input::Shutdown { .. })))
        };
        assert!(orders.iter().any(left), "what it held as a backup goes first");
        assert_eq!(configured(&orders), [2]);
    }

    #[test]
    fn counters_count_from_the_first_appearance_of_a_router() {
        let mut roster = Roster::default();
        roster.apply(&two(150, ""), |_| None, true);
        let since = |roster: &Roster| roster.get(RouterId(0)).map(|entry| entry.counting_since);
        let first = since(&roster);
        roster.apply(&two(120, ""), |_| None, true);
        assert_eq!(since(&roster), first, "a reload is no discontinuity");
    }

    #[test]
    fn a_weight_that_changes_in_the_check_reaches_the_routers_that_name_it() {
        let check = |weight: i16| {
            let check = format!(
                "checks = [\"c\"]\n[check.c]\ntcp = {{ address = \"127.0.0.1:1\" }}\nweight = {weight}\n"
            );
            two(150, &check)
        };
        let mut roster = Roster::default();
        roster.apply(&check(-60), |_| None, true);
        assert_eq!(configured(&roster.apply(&check(-70), |_| None, true)), [0]);
    }

    #[test]
    fn members_of_a_sync_group_have_its_number_and_all_its_checks() {
        let group = "checks = [\"own\"]\n[sync_group.both]\nvirtual_routers = [\"one\", \"two\"]\nchecks = [\"all\"]\n\
                     [check.own]\nexec = [\"/bin/true\"]\n[check.all]\nexec = [\"/bin/true\"]\n";
        let mut roster = Roster::default();
        roster.apply(&two(150, group), |_| None, true);
        let told = |router| {
            let parameters = &roster.get(RouterId(router)).expect("it is there").parameters;
            (parameters.sync_group, parameters.tracking.len())
        };
        assert_eq!((told(0), told(1)), ((Some(GroupId(0)), 2), (Some(GroupId(0)), 2)));
        assert_eq!(configured(&roster.apply(&two(150, ""), |_| None, true)), [0, 1]);
    }

    #[test]
    fn the_lease_ends_before_three_intervals_have_passed() {
        let auto =
            |centiseconds| auto_lease(AdverInterval::from_centiseconds(centiseconds).expect("in range"));
        assert_eq!(auto(1), 2);
        assert_eq!(auto(100), 2);
        assert_eq!(auto(200), 5);
        assert_eq!(auto(4095), 121);
    }
}
