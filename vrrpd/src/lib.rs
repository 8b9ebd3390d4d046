//! The daemon `vrrpd` and its command line `vrrpctl`, as a library that the two programs call.

mod authentication;
pub mod budget;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod ctl;
pub mod daemon;
pub mod demo;
pub mod dns_update;
pub mod doctor;
mod examine;
mod fence;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod history;
pub mod hook;
mod kernel;
pub mod launcher;
mod logging;
pub mod mailbox;
mod net;
mod peer_link;
mod perform;
mod privilege;
mod protocol;
pub mod sandbox;
mod secret_file;
mod state_dir;
