//! Feeds `src/field.rs` by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| freshgate_fuzz::field::run(octets));
