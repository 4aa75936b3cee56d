//! The target `records`; what it checks is in `madang_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| madang_fuzz::records(data));
