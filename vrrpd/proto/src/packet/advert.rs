//! The advertisement of VRRPv3 (RFC 9568 5) and VRRPv2 (RFC 3768 5): one code path for both, and for IPv4
//! and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AuthPolicy, AuthType, ChecksumForm, ChecksumPolicy, Datagram, EncodeError, ParseError, Trailer};
use crate::{AdverInterval, Family, Priority, Version, Vrid};

/// Octets before the addresses; no message of any version is shorter.
const FIXED: usize = 8;
/// ADVERTISEMENT, in the low half of the first octet; the version is in the high one.
const TYPE: u8 = 1;
/// VRRPv2: the type of authentication.
pub(super) const AUTH_TYPE: usize = 4;
/// The two octets of the checksum.
pub(super) const CHECKSUM: std::ops::Range<usize> = 6..8;
/// VRRPv2: octets of the authentication data, which follow the addresses whatever the type.
pub(super) const AUTHENTICATION_DATA: usize = 8;

/// The VRID of a message that is yet to be validated, to find the virtual router whose [`Rules`]
/// apply. `None` when the message has no second octet, or when it holds 0.
pub fn peek_vrid(payload: &[u8]) -> Option<Vrid> {
    payload.get(1).copied().and_then(Vrid::new)
}

/// The version of a message that is yet to be validated, if it is one that exists.
pub fn peek_version(payload: &[u8]) -> Option<Version> {
    payload.first().and_then(|first| Version::from_number(first >> 4))
}

/// Octets of a message with `count` addresses, without its IP header.
pub const fn message_len(version: Version, family: Family, count: usize) -> usize {
    let authentication = match version {
        Version::V2 => AUTHENTICATION_DATA,
        Version::V3 => 0,
    };
    FIXED + count * family.address_octets() + authentication
}

/// What a virtual router demands of an advertisement beyond what is never negotiable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The only accepted version; over IPv6 there is no other than 3.
    pub version: Version,
    /// Accepted forms of the checksum of VRRPv3 over IPv4.
    pub checksum: ChecksumPolicy,
    /// Accepted authentication of VRRPv2.
    pub authentication: AuthPolicy,
    /// Also refuse what deployed peers do against the letter of the RFC: IPv6 without a link-local
    /// address in first place, as keepalived and FRR send it.
    pub strict: bool,
    /// May a keyed trailer follow the message?
    pub trailer: bool,
    /// Least TTL or Hop Limit: 255 (RFC 9568 5.1.1.3, 5.1.2.3), unless peers are routed or, like
    /// keepalived in IPv6 unicast, send less.
    pub min_hop_limit: u8,
}

impl Rules {
    /// The letter of RFC 9568.
    pub const STRICT: Self = Self {
        version: Version::V3,
        authentication: AuthPolicy::None,
        checksum: ChecksumPolicy::Only(ChecksumForm::MessageOnly),
        strict: true,
        trailer: false,
        min_hop_limit: u8::MAX,
    };
    /// What keeps deployed multicast peers in one group; the default of the daemon.
    pub const LAX: Self = Self { checksum: ChecksumPolicy::Either, strict: false, ..Self::STRICT };

    /// What is asked of a message to find out what it is, whoever it is for and whatever is configured:
    /// to be sound in a version that exists.
    pub fn to_identify(datagram: &Datagram<'_>) -> Self {
        let version = peek_version(datagram.payload).unwrap_or(Version::V3);
        Self { version, authentication: AuthPolicy::Any, trailer: true, ..Self::LAX }
    }
}

/// A valid advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert<'a> {
    /// The virtual router it speaks for.
    pub vrid: Vrid,
    /// The sender's priority; 0 when it stops being Active.
    pub priority: Priority,
    /// Max Advertise Interval: how often the sender advertises.
    pub interval: AdverInterval,
    /// The addresses of the virtual router, at least one.
    pub addresses: Addresses<'a>,
    /// The form of its checksum. Over IPv6 always [`ChecksumForm::PseudoHeader`], in VRRPv2 never; over
    /// IPv4 the one of RFC 9568 should both be right, which takes addresses whose pseudo-header sums to
    /// zero.
    pub form: ChecksumForm,
    /// What follows it, where [`Rules::trailer`] lets something: yet to be verified.
    pub trailer: Option<Trailer<'a>>,
    /// The first address is link-local (RFC 9568 5.2.9), as it must be over IPv6; over IPv4, where
    /// nothing is asked, true. False only without [`Rules::strict`].
    pub link_local_first: bool,
}

impl<'a> Advert<'a> {
    /// Validates a received message in the order of RFC 9568 7.1 and RFC 3768 7.1; the first failing
    /// check decides.
    ///
    /// For a VRID that no virtual router has, parse by [`Rules::to_identify`], so that the packet is not
    /// blamed for a stranger's configuration, and discard the result as [`ParseError::UnknownVrid`].
    ///
    /// # Errors
    ///
    /// The check that failed, with the values that explain it.
    pub fn parse(datagram: &Datagram<'a>, rules: &Rules) -> Result<Self, ParseError> {
        let family = datagram.family()?;
        if datagram.hop_limit < rules.min_hop_limit {
            return Err(ParseError::HopLimit { found: datagram.hop_limit, required: rules.min_hop_limit });
        }
        let message = datagram.payload;
        let Some((&fixed, rest)) = message.split_first_chunk::<FIXED>() else {
            return Err(ParseError::TooShort { octets: message.len() });
        };
        let [version_and_type, vrid, priority, count, fourth, fifth, sum_high, sum_low] = fixed;
        // VRRPv2 is not defined over IPv6 (RFC 9568 7.1).
        let version = if family == Family::Ipv6 { Version::V3 } else { rules.version };
        if version_and_type >> 4 != version.number() {
            return Err(ParseError::Version { found: version_and_type >> 4, expected: version });
        }
        if version_and_type & 0x0f != TYPE {
            return Err(ParseError::Type { found: version_and_type & 0x0f });
        }
        let expected = message_len(version, family, usize::from(count));
        let trailer = Trailer::split(message, expected);
        if message.len() != expected && !(rules.trailer && trailer.is_some()) {
            return Err(match trailer {
                Some(trailer) if trailer.is_likely() => ParseError::UnexpectedTrailer,
                _ => ParseError::Length { octets: message.len(), count, family, expected },
            });
        }
        // Over IPv6 the checksum covers the trailer too: the kernel sums all that the header counts.
        let summed = if family == Family::Ipv4 { &message[..expected] } else { message };
        let found = u16::from_be_bytes([sum_high, sum_low]);
        let policy = match version {
            Version::V2 => ChecksumPolicy::Only(ChecksumForm::MessageOnly),
            Version::V3 => rules.checksum,
        };
        let form = verify_checksum(datagram, summed, family, policy, found).map_err(|error| {
            match (version, error) {
                // There is no form to choose.
                (Version::V2, ParseError::ChecksumForm { .. }) => ParseError::Checksum { found },
                _ => error,
            }
        })?;
        let vrid = Vrid::new(vrid).ok_or(ParseError::ZeroVrid)?;
        let (list, authentication) =
            rest[..expected - FIXED].split_at(usize::from(count) * family.address_octets());
        let addresses = Addresses { family, octets: list };
        let first = addresses.iter().next().ok_or(ParseError::NoAddress)?;
        let interval = match version {
            Version::V2 => {
                authenticate(rules.authentication, fourth, authentication)?;
                AdverInterval::from_seconds(fifth)
            }
            // The upper four bits are reserved: ignored on receipt, whoever uses them (RFC 9568 5.2.6).
            Version::V3 => AdverInterval::from_centiseconds(u16::from_be_bytes([fourth & 0x0f, fifth])),
        };
        let interval = interval.ok_or(ParseError::ZeroInterval)?;
        let link_local_first = match first {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        if rules.strict && !link_local_first {
            return Err(ParseError::FirstAddress { address: first });
        }
        Ok(Self {
            vrid,
            priority: Priority::new(priority),
            interval,
            addresses,
            form,
            trailer,
            link_local_first,
        })
    }
}

/// Is the authentication of VRRPv2 the one that is asked for (RFC 3768 7.1, RFC 2338 5.3.10)?
fn authenticate(policy: AuthPolicy, found: u8, data: &[u8]) -> Result<(), ParseError> {
    let found = AuthType::from_number(found);
    if let Some(expected) = policy.auth_type().filter(|expected| *expected != found) {
        return Err(ParseError::AuthType { found, expected });
    }
    match policy {
        AuthPolicy::Password(password) if !password.is(data) => Err(ParseError::Password),
        _ => Ok(()),
    }
}

/// The form in which the checksum is right, if it is one of the accepted.
fn verify_checksum(
    datagram: &Datagram<'_>,
    summed: &[u8],
    family: Family,
    policy: ChecksumPolicy,
    found: u16,
) -> Result<ChecksumForm, ParseError> {
    let holds = |form: ChecksumForm| form.holds(datagram.source, datagram.destination, summed);
    if family == Family::Ipv6 {
        return if holds(ChecksumForm::PseudoHeader) {
            Ok(ChecksumForm::PseudoHeader)
        } else {
            Err(ParseError::Checksum { found })
        };
    }
    let forms = [ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader];
    if let Some(form) = forms.into_iter().find(|form| policy.accepts(*form) && holds(*form)) {
        return Ok(form);
    }
    match (policy, forms.into_iter().find(|form| holds(*form))) {
        (ChecksumPolicy::Only(accepted), Some(found)) => Err(ParseError::ChecksumForm { found, accepted }),
        _ => Err(ParseError::Checksum { found }),
    }
}

/// The addresses of an advertisement, still in the received octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses<'a> {
    family: Family,
    /// A whole number of addresses.
    octets: &'a [u8],
}

impl<'a> Addresses<'a> {
    /// How many, duplicates included.
    pub fn len(&self) -> usize {
        self.octets.len() / self.family.address_octets()
    }

    /// Never true for the addresses of a parsed advertisement.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// In the sender's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = IpAddr> + Clone + use<'a> {
        self.octets.chunks_exact(self.family.address_octets()).map(address)
    }

    /// Is this one of them?
    pub fn contains(&self, address: IpAddr) -> bool {
        self.iter().any(|mine| mine == address)
    }

    /// Are these the same addresses, whatever their order and however often each is named? RFC 9568
    /// only recommends an order.
    pub fn same_set(&self, others: &[IpAddr]) -> bool {
        self.iter().all(|mine| others.contains(&mine)) && others.iter().all(|&other| self.contains(other))
    }
}

/// An address from its 4 or 16 octets.
fn address(octets: &[u8]) -> IpAddr {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Ipv4Addr::from(octets).into();
    }
    <[u8; 16]>::try_from(octets).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from).into()
}

/// Writes a message (RFC 9568 5.2, RFC 3768 5.3) of the version of `interval`, without its IP header, to
/// the start of `out` and returns its length. `addresses` go out in the given order; for IPv6 the
/// link-local one belongs first. VRRPv2 goes out without a password: see [`Password::stamp`].
///
/// `source` and `destination` are those of the IP header to come: the checksum depends on them over
/// IPv6 and, with [`ChecksumForm::PseudoHeader`], over IPv4. `form` is without effect over IPv6 and in
/// VRRPv2.
///
/// [`Password::stamp`]: super::Password::stamp
///
/// # Errors
///
/// When there is no address or more than 255, when families are mixed or too new for VRRPv2, or when
/// `out` is too small; `out` is then unchanged.
#[expect(clippy::too_many_arguments, reason = "one for each field of the message and its pseudo-header")]
pub fn encode(
    out: &mut [u8],
    vrid: Vrid,
    priority: Priority,
    interval: AdverInterval,
    addresses: &[IpAddr],
    source: IpAddr,
    destination: IpAddr,
    form: ChecksumForm,
) -> Result<usize, EncodeError> {
    let family = Family::of(destination);
    let count = match u8::try_from(addresses.len()) {
        Ok(count) if count > 0 => count,
        _ => return Err(EncodeError::AddressCount { count: addresses.len() }),
    };
    if let Some(&address) = addresses.iter().chain([&source]).find(|a| Family::of(**a) != family) {
        return Err(EncodeError::Family { address, family });
    }
    let version = interval.version();
    if version == Version::V2 && family == Family::Ipv6 {
        return Err(EncodeError::Version);
    }
    let needed = message_len(version, family, addresses.len());
    let available = out.len();
    let Some(message) = out.get_mut(..needed) else {
        return Err(EncodeError::Buffer { needed, available });
    };

    let [fourth, fifth] = match version {
        // No authentication, and the seconds.
        Version::V2 => [0, interval.seconds()],
        Version::V3 => interval.centiseconds().to_be_bytes(),
    };
    let (fixed, rest) = message.split_at_mut(FIXED);
    let first = version.number() << 4 | TYPE;
    fixed.copy_from_slice(&[first, vrid.get(), priority.get(), count, fourth, fifth, 0, 0]);
    let (list, authentication) = rest.split_at_mut(addresses.len() * family.address_octets());
    authentication.fill(0);
    for (place, address) in list.chunks_exact_mut(family.address_octets()).zip(addresses) {
        match address {
            IpAddr::V4(address) => place.copy_from_slice(&address.octets()),
            IpAddr::V6(address) => place.copy_from_slice(&address.octets()),
        }
    }
    let form = match (version, family) {
        (Version::V2, _) => ChecksumForm::MessageOnly,
        (Version::V3, Family::Ipv4) => form,
        (Version::V3, Family::Ipv6) => ChecksumForm::PseudoHeader,
    };
    let checksum = form.compute(source, destination, message);
    message[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    Ok(needed)
}
