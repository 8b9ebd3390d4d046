//! The keyed trailer: 28 octets behind an advertisement that show who knows a key of the group
//! (draft-cassen-vrrp-auth-hmac, as keepalived 2.4.2 and newer have it).
//!
//! | octets | field |
//! |---|---|
//! | 0 | scheme: 1, HMAC-SHA-256 cut to 128 bits |
//! | 1 | number of the key, 1 to 255 |
//! | 2..4 | reserved, 0 |
//! | 4..12 | sequence: Unix seconds (4), their fraction in 1/65536 (2), a counter (2) |
//! | 12..28 | the first half of the HMAC |
//!
//! The HMAC is over the family, version, VRID and source, the message without its checksum, and the
//! trailer without the HMAC itself; not over the destination, so that all unicast copies are alike.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::ChecksumForm;
use super::advert::CHECKSUM;

/// Octets of the trailer.
pub const TRAILER: usize = 28;
/// The one scheme there is.
const SCHEME: u8 = 1;
const SEQUENCE: std::ops::Range<usize> = 4..12;
const DIGEST: usize = 12;

/// A key of the group, shown to nobody.
#[derive(Clone)]
pub struct Key {
    number: u8,
    secret: Zeroizing<Vec<u8>>,
}

impl Key {
    /// Fewer octets can be guessed.
    pub const LEAST_OCTETS: usize = 32;
    /// More than a block of SHA-256 would only be folded.
    pub const MOST_OCTETS: usize = 64;

    /// `None` for number 0, and for a secret that is not of 32 to 64 octets.
    pub fn new(number: u8, secret: &[u8]) -> Option<Self> {
        let fits = (Self::LEAST_OCTETS..=Self::MOST_OCTETS).contains(&secret.len());
        (number != 0 && fits).then(|| Self { number, secret: Zeroizing::new(secret.to_vec()) })
    }

    /// 1 to 255, as it stands in the trailer.
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// The part of the HMAC that is sent, over a message and the head of its trailer.
    fn digest(&self, source: IpAddr, message: &[u8], head: &[u8]) -> [u8; TRAILER - DIGEST] {
        let mut mac: Hmac<Sha256> = Mac::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        let (family, mut address) = (if source.is_ipv4() { 4 } else { 6 }, [0; 16]);
        match source {
            IpAddr::V4(source) => address[..4].copy_from_slice(&source.octets()),
            IpAddr::V6(source) => address = source.octets(),
        }
        mac.update(&[family, message[0] >> 4, message[1], 0]);
        mac.update(&address);
        mac.update(&message[..CHECKSUM.start]);
        mac.update(&[0; 2]);
        mac.update(&message[CHECKSUM.end..]);
        mac.update(head);
        mac.update(&[0; TRAILER - DIGEST]);
        let mut half = [0; TRAILER - DIGEST];
        half.copy_from_slice(&mac.finalize().into_bytes()[..TRAILER - DIGEST]);
        half
    }

    /// Adds the trailer to the message of `octets` at the start of `out` and says how long it is now;
    /// `None` when there is no room. `source` and `destination` are those of the IP header to come.
    pub fn seal(
        &self,
        out: &mut [u8],
        octets: usize,
        sequence: Sequence,
        source: IpAddr,
        destination: IpAddr,
    ) -> Option<usize> {
        let whole = out.get_mut(..octets + TRAILER)?;
        let (message, trailer) = whole.split_at_mut(octets);
        trailer[..4].copy_from_slice(&[SCHEME, self.number, 0, 0]);
        trailer[SEQUENCE].copy_from_slice(&sequence.0.to_be_bytes());
        let digest = self.digest(source, message, &trailer[..DIGEST]);
        trailer[DIGEST..].copy_from_slice(&digest);
        if source.is_ipv6() {
            // The kernel of the receiver sums all that the IPv6 header counts.
            let checksum = ChecksumForm::PseudoHeader.compute(source, destination, whole);
            whole[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        }
        Some(octets + TRAILER)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && self.secret.ct_eq(&other.secret).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ..)", self.number)
    }
}

/// What orders the advertisements of one sender: the time, and a counter for those of the same
/// instant. Compared as a serial number, which may wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence(u64);

impl Sequence {
    /// The first of this time since 1970.
    pub const fn at(unix: Duration) -> Self {
        let fraction = (unix.subsec_nanos() as u64 * 65_536) / 1_000_000_000;
        Self((unix.as_secs() & 0xffff_ffff) << 32 | fraction << 16)
    }

    /// The next one.
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Does it come after `other`?
    pub const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// Whole seconds between it and a time since 1970, whichever is the later.
    pub const fn distance(self, unix: Duration) -> Duration {
        let apart = Self::at(unix).0.wrapping_sub(self.0).cast_signed();
        Duration::from_secs(apart.unsigned_abs() >> 32)
    }
}

/// A trailer that was received, with the message before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer<'a> {
    message: &'a [u8],
    octets: &'a [u8; TRAILER],
}

impl<'a> Trailer<'a> {
    /// Splits it off a message of `octets`; `None` where not exactly the trailer follows.
    pub(super) fn split(payload: &'a [u8], octets: usize) -> Option<Self> {
        let (message, trailer) = payload.split_at_checked(octets)?;
        Some(Self { message, octets: trailer.try_into().ok()? })
    }

    /// Is it likely one, for a receiver that expects none?
    pub(super) fn is_likely(&self) -> bool {
        self.octets[..4] == [SCHEME, self.octets[1], 0, 0] && self.octets[1] != 0
    }

    /// What is wrong with its first octets.
    ///
    /// # Errors
    ///
    /// [`TrailerFault::Scheme`] or [`TrailerFault::Malformed`].
    pub fn check(&self) -> Result<(), TrailerFault> {
        match *self.octets {
            [SCHEME, _, 0, 0, ..] => Ok(()),
            [SCHEME, ..] => Err(TrailerFault::Malformed),
            _ => Err(TrailerFault::Scheme),
        }
    }

    /// Number of the key.
    pub const fn key(&self) -> u8 {
        self.octets[1]
    }

    /// Its place among those of its sender.
    pub fn sequence(&self) -> Sequence {
        let mut octets = [0; 8];
        octets.copy_from_slice(&self.octets[SEQUENCE]);
        Sequence(u64::from_be_bytes(octets))
    }

    /// Was it made with this key, for a message of `source`? Takes the same time for any answer.
    pub fn is_made_with(&self, key: &Key, source: IpAddr) -> bool {
        let digest = key.digest(source, self.message, &self.octets[..DIGEST]);
        self.octets[DIGEST..].ct_eq(&digest).into()
    }
}

/// Why a trailer does not count, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrailerFault {
    /// There is none.
    #[error("it has no trailer, and one is required")]
    Missing,
    /// Another scheme than HMAC-SHA-256.
    #[error("its trailer is of a scheme that is not known here")]
    Scheme,
    /// The reserved octets are in use.
    #[error("its trailer is malformed")]
    Malformed,
    /// Its time and ours are too far apart.
    #[error("its clock is {seconds} s away from ours, more than the window")]
    Window {
        /// How far; 65535 stands for more.
        seconds: u16,
    },
    /// No key has this number.
    #[error("its key {number} is none of ours")]
    Key {
        /// The number.
        number: u8,
    },
    /// It was made with another key, or the message was changed on its way.
    #[error("its digest is not that of the key with this number")]
    Digest,
    /// It does not come after the last one of its sender.
    #[error("it is a replay, or came late")]
    Replay,
}

impl TrailerFault {
    /// A word or two for what the sender has.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "none",
            Self::Scheme => "an unknown scheme",
            Self::Malformed => "a malformed trailer",
            Self::Window { .. } => "another time",
            Self::Key { .. } => "a key number that is not known here",
            Self::Digest => "another key",
            Self::Replay => "an old sequence",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_grows_with_time_and_wraps_like_a_serial_number() {
        let at = |ms| Sequence::at(Duration::from_millis(ms));
        assert!(at(1001).is_after(at(1000)) && !at(1000).is_after(at(1001)));
        assert!(at(1000).next().is_after(at(1000)), "of the same instant");
        assert!(!at(1000).is_after(at(1000)), "none comes after itself");
        let last = Sequence(u64::MAX);
        assert!(last.next().is_after(last));
        assert_eq!(at(5000).distance(Duration::from_secs(12)), Duration::from_secs(7));
        assert_eq!(at(12_000).distance(Duration::from_secs(5)), Duration::from_secs(7));
        // 2106: the seconds wrap, and the distance does not.
        let wrapped = Sequence::at(Duration::from_secs(1 << 32));
        assert_eq!(wrapped.distance(Duration::from_secs((1 << 32) - 3)), Duration::from_secs(3));
    }

    #[test]
    fn a_key_is_32_to_64_octets_with_a_number_and_is_not_shown() {
        for (number, octets) in [(0, 32), (1, 31), (1, 65)] {
            assert!(Key::new(number, &vec![7; octets]).is_none(), "{number} {octets}");
        }
        let key = Key::new(1, &[7; 32]).expect("the least");
        assert_eq!(format!("{key:?}"), "Key(1, ..)");
        for (number, octet, same) in [(1, 7, true), (1, 8, false), (2, 7, false)] {
            assert_eq!(Some(&key) == Key::new(number, &[octet; 32]).as_ref(), same, "{number} {octet}");
        }
    }
    #[test]
    fn a_trailer_is_told_by_its_first_octets() {
        let split = |first: [u8; 4]| {
            let mut octets = [0xaa; TRAILER];
            octets[..4].copy_from_slice(&first);
            let trailer = Trailer::split(&octets, 0).expect("it is as long");
            (trailer.is_likely(), trailer.check())
        };
        assert_eq!(split([SCHEME, 7, 0, 0]), (true, Ok(())));
        assert_eq!(split([SCHEME, 0, 0, 0]), (false, Ok(())), "no key has this number");
        assert_eq!(split([SCHEME, 7, 0, 1]), (false, Err(TrailerFault::Malformed)));
        assert_eq!(split([2, 7, 0, 0]), (false, Err(TrailerFault::Scheme)));
        assert_eq!(split([2, 0, 0, 0]), (false, Err(TrailerFault::Scheme)));
    }
}
