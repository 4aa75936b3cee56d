//! The target `inboxes`; what it checks is in `madang_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| madang_fuzz::inboxes(data));
