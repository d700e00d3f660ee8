//! `cargo xtask fuzz dashboard`: [`rekey_fuzz::dashboard`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::dashboard(data));
