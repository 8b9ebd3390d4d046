//! What received packets show, in words: who, its value, ours, and what to type.

use vrrp_proto::Version;
use vrrp_proto::packet::AuthType;
use vrrp_proto::snapshot::{self, Evidence, Raised, Value};

use super::{Alarm, Level};
use crate::config::{Authentication, VirtualRouter};
use crate::control::time::WallTime;

impl Alarm {
    /// One that is raised, at `now`.
    pub fn raised(alarm: snapshot::Alarm, raised: &Raised, router: &VirtualRouter, now: WallTime) -> Self {
        Self {
            since: Some(now.minus(raised.age)),
            seen: Some(now.minus(raised.seen)),
            ..Self::heard(alarm, &raised.evidence, router)
        }
    }

    /// One that packets show, without its age.
    pub fn heard(alarm: snapshot::Alarm, evidence: &Evidence, router: &VirtualRouter) -> Self {
        let (level, message, remedy) = words(alarm, evidence, router);
        let value = |value: Value| (value != Value::Nothing).then(|| value.to_string());
        Self {
            source: Some(evidence.source),
            theirs: value(evidence.theirs),
            ours: value(evidence.ours),
            ..Self::new(alarm.as_str(), level, message, remedy)
        }
    }
}

/// How bad it is, what is wrong, and what to do.
fn words(
    alarm: snapshot::Alarm,
    &Evidence { source: peer, theirs, ours }: &Evidence,
    router: &VirtualRouter,
) -> (Level, String, String) {
    let VirtualRouter { interface, vrid, advertisement_interval, .. } = router;
    let version = advertisement_interval.version();
    let on_both = |key: &str| format!("configure the same {key} on both nodes, then vrrpctl reload");
    let (message, remedy) = match alarm {
        snapshot::Alarm::AddressListMismatch => (
            format!(
                "{peer} advertises other addresses than this node{}; keepalived before 2.3.3 drops such \
                 advertisements",
                difference(theirs, ours)
            ),
            on_both("addresses"),
        ),
        snapshot::Alarm::IntervalMismatch if version == Version::V2 => {
            return (
                Level::Critical,
                format!(
                    "{peer} advertises every {theirs}, this node every {ours}: in VRRPv2 neither hears the \
                     other, and both become Active"
                ),
                on_both("advertisement_interval"),
            );
        }
        snapshot::Alarm::IntervalMismatch => (
            format!("{peer} advertises every {theirs}, this node every {ours}"),
            on_both("advertisement_interval"),
        ),
        snapshot::Alarm::ChecksumFormConflict => (
            format!(
                "routers of this group send both forms of the IPv4 checksum, {peer} {theirs}; some of them \
                 may not hear each other"
            ),
            String::from(
                "set ipv4_checksum to the same form on every router (keepalived: pseudo_header, unless it \
                 has v3_checksum_as_v2)",
            ),
        ),
        snapshot::Alarm::ChecksumFormMismatch => (
            format!(
                "{peer} sends the checksum form {theirs}, this node accepts {ours} only: it is not heard"
            ),
            String::from("ipv4_checksum = \"auto\", or the same form on both nodes, then vrrpctl reload"),
        ),
        snapshot::Alarm::SharedVrid => {
            return (
                Level::Critical,
                format!(
                    "VRID {vrid} on {interface} is also used by {peer}, for none of our addresses{}",
                    difference(theirs, Value::Nothing)
                ),
                String::from(
                    "give one of the two groups another vrid, unique on this link; if it is the other node \
                     of this one, the same addresses",
                ),
            );
        }
        snapshot::Alarm::LinkLocalMissing => (
            format!(
                "{peer} does not list a link-local address first (RFC 9568 5.2.9); accepted all the same"
            ),
            String::from("list a link-local address first on every node, the same on each"),
        ),
        snapshot::Alarm::HopLimitNot255 => (
            format!(
                "{peer} sends with Hop Limit {theirs} instead of {ours}, as keepalived does in IPv6 unicast; \
                 accepted"
            ),
            String::from(
                "use multicast, or vrrpd on both nodes, to be safe from packets that crossed a router",
            ),
        ),
        snapshot::Alarm::TtlTooLow => (
            format!(
                "{peer} is heard with TTL or Hop Limit {theirs}, {ours} is the least here: it is not heard"
            ),
            String::from(
                "let it send 255; min_ttl, where there are peers and a router between them on purpose",
            ),
        ),
        snapshot::Alarm::VersionMismatch => (
            format!("{peer} speaks VRRP version {theirs}, this node version {ours}: neither hears the other"),
            format!("the same version on every node (keepalived: vrrp_version {ours})"),
        ),
        snapshot::Alarm::AuthenticationMismatch if is_rolled_out(router) && !is_in_header(theirs) => (
            format!(
                "{peer} has authentication {theirs}, this node {ours}; accepted, and refused with mode = \
                 \"enforce\""
            ),
            String::from("the same keys on both nodes, and mode = \"permissive\" on both, before enforcing"),
        ),
        snapshot::Alarm::ClockSkew => {
            let message = format!(
                "the clock of {peer} is {theirs} s away from ours, and advertisements more than {ours} s away \
                 are refused"
            );
            let remedy = "chronyc tracking on both nodes; or replay = \"monotonic\" in authentication";
            return (skew_level(theirs, ours), message, remedy.to_owned());
        }
        snapshot::Alarm::AuthenticationMismatch => {
            return (
                Level::Critical,
                format!(
                    "{peer} has authentication {theirs}, this node {ours}: neither hears the other, and \
                     both become Active"
                ),
                if is_in_header(theirs) {
                    String::from(
                        "auth_type PASS on the peer, and authentication of type \"pass\" here with its \
                         password; or type \"hmac-sha256\" on both",
                    )
                } else {
                    on_both("authentication")
                },
            );
        }
        snapshot::Alarm::TransportMismatch => (
            format!("{peer} sends to {theirs}, this node expects {ours}: it is not heard"),
            String::from("peers on both nodes (unicast) or on neither (multicast), then vrrpctl reload"),
        ),
        snapshot::Alarm::UnknownSender => {
            let list = if router.peers.is_empty() { "allowed_sources" } else { "peers" };
            (
                format!("{peer} advertises our VRID and is not in {list}: it is not heard"),
                format!(
                    "a node of this group: add it to {list}, then vrrpctl reload; else give one of the two \
                     groups another vrid"
                ),
            )
        }
        snapshot::Alarm::FirstPathSilent => (
            format!(
                "{peer} is heard on the second path and not on {interface}: it is followed, and the way between \
                 the two nodes there is cut"
            ),
            format!("vrrpctl doctor on both nodes; look at the switch ports and firewalls of {interface}"),
        ),
        snapshot::Alarm::SecondPathSilent => {
            let second = router.second_path.as_ref().map_or("the second path", |path| &path.interface);
            (
                format!("{peer} is heard on {interface} and not on {second}"),
                format!(
                    "ip address show dev {second} on both nodes; second_path there; let IP protocol 112 through"
                ),
            )
        }
        snapshot::Alarm::ClientLanSilent => (
            format!(
                "none of the stations that are asked on {interface} answers: this node counts as demoted, so \
                 that another one which is answered takes over"
            ),
            format!(
                "ping {peer}; look at the cable and the switch port of {interface}; second_path.witnesses"
            ),
        ),
        snapshot::Alarm::Isolated => {
            return (
                Level::Critical,
                format!(
                    "this node is cut off: on {interface} neither a peer nor a witness answers, so it does not \
                     claim the addresses and holds none"
                ),
                format!(
                    "ping {peer}; look at the cable and the switch port of {interface}; it goes on by itself \
                     when anybody answers"
                ),
            );
        }
        snapshot::Alarm::WitnessSilent => {
            let witness = match ours {
                Value::Number(port) => format!("{peer} port {port}"),
                _ => peer.to_string(),
            };
            let (message, remedy) = match theirs {
                Value::Word("never") => (
                    format!("witness {witness} has never answered, and does not count"),
                    format!("ping {peer} on this node; correct the witness, then vrrpctl reload"),
                ),
                _ => (
                    format!("witness {witness} answers no more"),
                    format!("ping {peer} on this node and on the others"),
                ),
            };
            (message, remedy)
        }
        snapshot::Alarm::EqualPriority => (
            format!("{peer} has priority {theirs} too; the higher source address wins"),
            String::from("give the primary the higher priority, then vrrpctl reload"),
        ),
        snapshot::Alarm::DuplicateOwner => {
            return (
                Level::Critical,
                format!("{peer} advertises priority 255 as well: two routers claim to own the addresses"),
                String::from("set priority = 255 only on the node whose interface has the addresses"),
            );
        }
        snapshot::Alarm::TwoActiveRouters => (
            format!("{peer} is Active for VRID {vrid} on {interface} too: it does not hear this node"),
            String::from(
                "let IP protocol 112 through the firewall of that node; compare vrid, ipv4_checksum and peers",
            ),
        ),
        snapshot::Alarm::AddressConflict => (
            format!("{theirs} on {interface} claims {peer} too: clients may end up there"),
            format!(
                "take {peer} off that station; where it is a node of this group, let IP protocol 112 through \
                 its firewall and compare vrid"
            ),
        ),
        snapshot::Alarm::LivingHolder => (
            format!(
                "{theirs} on {interface} answers for {peer} although its router is silent: its daemon hangs, or \
                 is not heard here"
            ),
            String::from(
                "look at the daemon on that station; let IP protocol 112 through the firewalls of both nodes",
            ),
        ),
        snapshot::Alarm::LateAdvertisements => (
            format!(
                "{peer} was silent for {theirs} and is not dead: this node took over after {ours}, more than \
                 once"
            ),
            format!(
                "a longer advertisement_interval on both nodes; look at what delays {peer}: vrrpctl state --json \
                 there has loop_lateness_max_us"
            ),
        ),
        snapshot::Alarm::DuplicateSourceAddress => {
            return (
                Level::Critical,
                match theirs {
                    Value::Nothing => format!(
                        "advertisements come in on {interface} from {peer}, which is this node's own address"
                    ),
                    mac => format!("{mac} on {interface} has {peer}, which is this node's own address"),
                },
                format!(
                    "arping -D -I {interface} {peer}; give one of the two stations another address, or look \
                     for a loop in the network"
                ),
            );
        }
    };
    (Level::Degraded, message, remedy)
}

/// Is the peer's authentication the one that is not spoken here?
fn is_in_header(theirs: Value) -> bool {
    theirs == Value::Word(AuthType::AuthenticationHeader.name())
}

/// Are keyed advertisements on their way, and none refused yet?
fn is_rolled_out(router: &VirtualRouter) -> bool {
    match &router.authentication {
        Some(authentication @ Authentication::Hmac(_)) => !authentication.enforces(),
        Some(Authentication::Pass(_)) | None => false,
    }
}

/// What is still accepted is worth a look; what is not makes two Active Routers.
fn skew_level(theirs: Value, ours: Value) -> Level {
    match (theirs, ours) {
        (Value::Number(away), Value::Number(window)) if away > window => Level::Critical,
        _ => Level::Degraded,
    }
}

/// The first address that only one of the two lists: ` (192.0.2.7; not 192.0.2.201)`.
fn difference(theirs: Value, ours: Value) -> String {
    match (theirs, ours) {
        (Value::Nothing, Value::Nothing) => String::new(),
        (theirs, Value::Nothing) => format!(" ({theirs})"),
        (Value::Nothing, ours) => format!(" (not {ours})"),
        (theirs, ours) => format!(" ({theirs}; not {ours})"),
    }
}
