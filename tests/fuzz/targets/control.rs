//! What is said on the control socket, and a file of orders.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| vrrpd::fuzzing::control(octets));
