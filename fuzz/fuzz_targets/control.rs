//! `cargo xtask fuzz control`: [`rekey_fuzz::control`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::control(data));
