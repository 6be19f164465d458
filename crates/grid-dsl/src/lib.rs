//! The ARC grid language: 160 functions on grids, objects and sets of locations, with one meaning everywhere.
//!
//! * [`Value`] is what programs compute with: numbers, tuples, sets that iterate in one canonical order, functions. Every
//!   value has one text and one digest.
//! * [`call`] calls a single primitive; [`Machine`] does so within [`Limits`] and fuel, so that nothing runs for ever.
//! * [`Program`] is text of single assignments, read by [`Program::parse`] or from Python by [`python::import`], checked by
//!   [`check`](fn@check), run by [`Program::run`].
//! * [`Dag`] merges any number of programs into one graph and runs it on many samples in parallel.
//! * [`conform`] runs files of vectors, programs and traces; [`draw`] shows grids in the colours of the ARC.
//!
//! Every evaluation is total: it gives a value or an [`ErrClass`]. Functions here are the definition that faster back ends
//! are compared with; they favour plain formulas.
//!
//! Source of the vocabulary: M. Hodel, *Domain Specific Language for the Abstraction and Reasoning Corpus* (arc-dsl);
//! this is an implementation of its own from a written specification.

#![warn(missing_docs)]

/// The examples of the package's front page are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FrontPage;

mod check;
pub mod conform;
mod dag;
pub mod draw;
mod error;
mod lang;
mod machine;
mod order;
mod prim;
mod run;
#[cfg(test)]
mod testing;
mod value;

pub use check::{Checked, FnType, Mode, Type, check};
pub use dag::{Batch, Dag, ExecOpts, Node, NodeId, RunResult, Stats};
pub use error::{ErrClass, Limits, Result};
pub use lang::{Argument, Callee, Diagnostic, Dialect, Inputs, Line, Program, Severity, constants, python};
pub use machine::Machine;
pub use order::compare;
pub use prim::{Prim, call};
pub use run::{Outcome, Sample};
pub use value::{Closure, Colour, Function, Maker, ParseError, Set, Tuple, Value, hex};
