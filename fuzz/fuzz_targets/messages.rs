//! `cargo xtask fuzz messages`: [`rekey_fuzz::messages`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rekey_fuzz::messages(data));
