//! The checksum of an advertisement, in its two forms.
//!
//! RFC 9568 5.2.8 sums the message alone over IPv4 and adds a pseudo-header over IPv6. RFC 5798 asked
//! for the pseudo-header without saying "IPv6 only", and keepalived, FRR and others deployed it over
//! IPv4 as well. A node that sends what its peer refuses causes two Active Routers, so both are known.

use std::net::IpAddr;

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::util;

use super::ip::PROTOCOL;

/// Index of the checksum field, counted in 16-bit words.
const FIELD: usize = 3;
/// An index no message reaches: nothing is left out of the sum.
const NOTHING: usize = usize::MAX;

/// What the checksum of a VRRPv3 message over IPv4 covers. Over IPv6 there is no choice: it is
/// always [`PseudoHeader`](Self::PseudoHeader).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ChecksumForm {
    /// The message alone (RFC 9568 5.2.8).
    #[serde(rename = "rfc9568")]
    MessageOnly,
    /// The message and a pseudo-header of both addresses, the protocol and the length: the deployed
    /// reading of RFC 5798 5.2.8.
    #[serde(rename = "pseudo_header")]
    PseudoHeader,
}

impl ChecksumForm {
    /// The name in configuration and messages: `rfc9568` or `pseudo_header`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageOnly => "rfc9568",
            Self::PseudoHeader => "pseudo_header",
        }
    }

    /// The value for the field, which counts as zero whatever it holds. Addresses of different
    /// families have no pseudo-header; then the message alone is summed.
    pub(super) fn compute(self, source: IpAddr, destination: IpAddr, message: &[u8]) -> u16 {
        self.sum(source, destination, message, FIELD)
    }

    /// The value for the field of a message that has no pseudo-header.
    pub(super) fn of_message(message: &[u8]) -> u16 {
        util::checksum(message, FIELD)
    }

    /// Does the checksum verify? Both one's complement zeros do (RFC 1071).
    pub(super) fn holds(self, source: IpAddr, destination: IpAddr, message: &[u8]) -> bool {
        self.sum(source, destination, message, NOTHING) == 0
    }

    /// One's complement of the one's complement sum of all but the word `skip`.
    fn sum(self, source: IpAddr, destination: IpAddr, message: &[u8], skip: usize) -> u16 {
        const NEXT: IpNextHeaderProtocol = IpNextHeaderProtocol(PROTOCOL);
        match (self, source, destination) {
            (Self::PseudoHeader, IpAddr::V4(from), IpAddr::V4(to)) => {
                util::ipv4_checksum(message, skip, &[], &from, &to, NEXT)
            }
            (Self::PseudoHeader, IpAddr::V6(from), IpAddr::V6(to)) => {
                util::ipv6_checksum(message, skip, &[], &from, &to, NEXT)
            }
            _ => util::checksum(message, skip),
        }
    }
}

/// Which forms are accepted over IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChecksumPolicy {
    /// Both. It weakens the detection of errors by one bit in sixteen, and keeps peers of either
    /// reading in one group.
    #[default]
    Either,
    /// One of them.
    Only(ChecksumForm),
}

impl ChecksumPolicy {
    /// Is `form` accepted?
    pub fn accepts(self, form: ChecksumForm) -> bool {
        match self {
            Self::Either => true,
            Self::Only(only) => only == form,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_one_name() {
        for form in [ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader] {
            let json = serde_json::to_value(form).expect("a unit variant serializes");
            assert_eq!(json, form.name());
            assert_eq!(serde_json::from_value::<ChecksumForm>(json).expect("its own name"), form);
        }
    }
}
