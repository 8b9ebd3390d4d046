//! What comes from the wire: `vrrpd/proto/tests/hostile_octets/packet.rs`.
#![no_main]

#[path = "../../../vrrpd/proto/tests/hostile_octets/packet.rs"]
mod packet;
#[path = "../../../vrrpd/proto/tests/vectors/mod.rs"]
mod vectors;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| packet::run(octets));
