//! A collection of solvers that the user has: `LOCKSTEP_SOLVERS` names the Python file. None is kept here.

mod common;

use common::{tasks, wrong};
use grid_dsl::{Dag, Dialect, Limits, Mode, Program, check, python};
use rayon::prelude::*;

fn solvers() -> Vec<Program> {
    let path = std::env::var("LOCKSTEP_SOLVERS").expect("LOCKSTEP_SOLVERS names a Python file of solvers");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let found = python::import(&text, Dialect::Core);
    assert!(found.diagnostics.is_empty(), "{:?}", found.diagnostics);
    found.programs
}

#[test]
#[ignore = "needs LOCKSTEP_SOLVERS, a Python file of 400 solvers, and LOCKSTEP_DATA"]
fn solvers_are_read_typed_and_right() {
    let (programs, tasks, limits) = (solvers(), tasks(), Limits::default());
    assert_eq!(programs.len(), 400);
    let failures: Vec<String> = programs
        .par_iter()
        .flat_map_iter(|program| {
            let id = program.name().trim_start_matches("solve_");
            let task = tasks.iter().find(|t| t.id == id).unwrap_or_else(|| panic!("no task {id}"));
            let typed = check(program, Mode::Strict).diagnostics.into_iter().map(|d| format!("{id}: {d}"));
            let ran = (0..task.examples().count()).filter_map(|k| wrong(task.verify(program, k, &limits)));
            typed.chain(ran).collect::<Vec<_>>()
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
#[ignore = "needs LOCKSTEP_SOLVERS, a Python file of 400 solvers"]
fn solvers_share_their_nodes() {
    let stats = Dag::build(&solvers()).stats();
    assert_eq!((stats.programs, stats.levels), (400, 29));
    assert!(stats.nodes <= 3929, "{} nodes", stats.nodes);
    assert!(stats.opcodes["objects"] <= 45, "{} nodes of `objects`", stats.opcodes["objects"]);
}
