//! `cargo xtask fuzz replay`: [`rekey_fuzz::replay`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::replay(data));
