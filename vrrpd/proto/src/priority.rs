//! Priority of a router in the election.

use std::fmt;

/// Priority of a VRRP router, 0 to 255 (RFC 9568 5.2.4, 6.1).
///
/// 255 belongs to the owner of the addresses, 1 to 254 to routers that back it up, and 0 is only
/// ever sent: "I stop being Active".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Priority(u8);

impl Priority {
    /// Sent by an Active Router that gives up the role.
    pub const RELEASE: Self = Self(0);
    /// Of the router that owns the addresses.
    pub const OWNER: Self = Self(255);
    /// Of a router that backs up others, unless configured (RFC 9568 6.1).
    pub const DEFAULT: Self = Self(100);

    /// Any of the 256 values.
    pub const fn new(value: u8) -> Self {
        Self(value)
    }

    /// The number, 0 to 255.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Is this 0?
    pub const fn is_release(self) -> bool {
        self.0 == 0
    }

    /// Is this 255?
    pub const fn is_owner(self) -> bool {
        self.0 == 255
    }

    /// The priority of a router that failed a check with `on_failure = "demote"`: a tenth, at least
    /// 1, so that it stays below every healthy router and two demoted routers keep their order.
    pub const fn demoted(self) -> Self {
        let tenth = self.0 / 10;
        Self(if tenth == 0 { 1 } else { tenth })
    }

    /// The sum with `weight`, kept within 1 to 254: tracking never makes an owner nor a release.
    pub fn weighted(self, weight: i32) -> Self {
        let sum = i32::from(self.0).saturating_add(weight).clamp(1, 254);
        Self(u8::try_from(sum).unwrap_or(254))
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracking_never_reaches_release_or_owner() {
        for base in 1..=254 {
            for weight in [-300, -254, -1, 0, 1, 254, 300, i32::MIN, i32::MAX] {
                let sum = Priority::new(base).weighted(weight);
                assert!(!sum.is_release() && !sum.is_owner(), "{base} {weight:+} gave {sum}");
            }
        }
    }

    #[test]
    fn demotion_is_a_tenth_and_never_zero() {
        assert_eq!(Priority::new(150).demoted(), Priority::new(15));
        assert_eq!(Priority::new(9).demoted(), Priority::new(1));
    }
}
