//! What can be asked of the kernel, and how each is put into a message.

use std::fmt;
use std::os::fd::RawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoMacVlan, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use crate::{Address, AddressOptions, Ipv4Setting, LeftOver, LinkIndex, PROTOCOL, Route, Rule, ipv4_setting};

/// What a request that worked has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is as asked now. Where the kernel does not say whether it was so before, this is the
    /// answer as well.
    Made,
    /// It was as asked already.
    Unchanged,
}

/// A network namespace, named by something that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netns {
    /// An open file such as `/proc/PID/ns/net`. It must stay open until the request is performed.
    Fd(RawFd),
    /// A process or thread in it.
    Pid(u32),
}

/// One thing to do. The verbs on addresses can be repeated: what is already true has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Adds an address of ours: marked with [`PROTOCOL`], and in use at once (no duplicate address
    /// detection).
    ///
    /// [`Change::Unchanged`] when the link has it already, *whoever* added it and whatever its
    /// lifetime is. IPv6 compares the address without the prefix, IPv4 with it.
    AddAddress {
        /// On which link.
        link: LinkIndex,
        /// Which address.
        address: Address,
        /// After how many seconds the kernel removes it unless it is renewed, from 1 on; `None`:
        /// never.
        lifetime: Option<u32>,
        /// How it is added.
        options: AddressOptions,
    },
    /// Sets the lifetime of an address anew, counted from now, and with IPv6 whether it is
    /// [preferred](AddressOptions::preferred). Linux knows no way to ask for only
    /// that: an address that is gone by now is added again, so a renewal must not overtake or
    /// follow the removal that it was meant to precede.
    RenewAddress {
        /// On which link.
        link: LinkIndex,
        /// Which address.
        address: Address,
        /// As with [`Request::AddAddress`].
        lifetime: Option<u32>,
        /// As it was added.
        options: AddressOptions,
    },
    /// Removes an address, whoever added it. [`Change::Unchanged`] when the address or the whole
    /// link is gone.
    RemoveAddress {
        /// On which link.
        link: LinkIndex,
        /// Which address, with its very prefix.
        address: Address,
    },
    /// Adds a route. [`Change::Unchanged`] when the table has one to the same network with the same
    /// metric, *whoever* added it and wherever it leads.
    AddRoute(Route),
    /// Removes a route that carries our mark. [`Change::Unchanged`] when there is none.
    RemoveRoute(Route),
    /// Adds a rule. [`Change::Unchanged`] when there is one like it.
    AddRule(Rule),
    /// Removes a rule that carries our mark (Linux 4.17; before that, whoever added one like it).
    /// [`Change::Unchanged`] when there is none.
    RemoveRule(Rule),
    /// Removes what an earlier process left. [`Change::Unchanged`] when it is gone.
    RemoveLeftOver(LeftOver),
    /// Adds an ordinary address without our mark, for good, in use at once.
    AddPlainAddress {
        /// On which link.
        link: LinkIndex,
        /// Which address.
        address: Address,
    },
    /// Makes a pair of links: what goes into one comes out of the other. A name that is taken is an
    /// error, because what has it may be anything.
    AddVeth {
        /// Name of this end, in this network namespace.
        name: String,
        /// Name of the other end.
        peer_name: String,
        /// Where to make the other end; `None`: here.
        peer_netns: Option<Netns>,
    },
    /// Makes a bridge. A name that is taken is an error.
    AddBridge {
        /// Its name.
        name: String,
    },
    /// Makes a macvlan in bridge mode, down. A name that is taken is an error.
    ///
    /// In every other mode but VEPA the kernel keeps multicast frames that come from another station
    /// with the macvlan's own MAC address from the interface below, and with it from whoever listens
    /// there (`macvlan_handle_frame`). Two stations may well have the same one.
    AddMacvlan {
        /// Its name.
        name: String,
        /// The interface below.
        lower: LinkIndex,
        /// Its MAC address, given at once, so that no rule of udev replaces it.
        mac: [u8; 6],
    },
    /// Notes something with the link of that name, for whoever lists links.
    SetAlias {
        /// Which link.
        name: String,
        /// What; empty takes the note away.
        alias: String,
    },
    /// Gives the link of that name no IPv6 address by itself, at the latest when it is set up next
    /// (`addrgenmode none`, Linux 3.17). Refused where the kernel runs without IPv6.
    NoLinkLocalAddress {
        /// Which link.
        name: String,
    },
    /// Changes settings of IPv4 of the link of that name.
    SetIpv4 {
        /// Which link.
        name: String,
        /// Which settings, and their values.
        settings: Vec<(Ipv4Setting, u32)>,
    },
    /// Sets the largest packet of a link, in bytes without the link layer's header.
    SetMtu {
        /// The link.
        link: LinkIndex,
        /// The length.
        mtu: u32,
    },
    /// Makes a link a port of a bridge (or bond, or VRF), or of none.
    SetController {
        /// The port.
        link: LinkIndex,
        /// The bridge.
        controller: Option<LinkIndex>,
    },
    /// Sets a link up.
    SetUp {
        /// The link.
        link: LinkIndex,
    },
    /// Sets a link down. Its IPv6 addresses go, its IPv4 addresses stay.
    SetDown {
        /// The link.
        link: LinkIndex,
    },
    /// Gives a link another MAC address.
    SetMac {
        /// The link.
        link: LinkIndex,
        /// The address, unicast.
        mac: [u8; 6],
    },
    /// Moves a link to another network namespace, where it arrives down and without addresses.
    MoveToNetns {
        /// The link.
        link: LinkIndex,
        /// Where to.
        netns: Netns,
    },
    /// Removes a link, with a veth both ends. [`Change::Unchanged`] when it is gone.
    RemoveLink {
        /// The link.
        link: LinkIndex,
    },
}

/// The sentence's second half: "cannot ...".
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddAddress { link, address, .. } | Self::AddPlainAddress { link, address } => {
                write!(f, "add {address} to link {link}")
            }
            Self::RenewAddress { link, address, .. } => write!(f, "renew {address} on link {link}"),
            Self::RemoveAddress { link, address } => write!(f, "remove {address} from link {link}"),
            Self::AddRoute(route) => write!(f, "add the route {route}"),
            Self::RemoveRoute(route) => write!(f, "remove the route {route}"),
            Self::AddRule(rule) => write!(f, "add the rule {rule}"),
            Self::RemoveRule(rule) => write!(f, "remove the rule {rule}"),
            Self::RemoveLeftOver(left_over) => write!(f, "remove {left_over} that was left behind"),
            Self::AddVeth { name, peer_name, .. } => write!(f, "make the veth pair {name} and {peer_name}"),
            Self::AddBridge { name } => write!(f, "make the bridge {name}"),
            Self::AddMacvlan { name, lower, .. } => write!(f, "make the macvlan {name} on link {lower}"),
            Self::SetAlias { name, .. } => write!(f, "set the alias of {name}"),
            Self::NoLinkLocalAddress { name } => write!(f, "keep {name} without a link-local address"),
            Self::SetIpv4 { name, settings } => {
                let names: Vec<_> = settings.iter().map(|(setting, _)| setting.name()).collect();
                write!(f, "set {} of {name}", names.join(", "))
            }
            Self::SetMtu { link, mtu } => write!(f, "set the MTU of link {link} to {mtu}"),
            Self::SetController { link, controller: Some(controller) } => {
                write!(f, "make link {link} a port of link {controller}")
            }
            Self::SetController { link, controller: None } => write!(f, "free link {link} as a port"),
            Self::SetUp { link } => write!(f, "set link {link} up"),
            Self::SetDown { link } => write!(f, "set link {link} down"),
            Self::SetMac { link, .. } => write!(f, "set the MAC address of link {link}"),
            Self::MoveToNetns { link, .. } => write!(f, "move link {link} to another network namespace"),
            Self::RemoveLink { link } => write!(f, "remove link {link}"),
        }
    }
}

impl Request {
    /// Whether the kernel's refusal means that there was nothing to do.
    pub(crate) fn already_true(&self, errno: i32) -> bool {
        let errno = Errno::from_raw(errno);
        match self {
            Self::AddAddress { .. } | Self::AddPlainAddress { .. } | Self::AddRoute(_) | Self::AddRule(_) => {
                errno == Errno::EEXIST
            }
            Self::RemoveRoute(_) | Self::RemoveRule(_) | Self::RemoveLeftOver(_) => {
                matches!(errno, Errno::ESRCH | Errno::ENOENT | Errno::ENODEV)
            }
            // ENXIO: the link has no IPv6 at all.
            Self::RemoveAddress { .. } => {
                matches!(errno, Errno::EADDRNOTAVAIL | Errno::ENODEV | Errno::ENXIO)
            }
            Self::RemoveLink { .. } => errno == Errno::ENODEV,
            _ => false,
        }
    }

    /// A name in it that the kernel could not even be asked about, if there is one.
    pub(crate) fn impossible_name(&self) -> Option<&str> {
        let names: &[&String] = match self {
            Self::AddVeth { name, peer_name, .. } => &[name, peer_name],
            Self::AddBridge { name }
            | Self::AddMacvlan { name, .. }
            | Self::SetAlias { name, .. }
            | Self::NoLinkLocalAddress { name }
            | Self::SetIpv4 { name, .. } => &[name],
            _ => &[],
        };
        names.iter().map(|name| name.as_str()).find(|name| !is_link_name(name))
    }

    /// The message to the kernel, which is to be acknowledged.
    pub(crate) fn message(&self) -> NetlinkMessage<RouteNetlinkMessage> {
        use RouteNetlinkMessage::{
            DelAddress, DelLink, DelRoute, DelRule, NewAddress, NewLink, NewRoute, NewRule, SetLink,
        };
        let (flags, inner) = match self {
            Self::AddAddress { link, address, lifetime, options } => {
                (NLM_F_CREATE | NLM_F_EXCL, NewAddress(own_address(*link, *address, *lifetime, options)))
            }
            Self::RenewAddress { link, address, lifetime, options } => {
                (NLM_F_REPLACE, NewAddress(own_address(*link, *address, *lifetime, options)))
            }
            Self::RemoveAddress { link, address } => (0, DelAddress(address_message(*link, *address))),
            Self::AddPlainAddress { link, address } => {
                (NLM_F_CREATE | NLM_F_EXCL, NewAddress(address_message(*link, *address)))
            }
            Self::AddRoute(route) => (NLM_F_CREATE | NLM_F_EXCL, NewRoute(route.message())),
            Self::RemoveRoute(route) => (0, DelRoute(route.message())),
            Self::AddRule(rule) => (NLM_F_CREATE | NLM_F_EXCL, NewRule(rule.message())),
            Self::RemoveRule(rule) => (0, DelRule(rule.message())),
            Self::RemoveLeftOver(LeftOver::Route(message)) => (0, DelRoute((**message).clone())),
            Self::RemoveLeftOver(LeftOver::Rule(message)) => (0, DelRule((**message).clone())),
            Self::AddVeth { name, peer_name, peer_netns } => {
                (NLM_F_CREATE | NLM_F_EXCL, NewLink(veth(name, peer_name, *peer_netns)))
            }
            Self::AddBridge { name } => {
                let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]);
                let bridge = attributes_only(vec![LinkAttribute::IfName(name.clone()), info]);
                (NLM_F_CREATE | NLM_F_EXCL, NewLink(bridge))
            }
            Self::AddMacvlan { name, lower, mac } => {
                (NLM_F_CREATE | NLM_F_EXCL, NewLink(macvlan(name, *lower, *mac)))
            }
            Self::SetAlias { name, alias } => {
                (0, SetLink(of_name(name, LinkAttribute::IfAlias(alias.clone()))))
            }
            Self::NoLinkLocalAddress { name } => {
                let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
                let families = vec![AfSpecUnspec::Inet6(vec![mode])];
                (0, SetLink(of_name(name, LinkAttribute::AfSpecUnspec(families))))
            }
            Self::SetIpv4 { name, settings } => {
                (0, SetLink(of_name(name, ipv4_setting::attribute(settings))))
            }
            Self::SetMtu { link, mtu } => (0, SetLink(of_link(*link, vec![LinkAttribute::Mtu(*mtu)]))),
            Self::SetController { link, controller } => {
                let index = controller.map_or(0, LinkIndex::get);
                (0, SetLink(of_link(*link, vec![LinkAttribute::Controller(index)])))
            }
            Self::SetUp { link } => (0, SetLink(set_flags(*link, LinkFlags::Up))),
            Self::SetDown { link } => (0, SetLink(set_flags(*link, LinkFlags::empty()))),
            Self::SetMac { link, mac } => {
                (0, SetLink(of_link(*link, vec![LinkAttribute::Address(mac.to_vec())])))
            }
            Self::MoveToNetns { link, netns } => (0, SetLink(of_link(*link, vec![netns.attribute()]))),
            Self::RemoveLink { link } => (0, DelLink(of_link(*link, Vec::new()))),
        };
        let mut message = NetlinkMessage::from(inner);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message
    }
}

impl Netns {
    fn attribute(self) -> LinkAttribute {
        match self {
            Self::Fd(fd) => LinkAttribute::NetNsFd(fd),
            Self::Pid(pid) => LinkAttribute::NetNsPid(pid),
        }
    }
}

fn own_address(
    link: LinkIndex,
    address: Address,
    lifetime: Option<u32>,
    options: &AddressOptions,
) -> AddressMessage {
    let mut message = address_message(link, address);
    let valid = lifetime.unwrap_or(FOREVER);
    let mut cache = CacheInfo::default();
    cache.ifa_valid = valid;
    // IPv4 has no such notion: the kernel takes an address as deprecated then, and still uses it.
    cache.ifa_preferred = if address.ip.is_ipv4() || options.preferred { valid } else { 0 };
    message.attributes.push(AddressAttribute::CacheInfo(cache));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
    message.header.scope = options.scope.number().into();
    message.attributes.extend(options.label.clone().map(AddressAttribute::Label));
    // The kernel would make a route to an IPv6 host alone, which is in the local table already, and
    // leave it behind until the lifetime ends (Linux 3.14; before that it makes one).
    let is_ipv6_host = address == Address::host(address.ip) && address.ip.is_ipv6();
    if options.no_prefix_route || is_ipv6_host {
        // These 32 bits replace the eight of the header.
        let flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
        message.attributes.push(AddressAttribute::Flags(flags | AddressFlags::Noprefixroute));
    }
    message
}

fn address_message(link: LinkIndex, address: Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link.get();
    message.header.prefix_len = address.prefix_len;
    message.header.family = match address.ip.is_ipv4() {
        true => AddressFamily::Inet,
        false => {
            message.header.flags = AddressHeaderFlags::Nodad;
            AddressFamily::Inet6
        }
    };
    // IPv4 looks at the one for the near and at the other for the far end, IPv6 at either.
    message.attributes.push(AddressAttribute::Local(address.ip));
    message.attributes.push(AddressAttribute::Address(address.ip));
    message
}

fn veth(name: &str, peer_name: &str, peer_netns: Option<Netns>) -> LinkMessage {
    let mut peer = vec![LinkAttribute::IfName(peer_name.to_owned())];
    peer.extend(peer_netns.map(Netns::attribute));
    let data = InfoData::Veth(InfoVeth::Peer(attributes_only(peer)));
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)];
    attributes_only(vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(info)])
}

fn macvlan(name: &str, lower: LinkIndex, mac: [u8; 6]) -> LinkMessage {
    let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
    attributes_only(vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Link(lower.get()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)]),
    ])
}

fn set_flags(link: LinkIndex, flags: LinkFlags) -> LinkMessage {
    let mut message = of_link(link, Vec::new());
    message.header.flags = flags;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn of_link(link: LinkIndex, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = attributes_only(attributes);
    message.header.index = link.get();
    message
}

/// A link that was just made has no index yet that we know.
fn of_name(name: &str, attribute: LinkAttribute) -> LinkMessage {
    attributes_only(vec![LinkAttribute::IfName(name.to_owned()), attribute])
}

fn attributes_only(attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    message
}

/// The kernel's rule (`dev_valid_name`), applied here because a longer name does not fit in a
/// message.
fn is_link_name(name: &str) -> bool {
    let taken = |byte: u8| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace();
    (1..libc::IFNAMSIZ).contains(&name.len()) && name != "." && name != ".." && !name.bytes().any(taken)
}

/// `INFINITY_LIFE_TIME`
const FOREVER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scope;
    use crate::wire::tests::{hex, only};

    const LINK: LinkIndex = LinkIndex::new(4);

    fn encoded(request: &Request) -> Vec<u8> {
        let mut message = request.message();
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn address(ip: &str) -> Address {
        Address::host(ip.parse().expect("an IP address"))
    }

    #[test]
    fn an_ipv4_address_goes_with_mark_and_lifetime() {
        let request = Request::AddAddress {
            link: LINK,
            address: address("192.0.2.10"),
            lifetime: Some(2),
            options: Default::default(),
        };
        let expected = "
            44000000 1400 0506 00000000 00000000  02200000 04000000
            08000200 c000020a  08000100 c000020a
            14000600 02000000 02000000 00000000 00000000  05000b00 70000000";
        assert_eq!(encoded(&request), hex(expected));
    }

    #[test]
    fn an_ipv6_address_goes_without_detection_and_preference() {
        let address = address("2001:db8::10");
        let request =
            Request::RenewAddress { link: LINK, address, lifetime: None, options: Default::default() };
        let expected = "
            64000000 1400 0501 00000000 00000000  0a800200 04000000
            14000200 20010db8000000000000000000000010  14000100 20010db8000000000000000000000010
            14000600 00000000 ffffffff 00000000 00000000  05000b00 70000000  08000800 02020000";
        assert_eq!(encoded(&request), hex(expected));
    }

    #[test]
    fn the_options_of_an_address_go_with_it() {
        let options = AddressOptions {
            label: Some("eth1:vip".into()),
            scope: Scope::Link,
            no_prefix_route: true,
            preferred: false,
        };
        let address = Address { prefix_len: 24, ..address("192.0.2.10") };
        let request = Request::AddAddress { link: LINK, address, lifetime: Some(2), options };
        let expected = "
            5c000000 1400 0506 00000000 00000000  021800fd 04000000
            08000200 c000020a  08000100 c000020a
            14000600 02000000 02000000 00000000 00000000  05000b00 70000000
            0d000300 657468313a766970 00000000  08000800 00020000";
        assert_eq!(encoded(&request), hex(expected));

        let address = Address { prefix_len: 64, ..self::address("2001:db8::10") };
        let options = AddressOptions { preferred: true, no_prefix_route: true, ..Default::default() };
        let request = Request::RenewAddress { link: LINK, address, lifetime: Some(2), options };
        let expected = "
            64000000 1400 0501 00000000 00000000  0a400200 04000000
            14000200 20010db8000000000000000000000010  14000100 20010db8000000000000000000000010
            14000600 02000000 02000000 00000000 00000000  05000b00 70000000  08000800 02020000";
        assert_eq!(encoded(&request), hex(expected));
    }

    #[test]
    fn every_request_asks_for_an_answer() {
        for request in [
            Request::RemoveAddress { link: LINK, address: address("192.0.2.10") },
            Request::AddBridge { name: "br0".into() },
            Request::SetController { link: LINK, controller: None },
            Request::SetDown { link: LINK },
            Request::RemoveLink { link: LINK },
        ] {
            assert_eq!(only(&encoded(&request)).flags & NLM_F_ACK, NLM_F_ACK, "{request}");
        }
    }

    #[test]
    fn only_the_refusals_that_mean_it_are_success() {
        let address = address("192.0.2.10");
        let add = Request::AddAddress { link: LINK, address, lifetime: None, options: Default::default() };
        let renew =
            Request::RenewAddress { link: LINK, address, lifetime: None, options: Default::default() };
        let remove = Request::RemoveAddress { link: LINK, address };
        let bridge = Request::AddBridge { name: "br0".into() };
        let is = |request: &Request, errno| request.already_true(errno as i32);
        assert!(is(&add, Errno::EEXIST) && !is(&add, Errno::ENODEV));
        assert!(!is(&renew, Errno::EEXIST));
        assert!(
            is(&remove, Errno::EADDRNOTAVAIL) && is(&remove, Errno::ENODEV) && !is(&remove, Errno::EPERM)
        );
        assert!(!is(&bridge, Errno::EEXIST), "it may be anything");
    }

    #[test]
    fn names_that_no_link_can_have_are_found() {
        for name in ["", "sixteen-letters-", "a/b", "a b", "a:b", "a\0b", ".", ".."] {
            let bridge = Request::AddBridge { name: name.into() };
            assert_eq!(bridge.impossible_name(), Some(name));
            let pair = Request::AddVeth { name: "a".into(), peer_name: name.into(), peer_netns: None };
            assert_eq!(pair.impossible_name(), Some(name));
        }
        assert_eq!(Request::AddBridge { name: "fifteen-letters".into() }.impossible_name(), None);
    }
}
