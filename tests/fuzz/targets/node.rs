//! A whole node: `vrrpd/proto/tests/hostile_octets/node.rs`.
#![no_main]

#[path = "../../../vrrpd/proto/tests/hostile_octets/node.rs"]
mod node;
#[path = "../../../vrrpd/proto/tests/scene/mod.rs"]
mod scene;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| node::run(octets));
