//! Any text to the parser, the importer and the reader of values: an answer with a place, soon, and never a panic.

use std::time::{Duration, Instant};

use grid_dsl::{Diagnostic, Dialect, Program, Value, python};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Pieces that texts of the language and of Python are made of.
const PIECES: [&str; 60] = [
    "program",
    "end",
    "return",
    "def",
    "solve_a",
    "p",
    "I",
    "S",
    "C",
    "x1",
    "x2",
    "(",
    ")",
    ",",
    "=",
    "==",
    ":",
    "\n",
    "\n    ",
    "\n\t",
    " ",
    "  ",
    "#",
    "rot90",
    "objects",
    "compose",
    "T",
    "F",
    "ZERO",
    "TEN",
    "o_g",
    "R5",
    "if",
    "import",
    "from",
    "*",
    "+",
    "-1",
    "-",
    "0",
    "256",
    "99999999999",
    "2147483648",
    "\u{0}",
    "\u{feff}",
    "é",
    "→",
    "\"",
    "'",
    "\\",
    "\r\n",
    "\r",
    "lambda",
    "(1, -2)",
    "(1,",
    "x1 = rot90(I)\n",
    "program p(I)\n",
    "return x1\nend\n",
    "def solve_a(I):\n",
    "    return x1\n",
];

fn texts() -> impl Strategy<Value = String> {
    let pieces = proptest::collection::vec(0..PIECES.len(), 0..40);
    prop_oneof![
        3 => pieces.prop_map(|all| all.into_iter().map(|at| PIECES[at]).collect::<String>()),
        1 => any::<String>(),
        1 => "[ -~\n]{0,200}",
    ]
}

/// The place of a fault is in the text, or just behind it.
fn placed(fault: &Diagnostic, text: &str) {
    let lines = text.lines().count().max(1);
    assert!((1..=lines + 1).contains(&fault.line), "{fault:?} in {text:?}");
    let width = text.lines().nth(fault.line - 1).map_or(0, |line| line.chars().count());
    assert!((1..=width + 2).contains(&fault.column), "{fault:?} in {text:?}");
    assert!(!fault.message.is_empty());
    assert!(fault.render("x", text).contains(&format!("x:{}:{}: ", fault.line, fault.column)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in texts()) {
        let started = Instant::now();
        for dialect in [Dialect::Core, Dialect::Batt] {
            match Program::parse_all(&text, dialect) {
                Ok(programs) => {
                    for program in programs {
                        prop_assert_eq!(Program::parse_all(&program.to_text(), dialect), Ok(vec![program]));
                    }
                }
                Err(faults) => {
                    prop_assert!(!faults.is_empty());
                    for fault in &faults {
                        placed(fault, &text);
                    }
                }
            }
            let found = python::import(&text, dialect);
            for fault in &found.diagnostics {
                placed(fault, &text);
            }
            for program in found.programs {
                prop_assert_eq!(Program::parse_all(&program.to_text(), dialect), Ok(vec![program]));
            }
        }
        if let Ok(value) = text.parse::<Value>() {
            prop_assert_eq!(value.to_text().parse(), Ok(value));
        }
        prop_assert!(started.elapsed() < Duration::from_secs(5));
    }
}
