//! Stored vectors and programs: every answer, every line.

mod common;

use common::{files, library, records, wrong};
use grid_dsl::conform::Record;
use grid_dsl::{Limits, Mode, Prim, check};

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn vectors() {
    let limits = Limits::default();
    let (mut all, mut failures) = (0, Vec::new());
    let files = files("vectors");
    for (stem, text) in &files {
        for record in records(stem, text) {
            let Record::Vector(vector) = record else { panic!("{stem}: no vector") };
            all += 1;
            failures.extend(wrong(vector.verify(&limits)));
        }
    }
    assert!(failures.is_empty(), "{} of {all} wrong:\n{}", failures.len(), failures.join("\n"));
    assert!(all >= 15_000, "{all} vectors");
    for prim in Prim::ALL.iter().filter(|p| !p.is_dialect()) {
        assert!(files.iter().any(|(stem, _)| stem == prim.name()), "no vectors of {prim:?}");
    }
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn programs() {
    let limits = Limits::default();
    let (mut cases, mut failures) = (0, Vec::new());
    for (stem, text) in files("programs") {
        for record in records(&stem, &text) {
            let Record::Program(recorded) = record else { panic!("{stem}: no program") };
            let program = recorded.program(&library()).unwrap();
            let checked = check(&program, Mode::Strict);
            failures.extend(checked.diagnostics.iter().map(|d| format!("{}: {d}", recorded.id())));
            let again = grid_dsl::Program::parse(&program.to_text()).unwrap();
            assert_eq!(again, std::slice::from_ref(&program));
            for case in 0..recorded.cases() {
                cases += 1;
                failures.extend(wrong(recorded.verify(&program, case, &library(), &limits)));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {cases} wrong:\n{}", failures.len(), failures.join("\n"));
    assert!(cases >= 7000, "{cases} cases");
}
