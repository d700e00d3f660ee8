//! `cargo xtask fuzz key`: [`rekey_fuzz::key`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::key(data));
