//! `cargo xtask fuzz slots`: [`rekey_fuzz::slots`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::slots(data));
