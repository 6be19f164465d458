//! The type checker: what is sure to fail, before anything runs.
//!
//! It is sound in one direction: a program with an error here fails on every input. Where it cannot know, it says nothing.

mod signatures;
mod types;

use crate::lang::{Argument, Callee, Diagnostic, Program, Severity};
use crate::value::{Function, Value};
use signatures::{Caller, Mismatch};

pub use types::{FnType, Type};

/// What becomes of what the checker finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is checked.
    Off,
    /// Everything is a warning; an ill-typed program runs and fails where it must.
    #[default]
    Warn,
    /// What is sure to fail is an error.
    Strict,
}

/// What the checker found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The type of each line.
    pub types: Vec<Type>,
    /// What to tell, in the order of lines.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// Whether nothing is an error.
    pub fn accepts(&self) -> bool {
        self.diagnostics.iter().all(|d| d.severity < Severity::Error)
    }
}

/// Calls that are followed for one line; functions made of functions can be arbitrarily many.
const STEPS: usize = 2000;

/// Infers the types of all lines.
///
/// ```
/// use grid_dsl::{Mode, Program, check};
///
/// let text = "program a(I)\n  x1 = rot90(I)\n  x2 = add(x1, ONE)\nreturn x2\nend\n";
/// let checked = check(&Program::parse(text)?[0], Mode::Strict);
/// assert_eq!((checked.diagnostics[0].line, checked.diagnostics[0].column), (3, 12));
/// # Ok::<(), grid_dsl::Diagnostic>(())
/// ```
pub fn check(program: &Program, mode: Mode) -> Checked {
    let mut types: Vec<Type> = Vec::with_capacity(program.lines().len());
    let mut diagnostics = Vec::new();
    if mode == Mode::Off {
        types.resize(program.lines().len(), Type::Any);
        return Checked { types, diagnostics };
    }
    let needed = program.needed();
    for (line, needed) in program.lines.iter().zip(needed) {
        let callee = match line.callee {
            Callee::Prim(prim) => Type::of(&Value::Fn(Function::Prim(prim))),
            Callee::Line(at) => types[at].clone(),
        };
        let args: Vec<Type> = line.args.iter().map(|a| of_argument(a, &types)).collect();
        let called = Caller { steps: STEPS }.call(&callee, &args);
        types.push(called.as_ref().map_or(Type::Any, Clone::clone));
        let Err(mismatch) = called else { continue };
        let direct = matches!(line.callee, Callee::Prim(_));
        let mut diagnostic = told(&mismatch, direct, line.place.line, line.place.callee, &line.place.args);
        // What nothing depends on is not run: it cannot make a program fail.
        if mode == Mode::Warn || !needed {
            diagnostic.severity = Severity::Warning;
        }
        if !needed {
            diagnostic.help = Some("nothing that is returned depends on this line".to_owned());
        }
        diagnostics.push(diagnostic);
    }
    Checked { types, diagnostics }
}

/// A mismatch as a message at its place.
fn told(mismatch: &Mismatch, direct: bool, line: usize, callee: usize, args: &[usize]) -> Diagnostic {
    match mismatch {
        Mismatch::Argument { prim, at, expected, found } => {
            let name = prim.name();
            let what = format!("argument {} of `{name}` must be {expected}, this is {found}", at + 1);
            if direct {
                Diagnostic::error(line, args.get(*at).copied().unwrap_or(callee), what)
            } else {
                Diagnostic::error(line, callee, format!("this call comes to `{name}`, and there {what}"))
            }
        }
        Mismatch::Arity { callee: name, expected, found } => {
            let s = if *expected == 1 { "" } else { "s" };
            Diagnostic::error(line, callee, format!("{name} takes {expected} argument{s}, {found} given"))
        }
        Mismatch::NoFunction(found) => {
            Diagnostic::error(line, callee, format!("a function is needed here, this is {found}"))
        }
    }
}

fn of_argument(argument: &Argument, types: &[Type]) -> Type {
    match argument {
        Argument::Line(at) => types[*at].clone(),
        Argument::Input("I") => Type::Grid,
        Argument::Input("S") => Type::tuple(Type::tuple(Type::Grid)),
        Argument::Input(_) => Type::Any,
        literal => literal.literal().map_or(Type::Any, |value| Type::of(&value)),
    }
}

#[cfg(test)]
mod tests;
