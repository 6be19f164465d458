//! Checks against stored answers: vectors of single calls, programs with a digest for every line, traces.
//!
//! A vector is a line `{"a":[arguments], "r":result}` or `{"a":[..], "e":1}` of a file that is named like the function. A
//! program is a line `{"id", "src":[lines], "cases":[{"in", "d":[digests], "out"}]}`, where a case that fails has `err_at` with the
//! variable of the failing line in place of `out`. A trace is a program without `src`: that comes from a file of solvers.

mod read;
mod recorded;
mod task;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use read::read;
pub use recorded::Recorded;
pub use task::Task;

use crate::error::{ErrClass, Limits, Result as Evaluated};
use crate::exec::{Backend, Reference};
use crate::lang::names::primitive;
use crate::lang::{Dialect, Program};
use crate::prim::Prim;
use crate::value::Value;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Right,
    /// Something else than it should be.
    Wrong(String),
    /// Nothing that could be checked.
    Unsupported(String),
}

/// One line of a file, read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Record {
    /// A call of a function.
    Vector(Vector),
    /// A program with cases.
    Program(Recorded),
    /// A task of the ARC.
    Task(Task),
}

/// A call with its result.
#[derive(Debug)]
pub struct Vector {
    function: String,
    args: Vec<Value>,
    /// The text of the result; an error without it.
    result: Option<String>,
}

impl Vector {
    /// Calls the function by the definition and compares.
    pub fn verify(&self, limits: &Limits) -> Verdict {
        self.verify_on(&Reference, limits)
    }

    /// Calls the function on a back end and compares.
    pub fn verify_on(&self, backend: &dyn Backend, limits: &Limits) -> Verdict {
        Self::verify_all(std::slice::from_ref(self), backend, limits).remove(0)
    }

    /// Calls the functions of many on a back end and compares, one verdict each.
    pub fn verify_all(vectors: &[Self], backend: &dyn Backend, limits: &Limits) -> Vec<Verdict> {
        let call = |vector: &Self| Some((named(&vector.function)?, vector.args.clone()));
        let calls: Vec<_> = vectors.iter().filter_map(call).collect();
        let mut found = backend.calls(&calls, limits).into_iter();
        let verdict = |vector: &Self| match named(&vector.function) {
            Some(_) => vector.judge(&found.next().unwrap_or(Err(ErrClass::Type))),
            None => Verdict::Unsupported(format!("no function is named `{}`", vector.function)),
        };
        vectors.iter().map(verdict).collect()
    }

    fn judge(&self, found: &Evaluated<Value>) -> Verdict {
        let right = match (found, &self.result) {
            (Ok(value), Some(expected)) => value.to_text() == *expected,
            (Err(_), None) => true,
            _ => false,
        };
        if right {
            return Verdict::Right;
        }
        let args: Vec<String> = self.args.iter().map(|a| short(&a.to_text())).collect();
        let expected = self.result.as_deref().map_or_else(|| "an error".to_owned(), short);
        Verdict::Wrong(format!("{}({}) = {}, expected {expected}", self.function, args.join(", "), shown(found)))
    }
}

/// What traces need from elsewhere: solvers by name, tasks by name.
#[derive(Debug, Default)]
pub struct Library {
    solvers: HashMap<String, Program>,
    tasks: HashMap<String, Task>,
}

impl Library {
    /// Adds a program: `solve_NAME` is found as `NAME`, too.
    pub fn add_solver(&mut self, program: Program) {
        let name = program.name().strip_prefix("solve_").unwrap_or(program.name());
        self.solvers.insert(name.to_owned(), program);
    }

    /// Adds a task.
    pub fn add_task(&mut self, task: Task) {
        self.tasks.insert(task.id.clone(), task);
    }

    /// Tasks that a solver is there for, with it, in the order of names.
    pub fn solved(&self) -> Vec<(&Task, &Program)> {
        let mut all: Vec<_> =
            self.tasks.values().filter_map(|task| Some((task, self.solvers.get(&task.id)?))).collect();
        all.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        all
    }

    fn solver(&self, id: &str) -> Option<&Program> {
        self.solvers.get(id.strip_prefix("solve_").unwrap_or(id))
    }
}

/// A function by any of its names, those of the dialect with a suffix too: no other is named like that.
fn named(name: &str) -> Option<Prim> {
    primitive(name, Dialect::Batt)
}

/// A text for a report: long ones are cut.
fn short(text: &str) -> String {
    if text.chars().count() <= 120 {
        return text.to_owned();
    }
    text.chars().take(117).chain("...".chars()).collect()
}

fn shown(result: &Evaluated<Value>) -> String {
    match result {
        Ok(value) => short(&value.to_text()),
        Err(class) => format!("Err({})", class.name()),
    }
}
