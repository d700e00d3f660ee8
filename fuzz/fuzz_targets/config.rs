//! `cargo xtask fuzz config`: [`rekey_fuzz::config`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::config(data));
