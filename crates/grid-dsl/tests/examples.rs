//! Our own programs for tasks of the ARC: well-typed, canonical, and right on every example.

mod common;

use std::path::PathBuf;

use common::{tasks, wrong};
use grid_dsl::{Batch, Dag, ExecOpts, Limits, Mode, Program, check};

fn examples() -> Vec<Program> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        Program::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    paths.iter().filter(|p| p.extension().is_some_and(|e| e == "grid")).flat_map(read).collect()
}

#[test]
fn examples_are_well_typed() {
    let programs = examples();
    assert!(programs.len() >= 40, "{} programs", programs.len());
    for program in &programs {
        let checked = check(program, Mode::Strict);
        assert!(checked.diagnostics.is_empty(), "{}: {:?}", program.name(), checked.diagnostics);
        assert_eq!(Program::parse(&program.to_text()).unwrap(), std::slice::from_ref(program));
        assert!(program.needed().iter().all(|&needed| needed), "{} has dead lines", program.name());
    }
    let names: std::collections::BTreeSet<&str> = programs.iter().map(Program::name).collect();
    assert_eq!(names.len(), programs.len());
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn examples_solve_their_tasks() {
    let (tasks, limits) = (tasks(), Limits::default());
    let mut failures = Vec::new();
    for program in examples() {
        let id = program.name().strip_prefix("task_").unwrap();
        let task = tasks.iter().find(|t| t.id == id).unwrap_or_else(|| panic!("no task {id}"));
        for k in 0..task.examples().count() {
            failures.extend(wrong(task.verify(&program, k, &limits)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn examples_in_one_graph() {
    let (programs, tasks) = (examples(), tasks());
    let dag = Dag::build(&programs);
    assert!(dag.stats().nodes < dag.stats().lines);
    let batch = Batch::from_tasks(tasks.iter().take(40));
    let found = dag.run(&batch, &ExecOpts::default());
    for (s, sample) in batch.samples().iter().enumerate() {
        for (p, program) in programs.iter().enumerate() {
            let alone = program.run(sample, &Limits::default(), false).returns.remove(0);
            assert_eq!(found.value(p, 0, s).cloned(), alone, "{}", program.name());
        }
    }
}
