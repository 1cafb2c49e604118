//! Feeds `src/lane.rs` by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| freshgate_fuzz::lane::run(octets));
