//! The daemon `vrrpd` and its command line `vrrpctl`, as a library that the two programs call.

pub mod check;
pub mod config;
pub mod hook;
pub mod launcher;
