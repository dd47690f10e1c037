//! See the target itself.
#![no_main]

#[path = "../targets/config_text.rs"]
mod config_text;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config_text::run(data));
