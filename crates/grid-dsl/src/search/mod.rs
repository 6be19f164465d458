//! Searching for programs: all compositions of operations on a task's inputs, states that were seen left out.

mod action;
mod engine;
mod grid;
mod on_device;
mod ops;
mod parts;
mod states;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Limits;
use crate::kernels::GridBackend;
use crate::lang::Program;
use crate::run::Sample;
use crate::value::Value;

use engine::{BLOCK, Engine, Host, Promise, Search, Successors};
pub use grid::{SIDE, Small};
use on_device::OnDevice;
pub use ops::{Operation, operations};
use states::{Seen, States};

pub(crate) use action::Action;
pub(crate) use states::{Images, images, key, packed, unpack};

/// What a search may use.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Operations one after the other, at most.
    pub depth: usize,
    /// Programs to find; the search ends with the depth that has the first, or goes on with [`Bounds::all`].
    pub programs: usize,
    /// Whether greater depths are searched after one that has a program.
    pub all: bool,
    /// Time.
    pub time: Option<Duration>,
    /// Applications of an operation to a grid.
    pub applications: Option<u64>,
    /// Bytes that states may take; those beyond are not gone on from.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: 3, programs: 10, all: false, time: None, applications: None, bytes: 2 << 30 }
    }
}

/// How far a search is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The depth being searched, from 1.
    pub depth: usize,
    /// States of the depth below that have been gone on from.
    pub done: usize,
    /// All states of the depth below.
    pub all: usize,
    /// Programs found.
    pub found: usize,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Everything asked for was searched.
    Complete,
    /// The time was up.
    Time,
    /// The applications were used up.
    Applications,
    /// Some states had no room and were not gone on from.
    Memory,
}

/// A program that gives a task's outputs.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Names of its operations.
    pub operations: Vec<String>,
    /// The program itself.
    pub program: Program,
}

/// What a search found, and what it did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Programs that are right on all examples, shortest first; [`Program::run`] was asked about each.
    pub hits: Vec<Hit>,
    /// Applications of an operation to a grid.
    pub applications: u64,
    /// Different states at each depth, the inputs themselves first.
    pub states: Vec<usize>,
    /// States that had been there before.
    pub duplicates: u64,
    /// Why it ended.
    pub end: End,
    /// Seconds.
    pub seconds: f64,
    /// Why the host did part of what a device should have done; nothing when it did not.
    pub failure: Option<String>,
}

/// Why a task cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There are no examples.
    #[error("the task has no examples to learn from")]
    NoExamples,
    /// A grid that operations are not made for.
    #[error("{which} of train {at}: {why}")]
    Grid {
        /// `input` or `output`.
        which: &'static str,
        /// The example, from 0.
        at: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// Enumerates compositions of [`operations`].
///
/// ```
/// use grid_dsl::Value;
/// use grid_dsl::search::{Bounds, Enumerator};
///
/// let example = (Value::grid([[1, 2], [3, 4]]), Value::grid([[3, 1, 1, 3], [4, 2, 2, 4]]));
/// let found = Enumerator::new(Bounds { depth: 2, ..Bounds::default() }).run("turned", &[example], |_| {})?;
/// assert_eq!(found.hits[0].program.lines().len(), 3);
/// # Ok::<(), grid_dsl::search::Refusal>(())
/// ```
#[derive(Debug)]
pub struct Enumerator {
    operations: Vec<Operation>,
    bounds: Bounds,
    engine: Box<dyn Engine>,
}

impl Enumerator {
    /// An enumerator with these bounds, on the threads of the host.
    pub fn new(bounds: Bounds) -> Self {
        Self { operations: operations(), bounds, engine: Box::new(Host) }
    }

    /// An enumerator that applies operations on a device. It finds what [`new`](Self::new) finds, in the same order, with the
    /// same counts. Where the device fails the host goes on, and [`Outcome::failure`] says why.
    pub fn on<B: GridBackend>(bounds: Bounds, b: B) -> Self {
        Self { engine: Box::new(OnDevice(b)), ..Self::new(bounds) }
    }

    /// `cpu` or `cuda`.
    pub fn backend(&self) -> &'static str {
        self.engine.name()
    }

    /// The operations that are composed.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Searches programs that turn all inputs into their outputs. `name` is what they are called, with `_` for what cannot
    /// stand in a name.
    ///
    /// # Errors
    /// Without examples, and for examples that are no grids of the colours 0 to 9 with at most [`SIDE`] rows and columns.
    pub fn run(
        &self,
        name: &str,
        examples: &[(Value, Value)],
        mut progress: impl FnMut(Progress),
    ) -> Result<Outcome, Refusal> {
        let started = Instant::now();
        let read = |which: &'static str, grid: fn(&(Value, Value)) -> &Value| {
            let refused = |at, value| Refusal::Grid { which, at, why: Small::flaw(value).unwrap_or_default() };
            let small = |(at, example)| Small::read(grid(example)).ok_or_else(|| refused(at, grid(example)));
            examples.iter().enumerate().map(small).collect::<Result<Vec<Small>, Refusal>>()
        };
        if examples.is_empty() {
            return Err(Refusal::NoExamples);
        }
        let (inputs, goals) = (read("input", |e| &e.0)?, read("output", |e| &e.1)?);
        let mut worker = self.engine.worker(Search { operations: &self.operations, goals: &goals });
        let mut seen: Seen = std::iter::once(key(&inputs)).collect();
        let mut levels = vec![States::first(&inputs)];
        let mut outcome = Outcome {
            hits: Vec::new(),
            applications: 0,
            states: vec![1],
            duplicates: 0,
            end: End::Complete,
            seconds: 0.0,
            failure: None,
        };
        let mut bytes = 0;
        'search: for depth in 1..=self.bounds.depth {
            let last = depth == self.bounds.depth;
            let (mut next, mut paths) = (States::default(), Vec::new());
            let below = &levels[depth - 1];
            let mut block = 0;
            while block < below.len() {
                let until = below.len().min(block.saturating_add(self.sensible(&outcome)));
                let mut found = worker.expand(below, block..until, &seen, last).into_iter();
                let (mut promised, expanded) = (Vec::new(), block + found.len());
                // What is looked at, and when, does not depend on how many states were expanded at once.
                while block < expanded {
                    let end = expanded.min((block / BLOCK + 1) * BLOCK);
                    let new =
                        self.merge((block..end).zip(found.by_ref()), &mut seen, &mut outcome, &mut paths, &mut bytes);
                    for (promise, packed) in new {
                        next.promise(promise.below, promise.op, promise.size);
                        if packed.is_empty() {
                            promised.push(promise);
                        } else {
                            next.keep(&packed);
                        }
                    }
                    block = end;
                    if end % BLOCK != 0 && end < below.len() {
                        continue;
                    }
                    progress(Progress { depth, done: end, all: below.len(), found: outcome.hits.len() + paths.len() });
                    if self.bounds.time.is_some_and(|time| started.elapsed() > time) {
                        outcome.end = End::Time;
                    } else if self.bounds.applications.is_some_and(|most| outcome.applications >= most) {
                        outcome.end = End::Applications;
                    }
                    if matches!(outcome.end, End::Time | End::Applications) {
                        self.keep(name, examples, &levels, depth, &paths, &mut outcome);
                        break 'search;
                    }
                }
                if !promised.is_empty() {
                    worker.pack(below, &promised, &mut next);
                }
            }
            self.keep(name, examples, &levels, depth, &paths, &mut outcome);
            if !last {
                outcome.states.push(next.len());
            }
            if (!outcome.hits.is_empty() && !self.bounds.all) || outcome.hits.len() >= self.bounds.programs {
                break;
            }
            levels.push(next);
        }
        outcome.failure = worker.failure();
        outcome.seconds = started.elapsed().as_secs_f64();
        Ok(outcome)
    }

    /// States that are worth expanding before applications are looked at, in whole blocks: each state takes one for every
    /// operation at least.
    fn sensible(&self, outcome: &Outcome) -> usize {
        let left = self.bounds.applications.map(|most| most.saturating_sub(outcome.applications));
        let states = left.map_or(usize::MAX, |left| (left as usize).div_ceil(self.operations.len().max(1)));
        states.max(1).checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX)
    }

    /// Counts the successors of a block of states, and gives those that there is room for, with their packed grids where
    /// those are known.
    fn merge(
        &self,
        block: impl Iterator<Item = (usize, Successors)>,
        seen: &mut Seen,
        outcome: &mut Outcome,
        paths: &mut Vec<(usize, u16)>,
        bytes: &mut usize,
    ) -> Vec<(Promise, Vec<u8>)> {
        let mut new = Vec::new();
        for (below, successors) in block {
            outcome.applications += successors.applications;
            outcome.duplicates += successors.duplicates;
            paths.extend(successors.hits.into_iter().map(|op| (below, op)));
            for fresh in successors.fresh {
                if !seen.insert(fresh.key) {
                    outcome.duplicates += 1;
                } else if *bytes + fresh.size > self.bounds.bytes {
                    outcome.end = End::Memory;
                } else {
                    *bytes += fresh.size + States::OVERHEAD;
                    new.push((Promise { below, op: fresh.op, size: fresh.size }, fresh.packed));
                }
            }
        }
        new
    }

    /// Adds the programs of some paths, as far as they are wanted and hold.
    fn keep(
        &self,
        name: &str,
        examples: &[(Value, Value)],
        levels: &[States],
        depth: usize,
        paths: &[(usize, u16)],
        outcome: &mut Outcome,
    ) {
        for &(mut at, op) in paths {
            if outcome.hits.len() >= self.bounds.programs {
                return;
            }
            let mut ops = vec![op];
            for level in levels[1..depth].iter().rev() {
                let (below, op) = level.origin(at);
                ops.push(op);
                at = below;
            }
            ops.reverse();
            let number = outcome.hits.len() + 1;
            let name = if number == 1 { name.to_owned() } else { format!("{name}_{number}") };
            let Some(program) = self.program(&name, &ops) else { continue };
            let limits = Limits::default();
            let right = |(input, output): &(Value, Value)| {
                program.run(&Sample::new(input.clone()), &limits, false).returns.first() == Some(&Ok(output.clone()))
            };
            if examples.iter().all(right) {
                let operations = ops.iter().map(|&op| self.operations[usize::from(op)].name().to_owned()).collect();
                outcome.hits.push(Hit { operations, program });
            }
        }
    }

    /// The program of some operations, by their numbers in [`operations`](Self::operations), one after the other. `None`
    /// when one is not there.
    pub fn program(&self, name: &str, ops: &[u16]) -> Option<Program> {
        let begin = if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() { "_" } else { "" };
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let mut text = format!("program {begin}{name}(I)\n");
        let (mut grid, mut lines) = ("I".to_owned(), 0);
        for &op in ops {
            let mut names: Vec<(&str, String)> = Vec::new();
            let mut out = grid.clone();
            for line in self.operations.get(usize::from(op))?.lines() {
                lines += 1;
                let target = format!("x{lines}");
                let (place, call) = line.split_once(" = ")?;
                let mut call = call.replace("{in}", &grid);
                for (place, name) in &names {
                    call = call.replace(place, name);
                }
                let _ = writeln!(text, "  {target} = {call}");
                out.clone_from(&target);
                names.push((place, target));
            }
            grid = out;
        }
        let _ = write!(text, "return {grid}\nend\n");
        Program::parse(&text).ok()?.pop()
    }
}

#[cfg(test)]
mod tests;
