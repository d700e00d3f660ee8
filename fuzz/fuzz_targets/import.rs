//! `cargo xtask fuzz import`: [`rekey_fuzz::import`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::import(data));
