//! The daemon `vrrpd` and its command line `vrrpctl`, as a library that the two programs call.

pub mod config;

pub mod clock;
mod kernel;
pub mod mailbox;
mod net;
mod perform;
mod protocol;
mod state_dir;
