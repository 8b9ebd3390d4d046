//! What vrrpd tells Linux, and Linux it.

/// An address with the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The address.
    pub ip: std::net::IpAddr,
    /// 0 to 32 or 128.
    pub prefix_len: u8,
}
