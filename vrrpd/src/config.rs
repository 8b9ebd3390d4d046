//! The configuration file: what it may say, and what it means.
//!
//! [`load`] reads TOML with its places (`raw`), looks for contradictions (`validate`), fills in what
//! was left out (`defaults`) and reports every fault at once ([`Diagnostics`]). The values here are past all
//! doubt: nothing that uses them checks a range again. [`to_toml`] writes them out again, and
//! [`differences`] says what a reload would change.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use vrrp_proto::parameters::OnConflict;
use vrrp_proto::{AdverInterval, Family, Priority, Version, Vrid};

mod authentication;
mod defaults;
mod diagnostic;
mod differences;
mod digest;
mod dns_update;
mod garp;
mod interface;
mod keys;
mod load;
mod probe;
mod raw;
mod second_path;
mod secrecy;
mod show;
mod suspicion;
mod sync_group;
mod table;
mod track;
mod transport;
mod validate;
mod value;
mod version;
mod virtual_address;
mod virtual_mac;
mod way;
mod witness;

pub use authentication::{Authentication, Keys, PasswordSource};
pub use diagnostic::{Diagnostic, Diagnostics, Severity, Warnings};
pub use differences::{Change, Difference, KeyChange, Section, differences};
pub use digest::Sha256;
pub use dns_update::{DnsUpdate, Tsig, TsigAlgorithm};
pub use keys::{Key, Support, TABLES};
pub use load::{load, load_once, parse};
pub(crate) use probe::http::compile;
pub(crate) use probe::registry::{is_repository, is_tag};
pub use probe::{
    Address, Blobs, BodyMatch, Chart, ChartRepository, Disk, Dns, DnsProtocol, Endpoint, Exec, File, Gateway,
    Hosts, Http, HttpMethod, Image, ImageDigest, MAX_BODY, Mounted, Ping, PingTarget, Preset, Probe, Process,
    Registry, RegistryParity, Route, S3, Scalar, SystemdUnit, Tcp, Tls,
};
pub(crate) use probe::{dns_data, rcode_word, show_bytes};
pub use second_path::{SecondPath, SecondPeer};
pub use show::{to_toml, to_toml_expanded};
pub use sync_group::SyncGroup;
pub use track::TrackInterface;
pub use virtual_address::VirtualAddress;
pub use way::{HostRoute, Static};
pub use witness::{Witness, WitnessPolicy};

/// A whole configuration file, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[daemon]`.
    pub daemon: Daemon,
    /// `[peer_link]`; without it there is none.
    pub peer_link: Option<PeerLink>,
    /// `[interface.NAME]`, in the order of the file; an interface need not be named to be used.
    pub interfaces: Vec<Interface>,
    /// `[virtual_router.NAME]`, in the order of the file.
    pub virtual_routers: Vec<VirtualRouter>,
    /// `[check.NAME]`, in the order of the file.
    pub checks: Vec<Check>,
    /// `[hook.NAME]`, in the order of the file.
    pub hooks: Vec<Hook>,
    /// `[sync_group.NAME]`, in the order of the file.
    pub sync_groups: Vec<SyncGroup>,
    /// `[dns_update.NAME]`, in the order of the file.
    pub dns_updates: Vec<DnsUpdate>,
    /// `[static]`.
    pub fixed: Static,
}

/// `[daemon]`: what there is one of for each process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Name of this node in what is printed; default: the host name.
    pub node: String,
    /// Unix socket that `vrrpctl` connects to; default `control.sock` in `runtime_dir`.
    pub control_socket: PathBuf,
    /// Directory of the control socket; default: where `control_socket` is, else `/run/vrrpd`.
    pub runtime_dir: PathBuf,
    /// What outlives a restart; default [`DEFAULT_STATE_DIR`].
    pub state_dir: PathBuf,
    /// Group that may read the control socket; default `vrrpd`, which need not exist.
    pub read_group: String,
    /// Scheduling of the protocol thread; default realtime, where the kernel allows it.
    pub scheduling: Scheduling,
}

/// `[peer_link]`: what the daemons of a group tell each other beside VRRP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLink {
    /// Address and UDP port that is listened on, and sent from.
    pub listen: SocketAddr,
    /// Where the other daemons listen, at least one.
    pub peers: Vec<SocketAddr>,
    /// File with the secret that they share.
    pub key_file: PathBuf,
}

/// Scheduling class of the protocol thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// `SCHED_RR` and locked memory; falls back to `Normal` with one warning where it is not allowed.
    Realtime,
    /// Whatever the process was started with.
    Normal,
}

/// `[interface.NAME]`: what all virtual routers of one interface have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The table's name, which is the interface's.
    pub name: String,
    /// Least time between two announcements (gratuitous ARP, neighbour advertisement) that leave it,
    /// 0 to 1 s; default 0: they leave as they come.
    pub announcement_spacing: Duration,
}

/// How the names of devices with virtual MAC addresses begin, for IPv4 and IPv6; the VRID follows. The
/// files of `packaging/` that keep other programs away from them name these.
pub const DEVICE_PREFIXES: [&str; 2] = ["vrrp4-", "vrrp6-"];

/// `[virtual_router.NAME]` (RFC 9568 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualRouter {
    /// The table's name.
    pub name: String,
    /// Name of the interface it runs on; the interface need not exist.
    pub interface: String,
    /// VRID, unique for each interface and family.
    pub vrid: Vrid,
    /// Family of all `addresses`.
    pub family: Family,
    /// Configured priority: 1 to 254, or 255 for the owner of the addresses; default 100.
    pub priority: Priority,
    /// Advertisement_Interval, and with it the version of VRRP; default 1 s, of version 3.
    pub advertisement_interval: AdverInterval,
    /// How advertisements show that they belong to the group; default: not at all.
    pub authentication: Option<Authentication>,
    /// The virtual addresses in configured order, no duplicates; none only where a `dns_update` moves
    /// a name instead.
    pub addresses: Vec<VirtualAddress>,
    /// Addresses of either family that move along and are not advertised, none of them among `addresses`.
    pub extra_addresses: Vec<VirtualAddress>,
    /// Routes that come and go with the role, each different from every other of the file.
    pub routes: Vec<HostRoute>,
    /// Rules that come and go with the role.
    pub rules: Vec<netlink::Rule>,
    /// Source of advertisements; default: the interface's primary (IPv6: link-local) address.
    pub source_address: Option<IpAddr>,
    /// Unicast peers; empty: multicast.
    pub peers: Vec<IpAddr>,
    /// Who may advertise in the group, addresses or networks; empty: anybody.
    pub allowed_sources: Vec<netlink::Address>,
    /// Group that advertisements go to when there are no `peers`; default 224.0.0.18 or ff02::12.
    pub multicast_group: IpAddr,
    /// Least TTL or Hop Limit of advertisements from `peers`; default 255: no router in between.
    pub min_ttl: u8,
    /// Another interface over which it advertises; default none.
    pub second_path: Option<SecondPath>,
    /// Who says that this node is not cut off; default nobody.
    pub witness: Option<Witness>,
    /// Is the host of an Active Router asked whose advertisement is late, and a dead one followed early?
    /// Default false.
    pub suspicion: bool,
    /// Checksum form that is sent over IPv4 and accepted; default auto.
    pub ipv4_checksum: Ipv4Checksum,
    /// What becomes of a claim after silence when somebody still answers for the addresses; default claim.
    pub on_conflict: OnConflict,
    /// Time after start during which nothing is claimed; default 0.
    pub startup_delay: Duration,
    /// Time after its interface came up during which nothing is claimed; default 0.
    pub carrier_delay: Duration,
    /// Does a higher priority take over from a living lower one? Default true.
    pub preempt_mode: bool,
    /// How long a lower-priority Active Router is left alone; default 0.
    pub preempt_delay: Duration,
    /// Are packets to the addresses accepted without owning them? Default true.
    pub accept_mode: bool,
    /// Refuse what deployed peers do against the letter of the RFC; default false.
    pub strict: bool,
    /// Answer with the Virtual Router MAC Address, on a device of its own; default false.
    pub virtual_mac: bool,
    /// Kernel lifetime of the addresses that we add; default auto.
    pub lease: Lease,
    /// Names of the checks that count for it: its own first, then those of its sync group.
    pub checks: Vec<String>,
    /// Other interfaces whose state counts for it.
    pub track_interfaces: Vec<TrackInterface>,
    /// Names of the hooks that hear of its transitions.
    pub hooks: Vec<String>,
    /// Gratuitous ARP and unsolicited neighbour advertisements.
    pub garp: Announcements,
}

impl VirtualRouter {
    /// `version`: the VRRP that is spoken.
    pub const fn version(&self) -> Version {
        self.advertisement_interval.version()
    }
}

/// `ipv4_checksum`: which of the two readings of RFC 5798 5.2.8 is spoken (`protocol.md` 1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Checksum {
    /// Accept both, answer in the form last heard.
    Auto,
    /// Sum over the message only (RFC 9568 5.2.8), sent and required.
    Rfc9568,
    /// Sum with a pseudo-header (keepalived, FRR), sent and required.
    PseudoHeader,
}

/// The shortest advertisement interval at which `lease = "auto"` leaves time for a fence.
pub const SHORTEST_FENCED: Duration = Duration::from_millis(50);

/// Where `state_dir` is unless it is set.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/vrrpd";

/// `lease`: how long an address of ours answers that is not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// As long as fits under the time after which a backup claims.
    Auto,
    /// For ever: a killed daemon leaves its addresses behind.
    Off,
    /// So long, from 100 ms to 1 h.
    For(Duration),
}

/// `garp`: when the role's new place is announced, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcements {
    /// Gratuitous ARPs in a burst, for each address; default 5, 1 to 255. IPv6: always at 0, 1 and 2 s.
    pub count: u8,
    /// Time between the ARPs of a burst; default 100 ms.
    pub interval: Duration,
    /// Time from the first burst to the second; 0: no second one; default 5 s.
    pub second_after: Duration,
    /// Time between later repetitions while Active; 0: none; default 60 s.
    pub refresh: Duration,
    /// Gratuitous ARPs in each of these repetitions; default 1, 1 to 255. IPv6: always 1.
    pub refresh_count: u8,
    /// As `count`, after an advertisement of lower priority was heard while Active; default `count`;
    /// 0: nothing is announced then.
    pub lower_priority_count: u8,
    /// As `second_after`, for these; default `second_after`.
    pub lower_priority_second_after: Duration,
    /// ARP request or reply; default request, with a virtual MAC address reply.
    pub form: GarpForm,
    /// Further interfaces over which neighbours reach the addresses, up to 16; default none.
    pub interfaces: Vec<String>,
}

/// `garp.form`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GarpForm {
    /// Opcode 1 (RFC 5227 3).
    Request,
    /// Opcode 2 (RFC 5944 4.6).
    Reply,
}

/// `[check.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The table's name.
    pub name: String,
    /// What is done.
    pub probe: Probe,
    /// What the probe comes from, when the file names a preset.
    pub preset: Option<Preset>,
    /// From start to start; default 1 s.
    pub interval: Duration,
    /// From start to start while in doubt: pending, or the last run differs from the state. Below
    /// `interval`; default: none, `interval` always.
    pub fast_interval: Option<Duration>,
    /// Total deadline of one run, below the shorter interval; default 0.9 of it.
    pub timeout: Duration,
    /// Passing runs in a row until the check passes; default 2.
    pub rise: u32,
    /// Failing runs in a row until the check fails; default 3.
    pub fall: u32,
    /// In which role it is asked; default always.
    pub when: When,
    /// What a failing check does.
    pub effect: Effect,
}

/// `when`: the role of the virtual routers that name a check, in which it is asked. One of them is
/// enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// While Active.
    Active,
    /// While not Active.
    Backup,
    /// In any role.
    Always,
}

/// What a check does to the virtual routers that name it: `on_failure` or `weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Priority / 10, at least 1, once however many checks fail (the default).
    Demote,
    /// Leave and hold nothing.
    Fault,
    /// Be shown, move nothing.
    Alert,
    /// Below zero: added to the priority while failing; above: added while passing. -253 to 253, not 0.
    Weight(i16),
}

/// The parts of a URL that is asked over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `https` rather than `http`.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; default 80 or 443.
    pub port: u16,
    /// Path and query, `/` at least.
    pub path: String,
}

/// `[hook.NAME]`: a program told of transitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The table's name.
    pub name: String,
    /// Which states it hears of.
    pub on: Vec<HookState>,
    /// The program.
    pub exec: Exec,
    /// Deadline of one run; default 30 s.
    pub timeout: Duration,
}

/// States that a hook can hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookState {
    /// Became Active (`active`; alias `master`): argv says `MASTER`.
    Active,
    /// Became Backup: `BACKUP`.
    Backup,
    /// Cannot take part: `FAULT`.
    Fault,
    /// The daemon ends or the virtual router was removed: `STOP`.
    Stopped,
}
