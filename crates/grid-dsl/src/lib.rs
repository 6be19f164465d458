//! The ARC grid language: 160 functions on grids, objects and sets of locations, with one meaning everywhere.
//!
//! * [`Value`] is what programs compute with: numbers, tuples, sets that iterate in one canonical order, functions. Every
//!   value has one text and one digest.
//! * [`call`] calls a single primitive; [`Machine`] does so within [`Limits`] and fuel, so that nothing runs for ever.
//! * [`Program`] is text of single assignments, read by [`Program::parse`] or from Python by [`python::import`], checked by
//!   [`check`](fn@check), run by [`Program::run`].
//! * [`Dag`] merges any number of programs into one graph and runs it on many samples in parallel.
//! * [`Executor`] runs graphs on a [`Backend`]: [`Reference`], the definition, or [`Cpu`], which is fast (see [`exec`]);
//!   [`ops`] has hot primitives for batches of plain grids.
//! * [`Dag::explain`] lists the patterns that are computed as a whole, [`profile`] tells what a run cost, [`tune`] measures
//!   thresholds.
//! * [`search`] composes operations until they solve a task; [`augment`] makes variants of tasks and takes them back.
//! * [`kernels`] are operations on batches of dense grids in a device's memory, on the CPU and on CUDA; [`device`] runs a
//!   [`Dag`] with them, and evaluates on the host what a device has no form for.
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

pub mod augment;
mod check;
pub mod conform;
mod dag;
pub mod device;
pub mod draw;
mod error;
pub mod exec;
mod fast;
mod isometry;
pub mod kernels;
mod lang;
mod machine;
pub mod ops;
mod order;
mod patterns;
mod prim;
pub mod profile;
mod run;
pub mod search;
#[cfg(test)]
mod testing;
pub mod tune;
mod value;

pub use check::{Checked, FnType, Mode, Type, check};
pub use dag::{Batch, Dag, ExecOpts, Node, NodeId, RunResult, Simplified, Stats};
pub use error::{ErrClass, Limits, Result};
pub use exec::{Backend, Cpu, Executor, Reference};
pub use isometry::Isometry;
pub use lang::{Argument, Callee, Diagnostic, Dialect, Inputs, Line, Program, Severity, constants, python};
pub use machine::Machine;
pub use order::compare;
pub use patterns::{Explanation, Found, Pattern, Patterns};
pub use prim::{Prim, call};
pub use run::{Outcome, Sample};
pub use value::{Closure, Colour, Function, Maker, ParseError, Set, Tuple, Value, hex};
