//! `cargo xtask fuzz engine`: [`rekey_fuzz::engine`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::engine(data));
