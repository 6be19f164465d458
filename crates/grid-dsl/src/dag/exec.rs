//! Running a graph on many samples, in parallel.

use std::collections::HashMap;
use std::time::Instant;

use rayon::prelude::*;

use super::plan::{Plan, Unit};
use super::{Dag, Member, Node, NodeId};
use crate::conform::Task;
use crate::error::{ErrClass, Limits, Result};
use crate::machine::Machine;
use crate::patterns::{Patterns, Slot};
use crate::profile::Recorder;
use crate::run::Sample;
use crate::value::Value;

/// Samples that a graph runs on.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    samples: Vec<Sample>,
    expected: Vec<Option<Value>>,
}

impl Batch {
    /// One sample a grid.
    pub fn from_grids(grids: impl IntoIterator<Item = Value>) -> Self {
        grids.into_iter().map(Sample::new).collect::<Vec<_>>().into()
    }

    /// One sample an example of a task, each with the task's examples to learn from.
    pub fn from_tasks<'t>(tasks: impl IntoIterator<Item = &'t Task>) -> Self {
        let of_task = |task: &'t Task| {
            let shared = Sample::new(Value::None).with_samples(task.train.iter().cloned()).samples;
            task.examples().map(move |(input, output)| {
                let sample = Sample { input: input.clone(), samples: shared.clone(), candidate: Value::None };
                // The output of a test may not be known.
                (sample, Some(output.clone()).filter(|output| *output != Value::None))
            })
        };
        let (samples, expected) = tasks.into_iter().flat_map(of_task).unzip();
        Self { samples, expected }
    }

    /// What the tasks of samples expect; nothing for samples of no task.
    pub fn expected(&self) -> &[Option<Value>] {
        &self.expected
    }

    /// The samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

impl From<Vec<Sample>> for Batch {
    fn from(samples: Vec<Sample>) -> Self {
        Self { expected: vec![None; samples.len()], samples }
    }
}

/// How a graph runs. Nothing here changes a result.
#[derive(Clone, Debug)]
pub struct ExecOpts {
    /// The limits of each program on each sample.
    pub limits: Limits,
    /// A batch with fewer samples than this computes each level's nodes in parallel instead of its samples.
    pub min_batch: usize,
}

impl Default for ExecOpts {
    fn default() -> Self {
        Self { limits: Limits::default(), min_batch: 30 }
    }
}

/// What programs returned on samples.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// For each sample the outputs of all programs, one after the other.
    values: Vec<Vec<Result<Value>>>,
    /// Where each program's outputs begin.
    starts: Vec<usize>,
}

impl RunResult {
    /// The results of a graph: for each sample the outputs of all programs, one after the other.
    pub(crate) fn gathered(dag: &Dag, values: Vec<Vec<Result<Value>>>) -> Self {
        let ends = dag.members.iter().scan(0, |end, member| {
            *end += member.outputs.len();
            Some(*end)
        });
        Self { values, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// What a program returned on a sample.
    pub fn value(&self, program: usize, output: usize, sample: usize) -> Result<&Value> {
        let at = self.starts[program] + output;
        assert!(at < self.starts[program + 1], "program {program} has no output {output}");
        self.values[sample][at].as_ref().map_err(|class| *class)
    }

    /// Digests of all outputs of a sample, in the order of programs.
    pub fn digests(&self, sample: usize) -> impl Iterator<Item = Result<u64>> + '_ {
        self.values[sample].iter().map(|v| v.as_ref().map(Value::digest).map_err(|class| *class))
    }

    /// Samples.
    pub fn samples(&self) -> usize {
        self.values.len()
    }
}

/// What all samples of one run have in common.
struct Context<'r> {
    plan: &'r Plan,
    opts: &'r ExecOpts,
    recorder: Option<&'r Recorder>,
    /// A batch is too small for its samples to keep all threads busy.
    spread: bool,
}

/// Which units are computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// What depends on the samples of a task alone.
    Shared,
    /// What depends on more.
    Own,
}

/// Where the samples of a task are: equal places hold equal samples.
type Place = (usize, usize);

fn place(sample: &Sample) -> Place {
    sample.samples.items().map_or((0, 0), |items| (items.as_ptr() as usize, items.len()))
}

impl Dag {
    /// Runs all programs on all samples. Values and classes of errors are those of [`Program::run`](crate::Program::run) for each
    /// program alone, whatever the batch, the number of threads and the patterns that are used.
    pub fn run(&self, batch: &Batch, opts: &ExecOpts) -> RunResult {
        self.run_with(batch, opts, Patterns::default(), None)
    }

    /// [`Dag::run`] with some of the patterns, and measured if a recorder is given.
    pub fn run_with(
        &self,
        batch: &Batch,
        opts: &ExecOpts,
        patterns: Patterns,
        recorder: Option<&Recorder>,
    ) -> RunResult {
        let plan = Plan::new(self, patterns);
        if let Some(recorder) = recorder {
            recorder.begin(self, plan.found(), batch.samples.len(), opts, patterns);
        }
        let context = Context { plan: &plan, opts, recorder, spread: batch.samples.len() < opts.min_batch };
        let shared = self.shared(&context, batch);
        let sample = |sample: &Sample| {
            let values = self.sample(&context, sample, shared.get(&place(sample)).map(Vec::as_slice));
            if let Some(recorder) = recorder {
                recorder.sample_done();
            }
            values
        };
        let values = if context.spread {
            batch.samples.iter().map(sample).collect()
        } else {
            batch.samples.par_iter().map(sample).collect()
        };
        RunResult::gathered(self, values)
    }

    /// What depends on the samples of a task alone, once for all that have the same: part of pattern P1.
    fn shared(&self, context: &Context, batch: &Batch) -> HashMap<Place, Vec<Slot>> {
        let mut users: HashMap<Place, (u64, &Sample)> = HashMap::new();
        if context.plan.shared() > 0 {
            for sample in &batch.samples {
                users.entry(place(sample)).or_insert((0, sample)).0 += 1;
            }
        }
        let admitted = |sample: &Sample| context.opts.limits.admit(&sample.samples).is_ok();
        users.retain(|_, (users, sample)| *users > 1 && admitted(sample));
        let one = |(place, (users, sample)): (Place, (u64, &Sample))| {
            let mut slots = self.empty();
            self.levels_of(context, &mut slots, sample, Part::Shared);
            for (id, slot) in slots.iter_mut().enumerate() {
                if !context.plan.keeps(id) {
                    slot.0 = Err(ErrClass::Type);
                }
            }
            if let Some(recorder) = context.recorder {
                recorder.shared(context.plan.shared() as u64, users);
            }
            (place, slots)
        };
        users.into_par_iter().map(one).collect()
    }

    fn empty(&self) -> Vec<Slot> {
        vec![(Err(ErrClass::Type), 0); self.nodes.len()]
    }

    fn sample(&self, context: &Context, sample: &Sample, shared: Option<&[Slot]>) -> Vec<Result<Value>> {
        let limits = &context.opts.limits;
        if let Err(class) = sample.admit(limits) {
            return self.members.iter().flat_map(|m| m.outputs.iter().map(move |_| Err(class))).collect();
        }
        let mut slots = shared.map_or_else(|| self.empty(), <[Slot]>::to_vec);
        self.levels_of(context, &mut slots, sample, if shared.is_some() { Part::Own } else { Part::All });
        self.members.iter().flat_map(|member| outputs(member, &slots, sample, limits)).collect()
    }

    fn levels_of(&self, context: &Context, slots: &mut [Slot], sample: &Sample, part: Part) {
        for level in context.plan.levels() {
            for units in [(part != Part::Own).then_some(&level.shared), (part != Part::Shared).then_some(&level.own)] {
                let units = units.map_or(&[][..], Vec::as_slice);
                if context.spread && units.len() >= WIDE {
                    let unit = |&unit: &Unit| self.unit(context, unit, slots, sample);
                    let computed: Vec<Computed> = units.par_iter().map(unit).collect();
                    for one in computed {
                        one.put(slots);
                    }
                } else {
                    for &unit in units {
                        self.unit(context, unit, slots, sample).put(slots);
                    }
                }
            }
            // What nothing reads any more goes, so that a sample's memory is that of its widest level.
            if part != Part::Shared {
                for &id in &level.last {
                    slots[id as usize].0 = Err(ErrClass::Type);
                }
            }
        }
    }

    fn unit(&self, context: &Context, unit: Unit, slots: &[Slot], sample: &Sample) -> Computed {
        let limits = &context.opts.limits;
        let started = context.recorder.map(|_| Instant::now());
        let (computed, pattern) = match unit {
            Unit::Node(id) => (Computed::One(id, compute(&self.nodes[id as usize], slots, sample, limits)), None),
            Unit::Pattern(at) => {
                let found = &context.plan.found()[at];
                let read = |id: NodeId| slots[id as usize].0.as_ref().map_err(|class| *class);
                let whole = found.run(&read, limits);
                let ran = whole.is_some();
                let all = whole.unwrap_or_else(|| self.one_by_one(found.nodes(), slots, sample, limits));
                (Computed::Several(all), Some((at, ran)))
            }
        };
        if let (Some(recorder), Some(started)) = (context.recorder, started) {
            recorder.computed(&computed, pattern, started.elapsed());
        }
        computed
    }

    /// The nodes of a pattern that declined.
    fn one_by_one(&self, nodes: &[NodeId], slots: &[Slot], sample: &Sample, limits: &Limits) -> Vec<(NodeId, Slot)> {
        let mut done: Vec<(NodeId, Slot)> = Vec::with_capacity(nodes.len());
        for &id in nodes {
            let read = |wanted: NodeId| match done.iter().find(|(id, _)| *id == wanted) {
                Some((_, slot)) => slot.0.clone(),
                None => slots[wanted as usize].0.clone(),
            };
            let slot = compute_with(&self.nodes[id as usize], read, sample, limits);
            done.push((id, slot));
        }
        done
    }
}

/// Levels with fewer units are not worth the threads.
const WIDE: usize = 16;

/// What a unit gave.
pub(crate) enum Computed {
    /// The value of a node.
    One(NodeId, Slot),
    /// Those of a pattern's nodes.
    Several(Vec<(NodeId, Slot)>),
}

impl Computed {
    fn put(self, slots: &mut [Slot]) {
        match self {
            Self::One(id, slot) => slots[id as usize] = slot,
            Self::Several(all) => all.into_iter().for_each(|(id, slot)| slots[id as usize] = slot),
        }
    }
}

fn compute(node: &Node, slots: &[Slot], sample: &Sample, limits: &Limits) -> Slot {
    compute_with(node, |id| slots[id as usize].0.clone(), sample, limits)
}

fn compute_with(node: &Node, read: impl Fn(NodeId) -> Result<Value>, sample: &Sample, limits: &Limits) -> Slot {
    let mut machine = Machine::new(limits);
    let all = |args: &[NodeId]| args.iter().map(|&id| read(id)).collect::<Result<Vec<_>>>();
    let value = match node {
        Node::Input(name) => Ok(sample.get(name).clone()),
        Node::Literal(value) => Ok(value.clone()),
        Node::Prim(prim, args) => all(args).and_then(|args| machine.prim(*prim, &args)),
        Node::Call(callee, args) => read(*callee).and_then(|function| {
            let args = all(args)?;
            machine.call_value(&function, &args)
        }),
    };
    (value, machine.used())
}

/// The outputs of one program. Nodes were computed with all the fuel each; a program whose lines together used more than
/// there is runs again, alone, to fail where it must; so does one that was rewritten and comes near to other limits.
fn outputs(member: &Member, slots: &[Slot], sample: &Sample, limits: &Limits) -> Vec<Result<Value>> {
    if member.runs_alone(limits, |id| slots[id as usize].1) {
        return member.program.run(sample, limits, false).returns;
    }
    member.outputs.iter().map(|&id| slots[id as usize].0.clone()).collect()
}
