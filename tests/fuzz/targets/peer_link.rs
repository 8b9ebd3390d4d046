//! A datagram of the peer link.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| vrrpd::fuzzing::peer_link(octets));
