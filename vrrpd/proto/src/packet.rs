//! Octets to values and back: advertisements, and the frames that announce an address.
//!
//! Everything here is a function of its arguments, allocates nothing and accepts any octets.
//! Receive validation is split: what a packet says about itself is judged here, in the order of
//! RFC 9568 7.1; whether it was meant for us (destination, source, VRID, peers) is for
//! the caller, which knows the configuration. Both count under one [`DiscardReason`].

pub mod advert;
pub mod arp;
pub mod checksum;
pub mod error;
pub mod ip;
pub mod ndisc;
pub mod password;
pub mod sighting;
pub mod trailer;

pub use advert::{Addresses, Advert, Rules, encode, message_len, peek_version, peek_vrid};
pub use checksum::{ChecksumForm, ChecksumPolicy};
pub use error::{DiscardReason, EncodeError, ParseError};
pub use ip::Datagram;
pub use password::{AuthPolicy, AuthType, Password};
pub use sighting::Sighting;
pub use trailer::{Key, Sequence, TRAILER, Trailer, TrailerFault};
