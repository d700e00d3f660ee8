//! `cargo xtask fuzz head`: [`rekey_fuzz::head`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::head(data));
