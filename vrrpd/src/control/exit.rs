//! Exit codes of both programs, from sysexits.h where it has one.

/// All is well.
pub const FINE: u8 = 0;
/// It works, but something needs a look; or a condition that was asked for is false.
pub const DEGRADED: u8 = 1;
/// A virtual router cannot do its work.
pub const CRITICAL: u8 = 2;
/// Wrong usage (EX_USAGE).
pub const USAGE: u8 = 64;
/// The daemon cannot be reached, or does not answer (EX_UNAVAILABLE).
pub const UNAVAILABLE: u8 = 69;
/// Not permitted (EX_NOPERM).
pub const NOT_PERMITTED: u8 = 77;
/// A fault in the configuration (EX_CONFIG).
pub const CONFIG: u8 = 78;
