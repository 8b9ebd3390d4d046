//! What is decided beyond the letter of the RFC, one sentence at a time.

#[path = "../../tests/scene/mod.rs"]
mod scene;

mod absence;
mod active;
mod alarms;
mod announcing;
mod asking;
mod backup;
mod claiming;
mod elsewhere;
mod extra;
mod keying;
mod leaving;
mod orders;
mod probing;
mod reconfiguring;
mod resuming;
mod second_path;
mod sending;
mod several;
mod statistics;
mod stranger;
mod suspicion;
mod together;
mod transport;
mod version_2;
mod virtual_mac;
mod witness;
