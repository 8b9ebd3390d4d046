//! The daemon `vrrpd` and its command line `vrrpctl`, as a library that the two programs call.

pub mod clock;
pub mod config;
pub mod control;
pub mod ctl;
pub mod history;
mod kernel;
pub mod mailbox;
mod net;
mod perform;
mod protocol;
mod state_dir;
