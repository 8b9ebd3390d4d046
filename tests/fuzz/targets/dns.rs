//! What a DNS server answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| vrrpd::fuzzing::dns(octets));
