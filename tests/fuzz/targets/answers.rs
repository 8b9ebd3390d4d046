//! What services, tools and files say to checks and to vrrpctl doctor.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| vrrpd::fuzzing::answers(octets));
