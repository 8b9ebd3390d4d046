//! What the kernel sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| netlink::fuzzing::datagram(octets));
