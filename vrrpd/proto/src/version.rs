//! The two versions of VRRP that are spoken.

use std::fmt;

/// Version of VRRP, the high half of the first octet of each message (RFC 9568 5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768: IPv4 only, whole seconds, Skew_Time of up to a second whatever the interval.
    V2,
    /// RFC 9568: both families, hundredths of a second.
    V3,
}

impl Version {
    /// The number on the wire: 2 or 3.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// `None` for a number that no version has.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    /// As in the configuration: `2` or `3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
