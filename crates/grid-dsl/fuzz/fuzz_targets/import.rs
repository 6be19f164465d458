//! Any Python must end in programs and faults with places; what is read is a program of ours, too.
//!
//! `cargo +nightly fuzz run import CORPUS -- -max_len=4000`, with files of solvers in CORPUS.
#![no_main]

use grid_dsl::{Dialect, Program, python};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Core, Dialect::Batt] {
        let found = python::import(text, dialect);
        for fault in &found.diagnostics {
            assert!(fault.line > 0 && fault.column > 0);
            fault.render("x.py", text);
        }
        for program in found.programs {
            let again = Program::parse_all(&program.to_text(), dialect).expect("what was printed");
            assert_eq!(again, [program]);
        }
    }
});
