//! `cargo xtask fuzz route`: [`rekey_fuzz::route`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::route(data));
