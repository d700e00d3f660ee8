//! `cargo xtask fuzz feed`: [`rekey_fuzz::feed`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::feed(data));
