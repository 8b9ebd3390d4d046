//! The simple password of VRRPv2 (RFC 2338 5.3.6, 5.3.10), for old peers.
//!
//! It stands in each message in clear, so it keeps groups apart that share a VRID by mistake, and keeps
//! nobody out.

use std::fmt;

use subtle::ConstantTimeEq;

use super::ChecksumForm;
use super::advert::{AUTH_TYPE, AUTHENTICATION_DATA, CHECKSUM};

/// Octets of the field.
pub(super) const OCTETS: usize = AUTHENTICATION_DATA;

/// A password of 1 to 8 octets, shown to nobody and compared in constant time.
#[derive(Clone, Copy)]
pub struct Password([u8; OCTETS]);

impl Password {
    /// `None` when it is empty, longer than 8 octets, or has a zero in it, which the field is filled up
    /// with.
    pub fn new(password: &[u8]) -> Option<Self> {
        let mut field = [0; OCTETS];
        field.get_mut(..password.len())?.copy_from_slice(password);
        (!password.is_empty() && !password.contains(&0)).then_some(Self(field))
    }

    /// Is this the whole of the field?
    pub(super) fn is(&self, field: &[u8]) -> bool {
        self.0[..].ct_eq(field).into()
    }

    /// Puts the password into a message of VRRPv2 that [`encode`](super::encode) has written, and sums it
    /// anew.
    pub fn stamp(&self, message: &mut [u8]) {
        let Some(field) = message.len().checked_sub(OCTETS) else { return };
        message[field..].copy_from_slice(&self.0);
        message[AUTH_TYPE] = AuthType::Password.number();
        let checksum = ChecksumForm::of_message(message);
        message[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Which authentication of VRRPv2 is accepted; VRRPv3 has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthPolicy {
    /// Type 0; what stands in the field is ignored (RFC 3768 5.3.10).
    #[default]
    None,
    /// Type 1 with this password.
    Password(Password),
    /// Any, unseen: to find out what a message is whose sender is configured otherwise.
    Any,
}

impl AuthPolicy {
    /// The type that has to stand in the message.
    pub(crate) const fn auth_type(self) -> Option<AuthType> {
        match self {
            Self::None => Some(AuthType::None),
            Self::Password(_) => Some(AuthType::Password),
            Self::Any => None,
        }
    }
}

/// Authentication type of VRRPv2 (RFC 2338 5.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthType {
    /// 0, the only one that RFC 3768 5.3.6 knows.
    None,
    /// 1.
    Password,
    /// 2: in an IP Authentication Header, which is not spoken here.
    AuthenticationHeader,
    /// No standard has it.
    Unknown(u8),
}

impl AuthType {
    /// Of the number on the wire.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Password,
            2 => Self::AuthenticationHeader,
            other => Self::Unknown(other),
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Password => 1,
            Self::AuthenticationHeader => 2,
            Self::Unknown(number) => number,
        }
    }

    /// The word in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password => "password",
            Self::AuthenticationHeader => "header (AH)",
            Self::Unknown(_) => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fills_eight_octets_and_no_more_and_is_not_shown() {
        for wrong in [&b""[..], b"ninebytes", b"nul\0"] {
            assert!(Password::new(wrong).is_none(), "{wrong:?}");
        }
        let password = Password::new(b"s3cr3t").expect("six octets");
        assert!(password.is(b"s3cr3t\0\0"));
        for other in [&b"s3cr3t"[..], b"s3cr3\0\0\0", b"s3cr3tt\0", b"s3cr3t\0\0\0"] {
            assert!(!password.is(other), "{other:?}");
        }
        assert_eq!(format!("{password:?}"), "Password(..)");
        assert_ne!(Some(password), Password::new(b"s3cr3"), "the beginning is not enough");
        assert_eq!(Some(password), Password::new(b"s3cr3t"));
    }
}
