//! Any text must end in programs or in faults with places; what is read prints and reads again as the same, and runs within
//! little fuel.
//!
//! `cargo +nightly fuzz run parse CORPUS -- -max_len=4000`, with `examples/*.grid` in CORPUS.
#![no_main]

use grid_dsl::{Dag, Dialect, Limits, Mode, Patterns, Program, Sample, Value, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Core, Dialect::Batt] {
        let programs = match Program::parse_all(text, dialect) {
            Ok(programs) => programs,
            Err(faults) => {
                assert!(!faults.is_empty());
                for fault in faults {
                    assert!(fault.line > 0 && fault.column > 0);
                    fault.render("x", text);
                }
                continue;
            }
        };
        let limits = Limits { fuel: 50_000, ..Limits::default() };
        for program in &programs {
            let again = Program::parse_all(&program.to_text(), dialect).expect("what was printed");
            assert_eq!(again, std::slice::from_ref(program));
            check(program, Mode::Strict);
            program.run(&Sample::new(Value::grid([[0, 1], [2, 2]])), &limits, true);
        }
        Dag::build(&programs).simplified().0.explain(Patterns::default());
    }
});
