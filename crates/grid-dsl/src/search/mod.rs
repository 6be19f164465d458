//! Searching for programs: all compositions of operations on a task's inputs, states that were seen left out.

mod grid;
mod ops;
mod parts;
mod states;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;

use crate::error::Limits;
use crate::lang::Program;
use crate::run::Sample;
use crate::value::Value;

pub use grid::{SIDE, Small};
pub use ops::{Operation, operations};
use states::States;

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
}

/// Why a task cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There are no examples.
    #[error("the task has no examples to learn from")]
    NoExamples,
    /// A grid that operations are not made for.
    #[error("{which} {at} is no grid of the colours 0 to 9 with 1 to {SIDE} rows and columns")]
    Grid {
        /// `input` or `output`.
        which: &'static str,
        /// The example, from 0.
        at: usize,
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
}

/// States that are gone on from before limits and progress are looked at.
const BLOCK: usize = 256;

/// What one state's successors are.
#[derive(Default)]
struct Successors {
    /// Key, operation and packed grids of those that are new.
    fresh: Vec<(u128, u16, Vec<u8>)>,
    /// Operations that lead to the outputs.
    hits: Vec<u16>,
    applications: u64,
    duplicates: u64,
}

impl Enumerator {
    /// An enumerator with these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self { operations: operations(), bounds }
    }

    /// The operations that are composed.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Searches programs that turn all inputs into their outputs. `name` is what they are called.
    pub fn run(
        &self,
        name: &str,
        examples: &[(Value, Value)],
        mut progress: impl FnMut(Progress),
    ) -> Result<Outcome, Refusal> {
        let started = Instant::now();
        let read = |which: &'static str, grid: fn(&(Value, Value)) -> &Value| {
            let small = |(at, example)| Small::read(grid(example)).ok_or(Refusal::Grid { which, at });
            examples.iter().enumerate().map(small).collect::<Result<Vec<Small>, Refusal>>()
        };
        if examples.is_empty() {
            return Err(Refusal::NoExamples);
        }
        let (inputs, goals) = (read("input", |e| &e.0)?, read("output", |e| &e.1)?);
        let mut seen: HashSet<u128> = HashSet::from([key(&inputs)]);
        let mut levels = vec![States::first(&inputs)];
        let mut outcome = Outcome {
            hits: Vec::new(),
            applications: 0,
            states: vec![1],
            duplicates: 0,
            end: End::Complete,
            seconds: 0.0,
        };
        let mut bytes = 0;
        'search: for depth in 1..=self.bounds.depth {
            let last = depth == self.bounds.depth;
            let (mut next, mut paths) = (States::default(), Vec::new());
            let below = &levels[depth - 1];
            for block in (0..below.len()).step_by(BLOCK) {
                let end = below.len().min(block + BLOCK);
                let done: Vec<Successors> = (block..end)
                    .into_par_iter()
                    .map_init(
                        || Scratch::new(inputs.len()),
                        |scratch, at| self.successors(scratch, below.packed(at), &goals, &seen, last),
                    )
                    .collect();
                for (at, successors) in (block..end).zip(done) {
                    outcome.applications += successors.applications;
                    outcome.duplicates += successors.duplicates;
                    paths.extend(successors.hits.into_iter().map(|op| (at, op)));
                    for (key, op, packed) in successors.fresh {
                        if !seen.insert(key) {
                            outcome.duplicates += 1;
                        } else if bytes + packed.len() > self.bounds.bytes {
                            outcome.end = End::Memory;
                        } else {
                            bytes += packed.len() + States::OVERHEAD;
                            next.push(at, op, &packed);
                        }
                    }
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
            self.keep(name, examples, &levels, depth, &paths, &mut outcome);
            if !last {
                outcome.states.push(next.len());
            }
            if (!outcome.hits.is_empty() && !self.bounds.all) || outcome.hits.len() >= self.bounds.programs {
                break;
            }
            levels.push(next);
        }
        outcome.seconds = started.elapsed().as_secs_f64();
        Ok(outcome)
    }

    /// Applies every operation to one state.
    fn successors(
        &self,
        scratch: &mut Scratch,
        packed: &[u8],
        goals: &[Small],
        seen: &HashSet<u128>,
        last: bool,
    ) -> Successors {
        let mut found = Successors::default();
        states::unpack(packed, &mut scratch.from);
        for (op, operation) in self.operations.iter().enumerate() {
            let (mut equal, mut whole) = (true, true);
            for ((from, to), goal) in scratch.from.iter().zip(&mut scratch.to).zip(goals) {
                found.applications += 1;
                whole = operation.apply(from, to).is_some();
                equal &= whole && to == goal;
                // At the last depth nothing but the outputs is looked for.
                if !whole || (last && !equal) {
                    break;
                }
            }
            if equal && whole {
                found.hits.push(op as u16);
            } else if whole && !last {
                let key = key(&scratch.to);
                if seen.contains(&key) {
                    found.duplicates += 1;
                } else {
                    found.fresh.push((key, op as u16, states::pack(&scratch.to)));
                }
            }
        }
        found
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
        let mut text = format!("program {name}(I)\n");
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

/// Grids that are read and written, for each thread.
struct Scratch {
    from: Vec<Small>,
    to: Vec<Small>,
}

impl Scratch {
    fn new(grids: usize) -> Self {
        Self { from: vec![Small::default(); grids], to: vec![Small::default(); grids] }
    }
}

/// 128 bits that stand for a state: they decide whether it was there before.
fn key(grids: &[Small]) -> u128 {
    grids.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |key, grid| grid.mix(key))
}

#[cfg(test)]
mod tests;
