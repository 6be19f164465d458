//! Any text must end in a value or an error; a value's text is read as the same value.
//!
//! `cargo +nightly fuzz run value`
#![no_main]

use grid_dsl::Value;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(value) = text.parse::<Value>() {
        let again: Value = value.to_text().parse().expect("canonical text");
        assert_eq!(again, value);
        assert_eq!(again.digest(), value.digest());
    }
});
