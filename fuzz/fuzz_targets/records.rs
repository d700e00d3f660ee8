//! `cargo xtask fuzz records`: [`rekey_fuzz::records`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::records(data));
