//! The trade that vrrpd was made for: two bootstrap nodes with an image registry, a chart repository
//! and a file server, found by one name and one address, and what a client of theirs sees when
//! something breaks, is upgraded, or is mended.

mod content;
mod machines;
mod moving_name;
mod orders;
mod services;
mod site;
